/* The vehicle itself: the driver's seat (DRV-1), fire and heat (FIR-1), power and enclosure (DEV-2). */
#include "family.h"

/* The same breach, worse while the bus drives. */
static void worse_moving(struct rules_verdict *out, const struct law_rule_text *t, int moving, int64_t hold_ms)
{
    struct rules_rung_now r = out->rung[0];
    r.holds = moving == 1;
    r.severity = (uint8_t)t->raised_severity;
    r.to = t->raised_to;
    r.hold_ms = hold_ms;
    out->rung[out->rungs++] = r;
}

/* DRV-1: nobody in the driver's seat and the engine on. R617 art. 41, 48. */
void rules_driver_seat(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_DRV_1];
    out->warn = RULES_WARN_OFF;
    int seat = rules_input(w, EVENT_IN_DRIVER_SEAT), engine = rules_input(w, EVENT_IN_IGNITION);
    if (seat == 1 || engine == 0)
        out->truth = RULES_CLEAR;
    else if (seat == 0 && engine == 1) {
        rules_true(out, LAW_DRV_1, t);
        worse_moving(out, t, rules_moving(w, t->param[LAW_DRV_1_MOVING_KMH].value, t->param[LAW_DRV_1_MOVING_FIX_MS].value),
                     (int64_t)t->param[LAW_DRV_1_MOVING_ON_MS].value);
    }
}

/* FIR-1: smoke, or the cabin hot with somebody in it and the engine off. */
void rules_fire(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_FIR_1];
    const struct bus *b = w->b;
    out->warn = RULES_WARN_OFF;
    int smoke = rules_input(w, EVENT_IN_SMOKE), engine = rules_input(w, EVENT_IN_IGNITION);
    bool read = b->cabin_ms != 0 && b->cabin_mc != EVENT_UNKNOWN && w->now_ms - b->cabin_ms <= (int64_t)t->param[LAW_FIR_1_READING_MS].value;
    bool people = b->motion_ms != 0 || b->pupils > 0 || (w->persons.persons != EVENT_UNKNOWN && w->persons.least - w->persons.margin > 0);
    bool hot = read && b->cabin_mc > t->param[LAW_FIR_1_CABIN_C].value * 1000;
    if (smoke == 1)
        rules_true(out, LAW_FIR_1, t);
    else if (hot && people && engine == 0) {
        rules_true(out, LAW_FIR_1, t);
        out->table = 1; /* heat is not smoke: it has to last by itself */
        out->value = b->cabin_mc / 1000 + 1;
        out->limit = (int32_t)t->param[LAW_FIR_1_CABIN_C].value;
        out->rung[0].hold_ms = (int64_t)t->param[LAW_FIR_1_HEAT_ON_MS].value;
    } else if (smoke == 0 || (read && !hot))
        out->truth = smoke == 0 && b->cabin_ms != 0 && !read ? RULES_BLIND : RULES_CLEAR;
}

/* DEV-2: main power lost on a run, enclosure open, antenna cut. A bus parked for the night may be cut from its battery. */
void rules_tamper(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_DEV_2];
    const struct bus *b = w->b;
    out->warn = RULES_WARN_OFF;
    int power = rules_input(w, EVENT_IN_POWER_LOST), open = rules_input(w, EVENT_IN_TAMPER);
    bool trip = b->run == BUS_RUN_ON || rules_input(w, EVENT_IN_IGNITION) == 1;
    if ((power == 1 && trip) || open == 1 || b->antenna_bad) {
        rules_true(out, LAW_DEV_2, t);
        worse_moving(out, t, rules_moving(w, t->param[LAW_DEV_2_MOVING_KMH].value, t->param[LAW_DEV_2_MOVING_FIX_MS].value), t->on_ms);
    } else if (power >= 0 || open >= 0 || b->antenna_seen)
        out->truth = RULES_CLEAR;
}
