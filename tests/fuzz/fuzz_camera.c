/* The camera's line: any bytes; whatever frame comes out must survive being built and parsed again, and its body must be judged without harm. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/camera_fetch.h"
#include "gateway/drivers/camera_frame.h"
#include "gateway/drivers/camera_params.h"

static struct regmap_camera model = {
    .flag_begin = 1, .flag_end = 2, .flag_event = 0, .work_standby = 1, .work_working = 2, .work_maintenance = 3, .work_fault = 4};

static void again(const struct camera_frame *f)
{
    static uint8_t wire[CAMERA_FRAME_MAX];
    static struct camera_frame g;
    static struct camera_parser p;
    enum camera_fault fault;
    p.inside = false;
    p.n = 0;
    if (f->n > CAMERA_DATA_MAX) /* a packet of a picture: only ever received */
        return;
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

/* --- the fetching of one picture, its store in memory --- */

static struct camera_fetch fetch;
static bool store_open;
static uint32_t store_end;
static const uint32_t store_max = 1 << 20;

static enum rc store_begin(void *arg, const struct driver_media *m, int *ret_file)
{
    (void)arg, (void)m;
    if (store_open)
        abort();
    store_open = true;
    store_end = 0;
    *ret_file = 0;
    return RC_OK;
}

static enum rc store_write(void *arg, int file, uint32_t offset, const void *p, size_t n)
{
    (void)arg, (void)p;
    if (file != 0 || !store_open || n == 0)
        abort();
    if (n > store_max || offset > store_max - n)
        return RC_FULL;
    if (offset + n > store_end)
        store_end = offset + (uint32_t)n;
    return RC_OK;
}

static void store_close(void *arg, int file, uint32_t bytes)
{
    (void)arg;
    if (file != 0 || !store_open || (bytes != 0 && bytes != store_end))
        abort(); /* whole means: to the last byte */
    store_open = false;
}

/* The functions a driver uses, without a device. */
struct driver_ctx {
    struct driver_store store;
};
static struct driver_ctx ctx = {{NULL, store_begin, store_write, store_close}};

enum rc driver_media_begin(struct driver_ctx *c, const struct driver_media *m, int *ret_file)
{
    return c->store.begin(c->store.arg, m, ret_file);
}

enum rc driver_media_write(struct driver_ctx *c, int file, uint32_t offset, const void *p, size_t n)
{
    return c->store.write(c->store.arg, file, offset, p, n);
}

void driver_media_end(struct driver_ctx *c, int file, uint32_t bytes)
{
    c->store.end(c->store.arg, file, bytes);
}

void driver_count(struct driver_ctx *c, const char *what, unsigned n)
{
    (void)c, (void)what, (void)n;
}

void driver_emit(struct driver_ctx *c, const struct event *e)
{
    const char *field;
    struct event x = *e;
    (void)c;
    x.time_ms = 1;
    if (event_check(&x, &field) != RC_OK)
        abort();
}

static int64_t now_ms;

/* Picture 7 of type 0 is wanted. */
static void fetch_begin(void)
{
    const struct driver_media m = {.unit = EVENT_CAMERA_DSM, .id = 7, .alarm_id = 1, .time_ms = 1};
    uint8_t body[5];
    memset(&fetch, 0, sizeof fetch);
    camera_fetch_init(&fetch, &ctx);
    camera_fetch_add(&fetch, &m);
    if (!camera_fetch_wants(&fetch, now_ms, body))
        abort();
}

static void fetch_frame(const struct camera_frame *f)
{
    struct camera_packet p;
    uint8_t body[CAMERA_MEDIA_HEAD + 1];
    now_ms += f->function == 0x2F ? 2500 : 10; /* a sign of life is time that passes */
    if (f->function == CAMERA_MEDIA && camera_packet(f, &p) == RC_OK && camera_fetch_packet(&fetch, &p, now_ms) > 1)
        abort();
    if (f->function == CAMERA_MEDIA_ASK)
        camera_fetch_asked(&fetch, now_ms, f->n == 0);
    if (camera_fetch_stalled(&fetch, now_ms, false, body) && body[CAMERA_MEDIA_HEAD] != 1)
        abort();
    (void)camera_fetch_wants(&fetch, now_ms, body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct camera_frame f;
    static struct camera_parser p;
    p.inside = p.escaped = p.broken = false;
    p.n = 0;
    if (model.map[1] == 0)
        for (unsigned i = 0; i < 256; i++)
            model.map[i] = (uint8_t)i;
    fetch_begin();
    for (size_t i = 0; i < size; i++) {
        enum camera_fault fault;
        if (camera_parse(&p, data[i], &f, &fault) != RC_OK)
            continue;
        again(&f);
        struct event e = {.time_ms = 1, .kind = EVENT_CAMERA};
        struct camera_state s;
        const char *field;
        struct camera_alarm a;
        char line[200];
        if (camera_alarm(&f, &model, &a) == RC_OK) {
            e.camera = a.event;
            if (event_check(&e, &field) != RC_OK || a.files > a.event.media)
                abort();
        }
        enum rc info = camera_info(&f, line, sizeof line);
        if (info != RC_OK && info != RC_INVALID)
            abort();
        uint8_t want[CAMERA_PARAMS_MAX] = {30, 6, 0, 0, 60};
        if (f.n <= CAMERA_PARAMS_MAX)
            (void)camera_params_differ(f.peripheral, want, f.data, f.n, line, sizeof line);
        fetch_frame(&f);
        if (camera_state_of(&f, &model, &s) == RC_OK && s.state != EVENT_DEVICE_OK && s.state != EVENT_DEVICE_FAILED)
            abort();
    }
    uint8_t block[CAMERA_PARAMS_MAX];
    char why[256] = "";
    enum rc rc =
        camera_params_text((const char *)data, size < 4096 ? size : 4096, size % 2 ? EVENT_CAMERA_ADAS : EVENT_CAMERA_DSM, block, why, sizeof why);
    if (rc != RC_OK && why[0] == '\0')
        abort();
    camera_fetch_end(&fetch, NULL, NULL);
    if (store_open)
        abort(); /* a file was begun and never ended */
    return 0;
}
