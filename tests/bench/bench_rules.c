/*
 * bench_rules - what judging a fix costs: bus_apply + rules_step. Prints key=value lines.
 *   ns_per_fix             one bus on its route, loaded, warm
 *   ns_per_fix_1k_buses, _200k_buses   every fix of another bus in random order: memory, not the rules, makes the difference
 *   ratio_buses            the latter by the former
 *   ns_50_segments, ns_50000_segments, ratio_50000_over_50   a route of 50 and of 50,000 segments over the same 500 km
 *   allocations            in all measured runs together
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/rules.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0 /* the sanitizer has its own allocator */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static long long allocated;
#if COUNTS_ALLOCATIONS
/* glibc's own names of the functions that stand behind malloc and friends */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    allocated++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    allocated++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    allocated++;
    return __libc_realloc(p, n);
}
#endif

static const double deg_m = 6371008.8 * 3.14159265358979323846 / 180;
static const int64_t day_ms = 1795380000000;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t seed = 88172645463325252;
static uint32_t roll(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static struct law *read_law(void)
{
    const char *root = getenv("SCHOOLWARD_SOURCE");
    char path[4096], why[256] = "";
    snprintf(path, sizeof path, "%s/core/law/cn-national.json", root == NULL ? "." : root);
    FILE *f = fopen(path, "rb");
    char *text = malloc(1 << 20);
    struct law *l = NULL;
    if (f == NULL || text == NULL) {
        fprintf(stderr, "%s: cannot be read: run in the source tree or set SCHOOLWARD_SOURCE to it\n", path);
        exit(1);
    }
    size_t n = fread(text, 1, 1 << 20, f);
    fclose(f);
    if (law_read(text, n, path, &l, why, sizeof why) != RC_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    free(text);
    return l;
}

/* A winding route of that many segments and points over length_m, read from its own document. */
static struct duty_set *make_duty(int segments, double length_m)
{
    size_t cap = (size_t)segments * 160 + 4096, n = 0;
    char *json = malloc(cap), why[256] = "";
    if (json == NULL)
        exit(1);
    n += (size_t)sprintf(
        json + n,
        "{\"format\":\"schoolward.duty.1\",\"routes\":[{\"id\":\"r\",\"name_zh\":\"r\",\"name_en\":\"r\",\"rural\":true,\"stops\":[],\"line\":[");
    double step_m = length_m / segments;
    for (int i = 0; i <= segments; i++) { /* a square wave with 50 km sides, so that the line stays in one county */
        double at = i * step_m, row = floor(at / 50000), in_row = at - row * 50000;
        double x = fmod(row, 2) < 1 ? in_row : 50000 - in_row, y = row * 2000;
        n += (size_t)sprintf(json + n, "%s[%.7f,%.7f]", i > 0 ? "," : "", 113 + x / (deg_m * cos(23 * M_PI / 180)), 23 + y / deg_m);
    }
    n += (size_t)sprintf(json + n, "],\"segments\":[");
    for (int i = 0; i < segments; i++)
        n += (size_t)sprintf(json + n, "%s{\"from_m\":%.3f,\"to_m\":%.3f,\"posted_kmh\":%d,\"road\":\"rural_multi\"}", i > 0 ? "," : "", i * step_m,
                             (i + 1) * step_m, i % 2 ? 60 : 70);
    sprintf(json + n,
            "]}],\"vehicles\":[{\"id\":\"bus\",\"plate\":\"p\",\"gateway\":\"g\",\"staff\":2,\"staff_uncounted\":1,\"rated\":{\"total\":40},"
            "\"size\":\"large\",\"routes\":[{\"route\":\"r\"}]}]}");
    struct duty_set *set = NULL;
    if (duty_read(json, strlen(json), &set, why, sizeof why) != RC_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    free(json);
    return set;
}

struct place {
    struct bus bus;
    struct rules_memory mem;
};

static struct event count_event(int64_t time_ms)
{
    struct event e = {.time_ms = time_ms, .kind = EVENT_COUNT};
    e.count = (struct event_count){.source = EVENT_COUNT_DOOR, .confidence_pct = 95, .boarded = 30, .aboard = EVENT_UNKNOWN};
    return e;
}

static struct event fix_event(const struct duty_set *set, double along_m, int64_t time_ms)
{
    const struct geo_line *line = set->route[0].line;
    double length_m = geo_line_length_m(line);
    struct geo_pt p = geo_line_at(line, along_m), q = geo_line_at(line, fmin(along_m + 10, length_m));
    struct event e = {.time_ms = time_ms, .kind = EVENT_FIX};
    e.fix = (struct event_fix){.lat_e7 = (int32_t)lround(p.lat * 1e7),
                               .lon_e7 = (int32_t)lround(p.lon * 1e7),
                               .speed_mmps = 13000 + (int32_t)(roll() % 1000),
                               .track_cdeg = (int32_t)lround(geo_course_deg(p, q) * 100) % 36000,
                               .alt_dm = 300,
                               .hdop_d = 9,
                               .satellites = 12,
                               .mode = EVENT_FIX_3D};
    return e;
}

static size_t findings;

/* Fixes of `buses` buses, each one at its place along the route; best of rounds, nanoseconds per fix. */
static double measure(const struct law *law, const struct duty_set *set, size_t buses, size_t fixes, int rounds)
{
    const struct duty_vehicle *v = &set->vehicle[0];
    struct place *p = calloc(buses, sizeof *p);
    struct event *e = calloc(fixes, sizeof *e);
    uint32_t *who = calloc(fixes, sizeof *who);
    if (p == NULL || e == NULL || who == NULL)
        exit(1);
    struct rules_finding out[RULES_OUT_MAX];
    double length_m = geo_line_length_m(set->route[0].line), best = INFINITY;
    for (size_t i = 0; i < buses; i++) {
        struct event c = count_event(day_ms);
        bus_apply(&p[i].bus, set, v, &c);
    }
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < fixes; i++) {
            who[i] = buses == 1 ? 0 : roll() % (uint32_t)buses;
            int64_t n = (int64_t)round * (int64_t)fixes + (int64_t)i + 1;
            double along_m = fmod((double)who[i] * 137 + (double)n * (buses == 1 ? 13.5 : 0.001), length_m);
            e[i] = fix_event(set, along_m, day_ms + n * 1000);
        }
        double from_s = now_s();
        for (size_t i = 0; i < fixes; i++) {
            bus_apply(&p[who[i]].bus, set, v, &e[i]);
            findings += rules_step(law, set, v, &p[who[i]].bus, &e[i], &p[who[i]].mem, out);
        }
        double ns = (now_s() - from_s) * 1e9 / (double)fixes;
        best = ns < best ? ns : best;
    }
    free(p);
    free(e);
    free(who);
    return best;
}

/* Allocations of the judging loop: every call of the allocator is counted below. */
static long long allocations(const struct law *law, const struct duty_set *set)
{
    const struct duty_vehicle *v = &set->vehicle[0];
    static struct place p;
    static struct event e[10000];
    struct rules_finding out[RULES_OUT_MAX];
    for (size_t i = 0; i < sizeof e / sizeof *e; i++)
        e[i] = i % 10 == 0 ? count_event(day_ms + (int64_t)i * 1000) : fix_event(set, (double)i * 13, day_ms + (int64_t)i * 1000);
    long long before = allocated;
    for (size_t i = 0; i < sizeof e / sizeof *e; i++) {
        bus_apply(&p.bus, set, v, &e[i]);
        findings += rules_step(law, set, v, &p.bus, &e[i], &p.mem, out);
    }
    return allocated - before;
}

int main(void)
{
    struct law *law = read_law();
    struct duty_set *small = make_duty(50, 500000), *large = make_duty(50000, 500000);
    double one = measure(law, small, 1, 200000, 7);
    double thousand = measure(law, small, 1000, 200000, 5), many = measure(law, small, 200000, 400000, 5);
    double few_segments = INFINITY, many_segments = INFINITY;
    for (int i = 0; i < 5; i++) { /* in turns, so that a busy machine disturbs both */
        few_segments = fmin(few_segments, measure(law, small, 1, 100000, 2));
        many_segments = fmin(many_segments, measure(law, large, 1, 100000, 2));
    }
    printf("ns_per_fix=%.1f\nns_per_fix_1k_buses=%.1f\nns_per_fix_200k_buses=%.1f\nratio_buses=%.2f\n", one, thousand, many, many / thousand);
    printf("ns_50_segments=%.1f\nns_50000_segments=%.1f\nratio_50000_over_50=%.2f\n", few_segments, many_segments, many_segments / few_segments);
    if (COUNTS_ALLOCATIONS && allocated == 0) {
        fprintf(stderr, "the allocations of reading the law were not counted: the counter does not work here\n");
        return 1;
    }
    if (COUNTS_ALLOCATIONS)
        printf("allocations=%lld\n", allocations(law, small) + allocations(law, large));
    printf("bytes_per_bus=%zu\nfindings=%zu\n", sizeof(struct place), findings);
    duty_free(small);
    duty_free(large);
    law_free(law);
    return 0;
}
