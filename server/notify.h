/*
 * notify - outward messages: the signed webhook (docs/protocol.md 4). An outbox in SQLite, one row per delivery, own thread with libcurl, retry with
 * growing pauses until the notice expires, idempotent by its key.
 */
#ifndef SCHOOLWARD_NOTIFY_H
#define SCHOOLWARD_NOTIFY_H

#include <stddef.h>
#include <stdint.h>

#include "../core/rc.h"

struct notify;
struct notify_setup {
    const char *path;   /* of the outbox */
    const char *url;    /* "" = switched off: notices are only recorded */
    const char *secret; /* signs; at least 16 characters */
};
enum rc notify_open(const struct notify_setup *s, struct notify **ret_n, char *why, size_t cap) RC_MUST_USE;
void notify_close(struct notify *n);
/*
 * Queue one notice. key: "run:vehicle:stop:kind", a second one with the same key is a no-op.
 *   returns RC_OK queued; RC_END this key was there already; RC_IO
 */
enum rc notify_send(struct notify *n, const char *key, const char *json_body, int64_t expires_ms) RC_MUST_USE;
/* When the notice with this key was made, 0 = never. Any thread. */
int64_t notify_made_ms(struct notify *n, const char *key);
struct notify_figures {
    uint64_t queued, delivered, expired, failed_tries;
};
void notify_figures(struct notify *n, struct notify_figures *ret_f);

#endif
