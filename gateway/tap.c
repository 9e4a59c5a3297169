#include "tap.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"

#define RING_BYTES 131072 /* a camera at 115,200 bit/s for ten seconds */

atomic_bool tap_on;

static struct {
    pthread_mutex_t lock;
    char line[TAP_LINE_MAX + 1];
    uint8_t *ring; /* pieces, each followed by its bytes */
    size_t at, n;
    uint64_t lost;
} tap = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum rc tap_start(const char *line)
{
    if (strlen(line) > TAP_LINE_MAX)
        return RC_RANGE;
    enum rc rc = RC_OK;
    pthread_mutex_lock(&tap.lock);
    if (tap.ring != NULL) {
        rc = RC_DENIED;
    } else {
        tap.ring = malloc(RING_BYTES);
        rc = tap.ring != NULL ? RC_OK : RC_NO_MEMORY;
        tap.at = tap.n = 0;
        tap.lost = 0;
        snprintf(tap.line, sizeof tap.line, "%s", line);
        atomic_store(&tap_on, rc == RC_OK);
    }
    pthread_mutex_unlock(&tap.lock);
    return rc;
}

void tap_stop(void)
{
    pthread_mutex_lock(&tap.lock);
    atomic_store(&tap_on, false);
    if (tap.ring != NULL)
        explicit_bzero(tap.ring, RING_BYTES);
    free(tap.ring);
    tap.ring = NULL;
    pthread_mutex_unlock(&tap.lock);
}

static void ring_in(const void *data, size_t n)
{
    const uint8_t *from = data;
    size_t to = (tap.at + tap.n) % RING_BYTES, first = n < RING_BYTES - to ? n : RING_BYTES - to;
    memcpy(tap.ring + to, from, first);
    memcpy(tap.ring, from + first, n - first);
    tap.n += n;
}

static void ring_out(void *data, size_t n)
{
    uint8_t *to = data;
    size_t first = n < RING_BYTES - tap.at ? n : RING_BYTES - tap.at;
    memcpy(to, tap.ring + tap.at, first);
    memcpy(to + first, tap.ring, n - first);
    tap.at = (tap.at + n) % RING_BYTES;
    tap.n -= n;
}

bool tap_take(struct tap_piece *ret_p, uint8_t *ret_data)
{
    pthread_mutex_lock(&tap.lock);
    bool any = tap.ring != NULL && tap.n > 0;
    if (any) {
        ring_out(ret_p, sizeof *ret_p);
        ring_out(ret_data, ret_p->n);
    }
    pthread_mutex_unlock(&tap.lock);
    return any;
}

uint64_t tap_lost(void)
{
    pthread_mutex_lock(&tap.lock);
    uint64_t lost = tap.lost;
    pthread_mutex_unlock(&tap.lock);
    return lost;
}

void tap_put_slow(const char *line, enum tap_kind kind, unsigned slave, unsigned address, const void *data, size_t n)
{
    const uint8_t *from = data;
    pthread_mutex_lock(&tap.lock);
    for (bool ours = tap.ring != NULL && strcmp(line, tap.line) == 0; ours && n > 0;) {
        size_t part = n < TAP_DATA_MAX ? n : TAP_DATA_MAX;
        struct tap_piece p = {
            .mono_ms = clock_mono_ms(), .n = (uint16_t)part, .slave = (uint16_t)slave, .address = (uint16_t)address, .kind = (uint8_t)kind};
        if (tap.n + sizeof p + part > RING_BYTES) {
            tap.lost += n;
            break;
        }
        ring_in(&p, sizeof p);
        ring_in(from, part);
        from += part;
        n -= part;
        address += (unsigned)(kind == TAP_WORDS ? part / 2 : part);
    }
    pthread_mutex_unlock(&tap.lock);
}

int tap_gpsd_line(const char *host, unsigned port, char *out, size_t cap)
{
    return snprintf(out, cap, "gpsd:%s:%u", host, port);
}
