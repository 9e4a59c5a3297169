/*
 * family - what a family of rules sees and says. A family answers "is it true now, and how bad" for one bus at one moment; time is the engine's.
 */
#ifndef SCHOOLWARD_RULES_FAMILY_H
#define SCHOOLWARD_RULES_FAMILY_H

#include "../rules.h"

struct rules_view {
    const struct duty_set *set;
    const struct duty_vehicle *v;
    const struct bus *b;
    int64_t now_ms; /* newest event time of the bus */
    struct bus_persons persons;
    const struct law_rule_text *const *text; /* law_rules_at(): versions in force, NULL = none */
    bool overload_open;                      /* the overload ladder has an open episode */
    bool left_open;                          /* so has LFT-1 */
};

enum rules_truth {
    RULES_BLIND = 0, /* cannot be judged */
    RULES_CLEAR,     /* over, with hysteresis */
    RULES_CALM,      /* no breach, but not far enough from one to end an episode */
    RULES_NEAR,      /* a breach, within the margin: pending, does not count towards the hold time */
    RULES_TRUE,
};
enum rules_warn { RULES_WARN_KEEP = 0, RULES_WARN_ON, RULES_WARN_OFF };

struct rules_rung_now {
    bool holds; /* reached at this moment */
    bool opens; /* may open an episode, not only raise one */
    bool criminal;
    uint8_t rule, severity; /* enum law_rule, enum law_severity */
    int16_t points;         /* -1 = none of its own */
    uint32_t to;
    int64_t hold_ms;
    double travel_m; /* driven since the episode began */
};

struct rules_verdict {
    enum rules_truth truth;
    enum rules_warn warn;
    int32_t value, limit; /* in the family's own unit */
    uint8_t table;
    size_t rungs;
    struct rules_rung_now rung[RULES_RUNGS]; /* mildest first; filled for RULES_TRUE only */
};

void rules_overload(const struct rules_view *w, struct rules_verdict *out);
void rules_doubt(const struct rules_view *w, struct rules_verdict *out);
void rules_speed(const struct rules_view *w, struct rules_verdict *out);
void rules_route(const struct rules_view *w, struct rules_verdict *out);
void rules_sos(const struct rules_view *w, struct rules_verdict *out);
void rules_front_seat(const struct rules_view *w, struct rules_verdict *out);
void rules_open_door(const struct rules_view *w, struct rules_verdict *out);
void rules_attendant(const struct rules_view *w, struct rules_verdict *out);
void rules_belts(const struct rules_view *w, struct rules_verdict *out);
void rules_left(const struct rules_view *w, struct rules_verdict *out);
void rules_patrol(const struct rules_view *w, struct rules_verdict *out);
void rules_driver_seat(const struct rules_view *w, struct rules_verdict *out);
void rules_fire(const struct rules_view *w, struct rules_verdict *out);
void rules_tamper(const struct rules_view *w, struct rules_verdict *out);
void rules_beacon(const struct rules_view *w, struct rules_verdict *out);

/* Pupils aboard: 1 surely, 0 surely not, -1 not known well enough. */
int rules_loaded(const struct rules_view *w, double confidence_pct);

/* One input: 1 on, 0 off, -1 not fitted or not readable now. */
static inline int rules_input(const struct rules_view *w, uint32_t bit)
{
    return (w->b->inputs_known & bit) == 0 ? -1 : (w->b->inputs & bit) != 0;
}

/* Faster than kmh by a fix at most age_ms old: 1, 0; -1 not known. */
int rules_moving(const struct rules_view *w, double kmh, double age_ms);

/* Say that it is so: a breach with one rung, as the rule's text has it. */
static inline void rules_true(struct rules_verdict *out, enum law_rule rule, const struct law_rule_text *t)
{
    out->truth = RULES_TRUE;
    out->value = 1;
    out->limit = 0;
    out->rung[out->rungs++] = (struct rules_rung_now){
        .holds = true, .opens = true, .rule = (uint8_t)rule, .severity = (uint8_t)t->severity, .points = -1, .to = t->to, .hold_ms = t->on_ms};
}

/* hdop of the fix, or `unknown`. */
double rules_hdop(const struct bus *b, double unknown);

#endif
