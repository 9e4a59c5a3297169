/* json: commas, escapes, UTF-8, numbers and the limit; what it writes must be read back by a strict reader (jansson). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "server/json.h"

static void test_shape(void **state)
{
    (void)state;
    struct json j;
    json_init(&j, 4096);
    json_begin_object(&j, NULL);
    json_text(&j, "a", "x");
    json_begin_array(&j, "list");
    json_int(&j, NULL, INT64_MIN);
    json_begin_object(&j, NULL);
    json_end_object(&j);
    json_bool(&j, NULL, true);
    json_none(&j, NULL);
    json_end_array(&j);
    json_raw(&j, "raw", "[1,2]", 5);
    json_text(&j, "nothing", NULL);
    json_end_object(&j);
    assert_false(j.failed);
    assert_string_equal(j.text, "{\"a\":\"x\",\"list\":[-9223372036854775808,{},true,null],\"raw\":[1,2],\"nothing\":null}");
    json_free(&j);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        int decimals;
        const char *text;
    } cases[] = {{1.5, 3, "[1.5]"},        {2.0, 3, "[2]"},   {-0.0001, 2, "[0]"}, {(double)NAN, 2, "[null]"}, {(double)INFINITY, 1, "[null]"},
                 {39.9087654, 7, "[39.9087654]"}, {100, 0, "[100]"}, {1e300, 2, "[null]"}, {-12.50, 1, "[-12.5]"},   {0.05, 1, "[0.1]"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json j;
        json_init(&j, 4096);
        json_begin_array(&j, NULL);
        json_number(&j, NULL, cases[i].value, cases[i].decimals);
        json_end_array(&j);
        assert_string_equal(j.text, cases[i].text);
        json_free(&j);
    }
}

/* Every byte and every pair of bytes: what comes out must pass a reader that refuses bad UTF-8. */
static void test_any_bytes(void **state)
{
    (void)state;
    struct json j;
    json_init(&j, 65536);
    for (unsigned a = 1; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            char s[] = {(char)a, (char)b, '\0'};
            json_reset(&j);
            json_begin_array(&j, NULL);
            json_text(&j, NULL, s);
            json_end_array(&j);
            assert_false(j.failed);
            json_error_t error;
            json_t *read = json_loadb(j.text, j.n, JSON_REJECT_DUPLICATES, &error);
            assert_non_null(read);
            if (a < 128 && b < 128)
                assert_string_equal(json_string_value(json_array_get(read, 0)), s);
            json_decref(read);
        }
    json_reset(&j);
    json_text(&j, NULL, "粤A·12345 \xF0\x9F\x9A\x8C \xED\xA0\x80 \xC0\xAF \xF4\x90\x80\x80");
    assert_non_null(strstr(j.text, "粤A·12345 \xF0\x9F\x9A\x8C "));
    assert_null(strstr(j.text, "\xED\xA0\x80"));
    assert_null(strstr(j.text, "\xC0\xAF"));
    json_free(&j);
}

static void test_limit(void **state)
{
    (void)state;
    struct json j;
    json_init(&j, 64);
    json_begin_array(&j, NULL);
    for (int i = 0; i < 100; i++)
        json_int(&j, NULL, i);
    assert_true(j.failed);
    assert_true(j.n < 64);
    json_reset(&j);
    json_text(&j, NULL, "fits");
    assert_false(j.failed);
    json_reset(&j);
    for (int i = 0; i < 100; i++)
        json_begin_array(&j, NULL);
    assert_true(j.failed);
    json_reset(&j);
    json_end_object(&j);
    assert_true(j.failed);
    json_free(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shape), cmocka_unit_test(test_numbers), cmocka_unit_test(test_any_bytes),
                                       cmocka_unit_test(test_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
