/* While the bus drives: door open, belts, the seat beside the driver, the beacon. */
#include <math.h>

#include "family.h"

/* STP-2: a door is open and the bus drives. RTSL-IR art. 62(1), 63(4). Judged at fixes: one fix never opens it. */
void rules_open_door(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_STP_2];
    const struct bus *b = w->b;
    out->warn = RULES_WARN_OFF;
    int open = bus_doors_open(b);
    if (open == 0) {
        out->truth = RULES_CLEAR;
        return;
    }
    struct bus_speed speed = bus_speed(b);
    bool rough = rules_hdop(b, 0) > t->param[LAW_STP_2_HDOP_MAX].value;
    if (open < 0 || speed.source == BUS_SPEED_NONE || (speed.source == BUS_SPEED_GNSS && rough))
        return;
    double kmh = speed.mmps * 0.0036, moving_kmh = t->param[LAW_STP_2_MOVING_KMH].value;
    if (kmh <= moving_kmh) {
        out->truth = RULES_CALM; /* over when the door is shut, not when the bus stops with it open */
        return;
    }
    rules_true(out, LAW_STP_2, t);
    out->value = (int32_t)lround(kmh * 100);
    out->limit = (int32_t)lround(moving_kmh * 100);
    struct rules_rung_now fast = out->rung[0];
    fast.holds = kmh > t->param[LAW_STP_2_FAST_KMH].value;
    fast.hold_ms = (int64_t)t->param[LAW_STP_2_FAST_ON_MS].value;
    out->rung[out->rungs++] = fast;
    bool loaded = rules_loaded(w, t->param[LAW_STP_2_CONFIDENCE_PCT].value) == 1;
    for (size_t i = 0; i < 2; i++) { /* with pupils aboard, likewise: worse */
        struct rules_rung_now worse = out->rung[i];
        worse.holds = worse.holds && loaded;
        worse.severity = (uint8_t)t->raised_severity;
        worse.to = t->raised_to;
        out->rung[out->rungs++] = worse;
    }
}

/* ATT-4: somebody at an occupied seat, or the driver, drives with an open belt. R617 art. 39(4); RTSL art. 51. */
void rules_belts(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_ATT_4];
    struct bus_speed speed = bus_speed(w->b);
    out->warn = RULES_WARN_OFF;
    int pupils = rules_input(w, EVENT_IN_BELTS), driver = rules_input(w, EVENT_IN_DRIVER_BELT);
    if (speed.source == BUS_SPEED_NONE || (pupils < 0 && driver < 0))
        return;
    int loaded = rules_loaded(w, t->param[LAW_ATT_4_CONFIDENCE_PCT].value);
    bool moving = speed.mmps * 0.0036 > t->param[LAW_ATT_4_MOVING_KMH].value;
    if (moving && (driver == 1 || (pupils == 1 && loaded == 1)))
        rules_true(out, LAW_ATT_4, t);
    else if (!moving || pupils != 1 || loaded == 0)
        out->truth = RULES_CLEAR;
}

/* OVL-4: somebody sits beside the driver on a run with pupils. R617 art. 40. A duty may say that the seat is the attendant's. */
void rules_front_seat(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_OVL_4];
    out->warn = RULES_WARN_OFF;
    int taken = rules_input(w, EVENT_IN_FRONT_SEAT);
    if (taken < 0)
        return;
    int loaded = rules_loaded(w, t->param[LAW_OVL_4_CONFIDENCE_PCT].value);
    if (taken == 0 || loaded == 0 || w->v->front_seat_staff)
        out->truth = RULES_CLEAR;
    else if (loaded == 1 && w->b->under_way)
        rules_true(out, LAW_OVL_4, t);
    else if (loaded == 1)
        out->truth = RULES_CALM;
}

/* LMP-1: with pupils the beacon is lit; without, neither it nor the stop arm is shown. R617 art. 30, 17. */
void rules_beacon(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_LMP_1];
    out->warn = RULES_WARN_OFF;
    int lit = rules_input(w, EVENT_IN_BEACON), arm = rules_input(w, EVENT_IN_STOP_ARM);
    if (lit < 0 && arm != 1)
        return;
    int loaded = rules_loaded(w, t->param[LAW_LMP_1_CONFIDENCE_PCT].value);
    if (loaded < 0)
        return;
    bool dark = loaded == 1 && lit == 0, shown = loaded == 0 && (lit == 1 || arm == 1);
    if (!dark && !shown) {
        out->truth = RULES_CLEAR;
        return;
    }
    if (!w->b->under_way) {
        out->truth = RULES_CALM;
        return;
    }
    rules_true(out, LAW_LMP_1, t);
    out->table = shown; /* one is not the other: each has to last by itself */
    if (shown)
        out->rung[0].hold_ms = (int64_t)t->param[LAW_LMP_1_EMPTY_ON_MS].value;
}
