/*
 * status - the door for a technician at the bus: a Unix socket in /run/schoolward (or state_dir), mode 0660: root, the service's user and its group
 * may ask. One question a connection, one line of at most 63 bytes:
 *
 *   status                  {"report":{...},"gnss":{...},...}     one line of JSON
 *   record DEVICE SECONDS   lines of a recording (recorder.h) until the time is over or the caller hangs up
 *
 * An answer begins with the line "ok" or "error TEXT". Whoever asks nothing within 5 s, or does not read what was asked for, is cut off; at most 4 at
 * a time. Nothing can be changed through this door.
 */
#ifndef SCHOOLWARD_STATUS_H
#define SCHOOLWARD_STATUS_H

#include <uv.h>

#include "config.h"

#define STATUS_LINE_MAX 63
#define STATUS_PATH_MAX 107 /* sun_path, unix(7) */

struct status;

struct status_setup {
    const char *state_dir;
    const struct config *config; /* lives on */
    /* The JSON text, without a line's end, in memory of malloc(); NULL: out of memory. */
    char *(*json)(void *arg);
    void *arg;
};

/* status_path - where the socket is: in $RUNTIME_DIRECTORY where systemd made one, else in state_dir. False: the name would be too long. */
bool status_path(const char *state_dir, char ret_path[STATUS_PATH_MAX + 1]);

/* status_start - RC_OK; RC_RANGE, RC_IO with the reason in why: the gateway goes on without. RC_NO_MEMORY. */
enum rc status_start(uv_loop_t *loop, const struct status_setup *s, struct status **ret_s, char *why, size_t cap) RC_MUST_USE;
/* Callers are hung up on; on_stopped when the handles are closed. The record frees itself. */
void status_stop(struct status *s, void (*on_stopped)(void *arg), void *arg);

/* status_question - take a line apart (without its end). Pure. For "status" the device is "". RC_OK; RC_INVALID. */
enum rc status_question(const char *line, size_t n, char ret_device[EVENT_NAME_MAX + 1], int *ret_seconds) RC_MUST_USE;

#endif
