#include "journal_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "../core/base/db.h"

size_t journal_file_varint(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

bool journal_file_get(const uint8_t **at, const uint8_t *end, uint64_t *ret_v)
{
    uint64_t v = 0;
    const uint8_t *p = *at;
    for (int shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t b = *p++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *at = p;
            *ret_v = v;
            return true;
        }
    }
    return false;
}

size_t journal_file_head(uint8_t *out, uint32_t gateway, uint8_t lane, int64_t since_ms, size_t n)
{
    size_t at = journal_file_varint(out, (uint64_t)gateway * 2 + lane);
    at += journal_file_varint(out + at, ((uint64_t)since_ms << 1) ^ (since_ms < 0 ? UINT64_MAX : 0));
    return at + journal_file_varint(out + at, n);
}

uint32_t journal_file_crc(const uint8_t *p, size_t n)
{
    return (uint32_t)crc32_z(0, p, n);
}

enum rc journal_file_read(struct journal_file_reader *r, const void *blob, size_t n, int64_t arrival_ms)
{
    const uint8_t *p = blob;
    if (p == NULL || n < 4)
        return RC_CORRUPT;
    const uint8_t *c = p + n - 4;
    uint32_t crc = (uint32_t)c[0] | (uint32_t)c[1] << 8 | (uint32_t)c[2] << 16 | (uint32_t)c[3] << 24;
    if (crc != journal_file_crc(p, n - 4))
        return RC_CORRUPT;
    *r = (struct journal_file_reader){p, c, arrival_ms};
    return RC_OK;
}

bool journal_file_next(struct journal_file_reader *r, struct journal_file_entry *ret_e)
{
    uint64_t who, since, n;
    if (!journal_file_get(&r->at, r->end, &who) || !journal_file_get(&r->at, r->end, &since) || !journal_file_get(&r->at, r->end, &n) ||
        n > (uint64_t)(r->end - r->at))
        return false;
    r->arrival_ms += (int64_t)((since >> 1) ^ (~(since & 1) + 1));
    *ret_e = (struct journal_file_entry){(uint32_t)(who >> 1), (uint8_t)(who & 1), r->arrival_ms, r->at, (size_t)n};
    r->at += n;
    return true;
}

int32_t journal_file_day(int64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (gmtime_r(&s, &tm) == NULL)
        return 19700101;
    return (tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday;
}

void journal_file_path(const char *dir, int32_t day, char out[JOURNAL_FILE_PATH_MAX])
{
    snprintf(out, JOURNAL_FILE_PATH_MAX, "%s/journal-%08d.db", dir, (int)day);
}

static int by_day(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

enum rc journal_file_days(const char *dir, int32_t **ret_day, size_t *ret_n)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return RC_IO;
    int32_t *day = NULL;
    size_t n = 0, cap = 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        unsigned v;
        int end = 0;
        if (sscanf(e->d_name, "journal-%8u.db%n", &v, &end) != 1 || end != 19 || e->d_name[end] != '\0')
            continue;
        if (n == cap) {
            cap = cap == 0 ? 64 : cap * 2;
            int32_t *more = realloc(day, cap * sizeof *day);
            if (more == NULL) {
                free(day);
                closedir(d);
                return RC_NO_MEMORY;
            }
            day = more;
        }
        day[n++] = (int32_t)v;
    }
    closedir(d);
    if (n > 1)
        qsort(day, n, sizeof *day, by_day);
    *ret_day = day;
    *ret_n = n;
    return RC_OK;
}

static const char *const schema[] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE gateway(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    /* one row per group commit */
    "CREATE TABLE arrival(id INTEGER PRIMARY KEY, arrival_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, frames INTEGER NOT NULL, blob BLOB NOT NULL);"
    /* the settled sets as of a group; what came later is in the groups themselves */
    "CREATE TABLE settled(id INTEGER PRIMARY KEY CHECK(id = 1), upto INTEGER NOT NULL, blob BLOB NOT NULL);"
    /* groups folded: one row per gateway and some minutes of event time */
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY, gateway INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,"
    " upto INTEGER NOT NULL, events INTEGER NOT NULL, late INTEGER NOT NULL, blob BLOB NOT NULL);"
    "CREATE INDEX chunk_at ON chunk(gateway, to_ms);"
    "CREATE INDEX chunk_upto ON chunk(upto);", /* upto: the last group that went into it */
};

enum rc journal_file_open(const char *path, sqlite3 **ret_db, char *why, size_t cap)
{
    sqlite3 *db = NULL;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(why, cap, "%s: cannot be opened for writing: %s", path, strerror(errno));
        return errno == ENOSPC ? RC_FULL : RC_IO;
    }
    close(fd);
    int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK) {
        sqlite3_extended_result_codes(db, 1);
        sqlite3_busy_timeout(db, 5000);
        /* A group's pages are written once and read once: a WAL of 16 MiB keeps checkpoints rare, a small cache is enough. */
        code = sqlite3_exec(db,
                            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA journal_size_limit=67108864;"
                            "PRAGMA cache_size=-2048",
                            NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        snprintf(why, cap, "%s: %s", path, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
        sqlite3_close(db);
        return db_rc(code) == RC_OK ? RC_IO : db_rc(code);
    }
    enum rc rc = db_migrate(db, schema, sizeof schema / sizeof schema[0], why, cap);
    if (rc == RC_OK) { /* a file whose version says "made" but whose tables are gone is broken, not empty */
        sqlite3_stmt *s = NULL;
        code = sqlite3_prepare_v2(db, "SELECT (SELECT max(id) FROM arrival), (SELECT count(*) FROM gateway), (SELECT upto FROM settled)", -1, &s, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_step(s);
        sqlite3_finalize(s);
        if (code != SQLITE_ROW) {
            snprintf(why, cap, "%s: %s", path, sqlite3_errmsg(db));
            rc = (code & 0xff) == SQLITE_ERROR ? RC_CORRUPT : db_rc(code);
        }
    }
    if (rc != RC_OK) {
        sqlite3_close(db);
        return rc;
    }
    *ret_db = db;
    return RC_OK;
}

enum rc journal_file_names(sqlite3 *db, struct journal_file_names *ret_names)
{
    struct journal_file_names names = {0};
    sqlite3_stmt *s = NULL;
    enum rc rc = db_prepare(db, "SELECT id, name, (SELECT max(id) FROM gateway) FROM gateway", &s);
    if (rc != RC_OK)
        return rc;
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(s, 0), most = sqlite3_column_int64(s, 2);
        const unsigned char *text = sqlite3_column_text(s, 1);
        if (names.name == NULL && most >= 0 && most < 10000000) {
            names.name = calloc((size_t)most + 1, sizeof *names.name);
            names.n = names.name == NULL ? 0 : (size_t)most + 1;
        }
        if (names.name != NULL && id >= 0 && (size_t)id < names.n && text != NULL)
            snprintf(names.name[id], sizeof names.name[id], "%s", (const char *)text);
    }
    sqlite3_finalize(s);
    if (code != SQLITE_DONE) {
        free(names.name);
        return db_rc(code);
    }
    *ret_names = names;
    return RC_OK;
}

void journal_file_names_free(struct journal_file_names *names)
{
    free(names->name);
    *names = (struct journal_file_names){0};
}

int64_t journal_file_meta(sqlite3 *db, const char *key, int64_t missing)
{
    sqlite3_stmt *s = NULL;
    int64_t v = missing;
    if (db_prepare(db, "SELECT value FROM meta WHERE key = ?", &s) != RC_OK)
        return missing;
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW)
        v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return v;
}

enum rc journal_file_meta_set(sqlite3 *db, const char *key, int64_t value)
{
    sqlite3_stmt *s = NULL;
    enum rc rc = db_prepare(db, "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", &s);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, value);
    rc = db_run(s);
    sqlite3_finalize(s);
    return rc;
}
