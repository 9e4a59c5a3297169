/* When the signals of all satellites fell at once, and what NMEA says of the aerial. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/drivers/skywatch.h"

static const struct skywatch_setup setup = {.window_ms = 5000, .drop_db = 10, .drop_pct = 50};

/* n satellites of dbhz each, the first `lost` of them gone. */
static int see(struct skywatch *s, int n, int dbhz, int lost, int64_t ms, int *db)
{
    struct skywatch_sat sat[SKYWATCH_SATS + 40];
    for (int i = 0; i < n; i++)
        sat[i] = (struct skywatch_sat){.id = (int16_t)(i + 1), .dbhz = (uint8_t)(i < lost ? 0 : dbhz)};
    return skywatch_see(s, &setup, sat, (size_t)n, ms, db);
}

static void test_drop(void **state)
{
    (void)state;
    static const struct {
        int n, before, after, lost, news;
    } c[] = {
        {8, 40, 31, 0, 0},                      /* 9 dB */
        {8, 40, 30, 0, 1},                      /* 10 dB */
        {8, 40, 40, 8, 1},                      /* none is left */
        {10, 40, 40, 9, 1},                     /* nine of ten */
        {10, 40, 40, 8, 0},  {3, 40, 40, 3, 0}, /* three satellites say nothing */
        {8, 24, 24, 8, 0},                      /* nor do weak ones */
        {100, 40, 20, 0, 1},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct skywatch s = {.fallen = false};
        int db = -1;
        assert_int_equal(see(&s, c[i].n, c[i].before, 0, 1000, &db), 0);
        assert_int_equal(see(&s, c[i].n, c[i].after, c[i].lost, 2000, &db), c[i].news);
        if (c[i].news != 0)
            assert_true(db >= 10);
    }
}

static void test_window_and_return(void **state)
{
    (void)state;
    struct skywatch s = {.fallen = false};
    int db = 0;
    see(&s, 8, 40, 0, 0, &db);
    assert_int_equal(see(&s, 8, 20, 0, 5001, &db), 0); /* too long ago */
    for (int i = 0; i < 3; i++)
        see(&s, 8, 42, 0, 10000 + 1000 * i, &db);
    assert_int_equal(see(&s, 8, 20, 0, 13000, &db), 1);
    assert_int_equal(db, 22);
    assert_int_equal(see(&s, 8, 20, 0, 14000, &db), 0); /* once */
    assert_int_equal(see(&s, 8, 30, 0, 60000, &db), 0);
    assert_int_equal(see(&s, 8, 37, 0, 61000, &db), -1); /* half of the ten decibels are back: (42 + 32) / 2 */
    assert_int_equal(see(&s, 8, 37, 0, 62000, &db), 0);
    assert_int_equal(see(&s, 8, 20, 0, 63000, &db), 1);
}

static void test_antenna(void **state)
{
    (void)state;
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA OPEN*25"), 1);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA OPEN*25\r\n"), 1);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA SHORT*63"), 1);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA OK*35"), -1);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,02,ANTSTATUS=OK*3B"), -1); /* u-blox M8, protocol specification 31.2.8 */
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,02,ANTSTATUS=INIT*25"), 0);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA OPEN*26"), 0);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA OPEN"), 0);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA OPEN*"), 0);
    assert_int_equal(skywatch_antenna("$GPTXT,01,01,01,ANTENNA OPEN*2"), 0);
    assert_int_equal(skywatch_antenna("$GPTXT,"), 0);
    assert_int_equal(skywatch_antenna("$"), 0);
    assert_int_equal(skywatch_antenna(""), 0);
    assert_int_equal(skywatch_antenna("$GPGSV,ANTENNA OPEN*00"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_drop), cmocka_unit_test(test_window_and_return), cmocka_unit_test(test_antenna)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
