#include "arrive.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arrive_track.h"

static const int64_t stale_ms = 60000; /* an older position tells nobody that a bus arrives */

struct arrive {
    struct fleet *fleet;
    struct arrive_days days;      /* of events */
    struct arrive_days days_tick; /* of the wall clock: apart, so that a replay does not turn the one for the other */
    struct arrive_track *track;
    struct arrive_mark *marks;
    size_t tracks;
    arrive_notice_fn *notice;
    void *notice_arg;
};

const char *arrive_state_word(enum arrive_state s)
{
    static const char *const word[] = {"not_running", "coming", "arriving", "at_stop", "passed", "no_signal"};
    return s <= ARRIVE_NO_SIGNAL ? word[s] : word[0];
}

static void on_event(void *arg, const struct fleet_vehicle *v, const struct event *e, bool late)
{
    struct arrive *a = arg;
    struct arrive_track *t = v->arrive;
    const struct bus *b = &v->bus;
    if (late || t == NULL)
        return;
    if (e->kind == EVENT_INPUTS)
        arrive_track_doors(t, e->time_ms, bus_doors_open(b) == 1);
    if (e->kind != EVENT_FIX || !event_fix_valid(&e->fix) || b->fix_ms != e->time_ms)
        return;
    struct arrive_place p = {.time_ms = e->time_ms,
                             .along_m = b->along_m,
                             .offset_m = b->route_ms == b->fix_ms ? b->offset_m : (double)INFINITY,
                             .speed_mps = b->fix.speed_mmps == EVENT_UNKNOWN ? (double)NAN : b->fix.speed_mmps / 1000.0,
                             .doors_open = bus_doors_open(b)};
    arrive_track_place(t, &a->days, duty_route_at(fleet_duty(a->fleet), v->duty, e->time_ms), &p);
}

/* The zone must be one this system knows: glibc takes any text for a zone and silently means UTC by it. */
static bool known_zone(const char *zone)
{
    char path[256];
    const char *dir = getenv("TZDIR");
    if (zone == NULL || zone[0] == '\0' || zone[0] == '/' || strstr(zone, "..") != NULL || strlen(zone) > 64 ||
        strspn(zone, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") != strlen(zone))
        return false;
    snprintf(path, sizeof path, "%.150s/%s", dir == NULL ? "/usr/share/zoneinfo" : dir, zone);
    return strcmp(zone, "UTC") == 0 || access(path, R_OK) == 0;
}

enum rc arrive_new(struct fleet *f, const char *time_zone, struct arrive **ret_a)
{
    if (!known_zone(time_zone))
        return RC_INVALID;
    const struct duty_set *set = fleet_duty(f);
    size_t most = 1, n = fleet_count(f);
    for (size_t i = 0; i < set->routes; i++)
        most = set->route[i].stops > most ? set->route[i].stops : most;
    struct arrive *a = calloc(1, sizeof *a);
    if (a == NULL)
        return RC_NO_MEMORY;
    a->fleet = f;
    a->tracks = n;
    a->track = calloc(n + 1, sizeof *a->track);
    a->marks = calloc((n + 1) * most, sizeof *a->marks);
    enum rc rc = a->track == NULL || a->marks == NULL ? RC_NO_MEMORY : RC_OK;
    struct fleet_listener l = {.on_event = on_event, .arg = a};
    if (rc == RC_OK)
        rc = setenv("TZ", time_zone, 1) == 0 ? fleet_listen(f, &l) : RC_NO_MEMORY;
    if (rc != RC_OK) {
        arrive_free(a);
        return rc;
    }
    tzset();
    for (size_t i = 0; i < n; i++) {
        a->track[i].mark = a->marks + i * most;
        fleet_at(f, i)->arrive = &a->track[i];
    }
    *ret_a = a;
    return RC_OK;
}

void arrive_free(struct arrive *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; a->track != NULL && i < a->tracks; i++)
        if (fleet_at(a->fleet, i)->arrive == &a->track[i])
            fleet_at(a->fleet, i)->arrive = NULL;
    free(a->track);
    free(a->marks);
    free(a);
}

static bool is_fresh(const struct fleet_vehicle *v, int64_t now_ms)
{
    return v->bus.fix_ms != 0 && now_ms - v->bus.fix_ms <= stale_ms;
}

struct arrive_run arrive_of(const struct arrive *a, const struct fleet_vehicle *v, int64_t now_ms)
{
    (void)a;
    const struct arrive_track *t = v->arrive;
    struct arrive_run r = {.next_stop = -1, .delay_s = INT32_MIN};
    if (t == NULL || t->run == NULL)
        return r;
    r.run = t->run;
    r.date = t->date;
    r.starts_ms = t->starts_ms;
    size_t next = arrive_track_next(t);
    bool fresh = is_fresh(v, now_ms);
    if (fresh)
        r.delay_s = arrive_track_delay_s(t, now_ms);
    if (next == t->route->stops)
        return r;
    r.next_stop = (int)next;
    r.next_planned_ms = arrive_track_planned_ms(t, next);
    r.next_eta_ms = fresh ? arrive_track_eta_ms(t, next, now_ms) : 0;
    return r;
}

static enum arrive_state state_of(const struct arrive_track *t, const struct fleet_vehicle *v, size_t stop, int64_t now_ms)
{
    bool fresh = is_fresh(v, now_ms), reached = t->mark[stop].reached_ms != 0;
    if (reached && arrive_track_at_stop(t, stop, now_ms))
        return fresh ? ARRIVE_AT_STOP : ARRIVE_NO_SIGNAL;
    if (reached || t->mark[stop].behind)
        return ARRIVE_PASSED;
    if (!fresh)
        return ARRIVE_NO_SIGNAL;
    return arrive_track_near(t, stop, now_ms) ? ARRIVE_ARRIVING : ARRIVE_COMING;
}

struct arrive_stop arrive_at(const struct arrive *a, const struct fleet_vehicle *v, const char *stop_id, int64_t now_ms)
{
    (void)a;
    const struct arrive_track *t = v->arrive;
    struct arrive_stop s = {.state = ARRIVE_NOT_RUNNING, .stops_away = -1};
    size_t i = 0;
    if (t == NULL || t->run == NULL)
        return s;
    while (i < t->route->stops && strcmp(t->route->stop[i].id, stop_id) != 0)
        i++;
    if (i == t->route->stops)
        return s;
    s.state = state_of(t, v, i, now_ms);
    s.planned_ms = arrive_track_planned_ms(t, i);
    s.passed_ms = t->mark[i].reached_ms;
    if (s.state == ARRIVE_COMING || s.state == ARRIVE_ARRIVING) {
        s.stops_away = (int)(i - arrive_track_next(t));
        s.eta_ms = arrive_track_eta_ms(t, i, now_ms);
    }
    return s;
}

void arrive_set_notice(struct arrive *a, arrive_notice_fn *fn, void *arg)
{
    a->notice = fn;
    a->notice_arg = arg;
}

void arrive_key(const char *run, int32_t date, const char *vehicle, const char *stop, char out[ARRIVE_KEY_MAX])
{
    snprintf(out, ARRIVE_KEY_MAX, "%.31s:%08d:%.31s:%.31s:arriving", run, date, vehicle, stop);
}

static void notify_stops(struct arrive *a, const struct fleet_vehicle *v, struct arrive_track *t, int64_t now_ms)
{
    size_t next = arrive_track_next(t);
    for (size_t i = next > 0 ? next - 1 : 0; i < t->route->stops; i++) {
        bool near = arrive_track_near(t, i, now_ms);
        if (!near && i >= next)
            return;
        if (!near || t->mark[i].noticed)
            continue;
        t->mark[i].noticed = true;
        int64_t reached = t->mark[i].reached_ms;
        struct arrive_notice n = {.vehicle = v,
                                  .run = t->run,
                                  .stop = &t->route->stop[i],
                                  .date = t->date,
                                  .eta_ms = reached != 0 ? reached : arrive_track_eta_ms(t, i, now_ms),
                                  .planned_ms = arrive_track_planned_ms(t, i)};
        a->notice(a->notice_arg, &n);
    }
}

void arrive_tick(struct arrive *a, int64_t now_ms)
{
    for (size_t i = 0; i < a->tracks; i++) {
        const struct fleet_vehicle *v = fleet_at(a->fleet, i);
        struct arrive_track *t = &a->track[i];
        /* a bus that sends nothing still has a timetable: looked at every tenth second */
        if (!is_fresh(v, now_ms) && (int64_t)(i % 10) == now_ms / 1000 % 10)
            arrive_track_time(t, &a->days_tick, duty_route_at(fleet_duty(a->fleet), v->duty, now_ms), now_ms);
        if (a->notice != NULL && t->run != NULL && t->placed && is_fresh(v, now_ms))
            notify_stops(a, v, t, now_ms);
    }
}
