#include "duty.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jdoc.h"

/* docs/duty-format.md; every list has its limit, since the document comes over the network on a bus */
#define DOCUMENT_MAX   ((size_t)64 << 20)
#define ROUTES_MAX     4096
#define VEHICLES_MAX   20000
#define ORDERS_MAX     256
#define LINE_MAX_PTS   200000
#define SEGMENTS_MAX   60000
#define STOPS_MAX      500
#define RUNS_MAX       500
#define WINDOWS_MAX    256
#define CARDS_MAX      250
#define TIME_MAX_MS    4102444800000LL /* 2100 */
#define STOP_OFFSET_M  200.0
#define SECONDS_OF_DAY 86400

const char *const duty_road_words[] = {"unknown",       "expressway",     "urban_expressway", "city_no_line", "rural_no_line",
                                       "city_one_lane", "rural_one_lane", "city_multi",       "rural_multi",  NULL}; /* by enum duty_road */
const char *const duty_hazard_words[] = {"sharp_bend", "steep", "narrow_road", "narrow_bridge", "rail_crossing", "cliff", "water", "tunnel", NULL}; /* by bit */
static const char *const size_words[] = {"large", "medium", "small", NULL};               /* enum duty_size less 1 */
static const char *const card_words[] = {"pupil", "attendant", "driver", "patrol", NULL}; /* enum event_card_kind less 1 */
static const char *const reason_words[] = {"traffic_control", "works", "disaster", "weather", "accident", NULL};
const char *const duty_weather_words[] = {"ice_mud", "low_visibility", NULL}; /* enum duty_weather less 1 */

/* The set with its two indexes: positions of the vehicles by id and by gateway. */
struct read_set {
    struct duty_set set; /* first: the public part */
    uint32_t *by_id, *by_gateway;
};

/* A name with where it stood, for finding it again and for finding it twice. */
struct name {
    const char *text;
    uint32_t index;
};

static int by_text(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int c = strcmp(x->text, y->text);
    return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

/* Sort names; tell the first one that comes twice. */
static bool unique(struct jdoc *d, const struct jdoc_at *list, const char *key, struct name *name, size_t n)
{
    if (n > 1)
        qsort(name, n, sizeof *name, by_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(name[i - 1].text, name[i].text) == 0) {
            struct jdoc_at item = {list, NULL, name[i].index, NULL}, member = {&item, key, 0, NULL};
            return jdoc_fail(d, &member, RC_INVALID, "\"%s\" is used twice (first at index %u): it must be unique", name[i].text,
                             (unsigned)name[i - 1].index);
        }
    return true;
}

static const struct name *find_name(const struct name *name, size_t n, const char *text)
{
    struct name key = {text, 0};
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(name[mid].text, key.text);
        if (c == 0)
            return &name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* n elements of zeroed memory in *out; nothing for n = 0. */
#define ROOM(d, n, out) ((n) == 0 || (*(out) = calloc((n), sizeof **(out))) != NULL || jdoc_no_memory(d))

/* ---- routes ---- */

static bool read_line(struct jdoc *d, const struct jdoc_at *at, struct geo_line **ret_line)
{
    struct jdoc_at line;
    size_t n;
    struct geo_pt *pt = NULL;
    if (!jdoc_get(d, at, "line", &line) || !jdoc_list(d, &line, 2, LINE_MAX_PTS, &n) || !ROOM(d, n, &pt))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        struct jdoc_at p, lon, lat;
        size_t two;
        jdoc_item(&line, i, &p);
        ok = jdoc_list(d, &p, 2, 2, &two);
        jdoc_item(&p, 0, &lon);
        jdoc_item(&p, 1, &lat);
        ok = ok && jdoc_real_here(d, &lon, -180, 180, &pt[i].lon) && jdoc_real_here(d, &lat, -85, 85, &pt[i].lat);
    }
    if (ok) {
        enum rc rc = geo_line_new(pt, n, ret_line);
        if (rc == RC_NO_MEMORY)
            ok = jdoc_no_memory(d);
        else if (rc != RC_OK)
            ok = jdoc_fail(d, &line, RC_INVALID, "is no line: it must be at least 1 m long");
    }
    free(pt);
    return ok;
}

static bool read_segment(struct jdoc *d, const struct jdoc_at *at, double length_m, double past_m, struct duty_segment *s)
{
    static const char *const known[] = {"from_m", "to_m", "posted_kmh", "road", "hazards", NULL};
    int64_t posted = 0;
    int road = DUTY_ROAD_UNKNOWN;
    if (!jdoc_members(d, at, known) || !jdoc_real(d, at, "from_m", true, 0, length_m, &s->from_m) ||
        !jdoc_real(d, at, "to_m", true, 0, length_m * 1.01 + 10, &s->to_m) || !jdoc_int(d, at, "posted_kmh", false, 5, 120, &posted) ||
        !jdoc_word(d, at, "road", false, duty_road_words, &road))
        return false;
    if (s->from_m >= s->to_m)
        return jdoc_fail(d, at, RC_RANGE, "from_m %g is not before to_m %g: a segment runs forward", s->from_m, s->to_m);
    if (s->from_m < past_m)
        return jdoc_fail(d, at, RC_INVALID, "from_m %g lies before the end %g of the one before: segments must rise and not overlap", s->from_m,
                         past_m);
    s->posted_kmh = (int)posted;
    s->road = (enum duty_road)road;
    struct jdoc_at hazards;
    jdoc_opt(at, "hazards", &hazards);
    size_t n = 0;
    if (hazards.value != NULL && !jdoc_list(d, &hazards, 0, 16, &n))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct jdoc_at item;
        int bit;
        jdoc_item(&hazards, i, &item);
        if (!jdoc_word_here(d, &item, duty_hazard_words, &bit))
            return false;
        s->hazards |= 1U << bit;
    }
    return true;
}

static bool read_segments(struct jdoc *d, const struct jdoc_at *at, struct duty_route *r)
{
    struct jdoc_at list;
    size_t n = 0;
    jdoc_opt(at, "segments", &list);
    if (list.value == NULL)
        return true;
    if (!jdoc_list(d, &list, 0, SEGMENTS_MAX, &n) || !ROOM(d, n, &r->segment))
        return false;
    double length_m = geo_line_length_m(r->line), past_m = 0;
    for (; r->segments < n; r->segments++) {
        struct jdoc_at item;
        jdoc_item(&list, r->segments, &item);
        if (!read_segment(d, &item, length_m, past_m, &r->segment[r->segments]))
            return false;
        past_m = r->segment[r->segments].to_m;
    }
    return true;
}

/*
 * Where a stop lies along the line. A line may pass a place twice (there and back, a loop), so the place is looked for one straight distance
 * after the previous stop, and if that falls back, further on.
 */
static bool place_stop(struct jdoc *d, const struct jdoc_at *at, const struct geo_line *line, const struct duty_stop *before, struct duty_stop *s)
{
    const double slack_m = 1.0; /* two stops at one kerb */
    double past_m = before == NULL ? 0 : before->along_m;
    double hint_m = before == NULL ? 0 : past_m + geo_near_m(before->at, s->at);
    struct geo_match m = geo_line_match(line, s->at, hint_m, 20000);
    if (!(m.offset_m <= STOP_OFFSET_M))
        return jdoc_fail(d, at, RC_RANGE, "%.0f m from the line: a stop must lie within %.0f m of it",
                         isfinite(m.offset_m) ? m.offset_m : geo_near_m(s->at, geo_line_at(line, past_m)), STOP_OFFSET_M);
    double length_m = geo_line_length_m(line);
    const double ahead_m = 500;
    int further = (int)fmax(0, (length_m - hint_m) / ahead_m) + 1; /* until past the line's end */
    for (int i = 1; i <= further && m.along_m < past_m - slack_m; i++) {
        struct geo_match other = geo_line_match(line, s->at, hint_m + i * ahead_m, 20000);
        if (other.offset_m <= STOP_OFFSET_M)
            m = other;
    }
    if (m.along_m < past_m - slack_m)
        return jdoc_fail(d, at, RC_INVALID, "lies %.0f m back along the line from the stop before: list stops and line in driving order",
                         past_m - m.along_m);
    s->along_m = m.along_m > past_m ? m.along_m : past_m;
    return true;
}

static bool read_stops(struct jdoc *d, const struct jdoc_at *at, struct duty_route *r)
{
    static const char *const known[] = {"id", "name_zh", "name_en", "lat", "lon", "offset_s", NULL};
    struct jdoc_at list;
    size_t n;
    if (!jdoc_get(d, at, "stops", &list) || !jdoc_list(d, &list, 0, STOPS_MAX, &n) || !ROOM(d, n, &r->stop))
        return false;
    struct name name[STOPS_MAX];
    for (; r->stops < n; r->stops++) {
        struct duty_stop *s = &r->stop[r->stops];
        struct jdoc_at item;
        int64_t offset = 0;
        jdoc_item(&list, r->stops, &item);
        if (!jdoc_members(d, &item, known) || !jdoc_id(d, &item, "id", DUTY_ID_MAX, s->id) ||
            !jdoc_text(d, &item, "name_zh", true, 1, DUTY_NAME_MAX, s->name_zh) ||
            !jdoc_text(d, &item, "name_en", true, 1, DUTY_NAME_MAX, s->name_en) || !jdoc_real(d, &item, "lat", true, -85, 85, &s->at.lat) ||
            !jdoc_real(d, &item, "lon", true, -180, 180, &s->at.lon) || !jdoc_int(d, &item, "offset_s", true, 0, SECONDS_OF_DAY, &offset))
            return false;
        s->offset_s = (int32_t)offset;
        if (r->stops > 0 && s->offset_s < s[-1].offset_s)
            return jdoc_fail(d, &item, RC_INVALID, "offset_s %d is less than %d of the stop before: list stops in driving order", s->offset_s,
                             s[-1].offset_s);
        if (!place_stop(d, &item, r->line, r->stops > 0 ? s - 1 : NULL, s))
            return false;
        name[r->stops] = (struct name){s->id, (uint32_t)r->stops};
    }
    return unique(d, &list, "id", name, n);
}

/* "HH:MM:SS", 00:00:00 to 47:59:59 */
static bool read_start(struct jdoc *d, const struct jdoc_at *at, int32_t *ret_s)
{
    char t[9] = "";
    if (!jdoc_text(d, at, "start", true, 8, 8, t))
        return false;
    bool ok = t[2] == ':' && t[5] == ':';
    for (int i = 0; i < 8; i++)
        if (i != 2 && i != 5 && (t[i] < '0' || t[i] > '9'))
            ok = false;
    int h = (t[0] - '0') * 10 + t[1] - '0', m = (t[3] - '0') * 10 + t[4] - '0', s = (t[6] - '0') * 10 + t[7] - '0';
    if (!ok || h > 47 || m > 59 || s > 59) {
        struct jdoc_at member = {at, "start", 0, NULL};
        return jdoc_fail(d, &member, RC_INVALID, "is no time: must be HH:MM:SS, at most 47:59:59");
    }
    *ret_s = h * 3600 + m * 60 + s;
    return true;
}

static bool read_runs(struct jdoc *d, const struct jdoc_at *at, struct duty_route *r)
{
    static const char *const known[] = {"id", "start", NULL};
    struct jdoc_at list;
    size_t n = 0;
    jdoc_opt(at, "runs", &list);
    if (list.value == NULL)
        return true;
    if (!jdoc_list(d, &list, 0, RUNS_MAX, &n) || !ROOM(d, n, &r->run))
        return false;
    struct name name[RUNS_MAX];
    for (; r->runs < n; r->runs++) {
        struct duty_run *run = &r->run[r->runs];
        struct jdoc_at item;
        jdoc_item(&list, r->runs, &item);
        if (!jdoc_members(d, &item, known) || !jdoc_id(d, &item, "id", DUTY_ID_MAX, run->id) || !read_start(d, &item, &run->start_s))
            return false;
        name[r->runs] = (struct name){run->id, (uint32_t)r->runs};
    }
    return unique(d, &list, "id", name, n);
}

static bool read_route(struct jdoc *d, const struct jdoc_at *at, struct duty_route *r)
{
    static const char *const known[] = {"id", "name_zh", "name_en", "rural", "corridor_m", "line", "segments", "stops", "runs", NULL};
    return jdoc_members(d, at, known) && jdoc_id(d, at, "id", DUTY_ID_MAX, r->id) &&
           jdoc_text(d, at, "name_zh", true, 1, DUTY_NAME_MAX, r->name_zh) && jdoc_text(d, at, "name_en", true, 1, DUTY_NAME_MAX, r->name_en) &&
           jdoc_bool(d, at, "rural", &r->rural) && jdoc_real(d, at, "corridor_m", false, 20, 2000, &r->corridor_m) && read_line(d, at, &r->line) &&
           read_segments(d, at, r) && read_stops(d, at, r) && read_runs(d, at, r);
}

/* ---- vehicles ---- */

static bool read_window(struct jdoc *d, const struct jdoc_at *at, bool must, int64_t *from_ms, int64_t *to_ms)
{
    if (!jdoc_int(d, at, "from_ms", must, 0, TIME_MAX_MS, from_ms) || !jdoc_int(d, at, "to_ms", must, 0, TIME_MAX_MS, to_ms))
        return false;
    if (*from_ms >= *to_ms)
        return jdoc_fail(d, at, RC_RANGE, "from_ms is not before to_ms: a window must hold some time");
    return true;
}

static int by_from(const void *a, const void *b)
{
    const struct duty_assignment *x = a, *y = b;
    return (x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

static bool read_assignments(struct jdoc *d, const struct jdoc_at *at, const struct name *route, size_t routes, struct duty_vehicle *v)
{
    static const char *const known[] = {"route", "from_ms", "to_ms", NULL};
    struct jdoc_at list;
    size_t n;
    if (!jdoc_get(d, at, "routes", &list) || !jdoc_list(d, &list, 0, WINDOWS_MAX, &n) || !ROOM(d, n, &v->assignment))
        return false;
    for (; v->assignments < n; v->assignments++) {
        struct duty_assignment *a = &v->assignment[v->assignments];
        struct jdoc_at item;
        char id[DUTY_ID_MAX + 1];
        jdoc_item(&list, v->assignments, &item);
        a->from_ms = INT64_MIN;
        a->to_ms = INT64_MAX;
        if (!jdoc_members(d, &item, known) || !jdoc_id(d, &item, "route", DUTY_ID_MAX, id) || !read_window(d, &item, false, &a->from_ms, &a->to_ms))
            return false;
        const struct name *found = find_name(route, routes, id);
        if (found == NULL) {
            struct jdoc_at member = {&item, "route", 0, NULL};
            return jdoc_fail(d, &member, RC_INVALID, "\"%s\" is no route of this document: give the id of one", id);
        }
        a->route = found->index;
    }
    if (n > 1)
        qsort(v->assignment, n, sizeof *v->assignment, by_from);
    for (size_t i = 1; i < n; i++)
        if (v->assignment[i].from_ms < v->assignment[i - 1].to_ms)
            return jdoc_fail(d, &list, RC_INVALID, "two windows overlap: a vehicle runs one route at a time, give from_ms and to_ms");
    return true;
}

static bool read_permits(struct jdoc *d, const struct jdoc_at *at, struct duty_vehicle *v)
{
    static const char *const known[] = {"from_ms", "to_ms", "reason", NULL};
    struct jdoc_at list;
    size_t n = 0;
    jdoc_opt(at, "permits", &list);
    if (list.value == NULL)
        return true;
    if (!jdoc_list(d, &list, 0, WINDOWS_MAX, &n) || !ROOM(d, n, &v->permit))
        return false;
    for (; v->permits < n; v->permits++) {
        struct duty_permit *p = &v->permit[v->permits];
        struct jdoc_at item;
        int reason = 0;
        jdoc_item(&list, v->permits, &item);
        if (!jdoc_members(d, &item, known) || !read_window(d, &item, true, &p->from_ms, &p->to_ms) ||
            !jdoc_word(d, &item, "reason", true, reason_words, &reason))
            return false;
        snprintf(p->reason, sizeof p->reason, "%s", reason_words[reason]);
    }
    return true;
}

static bool read_rated(struct jdoc *d, const struct jdoc_at *at, struct duty_vehicle *v)
{
    static const char *const known[] = {"total", "pupils", NULL};
    struct jdoc_at rated;
    int64_t total = 0, pupils = 0;
    jdoc_opt(at, "rated", &rated);
    if (rated.value == NULL)
        return true;
    if (!jdoc_members(d, &rated, known) || !jdoc_int(d, &rated, "total", true, 1, 200, &total) ||
        !jdoc_int(d, &rated, "pupils", false, 0, 200, &pupils))
        return false;
    if (pupils > total)
        return jdoc_fail(d, &rated, RC_RANGE, "pupils %d is more than total %d: total includes driver and attendants", (int)pupils, (int)total);
    v->rated_total = (int)total;
    v->rated_pupils = (int)pupils;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_secret(struct jdoc *d, const struct jdoc_at *at, uint8_t out[32])
{
    char hex[65] = "";
    if (!jdoc_text(d, at, "secret_sha256", false, 64, 64, hex) || hex[0] == '\0')
        return d->rc == RC_OK;
    for (int i = 0; i < 32; i++) {
        int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);
        if (hi < 0 || lo < 0) {
            struct jdoc_at member = {at, "secret_sha256", 0, NULL};
            return jdoc_fail(d, &member, RC_INVALID, "is not hexadecimal: give the SHA-256 of the secret as 64 hex digits");
        }
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static int by_hash(const void *a, const void *b)
{
    const struct duty_card *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static bool read_hash(struct jdoc *d, const struct jdoc_at *at, uint64_t *ret_hash)
{
    char hex[17] = "";
    if (!jdoc_text(d, at, "hash", true, 16, 16, hex))
        return false;
    *ret_hash = 0;
    for (int i = 0; i < 16; i++) {
        int digit = hex_digit(hex[i]);
        if (digit < 0) {
            struct jdoc_at member = {at, "hash", 0, NULL};
            return jdoc_fail(d, &member, RC_INVALID, "is not hexadecimal: give the keyed hash of the card as 16 hex digits, never its number");
        }
        *ret_hash = *ret_hash << 4 | (uint64_t)digit;
    }
    return true;
}

static bool read_roster(struct jdoc *d, const struct jdoc_at *at, struct duty_vehicle *v)
{
    static const char *const known[] = {"hash", "kind", NULL};
    struct jdoc_at list;
    size_t n = 0;
    jdoc_opt(at, "roster", &list);
    if (list.value == NULL)
        return true;
    if (!jdoc_list(d, &list, 0, CARDS_MAX, &n) || !ROOM(d, n, &v->card))
        return false;
    for (; v->cards < n; v->cards++) {
        struct duty_card *c = &v->card[v->cards];
        struct jdoc_at item;
        int kind = 0;
        jdoc_item(&list, v->cards, &item);
        if (!jdoc_members(d, &item, known) || !read_hash(d, &item, &c->hash) || !jdoc_word(d, &item, "kind", true, card_words, &kind))
            return false;
        c->kind = (uint8_t)(kind + 1);
        v->staff_cards = (uint16_t)(v->staff_cards + (c->kind == EVENT_CARD_ATTENDANT));
    }
    if (n > 1)
        qsort(v->card, n, sizeof *v->card, by_hash);
    for (size_t i = 1; i < n; i++)
        if (v->card[i].hash == v->card[i - 1].hash)
            return jdoc_fail(d, &list, RC_INVALID, "has a hash twice: every card belongs to one person");
    return true;
}

static bool read_vehicle(struct jdoc *d, const struct jdoc_at *at, const struct name *route, size_t routes, struct duty_vehicle *v)
{
    static const char *const known[] = {"id",     "plate",   "gateway", "secret_sha256",    "rated", "size", "staff", "staff_uncounted",
                                        "routes", "permits", "roster",  "front_seat_staff", NULL};
    int64_t staff = 0, uncounted = 0;
    int size = -1;
    if (!jdoc_members(d, at, known) || !jdoc_id(d, at, "id", DUTY_ID_MAX, v->id) || !jdoc_text(d, at, "plate", true, 1, DUTY_PLATE_MAX, v->plate) ||
        !jdoc_id(d, at, "gateway", DUTY_ID_MAX, v->gateway) || !read_secret(d, at, v->secret_sha256) || !read_rated(d, at, v) ||
        !jdoc_word(d, at, "size", false, size_words, &size) || !jdoc_int(d, at, "staff", true, 1, 10, &staff) ||
        !jdoc_int(d, at, "staff_uncounted", true, 0, staff, &uncounted))
        return false;
    v->size = (enum duty_size)(size + 1);
    v->staff = (int)staff;
    v->staff_uncounted = (int)uncounted;
    struct jdoc_at front;
    jdoc_opt(at, "front_seat_staff", &front);
    if (front.value != NULL && !jdoc_bool(d, at, "front_seat_staff", &v->front_seat_staff))
        return false;
    return read_assignments(d, at, route, routes, v) && read_permits(d, at, v) && read_roster(d, at, v);
}

/* ---- the document ---- */

static bool read_routes(struct jdoc *d, const struct jdoc_at *root, struct duty_set *s, struct name **ret_name)
{
    struct jdoc_at list;
    size_t n;
    if (!jdoc_get(d, root, "routes", &list) || !jdoc_list(d, &list, 0, ROUTES_MAX, &n) || !ROOM(d, n, &s->route) || !ROOM(d, n, ret_name))
        return false;
    if (s->route == NULL)
        return true;
    while (s->routes < n) {
        size_t i = s->routes++; /* counted at once: duty_free() releases a half-read route */
        struct jdoc_at item;
        jdoc_item(&list, i, &item);
        if (!read_route(d, &item, &s->route[i]))
            return false;
        (*ret_name)[i] = (struct name){s->route[i].id, (uint32_t)i};
    }
    return unique(d, &list, "id", *ret_name, n);
}

static bool index_vehicles(struct jdoc *d, const struct jdoc_at *list, struct read_set *r)
{
    size_t n = r->set.vehicles;
    struct name *name = NULL;
    if (!ROOM(d, n, &name))
        return false;
    bool ok = ROOM(d, n, &r->by_id) && ROOM(d, n, &r->by_gateway);
    for (int pass = 0; ok && pass < 2; pass++) {
        for (size_t i = 0; i < n; i++)
            name[i] = (struct name){pass == 0 ? r->set.vehicle[i].id : r->set.vehicle[i].gateway, (uint32_t)i};
        ok = unique(d, list, pass == 0 ? "id" : "gateway", name, n);
        for (size_t i = 0; ok && i < n; i++)
            (pass == 0 ? r->by_id : r->by_gateway)[i] = name[i].index;
    }
    free(name);
    return ok;
}

static bool read_vehicles(struct jdoc *d, const struct jdoc_at *root, struct read_set *r, const struct name *route)
{
    struct jdoc_at list;
    size_t n;
    struct duty_set *s = &r->set;
    if (!jdoc_get(d, root, "vehicles", &list) || !jdoc_list(d, &list, 0, VEHICLES_MAX, &n) || !ROOM(d, n, &s->vehicle))
        return false;
    if (s->vehicle == NULL)
        return true;
    while (s->vehicles < n) {
        size_t i = s->vehicles++;
        struct jdoc_at item;
        jdoc_item(&list, i, &item);
        if (!read_vehicle(d, &item, route, s->routes, &s->vehicle[i]))
            return false;
    }
    return index_vehicles(d, &list, r);
}

static bool read_orders(struct jdoc *d, const struct jdoc_at *root, struct duty_set *s)
{
    static const char *const known[] = {"kind", "from_ms", "to_ms", "visibility_m", NULL};
    struct jdoc_at list;
    size_t n = 0;
    jdoc_opt(root, "weather_orders", &list);
    if (list.value == NULL)
        return true;
    if (!jdoc_list(d, &list, 0, ORDERS_MAX, &n) || !ROOM(d, n, &s->order))
        return false;
    for (; s->orders < n; s->orders++) {
        struct duty_order *o = &s->order[s->orders];
        struct jdoc_at item;
        int kind = 0;
        int64_t visibility = 0;
        jdoc_item(&list, s->orders, &item);
        if (!jdoc_members(d, &item, known) || !jdoc_word(d, &item, "kind", true, duty_weather_words, &kind) ||
            !read_window(d, &item, true, &o->from_ms, &o->to_ms) || !jdoc_int(d, &item, "visibility_m", false, 1, 10000, &visibility))
            return false;
        o->kind = (enum duty_weather)(kind + 1);
        o->visibility_m = (int)visibility;
    }
    return true;
}

static bool read_document(struct jdoc *d, const struct jdoc_at *root, struct read_set *r)
{
    static const char *const known[] = {"format", "routes", "vehicles", "weather_orders", NULL};
    static const char *const formats[] = {"schoolward.duty.1", NULL};
    struct name *route = NULL;
    int format;
    bool ok = jdoc_members(d, root, known) && jdoc_word(d, root, "format", true, formats, &format) && read_routes(d, root, &r->set, &route) &&
              read_vehicles(d, root, r, route) && read_orders(d, root, &r->set);
    free(route);
    return ok;
}

enum rc duty_read(const char *json, size_t n, struct duty_set **ret_set, char *why, size_t cap)
{
    struct jdoc d = {NULL, why, cap, RC_OK};
    json_t *root = jdoc_parse(&d, json, n, DOCUMENT_MAX);
    if (root == NULL)
        return d.rc;
    struct read_set *r = calloc(1, sizeof *r);
    if (r == NULL)
        jdoc_no_memory(&d);
    struct jdoc_at at = {NULL, NULL, 0, root};
    if (r != NULL && read_document(&d, &at, r))
        *ret_set = &r->set;
    else if (r != NULL)
        duty_free(&r->set);
    json_decref(root);
    return d.rc;
}

void duty_free(struct duty_set *s)
{
    if (s == NULL)
        return;
    struct read_set *r = (struct read_set *)(void *)s;
    for (size_t i = 0; i < s->routes; i++) {
        geo_line_free(s->route[i].line);
        free(s->route[i].segment);
        free(s->route[i].stop);
        free(s->route[i].run);
    }
    for (size_t i = 0; i < s->vehicles; i++) {
        free(s->vehicle[i].assignment);
        free(s->vehicle[i].permit);
        free(s->vehicle[i].card);
    }
    free(s->route);
    free(s->vehicle);
    free(s->order);
    free(r->by_id);
    free(r->by_gateway);
    free(r);
}

/* ---- looking ---- */

static const struct duty_vehicle *find_vehicle(const struct duty_set *s, const uint32_t *index, bool gateway, const char *text)
{
    size_t lo = 0, hi = s->vehicles;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct duty_vehicle *v = &s->vehicle[index[mid]];
        int c = strcmp(gateway ? v->gateway : v->id, text);
        if (c == 0)
            return v;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct duty_vehicle *duty_vehicle_of_gateway(const struct duty_set *s, const char *gateway)
{
    return find_vehicle(s, ((const struct read_set *)(const void *)s)->by_gateway, true, gateway);
}

const struct duty_vehicle *duty_vehicle_by_id(const struct duty_set *s, const char *id)
{
    return find_vehicle(s, ((const struct read_set *)(const void *)s)->by_id, false, id);
}

const struct duty_route *duty_route_at(const struct duty_set *s, const struct duty_vehicle *v, int64_t time_ms)
{
    size_t lo = 0, hi = v->assignments; /* the last window that begins at or before time_ms */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->assignment[mid].from_ms <= time_ms)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0 || time_ms >= v->assignment[lo - 1].to_ms)
        return NULL;
    return &s->route[v->assignment[lo - 1].route];
}

const struct duty_segment *duty_segment_at(const struct duty_route *r, double along_m)
{
    size_t lo = 0, hi = r->segments; /* the last segment that begins at or before along_m */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->segment[mid].from_m <= along_m)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0 || !(along_m < r->segment[lo - 1].to_m))
        return NULL;
    return &r->segment[lo - 1];
}

const struct duty_permit *duty_permit_at(const struct duty_vehicle *v, int64_t time_ms)
{
    for (size_t i = 0; i < v->permits; i++)
        if (time_ms >= v->permit[i].from_ms && time_ms < v->permit[i].to_ms)
            return &v->permit[i];
    return NULL;
}

uint8_t duty_card_kind(const struct duty_vehicle *v, uint64_t hash)
{
    size_t lo = 0, hi = v->cards;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->card[mid].hash == hash)
            return v->card[mid].kind;
        if (v->card[mid].hash < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    return EVENT_CARD_UNKNOWN;
}

const struct duty_order *duty_order_at(const struct duty_set *s, enum duty_weather kind, int64_t time_ms)
{
    const struct duty_order *found = NULL;
    for (size_t i = 0; i < s->orders; i++) {
        const struct duty_order *o = &s->order[i];
        if (o->kind != kind || time_ms < o->from_ms || time_ms >= o->to_ms)
            continue;
        if (found == NULL || (o->visibility_m > 0 && (found->visibility_m == 0 || o->visibility_m < found->visibility_m)))
            found = o;
    }
    return found;
}
