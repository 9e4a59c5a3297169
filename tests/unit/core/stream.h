/*
 * stream - any bytes as a bus's day, and what must hold of its findings whatever happened. Used with random bytes by the unit test and with
 * chosen ones by the fuzzer.
 */
#ifndef SCHOOLWARD_TEST_STREAM_H
#define SCHOOLWARD_TEST_STREAM_H

#include "scene.h"

#define STREAM_STEP 5 /* bytes of one event */

static inline void stream_broken(const char *what, const struct rules_finding *f)
{
    fprintf(stderr, "broken: %s: %s change %d severity %d points %d began %lld opened %lld raised %lld closed %lld time %lld\n", what,
            law_rule_word((enum law_rule)f->rule), f->change, f->severity, f->points, (long long)f->began_ms, (long long)f->opened_ms,
            (long long)f->raised_ms, (long long)f->closed_ms, (long long)f->time_ms);
    abort();
}
#define STREAM_HOLDS(c, f)                                                                                                                           \
    do {                                                                                                                                             \
        if (!(c))                                                                                                                                    \
            stream_broken(#c, (f));                                                                                                                  \
    } while (0)

static inline void stream_other(struct event *e, const uint8_t p[STREAM_STEP])
{
    switch (p[2] % 8) {
    case 0:
    case 1:
        e->kind = EVENT_CARD;
        e->card = (struct event_card){.hash = p[3] % 16, .kind = p[4] % 5, .way = (p[4] >> 6) % 3};
        break;
    case 2:
        e->kind = EVENT_READING;
        e->reading = (struct event_reading){.value = p[3] * 250, .what = p[4] % 8 == 0 ? EVENT_READING_BOARD_C : EVENT_READING_CABIN_C};
        break;
    case 3:
        e->kind = EVENT_TALLY;
        e->tally = (struct event_tally){.low = 1, .best = 1, .high = 1, .flags = p[3] % 16 == 0 ? EVENT_TALLY_ZEROED : 0};
        e->tally.boarded = e->tally.alighted = EVENT_UNKNOWN;
        break;
    case 4:
        e->kind = EVENT_GNSS;
        e->gnss = (struct event_gnss){.value = EVENT_UNKNOWN, .fault = EVENT_GNSS_ANTENNA, .over = p[3] % 4 != 0};
        break;
    case 5:
        e->kind = EVENT_HEALTH;
        e->health =
            (struct event_health){.name = "cards", .device = EVENT_DEVICE_CARDS, .state = p[3] % 8 == 0 ? EVENT_DEVICE_SILENT : EVENT_DEVICE_OK};
        break;
    default: break;
    }
}

/* The next event; time mostly runs forward, sometimes an event is late or comes twice. */
static inline struct event stream_event(struct scene *s, const uint8_t p[STREAM_STEP])
{
    static const int64_t steps[] = {0, 1000, 1000, 1000, 1000, 2000, 5000, 20000};
    static const uint32_t doors[] = {0, EVENT_IN_DOOR_FRONT, EVENT_IN_DOOR_FRONT | EVENT_IN_DOOR_REAR, EVENT_IN_DOOR_FRONT};
    int64_t time_ms = s->now_ms + steps[p[1] & 7];
    if (time_ms > s->now_ms)
        s->now_ms = time_ms;
    if ((p[1] & 0xf8) == 0xf8)
        time_ms -= 7000; /* late */
    struct event e = {.time_ms = time_ms, .kind = EVENT_TICK};
    switch (p[0] % 8) {
    case 0:
    case 1:
    case 2:
    case 3: {
        int64_t now_ms = s->now_ms;
        double kmh = p[2] / 1.5;
        s->along_m += kmh / 3.6 * (double)steps[p[1] & 7] / 1000;
        if (p[0] >= 0xf8)
            s->along_m = p[4] * 350.0;
        if (s->along_m > 90000)
            s->along_m = 0;
        s->off_m = p[3] < 160 ? p[3] / 8.0 : (p[3] - 160) * 8.0;
        s->now_ms = time_ms;
        e = scene_fix(s, kmh);
        s->now_ms = now_ms;
        if (p[4] == 1)
            e.fix.mode = EVENT_FIX_NONE;
        if (p[4] == 2)
            e.fix.speed_mmps = EVENT_UNKNOWN;
        if (p[4] == 3)
            e.fix.hdop_d = EVENT_UNKNOWN;
        if (p[4] == 4)
            e.fix.hdop_d = 150;
        break;
    }
    case 4:
    case 5:
        e.kind = EVENT_COUNT;
        e.count = (struct event_count){
            .source = (uint8_t)(1 + p[2] % 4), .door = p[2] >> 6, .confidence_pct = p[4] % 101, .flags = p[4] > 240 ? p[4] & 7 : 0};
        e.count.boarded = p[3] % 70;
        e.count.alighted = p[2] >> 6 == 3 ? p[3] / 3 : 0;
        e.count.aboard = p[3] == 255 || e.count.source == EVENT_COUNT_DOOR ? EVENT_UNKNOWN : p[3] % 70;
        break;
    case 6:
        e.kind = EVENT_INPUTS;
        e.inputs.known = doors[p[2] & 3] | (p[2] & 8 ? EVENT_IN_SOS : 0);
        e.inputs.state = (p[3] & 3) == 0 ? EVENT_IN_ALL & (EVENT_IN_DOORS | EVENT_IN_SOS) : 0;
        for (unsigned k = 0; k < 8; k++) { /* the rest by bits: 0 is a bus in good order with its engine on */
            static const uint32_t group[] = {0x10, 0x10, 0x10, 0x10, 0x20, 0x20, 0x20, 0x40};
            static const uint32_t bits[] = {EVENT_IN_IGNITION,
                                            EVENT_IN_PATROL,
                                            EVENT_IN_CONFIRM,
                                            EVENT_IN_MOTION,
                                            EVENT_IN_BELTS | EVENT_IN_FRONT_SEAT,
                                            EVENT_IN_DRIVER_SEAT,
                                            EVENT_IN_BEACON,
                                            EVENT_IN_SMOKE | EVENT_IN_TAMPER};
            bool inverse = k == 0 || k == 5 || k == 6;
            e.inputs.known |= p[2] & group[k] ? bits[k] : 0;
            e.inputs.state |= ((p[4] >> k & 1) != 0) != inverse ? bits[k] : 0;
        }
        e.inputs.state &= e.inputs.known;
        break;
    default: stream_other(&e, p); break;
    }
    return e;
}

/* What a ladder is known to be in, from its findings alone. */
struct stream_state {
    struct rules_finding last[RULES_LADDERS];
    bool open[RULES_LADDERS], warned[RULES_LADDERS];
    uint64_t id[256];
    size_t ids;
    size_t opened;
};

static inline int stream_ladder(uint8_t rule)
{
    return (int)rules_ladder_of((enum law_rule)rule);
}

static inline void stream_check(struct stream_state *st, const struct scene *s, const struct rules_finding *f, size_t n)
{
    for (size_t i = 0; i < n; i++, f++) {
        STREAM_HOLDS(f->rule < LAW_RULES && n <= RULES_OUT_MAX, f);
        int l = stream_ladder(f->rule);
        const struct rules_finding *was = &st->last[l];
        if (l == RULES_LEFT && f->change == RULES_CLOSED)
            STREAM_HOLDS(s->bus.run != BUS_RUN_ENDED, f); /* latched: nothing else ends it */
        STREAM_HOLDS(f->severity > LAW_NONE && f->severity <= LAW_CRITICAL, f);
        STREAM_HOLDS(f->points >= -1 && f->points <= 12, f);
        STREAM_HOLDS(f->lat_e7 != EVENT_UNKNOWN || f->fix_ms == 0, f);
        STREAM_HOLDS(isfinite(f->value) && isfinite(f->limit), f);
        if (f->change == RULES_WARNED || f->change == RULES_CALMED) {
            STREAM_HOLDS(f->to == LAW_TO_CAB && f->id == 0 && !f->criminal_lead, f);
            STREAM_HOLDS(st->warned[l] == (f->change == RULES_CALMED), f);
            STREAM_HOLDS(f->change == RULES_CALMED || !st->open[l], f);
            st->warned[l] = f->change == RULES_WARNED;
            continue;
        }
        STREAM_HOLDS(f->began_ms > 0 && f->began_ms <= f->opened_ms, f);
        STREAM_HOLDS(f->opened_ms <= s->bus.time_ms && f->raised_ms <= s->bus.time_ms && f->closed_ms <= s->bus.time_ms, f);
        STREAM_HOLDS(!f->criminal_lead || f->rule == LAW_OVL_3 || f->rule == LAW_SPD_3, f);
        if (l != RULES_SOS)
            STREAM_HOLDS(f->value > f->limit, f); /* what is told is a breach, also when told for the last time */
        if (f->change == RULES_OPENED) {
            STREAM_HOLDS(!st->open[l] && f->raised_ms == 0 && f->closed_ms == 0, f);
            for (size_t k = 0; k < st->ids; k++)
                STREAM_HOLDS(st->id[k] != f->id, f);
            if (st->ids < sizeof st->id / sizeof *st->id)
                st->id[st->ids++] = f->id;
            st->open[l] = true;
            st->warned[l] = false;
            st->opened++;
            if (l == RULES_OVERLOAD)
                STREAM_HOLDS(!s->bus.inputs_fitted || bus_doors_open(&s->bus) != 1, f);
            if (l == RULES_OVERLOAD || l == RULES_DOUBT)
                STREAM_HOLDS(f->confidence_pct >= 60 || l == RULES_DOUBT, f);
            if (l == RULES_LEFT)
                STREAM_HOLDS(s->bus.run == BUS_RUN_ENDED && s->bus.run_ms <= f->began_ms && (f->to & LAW_TO_CAB) != 0, f);
            if (l == RULES_DOOR)
                STREAM_HOLDS(bus_doors_open(&s->bus) == 1, f);
            if (l == RULES_ATTENDANT)
                STREAM_HOLDS(s->bus.attendant_ms == 0 && s->bus.card_ms != 0, f);
            if (l == RULES_ROUTE)
                STREAM_HOLDS(f->pupils != EVENT_UNKNOWN, f);
        } else {
            STREAM_HOLDS(st->open[l] && f->id == was->id && f->began_ms == was->began_ms && f->opened_ms == was->opened_ms, f);
            STREAM_HOLDS(f->severity >= was->severity && f->points >= was->points && f->rule >= was->rule && f->criminal_lead >= was->criminal_lead,
                         f);
            if (f->change == RULES_RAISED)
                STREAM_HOLDS(f->severity > was->severity || f->points > was->points || f->rule > was->rule || f->criminal_lead > was->criminal_lead ||
                                 (l == RULES_LEFT && (f->to & ~was->to) != 0),
                             f);
            else {
                STREAM_HOLDS(f->change == RULES_CLOSED && f->closed_ms >= f->opened_ms && f->raised_ms == was->raised_ms, f);
                STREAM_HOLDS(f->value == was->value && f->limit == was->limit && f->severity == was->severity, f);
                st->open[l] = false;
            }
        }
        st->last[l] = *f;
    }
}

#endif
