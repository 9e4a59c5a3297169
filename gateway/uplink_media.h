/*
 * uplink_media - which piece of which file goes next, how large, and when: docs/protocol.md 1.9. Pure but for the files it reads by media.h. Files go
 * when no record waits; a piece is so small that the link takes it in well under a second, because an alarm waits behind it.
 */
#ifndef SCHOOLWARD_UPLINK_MEDIA_H
#define SCHOOLWARD_UPLINK_MEDIA_H

#include "media.h"

struct uplink_media {
    struct media *media; /* NULL: nothing is ever sent */
    uint32_t bytes_per_s;
    uint8_t sha256[WIRE_SHA256]; /* in flight */
    bool asked;                  /* the server said how much of it it has, on this connection */
    bool waiting;                /* for the answer to a piece */
    uint32_t total, next, n, size;      /* size of the file; offset to send; bytes of the piece on its way; bytes of the next one */
    int64_t sent_ms, not_before_ms;
    unsigned setbacks; /* answers that went back in this file */
    uint64_t bytes;    /* sent in all */
};

void uplink_media_init(struct uplink_media *u, struct media *m, uint32_t kib_per_s);
void uplink_media_begin(struct uplink_media *u); /* a connection was welcomed */
/* Milliseconds until a piece may be sent: 0 now, -1 not before something happens (an answer, a new file). */
int64_t uplink_media_due(const struct uplink_media *u, int64_t now_ms);
/* The piece to send now; call when due says 0. RC_OK; RC_END nothing waits. */
enum rc uplink_media_take(struct uplink_media *u, int64_t now_ms, struct wire_media_part *ret_p) RC_MUST_USE;
void uplink_media_acked(struct uplink_media *u, int64_t now_ms, const struct wire_media_ack *a);

#endif
