#include "replay_line.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define WORDS_MAX 24

static const char *const source_names[] = {"", "door", "camera", "attendant", "cards", NULL};
static const char *const flag_names[] = {"reset", "doubtful", "zeroed", NULL}; /* bits 0, 1, 2 */
static const char *const unit_names[] = {"adas", "dsm", "tpms", "bsd", NULL};  /* from 0x64 */
static const char *const phase_names[] = {"once", "begin", "end", NULL};
static const char *const state_names[] = {"", "ok", "silent", "failed", "absent", NULL};

struct words {
    char *word[WORDS_MAX];
    size_t n;
};

static int index_of(const char *const *names, const char *word)
{
    for (int i = 0; names[i] != NULL; i++)
        if (names[i][0] != '\0' && strcmp(names[i], word) == 0)
            return i;
    return -1;
}

/* A number times `by`, rounded; "-" is EVENT_UNKNOWN. */
static bool scaled(const char *word, double by, double min, double max, int32_t *ret)
{
    if (strcmp(word, "-") == 0) {
        *ret = EVENT_UNKNOWN;
        return true;
    }
    char *end = NULL;
    double v = strtod(word, &end);
    if (end == word || *end != '\0' || !isfinite(v) || v * by < min || v * by > max)
        return false;
    *ret = (int32_t)lround(v * by);
    return true;
}

static bool whole(const char *word, int64_t min, int64_t max, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long v = strtoll(word, &end, 0);
    if (errno != 0 || end == word || *end != '\0' || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

static bool parse_fix(const struct words *w, struct event *e)
{
    int64_t satellites = 0, mode = 0, doubt = 0;
    struct event_fix *f = &e->fix;
    e->kind = EVENT_FIX;
    f->alt_dm = EVENT_UNKNOWN;
    size_t n = w->n;
    if (n >= 10 && strncmp(w->word[n - 1], "doubt=", 6) == 0 && !whole(w->word[--n] + 6, 0, EVENT_DOUBT_ALL, &doubt))
        return false;
    if (n < 9 || n > 10 || !scaled(w->word[2], 1e7, -9e8, 9e8, &f->lat_e7) || !scaled(w->word[3], 1e7, -1.8e9, 1.8e9, &f->lon_e7) ||
        !scaled(w->word[4], 1000, 0, 1e6, &f->speed_mmps) || !scaled(w->word[5], 100, 0, 36000, &f->track_cdeg) ||
        !scaled(w->word[6], 10, 0, 999, &f->hdop_d) || !whole(w->word[7], 0, 63, &satellites) || !whole(w->word[8], 0, 3, &mode) ||
        (n == 10 && !scaled(w->word[9], 10, -1e4, 1e6, &f->alt_dm)))
        return false;
    if (f->track_cdeg == 36000)
        f->track_cdeg = 0;
    f->satellites = (uint8_t)satellites;
    f->mode = (uint8_t)mode;
    f->doubt = (uint8_t)doubt;
    return true;
}

static bool parse_count(const struct words *w, struct event *e)
{
    int64_t door = 0, confidence = 0;
    struct event_count *c = &e->count;
    e->kind = EVENT_COUNT;
    int source = w->n >= 8 ? index_of(source_names, w->word[2]) : -1;
    if (source < 0 || !whole(w->word[3], 0, 3, &door) || !scaled(w->word[4], 1, 0, 1e9, &c->boarded) || !scaled(w->word[5], 1, 0, 1e9, &c->alighted) ||
        !scaled(w->word[6], 1, 0, 1e6, &c->aboard) || !whole(w->word[7], 0, 100, &confidence))
        return false;
    for (size_t i = 8; i < w->n; i++) {
        int flag = index_of(flag_names, w->word[i]);
        if (flag < 0)
            return false;
        c->flags |= (uint8_t)(1u << flag);
    }
    c->source = (uint8_t)source;
    c->door = (uint8_t)door;
    c->confidence_pct = (uint8_t)confidence;
    return true;
}

static bool parse_inputs(const struct words *w, struct event *e)
{
    e->kind = EVENT_INPUTS;
    for (size_t i = 2; i < w->n; i++) {
        char *equals = strchr(w->word[i], '=');
        if (equals == NULL || (strcmp(equals, "=0") != 0 && strcmp(equals, "=1") != 0))
            return false;
        *equals = '\0';
        int at = index_of(event_input_names, w->word[i]);
        if (at < 0)
            return false;
        e->inputs.known |= 1u << at;
        if (equals[1] == '1')
            e->inputs.state |= 1u << at;
    }
    return true;
}

static bool parse_camera(const struct words *w, struct event *e)
{
    int64_t type = 0, id = 0, degree = 0, speed = 0, media = 0;
    e->kind = EVENT_CAMERA;
    if ((w->n != 6 && w->n != 9) || !whole(w->word[4], 0, 255, &type) || !whole(w->word[5], 0, UINT32_MAX, &id))
        return false;
    if (w->n == 9 && (!whole(w->word[6], 0, 10, &degree) || !whole(w->word[7], 0, 255, &speed) || !whole(w->word[8], 0, 255, &media)))
        return false;
    int unit = index_of(unit_names, w->word[2]), phase = index_of(phase_names, w->word[3]);
    if (unit < 0 || phase < 0)
        return false;
    e->camera = (struct event_camera){.alarm_id = (uint32_t)id,
                                      .unit = (uint8_t)(EVENT_CAMERA_ADAS + unit),
                                      .phase = (uint8_t)phase,
                                      .type = (uint8_t)type,
                                      .degree = (uint8_t)degree,
                                      .speed_kmh = (uint8_t)speed,
                                      .media = (uint8_t)media};
    return true;
}

static bool parse_health(const struct words *w, struct event *e)
{
    int64_t code = 0;
    e->kind = EVENT_HEALTH;
    int state = w->n == 4 ? index_of(state_names, w->word[2]) : -1;
    if (state < 0 || !whole(w->word[3], INT32_MIN, INT32_MAX, &code))
        return false;
    memcpy(e->health.name, "replay", 7);
    e->health.device = EVENT_DEVICE_REPLAY;
    e->health.state = (uint8_t)state;
    e->health.code = (int32_t)code;
    return true;
}

/* Kinds with a table: NAME=VALUE for each field, a word or a number; what is left out is 0, or unknown where it can be. */
static bool parse_field(const struct event_field *f, const char *text, struct event *e)
{
    int64_t v = 0;
    if (f->form == EVENT_FIELD_BYTES) {
        char *at = (char *)e + f->offset;
        if (strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
            return false;
        for (int i = 0; i < 16; i++) {
            char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
            at[i] = (char)strtoul(pair, NULL, 16);
        }
        return true;
    }
    if (f->words > 0) {
        for (unsigned i = 0; i < f->words; i++)
            if (f->word[i] != NULL && strcmp(f->word[i], text) == 0)
                return event_field_set(e, f, i);
        return false;
    }
    if (f->form == EVENT_FIELD_I32 && strcmp(text, "-") == 0)
        return event_field_set(e, f, EVENT_UNKNOWN);
    if (f->form == EVENT_FIELD_U64) {
        char *end = NULL;
        errno = 0;
        unsigned long long u = strtoull(text, &end, 0);
        return errno == 0 && end != text && *end == '\0' && text[0] != '-' && event_field_set(e, f, (int64_t)u);
    }
    return whole(text, INT32_MIN, UINT32_MAX, &v) && event_field_set(e, f, v);
}

static bool parse_described(const struct words *w, uint8_t kind, struct event *e)
{
    size_t n = 0;
    const struct event_field *f = event_fields(kind, &n);
    e->kind = kind;
    for (size_t i = 0; i < n; i++)
        if (f[i].form == EVENT_FIELD_I32 && !event_field_set(e, &f[i], EVENT_UNKNOWN))
            return false;
    for (size_t k = 2; k < w->n; k++) {
        char *equals = strchr(w->word[k], '=');
        size_t i = 0;
        if (equals == NULL)
            return false;
        *equals = '\0';
        while (i < n && strcmp(event_field_word(&f[i]), w->word[k]) != 0)
            i++;
        if (i == n || !parse_field(&f[i], equals + 1, e))
            return false;
    }
    return true;
}

static const struct {
    const char *word, *form;
    bool (*parse)(const struct words *w, struct event *e);
} kinds[] = {
    {"fix", "fix LAT LON SPEED_MPS TRACK_DEG HDOP SATELLITES MODE [ALTITUDE_M]", parse_fix},
    {"count", "count door|camera|attendant|cards DOOR BOARDED ALIGHTED ABOARD CONFIDENCE_PCT [FLAG ...]", parse_count},
    {"inputs", "inputs NAME=0|1 ...", parse_inputs},
    {"camera", "camera adas|dsm|tpms|bsd once|begin|end TYPE ALARM_ID [DEGREE SPEED_KMH MEDIA]", parse_camera},
    {"health", "health ok|silent|failed|absent CODE", parse_health},
};

static enum rc finish(bool parsed, const char *kind, const char *form, int64_t ms, struct event *e, int64_t *ret_ms, struct event *ret_e, char *why, size_t cap)
{
    const char *field = "";
    if (!parsed) {
        snprintf(why, cap, "not of the form: MS %s%s%s", kind, kind[0] != '\0' ? " " : "", form);
        return RC_INVALID;
    }
    e->time_ms = 1; /* the check wants a time; the caller gives the real one */
    if (event_check(e, &field) != RC_OK) {
        snprintf(why, cap, "%s is out of its range: see event.h", field);
        return RC_RANGE;
    }
    e->time_ms = 0;
    *ret_ms = ms;
    *ret_e = *e;
    return RC_OK;
}

enum rc replay_line_parse(const char *line, int64_t *ret_ms, struct event *ret_e, char *why, size_t cap)
{
    char copy[REPLAY_LINE_MAX];
    struct words w = {.n = 0};
    int64_t ms = 0;
    if (strlen(line) >= sizeof copy) {
        snprintf(why, cap, "line longer than %d characters: one event per line", REPLAY_LINE_MAX - 1);
        return RC_INVALID;
    }
    memcpy(copy, line, strlen(line) + 1);
    char *save = NULL;
    for (char *t = strtok_r(copy, " \t\r\n", &save); t != NULL && w.n < WORDS_MAX; t = strtok_r(NULL, " \t\r\n", &save))
        w.word[w.n++] = t;
    if (w.n == 0 || w.word[0][0] == '#')
        return RC_AGAIN;
    if (!whole(w.word[0], 0, INT64_C(253402300799999), &ms) || w.n < 2) {
        snprintf(why, cap, "a line begins with milliseconds and a kind: 1000 fix ...");
        return RC_INVALID;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct event e = {.kind = EVENT_NONE};
        if (strcmp(w.word[1], kinds[i].word) == 0)
            return finish(kinds[i].parse(&w, &e), "", kinds[i].form, ms, &e, ret_ms, ret_e, why, cap);
    }
    for (int kind = EVENT_CARD; kind < EVENT_KINDS; kind++) {
        struct event e = {.kind = EVENT_NONE};
        if (strcmp(w.word[1], event_kind_word((uint8_t)kind)) == 0)
            return finish(parse_described(&w, (uint8_t)kind, &e), w.word[1], "NAME=VALUE ...: see core/event.c", ms, &e, ret_ms, ret_e, why, cap);
    }
    snprintf(why, cap, "\"%s\" is no kind of event: fix, count, inputs, camera, health, card, tally, gap, media, gnss, reading, action", w.word[1]);
    return RC_INVALID;
}

/* --- writing --- */

struct out {
    char *at;
    size_t cap;
    int n;
};

static void put(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct out *o, const char *format, ...)
{
    va_list ap;
    size_t used = (size_t)o->n < o->cap ? (size_t)o->n : o->cap;
    va_start(ap, format);
    int n = vsnprintf(o->cap > used ? o->at + used : NULL, o->cap - used, format, ap);
    va_end(ap);
    if (n > 0)
        o->n += n;
}

static void put_scaled(struct out *o, int32_t v, double by, int digits)
{
    if (v == EVENT_UNKNOWN)
        put(o, " -");
    else
        put(o, " %.*f", digits, (double)v / by);
}

static const char *word_at(const char *const *names, size_t i)
{
    for (size_t k = 0; names[k] != NULL; k++)
        if (k == i)
            return names[k];
    return "?";
}

static void put_described(struct out *o, const struct event *e)
{
    size_t n = 0;
    const struct event_field *f = event_fields(e->kind, &n);
    put(o, " %s", event_kind_word(e->kind));
    for (size_t i = 0; i < n; i++) {
        int64_t v = event_field_value(e, &f[i]);
        put(o, " %s=", event_field_word(&f[i]));
        if (f[i].form == EVENT_FIELD_BYTES)
            for (int k = 0; k < 16; k++)
                put(o, "%02x", ((const uint8_t *)e + f[i].offset)[k]);
        else if (f[i].words > 0 && v < f[i].words && f[i].word[v] != NULL)
            put(o, "%s", f[i].word[v]);
        else if (f[i].form == EVENT_FIELD_I32 && v == EVENT_UNKNOWN)
            put(o, "-");
        else if (f[i].form == EVENT_FIELD_U64)
            put(o, "%" PRIu64, (uint64_t)v);
        else
            put(o, "%" PRId64, v);
    }
}

int replay_line_format(int64_t ms, const struct event *e, char *out, size_t cap)
{
    struct out o = {out, cap, 0};
    put(&o, "%" PRId64, ms);
    switch ((enum event_kind)e->kind) {
    case EVENT_FIX:
        put(&o, " fix");
        put_scaled(&o, e->fix.lat_e7, 1e7, 7);
        put_scaled(&o, e->fix.lon_e7, 1e7, 7);
        put_scaled(&o, e->fix.speed_mmps, 1000, 3);
        put_scaled(&o, e->fix.track_cdeg, 100, 2);
        put_scaled(&o, e->fix.hdop_d, 10, 1);
        put(&o, " %u %u", e->fix.satellites, e->fix.mode);
        if (e->fix.alt_dm != EVENT_UNKNOWN)
            put_scaled(&o, e->fix.alt_dm, 10, 1);
        if (e->fix.doubt != 0)
            put(&o, " doubt=%u", e->fix.doubt);
        break;
    case EVENT_COUNT:
        put(&o, " count %s %u", word_at(source_names, e->count.source), e->count.door);
        put_scaled(&o, e->count.boarded, 1, 0);
        put_scaled(&o, e->count.alighted, 1, 0);
        put_scaled(&o, e->count.aboard, 1, 0);
        put(&o, " %u", e->count.confidence_pct);
        for (unsigned i = 0; i < 3; i++)
            if (e->count.flags >> i & 1)
                put(&o, " %s", flag_names[i]);
        break;
    case EVENT_INPUTS:
        put(&o, " inputs");
        for (unsigned i = 0; i < EVENT_INPUTS_N; i++)
            if (e->inputs.known >> i & 1)
                put(&o, " %s=%u", event_input_names[i], e->inputs.state >> i & 1);
        break;
    case EVENT_CAMERA:
        put(&o, " camera %s %s %u %" PRIu32 " %u %u %u", word_at(unit_names, (size_t)(e->camera.unit - EVENT_CAMERA_ADAS)),
            word_at(phase_names, e->camera.phase), e->camera.type, e->camera.alarm_id, e->camera.degree, e->camera.speed_kmh, e->camera.media);
        break;
    case EVENT_HEALTH: put(&o, " health %s %" PRId32, word_at(state_names, e->health.state), e->health.code); break;
    case EVENT_CARD:
    case EVENT_TALLY:
    case EVENT_GAP:
    case EVENT_MEDIA:
    case EVENT_GNSS:
    case EVENT_READING:
    case EVENT_ACTION: put_described(&o, e); break;
    case EVENT_NONE:
    case EVENT_CLOCK:
    case EVENT_TICK:
    case EVENT_KINDS: put(&o, " none"); break;
    }
    return o.n;
}
