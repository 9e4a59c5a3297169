/* Several input devices of one bus: masks that differ and disagree, silence, an alarm latched on one while the other goes on reporting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gateway/inputs_merge.h"

enum { DOOR = EVENT_IN_DOOR_FRONT, REAR = EVENT_IN_DOOR_REAR, SOS = EVENT_IN_SOS, BEACON = EVENT_IN_BEACON };
static const char doors, cab; /* only their addresses count */

static struct event report(struct inputs_merge *m, const void *device, int64_t time_ms, uint32_t known, uint32_t state)
{
    struct event e = {.time_ms = time_ms, .kind = EVENT_INPUTS, .clock = EVENT_CLOCK_NTP, .inputs = {.state = state, .known = known}};
    const char *field;
    inputs_merge_report(m, device, &e);
    assert_int_equal(event_check(&e, &field), RC_OK);
    return e;
}

static void assert_in(struct event_inputs in, uint32_t known, uint32_t state)
{
    assert_int_equal(in.known, known);
    assert_int_equal(in.state, state);
}

static void test_one_device_is_as_it_says(void **state)
{
    (void)state;
    struct inputs_merge m = {0};
    struct event_inputs in;
    assert_in(report(&m, &doors, 1000, DOOR | REAR, DOOR).inputs, DOOR | REAR, DOOR);
    assert_in(report(&m, &doors, 2000, DOOR, 0).inputs, DOOR, 0); /* it lost one bit itself */
    assert_true(inputs_merge_health(&m, &doors, false, &in));
    assert_in(in, 0, 0);
}

static void test_two_devices_keep_each_others_bits(void **state)
{
    (void)state;
    struct inputs_merge m = {0};
    report(&m, &doors, 1000, DOOR | REAR, DOOR);
    assert_in(report(&m, &cab, 1100, SOS | BEACON, BEACON).inputs, DOOR | REAR | SOS | BEACON, DOOR | BEACON);
    assert_in(report(&m, &doors, 1200, DOOR | REAR, 0).inputs, DOOR | REAR | SOS | BEACON, BEACON);
}

static void test_disagreeing_devices(void **state)
{
    (void)state;
    struct inputs_merge m = {0};
    report(&m, &doors, 1000, DOOR | SOS, SOS); /* a button at each end of the bus */
    assert_in(report(&m, &cab, 1100, SOS, 0).inputs, DOOR | SOS, SOS);
    assert_in(report(&m, &cab, 1200, SOS, SOS).inputs, DOOR | SOS, SOS);
    assert_in(report(&m, &doors, 1300, DOOR | SOS, 0).inputs, DOOR | SOS, SOS);
    assert_in(report(&m, &cab, 1400, SOS, 0).inputs, DOOR | SOS, 0);
}

static void test_latched_alarm_outlives_the_others_reports(void **state)
{
    (void)state;
    struct inputs_merge m = {0};
    report(&m, &cab, 1000, SOS | BEACON, SOS);
    for (int i = 0; i < 100; i++) {
        struct event e = report(&m, &doors, 1100 + i, DOOR, i % 2 ? DOOR : 0);
        assert_in(e.inputs, DOOR | SOS | BEACON, SOS | (i % 2 ? DOOR : 0));
        assert_int_equal(event_lane_of(&e), EVENT_LANE_URGENT);
    }
    struct event e = report(&m, &cab, 1300, SOS | BEACON, 0);
    assert_int_equal(event_lane_of(&e), EVENT_LANE_BULK);
}

static void test_silence_makes_unknown(void **state)
{
    (void)state;
    struct inputs_merge m = {0};
    struct event_inputs in = {.known = 77};
    assert_false(inputs_merge_health(&m, &cab, false, &in)); /* it never said anything */
    report(&m, &doors, 1000, DOOR, DOOR);
    report(&m, &cab, 1100, SOS | BEACON, BEACON);
    assert_true(inputs_merge_health(&m, &cab, false, &in));
    assert_in(in, DOOR, DOOR);
    assert_false(inputs_merge_health(&m, &cab, false, &in)); /* silent, then failed: told once */
    assert_in(report(&m, &doors, 1200, DOOR, 0).inputs, DOOR, 0);
    /* back, and as it was: the driver tells only what changed */
    assert_true(inputs_merge_health(&m, &cab, true, &in));
    assert_in(in, DOOR | SOS | BEACON, BEACON);
    /* back with news: the report comes first */
    assert_true(inputs_merge_health(&m, &cab, false, &in));
    assert_in(report(&m, &cab, 1300, SOS | BEACON, SOS).inputs, DOOR | SOS | BEACON, SOS);
    assert_false(inputs_merge_health(&m, &cab, true, &in));
}

/* What both know stays known while one of them answers. */
static void test_silence_of_one_of_two_witnesses(void **state)
{
    (void)state;
    struct inputs_merge m = {0};
    struct event_inputs in;
    report(&m, &doors, 1000, DOOR | SOS, DOOR);
    report(&m, &cab, 1100, DOOR | SOS, DOOR);
    assert_false(inputs_merge_health(&m, &cab, false, &in)); /* nothing changes */
    report(&m, &cab, 1200, DOOR | SOS, SOS);
    assert_true(inputs_merge_health(&m, &cab, false, &in)); /* nobody left who says that the button is pressed */
    assert_in(in, DOOR | SOS, DOOR);
}

static void test_threads_overtake_each_other(void **state)
{
    (void)state;
    struct inputs_merge m = {0};
    report(&m, &doors, 5000, DOOR, 0);
    struct event e = report(&m, &cab, 4990, SOS, SOS);
    assert_int_equal(e.time_ms, 5000); /* core/bus.c would drop an older one, and with it the alarm */
    e = report(&m, &cab, 5001, SOS, 0);
    assert_int_equal(e.time_ms, 5001);
    e = report(&m, &cab, 1000, SOS, SOS); /* the clock was set back: the time is the clock's */
    assert_int_equal(e.time_ms, 1000);
}

static void test_more_devices_than_places(void **state)
{
    (void)state;
    static const char many[INPUTS_MERGE_MAX + 1];
    struct inputs_merge m = {0};
    for (int i = 0; i < INPUTS_MERGE_MAX; i++)
        report(&m, &many[i], 1000, DOOR, 0);
    assert_in(report(&m, &many[INPUTS_MERGE_MAX], 1000, SOS, SOS).inputs, SOS, SOS);
    assert_in(report(&m, &many[0], 1000, DOOR, DOOR).inputs, DOOR, DOOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_device_is_as_it_says),
        cmocka_unit_test(test_two_devices_keep_each_others_bits),
        cmocka_unit_test(test_disagreeing_devices),
        cmocka_unit_test(test_latched_alarm_outlives_the_others_reports),
        cmocka_unit_test(test_silence_makes_unknown),
        cmocka_unit_test(test_silence_of_one_of_two_witnesses),
        cmocka_unit_test(test_threads_overtake_each_other),
        cmocka_unit_test(test_more_devices_than_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
