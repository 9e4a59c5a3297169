/* What goes next, against docs/protocol.md G5 and 1.3; and a million random conversations in which everything arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/uplink_queue.h"
#include "gateway/uplink_url.h"

static struct uplink_queue begin(uint64_t bulk_first, uint64_t bulk_last, uint64_t urgent_first, uint64_t urgent_last)
{
    struct uplink_queue q;
    uplink_queue_init(&q, 16);
    uplink_queue_begin(&q, (struct wire_lane[EVENT_LANES]){{bulk_first, bulk_last}, {urgent_first, urgent_last}});
    return q;
}

/* Fetch and send what is wanted, whole. */
static bool send_next(struct uplink_queue *q, struct uplink_flight *ret_f, int64_t now)
{
    struct uplink_want w;
    if (!uplink_queue_next(q, &w))
        return false;
    uint64_t n = w.to - w.from + 1;
    if (n > w.max_events)
        n = w.max_events;
    uplink_queue_taken(q, &w, w.from, (size_t)n);
    *ret_f = (struct uplink_flight){.lane = w.lane, .backlog = w.backlog, .first = w.from, .last = w.from + n - 1};
    uplink_queue_sent(q, ret_f, now);
    return true;
}

static bool ack(struct uplink_queue *q, int lane, uint64_t through, uint64_t from, uint64_t to)
{
    struct wire_ack a = {.lane = (uint8_t)lane, .through = through, .ranges = from > 0, .range = {{from, to}}};
    int64_t took = -1;
    return uplink_queue_acked(q, &a, 100, &took);
}

static void test_nothing_waits(void **state)
{
    (void)state;
    struct uplink_want w;
    struct uplink_queue q = begin(0, 0, 0, 0);
    assert_false(uplink_queue_next(&q, &w));
    q = begin(301, 300, 8, 7);
    assert_false(uplink_queue_next(&q, &w));
}

static void test_alarms_first_then_live_then_backlog_four_to_one(void **state)
{
    (void)state;
    struct uplink_queue q = begin(1, 10000, 1, 3);
    struct uplink_flight f;
    uint64_t live = 10000, urgent = 3;
    char order[64];
    size_t n = 0;
    for (int i = 0; i < 16; i++) {
        live += 2;
        uplink_queue_stored(&q, EVENT_LANE_BULK, live);
        if (i == 7)
            uplink_queue_stored(&q, EVENT_LANE_URGENT, ++urgent);
        assert_true(send_next(&q, &f, 0));
        order[n++] = f.lane == EVENT_LANE_URGENT ? 'U' : f.backlog ? 'b' : 'L';
        if (f.lane == EVENT_LANE_URGENT)
            ack(&q, 1, f.last, 0, 0);
        else if (f.backlog)
            ack(&q, 0, f.last, 9993, q.live_next - 1);
        else
            ack(&q, 0, q.backlog_next - 1, 9993, f.last);
    }
    order[n] = '\0';
    assert_string_equal(order, "ULLLLbLULLLbLLLL");
}

static void test_window(void **state)
{
    (void)state;
    struct uplink_queue q = begin(1, 100000, 0, 0);
    struct uplink_flight f;
    int backlog = 0, all = 0;
    assert_true(send_next(&q, &f, 0)); /* where the bus is now comes before where it was */
    assert_int_equal(f.first, 99993);
    assert_int_equal(f.last, 100000);
    assert_false(f.backlog);
    while (send_next(&q, &f, 0))
        backlog++;
    assert_int_equal(backlog, 4); /* a fourth of the window */
    uint64_t live = 100000;
    for (; all < 100; all++) {
        uplink_queue_stored(&q, EVENT_LANE_BULK, ++live);
        if (!send_next(&q, &f, 0))
            break;
    }
    assert_int_equal(all, 11);
    uplink_queue_stored(&q, EVENT_LANE_URGENT, 1); /* and an alarm still goes */
    assert_true(send_next(&q, &f, 0));
    assert_int_equal(f.lane, EVENT_LANE_URGENT);
}

static void test_refused_batch_is_sent_again_in_order(void **state)
{
    (void)state;
    struct uplink_queue q = begin(1, 1000, 0, 0);
    struct uplink_flight a, b;
    uplink_queue_stored(&q, EVENT_LANE_BULK, 1010);
    assert_true(send_next(&q, &a, 0)); /* live 1001..1010 */
    assert_true(send_next(&q, &b, 0)); /* backlog from 1 */
    assert_true(b.backlog);
    /* the ack knows the later one and not the earlier one: no place for its gap */
    assert_true(ack(&q, 0, b.last, 0, 0));
    uplink_queue_stored(&q, EVENT_LANE_BULK, 1020);
    uint64_t expect = b.last + 1;
    struct uplink_flight f;
    while (expect <= 1020) {
        assert_true(send_next(&q, &f, 0));
        assert_int_equal(f.first, expect);
        assert_true(f.backlog);
        expect = f.last + 1;
        ack(&q, 0, f.last, 0, 0);
    }
    /* the gap is closed: as before */
    uplink_queue_stored(&q, EVENT_LANE_BULK, 1030);
    assert_true(send_next(&q, &f, 0));
    assert_false(f.backlog);
    assert_int_equal(f.first, 1021);
}

static void test_full_ranges_mean_in_order(void **state)
{
    (void)state;
    struct uplink_queue q = begin(1, 1000, 0, 0);
    struct uplink_flight f;
    assert_true(send_next(&q, &f, 0));
    struct wire_ack a = {.lane = 0, .through = f.last, .ranges = WIRE_RANGES_MAX};
    for (size_t i = 0; i < WIRE_RANGES_MAX; i++)
        a.range[i] = (struct wire_range){2000 + i * 10, 2001 + i * 10};
    int64_t took;
    assert_true(uplink_queue_acked(&q, &a, 0, &took));
    assert_true(q.in_order);
}

static void test_overdue(void **state)
{
    (void)state;
    struct uplink_queue q = begin(1, 10, 0, 0);
    struct uplink_flight f;
    assert_false(uplink_queue_overdue(&q, 100000, 30000));
    assert_true(send_next(&q, &f, 1000));
    assert_false(uplink_queue_overdue(&q, 30999, 30000));
    assert_true(uplink_queue_overdue(&q, 31000, 30000));
    uplink_queue_in_order(&q);
    assert_true(send_next(&q, &f, 31000));
    assert_int_equal(f.first, 1);
}

static void test_batches_follow_the_link(void **state)
{
    (void)state;
    struct uplink_queue q = begin(1, 10000000, 0, 0);
    struct uplink_flight f;
    struct wire_ack a = {.lane = 0};
    int64_t took;
    for (int i = 0; i < 40; i++) { /* a fast link: up to the limit */
        assert_true(send_next(&q, &f, 0));
        a.through = f.last;
        uplink_queue_acked(&q, &a, 50, &took);
    }
    assert_int_equal(q.backlog_max, WIRE_BATCH_MAX);
    for (int i = 0; i < 10; i++) { /* each ack takes five seconds */
        assert_true(send_next(&q, &f, 0));
        a.through = f.last;
        uplink_queue_acked(&q, &a, 5000, &took);
    }
    assert_int_equal(q.backlog_max, 16);
    assert_int_equal(took, 5000);
    for (int i = 0; i < 12; i++)
        uplink_queue_smaller(&q);
    assert_int_equal(q.backlog_max, 1);
    assert_int_equal(q.live_max, 1);
}

/* A server with few places for ranges, connections that break, acks that get lost: everything is settled in the end, nothing skipped. */
static void converse(unsigned seed)
{
    enum { RECORDS = 3000 };
    struct wire_settled server[EVENT_LANES] = {0};
    uint64_t stored[EVENT_LANES] = {0, 0};
    struct uplink_queue q;
    uplink_queue_init(&q, 1 + (int)(rand_r(&seed) % 32));
    bool connected = false;
    unsigned idle = 0;
    size_t room = rand_r(&seed) % 8; /* ranges the server keeps */
    for (int step = 0; step < 200000; step++) {
        if (stored[0] < RECORDS && rand_r(&seed) % 3 == 0) {
            int lane = rand_r(&seed) % 16 == 0;
            stored[lane] += 1 + rand_r(&seed) % 20;
            if (connected)
                uplink_queue_stored(&q, (enum event_lane)lane, stored[lane]);
        }
        if (!connected) {
            struct wire_lane span[EVENT_LANES];
            for (int i = 0; i < EVENT_LANES; i++)
                span[i] = stored[i] == 0 ? (struct wire_lane){0, 0} : (struct wire_lane){server[i].through + 1, stored[i]};
            uplink_queue_begin(&q, span);
            connected = true;
        }
        struct uplink_flight f;
        if (send_next(&q, &f, step)) {
            idle = 0;
            struct wire_settled next = server[f.lane];
            if (wire_settle(&next, f.first, f.last) == RC_OK && next.ranges <= room)
                server[f.lane] = next;
            if (rand_r(&seed) % 4 != 0) { /* some acks are late: the next one tells */
                struct wire_ack a = {.lane = (uint8_t)f.lane, .through = server[f.lane].through, .ranges = server[f.lane].ranges};
                memcpy(a.range, server[f.lane].range, sizeof a.range);
                int64_t took;
                uplink_queue_acked(&q, &a, step, &took);
            }
        } else if (++idle > 20) {
            for (int i = 0; i < EVENT_LANES; i++) {
                struct wire_ack a = {.lane = (uint8_t)i, .through = server[i].through, .ranges = server[i].ranges};
                memcpy(a.range, server[i].range, sizeof a.range);
                int64_t took;
                uplink_queue_acked(&q, &a, step, &took);
            }
            if (uplink_queue_overdue(&q, step, 30))
                uplink_queue_in_order(&q);
        }
        if (rand_r(&seed) % 500 == 0)
            connected = false;
        assert_true(q.flights <= UPLINK_WINDOW_MAX + UPLINK_URGENT_EXTRA);
        if (stored[0] >= RECORDS && server[0].through == stored[0] && server[1].through == stored[1])
            return;
    }
    fail_msg("seed stuck: through %llu of %llu", (unsigned long long)server[0].through, (unsigned long long)stored[0]);
}

static void test_random_conversations(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 1000; seed++)
        converse(seed);
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const good[] = {"ws://127.0.0.1:8080", "wss://bus.example.cn", "wss://bus.example.cn/", "wss://bus.example.cn:8443/a/gateway",
                                       "ws://[2001:db8::1]:80/gateway", "ws://localhost/x?y=1"};
    static const char *const bad[] = {"", "http://a", "ws://", "ws:///gateway", "ws://a:0", "ws://a:65536", "ws://a:x", "ws://a b", "ws://user:pw@host",
                                      "ws://[::1", "wss://a:80x", "ws://a\r\nX: y", "ws://a/x\r\nX: y", "ws://a/b c"};
    char why[256];
    struct uplink_url url;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(uplink_url_parse(good[i], &url, why, sizeof why), RC_OK);
    assert_int_equal(uplink_url_parse("wss://[2001:db8::1]", &url, why, sizeof why), RC_OK);
    assert_true(url.tls);
    assert_string_equal(url.host, "2001:db8::1");
    assert_int_equal(url.port, 443);
    assert_string_equal(url.path, "/gateway");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (uplink_url_parse(bad[i], &url, why, sizeof why) == RC_OK)
            fail_msg("accepted: %s", bad[i]);
        assert_true(strlen(why) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_waits),
        cmocka_unit_test(test_alarms_first_then_live_then_backlog_four_to_one),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_refused_batch_is_sent_again_in_order),
        cmocka_unit_test(test_full_ranges_mean_in_order),
        cmocka_unit_test(test_overdue),
        cmocka_unit_test(test_batches_follow_the_link),
        cmocka_unit_test(test_random_conversations),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
