#include "story.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/event.h"
#include "ride.h"

#define STAFF  2
#define STEP_S 0.5

void story_add(struct story *s, enum scenario_what what, double at_s, double for_s, double value)
{
    if (s->events < SCENARIO_EVENTS_MAX)
        s->event[s->events++] = (struct scenario_happening){what, at_s, for_s, value};
}

static struct scenario_bus bus_of(const struct planner_route *r, const struct story *s, int rated)
{
    struct scenario_bus b = {
        .route = &r->drive, .start_m = s->start_m, .aboard = s->aboard, .rated = rated, .staff = STAFF, .staff_counted = STAFF - 1};
    memcpy(b.event, s->event, sizeof b.event);
    b.events = s->events;
    return b;
}

/* Doors closed and too many aboard for long enough: the law's longest hold time is 45 s, with one counter only. */
static bool overload_shows(const struct scenario_bus *b)
{
    struct ride ride;
    double held_s = 0, best_s = 0;
    for (ride_begin(&ride, b); ride.t_s < STORY_SOON_S;) {
        ride_step(&ride, STEP_S);
        bool over = ride.pupils + b->staff > b->rated && !(ride.inputs & EVENT_IN_DOORS);
        held_s = over ? held_s + STEP_S : 0;
        best_s = fmax(best_s, held_s);
    }
    return best_s >= 50;
}

static double limit_at(const struct planner_route *r, double along_m)
{
    for (size_t i = 0; i < r->segments; i++)
        if (along_m < r->segment[i].to_m)
            return r->segment[i].limit_kmh;
    return 30;
}

/* Clearly above the limit for longer than the law's 10 s. */
static bool speeding_shows(const struct planner_route *r, const struct scenario_bus *b)
{
    struct ride ride;
    double held_s = 0, best_s = 0;
    for (ride_begin(&ride, b); ride.t_s < STORY_SOON_S - 15;) {
        ride_step(&ride, STEP_S);
        held_s = ride.v_mps * 3.6 > limit_at(r, ride.along_m) + 6 ? held_s + STEP_S : 0;
        best_s = fmax(best_s, held_s);
    }
    return best_s >= 16;
}

/* Far enough from the route for the law's 60 s and 200 m. */
static bool detour_shows(const struct planner_route *r, const struct scenario_bus *b)
{
    struct ride ride;
    double held_s = 0, best_s = 0, held_from_m = 0;
    for (ride_begin(&ride, b); ride.t_s < STORY_SOON_S;) {
        ride_step(&ride, STEP_S);
        bool off = geo_offset_m(r->line, r->n, ride.at) > 85;
        if (!off)
            held_from_m = ride.along_m;
        held_s = off && ride.along_m - held_from_m > 0 ? held_s + STEP_S : 0;
        if (off && ride.along_m - held_from_m > 250)
            best_s = fmax(best_s, held_s);
    }
    return best_s >= 66;
}

static bool try_overload(const struct planner_route *r, struct planner_random *rnd, int rated, struct story *s)
{
    size_t k = 1 + (size_t)planner_uniform(rnd, 0, (double)r->stops - 3);
    s->start_m = r->stop[k].along_m - planner_uniform(rnd, 60, 140);
    s->aboard = rated - STAFF - 3;
    if (s->start_m < 20)
        return false;
    struct scenario_bus b = bus_of(r, s, rated);
    return overload_shows(&b);
}

static bool try_speeding(const struct planner_route *r, struct planner_random *rnd, int rated, struct story *s)
{
    s->start_m = planner_uniform(rnd, 20, r->length_m - 1500);
    s->aboard = rated / 2;
    struct scenario_bus b = bus_of(r, s, rated);
    return speeding_shows(r, &b);
}

static bool try_detour(const struct roads *roads, const struct planner_route *r, struct planner_random *rnd, int rated, struct story *s)
{
    double near_m = planner_uniform(rnd, 200, r->length_m - 2500);
    if (near_m <= 0 || planner_detour(roads, r, near_m, &s->leave_m, &s->rejoin_m, &s->line, &s->n) != RC_OK)
        return false;
    s->start_m = s->leave_m - planner_uniform(rnd, 40, 90);
    s->aboard = rated / 3;
    struct scenario_bus b = bus_of(r, s, rated);
    bool good = s->start_m > 20 && scenario_detour(&r->drive, s->leave_m, s->rejoin_m, s->line, s->n, &b.detour, b.detour_board) == RC_OK &&
                b.detour->stops >= 2 && detour_shows(r, &b);
    path_free(b.detour);
    if (!good) {
        free(s->line);
        s->line = NULL;
    }
    return good;
}

enum rc story_make(const struct roads *roads, const struct planner_route *r, struct planner_random *rnd, enum story_kind kind, int rated, int over,
                   struct story *ret_story)
{
    struct story s = {.kind = kind};
    if (kind == STORY_OVERLOAD)
        story_add(&s, SCENARIO_OVERLOAD, 0, 100, over);
    if (kind == STORY_SPEEDING)
        story_add(&s, SCENARIO_SPEEDING, 5, 85, 0);
    for (int tries = 0; tries < 40; tries++) {
        bool good = false;
        switch (kind) {
        case STORY_PLAIN:
            s.start_m = planner_uniform(rnd, 20, r->length_m - 600);
            s.aboard = (int)(rated * 0.6 * s.start_m / r->length_m);
            good = true;
            break;
        case STORY_OVERLOAD: good = try_overload(r, rnd, rated, &s); break;
        case STORY_SPEEDING: good = try_speeding(r, rnd, rated, &s); break;
        case STORY_DETOUR: good = try_detour(roads, r, rnd, rated, &s); break;
        }
        if (good) {
            *ret_story = s;
            return RC_OK;
        }
    }
    return RC_NOT_FOUND;
}

void story_release(struct story *s)
{
    free(s->line);
    s->line = NULL;
}
