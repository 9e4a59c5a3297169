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
    struct event_fix fix;   /* meaningful when fix_ms != 0 */
    int64_t fix_ms;
    int64_t report_ms;      /* newest GNSS report of any mode */
    uint8_t report_mode;    /* its mode */
    double moved_m;         /* path length over valid fixes since the start, >= 0 */

    /* route: meaningful when route_ms == fix_ms and the bus has a route then */
    int64_t route_ms;
    double offset_m, along_m; /* from the approved line, and along it; INFINITY when further than 20 km */

    /* persons, by source */
    struct {
        int32_t boarded, alighted; /* since zeroed */
        int64_t time_ms;           /* 0 = this door never reported */
        uint8_t confidence_pct, flags;
    } door[BUS_DOORS];
    struct {
        int32_t aboard;
        int64_t time_ms; /* 0 = never */
        uint8_t confidence_pct;
    } seen[3];           /* camera, attendant, cards: by enum event_count_source - EVENT_COUNT_CAMERA */

    uint32_t inputs, inputs_known; /* enum event_input */
    int64_t inputs_ms;
};

/* What the counts come to. */
struct bus_persons {
    int32_t persons;        /* best estimate, staff included, >= 0; EVENT_UNKNOWN when nothing counts */
    int32_t pupils;         /* persons less staff, >= 0; EVENT_UNKNOWN likewise */
    uint8_t confidence_pct; /* 0..100 */
    uint8_t sources;        /* how many independent sources say so (equal within one person) */
    bool doubtful;          /* sources disagree, negative tally, or a device said so */
    int64_t time_ms;        /* of the newest source used */
    uint8_t source;         /* enum event_count_source of the leading one */
};

/*
 * bus_apply - fold one event in, in event-time order. A fix older than the newest one folded is ignored (the caller routes late data to
 * a judge of its own); a duplicate changes nothing.
 */
void bus_apply(struct bus *b, const struct duty_set *set, const struct duty_vehicle *v, const struct event *e);

struct bus_persons bus_persons(const struct bus *b, const struct duty_vehicle *v);

/* 1 a door is known open, 0 all fitted doors are known closed, -1 not known. */
int bus_doors_open(const struct bus *b);

enum bus_freshness { BUS_NEVER = 0, BUS_FRESH, BUS_DELAYED, BUS_STALE, BUS_OFFLINE, BUS_NO_FIX };
struct bus_freshness_limits {
    int64_t fresh_ms, delayed_ms, stale_ms; /* defaults 30 000, 120 000, 600 000 */
};
/* Freshness at now_ms; link_alive: something was heard from the gateway within fresh_ms. States: docs/protocol.md 2. */
enum bus_freshness bus_freshness(const struct bus *b, int64_t now_ms, bool link_alive, const struct bus_freshness_limits *lim);
const char *bus_freshness_word(enum bus_freshness f);

#endif
