/*
 * rules - the law is arithmetic: law + duty + bus + event -> findings. No clock, no allocation, no log, no I/O. Each family is a small
 * function "is it true now, and how bad" (core/rules/); the engine alone does hold times, hysteresis, cool-down, severity rise and one active
 * episode per family and bus.
 *
 *   idle -> pending (true for on_ms) -> active -> clearing (false for off_ms) -> closed, then cool-down
 *
 * Overload (OVL-1 -> OVL-2 -> OVL-3) and speed (SPD-1 -> SPD-2 -> SPD-3) are ladders: one episode at a time whose rule, severity and points may
 * rise (RULES_RAISED, same id) and never fall. So one overload is one card on the officer's screen. The other rules stand alone.
 * Each rung has its own hold time, and counts only what was sustained over it: a spike never grades. The value told is the mildest one
 * within that time.
 *
 * Unknown is never a breach: no count, no fix, no segment, an unsure count, an unsure place are not judged. A silence longer than the law pack's
 * gap_ms breaks a stretch of time; an open episode nobody can judge for expire_ms ends when it was last seen. In the cool-down after
 * an episode only something worse opens at once, the rest waits for its end.
 *
 * With pupils aboard means: the counts are sure enough (confidence_pct of the rule) and even the lowest one exceeds the staff. A criminal lead is
 * only given with pupils aboard.
 */
#ifndef SCHOOLWARD_RULES_H
#define SCHOOLWARD_RULES_H

#include "bus.h"
#include "law.h"

#define RULES_OUT_MAX (2 * LAW_RULES) /* most findings one event can make */

enum rules_change {
    RULES_WARNED = 1, /* cab only, never stored nor sent: nearing a breach, or a breach before its hold time (bus still at the stop). RULES_OPENED
                         ends it without RULES_CALMED */
    RULES_OPENED,
    RULES_RAISED, /* worse than before: same id */
    RULES_CLOSED,
    RULES_CALMED, /* cab only: the warning is over */
};

struct rules_finding {
    uint64_t id;      /* of the episode: 64-bit FNV-1a over vehicle id, 0, first rule word of the ladder, 0, began_ms (8 bytes, lowest first), so
                         that bus and server derive the same one. 0 for RULES_WARNED and RULES_CALMED */
    uint8_t change;   /* enum rules_change */
    uint8_t rule;     /* enum law_rule */
    uint8_t severity; /* enum law_severity, worst so far */
    bool criminal_lead;
    int16_t points;         /* -1 = none in law */
    int16_t confidence_pct; /* of the leading input, -1 = not applicable */
    uint8_t sources;
    uint8_t source;                          /* rule's leading input: enum event_count_source for counts, enum bus_speed_source for speed, 0 = GNSS */
    uint32_t to;                             /* enum law_to */
    double value, limit;                     /* persons, km/h or metres: unit by rules_unit(); SOS: 1 and 0 */
    double over_pct;                         /* NAN where it means nothing */
    int64_t began_ms;                        /* first event of the breach (pending) */
    int64_t opened_ms, raised_ms, closed_ms; /* 0 = not yet. When the hold time was over, which may be before time_ms */
    int64_t time_ms;                         /* of the event that made this change */
    int32_t lat_e7, lon_e7;                  /* EVENT_UNKNOWN without a position */
    int64_t fix_ms;                          /* age of that position = time_ms - fix_ms; 0 = none */
    int32_t pupils;                          /* aboard, EVENT_UNKNOWN */
    int64_t input_ms;                        /* event time of the leading input */
};

/* The memory of one bus. Plain data: all-zero is a valid start, memcpy is a snapshot. */
enum rules_ladder {
    RULES_OVERLOAD = 0,
    RULES_DOUBT,
    RULES_SPEED,
    RULES_ROUTE,
    RULES_SOS,
    RULES_FRONT,     /* OVL-4 */
    RULES_DOOR,      /* STP-2 */
    RULES_ATTENDANT, /* ATT-1 */
    RULES_BELTS,     /* ATT-4 */
    RULES_LEFT,      /* LFT-1 */
    RULES_PATROL,    /* LFT-2 */
    RULES_SEAT,      /* DRV-1 */
    RULES_FIRE,      /* FIR-1 */
    RULES_TAMPER,    /* DEV-2 */
    RULES_BEACON,    /* LMP-1 */
    RULES_LADDERS,
};
enum rules_state { RULES_IDLE = 0, RULES_PENDING, RULES_ACTIVE, RULES_CLEARING };

#define RULES_RUNGS 6
struct rules_rung {
    uint32_t after_ms;    /* true without a break from began_ms + after_ms - 1 on; 0 = not true */
    int32_t value, limit; /* the mildest pair since then, in the family's own unit (persons, 0.01 km/h, 0.1 m) */
};
struct rules_episode {
    int64_t began_ms, seen_ms; /* first breach; newest input judged */
    int64_t clear_ms;          /* clearing since */
    int64_t opened_ms, raised_ms;
    int64_t quiet_until_ms; /* cool-down */
    double start_m;         /* the bus's moved_m at began_ms */
    int32_t value, limit;   /* as told last */
    struct rules_rung rung[RULES_RUNGS];
    int16_t points;
    uint8_t rule, severity, to, criminal; /* worst so far */
    uint8_t table;                        /* which grades the rungs were judged by */
    uint8_t quiet_severity;               /* of the episode before */
};
struct rules_memory {
    uint8_t state[RULES_LADDERS];  /* enum rules_state */
    uint8_t warned[RULES_LADDERS]; /* 1 = the cab is being warned */
    struct rules_episode episode[RULES_LADDERS];
};

/* The clock was set by by_ms, see bus_shift(): episodes go on, and get the ids that the office derives from the corrected times. */
void rules_shift(struct rules_memory *mem, int64_t by_ms);

/*
 * rules_step - judge one event that was folded into the bus just before.
 *   b        the bus after the event (also for EVENT_TICK: time passed, so hold times can end)
 *   out      room for RULES_OUT_MAX findings
 *   returns  how many were written; 0 is the usual answer
 * Cost does not depend on the number of buses or segments. Late data goes through a memory of its own.
 */
size_t rules_step(const struct law *law, const struct duty_set *set, const struct duty_vehicle *v, const struct bus *b, const struct event *e,
                  struct rules_memory *mem, struct rules_finding out[RULES_OUT_MAX]);

/*
 * The speed limit in force where the bus last was, km/h (R617 art. 35, RTSL-IR art. 45, 46, 78, 81: the limits of rule SPD-1); NAN when none can be
 * stated: no fix, off its route, or neither road class nor sign known.
 */
double rules_limit_kmh(const struct law *law, const struct duty_set *set, const struct duty_vehicle *v, const struct bus *b);

/* Which ladder a rule is a rung of. */
enum rules_ladder rules_ladder_of(enum law_rule r);

/* True while a pupil may be left in the bus and that was not cleared: the siren's word. */
bool rules_left_open(const struct rules_memory *mem);

/* "persons", "km/h", "m" or "" */
const char *rules_unit(enum law_rule r);

/*
 * rules_cites - what a finding's card quotes: the citations of its rule (of SPD-1 only those its limit can come from), then those of the grade that
 * gave the points, none twice. returns  how many were written to out
 */
#define RULES_CITES_MAX 24
size_t rules_cites(const struct law *law, const struct rules_finding *f, const struct law_cite *out[RULES_CITES_MAX]);

#endif
