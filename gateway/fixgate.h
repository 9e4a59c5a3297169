/*
 * fixgate - which of the receiver's positions may be believed. Pure: events and a monotonic time in; the fix comes out with its doubts marked
 * (event_fix.doubt), and EVENT_GNSS when a fault begins and when it is over, once each. Nothing is dropped: a doubtful fix is stored and sent as it
 * came.
 *
 * Doubtful is the position of: the first two fixes after the start; a fix further from the last believed one than the bus can have driven, until
 * three in a row agree with each other (the first fix after a tunnel agrees, because time passed too); the same position to the last digit while the
 * bus drives; any while the receiver is jammed; 0 N 0 E, which is what firmware says that knows nothing. Doubtful is the speed while that by the
 * wheels differs for long. Where a trusted clock knows better, a fix is given its time.
 */
#ifndef SCHOOLWARD_FIXGATE_H
#define SCHOOLWARD_FIXGATE_H

#include "../core/event.h"
#include "../core/field.h"

#define FIXGATE_OUT_MAX 4 /* faults that one event can begin or end: frozen, jump, speed, clock; or what a driver reported */
#define FIXGATE_WINDOW  5 /* of so many fixes ... */
#define FIXGATE_BAD     3 /* ... so many are bad: a fault; so many in a row agree: believed again */

struct fixgate_options {
    int64_t frozen_s, implied_kmh, stand_m, wheel_kmh, wheel_s, clock_s, jammed_s, cold_s;
};
extern const struct field fixgate_fields[];
extern const size_t fixgate_fields_n;

/* Where the bus is when an event comes. */
struct fixgate_scene {
    int64_t mono_ms;
    int64_t clock_ms;    /* the gateway's time; used when trusted */
    uint8_t clock;       /* its quality, enum event_clock */
    bool clock_trusted;  /* by something else than this receiver: NTP */
    bool power, network; /* main power is there; the server is connected. Without either a loss of all signals may have another cause */
    bool tunnel;         /* on a part of its route where no signal is expected */
};

struct fixgate {            /* all-zero is a fresh one */
    bool started, believed; /* a fix came; one was believed */
    int64_t first_mono_ms;
    struct fixgate_at {
        int32_t lat_e7, lon_e7;
        int64_t time_ms, mono_ms; /* time_ms 0: not the receiver's */
    } ref, next, last;            /* last believed, candidate after a jump, last of any kind */
    int agree;                    /* fixes that followed `next` in agreement, itself included */
    uint8_t bad, off;             /* the last FIXGATE_WINDOW fixes, newest in bit 0: not where it can be, not of this time */
    int64_t same_ms;              /* driven at `last` without leaving it */
    int moves;                    /* positions in a row that changed since it was frozen */
    int32_t wheel_mkmh;
    int64_t wheel_mono_ms, rolled_mono_ms; /* last wheel speed, last one above 0; 0 = never */
    int64_t apart_mono_ms, near_mono_ms;   /* since when the speeds are apart, and near again; 0 = they are not */
    int64_t fell_mono_ms;                  /* since when the signals are gone, 0 = they are there */
    int32_t fell_db;
    bool open[EVENT_GNSS_LAST + 1];
};

/*
 * fixgate_take - one event of the bus.
 *   e          a fix is marked and, where its time is wrong, given another; an EVENT_GNSS of a driver is a hint and not to be passed on;
 * EVENT_READING tells the wheels' speed; all others are left alone out        faults that begin or end with it, FIXGATE_OUT_MAX of room, to be stored
 * before e; without a time returns    how many
 */
size_t fixgate_take(struct fixgate *g, const struct fixgate_options *o, const struct fixgate_scene *now, struct event *e,
                    struct event out[FIXGATE_OUT_MAX]);

/* fixgate_tick - the same for time that passes, at least once a second: a jammed receiver says nothing at all. Returns 0 or 1. */
size_t fixgate_tick(struct fixgate *g, const struct fixgate_options *o, const struct fixgate_scene *now, struct event out[1]);

#endif
