/* orders: each is carried out once however often it comes, also over a restart; what came too late is not; every one has a result that was on disk
 * first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "gateway/files.h"
#include "gateway/orders.h"

static int64_t wall_ms = 1795400000000, mono_ms = 1000;

static int64_t wall(void *arg)
{
    (void)arg;
    return wall_ms;
}
static int64_t mono(void *arg)
{
    (void)arg;
    return mono_ms;
}

struct bench {
    uv_loop_t loop;
    struct gateway *g;
    struct orders *o;
    struct panel_options panel;
    char dir[64];
    struct wire_order_result result[8];
    size_t results;
    int cared;
};

static void on_result(void *arg, const struct wire_order_result *r)
{
    struct bench *b = arg;
    char *text = NULL, why[128], mark[32];
    size_t n;
    /* it is on disk before it leaves */
    assert_int_equal(files_read(b->dir, "orders", 65536, &text, &n, why, sizeof why), RC_OK);
    snprintf(mark, sizeof mark, "\n%llu %d ", (unsigned long long)r->id, r->done);
    assert_non_null(strstr(text, mark));
    free(text);
    assert_true(b->results < 8);
    b->result[b->results++] = *r;
}

static enum rc on_care(void *arg, const struct wire_order *o, char *why, size_t cap)
{
    struct bench *b = arg;
    b->cared++;
    if (o->kind == WIRE_ORDER_BUNDLE)
        return RC_OK;
    snprintf(why, cap, "no\nroom");
    return RC_IO;
}

static void on_stopped(void *arg)
{
    (void)arg;
}

static void begin(struct bench *b)
{
    struct gateway_setup s = {.id = "gw-1", .panel = &b->panel};
    struct orders_setup os = {.dir = b->dir, .care = on_care, .result = on_result, .arg = b};
    clock_set_source(wall, mono, NULL);
    assert_int_equal(uv_loop_init(&b->loop), 0);
    assert_int_equal(gateway_start(&b->loop, &s, &b->g), RC_OK);
    os.gateway = b->g;
    assert_int_equal(orders_start(&b->loop, &os, &b->o), RC_OK);
}

static void settle(struct bench *b)
{
    while (!orders_idle(b->o))
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void finish(struct bench *b)
{
    settle(b);
    orders_stop(b->o, on_stopped, NULL);
    gateway_stop(b->g, on_stopped, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    orders_free(b->o);
    gateway_free(b->g);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

static void make_dir(struct bench *b)
{
    *b = (struct bench){.dir = "/tmp/schoolward-orders-XXXXXX"};
    assert_non_null(mkdtemp(b->dir));
}

static void drop_dir(struct bench *b)
{
    files_remove(b->dir, "orders");
    assert_int_equal(rmdir(b->dir), 0); /* nothing else was left behind */
}

static void once(void **state)
{
    (void)state;
    static struct bench b;
    make_dir(&b);
    begin(&b);
    struct wire_order o = {.id = 5, .kind = WIRE_ORDER_LOCATE};
    orders_take(b.o, &o);
    assert_int_equal(b.results, 0); /* not yet on disk */
    settle(&b);
    assert_int_equal(b.results, 1);
    assert_false(b.result[0].done);
    assert_string_equal(b.result[0].message, "no fix since the start");
    struct event e = {.time_ms = wall_ms,
                      .kind = EVENT_FIX,
                      .clock = EVENT_CLOCK_GNSS,
                      .fix = {240000000, 1090000000, 8000, 9000, EVENT_UNKNOWN, EVENT_UNKNOWN, 9, EVENT_FIX_3D, 0}};
    for (int i = 0; i < 3; i++, e.time_ms += 1000) /* three that agree are believed */
        gateway_event(b.g, NULL, &e);
    orders_take(b.o, &o); /* the same one again: the same answer, though there is a fix now */
    assert_int_equal(b.results, 2);
    assert_string_equal(b.result[1].message, "no fix since the start");
    o.id = 6;
    orders_take(b.o, &o);
    settle(&b);
    assert_string_equal(b.result[2].message, "24.000000,109.000000 0 s ago");
    finish(&b);
    /* and after a restart */
    b.results = 0;
    begin(&b);
    orders_take(b.o, &o);
    assert_int_equal(b.results, 1);
    assert_true(b.result[0].done);
    assert_string_equal(b.result[0].message, "24.000000,109.000000 0 s ago");
    finish(&b);
    drop_dir(&b);
}

static void refused(void **state)
{
    (void)state;
    static struct bench b;
    make_dir(&b);
    begin(&b);
    struct event e = {.time_ms = wall_ms,
                      .kind = EVENT_FIX,
                      .clock = EVENT_CLOCK_GNSS,
                      .fix = {240000000, 1090000000, 8000, 9000, EVENT_UNKNOWN, EVENT_UNKNOWN, 9, EVENT_FIX_3D, 0}};
    gateway_event(b.g, NULL, &e); /* the clock is trusted now */
    struct wire_order o = {.id = 1, .kind = WIRE_ORDER_LOCATE, .expires_ms = wall_ms - 1};
    orders_take(b.o, &o);
    settle(&b);
    assert_string_equal(b.result[0].message, "came after its time");
    o = (struct wire_order){.id = 2, .kind = WIRE_ORDER_BUZZER, .number = 100};
    orders_take(b.o, &o);
    o = (struct wire_order){.id = 3, .kind = 77};
    orders_take(b.o, &o);
    o = (struct wire_order){.id = 4, .kind = WIRE_ORDER_RESTART, .text = "nobody"};
    orders_take(b.o, &o);
    o = (struct wire_order){.id = 5, .kind = WIRE_ORDER_SNAPSHOT};
    orders_take(b.o, &o);
    o = (struct wire_order){.id = 6, .kind = WIRE_ORDER_ROTATE, .text = "0123456789abcdef0123456789abcdef"};
    orders_take(b.o, &o);
    settle(&b);
    assert_int_equal(b.results, 6);
    for (size_t i = 0; i < 6; i++)
        assert_false(b.result[i].done);
    assert_string_equal(b.result[3].message, "there is no device nobody");
    assert_string_equal(b.result[5].message, "no room"); /* no line break goes into the file */
    finish(&b);
    b.results = 0;
    begin(&b); /* all six were read back */
    for (uint64_t id = 1; id <= 6; id++) {
        o = (struct wire_order){.id = id, .kind = WIRE_ORDER_LOCATE};
        orders_take(b.o, &o);
    }
    assert_int_equal(b.results, 6);
    finish(&b);
    drop_dir(&b);
}

static void takes_its_time(void **state)
{
    (void)state;
    static struct bench b;
    make_dir(&b);
    begin(&b);
    struct wire_order o = {.id = 9, .kind = WIRE_ORDER_BUNDLE};
    orders_take(b.o, &o);
    orders_take(b.o, &o); /* its second piece */
    assert_int_equal(b.cared, 2);
    settle(&b);
    assert_int_equal(b.results, 0);
    finish(&b);
    begin(&b); /* it was a restart for the trial: the end is told by the new process */
    orders_answer(b.o, 9, true, "kept");
    settle(&b);
    assert_int_equal(b.results, 1);
    orders_take(b.o, &o);
    assert_int_equal(b.cared, 2);
    assert_int_equal(b.results, 2);
    /* more than are remembered: the oldest goes, the newest stay */
    b.results = 0;
    for (uint64_t id = 100; id < 100 + ORDERS_KEPT; id++) {
        b.results = 0;
        o = (struct wire_order){.id = id, .kind = WIRE_ORDER_LOCATE};
        orders_take(b.o, &o);
        settle(&b);
        assert_int_equal(b.results, 1);
    }
    finish(&b);
    begin(&b);
    b.results = 0;
    orders_take(b.o, &o);
    assert_int_equal(b.results, 1);
    finish(&b);
    drop_dir(&b);
}

static void damaged_file(void **state)
{
    (void)state;
    static struct bench b;
    static const char *const texts[] = {"", "x", "schoolward-orders 1\n7 2 x\n8 1", "schoolward-orders 1\n\n\n-1 0 a\n18446744073709551616 1 b\n",
                                        "schoolward-orders 2\n7 1 x\n"};
    char why[128];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        make_dir(&b);
        assert_int_equal(files_write(b.dir, "orders", texts[i], strlen(texts[i]), why, sizeof why), RC_OK);
        begin(&b);
        struct wire_order o = {.id = 7, .kind = WIRE_ORDER_LOCATE};
        orders_take(b.o, &o);
        settle(&b);
        assert_int_equal(b.results, 1);
        finish(&b);
        drop_dir(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once),
        cmocka_unit_test(refused),
        cmocka_unit_test(takes_its_time),
        cmocka_unit_test(damaged_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
