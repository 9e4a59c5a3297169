/*
 * outbox - store and forward across power cuts (SQLite, WAL, synchronous FULL, its own thread). Two lanes, each with its own sequence from 1 that
 * never goes back. docs/protocol.md 1.1.
 */
#ifndef SCHOOLWARD_OUTBOX_H
#define SCHOOLWARD_OUTBOX_H

#include <uv.h>

#include "../core/wire.h"

struct outbox;

struct outbox_setup {
    const char *path;  /* file, made if absent; unreadable: set aside as PATH.bad-<time>, reported, a new one begins above the saved sequence floor */
    int64_t group_ms;  /* bulk group commit, 100..60000 */
    int64_t max_bytes; /* of the file; above it records are given up in the order of outbox_store_thin() */
    /* On the loop: records up to last_seq of the lane are on disk and may be sent. */
    void (*on_stored)(void *arg, enum event_lane lane, uint64_t last_seq);
    /* On the loop: the disk is full or failing (text says what to do), or works again (NULL). */
    void (*on_trouble)(void *arg, const char *text);
    void *arg;
};

/*
 * outbox_start - open the file and begin.
 *   returns  RC_OK, also with a full or failing disk (on_trouble tells); RC_DENIED another program has it; RC_IO the folder, RC_UNSUPPORTED,
 * RC_INVALID, RC_NO_MEMORY: reason in why
 */
enum rc outbox_start(uv_loop_t *loop, const struct outbox_setup *s, struct outbox **ret_o, char *why, size_t cap) RC_MUST_USE;
/* Commits what is open, then calls back on the loop. */
void outbox_stop(struct outbox *o, void (*on_stopped)(void *arg), void *arg);

/*
 * Take an event; never blocks. An urgent event commits at once, together with the open bulk group.
 *   returns  RC_OK; RC_FULL the queue to the disk thread holds its limit (65,536 events, 4,096 of them reserved for the urgent lane): the caller
 * counts and reports the loss; RC_RANGE the event does not pass event_check(), or is a tick
 */
enum rc outbox_put(struct outbox *o, enum event_lane lane, const struct event *e) RC_MUST_USE;

/*
 * What time it is, as far as the gateway knows. To be told once at the start and at each step; it moves no clock of its own.
 *   boot     of CLOCK_MONOTONIC (timing.boot)
 *   base_ms  the gateway's time minus CLOCK_MONOTONIC
 *   quality  enum event_clock
 *   trusted  false: records put from now on with a quality up to EVENT_CLOCK_SYSTEM are kept with their basis. The first time true: all such records
 * of this boot that were never sent are moved to base_ms and get `quality`, those on the disk from an earlier start of the program too. It is done
 *            before any fetch or welcome asked for later.
 */
void outbox_clock(struct outbox *o, uint64_t boot, int64_t base_ms, uint8_t quality, bool trusted);

/* What is kept: oldest and newest stored sequence per lane (as wire_hello.lane). */
void outbox_span(const struct outbox *o, struct wire_lane ret_lane[EVENT_LANES]);

/*
 * Ask for stored records; the answer comes on the loop. At most max_events / max_bytes, contiguous from from_seq (or from the oldest kept above it).
 *   done(arg, rc, lane, batch frame, len, first_seq, n): rc RC_OK, RC_END nothing there at or above from_seq, RC_IO
 */
typedef void outbox_batch_fn(void *arg, enum rc rc, enum event_lane lane, const void *frame, size_t len, uint64_t first_seq, size_t n);
void outbox_fetch(struct outbox *o, enum event_lane lane, uint64_t from_seq, uint64_t to_seq, size_t max_events, bool backlog, outbox_batch_fn *done,
                  void *arg);

/*
 * The server's Welcome: forget what it has, and learn whether this file is younger than what the server knows of this gateway (then its records are
 * numbered above). done comes when spans and fetches are true again; rc RC_OK, RC_IO. Nothing may be sent on a connection before it.
 */
typedef void outbox_welcome_fn(void *arg, enum rc rc);
void outbox_welcome(struct outbox *o, const struct wire_ack ack[EVENT_LANES], outbox_welcome_fn *done, void *arg);

/* The connection ended. What was not fetched on it is unsent, see outbox_store.h. */
void outbox_offline(struct outbox *o);

/* The server has them on disk: forget. */
void outbox_acked(struct outbox *o, const struct wire_ack *ack);

struct outbox_figures {
    uint64_t stored, acked, given_up; /* events since start */
    uint64_t waiting[EVENT_LANES];    /* events kept */
    uint64_t stored_of[EVENT_LANES];  /* likewise, of what was put into each lane */
    uint64_t commits;
    uint64_t bytes_written; /* to the file's WAL, and from there into the file: whole pages, at most */
    uint64_t
        bytes_stored; /* what the kernel passed on to the storage for the disk thread, of all files (proc(5), write_bytes); looked at each 10 s */
    int64_t file_bytes;
};
void outbox_figures(const struct outbox *o, struct outbox_figures *ret_f);

#endif
