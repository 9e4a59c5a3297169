/* wire: round trips, the byte budget, differential against protobuf-c's own coder, hostile input, settled sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/wire.h"
#include "schoolward.pb-c.h"

static uint64_t seed = 88172645463325252ULL;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}
static int32_t between(int32_t lo, int32_t hi)
{
    return lo + (int32_t)(rnd() % (uint64_t)((int64_t)hi - lo + 1));
}
static unsigned any_kind(void)
{
    unsigned kind = 1 + (unsigned)(rnd() % (EVENT_KINDS - 1));
    return kind == EVENT_TICK ? EVENT_FIX : kind;
}
static int32_t maybe(int32_t lo, int32_t hi)
{
    return rnd() % 8 == 0 ? EVENT_UNKNOWN : between(lo, hi);
}

static void random_described(struct event *e)
{
    size_t n = 0;
    const struct event_field *f = event_fields(e->kind, &n);
    for (size_t i = 0; i < n; i++) {
        int64_t v = (int64_t)rnd();
        if (f[i].form == EVENT_FIELD_BYTES) {
            for (int k = 0; k < 16; k++)
                ((uint8_t *)e + f[i].offset)[k] = (uint8_t)rnd();
            continue;
        }
        if (f[i].form == EVENT_FIELD_U32)
            v = (uint32_t)v;
        else if (f[i].form == EVENT_FIELD_I32)
            v = maybe(f[i].min, f[i].max);
        else if (f[i].form == EVENT_FIELD_U8)
            v = between(f[i].min, f[i].max);
        if (f[i].words > 0 && f[i].word[v] == NULL)
            v = 1;
        assert_true(event_field_set(e, &f[i], v));
        assert_int_equal(event_field_value(e, &f[i]), v);
    }
    if (e->kind == EVENT_TALLY) { /* low <= best <= high */
        int32_t low = between(0, 300);
        e->tally.low = rnd() % 4 == 0 ? EVENT_UNKNOWN : low;
        e->tally.best = e->tally.low == EVENT_UNKNOWN ? EVENT_UNKNOWN : low + between(0, 20);
        e->tally.high = e->tally.low == EVENT_UNKNOWN ? EVENT_UNKNOWN : e->tally.best + between(0, 20);
    }
    if (e->kind == EVENT_GAP && e->gap.from_seq > e->gap.to_seq)
        e->gap.from_seq = 0;
}

static struct event random_event(unsigned kind)
{
    struct event e = {.time_ms = 1763856000000LL + (int64_t)(rnd() % 100000), .kind = (uint8_t)kind, .clock = EVENT_CLOCK_GNSS};
    static const char *const names[] = {"gps", "door-counter", "a23456789012345"};
    switch (kind) {
    case EVENT_FIX:
        e.fix = (struct event_fix){
            maybe(-900000000, 900000000), maybe(-1800000000, 1800000000), maybe(0, 60000), maybe(0, 35999), maybe(-10000, 90000), maybe(0, 999),
            (uint8_t)between(0, 63),      (uint8_t)between(0, 3), (uint8_t)between(0, 3)};
        break;
    case EVENT_COUNT:
        e.count = (struct event_count){(uint8_t)between(1, 4), (uint8_t)between(0, 3), (uint8_t)between(0, 7), (uint8_t)between(0, 100),
                                       maybe(0, 1000000),      maybe(0, 1000000),      maybe(0, 1000)};
        break;
    case EVENT_INPUTS:
        e.inputs.known = (uint32_t)between(0, EVENT_IN_ALL);
        e.inputs.state = (uint32_t)rnd() & e.inputs.known;
        break;
    case EVENT_CAMERA:
        e.camera = (struct event_camera){(uint32_t)rnd(), (uint8_t)between(0x64, 0x67), (uint8_t)between(0, 2),
                                         (uint8_t)rnd(),  (uint8_t)between(0, 10),      (uint8_t)rnd(),
                                         (uint8_t)rnd()};
        break;
    case EVENT_HEALTH:
        strcpy(e.health.name, names[rnd() % 3]);
        e.health.device = (uint8_t)between(1, 7);
        e.health.state = (uint8_t)between(1, 4);
        e.health.code = between(-1000000, 1000000);
        break;
    case EVENT_CLOCK: e.clock_set = (struct event_clock_set){(int64_t)rnd() / 4, (uint8_t)between(0, 4)}; break;
    default: random_described(&e);
    }
    return e;
}

static void assert_same(const struct event *a, const struct event *b)
{
    assert_int_equal(a->time_ms, b->time_ms);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->clock, b->clock);
    switch (a->kind) {
    case EVENT_FIX: assert_memory_equal(&a->fix, &b->fix, offsetof(struct event_fix, doubt) + 1); break; /* behind it is padding */
    case EVENT_COUNT: assert_memory_equal(&a->count, &b->count, sizeof a->count); break;
    case EVENT_INPUTS: assert_memory_equal(&a->inputs, &b->inputs, sizeof a->inputs); break;
    case EVENT_CAMERA:
        assert_int_equal(a->camera.alarm_id, b->camera.alarm_id);
        assert_memory_equal(&a->camera.unit, &b->camera.unit, 6);
        break;
    case EVENT_HEALTH:
        assert_string_equal(a->health.name, b->health.name);
        assert_int_equal(a->health.device, b->health.device);
        assert_int_equal(a->health.state, b->health.state);
        assert_int_equal(a->health.code, b->health.code);
        break;
    case EVENT_CLOCK:
        assert_int_equal(a->clock_set.offset_ms, b->clock_set.offset_ms);
        assert_int_equal(a->clock_set.quality, b->clock_set.quality);
        break;
    default: {
        size_t n = 0;
        const struct event_field *f = event_fields(a->kind, &n);
        assert_non_null(f);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(event_field_value(a, &f[i]), event_field_value(b, &f[i]));
            if (f[i].form == EVENT_FIELD_BYTES)
                assert_memory_equal((const char *)a + f[i].offset, (const char *)b + f[i].offset, 16);
        }
    }
    }
}

static struct wire_frame frame;
static uint8_t buf[WIRE_FRAME_MAX];

static void round_trip(void **state)
{
    (void)state;
    struct event e[WIRE_BATCH_MAX];
    for (int turn = 0; turn < 3000; turn++) {
        size_t n = turn < 20 ? WIRE_BATCH_MAX : 1 + rnd() % 40, len = 0;
        uint8_t clock = (uint8_t)between(0, 4);
        bool only_fixes = rnd() % 3 == 0, backlog = rnd() % 2;
        for (size_t i = 0; i < n; i++) {
            e[i] = random_event(only_fixes ? EVENT_FIX : any_kind());
            e[i].clock = clock;
        }
        uint64_t first = 1 + rnd() % 1000000000;
        assert_int_equal(wire_encode_batch(turn % 2, first, backlog, e, n, buf, sizeof buf, &len), RC_OK);
        const char *fault = "";
        if (wire_decode(buf, len, &frame, &fault) != RC_OK)
            fail_msg("%s", fault);
        assert_int_equal(frame.kind, WIRE_BATCH);
        assert_int_equal(frame.batch.lane, turn % 2);
        assert_int_equal(frame.batch.backlog, backlog);
        assert_int_equal(frame.batch.first_seq, first);
        assert_int_equal(frame.batch.n, n);
        for (size_t i = 0; i < n; i++)
            assert_same(&e[i], &frame.batch.event[i]);
        /* one byte less room is an error, never a write past the end */
        size_t short_len = 12345;
        assert_int_equal(wire_encode_batch(turn % 2, first, backlog, e, n, buf, len - 1, &short_len), RC_FULL);
        assert_int_equal(short_len, 12345);
    }
}

/* What our code writes, protobuf-c reads as the same message, and what it writes again, our code reads. */
static void agrees_with_protobuf_c(void **state)
{
    (void)state;
    struct event e[64];
    for (int turn = 0; turn < 500; turn++) {
        size_t n = 1 + rnd() % 64, len = 0;
        for (size_t i = 0; i < n; i++)
            e[i] = random_event(any_kind());
        assert_int_equal(wire_encode_batch(EVENT_LANE_URGENT, 7, false, e, n, buf, sizeof buf, &len), RC_OK);
        Schoolward__Frame *m = schoolward__frame__unpack(NULL, len, buf);
        assert_non_null(m);
        assert_int_equal(m->body_case, SCHOOLWARD__FRAME__BODY_BATCH);
        assert_int_equal(m->batch->first_seq, 7);
        assert_int_equal(m->batch->lane, 1);
        uint8_t *again = malloc(schoolward__frame__get_packed_size(m));
        size_t again_len = schoolward__frame__pack(m, again);
        const char *fault = "";
        assert_int_equal(wire_decode(again, again_len, &frame, &fault), RC_OK);
        assert_int_equal(frame.batch.n, n);
        for (size_t i = 0; i < n; i++)
            assert_same(&e[i], &frame.batch.event[i]);
        free(again);
        schoolward__frame__free_unpacked(m, NULL);
    }
}

static struct event driving(int i)
{
    /* some 15 m/s with a metre of noise, as a receiver gives it */
    struct event e = {.time_ms = 1763856000000LL + i * 1000, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS};
    e.fix = (struct event_fix){511600000 + i * 950 + between(-90, 90),
                               714700000 + i * 1400 + between(-90, 90),
                               15000 + between(-300, 300),
                               5500 + between(-60, 60),
                               3470 + between(-4, 4),
                               9,
                               12,
                               EVENT_FIX_3D,
                               0};
    return e;
}

static void byte_budget(void **state)
{
    (void)state;
    struct event e[60];
    size_t len = 0;
    for (int i = 0; i < 60; i++)
        e[i] = driving(i);
    /* a full fix alone: 6 bytes of WebSocket header (client, masked, below 126) and the message, with a sequence of half a year at 1 Hz */
    assert_int_equal(wire_encode_batch(EVENT_LANE_BULK, 15768000, false, e, 1, buf, sizeof buf, &len), RC_OK);
    print_message("full_fix_bytes=%zu\n", len + 6);
    assert_true(len + 6 <= 43);
    assert_int_equal(wire_encode_batch(EVENT_LANE_BULK, 15768000, false, e, 60, buf, sizeof buf, &len), RC_OK);
    print_message("batch_fix_bytes=%.2f\n", (double)(len + 8) / 60);
    assert_true((double)(len + 8) / 60 <= 15);
}

static void refuses_strangers(void **state)
{
    (void)state;
    struct event e[30];
    size_t len = 0;
    const char *fault = NULL;
    for (int i = 0; i < 30; i++)
        e[i] = random_event(1 + (unsigned)i % 6);
    assert_int_equal(wire_encode_batch(EVENT_LANE_BULK, 1, false, e, 30, buf, sizeof buf, &len), RC_OK);
    /* every truncation and every flipped bit: an error with a name, or a message whose every field is in range */
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = malloc(cut + 1);
        memcpy(part, buf, cut);
        fault = NULL;
        if (wire_decode(part, cut, &frame, &fault) != RC_OK)
            assert_non_null(fault);
        else
            fail_msg("accepted a frame cut at %zu", cut);
        free(part);
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        uint8_t *copy = malloc(len);
        memcpy(copy, buf, len);
        copy[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        fault = NULL;
        if (wire_decode(copy, len, &frame, &fault) == RC_OK) {
            if (frame.kind == WIRE_BATCH)
                for (size_t i = 0; i < frame.batch.n; i++)
                    assert_int_equal(event_check(&frame.batch.event[i], &fault), RC_OK);
        } else {
            assert_non_null(fault);
        }
        free(copy);
    }
    assert_int_equal(wire_decode("", 0, &frame, &fault), RC_RANGE);
    assert_string_equal(fault, "frame");
    static uint8_t big[WIRE_FRAME_MAX + 1];
    assert_int_equal(wire_decode(big, sizeof big, &frame, &fault), RC_FULL);
    e[0].time_ms = -5;
    assert_int_equal(wire_encode_batch(EVENT_LANE_BULK, 1, false, e, 1, buf, sizeof buf, &len), RC_RANGE);
    assert_int_equal(wire_encode_batch(EVENT_LANE_BULK, 0, false, e + 1, 1, buf, sizeof buf, &len), RC_INVALID);
}

static void conversation(void **state)
{
    (void)state;
    uint8_t small[WIRE_SMALL_MAX];
    const char *fault = "";
    size_t len = 0;
    struct wire_hello h = {.version = WIRE_VERSION,
                           .gateway = "gw-1",
                           .boot = "b",
                           .firmware = "0.1.0",
                           .duty = "d7",
                           .law = "cn-national 2026.11",
                           .lane = {{10, 40}, {0, 0}},
                           .time_ms = 1763856000000LL,
                           .clock = EVENT_CLOCK_NTP};
    assert_int_equal(wire_encode_hello(&h, small, sizeof small, &len), RC_OK);
    assert_int_equal(wire_decode(small, len, &frame, &fault), RC_OK);
    assert_int_equal(frame.kind, WIRE_HELLO);
    assert_memory_equal(&frame.hello.lane, &h.lane, sizeof h.lane);
    assert_string_equal(frame.hello.law, h.law);
    assert_int_equal(frame.hello.clock, EVENT_CLOCK_NTP);
    h.version = 2;
    assert_int_equal(wire_encode_hello(&h, small, sizeof small, &len), RC_OK);
    assert_int_equal(wire_decode(small, len, &frame, &fault), RC_UNSUPPORTED);
    assert_string_equal(fault, "hello.version");

    struct wire_welcome w = {
        .version = 1, .time_ms = 5, .max_frame = 65536, .ack = {{.lane = 0, .through = 9, .ranges = 1, .range = {{12, 20}}}, {.lane = 1}}};
    assert_int_equal(wire_encode_welcome(&w, small, sizeof small, &len), RC_OK);
    assert_int_equal(wire_decode(small, len, &frame, &fault), RC_OK);
    assert_int_equal(frame.welcome.ack[0].range[0].to, 20);
    assert_int_equal(frame.welcome.ack[1].through, 0);

    struct wire_ack a = {.lane = 1, .through = 5, .ranges = WIRE_RANGES_MAX};
    for (uint64_t i = 0; i < WIRE_RANGES_MAX; i++)
        a.range[i] = (struct wire_range){UINT64_MAX / 4 + 10 + 4 * i, UINT64_MAX / 4 + 12 + 4 * i};
    assert_int_equal(wire_encode_ack(&a, small, sizeof small, &len), RC_OK);
    assert_int_equal(wire_decode(small, len, &frame, &fault), RC_OK);
    assert_int_equal(frame.ack.ranges, WIRE_RANGES_MAX);
    a.range[3].from = a.range[2].to; /* touching ranges are no ranges */
    assert_int_equal(wire_encode_ack(&a, small, sizeof small, &len), RC_OK);
    assert_int_equal(wire_decode(small, len, &frame, &fault), RC_RANGE);
    assert_string_equal(fault, "ack.ranges");

    struct wire_order o = {.id = 3, .kind = WIRE_ORDER_TEXT};
    strcpy(o.text, "请在下一站等候");
    assert_int_equal(wire_encode_order(&o, small, sizeof small, &len), RC_OK);
    assert_int_equal(wire_decode(small, len, &frame, &fault), RC_OK);
    assert_string_equal(frame.order.text, o.text);
    struct wire_order_result r = {.id = 3, .done = true, .message = "shown"};
    assert_int_equal(wire_encode_order_result(&r, small, sizeof small, &len), RC_OK);
    assert_int_equal(wire_decode(small, len, &frame, &fault), RC_OK);
    assert_true(frame.order_result.done);
    assert_string_equal(frame.order_result.message, "shown");
}

/* Pieces of files go through whole; every field a stranger could twist is refused by its name. */
static void media(void **state)
{
    (void)state;
    static uint8_t big[WIRE_MEDIA_DATA_MAX + WIRE_SMALL_MAX];
    static struct wire_media_part p;
    const char *fault = NULL;
    size_t len = 0;
    p = (struct wire_media_part){.bytes = 100000,
                                 .offset = 100000 - WIRE_MEDIA_DATA_MAX,
                                 .n = WIRE_MEDIA_DATA_MAX,
                                 .time_ms = 1795390245000,
                                 .id = 0xfffffffe,
                                 .alarm_id = 7,
                                 .unit = EVENT_CAMERA_DSM,
                                 .type = EVENT_MEDIA_VIDEO};
    for (size_t i = 0; i < sizeof p.data; i++)
        p.data[i] = (uint8_t)rnd();
    for (size_t i = 0; i < WIRE_SHA256; i++)
        p.sha256[i] = (uint8_t)rnd();
    assert_int_equal(wire_encode_media_part(&p, big, sizeof big, &len), RC_OK);
    assert_int_equal(wire_decode(big, len, &frame, &fault), RC_OK);
    assert_int_equal(frame.kind, WIRE_MEDIA_PART);
    assert_memory_equal(frame.media_part.sha256, p.sha256, WIRE_SHA256);
    assert_memory_equal(frame.media_part.data, p.data, sizeof p.data);
    assert_true(frame.media_part.offset == p.offset && frame.media_part.bytes == p.bytes && frame.media_part.n == p.n &&
                frame.media_part.time_ms == p.time_ms && frame.media_part.id == p.id && frame.media_part.alarm_id == 7 &&
                frame.media_part.unit == p.unit && frame.media_part.type == p.type);
    struct wire_media_part q = p;
    q.offset++; /* one byte past the end */
    assert_int_equal(wire_encode_media_part(&q, big, sizeof big, &len), RC_RANGE);
    q = p;
    q.n = 0; /* only asks */
    assert_int_equal(wire_encode_media_part(&q, big, sizeof big, &len), RC_OK);
    assert_int_equal(wire_decode(big, len, &frame, &fault), RC_OK);
    assert_int_equal(frame.media_part.n, 0);

    /* field 8 of Frame around a MediaPart: sha256 of 31 bytes; bytes 0; bytes above the limit; offset 9 of 8 bytes; unit 0; type 3; time before 1970
     */
    static const uint8_t sha[] = {0x0a, 0x20, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                  16,   17,   18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
    static const struct {
        uint8_t tail[12], n;
        const char *fault;
    } wrong[] = {{{0x10, 0x00, 0x30, 0x65}, 4, "media_part.bytes"},
                 {{0x10, 0x81, 0x80, 0x80, 0x20, 0x30, 0x65}, 7, "media_part.bytes"},
                 {{0x10, 0x08, 0x18, 0x09, 0x30, 0x65}, 6, "media_part.offset"},
                 {{0x10, 0x08, 0x18, 0x07, 0x22, 0x02, 0xaa, 0xbb, 0x30, 0x65}, 10, "media_part.offset"},
                 {{0x10, 0x08}, 2, "media_part.unit"},
                 {{0x10, 0x08, 0x30, 0x68}, 4, "media_part.unit"},
                 {{0x10, 0x08, 0x30, 0x65, 0x38, 0x03}, 6, "media_part.type"},
                 {{0x10, 0x08, 0x28, 0x01, 0x30, 0x65}, 6, "media_part.time_ms"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t m[64] = {0x42, (uint8_t)(sizeof sha + wrong[i].n)};
        memcpy(m + 2, sha, sizeof sha);
        memcpy(m + 2 + sizeof sha, wrong[i].tail, wrong[i].n);
        assert_int_equal(wire_decode(m, 2 + sizeof sha + wrong[i].n, &frame, &fault), RC_RANGE);
        assert_string_equal(fault, wrong[i].fault);
    }
    static const uint8_t short_sha[] = {0x42, 0x05, 0x0a, 0x03, 1, 2, 3};
    assert_int_equal(wire_decode(short_sha, sizeof short_sha, &frame, &fault), RC_RANGE);
    assert_string_equal(fault, "media_part.sha256");

    struct wire_media_ack a = {.next = 4711, .state = WIRE_MEDIA_REFUSED, .reason = "too large"};
    memcpy(a.sha256, p.sha256, WIRE_SHA256);
    assert_int_equal(wire_encode_media_ack(&a, big, WIRE_SMALL_MAX, &len), RC_OK);
    assert_int_equal(wire_decode(big, len, &frame, &fault), RC_OK);
    assert_int_equal(frame.kind, WIRE_MEDIA_ACK);
    assert_memory_equal(&frame.media_ack, &a, offsetof(struct wire_media_ack, reason));
    assert_string_equal(frame.media_ack.reason, "too large");
    a.state = 4;
    assert_int_equal(wire_encode_media_ack(&a, big, WIRE_SMALL_MAX, &len), RC_RANGE);
}

/* The set of settled sequences against a plain bitmap. */
static void settled_sets(void **state)
{
    (void)state;
    for (int turn = 0; turn < 2000; turn++) {
        struct wire_settled s = {0};
        bool map[300] = {false};
        for (int k = 0; k < 60; k++) {
            uint64_t from = 1 + rnd() % 280, to = from + rnd() % 12;
            struct wire_settled before = s;
            enum rc rc = wire_settle(&s, from, to);
            if (rc == RC_OK)
                for (uint64_t i = from; i <= to && i < 300; i++)
                    map[i] = true;
            else
                assert_memory_equal(&before, &s, sizeof s);
            for (uint64_t i = 1; i < 300; i++)
                assert_int_equal(wire_is_settled(&s, i), map[i]);
            uint64_t floor = s.through;
            for (size_t i = 0; i < s.ranges; i++) {
                assert_true(s.range[i].from >= floor + 2);
                floor = s.range[i].to;
            }
        }
    }
    struct wire_settled s = {0};
    for (uint64_t i = 0; i < WIRE_RANGES_MAX; i++)
        assert_int_equal(wire_settle(&s, 10 + 2 * i, 10 + 2 * i), RC_OK);
    assert_int_equal(wire_settle(&s, 500, 500), RC_FULL);
    assert_int_equal(wire_settle(&s, 1, 9), RC_OK); /* closing the gap joins the first one */
    assert_int_equal(s.through, 10);
    assert_int_equal(wire_settle(&s, 0, 4), RC_INVALID);
    assert_int_equal(wire_settle(&s, 5, 4), RC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),        cmocka_unit_test(agrees_with_protobuf_c), cmocka_unit_test(byte_budget),
        cmocka_unit_test(refuses_strangers), cmocka_unit_test(conversation),           cmocka_unit_test(media),
        cmocka_unit_test(settled_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
