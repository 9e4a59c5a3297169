#include "total.h"

#include <math.h>

#include "../../core/event.h"

uint8_t total_step(struct total *t, const struct regmap_counter *map, int64_t raw, int64_t now_ms)
{
    int64_t before = t->raw, elapsed_ms = now_ms > t->at_ms ? now_ms - t->at_ms : 0;
    bool based = t->based;
    if (based && raw == before)
        return 0;
    t->based = true;
    t->raw = raw;
    t->at_ms = now_ms;
    if (!based)
        return 0;

    double limit = map->max_persons_per_s * (double)elapsed_ms / 1000.0 + TOTAL_BURST;
    if (limit > TOTAL_BURST_MAX)
        limit = TOTAL_BURST_MAX;
    double persons = (double)regmap_delta(map, before, raw) * map->scale;
    if (persons >= 0 && persons <= limit) {
        double sum = t->rest + persons;
        double whole = floor(sum + 1e-9);
        t->rest = sum > whole ? sum - whole : 0;
        if ((double)t->persons + whole <= TOTAL_MAX)
            t->persons += (int32_t)whole;
        return 0;
    }
    if (raw >= 0 && raw < before && map->power_up == REGMAP_POWER_ZERO && (double)raw * map->scale <= limit)
        return raw == 0 ? EVENT_COUNT_RESET : EVENT_COUNT_RESET | EVENT_COUNT_DOUBTFUL;
    return EVENT_COUNT_DOUBTFUL;
}
