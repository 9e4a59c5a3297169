#include "bus.h"

#include <math.h>

static const double far_m = 20000;        /* further than this from its line a bus is nowhere on it */
static const double same_street_m = 15;   /* two passes of a line this near each other are one street */
static const double probe_m = 2000;       /* geo_line_match() looks 2 km to either side of a hint: each place is probed twice */
static const double probes_max = 32;      /* enough for 60 km; a bus on a longer line finds its way by the hint */
static const double jitter_mps = 0.5;     /* a standing receiver reports less */
static const double jitter_m = 25;        /* and wanders less between two reports */
static const double heading_mps = 3;      /* below this the track over ground means little */
static const int64_t boarding_ms = 30000; /* a card or a camera may speak this long before the beam in the door */
static const int64_t camera_silent_ms = 600000;

/* True when the line runs against the way the bus moves at that place: the other direction of a street driven both ways. */
static bool against(const struct duty_route *r, const struct geo_match *m, const struct event_fix *f)
{
    const struct geo_pt *pt;
    geo_line_points(r->line, &pt);
    struct geo_pt a = pt[m->leg], b = pt[m->leg + 1];
    double track = f->track_cdeg * (M_PI / 18000);
    double east = (b.lon - a.lon) * cos(a.lat * (M_PI / 180)), north = b.lat - a.lat;
    double cosine = east * sin(track) + north * cos(track);
    return cosine < -0.5 * sqrt(east * east + north * north); /* more than 120 degrees apart */
}

/* The other pass of the line through the same street that runs our way, if there is one. */
static struct geo_match turned(const struct duty_route *r, struct geo_pt p, const struct geo_match *m, const struct event_fix *f)
{
    double length_m = geo_line_length_m(r->line);
    int probes = (int)fmin(probes_max, length_m / probe_m + 2);
    for (int i = 0; i < probes; i++) {
        struct geo_match other = geo_line_match(r->line, p, i * probe_m, m->offset_m + same_street_m);
        if (other.offset_m < m->offset_m + same_street_m && !against(r, &other, f))
            return other;
    }
    return *m;
}

static void match_route(struct bus *b, const struct duty_set *set, const struct duty_vehicle *v)
{
    const struct duty_route *r = set == NULL || v == NULL ? NULL : duty_route_at(set, v, b->fix_ms);
    if (r == NULL)
        return;
    struct geo_pt p = {b->fix.lat_e7 / 1e7, b->fix.lon_e7 / 1e7};
    uint32_t route = (uint32_t)(r - set->route) + 1;
    bool known = b->route == route && isfinite(b->offset_m);
    struct geo_match m = geo_line_match(r->line, p, known ? b->along_m : (double)NAN, far_m);
    bool forward = known && m.along_m > b->along_m; /* the usual case: we get on along the line */
    bool heading = b->fix.speed_mmps != EVENT_UNKNOWN && b->fix.speed_mmps > heading_mps * 1000 && b->fix.track_cdeg != EVENT_UNKNOWN;
    if (!forward && heading && isfinite(m.offset_m) && against(r, &m, &b->fix))
        m = turned(r, p, &m, &b->fix);
    b->route = route;
    b->route_ms = b->fix_ms;
    b->offset_m = m.offset_m;
    b->along_m = m.along_m;
}

static void apply_fix(struct bus *b, const struct duty_set *set, const struct duty_vehicle *v, const struct event *e)
{
    if (e->time_ms >= b->report_ms) {
        b->report_ms = e->time_ms;
        b->report_mode = e->fix.mode;
    }
    if (!event_fix_valid(&e->fix) || e->time_ms <= b->fix_ms)
        return;
    if (b->fix_ms != 0) {
        double step_m =
            geo_near_m((struct geo_pt){b->fix.lat_e7 / 1e7, b->fix.lon_e7 / 1e7}, (struct geo_pt){e->fix.lat_e7 / 1e7, e->fix.lon_e7 / 1e7});
        bool slow = e->fix.speed_mmps != EVENT_UNKNOWN && e->fix.speed_mmps < jitter_mps * 1000;
        if (!slow || step_m > jitter_m) /* a bus that reports twice a minute may stand at both reports and have driven between them */
            b->moved_m += step_m;
    }
    b->fix = e->fix;
    b->fix_ms = e->time_ms;
    match_route(b, set, v);
}

static void apply_count(struct bus *b, const struct event *e)
{
    const struct event_count *c = &e->count;
    if (c->source == EVENT_COUNT_DOOR && c->door < BUS_DOORS) {
        if (e->time_ms < b->door[c->door].time_ms)
            return;
        if (c->boarded == EVENT_UNKNOWN || c->alighted == EVENT_UNKNOWN) { /* a read that failed: the totals stay, the doubt is kept */
            b->door[c->door].flags |= EVENT_COUNT_DOUBTFUL;
            return;
        }
        bool first = b->door[c->door].time_ms == 0;
        if (first || c->boarded != b->door[c->door].boarded || c->alighted != b->door[c->door].alighted)
            b->door[c->door].changed_ms = e->time_ms;
        b->door[c->door].boarded = c->boarded;
        b->door[c->door].alighted = c->alighted;
        b->door[c->door].time_ms = e->time_ms;
        b->door[c->door].confidence_pct = c->confidence_pct;
        b->door[c->door].flags = c->flags;
    } else if (c->source >= EVENT_COUNT_CAMERA && c->source <= EVENT_COUNT_CARDS) {
        int i = c->source - EVENT_COUNT_CAMERA;
        if (e->time_ms < b->seen[i].time_ms)
            return;
        b->seen[i].aboard = c->aboard;
        b->seen[i].time_ms = e->time_ms;
        b->seen[i].confidence_pct = c->confidence_pct;
        b->seen[i].flags = c->flags;
    }
}

void bus_apply(struct bus *b, const struct duty_set *set, const struct duty_vehicle *v, const struct event *e)
{
    if (e->time_ms <= 0)
        return;
    if (e->kind == EVENT_FIX)
        apply_fix(b, set, v, e);
    else if (e->kind == EVENT_COUNT)
        apply_count(b, e);
    else if (e->kind == EVENT_INPUTS && e->time_ms >= b->inputs_ms) {
        b->inputs = e->inputs.state & e->inputs.known;
        b->inputs_known = e->inputs.known;
        b->inputs_fitted |= e->inputs.known;
        b->inputs_ms = e->time_ms;
    }
    if (e->time_ms > b->time_ms)
        b->time_ms = e->time_ms;
}

/* One source's word. */
struct word {
    int64_t persons, time_ms;
    uint8_t confidence_pct, source;
    bool doubtful;
};

static bool doors_word(const struct bus *b, const struct duty_vehicle *v, struct word *w, int64_t *ret_changed_ms)
{
    bool any = false;
    *w = (struct word){.source = EVENT_COUNT_DOOR, .confidence_pct = 100};
    for (int i = 0; i < BUS_DOORS; i++) {
        if (b->door[i].time_ms == 0)
            continue;
        any = true;
        w->persons += (int64_t)b->door[i].boarded - b->door[i].alighted; /* in at the front and out at the rear is usual: only the sum counts */
        w->doubtful = w->doubtful || (b->door[i].flags & EVENT_COUNT_DOUBTFUL) != 0;
        if (b->door[i].confidence_pct < w->confidence_pct)
            w->confidence_pct = b->door[i].confidence_pct;
        if (b->door[i].time_ms > w->time_ms)
            w->time_ms = b->door[i].time_ms;
        if (b->door[i].changed_ms > *ret_changed_ms)
            *ret_changed_ms = b->door[i].changed_ms;
    }
    if (w->persons < 0) {
        w->persons = 0;
        w->doubtful = true;
    }
    w->persons += v == NULL ? 0 : v->staff_uncounted;
    return any;
}

static bool leads(const struct word *a, const struct word *b)
{
    static const uint8_t rank[] = {0, 3, 2, 4, 1}; /* by enum event_count_source */
    return a->confidence_pct != b->confidence_pct ? a->confidence_pct > b->confidence_pct : rank[a->source] > rank[b->source];
}

struct bus_persons bus_persons(const struct bus *b, const struct duty_vehicle *v)
{
    struct bus_persons r = {.persons = EVENT_UNKNOWN, .pupils = EVENT_UNKNOWN, .least = EVENT_UNKNOWN, .most = EVENT_UNKNOWN};
    struct word word[4];
    int64_t changed_ms = 0;
    size_t n = doors_word(b, v, &word[0], &changed_ms) ? 1 : 0;
    for (int i = 0; i < 3; i++) {
        if (b->seen[i].time_ms == 0 || b->seen[i].aboard == EVENT_UNKNOWN || b->seen[i].time_ms < changed_ms - boarding_ms)
            continue;
        if (i == 0 && b->seen[i].time_ms < b->time_ms - camera_silent_ms)
            continue;
        word[n++] = (struct word){b->seen[i].aboard < 0 ? 0 : b->seen[i].aboard, b->seen[i].time_ms, b->seen[i].confidence_pct,
                                  (uint8_t)(EVENT_COUNT_CAMERA + i), (b->seen[i].flags & EVENT_COUNT_DOUBTFUL) != 0};
    }
    if (n == 0)
        return r;
    size_t lead = 0;
    for (size_t i = 1; i < n; i++)
        if (leads(&word[i], &word[lead]))
            lead = i;
    int64_t least = word[lead].persons, most = least;
    int wrong = 100; /* per cent that every agreeing source is wrong */
    for (size_t i = 0; i < n; i++) {
        int64_t apart = word[i].persons - word[lead].persons;
        least = word[i].persons < least ? word[i].persons : least;
        most = word[i].persons > most ? word[i].persons : most;
        r.doubtful = r.doubtful || word[i].doubtful || apart < -1 || apart > 1;
        if (apart < -1 || apart > 1)
            continue;
        r.sources++;
        wrong = (wrong * (100 - word[i].confidence_pct) + 50) / 100;
        r.time_ms = word[i].time_ms > r.time_ms ? word[i].time_ms : r.time_ms;
    }
    r.persons = (int32_t)word[lead].persons;
    r.least = (int32_t)least;
    r.most = (int32_t)most;
    int32_t pupils = r.persons - (v == NULL ? 0 : v->staff);
    r.pupils = pupils > 0 ? pupils : 0;
    r.confidence_pct = (uint8_t)(100 - wrong);
    r.source = word[lead].source;
    return r;
}

int bus_doors_open(const struct bus *b)
{
    if ((b->inputs & b->inputs_known & EVENT_IN_DOORS) != 0)
        return 1;
    uint32_t fitted = b->inputs_fitted & EVENT_IN_DOORS;
    return fitted != 0 && (b->inputs_known & fitted) == fitted ? 0 : -1;
}

const struct bus_freshness_limits bus_freshness_usual = {30000, 120000, 600000};

enum bus_freshness bus_freshness(const struct bus *b, int64_t now_ms, bool link_alive, const struct bus_freshness_limits *lim)
{
    if (lim == NULL)
        lim = &bus_freshness_usual;
    if (b->time_ms == 0)
        return BUS_NEVER;
    bool lost = b->fix_ms == 0 || (b->report_ms > b->fix_ms && b->report_mode < EVENT_FIX_2D);
    if (lost && link_alive && (b->fix_ms == 0 || now_ms - b->report_ms <= lim->fresh_ms))
        return BUS_NO_FIX;
    if (b->fix_ms == 0)
        return BUS_OFFLINE;
    int64_t age_ms = now_ms - b->fix_ms;
    if (age_ms <= lim->fresh_ms)
        return BUS_FRESH;
    if (age_ms <= lim->delayed_ms)
        return BUS_DELAYED;
    return age_ms <= lim->stale_ms ? BUS_STALE : BUS_OFFLINE;
}

const char *bus_freshness_word(enum bus_freshness f)
{
    static const char *const word[] = {"never", "fresh", "delayed", "stale", "offline", "no_fix"};
    return (size_t)f < sizeof word / sizeof *word ? word[f] : "never";
}

static void shift(int64_t *ms, int64_t by_ms)
{
    if (*ms != 0)
        *ms += by_ms;
}

void bus_shift(struct bus *b, int64_t by_ms)
{
    int64_t *const times[] = {&b->time_ms, &b->fix_ms, &b->report_ms, &b->route_ms, &b->inputs_ms};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        shift(times[i], by_ms);
    for (size_t i = 0; i < BUS_DOORS; i++) {
        shift(&b->door[i].time_ms, by_ms);
        shift(&b->door[i].changed_ms, by_ms);
    }
    for (size_t i = 0; i < sizeof b->seen / sizeof b->seen[0]; i++)
        shift(&b->seen[i].time_ms, by_ms);
}
