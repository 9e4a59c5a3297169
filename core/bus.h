/*
 * bus - one bus as folded from its events: position, counts, doors, freshness, where along its route. Plain data, no pointers into
 * anything: all-zero is a valid start, memcpy is a snapshot. The same fold runs on the bus and in the office.
 */
#ifndef SCHOOLWARD_BUS_H
#define SCHOOLWARD_BUS_H

#include "duty.h"
#include "event.h"

#define BUS_DOORS 4

struct bus {
    int64_t time_ms; /* newest event time folded in, 0 = none yet */

    /* position: the last valid fix, and the newest report whether valid or not */
    struct event_fix fix; /* meaningful when fix_ms != 0 */
    int64_t fix_ms;
    int64_t report_ms;   /* newest GNSS report of any mode */
    uint8_t report_mode; /* its mode */
    double moved_m; /* path length over valid fixes since the start, >= 0; a step below 25 m at less than 0.5 m/s adds nothing (jitter of a standing
                       receiver) */

    /* route: meaningful when route_ms == fix_ms and the bus has a route then */
    int64_t route_ms;
    double offset_m, along_m; /* from the approved line, and along it; INFINITY when further than 20 km */
    uint32_t route;           /* index into duty_set.route plus one, of the last match; 0 = none yet */

    /* persons, by source */
    struct {
        int32_t boarded, alighted; /* since zeroed */
        int64_t time_ms;           /* 0 = this door never reported */
        int64_t changed_ms;        /* when the totals last changed */
        uint8_t confidence_pct, flags;
    } door[BUS_DOORS];
    struct {
        int32_t aboard;  /* EVENT_UNKNOWN: it said that it cannot tell */
        int64_t time_ms; /* 0 = never */
        uint8_t confidence_pct, flags;
    } seen[3]; /* camera, attendant, cards: by enum event_count_source - EVENT_COUNT_CAMERA */

    uint32_t inputs, inputs_known; /* enum event_input, of the newest report: a report replaces all bits */
    uint32_t inputs_fitted;        /* every bit that was ever known */
    int64_t inputs_ms;
};

/*
 * What the counts come to. A source is current unless the door tallies changed more than 30 s after it spoke (children boarded since), or, for a
 * camera, it is silent for 10 minutes. The current source with the highest confidence leads (then attendant, doors, camera, cards).
 */
struct bus_persons {
    int32_t persons;        /* best estimate, staff included, >= 0; EVENT_UNKNOWN when nothing counts */
    int32_t least, most;    /* lowest and highest of the current sources */
    int32_t pupils;         /* persons less staff, >= 0; EVENT_UNKNOWN likewise */
    uint8_t confidence_pct; /* 0..100 of the leader; with others that agree, that they are not all wrong: 100 - (100-a)(100-b)/100 */
    uint8_t sources;        /* how many independent sources say so (equal within one person) */
    bool doubtful;          /* current sources disagree, negative tally, or a device said so */
    int64_t time_ms;        /* of the newest of the sources that say so */
    uint8_t source;         /* enum event_count_source of the leading one */
};

/*
 * bus_apply - fold one event in, in event-time order. What is older than the newest of its kind and source is ignored (the caller routes late
 * data to a judge of its own), and a second fix of the same time as well; a duplicate changes nothing. Events without a date
 * (time_ms <= 0) are ignored.
 *   set, v   may be NULL: no route is matched then
 */
void bus_apply(struct bus *b, const struct duty_set *set, const struct duty_vehicle *v, const struct event *e);

/* The clock was set by by_ms: every time in *b that is known moves with it, so that ages and hold times stay what they are. */
void bus_shift(struct bus *b, int64_t by_ms);

/* v NULL: nobody is staff. */
struct bus_persons bus_persons(const struct bus *b, const struct duty_vehicle *v);

/* 1 a door is known open, 0 all fitted doors are known closed, -1 not known. */
int bus_doors_open(const struct bus *b);

enum bus_freshness { BUS_NEVER = 0, BUS_FRESH, BUS_DELAYED, BUS_STALE, BUS_OFFLINE, BUS_NO_FIX };
struct bus_freshness_limits {
    int64_t fresh_ms, delayed_ms, stale_ms; /* defaults 30 000, 120 000, 600 000 */
};
extern const struct bus_freshness_limits bus_freshness_usual;
/* Freshness at now_ms; link_alive: something was heard from the gateway within fresh_ms; lim NULL: the defaults. States: docs/protocol.md 2. */
enum bus_freshness bus_freshness(const struct bus *b, int64_t now_ms, bool link_alive, const struct bus_freshness_limits *lim);
const char *bus_freshness_word(enum bus_freshness f);

#endif
