/* The technician's door: what is asked, how the tap and the recorder keep what passes, and what is never recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/cli.h"
#include "gateway/recorder.h"
#include "gateway/status.h"

static enum rc question(const char *text, char *device, int *seconds)
{
    return status_question(text, strlen(text), device, seconds);
}

static void questions(void **state)
{
    (void)state;
    char device[EVENT_NAME_MAX + 1] = "x";
    int seconds = -1;
    assert_int_equal(question("status", device, &seconds), RC_OK);
    assert_string_equal(device, "");
    assert_int_equal(question("record counter-front 3600", device, &seconds), RC_OK);
    assert_string_equal(device, "counter-front");
    assert_int_equal(seconds, 3600);
    static const char *const wrong[] = {"",
                                        "Status",
                                        "status ",
                                        " status",
                                        "record",
                                        "record a",
                                        "record a 0",
                                        "record a 3601",
                                        "record a -1",
                                        "record a 1 ",
                                        "record a 1x",
                                        "record a/b 1",
                                        "record abcdefghijklmnop 1",
                                        "record A 1",
                                        "record a 99999",
                                        "record a 1\r"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        strcpy(device, "kept");
        seconds = 7;
        if (question(wrong[i], device, &seconds) != RC_INVALID)
            fail_msg("taken: \"%s\"", wrong[i]);
        assert_string_equal(device, "kept");
        assert_int_equal(seconds, 7);
    }
    char longest[STATUS_LINE_MAX + 2];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(status_question(longest, sizeof longest, device, &seconds), RC_INVALID);
    assert_int_equal(status_question("status\0", 7, device, &seconds), RC_INVALID);
}

static void widths(void **state)
{
    (void)state;
    assert_int_equal(cli_width("abc"), 3);
    assert_int_equal(cli_width("前门=1"), 6);
    assert_int_equal(cli_width("21.5 °C"), 7);
}

static void tap_keeps_and_bounds(void **state)
{
    (void)state;
    uint8_t data[TAP_DATA_MAX], big[10000];
    struct tap_piece p;
    memset(big, 0x5a, sizeof big);
    tap_put("/dev/a", TAP_RECEIVED, 0, 0, "x", 1); /* nobody listens */
    assert_int_equal(tap_start("/dev/a"), RC_OK);
    assert_int_equal(tap_start("/dev/b"), RC_DENIED);
    assert_false(tap_take(&p, data));
    tap_put("/dev/b", TAP_RECEIVED, 0, 0, "other", 5);
    tap_put("/dev/a", TAP_SENT, 0, 0, "mine", 4);
    tap_put("/dev/a", TAP_WORDS, 7, 100, big, sizeof big);
    assert_true(tap_take(&p, data));
    assert_int_equal(p.kind, TAP_SENT);
    assert_memory_equal(data, "mine", 4);
    size_t total = 0;
    for (unsigned address = 100; tap_take(&p, data); address += p.n / 2u) {
        assert_int_equal(p.address, address);
        assert_int_equal(p.slave, 7);
        total += p.n;
    }
    assert_int_equal(total, sizeof big);
    for (int round = 0; round < 40; round++) /* several times round the ring, and more than it holds */
        tap_put("/dev/a", TAP_RECEIVED, 0, 0, big, sizeof big);
    total = 0;
    while (tap_take(&p, data)) {
        for (size_t i = 0; i < p.n; i++)
            assert_int_equal(data[i], 0x5a);
        total += p.n;
    }
    assert_true(total > 100000 && total < 131072);
    assert_int_equal(total + tap_lost(), 40 * sizeof big);
    tap_stop();
    assert_int_equal(tap_start("/dev/b"), RC_OK);
    assert_int_equal(tap_lost(), 0);
    tap_stop();
}

static struct config *config_of(const char *text)
{
    static struct conf_problems problems;
    struct config *c = NULL;
    problems.n = 0;
    if (config_read_text(text, strlen(text), "test", &c, &problems) != RC_OK)
        fail_msg("%s", problems.text[0]);
    return c;
}

static char *recorded(struct recorder *r)
{
    static char text[20000];
    FILE *f = fmemopen(text, sizeof text, "w");
    recorder_head(r, f);
    recorder_write(r, f);
    recorder_end(r, f);
    fclose(f);
    return text;
}

static void recorder_of_polled_and_spontaneous(void **state)
{
    (void)state;
    char why[256];
    struct recorder r;
    struct config *c = config_of("[gateway]\nid=a\n[device n]\ndriver=counter\nport=/dev/x\nslave=3\nmap=/some/where\npoll_ms=700\n"
                                 "[device cam]\ndriver=camera\nport=/dev/y\n[device ride]\ndriver=replay\nfile=/x\n[device gnss]\ndriver=gpsd\n");
    assert_int_equal(recorder_start(c, "none", &r, why, sizeof why), RC_NOT_FOUND);
    assert_int_equal(recorder_start(c, "ride", &r, why, sizeof why), RC_UNSUPPORTED);
    assert_int_equal(recorder_start(c, "n", &r, why, sizeof why), RC_OK);
    tap_put("/dev/x", TAP_WORDS, 3, 256, "\x01\x02\xff\xff", 4);
    tap_put("/dev/x", TAP_BITS, 3, 4, "\1\0", 2);
    tap_put("/dev/x", TAP_SENT, 0, 0, "\x02\x31", 2);
    tap_put("/dev/x", TAP_RECEIVED, 0, 0, "\x02", 1);
    tap_put("/dev/x", TAP_RECEIVED, 0, 0, "\xaa\xbb", 2); /* an answer in two pieces is one */
    tap_put("/dev/x", TAP_SENT, 0, 0, "\x02\x32", 2);
    const char *text = recorded(&r);
    assert_non_null(strstr(text, "# schoolward-recording 1\n"));
    assert_non_null(strstr(text, "# driver: counter\n"));
    assert_non_null(strstr(text, "# options: poll_ms=700;slave=3\n") != NULL ? strstr(text, "poll_ms=700") : strstr(text, "slave=3;"));
    assert_null(strstr(text, "/some/where"));
    assert_null(strstr(text, "/dev/x"));
    assert_non_null(strstr(text, " word @3 256 258 65535\n"));
    assert_non_null(strstr(text, " bit @3 4 1 0\n"));
    assert_non_null(strstr(text, " on 0231 : +"));
    assert_non_null(strstr(text, " 02aabb\n"));
    assert_null(strstr(text, "on 0232")); /* no answer came */
    assert_int_equal(recorder_start(c, "cam", &r, why, sizeof why), RC_OK);
    tap_put("/dev/y", TAP_SENT, 0, 0, "\x7e\x01", 2);
    tap_put("/dev/y", TAP_RECEIVED, 0, 0, "\x7e\x02", 2);
    text = recorded(&r);
    assert_non_null(strstr(text, " > 7e02\n"));
    assert_non_null(strstr(text, " < 7e01\n"));
    assert_null(strstr(text, " on "));
    assert_int_equal(recorder_start(c, "gnss", &r, why, sizeof why), RC_OK);
    tap_put("gpsd:127.0.0.1:2947", TAP_TEXT, 0, 0, "{\"class\":\"TPV\"}", 15);
    text = recorded(&r);
    assert_non_null(strstr(text, "# line: tcp\n"));
    assert_non_null(strstr(text, " \" {\"class\":\"TPV\"}\n"));
    config_free(c);
}

/* A line that a card reader is on is never written down, whatever other device is asked for. */
static void cards_are_not_recorded(void **state)
{
    (void)state;
    const struct driver *cards = driver_find("cards");
    if (cards == NULL)
        skip();
    char why[256];
    struct recorder r;
    struct config *c = config_of("[gateway]\nid=a\n[device reader]\ndriver=cards\nport=/dev/x\n[device cam]\ndriver=camera\nport=/dev/x\n");
    assert_int_equal(recorder_start(c, "reader", &r, why, sizeof why), RC_DENIED);
    assert_int_equal(recorder_start(c, "cam", &r, why, sizeof why), RC_DENIED);
    assert_false(atomic_load(&tap_on));
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(questions), cmocka_unit_test(widths), cmocka_unit_test(tap_keeps_and_bounds),
                                       cmocka_unit_test(recorder_of_polled_and_spontaneous), cmocka_unit_test(cards_are_not_recorded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
