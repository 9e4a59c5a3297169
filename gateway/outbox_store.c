#include "outbox_store.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../core/base/clock.h"

/*
 * The row first_seq = 0 is not a record: its n is the lane's next sequence, its to_ms is 1 once records of this file may have been sent. It lives in the same tree as the records because the oldest records, which
 * acks delete, are its neighbours: a commit of a connected bus touches one page instead of two or three, and pages written are what wears an SD card.
 */
static const char *const schema[] = {
    "CREATE TABLE outbox (lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, n INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,"
    " crc INTEGER NOT NULL, frame BLOB NOT NULL, PRIMARY KEY (lane, first_seq)) WITHOUT ROWID;"
    "INSERT INTO outbox VALUES (0, 0, 1, 0, 0, 0, x''), (1, 0, 1, 0, 0, 0, x'');",
};

enum { FLOOR_STEP = 100000, FLOOR_MARGIN = 10000, WAL_PAGES = 500, BAD_KEPT = 3, ROW_BYTES = WIRE_FRAME_MAX,
       RESERVE_BYTES = (WAL_PAGES * 4 + 256) << 10 }; /* a WAL of new pages can be settled in it, and alarms on top */

/* CRC-32 of IEEE 802.3 (reflected, 0xEDB88320), bit by bit: rows are a few hundred bytes. */
static uint32_t crc32_of(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = (crc >> 1) ^ (0xEDB88320U & (0U - (crc & 1U)));
    }
    return ~crc;
}

/* --- the floor file --- */

static void floor_path(const struct outbox_store *s, const char *end, char *out, size_t cap)
{
    snprintf(out, cap, "%s.floor%s", s->path, end);
}

static bool floor_read(struct outbox_store *s)
{
    char path[PATH_MAX], text[128];
    floor_path(s, "", path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    uint64_t lane[EVENT_LANES];
    uint32_t crc;
    int body = 0;
    if (sscanf(text, "schoolward outbox floor %" SCNu64 " %" SCNu64 "%n %" SCNx32, &lane[0], &lane[1], &body, &crc) != 3 || body == 0 ||
        crc32_of(text, (size_t)body) != crc || lane[0] > INT64_MAX / 2 || lane[1] > INT64_MAX / 2)
        return false;
    for (int i = 0; i < EVENT_LANES; i++)
        s->floor[i] = lane[i];
    return true;
}

static bool sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        slash[1] = '\0';
    else if (slash != NULL)
        *slash = '\0';
    int fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = fsync(fd) == 0;
    close(fd);
    return done;
}

static bool floor_write(const struct outbox_store *s, const uint64_t lane[EVENT_LANES])
{
    char path[PATH_MAX], next[PATH_MAX], text[128];
    floor_path(s, "", path, sizeof path);
    floor_path(s, ".new", next, sizeof next);
    int n = snprintf(text, sizeof text, "schoolward outbox floor %" PRIu64 " %" PRIu64, lane[0], lane[1]);
    n += snprintf(text + n, sizeof text - (size_t)n, " %08" PRIx32 "\n", crc32_of(text, (size_t)n));
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool done = write(fd, text, (size_t)n) == n && fsync(fd) == 0;
    if (close(fd) != 0 || !done || rename(next, path) != 0) {
        unlink(next);
        return false;
    }
    return sync_folder_of(path);
}

/* Keep the floor ahead of what is given out. Failing is no reason to stop: it is tried again at the next commit, 10,000 records ahead of need. */
static void floor_raise(struct outbox_store *s)
{
    uint64_t lane[EVENT_LANES];
    bool low = false;
    for (int i = 0; i < EVENT_LANES; i++) {
        lane[i] = s->floor[i];
        if (s->next_seq[i] + FLOOR_MARGIN > s->floor[i]) {
            lane[i] = s->next_seq[i] + FLOOR_STEP;
            low = true;
        }
    }
    if (low && floor_write(s, lane))
        memcpy(s->floor, lane, sizeof lane);
}

/* --- room for the worst hour --- */

static void reserve_path(const struct outbox_store *s, char *out, size_t cap)
{
    snprintf(out, cap, "%s.reserve", s->path);
}

void outbox_store_reserve(struct outbox_store *s)
{
    char path[PATH_MAX];
    if (s->reserved)
        return;
    reserve_path(s, path, sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    s->reserved = posix_fallocate(fd, 0, RESERVE_BYTES) == 0;
    close(fd);
    if (!s->reserved)
        unlink(path);
}

void outbox_store_release(struct outbox_store *s)
{
    char path[PATH_MAX];
    reserve_path(s, path, sizeof path);
    unlink(path);
    s->reserved = false;
}

static void settle(struct outbox_store *s, sqlite3 *db, const char *name)
{
    int in_wal = 0, done = 0;
    if (sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, &in_wal, &done) == SQLITE_OK && done == in_wal)
        s->wal_pages = 0; /* the next commit begins the WAL again from its start */
}

void outbox_store_settle(struct outbox_store *s)
{
    settle(s, s->db, NULL);
}

/* --- opening --- */

/* Count the pages the card had to take; and checkpoint, because a hook of one's own replaces SQLite's automatic one. */
static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct outbox_store *s = arg;
    int grown = pages > s->wal_pages ? pages - s->wal_pages : pages;
    s->wal_pages = pages;
    s->bytes_written += (uint64_t)grown * (uint64_t)(s->page_bytes + 24);
    if (pages >= WAL_PAGES)
        settle(s, db, name);
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

int64_t outbox_store_used(struct outbox_store *s)
{
    int64_t pages = one_number(s->db, "PRAGMA page_count"), unused = one_number(s->db, "PRAGMA freelist_count");
    return pages < 0 || unused < 0 ? -1 : (pages - unused) * s->page_bytes;
}

int64_t outbox_store_free_pages(struct outbox_store *s)
{
    return one_number(s->db, "PRAGMA freelist_count");
}

static enum rc prepare_all(struct outbox_store *s)
{
    struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } all[] = {
        {&s->insert, "INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
        {&s->state, "UPDATE outbox SET n = ?2 WHERE lane = ?1 AND first_seq = 0"},
        /* from the row that may hold ?2 in its middle */
        {&s->range, "SELECT first_seq, n, crc, frame FROM outbox WHERE lane = ?1 AND first_seq > 0 AND first_seq <= ?3 AND first_seq >="
                    " ifnull((SELECT max(first_seq) FROM outbox WHERE lane = ?1 AND first_seq > 0 AND first_seq <= ?2), ?2) ORDER BY first_seq"},
        {&s->del, "DELETE FROM outbox WHERE lane = ?1 AND first_seq >= ?2 AND first_seq <= ?3 AND first_seq > 0"},
        {&s->oldest, "SELECT first_seq, n FROM outbox WHERE lane = ?1 AND first_seq > 0 ORDER BY first_seq LIMIT ?2"},
        {&s->overlap, "SELECT first_seq, n FROM outbox WHERE lane = ?1 AND first_seq > 0 AND first_seq <= ?3 AND first_seq >="
                      " ifnull((SELECT max(first_seq) FROM outbox WHERE lane = ?1 AND first_seq > 0 AND first_seq <= ?2), ?2) ORDER BY first_seq"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        enum rc rc = db_prepare(s->db, all[i].sql, all[i].stmt);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* The figures kept in memory, from the file. */
static enum rc take_stock(struct outbox_store *s)
{
    sqlite3_stmt *q = NULL;
    enum rc rc = db_prepare(s->db,
                            "SELECT lane, max(CASE WHEN first_seq = 0 THEN n ELSE 0 END), sum(CASE WHEN first_seq > 0 THEN n ELSE 0 END),"
                            " min(CASE WHEN first_seq > 0 THEN first_seq END), max(first_seq + CASE WHEN first_seq > 0 THEN n ELSE 0 END),"
                            " max(CASE WHEN first_seq = 0 THEN to_ms ELSE 0 END) FROM outbox GROUP BY lane",
                            &q);
    if (rc != RC_OK)
        return rc;
    unsigned seen = 0;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        int lane = sqlite3_column_int(q, 0);
        if (lane < 0 || lane >= EVENT_LANES)
            continue;
        int64_t next = sqlite3_column_int64(q, 1), after = sqlite3_column_int64(q, 4);
        if (next < 1)
            continue;
        seen |= 1U << lane;
        s->sent = s->sent || sqlite3_column_int64(q, 5) != 0;
        s->next_seq[lane] = (uint64_t)(next > after ? next : after);
        s->waiting[lane] = (uint64_t)sqlite3_column_int64(q, 2);
        s->first_seq[lane] = sqlite3_column_type(q, 3) == SQLITE_NULL ? s->next_seq[lane] : (uint64_t)sqlite3_column_int64(q, 3);
    }
    sqlite3_finalize(q);
    if (code != SQLITE_DONE)
        return db_rc(code);
    return seen == (1U << EVENT_LANES) - 1 ? RC_OK : RC_CORRUPT;
}

static enum rc write_state(struct outbox_store *s, enum event_lane lane)
{
    sqlite3_bind_int(s->state, 1, lane);
    sqlite3_bind_int64(s->state, 2, (sqlite3_int64)s->next_seq[lane]);
    return db_run(s->state);
}

static void finalize_all(struct outbox_store *s)
{
    sqlite3_stmt **all[] = {&s->insert, &s->state, &s->range, &s->del, &s->oldest, &s->overlap};
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
    s->scratch = NULL;
}

static enum rc open_file(struct outbox_store *s, char *why, size_t cap)
{
    enum rc rc = db_open(s->path, DB_SYNC_FULL, &s->db, why, cap);
    if (rc != RC_OK)
        return rc;
    /* the working set is a handful of pages; the gateway's whole budget is 8 MB */
    rc = db_exec(s->db, "PRAGMA cache_size=-128; PRAGMA journal_size_limit=4194304; PRAGMA temp_store=MEMORY");
    if (rc == RC_OK)
        rc = db_migrate(s->db, schema, (int)(sizeof schema / sizeof schema[0]), why, cap);
    if (rc == RC_OK) {
        rc = prepare_all(s);
        if (rc == RC_OK)
            rc = take_stock(s);
        if (rc != RC_OK) /* a table or column that is not there is as unreadable as a broken page */
            snprintf(why, cap, "%s: %s", s->path, rc == RC_CORRUPT ? "lane state is missing" : sqlite3_errmsg(s->db));
        if (rc == RC_IO && sqlite3_errcode(s->db) == SQLITE_ERROR)
            rc = RC_CORRUPT;
    }
    if (rc == RC_OK) {
        s->page_bytes = (int)one_number(s->db, "PRAGMA page_size");
        s->wal_pages = 0;
        sqlite3_wal_hook(s->db, on_wal, s);
        return RC_OK;
    }
    finalize_all(s);
    db_close(s->db);
    s->db = NULL;
    return rc;
}

/* --- setting a broken file aside --- */

static void drop_old_bad(const struct outbox_store *s)
{
    char pattern[PATH_MAX];
    snprintf(pattern, sizeof pattern, "%s.bad-*Z", s->path);
    glob_t found;
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i + BAD_KEPT < found.gl_pathc; i++) { /* sorted, and the names are times */
            char wal[PATH_MAX + 8];
            snprintf(wal, sizeof wal, "%s-wal", found.gl_pathv[i]);
            unlink(found.gl_pathv[i]);
            unlink(wal);
        }
    }
    globfree(&found);
}

static bool set_aside(const struct outbox_store *s, char *aside, size_t cap)
{
    char from[PATH_MAX], to[PATH_MAX + 8], when[32];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(aside, cap, "%s.bad-%s", s->path, when);
    if (rename(s->path, aside) != 0)
        return false;
    snprintf(from, sizeof from, "%s-wal", s->path);
    snprintf(to, sizeof to, "%s-wal", aside);
    if (rename(from, to) != 0 && errno != ENOENT)
        return false;
    snprintf(from, sizeof from, "%s-shm", s->path);
    unlink(from);
    drop_old_bad(s);
    return true;
}

/* Rows of the broken file that can still be read and check out keep their numbers: for the server they are the same records. */
static uint64_t salvage(struct outbox_store *s, const char *aside)
{
    sqlite3 *old = NULL;
    sqlite3_stmt *q = NULL;
    uint64_t kept = 0;
    uint64_t top[EVENT_LANES] = {0, 0};
    if (sqlite3_open_v2(aside, &old, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK || outbox_store_begin(s) != RC_OK) {
        sqlite3_close_v2(old);
        return 0;
    }
    for (int lane = EVENT_LANES - 1; lane >= 0; lane--) { /* alarms first: reading may fail at any row */
        if (sqlite3_prepare_v2(old, "SELECT first_seq, n, from_ms, to_ms, crc, frame FROM outbox WHERE lane = ?1 AND first_seq > 0 ORDER BY first_seq",
                               -1, &q, NULL) != SQLITE_OK)
            break;
        sqlite3_bind_int(q, 1, lane);
        while (sqlite3_step(q) == SQLITE_ROW) {
            const void *frame = sqlite3_column_blob(q, 5);
            size_t len = (size_t)sqlite3_column_bytes(q, 5);
            int64_t first = sqlite3_column_int64(q, 0), n = sqlite3_column_int64(q, 1);
            const char *fault;
            if (frame == NULL || len > ROW_BYTES || first <= (int64_t)top[lane] || n < 1 || n > WIRE_BATCH_MAX || (uint64_t)(first + n) > s->floor[lane] ||
                crc32_of(frame, len) != (uint32_t)sqlite3_column_int64(q, 4) || wire_decode(frame, len, s->scratch, &fault) != RC_OK ||
                s->scratch->kind != WIRE_BATCH || s->scratch->batch.n != (size_t)n)
                continue;
            sqlite3_bind_int(s->insert, 1, lane);
            for (int i = 0; i < 6; i++)
                sqlite3_bind_value(s->insert, i + 2, sqlite3_column_value(q, i));
            if (db_run(s->insert) != RC_OK)
                break;
            top[lane] = (uint64_t)(first + n - 1);
            kept += (uint64_t)n;
        }
        sqlite3_finalize(q);
        q = NULL;
    }
    sqlite3_close_v2(old);
    sqlite3_clear_bindings(s->insert);
    if (outbox_store_commit(s) != RC_OK) {
        outbox_store_rollback(s);
        return 0;
    }
    return kept;
}

enum rc outbox_store_open(struct outbox_store *s, const char *path, char *note, char *why, size_t cap)
{
    uint64_t damaged = s->damaged, bytes = s->bytes_written;
    *s = (struct outbox_store){.damaged = damaged, .bytes_written = bytes};
    note[0] = '\0';
    if (strlen(path) > OUTBOX_STORE_PATH_MAX) {
        snprintf(why, cap, "%s: longer than %d characters: choose a shorter state_dir", path, OUTBOX_STORE_PATH_MAX);
        return RC_INVALID;
    }
    snprintf(s->path, sizeof s->path, "%s", path);
    s->scratch = malloc(sizeof *s->scratch);
    if (s->scratch == NULL)
        return RC_NO_MEMORY;
    bool floor_known = floor_read(s);
    bool floor_lost = !floor_known && access(path, F_OK) == 0;
    enum rc rc = open_file(s, why, cap);
    if (rc == RC_CORRUPT) {
        char aside[PATH_MAX], reason[256];
        snprintf(reason, sizeof reason, "%s", why);
        if (!set_aside(s, aside, sizeof aside)) {
            snprintf(why, cap, "%s is damaged and cannot be set aside: %m: make its folder writable", path);
            rc = RC_IO;
        } else {
            rc = open_file(s, why, cap);
            /* with the floor gone too, milliseconds since 1970 are above any count of records a bus can have made */
            for (int i = 0; rc == RC_OK && i < EVENT_LANES; i++) {
                uint64_t above = floor_known ? s->floor[i] : (uint64_t)clock_wall_ms();
                s->floor[i] = above > s->floor[i] ? above : s->floor[i];
                s->next_seq[i] = s->settled_next[i] = s->first_seq[i] = above;
            }
            for (int i = 0; rc == RC_OK && i < EVENT_LANES; i++)
                rc = write_state(s, (enum event_lane)i);
            uint64_t kept = rc == RC_OK ? salvage(s, aside) : 0;
            if (rc == RC_OK)
                rc = outbox_store_mark_sent(s);
            if (rc == RC_OK)
                rc = take_stock(s);
            snprintf(note, cap, "%s; set aside as %s, %" PRIu64 " records saved from it, a new outbox begins", reason, aside, kept);
        }
    } else if (rc == RC_OK && !floor_lost) {
        /*
         * A file put back from a copy, or a state kept while the file was deleted: never below the floor minus what one step can hold. A lane that never
         * held anything says nothing while the other one shows that the file is the old one.
         */
        bool fresh = true;
        for (int i = 0; i < EVENT_LANES; i++)
            fresh = fresh && s->next_seq[i] == 1;
        for (int i = 0; i < EVENT_LANES; i++)
            if (s->floor[i] > s->next_seq[i] + FLOOR_STEP + FLOOR_MARGIN || (fresh && s->floor[i] > 1)) {
                if (s->waiting[i] == 0)
                    s->first_seq[i] = s->floor[i];
                s->next_seq[i] = s->settled_next[i] = s->floor[i];
                rc = write_state(s, (enum event_lane)i);
                if (rc == RC_OK)
                    rc = outbox_store_mark_sent(s);
                if (rc != RC_OK)
                    break;
            }
    }
    if (rc != RC_OK) {
        outbox_store_close(s);
        return rc;
    }
    memcpy(s->settled_next, s->next_seq, sizeof s->next_seq);
    floor_raise(s);
    outbox_store_reserve(s);
    return RC_OK;
}

/* --- transactions --- */

enum rc outbox_store_mark_sent(struct outbox_store *s)
{
    if (s->sent)
        return RC_OK;
    enum rc rc = db_exec(s->db, "UPDATE outbox SET to_ms = 1 WHERE first_seq = 0");
    s->sent = rc == RC_OK;
    return rc;
}

static void no_longer_waiting(struct outbox_store *s, enum event_lane lane, uint64_t n)
{
    s->waiting[lane] -= n < s->waiting[lane] ? n : s->waiting[lane];
}

enum rc outbox_store_begin(struct outbox_store *s)
{
    memcpy(s->undo_first, s->first_seq, sizeof s->first_seq);
    memcpy(s->undo_waiting, s->waiting, sizeof s->waiting);
    memcpy(s->next_seq, s->settled_next, sizeof s->next_seq);
    return db_exec(s->db, "BEGIN IMMEDIATE");
}

void outbox_store_rollback(struct outbox_store *s)
{
    memcpy(s->first_seq, s->undo_first, sizeof s->first_seq);
    memcpy(s->waiting, s->undo_waiting, sizeof s->waiting);
    memcpy(s->next_seq, s->settled_next, sizeof s->next_seq);
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

enum rc outbox_store_commit(struct outbox_store *s)
{
    floor_raise(s);
    for (int i = 0; i < EVENT_LANES; i++) {
        if (s->next_seq[i] == s->settled_next[i])
            continue;
        enum rc rc = write_state(s, (enum event_lane)i);
        if (rc != RC_OK)
            return rc;
    }
    enum rc rc = db_exec(s->db, "COMMIT");
    if (rc == RC_OK)
        memcpy(s->settled_next, s->next_seq, sizeof s->next_seq);
    return rc;
}

static enum rc insert_row(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t n)
{
    static const size_t room = ROW_BYTES;
    uint8_t *frame = malloc(room);
    size_t len = 0;
    if (frame == NULL)
        return RC_NO_MEMORY;
    int64_t from = e[0].time_ms, to = from;
    for (size_t i = 1; i < n; i++) {
        from = e[i].time_ms < from ? e[i].time_ms : from;
        to = e[i].time_ms > to ? e[i].time_ms : to;
    }
    enum rc rc = wire_encode_batch(lane, first, false, e, n, frame, room, &len);
    if (rc == RC_OK) {
        sqlite3_bind_int(s->insert, 1, lane);
        sqlite3_bind_int64(s->insert, 2, (sqlite3_int64)first);
        sqlite3_bind_int64(s->insert, 3, (sqlite3_int64)n);
        sqlite3_bind_int64(s->insert, 4, from);
        sqlite3_bind_int64(s->insert, 5, to);
        sqlite3_bind_int64(s->insert, 6, crc32_of(frame, len));
        sqlite3_bind_blob(s->insert, 7, frame, (int)len, SQLITE_STATIC);
        rc = db_run(s->insert);
        sqlite3_clear_bindings(s->insert);
    }
    free(frame);
    return rc;
}

enum rc outbox_store_add(struct outbox_store *s, enum event_lane lane, const struct event *e, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t run = 1;
        while (i + run < n && e[i + run].clock == e[i].clock)
            run++;
        enum rc rc = insert_row(s, lane, s->next_seq[lane], e + i, run);
        if (rc != RC_OK)
            return rc;
        if (s->waiting[lane] == 0)
            s->first_seq[lane] = s->next_seq[lane];
        s->next_seq[lane] += run;
        s->waiting[lane] += run;
        i += run;
    }
    return RC_OK;
}

static enum rc delete_rows(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t to)
{
    sqlite3_bind_int(s->del, 1, lane);
    sqlite3_bind_int64(s->del, 2, (sqlite3_int64)from);
    sqlite3_bind_int64(s->del, 3, (sqlite3_int64)to);
    return db_run(s->del);
}

/* What is the oldest now? Also settles the books when the lane became empty. */
static enum rc find_oldest(struct outbox_store *s, enum event_lane lane)
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

/* One row that the range cuts: read, delete, put back what is outside. A row that does not check out goes whole. */
static enum rc cut_row(struct outbox_store *s, enum event_lane lane, uint64_t first, size_t n, uint64_t from, uint64_t to)
{
    const char *fault;
    bool good = false;
    sqlite3_bind_int(s->range, 1, lane);
    sqlite3_bind_int64(s->range, 2, (sqlite3_int64)first);
    sqlite3_bind_int64(s->range, 3, (sqlite3_int64)first);
    int code = sqlite3_step(s->range);
    if (code == SQLITE_ROW) {
        const void *frame = sqlite3_column_blob(s->range, 3);
        size_t len = (size_t)sqlite3_column_bytes(s->range, 3);
        good = frame != NULL && crc32_of(frame, len) == (uint32_t)sqlite3_column_int64(s->range, 2) &&
               wire_decode(frame, len, s->scratch, &fault) == RC_OK && s->scratch->kind == WIRE_BATCH && s->scratch->batch.n == n;
    }
    sqlite3_reset(s->range);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? RC_CORRUPT : db_rc(code);
    enum rc rc = delete_rows(s, lane, first, first);
    if (rc == RC_OK && !good) {
        size_t outside = (from > first ? (size_t)(from - first) : 0) + (to < first + n - 1 ? (size_t)(first + n - 1 - to) : 0);
        s->damaged += outside;
        no_longer_waiting(s, lane, outside);
        return RC_OK;
    }
    const struct event *e = s->scratch->batch.event;
    if (rc == RC_OK && from > first)
        rc = insert_row(s, lane, first, e, (size_t)(from - first));
    if (rc == RC_OK && to < first + n - 1)
        rc = insert_row(s, lane, to + 1, e + (to + 1 - first), (size_t)(first + n - 1 - to));
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
        rc = delete_rows(s, lane, from, to);
    if (rc == RC_OK) {
        no_longer_waiting(s, lane, gone);
        rc = find_oldest(s, lane);
    }
    if (rc == RC_OK)
        *ret_n = gone;
    return rc;
}

enum rc outbox_store_shed(struct outbox_store *s, enum event_lane lane, int rows, uint64_t *ret_n)
{
    uint64_t last = 0, gone = 0;
    sqlite3_bind_int(s->oldest, 1, lane);
    sqlite3_bind_int(s->oldest, 2, rows);
    int code;
    while ((code = sqlite3_step(s->oldest)) == SQLITE_ROW) {
        last = (uint64_t)sqlite3_column_int64(s->oldest, 0);
        gone += (uint64_t)sqlite3_column_int64(s->oldest, 1);
    }
    sqlite3_reset(s->oldest);
    enum rc rc = db_rc(code);
    if (rc == RC_OK && gone > 0)
        rc = delete_rows(s, lane, 1, last);
    if (rc == RC_OK && gone > 0) {
        no_longer_waiting(s, lane, gone);
        rc = find_oldest(s, lane);
    }
    if (rc == RC_OK)
        *ret_n = gone;
    return rc;
}

enum rc outbox_store_rebase(struct outbox_store *s, enum event_lane lane, uint64_t above)
{
    char sql[256];
    if (above < s->next_seq[lane] || above > INT64_MAX / 2)
        return RC_INVALID;
    uint64_t by = above + 1 - s->first_seq[lane];
    /* keys move up by more than the span of all of them (above >= next), so none meets another on the way */
    snprintf(sql, sizeof sql, "UPDATE outbox SET first_seq = first_seq + %" PRIu64 " WHERE lane = %d AND first_seq > 0", by, (int)lane);
    enum rc rc = db_exec(s->db, sql);
    if (rc == RC_OK) {
        s->first_seq[lane] += by;
        s->next_seq[lane] += by;
    }
    return rc;
}

/* --- reading --- */

struct gather {
    struct event *e;
    size_t n, max;
    uint64_t first;
    uint64_t bad_first; /* row to drop, 0 = none */
    size_t bad_n;
};

/* Take the wanted part of one row. False: the batch ends before or within this row. */
static bool take_row(struct outbox_store *s, struct gather *g, uint64_t first, size_t n, uint64_t from_seq, uint64_t to_seq)
{
    const void *frame = sqlite3_column_blob(s->range, 3);
    size_t len = (size_t)sqlite3_column_bytes(s->range, 3);
    const char *fault;
    if (g->n > 0 && first != g->first + g->n)
        return false;
    if (frame == NULL || crc32_of(frame, len) != (uint32_t)sqlite3_column_int64(s->range, 2) || wire_decode(frame, len, s->scratch, &fault) != RC_OK ||
        s->scratch->kind != WIRE_BATCH || s->scratch->batch.n != n) {
        g->bad_first = first;
        g->bad_n = n;
        return false;
    }
    const struct event *e = s->scratch->batch.event;
    if (g->n > 0 && e[0].clock != g->e[0].clock)
        return false;
    for (size_t i = first < from_seq ? (size_t)(from_seq - first) : 0; i < n; i++) {
        if (g->n == g->max || first + i > to_seq)
            return false;
        if (g->n == 0)
            g->first = first + i;
        g->e[g->n++] = e[i];
    }
    return true;
}

static enum rc drop_bad(struct outbox_store *s, enum event_lane lane, const struct gather *g)
{
    enum rc rc = outbox_store_begin(s);
    if (rc == RC_OK)
        rc = delete_rows(s, lane, g->bad_first, g->bad_first);
    if (rc == RC_OK) {
        no_longer_waiting(s, lane, g->bad_n);
        rc = find_oldest(s, lane);
    }
    if (rc == RC_OK)
        rc = outbox_store_commit(s);
    if (rc != RC_OK)
        outbox_store_rollback(s);
    else
        s->damaged += g->bad_n;
    return rc;
}

enum rc outbox_store_read(struct outbox_store *s, enum event_lane lane, uint64_t from_seq, uint64_t to_seq, size_t max_events, bool backlog, void *buf,
                          size_t cap, size_t *ret_len, uint64_t *ret_first, size_t *ret_n)
{
    if (from_seq < 1)
        from_seq = 1;
    if (from_seq > to_seq || from_seq > INT64_MAX)
        return RC_END;
    if (max_events < 1 || max_events > WIRE_BATCH_MAX)
        max_events = WIRE_BATCH_MAX;
    struct gather g = {.max = max_events, .e = malloc(max_events * sizeof *g.e)};
    if (g.e == NULL)
        return RC_NO_MEMORY;
    enum rc rc = RC_OK;
    do {
        g.n = 0;
        g.bad_first = 0;
        sqlite3_bind_int(s->range, 1, lane);
        sqlite3_bind_int64(s->range, 2, (sqlite3_int64)from_seq);
        sqlite3_bind_int64(s->range, 3, to_seq > INT64_MAX ? INT64_MAX : (sqlite3_int64)to_seq);
        int code;
        while ((code = sqlite3_step(s->range)) == SQLITE_ROW) {
            uint64_t first = (uint64_t)sqlite3_column_int64(s->range, 0);
            int64_t n = sqlite3_column_int64(s->range, 1);
            if (n >= 1 && n <= WIRE_BATCH_MAX && first + (uint64_t)n <= from_seq)
                continue;
            if (!take_row(s, &g, first, n < 0 ? 0 : (size_t)n, from_seq, to_seq))
                break;
        }
        sqlite3_reset(s->range);
        rc = db_rc(code);
        if (rc == RC_OK && g.bad_first != 0)
            rc = drop_bad(s, lane, &g);
    } while (rc == RC_OK && g.bad_first != 0 && g.n == 0);
    if (rc == RC_OK && g.n == 0)
        rc = RC_END;
    if (rc == RC_OK) {
        size_t len = 0, n = g.n;
        while ((rc = wire_encode_batch(lane, g.first, backlog, g.e, n, buf, cap, &len)) == RC_FULL && n > 1)
            n /= 2;
        if (rc == RC_OK) {
            *ret_len = len;
            *ret_first = g.first;
            *ret_n = n;
        }
    }
    free(g.e);
    return rc;
}
