/*
 * outbox_store - the outbox's file: SQLite, WAL, synchronous FULL. Blocks; belongs to the outbox's thread alone (outbox.c). One row per commit group
 * and lane, {lane, first_seq, n, time span, crc32, frame in the wire's coding}.
 *
 * Sequences never go back (docs/protocol.md G3). The next one is kept in the same table, written in the same transaction as the records; and a small
 * file PATH.floor, rewritten once per 100,000 records, holds numbers that were never given out, so that an outbox that had to be set aside goes on
 * above everything the server may have seen.
 */
#ifndef SCHOOLWARD_OUTBOX_STORE_H
#define SCHOOLWARD_OUTBOX_STORE_H

#include <limits.h>

#include "../core/base/db.h"
#include "../core/wire.h"

#define OUTBOX_STORE_PATH_MAX 200

struct outbox_store {
    sqlite3 *db; /* NULL: not open */
    char path[OUTBOX_STORE_PATH_MAX + 1];
    sqlite3_stmt *insert, *state, *range, *del, *oldest, *overlap;
    uint64_t next_seq[EVENT_LANES];    /* of the open transaction, or as committed */
    uint64_t settled_next[EVENT_LANES]; /* as committed */
    uint64_t floor[EVENT_LANES];       /* in PATH.floor */
    uint64_t first_seq[EVENT_LANES];   /* oldest kept, next_seq when none is */
    uint64_t waiting[EVENT_LANES];     /* events kept */
    uint64_t undo_first[EVENT_LANES], undo_waiting[EVENT_LANES];
    bool sent;                         /* records of this file may have been on the wire */
    uint64_t damaged;                  /* events whose row did not check out, dropped */
    uint64_t bytes_written;            /* to the WAL; a checkpoint adds each changed page once per 500 */
    bool reserved;                     /* PATH.reserve is there */
    int wal_pages, page_bytes;
    struct wire_frame *scratch;        /* to decode rows; lives while open */
};

/*
 * outbox_store_open - open or make the file. One that is not readable is renamed to PATH.bad-<time> (the newest three of those are kept), what can
 * still be read of it is carried over, and numbers go on above the floor.
 *   note, cap   empty, or what had to be done about the old file, for the log
 *   why, cap    on failure
 *   returns     RC_OK; RC_IO, RC_FULL the file system refuses; RC_UNSUPPORTED of a newer program; RC_INVALID the path is too long
 */
enum rc outbox_store_open(struct outbox_store *s, const char *path, char *note, char *why, size_t cap) RC_MUST_USE;
void outbox_store_close(struct outbox_store *s); /* all-zero is fine */

/* Keep 2.2 MiB of the disk in PATH.reserve, and give them free when the disk is full and something must be written. */
void outbox_store_reserve(struct outbox_store *s);
void outbox_store_release(struct outbox_store *s);
/* Bring the WAL into the file, so that the next transaction writes over it and needs no new room. As far as possible; outside a transaction. */
void outbox_store_settle(struct outbox_store *s);

/* A transaction; commit is on the disk when it returns RC_OK. After any failure in between: rollback, and nothing has happened. */
enum rc outbox_store_begin(struct outbox_store *s) RC_MUST_USE;
enum rc outbox_store_commit(struct outbox_store *s) RC_MUST_USE;
void outbox_store_rollback(struct outbox_store *s);

/* From now on the numbers of this file are known to a server. At any time; durable when it returns RC_OK outside a transaction. */
enum rc outbox_store_mark_sent(struct outbox_store *s) RC_MUST_USE;

/* --- inside a transaction --- */

/* Append events (1..WIRE_BATCH_MAX, each passes event_check, no ticks), as one row per run of equal clock quality. RC_OK, or as db_run. */
enum rc outbox_store_add(struct outbox_store *s, enum event_lane lane, const struct event *e, size_t n) RC_MUST_USE;
/* Forget the closed range; rows partly in it are rewritten. *ret_n events were forgotten. */
enum rc outbox_store_forget(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t to, uint64_t *ret_n) RC_MUST_USE;
/* Give up the oldest rows of a lane, at most `rows`. */
enum rc outbox_store_shed(struct outbox_store *s, enum event_lane lane, int rows, uint64_t *ret_n) RC_MUST_USE;
/* Number everything kept, and all to come, above `above`: the server has seen numbers this file never gave out. */
enum rc outbox_store_rebase(struct outbox_store *s, enum event_lane lane, uint64_t above) RC_MUST_USE;

/* --- outside --- */

/*
 * outbox_store_read - stored events as one batch frame: contiguous, of one clock quality, from the oldest kept at or above from_seq, not above to_seq.
 *   buf, cap  at least WIRE_FRAME_MAX
 *   returns   RC_OK; RC_END nothing there; RC_IO, RC_CORRUPT
 */
enum rc outbox_store_read(struct outbox_store *s, enum event_lane lane, uint64_t from_seq, uint64_t to_seq, size_t max_events, bool backlog, void *buf,
                          size_t cap, size_t *ret_len, uint64_t *ret_first, size_t *ret_n) RC_MUST_USE;

/* Bytes in use inside the file, free pages not counted; -1 if not known. */
int64_t outbox_store_used(struct outbox_store *s);
/* Free pages inside the file, also of the open transaction; -1 if not known. */
int64_t outbox_store_free_pages(struct outbox_store *s);

#endif
