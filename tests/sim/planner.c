#include "planner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ride.h"

#define TURNS      5 /* corners of the loop besides the school */
#define LOOP_MIN_M 6000.0
#define LOOP_MAX_M 12500.0
#define REUSE      5.0 /* how much dearer a street is that the route already uses */
#define KERB_M     3.5

/* Invented names, none of a real place. */
static const char *const stop_names_zh[] = {
    "幸福路口站", "和平街站",   "育才路站", "光明路口站", "文化宫站",   "新华路站", "青年路口站", "朝阳小区站", "河滨公园站", "人民广场站",
    "友谊桥站",   "长青小区站", "丰收路站", "团结路口站", "桃园小区站", "梧桐街站", "柳荫路站",   "东风路口站", "星光小区站", "清泉路站",
    "体育馆站",   "图书馆站",   "银杏路站", "百花园站",   "晨光路口站", "平安街站", "松林小区站", "金桥路站",   "海棠街站",   "学府路站",
};
#define STOP_NAMES ((int)(sizeof stop_names_zh / sizeof *stop_names_zh))

double planner_uniform(struct planner_random *rnd, double low, double high)
{
    rnd->state ^= rnd->state >> 12;
    rnd->state ^= rnd->state << 25;
    rnd->state ^= rnd->state >> 27;
    uint64_t x = rnd->state * 2685821657736338717ULL;
    return low + (high - low) * ((double)(x >> 11) / 9007199254740992.0);
}

/* --- the way --- */

static bool add_hops(struct planner_route *r, const struct roads_hop *hop, size_t n)
{
    struct roads_hop *more = realloc(r->hop, (r->hops + n) * sizeof *more);
    if (!more)
        return false;
    r->hop = more;
    memcpy(r->hop + r->hops, hop, n * sizeof *hop);
    r->hops += n;
    return true;
}

static double *base_factor(const struct roads *roads)
{
    double *f = malloc(roads->edges * sizeof *f);
    for (size_t i = 0; f && i < roads->edges; i++)
        f[i] = roads->edge[i].cls == ROADS_MOTORWAY ? HUGE_VAL : 1.0;
    return f;
}

static enum rc loop_from(const struct roads *roads, struct planner_random *rnd, uint32_t school, struct planner_route *r)
{
    double *factor = base_factor(roads);
    if (!factor)
        return RC_NO_MEMORY;
    double radius_m = planner_uniform(rnd, 900, 1500), course = planner_uniform(rnd, 0, 360);
    struct geo_pt centre = geo_ahead(roads->node[school], course, radius_m);
    double sense = planner_uniform(rnd, 0, 1) < 0.5 ? 1 : -1;
    uint32_t at = school;
    enum rc rc = RC_OK;
    for (int k = 1; k <= TURNS + 1 && rc == RC_OK; k++) {
        uint32_t to = school;
        if (k <= TURNS) {
            double a = course + 180 + sense * 360.0 * k / (TURNS + 1);
            to = roads_nearest(roads, geo_ahead(centre, fmod(a, 360), radius_m * planner_uniform(rnd, 0.75, 1.15)), ROADS_TERTIARY);
        }
        if (to == UINT32_MAX || to == at)
            continue;
        struct roads_hop *hop = NULL;
        size_t n = 0;
        rc = roads_path(roads, at, to, factor, r->hops ? &r->hop[r->hops - 1] : NULL, &hop, &n);
        if (rc == RC_OK && !add_hops(r, hop, n))
            rc = RC_NO_MEMORY;
        for (size_t i = 0; rc == RC_OK && i < n; i++)
            factor[hop[i].edge] *= REUSE;
        free(hop);
        at = to;
    }
    free(factor);
    return rc;
}

static enum duty_road road_of(enum roads_class c)
{
    switch (c) {
    case ROADS_MOTORWAY: return DUTY_ROAD_EXPRESSWAY;
    case ROADS_TRUNK:
    case ROADS_PRIMARY:
    case ROADS_SECONDARY: return DUTY_ROAD_CITY_MULTI;
    case ROADS_TERTIARY: return DUTY_ROAD_CITY_ONE_LANE;
    case ROADS_UNCLASSIFIED:
    case ROADS_RESIDENTIAL:
    case ROADS_LIVING_STREET:
    case ROADS_SERVICE:
    case ROADS_CLASSES: break;
    }
    return DUTY_ROAD_CITY_NO_LINE;
}

/* The lowest of sign, kind of road and what any school bus may drive: a simulated driver who is not told otherwise breaks no limit. */
static double limit_of(enum duty_road road, int posted_kmh)
{
    double kmh = road == DUTY_ROAD_CITY_NO_LINE ? 30 : road == DUTY_ROAD_CITY_ONE_LANE ? 50 : 60;
    return posted_kmh > 0 && posted_kmh < kmh ? posted_kmh : kmh;
}

static enum rc lay_line(const struct roads *roads, struct planner_route *r)
{
    size_t n = 1;
    for (size_t i = 0; i < r->hops; i++)
        n += roads->edge[r->hop[i].edge].n - 1;
    r->line = calloc(n, sizeof *r->line);
    r->hop_m = calloc(r->hops + 1, sizeof *r->hop_m);
    r->segment = calloc(r->hops + 1, sizeof *r->segment);
    if (!r->line || !r->hop_m || !r->segment)
        return RC_NO_MEMORY;
    double m = 0;
    for (size_t i = 0; i < r->hops; i++) {
        const struct roads_edge *e = &roads->edge[r->hop[i].edge];
        r->hop_m[i] = m;
        if (!i)
            r->line[r->n++] = r->hop[i].reverse ? e->pt[e->n - 1] : e->pt[0];
        for (size_t k = 1; k < e->n; k++)
            r->line[r->n++] = r->hop[i].reverse ? e->pt[e->n - 1 - k] : e->pt[k];
        m += e->length_m;
        enum duty_road road = road_of(e->cls);
        struct planner_segment *last = r->segments ? &r->segment[r->segments - 1] : NULL;
        if (last && last->road == road && last->posted_kmh == e->posted_kmh)
            last->to_m = m;
        else
            r->segment[r->segments++] = (struct planner_segment){r->hop_m[i], m, e->posted_kmh, road, limit_of(road, e->posted_kmh)};
    }
    r->hop_m[r->hops] = m;
    r->length_m = m;
    return RC_OK;
}

/* --- stops and timetable --- */

static size_t hop_at(const struct planner_route *r, double along_m)
{
    size_t i = 0;
    while (i + 1 < r->hops && r->hop_m[i + 1] <= along_m)
        i++;
    return i;
}

static void name_stop(const struct roads *roads, const struct planner_route *r, struct planner_stop *s, size_t k, unsigned zh)
{
    const char *street = roads->name_en[roads->edge[r->hop[hop_at(r, s->along_m)].edge].name];
    snprintf(s->id, sizeof s->id, "%.20s-S%u", r->id, (unsigned)k);
    snprintf(s->name_zh, sizeof s->name_zh, "%s", stop_names_zh[zh % STOP_NAMES]);
    if (*street)
        snprintf(s->name_en, sizeof s->name_en, "%.48s (%u)", street, (unsigned)k);
    else
        snprintf(s->name_en, sizeof s->name_en, "Stop %u", (unsigned)k);
}

static struct geo_pt kerb(const struct path *p, double along_m)
{
    double course;
    struct geo_pt at = path_at(p, along_m, &course);
    return geo_ahead(at, fmod(course + 90, 360), KERB_M);
}

/* True where the street is straight enough to halt and no corner hides the bus. */
static bool good_place(const struct path *p, double along_m)
{
    double c[3];
    for (int i = 0; i < 3; i++)
        (void)path_at(p, along_m + 25.0 * (i - 1), &c[i]);
    return fabs(remainder(c[1] - c[0], 360)) < 15 && fabs(remainder(c[2] - c[1], 360)) < 15;
}

static enum rc drive_of(struct planner_route *r)
{
    struct scenario_route *d = &r->drive;
    snprintf(d->id, sizeof d->id, "%s", r->id);
    d->line = r->line;
    d->n = r->n;
    d->limits = r->segments;
    d->stops = r->stops;
    for (size_t i = 0; i < r->segments; i++)
        d->limit[i] = (struct path_limit){r->segment[i].from_m, r->segment[i].to_m, r->segment[i].limit_kmh};
    for (size_t i = 0; i < r->stops; i++) {
        d->stop_m[i] = r->stop[i].along_m;
        d->board[i] = r->stop[i].board;
    }
    path_free(d->path);
    d->path = NULL;
    return path_make(d->line, d->n, d->limit, d->limits, d->stop_m, d->stops, SCENARIO_OVER_KMH, &d->path);
}

static enum rc place_stops(const struct roads *roads, struct planner_random *rnd, unsigned number, struct planner_route *r)
{
    size_t want = 5 + (size_t)planner_uniform(rnd, 0, 4);
    unsigned zh = (unsigned)planner_uniform(rnd, 0, STOP_NAMES);
    const struct path *p = r->drive.path;
    r->stops = 0;
    r->stop[r->stops++] = (struct planner_stop){.along_m = 8};
    for (size_t k = 1; k <= want; k++) {
        double m = r->length_m * ((double)k + planner_uniform(rnd, -0.2, 0.2)) / (double)(want + 1);
        for (int tries = 0; tries < 30 && !good_place(p, m); tries++)
            m += 15;
        if (m < r->stop[r->stops - 1].along_m + 350 || m > r->length_m - 350)
            continue;
        r->stop[r->stops++] = (struct planner_stop){.along_m = m, .board = 2 + (int)planner_uniform(rnd, 0, 4)};
    }
    r->stop[r->stops++] = (struct planner_stop){.along_m = r->length_m - 8};
    for (size_t k = 0; k < r->stops; k++) {
        struct planner_stop *s = &r->stop[k];
        s->at = kerb(p, s->along_m);
        name_stop(roads, r, s, k, zh + (unsigned)(k * 7));
    }
    snprintf(r->stop[0].name_zh, sizeof r->stop[0].name_zh, "校车场");
    snprintf(r->stop[0].name_en, sizeof r->stop[0].name_en, "Bus yard");
    snprintf(r->stop[r->stops - 1].name_zh, sizeof r->stop[0].name_zh, "第%u实验学校", number);
    snprintf(r->stop[r->stops - 1].name_en, sizeof r->stop[0].name_en, "Experimental School %u", number);
    return r->stops >= 6 ? RC_OK : RC_NOT_FOUND;
}

/* The timetable is what a calm lap takes. */
static enum rc time_lap(struct planner_route *r)
{
    struct scenario_bus bus = {.route = &r->drive, .rated = 200, .staff = 2, .staff_counted = 1};
    struct ride ride;
    ride_begin(&ride, &bus);
    size_t stop = 0;
    r->stop[0].offset_s = 0;
    while (!ride.lap && ride.t_s < 5400) {
        ride_step(&ride, 0.5);
        if (ride.phase == RIDE_OPEN && ride.next_stop >= stop) {
            stop = ride.next_stop + 1;
            r->stop[ride.next_stop].offset_s = (int)lround(ride.t_s);
        }
    }
    r->lap_s = ride.t_s;
    return ride.lap && stop == r->stops ? RC_OK : RC_NOT_FOUND;
}

double planner_time_at(const struct planner_route *r, double along_m)
{
    size_t i = 0;
    while (i + 2 < r->stops && r->stop[i + 1].along_m <= along_m)
        i++;
    const struct planner_stop *a = &r->stop[i], *b = &r->stop[i + 1];
    double f = (along_m - a->along_m) / (b->along_m - a->along_m);
    return a->offset_s + fmin(fmax(f, 0), 1) * (b->offset_s - a->offset_s);
}

enum rc planner_make(const struct roads *roads, struct planner_random *rnd, unsigned number, struct planner_route *ret_route)
{
    struct planner_route r = {0};
    const struct roads_school *school = &roads->school[(size_t)planner_uniform(rnd, 0, (double)roads->schools)];
    uint32_t start = roads_nearest(roads, school->at, ROADS_UNCLASSIFIED);
    snprintf(r.id, sizeof r.id, "R%02u", number);
    snprintf(r.name_zh, sizeof r.name_zh, "%u号线", number);
    snprintf(r.name_en, sizeof r.name_en, "Line %u", number);
    enum rc rc = start == UINT32_MAX ? RC_NOT_FOUND : loop_from(roads, rnd, start, &r);
    if (rc == RC_OK && r.hops)
        rc = lay_line(roads, &r);
    if (rc == RC_OK && (!r.hops || r.length_m < LOOP_MIN_M || r.length_m > LOOP_MAX_M))
        rc = RC_NOT_FOUND;
    if (rc != RC_OK)
        goto out;
    r.drive.limit = calloc(r.segments + 1, sizeof *r.drive.limit);
    rc = r.drive.limit ? drive_of(&r) : RC_NO_MEMORY;
    if (rc == RC_OK)
        rc = place_stops(roads, rnd, number, &r);
    if (rc == RC_OK)
        rc = drive_of(&r);
    if (rc == RC_OK)
        rc = time_lap(&r);
    if (rc == RC_OK) {
        *ret_route = r;
        return RC_OK;
    }
out:
    planner_release(&r);
    return rc == RC_INVALID ? RC_NOT_FOUND : rc;
}

void planner_release(struct planner_route *r)
{
    path_free(r->drive.path);
    free(r->drive.limit);
    free(r->hop);
    free(r->hop_m);
    free(r->line);
    free(r->segment);
    memset(r, 0, sizeof *r);
}

/* --- detours --- */

static double furthest_m(const struct planner_route *r, const struct geo_pt *pt, size_t n)
{
    double far = 0;
    for (size_t i = 0; i < n; i++)
        far = fmax(far, geo_offset_m(r->line, r->n, pt[i]));
    return far;
}

static enum rc hops_line(const struct roads *roads, const struct roads_hop *hop, size_t n, struct geo_pt **ret_line, size_t *ret_n)
{
    size_t total = 1;
    for (size_t i = 0; i < n; i++)
        total += roads->edge[hop[i].edge].n - 1;
    struct geo_pt *line = calloc(total, sizeof *line);
    if (!line)
        return RC_NO_MEMORY;
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        const struct roads_edge *e = &roads->edge[hop[i].edge];
        for (size_t k = i ? 1 : 0; k < e->n; k++)
            line[m++] = hop[i].reverse ? e->pt[e->n - 1 - k] : e->pt[k];
    }
    *ret_line = line;
    *ret_n = m;
    return RC_OK;
}

enum rc planner_detour(const struct roads *roads, const struct planner_route *r, double near_m, double *ret_leave_m, double *ret_rejoin_m,
                       struct geo_pt **ret_line, size_t *ret_n)
{
    double *factor = base_factor(roads);
    if (!factor)
        return RC_NO_MEMORY;
    for (size_t i = 0; i < r->hops; i++)
        factor[r->hop[i].edge] = HUGE_VAL;
    enum rc rc = RC_NOT_FOUND;
    size_t a = hop_at(r, near_m) + 1;
    for (size_t leave = a; leave < r->hops && leave < a + 4 && rc == RC_NOT_FOUND; leave++) {
        for (size_t back = leave + 3; back < r->hops && rc == RC_NOT_FOUND; back += 3) {
            double gap = r->hop_m[back] - r->hop_m[leave];
            if (gap < 900)
                continue;
            if (gap > 3000)
                break;
            uint32_t from = roads_hop_to(roads, r->hop[leave - 1]), to = roads_hop_to(roads, r->hop[back - 1]);
            struct roads_hop *hop = NULL;
            struct geo_pt *line = NULL;
            size_t hops = 0, n = 0;
            if (from == to || roads_path(roads, from, to, factor, &r->hop[leave - 1], &hop, &hops) != RC_OK)
                continue;
            double other_m = 0;
            for (size_t i = 0; i < hops; i++)
                other_m += roads->edge[hop[i].edge].length_m;
            if (other_m < 1.8 * gap + 600 && hops_line(roads, hop, hops, &line, &n) == RC_OK && furthest_m(r, line, n) > 120) {
                *ret_leave_m = r->hop_m[leave];
                *ret_rejoin_m = r->hop_m[back];
                *ret_line = line;
                *ret_n = n;
                line = NULL;
                rc = RC_OK;
            }
            free(line);
            free(hop);
        }
    }
    free(factor);
    return rc;
}
