/* Every way not to be connected has a word, a line that says what to do, and a pause that fits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509_vfy.h>

#include "core/wire.h"
#include "gateway/uplink_name.h"
#include "gateway/uplink_trouble.h"

static const struct uplink_target to = {.host = "bus.example.cn", .path = "/gateway", .gateway = "gw-7", .ca_file = "", .tls = true};
static const struct uplink_patience patience = {.retry_min_ms = 1000, .retry_max_ms = 60000, .silent_ms = 2000, .refused_ms = 300000};

static void check(const struct uplink_trouble *t, enum uplink_cause cause, const char *what, const char *todo)
{
    if (t->cause != cause || strstr(t->what, what) == NULL || strstr(t->todo, todo) == NULL)
        fail_msg("%s: %s: %s; expected %s: ..%s..: ..%s..", uplink_trouble_word(t->cause), t->what, t->todo, uplink_trouble_word(cause), what, todo);
    assert_true(t->todo[0] != '\0');
    assert_true(uplink_trouble_word(t->cause)[0] != '\0');
}

static void test_words(void **state)
{
    (void)state;
    for (int i = 1; i < UPLINK_CAUSES; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(uplink_trouble_word((enum uplink_cause)i), uplink_trouble_word((enum uplink_cause)k));
    assert_string_equal(uplink_trouble_word(UPLINK_CAUSES), "");
}

static void test_http(void **state)
{
    (void)state;
    struct uplink_trouble t;
    uplink_trouble_http(&t, &to, 200, "", "text/html; charset=utf-8");
    check(&t, UPLINK_CAUSE_PORTAL, "login page", "log this network in");
    uplink_trouble_http(&t, &to, 302, "", "");
    check(&t, UPLINK_CAUSE_PORTAL, "302", "nothing was sent");
    uplink_trouble_http(&t, &to, 511, "", "TEXT/HTML");
    check(&t, UPLINK_CAUSE_PORTAL, "511", "");
    uplink_trouble_http(&t, &to, 200, "", "application/json");
    check(&t, UPLINK_CAUSE_HTTP, "200", "path");
    uplink_trouble_http(&t, &to, 404, "", "text/html");
    check(&t, UPLINK_CAUSE_HTTP, "HTTP status 404 instead of a websocket at path /gateway", "path in [gateway] server");
    uplink_trouble_http(&t, &to, 401, "", "");
    check(&t, UPLINK_CAUSE_REFUSED, "401", "does not know gateway 'gw-7'");
    uplink_trouble_http(&t, &to, 502, "", "text/html");
    check(&t, UPLINK_CAUSE_BUSY, "502", "proxy");
    uplink_trouble_http(&t, &to, 503, "7", "");
    check(&t, UPLINK_CAUSE_BUSY, "503", "waiting");
    assert_int_equal(t.retry_after_ms, 7000);
    uplink_trouble_http(&t, &to, 429, "99999999999999999999999", "");
    assert_int_equal(t.retry_after_ms, 3600000);
    static const char *const no[] = {"", "-1", "soon", "12x", " 7", "Wed, 21 Oct 2015 07:28:00 GMT"};
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        uplink_trouble_http(&t, &to, 503, no[i], "");
        assert_int_equal(t.retry_after_ms, 0);
    }
}

static void test_the_others(void **state)
{
    (void)state;
    struct uplink_trouble t;
    uplink_trouble_name(&t, &to, "temporary failure");
    check(&t, UPLINK_CAUSE_NAME, "bus.example.cn cannot be resolved (temporary failure)", "SIM");
    uplink_trouble_connect(&t, &to, ECONNREFUSED);
    check(&t, UPLINK_CAUSE_DOWN, "cannot be reached (Connection refused)", "is the server up");
    uplink_trouble_connect(&t, &to, ENETUNREACH);
    check(&t, UPLINK_CAUSE_UNREACHABLE, "Network is unreachable", "modem");
    uplink_trouble_connect(&t, &to, 0);
    check(&t, UPLINK_CAUSE_UNREACHABLE, "no answer", "dead zone");
    uplink_trouble_certificate(&t, &to, X509_V_ERR_CERT_HAS_EXPIRED, "bus", "2026-11-25", "2025-01-01 to 2026-01-01");
    check(&t, UPLINK_CAUSE_CERTIFICATE, "2025-01-01 to 2026-01-01) has expired by the bus's date 2026-11-25", "renew");
    uplink_trouble_certificate(&t, &to, X509_V_ERR_CERT_NOT_YET_VALID, "bus", "2026-11-25", "");
    check(&t, UPLINK_CAUSE_CERTIFICATE, "not yet valid on 2026-11-25", "clock");
    uplink_trouble_certificate(&t, &to, X509_V_ERR_HOSTNAME_MISMATCH, "portal.telecom.example", "", "");
    check(&t, UPLINK_CAUSE_CERTIFICATE, "(portal.telecom.example) is not for bus.example.cn", "login page");
    uplink_trouble_certificate(&t, &to, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "x", "", "");
    check(&t, UPLINK_CAUSE_CERTIFICATE, "anybody this system trusts", "ca_file");
    struct uplink_target own = to;
    own.ca_file = "/etc/schoolward/ca.pem";
    uplink_trouble_certificate(&t, &own, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "x", "", "");
    check(&t, UPLINK_CAUSE_CERTIFICATE, "/etc/schoolward/ca.pem", "that file");
    uplink_trouble_alert(&t, &to, 116, false);
    check(&t, UPLINK_CAUSE_OWN_CERTIFICATE, "wants a client certificate", "cert_file");
    uplink_trouble_alert(&t, &to, 45, true);
    check(&t, UPLINK_CAUSE_OWN_CERTIFICATE, "expired", "renew cert_file");
    uplink_trouble_alert(&t, &to, 48, true);
    check(&t, UPLINK_CAUSE_OWN_CERTIFICATE, "does not take our certificate", "enrol");
    uplink_trouble_alert(&t, &to, 80, true);
    check(&t, UPLINK_CAUSE_TLS, "alert 80", "log of the server");
    uplink_trouble_closed(&t, &to, WIRE_CLOSE_UNAUTHORISED, "unauthorised");
    check(&t, UPLINK_CAUSE_REFUSED, "4401 unauthorised", "does not know gateway 'gw-7' or its secret");
    uplink_trouble_closed(&t, &to, WIRE_CLOSE_RESTART, "restart");
    check(&t, UPLINK_CAUSE_RESTART, "1012 restart", "nothing to do");
    uplink_trouble_closed(&t, &to, WIRE_CLOSE_VERSION, "version");
    check(&t, UPLINK_CAUSE_VERSION, "4426", "update the older one");
    uplink_trouble_closed(&t, &to, 1001, "");
    check(&t, UPLINK_CAUSE_LOST, "1001", "kept");
}

/* Smallest and largest pause over many draws. */
static void range(enum uplink_cause cause, int64_t retry_after_ms, unsigned tries, int64_t *ret_min, int64_t *ret_max)
{
    struct uplink_trouble t = {.cause = cause, .retry_after_ms = retry_after_ms};
    *ret_min = INT64_MAX;
    *ret_max = 0;
    for (uint64_t i = 0, r = 1; i < 20000; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        int64_t ms = uplink_trouble_pause_ms(&t, &patience, tries, r >> 16);
        *ret_min = ms < *ret_min ? ms : *ret_min;
        *ret_max = ms > *ret_max ? ms : *ret_max;
    }
}

static void test_pauses(void **state)
{
    (void)state;
    int64_t a, b;
    for (unsigned tries = 1; tries < 12; tries++) { /* full jitter: from nothing to min * 2^n */
        range(UPLINK_CAUSE_DOWN, 0, tries, &a, &b);
        int64_t cap = tries > 6 ? 60000 : 1000 << (tries - 1);
        assert_in_range(a, 20, 20 + cap / 20);
        assert_in_range(b, cap - cap / 20, cap + 20);
    }
    range(UPLINK_CAUSE_UNREACHABLE, 0, 30, &a, &b); /* a dead zone: soon again, however long it was */
    assert_in_range(b, 1900, 2020);
    range(UPLINK_CAUSE_NAME, 0, 30, &a, &b);
    assert_in_range(b, 1900, 2020);
    range(UPLINK_CAUSE_REFUSED, 0, 1, &a, &b);
    assert_in_range(a, 150000, 151000);
    assert_in_range(b, 299000, 300000);
    range(UPLINK_CAUSE_CERTIFICATE, 0, 1, &a, &b);
    assert_in_range(a, 30000, 31000);
    assert_in_range(b, 59000, 60000);
    range(UPLINK_CAUSE_BUSY, 7000, 1, &a, &b); /* never before the time asked for, and not all at that time */
    assert_in_range(a, 7000, 7100);
    assert_in_range(b, 11000, 11500);
    range(UPLINK_CAUSE_RESTART, 0, 1, &a, &b);
    assert_in_range(b, 3900, 4020);
    range(UPLINK_CAUSE_RESTART, 0, 20, &a, &b);
    assert_in_range(b, 57000, 60020);
}

static void test_memory(void **state)
{
    (void)state;
    struct uplink_memory m = {.address = "untouched"};
    static const char *const bad[] = {"",
                                      "schoolward-uplink 1",
                                      "schoolward-uplink 1 h 1.2.3.4 17",
                                      "schoolward-uplink 1 h 1.2.3.4 -5\n",
                                      "schoolward-uplink 2 h 1.2.3.4 5\n",
                                      "schoolward-uplink 1 h bus.example.cn 5\n",
                                      "schoolward-uplink 1 h 1.2.3.4 99999999999999999\n",
                                      "schoolward-uplink 1 h 1.2.3.4.5 5\n",
                                      "schoolward-uplink 1 h 1.2.3.4 5x\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(uplink_memory_parse(bad[i], &m));
    assert_string_equal(m.address, "untouched");
    assert_true(uplink_memory_parse("schoolward-uplink 1 bus.example.cn 2001:db8::7 1780000000000\n", &m));
    assert_string_equal(m.host, "bus.example.cn");
    assert_string_equal(m.address, "2001:db8::7");
    assert_int_equal(m.trusted_ms, 1780000000000);
    assert_true(uplink_memory_parse("schoolward-uplink 1 h - 0\n", &m));
    assert_string_equal(m.address, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_http), cmocka_unit_test(test_the_others),
                                       cmocka_unit_test(test_pauses), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
