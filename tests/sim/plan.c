/*
 * plan - schoolward-sim plan: routes along real streets, a fleet for the server, a duty for each full bus, and what happens to whom.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "badge.h"
#include "sim.h"
#include "story.h"

#define LAP_HOURS  6   /* how long the timetable goes on */
#define RUNS_MAX   480 /* of one route */
#define JSON_STYLE (JSON_REAL_PRECISION(10) | JSON_COMPACT)

struct plan_bus {
    char id[32], plate[24], gateway[32], secret[65], sha256[65];
    bool full;
    uint32_t cards; /* number of the driver's card */
    int rated;
    const char *size;
    size_t route;
    struct story story;
};

struct plan {
    struct planner_route *route;
    size_t routes;
    struct plan_bus *bus;
    size_t buses;
    json_t **runs; /* by route */
    const char *out;
    uint8_t key[32]; /* of the fleet's cards */
};

static const struct {
    int rated;
    const char *size;
} models[] = {{38, "large"}, {46, "large"}, {19, "medium"}, {56, "large"}, {24, "large"}, {17, "medium"}};
#define MODELS ((int)(sizeof models / sizeof *models))

/* --- JSON --- */

static json_t *coordinate(double v)
{
    return json_real(round(v * 1e7) / 1e7);
}

static json_t *line_json(const struct geo_pt *pt, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *p = json_array();
        json_array_append_new(p, coordinate(pt[i].lon));
        json_array_append_new(p, coordinate(pt[i].lat));
        json_array_append_new(a, p);
    }
    return a;
}

static json_t *metres(double m)
{
    return json_real(round(m * 10) / 10);
}

static json_t *route_json(const struct planner_route *r, json_t *runs)
{
    static const char *const road[] = {"unknown",       "expressway",     "urban_expressway", "city_no_line", "rural_no_line",
                                       "city_one_lane", "rural_one_lane", "city_multi",       "rural_multi"};
    json_t *segments = json_array(), *stops = json_array();
    for (size_t i = 0; i < r->segments; i++) {
        const struct planner_segment *s = &r->segment[i];
        json_t *j = json_pack("{s:o, s:o, s:s}", "from_m", metres(s->from_m), "to_m", metres(s->to_m), "road", road[s->road]);
        if (s->posted_kmh >= 5 && s->posted_kmh <= 120)
            json_object_set_new(j, "posted_kmh", json_integer(s->posted_kmh));
        json_array_append_new(segments, j);
    }
    for (size_t i = 0; i < r->stops; i++) {
        const struct planner_stop *s = &r->stop[i];
        json_array_append_new(stops, json_pack("{s:s, s:s, s:s, s:o, s:o, s:i}", "id", s->id, "name_zh", s->name_zh, "name_en", s->name_en, "lat",
                                               coordinate(s->at.lat), "lon", coordinate(s->at.lon), "offset_s", s->offset_s));
    }
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:O}", "id", r->id, "name_zh", r->name_zh, "name_en", r->name_en, "rural", 0, "line",
                     line_json(r->line, r->n), "segments", segments, "stops", stops, "runs", runs);
}

static void enrol(json_t *roster, const struct plan *p, uint32_t number, const char *kind)
{
    char hash[17];
    badge_hash(p->key, number, hash);
    json_array_append_new(roster, json_pack("{s:s, s:s}", "hash", hash, "kind", kind));
}

static json_t *roster_json(const struct plan *p, const struct plan_bus *b)
{
    json_t *roster = json_array();
    enrol(roster, p, b->cards + BADGE_DRIVER, "driver");
    enrol(roster, p, b->cards + BADGE_ATTENDANT, "attendant");
    for (uint32_t i = 0; i < BADGE_PUPILS; i++)
        enrol(roster, p, b->cards + BADGE_PUPIL + i, "pupil");
    return roster;
}

static json_t *vehicle_json(const struct plan *p, const struct plan_bus *b, bool secret)
{
    json_t *j =
        json_pack("{s:s, s:s, s:s, s:{s:i, s:i}, s:s, s:i, s:i, s:[{s:s}]}", "id", b->id, "plate", b->plate, "gateway", b->gateway, "rated", "total",
                  b->rated, "pupils", b->rated - 2, "size", b->size, "staff", 2, "staff_uncounted", 1, "routes", "route", p->route[b->route].id);
    if (secret)
        json_object_set_new(j, "secret_sha256", json_string(b->sha256));
    if (b->full)
        json_object_set_new(j, "roster", roster_json(p, b));
    return j;
}

static json_t *scenario_route_json(const struct planner_route *r)
{
    json_t *limits = json_array(), *stops = json_array();
    for (size_t i = 0; i < r->segments; i++)
        json_array_append_new(limits, json_pack("[o, o, f]", metres(r->segment[i].from_m), metres(r->segment[i].to_m), r->segment[i].limit_kmh));
    for (size_t i = 0; i < r->stops; i++)
        json_array_append_new(stops, json_pack("{s:o, s:i}", "along_m", metres(r->stop[i].along_m), "board", r->stop[i].board));
    return json_pack("{s:s, s:o, s:o, s:o}", "id", r->id, "line", line_json(r->line, r->n), "limits", limits, "stops", stops);
}

static json_t *scenario_bus_json(const struct plan *p, const struct plan_bus *b)
{
    json_t *events = json_array();
    for (size_t i = 0; i < b->story.events; i++) {
        const struct scenario_happening *e = &b->story.event[i];
        json_array_append_new(
            events, json_pack("{s:s, s:f, s:f, s:f}", "what", scenario_word(e->what), "at_s", e->at_s, "for_s", e->for_s, "value", e->value));
    }
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:o, s:i, s:i, s:i, s:i, s:o}", "id", b->id, "gateway", b->gateway, "secret", b->secret, "route",
                          p->route[b->route].id, "start_m", metres(b->story.start_m), "aboard", b->story.aboard, "rated", b->rated, "staff", 2,
                          "staff_counted", 1, "happenings", events);
    if (b->full)
        json_object_set_new(j, "cards", json_integer(b->cards));
    if (b->story.line)
        json_object_set_new(j, "detour",
                            json_pack("{s:o, s:o, s:o}", "leave_m", metres(b->story.leave_m), "rejoin_m", metres(b->story.rejoin_m), "line",
                                      line_json(b->story.line, b->story.n)));
    return j;
}

static int write_json(const struct plan *p, const char *name, json_t *doc, mode_t mode)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", p->out, name) >= (int)sizeof path)
        return -1;
    int bad = !doc || json_dump_file(doc, path, JSON_STYLE) || chmod(path, mode);
    if (bad)
        fprintf(stderr, "plan: cannot write %s: %s\n", path, strerror(errno));
    json_decref(doc);
    return bad ? -1 : 0;
}

static int write_key(const struct plan *p)
{
    char path[4096];
    snprintf(path, sizeof path, "%.4000s/cards.key", p->out);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    for (size_t i = 0; f != NULL && i < sizeof p->key; i++)
        fprintf(f, "%02x", p->key[i]);
    if (f == NULL || fputc('\n', f) == EOF || fclose(f) != 0) {
        fprintf(stderr, "plan: cannot write %s: %s\n", path, strerror(errno));
        return -1;
    }
    return 0;
}

static int write_plan(const struct plan *p)
{
    json_t *routes = json_array(), *vehicles = json_array(), *light_routes = json_array(), *light = json_array(), *list = json_array();
    int bad = 0;
    for (size_t i = 0; i < p->routes; i++) {
        json_array_append_new(routes, route_json(&p->route[i], p->runs[i]));
        json_array_append_new(light_routes, scenario_route_json(&p->route[i]));
    }
    for (size_t i = 0; i < p->buses && !bad; i++) {
        const struct plan_bus *b = &p->bus[i];
        char name[64];
        json_array_append_new(vehicles, vehicle_json(p, b, true));
        if (!b->full) {
            json_array_append_new(light, scenario_bus_json(p, b));
            continue;
        }
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "id", b->id, "gateway", b->gateway, "secret", b->secret));
        json_t *duty = json_pack("{s:s, s:[o], s:[o]}", "format", "schoolward.duty.1", "routes", route_json(&p->route[b->route], p->runs[b->route]),
                                 "vehicles", vehicle_json(p, b, false));
        snprintf(name, sizeof name, "duty-%s.json", b->id);
        bad |= write_json(p, name, duty, 0644);
        json_t *scenario = json_pack("{s:s, s:[o], s:[o]}", "format", "schoolward-sim.1", "routes", scenario_route_json(&p->route[b->route]), "buses",
                                     scenario_bus_json(p, b));
        snprintf(name, sizeof name, "scenario-%s.json", b->id);
        bad |= write_json(p, name, scenario, 0600);
    }
    bad |= write_json(p, "fleet.json", json_pack("{s:s, s:o, s:o}", "format", "schoolward.duty.1", "routes", routes, "vehicles", vehicles), 0600);
    bad |= write_json(p, "light.json", json_pack("{s:s, s:o, s:o}", "format", "schoolward-sim.1", "routes", light_routes, "buses", light), 0600);
    bad |= write_json(p, "full.json", list, 0600);
    bad |= write_key(p);
    return bad;
}

/* --- making it --- */

static int make_secret(struct plan_bus *b)
{
    unsigned char raw[32], sum[SHA256_DIGEST_LENGTH];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return -1;
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(b->secret + 2 * i, 3, "%02x", raw[i]);
    SHA256((const unsigned char *)b->secret, strlen(b->secret), sum);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(b->sha256 + 2 * i, 3, "%02x", sum[i]);
    return 0;
}

static void add_runs(struct plan *p, const struct plan_bus *b, int start_s)
{
    const struct planner_route *r = &p->route[b->route];
    json_t *runs = p->runs[b->route];
    double first = start_s - planner_time_at(r, b->story.start_m);
    for (int k = 0; k * r->lap_s < LAP_HOURS * 3600 && json_array_size(runs) < RUNS_MAX; k++) {
        int at = ((int)lround(first + k * r->lap_s) % 86400 + 86400) % 86400;
        char id[48], clock[40];
        snprintf(id, sizeof id, "%.24s-%d", b->id, k + 1);
        snprintf(clock, sizeof clock, "%02d:%02d:%02d", at / 3600, at / 60 % 60, at % 60);
        json_array_append_new(runs, json_pack("{s:s, s:s}", "id", id, "start", clock));
    }
}

/* Later troubles of the buses with real devices, so that a long look has something to see. */
static void full_bus_troubles(struct story *s, size_t i)
{
    story_add(s, SCENARIO_CAMERA_ALARM, 75 + 40.0 * (double)(i % 3), 8, i % 2 ? 2 : 1);
    story_add(s, SCENARIO_CAMERA_GARBAGE, 200, 3, 0);
    story_add(s, SCENARIO_NO_FIX, 330, 25, 0);
    story_add(s, SCENARIO_COUNTER_UNPLUGGED, 420, 40, 0);
    story_add(s, SCENARIO_COUNTER_STALE, 520, 15, 0);
    story_add(s, SCENARIO_GNSS_SILENT, 600, 20, 0);
    if (i % 2)
        story_add(s, SCENARIO_SOS, 260, 15, 0);
    story_add(s, SCENARIO_UNKNOWN_CARD, 150, 5, 0);
    story_add(s, SCENARIO_BELTS_OPEN, 180 + 30.0 * (double)(i % 2), 40, 0);
    story_add(s, SCENARIO_DOOR_OPEN, 290 + 20.0 * (double)(i % 2), 12, 0);
    story_add(s, SCENARIO_POWER_LOST, 480, 20, 0);
    story_add(s, SCENARIO_LEFT_BEHIND, 0, 86400, 200); /* at the end of each lap */
    story_add(s, SCENARIO_SPEEDING, 700 + 60.0 * (double)i, 80, 0);
}

static enum story_kind story_of(bool full, size_t i, bool quiet)
{
    static const enum story_kind early[] = {STORY_OVERLOAD, STORY_DETOUR, STORY_SPEEDING};
    if (quiet)
        return STORY_PLAIN;
    if (full)
        return early[i % 3];
    return i % 14 < 3 ? early[(i % 14 + 2) % 3] : STORY_PLAIN;
}

static int make_bus(struct plan *p, const struct roads *roads, struct planner_random *rnd, size_t i, size_t full, bool quiet)
{
    struct plan_bus *b = &p->bus[i];
    size_t own = i < full ? i : i - full;
    b->full = i < full;
    size_t model = b->full ? i % 2 : (size_t)planner_uniform(rnd, 0, MODELS);
    b->rated = models[model].rated;
    b->size = models[model].size;
    snprintf(b->id, sizeof b->id, "%s%0*zu", b->full ? "bus-" : "light-", b->full ? 2 : 4, own + 1);
    snprintf(b->gateway, sizeof b->gateway, "gw-%.20s", b->id);
    snprintf(b->plate, sizeof b->plate, "桂B·%c%04zu", b->full ? 'X' : (char)('S' + own / 9999 % 8), (own * 37 + 101) % 9999 + 1);
    if (make_secret(b))
        return -1;
    enum story_kind kind = story_of(b->full, own, quiet);
    enum rc rc = RC_NOT_FOUND;
    for (size_t k = 0; k < p->routes && rc == RC_NOT_FOUND; k++) {
        b->route = (i + k) % p->routes;
        rc = story_make(roads, &p->route[b->route], rnd, kind, b->rated, b->rated > 30 ? 4 + (int)(own % 3) : 5, &b->story);
    }
    if (rc != RC_OK) {
        fprintf(stderr, "plan: no route has a place for what shall happen to %s: take another --seed or more --routes\n", b->id);
        return -1;
    }
    b->cards = badge_first(own);
    if (b->full)
        full_bus_troubles(&b->story, own);
    else if (!quiet && own % 5 == 4)
        story_add(&b->story, SCENARIO_SPEEDING, planner_uniform(rnd, 200, 1800), 60, 0);
    else if (!quiet && own % 10 == 3)
        story_add(&b->story, SCENARIO_NO_FIX, planner_uniform(rnd, 60, 900), 30, 0);
    return 0;
}

static int make_routes(struct plan *p, const struct roads *roads, struct planner_random *rnd)
{
    for (size_t i = 0; i < p->routes; i++) {
        enum rc rc = RC_NOT_FOUND;
        for (int tries = 0; tries < 200 && rc == RC_NOT_FOUND; tries++)
            rc = planner_make(roads, rnd, (unsigned)i + 1, &p->route[i]);
        if (rc != RC_OK) {
            fprintf(stderr, "plan: route %zu: %s\n", i + 1, rc_text(rc));
            return -1;
        }
        p->runs[i] = json_array();
    }
    return 0;
}

static int clock_of(const char *text)
{
    int h, m, s;
    char rest;
    if (sscanf(text, "%2d:%2d:%2d%c", &h, &m, &s, &rest) != 3 || h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 59)
        return -1;
    return h * 3600 + m * 60 + s;
}

static void plan_free(struct plan *p)
{
    for (size_t i = 0; p->route && i < p->routes; i++)
        planner_release(&p->route[i]);
    for (size_t i = 0; p->runs && i < p->routes; i++)
        json_decref(p->runs[i]);
    for (size_t i = 0; p->bus && i < p->buses; i++)
        story_release(&p->bus[i].story);
    free(p->route);
    free(p->runs);
    free(p->bus);
}

static int usage(void)
{
    fputs("usage: schoolward-sim plan --roads FILE --full N --light M --out DIR [--routes R] [--seed S] [--start HH:MM:SS] [--utc-offset-min 480] "
          "[--quiet]\n"
          "  --start  local time at which the buses set off (default: now); --quiet: nothing bad happens\n",
          stderr);
    return 64;
}

int sim_plan(int argc, char **argv)
{
    static const struct option options[] = {{"roads", 1, 0, 'r'},  {"full", 1, 0, 'f'}, {"light", 1, 0, 'l'}, {"out", 1, 0, 'o'},
                                            {"routes", 1, 0, 'n'}, {"seed", 1, 0, 's'}, {"start", 1, 0, 't'}, {"utc-offset-min", 1, 0, 'u'},
                                            {"quiet", 0, 0, 'q'},  {0, 0, 0, 0}};
    const char *roads_file = NULL;
    struct plan p = {0};
    struct planner_random rnd = {0x9E3779B97F4A7C15ULL};
    long full = 0, light = 0, wanted = 0, offset_min = 480;
    int start_s = -1;
    bool quiet = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'r': roads_file = optarg; break;
        case 'f': full = strtol(optarg, NULL, 10); break;
        case 'l': light = strtol(optarg, NULL, 10); break;
        case 'o': p.out = optarg; break;
        case 'n': wanted = strtol(optarg, NULL, 10); break;
        case 's': rnd.state ^= strtoull(optarg, NULL, 10) * 0xD1342543DE82EF95ULL; break;
        case 'u': offset_min = strtol(optarg, NULL, 10); break;
        case 'q': quiet = true; break;
        case 't':
            start_s = clock_of(optarg);
            if (start_s < 0)
                return usage();
            break;
        default: return usage();
        }
    }
    if (!roads_file || !p.out || full < 0 || light < 0 || full + light < 1 || full + light > 20000 || wanted < 0 || wanted > 500)
        return usage();
    if (start_s < 0)
        start_s = (int)((time(NULL) + offset_min * 60) % 86400);
    char why[300] = "";
    struct roads *roads = NULL;
    if (getrandom(p.key, sizeof p.key, 0) != (ssize_t)sizeof p.key)
        return 71;
    if (roads_read(roads_file, &roads, why, sizeof why) != RC_OK) {
        fprintf(stderr, "plan: %s\n", why);
        return 66;
    }
    int status = 70;
    p.buses = (size_t)(full + light);
    p.routes = wanted ? (size_t)wanted : p.buses > 80 ? 40 : (p.buses + 1) / 2;
    p.route = calloc(p.routes, sizeof *p.route);
    p.runs = calloc(p.routes, sizeof(json_t *));
    p.bus = calloc(p.buses, sizeof *p.bus);
    if ((mkdir(p.out, 0777) && errno != EEXIST) || !p.route || !p.runs || !p.bus || make_routes(&p, roads, &rnd))
        goto out;
    for (size_t i = 0; i < p.buses; i++) {
        if (make_bus(&p, roads, &rnd, i, (size_t)full, quiet))
            goto out;
        add_runs(&p, &p.bus[i], start_s);
    }
    if (write_plan(&p)) {
        status = 73;
        goto out;
    }
    double km = 0;
    for (size_t i = 0; i < p.routes; i++)
        km += p.route[i].length_m / 1000;
    printf("plan: %zu routes of %.1f km on average, %ld full and %ld light buses in %s\n", p.routes, km / (double)p.routes, full, light, p.out);
    status = 0;
out:
    plan_free(&p);
    roads_free(roads);
    return status;
}
