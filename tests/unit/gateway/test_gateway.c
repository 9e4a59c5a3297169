/* Time, lane, refusal and store of events on their way through the heart of the gateway, with a clock of the test's own and a real outbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "gateway/gateway.h"

static char dir[64], path[96];
static int64_t wall_ms;

static int64_t test_wall(void *arg)
{
    (void)arg;
    return wall_ms;
}
static int64_t test_mono(void *arg)
{
    struct timespec t;
    (void)arg;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct bench {
    uint64_t after; /* the sequence behind the last batch */
    uv_loop_t loop;
    struct gateway *g;
    struct outbox *o;
    struct event event[2][WIRE_BATCH_MAX]; /* as stored, per lane */
    size_t n[2];
    bool flag, looked; /* looked: the test has fetched what it wants */
    struct wire_frame frame;
};

static void on_stopped(void *arg)
{
    ((struct bench *)arg)->flag = true;
}

static int64_t max_bytes = 1 << 30;

static struct bench *begin(void)
{
    char why[256];
    struct panel_options options;
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    snprintf(dir, sizeof dir, "/tmp/sw-gateway-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/outbox.db", dir);
    uv_loop_init(&b->loop);
    assert_int_equal(field_defaults(panel_fields, panel_fields_n, &options), RC_OK);
    struct gateway_setup s = {.id = "bus-1", .panel = &options};
    assert_int_equal(gateway_start(&b->loop, &s, &b->g), RC_OK);
    struct outbox_setup o = {.path = path, .group_ms = 100, .max_bytes = max_bytes};
    assert_int_equal(outbox_start(&b->loop, &o, &b->o, why, sizeof why), RC_OK);
    gateway_set_outbox(b->g, b->o);
    return b;
}

static void on_batch(void *arg, enum rc rc, enum event_lane lane, const void *frame, size_t len, uint64_t first, size_t n)
{
    struct bench *b = arg;
    const char *fault;
    b->after = first + n;
    b->flag = true;
    if (rc != RC_OK)
        return;
    assert_int_equal(wire_decode(frame, len, &b->frame, &fault), RC_OK);
    memcpy(&b->event[lane][b->n[lane]], b->frame.batch.event, n * sizeof(struct event));
    b->n[lane] += n;
}

/* Everything stored by now, and the end of all. */
static void finish(struct bench *b, struct gateway_figures *ret_f)
{
    struct outbox_figures f;
    int64_t until = test_mono(NULL) + 5000;
    gateway_figures(b->g, ret_f);
    usleep(250000); /* the group */
    do {
        uv_run(&b->loop, UV_RUN_NOWAIT);
        outbox_figures(b->o, &f);
    } while (f.stored < ret_f->events && test_mono(NULL) < until);
    for (int lane = 0; lane < 2 && !b->looked; lane++) {
        size_t before;
        do {
            before = b->n[lane];
            b->flag = false;
            outbox_fetch(b->o, (enum event_lane)lane, b->n[lane] + 1, UINT64_MAX, WIRE_BATCH_MAX, false, on_batch, b);
            while (!b->flag)
                uv_run(&b->loop, UV_RUN_ONCE);
        } while (b->n[lane] > before);
    }
    b->flag = false;
    gateway_set_outbox(b->g, NULL);
    outbox_stop(b->o, on_stopped, b);
    while (!b->flag)
        uv_run(&b->loop, UV_RUN_ONCE);
    gateway_stop(b->g, NULL, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    gateway_free(b->g);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static struct event fix(int64_t time_ms)
{
    return (struct event){.time_ms = time_ms, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS,
                          .fix = {.lat_e7 = 240000000, .lon_e7 = 1090000000, .speed_mmps = 10000, .track_cdeg = 9000, .alt_dm = 1000, .hdop_d = 9,
                                  .satellites = 9, .mode = EVENT_FIX_3D}};
}

static struct event inputs(uint32_t state)
{
    return (struct event){.time_ms = wall_ms, .kind = EVENT_INPUTS, .clock = EVENT_CLOCK_SYSTEM, .inputs = {.state = state, .known = EVENT_IN_ALL}};
}

static void test_lanes_and_stamps(void **state)
{
    (void)state;
    wall_ms = 1795400000000;
    struct bench *b = begin();
    struct gateway_figures f;
    struct event e = fix(wall_ms - 200);
    gateway_event(b->g, NULL, &e);
    e = inputs(EVENT_IN_IGNITION);
    e.time_ms = 0;
    e.clock = EVENT_CLOCK_NONE;
    gateway_event(b->g, NULL, &e);
    e = inputs(EVENT_IN_SOS);
    gateway_event(b->g, NULL, &e);
    e = (struct event){.kind = EVENT_CAMERA, .camera = {.alarm_id = 5, .unit = EVENT_CAMERA_DSM, .type = 1}};
    gateway_event(b->g, NULL, &e);
    finish(b, &f);
    assert_int_equal(f.events, 4);
    assert_int_equal(f.urgent, 2);
    assert_int_equal(b->n[1], 2);
    assert_int_equal(b->event[1][0].kind, EVENT_INPUTS);
    assert_int_equal(b->event[1][1].kind, EVENT_CAMERA);
    assert_int_equal(b->event[1][1].time_ms, wall_ms);
    /* the receiver agrees with the clock: all carry its quality, so that they share a batch */
    for (size_t i = 0; i < b->n[0]; i++)
        if (b->event[0][i].kind == EVENT_INPUTS) {
            assert_int_equal(b->event[0][i].clock, EVENT_CLOCK_GNSS);
            assert_int_equal(b->event[0][i].time_ms, wall_ms);
        }
    free(b);
}

static void test_nonsense_is_dropped_and_counted(void **state)
{
    (void)state;
    wall_ms = 1795400000000;
    struct bench *b = begin();
    struct gateway_figures f;
    struct event e = fix(wall_ms);
    e.fix.lat_e7 = 910000000;
    gateway_event(b->g, NULL, &e);
    e = (struct event){.time_ms = wall_ms, .kind = EVENT_TICK};
    gateway_event(b->g, NULL, &e);
    e = inputs(EVENT_IN_SOS);
    e.inputs.known = 0;
    gateway_event(b->g, NULL, &e);
    finish(b, &f);
    assert_int_equal(f.bad, 3);
    assert_int_equal(f.events, 0);
    assert_int_equal(b->n[0] + b->n[1], 0);
    free(b);
}

/* The battery of the clock is flat: the gateway starts in 1970, the receiver knows better. */
static void test_receiver_sets_a_lost_clock(void **state)
{
    (void)state;
    struct timex t = {0};
    if (adjtimex(&t) != TIME_ERROR && (t.status & STA_UNSYNC) == 0)
        skip(); /* the system's clock is disciplined here, and then it wins */
    const int64_t now = 1795400000000;
    wall_ms = 5000;
    struct bench *b = begin();
    struct gateway_figures f;
    struct event e = inputs(0);
    gateway_event(b->g, NULL, &e);
    for (int i = 0; i < 3; i++) {
        e = fix(now + i * 1000);
        gateway_event(b->g, NULL, &e);
        wall_ms += 1000;
    }
    e = inputs(EVENT_IN_IGNITION);
    gateway_event(b->g, NULL, &e);
    finish(b, &f);
    assert_int_equal(b->n[0], 6);
    /* what was recorded before the receiver had its say got the right time afterwards */
    assert_int_equal(b->event[0][0].kind, EVENT_INPUTS);
    assert_int_equal(b->event[0][0].clock, EVENT_CLOCK_GNSS);
    assert_in_range(b->event[0][0].time_ms, now - 500, now + 2500); /* the test's clock steps by hand */
    size_t set = 0;
    while (set < b->n[0] && b->event[0][set].kind != EVENT_CLOCK)
        set++;
    assert_true(set < b->n[0]);
    assert_int_equal(b->event[0][set].clock_set.quality, EVENT_CLOCK_GNSS);
    assert_int_equal(b->event[0][set].clock_set.offset_ms, now - 1767225600000); /* it began at the day the program was written */
    const struct event *last = &b->event[0][b->n[0] - 1];
    assert_int_equal(last->kind, EVENT_INPUTS);
    assert_int_equal(last->time_ms, now + 3000);
    assert_int_equal(last->clock, EVENT_CLOCK_GNSS);
    free(b);
}

/* One odd fix, or a receiver a thousand weeks back, sets nothing. */
static void test_odd_receiver_is_not_believed(void **state)
{
    (void)state;
    wall_ms = 1795400000000;
    struct bench *b = begin();
    struct gateway_figures f;
    struct event e = fix(wall_ms + 7200000);
    gateway_event(b->g, NULL, &e);
    for (int i = 0; i < 10; i++) {
        e = fix(wall_ms - 1024LL * 7 * 86400000 + i * 1000);
        gateway_event(b->g, NULL, &e);
    }
    e = inputs(0);
    gateway_event(b->g, NULL, &e);
    finish(b, &f);
    assert_int_equal(b->event[0][b->n[0] - 1].time_ms, wall_ms);
    free(b);
}

static void test_disk_trouble_is_an_event(void **state)
{
    (void)state;
    wall_ms = 1795400000000;
    struct bench *b = begin();
    struct gateway_figures f;
    gateway_trouble(b->g, "the disk is full: free space on it");
    gateway_trouble(b->g, "the disk is full: free space on it");
    gateway_trouble(b->g, NULL);
    gateway_trouble(b->g, NULL);
    struct event e = inputs(0);
    gateway_event(b->g, NULL, &e);
    finish(b, &f);
    assert_int_equal(b->n[0], 3);
    assert_int_equal(b->event[0][0].kind, EVENT_HEALTH);
    assert_string_equal(b->event[0][0].health.name, "outbox");
    assert_int_equal(b->event[0][0].health.state, EVENT_DEVICE_FAILED);
    assert_int_equal(b->event[0][1].health.state, EVENT_DEVICE_OK);
    free(b);
}

/* The outbox at its limit: how many positions were given up is in the record, and the alarms are not among them. */
static void test_given_up_records_are_reported(void **state)
{
    (void)state;
    wall_ms = 1795400000000;
    max_bytes = 60 * 1024;
    struct bench *b = begin();
    max_bytes = 1 << 30;
    struct gateway_figures f;
    struct outbox_figures o = {0};
    struct event e = inputs(EVENT_IN_SOS);
    gateway_event(b->g, NULL, &e);
    e = inputs(0);
    gateway_event(b->g, NULL, &e);
    int64_t until = test_mono(NULL) + 20000;
    while (o.given_up == 0 && test_mono(NULL) < until) {
        for (int i = 0; i < 3000; i++) {
            e = fix(wall_ms += 1000);
            e.fix.lat_e7 += i * 1000; /* so that records do not shrink to nothing */
            gateway_event(b->g, NULL, &e);
        }
        uv_run(&b->loop, UV_RUN_NOWAIT);
        usleep(20000);
        outbox_figures(b->o, &o);
    }
    assert_true(o.given_up > 0);
    int64_t told = test_mono(NULL) + 1500; /* a tick, and its group */
    while (test_mono(NULL) < told) {
        uv_run(&b->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    outbox_figures(b->o, &o);
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    assert_int_equal(span[EVENT_LANE_URGENT].first_seq, 1);
    /* only the newest are of interest */
    uint64_t sum = 0;
    for (uint64_t from = span[0].first_seq; from <= span[0].last_seq;) {
        b->n[0] = 0;
        b->flag = false;
        outbox_fetch(b->o, EVENT_LANE_BULK, from, UINT64_MAX, WIRE_BATCH_MAX, false, on_batch, b);
        while (!b->flag)
            uv_run(&b->loop, UV_RUN_ONCE);
        assert_true(b->n[0] > 0);
        from = b->after;
        for (size_t i = 0; i < b->n[0]; i++)
            if (b->event[0][i].kind == EVENT_HEALTH) {
                assert_string_equal(b->event[0][i].health.name, "outbox");
                assert_int_equal(b->event[0][i].health.device, EVENT_DEVICE_STORE);
                assert_int_equal(b->event[0][i].health.state, EVENT_DEVICE_FAILED);
                sum += (uint64_t)b->event[0][i].health.code;
            }
    }
    print_message("given up %llu, reported %llu at once, the rest within the next pause\n", (unsigned long long)o.given_up, (unsigned long long)sum);
    assert_true(sum > 0 && sum <= o.given_up);
    b->looked = true;
    finish(b, &f);
    free(b);
}

/* A module for the doors, another for the alarm button: what is stored carries both, and what went silent is unknown again. */
static void test_two_input_devices(void **state)
{
    (void)state;
    wall_ms = 1795400000000;
    struct bench *b = begin();
    struct gateway_figures f;
    char at[2];
    struct device *doors = (void *)&at[0], *cab = (void *)&at[1]; /* told apart by their addresses; only a refused event asks for the name */
    struct event e = inputs(EVENT_IN_DOOR_FRONT);
    e.inputs.known = EVENT_IN_DOORS;
    gateway_event(b->g, doors, &e);
    e = inputs(EVENT_IN_SOS);
    e.inputs.known = EVENT_IN_SOS | EVENT_IN_BEACON;
    gateway_event(b->g, cab, &e);
    wall_ms += 1000;
    e = inputs(0);
    e.inputs.known = EVENT_IN_DOORS;
    gateway_event(b->g, doors, &e);
    wall_ms += 1000;
    e = (struct event){.time_ms = wall_ms, .kind = EVENT_HEALTH, .clock = EVENT_CLOCK_SYSTEM,
                       .health = {.name = "cab", .device = EVENT_DEVICE_INPUTS, .state = EVENT_DEVICE_SILENT}};
    gateway_event(b->g, cab, &e);
    wall_ms += 1000;
    e.time_ms = wall_ms;
    e.health.state = EVENT_DEVICE_OK;
    gateway_event(b->g, cab, &e);
    /* the end of a recording forgets nothing */
    e = (struct event){.time_ms = wall_ms, .kind = EVENT_HEALTH, .clock = EVENT_CLOCK_SYSTEM,
                       .health = {.name = "replay", .device = EVENT_DEVICE_REPLAY, .state = EVENT_DEVICE_FAILED}};
    gateway_event(b->g, doors, &e);
    finish(b, &f);
    assert_int_equal(f.events, 8);
    /* alarms: the press, the doors while it was pressed, and the alarm again when its device came back */
    assert_int_equal(b->n[1], 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(b->event[1][i].kind, EVENT_INPUTS);
        assert_int_equal(b->event[1][i].inputs.known, EVENT_IN_DOORS | EVENT_IN_SOS | EVENT_IN_BEACON);
        assert_int_equal(b->event[1][i].inputs.state, EVENT_IN_SOS | (i == 0 ? EVENT_IN_DOOR_FRONT : 0));
    }
    assert_int_equal(b->n[0], 5);
    assert_int_equal(b->event[0][1].kind, EVENT_HEALTH);
    assert_int_equal(b->event[0][2].kind, EVENT_INPUTS);
    assert_int_equal(b->event[0][2].time_ms, wall_ms - 1000);
    assert_int_equal(b->event[0][2].inputs.known, EVENT_IN_DOORS);
    assert_int_equal(b->event[0][2].inputs.state, 0);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes_and_stamps),
        cmocka_unit_test(test_nonsense_is_dropped_and_counted),
        cmocka_unit_test(test_receiver_sets_a_lost_clock),
        cmocka_unit_test(test_odd_receiver_is_not_believed),
        cmocka_unit_test(test_disk_trouble_is_an_event),
        cmocka_unit_test(test_given_up_records_are_reported),
        cmocka_unit_test(test_two_input_devices),
    };
    clock_set_source(test_wall, test_mono, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
