#include "field.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct field *field_find(const struct field *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

__attribute__((format(printf, 4, 5))) static enum rc refuse(enum rc rc, char *why, size_t cap, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, cap, format, ap);
    va_end(ap);
    return rc;
}

/* Whole numbers print without a fraction, so that a range reads "1..247". */
static enum rc refuse_range(const struct field *f, char *why, size_t cap)
{
    const char *unit = f->unit != NULL ? f->unit : "";
    const char *space = *unit != '\0' ? " " : "";
    return refuse(RC_RANGE, why, cap, "must be %.15g..%.15g%s%s: %s", f->min, f->max, space, unit, f->help);
}

static void store_int(const struct field *f, void *record, int64_t v)
{
    char *at = (char *)record + f->offset;
    switch (f->size) {
    case 1: {
        int8_t x = (int8_t)v;
        memcpy(at, &x, 1);
        break;
    }
    case 2: {
        int16_t x = (int16_t)v;
        memcpy(at, &x, 2);
        break;
    }
    case 4: {
        int32_t x = (int32_t)v;
        memcpy(at, &x, 4);
        break;
    }
    default: memcpy(at, &v, 8);
    }
}

static int64_t load_int(const struct field *f, const void *record)
{
    const char *at = (const char *)record + f->offset;
    switch (f->size) {
    case 1: {
        int8_t x;
        memcpy(&x, at, 1);
        return f->kind == FIELD_UINT ? (uint8_t)x : x;
    }
    case 2: {
        int16_t x;
        memcpy(&x, at, 2);
        return f->kind == FIELD_UINT ? (uint16_t)x : x;
    }
    case 4: {
        int32_t x;
        memcpy(&x, at, 4);
        return f->kind == FIELD_UINT ? (int64_t)(uint32_t)x : x;
    }
    default: {
        int64_t x;
        memcpy(&x, at, 8);
        return x;
    }
    }
}

static int word_index(const struct field *f, const char *text)
{
    for (int i = 0; f->words[i] != NULL; i++)
        if (strcmp(f->words[i], text) == 0)
            return i;
    return -1;
}

static enum rc set_word(const struct field *f, void *record, const char *text, char *why, size_t cap)
{
    int i = word_index(f, text);
    if (i < 0) {
        int n = snprintf(why, cap, "must be one of");
        for (int k = 0; f->words[k] != NULL && n >= 0 && (size_t)n < cap; k++)
            n += snprintf(why + n, cap - (size_t)n, " %s", f->words[k]);
        return RC_INVALID;
    }
    memcpy((char *)record + f->offset, &i, sizeof i);
    return RC_OK;
}

static enum rc set_bool(const struct field *f, void *record, const char *text, char *why, size_t cap)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (int i = 0; i < 4; i++) {
        bool v = strcasecmp(text, yes[i]) == 0;
        if (v || strcasecmp(text, no[i]) == 0) {
            memcpy((char *)record + f->offset, &v, sizeof v);
            return RC_OK;
        }
    }
    return refuse(RC_INVALID, why, cap, "must be true or false: %s", f->help);
}

static enum rc set_integer(const struct field *f, void *record, const char *text, char *why, size_t cap)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    if (end == text || *end != '\0')
        return refuse(RC_INVALID, why, cap, "'%.40s' is not a whole number: %s", text, f->help);
    if (errno == ERANGE || (double)v < f->min || (double)v > f->max)
        return refuse_range(f, why, cap);
    store_int(f, record, v);
    return RC_OK;
}

static enum rc set_real(const struct field *f, void *record, const char *text, char *why, size_t cap)
{
    char *end;
    double v = strtod(text, &end); /* programs never leave the C locale for numbers */
    if (end == text || *end != '\0' || !isfinite(v))
        return refuse(RC_INVALID, why, cap, "'%.40s' is not a number: %s", text, f->help);
    if (v < f->min || v > f->max)
        return refuse_range(f, why, cap);
    memcpy((char *)record + f->offset, &v, sizeof v);
    return RC_OK;
}

static enum rc set_text(const struct field *f, void *record, const char *text, char *why, size_t cap)
{
    size_t n = strlen(text);
    size_t max = f->max > 0 ? (size_t)f->max : f->size - 1;
    if (n > f->size - 1 || n > max)
        return refuse(RC_RANGE, why, cap, "is %zu bytes long, at most %zu are possible: %s", n, max < f->size - 1 ? max : f->size - 1, f->help);
    if ((double)n < f->min)
        return refuse(RC_RANGE, why, cap, "needs at least %.0f characters: %s", f->min, f->help);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20)
            return refuse(RC_INVALID, why, cap, "has a control character: %s", f->help);
    memcpy((char *)record + f->offset, text, n + 1);
    return RC_OK;
}

enum rc field_set(const struct field *f, void *record, const char *text, char *why, size_t cap)
{
    switch (f->kind) {
    case FIELD_BOOL: return set_bool(f, record, text, why, cap);
    case FIELD_INT:
    case FIELD_UINT: return set_integer(f, record, text, why, cap);
    case FIELD_REAL: return set_real(f, record, text, why, cap);
    case FIELD_TEXT: return set_text(f, record, text, why, cap);
    case FIELD_WORD: return set_word(f, record, text, why, cap);
    }
    return RC_INVALID;
}

int field_text(const struct field *f, const void *record, char *out, size_t cap)
{
    const char *at = (const char *)record + f->offset;
    switch (f->kind) {
    case FIELD_BOOL: {
        bool v;
        memcpy(&v, at, sizeof v);
        return snprintf(out, cap, "%s", v ? "true" : "false");
    }
    case FIELD_INT: return snprintf(out, cap, "%" PRId64, load_int(f, record));
    case FIELD_UINT: return snprintf(out, cap, "%" PRIu64, (uint64_t)load_int(f, record));
    case FIELD_REAL: {
        double v;
        memcpy(&v, at, sizeof v);
        return snprintf(out, cap, "%.10g", v);
    }
    case FIELD_TEXT: return snprintf(out, cap, "%s", at);
    case FIELD_WORD: {
        int v;
        memcpy(&v, at, sizeof v);
        return snprintf(out, cap, "%s", f->words[v]);
    }
    }
    return -1;
}

enum rc field_defaults(const struct field *table, size_t n, void *record)
{
    char why[160];
    for (size_t i = 0; i < n; i++)
        if (table[i].initial != NULL && field_set(&table[i], record, table[i].initial, why, sizeof why) != RC_OK)
            return RC_INVALID;
    return RC_OK;
}
