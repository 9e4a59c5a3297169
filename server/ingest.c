#include "ingest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "journal_read.h"

enum {
    WHEEL = 64,      /* seconds; who waits longer is looked at in between */
    DOOMED_MS = 5000, /* a close frame the peer does not take */
    BURST_S = 10,
    ENROLS_MAX = 64, /* strangers with a code at a time */
};

/* --- who belongs where ---
 * gate: one per vehicle of the fleet, for good: what is settled, and the rate. link: one per connection.
 */
struct node {
    struct node *next, *prev;
};

enum link_state { LINK_NEW, LINK_READY, LINK_DOOMED };

struct link { /* lws' per-session memory */
    struct lws *wsi;
    struct gate *gate;    /* NULL: not authorised */
    struct node watch;    /* in the wheel, by when to look after it */
    struct node prompt;   /* waits for the next commit */
    struct node deferred; /* waits until ack_ms is over */
    uint64_t due_ms;      /* of deferred; the loop's clock */
    uint64_t heard_ms;
    uint64_t since_ms; /* connected, or doomed */
    uint8_t *part;     /* a message that came in pieces so far */
    uint32_t part_n, part_cap;
    uint16_t unacked;  /* frames put since the last ack */
    uint16_t code;     /* of LINK_DOOMED */
    const char *reason, *detail; /* static texts */
    uint8_t state, ack_lanes; /* bit per lane: something to acknowledge */
    bool pinged, want_ack;    /* want_ack: the socket was not ready */
    bool enrol;               /* a stranger who wants to be enrolled: gate is NULL */
    struct devices_cursor orders;
    bool eager;               /* what is not acknowledged yet must not wait for ack_ms */
};

struct span { /* a settled set that is small while it has no ranges */
    uint64_t through;
    struct wire_settled *full; /* NULL: no ranges */
};
struct gate_lane {
    struct span now;         /* with all that was put */
    struct span before;      /* as of ticket_before */
    uint64_t ticket, ticket_before, ticket_acked;
    uint64_t hello_last;     /* newest sequence the gateway had when it connected */
};
struct gate {
    struct link *link; /* the connection, NULL = none */
    struct fleet_vehicle *vehicle;
    struct gate_lane lane[EVENT_LANES];
    float tokens, byte_tokens;
    uint64_t filled_ms;
    struct log_gate complaint;
};

struct ingest {
    struct ingest_setup setup;
    struct gate *gate; /* by vehicle index */
    struct node wheel[WHEEL], prompt, deferred;
    uint64_t tick_s;
    uint64_t settled;
    size_t part_bytes;
    bool draining;
    /* result of the look at the upgrade's headers, for the callback that follows at once */
    const struct lws *checked;
    struct gate *checked_gate;
    bool checked_enrol;
    size_t enrols;
    struct wire_order order;     /* to be sent: one at a time is enough */
    struct wire_enrolled enrolled;
    uint64_t loop_ms;  /* the loop's clock when wall_ms was read */
    int64_t wall_ms;
    struct log_gate strangers;
    struct ingest_figures figures;
    struct wire_frame frame;
    uint8_t buf[LWS_PRE + WIRE_FRAME_MAX];
};

static void list_init(struct node *head)
{
    head->next = head->prev = head;
}

static void list_append(struct node *head, struct node *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

static void list_remove(struct node *n)
{
    if (n->next == NULL)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
}

#define LINK_OF(node, member) ((struct link *)(void *)((char *)(node)-offsetof(struct link, member)))

/* One look at the clock per turn of the loop, not per message. */
static uint64_t loop_now(struct ingest *in)
{
    uint64_t t = uv_now(in->setup.loop);
    if (t != in->loop_ms) {
        in->loop_ms = t;
        in->wall_ms = clock_wall_ms();
    }
    return t;
}

static void watch_in(struct ingest *in, struct link *l, uint64_t ms)
{
    list_remove(&l->watch);
    uint64_t s = (ms + 999) / 1000;
    s = s < 1 ? 1 : s >= WHEEL ? WHEEL - 1 : s;
    list_append(&in->wheel[(in->tick_s + s) % WHEEL], &l->watch);
}

/* --- settled sets --- */

static void span_load(const struct span *s, struct wire_settled *ret_w)
{
    if (s->full != NULL) {
        *ret_w = *s->full;
    } else {
        ret_w->through = s->through;
        ret_w->ranges = 0;
    }
}

static bool span_store(struct span *s, const struct wire_settled *w)
{
    if (w->ranges == 0) {
        free(s->full);
        s->full = NULL;
    } else {
        if (s->full == NULL)
            s->full = malloc(sizeof *s->full);
        if (s->full == NULL)
            return false;
        *s->full = *w;
    }
    s->through = w->through;
    return true;
}

static bool lane_clean(const struct gate_lane *l)
{
    return l->now.full == NULL && l->now.through >= l->hello_last;
}

/* What is on disk of this lane: everything put, or what was put before the batch that is still open. */
static void lane_on_disk(const struct ingest *in, const struct gate_lane *l, struct wire_settled *ret_w)
{
    span_load(l->ticket <= in->settled ? &l->now : &l->before, ret_w);
}

static void ack_of(const struct ingest *in, const struct gate *g, uint8_t lane, struct wire_ack *ret_a)
{
    struct wire_settled w;
    lane_on_disk(in, &g->lane[lane], &w);
    ret_a->lane = lane;
    ret_a->through = w.through;
    ret_a->ranges = w.ranges;
    if (w.ranges > 0)
        memcpy(ret_a->range, w.range, w.ranges * sizeof w.range[0]);
}

/* --- closing --- */

static void link_close(struct ingest *in, struct link *l, uint16_t code, const char *reason, const char *detail)
{
    if (l->state == LINK_DOOMED)
        return;
    l->state = LINK_DOOMED;
    l->code = code;
    l->reason = reason;
    l->detail = detail;
    l->since_ms = loop_now(in);
    list_remove(&l->prompt);
    list_remove(&l->deferred);
    watch_in(in, l, DOOMED_MS);
    /*
     * Not in the writeable callback: what returns an error there counts as a dead socket and gets no close frame (libwebsockets 4.1.6). A timer is only
     * looked at after some event of the socket, so ask for one: we may have been called from outside.
     */
    lws_set_timer_usecs(l->wsi, 1);
    lws_callback_on_writable(l->wsi);
    uint64_t *count = code == WIRE_CLOSE_UNAUTHORISED ? &in->figures.unauthorised
                      : code == WIRE_CLOSE_MALFORMED  ? &in->figures.malformed
                      : code == WIRE_CLOSE_SILENT     ? &in->figures.silent
                      : code == WIRE_CLOSE_REPLACED   ? &in->figures.replaced
                      : code == WIRE_CLOSE_VERSION    ? &in->figures.version
                      : code == WIRE_CLOSE_TOO_FAST   ? &in->figures.too_fast
                      : code == LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE ? &in->figures.too_big
                                                                   : NULL;
    if (count != NULL)
        ++*count;
    struct log_gate *gate = l->gate != NULL ? &l->gate->complaint : &in->strangers;
    if (code >= 4400 && code != WIRE_CLOSE_REPLACED && log_gate_trouble(gate, clock_mono_ms()))
        log_warning("ingest", "%s: closed with %u %s%s%s (%u times)", l->gate != NULL ? l->gate->vehicle->duty->gateway : "unknown gateway", code, reason,
                    detail[0] != '\0' ? ": " : "", detail, gate->since_said);
}

static void part_free(struct ingest *in, struct link *l)
{
    in->part_bytes -= l->part_cap;
    free(l->part);
    l->part = NULL;
    l->part_n = l->part_cap = 0;
}

/* --- sending --- */

static bool link_send(struct ingest *in, struct link *l, size_t n, enum lws_write_protocol kind)
{
    if (lws_write(l->wsi, in->buf + LWS_PRE, n, kind) >= (int)n)
        return true;
    lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_cancel_service(lws_get_context(l->wsi));
    return false;
}

/*
 * Acknowledge what is on disk of the lanes that have news. Small and rare, so it is written at once, without a detour over the poll set; unless the
 * peer has not taken the last one yet: then when it has.
 */
static void send_acks(struct ingest *in, struct link *l)
{
    struct gate *g = l->gate;
    list_remove(&l->prompt);
    list_remove(&l->deferred);
    if (lws_partial_buffered(l->wsi)) {
        l->want_ack = true;
        lws_callback_on_writable(l->wsi);
        return;
    }
    uint8_t lanes = l->ack_lanes;
    l->want_ack = false;
    l->ack_lanes = 0;
    l->unacked = 0;
    for (unsigned lane = 0; lane < EVENT_LANES; lane++) {
        struct wire_ack a;
        size_t n;
        if ((lanes & 1U << lane) == 0)
            continue;
        ack_of(in, g, lane, &a);
        if (wire_encode_ack(&a, in->buf + LWS_PRE, WIRE_SMALL_MAX, &n) != RC_OK || !link_send(in, l, n, LWS_WRITE_BINARY))
            return;
        in->figures.acks++;
        g->lane[lane].ticket_acked = g->lane[lane].ticket;
        if (g->lane[lane].ticket > in->settled) { /* the newest is in the open batch: another ack later */
            g->lane[lane].ticket_acked = g->lane[lane].ticket_before;
            l->ack_lanes |= (uint8_t)(1U << lane);
        }
    }
    if (l->ack_lanes == 0) {
        l->eager = false;
    } else if (l->eager) {
        list_append(&in->prompt, &l->prompt);
    } else {
        l->due_ms = loop_now(in) + (uint64_t)in->setup.ack_ms;
        list_append(&in->deferred, &l->deferred);
    }
}

/* Is there news on disk that was not acknowledged yet? */
static bool something_settled(const struct ingest *in, const struct link *l)
{
    for (size_t i = 0; i < EVENT_LANES; i++) {
        const struct gate_lane *lane = &l->gate->lane[i];
        uint64_t ticket = lane->ticket <= in->settled ? lane->ticket : lane->ticket_before;
        if ((l->ack_lanes & 1U << i) != 0 && ticket <= in->settled && ticket > lane->ticket_acked)
            return true;
    }
    return false;
}

static bool all_settled(const struct ingest *in, const struct link *l)
{
    for (size_t i = 0; i < EVENT_LANES; i++)
        if ((l->ack_lanes & 1U << i) != 0 && l->gate->lane[i].ticket > in->settled)
            return false;
    return true;
}

static void send_due(struct ingest *in)
{
    uint64_t now = loop_now(in);
    for (struct node *n = in->prompt.next, *next; n != &in->prompt; n = next) {
        struct link *l = LINK_OF(n, prompt);
        next = n->next;
        if (something_settled(in, l) || all_settled(in, l))
            send_acks(in, l);
    }
    while (in->deferred.next != &in->deferred) {
        struct link *l = LINK_OF(in->deferred.next, deferred);
        if (l->due_ms > now)
            break;
        if (something_settled(in, l)) {
            send_acks(in, l);
        } else { /* the disk is slow: with the next commit */
            list_remove(&l->deferred);
            if (l->prompt.next == NULL)
                list_append(&in->prompt, &l->prompt);
        }
    }
}

void ingest_settled(struct ingest *in, uint64_t ticket)
{
    if (ticket > in->settled)
        in->settled = ticket;
    send_due(in);
}

/* Something of this lane is to be acknowledged: at once (with its commit), or within ack_ms. */
static void ack_later(struct ingest *in, struct link *l, uint8_t lane, bool at_once)
{
    l->ack_lanes |= (uint8_t)(1U << lane);
    l->eager = l->eager || at_once;
    if (l->unacked < UINT16_MAX)
        l->unacked++;
    if (l->eager || l->unacked >= INGEST_ACK_FRAMES) {
        if (l->prompt.next == NULL)
            list_append(&in->prompt, &l->prompt);
    } else if (l->deferred.next == NULL && l->prompt.next == NULL) {
        l->due_ms = loop_now(in) + (uint64_t)in->setup.ack_ms;
        list_append(&in->deferred, &l->deferred);
    }
}

static void send_welcome(struct ingest *in, struct link *l)
{
    static struct wire_welcome w; /* 4 kB, one loop */
    size_t n;
    w.version = WIRE_VERSION;
    w.time_ms = in->wall_ms;
    w.max_frame = WIRE_FRAME_MAX;
    for (unsigned i = 0; i < EVENT_LANES; i++)
        ack_of(in, l->gate, i, &w.ack[i]);
    if (wire_encode_welcome(&w, in->buf + LWS_PRE, WIRE_SMALL_MAX, &n) == RC_OK)
        link_send(in, l, n, LWS_WRITE_BINARY);
}

/* --- receiving --- */

/* Does the gateway keep to its rate? */
static bool within_rate(struct ingest *in, struct gate *g, uint64_t now, size_t bytes)
{
    if (now != g->filled_ms) {
        float s = (float)(now - g->filled_ms) / 1000.0F;
        float rate = (float)in->setup.rate_per_s, byte_rate = (float)in->setup.bytes_per_s;
        g->tokens = g->tokens + s * rate < BURST_S * rate ? g->tokens + s * rate : BURST_S * rate;
        g->byte_tokens = g->byte_tokens + s * byte_rate < BURST_S * byte_rate ? g->byte_tokens + s * byte_rate : BURST_S * byte_rate;
        g->filled_ms = now;
    }
    g->tokens -= 1;
    g->byte_tokens -= (float)bytes;
    return g->tokens >= 0 && g->byte_tokens >= 0;
}

static void on_hello(struct ingest *in, struct link *l)
{
    const struct wire_hello *h = &in->frame.hello;
    struct gate *g = l->gate;
    if (strcmp(h->gateway, g->vehicle->duty->gateway) != 0) {
        link_close(in, l, WIRE_CLOSE_UNAUTHORISED, "unauthorised", "hello.gateway is not the one of the upgrade");
        return;
    }
    for (unsigned i = 0; i < EVENT_LANES; i++) {
        struct gate_lane *lane = &g->lane[i];
        struct wire_settled w;
        lane->hello_last = h->lane[i].last_seq;
        /* What lies below the oldest one kept never comes any more (given up on a full disk, or acknowledged into a file we lost). */
        span_load(&lane->now, &w);
        if (h->lane[i].first_seq > w.through + 1 && h->lane[i].first_seq <= UINT64_MAX / 2 && wire_settle(&w, 1, h->lane[i].first_seq - 1) == RC_OK)
            span_store(&lane->now, &w);
        if (h->lane[i].last_seq > 0 && h->lane[i].last_seq < w.through && g->vehicle->received_ms != 0)
            log_warning("ingest", "%s: lane %u begins again at sequence %llu below %llu already stored: what it sends up to there counts as repeats; was its "
                                  "memory replaced? then give it a new gateway id",
                        h->gateway, i, (unsigned long long)h->lane[i].last_seq, (unsigned long long)w.through);
    }
    l->state = LINK_READY;
    send_welcome(in, l);
    if (in->setup.devices != NULL) {
        devices_hello(in->setup.devices, h, in->wall_ms);
        lws_callback_on_writable(l->wsi); /* orders that wait */
    }
}

/* One order, or one piece of a bundle, whenever the socket has room. */
static bool send_order(struct ingest *in, struct link *l)
{
    size_t n;
    loop_now(in);
    if (in->setup.devices == NULL || l->state != LINK_READY || lws_partial_buffered(l->wsi) ||
        !devices_next(in->setup.devices, l->gate->vehicle->duty->gateway, &l->orders, in->wall_ms, &in->order))
        return true;
    if (wire_encode_order(&in->order, in->buf + LWS_PRE, WIRE_ORDER_MAX, &n) != RC_OK)
        return true; /* of a newer program: the cursor is beyond it */
    bool ok = link_send(in, l, n, LWS_WRITE_BINARY);
    OPENSSL_cleanse(in->order.text, sizeof in->order.text);
    lws_callback_on_writable(l->wsi);
    return ok;
}

/* From the gateway itself: what became of an order, how it is. */
static void on_own_words(struct ingest *in, struct link *l)
{
    const char *gateway = l->gate->vehicle->duty->gateway;
    if (in->setup.devices == NULL)
        return;
    if (in->frame.kind == WIRE_REPORT) {
        devices_report(in->setup.devices, gateway, &in->frame.report, in->wall_ms);
        return;
    }
    devices_result(in->setup.devices, gateway, &in->frame.order_result, in->wall_ms);
    if (in->frame.order_result.id == l->orders.order)
        l->orders.sent_ms = l->orders.size = 0;
    lws_callback_on_writable(l->wsi); /* the next one */
}

/* A stranger with a code. Every no has the same words. */
static void on_enrol(struct ingest *in, struct link *l, const void *p, size_t n)
{
    const char *fault = "";
    size_t len;
    loop_now(in);
    if (wire_decode(p, n, &in->frame, &fault) != RC_OK || in->frame.kind != WIRE_ENROL) {
        link_close(in, l, WIRE_CLOSE_MALFORMED, "malformed", fault[0] != '\0' ? fault : "only enrol is understood here");
        return;
    }
    bool stored = in->frame.enrol.stored;
    enum rc rc = fleet_by_gateway(in->setup.fleet, in->frame.enrol.gateway) == NULL
                     ? RC_DENIED
                     : devices_enrol(in->setup.devices, &in->frame.enrol, in->wall_ms, &in->enrolled);
    OPENSSL_cleanse(in->frame.enrol.code, sizeof in->frame.enrol.code);
    if (rc == RC_AGAIN)
        link_close(in, l, WIRE_CLOSE_TOO_FAST, "too fast", "too many codes are being tried, wait a minute");
    else if (rc == RC_DENIED)
        link_close(in, l, WIRE_CLOSE_UNAUTHORISED, "unauthorised", "unknown gateway, or the code is wrong, used or older than a day");
    else if (rc != RC_OK)
        link_close(in, l, WIRE_CLOSE_RESTART, "restart", "the server cannot store it now, try again with the same code");
    else if (stored)
        link_close(in, l, WIRE_CLOSE_BYE, "bye", "");
    else if (wire_encode_enrolled(&in->enrolled, in->buf + LWS_PRE, WIRE_ORDER_MAX, &len) == RC_OK)
        link_send(in, l, len, LWS_WRITE_BINARY);
    OPENSSL_cleanse(in->enrolled.secret, sizeof in->enrolled.secret);
    OPENSSL_cleanse(in->buf, LWS_PRE + WIRE_ORDER_MAX);
}

/* n events from first_seq on, none of them settled, and `skipped` before it that never come; frame is what is kept of them. False: not accepted. */
static bool take_in(struct ingest *in, struct link *l, const struct event *e, size_t n, uint64_t first_seq, uint64_t skipped, bool backlog, uint8_t lane_no,
                    const void *frame, size_t len)
{
    struct gate *g = l->gate;
    struct gate_lane *lane = &g->lane[lane_no];
    struct wire_settled w;
    uint64_t ticket;
    if (lane->now.full == NULL && first_seq - skipped <= lane->now.through + 1) { /* usual case */
        w.through = first_seq + n - 1;
        w.ranges = 0;
    } else {
        span_load(&lane->now, &w);
        if (wire_settle(&w, first_seq - skipped, first_seq + n - 1) != RC_OK) {
            in->figures.full++;
            ack_later(in, l, lane_no, true); /* tells the gateway where the gap is */
            return false;
        }
    }
    if (journal_put(in->setup.journal, g->vehicle->duty->gateway, (enum event_lane)lane_no, in->wall_ms, frame, len, &w, &ticket) != RC_OK) {
        link_close(in, l, WIRE_CLOSE_TOO_FAST, "too fast", "the server cannot store as fast as this, keep it and come back later");
        return false;
    }
    if (ticket != lane->ticket) {
        free(lane->before.full);
        lane->before = lane->now;
        lane->now.full = NULL;
        lane->ticket_before = lane->ticket;
        lane->ticket = ticket;
    }
    if (!span_store(&lane->now, &w)) { /* out of memory: it is in the journal; a restart knows it, until then repeats of it come through */
        log_error("ingest", "out of memory");
        return false;
    }
    if (g->complaint.trouble && log_gate_over(&g->complaint))
        log_notice("ingest", "%s: sends good data again", g->vehicle->duty->gateway);
    in->figures.frames++;
    in->figures.events += n;
    in->figures.bytes += len;
    ack_later(in, l, lane_no, backlog || lane_no == EVENT_LANE_URGENT);
    for (size_t i = 0; i < n; i++) {
        bool late = journal_read_late(backlog, &e[i], in->wall_ms);
        in->figures.late += late;
        fleet_apply(in->setup.fleet, g->vehicle, &e[i], in->wall_ms, late, false);
    }
    return true;
}

/* Some of the batch is there already: keep only what is new, in frames of its own, so that the journal never holds an event twice. */
static void accept_rest(struct ingest *in, struct link *l, const struct wire_batch *b)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct wire_settled w;
    span_load(&l->gate->lane[b->lane].now, &w);
    if (b->skipped > 0 && wire_settle(&w, b->first_seq - b->skipped, b->first_seq - 1) == RC_OK) /* also where no event of it is new */
        span_store(&l->gate->lane[b->lane].now, &w);
    for (size_t i = 0, k; i < b->n && l->state == LINK_READY; i = k) {
        size_t len;
        bool there = wire_is_settled(&w, b->first_seq + i);
        for (k = i + 1; k < b->n && wire_is_settled(&w, b->first_seq + k) == there; k++)
            ;
        if (there) {
            in->figures.repeats += k - i;
            continue;
        }
        uint64_t skipped = i == 0 ? b->skipped : 0;
        if (wire_encode_batch_after((enum event_lane)b->lane, b->first_seq + i, skipped, b->backlog, b->event + i, k - i, frame, sizeof frame, &len) != RC_OK ||
            !take_in(in, l, b->event + i, k - i, b->first_seq + i, skipped, b->backlog, b->lane, frame, len))
            return;
    }
    if (l->state == LINK_READY)
        ack_later(in, l, b->lane, true); /* the ack of the first time was lost */
}

static void on_batch(struct ingest *in, struct link *l, const void *p, size_t n)
{
    const struct wire_batch *b = &in->frame.batch;
    struct gate *g = l->gate;
    struct gate_lane *lane = &g->lane[b->lane];
    uint64_t last = b->first_seq + b->n - 1;
    if (b->first_seq > lane->now.through && lane->now.full == NULL) {
        if (!take_in(in, l, b->event, b->n, b->first_seq, b->skipped, b->backlog, b->lane, p, n))
            return;
    } else if (last <= lane->now.through) {
        in->figures.repeats += b->n;
        ack_later(in, l, b->lane, true);
    } else {
        accept_rest(in, l, b);
    }
    if (g->vehicle->late != NULL && lane_clean(&g->lane[0]) && lane_clean(&g->lane[1]))
        fleet_caught_up(in->setup.fleet, g->vehicle);
    if (l->prompt.next != NULL && all_settled(in, l)) /* nothing new that a commit would answer */
        send_acks(in, l);
}

/* At once, or never: a gateway that hears nothing asks again. */
static void send_media_ack(struct ingest *in, struct link *l, const struct wire_media_ack *a)
{
    size_t n;
    if (l->state != LINK_READY || lws_partial_buffered(l->wsi))
        return;
    if (wire_encode_media_ack(a, in->buf + LWS_PRE, WIRE_SMALL_MAX, &n) == RC_OK)
        link_send(in, l, n, LWS_WRITE_BINARY);
}

static void on_media_part(struct ingest *in, struct link *l)
{
    struct wire_media_ack a = {.state = WIRE_MEDIA_REFUSED, .reason = "this server keeps no pictures"};
    const struct wire_media_part *p = &in->frame.media_part;
    memcpy(a.sha256, p->sha256, WIRE_SHA256);
    if (in->setup.footage == NULL || footage_take(in->setup.footage, l->gate->vehicle->duty->gateway, p, &a) == RC_OK)
        send_media_ack(in, l, &a);
}

void ingest_footage_answer(struct ingest *in, const char *gateway, const struct wire_media_ack *a)
{
    const struct fleet_vehicle *v = fleet_by_gateway(in->setup.fleet, gateway);
    struct link *l = v != NULL ? in->gate[v->index].link : NULL;
    if (l != NULL)
        send_media_ack(in, l, a);
}

static void on_message(struct ingest *in, struct link *l, const void *p, size_t n)
{
    const char *fault = "";
    uint64_t now = loop_now(in);
    l->heard_ms = now;
    l->pinged = false;
    if (l->enrol) {
        on_enrol(in, l, p, n);
        return;
    }
    if (!within_rate(in, l->gate, now, n)) {
        link_close(in, l, WIRE_CLOSE_TOO_FAST, "too fast", "more messages or bytes per second than allowed, wait and reconnect");
        return;
    }
    enum rc rc = wire_decode(p, n, &in->frame, &fault);
    if (rc == RC_UNSUPPORTED)
        link_close(in, l, WIRE_CLOSE_VERSION, "version", "this server speaks version 1");
    else if (rc != RC_OK)
        link_close(in, l, WIRE_CLOSE_MALFORMED, "malformed", fault);
    else if (l->state == LINK_NEW && in->frame.kind != WIRE_HELLO)
        link_close(in, l, WIRE_CLOSE_MALFORMED, "malformed", "the first message must be hello");
    else if (in->frame.kind == WIRE_HELLO && l->state == LINK_READY)
        link_close(in, l, WIRE_CLOSE_MALFORMED, "malformed", "hello twice");
    else if (in->frame.kind == WIRE_HELLO)
        on_hello(in, l);
    else if (in->frame.kind == WIRE_BATCH)
        on_batch(in, l, p, n);
    else if (in->frame.kind == WIRE_MEDIA_PART)
        on_media_part(in, l);
    else if (in->frame.kind == WIRE_ORDER_RESULT || in->frame.kind == WIRE_REPORT)
        on_own_words(in, l);
    else
        link_close(in, l, WIRE_CLOSE_MALFORMED, "malformed", "only hello, batch, media_part, order_result and report come from a gateway");
}

/* A message in pieces: put together first. */
static void on_piece(struct ingest *in, struct link *l, const void *p, size_t n, bool last)
{
    if (l->part_n + n > WIRE_FRAME_MAX) {
        link_close(in, l, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "too big", "at most 65536 bytes");
        return;
    }
    if (l->part_n + n > l->part_cap) {
        size_t cap = l->part_cap == 0 ? 4096 : l->part_cap;
        while (cap < l->part_n + n)
            cap *= 2;
        uint8_t *more = in->part_bytes + cap - l->part_cap > INGEST_PARTS_MAX ? NULL : realloc(l->part, cap);
        if (more == NULL) {
            link_close(in, l, WIRE_CLOSE_TOO_FAST, "too fast", "too many large messages at once, send smaller batches");
            return;
        }
        in->part_bytes += cap - l->part_cap;
        l->part = more;
        l->part_cap = (uint32_t)cap;
    }
    memcpy(l->part + l->part_n, p, n);
    l->part_n += (uint32_t)n;
    if (!last)
        return;
    on_message(in, l, l->part, l->part_n);
    part_free(in, l);
}

static void on_receive(struct ingest *in, struct link *l, const void *p, size_t n)
{
    if (l->state == LINK_DOOMED)
        return;
    bool first = lws_is_first_fragment(l->wsi) != 0, last = lws_is_final_fragment(l->wsi) != 0;
    if (!lws_frame_is_binary(l->wsi))
        link_close(in, l, WIRE_CLOSE_MALFORMED, "malformed", "text, not binary");
    else if (first && last)
        on_message(in, l, p, n);
    else
        on_piece(in, l, p, n, last);
}

/* --- the door --- */

/* Whose secret is it? NULL nobody's. */
static struct gate *authorise(struct ingest *in, struct lws *wsi)
{
    static const char bearer[] = "Bearer ";
    char secret[300], name[DUTY_ID_MAX + 2];
    uint8_t hash[SHA256_DIGEST_LENGTH], none[SHA256_DIGEST_LENGTH] = {0};
    int n = lws_hdr_copy(wsi, secret, sizeof secret, WSI_TOKEN_HTTP_AUTHORIZATION);
    int m = lws_hdr_custom_copy(wsi, name, sizeof name, "schoolward-gateway:", 19);
    if (n <= (int)sizeof bearer - 1 || strncmp(secret, bearer, sizeof bearer - 1) != 0 || m <= 0)
        return NULL;
    const struct fleet_vehicle *v = fleet_by_gateway(in->setup.fleet, name);
    SHA256((const uint8_t *)secret + sizeof bearer - 1, (size_t)n - (sizeof bearer - 1), hash);
    OPENSSL_cleanse(secret, sizeof secret);
    /* An unknown gateway takes as long as a wrong secret; an all-zero hash in the fleet file is no secret at all. */
    const uint8_t *want = v != NULL ? v->duty->secret_sha256 : none;
    if (in->setup.devices != NULL) {
        bool in_order = devices_admit(in->setup.devices, name, hash, want);
        return v != NULL && in_order ? &in->gate[v->index] : NULL;
    }
    bool same = CRYPTO_memcmp(hash, want, sizeof hash) == 0;
    bool set = CRYPTO_memcmp(want, none, sizeof none) != 0;
    return v != NULL && same && set ? &in->gate[v->index] : NULL;
}

/* 0 go on; -1 refuse before the upgrade. A wrong secret is told after it, by close code (docs/protocol.md 1). */
static int on_filter(struct ingest *in, struct lws *wsi)
{
    char path[sizeof INGEST_PATH + 1];
    if (in->draining || in->figures.connections >= in->setup.max_connections)
        return -1;
    if (lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI) <= 0 || strcmp(path, INGEST_PATH) != 0)
        return -1;
    char word[8];
    in->checked = wsi;
    in->checked_enrol = in->setup.devices != NULL && lws_hdr_copy(wsi, word, sizeof word, WSI_TOKEN_HTTP_AUTHORIZATION) > 0 && strcmp(word, "Enrol") == 0;
    if (in->checked_enrol && in->enrols >= ENROLS_MAX)
        return -1;
    in->checked_gate = in->checked_enrol ? NULL : authorise(in, wsi);
    return 0;
}

/* A greeted connection is looked after from half of silent_ms on, whatever hello_ms is. */
static uint64_t first_look_ms(const struct ingest *in)
{
    int64_t half_ms = in->setup.silent_ms / 2;
    return (uint64_t)(in->setup.hello_ms < half_ms ? in->setup.hello_ms : half_ms);
}

static void on_established(struct ingest *in, struct link *l, struct lws *wsi)
{
    *l = (struct link){.wsi = wsi, .state = LINK_NEW};
    l->since_ms = l->heard_ms = loop_now(in);
    l->gate = in->checked == wsi ? in->checked_gate : NULL;
    l->enrol = in->checked == wsi && in->checked_enrol;
    in->checked = NULL;
    in->figures.connections++;
    if (l->enrol) {
        in->enrols++;
        watch_in(in, l, first_look_ms(in));
        return;
    }
    if (l->gate == NULL) {
        link_close(in, l, WIRE_CLOSE_UNAUTHORISED, "unauthorised", "unknown gateway or wrong secret");
        return;
    }
    watch_in(in, l, first_look_ms(in));
    if (l->gate->link != NULL) {
        struct link *old = l->gate->link;
        link_close(in, old, WIRE_CLOSE_REPLACED, "replaced", "the same gateway connected again");
        old->gate = NULL;
    }
    l->gate->link = l;
    fleet_link(in->setup.fleet, l->gate->vehicle, true, in->wall_ms);
}

static void on_closed(struct ingest *in, struct link *l)
{
    if (l->wsi == NULL)
        return;
    list_remove(&l->watch);
    list_remove(&l->prompt);
    list_remove(&l->deferred);
    part_free(in, l);
    in->figures.connections--;
    in->enrols -= l->enrol;
    if (l->gate != NULL && l->gate->link == l) {
        l->gate->link = NULL;
        loop_now(in);
        fleet_link(in->setup.fleet, l->gate->vehicle, false, in->wall_ms);
    }
    l->wsi = NULL;
}

/* -1: close with the reason. */
static int on_timer(struct link *l)
{
    char text[124];
    if (l->state != LINK_DOOMED)
        return 0;
    int n = snprintf(text, sizeof text, "%s%s%s", l->reason, l->detail[0] != '\0' ? ": " : "", l->detail);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    lws_close_reason(l->wsi, (enum lws_close_status)l->code, (unsigned char *)text, len);
    return -1;
}

/* Not an empty one: libwebsockets 4.1.6 does not tell of the empty pong that answers it. */
static bool link_ping(struct ingest *in, struct link *l)
{
    in->buf[LWS_PRE] = '.';
    return link_send(in, l, 1, LWS_WRITE_PING);
}

static int on_writable(struct ingest *in, struct link *l)
{
    if (l->state == LINK_DOOMED)
        return 0;
    if (l->want_ack)
        send_acks(in, l);
    if (l->pinged && l->heard_ms + (uint64_t)in->setup.silent_ms / 2 <= loop_now(in))
        return link_ping(in, l) ? 0 : -1;
    return send_order(in, l) ? 0 : -1;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *p, size_t n)
{
    const struct lws_protocols *protocol = lws_get_protocol(wsi);
    struct ingest *in = protocol != NULL ? protocol->user : NULL;
    struct link *l = user;
    if (in == NULL)
        return 0;
    switch ((int)reason) {
    case LWS_CALLBACK_RECEIVE: on_receive(in, l, p, n); return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE: return on_writable(in, l);
    case LWS_CALLBACK_TIMER: return on_timer(l);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return on_filter(in, wsi);
    case LWS_CALLBACK_ESTABLISHED: on_established(in, l, wsi); return 0;
    case LWS_CALLBACK_RECEIVE_PONG: l->heard_ms = loop_now(in); l->pinged = false; return 0;
    case LWS_CALLBACK_CLOSED: on_closed(in, l); return 0;
    default: return 0;
    }
}

static void look_after(struct ingest *in, struct link *l)
{
    uint64_t now = loop_now(in);
    if (l->state == LINK_DOOMED) {
        if (now >= l->since_ms + DOOMED_MS) {
            lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
            lws_cancel_service(lws_get_context(l->wsi));
        }
        watch_in(in, l, 1000);
        return;
    }
    uint64_t idle = now - l->heard_ms;
    if (l->state == LINK_NEW && now >= l->since_ms + (uint64_t)in->setup.hello_ms) {
        link_close(in, l, WIRE_CLOSE_SILENT, "silent", "no hello in time");
    } else if (idle >= (uint64_t)in->setup.silent_ms) {
        link_close(in, l, WIRE_CLOSE_SILENT, "silent", "nothing heard for too long");
    } else if (l->state == LINK_NEW) {
        watch_in(in, l, l->since_ms + first_look_ms(in) > now ? l->since_ms + first_look_ms(in) - now : 1000);
    } else if (idle >= (uint64_t)in->setup.silent_ms / 2) {
        l->pinged = true;
        lws_callback_on_writable(l->wsi);
        watch_in(in, l, (uint64_t)in->setup.silent_ms - idle);
    } else {
        watch_in(in, l, (uint64_t)in->setup.silent_ms / 2 - idle);
    }
}

void ingest_tick(struct ingest *in)
{
    in->tick_s++;
    struct node *slot = &in->wheel[in->tick_s % WHEEL], due;
    if (slot->next != slot) { /* take the whole slot: looking after one may put it into a slot again */
        due = *slot;
        due.next->prev = &due;
        due.prev->next = &due;
        list_init(slot);
        while (due.next != &due)
            look_after(in, LINK_OF(due.next, watch));
    }
    send_due(in);
}

static void look_at_device(struct ingest *in, struct gate *g)
{
    if (g->link == NULL)
        return;
    if (devices_revoked(in->setup.devices, g->vehicle->duty->gateway))
        link_close(in, g->link, WIRE_CLOSE_UNAUTHORISED, "unauthorised", "revoked");
    else if (g->link->state == LINK_READY)
        lws_callback_on_writable(g->link->wsi);
}

void ingest_devices_changed(void *arg, const char *gateway)
{
    struct ingest *in = arg;
    const struct fleet_vehicle *v = gateway[0] != '\0' ? fleet_by_gateway(in->setup.fleet, gateway) : NULL;
    if (v != NULL)
        look_at_device(in, &in->gate[v->index]);
    for (size_t i = 0; gateway[0] == '\0' && i < fleet_count(in->setup.fleet); i++)
        look_at_device(in, &in->gate[i]);
}

void ingest_drain(struct ingest *in)
{
    in->draining = true;
    send_due(in);
    for (size_t i = 0; i < fleet_count(in->setup.fleet); i++)
        if (in->gate[i].link != NULL)
            link_close(in, in->gate[i].link, WIRE_CLOSE_RESTART, "restart", "");
}

void ingest_protocol(struct ingest *in, struct lws_protocols *ret_p)
{
    *ret_p = (struct lws_protocols){.name = WIRE_SUBPROTOCOL,
                                    .callback = callback,
                                    .per_session_data_size = sizeof(struct link),
                                    .rx_buffer_size = INGEST_RX_BYTES,
                                    .user = in};
}

void ingest_figures(const struct ingest *in, struct ingest_figures *ret_f)
{
    *ret_f = in->figures;
}

enum rc ingest_new(const struct ingest_setup *s, struct ingest **ret_i)
{
    size_t n = fleet_count(s->fleet);
    struct ingest *in = calloc(1, sizeof *in);
    if (in == NULL)
        return RC_NO_MEMORY;
    in->setup = *s;
    in->gate = calloc(n > 0 ? n : 1, sizeof *in->gate);
    if (in->gate == NULL) {
        ingest_free(in);
        return RC_NO_MEMORY;
    }
    for (size_t i = 0; i < WHEEL; i++)
        list_init(&in->wheel[i]);
    list_init(&in->prompt);
    list_init(&in->deferred);
    loop_now(in);
    for (size_t i = 0; i < n; i++) {
        struct gate *g = &in->gate[i];
        g->vehicle = fleet_at(s->fleet, i);
        g->tokens = BURST_S * (float)s->rate_per_s;
        g->byte_tokens = BURST_S * (float)s->bytes_per_s;
        g->filled_ms = in->loop_ms;
        for (size_t k = 0; k < EVENT_LANES; k++) {
            struct wire_settled w;
            journal_settled(s->journal, g->vehicle->duty->gateway, (enum event_lane)k, &w);
            if (!span_store(&g->lane[k].now, &w)) {
                ingest_free(in);
                return RC_NO_MEMORY;
            }
        }
    }
    *ret_i = in;
    return RC_OK;
}

void ingest_free(struct ingest *in)
{
    if (in == NULL)
        return;
    for (size_t i = 0; in->gate != NULL && i < fleet_count(in->setup.fleet); i++)
        for (size_t k = 0; k < EVENT_LANES; k++) {
            free(in->gate[i].lane[k].now.full);
            free(in->gate[i].lane[k].before.full);
        }
    free(in->gate);
    free(in);
}
