/*
 * fixpick - which of gpsd's reports become fixes, and at which time. Pure: reports in, at most one fix per receiver time out.
 *
 * A receiver cycle yields two to six reports of the same time, the first ones incomplete (no speed before RMC, no height before GGA). The most
 * complete one is kept until a report of another time comes, or settle_ms have passed and it says all, or patience_ms: gpsd makes up a speed for the
 * first report from positions alone, which may be wrong by tens of metres per second (seen: 33.4 m/s where the receiver then said 0.13). A report without a time belongs to nobody's second: without a
 * fix it is passed on at most once a second; with one only if the receiver has given no time for UNTIMED_MS, then by the gateway's clock.
 */
#ifndef SCHOOLWARD_FIXPICK_H
#define SCHOOLWARD_FIXPICK_H

#include "../../core/event.h"

#define FIXPICK_UNTIMED_MS 5000
#define FIXPICK_WEEKS_MS   INT64_C(619315200000) /* 1024 weeks: the range of the 10-bit week number */
#define FIXPICK_SEEN       8 /* times given out that are remembered: a receiver's clock may step back a little */

struct fixpick_setup {
    bool repair;           /* undo a wrong 1024-week epoch, see fixpick_time() */
    int64_t settle_ms, patience_ms; /* see above */
};

struct fixpick { /* all-zero is a fresh one */
    bool waiting;
    struct event kept;     /* the best of the time being collected */
    int64_t kept_mono_ms;  /* when its first report came */
    int64_t kept_time_ms;  /* as the receiver gave it */
    int64_t seen_ms[FIXPICK_SEEN];
    int64_t told_ms[FIXPICK_SEEN]; /* the same ones as they were given on, their week repaired */
    unsigned seen_at;
    bool untimed;          /* reports came without a time since untimed_mono_ms */
    int64_t untimed_mono_ms, untimed_told_ms;
};

struct fixpick_report {
    int64_t time_ms; /* receiver's, 0 = none given */
    struct event_fix fix;
};

/*
 * fixpick_time - what the receiver's time is worth.
 *   receiver_ms  its time; wall_ms, plausible  the system's, and whether that can be believed (after 2024)
 *   returns      the time to use. With repair: receivers and gpsd count weeks modulo 1024 and may be whole periods off; when the system's clock is
 *                plausible and a shift by k periods lands within a day of it, that is the time. Otherwise the receiver's own.
 */
int64_t fixpick_time(int64_t receiver_ms, int64_t wall_ms, bool repair);

/* fixpick_take - one report. Returns 1 when an event is ready in *ret (of an earlier time, or one without a time), else 0. Its time_ms 0 = now. */
int fixpick_take(struct fixpick *p, const struct fixpick_setup *s, const struct fixpick_report *r, int64_t wall_ms, int64_t mono_ms, struct event *ret);

/* fixpick_due - give out what has waited long enough (or, with all, whatever waits). Returns 0 or 1; *ret_next_ms: when to ask again, -1 = not needed. */
int fixpick_due(struct fixpick *p, const struct fixpick_setup *s, int64_t mono_ms, bool all, struct event *ret, int64_t *ret_next_ms);

#endif
