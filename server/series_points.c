#include "series_points.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void fixed(struct lineproto *w, const char *key, int32_t value, int decimals)
{
    if (value != EVENT_UNKNOWN)
        lineproto_fixed(w, key, value, decimals);
}

static void whole(struct lineproto *w, const char *key, int32_t value)
{
    if (value != EVENT_UNKNOWN)
        lineproto_int(w, key, value);
}

static void put_fix(struct lineproto *w, const struct event_fix *f)
{
    if (event_fix_placed(f)) {
        lineproto_fixed(w, "lat", f->lat_e7, 7);
        lineproto_fixed(w, "lon", f->lon_e7, 7);
    }
    fixed(w, "speed_mps", f->speed_mmps, 3);
    fixed(w, "track_deg", f->track_cdeg, 2);
    fixed(w, "alt_m", f->alt_dm, 1);
    fixed(w, "hdop", f->hdop_d, 1);
    lineproto_int(w, "satellites", f->satellites);
    lineproto_int(w, "mode", f->mode);
    if (f->doubt != 0)
        lineproto_int(w, "doubt", f->doubt);
}

static void put_count(struct lineproto *w, const struct event_count *c)
{
    static const char *const source[] = {"", "door", "camera", "attendant", "cards"};
    static const char *const door[] = {"0", "1", "2", "3"};
    lineproto_tag(w, "source", c->source <= EVENT_COUNT_CARDS ? source[c->source] : "");
    if (c->source == EVENT_COUNT_DOOR) {
        lineproto_tag(w, "door", door[c->door & 3]);
        whole(w, "boarded", c->boarded);
        whole(w, "alighted", c->alighted);
    }
    whole(w, "aboard", c->aboard);
    if (c->confidence_pct != 0)
        lineproto_fixed(w, "confidence", c->confidence_pct, 2);
    lineproto_int(w, "flags", c->flags);
}

static void put_inputs(struct lineproto *w, const struct event_inputs *in)
{
    for (unsigned i = 0; i < EVENT_INPUTS_N; i++)
        if ((in->known >> i & 1) != 0)
            lineproto_int(w, event_input_names[i], in->state >> i & 1);
}

/* The type is a tag: two alarms of one unit in the same millisecond are two points. */
static void put_camera(struct lineproto *w, const struct event_camera *c, char type[8])
{
    static const char *const unit[] = {"adas", "dsm", "tpms", "bsd"};
    static const char *const phase[] = {"once", "begin", "end"};
    lineproto_tag(w, "unit", c->unit >= EVENT_CAMERA_ADAS && c->unit <= EVENT_CAMERA_BSD ? unit[c->unit - EVENT_CAMERA_ADAS] : "");
    lineproto_tag(w, "phase", c->phase <= EVENT_CAMERA_END ? phase[c->phase] : "");
    snprintf(type, 8, "%u", c->type);
    lineproto_tag(w, "type", type);
    lineproto_int(w, "alarm_id", c->alarm_id);
    if (c->degree != 0)
        lineproto_int(w, "degree", c->degree);
    lineproto_int(w, "speed_kmh", c->speed_kmh);
    lineproto_int(w, "media", c->media);
}

static void put_health(struct lineproto *w, const struct event_health *h)
{
    static const char *const kind[] = {"", "gnss", "counter", "inputs", "camera", "panel", "store", "replay", "cards"};
    lineproto_tag(w, "device", h->name);
    lineproto_tag(w, "kind", h->device <= EVENT_DEVICE_LAST ? kind[h->device] : "");
    lineproto_int(w, "state", h->state);
    lineproto_int(w, "code", h->code);
}

/* Words, doors and channels are tags: few and small. Hashes of cards stay in the journal. */
static bool is_tag(const struct event_field *f)
{
    const char *name = event_field_word(f);
    return f->words > 0 || strcmp(name, "door") == 0 || strcmp(name, "channel") == 0 || strcmp(name, "over") == 0 || strcmp(name, "unit") == 0 ||
           strcmp(name, "lane") == 0;
}

/* Tags are kept by pointer until the first field: small numbers live in text[]. */
static void put_described(struct lineproto *w, const struct event *e, char text[][4], size_t texts)
{
    size_t n = 0, at = 0;
    const struct event_field *f = event_fields(e->kind, &n);
    for (size_t i = 0; i < n; i++) {
        int64_t v = event_field_value(e, &f[i]);
        if (!is_tag(&f[i]) || (f[i].words == 0 && at == texts))
            continue;
        if (f[i].words > 0) {
            lineproto_tag(w, event_field_word(&f[i]), f[i].word[v]);
        } else {
            snprintf(text[at], sizeof text[at], "%u", (unsigned)v & 0xff);
            lineproto_tag(w, event_field_word(&f[i]), text[at++]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        int64_t v = event_field_value(e, &f[i]);
        bool secret = f[i].offset == offsetof(struct event, card.hash) && e->kind == EVENT_CARD;
        if (!is_tag(&f[i]) && !secret && f[i].form != EVENT_FIELD_BYTES && (f[i].form != EVENT_FIELD_I32 || v != EVENT_UNKNOWN))
            lineproto_int(w, event_field_word(&f[i]), v);
    }
}

enum rc series_points_row(struct lineproto *w, const struct journal_row *row, const char *vehicle, const char *route)
{
    const struct event *e = row->event;
    char type[8], text[3][4];
    if (e->kind == EVENT_NONE || e->kind == EVENT_TICK || e->kind >= EVENT_KINDS)
        return RC_INVALID;
    lineproto_begin(w, e->kind == EVENT_INPUTS ? "input" : event_kind_word(e->kind));
    lineproto_tag(w, "vehicle", vehicle);
    switch (e->kind) {
    case EVENT_FIX:
        lineproto_tag(w, "route", route);
        put_fix(w, &e->fix);
        break;
    case EVENT_COUNT: put_count(w, &e->count); break;
    case EVENT_INPUTS: put_inputs(w, &e->inputs); break;
    case EVENT_CAMERA: put_camera(w, &e->camera, type); break;
    case EVENT_HEALTH: put_health(w, &e->health); break;
    case EVENT_CLOCK:
        lineproto_int(w, "offset_ms", e->clock_set.offset_ms);
        lineproto_int(w, "quality", e->clock_set.quality);
        break;
    default: put_described(w, e, text, sizeof text / sizeof *text);
    }
    lineproto_int(w, "seq", (int64_t)row->seq);
    lineproto_bool(w, "late", row->late);
    return lineproto_end(w, e->time_ms);
}

/* Severity is a field: it may rise while the finding is open, and as a tag every rise would leave a second point behind. */
enum rc series_points_finding(struct lineproto *w, const struct ledger_finding *x)
{
    const struct rules_finding *f = &x->f;
    char id[17];
    snprintf(id, sizeof id, "%016" PRIx64, f->id);
    lineproto_begin(w, "finding");
    lineproto_tag(w, "vehicle", x->vehicle);
    lineproto_tag(w, "rule", law_rule_word((enum law_rule)f->rule));
    lineproto_text(w, "id", id);
    lineproto_text(w, "route", x->route[0] == '\0' ? NULL : x->route);
    lineproto_text(w, "severity", law_severity_word((enum law_severity)f->severity));
    lineproto_int(w, "severity_level", f->severity);
    lineproto_bool(w, "open", f->closed_ms == 0);
    lineproto_real(w, "value", f->value);
    lineproto_real(w, "limit", f->limit);
    lineproto_real(w, "over_pct", f->over_pct);
    if (f->points >= 0)
        lineproto_int(w, "points", f->points);
    if (f->confidence_pct >= 0)
        lineproto_fixed(w, "confidence", f->confidence_pct, 2);
    whole(w, "pupils", f->pupils);
    fixed(w, "lat", f->lat_e7, 7);
    fixed(w, "lon", f->lon_e7, 7);
    lineproto_bool(w, "criminal_lead", f->criminal_lead);
    lineproto_int(w, "began_ms", f->began_ms);
    if (f->closed_ms != 0)
        lineproto_int(w, "closed_ms", f->closed_ms);
    lineproto_bool(w, "late", x->late);
    return lineproto_end(w, f->opened_ms);
}
