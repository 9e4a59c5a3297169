/* Runs, stops, delays and estimates: buses driven along a line second by second, through the real fleet, with time handed in. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "server/arrive.h"
#include "server/arrive_track.h"

/*
 * Two routes at 31 degrees north. "line": 6 km due east, stops at about 500, 2000, 4000 and 5900 m, planned after 0, 180, 420 and 660 s.
 * "loop": out 2 km north on one street, 200 m east, back on the other, 200 m west: it ends where it begins; stops at 1000, 3200 m.
 */
static const double lat0 = 31.0, lon0 = 121.0;
static double m_lon, m_lat; /* degrees per metre here */

static struct duty_set *set;
static struct law *law;
static struct fleet *fleet;
static struct arrive *arrive;
static struct fleet_vehicle *bus, *ring;
static int64_t day_ms; /* 2026-11-23 00:00 in Shanghai */

static char *read_file(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("cannot read %s", path);
    char *text = malloc(1 << 20);
    assert_non_null(text);
    *ret_n = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

static void read_law(void)
{
    char path[512], why[512];
    const char *source = getenv("SCHOOLWARD_SOURCE");
    size_t n;
    snprintf(path, sizeof path, "%s/core/law/cn-national.json", source == NULL ? "." : source);
    char *text = read_file(path, &n);
    if (law_read(text, n, path, &law, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    free(text);
}

static void stop_json(char *out, size_t cap, const char *id, double east_m, double north_m, int offset_s)
{
    snprintf(out, cap, "{\"id\":\"%s\",\"name_zh\":\"站\",\"name_en\":\"Stop\",\"lat\":%.7f,\"lon\":%.7f,\"offset_s\":%d}", id, lat0 + north_m * m_lat, lon0 + east_m * m_lon, offset_s);
}

static void read_duty(void)
{
    char stop[6][200], text[8192], why[512];
    stop_json(stop[0], 200, "a", 500, 0, 0);
    stop_json(stop[1], 200, "b", 2000, 0, 180);
    stop_json(stop[2], 200, "c", 4000, 0, 420);
    stop_json(stop[3], 200, "d", 5900, 0, 660);
    stop_json(stop[4], 200, "p", 0, 1000, 100);
    stop_json(stop[5], 200, "q", 200, 1000, 320);
    snprintf(text, sizeof text,
             "{\"format\":\"schoolward.duty.1\",\"routes\":["
             "{\"id\":\"line\",\"name_zh\":\"一\",\"name_en\":\"1\",\"rural\":false,\"line\":[[%.7f,%.7f],[%.7f,%.7f]],\"segments\":[],\"stops\":[%s,%s,%s,%s],"
             "\"runs\":[{\"id\":\"am\",\"start\":\"07:00:00\"},{\"id\":\"am2\",\"start\":\"07:40:00\"},{\"id\":\"pm\",\"start\":\"16:30:00\"}]},"
             "{\"id\":\"loop\",\"name_zh\":\"环\",\"name_en\":\"L\",\"rural\":false,\"line\":[[%.7f,%.7f],[%.7f,%.7f],[%.7f,%.7f],[%.7f,%.7f],[%.7f,%.7f]],\"segments\":[],"
             "\"stops\":[%s,%s],\"runs\":[{\"id\":\"l1\",\"start\":\"07:00:00\"},{\"id\":\"l2\",\"start\":\"07:15:00\"}]}],"
             "\"vehicles\":["
             "{\"id\":\"bus\",\"plate\":\"P1\",\"gateway\":\"g1\",\"rated\":{\"total\":40},\"size\":\"large\",\"staff\":2,\"staff_uncounted\":1,\"routes\":[{\"route\":\"line\"}]},"
             "{\"id\":\"ring\",\"plate\":\"P2\",\"gateway\":\"g2\",\"rated\":{\"total\":40},\"size\":\"large\",\"staff\":2,\"staff_uncounted\":1,\"routes\":[{\"route\":\"loop\"}]}]}",
             lon0, lat0, lon0 + 6000 * m_lon, lat0, stop[0], stop[1], stop[2], stop[3], lon0, lat0, lon0, lat0 + 2000 * m_lat, lon0 + 200 * m_lon, lat0 + 2000 * m_lat,
             lon0 + 200 * m_lon, lat0, lon0, lat0, stop[4], stop[5]);
    if (duty_read(text, strlen(text), &set, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
}

static int open_all(void **state)
{
    (void)state;
    struct geo_pt o = {lat0, lon0}, e = {lat0, lon0 + 0.01}, n = {lat0 + 0.01, lon0};
    m_lon = 0.01 / geo_distance_m(o, e);
    m_lat = 0.01 / geo_distance_m(o, n);
    read_law();
    read_duty();
    assert_int_equal(fleet_new(law, set, &fleet), RC_OK);
    assert_int_equal(arrive_new(fleet, "Asia/Nowhere", &arrive), RC_INVALID);
    assert_int_equal(arrive_new(fleet, "../etc/passwd", &arrive), RC_INVALID);
    assert_int_equal(arrive_new(fleet, "Asia/Shanghai", &arrive), RC_OK);
    bus = fleet_by_id(fleet, "bus");
    ring = fleet_by_id(fleet, "ring");
    struct tm t = {.tm_year = 126, .tm_mon = 10, .tm_mday = 23};
    day_ms = ((int64_t)timegm(&t) - 8 * 3600) * 1000;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    arrive_free(arrive);
    fleet_free(fleet);
    duty_free(set);
    law_free(law);
    return 0;
}

static int64_t at(int h, int m, int s)
{
    return day_ms + ((int64_t)h * 3600 + m * 60 + s) * 1000;
}

static void fix_at(struct fleet_vehicle *v, int64_t ms, double east_m, double north_m, double speed_mps, bool late)
{
    struct event e = {.time_ms = ms, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS,
                      .fix = {(int32_t)lround((lat0 + north_m * m_lat) * 1e7), (int32_t)lround((lon0 + east_m * m_lon) * 1e7), (int32_t)(speed_mps * 1000), 9000, EVENT_UNKNOWN, 9, 11,
                              EVENT_FIX_3D, 0}};
    fleet_apply(fleet, v, &e, ms, late, false);
    if (!late)
        arrive_tick(arrive, ms);
}

static void doors(struct fleet_vehicle *v, int64_t ms, bool open)
{
    struct event e = {.time_ms = ms, .kind = EVENT_INPUTS, .inputs = {open ? EVENT_IN_DOOR_FRONT : 0, EVENT_IN_DOORS}};
    fleet_apply(fleet, v, &e, ms, false, false);
}

/* Along "line" from one place to another, a fix a second; returns the time of the last one. */
static int64_t drive(int64_t ms, double from_m, double to_m, double speed_mps)
{
    double step = to_m >= from_m ? speed_mps : -speed_mps, x = from_m;
    for (; step > 0 ? x < to_m : x > to_m; x += step, ms += 1000)
        fix_at(bus, ms, x, 0, speed_mps, false);
    fix_at(bus, ms, to_m, 0, speed_mps, false);
    return ms;
}

static int64_t stand(int64_t ms, int64_t until, double at_m)
{
    for (ms += 1000; ms <= until; ms += 1000)
        fix_at(bus, ms, at_m, 0, 0, false);
    return until;
}

#define STATE(stop, ms) arrive_at(arrive, bus, stop, ms).state

static void assert_near(int64_t got, int64_t want, int64_t by)
{
    if (llabs(got - want) > by)
        fail_msg("%lld is %lld away from %lld", (long long)got, (long long)(got - want), (long long)want);
}

static void knows_service_days(void **state)
{
    (void)state;
    struct arrive_days d = {0};
    arrive_days_at(&d, at(0, 0, 0));
    assert_int_equal(d.date[0], 20261122);
    assert_int_equal(d.date[1], 20261123);
    assert_int_equal(d.date[2], 20261124);
    assert_int_equal(d.start_ms[1], day_ms);
    arrive_days_at(&d, at(23, 59, 59));
    assert_int_equal(d.date[1], 20261123);
    arrive_days_at(&d, at(24, 0, 0));
    assert_int_equal(d.date[1], 20261124);
    assert_int_equal(d.start_ms[1], day_ms + 86400000);
    /* the days when clocks change in Berlin: seven o'clock is seven o'clock on the wall, though the day has 23 or 25 hours */
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    static const struct {
        int month, day, utc_hour;
    } change[] = {{2, 29, 5}, {9, 25, 6}};
    for (size_t i = 0; i < 2; i++) {
        struct tm t = {.tm_year = 126, .tm_mon = change[i].month, .tm_mday = change[i].day, .tm_hour = 9};
        struct arrive_days b = {0};
        arrive_days_at(&b, (int64_t)timegm(&t) * 1000);
        t.tm_hour = change[i].utc_hour;
        assert_int_equal(b.start_ms[1] + 7 * 3600000, (int64_t)timegm(&t) * 1000);
        assert_true(b.until_ms - b.since_ms == (i == 0 ? 23 : 25) * 3600000LL);
    }
    setenv("TZ", "Asia/Shanghai", 1);
    tzset();
}

static void an_ordinary_run(void **state)
{
    (void)state;
    assert_int_equal(STATE("b", at(6, 30, 0)), ARRIVE_NOT_RUNNING);
    fix_at(bus, at(6, 40, 0), 450, 0, 0, false); /* 20 minutes before: not yet */
    assert_int_equal(STATE("b", at(6, 40, 0)), ARRIVE_NOT_RUNNING);
    fix_at(bus, at(6, 50, 0), 450, 0, 0, false);
    struct arrive_stop s = arrive_at(arrive, bus, "b", at(6, 50, 1));
    assert_int_equal(s.state, ARRIVE_COMING);
    assert_int_equal(s.planned_ms, at(7, 3, 0));
    assert_int_equal(s.eta_ms, at(7, 3, 0));
    assert_int_equal(s.stops_away, 1);
    struct arrive_run r = arrive_of(arrive, bus, at(6, 50, 1));
    assert_string_equal(r.run->id, "am");
    assert_int_equal(r.date, 20261123);
    assert_int_equal(r.starts_ms, at(7, 0, 0));
    assert_int_equal(r.next_stop, 0);
    assert_int_equal(arrive_at(arrive, bus, "a", at(6, 50, 1)).state, ARRIVE_COMING); /* beside the stop, but ten minutes early: not arriving */

    doors(bus, at(6, 58, 0), false);
    fix_at(bus, at(6, 59, 0), 490, 0, 0, false);
    assert_int_equal(STATE("a", at(6, 59, 0)), ARRIVE_ARRIVING); /* there, doors closed */
    doors(bus, at(6, 59, 1), true);
    assert_int_equal(STATE("a", at(6, 59, 2)), ARRIVE_AT_STOP);
    assert_int_equal(arrive_of(arrive, bus, at(6, 59, 2)).delay_s, 0); /* waiting is not being early */
    doors(bus, at(6, 59, 50), false);
    int64_t t = drive(at(7, 0, 0), 500, 1000, 8.35);
    s = arrive_at(arrive, bus, "a", t);
    assert_int_equal(s.state, ARRIVE_PASSED);
    assert_int_equal(s.passed_ms, at(6, 59, 1)); /* when the doors opened */
    s = arrive_at(arrive, bus, "b", t);
    assert_int_equal(s.state, ARRIVE_COMING);
    assert_int_equal(s.stops_away, 0);
    assert_near(s.eta_ms, at(7, 3, 0), 2000);
    assert_near(arrive_of(arrive, bus, t).delay_s, 0, 2);
    t = drive(t + 1000, 1008.35, 1600, 8.35);
    assert_int_equal(STATE("b", t), ARRIVE_ARRIVING); /* 48 s to go */
    t = drive(t + 1000, 1608.35, 2100, 8.35);
    s = arrive_at(arrive, bus, "b", t);
    assert_int_equal(s.state, ARRIVE_PASSED);
    assert_near(s.passed_ms, at(7, 3, 0), 3000); /* interpolated between two fixes */
    assert_int_equal(arrive_at(arrive, bus, "c", t).stops_away, 0);
    assert_int_equal(arrive_at(arrive, bus, "nowhere", t).state, ARRIVE_NOT_RUNNING);

    /* four minutes in a jam: the delay and the estimate say so while it stands */
    t = stand(t, t + 240000, 2100);
    assert_near(arrive_of(arrive, bus, t).delay_s, 240, 5);
    assert_near(arrive_at(arrive, bus, "c", t).eta_ms, at(7, 11, 0), 6000);
    assert_near(arrive_at(arrive, bus, "d", t).eta_ms, at(7, 15, 0), 6000);
    assert_int_equal(arrive_at(arrive, bus, "c", t).planned_ms, at(7, 7, 0));

    /* silence: no estimate from an old position, but what is passed stays passed */
    s = arrive_at(arrive, bus, "c", t + 61000);
    assert_int_equal(s.state, ARRIVE_NO_SIGNAL);
    assert_int_equal(s.eta_ms, 0);
    assert_int_equal(STATE("b", t + 61000), ARRIVE_PASSED);
    assert_int_equal(arrive_of(arrive, bus, t + 61000).delay_s, INT32_MIN);
    assert_int_equal(STATE("c", t + 60000), ARRIVE_COMING);

    t = drive(t + 1000, 2100, 5905, 12);
    s = arrive_at(arrive, bus, "d", t);
    assert_int_equal(s.state, ARRIVE_AT_STOP);
    assert_int_equal(arrive_of(arrive, bus, t).next_stop, -1);
    t = stand(t, t + 200000, 5905);
    assert_int_equal(STATE("d", t), ARRIVE_PASSED);
}

/* The estimate is never sooner than 60 km/h allows: a bus that is late in a short gap cannot make it. */
static void estimates_are_possible(void **state)
{
    (void)state;
    int64_t t = drive(at(16, 20, 0), 100, 450, 8), now;
    (void)t;
    now = at(16, 40, 0);
    fix_at(bus, now, 480, 0, 0, false); /* ten minutes late and not gone */
    assert_near(arrive_of(arrive, bus, now).delay_s, 600, 1);
    assert_near(arrive_at(arrive, bus, "d", now).eta_ms, at(16, 51, 0), 1000);
    struct arrive_track track = *(struct arrive_track *)bus->arrive;
    struct arrive_mark marks[4];
    memcpy(marks, track.mark, sizeof marks);
    track.mark = marks;
    track.here_ms = at(16, 30, 0); /* as if on time, and 5.4 km to go with a minute left */
    assert_near(arrive_track_eta_ms(&track, 3, at(16, 40, 30)), at(16, 40, 30) + (int64_t)((5900 - 480) / (60 / 3.6) * 1000), 1000);
}

static void a_jump_passes_nothing(void **state)
{
    (void)state;
    int64_t t = drive(at(7, 40, 0), 480, 1000, 10);
    fix_at(bus, t + 1000, 4500, 0, 10, false); /* one fix three kilometres ahead */
    assert_int_equal(STATE("b", t + 1000), ARRIVE_COMING);
    assert_int_equal(STATE("c", t + 1000), ARRIVE_COMING);
    t = drive(t + 2000, 1010, 2200, 10);
    assert_int_equal(STATE("b", t), ARRIVE_PASSED);
    fix_at(bus, t + 1000, 700, 0, 10, false); /* one back */
    assert_int_equal(STATE("b", t + 1000), ARRIVE_PASSED);
    assert_int_equal(arrive_of(arrive, bus, t + 1000).next_stop, 2);
    /* off the route: no progress, nothing forgotten */
    for (int i = 2; i < 30; i++)
        fix_at(bus, t + i * 1000, 3000, 500, 10, false);
    assert_int_equal(arrive_of(arrive, bus, t + 30000).next_stop, 2);
    assert_int_equal(STATE("c", t + 30000), ARRIVE_COMING);
    /* but a bus that goes on from there is there: after a tunnel, say */
    t = drive(t + 31000, 4300, 4500, 10);
    assert_int_equal(STATE("c", t), ARRIVE_PASSED);
    assert_int_equal(arrive_of(arrive, bus, t).next_stop, 3);
    /* data from before, arriving now, moves nothing */
    fix_at(bus, t - 100000, 600, 0, 10, true);
    assert_int_equal(arrive_of(arrive, bus, t).next_stop, 3);
}

/* On its way to the first stop, along the route against its direction, before the start: nothing is passed. */
static void deadheading_passes_nothing(void **state)
{
    (void)state;
    int64_t t = drive(at(6, 48, 0), 5000, 500, 12);
    assert_true(t < at(7, 0, 0));
    for (const char *const *stop = (const char *const[]){"a", "b", "c", "d", NULL}; *stop != NULL; stop++)
        assert_int_equal(arrive_at(arrive, bus, *stop, t).state == ARRIVE_PASSED, false);
    assert_int_equal(arrive_of(arrive, bus, t).next_stop == 0 || arrive_of(arrive, bus, t).next_stop == 1, true);
    t = drive(at(7, 0, 0), 500, 2100, 9);
    assert_int_equal(STATE("b", t), ARRIVE_PASSED);
    assert_int_equal(STATE("c", t), ARRIVE_COMING);
}

/* The server was away and sees the bus in the middle of its run: what lies behind is passed, when is not known. */
static void first_seen_on_the_way(void **state)
{
    (void)state;
    int64_t t = drive(at(7, 5, 0), 3000, 3200, 10);
    struct arrive_stop s = arrive_at(arrive, bus, "b", t);
    assert_int_equal(s.state, ARRIVE_PASSED);
    assert_int_equal(s.passed_ms, 0);
    assert_int_equal(arrive_at(arrive, bus, "c", t).stops_away, 0);
    assert_string_equal(arrive_of(arrive, bus, t).run->id, "am");
}

static void runs_follow_one_another(void **state)
{
    (void)state;
    int64_t t = drive(at(7, 0, 0), 480, 5950, 12);
    assert_string_equal(arrive_of(arrive, bus, t).run->id, "am");
    assert_int_equal(arrive_of(arrive, bus, t).next_stop, -1);
    t = drive(t + 60000, 5950, 450, 15); /* back to the first stop on the same street */
    fix_at(bus, at(7, 30, 0), 450, 0, 0, false);
    struct arrive_run r = arrive_of(arrive, bus, at(7, 30, 0));
    assert_string_equal(r.run->id, "am2");
    assert_int_equal(r.next_stop, 0);
    assert_int_equal(STATE("d", at(7, 30, 0)), ARRIVE_COMING);
    t = drive(at(7, 40, 0), 480, 2100, 9);
    assert_string_equal(arrive_of(arrive, bus, t).run->id, "am2");
    assert_int_equal(STATE("b", t), ARRIVE_PASSED);
    /* it breaks down and is silent: the run ends by itself, two hours and a quarter after its end at the latest */
    assert_int_equal(STATE("c", at(7, 50, 0)), ARRIVE_NO_SIGNAL);
    for (int64_t now = t; now < at(10, 30, 0); now += 1000)
        arrive_tick(arrive, now);
    assert_int_equal(STATE("c", at(10, 30, 0)), ARRIVE_NOT_RUNNING);
    /* and the afternoon run is known of, though nothing is heard of the bus */
    for (int64_t now = at(16, 14, 0); now < at(16, 16, 0); now += 1000)
        arrive_tick(arrive, now);
    struct arrive_stop s = arrive_at(arrive, bus, "b", at(16, 16, 0));
    assert_int_equal(s.state, ARRIVE_NO_SIGNAL);
    assert_int_equal(s.planned_ms, at(16, 33, 0));
}

static int64_t ring_drive(int64_t ms, double from_m, double to_m, double speed)
{
    for (double x = from_m; x <= to_m; x += speed, ms += 1000) {
        double east = x < 2000 ? 0 : x < 2200 ? x - 2000 : x < 4200 ? 200 : 4400 - x, north = x < 2000 ? x : x < 2200 ? 2000 : x < 4200 ? 4200 - x : 0;
        fix_at(ring, ms, east, north, speed, false);
    }
    return ms;
}

static void a_loop_twice(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        int64_t start = at(7, 15 * round, 0);
        for (int i = 60; i > 0; i--) /* waits at the terminal, which is both ends of the line */
            fix_at(ring, start - i * 1000, 0, 2, 0, false);
        struct arrive_run r = arrive_of(arrive, ring, start);
        assert_string_equal(r.run->id, round == 0 ? "l1" : "l2");
        assert_int_equal(r.next_stop, 0);
        int64_t t = ring_drive(start, 2, 1500, 10);
        assert_int_equal(arrive_at(arrive, ring, "p", t).state, ARRIVE_PASSED);
        assert_near(arrive_at(arrive, ring, "p", t).passed_ms, start + 100000, 2000);
        assert_int_equal(arrive_at(arrive, ring, "q", t).state, ARRIVE_COMING);
        t = ring_drive(t, 1510, 4390, 10);
        assert_int_equal(arrive_at(arrive, ring, "q", t).state, ARRIVE_PASSED);
        assert_near(arrive_at(arrive, ring, "q", t).passed_ms, start + 320000, 3000);
    }
}

static struct {
    int n;
    char stop[16];
    char key[32][ARRIVE_KEY_MAX];
    int64_t eta_ms, now_ms;
} told;

static void on_notice(void *arg, const struct arrive_notice *n)
{
    (void)arg;
    assert_true(told.n < 32);
    arrive_key(n->run->id, n->date, n->vehicle->duty->id, n->stop->id, told.key[told.n++]);
    snprintf(told.stop, sizeof told.stop, "%.15s", n->stop->id);
    told.eta_ms = n->eta_ms;
}

static void tells_each_stop_once(void **state)
{
    (void)state;
    told.n = 0;
    arrive_set_notice(arrive, on_notice, NULL);
    doors(bus, at(6, 50, 0), false);
    int64_t t = drive(at(6, 52, 0), 100, 480, 5);
    assert_int_equal(told.n, 0); /* beside the first stop, minutes early */
    t = stand(t, at(7, 0, 0), 480);
    assert_int_equal(told.n, 1);
    assert_string_equal(told.key[0], "am:20261123:bus:a:arriving");
    t = drive(t + 1000, 488, 1400, 8.35);
    assert_int_equal(told.n, 1);
    t = drive(t + 1000, 1408, 1600, 8.35);
    assert_int_equal(told.n, 2);
    assert_string_equal(told.key[1], "am:20261123:bus:b:arriving");
    assert_true(told.eta_ms > t && told.eta_ms - t < 61000);
    /* nothing from an old position, whatever the timetable says */
    for (int64_t now = t; now < t + 400000; now += 1000)
        arrive_tick(arrive, now);
    assert_int_equal(told.n, 2);
    t = drive(t + 400000, 1700, 5905, 12);
    t = stand(t, t + 300000, 5905);
    assert_int_equal(told.n, 4);
    assert_string_equal(told.key[3], "am:20261123:bus:d:arriving");
    /* the next run tells them again */
    t = drive(t + 1000, 5905, 450, 16);
    drive(at(7, 40, 0), 450, 2100, 8.35);
    assert_int_equal(told.n, 6);
    assert_string_equal(told.key[4], "am2:20261123:bus:a:arriving");
    assert_string_equal(told.key[5], "am2:20261123:bus:b:arriving");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(knows_service_days, open_all, close_all),
        cmocka_unit_test_setup_teardown(an_ordinary_run, open_all, close_all),
        cmocka_unit_test_setup_teardown(estimates_are_possible, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_jump_passes_nothing, open_all, close_all),
        cmocka_unit_test_setup_teardown(deadheading_passes_nothing, open_all, close_all),
        cmocka_unit_test_setup_teardown(first_seen_on_the_way, open_all, close_all),
        cmocka_unit_test_setup_teardown(runs_follow_one_another, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_loop_twice, open_all, close_all),
        cmocka_unit_test_setup_teardown(tells_each_stop_once, open_all, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
