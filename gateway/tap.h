/*
 * tap - a copy of what passes over one line, for a recording: at most one at a time, bounded memory, nothing at all while nobody listens. The lines
 * put their bytes in from their own threads, the recorder takes them out on the loop. A line is known by the name its device gives it in the
 * configuration (port = ...); gpsd's by tap_gpsd_line().
 */
#ifndef SCHOOLWARD_TAP_H
#define SCHOOLWARD_TAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/rc.h"

#define TAP_LINE_MAX 199
#define TAP_DATA_MAX 4096 /* bytes of one piece; longer ones come as several */

enum tap_kind {
    TAP_RECEIVED = 1, /* bytes */
    TAP_SENT,
    TAP_TEXT,  /* a line of text without its end */
    TAP_WORDS, /* registers of a Modbus slave, two bytes each, high one first */
    TAP_BITS,  /* its inputs or coils, one byte each */
};

struct tap_piece {
    int64_t mono_ms;
    uint16_t n, slave, address; /* slave, address: words and bits */
    uint8_t kind;
};

/* tap_start - begin with a line. RC_OK; RC_DENIED somebody records already, RC_RANGE the name is too long, RC_NO_MEMORY. */
enum rc tap_start(const char *line) RC_MUST_USE;
void tap_stop(void); /* also when there is none */
/* The oldest piece that was not taken yet; data has room for TAP_DATA_MAX bytes. False: nothing there. */
bool tap_take(struct tap_piece *ret_p, uint8_t *ret_data);
/* Bytes that found no room since tap_start(). */
uint64_t tap_lost(void);

/* For the lines. Any thread; costs one load while nothing is recorded. */
extern atomic_bool tap_on;
void tap_put_slow(const char *line, enum tap_kind kind, unsigned slave, unsigned address, const void *data, size_t n);
static inline void tap_put(const char *line, enum tap_kind kind, unsigned slave, unsigned address, const void *data, size_t n)
{
    if (atomic_load_explicit(&tap_on, memory_order_relaxed))
        tap_put_slow(line, kind, slave, address, data, n);
}

/* "gpsd:HOST:PORT"; returns as snprintf does. */
int tap_gpsd_line(const char *host, unsigned port, char *out, size_t cap);

#endif
