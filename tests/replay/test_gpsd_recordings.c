/*
 * Recordings of real receivers through gpsfake and the real gpsd into the gpsd driver: the track must be what gpsd itself reports, nothing doubled.
 * A second client of the same gpsd is the reference. Prints per recording: reports of gpsd, times among them, fixes of ours, differences.
 */
#include "../unit/gateway/devices_kit.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <sys/wait.h>
#include <time.h>

#define TPV_MAX   4000
#define AT_ONCE   7
#define QUIET_MS  3000 /* gpsfake does not end by itself: a recording is over when gpsd said nothing for so long */
#define FILES_MAX 64

struct tpv {
    int64_t time_ms;
    double lat, lon, speed, track, alt; /* NAN absent */
    int mode;
};

struct recording {
    char path[512], name[128];
    unsigned lines;
    uint16_t port;
    pid_t pid;
    int ref;
    pthread_t thread;
    atomic_bool ended;
    atomic_int_least64_t heard_ms;
    struct tpv *tpv;
    size_t n;
    struct device *device;
};

static double real_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static int64_t time_of(const char *text)
{
    struct tm tm = {.tm_isdst = 0};
    double s = 0;
    if (text == NULL || sscanf(text, "%d-%d-%dT%d:%d:%lf", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &s) != 6)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm) * 1000 + (int64_t)llround(s * 1000);
}

static void take_line(struct recording *r, const char *line)
{
    json_t *o = json_loads(line, 0, NULL);
    const char *class = json_string_value(json_object_get(o, "class"));
    if (class != NULL && strcmp(class, "TPV") == 0 && r->n < TPV_MAX) {
        struct tpv *t = &r->tpv[r->n++];
        t->time_ms = time_of(json_string_value(json_object_get(o, "time")));
        t->lat = real_of(o, "lat");
        t->lon = real_of(o, "lon");
        t->speed = real_of(o, "speed");
        t->track = real_of(o, "track");
        t->alt = real_of(o, "altMSL");
        t->mode = (int)json_integer_value(json_object_get(o, "mode"));
    }
    json_decref(o);
}

static void *reference(void *arg)
{
    struct recording *r = arg;
    static const char watch[] = "?WATCH={\"enable\":true,\"json\":true};\n";
    if (write(r->ref, watch, sizeof watch - 1) > 0) {
        FILE *f = fdopen(r->ref, "r");
        char *line = NULL;
        size_t cap = 0;
        while (f != NULL && getline(&line, &cap, f) > 0) {
            take_line(r, line);
            atomic_store(&r->heard_ms, clock_mono_ms());
        }
        free(line);
        if (f != NULL)
            fclose(f);
    }
    atomic_store(&r->ended, true);
    return NULL;
}

static int dial(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool start_gpsfake(struct recording *r)
{
    char port[8], pace[16];
    /* Some 10 s per recording: gpsd takes a second to know the receiver, and what comes before that it does not report to anybody. */
    double c = 10.0 / (r->lines + 1);
    snprintf(pace, sizeof pace, "%.3f", c < 0.005 ? 0.005 : c > 0.05 ? 0.05 : c);
    snprintf(port, sizeof port, "%u", r->port);
    r->pid = fork();
    if (r->pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execlp("timeout", "timeout", "-k", "2", "60", "gpsfake", "-1", "-q", "-c", pace, "-P", port, r->path, (char *)NULL);
        _exit(127);
    }
    if (r->pid < 0)
        return false;
    for (int i = 0; i < 500; i++) {
        r->ref = dial(r->port);
        if (r->ref >= 0)
            return true;
        usleep(20000);
    }
    return false;
}

/* --- comparison --- */

static int32_t scaled(double v, double by)
{
    return isfinite(v) ? (int32_t)lround(v * by) : EVENT_UNKNOWN;
}

static int weight(const struct tpv *t)
{
    bool valid = t->mode >= 2 && isfinite(t->lat) && isfinite(t->lon);
    return (valid ? 8 : 0) + (isfinite(t->speed) ? 4 : 0) + (isfinite(t->track) ? 2 : 0) + (isfinite(t->alt) ? 1 : 0);
}

static bool same(const struct tpv *t, const struct event_fix *f)
{
    bool valid = t->mode >= 2 && isfinite(t->lat) && isfinite(t->lon);
    int32_t track = scaled(t->track, 100);
    return (valid ? f->lat_e7 == scaled(t->lat, 1e7) && f->lon_e7 == scaled(t->lon, 1e7) && f->mode == t->mode
                  : f->lat_e7 == EVENT_UNKNOWN && f->lon_e7 == EVENT_UNKNOWN) &&
           f->speed_mmps == scaled(t->speed, 1000) && (f->track_cdeg == track || (track == 36000 && f->track_cdeg == 0));
}

static const struct tpv *best_at(const struct recording *r, int64_t time_ms, const struct event_fix *f, bool *ret_same)
{
    const struct tpv *best = NULL;
    int most = -1;
    *ret_same = false;
    for (size_t i = 0; i < r->n; i++)
        if (r->tpv[i].time_ms == time_ms && weight(&r->tpv[i]) > most)
            most = weight(&r->tpv[i]);
    for (size_t i = 0; i < r->n; i++) {
        const struct tpv *t = &r->tpv[i];
        if (t->time_ms == time_ms && weight(t) == most) {
            best = t;
            *ret_same = *ret_same || same(t, f);
        }
    }
    return best;
}

static size_t times_between(const struct recording *r, int64_t from_ms, int64_t to_ms)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        bool fresh = r->tpv[i].time_ms >= from_ms && r->tpv[i].time_ms <= to_ms && r->tpv[i].time_ms != 0;
        for (size_t k = 0; k < i && fresh; k++)
            fresh = r->tpv[k].time_ms != r->tpv[i].time_ms;
        n += fresh;
    }
    return n;
}

static size_t compare(const struct kit *k, const struct recording *r)
{
    size_t fixes = 0, wrong = 0, doubled = 0;
    int64_t first_ms = INT64_MAX, last_ms = 0;
    for (size_t i = 0; i < k->n; i++) {
        const struct event *e = &k->got[i].e;
        if (k->got[i].d != r->device || e->kind != EVENT_FIX)
            continue;
        if (e->clock != EVENT_CLOCK_GNSS) {
            wrong += e->fix.mode >= EVENT_FIX_2D; /* a position must carry the receiver's time here */
            continue;
        }
        fixes++;
        for (size_t j = 0; j < i; j++)
            doubled += k->got[j].d == r->device && k->got[j].e.kind == EVENT_FIX && k->got[j].e.time_ms == e->time_ms &&
                       k->got[j].e.clock == EVENT_CLOCK_GNSS;
        first_ms = e->time_ms < first_ms ? e->time_ms : first_ms;
        last_ms = e->time_ms > last_ms ? e->time_ms : last_ms;
        bool is_same;
        const struct tpv *t = best_at(r, e->time_ms, &e->fix, &is_same);
        if (t == NULL || !is_same) {
            wrong++;
            printf("  %s: %lld ms: ours lat %d lon %d speed %d track %d mode %u, gpsd %s\n", r->name, (long long)e->time_ms, e->fix.lat_e7, e->fix.lon_e7,
                   e->fix.speed_mmps, e->fix.track_cdeg, e->fix.mode, t == NULL ? "has no such time" : "reports otherwise");
            if (t != NULL)
                printf("    gpsd lat %.9f lon %.9f speed %.4f track %.4f mode %d\n", t->lat, t->lon, t->speed, t->track, t->mode);
        }
    }
    /* Two clients of one gpsd do not connect at the same moment: from our first time on, nothing may be missing. */
    size_t expected = fixes > 0 ? times_between(r, first_ms, last_ms) : 0, all = times_between(r, 0, INT64_MAX);
    printf("%-36s gpsd reports %4zu, times %3zu, from our first on %3zu; our fixes %3zu, doubled %zu, different %zu\n", r->name, r->n, all, expected, fixes,
           doubled, wrong);
    assert_int_equal(doubled, 0);
    assert_int_equal(wrong, 0);
    assert_int_equal(fixes, expected);
    assert_true(all - expected <= 1);
    return fixes;
}

struct playing {
    struct recording *r;
    size_t n;
};

static bool all_ended(struct kit *k, void *arg)
{
    const struct playing *p = arg;
    struct recording *r = p->r;
    (void)k;
    for (size_t i = 0; i < p->n; i++)
        if (r[i].pid != 0 && clock_mono_ms() - atomic_load(&r[i].heard_ms) < QUIET_MS)
            return false;
    return true;
}

static void tick(uv_timer_t *t)
{
    (void)t; /* makes uv_run(ONCE) come back so that the condition is looked at */
}

static size_t play(struct recording *r, size_t n)
{
    struct kit *k = kit_new();
    uv_timer_t timer;
    uv_timer_init(&k->loop, &timer);
    uv_timer_start(&timer, tick, 50, 50);
    size_t fixes = 0;
    for (size_t i = 0; i < n; i++) {
        char name[24];
        r[i].port = kit_free_port();
        r[i].tpv = calloc(TPV_MAX, sizeof *r[i].tpv);
        assert_true(start_gpsfake(&r[i]));
        atomic_store(&r[i].heard_ms, clock_mono_ms() + 5000); /* gpsd needs a while to know its receiver */
        assert_int_equal(pthread_create(&r[i].thread, NULL, reference, &r[i]), 0);
        snprintf(name, sizeof name, "gps-%u", (unsigned)i);
        r[i].device = kit_start(k, "gpsd", name, 0, "port=%u;trust_time=receiver", r[i].port);
        kit_run_ms(k, 10);
    }
    bool ended = kit_until(k, all_ended, &(struct playing){r, n}, 50000);
    for (size_t i = 0; i < n; i++)
        kill(r[i].pid, SIGTERM); /* timeout hands it on to gpsfake, which ends its gpsd */
    kit_run_ms(k, 400);
    for (size_t i = 0; i < n; i++) {
        pthread_join(r[i].thread, NULL);
        waitpid(r[i].pid, NULL, 0);
    }
    for (size_t i = 0; i < n; i++) {
        fixes += compare(k, &r[i]);
        free(r[i].tpv);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    kit_free(k);
    assert_true(ended);
    return fixes;
}

static char folder[400];

static unsigned lines_of(const char *path)
{
    unsigned n = 0;
    FILE *f = fopen(path, "re");
    for (int c; f != NULL && (c = getc(f)) != EOF;)
        n += c == '\n';
    if (f != NULL)
        fclose(f);
    return n;
}

static void recordings(void **state)
{
    (void)state;
    static struct recording r[FILES_MAX];
    const char *only = getenv("RECORDING");
    struct dirent **names = NULL;
    int entries = scandir(folder, &names, NULL, alphasort);
    size_t n = 0, fixes = 0;
    for (int i = 0; i < entries; i++) {
        size_t len = strlen(names[i]->d_name);
        if (len > 4 && strcmp(names[i]->d_name + len - 4, ".log") == 0 && n < FILES_MAX && (only == NULL || strstr(names[i]->d_name, only) != NULL)) {
            snprintf(r[n].path, sizeof r[n].path, "%s/%.100s", folder, names[i]->d_name);
            snprintf(r[n].name, sizeof r[n].name, "%.100s", names[i]->d_name);
            r[n].lines = lines_of(r[n].path);
            n++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i += AT_ONCE)
        fixes += play(&r[i], n - i < AT_ONCE ? n - i : AT_ONCE);
    printf("recordings %zu, fixes %zu\n", n, fixes);
    if (only == NULL)
        assert_true(fixes > 200);
}

int main(void)
{
    const char *data = getenv("SCHOOLWARD_TEST_DATA");
    snprintf(folder, sizeof folder, "%.300s/protocols/gpsd_daemon", data != NULL ? data : "");
    if (data == NULL || access(folder, R_OK) != 0 || system("command -v gpsfake >/dev/null 2>&1") != 0) {
        printf("skipped: needs SCHOOLWARD_TEST_DATA with protocols/gpsd_daemon, and gpsfake\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(recordings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
