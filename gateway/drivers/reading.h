/*
 * reading - a measured value of a module's register: temperature, voltage, speed of the wheels by their pulses; told when it has changed by the dead band
 * and at least every report_s. Pure.
 */
#ifndef SCHOOLWARD_READING_H
#define SCHOOLWARD_READING_H

#include "regmap.h"

struct reading { /* all-zero is a fresh one */
    bool told, based;
    int32_t last; /* thousandths of the unit, EVENT_UNKNOWN */
    int64_t tell_at_ms;
    int64_t pulses, at_ms; /* wheel speed: the register at the last step */
};

/*
 * reading_step - take what the registers hold.
 *   words    1 register at width 16, 2 at width 32; NULL: the module does not answer for it
 *   now_ms   monotonic
 *   returns  true if *ret_value is to be told: thousandths of the unit, EVENT_UNKNOWN where the sensor is broken (outside min..max) or does not answer
 */
bool reading_step(struct reading *r, const struct regmap_reading *map, const uint16_t *words, int64_t now_ms, int32_t *ret_value);

#endif
