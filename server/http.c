#include "http.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../core/base/clock.h"

#define HTTP_HEADER_BLOCK 1536 /* our answer's header block */
#define HTTP_PIECE 16384
#define HTTP_PIECES 4 /* in one turn of the loop: a fast reader of a long answer must not stop the buses */
#define HTTP_KERNEL_MAX 131072 /* bytes of a long answer that may wait in the socket */
#define HTTP_DISCARD_MAX (1u << 20) /* of a body that is too large this much is read so that the client sees the 413, the rest is cut off */

/* Scripts, styles and data from ourselves alone; pictures may be inline (map styles draw icons), nobody may frame the pages. */
static const struct {
    const char *name, *value;
} http_security[] = {
    {"content-security-policy:", "default-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'; "
                                 "frame-ancestors 'none'; object-src 'none'; base-uri 'self'"},
    {"x-content-type-options:", "nosniff"},
    {"referrer-policy:", "no-referrer"},
};

struct http {
    http_request_fn *on_request;
    void *arg;
    struct http_figures figures;
    bool freed;
    unsigned char piece[LWS_PRE + HTTP_PIECE];
};

struct http_private {
    struct http *h;
    struct lws *wsi; /* NULL: the client has gone */
    atomic_bool gone;
    bool asked;    /* on_request was called */
    bool answered; /* http_answer was called */
    bool close_after;
    bool head_only;
    size_t want, got; /* of the body; got counts discarded bytes too */
    int64_t begun_ms;
    size_t head_n, sent;
    bool head_sent;
    const char *out;
    size_t out_n, held;
    void (*release)(void *arg);
    void *release_arg;
    unsigned char head[LWS_PRE + HTTP_HEADER_BLOCK];
};

struct http_session { /* per connection, libwebsockets clears it */
    struct http_exchange *x;
};

const char *http_method_word(enum http_method m)
{
    static const char *const word[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"};
    return word[m <= HTTP_OTHER ? m : HTTP_OTHER];
}

/* ---- query ---- */

/* Printable UTF-8: what a person could have typed. */
static bool http_clean(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        size_t len = s[i] < 0x80 ? 1 : s[i] >= 0xC2 && s[i] <= 0xDF ? 2 : (s[i] & 0xF0) == 0xE0 ? 3 : s[i] >= 0xF0 && s[i] <= 0xF4 ? 4 : 0;
        if (!len || len > n - i || s[i] < 0x20 || s[i] == 0x7F)
            return false;
        for (size_t k = 1; k < len; k++)
            if ((s[i + k] & 0xC0) != 0x80)
                return false;
        if ((s[i] == 0xE0 && s[i + 1] < 0xA0) || (s[i] == 0xED && s[i + 1] > 0x9F) || (s[i] == 0xF0 && s[i + 1] < 0x90) ||
            (s[i] == 0xF4 && s[i + 1] > 0x8F))
            return false;
        i += len;
    }
    return true;
}

enum rc http_query_add(struct http_query *q, const char *fragment, size_t n)
{
    const char *eq = memchr(fragment, '=', n);
    size_t name_n = eq ? (size_t)(eq - fragment) : n, value_n = eq ? n - name_n - 1 : 0;
    if (name_n < 1 || name_n > 32)
        return RC_INVALID;
    for (size_t i = 0; i < name_n; i++)
        if (!islower((unsigned char)fragment[i]) && !isdigit((unsigned char)fragment[i]) && fragment[i] != '_')
            return RC_INVALID;
    if (value_n && !http_clean(eq + 1, value_n))
        return RC_INVALID;
    if (q->n == HTTP_QUERY_MAX || q->used + name_n + value_n + 2 > sizeof q->text)
        return RC_FULL;
    char *name = q->text + q->used, *value = name + name_n + 1;
    memcpy(name, fragment, name_n);
    name[name_n] = '\0';
    if (http_query_find(q, name))
        return RC_INVALID;
    if (value_n)
        memcpy(value, eq + 1, value_n);
    value[value_n] = '\0';
    q->at[q->n].name = (uint16_t)(name - q->text);
    q->at[q->n].value = (uint16_t)(value - q->text);
    q->n++;
    q->used += name_n + value_n + 2;
    return RC_OK;
}

const char *http_query_name(const struct http_query *q, size_t i)
{
    return q->text + q->at[i].name;
}

const char *http_query_value(const struct http_query *q, size_t i)
{
    return q->text + q->at[i].value;
}

const char *http_query_find(const struct http_query *q, const char *name)
{
    for (size_t i = 0; i < q->n; i++)
        if (!strcmp(http_query_name(q, i), name))
            return http_query_value(q, i);
    return NULL;
}

/* ---- exchanges ---- */

static void http_destroy(struct http_exchange *x)
{
    struct http *h = x->p->h;
    if (x->p->release)
        x->p->release(x->p->release_arg);
    h->figures.held -= x->p->held;
    h->figures.open--;
    free(x->body);
    free(x->p);
    free(x);
    if (h->freed && !h->figures.open)
        free(h);
}

static struct http_exchange *http_create(struct http *h, struct lws *wsi)
{
    if (h->figures.open >= HTTP_EXCHANGES_MAX)
        return NULL;
    struct http_exchange *x = calloc(1, sizeof *x);
    struct http_private *p = calloc(1, sizeof *p);
    if (!x || !p) {
        free(x);
        free(p);
        return NULL;
    }
    x->p = p;
    p->h = h;
    p->wsi = wsi;
    p->begun_ms = clock_mono_ms();
    h->figures.open++;
    h->figures.requests++;
    return x;
}

/* The connection is going: whoever still works on the answer will find nobody. */
static void http_detach(struct http_exchange *x)
{
    x->p->wsi = NULL;
    atomic_store(&x->p->gone, true);
    if (!x->p->asked || x->p->answered)
        http_destroy(x);
}

bool http_gone(const struct http_exchange *x)
{
    return atomic_load(&x->p->gone);
}

/* ---- the request ---- */

static enum http_method http_method_of(int m)
{
    switch (m) {
    case LWSHUMETH_GET: return HTTP_GET;
    case LWSHUMETH_HEAD: return HTTP_HEAD;
    case LWSHUMETH_POST: return HTTP_POST;
    case LWSHUMETH_PUT: return HTTP_PUT;
    case LWSHUMETH_PATCH: return HTTP_PATCH;
    case LWSHUMETH_DELETE: return HTTP_DELETE;
    case LWSHUMETH_OPTIONS: return HTTP_OPTIONS;
    default: return HTTP_OTHER;
    }
}

/* A header as text; "" when absent or longer than cap allows. */
static void http_header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t cap)
{
    int n = lws_hdr_total_length(wsi, token);
    out[0] = '\0';
    if (n > 0 && (size_t)n < cap && lws_hdr_copy(wsi, out, (int)cap, token) < 0)
        out[0] = '\0';
}

static void http_read_bearer(struct lws *wsi, struct http_exchange *x)
{
    char text[HTTP_BEARER_MAX + 16];
    http_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, text, sizeof text);
    if (strncasecmp(text, "Bearer ", 7) != 0)
        return;
    const char *token = text + 7 + strspn(text + 7, " ");
    size_t n = strcspn(token, " \t,");
    if (n <= HTTP_BEARER_MAX && !token[n])
        memcpy(x->bearer, token, n + 1);
}

/* "gzip", "gzip;q=0.5", "br, gzip" take it; "gzip;q=0" does not. */
static bool http_takes_gzip(const char *accept)
{
    for (const char *s = accept; (s = strcasestr(s, "gzip")); s += 4) {
        if (s != accept && (isalnum((unsigned char)s[-1]) || s[-1] == '-'))
            continue;
        const char *q = s + 4 + strspn(s + 4, " ;");
        if (!strncasecmp(q, "q=", 2) && strtod(q + 2, NULL) <= 0.0)
            return false;
        return !isalnum((unsigned char)s[4]);
    }
    return false;
}

static void http_read_query(struct lws *wsi, struct http_exchange *x)
{
    char fragment[HTTP_QUERY_TEXT];
    for (int i = 0; i <= HTTP_QUERY_MAX; i++) {
        int n = lws_hdr_copy_fragment(wsi, fragment, sizeof fragment, WSI_TOKEN_HTTP_URI_ARGS, i);
        if (n == -1)
            return;
        if (n < 0 || (n > 0 && http_query_add(&x->query, fragment, (size_t)n) != RC_OK)) {
            x->fault = HTTP_BAD_QUERY;
            return;
        }
    }
    x->fault = HTTP_BAD_QUERY;
}

/* How long is the body? false: the request cannot be followed by another on this connection. */
static bool http_read_length(struct lws *wsi, struct http_exchange *x)
{
    char text[24];
    struct http_private *p = x->p;
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0) { /* libwebsockets never delivers such a body */
        x->fault = HTTP_LENGTH_REQUIRED;
        return false;
    }
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0)
        return true;
    http_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof text);
    size_t n = strspn(text, "0123456789");
    if (!n || text[n] || n > 18) {
        x->fault = HTTP_BAD_LENGTH;
        return false;
    }
    p->want = (size_t)strtoull(text, NULL, 10);
    if (p->want > HTTP_BODY_MAX) {
        x->fault = HTTP_TOO_LARGE;
        return p->want <= HTTP_DISCARD_MAX;
    }
    x->body = malloc(p->want + 1);
    if (!x->body) {
        x->fault = HTTP_NO_MEMORY;
        return false;
    }
    x->body[0] = '\0';
    return true;
}

static void http_ask(struct http_exchange *x)
{
    struct http_private *p = x->p;
    p->asked = true;
    lws_set_timeout(p->wsi, PENDING_TIMEOUT_HTTP_CONTENT, HTTP_STALL_S);
    /* We have copied what we need. libwebsockets has few places for headers; kept to the end of a slow answer they would shut out everybody else. */
    (void)lws_http_headers_detach(p->wsi);
    p->h->on_request(p->h->arg, x);
}

static int http_on_request(struct http *h, struct lws *wsi, struct http_session *s)
{
    char *uri = NULL, text[128] = "";
    int uri_n = 0, m = lws_http_get_uri_and_method(wsi, &uri, &uri_n);
    if (s->x) { /* cannot be: one answer after the other */
        http_detach(s->x);
        s->x = NULL;
    }
    struct http_exchange *x = m < 0 ? NULL : http_create(h, wsi);
    if (!x) {
        h->figures.dropped++;
        return -1;
    }
    s->x = x;
    x->method = http_method_of(m);
    x->p->head_only = x->method == HTTP_HEAD;
    if (uri_n < 1 || uri_n > HTTP_PATH_MAX || uri[0] != '/' || !http_clean(uri, (size_t)uri_n)) {
        x->fault = HTTP_BAD_PATH;
        x->path[0] = '/';
    } else {
        memcpy(x->path, uri, (size_t)uri_n);
    }
    http_read_query(wsi, x);
    http_read_bearer(wsi, x);
    http_header(wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH, x->if_none_match, sizeof x->if_none_match);
    http_header(wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, text, sizeof text);
    x->gzip = http_takes_gzip(text);
    http_header(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, text, sizeof text);
    x->json_body = !strncasecmp(text, "application/json", 16) && (!text[16] || text[16] == ';' || text[16] == ' ');
    if (!http_read_length(wsi, x)) {
        x->p->close_after = true;
        http_ask(x);
        return 0;
    }
    /* Answered before its body was read, a request with one is answered twice (seen with DELETE and OPTIONS). */
    if (x->p->want || x->method == HTTP_POST)
        lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, HTTP_STALL_S);
    if (!x->p->want)
        http_ask(x);
    return 0;
}

static int http_on_body(struct http_session *s, const void *in, size_t n)
{
    struct http_exchange *x = s->x;
    if (!x || x->p->asked)
        return 0;
    size_t room = x->p->want - x->p->got;
    if (n > room)
        return -1;
    if (x->body)
        memcpy(x->body + x->p->got, in, n);
    x->p->got += n;
    return 0;
}

static void http_on_body_done(struct http_session *s)
{
    struct http_exchange *x = s->x;
    if (!x || x->p->asked)
        return;
    if (x->p->got != x->p->want && !x->fault) {
        x->fault = HTTP_BAD_LENGTH;
        x->p->close_after = true;
    }
    if (x->body) {
        x->body_n = x->p->got;
        x->body[x->body_n] = '\0';
    }
    http_ask(x);
}

/* ---- the answer ---- */

static bool http_add(struct lws *wsi, const char *name, const char *value, unsigned char **p, unsigned char *end)
{
    return !value || !lws_add_http_header_by_name(wsi, (const unsigned char *)name, (const unsigned char *)value, (int)strlen(value), p, end);
}

static bool http_build_head(struct http_exchange *x, const struct http_answer *a, int status, bool with_length)
{
    struct http_private *p = x->p;
    unsigned char *at = p->head + LWS_PRE, *end = p->head + sizeof p->head - 1;
    bool ok = !lws_add_http_header_status(p->wsi, (unsigned)status, &at, end) && http_add(p->wsi, "content-type:", a->type, &at, end);
    for (size_t i = 0; i < sizeof http_security / sizeof *http_security; i++)
        ok = ok && http_add(p->wsi, http_security[i].name, http_security[i].value, &at, end);
    ok = ok && http_add(p->wsi, "cache-control:", a->cache ? a->cache : "no-store", &at, end) && http_add(p->wsi, "etag:", a->etag, &at, end) &&
         http_add(p->wsi, "content-encoding:", a->encoding, &at, end) && http_add(p->wsi, "allow:", a->allow, &at, end) &&
         http_add(p->wsi, "location:", a->location, &at, end) && http_add(p->wsi, "vary:", a->vary ? "accept-encoding" : NULL, &at, end) &&
         http_add(p->wsi, "www-authenticate:", a->challenge ? "Bearer" : NULL, &at, end) &&
         http_add(p->wsi, "connection:", p->close_after ? "close" : NULL, &at, end);
    if (with_length)
        ok = ok && !lws_add_http_header_content_length(p->wsi, a->type ? a->n : 0, &at, end);
    ok = ok && !lws_finalize_http_header(p->wsi, &at, end);
    p->head_n = ok ? (size_t)(at - (p->head + LWS_PRE)) : 0;
    return ok;
}

/* One of the tags in If-None-Match, or "*". Weak tags count: nothing here is patched. */
static bool http_matches(const char *list, const char *etag)
{
    if (!strcmp(list, "*"))
        return true;
    const char *at = strstr(list, etag);
    return at && (at[strlen(etag)] == '\0' || strchr(", ", at[strlen(etag)]));
}

void http_answer(struct http_exchange *x, const struct http_answer *a)
{
    static const char busy[] = "{\"error\":{\"code\":\"busy\",\"message\":\"too many answers wait for slow readers\",\"hint\":\"ask again in some seconds\"}}";
    struct http_private *p = x->p;
    struct http *h = p->h;
    struct http_answer full = {.status = 503, .type = "application/json", .body = busy, .n = sizeof busy - 1};
    p->answered = true;
    if (!p->wsi || (!a->shared && a->n > HTTP_SMALL && h->figures.held + a->n > HTTP_HELD_MAX)) {
        if (a->release)
            a->release(a->release_arg);
        if (!p->wsi) {
            http_destroy(x);
            return;
        }
        a = &full;
    }
    bool same = a->etag && a->status == 200 && x->if_none_match[0] && http_matches(x->if_none_match, a->etag);
    int status = same ? 304 : a->status;
    bool body = !same && a->type && status != 204 && !p->head_only;
    p->release = a->release;
    p->release_arg = a->release_arg;
    if (body) {
        p->out = a->body;
        p->out_n = a->n;
        p->held = a->shared ? 0 : a->n;
        h->figures.held += p->held;
    }
    h->figures.answers[status / 100 % 6]++;
    if (!http_build_head(x, a, status, status != 304 && status != 204)) {
        p->head_n = 0;
        p->close_after = true;
    }
    (void)lws_callback_on_writable(p->wsi);
}

/* The answer is out, or cannot be. The session's memory may be another one after lws_http_transaction_completed(). */
static int http_finish(struct http_session *s, struct lws *wsi, bool close)
{
    struct http_exchange *x = s->x;
    close = close || x->p->close_after;
    s->x = NULL;
    http_destroy(x);
    return close || lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int http_on_writable(struct http *h, struct lws *wsi, struct http_session *s)
{
    struct http_private *p = s->x ? s->x->p : NULL;
    if (!p || !p->answered)
        return 0;
    if (clock_mono_ms() - p->begun_ms > HTTP_WHOLE_MS || !p->head_n)
        return http_finish(s, wsi, true);
    if (!p->head_sent) {
        int kept = HTTP_KERNEL_MAX;
        p->head_sent = true;
        if (p->out_n > HTTP_KERNEL_MAX) /* a few hundred readers that stall would otherwise fill the kernel's memory for all of TCP, and buses be reset */
            (void)setsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_SNDBUF, &kept, sizeof kept);
        if (lws_write(wsi, p->head + LWS_PRE, p->head_n, LWS_WRITE_HTTP_HEADERS) < 0)
            return http_finish(s, wsi, true);
        if (!p->out_n)
            return http_finish(s, wsi, false);
    }
    for (int pieces = 0; pieces < HTTP_PIECES && p->sent < p->out_n && !lws_send_pipe_choked(wsi); pieces++) {
        size_t n = p->out_n - p->sent < HTTP_PIECE ? p->out_n - p->sent : HTTP_PIECE;
        memcpy(h->piece + LWS_PRE, p->out + p->sent, n);
        p->sent += n;
        if (lws_write(wsi, h->piece + LWS_PRE, n, p->sent == p->out_n ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
            return http_finish(s, wsi, true);
    }
    if (p->sent == p->out_n)
        return http_finish(s, wsi, false);
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, HTTP_STALL_S);
    (void)lws_callback_on_writable(wsi);
    return 0;
}

static int http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    const struct lws_protocols *protocol = lws_get_protocol(wsi);
    struct http *h = protocol ? protocol->user : NULL;
    struct http_session *s = user;
    if (!h)
        return 0;
    switch ((int)reason) {
    case LWS_CALLBACK_HTTP: return http_on_request(h, wsi, s);
    case LWS_CALLBACK_HTTP_BODY: return http_on_body(s, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION: http_on_body_done(s); return 0;
    case LWS_CALLBACK_HTTP_WRITEABLE: return http_on_writable(h, wsi, s);
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP:
        if (s && s->x) {
            struct http_exchange *x = s->x;
            s->x = NULL;
            http_detach(x);
        }
        return 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return -1; /* a websocket that names no subprotocol would land here */
    default: return 0;
    }
}

enum rc http_new(http_request_fn *on_request, void *arg, struct http **ret_h)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return RC_NO_MEMORY;
    h->on_request = on_request;
    h->arg = arg;
    *ret_h = h;
    return RC_OK;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    h->freed = true;
    if (!h->figures.open)
        free(h);
}

void http_protocol(struct http *h, struct lws_protocols *ret_p)
{
    *ret_p = (struct lws_protocols){.name = "http", .callback = http_callback, .per_session_data_size = sizeof(struct http_session), .user = h};
}

void http_figures(const struct http *h, struct http_figures *ret_f)
{
    *ret_f = h->figures;
}
