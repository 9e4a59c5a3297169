/* Speed: the limit in force (R617 art. 35; RTSL-IR art. 45, 46, 78, 81) and the grades above it (M163 art. 8(5), 9(2), 10(2), 12(1)). */
#include <limits.h>
#include <math.h>

#include "family.h"

/* A limit with what it was made of. */
struct limit {
    int kmh;     /* INT_MAX = none */
    bool stated; /* road class or sign known: not only what holds everywhere */
    bool danger, special, express;
};

static bool applies(const struct law_limit *l, enum duty_road road, bool posted, uint32_t hazards, bool loaded, uint32_t weather, int visibility_m)
{
    if ((l->unposted && posted) || (l->pupils && !loaded) || (l->roads != 0 && (l->roads & 1U << road) == 0))
        return false;
    if (l->hazards == 0 && l->weather == 0 && l->visibility_max_m == 0)
        return true;
    return (l->hazards & hazards) != 0 || (l->weather & weather) != 0 || (visibility_m > 0 && visibility_m <= l->visibility_max_m);
}

static struct limit limit_on(const struct law_rule_text *t, const struct duty_segment *s, bool loaded, uint32_t weather, int visibility_m)
{
    enum duty_road road = s == NULL ? DUTY_ROAD_UNKNOWN : s->road;
    uint32_t hazards = s == NULL ? 0 : s->hazards;
    int posted_kmh = s == NULL ? 0 : s->posted_kmh;
    bool posted = posted_kmh > 0;
    struct limit r = {.kmh = posted ? posted_kmh : INT_MAX,
                      .stated = posted || road != DUTY_ROAD_UNKNOWN,
                      .express = road == DUTY_ROAD_EXPRESSWAY || road == DUTY_ROAD_URBAN_EXPRESSWAY};
    for (size_t i = 0; i < t->limits; i++) {
        const struct law_limit *l = &t->limit[i];
        if (!applies(l, road, posted, hazards, loaded, weather, visibility_m))
            continue;
        r.kmh = l->kmh < r.kmh ? l->kmh : r.kmh;
        r.danger = r.danger || l->danger;
        r.special = r.special || l->special;
    }
    return r;
}

/* The route the bus is surely on, NULL if not. */
static const struct duty_route *on_route(const struct rules_view *w, const struct law_rule_text *t)
{
    const struct bus *b = w->b;
    if (b->route == 0 || b->route_ms != b->fix_ms || b->route > w->set->routes)
        return NULL;
    double near_m = t->param[LAW_SPD_1_MATCH_M].value + t->param[LAW_SPD_1_MATCH_HDOP_M].value * rules_hdop(b, 0);
    return b->offset_m <= near_m ? &w->set->route[b->route - 1] : NULL;
}

/* The segment at at_m, a little before (side -1) or after (side 1) segment s: mostly the next one. */
static const struct duty_segment *segment_near(const struct duty_route *r, const struct duty_segment *s, int side, double at_m)
{
    bool last = s == NULL || (side < 0 ? s == r->segment : s + 1 == r->segment + r->segments);
    const struct duty_segment *next = last ? NULL : s + side;
    return next != NULL && at_m >= next->from_m && at_m < next->to_m ? next : duty_segment_at(r, at_m);
}

/*
 * The limit where the bus is. Off its route, or where nothing is known of the road, only what holds on every road is left: a lower limit is never
 * guessed. Near the end of a segment the bus may be on either side of it: the milder one counts.
 */
static struct limit limit_here(const struct rules_view *w, const struct law_rule_text *t, bool loaded)
{
    uint32_t weather = 0;
    int visibility_m = 0;
    if (w->set->orders > 0) {
        const struct duty_order *ice = duty_order_at(w->set, DUTY_WEATHER_ICE_MUD, w->b->fix_ms);
        const struct duty_order *fog = duty_order_at(w->set, DUTY_WEATHER_LOW_VISIBILITY, w->b->fix_ms);
        weather = (ice != NULL ? 1U << DUTY_WEATHER_ICE_MUD : 0) | (fog != NULL ? 1U << DUTY_WEATHER_LOW_VISIBILITY : 0);
        visibility_m = fog != NULL ? fog->visibility_m : 0;
    }
    const struct duty_route *r = on_route(w, t);
    if (r == NULL)
        return limit_on(t, NULL, loaded, weather, visibility_m);
    double along_m = w->b->along_m, reach_m = t->param[LAW_SPD_1_BOUNDARY_M].value;
    const struct duty_segment *s = duty_segment_at(r, along_m);
    struct limit here = limit_on(t, s, loaded, weather, visibility_m);
    double last_m = nextafter(geo_line_length_m(r->line), 0);
    for (int side = -1; side <= 1; side += 2) {
        double at_m = fmin(fmax(along_m + side * reach_m, 0), fmax(last_m, along_m));
        if (s != NULL && at_m >= s->from_m && at_m < s->to_m)
            continue;
        const struct duty_segment *beside = segment_near(r, s, side, at_m);
        if (beside == s || (beside != NULL && beside->posted_kmh > 0 && beside->posted_kmh <= here.kmh)) /* no sign is exceeded: not the milder one */
            continue;
        struct limit other = limit_on(t, beside, loaded, weather, visibility_m);
        if (other.kmh > here.kmh)
            here = other;
    }
    return here;
}

double rules_limit_kmh(const struct law *law, const struct duty_set *set, const struct duty_vehicle *v, const struct bus *b)
{
    if (set == NULL || v == NULL || b->fix_ms == 0)
        return (double)NAN;
    struct rules_view w = {.set = set, .v = v, .b = b, .now_ms = b->time_ms, .persons = bus_persons(b, v)};
    const struct law_rule_text *t = law_rule_at(law, LAW_SPD_1, b->fix_ms);
    if (t == NULL)
        return (double)NAN;
    struct limit l = limit_here(&w, t, rules_loaded(&w, t->param[LAW_SPD_1_CONFIDENCE_PCT].value) == 1);
    return l.stated && l.kmh != INT_MAX ? l.kmh : (double)NAN;
}

/* Points of an excess of pct per cent. */
static int points_at(const struct law_grade *g, size_t n, double pct)
{
    int points = -1;
    for (size_t i = 0; i < n && g[i].min_pct <= pct; i++)
        points = g[i].points;
    return points;
}

/* Rung of the criminal filing line, which needs both an excess and a speed. Speeds in 0.01 km/h. */
static struct rules_rung_now filing_line(const struct law_rule_text *t, const struct limit *l, const struct law_grade *g, size_t n, int64_t v,
                                         int64_t lim)
{
    int i = l->special ? LAW_SPD_3_SPECIAL_PCT : l->express ? LAW_SPD_3_EXPRESS_PCT : LAW_SPD_3_OTHER_PCT;
    double pct = t->param[i].value, kmh = t->param[i + 1].value;
    return (struct rules_rung_now){.holds = (double)(100 * (v - lim)) >= pct * (double)lim && (double)v >= kmh * 100,
                                   .opens = true,
                                   .criminal = true,
                                   .rule = LAW_SPD_3,
                                   .severity = (uint8_t)t->severity,
                                   .points = (int16_t)points_at(g, n, pct),
                                   .to = t->to,
                                   .hold_ms = t->on_ms};
}

static void rungs(const struct rules_view *w, const struct limit *l, bool loaded, int64_t v, int64_t lim, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_SPD_1], *t2 = l->danger ? w->text[LAW_SPD_2] : NULL, *t3 = w->text[LAW_SPD_3];
    const struct law_grade *g = l->express ? t->grade_b : t->grade;
    size_t n = l->express ? t->grades_b : t->grades;
    for (size_t i = 0; i < RULES_RUNGS; i++)
        out->rung[i] = (struct rules_rung_now){0};
    for (size_t i = 0; i < n && i < LAW_GRADES_MAX; i++) {
        bool fast = g[i].min_pct >= t->param[LAW_SPD_1_FAST_PCT].value;
        out->rung[i] = (struct rules_rung_now){.holds = 100 * (v - lim) >= g[i].min_pct * lim,
                                               .opens = true,
                                               .rule = LAW_SPD_1,
                                               .severity = (uint8_t)g[i].severity,
                                               .points = (int16_t)g[i].points,
                                               .to = g[i].to,
                                               .hold_ms = fast ? (int64_t)t->param[LAW_SPD_1_FAST_ON_MS].value : t->on_ms};
        if (t2 == NULL)
            continue;
        out->rung[i].rule = LAW_SPD_2;
        out->rung[i].hold_ms = t2->on_ms;
        out->rung[i].to |= t2->to;
        if (out->rung[i].severity < t2->severity)
            out->rung[i].severity = (uint8_t)t2->severity;
    }
    if (t2 != NULL)
        out->rung[LAW_GRADES_MAX] = (struct rules_rung_now){.holds = (double)v >= t2->param[LAW_SPD_2_RAISED_KMH].value * 100,
                                                            .opens = true,
                                                            .rule = LAW_SPD_2,
                                                            .severity = (uint8_t)t2->raised_severity,
                                                            .points = -1,
                                                            .to = t2->raised_to,
                                                            .hold_ms = t2->on_ms};
    if (t3 != NULL && loaded)
        out->rung[LAW_GRADES_MAX + 1] = filing_line(t3, l, g, n, v, lim);
    out->rungs = LAW_GRADES_MAX + 2;
    out->table = (uint8_t)((l->express ? 1 : 0) | (t2 != NULL ? 2 : 0));
}

void rules_speed(const struct rules_view *w, struct rules_verdict *out)
{
    const struct law_rule_text *t = w->text[LAW_SPD_1];
    const struct bus *b = w->b;
    struct bus_speed speed = bus_speed(b);
    bool rough = rules_hdop(b, 0) > t->param[LAW_SPD_1_HDOP_MAX].value; /* of the position, but a Doppler speed suffers with it */
    if (speed.source == BUS_SPEED_NONE || (speed.source == BUS_SPEED_GNSS && rough))
        return;
    bool loaded = rules_loaded(w, t->param[LAW_SPD_1_CONFIDENCE_PCT].value) == 1;
    struct limit l = limit_here(w, t, loaded);
    if (l.kmh == INT_MAX)
        return;
    /* 0.01 km/h, rounded: 66.0 km/h comes as 18333 mm/s, which is 65.9988 */
    int64_t v = ((int64_t)speed.mmps * 36 + 50) / 100, lim = (int64_t)l.kmh * 100;
    const struct law_rule_text *t2 = l.danger ? w->text[LAW_SPD_2] : NULL;
    double margin_kmh = t2 != NULL ? t2->param[LAW_SPD_2_MARGIN_KMH].value : t->param[LAW_SPD_1_MARGIN_KMH].value;
    double margin = fmax(margin_kmh * 100, (double)lim * t->param[LAW_SPD_1_MARGIN_PCT].value / 100);
    double clear = t->param[LAW_SPD_1_CLEAR_KMH].value * 100, warn = (double)lim - t->param[LAW_SPD_1_WARN_KMH].value * 100;
    out->value = (int32_t)v;
    out->limit = (int32_t)lim;
    out->warn = (double)v >= warn ? RULES_WARN_ON : (double)v < warn - clear ? RULES_WARN_OFF : RULES_WARN_KEEP;
    if ((double)v <= (double)lim - clear)
        out->truth = RULES_CLEAR;
    else if (v <= lim)
        out->truth = RULES_CALM;
    else if ((double)v < (double)lim + margin)
        out->truth = RULES_NEAR;
    else {
        out->truth = RULES_TRUE;
        rungs(w, &l, loaded, v, lim, out);
    }
}
