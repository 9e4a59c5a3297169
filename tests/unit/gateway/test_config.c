/* The gateway's configuration: the shipped file is good, and every kind of mistake is told with file, line, key and a hint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/config.h"

static struct conf_problems problems;

static struct config *good(const char *text)
{
    struct config *c = NULL;
    memset(&problems, 0, sizeof problems);
    enum rc rc = config_read_text(text, strlen(text), "test.conf", &c, &problems);
    if (rc != RC_OK)
        fail_msg("refused: %s", problems.text[0]);
    return c;
}

static void bad(const char *text, const char *expect)
{
    struct config *c = NULL;
    memset(&problems, 0, sizeof problems);
    assert_int_equal(config_read_text(text, strlen(text), "test.conf", &c, &problems), RC_INVALID);
    assert_null(c);
    for (size_t i = 0; i < problems.n && i < CONF_PROBLEMS_MAX; i++)
        if (strstr(problems.text[i], expect) != NULL)
            return;
    fail_msg("'%s' not told; told was: %s", expect, problems.n > 0 ? problems.text[0] : "nothing");
}

static void test_smallest(void **state)
{
    (void)state;
    struct config *c = good("[gateway]\nid = bus-1\n");
    assert_string_equal(c->gateway.id, "bus-1");
    assert_string_equal(c->gateway.server, "");
    assert_int_equal(c->outbox.group_ms, 2000);
    assert_int_equal(c->uplink.ping_s, 20);
    assert_int_equal(c->uplink.pong_s, 10);
    assert_int_equal(c->uplink.retry_min_ms, 1000);
    assert_int_equal(c->uplink.retry_max_ms, 60000);
    assert_true(c->panel.buzzer);
    assert_int_equal(c->devices, 0);
    assert_int_equal(config_log_level(c), LOG_LEVEL_INFO);
    config_free(c);
}

static void test_shipped_file_is_good(void **state)
{
    (void)state;
    const char *source = getenv("SCHOOLWARD_SOURCE");
    if (source == NULL)
        skip();
    char path[512];
    snprintf(path, sizeof path, "%s/firmware-config/devices", source);
    setenv("SCHOOLWARD_DEVICES", path, 1);
    snprintf(path, sizeof path, "%s/firmware-config/gateway.conf", source);
    struct config *c = NULL;
    memset(&problems, 0, sizeof problems);
    enum rc rc = config_read(path, NULL, 0, &c, &problems);
    if (rc != RC_OK)
        fail_msg("%s", problems.text[0]);
    assert_int_equal(c->devices, 5);
    assert_string_equal(c->device[1].driver->name, "counter");
    config_free(c);
}

static void test_devices(void **state)
{
    (void)state;
    struct config *c = good("[gateway]\nid = a\n[device gnss]\ndriver = gpsd\nsilence_ms = 5000\n[device io]\ndriver = inputs\nport = /dev/ttyUSB0\nslave = 7\n"
                            "[panel]\ndevice = io\nlamp = no\n");
    assert_int_equal(c->devices, 2);
    assert_string_equal(c->device[0].name, "gnss");
    assert_int_equal(c->device[0].silence_ms, 5000);
    assert_string_equal(c->device[1].driver->name, "inputs");
    assert_false(c->panel.lamp);
    config_free(c);
}

static void test_each_mistake_is_told(void **state)
{
    (void)state;
    bad("", "id: must be given");
    bad("[gateway]\nserver = ws://x\n", "id: must be given");
    bad("[gateway]\nid = bus 1\n", "test.conf:2: id: has a character outside");
    bad("[gateway]\nid = a\nserver = http://x\n", "test.conf:3: server: must begin with ws:// or wss://");
    bad("[gateway]\nid = a\nserver = ws://x\nca_file = /x.pem\n", "test.conf:4: ca_file: has no use with ws://");
    bad("[gateway]\nid = a\nlog_level = loud\n", "test.conf:3: log_level:");
    bad("[gateway]\nid = a\nsrever = ws://x\n", "test.conf:3: srever: is not known in [gateway]: did you mean server?");
    bad("[gateway]\nid = a\n[outbox]\ngroup_ms = 50\n", "test.conf:4: group_ms: must be 100..60000 ms");
    bad("[gateway]\nid = a\n[outbox]\ngroup_ms = soon\n", "test.conf:4: group_ms:");
    bad("[gateway]\nid = a\n[uplink]\nretry_min_ms = 5000\nretry_max_ms = 1000\n", "test.conf:5: retry_max_ms: is below retry_min_ms");
    bad("[gateway]\nid = a\n[uplnk]\nping_s = 5\n", "[uplnk] is not a section");
    bad("[gateway]\nid = a\n[device Counter]\ndriver = counter\nport = x\n", "a device needs a name");
    bad("[gateway]\nid = a\n[device]\ndriver = counter\nport = x\n", "a device needs a name");
    bad("[gateway]\nid = a\n[device abcdefghijklmnop]\ndriver = gpsd\n", "a device needs a name of 1..15");
    bad("[gateway]\nid = a\n[device x]\nport = y\n", "driver: must be given: one of ");
    bad("[gateway]\nid = a\n[device x]\ndriver = telepathy\n", "test.conf:4: driver: telepathy is not a driver: one of ");
    bad("[gateway]\nid = a\n[device x]\ndriver = gpsd\nprot = 1\n", "test.conf:5: prot: is not known in [device]: did you mean port?");
    bad("[gateway]\nid = a\n[panel]\ndevice = io\n", "test.conf:4: device: there is no [device io]");
    bad("[gateway]\nid = a\n[device g]\ndriver = gpsd\n[panel]\ndevice = g\n", "test.conf:6: device: device g has no outputs");
}

static void test_all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    bad("[gateway]\nid = a\nserver = x\n[outbox]\ngroup_ms = 1\n[device q]\ndriver = none\n[rubbish]\nx = 1\n", "test.conf:3: server");
    assert_int_equal(problems.n, 4);
}

static void test_too_many_devices(void **state)
{
    (void)state;
    char text[4096] = "[gateway]\nid = a\n";
    for (int i = 0; i <= CONFIG_DEVICES_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "[device d%d]\ndriver = gpsd\n", i);
    bad(text, "more than 16 devices");
}

static void test_overrides(void **state)
{
    (void)state;
    static const char *const set[] = {"gateway.id=b", "outbox.group_ms=500", "device.gnss.driver=gpsd", "device.gnss.port=2999"};
    struct config *c = NULL;
    memset(&problems, 0, sizeof problems);
    assert_int_equal(config_read(NULL, set, 4, &c, &problems), RC_OK);
    assert_string_equal(c->gateway.id, "b");
    assert_int_equal(c->outbox.group_ms, 500);
    assert_int_equal(c->devices, 1);
    config_free(c);
    static const char *const wrong[] = {"gateway.id=b", "nonsense"};
    memset(&problems, 0, sizeof problems);
    assert_int_equal(config_read(NULL, wrong, 2, &c, &problems), RC_INVALID);
    assert_non_null(strstr(problems.text[0], "is not section.key=value"));
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void told(const char *conf, const char *expect)
{
    struct config *c = NULL;
    memset(&problems, 0, sizeof problems);
    enum rc rc = config_read(conf, NULL, 0, &c, &problems);
    if (expect == NULL) {
        if (rc != RC_OK)
            fail_msg("refused: %s", problems.text[0]);
        config_free(c);
        return;
    }
    assert_int_equal(rc, RC_INVALID);
    assert_int_equal(problems.n, 1);
    if (strstr(problems.text[0], expect) == NULL)
        fail_msg("'%s' not told; told was: %s", expect, problems.text[0]);
}

/* A map that is missing, of another kind or wrong inside is a mistake of the line that names it. */
static void test_bad_maps_are_told(void **state)
{
    (void)state;
    char dir[] = "/tmp/sw-maps-XXXXXX", conf[64], map[64], text[512], expect[160];
    assert_non_null(mkdtemp(dir));
    setenv("SCHOOLWARD_DEVICES", dir, 1);
    snprintf(conf, sizeof conf, "%s/gateway.conf", dir);
    snprintf(map, sizeof map, "%s/door.conf", dir);
    write_file(conf, "[gateway]\nid = a\n[device door]\ndriver = counter\nport = /dev/ttyUSB0\nmap = door\n");
    snprintf(expect, sizeof expect, "%s:6: map: %s: ", conf, map);
    told(conf, expect);
    write_file(map, "[counter]\nmodel = A B\nfunction = 3\n[door 0]\nin = 70000\n");
    snprintf(expect, sizeof expect, "%s:6: map: %s:5: in: must be 0..65535", conf, map);
    told(conf, expect);
    write_file(map, "[inputs]\nmodel = A B\nfunction = 2\n[input sos]\naddress = 1\n");
    snprintf(expect, sizeof expect, "%s:6: map: %s: no section [counter]", conf, map);
    told(conf, expect);
    write_file(map, "[counter]\nmodel = A B\nfunction = 3\n[door 0]\nin = 0\n");
    told(conf, NULL);
    /* the default map is not there: no line names it, the section does */
    write_file(conf, "[gateway]\nid = a\n[device io]\ndriver = inputs\nport = /dev/ttyUSB0\n");
    snprintf(expect, sizeof expect, "%s:3: map: %s/generic-inputs.conf: ", conf, dir);
    told(conf, expect);
    write_file(conf, "[gateway]\nid = a\n[device r]\ndriver = replay\nfile = /nonexistent/ride\n");
    snprintf(expect, sizeof expect, "%s:5: file: /nonexistent/ride cannot be read", conf);
    told(conf, expect);
    snprintf(text, sizeof text, "rm -r '%s'", dir);
    assert_int_equal(system(text), 0);
}

/* What --print-config prints is itself a configuration, and means the same. */
static void test_print_is_read_back(void **state)
{
    (void)state;
    struct config *c = good("[gateway]\nid = a\nserver = wss://h:1/p\n[outbox]\ngroup_ms = 700\n[device io]\ndriver = inputs\nport = /dev/ttyUSB0\nslave = 7\n");
    char *once = NULL, *twice = NULL;
    size_t n;
    FILE *f = open_memstream(&once, &n);
    config_print(f, c);
    fclose(f);
    config_free(c);
    c = good(once);
    f = open_memstream(&twice, &n);
    config_print(f, c);
    fclose(f);
    config_free(c);
    assert_string_equal(once, twice);
    assert_non_null(strstr(once, "group_ms = 700"));
    assert_non_null(strstr(once, "100..60000 ms, default 2000"));
    assert_non_null(strstr(once, "[device io]\ndriver = inputs"));
    free(once);
    free(twice);
}

/* A value for a field that its table accepts: the default, or one of its limits. */
static void some_value(const struct field *f, int round, char *out, size_t cap)
{
    size_t n = f->min > 1 ? (size_t)f->min : 1;
    switch (f->kind) {
    case FIELD_BOOL: snprintf(out, cap, "%s", round == 1 ? "false" : "true"); break;
    case FIELD_INT:
    case FIELD_UINT: snprintf(out, cap, "%.0f", round == 1 ? f->min : f->max); break;
    case FIELD_REAL: snprintf(out, cap, "%.17g", f->min + (f->max - f->min) / 3); break;
    case FIELD_WORD: snprintf(out, cap, "%s", f->words[(int)f->max]); break;
    case FIELD_TEXT:
        if (round == 1) /* longest */
            n = f->max > 0 && f->max < (double)f->size - 1 ? (size_t)f->max : f->size - 1;
        assert_true(n < cap);
        for (size_t i = 0; i < n; i++)
            out[i] = i == 0 ? ';' : i % 3 == 0 ? ' ' : '#';
        out[n] = '\0';
        break;
    }
}

/* Every option of every driver: defaults, limits and unfriendly texts read back as they were printed. */
static void test_every_table_is_read_back(void **state)
{
    (void)state;
    size_t fields = 0;
    for (size_t i = 0; driver_all[i] != NULL; i++) {
        const struct driver *d = driver_all[i];
        for (int round = 0; round < 3; round++) {
            char value[512], back_value[512], why[256];
            void *record = calloc(1, d->options_size), *back = calloc(1, d->options_size);
            assert_int_equal(field_defaults(d->options, d->options_n, record), RC_OK);
            for (size_t k = 0; k < d->options_n; k++)
                if (round > 0 || d->options[k].initial == NULL) {
                    some_value(&d->options[k], round, value, sizeof value);
                    if (field_set(&d->options[k], record, value, why, sizeof why) != RC_OK)
                        fail_msg("%s %s: %s", d->name, d->options[k].name, why);
                }
            char *text = NULL;
            size_t n = 0;
            FILE *f = open_memstream(&text, &n);
            conf_print(f, "device x", d->options, d->options_n, record);
            fclose(f);
            struct conf *c = NULL;
            memset(&problems, 0, sizeof problems);
            if (conf_read_text(text, n, d->name, &c, &problems) != RC_OK)
                fail_msg("%s", problems.text[0]);
            conf_apply(c, conf_find_section(c, "device", "x"), d->options, d->options_n, back, &problems);
            conf_report_unused(c, &problems);
            if (problems.n > 0)
                fail_msg("%s", problems.text[0]);
            for (size_t k = 0; k < d->options_n; k++, fields++) {
                field_text(&d->options[k], record, value, sizeof value);
                field_text(&d->options[k], back, back_value, sizeof back_value);
                assert_string_equal(value, back_value);
            }
            conf_free(c);
            free(text);
            free(record);
            free(back);
        }
    }
    print_message("%zu fields\n", fields);
    assert_true(fields > 100);
}

static void secret_is(const char *content, enum rc expect, const char *secret)
{
    char path[] = "/tmp/sw-secret-XXXXXX", got[UPLINK_SECRET_MAX + 1], why[256], text[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    snprintf(text, sizeof text, "[gateway]\nid = a\nsecret_file = %s\n", path);
    struct config *c = good(text);
    assert_int_equal(config_secret(c, got, why, sizeof why), expect);
    if (expect == RC_OK)
        assert_string_equal(got, secret);
    else
        assert_null(strstr(why, "hunter")); /* not even a wrong secret is repeated */
    unlink(path);
    if (expect == RC_OK) {
        assert_int_equal(config_secret(c, got, why, sizeof why), RC_IO);
        assert_non_null(strstr(why, "put the secret the server gave"));
    }
    config_free(c);
}

static void test_secret(void **state)
{
    (void)state;
    char longest[UPLINK_SECRET_MAX + 3];
    secret_is("hunter2\n", RC_OK, "hunter2");
    secret_is("hunter2", RC_OK, "hunter2");
    secret_is("hunter2\r\nsecond line\n", RC_OK, "hunter2");
    secret_is("", RC_INVALID, NULL);
    secret_is("\nhunter2\n", RC_INVALID, NULL);
    secret_is("hunter 2\n", RC_INVALID, NULL);
    memset(longest, 'x', sizeof longest);
    longest[UPLINK_SECRET_MAX] = '\0';
    secret_is(longest, RC_OK, longest);
    longest[UPLINK_SECRET_MAX] = 'x';
    longest[UPLINK_SECRET_MAX + 1] = '\0';
    secret_is(longest, RC_INVALID, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_shipped_file_is_good),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_each_mistake_is_told),
        cmocka_unit_test(test_all_mistakes_are_told_at_once),
        cmocka_unit_test(test_too_many_devices),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_bad_maps_are_told),
        cmocka_unit_test(test_print_is_read_back),
        cmocka_unit_test(test_every_table_is_read_back),
        cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
