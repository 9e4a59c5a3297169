/*
 * series - points in time to InfluxDB or VictoriaMetrics by line protocol, projected from the journal with a durable cursor. May be down for days: the
 * server never loses or blocks because of it. Own thread. Error table: docs/series.md.
 */
#ifndef SCHOOLWARD_SERIES_H
#define SCHOOLWARD_SERIES_H

#include "journal.h"
#include "ledger.h"

struct series;

enum series_api { SERIES_OFF = 0, SERIES_V1, SERIES_V2, SERIES_V3, SERIES_VICTORIA };
struct series_setup {
    enum series_api api;
    const char *url;       /* "http://127.0.0.1:8086" */
    const char *database;  /* v1, v3, victoria (optional) */
    const char *retention; /* v1 rp, "" = default */
    const char *org, *bucket; /* v2 */
    const char *user, *password, *token; /* "" = none */
    const char *state_dir; /* cursor and dead-letter file */
    int batch_points;      /* 1000..20000, default 5000 */
    int flush_ms;          /* 100..60000, default 1000 */
};
/* vehicle id and route for tags, by gateway; called on the series thread. */
typedef bool series_tags_fn(void *arg, const char *gateway, const char **ret_vehicle, const char **ret_route, int64_t time_ms);

enum rc series_start(const struct series_setup *s, struct journal *j, series_tags_fn *tags, void *arg, struct series **ret_s, char *why, size_t cap) RC_MUST_USE;
void series_stop(struct series *s); /* joins its thread, at most a few seconds */

struct series_figures {
    uint64_t points, batches, retries, rejected; /* rejected: dead letters */
    int64_t lag_ms;                              /* arrival time of the newest projected row against now, 0 = caught up */
    bool down;
    char why[160];
};
void series_figures(struct series *s, struct series_figures *ret_f);

#endif
