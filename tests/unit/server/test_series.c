/*
 * The projection against a server that does everything a time series store can do to us: every row arrives, once, whatever happens. The rows come from a
 * small source in memory here; the real journal and the real influxd are in tests/system/test_series_influx.py.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "core/base/clock.h"
#include "http_fake.h"
#include "tempdir.h"
#include "server/series.h"

#define ROWS_MAX 400000
static const int64_t base_ms = 1763856000000;

/* --- a journal in memory: rows 0..rows-1 in groups of group_rows --------------------------------------------------------------------------- */

static atomic_long rows, group_rows = 500;

static enum rc follow(void *arg, struct journal_cursor *cursor, size_t max_events, journal_each_fn *each, void *each_arg)
{
    (void)arg;
    long size = atomic_load(&group_rows), n = atomic_load(&rows), told = 0;
    struct journal_cursor c = cursor->day == 0 ? (struct journal_cursor){20251123, 0} : *cursor;
    for (; c.group * size < n && told < (long)max_events; c.group++) {
        long end = (c.group + 1) * size < n ? (c.group + 1) * size : n;
        if ((c.group + 1) * size > n)
            break; /* a group that is not closed yet */
        for (long i = c.group * size; i < end; i++, told++) {
            struct event e = {.time_ms = base_ms + i, .kind = EVENT_FIX, .fix = {432389490 + (int32_t)i, 768897090, 8250, 9000, 7000, 9, 11, EVENT_FIX_3D, 0}};
            struct journal_row row = {"gw-1", (uint64_t)i + 1, clock_wall_ms(), &e, EVENT_LANE_BULK, false};
            if (!each(each_arg, &row))
                return RC_OK;
        }
    }
    if (told > 0)
        *cursor = c;
    return told > 0 ? RC_OK : RC_AGAIN;
}

static bool wait_rows(void *arg, const struct journal_cursor *cursor, int timeout_ms)
{
    (void)arg;
    long size = atomic_load(&group_rows);
    int64_t until = clock_mono_ms() + timeout_ms;
    while (clock_mono_ms() < until) {
        if ((cursor->group + 1) * size <= atomic_load(&rows))
            return true;
        usleep(2000);
    }
    return false;
}

static atomic_long findings;
static enum rc find(void *arg, const struct ledger_query *q, void (*each)(void *arg, const struct ledger_finding *x), void *each_arg)
{
    (void)arg;
    static struct ledger_finding x;
    size_t n = 0;
    for (long i = atomic_load(&findings) - 1; i >= 0 && n < q->limit; i--) {
        x.f = (struct rules_finding){.id = (uint64_t)i + 1, .rule = LAW_SPD_1, .severity = LAW_LOW, .opened_ms = base_ms + i, .over_pct = (double)NAN,
                                     .lat_e7 = EVENT_UNKNOWN, .lon_e7 = EVENT_UNKNOWN, .pupils = EVENT_UNKNOWN};
        snprintf(x.vehicle, sizeof x.vehicle, "bus-1");
        if (q->before_ms != 0 && (x.f.opened_ms > q->before_ms || (x.f.opened_ms == q->before_ms && x.f.id >= q->before_id)))
            continue;
        each(each_arg, &x);
        n++;
    }
    return RC_OK;
}

static bool is_bad(int64_t time_ms, long every)
{
    return every > 0 && (time_ms - base_ms) % every == every / 2;
}

static atomic_long bad_every; /* rows that the server will not take carry the vehicle "bad" */
static bool tags(void *arg, const char *gateway, const char **ret_vehicle, const char **ret_route, int64_t time_ms)
{
    (void)arg, (void)gateway;
    *ret_vehicle = is_bad(time_ms, atomic_load(&bad_every)) ? "bad" : "bus-1";
    *ret_route = "r-1";
    return true;
}

/* --- the store ------------------------------------------------------------------------------------------------------------------------------ */

enum manner { TAKES, PARTIAL_V1, PARTIAL_V3, REFUSES_WHOLE };
static struct {
    pthread_mutex_t lock;
    enum manner manner;
    size_t body_max;                     /* 0 = any */
    struct http_fake_answer script[16];  /* what the first requests get, whatever they hold */
    size_t scripted;
    long requests;
    bool swallow;                        /* a scripted failure stores the lines all the same: nobody told the client */
    uint8_t stored[ROWS_MAX];            /* how often each row */
    long distinct, writes, finding_writes;
    size_t most_lines;
    uint64_t first_hash[16];             /* of the bodies of the scripted requests */
    char last_head[2048];
    long first_row;                      /* of the first request since reset */
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t hash(const char *p, size_t n)
{
    uint64_t h = 14695981039346656037ULL;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 1099511628211ULL;
    return h;
}

static long row_of(const char *line, const char *end)
{
    const char *stamp = end;
    while (stamp > line && stamp[-1] != ' ')
        stamp--;
    return (long)(strtoll(stamp, NULL, 10) - base_ms);
}

static void keep(const char *line, const char *end)
{
    long i = row_of(line, end);
    if (strncmp(line, "finding,", 8) == 0) {
        store.finding_writes++;
        return;
    }
    if (i < 0 || i >= ROWS_MAX)
        abort();
    store.distinct += store.stored[i] == 0;
    store.stored[i] = store.stored[i] < 255 ? store.stored[i] + 1 : 255;
    store.writes++;
}

static struct http_fake_answer take_lines(const struct http_fake_request *q, char body[4096])
{
    struct http_fake_answer ok = {.status = 204};
    size_t lines = 0, bad = 0, at = (size_t)snprintf(body, 4096, "{\"error\":\"partial write of line protocol occurred\",\"data\":[");
    for (const char *p = q->body, *end; *p != '\0'; p = end + 1) {
        end = strchr(p, '\n');
        lines++;
        if (memmem(p, (size_t)(end - p), "vehicle=bad", 11) != NULL) {
            if (bad++ < 20)
                at += (size_t)snprintf(body + at, 4096 - at, "%s{\"line_number\":%zu,\"error_message\":\"bad\"}", bad == 1 ? "" : ",", lines);
        }
    }
    store.most_lines = lines > store.most_lines ? lines : store.most_lines;
    snprintf(body + at, 4096 - at, "]}");
    bool whole = bad > 0 && store.manner == REFUSES_WHOLE;
    for (const char *p = q->body, *end; *p != '\0' && !whole; p = end + 1) {
        end = strchr(p, '\n');
        if (memmem(p, (size_t)(end - p), "vehicle=bad", 11) == NULL)
            keep(p, end);
    }
    if (bad == 0)
        return ok;
    if (store.manner == PARTIAL_V1)
        snprintf(body, 4096, "{\"error\":\"partial write: field type conflict: input field \\\"lat\\\" is type string dropped=%zu\"}", bad);
    if (store.manner == REFUSES_WHOLE)
        snprintf(body, 4096, "{\"error\":\"unable to parse 'fix': missing fields\"}");
    return (struct http_fake_answer){.status = 400, .body = body};
}

static struct http_fake_answer on_request(void *arg, const struct http_fake_request *q)
{
    (void)arg;
    static char body[4096];
    struct http_fake_answer a;
    pthread_mutex_lock(&store.lock);
    snprintf(store.last_head, sizeof store.last_head, "%.2047s", q->head);
    if (store.requests == 0)
        store.first_row = row_of(q->body, strchr(q->body, '\n'));
    if (store.requests < 16 && store.requests >= 0)
        store.first_hash[store.requests] = hash(q->body, q->n);
    size_t k = (size_t)store.requests++;
    if (store.body_max > 0 && q->n > store.body_max)
        a = (struct http_fake_answer){.status = 413, .body = "{\"error\":\"Request Entity Too Large\"}"};
    else if (k < store.scripted) {
        if (store.swallow)
            take_lines(q, body);
        a = store.script[k];
    } else
        a = take_lines(q, body);
    pthread_mutex_unlock(&store.lock);
    return a;
}

static long look(const long *what)
{
    pthread_mutex_lock(&store.lock);
    long v = *what;
    pthread_mutex_unlock(&store.lock);
    return v;
}

/* Begin counting requests anew; the first `scripted` of them get what the script says. */
static void count_anew(size_t scripted)
{
    pthread_mutex_lock(&store.lock);
    store.requests = 0;
    store.scripted = scripted;
    pthread_mutex_unlock(&store.lock);
}

/* --- one world per test ---------------------------------------------------------------------------------------------------------------------- */

struct world {
    char dir[64], url[64];
    struct http_fake http;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    strcpy(w->dir, "/tmp/schoolward-series-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    memset(store.stored, 0, sizeof store.stored);
    store.manner = TAKES;
    store.body_max = store.scripted = store.most_lines = 0;
    store.requests = 0;
    store.swallow = false;
    store.distinct = store.writes = store.finding_writes = 0;
    atomic_store(&rows, 0);
    atomic_store(&findings, 0);
    atomic_store(&group_rows, 500);
    atomic_store(&bad_every, 0);
    http_fake_start(&w->http, 0, on_request, NULL);
    snprintf(w->url, sizeof w->url, "http://127.0.0.1:%d", w->http.port);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    http_fake_stop(&w->http);
    int rc = tempdir_remove(w->dir);
    free(w);
    return rc;
}

static struct series_setup setup_of(const struct world *w)
{
    return (struct series_setup){.api = SERIES_V1, .url = w->url, .database = "d b", .retention = "", .state_dir = w->dir, .batch_points = 5000, .flush_ms = 200, .timeout_ms = 1000};
}

static struct series *start(const struct series_setup *s, bool with_findings)
{
    struct series *out = NULL;
    char why[256] = "";
    struct series_source from = {follow, wait_rows, with_findings ? find : NULL, NULL, NULL};
    enum rc rc = series_start_from(s, &from, tags, NULL, &out, why, sizeof why);
    if (rc != RC_OK)
        fail_msg("%s: %s", rc_text(rc), why);
    return out;
}

/* Until so many rows are stored and nothing is in hand; at most a minute. */
static struct series_figures wait_for(struct series *s, long distinct, uint64_t rejected)
{
    struct series_figures f;
    int64_t until = clock_mono_ms() + 60000;
    for (;;) {
        series_figures(s, &f);
        pthread_mutex_lock(&store.lock);
        bool done = store.distinct >= distinct && f.rejected >= rejected && f.points > 0 && f.lag_ms == 0;
        pthread_mutex_unlock(&store.lock);
        if (done || clock_mono_ms() > until)
            return f;
        usleep(3000);
    }
}

static void projects_everything_once(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    atomic_store(&rows, 25000);
    struct series *s = start(&setup, false);
    struct series_figures f = wait_for(s, 25000, 0);
    atomic_store(&rows, 25500); /* and what comes later */
    f = wait_for(s, 25500, 0);
    assert_int_equal(store.distinct, 25500);
    assert_int_equal(store.writes, 25500);
    assert_int_equal(f.points, 25500);
    assert_false(f.down);
    assert_true(store.most_lines <= 5000);
    assert_non_null(strstr(store.last_head, "POST /write?db=d%20b&precision=ms HTTP/1.1"));
    series_stop(s);
    /* a restart sends nothing again */
    long requests = look(&store.requests);
    s = start(&setup, false);
    atomic_store(&rows, 26000);
    wait_for(s, 26000, 0);
    series_stop(s);
    assert_int_equal(store.writes, 26000);
    assert_true(store.requests <= requests + 2);
}

static void resends_the_same_bytes(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    static const struct http_fake_answer script[] = {{.status = 503, .headers = "Retry-After: 2\r\n"}, {.act = HTTP_FAKE_RESET}, {.act = HTTP_FAKE_HANG}, {.act = HTTP_FAKE_CUT, .status = 204},
                                                     {.status = 500, .body = "{\"error\":\"timeout\"}"}, {.status = 429}};
    memcpy(store.script, script, sizeof script);
    store.scripted = sizeof script / sizeof *script;
    store.swallow = true; /* the worst case: stored each time, though the client was told otherwise */
    atomic_store(&rows, 3000);
    int64_t before = clock_mono_ms();
    struct series *s = start(&setup, false);
    struct series_figures f = wait_for(s, 3000, 0);
    int64_t took = clock_mono_ms() - before;
    print_message("503 with Retry-After, reset, hang, cut answer, 500 and 429 one after the other: over after %lld ms\n", (long long)took);
    series_stop(s);
    assert_int_equal(f.points, 3000);
    assert_int_equal(f.rejected, 0);
    assert_true(f.retries >= store.scripted - 1); /* a connection that dies while it is reused libcurl makes anew by itself */
    assert_true(took >= 3000); /* Retry-After 2 s and the time-out of 1 s */
    for (size_t i = 1; i <= store.scripted; i++)
        assert_true(store.first_hash[i] == store.first_hash[0]);
    for (long i = 0; i < 3000; i++)
        assert_int_equal(store.stored[i], store.scripted + 1); /* written again, never doubled: the same keys */
}

static void says_that_it_is_down(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    char url[64];
    int port = http_fake_free_port();
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    setup.url = url;
    atomic_store(&rows, 1000);
    struct series *s = start(&setup, false);
    struct series_figures f;
    int64_t until = clock_mono_ms() + 20000;
    do {
        usleep(5000);
        series_figures(s, &f);
    } while (f.retries < 2 && clock_mono_ms() < until);
    assert_true(f.down);
    assert_int_equal(f.points, 0);
    assert_true(f.lag_ms > 0);
    assert_true(strlen(f.why) > 10);
    struct http_fake late;
    http_fake_start(&late, port, on_request, NULL);
    f = wait_for(s, 1000, 0);
    assert_int_equal(store.distinct, 1000);
    assert_false(f.down);
    assert_string_equal(f.why, "");
    series_stop(s);
    http_fake_stop(&late);
}

static long dead_letters(const struct world *w, const char *holding)
{
    char path[128], *line = NULL;
    size_t cap = 0;
    long n = 0;
    snprintf(path, sizeof path, "%s/series.rejected", w->dir);
    FILE *f = fopen(path, "r");
    while (f != NULL && getline(&line, &cap, f) > 0)
        n += strstr(line, holding) != NULL;
    free(line);
    if (f != NULL) {
        struct stat st;
        assert_int_equal(fstat(fileno(f), &st), 0);
        assert_int_equal(st.st_mode & 077, 0);
        fclose(f);
    }
    return n;
}

static void finds_the_bad_lines(void **state, enum manner manner, enum series_api api)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    setup.api = api;
    store.manner = manner;
    atomic_store(&bad_every, 1777);
    atomic_store(&rows, 10000);
    long bad = 0;
    for (long i = 0; i < 10000; i++)
        bad += is_bad(base_ms + i, 1777);
    struct series *s = start(&setup, false);
    struct series_figures f = wait_for(s, 10000 - bad, (uint64_t)bad);
    series_stop(s);
    print_message("%ld bad lines among 10000: %ld good ones stored, %ld requests\n", bad, store.distinct, store.requests);
    assert_int_equal(bad, 6);
    assert_int_equal(store.distinct, 10000 - bad);
    assert_int_equal(f.rejected, bad);
    assert_int_equal(f.points, 10000 - bad);
    assert_int_equal(dead_letters(w, "vehicle=bad"), bad);
    assert_int_equal(dead_letters(w, "vehicle=bus-1"), 0);
    assert_int_equal(dead_letters(w, " rejected: "), bad);
}

static void halves_a_refused_batch(void **state)
{
    finds_the_bad_lines(state, REFUSES_WHOLE, SERIES_V1);
}

static void finds_rejected_lines_that_are_not_named(void **state)
{
    finds_the_bad_lines(state, PARTIAL_V1, SERIES_V1);
}

static void believes_named_lines(void **state)
{
    finds_the_bad_lines(state, PARTIAL_V3, SERIES_V3);
    assert_non_null(strstr(store.last_head, "POST /api/v3/write_lp?db=d%20b&precision=millisecond&accept_partial=true&no_sync=false HTTP/1.1"));
    assert_true(store.requests <= 3); /* nothing was sent twice */
}

static void sends_less_after_413(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    store.body_max = 100000;
    atomic_store(&rows, 20000);
    struct series *s = start(&setup, false);
    struct series_figures f = wait_for(s, 20000, 0);
    series_stop(s);
    assert_int_equal(store.distinct, 20000);
    assert_int_equal(store.writes, 20000);
    assert_int_equal(f.rejected, 0);
}

static void waits_for_a_person(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    setup.user = "bus";
    setup.password = "pass word";
    store.script[0] = (struct http_fake_answer){.status = 404, .body = "{\"error\":\"database not found: \\\"d b\\\"\"}"};
    store.scripted = 1;
    atomic_store(&rows, 1000);
    struct series *s = start(&setup, false);
    struct series_figures f;
    do {
        usleep(5000);
        series_figures(s, &f);
    } while (f.retries == 0);
    assert_true(f.down);
    assert_non_null(strstr(f.why, "CREATE DATABASE"));
    assert_non_null(strstr(store.last_head, "Authorization: Basic YnVzOnBhc3Mgd29yZA=="));
    f = wait_for(s, 1000, 0); /* ... and tries again by itself */
    series_stop(s);
    assert_int_equal(store.distinct, 1000);
    assert_false(f.down);
}

static void speaks_each_dialect(void **state)
{
    struct world *w = *state;
    static const struct {
        enum series_api api;
        const char *line, *authorization;
    } dialect[] = {
        {SERIES_V1, "POST /write?db=d%20b&rp=two%20years&precision=ms HTTP/1.1", "Basic dTpw"},
        {SERIES_V2, "POST /api/v2/write?org=o%2Frg&bucket=b%26k&precision=ms HTTP/1.1", "Token t=="},
        {SERIES_V3, "POST /api/v3/write_lp?db=d%20b&precision=millisecond&accept_partial=true&no_sync=false HTTP/1.1", "Bearer t=="},
        {SERIES_VICTORIA, "POST /write?db=d%20b&precision=ms HTTP/1.1", "Bearer t=="},
    };
    for (size_t i = 0; i < 4; i++) {
        struct series_setup setup = setup_of(w);
        char url[80];
        snprintf(url, sizeof url, "%s/", w->url); /* a slash at the end is no other address */
        setup.url = url;
        setup.api = dialect[i].api;
        setup.retention = "two years";
        setup.org = "o/rg";
        setup.bucket = "b&k";
        if (i == 0) {
            setup.user = "u";
            setup.password = "p";
        } else
            setup.token = "t==";
        atomic_store(&rows, 500 * (long)(i + 1));
        store.distinct = 0;
        memset(store.stored, 0, sizeof store.stored);
        struct series *s = start(&setup, false);
        wait_for(s, 500 * (long)(i + 1), 0);
        series_stop(s);
        struct http_fake_request q;
        snprintf(q.head, sizeof q.head, "%s", store.last_head);
        assert_memory_equal(store.last_head, dialect[i].line, strlen(dialect[i].line));
        assert_string_equal(http_fake_header(&q, "Authorization"), dialect[i].authorization);
        assert_string_equal(http_fake_header(&q, "Content-Encoding"), "gzip");
        assert_string_equal(http_fake_header(&q, "Expect"), "");
    }
}

static void keeps_its_place(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    char path[128];
    snprintf(path, sizeof path, "%s/series.cursor", w->dir);
    atomic_store(&rows, 5000);
    struct series *s = start(&setup, false);
    wait_for(s, 5000, 0);
    series_stop(s);
    atomic_store(&rows, 6000);
    store.requests = 0;
    s = start(&setup, false);
    wait_for(s, 6000, 0);
    series_stop(s);
    assert_int_equal(store.first_row, 5000);
    /* another database gets everything; so does a cursor that is none */
    for (int i = 0; i < 2; i++) {
        store.requests = 0;
        store.distinct = 0;
        memset(store.stored, 0, sizeof store.stored);
        if (i == 0)
            setup.database = "other";
        else {
            FILE *f = fopen(path, "w");
            assert_non_null(f);
            fputs("schoolward series cursor 1\nday 2025", f);
            fclose(f);
        }
        s = start(&setup, false);
        wait_for(s, 6000, 0);
        series_stop(s);
        assert_int_equal(store.first_row, 0);
        assert_int_equal(store.distinct, 6000);
    }
}

static void stops_at_once(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    setup.timeout_ms = 60000;
    for (size_t i = 0; i < 16; i++)
        store.script[i] = (struct http_fake_answer){.act = HTTP_FAKE_HANG};
    store.scripted = 16;
    atomic_store(&rows, 1000);
    struct series *s = start(&setup, false);
    while (look(&store.requests) == 0)
        usleep(2000);
    int64_t before = clock_mono_ms();
    series_stop(s);
    assert_true(clock_mono_ms() - before < 3000);
    count_anew(0);
    s = start(&setup, false);
    wait_for(s, 1000, 0);
    series_stop(s);
    assert_int_equal(store.distinct, 1000);
}

/* A group of 400,000 rows (some 50 MB of lines) in a batch of at most 32 MiB: it goes in parts, and all of it arrives. */
static void takes_a_huge_group_in_parts(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    setup.batch_points = 20000;
    setup.timeout_ms = 30000;
    atomic_store(&group_rows, ROWS_MAX);
    atomic_store(&rows, ROWS_MAX);
    int64_t before = clock_mono_ms();
    struct series *s = start(&setup, false);
    struct series_figures f = wait_for(s, ROWS_MAX, 0);
    print_message("%d rows in one group: %lld ms, %ld requests\n", ROWS_MAX, (long long)(clock_mono_ms() - before), store.requests);
    series_stop(s);
    assert_int_equal(store.distinct, ROWS_MAX);
    assert_int_equal(f.points, ROWS_MAX);
    assert_true(store.most_lines <= 20000);
}

static void projects_findings_from_the_ledger(void **state)
{
    struct world *w = *state;
    struct series_setup setup = setup_of(w);
    atomic_store(&findings, 1201); /* three pages */
    atomic_store(&rows, 500);
    struct series *s = start(&setup, true);
    wait_for(s, 500, 0);
    int64_t until = clock_mono_ms() + 20000;
    while (look(&store.finding_writes) < 1201 && clock_mono_ms() < until)
        usleep(3000);
    assert_int_equal(look(&store.finding_writes), 1201);
    static struct ledger_finding x;
    x.f = (struct rules_finding){.id = 7, .rule = LAW_RTE_1, .severity = LAW_HIGH, .opened_ms = base_ms, .over_pct = (double)NAN};
    snprintf(x.vehicle, sizeof x.vehicle, "bus-2");
    series_put_finding(s, &x);
    while (look(&store.finding_writes) < 1202 && clock_mono_ms() < until)
        usleep(3000);
    assert_int_equal(look(&store.finding_writes), 1202);
    /* more of them than may wait while the store is away: they come from the ledger */
    store.script[0] = (struct http_fake_answer){.status = 503, .headers = "Retry-After: 1\r\n"};
    count_anew(1);
    atomic_store(&rows, 1000);
    while (look(&store.requests) == 0)
        usleep(2000);
    for (int i = 0; i < 3000; i++)
        series_put_finding(s, &x);
    until = clock_mono_ms() + 20000;
    while (look(&store.finding_writes) < 1202 + 1201 && clock_mono_ms() < until)
        usleep(3000);
    assert_true(look(&store.finding_writes) >= 1202 + 1201);
    series_stop(s);
}

static void refuses_bad_settings(void **state)
{
    struct world *w = *state;
    struct series_source from = {follow, wait_rows, NULL, NULL, NULL};
    struct series *s = NULL;
    char why[256];
    static const char *const named[] = {"series.url", "series.database", "series.batch_points", "series.flush_ms", "series.timeout_ms", "series.bucket", "series.state_dir", "series.api", "series.url"};
    for (int i = 0; i < 9; i++) {
        struct series_setup x = setup_of(w);
        if (i == 0)
            x.url = "influx:8086";
        if (i == 1)
            x.database = "";
        if (i == 2)
            x.batch_points = 999;
        if (i == 3)
            x.flush_ms = 99;
        if (i == 4)
            x.timeout_ms = 5;
        if (i == 5)
            x.api = SERIES_V2;
        if (i == 6)
            x.state_dir = "/proc/nothing";
        if (i == 7)
            x.api = SERIES_OFF;
        if (i == 8)
            x.url = "http://127.0.0.1:1/write?db=x";
        enum rc rc = series_start_from(&x, &from, tags, NULL, &s, why, sizeof why);
        assert_int_equal(rc, i == 6 ? RC_IO : RC_INVALID);
        if (strstr(why, named[i]) == NULL)
            fail_msg("%d: %s", i, why);
        assert_null(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(projects_everything_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(resends_the_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_that_it_is_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(halves_a_refused_batch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finds_rejected_lines_that_are_not_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(believes_named_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sends_less_after_413, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_for_a_person, set_up, tear_down),
        cmocka_unit_test_setup_teardown(speaks_each_dialect, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_its_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_a_huge_group_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(projects_findings_from_the_ledger, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_bad_settings, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
