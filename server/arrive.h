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
    int32_t date;               /* its service day, YYYYMMDD local; 0 = none */
    int next_stop;              /* index, -1 = all passed or not running */
    int64_t next_eta_ms, next_planned_ms;
    int32_t delay_s;            /* INT32_MIN unknown */
};

/*
 * arrive_new - a record for each vehicle of the fleet; listens to it.
 *   time_zone  IANA name of the county ("Asia/Shanghai"). A server has one zone: it is set for the whole process (TZ), so call this before threads start.
 *   returns    RC_OK; RC_INVALID unknown zone (is the package tzdata installed?); RC_FULL too many listeners; RC_NO_MEMORY
 * A run is looked for from 15 minutes before its start until 15 minutes after its end plus its delay. Late data never moves anything.
 */
enum rc arrive_new(struct fleet *f, const char *time_zone, struct arrive **ret_a) RC_MUST_USE;
void arrive_free(struct arrive *a); /* NULL is fine */
struct arrive_run arrive_of(const struct arrive *a, const struct fleet_vehicle *v, int64_t now_ms);
struct arrive_stop arrive_at(const struct arrive *a, const struct fleet_vehicle *v, const char *stop_id, int64_t now_ms);

/* Once a second: runs begin and end for silent buses too, and notices are told. */
void arrive_tick(struct arrive *a, int64_t now_ms);

/*
 * Told once per run and stop, when the bus is about to arrive (at most 60 s or 200 m away, or just there) and its position is fresh. After a restart it
 * may be told again: the key makes it one notice.
 */
struct arrive_notice {
    const struct fleet_vehicle *vehicle;
    const struct duty_run *run;
    const struct duty_stop *stop;
    int32_t date;
    int64_t eta_ms, planned_ms;
};
typedef void arrive_notice_fn(void *arg, const struct arrive_notice *n);
void arrive_set_notice(struct arrive *a, arrive_notice_fn *fn, void *arg);

/* "run:20261123:vehicle:stop:arriving": key of that notice, for notify_send() and notify_made_ms(). */
#define ARRIVE_KEY_MAX 128
void arrive_key(const char *run, int32_t date, const char *vehicle, const char *stop, char out[ARRIVE_KEY_MAX]);

#endif
