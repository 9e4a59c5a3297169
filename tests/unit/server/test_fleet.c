/* The fleet: finding a vehicle, live and late judges apart, ticks for silent buses only, snapshots that a restart can believe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/fleet.h"

enum { VEHICLES = 300 };
static const int64_t noon_ms = 1795390000000; /* 2026-11-22 */

struct heard {
    size_t n, late, replayed, events, late_events, links;
    struct rules_finding last;
    uint64_t first_id;
};
struct desk {
    struct law *law;
    struct duty_set *set;
    struct fleet *f;
    struct heard heard;
};

static void on_event(void *arg, const struct fleet_vehicle *v, const struct event *e, bool late)
{
    struct heard *h = arg;
    (void)v;
    (void)e;
    h->events++;
    h->late_events += late;
}

static void on_finding(void *arg, const struct fleet_vehicle *v, const struct rules_finding *f, bool late, bool replayed)
{
    struct heard *h = arg;
    assert_non_null(v->duty);
    if (h->n == 0)
        h->first_id = f->id;
    h->n++;
    h->late += late;
    h->replayed += replayed;
    h->last = *f;
}

static void on_link(void *arg, const struct fleet_vehicle *v)
{
    (void)v;
    ((struct heard *)arg)->links++;
}

static void fleet_make(struct desk *d)
{
    const struct fleet_listener l = {on_event, on_finding, on_link, &d->heard};
    d->heard = (struct heard){0};
    assert_int_equal(fleet_new(d->law, d->set, &d->f), RC_OK);
    assert_int_equal(fleet_listen(d->f, &l), RC_OK);
}

static int setup(void **state)
{
    struct desk *d = calloc(1, sizeof *d);
    const char *root = getenv("SCHOOLWARD_SOURCE");
    char path[512], why[256] = "";
    snprintf(path, sizeof path, "%s/core/law/cn-national.json", root != NULL ? root : ".");
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return -1;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    if (law_read(text, n, path, &d->law, why, sizeof why) != RC_OK)
        return -1;
    n = (size_t)sprintf(text, "{\"format\":\"schoolward.duty.1\",\"routes\":[{\"id\":\"r1\",\"name_zh\":\"一\",\"name_en\":\"One\",\"rural\":false,"
                              "\"line\":[[113.0,23.0],[113.1,23.0]],\"stops\":[],\"segments\":[{\"from_m\":0,\"to_m\":10000,\"posted_kmh\":40,\"road\":\"city_one_lane\"}]}],"
                              "\"vehicles\":[");
    for (int i = 0; i < VEHICLES; i++)
        n += (size_t)sprintf(text + n,
                             "%s{\"id\":\"bus-%d\",\"plate\":\"P%d\",\"gateway\":\"gw-%d\",\"rated\":{\"total\":40},\"staff\":2,\"staff_uncounted\":1,"
                             "\"routes\":[{\"route\":\"r1\"}]}",
                             i > 0 ? "," : "", i, i, i * 7);
    n += (size_t)sprintf(text + n, "]}");
    enum rc rc = duty_read(text, n, &d->set, why, sizeof why);
    free(text);
    if (rc != RC_OK)
        return -1;
    fleet_make(d);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct desk *d = *state;
    fleet_free(d->f);
    duty_free(d->set);
    law_free(d->law);
    free(d);
    return 0;
}

static struct event fix(int64_t ms, double lon, double mps)
{
    return (struct event){.time_ms = ms,
                          .kind = EVENT_FIX,
                          .clock = EVENT_CLOCK_GNSS,
                          .fix = {230000000, (int32_t)(lon * 1e7), (int32_t)(mps * 1000), 9000, EVENT_UNKNOWN, 8, 12, EVENT_FIX_3D, 0}};
}

/* Seconds of driving east at this speed; late ones arrive an hour later. Returns the time after the last. */
static int64_t drive(struct desk *d, struct fleet_vehicle *v, int64_t from_ms, int seconds, double mps, bool late)
{
    for (int i = 0; i < seconds; i++) {
        struct event e = fix(from_ms + i * 1000, 113.001 + i * mps / 102400, mps);
        fleet_apply(d->f, v, &e, from_ms + i * 1000 + (late ? 3600000 : 200), late, false);
    }
    return from_ms + seconds * 1000;
}

static void test_lookup(void **state)
{
    struct desk *d = *state;
    char name[32];
    assert_int_equal(fleet_count(d->f), VEHICLES);
    for (int i = 0; i < VEHICLES; i++) {
        snprintf(name, sizeof name, "gw-%d", i * 7);
        struct fleet_vehicle *v = fleet_by_gateway(d->f, name);
        assert_non_null(v);
        assert_int_equal(v->index, i);
        snprintf(name, sizeof name, "bus-%d", i);
        assert_ptr_equal(fleet_by_id(d->f, name), v);
        assert_ptr_equal(fleet_at(d->f, (size_t)i), v);
    }
    assert_null(fleet_by_gateway(d->f, "gw-1"));
    assert_null(fleet_by_gateway(d->f, ""));
    assert_null(fleet_by_id(d->f, "bus-300"));
    struct fleet_vehicle *v = fleet_at(d->f, 0);
    uint64_t version = v->version;
    fleet_link(d->f, v, true, noon_ms);
    assert_true(v->connected && v->version > version && v->received_ms == noon_ms);
    fleet_link(d->f, v, false, noon_ms + 5);
    assert_true(!v->connected && v->received_ms == noon_ms);
    assert_int_equal(d->heard.links, 2);
}

static void test_live(void **state)
{
    struct desk *d = *state;
    struct fleet_vehicle *v = fleet_at(d->f, 3);
    int64_t t = drive(d, v, noon_ms, 30, 10, false);
    assert_int_equal(d->heard.n, 0); /* 36 km/h where 40 are posted */
    assert_true(fabs(fleet_limit_kmh(d->f, v) - 40) < 0.01);
    assert_int_equal(v->severity, LAW_NONE);
    t = drive(d, v, t, 30, 20, false);
    assert_true(d->heard.n > 0);
    assert_true(v->open_findings == 1 && v->severity > LAW_LOW && v->open[d->heard.last.rule] == v->severity);
    assert_int_equal(d->heard.late + d->heard.replayed, 0);
    assert_int_equal(d->heard.events, 60);
    /* slow again until it closes */
    drive(d, v, t, 60, 8, false);
    assert_int_equal(d->heard.last.change, RULES_CLOSED);
    assert_int_equal(d->heard.last.id, d->heard.first_id);
    assert_true(v->open_findings == 0 && v->severity == LAW_NONE && v->open[d->heard.last.rule] == 0);
    struct event health = {.time_ms = t, .kind = EVENT_HEALTH, .clock = EVENT_CLOCK_NTP, .health = {"gnss", EVENT_DEVICE_GNSS, EVENT_DEVICE_OK, 0}};
    fleet_apply(d->f, v, &health, t, false, false);
    health.time_ms += 5000;
    health.health.state = EVENT_DEVICE_SILENT;
    fleet_apply(d->f, v, &health, t, false, false);
    assert_int_equal(v->devices, 1);
    assert_true(v->device[0].state == EVENT_DEVICE_SILENT && v->device[0].since_ms == t + 5000);
    for (int i = 0; i < 20; i++) { /* more devices than a bus has */
        snprintf(health.health.name, sizeof health.health.name, "d-%d", i);
        fleet_apply(d->f, v, &health, t, false, false);
    }
    assert_int_equal(v->devices, FLEET_DEVICES_MAX);
}

static void test_late_moves_nothing(void **state)
{
    struct desk *d = *state;
    struct fleet_vehicle *v = fleet_at(d->f, 4);
    drive(d, v, noon_ms, 5, 10, false);
    struct bus bus = v->bus;
    int64_t end = drive(d, v, noon_ms - 3600000, 40, 22, true);
    assert_memory_equal(&bus, &v->bus, sizeof bus);
    assert_true(v->open_findings == 0 && v->severity == LAW_NONE);
    assert_true(d->heard.n > 0);
    assert_int_equal(d->heard.late, d->heard.n);
    assert_true(d->heard.last.change != RULES_CLOSED && v->late != NULL);
    size_t n = d->heard.n;
    fleet_caught_up(d->f, v); /* its books are closed where the backlog ends */
    assert_int_equal(d->heard.n, n + 1);
    assert_int_equal(d->heard.last.change, RULES_CLOSED);
    assert_int_equal(d->heard.last.closed_ms, end - 1000);
    assert_null(v->late);
    fleet_caught_up(d->f, v);
    assert_int_equal(d->heard.n, n + 1);
    /* from the future, or without a date: the live state stays where it is */
    struct event e = fix(noon_ms + 86400000, 113.05, 30);
    fleet_apply(d->f, v, &e, noon_ms + 6000, true, false);
    e = fix(1000, 113.06, 30);
    e.clock = EVENT_CLOCK_NONE;
    fleet_apply(d->f, v, &e, noon_ms + 6000, true, false);
    assert_memory_equal(&bus, &v->bus, sizeof bus);
    drive(d, v, noon_ms + 7000, 1, 10, false);
    assert_int_equal(v->bus.fix_ms, noon_ms + 7000);
}

/* A gap in the link: what opened in it is old news, but once the bus is heard in time again and it still goes on, it is news. */
static void test_old_news_that_goes_on(void **state)
{
    struct desk *d = *state;
    struct fleet_vehicle *v = fleet_at(d->f, 8);
    int64_t t = drive(d, v, noon_ms, 5, 10, false);
    t = drive(d, v, t, 30, 22, true);
    size_t n = d->heard.n;
    assert_true(n > 0 && v->open_findings == 1 && v->late == NULL && v->old != NULL);
    assert_int_equal(d->heard.late, n);
    fleet_tick(d->f, t + 2000); /* time alone shows nothing */
    assert_int_equal(d->heard.n, n);
    t = drive(d, v, t, 1, 22, false);
    assert_int_equal(d->heard.n, n + 1);
    assert_int_equal(d->heard.late, n);
    assert_int_equal(d->heard.last.change, RULES_RAISED);
    assert_int_equal(d->heard.last.id, d->heard.first_id);
    assert_null(v->old);
    t = drive(d, v, t, 5, 22, false);
    assert_int_equal(d->heard.n, n + 1); /* told once */
    drive(d, v, t, 60, 8, false);
    assert_int_equal(d->heard.last.change, RULES_CLOSED);
    assert_int_equal(d->heard.late, n);
    /* over before the bus was heard in time again: never news */
    d->heard = (struct heard){0};
    v = fleet_at(d->f, 9);
    t = drive(d, v, noon_ms, 5, 10, false);
    t = drive(d, v, t, 30, 22, true);
    t = drive(d, v, t, 60, 8, true);
    assert_int_equal(d->heard.last.change, RULES_CLOSED);
    drive(d, v, t, 10, 8, false);
    assert_int_equal(d->heard.late, d->heard.n);
}

static void test_tick(void **state)
{
    struct desk *d = *state;
    struct fleet_vehicle *v = fleet_at(d->f, 5);
    int64_t t = drive(d, v, noon_ms, 30, 22, false);
    size_t n = d->heard.n;
    assert_true(n > 0 && v->open_findings == 1);
    uint64_t idle = fleet_at(d->f, 6)->version;
    for (int s = 0; s < 7200 && v->open_findings > 0; s++)
        fleet_tick(d->f, t + s * 1000); /* it fell silent: the episode ends by itself */
    assert_int_equal(v->open_findings, 0);
    assert_int_equal(d->heard.last.change, RULES_CLOSED);
    assert_int_equal(fleet_at(d->f, 6)->version, idle); /* who has nothing pending is not touched */
    assert_int_equal(d->heard.replayed, 0);
    fleet_replay(d->f, true);
    drive(d, fleet_at(d->f, 7), noon_ms, 30, 22, false);
    fleet_replay(d->f, false);
    assert_true(d->heard.replayed > 0);
}

static void test_snapshot(void **state)
{
    struct desk *d = *state;
    int64_t t = drive(d, fleet_at(d->f, 1), noon_ms, 30, 22, false);
    drive(d, fleet_at(d->f, 2), noon_ms, 10, 10, false);
    drive(d, fleet_at(d->f, 2), noon_ms - 7200000, 30, 22, true);
    fleet_link(d->f, fleet_at(d->f, 2), true, t);
    void *blob;
    size_t n;
    assert_int_equal(fleet_snapshot(d->f, &blob, &n), RC_OK);
    struct fleet *old = d->f;
    fleet_make(d);
    assert_int_equal(fleet_restore(d->f, blob, n), RC_OK);
    for (size_t i = 0; i < VEHICLES; i++) {
        const struct fleet_vehicle *a = fleet_at(old, i), *b = fleet_at(d->f, i);
        assert_memory_equal(&a->bus, &b->bus, sizeof a->bus);
        assert_memory_equal(&a->memory, &b->memory, sizeof a->memory);
        assert_int_equal(a->open_findings, b->open_findings);
        assert_int_equal(a->severity, b->severity);
        assert_int_equal(a->received_ms, b->received_ms);
        assert_int_equal(a->late != NULL, b->late != NULL);
    }
    /* the story goes on: the same episode is closed, the late one too */
    uint64_t id = 0;
    for (int s = 0; s < 7200 && fleet_at(d->f, 1)->open_findings > 0; s++)
        fleet_tick(d->f, t + s * 1000);
    assert_int_equal(d->heard.n, 1);
    id = d->heard.last.id;
    assert_int_not_equal(id, 0);
    fleet_caught_up(d->f, fleet_at(d->f, 2));
    assert_int_equal(d->heard.late, 1);
    fleet_free(old);
    /* what is not of this layout is refused, and nothing is changed */
    ((uint8_t *)blob)[4] ^= 1;
    assert_int_equal(fleet_restore(d->f, blob, n), RC_UNSUPPORTED);
    ((uint8_t *)blob)[4] ^= 1;
    assert_int_equal(fleet_restore(d->f, blob, n - 1), RC_UNSUPPORTED);
    assert_int_equal(fleet_restore(d->f, blob, 3), RC_UNSUPPORTED);
    free(blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lookup, setup, teardown),       cmocka_unit_test_setup_teardown(test_live, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_moves_nothing, setup, teardown), cmocka_unit_test_setup_teardown(test_tick, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_news_that_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
