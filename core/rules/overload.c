/* Overload: persons aboard against rated persons, driver and attendants on both sides. R617 art. 34; M163 art. 8(4), 10(1); CL art. 133-1. */
#include "family.h"

/* 1 shut, 0 open, -1 not known. A bus without door contacts is shut when it moves. */
static int shut(const struct rules_view *w, const struct law_rule_text *t)
{
    int open = bus_doors_open(w->b);
    if (open >= 0)
        return !open;
    struct bus_speed speed = bus_speed(w->b);
    bool moving = w->b->fix_ms != 0 && w->now_ms - w->b->fix_ms <= (int64_t)t->param[LAW_OVL_1_MOVING_FIX_MS].value &&
                  speed.source != BUS_SPEED_NONE && speed.mmps * 0.0036 >= t->param[LAW_OVL_1_MOVING_KMH].value;
    return moving ? 1 : -1;
}

static bool unsure(const struct rules_view *w, const struct law_rule_text *t)
{
    int rated = w->v->rated_total;
    if (w->persons.persons > rated && w->persons.persons - w->persons.margin <= rated) /* the counters' drift alone may be what is over */
        return true;
    return w->persons.doubtful || w->persons.confidence_pct < t->param[LAW_OVL_1_CONFIDENCE_PCT].value;
}

/* Over by `excess` persons reaches the grade; integers, so that 20 % is 20 %. */
static bool reaches(const struct law_grade *g, int64_t excess, int64_t rated)
{
    return excess > 0 && 100 * excess >= g->min_pct * rated;
}

/* The filing line of OVL-3 for this size class in persons over rated: whichever of both criteria is met first. INT64_MAX = none. */
static int64_t filing_line(const struct law_rule_text *t, enum duty_size size, int64_t rated)
{
    if (size == DUTY_SIZE_UNKNOWN)
        return INT64_MAX;
    int i = ((int)size - (int)DUTY_SIZE_LARGE) * 2;
    int64_t pct = (int64_t)t->param[LAW_OVL_3_LARGE_PCT + i].value, persons = (int64_t)t->param[LAW_OVL_3_LARGE_PERSONS + i].value;
    int64_t by_pct = (pct * rated + 99) / 100;
    return by_pct < persons ? by_pct : persons;
}

static struct rules_rung_now graded(enum law_rule rule, const struct law_rule_text *t, int64_t excess, int64_t rated, bool single)
{
    const struct law_grade *g = &t->grade[0];
    return (struct rules_rung_now){.holds = reaches(g, excess, rated),
                                   .opens = true,
                                   .rule = (uint8_t)rule,
                                   .severity = (uint8_t)g->severity,
                                   .points = (int16_t)g->points,
                                   .to = g->to,
                                   .hold_ms = single ? t->on_single_ms : t->on_ms};
}

void rules_overload(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_OVL_1];
    const struct bus_persons *p = &w->persons;
    int64_t rated = w->v->rated_total;
    if (rated <= 0 || p->persons == EVENT_UNKNOWN || unsure(w, t)) {
        out->warn = p->persons == EVENT_UNKNOWN ? RULES_WARN_OFF : RULES_WARN_KEEP;
        return;
    }
    int64_t excess = p->persons - rated;
    out->value = p->persons;
    out->limit = (int32_t)rated;
    out->warn = excess > 0 ? RULES_WARN_ON : RULES_WARN_OFF; /* at the stop with the door open too: now it can be cured */
    if (excess <= 0) {
        out->truth = RULES_CLEAR;
        return;
    }
    if (shut(w, t) != 1)
        return;
    out->truth = RULES_TRUE;
    bool single = p->sources < 2;
    out->rungs = 3;
    out->rung[0] = graded(LAW_OVL_1, t, excess, rated, single);
    const struct law_rule_text *t2 = w->text[LAW_OVL_2], *t3 = w->text[LAW_OVL_3];
    out->rung[1] = (struct rules_rung_now){0};
    if (t2 != NULL)
        out->rung[1] = graded(LAW_OVL_2, t2, excess, rated, single);
    out->rung[2] = (struct rules_rung_now){0};
    if (t3 == NULL)
        return;
    int64_t line = filing_line(t3, w->v->size, rated);
    if (excess < line)
        return;
    const struct law_grade *grade = t2 != NULL && reaches(&t2->grade[0], line, rated) ? &t2->grade[0] : &t->grade[0];
    out->rung[2] = (struct rules_rung_now){.holds = true,
                                           .opens = true,
                                           .criminal = true,
                                           .rule = LAW_OVL_3,
                                           .severity = (uint8_t)t3->severity,
                                           .points = (int16_t)grade->points,
                                           .to = t3->to,
                                           .hold_ms = single ? t3->on_single_ms : t3->on_ms};
}

/* OVL-D: at least one source says overload, but they are too unsure to say it of the bus. */
void rules_doubt(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_OVL_1], *td = w->text[LAW_OVL_DOUBT];
    const struct bus_persons *p = &w->persons;
    out->warn = RULES_WARN_OFF;
    if (t == NULL || w->v->rated_total <= 0 || p->persons == EVENT_UNKNOWN)
        return;
    if (w->overload_open || !unsure(w, t) || p->most <= w->v->rated_total) {
        out->truth = RULES_CLEAR;
        return;
    }
    if (shut(w, t) != 1)
        return;
    out->truth = RULES_TRUE;
    out->value = p->most;
    out->limit = w->v->rated_total;
    out->rung[out->rungs++] = (struct rules_rung_now){
        .holds = true, .opens = true, .rule = LAW_OVL_DOUBT, .severity = (uint8_t)td->severity, .points = -1, .to = td->to, .hold_ms = td->on_ms};
}
