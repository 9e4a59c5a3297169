/*
 * Rules under random days: what must always hold (stream.h), duplicates, restarts, extra ticks, missing inputs; and the speed ladder against a
 * slow second opinion that looks at the whole trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stream.h"

#define VEHICLE                                                                                                                                      \
    "\"roster\":[{\"hash\":\"00000000000000aa\",\"kind\":\"attendant\"}],\"rated\":{\"total\":40},\"size\":\"large\",\"permits\":[{\"from_ms\":"     \
    "1795380600000,\"to_ms\":1795380900000,\"reason\":\"works\"}]"
#define ORDERS                                                                                                                                       \
    ",\"weather_orders\":[{\"kind\":\"ice_mud\",\"from_ms\":1795381000000,\"to_ms\":1795381200000},"                                                 \
    "{\"kind\":\"low_visibility\",\"from_ms\":1795381400000,\"to_ms\":1795381600000,\"visibility_m\":45}]"

static uint64_t seed;
static uint32_t roll(void) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * 0x2545f4914f6cdd1d) >> 32);
}

/* A day of steps with moods, so that hold times are reached: a mood keeps speed, offset or count for a while. */
static void make_day(uint8_t *day, size_t events)
{
    uint8_t speed = 80, off = 0, count = 30, in = 0;
    size_t parked = 0, day_begins = 0;
    bool staffed = roll() % 3 == 0;
    for (size_t i = 0; i < events; i++) {
        uint8_t *p = day + i * STREAM_STEP;
        for (int k = 0; k < STREAM_STEP; k++)
            p[k] = (uint8_t)roll();
        if (roll() % 24 == 0) {
            static const uint8_t speeds[] = {0, 30, 75, 85, 95, 99, 108, 120, 140, 185, 220};
            speed = speeds[roll() % sizeof speeds];
        }
        if (roll() % 50 == 0)
            off = roll() % 3 == 0 ? (uint8_t)roll() : 0;
        if (roll() % 60 == 0)
            count = (uint8_t)(roll() % 70);
        if (roll() % 60 == 0) {
            in = roll() % 2 ? (uint8_t)roll() & 0xf0 : 0;
            in |= roll() % 16 == 0 && staffed ? 4 : 0;
        }
        if (parked > 0 && --parked == 0)
            in = 0;
        else if (parked == 0 && roll() % 400 == 0) {
            parked = 300;
            day_begins = i + 20 + roll() % 400;
        }
        if (roll() % 8 != 0)
            p[0] = roll() % 9 == 0 ? 4 : 0; /* mostly fixes of the mood */
        if (parked > 0) {                   /* it stands, and from a few seconds later the engine is off */
            speed = 0;
            in = (uint8_t)((in | 1) & ~0x0e) | (roll() % 40 == 0 ? 8 : 0) | (parked < 60 && roll() % 8 == 0 ? 2 : 0);
            if (parked % 16 == 0)
                p[0] = 6;
        }
        if (i == day_begins) { /* the head-count is set to empty */
            p[0] = 7;
            p[2] = 3;
            p[3] = 0;
        } else if (p[0] % 8 == 7 && p[2] % 8 == 3)
            p[3] |= 1;
        if (p[0] % 8 == 7 && p[2] % 8 < 2 && !staffed)
            p[4] = 1;
        if (p[0] < 4) {
            p[1] = 1;
            p[2] = (uint8_t)(speed + roll() % 2);
            p[3] = off;
            if (roll() % 32 != 0)
                p[4] = 9;
        } else if (p[0] % 8 == 4 && roll() % 8 != 0) {
            p[1] = 0;
            p[2] = roll() % 2 || !staffed ? 0 : 2; /* door counter or attendant */
            p[3] = (uint8_t)(count + (p[2] == 2));
            p[4] = 95;
        } else if (p[0] % 8 == 6 && (parked > 0 || roll() % 2 == 0)) {
            p[2] = 0x79;
            p[3] = roll() % 8 == 0 ? 0 : 1;
            p[4] = in;
        }
    }
}

struct told {
    struct rules_finding f[SCENE_FINDINGS];
    size_t n;
};

enum { TWICE = 1, RESTART = 2, TICKS = 4, NO_COUNTS = 8, NO_SPEED = 16, NO_INPUTS = 32, NO_FIX = 64, NO_CARDS = 128 };

static size_t opened[RULES_LADDERS];

static void play(const uint8_t *day, size_t events, unsigned how, struct told *told)
{
    struct scene *s = scene_new(VEHICLE, ORDERS);
    struct stream_state st = {0};
    told->n = 0;
    for (size_t i = 0; i < events; i++) {
        struct event e = stream_event(s, day + i * STREAM_STEP);
        if (((how & NO_COUNTS) && e.kind == EVENT_COUNT) || ((how & NO_INPUTS) && e.kind == EVENT_INPUTS) ||
            ((how & NO_FIX) && e.kind == EVENT_FIX) || ((how & NO_CARDS) && e.kind == EVENT_CARD))
            continue;
        if ((how & NO_SPEED) && e.kind == EVENT_FIX)
            e.fix.speed_mmps = EVENT_UNKNOWN;
        for (int k = 0; k < ((how & TWICE) ? 2 : 1) + ((how & TICKS) ? 2 : 0); k++) {
            struct rules_finding out[RULES_OUT_MAX];
            struct event now = e;
            if ((how & TICKS) && k > 0)
                now = (struct event){.time_ms = s->bus.time_ms, .kind = EVENT_TICK};
            bus_apply(&s->bus, s->set, s->v, &now);
            size_t n = rules_step(s->law, s->set, s->v, &s->bus, &now, &s->mem, out);
            stream_check(&st, s, out, n);
            for (size_t m = 0; m < n && told->n < SCENE_FINDINGS; m++)
                told->f[told->n++] = out[m];
        }
        if ((how & RESTART) && i % 7 == 0) { /* power cut: all that is kept are the bytes */
            unsigned char bus[sizeof s->bus], mem[sizeof s->mem];
            memcpy(bus, &s->bus, sizeof bus);
            memcpy(mem, &s->mem, sizeof mem);
            memset(&s->bus, 0xa5, sizeof s->bus);
            memset(&s->mem, 0xa5, sizeof s->mem);
            memcpy(&s->bus, bus, sizeof bus);
            memcpy(&s->mem, mem, sizeof mem);
        }
    }
    for (size_t m = 0; m < told->n; m++)
        if (told->f[m].change == RULES_OPENED)
            opened[stream_ladder(told->f[m].rule)]++;
    scene_free(s);
}

static void same(const struct told *a, const struct told *b, const char *what)
{
    if (a->n != b->n)
        fail_msg("%s: %zu findings, %zu without", what, b->n, a->n);
    for (size_t i = 0; i < a->n; i++) {
        const struct rules_finding *x = &a->f[i], *y = &b->f[i];
        if (x->id != y->id || x->change != y->change || x->rule != y->rule || x->severity != y->severity || x->points != y->points ||
            x->time_ms != y->time_ms || x->opened_ms != y->opened_ms || x->closed_ms != y->closed_ms || !(fabs(x->value - y->value) < 1e-9))
            fail_msg("%s: finding %zu differs: %s change %d at %+lld (value %.2f, opened %+lld); without: %s change %d at %+lld (value %.2f, opened "
                     "%+lld)",
                     what, i, law_rule_word((enum law_rule)y->rule), y->change, (long long)(y->time_ms - SCENE_T0), y->value,
                     (long long)(y->opened_ms - SCENE_T0), law_rule_word((enum law_rule)x->rule), x->change, (long long)(x->time_ms - SCENE_T0),
                     x->value, (long long)(x->opened_ms - SCENE_T0));
    }
}

enum { DAYS = 60, EVENTS = 3000 };

static void test_random_days(void **state)
{
    (void)state;
    uint8_t *day = malloc(EVENTS * STREAM_STEP);
    struct told *plain = malloc(sizeof *plain), *other = malloc(sizeof *other);
    assert_true(day != NULL && plain != NULL && other != NULL);
    size_t findings = 0;
    for (int d = 0; d < DAYS; d++) {
        seed = 0x9e3779b97f4a7c15 * (uint64_t)(d + 1);
        make_day(day, EVENTS);
        play(day, EVENTS, 0, plain);
        findings += plain->n;
        play(day, EVENTS, TWICE, other);
        same(plain, other, "every event twice");
        play(day, EVENTS, RESTART, other);
        same(plain, other, "restarts");
        play(day, EVENTS, TICKS, other);
        same(plain, other, "ticks that add no time");
    }
    printf("%d days, %zu findings; opened in all plays:", DAYS, findings);
    for (int l = 0; l < RULES_LADDERS; l++)
        printf(" %zu", opened[l]);
    printf(" (by enum rules_ladder)\n");
    for (int l = 0; l < RULES_LADDERS; l++)
        assert_true(opened[l] > 40); /* the days are worth something */
    free(day);
    free(plain);
    free(other);
}

static void test_unknown_opens_nothing(void **state)
{
    (void)state;
    static const struct {
        unsigned how;
        unsigned silent; /* bits of ladders that must stay silent */
    } c[] = {{NO_COUNTS | NO_CARDS, 1 << RULES_OVERLOAD | 1 << RULES_DOUBT | 1 << RULES_ROUTE | 1 << RULES_ATTENDANT | 1 << RULES_FRONT},
             {NO_SPEED, 1 << RULES_SPEED | 1 << RULES_DOOR | 1 << RULES_BELTS | 1 << RULES_LEFT | 1 << RULES_PATROL},
             {NO_CARDS, 1 << RULES_ATTENDANT},
             {NO_FIX, 1 << RULES_SPEED | 1 << RULES_ROUTE | 1 << RULES_DOOR | 1 << RULES_BELTS | 1 << RULES_LEFT | 1 << RULES_PATROL |
                          1 << RULES_ATTENDANT | 1 << RULES_BEACON | 1 << RULES_FRONT},
             {NO_INPUTS, 1 << RULES_SOS | 1 << RULES_FRONT | 1 << RULES_DOOR | 1 << RULES_BELTS | 1 << RULES_LEFT | 1 << RULES_PATROL |
                             1 << RULES_SEAT | 1 << RULES_FIRE | 1 << RULES_BEACON},
             {NO_INPUTS | NO_FIX, 1 << RULES_OVERLOAD | 1 << RULES_DOUBT | 1 << RULES_SOS | 1 << RULES_SPEED | 1 << RULES_ROUTE}};
    uint8_t *day = malloc(EVENTS * STREAM_STEP);
    struct told *told = malloc(sizeof *told);
    assert_true(day != NULL && told != NULL);
    for (int d = 0; d < 20; d++) {
        seed = 0xd1342543de82ef95 * (uint64_t)(d + 1);
        make_day(day, EVENTS);
        for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
            play(day, EVENTS, c[i].how, told);
            for (size_t k = 0; k < told->n; k++)
                if (told->f[k].change == RULES_OPENED && (c[i].silent & 1U << stream_ladder(told->f[k].rule)) != 0)
                    fail_msg("%s opened without its inputs (%u)", law_rule_word((enum law_rule)told->f[k].rule), c[i].how);
        }
    }
    free(day);
    free(told);
}

/* ---- a second opinion on speed: limit 60 with pupils aboard, a fix a second; hold times by looking back over the trace ---- */

enum { TRACE = 240 };

static bool held(const int *v, int i, int seconds, int at_least)
{
    if (i - seconds < 0)
        return false;
    for (int k = i - seconds; k <= i; k++)
        if (v[k] < at_least)
            return false;
    return true;
}

/* Points and lead sustained at second i: -1 = nothing. Thresholds in 0.01 km/h written out from the law: 60, margin 3; 10, 20, 50, 100 %. */
static int opinion(const int *v, int i, bool *ret_lead)
{
    *ret_lead = held(v, i, 5, 12000);
    return held(v, i, 5, 9000) ? 9 : held(v, i, 5, 7200) ? 6 : held(v, i, 10, 6600) ? 1 : held(v, i, 10, 6300) ? 0 : -1;
}

static void test_speed_second_opinion(void **state)
{
    (void)state;
    struct scene *s = scene_new("\"rated\":{\"total\":40},\"size\":\"large\"", "");
    int opens = 0, raises = 0, closes = 0;
    for (int round = 0; round < 3000; round++) {
        seed = 0xbf58476d1ce4e5b9 * (uint64_t)(round + 1);
        memset(&s->bus, 0, sizeof s->bus);
        memset(&s->mem, 0, sizeof s->mem);
        s->n = s->seen = 0;
        s->now_ms = SCENE_T0;
        s->along_m = 200;
        scene_count(s, EVENT_COUNT_DOOR, 30, 95);
        int v[TRACE], mood = 6000, points = -1;
        bool lead = false, is_open = false;
        for (int i = 0; i < TRACE; i++) {
            static const int moods[] = {5000, 5790, 6000, 6310, 6590, 6610, 7190, 7210, 8990, 9010, 11990, 12010};
            if (roll() % 9 == 0)
                mood = moods[roll() % 12];
            v[i] = mood + (int)(roll() % 21) - 10;
            s->now_ms += 1000;
            s->along_m += v[i] / 360.0;
            struct event e = scene_fix(s, v[i] / 100.0);
            scene_event(s, &e);
            const struct rules_finding *f = scene_next(s);
            bool now_lead, close = is_open;
            int now_points = opinion(v, i, &now_lead);
            for (int k = i - 10; close && k <= i; k++)
                close = k >= 0 && v[k] <= 5800;
            if (!is_open && now_points >= 0) {
                assert_true(f != NULL && f->change == RULES_OPENED && f->points == now_points && f->criminal_lead == now_lead);
                is_open = true;
                points = now_points;
                lead = now_lead;
                opens++;
            } else if (is_open && (now_points > points || (now_lead && !lead))) {
                assert_true(f != NULL && f->change == RULES_RAISED);
                points = now_points > points ? now_points : points;
                lead = lead || now_lead;
                assert_true(f->points == points && f->criminal_lead == lead);
                raises++;
            } else if (close) {
                assert_true(f != NULL && f->change == RULES_CLOSED);
                closes++;
                break; /* then the cool-down begins */
            } else
                assert_null(f);
            assert_null(scene_next(s));
        }
    }
    printf("second opinion agrees: %d opened, %d raised, %d closed\n", opens, raises, closes);
    assert_true(opens > 1000 && raises > 500 && closes > 50);
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_days),
        cmocka_unit_test(test_unknown_opens_nothing),
        cmocka_unit_test(test_speed_second_opinion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
