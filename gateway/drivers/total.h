/*
 * total - persons through one door in one direction, from a counter's register that rolls over, is reset, loses power or is misread. Pure.
 */
#ifndef SCHOOLWARD_TOTAL_H
#define SCHOOLWARD_TOTAL_H

#include "regmap.h"

struct total { /* all-zero is a fresh one */
    bool based;
    int64_t raw;   /* counts at the last reading */
    int64_t at_ms; /* when it came to that: many counters publish only when the door closes, all of a stop at once */
    double rest;   /* fraction of a person not yet counted, 0..1 */
    int32_t persons;
};

#define TOTAL_BURST     2   /* persons that may pass however short the time: readings are not evenly spaced */
#define TOTAL_BURST_MAX 200 /* and however long: more than a bus holds */
#define TOTAL_MAX       1000000 /* as event_check() allows; a bus would need years */

/*
 * total_step - take a reading. A jump that no door can have let through since the last change is not added: the reading becomes the new base.
 *   raw      regmap_value()
 *   now_ms   monotonic, or wall time where the last reading was before a restart
 *   returns  enum event_count_flag: 0; EVENT_COUNT_RESET the device began again at zero; EVENT_COUNT_DOUBTFUL a jump, or persons may have been
 *            missed at the reset
 */
uint8_t total_step(struct total *t, const struct regmap_counter *map, int64_t raw, int64_t now_ms);

#endif
