/*
 * One recording per driver: recordings/DRIVER.in through the real driver on a real line (pty, TCP, file), against recordings/DRIVER.expect, the
 * events in order as replay_line.h writes them, without their times. A driver without a recording fails the last test.
 */
#include "../unit/gateway/devices_kit.h"

#include "gateway/drivers/replay_line.h"

#define LINES_MAX 200

struct line {
    int64_t ms;
    char text[1000];
};

static struct line *read_recording(const char *driver, size_t *ret_n)
{
    char path[600], text[1200];
    snprintf(path, sizeof path, "%.400s/tests/replay/recordings/%s.in", getenv("SCHOOLWARD_SOURCE") != NULL ? getenv("SCHOOLWARD_SOURCE") : ".", driver);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        fail_msg("%s: no recording", path);
    struct line *l = calloc(LINES_MAX, sizeof *l);
    size_t n = 0;
    while (fgets(text, sizeof text, f) != NULL && n < LINES_MAX) {
        int used = 0;
        long long ms = 0;
        if (text[0] == '#' || sscanf(text, "%lld %n", &ms, &used) != 1)
            continue;
        text[strcspn(text, "\r\n")] = '\0';
        l[n].ms = ms;
        snprintf(l[n++].text, sizeof l[0].text, "%.999s", text + used);
    }
    fclose(f);
    *ret_n = n;
    return l;
}

/* Health of line and silence is device.c's and not part of a recording; what the device says of itself is. */
static bool counts(const struct event *e)
{
    return e->kind != EVENT_HEALTH || e->health.code > 255;
}

static void compare(const struct kit *k, const char *driver)
{
    char path[600], want[300], got[300];
    snprintf(path, sizeof path, "%.400s/tests/replay/recordings/%s.expect", getenv("SCHOOLWARD_SOURCE") != NULL ? getenv("SCHOOLWARD_SOURCE") : ".", driver);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t i = 0, differences = 0, n = 0;
    for (;;) {
        while (i < k->n && !counts(&k->got[i].e))
            i++;
        bool more = fgets(want, sizeof want, f) != NULL;
        if (!more && i >= k->n)
            break;
        want[more ? strcspn(want, "\n") : 0] = '\0';
        got[0] = '\0';
        if (i < k->n)
            replay_line_format(0, &k->got[i++].e, got, sizeof got);
        const char *words = got[0] != '\0' ? got + 2 : "";
        n++;
        if (strcmp(words, want) != 0) {
            differences++;
            printf("%s event %zu\n  expected: %s\n  was:      %s\n", driver, n, want, words);
        }
    }
    fclose(f);
    printf("%s: %zu events\n", driver, n);
    assert_int_equal(differences, 0);
}

/* Feed the lines at their times from the loop. */
struct feed {
    struct kit *k;
    struct line *line;
    size_t n, at;
    int64_t began_ms;
    void (*take)(struct feed *f, const char *text);
    int fd;
    struct kit_slave *slave;
    uv_timer_t timer;
};

static void feed_tick(uv_timer_t *t)
{
    struct feed *f = t->data;
    while (f->at < f->n && clock_mono_ms() - f->began_ms >= f->line[f->at].ms)
        f->take(f, f->line[f->at++].text);
}

static bool fed(struct kit *k, void *arg)
{
    (void)k;
    const struct feed *f = arg;
    return f->at == f->n;
}

static void run_feed(struct feed *f, unsigned after_ms)
{
    f->timer.data = f;
    f->began_ms = clock_mono_ms();
    uv_timer_init(&f->k->loop, &f->timer);
    uv_timer_start(&f->timer, feed_tick, 0, 5);
    assert_true(kit_until(f->k, fed, f, 30000));
    kit_run_ms(f->k, after_ms);
    uv_close((uv_handle_t *)&f->timer, NULL);
}

static void take_register(struct feed *f, const char *text)
{
    unsigned addr = 0, value = 0;
    assert_int_equal(sscanf(text, "%u %u", &addr, &value), 2);
    atomic_store(&f->slave->words[addr], (uint16_t)(value >> 16));
    atomic_store(&f->slave->words[addr + 1], (uint16_t)value);
}

static void take_bit(struct feed *f, const char *text)
{
    unsigned addr = 0, value = 0;
    assert_int_equal(sscanf(text, "%u %u", &addr, &value), 2);
    atomic_store(&f->slave->bits[addr], (uint8_t)value);
}

static void take_bytes(struct feed *f, const char *text)
{
    uint8_t bytes[500];
    size_t n = 0;
    while (n < sizeof bytes && sscanf(text + 2 * n, "%2hhx", &bytes[n]) == 1)
        n++;
    kit_put(f->fd, bytes, n);
}

static void take_text(struct feed *f, const char *text)
{
    char line[1002];
    int n = snprintf(line, sizeof line, "%s\n", text);
    kit_put(f->fd, line, (size_t)n);
}

static void modbus_recording(const char *driver, const char *options, void (*take)(struct feed *, const char *), unsigned after_ms)
{
    char name[64];
    struct kit_slave slave = {.address = 1};
    struct kit_wire wire = {.fd = kit_pty(name), .slave = {&slave}, .slaves = 1};
    struct feed f = {.k = kit_new(), .slave = &slave, .take = take};
    f.line = read_recording(driver, &f.n);
    while (f.at < f.n && f.line[f.at].ms == 0) /* what is there at the first reading */
        take(&f, f.line[f.at++].text);
    kit_wire_start(&wire);
    kit_start(f.k, driver, "x", 0, "port=%s;%s", name, options);
    run_feed(&f, after_ms);
    compare(f.k, driver);
    kit_free(f.k);
    kit_wire_stop(&wire);
    close(wire.fd);
    free(f.line);
}

static void counter(void **state)
{
    (void)state;
    modbus_recording("counter", "poll_ms=500;timeout_ms=400;report_s=3600", take_register, 1200);
}

static void inputs(void **state)
{
    (void)state;
    modbus_recording("inputs", "poll_ms=50;timeout_ms=400;report_s=3600", take_bit, 500);
}

static void camera(void **state)
{
    (void)state;
    char name[64];
    struct feed f = {.k = kit_new(), .take = take_bytes, .fd = kit_pty(name)};
    f.line = read_recording("camera", &f.n);
    kit_start(f.k, "camera", "x", 0, "port=%s;unit=0x65", name);
    kit_run_ms(f.k, 100);
    run_feed(&f, 300);
    compare(f.k, "camera");
    kit_free(f.k);
    close(f.fd);
    free(f.line);
}

static void gpsd(void **state)
{
    (void)state;
    uint16_t port = 0;
    int listener = kit_listen(&port);
    struct feed f = {.k = kit_new(), .take = take_text, .fd = -1};
    f.line = read_recording("gpsd", &f.n);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    kit_start(f.k, "gpsd", "x", 0, "port=%u;device=/dev/gps0;trust_time=receiver", port);
    /* the driver looks first whether anybody answers, then libgps connects: the conversation is the connection that asks for it */
    char watch[200] = "";
    for (int i = 0; i < 200 && strstr(watch, "WATCH") == NULL; i++) {
        kit_run_ms(f.k, 10);
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            if (f.fd >= 0)
                close(f.fd);
            f.fd = fd;
            fcntl(fd, F_SETFL, O_NONBLOCK);
        }
        if (f.fd >= 0 && read(f.fd, watch, sizeof watch - 1) <= 0)
            watch[0] = '\0';
    }
    assert_non_null(strstr(watch, "WATCH"));
    run_feed(&f, 1500);
    compare(f.k, "gpsd");
    assert_int_equal(kit_figure(f.k->device[0], "bad_lines"), 1);
    kit_free(f.k);
    close(f.fd);
    close(listener);
    free(f.line);
}

static void replay(void **state)
{
    (void)state;
    struct kit *k = kit_new();
    const char *root = getenv("SCHOOLWARD_SOURCE") != NULL ? getenv("SCHOOLWARD_SOURCE") : ".";
    struct device *d = kit_start(k, "replay", "x", 0, "file=%.400s/tests/replay/recordings/replay.in;speed=1", root);
    int64_t began = clock_mono_ms();
    struct kit_want last = {.d = d, .kind = EVENT_INPUTS, .count = 2};
    assert_true(kit_until(k, kit_seen, &last, 3000));
    assert_in_range(clock_mono_ms() - began, 40, 2000); /* it keeps the times of the recording */
    kit_run_ms(k, 100);
    compare(k, "replay");
    assert_int_equal(kit_figure(d, "bad_lines"), 1);
    kit_free(k);
}

/* What is written is read again as the same event. */
static void lines_round_trip(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "1000 fix -31.2304167 121.4737000 8.330 92.50 0.9 12 3 -4.5", "0 fix - - - - - 0 1",        "5 count camera 0 - - 33 80 doubtful",
        "1795390245000 count door 3 1 2 - 0 reset doubtful zeroed",   "7 inputs sos=1 hazard=0", "9 camera bsd end 255 4294967295 10 255 255", "9 health silent -3"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct event e;
        int64_t ms = 0;
        char why[200], again[300];
        assert_int_equal(replay_line_parse(lines[i], &ms, &e, why, sizeof why), RC_OK);
        replay_line_format(ms, &e, again, sizeof again);
        assert_string_equal(again, lines[i]);
    }
    static const char *const wrong[] = {"x fix", "1", "1 fix 1 2", "1 fix 91 0 0 0 0 0 3", "1 count roof 0 1 2 - 5", "1 inputs sos=2", "1 inputs roof=1", "1 camera dsm twice 1 1", "1 health well 0", "-1 inputs"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct event e;
        int64_t ms = 0;
        char why[200] = "";
        enum rc rc = replay_line_parse(wrong[i], &ms, &e, why, sizeof why);
        assert_true(rc == RC_INVALID || rc == RC_RANGE);
        assert_true(why[0] != '\0');
    }
}

static void every_driver_has_one(void **state)
{
    (void)state;
    for (size_t i = 0; driver_all[i] != NULL; i++) {
        size_t n = 0;
        free(read_recording(driver_all[i]->name, &n));
        assert_true(n > 0);
    }
}

int main(void)
{
    kit_devices_folder();
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_round_trip), cmocka_unit_test(replay), cmocka_unit_test(inputs), cmocka_unit_test(counter),
        cmocka_unit_test(camera),           cmocka_unit_test(gpsd),   cmocka_unit_test(every_driver_has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
