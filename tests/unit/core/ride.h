/*
 * ride - a school run in a few lines for the tests of what happens on the bus: the gateway's part (fold, rules, head-count, whose events go back into
 * the fold) on one side, and the office's, which sees the same events after their way over the wire.
 */
#ifndef SCHOOLWARD_TEST_RIDE_H
#define SCHOOLWARD_TEST_RIDE_H

#include "core/headcount.h"
#include "scene.h"

#define RIDE_STAFF_CARD 0xa77e0dULL
#define RIDE_VEHICLE                                                                                                                                 \
    "\"rated\":{\"total\":40,\"pupils\":38},\"size\":\"large\",\"roster\":[{\"hash\":\"0000000000a77e0d\",\"kind\":\"attendant\"},"                  \
    "{\"hash\":\"0000000000000001\",\"kind\":\"pupil\"},{\"hash\":\"0000000000000002\",\"kind\":\"pupil\"},"                                         \
    "{\"hash\":\"000000000000d21f\",\"kind\":\"driver\"}]"
#define RIDE_FITTED                                                                                                                                  \
    (EVENT_IN_DOOR_FRONT | EVENT_IN_IGNITION | EVENT_IN_PATROL | EVENT_IN_CONFIRM | EVENT_IN_MOTION | EVENT_IN_BELTS | EVENT_IN_DRIVER_SEAT |        \
     EVENT_IN_FRONT_SEAT | EVENT_IN_BEACON | EVENT_IN_SMOKE | EVENT_IN_POWER_LOST | EVENT_IN_TAMPER)
#define RIDE_EVENTS 65536

struct ride {
    struct scene *s;
    struct headcount h;
    uint32_t fitted, in; /* inputs as they are */
    int32_t boarded, alighted;
    int confidence_pct; /* of the door counter */
    double kmh;
    struct event sent[RIDE_EVENTS]; /* all events but ticks, in order: what the office gets */
    size_t sents;
};

static inline struct ride *ride_new(const char *vehicle)
{
    struct ride *r = calloc(1, sizeof *r);
    if (r == NULL)
        exit(1);
    r->s = scene_new(vehicle, "");
    r->fitted = RIDE_FITTED;
    r->in = EVENT_IN_IGNITION | EVENT_IN_DRIVER_SEAT | EVENT_IN_BEACON;
    r->confidence_pct = 95;
    return r;
}

static inline void ride_free(struct ride *r)
{
    scene_free(r->s);
    free(r);
}

static inline void ride_event(struct ride *r, const struct event *e)
{
    struct event made[HEADCOUNT_OUT_MAX];
    if (e->kind != EVENT_TICK && r->sents < RIDE_EVENTS)
        r->sent[r->sents++] = *e;
    scene_event(r->s, e);
    size_t n = headcount_step(&r->h, &r->s->bus, r->s->v, rules_left_open(&r->s->mem), made);
    for (size_t i = 0; i < n; i++) {
        scene_event(r->s, &made[i]);
        if (r->sents < RIDE_EVENTS)
            r->sent[r->sents++] = made[i];
    }
}

static inline void ride_inputs(struct ride *r)
{
    struct event e = {.time_ms = r->s->now_ms, .kind = EVENT_INPUTS, .inputs = {.known = r->fitted, .state = r->in & r->fitted}};
    ride_event(r, &e);
}

static inline void ride_set(struct ride *r, uint32_t bits, bool on)
{
    r->in = on ? r->in | bits : r->in & ~bits;
    ride_inputs(r);
}

/* So many seconds at kmh, a fix and four ticks in each. */
static inline void ride_drive(struct ride *r, double kmh, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        for (int k = 0; k < 3; k++) {
            r->s->now_ms += 250;
            ride_event(r, &(struct event){.time_ms = r->s->now_ms, .kind = EVENT_TICK});
        }
        r->s->now_ms += 250;
        r->s->along_m += kmh / 3.6;
        if (r->s->along_m > 9000)
            r->s->along_m = 1000;
        struct event e = scene_fix(r->s, kmh);
        ride_event(r, &e);
    }
}
#define ride_wait(r, seconds) ride_drive((r), 0, (seconds))

/* A press of half a second. */
static inline void ride_press(struct ride *r, uint32_t button)
{
    ride_set(r, button, true);
    r->s->now_ms += 500;
    ride_set(r, button, false);
}

static inline void ride_doors(struct ride *r, int in, int out)
{
    r->boarded += in;
    r->alighted += out;
    r->s->now_ms += 100;
    struct event e = {.time_ms = r->s->now_ms, .kind = EVENT_COUNT};
    e.count = (struct event_count){.source = EVENT_COUNT_DOOR,
                                   .confidence_pct = (uint8_t)r->confidence_pct,
                                   .boarded = r->boarded,
                                   .alighted = r->alighted,
                                   .aboard = EVENT_UNKNOWN};
    ride_event(r, &e);
}

static inline void ride_own_count(struct ride *r, int persons)
{
    r->s->now_ms += 100;
    struct event e = {.time_ms = r->s->now_ms, .kind = EVENT_COUNT};
    e.count = (struct event_count){.source = EVENT_COUNT_ATTENDANT, .confidence_pct = 98, .aboard = persons};
    ride_event(r, &e);
}

static inline void ride_card(struct ride *r, uint64_t hash, uint8_t way)
{
    r->s->now_ms += 100;
    struct event e = {.time_ms = r->s->now_ms, .kind = EVENT_CARD};
    e.card = (struct event_card){.hash = hash, .kind = duty_card_kind(r->s->v, hash), .way = way};
    ride_event(r, &e);
}

/* The door opens, they go in and out, it shuts: a stop of 20 s. */
static inline void ride_stop(struct ride *r, int in, int out)
{
    ride_wait(r, 2);
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_wait(r, 9);
    ride_doors(r, in, out);
    ride_wait(r, 9);
    ride_set(r, EVENT_IN_DOOR_FRONT, false);
}

/* The newest event of a kind since `from` (index into sent), NULL if there is none. */
static inline const struct event *ride_sent(const struct ride *r, size_t from, uint8_t kind)
{
    for (size_t i = r->sents; i > from; i--)
        if (r->sent[i - 1].kind == kind)
            return &r->sent[i - 1];
    return NULL;
}

/* Newest change of a rule, 0 if it never spoke; warnings are not looked at. */
static inline int ride_last(const struct ride *r, enum law_rule rule, const struct rules_finding **ret_f)
{
    static const struct rules_finding none;
    if (ret_f != NULL)
        *ret_f = &none;
    for (size_t i = r->s->n; i > 0; i--) {
        const struct rules_finding *f = &r->s->found[i - 1];
        if (f->rule == rule && f->change != RULES_WARNED && f->change != RULES_CALMED) {
            if (ret_f != NULL)
                *ret_f = f;
            return f->change;
        }
    }
    return 0;
}
static inline bool ride_open(const struct ride *r, enum law_rule rule)
{
    int c = ride_last(r, rule, NULL);
    return c == RULES_OPENED || c == RULES_RAISED;
}
static inline bool ride_warned(const struct ride *r, enum law_rule rule)
{
    return r->s->mem.warned[rules_ladder_of(rule)] != 0;
}

#endif
