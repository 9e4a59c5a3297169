#include "jdoc.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text into a bounded buffer, cut where it ends. */
struct out {
    char *at;
    size_t cap, n;
};

static void put(struct out *o, const char *text)
{
    for (; *text != '\0' && o->n + 1 < o->cap; text++)
        o->at[o->n++] = *text;
    if (o->cap > 0)
        o->at[o->n] = '\0';
}

static void put_path(struct out *o, const struct jdoc_at *at)
{
    if (at == NULL || at->up == NULL)
        return;
    put_path(o, at->up);
    if (at->key != NULL) {
        if (at->up->up != NULL)
            put(o, ".");
        put(o, at->key);
    } else {
        char text[32];
        snprintf(text, sizeof text, "[%zu]", at->index);
        put(o, text);
    }
}

/* A document may carry anything in a member's name: what is told goes to a log, so only printable ASCII passes. */
static void plain(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            *text = '?';
}

bool jdoc_fail(struct jdoc *d, const struct jdoc_at *at, enum rc rc, const char *format, ...)
{
    if (d->rc != RC_OK)
        return false;
    d->rc = rc;
    char text[320];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    plain(text);
    struct out o = {d->why, d->cap, 0};
    put(&o, "");
    if (d->file != NULL) {
        put(&o, d->file);
        put(&o, ": ");
    }
    if (at != NULL && at->up != NULL)
        put_path(&o, at);
    else
        put(&o, "document");
    put(&o, ": ");
    put(&o, text);
    return false;
}

bool jdoc_no_memory(struct jdoc *d)
{
    return jdoc_fail(d, NULL, RC_NO_MEMORY, "no memory: the document is too large for this machine");
}

json_t *jdoc_parse(struct jdoc *d, const char *json, size_t n, size_t max)
{
    if (n > max) {
        jdoc_fail(d, NULL, RC_RANGE, "%zu bytes: at most %zu are read", n, max);
        return NULL;
    }
    json_error_t e;
    json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &e);
    if (root == NULL) {
        if (json_error_code(&e) == json_error_out_of_memory)
            jdoc_no_memory(d);
        else
            jdoc_fail(d, NULL, RC_INVALID, "line %d, column %d: %s: it must be one JSON document in UTF-8, no member twice", e.line, e.column,
                      e.text);
    }
    return root;
}

static const char *kind_of(const json_t *v)
{
    if (v == NULL)
        return "nothing";
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a text";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: return "null";
    }
    return "something";
}

static void join(char *text, size_t cap, const char *const *words)
{
    struct out o = {text, cap, 0};
    put(&o, "");
    for (size_t i = 0; words[i] != NULL; i++) {
        if (i > 0)
            put(&o, " ");
        put(&o, words[i]);
    }
}

bool jdoc_members(struct jdoc *d, const struct jdoc_at *at, const char *const *known)
{
    if (d->rc != RC_OK)
        return false;
    if (!json_is_object(at->value))
        return jdoc_fail(d, at, RC_INVALID, "is %s: must be an object", kind_of(at->value));
    const char *key;
    json_t *value;
    json_object_foreach(at->value, key, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] == NULL) {
            char list[256];
            join(list, sizeof list, known);
            struct jdoc_at child = {at, key, 0, value};
            char name[48];
            snprintf(name, sizeof name, "%.40s", key);
            plain(name);
            child.key = name;
            return jdoc_fail(d, &child, RC_INVALID, "unknown member: known here are %s", list);
        }
    }
    return true;
}

bool jdoc_list(struct jdoc *d, const struct jdoc_at *at, size_t min, size_t max, size_t *ret_n)
{
    if (d->rc != RC_OK)
        return false;
    if (!json_is_array(at->value))
        return jdoc_fail(d, at, RC_INVALID, "is %s: must be a list", kind_of(at->value));
    size_t n = json_array_size(at->value);
    if (n < min || n > max)
        return jdoc_fail(d, at, RC_RANGE, "has %zu elements: must have %zu to %zu", n, min, max);
    *ret_n = n;
    return true;
}

void jdoc_opt(const struct jdoc_at *at, const char *key, struct jdoc_at *ret)
{
    *ret = (struct jdoc_at){at, key, 0, json_object_get(at->value, key)};
}

bool jdoc_get(struct jdoc *d, const struct jdoc_at *at, const char *key, struct jdoc_at *ret)
{
    if (d->rc != RC_OK)
        return false;
    jdoc_opt(at, key, ret);
    if (ret->value == NULL)
        return jdoc_fail(d, ret, RC_INVALID, "missing: it must be given");
    return true;
}

void jdoc_item(const struct jdoc_at *at, size_t i, struct jdoc_at *ret)
{
    *ret = (struct jdoc_at){at, NULL, i, json_array_get(at->value, i)};
}

/* Find a member; *ret_there says whether there is something to read. */
static bool find(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, struct jdoc_at *ret, bool *ret_there)
{
    if (d->rc != RC_OK)
        return false;
    jdoc_opt(at, key, ret);
    *ret_there = ret->value != NULL;
    if (must && ret->value == NULL)
        return jdoc_fail(d, ret, RC_INVALID, "missing: it must be given");
    return true;
}

bool jdoc_string_here(struct jdoc *d, const struct jdoc_at *at, size_t min, size_t max, const char **out)
{
    if (d->rc != RC_OK)
        return false;
    if (!json_is_string(at->value))
        return jdoc_fail(d, at, RC_INVALID, "is %s: must be a text", kind_of(at->value));
    const char *text = json_string_value(at->value);
    size_t n = json_string_length(at->value);
    if (n == 0 && min > 0)
        return jdoc_fail(d, at, RC_INVALID, "is empty: give %zu to %zu bytes", min, max);
    if (n < min || n > max)
        return jdoc_fail(d, at, RC_RANGE, "has %zu bytes: must have %zu to %zu", n, min, max);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return jdoc_fail(d, at, RC_INVALID, "has a control character: plain text only");
    *out = text;
    return true;
}

bool jdoc_string(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, size_t min, size_t max, const char **out)
{
    struct jdoc_at m;
    bool there;
    if (!find(d, at, key, must, &m, &there) || !there)
        return d->rc == RC_OK;
    return jdoc_string_here(d, &m, min, max, out);
}

bool jdoc_text(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, size_t min, size_t max, char *out)
{
    const char *text = NULL;
    if (!jdoc_string(d, at, key, must, min, max, &text))
        return false;
    if (text != NULL)
        memcpy(out, text, strlen(text) + 1);
    return true;
}

bool jdoc_id(struct jdoc *d, const struct jdoc_at *at, const char *key, size_t max, char *out)
{
    if (!jdoc_text(d, at, key, true, 1, max, out))
        return false;
    for (const char *p = out; *p != '\0'; p++)
        if (!((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("._:-", *p) != NULL)) {
            struct jdoc_at m = {at, key, 0, NULL};
            return jdoc_fail(d, &m, RC_INVALID, "is not an id: only A-Z a-z 0-9 . _ : - are allowed");
        }
    return true;
}

bool jdoc_int(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, int64_t min, int64_t max, int64_t *out)
{
    struct jdoc_at m;
    bool there;
    if (!find(d, at, key, must, &m, &there) || !there)
        return d->rc == RC_OK;
    if (!json_is_integer(m.value))
        return jdoc_fail(d, &m, RC_INVALID, "is %s: must be a whole number", kind_of(m.value));
    int64_t v = json_integer_value(m.value);
    if (v < min || v > max)
        return jdoc_fail(d, &m, RC_RANGE, "is %lld: must be %lld to %lld", (long long)v, (long long)min, (long long)max);
    *out = v;
    return true;
}

bool jdoc_real_here(struct jdoc *d, const struct jdoc_at *at, double min, double max, double *out)
{
    if (d->rc != RC_OK)
        return false;
    if (!json_is_number(at->value))
        return jdoc_fail(d, at, RC_INVALID, "is %s: must be a number", kind_of(at->value));
    double v = json_number_value(at->value);
    if (!isfinite(v) || v < min || v > max)
        return jdoc_fail(d, at, RC_RANGE, "is %g: must be %g to %g", v, min, max);
    *out = v;
    return true;
}

bool jdoc_real(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, double min, double max, double *out)
{
    struct jdoc_at m;
    bool there;
    if (!find(d, at, key, must, &m, &there) || !there)
        return d->rc == RC_OK;
    return jdoc_real_here(d, &m, min, max, out);
}

bool jdoc_bool(struct jdoc *d, const struct jdoc_at *at, const char *key, bool *out)
{
    struct jdoc_at m;
    if (!jdoc_get(d, at, key, &m))
        return false;
    if (!json_is_boolean(m.value))
        return jdoc_fail(d, &m, RC_INVALID, "is %s: must be true or false", kind_of(m.value));
    *out = json_is_true(m.value);
    return true;
}

bool jdoc_word_here(struct jdoc *d, const struct jdoc_at *at, const char *const *words, int *out)
{
    if (d->rc != RC_OK)
        return false;
    const char *text = json_string_value(at->value);
    for (int i = 0; text != NULL && words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return true;
        }
    char list[256];
    join(list, sizeof list, words);
    if (text == NULL)
        return jdoc_fail(d, at, RC_INVALID, "is %s: must be one of %s", kind_of(at->value), list);
    return jdoc_fail(d, at, RC_INVALID, "unknown word \"%.40s\": must be one of %s", text, list);
}

bool jdoc_word(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, const char *const *words, int *out)
{
    struct jdoc_at m;
    bool there;
    if (!find(d, at, key, must, &m, &there) || !there)
        return d->rc == RC_OK;
    return jdoc_word_here(d, &m, words, out);
}
