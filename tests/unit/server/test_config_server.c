/* The server's configuration: defaults, every problem at once with its line, loopback only, secrets only we may read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config.h"

static enum rc read_it(const char *text, struct config_server *c, struct conf_problems *p)
{
    memset(p, 0, sizeof *p);
    return config_server_read_text(text, strlen(text), "t.conf", NULL, 0, c, p);
}

static void test_defaults(void **state)
{
    (void)state;
    static struct config_server c, again;
    static struct conf_problems p;
    assert_int_equal(read_it("", &c, &p), RC_OK);
    assert_string_equal(c.address, "127.0.0.1");
    assert_int_equal(c.port, 8080);
    assert_string_equal(c.server.public_url, "http://127.0.0.1:8080");
    assert_string_equal(c.server.link_key_file, "/var/lib/schoolward/link.key");
    assert_int_equal(c.journal.group_ms, 100);
    assert_true(c.server.fresh_s == 30 && c.server.delayed_s == 120 && c.server.stale_s == 600);
    /* what is printed reads back as the same */
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    config_server_print(f, &c);
    fclose(f);
    assert_int_equal(read_it(text, &again, &p), RC_OK);
    assert_memory_equal(&c, &again, sizeof c);
    free(text);
}

static void test_problems(void **state)
{
    (void)state;
    static struct config_server c;
    static struct conf_problems p;
    assert_int_equal(read_it("[server]\nlissten = 1\nlisten = 0.0.0.0:80\n[journal]\ngroup_ms = 5\n[nonsense]\nx = 1\n[notify]\nurl = http://x\n", &c, &p), RC_INVALID);
    assert_int_equal(p.n, 5); /* all of them */
    int seen = 0;
    for (size_t i = 0; i < p.n; i++) {
        assert_int_equal(strncmp(p.text[i], "t.conf:", 7), 0);
        seen += strstr(p.text[i], "did you mean listen") != NULL;
        seen += strstr(p.text[i], "not a loopback address") != NULL;
        seen += strstr(p.text[i], "group_ms") != NULL && strncmp(p.text[i], "t.conf:5:", 9) == 0;
        seen += strstr(p.text[i], "nonsense") != NULL;
        seen += strstr(p.text[i], "secret_file") != NULL;
    }
    assert_int_equal(seen, 5);
    static const char *const bad[] = {"8080", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:80x", ":80", "[::1]:80", "10.0.0.1:80", "example.org:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "[server]\nlisten = %s\n", bad[i]);
        if (read_it(text, &c, &p) != RC_INVALID)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(p.text[0], "t.conf:2: listen: "));
    }
    assert_int_equal(read_it("[server]\nlisten = localhost:1234\n", &c, &p), RC_OK);
    assert_string_equal(c.address, "127.0.0.1");
    assert_int_equal(read_it("[server]\nlisten = 127.9.9.9:1234\n", &c, &p), RC_OK);
    assert_int_equal(read_it("[server]\nfresh_s = 60\ndelayed_s = 60\nstale_s = 61\n", &c, &p), RC_INVALID);
    assert_int_equal(p.n, 1);
    assert_non_null(strstr(p.text[0], "t.conf:3: delayed_s: 60 must be above fresh_s = 60"));
    assert_int_equal(read_it("[server]\nfresh_s = 10\ndelayed_s = 700\n", &c, &p), RC_INVALID);
    assert_non_null(strstr(p.text[0], "stale_s: 600 must be above delayed_s = 700"));
    assert_int_equal(read_it("[server]\nfresh_s = 2\ndelayed_s = 3\nstale_s = 4\n", &c, &p), RC_OK);
    const char *set[] = {"server.listen=127.0.0.1:99", "series.api=victoria"};
    memset(&p, 0, sizeof p);
    assert_int_equal(config_server_read(NULL, set, 2, &c, &p), RC_OK);
    assert_int_equal(c.port, 99);
    assert_int_equal(c.series.api, 4);
    memset(&p, 0, sizeof p);
    assert_int_equal(config_server_read("/no/such/file", NULL, 0, &c, &p), RC_IO);
    assert_int_equal(p.n, 1);
}

static void test_secret(void **state)
{
    (void)state;
    char path[] = "/tmp/test-secret-XXXXXX", out[17], why[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(config_server_secret("", out, sizeof out, why, sizeof why), RC_OK);
    assert_string_equal(out, "");
    assert_int_equal(config_server_secret(path, out, sizeof out, why, sizeof why), RC_INVALID);
    assert_int_equal(write(fd, "0123456789abcdef\nmore", 21), 21);
    assert_int_equal(config_server_secret(path, out, sizeof out, why, sizeof why), RC_OK);
    assert_string_equal(out, "0123456789abcdef");
    assert_int_equal(config_server_secret(path, out, 16, why, sizeof why), RC_INVALID); /* one too long */
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(config_server_secret(path, out, sizeof out, why, sizeof why), RC_DENIED);
    assert_non_null(strstr(why, "chmod 600"));
    close(fd);
    unlink(path);
    assert_int_equal(config_server_secret(path, out, sizeof out, why, sizeof why), RC_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_problems), cmocka_unit_test(test_secret)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
