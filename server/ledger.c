#include "ledger.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/db.h"
#include "../core/base/log.h"
#include "ledger_schema.h"

#define LEDGER_GROUP 256        /* operations in one commit */
#define LEDGER_READERS 4        /* idle read connections kept */
#define LEDGER_RETRY_NS 1000000000ull
#define LEDGER_CLOSE_TRIES 3
#define LEDGER_BINDS 40
#define LEDGER_NONE INT64_MIN   /* bound as NULL */

enum ledger_op_kind { LEDGER_PUT, LEDGER_ACK, LEDGER_FLUSH };

struct ledger_op {
    struct ledger_op *next;
    enum ledger_op_kind kind;
    struct ledger_finding x; /* put: the row; ack: id in, who and when; the row out */
    ledger_done_fn *done;
    void (*then)(void *arg);
    void *arg;
    enum rc rc;
};

struct ledger_list {
    struct ledger_op *first, **last;
    size_t n;
};

struct ledger {
    uv_loop_t *loop;
    char *path;
    uv_async_t woken; /* writer -> loop */
    uv_thread_t writer;
    uv_mutex_t lock;
    uv_cond_t more;
    /* under lock */
    struct ledger_list queue, finished;
    bool stop, lossy;
    sqlite3 *reader[LEDGER_READERS];
    size_t readers;
    /* the writer's */
    sqlite3 *db;
    sqlite3_stmt *put, *ack, *get;
    struct log_gate trouble;
    /* the loop's */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void ledger_list_init(struct ledger_list *l)
{
    l->first = NULL;
    l->last = &l->first;
    l->n = 0;
}

static void ledger_list_add(struct ledger_list *l, struct ledger_op *op)
{
    op->next = NULL;
    *l->last = op;
    l->last = &op->next;
    l->n++;
}

static struct ledger_op *ledger_list_take(struct ledger_list *l)
{
    struct ledger_op *op = l->first;
    if (op) {
        l->first = op->next;
        if (!l->first)
            l->last = &l->first;
        l->n--;
    }
    return op;
}

/* ---- rows ---- */

/* PostgreSQL numbers its parameters $1 ...; SQLite takes the same text as names and numbers them as they come, so each appears once and in order. */
#define LEDGER_COLUMNS                                                                                                                             \
    "id, rule, stage, severity, criminal, points, confidence_pct, sources, source, audience, worst, allowed, over_pct, began_ms, opened_ms, "      \
    "raised_ms, closed_ms, time_ms, lat_e7, lon_e7, fix_ms, pupils, input_ms, vehicle, plate, route, law_pack, law_version, late"

static const char ledger_sql_put[] =
    "INSERT INTO finding (" LEDGER_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, "
    "$21, $22, $23, $24, $25, $26, $27, $28, $29) ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, severity = excluded.severity, "
    "criminal = excluded.criminal, points = excluded.points, confidence_pct = excluded.confidence_pct, sources = excluded.sources, "
    "source = excluded.source, audience = excluded.audience, worst = excluded.worst, allowed = excluded.allowed, over_pct = excluded.over_pct, "
    "opened_ms = excluded.opened_ms, raised_ms = excluded.raised_ms, closed_ms = excluded.closed_ms, time_ms = excluded.time_ms, "
    "lat_e7 = excluded.lat_e7, lon_e7 = excluded.lon_e7, fix_ms = excluded.fix_ms, pupils = excluded.pupils, input_ms = excluded.input_ms "
    "WHERE excluded.stage > finding.stage OR (excluded.stage = finding.stage AND excluded.time_ms > finding.time_ms)";
static const char ledger_sql_ack[] = "INSERT INTO acknowledgement (finding, by_name, at_ms, note) SELECT id, CAST($1 AS TEXT), CAST($2 AS BIGINT), "
                                     "CAST($3 AS TEXT) FROM finding WHERE id = $4 ON CONFLICT (finding) DO NOTHING";
#define LEDGER_SELECT "SELECT " LEDGER_COLUMNS ", by_name, at_ms, note FROM finding LEFT JOIN acknowledgement ON acknowledgement.finding = finding.id"
static const char ledger_sql_get[] = LEDGER_SELECT " WHERE id = $1";

static void ledger_bind_int(sqlite3_stmt *s, int i, int64_t v)
{
    if (v == LEDGER_NONE)
        (void)sqlite3_bind_null(s, i);
    else
        (void)sqlite3_bind_int64(s, i, v);
}

static void ledger_bind_real(sqlite3_stmt *s, int i, double v)
{
    if (isfinite(v))
        (void)sqlite3_bind_double(s, i, v);
    else
        (void)sqlite3_bind_null(s, i);
}

static void ledger_bind_text(sqlite3_stmt *s, int i, const char *v)
{
    (void)sqlite3_bind_text(s, i, v, -1, SQLITE_STATIC);
}

static int ledger_stage(uint8_t change)
{
    return change == RULES_OPENED ? 1 : change == RULES_RAISED ? 2 : change == RULES_CLOSED ? 3 : 0;
}

static int64_t ledger_or_null(int64_t v, int64_t none)
{
    return v == none ? LEDGER_NONE : v;
}

static void ledger_bind_row(sqlite3_stmt *s, const struct ledger_finding *x)
{
    const struct rules_finding *f = &x->f;
    (void)sqlite3_bind_int64(s, 1, (int64_t)f->id);
    ledger_bind_text(s, 2, law_rule_word((enum law_rule)f->rule));
    ledger_bind_int(s, 3, ledger_stage(f->change));
    ledger_bind_int(s, 4, f->severity);
    ledger_bind_int(s, 5, f->criminal_lead);
    ledger_bind_int(s, 6, ledger_or_null(f->points, -1));
    ledger_bind_int(s, 7, ledger_or_null(f->confidence_pct, -1));
    ledger_bind_int(s, 8, f->sources);
    ledger_bind_int(s, 9, f->source);
    ledger_bind_int(s, 10, f->to);
    ledger_bind_real(s, 11, f->value);
    ledger_bind_real(s, 12, f->limit);
    ledger_bind_real(s, 13, f->over_pct);
    ledger_bind_int(s, 14, f->began_ms);
    ledger_bind_int(s, 15, f->opened_ms);
    ledger_bind_int(s, 16, ledger_or_null(f->raised_ms, 0));
    ledger_bind_int(s, 17, ledger_or_null(f->closed_ms, 0));
    ledger_bind_int(s, 18, f->time_ms);
    ledger_bind_int(s, 19, ledger_or_null(f->lat_e7, EVENT_UNKNOWN));
    ledger_bind_int(s, 20, ledger_or_null(f->lon_e7, EVENT_UNKNOWN));
    ledger_bind_int(s, 21, ledger_or_null(f->fix_ms, 0));
    ledger_bind_int(s, 22, ledger_or_null(f->pupils, EVENT_UNKNOWN));
    ledger_bind_int(s, 23, ledger_or_null(f->input_ms, 0));
    ledger_bind_text(s, 24, x->vehicle);
    ledger_bind_text(s, 25, x->plate);
    ledger_bind_text(s, 26, x->route);
    ledger_bind_text(s, 27, x->law_pack);
    ledger_bind_text(s, 28, x->law_version);
    ledger_bind_int(s, 29, x->late);
}

static int64_t ledger_int(sqlite3_stmt *s, int i, int64_t none)
{
    return sqlite3_column_type(s, i) == SQLITE_NULL ? none : sqlite3_column_int64(s, i);
}

static double ledger_real(sqlite3_stmt *s, int i)
{
    return sqlite3_column_type(s, i) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(s, i);
}

static void ledger_text(sqlite3_stmt *s, int i, char *out, size_t cap)
{
    const unsigned char *t = sqlite3_column_text(s, i);
    (void)snprintf(out, cap, "%s", t ? (const char *)t : "");
}

/* false: of a rule this program does not know; such a row is left to the program that does. */
static bool ledger_row(sqlite3_stmt *s, struct ledger_finding *x)
{
    struct rules_finding *f = &x->f;
    static const uint8_t change[] = {0, RULES_OPENED, RULES_RAISED, RULES_CLOSED};
    char rule[16];
    memset(x, 0, sizeof *x);
    ledger_text(s, 1, rule, sizeof rule);
    f->id = (uint64_t)sqlite3_column_int64(s, 0);
    f->rule = (uint8_t)law_rule_of_word(rule);
    if (f->rule >= LAW_RULES)
        return false;
    f->change = change[sqlite3_column_int(s, 2) & 3];
    f->severity = (uint8_t)sqlite3_column_int(s, 3);
    f->criminal_lead = sqlite3_column_int(s, 4) != 0;
    f->points = (int16_t)ledger_int(s, 5, -1);
    f->confidence_pct = (int16_t)ledger_int(s, 6, -1);
    f->sources = (uint8_t)sqlite3_column_int(s, 7);
    f->source = (uint8_t)sqlite3_column_int(s, 8);
    f->to = (uint32_t)sqlite3_column_int64(s, 9);
    f->value = ledger_real(s, 10);
    f->limit = ledger_real(s, 11);
    f->over_pct = ledger_real(s, 12);
    f->began_ms = sqlite3_column_int64(s, 13);
    f->opened_ms = sqlite3_column_int64(s, 14);
    f->raised_ms = ledger_int(s, 15, 0);
    f->closed_ms = ledger_int(s, 16, 0);
    f->time_ms = sqlite3_column_int64(s, 17);
    f->lat_e7 = (int32_t)ledger_int(s, 18, EVENT_UNKNOWN);
    f->lon_e7 = (int32_t)ledger_int(s, 19, EVENT_UNKNOWN);
    f->fix_ms = ledger_int(s, 20, 0);
    f->pupils = (int32_t)ledger_int(s, 21, EVENT_UNKNOWN);
    f->input_ms = ledger_int(s, 22, 0);
    ledger_text(s, 23, x->vehicle, sizeof x->vehicle);
    ledger_text(s, 24, x->plate, sizeof x->plate);
    ledger_text(s, 25, x->route, sizeof x->route);
    ledger_text(s, 26, x->law_pack, sizeof x->law_pack);
    ledger_text(s, 27, x->law_version, sizeof x->law_version);
    x->late = sqlite3_column_int(s, 28) != 0;
    ledger_text(s, 29, x->ack_by, sizeof x->ack_by);
    x->ack_ms = ledger_int(s, 30, 0);
    ledger_text(s, 31, x->ack_note, sizeof x->ack_note);
    return true;
}

/* ---- the writer thread ---- */

static enum rc ledger_do_ack(struct ledger *l, struct ledger_op *op)
{
    ledger_bind_text(l->ack, 1, op->x.ack_by);
    ledger_bind_int(l->ack, 2, op->x.ack_ms);
    ledger_bind_text(l->ack, 3, op->x.ack_note);
    (void)sqlite3_bind_int64(l->ack, 4, (int64_t)op->x.f.id);
    enum rc rc = db_run(l->ack);
    if (rc != RC_OK)
        return rc;
    (void)sqlite3_bind_int64(l->get, 1, (int64_t)op->x.f.id);
    int step = sqlite3_step(l->get);
    op->rc = RC_NOT_FOUND;
    if (step == SQLITE_ROW && ledger_row(l->get, &op->x))
        op->rc = RC_OK;
    (void)sqlite3_reset(l->get);
    return step == SQLITE_ROW || step == SQLITE_DONE ? RC_OK : db_rc(step);
}

/* The whole list in one transaction, or nothing of it. */
static enum rc ledger_commit(struct ledger *l, struct ledger_op *first)
{
    enum rc rc = db_exec(l->db, "BEGIN IMMEDIATE");
    for (struct ledger_op *op = first; op && rc == RC_OK; op = op->next) {
        if (op->kind == LEDGER_PUT) {
            ledger_bind_row(l->put, &op->x);
            rc = db_run(l->put);
        } else if (op->kind == LEDGER_ACK) {
            rc = ledger_do_ack(l, op);
        }
    }
    if (rc == RC_OK)
        rc = db_exec(l->db, "COMMIT");
    if (rc != RC_OK && !sqlite3_get_autocommit(l->db))
        if (db_exec(l->db, "ROLLBACK") != RC_OK)
            log_debug("ledger", "rollback: %s", sqlite3_errmsg(l->db));
    return rc;
}

/* A person waits for an acknowledgement: better to be told now that the disk is sick. Takes them out of the group. */
static void ledger_fail_acks(struct ledger *l, struct ledger_list *group)
{
    struct ledger_list rest;
    ledger_list_init(&rest);
    uv_mutex_lock(&l->lock);
    for (struct ledger_op *op; (op = ledger_list_take(group));) {
        if (op->kind == LEDGER_ACK) {
            op->rc = RC_IO;
            ledger_list_add(&l->finished, op);
        } else {
            ledger_list_add(&rest, op);
        }
    }
    uv_mutex_unlock(&l->lock);
    ledger_list_init(group);
    for (struct ledger_op *op; (op = ledger_list_take(&rest));)
        ledger_list_add(group, op);
    (void)uv_async_send(&l->woken);
}

/* Until it is on disk. false: the program ends and the disk stayed sick. */
static bool ledger_write_group(struct ledger *l, struct ledger_list *group)
{
    for (int tries_at_end = 0;;) {
        if (!group->first || ledger_commit(l, group->first) == RC_OK) {
            if (log_gate_over(&l->trouble))
                log_notice("ledger", "%s can be written again", l->path);
            return true;
        }
        if (log_gate_trouble(&l->trouble, clock_mono_ms()))
            log_error("ledger", "%s: %s: findings wait in memory; free disk space or check the disk (%u times)", l->path, sqlite3_errmsg(l->db),
                      l->trouble.since_said);
        ledger_fail_acks(l, group);
        uv_mutex_lock(&l->lock);
        bool stop = l->stop;
        if (!stop)
            (void)uv_cond_timedwait(&l->more, &l->lock, LEDGER_RETRY_NS);
        uv_mutex_unlock(&l->lock);
        if (stop && ++tries_at_end == LEDGER_CLOSE_TRIES) {
            log_error("ledger", "%zu changes of findings are not on disk; the journal brings them back at the next start", group->n);
            return false;
        }
    }
}

static void ledger_writer(void *arg)
{
    struct ledger *l = arg;
    uv_mutex_lock(&l->lock);
    for (;;) {
        while (!l->queue.first && !l->stop)
            uv_cond_wait(&l->more, &l->lock);
        if (!l->queue.first)
            break;
        struct ledger_list group;
        ledger_list_init(&group);
        for (struct ledger_op *op; group.n < LEDGER_GROUP && (op = ledger_list_take(&l->queue));)
            ledger_list_add(&group, op);
        uv_mutex_unlock(&l->lock);
        bool written = ledger_write_group(l, &group);
        uv_mutex_lock(&l->lock);
        l->lossy = l->lossy || !written;
        for (struct ledger_op *op; (op = ledger_list_take(&group));)
            ledger_list_add(&l->finished, op);
        (void)uv_async_send(&l->woken);
    }
    uv_mutex_unlock(&l->lock);
}

/* ---- the loop's side ---- */

static void ledger_finish(struct ledger *l)
{
    uv_mutex_lock(&l->lock);
    struct ledger_op *first = l->finished.first;
    bool lossy = l->lossy;
    ledger_list_init(&l->finished);
    uv_mutex_unlock(&l->lock);
    while (first) {
        struct ledger_op *op = first;
        first = op->next;
        if (op->kind == LEDGER_ACK)
            op->done(op->arg, op->rc, op->rc == RC_OK ? &op->x : NULL);
        else if (op->kind == LEDGER_FLUSH && !lossy)
            op->then(op->arg);
        free(op);
    }
}

static void ledger_on_woken(uv_async_t *h)
{
    ledger_finish(h->data);
}

static void ledger_push(struct ledger *l, struct ledger_op *op)
{
    uv_mutex_lock(&l->lock);
    ledger_list_add(&l->queue, op);
    uv_cond_signal(&l->more);
    uv_mutex_unlock(&l->lock);
}

static void ledger_release(struct ledger *l)
{
    (void)sqlite3_finalize(l->put);
    (void)sqlite3_finalize(l->ack);
    (void)sqlite3_finalize(l->get);
    db_close(l->db);
    for (size_t i = 0; i < l->readers; i++)
        db_close(l->reader[i]);
    free(l->path);
    free(l);
}

static enum rc ledger_prepare(struct ledger *l, char *why, size_t cap)
{
    enum rc rc = db_prepare(l->db, ledger_sql_put, &l->put);
    if (rc == RC_OK)
        rc = db_prepare(l->db, ledger_sql_ack, &l->ack);
    if (rc == RC_OK)
        rc = db_prepare(l->db, ledger_sql_get, &l->get);
    if (rc != RC_OK)
        (void)snprintf(why, cap, "%s: %s", l->path, sqlite3_errmsg(l->db));
    return rc;
}

enum rc ledger_open(uv_loop_t *loop, const char *path, struct ledger **ret_l, char *why, size_t cap)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (!l || !(l->path = strdup(path))) {
        free(l);
        (void)snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    l->loop = loop;
    ledger_list_init(&l->queue);
    ledger_list_init(&l->finished);
    enum rc rc = db_open(path, DB_SYNC_FULL, &l->db, why, cap);
    if (rc == RC_OK)
        rc = db_migrate(l->db, ledger_schema, LEDGER_SCHEMA, why, cap);
    if (rc == RC_OK)
        rc = ledger_prepare(l, why, cap);
    if (rc != RC_OK) {
        ledger_release(l);
        return rc;
    }
    /* libuv gives up the process itself where a lock cannot be made, so only the thread and the handle can fail. */
    (void)uv_mutex_init(&l->lock);
    (void)uv_cond_init(&l->more);
    if (uv_async_init(loop, &l->woken, ledger_on_woken)) {
        ledger_release(l);
        (void)snprintf(why, cap, "no event handle");
        return RC_IO;
    }
    l->woken.data = l;
    if (uv_thread_create(&l->writer, ledger_writer, l)) {
        (void)snprintf(why, cap, "no thread for the ledger");
        l->stop = true;
        ledger_close(l, NULL, NULL);
        return RC_IO;
    }
    *ret_l = l;
    return RC_OK;
}

static void ledger_on_handle_closed(uv_handle_t *h)
{
    struct ledger *l = h->data;
    void (*on_closed)(void *arg) = l->on_closed;
    void *arg = l->closed_arg;
    uv_cond_destroy(&l->more);
    uv_mutex_destroy(&l->lock);
    ledger_release(l);
    if (on_closed)
        on_closed(arg);
}

void ledger_close(struct ledger *l, void (*on_closed)(void *arg), void *arg)
{
    l->on_closed = on_closed;
    l->closed_arg = arg;
    if (!l->stop) {
        uv_mutex_lock(&l->lock);
        l->stop = true;
        uv_cond_signal(&l->more);
        uv_mutex_unlock(&l->lock);
        (void)uv_thread_join(&l->writer);
        ledger_finish(l);
    }
    uv_close((uv_handle_t *)&l->woken, ledger_on_handle_closed);
}

static void ledger_drop(struct ledger *l, const char *reason)
{
    uv_mutex_lock(&l->lock);
    bool first = !l->lossy;
    l->lossy = true;
    uv_mutex_unlock(&l->lock);
    if (first)
        log_error("ledger", "%s: a finding is left to the journal, which brings it back at the next start: restart when the disk is well", reason);
}

void ledger_put_finding(struct ledger *l, const struct ledger_finding *x)
{
    if (!ledger_stage(x->f.change))
        return;
    uv_mutex_lock(&l->lock);
    bool full = l->queue.n >= LEDGER_QUEUE_MAX;
    uv_mutex_unlock(&l->lock);
    struct ledger_op *op = full ? NULL : calloc(1, sizeof *op);
    if (!op) {
        ledger_drop(l, full ? "the disk takes no findings" : "out of memory");
        return;
    }
    op->kind = LEDGER_PUT;
    op->x = *x;
    ledger_push(l, op);
}

void ledger_flush(struct ledger *l, void (*then)(void *arg), void *arg)
{
    struct ledger_op *op = calloc(1, sizeof *op);
    if (!op) {
        ledger_drop(l, "out of memory");
        return;
    }
    op->kind = LEDGER_FLUSH;
    op->then = then;
    op->arg = arg;
    ledger_push(l, op);
}

void ledger_acknowledge(struct ledger *l, uint64_t id, const char *by, int64_t at_ms, const char *note, ledger_done_fn *done, void *arg)
{
    struct ledger_op *op = calloc(1, sizeof *op);
    if (!op) {
        done(arg, RC_IO, NULL);
        return;
    }
    op->kind = LEDGER_ACK;
    op->x.f.id = id;
    (void)snprintf(op->x.ack_by, sizeof op->x.ack_by, "%s", by);
    op->x.ack_ms = at_ms;
    (void)snprintf(op->x.ack_note, sizeof op->x.ack_note, "%s", note ? note : "");
    op->done = done;
    op->arg = arg;
    ledger_push(l, op);
}

/* ---- reading, any thread ---- */

static sqlite3 *ledger_reader(struct ledger *l)
{
    sqlite3 *db = NULL;
    char why[160];
    uv_mutex_lock(&l->lock);
    if (l->readers)
        db = l->reader[--l->readers];
    uv_mutex_unlock(&l->lock);
    if (!db && db_open_readonly(l->path, &db, why, sizeof why) != RC_OK) {
        log_warning("ledger", "%s", why);
        return NULL;
    }
    return db;
}

static void ledger_give_back(struct ledger *l, sqlite3 *db)
{
    uv_mutex_lock(&l->lock);
    bool keep = l->readers < LEDGER_READERS;
    if (keep)
        l->reader[l->readers++] = db;
    uv_mutex_unlock(&l->lock);
    if (!keep)
        db_close(db);
}

_Static_assert(LAW_RULES + 10 <= LEDGER_BINDS, "every rule and every other filter of a query needs a place");

/* A SELECT put together from fixed pieces; values are always bound. */
struct ledger_where {
    char sql[2048];
    size_t n;
    int binds;
    struct {
        int64_t number;
        const char *text; /* NULL: the number */
    } bind[LEDGER_BINDS];
};

static void ledger_sql(struct ledger_where *w, const char *piece)
{
    size_t n = strlen(piece);
    if (w->n + n < sizeof w->sql) {
        memcpy(w->sql + w->n, piece, n + 1);
        w->n += n;
    }
}

static void ledger_value(struct ledger_where *w, const char *piece, int64_t number, const char *text)
{
    char mark[16];
    if (w->binds == LEDGER_BINDS)
        return;
    ledger_sql(w, piece);
    (void)snprintf(mark, sizeof mark, "$%d", w->binds + 1);
    ledger_sql(w, mark);
    w->bind[w->binds].number = number;
    w->bind[w->binds].text = text;
    w->binds++;
}

static void ledger_where(struct ledger_where *w, const struct ledger_query *q)
{
    ledger_sql(w, LEDGER_SELECT " WHERE 1 = 1");
    if (q->id)
        ledger_value(w, " AND id = ", (int64_t)q->id, NULL);
    if (q->state)
        ledger_sql(w, q->state == 1 ? " AND closed_ms IS NULL" : " AND closed_ms IS NOT NULL");
    if (q->rules) {
        ledger_sql(w, " AND rule IN (''");
        for (int r = 0; r < LAW_RULES; r++)
            if (q->rules >> r & 1)
                ledger_value(w, ", ", 0, law_rule_word((enum law_rule)r));
        ledger_sql(w, ")");
    }
    if (q->severity)
        ledger_value(w, " AND severity >= ", q->severity, NULL);
    if (q->to) {
        ledger_value(w, " AND (audience & ", q->to, NULL);
        ledger_sql(w, ") <> 0");
    }
    if (q->vehicle)
        ledger_value(w, " AND vehicle = ", 0, q->vehicle);
    if (q->from_ms)
        ledger_value(w, " AND opened_ms >= ", q->from_ms, NULL);
    if (q->to_ms)
        ledger_value(w, " AND opened_ms < ", q->to_ms, NULL);
    if (q->before_ms) {
        ledger_value(w, " AND (opened_ms < ", q->before_ms, NULL);
        ledger_value(w, " OR (opened_ms = ", q->before_ms, NULL);
        ledger_value(w, " AND id < ", (int64_t)q->before_id, NULL);
        ledger_sql(w, "))");
    }
    ledger_value(w, " ORDER BY opened_ms DESC, id DESC LIMIT ", (int64_t)(q->limit < 1 ? 1 : q->limit > 500 ? 500 : q->limit), NULL);
}

enum rc ledger_find(struct ledger *l, const struct ledger_query *q, void (*each)(void *arg, const struct ledger_finding *x), void *arg)
{
    struct ledger_where w = {.n = 0};
    sqlite3_stmt *s = NULL;
    sqlite3 *db = ledger_reader(l);
    if (!db)
        return RC_IO;
    ledger_where(&w, q);
    enum rc rc = db_prepare(db, w.sql, &s);
    for (int i = 0; i < w.binds && rc == RC_OK; i++) {
        if (w.bind[i].text)
            ledger_bind_text(s, i + 1, w.bind[i].text);
        else
            (void)sqlite3_bind_int64(s, i + 1, w.bind[i].number);
    }
    int step = SQLITE_DONE;
    while (rc == RC_OK && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct ledger_finding x;
        if (ledger_row(s, &x))
            each(arg, &x);
    }
    if (rc != RC_OK || step != SQLITE_DONE) {
        log_warning("ledger", "%s: reading findings: %s", l->path, sqlite3_errmsg(db));
        rc = RC_IO;
    }
    (void)sqlite3_finalize(s);
    ledger_give_back(l, db);
    return rc;
}
