/* Passenger counters: register arithmetic, jumps, resets, power cuts, and the driver against real libmodbus slaves. */
#include "devices_kit.h"

#include <modbus.h>

#include "gateway/drivers/total.h"

static const struct regmap_counter plain = {.function = 4, .width = 32, .scale = 1, .power_up = REGMAP_POWER_ZERO, .max_persons_per_s = 3};

static void word_orders(void **state)
{
    (void)state;
    /* 0x47F12000 in the four orders, as libmodbus' own tests have it for 123456.0f */
    static const uint16_t words[4][2] = {{0x47F1, 0x2000}, {0x2000, 0x47F1}, {0xF147, 0x0020}, {0x0020, 0xF147}};
    for (int order = 0; order < 4; order++) {
        struct regmap_counter m = plain;
        m.order = order;
        assert_int_equal(regmap_value(&m, words[order]), 0x47F12000);
    }
    struct regmap_counter m = plain;
    m.width = 16;
    assert_int_equal(regmap_value(&m, (uint16_t[]){0xFFFE}), 0xFFFE);
    m.is_signed = true;
    assert_int_equal(regmap_value(&m, (uint16_t[]){0xFFFE}), -2);
    m.width = 32;
    assert_int_equal(regmap_value(&m, (uint16_t[]){0xFFFF, 0xFFFE}), -2);
}

static void rollover(void **state)
{
    (void)state;
    struct regmap_counter m = plain;
    assert_int_equal(regmap_delta(&m, 0xFFFFFFFE, 3), 5);
    m.width = 16;
    assert_int_equal(regmap_delta(&m, 65534, 3), 5);
    m.rollover = 10000;
    assert_int_equal(regmap_delta(&m, 9999, 1), 2);
    m.is_signed = true;
    assert_int_equal(regmap_delta(&m, 5, 3), -2);

    struct total t = {.based = false};
    m = plain;
    m.width = 16;
    assert_int_equal(total_step(&t, &m, 65533, 0), 0);
    assert_int_equal(t.persons, 0); /* the first reading is the base, not persons */
    assert_int_equal(total_step(&t, &m, 1, 1000), 0);
    assert_int_equal(t.persons, 4);
}

static void jumps_and_resets(void **state)
{
    (void)state;
    struct total t = {.based = false};
    assert_int_equal(total_step(&t, &plain, 1000, 0), 0);
    assert_int_equal(total_step(&t, &plain, 1005, 1000), 0);
    assert_int_equal(t.persons, 5); /* 3 per second and two of a burst */
    assert_int_equal(total_step(&t, &plain, 1011, 2000), EVENT_COUNT_DOUBTFUL);
    assert_int_equal(t.persons, 5); /* six in a second: not added, new base */
    assert_int_equal(total_step(&t, &plain, 1012, 3000), 0);
    assert_int_equal(t.persons, 6);
    /* swapped words for one reading: both edges are jumps, nothing is added */
    assert_int_equal(total_step(&t, &plain, 1012u << 16, 4000), EVENT_COUNT_DOUBTFUL);
    assert_int_equal(total_step(&t, &plain, 1012, 5000), EVENT_COUNT_DOUBTFUL);
    assert_int_equal(t.persons, 6);
    /* the device lost power */
    assert_int_equal(total_step(&t, &plain, 0, 6000), EVENT_COUNT_RESET);
    assert_int_equal(total_step(&t, &plain, 2, 7000), 0);
    assert_int_equal(t.persons, 8);
    /* and again, two persons passed before the first reading: they may be missing */
    assert_int_equal(total_step(&t, &plain, 3, 8000), 0);
    assert_int_equal(total_step(&t, &plain, 2, 9000), EVENT_COUNT_RESET | EVENT_COUNT_DOUBTFUL);
    assert_int_equal(t.persons, 9);
    /* a device that keeps its totals never goes down: that is no restart */
    struct regmap_counter keeps = plain;
    keeps.power_up = REGMAP_POWER_KEEP;
    assert_int_equal(total_step(&t, &keeps, 0, 10000), EVENT_COUNT_DOUBTFUL);
    /* however long it was away, no bus takes on more than TOTAL_BURST_MAX */
    assert_int_equal(total_step(&t, &plain, TOTAL_BURST_MAX + 1, 10000 + 86400000), EVENT_COUNT_DOUBTFUL);
    assert_int_equal(total_step(&t, &plain, 2 * TOTAL_BURST_MAX + 1, 10000 + 2 * 86400000), 0);
    /* a counter that publishes when the door closes: read every second, thirty children after a quarter of a minute */
    int64_t now = INT64_C(3) * 86400000, raw = 2 * TOTAL_BURST_MAX + 1;
    int32_t before = t.persons;
    for (int i = 0; i < 15; i++)
        assert_int_equal(total_step(&t, &plain, raw, now += 1000), 0);
    assert_int_equal(total_step(&t, &plain, raw + 30, now + 1000), 0);
    assert_int_equal(t.persons, before + 30);
}

static void half_persons(void **state)
{
    (void)state;
    struct regmap_counter m = plain;
    struct total t = {.based = false};
    m.scale = 0.5; /* two edges each */
    int64_t now = 0;
    for (int raw = 100; raw <= 121; raw++)
        assert_int_equal(total_step(&t, &m, raw, now += 1000), 0);
    assert_int_equal(t.persons, 10);
    assert_int_equal(total_step(&t, &m, 122, now + 1000), 0);
    assert_int_equal(t.persons, 11);
}

static void shipped_maps(void **state)
{
    (void)state;
    struct regmap_counter m;
    char why[256] = "";
    static const char *const names[] = {"generic-counter", "isma-sfar-4di.conf", "hardwario-gauger"};
    for (size_t i = 0; i < 3; i++)
        if (regmap_read_counter(names[i], &m, why, sizeof why) != RC_OK)
            fail_msg("%s", why);
    assert_int_equal(regmap_read_counter("isma-sfar-4di", &m, why, sizeof why), RC_OK);
    assert_int_equal(m.order, REGMAP_CDAB);
    assert_int_equal(m.door[1].out, 0x3A);
    assert_int_equal(regmap_read_counter("generic-inputs", &m, why, sizeof why), RC_INVALID);
    assert_non_null(strstr(why, "[counter]"));
    assert_int_equal(regmap_read_counter("no-such-model", &m, why, sizeof why), RC_INVALID);
    assert_non_null(strstr(why, "no-such-model"));
}

static void wrong_maps(void **state)
{
    (void)state;
    static const struct {
        const char *text, *told;
    } wrong[] = {
        {"[counter]\nmodel=x\nfunction=4\n", "no door"},
        {"[counter]\nmodel=x\nfunction=5\n[door 0]\nin=0\n", "function"},
        {"[counter]\nmodel=x\nfunction=4\nwidth=24\n[door 0]\nin=0\n", "16 or 32"},
        {"[counter]\nmodel=x\nfunction=4\n[door 7]\nin=0\n", "no such door"},
        {"[counter]\nmodel=x\nfunction=4\n[door 0]\nin=0\nout=1\n", "overlap"},
        {"[counter]\nmodel=x\nfunction=4\nreset=start\n[door 0]\nin=0\n", "reset_coil"},
        {"[counter]\nmodel=x\nfunction=4\nwidht=32\n[door 0]\nin=0\n", "widht"},
        {"[counter]\nmodel=x\nfunction=4\nwidth=16\nrollover=70000\n[door 0]\nin=0\n", "65536"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct regmap_counter m = {.function = 77};
        char why[256] = "";
        assert_int_equal(regmap_text_counter(wrong[i].text, strlen(wrong[i].text), "x.conf", &m, why, sizeof why), RC_INVALID);
        if (strstr(why, wrong[i].told) == NULL)
            fail_msg("%zu: \"%s\" does not tell of %s", i, why, wrong[i].told);
        assert_int_equal(m.function, 77); /* untouched */
    }
}

static void plans(void **state)
{
    (void)state;
    struct regmap_block b[REGMAP_BLOCKS];
    int32_t at[] = {6, 0, 4, 2, 100};
    assert_int_equal(regmap_plan(at, 5, 2, 0, 125, b), 2);
    assert_true(b[0].first == 0 && b[0].n == 8 && b[1].first == 100 && b[1].n == 2);
    int32_t near[] = {0, 4};
    assert_int_equal(regmap_plan(near, 2, 2, 2, 125, b), 1);
    assert_int_equal(b[0].n, 6);
    int32_t far[] = {0, 124};
    assert_int_equal(regmap_plan(far, 2, 2, 125, 125, b), 2); /* one request would be too long */
}

/* --- the driver against a libmodbus slave --- */

struct real_slave {
    modbus_t *ctx;
    modbus_mapping_t *map;
    int listener;
    pthread_t thread;
    atomic_bool stop;
};

static void *real_main(void *arg)
{
    struct real_slave *s = arg;
    uint8_t q[MODBUS_MAX_ADU_LENGTH];
    int fd = s->listener;
    while (!atomic_load(&s->stop)) {
        struct pollfd p = {.fd = s->listener >= 0 && fd == s->listener ? s->listener : modbus_get_socket(s->ctx), .events = POLLIN};
        if (poll(&p, 1, 50) <= 0)
            continue;
        if (s->listener >= 0 && fd == s->listener) {
            fd = accept(s->listener, NULL, NULL);
            modbus_set_socket(s->ctx, fd);
            continue;
        }
        if (p.revents & POLLHUP)
            usleep(2000);
        int n = modbus_receive(s->ctx, q);
        if (n > 0) {
            modbus_reply(s->ctx, q, n, s->map);
        } else if (n < 0 && s->listener >= 0) {
            close(fd);
            fd = s->listener;
        }
    }
    if (s->listener >= 0 && fd != s->listener)
        close(fd);
    return NULL;
}

static void set32(struct real_slave *s, int addr, uint32_t v)
{
    s->map->tab_input_registers[addr] = (uint16_t)(v >> 16);
    s->map->tab_input_registers[addr + 1] = (uint16_t)v;
}

static bool boarded_is(const struct event *e, void *arg)
{
    return e->count.boarded == *(int *)arg;
}

static bool wait_boarded(struct kit *k, struct device *d, int boarded, unsigned ms)
{
    struct kit_want w = {.d = d, .kind = EVENT_COUNT, .extra = boarded_is, .arg = &boarded};
    return kit_until(k, kit_seen, &w, ms);
}

static void count_children(struct real_slave *s, const char *port)
{
    struct kit *k = kit_new();
    set32(s, 0, 100);
    set32(s, 2, 40);
    struct device *d = kit_start(k, "counter", "door-front", 0, "port=%s;slave=7;poll_ms=100;timeout_ms=300", port);
    assert_true(wait_boarded(k, d, 0, 5000));
    set32(s, 0, 102);
    assert_true(wait_boarded(k, d, 2, 5000));
    set32(s, 0, 103);
    set32(s, 2, 41);
    assert_true(wait_boarded(k, d, 3, 5000));
    const struct event_count *c = &k->got[k->n - 1].e.count;
    for (size_t i = 0; i < k->n; i++)
        if (k->got[i].e.kind == EVENT_COUNT && k->got[i].e.count.door == 0)
            c = &k->got[i].e.count;
    assert_int_equal(c->source, EVENT_COUNT_DOOR);
    assert_int_equal(c->aboard, EVENT_UNKNOWN);
    assert_int_equal(c->confidence_pct, 95);
    assert_int_equal(c->flags, 0);
    /* the device loses power and comes back at zero: the totals go on */
    set32(s, 0, 0);
    set32(s, 2, 0);
    kit_run_ms(k, 300);
    set32(s, 0, 1);
    assert_true(wait_boarded(k, d, 4, 5000));
    assert_true(kit_figure(d, "device_restarts") >= 1);
    assert_int_equal(device_state(d), EVENT_DEVICE_OK);
    kit_free(k);
}

static void rtu_slave(void **state)
{
    (void)state;
    char name[64];
    int master = kit_pty(name);
    struct real_slave s = {.ctx = modbus_new_rtu("pty", 9600, 'N', 8, 1), .map = modbus_mapping_new(16, 16, 16, 16), .listener = -1};
    modbus_set_slave(s.ctx, 7);
    modbus_set_socket(s.ctx, master);
    assert_int_equal(pthread_create(&s.thread, NULL, real_main, &s), 0);
    count_children(&s, name);
    atomic_store(&s.stop, true);
    pthread_join(s.thread, NULL);
    close(master);
    modbus_mapping_free(s.map);
    modbus_free(s.ctx);
}

static void tcp_slave(void **state)
{
    (void)state;
    uint16_t number = 0;
    char port[64];
    struct real_slave s = {.ctx = modbus_new_tcp("127.0.0.1", 1502), .map = modbus_mapping_new(16, 16, 16, 16), .listener = kit_listen(&number)};
    snprintf(port, sizeof port, "tcp:127.0.0.1:%u", number);
    assert_int_equal(pthread_create(&s.thread, NULL, real_main, &s), 0);
    count_children(&s, port);
    atomic_store(&s.stop, true);
    pthread_join(s.thread, NULL);
    close(s.listener);
    modbus_mapping_free(s.map);
    modbus_free(s.ctx);
}

static void keeps_totals_over_a_power_cut(void **state)
{
    (void)state;
    char name[64], file[] = "/tmp/schoolward-counter-XXXXXX";
    close(mkstemp(file));
    struct kit_slave slave = {.address = 1};
    struct kit_wire wire = {.fd = kit_pty(name), .slave = {&slave}, .slaves = 1};
    kit_wire_start(&wire);
    atomic_store(&slave.words[1], 10);
    for (int round = 0; round < 2; round++) {
        struct kit *k = kit_new();
        struct device *d = kit_start(k, "counter", "door", 0, "port=%s;poll_ms=100;timeout_ms=300;state=%s", name, file);
        if (round == 0) {
            assert_true(wait_boarded(k, d, 0, 5000));
            atomic_store(&slave.words[1], 12);
            assert_true(wait_boarded(k, d, 2, 5000));
        } else {
            assert_true(wait_boarded(k, d, 4, 5000)); /* two boarded while the gateway was off */
        }
        kit_free(k);
        atomic_store(&slave.words[1], 14);
    }
    kit_wire_stop(&wire);
    close(wire.fd);
    unlink(file);
}

int main(void)
{
    kit_devices_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(word_orders),  cmocka_unit_test(rollover),   cmocka_unit_test(jumps_and_resets), cmocka_unit_test(half_persons),
        cmocka_unit_test(shipped_maps), cmocka_unit_test(wrong_maps), cmocka_unit_test(plans),            cmocka_unit_test(rtu_slave),
        cmocka_unit_test(tcp_slave),    cmocka_unit_test(keeps_totals_over_a_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
