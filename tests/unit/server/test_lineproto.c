/* Line protocol: what is written, what is refused, and that it reads back. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/lineproto.h"

static char out[4096];
static struct lineproto w;

static int fresh(void **state)
{
    (void)state;
    lineproto_init(&w, out, sizeof out);
    return 0;
}

static void assert_line(const char *expected)
{
    assert_int_equal(w.n, strlen(expected));
    assert_memory_equal(out, expected, w.n);
}

static void writes_a_point(void **state)
{
    (void)state;
    lineproto_begin(&w, "fix");
    lineproto_tag(&w, "vehicle", "bus-7");
    lineproto_tag(&w, "route", "");
    lineproto_tag(&w, "area", NULL);
    lineproto_fixed(&w, "lat", 511605000, 7);
    lineproto_fixed(&w, "lon", -5, 7);
    lineproto_real(&w, "speed_mps", 8.25);
    lineproto_real(&w, "hdop", NAN);
    lineproto_int(&w, "satellites", 9);
    lineproto_bool(&w, "late", false);
    lineproto_text(&w, "note", "a \"b\" \\ c, d=e");
    assert_int_equal(lineproto_end(&w, 1763856764250), RC_OK);
    assert_line("fix,vehicle=bus-7 lat=51.1605,lon=-0.0000005,speed_mps=8.25,satellites=9i,late=false,"
                "note=\"a \\\"b\\\" \\\\ c, d=e\" 1763856764250\n");
    assert_int_equal(w.lines, 1);
}

static void sorts_tags_bytewise_and_escapes(void **state)
{
    (void)state;
    lineproto_begin(&w, "a, b");
    lineproto_tag(&w, "z", "1");
    lineproto_tag(&w, "a b", "x=y,z w");
    lineproto_tag(&w, "Z", "\xe6\xb2\xaa" "A12345 \xe5\x8f\xb7"); /* 沪A12345 号 */
    lineproto_int(&w, "k=", INT64_MIN);
    assert_int_equal(lineproto_end(&w, -1), RC_OK);
    assert_line("a\\,\\ b,Z=\xe6\xb2\xaa" "A12345\\ \xe5\x8f\xb7,a\\ b=x\\=y\\,z\\ w,z=1 k\\==-9223372036854775808i -1\n");
}

static void refuses(void **state)
{
    (void)state;
    static const char *const bad_names[] = {"", "#c", "_m", "m\\", "a\nb", "a\tb", "\x80", "\xed\xa0\x80", "\xc0\xaf"};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        lineproto_begin(&w, bad_names[i]);
        lineproto_int(&w, "v", 1);
        assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
    }
    static const char *const bad_keys[] = {"", "time", "_k", "k\\", "k\r"};
    for (size_t i = 0; i < sizeof bad_keys / sizeof *bad_keys; i++) {
        lineproto_begin(&w, "m");
        lineproto_tag(&w, bad_keys[i], "v");
        lineproto_int(&w, "v", 1);
        assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
        lineproto_begin(&w, "m");
        lineproto_int(&w, bad_keys[i], 1);
        assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
    }
    static const char *const bad_values[] = {"v\\", "a\nb", "\x7f", "\xff"};
    for (size_t i = 0; i < sizeof bad_values / sizeof *bad_values; i++) {
        lineproto_begin(&w, "m");
        lineproto_tag(&w, "k", bad_values[i]);
        lineproto_int(&w, "v", 1);
        assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
    }
    lineproto_begin(&w, "m");
    lineproto_text(&w, "s", "line1\nline2");
    assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
    lineproto_begin(&w, "m");
    lineproto_tag(&w, "k", "1");
    lineproto_tag(&w, "k", "2");
    lineproto_int(&w, "v", 1);
    assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
    lineproto_begin(&w, "m"); /* a tag and a field of the same name */
    lineproto_tag(&w, "k", "1");
    lineproto_int(&w, "k", 1);
    assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
    lineproto_begin(&w, "m"); /* a tag after a field */
    lineproto_int(&w, "v", 1);
    lineproto_tag(&w, "k", "1");
    assert_int_equal(lineproto_end(&w, 0), RC_INVALID);
    lineproto_begin(&w, "m"); /* nothing left */
    lineproto_real(&w, "v", NAN);
    lineproto_real(&w, "u", INFINITY);
    assert_int_equal(lineproto_end(&w, 0), RC_END);
    assert_int_equal(w.n, 0);
    assert_int_equal(w.lines, 0);
}

/* Whatever the room, the buffer holds whole lines only. */
static void is_whole_at_every_size(void **state)
{
    (void)state;
    char exact[256];
    static const char line[] = "m,k=v,l=w a=1.5,b=2i,c=\"x\\\"y\" 12345\n";
    for (size_t cap = 0; cap <= 2 * (sizeof line - 1); cap++) {
        struct lineproto s;
        memset(exact, '?', sizeof exact);
        lineproto_init(&s, exact, cap);
        for (int i = 0; i < 3; i++) {
            lineproto_begin(&s, "m");
            lineproto_tag(&s, "l", "w");
            lineproto_tag(&s, "k", "v");
            lineproto_real(&s, "a", 1.5);
            lineproto_int(&s, "b", 2);
            lineproto_text(&s, "c", "x\"y");
            assert_int_equal(lineproto_end(&s, 12345), (size_t)i < cap / (sizeof line - 1) ? RC_OK : RC_FULL);
        }
        assert_int_equal(s.lines, cap / (sizeof line - 1));
        assert_int_equal(s.n, s.lines * (sizeof line - 1));
        assert_int_equal(exact[cap], '?');
    }
}

static double random_double(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    uint64_t bits = *seed ^ (*seed >> 29);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void numbers_round_trip(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } known[] = {{0, "0"}, {1, "1"}, {-1, "-1"}, {0.1, "0.1"}, {1e22, "1e+22"}, {5e-324, "4.94065645841247e-324"}, {1.7976931348623157e308, "1.7976931348623157e+308"},
                 {1.0 / 3, "0.3333333333333333"}, {9007199254740991.0, "9007199254740991"}, {-0.0, "-0"}, {43.238949, "43.238949"}};
    char t[LINEPROTO_REAL_MAX];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(lineproto_real_text(known[i].v, t), strlen(known[i].text));
        assert_string_equal(t, known[i].text);
    }
    assert_int_equal(lineproto_real_text(NAN, t), 0);
    uint64_t seed = 20261123;
    size_t tried = 0;
    for (int i = 0; i < 200000; i++) {
        double v = random_double(&seed);
        size_t n = lineproto_real_text(v, t);
        if (n == 0)
            continue;
        tried++;
        double back = strtod(t, NULL);
        assert_true(n < LINEPROTO_REAL_MAX && strlen(t) == n && memcmp(&back, &v, sizeof v) == 0);
    }
    assert_true(tried > 190000);
}

/* A decimal comma in the process's locale must not reach the line. */
static void knows_no_locale(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8"};
    const char *got = NULL;
    for (size_t i = 0; i < 4 && got == NULL; i++)
        got = setlocale(LC_ALL, commas[i]);
    if (got == NULL)
        print_message("no locale with a decimal comma is installed: only the C locale is tried\n");
    char t[LINEPROTO_REAL_MAX];
    lineproto_real_text(0.5, t);
    assert_string_equal(t, "0.5");
    char arena[64];
    struct lineproto_point p;
    assert_int_equal(lineproto_parse("m v=0.5", 7, arena, &p), RC_OK);
    assert_true(p.field[0].real > 0.4 && p.field[0].real < 0.6);
    setlocale(LC_ALL, "C");
}

static void fixed_point_equals_division(void **state)
{
    (void)state;
    static const int64_t value[] = {0, 1, -1, 10, -10, 1800000000, -1800000000, 432389490, 999999999, INT64_MAX, INT64_MIN, 100000000, 5};
    for (size_t i = 0; i < sizeof value / sizeof *value; i++)
        for (int decimals = 0; decimals <= 9; decimals++) {
            lineproto_clear(&w);
            lineproto_begin(&w, "m");
            lineproto_fixed(&w, "v", value[i], decimals);
            assert_int_equal(lineproto_end(&w, 0), RC_OK);
            char arena[128];
            struct lineproto_point p;
            assert_int_equal(lineproto_parse(out, w.n - 1, arena, &p), RC_OK);
            assert_int_equal(p.field[0].kind, LINEPROTO_REAL);
            double expected = (double)((long double)value[i] / powl(10, decimals));
            assert_true(fabs(p.field[0].real - expected) <= fabs(expected) * 1e-15);
        }
}

static void parser_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "#c v=1", "m", "m ", "m,a= v=1", "m,a v=1", "m, v=1", "m v=", "m v=NaN", "m v=inf", "m v=1.1.1", "m v=1e", "m v=--1", "m v=0x10",
                                      "m v=9i9", "m v=i", "m v=-1u", "m v=\"a", "m v=\"a\"b", "m v=1 1.5", "m v=1 1x", "m v=1 1 1", "m v=1,", "m v=1\r", ",a=1 v=1", "m,a=1,a=2 v=1",
                                      "m,t=back\\ v=1", "m =1", "m v=truE"};
    char arena[64];
    struct lineproto_point p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (lineproto_parse(bad[i], strlen(bad[i]), arena, &p) != RC_INVALID)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(lineproto_parse("m v=9223372036854775808i", 24, arena, &p), RC_RANGE);
    assert_int_equal(lineproto_parse("m v=1 9223372036854775808", 25, arena, &p), RC_RANGE);
    assert_int_equal(lineproto_parse("m v=1e999", 9, arena, &p), RC_RANGE);
}

static void parser_reads(void **state)
{
    (void)state;
    static const char line[] = "a\\,\\ b\\=,k\\ 1=v\\,\\=\\ \\x i=-5i,u=7u,b=T,s=\"x, =\\\"\\\\\\n\",f=-1.5e3  -42 ";
    char arena[sizeof line];
    struct lineproto_point p;
    assert_int_equal(lineproto_parse(line, sizeof line - 1, arena, &p), RC_OK);
    assert_string_equal(p.name, "a, b\\=");
    assert_string_equal(p.tag[0].key, "k 1");
    assert_string_equal(p.tag[0].value, "v,= \\x");
    assert_int_equal(p.field[0].integer, -5);
    assert_int_equal(p.field[1].unsigned_integer, 7);
    assert_true(p.field[2].boolean);
    assert_string_equal(p.field[3].text, "x, =\"\\\\n");
    assert_true(p.field[4].real < -1499.9 && p.field[4].real > -1500.1);
    assert_true(p.timed);
    assert_int_equal(p.time, -42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(writes_a_point, fresh),
        cmocka_unit_test_setup(sorts_tags_bytewise_and_escapes, fresh),
        cmocka_unit_test_setup(refuses, fresh),
        cmocka_unit_test(is_whole_at_every_size),
        cmocka_unit_test(numbers_round_trip),
        cmocka_unit_test(knows_no_locale),
        cmocka_unit_test_setup(fixed_point_equals_division, fresh),
        cmocka_unit_test(parser_refuses),
        cmocka_unit_test(parser_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
