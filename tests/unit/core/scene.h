/*
 * scene - a bus on its road for the tests of rules: one duty, one bus, one memory, events in, findings out. The road runs due east from
 * 113.0 E on 23.0 N; its segments are named below.
 */
#ifndef SCHOOLWARD_TEST_SCENE_H
#define SCHOOLWARD_TEST_SCENE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rules.h"

#define SCENE_T0       1795380000000LL /* 2026-11-22, in force: everything in the pack */
#define SCENE_DEG_M    (6371008.8 * 3.14159265358979323846 / 180)
#define SCENE_FINDINGS 4096

/* Stretches of the road: 10 km each. */
enum scene_place {
    SCENE_CITY_60 = 0,       /* city, several lanes, sign 60 */
    SCENE_EXPRESSWAY = 1,    /* no sign */
    SCENE_POSTED_70 = 2,     /* rural, sign 70 */
    SCENE_BEND = 3,          /* rural, no sign, sharp bend */
    SCENE_NO_LINE = 4,       /* rural, no centre line, no sign */
    SCENE_NOTHING = 5,       /* no segment */
    SCENE_CITY_50 = 6,       /* city, one lane, no sign */
    SCENE_STEEP = 7,         /* rural, sign 40, steep */
    SCENE_URBAN_EXPRESS = 8, /* sign 80 */
    SCENE_PLACES = 9,
};

struct scene {
    struct law *law;
    struct duty_set *set;
    const struct duty_vehicle *v;
    struct bus bus;
    struct rules_memory mem;
    int64_t now_ms;
    double along_m, off_m; /* where the next fix is */
    struct rules_finding found[SCENE_FINDINGS];
    size_t n;
    size_t seen; /* findings a test has looked at */
};

static inline char *scene_file(const char *name)
{
    const char *root = getenv("SCHOOLWARD_SOURCE");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root == NULL ? "." : root, name);
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    if (f == NULL || text == NULL) {
        fprintf(stderr, "%s: cannot be read: set SCHOOLWARD_SOURCE to the source tree\n", path);
        exit(1);
    }
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    text[n] = '\0';
    return text;
}

static inline struct law *scene_law(void)
{
    char *text = scene_file("core/law/cn-national.json"), why[512] = "";
    struct law *l = NULL;
    if (law_read(text, strlen(text), "cn-national.json", &l, why, sizeof why) != RC_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    free(text);
    return l;
}

/* `vehicle`: members of the vehicle after its route, e.g. "\"rated\":{\"total\":40},\"size\":\"large\""; `rest`: e.g. ",\"weather_orders\":[...]". */
static inline struct scene *scene_new(const char *vehicle, const char *rest)
{
    struct scene *s = calloc(1, sizeof *s);
    char json[8192], why[512] = "";
    double east = 95000 / (SCENE_DEG_M * cos(23 * 3.14159265358979323846 / 180));
    snprintf(json, sizeof json,
             "{\"format\":\"schoolward.duty.1\",\"routes\":[{\"id\":\"r\",\"name_zh\":\"路\",\"name_en\":\"Road\",\"rural\":false,"
             "\"line\":[[113.0,23.0],[%.9f,23.0]],\"stops\":[],\"segments\":["
             "{\"from_m\":0,\"to_m\":10000,\"posted_kmh\":60,\"road\":\"city_multi\"},"
             "{\"from_m\":10000,\"to_m\":20000,\"road\":\"expressway\"},"
             "{\"from_m\":20000,\"to_m\":30000,\"posted_kmh\":70,\"road\":\"rural_multi\"},"
             "{\"from_m\":30000,\"to_m\":40000,\"road\":\"rural_multi\",\"hazards\":[\"sharp_bend\"]},"
             "{\"from_m\":40000,\"to_m\":50000,\"road\":\"rural_no_line\"},"
             "{\"from_m\":60000,\"to_m\":70000,\"road\":\"city_one_lane\"},"
             "{\"from_m\":70000,\"to_m\":80000,\"posted_kmh\":40,\"road\":\"rural_multi\",\"hazards\":[\"steep\"]},"
             "{\"from_m\":80000,\"to_m\":90000,\"posted_kmh\":80,\"road\":\"urban_expressway\"}]}],"
             "\"vehicles\":[{\"id\":\"bus-1\",\"plate\":\"P1\",\"gateway\":\"g1\",\"staff\":2,\"staff_uncounted\":1,\"routes\":[{\"route\":\"r\"}],%"
             "s}]%s}",
             113.0 + east, vehicle, rest);
    if (s == NULL || duty_read(json, strlen(json), &s->set, why, sizeof why) != RC_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    s->law = scene_law();
    s->v = &s->set->vehicle[0];
    s->now_ms = SCENE_T0;
    s->along_m = 5000;
    return s;
}

static inline void scene_free(struct scene *s)
{
    duty_free(s->set);
    law_free(s->law);
    free(s);
}

static inline void scene_event(struct scene *s, const struct event *e)
{
    struct rules_finding out[RULES_OUT_MAX];
    bus_apply(&s->bus, s->set, s->v, e);
    size_t n = rules_step(s->law, s->set, s->v, &s->bus, e, &s->mem, out);
    for (size_t i = 0; i < n && s->n < SCENE_FINDINGS; i++)
        s->found[s->n++] = out[i];
}

static inline void scene_place(struct scene *s, enum scene_place p)
{
    s->along_m = p * 10000.0 + 5000;
}

static inline struct event scene_fix(const struct scene *s, double kmh)
{
    struct event e = {.time_ms = s->now_ms, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS};
    e.fix = (struct event_fix){.lat_e7 = (int32_t)lround((23.0 + s->off_m / SCENE_DEG_M) * 1e7),
                               .lon_e7 = (int32_t)lround((113.0 + s->along_m / (SCENE_DEG_M * cos(23 * 3.14159265358979323846 / 180))) * 1e7),
                               .speed_mmps = isnan(kmh) ? EVENT_UNKNOWN : (int32_t)lround(kmh / 0.0036),
                               .track_cdeg = 9000,
                               .alt_dm = EVENT_UNKNOWN,
                               .hdop_d = 10,
                               .satellites = 9,
                               .mode = EVENT_FIX_3D};
    return e;
}

/* Drive for so many seconds at that speed, a fix every second; the first one a second from now. */
static inline void scene_drive(struct scene *s, double kmh, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        s->now_ms += 1000;
        s->along_m += kmh / 3.6;
        struct event e = scene_fix(s, kmh);
        scene_event(s, &e);
    }
}

static inline void scene_tick(struct scene *s, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        s->now_ms += 1000;
        scene_event(s, &(struct event){.time_ms = s->now_ms, .kind = EVENT_TICK});
    }
}

/* One source says that so many persons are aboard; the door counter counts all but one (the driver). */
static inline void scene_count(struct scene *s, enum event_count_source source, int persons, int confidence_pct)
{
    struct event e = {.time_ms = s->now_ms, .kind = EVENT_COUNT};
    e.count = (struct event_count){.source = (uint8_t)source, .confidence_pct = (uint8_t)confidence_pct, .aboard = persons};
    if (source == EVENT_COUNT_DOOR) {
        e.count.boarded = persons - 1;
        e.count.aboard = EVENT_UNKNOWN;
    }
    scene_event(s, &e);
}

static inline void scene_inputs(struct scene *s, uint32_t known, uint32_t state)
{
    struct event e = {.time_ms = s->now_ms, .kind = EVENT_INPUTS};
    e.inputs = (struct event_inputs){.known = known, .state = state};
    scene_event(s, &e);
}

#define SCENE_DOORS(s, open) scene_inputs((s), EVENT_IN_DOOR_FRONT | EVENT_IN_SOS, (open) ? EVENT_IN_DOOR_FRONT : 0)

/* The next finding nobody has looked at, leaving out what is for the cab only; NULL if there is none. */
static inline const struct rules_finding *scene_next(struct scene *s)
{
    while (s->seen < s->n) {
        const struct rules_finding *f = &s->found[s->seen++];
        if (f->change != RULES_WARNED && f->change != RULES_CALMED)
            return f;
    }
    return NULL;
}

#endif
