/* The fold: positions, counts by source, doors, freshness, and which pass of a street the bus is on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scene.h"

#define VEHICLE "\"rated\":{\"total\":40}"

static struct event fix_at(int64_t time_ms, double lat, double lon, double mps, double track_deg)
{
    struct event e = {.time_ms = time_ms, .kind = EVENT_FIX};
    e.fix = (struct event_fix){.lat_e7 = (int32_t)lround(lat * 1e7),
                               .lon_e7 = (int32_t)lround(lon * 1e7),
                               .speed_mmps = (int32_t)(mps * 1000),
                               .track_cdeg = (int32_t)(track_deg * 100),
                               .hdop_d = 10,
                               .mode = EVENT_FIX_3D};
    return e;
}

static struct event count_at(int64_t time_ms, int source, int door, int in, int out, int pct)
{
    struct event e = {.time_ms = time_ms, .kind = EVENT_COUNT};
    e.count = (struct event_count){.source = (uint8_t)source,
                                   .door = (uint8_t)door,
                                   .confidence_pct = (uint8_t)pct,
                                   .boarded = in,
                                   .alighted = out,
                                   .aboard = source == EVENT_COUNT_DOOR ? EVENT_UNKNOWN : in};
    return e;
}

static void test_fix_order(void **state)
{
    (void)state;
    struct bus b = {0}, before;
    struct event e = fix_at(1000, 23.0, 113.0, 10, 90);
    bus_apply(&b, NULL, NULL, &e);
    assert_int_equal(b.fix_ms, 1000);
    assert_int_equal(b.report_ms, 1000);
    assert_true(b.moved_m == 0);
    struct event next = fix_at(2000, 23.001, 113.0, 10, 0);
    bus_apply(&b, NULL, NULL, &next);
    assert_true(fabs(b.moved_m - 111.2) < 0.1);
    before = b;
    bus_apply(&b, NULL, NULL, &next); /* twice */
    assert_memory_equal(&b, &before, sizeof b);
    bus_apply(&b, NULL, NULL, &e); /* older */
    assert_memory_equal(&b, &before, sizeof b);
    struct event other = fix_at(2000, 24.0, 113.0, 10, 0); /* of the same time: the first one stays */
    bus_apply(&b, NULL, NULL, &other);
    assert_memory_equal(&b, &before, sizeof b);
    struct event lost = fix_at(3000, 25.0, 113.0, 10, 0);
    lost.fix.mode = EVENT_FIX_NONE;
    bus_apply(&b, NULL, NULL, &lost);
    assert_int_equal(b.fix_ms, 2000);
    assert_int_equal(b.report_ms, 3000);
    assert_int_equal(b.report_mode, EVENT_FIX_NONE);
    assert_int_equal(b.time_ms, 3000);
    struct event dateless = fix_at(0, 23.0, 113.0, 1, 0);
    before = b;
    bus_apply(&b, NULL, NULL, &dateless);
    assert_memory_equal(&b, &before, sizeof b);
}

/* A standing receiver wanders; that is no driving. */
static void test_jitter_is_no_path(void **state)
{
    (void)state;
    struct bus b = {0};
    for (int i = 1; i <= 600; i++) {
        struct event e = fix_at(i * 1000, 23.0 + 0.00002 * (i % 3), 113.0, 0.3, 0);
        bus_apply(&b, NULL, NULL, &e);
    }
    assert_true(b.moved_m == 0);
}

static void test_route_match(void **state)
{
    (void)state;
    struct scene *s = scene_new(VEHICLE, "");
    s->off_m = 30;
    scene_drive(s, 36, 10);
    assert_int_equal(s->bus.route, 1);
    assert_int_equal(s->bus.route_ms, s->bus.fix_ms);
    assert_true(fabs(s->bus.along_m - 5100) < 1);
    assert_true(fabs(s->bus.offset_m - 30) < 0.2);
    s->off_m = 30000;
    scene_drive(s, 36, 1);
    assert_true(isinf(s->bus.offset_m));
    s->off_m = 0;
    scene_drive(s, 36, 1);
    assert_true(s->bus.offset_m < 0.2);
    scene_free(s);
}

/* There and back through one street: the pass is the one that runs our way, also after a start at the end of the line. */
static void test_there_and_back(void **state)
{
    (void)state;
    static const char json[] = "{\"format\":\"schoolward.duty.1\",\"routes\":[{\"id\":\"r\",\"name_zh\":\"x\",\"name_en\":\"x\",\"rural\":false,"
                               "\"line\":[[113.0,23.0],[113.1,23.0],[113.0,23.0]],\"stops\":[]}],\"vehicles\":[{\"id\":\"b\",\"plate\":\"p\","
                               "\"gateway\":\"g\",\"staff\":1,\"staff_uncounted\":1,\"routes\":[{\"route\":\"r\"}]}]}";
    struct duty_set *set = NULL;
    char why[256];
    assert_int_equal(duty_read(json, sizeof json - 1, &set, why, sizeof why), RC_OK);
    double length_m = geo_line_length_m(set->route[0].line);
    struct bus b = {0};
    int64_t t = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i < 100; i++) { /* east */
            struct event e = fix_at(t += 1000, 23.0, 113.0 + 0.001 * i, 15, 90);
            bus_apply(&b, set, &set->vehicle[0], &e);
            assert_true(fabs(b.along_m - length_m / 200 * i) < 2);
        }
        for (int i = 99; i > 0; i--) { /* west */
            struct event e = fix_at(t += 1000, 23.0, 113.0 + 0.001 * i, 15, 270);
            bus_apply(&b, set, &set->vehicle[0], &e);
            assert_true(fabs(b.along_m - (length_m - length_m / 200 * i)) < 2);
        }
    }
    duty_free(set);
}

static void test_doors_tally(void **state)
{
    (void)state;
    struct duty_vehicle v = {.staff = 2, .staff_uncounted = 1};
    struct bus b = {0};
    struct bus_persons p = bus_persons(&b, &v);
    assert_int_equal(p.persons, EVENT_UNKNOWN);
    assert_int_equal(p.pupils, EVENT_UNKNOWN);
    assert_int_equal(p.sources, 0);
    struct event e = count_at(1000, EVENT_COUNT_DOOR, 0, 21, 0, 95);
    bus_apply(&b, NULL, &v, &e);
    e = count_at(2000, EVENT_COUNT_DOOR, 1, 0, 1, 90); /* in at the front, out at the rear */
    bus_apply(&b, NULL, &v, &e);
    p = bus_persons(&b, &v);
    assert_int_equal(p.persons, 21);
    assert_int_equal(p.pupils, 19);
    assert_int_equal(p.confidence_pct, 90);
    assert_int_equal(p.sources, 1);
    assert_int_equal(p.source, EVENT_COUNT_DOOR);
    assert_int_equal(p.time_ms, 2000);
    assert_false(p.doubtful);
    e = count_at(1500, EVENT_COUNT_DOOR, 1, 0, 9, 90); /* older: ignored */
    bus_apply(&b, NULL, &v, &e);
    assert_int_equal(bus_persons(&b, &v).persons, 21);
    e = count_at(3000, EVENT_COUNT_DOOR, 1, 0, 25, 90); /* more out than in */
    bus_apply(&b, NULL, &v, &e);
    p = bus_persons(&b, &v);
    assert_true(p.doubtful);
    assert_int_equal(p.persons, 1);
    assert_int_equal(p.pupils, 0);
    e = count_at(4000, EVENT_COUNT_DOOR, 1, EVENT_UNKNOWN, EVENT_UNKNOWN, 90); /* a read that failed */
    bus_apply(&b, NULL, &v, &e);
    e = count_at(4000, EVENT_COUNT_DOOR, 0, 46, 0, 90);
    bus_apply(&b, NULL, &v, &e);
    p = bus_persons(&b, &v);
    assert_int_equal(p.persons, 22);
    assert_true(p.doubtful);
    e = count_at(5000, EVENT_COUNT_DOOR, 1, 0, 25, 90);
    bus_apply(&b, NULL, &v, &e);
    assert_false(bus_persons(&b, &v).doubtful);
}

static void test_sources_agree(void **state)
{
    (void)state;
    struct duty_vehicle v = {.staff = 2, .staff_uncounted = 1};
    struct bus b = {0};
    struct event e = count_at(10000, EVENT_COUNT_DOOR, 0, 30, 0, 90); /* 31 aboard */
    bus_apply(&b, NULL, &v, &e);
    e = count_at(10000, EVENT_COUNT_CAMERA, 0, 32, 0, 80);
    bus_apply(&b, NULL, &v, &e);
    struct bus_persons p = bus_persons(&b, &v);
    assert_int_equal(p.persons, 31);
    assert_int_equal(p.sources, 2);
    assert_int_equal(p.confidence_pct, 98);
    assert_int_equal(p.least, 31);
    assert_int_equal(p.most, 32);
    assert_false(p.doubtful);
    e = count_at(11000, EVENT_COUNT_CAMERA, 0, 33, 0, 80); /* two apart */
    bus_apply(&b, NULL, &v, &e);
    p = bus_persons(&b, &v);
    assert_true(p.doubtful);
    assert_int_equal(p.sources, 1);
    assert_int_equal(p.confidence_pct, 90);
    assert_int_equal(p.most, 33);
    e = count_at(12000, EVENT_COUNT_ATTENDANT, 0, 33, 0, 95); /* who is surest leads */
    bus_apply(&b, NULL, &v, &e);
    p = bus_persons(&b, &v);
    assert_int_equal(p.persons, 33);
    assert_int_equal(p.source, EVENT_COUNT_ATTENDANT);
    assert_int_equal(p.sources, 2);
    assert_true(p.doubtful);
    e = count_at(50000, EVENT_COUNT_DOOR, 0, 35, 0, 90); /* children boarded since: what was said before does not count */
    bus_apply(&b, NULL, &v, &e);
    p = bus_persons(&b, &v);
    assert_int_equal(p.persons, 36);
    assert_int_equal(p.sources, 1);
    assert_false(p.doubtful);
    e = count_at(90000, EVENT_COUNT_DOOR, 0, 35, 0, 90); /* the same again: nobody moved */
    bus_apply(&b, NULL, &v, &e);
    e = count_at(60000, EVENT_COUNT_CARDS, 0, 36, 0, 70);
    bus_apply(&b, NULL, &v, &e);
    p = bus_persons(&b, &v);
    assert_int_equal(p.sources, 2);
    e = count_at(95000, EVENT_COUNT_CARDS, 0, EVENT_UNKNOWN, 0, 70); /* cannot tell any more */
    bus_apply(&b, NULL, &v, &e);
    assert_int_equal(bus_persons(&b, &v).sources, 1);
}

static void test_camera_grows_old(void **state)
{
    (void)state;
    struct duty_vehicle v = {.staff = 2, .staff_uncounted = 1};
    struct bus b = {0};
    struct event e = count_at(1000, EVENT_COUNT_CAMERA, 0, 20, 0, 80);
    bus_apply(&b, NULL, &v, &e);
    struct event tick = {.time_ms = 601000, .kind = EVENT_TICK};
    bus_apply(&b, NULL, &v, &tick);
    assert_int_equal(bus_persons(&b, &v).persons, 20);
    tick.time_ms = 601001;
    bus_apply(&b, NULL, &v, &tick);
    assert_int_equal(bus_persons(&b, &v).persons, EVENT_UNKNOWN);
}

static void test_doors_open(void **state)
{
    (void)state;
    struct bus b = {0};
    assert_int_equal(bus_doors_open(&b), -1);
    struct event e = {.time_ms = 1000, .kind = EVENT_INPUTS};
    e.inputs = (struct event_inputs){.known = EVENT_IN_IGNITION, .state = EVENT_IN_IGNITION};
    bus_apply(&b, NULL, NULL, &e);
    assert_int_equal(bus_doors_open(&b), -1);
    e.time_ms = 2000;
    e.inputs.known = EVENT_IN_DOOR_FRONT | EVENT_IN_DOOR_REAR;
    e.inputs.state = 0;
    bus_apply(&b, NULL, NULL, &e);
    assert_int_equal(bus_doors_open(&b), 0);
    e.time_ms = 3000;
    e.inputs.state = EVENT_IN_DOOR_REAR;
    bus_apply(&b, NULL, NULL, &e);
    assert_int_equal(bus_doors_open(&b), 1);
    struct event old = e;
    old.time_ms = 2500;
    old.inputs.state = 0;
    bus_apply(&b, NULL, NULL, &old);
    assert_int_equal(bus_doors_open(&b), 1);
    e.time_ms = 4000; /* the rear contact, fitted as we know, cannot be read any more */
    e.inputs.known = EVENT_IN_DOOR_FRONT;
    e.inputs.state = 0;
    bus_apply(&b, NULL, NULL, &e);
    assert_int_equal(bus_doors_open(&b), -1);
}

static void test_freshness(void **state)
{
    (void)state;
    struct bus b = {0};
    assert_int_equal(bus_freshness(&b, 1000000, true, NULL), BUS_NEVER);
    struct event tick = {.time_ms = 1000, .kind = EVENT_TICK};
    bus_apply(&b, NULL, NULL, &tick);
    assert_int_equal(bus_freshness(&b, 2000, true, NULL), BUS_NO_FIX);
    assert_int_equal(bus_freshness(&b, 2000, false, NULL), BUS_OFFLINE);
    struct event e = fix_at(100000, 23, 113, 5, 0);
    bus_apply(&b, NULL, NULL, &e);
    static const struct {
        int64_t age_ms;
        enum bus_freshness f;
    } c[] = {{-5000, BUS_FRESH},    {0, BUS_FRESH},      {30000, BUS_FRESH},  {30001, BUS_DELAYED},
             {120000, BUS_DELAYED}, {120001, BUS_STALE}, {600000, BUS_STALE}, {600001, BUS_OFFLINE}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        assert_int_equal(bus_freshness(&b, 100000 + c[i].age_ms, true, NULL), c[i].f);
    struct event lost = fix_at(101000, 23, 113, 5, 0);
    lost.fix.mode = EVENT_FIX_NONE;
    bus_apply(&b, NULL, NULL, &lost);
    assert_int_equal(bus_freshness(&b, 102000, true, NULL), BUS_NO_FIX);
    assert_int_equal(bus_freshness(&b, 102000, false, NULL), BUS_FRESH);
    assert_int_equal(bus_freshness(&b, 300000, true, NULL), BUS_STALE); /* that report is old itself */
    struct bus_freshness_limits lim = {1000, 2000, 3000};
    assert_int_equal(bus_freshness(&b, 103500, false, &lim), BUS_OFFLINE);
    assert_string_equal(bus_freshness_word(BUS_NO_FIX), "no_fix");
    assert_string_equal(bus_freshness_word(BUS_NEVER), "never");
}

/* A doubtful position moves nothing and is shown as no fix; the next good one is. */
static void test_doubtful_fix(void **state)
{
    (void)state;
    struct bus b = {0};
    struct event e = fix_at(100000, 23, 113, 5, 0);
    bus_apply(&b, NULL, NULL, &e);
    struct event jump = fix_at(101000, 24, 114, 5, 0);
    jump.fix.doubt = EVENT_DOUBT_PLACE;
    assert_true(event_fix_placed(&jump.fix) && !event_fix_valid(&jump.fix));
    bus_apply(&b, NULL, NULL, &jump);
    assert_int_equal(b.fix_ms, 100000);
    assert_int_equal(b.fix.lat_e7, 230000000);
    assert_true(b.moved_m == 0);
    assert_int_equal(bus_freshness(&b, 102000, true, NULL), BUS_NO_FIX);
    e.time_ms = 102000;
    bus_apply(&b, NULL, NULL, &e);
    assert_int_equal(b.fix_ms, 102000);
    assert_int_equal(bus_freshness(&b, 102000, true, NULL), BUS_FRESH);
}

static struct bus_speed speed_with(int32_t milli_kmh, int64_t at_ms, uint8_t doubt)
{
    struct bus b = {0};
    struct event wheel = {.time_ms = at_ms, .kind = EVENT_READING, .reading = {.what = EVENT_READING_WHEEL_KMH, .value = milli_kmh}};
    struct event e = fix_at(100000, 23, 113, 10, 0);
    e.fix.doubt = doubt;
    bus_apply(&b, NULL, NULL, &wheel);
    bus_apply(&b, NULL, NULL, &e);
    return bus_speed(&b);
}

static void test_wheel_speed(void **state)
{
    (void)state;
    struct bus none = {0};
    assert_int_equal(bus_speed(&none).source, BUS_SPEED_NONE);
    struct bus_speed s = speed_with(54000, 99000, 0);
    assert_int_equal(s.source, BUS_SPEED_WHEEL);
    assert_int_equal(s.mmps, 15000); /* 54 km/h */
    assert_int_equal(speed_with(0, 99000, 0).mmps, 0);
    s = speed_with(54000, 97000, 0); /* three seconds old */
    assert_int_equal(s.source, BUS_SPEED_GNSS);
    assert_int_equal(s.mmps, 10000);
    assert_int_equal(speed_with(EVENT_UNKNOWN, 99000, 0).source, BUS_SPEED_GNSS);
    assert_int_equal(speed_with(-1, 99000, 0).source, BUS_SPEED_GNSS);
    s = speed_with(54000, 99000, EVENT_DOUBT_SPEED); /* they contradict each other */
    assert_int_equal(s.source, BUS_SPEED_NONE);
    assert_int_equal(s.mmps, EVENT_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fix_order),        cmocka_unit_test(test_jitter_is_no_path), cmocka_unit_test(test_route_match),
        cmocka_unit_test(test_there_and_back),   cmocka_unit_test(test_doors_tally),       cmocka_unit_test(test_sources_agree),
        cmocka_unit_test(test_camera_grows_old), cmocka_unit_test(test_doors_open),        cmocka_unit_test(test_freshness),
        cmocka_unit_test(test_doubtful_fix),     cmocka_unit_test(test_wheel_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
