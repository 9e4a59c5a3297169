#include "scenario.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[SCENARIO_WHATS] = {
    "overload", "speeding", "sos", "no_fix", "gnss_silent", "counter_unplugged", "counter_stale", "camera_alarm", "camera_garbage",
    "door_open", "belts_open", "unknown_card", "left_behind", "power_lost",
};

const char *scenario_word(enum scenario_what w)
{
    return words[w];
}

static bool text_of(const json_t *o, const char *key, char *out, size_t cap)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s || strlen(s) >= cap)
        return false;
    memcpy(out, s, strlen(s) + 1);
    return true;
}

static double number_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static struct geo_pt *line_of(const json_t *j, size_t *ret_n)
{
    size_t n = json_array_size(j);
    struct geo_pt *pt = n >= 2 ? calloc(n, sizeof *pt) : NULL;
    if (!pt)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *p = json_array_get(j, i);
        pt[i].lon = json_number_value(json_array_get(p, 0));
        pt[i].lat = json_number_value(json_array_get(p, 1));
    }
    *ret_n = n;
    return pt;
}

static enum rc read_route(const json_t *j, struct scenario_route *r)
{
    const json_t *limits = json_object_get(j, "limits"), *stops = json_object_get(j, "stops");
    if (!text_of(j, "id", r->id, sizeof r->id) || json_array_size(stops) < 2 || json_array_size(stops) > SCENARIO_STOPS_MAX)
        return RC_INVALID;
    r->line = line_of(json_object_get(j, "line"), &r->n);
    r->limits = json_array_size(limits);
    r->limit = calloc(r->limits + 1, sizeof *r->limit);
    if (!r->line || !r->limit)
        return RC_INVALID;
    for (size_t i = 0; i < r->limits; i++) {
        const json_t *l = json_array_get(limits, i);
        r->limit[i] = (struct path_limit){json_number_value(json_array_get(l, 0)), json_number_value(json_array_get(l, 1)),
                                          json_number_value(json_array_get(l, 2))};
    }
    r->stops = json_array_size(stops);
    for (size_t i = 0; i < r->stops; i++) {
        r->stop_m[i] = number_of(json_array_get(stops, i), "along_m");
        r->board[i] = (int)number_of(json_array_get(stops, i), "board");
    }
    return path_make(r->line, r->n, r->limit, r->limits, r->stop_m, r->stops, SCENARIO_OVER_KMH, &r->path);
}

enum rc scenario_detour(const struct scenario_route *r, double leave_m, double rejoin_m, const struct geo_pt *other, size_t n, struct path **ret_path,
                        int *ret_board)
{
    double other_m = 0;
    for (size_t i = 1; i < n; i++)
        other_m += geo_near_m(other[i - 1], other[i]);
    double shift = leave_m + other_m - rejoin_m;
    struct geo_pt *line = calloc(r->path->n + n, sizeof *line);
    struct path_limit *limit = calloc(r->limits * 2 + 1, sizeof *limit);
    double stop_m[SCENARIO_STOPS_MAX];
    size_t m = 0, limits = 0, stops = 0;
    enum rc rc = RC_NO_MEMORY;
    if (!line || !limit)
        goto out;
    const struct path *p = r->path;
    for (size_t i = 0; i < p->n && p->along_m[i] < leave_m - 1; i++)
        line[m++] = p->pt[i];
    for (size_t i = 0; i < n; i++)
        line[m++] = other[i];
    for (size_t i = 0; i < p->n; i++)
        if (p->along_m[i] > rejoin_m + 1)
            line[m++] = p->pt[i];
    for (size_t i = 0; i < r->limits && r->limit[i].from_m < leave_m; i++) {
        limit[limits] = r->limit[i];
        limit[limits].to_m = fmin(limit[limits].to_m, leave_m);
        limits++;
    }
    limit[limits++] = (struct path_limit){leave_m, leave_m + other_m, 40};
    for (size_t i = 0; i < r->limits; i++)
        if (r->limit[i].to_m > rejoin_m)
            limit[limits++] = (struct path_limit){fmax(r->limit[i].from_m, rejoin_m) + shift, r->limit[i].to_m + shift, r->limit[i].kmh};
    for (size_t i = 0; i < r->stops; i++) {
        if (r->stop_m[i] > leave_m - 5 && r->stop_m[i] < rejoin_m + 5)
            continue;
        ret_board[stops] = r->board[i];
        stop_m[stops++] = r->stop_m[i] < leave_m ? r->stop_m[i] : r->stop_m[i] + shift;
    }
    rc = path_make(line, m, limit, limits, stop_m, stops, SCENARIO_OVER_KMH, ret_path);
out:
    free(line);
    free(limit);
    return rc;
}

static enum rc read_bus(const json_t *j, const struct scenario *s, struct scenario_bus *b)
{
    char route[SCENARIO_ID_MAX + 1];
    if (!text_of(j, "id", b->id, sizeof b->id) || !text_of(j, "gateway", b->gateway, sizeof b->gateway) ||
        !text_of(j, "secret", b->secret, sizeof b->secret) || !text_of(j, "route", route, sizeof route))
        return RC_INVALID;
    for (size_t i = 0; i < s->routes; i++)
        if (!strcmp(s->route[i].id, route))
            b->route = &s->route[i];
    if (!b->route)
        return RC_NOT_FOUND;
    b->start_m = number_of(j, "start_m");
    b->aboard = (int)number_of(j, "aboard");
    b->rated = (int)number_of(j, "rated");
    b->staff = (int)number_of(j, "staff");
    b->staff_counted = (int)number_of(j, "staff_counted");
    b->cards = (unsigned)number_of(j, "cards");
    const json_t *d = json_object_get(j, "detour"), *events = json_object_get(j, "happenings");
    if (d) {
        size_t n = 0;
        struct geo_pt *other = line_of(json_object_get(d, "line"), &n);
        if (!other)
            return RC_INVALID;
        enum rc rc = scenario_detour(b->route, number_of(d, "leave_m"), number_of(d, "rejoin_m"), other, n, &b->detour, b->detour_board);
        free(other);
        if (rc != RC_OK)
            return rc;
    }
    for (size_t i = 0; i < json_array_size(events) && i < SCENARIO_EVENTS_MAX; i++) {
        const json_t *e = json_array_get(events, i);
        const char *w = json_string_value(json_object_get(e, "what"));
        int what = 0;
        while (what < SCENARIO_WHATS && (!w || strcmp(w, words[what]) != 0))
            what++;
        if (what == SCENARIO_WHATS)
            return RC_INVALID;
        b->event[b->events++] =
            (struct scenario_happening){(enum scenario_what)what, number_of(e, "at_s"), number_of(e, "for_s"), number_of(e, "value")};
    }
    return RC_OK;
}

enum rc scenario_parse(const json_t *doc, struct scenario **ret_s, char *why, size_t cap)
{
    const char *format = json_string_value(json_object_get(doc, "format"));
    const json_t *routes = json_object_get(doc, "routes"), *buses = json_object_get(doc, "buses");
    if (!format || strcmp(format, "schoolward-sim.1") != 0) {
        snprintf(why, cap, "format: not schoolward-sim.1");
        return RC_INVALID;
    }
    struct scenario *s = calloc(1, sizeof *s);
    enum rc rc = RC_NO_MEMORY;
    if (!s)
        return rc;
    s->route = calloc(json_array_size(routes) + 1, sizeof *s->route);
    s->bus = calloc(json_array_size(buses) + 1, sizeof *s->bus);
    if (!s->route || !s->bus)
        goto out;
    for (size_t i = 0; i < json_array_size(routes); i++) {
        s->routes = i + 1;
        rc = read_route(json_array_get(routes, i), &s->route[i]);
        if (rc != RC_OK) {
            snprintf(why, cap, "routes[%zu]: %s", i, rc_text(rc));
            goto out;
        }
    }
    for (size_t i = 0; i < json_array_size(buses); i++) {
        s->buses = i + 1;
        rc = read_bus(json_array_get(buses, i), s, &s->bus[i]);
        if (rc != RC_OK) {
            snprintf(why, cap, "buses[%zu]: %s", i, rc_text(rc));
            goto out;
        }
    }
    *ret_s = s;
    return RC_OK;
out:
    scenario_free(s);
    return rc;
}

enum rc scenario_read(const char *file, struct scenario **ret_s, char *why, size_t cap)
{
    json_error_t err;
    json_t *doc = json_load_file(file, 0, &err);
    if (!doc) {
        snprintf(why, cap, "%s: %s", file, err.text);
        return RC_IO;
    }
    char place[200] = "";
    enum rc rc = scenario_parse(doc, ret_s, place, sizeof place);
    if (rc != RC_OK)
        snprintf(why, cap, "%s: %s", file, place);
    json_decref(doc);
    return rc;
}

void scenario_free(struct scenario *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->buses; i++)
        path_free(s->bus[i].detour);
    for (size_t i = 0; i < s->routes; i++) {
        free(s->route[i].line);
        free(s->route[i].limit);
        path_free(s->route[i].path);
    }
    free(s->route);
    free(s->bus);
    free(s);
}
