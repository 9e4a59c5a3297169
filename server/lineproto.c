#include "lineproto.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void lineproto_init(struct lineproto *w, char *out, size_t cap)
{
    memset(w, 0, sizeof *w);
    w->out = out;
    w->cap = cap;
}

void lineproto_clear(struct lineproto *w)
{
    w->n = w->start = w->lines = 0;
    w->tags = w->fields = 0;
    w->failed = RC_OK;
}

/* Length of the UTF-8 sequence at s (at least one byte is there), 0 if it is none: overlong forms, surrogates and beyond U+10FFFF (RFC 3629). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : s[0] >= 0xe0 && s[0] <= 0xef ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

/* Text that may travel: UTF-8, no control characters (a newline inside a quoted field passes some servers and breaks others). */
static bool clean(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        if (s[i] < 0x20 || s[i] == 0x7f)
            return false;
        size_t k = utf8_length(s + i, n - i);
        if (k == 0)
            return false;
        i += k;
    }
    return true;
}

/* A trailing backslash would escape the separator that follows it: influxd 1.6.7 answers 400 "invalid tag format". */
static bool good_word(const char *text, size_t n)
{
    return n > 0 && text[n - 1] != '\\' && clean(text, n);
}

static bool good_key(const char *key)
{
    return good_word(key, strlen(key)) && key[0] != '_' && strcmp(key, "time") != 0;
}

static void fail(struct lineproto *w, enum rc rc)
{
    if (w->failed == RC_OK)
        w->failed = rc;
}

static void put(struct lineproto *w, const char *text, size_t n)
{
    if (w->failed != RC_OK)
        return;
    if (n > w->cap - w->n) {
        fail(w, RC_FULL);
        return;
    }
    memcpy(w->out + w->n, text, n);
    w->n += n;
}

static void put_escaped(struct lineproto *w, const char *text, const char *special)
{
    for (const char *p = text;;) {
        size_t n = strcspn(p, special);
        put(w, p, n);
        p += n;
        if (*p == '\0')
            return;
        char pair[2] = {'\\', *p++};
        put(w, pair, 2);
    }
}

static size_t digits(uint64_t v, char out[20])
{
    char turned[20];
    size_t n = 0;
    do
        turned[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = turned[n - 1 - i];
    return n;
}

static void put_int(struct lineproto *w, int64_t v)
{
    char t[21];
    size_t n = 0;
    if (v < 0)
        t[n++] = '-';
    n += digits(v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v, t + n);
    put(w, t, n);
}

void lineproto_begin(struct lineproto *w, const char *name)
{
    w->start = w->n;
    w->tags = w->fields = 0;
    w->failed = RC_OK;
    if (!good_word(name, strlen(name)) || name[0] == '#' || name[0] == '_')
        fail(w, RC_INVALID);
    else
        put_escaped(w, name, ", ");
}

void lineproto_tag(struct lineproto *w, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    if (w->fields > 0 || !good_key(key) || !good_word(value, strlen(value))) {
        fail(w, RC_INVALID);
        return;
    }
    if (w->tags == LINEPROTO_TAGS_MAX) {
        fail(w, RC_FULL);
        return;
    }
    size_t at = w->tags;
    for (; at > 0; at--) {
        int order = strcmp(w->tag_key[at - 1], key);
        if (order == 0)
            fail(w, RC_INVALID); /* "duplicate tags" to a server */
        if (order <= 0)
            break;
        w->tag_key[at] = w->tag_key[at - 1];
        w->tag_value[at] = w->tag_value[at - 1];
    }
    w->tag_key[at] = key;
    w->tag_value[at] = value;
    w->tags++;
}

static void field_key(struct lineproto *w, const char *key)
{
    if (!good_key(key))
        fail(w, RC_INVALID);
    for (size_t i = 0; i < w->tags; i++) {
        if (strcmp(w->tag_key[i], key) == 0)
            fail(w, RC_INVALID); /* a tag and a field of one name: influxd calls the field key_1 and confuses their types */
        if (w->fields == 0) {
            put(w, ",", 1);
            put_escaped(w, w->tag_key[i], ",= ");
            put(w, "=", 1);
            put_escaped(w, w->tag_value[i], ",= ");
        }
    }
    put(w, w->fields == 0 ? " " : ",", 1);
    put_escaped(w, key, ",= ");
    put(w, "=", 1);
    w->fields++;
}

size_t lineproto_real_text(double v, char out[LINEPROTO_REAL_MAX])
{
    if (!isfinite(v))
        return 0;
    static locale_t c_locale; /* made once; a second one made in a race is the same and is given back */
    locale_t c = __atomic_load_n(&c_locale, __ATOMIC_ACQUIRE);
    if (c == (locale_t)0) {
        locale_t none = (locale_t)0, made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (made == (locale_t)0)
            return 0;
        c = made;
        if (!__atomic_compare_exchange_n(&c_locale, &none, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            freelocale(made);
            c = none;
        }
    }
    if (fabs(v) < 9007199254740992.0 && v == trunc(v) && !(v == 0 && signbit(v))) {
        char t[20];
        size_t sign = v < 0, n = digits((uint64_t)fabs(v), t);
        out[0] = '-';
        memcpy(out + sign, t, n);
        out[sign + n] = '\0';
        return sign + n;
    }
    locale_t before = uselocale(c);
    int n = 0;
    for (int precision = 15; precision <= 17; precision++) {
        n = strfromd(out, LINEPROTO_REAL_MAX, precision == 15 ? "%.15g" : precision == 16 ? "%.16g" : "%.17g", v);
        double back = strtod(out, NULL);
        if (back == v && signbit(back) == signbit(v))
            break;
    }
    uselocale(before);
    return (size_t)n;
}

void lineproto_real(struct lineproto *w, const char *key, double value)
{
    char t[LINEPROTO_REAL_MAX];
    size_t n = lineproto_real_text(value, t);
    if (n == 0)
        return;
    field_key(w, key);
    put(w, t, n);
}

void lineproto_fixed(struct lineproto *w, const char *key, int64_t value, int decimals)
{
    field_key(w, key);
    if (decimals < 0 || decimals > 9) {
        fail(w, RC_INVALID);
        return;
    }
    char t[20], point[10];
    uint64_t v = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    size_t places = 0;
    for (int i = decimals; i > 0; i--, v /= 10) {
        char d = (char)('0' + v % 10);
        point[i] = d;
        if (places == 0 && d != '0')
            places = (size_t)i; /* trailing zeros are cut */
    }
    point[0] = '.';
    if (value < 0)
        put(w, "-", 1);
    put(w, t, digits(v, t));
    if (places > 0)
        put(w, point, places + 1);
}

void lineproto_int(struct lineproto *w, const char *key, int64_t value)
{
    field_key(w, key);
    put_int(w, value);
    put(w, "i", 1);
}

void lineproto_bool(struct lineproto *w, const char *key, bool value)
{
    field_key(w, key);
    put(w, value ? "true" : "false", value ? 4 : 5);
}

void lineproto_text(struct lineproto *w, const char *key, const char *value)
{
    if (value == NULL)
        return;
    field_key(w, key);
    if (!clean(value, strlen(value)))
        fail(w, RC_INVALID);
    put(w, "\"", 1);
    put_escaped(w, value, "\"\\");
    put(w, "\"", 1);
}

enum rc lineproto_end(struct lineproto *w, int64_t time)
{
    enum rc rc = w->failed;
    if (rc == RC_OK && w->fields == 0)
        rc = RC_END;
    if (rc == RC_OK) {
        put(w, " ", 1);
        put_int(w, time);
        put(w, "\n", 1);
        rc = w->failed;
    }
    if (rc == RC_OK)
        w->lines++;
    else
        w->n = w->start;
    w->start = w->n;
    w->failed = RC_OK;
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------------------------------------------------- */

struct reader {
    const char *p, *end;
    char *to;
};

/*
 * A word up to one of `stops`, unescaped: a backslash escapes the characters of `special` only and stands for itself before any other, as the
 * grammar has it. NULL where the word is empty or would end in a bare backslash, which the writer never makes.
 */
static const char *word(struct reader *r, const char *special, const char *stops)
{
    char *start = r->to;
    while (r->p < r->end && strchr(stops, *r->p) == NULL) {
        if (*r->p == '\\' && r->p + 1 < r->end && strchr(special, r->p[1]) != NULL)
            r->p++;
        *r->to++ = *r->p++;
    }
    if (r->to == start || (r->to[-1] == '\\' && r->p[-1] == '\\'))
        return NULL;
    *r->to++ = '\0';
    return start;
}

static bool take(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static enum rc read_text(struct reader *r, struct lineproto_field *f)
{
    f->kind = LINEPROTO_TEXT;
    f->text = r->to;
    while (r->p < r->end && *r->p != '"') {
        if (*r->p == '\\' && r->p + 1 < r->end && (r->p[1] == '"' || r->p[1] == '\\'))
            r->p++;
        *r->to++ = *r->p++;
    }
    *r->to++ = '\0';
    return take(r, '"') ? RC_OK : RC_INVALID;
}

static size_t count_digits(const char *s)
{
    return strspn(s, "0123456789");
}

static enum rc read_integer(const char *t, size_t n, struct lineproto_field *f)
{
    bool negative = t[0] == '-', is_signed = t[n - 1] == 'i';
    if (count_digits(t + negative) != n - 1 - negative || n - 1 - negative == 0 || (negative && !is_signed))
        return RC_INVALID;
    errno = 0;
    if (is_signed) {
        f->kind = LINEPROTO_INT;
        f->integer = strtoll(t, NULL, 10);
    } else {
        f->kind = LINEPROTO_UINT;
        f->unsigned_integer = strtoull(t, NULL, 10);
    }
    return errno == ERANGE ? RC_RANGE : RC_OK;
}

/* [-+]digits[.digits][e[-+]digits], at least one digit before the exponent; "inf", "nan" and hex are not numbers here. */
static enum rc read_real(const char *t, struct lineproto_field *f)
{
    const char *p = t + (t[0] == '-' || t[0] == '+');
    size_t before = count_digits(p), after = 0;
    p += before;
    if (*p == '.') {
        after = count_digits(++p);
        p += after;
    }
    if (before + after == 0)
        return RC_INVALID;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        size_t n = count_digits(p);
        if (n == 0)
            return RC_INVALID;
        p += n;
    }
    if (*p != '\0')
        return RC_INVALID;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return RC_NO_MEMORY;
    f->kind = LINEPROTO_REAL;
    f->real = strtod_l(t, NULL, c);
    freelocale(c);
    return isfinite(f->real) ? RC_OK : RC_RANGE;
}

static enum rc read_value(struct reader *r, struct lineproto_field *f)
{
    if (take(r, '"'))
        return read_text(r, f);
    const char *t = word(r, "", ", ");
    if (t == NULL)
        return RC_INVALID;
    static const char *const yes[] = {"t", "T", "true", "True", "TRUE"}, *const no[] = {"f", "F", "false", "False", "FALSE"};
    for (size_t i = 0; i < 5; i++)
        if (strcmp(t, yes[i]) == 0 || strcmp(t, no[i]) == 0) {
            f->kind = LINEPROTO_BOOL;
            f->boolean = strcmp(t, yes[i]) == 0;
            return RC_OK;
        }
    size_t n = strlen(t);
    return t[n - 1] == 'i' || t[n - 1] == 'u' ? read_integer(t, n, f) : read_real(t, f);
}

static enum rc read_tags(struct reader *r, struct lineproto_point *p)
{
    while (take(r, ',')) {
        if (p->tags == LINEPROTO_TAGS_MAX)
            return RC_FULL;
        const char *key = word(r, ",= ", ",= ");
        if (key == NULL || !take(r, '='))
            return RC_INVALID;
        const char *value = word(r, ",= ", ",= ");
        if (value == NULL)
            return RC_INVALID;
        for (size_t i = 0; i < p->tags; i++)
            if (strcmp(p->tag[i].key, key) == 0)
                return RC_INVALID;
        p->tag[p->tags].key = key;
        p->tag[p->tags++].value = value;
    }
    return RC_OK;
}

static enum rc read_fields(struct reader *r, struct lineproto_point *p)
{
    do {
        if (p->fields == LINEPROTO_FIELDS_MAX)
            return RC_FULL;
        struct lineproto_field *f = &p->field[p->fields];
        f->key = word(r, ",= ", ",= ");
        if (f->key == NULL || !take(r, '='))
            return RC_INVALID;
        enum rc rc = read_value(r, f);
        if (rc != RC_OK)
            return rc;
        p->fields++;
    } while (take(r, ','));
    return RC_OK;
}

static void skip_spaces(struct reader *r)
{
    while (take(r, ' '))
        ;
}

enum rc lineproto_parse(const char *line, size_t n, char *arena, struct lineproto_point *ret_p)
{
    struct reader r = {line, line + n, arena};
    struct lineproto_point p;
    memset(&p, 0, sizeof p);
    if (n == 0 || line[0] == '#' || !clean(line, n))
        return RC_INVALID;
    p.name = word(&r, ", ", ", ");
    if (p.name == NULL)
        return RC_INVALID;
    enum rc rc = read_tags(&r, &p);
    if (rc != RC_OK)
        return rc;
    if (!take(&r, ' '))
        return RC_INVALID;
    skip_spaces(&r);
    if ((rc = read_fields(&r, &p)) != RC_OK)
        return rc;
    if (take(&r, ' ')) {
        skip_spaces(&r);
        if (r.p < r.end) {
            struct lineproto_field stamp;
            char t[24];
            size_t len = 0;
            while (r.p < r.end && *r.p != ' ' && len < sizeof t - 2)
                t[len++] = *r.p++;
            t[len] = 'i';
            t[len + 1] = '\0';
            if ((rc = read_integer(t, len + 1, &stamp)) != RC_OK)
                return rc;
            p.timed = true;
            p.time = stamp.integer;
            skip_spaces(&r);
        }
    }
    if (r.p != r.end)
        return RC_INVALID;
    *ret_p = p;
    return RC_OK;
}
