/*
 * arrive - where along the route, when at the stop: which run a bus is on, stops passed with their times, delay against the schedule, and the estimate for
 * the stops ahead (planned time + current delay, floored by the distance left at a plausible speed). One arrival notice per run and link.
 */
#ifndef SCHOOLWARD_ARRIVE_H
#define SCHOOLWARD_ARRIVE_H

#include "fleet.h"

struct arrive;

enum arrive_state { ARRIVE_NOT_RUNNING = 0, ARRIVE_COMING, ARRIVE_ARRIVING, ARRIVE_AT_STOP, ARRIVE_PASSED, ARRIVE_NO_SIGNAL };
const char *arrive_state_word(enum arrive_state s); /* as ParentView.state */

struct arrive_stop {
    enum arrive_state state;
    int stops_away;              /* 0 = it is the next one; -1 unknown */
    int64_t planned_ms, eta_ms;  /* 0 = not known */
    int64_t passed_ms;           /* 0 = not yet */
};
struct arrive_run {
    const struct duty_run *run; /* NULL: not on a run */
    int64_t starts_ms;          /* planned start */
    int next_stop;              /* index, -1 = all passed or not running */
    int64_t next_eta_ms, next_planned_ms;
    int32_t delay_s;            /* INT32_MIN unknown */
};

enum rc arrive_new(struct fleet *f, const char *time_zone, struct arrive **ret_a) RC_MUST_USE; /* listens to the fleet; RC_INVALID unknown zone */
void arrive_free(struct arrive *a);
struct arrive_run arrive_of(const struct arrive *a, const struct fleet_vehicle *v, int64_t now_ms);
struct arrive_stop arrive_at(const struct arrive *a, const struct fleet_vehicle *v, const char *stop_id, int64_t now_ms);

#endif
