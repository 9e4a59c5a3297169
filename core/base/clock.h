/*
 * clock - the only place that reads a clock. A test or a replay sets its own time by clock_set_source().
 */
#ifndef SCHOOLWARD_CLOCK_H
#define SCHOOLWARD_CLOCK_H

#include <stdint.h>
#include <time.h>

int64_t clock_wall_ms(void); /* UTC milliseconds since 1970 */
int64_t clock_mono_ms(void); /* CLOCK_MONOTONIC milliseconds; for ages, pauses and time-outs */

/* The moment in_ms from now on CLOCK_MONOTONIC, for pthread_cond_timedwait() on a condition made with that clock. */
void clock_deadline(int64_t in_ms, struct timespec *ret_t);

/* Replace both clocks (NULL: the system's again). Not thread safe: before threads start. */
void clock_set_source(int64_t (*wall)(void *), int64_t (*mono)(void *), void *arg);

/* "2026-11-23T07:12:44.250Z"; out has room for 25 bytes. */
#define CLOCK_TEXT_MAX 32
void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_MAX]);

#endif
