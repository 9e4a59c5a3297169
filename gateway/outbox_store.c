#include "outbox_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "outbox_file.h"
#include "outbox_row.h"

/*
 * The row first_seq = 0 is not a record but the lane's state: n is its next sequence, frame an array of 64-bit numbers, see write_state(). It lives
 * in the same tree as the records because the oldest records, which acks delete, are its neighbours: a commit of a connected bus touches one page
 * instead of two or three, and pages written are what wears an SD card. Away from a server nothing is deleted, so it is not written at all.
 */
static const char *const schema[] = {
    "CREATE TABLE outbox (lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, n INTEGER NOT NULL, crc INTEGER NOT NULL, boot INTEGER, basis INTEGER,"
    " frame BLOB NOT NULL, PRIMARY KEY (lane, first_seq)) WITHOUT ROWID",
};

enum {
    ROW_EVENTS = 128,
    ROW_GOOD_BYTES = 900, /* SQLite keeps up to 1002 bytes of an index row in its page of 4 KiB */
    STATE_RANGES = 8,
    STATE_WORDS = 3,
};

static uint32_t crc_of(enum event_lane lane, const struct outbox_row *r)
{
    uint64_t key[] = {lane, r->first, r->n, r->boot, (uint64_t)r->basis_ms};
    return outbox_file_crc(outbox_file_crc(0, key, sizeof key), r->frame, r->len);
}

void outbox_row_take(sqlite3_stmt *q, struct outbox_row *ret_r)
{
    int64_t n = sqlite3_column_int64(q, 1);
    *ret_r = (struct outbox_row){.first = (uint64_t)sqlite3_column_int64(q, 0),
                                 .n = n < 0 ? 0 : (size_t)n,
                                 .crc = (uint32_t)sqlite3_column_int64(q, 2),
                                 .boot = (uint64_t)sqlite3_column_int64(q, 3),
                                 .basis_ms = sqlite3_column_int64(q, 4),
                                 .frame = sqlite3_column_blob(q, 5)};
    ret_r->len = (size_t)sqlite3_column_bytes(q, 5);
}

bool outbox_row_good(struct outbox_store *s, enum event_lane lane, const struct outbox_row *r)
{
    const char *fault;
    return r->frame != NULL && r->n >= 1 && r->n <= WIRE_BATCH_MAX && crc_of(lane, r) == r->crc &&
           wire_decode(r->frame, r->len, s->scratch, &fault) == RC_OK && s->scratch->kind == WIRE_BATCH && s->scratch->batch.n == r->n;
}

static void settle(struct outbox_store *s, sqlite3 *db, const char *name, int how)
{
    int in_wal = 0, done = 0;
    int code = sqlite3_wal_checkpoint_v2(db, name, how, &in_wal, &done);
    if (code == SQLITE_OK && done == in_wal) {
        /* a page that was written ten times goes over once: what the WAL holds is the most it can have been */
        s->bytes_written += (uint64_t)s->wal_pages * (uint64_t)s->page_bytes;
        s->wal_pages = 0; /* the next commit begins the WAL again from its start */
    }
}

void outbox_store_settle(struct outbox_store *s)
{
    settle(s, s->db, NULL, SQLITE_CHECKPOINT_PASSIVE);
}

/* --- opening --- */

/* Count the pages the card had to take; and checkpoint, because a hook of one's own replaces SQLite's automatic one. */
static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct outbox_store *s = arg;
    int grown = pages > s->wal_pages ? pages - s->wal_pages : pages;
    s->wal_pages = pages;
    s->bytes_written += (uint64_t)grown * (uint64_t)(s->page_bytes + 24);
    if (pages >= OUTBOX_FILE_WAL_PAGES)
        settle(s, db, name, SQLITE_CHECKPOINT_PASSIVE);
    return SQLITE_OK;
}

static int64_t one_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int64_t v = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        v = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return v;
}

#define USED_STALE_BYTES 65536

static int64_t number_of(sqlite3_stmt *q)
{
    int64_t v = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : -1;
    sqlite3_reset(q);
    return v;
}

int64_t outbox_store_used(struct outbox_store *s)
{
    int64_t pages = number_of(s->pages), unused = number_of(s->unused);
    return pages < 0 || unused < 0 ? -1 : (pages - unused) * s->page_bytes;
}

int64_t outbox_store_used_lately(struct outbox_store *s)
{
    if (s->used_bytes <= 0 || s->bytes_written - s->used_written >= USED_STALE_BYTES) {
        s->used_bytes = outbox_store_used(s);
        s->used_written = s->bytes_written;
    }
    return s->used_bytes;
}

int64_t outbox_store_free_pages(struct outbox_store *s)
{
    return number_of(s->unused);
}

#define COLUMNS "first_seq, n, crc, boot, basis, frame"
/* from the row that may hold ?2 in its middle */
#define FROM_ROW                                                                                                                                     \
    " FROM outbox WHERE lane = ?1 AND first_seq > 0 AND first_seq <= ?3 AND first_seq >="                                                            \
    " ifnull((SELECT max(first_seq) FROM outbox WHERE lane = ?1 AND first_seq > 0 AND first_seq <= ?2), ?2) ORDER BY first_seq"

static enum rc prepare_all(struct outbox_store *s)
{
    struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } all[] = {
        {&s->begin, "BEGIN IMMEDIATE"},
        {&s->commit, "COMMIT"},
        {&s->pages, "PRAGMA page_count"},
        {&s->unused, "PRAGMA freelist_count"},
        {&s->insert, "INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
        {&s->update, "UPDATE outbox SET n = ?3, crc = ?4, boot = ?5, basis = ?6, frame = ?7 WHERE lane = ?1 AND first_seq = ?2"},
        {&s->state, "INSERT OR REPLACE INTO outbox VALUES (?1, 0, ?2, ?3, NULL, NULL, ?4)"},
        {&s->range, "SELECT " COLUMNS FROM_ROW},
        {&s->del, "DELETE FROM outbox WHERE lane = ?1 AND first_seq >= ?2 AND first_seq <= ?3 AND first_seq > 0"},
        {&s->oldest, "SELECT " COLUMNS " FROM outbox WHERE lane = ?1 AND first_seq > 0 ORDER BY first_seq LIMIT ?2"},
        {&s->overlap, "SELECT first_seq, n" FROM_ROW},
        {&s->below, "SELECT " COLUMNS " FROM outbox WHERE lane = ?1 AND first_seq > 0 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        enum rc rc = db_prepare(s->db, all[i].sql, all[i].stmt);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* {up, unsure, sent.through, (from, to)*} under the row's CRC. More than eight ranges: all below their end. */
static enum rc write_state(struct outbox_store *s, enum event_lane lane)
{
    const struct outbox_lane *l = &s->lane[lane];
    size_t n = STATE_WORDS, ranges = l->sent.ranges;
    uint64_t v[STATE_WORDS + 2 * STATE_RANGES] = {l->up, l->unsure, l->sent.through};
    if (ranges > STATE_RANGES) {
        v[2] = l->sent.range[ranges - 1].to;
        ranges = 0;
    }
    for (size_t i = 0; i < ranges; i++) {
        v[n++] = l->sent.range[i].from;
        v[n++] = l->sent.range[i].to;
    }
    struct outbox_row r = {.n = (size_t)s->next_seq[lane], .frame = v, .len = n * sizeof v[0]};
    sqlite3_bind_int(s->state, 1, lane);
    sqlite3_bind_int64(s->state, 2, (sqlite3_int64)s->next_seq[lane]);
    sqlite3_bind_int64(s->state, 3, crc_of(lane, &r));
    sqlite3_bind_blob(s->state, 4, v, (int)r.len, SQLITE_STATIC);
    enum rc rc = db_run(s->state);
    sqlite3_clear_bindings(s->state);
    return rc;
}

static bool read_state(struct outbox_store *s, enum event_lane lane, const struct outbox_row *r)
{
    uint64_t v[STATE_WORDS + 2 * STATE_RANGES];
    struct outbox_lane *l = &s->lane[lane];
    if (r->frame == NULL || r->len > sizeof v || r->len < STATE_WORDS * sizeof v[0] || r->len % sizeof v[0] != 0 || r->n < 1 ||
        r->n > INT64_MAX / 2 || crc_of(lane, r) != r->crc)
        return false;
    memcpy(v, r->frame, r->len);
    *l = (struct outbox_lane){.up = v[0] != 0, .unsure = v[1], .sent = {.through = v[2]}};
    for (size_t i = STATE_WORDS; i + 1 < r->len / sizeof v[0]; i += 2)
        if (wire_settle(&l->sent, v[i], v[i + 1]) != RC_OK)
            return false;
    s->next_seq[lane] = r->n;
    return true;
}

/* The state, and the last row, because it says which number is next: of the two nothing is believed that does not check out. */
static enum rc take_lane(struct outbox_store *s, enum event_lane lane, sqlite3_stmt *state, sqlite3_stmt *sum)
{
    struct outbox_row r;
    sqlite3_bind_int(state, 1, lane);
    int code = sqlite3_step(state);
    bool good = false;
    if (code == SQLITE_ROW) {
        outbox_row_take(state, &r);
        good = read_state(s, lane, &r);
    }
    sqlite3_reset(state);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? RC_CORRUPT : db_rc(code);
    sqlite3_bind_int(s->below, 1, lane);
    sqlite3_bind_int64(s->below, 2, INT64_MAX);
    code = sqlite3_step(s->below);
    if (code == SQLITE_ROW) {
        outbox_row_take(s->below, &r);
        good = good && outbox_row_good(s, lane, &r);
        if (good && r.first + r.n > s->next_seq[lane])
            s->next_seq[lane] = r.first + r.n;
    }
    sqlite3_reset(s->below);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return db_rc(code);
    if (!good)
        return RC_CORRUPT;
    sqlite3_bind_int(sum, 1, lane);
    code = sqlite3_step(sum);
    if (code == SQLITE_ROW) {
        s->waiting[lane] = (uint64_t)sqlite3_column_int64(sum, 0);
        s->first_seq[lane] = sqlite3_column_type(sum, 1) == SQLITE_NULL ? s->next_seq[lane] : (uint64_t)sqlite3_column_int64(sum, 1);
    }
    sqlite3_reset(sum);
    s->tail[lane].n = 0; /* a new start begins a new row, so that `unsure` never lies inside one */
    return code == SQLITE_ROW ? RC_OK : db_rc(code);
}

/* The figures kept in memory, from the file. */
static enum rc take_stock(struct outbox_store *s)
{
    sqlite3_stmt *state = NULL, *sum = NULL;
    enum rc rc = db_prepare(s->db, "SELECT " COLUMNS " FROM outbox WHERE lane = ?1 AND first_seq = 0", &state);
    if (rc == RC_OK)
        rc = db_prepare(s->db, "SELECT ifnull(sum(n), 0), min(first_seq) FROM outbox WHERE lane = ?1 AND first_seq > 0", &sum);
    for (int i = 0; rc == RC_OK && i < EVENT_LANES; i++)
        rc = take_lane(s, (enum event_lane)i, state, sum);
    sqlite3_finalize(state);
    sqlite3_finalize(sum);
    return rc;
}

/* A connection that stood when the program ended may have carried anything; and nothing the file now goes on with is confirmed yet. */
static void begin_unsure(struct outbox_store *s)
{
    for (int i = 0; i < EVENT_LANES; i++) {
        struct outbox_lane *l = &s->lane[i];
        if (l->up && s->next_seq[i] > 1)
            l->sent = (struct wire_settled){.through = s->next_seq[i] - 1};
        s->dirty[i] = s->dirty[i] || l->up || l->unsure == 0;
        l->up = false;
        if (l->unsure == 0)
            l->unsure = s->next_seq[i];
    }
}

/*
 * Opened again by the same program, after an error of the disk: the connection stands, and the server has taken numbers of it meanwhile. Were they unsure
 * now, the next Welcome would move records the server has. True: the file still holds every number that was given out.
 */
static bool go_on_sure(struct outbox_store *s, const struct outbox_store *before)
{
    for (int i = 0; i < EVENT_LANES; i++)
        if (!before->opened || s->next_seq[i] < before->settled_next[i])
            return false;
    for (int i = 0; i < EVENT_LANES; i++) {
        s->lane[i] = before->lane[i];
        s->dirty[i] = true;
    }
    return true;
}

static void finalize_all(struct outbox_store *s)
{
    sqlite3_stmt **all[] = {&s->insert, &s->update, &s->state, &s->range, &s->del, &s->oldest, &s->overlap, &s->below,
                            &s->begin,  &s->commit, &s->pages, &s->unused};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sqlite3_finalize(*all[i]);
        *all[i] = NULL;
    }
}

void outbox_store_close(struct outbox_store *s)
{
    finalize_all(s);
    db_close(s->db);
    s->db = NULL;
    free(s->scratch);
    free(s->gather);
    free(s->frame);
    s->scratch = NULL;
    s->gather = NULL;
    s->frame = NULL;
}

/* State rows of a new file; PATH.floor says where it goes on if it was not new. */
static enum rc first_states(struct outbox_store *s)
{
    enum rc rc = RC_OK;
    if (one_number(s->db, "SELECT count(*) FROM outbox") != 0)
        return RC_OK;
    for (int i = 0; rc == RC_OK && i < EVENT_LANES; i++) {
        s->next_seq[i] = 1;
        s->lane[i] = (struct outbox_lane){0};
        rc = write_state(s, (enum event_lane)i);
    }
    return rc;
}

static enum rc open_file(struct outbox_store *s, char *why, size_t cap)
{
    if (!outbox_file_rewrite_wal(s)) {
        snprintf(why, cap, "%s-wal: %m", s->path);
        return RC_IO;
    }
    enum rc rc = db_open(s->path, DB_SYNC_FULL, &s->db, why, cap);
    if (rc != RC_OK)
        return rc;
    /* the working set is a handful of pages; the gateway's whole budget is 8 MB */
    rc = db_exec(s->db, "PRAGMA cache_size=-128; PRAGMA journal_size_limit=4194304; PRAGMA temp_store=MEMORY");
    if (rc == RC_OK)
        rc = db_migrate(s->db, schema, (int)(sizeof schema / sizeof schema[0]), why, cap);
    if (rc == RC_OK) {
        s->page_bytes = (int)one_number(s->db, "PRAGMA page_size");
        rc = prepare_all(s);
        if (rc == RC_OK) /* also where the power went between the table and its first rows */
            rc = first_states(s);
        if (rc == RC_OK)
            rc = take_stock(s);
        if (rc != RC_OK) /* a table or column that is not there is as unreadable as a broken page */
            snprintf(why, cap, "%s: %s", s->path, rc == RC_CORRUPT ? "what says the next number does not check out" : sqlite3_errmsg(s->db));
        if (rc == RC_IO && sqlite3_errcode(s->db) == SQLITE_ERROR)
            rc = RC_CORRUPT;
    }
    if (rc == RC_OK) {
        s->wal_pages = 0;
        sqlite3_wal_hook(s->db, on_wal, s);
        /*
         * The WAL is durable now, see outbox_file_rewrite_wal(); pages of the file an fsync failed on may not be. Bringing the WAL into the file writes them
         * once more, and fsyncs that.
         */
        int code = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (db_rc(code) != RC_IO)
            return RC_OK;
        snprintf(why, cap, "%s: %s", s->path, sqlite3_errmsg(s->db));
        rc = RC_IO;
    }
    finalize_all(s);
    db_close(s->db);
    s->db = NULL;
    return rc;
}

/* Rows of the broken file that can still be read and check out keep their numbers: for the server they are the same records. */
static uint64_t salvage(struct outbox_store *s, const char *aside)
{
    sqlite3 *old = NULL;
    sqlite3_stmt *q = NULL;
    uint64_t kept = 0;
    bool failed = false;
    if (sqlite3_open_v2(aside, &old, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sqlite3_close_v2(old);
        return 0;
    }
    for (int lane = EVENT_LANES - 1; lane >= 0 && !failed; lane--) { /* alarms first: reading may fail at any row */
        uint64_t top = 0;
        if (sqlite3_prepare_v2(old, "SELECT " COLUMNS " FROM outbox WHERE lane = ?1 AND first_seq > 0 ORDER BY first_seq", -1, &q, NULL) != SQLITE_OK)
            break;
        sqlite3_bind_int(q, 1, lane);
        while (!failed && sqlite3_step(q) == SQLITE_ROW) {
            struct outbox_row r;
            outbox_row_take(q, &r);
            if (r.first <= top || r.first + r.n > s->floor[lane] || !outbox_row_good(s, (enum event_lane)lane, &r))
                continue;
            failed = outbox_row_insert(s, (enum event_lane)lane, r.first, s->scratch->batch.event, r.n, r.boot, r.basis_ms, WIRE_FRAME_MAX) != RC_OK;
            top = r.first + r.n - 1;
            kept += failed ? 0 : r.n;
        }
        sqlite3_finalize(q);
        q = NULL;
    }
    sqlite3_close_v2(old);
    return kept;
}

/* A new file in the place of one that cannot be read: above every number that was ever given out, with what could be saved, and with a record of it.
 */
static enum rc begin_again(struct outbox_store *s, const char *reason, bool floor_known, char *note, char *why, size_t cap)
{
    char aside[PATH_MAX];
    if (!outbox_file_set_aside(s, aside, sizeof aside)) {
        snprintf(why, cap, "%s is damaged and cannot be set aside: %m: make its folder writable", s->path);
        return RC_IO;
    }
    enum rc rc = open_file(s, why, cap);
    if (rc != RC_OK)
        return rc;
    for (int i = 0; i < EVENT_LANES; i++) {
        /* with the floor gone too, milliseconds since 1970 are above any count of records a bus can have made */
        uint64_t above = floor_known ? s->floor[i] : (uint64_t)clock_wall_ms();
        if (above < 1)
            above = 1;
        s->floor[i] = above > s->floor[i] ? above : s->floor[i];
        s->next_seq[i] = s->settled_next[i] = s->first_seq[i] = above;
    }
    rc = outbox_store_begin(s);
    uint64_t kept = rc == RC_OK ? salvage(s, aside) : 0;
    for (int i = 0; rc == RC_OK && i < EVENT_LANES; i++) {
        s->lane[i] = (struct outbox_lane){.unsure = s->next_seq[i], .sent = {.through = s->next_seq[i] - 1}};
        s->dirty[i] = true;
        if (s->next_seq[i] > 1)
            outbox_store_gap(s, (enum event_lane)i, EVENT_GAP_DAMAGED, 1, s->next_seq[i] - 1, 0);
    }
    if (rc == RC_OK)
        rc = outbox_store_commit(s);
    if (rc != RC_OK) {
        snprintf(why, cap, "%s: %s", s->path, sqlite3_errmsg(s->db));
        outbox_store_rollback(s);
        return rc;
    }
    snprintf(note, cap, "%s; set aside as %s, %" PRIu64 " records saved from it, a new outbox begins", reason, aside, kept);
    return take_stock(s);
}

/*
 * A file put back from a copy, or a state kept while the file was deleted: never below the floor minus what one step can hold. A lane that never held
 * anything says nothing while the other one shows that the file is the old one.
 */
static void go_above_floor(struct outbox_store *s)
{
    bool fresh = true;
    for (int i = 0; i < EVENT_LANES; i++)
        fresh = fresh && s->next_seq[i] == 1;
    for (int i = 0; i < EVENT_LANES; i++)
        if (s->floor[i] > s->next_seq[i] + OUTBOX_FILE_FLOOR_STEP + OUTBOX_FILE_FLOOR_MARGIN || (fresh && s->floor[i] > 1)) {
            if (s->waiting[i] == 0)
                s->first_seq[i] = s->floor[i];
            s->next_seq[i] = s->floor[i];
            s->lane[i].unsure = s->next_seq[i];
            s->lane[i].sent = (struct wire_settled){.through = s->next_seq[i] - 1};
            s->dirty[i] = true;
        }
}

enum rc outbox_store_open(struct outbox_store *s, const char *path, char *note, char *why, size_t cap)
{
    struct outbox_store before = {.opened = s->opened};
    memcpy(before.settled_next, s->settled_next, sizeof before.settled_next);
    memcpy(before.lane, s->lane, sizeof before.lane);
    struct outbox_store kept = {
        .opened = s->opened,
        .damaged = s->damaged, .bytes_written = s->bytes_written, .boot = s->boot, .basis_ms = s->basis_ms, .quality = s->quality};
    memcpy(kept.known, s->known, sizeof kept.known);
    *s = kept;
    memcpy(s->settled_next, before.settled_next, sizeof s->settled_next);
    note[0] = '\0';
    if (strlen(path) > OUTBOX_STORE_PATH_MAX) {
        snprintf(why, cap, "%.100s...: longer than %d characters: choose a shorter state_dir", path, OUTBOX_STORE_PATH_MAX);
        return RC_INVALID;
    }
    snprintf(s->path, sizeof s->path, "%s", path);
    s->scratch = malloc(sizeof *s->scratch);
    s->gather = malloc(WIRE_BATCH_MAX * sizeof *s->gather);
    s->frame = malloc(WIRE_FRAME_MAX);
    if (s->scratch == NULL || s->gather == NULL || s->frame == NULL) {
        outbox_store_close(s);
        return RC_NO_MEMORY;
    }
    bool floor_known = outbox_file_floor_read(s);
    bool floor_lost = !floor_known && access(path, F_OK) == 0;
    enum rc rc = open_file(s, why, cap);
    if (rc == RC_CORRUPT || rc == RC_UNSUPPORTED || (rc == RC_IO && outbox_file_hopeless(path))) {
        char reason[256];
        snprintf(reason, sizeof reason, "%s", why);
        rc = begin_again(s, reason, floor_known, note, why, cap);
    } else if (rc == RC_OK && !floor_lost) {
        go_above_floor(s);
    }
    if (rc != RC_OK) {
        memcpy(s->lane, before.lane, sizeof s->lane); /* for the next try */
        memcpy(s->settled_next, before.settled_next, sizeof s->settled_next);
        outbox_store_close(s);
        return rc;
    }
    if (note[0] != '\0' || !go_on_sure(s, &before))
        begin_unsure(s);
    s->opened = true;
    memcpy(s->settled_next, s->next_seq, sizeof s->next_seq);
    outbox_file_floor_raise(s);
    outbox_store_reserve(s);
    return RC_OK;
}

/* --- rows --- */

static enum rc put_row(struct outbox_store *s, sqlite3_stmt *q, enum event_lane lane, uint64_t first, const struct event *e, size_t n, uint64_t boot,
                       int64_t basis_ms, size_t max, size_t *ret_len)
{
    struct outbox_row r = {.first = first, .n = n, .boot = boot, .basis_ms = boot == 0 ? 0 : basis_ms, .frame = s->frame};
    enum rc rc = wire_encode_batch(lane, first, false, e, n, s->frame, WIRE_FRAME_MAX, &r.len);
    if (rc == RC_FULL || (rc == RC_OK && r.len > max))
        rc = RC_END;
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int(q, 1, lane);
    sqlite3_bind_int64(q, 2, (sqlite3_int64)first);
    sqlite3_bind_int64(q, 3, (sqlite3_int64)n);
    sqlite3_bind_int64(q, 4, crc_of(lane, &r));
    if (boot != 0) {
        sqlite3_bind_int64(q, 5, (sqlite3_int64)boot);
        sqlite3_bind_int64(q, 6, basis_ms);
    }
    sqlite3_bind_blob(q, 7, s->frame, (int)r.len, SQLITE_STATIC);
    rc = db_run(q);
    sqlite3_clear_bindings(q);
    if (rc == RC_OK && ret_len != NULL)
        *ret_len = r.len;
    return rc;
}

bool outbox_row_sent(const struct wire_settled *sent, uint64_t first, uint64_t last)
{
    if (first <= sent->through)
        return true;
    for (size_t i = 0; i < sent->ranges; i++)
        if (first <= sent->range[i].to && last >= sent->range[i].from)
            return true;
    return false;
}

/* --- transactions --- */

void outbox_store_online(struct outbox_store *s)
{
    for (int i = 0; i < EVENT_LANES; i++) {
        s->lane[i].up = true;
        s->lane[i].unsure = 0;
        s->dirty[i] = true;
    }
}

void outbox_store_offline(struct outbox_store *s)
{
    for (int i = 0; i < EVENT_LANES; i++) {
        s->dirty[i] = s->dirty[i] || s->lane[i].up;
        s->lane[i].up = false;
    }
}

void outbox_row_less(struct outbox_store *s, enum event_lane lane, uint64_t n)
{
    s->waiting[lane] -= n < s->waiting[lane] ? n : s->waiting[lane];
}

enum rc outbox_store_begin(struct outbox_store *s)
{
    for (int i = 0; i < EVENT_LANES; i++) {
        s->undo[i].first = s->first_seq[i];
        s->undo[i].waiting = s->waiting[i];
        s->undo[i].lane = s->lane[i];
    }
    memset(s->gap, 0, sizeof s->gap);
    memcpy(s->next_seq, s->settled_next, sizeof s->next_seq);
    return db_run(s->begin);
}

void outbox_store_rollback(struct outbox_store *s)
{
    for (int i = 0; i < EVENT_LANES; i++) {
        s->first_seq[i] = s->undo[i].first;
        s->waiting[i] = s->undo[i].waiting;
        s->lane[i] = s->undo[i].lane;
        s->tail[i].n = 0;
    }
    memcpy(s->next_seq, s->settled_next, sizeof s->next_seq);
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

void outbox_store_gap(struct outbox_store *s, enum event_lane lane, enum event_gap_reason reason, uint64_t from, uint64_t to, uint64_t n)
{
    struct event_gap *g = &s->gap[lane][reason];
    uint64_t sum = g->n + n;
    bool none = g->to_seq == 0 && g->n == 0;
    g->lane = lane;
    g->reason = reason;
    g->n = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
    g->from_seq = none || from < g->from_seq ? from : g->from_seq;
    g->to_seq = to > g->to_seq ? to : g->to_seq;
}

/* Into a gap record of the same kind in the newest row, if no server can have seen it: a long outage needs a handful of them. RC_END: there is none.
 */
static enum rc join_gap(struct outbox_store *s, const struct event_gap *g)
{
    const enum event_lane lane = EVENT_LANE_URGENT;
    struct outbox_row r = {0};
    bool good = false;
    if (s->tail[lane].n == 0)
        return RC_END;
    sqlite3_bind_int(s->below, 1, lane);
    sqlite3_bind_int64(s->below, 2, (sqlite3_int64)s->tail[lane].first);
    if (sqlite3_step(s->below) == SQLITE_ROW) {
        outbox_row_take(s->below, &r);
        good = r.first == s->tail[lane].first && outbox_row_good(s, lane, &r);
    }
    sqlite3_reset(s->below);
    for (size_t i = r.n; good && i-- > 0;) {
        struct event_gap *old = &s->scratch->batch.event[i].gap;
        if (s->scratch->batch.event[i].kind != EVENT_GAP || old->lane != g->lane || old->reason != g->reason ||
            outbox_row_sent(&s->lane[lane].sent, r.first + i, r.first + i) || (old->n == 0) != (g->n == 0))
            continue;
        old->from_seq = old->from_seq < g->from_seq ? old->from_seq : g->from_seq;
        old->to_seq = old->to_seq > g->to_seq ? old->to_seq : g->to_seq;
        old->n = old->n > UINT32_MAX - g->n ? UINT32_MAX : old->n + g->n;
        return put_row(s, s->update, lane, r.first, s->scratch->batch.event, r.n, r.boot, r.basis_ms, WIRE_FRAME_MAX, NULL);
    }
    return RC_END;
}

static enum rc tell_gaps(struct outbox_store *s)
{
    enum rc rc = RC_OK;
    for (int i = 0; i < EVENT_LANES; i++)
        for (int k = 0; k < OUTBOX_STORE_REASONS && rc == RC_OK; k++) {
            const struct event_gap *g = &s->gap[i][k];
            if (g->to_seq == 0 && g->n == 0)
                continue;
            struct event e = {.time_ms = clock_mono_ms() + s->basis_ms, .kind = EVENT_GAP, .clock = s->quality, .gap = *g};
            if (s->basis_ms == 0) /* nobody said what time it is */
                e.time_ms = clock_wall_ms();
            rc = join_gap(s, g);
            if (rc == RC_END)
                rc = outbox_store_add(s, EVENT_LANE_URGENT, &e, 1);
        }
    return rc;
}

enum rc outbox_store_commit(struct outbox_store *s)
{
    enum rc rc = tell_gaps(s);
    outbox_file_floor_raise(s);
    for (int i = 0; i < EVENT_LANES && rc == RC_OK; i++)
        if (s->dirty[i])
            rc = write_state(s, (enum event_lane)i);
    if (rc == RC_OK)
        rc = db_run(s->commit);
    if (rc == RC_OK) {
        memcpy(s->settled_next, s->next_seq, sizeof s->next_seq);
        memset(s->dirty, 0, sizeof s->dirty);
    }
    return rc;
}

/* --- rows --- */

enum rc outbox_row_insert(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t n, uint64_t boot,
                          int64_t basis_ms, size_t max)
{
    return put_row(s, s->insert, lane, first, e, n, boot, basis_ms, max, NULL);
}

enum rc outbox_row_update(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t n)
{
    return put_row(s, s->update, lane, first, e, n, 0, 0, WIRE_FRAME_MAX, NULL);
}

/* Put n events of one clock at the end of the lane's last row. RC_END: they do not fit. */
static enum rc join_tail(struct outbox_store *s, enum event_lane lane, const struct event *e, size_t n, uint64_t boot)
{
    struct event *all = s->scratch->batch.event;
    struct outbox_row r;
    if (s->tail[lane].n == 0 || s->tail[lane].clock != e[0].clock || s->tail[lane].first + s->tail[lane].n != s->next_seq[lane] ||
        s->tail[lane].n + n > ROW_EVENTS || s->tail[lane].len >= ROW_GOOD_BYTES)
        return RC_END;
    sqlite3_bind_int(s->below, 1, lane);
    sqlite3_bind_int64(s->below, 2, (sqlite3_int64)s->tail[lane].first);
    int code = sqlite3_step(s->below);
    bool good = false;
    if (code == SQLITE_ROW) {
        outbox_row_take(s->below, &r);
        good = r.first == s->tail[lane].first && r.n == s->tail[lane].n && outbox_row_good(s, lane, &r);
    }
    sqlite3_reset(s->below);
    if (!good)
        return code == SQLITE_ROW || code == SQLITE_DONE ? RC_END : db_rc(code);
    for (size_t i = 0; i < n; i++) {
        all[r.n + i] = e[i];
        all[r.n + i].clock &= (uint8_t)~OUTBOX_STORE_RAW;
    }
    size_t len = 0;
    enum rc rc = put_row(s, s->update, lane, r.first, all, r.n + n, boot, s->basis_ms, ROW_GOOD_BYTES, &len);
    if (rc == RC_OK) {
        s->tail[lane].n += n;
        s->tail[lane].len = len;
    }
    return rc;
}

/* As many of n events of one clock as a good row holds, as a row of their own. */
static enum rc new_row(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t *n, uint64_t boot,
                       int64_t basis_ms, bool tail)
{
    size_t take = *n < ROW_EVENTS ? *n : ROW_EVENTS, len = 0;
    struct event *copy = s->scratch->batch.event;
    for (size_t i = 0; i < take; i++) {
        copy[i] = e[i];
        copy[i].clock &= (uint8_t)~OUTBOX_STORE_RAW;
    }
    enum rc rc;
    while ((rc = put_row(s, s->insert, lane, first, copy, take, boot, basis_ms, take > 1 ? ROW_GOOD_BYTES : WIRE_FRAME_MAX, &len)) == RC_END &&
           take > 1)
        take /= 2;
    if (rc != RC_OK)
        return rc;
    if (tail) {
        s->tail[lane].first = first;
        s->tail[lane].n = take;
        s->tail[lane].len = len;
        s->tail[lane].clock = e[0].clock;
    }
    *n = take;
    return RC_OK;
}

static size_t run_of(const struct event *e, size_t n)
{
    size_t run = 1;
    while (run < n && e[run].clock == e[0].clock)
        run++;
    return run;
}

enum rc outbox_row_insert_all(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t n, uint64_t boot,
                              int64_t basis_ms)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = run_of(e + i, n - i);
        enum rc rc = new_row(s, lane, first + i, e + i, &k, boot, basis_ms, false);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

enum rc outbox_store_add(struct outbox_store *s, enum event_lane lane, const struct event *e, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = run_of(e + i, n - i);
        uint64_t boot = (e[i].clock & OUTBOX_STORE_RAW) != 0 ? s->boot : 0;
        enum rc rc = join_tail(s, lane, e + i, k, boot);
        if (rc == RC_END)
            rc = new_row(s, lane, s->next_seq[lane], e + i, &k, boot, s->basis_ms, true);
        if (rc != RC_OK)
            return rc;
        if (s->waiting[lane] == 0)
            s->first_seq[lane] = s->next_seq[lane];
        s->next_seq[lane] += k;
        s->waiting[lane] += k;
    }
    return RC_OK;
}

enum rc outbox_row_delete(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t to)
{
    if (s->tail[lane].n > 0 && s->tail[lane].first >= from && s->tail[lane].first <= to)
        s->tail[lane].n = 0;
    s->dirty[lane] = true; /* the row that said the next number may be among them */
    sqlite3_bind_int(s->del, 1, lane);
    sqlite3_bind_int64(s->del, 2, (sqlite3_int64)from);
    sqlite3_bind_int64(s->del, 3, (sqlite3_int64)to);
    return db_run(s->del);
}

/* What is the oldest now? Also settles the books when the lane became empty. */
enum rc outbox_row_oldest(struct outbox_store *s, enum event_lane lane)
{
    sqlite3_bind_int(s->oldest, 1, lane);
    sqlite3_bind_int(s->oldest, 2, 1);
    int code = sqlite3_step(s->oldest);
    if (code == SQLITE_ROW)
        s->first_seq[lane] = (uint64_t)sqlite3_column_int64(s->oldest, 0);
    else if (code == SQLITE_DONE)
        s->first_seq[lane] = s->next_seq[lane];
    sqlite3_reset(s->oldest);
    return db_rc(code);
}

/* One row that the range cuts: read, delete, put back what is outside. A row that does not check out goes whole, and its loss is told. */
static enum rc cut_row(struct outbox_store *s, enum event_lane lane, uint64_t first, size_t n, uint64_t from, uint64_t to)
{
    bool good = false;
    struct outbox_row r = {0};
    sqlite3_bind_int(s->below, 1, lane);
    sqlite3_bind_int64(s->below, 2, (sqlite3_int64)first);
    int code = sqlite3_step(s->below);
    if (code == SQLITE_ROW) {
        outbox_row_take(s->below, &r);
        good = r.first == first && r.n == n && outbox_row_good(s, lane, &r);
    }
    sqlite3_reset(s->below);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? RC_CORRUPT : db_rc(code);
    enum rc rc = outbox_row_delete(s, lane, first, first);
    uint64_t last = first + n - 1;
    if (rc == RC_OK && !good) {
        uint64_t outside = (from > first ? from - first : 0) + (to < last ? last - to : 0);
        s->damaged += outside;
        outbox_row_less(s, lane, outside);
        outbox_store_gap(s, lane, EVENT_GAP_DAMAGED, first, last, outside);
        return RC_OK;
    }
    const struct event *e = s->scratch->batch.event;
    if (rc == RC_OK && from > first)
        rc = outbox_row_insert(s, lane, first, e, (size_t)(from - first), r.boot, r.basis_ms, WIRE_FRAME_MAX);
    if (rc == RC_OK && to < last)
        rc = outbox_row_insert(s, lane, to + 1, e + (to + 1 - first), (size_t)(last - to), r.boot, r.basis_ms, WIRE_FRAME_MAX);
    return rc;
}

enum rc outbox_store_forget(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t to, uint64_t *ret_n)
{
    struct {
        uint64_t first;
        size_t n;
    } cut[2];
    size_t cuts = 0;
    uint64_t gone = 0;
    if (from < 1 || to < from || to > INT64_MAX)
        return RC_INVALID;
    sqlite3_bind_int(s->overlap, 1, lane);
    sqlite3_bind_int64(s->overlap, 2, (sqlite3_int64)from);
    sqlite3_bind_int64(s->overlap, 3, (sqlite3_int64)to);
    int code;
    while ((code = sqlite3_step(s->overlap)) == SQLITE_ROW) {
        uint64_t first = (uint64_t)sqlite3_column_int64(s->overlap, 0), last = first + (uint64_t)sqlite3_column_int64(s->overlap, 1) - 1;
        if (last < from)
            continue;
        gone += (last < to ? last : to) - (first > from ? first : from) + 1;
        if ((first < from || last > to) && cuts < 2) {
            cut[cuts].first = first;
            cut[cuts++].n = (size_t)(last - first + 1);
        }
    }
    sqlite3_reset(s->overlap);
    enum rc rc = db_rc(code);
    if (rc != RC_OK || gone == 0) {
        if (rc == RC_OK)
            *ret_n = 0;
        return rc;
    }
    for (size_t i = 0; rc == RC_OK && i < cuts; i++)
        rc = cut_row(s, lane, cut[i].first, cut[i].n, from, to);
    if (rc == RC_OK) /* rows put back below begin above `to`, or below `from`: whole rows inside only */
        rc = outbox_row_delete(s, lane, from, to);
    if (rc == RC_OK) {
        outbox_row_less(s, lane, gone);
        rc = outbox_row_oldest(s, lane);
    }
    if (rc == RC_OK)
        *ret_n = gone;
    return rc;
}

enum rc outbox_store_rebase(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t above)
{
    if (above < from || from < 1 || above > INT64_MAX / 2 || s->next_seq[lane] < from)
        return RC_INVALID;
    const uint64_t by = above + 1 - from;
    enum rc rc = RC_OK;
    /* from the highest down, so that none meets another on the way */
    for (uint64_t below = s->next_seq[lane]; rc == RC_OK && below > from;) {
        struct outbox_row r = {0};
        sqlite3_bind_int(s->below, 1, lane);
        sqlite3_bind_int64(s->below, 2, (sqlite3_int64)below - 1);
        int code = sqlite3_step(s->below);
        bool good = false;
        if (code == SQLITE_ROW) {
            outbox_row_take(s->below, &r);
            good = outbox_row_good(s, lane, &r);
        }
        sqlite3_reset(s->below);
        if (code != SQLITE_ROW || r.first < from) {
            rc = code == SQLITE_DONE ? RC_OK : db_rc(code);
            break;
        }
        rc = outbox_row_delete(s, lane, r.first, r.first);
        if (rc == RC_OK && good)
            rc = outbox_row_insert(s, lane, r.first + by, s->scratch->batch.event, r.n, r.boot, r.basis_ms, WIRE_FRAME_MAX);
        else if (rc == RC_OK) {
            s->damaged += r.n;
            outbox_row_less(s, lane, r.n);
            outbox_store_gap(s, lane, EVENT_GAP_DAMAGED, r.first + by, r.first + by + r.n - 1, r.n);
        }
        below = r.first;
    }
    if (rc == RC_OK) {
        s->next_seq[lane] += by;
        s->lane[lane].sent.ranges = 0;
        if (s->lane[lane].sent.through >= from)
            s->lane[lane].sent.through = from - 1;
        s->dirty[lane] = true;
        s->tail[lane].n = 0;
        rc = outbox_row_oldest(s, lane);
    }
    return rc;
}

/* --- reading --- */

struct gather {
    struct event *e;
    size_t n, max;
    uint64_t first;
    bool bad; /* a row that does not check out: to be dropped */
    uint64_t bad_first;
};

/* Take the wanted part of one row. False: the batch ends before or within this row. */
static bool take_row(struct outbox_store *s, enum event_lane lane, struct gather *g, const struct outbox_row *r, uint64_t from_seq, uint64_t to_seq)
{
    if (g->n > 0 && r->first != g->first + g->n)
        return false;
    if (!outbox_row_good(s, lane, r)) {
        g->bad = true;
        g->bad_first = r->first;
        return false;
    }
    const struct event *e = s->scratch->batch.event;
    if (g->n > 0 && e[0].clock != g->e[0].clock)
        return false;
    for (size_t i = r->first < from_seq ? (size_t)(from_seq - r->first) : 0; i < r->n; i++) {
        if (g->n == g->max || r->first + i > to_seq)
            return false;
        if (g->n == 0)
            g->first = r->first + i;
        g->e[g->n++] = e[i];
    }
    return true;
}

/* The end of what is kept below seq, 0 if nothing is. */
static enum rc end_below(struct outbox_store *s, enum event_lane lane, uint64_t seq, uint64_t *ret_end)
{
    sqlite3_bind_int(s->below, 1, lane);
    sqlite3_bind_int64(s->below, 2, (sqlite3_int64)seq - 1);
    int code = sqlite3_step(s->below);
    struct outbox_row r = {.first = 1};
    if (code == SQLITE_ROW)
        outbox_row_take(s->below, &r);
    sqlite3_reset(s->below);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return db_rc(code);
    uint64_t end = r.first + r.n - 1;
    *ret_end = end < seq ? end : seq - 1;
    return RC_OK;
}

bool outbox_store_has(struct outbox_store *s, enum event_lane lane, uint64_t seq)
{
    uint64_t end = 0;
    return end_below(s, lane, seq + 1, &end) == RC_OK && end >= seq;
}

/* Drop a row that does not check out. Its own n cannot be trusted: what is missing lies between its neighbours. */
static enum rc drop_bad(struct outbox_store *s, enum event_lane lane, uint64_t first)
{
    uint64_t next = s->settled_next[lane];
    sqlite3_stmt *q = NULL;
    enum rc rc = db_prepare(s->db, "SELECT min(first_seq) FROM outbox WHERE lane = ?1 AND first_seq > ?2", &q);
    if (rc == RC_OK) {
        sqlite3_bind_int(q, 1, lane);
        sqlite3_bind_int64(q, 2, (sqlite3_int64)first);
        if (sqlite3_step(q) == SQLITE_ROW && sqlite3_column_type(q, 0) != SQLITE_NULL)
            next = (uint64_t)sqlite3_column_int64(q, 0);
        sqlite3_finalize(q);
    }
    uint64_t n = next > first ? next - first : 1;
    if (rc == RC_OK)
        rc = outbox_store_begin(s);
    if (rc == RC_OK)
        rc = outbox_row_delete(s, lane, first, first);
    if (rc == RC_OK) {
        outbox_row_less(s, lane, n);
        outbox_store_gap(s, lane, EVENT_GAP_DAMAGED, first, first + n - 1, n);
        rc = outbox_row_oldest(s, lane);
    }
    if (rc == RC_OK)
        rc = outbox_store_commit(s);
    if (rc != RC_OK)
        outbox_store_rollback(s);
    else
        s->damaged += n;
    return rc;
}

static enum rc gather_rows(struct outbox_store *s, enum event_lane lane, uint64_t from_seq, uint64_t to_seq, struct gather *g)
{
    enum rc rc;
    do {
        g->n = 0;
        g->bad = false;
        sqlite3_bind_int(s->range, 1, lane);
        sqlite3_bind_int64(s->range, 2, (sqlite3_int64)from_seq);
        sqlite3_bind_int64(s->range, 3, to_seq > INT64_MAX ? INT64_MAX : (sqlite3_int64)to_seq);
        int code;
        while ((code = sqlite3_step(s->range)) == SQLITE_ROW) {
            struct outbox_row r;
            outbox_row_take(s->range, &r);
            if (r.n >= 1 && r.n <= WIRE_BATCH_MAX && r.first + r.n <= from_seq)
                continue;
            if (!take_row(s, lane, g, &r, from_seq, to_seq))
                break;
        }
        sqlite3_reset(s->range);
        rc = db_rc(code);
        if (rc == RC_OK && g->bad)
            rc = drop_bad(s, lane, g->bad_first);
    } while (rc == RC_OK && g->bad && g->n == 0);
    return rc == RC_OK && g->n == 0 ? RC_END : rc;
}

enum rc outbox_store_read(struct outbox_store *s, enum event_lane lane, uint64_t from_seq, uint64_t to_seq, size_t max_events, bool backlog,
                          void *buf, size_t cap, size_t *ret_len, uint64_t *ret_first, size_t *ret_n)
{
    if (from_seq < 1)
        from_seq = 1;
    if (from_seq > to_seq || from_seq > INT64_MAX)
        return RC_END;
    if (max_events < 1 || max_events > WIRE_BATCH_MAX)
        max_events = WIRE_BATCH_MAX;
    struct gather g = {.max = max_events, .e = s->gather};
    uint64_t below = 0;
    enum rc rc = gather_rows(s, lane, from_seq, to_seq, &g);
    if (rc == RC_OK)
        rc = end_below(s, lane, g.first, &below);
    if (rc == RC_OK) {
        size_t len = 0, n = g.n;
        below = below > s->known[lane] ? below : s->known[lane];
        uint64_t skipped = below + 1 < g.first ? g.first - below - 1 : 0;
        while ((rc = wire_encode_batch_after(lane, g.first, skipped, backlog, g.e, n, buf, cap, &len)) == RC_FULL && n > 1)
            n /= 2;
        if (rc == RC_OK) {
            *ret_len = len;
            *ret_first = g.first;
            *ret_n = n;
            if (wire_settle(&s->lane[lane].sent, g.first, g.first + n - 1) != RC_OK) /* a 65th range: all below may have been */
                s->lane[lane].sent = (struct wire_settled){.through = s->settled_next[lane] - 1};
        }
    }
    return rc;
}
