/* vehicles - what is on the road now, where it was, and the approved routes. */
#include "route.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../view.h"

#define VEHICLES_SHARED_MS 200
#define HOUR_MS INT64_C(3600000)
#define TRACK_SPAN_MAX_MS (31 * 24 * HOUR_MS)
#define TRACK_PRIME_MS 600000  /* read so much earlier, to know counts and doors at the start */
#define TRACK_POINTS 5000
#define TRACK_EVENTS 400000    /* most events looked at for one answer */

void api_snapshot_release(void *snapshot)
{
    struct api_snapshot *v = snapshot;
    if (!v || --v->users)
        return;
    json_free(&v->text);
    free(v);
}

static struct api_snapshot *make_vehicles(struct api *a, int64_t now_ms)
{
    struct api_snapshot *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->users = 1;
    v->made_ms = now_ms;
    json_init(&v->text, API_ANSWER_MAX);
    json_begin_object(&v->text, NULL);
    json_int(&v->text, "server_time_ms", now_ms);
    json_begin_array(&v->text, "vehicles");
    for (size_t i = 0; i < fleet_count(a->s.fleet); i++)
        view_vehicle(&v->text, NULL, a->s.fleet, a->s.arrive, fleet_at(a->s.fleet, i), now_ms);
    json_end_array(&v->text);
    json_end_object(&v->text);
    if (v->text.failed) {
        api_snapshot_release(v);
        return NULL;
    }
    return v;
}

/* The whole fleet takes some 20 ms of the loop and 2 MB for 5,000 buses: those who ask at nearly the same time share one answer. */
void api_vehicles(struct api_call *c)
{
    struct api *a = c->api;
    int64_t age_ms = a->vehicles ? c->now_ms - a->vehicles->made_ms : INT64_MAX;
    if (age_ms < 0 || age_ms > VEHICLES_SHARED_MS) {
        struct api_snapshot *v = make_vehicles(a, c->now_ms);
        if (!v) {
            api_fail_rc(c, RC_NO_MEMORY);
            return;
        }
        api_snapshot_release(a->vehicles);
        a->vehicles = v;
    }
    a->vehicles->users++;
    struct http_answer answer = {.status = 200,
                                 .type = "application/json",
                                 .body = a->vehicles->text.text,
                                 .n = a->vehicles->text.n,
                                 .release = api_snapshot_release,
                                 .release_arg = a->vehicles,
                                 .shared = true};
    api_answer(c, &answer);
}

void api_vehicle(struct api_call *c)
{
    const struct fleet_vehicle *v = fleet_by_id(c->api->s.fleet, api_text(c, "id"));
    if (!v) {
        api_not_found(c);
        return;
    }
    view_vehicle(&c->out, NULL, c->api->s.fleet, c->api->s.arrive, v, c->now_ms);
    api_answer_json(c, 200);
}

void api_route_list(struct api_call *c)
{
    struct fleet *f = c->api->s.fleet;
    const struct duty_set *set = fleet_duty(f);
    json_begin_object(&c->out, NULL);
    json_begin_array(&c->out, "routes");
    for (size_t i = 0; i < set->routes; i++)
        view_route(&c->out, NULL, &set->route[i], fleet_law(f), c->now_ms);
    json_end_array(&c->out);
    json_end_object(&c->out);
    api_answer_json(c, 200);
}

void api_route_one(struct api_call *c)
{
    struct fleet *f = c->api->s.fleet;
    const struct duty_set *set = fleet_duty(f);
    for (size_t i = 0; i < set->routes; i++)
        if (!strcmp(set->route[i].id, api_text(c, "id"))) {
            view_route(&c->out, NULL, &set->route[i], fleet_law(f), c->now_ms);
            api_answer_json(c, 200);
            return;
        }
    api_not_found(c);
}

/* ---- tracks ---- */

/* Events come in the order they happened; the bus is folded again, so that a track says the same as the screen did. */
struct track {
    const struct law *law;
    const struct duty_set *set;
    const struct duty_vehicle *v;
    int64_t from_ms;
    size_t limit, n;
    bool truncated, started;
    struct bus bus;
    int32_t persons;     /* last written, EVENT_UNKNOWN = none */
    int confidence_pct, doors;
    double limit_kmh;    /* last written, < 0 = none yet, NAN = not known */
    struct json points, counts, door_times, limits;
};

static void track_counts(struct track *t, int64_t time_ms)
{
    struct bus_persons p = bus_persons(&t->bus, t->v);
    if (p.persons == EVENT_UNKNOWN || (p.persons == t->persons && p.confidence_pct == t->confidence_pct))
        return;
    t->persons = p.persons;
    t->confidence_pct = p.confidence_pct;
    json_begin_array(&t->counts, NULL);
    json_int(&t->counts, NULL, time_ms);
    json_int(&t->counts, NULL, p.persons);
    json_number(&t->counts, NULL, p.confidence_pct / 100.0, 2);
    json_end_array(&t->counts);
}

static void track_doors(struct track *t, int64_t time_ms)
{
    int open = bus_doors_open(&t->bus);
    if (open < 0 || open == t->doors)
        return;
    t->doors = open;
    json_begin_array(&t->door_times, NULL);
    json_int(&t->door_times, NULL, time_ms);
    json_int(&t->door_times, NULL, open);
    json_end_array(&t->door_times);
}

/* The limit in force at a fix, written when it is another than before: one at most per point. */
static void track_limit(struct track *t, int64_t time_ms)
{
    double kmh = rules_limit_kmh(t->law, t->set, t->v, &t->bus);
    if (kmh == t->limit_kmh || (isnan(kmh) && isnan(t->limit_kmh)))
        return;
    t->limit_kmh = kmh;
    json_begin_array(&t->limits, NULL);
    json_int(&t->limits, NULL, time_ms);
    json_number(&t->limits, NULL, kmh, 0);
    json_end_array(&t->limits);
}

static void track_scaled(struct json *j, int32_t value, double scale, int decimals)
{
    if (value == EVENT_UNKNOWN)
        json_none(j, NULL);
    else
        json_number(j, NULL, value * scale, decimals);
}

static void track_point(struct track *t, const struct event *e, bool late)
{
    struct json *j = &t->points;
    json_begin_array(j, NULL);
    json_int(j, NULL, e->time_ms);
    json_number(j, NULL, e->fix.lat_e7 * 1e-7, 7);
    json_number(j, NULL, e->fix.lon_e7 * 1e-7, 7);
    track_scaled(j, e->fix.speed_mmps, 1e-3, 3);
    track_scaled(j, e->fix.track_cdeg, 1e-2, 2);
    json_int(j, NULL, e->fix.mode);
    json_int(j, NULL, late);
    json_end_array(j);
}

/* What was known when the time asked for begins is written with its first moment. */
static void track_start(struct track *t)
{
    if (t->started)
        return;
    t->started = true;
    track_counts(t, t->from_ms);
    track_doors(t, t->from_ms);
}

static bool track_row(void *arg, const struct journal_row *row)
{
    struct track *t = arg;
    const struct event *e = row->event;
    bool in = e->time_ms >= t->from_ms, point = in && e->kind == EVENT_FIX && event_fix_valid(&e->fix);
    if (in)
        track_start(t);
    if (point && t->n == t->limit) {
        t->truncated = true;
        return false;
    }
    bus_apply(&t->bus, t->set, t->v, e);
    if (point) {
        t->n++;
        track_point(t, e, row->late);
        track_limit(t, e->time_ms);
    } else if (in && e->kind == EVENT_COUNT) {
        track_counts(t, e->time_ms);
    } else if (in && e->kind == EVENT_INPUTS) {
        track_doors(t, e->time_ms);
    }
    return true;
}

static void track_array(struct json *out, const char *name, struct json *list)
{
    json_end_array(list);
    if (list->failed)
        out->failed = true;
    else
        json_raw(out, name, list->text, list->n);
    json_free(list);
}

enum rc api_write_track(struct api_call *c, const struct duty_vehicle *v, int64_t from_ms, int64_t to_ms, size_t limit)
{
    const struct fleet *f = c->api->s.fleet;
    struct track t = {.law = fleet_law(f),
                      .set = fleet_duty(f),
                      .v = v,
                      .from_ms = from_ms,
                      .limit = limit,
                      .persons = EVENT_UNKNOWN,
                      .doors = -1,
                      .limit_kmh = -1};
    struct json *lists[4] = {&t.points, &t.counts, &t.door_times, &t.limits};
    for (size_t i = 0; i < 4; i++) {
        json_init(lists[i], API_ANSWER_MAX / 2);
        json_begin_array(lists[i], NULL);
    }
    int64_t early_ms = from_ms > TRACK_PRIME_MS ? from_ms - TRACK_PRIME_MS : 0;
    enum rc rc = journal_history(c->api->s.journal, v->gateway, early_ms, to_ms, TRACK_EVENTS, track_row, &t);
    if (rc == RC_FULL) {
        t.truncated = true;
        rc = RC_OK;
    }
    json_begin_object(&c->out, NULL);
    json_text(&c->out, "vehicle", v->id);
    json_int(&c->out, "from_ms", from_ms);
    json_int(&c->out, "to_ms", to_ms);
    track_array(&c->out, "points", &t.points);
    track_array(&c->out, "counts", &t.counts);
    track_array(&c->out, "doors", &t.door_times);
    track_array(&c->out, "limits", &t.limits);
    json_bool(&c->out, "truncated", t.truncated);
    json_end_object(&c->out);
    return rc;
}

static void read_track(struct api_call *c)
{
    const struct duty_vehicle *v = duty_vehicle_by_id(fleet_duty(c->api->s.fleet), api_text(c, "id"));
    int64_t to_ms = api_number(c, "to_ms", c->now_ms), from_ms = api_number(c, "from_ms", to_ms > HOUR_MS ? to_ms - HOUR_MS : 0);
    c->rc = v ? api_write_track(c, v, from_ms, to_ms, (size_t)api_number(c, "limit", TRACK_POINTS)) : RC_NOT_FOUND;
}

void api_track(struct api_call *c)
{
    int64_t to_ms = api_number(c, "to_ms", c->now_ms), from_ms = api_number(c, "from_ms", to_ms > HOUR_MS ? to_ms - HOUR_MS : 0);
    if (from_ms >= to_ms || to_ms - from_ms > TRACK_SPAN_MAX_MS) {
        api_fail(c, 400, "bad_request", "from_ms must lie before to_ms, at most 31 days", "ask for a shorter time");
        return;
    }
    api_work(c, read_track, api_answer_read);
}
