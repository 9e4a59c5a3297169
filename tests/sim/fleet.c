/*
 * fleet - schoolward-sim fleet: the light buses of a plan in one process, each a gateway on the wire.
 */
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "../../core/event.h"
#include "client.h"
#include "planner.h"
#include "ride.h"
#include "sim.h"

#define DRAIN_MS 2500
#define KEEP     4096 /* events a bus keeps while the server is away: more than an hour at 1 Hz */

/* What a light bus has: one door, no seats, buttons or sensors. */
#define FITTED                                                                                                                                       \
    (EVENT_IN_DOOR_FRONT | EVENT_IN_IGNITION | EVENT_IN_PARKING_BRAKE | EVENT_IN_SOS | EVENT_IN_STOP_ARM | EVENT_IN_BEACON | EVENT_IN_HAZARD)

struct light {
    struct ride ride;
    struct client *client;
    int32_t boarded, alighted; /* as last told */
    uint32_t inputs;
    bool told, camera_on;
    double east_m, north_m;
};

struct fleet {
    uv_loop_t loop;
    uv_timer_t tick, report;
    uv_signal_t term, intr;
    struct client_pool *pool;
    struct light *bus;
    size_t buses;
    struct planner_random noise;
    int64_t last_ms;
    double seconds, rate_hz;
    int64_t began_ms;
    bool ready, verbose, closing;
    int64_t drain_until_ms; /* 0 = driving; then only acknowledgements are waited for */
};

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put_fix(struct fleet *f, struct light *b, int64_t now)
{
    struct event e = {.time_ms = now, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS};
    bool lost = ride_happening(&b->ride, SCENARIO_NO_FIX) != NULL;
    e.fix = (struct event_fix){.lat_e7 = EVENT_UNKNOWN,
                               .lon_e7 = EVENT_UNKNOWN,
                               .speed_mmps = EVENT_UNKNOWN,
                               .track_cdeg = EVENT_UNKNOWN,
                               .alt_dm = EVENT_UNKNOWN,
                               .hdop_d = EVENT_UNKNOWN,
                               .mode = EVENT_FIX_NONE};
    if (!lost) {
        b->east_m = 0.97 * b->east_m + planner_uniform(&f->noise, -0.5, 0.5);
        b->north_m = 0.97 * b->north_m + planner_uniform(&f->noise, -0.5, 0.5);
        struct geo_pt at = geo_ahead(geo_ahead(b->ride.at, 90, b->east_m), 0, b->north_m);
        e.fix.lat_e7 = (int32_t)lround(at.lat * 1e7);
        e.fix.lon_e7 = (int32_t)lround(at.lon * 1e7);
        e.fix.speed_mmps = (int32_t)lround(b->ride.v_mps * 1000);
        e.fix.track_cdeg = (int32_t)lround(b->ride.course_deg * 100) % 36000;
        e.fix.alt_dm = 3470;
        e.fix.hdop_d = 8;
        e.fix.satellites = 14;
        e.fix.mode = EVENT_FIX_3D;
    }
    client_put(b->client, &e);
}

static void put_changes(struct light *b, int64_t now)
{
    const struct ride *r = &b->ride;
    struct event e = {.time_ms = now, .clock = EVENT_CLOCK_NTP};
    if (!b->told || r->boarded != b->boarded || r->alighted != b->alighted) {
        e.kind = EVENT_COUNT;
        e.count = (struct event_count){
            .source = EVENT_COUNT_DOOR, .confidence_pct = 95, .boarded = r->boarded, .alighted = r->alighted, .aboard = EVENT_UNKNOWN};
        client_put(b->client, &e);
        b->boarded = r->boarded;
        b->alighted = r->alighted;
    }
    if (!b->told || r->inputs != b->inputs) {
        e.kind = EVENT_INPUTS;
        e.inputs = (struct event_inputs){.state = r->inputs, .known = FITTED};
        client_put(b->client, &e);
        b->inputs = r->inputs;
    }
    const struct scenario_happening *alarm = ride_happening(r, SCENARIO_CAMERA_ALARM);
    if ((alarm != NULL) != b->camera_on) {
        b->camera_on = alarm != NULL;
        e.kind = EVENT_CAMERA;
        e.camera = (struct event_camera){.alarm_id = 1,
                                         .unit = EVENT_CAMERA_DSM,
                                         .phase = alarm ? EVENT_CAMERA_BEGIN : EVENT_CAMERA_END,
                                         .type = alarm ? (uint8_t)alarm->value : 1,
                                         .speed_kmh = (uint8_t)(r->v_mps * 3.6)};
        client_put(b->client, &e);
    }
    b->told = true;
}

static void on_report(uv_timer_t *t);

static void on_closed_handle(uv_handle_t *h)
{
    (void)h;
}

static void shut(struct fleet *f)
{
    if (f->closing)
        return;
    f->closing = true;
    uv_close((uv_handle_t *)&f->tick, on_closed_handle);
    uv_close((uv_handle_t *)&f->report, on_closed_handle);
    uv_close((uv_handle_t *)&f->term, on_closed_handle);
    uv_close((uv_handle_t *)&f->intr, on_closed_handle);
    client_pool_close(f->pool);
}

/* No more events; end when everything is acknowledged, or soon. Asked twice: at once. */
static void drain(struct fleet *f)
{
    if (f->drain_until_ms) {
        shut(f);
        return;
    }
    f->drain_until_ms = wall_ms() + DRAIN_MS;
    uv_timer_stop(&f->tick);
    uv_timer_start(&f->report, on_report, 0, 100);
}

static void on_tick(uv_timer_t *t)
{
    struct fleet *f = t->data;
    int64_t now = wall_ms();
    double dt_s = fmin((double)(now - f->last_ms) / 1000, 5);
    f->last_ms = now;
    for (size_t i = 0; i < f->buses; i++) {
        struct light *b = &f->bus[i];
        /* Doors and passengers move in steps of a quarter second, whatever the rate of the fixes. */
        int steps = (int)ceil(dt_s / 0.25);
        for (int k = 1; k <= steps; k++) {
            ride_step(&b->ride, dt_s / steps);
            put_changes(b, now - (int64_t)(dt_s * 1000 * (steps - k) / steps));
        }
        put_fix(f, b, now);
        client_flush(b->client);
    }
    if (f->seconds > 0 && (double)(now - f->began_ms) > f->seconds * 1000)
        drain(f);
}

static void on_report(uv_timer_t *t)
{
    struct fleet *f = t->data;
    struct client_pool_figures n;
    client_pool_figures(f->pool, &n);
    if (f->drain_until_ms) {
        if (n.acked + n.lost >= n.events || !n.welcomed || wall_ms() >= f->drain_until_ms)
            shut(f);
        return;
    }
    if (!f->ready && n.welcomed == f->buses) {
        f->ready = true;
        printf("fleet: ready, %zu buses connected after %.1f s\n", f->buses, (double)(wall_ms() - f->began_ms) / 1000);
    }
    if (f->verbose)
        printf("fleet: welcomed=%zu events=%llu sent=%llu resent=%llu acked=%llu lost=%llu closes=%llu\n", n.welcomed, (unsigned long long)n.events,
               (unsigned long long)n.sent_events, (unsigned long long)n.resent_events, (unsigned long long)n.acked, (unsigned long long)n.lost,
               (unsigned long long)n.closes);
}

static void on_signal(uv_signal_t *s, int n)
{
    (void)n;
    drain(s->data);
}

static int usage(void)
{
    fputs("usage: schoolward-sim fleet --plan DIR --url ws://127.0.0.1:PORT/gateway [--count M] [--rate HZ] [--connections-per-second N] [--seconds "
          "N] [--verbose]\n",
          stderr);
    return 64;
}

static int run(struct fleet *f, const struct scenario *s, const char *url, double per_second)
{
    uv_loop_init(&f->loop);
    if (client_pool_new(&f->loop, url, &f->pool) != RC_OK) {
        fprintf(stderr, "fleet: cannot use %s: it must be ws://ADDRESS:PORT/PATH\n", url);
        return 64;
    }
    for (size_t i = 0; i < f->buses; i++) {
        struct light *b = &f->bus[i];
        ride_begin(&b->ride, &s->bus[i]);
        if (client_add(f->pool, s->bus[i].gateway, s->bus[i].secret, (int)((double)i * 1000 / per_second), KEEP, &b->client) != RC_OK)
            return 71;
    }
    f->last_ms = f->began_ms = wall_ms();
    uv_timer_init(&f->loop, &f->tick);
    uv_timer_init(&f->loop, &f->report);
    uv_signal_init(&f->loop, &f->term);
    uv_signal_init(&f->loop, &f->intr);
    f->tick.data = f->report.data = f->term.data = f->intr.data = f;
    uint64_t period = (uint64_t)(1000 / f->rate_hz);
    uv_timer_start(&f->tick, on_tick, period, period);
    uv_timer_start(&f->report, on_report, 200, f->verbose ? 2000 : 200);
    uv_signal_start(&f->term, on_signal, SIGTERM);
    uv_signal_start(&f->intr, on_signal, SIGINT);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    struct client_pool_figures n;
    client_pool_figures(f->pool, &n);
    printf("fleet: events=%llu acked=%llu resent=%llu lost=%llu refused=%llu\n", (unsigned long long)n.events, (unsigned long long)n.acked,
           (unsigned long long)n.resent_events, (unsigned long long)n.lost, (unsigned long long)n.refused);
    client_pool_free(f->pool);
    uv_loop_close(&f->loop);
    return 0;
}

int sim_fleet(int argc, char **argv)
{
    static const struct option options[] = {
        {"plan", 1, 0, 'p'},    {"url", 1, 0, 'u'},     {"count", 1, 0, 'c'}, {"rate", 1, 0, 'r'}, {"connections-per-second", 1, 0, 's'},
        {"seconds", 1, 0, 'n'}, {"verbose", 0, 0, 'v'}, {0, 0, 0, 0}};
    const char *plan = NULL, *url = NULL;
    struct fleet f = {.noise = {88172645463325252ULL}, .rate_hz = 1};
    long count = 0;
    double per_second = 200;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p': plan = optarg; break;
        case 'u': url = optarg; break;
        case 'c': count = strtol(optarg, NULL, 10); break;
        case 'r': f.rate_hz = strtod(optarg, NULL); break;
        case 's': per_second = strtod(optarg, NULL); break;
        case 'n': f.seconds = strtod(optarg, NULL); break;
        case 'v': f.verbose = true; break;
        default: return usage();
        }
    }
    if (!plan || !url || f.rate_hz < 0.01 || f.rate_hz > 50 || per_second <= 0 || count < 0)
        return usage();
    char file[4096], why[300] = "";
    snprintf(file, sizeof file, "%s/light.json", plan);
    struct scenario *s = NULL;
    if (scenario_read(file, &s, why, sizeof why) != RC_OK) {
        fprintf(stderr, "fleet: %s\n", why);
        return 66;
    }
    if (!count)
        count = (long)s->buses;
    if ((size_t)count > s->buses) {
        fprintf(stderr, "fleet: the plan has %zu light buses, %ld are wanted: make a larger plan\n", s->buses, count);
        scenario_free(s);
        return 65;
    }
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    srandom((unsigned)wall_ms());
    f.buses = (size_t)count;
    f.bus = calloc(f.buses, sizeof *f.bus);
    int status = f.bus ? run(&f, s, url, per_second) : 71;
    free(f.bus);
    scenario_free(s);
    return status;
}
