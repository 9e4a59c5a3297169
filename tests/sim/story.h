/*
 * story - what happens to a planned bus in its first minutes, and a place on its route where it really can happen: every story is driven through
 * once before it is written.
 */
#ifndef SCHOOLWARD_SIM_STORY_H
#define SCHOOLWARD_SIM_STORY_H

#include "planner.h"

enum story_kind { STORY_PLAIN = 0, STORY_OVERLOAD, STORY_SPEEDING, STORY_DETOUR };

#define STORY_SOON_S 115.0 /* by then the first alarm must be due */

struct story {
    enum story_kind kind;
    double start_m;
    int aboard;
    /* detour only */
    double leave_m, rejoin_m;
    struct geo_pt *line; /* malloc */
    size_t n;
    struct scenario_happening event[SCENARIO_EVENTS_MAX];
    size_t events;
};

/*
 * story_make - find a start for a bus of `rated` persons (2 of them staff) on the route.
 *   over     STORY_OVERLOAD: persons above rated
 *   returns  RC_OK; RC_NOT_FOUND this route has no place for it
 */
enum rc story_make(const struct roads *roads, const struct planner_route *r, struct planner_random *rnd, enum story_kind kind, int rated, int over,
                   struct story *ret_story) RC_MUST_USE;
void story_release(struct story *s);

/* Add something that happens later. */
void story_add(struct story *s, enum scenario_what what, double at_s, double for_s, double value);

#endif
