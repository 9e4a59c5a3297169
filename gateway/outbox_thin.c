#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "outbox_row.h"

/*
 * Giving up. The order, and why exactly-once holds:
 *
 * The server settles sequences, so a record that may have been sent must keep its own. What never left may be numbered again: a run of such records
 * is read, thinned, and the survivors get the run's highest sequences, so that nothing above the run changes. Below them one hole is left. A hole is
 * closed at the server by the next batch, which tells how many sequences right below it never come (Batch.skipped, outbox_store_read()), and is
 * explained to people by a gap record, which is a record like any other: kept here until the server has it, in the urgent lane, which thins last.
 * Rows that may have been sent are passed over by steps 1 and 2, and go whole in step 3; their hole is at the bottom of the lane, where
 * Hello.first_seq settles it.
 */

enum {
    RUN_EVENTS = 1024,
    RUN_ROWS = 256,
    PROTECTED = 7200, /* the newest records of the lane: two hours of fixes, a whole run */
    SHED_ROWS = 8,
    LOOKS = 64, /* runs looked at in one call; where nothing can be thinned the commit must not wait for a whole file */
};
static const int64_t keep_ms[] = {2000, 4000, 8000, 16000, 32000, 60000, INT64_MAX}; /* INT64_MAX: none */
#define LEVELS (sizeof keep_ms / sizeof keep_ms[0])

struct run {
    uint64_t first, last; /* closed; sequences of the rows in it */
    uint64_t boot;
    int64_t basis_ms;
    size_t n, rows;
    struct event e[RUN_EVENTS];
};

/* The next rows from the cursor on that may be numbered again and lie below `to`. RC_END: there are none. A damaged row ends it; reading will drop
 * it. */
static enum rc gather_run(struct outbox_store *s, uint64_t to, struct run *r)
{
    const enum event_lane lane = EVENT_LANE_BULK;
    *r = (struct run){.n = 0};
    sqlite3_bind_int(s->range, 1, lane);
    sqlite3_bind_int64(s->range, 2, (sqlite3_int64)s->thin.cursor);
    sqlite3_bind_int64(s->range, 3, (sqlite3_int64)to);
    int code;
    while ((code = sqlite3_step(s->range)) == SQLITE_ROW && r->rows < RUN_ROWS) {
        struct outbox_row row;
        outbox_row_take(s->range, &row);
        if (row.first < s->thin.cursor)
            continue;
        uint64_t last = row.first + row.n - 1;
        bool fits = last <= to && !outbox_row_sent(&s->lane[lane].sent, row.first, last) && outbox_row_good(s, lane, &row);
        if (r->rows > 0 && (!fits || row.boot != r->boot || row.basis_ms != r->basis_ms || r->n + row.n > RUN_EVENTS))
            break;
        if (!fits) {
            if (last >= to)
                break;
            s->thin.cursor = last + 1;
            continue;
        }
        if (r->rows++ == 0) {
            r->first = row.first;
            r->boot = row.boot;
            r->basis_ms = row.basis_ms;
        }
        r->last = last;
        memcpy(r->e + r->n, s->scratch->batch.event, row.n * sizeof r->e[0]);
        r->n += row.n;
    }
    sqlite3_reset(s->range);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return db_rc(code);
    return r->rows > 0 ? RC_OK : RC_END;
}

static size_t keep_some(struct run *r, int64_t ms)
{
    size_t kept = 0;
    int64_t last_ms = 0;
    bool any = false;
    for (size_t i = 0; i < r->n; i++) {
        const struct event *e = &r->e[i];
        if (e->kind == EVENT_FIX) {
            int64_t since = e->time_ms > last_ms ? e->time_ms - last_ms : last_ms - e->time_ms;
            if (ms == INT64_MAX || (any && since < ms - ms / 8)) /* a receiver's second is not always one */
                continue;
            any = true;
            last_ms = e->time_ms;
        }
        r->e[kept++] = *e;
    }
    return kept;
}

static enum rc thin_run(struct outbox_store *s, struct run *r, enum event_gap_reason reason, uint64_t *ret_n)
{
    size_t kept = keep_some(r, keep_ms[s->thin.level]), gone = r->n - kept;
    enum rc rc = RC_OK;
    if (gone > 0) {
        rc = outbox_row_delete(s, EVENT_LANE_BULK, r->first, r->last);
        if (rc == RC_OK && kept > 0)
            rc = outbox_row_insert_all(s, EVENT_LANE_BULK, r->last + 1 - kept, r->e, kept, r->boot, r->basis_ms);
        if (rc == RC_OK) {
            outbox_row_less(s, EVENT_LANE_BULK, gone);
            outbox_store_gap(s, EVENT_LANE_BULK, reason, r->first, r->last, gone);
            rc = outbox_row_oldest(s, EVENT_LANE_BULK);
        }
    }
    if (rc == RC_OK) {
        s->thin.cursor = r->last + 1;
        *ret_n = gone;
    }
    return rc;
}

/* Gap records among what goes are told again with the new loss: no loss may be forgotten. */
static void carry_gaps(struct outbox_store *s, uint64_t *real)
{
    for (size_t i = 0; i < s->scratch->batch.n; i++) {
        const struct event *e = &s->scratch->batch.event[i];
        if (e->kind == EVENT_GAP && e->gap.reason < OUTBOX_STORE_REASONS) {
            outbox_store_gap(s, (enum event_lane)e->gap.lane, (enum event_gap_reason)e->gap.reason, e->gap.from_seq, e->gap.to_seq, e->gap.n);
            --*real;
        }
    }
}

/* The oldest rows of a lane, whole. */
static enum rc shed(struct outbox_store *s, enum event_lane lane, enum event_gap_reason reason, uint64_t *ret_n)
{
    uint64_t from = 0, last = 0, rows = 0, real = 0;
    sqlite3_bind_int(s->oldest, 1, lane);
    sqlite3_bind_int(s->oldest, 2, SHED_ROWS);
    int code;
    while ((code = sqlite3_step(s->oldest)) == SQLITE_ROW) {
        struct outbox_row r;
        outbox_row_take(s->oldest, &r);
        from = from == 0 ? r.first : from;
        last = r.first + (r.n < 1 ? 0 : r.n - 1);
        rows += r.n;
        real += r.n;
        if (lane == EVENT_LANE_URGENT && outbox_row_good(s, lane, &r))
            carry_gaps(s, &real);
    }
    sqlite3_reset(s->oldest);
    enum rc rc = db_rc(code);
    if (rc == RC_OK && real == 0) /* nothing, or nothing but gap records */
        return RC_END;
    if (rc == RC_OK)
        rc = outbox_row_delete(s, lane, from, last);
    if (rc == RC_OK) {
        outbox_row_less(s, lane, rows);
        outbox_store_gap(s, lane, reason, from, last, real);
        rc = outbox_row_oldest(s, lane);
    }
    if (rc == RC_OK)
        *ret_n = real;
    return rc;
}

enum rc outbox_store_thin(struct outbox_store *s, enum event_gap_reason full, bool alarms, uint64_t *ret_n)
{
    struct run *r = s->waiting[EVENT_LANE_BULK] > 0 && s->thin.level < LEVELS ? malloc(sizeof *r) : NULL;
    uint64_t next = s->next_seq[EVENT_LANE_BULK], gone = 0;
    enum rc rc = RC_OK;
    for (int looks = 0; r != NULL && looks < LOOKS && gone == 0 && s->thin.level < LEVELS && rc == RC_OK; looks++) {
        bool all = keep_ms[s->thin.level] == INT64_MAX;
        uint64_t to = all ? next - 1 : next > PROTECTED ? next - PROTECTED : 0;
        rc = to > 0 ? gather_run(s, to, r) : RC_END;
        if (rc == RC_OK) {
            rc = thin_run(s, r, all ? full : EVENT_GAP_THINNED, &gone);
        } else if (rc == RC_END) {
            s->thin.level++;
            s->thin.cursor = 0;
            rc = RC_OK;
        }
    }
    bool done = r == NULL || s->thin.level >= LEVELS;
    free(r);
    if (rc == RC_OK && gone == 0 && done) {
        rc = shed(s, EVENT_LANE_BULK, full, &gone);
        s->thin.level = 0; /* what came in meanwhile may be thinned again */
        s->thin.cursor = 0;
        if (rc == RC_END && alarms)
            rc = shed(s, EVENT_LANE_URGENT, full, &gone);
    }
    if (rc == RC_OK)
        *ret_n = gone;
    return rc;
}

/* --- time that became known later --- */

enum { BACKFILL_ROWS = 64 };

enum rc outbox_store_backfill(struct outbox_store *s, uint64_t boot, int64_t base_ms, uint8_t quality, size_t *ret_n)
{
    struct {
        enum event_lane lane;
        uint64_t first;
    } key[BACKFILL_ROWS];
    size_t n = 0;
    sqlite3_stmt *q = NULL;
    if (boot == 0)
        return RC_END;
    enum rc rc = db_prepare(s->db, "SELECT lane, first_seq FROM outbox WHERE first_seq > 0 AND boot = ?1 LIMIT ?2", &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, 1, (sqlite3_int64)boot);
    sqlite3_bind_int(q, 2, BACKFILL_ROWS);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW && n < BACKFILL_ROWS) {
        key[n].lane = sqlite3_column_int(q, 0) == EVENT_LANE_URGENT ? EVENT_LANE_URGENT : EVENT_LANE_BULK;
        key[n++].first = (uint64_t)sqlite3_column_int64(q, 1);
    }
    sqlite3_finalize(q);
    rc = code == SQLITE_ROW ? RC_OK : db_rc(code);
    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        struct outbox_row r = {0};
        bool good = false;
        sqlite3_bind_int(s->below, 1, key[i].lane);
        sqlite3_bind_int64(s->below, 2, (sqlite3_int64)key[i].first);
        code = sqlite3_step(s->below);
        if (code == SQLITE_ROW) {
            outbox_row_take(s->below, &r);
            good = outbox_row_good(s, key[i].lane, &r);
        }
        sqlite3_reset(s->below);
        if (!good) { /* with its row the wish to move it goes too */
            rc = outbox_row_delete(s, key[i].lane, key[i].first, key[i].first);
            outbox_row_less(s, key[i].lane, r.n);
            s->damaged += r.n;
            outbox_store_gap(s, key[i].lane, EVENT_GAP_DAMAGED, key[i].first, key[i].first + (r.n < 1 ? 0 : r.n - 1), r.n);
            if (rc == RC_OK)
                rc = outbox_row_oldest(s, key[i].lane);
            continue;
        }
        struct event *e = s->scratch->batch.event;
        /* the server may hold it with its old time: the same record twice with two times would be one too many, so it stays */
        bool sent = outbox_row_sent(&s->lane[key[i].lane].sent, r.first, r.first + r.n - 1);
        for (size_t k = 0; k < r.n && !sent; k++) {
            e[k].time_ms += base_ms - r.basis_ms;
            e[k].clock = quality;
        }
        rc = outbox_row_update(s, key[i].lane, r.first, e, r.n);
        s->tail[key[i].lane].n = 0;
    }
    if (rc == RC_OK && n == 0)
        return RC_END;
    if (rc == RC_OK)
        *ret_n = n;
    return rc;
}
