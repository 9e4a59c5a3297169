#include "rules.h"

#include <math.h>
#include <string.h>

#include "rules/family.h"

/* ---- the families ---- */

static const struct family {
    enum law_rule first; /* the ladder's lowest rung: its version in force must exist, its word is in the id */
    bool lasting;        /* its inputs hold until the next one, so time alone can end a hold time; otherwise only a fix counts */
    double scale;        /* unit of value and limit in the unit of rules_unit() */
    void (*judge)(const struct rules_view *w, struct rules_verdict *out);
} families[RULES_LADDERS] = {
    [RULES_OVERLOAD] = {LAW_OVL_1, true, 1, rules_overload}, [RULES_DOUBT] = {LAW_OVL_DOUBT, true, 1, rules_doubt},
    [RULES_SPEED] = {LAW_SPD_1, false, 100, rules_speed},    [RULES_ROUTE] = {LAW_RTE_1, false, 10, rules_route},
    [RULES_SOS] = {LAW_SOS_1, true, 1, rules_sos},           [RULES_FRONT] = {LAW_OVL_4, true, 1, rules_front_seat},
    [RULES_DOOR] = {LAW_STP_2, false, 100, rules_open_door}, [RULES_ATTENDANT] = {LAW_ATT_1, true, 1, rules_attendant},
    [RULES_BELTS] = {LAW_ATT_4, false, 1, rules_belts},      [RULES_LEFT] = {LAW_LFT_1, true, 1, rules_left},
    [RULES_PATROL] = {LAW_LFT_2, true, 1, rules_patrol},     [RULES_SEAT] = {LAW_DRV_1, true, 1, rules_driver_seat},
    [RULES_FIRE] = {LAW_FIR_1, true, 1, rules_fire},         [RULES_TAMPER] = {LAW_DEV_2, true, 1, rules_tamper},
    [RULES_BEACON] = {LAW_LMP_1, true, 1, rules_beacon},
};

enum rules_ladder rules_ladder_of(enum law_rule r)
{
    enum rules_ladder l = RULES_LADDERS;
    for (int i = 0; i < RULES_LADDERS; i++)
        if (families[i].first <= r && (l == RULES_LADDERS || families[i].first > families[l].first))
            l = (enum rules_ladder)i;
    return l;
}

bool rules_left_open(const struct rules_memory *mem)
{
    return mem->state[RULES_LEFT] >= RULES_ACTIVE;
}

const char *rules_unit(enum law_rule r)
{
    switch (rules_ladder_of(r)) {
    case RULES_OVERLOAD:
    case RULES_DOUBT: return "persons";
    case RULES_SPEED:
    case RULES_DOOR: return "km/h";
    case RULES_ROUTE: return "m";
    default: return "";
    }
}

int rules_loaded(const struct rules_view *w, double confidence_pct)
{
    const struct bus_persons *p = &w->persons;
    if (p->persons == EVENT_UNKNOWN || p->confidence_pct < confidence_pct)
        return -1;
    if (p->least - p->margin > w->v->staff)
        return 1;
    return p->most + p->margin <= w->v->staff && !p->doubtful ? 0 : -1;
}

int rules_moving(const struct rules_view *w, double kmh, double age_ms)
{
    const struct bus *b = w->b;
    struct bus_speed speed = bus_speed(b);
    if (b->fix_ms == 0 || (double)(w->now_ms - b->fix_ms) > age_ms || speed.source == BUS_SPEED_NONE)
        return -1;
    return speed.mmps * 0.0036 > kmh;
}

double rules_hdop(const struct bus *b, double unknown)
{
    return b->fix.hdop_d == EVENT_UNKNOWN ? unknown : b->fix.hdop_d / 10.0;
}

/* ---- findings ---- */

struct step {
    struct rules_view view;
    struct rules_memory *mem;
    struct rules_finding *out;
    size_t n;
    int64_t time_ms; /* of the event judged */
};

static uint64_t episode_id(const char *vehicle, const char *word, int64_t began_ms)
{
    const uint64_t prime = 0x100000001b3;
    uint64_t h = 0xcbf29ce484222325;
    for (const char *p = vehicle; *p != '\0'; p++)
        h = (h ^ (uint8_t)*p) * prime;
    h *= prime; /* the byte 0 */
    for (const char *p = word; *p != '\0'; p++)
        h = (h ^ (uint8_t)*p) * prime;
    h *= prime;
    for (int i = 0; i < 8; i++)
        h = (h ^ ((uint64_t)began_ms >> (8 * i) & 0xff)) * prime;
    return h;
}

static struct rules_finding *add(struct step *s, enum rules_ladder ladder, enum rules_change change)
{
    const struct bus *b = s->view.b;
    bool counts = ladder == RULES_OVERLOAD || ladder == RULES_DOUBT;
    struct rules_finding *f = &s->out[s->n++];
    *f = (struct rules_finding){.change = (uint8_t)change,
                                .rule = (uint8_t)families[ladder].first,
                                .points = -1,
                                .confidence_pct = (int16_t)(counts ? s->view.persons.confidence_pct : -1),
                                .sources = counts ? s->view.persons.sources : 1,
                                .source = counts ? s->view.persons.source : ladder == RULES_SPEED ? bus_speed(b).source : 0,
                                .over_pct = (double)NAN,
                                .time_ms = s->time_ms,
                                .lat_e7 = b->fix_ms != 0 ? b->fix.lat_e7 : EVENT_UNKNOWN,
                                .lon_e7 = b->fix_ms != 0 ? b->fix.lon_e7 : EVENT_UNKNOWN,
                                .fix_ms = b->fix_ms,
                                .pupils = s->view.persons.pupils,
                                .input_ms = counts                                     ? s->view.persons.time_ms
                                            : ladder >= RULES_SOS && b->inputs_ms != 0 ? b->inputs_ms
                                                                                       : b->fix_ms};
    return f;
}

static void set_value(struct rules_finding *f, enum rules_ladder ladder, int32_t value, int32_t limit)
{
    f->value = value / families[ladder].scale;
    f->limit = limit / families[ladder].scale;
    if (ladder != RULES_ROUTE && limit > 0)
        f->over_pct = 100.0 * ((double)value - limit) / limit;
}

static void tell(struct step *s, enum rules_ladder ladder, enum rules_change change, int64_t closed_ms)
{
    const struct rules_episode *ep = &s->mem->episode[ladder];
    struct rules_finding *f = add(s, ladder, change);
    set_value(f, ladder, ep->value, ep->limit);
    f->id = episode_id(s->view.v->id, law_rule_word(families[ladder].first), ep->began_ms);
    f->rule = ep->rule;
    f->severity = ep->severity;
    f->criminal_lead = ep->criminal != 0;
    f->points = ep->points;
    f->to = ep->to;
    f->began_ms = ep->began_ms;
    f->opened_ms = ep->opened_ms;
    f->raised_ms = ep->raised_ms;
    f->closed_ms = closed_ms;
}

static void warn(struct step *s, enum rules_ladder ladder, enum rules_change change, const struct rules_verdict *now)
{
    struct rules_finding *f = add(s, ladder, change);
    if (now != NULL)
        set_value(f, ladder, now->value, now->limit);
    f->severity = LAW_INFO;
    f->to = LAW_TO_CAB;
    f->began_ms = s->time_ms;
    s->mem->warned[ladder] = change == RULES_WARNED;
}

/* ---- the engine of episodes ---- */

static void start_over(struct rules_episode *ep)
{
    memset(ep->rung, 0, sizeof ep->rung);
}

static void begin(struct step *s, struct rules_episode *ep, int64_t at_ms)
{
    start_over(ep);
    ep->began_ms = at_ms;
    ep->start_m = s->view.b->moved_m;
}

static void close_episode(struct step *s, enum rules_ladder ladder, int64_t closed_ms)
{
    struct rules_episode *ep = &s->mem->episode[ladder];
    const struct law_rule_text *t = s->view.text[ep->rule];
    tell(s, ladder, RULES_CLOSED, closed_ms);
    s->mem->state[ladder] = RULES_IDLE;
    ep->quiet_severity = ep->severity;
    ep->quiet_until_ms = closed_ms + (t == NULL ? 0 : t->cooldown_ms);
}

/* Each rung keeps since when it has been true without a break, and the mildest pair of value and limit since then. */
static void climb(struct rules_episode *ep, const struct rules_verdict *now, int64_t at_ms)
{
    if (now->table != ep->table && now->truth == RULES_TRUE) {
        start_over(ep);
        ep->table = now->table;
    }
    for (size_t i = 0; i < RULES_RUNGS; i++) {
        struct rules_rung *r = &ep->rung[i];
        if (now->truth != RULES_TRUE || i >= now->rungs || !now->rung[i].holds) {
            r->after_ms = 0;
            continue;
        }
        int64_t after_ms = at_ms - ep->began_ms + 1;
        if (r->after_ms == 0)
            *r = (struct rules_rung){after_ms < UINT32_MAX ? (uint32_t)after_ms : UINT32_MAX, now->value, now->limit};
        else if ((int64_t)now->value * r->limit < (int64_t)r->value * now->limit) {
            r->value = now->value;
            r->limit = now->limit;
        }
    }
}

/* What the rungs that were true for their whole hold time come to. */
struct reached {
    bool any, opens;
    uint8_t rule, severity, to, criminal;
    int16_t points;
    int32_t value, limit;
    int64_t first_ms, last_ms; /* when the first one that opens, and the last one, had been true long enough */
};

static struct reached reach(const struct step *s, const struct rules_episode *ep, const struct rules_verdict *now, int64_t at_ms)
{
    struct reached r = {.points = -1};
    for (size_t i = 0; i < now->rungs; i++) {
        const struct rules_rung_now *g = &now->rung[i];
        int64_t done_ms = ep->began_ms + ep->rung[i].after_ms - 1 + g->hold_ms;
        if (ep->rung[i].after_ms == 0 || at_ms < done_ms || s->view.b->moved_m - ep->start_m < g->travel_m)
            continue;
        if (g->opens && (!r.opens || done_ms < r.first_ms))
            r.first_ms = done_ms;
        r.last_ms = !r.any || done_ms > r.last_ms ? done_ms : r.last_ms;
        r.any = true;
        r.opens = r.opens || g->opens;
        r.rule = !r.rule || g->rule > r.rule ? g->rule : r.rule;
        r.severity = g->severity > r.severity ? g->severity : r.severity;
        r.points = g->points > r.points ? g->points : r.points;
        r.to |= (uint8_t)g->to;
        r.criminal |= g->criminal;
        r.value = ep->rung[i].value;
        r.limit = ep->rung[i].limit;
    }
    return r;
}

static void open_episode(struct step *s, enum rules_ladder ladder, const struct reached *r, int64_t at_ms)
{
    struct rules_episode *ep = &s->mem->episode[ladder];
    int64_t opened_ms = at_ms;
    if (families[ladder].lasting) {
        opened_ms = r->first_ms;
        if (opened_ms < ep->quiet_until_ms && r->severity <= ep->quiet_severity)
            opened_ms = ep->quiet_until_ms;
    }
    ep->opened_ms = opened_ms;
    ep->raised_ms = 0;
    ep->rule = r->rule;
    ep->severity = r->severity;
    ep->points = r->points;
    ep->to = r->to;
    ep->criminal = r->criminal;
    ep->value = r->value;
    ep->limit = r->limit;
    s->mem->state[ladder] = RULES_ACTIVE;
    s->mem->warned[ladder] = 0; /* the cab hears of the breach itself now */
    tell(s, ladder, RULES_OPENED, 0);
}

static void raise_episode(struct step *s, enum rules_ladder ladder, const struct reached *r, int64_t at_ms)
{
    struct rules_episode *ep = &s->mem->episode[ladder];
    if (!r->any ||
        (r->rule <= ep->rule && r->severity <= ep->severity && r->points <= ep->points && r->criminal <= ep->criminal &&
         (ladder != RULES_LEFT || (r->to & ~ep->to) == 0))) /* a child left behind is as bad as can be from the start: more people are told */
        return;
    ep->raised_ms = families[ladder].lasting ? r->last_ms : at_ms;
    ep->rule = r->rule > ep->rule ? r->rule : ep->rule;
    ep->severity = r->severity > ep->severity ? r->severity : ep->severity;
    ep->points = r->points > ep->points ? r->points : ep->points;
    ep->to |= r->to;
    ep->criminal |= r->criminal;
    ep->value = r->value;
    ep->limit = r->limit;
    tell(s, ladder, RULES_RAISED, 0);
}

static void pending(struct step *s, enum rules_ladder ladder, const struct rules_verdict *now, int64_t at_ms)
{
    struct rules_episode *ep = &s->mem->episode[ladder];
    if (now->truth < RULES_NEAR) {
        s->mem->state[ladder] = RULES_IDLE;
        return;
    }
    climb(ep, now, at_ms);
    struct reached r = reach(s, ep, now, at_ms);
    if (r.opens && (at_ms >= ep->quiet_until_ms || r.severity > ep->quiet_severity))
        open_episode(s, ladder, &r, at_ms);
}

static void open_now(struct step *s, enum rules_ladder ladder, const struct law_rule_text *t, const struct rules_verdict *now, int64_t at_ms)
{
    struct rules_episode *ep = &s->mem->episode[ladder];
    uint8_t *state = &s->mem->state[ladder];
    climb(ep, now, at_ms);
    if (now->truth != RULES_CLEAR) {
        *state = RULES_ACTIVE;
        struct reached r = reach(s, ep, now, at_ms);
        raise_episode(s, ladder, &r, at_ms);
        return;
    }
    if (*state == RULES_ACTIVE) {
        *state = RULES_CLEARING;
        ep->clear_ms = at_ms;
    }
    if (at_ms - ep->clear_ms >= t->off_ms)
        close_episode(s, ladder, families[ladder].lasting ? ep->clear_ms + t->off_ms : at_ms);
}

/* One judgement, whatever it says but "cannot be judged". */
static void advance(struct step *s, enum rules_ladder ladder, const struct law_rule_text *t, const struct rules_verdict *now, int64_t at_ms)
{
    uint8_t *state = &s->mem->state[ladder];
    struct rules_episode *ep = &s->mem->episode[ladder];
    if (!families[ladder].lasting && t->gap_ms > 0 && at_ms - ep->seen_ms > t->gap_ms) {
        start_over(ep);
        ep->clear_ms = at_ms;
    }
    ep->seen_ms = at_ms;
    if (*state == RULES_IDLE && now->truth >= RULES_NEAR) {
        begin(s, ep, at_ms);
        *state = RULES_PENDING;
    }
    if (*state == RULES_PENDING)
        pending(s, ladder, now, at_ms);
    else if (*state != RULES_IDLE)
        open_now(s, ladder, t, now, at_ms);
}

/* Time without any input: a pending breach is forgotten, a warning ends, at last an open episode ends when it was last seen. */
static void silence(struct step *s, enum rules_ladder ladder, const struct law_rule_text *t)
{
    struct rules_episode *ep = &s->mem->episode[ladder];
    int64_t silent_ms = s->view.now_ms - ep->seen_ms;
    if (t->gap_ms > 0 && silent_ms > t->gap_ms) {
        if (s->mem->state[ladder] == RULES_PENDING)
            s->mem->state[ladder] = RULES_IDLE;
        if (s->mem->warned[ladder])
            warn(s, ladder, RULES_CALMED, NULL);
    }
    if (t->expire_ms > 0 && silent_ms > t->expire_ms && s->mem->state[ladder] >= RULES_ACTIVE)
        close_episode(s, ladder, ep->seen_ms);
}

static void judge(struct step *s, enum rules_ladder ladder, bool new_fix)
{
    const struct law_rule_text *t = s->view.text[families[ladder].first];
    uint8_t *state = &s->mem->state[ladder], *warned = &s->mem->warned[ladder];
    struct rules_episode *ep = &s->mem->episode[ladder];
    if (t == NULL) { /* no such rule at this time: what was open ends with it */
        if (*state >= RULES_ACTIVE)
            close_episode(s, ladder, s->view.now_ms);
        if (*warned)
            warn(s, ladder, RULES_CALMED, NULL);
        *state = RULES_IDLE;
        return;
    }
    bool lasting = families[ladder].lasting;
    int64_t at_ms = lasting ? s->view.now_ms : s->view.b->fix_ms;
    if (!lasting && !new_fix) {
        if (*state != RULES_IDLE || *warned)
            silence(s, ladder, t);
        return;
    }
    struct rules_verdict now;
    now.truth = RULES_BLIND;
    now.warn = RULES_WARN_KEEP;
    now.value = now.limit = 0;
    now.table = 0;
    now.rungs = 0;
    families[ladder].judge(&s->view, &now);
    if (*state == RULES_IDLE && !*warned && now.warn != RULES_WARN_ON && now.truth < RULES_NEAR)
        return; /* the usual case touches no episode */
    if (!lasting)
        silence(s, ladder, t);
    if (now.truth != RULES_BLIND)
        advance(s, ladder, t, &now, at_ms);
    else if (lasting) { /* its inputs do not hold any more: neither towards a breach nor towards its end */
        start_over(ep);
        if (*state == RULES_PENDING)
            *state = RULES_IDLE;
        else if (*state == RULES_CLEARING)
            *state = RULES_ACTIVE;
    }
    if (*warned && now.warn == RULES_WARN_OFF)
        warn(s, ladder, RULES_CALMED, &now);
    else if (!*warned && now.warn == RULES_WARN_ON && *state < RULES_ACTIVE)
        warn(s, ladder, RULES_WARNED, &now);
}

size_t rules_step(const struct law *law, const struct duty_set *set, const struct duty_vehicle *v, const struct bus *b, const struct event *e,
                  struct rules_memory *mem, struct rules_finding out[RULES_OUT_MAX])
{
    if (set == NULL || v == NULL || b->time_ms == 0)
        return 0;
    struct step s = {.mem = mem, .out = out, .n = 0, .time_ms = e->time_ms};
    s.view.set = set;
    s.view.v = v;
    s.view.b = b;
    s.view.now_ms = b->time_ms;
    s.view.persons = bus_persons(b, v);
    s.view.text = law_rules_at(law, b->time_ms);
    bool new_fix = e->kind == EVENT_FIX && e->time_ms == b->fix_ms && event_fix_valid(&e->fix);
    judge(&s, RULES_OVERLOAD, new_fix);
    s.view.overload_open = mem->state[RULES_OVERLOAD] >= RULES_ACTIVE;
    judge(&s, RULES_DOUBT, new_fix);
    judge(&s, RULES_SPEED, new_fix);
    judge(&s, RULES_ROUTE, new_fix);
    s.view.left_open = rules_left_open(mem);
    for (int l = RULES_SOS; l < RULES_LADDERS; l++)
        judge(&s, (enum rules_ladder)l, new_fix);
    return s.n;
}

/* ---- citations ---- */

static bool same_cite(const struct law_cite *a, const struct law_cite *b)
{
    return strcmp(a->code, b->code) == 0 && strcmp(a->article, b->article) == 0;
}

static size_t cite(const struct law_cite *c, size_t cites, const struct law_cite *out[RULES_CITES_MAX], size_t n)
{
    for (size_t i = 0; i < cites && n < RULES_CITES_MAX; i++) {
        size_t k = 0;
        while (k < n && !same_cite(out[k], &c[i]))
            k++;
        if (k == n)
            out[n++] = &c[i];
    }
    return n;
}

static size_t cite_grade(const struct law_grade *g, size_t grades, int points, const struct law_cite *out[RULES_CITES_MAX], size_t n)
{
    for (size_t i = 0; i < grades; i++)
        if (g[i].points == points)
            return cite(g[i].cite, g[i].cites, out, n);
    return n;
}

/* Does c state limits, and one of kmh among them? */
static void states_limit(const struct law_rule_text *t, const struct law_cite *c, double kmh, bool *ret_any, bool *ret_this)
{
    *ret_any = *ret_this = false;
    for (size_t i = 0; i < t->limits; i++) {
        bool its = same_cite(t->limit[i].cite, c);
        *ret_any = *ret_any || its;
        *ret_this = *ret_this || (its && t->limit[i].kmh == lround(kmh));
    }
}

/*
 * SPD-1 names the articles its limit can come from: of those that state limits the others go, and the only one that states this figure comes in. What
 * is left without any was posted on a sign.
 */
static size_t cite_limit(const struct law_rule_text *t, double kmh, const struct law_cite *out[RULES_CITES_MAX], size_t n)
{
    const struct law_cite *only = NULL;
    bool any, this, several = false;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        states_limit(t, out[i], kmh, &any, &this);
        if (!any || this)
            out[kept++] = out[i];
    }
    for (size_t i = 0; i < t->limits; i++)
        if (t->limit[i].kmh == lround(kmh)) {
            several = several || (only != NULL && !same_cite(only, t->limit[i].cite));
            only = t->limit[i].cite;
        }
    return only != NULL && !several ? cite(only, 1, out, kept) : kept;
}

size_t rules_cites(const struct law *law, const struct rules_finding *f, const struct law_cite *out[RULES_CITES_MAX])
{
    enum law_rule rule = (enum law_rule)f->rule;
    int64_t at_ms = f->opened_ms != 0 ? f->opened_ms : f->time_ms;
    const struct law_rule_text *t = law_rule_at(law, rule, at_ms);
    size_t n = t == NULL ? 0 : cite(t->cite, t->cites, out, 0);
    if (t != NULL && rule == LAW_SPD_1)
        n = cite_limit(t, f->limit, out, n);
    if (f->points < 0 || rule > LAW_SPD_3)
        return n;
    enum law_rule first = rule <= LAW_OVL_3 ? LAW_OVL_1 : LAW_SPD_1, last = rule <= LAW_OVL_3 ? LAW_OVL_2 : LAW_SPD_1;
    for (enum law_rule r = first; r <= last; r++) {
        t = law_rule_at(law, r, at_ms);
        size_t before = n;
        if (t != NULL)
            n = cite_grade(t->grade, t->grades, f->points, out, n);
        if (t != NULL && n == before)
            n = cite_grade(t->grade_b, t->grades_b, f->points, out, n);
    }
    return n;
}

void rules_shift(struct rules_memory *mem, int64_t by_ms)
{
    for (size_t i = 0; i < RULES_LADDERS; i++) {
        struct rules_episode *e = &mem->episode[i];
        int64_t *const times[] = {&e->began_ms, &e->seen_ms, &e->clear_ms, &e->opened_ms, &e->raised_ms, &e->quiet_until_ms};
        for (size_t k = 0; k < sizeof times / sizeof times[0]; k++)
            if (*times[k] != 0)
                *times[k] += by_ms;
    }
}
