/* Frames of JT/T 808 on a device's line: the vectors of two other projects, times against gmtime's, and lengths at the edge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "gateway/drivers/jt808_frame.h"

static unsigned parse_all(const uint8_t *p, size_t n, struct jt808_frame *ret_f)
{
    struct jt808_parser parser = {.inside = false};
    enum jt808_fault fault;
    unsigned frames = 0;
    for (size_t i = 0; i < n; i++)
        frames += jt808_parse(&parser, p[i], ret_f, &fault) == RC_OK;
    return frames;
}

/* What other projects' tests hold for a passenger count is read, and built again to the same bytes. */
static void vectors(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool is_2019;
        uint16_t serial, in, out;
    } cases[] = {{"7e100500101234567890120001241001000000241002001001000200138d7e", false, 1, 2, 19},
                 {"7e10050010123456789012000120070719235920070719235981f54812a07e", false, 1, 33269, 18450},
                 {"7e100540100112345678901234567890ffff20070719235920070719235981f548126a7e", true, 65535, 33269, 18450}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint8_t wire[64], again[JT808_WIRE_MAX];
        size_t n = strlen(cases[c].hex) / 2;
        for (size_t i = 0; i < n; i++)
            assert_int_equal(sscanf(cases[c].hex + 2 * i, "%2hhx", &wire[i]), 1);
        struct jt808_frame f;
        assert_int_equal(parse_all(wire, n, &f), 1);
        assert_int_equal(f.id, 0x1005);
        assert_int_equal(f.is_2019, cases[c].is_2019);
        assert_int_equal(f.serial, cases[c].serial);
        assert_int_equal(f.n, 16);
        assert_int_equal(f.body[12] << 8 | f.body[13], cases[c].in);
        assert_int_equal(f.body[14] << 8 | f.body[15], cases[c].out);
        assert_int_equal(jt808_build(&f, again), n);
        assert_memory_equal(again, wire, n);
    }
}

/* Every day of the century, in China's time. */
static void times(void **state)
{
    (void)state;
    for (int64_t day = 10957; day < 47482; day++) { /* 2000-01-01 .. 2099-12-31 */
        int64_t second = (day * 7919) % 86400;
        time_t local = (time_t)(day * 86400 + second);
        struct tm tm;
        gmtime_r(&local, &tm);
        int v[6] = {tm.tm_year - 100, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
        uint8_t bcd[6];
        for (int i = 0; i < 6; i++)
            bcd[i] = (uint8_t)(v[i] / 10 << 4 | v[i] % 10);
        int64_t ms = 0;
        assert_int_equal(jt808_time_ms(bcd, &ms), RC_OK);
        assert_true(ms == ((int64_t)local - 8 * 3600) * 1000);
    }
    static const uint8_t wrong[][6] = {{0x26, 0x02, 0x29, 0, 0, 0}, {0x26, 0x13, 1, 0, 0, 0}, {0x26, 0, 1, 0, 0, 0}, {0x26, 1, 0, 0, 0, 0}, {0x26, 1, 1, 0x24, 0, 0},
                                       {0x26, 1, 1, 0, 0x60, 0}, {0x26, 1, 1, 0, 0, 0x60}, {0x2a, 1, 1, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t ms = 7;
        assert_int_equal(jt808_time_ms(wrong[i], &ms), RC_INVALID);
        assert_true(ms == 7);
    }
}

static void edges(void **state)
{
    (void)state;
    static struct jt808_frame f, g;
    static uint8_t wire[JT808_WIRE_MAX];
    for (unsigned n = 0; n <= JT808_BODY_MAX; n += n < 4 || n > 1019 ? 1 : 101) {
        memset(&f, 0, sizeof f);
        f = (struct jt808_frame){.id = 0x7e7d, .serial = 0x7d7e, .is_2019 = n % 2 != 0, .version = 1, .n = (uint16_t)n};
        memset(f.body, n % 3 == 0 ? 0x7e : 0x7d, n); /* all of it escaped: the longest there is */
        size_t size = jt808_build(&f, wire);
        assert_true(size <= sizeof wire);
        assert_int_equal(parse_all(wire, size, &g), 1);
        assert_int_equal(g.n, n);
        assert_memory_equal(g.body, f.body, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(times), cmocka_unit_test(edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
