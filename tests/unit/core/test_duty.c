/* The duty reader: the documented example, what a set answers, and wrong documents with the exact place told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/duty.h"

#define LINE      "\"line\":[[113.0,23.0],[113.01,23.0],[113.02,23.0]]"
#define STOPS     "\"stops\":[{\"id\":\"s1\",\"name_zh\":\"甲\",\"name_en\":\"A\",\"lat\":23.0,\"lon\":113.0,\"offset_s\":0}]"
#define ROUTE     "{\"id\":\"r1\",\"name_zh\":\"一\",\"name_en\":\"One\",\"rural\":false," LINE "," STOPS "}"
#define BUS       "\"id\":\"b1\",\"plate\":\"粤A1\",\"gateway\":\"g1\",\"staff\":2,\"staff_uncounted\":1"
#define DOC(r, v) "{\"format\":\"schoolward.duty.1\",\"routes\":[" r "],\"vehicles\":[" v "]}"

static struct duty_set *must_read(const char *json)
{
    struct duty_set *s = NULL;
    char why[256] = "";
    enum rc rc = duty_read(json, strlen(json), &s, why, sizeof why);
    if (rc != RC_OK)
        fail_msg("%s", why);
    return s;
}

static void refused(const char *json, enum rc expect, const char *begins)
{
    struct duty_set *s = (struct duty_set *)(void *)&s;
    char why[256] = "";
    enum rc rc = duty_read(json, strlen(json), &s, why, sizeof why);
    if (rc == RC_OK)
        fail_msg("accepted: %s", json);
    assert_ptr_equal(s, (void *)&s); /* untouched on failure */
    if (strncmp(why, begins, strlen(begins)) != 0)
        fail_msg("said \"%s\", expected \"%s...\"", why, begins);
    const char *first = strstr(why, ": "), *second = first == NULL ? NULL : strstr(first + 2, ": ");
    if (second == NULL)
        fail_msg("no \"path: problem: hint\": \"%s\"", why);
    assert_int_equal(rc, expect);
}

static char *example_of_docs(void)
{
    const char *root = getenv("SCHOOLWARD_SOURCE");
    if (root == NULL)
        return NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/docs/duty-format.md", root);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    size_t n = fread(text, 1, (1 << 16) - 1, f);
    fclose(f);
    text[n] = '\0';
    char *from = strstr(text, "```json\n");
    assert_non_null(from);
    from += 8;
    char *to = strstr(from, "```");
    assert_non_null(to);
    *to = '\0';
    char *json = strdup(from);
    free(text);
    return json;
}

static void test_documented_example(void **state)
{
    (void)state;
    char *json = example_of_docs();
    if (json == NULL)
        skip();
    struct duty_set *s = must_read(json);
    free(json);
    assert_int_equal(s->routes, 1);
    assert_int_equal(s->vehicles, 1);
    assert_int_equal(s->orders, 1);
    const struct duty_route *r = &s->route[0];
    assert_int_equal(r->segments, 2);
    assert_int_equal(r->segment[0].posted_kmh, 40);
    assert_int_equal(r->segment[0].road, DUTY_ROAD_CITY_ONE_LANE);
    assert_int_equal(r->segment[1].posted_kmh, 0);
    assert_int_equal(r->segment[1].hazards, DUTY_HAZARD_SHARP_BEND);
    assert_int_equal(r->run[0].start_s, 7 * 3600 + 600);
    assert_true(r->stop[0].along_m < 1);
    assert_true(fabs(r->stop[1].along_m - geo_line_length_m(r->line)) < 1);
    const struct duty_vehicle *v = &s->vehicle[0];
    assert_int_equal(v->rated_total, 40);
    assert_int_equal(v->rated_pupils, 38);
    assert_int_equal(v->size, DUTY_SIZE_LARGE);
    assert_int_equal(v->secret_sha256[0], 0x9f);
    assert_int_equal(v->secret_sha256[31], 0x08);
    assert_string_equal(duty_permit_at(v, 1795380000000)->reason, "works");
    assert_null(duty_permit_at(v, 1795390000000));
    assert_null(duty_permit_at(v, 1795379999999));
    assert_int_equal(duty_order_at(s, DUTY_WEATHER_LOW_VISIBILITY, 1795380000000)->visibility_m, 45);
    assert_null(duty_order_at(s, DUTY_WEATHER_ICE_MUD, 1795380000000));
    duty_free(s);
}

static void test_roster(void **state)
{
    (void)state;
    struct duty_set *s =
        must_read(DOC(ROUTE, "{" BUS ",\"routes\":[],\"front_seat_staff\":true,\"roster\":["
                             "{\"hash\":\"ffffffffffffffff\",\"kind\":\"driver\"},{\"hash\":\"00000000000000a1\",\"kind\":\"pupil\"},"
                             "{\"hash\":\"80000000000000A2\",\"kind\":\"attendant\"},{\"hash\":\"0000000000000000\",\"kind\":\"patrol\"}]}"));
    const struct duty_vehicle *v = &s->vehicle[0];
    assert_int_equal(v->cards, 4);
    assert_int_equal(v->staff_cards, 1);
    assert_true(v->front_seat_staff);
    assert_int_equal(duty_card_kind(v, 0xa1), EVENT_CARD_PUPIL);
    assert_int_equal(duty_card_kind(v, 0x80000000000000a2), EVENT_CARD_ATTENDANT);
    assert_int_equal(duty_card_kind(v, UINT64_MAX), EVENT_CARD_DRIVER);
    assert_int_equal(duty_card_kind(v, 0), EVENT_CARD_PATROL);
    assert_int_equal(duty_card_kind(v, 0xa0), EVENT_CARD_UNKNOWN);
    duty_free(s);
    s = must_read(DOC("", "{" BUS ",\"routes\":[],\"roster\":[]}"));
    assert_int_equal(duty_card_kind(&s->vehicle[0], 0), EVENT_CARD_UNKNOWN);
    assert_false(s->vehicle[0].front_seat_staff);
    duty_free(s);
#define CARD(h) "{\"hash\":\"" h "\",\"kind\":\"pupil\"}"
    refused(DOC("", "{" BUS ",\"routes\":[],\"roster\":[" CARD("00000000000000ag") "]}"), RC_INVALID, "vehicles[0].roster[0].hash: is not hex");
    refused(DOC("", "{" BUS ",\"routes\":[],\"roster\":[" CARD("0a1") "]}"), RC_RANGE, "vehicles[0].roster[0].hash: ");
    refused(DOC("", "{" BUS ",\"routes\":[],\"roster\":[" CARD("00000000000000a1") "," CARD("00000000000000a1") "]}"), RC_INVALID,
            "vehicles[0].roster: has a hash twice");
    refused(DOC("", "{" BUS ",\"routes\":[],\"roster\":[{\"hash\":\"00000000000000a1\",\"kind\":\"unknown\"}]}"), RC_INVALID,
            "vehicles[0].roster[0].kind: ");
    refused(DOC("", "{" BUS ",\"routes\":[],\"roster\":[{\"hash\":\"00000000000000a1\",\"kind\":\"pupil\",\"name\":\"x\"}]}"), RC_INVALID,
            "vehicles[0].roster[0].name: ");
    refused(DOC("", "{" BUS ",\"routes\":[],\"front_seat_staff\":1}"), RC_INVALID, "vehicles[0].front_seat_staff: ");
}

static void test_finding_vehicles(void **state)
{
    (void)state;
    enum { N = 300 };
    char *json = malloc(1 << 20);
    assert_non_null(json);
    size_t n = (size_t)sprintf(json, "{\"format\":\"schoolward.duty.1\",\"routes\":[],\"vehicles\":[");
    for (int i = 0; i < N; i++) /* neither ids nor gateways in sorted order */
        n += (size_t)sprintf(json + n, "%s{\"id\":\"b%d\",\"plate\":\"P%d\",\"gateway\":\"g%d\",\"staff\":1,\"staff_uncounted\":0,\"routes\":[]}",
                             i > 0 ? "," : "", (i * 7919) % N, i, (i * 104729) % N);
    strcpy(json + n, "]}");
    struct duty_set *s = must_read(json);
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "b%d", (i * 7919) % N);
        assert_ptr_equal(duty_vehicle_by_id(s, id), &s->vehicle[i]);
        snprintf(id, sizeof id, "g%d", (i * 104729) % N);
        assert_ptr_equal(duty_vehicle_of_gateway(s, id), &s->vehicle[i]);
    }
    assert_null(duty_vehicle_by_id(s, "b300"));
    assert_null(duty_vehicle_of_gateway(s, ""));
    assert_null(duty_route_at(s, &s->vehicle[0], 5));
    duty_free(s);
    free(json);
}

static void test_routes_by_time(void **state)
{
    (void)state;
    static const char route2[] = "{\"id\":\"r2\",\"name_zh\":\"二\",\"name_en\":\"Two\",\"rural\":true," LINE ",\"stops\":[]}";
    char json[4096];
    snprintf(json, sizeof json, DOC("%s,%s", "{%s,\"routes\":[%s]}"), ROUTE, route2, BUS,
             "{\"route\":\"r2\",\"from_ms\":2000,\"to_ms\":3000},{\"route\":\"r1\",\"from_ms\":1000,\"to_ms\":2000}");
    struct duty_set *s = must_read(json);
    const struct duty_vehicle *v = &s->vehicle[0];
    assert_null(duty_route_at(s, v, 999));
    assert_string_equal(duty_route_at(s, v, 1000)->id, "r1");
    assert_string_equal(duty_route_at(s, v, 1999)->id, "r1");
    assert_string_equal(duty_route_at(s, v, 2000)->id, "r2");
    assert_null(duty_route_at(s, v, 3000));
    assert_int_equal(v->rated_total, 0);
    assert_int_equal(v->size, DUTY_SIZE_UNKNOWN);
    for (int i = 0; i < 32; i++)
        assert_int_equal(v->secret_sha256[i], 0);
    duty_free(s);
    s = must_read(DOC(ROUTE, "{" BUS ",\"routes\":[{\"route\":\"r1\"}]}"));
    assert_non_null(duty_route_at(s, &s->vehicle[0], 0));
    assert_non_null(duty_route_at(s, &s->vehicle[0], 4102444800000));
    duty_free(s);
}

static void test_segments(void **state)
{
    (void)state;
    struct duty_set *s = must_read(DOC("{\"id\":\"r1\",\"name_zh\":\"一\",\"name_en\":\"One\",\"rural\":false," LINE
                                       ",\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":100,\"posted_kmh\":40},"
                                       "{\"from_m\":100,\"to_m\":200},{\"from_m\":300,\"to_m\":400,\"hazards\":[\"steep\",\"water\"]}]}",
                                       ""));
    const struct duty_route *r = &s->route[0];
    assert_ptr_equal(duty_segment_at(r, 0), &r->segment[0]);
    assert_ptr_equal(duty_segment_at(r, 99.999), &r->segment[0]);
    assert_ptr_equal(duty_segment_at(r, 100), &r->segment[1]);
    assert_null(duty_segment_at(r, 200));
    assert_null(duty_segment_at(r, 250));
    assert_ptr_equal(duty_segment_at(r, 399), &r->segment[2]);
    assert_null(duty_segment_at(r, 400));
    assert_null(duty_segment_at(r, -1));
    assert_null(duty_segment_at(r, NAN));
    assert_null(duty_segment_at(r, INFINITY));
    assert_int_equal(r->segment[2].hazards, DUTY_HAZARD_STEEP | DUTY_HAZARD_WATER);
    assert_int_equal(r->segment[2].road, DUTY_ROAD_UNKNOWN);
    duty_free(s);
}

/* There and back along one street: the stops of the way back lie on the way back. */
static void test_stops_there_and_back(void **state)
{
    (void)state;
    struct duty_set *s = must_read(
        DOC("{\"id\":\"r1\",\"name_zh\":\"一\",\"name_en\":\"One\",\"rural\":false,\"line\":[[113.0,23.0],[113.02,23.0],[113.0,23.0]],\"stops\":["
            "{\"id\":\"a\",\"name_zh\":\"a\",\"name_en\":\"a\",\"lat\":23.0,\"lon\":113.0,\"offset_s\":0},"
            "{\"id\":\"b\",\"name_zh\":\"b\",\"name_en\":\"b\",\"lat\":23.0,\"lon\":113.01,\"offset_s\":60},"
            "{\"id\":\"c\",\"name_zh\":\"c\",\"name_en\":\"c\",\"lat\":23.0,\"lon\":113.02,\"offset_s\":120},"
            "{\"id\":\"d\",\"name_zh\":\"d\",\"name_en\":\"d\",\"lat\":23.0,\"lon\":113.01,\"offset_s\":180},"
            "{\"id\":\"e\",\"name_zh\":\"e\",\"name_en\":\"e\",\"lat\":23.0,\"lon\":113.0,\"offset_s\":180}]}",
            ""));
    const struct duty_route *r = &s->route[0];
    double quarter = geo_line_length_m(r->line) / 4;
    for (int i = 0; i < 5; i++)
        if (fabs(r->stop[i].along_m - quarter * i) > 1)
            fail_msg("stop %d at %.1f, expected %.1f", i, r->stop[i].along_m, quarter * i);
    duty_free(s);
}

static void test_order_strictest(void **state)
{
    (void)state;
    struct duty_set *s = must_read("{\"format\":\"schoolward.duty.1\",\"routes\":[],\"vehicles\":[],\"weather_orders\":["
                                   "{\"kind\":\"low_visibility\",\"from_ms\":0,\"to_ms\":100},"
                                   "{\"kind\":\"low_visibility\",\"from_ms\":10,\"to_ms\":100,\"visibility_m\":150},"
                                   "{\"kind\":\"low_visibility\",\"from_ms\":20,\"to_ms\":30,\"visibility_m\":40}]}");
    assert_int_equal(duty_order_at(s, DUTY_WEATHER_LOW_VISIBILITY, 5)->visibility_m, 0);
    assert_int_equal(duty_order_at(s, DUTY_WEATHER_LOW_VISIBILITY, 15)->visibility_m, 150);
    assert_int_equal(duty_order_at(s, DUTY_WEATHER_LOW_VISIBILITY, 25)->visibility_m, 40);
    assert_int_equal(duty_order_at(s, DUTY_WEATHER_LOW_VISIBILITY, 30)->visibility_m, 150);
    duty_free(s);
}

static void test_wrong_documents(void **state)
{
    (void)state;
#define R(members)      "{\"id\":\"r1\",\"name_zh\":\"一\",\"name_en\":\"One\",\"rural\":false," members "}"
#define S(id, lon, off) "{\"id\":\"" id "\",\"name_zh\":\"x\",\"name_en\":\"x\",\"lat\":23.0,\"lon\":" lon ",\"offset_s\":" off "}"
    static const struct {
        const char *json;
        enum rc rc;
        const char *begins;
    } c[] = {
        {"", RC_INVALID, "document: line"},
        {"{\"format\":\"schoolward.duty.1\"} x", RC_INVALID, "document: line 1"},
        {"[]", RC_INVALID, "document: is a list"},
        {"{}", RC_INVALID, "format: missing"},
        {"{\"format\":\"schoolward.duty.2\",\"routes\":[],\"vehicles\":[]}", RC_INVALID, "format: unknown word"},
        {"{\"format\":\"schoolward.duty.1\",\"routes\":[],\"routes\":[],\"vehicles\":[]}", RC_INVALID, "document: line 1"},
        {"{\"format\":\"schoolward.duty.1\",\"routes\":[],\"vehicles\":[],\"colour\":1}", RC_INVALID, "colour: unknown member"},
        {"{\"format\":\"schoolward.duty.1\",\"routes\":{},\"vehicles\":[]}", RC_INVALID, "routes: is an object"},
        {DOC(ROUTE "," ROUTE, ""), RC_INVALID, "routes[1].id: \"r1\" is used twice"},
        {DOC(R(LINE ",\"stops\":[],\"corridor\":5"), ""), RC_INVALID, "routes[0].corridor: unknown member"},
        {DOC(R(LINE ",\"stops\":[],\"corridor_m\":5"), ""), RC_RANGE, "routes[0].corridor_m: is 5: must be 20 to 2000"},
        {DOC(R(LINE ",\"stops\":[],\"corridor_m\":\"60\""), ""), RC_INVALID, "routes[0].corridor_m: is a text"},
        {DOC(R("\"line\":[[113,23]],\"stops\":[]"), ""), RC_RANGE, "routes[0].line: has 1 elements"},
        {DOC(R("\"line\":[[113,23],[113,23]],\"stops\":[]"), ""), RC_INVALID, "routes[0].line: is no line"},
        {DOC(R("\"line\":[[113,23],[113,91]],\"stops\":[]"), ""), RC_RANGE, "routes[0].line[1][1]: is 91"},
        {DOC(R("\"line\":[[113,23],[113,23,5]],\"stops\":[]"), ""), RC_RANGE, "routes[0].line[1]: has 3 elements"},
        {DOC(R("\"line\":[[113,23],[\"113\",23]],\"stops\":[]"), ""), RC_INVALID, "routes[0].line[1][0]: is a text"},
        {DOC(R(LINE), ""), RC_INVALID, "routes[0].stops: missing"},
        {DOC(R(LINE ",\"stops\":[" S("s", "113.0", "0") "," S("s", "113.01", "9") "]"), ""), RC_INVALID,
         "routes[0].stops[1].id: \"s\" is used twice"},
        {DOC(R(LINE ",\"stops\":[" S("s", "113.03", "0") "]"), ""), RC_RANGE, "routes[0].stops[0]: 1024 m from the line"},
        {DOC(R(LINE ",\"stops\":[" S("s", "114.0", "0") "]"), ""), RC_RANGE, "routes[0].stops[0]: "},
        {DOC(R(LINE ",\"stops\":[" S("a", "113.0", "9") "," S("b", "113.01", "8") "]"), ""), RC_INVALID, "routes[0].stops[1]: offset_s 8 is less"},
        {DOC(R(LINE ",\"stops\":[" S("a", "113.01", "0") "," S("b", "113.0", "8") "]"), ""), RC_INVALID, "routes[0].stops[1]: lies 1024 m back"},
        {DOC(R(LINE ",\"stops\":[" S("a b", "113.0", "0") "]"), ""), RC_INVALID, "routes[0].stops[0].id: is not an id"},
        {DOC(R(LINE ",\"stops\":[],\"segments\":[{\"from_m\":5,\"to_m\":5}]"), ""), RC_RANGE, "routes[0].segments[0]: from_m 5 is not before"},
        {DOC(R(LINE ",\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":9},{\"from_m\":8,\"to_m\":20}]"), ""), RC_INVALID,
         "routes[0].segments[1]: from_m 8 lies before"},
        {DOC(R(LINE ",\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":9000}]"), ""), RC_RANGE, "routes[0].segments[0].to_m: is 9000"},
        {DOC(R(LINE ",\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":9,\"posted_kmh\":0}]"), ""), RC_RANGE,
         "routes[0].segments[0].posted_kmh: is 0"},
        {DOC(R(LINE ",\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":9,\"posted_kmh\":40.5}]"), ""), RC_INVALID,
         "routes[0].segments[0].posted_kmh: is a number"},
        {DOC(R(LINE ",\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":9,\"road\":\"street\"}]"), ""), RC_INVALID,
         "routes[0].segments[0].road: unknown word \"street\""},
        {DOC(R(LINE ",\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":9,\"hazards\":[\"sharp_bend\",\"bear\"]}]"), ""), RC_INVALID,
         "routes[0].segments[0].hazards[1]: unknown word \"bear\""},
        {DOC(R(LINE ",\"stops\":[],\"runs\":[{\"id\":\"x\",\"start\":\"48:00:00\"}]"), ""), RC_INVALID, "routes[0].runs[0].start: is no time"},
        {DOC(R(LINE ",\"stops\":[],\"runs\":[{\"id\":\"x\",\"start\":\"7:10\"}]"), ""), RC_RANGE, "routes[0].runs[0].start: has 4 bytes"},
        {DOC("", "{" BUS "}"), RC_INVALID, "vehicles[0].routes: missing"},
        {DOC("", "{" BUS ",\"routes\":[{\"route\":\"r9\"}]}"), RC_INVALID, "vehicles[0].routes[0].route: \"r9\" is no route"},
        {DOC("", "{" BUS ",\"routes\":[]},{" BUS ",\"routes\":[]}"), RC_INVALID, "vehicles[1].id: \"b1\" is used twice"},
        {DOC("", "{" BUS ",\"routes\":[]},{\"id\":\"b2\",\"plate\":\"x\",\"gateway\":\"g1\",\"staff\":1,\"staff_uncounted\":0,\"routes\":[]}"),
         RC_INVALID, "vehicles[1].gateway: \"g1\" is used twice"},
        {DOC(ROUTE, "{" BUS ",\"routes\":[{\"route\":\"r1\"},{\"route\":\"r1\",\"from_ms\":5,\"to_ms\":6}]}"), RC_INVALID,
         "vehicles[0].routes: two windows overlap"},
        {DOC(ROUTE, "{" BUS ",\"routes\":[{\"route\":\"r1\",\"from_ms\":6,\"to_ms\":6}]}"), RC_RANGE, "vehicles[0].routes[0]: from_ms is not before"},
        {DOC("", "{" BUS ",\"routes\":[],\"rated\":{\"total\":40,\"pupils\":41}}"), RC_RANGE, "vehicles[0].rated: pupils 41 is more"},
        {DOC("", "{" BUS ",\"routes\":[],\"rated\":{\"total\":0}}"), RC_RANGE, "vehicles[0].rated.total: is 0"},
        {DOC("", "{" BUS ",\"routes\":[],\"rated\":40}"), RC_INVALID, "vehicles[0].rated: is a whole number"},
        {DOC("", "{" BUS ",\"routes\":[],\"size\":\"huge\"}"), RC_INVALID, "vehicles[0].size: unknown word \"huge\""},
        {DOC("", "{\"id\":\"b\",\"plate\":\"x\",\"gateway\":\"g\",\"staff\":1,\"staff_uncounted\":2,\"routes\":[]}"), RC_RANGE,
         "vehicles[0].staff_uncounted: is 2: must be 0 to 1"},
        {DOC("", "{\"id\":\"b\",\"plate\":\"\",\"gateway\":\"g\",\"staff\":1,\"staff_uncounted\":0,\"routes\":[]}"), RC_INVALID,
         "vehicles[0].plate: is empty"},
        {DOC("", "{\"id\":\"b\",\"plate\":\"a\\nb\",\"gateway\":\"g\",\"staff\":1,\"staff_uncounted\":0,\"routes\":[]}"), RC_INVALID,
         "vehicles[0].plate: has a control character"},
        {DOC("", "{" BUS ",\"routes\":[],\"secret_sha256\":\"abc\"}"), RC_RANGE, "vehicles[0].secret_sha256: has 3 bytes"},
        {DOC("", "{" BUS ",\"routes\":[],\"secret_sha256\":\"zz86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"}"), RC_INVALID,
         "vehicles[0].secret_sha256: is not hexadecimal"},
        {DOC("", "{" BUS ",\"routes\":[],\"permits\":[{\"from_ms\":1,\"to_ms\":2,\"reason\":\"lunch\"}]}"), RC_INVALID,
         "vehicles[0].permits[0].reason: unknown word \"lunch\""},
        {"{\"format\":\"schoolward.duty.1\",\"routes\":[],\"vehicles\":[],\"weather_orders\":[{\"kind\":\"fog\",\"from_ms\":1,\"to_ms\":2}]}",
         RC_INVALID, "weather_orders[0].kind: unknown word \"fog\""},
        {"{\"format\":\"schoolward.duty.1\",\"routes\":[],\"vehicles\":[],\"weather_orders\":[{\"kind\":\"ice_mud\",\"to_ms\":2}]}", RC_INVALID,
         "weather_orders[0].from_ms: missing"},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        refused(c[i].json, c[i].rc, c[i].begins);
}

/* A short buffer for the reason is filled, never passed. */
static void test_short_why(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 20; cap++) {
        char why[24];
        memset(why, '#', sizeof why);
        struct duty_set *s = NULL;
        assert_int_equal(duty_read("{}", 2, &s, why, cap), RC_INVALID);
        if (cap > 0)
            assert_true(strlen(why) < cap);
        for (size_t i = cap; i < sizeof why; i++)
            assert_int_equal(why[i], '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_example), cmocka_unit_test(test_roster),          cmocka_unit_test(test_finding_vehicles),
        cmocka_unit_test(test_routes_by_time),     cmocka_unit_test(test_segments),        cmocka_unit_test(test_stops_there_and_back),
        cmocka_unit_test(test_order_strictest),    cmocka_unit_test(test_wrong_documents), cmocka_unit_test(test_short_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
