/* The simulator's driver: keeps the limits, halts at stops, opens doors only when standing, and children do not vanish. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/event.h"

/* The simulator is a program, not a library: its pure files are compiled into this test. */
#include "tests/sim/path.c"
#include "tests/sim/ride.c"
#include "tests/sim/scenario.c"

static const char scenario_text[] =
    "{\"format\": \"schoolward-sim.1\", \"routes\": [{\"id\": \"r\", \"line\": [[71.40, 51.10], [71.42, 51.10], [71.42, 51.11], [71.40, 51.11], "
    "[71.40, 51.10]],"
    "\"limits\": [[0, 1500, 40], [1500, 9000, 60]], \"stops\": [{\"along_m\": 5, \"board\": 0}, {\"along_m\": 900, \"board\": 4}, {\"along_m\": "
    "2900, \"board\": 6},"
    "{\"along_m\": 4900, \"board\": 0}]}], \"buses\": [{\"id\": \"b\", \"gateway\": \"g\", \"secret\": \"s\", \"route\": \"r\", \"start_m\": 20, "
    "\"aboard\": 3, \"rated\": 19,"
    "\"staff\": 2, \"staff_counted\": 1, \"happenings\": [{\"what\": \"speeding\", \"at_s\": %d, \"for_s\": 120, \"value\": 0},"
    "{\"what\": \"overload\", \"at_s\": %d, \"for_s\": 200, \"value\": 5}]}]}";

static struct scenario *scenario_with(int speeding_at_s, int overload_at_s)
{
    char text[sizeof scenario_text + 40], why[200] = "";
    snprintf(text, sizeof text, scenario_text, speeding_at_s, overload_at_s);
    json_t *doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    struct scenario *s = NULL;
    enum rc rc = scenario_parse(doc, &s, why, sizeof why);
    json_decref(doc);
    assert_int_equal(rc, RC_OK);
    return s;
}

static double limit_kmh(double along_m)
{
    return along_m < 1500 ? 40 : 60;
}

struct lap {
    double over_kmh; /* worst */
    int halts, most;
    double lap_s;
};

static struct lap drive(const struct scenario_bus *bus)
{
    struct lap lap = {.over_kmh = -99};
    struct ride r;
    double was_m = 0, was_mps = 0;
    bool was_open = false;
    ride_begin(&r, bus);
    int before = r.boarded - r.alighted;
    while (!r.lap && r.t_s < 3600) {
        was_m = r.along_m;
        was_mps = r.v_mps;
        ride_step(&r, 0.1);
        if (r.lap)
            break;
        assert_true(r.along_m >= was_m);
        assert_true(r.v_mps - was_mps <= PATH_ACCEL_MPS2 * 0.1 + 0.61);
        lap.over_kmh = fmax(lap.over_kmh, r.v_mps * 3.6 - limit_kmh(r.along_m));
        bool open = r.inputs & EVENT_IN_DOORS;
        if (open)
            assert_true(r.v_mps == 0);
        lap.halts += open && !was_open;
        was_open = open;
        /* nobody appears or vanishes except through the door */
        if (!open && !was_open)
            assert_int_equal(r.boarded - r.alighted, r.pupils + bus->staff_counted);
        if (r.pupils + bus->staff > lap.most)
            lap.most = r.pupils + bus->staff;
    }
    assert_int_equal(before, bus->aboard + bus->staff_counted);
    assert_int_equal(r.pupils, 0); /* all out at the school */
    lap.lap_s = r.t_s;
    return lap;
}

static void calm_lap(void **state)
{
    (void)state;
    struct scenario *s = scenario_with(100000, 100000);
    struct lap lap = drive(&s->bus[0]);
    print_message("lap %.0f s, worst speed %.1f km/h against the limit, most aboard %d\n", lap.lap_s, lap.over_kmh, lap.most);
    assert_true(lap.over_kmh < 0);
    assert_int_equal(lap.halts, 3);
    assert_int_equal(lap.most, 2 + 3 + 4 + 6);
    scenario_free(s);
}

static void hasty_lap(void **state)
{
    (void)state;
    struct scenario *s = scenario_with(5, 100000);
    struct lap lap = drive(&s->bus[0]);
    assert_true(lap.over_kmh > 10 && lap.over_kmh <= SCENARIO_OVER_KMH + 0.1);
    scenario_free(s);
}

static void overloaded_lap(void **state)
{
    (void)state;
    struct scenario *s = scenario_with(100000, 0);
    assert_int_equal(drive(&s->bus[0]).most, 19 + 5);
    scenario_free(s);
}

/* A detour's way starts and ends on the route, and stops in between are missed. */
static void detour_misses_stops(void **state)
{
    (void)state;
    struct scenario *s = scenario_with(100000, 100000);
    const struct scenario_route *r = &s->route[0];
    struct geo_pt a = path_at(r->path, 700, NULL), b = path_at(r->path, 1300, NULL);
    struct geo_pt other[3] = {a, geo_ahead(a, 180, 400), b};
    struct path *p = NULL;
    int board[SCENARIO_STOPS_MAX];
    assert_int_equal(scenario_detour(r, 700, 1300, other, 3, &p, board), RC_OK);
    assert_int_equal(p->stops, r->stops - 1);
    assert_int_equal(board[1], 6);
    double extra = geo_near_m(other[0], other[1]) + geo_near_m(other[1], other[2]) - 600;
    assert_true(fabs(p->length_m - r->path->length_m - extra) < 8);
    assert_true(geo_near_m(path_at(p, p->stop_m[1], NULL), path_at(r->path, 2900, NULL)) < 12);
    path_free(p);
    scenario_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calm_lap),
        cmocka_unit_test(hasty_lap),
        cmocka_unit_test(overloaded_lap),
        cmocka_unit_test(detour_misses_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
