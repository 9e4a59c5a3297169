/* Route: with pupils aboard the approved line is driven, R617 art. 30(2). Corridor figures are advice. */
#include <math.h>

#include "family.h"

static const double far_m = 20000; /* core/bus.c looks no further: told as that */

void rules_route(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_RTE_1];
    const struct bus *b = w->b;
    out->warn = RULES_WARN_OFF;
    int loaded = rules_loaded(w, t->param[LAW_RTE_1_CONFIDENCE_PCT].value);
    if (loaded == 0 || duty_permit_at(w->v, b->fix_ms) != NULL) {
        out->truth = RULES_CLEAR;
        return;
    }
    if (loaded < 0 || b->route == 0 || b->route_ms != b->fix_ms || b->route > w->set->routes)
        return;
    const struct duty_route *r = &w->set->route[b->route - 1];
    double corridor_m = r->corridor_m > 0 ? r->corridor_m : t->param[r->rural ? LAW_RTE_1_RURAL_M : LAW_RTE_1_URBAN_M].value;
    corridor_m += t->param[LAW_RTE_1_HDOP_M].value * rules_hdop(b, t->param[LAW_RTE_1_HDOP_UNKNOWN].value);
    double offset_m = fmin(b->offset_m, far_m);
    out->value = (int32_t)lround(offset_m * 10);
    out->limit = (int32_t)lround(corridor_m * 10);
    if (offset_m <= corridor_m) {
        out->truth = offset_m < corridor_m * t->param[LAW_RTE_1_CLEAR_PCT].value / 100 ? RULES_CLEAR : RULES_CALM;
        return;
    }
    out->truth = RULES_TRUE;
    struct rules_rung_now off = {.holds = true,
                                 .opens = true,
                                 .rule = LAW_RTE_1,
                                 .severity = (uint8_t)t->severity,
                                 .points = -1,
                                 .to = t->to,
                                 .hold_ms = t->on_ms,
                                 .travel_m = t->param[LAW_RTE_1_TRAVEL_M].value};
    out->rung[out->rungs++] = off;
    off.opens = false;
    off.severity = (uint8_t)t->raised_severity;
    off.to = t->raised_to;
    off.hold_ms = (int64_t)t->param[LAW_RTE_1_RAISED_AFTER_MS].value;
    out->rung[out->rungs++] = off;
    off.holds = offset_m > t->param[LAW_RTE_1_RAISED_M].value;
    off.hold_ms = (int64_t)t->param[LAW_RTE_1_RAISED_ON_MS].value;
    out->rung[out->rungs++] = off;
}
