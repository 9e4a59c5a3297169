/*
 * The records' half of the uplink: fetches from the outbox, writes frames, takes what the server says. uplink_own.h
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "uplink_own.h"

/* libwebsockets' number of its LWS_WRITE_CLOSE, which its public header mentions and does not define. */
#define LWS_WRITE_CLOSE_FRAME ((enum lws_write_protocol)4)

/* --- sending --- */

static void on_fetched(void *arg, enum rc rc, enum event_lane lane, const void *frame, size_t len, uint64_t first_seq, size_t n)
{
    struct uplink *u = arg;
    u->fetching = false;
    if (u->stopping) {
        uplink_maybe_stopped(u);
        return;
    }
    if (u->fetch_generation != u->generation || u->phase != PHASE_READY) {
        uplink_pump(u);
        return;
    }
    if (rc == RC_END) {
        uplink_queue_nothing(&u->queue, &u->want);
        uplink_pump(u);
    } else if (rc == RC_OK && len > u->queue.max_frame && n > 1) {
        uplink_queue_smaller(&u->queue);
        uplink_pump(u);
    } else if (rc == RC_OK) {
        memcpy(u->tx + LWS_PRE, frame, len);
        u->tx_len = len;
        u->tx_flight = (struct uplink_flight){.lane = lane, .backlog = u->want.backlog, .first = first_seq, .last = first_seq + n - 1};
        uplink_queue_taken(&u->queue, &u->want, first_seq, n);
        lws_callback_on_writable(u->wsi);
    } /* otherwise the disk failed: the outbox reports it, the check timer asks again */
}

/* Files wait until no record does. */
static void pump_media(struct uplink *u)
{
    int64_t due = uplink_media_due(&u->media, clock_mono_ms());
    if (due > 0 && due < UPLINK_CHECK_MS)
        uv_timer_start(&u->timer, u->timer.timer_cb, (uint64_t)due, UPLINK_CHECK_MS);
    u->media_due = due == 0 && uplink_queue_drained(&u->queue);
    if (u->media_due)
        lws_callback_on_writable(u->wsi);
}

void uplink_pump(struct uplink *u)
{
    if (u->phase != PHASE_READY || u->fetching || u->tx_len > 0 || u->stopping)
        return;
    if (!uplink_queue_next(&u->queue, &u->want)) {
        pump_media(u);
        return;
    }
    u->fetching = true;
    u->fetch_generation = u->generation;
    outbox_fetch(u->setup.outbox, u->want.lane, u->want.from, u->want.to, u->want.max_events, u->want.backlog && !u->queue.in_order, on_fetched, u);
}

static int write_small(struct uplink *u, const uint8_t *frame, size_t len)
{
    uint8_t buf[LWS_PRE + WIRE_SMALL_MAX];
    memcpy(buf + LWS_PRE, frame, len);
    u->figures.bytes += len;
    return lws_write(u->wsi, buf + LWS_PRE, len, LWS_WRITE_BINARY) < (int)len ? -1 : 0;
}

static int write_hello(struct uplink *u)
{
    uint8_t out[WIRE_SMALL_MAX];
    size_t len;
    struct wire_hello h = {.version = WIRE_VERSION};
    u->setup.hello(u->setup.arg, &h);
    snprintf(h.gateway, sizeof h.gateway, "%s", u->gateway);
    outbox_span(u->setup.outbox, h.lane);
    enum rc rc = wire_encode_hello(&h, out, sizeof out, &len);
    if (rc != RC_OK) {
        uplink_because(u, UPLINK_CAUSE_FAULT, "own hello cannot be encoded", rc_text(rc));
        return -1;
    }
    u->hello_due = false;
    return write_small(u, out, len);
}

static int write_media(struct uplink *u)
{
    struct wire_media_part *p = &u->frame->media_part; /* nothing is being decoded now */
    size_t len;
    u->media_due = false;
    if (uplink_media_take(&u->media, clock_mono_ms(), p) != RC_OK)
        return 0;
    uint8_t *buf = malloc(LWS_PRE + p->n + WIRE_SMALL_MAX);
    if (buf == NULL || wire_encode_media_part(p, buf + LWS_PRE, p->n + WIRE_SMALL_MAX, &len) != RC_OK) {
        free(buf);
        return buf == NULL ? -1 : 0;
    }
    int r = lws_write(u->wsi, buf + LWS_PRE, len, LWS_WRITE_BINARY) < (int)len ? -1 : 0;
    free(buf);
    u->figures.bytes += len;
    u->figures.media_bytes += p->n;
    return r;
}

static int write_result(struct uplink *u)
{
    uint8_t out[WIRE_SMALL_MAX];
    size_t len;
    enum rc rc = wire_encode_order_result(&u->result[0], out, sizeof out, &len);
    memmove(&u->result[0], &u->result[1], --u->results * sizeof u->result[0]);
    return rc == RC_OK ? write_small(u, out, len) : 0;
}

/*
 * RFC 6455 7.1.2: send Close, wait for the other's. Not by lws_close_reason() and -1: on a libuv loop libwebsockets 4.1.6 then tears the socket down
 * within the same event, before the frame is written.
 */
static int write_goodbye(struct uplink *u)
{
    uint8_t buf[LWS_PRE + 8];
    if (u->said_bye)
        return 0;
    u->said_bye = true;
    buf[LWS_PRE] = WIRE_CLOSE_BYE >> 8;
    buf[LWS_PRE + 1] = WIRE_CLOSE_BYE & 0xff;
    memcpy(buf + LWS_PRE + 2, "bye", 3);
    return lws_write(u->wsi, buf + LWS_PRE, 5, LWS_WRITE_CLOSE_FRAME) < 0 ? -1 : 0;
}

bool uplink_report_due(const struct uplink *u)
{
    return u->phase == PHASE_READY && u->setup.report != NULL && clock_mono_ms() >= u->report_ms;
}

/* Made when it goes out, never stored: only the newest is worth anything. */
static int write_report(struct uplink *u)
{
    uint8_t out[WIRE_SMALL_MAX];
    struct report r;
    size_t len;
    u->report_ms = clock_mono_ms() + u->setup.report_ms;
    u->setup.report(u->setup.arg, &r);
    return wire_encode_report(&r, out, sizeof out, &len) == RC_OK ? write_small(u, out, len) : 0;
}

int uplink_writeable(struct uplink *u)
{
    int r = 0;
    if (u->stopping)
        return write_goodbye(u);
    if (u->hello_due) {
        r = write_hello(u);
    } else if (u->results > 0) {
        r = write_result(u);
    } else if (uplink_report_due(u)) {
        r = write_report(u);
    } else if (u->tx_len > 0) {
        r = lws_write(u->wsi, u->tx + LWS_PRE, u->tx_len, LWS_WRITE_BINARY) < (int)u->tx_len ? -1 : 0;
        u->figures.batches++;
        u->figures.bytes += u->tx_len;
        u->figures.events += u->tx_flight.last - u->tx_flight.first + 1;
        if (u->tx_flight.backlog)
            u->figures.backlog_events += u->tx_flight.last - u->tx_flight.first + 1;
        uplink_queue_sent(&u->queue, &u->tx_flight, clock_mono_ms());
        u->tx_len = 0;
        uplink_pump(u);
    } else if (u->media_due && !u->fetching) {
        r = write_media(u);
    }
    if (r == 0 && (u->results > 0 || u->tx_len > 0 || uplink_report_due(u)))
        lws_callback_on_writable(u->wsi);
    return r;
}

/* --- receiving --- */

static void on_settled(void *arg, enum rc rc)
{
    struct uplink *u = arg;
    u->fetching = false;
    if (u->stopping) {
        uplink_maybe_stopped(u);
        return;
    }
    if (u->fetch_generation != u->generation || u->phase != PHASE_SETTLE)
        return;
    if (rc != RC_OK) {
        uplink_because(u, UPLINK_CAUSE_FAULT, "the outbox cannot be read", "look at the disk");
        uplink_kill(u);
        return;
    }
    uplink_ready(u);
    uplink_pump(u);
}

static int take_welcome(struct uplink *u, const struct wire_welcome *w)
{
    if (u->phase != PHASE_HELLO || u->fetching)
        return u->phase == PHASE_HELLO ? 1 : -1;
    if (w->version != WIRE_VERSION) {
        char text[64];
        snprintf(text, sizeof text, "the server answers with protocol version %u", w->version);
        uplink_because(u, UPLINK_CAUSE_VERSION, text, "update the older one");
        return -1;
    }
    if (u->setup.server_time != NULL)
        u->setup.server_time(u->setup.arg, w->time_ms, u->url.tls);
    u->phase = PHASE_SETTLE;
    uplink_queue_limits(&u->queue, w->max_frame);
    u->fetching = true;
    u->fetch_generation = u->generation;
    outbox_welcome(u->setup.outbox, w->ack, on_settled, u);
    return 0;
}

static void take_ack(struct uplink *u, const struct wire_ack *a)
{
    if (u->phase != PHASE_READY)
        return;
    int64_t now = clock_mono_ms(), took = -1;
    outbox_acked(u->setup.outbox, a);
    u->figures.acks++;
    u->tries = 0;
    if (uplink_queue_acked(&u->queue, a, now, &took))
        log_notice("uplink", "the server keeps too many gaps of lane %d: sending in order until they are closed", (int)a->lane);
    if (took >= 0)
        u->figures.ack_ms = took;
    lws_validity_confirmed(u->wsi);
    uplink_pump(u);
}

static int take_message(struct uplink *u)
{
    const char *fault = NULL;
    enum rc rc = wire_decode(u->rx, u->rx_len, u->frame, &fault);
    if (rc != RC_OK) {
        char text[160];
        snprintf(text, sizeof text, "the server's message cannot be read (%s)", fault);
        uplink_because(u, UPLINK_CAUSE_FAULT, text, "is that a Schoolward server of the same version?");
        return -1;
    }
    switch (u->frame->kind) {
    case WIRE_WELCOME: {
        int r = take_welcome(u, &u->frame->welcome);
        if (r > 0) /* an answer of the outbox for the connection before is still on its way; rare enough to begin again */
            uplink_because(u, UPLINK_CAUSE_FAULT, "the disk is busy", "");
        return r == 0 ? 0 : -1;
    }
    case WIRE_ACK: take_ack(u, &u->frame->ack); return 0;
    case WIRE_ORDER:
        if (u->setup.order != NULL)
            u->setup.order(u->setup.arg, &u->frame->order);
        return 0;
    case WIRE_MEDIA_ACK:
        if (u->phase == PHASE_READY) {
            uplink_media_acked(&u->media, clock_mono_ms(), &u->frame->media_ack);
            uplink_pump(u);
        }
        return 0;
    case WIRE_BATCH:
    case WIRE_HELLO:
    case WIRE_MEDIA_PART:
    case WIRE_ORDER_RESULT:
    case WIRE_REPORT:
    case WIRE_ENROL:
    case WIRE_ENROLLED: break;
    }
    uplink_because(u, UPLINK_CAUSE_FAULT, "the server sent a message only gateways send", "");
    return -1;
}

int uplink_receive(struct uplink *u, const void *in, size_t len)
{
    if (u->rx_len + len > UPLINK_RX_MAX) {
        uplink_because(u, UPLINK_CAUSE_FAULT, "the server's message is too long", "is that a Schoolward server of the same version?");
        return -1;
    }
    memcpy(u->rx + u->rx_len, in, len);
    u->rx_len += len;
    if (lws_remaining_packet_payload(u->wsi) > 0 || !lws_is_final_fragment(u->wsi))
        return 0;
    int r = take_message(u);
    u->rx_len = 0;
    return r;
}
