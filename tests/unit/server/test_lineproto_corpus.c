/*
 * The corpus of InfluxData's own line-protocol library (part of it, in the test data): every point must be written byte for byte as there, except where
 * we refuse on purpose; every text must be read or refused as there, except where we are stricter on purpose. Skipped without the data.
 */
#include <jansson.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/lineproto.h"

static json_t *corpus;

static bool same_field(const struct lineproto_field *f, const json_t *value)
{
    const json_t *v;
    if ((v = json_object_get(value, "float")) != NULL)
        return f->kind == LINEPROTO_REAL && f->real >= json_number_value(v) && f->real <= json_number_value(v);
    if ((v = json_object_get(value, "int")) != NULL)
        return f->kind == LINEPROTO_INT && f->integer == json_integer_value(v);
    if ((v = json_object_get(value, "uint")) != NULL)
        return f->kind == LINEPROTO_UINT && f->unsigned_integer == (uint64_t)json_integer_value(v);
    if ((v = json_object_get(value, "bool")) != NULL)
        return f->kind == LINEPROTO_BOOL && f->boolean == json_is_true(v);
    if ((v = json_object_get(value, "string")) != NULL)
        return f->kind == LINEPROTO_TEXT && json_is_string(v) && strcmp(f->text, json_string_value(v)) == 0;
    return false;
}

/* The library tells times in ns and sorts tags; the text may use another precision and another order. */
static bool same_point(const struct lineproto_point *p, const json_t *point, int64_t ns_per_unit)
{
    const json_t *tags = json_object_get(point, "tags"), *fields = json_object_get(point, "fields");
    if (strcmp(p->name, json_string_value(json_object_get(point, "name"))) != 0 || p->tags != json_array_size(tags) || p->fields != json_array_size(fields))
        return false;
    if (p->timed && p->time * ns_per_unit != json_integer_value(json_object_get(point, "time")))
        return false;
    for (size_t i = 0; i < p->tags; i++) {
        bool found = false;
        size_t k;
        json_t *t;
        json_array_foreach(tags, k, t)
            found = found || (strcmp(p->tag[i].key, json_string_value(json_object_get(t, "key"))) == 0 &&
                              strcmp(p->tag[i].value, json_string_value(json_object_get(t, "value"))) == 0);
        if (!found)
            return false;
    }
    for (size_t i = 0; i < p->fields; i++) {
        const json_t *f = json_array_get(fields, i);
        if (strcmp(p->field[i].key, json_string_value(json_object_get(f, "key"))) != 0 || !same_field(&p->field[i], json_object_get(f, "value")))
            return false;
    }
    return true;
}

static enum rc write_point(struct lineproto *w, const json_t *point)
{
    size_t i;
    json_t *x;
    lineproto_begin(w, json_string_value(json_object_get(point, "name")));
    json_array_foreach(json_object_get(point, "tags"), i, x)
        lineproto_tag(w, json_string_value(json_object_get(x, "key")), json_string_value(json_object_get(x, "value")));
    json_array_foreach(json_object_get(point, "fields"), i, x) {
        const char *key = json_string_value(json_object_get(x, "key"));
        const json_t *value = json_object_get(x, "value"), *v;
        if ((v = json_object_get(value, "float")) != NULL)
            lineproto_real(w, key, json_number_value(v));
        else if ((v = json_object_get(value, "int")) != NULL)
            lineproto_int(w, key, json_integer_value(v));
        else if ((v = json_object_get(value, "bool")) != NULL)
            lineproto_bool(w, key, json_is_true(v));
        else if ((v = json_object_get(value, "string")) != NULL)
            lineproto_text(w, key, json_string_value(v));
        else
            fail_msg("unknown kind of field");
    }
    return lineproto_end(w, json_integer_value(json_object_get(point, "time")));
}

static void writes_as_the_corpus(void **state)
{
    (void)state;
    const char *name;
    json_t *c;
    size_t same = 0, meant = 0, left_out = 0;
    json_object_foreach(json_object_get(corpus, "encode"), name, c) {
        const json_t *point = json_object_get(json_object_get(c, "input"), "point"), *result = json_object_get(json_object_get(c, "output"), "result");
        char out[4096], arena[4096];
        struct lineproto w;
        lineproto_init(&w, out, sizeof out);
        enum rc rc = write_point(&w, point);
        if (result == NULL) { /* "empty tag value": there an error, here the tag is left out */
            assert_int_equal(rc, RC_OK);
            left_out++;
            continue;
        }
        if (rc != RC_OK)
            fail_msg("%s refused: %s", name, json_string_value(result));
        struct lineproto_point p;
        assert_int_equal(lineproto_parse(out, w.n - 1, arena, &p), RC_OK);
        assert_true(same_point(&p, point, 1));
        const char *text = json_string_value(result);
        if (strlen(text) == w.n - 1 && memcmp(text, out, w.n - 1) == 0)
            same++;
        else { /* the same point in other digits: 5e-324 and the like */
            char again[4096];
            assert_int_equal(lineproto_parse(text, strlen(text), again, &p), RC_OK);
            assert_true(same_point(&p, point, 1));
            meant++;
        }
    }
    print_message("written: %zu byte for byte, %zu with other digits of the same number, %zu with the empty tag left out\n", same, meant, left_out);
    assert_int_equal(same + meant + left_out, json_object_size(json_object_get(corpus, "encode")));
    assert_true(same >= 40);
}

/* What the library reads and we refuse: newlines and other control characters inside a text. */
static bool stricter_on_purpose(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20)
            return true;
    return false;
}

static void reads_as_the_corpus(void **state)
{
    (void)state;
    const char *name;
    json_t *c;
    size_t taken = 0, refused = 0, stricter = 0, binary = 0;
    json_object_foreach(json_object_get(corpus, "decode"), name, c) {
        const json_t *text = json_object_get(json_object_get(c, "input"), "text"), *output = json_object_get(c, "output");
        if (!json_is_string(text)) { /* base64 of what is not UTF-8: all of these are errors there, and clean() refuses them by definition */
            assert_non_null(json_object_get(output, "error"));
            binary++;
            continue;
        }
        const char *t = json_string_value(text), *precision = json_string_value(json_object_get(json_object_get(c, "input"), "precision"));
        size_t n = json_string_length(text);
        char *arena = malloc(n + 1);
        assert_non_null(arena);
        struct lineproto_point p;
        enum rc rc = lineproto_parse(t, n, arena, &p);
        const json_t *result = json_object_get(output, "result");
        if (result == NULL) {
            if (rc == RC_OK)
                fail_msg("%s taken: %s: %s", name, t, json_string_value(json_object_get(output, "error")));
            refused++;
        } else if (rc == RC_OK) {
            assert_int_equal(json_array_size(result), 1);
            if (!same_point(&p, json_array_get(result, 0), strcmp(precision, "1\xc2\xb5s") == 0 || strcmp(precision, "1us") == 0 ? 1000 : strcmp(precision, "1ms") == 0 ? 1000000 : 1))
                fail_msg("%s reads differently: %s", name, t);
            taken++;
        } else {
            if (!stricter_on_purpose(t, n))
                fail_msg("%s refused (%s): %s", name, rc_text(rc), t);
            stricter++;
        }
        free(arena);
    }
    print_message("read: %zu taken, %zu refused as there, %zu more refused on purpose, %zu not UTF-8\n", taken, refused, stricter, binary);
    assert_true(taken >= 5 && refused >= 100);
}

int main(void)
{
    const char *data = getenv("SCHOOLWARD_TEST_DATA");
    char path[4096];
    snprintf(path, sizeof path, "%s/protocols/lineprotocol_corpus_part.json", data == NULL ? "" : data);
    if (data == NULL || (corpus = json_load_file(path, JSON_ALLOW_NUL, NULL)) == NULL) {
        fprintf(stderr, "skipped: SCHOOLWARD_TEST_DATA does not name a folder with protocols/lineprotocol_corpus_part.json\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(writes_as_the_corpus), cmocka_unit_test(reads_as_the_corpus)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(corpus);
    return failed;
}
