/* session - who am I, tickets for the live socket, and links for parents with what their holders may see. */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "../view.h"

#define DAY_MS INT64_C(86400000)
#define LINK_DEFAULT_MS (7 * DAY_MS)
#define LINK_MAX_MS (366 * DAY_MS)

static const char *role_word(enum access_role r)
{
    return r == ACCESS_OFFICER ? "officer" : r == ACCESS_POLICE ? "police" : "admin";
}

void api_session(struct api_call *c)
{
    json_begin_object(&c->out, NULL);
    json_text(&c->out, "name", c->who.name);
    json_text(&c->out, "role", role_word(c->who.role));
    json_int(&c->out, "server_time_ms", c->now_ms);
    json_text(&c->out, "version", SCHOOLWARD_VERSION);
    json_text(&c->out, "time_zone", c->api->s.time_zone);
    const struct bus_freshness_limits *limits = fleet_freshness(c->api->s.fleet);
    json_begin_object(&c->out, "freshness");
    json_int(&c->out, "fresh_ms", limits->fresh_ms);
    json_int(&c->out, "delayed_ms", limits->delayed_ms);
    json_int(&c->out, "stale_ms", limits->stale_ms);
    json_end_object(&c->out);
    json_end_object(&c->out);
    api_answer_json(c, 200);
}

void api_live_ticket(struct api_call *c)
{
    char ticket[64];
    enum rc rc = access_ticket(c->api->s.access, &c->who, c->now_ms, ticket);
    if (rc != RC_OK) {
        c->api->counters.refused[2] += rc == RC_FULL;
        api_fail(c, rc == RC_FULL ? 429 : 503, rc == RC_FULL ? "too_many" : "unavailable", "no ticket can be given now",
                 "ask again in 30 seconds; unused tickets end by then");
        return;
    }
    json_begin_object(&c->out, NULL);
    json_text(&c->out, "ticket", ticket);
    json_int(&c->out, "expires_ms", c->now_ms + ACCESS_TICKET_MS);
    json_end_object(&c->out);
    api_answer_json(c, 200);
}

/* ---- parents ---- */

static int stop_index(const struct duty_route *r, const char *stop)
{
    for (size_t i = 0; i < r->stops; i++)
        if (!strcmp(r->stop[i].id, stop))
            return (int)i;
    return -1;
}

/* The route of this vehicle that has the stop: the one it drives now, else the first that has it. */
static const struct duty_route *route_with_stop(const struct duty_set *set, const struct duty_vehicle *v, const char *stop, int64_t now_ms)
{
    const struct duty_route *r = duty_route_at(set, v, now_ms);
    if (r && stop_index(r, stop) >= 0)
        return r;
    for (size_t i = 0; i < v->assignments; i++) {
        r = &set->route[v->assignment[i].route];
        if (stop_index(r, stop) >= 0)
            return r;
    }
    return NULL;
}

void api_parent_link(struct api_call *c)
{
    struct api_setup *s = &c->api->s;
    const struct duty_set *set = fleet_duty(s->fleet);
    const struct duty_vehicle *v = duty_vehicle_by_id(set, api_text(c, "vehicle"));
    int64_t until = api_number(c, "valid_until_ms", c->now_ms + LINK_DEFAULT_MS);
    char token[ACCESS_LINK_MAX + 1], url[1024];
    if (!v) {
        api_fail(c, 400, "bad_request", "there is no such vehicle", "vehicle is an id of /api/v1/vehicles");
        return;
    }
    if (!route_with_stop(set, v, api_text(c, "stop"), c->now_ms)) {
        api_fail(c, 400, "bad_request", "this vehicle has no such stop", "stop is the id of a stop on one of the vehicle's routes");
        return;
    }
    if (until <= c->now_ms || until > c->now_ms + LINK_MAX_MS) {
        api_fail(c, 400, "bad_request", "valid_until_ms must lie ahead, at most 366 days", "UTC milliseconds since 1970");
        return;
    }
    enum rc rc = access_link(s->access, v->id, api_text(c, "stop"), until, token, sizeof token);
    if (rc != RC_OK || (size_t)snprintf(url, sizeof url, "%s/parent/#token=%s", s->public_url, token) >= sizeof url) {
        api_fail(c, 500, "internal", "the link cannot be made", "look at the server's log");
        return;
    }
    json_begin_object(&c->out, NULL);
    json_text(&c->out, "url", url);
    json_int(&c->out, "expires_ms", until);
    json_end_object(&c->out);
    api_answer_json(c, 200);
}

static void time_or_null(struct json *j, const char *name, int64_t ms)
{
    if (ms)
        json_int(j, name, ms);
    else
        json_none(j, name);
}

static void write_names(struct json *j, const char *name, const char *zh, const char *en)
{
    json_begin_object(j, name);
    json_text(j, "name_zh", zh);
    json_text(j, "name_en", en);
}

/* One dot per stop; whose it is stays unsaid but for one's own. What the bus does on another route than this stop's is not told. */
static void write_progress(struct json *j, const struct duty_route *r, const struct arrive_run *run, bool running, int mine)
{
    json_begin_array(j, "progress");
    for (size_t i = 0; i < r->stops; i++) {
        bool passed = running && (run->next_stop < 0 || (int)i < run->next_stop);
        json_begin_object(j, NULL);
        json_bool(j, "mine", (int)i == mine);
        json_text(j, "state", passed ? "passed" : running && (int)i == run->next_stop ? "next" : "ahead");
        json_end_object(j);
    }
    json_end_array(j);
}

static void write_place(struct json *j, const struct fleet_vehicle *v, bool shown, int64_t now_ms)
{
    const struct event_fix *f = &v->bus.fix;
    if (!shown) {
        json_none(j, "position");
        return;
    }
    json_begin_object(j, "position");
    json_number(j, "lat", f->lat_e7 * 1e-7, 6);
    json_number(j, "lon", f->lon_e7 * 1e-7, 6);
    json_int(j, "age_ms", now_ms > v->bus.fix_ms ? now_ms - v->bus.fix_ms : 0);
    json_end_object(j);
}

void api_parent(struct api_call *c)
{
    struct api_setup *s = &c->api->s;
    struct json *j = &c->out;
    const struct duty_set *set = fleet_duty(s->fleet);
    const struct fleet_vehicle *v = fleet_by_id(s->fleet, c->who.vehicle);
    const struct duty_route *r = v ? route_with_stop(set, v->duty, c->who.stop, c->now_ms) : NULL;
    if (!r) { /* the vehicle or the stop is no longer there */
        api_not_found(c);
        return;
    }
    int mine = stop_index(r, c->who.stop);
    const struct duty_stop *stop = &r->stop[mine];
    struct arrive_run run = arrive_of(s->arrive, v, c->now_ms);
    struct arrive_stop at = arrive_at(s->arrive, v, c->who.stop, c->now_ms);
    enum bus_freshness fresh = view_freshness(s->fleet, v, c->now_ms);
    bool running = run.run && at.state != ARRIVE_NOT_RUNNING, live = running && (fresh == BUS_FRESH || fresh == BUS_DELAYED);
    int64_t noticed = running && s->noticed_ms ? s->noticed_ms(s->arg, v, c->who.stop) : 0;
    json_begin_object(j, NULL);
    json_text(j, "plate", v->duty->plate);
    write_names(j, "route", r->name_zh, r->name_en);
    json_end_object(j);
    write_names(j, "stop", stop->name_zh, stop->name_en);
    time_or_null(j, "planned_ms", at.planned_ms);
    json_end_object(j);
    json_int(j, "server_time_ms", c->now_ms);
    json_int(j, "expires_ms", c->who.expires_ms);
    json_text(j, "state", arrive_state_word(running && !live && at.state != ARRIVE_PASSED ? ARRIVE_NO_SIGNAL : at.state));
    if (live && at.stops_away >= 0)
        json_int(j, "stops_away", at.stops_away);
    else
        json_none(j, "stops_away");
    time_or_null(j, "eta_ms", live ? at.eta_ms : 0);
    if (live && run.delay_s != INT32_MIN)
        json_int(j, "delay_s", run.delay_s);
    else
        json_none(j, "delay_s");
    time_or_null(j, "passed_ms", at.passed_ms);
    write_place(j, v, live && v->bus.fix_ms, c->now_ms);
    write_progress(j, r, &run, running && run.run >= r->run && run.run < r->run + r->runs, mine);
    json_begin_array(j, "notices");
    if (noticed) {
        json_begin_object(j, NULL);
        json_text(j, "kind", "arriving");
        json_int(j, "at_ms", noticed);
        json_end_object(j);
    }
    json_end_array(j);
    json_end_object(j);
    api_answer_json(c, 200);
}
