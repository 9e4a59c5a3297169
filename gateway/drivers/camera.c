/*
 * camera - driver-assistance, driver-monitoring, tyre and blind-spot cameras by the T/JSATL 12 peripheral protocol on a serial line or TCP (the
 * standard has the terminal as server: port = tcp-listen:...). One instance per line, with one unit or two on it; alarms become events, state reports
 * become health, tyres become readings, and the pictures of alarms go to the gateway's store.
 *
 *   gateway                                   camera
 *     | 32 who are you, 37 how are you   -->    |   at the start; a question is sent again after 1 s, three times in all
 *     | 34 your settings, 35 take these  -->    |   at the start, if params is given: read, set what differs, read again
 *     | 31 vehicle data, 1 Hz            -->    |   no answer
 *     | 2F still there?                  -->    |   when nothing was heard for keepalive_s
 *     |    <-- 36 alarm, 38 state, 2F           |   answered at once with the same sequence; sent again after 1 s if the answer got lost
 *     | 50 that picture                  -->    |   for each an alarm names
 *     |    <-- 51 packet 0, 1, 2 ...            |   each answered 0 got it, 1 again
 *     | 52 take one now                  -->    |   when the office asks; its picture comes as the alarm "snapshot"
 *
 * Never sent: 30 factory reset, 33 upgrade. Firmware is the workshop's business: an upgrade over a moving bus's line ends in dead cameras.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "../port.h"
#include "camera_fetch.h"
#include "camera_frame.h"
#include "camera_params.h"

#define RESEND_MS   1000
#define SENDS       3
#define REPEAT_MS   10000 /* a copy of an alarm comes within seconds; later the same sequence and id are a new one */
#define REMEMBERED  32
#define LATE_MAX_MS 120000 /* an alarm may have waited so long in the camera for the line */
#define LATE_MIN_MS 2000   /* the camera's time has whole seconds and our clock sets it */
#define TICK_MS     200
#define UNITS       2
#define LONG_FRAME  64 /* bytes of a frame so far: it is a packet of a picture */

struct camera_options {
    struct port_setup port;
    char model[REGMAP_NAME_MAX + 1];
    char params[REGMAP_NAME_MAX + 1];
    uint8_t unit, unit2;
    uint16_t vendor;
    uint32_t keepalive_s, state_s;
    bool media;
};

static const struct field camera_fields[] = {
    PORT_FIELDS(struct camera_options, "115200", "none"),
    {"model", FIELD_TEXT, FIELD_AT(struct camera_options, model), "", 1, REGMAP_NAME_MAX, NULL, "camera-jsatl12",
     "camera model: a file of devices/, or a path"},
    {"unit", FIELD_UINT, FIELD_AT(struct camera_options, unit), "", 0x64, 0x67, NULL, "0x65", "0x64 ADAS, 0x65 DSM, 0x66 TPMS, 0x67 BSD"},
    {"unit2", FIELD_UINT, FIELD_AT(struct camera_options, unit2), "", 0, 0x67, NULL, "0", "a second one on the same line; 0: none"},
    {"vendor", FIELD_UINT, FIELD_AT(struct camera_options, vendor), "", 0, 65535, NULL, "0",
     "vendor number in our frames until the camera's own is heard"},
    {"keepalive_s", FIELD_UINT, FIELD_AT(struct camera_options, keepalive_s), "s", 1, 60, NULL, "5",
     "ask whether it is there when it was quiet so long"},
    {"state_s", FIELD_UINT, FIELD_AT(struct camera_options, state_s), "s", 5, 3600, NULL, "60", "ask for its state so often"},
    {"media", FIELD_BOOL, FIELD_AT(struct camera_options, media), "", 0, 1, NULL, "yes", "fetch the pictures and clips of its alarms"},
    {"params", FIELD_TEXT, FIELD_AT(struct camera_options, params), "", 0, REGMAP_NAME_MAX, NULL, "",
     "file of settings the camera shall have; empty: as it is"},
};

/* Functions we ask, in the order of their places. */
static const uint8_t asked[] = {CAMERA_KEEP_ALIVE, CAMERA_INFO,      CAMERA_STATE_QUERY, CAMERA_GET_PARAMS,
                                CAMERA_SET_PARAMS, CAMERA_MEDIA_ASK, CAMERA_SNAPSHOT};
#define QUESTIONS (sizeof asked / sizeof *asked)

struct question {
    uint8_t function; /* 0 = free */
    uint16_t sequence;
    unsigned sent;
    int64_t again_ms;
    uint8_t body[CAMERA_PARAMS_MAX];
    size_t n;
};

struct seen {
    int64_t at_ms; /* 0 = free */
    uint32_t alarm_id;
    uint16_t sequence;
    uint8_t function, phase;
};

struct unit {
    uint8_t number; /* enum event_camera_unit */
    uint16_t vendor, sequence;
    struct question question[QUESTIONS];
    struct seen seen[REMEMBERED];
    size_t seen_at;
    int64_t heard_ms, state_at_ms;
    bool params_set; /* the answer to come to 0x34 is the check */
    bool told;       /* its health is known */
    struct camera_state state;
    struct camera_fetch fetch;
};

struct camera {
    struct driver_ctx *ctx;
    const struct camera_options *opt;
    struct regmap_camera model;
    uint8_t params[CAMERA_PARAMS_MAX]; /* wanted, 0xFF whatever */
    struct port *port;
    size_t units;
    struct unit unit[UNITS];
    int64_t rx_ms;
    struct camera_parser parser;
};

struct kept { /* over a line's ends */
    double trip_m;
    int64_t fix_ms;
    struct {
        struct driver_media file[CAMERA_FETCH_QUEUE];
        size_t n;
    } waiting[UNITS];
};

static enum rc camera_check(const void *options, char *why, size_t cap)
{
    const struct camera_options *o = options;
    struct regmap_camera model;
    uint8_t block[CAMERA_PARAMS_MAX];
    if (o->unit2 != 0 && (o->unit2 < EVENT_CAMERA_ADAS || o->unit2 == o->unit)) {
        snprintf(why, cap, "unit2 = 0x%x must be another of 0x64..0x67", o->unit2);
        return RC_INVALID;
    }
    enum rc rc = regmap_read_camera(o->model, &model, why, cap);
    if (rc != RC_OK || o->params[0] == '\0')
        return rc;
    if (!model.params) {
        snprintf(why, cap, "model %s takes no settings: leave params out", model.model);
        return RC_INVALID;
    }
    return camera_params_read(o->params, o->unit, block, why, cap) == RC_OK ? RC_OK : RC_INVALID;
}

static void camera_close(void *state)
{
    struct camera *c = state;
    if (c == NULL)
        return;
    struct kept *k = driver_stopping(c->ctx) ? NULL : driver_keep(c->ctx, sizeof *k);
    for (size_t i = 0; i < c->units; i++)
        camera_fetch_end(&c->unit[i].fetch, k != NULL ? k->waiting[i].file : NULL, k != NULL ? &k->waiting[i].n : NULL);
    port_close(c->port);
    free(c);
}

/* --- down --- */

static enum rc send_frame(struct camera *c, const struct unit *u, uint8_t function, uint16_t sequence, const uint8_t *data, size_t n)
{
    struct camera_frame f = {.sequence = sequence, .vendor = u->vendor, .peripheral = u->number, .function = function, .n = (uint32_t)n};
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

static struct question *question_of(struct unit *u, uint8_t function)
{
    for (size_t i = 0; i < QUESTIONS; i++)
        if (asked[i] == function)
            return &u->question[i];
    return &u->question[0]; /* a function we never ask: it equals none that is open */
}

static void ask(struct unit *u, uint8_t function, const uint8_t *body, size_t n)
{
    struct question *q = question_of(u, function);
    if (q->function != 0)
        return;
    *q = (struct question){.function = function, .sequence = ++u->sequence, .n = n};
    if (n > 0)
        memcpy(q->body, body, n);
}

static enum rc send_questions(struct camera *c, struct unit *u, int64_t now_ms, char *why, size_t cap)
{
    for (size_t i = 0; i < QUESTIONS; i++) {
        struct question *q = &u->question[i];
        if (q->function == 0 || now_ms < q->again_ms)
            continue;
        if (q->sent == SENDS) {
            driver_count(c->ctx, "unanswered", 1);
            if (q->function == CAMERA_MEDIA_ASK)
                camera_fetch_asked(&u->fetch, now_ms, false);
            q->function = 0;
            continue;
        }
        enum rc rc = send_frame(c, u, q->function, q->sequence, q->body, q->n);
        if (rc != RC_OK)
            return judge_write(rc, why, cap); /* not sent: not counted */
        q->sent++;
        q->again_ms = now_ms + RESEND_MS;
    }
    return RC_OK;
}

/* Metres since the gateway started, from the speed over ground: it has no odometer of its own. */
static uint32_t trip_m(struct camera *c, const struct driver_output *out)
{
    struct kept *k = driver_keep(c->ctx, sizeof *k);
    if (k == NULL)
        return 0;
    int64_t ms = out->fix_ms - k->fix_ms;
    if (ms > 0 && ms < 10000 && out->fix.speed_mmps > 0)
        k->trip_m += (double)out->fix.speed_mmps * (double)ms / 1e6;
    k->fix_ms = out->fix_ms;
    return (uint32_t)k->trip_m;
}

static enum rc camera_output(void *state, const struct driver_output *out, char *why, size_t cap)
{
    struct camera *c = state;
    uint8_t body[CAMERA_VEHICLE_SIZE];
    enum rc rc = RC_OK;
    if (out->kind == DRIVER_OUT_SNAPSHOT) {
        for (size_t i = 0; i < c->units; i++)
            if (c->model.media && c->unit[i].number <= EVENT_CAMERA_DSM)
                ask(&c->unit[i], CAMERA_SNAPSHOT, NULL, 0);
        return RC_AGAIN;
    }
    if (out->kind != DRIVER_OUT_VEHICLE)
        return RC_OK; /* a camera has no buzzer of ours */
    uint16_t status = 0;
    if ((out->inputs.known & EVENT_IN_IGNITION) == 0 || (out->inputs.state & EVENT_IN_IGNITION) != 0)
        status |= CAMERA_IGNITION; /* where it is not wired, the gateway has power with it */
    if ((out->inputs.known & out->inputs.state & EVENT_IN_BRAKE) != 0)
        status |= CAMERA_BRAKE;
    camera_vehicle(&out->fix, out->fix_ms, trip_m(c, out), status, body);
    for (size_t i = 0; i < c->units && rc == RC_OK; i++)
        rc = judge_write(send_frame(c, &c->unit[i], CAMERA_VEHICLE, ++c->unit[i].sequence, body, sizeof body), why, cap);
    return rc == RC_OK ? RC_AGAIN : rc; /* sent is not heard: only the camera's own bytes are a sign of life */
}

/* --- up --- */

/* The camera sends an alarm again while our answer does not reach it. The same sequence, id and phase within REPEAT_MS are a copy. */
static bool is_copy(struct camera *c, struct unit *u, const struct camera_frame *f, const struct event_camera *e)
{
    int64_t now_ms = driver_mono_ms(c->ctx);
    for (size_t i = 0; i < REMEMBERED; i++) {
        const struct seen *s = &u->seen[i];
        if (s->at_ms != 0 && now_ms - s->at_ms < REPEAT_MS && s->sequence == f->sequence && s->alarm_id == e->alarm_id && s->phase == e->phase &&
            s->function == f->function)
            return true;
    }
    u->seen[u->seen_at++ % REMEMBERED] =
        (struct seen){.at_ms = now_ms, .alarm_id = e->alarm_id, .sequence = f->sequence, .function = f->function, .phase = e->phase};
    return false;
}

static void tell_wheels(struct camera *c, const struct camera_alarm *a, const struct event *alarm)
{
    for (size_t i = 0; i < a->wheels; i++) {
        struct event e = {.time_ms = alarm->time_ms, .clock = alarm->clock, .kind = EVENT_READING};
        bool broken = (a->wheel[i].bits & 1U << 4) != 0;
        e.reading = (struct event_reading){broken ? EVENT_UNKNOWN : a->wheel[i].kpa * 1000, EVENT_READING_TYRE_KPA, a->wheel[i].position};
        driver_emit(c->ctx, &e);
        e.reading = (struct event_reading){broken ? EVENT_UNKNOWN : a->wheel[i].c * 1000, EVENT_READING_TYRE_C, a->wheel[i].position};
        driver_emit(c->ctx, &e);
    }
}

static enum rc take_alarm(struct camera *c, struct unit *u, const struct camera_frame *f, char *why, size_t cap)
{
    struct event e = {.kind = EVENT_CAMERA};
    struct camera_alarm a;
    if (camera_alarm(f, &c->model, &a) != RC_OK) {
        driver_count(c->ctx, "bad_alarms", 1);
        snprintf(why, cap, "an alarm of %u bytes does not fit model %s: choose another model file", f->n, c->model.model);
        return RC_INVALID;
    }
    if (is_copy(c, u, f, &a.event)) {
        driver_count(c->ctx, "copies", 1);
        return RC_OK;
    }
    e.camera = a.event;
    int64_t late_ms = driver_wall_ms(c->ctx) - a.time_ms;
    if (a.time_ms != 0 && late_ms > LATE_MIN_MS && late_ms < LATE_MAX_MS) {
        e.time_ms = a.time_ms; /* it waited for the line */
        e.clock = EVENT_CLOCK_SYSTEM;
    }
    if (!a.report)
        driver_emit(c->ctx, &e);
    tell_wheels(c, &a, &e);
    for (size_t i = 0; c->opt->media && c->model.media && i < a.files; i++) {
        struct driver_media m = {.unit = u->number, .type = a.file[i].type, .id = a.file[i].id, .alarm_id = a.event.alarm_id, .time_ms = e.time_ms};
        if (m.time_ms == 0)
            m.time_ms = driver_wall_ms(c->ctx);
        camera_fetch_add(&u->fetch, &m);
    }
    return RC_OK;
}

static enum rc take_state(struct camera *c, struct unit *u, const struct camera_frame *f)
{
    const struct unit *worst = u;
    if (camera_state_of(f, &c->model, &u->state) != RC_OK) {
        driver_count(c->ctx, "bad_states", 1);
        return RC_INVALID;
    }
    u->told = true;
    for (size_t i = 0; i < c->units; i++)
        if (c->unit[i].told && c->unit[i].state.state != EVENT_DEVICE_OK)
            worst = &c->unit[i];
    /* code: the work state in the highest byte, the alarm bits below; 0 when all is well */
    const struct camera_state *s = &worst->state;
    struct event e = {.kind = EVENT_HEALTH};
    e.health.state = (uint8_t)s->state;
    e.health.code = s->state == EVENT_DEVICE_OK && s->alarm_bits == 0 ? 0 : (int32_t)((uint32_t)(s->work & 0x7f) << 24 | (s->alarm_bits & 0xffffff));
    driver_emit(c->ctx, &e);
    return RC_OK;
}

static void take_params(struct camera *c, struct unit *u, const struct camera_frame *f)
{
    char differ[300], line[400];
    if (f->n == 0 || f->n > CAMERA_PARAMS_MAX) {
        driver_count(c->ctx, "bad_bodies", 1);
        return;
    }
    size_t n = camera_params_differ(u->number, c->params, f->data, f->n, differ, sizeof differ);
    if (n == 0) {
        if (u->params_set)
            driver_say(c->ctx, "the camera has taken its settings");
        return;
    }
    if (u->params_set) {
        snprintf(line, sizeof line, "%zu settings did not take: %s", n, differ);
        driver_say(c->ctx, line);
        driver_count(c->ctx, "params_refused", (unsigned)n);
        return;
    }
    ask(u, CAMERA_SET_PARAMS, c->params, f->n); /* as long as its own block: firmware differs */
}

static void take_params_answer(struct camera *c, struct unit *u, const struct camera_frame *f)
{
    if (f->n < 1 || f->data[0] != 0)
        driver_say(c->ctx, "the camera refuses the settings of params");
    u->params_set = true;
    ask(u, CAMERA_GET_PARAMS, NULL, 0); /* what it says it took is not what it took */
}

static enum rc take_packet(struct camera *c, struct unit *u, const struct camera_frame *f)
{
    struct camera_packet p;
    uint8_t answer[CAMERA_MEDIA_HEAD + 1] = {0};
    if (camera_packet(f, &p) != RC_OK) {
        driver_count(c->ctx, "bad_bodies", 1);
        return RC_INVALID; /* unanswered: it comes again */
    }
    memcpy(answer, f->body, CAMERA_MEDIA_HEAD);
    answer[CAMERA_MEDIA_HEAD] = camera_fetch_packet(&u->fetch, &p, driver_mono_ms(c->ctx));
    return send_frame(c, u, CAMERA_MEDIA, f->sequence, answer, sizeof answer);
}

static void take_info(struct camera *c, const struct camera_frame *f)
{
    char line[300];
    if (camera_info(f, line, sizeof line) == RC_OK)
        driver_say(c->ctx, line);
    else
        driver_count(c->ctx, "bad_bodies", 1);
}

static enum rc take_answer(struct camera *c, struct unit *u, const struct camera_frame *f)
{
    switch (f->function) {
    case CAMERA_INFO: take_info(c, f); break;
    case CAMERA_GET_PARAMS: take_params(c, u, f); break;
    case CAMERA_SET_PARAMS: take_params_answer(c, u, f); break;
    case CAMERA_MEDIA_ASK: camera_fetch_asked(&u->fetch, driver_mono_ms(c->ctx), true); break;
    case CAMERA_SNAPSHOT:
        if (f->n >= 1 && f->data[0] != 0)
            driver_count(c->ctx, "snapshots_refused", 1);
        break;
    default: break;
    }
    return RC_OK;
}

static enum rc take_frame(struct camera *c, const struct camera_frame *f, char *why, size_t cap)
{
    struct unit *u = NULL;
    for (size_t i = 0; i < c->units; i++)
        if (c->unit[i].number == f->peripheral)
            u = &c->unit[i];
    if (u == NULL) {
        driver_count(c->ctx, "other_units", 1);
        return RC_AGAIN;
    }
    u->vendor = f->vendor;
    u->heard_ms = driver_mono_ms(c->ctx);
    struct question *q = question_of(u, f->function);
    bool answer = q->function == f->function && q->sequence == f->sequence;
    enum rc rc = RC_OK;
    if (answer)
        q->function = 0; /* before it is taken: an answer may lead to the same question again */
    switch (f->function) {
    case CAMERA_KEEP_ALIVE:
        if (!answer) /* it asks us */
            rc = judge_write(send_frame(c, u, f->function, f->sequence, NULL, 0), why, cap);
        break;
    case CAMERA_ALARM:
    case CAMERA_STATE_REPORT: {
        /* Answered even if it makes no sense to us: asking again would not mend it. */
        enum rc sent = judge_write(send_frame(c, u, f->function, f->sequence, NULL, 0), why, cap);
        rc = f->function == CAMERA_ALARM ? take_alarm(c, u, f, why, cap) : take_state(c, u, f);
        if (sent == RC_END || sent == RC_IO)
            return sent;
        break;
    }
    case CAMERA_STATE_QUERY: rc = take_state(c, u, f); break;
    case CAMERA_MEDIA: rc = judge_write(take_packet(c, u, f), why, cap); break;
    case CAMERA_INFO:
    case CAMERA_GET_PARAMS:
    case CAMERA_SET_PARAMS:
    case CAMERA_MEDIA_ASK:
    case CAMERA_SNAPSHOT:
        if (answer)
            rc = take_answer(c, u, f);
        break;
    default: driver_count(c->ctx, "unknown_functions", 1); break;
    }
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
        c->rx_ms = driver_mono_ms(c->ctx);
        for (size_t k = 0; k < n; k++) {
            struct camera_frame f;
            enum camera_fault fault;
            rc = camera_parse(&c->parser, buf[k], &f, &fault);
            if (rc == RC_OK) {
                rc = take_frame(c, &f, why, cap);
            } else if (rc == RC_INVALID) {
                driver_count(c->ctx, fault == CAMERA_NOISE ? "noise_bytes" : fault == CAMERA_SUM ? "checksum_errors" : "broken_frames", 1);
                snprintf(why, cap, "%s: check speed, wiring and shielding",
                         fault == CAMERA_NOISE ? "noise"
                         : fault == CAMERA_SUM ? "wrong checksum"
                                               : "broken frame");
            }
            if (rc == RC_END || rc == RC_IO)
                return rc;
            if (rc == RC_OK || (rc == RC_INVALID && worst != RC_OK))
                worst = rc;
        }
    }
    return worst;
}

static enum rc serve_unit(struct camera *c, struct unit *u, int64_t now_ms, char *why, size_t cap)
{
    uint8_t body[CAMERA_MEDIA_HEAD + 1];
    bool receiving = c->parser.n > LONG_FRAME && now_ms - c->rx_ms < RESEND_MS;
    if (now_ms - u->heard_ms >= (int64_t)c->opt->keepalive_s * 1000 && !receiving)
        ask(u, CAMERA_KEEP_ALIVE, NULL, 0);
    if (now_ms >= u->state_at_ms) {
        u->state_at_ms = now_ms + (int64_t)c->opt->state_s * 1000;
        ask(u, CAMERA_STATE_QUERY, NULL, 0);
    }
    if (camera_fetch_stalled(&u->fetch, now_ms, receiving, body)) {
        enum rc rc = judge_write(send_frame(c, u, CAMERA_MEDIA, ++u->sequence, body, sizeof body), why, cap);
        if (rc != RC_OK && rc != RC_AGAIN)
            return rc;
    }
    if (question_of(u, CAMERA_MEDIA_ASK)->function == 0 && camera_fetch_wants(&u->fetch, now_ms, body))
        ask(u, CAMERA_MEDIA_ASK, body, 5);
    return send_questions(c, u, now_ms, why, cap);
}

static enum rc camera_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct camera *c = state;
    *ret_next_ms = TICK_MS;
    for (size_t i = 0; i < c->units; i++) {
        enum rc rc = serve_unit(c, &c->unit[i], now_ms, why, cap);
        if (rc != RC_OK)
            return rc;
    }
    return RC_AGAIN;
}

static enum rc camera_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct camera *c = calloc(1, sizeof *c);
    if (c == NULL)
        return RC_NO_MEMORY;
    c->ctx = ctx;
    c->opt = options;
    enum rc rc = regmap_read_camera(c->opt->model, &c->model, why, cap);
    if (rc == RC_OK && c->opt->params[0] != '\0')
        rc = camera_params_read(c->opt->params, c->opt->unit, c->params, why, cap);
    if (rc == RC_OK)
        rc = port_open(&c->opt->port, &c->port, why, cap);
    if (rc != RC_OK) {
        camera_close(c);
        return rc;
    }
    struct kept *k = driver_keep(ctx, sizeof *k);
    c->units = c->opt->unit2 != 0 ? 2 : 1;
    for (size_t i = 0; i < c->units; i++) {
        struct unit *u = &c->unit[i];
        u->number = i == 0 ? c->opt->unit : c->opt->unit2;
        u->vendor = c->opt->vendor;
        u->heard_ms = driver_mono_ms(ctx);
        camera_fetch_init(&u->fetch, ctx);
        for (size_t m = 0; k != NULL && m < k->waiting[i].n; m++)
            camera_fetch_add(&u->fetch, &k->waiting[i].file[m]);
        ask(u, CAMERA_INFO, NULL, 0);
    }
    if (c->opt->params[0] != '\0')
        ask(&c->unit[0], CAMERA_GET_PARAMS, NULL, 0);
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
