/*
 * db - SQLite the way we use it: WAL, prepared statements, numbered migrations, errors as enum rc with a text. Used by the outbox, the journal and
 * the ledger; one connection belongs to one thread.
 */
#ifndef SCHOOLWARD_DB_H
#define SCHOOLWARD_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../rc.h"

enum db_sync { DB_SYNC_NORMAL = 1, DB_SYNC_FULL = 2 };

/*
 * db_open - open or make a database file (mode 0600), WAL, busy time-out 5 s, foreign keys on, the given `synchronous`.
 *   returns  RC_OK; RC_CORRUPT not a database or it fails quick_check; RC_IO; the reason in why
 */
enum rc db_open(const char *path, enum db_sync sync, sqlite3 **ret_db, char *why, size_t cap) RC_MUST_USE;
enum rc db_open_readonly(const char *path, sqlite3 **ret_db, char *why, size_t cap) RC_MUST_USE;
void db_close(sqlite3 *db); /* NULL is fine */

/* Run SQL without results. The reason of a failure: sqlite3_errmsg(). RC_FULL for a full disk, RC_IO, RC_CORRUPT. */
enum rc db_exec(sqlite3 *db, const char *sql) RC_MUST_USE;
enum rc db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_stmt) RC_MUST_USE;

/* Step a statement that returns no row, then reset it. */
enum rc db_run(sqlite3_stmt *stmt) RC_MUST_USE;
enum rc db_rc(int sqlite_code); /* SQLITE_* -> rc: BUSY RC_AGAIN, FULL RC_FULL, CORRUPT/NOTADB RC_CORRUPT, DONE/ROW/OK RC_OK, else RC_IO */

/*
 * db_migrate - bring the schema to version n: sql[i] leads from i to i + 1, each in its own transaction; PRAGMA user_version keeps it.
 *   returns  RC_OK; RC_UNSUPPORTED the file is of a newer program; as db_exec
 */
enum rc db_migrate(sqlite3 *db, const char *const *sql, int n, char *why, size_t cap) RC_MUST_USE;

#endif
