#include "headcount.h"

static const int64_t alone_ms = 600000; /* nobody can confirm anything on a bus without buttons and tags */

static int32_t bounded(int64_t n, int32_t most)
{
    return n < 0 ? 0 : n > most ? most : (int32_t)n;
}

struct event headcount_tally(const struct headcount *h, const struct bus *b, const struct duty_vehicle *v)
{
    const int32_t persons_max = 1000, passed_max = 1000000; /* as event_check() allows */
    struct bus_persons p = bus_persons(b, v);
    struct event e = {.time_ms = b->time_ms, .kind = EVENT_TALLY};
    struct event_tally *t = &e.tally;
    int64_t in, out;
    bool doors = bus_doors_count(b, &in, &out);
    t->boarded = doors ? bounded(in - h->stop_boarded, passed_max) : EVENT_UNKNOWN;
    t->alighted = doors ? bounded(out - h->stop_alighted, passed_max) : EVENT_UNKNOWN;
    t->low = t->best = t->high = EVENT_UNKNOWN;
    if (p.persons == EVENT_UNKNOWN)
        return e;
    t->best = bounded(p.persons, persons_max);
    t->low = bounded((int64_t)p.least - p.margin, persons_max);
    t->high = bounded((int64_t)p.most + p.margin, persons_max);
    t->confidence_pct = p.confidence_pct;
    t->sources = p.current;
    if (p.most - p.least > 1)
        t->flags |= EVENT_TALLY_DISAGREE;
    if (p.doubtful)
        t->flags |= EVENT_TALLY_DOUBTFUL;
    return e;
}

static struct event action(const struct bus *b, enum event_action_what what, int32_t value)
{
    return (struct event){.time_ms = b->time_ms, .kind = EVENT_ACTION, .action = {.what = (uint8_t)what, .value = value}};
}

/* What the sources say, or a person who answers for it. */
static bool nobody(const struct bus *b, const struct duty_vehicle *v)
{
    int32_t own = b->seen[EVENT_COUNT_ATTENDANT - EVENT_COUNT_CAMERA].aboard;
    if (b->seen[EVENT_COUNT_ATTENDANT - EVENT_COUNT_CAMERA].time_ms > b->run_ms && own != EVENT_UNKNOWN && own <= v->staff)
        return true;
    if (b->confirm_kind != EVENT_CARD_UNKNOWN)
        return true;
    struct bus_persons p = bus_persons(b, v);
    return b->pupils == 0 && (p.persons == EVENT_UNKNOWN || p.least - p.margin <= v->staff_uncounted);
}

static bool is_empty(const struct bus *b, const struct duty_vehicle *v, bool left_open)
{
    if (b->run != BUS_RUN_ENDED || bus_doors_open(b) == 1)
        return false;
    if (left_open)
        return b->patrol_ms != 0 && b->motion_ms <= b->patrol_ms && b->confirm_ms > b->patrol_ms && nobody(b, v);
    if (b->patrol_ms != 0)
        return b->motion_ms <= b->patrol_ms;
    if ((b->inputs_fitted & EVENT_IN_PATROL) != 0)
        return false;
    if ((b->inputs_fitted & EVENT_IN_CONFIRM) != 0)
        return b->attendant_ms > b->run_ms && nobody(b, v);
    return b->time_ms - b->run_ms >= alone_ms && nobody(b, v);
}

/* A stop is over when the doors are shut; a bus without contacts in its doors has left it when it drives. */
static bool left_stop(const struct headcount *h, const struct bus *b)
{
    int open = bus_doors_open(b);
    return open >= 0 ? open == 0 && h->open : b->under_way && !h->under_way;
}

size_t headcount_step(struct headcount *h, const struct bus *b, const struct duty_vehicle *v, bool left_open, struct event out[HEADCOUNT_OUT_MAX])
{
    size_t n = 0;
    int64_t in, gone;
    if (b->run == BUS_RUN_IDLE && h->run != BUS_RUN_IDLE) /* its doors count from zero again */
        h->stop_boarded = h->stop_alighted = 0;
    if (left_stop(h, b)) {
        out[n] = headcount_tally(h, b, v);
        n += out[n].tally.sources != 0 || out[n].tally.boarded != EVENT_UNKNOWN; /* a bus that counts nothing has nothing to say */
        bus_doors_count(b, &in, &gone);
        h->stop_boarded = in;
        h->stop_alighted = gone;
        h->told_ms = b->time_ms;
    }
    if ((b->inputs & ~h->inputs & EVENT_IN_CONFIRM) != 0 && b->run != BUS_RUN_ENDED) {
        struct bus_persons p = bus_persons(b, v);
        out[n++] = action(b, EVENT_ACTION_COUNT_CONFIRMED, p.persons);
    }
    if (b->patrol_ms != 0 && b->patrol_ms != h->patrol_ms)
        out[n++] = action(b, EVENT_ACTION_PATROL, EVENT_UNKNOWN);
    if (b->confirm_ms != 0 && b->confirm_ms != h->confirm_ms)
        out[n++] = action(b, EVENT_ACTION_CONFIRMED, b->confirm_kind);
    h->patrol_ms = b->patrol_ms;
    h->confirm_ms = b->confirm_ms;
    h->inputs = b->inputs;
    h->open = bus_doors_open(b) == 1;
    h->under_way = b->under_way;
    h->run = b->run;
    if (v == NULL || n + 2 > HEADCOUNT_OUT_MAX || !is_empty(b, v, left_open))
        return n;
    struct event e = headcount_tally(h, b, v);
    int32_t was = e.tally.best;
    e.tally.flags |= EVENT_TALLY_ZEROED;
    out[n++] = e;
    out[n++] = action(b, EVENT_ACTION_ZEROED, was);
    h->told_ms = b->time_ms;
    return n;
}

void headcount_shift(struct headcount *h, int64_t by_ms)
{
    int64_t *const times[] = {&h->patrol_ms, &h->confirm_ms, &h->told_ms};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (*times[i] != 0)
            *times[i] += by_ms;
}
