/* field, conf, log gate, clock text, db: the parts under every module. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/base/conf.h"
#include "core/base/db.h"
#include "core/base/log.h"

struct rec {
    bool on;
    int8_t tiny;
    uint16_t port;
    int64_t big;
    double rate;
    char host[16];
    int mode;
};
static const char *const modes[] = {"off", "slow", "fast", NULL};
static const struct field table[] = {
    {"on", FIELD_BOOL, FIELD_AT(struct rec, on), "", 0, 1, NULL, "true", "whether it runs"},
    {"tiny", FIELD_INT, FIELD_AT(struct rec, tiny), "m", -100, 100, NULL, "-7", "a small number"},
    {"port", FIELD_UINT, FIELD_AT(struct rec, port), "", 1, 65535, NULL, "0x1F90", "TCP port"},
    {"big", FIELD_INT, FIELD_AT(struct rec, big), "ms", 0, 1e15, NULL, "5000000000", "a pause"},
    {"rate", FIELD_REAL, FIELD_AT(struct rec, rate), "/s", 0.5, 10, NULL, "2.5", "how often"},
    {"host", FIELD_TEXT, FIELD_AT(struct rec, host), "", 1, 0, NULL, NULL, "where it is"},
    {"mode", FIELD_WORD, FIELD_AT(struct rec, mode), "", 0, 0, modes, "slow", "how it goes"},
};
#define TABLE table, sizeof table / sizeof table[0]

static void fields_go_round(void **state)
{
    (void)state;
    struct rec r = {.host = "x"};
    char text[64], why[200];
    assert_int_equal(field_defaults(TABLE, &r), RC_OK);
    assert_true(r.on && r.tiny == -7 && r.port == 8080 && r.big == 5000000000 && r.rate > 2.4 && r.mode == 1);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct rec copy = {0};
        assert_true(field_text(&table[i], &r, text, sizeof text) > 0);
        assert_int_equal(field_set(&table[i], &copy, text, why, sizeof why), RC_OK);
    }
    struct rec before = r;
    static const char *const bad[][2] = {{"on", "maybe"}, {"tiny", "101"}, {"tiny", "1x"}, {"tiny", ""}, {"port", "0"}, {"port", "70000"}, {"rate", "nan"},
                                         {"rate", "11"}, {"host", ""}, {"host", "0123456789abcdef"}, {"host", "a\tb"}, {"mode", "warp"},
                                         {"big", "99999999999999999999"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why[0] = '\0';
        assert_int_not_equal(field_set(field_find(TABLE, bad[i][0]), &r, bad[i][1], why, sizeof why), RC_OK);
        assert_true(strlen(why) > 8);
        assert_memory_equal(&before, &r, sizeof r);
    }
    assert_null(field_find(TABLE, "nope"));
}

static void configuration_with_lines(void **state)
{
    (void)state;
    static const char text[] = "# comment\n[net]\nhost = here\nport = 99999\n; another\nprot = 5\n\n[device front]\nhost=a\nhost=b\n[stray]\nx=1\n";
    struct conf *c = NULL;
    struct conf_problems p = {0};
    assert_int_equal(conf_read_text(text, sizeof text - 1, "t.conf", &c, &p), RC_INVALID);
    assert_int_equal(p.n, 1);
    assert_string_equal(p.text[0], "t.conf:10: host: is given twice (first in line 9): keep one");

    static const char good[] = "[net]\nhost = here   # where\nport = 99999 ; too big\nprot = 5\n[device front]\nhost=a\n[stray]\nx=1\n";
    struct rec r = {0};
    p.n = 0;
    assert_int_equal(conf_read_text(good, sizeof good - 1, "t.conf", &c, &p), RC_OK);
    conf_apply(c, conf_find_section(c, "net", ""), TABLE, &r, &p);
    assert_int_equal(conf_sections(c), 3);
    const char *kind, *name;
    conf_section(c, 1, &kind, &name);
    assert_string_equal(kind, "device");
    assert_string_equal(name, "front");
    assert_string_equal(conf_value(c, 1, "host"), "a");
    conf_report_unused(c, &p);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.text[0], "t.conf:3: port: must be 1..65535: TCP port");
    assert_string_equal(p.text[1], "t.conf:7: [stray] is not a section of this program: remove it or check its spelling");
    assert_string_equal(p.text[2], "t.conf:4: prot: is not known in [net]: did you mean port?");
    p.n = 0;
    assert_int_equal(conf_override(c, "net.port=443", &p), RC_OK);
    assert_int_equal(conf_override(c, "device.front.mode=fast", &p), RC_OK);
    assert_int_equal(conf_override(c, "nonsense", &p), RC_INVALID);
    p.n = 0;
    conf_apply(c, conf_find_section(c, "net", ""), TABLE, &r, &p);
    assert_int_equal(p.n, 0);
    assert_int_equal(r.port, 443);
    assert_string_equal(r.host, "here");
    conf_apply(c, 1, TABLE, &r, &p);
    assert_int_equal(r.mode, 2);
    conf_free(c);
    /* required and missing */
    assert_int_equal(conf_read_text("[net]\n", 6, "m.conf", &c, &p), RC_OK);
    conf_apply(c, conf_find_section(c, "net", ""), TABLE, &r, &p);
    assert_int_equal(p.n, 1);
    assert_string_equal(p.text[0], "m.conf:1: host: must be given: where it is");
    conf_free(c);
    p.n = 0;
    assert_int_equal(conf_read_file("/nonexistent/file.conf", &c, &p), RC_IO);
    assert_int_equal(p.n, 1);
    assert_string_equal(p.text[0], "/nonexistent/file.conf: cannot be read: No such file or directory");
}

static void printed_configuration_reads_back(void **state)
{
    (void)state;
    struct rec r = {.host = "somewhere"}, back = {0};
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(field_defaults(TABLE, &r), RC_OK);
    FILE *out = open_memstream(&text, &n);
    conf_print(out, "net", TABLE, &r);
    fclose(out);
    assert_non_null(strstr(text, "; TCP port, 1..65535, default 0x1F90"));
    struct conf *c = NULL;
    struct conf_problems p = {0};
    assert_int_equal(conf_read_text(text, n, "printed", &c, &p), RC_OK);
    conf_apply(c, 0, TABLE, &back, &p);
    assert_int_equal(p.n, 0);
    assert_int_equal(back.port, r.port);
    assert_string_equal(back.host, r.host);
    conf_free(c);
    free(text);
}

/* The value of [a] k in a text; NULL when the text was refused, and p says why. */
static char *value_of(const char *text, struct conf_problems *p)
{
    struct conf *c = NULL;
    memset(p, 0, sizeof *p);
    if (conf_read_text(text, strlen(text), "v.conf", &c, p) != RC_OK)
        return NULL;
    const char *v = conf_value(c, conf_find_section(c, "a", ""), "k");
    char *copy = v != NULL ? strdup(v) : NULL;
    conf_free(c);
    return copy;
}

static void values_remarks_and_quotes(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"k = a; b", "a; b"}, {"k = a ; b", "a"}, {"k = a # b ; c", "a"}, {"k = a#b", "a#b"}, {"k =;v", ";v"}, {"k = ;v", ""}, {"k =", ""}, {"k:v", "v"},
        {"k = a=b:c", "a=b:c"}, {"k = \"a ; b\" ; c", "a ; b"}, {"k = \"\"", ""}, {"k = \" a \"", " a "}, {"k = \"a\\\"b\\\\c\\d\"", "a\"b\\c\\d"},
        {"k = a\"b\"", "a\"b\""}, {"k = \xe6\xa0\xa1 \xe8\xbd\xa6 # x", "\xe6\xa0\xa1 \xe8\xbd\xa6"}, {"    k = v  \r", "v"}, {"\tk = \tv", "v"}};
    struct conf_problems p;
    char text[256];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text, "\xef\xbb\xbf[a]\nother = 1\n%s\n", good[i][0]);
        char *v = value_of(text, &p);
        if (v == NULL)
            fail_msg("%s: %s", good[i][0], p.text[0]);
        if (strcmp(v, good[i][1]) != 0)
            fail_msg("%s: <%s>", good[i][0], v);
        free(v);
    }
    static const char *const bad[][2] = {{"k = \"a", "v.conf:2: k: begins with a quote that is not closed: close it"},
                                         {"k = \"a\\\"", "v.conf:2: k: begins with a quote that is not closed: close it"},
                                         {"k = \"a\" b", "v.conf:2: k: has text after its closing quote: remove it"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, "[a]\n%s\n", bad[i][0]);
        assert_null(value_of(text, &p));
        assert_int_equal(p.n, 1);
        assert_string_equal(p.text[0], bad[i][1]);
    }
    /* far beyond what libinih holds of a line, and no further than we do */
    char *big = malloc(10000);
    assert_non_null(big);
    for (size_t n = 190; n <= 4096; n += n < 210 || n >= 4090 ? 1 : 97) {
        int at = snprintf(big, 10000, "[a]\nk = ");
        memset(big + at, 'x', n);
        snprintf(big + at + n, 10000 - (size_t)at - n, " ; a remark\nafter = 1\n");
        char *v = value_of(big, &p);
        if (n <= 4095) {
            if (v == NULL)
                fail_msg("%zu: %s", n, p.text[0]);
            assert_int_equal(strlen(v), n);
            free(v);
        } else {
            assert_null(v);
            assert_string_equal(p.text[0], "v.conf:2: k: is longer than 4095 bytes: shorten it");
        }
    }
    free(big);
}

static void empty_sections_are_there(void **state)
{
    (void)state;
    static const char text[] = "[net]\nhost = x\n[stray]\n[device  front] ; remark\n[net]\nport = 5\n";
    struct conf *c = NULL;
    struct conf_problems p = {0};
    struct rec r;
    assert_int_equal(conf_read_text(text, sizeof text - 1, "t.conf", &c, &p), RC_OK);
    assert_int_equal(conf_sections(c), 3);
    assert_int_equal(conf_find_section(c, "device", "front"), 2);
    conf_apply(c, conf_find_section(c, "net", ""), TABLE, &r, &p);
    assert_int_equal(r.port, 5);
    conf_report_unused(c, &p);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.text[0], "t.conf:3: [stray] is not a section of this program: remove it or check its spelling");
    assert_string_equal(p.text[1], "t.conf:4: [device front] is not a section of this program: remove it or check its spelling");
    conf_free(c);
    static const char *const bad[] = {"[]\nk = 1\n", "[ a]\n", "[a\nk = 1\n",
                                      "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nk = 1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(&p, 0, sizeof p);
        assert_int_equal(conf_read_text(bad[i], strlen(bad[i]), "t.conf", &c, &p), RC_INVALID);
        if (strncmp(p.text[0], "t.conf:1: ", 10) != 0)
            fail_msg("%s: %s", bad[i], p.text[0]);
    }
}

struct wild {
    char text[300];
    double real;
    int64_t big;
};
static const struct field wild_table[] = {
    {"text", FIELD_TEXT, FIELD_AT(struct wild, text), "", 0, 0, NULL, "",
     "a text whose explanation is longer than a line that anybody would read in one go: it says first what the text is for, then which forms it may have,"
     " then what happens when it is empty, and in the end where to read more about it ; and # even these"},
    {"real", FIELD_REAL, FIELD_AT(struct wild, real), "m", -1e300, 1e300, NULL, "0", "any number"},
    {"big", FIELD_INT, FIELD_AT(struct wild, big), "", -9e15, 9e15, NULL, "0", "any whole number"},
};

/* Whatever a record holds, its printed form reads back as the same record. */
static void anything_printed_reads_back(void **state)
{
    (void)state;
    static const char alphabet[] = " \"\\;#=:[]ab,\xe6\xa0\xa1 ;\" #";
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        struct wild r = {.real = ldexp((double)rand_r(&seed) / RAND_MAX - 0.5, rand_r(&seed) % 120 - 60), .big = (int64_t)rand_r(&seed) * rand_r(&seed) % 9000000000000000}, back;
        size_t n = (size_t)(rand_r(&seed) % (round % 10 == 0 ? 299 : 12));
        for (size_t i = 0; i < n; i++)
            r.text[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        conf_print(out, "a b", wild_table, 3, &r);
        fclose(out);
        struct conf *c = NULL;
        struct conf_problems p = {0};
        if (conf_read_text(text, len, "printed", &c, &p) != RC_OK)
            fail_msg("%s\n%s", p.text[0], text);
        conf_apply(c, conf_find_section(c, "a", "b"), wild_table, 3, &back, &p);
        conf_report_unused(c, &p);
        if (p.n > 0)
            fail_msg("%s\n%s", p.text[0], text);
        assert_string_equal(back.text, r.text);
        assert_memory_equal(&back.real, &r.real, sizeof r.real);
        assert_int_equal(back.big, r.big);
        for (char *line = strtok(text, "\n"); line != NULL && n < 12; line = strtok(NULL, "\n"))
            assert_true(*line == ';' || strlen(line) <= 180);
        conf_free(c);
        free(text);
    }
}

static void complaint_gate(void **state)
{
    (void)state;
    struct log_gate g = {0};
    assert_false(log_gate_over(&g));
    assert_true(log_gate_trouble(&g, 0));
    assert_int_equal(g.since_said, 1);
    for (int i = 1; i < 100; i++)
        assert_false(log_gate_trouble(&g, i * 100));
    assert_true(log_gate_trouble(&g, 10000));
    assert_int_equal(g.since_said, 100);
    assert_false(log_gate_trouble(&g, 29999));
    assert_true(log_gate_trouble(&g, 30000)); /* the pause doubled */
    assert_int_equal(g.since_said, 2);
    assert_true(log_gate_over(&g));
    assert_false(log_gate_over(&g));
}

static void clock_texts(void **state)
{
    (void)state;
    char out[CLOCK_TEXT_MAX];
    clock_text(1763856000250, out);
    assert_string_equal(out, "2025-11-23T00:00:00.250Z");
    clock_text(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999Z");
}

static void database(void **state)
{
    (void)state;
    char dir[] = "/tmp/schoolward-db-XXXXXX", path[64], why[200];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.db", dir);
    sqlite3 *db = NULL;
    static const char *const steps[] = {"CREATE TABLE a(x INTEGER)", "INSERT INTO a VALUES (1)", "THIS IS NOT SQL"};
    assert_int_equal(db_open(path, DB_SYNC_FULL, &db, why, sizeof why), RC_OK);
    assert_int_equal(db_migrate(db, steps, 2, why, sizeof why), RC_OK);
    assert_int_equal(db_migrate(db, steps, 2, why, sizeof why), RC_OK);     /* again: nothing to do */
    assert_int_not_equal(db_migrate(db, steps, 3, why, sizeof why), RC_OK); /* a bad step leaves the version */
    assert_int_equal(db_migrate(db, steps, 1, why, sizeof why), RC_UNSUPPORTED);
    sqlite3_stmt *s = NULL;
    assert_int_equal(db_prepare(db, "SELECT count(*) FROM a", &s), RC_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(s, 0), 1);
    sqlite3_finalize(s);
    db_close(db);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        fputs("rubbish ", f);
    fclose(f);
    char side[80];
    snprintf(side, sizeof side, "%s-wal", path);
    unlink(side);
    db = NULL;
    assert_int_equal(db_open(path, DB_SYNC_FULL, &db, why, sizeof why), RC_CORRUPT);
    assert_null(db);
    unlink(path);
    snprintf(side, sizeof side, "%s-shm", path);
    unlink(side);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_go_round), cmocka_unit_test(configuration_with_lines), cmocka_unit_test(printed_configuration_reads_back),
        cmocka_unit_test(values_remarks_and_quotes), cmocka_unit_test(empty_sections_are_there), cmocka_unit_test(anything_printed_reads_back),
        cmocka_unit_test(complaint_gate),  cmocka_unit_test(clock_texts),              cmocka_unit_test(database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
