#include "journal_fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/db.h"
#include "journal_file.h"
#include "journal_read.h"

enum { EVENTS_MAX = 1 << 19, SLICE = 512 };

struct item {
    uint64_t seq;
    int64_t arrival_ms;
    uint32_t gateway;
    uint8_t lane;
    bool late;
    struct event event;
};
struct pile {
    struct item *item;
    size_t n, cap;
};

static int by_place(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->gateway != y->gateway)
        return x->gateway < y->gateway ? -1 : 1;
    if (x->late != y->late)
        return x->late ? 1 : -1;
    if (x->lane != y->lane)
        return x->lane < y->lane ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* A window to fold: from the oldest group not folded, to the end of its five minutes. RC_AGAIN: it has not ended yet, or there is none. */
static enum rc window(struct journal_fold *f, sqlite3 *db, bool current, int64_t now_ms)
{
    sqlite3_stmt *s = NULL;
    f->folded = journal_file_meta(db, "folded", 0);
    enum rc rc = db_prepare(db, "SELECT arrival_ms FROM arrival WHERE id > ? ORDER BY id LIMIT 1", &s);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(s, 1, f->folded);
    int code = sqlite3_step(s);
    int64_t first = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? RC_AGAIN : db_rc(code);
    int64_t end = first - first % JOURNAL_FOLD_WINDOW_MS + JOURNAL_FOLD_WINDOW_MS;
    if (current && now_ms < end + JOURNAL_FOLD_GRACE_MS && now_ms >= first - JOURNAL_FOLD_WINDOW_MS)
        return RC_AGAIN;
    rc = db_prepare(db, "SELECT coalesce((SELECT min(id) - 1 FROM arrival WHERE id > ?1 AND arrival_ms >= ?2), (SELECT max(id) FROM arrival))", &s);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(s, 1, f->folded);
    sqlite3_bind_int64(s, 2, end);
    code = sqlite3_step(s);
    f->upto = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    if (code != SQLITE_ROW)
        return db_rc(code);
    if (f->upto <= f->folded)
        return RC_AGAIN;
    f->active = true;
    f->next = 0;
    if (f->width == 0)
        f->width = SLICE;
    /* what a crash left of this window half done */
    rc = db_prepare(db, "DELETE FROM chunk WHERE upto > ?", &s);
    if (rc == RC_OK) {
        sqlite3_bind_int64(s, 1, f->folded);
        rc = db_run(s);
        sqlite3_finalize(s);
    }
    return rc;
}

static bool pile_add(struct pile *p, const struct item *i)
{
    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? 8192 : p->cap * 2;
        struct item *more = realloc(p->item, cap * sizeof *more);
        if (more == NULL)
            return false;
        p->item = more;
        p->cap = cap;
    }
    p->item[p->n++] = *i;
    return true;
}

static enum rc gather_group(const struct journal_fold *f, struct journal_file_reader *r, struct wire_frame *frame, struct pile *p)
{
    struct journal_file_entry e;
    const char *fault = NULL;
    while (journal_file_next(r, &e)) {
        if (e.gateway < f->next || e.gateway >= f->next + f->width || wire_decode(e.frame, e.n, frame, &fault) != RC_OK || frame->kind != WIRE_BATCH)
            continue;
        const struct wire_batch *b = &frame->batch;
        for (size_t i = 0; i < b->n; i++) {
            struct item x = {b->first_seq + i, e.arrival_ms, e.gateway, b->lane, journal_read_late(b->backlog, &b->event[i], e.arrival_ms), b->event[i]};
            if (!pile_add(p, &x))
                return RC_NO_MEMORY;
        }
        if (p->n > EVENTS_MAX && f->width > 1)
            return RC_FULL;
    }
    return RC_OK;
}

/* The events of the slice's gateways. RC_FULL: too many at once, the slice must be narrower. Damaged groups are skipped; the start told of them. */
static enum rc gather(const struct journal_fold *f, sqlite3 *db, struct wire_frame *frame, struct pile *p)
{
    sqlite3_stmt *s = NULL;
    enum rc rc = db_prepare(db, "SELECT arrival_ms, blob FROM arrival WHERE id > ? AND id <= ? ORDER BY id", &s);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(s, 1, f->folded);
    sqlite3_bind_int64(s, 2, f->upto);
    int code = SQLITE_DONE;
    while (rc == RC_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct journal_file_reader r;
        const void *blob = sqlite3_column_blob(s, 1);
        if (journal_file_read(&r, blob, (size_t)sqlite3_column_bytes(s, 1), sqlite3_column_int64(s, 0)) == RC_OK)
            rc = gather_group(f, &r, frame, p);
    }
    sqlite3_finalize(s);
    return rc == RC_OK && code != SQLITE_DONE ? db_rc(code) : rc;
}

struct blob {
    uint8_t *p;
    size_t n, cap;
};

/* One run of consecutive sequences, one lane, one clock, as an entry. */
static enum rc put_run(struct blob *b, const struct item *x, size_t n, int64_t *base_ms)
{
    static _Thread_local struct event e[WIRE_BATCH_MAX];
    size_t len, need = b->n + JOURNAL_FILE_HEAD_MAX + 4 + n * 128;
    uint8_t frame_head[JOURNAL_FILE_HEAD_MAX];
    if (need > b->cap) {
        size_t cap = need * 2;
        uint8_t *p = realloc(b->p, cap);
        if (p == NULL)
            return RC_NO_MEMORY;
        b->p = p;
        b->cap = cap;
    }
    for (size_t i = 0; i < n; i++)
        e[i] = x[i].event;
    uint8_t *at = b->p + b->n + JOURNAL_FILE_HEAD_MAX;
    enum rc rc = wire_encode_batch((enum event_lane)x->lane, x->seq, x->late, e, n, at, b->cap - b->n - JOURNAL_FILE_HEAD_MAX, &len);
    if (rc != RC_OK)
        return rc;
    size_t head = journal_file_head(frame_head, x->gateway, x->lane, x->arrival_ms - *base_ms, len);
    memcpy(b->p + b->n, frame_head, head);
    memmove(b->p + b->n + head, at, len);
    b->n += head + len;
    *base_ms = x->arrival_ms;
    return RC_OK;
}

/* All items of one gateway and lateness as one row. */
static enum rc put_chunk(struct journal_fold *f, sqlite3_stmt *insert, struct blob *b, const struct item *x, size_t n)
{
    int64_t from = x->event.time_ms, to = from;
    size_t events = 0;
    for (size_t i = 0; i < n; i++) {
        from = x[i].event.time_ms < from ? x[i].event.time_ms : from;
        to = x[i].event.time_ms > to ? x[i].event.time_ms : to;
    }
    int64_t base = from;
    b->n = 0;
    for (size_t i = 0, k; i < n; i = k) {
        size_t len = 1;
        for (k = i + 1; k < n && len < WIRE_BATCH_MAX && x[k].lane == x[i].lane && x[k].seq == x[i].seq + len && x[k].event.clock == x[i].event.clock; k++)
            len++;
        enum rc rc = put_run(b, x + i, len, &base);
        if (rc != RC_OK)
            return rc;
        events += len;
        while (k < n && x[k].lane == x[i].lane && x[k].seq == x[k - 1].seq) /* never written twice, whatever came */
            k++;
    }
    uint32_t crc = journal_file_crc(b->p, b->n);
    for (int i = 0; i < 4; i++)
        b->p[b->n++] = (uint8_t)(crc >> 8 * i);
    sqlite3_bind_int64(insert, 1, x->gateway);
    sqlite3_bind_int64(insert, 2, from);
    sqlite3_bind_int64(insert, 3, to);
    sqlite3_bind_int64(insert, 4, f->upto);
    sqlite3_bind_int64(insert, 5, (int64_t)events);
    sqlite3_bind_int(insert, 6, x->late);
    sqlite3_bind_blob64(insert, 7, b->p, b->n, SQLITE_STATIC);
    return db_run(insert);
}

static enum rc put_slice(struct journal_fold *f, sqlite3 *db, const struct pile *p, bool last)
{
    sqlite3_stmt *insert = NULL;
    struct blob b = {0};
    enum rc rc = db_exec(db, "BEGIN IMMEDIATE");
    if (rc != RC_OK)
        return rc;
    rc = db_prepare(db, "INSERT INTO chunk(gateway, from_ms, to_ms, upto, events, late, blob) VALUES(?, ?, ?, ?, ?, ?, ?)", &insert);
    for (size_t i = 0, k; i < p->n && rc == RC_OK; i = k) {
        for (k = i + 1; k < p->n && p->item[k].gateway == p->item[i].gateway && p->item[k].late == p->item[i].late; k++)
            ;
        rc = put_chunk(f, insert, &b, p->item + i, k - i);
    }
    sqlite3_finalize(insert);
    free(b.p);
    if (rc == RC_OK && last)
        rc = journal_file_meta_set(db, "folded", f->upto);
    if (rc == RC_OK)
        rc = db_exec(db, "COMMIT");
    if (rc != RC_OK && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static enum rc slice(struct journal_fold *f, sqlite3 *db)
{
    struct pile p = {0};
    struct wire_frame *frame = malloc(sizeof *frame);
    sqlite3_stmt *s = NULL;
    enum rc rc = frame == NULL ? RC_NO_MEMORY : db_prepare(db, "SELECT coalesce(max(id), -1) FROM gateway", &s);
    int64_t most = rc == RC_OK && sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    sqlite3_finalize(s);
    if (rc == RC_OK)
        rc = gather(f, db, frame, &p);
    if (rc == RC_FULL) {
        f->width = f->width / 2;
        rc = RC_OK;
    } else if (rc == RC_OK) {
        bool last = f->next + f->width > most;
        if (p.n > 1)
            qsort(p.item, p.n, sizeof p.item[0], by_place);
        rc = put_slice(f, db, &p, last);
        if (rc == RC_OK) {
            f->next += f->width;
            f->width = p.n < EVENTS_MAX / 4 && f->width < SLICE ? f->width * 2 : f->width;
            f->active = !last;
        }
    }
    free(p.item);
    free(frame);
    return rc;
}

/* Days are numbers YYYYMMDD; how far apart they are does not need a calendar: 1 January of one year is 8870 above 31 December. */
static bool too_old(int32_t day, int32_t current)
{
    int32_t a = (day / 10000) * 372 + (day / 100 % 100) * 31 + day % 100, b = (current / 10000) * 372 + (current / 100 % 100) * 31 + current % 100;
    return b - a > JOURNAL_FOLD_KEEP_DAYS + 4; /* a month of this calendar has 31 days: at most four too many */
}

static enum rc give_up_groups(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    enum rc rc = db_exec(db, "BEGIN IMMEDIATE");
    if (rc != RC_OK)
        return rc;
    rc = journal_file_meta_set(db, "dropped", journal_file_meta(db, "folded", 0));
    if (rc == RC_OK)
        rc = db_prepare(db, "DELETE FROM arrival WHERE id <= (SELECT value FROM meta WHERE key = 'dropped')", &s);
    if (rc == RC_OK)
        rc = db_run(s);
    sqlite3_finalize(s);
    if (rc == RC_OK)
        rc = db_exec(db, "COMMIT");
    if (rc != RC_OK && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    /* The pages go back to the file system; what is left is a quarter of the file. */
    return rc == RC_OK ? db_exec(db, "VACUUM") : rc;
}

/* Look for an older day that has groups to fold or to give up. RC_AGAIN: none any more. */
static enum rc old_day(struct journal_fold *f, const char *dir, int32_t current, char *why, size_t cap)
{
    int32_t *day = NULL;
    size_t n = 0;
    char path[JOURNAL_FILE_PATH_MAX];
    enum rc rc = journal_file_days(dir, &day, &n);
    if (rc != RC_OK)
        return rc;
    bool found = false;
    for (size_t i = 0; i < n && rc == RC_OK && !found; i++) {
        if (day[i] >= current || day[i] <= f->old_day)
            continue;
        f->old_day = day[i];
        journal_file_path(dir, day[i], path);
        rc = journal_file_open(path, &f->old, why, cap);
        found = rc == RC_OK;
    }
    free(day);
    return rc != RC_OK || found ? rc : RC_AGAIN;
}

static void close_old(struct journal_fold *f)
{
    db_close(f->old);
    f->old = NULL;
    f->active = false;
}

static enum rc step_old(struct journal_fold *f, const char *dir, int32_t current, int64_t now_ms, char *why, size_t cap)
{
    enum rc rc;
    if (f->old == NULL) {
        rc = old_day(f, dir, current, why, cap);
        if (rc == RC_AGAIN) {
            f->tidied_day = current;
            f->old_day = 0;
        }
        return rc;
    }
    rc = f->active ? slice(f, f->old) : window(f, f->old, false, now_ms);
    if (rc == RC_OK)
        return RC_OK;
    if (rc == RC_AGAIN) {
        rc = RC_OK;
        if (too_old(f->old_day, current) && journal_file_meta(f->old, "folded", 0) > journal_file_meta(f->old, "dropped", 0))
            rc = give_up_groups(f->old);
    }
    if (rc != RC_OK)
        snprintf(why, cap, "day %d: %s", (int)f->old_day, sqlite3_errmsg(f->old));
    close_old(f); /* a day that cannot be folded is passed over until the next look */
    return rc;
}

enum rc journal_fold_step(struct journal_fold *f, const char *dir, sqlite3 *db, int32_t day, int64_t now_ms, char *why, size_t cap)
{
    if (f->tidied_day != day)
        return step_old(f, dir, day, now_ms, why, cap);
    enum rc rc = f->active ? slice(f, db) : window(f, db, true, now_ms);
    if (rc != RC_OK && rc != RC_AGAIN) {
        snprintf(why, cap, "%s", sqlite3_errmsg(db));
        f->active = false;
    }
    return rc;
}

void journal_fold_forget(struct journal_fold *f)
{
    if (f->old != NULL)
        close_old(f);
    f->active = false;
    f->tidied_day = 0;
    f->old_day = 0;
}
