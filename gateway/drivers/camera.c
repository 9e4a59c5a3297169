/*
 * camera - driver-assistance and driver-monitoring cameras by the T/JSATL 12 peripheral protocol on a serial line or TCP (the standard has the
 * terminal as server: port = tcp-listen:...). One instance per camera line; alarms become events, state reports become health. It asks for no
 * pictures.
 *
 *   gateway                                   camera
 *     | 32 who are you, 37 how are you   -->    |   at the start; a question is sent again after 1 s, three times in all
 *     | 31 vehicle data, 1 Hz            -->    |   no answer
 *     | 2F still there?                  -->    |   when nothing was heard for keepalive_s
 *     |    <-- 36 alarm, 38 state, 2F           |   answered at once with the same sequence; sent again after 1 s if the answer got lost
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "../port.h"
#include "camera_frame.h"

#define RESEND_MS    1000
#define SENDS        3
#define REPEAT_MS    10000 /* a copy of an alarm comes within seconds; later the same sequence and id are a new one */
#define REMEMBERED   32
#define LATE_MAX_MS  120000 /* an alarm may have waited so long in the camera for the line */
#define LATE_MIN_MS  2000   /* the camera's time has whole seconds and our clock sets it */
#define TICK_MS      200

struct camera_options {
    struct port_setup port;
    char model[REGMAP_NAME_MAX + 1];
    uint8_t unit;
    uint16_t vendor;
    uint32_t keepalive_s, state_s;
};

static const struct field camera_fields[] = {
    PORT_FIELDS(struct camera_options, "115200", "none"),
    {"model", FIELD_TEXT, FIELD_AT(struct camera_options, model), "", 1, REGMAP_NAME_MAX, NULL, "camera-jsatl12", "camera model: a file of devices/, or a path"},
    {"unit", FIELD_UINT, FIELD_AT(struct camera_options, unit), "", 0x64, 0x67, NULL, "0x65", "0x64 ADAS, 0x65 DSM, 0x66 TPMS, 0x67 BSD"},
    {"vendor", FIELD_UINT, FIELD_AT(struct camera_options, vendor), "", 0, 65535, NULL, "0", "vendor number in our frames until the camera's own is heard"},
    {"keepalive_s", FIELD_UINT, FIELD_AT(struct camera_options, keepalive_s), "s", 1, 60, NULL, "5", "ask whether it is there when it was quiet so long"},
    {"state_s", FIELD_UINT, FIELD_AT(struct camera_options, state_s), "s", 5, 3600, NULL, "60", "ask for its state so often"},
};

struct question {
    uint8_t function; /* 0 = free */
    uint16_t sequence;
    unsigned sent;
    int64_t again_ms;
};

struct seen {
    int64_t at_ms; /* 0 = free */
    uint32_t alarm_id;
    uint16_t sequence;
    uint8_t function, phase;
};

struct camera {
    struct driver_ctx *ctx;
    const struct camera_options *opt;
    struct regmap_camera model;
    struct port *port;
    struct camera_parser parser;
    uint16_t vendor, sequence;
    struct question question[3]; /* keep-alive, info, state */
    struct seen seen[REMEMBERED];
    size_t seen_at;
    int64_t heard_ms, state_at_ms;
};

static enum rc camera_check(const void *options, char *why, size_t cap)
{
    const struct camera_options *o = options;
    struct regmap_camera model;
    return regmap_read_camera(o->model, &model, why, cap);
}

static void camera_close(void *state)
{
    struct camera *c = state;
    if (c == NULL)
        return;
    port_close(c->port);
    free(c);
}

/* --- down --- */

static enum rc send_frame(struct camera *c, uint8_t function, uint16_t sequence, const uint8_t *data, size_t n)
{
    struct camera_frame f = {.sequence = sequence, .vendor = c->vendor, .peripheral = c->opt->unit, .function = function, .n = (uint16_t)n};
    uint8_t wire[CAMERA_FRAME_MAX];
    if (n > 0)
        memcpy(f.data, data, n);
    return port_write(c->port, wire, camera_build(&f, wire));
}

/* What a failed write means: not connected yet is no trouble, a dead line is. */
static enum rc judge_write(enum rc rc, char *why, size_t cap)
{
    if (rc == RC_END || rc == RC_IO)
        snprintf(why, cap, "the line to the camera is gone: check cable and power");
    return rc;
}

static struct question *question_of(struct camera *c, uint8_t function)
{
    size_t i = function == CAMERA_KEEP_ALIVE ? 0 : function == CAMERA_INFO ? 1 : 2;
    return &c->question[i];
}

static void ask(struct camera *c, uint8_t function)
{
    struct question *q = question_of(c, function);
    if (q->function == 0)
        *q = (struct question){.function = function, .sequence = ++c->sequence};
}

static enum rc send_questions(struct camera *c, int64_t now_ms, char *why, size_t cap)
{
    for (size_t i = 0; i < sizeof c->question / sizeof *c->question; i++) {
        struct question *q = &c->question[i];
        if (q->function == 0 || now_ms < q->again_ms)
            continue;
        if (q->sent == SENDS) {
            driver_count(c->ctx, "unanswered", 1);
            q->function = 0;
            continue;
        }
        enum rc rc = send_frame(c, q->function, q->sequence, NULL, 0);
        if (rc != RC_OK)
            return judge_write(rc, why, cap); /* not sent: not counted */
        q->sent++;
        q->again_ms = now_ms + RESEND_MS;
    }
    return RC_OK;
}

static enum rc camera_output(void *state, const struct driver_output *out, char *why, size_t cap)
{
    struct camera *c = state;
    uint8_t body[CAMERA_VEHICLE_SIZE];
    if (out->kind != DRIVER_OUT_VEHICLE)
        return RC_OK; /* a camera has no buzzer of ours */
    camera_vehicle(&out->fix, out->fix_ms, body);
    enum rc rc = judge_write(send_frame(c, CAMERA_VEHICLE, ++c->sequence, body, sizeof body), why, cap);
    return rc == RC_OK ? RC_AGAIN : rc; /* sent is not heard: only the camera's own bytes are a sign of life */
}

/* --- up --- */

/* The camera sends an alarm again while our answer does not reach it. The same sequence, id and phase within REPEAT_MS are a copy. */
static bool is_copy(struct camera *c, const struct camera_frame *f, const struct event_camera *e)
{
    int64_t now_ms = driver_mono_ms(c->ctx);
    for (size_t i = 0; i < REMEMBERED; i++) {
        const struct seen *s = &c->seen[i];
        if (s->at_ms != 0 && now_ms - s->at_ms < REPEAT_MS && s->sequence == f->sequence && s->alarm_id == e->alarm_id && s->phase == e->phase &&
            s->function == f->function)
            return true;
    }
    c->seen[c->seen_at++ % REMEMBERED] =
        (struct seen){.at_ms = now_ms, .alarm_id = e->alarm_id, .sequence = f->sequence, .function = f->function, .phase = e->phase};
    return false;
}

static enum rc take_alarm(struct camera *c, const struct camera_frame *f, char *why, size_t cap)
{
    struct event e = {.kind = EVENT_CAMERA};
    int64_t camera_ms = 0;
    if (camera_alarm(f, &c->model, &e.camera, &camera_ms) != RC_OK) {
        driver_count(c->ctx, "bad_alarms", 1);
        snprintf(why, cap, "an alarm of %u bytes does not fit model %s: choose another model file", f->n, c->model.model);
        return RC_INVALID;
    }
    if (is_copy(c, f, &e.camera)) {
        driver_count(c->ctx, "copies", 1);
        return RC_OK;
    }
    int64_t late_ms = driver_wall_ms(c->ctx) - camera_ms;
    if (camera_ms != 0 && late_ms > LATE_MIN_MS && late_ms < LATE_MAX_MS) {
        e.time_ms = camera_ms; /* it waited for the line */
        e.clock = EVENT_CLOCK_SYSTEM;
    }
    driver_emit(c->ctx, &e);
    return RC_OK;
}

static enum rc take_state(struct camera *c, const struct camera_frame *f)
{
    struct camera_state s;
    if (camera_state_of(f, &c->model, &s) != RC_OK) {
        driver_count(c->ctx, "bad_states", 1);
        return RC_INVALID;
    }
    /* code: the work state in the highest byte, the alarm bits below; 0 when all is well */
    struct event e = {.kind = EVENT_HEALTH};
    e.health.state = (uint8_t)s.state;
    e.health.code = s.state == EVENT_DEVICE_OK && s.alarm_bits == 0 ? 0 : (int32_t)((uint32_t)(s.work & 0x7f) << 24 | (s.alarm_bits & 0xffffff));
    driver_emit(c->ctx, &e);
    return RC_OK;
}

static enum rc take_frame(struct camera *c, const struct camera_frame *f, char *why, size_t cap)
{
    if (f->peripheral != c->opt->unit) {
        driver_count(c->ctx, "other_units", 1);
        return RC_AGAIN;
    }
    c->vendor = f->vendor;
    c->heard_ms = driver_mono_ms(c->ctx);
    struct question *q = question_of(c, f->function);
    bool answer = q->function == f->function && q->sequence == f->sequence;
    enum rc rc = RC_OK;
    switch (f->function) {
    case CAMERA_KEEP_ALIVE:
        if (!answer) /* it asks us */
            rc = judge_write(send_frame(c, f->function, f->sequence, NULL, 0), why, cap);
        break;
    case CAMERA_ALARM:
    case CAMERA_STATE_REPORT: {
        /* Answered even if it makes no sense to us: asking again would not mend it. */
        enum rc sent = judge_write(send_frame(c, f->function, f->sequence, NULL, 0), why, cap);
        rc = f->function == CAMERA_ALARM ? take_alarm(c, f, why, cap) : take_state(c, f);
        if (sent == RC_END || sent == RC_IO)
            return sent;
        break;
    }
    case CAMERA_STATE_QUERY: rc = take_state(c, f); break;
    case CAMERA_INFO: break;
    default: driver_count(c->ctx, "unknown_functions", 1); break;
    }
    if (answer)
        q->function = 0;
    return rc == RC_AGAIN ? RC_OK : rc;
}

static enum rc camera_input(void *state, char *why, size_t cap)
{
    struct camera *c = state;
    uint8_t buf[2048];
    enum rc worst = RC_AGAIN;
    for (int i = 0; i < 16; i++) { /* a camera that talks without end must not hold the loop */
        size_t n = 0;
        enum rc rc = port_read(c->port, buf, sizeof buf, &n);
        if (rc != RC_OK) {
            if (rc == RC_AGAIN)
                break;
            return judge_write(rc, why, cap);
        }
        for (size_t k = 0; k < n; k++) {
            struct camera_frame f;
            enum camera_fault fault;
            rc = camera_parse(&c->parser, buf[k], &f, &fault);
            if (rc == RC_OK) {
                rc = take_frame(c, &f, why, cap);
            } else if (rc == RC_INVALID) {
                driver_count(c->ctx, fault == CAMERA_NOISE ? "noise_bytes" : fault == CAMERA_SUM ? "checksum_errors" : "broken_frames", 1);
                snprintf(why, cap, "%s: check speed, wiring and shielding",
                         fault == CAMERA_NOISE ? "noise" : fault == CAMERA_SUM ? "wrong checksum" : "broken frame");
            }
            if (rc == RC_END || rc == RC_IO)
                return rc;
            if (rc == RC_OK || (rc == RC_INVALID && worst != RC_OK))
                worst = rc;
        }
    }
    return worst;
}

static enum rc camera_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct camera *c = state;
    *ret_next_ms = TICK_MS;
    if (now_ms - c->heard_ms >= (int64_t)c->opt->keepalive_s * 1000)
        ask(c, CAMERA_KEEP_ALIVE);
    if (now_ms >= c->state_at_ms) {
        c->state_at_ms = now_ms + (int64_t)c->opt->state_s * 1000;
        ask(c, CAMERA_STATE_QUERY);
    }
    enum rc rc = send_questions(c, now_ms, why, cap);
    return rc == RC_OK ? RC_AGAIN : rc;
}

static enum rc camera_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct camera *c = calloc(1, sizeof *c);
    if (c == NULL)
        return RC_NO_MEMORY;
    c->ctx = ctx;
    c->opt = options;
    c->vendor = c->opt->vendor;
    enum rc rc = regmap_read_camera(c->opt->model, &c->model, why, cap);
    if (rc == RC_OK)
        rc = port_open(&c->opt->port, &c->port, why, cap);
    if (rc != RC_OK) {
        camera_close(c);
        return rc;
    }
    c->heard_ms = driver_mono_ms(ctx);
    ask(c, CAMERA_INFO);
    *ret_state = c;
    *ret_fd = port_fd(c->port);
    return RC_OK;
}

const struct driver driver_camera = {
    .name = "camera",
    .kind = EVENT_DEVICE_CAMERA,
    .options_size = sizeof(struct camera_options),
    .options = camera_fields,
    .options_n = sizeof camera_fields / sizeof *camera_fields,
    .silence_ms = 15000,
    .check = camera_check,
    .open = camera_open,
    .input = camera_input,
    .poll = camera_poll,
    .output = camera_output,
    .close = camera_close,
};
