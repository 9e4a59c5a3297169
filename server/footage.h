/*
 * footage - pictures, sounds and clips that came from the buses' cameras: takes them piece by piece, keeps what arrived across restarts of either
 * end, and answers "done" only when a file is whole, has the hash it was announced with, and is on disk. Personal data: readable by this program
 * alone, served only through the API's policies.
 *
 *   dir/GATEWAY/SHA256.part       arriving; a restart goes on where it ended
 *   dir/GATEWAY/SHA256.jpg        whole
 *   dir/footage.db                one row per whole file
 *
 * Bounded: per gateway and in all the oldest go first; below reserve_bytes of free disk nothing is taken ("later").
 */
#ifndef SCHOOLWARD_FOOTAGE_H
#define SCHOOLWARD_FOOTAGE_H

#include <uv.h>

#include "../core/duty.h"
#include "../core/wire.h"

#define FOOTAGE_PARTS_MAX 4 /* files of one gateway arriving at a time; a fifth pushes the oldest out */
#define FOOTAGE_JOBS_MAX  256

struct footage;
struct footage_setup {
    const char *dir;
    uint64_t gateway_bytes, total_bytes; /* most on disk */
    uint32_t item_max;                   /* bytes of one file */
    uint64_t reserve_bytes;
    /* On the loop: the answer that footage_take() could not give at once. */
    void (*on_answer)(void *arg, const char *gateway, const struct wire_media_ack *a);
    void *arg;
};
/* footage_open - RC_OK; RC_IO, RC_CORRUPT, RC_UNSUPPORTED, RC_NO_MEMORY with the reason in why. */
enum rc footage_open(uv_loop_t *loop, const struct footage_setup *s, struct footage **ret_f, char *why, size_t cap) RC_MUST_USE;
/* After this on_answer is not called any more; on_closed when the pool is done. f is gone then. */
void footage_close(struct footage *f, void (*on_closed)(void *arg), void *arg);

/*
 * footage_take - a piece came. On the loop; writes at most 16 KiB, without waiting for the disk.
 *   gateway  whose secret it came with
 *   returns  RC_OK answer with *ret_a; RC_AGAIN on_answer() does: the file is whole and being checked
 */
enum rc footage_take(struct footage *f, const char *gateway, const struct wire_media_part *p, struct wire_media_ack *ret_a) RC_MUST_USE;

struct footage_item {
    uint8_t sha256[WIRE_SHA256];
    char gateway[DUTY_ID_MAX + 1];
    int64_t time_ms;
    uint32_t bytes, id, alarm_id;
    uint8_t unit, type; /* enum event_camera_unit, enum event_media_type */
};
/* What a gateway's cameras took from from_ms to to_ms (closed), by time, at most limit. Any thread. RC_OK, RC_IO. */
enum rc footage_list(struct footage *f, const char *gateway, int64_t from_ms, int64_t to_ms, size_t limit,
                     void (*each)(void *arg, const struct footage_item *i), void *arg) RC_MUST_USE;
/* Any thread. RC_OK, RC_NOT_FOUND, RC_IO. */
enum rc footage_find(struct footage *f, const uint8_t sha256[WIRE_SHA256], struct footage_item *ret_i) RC_MUST_USE;
/* Its bytes, malloc'ed; any thread, blocks. RC_OK, RC_NOT_FOUND it was removed, RC_IO, RC_NO_MEMORY. */
enum rc footage_read(struct footage *f, const struct footage_item *i, void **ret_bytes) RC_MUST_USE;

struct footage_figures {
    uint64_t parts, files, repeats, damaged, refused, removed; /* damaged: whole with a wrong hash; removed: old ones, for room */
    uint64_t bytes;                                            /* on disk */
};
void footage_figures(struct footage *f, struct footage_figures *ret_f);

#endif
