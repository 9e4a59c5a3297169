/* wire_talk: orders, bundles, enrolment and reports survive the wire; what is out of range is refused by name; which texts may reach a driver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bundle.h"
#include "core/wire.h"
#include "schoolward.pb-c.h"

static struct wire_frame frame;
static uint8_t out[WIRE_ORDER_MAX];
static size_t len;
static const char *fault;

static void again(void)
{
    fault = NULL;
    assert_int_equal(wire_decode(out, len, &frame, &fault), RC_OK);
}

static void orders(void **state)
{
    (void)state;
    struct wire_order o = {.id = 9, .expires_ms = 1795400000000, .kind = WIRE_ORDER_SNAPSHOT, .number = EVENT_CAMERA_DSM};
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_OK);
    again();
    assert_int_equal(frame.order.kind, WIRE_ORDER_SNAPSHOT);
    assert_int_equal(frame.order.number, EVENT_CAMERA_DSM);
    assert_int_equal(frame.order.expires_ms, o.expires_ms);
    o.number = 5; /* no camera unit */
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_RANGE);
    o = (struct wire_order){.id = 10, .kind = WIRE_ORDER_RESTART, .text = "door-counter"};
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_OK);
    again();
    assert_string_equal(frame.order.text, "door-counter");
    o = (struct wire_order){.id = 11, .kind = WIRE_ORDER_ROTATE, .text = "0123456789abcdef0123456789abcde"}; /* 31 */
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_RANGE);
    strcat(o.text, "f");
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_OK);
    again();
    assert_string_equal(frame.order.text, o.text);
    o = (struct wire_order){.id = 0, .kind = WIRE_ORDER_LOCATE};
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_RANGE);
    o = (struct wire_order){.id = 12, .kind = WIRE_ORDER_BUZZER, .number = 60001};
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_RANGE);
    struct wire_order_result r = {.id = 3, .done = true};
    memset(r.message, 'x', WIRE_RESULT_MAX);
    assert_int_equal(wire_encode_order_result(&r, out, sizeof out, &len), RC_OK);
    again();
    assert_string_equal(frame.order_result.message, r.message);
}

/* A bundle by protobuf-c's own coder, with anything in it. */
static enum rc raw_bundle(uint32_t kind, uint64_t version, uint32_t size, uint32_t offset, size_t n, size_t sha, size_t signature)
{
    static uint8_t bytes[24000];
    Schoolward__Frame m;
    Schoolward__Order o;
    Schoolward__Bundle b;
    static uint8_t buf[32768];
    schoolward__frame__init(&m);
    schoolward__order__init(&o);
    schoolward__bundle__init(&b);
    b.kind = kind;
    b.version = version;
    b.size = size;
    b.offset = offset;
    b.body = (ProtobufCBinaryData){n, bytes};
    b.sha256 = (ProtobufCBinaryData){sha, bytes};
    b.signature = (ProtobufCBinaryData){signature, bytes};
    o.id = 1;
    o.body_case = SCHOOLWARD__ORDER__BODY_BUNDLE;
    o.bundle = &b;
    m.body_case = SCHOOLWARD__FRAME__BODY_ORDER;
    m.order = &o;
    fault = "";
    return wire_decode(buf, schoolward__frame__pack(&m, buf), &frame, &fault);
}

static void bundles(void **state)
{
    (void)state;
    struct wire_order o = {
        .id = 1, .kind = WIRE_ORDER_BUNDLE, .bundle = {.kind = WIRE_BUNDLE_DUTY, .version = 77, .size = 20000, .offset = 8192, .n = 8192}};
    for (size_t i = 0; i < WIRE_BUNDLE_PIECE; i++)
        o.bundle.body[i] = (uint8_t)(i * 31);
    memset(o.bundle.sha256, 7, 32);
    memset(o.bundle.signature, 8, 64);
    assert_int_equal(wire_encode_order(&o, out, sizeof out, &len), RC_OK);
    again();
    assert_int_equal(frame.order.bundle.version, 77);
    assert_int_equal(frame.order.bundle.offset, 8192);
    assert_memory_equal(frame.order.bundle.body, o.bundle.body, 8192);
    assert_memory_equal(frame.order.bundle.signature, o.bundle.signature, 64);

    assert_int_equal(raw_bundle(1, 1, 100, 0, 100, 32, 64), RC_OK);
    static const struct {
        uint32_t kind;
        uint64_t version;
        uint32_t size, offset;
        size_t n, sha, signature;
        const char *fault;
    } bad[] = {
        {0, 1, 100, 0, 100, 32, 64, "bundle.kind"},
        {4, 1, 100, 0, 100, 32, 64, "bundle.kind"},
        {1, 0, 100, 0, 100, 32, 64, "bundle.version"},
        {1, UINT64_MAX, 100, 0, 100, 32, 64, "bundle.version"},
        {1, 1, 0, 0, 100, 32, 64, "bundle.size"},
        {1, 1, WIRE_BUNDLE_MAX + 1, 0, 100, 32, 64, "bundle.size"},
        {1, 1, 100, 1, 100, 32, 64, "bundle.offset"},
        {1, 1, 100, 100, 1, 32, 64, "bundle.offset"},
        {1, 1, 100, UINT32_MAX, 100, 32, 64, "bundle.offset"},
        {1, 1, 100, 0, 0, 32, 64, "bundle.body"},
        {1, 1, 9000, 0, 8193, 32, 64, "bundle.body"},
        {1, 1, 100, 0, 100, 31, 64, "bundle.sha256"},
        {1, 1, 100, 0, 100, 32, 65, "bundle.signature"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(raw_bundle(bad[i].kind, bad[i].version, bad[i].size, bad[i].offset, bad[i].n, bad[i].sha, bad[i].signature), RC_RANGE);
        assert_string_equal(fault, bad[i].fault);
    }
    assert_int_equal(raw_bundle(1, 1, 30000, 0, 24000, 32, 64), RC_INVALID); /* more than the room to take it apart */
}

static void signed_bytes(void **state)
{
    (void)state;
    uint8_t a[BUNDLE_SIGNED_MAX], b[BUNDLE_SIGNED_MAX], sha[32] = {1};
    size_t n = bundle_signed("gw-7", WIRE_BUNDLE_CONFIG, 0x0102030405060708, 5, sha, a);
    assert_int_equal(n, 20 + 5 + 1 + 8 + 8 + 32);
    assert_memory_equal(a, "schoolward bundle 1\0gw-7\0\1\1\2\3\4\5\6\7\10\0\0\0\0\0\0\0\5\1", 44);
    /* nothing of it can be moved into its neighbour */
    assert_true(bundle_signed("gw-71", WIRE_BUNDLE_CONFIG, 0x0102030405060708, 5, sha, b) != n || memcmp(a, b, n) != 0);
    bundle_signed("gw-7", WIRE_BUNDLE_DUTY, 0x0102030405060708, 5, sha, b);
    assert_true(memcmp(a, b, n) != 0);
}

static void enrolment(void **state)
{
    (void)state;
    struct wire_enrol e = {.gateway = "gw-7", .code = "ABCD-EFGH", .firmware = "0.1.0", .serial = "10000000abcdef01", .stored = true};
    assert_int_equal(wire_encode_enrol(&e, out, sizeof out, &len), RC_OK);
    again();
    assert_string_equal(frame.enrol.code, e.code);
    assert_string_equal(frame.enrol.serial, e.serial);
    assert_true(frame.enrol.stored);
    e.code[4] = ' ';
    assert_int_equal(wire_encode_enrol(&e, out, sizeof out, &len), RC_RANGE);
    static struct wire_enrolled d = {.secret = "0123456789abcdef0123456789abcdef"};
    memset(d.key, 9, 32);
    memset(d.ca, 'A', WIRE_CA_MAX);
    assert_int_equal(wire_encode_enrolled(&d, out, sizeof out, &len), RC_OK);
    again();
    assert_string_equal(frame.enrolled.secret, d.secret);
    assert_memory_equal(frame.enrolled.key, d.key, 32);
    assert_string_equal(frame.enrolled.ca, d.ca);
}

static void reports(void **state)
{
    (void)state;
    struct report r = {.time_ms = 1795400000000,
                       .clock = EVENT_CLOCK_GNSS,
                       .clock_offset_ms = -5,
                       .uptime_s = 99,
                       .boots = 3,
                       .starts = 1,
                       .safe_mode = true,
                       .firmware = "0.1.0",
                       .duty = "aa",
                       .law = "cn-national 2026.11",
                       .config = REPORT_CONFIG_TRIAL,
                       .config_version = 5,
                       .duty_version = 6,
                       .law_version = 7,
                       .connects = 2,
                       .ack_ms = 0,
                       .disk_free = 12345678901,
                       .disk_size = 22345678901,
                       .board_mc = -12500,
                       .supply_mv = REPORT_NONE,
                       .rss_bytes = 6000000,
                       .waiting = {10, 20},
                       .outbox_bytes = 4096,
                       .written_per_day = REPORT_NONE,
                       .lost = 1,
                       .given_up = 2,
                       .bad = 3,
                       .devices = REPORT_DEVICES_MAX};
    for (size_t i = 0; i < REPORT_DEVICES_MAX; i++) {
        snprintf(r.device[i].name, sizeof r.device[i].name, "dev-45678901-%02u", (unsigned)i % 100);
        snprintf(r.device[i].driver, sizeof r.device[i].driver, "modbus-inputs");
        r.device[i].kind = EVENT_DEVICE_INPUTS;
        r.device[i].state = EVENT_DEVICE_SILENT;
        r.device[i].events = UINT64_MAX;
        r.device[i].input_age_ms = i == 0 ? REPORT_NONE : 0;
    }
    assert_int_equal(wire_encode_report(&r, out, WIRE_SMALL_MAX, &len), RC_OK);
    again();
    r.connected = true; /* as whoever receives it sees */
    assert_memory_equal(&frame.report.device, &r.device, sizeof r.device);
    assert_int_equal(frame.report.ack_ms, 0);
    assert_int_equal(frame.report.board_mc, -12500);
    assert_true(frame.report.supply_mv == REPORT_NONE && frame.report.written_per_day == REPORT_NONE);
    char a[REPORT_JSON_MAX], b[REPORT_JSON_MAX];
    assert_true(report_json(&r, a, sizeof a) > 0);
    assert_true(report_json(&frame.report, b, sizeof b) > 0);
    assert_string_equal(a, b);
    assert_non_null(strstr(a, "\"board_mc\":-12500,\"supply_mv\":null,"));
    assert_non_null(strstr(a, "\"state\":\"silent\""));
    assert_int_equal(report_json(&r, a, 100), 0);
    r.device[3].name[0] = '\0';
    assert_int_equal(wire_encode_report(&r, out, WIRE_SMALL_MAX, &len), RC_OK);
    assert_int_equal(wire_decode(out, len, &frame, &fault), RC_RANGE);
    assert_string_equal(fault, "report.devices.name");
}

static void texts_for_a_driver(void **state)
{
    (void)state;
    char long_text[801] = "";
    for (int i = 0; i < 200; i++)
        strcat(long_text, "校");
    assert_true(wire_text_good("请在下一站等候 · wait at the next stop"));
    assert_true(wire_text_good(long_text));
    strcat(long_text, "!");
    assert_false(wire_text_good(long_text)); /* 201 characters */
    static const char *const bad[] = {"",
                                      "a\nb",
                                      "a\tb",
                                      "\x1b[31m",
                                      "\x7f",
                                      "a\xc2\x9b",
                                      "\xff",
                                      "\xc0\x80",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xe6\xa0",
                                      "\xe2\x80\xae"
                                      "abc",
                                      "a\xe2\x80\xa8"
                                      "b",
                                      "\xef\xbb\xbf"
                                      "a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(wire_text_good(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders),    cmocka_unit_test(bundles), cmocka_unit_test(signed_bytes),
        cmocka_unit_test(enrolment), cmocka_unit_test(reports), cmocka_unit_test(texts_for_a_driver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
