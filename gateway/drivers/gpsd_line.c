#include "gpsd_line.h"

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

/* A number as gpsd writes them; what has more than seventeen digits or an exponent is NAN: none of ours has. */
static bool number(struct text *t, double *ret)
{
    space(t);
    bool minus = t->at < t->end && *t->at == '-';
    const char *from = t->at += minus;
    int64_t whole = 0;
    double scale = 1;
    int digits = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        whole = digits++ < 17 ? whole * 10 + (*t->at - '0') : whole;
    if (t->at == from)
        return false;
    if (t->at < t->end && *t->at == '.')
        for (t->at++; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
            if (digits++ < 17) {
                whole = whole * 10 + (*t->at - '0');
                scale *= 10;
            }
    bool odd = digits > 17;
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

static bool satellite(struct text *t, struct gpsd_sky *sky)
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

static bool satellites(struct text *t, struct gpsd_sky *sky)
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

bool gpsd_line_is_sky(const char *line)
{
    return strncmp(line, "{\"class\":\"SKY\"", 14) == 0;
}

bool gpsd_line_sky(const char *line, size_t n, struct gpsd_sky *ret)
{
    struct text t = {line, line + n};
    struct gpsd_sky sky = {.hdop = (double)NAN};
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
    if (!next_is(&t, '}') || t.at != t.end)
        return false;
    *ret = sky;
    return true;
}

/* --- TPV --- */

static int digits(const char *s, size_t n)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

/* Days since 1970 of a day of the Gregorian calendar; own: shifted so that the leap day is the last of its year. */
static int64_t days_of(int y, int m, int d)
{
    int64_t year = m > 2 ? y : y - 1, month = m > 2 ? m - 3 : m + 9;
    int64_t era = year / 400, in_era = year - era * 400;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + (153 * month + 2) / 5 + d - 1 - 719468;
}

/* "2026-11-25T07:30:15.250Z", ISO 8601 as gpsd writes it; second 60 is a leap second. 0: no time. */
static int64_t time_of(const char *s, size_t n)
{
    static const int days_in[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (n < 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[n - 1] != 'Z')
        return 0;
    int y = digits(s, 4), mo = digits(s + 5, 2), d = digits(s + 8, 2), h = digits(s + 11, 2), mi = digits(s + 14, 2), sec = digits(s + 17, 2);
    if (y < 1970 || mo < 1 || mo > 12 || d < 1 || h < 0 || h > 23 || mi < 0 || mi > 59 || sec < 0 || sec > 60)
        return 0;
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    if (d > days_in[mo - 1] + (mo == 2 && leap))
        return 0;
    int64_t fraction_us = 0, unit_us = 100000;
    if (n > 20 && s[19] != '.')
        return 0;
    for (size_t i = 20; i + 1 < n; i++, unit_us /= 10) {
        int v = digits(s + i, 1);
        if (v < 0)
            return 0;
        fraction_us += v * unit_us;
    }
    return (((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60 + sec) * 1000 + (fraction_us + 500) / 1000;
}

bool gpsd_line_is_tpv(const char *line)
{
    return strncmp(line, "{\"class\":\"TPV\"", 14) == 0;
}

bool gpsd_line_tpv(const char *line, size_t n, struct gpsd_tpv *ret, const char **ret_rest)
{
    struct text t = {line, line + n};
    struct gpsd_tpv r = {.lat_deg = (double)NAN, .lon_deg = (double)NAN, .alt_m = (double)NAN, .speed_mps = (double)NAN, .track_deg = (double)NAN};
    const char *key, *text;
    size_t len, text_n;
    double mode = 0;
    if (!next_is(&t, '{'))
        return false;
    do {
        if (!string(&t, &key, &len) || !next_is(&t, ':'))
            return false;
        double *into = IS(key, len, "lat")      ? &r.lat_deg
                       : IS(key, len, "lon")    ? &r.lon_deg
                       : IS(key, len, "altMSL") ? &r.alt_m
                       : IS(key, len, "speed")  ? &r.speed_mps
                       : IS(key, len, "track")  ? &r.track_deg
                       : IS(key, len, "mode")   ? &mode
                                                : NULL;
        if (into != NULL && number(&t, into))
            continue;
        if (IS(key, len, "time") && string(&t, &text, &text_n))
            r.time_ms = time_of(text, text_n);
        else if (!(IS(key, len, "device") && string(&t, &r.device, &r.device_n)) && !skip(&t))
            return false;
    } while (next_is(&t, ','));
    if (!next_is(&t, '}'))
        return false;
    r.mode = small(mode, 3) > 0 ? small(mode, 3) : 0;
    *ret = r;
    *ret_rest = t.at;
    return true;
}
