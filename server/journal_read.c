#include "journal_read.h"

#include <stdlib.h>
#include <string.h>

#include "../core/base/db.h"
#include "journal.h"
#include "journal_file.h"

bool journal_read_late(bool backlog, const struct event *e, int64_t arrival_ms)
{
    int64_t age = arrival_ms - e->time_ms;
    return backlog || e->clock == EVENT_CLOCK_NONE || age > JOURNAL_READ_LATE_MS || age < -JOURNAL_READ_LATE_MS;
}

static int64_t day_before(int64_t ms)
{
    return ms > 86400000 ? ms - 86400000 : 0;
}

/* --- history --- */

struct found {
    uint64_t seq;
    int64_t arrival_ms;
    uint8_t lane;
    bool late;
    struct event event;
};
struct search {
    int64_t from_ms, to_ms;
    size_t max;
    struct found *row;
    size_t n, cap;
    bool cut; /* rows beyond max were dropped */
    struct wire_frame *frame;
};

static int by_time(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->event.time_ms != y->event.time_ms)
        return x->event.time_ms < y->event.time_ms ? -1 : 1;
    if (x->lane != y->lane)
        return x->lane < y->lane ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Sort, drop repeats, and drop what lies beyond max + 1: so a search holds no more than twice that. */
static void tidy(struct search *s)
{
    size_t n = 0;
    if (s->n > 1)
        qsort(s->row, s->n, sizeof s->row[0], by_time);
    for (size_t i = 0; i < s->n; i++)
        if (n == 0 || s->row[i].seq != s->row[n - 1].seq || s->row[i].lane != s->row[n - 1].lane)
            s->row[n++] = s->row[i];
    if (n > s->max) {
        n = s->max;
        s->cut = true;
    }
    s->n = n;
}

static enum rc search_add(struct search *s, const struct found *x)
{
    if (s->n == s->cap) {
        if (s->cap >= 2 * s->max + 1024) {
            tidy(s);
        } else {
            size_t cap = s->cap == 0 ? 1024 : s->cap * 2;
            struct found *more = realloc(s->row, cap * sizeof *more);
            if (more == NULL)
                return RC_NO_MEMORY;
            s->row = more;
            s->cap = cap;
        }
    }
    s->row[s->n++] = *x;
    return RC_OK;
}

static enum rc search_blob(struct search *s, int64_t gateway, struct journal_file_reader *r, bool chunk)
{
    struct journal_file_entry e;
    const char *fault = NULL;
    while (journal_file_next(r, &e)) {
        if (e.gateway != gateway || wire_decode(e.frame, e.n, s->frame, &fault) != RC_OK || s->frame->kind != WIRE_BATCH)
            continue;
        const struct wire_batch *b = &s->frame->batch;
        for (size_t i = 0; i < b->n; i++) {
            if (b->event[i].time_ms < s->from_ms || b->event[i].time_ms >= s->to_ms)
                continue;
            bool late = chunk ? b->backlog : journal_read_late(b->backlog, &b->event[i], e.arrival_ms);
            struct found x = {b->first_seq + i, e.arrival_ms, b->lane, late, b->event[i]};
            enum rc rc = search_add(s, &x);
            if (rc != RC_OK)
                return rc;
        }
    }
    return RC_OK;
}

static enum rc search_rows(struct search *s, sqlite3_stmt *q, int64_t gateway, bool chunk)
{
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;
    while (rc == RC_OK && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct journal_file_reader r;
        const void *blob = sqlite3_column_blob(q, 1);
        if (journal_file_read(&r, blob, (size_t)sqlite3_column_bytes(q, 1), sqlite3_column_int64(q, 0)) == RC_OK)
            rc = search_blob(s, gateway, &r, chunk);
    }
    return rc == RC_OK && code != SQLITE_DONE ? db_rc(code) : rc;
}

/* One day file, in one read transaction: what is folded from the chunks, the rest from the groups. */
static enum rc search_day(struct search *s, sqlite3 *db, const char *gateway)
{
    sqlite3_stmt *q = NULL;
    int64_t id = -1;
    enum rc rc = db_exec(db, "BEGIN");
    if (rc == RC_OK)
        rc = db_prepare(db, "SELECT id FROM gateway WHERE name = ?", &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_text(q, 1, gateway, -1, SQLITE_STATIC);
    if (sqlite3_step(q) == SQLITE_ROW)
        id = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    q = NULL;
    if (id < 0)
        return RC_OK;
    int64_t folded = journal_file_meta(db, "folded", 0);
    rc = db_prepare(db, "SELECT from_ms, blob FROM chunk WHERE gateway = ? AND to_ms >= ? AND from_ms < ? AND upto <= ?", &q);
    if (rc == RC_OK) {
        sqlite3_bind_int64(q, 1, id);
        sqlite3_bind_int64(q, 2, s->from_ms);
        sqlite3_bind_int64(q, 3, s->to_ms);
        sqlite3_bind_int64(q, 4, folded);
        rc = search_rows(s, q, id, true);
    }
    sqlite3_finalize(q);
    q = NULL;
    if (rc == RC_OK)
        rc = db_prepare(db, "SELECT arrival_ms, blob FROM arrival WHERE id > ? ORDER BY id", &q);
    if (rc == RC_OK) {
        sqlite3_bind_int64(q, 1, folded);
        rc = search_rows(s, q, id, false);
    }
    sqlite3_finalize(q);
    return rc;
}

enum rc journal_history(struct journal *j, const char *gateway, int64_t from_ms, int64_t to_ms, size_t max, journal_each_fn *each, void *arg)
{
    struct search s = {.from_ms = from_ms, .to_ms = to_ms, .max = max, .frame = malloc(sizeof *s.frame)};
    int32_t *day = NULL;
    size_t days = 0;
    char path[JOURNAL_FILE_PATH_MAX], why[256];
    enum rc rc = s.frame == NULL ? RC_NO_MEMORY : journal_file_days(journal_dir(j), &day, &days);
    int32_t first = journal_file_day(day_before(from_ms)); /* a gateway's clock may have been ahead of ours */
    if (days > 0 && first > day[days - 1])
        first = 0; /* asked for the future: only a receiver with a wrong date was ever there, on any day */
    for (size_t i = 0; i < days && rc == RC_OK; i++) {
        sqlite3 *db = NULL;
        if (day[i] < first)
            continue;
        journal_file_path(journal_dir(j), day[i], path);
        rc = db_open_readonly(path, &db, why, sizeof why);
        if (rc == RC_OK)
            rc = search_day(&s, db, gateway);
        db_close(db);
    }
    free(day);
    free(s.frame);
    if (rc == RC_OK) {
        tidy(&s);
        for (size_t i = 0; i < s.n; i++) {
            const struct found *x = &s.row[i];
            struct journal_row row = {gateway, x->seq, x->arrival_ms, &x->event, x->lane, x->late};
            if (!each(arg, &row))
                break;
        }
    }
    free(s.row);
    if (rc != RC_OK)
        return rc == RC_NO_MEMORY ? rc : RC_IO;
    return s.cut ? RC_FULL : RC_OK;
}

/* --- following --- */

struct tail {
    journal_each_fn *each;
    void *arg;
    struct wire_frame *frame;
    const struct journal_file_names *names;
    size_t told;
    bool stop;
};

static void tell_blob(struct tail *t, struct journal_file_reader *r, bool chunk)
{
    struct journal_file_entry e;
    const char *fault = NULL;
    while (!t->stop && journal_file_next(r, &e)) {
        if (e.gateway >= t->names->n || wire_decode(e.frame, e.n, t->frame, &fault) != RC_OK || t->frame->kind != WIRE_BATCH)
            continue;
        const struct wire_batch *b = &t->frame->batch;
        for (size_t i = 0; i < b->n && !t->stop; i++) {
            bool late = chunk ? b->backlog : journal_read_late(b->backlog, &b->event[i], e.arrival_ms);
            struct journal_row row = {t->names->name[e.gateway], b->first_seq + i, e.arrival_ms, &b->event[i], b->lane, late};
            t->stop = !t->each(t->arg, &row);
            t->told++;
        }
    }
}

/*
 * Rows of a query (id, base, blob) by id; the cursor moves after the last row of an id was told. A group whose CRC is wrong tells nothing and is
 * passed over. A follower that says stop gets the group it stopped in again.
 */
static enum rc tell_rows(struct tail *t, sqlite3_stmt *q, struct journal_cursor *c, size_t max, bool chunk)
{
    int64_t open = c->group;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(q, 0);
        if (id != open && open != c->group)
            c->group = open;
        if (id != open && t->told >= max)
            return RC_OK;
        open = id;
        struct journal_file_reader r;
        const void *blob = sqlite3_column_blob(q, 2);
        if (journal_file_read(&r, blob, (size_t)sqlite3_column_bytes(q, 2), sqlite3_column_int64(q, 1)) == RC_OK)
            tell_blob(t, &r, chunk);
        if (t->stop)
            return RC_OK;
    }
    if (code != SQLITE_DONE)
        return db_rc(code);
    c->group = open;
    return RC_OK;
}

static enum rc tell_day(struct tail *t, sqlite3 *db, struct journal_cursor *c, size_t max)
{
    sqlite3_stmt *q = NULL;
    struct journal_file_names names = {0};
    enum rc rc = db_exec(db, "BEGIN");
    if (rc == RC_OK)
        rc = journal_file_names(db, &names);
    t->names = &names; /* cppcheck-suppress autoVariables ; taken back below */
    /* groups that were given up: what they held, from the chunks they went into */
    int64_t dropped = rc == RC_OK ? journal_file_meta(db, "dropped", 0) : 0;
    if (rc == RC_OK && c->group < dropped) {
        rc = db_prepare(db, "SELECT upto, from_ms, blob FROM chunk WHERE upto > ? AND upto <= ? ORDER BY upto, from_ms", &q);
        if (rc == RC_OK) {
            sqlite3_bind_int64(q, 1, c->group);
            sqlite3_bind_int64(q, 2, dropped);
            rc = tell_rows(t, q, c, max, true);
        }
        sqlite3_finalize(q);
        q = NULL;
    }
    if (rc == RC_OK && !t->stop && t->told < max) {
        rc = db_prepare(db, "SELECT id, arrival_ms, blob FROM arrival WHERE id > ? ORDER BY id", &q);
        if (rc == RC_OK) {
            sqlite3_bind_int64(q, 1, c->group);
            rc = tell_rows(t, q, c, max, false);
        }
        sqlite3_finalize(q);
    }
    t->names = NULL;
    journal_file_names_free(&names);
    return rc;
}

enum rc journal_read_follow(const char *dir, struct journal_cursor *cursor, size_t max_events, journal_each_fn *each, void *arg)
{
    struct tail t = {.each = each, .arg = arg, .frame = malloc(sizeof *t.frame)};
    struct journal_cursor c = *cursor;
    int32_t *day = NULL;
    size_t days = 0;
    char path[JOURNAL_FILE_PATH_MAX], why[256];
    enum rc rc = t.frame == NULL ? RC_NO_MEMORY : journal_file_days(dir, &day, &days);
    for (size_t i = 0; i < days && rc == RC_OK && !t.stop && t.told < max_events; i++) {
        sqlite3 *db = NULL;
        if (day[i] < c.day)
            continue;
        if (day[i] != c.day)
            c = (struct journal_cursor){day[i], 0};
        journal_file_path(dir, day[i], path);
        rc = db_open_readonly(path, &db, why, sizeof why);
        if (rc == RC_OK)
            rc = tell_day(&t, db, &c, max_events);
        db_close(db);
    }
    free(day);
    free(t.frame);
    if (rc != RC_OK)
        return rc == RC_NO_MEMORY ? rc : RC_IO;
    if (c.day != cursor->day || c.group != cursor->group)
        *cursor = c;
    return t.told > 0 ? RC_OK : RC_AGAIN;
}

enum rc journal_follow(struct journal *j, struct journal_cursor *cursor, size_t max_events, journal_each_fn *each, void *arg)
{
    return journal_read_follow(journal_dir(j), cursor, max_events, each, arg);
}
