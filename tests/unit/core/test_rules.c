/* The rules against the law: the test vectors of the regulations, then hold times, hysteresis, rise, silence and what must never be judged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scene.h"

#define FORTY "\"rated\":{\"total\":40},\"size\":\"large\""

static void none(struct scene *s)
{
    const struct rules_finding *f = scene_next(s);
    if (f != NULL)
        fail_msg("unexpected finding: %s change %d severity %d value %.2f limit %.2f at %+lld ms", law_rule_word((enum law_rule)f->rule), f->change,
                 f->severity, f->value, f->limit, (long long)(f->time_ms - SCENE_T0));
}

static const struct rules_finding *some(struct scene *s, enum rules_change change, const char *word)
{
    const struct rules_finding *f = scene_next(s);
    if (f == NULL)
        fail_msg("no finding, expected %s change %d", word, change);
    if (f->change != change || strcmp(law_rule_word((enum law_rule)f->rule), word) != 0)
        fail_msg("%s change %d, expected %s change %d", law_rule_word((enum law_rule)f->rule), f->change, word, change);
    return f;
}

static int warnings(const struct scene *s, enum rules_change change)
{
    int n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->found[i].change == change;
    return n;
}

static void near(double a, double b)
{
    if (!(fabs(a - b) < 0.02))
        fail_msg("%.4f, expected %.4f", a, b);
}

/* ---- overload: vectors ---- */

static void test_overload_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *vehicle;
        int persons, points; /* points -1: no finding */
        bool crime;
        const char *word;
    } c[] = {
        {"\"rated\":{\"total\":40},\"size\":\"large\"", 40, -1, false, NULL},
        {"\"rated\":{\"total\":40},\"size\":\"large\"", 41, 6, false, "OVL-1"},
        {"\"rated\":{\"total\":40},\"size\":\"large\"", 47, 6, false, "OVL-1"},
        {"\"rated\":{\"total\":40},\"size\":\"large\"", 48, 12, false, "OVL-2"},
        {"\"rated\":{\"total\":40},\"size\":\"large\"", 55, 12, true, "OVL-3"},
        {"\"rated\":{\"total\":40},\"size\":\"large\"", 60, 12, true, "OVL-3"},
        {"\"rated\":{\"total\":40},\"size\":\"large\"", 54, 12, false, "OVL-2"},
        {"\"rated\":{\"total\":19},\"size\":\"medium\"", 20, 6, false, "OVL-1"},
        {"\"rated\":{\"total\":19},\"size\":\"medium\"", 22, 6, false, "OVL-1"},
        {"\"rated\":{\"total\":19},\"size\":\"medium\"", 23, 12, false, "OVL-2"},
        {"\"rated\":{\"total\":19},\"size\":\"medium\"", 28, 12, false, "OVL-2"},
        {"\"rated\":{\"total\":19},\"size\":\"medium\"", 29, 12, true, "OVL-3"},
        {"\"rated\":{\"total\":7},\"size\":\"small\"", 8, 6, false, "OVL-1"},
        {"\"rated\":{\"total\":7},\"size\":\"small\"", 9, 12, false, "OVL-2"},
        {"\"rated\":{\"total\":7},\"size\":\"small\"", 13, 12, false, "OVL-2"},
        {"\"rated\":{\"total\":7},\"size\":\"small\"", 14, 12, true, "OVL-3"},
        {"\"rated\":{\"total\":100},\"size\":\"large\"", 115, 6, true, "OVL-3"}, /* 15 over, but only 15 % */
        {"\"rated\":{\"total\":20},\"size\":\"large\"", 30, 12, true, "OVL-3"},  /* 50 %, but only 10 over */
        {"\"rated\":{\"total\":40}", 70, 12, false, "OVL-2"},                    /* size not known: no criminal lead */
        {"\"size\":\"large\"", 70, -1, false, NULL},                             /* rated not known */
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        for (int order = 0; order < 2; order++) { /* doors shut before or after the children are counted */
            struct scene *s = scene_new(c[i].vehicle, "");
            if (order == 0)
                SCENE_DOORS(s, false);
            scene_count(s, EVENT_COUNT_DOOR, c[i].persons, 95);
            scene_count(s, EVENT_COUNT_ATTENDANT, c[i].persons, 90);
            SCENE_DOORS(s, false);
            scene_tick(s, 60);
            if (c[i].points < 0) {
                none(s);
            } else {
                /* the strongest rung opens after its own 15 s; a milder one that lasts longer adds nothing */
                const struct rules_finding *f = some(s, RULES_OPENED, c[i].word);
                assert_int_equal(f->points, c[i].points);
                assert_int_equal(f->criminal_lead, c[i].crime);
                assert_int_equal(f->severity, strcmp(c[i].word, "OVL-1") == 0 ? LAW_HIGH : LAW_CRITICAL);
                assert_int_equal(f->opened_ms - SCENE_T0, strcmp(c[i].word, "OVL-1") == 0 ? 20000 : 15000);
                assert_int_equal(f->began_ms, SCENE_T0);
                near(f->value, c[i].persons);
                near(f->limit, s->v->rated_total);
                near(f->over_pct, 100.0 * (c[i].persons - s->v->rated_total) / s->v->rated_total);
                assert_int_equal(f->sources, 2);
                assert_int_equal(f->pupils, c[i].persons - 2);
                assert_int_equal(f->to, LAW_TO_CAB | LAW_TO_DIS | LAW_TO_SCH | LAW_TO_OFF | LAW_TO_POL);
                none(s);
            }
            scene_free(s);
        }
}

/* ---- speed: vectors ---- */

struct speed_case {
    enum scene_place place;
    bool loaded;
    double kmh;
    int points; /* -1: no finding */
    bool crime;
    const char *word;
    enum law_severity severity;
    double limit;
};

static void speed_case(const struct speed_case *c, const char *rest)
{
    struct scene *s = scene_new(FORTY, rest);
    scene_count(s, EVENT_COUNT_DOOR, c->loaded ? 30 : 1, 95);
    scene_place(s, c->place);
    scene_drive(s, c->kmh, 40);
    if (c->points < 0) {
        none(s);
    } else {
        const struct rules_finding *f = scene_next(s), *last = f;
        if (f == NULL)
            fail_msg("%.1f km/h in place %d: nothing found", c->kmh, c->place);
        assert_int_equal(f->change, RULES_OPENED);
        while ((f = scene_next(s)) != NULL) { /* a faster rung may open first, the rest raises it */
            assert_int_equal(f->change, RULES_RAISED);
            assert_true(f->id == last->id);
            last = f;
        }
        if (strcmp(law_rule_word((enum law_rule)last->rule), c->word) != 0 || last->points != c->points || last->criminal_lead != c->crime ||
            last->severity != c->severity)
            fail_msg("%.1f km/h in place %d: %s, %d points, lead %d, severity %d; expected %s, %d, %d, %d", c->kmh, c->place,
                     law_rule_word((enum law_rule)last->rule), last->points, last->criminal_lead, last->severity, c->word, c->points, c->crime,
                     c->severity);
        near(last->value, c->kmh);
        near(last->limit, c->limit);
    }
    scene_free(s);
}

static void test_speed_vectors(void **state)
{
    (void)state;
    static const struct speed_case c[] = {
        {SCENE_CITY_60, true, 60, -1, false, NULL, 0, 60},
        {SCENE_CITY_60, true, 65, 0, false, "SPD-1", LAW_LOW, 60},
        {SCENE_CITY_60, true, 65.9, 0, false, "SPD-1", LAW_LOW, 60},
        {SCENE_CITY_60, true, 66, 1, false, "SPD-1", LAW_MEDIUM, 60},
        {SCENE_CITY_60, true, 71, 1, false, "SPD-1", LAW_MEDIUM, 60},
        {SCENE_CITY_60, true, 71.9, 1, false, "SPD-1", LAW_MEDIUM, 60},
        {SCENE_CITY_60, true, 72, 6, false, "SPD-1", LAW_HIGH, 60},
        {SCENE_CITY_60, true, 89, 6, false, "SPD-1", LAW_HIGH, 60},
        {SCENE_CITY_60, true, 90, 9, false, "SPD-1", LAW_CRITICAL, 60},
        {SCENE_CITY_60, true, 119.9, 9, false, "SPD-1", LAW_CRITICAL, 60},
        {SCENE_CITY_60, true, 120, 9, true, "SPD-3", LAW_CRITICAL, 60},
        {SCENE_EXPRESSWAY, true, 80, -1, false, NULL, 0, 80},
        {SCENE_EXPRESSWAY, true, 87, 6, false, "SPD-1", LAW_LOW, 80},
        {SCENE_EXPRESSWAY, true, 95, 6, false, "SPD-1", LAW_MEDIUM, 80},
        {SCENE_EXPRESSWAY, true, 96, 12, false, "SPD-1", LAW_CRITICAL, 80},
        {SCENE_EXPRESSWAY, true, 120, 12, true, "SPD-3", LAW_CRITICAL, 80},
        {SCENE_EXPRESSWAY, false, 100, -1, false, NULL, 0, 100},
        {SCENE_EXPRESSWAY, false, 110, 6, false, "SPD-1", LAW_MEDIUM, 100},
        {SCENE_EXPRESSWAY, false, 155, 12, false, "SPD-1", LAW_CRITICAL, 100}, /* empty: no criminal lead */
        {SCENE_POSTED_70, false, 65, -1, false, NULL, 0, 70},
        {SCENE_POSTED_70, false, 77, 1, false, "SPD-1", LAW_MEDIUM, 70},
        {SCENE_POSTED_70, true, 65, 0, false, "SPD-1", LAW_LOW, 60},
        {SCENE_BEND, true, 20, -1, false, NULL, 0, 20},
        {SCENE_BEND, true, 22.9, -1, false, NULL, 0, 20},
        {SCENE_BEND, true, 23, 1, false, "SPD-2", LAW_HIGH, 20},
        {SCENE_BEND, true, 29.9, 6, false, "SPD-2", LAW_HIGH, 20},
        {SCENE_BEND, true, 30, 9, true, "SPD-3", LAW_CRITICAL, 20},
        {SCENE_BEND, false, 30, -1, false, NULL, 0, 30},
        {SCENE_BEND, false, 33, 1, false, "SPD-1", LAW_MEDIUM, 30},
        {SCENE_NO_LINE, true, 45, 1, false, "SPD-1", LAW_MEDIUM, 40},
        {SCENE_CITY_50, true, 53, 0, false, "SPD-1", LAW_LOW, 50},
        {SCENE_STEEP, true, 30, 9, false, "SPD-2", LAW_CRITICAL, 20}, /* a steep stretch is no criminal lead below 100 %: up or down is not known */
        {SCENE_STEEP, false, 40, -1, false, NULL, 0, 40},
        {SCENE_URBAN_EXPRESS, true, 65, 6, false, "SPD-1", LAW_LOW, 60}, /* counts with expressways for points, not for the 80 of R617 */
        {SCENE_URBAN_EXPRESS, true, 72, 12, false, "SPD-1", LAW_CRITICAL, 60},
        {SCENE_NOTHING, true, 79, -1, false, NULL, 0, 80}, /* nothing known of the road: only what holds on every road */
        {SCENE_NOTHING, true, 88, 1, false, "SPD-1", LAW_MEDIUM, 80},
        {SCENE_NOTHING, false, 150, -1, false, NULL, 0, 0}, /* nothing at all can be stated */
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        speed_case(&c[i], "");
}

#define ORDER(kind, more) ",\"weather_orders\":[{\"kind\":\"" kind "\",\"from_ms\":1795370000000,\"to_ms\":1795390000000" more "}]"

static void test_speed_weather(void **state)
{
    (void)state;
    static const struct {
        struct speed_case c;
        const char *rest;
    } w[] = {
        {{SCENE_CITY_60, true, 23, 1, false, "SPD-2", LAW_HIGH, 20}, ORDER("ice_mud", "")},
        {{SCENE_CITY_60, true, 30, 9, true, "SPD-3", LAW_CRITICAL, 20}, ORDER("ice_mud", "")},
        {{SCENE_CITY_60, true, 30, 9, true, "SPD-3", LAW_CRITICAL, 20}, ORDER("low_visibility", "")},
        {{SCENE_CITY_60, false, 33, 1, false, "SPD-1", LAW_MEDIUM, 30}, ORDER("ice_mud", "")},
        {{SCENE_CITY_60, false, 60, -1, false, NULL, 0, 60}, ORDER("low_visibility", "")}, /* no distance stated: nothing for an empty bus */
        {{SCENE_CITY_60, false, 60, -1, false, NULL, 0, 60}, ORDER("low_visibility", ",\"visibility_m\":51")},
        {{SCENE_CITY_60, false, 33, 1, false, "SPD-1", LAW_MEDIUM, 30}, ORDER("low_visibility", ",\"visibility_m\":50")},
        {{SCENE_EXPRESSWAY, false, 63, 6, false, "SPD-1", LAW_LOW, 60}, ORDER("low_visibility", ",\"visibility_m\":199")},
        {{SCENE_EXPRESSWAY, false, 95, -1, false, NULL, 0, 100}, ORDER("low_visibility", ",\"visibility_m\":200")},
        {{SCENE_EXPRESSWAY, false, 43, 6, false, "SPD-1", LAW_LOW, 40}, ORDER("low_visibility", ",\"visibility_m\":99")},
        {{SCENE_EXPRESSWAY, false, 23, 6, false, "SPD-1", LAW_MEDIUM, 20}, ORDER("low_visibility", ",\"visibility_m\":49")},
        {{SCENE_CITY_60, true, 60, -1, false, NULL, 0, 60},
         ",\"weather_orders\":[{\"kind\":\"ice_mud\",\"from_ms\":1795370000000,\"to_ms\":1795380000000}]"}, /* over when the drive begins */
    };
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        speed_case(&w[i].c, w[i].rest);
}

/* ---- speed: time ---- */

static struct scene *loaded_bus(const char *rest)
{
    struct scene *s = scene_new(FORTY, rest);
    scene_count(s, EVENT_COUNT_DOOR, 30, 95);
    return s;
}

static void test_speed_hold(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 66, 10); /* true from second 1 to 10: nine seconds */
    none(s);
    scene_drive(s, 66, 1);
    const struct rules_finding *f = some(s, RULES_OPENED, "SPD-1");
    assert_int_equal(f->began_ms, SCENE_T0 + 1000);
    assert_int_equal(f->opened_ms, SCENE_T0 + 11000);
    assert_int_equal(f->input_ms, SCENE_T0 + 11000);
    assert_int_equal(f->confidence_pct, -1);
    assert_true(f->id != 0);
    uint64_t id = f->id;
    scene_drive(s, 59, 60); /* under the limit, but not 2 km/h under: neither over nor renewed */
    none(s);
    scene_drive(s, 58, 10);
    none(s);
    scene_drive(s, 58.5, 1); /* hysteresis breaks the clearing */
    scene_drive(s, 58, 10);
    none(s);
    scene_drive(s, 58, 1);
    f = some(s, RULES_CLOSED, "SPD-1");
    assert_true(f->id == id);
    assert_int_equal(f->closed_ms, s->now_ms);
    assert_int_equal(f->points, 1);
    near(f->value, 66);
    scene_free(s);
}

static void test_speed_fast_hold(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 72, 5);
    none(s);
    scene_drive(s, 72, 1);
    some(s, RULES_OPENED, "SPD-1");
    scene_free(s);
}

/* One spike never grades: nine seconds of 64 and one of 130 are 64. */
static void test_speed_spike(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 64, 4);
    scene_drive(s, 130, 1);
    scene_drive(s, 64, 6);
    const struct rules_finding *f = some(s, RULES_OPENED, "SPD-1");
    assert_int_equal(f->points, 0);
    near(f->value, 64);
    scene_drive(s, 130, 2);
    scene_drive(s, 64, 20);
    none(s);
    scene_free(s);
}

/* A dip below the margin starts the hold time again, but the breach still began when the limit was first passed. */
static void test_speed_margin(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 61, 3);
    scene_drive(s, 66, 8);
    scene_drive(s, 62.9, 1);
    scene_drive(s, 66, 10);
    none(s);
    scene_drive(s, 66, 1);
    const struct rules_finding *f = some(s, RULES_OPENED, "SPD-1");
    assert_int_equal(f->began_ms, SCENE_T0 + 1000);
    scene_free(s);
    s = loaded_bus("");
    scene_drive(s, 62.9, 300); /* within the margin for ever: a breach of the law, but GNSS cannot swear to it */
    none(s);
    scene_free(s);
}

static void test_speed_rises(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 66, 12);
    uint64_t id = some(s, RULES_OPENED, "SPD-1")->id;
    scene_drive(s, 75, 6);
    const struct rules_finding *f = some(s, RULES_RAISED, "SPD-1");
    assert_int_equal(f->points, 6);
    assert_true(f->id == id);
    near(f->value, 75);
    scene_drive(s, 121, 6);
    f = some(s, RULES_RAISED, "SPD-3");
    assert_int_equal(f->points, 9);
    assert_true(f->criminal_lead);
    assert_true(f->id == id);
    scene_drive(s, 66, 30); /* never falls while open */
    none(s);
    scene_drive(s, 40, 12);
    f = some(s, RULES_CLOSED, "SPD-3");
    assert_int_equal(f->points, 9);
    assert_int_equal(f->severity, LAW_CRITICAL);
    scene_free(s);
}

static void test_speed_warns_the_cab(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 54.9, 5);
    assert_int_equal(s->n, 0);
    scene_drive(s, 55, 5);
    assert_int_equal(s->n, 1);
    assert_int_equal(s->found[0].change, RULES_WARNED);
    assert_int_equal(s->found[0].rule, LAW_SPD_1);
    assert_int_equal(s->found[0].to, LAW_TO_CAB);
    near(s->found[0].value, 55);
    scene_drive(s, 53.5, 5); /* hysteresis */
    assert_int_equal(s->n, 1);
    scene_drive(s, 52, 5);
    assert_int_equal(s->n, 2);
    assert_int_equal(s->found[1].change, RULES_CALMED);
    scene_drive(s, 56, 2);
    assert_int_equal(s->n, 3);
    scene_tick(s, 30); /* no fix any more: the warning does not stay for ever */
    assert_int_equal(s->n, 4);
    assert_int_equal(s->found[3].change, RULES_CALMED);
    scene_free(s);
}

/* Nothing is judged across a silence, without a speed, with a poor fix, off the route. */
static void test_speed_unknown(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    for (int i = 0; i < 10; i++) { /* two fixes of each burst are 1 s apart, bursts 20 s */
        scene_drive(s, 80, 2);
        s->now_ms += 20000;
    }
    none(s);
    scene_free(s);
    s = loaded_bus("");
    scene_drive(s, (double)NAN, 30);
    none(s);
    scene_free(s);
    s = loaded_bus("");
    for (int i = 0; i < 30; i++) {
        s->now_ms += 1000;
        struct event e = scene_fix(s, 90);
        e.fix.hdop_d = 101;
        scene_event(s, &e);
    }
    none(s);
    for (int i = 0; i < 30; i++) { /* no position */
        s->now_ms += 1000;
        struct event e = scene_fix(s, 90);
        e.fix.mode = EVENT_FIX_NONE;
        scene_event(s, &e);
    }
    none(s);
    scene_free(s);
    s = loaded_bus("");
    s->off_m = 45; /* not surely on the 60 road any more: 80 is what holds everywhere */
    scene_drive(s, 80, 30);
    none(s);
    scene_free(s);
    s = scene_new(FORTY, ""); /* nobody counted: R617's lower limits are not applied */
    scene_place(s, SCENE_POSTED_70);
    scene_drive(s, 70, 30);
    none(s);
    scene_free(s);
    s = scene_new(FORTY, "");
    scene_count(s, EVENT_COUNT_DOOR, 30, 40); /* counted, but not surely */
    scene_place(s, SCENE_POSTED_70);
    scene_drive(s, 70, 30);
    none(s);
    scene_free(s);
}

/* Near the end of a segment the milder limit counts. */
static void test_speed_boundary(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY, "");
    scene_count(s, EVENT_COUNT_DOOR, 1, 95);
    s->along_m = 10005; /* 5 m into the expressway; standing there keeps the place */
    struct event e = scene_fix(s, 0);
    scene_event(s, &e);
    near(rules_limit_kmh(s->law, s->set, s->v, &s->bus), 100);
    s->along_m = 9995;
    s->now_ms += 1000;
    e = scene_fix(s, 0);
    scene_event(s, &e);
    near(rules_limit_kmh(s->law, s->set, s->v, &s->bus), 100);
    s->along_m = 9980;
    s->now_ms += 1000;
    e = scene_fix(s, 0);
    scene_event(s, &e);
    near(rules_limit_kmh(s->law, s->set, s->v, &s->bus), 60);
    scene_place(s, SCENE_NOTHING);
    s->now_ms += 1000;
    e = scene_fix(s, 0);
    scene_event(s, &e);
    assert_true(isnan(rules_limit_kmh(s->law, s->set, s->v, &s->bus)));
    scene_free(s);
}

static void test_limit_kmh(void **state)
{
    (void)state;
    static const struct {
        enum scene_place place;
        double empty, loaded;
    } c[] = {{SCENE_CITY_60, 60, 60}, {SCENE_EXPRESSWAY, 100, 80}, {SCENE_POSTED_70, 70, 60}, {SCENE_BEND, 30, 20},
             {SCENE_NO_LINE, 40, 40}, {SCENE_CITY_50, 50, 50},     {SCENE_STEEP, 40, 20},     {SCENE_URBAN_EXPRESS, 80, 60}};
    for (int loaded = 0; loaded < 2; loaded++)
        for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
            struct scene *s = scene_new(FORTY, "");
            assert_true(isnan(rules_limit_kmh(s->law, s->set, s->v, &s->bus)));
            scene_count(s, EVENT_COUNT_DOOR, loaded ? 30 : 2, 95);
            scene_place(s, c[i].place);
            scene_drive(s, 0, 1);
            near(rules_limit_kmh(s->law, s->set, s->v, &s->bus), loaded ? c[i].loaded : c[i].empty);
            s->off_m = 300;
            scene_drive(s, 0, 1);
            assert_true(isnan(rules_limit_kmh(s->law, s->set, s->v, &s->bus)));
            scene_free(s);
        }
}

/* An open speeding episode that loses its fixes ends when it was last seen. */
static void test_speed_expires(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 80, 20);
    some(s, RULES_OPENED, "SPD-1");
    int64_t last_ms = s->now_ms;
    scene_tick(s, 120);
    none(s);
    scene_tick(s, 1);
    const struct rules_finding *f = some(s, RULES_CLOSED, "SPD-1");
    assert_int_equal(f->closed_ms, last_ms);
    assert_int_equal(f->time_ms, s->now_ms);
    scene_free(s);
}

/* In the cool-down the same again waits, the worse does not. */
static void test_speed_cooldown(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    scene_drive(s, 66, 12);
    uint64_t id = some(s, RULES_OPENED, "SPD-1")->id;
    scene_drive(s, 50, 11);
    int64_t closed_ms = some(s, RULES_CLOSED, "SPD-1")->closed_ms;
    scene_drive(s, 66, 100);
    none(s);
    scene_drive(s, 66, 20);
    const struct rules_finding *f = some(s, RULES_OPENED, "SPD-1");
    assert_int_equal(f->opened_ms, closed_ms + 120000);
    assert_int_equal(f->began_ms, closed_ms + 1000);
    assert_true(f->id != id);
    scene_drive(s, 50, 11);
    some(s, RULES_CLOSED, "SPD-1");
    scene_drive(s, 75, 6);
    some(s, RULES_OPENED, "SPD-1");
    scene_free(s);
}

/* ---- overload: time, doors, doubt ---- */

static void test_overload_hold(void **state)
{
    (void)state;
    for (int both = 0; both < 2; both++) {
        struct scene *s = scene_new(FORTY, "");
        SCENE_DOORS(s, false);
        scene_count(s, EVENT_COUNT_DOOR, 43, 95);
        if (both)
            scene_count(s, EVENT_COUNT_CAMERA, 42, 80); /* agrees within one person */
        scene_tick(s, both ? 19 : 44);
        none(s);
        scene_tick(s, 1);
        const struct rules_finding *f = some(s, RULES_OPENED, "OVL-1");
        assert_int_equal(f->opened_ms, SCENE_T0 + (both ? 20000 : 45000));
        assert_int_equal(f->sources, both ? 2 : 1);
        assert_int_equal(f->confidence_pct, both ? 99 : 95);
        assert_int_equal(f->source, EVENT_COUNT_DOOR);
        near(f->value, 43);
        scene_count(s, EVENT_COUNT_DOOR, 40, 95);
        if (both)
            scene_count(s, EVENT_COUNT_CAMERA, 41, 80);
        scene_tick(s, 19);
        none(s);
        scene_tick(s, 1);
        assert_int_equal(some(s, RULES_CLOSED, "OVL-1")->closed_ms, s->now_ms);
        scene_free(s);
    }
}

/* The door opens again and again: never 20 s shut, never a finding; but the driver is told at once. */
static void test_overload_doors(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY, "");
    SCENE_DOORS(s, true);
    scene_count(s, EVENT_COUNT_DOOR, 45, 95);
    scene_count(s, EVENT_COUNT_ATTENDANT, 45, 95);
    assert_int_equal(warnings(s, RULES_WARNED), 1);
    assert_int_equal(s->found[0].rule, LAW_OVL_1);
    near(s->found[0].value, 45);
    near(s->found[0].limit, 40);
    for (int i = 0; i < 10; i++) {
        SCENE_DOORS(s, false);
        scene_tick(s, 19);
        SCENE_DOORS(s, true);
        scene_tick(s, 60);
    }
    none(s);
    assert_int_equal(warnings(s, RULES_WARNED), 1);
    scene_count(s, EVENT_COUNT_DOOR, 40, 95);
    scene_count(s, EVENT_COUNT_ATTENDANT, 40, 95);
    assert_int_equal(warnings(s, RULES_CALMED), 1);
    SCENE_DOORS(s, false);
    scene_tick(s, 100);
    none(s);
    scene_free(s);
}

/* Doors not known: a bus without contacts is shut when it moves, and only then. */
static void test_overload_no_door_contacts(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY, "");
    scene_count(s, EVENT_COUNT_DOOR, 45, 95);
    scene_tick(s, 100);
    none(s);
    scene_drive(s, 2, 100);
    none(s);
    scene_drive(s, 30, 46);
    some(s, RULES_OPENED, "OVL-1");
    scene_free(s);
    s = scene_new(FORTY, ""); /* moved once, then no fix: old speed is no knowledge */
    scene_count(s, EVENT_COUNT_DOOR, 45, 95);
    scene_drive(s, 30, 1);
    scene_tick(s, 100);
    none(s);
    scene_free(s);
}

static void test_overload_rises(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY, "");
    SCENE_DOORS(s, false);
    scene_count(s, EVENT_COUNT_DOOR, 42, 95);
    scene_tick(s, 45);
    uint64_t id = some(s, RULES_OPENED, "OVL-1")->id;
    SCENE_DOORS(s, true);
    scene_count(s, EVENT_COUNT_DOOR, 49, 95);
    scene_tick(s, 30);
    none(s);
    SCENE_DOORS(s, false);
    scene_tick(s, 15);
    const struct rules_finding *f = some(s, RULES_RAISED, "OVL-2");
    assert_true(f->id == id);
    assert_int_equal(f->points, 12);
    assert_int_equal(f->severity, LAW_CRITICAL);
    assert_int_equal(f->raised_ms, s->now_ms);
    scene_count(s, EVENT_COUNT_DOOR, 56, 95);
    scene_tick(s, 15);
    f = some(s, RULES_RAISED, "OVL-3");
    assert_true(f->id == id && f->criminal_lead);
    scene_count(s, EVENT_COUNT_DOOR, 41, 95);
    scene_tick(s, 60);
    none(s);
    scene_count(s, EVENT_COUNT_DOOR, 40, 95);
    scene_tick(s, 20);
    f = some(s, RULES_CLOSED, "OVL-3");
    near(f->value, 56);
    scene_free(s);
}

/* Doubt: low confidence, sources that disagree, a negative tally, a device that doubts itself. */
static void test_overload_doubt(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct scene *s = scene_new(FORTY, "");
        SCENE_DOORS(s, false);
        if (kind == 0)
            scene_count(s, EVENT_COUNT_DOOR, 55, 59);
        else if (kind == 1) {
            scene_count(s, EVENT_COUNT_DOOR, 55, 95);
            scene_count(s, EVENT_COUNT_ATTENDANT, 38, 99);
        } else if (kind == 2) {
            scene_count(s, EVENT_COUNT_DOOR, -4, 95);
            scene_count(s, EVENT_COUNT_CAMERA, 45, 70);
        } else {
            struct event e = {.time_ms = s->now_ms, .kind = EVENT_COUNT};
            e.count = (struct event_count){
                .source = EVENT_COUNT_DOOR, .confidence_pct = 95, .boarded = 54, .aboard = EVENT_UNKNOWN, .flags = EVENT_COUNT_DOUBTFUL};
            scene_event(s, &e);
        }
        scene_tick(s, 44);
        none(s);
        scene_tick(s, 1);
        const struct rules_finding *f = some(s, RULES_OPENED, "OVL-D");
        assert_int_equal(f->severity, LAW_MEDIUM);
        assert_int_equal(f->points, -1);
        assert_false(f->criminal_lead);
        assert_int_equal(f->to & LAW_TO_POL, 0);
        near(f->value, kind == 2 ? 45 : 55);
        scene_tick(s, 300);
        none(s);
        /* the attendant counts again and the doors are read well: no doubt, no overload */
        scene_count(s, EVENT_COUNT_DOOR, 40, 95);
        scene_count(s, EVENT_COUNT_CAMERA, 40, 95);
        scene_count(s, EVENT_COUNT_ATTENDANT, 40, 95);
        scene_tick(s, 20);
        some(s, RULES_CLOSED, "OVL-D");
        none(s);
        scene_free(s);
    }
}

static void test_overload_confidence_line(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY, "");
    SCENE_DOORS(s, false);
    scene_count(s, EVENT_COUNT_DOOR, 55, 60);
    scene_tick(s, 60);
    some(s, RULES_OPENED, "OVL-3");
    none(s);
    scene_count(s, EVENT_COUNT_ATTENDANT, 40, 50); /* doubt arises: the overload neither ends nor is doubled */
    scene_tick(s, 300);
    none(s);
    scene_free(s);
    s = scene_new(FORTY, "");
    SCENE_DOORS(s, false);
    scene_count(s, EVENT_COUNT_DOOR, 55, 0); /* confidence not known */
    scene_tick(s, 60);
    some(s, RULES_OPENED, "OVL-D");
    none(s);
    scene_free(s);
}

/* ---- route ---- */

/* Drive off the line by `off` metres at 36 km/h for so many seconds. */
static void stray(struct scene *s, double off_m, int seconds)
{
    s->off_m = off_m;
    scene_drive(s, 36, seconds);
}

static void test_route_hold(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    stray(s, 0, 5);
    stray(s, 64, 300); /* 60 m and one hdop of 5 m */
    none(s);
    stray(s, 70, 60);
    none(s);
    stray(s, 70, 1);
    const struct rules_finding *f = some(s, RULES_OPENED, "RTE-1");
    assert_int_equal(f->severity, LAW_MEDIUM);
    assert_int_equal(f->points, -1);
    assert_true(isnan(f->over_pct));
    assert_true(fabs(f->value - 70) < 0.2);
    near(f->limit, 65);
    assert_int_equal(f->opened_ms - f->began_ms, 60000);
    assert_int_equal(f->to, LAW_TO_CAB | LAW_TO_DIS);
    stray(s, 50, 120); /* inside, but not inside 0.7 of it */
    none(s);
    stray(s, 45, 30);
    none(s);
    stray(s, 45, 1);
    some(s, RULES_CLOSED, "RTE-1");
    scene_free(s);
}

static void test_route_travel(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    s->off_m = 100;
    scene_drive(s, 0, 200); /* stands beside its route */
    none(s);
    scene_drive(s, 36, 19); /* 190 m */
    none(s);
    scene_drive(s, 36, 2);
    some(s, RULES_OPENED, "RTE-1");
    scene_free(s);
}

static void test_route_raised(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    stray(s, 100, 61);
    uint64_t id = some(s, RULES_OPENED, "RTE-1")->id;
    stray(s, 600, 10);
    none(s);
    stray(s, 600, 1);
    const struct rules_finding *f = some(s, RULES_RAISED, "RTE-1");
    assert_true(f->id == id);
    assert_int_equal(f->severity, LAW_HIGH);
    assert_int_equal(f->to, LAW_TO_CAB | LAW_TO_DIS | LAW_TO_SCH | LAW_TO_OFF | LAW_TO_PAR);
    assert_true(fabs(f->value - 600) < 1);
    scene_free(s);
    s = loaded_bus("");
    stray(s, 100, 61);
    some(s, RULES_OPENED, "RTE-1");
    stray(s, 100, 239);
    none(s);
    stray(s, 100, 1);
    some(s, RULES_RAISED, "RTE-1");
    scene_free(s);
    s = loaded_bus("");
    stray(s, 600, 30); /* far, but not yet long: not even that opens before 60 s */
    none(s);
    stray(s, 600, 31);
    assert_int_equal(some(s, RULES_OPENED, "RTE-1")->severity, LAW_HIGH);
    scene_free(s);
}

static void test_route_excused(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY ",\"permits\":[{\"from_ms\":1795380000000,\"to_ms\":1795380120000,\"reason\":\"works\"}]", "");
    scene_count(s, EVENT_COUNT_DOOR, 30, 95);
    stray(s, 300, 119);
    none(s);
    stray(s, 300, 60); /* permitted until second 120: the time counts from then */
    none(s);
    stray(s, 300, 2);
    some(s, RULES_OPENED, "RTE-1");
    scene_free(s);
    s = scene_new(FORTY, "");
    scene_count(s, EVENT_COUNT_DOOR, 2, 95); /* driver and attendant */
    stray(s, 900, 400);
    none(s);
    scene_free(s);
    s = scene_new(FORTY, "");
    stray(s, 900, 400); /* nobody counted */
    none(s);
    scene_free(s);
    s = loaded_bus(""); /* the children get off where it strayed to: over */
    stray(s, 300, 70);
    some(s, RULES_OPENED, "RTE-1");
    scene_count(s, EVENT_COUNT_DOOR, 1, 95);
    stray(s, 300, 31);
    some(s, RULES_CLOSED, "RTE-1");
    scene_free(s);
}

static void test_route_poor_fix(void **state)
{
    (void)state;
    struct scene *s = loaded_bus("");
    for (int i = 0; i < 300; i++) {
        s->now_ms += 1000;
        s->along_m += 10;
        s->off_m = 100;
        struct event e = scene_fix(s, 36);
        e.fix.hdop_d = 90; /* corridor 60 + 45 m */
        scene_event(s, &e);
    }
    none(s);
    scene_free(s);
}

/* ---- SOS ---- */

static void test_sos(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY, "");
    scene_inputs(s, EVENT_IN_SOS, 0);
    none(s);
    scene_inputs(s, EVENT_IN_SOS, EVENT_IN_SOS);
    const struct rules_finding *f = some(s, RULES_OPENED, "SOS-1");
    assert_int_equal(f->severity, LAW_CRITICAL);
    assert_int_equal(f->opened_ms, SCENE_T0);
    assert_int_equal(f->to, LAW_TO_DIS | LAW_TO_SCH | LAW_TO_OFF | LAW_TO_POL);
    near(f->value, 1);
    scene_inputs(s, EVENT_IN_SOS, EVENT_IN_SOS);
    scene_tick(s, 100);
    scene_inputs(s, 0, 0); /* the input board is gone: nobody released the button */
    scene_tick(s, 100);
    none(s);
    scene_inputs(s, EVENT_IN_SOS, 0);
    scene_tick(s, 10);
    some(s, RULES_CLOSED, "SOS-1");
    scene_inputs(s, EVENT_IN_SOS, EVENT_IN_SOS); /* no cool-down for a call for help */
    some(s, RULES_OPENED, "SOS-1");
    scene_free(s);
}

/* ---- the rest ---- */

/* Before the law was in force there is nothing to judge by. */
static void test_not_in_force(void **state)
{
    (void)state;
    struct scene *s = scene_new(FORTY, "");
    s->now_ms = 1300000000000; /* 2011 */
    SCENE_DOORS(s, false);
    scene_count(s, EVENT_COUNT_DOOR, 60, 99);
    scene_drive(s, 120, 100);
    scene_inputs(s, EVENT_IN_SOS, EVENT_IN_SOS);
    assert_int_equal(s->n, 0);
    scene_free(s);
}

static void test_units_and_cites(void **state)
{
    (void)state;
    assert_string_equal(rules_unit(LAW_OVL_DOUBT), "persons");
    assert_string_equal(rules_unit(LAW_SPD_3), "km/h");
    assert_string_equal(rules_unit(LAW_RTE_1), "m");
    assert_string_equal(rules_unit(LAW_SOS_1), "");
    struct scene *s = loaded_bus("");
    scene_drive(s, 121, 15);
    const struct rules_finding *f = NULL, *next;
    while ((next = scene_next(s)) != NULL)
        f = next;
    assert_non_null(f);
    const struct law_cite *c[RULES_CITES_MAX];
    size_t n = rules_cites(s->law, f, c);
    bool criminal = false, points = false;
    for (size_t i = 0; i < n; i++) {
        criminal = criminal || strcmp(c[i]->code, "CL") == 0;
        points = points || (strcmp(c[i]->code, "M163") == 0 && strcmp(c[i]->article, "9(2)") == 0);
        for (size_t k = 0; k < i; k++)
            assert_true(strcmp(c[i]->code, c[k]->code) != 0 || strcmp(c[i]->article, c[k]->article) != 0);
    }
    assert_true(criminal && points);
    scene_free(s);
}

/* The card of SPD-1 names where its limit comes from, and no article that states other figures. */
static void test_limit_cites(void **state)
{
    (void)state;
    static const struct {
        double limit;
        const char *in, *out; /* "code article" */
    } c[] = {
        {60, "R617 35", "RTSL-IR 45"},     {80, "R617 35", "RTSL-IR 45"},  {20, "R617 35", "RTSL-IR 45"},   {30, "RTSL-IR 45", "R617 35"},
        {70, "RTSL-IR 45", "R617 35"},     {50, "RTSL-IR 45", "R617 35"},  {100, "RTSL-IR 78", "R617 35"},  {45, "RTSL 42", "R617 35"},
        {45, "RTSL 42", "RTSL-IR 45"},     {60, "RTSL 42", "RTSL-IR 81"},  {60, "M163 12(1)", "RTSL-IR 46"},
    };
    struct scene *s = loaded_bus("");
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct rules_finding f = {.rule = LAW_SPD_1, .points = 1, .limit = c[i].limit, .value = c[i].limit * 1.15, .opened_ms = SCENE_T0, .time_ms = SCENE_T0};
        const struct law_cite *got[RULES_CITES_MAX];
        size_t n = rules_cites(s->law, &f, got);
        bool in = false;
        for (size_t k = 0; k < n; k++) {
            char word[64];
            snprintf(word, sizeof word, "%s %s", got[k]->code, got[k]->article);
            in = in || strcmp(word, c[i].in) == 0;
            if (strcmp(word, c[i].out) == 0)
                fail_msg("limit %.0f cites %s", c[i].limit, word);
        }
        if (!in)
            fail_msg("limit %.0f does not cite %s", c[i].limit, c[i].in);
    }
    scene_free(s);
}

static void test_sizes(void **state)
{
    (void)state;
    printf("bus %zu bytes, rules_memory %zu bytes\n", sizeof(struct bus), sizeof(struct rules_memory));
    assert_true(sizeof(struct bus) + sizeof(struct rules_memory) <= 5120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overload_vectors),
        cmocka_unit_test(test_speed_vectors),
        cmocka_unit_test(test_speed_weather),
        cmocka_unit_test(test_speed_hold),
        cmocka_unit_test(test_speed_fast_hold),
        cmocka_unit_test(test_speed_spike),
        cmocka_unit_test(test_speed_margin),
        cmocka_unit_test(test_speed_rises),
        cmocka_unit_test(test_speed_warns_the_cab),
        cmocka_unit_test(test_speed_unknown),
        cmocka_unit_test(test_speed_boundary),
        cmocka_unit_test(test_limit_kmh),
        cmocka_unit_test(test_speed_expires),
        cmocka_unit_test(test_speed_cooldown),
        cmocka_unit_test(test_overload_hold),
        cmocka_unit_test(test_overload_doors),
        cmocka_unit_test(test_overload_no_door_contacts),
        cmocka_unit_test(test_overload_rises),
        cmocka_unit_test(test_overload_doubt),
        cmocka_unit_test(test_overload_confidence_line),
        cmocka_unit_test(test_route_hold),
        cmocka_unit_test(test_route_travel),
        cmocka_unit_test(test_route_raised),
        cmocka_unit_test(test_route_excused),
        cmocka_unit_test(test_route_poor_fix),
        cmocka_unit_test(test_sos),
        cmocka_unit_test(test_not_in_force),
        cmocka_unit_test(test_units_and_cites),
        cmocka_unit_test(test_limit_cites),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
