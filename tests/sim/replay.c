/*
 * replay - schoolward-sim replay: a recorded day of real buses (GTFS and positions) through a server, every position with its own event time.
 *
 * The recording says nothing of passengers: each trip is given a count of PASSENGERS at its start, so that rules for loaded buses apply to it.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "gtfs.h"
#include "sim.h"

#define PASSENGERS    20
#define COUNT_EACH_MS (5 * 60 * 1000LL)

struct replay_bus {
    const char *vehicle, *trip;
    struct client *client;
    int64_t counted_ms;
};

struct replay {
    uv_loop_t loop;
    uv_timer_t tick;
    struct client_pool *pool;
    struct gtfs day;
    struct replay_bus *bus;
    size_t next;  /* fix */
    double speed; /* 0: as fast as it goes */
    int64_t began_ms, patience_ms;
    bool closing, failed;
};

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put_fix(struct replay *r, const struct gtfs_fix *f)
{
    struct replay_bus *b = NULL;
    for (size_t i = 0; i < r->day.vehicles; i++)
        if (!strcmp(r->bus[i].vehicle, f->vehicle))
            b = &r->bus[i];
    if (!b)
        return;
    if (!b->trip || strcmp(b->trip, f->trip) != 0 || f->time_ms - b->counted_ms >= COUNT_EACH_MS) {
        struct event count = {.time_ms = f->time_ms, .kind = EVENT_COUNT, .clock = EVENT_CLOCK_NTP};
        count.count = (struct event_count){.source = EVENT_COUNT_DOOR, .confidence_pct = 95, .boarded = PASSENGERS, .aboard = EVENT_UNKNOWN};
        client_put(b->client, &count);
        b->trip = f->trip;
        b->counted_ms = f->time_ms;
    }
    struct event e = {.time_ms = f->time_ms, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS};
    e.fix = (struct event_fix){.lat_e7 = (int32_t)lround(f->lat * 1e7),
                               .lon_e7 = (int32_t)lround(f->lon * 1e7),
                               .speed_mmps = isfinite(f->speed_mps) ? (int32_t)lround(f->speed_mps * 1000) : EVENT_UNKNOWN,
                               .track_cdeg = isfinite(f->bearing_deg) ? (int32_t)lround(f->bearing_deg * 100) % 36000 : EVENT_UNKNOWN,
                               .alt_dm = EVENT_UNKNOWN,
                               .hdop_d = EVENT_UNKNOWN,
                               .mode = EVENT_FIX_2D};
    client_put(b->client, &e);
}

static void finish(struct replay *r)
{
    if (r->closing)
        return;
    r->closing = true;
    uv_close((uv_handle_t *)&r->tick, NULL);
    client_pool_close(r->pool);
}

static void on_tick(uv_timer_t *t)
{
    struct replay *r = t->data;
    struct client_pool_figures n;
    client_pool_figures(r->pool, &n);
    if (n.refused > 20 || wall_ms() - r->began_ms > r->patience_ms) {
        fprintf(stderr, "replay: given up: %zu of %zu gateways welcomed, last close %d %s\n", n.welcomed, n.clients, n.last_code, n.last_reason);
        r->failed = true;
        finish(r);
        return;
    }
    const struct gtfs *d = &r->day;
    double due_ms = (double)(wall_ms() - r->began_ms) * r->speed;
    while (r->next < d->fixes && (r->speed <= 0 || (double)(d->fix[r->next].time_ms - d->fix[0].time_ms) <= due_ms))
        put_fix(r, &d->fix[r->next++]);
    size_t waiting = 0;
    for (size_t i = 0; i < d->vehicles; i++) {
        client_flush(r->bus[i].client);
        waiting += client_waiting(r->bus[i].client);
    }
    if (r->next == d->fixes && !waiting)
        finish(r);
}

static int play(struct replay *r, const char *url, const char *secret)
{
    uv_loop_init(&r->loop);
    if (client_pool_new(&r->loop, url, &r->pool) != RC_OK) {
        fprintf(stderr, "replay: cannot use %s: it must be ws://ADDRESS:PORT/PATH\n", url);
        return 64;
    }
    r->bus = calloc(r->day.vehicles, sizeof *r->bus);
    for (size_t i = 0; r->bus && i < r->day.vehicles; i++) {
        char gateway[32];
        snprintf(gateway, sizeof gateway, "gw-%.24s", r->day.vehicle[i]);
        r->bus[i].vehicle = r->day.vehicle[i];
        if (client_add(r->pool, gateway, secret, 0, r->day.fixes * 2, &r->bus[i].client) != RC_OK)
            return 71;
    }
    r->began_ms = wall_ms();
    double day_ms = (double)(r->day.fix[r->day.fixes - 1].time_ms - r->day.fix[0].time_ms);
    r->patience_ms = 120000 + (r->speed > 0 ? (int64_t)(day_ms / r->speed) : 0);
    uv_timer_init(&r->loop, &r->tick);
    r->tick.data = r;
    uv_timer_start(&r->tick, on_tick, 10, 50);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    struct client_pool_figures n;
    client_pool_figures(r->pool, &n);
    printf("vehicles=%zu\npositions=%zu\nevents=%llu\nacked=%llu\nresent=%llu\nseconds=%.2f\n", r->day.vehicles, r->day.fixes,
           (unsigned long long)n.events, (unsigned long long)n.acked, (unsigned long long)n.resent_events, (double)(wall_ms() - r->began_ms) / 1000);
    client_pool_free(r->pool);
    uv_loop_close(&r->loop);
    free(r->bus);
    return r->failed || n.acked != n.events ? 69 : 0;
}

static int usage(void)
{
    fputs("usage: schoolward-sim replay --gtfs DIR --avl CSV (--write-fleet FILE | --url ws://127.0.0.1:PORT/gateway) [--secret TEXT] [--speed X | "
          "--fast]\n",
          stderr);
    return 64;
}

static int write_fleet(const struct gtfs *day, const char *secret, const char *file)
{
    unsigned char sum[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    SHA256((const unsigned char *)secret, strlen(secret), sum);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    json_t *doc = gtfs_fleet(day, hex);
    int bad = !doc || json_dump_file(doc, file, JSON_REAL_PRECISION(10) | JSON_COMPACT);
    json_decref(doc);
    if (bad)
        fprintf(stderr, "replay: cannot write %s: %s\n", file, strerror(errno));
    else
        printf("replay: %zu vehicles, %zu positions, fleet in %s\n", day->vehicles, day->fixes, file);
    return bad ? 73 : 0;
}

int sim_replay(int argc, char **argv)
{
    static const struct option options[] = {{"gtfs", 1, 0, 'g'},   {"avl", 1, 0, 'a'},   {"url", 1, 0, 'u'},  {"write-fleet", 1, 0, 'w'},
                                            {"secret", 1, 0, 's'}, {"speed", 1, 0, 'x'}, {"fast", 0, 0, 'f'}, {0, 0, 0, 0}};
    const char *dir = NULL, *avl = NULL, *url = NULL, *fleet = NULL, *secret = "replay-secret-0123456789abcdef0123456789";
    struct replay r = {0};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'g': dir = optarg; break;
        case 'a': avl = optarg; break;
        case 'u': url = optarg; break;
        case 'w': fleet = optarg; break;
        case 's': secret = optarg; break;
        case 'x': r.speed = strtod(optarg, NULL); break;
        case 'f': r.speed = 0; break;
        default: return usage();
        }
    }
    if (!dir || !avl || (!url && !fleet) || r.speed < 0)
        return usage();
    char why[4200] = "";
    if (gtfs_read(dir, avl, &r.day, why, sizeof why) != RC_OK) {
        fprintf(stderr, "replay: %s\n", why);
        return 66;
    }
    srandom((unsigned)wall_ms());
    int status = fleet ? write_fleet(&r.day, secret, fleet) : 0;
    if (!status && url)
        status = play(&r, url, secret);
    gtfs_release(&r.day);
    return status;
}
