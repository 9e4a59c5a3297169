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
    int timeout_ms;        /* of one request, 1000..120000, default 30000 */
    struct ledger *ledger; /* findings are projected from it too; NULL = none */
};
/* vehicle id and route for tags, by gateway; called on the series thread. */
typedef bool series_tags_fn(void *arg, const char *gateway, const char **ret_vehicle, const char **ret_route, int64_t time_ms);

/*
 * series_start - start projecting where the cursor in state_dir left off; with no cursor, or one of another target, from the oldest row.
 *   returns  RC_OK; RC_INVALID a setting, named in why with a hint; RC_IO state_dir cannot be written; RC_NO_MEMORY
 */
enum rc series_start(const struct series_setup *s, struct journal *j, series_tags_fn *tags, void *arg, struct series **ret_s, char *why, size_t cap) RC_MUST_USE;
void series_stop(struct series *s); /* joins its thread, at most a few seconds; NULL is fine */

/*
 * series_put_finding - a finding opened, rose or closed: project its newest form soon. Never blocks, any thread. Nothing is lost with a crash or a full
 * queue: the ledger is the truth, and at each start (and after an overflow) everything opened in the last SERIES_FINDINGS_DAYS is projected again, as
 * the same points.
 */
#define SERIES_FINDINGS_DAYS 31
void series_put_finding(struct series *s, const struct ledger_finding *x);

/* Where the rows come from; series_start() makes one of a journal and a ledger, a test its own. */
struct series_source {
    enum rc (*follow)(void *arg, struct journal_cursor *cursor, size_t max_events, journal_each_fn *each, void *each_arg); /* as journal_follow() */
    bool (*wait)(void *arg, const struct journal_cursor *cursor, int timeout_ms);                                         /* as journal_wait() */
    enum rc (*find)(void *arg, const struct ledger_query *q, void (*each)(void *arg, const struct ledger_finding *x), void *each_arg); /* NULL = none */
    void (*done)(void *arg); /* the thread has ended (also when it could not start); NULL = not wanted */
    void *arg;
};
enum rc series_start_from(const struct series_setup *s, const struct series_source *from, series_tags_fn *tags, void *arg, struct series **ret_s, char *why,
                          size_t cap) RC_MUST_USE;

struct series_figures {
    uint64_t points, batches, retries, rejected; /* rejected: dead letters */
    int64_t lag_ms;                              /* since the oldest row not yet projected arrived, 0 = caught up */
    bool down;                                   /* the last request failed, or the server refuses us */
    char why[160];
};
void series_figures(struct series *s, struct series_figures *ret_f);

#endif
