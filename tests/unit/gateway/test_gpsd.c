/*
 * gpsd: which report becomes a fix and when, the 1024-week epoch, and the driver with a real gpsd on a pseudo terminal: silence, restart, a
 * receiver without a fix.
 */
#include "devices_kit.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "gateway/drivers/fixpick.h"

static const struct fixpick_setup setup = {.repair = false, .settle_ms = 250, .patience_ms = 900};

static struct fixpick_report report(int64_t time_ms, int mode, bool speed, bool track)
{
    struct fixpick_report r = {.time_ms = time_ms};
    r.fix = (struct event_fix){.lat_e7 = mode >= 2 ? 312304167 : EVENT_UNKNOWN,
                               .lon_e7 = mode >= 2 ? 1214737000 : EVENT_UNKNOWN,
                               .speed_mmps = speed ? 8000 : EVENT_UNKNOWN,
                               .track_cdeg = track ? 9000 : EVENT_UNKNOWN,
                               .alt_dm = mode == 3 ? 45 : EVENT_UNKNOWN,
                               .hdop_d = EVENT_UNKNOWN,
                               .mode = (uint8_t)mode};
    return r;
}

static void one_fix_per_time(void **state)
{
    (void)state;
    struct fixpick p = {.waiting = false};
    struct event e;
    int64_t next;
    const int64_t t = INT64_C(1795390245000);
    struct fixpick_report r = report(t, 3, false, false);
    assert_int_equal(fixpick_take(&p, &setup, &r, t, 0, &e), 0);
    r = report(t, 3, true, true);
    r.fix.lat_e7++;
    assert_int_equal(fixpick_take(&p, &setup, &r, t, 100, &e), 0);
    r = report(t, 3, true, false); /* a poorer one later does not replace it */
    assert_int_equal(fixpick_take(&p, &setup, &r, t, 200, &e), 0);
    assert_int_equal(fixpick_due(&p, &setup, 240, false, &e, &next), 0);
    assert_int_equal(next, 10);
    assert_int_equal(fixpick_due(&p, &setup, 250, false, &e, &next), 1);
    assert_true(e.time_ms == t && e.fix.lat_e7 == 312304168 && e.clock == EVENT_CLOCK_GNSS);
    r = report(t, 3, true, true); /* too late: given out already */
    assert_int_equal(fixpick_take(&p, &setup, &r, t, 300, &e), 0);
    assert_int_equal(fixpick_due(&p, &setup, 9000, false, &e, &next), 0);
    /* too late as well: the same second from before the receiver found its week */
    r = report(t - FIXPICK_WEEKS_MS, 3, true, true);
    assert_int_equal(fixpick_take(&p, &(struct fixpick_setup){.repair = true, .settle_ms = 250, .patience_ms = 900}, &r, t, 300, &e), 0);
    assert_int_equal(fixpick_due(&p, &setup, 9000, false, &e, &next), 0);
    /* an incomplete one has more patience, unless the next second begins */
    r = report(t + 1000, 3, true, false);
    assert_int_equal(fixpick_take(&p, &setup, &r, t, 1000, &e), 0);
    assert_int_equal(fixpick_due(&p, &setup, 1800, false, &e, &next), 0);
    assert_int_equal(fixpick_due(&p, &setup, 1900, false, &e, &next), 1);
    r = report(t + 2000, 3, true, false);
    assert_int_equal(fixpick_take(&p, &setup, &r, t, 2000, &e), 0);
    r = report(t + 3000, 3, true, false);
    assert_int_equal(fixpick_take(&p, &setup, &r, t, 2300, &e), 1);
    assert_int_equal(e.time_ms, t + 2000);
    /* and at the end whatever waits is given out */
    assert_int_equal(fixpick_due(&p, &setup, 0, true, &e, &next), 1);
    assert_int_equal(e.time_ms, t + 3000);
}

static void reports_without_time(void **state)
{
    (void)state;
    struct fixpick p = {.waiting = false};
    struct event e;
    unsigned positions = 0, none = 0;
    struct fixpick_report r = report(0, 1, false, false);
    for (int ms = 0; ms < 5000; ms += 100)
        none += (unsigned)fixpick_take(&p, &setup, &r, 0, ms, &e);
    assert_int_equal(none, 5); /* no fix: once a second */
    assert_int_equal(e.time_ms, 0);
    struct fixpick q = {.waiting = false};
    r = report(0, 3, true, true);
    for (int ms = 0; ms < 4900; ms += 100)
        positions += (unsigned)fixpick_take(&q, &setup, &r, 0, ms, &e);
    assert_int_equal(positions, 0); /* mode 3 before the first date: nobody's second, and not 1970 */
    for (int ms = 5000; ms < 8000; ms += 100)
        positions += (unsigned)fixpick_take(&q, &setup, &r, 0, ms, &e);
    assert_int_equal(positions, 3); /* a receiver that never gives a date: the gateway's clock */
    assert_int_equal(e.clock, EVENT_CLOCK_SYSTEM);
}

static void week_epochs(void **state)
{
    (void)state;
    const int64_t now = INT64_C(1795390245000), weeks = INT64_C(1024) * 7 * 86400000;
    assert_int_equal(fixpick_time(now, now, true), now);
    assert_int_equal(fixpick_time(now - weeks, now, true), now);         /* the receiver's own roll-over */
    assert_int_equal(fixpick_time(now + weeks - 5000, now, true), now - 5000); /* gpsd moved an old date forward */
    assert_int_equal(fixpick_time(now - 2 * weeks, now, true), now);
    assert_int_equal(fixpick_time(now - weeks, now, false), now - weeks);          /* an old recording stays old */
    assert_int_equal(fixpick_time(now - weeks, 1000, true), now - weeks);          /* our clock was never set: the receiver knows better */
    const int64_t off = now - weeks - 3 * 86400000LL;
    assert_int_equal(fixpick_time(off, now, true), off); /* does not land within a day: not that fault */
    assert_int_equal(fixpick_time(now - 40LL * 86400000, now, true), now - 40LL * 86400000);
}

/* --- a real gpsd on a pseudo terminal --- */

struct station {
    char name[64];
    int fd;
    uint16_t port;
    pid_t gpsd;
};

static void start_gpsd(struct station *s)
{
    char port[8];
    snprintf(port, sizeof port, "%u", s->port);
    s->gpsd = fork();
    if (s->gpsd == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execlp("gpsd", "gpsd", "-N", "-n", "-b", "-S", port, s->name, (char *)NULL);
        execlp("/usr/sbin/gpsd", "gpsd", "-N", "-n", "-b", "-S", port, s->name, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bool up = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
        close(fd);
        if (up)
            return;
        usleep(20000);
    }
    fail_msg("gpsd does not come up");
}

static void stop_gpsd(struct station *s)
{
    if (s->gpsd > 0) {
        kill(s->gpsd, SIGKILL);
        waitpid(s->gpsd, NULL, 0);
        s->gpsd = 0;
    }
}

static void say(int fd, const char *body)
{
    char line[128];
    unsigned sum = 0;
    for (const char *c = body; *c != '\0'; c++)
        sum ^= (unsigned char)*c;
    int n = snprintf(line, sizeof line, "$%s*%02X\r\n", body, sum);
    kit_put(fd, line, (size_t)n);
}

static bool station_fix = true, station_speaks = true;
static struct station *station;

static void second(uv_timer_t *t)
{
    (void)t;
    char body[100];
    static int moved;
    if (!station_speaks)
        return;
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    char hms[16], dmy[16];
    strftime(hms, sizeof hms, "%H%M%S.00", &tm);
    snprintf(dmy, sizeof dmy, "%02u%02u%02u", (unsigned)tm.tm_mday % 100, (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_year % 100);
    if (station_fix) {
        moved++;
        snprintf(body, sizeof body, "GPGGA,%s,3113.%04d,N,12128.4220,E,1,09,0.9,4.5,M,0.0,M,,", hms, 8250 + moved);
        say(station->fd, body);
        say(station->fd, "GPGSA,A,3,01,02,03,04,05,06,07,08,09,,,,1.5,0.9,1.2");
        snprintf(body, sizeof body, "GPRMC,%s,A,3113.%04d,N,12128.4220,E,16.20,092.50,%s,,,A", hms, 8250 + moved, dmy);
    } else {
        snprintf(body, sizeof body, "GPGGA,%s,,,,,0,00,99.9,,M,,M,,", hms);
        say(station->fd, body);
        say(station->fd, "GPGSA,A,1,,,,,,,,,,,,,99.9,99.9,99.9");
        snprintf(body, sizeof body, "GPRMC,%s,V,,,,,,,%s,,,N", hms, dmy);
    }
    say(station->fd, body);
}

static bool is_fix(const struct event *e, void *arg)
{
    (void)arg;
    return event_fix_valid(&e->fix) && e->fix.speed_mmps != EVENT_UNKNOWN && e->clock == EVENT_CLOCK_GNSS;
}

static bool is_no_fix(const struct event *e, void *arg)
{
    (void)arg;
    return e->fix.mode == EVENT_FIX_NONE && e->fix.lat_e7 == EVENT_UNKNOWN;
}

static void silence_restart_no_fix(void **state)
{
    (void)state;
    if (access("/usr/sbin/gpsd", X_OK) != 0)
        skip();
    struct station s = {.port = kit_free_port()};
    station = &s;
    s.fd = kit_pty(s.name);
    chmod(s.name, 0666); /* gpsd gives up root */
    start_gpsd(&s);
    struct kit *k = kit_new();
    uv_timer_t t;
    uv_timer_init(&k->loop, &t);
    uv_timer_start(&t, second, 100, 1000);
    struct device *d = kit_start(k, "gpsd", "gnss", 3000, "port=%u", s.port);
    struct kit_want fix = {.d = d, .kind = EVENT_FIX, .extra = is_fix, .count = 4};
    assert_true(kit_until(k, kit_seen, &fix, 20000));
    const struct event *e = &k->got[fix.last].e;
    assert_in_range(e->fix.speed_mmps, 8329, 8340); /* 16.2 knots */
    assert_int_equal(e->fix.track_cdeg, 9250);
    assert_in_range(e->fix.lat_e7, 312300000, 312500000);
    assert_true(llabs(e->time_ms - clock_wall_ms()) < 3000);
    for (size_t i = 0; i < k->n; i++) /* nothing doubled */
        for (size_t j = 0; j < i; j++)
            if (k->got[i].e.kind == EVENT_FIX && k->got[j].e.kind == EVENT_FIX && k->got[i].e.clock == EVENT_CLOCK_GNSS)
                assert_true(k->got[i].e.time_ms != k->got[j].e.time_ms);
    /* the antenna is lost: reports without a fix are events too, and the device is well */
    station_fix = false;
    struct kit_want none = {.d = d, .kind = EVENT_FIX, .extra = is_no_fix, .from = k->n, .count = 2};
    assert_true(kit_until(k, kit_seen, &none, 10000));
    assert_int_equal(device_state(d), EVENT_DEVICE_OK);
    /* the receiver falls silent: gpsd says nothing of it */
    station_speaks = false;
    int64_t began = clock_mono_ms();
    struct kit_want silent = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_SILENT, .from = k->n};
    assert_true(kit_until(k, kit_seen, &silent, 10000));
    printf("silence noticed after %lld ms\n", (long long)(clock_mono_ms() - began));
    station_speaks = station_fix = true;
    struct kit_want well = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_OK, .from = k->n};
    assert_true(kit_until(k, kit_seen, &well, 10000));
    /* gpsd is killed and comes back */
    size_t from = k->n;
    stop_gpsd(&s);
    struct kit_want failed = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_FAILED, .from = from};
    assert_true(kit_until(k, kit_seen, &failed, 3000));
    kit_run_ms(k, 1200);
    start_gpsd(&s);
    struct kit_want again = {.d = d, .kind = EVENT_FIX, .extra = is_fix, .from = k->n};
    assert_true(kit_until(k, kit_seen, &again, 25000));
    uv_close((uv_handle_t *)&t, NULL);
    kit_free(k);
    stop_gpsd(&s);
    close(s.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_fix_per_time), cmocka_unit_test(reports_without_time), cmocka_unit_test(week_epochs),
                                       cmocka_unit_test(silence_restart_no_fix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
