/*
 * headcount - the head-count on the bus: when a stop is left, all sources reconciled into one event; at the end of a run, when people have confirmed
 * that nobody is left, the event that sets it to empty. Runs on the bus only: what it says travels as events (EVENT_TALLY, EVENT_ACTION), and the
 * fold of both ends (core/bus.c) goes by them. Pure.
 *
 * A run that ended is set to empty with the doors not open, and
 *   nothing speaks for a pupil left (LFT-1 not open): the rear button or the patrol tag; without such a button the attendant's button; without either
 *                                                     ten minutes
 *   LFT-1 open: rear button or tag, nothing moved since, head-count 0, and a second confirmation after that (button, attendant's or driver's card)
 * Head-count 0 is said by the doors and the cards (nobody beyond who passes no counted door, as far as the counters' drift lets it be told), by the
 * attendant's own count made after the run, or by whoever gave the second confirmation with a card of their own: a name stands for it.
 */
#ifndef SCHOOLWARD_HEADCOUNT_H
#define SCHOOLWARD_HEADCOUNT_H

#include "bus.h"

struct headcount {                       /* plain data, all-zero is a fresh one */
    int64_t stop_boarded, stop_alighted; /* bus_doors_count() when the last stop was left */
    int64_t patrol_ms, confirm_ms;       /* as told last */
    int64_t told_ms;                     /* newest EVENT_TALLY */
    uint32_t inputs;                     /* as of the step before */
    uint8_t run, open, under_way;
};

#define HEADCOUNT_OUT_MAX 5
/*
 * headcount_step - what follows from the bus as it is now.
 *   b          after the event (or tick)
 *   left_open  rules_left_open()
 *   out        events to be stored, sent and folded, with the bus's time; clock is left to the caller
 *   returns    how many
 */
size_t headcount_step(struct headcount *h, const struct bus *b, const struct duty_vehicle *v, bool left_open, struct event out[HEADCOUNT_OUT_MAX]);

/* As bus_shift(). */
void headcount_shift(struct headcount *h, int64_t by_ms);

/* What the sources come to, as an event of now; boarded and alighted since the stop before. */
struct event headcount_tally(const struct headcount *h, const struct bus *b, const struct duty_vehicle *v);

#endif
