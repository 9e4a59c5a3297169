/*
 * media - pictures, sounds and clips of the cameras on the bus's disk, until the office has them. The folder is its own index: a file's name carries
 * all that is known of it, and it gets that name (rename) after its bytes are on disk (fsync), so a power cut leaves whole files and rubbish named
 * *.tmp.
 *
 *   state_dir/media/TIME-UNIT-TYPE-ID-ALARM-SHA256.jpg     kept, not yet sent         (TIME in ms, the numbers in hex)
 *   state_dir/media/...jpg.sent                            the office has it; goes first when room is needed
 *   state_dir/media/N.tmp                                  being written; removed at the start
 *
 * Room: at most max_bytes and max_items; what was sent goes first, then the oldest, which is told (EVENT_MEDIA given_up). Below reserve_bytes of free
 * disk nothing is begun and sent files are removed: records of the outbox come first. Files are written on the loop, a packet at a time; what can
 * wait for a slow disk (fsync, hashing) runs in libuv's pool.
 */
#ifndef SCHOOLWARD_MEDIA_H
#define SCHOOLWARD_MEDIA_H

#include <uv.h>

#include "../core/wire.h"
#include "driver.h"

#define MEDIA_OPEN_MAX 8 /* files being written at a time */

struct media;
struct media_setup {
    const char *dir;    /* made if it is not there */
    uint64_t max_bytes; /* of all files */
    uint32_t max_items;
    uint32_t item_max;                                  /* bytes of one file, at most WIRE_MEDIA_MAX */
    uint64_t reserve_bytes;                             /* free space the disk must keep */
    void (*on_event)(void *arg, const struct event *e); /* EVENT_MEDIA; time_ms is 0: now */
    void (*on_kept)(void *arg);                         /* there is something to send; NULL: nobody asks */
    void *arg;
};

/* media_open - read the folder. RC_OK; RC_IO it cannot be made or read (why), RC_NO_MEMORY. */
enum rc media_open(uv_loop_t *loop, const struct media_setup *s, struct media **ret_m, char *why, size_t cap) RC_MUST_USE;
/* Files being written are dropped; on_closed when the pool is done with the others. m is gone then. */
void media_close(struct media *m, void (*on_closed)(void *arg), void *arg);

/* What drivers write through (device_setup.store); its arg is m. */
void media_store(struct media *m, struct driver_store *ret_s);

/*
 * media_next - the file to send now: the one begun last time if it is still there, otherwise the newest.
 *   ret_p    everything but offset, n and data
 *   returns  RC_OK; RC_END nothing waits
 */
enum rc media_next(struct media *m, struct wire_media_part *ret_p) RC_MUST_USE;
/* media_read - n bytes from offset on of the file media_next() gave, into p->data. RC_OK; RC_IO: it is given up, ask media_next() again. */
enum rc media_read(struct media *m, struct wire_media_part *p, uint32_t offset, uint32_t n) RC_MUST_USE;
/* The office has it whole. */
void media_sent(struct media *m, const uint8_t sha256[WIRE_SHA256]);
/* It never will: refused, or unreadable. why goes to the log. */
void media_give_up(struct media *m, const uint8_t sha256[WIRE_SHA256], const char *why);

struct media_figures {
    uint64_t kept, sent, given_up, refused; /* files; refused: no room when they were offered */
    uint64_t bytes;                         /* on disk now */
    uint32_t items, waiting;
};
void media_figures(const struct media *m, struct media_figures *ret_f);

#endif
