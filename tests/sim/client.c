#include "client.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_PAUSE_MS 500
#define LAST_PAUSE_MS  15000
#define FIRMWARE       "sim-" SCHOOLWARD_VERSION

/* Events of one lane, oldest first. The sequence of ring[0] is first_seq once a Welcome has told where to begin. */
struct lane {
    struct event *ring;
    size_t cap, head, n;
    size_t sent; /* of the n, how many this connection has written */
    uint64_t first_seq;
    uint64_t written; /* highest sequence ever written: above it nothing is a repeat */
};

enum client_state { IDLE = 0, CONNECTING, OPEN, GREETED, WELCOMED };

struct client {
    struct client_pool *pool;
    char gateway[WIRE_TEXT_MAX + 1], secret[128], boot[24];
    struct lws *wsi;
    lws_sorted_usec_list_t later;
    enum client_state state;
    int pause_ms;
    bool numbered; /* the lanes have their sequences */
    struct lane lane[EVENT_LANES];
    unsigned char *in; /* a message in pieces */
    size_t in_n;
};

struct client_pool {
    struct lws_context *lws;
    struct client **client;
    size_t clients, cap;
    char address[64], path[128];
    int port;
    bool closing;
    struct client_pool_figures figures;
    struct wire_frame *frame;
    struct event *batch;
    unsigned char *out; /* LWS_PRE + WIRE_FRAME_MAX */
};

static void connect_cb(lws_sorted_usec_list_t *sul);

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- the store of un-acknowledged events --- */

static struct event *lane_at(const struct lane *l, size_t i)
{
    return &l->ring[(l->head + i) % l->cap];
}

static void lane_drop(struct lane *l, size_t n)
{
    l->n -= n;
    l->head = l->n ? (l->head + n) % l->cap : 0; /* an empty ring begins again: only what is needed is ever touched */
    l->sent = l->sent > n ? l->sent - n : 0;
    l->first_seq += n;
}

void client_put(struct client *c, const struct event *e)
{
    struct lane *l = &c->lane[event_lane_of(e)];
    c->pool->figures.events++;
    if (l->n == l->cap) {
        lane_drop(l, 1);
        c->pool->figures.lost++;
    }
    *lane_at(l, l->n) = *e;
    l->n++;
}

bool client_welcomed(const struct client *c)
{
    return c->state == WELCOMED;
}

size_t client_waiting(const struct client *c)
{
    return c->lane[EVENT_LANE_BULK].n + c->lane[EVENT_LANE_URGENT].n;
}

static void take_ack(struct client *c, const struct wire_ack *a)
{
    struct lane *l = &c->lane[a->lane];
    if (!c->numbered || a->through < l->first_seq)
        return;
    uint64_t n = a->through - l->first_seq + 1;
    if (n > l->n)
        n = l->n;
    c->pool->figures.acked += n;
    lane_drop(l, (size_t)n);
}

/* A new process has no memory of its sequences: it goes on above everything the server has ever settled. */
static void number_lanes(struct client *c, const struct wire_welcome *w)
{
    for (int i = 0; i < EVENT_LANES; i++) {
        const struct wire_ack *a = &w->ack[i];
        uint64_t top = a->through;
        for (size_t k = 0; k < a->ranges; k++)
            if (a->range[k].to > top)
                top = a->range[k].to;
        c->lane[i].first_seq = top + 1;
    }
    c->numbered = true;
}

/* --- messages --- */

static int write_hello(struct client *c)
{
    struct wire_hello m = {.version = WIRE_VERSION, .time_ms = wall_ms(), .clock = EVENT_CLOCK_NTP};
    snprintf(m.gateway, sizeof m.gateway, "%s", c->gateway);
    snprintf(m.boot, sizeof m.boot, "%s", c->boot);
    snprintf(m.firmware, sizeof m.firmware, "%s", FIRMWARE);
    for (int i = 0; i < EVENT_LANES; i++) {
        const struct lane *l = &c->lane[i];
        if (c->numbered)
            m.lane[i] = (struct wire_lane){l->first_seq, l->first_seq + l->n - 1};
    }
    size_t n = 0;
    if (wire_encode_hello(&m, c->pool->out + LWS_PRE, WIRE_SMALL_MAX, &n) != RC_OK)
        return -1;
    return lws_write(c->wsi, c->pool->out + LWS_PRE, n, LWS_WRITE_BINARY) == (int)n ? 0 : -1;
}

/* The next frame of a lane: as many unsent events of one clock quality as go into a batch. 0 nothing, 1 written, -1 the line is gone. */
static int write_batch(struct client *c, enum event_lane which)
{
    struct lane *l = &c->lane[which];
    struct client_pool *p = c->pool;
    if (l->sent >= l->n)
        return 0;
    size_t n = 0, most = WIRE_BATCH_MAX;
    uint8_t clock = lane_at(l, l->sent)->clock;
    while (n < most && l->sent + n < l->n && lane_at(l, l->sent + n)->clock == clock) {
        p->batch[n] = *lane_at(l, l->sent + n);
        n++;
    }
    uint64_t seq = l->first_seq + l->sent;
    size_t len = 0;
    enum rc rc = wire_encode_batch(which, seq, false, p->batch, n, p->out + LWS_PRE, WIRE_FRAME_MAX, &len);
    if (rc != RC_OK) {
        fprintf(stderr, "%s: an event cannot be sent: %s\n", c->gateway, rc_text(rc));
        return -1;
    }
    if (lws_write(c->wsi, p->out + LWS_PRE, len, LWS_WRITE_BINARY) != (int)len)
        return -1;
    l->sent += n;
    p->figures.frames++;
    p->figures.bytes += len;
    p->figures.sent_events += n;
    if (seq <= l->written)
        p->figures.resent_events += l->written - seq + 1 < n ? l->written - seq + 1 : n;
    if (seq + n - 1 > l->written)
        l->written = seq + n - 1;
    return 1;
}

static int on_writeable(struct client *c)
{
    if (c->state == OPEN) {
        c->state = GREETED;
        return write_hello(c);
    }
    if (c->state != WELCOMED)
        return 0;
    int did = write_batch(c, EVENT_LANE_URGENT);
    if (!did)
        did = write_batch(c, EVENT_LANE_BULK);
    if (did < 0)
        return -1;
    if (did)
        client_flush(c);
    return 0;
}

void client_flush(struct client *c)
{
    if (c->state == WELCOMED && (c->lane[0].sent < c->lane[0].n || c->lane[1].sent < c->lane[1].n))
        lws_callback_on_writable(c->wsi);
}

static int take_frame(struct client *c, const void *buf, size_t n)
{
    const char *fault = "";
    struct wire_frame *f = c->pool->frame;
    if (wire_decode(buf, n, f, &fault) != RC_OK) {
        fprintf(stderr, "%s: the server's message does not parse: %s\n", c->gateway, fault);
        return -1;
    }
    switch (f->kind) {
    case WIRE_WELCOME:
        if (!c->numbered)
            number_lanes(c, &f->welcome);
        for (int i = 0; i < EVENT_LANES; i++)
            take_ack(c, &f->welcome.ack[i]);
        if (c->state != WELCOMED)
            c->pool->figures.welcomed++;
        c->state = WELCOMED;
        c->pause_ms = FIRST_PAUSE_MS;
        client_flush(c);
        break;
    case WIRE_ACK: take_ack(c, &f->ack); break;
    case WIRE_ORDER:
    case WIRE_BATCH:
    case WIRE_HELLO:
    case WIRE_ORDER_RESULT:
    case WIRE_REPORT:
    case WIRE_ENROL:
    case WIRE_MEDIA_PART:
    case WIRE_MEDIA_ACK:
    case WIRE_ENROLLED: break;
    }
    return 0;
}

static int on_receive(struct client *c, const unsigned char *in, size_t len)
{
    bool whole = lws_is_first_fragment(c->wsi) && lws_is_final_fragment(c->wsi) && !c->in_n;
    if (whole)
        return take_frame(c, in, len);
    if (c->in_n + len > WIRE_FRAME_MAX)
        return -1;
    if (!c->in && !(c->in = malloc(WIRE_FRAME_MAX)))
        return -1;
    memcpy(c->in + c->in_n, in, len);
    c->in_n += len;
    if (!lws_is_final_fragment(c->wsi))
        return 0;
    size_t n = c->in_n;
    c->in_n = 0;
    return take_frame(c, c->in, n);
}

/* --- connection --- */

static void again_later(struct client *c)
{
    if (c->state == WELCOMED)
        c->pool->figures.welcomed--;
    c->state = IDLE;
    c->wsi = NULL;
    c->in_n = 0;
    c->lane[0].sent = c->lane[1].sent = 0;
    if (c->pool->closing)
        return;
    int64_t us = (int64_t)(random() % (c->pause_ms + 1)) * 1000;
    c->pause_ms = c->pause_ms * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : c->pause_ms * 2;
    lws_sul_schedule(c->pool->lws, 0, &c->later, connect_cb, us);
}

static void connect_cb(lws_sorted_usec_list_t *sul)
{
    struct client *c = lws_container_of(sul, struct client, later);
    struct client_pool *p = c->pool;
    if (p->closing)
        return;
    struct lws_client_connect_info i = {
        .context = p->lws,
        .address = p->address,
        .port = p->port,
        .path = p->path,
        .host = p->address,
        .origin = p->address,
        .protocol = WIRE_SUBPROTOCOL,
        .local_protocol_name = WIRE_SUBPROTOCOL,
        .pwsi = &c->wsi,
        .opaque_user_data = c,
    };
    c->state = CONNECTING;
    if (!lws_client_connect_via_info(&i) && c->state == CONNECTING)
        again_later(c);
}

static int add_header(struct lws *wsi, const char *name, const char *value, void *in, size_t len)
{
    unsigned char **at = in, *end = *at + len;
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name, (const unsigned char *)value, (int)strlen(value), at, end);
}

static void note_close(struct client *c, const unsigned char *in, size_t len)
{
    if (len < 2)
        return;
    struct client_pool_figures *f = &c->pool->figures;
    f->last_code = in[0] << 8 | in[1];
    snprintf(f->last_reason, sizeof f->last_reason, "%.*s", (int)(len - 2), (const char *)in + 2);
    if (f->last_code >= 4400) {
        if (!f->refused++)
            fprintf(stderr, "%s: closed with %d %s\n", c->gateway, f->last_code, f->last_reason);
        c->pause_ms = LAST_PAUSE_MS;
    }
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct client *c = lws_get_opaque_user_data(wsi);
    (void)user;
    if (!c)
        return 0;
    switch ((int)reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: {
        char bearer[160];
        snprintf(bearer, sizeof bearer, "Bearer %s", c->secret);
        return add_header(wsi, "Authorization:", bearer, in, len) || add_header(wsi, "Schoolward-Gateway:", c->gateway, in, len) ? -1 : 0;
    }
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        c->wsi = wsi;
        c->state = OPEN;
        c->pool->figures.connected++;
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE: return c->pool->closing ? -1 : on_writeable(c);
    case LWS_CALLBACK_CLIENT_RECEIVE: return on_receive(c, in, len);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: note_close(c, in, len); return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        c->pool->figures.closes++;
        again_later(c);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        c->pool->figures.closes++;
        c->pool->figures.connected--;
        again_later(c);
        return 0;
    default: return 0;
    }
}

static const struct lws_protocols protocols[] = {{WIRE_SUBPROTOCOL, callback, 0, 8192, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};

/* --- the pool --- */

enum rc client_pool_new(uv_loop_t *loop, const char *url, struct client_pool **ret_pool)
{
    struct client_pool *p = calloc(1, sizeof *p);
    if (!p)
        return RC_NO_MEMORY;
    if (sscanf(url, "ws://%63[^:/]:%d%127s", p->address, &p->port, p->path) != 3 || p->port < 1 || p->port > 65535) {
        free(p);
        return RC_INVALID;
    }
    p->frame = malloc(sizeof *p->frame);
    p->batch = calloc(WIRE_BATCH_MAX, sizeof *p->batch);
    p->out = malloc(LWS_PRE + WIRE_FRAME_MAX);
    void *loops[1] = {loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6,
        .foreign_loops = loops,
        .alpn = "http/1.1",
        .fd_limit_per_thread = 0,
    };
    lws_set_log_level(LLL_ERR, NULL);
    if (p->frame && p->batch && p->out)
        p->lws = lws_create_context(&info);
    if (!p->lws) {
        client_pool_free(p);
        return RC_NO_MEMORY;
    }
    *ret_pool = p;
    return RC_OK;
}

void client_pool_close(struct client_pool *p)
{
    p->closing = true;
    for (size_t i = 0; i < p->clients; i++)
        lws_sul_cancel(&p->client[i]->later);
    lws_context_destroy(p->lws);
}

void client_pool_free(struct client_pool *p)
{
    if (!p)
        return;
    if (p->lws && p->closing)
        lws_context_destroy(p->lws); /* the second half, when the loop has run out */
    for (size_t i = 0; i < p->clients; i++) {
        for (int k = 0; k < EVENT_LANES; k++)
            free(p->client[i]->lane[k].ring);
        free(p->client[i]->in);
        free(p->client[i]);
    }
    free(p->client);
    free(p->frame);
    free(p->batch);
    free(p->out);
    free(p);
}

void client_pool_figures(const struct client_pool *p, struct client_pool_figures *ret_f)
{
    *ret_f = p->figures;
    ret_f->clients = p->clients;
}

enum rc client_add(struct client_pool *p, const char *gateway, const char *secret, int delay_ms, size_t keep, struct client **ret_c)
{
    if (p->clients == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct client **more = realloc(p->client, cap * sizeof(struct client *));
        if (!more)
            return RC_NO_MEMORY;
        p->client = more;
        p->cap = cap;
    }
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return RC_NO_MEMORY;
    c->pool = p;
    c->pause_ms = FIRST_PAUSE_MS;
    snprintf(c->gateway, sizeof c->gateway, "%s", gateway);
    snprintf(c->secret, sizeof c->secret, "%s", secret);
    snprintf(c->boot, sizeof c->boot, "%08lx", (unsigned long)wall_ms() & 0xFFFFFFFFUL);
    for (int i = 0; i < EVENT_LANES; i++) {
        c->lane[i].cap = i == EVENT_LANE_BULK ? keep : 256;
        c->lane[i].ring = calloc(c->lane[i].cap, sizeof *c->lane[i].ring);
        if (!c->lane[i].ring) {
            free(c->lane[0].ring);
            free(c);
            return RC_NO_MEMORY;
        }
    }
    p->client[p->clients++] = c;
    lws_sul_schedule(p->lws, 0, &c->later, connect_cb, (int64_t)delay_ms * 1000 + 1);
    *ret_c = c;
    return RC_OK;
}
