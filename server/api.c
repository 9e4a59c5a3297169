/* api.c - from a request to its handler: path, method, policy, fields, in this order and only here. Handlers are in api/. */
#include "api/route.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "openapi.h"

/* ---- the table ---- */

static bool api_has_field(const struct api_route *r, const char *name, size_t n)
{
    for (size_t i = 0; i < r->fields; i++)
        if (r->field[i].in == API_IN_PATH && strlen(r->field[i].name) == n && !memcmp(r->field[i].name, name, n))
            return true;
    return false;
}

static const char *api_check_path(const struct api_route *r)
{
    size_t names = 0, fields = 0;
    for (const char *s = strchr(r->path, '{'); s; s = strchr(s + 1, '{'), names++) {
        const char *end = strchr(s, '}');
        if (!end || !api_has_field(r, s + 1, (size_t)(end - s - 1)))
            return "a {name} of its path is no field";
    }
    for (size_t i = 0; i < r->fields; i++)
        fields += r->field[i].in == API_IN_PATH;
    return names == fields ? NULL : "a path field does not stand in its path";
}

static bool api_has_schema(const char *name)
{
    size_t n = 0;
    const struct api_schema *s = api_schemas(&n);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(s[i].name, name))
            return true;
    return false;
}

static const char *api_check_one(const struct api_route *route, size_t n, size_t at)
{
    const struct api_route *r = &route[at];
    if (!(r->policy & (API_PUBLIC | API_TOKEN | API_PARENT)))
        return "it has no policy: say who may call it";
    if (r->policy & API_PUBLIC && r->policy != API_PUBLIC)
        return "public and a role at once";
    if (!r->handle || !r->summary || !*r->summary || !r->name || !*r->name)
        return "handler, name and summary are needed";
    if (r->fields > API_FIELDS_MAX)
        return "too many fields";
    if (!r->answer || (!strchr(r->answer, '/') && !api_has_schema(r->answer)))
        return "its answer has no schema";
    for (size_t i = 0; i < n; i++) {
        if (i != at && !strcmp(route[i].name, r->name))
            return "another route has its name";
        if (i != at && !strcmp(route[i].path, r->path) && (route[i].method == r->method || (i + 1 != at && at + 1 != i)))
            return "the methods of one path must stand together, each once";
    }
    return api_check_path(r);
}

enum rc api_check(const struct api_route *route, size_t n, char *why, size_t cap)
{
    for (size_t i = 0; i < n; i++) {
        const char *problem = api_check_one(route, n, i);
        if (problem) {
            (void)snprintf(why, cap, "route %s %s: %s", http_method_word(route[i].method), route[i].path, problem);
            return RC_INVALID;
        }
    }
    return RC_OK;
}

void api_openapi(struct json *out)
{
    size_t routes = 0, schemas = 0;
    const struct api_route *r = api_routes(&routes);
    const struct api_schema *s = api_schemas(&schemas);
    openapi_write(out, r, routes, s, schemas);
}

/* ---- the life of a call ---- */

static void api_release(struct api *a)
{
    if (a->calls || !a->freed)
        return;
    uv_cond_destroy(&a->idle);
    uv_mutex_destroy(&a->lock);
    free(a->openapi);
    api_snapshot_release(a->vehicles);
    static_free(a->pages);
    tiles_free(a->tiles);
    free(a);
}

static void api_call_free(void *arg)
{
    struct api_call *c = arg;
    struct api *a = c->api;
    json_decref(c->body);
    json_free(&c->out);
    free(c->tile.body);
    free(c->bytes);
    free(c);
    a->calls--;
    api_release(a);
}

void api_answer(struct api_call *c, struct http_answer *a)
{
    struct http_exchange *x = c->x;
    if (!a->release) {
        a->release = api_call_free;
        a->release_arg = c;
        http_answer(x, a);
    } else {
        http_answer(x, a);
        api_call_free(c);
    }
}

void api_answer_json(struct api_call *c, int status)
{
    if (c->out.failed || c->out.depth) {
        api_fail(c, 500, "internal", "the answer is larger than 32 MiB or there is no memory for it", "ask for less");
        return;
    }
    struct http_answer a = {.status = status, .type = "application/json", .body = c->out.text, .n = c->out.n};
    api_answer(c, &a);
}

void api_fail(struct api_call *c, int status, const char *code, const char *message, const char *hint)
{
    json_free(&c->out);
    json_begin_object(&c->out, NULL);
    json_begin_object(&c->out, "error");
    json_text(&c->out, "code", code);
    json_text(&c->out, "message", message);
    json_text(&c->out, "hint", hint);
    json_end_object(&c->out);
    json_end_object(&c->out);
    static const char last[] = "{\"error\":{\"code\":\"internal\",\"message\":\"out of memory\",\"hint\":\"\"}}";
    bool whole = !c->out.failed;
    struct http_answer a = {.status = status,
                            .type = "application/json",
                            .body = whole ? c->out.text : last,
                            .n = whole ? c->out.n : sizeof last - 1,
                            .challenge = status == 401};
    api_answer(c, &a);
}

void api_not_found(struct api_call *c)
{
    api_fail(c, 404, "not_found", "there is no such object, or it is not yours to see", "check the address and the id");
}

void api_fail_rc(struct api_call *c, enum rc rc)
{
    if (rc == RC_NOT_FOUND)
        api_not_found(c);
    else if (rc == RC_FULL)
        api_fail(c, 503, "busy", "the server has too much to do", "ask again in some seconds");
    else if (rc == RC_NO_MEMORY)
        api_fail(c, 503, "busy", "out of memory", "ask again in some seconds");
    else
        api_fail(c, 503, "unavailable", "the server's storage does not answer", "ask again; if it stays so, look at the server's log");
}

void api_answer_read(struct api_call *c)
{
    if (c->rc == RC_OK)
        api_answer_json(c, 200);
    else
        api_fail_rc(c, c->rc);
}

/* ---- the pool ---- */

static void api_on_work(uv_work_t *req)
{
    struct api_call *c = req->data;
    struct api *a = c->api;
    uv_mutex_lock(&a->lock);
    bool go = !a->dying && !http_gone(c->x);
    a->working += go;
    uv_mutex_unlock(&a->lock);
    c->rc = RC_END;
    if (!go)
        return;
    c->work(c);
    uv_mutex_lock(&a->lock);
    if (!--a->working)
        uv_cond_signal(&a->idle);
    uv_mutex_unlock(&a->lock);
}

static void api_after_work(uv_work_t *req, int status)
{
    struct api_call *c = req->data;
    struct api *a = c->api;
    if (c->prev)
        c->prev->next = c->next;
    else
        a->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    a->jobs--;
    /* Nobody waits, or what the handler would look at is being taken down. */
    if (status || a->dying || http_gone(c->x))
        api_fail_rc(c, RC_FULL);
    else
        c->after(c);
}

void api_work(struct api_call *c, void (*work)(struct api_call *c), void (*after)(struct api_call *c))
{
    struct api *a = c->api;
    c->work = work;
    c->after = after;
    c->req.data = c;
    if (a->jobs >= API_JOBS_MAX || uv_queue_work(a->s.loop, &c->req, api_on_work, api_after_work)) {
        api_fail_rc(c, RC_FULL);
        return;
    }
    c->prev = NULL;
    c->next = a->first;
    if (a->first)
        a->first->prev = c;
    a->first = c;
    a->jobs++;
}

/* ---- from request to handler ---- */

/* Does the path fit the route's? Parts in braces are taken down as the values of their fields; path is cut up only when it fits. */
static bool api_fits(const struct api_route *r, const char *path)
{
    const char *p = r->path;
    while (*p && *path) {
        if (*p == '{') {
            p = strchr(p, '}') + 1;
            size_t n = strcspn(path, "/");
            if (!n)
                return false;
            path += n;
        } else if (*p++ != *path++) {
            return false;
        }
    }
    return !*p && !*path;
}

static void api_take_path(struct api_call *c)
{
    char *at = c->path;
    memcpy(c->path, c->x->path, sizeof c->path);
    for (const char *p = c->route->path; *p;) {
        if (*p != '{') {
            p++;
            at++;
            continue;
        }
        const char *end = strchr(p, '}');
        size_t n = strcspn(at, "/");
        for (size_t i = 0; i < c->route->fields; i++)
            if (c->route->field[i].in == API_IN_PATH && !strncmp(c->route->field[i].name, p + 1, (size_t)(end - p - 1)) &&
                !c->route->field[i].name[end - p - 1])
                c->value[i].text = at;
        p = end + 1;
        at += n;
        if (*at) { /* the '/' that ends this part */
            *at++ = '\0';
            p++;
        }
    }
}

static bool api_may(struct api_call *c)
{
    struct api *a = c->api;
    uint32_t policy = c->route->policy;
    if (policy & API_PUBLIC)
        return true;
    enum rc rc = access_bearer(a->s.access, c->x->bearer, strlen(c->x->bearer), c->now_ms, &c->who);
    if (rc != RC_OK) {
        a->counters.refused[0]++;
        if (rc == RC_TIMEOUT)
            api_fail(c, 401, "expired", "this link has expired", "ask the school for a new one");
        else
            api_fail(c, 401, "unauthorised", "a valid token is needed", "send Authorization: Bearer TOKEN");
        return false;
    }
    if (!(policy & (uint32_t)c->who.role)) {
        a->counters.refused[1]++;
        api_fail(c, 403, "forbidden", "this role may not do that", "ask with a token of another role");
        return false;
    }
    c->to = policy & API_ADDRESSED && c->who.role == ACCESS_POLICE ? LAW_TO_POL : 0;
    return true;
}

/* "/officer" asked for as "/officer?bus=7" goes on as "/officer/?bus=7". A query that does not fit is left out. */
static void api_folder_address(const struct http_query *q, const char *path, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "%s/", path), whole = n;
    for (size_t i = 0; i < q->n; i++) {
        n += (size_t)snprintf(out + n, cap - n, "%c%s=", i ? '&' : '?', http_query_name(q, i));
        for (const char *v = http_query_value(q, i); *v && n < cap; v++)
            n += (size_t)snprintf(out + n, cap - n, isalnum((unsigned char)*v) ? "%c" : "%%%02X", (unsigned char)*v);
        if (n >= cap) {
            out[whole] = '\0';
            return;
        }
    }
}

static void api_page(struct api_call *c)
{
    struct api *a = c->api;
    const struct static_file *f = static_find(a->pages, c->x->path);
    if (!f && static_is_folder(a->pages, c->x->path)) {
        char to[900]; /* fits our header block with the rest */
        api_folder_address(&c->x->query, c->x->path, to, sizeof to);
        struct http_answer go = {.status = 308, .location = to};
        api_answer(c, &go);
        return;
    }
    if (!f) {
        api_not_found(c);
        return;
    }
    bool gz = f->gz && c->x->gzip;
    struct http_answer page = {.status = 200,
                               .type = f->type,
                               .body = gz ? f->gz : f->body,
                               .n = gz ? f->gz_n : f->n,
                               .etag = gz ? f->etag_gz : f->etag,
                               .encoding = gz ? "gzip" : NULL,
                               .cache = f->immutable ? "public, max-age=31536000, immutable" : "no-cache",
                               .shared = true,
                               .vary = f->gz != NULL};
    api_answer(c, &page);
}

static void api_not_allowed(struct api_call *c, bool get, bool post)
{
    static const char body[] = "{\"error\":{\"code\":\"method_not_allowed\",\"message\":\"this address does not take this method\",\"hint\":\"see the "
                               "Allow header and /api/v1/openapi.json\"}}";
    struct http_answer a = {.status = 405,
                            .type = "application/json",
                            .body = body,
                            .n = sizeof body - 1,
                            .allow = get && post ? "GET, HEAD, POST" : get ? "GET, HEAD" : "POST"};
    api_answer(c, &a);
}

/* true: the request itself is broken and was answered. */
static bool api_refuse_fault(struct api_call *c)
{
    switch (c->x->fault) {
    case HTTP_FINE:
    case HTTP_BAD_QUERY: return false; /* pages ignore their query */
    case HTTP_BAD_PATH: api_fail(c, 400, "bad_request", "the path is malformed", "at most 511 bytes of UTF-8"); return true;
    case HTTP_BAD_LENGTH: api_fail(c, 400, "bad_request", "Content-Length is wrong", "send the length of the body in bytes"); return true;
    case HTTP_LENGTH_REQUIRED:
        api_fail(c, 411, "length_required", "chunked bodies are not taken", "send Content-Length and no Transfer-Encoding");
        return true;
    case HTTP_TOO_LARGE: api_fail(c, 413, "too_large", "the body is too large", "at most 64 KiB"); return true;
    case HTTP_NO_MEMORY: api_fail_rc(c, RC_NO_MEMORY); return true;
    }
    return false;
}

static void api_handle(struct api_call *c)
{
    struct api_problem p = {.status = 0};
    if (api_read_fields(c, &p))
        c->route->handle(c);
    else if (p.status == 404)
        api_not_found(c);
    else
        api_fail(c, p.status, "bad_request", p.message, p.hint);
}

static void api_dispatch(struct api_call *c)
{
    struct api *a = c->api;
    enum http_method m = c->x->method == HTTP_HEAD ? HTTP_GET : c->x->method;
    bool get = false, post = false;
    if (api_refuse_fault(c))
        return;
    for (size_t i = 0; i < a->routes && !c->route; i++) {
        if (!api_fits(&a->route[i], c->x->path))
            continue;
        get = get || a->route[i].method == HTTP_GET;
        post = post || a->route[i].method == HTTP_POST;
        if (a->route[i].method == m)
            c->route = &a->route[i];
    }
    if (c->route) {
        api_take_path(c);
        if (c->x->fault == HTTP_BAD_QUERY)
            api_fail(c, 400, "bad_request", "the query is malformed", "name=value, each name once, at most 16 of them and 1000 bytes, UTF-8");
        else if (api_may(c))
            api_handle(c);
    } else if (get || post) {
        api_not_allowed(c, get, post);
    } else if (!strncmp(c->x->path, "/api/", 5) || !strncmp(c->x->path, "/tiles/", 7)) {
        api_not_found(c);
    } else if (m == HTTP_GET) {
        api_page(c);
    } else {
        api_not_allowed(c, true, false);
    }
}

static void api_on_request(void *arg, struct http_exchange *x)
{
    struct api *a = arg;
    struct api_call *c = a->dying ? NULL : calloc(1, sizeof *c);
    if (!c) {
        static const char body[] = "{\"error\":{\"code\":\"busy\",\"message\":\"the server cannot answer now\",\"hint\":\"ask again in some seconds\"}}";
        struct http_answer busy = {.status = 503, .type = "application/json", .body = body, .n = sizeof body - 1};
        http_answer(x, &busy);
        return;
    }
    a->calls++;
    c->api = a;
    c->x = x;
    c->now_ms = clock_wall_ms();
    json_init(&c->out, API_ANSWER_MAX);
    api_dispatch(c);
}

/* ---- start and end ---- */

static enum rc api_make_openapi(struct api *a)
{
    struct json j;
    json_init(&j, 1u << 20);
    api_openapi(&j);
    if (j.failed) {
        json_free(&j);
        return RC_NO_MEMORY;
    }
    a->openapi = j.text; /* the buffer goes over */
    a->openapi_n = j.n;
    return RC_OK;
}

enum rc api_new(const struct api_setup *s, struct api **ret_a, char *why, size_t cap)
{
    struct api *a = calloc(1, sizeof *a);
    if (!a) {
        (void)snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    a->s = *s;
    a->route = api_routes(&a->routes);
    (void)uv_mutex_init(&a->lock);
    (void)uv_cond_init(&a->idle);
    enum rc rc = api_check(a->route, a->routes, why, cap);
    if (rc == RC_OK)
        rc = static_open(s->web_dir, &a->pages, why, cap);
    if (rc == RC_OK)
        rc = tiles_open(s->maps_dir, &a->tiles, why, cap);
    if (rc == RC_OK) {
        rc = api_make_openapi(a);
        if (rc == RC_OK)
            rc = http_new(api_on_request, a, &a->http);
        if (rc != RC_OK)
            (void)snprintf(why, cap, "out of memory");
    }
    if (rc != RC_OK) {
        api_free(a);
        return rc;
    }
    *ret_a = a;
    return RC_OK;
}

void api_stop(struct api *a)
{
    if (!a)
        return;
    uv_mutex_lock(&a->lock);
    a->dying = true;
    uv_mutex_unlock(&a->lock);
    for (struct api_call *c = a->first; c; c = c->next)
        (void)uv_cancel((uv_req_t *)&c->req); /* those not yet begun; the loop tells them later */
    uv_mutex_lock(&a->lock);
    while (a->working)
        uv_cond_wait(&a->idle, &a->lock);
    uv_mutex_unlock(&a->lock);
}

void api_free(struct api *a)
{
    if (!a)
        return;
    api_stop(a);
    http_free(a->http);
    a->http = NULL;
    a->freed = true;
    api_release(a);
}

void api_protocol(struct api *a, struct lws_protocols *ret_p)
{
    http_protocol(a->http, ret_p);
}
