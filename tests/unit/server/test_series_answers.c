/* What every answer of every server means (docs/series.md), and what a record looks like as a line. The v1 texts were seen from influxd 1.6.7. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "server/series_influx.h"
#include "server/series_points.h"

static void judges_answers(void **state)
{
    (void)state;
    static const struct {
        enum series_api api;
        int status;
        const char *body;
        enum series_influx_verdict verdict;
        size_t dropped, named;
        const char *says;
    } table[] = {
        {SERIES_V1, 204, "", SERIES_INFLUX_OK, 0, 0, ""},
        {SERIES_V2, 204, "", SERIES_INFLUX_OK, 0, 0, ""},
        {SERIES_V3, 200, "{}", SERIES_INFLUX_OK, 0, 0, ""},
        {SERIES_V1, 400, "{\"error\":\"partial write: field type conflict: input field \\\"v\\\" on measurement \\\"m\\\" is type string, already exists as type float dropped=1\"}",
         SERIES_INFLUX_PARTIAL, 1, 0, "field type conflict"},
        {SERIES_V1, 400, "{\"error\":\"partial write: unable to parse 'bad line': invalid field format dropped=0\"}", SERIES_INFLUX_PARTIAL, 0, 0, "unable to parse"},
        {SERIES_V1, 400, "{\"error\":\"partial write: points beyond retention policy dropped=17\"}", SERIES_INFLUX_PARTIAL, 17, 0, "beyond retention"},
        {SERIES_V1, 400, "{\"error\":\"unable to parse 'm': missing fields\"}", SERIES_INFLUX_REFUSED, 0, 0, "missing fields"},
        {SERIES_V1, 400, "{\"error\":\"database is required\"}", SERIES_INFLUX_BARRED, 0, 0, "database is required"},
        {SERIES_V1, 400, "<html>Bad Request</html>", SERIES_INFLUX_BARRED, 0, 0, "series.url"},
        {SERIES_V1, 401, "{\"error\":\"authorization failed\"}", SERIES_INFLUX_BARRED, 0, 0, "series.user"},
        {SERIES_V2, 401, "{\"code\":\"unauthorized\",\"message\":\"unauthorized access\"}", SERIES_INFLUX_BARRED, 0, 0, "series.token"},
        {SERIES_V1, 403, "{\"error\":\"\\\"bus\\\" user is not authorized to write to database \\\"x\\\"\"}", SERIES_INFLUX_BARRED, 0, 0, "not authorized"},
        {SERIES_V1, 404, "{\"error\":\"database not found: \\\"nope\\\"\"}", SERIES_INFLUX_BARRED, 0, 0, "CREATE DATABASE"},
        {SERIES_V2, 404, "404 page not found\n", SERIES_INFLUX_BARRED, 0, 0, "series.api"},
        {SERIES_V2, 404, "{\"code\":\"not found\",\"message\":\"bucket \\\"x\\\" not found\"}", SERIES_INFLUX_BARRED, 0, 0, "series.bucket"},
        {SERIES_V1, 405, "Method Not Allowed", SERIES_INFLUX_BARRED, 0, 0, "series.url"},
        {SERIES_V1, 301, "", SERIES_INFLUX_BARRED, 0, 0, "redirects"},
        {SERIES_V1, 413, "{\"error\":\"Request Entity Too Large\"}", SERIES_INFLUX_TOO_BIG, 0, 0, ""},
        {SERIES_V2, 422, "{\"code\":\"unprocessable entity\",\"message\":\"failure writing points to database: partial write: field type conflict: input field \\\"v\\\" dropped=2\"}",
         SERIES_INFLUX_PARTIAL, 2, 0, "conflict"},
        {SERIES_V2, 400, "{\"code\":\"invalid\",\"message\":\"unable to parse 'x': missing fields\"}", SERIES_INFLUX_REFUSED, 0, 0, "missing fields"},
        {SERIES_V3, 400,
         "{\"error\":\"partial write of line protocol occurred\",\"data\":[{\"original_line\":\"b\",\"line_number\":2,\"error_message\":\"no fields\"},"
         "{\"original_line\":\"c\",\"line_number\":4,\"error_message\":\"bad time\"}]}",
         SERIES_INFLUX_PARTIAL, 2, 2, "no fields"},
        {SERIES_V3, 400, "{\"error\":\"parsing failed for write_lp endpoint\",\"data\":{\"original_line\":\"b\",\"line_number\":2,\"error_message\":\"x\"}}", SERIES_INFLUX_REFUSED, 0, 0,
         "parsing failed"},
        {SERIES_V2, 429, "", SERIES_INFLUX_LATER, 0, 0, "too many requests"},
        {SERIES_V2, 503, "", SERIES_INFLUX_LATER, 0, 0, "503"},
        {SERIES_V1, 500, "{\"error\":\"timeout\"}", SERIES_INFLUX_LATER, 0, 0, "timeout"},
        {SERIES_V1, 500, "{\"error\":\"retention policy not found: nope\"}", SERIES_INFLUX_BARRED, 0, 0, "series.retention"},
        {SERIES_V1, 408, "", SERIES_INFLUX_LATER, 0, 0, "408"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct series_influx_answer a;
        series_influx_judge(table[i].api, table[i].status, table[i].body, strlen(table[i].body), 7000, &a);
        if (a.verdict != table[i].verdict || a.dropped != table[i].dropped || a.named != table[i].named || strstr(a.why, table[i].says) == NULL)
            fail_msg("row %zu (%d %s): verdict %d, dropped %zu, named %zu, %s", i, table[i].status, table[i].body, a.verdict, a.dropped, a.named, a.why);
        assert_int_equal(a.retry_after_ms, 7000);
        assert_true((a.why[0] == '\0') == (a.verdict == SERIES_INFLUX_OK));
    }
}

/* More than 100 bad lines: the server stops naming, so none of the names may be taken for all of them. */
static void does_not_trust_a_cut_list(void **state)
{
    (void)state;
    json_t *data = json_array(), *body;
    for (int i = 0; i < SERIES_INFLUX_NAMED_MAX; i++)
        json_array_append_new(data, json_pack("{s:i, s:s}", "line_number", i + 1, "error_message", "x"));
    body = json_pack("{s:s, s:o}", "error", "partial write of line protocol occurred", "data", data);
    char *text = json_dumps(body, 0);
    struct series_influx_answer a;
    series_influx_judge(SERIES_V3, 400, text, strlen(text), -1, &a);
    assert_int_equal(a.verdict, SERIES_INFLUX_PARTIAL);
    assert_int_equal(a.named, 0);
    free(text);
    json_decref(body);
    /* a long text keeps the number of dropped points that stands at its end */
    char longer[2000] = "{\"error\":\"partial write: unable to parse '";
    memset(longer + strlen(longer), 'x', 1500);
    strcat(longer, "': bad dropped=12\"}");
    series_influx_judge(SERIES_V1, 400, longer, strlen(longer), -1, &a);
    assert_int_equal(a.verdict, SERIES_INFLUX_PARTIAL);
    assert_int_equal(a.dropped, 12);
}

static char out[4096];
static struct lineproto w;

static void assert_row(const struct event *e, uint64_t seq, bool late, const char *expected)
{
    struct journal_row row = {"gw-1", seq, 1, e, 0, late};
    lineproto_init(&w, out, sizeof out);
    assert_int_equal(series_points_row(&w, &row, "bus-1", "r 1"), RC_OK);
    out[w.n] = '\0';
    assert_string_equal(out, expected);
}

static void shows_every_kind(void **state)
{
    (void)state;
    struct event e = {.time_ms = 1763856764250, .kind = EVENT_FIX,
                      .fix = {432389490, -768897090, 8250, 27090, EVENT_UNKNOWN, 9, 11, EVENT_FIX_3D, 0}};
    assert_row(&e, 7, false, "fix,route=r\\ 1,vehicle=bus-1 lat=43.238949,lon=-76.889709,speed_mps=8.25,track_deg=270.9,hdop=0.9,satellites=11i,mode=3i,seq=7i,late=false 1763856764250\n");
    e.fix = (struct event_fix){EVENT_UNKNOWN, EVENT_UNKNOWN, EVENT_UNKNOWN, EVENT_UNKNOWN, EVENT_UNKNOWN, EVENT_UNKNOWN, 0, EVENT_FIX_NONE, 0};
    assert_row(&e, 8, true, "fix,route=r\\ 1,vehicle=bus-1 satellites=0i,mode=1i,seq=8i,late=true 1763856764250\n");
    e = (struct event){.time_ms = 5, .kind = EVENT_COUNT, .count = {EVENT_COUNT_DOOR, 1, 0, 95, 12, 3, EVENT_UNKNOWN}};
    assert_row(&e, 9, false, "count,door=1,source=door,vehicle=bus-1 boarded=12i,alighted=3i,confidence=0.95,flags=0i,seq=9i,late=false 5\n");
    e.count = (struct event_count){EVENT_COUNT_CAMERA, 0, EVENT_COUNT_DOUBTFUL, 0, EVENT_UNKNOWN, EVENT_UNKNOWN, 31};
    assert_row(&e, 9, false, "count,source=camera,vehicle=bus-1 aboard=31i,flags=2i,seq=9i,late=false 5\n");
    e = (struct event){.time_ms = 5, .kind = EVENT_INPUTS, .inputs = {EVENT_IN_DOOR_FRONT | EVENT_IN_SOS, EVENT_IN_DOOR_FRONT | EVENT_IN_IGNITION | EVENT_IN_SOS}};
    assert_row(&e, 2, false, "input,vehicle=bus-1 door_front=1i,ignition=0i,sos=1i,seq=2i,late=false 5\n");
    e.inputs = (struct event_inputs){0, 0};
    assert_row(&e, 2, false, "input,vehicle=bus-1 seq=2i,late=false 5\n");
    e = (struct event){.time_ms = 5, .kind = EVENT_CAMERA, .camera = {4000000000u, EVENT_CAMERA_DSM, EVENT_CAMERA_BEGIN, 1, 7, 45, 2}};
    assert_row(&e, 2, false, "camera,phase=begin,type=1,unit=dsm,vehicle=bus-1 alarm_id=4000000000i,degree=7i,speed_kmh=45i,media=2i,seq=2i,late=false 5\n");
    e = (struct event){.time_ms = 5, .kind = EVENT_HEALTH, .health = {"front", EVENT_DEVICE_COUNTER, EVENT_DEVICE_SILENT, -3}};
    assert_row(&e, 2, false, "health,device=front,kind=counter,vehicle=bus-1 state=2i,code=-3i,seq=2i,late=false 5\n");
    e = (struct event){.time_ms = 5, .kind = EVENT_CLOCK, .clock_set = {-1500, EVENT_CLOCK_GNSS}};
    assert_row(&e, 2, false, "clock,vehicle=bus-1 offset_ms=-1500i,quality=4i,seq=2i,late=false 5\n");
}

static void shows_a_finding_under_one_key(void **state)
{
    (void)state;
    struct ledger_finding x = {.f = {.id = 0xabc, .rule = LAW_OVL_1, .severity = LAW_MEDIUM, .points = -1, .confidence_pct = 90, .value = 46, .limit = 45, .over_pct = (double)NAN,
                                     .began_ms = 900, .opened_ms = 1000, .lat_e7 = EVENT_UNKNOWN, .lon_e7 = EVENT_UNKNOWN, .pupils = 44},
                               .vehicle = "bus-1", .ack_by = "officer Li", .ack_note = "secret"};
    lineproto_init(&w, out, sizeof out);
    assert_int_equal(series_points_finding(&w, &x), RC_OK);
    out[w.n] = '\0';
    assert_string_equal(out, "finding,rule=OVL-1,vehicle=bus-1 id=\"0000000000000abc\",severity=\"medium\",severity_level=3i,open=true,value=46,limit=45,confidence=0.9,"
                             "pupils=44i,criminal_lead=false,began_ms=900i,late=false 1000\n");
    char before[64];
    snprintf(before, sizeof before, "%.24s", out);
    x.f.severity = LAW_HIGH; /* it rises and closes: the same series, the same time */
    x.f.closed_ms = 5000;
    lineproto_clear(&w);
    assert_int_equal(series_points_finding(&w, &x), RC_OK);
    out[w.n] = '\0';
    assert_memory_equal(out, before, 24);
    assert_non_null(strstr(out, "severity=\"high\",severity_level=4i,open=false,"));
    assert_non_null(strstr(out, ",closed_ms=5000i,late=false 1000\n"));
    assert_null(strstr(out, "Li"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_answers),
        cmocka_unit_test(does_not_trust_a_cut_list),
        cmocka_unit_test(shows_every_kind),
        cmocka_unit_test(shows_a_finding_under_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
