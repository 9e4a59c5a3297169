/* static: what is found, what is never found, and what may be kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tempdir.h"
#include "server/static.h"

static char root[64];

static void put(const char *path, const char *text)
{
    char full[256];
    (void)snprintf(full, sizeof full, "%s/%s", root, path);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

static void folder(const char *path)
{
    char full[256];
    (void)snprintf(full, sizeof full, "%s/%s", root, path);
    assert_int_equal(mkdir(full, 0700), 0);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/schoolward-web-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    folder("officer");
    folder("parent");
    folder("assets");
    put("index.html", "home");
    put("officer/index.html", "officers");
    put("parent/index.html", "parents");
    put("assets/app-Ab3_9xYz.js", "code");
    put("assets/app-Ab3_9xYz.js.gz", "gz");
    put("assets/app-short.js", "code");
    put(".secret", "no");
    char link[256];
    (void)snprintf(link, sizeof link, "%s/passwd", root);
    return symlink("/etc/passwd", link);
}

static int teardown(void **state)
{
    (void)state;
    return tempdir_remove(root);
}

static void test_find(void **state)
{
    (void)state;
    struct static_files *s = NULL;
    char why[256] = "";
    assert_int_equal(static_open(root, &s, why, sizeof why), RC_OK);
    assert_int_equal(static_count(s), 5);
    assert_string_equal(static_find(s, "/")->body[0] == 'h' ? "home" : "", "home");
    assert_string_equal(static_find(s, "/")->type, "text/html; charset=utf-8");
    assert_ptr_equal(static_find(s, "/officer/"), static_find(s, "/officer/index.html"));
    assert_ptr_equal(static_find(s, "/officer/bus/7"), static_find(s, "/officer/index.html"));
    assert_null(static_find(s, "/officer/bus.js"));
    assert_null(static_find(s, "/officer"));
    assert_true(static_is_folder(s, "/officer"));
    assert_false(static_is_folder(s, "/assets"));
    const struct static_file *js = static_find(s, "/assets/app-Ab3_9xYz.js");
    assert_true(js->immutable);
    assert_int_equal(js->gz_n, 2);
    assert_string_not_equal(js->etag, js->etag_gz);
    assert_false(static_find(s, "/assets/app-short.js")->immutable);
    static const char *const never[] = {"/.secret", "/passwd", "/../etc/passwd", "/officer/../.secret", "//index.html", "/assets/", "",
                                        "index.html", "/assets/app-Ab3_9xYz.js.gz", "/./index.html", "/assets/..", "/%2e%2e/etc/passwd"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (static_find(s, never[i]))
            fail_msg("%s was found", never[i]);
    static_free(s);
}

static void test_open(void **state)
{
    (void)state;
    struct static_files *s = NULL;
    char why[256] = "";
    assert_int_equal(static_open("", &s, why, sizeof why), RC_OK);
    assert_null(static_find(s, "/"));
    static_free(s);
    s = NULL;
    assert_int_equal(static_open("/nonexistent", &s, why, sizeof why), RC_IO);
    assert_null(s);
    assert_non_null(strstr(why, "/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_open)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
