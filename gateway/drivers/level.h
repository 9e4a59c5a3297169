/*
 * level - one input's level from its samples: debounced, held while it blinks, latched when it is a push button. Pure.
 */
#ifndef SCHOOLWARD_LEVEL_H
#define SCHOOLWARD_LEVEL_H

#include "regmap.h"

struct level { /* all-zero is a fresh one */
    bool known, on;          /* what is reported */
    bool candidate;          /* sampled, not yet long enough */
    int64_t candidate_ms;    /* since when */
    int64_t on_until_ms;     /* hold and latch */
};

/* level_step - take a sample; returns the level to report, on or off. The first sample counts at once. */
bool level_step(struct level *l, const struct regmap_input *in, bool sample, int64_t now_ms);

#endif
