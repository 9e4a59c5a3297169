#include "level.h"

bool level_step(struct level *l, const struct regmap_input *in, bool sample, int64_t now_ms)
{
    bool level = in->inverted ? !sample : sample;
    if (!l->known || level != l->candidate) {
        l->candidate = level;
        l->candidate_ms = now_ms;
    }
    int64_t wait_ms = l->candidate && (int64_t)in->press_ms > in->debounce_ms ? (int64_t)in->press_ms : in->debounce_ms;
    bool steady = !l->known || now_ms - l->candidate_ms >= wait_ms;
    l->known = true;
    if (steady && l->candidate) {
        int64_t latch_ms = (int64_t)in->latch_s * 1000;
        l->on = true;
        l->on_until_ms = now_ms + (latch_ms > in->hold_ms ? latch_ms : (int64_t)in->hold_ms);
    } else if (steady && now_ms >= l->on_until_ms) {
        l->on = false;
    }
    return l->on;
}
