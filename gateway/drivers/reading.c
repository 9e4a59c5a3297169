#include "reading.h"

#include <math.h>
#include <stdlib.h>

#define VALUE_MAX 1e8 /* as event_check() allows */

static int32_t thousandths(double v, const struct regmap_reading *map)
{
    double t = v * 1000.0;
    if (!isfinite(t) || v < map->min || v > map->max || fabs(t) > VALUE_MAX)
        return EVENT_UNKNOWN;
    return (int32_t)lround(t);
}

/* Pulses since the last step; a register that was reset shows as a speed no bus has, and is unknown once. */
static bool wheel(struct reading *r, const struct regmap_reading *map, int64_t raw, int64_t now_ms, int32_t *ret_value)
{
    int64_t elapsed_ms = now_ms - r->at_ms, range = (int64_t)1 << map->width;
    if (r->based && elapsed_ms < REGMAP_WHEEL_MS)
        return false;
    int64_t pulses = raw - r->pulses;
    bool based = r->based;
    r->based = true;
    r->pulses = raw;
    r->at_ms = now_ms;
    if (!based)
        return false;
    if (pulses < 0)
        pulses += range;
    *ret_value = thousandths((double)pulses / map->pulses_per_km * 3600000.0 / (double)elapsed_ms, map);
    return true;
}

bool reading_step(struct reading *r, const struct regmap_reading *map, const uint16_t *words, int64_t now_ms, int32_t *ret_value)
{
    int32_t v = EVENT_UNKNOWN;
    if (words == NULL) {
        r->based = false;
    } else {
        int64_t raw = regmap_number(map->order, map->width, map->is_signed, words);
        if (map->pulses_per_km > 0) {
            if (!wheel(r, map, raw, now_ms, &v))
                return false;
        } else {
            v = thousandths((double)raw * map->scale + map->offset, map);
        }
    }
    bool changed = !r->told || (v == EVENT_UNKNOWN) != (r->last == EVENT_UNKNOWN) || (v != EVENT_UNKNOWN && fabs((double)v - (double)r->last) >= map->deadband * 1000.0 && v != r->last);
    if (!changed && now_ms < r->tell_at_ms)
        return false;
    r->told = true;
    r->last = v;
    r->tell_at_ms = now_ms + (int64_t)map->report_s * 1000;
    *ret_value = v;
    return true;
}
