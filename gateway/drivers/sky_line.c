#include "sky_line.h"

#include <math.h>
#include <string.h>

#define DEPTH_MAX 8

struct text {
    const char *at, *end;
};

static void space(struct text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t'))
        t->at++;
}

static bool next_is(struct text *t, char c)
{
    space(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

/* A string; *ret_n bytes between the quotes, escapes as they stand. */
static bool string(struct text *t, const char **ret_s, size_t *ret_n)
{
    if (!next_is(t, '"'))
        return false;
    const char *from = t->at;
    for (; t->at < t->end && *t->at != '"'; t->at++)
        if (*t->at == '\\' && ++t->at == t->end)
            return false;
    if (t->at == t->end)
        return false;
    *ret_s = from;
    *ret_n = (size_t)(t->at++ - from);
    return true;
}

/* A number as gpsd writes them; what has more than nine digits or an exponent is NAN: none of ours has. */
static bool number(struct text *t, double *ret)
{
    space(t);
    bool minus = t->at < t->end && *t->at == '-';
    const char *from = t->at += minus;
    long whole = 0;
    double scale = 1;
    int digits = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        whole = digits++ < 9 ? whole * 10 + (*t->at - '0') : whole;
    if (t->at == from)
        return false;
    if (t->at < t->end && *t->at == '.')
        for (t->at++; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
            if (digits++ < 9) {
                whole = whole * 10 + (*t->at - '0');
                scale *= 10;
            }
    bool odd = digits > 9;
    while (t->at < t->end && (*t->at == 'e' || *t->at == 'E' || *t->at == '+' || *t->at == '-' || (*t->at >= '0' && *t->at <= '9'))) {
        odd = true;
        t->at++;
    }
    *ret = odd ? (double)NAN : (minus ? -1.0 : 1.0) * (double)whole / scale;
    return true;
}

static bool word(struct text *t, const char *w)
{
    size_t n = strlen(w);
    space(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, w, n) != 0)
        return false;
    t->at += n;
    return true;
}

/* A value that is neither text nor nested ends where the next field begins. */
static bool skip_plain(struct text *t)
{
    space(t);
    if (t->at == t->end || *t->at == '"' || *t->at == '{' || *t->at == '[')
        return false;
    const char *from = t->at;
    while (t->at < t->end && *t->at != ',' && *t->at != '}' && *t->at != ']')
        t->at++;
    return t->at > from && t->at < t->end;
}

/* Any value, unread. Brackets are only counted: what is inside is not ours. */
static bool skip(struct text *t)
{
    const char *s;
    size_t n;
    int depth = 0;
    double v;
    do {
        space(t);
        if (t->at == t->end)
            return false;
        char c = *t->at;
        if (c == '"') {
            if (!string(t, &s, &n))
                return false;
        } else if (c == '{' || c == '[') {
            t->at++;
            if (++depth > DEPTH_MAX)
                return false;
        } else if (c == '}' || c == ']') {
            t->at++;
            depth--;
        } else if (depth > 0 && (c == ',' || c == ':')) {
            t->at++;
        } else if (!word(t, "true") && !word(t, "false") && !word(t, "null") && !number(t, &v)) {
            return false;
        }
    } while (depth > 0);
    return depth == 0;
}

#define IS(s, n, w) ((n) == sizeof(w) - 1 && memcmp(s, w, sizeof(w) - 1) == 0)

static int small(double v, int max)
{
    return isfinite(v) && v >= 0 && v <= max ? (int)v : -1;
}

static bool satellite(struct text *t, struct sky_line *sky)
{
    const char *key;
    size_t n;
    double v, ss = 0;
    int prn = -1, sigid = 0;
    bool used = false;
    if (!next_is(t, '{'))
        return false;
    if (next_is(t, '}'))
        return true;
    do {
        if (!string(t, &key, &n) || !next_is(t, ':'))
            return false;
        bool ours = IS(key, n, "PRN") || IS(key, n, "ss") || IS(key, n, "sigid");
        if (IS(key, n, "used") && word(t, "true"))
            used = true;
        else if (ours && number(t, &v)) {
            if (key[0] == 'P')
                prn = small(v, 4095);
            else if (n == 2)
                ss = v;
            else
                sigid = small(v, 7);
        } else if (!skip_plain(t) && !skip(t)) {
            return false;
        }
    } while (next_is(t, ','));
    sky->used += used;
    if (prn > 0 && sky->n < SKYWATCH_SATS)
        sky->sat[sky->n++] = (struct skywatch_sat){.id = (int16_t)(prn << 3 | (sigid > 0 ? sigid : 0)), .dbhz = (uint8_t)(small(ss, 99) > 0 ? small(ss, 99) : 0)};
    return next_is(t, '}');
}

static bool satellites(struct text *t, struct sky_line *sky)
{
    if (!next_is(t, '['))
        return false;
    sky->satellites = true;
    if (next_is(t, ']'))
        return true;
    do {
        if (!satellite(t, sky))
            return false;
    } while (next_is(t, ','));
    return next_is(t, ']');
}

bool sky_line_is(const char *line)
{
    return strncmp(line, "{\"class\":\"SKY\"", 14) == 0;
}

bool sky_line_read(const char *line, size_t n, struct sky_line *ret)
{
    struct text t = {line, line + n};
    struct sky_line sky = {.hdop = (double)NAN};
    const char *key;
    size_t len;
    if (!next_is(&t, '{'))
        return false;
    do {
        if (!string(&t, &key, &len) || !next_is(&t, ':'))
            return false;
        if (IS(key, len, "satellites") && !sky.satellites) {
            if (!satellites(&t, &sky))
                return false;
        } else if (!(IS(key, len, "hdop") && number(&t, &sky.hdop)) && !(IS(key, len, "device") && string(&t, &sky.device, &sky.device_n)) && !skip(&t)) {
            return false;
        }
    } while (next_is(&t, ','));
    if (!next_is(&t, '}'))
        return false;
    *ret = sky;
    return true;
}
