#include "bus.h"

#include <math.h>
#include <string.h>

static const double far_m = 20000;        /* further than this from its line a bus is nowhere on it */
static const double same_street_m = 15;   /* two passes of a line this near each other are one street */
static const double probe_m = 2000;       /* geo_line_match() looks 2 km to either side of a hint: each place is probed twice */
static const double probes_max = 32;      /* enough for 60 km; a bus on a longer line finds its way by the hint */
static const double jitter_mps = 0.5;     /* a standing receiver reports less */
static const double jitter_m = 25;        /* and wanders less between two reports */
static const double heading_mps = 3;      /* below this the track over ground means little */
static const int64_t boarding_ms = 30000; /* a card or a camera may speak this long before the beam in the door */
static const int64_t camera_silent_ms = 600000;
static const int32_t moving_mmps = 1389; /* 5 km/h: below it a receiver may be standing */
static const int32_t driven_mmps = 4444; /* 16 km/h, or the way of three minutes at 5 km/h: a run has begun (13 CCR 1294 arms its alarm likewise) */
static const double driven_m = 250;
static const int64_t settle_ms = 30000; /* a motion sensor holds its output, and a curtain swings, for this long after the last one left */
static const int cards_pct = 80;        /* how far cards are believed: some forget theirs */
static const int cards_margin_pct = 5;
static const int64_t drift_most_pm = 400; /* a counter that misses more is no counter: believed to 20 % */
static const int drift_persons = 20;      /* fewer boardings say nothing of a counter's drift */

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

/* ---- the run ---- */

static void begin_run(struct bus *b, int64_t at_ms)
{
    b->run = BUS_RUN_ON;
    b->run_ms = at_ms;
    b->patrol_ms = b->confirm_ms = b->motion_ms = 0;
    b->confirm_kind = 0;
    b->end_opens = 0;
}

static void end_run(struct bus *b, int64_t at_ms)
{
    b->run = BUS_RUN_ENDED;
    b->run_ms = at_ms;
    b->under_way = 0;
    b->end_opens = bus_doors_open(b) == 1;
}

static void count_drift(struct bus *b)
{
    int64_t in, out;
    if (!bus_doors_count(b, &in, &out) || in < drift_persons)
        return;
    int64_t pm = (in > out ? in - out : out - in) * 1000 / in;
    pm = pm > drift_most_pm ? drift_most_pm : pm;
    b->drift_pm = (uint16_t)(b->drift_runs == 0 ? pm : (3 * (int64_t)b->drift_pm + pm) / 4);
    b->drift_runs = b->drift_runs < UINT8_MAX ? (uint8_t)(b->drift_runs + 1) : UINT8_MAX;
}

/* The bus is empty, as people confirmed: every count begins anew. */
static void set_empty(struct bus *b, int64_t at_ms)
{
    count_drift(b);
    for (int i = 0; i < BUS_DOORS; i++) {
        b->door[i].base_boarded = b->door[i].boarded;
        b->door[i].base_alighted = b->door[i].alighted;
        b->door[i].flags &= (uint8_t)~EVENT_COUNT_DOUBTFUL;
    }
    memset(b->seen, 0, sizeof b->seen);
    memset(b->pupil, 0, sizeof b->pupil);
    memset(b->staff, 0, sizeof b->staff);
    b->pupils = b->staffs = 0;
    b->card_ms = b->pupil_ms = b->attendant_ms = 0;
    begin_run(b, at_ms);
    b->run = BUS_RUN_IDLE;
    b->idle_m = b->moved_m;
}

static void apply_speed(struct bus *b, const struct event *e)
{
    int32_t v = e->fix.speed_mmps;
    bool fast = v != EVENT_UNKNOWN && v > moving_mmps;
    b->fast_fixes = !fast ? 0 : b->fast_fixes < 2 ? (uint8_t)(b->fast_fixes + 1) : 2;
    bool on = (b->inputs_fitted & EVENT_IN_IGNITION) == 0 || (b->inputs & b->inputs_known & EVENT_IN_IGNITION) != 0;
    if (b->fast_fixes == 2 && bus_doors_open(b) != 1)
        b->under_way = 1;
    if (b->run == BUS_RUN_IDLE && b->fast_fixes == 2 && (v > driven_mmps || b->moved_m - b->idle_m >= driven_m))
        begin_run(b, e->time_ms);
    else if (b->run == BUS_RUN_ENDED && b->fast_fixes == 2 && on)
        begin_run(b, e->time_ms); /* it was a pause: who drives off knows who is aboard */
}

static void apply_fix(struct bus *b, const struct duty_set *set, const struct duty_vehicle *v, const struct event *e)
{
    if (e->time_ms >= b->report_ms) {
        b->report_ms = e->time_ms;
        b->report_mode = event_fix_placed(&e->fix) && !event_fix_valid(&e->fix) ? EVENT_FIX_NONE : e->fix.mode;
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
    apply_speed(b, e);
    match_route(b, set, v);
}

static void apply_patrol(struct bus *b, int64_t at_ms)
{
    if (b->run == BUS_RUN_ENDED)
        b->patrol_ms = at_ms;
}

static void apply_confirm(struct bus *b, int64_t at_ms, uint8_t kind)
{
    if (b->run == BUS_RUN_ENDED && b->patrol_ms == 0 &&
        (b->inputs_fitted & EVENT_IN_PATROL) == 0) { /* no rear button: two confirmations, one by one */
        b->patrol_ms = at_ms;
        return;
    }
    if (b->run != BUS_RUN_ENDED || b->patrol_ms == 0 || at_ms <= b->patrol_ms)
        return;
    b->confirm_ms = at_ms;
    b->confirm_kind = kind;
}

static void apply_inputs(struct bus *b, const struct event *e)
{
    uint32_t was = b->inputs & b->inputs_known, open = was & EVENT_IN_DOORS;
    b->inputs = e->inputs.state & e->inputs.known;
    b->inputs_known = e->inputs.known;
    b->inputs_fitted |= e->inputs.known;
    b->inputs_ms = e->time_ms;
    uint32_t rose = b->inputs & ~was;
    if ((b->inputs & EVENT_IN_DOORS) != open) {
        b->door_ms = e->time_ms;
        if (b->run == BUS_RUN_ENDED && open == 0 && b->end_opens < UINT8_MAX)
            b->end_opens++;
    }
    if (bus_doors_open(b) == 1 && b->fast_fixes == 0)
        b->under_way = 0;
    if (b->run == BUS_RUN_ON && (b->inputs_known & ~b->inputs & EVENT_IN_IGNITION) != 0 && b->fast_fixes < 2)
        end_run(b, e->time_ms);
    if ((rose & EVENT_IN_PATROL) != 0)
        apply_patrol(b, e->time_ms);
    if ((rose & EVENT_IN_CONFIRM) != 0) {
        apply_confirm(b, e->time_ms, EVENT_CARD_UNKNOWN);
        b->attendant_ms = e->time_ms;
    }
    if (b->run == BUS_RUN_ENDED && (b->inputs & EVENT_IN_MOTION) != 0 && bus_doors_open(b) != 1 && b->end_opens > 0 &&
        e->time_ms - b->door_ms >= settle_ms)
        b->motion_ms = e->time_ms;
}

/* ---- cards ---- */

/* Put into or take out of a short list; false: it was full. */
static bool list_card(uint64_t *list, size_t *n, size_t max, uint64_t hash, uint8_t way, bool toggles)
{
    size_t i = 0;
    while (i < *n && list[i] != hash)
        i++;
    if (i < *n) {
        if (way == EVENT_CARD_OFF || (way == EVENT_CARD_TAP && toggles)) {
            memmove(list + i, list + i + 1, (*n - i - 1) * sizeof *list);
            list[--*n] = 0;
        }
        return true;
    }
    if (way == EVENT_CARD_OFF)
        return true;
    if (*n == max)
        return false;
    list[(*n)++] = hash;
    return true;
}

static void apply_card(struct bus *b, const struct event *e)
{
    const struct event_card *c = &e->card;
    if (e->time_ms <= b->card_ms) /* a duplicate must not tap off again; two cards in one millisecond no reader reads */
        return;
    b->card_ms = e->time_ms;
    b->cards_down = 0;
    size_t n;
    switch ((enum event_card_kind)c->kind) {
    case EVENT_CARD_PUPIL:
        n = b->pupils;
        list_card(b->pupil, &n, BUS_CARDS_MAX, c->hash, c->way, true);
        b->pupils = (uint16_t)n;
        b->pupil_ms = e->time_ms;
        break;
    case EVENT_CARD_ATTENDANT: /* an attendant who taps twice did not leave: only a reader that knows the way says so */
        n = b->staffs;
        list_card(b->staff, &n, BUS_STAFF_MAX, c->hash, c->way, false);
        b->staffs = (uint8_t)n;
        b->attendant_ms = b->staffs > 0 ? e->time_ms : 0;
        apply_confirm(b, e->time_ms, c->kind);
        break;
    case EVENT_CARD_DRIVER: apply_confirm(b, e->time_ms, c->kind); break;
    case EVENT_CARD_PATROL: apply_patrol(b, e->time_ms); break;
    case EVENT_CARD_UNKNOWN: break;
    }
}

bool bus_card_aboard(const struct bus *b, uint64_t hash)
{
    for (size_t i = 0; i < b->pupils; i++)
        if (b->pupil[i] == hash)
            return true;
    return false;
}

/* ---- counts ---- */

bool bus_doors_count(const struct bus *b, int64_t *ret_boarded, int64_t *ret_alighted)
{
    bool any = false;
    *ret_boarded = *ret_alighted = 0;
    for (int i = 0; i < BUS_DOORS; i++) {
        any = any || b->door[i].time_ms != 0;
        *ret_boarded += (int64_t)b->door[i].boarded - b->door[i].base_boarded;
        *ret_alighted += (int64_t)b->door[i].alighted - b->door[i].base_alighted;
    }
    return any;
}

/* A counter whose memory was lost counts on from where it stood; and the attendant who leaves the empty bus does not owe it a person. */
static void keep_base(struct bus *b, int door, const struct event_count *c)
{
    int32_t in = b->door[door].boarded - b->door[door].base_boarded, out = b->door[door].alighted - b->door[door].base_alighted;
    bool forgot = b->door[door].booted && (c->boarded < b->door[door].boarded || c->alighted < b->door[door].alighted);
    b->door[door].booted = 0;
    if (forgot || (b->door[door].base_boarded > 0 && c->boarded < b->door[door].base_boarded) ||
        (b->door[door].base_alighted > 0 && c->alighted < b->door[door].base_alighted)) {
        b->door[door].base_boarded = c->boarded - in;
        b->door[door].base_alighted = c->alighted - out;
    }
}

static void apply_wheel(struct bus *b, const struct event *e)
{
    const double mmps_per_kmh = 1000 / 3.6;
    if (e->time_ms < b->wheel_ms)
        return;
    bool known = e->reading.value != EVENT_UNKNOWN && e->reading.value >= 0 && e->reading.value <= 1000000;
    b->wheel_ms = known ? e->time_ms : 0;
    b->wheel_mmps = known ? (int32_t)lround(e->reading.value / 1000.0 * mmps_per_kmh) : 0;
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
        keep_base(b, c->door, c);
        b->door[c->door].boarded = c->boarded;
        b->door[c->door].alighted = c->alighted;
        b->door[c->door].time_ms = e->time_ms;
        b->door[c->door].confidence_pct = c->confidence_pct;
        b->door[c->door].flags = c->flags;
        int64_t in, out;
        if (b->run == BUS_RUN_IDLE && b->run_ms != 0 && bus_doors_count(b, &in, &out) && out > in)
            b->door[c->door].base_alighted += (int32_t)(out - in);
    } else if (c->source >= EVENT_COUNT_CAMERA && c->source <= EVENT_COUNT_CARDS) {
        int i = c->source - EVENT_COUNT_CAMERA;
        if (e->time_ms < b->seen[i].time_ms)
            return;
        b->seen[i].aboard = c->aboard;
        b->seen[i].time_ms = e->time_ms;
        b->seen[i].confidence_pct = c->confidence_pct;
        b->seen[i].flags = c->flags;
        if (c->source == EVENT_COUNT_ATTENDANT)
            b->attendant_ms = e->time_ms;
    }
}

static void apply_other(struct bus *b, const struct event *e)
{
    if (e->kind == EVENT_CARD)
        apply_card(b, e);
    else if (e->kind == EVENT_TALLY && (e->tally.flags & EVENT_TALLY_ZEROED) != 0 && e->time_ms >= b->run_ms)
        set_empty(b, e->time_ms);
    else if (e->kind == EVENT_ACTION && e->action.what == EVENT_ACTION_BOOT) {
        for (int i = 0; i < BUS_DOORS; i++)
            b->door[i].booted = b->door[i].time_ms < e->time_ms;
    } else if (e->kind == EVENT_READING && e->reading.what == EVENT_READING_CABIN_C && e->time_ms >= b->cabin_ms) {
        b->cabin_mc = e->reading.value;
        b->cabin_ms = e->time_ms;
    } else if (e->kind == EVENT_GNSS && e->gnss.fault == EVENT_GNSS_ANTENNA) {
        b->antenna_bad = e->gnss.over == 0;
        b->antenna_seen = 1;
    } else if (e->kind == EVENT_HEALTH && e->health.device == EVENT_DEVICE_CARDS)
        b->cards_down = e->health.state != EVENT_DEVICE_OK;
}

void bus_apply(struct bus *b, const struct duty_set *set, const struct duty_vehicle *v, const struct event *e)
{
    if (e->time_ms <= 0)
        return;
    if (e->kind == EVENT_FIX)
        apply_fix(b, set, v, e);
    else if (e->kind == EVENT_COUNT)
        apply_count(b, e);
    else if (e->kind == EVENT_READING && e->reading.what == EVENT_READING_WHEEL_KMH)
        apply_wheel(b, e);
    else if (e->kind == EVENT_INPUTS) {
        if (e->time_ms >= b->inputs_ms)
            apply_inputs(b, e);
    } else
        apply_other(b, e);
    if (e->time_ms > b->time_ms)
        b->time_ms = e->time_ms;
}

/* One source's word. */
struct word {
    int64_t persons, time_ms;
    int32_t margin;
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
        /* in at the front and out at the rear is usual: only the sum counts */
        w->persons += ((int64_t)b->door[i].boarded - b->door[i].base_boarded) - ((int64_t)b->door[i].alighted - b->door[i].base_alighted);
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
    int64_t in, out;
    bus_doors_count(b, &in, &out);
    w->margin = in > 0 ? (int32_t)((in * b->drift_pm * 5 + 3999) / 4000) : 0; /* a quarter more: one run is not like another */
    int trust = 100 - (2 * b->drift_pm + 5) / 10;
    if (b->drift_pm > 0 && w->confidence_pct > trust)
        w->confidence_pct = (uint8_t)trust;
    return any;
}

static bool leads(const struct word *a, const struct word *b)
{
    static const uint8_t rank[] = {0, 3, 2, 4, 1}; /* by enum event_count_source */
    return a->confidence_pct != b->confidence_pct ? a->confidence_pct > b->confidence_pct : rank[a->source] > rank[b->source];
}

static bool agrees(const struct word *lead, const struct word *w)
{
    int64_t apart = w->persons - lead->persons, most = 1 + (int64_t)(w->margin > lead->margin ? w->margin : lead->margin);
    return apart >= -most && apart <= most;
}

struct bus_persons bus_persons(const struct bus *b, const struct duty_vehicle *v)
{
    struct bus_persons r = {.persons = EVENT_UNKNOWN, .pupils = EVENT_UNKNOWN, .least = EVENT_UNKNOWN, .most = EVENT_UNKNOWN};
    struct word word[4];
    int64_t changed_ms = 0;
    size_t n = doors_word(b, v, &word[0], &changed_ms) ? 1 : 0;
    for (int i = 0; i < 3; i++) {
        struct word w = {.persons = b->seen[i].aboard,
                         .time_ms = b->seen[i].time_ms,
                         .confidence_pct = b->seen[i].confidence_pct,
                         .source = (uint8_t)(EVENT_COUNT_CAMERA + i),
                         .doubtful = (b->seen[i].flags & EVENT_COUNT_DOUBTFUL) != 0};
        if (w.source == EVENT_COUNT_CARDS && b->pupil_ms > w.time_ms) /* no device counts them: we do */
            w = (struct word){.persons = b->pupils + (v == NULL ? 0 : v->staff),
                              .time_ms = b->pupil_ms,
                              .margin = (b->pupils * cards_margin_pct + 99) / 100,
                              .confidence_pct = (uint8_t)cards_pct,
                              .source = EVENT_COUNT_CARDS};
        bool partly = w.source == EVENT_COUNT_CARDS && b->pupil_ms == w.time_ms && n > 0 && 100 * w.persons < cards_pct * word[0].persons;
        if (partly) /* where not every pupil has a card, cards are a list of some, no count of all */
            continue;
        if (w.time_ms == 0 || w.persons == EVENT_UNKNOWN || w.time_ms < changed_ms - boarding_ms)
            continue;
        if (i == 0 && w.time_ms < b->time_ms - camera_silent_ms)
            continue;
        if (w.persons < 0)
            w.persons = 0;
        word[n++] = w;
    }
    if (n == 0)
        return r;
    size_t lead = 0;
    for (size_t i = 1; i < n; i++)
        if (leads(&word[i], &word[lead]))
            lead = i;
    int64_t least = word[lead].persons, most = least;
    int32_t margin = word[lead].source == EVENT_COUNT_DOOR ? word[lead].margin : 0,
            widest = word[lead].margin; /* a card is never one person too many */
    int wrong = 100;                    /* per cent that every agreeing source is wrong */
    for (size_t i = 0; i < n; i++) {
        r.current |= (uint8_t)(1U << word[i].source);
        bool same = agrees(&word[lead], &word[i]);
        least = word[i].persons < least ? word[i].persons : least;
        most = word[i].persons > most ? word[i].persons : most;
        r.doubtful = r.doubtful || word[i].doubtful || !same;
        if (!same)
            continue;
        widest = word[i].margin > widest ? word[i].margin : widest;
        r.sources++;
        wrong = (wrong * (100 - word[i].confidence_pct) + 50) / 100;
        r.time_ms = word[i].time_ms > r.time_ms ? word[i].time_ms : r.time_ms;
    }
    r.persons = (int32_t)word[lead].persons;
    r.margin = margin == 0 && widest > 0 ? 1 : margin; /* what a drifting counter supports is not proven to the last person */
    r.least = (int32_t)least;
    r.most = (int32_t)most;
    int32_t pupils = r.persons - (v == NULL ? 0 : v->staff);
    r.pupils = pupils > 0 ? pupils : 0;
    r.confidence_pct = (uint8_t)(100 - wrong);
    r.source = word[lead].source;
    return r;
}

struct bus_speed bus_speed(const struct bus *b)
{
    if (b->fix_ms == 0 || (b->fix.doubt & EVENT_DOUBT_SPEED) != 0)
        return (struct bus_speed){EVENT_UNKNOWN, BUS_SPEED_NONE};
    int64_t apart_ms = b->fix_ms - b->wheel_ms;
    if (b->wheel_ms != 0 && apart_ms < BUS_WHEEL_MS && apart_ms > -BUS_WHEEL_MS)
        return (struct bus_speed){b->wheel_mmps, BUS_SPEED_WHEEL};
    return (struct bus_speed){b->fix.speed_mmps, b->fix.speed_mmps != EVENT_UNKNOWN ? BUS_SPEED_GNSS : BUS_SPEED_NONE};
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
    int64_t *const times[] = {&b->time_ms,      &b->fix_ms, &b->report_ms, &b->route_ms,  &b->inputs_ms,  &b->card_ms,   &b->pupil_ms,
                              &b->attendant_ms, &b->run_ms, &b->door_ms,   &b->patrol_ms, &b->confirm_ms, &b->motion_ms, &b->cabin_ms};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        shift(times[i], by_ms);
    for (size_t i = 0; i < BUS_DOORS; i++) {
        shift(&b->door[i].time_ms, by_ms);
        shift(&b->door[i].changed_ms, by_ms);
    }
    for (size_t i = 0; i < sizeof b->seen / sizeof b->seen[0]; i++)
        shift(&b->seen[i].time_ms, by_ms);
}
