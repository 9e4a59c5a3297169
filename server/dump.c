#include "dump.h"

#include "../core/camera_word.h"

#include <math.h>
#include <string.h>

#include "journal_read.h"
#include "json.h"

struct dump {
    struct json j;
    FILE *out;
    bool failed;
};

static void known(struct json *j, const char *name, int32_t v, double by, int decimals)
{
    if (v == EVENT_UNKNOWN)
        json_none(j, name);
    else
        json_number(j, name, (double)v / by, decimals);
}

static void described(struct json *j, const struct event *e)
{
    size_t n = 0;
    const struct event_field *f = event_fields(e->kind, &n);
    char hex[33];
    json_text(j, "kind", event_kind_word(e->kind));
    for (size_t i = 0; i < n; i++) {
        int64_t v = event_field_value(e, &f[i]);
        const char *word = event_field_word(&f[i]), *name = strcmp(word, "kind") == 0 ? "card_kind" : word; /* "kind" is the event's */
        if (f[i].form == EVENT_FIELD_BYTES) {
            for (int k = 0; k < 16; k++)
                snprintf(hex + 2 * k, 3, "%02x", ((const uint8_t *)e + f[i].offset)[k]);
            json_text(j, name, hex);
        } else if (f[i].form == EVENT_FIELD_U64) { /* a JSON number of 64 bits is no number to many readers */
            snprintf(hex, sizeof hex, "%016llx", (unsigned long long)v);
            json_text(j, name, hex);
        } else if (f[i].words > 0) {
            json_text(j, name, f[i].word[v]);
        } else if (f[i].form == EVENT_FIELD_I32 && v == EVENT_UNKNOWN) {
            json_none(j, name);
        } else {
            json_int(j, name, v);
        }
    }
}

static void body(struct json *j, const struct event *e)
{
    switch (e->kind) {
    case EVENT_FIX:
        json_text(j, "kind", "fix");
        known(j, "lat", e->fix.lat_e7, 1e7, 7);
        known(j, "lon", e->fix.lon_e7, 1e7, 7);
        known(j, "speed_mps", e->fix.speed_mmps, 1e3, 3);
        known(j, "track_deg", e->fix.track_cdeg, 1e2, 2);
        known(j, "alt_m", e->fix.alt_dm, 10, 1);
        known(j, "hdop", e->fix.hdop_d, 10, 1);
        json_int(j, "satellites", e->fix.satellites);
        json_int(j, "mode", e->fix.mode);
        json_int(j, "doubt", e->fix.doubt);
        break;
    case EVENT_COUNT:
        json_text(j, "kind", "count");
        json_int(j, "source", e->count.source);
        json_int(j, "door", e->count.door);
        json_int(j, "flags", e->count.flags);
        json_int(j, "confidence_pct", e->count.confidence_pct);
        known(j, "boarded", e->count.boarded, 1, 0);
        known(j, "alighted", e->count.alighted, 1, 0);
        known(j, "aboard", e->count.aboard, 1, 0);
        break;
    case EVENT_INPUTS:
        json_text(j, "kind", "inputs");
        json_int(j, "state", e->inputs.state);
        json_int(j, "known", e->inputs.known);
        break;
    case EVENT_CAMERA:
        json_text(j, "kind", "camera");
        json_int(j, "unit", e->camera.unit);
        json_int(j, "phase", e->camera.phase);
        json_int(j, "type", e->camera.type);
        json_text(j, "alarm_zh", camera_word_of(e->camera.unit, e->camera.type).zh);
        json_text(j, "alarm_en", camera_word_of(e->camera.unit, e->camera.type).en);
        json_int(j, "alarm_id", e->camera.alarm_id);
        break;
    case EVENT_HEALTH:
        json_text(j, "kind", "health");
        json_text(j, "name", e->health.name);
        json_int(j, "device", e->health.device);
        json_int(j, "state", e->health.state);
        json_int(j, "code", e->health.code);
        break;
    case EVENT_CLOCK:
        json_text(j, "kind", "clock");
        json_int(j, "offset_ms", e->clock_set.offset_ms);
        json_int(j, "quality", e->clock_set.quality);
        break;
    default: described(j, e);
    }
}

static bool each(void *arg, const struct journal_row *row)
{
    struct dump *d = arg;
    json_reset(&d->j);
    json_begin_object(&d->j, NULL);
    json_text(&d->j, "gateway", row->gateway);
    json_int(&d->j, "lane", row->lane);
    json_int(&d->j, "seq", (int64_t)row->seq);
    json_int(&d->j, "time_ms", row->event->time_ms);
    json_int(&d->j, "arrival_ms", row->arrival_ms);
    json_bool(&d->j, "late", row->late);
    json_int(&d->j, "clock", row->event->clock);
    body(&d->j, row->event);
    json_end_object(&d->j);
    d->failed = d->j.failed || fwrite(d->j.text, 1, d->j.n, d->out) != d->j.n || fputc('\n', d->out) == EOF;
    return !d->failed;
}

enum rc dump_journal(const char *dir, FILE *out)
{
    struct dump d = {.out = out};
    struct journal_cursor cursor = {0};
    enum rc rc = RC_OK;
    json_init(&d.j, 65536);
    while (rc == RC_OK && !d.failed)
        rc = journal_read_follow(dir, &cursor, 100000, each, &d);
    json_free(&d.j);
    if (d.failed)
        return RC_IO;
    return rc == RC_AGAIN ? RC_OK : rc;
}
