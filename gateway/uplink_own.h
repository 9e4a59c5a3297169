/*
 * uplink_own - what the two halves of the uplink share: uplink.c keeps the connection, uplink_talk.c sends and receives records. Nobody else includes
 * it.
 */
#ifndef SCHOOLWARD_UPLINK_OWN_H
#define SCHOOLWARD_UPLINK_OWN_H

#include <libwebsockets.h>

#include "../core/base/log.h"
#include "uplink.h"
#include "uplink_cert.h"
#include "uplink_media.h"
#include "uplink_name.h"
#include "uplink_queue.h"
#include "uplink_trouble.h"
#include "uplink_url.h"

enum {
    UPLINK_RESULTS_MAX = 16,
    UPLINK_RX_MAX = WIRE_ORDER_MAX, /* Welcome with two full acks is below 4 KiB, an order with a piece of a bundle below 9 KiB */
    UPLINK_CHECK_MS = 5000,
};

enum phase { PHASE_PAUSE, PHASE_RESOLVE, PHASE_CONNECT, PHASE_HELLO, PHASE_SETTLE, PHASE_READY, PHASE_OVER };

struct uplink {
    struct uplink_setup setup;
    struct uplink_url url;
    char gateway[WIRE_TEXT_MAX + 1], secret[UPLINK_SECRET_MAX + 1], ca_file[256];
    struct uplink_target target;
    struct uplink_name name;
    struct uplink_cert cert;
    char address[UPLINK_ADDRESS_MAX + 1]; /* that is being tried */
    char name_error[80];                  /* name service failed, the address is remembered */
    enum rc attach_rc;
    char attach_why[256];
    uv_loop_t *loop;
    uv_timer_t timer;
    struct lws_context *lws;
    struct lws *wsi;
    lws_retry_bo_t alive;
    enum phase phase;
    unsigned tries;                /* failures in a row */
    int64_t phase_ms;              /* begin of the address' search, then of the connection's */
    int64_t heard_ms;              /* newest sign of the peer */
    int64_t next_ms;               /* when the next try begins */
    int64_t ready_ms;              /* 0 = not welcomed on this connection */
    uint16_t close_code;           /* the peer's, 0 none */
    struct uplink_trouble trouble; /* of this try; the first one counts */
    char line[448];                /* its text, of the last try that failed */
    bool tcp_up;                   /* of this try, as far as it was seen */
    bool hello_due, stopping, said_bye, timer_closed, name_idle;
    bool renew;                  /* the secret changed: a new connection is due */
    int64_t report_ms, renew_ms; /* when the next report is due; since when to renew */
    unsigned malformed;          /* refusals of the record below standing alone, see poison() */
    uint64_t suspect;            /* its sequence * 2 + lane */
    struct log_gate gate[UPLINK_CAUSES], memory_gate, own_gate;

    struct uplink_queue queue;
    unsigned generation; /* of the connection, to know late answers of the outbox */
    bool fetching;       /* one at a time */
    unsigned fetch_generation;
    struct uplink_want want;
    uint8_t *tx;   /* LWS_PRE, then room for a frame: for good, a frame a second must not cost an allocation */
    size_t tx_len; /* of the frame ready to be written, 0: none */
    struct uplink_flight tx_flight;
    struct uplink_media media;
    bool media_due; /* a piece of a file goes when the socket takes it */

    struct wire_order_result result[UPLINK_RESULTS_MAX];
    size_t results;
    uint8_t *rx;
    size_t rx_len;
    struct wire_frame *frame; /* to decode into; the only one of the loop */
    struct uplink_figures figures;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

/* uplink.c */
/* The first reason of a try counts: what follows from it is no news. */
void uplink_because(struct uplink *u, enum uplink_cause cause, const char *what, const char *todo);
/* Drop the connection from our side, outside its own callbacks. The reason is set. */
void uplink_kill(struct uplink *u);
/* The Welcome is worked in: records flow from now on. */
void uplink_ready(struct uplink *u);
/* Something that kept it from ending is over. */
void uplink_maybe_stopped(struct uplink *u);

/* uplink_talk.c */
/* Fetch what goes next, if anything may. */
void uplink_pump(struct uplink *u);
/* libwebsockets: the socket takes a frame / a piece of a message came. -1: close. */
int uplink_writeable(struct uplink *u);
/* Is it time to report of oneself? */
bool uplink_report_due(const struct uplink *u);
int uplink_receive(struct uplink *u, const void *in, size_t len);

#endif
