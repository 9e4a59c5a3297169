/*
 * bus - one bus as folded from its events: position, counts, doors, freshness, where along its route. Plain data, no pointers into
 * anything: all-zero is a valid start, memcpy is a snapshot. The same fold runs on the bus and in the office.
 */
#ifndef SCHOOLWARD_BUS_H
#define SCHOOLWARD_BUS_H

#include "duty.h"
#include "event.h"

#define BUS_DOORS     4
#define BUS_CARDS_MAX 100 /* pupils whose cards are aboard; more are not told apart */
#define BUS_STAFF_MAX 4

/*
 * A run from the first movement until the head-count was set to empty.
 *   idle --(16 km/h, or 250 m driven)--> on --(ignition known off, standing)--> ended --(EVENT_TALLY zeroed)--> idle
 *                                         on <--(driven again with the ignition on)-- ended
 * A bus without an ignition input never ends a run here, so nothing is judged that belongs to the end.
 */
enum bus_run { BUS_RUN_IDLE = 0, BUS_RUN_ON, BUS_RUN_ENDED };

struct bus {
    int64_t time_ms; /* newest event time folded in, 0 = none yet */

    /* position: the last valid fix, and the newest report whether valid or not */
    struct event_fix fix; /* meaningful when fix_ms != 0 */
    int64_t fix_ms;
    int64_t report_ms;   /* newest GNSS report of any mode */
    uint8_t report_mode; /* its mode; EVENT_FIX_NONE when its position is doubtful */
    int32_t wheel_mmps;  /* speed by the wheels, as of wheel_ms */
    int64_t wheel_ms;    /* 0 = no sensor, or it does not answer */
    double moved_m; /* path length over valid fixes since the start, >= 0; a step below 25 m at less than 0.5 m/s adds nothing (jitter of a standing
                       receiver) */

    /* route: meaningful when route_ms == fix_ms and the bus has a route then */
    int64_t route_ms;
    double offset_m, along_m; /* from the approved line, and along it; INFINITY when further than 20 km */
    uint32_t route;           /* index into duty_set.route plus one, of the last match; 0 = none yet */

    /* persons, by source */
    struct {
        int32_t boarded, alighted;           /* as its counter says */
        int32_t base_boarded, base_alighted; /* what it said when the head-count was set to empty: drift does not add up over runs */
        int64_t time_ms;                     /* 0 = this door never reported */
        int64_t changed_ms;                  /* when the totals last changed */
        uint8_t confidence_pct, flags;
        uint8_t booted; /* 1 = the gateway started since: its counter may have forgotten its totals */
    } door[BUS_DOORS];
    struct {
        int32_t aboard;  /* EVENT_UNKNOWN: it said that it cannot tell */
        int64_t time_ms; /* 0 = never */
        uint8_t confidence_pct, flags;
    } seen[3]; /* camera, attendant, cards: by enum event_count_source - EVENT_COUNT_CAMERA */

    uint32_t inputs, inputs_known; /* enum event_input, of the newest report: a report replaces all bits */
    uint32_t inputs_fitted;        /* every bit that was ever known */
    int64_t inputs_ms;

    /* cards; all of this run */
    uint64_t pupil[BUS_CARDS_MAX]; /* hashes aboard, in the order they came */
    uint64_t staff[BUS_STAFF_MAX]; /* attendants aboard */
    uint16_t pupils;
    uint8_t staffs;
    uint8_t cards_down;   /* 1 = the reader said it cannot read */
    int64_t card_ms;      /* newest card of any kind: the reader reads; 0 = none yet */
    int64_t pupil_ms;     /* newest pupil's card */
    int64_t attendant_ms; /* newest sign of an attendant: card, own count, button */

    /* the run */
    uint8_t run;          /* enum bus_run */
    uint8_t fast_fixes;   /* valid fixes in a row above 5 km/h, at most 2: one may be a jump */
    uint8_t under_way;    /* 1 = it left the stop and no door was opened at a standstill since */
    uint8_t end_opens;    /* how often a door was opened after the run ended; open then counts as once */
    double idle_m;        /* moved_m when the run before was over */
    int64_t run_ms;       /* when `run` changed, 0 = never */
    int64_t door_ms;      /* when a door contact changed last */
    int64_t patrol_ms;    /* rear button or patrol tag after the end, 0 = not yet */
    int64_t confirm_ms;   /* second confirmation after that, 0 = not yet */
    uint8_t confirm_kind; /* enum event_card_kind of who, 0 = button */
    int64_t motion_ms;    /* something moved in the shut bus after its people had left, 0 = nothing did */

    /* readings and faults that rules need */
    int32_t cabin_mc; /* cabin temperature, thousandths of a degree, EVENT_UNKNOWN or cabin_ms 0: not known */
    int64_t cabin_ms;
    uint8_t antenna_bad; /* the receiver says open or short */
    uint8_t antenna_seen;

    /* what the door counters were found to miss at the ends of runs, when the bus was known empty */
    uint16_t drift_pm; /* of the persons boarded, per mille */
    uint8_t drift_runs;
};

/*
 * What the counts come to. A source is current unless the door tallies changed more than 30 s after it spoke (children boarded since), or, for a
 * camera, it is silent for 10 minutes. The current source with the highest confidence leads (then attendant, doors, camera, cards).
 */
struct bus_persons {
    int32_t persons;        /* best estimate, staff included, >= 0; EVENT_UNKNOWN when nothing counts */
    int32_t least, most;    /* lowest and highest of the current sources */
    int32_t pupils;         /* persons less staff, >= 0; EVENT_UNKNOWN likewise */
    uint8_t confidence_pct; /* 0..100 of the leader; with others that agree, that they are not all wrong: 100 - (100-a)(100-b)/100. Door counters
                               with a known drift are believed less: 100 less twice the drift in per cent */
    uint8_t sources;        /* how many independent sources say so (equal within one person and their margins) */
    int32_t margin;         /* persons by which `persons` may be off as the counters' drift goes; 0 while none was found */
    bool doubtful;          /* current sources disagree, negative tally, or a device said so */
    int64_t time_ms;        /* of the newest of the sources that say so */
    uint8_t source;         /* enum event_count_source of the leading one */
    uint8_t current;        /* bits 1 << enum event_count_source of all that are current */
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

/* Persons counted in and out at the doors since the head-count was last empty; false: no door counter. */
bool bus_doors_count(const struct bus *b, int64_t *ret_boarded, int64_t *ret_alighted);

/* Is this pupil's card aboard? */
bool bus_card_aboard(const struct bus *b, uint64_t hash);

enum bus_speed_source { BUS_SPEED_NONE = 0, BUS_SPEED_GNSS, BUS_SPEED_WHEEL };
struct bus_speed {
    int32_t mmps;   /* >= 0; EVENT_UNKNOWN with BUS_SPEED_NONE */
    uint8_t source; /* enum bus_speed_source */
};
#define BUS_WHEEL_MS 3000 /* a wheel speed holds so long */
/*
 * The speed at the newest fix: by the wheels where a sensor spoke within BUS_WHEEL_MS of it, because a GNSS receiver may be 2 m/s off (JT/T 794);
 * else over ground. None while both are apart for long, see EVENT_GNSS_SPEED: one of them is wrong, nobody knows which.
 */
struct bus_speed bus_speed(const struct bus *b);

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
