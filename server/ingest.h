/*
 * ingest - the buses' door: who are you, decode, drop repeats, hand to the journal, acknowledge when settled. docs/protocol.md 1.
 */
#ifndef SCHOOLWARD_INGEST_H
#define SCHOOLWARD_INGEST_H

#include <libwebsockets.h>

#include "fleet.h"
#include "journal.h"

struct ingest;
struct ingest_setup {
    struct fleet *fleet;
    struct journal *journal;
    size_t max_connections; /* 10..60000 */
    double rate_per_s;      /* messages per second and gateway, token bucket with 10 s of burst */
    uint64_t bytes_per_s;   /* likewise */
};
enum rc ingest_new(const struct ingest_setup *s, struct ingest **ret_i) RC_MUST_USE;
void ingest_free(struct ingest *i);
void ingest_protocol(struct ingest *i, struct lws_protocols *ret_p); /* "schoolward.v1" */
void ingest_settled(struct ingest *i, uint64_t ticket);              /* from journal: send the acks that waited for it */
/* Close all connections with 1012. */
void ingest_drain(struct ingest *i);

#endif
