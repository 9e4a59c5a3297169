/* ledger: replays change nothing, acknowledgements survive every upsert and every restart, queries page without gaps. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tempdir.h"
#include "server/ledger.h"

static char dir[64], path[96];
static uv_loop_t loop;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/schoolward-ledger-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/ledger.db", dir);
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    return uv_loop_close(&loop) || tempdir_remove(dir);
}

static struct ledger *open_it(void)
{
    struct ledger *l = NULL;
    char why[256] = "";
    if (ledger_open(&loop, path, &l, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    return l;
}

static void on_done(void *arg)
{
    *(bool *)arg = true;
}

static void wait_for(const bool *done)
{
    while (!*done)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void flush(struct ledger *l)
{
    bool done = false;
    ledger_flush(l, on_done, &done);
    wait_for(&done);
}

static void close_it(struct ledger *l)
{
    bool done = false;
    ledger_close(l, on_done, &done);
    wait_for(&done);
}

static struct ledger_finding make(uint64_t id, int64_t opened_ms)
{
    struct ledger_finding x = {.vehicle = "bus-1", .plate = "粤A12345", .route = "r1", .law_pack = "cn-national", .law_version = "2026.11"};
    struct rules_finding *f = &x.f;
    f->id = id;
    f->change = RULES_OPENED;
    f->rule = LAW_OVL_2;
    f->severity = LAW_CRITICAL;
    f->criminal_lead = true;
    f->points = 12;
    f->confidence_pct = 93;
    f->sources = 2;
    f->source = EVENT_COUNT_DOOR;
    f->to = LAW_TO_CAB | LAW_TO_OFF | LAW_TO_POL;
    f->value = 49;
    f->limit = 40;
    f->over_pct = 22.5;
    f->began_ms = opened_ms - 15000;
    f->opened_ms = f->time_ms = opened_ms;
    f->lat_e7 = 230012345;
    f->lon_e7 = 1130012345;
    f->fix_ms = opened_ms - 400;
    f->pupils = 47;
    f->input_ms = opened_ms - 100;
    return x;
}

#define FOUND_MAX 50
struct found {
    size_t n;
    struct ledger_finding x[FOUND_MAX];
};

static void on_each(void *arg, const struct ledger_finding *x)
{
    struct found *f = arg;
    if (f->n < FOUND_MAX)
        f->x[f->n] = *x;
    f->n++;
}

/* The answer lives until the call after the next. */
static const struct found *find(struct ledger *l, struct ledger_query q)
{
    static struct found both[2];
    static unsigned turn;
    struct found *f = &both[turn++ % 2];
    f->n = 0;
    if (!q.limit)
        q.limit = FOUND_MAX;
    assert_int_equal(ledger_find(l, &q, on_each, f), RC_OK);
    return f;
}

struct acked {
    bool done;
    enum rc rc;
    struct ledger_finding x;
};

static void on_acked(void *arg, enum rc rc, const struct ledger_finding *x)
{
    struct acked *a = arg;
    a->done = true;
    a->rc = rc;
    if (x)
        a->x = *x;
}

static struct acked acknowledge(struct ledger *l, uint64_t id, const char *by, int64_t at_ms, const char *note)
{
    struct acked a = {.done = false};
    ledger_acknowledge(l, id, by, at_ms, note, on_acked, &a);
    wait_for(&a.done);
    return a;
}

static void assert_same(const struct ledger_finding *a, const struct ledger_finding *b)
{
    assert_memory_equal(&a->f.opened_ms, &b->f.opened_ms, sizeof a->f.opened_ms);
    assert_true(a->f.id == b->f.id && a->f.change == b->f.change && a->f.rule == b->f.rule && a->f.severity == b->f.severity);
    assert_true(a->f.criminal_lead == b->f.criminal_lead && a->f.points == b->f.points && a->f.confidence_pct == b->f.confidence_pct);
    assert_true(a->f.sources == b->f.sources && a->f.source == b->f.source && a->f.to == b->f.to);
    assert_true((isnan(a->f.value) && isnan(b->f.value)) || a->f.value == b->f.value);
    assert_true((isnan(a->f.limit) && isnan(b->f.limit)) || a->f.limit == b->f.limit);
    assert_true((isnan(a->f.over_pct) && isnan(b->f.over_pct)) || a->f.over_pct == b->f.over_pct);
    assert_true(a->f.began_ms == b->f.began_ms && a->f.raised_ms == b->f.raised_ms && a->f.closed_ms == b->f.closed_ms && a->f.time_ms == b->f.time_ms);
    assert_true(a->f.lat_e7 == b->f.lat_e7 && a->f.lon_e7 == b->f.lon_e7 && a->f.fix_ms == b->f.fix_ms && a->f.pupils == b->f.pupils);
    assert_true(a->f.input_ms == b->f.input_ms && a->late == b->late);
    assert_string_equal(a->vehicle, b->vehicle);
    assert_string_equal(a->plate, b->plate);
    assert_string_equal(a->route, b->route);
    assert_string_equal(a->law_pack, b->law_pack);
    assert_string_equal(a->law_version, b->law_version);
}

/* What goes in comes out, known and unknown values alike, also the id with its highest bit set. */
static void test_round_trip(void **state)
{
    (void)state;
    struct ledger *l = open_it();
    struct ledger_finding full = make(UINT64_C(0x8000000000000000), 1000000), bare = make(UINT64_C(0xffffffffffffffff), 2000000);
    bare.f.points = bare.f.confidence_pct = -1;
    bare.f.value = bare.f.limit = bare.f.over_pct = (double)NAN;
    bare.f.lat_e7 = bare.f.lon_e7 = bare.f.pupils = EVENT_UNKNOWN;
    bare.f.fix_ms = bare.f.input_ms = 0;
    bare.f.rule = LAW_SOS_1;
    bare.route[0] = '\0';
    bare.late = true;
    ledger_put_finding(l, &full);
    ledger_put_finding(l, &bare);
    struct ledger_finding warning = make(7, 1);
    warning.f.change = RULES_WARNED;
    ledger_put_finding(l, &warning);
    flush(l);
    const struct found *f = find(l, (struct ledger_query){.id = full.f.id});
    assert_int_equal(f->n, 1);
    assert_same(&f->x[0], &full);
    f = find(l, (struct ledger_query){.id = bare.f.id});
    assert_int_equal(f->n, 1);
    assert_same(&f->x[0], &bare);
    assert_string_equal(f->x[0].ack_by, "");
    assert_int_equal(find(l, (struct ledger_query){.id = 7})->n, 0);
    close_it(l);
}

/* The whole life of an episode told again from its start, with an acknowledgement in between: nothing changes. */
static void test_replay(void **state)
{
    (void)state;
    struct ledger *l = open_it();
    struct ledger_finding life[4];
    for (int i = 0; i < 4; i++)
        life[i] = make(42, 5000000);
    life[1].f.change = life[2].f.change = RULES_RAISED;
    life[1].f.time_ms = life[1].f.raised_ms = 5010000;
    life[1].f.value = 51;
    life[2].f.time_ms = life[2].f.raised_ms = 5020000;
    life[2].f.value = 55;
    life[3] = life[2];
    life[3].f.change = RULES_CLOSED;
    life[3].f.time_ms = life[3].f.closed_ms = 5090000;
    ledger_put_finding(l, &life[0]);
    ledger_put_finding(l, &life[1]);
    struct acked a = acknowledge(l, 42, "li", 5015000, "在路上");
    assert_int_equal(a.rc, RC_OK);
    assert_true(a.x.f.value == 51);
    ledger_put_finding(l, &life[2]);
    ledger_put_finding(l, &life[3]);
    flush(l);
    const struct found *once = find(l, (struct ledger_query){.id = 42});
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 4; i++)
            ledger_put_finding(l, &life[i]);
    flush(l);
    const struct found *again = find(l, (struct ledger_query){.id = 42});
    assert_int_equal(again->n, 1);
    assert_same(&again->x[0], &once->x[0]);
    assert_same(&again->x[0], &life[3]);
    assert_string_equal(again->x[0].ack_by, "li");
    assert_int_equal(again->x[0].ack_ms, 5015000);
    assert_string_equal(again->x[0].ack_note, "在路上");
    close_it(l);
}

static void test_acknowledge(void **state)
{
    (void)state;
    struct ledger *l = open_it();
    struct ledger_finding x = make(77, 6000000);
    struct acked none = acknowledge(l, 4711, "li", 1, NULL);
    assert_int_equal(none.rc, RC_NOT_FOUND);
    ledger_put_finding(l, &x);
    struct acked first = acknowledge(l, 77, "li", 6001000, NULL), second = acknowledge(l, 77, "wang", 6002000, "me too");
    assert_int_equal(first.rc, RC_OK);
    assert_int_equal(second.rc, RC_OK);
    assert_string_equal(second.x.ack_by, "li"); /* the first stays */
    assert_int_equal(second.x.ack_ms, 6001000);
    assert_string_equal(second.x.ack_note, "");
    close_it(l);
    l = open_it();
    assert_string_equal(find(l, (struct ledger_query){.id = 77})->x[0].ack_by, "li");
    close_it(l);
}

static void test_queries(void **state)
{
    (void)state;
    (void)unlink(path);
    struct ledger *l = open_it();
    for (uint64_t i = 0; i < 50; i++) { /* five of each moment, so that a page may end inside a moment */
        struct ledger_finding x = make(i * UINT64_C(0x0fffffffffffffff) + 1, 7000000 + (int64_t)(i / 5) * 1000);
        x.f.rule = i % 2 ? LAW_SPD_1 : LAW_OVL_1;
        x.f.severity = i % 5 ? LAW_MEDIUM : LAW_CRITICAL;
        x.f.to = i % 10 ? LAW_TO_OFF : LAW_TO_OFF | LAW_TO_POL;
        (void)snprintf(x.vehicle, sizeof x.vehicle, "bus-%d", (int)(i % 3));
        if (i % 4 == 0) {
            x.f.change = RULES_CLOSED;
            x.f.closed_ms = x.f.time_ms = x.f.opened_ms + 60000;
        }
        ledger_put_finding(l, &x);
    }
    flush(l);
    assert_int_equal(find(l, (struct ledger_query){.state = 1})->n, 37);
    assert_int_equal(find(l, (struct ledger_query){.state = 2})->n, 13);
    assert_int_equal(find(l, (struct ledger_query){.rules = 1u << LAW_SPD_1})->n, 25);
    assert_int_equal(find(l, (struct ledger_query){.rules = 1u << LAW_SPD_1 | 1u << LAW_OVL_1})->n, 50);
    assert_int_equal(find(l, (struct ledger_query){.rules = 1u << LAW_RTE_1})->n, 0);
    assert_int_equal(find(l, (struct ledger_query){.severity = LAW_HIGH})->n, 10);
    assert_int_equal(find(l, (struct ledger_query){.to = LAW_TO_POL})->n, 5);
    assert_int_equal(find(l, (struct ledger_query){.vehicle = "bus-1"})->n, 17);
    assert_int_equal(find(l, (struct ledger_query){.vehicle = "bus-1' OR 1=1 --"})->n, 0);
    assert_int_equal(find(l, (struct ledger_query){.from_ms = 7002000, .to_ms = 7004000})->n, 10);
    for (size_t page = 1; page <= 12; page++) {
        struct ledger_query q = {.limit = page};
        uint64_t seen[64];
        size_t n = 0;
        int64_t last = INT64_MAX;
        for (;;) {
            const struct found *f = find(l, q);
            for (size_t i = 0; i < f->n; i++) {
                assert_true(f->x[i].f.opened_ms <= last);
                last = f->x[i].f.opened_ms;
                for (size_t k = 0; k < n; k++)
                    assert_true(seen[k] != f->x[i].f.id);
                seen[n++] = f->x[i].f.id;
            }
            if (f->n < page)
                break;
            q.before_ms = f->x[f->n - 1].f.opened_ms;
            q.before_id = f->x[f->n - 1].f.id;
        }
        assert_int_equal(n, 50);
    }
    close_it(l);
}

/* Everything queued before the close is on disk after it. */
static void test_close_writes(void **state)
{
    (void)state;
    (void)unlink(path);
    struct ledger *l = open_it();
    for (uint64_t i = 1; i <= 2000; i++) {
        struct ledger_finding x = make(i, 8000000 + (int64_t)i);
        ledger_put_finding(l, &x);
    }
    close_it(l);
    l = open_it();
    assert_int_equal(find(l, (struct ledger_query){.id = 2000})->n, 1);
    struct ledger_query q = {.limit = 500};
    size_t n = 0;
    for (;;) {
        static struct found f;
        f.n = 0;
        q.limit = FOUND_MAX;
        assert_int_equal(ledger_find(l, &q, on_each, &f), RC_OK);
        n += f.n;
        if (f.n < FOUND_MAX)
            break;
        q.before_ms = f.x[f.n - 1].f.opened_ms;
        q.before_id = f.x[f.n - 1].f.id;
    }
    assert_int_equal(n, 2000);
    close_it(l);
}

static void test_refuses(void **state)
{
    (void)state;
    struct ledger *l = NULL;
    char why[256] = "";
    assert_int_not_equal(ledger_open(&loop, "/nonexistent/ledger.db", &l, why, sizeof why), RC_OK);
    assert_non_null(strstr(why, "/nonexistent/ledger.db"));
    char other[96];
    (void)snprintf(other, sizeof other, "%s/text.db", dir);
    FILE *f = fopen(other, "w");
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is no database\n", f);
    (void)fclose(f);
    assert_int_not_equal(ledger_open(&loop, other, &l, why, sizeof why), RC_OK);
    assert_null(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_replay),       cmocka_unit_test(test_acknowledge),
                                       cmocka_unit_test(test_queries),    cmocka_unit_test(test_close_writes), cmocka_unit_test(test_refuses)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
