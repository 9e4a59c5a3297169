/*
 * After a run: is a pupil left in the bus (LFT-1), was the bus searched (LFT-2)? R617 art. 39(5); 13 CCR 1294 as the design's basis.
 *
 *   run ends (ignition off) --> count, cards or motion say somebody is there --> 0 s cab --> 60 s siren --> 120 s school --> 180 s everybody
 *
 * While the door is open for the first time, within the first minutes and with the attendant there, pupils are getting off: nothing is judged but
 * motion. Once open, LFT-1 is latched: what it was judged by may vanish, only the head-count set to empty (core/tally.c) or the bus driven on ends
 * it.
 */
#include "family.h"

/* What says that somebody is there. */
struct hit {
    bool surely, maybe; /* maybe: so far no more than the attendant */
    bool motion;
    int32_t persons;
};

static struct hit look(const struct rules_view *w, const struct law_rule_text *t)
{
    const struct bus *b = w->b;
    const struct bus_persons *p = &w->persons;
    struct hit h = {.motion = b->motion_ms != 0, .persons = 1};
    h.surely = h.motion;
    int32_t own = b->seen[EVENT_COUNT_ATTENDANT - EVENT_COUNT_CAMERA].aboard;
    if (b->seen[EVENT_COUNT_ATTENDANT - EVENT_COUNT_CAMERA].time_ms > b->run_ms && own != EVENT_UNKNOWN && own <= w->v->staff)
        return h; /* the attendant looked and counted after the end: believed of count and cards, not of what moves */
    if (b->pupils > 0) {
        h.surely = true;
        h.persons = b->pupils;
    }
    if (p->persons == EVENT_UNKNOWN || p->confidence_pct < t->param[LAW_LFT_1_CONFIDENCE_PCT].value)
        return h;
    int32_t pupils = p->least - p->margin - w->v->staff, others = p->least - p->margin - w->v->staff_uncounted;
    bool shut_long = bus_doors_open(b) != 1 && w->now_ms - b->run_ms >= (int64_t)t->param[LAW_LFT_1_EXCUSE_MS].value;
    if (pupils > 0 || (others > 0 && shut_long)) /* an attendant does not stay in a shut bus */
        h.surely = true;
    h.maybe = others > 0;
    h.persons = pupils > h.persons ? pupils : h.persons;
    return h;
}

/* Pupils may be getting off just now. */
static bool excused(const struct rules_view *w, const struct law_rule_text *t)
{
    const struct bus *b = w->b;
    bool alone = w->v->staff_cards > 0 && b->card_ms != 0 && b->attendant_ms == 0;
    return bus_doors_open(b) == 1 && b->end_opens <= 1 && !alone && w->now_ms - b->run_ms < (int64_t)t->param[LAW_LFT_1_EXCUSE_MS].value;
}

void rules_left(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_LFT_1];
    const struct bus *b = w->b;
    out->warn = RULES_WARN_OFF;
    if (b->run != BUS_RUN_ENDED) {
        out->truth = RULES_CLEAR;
        return;
    }
    struct hit h = look(w, t);
    out->value = h.persons;
    if (!w->left_open && !h.surely) {
        out->truth = h.maybe ? RULES_NEAR : RULES_CLEAR;
        return;
    }
    if (!w->left_open && !h.motion && excused(w, t)) {
        out->truth = RULES_NEAR;
        return;
    }
    out->warn = RULES_WARN_ON;
    rules_true(out, LAW_LFT_1, t);
    out->value = h.persons;
    out->rung[0].to = t->to & LAW_TO_CAB;
    if (b->end_opens > 1) /* the last one leaves */
        out->rung[0].hold_ms = 0;
    struct rules_rung_now more = out->rung[0];
    more.to = t->to;
    more.hold_ms = (int64_t)t->param[LAW_LFT_1_SCHOOL_MS].value;
    out->rung[out->rungs++] = more;
    more.to = t->raised_to;
    more.severity = (uint8_t)t->raised_severity;
    more.hold_ms = (int64_t)t->param[LAW_LFT_1_EVERYBODY_MS].value;
    out->rung[out->rungs++] = more;
}

void rules_patrol(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_LFT_2];
    const struct bus *b = w->b;
    out->warn = RULES_WARN_OFF;
    if (b->run != BUS_RUN_ENDED || b->patrol_ms != 0 || rules_input(w, EVENT_IN_IGNITION) == 1)
        out->truth = RULES_CLEAR;
    else if ((b->inputs_fitted & EVENT_IN_PATROL) != 0)
        rules_true(out, LAW_LFT_2, t);
}
