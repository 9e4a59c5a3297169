#include "db.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum rc db_rc(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return RC_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return RC_AGAIN;
    case SQLITE_FULL: return RC_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return RC_CORRUPT;
    case SQLITE_NOMEM: return RC_NO_MEMORY;
    default: return RC_IO;
    }
}

enum rc db_exec(sqlite3 *db, const char *sql)
{
    return db_rc(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

enum rc db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_stmt)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (code != SQLITE_OK)
        return db_rc(code);
    *ret_stmt = stmt;
    return RC_OK;
}

enum rc db_run(sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);
    int again = sqlite3_reset(stmt);
    if (code == SQLITE_ROW)
        return RC_INVALID;
    return db_rc(code == SQLITE_DONE ? again : code);
}

__attribute__((format(printf, 3, 4))) static void say(char *why, size_t cap, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, cap, format, ap);
    va_end(ap);
}

static enum rc refuse(sqlite3 *db, const char *path, int code, char *why, size_t cap)
{
    enum rc rc = db_rc(code);
    say(why, cap, "%s: %s", path, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
    sqlite3_close(db);
    if ((code & 0xff) == SQLITE_ERROR) /* "unsupported file format": nothing we wrote */
        return RC_CORRUPT;
    return rc == RC_OK ? RC_IO : rc;
}

/* "ok" or the first complaint of quick_check. */
static enum rc check(sqlite3 *db, const char *path, char *why, size_t cap)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(s);
    enum rc rc = db_rc(code);
    if (code == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0) {
        say(why, cap, "%s: %s", path, (const char *)sqlite3_column_text(s, 0));
        rc = RC_CORRUPT;
    } else if (rc != RC_OK) {
        say(why, cap, "%s: %s", path, sqlite3_errmsg(db));
    }
    sqlite3_finalize(s);
    return rc;
}

enum rc db_open(const char *path, enum db_sync sync, sqlite3 **ret_db, char *why, size_t cap)
{
    /* made here, not by SQLite, so that it never exists with wider rights than 0600 */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        say(why, cap, "%s: cannot be opened for writing: %m", path);
        return RC_IO;
    }
    close(fd);
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return refuse(db, path, code, why, cap);
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, 5000);
    const char *set = sync == DB_SYNC_FULL ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                           : "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;";
    code = sqlite3_exec(db, set, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return refuse(db, path, code, why, cap);
    enum rc rc = check(db, path, why, cap);
    if (rc != RC_OK) {
        sqlite3_close(db);
        return rc;
    }
    *ret_db = db;
    return RC_OK;
}

enum rc db_open_readonly(const char *path, sqlite3 **ret_db, char *why, size_t cap)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return refuse(db, path, code, why, cap);
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, 5000);
    *ret_db = db;
    return RC_OK;
}

void db_close(sqlite3 *db)
{
    sqlite3_close_v2(db);
}

static int user_version(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int v = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        v = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return v;
}

enum rc db_migrate(sqlite3 *db, const char *const *sql, int n, char *why, size_t cap)
{
    int v = user_version(db);
    if (v < 0) {
        say(why, cap, "schema version cannot be read: %s", sqlite3_errmsg(db));
        return RC_IO;
    }
    if (v > n) {
        say(why, cap, "schema version %d is of a newer program (this one knows %d): install that one again", v, n);
        return RC_UNSUPPORTED;
    }
    for (; v < n; v++) {
        char set[64];
        snprintf(set, sizeof set, "PRAGMA user_version=%d; COMMIT", v + 1);
        enum rc rc = db_exec(db, "BEGIN IMMEDIATE");
        if (rc == RC_OK)
            rc = db_exec(db, sql[v]);
        if (rc == RC_OK)
            rc = db_exec(db, set);
        if (rc != RC_OK) {
            say(why, cap, "schema step %d: %s", v + 1, sqlite3_errmsg(db));
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
            return rc;
        }
    }
    return RC_OK;
}
