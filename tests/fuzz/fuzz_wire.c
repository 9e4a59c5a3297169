/* A gateway's or a server's message: whatever is accepted is in range and survives being coded again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <string.h>

#include "core/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire_frame first, second;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[WIRE_FRAME_MAX];
    const char *fault = NULL;
    size_t len;
    if (wire_decode(data, size, &first, &fault) != RC_OK) {
        if (fault == NULL)
            abort();
        return 0;
    }
    if (first.kind == WIRE_MEDIA_PART) {
        const struct wire_media_part *p = &first.media_part, *q = &second.media_part;
        if (p->n > p->bytes || p->offset > p->bytes - p->n || wire_encode_media_part(p, out, sizeof out, &len) != RC_OK ||
            wire_decode(out, len, &second, &fault) != RC_OK || q->n != p->n || q->offset != p->offset || memcmp(q->data, p->data, p->n) != 0)
            abort();
    }
    if (first.kind == WIRE_MEDIA_ACK &&
        (wire_encode_media_ack(&first.media_ack, out, sizeof out, &len) != RC_OK || wire_decode(out, len, &second, &fault) != RC_OK ||
         memcmp(&second.media_ack, &first.media_ack, offsetof(struct wire_media_ack, reason)) != 0))
        abort();
    if (first.kind != WIRE_BATCH)
        return 0;
    const struct wire_batch *b = &first.batch;
    enum rc rc = wire_encode_batch(b->lane, b->first_seq, b->backlog, b->event, b->n, out, sizeof out, &len);
    if (rc == RC_FULL)
        return 0;
    if (rc != RC_OK || wire_decode(out, len, &second, &fault) != RC_OK || second.batch.n != b->n || second.batch.first_seq != b->first_seq)
        abort();
    for (size_t i = 0; i < b->n; i++)
        if (second.batch.event[i].time_ms != b->event[i].time_ms || second.batch.event[i].kind != b->event[i].kind)
            abort();
    return 0;
}
