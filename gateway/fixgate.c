#include "fixgate.h"

#include <math.h>
#include <stdlib.h>

#include "../core/geo.h"

static const double slack_m = 30;        /* two positions of a standing receiver may be this far apart */
static const int32_t moving_mmps = 1389; /* 5 km/h: below that a standing receiver wanders */
static const int32_t moving_mkmh = 5000;
static const int64_t wheel_fresh_ms = 3000; /* as BUS_WHEEL_MS */
static const int64_t step_max_ms = 5000;    /* longer pauses say nothing about what the bus did meanwhile */
static const uint8_t window = (1 << FIXGATE_WINDOW) - 1;

#define S(member, lo, hi, unit, dflt, help)                                                                                                          \
    {                                                                                                                                                \
#member, FIELD_INT, FIELD_AT(struct fixgate_options, member), unit, lo, hi, NULL, dflt, help                                                 \
    }
const struct field fixgate_fields[] = {
    S(frozen_s, 10, 3600, "s", "60", "the same position for so long of driving is not believed; 0.1 m at 5 km/h take 0.07 s"),
    S(implied_kmh, 60, 400, "km/h", "150", "further than this speed leads is a jump"),
    S(stand_m, 50, 10000, "m", "500", "further than this with wheels that did not turn is a jump"),
    S(wheel_kmh, 5, 100, "km/h", "15", "speed over ground and wheel speed may differ by so much"),
    S(wheel_s, 5, 600, "s", "30", "for so long"),
    S(clock_s, 0, 3600, "s", "5", "a receiver's time may be off a trusted clock by so much; 0: take its time as it is (recordings)"),
    S(jammed_s, 5, 600, "s", "60", "the signals of all satellites must be gone for so long before jamming is reported"),
    S(cold_s, 0, 1800, "s", "120", "and not within this time after the start"),
};
const size_t fixgate_fields_n = sizeof fixgate_fields / sizeof *fixgate_fields;

struct told {
    struct event *out;
    size_t n;
};

static void tell(struct fixgate *g, struct told *t, enum event_gnss_fault fault, bool open, int32_t value)
{
    if (g->open[fault] == open)
        return;
    g->open[fault] = open;
    t->out[t->n++] = (struct event){.kind = EVENT_GNSS, .gnss = {.value = value, .fault = (uint8_t)fault, .over = !open}};
}

static bool same_place(const struct fixgate_at *a, const struct fixgate_at *b)
{
    return a->lat_e7 == b->lat_e7 && a->lon_e7 == b->lon_e7;
}

static double apart_m(const struct fixgate_at *a, const struct fixgate_at *b)
{
    return geo_near_m((struct geo_pt){a->lat_e7 / 1e7, a->lon_e7 / 1e7}, (struct geo_pt){b->lat_e7 / 1e7, b->lon_e7 / 1e7});
}

/* By the receiver's clock or by ours, whichever says more: a batch comes at once, and a receiver's clock may step back at a leap second. */
static int64_t between_ms(const struct fixgate_at *a, const struct fixgate_at *b)
{
    int64_t ours_ms = b->mono_ms - a->mono_ms, its_ms = a->time_ms == 0 || b->time_ms == 0 ? 0 : b->time_ms - a->time_ms;
    return its_ms > ours_ms ? its_ms : ours_ms;
}

static bool wheel_known(const struct fixgate *g, int64_t mono_ms)
{
    return g->wheel_mono_ms != 0 && mono_ms - g->wheel_mono_ms < wheel_fresh_ms;
}

/* Can the bus have come from a to b? */
static bool drivable(const struct fixgate *g, const struct fixgate_options *o, const struct fixgate_at *a, const struct fixgate_at *b)
{
    double m = apart_m(a, b);
    bool stood = wheel_known(g, b->mono_ms) && (g->rolled_mono_ms == 0 || g->rolled_mono_ms < a->mono_ms);
    if (stood && m > (double)o->stand_m)
        return false;
    return m <= slack_m + (double)o->implied_kmh / 3600 * (double)between_ms(a, b);
}

static int bits(unsigned v)
{
    return __builtin_popcount(v);
}

/* Is the position one the bus can be at? Keeps `ref`, `next` and the event of a jump. */
static bool placed_well(struct fixgate *g, const struct fixgate_options *o, const struct fixgate_at *at, struct told *t)
{
    bool good = g->believed && drivable(g, o, &g->ref, at);
    double far_m = g->believed ? fmin(apart_m(&g->ref, at), 1e8) : 0;
    if (good) {
        g->agree = 0;
    } else {
        g->agree = g->agree > 0 && drivable(g, o, &g->next, at) ? g->agree + 1 : 1;
        g->next = *at;
    }
    if (g->believed) {
        g->bad = (uint8_t)(g->bad << 1 | !good) & window;
        if (bits(g->bad) >= FIXGATE_BAD)
            tell(g, t, EVENT_GNSS_JUMP, true, (int32_t)lround(far_m));
        else if (g->bad == 0)
            tell(g, t, EVENT_GNSS_JUMP, false, EVENT_UNKNOWN);
    }
    if (!good && g->agree < FIXGATE_BAD)
        return false;
    g->agree = 0;
    g->believed = true;
    /* at a place that does not change while the bus drives, its time is that of the first fix: what comes then is that much further away */
    if (!same_place(&g->ref, at) || g->same_ms == 0)
        g->ref = *at;
    return true;
}

static bool frozen(struct fixgate *g, const struct fixgate_options *o, const struct event_fix *f, const struct fixgate_at *at, struct told *t)
{
    bool rolls = wheel_known(g, at->mono_ms) ? g->wheel_mkmh >= moving_mkmh : f->speed_mmps != EVENT_UNKNOWN && f->speed_mmps >= moving_mmps;
    if (!g->started || !same_place(&g->last, at)) {
        g->same_ms = 0;
        g->moves++;
    } else {
        int64_t ms = between_ms(&g->last, at);
        g->same_ms += rolls ? (ms < step_max_ms ? ms : step_max_ms) : 0;
        g->moves = 0;
    }
    if (g->same_ms > o->frozen_s * 1000)
        tell(g, t, EVENT_GNSS_FROZEN, true, (int32_t)(g->same_ms / 1000));
    else if (g->moves >= FIXGATE_BAD)
        tell(g, t, EVENT_GNSS_FROZEN, false, EVENT_UNKNOWN);
    return g->open[EVENT_GNSS_FROZEN] && g->moves == 0;
}

/* True while speed over ground and wheel speed contradict each other. */
static bool speeds_apart(struct fixgate *g, const struct fixgate_options *o, const struct event_fix *f, int64_t mono_ms, struct told *t)
{
    if (!wheel_known(g, mono_ms) || f->speed_mmps == EVENT_UNKNOWN) {
        g->apart_mono_ms = g->near_mono_ms = 0;
        if (mono_ms - g->wheel_mono_ms > o->wheel_s * 1000) /* the sensor is gone: nothing to compare any more */
            tell(g, t, EVENT_GNSS_SPEED, false, EVENT_UNKNOWN);
        return g->open[EVENT_GNSS_SPEED];
    }
    int32_t by_kmh = (int32_t)lround(fabs(f->speed_mmps * 0.0036 - g->wheel_mkmh / 1000.0));
    bool apart = by_kmh > o->wheel_kmh;
    int64_t *since = apart ? &g->apart_mono_ms : &g->near_mono_ms, *other = apart ? &g->near_mono_ms : &g->apart_mono_ms;
    *since = *since == 0 ? mono_ms : *since;
    *other = 0;
    if (mono_ms - *since >= o->wheel_s * 1000)
        tell(g, t, EVENT_GNSS_SPEED, apart, apart ? by_kmh : EVENT_UNKNOWN);
    return g->open[EVENT_GNSS_SPEED];
}

/* A receiver's time against a clock that something else keeps: wrong by itself, or made so by somebody. */
static void set_time(struct fixgate *g, const struct fixgate_options *o, const struct fixgate_scene *now, struct event *e, struct told *t)
{
    if (o->clock_s == 0 || !now->clock_trusted || e->clock != EVENT_CLOCK_GNSS)
        return;
    int64_t by_s = (e->time_ms - now->clock_ms) / 1000;
    bool off = by_s > o->clock_s || by_s < -o->clock_s;
    g->off = (uint8_t)(g->off << 1 | off) & window;
    if (bits(g->off) >= FIXGATE_BAD)
        tell(g, t, EVENT_GNSS_CLOCK, true, (int32_t)(by_s > 100000000 ? 100000000 : by_s < -100000000 ? -100000000 : by_s));
    else if (g->off == 0)
        tell(g, t, EVENT_GNSS_CLOCK, false, EVENT_UNKNOWN);
    if (!off)
        return;
    e->time_ms = now->clock_ms;
    e->clock = now->clock;
}

static void take_fix(struct fixgate *g, const struct fixgate_options *o, const struct fixgate_scene *now, struct event *e, struct told *t)
{
    struct event_fix *f = &e->fix;
    if (f->lat_e7 == 0 && f->lon_e7 == 0) {
        f->lat_e7 = f->lon_e7 = EVENT_UNKNOWN;
        f->mode = f->mode >= EVENT_FIX_2D ? EVENT_FIX_NONE : f->mode;
    }
    int64_t its_ms = e->clock == EVENT_CLOCK_GNSS ? e->time_ms : 0;
    set_time(g, o, now, e, t);
    if (!event_fix_placed(f))
        return;
    struct fixgate_at at = {f->lat_e7, f->lon_e7, its_ms, now->mono_ms};
    bool still = frozen(g, o, f, &at, t);
    bool well = placed_well(g, o, &at, t);
    if (still || !well || g->open[EVENT_GNSS_JAMMED])
        f->doubt |= EVENT_DOUBT_PLACE;
    if (speeds_apart(g, o, f, now->mono_ms, t))
        f->doubt |= EVENT_DOUBT_SPEED;
    g->last = at;
    g->started = true;
}

static void take_wheel(struct fixgate *g, const struct event_reading *r, int64_t mono_ms)
{
    bool known = r->value != EVENT_UNKNOWN && r->value >= 0;
    g->wheel_mono_ms = known ? mono_ms : 0;
    g->wheel_mkmh = known ? r->value : 0;
    if (known && r->value > 0)
        g->rolled_mono_ms = mono_ms;
}

static void take_hint(struct fixgate *g, const struct event_gnss *h, int64_t mono_ms, struct told *t)
{
    if (h->fault != EVENT_GNSS_JAMMED) {
        tell(g, t, (enum event_gnss_fault)h->fault, !h->over, h->value);
        return;
    }
    if (h->over) {
        g->fell_mono_ms = 0;
        tell(g, t, EVENT_GNSS_JAMMED, false, EVENT_UNKNOWN);
    } else if (g->fell_mono_ms == 0) {
        g->fell_mono_ms = mono_ms;
        g->fell_db = h->value;
    }
}

size_t fixgate_tick(struct fixgate *g, const struct fixgate_options *o, const struct fixgate_scene *now, struct event out[1])
{
    struct told t = {out, 0};
    if (g->first_mono_ms == 0)
        g->first_mono_ms = now->mono_ms;
    if (g->fell_mono_ms == 0)
        return 0;
    if (!now->power || !now->network || now->tunnel || now->mono_ms - g->first_mono_ms < o->cold_s * 1000)
        g->fell_mono_ms = now->mono_ms; /* the time counts from when there is no other reason */
    if (now->mono_ms - g->fell_mono_ms >= o->jammed_s * 1000)
        tell(g, &t, EVENT_GNSS_JAMMED, true, g->fell_db);
    return t.n;
}

size_t fixgate_take(struct fixgate *g, const struct fixgate_options *o, const struct fixgate_scene *now, struct event *e,
                    struct event out[FIXGATE_OUT_MAX])
{
    struct told t = {out, 0};
    if (e->kind == EVENT_FIX)
        take_fix(g, o, now, e, &t);
    else if (e->kind == EVENT_READING && e->reading.what == EVENT_READING_WHEEL_KMH)
        take_wheel(g, &e->reading, now->mono_ms);
    else if (e->kind == EVENT_GNSS)
        take_hint(g, &e->gnss, now->mono_ms, &t);
    return t.n;
}
