/*
 * uplink - the gateway's end of `schoolward.v1` (docs/protocol.md 1): one websocket to the server, kept up for ever. Sends what the outbox stored,
 * alarms first, live records before the backlog, and tells the outbox what the server has on disk. Decides alone when to connect again and logs it.
 *
 * Rides on the caller's libuv loop; names are resolved in libuv's pool, because a resolver on a bad mobile network blocks for many seconds.
 */
#ifndef SCHOOLWARD_UPLINK_H
#define SCHOOLWARD_UPLINK_H

#include <uv.h>

#include "../core/wire.h"
#include "media.h"
#include "outbox.h"

#define UPLINK_SECRET_MAX 255

struct uplink;

struct uplink_setup {
    const char *url;                  /* ws://host[:port][/path] or wss://...; path /gateway if none */
    const char *ca_file;              /* PEM of who may sign the server's certificate; "" = the system's */
    const char *cert_file, *key_file; /* our own certificate (chain) and its key, PEM, for servers that want one; "" = none */
    const char *memory_file;          /* where the last good address and the last trusted date are kept; NULL = nowhere */
    const char *gateway;              /* id, as the server knows it */
    const char *secret;
    struct outbox *outbox;
    struct media *media; /* NULL: no files are sent */
    uint32_t media_kib_per_s;
    int64_t retry_min_ms, retry_max_ms; /* full jitter between 0 and min * 2^n, at most max */
    int64_t silent_ms;  /* longest pause while the network does not answer at all, so that a bus is there again soon after a dead zone */
    int64_t refused_ms; /* pause after the server said that this gateway or its version is not welcome */
    int ping_s, pong_s; /* nothing heard for ping_s: ping; nothing for another pong_s: the peer is dead */
    int window;         /* batches that may be un-acked at a time, 1..32 */
    /* Fill what only the gateway knows: gateway, boot, firmware, duty, law, time_ms, clock. */
    void (*hello)(void *arg, struct wire_hello *h);
    /* What day it is, and whether GNSS or NTP says so: not the server, whose certificate is judged by it. */
    int64_t (*date)(void *arg, bool *ret_trusted);
    /* A Welcome said what time it is at the server (may be NULL); called before anything is sent on the connection. tls: its certificate was checked. */
    void (*server_time)(void *arg, int64_t server_ms, bool tls);
    /* An order came; its result goes back by uplink_result(). It lives as long as the call. */
    void (*order)(void *arg, const struct wire_order *order);
    /* The gateway's report of itself; sent after each Welcome and then each report_ms. NULL: none. */
    void (*report)(void *arg, struct report *ret_r);
    int64_t report_ms;
    /* The server took the Hello of this connection. NULL: not wanted. */
    void (*welcomed)(void *arg);
    void *arg;
};

/* uplink_start - begin to connect. RC_OK; RC_INVALID the URL, RC_IO the TLS files, RC_NO_MEMORY: the reason in why. */
enum rc uplink_start(uv_loop_t *loop, const struct uplink_setup *s, struct uplink **ret_u, char *why, size_t cap) RC_MUST_USE;
/* Tell it that records up to last_seq may be sent (outbox_setup.on_stored). */
void uplink_stored(struct uplink *u, enum event_lane lane, uint64_t last_seq);
/* Send the result of an order. While there is no connection it is dropped: the server asks again, and orders.c knows the answer. */
void uplink_result(struct uplink *u, const struct wire_order_result *r);
/* Results handed over and not yet written to the socket. */
size_t uplink_results(const struct uplink *u);
/* Use this secret from the next connection on, and make one soon: what waits to be written goes out first. */
void uplink_new_secret(struct uplink *u, const char *secret);
/* There is a file to send (media_setup.on_kept). */
void uplink_media_kept(struct uplink *u);
/* Say goodbye (1000), at most 2 s; then on_stopped. The outbox must live until then. */
void uplink_stop(struct uplink *u, void (*on_stopped)(void *arg), void *arg);
/* After the loop ended (libwebsockets frees its last part then). NULL is fine. */
void uplink_free(struct uplink *u);

struct uplink_figures {
    bool connected; /* welcomed */
    uint64_t connects, batches, events, backlog_events, acks, refused, bytes, media_bytes;
    int64_t ack_ms; /* of the newest ack: from the write to the ack */
    /*
     * resolving, connecting, tls, upgrading, greeting, welcomed, stopping; between tries why there is no connection: name, unreachable, down, portal,
     * certificate, own_certificate, tls, http, refused, version, replaced, busy, restart, silent, lost, fault
     */
    const char *state;
    const char *trouble; /* the last line that was said of it, without secrets, "" while welcomed; valid until the next call of anything here */
    unsigned tries;      /* failures in a row */
    int64_t next_ms;     /* until the next try, 0 = none is planned */
    int64_t name_ms;     /* how long the last answer of name service took, -1 none */
    int64_t cert_until_ms, own_cert_until_ms; /* when the server's certificate and our own run out, 0 unknown or none */
};
void uplink_figures(const struct uplink *u, struct uplink_figures *ret_f);

#endif
