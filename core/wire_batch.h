/*
 * wire_batch - batches as own code takes them apart and puts them together; the inside of wire.c.
 */
#ifndef SCHOOLWARD_WIRE_BATCH_H
#define SCHOOLWARD_WIRE_BATCH_H

#include "wire.h"

#define WIRE_BATCH_TAG (1 << 3 | 2) /* first byte of a frame that is a batch: field 1, length-delimited */

/* As wire_decode(), for a frame that begins with WIRE_BATCH_TAG. */
enum rc wire_batch_decode(const void *buf, size_t n, struct wire_frame *f, const char **ret_fault) RC_MUST_USE;

/* Quality of times on the wire counts from the trusted one, so that the usual case costs no byte. v must be at most EVENT_CLOCK_GNSS. */
static inline uint8_t wire_clock_in(uint64_t v)
{
    return v == 0 ? EVENT_CLOCK_GNSS : (uint8_t)(v - 1);
}

static inline uint32_t wire_clock_out(uint8_t clock)
{
    return clock == EVENT_CLOCK_GNSS ? 0 : clock + 1U;
}

#endif
