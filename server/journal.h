/*
 * journal - every accepted event, durable first. SQLite, one file per UTC day of arrival (journal-YYYYMMDD.db), a writer thread of its own.
 * Arrival groups: one blob per group commit (50 to 200 ms of accepted frames, as received), acknowledged after the commit, with the settled sets of
 * the lanes in the same transaction. Folded later into chunks: one row per bus and some five minutes of event time, in the wire's coding.
 */
#ifndef SCHOOLWARD_JOURNAL_H
#define SCHOOLWARD_JOURNAL_H

#include <uv.h>

#include "../core/wire.h"

struct journal;

struct journal_setup {
    const char *dir;    /* made if absent, 0700 */
    int64_t group_ms;   /* 10..1000, default 100 */
    /* On the loop, after a commit: everything handed in up to ticket is on disk. */
    void (*on_settled)(void *arg, uint64_t ticket);
    /* On the loop: commits fail (text says what to do; nothing is acknowledged meanwhile), or work again (NULL). */
    void (*on_trouble)(void *arg, const char *text);
    void *arg;
};

enum rc journal_open(uv_loop_t *loop, const struct journal_setup *s, struct journal **ret_j, char *why, size_t cap) RC_MUST_USE;
void journal_close(struct journal *j, void (*on_closed)(void *arg), void *arg); /* commits what is open first */

/*
 * Hand in one accepted batch frame, as received. Never blocks.
 *   settled     the lane's settled set with this batch in it; written in the same commit
 *   ret_ticket  on_settled(ticket) with at least this number means: on disk
 *   returns     RC_OK; RC_FULL the queue holds its limit (64 MiB): do not accept, the gateway will send again
 */
enum rc journal_put(struct journal *j, const char *gateway, enum event_lane lane, int64_t arrival_ms, const void *frame, size_t n,
                    const struct wire_settled *settled, uint64_t *ret_ticket) RC_MUST_USE;

const char *journal_dir(const struct journal *j);

/* The settled set with all frames handed in so far (at start: as it was at the last commit), all-zero for an unknown gateway. */
void journal_settled(struct journal *j, const char *gateway, enum event_lane lane, struct wire_settled *ret_s);

struct journal_row { /* one event as it came */
    const char *gateway;
    uint64_t seq;
    int64_t arrival_ms;
    const struct event *event;
    uint8_t lane;
    bool late; /* came as backlog, or more than 60 s after it happened */
};
/* return false to stop */
typedef bool journal_each_fn(void *arg, const struct journal_row *row);

/*
 * All events of one gateway with from_ms <= time < to_ms, by event time. Blocks: call from a worker thread; any thread may.
 *   returns  RC_OK; RC_FULL more than max were there (max were told); RC_IO
 */
enum rc journal_history(struct journal *j, const char *gateway, int64_t from_ms, int64_t to_ms, size_t max, journal_each_fn *each, void *arg) RC_MUST_USE;

/* Follow all events in arrival order. A cursor is durable text a follower keeps for itself. Blocks; any thread. */
struct journal_cursor {
    int32_t day;     /* YYYYMMDD, 0 = from the oldest */
    int64_t group;   /* last group wholly consumed */
};
/* Tells whole groups after the cursor until max_events are passed, moves the cursor. RC_OK, RC_AGAIN nothing new, RC_IO. */
enum rc journal_follow(struct journal *j, struct journal_cursor *cursor, size_t max_events, journal_each_fn *each, void *arg) RC_MUST_USE;
/* Wait until something newer than the cursor is there or timeout_ms passed. Any thread. */
bool journal_wait(struct journal *j, const struct journal_cursor *cursor, int timeout_ms);

/* Checkpoint: opaque memory of `fleet` saved beside the groups, so that a restart replays only what came after. Writer thread does the work. */
void journal_save(struct journal *j, void *blob, size_t n, void (*release)(void *)); /* as of all frames handed in so far */
/* At start: the newest checkpoint (malloc'ed, may be NULL) and the cursor it is as of. */
enum rc journal_load(struct journal *j, void **ret_blob, size_t *ret_n, struct journal_cursor *ret_cursor) RC_MUST_USE;

struct journal_figures {
    uint64_t frames, events, commits, bytes, failures;
    double commit_ms_p50, commit_ms_max; /* since last asked */
    uint64_t waiting_frames;
};
void journal_figures(struct journal *j, struct journal_figures *ret_f);

#endif
