/* sky_line: the same numbers as libgps reads from the same lines, and what is cut off or no JSON is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gps.h>
#include <math.h>
#include <string.h>

#include "gateway/drivers/sky_line.h"

static const char typical[] =
    "{\"class\":\"SKY\",\"device\":\"/dev/ttyUSB0\",\"xdop\":0.44,\"vdop\":0.90,\"hdop\":0.70,\"pdop\":1.14,\"nSat\":4,\"uSat\":2,\"satellites\":["
    "{\"PRN\":23,\"el\":6.0,\"az\":84.0,\"ss\":26.0,\"used\":false,\"gnssid\":0,\"svid\":23},{\"PRN\":28,\"el\":7.0,\"az\":160.0,\"ss\":0.0,\"used\":true},"
    "{\"PRN\":408,\"el\":45.5,\"az\":12.5,\"ss\":41.7,\"used\":true,\"gnssid\":3,\"svid\":8,\"sigid\":1},{\"PRN\":5,\"ss\":-1,\"used\":false}]}";

static void same_as_libgps(void **state)
{
    (void)state;
    static struct gps_data_t g;
    char line[2048];
    struct sky_line sky;
    strcpy(line, typical);
    assert_int_equal(gps_unpack(line, &g), 0);
    assert_true(sky_line_is(typical));
    assert_true(sky_line_read(typical, strlen(typical), &sky));
    assert_true(fabs(sky.hdop - g.dop.hdop) < 1e-9);
    assert_int_equal(sky.used, g.satellites_used);
    assert_int_equal(sky.n, g.satellites_visible);
    for (size_t i = 0; i < sky.n; i++) {
        assert_int_equal(sky.sat[i].id >> 3, g.skyview[i].PRN);
        assert_int_equal(sky.sat[i].id & 7, g.skyview[i].sigid & 7);
        double ss = g.skyview[i].ss;
        assert_int_equal(sky.sat[i].dbhz, ss > 0 ? (int)ss : 0);
    }
}

static void cut_anywhere(void **state)
{
    (void)state;
    struct sky_line sky = {.used = 77};
    for (size_t n = 0; n + 1 < sizeof typical; n++) {
        assert_false(sky_line_read(typical, n, &sky));
        assert_int_equal(sky.used, 77);
    }
}

static void odd_lines(void **state)
{
    static const struct {
        const char *line;
        bool good;
        int n;
        double hdop;
    } cases[] = {
        {"{\"class\":\"SKY\",\"hdop\":1.5}", true, 0, 1.5},
        {"{\"class\":\"SKY\",\"hdop\":1.5e2}", true, 0, NAN},
        {"{\"class\":\"SKY\",\"hdop\":null}", true, 0, NAN},
        {"{\"class\":\"SKY\",\"hdop\":\"1\"}", true, 0, NAN},
        {"{\"class\":\"SKY\",\"x\":[[{\"a\":\"]}\\\"\"}]],\"hdop\":2}", true, 0, 2},
        {"{\"class\":\"SKY\",\"satellites\":[]}", true, 0, NAN},
        {"{\"class\":\"SKY\",\"satellites\":[{}]}", true, 0, NAN},
        {"{\"class\":\"SKY\",\"satellites\":[{\"PRN\":99999,\"ss\":40}]}", true, 0, NAN},
        {"{\"class\":\"SKY\",\"satellites\":[{\"PRN\":9,\"ss\":400}]}", true, 1, NAN},
        {"{\"class\":\"SKY\",\"satellites\":[{\"PRN\":9}},", false, 0, 0},
        {"{\"class\":\"SKY\",\"x\":[[[[[[[[[1]]]]]]]]]}", false, 0, 0},
        {"{\"class\":\"SKY\",,}", false, 0, 0},
        {"{\"class\":\"SKY\",\"hdop\":-}", false, 0, 0},
        {"[]", false, 0, 0},
        {"", false, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sky_line sky;
        bool good = sky_line_read(cases[i].line, strlen(cases[i].line), &sky);
        if (good != cases[i].good)
            fail_msg("%s", cases[i].line);
        if (good && ((int)sky.n != cases[i].n || isnan(sky.hdop) != isnan(cases[i].hdop) || (!isnan(sky.hdop) && fabs(sky.hdop - cases[i].hdop) > 1e-9)))
            fail_msg("%s: n %zu hdop %g", cases[i].line, sky.n, sky.hdop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_libgps), cmocka_unit_test(cut_anywhere), cmocka_unit_test(odd_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
