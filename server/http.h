/*
 * http - requests in, answers out, over libwebsockets' HTTP callbacks: whole bodies with a limit, true Content-Length on every answer, long answers in
 * pieces as the peer takes them, our own security headers. Knows nothing of routes, roles or JSON. Everything here belongs to the loop's thread
 * except http_gone().
 */
#ifndef SCHOOLWARD_HTTP_H
#define SCHOOLWARD_HTTP_H

#include <libwebsockets.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/rc.h"

/* What a stranger can make us hold. Header lines are bounded by libwebsockets (4 KiB in all; above it the connection is dropped). */
#define HTTP_BODY_MAX 65536
#define HTTP_PATH_MAX 511
#define HTTP_BEARER_MAX 512
#define HTTP_QUERY_MAX 16      /* parameters */
#define HTTP_QUERY_TEXT 1024   /* bytes of all of them */
#define HTTP_EXCHANGES_MAX 2048 /* requests not yet answered to the end; above it connections are dropped */
#define HTTP_HELD_MAX (256u << 20) /* bytes of answers waiting for slow readers; above it 503 instead of any that is not small */
#define HTTP_SMALL 65536
#define HTTP_STALL_S 30        /* a peer that takes nothing for so long is closed */
#define HTTP_WHOLE_MS 300000   /* and one that needs longer for one answer */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };
const char *http_method_word(enum http_method m);

struct http_query {
    size_t n, used;
    struct {
        uint16_t name, value; /* into text */
    } at[HTTP_QUERY_MAX];
    char text[HTTP_QUERY_TEXT];
};
/*
 * http_query_add - take one "name=value" (percent signs already resolved) in.
 *   returns  RC_OK; RC_INVALID no name, a name not of [a-z0-9_] and 1..32 characters, control characters or bad UTF-8 in the value, or a name given
 *            twice; RC_FULL a limit above
 */
enum rc http_query_add(struct http_query *q, const char *fragment, size_t n) RC_MUST_USE;
const char *http_query_name(const struct http_query *q, size_t i);
const char *http_query_value(const struct http_query *q, size_t i);
const char *http_query_find(const struct http_query *q, const char *name); /* NULL if not given */

/* What was wrong with a request before anybody looked at its meaning. */
enum http_fault { HTTP_FINE = 0, HTTP_BAD_QUERY, HTTP_BAD_PATH, HTTP_BAD_LENGTH, HTTP_LENGTH_REQUIRED, HTTP_TOO_LARGE, HTTP_NO_MEMORY };

struct http;
struct http_exchange {
    /* The request: does not change, may be read by any thread until http_answer(). */
    enum http_fault fault;
    enum http_method method;
    char path[HTTP_PATH_MAX + 1]; /* begins with '/', percent signs resolved, no "..", no control characters */
    struct http_query query;
    char bearer[HTTP_BEARER_MAX + 1]; /* of the Authorization header, "" = none or of another scheme */
    char if_none_match[256];
    bool gzip;                    /* the client takes Content-Encoding: gzip */
    bool json_body;               /* Content-Type is application/json */
    char *body;                   /* body_n bytes and a NUL */
    size_t body_n;
    void *user;                   /* of whoever handles it */
    struct http_private *p;
};

/* An answer. Texts are copied at once; body stays the caller's until release() (NULL: it lives for ever). */
struct http_answer {
    int status;
    const char *type;     /* media type; NULL: no body */
    const void *body;
    size_t n;
    void (*release)(void *arg);
    void *release_arg;
    const char *etag;     /* with its quotes; the request's If-None-Match then makes it a 304 */
    const char *encoding; /* Content-Encoding, NULL = none */
    const char *cache;    /* Cache-Control, NULL = no-store */
    const char *allow;    /* with 405 */
    const char *location; /* with 308 */
    bool shared;          /* many answers share this body: it does not count as held */
    bool vary;            /* by Accept-Encoding */
    bool challenge;       /* with 401: WWW-Authenticate: Bearer */
};

struct http_figures {
    uint64_t requests, dropped, answers[6]; /* answers[status / 100] */
    size_t open, held;
};

/*
 * on_request: a whole request is there (or its fault). The handler must call http_answer() exactly once, now or later on the loop; until then the
 * exchange stays, even if the client has gone.
 */
typedef void http_request_fn(void *arg, struct http_exchange *x);
enum rc http_new(http_request_fn *on_request, void *arg, struct http **ret_h) RC_MUST_USE;
void http_free(struct http *h); /* after the lws context is destroyed; exchanges still at work elsewhere keep it until their answer */
void http_protocol(struct http *h, struct lws_protocols *ret_p);
void http_answer(struct http_exchange *x, const struct http_answer *a); /* x is gone after this */
bool http_gone(const struct http_exchange *x); /* nobody waits for the answer any more; any thread */
void http_figures(const struct http *h, struct http_figures *ret_f);

#endif
