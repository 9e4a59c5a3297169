/*
 * cab_state - what the driver's side of the bus must not forget in a power cut: who is aboard, the run, open episodes. One small file in the state
 * directory, replaced as a whole (files.h), in the layout of this build: another build's, a damaged one and one of another vehicle are not used.
 * Bytes, not events: the bus is plain data by design.
 */
#ifndef SCHOOLWARD_CAB_STATE_H
#define SCHOOLWARD_CAB_STATE_H

#include "../core/bus.h"
#include "../core/headcount.h"
#include "../core/rules.h"

#define CAB_STATE_FILE "cab.state"

struct cab_state {
    char vehicle[DUTY_ID_MAX + 1], law[32]; /* whose, and by which version of the law it was judged; "" without a duty */
    struct bus bus;
    struct rules_memory memory;
    struct headcount headcount;
};

#define CAB_STATE_BYTES (sizeof(struct cab_state) + 32)
/* The file's content; out has room for CAB_STATE_BYTES, as many are written. */
void cab_state_pack(const struct cab_state *s, unsigned char out[CAB_STATE_BYTES]);
/* RC_OK; RC_INVALID: another layout, or damaged. */
enum rc cab_state_unpack(const void *data, size_t n, struct cab_state *ret_s) RC_MUST_USE;
/* RC_OK; RC_NOT_FOUND, RC_INVALID, RC_IO, RC_NO_MEMORY with "problem" in why. */
enum rc cab_state_load(const char *dir, struct cab_state *ret_s, char *why, size_t cap) RC_MUST_USE;

/*
 * What is worth a write to the card, as a number that changes with it: the run, who is aboard when a stop is left, confirmations, a pupil left
 * behind. Not positions, not each tap.
 */
uint64_t cab_state_key(const struct cab_state *s);

#endif
