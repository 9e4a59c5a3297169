/*
 * notify - outward messages: the signed webhook (docs/protocol.md 4). An outbox in SQLite, one row per delivery, own thread with libcurl, retry with
 * growing pauses until the notice expires, idempotent by its key. Bodies never reach a log.
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

#define NOTIFY_KEY_MAX 200
#define NOTIFY_BODY_MAX 4096
#define NOTIFY_WAITING_MAX 20000 /* notices not yet delivered nor expired */
#define NOTIFY_KEPT_DAYS 7       /* a key is remembered so long */

/*
 * notify_open - open or make the outbox; what waited there goes on waiting.
 *   returns  RC_OK; RC_INVALID url or secret, named in why with a hint; RC_IO, RC_CORRUPT, RC_UNSUPPORTED the file, see db_open(); RC_NO_MEMORY
 */
enum rc notify_open(const struct notify_setup *s, struct notify **ret_n, char *why, size_t cap) RC_MUST_USE;
void notify_close(struct notify *n); /* keeps what is queued; NULL is fine */

/*
 * notify_send - queue one notice; never blocks, any thread. It is on disk before it is sent.
 *   key      "run:date:vehicle:stop:kind", printable ASCII without spaces; a second notice with the same key is a no-op, over restarts too. It is the
 *            delivery id of every try (header Schoolward-Delivery), and what member "delivery" of the body should say.
 *   expires_ms  wall time after which it is of no use
 *   returns  RC_OK queued; RC_END this key was there already; RC_RANGE key or body too long, or not such a key; RC_FULL; RC_NO_MEMORY
 */
enum rc notify_send(struct notify *n, const char *key, const char *json_body, int64_t expires_ms) RC_MUST_USE;

/* "t=<unix seconds>,v1=<hex HMAC-SHA256(secret, t + "." + body)>" */
#define NOTIFY_SIGNATURE_MAX 128
void notify_sign(const char *secret, int64_t unix_s, const char *body, char out[NOTIFY_SIGNATURE_MAX]);

/* When the notice with this key was made, 0 = never. Any thread. */
int64_t notify_made_ms(struct notify *n, const char *key);
struct notify_figures {
    uint64_t queued;       /* waiting now */
    uint64_t delivered, expired, failed_tries; /* since start */
};
void notify_figures(struct notify *n, struct notify_figures *ret_f);

#endif
