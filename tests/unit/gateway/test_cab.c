/*
 * The driver's side: siren, voice and the hold at the stop by a device that writes down what it is told; and power cuts, after which a bus with a
 * child aboard sounds again. Time is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "gateway/cab.h"
#include "gateway/cab_state.h"
#include "gateway/files.h"

#define STAFF 0xa77e0dULL
#define T0    1795380000000LL

static int64_t now_ms; /* since the start of the test */
static int64_t test_wall(void *arg)
{
    (void)arg;
    return T0 + now_ms;
}
static int64_t test_mono(void *arg)
{
    (void)arg;
    return 5000000 + now_ms;
}

/* ---- the device ---- */

static struct told {
    bool buzzer, lamp, siren, urgent;
    char text[32][DRIVER_TEXT_MAX + 1];
    size_t texts;
} told;

static enum rc w_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    (void)ctx, (void)options, (void)why, (void)cap;
    *ret_state = &told;
    *ret_fd = -1;
    return RC_OK;
}
static enum rc w_poll(void *state, int64_t now, int *ret_next_ms, char *why, size_t cap)
{
    (void)state, (void)now, (void)why, (void)cap;
    *ret_next_ms = 1000;
    return RC_OK;
}
static enum rc w_output(void *state, const struct driver_output *out, char *why, size_t cap)
{
    (void)state, (void)why, (void)cap;
    if (out->kind == DRIVER_OUT_BUZZER)
        told.buzzer = out->on;
    if (out->kind == DRIVER_OUT_LAMP)
        told.lamp = out->on;
    if (out->kind == DRIVER_OUT_SIREN)
        told.siren = out->on;
    if (out->kind == DRIVER_OUT_TEXT && told.texts < 32) {
        told.urgent = out->on;
        snprintf(told.text[told.texts++], sizeof told.text[0], "%s", out->text);
    }
    return RC_OK;
}
static void w_close(void *state)
{
    (void)state;
}
static const struct driver writer = {
    .name = "writer", .kind = EVENT_DEVICE_INPUTS, .options_size = 1, .open = w_open, .poll = w_poll, .output = w_output, .close = w_close};

static bool heard(const char *part)
{
    for (size_t i = 0; i < told.texts; i++)
        if (strstr(told.text[i], part) != NULL)
            return true;
    return false;
}

/* ---- the bench ---- */

struct bench {
    char dir[64];
    uv_loop_t loop;
    struct cab *c;
    struct device *d;
    struct panel_options options;
    bool flag;
    int32_t boarded, alighted;
    uint32_t in;
    struct event made[64];
    size_t mades;
};

static void on_event(void *arg, const struct event *e)
{
    struct bench *b = arg;
    if (b->mades < 64)
        b->made[b->mades++] = *e;
}
static void on_device(void *arg, struct device *d, const struct event *e)
{
    (void)arg, (void)d, (void)e;
}
static void on_stopped(void *arg)
{
    ((struct bench *)arg)->flag = true;
}

static void make_dir(struct bench *b)
{
    *b = (struct bench){.dir = "/tmp/schoolward-cab-XXXXXX"};
    assert_non_null(mkdtemp(b->dir));
}

static struct duty_file *duty(const struct bench *b, const char *vehicle)
{
    char path[96], law[512], json[2048], why[256] = "";
    const char *root = getenv("SCHOOLWARD_SOURCE");
    struct duty_file *d = NULL;
    snprintf(json, sizeof json,
             "{\"format\":\"schoolward.duty.1\",\"routes\":[],\"vehicles\":[{\"id\":\"%s\",\"plate\":\"P\",\"gateway\":\"g\",\"staff\":2,\"staff_"
             "uncounted\":1,"
             "\"rated\":{\"total\":40},\"size\":\"large\",\"routes\":[],\"roster\":[{\"hash\":\"0000000000a77e0d\",\"kind\":\"attendant\"},"
             "{\"hash\":\"0000000000000001\",\"kind\":\"pupil\"}]}]}",
             vehicle);
    assert_int_equal(files_write(b->dir, "duty.json", json, strlen(json), why, sizeof why), RC_OK);
    snprintf(path, sizeof path, "%s/duty.json", b->dir);
    snprintf(law, sizeof law, "%s/core/law/cn-national.json", root == NULL ? "." : root);
    if (duty_file_read(path, law, "g", &d, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    files_remove(b->dir, "duty.json");
    return d;
}

static void turn(struct bench *b)
{
    for (int i = 0; i < 20; i++)
        uv_run(&b->loop, UV_RUN_NOWAIT);
}

static void start(struct bench *b, const char *vehicle)
{
    memset(&told, 0, sizeof told);
    b->mades = 0;
    uv_loop_init(&b->loop);
    assert_int_equal(field_defaults(panel_fields, panel_fields_n, &b->options), RC_OK);
    struct cab_setup s = {.panel = &b->options, .state_dir = b->dir, .now_ms = test_wall(NULL), .on_event = on_event, .arg = b};
    assert_int_equal(cab_start(&b->loop, &s, &b->c), RC_OK);
    cab_set_duty(b->c, duty(b, vehicle));
    char options = 0;
    struct device_setup ds = {.name = "w", .driver = &writer, .options = &options, .on_event = on_device};
    assert_int_equal(device_start(&b->loop, &ds, &b->d), RC_OK);
    cab_attach(b->c, b->d);
    for (int i = 0; i < 500 && device_state(b->d) != EVENT_DEVICE_OK; i++) {
        uv_run(&b->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_int_equal(device_state(b->d), EVENT_DEVICE_OK);
}

/* Until what is due is on disk. */
static void saved(struct bench *b, uint64_t more_than)
{
    struct cab_figures f;
    for (int i = 0; i < 5000; i++) {
        uv_run(&b->loop, UV_RUN_NOWAIT);
        cab_figures(b->c, &f);
        if (f.saves > more_than)
            return;
        usleep(1000);
    }
    fail_msg("not written");
}

static void stop(struct bench *b)
{
    b->flag = false;
    cab_detach_all(b->c);
    device_stop(b->d, on_stopped, b);
    while (!b->flag)
        uv_run(&b->loop, UV_RUN_ONCE);
    b->flag = false;
    cab_stop(b->c, on_stopped, b);
    while (!b->flag)
        uv_run(&b->loop, UV_RUN_ONCE);
    cab_free(b->c);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

static void drop_dir(struct bench *b)
{
    files_remove(b->dir, CAB_STATE_FILE);
    assert_int_equal(rmdir(b->dir), 0); /* nothing else was left behind */
}

/* ---- a day ---- */

static void event(struct bench *b, struct event e)
{
    now_ms += 10;
    e.time_ms = T0 + now_ms;
    e.clock = EVENT_CLOCK_GNSS;
    if (e.kind == EVENT_CARD)
        e.card.kind = cab_card_kind(b->c, e.card.hash);
    cab_event(b->c, &e);
    turn(b);
}
static void set(struct bench *b, uint32_t bits, bool on)
{
    b->in = on ? b->in | bits : b->in & ~bits;
    event(b, (struct event){.kind = EVENT_INPUTS,
                            .inputs = {.state = b->in, .known = EVENT_IN_DOOR_FRONT | EVENT_IN_IGNITION | EVENT_IN_PATROL | EVENT_IN_CONFIRM}});
}
static void doors(struct bench *b, int in, int out)
{
    b->boarded += in;
    b->alighted += out;
    event(b,
          (struct event){
              .kind = EVENT_COUNT,
              .count = {.source = EVENT_COUNT_DOOR, .confidence_pct = 95, .boarded = b->boarded, .alighted = b->alighted, .aboard = EVENT_UNKNOWN}});
}
static void card(struct bench *b, uint64_t hash)
{
    event(b, (struct event){.kind = EVENT_CARD, .card = {.hash = hash}});
}
static void drive(struct bench *b, double kmh, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        event(b, (struct event){.kind = EVENT_FIX,
                                .fix = {.lat_e7 = 230000000,
                                        .lon_e7 = 1130000000,
                                        .speed_mmps = (int32_t)(kmh / 0.0036),
                                        .track_cdeg = 9000,
                                        .alt_dm = EVENT_UNKNOWN,
                                        .hdop_d = 10,
                                        .satellites = 9,
                                        .mode = EVENT_FIX_3D}});
        for (int k = 0; k < 4; k++) {
            now_ms += k < 3 ? 250 : 240;
            cab_tick(b->c, EVENT_CLOCK_GNSS);
        }
        turn(b);
    }
}
static void wait_s(struct bench *b, int seconds)
{
    for (int i = 0; i < 4 * seconds; i++) {
        now_ms += 250;
        cab_tick(b->c, EVENT_CLOCK_GNSS);
    }
    turn(b);
}

/* A run with 20 pupils that ends with `left` of them aboard. */
static void run(struct bench *b, int left)
{
    set(b, EVENT_IN_IGNITION, true);
    card(b, STAFF);
    set(b, EVENT_IN_DOOR_FRONT, true);
    doors(b, 21, 0);
    set(b, EVENT_IN_DOOR_FRONT, false);
    drive(b, 30, 30);
    drive(b, 0, 5);
    set(b, EVENT_IN_IGNITION, false);
    set(b, EVENT_IN_DOOR_FRONT, true);
    doors(b, 0, 21 - left);
    set(b, EVENT_IN_DOOR_FRONT, false);
}

static void test_siren(void **state)
{
    (void)state;
    struct bench b;
    make_dir(&b);
    start(&b, "bus-1");
    run(&b, 3);
    assert_true(heard("请立即巡车"));
    wait_s(&b, 59);
    assert_false(told.siren);
    wait_s(&b, 3);
    assert_true(told.siren && told.buzzer);
    assert_true(told.urgent && strncmp(told.text[told.texts - 1], "车内可能有学生遗留 · ", strlen("车内可能有学生遗留 · ")) == 0);
    set(&b, EVENT_IN_PATROL, true);
    set(&b, EVENT_IN_PATROL, false);
    wait_s(&b, 5);
    assert_true(told.siren); /* not by the button alone */
    card(&b, STAFF);
    wait_s(&b, 1);
    assert_false(told.siren || told.buzzer);
    assert_true(heard("已解除：车内可能有学生遗留"));
    assert_int_equal(b.made[b.mades - 1].action.what, EVENT_ACTION_ZEROED);
    assert_int_equal(b.made[b.mades - 2].tally.flags & EVENT_TALLY_ZEROED, EVENT_TALLY_ZEROED);
    stop(&b);
    drop_dir(&b);
}

/* The power goes at the worst time; what is on disk is all there is. */
static void test_power_cut(void **state)
{
    (void)state;
    struct bench b;
    char *bytes, why[200];
    size_t n;
    make_dir(&b);
    start(&b, "bus-1");
    run(&b, 3);
    wait_s(&b, 62);
    assert_true(told.siren);
    struct cab_state before, after;
    bytes = NULL;
    for (int i = 0; i < 5000; i++) { /* until the disk has it */
        turn(&b);
        if (files_read(b.dir, CAB_STATE_FILE, CAB_STATE_BYTES, &bytes, &n, why, sizeof why) == RC_OK) {
            assert_int_equal(cab_state_unpack(bytes, n, &before), RC_OK);
            if (rules_left_open(&before.memory))
                break;
        }
        free(bytes);
        bytes = NULL;
        usleep(1000);
    }
    assert_non_null(bytes);
    uint64_t id = 0;
    stop(&b);
    static const int64_t gap_ms[] = {5000, 8 * 3600000LL, -3600000}; /* a moment; the night; a clock without battery */
    for (int i = 0; i < 3; i++) {
        now_ms += gap_ms[i];
        assert_int_equal(files_write(b.dir, CAB_STATE_FILE, bytes, n, why, sizeof why), RC_OK);
        b.boarded = b.alighted = 0; /* the counter forgot as well */
        start(&b, "bus-1");
        wait_s(&b, 1);
        assert_true(told.siren); /* with no event at all, no server, no fix */
        set(&b, 0, false);
        doors(&b, 0, 0);
        wait_s(&b, 5);
        assert_true(told.siren);
        set(&b, EVENT_IN_PATROL, true);
        set(&b, EVENT_IN_PATROL, false);
        assert_true(told.siren);
        card(&b, STAFF);
        wait_s(&b, 1);
        assert_false(told.siren);
        assert_int_equal(cab_bus(b.c)->run, BUS_RUN_IDLE);
        stop(&b);
        assert_int_equal(cab_state_load(b.dir, &after, why, sizeof why), RC_OK);
        assert_int_equal(after.memory.state[RULES_LEFT], RULES_IDLE);
        id += after.bus.run_ms > 0;
    }
    assert_int_equal(id, 3);
    /* of another bus: not believed */
    assert_int_equal(files_write(b.dir, CAB_STATE_FILE, bytes, n, why, sizeof why), RC_OK);
    start(&b, "bus-2");
    wait_s(&b, 2);
    assert_false(told.siren);
    assert_int_equal(cab_bus(b.c)->run, BUS_RUN_IDLE);
    stop(&b);
    free(bytes);
    drop_dir(&b);
}

static void test_damaged_state(void **state)
{
    (void)state;
    struct bench b;
    struct cab_state s, got;
    unsigned char bytes[CAB_STATE_BYTES];
    char why[200];
    make_dir(&b);
    memset(&s, 0, sizeof s);
    snprintf(s.vehicle, sizeof s.vehicle, "bus-1");
    s.bus.run = BUS_RUN_ENDED;
    cab_state_pack(&s, bytes);
    assert_int_equal(cab_state_unpack(bytes, sizeof bytes, &got), RC_OK);
    assert_memory_equal(&got, &s, sizeof s);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit += 11) {
        bytes[bit / 8] ^= (unsigned char)(1U << bit % 8);
        assert_int_equal(cab_state_unpack(bytes, sizeof bytes, &got), RC_INVALID);
        bytes[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    for (size_t n = 0; n < sizeof bytes; n += 97)
        assert_int_equal(cab_state_unpack(bytes, n, &got), RC_INVALID);
    assert_int_equal(files_write(b.dir, CAB_STATE_FILE, bytes, sizeof bytes - 1, why, sizeof why), RC_OK);
    start(&b, "bus-1"); /* starts all the same */
    run(&b, 0);
    assert_int_equal(cab_bus(b.c)->run, BUS_RUN_ENDED);
    stop(&b);
    drop_dir(&b);
}

/* A card lives by its writes: an hour of driving is none. */
static void test_writes(void **state)
{
    (void)state;
    struct bench b;
    struct cab_figures f;
    make_dir(&b);
    start(&b, "bus-1");
    set(&b, EVENT_IN_IGNITION, true);
    card(&b, STAFF);
    for (int stop_n = 0; stop_n < 10; stop_n++) {
        set(&b, EVENT_IN_DOOR_FRONT, true);
        doors(&b, 3, 0);
        set(&b, EVENT_IN_DOOR_FRONT, false);
        drive(&b, 30, 120);
        drive(&b, 0, 3);
        saved(&b, (uint64_t)stop_n);
    }
    cab_figures(b.c, &f);
    printf("%llu writes in ten stops and 1230 s\n", (unsigned long long)f.saves);
    assert_in_range(f.saves, 10, 25);
    stop(&b);
    drop_dir(&b);
}

static void test_hold_and_words(void **state)
{
    (void)state;
    struct bench b;
    make_dir(&b);
    start(&b, "bus-1");
    set(&b, EVENT_IN_IGNITION, true);
    card(&b, 1); /* a pupil: the reader reads, and there is no attendant */
    set(&b, EVENT_IN_DOOR_FRONT, true);
    doors(&b, 20, 0);
    wait_s(&b, 1);
    assert_true(heard("请勿起步：无随车照管人员 · Do not depart: No attendant aboard"));
    assert_true(told.lamp);
    card(&b, STAFF);
    wait_s(&b, 1);
    assert_false(told.lamp);
    assert_true(heard("已解除：无随车照管人员"));
    doors(&b, 21, 0);
    wait_s(&b, 1);
    assert_true(heard("请勿起步：校车超员（未达20%） 42/40 人"));
    doors(&b, 0, 2);
    wait_s(&b, 1);
    assert_true(heard("已解除：校车超员"));
    assert_false(told.lamp || told.siren);
    card(&b, 77);
    assert_true(heard("未登记的卡 · unknown card"));
    cab_order_text(b.c, "请到二号门");
    turn(&b);
    assert_string_equal(told.text[told.texts - 1], "请到二号门");
    stop(&b);
    drop_dir(&b);
}

int main(void)
{
    clock_set_source(test_wall, test_mono, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siren),  cmocka_unit_test(test_power_cut),      cmocka_unit_test(test_damaged_state),
        cmocka_unit_test(test_writes), cmocka_unit_test(test_hold_and_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
