/*
 * api - HTTP + JSON: one table of routes, each with method, path, handler, policy, request and response schema. A route without a policy cannot be
 * registered; the OpenAPI document is generated from the table. Also serves the web pages (precompressed) and map tiles.
 */
#ifndef SCHOOLWARD_API_H
#define SCHOOLWARD_API_H

#include <libwebsockets.h>
#include <uv.h>

#include "access.h"
#include "arrive.h"
#include "devices.h"
#include "fleet.h"
#include "footage.h"
#include "journal.h"
#include "json.h"
#include "ledger.h"

struct api;
struct api_setup {
    uv_loop_t *loop;
    struct fleet *fleet;
    struct journal *journal;
    struct ledger *ledger;
    struct footage *footage; /* NULL: there are no pictures */
    struct access *access;
    struct devices *devices; /* NULL: gateways and orders are not answered */
    struct arrive *arrive;
    const char *web_dir;    /* built pages, "" = none */
    const char *maps_dir;   /* *.mbtiles, "" = none */
    const char *public_url; /* for parent links: "http://127.0.0.1:8080" */
    const char *time_zone;  /* IANA, of the county */
    int (*ready)(void *arg, char *why, size_t cap); /* 1 ready, 0 with reasons */
    /* Append Prometheus text of the modules the api does not know. */
    void (*metrics)(void *arg, char *out, size_t cap);
    /* When the arrival notice of this vehicle's present run was made for this stop, 0 = not yet. Must not block. NULL: none is ever made. */
    int64_t (*noticed_ms)(void *arg, const struct fleet_vehicle *v, const char *stop);
    /* A person acknowledged: tell the screens. */
    void (*on_acknowledged)(void *arg, const struct ledger_finding *x);
    void *arg;
};
/*
 * api_new - check the table, load pages and maps.
 *   returns  RC_OK; RC_INVALID a route without policy or schema (a bug); RC_IO web_dir cannot be read; RC_FULL pages too large;
 *            RC_NO_MEMORY; the reason in why
 * All of setup must outlive the api. The lws context must not set LWS_SERVER_OPTION_HTTP_HEADERS_SECURITY_BEST_PRACTICES_ENFORCE: we send our own.
 */
enum rc api_new(const struct api_setup *s, struct api **ret_a, char *why, size_t cap) RC_MUST_USE;
/*
 * Before journal and ledger are closed: from now on every request is answered with 503 and nothing of setup is touched any more; waits for threads at
 * work. The loop must still run to its end, so that calls in the pool end.
 */
void api_stop(struct api *a);
/* After the lws context is destroyed. NULL is fine. */
void api_free(struct api *a);
void api_protocol(struct api *a, struct lws_protocols *ret_p); /* HTTP, protocols[0] */
/* Print the OpenAPI document (also without a running server: --print-openapi). */
void api_openapi(struct json *out);

#endif
