/*
 * The outbox against its promises: what was reported stored is there after a kill at any moment, once; numbers never go back; a broken file and a full
 * disk are survived.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "gateway/outbox.h"
#include "gateway/outbox_store.h"

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/sw-outbox-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/outbox.db", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

/* An event that carries its own number, to be recognised by. */
static struct event numbered(int32_t number)
{
    return (struct event){.time_ms = 1790000000000 + number, .kind = EVENT_COUNT, .clock = EVENT_CLOCK_NTP,
                          .count = {.source = EVENT_COUNT_DOOR, .confidence_pct = 90, .boarded = number, .alighted = 0, .aboard = EVENT_UNKNOWN}};
}

struct bench {
    uv_loop_t loop;
    struct outbox *o;
    uint64_t stored[EVENT_LANES];
    bool trouble, told_full, told_given_up, stopped;
    unsigned troubles;
    /* answer of the last fetch */
    bool answered;
    enum rc rc;
    uint64_t first;
    size_t n, len;
    struct wire_frame frame;
};

static void on_stored(void *arg, enum event_lane lane, uint64_t last)
{
    ((struct bench *)arg)->stored[lane] = last;
}
static void on_trouble(void *arg, const char *text)
{
    struct bench *b = arg;
    b->trouble = text != NULL;
    b->troubles += text != NULL;
    if (text == NULL)
        return;
    b->told_full = b->told_full || strstr(text, "the disk is full") != NULL;
    b->told_given_up = b->told_given_up || strstr(text, "the oldest positions are given up") != NULL;
}
static void on_stopped(void *arg)
{
    ((struct bench *)arg)->stopped = true;
}
static void on_batch(void *arg, enum rc rc, enum event_lane lane, const void *frame, size_t len, uint64_t first, size_t n)
{
    struct bench *b = arg;
    const char *fault;
    b->answered = true;
    b->rc = rc;
    b->first = first;
    b->n = n;
    b->len = len;
    if (rc == RC_OK) {
        assert_int_equal(wire_decode(frame, len, &b->frame, &fault), RC_OK);
        assert_int_equal(b->frame.batch.first_seq, first);
        assert_int_equal(b->frame.batch.n, n);
        assert_int_equal(b->frame.batch.lane, lane);
    }
}

static struct bench *begin(int64_t group_ms, int64_t max_bytes)
{
    struct bench *b = calloc(1, sizeof *b);
    char why[512];
    assert_non_null(b);
    uv_loop_init(&b->loop);
    struct outbox_setup s = {.path = path, .group_ms = group_ms, .max_bytes = max_bytes, .on_stored = on_stored, .on_trouble = on_trouble, .arg = b};
    enum rc rc = outbox_start(&b->loop, &s, &b->o, why, sizeof why);
    if (rc != RC_OK)
        print_error("%s\n", why);
    assert_int_equal(rc, RC_OK);
    return b;
}

static void on_wake(uv_timer_t *t)
{
    (void)t;
}

/* Run the loop until *flag, at most ms. */
static bool await(struct bench *b, const bool *flag, int64_t ms)
{
    uv_timer_t wake;
    int64_t until = clock_mono_ms() + ms;
    uv_timer_init(&b->loop, &wake);
    uv_timer_start(&wake, on_wake, 5, 5);
    while (!*flag && clock_mono_ms() < until)
        uv_run(&b->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&b->loop, UV_RUN_NOWAIT);
    return *flag;
}

static bool await_stored(struct bench *b, enum event_lane lane, uint64_t seq, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms;
    bool never = false;
    while (b->stored[lane] < seq && clock_mono_ms() < until)
        await(b, &never, 5);
    return b->stored[lane] >= seq;
}

static void finish(struct bench *b)
{
    outbox_stop(b->o, on_stopped, b);
    assert_true(await(b, &b->stopped, 10000));
    assert_int_equal(uv_run(&b->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    free(b);
}

static void fetch(struct bench *b, enum event_lane lane, uint64_t from, uint64_t to, size_t max)
{
    b->answered = false;
    outbox_fetch(b->o, lane, from, to, max, false, on_batch, b);
    assert_true(await(b, &b->answered, 10000));
}

static void on_welcomed(void *arg, enum rc rc)
{
    struct bench *b = arg;
    b->rc = rc;
    b->answered = true;
}
static void welcome(struct bench *b, uint64_t bulk_through, uint64_t urgent_through)
{
    struct wire_ack acks[EVENT_LANES] = {{.lane = 0, .through = bulk_through}, {.lane = 1, .through = urgent_through}};
    b->answered = false;
    outbox_welcome(b->o, acks, on_welcomed, b);
    assert_true(await(b, &b->answered, 10000));
    assert_int_equal(b->rc, RC_OK);
}

static void put(struct bench *b, enum event_lane lane, int32_t number)
{
    struct event e = numbered(number);
    assert_int_equal(outbox_put(b->o, lane, &e), RC_OK);
}

/* --- storing and fetching --- */

static void test_group_is_one_row_and_urgent_takes_it_along(void **state)
{
    (void)state;
    struct bench *b = begin(60000, 1 << 30);
    for (int i = 1; i <= 10; i++)
        put(b, EVENT_LANE_BULK, i);
    bool never = false;
    await(b, &never, 150);
    assert_int_equal(b->stored[0], 0); /* the group is open for a minute */
    int64_t began = clock_mono_ms();
    put(b, EVENT_LANE_URGENT, 1000);
    assert_true(await_stored(b, EVENT_LANE_URGENT, 1, 5000));
    int64_t took = clock_mono_ms() - began;
    print_message("urgent stored after %lld ms\n", (long long)took);
    assert_int_equal(b->stored[0], 10);
    struct outbox_figures f;
    outbox_figures(b->o, &f);
    assert_int_equal(f.commits, 1);
    fetch(b, EVENT_LANE_BULK, 1, UINT64_MAX, 512);
    assert_int_equal(b->rc, RC_OK);
    assert_int_equal(b->first, 1);
    assert_int_equal(b->n, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(b->frame.batch.event[i].count.boarded, i + 1);
    fetch(b, EVENT_LANE_BULK, 4, 7, 512);
    assert_int_equal(b->first, 4);
    assert_int_equal(b->n, 4);
    fetch(b, EVENT_LANE_BULK, 11, UINT64_MAX, 512);
    assert_int_equal(b->rc, RC_END);
    finish(b);
}

static void test_bulk_group_commits_by_itself(void **state)
{
    (void)state;
    struct bench *b = begin(200, 1 << 30);
    int64_t began = clock_mono_ms();
    put(b, EVENT_LANE_BULK, 1);
    put(b, EVENT_LANE_BULK, 2);
    assert_true(await_stored(b, EVENT_LANE_BULK, 2, 5000));
    assert_in_range(clock_mono_ms() - began, 190, 2000);
    finish(b);
}

static void test_mixed_clocks_become_separate_batches(void **state)
{
    (void)state;
    struct bench *b = begin(100, 1 << 30);
    for (int i = 1; i <= 6; i++) {
        struct event e = numbered(i);
        e.clock = i <= 3 ? EVENT_CLOCK_GNSS : EVENT_CLOCK_SYSTEM;
        assert_int_equal(outbox_put(b->o, EVENT_LANE_BULK, &e), RC_OK);
    }
    assert_true(await_stored(b, EVENT_LANE_BULK, 6, 5000));
    fetch(b, EVENT_LANE_BULK, 1, UINT64_MAX, 512);
    assert_int_equal(b->n, 3);
    assert_int_equal(b->frame.batch.event[0].clock, EVENT_CLOCK_GNSS);
    fetch(b, EVENT_LANE_BULK, 4, UINT64_MAX, 512);
    assert_int_equal(b->n, 3);
    assert_int_equal(b->frame.batch.event[0].clock, EVENT_CLOCK_SYSTEM);
    finish(b);
}

static void test_bad_events_are_refused(void **state)
{
    (void)state;
    struct bench *b = begin(100, 1 << 30);
    struct event e = numbered(1);
    e.count.confidence_pct = 101;
    assert_int_equal(outbox_put(b->o, EVENT_LANE_BULK, &e), RC_RANGE);
    e = (struct event){.time_ms = 1, .kind = EVENT_TICK};
    assert_int_equal(outbox_put(b->o, EVENT_LANE_BULK, &e), RC_RANGE);
    finish(b);
}

static void test_queue_limit_keeps_room_for_alarms(void **state)
{
    (void)state;
    struct bench *b = begin(60000, 1 << 30);
    int bulk = 0;
    struct event e = numbered(1);
    /* faster than any disk: at some point the queue is full, the alarm still gets in */
    while (bulk < 5000000 && outbox_put(b->o, EVENT_LANE_BULK, &e) == RC_OK)
        bulk++;
    assert_in_range(bulk, 61440, 4999999);
    assert_int_equal(outbox_put(b->o, EVENT_LANE_BULK, &e), RC_FULL);
    assert_int_equal(outbox_put(b->o, EVENT_LANE_URGENT, &e), RC_OK);
    assert_true(await_stored(b, EVENT_LANE_URGENT, 1, 20000));
    finish(b);
}

/* --- acks --- */

static void test_acks_forget_whole_and_partial_rows(void **state)
{
    (void)state;
    struct bench *b = begin(60000, 1 << 30);
    for (int row = 0; row < 5; row++) { /* five rows of ten */
        for (int i = 1; i <= 10; i++)
            put(b, EVENT_LANE_BULK, row * 10 + i);
        put(b, EVENT_LANE_URGENT, row + 1);
        assert_true(await_stored(b, EVENT_LANE_URGENT, (uint64_t)row + 1, 5000));
    }
    welcome(b, 0, 0);
    struct wire_ack a = {.lane = 0, .through = 13, .ranges = 2, .range = {{25, 27}, {38, 50}}};
    outbox_acked(b->o, &a);
    welcome(b, 13, 2); /* also settles what was acked before */
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    assert_int_equal(span[0].first_seq, 14);
    assert_int_equal(span[0].last_seq, 50);
    assert_int_equal(span[1].first_seq, 3);
    struct outbox_figures f;
    outbox_figures(b->o, &f);
    assert_int_equal(f.waiting[0], 50 - 13 - 3 - 13);
    assert_int_equal(f.acked, 13 + 3 + 13 + 2);
    int expect[] = {14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37};
    size_t k = 0;
    for (uint64_t from = 1;;) {
        fetch(b, EVENT_LANE_BULK, from, UINT64_MAX, 512);
        if (b->rc == RC_END)
            break;
        assert_int_equal(b->rc, RC_OK);
        for (size_t i = 0; i < b->n; i++) {
            assert_int_equal(b->first + i, expect[k]);
            assert_int_equal(b->frame.batch.event[i].count.boarded, expect[k]);
            k++;
        }
        from = b->first + b->n;
    }
    assert_int_equal(k, sizeof expect / sizeof expect[0]);
    finish(b);
}

static void test_numbers_go_on_after_everything_was_acked(void **state)
{
    (void)state;
    struct bench *b = begin(100, 1 << 30);
    for (int i = 1; i <= 7; i++)
        put(b, EVENT_LANE_BULK, i);
    assert_true(await_stored(b, EVENT_LANE_BULK, 7, 5000));
    welcome(b, 0, 0);
    welcome(b, 7, 0);
    finish(b);
    b = begin(100, 1 << 30);
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    assert_int_equal(span[0].first_seq, 8);
    assert_int_equal(span[0].last_seq, 7);
    put(b, EVENT_LANE_BULK, 8);
    assert_true(await_stored(b, EVENT_LANE_BULK, 8, 5000));
    fetch(b, EVENT_LANE_BULK, 1, UINT64_MAX, 512);
    assert_int_equal(b->first, 8);
    finish(b);
}

/* The disk of a gateway was replaced: the server has 1..300 of the old one. */
static void test_new_disk_of_a_known_gateway(void **state)
{
    (void)state;
    struct bench *b = begin(100, 1 << 30);
    for (int i = 1; i <= 400; i++)
        put(b, EVENT_LANE_BULK, i);
    assert_true(await_stored(b, EVENT_LANE_BULK, 400, 5000));
    welcome(b, 300, 5); /* its 300 are not our 300 */
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    assert_true(span[0].first_seq > 300);
    assert_int_equal(span[0].last_seq - span[0].first_seq + 1, 400);
    fetch(b, EVENT_LANE_BULK, 1, UINT64_MAX, 512);
    assert_int_equal(b->n, 400);
    assert_int_equal(b->first, span[0].first_seq);
    assert_int_equal(b->frame.batch.event[0].count.boarded, 1);
    put(b, EVENT_LANE_URGENT, 1);
    assert_true(await_stored(b, EVENT_LANE_URGENT, 6, 5000));
    /* from now on the numbers are ours: the same words forget */
    welcome(b, span[0].last_seq, 6);
    outbox_span(b->o, span);
    assert_int_equal(span[0].first_seq, span[0].last_seq + 1);
    finish(b);
}

/* --- limits --- */

static void test_size_limit_gives_up_oldest_positions_not_alarms(void **state)
{
    (void)state;
    struct bench *b = begin(60000, 200 * 1024);
    put(b, EVENT_LANE_URGENT, 7);
    for (int i = 1; i <= 60000; i++) {
        struct event e = numbered(i);
        while (outbox_put(b->o, EVENT_LANE_BULK, &e) == RC_FULL)
            usleep(1000);
    }
    put(b, EVENT_LANE_URGENT, 8);
    assert_true(await_stored(b, EVENT_LANE_URGENT, 2, 20000));
    assert_true(await_stored(b, EVENT_LANE_BULK, 60000, 20000));
    struct outbox_figures f;
    outbox_figures(b->o, &f);
    print_message("kept %llu, given up %llu, %lld bytes\n", (unsigned long long)f.waiting[0], (unsigned long long)f.given_up, (long long)f.file_bytes);
    assert_true(f.given_up > 0);
    assert_int_equal(f.waiting[0] + f.given_up, 60000);
    assert_in_range(f.waiting[1], 3, 8); /* the alarms, and what tells of the loss */
    assert_in_range(f.file_bytes, 1, 300 * 1024);
    fetch(b, EVENT_LANE_BULK, 1, UINT64_MAX, 1);
    assert_int_equal(b->first, 60000 - f.waiting[0] + 1);
    uint64_t told = 0;
    unsigned alarms = 0;
    for (uint64_t from = 1; fetch(b, EVENT_LANE_URGENT, from, UINT64_MAX, 512), b->rc == RC_OK; from = b->first + b->n)
        for (size_t i = 0; i < b->n; i++) {
            const struct event *e = &b->frame.batch.event[i];
            alarms += e->kind == EVENT_COUNT;
            if (e->kind != EVENT_GAP)
                continue;
            assert_int_equal(e->gap.lane, EVENT_LANE_BULK);
            assert_int_equal(e->gap.reason, EVENT_GAP_OLDEST);
            assert_true(e->gap.from_seq >= 1 && e->gap.to_seq < 60000 - f.waiting[0] + 1);
            told += e->gap.n;
        }
    assert_int_equal(alarms, 2);
    assert_int_equal(told, f.given_up); /* not one record missing without being told */
    finish(b);
}

/* Until n of what was put into the lane is stored, gap records not counted. */
static bool await_put(struct bench *b, enum event_lane lane, uint64_t n, int64_t ms)
{
    struct outbox_figures f;
    int64_t until = clock_mono_ms() + ms;
    bool never = false;
    while (outbox_figures(b->o, &f), f.stored_of[lane] < n && clock_mono_ms() < until)
        await(b, &never, 5);
    return f.stored_of[lane] >= n;
}

/* Another program's file that leaves `kib` of the disk. */
static int ballast(int kib)
{
    char other[128];
    struct statvfs v;
    snprintf(other, sizeof other, "%s/other-program.log", dir);
    int fd = open(other, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || fstatvfs(fd, &v) != 0)
        return -1;
    return posix_fallocate(fd, 0, (off_t)(v.f_bavail * v.f_bsize) - kib * 1024) == 0 ? fd : -1;
}

/* What is on the disk: contiguous up to `last`, in order, each with its own number; of the urgent lane all, among gap records. */
static bool kept_in_order(struct bench *b, enum event_lane lane, uint64_t last, int32_t number_of_last, uint64_t *ret_first)
{
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    *ret_first = span[lane].first_seq;
    if (lane == EVENT_LANE_BULK && span[lane].last_seq != last)
        return false;
    last = span[lane].last_seq;
    fetch(b, lane, span[lane].first_seq, UINT64_MAX, 1);
    int32_t number = b->frame.batch.event[0].count.boarded - 1;
    if (lane == EVENT_LANE_URGENT && number != 0)
        return false;
    for (uint64_t from = span[lane].first_seq; from <= last; from = b->first + b->n) {
        fetch(b, lane, from, UINT64_MAX, WIRE_BATCH_MAX);
        if (b->rc != RC_OK || b->first != from || b->n == 0)
            return false;
        for (size_t i = 0; i < b->n; i++)
            if (b->frame.batch.event[i].kind == EVENT_COUNT && b->frame.batch.event[i].count.boarded != ++number)
                return false;
    }
    return number == number_of_last;
}

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            dprintf(report, "line %d: %s; ", __LINE__, #condition); \
            _exit(1); \
        } \
    } while (0)

/* A disk that is full for hours: new positions go on being stored, the oldest go for them in order, every alarm stays. */
static void child_with_full_disk(int report)
{
    if (mount("none", dir, "tmpfs", 0, "size=24m") != 0)
        _exit(77);
    struct bench *b = begin(100, 1 << 30);
    int other = ballast(3 * 1024);
    CHECK(other >= 0);
    int32_t bulk = 0, urgent = 0;
    unsigned rounds = 0;
    struct outbox_figures f = {0};
    int64_t slowest_ms = 0;
    while ((f.given_up < 15000 || !b->told_given_up) && rounds++ < 5000) {
        for (int k = 0; k < 400; k++)
            put(b, EVENT_LANE_BULK, ++bulk);
        int64_t began = clock_mono_ms();
        put(b, EVENT_LANE_URGENT, ++urgent);
        CHECK(await_put(b, EVENT_LANE_URGENT, (uint64_t)urgent, 10000));
        if (clock_mono_ms() - began > slowest_ms)
            slowest_ms = clock_mono_ms() - began;
        outbox_figures(b->o, &f);
    }
    CHECK(f.given_up >= 15000);
    CHECK(b->trouble && b->told_full && b->told_given_up);
    for (int k = 0; k < WIRE_BATCH_MAX; k++) /* what waits in memory goes with these at the latest */
        put(b, EVENT_LANE_BULK, ++bulk);
    CHECK(await_stored(b, EVENT_LANE_BULK, (uint64_t)bulk, 40000));
    uint64_t first = 0, first_urgent = 0;
    CHECK(kept_in_order(b, EVENT_LANE_BULK, (uint64_t)bulk, bulk, &first));
    CHECK(kept_in_order(b, EVENT_LANE_URGENT, (uint64_t)urgent, urgent, &first_urgent));
    outbox_figures(b->o, &f);
    CHECK(first_urgent == 1 && f.waiting[EVENT_LANE_URGENT] > (uint64_t)urgent && f.waiting[EVENT_LANE_URGENT] < (uint64_t)urgent + (uint64_t)urgent / 8 + 20);
    CHECK(f.given_up == first - 1);
    CHECK(f.given_up + f.waiting[EVENT_LANE_BULK] == (uint64_t)bulk);
    CHECK(f.stored == (uint64_t)bulk + (uint64_t)urgent);
    unsigned troubles = b->troubles;
    /* the other program cleans up: it is over with the next group, and nothing more is given up */
    CHECK(ftruncate(other, 0) == 0 && close(other) == 0);
    put(b, EVENT_LANE_BULK, ++bulk);
    CHECK(await_stored(b, EVENT_LANE_BULK, (uint64_t)bulk, 5000));
    int64_t until = clock_mono_ms() + 5000;
    for (bool never = false; b->trouble && clock_mono_ms() < until;)
        await(b, &never, 5);
    CHECK(!b->trouble);
    uint64_t given_up = f.given_up;
    finish(b);
    b = begin(100, 1 << 30); /* the same after a start from what is on the disk */
    CHECK(kept_in_order(b, EVENT_LANE_BULK, (uint64_t)bulk, bulk, &first));
    CHECK(first == given_up + 1);
    CHECK(kept_in_order(b, EVENT_LANE_URGENT, (uint64_t)urgent, urgent, &first_urgent) && first_urgent == 1);
    finish(b);
    dprintf(report, "positions %d, given up the oldest %llu, alarms %d all kept, slowest alarm %lld ms, told %u times, then over\n", bulk,
            (unsigned long long)given_up, urgent, (long long)slowest_ms, troubles);
    _exit(0);
}

/* A disk that is full for a moment: nothing is given up, positions wait in memory, alarms do not wait. */
static void child_with_briefly_full_disk(int report)
{
    if (mount("none", dir, "tmpfs", 0, "size=24m") != 0)
        _exit(77);
    struct bench *b = begin(100, 1 << 30);
    int other = ballast(40);
    CHECK(other >= 0);
    int32_t bulk = 0;
    for (int round = 0; round < 200 && !b->trouble; round++) { /* into what is left of the disk, one batch at a time */
        for (int k = 0; k < 300; k++)
            put(b, EVENT_LANE_BULK, ++bulk);
        bool never = false;
        for (int i = 0; i < 100 && b->stored[EVENT_LANE_BULK] < (uint64_t)bulk && !b->trouble; i++)
            await(b, &never, 10);
    }
    CHECK(b->trouble);
    for (int i = 1; i <= 5; i++) {
        put(b, EVENT_LANE_URGENT, i);
        CHECK(await_put(b, EVENT_LANE_URGENT, (uint64_t)i, 20000));
    }
    uint64_t before = b->stored[EVENT_LANE_BULK];
    CHECK(ftruncate(other, 0) == 0 && close(other) == 0);
    put(b, EVENT_LANE_BULK, ++bulk);
    CHECK(await_stored(b, EVENT_LANE_BULK, (uint64_t)bulk, 40000));
    int64_t until = clock_mono_ms() + 5000;
    for (bool never = false; b->trouble && clock_mono_ms() < until;)
        await(b, &never, 5);
    struct outbox_figures f;
    outbox_figures(b->o, &f);
    dprintf(report, "full with %llu of %d positions on disk; alarms went in; over: all stored, %llu given up\n", (unsigned long long)before, bulk,
            (unsigned long long)f.given_up);
    CHECK(!b->trouble && f.stored == (uint64_t)bulk + 5 && f.given_up == 0);
    finish(b);
    _exit(0);
}

static void with_disk_of_its_own(void (*child)(int report))
{
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(pipes[1]);
    close(pipes[1]);
    char text[512] = "";
    size_t n = 0;
    for (ssize_t got; n < sizeof text - 1 && (got = read(pipes[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)got;
    close(pipes[0]);
    waitpid(pid, &status, 0);
    umount2(dir, MNT_DETACH);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* no right to mount here */
    print_message("%s", text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_full_disk(void **state)
{
    (void)state;
    with_disk_of_its_own(child_with_full_disk);
}

static void test_briefly_full_disk(void **state)
{
    (void)state;
    with_disk_of_its_own(child_with_briefly_full_disk);
}

/* --- a broken file --- */

static void fill(int n)
{
    struct bench *b = begin(100, 1 << 30);
    for (int i = 1; i <= n; i++) {
        put(b, EVENT_LANE_BULK, i);
        if (i % 100 == 0) {
            put(b, EVENT_LANE_URGENT, i);
            assert_true(await_stored(b, EVENT_LANE_URGENT, (uint64_t)i / 100, 5000));
        }
    }
    assert_true(await_stored(b, EVENT_LANE_BULK, (uint64_t)n, 5000));
    finish(b);
}

static void scribble(off_t from, size_t n)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    char junk[4096];
    memset(junk, 0x5a, sizeof junk);
    for (size_t done = 0; done < n; done += sizeof junk)
        assert_int_equal(pwrite(fd, junk, sizeof junk, from + (off_t)done), sizeof junk);
    close(fd);
}

static void test_broken_header_starts_above(void **state)
{
    (void)state;
    fill(2000);
    scribble(0, 4096);
    struct bench *b = begin(100, 1 << 30);
    put(b, EVENT_LANE_BULK, 1);
    assert_true(await_stored(b, EVENT_LANE_BULK, 2001, 5000));
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    assert_true(span[0].last_seq > 2000);
    assert_true(span[0].first_seq > 2000);
    finish(b);
    char command[256];
    snprintf(command, sizeof command, "ls %s/outbox.db.bad-* >/dev/null", dir);
    assert_int_equal(system(command), 0);
}

static void test_broken_header_and_floor_start_above_too(void **state)
{
    (void)state;
    char floor[128];
    fill(500);
    scribble(0, 4096);
    snprintf(floor, sizeof floor, "%s.floor", path);
    assert_int_equal(truncate(floor, 10), 0);
    struct bench *b = begin(100, 1 << 30);
    put(b, EVENT_LANE_BULK, 1);
    assert_true(await_stored(b, EVENT_LANE_BULK, 501, 5000));
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    assert_true(span[0].first_seq > 1000000000);
    finish(b);
}

static void test_one_broken_page_saves_the_rest(void **state)
{
    (void)state;
    fill(20000);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 10 * 4096);
    scribble(st.st_size / 2 / 4096 * 4096, 4096);
    struct bench *b = begin(100, 1 << 30);
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    put(b, EVENT_LANE_BULK, 1);
    assert_true(await_stored(b, EVENT_LANE_BULK, span[0].last_seq + 1, 5000));
    struct outbox_figures f;
    outbox_figures(b->o, &f);
    print_message("of 20200 records %llu were saved\n", (unsigned long long)(f.waiting[0] + f.waiting[1] - 1));
    assert_true(f.waiting[1] == 202); /* the alarms are elsewhere in the file; and each lane tells that it was damaged */
    assert_true(f.waiting[0] > 1000);
    fetch(b, EVENT_LANE_URGENT, 1, UINT64_MAX, 512);
    assert_int_equal(b->first, 1);
    assert_int_equal(b->frame.batch.event[0].count.boarded, 100);
    finish(b);
}

static void test_flipped_bit_in_a_record_is_dropped_and_counted(void **state)
{
    (void)state;
    fill(300);
    char why[256];
    sqlite3 *db;
    assert_int_equal(db_open(path, DB_SYNC_FULL, &db, why, sizeof why), RC_OK);
    assert_int_equal(db_exec(db, "UPDATE outbox SET frame = x'00' || substr(frame, 2) WHERE lane = 0 AND first_seq ="
                                 " (SELECT min(first_seq) FROM outbox WHERE lane = 0 AND first_seq > 0)"), RC_OK);
    db_close(db);
    struct bench *b = begin(100, 1 << 30);
    fetch(b, EVENT_LANE_BULK, 1, UINT64_MAX, 512);
    assert_int_equal(b->rc, RC_OK);
    assert_true(b->first > 1);
    assert_int_equal(b->frame.batch.event[0].count.boarded, b->first);
    struct outbox_figures f;
    outbox_figures(b->o, &f);
    assert_int_equal(f.given_up, b->first - 1);
    finish(b);
}

static void test_deleted_file_goes_on_above(void **state)
{
    (void)state;
    fill(300);
    assert_int_equal(unlink(path), 0);
    struct bench *b = begin(100, 1 << 30);
    put(b, EVENT_LANE_BULK, 1);
    assert_true(await_stored(b, EVENT_LANE_BULK, 301, 5000));
    struct wire_lane span[EVENT_LANES];
    outbox_span(b->o, span);
    assert_true(span[0].first_seq > 300);
    finish(b);
}

/* --- kill -9 --- */

struct done_so_far {
    uint8_t lane;
    uint64_t last;
};
static int report_fd;
static void report_stored(void *arg, enum event_lane lane, uint64_t last)
{
    (void)arg;
    struct done_so_far r = {.lane = (uint8_t)lane, .last = last};
    if (write(report_fd, &r, sizeof r) != sizeof r)
        _exit(9);
}

/* Puts events whose number tells cycle and order, acks the oldest now and then, until it is killed. */
static void victim(int cycle, unsigned seed)
{
    uv_loop_t loop;
    struct outbox *o;
    char why[512];
    uv_loop_init(&loop);
    struct outbox_setup s = {.path = path, .group_ms = 100, .max_bytes = 1 << 30, .on_stored = report_stored};
    if (outbox_start(&loop, &s, &o, why, sizeof why) != RC_OK)
        _exit(8);
    for (int i = 0; i < 9000; i++) {
        struct event e = numbered(cycle * 10000 + i);
        enum event_lane lane = rand_r(&seed) % 20 == 0 ? EVENT_LANE_URGENT : EVENT_LANE_BULK;
        if (outbox_put(o, lane, &e) != RC_OK)
            _exit(7);
        if (rand_r(&seed) % 50 == 0) {
            struct wire_lane span[EVENT_LANES];
            outbox_span(o, span);
            if (span[0].first_seq > 0) {
                struct wire_ack a = {.lane = 0, .through = span[0].first_seq + 5 < span[0].last_seq ? span[0].first_seq + 5 : span[0].first_seq};
                outbox_acked(o, &a);
            }
        }
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(rand_r(&seed) % 1500);
    }
    for (;;)
        uv_run(&loop, UV_RUN_ONCE);
}

static void test_kill_at_any_moment(void **state)
{
    (void)state;
    const char *wanted = getenv("SCHOOLWARD_KILLS");
    int cycles = wanted != NULL ? atoi(wanted) : 60;
    unsigned seed = (unsigned)time(NULL);
    uint64_t reported[EVENT_LANES] = {0, 0}, records = 0;
    int32_t newest[EVENT_LANES] = {-1, -1};
    uint64_t seen_to[EVENT_LANES] = {0, 0};
    print_message("seed %u\n", seed);
    for (int c = 0; c < cycles; c++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(pipes[0]);
            report_fd = pipes[1];
            victim(c, seed + (unsigned)c * 77);
        }
        close(pipes[1]);
        usleep(20000 + rand_r(&seed) % 230000);
        kill(pid, SIGKILL);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        struct done_so_far r;
        while (read(pipes[0], &r, sizeof r) == (ssize_t)sizeof r) {
            assert_true(r.last > reported[r.lane]); /* never back, over restarts too */
            reported[r.lane] = r.last;
        }
        close(pipes[0]);
        /* the oracle: everything reported is there or was acked; each record once, in the order of its making */
        struct bench *b = begin(60000, 1 << 30);
        struct wire_lane span[EVENT_LANES];
        outbox_span(b->o, span);
        for (int lane = 0; lane < EVENT_LANES; lane++) {
            assert_true(span[lane].last_seq >= reported[lane]);
            uint64_t expect = span[lane].first_seq;
            for (uint64_t from = 1;;) {
                fetch(b, (enum event_lane)lane, from, UINT64_MAX, 512);
                if (b->rc == RC_END)
                    break;
                assert_int_equal(b->rc, RC_OK);
                assert_int_equal(b->first, expect); /* no hole */
                for (size_t i = 0; i < b->n; i++) {
                    if (b->first + i <= seen_to[lane])
                        continue;
                    assert_true(b->frame.batch.event[i].count.boarded > newest[lane]);
                    newest[lane] = b->frame.batch.event[i].count.boarded;
                    records++;
                }
                from = expect = b->first + b->n;
            }
            if (span[lane].last_seq > 0)
                assert_int_equal(expect, span[lane].last_seq + 1);
            seen_to[lane] = span[lane].last_seq;
        }
        finish(b);
    }
    print_message("%d kills, %llu records checked, reported to %llu and %llu\n", cycles, (unsigned long long)records, (unsigned long long)reported[0],
                  (unsigned long long)reported[1]);
    assert_true(reported[0] > 0 && reported[1] > 0);
}

/* --- what an SD card has to take --- */

static void test_bytes_written_per_group(void **state)
{
    (void)state;
    struct bench *b = begin(100, 1 << 30);
    welcome(b, 0, 0);
    uint64_t seq = 0;
    struct outbox_figures before, after;
    for (int group = 0; group < 60; group++) {
        if (group == 10)
            outbox_figures(b->o, &before);
        for (int i = 0; i < 6; i++) /* two seconds of a full bus: two fixes, counts, inputs, health */
            put(b, EVENT_LANE_BULK, (int32_t)++seq);
        assert_true(await_stored(b, EVENT_LANE_BULK, seq, 5000));
        struct wire_ack a = {.lane = 0, .through = seq};
        outbox_acked(b->o, &a);
    }
    outbox_figures(b->o, &after);
    double per_group = (double)(after.bytes_written - before.bytes_written) / 50.0;
    print_message("bytes_per_group=%.0f mb_per_day_at_2s=%.0f\n", per_group, per_group * 43200 / 1e6);
    assert_in_range((int64_t)per_group, 1000, 13000); /* one page, at times two, and from the WAL into the file */
    finish(b);
}

/*
 * A week away from any server: a fix a second in groups of two, a counter and the inputs at 60 stops a day, health now and then. One day is written
 * (all seven with SCHOOLWARD_NIGHTLY=1), on memory: what counts is bytes.
 */
static void test_a_week_in_64_mib(void **state)
{
    (void)state;
    static struct outbox_store s;
    char note[512], why[512];
    const char *env = getenv("SCHOOLWARD_NIGHTLY");
    const int days = env != NULL && strcmp(env, "1") == 0 ? 7 : 1;
    char on_memory[64] = "/dev/shm/sw-week-XXXXXX", command[128], file[96];
    if (mkdtemp(on_memory) == NULL)
        skip();
    snprintf(file, sizeof file, "%s/outbox.db", on_memory);
    s = (struct outbox_store){0};
    assert_int_equal(outbox_store_open(&s, file, note, why, sizeof note), RC_OK);
    uint64_t events = 0;
    uint32_t noise = 1;
    int32_t lat = 240000000, lon = 1090000000, speed = 0;
    for (int t = 0; t < days * 86400; t += 2) {
        struct event e[8];
        size_t n = 0;
        for (int k = 0; k < 2; k++) {
            noise = noise * 1664525U + 1013904223U;
            speed = (speed + (int32_t)(noise >> 24) * 8 - 900) % 20000;
            speed = speed < 0 ? -speed : speed;
            lat += (int32_t)(noise >> 20 & 511) - 256 + speed / 200;
            lon += (int32_t)(noise >> 10 & 511) - 256 + speed / 150;
            e[n++] = (struct event){.time_ms = 1790000000000 + (t + k) * 1000LL,
                                    .kind = EVENT_FIX,
                                    .clock = EVENT_CLOCK_GNSS,
                                    .fix = {.lat_e7 = lat,
                                            .lon_e7 = lon,
                                            .speed_mmps = speed,
                                            .track_cdeg = (int32_t)(noise >> 8) % 36000,
                                            .alt_dm = 1000 + (int32_t)(noise >> 28),
                                            .hdop_d = 8 + (int32_t)(noise >> 30),
                                            .satellites = (uint8_t)(9 + (noise >> 29)),
                                            .mode = EVENT_FIX_3D}};
        }
        if (t % 1440 < 12) { /* at a stop: doors, counters */
            e[n] = (struct event){.time_ms = e[0].time_ms,
                                  .kind = EVENT_INPUTS,
                                  .clock = EVENT_CLOCK_GNSS,
                                  .inputs = {.state = (uint32_t)t / 2 & 1, .known = EVENT_IN_ALL}};
            e[n + 1] = numbered(t);
            e[n + 1].clock = EVENT_CLOCK_GNSS;
            n += 2;
        }
        assert_int_equal(outbox_store_begin(&s), RC_OK);
        assert_int_equal(outbox_store_add(&s, EVENT_LANE_BULK, e, n), RC_OK);
        assert_int_equal(outbox_store_commit(&s), RC_OK);
        events += n;
    }
    double mib_per_day = (double)outbox_store_used(&s) / days / 1048576.0;
    print_message("days=%d events=%llu bytes_per_event=%.1f mib_per_day=%.2f days_in_64_mib=%.1f written_mb_per_day=%.0f\n", days,
                  (unsigned long long)events, (double)outbox_store_used(&s) / (double)events, mib_per_day, 64 / mib_per_day,
                  (double)s.bytes_written / days / 1e6);
    outbox_store_close(&s);
    snprintf(command, sizeof command, "rm -rf '%s'", on_memory);
    assert_int_equal(system(command), 0);
    assert_true(mib_per_day * 7 <= 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)
        T(test_group_is_one_row_and_urgent_takes_it_along),
        T(test_bulk_group_commits_by_itself),
        T(test_mixed_clocks_become_separate_batches),
        T(test_bad_events_are_refused),
        T(test_queue_limit_keeps_room_for_alarms),
        T(test_acks_forget_whole_and_partial_rows),
        T(test_numbers_go_on_after_everything_was_acked),
        T(test_new_disk_of_a_known_gateway),
        T(test_size_limit_gives_up_oldest_positions_not_alarms),
        T(test_full_disk),
        T(test_briefly_full_disk),
        T(test_broken_header_starts_above),
        T(test_broken_header_and_floor_start_above_too),
        T(test_one_broken_page_saves_the_rest),
        T(test_flipped_bit_in_a_record_is_dropped_and_counted),
        T(test_deleted_file_goes_on_above),
        T(test_bytes_written_per_group),
        T(test_a_week_in_64_mib),
        T(test_kill_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
