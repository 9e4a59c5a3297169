/* The camera's line: any bytes; whatever frame comes out must survive being built and parsed again, and its body must be judged without harm. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/camera_frame.h"

static const struct regmap_camera model = {
    .flag_begin = 1, .flag_end = 2, .flag_event = 0, .work_standby = 1, .work_working = 2, .work_maintenance = 3, .work_fault = 4};

static void again(const struct camera_frame *f)
{
    static uint8_t wire[CAMERA_FRAME_MAX];
    static struct camera_frame g;
    struct camera_parser p = {.inside = false};
    enum camera_fault fault;
    size_t n = camera_build(f, wire);
    unsigned frames = 0;
    if (n > sizeof wire)
        abort();
    for (size_t i = 0; i < n; i++)
        frames += camera_parse(&p, wire[i], &g, &fault) == RC_OK;
    if (frames != 1 || g.n != f->n || g.sequence != f->sequence || g.vendor != f->vendor || g.peripheral != f->peripheral ||
        g.function != f->function || memcmp(g.data, f->data, f->n) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct camera_frame f;
    struct camera_parser p = {.inside = false};
    for (size_t i = 0; i < size; i++) {
        enum camera_fault fault;
        if (camera_parse(&p, data[i], &f, &fault) != RC_OK)
            continue;
        again(&f);
        struct event e = {.time_ms = 1, .kind = EVENT_CAMERA};
        struct camera_state s;
        const char *field;
        int64_t ms = 0;
        if (camera_alarm(&f, &model, &e.camera, &ms) == RC_OK && event_check(&e, &field) != RC_OK)
            abort();
        if (camera_state_of(&f, &model, &s) == RC_OK && s.state != EVENT_DEVICE_OK && s.state != EVENT_DEVICE_FAILED)
            abort();
    }
    return 0;
}
