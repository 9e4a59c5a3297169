#include "series_influx.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define BODY_MAX 65536 /* of an answer; InfluxDB 3 names up to 100 lines in it */

struct series_influx {
    enum series_api api;
    CURL *curl;
    struct curl_slist *headers;
    char url[1024], target[512];
    char error[CURL_ERROR_SIZE];
    z_stream gzip;
    bool gzip_ready;
    unsigned char *packed;
    size_t packed_cap;
    char body[BODY_MAX];
    size_t body_n;
    const atomic_bool *stop;
};

static void flatten(char *out, size_t cap, const char *text, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k + 1 < cap; i++)
        out[k++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
    while (k > 0 && out[k - 1] == ' ')
        k--;
    out[k] = '\0';
}

/* --- what an answer means -------------------------------------------------------------------------------------------------------------- */

/* Lines that InfluxDB 3 names: {"error":..., "data":[{"line_number":n,"error_message":...}]}. */
static void read_named(const json_t *data, struct series_influx_answer *a)
{
    size_t i;
    json_t *x;
    json_array_foreach(data, i, x) {
        json_int_t line = json_integer_value(json_object_get(x, "line_number"));
        if (line < 1 || a->named == SERIES_INFLUX_NAMED_MAX) {
            a->named = 0;
            return;
        }
        a->line[a->named++] = (size_t)line;
    }
    if (a->named == SERIES_INFLUX_NAMED_MAX) /* there may be more of them than it names */
        a->named = 0;
    a->dropped = a->named;
    const char *first = json_string_value(json_object_get(json_array_get(data, 0), "error_message"));
    if (first != NULL) {
        size_t n = strlen(a->why);
        snprintf(a->why + n, sizeof a->why - n, ": %s", first);
        flatten(a->why, sizeof a->why, a->why, strlen(a->why));
    }
}

static void judge_bad_request(struct series_influx_answer *a, const json_t *json)
{
    if (json == NULL) {
        a->verdict = SERIES_INFLUX_BARRED;
        snprintf(a->why, sizeof a->why, "answered %d, but not as InfluxDB does: check series.url and series.api", a->status);
        return;
    }
    const json_t *data = json_object_get(json, "data");
    const char *dropped = strstr(a->why, "dropped=");
    if (strstr(a->why, "partial write") == NULL) {
        a->verdict = strstr(a->why, "database is required") != NULL ? SERIES_INFLUX_BARRED : SERIES_INFLUX_REFUSED;
        return;
    }
    a->verdict = SERIES_INFLUX_PARTIAL;
    if (dropped != NULL)
        a->dropped = (size_t)strtoul(dropped + 8, NULL, 10);
    if (json_is_array(data))
        read_named(data, a);
}

static void advise(struct series_influx_answer *a, const char *advice)
{
    char said[160];
    snprintf(said, sizeof said, "%.150s", a->why);
    snprintf(a->why, sizeof a->why, "%d%s%s: %s", a->status, said[0] == '\0' ? "" : " ", said, advice);
    a->verdict = SERIES_INFLUX_BARRED;
}

static void judge_barred(enum series_api api, struct series_influx_answer *a)
{
    bool v1 = api == SERIES_V1 || api == SERIES_VICTORIA;
    if (a->status == 401 || a->status == 403)
        advise(a, v1 ? "check series.user and series.password, and that the user may write to series.database"
                     : "check series.token, and that it may write to the database or bucket");
    else if (a->status == 404 && strstr(a->why, "page not found") != NULL)
        advise(a, "this server does not know that path: check series.api and series.url");
    else if (a->status == 404)
        advise(a, v1 ? "create the database (CREATE DATABASE ...) or correct series.database"
                     : "create the database or bucket, or correct series.org, series.bucket, series.database");
    else if (a->status >= 300 && a->status < 400)
        advise(a, "redirects are not followed: set series.url to where the server really is");
    else
        advise(a, "not an answer of a time series store: check series.url and series.api");
}

void series_influx_judge(enum series_api api, int status, const char *body, size_t n, int64_t retry_after_ms, struct series_influx_answer *a)
{
    memset(a, 0, sizeof *a);
    a->status = status;
    a->retry_after_ms = retry_after_ms;
    if (status >= 200 && status < 300)
        return;
    json_t *json = json_loadb(body, n, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "error"));
    if (text == NULL)
        text = json_string_value(json_object_get(json, "message"));
    flatten(a->why, sizeof a->why, text != NULL ? text : body, text != NULL ? strlen(text) : n);
    /* the number of dropped points stands at the end of a text that may be longer than we keep */
    const char *tail = text != NULL ? strstr(text, " dropped=") : NULL;
    if (tail != NULL && strlen(text) >= sizeof a->why)
        snprintf(a->why + sizeof a->why - 32, 32, "...%.20s", tail);
    if (status == 400 || status == 422)
        judge_bad_request(a, text != NULL ? json : NULL);
    else if (status == 413)
        a->verdict = SERIES_INFLUX_TOO_BIG;
    else if (status == 500 && strstr(a->why, "retention policy not found") != NULL)
        advise(a, "create it (CREATE RETENTION POLICY ...) or correct series.retention");
    else if (status == 408 || status == 429 || status >= 500) {
        char said[200];
        snprintf(said, sizeof said, "%.190s", a->why);
        snprintf(a->why, sizeof a->why, "%d %s", status, said[0] != '\0' ? said : status == 429 ? "too many requests" : "the server is in trouble");
        a->verdict = SERIES_INFLUX_LATER;
    } else
        judge_barred(api, a);
    json_decref(json);
}

/* --- the connection -------------------------------------------------------------------------------------------------------------------- */

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
    struct series_influx *i = arg;
    size_t room = sizeof i->body - i->body_n, take = size * n < room ? size * n : room;
    memcpy(i->body + i->body_n, data, take);
    i->body_n += take;
    return size * n; /* what goes beyond is read and forgotten */
}

static int watch(void *arg, curl_off_t dt, curl_off_t dn, curl_off_t ut, curl_off_t un)
{
    (void)dt, (void)dn, (void)ut, (void)un;
    const struct series_influx *i = arg;
    return i->stop != NULL && atomic_load(i->stop);
}

static bool add_query(struct series_influx *i, const char *key, const char *value)
{
    size_t n = strlen(i->url);
    char *safe = curl_easy_escape(i->curl, value, 0);
    if (safe == NULL)
        return false;
    int k = snprintf(i->url + n, sizeof i->url - n, "%c%s=%s", strchr(i->url, '?') == NULL ? '?' : '&', key, safe);
    curl_free(safe);
    return k > 0 && (size_t)k < sizeof i->url - n;
}

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool make_url(struct series_influx *i, const struct series_setup *s)
{
    static const char *const path[] = {"", "/write", "/api/v2/write", "/api/v3/write_lp", "/write"};
    size_t n = strlen(s->url);
    while (n > 0 && s->url[n - 1] == '/')
        n--;
    int k = snprintf(i->url, sizeof i->url, "%.*s%s", (int)n, s->url, path[s->api]);
    if (k < 0 || (size_t)k >= sizeof i->url)
        return false;
    bool good = true;
    switch (s->api) {
    case SERIES_OFF: return false;
    case SERIES_V1:
        good = add_query(i, "db", s->database) && (!given(s->retention) || add_query(i, "rp", s->retention));
        return good && add_query(i, "precision", "ms");
    case SERIES_V2: return add_query(i, "org", s->org) && add_query(i, "bucket", s->bucket) && add_query(i, "precision", "ms");
    case SERIES_V3:
        good = add_query(i, "db", s->database) && add_query(i, "precision", "millisecond");
        return good && add_query(i, "accept_partial", "true") && add_query(i, "no_sync", "false");
    case SERIES_VICTORIA: return (!given(s->database) || add_query(i, "db", s->database)) && add_query(i, "precision", "ms");
    }
    return false;
}

static const char *missing(const struct series_setup *s)
{
    if (!given(s->url) || (strncmp(s->url, "http://", 7) != 0 && strncmp(s->url, "https://", 8) != 0))
        return "series.url: must be http://host:port or https://host:port";
    if (strchr(s->url, '?') != NULL || strchr(s->url, '#') != NULL)
        return "series.url: must not hold a query: give database, org, bucket by their own settings";
    if ((s->api == SERIES_V1 || s->api == SERIES_V3) && !given(s->database))
        return "series.database: missing: name the database to write to";
    if (s->api == SERIES_V2 && (!given(s->org) || !given(s->bucket) || !given(s->token)))
        return "series.org, series.bucket, series.token: all three are needed for api v2";
    return NULL;
}

static bool add_header(struct series_influx *i, const char *text)
{
    struct curl_slist *more = curl_slist_append(i->headers, text);
    if (more != NULL)
        i->headers = more;
    return more != NULL;
}

static bool set_headers(struct series_influx *i, const struct series_setup *s)
{
    bool good = add_header(i, "Content-Type: text/plain; charset=utf-8") && add_header(i, "Content-Encoding: gzip") && add_header(i, "Expect:");
    if (good && given(s->token)) {
        char line[1024];
        int k = snprintf(line, sizeof line, "Authorization: %s %s", s->api == SERIES_V2 || s->api == SERIES_V1 ? "Token" : "Bearer", s->token);
        good = k > 0 && (size_t)k < sizeof line && strpbrk(s->token, "\r\n") == NULL && add_header(i, line);
        explicit_bzero(line, sizeof line);
    }
    if (good && given(s->user)) {
        good = curl_easy_setopt(i->curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) == CURLE_OK && curl_easy_setopt(i->curl, CURLOPT_USERNAME, s->user) == CURLE_OK &&
               curl_easy_setopt(i->curl, CURLOPT_PASSWORD, s->password == NULL ? "" : s->password) == CURLE_OK;
    }
    return good;
}

static bool set_options(struct series_influx *i, int timeout_ms)
{
    CURLcode c = curl_easy_setopt(i->curl, CURLOPT_URL, i->url);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_HTTPHEADER, i->headers);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_WRITEFUNCTION, take_body);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_WRITEDATA, i);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_XFERINFOFUNCTION, watch);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_XFERINFODATA, i);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_NOPROGRESS, 0L);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_NOSIGNAL, 1L);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_ERRORBUFFER, i->error);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    if (c == CURLE_OK)
        c = curl_easy_setopt(i->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    if (c == CURLE_OK) /* the store is ours and near: a proxy of the environment is meant for the web */
        c = curl_easy_setopt(i->curl, CURLOPT_PROXY, "");
    return c == CURLE_OK;
}

enum rc series_influx_new(const struct series_setup *s, struct series_influx **ret_i, char *why, size_t cap)
{
    static const char *const word[] = {"off", "v1", "v2", "v3", "victoria"};
    const char *problem = missing(s);
    if (problem != NULL) {
        snprintf(why, cap, "%s", problem);
        return RC_INVALID;
    }
    struct series_influx *i = calloc(1, sizeof *i);
    if (i == NULL || (i->curl = curl_easy_init()) == NULL) {
        free(i);
        snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    i->api = s->api;
    /* window bits + 16: gzip; the fastest level, for the line between server and store is seldom the narrow place */
    i->gzip_ready = deflateInit2(&i->gzip, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    const char *where = s->api == SERIES_V2 ? s->bucket : s->database;
    int k = snprintf(i->target, sizeof i->target, "%s %s %s%s%s%s%s", word[s->api], s->url, where == NULL ? "" : where, given(s->retention) ? "." : "",
                     given(s->retention) ? s->retention : "", given(s->org) ? " of " : "", given(s->org) ? s->org : "");
    if (!i->gzip_ready || !make_url(i, s) || !set_headers(i, s) || !set_options(i, s->timeout_ms > 0 ? s->timeout_ms : 30000) || k < 0 ||
        (size_t)k >= sizeof i->target || strpbrk(i->target, "\r\n") != NULL) {
        series_influx_free(i);
        snprintf(why, cap, "series.url: the address made of url, database, org and bucket is too long, or one of them or the token has a line end in it");
        return RC_INVALID;
    }
    *ret_i = i;
    return RC_OK;
}

void series_influx_free(struct series_influx *i)
{
    if (i == NULL)
        return;
    curl_easy_cleanup(i->curl);
    curl_slist_free_all(i->headers);
    if (i->gzip_ready)
        deflateEnd(&i->gzip);
    free(i->packed);
    free(i);
}

const char *series_influx_target(const struct series_influx *i)
{
    return i->target;
}

static bool pack(struct series_influx *i, const char *lines, size_t n, size_t *ret_n)
{
    size_t bound = deflateBound(&i->gzip, n);
    if (bound > i->packed_cap) {
        unsigned char *more = realloc(i->packed, bound);
        if (more == NULL)
            return false;
        i->packed = more;
        i->packed_cap = bound;
    }
    union { /* zlib's input is not const, though never written */
        const char *in;
        unsigned char *out;
    } input = {lines};
    deflateReset(&i->gzip);
    i->gzip.next_in = input.out;
    i->gzip.avail_in = (uInt)n;
    i->gzip.next_out = i->packed;
    i->gzip.avail_out = (uInt)i->packed_cap;
    if (deflate(&i->gzip, Z_FINISH) != Z_STREAM_END)
        return false;
    *ret_n = i->packed_cap - i->gzip.avail_out;
    return true;
}

void series_influx_write(struct series_influx *i, const char *lines, size_t n, const atomic_bool *stop, struct series_influx_answer *a)
{
    size_t packed = 0;
    memset(a, 0, sizeof *a);
    a->retry_after_ms = -1;
    a->verdict = SERIES_INFLUX_LATER;
    if (n > UINT32_MAX / 2 || !pack(i, lines, n, &packed)) {
        snprintf(a->why, sizeof a->why, "no memory to compress %zu bytes", n);
        return;
    }
    i->body_n = 0;
    i->error[0] = '\0';
    i->stop = stop;
    curl_easy_setopt(i->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)packed);
    curl_easy_setopt(i->curl, CURLOPT_POSTFIELDS, i->packed);
    CURLcode c = curl_easy_perform(i->curl);
    if (c != CURLE_OK) {
        bool person = c == CURLE_URL_MALFORMAT || c == CURLE_PEER_FAILED_VERIFICATION || c == CURLE_SSL_CACERT_BADFILE;
        const char *said = i->error[0] != '\0' ? i->error : curl_easy_strerror(c);
        if (person)
            a->verdict = SERIES_INFLUX_BARRED;
        snprintf(a->why, sizeof a->why, "%.240s%s", said, person ? ": check series.url and the server's certificate" : "");
        return;
    }
    long status = 0;
    curl_off_t after = 0;
    curl_easy_getinfo(i->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(i->curl, CURLINFO_RETRY_AFTER, &after);
    series_influx_judge(i->api, (int)status, i->body, i->body_n, after > 0 ? (int64_t)after * 1000 : -1, a);
}
