/*
 * route - how api.c and its handlers talk: the table of routes with their policies and fields, and one call from its request to its answer.
 * Everything that must hold for every route (who may, which parameters, which body) is done by api.c from the table before a handler runs.
 */
#ifndef SCHOOLWARD_API_ROUTE_H
#define SCHOOLWARD_API_ROUTE_H

#include <jansson.h>

#include "../api.h"
#include "../http.h"
#include "../static.h"
#include "../tiles.h"

#define API_FIELDS_MAX 12
#define API_JOBS_MAX 256            /* calls in the thread pool or waiting for it; above it 503 */
#define API_ANSWER_MAX (32u << 20)  /* bytes of one JSON answer */

/* ---- the table ---- */

/* Policies: which roles may call. A route with none of these bits cannot be registered. */
#define API_PUBLIC 0x100u
#define API_TOKEN (ACCESS_OFFICER | ACCESS_POLICE | ACCESS_ADMIN)
#define API_OFFICER (ACCESS_OFFICER | ACCESS_ADMIN)
#define API_CASE (API_TOKEN | API_ADDRESSED)
#define API_PARENT ACCESS_PARENT
/* The relation to the object: police only see findings addressed to POL; api_call.to is then the filter every query must use. */
#define API_ADDRESSED 0x200u

enum api_in { API_IN_PATH, API_IN_QUERY, API_IN_BODY };
enum api_kind { API_ID /* of the duty */, API_INT, API_TEXT, API_WORD, API_HEX64, API_CURSOR, API_NAME /* of a map set */, API_SHA256 };

struct api_field {
    const char *name;
    enum api_in in;
    enum api_kind kind;
    bool required;
    int64_t min, max;         /* API_INT: value; API_TEXT: bytes */
    const char *const *words; /* API_WORD: NULL-terminated */
    const char *help;
};

struct api_call;
struct api_route {
    enum http_method method; /* HTTP_GET also answers HEAD */
    const char *path;        /* "/api/v1/vehicles/{id}" */
    uint32_t policy;
    void (*handle)(struct api_call *c);
    const char *name;    /* operationId */
    const char *summary; /* one line */
    const struct api_field *field;
    size_t fields;
    const char *answer; /* name of a schema, or a media type (has a '/') */
    int other;          /* further status without an error body, 0 = none */
};
const struct api_route *api_routes(size_t *ret_n);

/*
 * api_check - whether a table may be registered: every route has a policy, a handler, a name of its own and a known schema, every {name} of its path a
 * field. RC_OK, RC_INVALID with the reason in why.
 */
enum rc api_check(const struct api_route *route, size_t n, char *why, size_t cap) RC_MUST_USE;

struct api_schema {
    const char *name, *json;
};
const struct api_schema *api_schemas(size_t *ret_n);

/* ---- a call ---- */

struct api_value {
    bool given;
    int64_t number;   /* API_INT; API_WORD: its index; API_HEX64: as bits */
    const char *text;
};

struct api_counters {
    uint64_t refused[3]; /* 401, 403, 429 */
    uint64_t acknowledged;
    double ack_sum_s; /* from opened to acknowledged */
    uint64_t ack_le[6];
};

/* An answer that many may read at once. The loop's thread alone counts. */
struct api_snapshot {
    struct json text;
    unsigned users;
    int64_t made_ms;
};
void api_snapshot_release(void *snapshot); /* NULL is fine */

struct api {
    struct api_setup s;
    struct http *http;
    struct static_files *pages;
    struct tiles *tiles;
    const struct api_route *route;
    size_t routes;
    char *openapi;
    size_t openapi_n;
    struct api_counters counters;
    struct api_snapshot *vehicles; /* the newest list of all, NULL = none yet */
    uv_mutex_t lock;
    uv_cond_t idle;
    size_t working; /* jobs inside the pool's threads; under lock */
    bool dying;     /* under lock */
    bool freed;     /* the last call takes the rest away */
    size_t jobs, calls;
    struct api_call *first; /* all jobs handed to the pool */
};

struct api_call {
    struct api *api;
    struct http_exchange *x;
    const struct api_route *route;
    struct access_who who;
    uint32_t to; /* of the policy: only findings addressed to these, 0 = all */
    int64_t now_ms;
    char path[HTTP_PATH_MAX + 1]; /* cut into its parts */
    json_t *body;
    struct api_value value[API_FIELDS_MAX];
    struct json out;
    /* of the job in the pool */
    uv_work_t req;
    void (*work)(struct api_call *c);  /* in a thread: may use what never changes, journal, ledger, tiles and its own call */
    void (*after)(struct api_call *c); /* on the loop; must answer */
    struct api_call *next, *prev;
    enum rc rc; /* of the work */
    /* what handlers carry from work to after */
    struct ledger_finding finding;
    struct tiles_tile tile;
    struct footage_item item;
    void *bytes; /* of item; released with the call */
};

struct api_problem {
    int status; /* 400, 404 */
    char message[160], hint[400];
};
/*
 * api_read_fields - check path parts (value[].text already set), query and body against the route's fields and fill value[]. Needs no server: c->route
 * and c->x are enough; c->body is the caller's to release. false: what to answer is in *p.
 */
bool api_read_fields(struct api_call *c, struct api_problem *p);

/* The value of a field of the call's route; a name that is not in the table is a bug, told at once. */
const struct api_value *api_value(const struct api_call *c, const char *name);
int64_t api_number(const struct api_call *c, const char *name, int64_t otherwise);
const char *api_text(const struct api_call *c, const char *name); /* NULL if not given */

/* Every call ends in exactly one of these; the call is gone then. */
void api_answer_json(struct api_call *c, int status); /* c->out */
void api_answer(struct api_call *c, struct http_answer *a); /* a->body is released with the call unless a->release is set */
void api_fail(struct api_call *c, int status, const char *code, const char *message, const char *hint);
void api_fail_rc(struct api_call *c, enum rc rc); /* RC_NOT_FOUND 404, RC_FULL 503, RC_IO and the rest 503 or 500 */
void api_not_found(struct api_call *c);            /* the same words for what is not there and for what one may not see */

/* The usual `after`: c->out if the work succeeded, else why not. */
void api_answer_read(struct api_call *c);

/* Run work in the pool, then after on the loop. */
void api_work(struct api_call *c, void (*work)(struct api_call *c), void (*after)(struct api_call *c));

/* ---- the handlers ---- */
void api_health(struct api_call *c);
void api_ready(struct api_call *c);
void api_metrics(struct api_call *c);
void api_document(struct api_call *c);
void api_session(struct api_call *c);
void api_live_ticket(struct api_call *c);
void api_vehicles(struct api_call *c);
void api_vehicle(struct api_call *c);
void api_track(struct api_call *c);
void api_route_list(struct api_call *c);
void api_route_one(struct api_call *c);
void api_findings(struct api_call *c);
void api_finding(struct api_call *c);
void api_acknowledge(struct api_call *c);
void api_evidence(struct api_call *c);
void api_media_list(struct api_call *c);
void api_media(struct api_call *c);
void api_parent_link(struct api_call *c);
void api_parent(struct api_call *c);
void api_gateways(struct api_call *c);
void api_gateway(struct api_call *c);
void api_orders(struct api_call *c);
void api_order(struct api_call *c);
void api_maps(struct api_call *c);
void api_tile(struct api_call *c);

/* The finding of the call's `id` into c->finding, if this caller may see it. In a worker thread. */
enum rc api_find_finding(struct api_call *c);
/* What belongs to a finding: this span around it, closed. */
void api_evidence_span(const struct rules_finding *f, int64_t now_ms, int64_t *ret_from_ms, int64_t *ret_to_ms);

/* The Track of docs/protocol.md 2, read from the journal by a worker thread. */
enum rc api_write_track(struct api_call *c, const struct duty_vehicle *v, int64_t from_ms, int64_t to_ms, size_t limit);

#endif
