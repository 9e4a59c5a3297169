#include "gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "cab.h"
#include "inputs_merge.h"

enum {
    TICK_MS = 250,      /* hold times of the law are seconds; the cab has its own timer */
    SECOND_MS = 1000,   /* vehicle data to cameras, T/JSATL 12: 1 Hz */
    SERVER_OFF_MS = 60000,
    CLOCK_MS = 10000,   /* look at the system's clock */
    LOSS_MS = 10000,    /* report what the outbox could not take or gave up: first after this, then after twice as long each time */
    LOSS_LAST_MS = 3600000,
    LOSS_OVER_MS = 600000, /* nothing lost for so long: it is over */
    READING_AGE_MS = 600000,
};

struct gateway {
    uv_timer_t tick;
    int closing;
    struct outbox *outbox;
    struct cab *cab;
    char id[DUTY_ID_MAX + 1], boot[40];
    struct device *device[GATEWAY_DEVICES_MAX];
    size_t devices;

    struct inputs_merge inputs;
    struct fixgate gate;
    struct fixgate_options gnss;
    bool (*connected)(void *arg);
    void *connected_arg;

    struct timing timing;
    int64_t second_ms, clock_ms;
    int64_t loss_ms, loss_pause_ms; /* last reported; until the next report, 0: nothing was lost lately */
    uint64_t lost_said, given_up_said;
    bool disk_trouble;
    struct event_fix fix;
    int64_t fix_ms, fix_mono_ms;
    int32_t reading[EVENT_READING_LAST + 1];
    int64_t reading_ms[EVENT_READING_LAST + 1]; /* monotonic, 0 = never */
    struct log_gate bad_gate, lost_gate, disk_gate;
    struct gateway_figures figures;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

/* --- storing --- */

static void store(struct gateway *g, const struct event *e, enum event_lane lane)
{
    if (g->outbox == NULL)
        return;
    enum rc rc = outbox_put(g->outbox, lane, e);
    if (rc == RC_FULL) {
        g->figures.lost++;
        if (log_gate_trouble(&g->lost_gate, clock_mono_ms()))
            log_error("gateway", "the disk is too slow or full: %" PRIu64 " records lost so far", g->figures.lost);
    }
}

static void store_own(struct gateway *g, struct event e, enum event_lane lane)
{
    e.time_ms = timing_now_ms(&g->timing);
    e.clock = g->timing.quality;
    store(g, &e, lane);
    cab_event(g->cab, &e);
}

/* --- the clock --- */

static void tell_outbox(struct gateway *g)
{
    if (g->outbox != NULL)
        outbox_clock(g->outbox, g->timing.boot, timing_base_ms(&g->timing), g->timing.quality, g->timing.trusted);
}

static void clock_stepped(struct gateway *g, const struct timing_step *s)
{
    if (s->by_ms != 0)
        log_notice("gateway", "clock set by %+.1f s from %s", (double)s->by_ms / 1000.0, s->source);
    cab_clock(g->cab, s->by_ms);
    tell_outbox(g);
    store_own(g, (struct event){.kind = EVENT_CLOCK, .clock_set = {.offset_ms = s->by_ms, .quality = g->timing.quality}}, EVENT_LANE_BULK);
    timing_save(&g->timing, s->first);
}

static void look_at_clock(struct gateway *g)
{
    struct timing_step s;
    if (timing_look(&g->timing, &s))
        clock_stepped(g, &s);
    timing_save(&g->timing, false);
}

void gateway_server_time(void *arg, int64_t server_ms, bool tls)
{
    struct gateway *g = arg;
    struct timing_step s;
    if (timing_server(&g->timing, server_ms, tls, &s))
        clock_stepped(g, &s);
    int64_t off = server_ms - timing_now_ms(&g->timing);
    if (off > SERVER_OFF_MS || off < -SERVER_OFF_MS)
        log_warning("gateway", "the server's clock differs by %" PRId64 " s: check the time of both (chrony, GNSS)", off / 1000);
}

/* --- what devices say --- */

static void take(struct gateway *g, const struct event *e)
{
    enum event_lane lane = event_lane_of(e);
    g->figures.events++;
    g->figures.urgent += lane == EVENT_LANE_URGENT;
    store(g, e, lane);
    if (e->kind == EVENT_FIX && event_fix_valid(&e->fix)) {
        g->fix = e->fix;
        g->fix_ms = e->time_ms;
        g->fix_mono_ms = clock_mono_ms();
    }
    if (e->kind == EVENT_READING && e->reading.channel == 0) {
        g->reading[e->reading.what] = e->reading.value;
        g->reading_ms[e->reading.what] = clock_mono_ms();
    }
    struct event told = *e;
    if (e->kind == EVENT_FIX && !timing_agrees(&g->timing, e)) /* not yet believed: hold times must not see it jump there and back */
        told.time_ms = timing_now_ms(&g->timing);
    cab_event(g->cab, &told);
}

/* --- positions that may be believed --- */

static bool in_tunnel(const struct gateway *g)
{
    const double ahead_m = 200; /* the last position before it */
    const struct duty_file *d = cab_duty(g->cab);
    const struct bus *b = cab_bus(g->cab);
    if (d == NULL || b->route == 0 || b->route > d->set->routes || b->route_ms != b->fix_ms)
        return false;
    const struct duty_route *r = &d->set->route[b->route - 1];
    for (size_t i = 0; i < r->segments; i++)
        if ((r->segment[i].hazards & DUTY_HAZARD_TUNNEL) != 0 && b->along_m >= r->segment[i].from_m - ahead_m && b->along_m <= r->segment[i].to_m)
            return true;
    return false;
}

static struct fixgate_scene scene_now(struct gateway *g)
{
    const struct bus *b = cab_bus(g->cab);
    return (struct fixgate_scene){.mono_ms = clock_mono_ms(),
                                  .clock_ms = timing_now_ms(&g->timing),
                                  .clock = g->timing.quality,
                                  .clock_trusted = g->timing.ntp,
                                  .power = (b->inputs & b->inputs_known & EVENT_IN_POWER_LOST) == 0,
                                  .network = g->connected != NULL && g->connected(g->connected_arg),
                                  .tunnel = in_tunnel(g)};
}

static void tell_faults(struct gateway *g, struct event *fault, size_t n)
{
    static const char *const what[] = {
        "",           "the position does not change while the bus drives: check the receiver", "positions further apart than the bus can have driven",
        "speed over ground and wheel speed contradict each other: check both",                "the antenna is open or shorted: check its cable",
        "the signals of all satellites fell at once: jamming?",                               "its date is whole periods of 1024 weeks off: update its firmware",
        "its time and a trusted clock are apart"};
    for (size_t i = 0; i < n; i++) {
        const struct event_gnss *f = &fault[i].gnss;
        fault[i].time_ms = timing_now_ms(&g->timing);
        fault[i].clock = g->timing.quality;
        if (f->over)
            log_notice("gnss", "over: %s", what[f->fault]);
        else
            log_warning("gnss", "%s (%" PRId32 ")", what[f->fault], f->value == EVENT_UNKNOWN ? 0 : f->value);
        take(g, &fault[i]);
    }
}

/* Marks what is doubtful, tells what began or ended. False: the event was for the gate alone. */
static bool pass_gate(struct gateway *g, struct event *e)
{
    struct event fault[FIXGATE_OUT_MAX];
    if (e->kind != EVENT_FIX && e->kind != EVENT_READING && e->kind != EVENT_GNSS)
        return true;
    struct fixgate_scene now = scene_now(g);
    tell_faults(g, fault, fixgate_take(&g->gate, &g->gnss, &now, e, fault));
    return e->kind != EVENT_GNSS;
}

/* What a device that went away said of doors and buttons holds no longer. The end of a recording is not such a device: its bus goes on as it was. */
static void note_health(struct gateway *g, const struct device *d, const struct event *health)
{
    struct event e = {.time_ms = health->time_ms, .kind = EVENT_INPUTS, .clock = health->clock};
    if (health->health.device != EVENT_DEVICE_INPUTS ||
        !inputs_merge_health(&g->inputs, d, health->health.state == EVENT_DEVICE_OK, &e.inputs))
        return;
    take(g, &e);
}

int64_t gateway_clock_ms(void *arg)
{
    struct gateway *g = arg;
    return timing_now_ms(&g->timing);
}

void gateway_event(void *arg, struct device *d, const struct event *given)
{
    struct gateway *g = arg;
    struct event e = *given;
    uint64_t began = uv_hrtime();
    const char *field = "";
    if (e.time_ms == 0 || e.clock <= EVENT_CLOCK_SYSTEM) { /* stamped by the system's clock as it came in */
        e.time_ms = timing_of_ms(&g->timing, e.time_ms);
        e.clock = g->timing.quality;
    }
    if (e.kind == EVENT_TICK || event_check(&e, &field) != RC_OK) {
        g->figures.bad++;
        if (e.kind != EVENT_TICK && log_gate_trouble(&g->bad_gate, clock_mono_ms()))
            log_warning("gateway", "%s: %s is outside its range, the record is dropped (%" PRIu64 " so far): check the device's register map or model",
                        d != NULL ? device_name(d) : "gateway", field, g->figures.bad);
        return;
    }
    if (e.kind == EVENT_CARD && e.card.kind == EVENT_CARD_UNKNOWN)
        e.card.kind = cab_card_kind(g->cab, e.card.hash); /* a reader knows a number, not whose it is */
    struct timing_step step;
    if (e.kind == EVENT_FIX && timing_fix(&g->timing, &e, &step))
        clock_stepped(g, &step);
    if (e.kind == EVENT_INPUTS)
        inputs_merge_report(&g->inputs, d, &e);
    if (!pass_gate(g, &e))
        return;
    take(g, &e);
    if (e.kind == EVENT_HEALTH)
        note_health(g, d, &e);
    uint64_t took_us = (uv_hrtime() - began) / 1000;
    if (took_us > g->figures.worst_us)
        g->figures.worst_us = took_us;
}

/* --- what time brings --- */

static void tell_cameras(struct gateway *g, int64_t mono)
{
    if (g->fix_mono_ms == 0 || mono - g->fix_mono_ms > 5000)
        return; /* an old speed is worse than none: a camera judges by it */
    const struct bus *bus = cab_bus(g->cab);
    struct driver_output out = {.kind = DRIVER_OUT_VEHICLE,
                                .fix = g->fix,
                                .fix_ms = g->fix_ms,
                                .inputs = {.state = bus->inputs & bus->inputs_known, .known = bus->inputs_known}};
    for (size_t i = 0; i < g->devices; i++) {
        const struct driver *driver = device_driver(g->device[i]);
        if (driver->kind == EVENT_DEVICE_CAMERA && driver->output != NULL && device_output(g->device[i], &out) != RC_OK)
            g->figures.outputs_lost++;
    }
}

static void store_health(struct gateway *g, uint8_t state, uint64_t code, enum event_lane lane)
{
    struct event e = {.kind = EVENT_HEALTH,
                      .health = {.name = "outbox", .device = EVENT_DEVICE_STORE, .state = state, .code = code > INT32_MAX ? INT32_MAX : (int32_t)code}};
    store_own(g, e, lane);
}

/* Records that nobody will ever see: those that were never taken, and the oldest ones that made room for new ones. The office is told how many. */
static void report_losses(struct gateway *g, int64_t mono)
{
    struct outbox_figures o = {.given_up = g->given_up_said};
    if (g->outbox != NULL)
        outbox_figures(g->outbox, &o);
    uint64_t lost = g->figures.lost - g->lost_said, given_up = o.given_up - g->given_up_said;
    if (lost + given_up == 0) {
        if (g->loss_pause_ms == 0 || mono - g->loss_ms < LOSS_OVER_MS)
            return;
        g->loss_pause_ms = 0;
        log_gate_over(&g->lost_gate);
        log_notice("outbox", "no records were lost for %d min", LOSS_OVER_MS / 60000);
        if (!g->disk_trouble)
            store_health(g, EVENT_DEVICE_OK, 0, EVENT_LANE_BULK);
        return;
    }
    if (mono - g->loss_ms < g->loss_pause_ms)
        return;
    g->loss_ms = mono;
    g->loss_pause_ms = g->loss_pause_ms == 0 ? LOSS_MS : g->loss_pause_ms * 2 > LOSS_LAST_MS ? LOSS_LAST_MS : g->loss_pause_ms * 2;
    g->lost_said += lost;
    g->given_up_said += given_up;
    if (lost > 0)
        store_own(g, (struct event){.kind = EVENT_GAP, .gap = {.n = lost > UINT32_MAX ? UINT32_MAX : (uint32_t)lost, .reason = EVENT_GAP_MEMORY}},
                  EVENT_LANE_URGENT);
    log_error("outbox", "%" PRIu64 " oldest records given up for new ones, %" PRIu64 " new ones lost: restore the connection, free the disk or raise max_mb",
              given_up, lost);
    store_health(g, EVENT_DEVICE_FAILED, lost + given_up, lost > 0 ? EVENT_LANE_URGENT : EVENT_LANE_BULK); /* with losses it is the bulk queue that is full */
}

static void on_tick(uv_timer_t *t)
{
    struct gateway *g = t->data;
    int64_t mono = clock_mono_ms();
    cab_tick(g->cab, g->timing.quality);
    if (mono - g->second_ms >= SECOND_MS) {
        g->second_ms = mono;
        tell_cameras(g, mono);
        struct fixgate_scene now = scene_now(g);
        struct event fault;
        tell_faults(g, &fault, fixgate_tick(&g->gate, &g->gnss, &now, &fault));
    }
    if (mono - g->clock_ms >= CLOCK_MS) {
        g->clock_ms = mono;
        look_at_clock(g);
    }
    report_losses(g, mono);
}

void gateway_trouble(struct gateway *g, const char *text)
{
    if (text != NULL && log_gate_trouble(&g->disk_gate, clock_mono_ms()))
        log_error("outbox", "%s", text);
    else if (text == NULL && log_gate_over(&g->disk_gate))
        log_notice("outbox", "records are written again");
    if (g->disk_trouble == (text != NULL))
        return; /* the outbox tells each failed try */
    g->disk_trouble = text != NULL;
    store_health(g, g->disk_trouble ? EVENT_DEVICE_FAILED : EVENT_DEVICE_OK, 0, EVENT_LANE_BULK);
}

/* --- the office --- */

int64_t gateway_date(struct gateway *g, bool *ret_trusted)
{
    *ret_trusted = g->timing.ntp || g->timing.gnss_mono_ms != 0;
    return timing_now_ms(&g->timing);
}

void gateway_hello(void *arg, struct wire_hello *h)
{
    struct gateway *g = arg;
    const struct duty_file *duty = cab_duty(g->cab);
    snprintf(h->boot, sizeof h->boot, "%s", g->boot);
    snprintf(h->firmware, sizeof h->firmware, "%s", SCHOOLWARD_VERSION);
    snprintf(h->duty, sizeof h->duty, "%s", duty != NULL ? duty->duty_version : "");
    snprintf(h->law, sizeof h->law, "%s", duty != NULL ? duty->law_version : "");
    h->time_ms = timing_now_ms(&g->timing);
    h->clock = g->timing.quality;
}

void gateway_action(struct gateway *g, uint8_t what, uint64_t ref, int32_t value)
{
    struct event e = {.kind = EVENT_ACTION, .action = {.ref = ref, .value = value, .what = what}};
    store_own(g, e, event_lane_of(&e));
}

struct cab *gateway_cab(struct gateway *g)
{
    return g->cab;
}

bool gateway_last_fix(const struct gateway *g, struct event_fix *ret_fix, int64_t *ret_age_ms)
{
    if (g->fix_mono_ms == 0)
        return false;
    *ret_fix = g->fix;
    *ret_age_ms = clock_mono_ms() - g->fix_mono_ms;
    return true;
}

struct gateway_clock gateway_clock(struct gateway *g)
{
    return (struct gateway_clock){.time_ms = timing_now_ms(&g->timing), .offset_ms = g->timing.offset_ms, .quality = g->timing.quality};
}

int32_t gateway_reading(const struct gateway *g, uint8_t what)
{
    if (what > EVENT_READING_LAST || g->reading_ms[what] == 0 || clock_mono_ms() - g->reading_ms[what] > READING_AGE_MS)
        return EVENT_UNKNOWN;
    return g->reading[what];
}

size_t gateway_devices(const struct gateway *g, struct device *const **ret_devices)
{
    *ret_devices = g->device;
    return g->devices;
}

/* --- begin and end --- */

/* What the cab counted, and what people confirmed there. */
static void on_cab_event(void *arg, const struct event *e)
{
    struct gateway *g = arg;
    enum event_lane lane = event_lane_of(e);
    g->figures.events++;
    g->figures.urgent += lane == EVENT_LANE_URGENT;
    store(g, e, lane);
}

enum rc gateway_start(uv_loop_t *loop, const struct gateway_setup *s, struct gateway **ret_g)
{
    struct gateway *g = calloc(1, sizeof *g);
    if (g == NULL)
        return RC_NO_MEMORY;
    if (s->gnss != NULL) {
        g->gnss = *s->gnss;
    } else if (field_defaults(fixgate_fields, fixgate_fields_n, &g->gnss) != RC_OK) {
        free(g);
        return RC_INVALID;
    }
    g->connected = s->connected;
    g->connected_arg = s->arg;
    timing_start(&g->timing, s->state_dir);
    struct cab_setup cab = {
        .panel = s->panel, .state_dir = s->state_dir, .now_ms = timing_now_ms(&g->timing), .on_event = on_cab_event, .arg = g};
    enum rc rc = cab_start(loop, &cab, &g->cab);
    if (rc != RC_OK) {
        free(g);
        return rc;
    }
    snprintf(g->id, sizeof g->id, "%s", s->id);
    snprintf(g->boot, sizeof g->boot, "%016" PRIx64, (uint64_t)uv_hrtime() ^ ((uint64_t)clock_wall_ms() << 20));
    g->clock_ms = clock_mono_ms();
    uv_timer_init(loop, &g->tick);
    g->tick.data = g;
    uv_timer_start(&g->tick, on_tick, TICK_MS, TICK_MS);
    *ret_g = g;
    return RC_OK;
}

static void on_part_stopped(void *arg)
{
    struct gateway *g = arg;
    if (--g->closing == 0 && g->on_stopped != NULL)
        g->on_stopped(g->stopped_arg);
}

static void on_closed(uv_handle_t *h)
{
    on_part_stopped(h->data);
}

void gateway_stop(struct gateway *g, void (*on_stopped)(void *arg), void *arg)
{
    g->on_stopped = on_stopped;
    g->stopped_arg = arg;
    g->closing = 2;
    uv_close((uv_handle_t *)&g->tick, on_closed);
    cab_stop(g->cab, on_part_stopped, g);
}

void gateway_free(struct gateway *g)
{
    if (g == NULL)
        return;
    cab_free(g->cab);
    free(g);
}

void gateway_set_outbox(struct gateway *g, struct outbox *o)
{
    g->outbox = o;
    tell_outbox(g);
}

void gateway_set_duty(struct gateway *g, struct duty_file *d)
{
    cab_set_duty(g->cab, d);
}

void gateway_attach(struct gateway *g, struct device *d)
{
    if (g->devices < GATEWAY_DEVICES_MAX)
        g->device[g->devices++] = d;
    cab_attach(g->cab, d);
}

void gateway_detach_all(struct gateway *g)
{
    g->devices = 0;
    cab_detach_all(g->cab);
}

void gateway_figures(const struct gateway *g, struct gateway_figures *ret_f)
{
    struct cab_figures c;
    cab_figures(g->cab, &c);
    *ret_f = g->figures;
    ret_f->findings = c.findings;
    ret_f->outputs_lost += c.outputs_lost;
}
