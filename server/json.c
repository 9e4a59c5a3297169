#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH_MAX 63 /* bits of `comma` */
#define JSON_FIRST_CAP 1024

void json_init(struct json *j, size_t limit)
{
    memset(j, 0, sizeof *j);
    j->limit = limit;
}

void json_reset(struct json *j)
{
    j->n = 0;
    j->failed = false;
    j->depth = 0;
    j->comma = 0;
}

void json_free(struct json *j)
{
    free(j->text);
    json_init(j, j->limit);
}

/* Room for n more bytes and a NUL, which is kept so that a debugger and %s can read the text. */
static bool json_room(struct json *j, size_t n)
{
    if (j->failed)
        return false;
    if (n >= j->limit || j->n > j->limit - n) {
        j->failed = true;
        return false;
    }
    if (j->n + n + 1 <= j->cap)
        return true;
    size_t cap = j->cap ? j->cap : JSON_FIRST_CAP;
    while (cap < j->n + n + 1)
        cap *= 2;
    char *text = realloc(j->text, cap);
    if (!text) {
        j->failed = true;
        return false;
    }
    j->text = text;
    j->cap = cap;
    return true;
}

static void json_put(struct json *j, const char *s, size_t n)
{
    if (!json_room(j, n))
        return;
    memcpy(j->text + j->n, s, n);
    j->n += n;
    j->text[j->n] = '\0';
}

/* Length of the well-formed UTF-8 character at s (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF), 0 if it is none. */
static size_t json_utf8(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    size_t len = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 0;
    if (!len || n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return len;
}

static void json_string(struct json *j, const char *value)
{
    size_t n = strlen(value), run = 0;
    json_put(j, "\"", 1);
    for (size_t i = 0; i < n;) {
        const unsigned char *s = (const unsigned char *)value + i;
        size_t len = json_utf8(s, n - i);
        char esc[8];
        int e = 0;
        if (!len) {
            e = snprintf(esc, sizeof esc, "\xEF\xBF\xBD");
            len = 1;
        } else if (*s == '"' || *s == '\\') {
            e = snprintf(esc, sizeof esc, "\\%c", *s);
        } else if (*s < 0x20 || *s == 0x7F) {
            e = snprintf(esc, sizeof esc, "\\u%04x", *s);
        }
        if (e > 0) {
            json_put(j, value + i - run, run);
            json_put(j, esc, (size_t)e);
            run = 0;
        } else {
            run += len;
        }
        i += len;
    }
    json_put(j, value + n - run, run);
    json_put(j, "\"", 1);
}

static void json_lead(struct json *j, const char *name)
{
    uint64_t bit = UINT64_C(1) << j->depth;
    if (j->comma & bit)
        json_put(j, ",", 1);
    j->comma |= bit;
    if (name) {
        json_string(j, name);
        json_put(j, ":", 1);
    }
}

static void json_open(struct json *j, const char *name, const char *bracket)
{
    json_lead(j, name);
    json_put(j, bracket, 1);
    if (j->depth == JSON_DEPTH_MAX) {
        j->failed = true;
        return;
    }
    j->depth++;
    j->comma &= ~(UINT64_C(1) << j->depth);
}

static void json_close(struct json *j, const char *bracket)
{
    if (!j->depth) {
        j->failed = true;
        return;
    }
    j->depth--;
    json_put(j, bracket, 1);
}

void json_begin_object(struct json *j, const char *name)
{
    json_open(j, name, "{");
}

void json_end_object(struct json *j)
{
    json_close(j, "}");
}

void json_begin_array(struct json *j, const char *name)
{
    json_open(j, name, "[");
}

void json_end_array(struct json *j)
{
    json_close(j, "]");
}

void json_text(struct json *j, const char *name, const char *value)
{
    if (!value) {
        json_none(j, name);
        return;
    }
    json_lead(j, name);
    json_string(j, value);
}

void json_int(struct json *j, const char *name, int64_t value)
{
    char s[24];
    int n = snprintf(s, sizeof s, "%" PRId64, value);
    json_lead(j, name);
    json_put(j, s, (size_t)n);
}

void json_number(struct json *j, const char *name, double value, int decimals)
{
    char s[64];
    if (!isfinite(value) || fabs(value) >= 1e15) { /* beyond, doubles have no decimals to print and no screen a use for them */
        json_none(j, name);
        return;
    }
    if (decimals < 0)
        decimals = 0;
    else if (decimals > 12)
        decimals = 12;
    int n = snprintf(s, sizeof s, "%.*f", decimals, value);
    if (decimals) {
        while (s[n - 1] == '0')
            n--;
        if (s[n - 1] == '.')
            n--;
    }
    json_lead(j, name);
    if (n == 2 && s[0] == '-' && s[1] == '0')
        json_put(j, "0", 1);
    else
        json_put(j, s, (size_t)n);
}

void json_bool(struct json *j, const char *name, bool value)
{
    json_lead(j, name);
    json_put(j, value ? "true" : "false", value ? 4 : 5);
}

void json_none(struct json *j, const char *name)
{
    json_lead(j, name);
    json_put(j, "null", 4);
}

void json_raw(struct json *j, const char *name, const char *json_value, size_t n)
{
    json_lead(j, name);
    json_put(j, json_value, n);
}
