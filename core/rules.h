/*
 * rules - the law is arithmetic: law + duty + bus + event -> findings. No clock, no allocation, no log, no I/O. Each family is a small
 * function "is it true now, and how bad" (core/rules/); the engine alone does hold times, hysteresis, cool-down, severity rise and one active
 * episode per rule and bus.
 *
 *   idle -> pending (true for on_ms) -> active -> clearing (false for off_ms) -> closed, then cool-down
 */
#ifndef SCHOOLWARD_RULES_H
#define SCHOOLWARD_RULES_H

#include "bus.h"
#include "law.h"

#define RULES_OUT_MAX (2 * LAW_RULES) /* most findings one event can make */

enum rules_change {
    RULES_WARNED = 1, /* cab only: nearing a breach, or a breach before its hold time (bus still at the stop); never stored nor sent */
    RULES_OPENED,
    RULES_RAISED, /* worse than before: same id */
    RULES_CLOSED,
    RULES_CALMED, /* cab only: the warning is over */
};

struct rules_finding {
    uint64_t id; /* of the episode: from vehicle id, rule and began_ms, so that bus and server derive the same one */
    uint8_t change;   /* enum rules_change */
    uint8_t rule;     /* enum law_rule */
    uint8_t severity; /* enum law_severity, worst so far */
    bool criminal_lead;
    int16_t points;     /* -1 = none in law */
    int16_t confidence_pct; /* of the leading input, -1 = not applicable */
    uint8_t sources;
    uint8_t source;     /* rule's leading input: enum event_count_source for counts, 0 = GNSS */
    uint32_t to;        /* enum law_to */
    double value, limit; /* persons, km/h or metres: unit by rules_unit() */
    double over_pct;    /* NAN where it means nothing */
    int64_t began_ms;   /* first event of the breach (pending) */
    int64_t opened_ms, raised_ms, closed_ms; /* 0 = not yet */
    int64_t time_ms;    /* of the event that made this change */
    int32_t lat_e7, lon_e7; /* EVENT_UNKNOWN without a position */
    int64_t fix_ms;     /* age of that position = time_ms - fix_ms; 0 = none */
    int32_t pupils;     /* aboard, EVENT_UNKNOWN */
    int64_t input_ms;   /* event time of the leading input */
};

/* The memory of one bus. Plain data: all-zero is a valid start, memcpy is a snapshot. */
struct rules_episode {
    int64_t began_ms, since_ms, opened_ms, raised_ms, quiet_until_ms;
    double worst, sustained, start_m; /* rule's own measure: worst value, minimum over the hold time, odometer at began */
    int32_t lat_e7, lon_e7;
    int16_t points;
    uint8_t state, severity, criminal, warned;
};
struct rules_memory {
    struct rules_episode episode[LAW_RULES];
};

/*
 * rules_step - judge one event that was folded into the bus just before.
 *   b        the bus after the event (also for EVENT_TICK: time passed, so hold times can end)
 *   out      room for RULES_OUT_MAX findings
 *   returns  how many were written; 0 is the usual answer
 * Cost does not depend on the number of buses or segments. Late data goes through a memory of its own.
 */
size_t rules_step(const struct law *law, const struct duty_set *set, const struct duty_vehicle *v, const struct bus *b, const struct event *e,
                  struct rules_memory *mem, struct rules_finding out[RULES_OUT_MAX]);

/* The speed limit in force for this bus now, km/h (regulation R617 art. 35, RTSL-IR art. 45, 46, 78, 81); NAN when none can be stated. */
double rules_limit_kmh(const struct law *law, const struct duty_set *set, const struct duty_vehicle *v, const struct bus *b);

/* "persons", "km/h", "m" or "" */
const char *rules_unit(enum law_rule r);

#endif
