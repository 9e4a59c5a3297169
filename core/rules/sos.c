/* The one-key alarm: open as long as the input is on. Who may cancel it is decided in the office. */
#include "family.h"

void rules_sos(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_SOS_1];
    out->warn = RULES_WARN_OFF;
    if ((w->b->inputs_known & EVENT_IN_SOS) == 0)
        return;
    out->value = (w->b->inputs & EVENT_IN_SOS) != 0;
    if (out->value == 0) {
        out->truth = RULES_CLEAR;
        return;
    }
    out->truth = RULES_TRUE;
    out->rung[out->rungs++] = (struct rules_rung_now){
        .holds = true, .opens = true, .rule = LAW_SOS_1, .severity = (uint8_t)t->severity, .points = -1, .to = t->to, .hold_ms = t->on_ms};
}
