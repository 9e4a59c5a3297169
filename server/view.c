#include "view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Position and estimate of a bus that was not heard of for longer are shown as old, never as a forecast. */
static bool view_is_live(enum bus_freshness f)
{
    return f == BUS_FRESH || f == BUS_DELAYED;
}

enum bus_freshness view_freshness(const struct fleet *f, const struct fleet_vehicle *v, int64_t now_ms)
{
    const struct bus_freshness_limits *limits = fleet_freshness(f);
    bool alive = v->connected && v->received_ms && now_ms - v->received_ms <= limits->fresh_ms;
    return bus_freshness(&v->bus, now_ms, alive, limits);
}

const char *view_severity_word(uint8_t severity)
{
    return law_severity_word(severity == LAW_INFO ? LAW_LOW : (enum law_severity)severity);
}

static int64_t view_age(int64_t now_ms, int64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0; /* a receiver's clock may be a little ahead of ours */
}

static void view_degrees(struct json *j, const char *name, int32_t e7)
{
    if (e7 == EVENT_UNKNOWN)
        json_none(j, name);
    else
        json_number(j, name, e7 * 1e-7, 7);
}

/* null for what the device did not say, else value * scale. */
static void view_scaled(struct json *j, const char *name, int32_t value, double scale, int decimals)
{
    if (value == EVENT_UNKNOWN)
        json_none(j, name);
    else
        json_number(j, name, value * scale, decimals);
}

static void view_time(struct json *j, const char *name, int64_t ms)
{
    if (ms)
        json_int(j, name, ms);
    else
        json_none(j, name);
}

static const struct duty_route *view_route_by_id(const struct duty_set *set, const char *id)
{
    for (size_t i = 0; i < set->routes; i++)
        if (!strcmp(set->route[i].id, id))
            return &set->route[i];
    return NULL;
}

static void view_route_name(struct json *j, const char *name, const struct duty_route *r, const char *id)
{
    if (!r && !*id) {
        json_none(j, name);
        return;
    }
    json_begin_object(j, name);
    json_text(j, "id", r ? r->id : id);
    json_text(j, "name_zh", r ? r->name_zh : id); /* a route that is no longer in the duty keeps its id as a name */
    json_text(j, "name_en", r ? r->name_en : id);
    json_end_object(j);
}

static void view_position(struct json *j, const struct bus *b, int64_t now_ms)
{
    const struct event_fix *f = &b->fix;
    if (!b->fix_ms) {
        json_none(j, "position");
        return;
    }
    json_begin_object(j, "position");
    view_degrees(j, "lat", f->lat_e7);
    view_degrees(j, "lon", f->lon_e7);
    json_int(j, "time_ms", b->fix_ms);
    json_int(j, "age_ms", view_age(now_ms, b->fix_ms));
    view_scaled(j, "speed_mps", f->speed_mmps, 1e-3, 2);
    view_scaled(j, "track_deg", f->track_cdeg, 1e-2, 1);
    view_scaled(j, "hdop", f->hdop_d, 0.1, 1);
    if (f->satellites)
        json_int(j, "satellites", f->satellites);
    else
        json_none(j, "satellites");
    json_int(j, "mode", f->mode);
    json_end_object(j);
}

static const char *view_count_source(uint8_t source)
{
    switch (source) {
    case EVENT_COUNT_DOOR: return "door";
    case EVENT_COUNT_CAMERA: return "camera";
    case EVENT_COUNT_ATTENDANT: return "attendant";
    case EVENT_COUNT_CARDS: return "cards";
    default: return "unknown";
    }
}

/* The leading source first, then those that agree with it within one person. */
static void view_sources(struct json *j, const struct bus *b, const struct bus_persons *p)
{
    json_begin_array(j, "sources");
    if (p->source)
        json_text(j, NULL, view_count_source(p->source));
    for (size_t i = 0; i < 3; i++) {
        uint8_t source = (uint8_t)(EVENT_COUNT_CAMERA + i);
        int32_t gap = b->seen[i].aboard - p->persons;
        if (b->seen[i].time_ms && source != p->source && gap >= -1 && gap <= 1)
            json_text(j, NULL, view_count_source(source));
    }
    json_end_array(j);
}

static void view_aboard(struct json *j, const struct fleet_vehicle *v, int64_t now_ms)
{
    const struct bus_persons *p = &v->persons;
    if (p->persons == EVENT_UNKNOWN || !p->time_ms) {
        json_none(j, "aboard");
        return;
    }
    json_begin_object(j, "aboard");
    json_int(j, "persons", p->persons);
    view_scaled(j, "pupils", p->pupils, 1, 0);
    if (v->duty->rated_total)
        json_int(j, "rated", v->duty->rated_total);
    else
        json_none(j, "rated");
    json_number(j, "confidence", p->confidence_pct / 100.0, 2);
    view_sources(j, &v->bus, p);
    json_int(j, "time_ms", p->time_ms);
    json_int(j, "age_ms", view_age(now_ms, p->time_ms));
    json_end_object(j);
}

static void view_input(struct json *j, const char *name, const struct bus *b, uint32_t bit)
{
    if (b->inputs_known & bit)
        json_bool(j, name, b->inputs & bit);
    else
        json_none(j, name);
}

static void view_next_stop(struct json *j, const struct duty_route *r, const struct arrive_run *run, bool live)
{
    if (!r || !run->run || run->next_stop < 0 || (size_t)run->next_stop >= r->stops) {
        json_none(j, "next_stop");
        return;
    }
    const struct duty_stop *s = &r->stop[run->next_stop];
    json_begin_object(j, "next_stop");
    json_text(j, "id", s->id);
    json_text(j, "name_zh", s->name_zh);
    json_text(j, "name_en", s->name_en);
    view_time(j, "eta_ms", live ? run->next_eta_ms : 0);
    view_time(j, "planned_ms", run->next_planned_ms);
    json_int(j, "stops_to_go", (int64_t)r->stops - run->next_stop);
    json_end_object(j);
}

static void view_devices(struct json *j, const struct fleet_vehicle *v)
{
    static const char *const kind[] = {"unknown", "gnss", "counter", "inputs", "camera", "panel", "store", "replay", "cards"};
    static const char *const state[] = {"absent", "ok", "silent", "failed", "absent"};
    json_begin_array(j, "devices");
    for (size_t i = 0; i < v->devices && i < FLEET_DEVICES_MAX; i++) {
        const struct fleet_device *d = &v->device[i];
        json_begin_object(j, NULL);
        json_text(j, "name", d->name);
        json_text(j, "kind", kind[d->kind <= EVENT_DEVICE_CARDS ? d->kind : 0]);
        json_text(j, "state", state[d->state <= EVENT_DEVICE_ABSENT ? d->state : 0]);
        json_int(j, "since_ms", d->since_ms);
        json_end_object(j);
    }
    json_end_array(j);
}

void view_vehicle(struct json *j, const char *name, const struct fleet *f, const struct arrive *a, const struct fleet_vehicle *v, int64_t now_ms)
{
    const struct duty_route *r = duty_route_at(fleet_duty(f), v->duty, now_ms);
    enum bus_freshness fresh = view_freshness(f, v, now_ms);
    struct arrive_run run = arrive_of(a, v, now_ms);
    int doors = bus_doors_open(&v->bus);
    json_begin_object(j, name);
    json_text(j, "id", v->duty->id);
    json_text(j, "plate", v->duty->plate);
    view_route_name(j, "route", r, "");
    json_text(j, "freshness", bus_freshness_word(fresh));
    view_position(j, &v->bus, now_ms);
    view_aboard(j, v, now_ms);
    if (doors < 0)
        json_none(j, "doors_open");
    else
        json_bool(j, "doors_open", doors == 1);
    view_input(j, "ignition", &v->bus, EVENT_IN_IGNITION);
    json_bool(j, "sos", v->bus.inputs & v->bus.inputs_known & EVENT_IN_SOS);
    json_begin_object(j, "link");
    json_bool(j, "connected", v->connected);
    view_time(j, "last_received_ms", v->received_ms);
    json_end_object(j);
    json_number(j, "limit_kmh", fleet_limit_kmh(f, v), 0);
    json_text(j, "severity", view_severity_word(v->severity));
    json_int(j, "open_findings", v->open_findings);
    view_next_stop(j, r, &run, view_is_live(fresh));
    if (run.run && run.delay_s != INT32_MIN)
        json_int(j, "delay_s", run.delay_s);
    else
        json_none(j, "delay_s");
    view_devices(j, v);
    json_end_object(j);
}

static void view_hazards(struct json *j, uint32_t hazards)
{
    static const char *const word[] = {"sharp_bend", "steep", "narrow_road", "narrow_bridge", "rail_crossing", "cliff", "water"};
    char text[128];
    size_t n = 0;
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (hazards >> i & 1)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? "," : "", word[i]);
    json_text(j, "hazard", n ? text : NULL);
}

/* The route's own corridor, else the law pack's default for its kind of road. */
static double view_corridor_m(const struct duty_route *r, const struct law *law, int64_t now_ms)
{
    const struct law_rule_text *t = law_rule_at(law, LAW_RTE_1, now_ms);
    size_t want = r->rural ? LAW_RTE_1_RURAL_M : LAW_RTE_1_URBAN_M;
    if (r->corridor_m > 0)
        return r->corridor_m;
    if (t && want < t->params)
        return t->param[want].value;
    return (double)NAN;
}

void view_route(struct json *j, const char *name, const struct duty_route *r, const struct law *law, int64_t now_ms)
{
    static const char *const road[] = {"unknown",       "expressway",     "urban_expressway", "city_no_line", "rural_no_line",
                                       "city_one_lane", "rural_one_lane", "city_multi",       "rural_multi"};
    const struct geo_pt *pt = NULL;
    size_t n = geo_line_points(r->line, &pt);
    json_begin_object(j, name);
    json_text(j, "id", r->id);
    json_text(j, "name_zh", r->name_zh);
    json_text(j, "name_en", r->name_en);
    json_begin_array(j, "line");
    for (size_t i = 0; i < n; i++) {
        json_begin_array(j, NULL);
        json_number(j, NULL, pt[i].lon, 6);
        json_number(j, NULL, pt[i].lat, 6);
        json_end_array(j);
    }
    json_end_array(j);
    json_number(j, "corridor_m", view_corridor_m(r, law, now_ms), 1);
    json_begin_array(j, "stops");
    for (size_t i = 0; i < r->stops; i++) {
        const struct duty_stop *s = &r->stop[i];
        json_begin_object(j, NULL);
        json_text(j, "id", s->id);
        json_text(j, "name_zh", s->name_zh);
        json_text(j, "name_en", s->name_en);
        json_number(j, "lat", s->at.lat, 7);
        json_number(j, "lon", s->at.lon, 7);
        json_number(j, "along_m", s->along_m, 1);
        json_int(j, "offset_s", s->offset_s);
        json_end_object(j);
    }
    json_end_array(j);
    json_begin_array(j, "segments");
    for (size_t i = 0; i < r->segments; i++) {
        const struct duty_segment *s = &r->segment[i];
        json_begin_object(j, NULL);
        json_number(j, "from_m", s->from_m, 1);
        json_number(j, "to_m", s->to_m, 1);
        if (s->posted_kmh)
            json_int(j, "limit_kmh", s->posted_kmh);
        else
            json_none(j, "limit_kmh");
        json_text(j, "road_class", road[s->road <= DUTY_ROAD_RURAL_MULTI ? s->road : 0]);
        view_hazards(j, s->hazards);
        json_end_object(j);
    }
    json_end_array(j);
    json_end_object(j);
}

/* ---- findings ---- */

static void view_citations(struct json *j, const struct law *law, const struct rules_finding *f)
{
    const struct law_cite *cite[RULES_CITES_MAX];
    size_t n = rules_cites(law, f, cite);
    json_begin_array(j, "citations");
    for (size_t i = 0; i < n; i++) {
        json_begin_object(j, NULL);
        json_text(j, "code", cite[i]->code);
        json_text(j, "article", cite[i]->article);
        json_text(j, "zh", cite[i]->zh);
        json_text(j, "en", cite[i]->en);
        json_text(j, "mark", cite[i]->mark);
        json_end_object(j);
    }
    json_end_array(j);
}

static void view_one_input(struct json *j, const char *name, const char *source, int confidence_pct, int64_t age_ms)
{
    json_begin_object(j, NULL);
    json_text(j, "name", name);
    json_text(j, "source", source);
    json_number(j, "confidence", confidence_pct < 0 ? (double)NAN : confidence_pct / 100.0, 2);
    if (age_ms >= 0)
        json_int(j, "age_ms", age_ms);
    else
        json_none(j, "age_ms");
    json_end_object(j);
}

/* What it was judged from: the leading input, and the position it is placed at. Ages are as of the event that made the last change. */
static void view_inputs(struct json *j, const struct rules_finding *f)
{
    enum law_rule r = (enum law_rule)f->rule;
    bool count = r == LAW_OVL_1 || r == LAW_OVL_2 || r == LAW_OVL_3 || r == LAW_OVL_DOUBT;
    bool speed = strcmp(rules_unit(r), "km/h") == 0;
    const char *name = count ? "persons" : r == LAW_RTE_1 ? "offset" : r == LAW_SOS_1 ? "sos" : speed ? "speed" : "inputs";
    const char *source = count ? view_count_source(f->source) : speed && f->source == BUS_SPEED_WHEEL ? "wheel" : r == LAW_RTE_1 || speed ? "gnss" : "inputs";
    json_begin_array(j, "inputs");
    view_one_input(j, name, source, f->confidence_pct, f->input_ms ? view_age(f->time_ms, f->input_ms) : -1);
    if (f->lat_e7 != EVENT_UNKNOWN)
        view_one_input(j, "position", "gnss", -1, f->fix_ms ? view_age(f->time_ms, f->fix_ms) : -1);
    json_end_array(j);
}

static void view_audience(struct json *j, uint32_t to)
{
    static const char *const word[] = {"CAB", "DIS", "SCH", "OFF", "POL", "PAR"};
    json_begin_array(j, "audience");
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (to >> i & 1)
            json_text(j, NULL, word[i]);
    json_end_array(j);
}

static void view_measure(struct json *j, const struct rules_finding *f)
{
    const char *unit = rules_unit((enum law_rule)f->rule);
    bool none = !*unit; /* a pressed button has no value */
    json_number(j, "value", none ? (double)NAN : f->value, 1);
    json_number(j, "limit", none ? (double)NAN : f->limit, 1);
    json_text(j, "unit", unit);
    json_number(j, "over_pct", f->over_pct, 1);
}

void view_finding(struct json *j, const char *name, const struct fleet *f, const struct ledger_finding *x)
{
    const struct rules_finding *r = &x->f;
    const char *word = law_rule_word((enum law_rule)r->rule);
    /* The law of the time it happened, not of today: a later change of the text does not rewrite an old card. */
    const struct law_rule_text *t = law_rule_at(fleet_law(f), (enum law_rule)r->rule, r->began_ms);
    char id[20];
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)r->id);
    json_begin_object(j, name);
    json_text(j, "id", id);
    json_text(j, "rule", word);
    json_text(j, "vehicle", x->vehicle);
    json_text(j, "plate", x->plate);
    view_route_name(j, "route", view_route_by_id(fleet_duty(f), x->route), x->route);
    json_text(j, "state", r->closed_ms ? "closed" : "open");
    json_text(j, "severity", view_severity_word(r->severity));
    if (r->points < 0)
        json_none(j, "points");
    else
        json_int(j, "points", r->points);
    json_bool(j, "criminal_lead", r->criminal_lead);
    json_bool(j, "late", x->late);
    json_text(j, "title_zh", t ? t->title_zh : word);
    json_text(j, "title_en", t ? t->title_en : word);
    view_measure(j, r);
    json_int(j, "began_ms", r->began_ms);
    json_int(j, "opened_ms", r->opened_ms);
    view_time(j, "raised_ms", r->raised_ms);
    view_time(j, "closed_ms", r->closed_ms);
    view_degrees(j, "lat", r->lat_e7);
    view_degrees(j, "lon", r->lon_e7);
    view_scaled(j, "pupils", r->pupils, 1, 0);
    view_citations(j, fleet_law(f), r);
    json_text(j, "lead_zh", t ? t->lead_zh : NULL);
    json_text(j, "lead_en", t ? t->lead_en : NULL);
    view_inputs(j, r);
    json_begin_object(j, "law");
    json_text(j, "pack", x->law_pack);
    json_text(j, "version", x->law_version);
    json_end_object(j);
    view_audience(j, r->to);
    if (x->ack_by[0]) {
        json_begin_object(j, "ack");
        json_text(j, "by", x->ack_by);
        json_int(j, "at_ms", x->ack_ms);
        json_text(j, "note", x->ack_note[0] ? x->ack_note : NULL);
        json_end_object(j);
    } else {
        json_none(j, "ack");
    }
    json_end_object(j);
}
