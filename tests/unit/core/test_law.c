/* The law pack: what cn-national says, and that every single damage to it is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "scene.h"

static json_t *pack(void)
{
    char *text = scene_file("core/law/cn-national.json");
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static json_t *rule(json_t *root, const char *word)
{
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(root, "rules"), i, r)
    {
        if (strcmp(json_string_value(json_object_get(r, "word")), word) == 0)
            return r;
    }
    fail_msg("no rule %s", word);
    return NULL;
}

/* Read the changed pack; on success *ret_law. */
static enum rc read_pack(json_t *root, struct law **ret_law, char *why, size_t cap)
{
    char *text = json_dumps(root, JSON_COMPACT);
    assert_non_null(text);
    enum rc rc = law_read(text, strlen(text), "pack.json", ret_law, why, cap);
    free(text);
    return rc;
}

static void refused(json_t *root, enum rc expect, const char *begins)
{
    struct law *l = (struct law *)(void *)&l;
    char why[512] = "";
    enum rc rc = read_pack(root, &l, why, sizeof why);
    if (rc == RC_OK)
        fail_msg("accepted, expected \"%s\"", begins);
    assert_ptr_equal(l, (void *)&l);
    if (strncmp(why, begins, strlen(begins)) != 0)
        fail_msg("said \"%s\", expected \"%s...\"", why, begins);
    assert_int_equal(rc, expect);
    json_decref(root);
}

static double number(const struct law_rule_text *t, const char *name)
{
    for (size_t i = 0; i < t->params; i++)
        if (strcmp(t->param[i].name, name) == 0)
            return t->param[i].value;
    fail_msg("%s has no %s", t->word, name);
    return 0;
}

static void test_shipped_pack(void **state)
{
    (void)state;
    struct law *l = scene_law();
    assert_string_equal(law_pack(l), "cn-national");
    assert_string_equal(law_version(l), "2026.11");
    assert_true(strlen(law_title(l, true)) > 0 && strlen(law_title(l, false)) > 0);
    for (int i = 0; i < LAW_RULES; i++) {
        const struct law_rule_text *t = law_rule_at(l, (enum law_rule)i, SCENE_T0);
        assert_non_null(t);
        assert_string_equal(t->word, law_rule_word((enum law_rule)i));
        assert_int_equal(law_rule_of_word(t->word), i);
        assert_string_equal(t->checked_on, "2026-11-22");
        assert_true(t->cites > 0);
        assert_null(law_rule_at(l, (enum law_rule)i, 0));
    }
    const struct law_rule_text *t = law_rule_at(l, LAW_SPD_1, SCENE_T0);
    assert_int_equal(t->grades, 4);
    assert_int_equal(t->grades_b, 3);
    assert_int_equal(t->grade[3].min_pct, 50);
    assert_int_equal(t->grade[3].points, 9);
    assert_int_equal(t->grade_b[2].points, 12);
    assert_int_equal(t->param[LAW_SPD_1_FAST_ON_MS].value, number(t, "fast_on_ms"));
    assert_int_equal(t->param[LAW_SPD_1_CONFIDENCE_PCT].value, number(t, "confidence_pct"));
    t = law_rule_at(l, LAW_OVL_3, SCENE_T0);
    assert_int_equal(number(t, "large_persons"), 15);
    assert_int_equal(t->param[LAW_OVL_3_MEDIUM_PCT].value, 80);
    assert_int_equal(t->param[LAW_OVL_3_SMALL_PERSONS].value, 7);
    assert_string_equal(t->param[LAW_OVL_3_SMALL_PERSONS].mark, "secondary");
    assert_non_null(t->lead_zh);
    /* in force from midnight of 2022-04-01 in China */
    assert_int_equal(t->from_ms, 1648742400000);
    assert_null(law_rule_at(l, LAW_OVL_3, 1648742399999));
    assert_non_null(law_rule_at(l, LAW_OVL_3, 1648742400000));
    assert_int_equal(law_rule_of_word("OVL-9"), LAW_RULES);
    assert_string_equal(law_severity_word(LAW_CRITICAL), "critical");
    assert_string_equal(law_to_word(4), "POL");
    assert_null(law_to_word(6));
    law_free(l);
}

/* Two versions of a rule, the later one given first. */
static void test_versions(void **state)
{
    (void)state;
    json_t *root = pack(), *now = rule(root, "OVL-1"), *old = json_deep_copy(now);
    json_object_set_new(old, "effective_from", json_string("2013-01-01"));
    json_object_set_new(old, "effective_to", json_string("2022-04-01"));
    json_object_set_new(old, "title_en", json_string("before"));
    json_array_append_new(json_object_get(root, "rules"), old);
    struct law *l = NULL;
    char why[512] = "";
    if (read_pack(root, &l, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    assert_string_equal(law_rule_at(l, LAW_OVL_1, 1648742399999)->title_en, "before");
    assert_string_not_equal(law_rule_at(l, LAW_OVL_1, 1648742400000)->title_en, "before");
    assert_null(law_rule_at(l, LAW_OVL_1, 1300000000000));
    static const int64_t edge[] = {INT64_MIN + 1, 0, 1300000000000, 1648742400000, SCENE_T0, INT64_MAX - 1};
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
        for (int64_t at = edge[i] - 1; at <= edge[i] + 1 && at != INT64_MAX; at++)
            for (int r = 0; r < LAW_RULES; r++)
                assert_ptr_equal(law_rules_at(l, at)[r], law_rule_at(l, (enum law_rule)r, at));
    law_free(l);
    json_object_set_new(old, "effective_to", json_string("2022-04-02"));
    refused(root, RC_INVALID, "pack.json: rules[19]: OVL-1 is effective twice");
}

static void test_wrong_packs(void **state)
{
    (void)state;
    json_t *root = pack();
    json_object_set_new(root, "format", json_string("schoolward.law.2"));
    refused(root, RC_UNSUPPORTED, "pack.json: format: is \"schoolward.law.2\": this program reads");
    root = pack();
    json_array_remove(json_object_get(root, "rules"), 1);
    refused(root, RC_INVALID, "pack.json: rules: OVL-2 is missing: ");
    root = pack();
    json_object_set_new(rule(root, "OVL-2"), "colour", json_string("red"));
    refused(root, RC_INVALID, "pack.json: rules[1].colour: unknown member: known here are word");
    root = pack();
    json_object_set_new(rule(root, "OVL-2"), "limits", json_array());
    refused(root, RC_INVALID, "pack.json: rules[1].limits: unknown member");
    root = pack();
    json_object_del(json_object_get(rule(root, "SPD-1"), "params"), "warn_kmh");
    refused(root, RC_INVALID, "pack.json: rules[4].params.warn_kmh: missing: ");
    root = pack();
    json_object_set_new(json_object_get(rule(root, "SPD-1"), "params"), "warn_mph", json_integer(3));
    refused(root, RC_INVALID, "pack.json: rules[4].params.warn_mph: unknown member");
    root = pack();
    json_object_set_new(json_object_get(json_object_get(rule(root, "SPD-1"), "params"), "warn_kmh"), "value", json_string("5"));
    refused(root, RC_INVALID, "pack.json: rules[4].params.warn_kmh.value: is a text: must be a number");
    root = pack();
    json_object_set_new(json_object_get(json_object_get(rule(root, "SPD-1"), "params"), "warn_kmh"), "value", json_integer(900));
    refused(root, RC_RANGE, "pack.json: rules[4].params.warn_kmh.value: is 900: must be 0 to 30");
    root = pack();
    json_object_set_new(json_object_get(json_object_get(rule(root, "SPD-1"), "params"), "warn_kmh"), "unit", json_string("mph"));
    refused(root, RC_INVALID, "pack.json: rules[4].params.warn_kmh.unit: is \"mph\": this number is in \"km/h\"");
    root = pack();
    json_object_set_new(json_array_get(json_object_get(rule(root, "SPD-1"), "grades"), 2), "min_pct", json_integer(10));
    refused(root, RC_INVALID, "pack.json: rules[4].grades[2]: min_pct 10 does not rise above 10");
    root = pack();
    json_object_set_new(json_array_get(json_object_get(rule(root, "SPD-1"), "grades_express"), 2), "points", json_integer(3));
    refused(root, RC_INVALID, "pack.json: rules[4].grades_express[2]: points or severity fall");
    root = pack();
    json_array_append_new(json_object_get(rule(root, "OVL-1"), "recipients"), json_string("MUM"));
    refused(root, RC_INVALID, "pack.json: rules[0].recipients[5]: unknown word \"MUM\": must be one of CAB DIS");
    root = pack();
    json_array_append_new(json_object_get(rule(root, "OVL-1"), "recipients"), json_string("CAB"));
    refused(root, RC_INVALID, "pack.json: rules[0].recipients[5]: is given twice");
    root = pack();
    json_object_set_new(rule(root, "RTE-1"), "title_zh", json_string(""));
    refused(root, RC_INVALID, "pack.json: rules[7].title_zh: is empty");
    root = pack();
    json_object_del(rule(root, "RTE-1"), "lead_zh");
    refused(root, RC_INVALID, "pack.json: rules[7]: has lead_en only");
    root = pack();
    json_object_set_new(rule(root, "RTE-1"), "checked_on", json_string("2026-02-29"));
    refused(root, RC_INVALID, "pack.json: rules[7].checked_on: is no date");
    root = pack();
    json_object_set_new(rule(root, "RTE-1"), "effective_to", json_string("2012-04-05"));
    refused(root, RC_RANGE, "pack.json: rules[7]: effective_from is not before");
    root = pack();
    json_array_append_new(json_object_get(rule(root, "RTE-1"), "cite"), json_string("R617-99"));
    refused(root, RC_INVALID, "pack.json: rules[7].cite[2]: \"R617-99\" is not among the citations");
    root = pack();
    json_object_set_new(json_object_get(json_object_get(root, "citations"), "R617-34"), "mark", json_string("rumour"));
    refused(root, RC_INVALID, "pack.json: citations.R617-34.mark: unknown word \"rumour\"");
    root = pack();
    json_object_set_new(json_object_get(json_object_get(root, "citations"), "R617-34"), "en", json_string(""));
    refused(root, RC_INVALID, "pack.json: citations.R617-34.en: is empty");
    root = pack();
    json_object_set_new(json_object_get(rule(root, "SPD-1"), "hold"), "on_single_ms", json_integer(5));
    refused(root, RC_RANGE, "pack.json: rules[4].hold.on_single_ms: is 5: must be 10000");
    root = pack();
    json_object_set_new(json_object_get(rule(root, "SPD-2"), "raised"), "severity", json_string("low"));
    refused(root, RC_INVALID, "pack.json: rules[5].raised: severity falls below");
    root = pack();
    json_object_set_new(json_array_get(json_object_get(rule(root, "SPD-1"), "limits"), 0), "roads", json_pack("[s]", "sea"));
    refused(root, RC_INVALID, "pack.json: rules[4].limits[0].roads[0]: unknown word \"sea\"");
    root = pack();
    json_object_set_new(json_array_get(json_object_get(root, "rules"), 0), "word", json_string("OVL-7"));
    refused(root, RC_INVALID, "pack.json: rules[0].word: unknown word \"OVL-7\"");
    json_t *list = json_array();
    refused(list, RC_INVALID, "pack.json: document: is a list");
    struct law *l = NULL;
    char why[512] = "";
    assert_int_equal(law_read("{\"a\":1,\"a\":2}", 13, "x", &l, why, sizeof why), RC_INVALID);
    assert_int_equal(strncmp(why, "x: document: line 1", 19), 0);
    assert_int_equal(law_read("{", 1, "x", &l, why, sizeof why), RC_INVALID);
    assert_null(l);
}

/* Members that may be left out, everywhere in a pack. */
static bool optional(const char *key)
{
    static const char *const words[] = {"effective_to", "on_single_ms", "gap_ms", "expire_ms", "unposted", "pupils",
                                        "danger",       "special",      "roads",  "hazards",   "weather",  "visibility_max_m"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], key) == 0)
            return true;
    return false;
}

static int damages;

static void expect_refusal(json_t *root, const char *what, const char *key)
{
    struct law *l = NULL;
    char why[512] = "";
    enum rc rc = read_pack(root, &l, why, sizeof why);
    if (rc == RC_OK)
        fail_msg("%s %s: accepted", key, what);
    if (strncmp(why, "pack.json: ", 11) != 0 || strstr(why + 11, ": ") == NULL)
        fail_msg("%s %s: no place and reason in \"%s\"", key, what, why);
    damages++;
}

/* Take every member away, add a stranger to every object, give every value the wrong kind: nothing of that is read. */
static void damage(json_t *root, json_t *at)
{
    if (json_is_object(at)) {
        char *keys[64];
        size_t n = 0;
        const char *key;
        json_t *value;
        json_object_foreach(at, key, value)
        {
            assert_true(n < 64);
            keys[n++] = strdup(key);
        }
        if (at != json_object_get(root, "citations")) {
            json_object_set_new(at, "stranger", json_true());
            expect_refusal(root, "with a stranger", "object");
            json_object_del(at, "stranger");
        }
        for (size_t i = 0; i < n; i++) {
            json_t *was = json_incref(json_object_get(at, keys[i]));
            if (!optional(keys[i])) {
                json_object_del(at, keys[i]);
                expect_refusal(root, "missing", keys[i]);
            }
            json_object_set_new(at, keys[i], json_null());
            expect_refusal(root, "null", keys[i]);
            json_object_set_new(at, keys[i], json_is_string(was) ? json_real(1.5) : json_string("x"));
            expect_refusal(root, "of another kind", keys[i]);
            json_object_set(at, keys[i], was);
            damage(root, was);
            json_decref(was);
            free(keys[i]);
        }
    } else if (json_is_array(at)) {
        for (size_t i = 0; i < json_array_size(at); i++)
            damage(root, json_array_get(at, i));
        json_t *was = json_deep_copy(at);
        json_array_clear(at);
        expect_refusal(root, "empty", "list");
        json_array_extend(at, was);
        json_array_append_new(at, json_integer(7));
        expect_refusal(root, "with a number", "list");
        json_array_remove(at, json_array_size(at) - 1);
        json_decref(was);
    }
}

static void test_every_damage(void **state)
{
    (void)state;
    json_t *root = pack();
    damage(root, root);
    struct law *l = NULL;
    char why[512] = "";
    if (read_pack(root, &l, why, sizeof why) != RC_OK) /* the damage was undone each time */
        fail_msg("%s", why);
    law_free(l);
    json_decref(root);
    printf("%d damaged packs refused\n", damages);
    assert_true(damages > 1500);
}

/* No number of the law in the code: another country's numbers are another pack. Doubling a limit moves the finding. */
static void test_numbers_come_from_the_pack(void **state)
{
    (void)state;
    json_t *root = pack();
    json_object_set_new(json_array_get(json_object_get(rule(root, "OVL-2"), "grades"), 0), "min_pct", json_integer(30));
    json_object_set_new(json_object_get(json_object_get(rule(root, "OVL-3"), "params"), "large_persons"), "value", json_integer(20));
    json_object_set_new(json_object_get(rule(root, "OVL-2"), "hold"), "on_ms", json_integer(3000));
    struct scene *s = scene_new("\"rated\":{\"total\":40},\"size\":\"large\"", "");
    law_free(s->law);
    char why[512] = "";
    if (read_pack(root, &s->law, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    json_decref(root);
    SCENE_DOORS(s, false);
    scene_count(s, EVENT_COUNT_DOOR, 55, 95);
    scene_tick(s, 3);
    const struct rules_finding *f = scene_next(s);
    assert_true(f != NULL && f->rule == LAW_OVL_2 && f->opened_ms == SCENE_T0 + 3000);
    scene_tick(s, 60);
    assert_null(scene_next(s)); /* 55 is 15 over: no lead in this pack */
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_pack),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_wrong_packs),
        cmocka_unit_test(test_every_damage),
        cmocka_unit_test(test_numbers_come_from_the_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
