/*
 * client - gateways of simulated buses on the wire (docs/protocol.md 1): Hello, Welcome, Batch, Ack; un-acknowledged events are kept and sent again
 * after a reconnect, with full jitter. Many connections on one uv loop.
 */
#ifndef SCHOOLWARD_SIM_CLIENT_H
#define SCHOOLWARD_SIM_CLIENT_H

#include <uv.h>

#include "../../core/wire.h"

struct client_pool;
struct client;

struct client_pool_figures {
    size_t clients, connected, welcomed;
    uint64_t events, sent_events, resent_events, frames, bytes; /* made, written, written again */
    uint64_t acked, lost;                                       /* acknowledged; given up because the store of a client was full */
    uint64_t closes, refused;                                   /* connections lost; by a 44xx close code */
    int last_code;
    char last_reason[64];
};

/* url is ws://ADDRESS:PORT/PATH. RC_OK; RC_INVALID, RC_NO_MEMORY. */
enum rc client_pool_new(uv_loop_t *loop, const char *url, struct client_pool **ret_pool) RC_MUST_USE;
/* Close all connections; uv_run ends when they are gone. Then client_pool_free. */
void client_pool_close(struct client_pool *p);
void client_pool_free(struct client_pool *p);
void client_pool_figures(const struct client_pool *p, struct client_pool_figures *ret_f);

/*
 * client_add - one gateway. It connects after delay_ms.
 *   keep     events kept at most per lane while nothing is acknowledged; the oldest bulk ones are given up
 */
enum rc client_add(struct client_pool *p, const char *gateway, const char *secret, int delay_ms, size_t keep, struct client **ret_c) RC_MUST_USE;

/* Hand an event over; it gets its sequence, is sent as soon as the line takes it and kept until it is acknowledged. */
void client_put(struct client *c, const struct event *e);
/* The event may still be appended to; send what is waiting now. client_put alone does not write. */
void client_flush(struct client *c);

bool client_welcomed(const struct client *c);
/* Events not yet acknowledged. */
size_t client_waiting(const struct client *c);

#endif
