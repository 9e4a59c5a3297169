/* Which positions are believed: a bus drives through simulated time, and a receiver, its aerial or somebody outside lies about it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/fixgate.h"

#define T0 INT64_C(1795400000000)

struct ride {
    struct fixgate g;
    struct fixgate_options o;
    struct fixgate_scene now;
    double metres; /* along the road, east from 24 N 109 E */
    int64_t time_ms;
    int begun[EVENT_GNSS_LAST + 1], over[EVENT_GNSS_LAST + 1];
    int32_t value[EVENT_GNSS_LAST + 1];
    struct event last; /* newest fix as it came out */
};

static struct ride begin(void)
{
    struct ride r = {.time_ms = T0, .now = {.mono_ms = 1000, .clock_ms = T0, .clock = EVENT_CLOCK_NTP, .power = true, .network = true}};
    assert_int_equal(field_defaults(fixgate_fields, fixgate_fields_n, &r.o), RC_OK);
    return r;
}

static void note(struct ride *r, const struct event *out, size_t n)
{
    const char *fault;
    assert_true(n <= FIXGATE_OUT_MAX);
    for (size_t i = 0; i < n; i++) {
        struct event e = out[i];
        e.time_ms = T0;
        assert_int_equal(event_check(&e, &fault), RC_OK);
        (e.gnss.over ? r->over : r->begun)[e.gnss.fault]++;
        r->value[e.gnss.fault] = e.gnss.value;
    }
}

static uint8_t give(struct ride *r, struct event e)
{
    struct event out[FIXGATE_OUT_MAX];
    note(r, out, fixgate_take(&r->g, &r->o, &r->now, &e, out));
    r->last = e;
    return e.kind == EVENT_FIX ? e.fix.doubt : 0;
}

static struct event fix_at(const struct ride *r, double metres, double kmh)
{
    return (struct event){.time_ms = r->time_ms,
                          .kind = EVENT_FIX,
                          .clock = EVENT_CLOCK_GNSS,
                          .fix = {.lat_e7 = 240000000,
                                  .lon_e7 = 1090000000 + (int32_t)lround(metres / 0.0101634),
                                  .speed_mmps = (int32_t)lround(kmh / 0.0036),
                                  .track_cdeg = 9000,
                                  .alt_dm = EVENT_UNKNOWN,
                                  .hdop_d = 9,
                                  .satellites = 9,
                                  .mode = EVENT_FIX_3D}};
}

static void pass(struct ride *r, int64_t ms)
{
    struct event out[1];
    r->now.mono_ms += ms;
    r->now.clock_ms += ms;
    r->time_ms += ms;
    note(r, out, fixgate_tick(&r->g, &r->o, &r->now, out));
}

/* One second of driving at kmh; the position is `off` metres wrong. Returns the doubts. */
static uint8_t second(struct ride *r, double kmh, double off)
{
    pass(r, 1000);
    r->metres += kmh / 3.6;
    return give(r, fix_at(r, r->metres + off, kmh));
}

/* Seconds without any doubt. */
static void drive(struct ride *r, double kmh, int seconds)
{
    for (int i = 0; i < seconds; i++)
        assert_int_equal(second(r, kmh, 0), 0);
}

static void wheel(struct ride *r, double kmh)
{
    give(r, (struct event){.time_ms = r->time_ms,
                           .kind = EVENT_READING,
                           .reading = {.what = EVENT_READING_WHEEL_KMH, .value = isnan(kmh) ? EVENT_UNKNOWN : (int32_t)lround(kmh * 1000)}});
}

static int faults(const struct ride *r)
{
    int n = 0;
    for (int i = 0; i <= EVENT_GNSS_LAST; i++)
        n += r->begun[i] + r->over[i];
    return n;
}

static void warm(struct ride *r)
{
    assert_int_equal(second(r, 36, 0), EVENT_DOUBT_PLACE);
    assert_int_equal(second(r, 36, 0), EVENT_DOUBT_PLACE);
    drive(r, 36, 20);
}

static void test_start(void **state)
{
    (void)state;
    struct ride r = begin();
    /* a cold receiver: no fix, the middle of the Gulf of Guinea, a place far away, then the truth: only three that agree are believed */
    struct event none = fix_at(&r, 0, 0);
    none.fix.mode = EVENT_FIX_NONE;
    none.fix.lat_e7 = none.fix.lon_e7 = EVENT_UNKNOWN;
    assert_int_equal(give(&r, none), 0);
    struct event zero = fix_at(&r, 0, 0);
    zero.fix.lat_e7 = zero.fix.lon_e7 = 0;
    give(&r, zero);
    assert_int_equal(r.last.fix.mode, EVENT_FIX_NONE);
    assert_int_equal(r.last.fix.lat_e7, EVENT_UNKNOWN);
    assert_int_equal(second(&r, 36, 900000), EVENT_DOUBT_PLACE);
    assert_int_equal(second(&r, 36, 0), EVENT_DOUBT_PLACE);
    assert_int_equal(second(&r, 36, 0), EVENT_DOUBT_PLACE);
    drive(&r, 36, 100);
    assert_int_equal(faults(&r), 0);
}

static void test_single_jump(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    assert_int_equal(second(&r, 36, 300), EVENT_DOUBT_PLACE);
    drive(&r, 36, 10);
    assert_int_equal(second(&r, 36, -5000), EVENT_DOUBT_PLACE);
    assert_int_equal(second(&r, 36, 5000), EVENT_DOUBT_PLACE);
    drive(&r, 36, 10);
    assert_int_equal(faults(&r), 0); /* two of five are no episode */
}

static void test_jump_that_stays(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    assert_int_equal(second(&r, 36, 2000), EVENT_DOUBT_PLACE);
    assert_int_equal(second(&r, 36, 2000), EVENT_DOUBT_PLACE);
    assert_int_equal(r.begun[EVENT_GNSS_JUMP], 0);
    assert_int_equal(second(&r, 36, 2000), 0); /* three agree: there it is, whatever was before */
    assert_int_equal(r.begun[EVENT_GNSS_JUMP], 1);
    assert_true(r.value[EVENT_GNSS_JUMP] > 1900 && r.value[EVENT_GNSS_JUMP] < 2100);
    for (int i = 0; i < 10; i++)
        assert_int_equal(second(&r, 36, 2000), 0);
    assert_int_equal(r.over[EVENT_GNSS_JUMP], 1);
    assert_int_equal(faults(&r), 2);
}

static void test_jumping_about(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i < 60; i++) /* between three places: never believed where it is wrong, told once */
        assert_int_equal(second(&r, 36, i % 3 == 0 ? 0 : i % 3 == 1 ? 4000 : -4000), i % 3 == 0 ? 0 : EVENT_DOUBT_PLACE);
    assert_int_equal(r.begun[EVENT_GNSS_JUMP], 1);
    assert_int_equal(r.over[EVENT_GNSS_JUMP], 0);
    drive(&r, 36, 6);
    assert_int_equal(r.over[EVENT_GNSS_JUMP], 1);
}

static void test_implied_speed(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    /* 150 km/h is 41.7 m/s, and 30 m of slack: 71 m in a second may be, 73 m may not */
    assert_int_equal(second(&r, 36, 61), 0);
    struct ride s = begin();
    warm(&s);
    assert_int_equal(second(&s, 36, 63), EVENT_DOUBT_PLACE);
    /* a bus at 140 km/h is a fast one, but where it says */
    struct ride f = begin();
    warm(&f);
    drive(&f, 140, 60);
    assert_int_equal(faults(&f), 0);
}

static void test_tunnel(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i < 180; i++) { /* three minutes and 3 km of nothing */
        pass(&r, 1000);
        r.metres += 60 / 3.6;
        struct event none = fix_at(&r, 0, 0);
        none.fix.mode = EVENT_FIX_NONE;
        none.fix.lat_e7 = none.fix.lon_e7 = none.fix.speed_mmps = EVENT_UNKNOWN;
        give(&r, none);
    }
    drive(&r, 60, 30); /* the first one is believed at once */
    assert_int_equal(faults(&r), 0);
}

static void test_ten_a_second(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i < 3000; i++) {
        pass(&r, 100);
        r.metres += 5;
        assert_int_equal(give(&r, fix_at(&r, r.metres + (i % 2 == 0 ? 3 : -3), 180)), 0); /* noise of 6 m in 0.1 s is no 216 km/h */
    }
    assert_int_equal(faults(&r), 0);
}

static void test_batch_and_leap(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i < 30; i++) { /* half a minute of fixes comes at once */
        r.time_ms += 1000;
        r.metres += 20;
        assert_int_equal(give(&r, fix_at(&r, r.metres, 72)), 0);
    }
    r.now.mono_ms += 30000;
    for (int i = 0; i < 20; i++) { /* the receiver learns the leap seconds: 18 s back */
        pass(&r, i == 0 ? 1000 - 18000 : 1000);
        r.now.mono_ms += i == 0 ? 18000 : 0;
        r.metres += 20;
        assert_int_equal(give(&r, fix_at(&r, r.metres, 72)), 0);
    }
    assert_int_equal(faults(&r), 0);
}

static void test_frozen(void **state)
{
    (void)state;
    for (int by_wheel = 0; by_wheel < 2; by_wheel++) {
        struct ride r = begin();
        warm(&r);
        double there = r.metres;
        int doubted = 0;
        for (int i = 1; i <= 100; i++) {
            pass(&r, 1000);
            r.metres += 10;
            if (by_wheel)
                wheel(&r, 36);
            uint8_t doubt = give(&r, fix_at(&r, there, by_wheel ? 0 : 36));
            doubted += (doubt & EVENT_DOUBT_PLACE) != 0;
            assert_int_equal((doubt & EVENT_DOUBT_PLACE) != 0, i > 60);
        }
        assert_int_equal(doubted, 40);
        assert_int_equal(r.begun[EVENT_GNSS_FROZEN], 1);
        assert_int_equal(r.value[EVENT_GNSS_FROZEN], 61);
        /* it wakes up a kilometre further on, which the bus has driven: no jump */
        for (int i = 0; i < 10; i++) {
            if (by_wheel)
                wheel(&r, 36);
            assert_int_equal(second(&r, 36, 0) & EVENT_DOUBT_PLACE, 0);
        }
        assert_int_equal(r.over[EVENT_GNSS_FROZEN], 1);
        assert_int_equal(r.begun[EVENT_GNSS_JUMP], 0);
    }
}

static void test_standing_is_not_frozen(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i < 1800; i++) { /* half an hour at the school, static hold, wheels still */
        wheel(&r, 0);
        assert_int_equal(second(&r, 0, 0), 0);
    }
    drive(&r, 20, 30);
    /* stop and go: it moves between the stops, so that it never stands a minute of driving at one place */
    for (int i = 0; i < 600; i++)
        assert_int_equal(second(&r, i % 20 < 10 ? 15 : 0, 0), 0);
    assert_int_equal(faults(&r), 0);
}

static void test_wheel_against_gnss(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i < 120; i++) { /* 15 km/h apart is allowed */
        wheel(&r, 51);
        assert_int_equal(second(&r, 36, 0), 0);
    }
    for (int i = 0; i < 29; i++) {
        wheel(&r, 60);
        assert_int_equal(second(&r, 36, 0), 0);
    }
    wheel(&r, 36); /* together once: from the beginning */
    drive(&r, 36, 1);
    for (int i = 0; i <= 40; i++) {
        wheel(&r, 60);
        assert_int_equal(second(&r, 36, 0), i < 30 ? 0 : EVENT_DOUBT_SPEED);
    }
    assert_int_equal(r.begun[EVENT_GNSS_SPEED], 1);
    assert_int_equal(r.value[EVENT_GNSS_SPEED], 24);
    for (int i = 0; i <= 30; i++) {
        wheel(&r, 36);
        assert_int_equal(second(&r, 36, 0), i < 30 ? EVENT_DOUBT_SPEED : 0);
    }
    assert_int_equal(r.over[EVENT_GNSS_SPEED], 1);
    assert_int_equal(faults(&r), 2);
}

static void test_wheel_sensor_dies(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i <= 40; i++) {
        wheel(&r, 90);
        second(&r, 36, 0);
    }
    assert_int_equal(r.begun[EVENT_GNSS_SPEED], 1);
    wheel(&r, (double)NAN);
    for (int i = 0; i < 40; i++)
        second(&r, 36, 0);
    assert_int_equal(r.over[EVENT_GNSS_SPEED], 1);
    drive(&r, 36, 10);
}

static void test_moved_with_wheels_still(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    for (int i = 0; i < 60; i++) { /* parked; the receiver is silent for a minute, then 600 m away: 36 km/h on paper */
        wheel(&r, 0);
        pass(&r, 1000);
    }
    assert_int_equal(give(&r, fix_at(&r, r.metres + 600, 0)), EVENT_DOUBT_PLACE);
    wheel(&r, 0);
    pass(&r, 1000);
    assert_int_equal(give(&r, fix_at(&r, r.metres + 20, 0)), 0);
}

static void test_clock(void **state)
{
    (void)state;
    struct ride r = begin();
    warm(&r);
    r.now.clock_trusted = true;
    drive(&r, 36, 10);
    r.time_ms += 5000; /* the limit itself */
    drive(&r, 36, 10);
    assert_int_equal(faults(&r), 0);
    r.time_ms += 95000; /* 100 s ahead */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(second(&r, 36, 0), 0); /* the place is as good as it was */
        assert_int_equal(r.last.time_ms, r.now.clock_ms);
        assert_int_equal(r.last.clock, EVENT_CLOCK_NTP);
    }
    assert_int_equal(r.begun[EVENT_GNSS_CLOCK], 1);
    assert_int_equal(r.value[EVENT_GNSS_CLOCK], 100);
    r.time_ms -= 100000;
    drive(&r, 36, 10);
    assert_int_equal(r.last.clock, EVENT_CLOCK_GNSS);
    assert_int_equal(r.over[EVENT_GNSS_CLOCK], 1);
    r.now.clock_trusted = false; /* nobody knows better: 1024 weeks back is taken as it is */
    r.time_ms -= INT64_C(619315200000);
    second(&r, 36, 0);
    assert_int_equal(r.last.clock, EVENT_CLOCK_GNSS);
    assert_int_equal(faults(&r), 2);
}

static void hint(struct ride *r, enum event_gnss_fault fault, bool over, int32_t value)
{
    give(r, (struct event){.kind = EVENT_GNSS, .gnss = {.fault = (uint8_t)fault, .over = over, .value = value}});
}

static void test_jammed(void **state)
{
    (void)state;
    for (int reason = 0; reason < 5; reason++) { /* none, no power, no network, tunnel, cold */
        struct ride r = begin();
        warm(&r);
        if (reason != 4)
            for (int i = 0; i < 120; i++)
                drive(&r, 36, 1);
        r.now.power = reason != 1;
        r.now.network = reason != 2;
        r.now.tunnel = reason == 3;
        hint(&r, EVENT_GNSS_JAMMED, false, 22);
        for (int i = 0; i < 59; i++)
            assert_int_equal(second(&r, 36, 0), 0);
        assert_int_equal(r.begun[EVENT_GNSS_JAMMED], 0);
        second(&r, 36, 0);
        assert_int_equal(r.begun[EVENT_GNSS_JAMMED], reason == 0);
        if (reason == 0) {
            assert_int_equal(r.value[EVENT_GNSS_JAMMED], 22);
            assert_int_equal(second(&r, 36, 0), EVENT_DOUBT_PLACE); /* a position without signals is not believed */
        }
        hint(&r, EVENT_GNSS_JAMMED, true, EVENT_UNKNOWN);
        assert_int_equal(r.over[EVENT_GNSS_JAMMED], reason == 0);
        assert_int_equal(second(&r, 36, 0), 0);
    }
}

static void test_hints_once(void **state)
{
    (void)state;
    struct ride r = begin();
    for (int i = 0; i < 5; i++)
        hint(&r, EVENT_GNSS_ANTENNA, false, EVENT_UNKNOWN);
    for (int i = 0; i < 5; i++)
        hint(&r, EVENT_GNSS_WEEK, false, 1);
    assert_int_equal(r.begun[EVENT_GNSS_ANTENNA] + r.begun[EVENT_GNSS_WEEK], 2);
    hint(&r, EVENT_GNSS_ANTENNA, true, EVENT_UNKNOWN);
    hint(&r, EVENT_GNSS_ANTENNA, true, EVENT_UNKNOWN);
    assert_int_equal(r.over[EVENT_GNSS_ANTENNA], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_single_jump),
        cmocka_unit_test(test_jump_that_stays),
        cmocka_unit_test(test_jumping_about),
        cmocka_unit_test(test_implied_speed),
        cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_ten_a_second),
        cmocka_unit_test(test_batch_and_leap),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_standing_is_not_frozen),
        cmocka_unit_test(test_wheel_against_gnss),
        cmocka_unit_test(test_wheel_sensor_dies),
        cmocka_unit_test(test_moved_with_wheels_still),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_jammed),
        cmocka_unit_test(test_hints_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
