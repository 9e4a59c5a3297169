/* Instances: pauses, silence, a driver that blocks beside one that does not, health of the device's own, a clean stop, many descriptors. */
#include "devices_kit.h"

/* A driver that does as it is told; registered nowhere. */
struct script {
    atomic_int open_rc, poll_rc, blocks_ms;
    atomic_uint opens, polls, outputs;
    atomic_bool emit;
};
struct inst {
    struct driver_ctx *ctx;
    struct script *s;
};

static enum rc s_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct script *s = *(struct script *const *)options;
    atomic_fetch_add(&s->opens, 1);
    if (atomic_load(&s->open_rc) != RC_OK) {
        snprintf(why, cap, "told so");
        return (enum rc)atomic_load(&s->open_rc);
    }
    struct inst *i = malloc(sizeof *i);
    *i = (struct inst){ctx, s};
    *ret_state = i;
    *ret_fd = -1;
    return RC_OK;
}

static enum rc s_poll(void *state, int64_t now, int *ret_next_ms, char *why, size_t cap)
{
    struct inst *i = state;
    (void)now;
    snprintf(why, cap, "told so");
    *ret_next_ms = 20;
    atomic_fetch_add(&i->s->polls, 1);
    int ms = atomic_load(&i->s->blocks_ms);
    for (int n = 0; n < ms && !driver_stopping(i->ctx); n += 10)
        usleep(10000);
    if (atomic_load(&i->s->emit)) {
        struct event e = {.kind = EVENT_INPUTS, .inputs = {1, 1}};
        driver_emit(i->ctx, &e);
    }
    return (enum rc)atomic_load(&i->s->poll_rc);
}

static enum rc s_output(void *state, const struct driver_output *out, char *why, size_t cap)
{
    (void)out, (void)why, (void)cap;
    atomic_fetch_add(&((struct inst *)state)->s->outputs, 1);
    return RC_OK;
}

static void s_close(void *state)
{
    free(state);
}

static const struct driver loop_driver = {.name = "loop-script", .kind = EVENT_DEVICE_INPUTS, .options_size = sizeof(void *), .open = s_open, .poll = s_poll, .output = s_output, .close = s_close};
static const struct driver thread_driver = {
    .name = "thread-script", .kind = EVENT_DEVICE_INPUTS, .options_size = sizeof(void *), .threaded = true, .open = s_open, .poll = s_poll, .output = s_output, .close = s_close};

static struct device *start(struct kit *k, const struct driver *driver, const char *name, int64_t silence_ms, struct script *s)
{
    struct device_setup setup = {.name = name, .driver = driver, .options = &s, .silence_ms = silence_ms, .on_event = kit_on_event, .arg = k};
    struct device *d = NULL;
    assert_int_equal(device_start(&k->loop, &setup, &d), RC_OK);
    k->device[k->devices++] = d;
    return d;
}

static void pauses_grow(void **state)
{
    (void)state;
    static const struct driver *const both[] = {&loop_driver, &thread_driver};
    for (int i = 0; i < 2; i++) {
        struct kit *k = kit_new();
        struct script s = {.open_rc = RC_IO};
        struct device *d = start(k, both[i], "x", 0, &s);
        kit_run_ms(k, 5000);
        unsigned opens = atomic_load(&s.opens);
        printf("%s: %u attempts in 5 s\n", both[i]->name, opens);
        assert_in_range(opens, 3, 5); /* at 0, then after 0.5..1, 1..2, 2..4 s */
        assert_int_equal(device_state(d), EVENT_DEVICE_FAILED);
        assert_int_equal(kit_count(k, d, EVENT_HEALTH, 0), 1); /* told once */
        atomic_store(&s.open_rc, RC_OK);
        struct kit_want well = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_OK};
        assert_true(kit_until(k, kit_seen, &well, 9000));
        kit_free(k);
    }
}

static void silence_and_back(void **state)
{
    (void)state;
    static const struct driver *const both[] = {&loop_driver, &thread_driver};
    for (int i = 0; i < 2; i++) {
        struct kit *k = kit_new();
        struct script s = {.open_rc = RC_OK};
        struct device *d = start(k, both[i], "x", 1000, &s);
        assert_true(kit_wait_health(k, d, EVENT_DEVICE_OK, 3000));
        atomic_store(&s.poll_rc, RC_TIMEOUT);
        int64_t began = clock_mono_ms();
        assert_true(kit_wait_health(k, d, EVENT_DEVICE_SILENT, 4000));
        assert_in_range(clock_mono_ms() - began, 900, 2500);
        size_t from = k->n;
        atomic_store(&s.poll_rc, RC_OK);
        struct kit_want well = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_OK, .from = from};
        assert_true(kit_until(k, kit_seen, &well, 2000));
        assert_int_equal(atomic_load(&s.opens), 1); /* an answer that does not come closes nothing */
        atomic_store(&s.poll_rc, RC_IO);
        assert_true(kit_wait_health(k, d, EVENT_DEVICE_FAILED, 2000));
        kit_free(k);
    }
}

/* A driver that blocks in its thread must not delay another one's events. */
static void a_blocked_neighbour(void **state)
{
    (void)state;
    struct kit *k = kit_new();
    struct script slow = {.blocks_ms = 3000}, quick = {.emit = true};
    start(k, &thread_driver, "slow", 0, &slow);
    struct device *d = start(k, &thread_driver, "quick", 0, &quick);
    kit_run_ms(k, 2500);
    size_t n = kit_count(k, d, EVENT_INPUTS, 0);
    int64_t worst = 0, last = 0;
    for (size_t i = 0; i < k->n; i++) {
        if (k->got[i].d != d || k->got[i].e.kind != EVENT_INPUTS)
            continue;
        if (last != 0 && k->got[i].at_ms - last > worst)
            worst = k->got[i].at_ms - last;
        last = k->got[i].at_ms;
    }
    printf("neighbour blocked: %zu events in 2.5 s, longest gap %lld ms\n", n, (long long)worst);
    assert_true(n > 60);
    assert_true(worst < 400);
    kit_free(k);
}

static void outputs_are_conflated_and_kept(void **state)
{
    (void)state;
    struct kit *k = kit_new();
    struct script s = {.open_rc = RC_IO};
    struct device *d = start(k, &loop_driver, "x", 0, &s);
    struct driver_output out = {.kind = DRIVER_OUT_BUZZER, .on = true}, vehicle = {.kind = DRIVER_OUT_VEHICLE};
    for (int i = 0; i < 100; i++) {
        assert_int_equal(device_output(d, &out), RC_OK);
        assert_int_equal(device_output(d, &vehicle), RC_OK);
    }
    kit_run_ms(k, 100);
    assert_int_equal(atomic_load(&s.outputs), 0);
    atomic_store(&s.open_rc, RC_OK);
    assert_true(kit_wait_health(k, d, EVENT_DEVICE_OK, 4000));
    kit_run_ms(k, 50);
    assert_int_equal(atomic_load(&s.outputs), 1); /* the buzzer; an old position is not told */
    kit_free(k);
}

/* More events at once than the ring between thread and loop holds: the driver waits, nothing is lost. */
static enum rc burst_poll(void *state, int64_t now, int *ret_next_ms, char *why, size_t cap)
{
    struct inst *i = state;
    (void)now, (void)why, (void)cap;
    *ret_next_ms = 60000;
    if (atomic_fetch_add(&i->s->polls, 1) == 0) {
        for (uint32_t n = 0; n < 2000; n++) {
            struct event e = {.kind = EVENT_INPUTS, .inputs = {.state = n, .known = n}};
            driver_emit(i->ctx, &e);
        }
    }
    return RC_OK;
}

static void nothing_is_lost_in_a_burst(void **state)
{
    (void)state;
    static const struct driver burst = {
        .name = "burst", .kind = EVENT_DEVICE_INPUTS, .options_size = sizeof(void *), .threaded = true, .open = s_open, .poll = burst_poll, .close = s_close};
    struct kit *k = kit_new();
    struct script s = {.open_rc = RC_OK};
    struct device *d = start(k, &burst, "x", 0, &s);
    usleep(200000); /* the loop is busy elsewhere */
    struct kit_want all = {.d = d, .kind = EVENT_INPUTS, .count = 2000};
    assert_true(kit_until(k, kit_seen, &all, 5000));
    uint32_t want = 0;
    for (size_t i = 0; i < k->n; i++)
        if (k->got[i].e.kind == EVENT_INPUTS)
            assert_int_equal(k->got[i].e.inputs.state, want++);
    kit_free(k);
}

/* Every option of every driver has a default its own table accepts, and says what it is. */
static void option_tables(void **state)
{
    (void)state;
    for (size_t i = 0; driver_all[i] != NULL; i++) {
        const struct driver *d = driver_all[i];
        void *options = calloc(1, d->options_size);
        assert_int_equal(field_defaults(d->options, d->options_n, options), RC_OK);
        for (size_t k = 0; k < d->options_n; k++) {
            assert_true(d->options[k].help != NULL && d->options[k].help[0] != '\0');
            assert_true(d->options[k].offset + d->options[k].size <= d->options_size);
            for (size_t j = 0; j < k; j++)
                assert_string_not_equal(d->options[k].name, d->options[j].name);
        }
        assert_ptr_equal(driver_find(d->name), d);
        free(options);
    }
    assert_null(driver_find("no-such"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(option_tables),       cmocka_unit_test(pauses_grow),
        cmocka_unit_test(silence_and_back),    cmocka_unit_test(a_blocked_neighbour),
        cmocka_unit_test(nothing_is_lost_in_a_burst), cmocka_unit_test(outputs_are_conflated_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
