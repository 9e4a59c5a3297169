/*
 * ATT-1: pupils are driven without an attendant. R617 art. 38, 39, 53. Known only where the attendant has a card and the reader has read one in this
 * run; at the stop the cab is told that the bus may not leave, and an attendant outside the door is no breach.
 */
#include "family.h"

void rules_attendant(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_ATT_1];
    const struct bus *b = w->b;
    out->warn = RULES_WARN_OFF;
    int loaded = rules_loaded(w, t->param[LAW_ATT_1_CONFIDENCE_PCT].value);
    if (b->attendant_ms != 0 || loaded == 0 || b->run == BUS_RUN_ENDED) {
        out->truth = RULES_CLEAR;
        return;
    }
    if (loaded < 0 || w->v->staff_cards == 0 || b->card_ms == 0 || b->cards_down)
        return;
    out->warn = RULES_WARN_ON;
    out->value = 1;
    if (b->under_way)
        rules_true(out, LAW_ATT_1, t);
    else
        out->truth = RULES_CALM;
}
