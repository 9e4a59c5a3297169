/*
 * One Modbus wire and its faults: late answers, silence, garbage, half frames, exceptions, a sick slave beside a healthy one, a line that hangs up
 * and returns. The slaves answer from recorded register values and misbehave on command.
 */
#include "devices_kit.h"

#include <jansson.h>

#include "gateway/modbus_bus.h"

static struct modbus_bus_setup setup_of(const char *port, unsigned slave, unsigned timeout_ms)
{
    struct modbus_bus_setup s = {.port = {.baud = 115200, .data_bits = 8, .stop_bits = 1}, .slave = slave, .timeout_ms = timeout_ms};
    snprintf(s.port.path, sizeof s.port.path, "%s", port);
    return s;
}

struct bench {
    char name[64];
    struct kit_slave a, b;
    struct kit_wire wire;
    struct modbus_bus_slave *sa, *sb;
    char why[256];
};

static struct bench *bench_new(unsigned timeout_ms)
{
    struct bench *t = calloc(1, sizeof *t);
    t->a.address = 1;
    t->b.address = 2;
    t->wire = (struct kit_wire){.fd = kit_pty(t->name), .slave = {&t->a, &t->b}, .slaves = 2};
    for (int i = 0; i < 128; i++) {
        atomic_store(&t->a.words[i], (uint16_t)(1000 + i));
        atomic_store(&t->b.words[i], (uint16_t)(2000 + i));
    }
    kit_wire_start(&t->wire);
    struct modbus_bus_setup s1 = setup_of(t->name, 1, timeout_ms), s2 = setup_of(t->name, 2, timeout_ms);
    assert_int_equal(modbus_bus_join(&s1, &t->sa, t->why, sizeof t->why), RC_OK);
    assert_int_equal(modbus_bus_join(&s2, &t->sb, t->why, sizeof t->why), RC_OK);
    return t;
}

static void bench_free(struct bench *t)
{
    modbus_bus_leave(t->sa);
    modbus_bus_leave(t->sb);
    kit_wire_stop(&t->wire);
    close(t->wire.fd);
    free(t);
}

static enum rc words(struct bench *t, struct modbus_bus_slave *s, int addr, int n, uint16_t *ret)
{
    t->why[0] = '\0';
    return modbus_bus_read_registers(s, 3, addr, n, ret, t->why, sizeof t->why);
}

static void two_slaves_share(void **state)
{
    (void)state;
    struct bench *t = bench_new(300);
    uint16_t w[4];
    for (int i = 0; i < 20; i++) {
        assert_int_equal(words(t, t->sa, i, 2, w), RC_OK);
        assert_int_equal(w[1], 1001 + i);
        assert_int_equal(words(t, t->sb, i, 2, w), RC_OK);
        assert_int_equal(w[0], 2000 + i);
    }
    assert_int_equal(modbus_bus_write_coil(t->sa, 3, true, t->why, sizeof t->why), RC_OK);
    assert_int_equal(atomic_load(&t->a.bits[3]), 1);
    uint8_t bits[10];
    assert_int_equal(modbus_bus_read_bits(t->sa, 2, 0, 10, bits, t->why, sizeof t->why), RC_OK);
    assert_true(bits[3] == 1 && bits[2] == 0);
    assert_int_equal(modbus_bus_write_register(t->sb, 5, 77, t->why, sizeof t->why), RC_OK);
    assert_int_equal(atomic_load(&t->b.words[5]), 77);
    struct modbus_bus_figures f;
    modbus_bus_figures(t->sa, &f);
    assert_int_equal(f.connects, 1); /* one port, two devices */
    struct modbus_bus_slave *other = NULL;
    struct modbus_bus_setup s = setup_of(t->name, 3, 300);
    s.port.baud = 9600;
    assert_int_equal(modbus_bus_join(&s, &other, t->why, sizeof t->why), RC_INVALID);
    assert_non_null(strstr(t->why, "line settings"));
    bench_free(t);
}

/* The one that corrupts silently: an answer after its time-out must never be the answer to the next request. */
static void late_answers_are_not_believed(void **state)
{
    (void)state;
    struct bench *t = bench_new(100);
    uint16_t w[2];
    unsigned wrong = 0, good = 0;
    atomic_store(&t->a.late_ms, 130); /* past the time-out, within the quiet time after it */
    for (int i = 0; i < 12; i++) {
        atomic_store(&t->a.mood, i % 2 == 0 ? KIT_LATE : KIT_WELL);
        enum rc rc = words(t, t->sa, 4 * i, 2, w);
        if (rc == RC_OK) {
            good++;
            wrong += w[0] != 1000 + 4 * i || w[1] != 1001 + 4 * i;
        } else {
            assert_int_equal(rc, RC_TIMEOUT);
            assert_non_null(strstr(t->why, "does not answer"));
        }
        /* the neighbour asks right after: neither may it get the other's late answer */
        assert_int_equal(words(t, t->sb, 4 * i, 2, w), RC_OK);
        wrong += w[0] != 2000 + 4 * i;
    }
    assert_int_equal(wrong, 0);
    assert_true(good >= 6);
    struct modbus_bus_figures f;
    modbus_bus_figures(t->sa, &f);
    assert_true(f.stale_bytes >= 9 * 5); /* the late answers did come, and were thrown away */
    bench_free(t);
}

static void faults_have_names(void **state)
{
    (void)state;
    struct bench *t = bench_new(150);
    uint16_t w[2];
    static const struct {
        enum kit_mood mood;
        enum rc rc;
        const char *told;
    } faults[] = {
        {KIT_BAD_CRC, RC_INVALID, "garbled"}, {KIT_GARBAGE, RC_INVALID, ""}, {KIT_HALF, RC_TIMEOUT, "does not answer"}, {KIT_EXCEPTION, RC_INVALID, "refuses"}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        w[0] = 4711;
        atomic_store(&t->a.mood, faults[i].mood);
        enum rc rc = words(t, t->sa, 10, 2, w);
        if (faults[i].mood == KIT_GARBAGE)
            assert_true(rc == RC_INVALID || rc == RC_TIMEOUT); /* depends on where libmodbus sees that it is none */
        else
            assert_int_equal(rc, faults[i].rc);
        assert_non_null(strstr(t->why, faults[i].told));
        assert_int_equal(w[0], 4711); /* untouched */
        atomic_store(&t->a.mood, KIT_WELL);
        assert_int_equal(words(t, t->sa, 20, 2, w), RC_OK);
        assert_int_equal(w[0], 1020);
    }
    bench_free(t);
}

/* A dead slave on the same wire: the healthy one is read at 20 Hz; how long does it wait? */
static void a_dead_slave_rests(void **state)
{
    (void)state;
    struct bench *t = bench_new(200);
    uint16_t w[2];
    atomic_store(&t->a.mood, KIT_SILENT);
    int64_t began = clock_mono_ms(), worst = 0, last = began;
    unsigned reads = 0, slow = 0;
    while (clock_mono_ms() - began < 6000) {
        (void)!words(t, t->sa, 0, 2, w);
        assert_int_equal(words(t, t->sb, 0, 2, w), RC_OK);
        int64_t now = clock_mono_ms();
        reads++;
        worst = now - last > worst ? now - last : worst;
        slow += now - last > 150;
        last = now;
        usleep(20000);
    }
    unsigned asked = atomic_load(&t->a.requests);
    printf("dead slave asked %u times in 6 s, neighbour read %u times, slow %u, longest gap %lld ms\n", asked, reads, slow, (long long)worst);
    assert_true(asked <= 7); /* 2, then after 1, 2, 4 s */
    assert_true(slow <= asked + 2); /* the quiet time after the first two, else one time-out per question */
    assert_true(reads > 100);
    /* and it is taken back when it answers */
    atomic_store(&t->a.mood, KIT_WELL);
    enum rc rc = RC_AGAIN;
    for (int i = 0; i < 200 && rc != RC_OK; i++) {
        rc = words(t, t->sa, 0, 2, w);
        usleep(50000);
    }
    assert_int_equal(rc, RC_OK);
    bench_free(t);
}

static void a_line_hangs_up(void **state)
{
    (void)state;
    struct bench *t = bench_new(200);
    uint16_t w[2];
    assert_int_equal(words(t, t->sa, 0, 2, w), RC_OK);
    kit_wire_stop(&t->wire);
    close(t->wire.fd);
    int64_t began = clock_mono_ms();
    assert_int_equal(words(t, t->sa, 0, 2, w), RC_IO);
    assert_true(clock_mono_ms() - began < 500); /* at once, not after a time-out */
    assert_non_null(strstr(t->why, "gone"));
    assert_int_equal(words(t, t->sb, 0, 2, w), RC_IO);
    modbus_bus_leave(t->sa);
    modbus_bus_leave(t->sb);
    struct modbus_bus_setup s = setup_of("/dev/serial/by-id/no-such-adapter", 1, 100);
    assert_int_equal(modbus_bus_join(&s, &t->sa, t->why, sizeof t->why), RC_NOT_FOUND);
    assert_non_null(strstr(t->why, "plugged in"));
    free(t);
}

static void high_descriptors_are_refused(void **state)
{
    (void)state;
    char name[64];
    int master = kit_pty(name), held[1100];
    size_t n = 0;
    while (n < 1100 && (held[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0 && held[n++] < 1030)
        ;
    struct modbus_bus_slave *slave = NULL;
    struct modbus_bus_setup s = setup_of(name, 1, 100);
    char why[256] = "";
    if (n > 0 && held[n - 1] >= 1030) {
        assert_int_equal(modbus_bus_join(&s, &slave, why, sizeof why), RC_IO);
        assert_non_null(strstr(why, "1023"));
    } else {
        printf("descriptors are limited below 1024 here: nothing to refuse\n");
    }
    while (n > 0)
        close(held[--n]);
    close(master);
}

struct late {
    int fd;
    const uint8_t *p;
    size_t n;
};

static void *sender(void *arg)
{
    const struct late *late = arg;
    struct pollfd f = {.fd = late->fd, .events = POLLIN};
    if (poll(&f, 1, 500) > 0) /* the question arrived */
        kit_put(late->fd, late->p, late->n);
    return NULL;
}

/* Replays Modbus RTU answers recorded in other projects' tests as what a slave says; only the one that fits the question may be believed. */
static void foreign_frames(void **state)
{
    (void)state;
    const char *data = getenv("SCHOOLWARD_TEST_DATA");
    char path[512], line[2048];
    snprintf(path, sizeof path, "%s/protocols/modbus_frames.jsonl", data != NULL ? data : "");
    FILE *f = data == NULL ? NULL : fopen(path, "re");
    if (f == NULL)
        skip();
    char name[64];
    int master = kit_pty(name);
    struct modbus_bus_slave *slave = NULL;
    struct modbus_bus_setup s = setup_of(name, 0x11, 60);
    char why[256] = "";
    unsigned fed = 0, believed = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        json_t *o = json_loads(line, 0, NULL);
        const char *hex = json_string_value(json_object_get(o, "hex"));
        uint8_t bytes[512];
        size_t n = 0;
        for (; hex != NULL && hex[2 * n] != '\0' && hex[2 * n + 1] != '\0' && n < sizeof bytes; n++)
            sscanf(hex + 2 * n, "%2hhx", &bytes[n]);
        if (n > 0) {
            /* The frame lies on the line before the question and comes once more after it. */
            uint16_t w[2] = {0, 0};
            assert_int_equal(modbus_bus_join(&s, &slave, why, sizeof why), RC_OK); /* a fresh place: one that timed out would rest */
            kit_put(master, bytes, n);
            pthread_t thread;
            struct late late = {master, bytes, n};
            assert_int_equal(pthread_create(&thread, NULL, sender, &late), 0);
            enum rc rc = modbus_bus_read_registers(slave, 3, 0x7c, 2, w, why, sizeof why);
            pthread_join(thread, NULL);
            fed++;
            if (rc == RC_OK) {
                believed++;
                /* 11 03 04 hi lo hi lo crc crc: the only shape that answers this question */
                assert_true(n >= 9 && bytes[0] == 0x11 && bytes[1] == 3 && bytes[2] == 4);
                assert_int_equal(kit_crc(bytes, 7), bytes[7] | bytes[8] << 8);
                assert_int_equal(w[0], bytes[3] << 8 | bytes[4]);
            }
            modbus_bus_leave(slave);
            uint8_t junk[512];
            while (read(master, junk, sizeof junk) > 0)
                ;
            usleep(1000);
        }
        json_decref(o);
    }
    fclose(f);
    printf("foreign frames fed %u, believed %u\n", fed, believed);
    assert_true(fed > 30 && believed >= 1);
    close(master);
}

int main(void)
{
    kit_devices_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_slaves_share),   cmocka_unit_test(late_answers_are_not_believed), cmocka_unit_test(faults_have_names),
        cmocka_unit_test(a_dead_slave_rests), cmocka_unit_test(a_line_hangs_up),               cmocka_unit_test(high_descriptors_are_refused),
        cmocka_unit_test(foreign_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
