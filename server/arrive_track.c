#include "arrive_track.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <time.h>

static const int64_t margin_ms = 15 * 60000;     /* before a run's start and after its end */
static const int64_t delay_max_ms = 2 * 3600000; /* a run later than this is over, whatever the bus does */
static const double on_line_m = 80;              /* further from the line than this the bus is somewhere else: no progress */
static const double stop_m = 40;                 /* doors open this near to a stop: it is reached */
static const double near_m = 200;
static const int64_t near_ms = 60000;
static const double plausible_mps = 60 / 3.6; /* R617 art. 35: a school bus does at most 60 km/h away from expressways */
static const double jump_mps = 40;            /* nothing on wheels here is faster: what moved further jumped */
static const double jump_slack_m = 100;       /* two GNSS errors */
static const double terminal_m = 300;
static const int64_t done_ms = 10 * 60000;  /* "passed" is shown so long after the last stop */
static const int64_t last_stop_ms = 180000; /* nobody drives on from the last stop: there for so long after reaching it */

/* --- service days -------------------------------------------------------------------------------------------------------------------------- */

static int64_t local_ms(struct tm day, int days, int hour, int32_t *ret_date)
{
    struct tm t = {.tm_year = day.tm_year, .tm_mon = day.tm_mon, .tm_mday = day.tm_mday + days, .tm_hour = hour, .tm_isdst = -1};
    int64_t ms = (int64_t)mktime(&t) * 1000;
    *ret_date = (t.tm_year + 1900) * 10000 + (t.tm_mon + 1) * 100 + t.tm_mday;
    return ms;
}

void arrive_days_at(struct arrive_days *d, int64_t time_ms)
{
    if (time_ms >= d->since_ms && time_ms < d->until_ms)
        return;
    time_t t = (time_t)(time_ms / 1000);
    struct tm now;
    int32_t date;
    localtime_r(&t, &now);
    for (int i = 0; i < 3; i++)
        d->start_ms[i] = local_ms(now, i - 1, 12, &d->date[i]) - 43200000;
    d->since_ms = local_ms(now, 0, 0, &date);
    d->until_ms = local_ms(now, 1, 0, &date);
}

/* --- the timetable --------------------------------------------------------------------------------------------------------------------------- */

static int64_t offset_ms(const struct duty_route *r, size_t stop)
{
    return (int64_t)r->stop[stop].offset_s * 1000;
}

static int64_t duration_ms(const struct duty_route *r)
{
    return offset_ms(r, r->stops - 1);
}

/* When the timetable has the bus at that place, after the run's start: straight between stops. */
static int64_t planned_there_ms(const struct duty_route *r, double along_m)
{
    if (along_m <= r->stop[0].along_m)
        return offset_ms(r, 0);
    for (size_t i = 1; i < r->stops; i++) {
        double a = r->stop[i - 1].along_m, b = r->stop[i].along_m;
        if (along_m < b)
            return offset_ms(r, i - 1) + (int64_t)((double)(offset_ms(r, i) - offset_ms(r, i - 1)) * (along_m - a) / (b - a));
    }
    return duration_ms(r);
}

int64_t arrive_track_planned_ms(const struct arrive_track *t, size_t stop)
{
    return t->starts_ms + offset_ms(t->route, stop);
}

/* --- which run ------------------------------------------------------------------------------------------------------------------------------- */

/* All stops are passed, and the people at the last ones have had time to read so; or the next run is about to start. */
static bool complete(const struct arrive_track *t, int64_t now, int64_t next_starts_ms)
{
    const struct arrive_mark *last = &t->mark[t->route->stops - 1];
    return (last->reached_ms != 0 && now >= last->reached_ms + done_ms) || ((last->reached_ms != 0 || last->behind) && now >= next_starts_ms - margin_ms / 3);
}

static void begin(struct arrive_track *t, const struct duty_route *route, const struct duty_run *run, int32_t date, int64_t starts_ms)
{
    t->route = route;
    t->run = run;
    t->date = date;
    t->starts_ms = starts_ms;
    t->placed = false;
    t->doubts = 0;
    if (route != NULL)
        memset(t->mark, 0, route->stops * sizeof *t->mark);
}

struct choice {
    const struct duty_run *run;
    int32_t date;
    int64_t starts_ms, misfit_ms;
};

/* The run after after_ms whose timetable fits best to being at along_m (NAN: anywhere) now. */
static struct choice choose(const struct duty_route *r, const struct arrive_days *days, int64_t now, double along_m, int64_t after_ms)
{
    struct choice best = {NULL, 0, 0, INT64_MAX};
    for (int day = 0; day < 3; day++)
        for (size_t i = 0; i < r->runs; i++) {
            int64_t start = days->start_ms[day] + (int64_t)r->run[i].start_s * 1000, end = start + duration_ms(r);
            if (start <= after_ms || now < start - margin_ms || now > end + margin_ms)
                continue;
            int64_t misfit = now < start ? start - now : now > end ? now - end : 0;
            if (!isnan(along_m)) {
                misfit = now - start - planned_there_ms(r, along_m);
                misfit = misfit < 0 ? -misfit : misfit;
            }
            if (misfit < best.misfit_ms)
                best = (struct choice){&r->run[i], days->date[day], start, misfit};
        }
    return best;
}

static int64_t delay_now_ms(const struct arrive_track *t, int64_t now)
{
    int32_t d = arrive_track_delay_s(t, now);
    return d == INT32_MIN || d < 0 ? 0 : d > delay_max_ms / 1000 ? delay_max_ms : (int64_t)d * 1000;
}

/* Still at, or before, the first stop. */
static bool not_set_out(const struct arrive_track *t)
{
    size_t next = arrive_track_next(t);
    return next == 0 || (next == 1 && t->placed && t->far_m <= t->route->stop[0].along_m + stop_m);
}

/* The driver began the next run without having driven this one to its end. */
static bool gave_up(const struct arrive_track *t, const struct choice *next, int64_t now, double along_m)
{
    if (not_set_out(t))
        return now >= next->starts_ms;
    double length = geo_line_length_m(t->route->line);
    return !isnan(along_m) && along_m < t->route->stop[0].along_m + near_m && t->far_m - along_m > length / 2 && now >= next->starts_ms - margin_ms / 3;
}

static void settle_run(struct arrive_track *t, struct arrive_days *days, const struct duty_route *route, int64_t now, double along_m)
{
    arrive_days_at(days, now);
    if (route != NULL && (route->stops == 0 || route->runs == 0))
        route = NULL;
    if (route != t->route) {
        begin(t, route, NULL, 0, 0);
        t->after_ms = INT64_MIN;
    }
    if (route == NULL)
        return;
    bool found = t->run != NULL && t->placed;
    bool over = t->run != NULL && (now > t->starts_ms + duration_ms(route) + delay_now_ms(t, now) + margin_ms || now < t->starts_ms - margin_ms);
    struct choice next = choose(route, days, now, along_m, found ? t->starts_ms : t->after_ms);
    if (next.run != NULL && (!found || over || complete(t, now, next.starts_ms) || gave_up(t, &next, now, along_m))) {
        if (next.run == t->run && next.starts_ms == t->starts_ms)
            return;
        if (found)
            t->after_ms = t->starts_ms;
        begin(t, route, next.run, next.date, next.starts_ms);
    } else if (over) {
        t->after_ms = t->starts_ms;
        begin(t, route, NULL, 0, 0);
    }
}

/* --- where on it ----------------------------------------------------------------------------------------------------------------------------- */

static void reach(struct arrive_track *t, size_t stop, int64_t time_ms)
{
    if (t->mark[stop].reached_ms == 0 && !t->mark[stop].behind)
        t->mark[stop].reached_ms = time_ms;
}

static void halt(struct arrive_track *t, int64_t time_ms)
{
    for (size_t i = 0; i < t->route->stops; i++)
        if (fabs(t->route->stop[i].along_m - t->here_m) <= stop_m)
            reach(t, i, time_ms);
}

static void move_to(struct arrive_track *t, double along_m, int64_t time_ms)
{
    double from = t->far_m;
    for (size_t i = 0; along_m > from && i < t->route->stops; i++) {
        double at = t->route->stop[i].along_m;
        if (at > from && at <= along_m)
            reach(t, i, t->here_ms + (int64_t)((double)(time_ms - t->here_ms) * (at - from) / (along_m - from)));
    }
    t->far_m = fmax(t->far_m, along_m);
    t->here_m = along_m;
    t->here_ms = time_ms;
    t->doubts = 0;
}

/* Seen for the first time on this run, or found elsewhere for good: what lies behind is passed, when is not known; what lies ahead is ahead again. */
static void put_at(struct arrive_track *t, double along_m, int64_t time_ms)
{
    for (size_t i = 0; i < t->route->stops; i++) {
        struct arrive_mark *m = &t->mark[i];
        double at = t->route->stop[i].along_m;
        if (at < along_m - stop_m)
            m->behind = m->reached_ms == 0;
        else if (at > along_m + stop_m) {
            m->reached_ms = 0;
            m->behind = false;
        }
    }
    t->placed = true;
    t->far_m = t->here_m = along_m;
    t->here_ms = time_ms;
    t->doubts = 0;
}

/* A place that does not fit becomes believable when the bus goes on from it, forward, for that many metres. */
static bool insists(struct arrive_track *t, const struct arrive_place *p, double metres)
{
    double step = p->along_m - t->doubt_m;
    if (t->doubts == 0 || step < -15 || step > jump_mps * (double)(p->time_ms - t->doubt_ms) / 1000 + jump_slack_m) {
        t->doubts = 0;
        t->doubt_from_m = p->along_m;
    }
    t->doubts++;
    t->doubt_m = p->along_m;
    t->doubt_ms = p->time_ms;
    return t->doubts >= 3 && t->doubt_m - t->doubt_from_m >= metres;
}

/* Where a loop ends it begins: before it has set out, a bus matched to the end stands at the start. */
static double unlooped(const struct arrive_track *t, const struct arrive_place *p)
{
    const struct geo_line *line = t->route->line;
    double length = geo_line_length_m(line);
    bool setting_out = t->placed ? t->far_m < terminal_m : p->time_ms < t->starts_ms + duration_ms(t->route) / 3;
    if (p->along_m <= length - terminal_m || !setting_out || geo_near_m(geo_line_at(line, 0), geo_line_at(line, length)) > terminal_m)
        return p->along_m;
    return 0;
}

static void first_place(struct arrive_track *t, const struct arrive_place *p)
{
    if (p->along_m <= t->route->stop[0].along_m + stop_m)
        put_at(t, p->along_m, p->time_ms);
    /* Elsewhere it may be on its way to the first stop, against the direction of the route: wait until it goes forward, after the start. */
    else if (p->time_ms >= t->starts_ms - margin_ms / 5 && insists(t, p, 50))
        put_at(t, p->along_m, p->time_ms);
}

void arrive_track_place(struct arrive_track *t, struct arrive_days *days, const struct duty_route *route, const struct arrive_place *as_matched)
{
    struct arrive_place here = *as_matched, *p = &here;
    bool on_line = p->offset_m <= on_line_m;
    settle_run(t, days, route, p->time_ms, on_line ? p->along_m : (double)NAN);
    if (t->run == NULL || !on_line) {
        t->doubts = 0;
        return;
    }
    p->along_m = unlooped(t, p);
    if (!t->placed)
        first_place(t, p);
    else {
        double step = p->along_m - t->far_m, far = jump_mps * (double)(p->time_ms - t->here_ms) / 1000 + jump_slack_m;
        if (step >= -60 && step <= far)
            move_to(t, p->along_m, p->time_ms);
        else if (insists(t, p, step > 0 ? 50 : 200))
            put_at(t, p->along_m, p->time_ms);
    }
    if (t->placed && t->here_ms == p->time_ms && (p->doors_open == 1 || (p->doors_open < 0 && p->speed_mps < 1)))
        halt(t, p->time_ms);
}

void arrive_track_time(struct arrive_track *t, struct arrive_days *days, const struct duty_route *route, int64_t now_ms)
{
    settle_run(t, days, route, now_ms, (double)NAN);
}

void arrive_track_doors(struct arrive_track *t, int64_t time_ms, bool open)
{
    if (open && t->run != NULL && t->placed && time_ms - t->here_ms < near_ms)
        halt(t, time_ms);
}

/* --- what it comes to ------------------------------------------------------------------------------------------------------------------------ */

size_t arrive_track_next(const struct arrive_track *t)
{
    size_t i = t->route->stops;
    while (i > 0 && t->mark[i - 1].reached_ms == 0 && !t->mark[i - 1].behind)
        i--;
    return i;
}

int32_t arrive_track_delay_s(const struct arrive_track *t, int64_t now_ms)
{
    if (t->run == NULL)
        return INT32_MIN;
    size_t last = t->route->stops - 1;
    int64_t delay;
    if (t->mark[last].reached_ms != 0)
        delay = t->mark[last].reached_ms - arrive_track_planned_ms(t, last);
    else if (t->placed) {
        delay = t->here_ms - t->starts_ms - planned_there_ms(t->route, t->far_m);
        if (not_set_out(t))
            delay = delay < 0 ? 0 : delay; /* waiting at the first stop is not being early */
    } else if (now_ms > arrive_track_planned_ms(t, 0))
        delay = now_ms - arrive_track_planned_ms(t, 0);
    else
        return INT32_MIN;
    return (int32_t)(delay / 1000);
}

int64_t arrive_track_eta_ms(const struct arrive_track *t, size_t stop, int64_t now_ms)
{
    int32_t delay = arrive_track_delay_s(t, now_ms);
    int64_t eta = arrive_track_planned_ms(t, stop) + (delay == INT32_MIN ? 0 : (int64_t)delay * 1000), least = now_ms;
    if (t->placed && t->route->stop[stop].along_m > t->far_m)
        least += (int64_t)((t->route->stop[stop].along_m - t->far_m) / plausible_mps * 1000);
    return eta > least ? eta : least;
}

bool arrive_track_at_stop(const struct arrive_track *t, size_t stop, int64_t now_ms)
{
    int64_t reached = t->mark[stop].reached_ms;
    if (reached == 0 || !t->placed || t->here_m > t->route->stop[stop].along_m + stop_m || arrive_track_next(t) > stop + 1)
        return false;
    return stop + 1 < t->route->stops || now_ms - reached < last_stop_ms;
}

bool arrive_track_near(const struct arrive_track *t, size_t stop, int64_t now_ms)
{
    if (t->run == NULL || !t->placed || t->mark[stop].behind)
        return false;
    if (t->mark[stop].reached_ms != 0)
        return arrive_track_at_stop(t, stop, now_ms) && now_ms - t->mark[stop].reached_ms < near_ms;
    int64_t wait = arrive_track_eta_ms(t, stop, now_ms) - now_ms;
    /* parked beside the first stop long before the run it is not arriving yet */
    return wait <= near_ms || (t->route->stop[stop].along_m - t->far_m <= near_m && wait <= 5 * near_ms);
}
