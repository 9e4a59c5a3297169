/* gpsd_line: the same numbers as libgps reads from the same lines, and what is cut off or no JSON is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gps.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gateway/drivers/gpsd_line.h"

static const char typical[] =
    "{\"class\":\"SKY\",\"device\":\"/dev/ttyUSB0\",\"xdop\":0.44,\"vdop\":0.90,\"hdop\":0.70,\"pdop\":1.14,\"nSat\":4,\"uSat\":2,\"satellites\":["
    "{\"PRN\":23,\"el\":6.0,\"az\":84.0,\"ss\":26.0,\"used\":false,\"gnssid\":0,\"svid\":23},{\"PRN\":28,\"el\":7.0,\"az\":160.0,\"ss\":0.0,\"used\":true},"
    "{\"PRN\":408,\"el\":45.5,\"az\":12.5,\"ss\":41.7,\"used\":true,\"gnssid\":3,\"svid\":8,\"sigid\":1},{\"PRN\":5,\"ss\":-1,\"used\":false}]}";

static void same_as_libgps(void **state)
{
    (void)state;
    static struct gps_data_t g;
    char line[2048];
    struct gpsd_sky sky;
    strcpy(line, typical);
    assert_int_equal(gps_unpack(line, &g), 0);
    assert_true(gpsd_line_is_sky(typical));
    assert_true(gpsd_line_sky(typical, strlen(typical), &sky));
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

static void tpv_as_libgps(void **state)
{
    static const char *const lines[] = {
        ("{\"class\":\"TPV\",\"device\":\"/dev/gps0\",\"mode\":3,\"time\":\"2026-11-22T23:30:01.250Z\",\"ept\":0.005,\"lat\":31.230412345,\"lon\":-121.473712345,"
        "\"altHAE\":20.1,\"altMSL\":4.5,\"alt\":4.5,\"epx\":3.1,\"track\":359.99,\"magtrack\":1.5,\"speed\":9.512,\"climb\":-0.1,\"eps\":1.2,\"geoidSep\":-30.0}"),
        "{\"class\":\"TPV\",\"device\":\"/dev/gps0\",\"mode\":2,\"time\":\"2024-02-29T00:00:00.000Z\",\"lat\":-0.000000100,\"lon\":0.5}",
        "{\"class\":\"TPV\",\"device\":\"/dev/gps0\",\"mode\":1}",
        "{\"class\":\"TPV\",\"device\":\"/dev/gps0\",\"mode\":3,\"time\":\"2016-12-31T23:59:60.000Z\",\"lat\":1,\"lon\":2}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        static struct gps_data_t g;
        char line[2048];
        struct gpsd_tpv t;
        const char *rest = NULL;
        snprintf(line, sizeof line, "%s", lines[i]);
        g = (struct gps_data_t){0};
        assert_int_equal(gps_unpack(line, &g), 0);
        assert_true(gpsd_line_is_tpv(lines[i]));
        assert_true(gpsd_line_tpv(lines[i], strlen(lines[i]), &t, &rest));
        assert_ptr_equal(rest, lines[i] + strlen(lines[i]));
        assert_int_equal(t.mode, g.fix.mode);
        const double ours[] = {t.lat_deg, t.lon_deg, t.alt_m, t.speed_mps, t.track_deg};
        const double theirs[] = {g.fix.latitude, g.fix.longitude, g.fix.altMSL, g.fix.speed, g.fix.track};
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++)
            if (isfinite(ours[k]) != (isfinite(theirs[k]) != 0) || (isfinite(ours[k]) && fabs(ours[k] - theirs[k]) > 1e-9))
                fail_msg("line %zu field %zu: %.10f, libgps %.10f", i, k, ours[k], theirs[k]);
        int64_t ms = (g.set & TIME_SET) != 0 ? (int64_t)g.fix.time.tv_sec * 1000 + (g.fix.time.tv_nsec + 500000) / 1000000 : 0;
        assert_int_equal(t.time_ms, ms);
    }
}

static void no_times(void **state)
{
    static const char *const texts[] = {"2026-13-01T00:00:00.000Z", "2026-02-29T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T23:60:00Z", "2026-11-22T23:30:61Z",
                                        "2026-11-22 23:30:00Z",     "2026-11-22T23:30:00",  "1969-12-31T23:59:59Z", "2026-11-2xT00:00:00Z", "", "Z"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char line[200];
        struct gpsd_tpv t = {.time_ms = 5};
        const char *rest = NULL;
        snprintf(line, sizeof line, "{\"class\":\"TPV\",\"time\":\"%s\",\"mode\":3}", texts[i]);
        assert_true(gpsd_line_tpv(line, strlen(line), &t, &rest));
        if (t.time_ms != 0)
            fail_msg("%s is %lld", texts[i], (long long)t.time_ms);
    }
}

static void cut_anywhere(void **state)
{
    (void)state;
    struct gpsd_sky sky = {.used = 77};
    for (size_t n = 0; n + 1 < sizeof typical; n++) {
        assert_false(gpsd_line_sky(typical, n, &sky));
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
        struct gpsd_sky sky;
        bool good = gpsd_line_sky(cases[i].line, strlen(cases[i].line), &sky);
        if (good != cases[i].good)
            fail_msg("%s", cases[i].line);
        if (good && ((int)sky.n != cases[i].n || isnan(sky.hdop) != isnan(cases[i].hdop) || (!isnan(sky.hdop) && fabs(sky.hdop - cases[i].hdop) > 1e-9)))
            fail_msg("%s: n %zu hdop %g", cases[i].line, sky.n, sky.hdop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_libgps), cmocka_unit_test(tpv_as_libgps), cmocka_unit_test(no_times), cmocka_unit_test(cut_anywhere), cmocka_unit_test(odd_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
