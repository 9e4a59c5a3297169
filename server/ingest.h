/*
 * ingest - the buses' door: who are you, decode, drop repeats, hand to the journal, acknowledge when settled. docs/protocol.md 1.
 */
#ifndef SCHOOLWARD_INGEST_H
#define SCHOOLWARD_INGEST_H

#include <libwebsockets.h>
#include <uv.h>

#include "devices.h"
#include "fleet.h"
#include "footage.h"
#include "journal.h"

/* What a stranger can make us hold: */
#define INGEST_PATH "/gateway"
#define INGEST_PARTS_MAX (32u << 20)     /* bytes of half received messages, all connections */
#define INGEST_RX_BYTES 1024             /* libwebsockets' buffer per connection; longer messages come in pieces */
#define INGEST_ACK_FRAMES 256            /* so many frames not yet acknowledged are acknowledged with the next commit */

struct ingest;
struct ingest_setup {
    uv_loop_t *loop;
    struct fleet *fleet;
    struct journal *journal;
    struct footage *footage; /* NULL: no pictures are taken */
    struct devices *devices; /* NULL: secrets of the fleet file only, no orders */
    size_t max_connections; /* 10..60000 */
    double rate_per_s;      /* messages per second and gateway, token bucket with 10 s of burst */
    uint64_t bytes_per_s;   /* likewise */
    int64_t ack_ms;         /* live bulk data is acknowledged this long after it came (alarms and backlog: with their commit); 0..10000 */
    int64_t hello_ms;       /* a connection that has not said Hello by then is closed */
    int64_t silent_ms;      /* and one that says nothing at all for so long; it is pinged at half of it */
};
enum rc ingest_new(const struct ingest_setup *s, struct ingest **ret_i) RC_MUST_USE;
void ingest_free(struct ingest *i);                                  /* after the lws context is gone */
void ingest_protocol(struct ingest *i, struct lws_protocols *ret_p); /* "schoolward.v1" */
void ingest_settled(struct ingest *i, uint64_t ticket);              /* from journal: send the acks that waited for it */
void ingest_tick(struct ingest *i);                                  /* once a second: time-outs, acks that are due */
/* footage_setup.on_answer: hand it to the gateway if it is there. */
void ingest_footage_answer(struct ingest *i, const char *gateway, const struct wire_media_ack *a);
/* Something changed for this gateway, "" = perhaps all: an order waits, or it was revoked and is cut with 4401 (devices_listen()). */
void ingest_devices_changed(void *in, const char *gateway);
/* Close all connections with 1012; new ones are refused. */
void ingest_drain(struct ingest *i);

struct ingest_figures {
    uint64_t frames, events;    /* accepted */
    uint64_t repeats;           /* events dropped because they were there already */
    uint64_t late;              /* events that came as backlog or old */
    uint64_t acks;              /* sent */
    uint64_t bytes;             /* of accepted frames */
    uint64_t unauthorised, malformed, too_big, too_fast, silent, replaced, version, full; /* connections closed, by why */
    size_t connections;
};
void ingest_figures(const struct ingest *i, struct ingest_figures *ret_f);

#endif
