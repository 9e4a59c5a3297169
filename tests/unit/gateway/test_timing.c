/* The clock of a bus that wakes up in 1970, a day ahead or 1024 weeks back; and what a step does to hold times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/bus.h"
#include "core/rules.h"
#include "gateway/timing.h"

static const int64_t truth_ms = 1795400000000, day_ms = 86400000;
static int64_t wall_ms, mono_ms;
static int64_t wall(void *arg)
{
    (void)arg;
    return wall_ms;
}
static int64_t mono(void *arg)
{
    (void)arg;
    return mono_ms;
}
static char dir[64];

static int make(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/sw-timing-XXXXXX");
    clock_set_source(wall, mono, NULL);
    mono_ms = 5000;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int drop(void **state)
{
    (void)state;
    char command[128];
    clock_set_source(NULL, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

static void undisciplined(void)
{
    struct timex t = {0};
    int code = adjtimex(&t);
    if (code >= 0 && code != TIME_ERROR && (t.status & STA_UNSYNC) == 0)
        skip(); /* NTP rules this machine's clock, and then it wins */
}

static void pass(int64_t ms)
{
    wall_ms += ms;
    mono_ms += ms;
}

static struct event fix(int64_t time_ms)
{
    return (struct event){.time_ms = time_ms, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS, .fix = {.lat_e7 = 1, .lon_e7 = 1, .mode = EVENT_FIX_3D}};
}

/* A system clock that begins at `from`, then a receiver that is right: three fixes later the time is, and the step leads there from the old one. */
static void learns(int64_t from, uint8_t quality)
{
    struct timing t;
    struct timing_step s = {0};
    wall_ms = from;
    timing_start(&t, dir);
    assert_int_equal(t.quality, quality);
    assert_false(t.trusted);
    int64_t early = timing_now_ms(&t), early_mono = mono_ms;
    pass(60000);
    assert_int_equal(timing_now_ms(&t) - early, 60000);
    for (int i = 0; i < 3; i++) {
        pass(1000);
        struct event e = fix(truth_ms + 61000 + i * 1000);
        assert_int_equal(timing_fix(&t, &e, &s), i == 2);
    }
    assert_true(s.first);
    assert_true(t.trusted);
    assert_int_equal(t.quality, EVENT_CLOCK_GNSS);
    assert_int_equal(timing_now_ms(&t), truth_ms + 63000);
    assert_int_equal(early + s.base_ms - s.old_base_ms, truth_ms); /* the back-fill of what was recorded first */
    assert_int_equal(early_mono + s.base_ms, truth_ms);
}

static void test_1970(void **state)
{
    (void)state;
    undisciplined();
    learns(12345, EVENT_CLOCK_NONE);
}
static void test_a_day_ahead(void **state)
{
    (void)state;
    undisciplined();
    learns(truth_ms + day_ms, EVENT_CLOCK_SYSTEM);
}
static void test_1024_weeks_back(void **state)
{
    (void)state;
    undisciplined();
    learns(truth_ms - 1024 * 7 * day_ms, EVENT_CLOCK_NONE);
}

static void test_saved_time_is_the_floor(void **state)
{
    (void)state;
    undisciplined();
    struct timing t;
    struct timing_step s;
    wall_ms = truth_ms;
    timing_start(&t, dir);
    assert_true(timing_server(&t, truth_ms, true, &s));
    timing_save(&t, true);
    wall_ms = 12345;
    timing_start(&t, dir);
    assert_int_equal(t.quality, EVENT_CLOCK_SAVED);
    assert_int_equal(timing_now_ms(&t), truth_ms);
    for (int i = 0; i < 9; i++) { /* a receiver that says last week is wrong */
        struct event e = fix(truth_ms - 7 * day_ms + i * 1000);
        assert_false(timing_fix(&t, &e, &s));
        pass(1000);
    }
    /* a flipped bit in the file is no floor in the year 10,000 */
    char path[96];
    snprintf(path, sizeof path, "%s/clock", dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, 18, SEEK_SET);
    fputc('9', f);
    fclose(f);
    wall_ms = 12345;
    timing_start(&t, dir);
    assert_int_equal(t.quality, EVENT_CLOCK_NONE);
}

static void test_receivers_that_are_not_believed(void **state)
{
    (void)state;
    undisciplined();
    struct timing t;
    struct timing_step s;
    wall_ms = truth_ms;
    timing_start(&t, NULL);
    const int64_t odd[] = {day_ms, -5 * day_ms, 3 * day_ms}; /* three in a row, but each says another time */
    for (int i = 0; i < 30; i++) {
        struct event e = fix(wall_ms + odd[i % 3]);
        assert_false(timing_fix(&t, &e, &s));
        e = fix(wall_ms - 1024 * 7 * day_ms);
        assert_false(timing_fix(&t, &e, &s));
        pass(1000);
    }
    assert_int_equal(timing_now_ms(&t), wall_ms);
}

static void test_server_is_the_third_source(void **state)
{
    (void)state;
    undisciplined();
    struct timing t;
    struct timing_step s;
    wall_ms = 500;
    timing_start(&t, NULL);
    assert_false(timing_server(&t, 1000, true, &s)); /* a server in 1970 too */
    assert_true(timing_server(&t, truth_ms, true, &s));
    assert_true(s.first);
    assert_int_equal(t.quality, EVENT_CLOCK_NTP);
    assert_int_equal(timing_now_ms(&t), truth_ms);
    assert_false(timing_server(&t, truth_ms + 900, true, &s)); /* the answer was on its way for a while */
    pass(1000);
    struct event e = fix(truth_ms + 1000);
    timing_fix(&t, &e, &s);
    assert_int_equal(t.quality, EVENT_CLOCK_GNSS);
    assert_false(timing_server(&t, truth_ms + day_ms, true, &s)); /* the receiver knows better */
}

static void test_steps_of_the_system_clock_are_not_time(void **state)
{
    (void)state;
    undisciplined();
    struct timing t;
    wall_ms = truth_ms;
    timing_start(&t, NULL);
    wall_ms -= 20 * day_ms;
    pass(1000);
    assert_int_equal(timing_now_ms(&t), truth_ms + 1000);
    wall_ms += 400 * day_ms;
    assert_int_equal(timing_now_ms(&t), truth_ms + 1000);
}

static void test_holds_survive_a_step(void **state)
{
    (void)state;
    struct bus b = {.time_ms = 1000, .fix_ms = 900, .inputs_ms = 0};
    struct rules_memory m = {0};
    m.state[RULES_SPEED] = RULES_PENDING;
    m.episode[RULES_SPEED] = (struct rules_episode){.began_ms = 500, .seen_ms = 900};
    bus_shift(&b, truth_ms);
    rules_shift(&m, truth_ms);
    assert_int_equal(b.time_ms - m.episode[RULES_SPEED].began_ms, 500);
    assert_int_equal(b.time_ms, truth_ms + 1000);
    assert_int_equal(b.inputs_ms, 0); /* never is never */
    assert_int_equal(m.episode[RULES_SPEED].opened_ms, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_1970),
        T(test_a_day_ahead),
        T(test_1024_weeks_back),
        T(test_saved_time_is_the_floor),
        T(test_receivers_that_are_not_believed),
        T(test_server_is_the_third_source),
        T(test_steps_of_the_system_clock_are_not_time),
        T(test_holds_survive_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
