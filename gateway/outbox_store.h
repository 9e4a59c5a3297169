/*
 * outbox_store - the outbox's file: SQLite, WAL, synchronous FULL. Blocks; belongs to the outbox's thread alone (outbox.c). A row is a run of records
 * of one lane with consecutive sequences and one clock: {lane, first_seq, n, crc32, boot, basis, frame in the wire's coding}. The CRC is over all of
 * it.
 *
 * Sequences never go back (docs/protocol.md G3). The next one is behind the last row; where rows are deleted, the lane's state row keeps it in the
 * same transaction. A small file PATH.floor, rewritten once per 100,000 records, holds numbers that were never given out, so that an outbox that had
 * to be set aside goes on above everything the server may have seen.
 *
 * What may have been on the wire. A record keeps its sequence from the moment it may have been sent, or the server could hold it under the old one
 * and take it again under the new one. `sent` is that set: exact while the program runs (every fetch adds to it), and on the disk as "everything"
 * while a connection stands, as what it was when the connection ended. A record outside it is known to this file alone, so thinning may give the
 * survivors of a run the run's highest numbers: one hole per run, instead of one per record. `unsure` is the sequence from which on this file has
 * numbers the server has not confirmed since the file was opened: a disk that lied about fsync, a copy put back, a WAL cut by a flipped bit give
 * numbers out twice. The first Welcome shows it, and the records move above what the server knows.
 */
#ifndef SCHOOLWARD_OUTBOX_STORE_H
#define SCHOOLWARD_OUTBOX_STORE_H

#include <limits.h>

#include "../core/base/db.h"
#include "../core/wire.h"

#define OUTBOX_STORE_PATH_MAX 200
/* In event.clock of what is handed to outbox_store_add(): the time stands on the untrusted basis of this start, see outbox_store.basis_ms. */
#define OUTBOX_STORE_RAW     0x80
#define OUTBOX_STORE_REASONS (EVENT_GAP_MEMORY + 1)

struct outbox_lane {
    uint64_t unsure; /* 0: nothing is */
    bool up;         /* a connection stands, or stood when the program ended */
    struct wire_settled sent;
};

struct outbox_store {
    sqlite3 *db; /* NULL: not open */
    bool opened; /* before, by this program: what it knows of the connection outlives a file that had to be opened again */
    char path[OUTBOX_STORE_PATH_MAX + 1];
    sqlite3_stmt *insert, *update, *state, *range, *del, *oldest, *overlap, *below;
    sqlite3_stmt *begin, *commit, *pages, *unused; /* each group needs them: to take SQL apart costs as much as to carry it out */
    uint64_t next_seq[EVENT_LANES];     /* of the open transaction, or as committed */
    uint64_t settled_next[EVENT_LANES]; /* as committed */
    uint64_t floor[EVENT_LANES];        /* in PATH.floor */
    uint64_t first_seq[EVENT_LANES];    /* oldest kept, next_seq when none is */
    uint64_t waiting[EVENT_LANES];      /* events kept */
    uint64_t known[EVENT_LANES];        /* the server said that it has everything through this */
    struct outbox_lane lane[EVENT_LANES];
    bool dirty[EVENT_LANES]; /* state row to be written with the next commit */
    struct {
        uint64_t first, waiting;
        struct outbox_lane lane;
    } undo[EVENT_LANES];
    struct { /* the row a lane's next records may join; n 0: none */
        uint64_t first;
        size_t n, len;
        uint8_t clock;
    } tail[EVENT_LANES];
    struct event_gap gap[EVENT_LANES][OUTBOX_STORE_REASONS]; /* of the open transaction, n or to_seq 0: none */
    struct {                                                 /* where thinning goes on */
        unsigned level;
        uint64_t cursor;
    } thin;
    /* for rows of untrusted time, and for what the store itself has to say */
    uint64_t boot;
    int64_t basis_ms;       /* times of this start minus CLOCK_MONOTONIC */
    uint8_t quality;        /* enum event_clock, perhaps with OUTBOX_STORE_RAW */
    uint64_t damaged;       /* events whose row did not check out, dropped */
    int64_t used_bytes;        /* as last asked for, */
    uint64_t used_written;     /* when bytes_written was so much */
    uint64_t bytes_written; /* pages to the WAL, and from there into the file */
    bool reserved;          /* PATH.reserve is there */
    int wal_pages, page_bytes;
    struct event *gather;      /* WIRE_BATCH_MAX, likewise: a batch being read */
    struct wire_frame *scratch; /* to decode rows; lives while open */
    uint8_t *frame;             /* to encode rows; likewise */
};

/*
 * outbox_store_open - open or make the file. One that is not readable is renamed to PATH.bad-<time> (the newest three of those are kept), what can
 * still be read of it is carried over, and numbers go on above the floor.
 *   note, cap   empty, or what had to be done about the old file, for the log
 *   why, cap    on failure
 *   returns     RC_OK; RC_IO, RC_FULL the file system refuses; RC_INVALID the path is too long
 * Keeps boot, basis_ms, quality, known, damaged and bytes_written of *s.
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

/* The connection ended: what was not fetched is known to be unsent. Durable with the next commit; until then the file says that all may have been. */
void outbox_store_offline(struct outbox_store *s);

/* --- inside a transaction --- */

/* A connection begins: from now on numbers are known to a server. */
void outbox_store_online(struct outbox_store *s);
/* Append events (1..WIRE_BATCH_MAX, each passes event_check, no ticks), to the last row or in rows of equal clock quality. RC_OK, or as db_run. */
enum rc outbox_store_add(struct outbox_store *s, enum event_lane lane, const struct event *e, size_t n) RC_MUST_USE;
/* Forget the closed range; rows partly in it are rewritten. *ret_n events were forgotten. */
enum rc outbox_store_forget(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t to, uint64_t *ret_n) RC_MUST_USE;
/* A loss, told with the commit as a record of the urgent lane (EVENT_GAP); losses of one lane and reason become one. n 0: not known how many. */
void outbox_store_gap(struct outbox_store *s, enum event_lane lane, enum event_gap_reason reason, uint64_t from, uint64_t to, uint64_t n);
/* Number what is kept from the sequence `from` on, and all to come, above `above` >= from: the server has seen numbers this file never gave out. */
enum rc outbox_store_rebase(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t above) RC_MUST_USE;

/*
 * outbox_store_thin - give something up, one step of this order (docs/operations.md 3):
 *   1. positions older than the newest 7,200 records: one per 2 s is kept; then one per 4, 8, 16, 32, 60 s
 *   2. all positions, the oldest first
 *   3. the oldest records of the bulk lane: counts, inputs, health
 *   4. the oldest of the urgent lane, but for its gap records
 * In 1 and 2 only what was never sent: see above.
 *   full     the reason to tell of 2 to 4: EVENT_GAP_OLDEST or EVENT_GAP_DISK_FULL
 *   alarms   whether step 4 may be taken
 *   ret_n    records given up; 0 is possible, the next call goes on
 *   returns  RC_OK; RC_END nothing is left to give up; as db_run
 */
enum rc outbox_store_thin(struct outbox_store *s, enum event_gap_reason full, bool alarms, uint64_t *ret_n) RC_MUST_USE;

/*
 * outbox_store_backfill - the time of this boot is trusted now: move up to 64 rows of it to base_ms (time minus CLOCK_MONOTONIC) and give them
 * `quality`. ret_n    rows that were moved returns  RC_OK; RC_END none is left
 */
enum rc outbox_store_backfill(struct outbox_store *s, uint64_t boot, int64_t base_ms, uint8_t quality, size_t *ret_n) RC_MUST_USE;

/* --- outside --- */

/*
 * outbox_store_read - stored events as one batch frame: contiguous, of one clock quality, from the oldest kept at or above from_seq, not above
 * to_seq. It tells which sequences right below it never come any more. buf, cap  at least WIRE_FRAME_MAX returns   RC_OK; RC_END nothing there;
 * RC_IO, RC_CORRUPT
 */
enum rc outbox_store_read(struct outbox_store *s, enum event_lane lane, uint64_t from_seq, uint64_t to_seq, size_t max_events, bool backlog,
                          void *buf, size_t cap, size_t *ret_len, uint64_t *ret_first, size_t *ret_n) RC_MUST_USE;
/* Whether a row holds this sequence. */
bool outbox_store_has(struct outbox_store *s, enum event_lane lane, uint64_t seq);

/* Bytes in use inside the file, free pages not counted; -1 if not known. */
int64_t outbox_store_used(struct outbox_store *s);
/* The same as it was at most 64 KiB of writing ago: to ask SQLite costs as much as a commit. */
int64_t outbox_store_used_lately(struct outbox_store *s);
/* Free pages inside the file, also of the open transaction; -1 if not known. */
int64_t outbox_store_free_pages(struct outbox_store *s);

#endif
