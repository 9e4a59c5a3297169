/* What the driver hears and sees, second by second, with time handed in. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/panel.h"

static struct panel fresh(void)
{
    struct panel p = {0};
    assert_int_equal(field_defaults(panel_fields, panel_fields_n, &p.opt), RC_OK);
    return p;
}

static struct rules_finding finding(enum law_rule rule, enum rules_change change, enum law_severity severity)
{
    return (struct rules_finding){
        .rule = (uint8_t)rule, .change = (uint8_t)change, .severity = (uint8_t)severity, .to = LAW_TO_CAB | LAW_TO_OFF, .value = 39, .limit = 36};
}

static void tell(struct panel *p, enum law_rule rule, enum rules_change change, enum law_severity severity, int64_t now)
{
    struct rules_finding f = finding(rule, change, severity);
    panel_finding(p, &f, now);
}

/* One character per 50 ms: what the buzzer (or lamp) does in the time. */
static void draw(const struct panel *p, int64_t from, int64_t ms, bool lamp, char *out)
{
    size_t n = 0;
    for (int64_t t = from; t < from + ms; t += 50) {
        struct panel_signal s = panel_now(p, t);
        out[n++] = (lamp ? s.lamp : s.buzzer) ? '#' : '.';
    }
    out[n] = '\0';
}

#define SOUNDS(p, from, picture)                                                                                                                     \
    do {                                                                                                                                             \
        char drawn_[512];                                                                                                                            \
        draw(p, from, 50 * (int64_t)strlen(picture), false, drawn_);                                                                                 \
        assert_string_equal(drawn_, picture);                                                                                                        \
    } while (0)
#define LIGHTS(p, from, picture)                                                                                                                     \
    do {                                                                                                                                             \
        char drawn_[512];                                                                                                                            \
        draw(p, from, 50 * (int64_t)strlen(picture), true, drawn_);                                                                                  \
        assert_string_equal(drawn_, picture);                                                                                                        \
    } while (0)

static void test_quiet_at_first(void **state)
{
    (void)state;
    struct panel p = fresh();
    SOUNDS(&p, 1000, "..........");
    LIGHTS(&p, 1000, "..........");
    assert_true(panel_now(&p, 5).next_ms == INT64_MAX);
}

static void test_speed_near_the_limit_is_one_beep(void **state)
{
    (void)state;
    struct panel p = fresh();
    tell(&p, LAW_SPD_1, RULES_WARNED, LAW_INFO, 1000);
    SOUNDS(&p, 1000, "###.................");
    SOUNDS(&p, 10900, "..###..."); /* again after ten seconds */
    LIGHTS(&p, 1000, "......");
    tell(&p, LAW_SPD_1, RULES_CALMED, LAW_INFO, 11000);
    SOUNDS(&p, 11000, "......");
}

static void test_overload_at_the_open_door(void **state)
{
    (void)state;
    struct panel p = fresh();
    tell(&p, LAW_OVL_1, RULES_WARNED, LAW_INFO, 0);
    SOUNDS(&p, 0, "######..............");
    SOUNDS(&p, 3000, "######....");
    LIGHTS(&p, 0, "##########");
    tell(&p, LAW_OVL_1, RULES_CALMED, LAW_INFO, 4000);
    LIGHTS(&p, 4000, "....");
}

static void test_no_attendant_holds_the_bus_too(void **state)
{
    (void)state;
    struct panel p = fresh();
    tell(&p, LAW_ATT_1, RULES_WARNED, LAW_INFO, 0);
    SOUNDS(&p, 0, "######..............");
    tell(&p, LAW_ATT_1, RULES_OPENED, LAW_HIGH, 1000); /* it left all the same */
    assert_int_equal(panel_worst(&p), PANEL_HIGH);
}

static void test_search_then_siren(void **state)
{
    (void)state;
    struct panel p = fresh();
    tell(&p, LAW_LFT_1, RULES_WARNED, LAW_INFO, 0);
    SOUNDS(&p, 0, "##..##..##..##..##......................##..##..");
    LIGHTS(&p, 0, "####....####....");
    assert_false(panel_now(&p, 10).siren);
    tell(&p, LAW_OVL_2, RULES_OPENED, LAW_CRITICAL, 500); /* critical, but no siren */
    assert_false(panel_now(&p, 510).siren);
    tell(&p, LAW_LFT_1, RULES_OPENED, LAW_CRITICAL, 60000);
    assert_true(panel_now(&p, 60010).siren);
    tell(&p, LAW_LFT_1, RULES_CALMED, LAW_INFO, 60020);
    assert_true(panel_now(&p, 60030).siren);
    p.opt.siren = false;
    assert_false(panel_now(&p, 60040).siren);
    p.opt.siren = true;
    tell(&p, LAW_LFT_1, RULES_CLOSED, LAW_CRITICAL, 61000);
    assert_false(panel_now(&p, 61000).siren);
}

static void test_goes_on_after_a_restart(void **state)
{
    (void)state;
    struct panel p = fresh();
    struct rules_memory mem = {0};
    mem.state[RULES_LEFT] = RULES_ACTIVE;
    mem.episode[RULES_LEFT].to = LAW_TO_CAB;
    mem.episode[RULES_LEFT].severity = LAW_CRITICAL;
    mem.state[RULES_TAMPER] = RULES_ACTIVE; /* not for the cab */
    mem.episode[RULES_TAMPER].severity = LAW_HIGH;
    mem.warned[RULES_ATTENDANT] = 1;
    panel_resume(&p, &mem, 5000);
    assert_true(panel_now(&p, 5000).siren);
    assert_int_equal(p.slot[RULES_ATTENDANT].level, PANEL_BOARDING);
    assert_int_equal(p.slot[RULES_TAMPER].level, PANEL_QUIET);
    panel_reset(&p);
    assert_false(panel_now(&p, 5000).siren);
}

static void test_severities(void **state)
{
    (void)state;
    struct panel p = fresh();
    tell(&p, LAW_SPD_1, RULES_OPENED, LAW_LOW, 0);
    SOUNDS(&p, 0, "###...###...........");
    SOUNDS(&p, 29900, "..###...###...");
    LIGHTS(&p, 0, "####");
    tell(&p, LAW_SPD_1, RULES_RAISED, LAW_MEDIUM, 40000);
    SOUNDS(&p, 40000, "####....####....####........");
    LIGHTS(&p, 40000, "##########..........##########");
    tell(&p, LAW_SPD_1, RULES_RAISED, LAW_HIGH, 50000);
    SOUNDS(&p, 50000, "##########..........##########..........");
    tell(&p, LAW_SPD_3, RULES_RAISED, LAW_CRITICAL, 60000);
    SOUNDS(&p, 60000, "########################################");
    SOUNDS(&p, 3600000, "####");
    LIGHTS(&p, 60000, "####....####....");
    tell(&p, LAW_SPD_3, RULES_CLOSED, LAW_CRITICAL, 70000); /* the ladder's rule rose: one end for all */
    SOUNDS(&p, 70000, "....................");
    LIGHTS(&p, 70000, "....................");
}

static void test_an_open_finding_is_not_calmed_by_a_warning(void **state)
{
    (void)state;
    struct panel p = fresh();
    tell(&p, LAW_OVL_2, RULES_OPENED, LAW_CRITICAL, 0);
    tell(&p, LAW_OVL_1, RULES_WARNED, LAW_INFO, 1000);
    tell(&p, LAW_OVL_1, RULES_CALMED, LAW_INFO, 2000);
    assert_int_equal(panel_worst(&p), PANEL_CRITICAL);
    tell(&p, LAW_OVL_2, RULES_CLOSED, LAW_CRITICAL, 3000);
    assert_int_equal(panel_worst(&p), PANEL_QUIET);
}

static void test_worst_wins_and_the_other_comes_back(void **state)
{
    (void)state;
    struct panel p = fresh();
    tell(&p, LAW_RTE_1, RULES_OPENED, LAW_MEDIUM, 0);
    tell(&p, LAW_OVL_2, RULES_OPENED, LAW_CRITICAL, 5000);
    assert_int_equal(panel_worst(&p), PANEL_CRITICAL);
    tell(&p, LAW_OVL_2, RULES_CLOSED, LAW_CRITICAL, 6000);
    assert_int_equal(panel_worst(&p), PANEL_MEDIUM);
    SOUNDS(&p, 10000, "####....####....####....");
}

static void test_not_addressed_to_the_cab(void **state)
{
    (void)state;
    struct panel p = fresh();
    struct rules_finding f = finding(LAW_RTE_1, RULES_OPENED, LAW_CRITICAL);
    f.to = LAW_TO_POL | LAW_TO_OFF;
    panel_finding(&p, &f, 0);
    assert_int_equal(panel_worst(&p), PANEL_QUIET);
}

static void test_sos_is_seen_not_heard(void **state)
{
    (void)state;
    struct panel p = fresh();
    panel_sos(&p, true, 0);
    tell(&p, LAW_SOS_1, RULES_OPENED, LAW_CRITICAL, 0);
    SOUNDS(&p, 0, "....................");
    LIGHTS(&p, 0, "##..##..##..");
    panel_sos(&p, true, 50); /* told again: the flicker keeps its beat */
    LIGHTS(&p, 100, "..##..##");
    panel_sos(&p, false, 1000);
    LIGHTS(&p, 1000, "....");
}

static void test_ordered_buzzer_is_bounded(void **state)
{
    (void)state;
    struct panel p = fresh();
    panel_order(&p, 500, 1000);
    SOUNDS(&p, 1000, "##########....");
    panel_order(&p, 4000000000U, 10000);
    assert_true(panel_now(&p, 69999).buzzer);
    assert_false(panel_now(&p, 70000).buzzer);
    panel_order(&p, 60000, 100000);
    panel_order(&p, 0, 101000);
    assert_false(panel_now(&p, 101000).buzzer);
}

static void test_switched_off_outputs_stay_off(void **state)
{
    (void)state;
    struct panel p = fresh();
    p.opt.buzzer = false;
    tell(&p, LAW_OVL_2, RULES_OPENED, LAW_CRITICAL, 0);
    assert_false(panel_now(&p, 10).buzzer);
    assert_true(panel_now(&p, 10).lamp);
}

/* next_ms is the program's timer: nothing may change before it. */
static void test_next_is_never_late(void **state)
{
    (void)state;
    struct panel p = fresh();
    static const enum law_severity all[] = {LAW_INFO, LAW_LOW, LAW_MEDIUM, LAW_HIGH, LAW_CRITICAL};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        tell(&p, LAW_SPD_1, RULES_OPENED, all[k], 0);
        for (int64_t t = 0; t < 70000; t++) {
            struct panel_signal s = panel_now(&p, t), later = panel_now(&p, t + 1);
            assert_true(s.next_ms > t);
            if (later.buzzer != s.buzzer || later.lamp != s.lamp)
                assert_int_equal(s.next_ms, t + 1);
        }
        tell(&p, LAW_SPD_1, RULES_CLOSED, all[k], 0);
    }
}

static void test_text(void **state)
{
    (void)state;
    struct law_rule_text rule = {.title_zh = "校车超员", .title_en = "Overload"};
    struct rules_finding f = finding(LAW_OVL_1, RULES_OPENED, LAW_HIGH);
    char line[256];
    panel_text(&f, &rule, line, sizeof line);
    assert_string_equal(line, "校车超员 39/36 人 · Overload 39/36 persons");
    rule = (struct law_rule_text){.title_zh = "超速", .title_en = "Speeding"};
    f = finding(LAW_SPD_1, RULES_RAISED, LAW_HIGH);
    f.value = 71.46;
    f.limit = 60;
    panel_text(&f, &rule, line, sizeof line);
    assert_string_equal(line, "加重：超速 71.5/60 公里/小时 · Worse: Speeding 71.5/60 km/h");
    f = finding(LAW_OVL_1, RULES_WARNED, LAW_INFO);
    rule = (struct law_rule_text){.title_zh = "校车超员", .title_en = "Overload"};
    panel_text(&f, &rule, line, sizeof line);
    assert_string_equal(line, "请勿起步：校车超员 39/36 人 · Do not depart: Overload 39/36 persons");
    rule = (struct law_rule_text){.title_zh = "学生遗留", .title_en = "Pupil left"};
    f = finding(LAW_LFT_1, RULES_WARNED, LAW_INFO);
    panel_text(&f, &rule, line, sizeof line);
    assert_string_equal(line, "请立即巡车：学生遗留 · Search the bus now: Pupil left");
    rule = (struct law_rule_text){.title_zh = "超速", .title_en = "Speeding"};
    f = finding(LAW_SPD_1, RULES_RAISED, LAW_HIGH);
    f.value = 71.46;
    f.limit = (double)NAN;
    panel_text(&f, &rule, line, sizeof line);
    assert_non_null(strstr(line, "71.5/? km/h"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet_at_first),
        cmocka_unit_test(test_speed_near_the_limit_is_one_beep),
        cmocka_unit_test(test_overload_at_the_open_door),
        cmocka_unit_test(test_no_attendant_holds_the_bus_too),
        cmocka_unit_test(test_search_then_siren),
        cmocka_unit_test(test_goes_on_after_a_restart),
        cmocka_unit_test(test_severities),
        cmocka_unit_test(test_an_open_finding_is_not_calmed_by_a_warning),
        cmocka_unit_test(test_worst_wins_and_the_other_comes_back),
        cmocka_unit_test(test_not_addressed_to_the_cab),
        cmocka_unit_test(test_sos_is_seen_not_heard),
        cmocka_unit_test(test_ordered_buzzer_is_bounded),
        cmocka_unit_test(test_switched_off_outputs_stay_off),
        cmocka_unit_test(test_next_is_never_late),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
