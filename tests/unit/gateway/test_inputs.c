/* Doors, brake, one-key alarm: levels from samples, the driver on a wire with a sick neighbour, outputs, a line that goes and comes back. */
#include "devices_kit.h"

#include "gateway/drivers/level.h"
#include "gateway/drivers/reading.h"

static void debounce_hold_latch(void **state)
{
    (void)state;
    struct regmap_input in = {.fitted = true, .debounce_ms = 100};
    struct level l = {.known = false};
    assert_true(level_step(&l, &in, true, 0)); /* the first sample counts at once */
    assert_true(level_step(&l, &in, false, 10));
    assert_true(level_step(&l, &in, true, 60)); /* a bounce */
    assert_true(level_step(&l, &in, false, 110));
    assert_true(level_step(&l, &in, false, 200));
    assert_false(level_step(&l, &in, false, 210));

    struct regmap_input blink = {.fitted = true, .hold_ms = 1500};
    struct level b = {.known = false};
    for (int64_t t = 0; t < 10000; t += 100)
        assert_int_equal(level_step(&b, &blink, t / 500 % 2 == 0, t), true); /* 1 Hz */
    assert_true(level_step(&b, &blink, false, 10800));
    assert_false(level_step(&b, &blink, false, 11500));

    struct regmap_input sos = {.fitted = true, .latch_s = 30, .inverted = true};
    struct level s = {.known = false};
    assert_false(level_step(&s, &sos, true, 0));
    assert_true(level_step(&s, &sos, false, 50)); /* pressed for one sample */
    assert_true(level_step(&s, &sos, true, 100));
    assert_true(level_step(&s, &sos, true, 30000));
    assert_false(level_step(&s, &sos, true, 30051));
}

static void wrong_maps(void **state)
{
    (void)state;
    static const struct {
        const char *text, *told;
    } wrong[] = {
        {"[inputs]\nmodel=x\nfunction=2\n", "no input"},
        {"[inputs]\nmodel=x\nfunction=2\n[input roof]\naddress=0\n", "no such input"},
        {"[inputs]\nmodel=x\nfunction=2\n[input sos]\naddress=0\n[output horn]\ncoil=0\n", "no such output"},
        {"[inputs]\nmodel=x\nfunction=2\n[input sos]\n", "address"},
        {"[inputs]\nmodel=x\nfunction=7\n[input sos]\naddress=1\n", "function"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct regmap_inputs m;
        char why[256] = "";
        assert_int_equal(regmap_text_inputs(wrong[i].text, strlen(wrong[i].text), "x.conf", &m, why, sizeof why), RC_INVALID);
        if (strstr(why, wrong[i].told) == NULL)
            fail_msg("%zu: \"%s\" does not tell of %s", i, why, wrong[i].told);
    }
}

static bool state_is(const struct event *e, void *arg)
{
    return e->inputs.state == *(uint32_t *)arg;
}

static bool wait_state(struct kit *k, struct device *d, uint32_t bits, unsigned ms, int64_t *ret_at_ms)
{
    struct kit_want w = {.d = d, .kind = EVENT_INPUTS, .from = k->n, .extra = state_is, .arg = &bits};
    bool seen = kit_until(k, kit_seen, &w, ms);
    if (seen && ret_at_ms != NULL)
        *ret_at_ms = k->got[w.last].at_ms;
    return seen;
}

static void levels_and_outputs(void **state)
{
    (void)state;
    char name[64];
    struct kit_slave module = {.address = 3};
    struct kit_wire wire = {.fd = kit_pty(name), .slave = {&module}, .slaves = 1};
    kit_wire_start(&wire);
    struct kit *k = kit_new();
    atomic_store(&module.bits[3], 1);
    struct device *d = kit_start(k, "inputs", "io", 0, "port=%s;slave=3;poll_ms=50;timeout_ms=200", name);
    assert_true(wait_state(k, d, EVENT_IN_IGNITION, 5000, NULL));
    for (size_t i = 0; i < k->n; i++)
        if (k->got[i].e.kind == EVENT_INPUTS)
            assert_int_equal(k->got[i].e.inputs.known, 0x1ff);
    /* this slave has one set of bits: its coils 0 and 1, buzzer and lamp, are its inputs 0 and 1 as well */
    atomic_store(&module.bits[2], 1);
    assert_true(wait_state(k, d, EVENT_IN_IGNITION | EVENT_IN_DOOR_REAR, 5000, NULL));
    atomic_store(&module.bits[2], 0);
    assert_true(wait_state(k, d, EVENT_IN_IGNITION, 5000, NULL));
    struct driver_output on = {.kind = DRIVER_OUT_LAMP, .on = true};
    int64_t began = clock_mono_ms();
    assert_int_equal(device_output(d, &on), RC_OK);
    while (atomic_load(&module.bits[1]) == 0 && clock_mono_ms() - began < 2000)
        usleep(1000);
    int64_t took = clock_mono_ms() - began;
    printf("lamp lit after %lld ms\n", (long long)took);
    assert_true(took < 500);
    /* nobody is left to switch the lamp off when the program ends */
    kit_free(k);
    assert_int_equal(atomic_load(&module.bits[1]), 0);
    kit_wire_stop(&wire);
    close(wire.fd);
}

/* A dead counter and the one-key alarm on one wire. */
static void alarm_beside_a_dead_counter(void **state)
{
    (void)state;
    char name[64];
    struct kit_slave module = {.address = 3}, counter = {.address = 1};
    struct kit_wire wire = {.fd = kit_pty(name), .slave = {&module, &counter}, .slaves = 2};
    atomic_store(&counter.mood, KIT_SILENT);
    kit_wire_start(&wire);
    struct kit *k = kit_new();
    struct device *c = kit_start(k, "counter", "door", 3000, "port=%s;slave=1;poll_ms=200;timeout_ms=300", name);
    struct device *d = kit_start(k, "inputs", "io", 0, "port=%s;slave=3;poll_ms=50;timeout_ms=300", name);
    assert_true(wait_state(k, d, 0, 5000, NULL));
    int64_t worst = 0, sum = 0;
    for (int i = 0; i < 12; i++) {
        uint32_t want = i % 2 == 0 ? EVENT_IN_PARKING_BRAKE : 0;
        int64_t began = clock_mono_ms(), at = 0;
        atomic_store(&module.bits[4], i % 2 == 0);
        assert_true(wait_state(k, d, want, 3000, &at));
        worst = at - began > worst ? at - began : worst;
        sum += at - began;
        kit_run_ms(k, 230);
    }
    printf("inputs beside a dead counter: %lld ms on average, %lld ms at worst\n", (long long)(sum / 12), (long long)worst);
    assert_true(sum / 12 < 200);
    assert_true(worst < 900); /* two of the dead one's time-outs and the quiet time after them */
    assert_true(kit_wait_health(k, c, EVENT_DEVICE_SILENT, 6000));
    assert_int_equal(device_state(d), EVENT_DEVICE_OK);
    /* it comes back */
    atomic_store(&counter.mood, KIT_WELL);
    struct kit_want w = {.d = c, .kind = EVENT_COUNT};
    assert_true(kit_until(k, kit_seen, &w, 15000));
    assert_true(kit_wait_health(k, c, EVENT_DEVICE_OK, 3000));
    kit_free(k);
    kit_wire_stop(&wire);
    close(wire.fd);
}

/* The adapter is pulled out and put back under the same stable name. */
static void adapter_pulled_and_back(void **state)
{
    (void)state;
    char name[64], link[64];
    struct kit_slave module = {.address = 3};
    struct kit_wire wire = {.fd = kit_pty(name), .slave = {&module}, .slaves = 1};
    snprintf(link, sizeof link, "/tmp/schoolward-adapter-%d", getpid());
    unlink(link);
    assert_int_equal(symlink(name, link), 0);
    kit_wire_start(&wire);
    struct kit *k = kit_new();
    struct device *d = kit_start(k, "inputs", "io", 0, "port=%s;slave=3;poll_ms=50;timeout_ms=200", link);
    struct driver_output on = {.kind = DRIVER_OUT_BUZZER, .on = true};
    assert_int_equal(device_output(d, &on), RC_OK);
    assert_true(wait_state(k, d, EVENT_IN_DOOR_FRONT, 5000, NULL)); /* this slave's coil 0 is also its input 0 */
    assert_true(kit_wait_health(k, d, EVENT_DEVICE_OK, 3000));
    kit_wire_stop(&wire);
    unlink(link);
    close(wire.fd);
    assert_true(kit_wait_health(k, d, EVENT_DEVICE_FAILED, 3000));
    assert_true(kit_wait_health(k, d, EVENT_DEVICE_ABSENT, 3000));
    size_t from = k->n;
    atomic_store(&module.bits[0], 0); /* the module lost power, its outputs are off */
    wire.fd = kit_pty(name);
    assert_int_equal(symlink(name, link), 0);
    kit_wire_start(&wire);
    struct kit_want back = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_OK, .from = from};
    assert_true(kit_until(k, kit_seen, &back, 12000));
    int64_t began = clock_mono_ms();
    while (atomic_load(&module.bits[0]) == 0 && clock_mono_ms() - began < 3000)
        kit_run_ms(k, 10);
    assert_int_equal(atomic_load(&module.bits[0]), 1); /* the buzzer is set again */
    kit_free(k);
    kit_wire_stop(&wire);
    close(wire.fd);
    unlink(link);
}

/* Temperature with sign, scale and a broken sensor; told by the dead band and again after report_s. */
static void measured_values(void **state)
{
    (void)state;
    struct regmap_reading m = {.what = EVENT_READING_CABIN_C, .width = 16, .is_signed = true, .scale = 0.1, .min = -40, .max = 85, .deadband = 0.5, .report_s = 10};
    struct reading r = {.told = false};
    int32_t v = 0;
    assert_true(reading_step(&r, &m, (uint16_t[]){215}, 0, &v));
    assert_int_equal(v, 21500);
    assert_false(reading_step(&r, &m, (uint16_t[]){219}, 1000, &v));
    assert_true(reading_step(&r, &m, (uint16_t[]){220}, 2000, &v));
    assert_int_equal(v, 22000);
    assert_true(reading_step(&r, &m, (uint16_t[]){(uint16_t)-105}, 3000, &v));
    assert_int_equal(v, -10500);
    assert_true(reading_step(&r, &m, (uint16_t[]){0x7fff}, 4000, &v)); /* 3276.7 degrees: the wire is open */
    assert_int_equal(v, EVENT_UNKNOWN);
    assert_false(reading_step(&r, &m, NULL, 5000, &v)); /* known already */
    assert_true(reading_step(&r, &m, NULL, 14000, &v)); /* said again */
    assert_true(reading_step(&r, &m, (uint16_t[]){200}, 15000, &v));
    assert_int_equal(v, 20000);
}

/* Pulses of the gearbox: 8,000 a kilometre. Across the roll-over; a register that was reset is no speed. */
static void wheel_speed(void **state)
{
    (void)state;
    struct regmap_reading m = {.what = EVENT_READING_WHEEL_KMH, .width = 16, .pulses_per_km = 8000, .min = 0, .max = 150, .deadband = 0, .report_s = 1};
    struct reading r = {.told = false};
    int32_t v = 0;
    assert_false(reading_step(&r, &m, (uint16_t[]){65500}, 0, &v));
    assert_false(reading_step(&r, &m, (uint16_t[]){65520}, 500, &v)); /* too short to tell */
    assert_true(reading_step(&r, &m, (uint16_t[]){(uint16_t)(65500 + 80)}, 1000, &v)); /* 80 pulses, 10 m, a second */
    assert_int_equal(v, 36000);
    assert_true(reading_step(&r, &m, (uint16_t[]){44 + 160}, 3000, &v)); /* 20 m in two seconds */
    assert_int_equal(v, 36000);
    assert_true(reading_step(&r, &m, (uint16_t[]){0}, 4000, &v)); /* 65,332 pulses in a second */
    assert_int_equal(v, EVENT_UNKNOWN);
    assert_true(reading_step(&r, &m, (uint16_t[]){0}, 5000, &v));
    assert_int_equal(v, 0);
    m = (struct regmap_reading){.what = EVENT_READING_WHEEL_KMH, .width = 32, .order = REGMAP_CDAB, .pulses_per_km = 8000, .max = 150, .report_s = 1};
    r = (struct reading){.told = false};
    assert_false(reading_step(&r, &m, (uint16_t[]){0xfff0, 0xffff}, 0, &v));
    assert_true(reading_step(&r, &m, (uint16_t[]){0x0070, 0x0000}, 1600, &v)); /* 128 pulses in 1.6 s */
    assert_int_equal(v, 36000);
}

/* A button that must be held: touched it is nothing, held it comes once, and a press that is under way when the program starts counts. */
static void long_press(void **state)
{
    (void)state;
    struct regmap_input in = {.fitted = true, .debounce_ms = 50, .press_ms = 1000, .latch_s = 5};
    struct level l = {.known = false};
    assert_false(level_step(&l, &in, false, 0));
    assert_false(level_step(&l, &in, true, 100));
    assert_false(level_step(&l, &in, true, 1099));
    assert_false(level_step(&l, &in, false, 1150));
    assert_false(level_step(&l, &in, true, 2000));
    assert_true(level_step(&l, &in, true, 3000));
    assert_true(level_step(&l, &in, false, 3100));
    assert_true(level_step(&l, &in, false, 7900));
    assert_false(level_step(&l, &in, false, 8100));
    l = (struct level){.known = false};
    assert_true(level_step(&l, &in, true, 0));
}

int main(void)
{
    kit_devices_folder();
    const struct CMUnitTest tests[] = {cmocka_unit_test(measured_values), cmocka_unit_test(wheel_speed), cmocka_unit_test(long_press),
                                       
        cmocka_unit_test(debounce_hold_latch),         cmocka_unit_test(wrong_maps),
        cmocka_unit_test(levels_and_outputs),          cmocka_unit_test(alarm_beside_a_dead_counter),
        cmocka_unit_test(adapter_pulled_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
