/*
 * planner - approved school-bus routes along real streets: a loop from a school through its quarter and back, with stops at the road side, the limits
 * of each street and a timetable that a careful driver keeps.
 */
#ifndef SCHOOLWARD_SIM_PLANNER_H
#define SCHOOLWARD_SIM_PLANNER_H

#include "../../core/duty.h"
#include "roads.h"
#include "scenario.h"

struct planner_stop {
    char id[DUTY_ID_MAX + 1];
    char name_zh[DUTY_NAME_MAX + 1], name_en[DUTY_NAME_MAX + 1];
    struct geo_pt at; /* at the kerb */
    double along_m;
    int offset_s;
    int board;
};

struct planner_segment {
    double from_m, to_m;
    int posted_kmh;
    enum duty_road road;
    double limit_kmh; /* what a driver who knows the law keeps to */
};

struct planner_route {
    char id[DUTY_ID_MAX + 1];
    char name_zh[DUTY_NAME_MAX + 1], name_en[DUTY_NAME_MAX + 1];
    struct roads_hop *hop;
    size_t hops;
    double *hop_m; /* along the line where hop i begins; hops + 1 entries */
    struct geo_pt *line;
    size_t n;
    struct planner_segment *segment;
    size_t segments;
    struct planner_stop stop[SCENARIO_STOPS_MAX];
    size_t stops;
    double length_m;
    double lap_s;                /* timetable time of a whole lap, layover at the school included */
    struct scenario_route drive; /* the same as the simulator drives it */
};

/* A small random number generator of its own, so that a seed makes the same plan everywhere (xorshift64*). */
struct planner_random {
    uint64_t state; /* not 0 */
};
double planner_uniform(struct planner_random *rnd, double low, double high);

/*
 * planner_make - one route of some 6 to 12 km.
 *   number   makes the ids and names
 *   returns  RC_OK; RC_NOT_FOUND no such loop near the school drawn: try again; RC_NO_MEMORY
 */
enum rc planner_make(const struct roads *roads, struct planner_random *rnd, unsigned number, struct planner_route *ret_route) RC_MUST_USE;
void planner_release(struct planner_route *r);

/*
 * planner_detour - streets that leave the route soon after near_m and come back further on, more than 120 m away from it somewhere in between and not
 * twice as long as what they go round.
 *   ret_line  malloc; RC_NOT_FOUND if the streets there allow none
 */
enum rc planner_detour(const struct roads *roads, const struct planner_route *r, double near_m, double *ret_leave_m, double *ret_rejoin_m,
                       struct geo_pt **ret_line, size_t *ret_n) RC_MUST_USE;

/* Timetable seconds at along_m of the first lap. */
double planner_time_at(const struct planner_route *r, double along_m);

#endif
