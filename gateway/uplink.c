#include "uplink.h"

#include <errno.h>
#include <inttypes.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "uplink_queue.h"
#include "uplink_url.h"

enum {
    WELCOME_WAIT_MS = 20000, /* from the start of an attempt to the Welcome */
    STEADY_MS = 60000,       /* a connection that lived this long, or brought an ack, resets the pauses */
    OVERDUE_MS = 30000,
    CHECK_MS = 5000,
    GOODBYE_MS = 2000,
    TCP_DEAD_MS = 20000,
    RESULTS_MAX = 16,
    RX_MAX = WIRE_ORDER_MAX, /* Welcome with two full acks is below 4 KiB, an order with a piece of a bundle below 9 KiB */
    RENEW_MS = 500,
    POISON_TRIES = 3,
};

/* libwebsockets' number of its LWS_WRITE_CLOSE, which its public header mentions and does not define. */
#define LWS_WRITE_CLOSE_FRAME ((enum lws_write_protocol)4)

enum phase { PHASE_PAUSE, PHASE_RESOLVE, PHASE_CONNECT, PHASE_HELLO, PHASE_SETTLE, PHASE_READY, PHASE_OVER };

struct uplink {
    struct uplink_setup setup;
    struct uplink_url url;
    char gateway[WIRE_TEXT_MAX + 1], secret[UPLINK_SECRET_MAX + 1], ca_file[256];
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_getaddrinfo_t lookup;
    bool looking;
    struct lws_context *lws;
    struct lws *wsi;
    lws_retry_bo_t alive;
    enum phase phase;
    unsigned tries;       /* failures in a row */
    int64_t phase_ms;     /* begin of the phase */
    int64_t ready_ms;     /* 0 = not welcomed on this connection */
    uint16_t close_code;  /* the peer's, 0 none */
    char close_text[320]; /* the peer's, or the failure's */
    bool hello_due, stopping, said_bye, timer_closed;
    bool renew; /* the secret changed: a new connection is due */
    int64_t report_ms, renew_ms; /* when the next report is due; since when to renew */
    unsigned malformed;   /* refusals of the record below standing alone, see poison() */
    uint64_t suspect;     /* its sequence * 2 + lane */
    struct log_gate gate;

    struct uplink_queue queue;
    unsigned generation; /* of the connection, to know late answers of the outbox */
    bool fetching;       /* one at a time */
    unsigned fetch_generation;
    struct uplink_want want;
    uint8_t *tx; /* LWS_PRE, then a frame ready to be written */
    size_t tx_len;
    struct uplink_flight tx_flight;

    struct wire_order_result result[RESULTS_MAX];
    size_t results;
    uint8_t *rx;
    size_t rx_len;
    struct wire_frame *frame; /* to decode into; the only one of the loop */
    struct uplink_figures figures;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

static void connect_now(struct uplink *u);
static void pump(struct uplink *u);

/* --- when to try again --- */

static int64_t random_below(int64_t n)
{
    uint64_t r = 0;
    if (getrandom(&r, sizeof r, 0) != (ssize_t)sizeof r)
        r = (uint64_t)uv_hrtime();
    return n > 0 ? (int64_t)(r % (uint64_t)n) : 0;
}

/* Full jitter: a county of gateways that lost one server at one moment must not come back at one moment. */
static int64_t next_pause_ms(const struct uplink *u)
{
    int64_t cap = u->setup.retry_min_ms;
    for (unsigned i = 1; i < u->tries && cap < u->setup.retry_max_ms; i++)
        cap *= 2;
    if (cap > u->setup.retry_max_ms)
        cap = u->setup.retry_max_ms;
    switch (u->close_code) {
    case WIRE_CLOSE_UNAUTHORISED:
    case WIRE_CLOSE_VERSION: return u->setup.refused_ms / 2 + random_below(u->setup.refused_ms / 2);
    case WIRE_CLOSE_REPLACED:
    case WIRE_CLOSE_TOO_FAST: return u->setup.retry_max_ms / 6 + random_below(u->setup.retry_max_ms);
    default: return 20 + random_below(cap);
    }
}

static void hint(const struct uplink *u, char *out, size_t cap)
{
    switch (u->close_code) {
    case WIRE_CLOSE_UNAUTHORISED:
        snprintf(out, cap, "the server does not know gateway '%s' or its secret: compare [gateway] id and secret_file with the server's fleet file", u->gateway);
        return;
    case WIRE_CLOSE_VERSION: snprintf(out, cap, "server and gateway have no protocol version in common: update the older one"); return;
    case WIRE_CLOSE_REPLACED: snprintf(out, cap, "another gateway connected with the id '%s': give each bus its own [gateway] id", u->gateway); return;
    case WIRE_CLOSE_TOO_FAST: snprintf(out, cap, "above the server's rate limit: waiting"); return;
    case WIRE_CLOSE_MALFORMED: snprintf(out, cap, "the server could not read a record: same versions on both ends?"); return;
    case WIRE_CLOSE_SILENT: snprintf(out, cap, "the server heard nothing for too long: check the mobile link"); return;
    case WIRE_CLOSE_RESTART: snprintf(out, cap, "the server restarts"); return;
    case WIRE_CLOSE_TOO_BIG: snprintf(out, cap, "sending smaller batches"); return;
    default: snprintf(out, cap, "records are kept and sent later"); return;
    }
}

static void on_timer(uv_timer_t *t);

static void pause_then_connect(struct uplink *u)
{
    u->phase = PHASE_PAUSE;
    if (u->stopping)
        return;
    int64_t pause = next_pause_ms(u);
    uv_timer_start(&u->timer, on_timer, (uint64_t)pause, 0);
    if (log_gate_trouble(&u->gate, clock_mono_ms())) {
        char what[192];
        hint(u, what, sizeof what);
        log_warning("uplink", "%s: %s: %s (try %u, next in %.1f s)", u->setup.url, u->close_text[0] != '\0' ? u->close_text : "connection lost", what, u->tries,
                    (double)pause / 1000.0);
    }
}

/* --- what ends a connection --- */

static void forget_connection(struct uplink *u)
{
    u->wsi = NULL;
    u->generation++;
    free(u->tx);
    u->tx = NULL;
    u->tx_len = 0;
    u->rx_len = 0;
    u->results = 0;
    u->hello_due = false;
    u->renew = false; /* the next connection has it anyhow */
    u->figures.connected = false;
}

static void maybe_stopped(struct uplink *u);

/*
 * A batch the server calls malformed, or too big for it, would otherwise come again for ever and block all that is behind it. Batches are halved until
 * one record stands alone; if that one is refused POISON_TRIES times it is given up, loudly.
 */
static void poison(struct uplink *u)
{
    const struct uplink_flight *f = uplink_queue_oldest(&u->queue);
    if (f == NULL)
        return;
    uint64_t suspect = f->first * 2 + (uint64_t)f->lane;
    if (suspect != u->suspect)
        u->malformed = 0;
    u->suspect = suspect;
    if (f->first == f->last && ++u->malformed >= POISON_TRIES) {
        struct wire_ack give_up = {.lane = (uint8_t)f->lane, .ranges = 1, .range = {{f->first, f->last}}};
        log_error("uplink", "record %" PRIu64 " of lane %d was refused by the server %d times (%s) and is given up", f->first, (int)f->lane, POISON_TRIES,
                  u->close_text);
        outbox_acked(u->setup.outbox, &give_up);
        u->figures.refused++;
        u->malformed = 0;
    }
    uplink_queue_smaller(&u->queue);
}

static void ended(struct uplink *u)
{
    if (u->close_code == WIRE_CLOSE_MALFORMED || u->close_code == WIRE_CLOSE_TOO_BIG)
        poison(u);
    if (u->ready_ms != 0 && clock_mono_ms() - u->ready_ms >= STEADY_MS)
        u->tries = 0;
    u->tries++;
    forget_connection(u);
    u->ready_ms = 0;
    if (u->stopping)
        maybe_stopped(u);
    else
        pause_then_connect(u);
}

/* Drop the connection from our side, outside its own callbacks. */
static void kill_connection(struct uplink *u, const char *text)
{
    snprintf(u->close_text, sizeof u->close_text, "%s", text);
    if (u->wsi != NULL)
        lws_set_timeout(u->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    else
        ended(u);
}

/* --- sending --- */

static void on_fetched(void *arg, enum rc rc, enum event_lane lane, const void *frame, size_t len, uint64_t first_seq, size_t n)
{
    struct uplink *u = arg;
    u->fetching = false;
    if (u->stopping) {
        maybe_stopped(u);
        return;
    }
    if (u->fetch_generation != u->generation || u->phase != PHASE_READY) {
        pump(u);
        return;
    }
    if (rc == RC_END) {
        uplink_queue_nothing(&u->queue, &u->want);
        pump(u);
    } else if (rc == RC_OK && len > u->queue.max_frame && n > 1) {
        uplink_queue_smaller(&u->queue);
        pump(u);
    } else if (rc == RC_OK) {
        u->tx = malloc(LWS_PRE + len);
        if (u->tx == NULL) {
            kill_connection(u, "out of memory");
            return;
        }
        memcpy(u->tx + LWS_PRE, frame, len);
        u->tx_len = len;
        u->tx_flight = (struct uplink_flight){.lane = lane, .backlog = u->want.backlog, .first = first_seq, .last = first_seq + n - 1};
        uplink_queue_taken(&u->queue, &u->want, first_seq, n);
        lws_callback_on_writable(u->wsi);
    } /* otherwise the disk failed: the outbox reports it, the check timer asks again */
}

static void pump(struct uplink *u)
{
    if (u->phase != PHASE_READY || u->fetching || u->tx != NULL || u->stopping)
        return;
    if (!uplink_queue_next(&u->queue, &u->want))
        return;
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
        snprintf(u->close_text, sizeof u->close_text, "own hello cannot be encoded: %s", rc_text(rc));
        return -1;
    }
    u->hello_due = false;
    return write_small(u, out, len);
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

static bool report_due(const struct uplink *u)
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

static int writeable(struct uplink *u)
{
    int r = 0;
    if (u->stopping)
        return write_goodbye(u);
    if (u->hello_due) {
        r = write_hello(u);
    } else if (u->results > 0) {
        r = write_result(u);
    } else if (report_due(u)) {
        r = write_report(u);
    } else if (u->tx != NULL) {
        r = lws_write(u->wsi, u->tx + LWS_PRE, u->tx_len, LWS_WRITE_BINARY) < (int)u->tx_len ? -1 : 0;
        u->figures.batches++;
        u->figures.bytes += u->tx_len;
        u->figures.events += u->tx_flight.last - u->tx_flight.first + 1;
        if (u->tx_flight.backlog)
            u->figures.backlog_events += u->tx_flight.last - u->tx_flight.first + 1;
        uplink_queue_sent(&u->queue, &u->tx_flight, clock_mono_ms());
        free(u->tx);
        u->tx = NULL;
        pump(u);
    }
    if (r == 0 && (u->results > 0 || u->tx != NULL || report_due(u)))
        lws_callback_on_writable(u->wsi);
    return r;
}

/* --- receiving --- */

static void on_settled(void *arg, enum rc rc)
{
    struct uplink *u = arg;
    u->fetching = false;
    if (u->stopping) {
        maybe_stopped(u);
        return;
    }
    if (u->fetch_generation != u->generation || u->phase != PHASE_SETTLE)
        return;
    if (rc != RC_OK) {
        kill_connection(u, "the outbox cannot be read");
        return;
    }
    struct wire_lane span[EVENT_LANES];
    outbox_span(u->setup.outbox, span);
    uplink_queue_begin(&u->queue, span);
    u->phase = PHASE_READY;
    u->ready_ms = clock_mono_ms();
    u->figures.connected = true;
    u->figures.connects++;
    uint64_t backlog = 0;
    for (int i = 0; i < EVENT_LANES; i++)
        backlog += span[i].last_seq + 1 - span[i].first_seq;
    if (span[0].last_seq == 0 && span[1].last_seq == 0)
        backlog = 0;
    log_gate_over(&u->gate);
    log_notice("uplink", "connected to %s, %" PRIu64 " records waiting", u->setup.url, backlog);
    uv_timer_start(&u->timer, on_timer, CHECK_MS, CHECK_MS);
    u->report_ms = u->ready_ms;
    if (u->setup.welcomed != NULL)
        u->setup.welcomed(u->setup.arg);
    lws_callback_on_writable(u->wsi); /* the report */
    pump(u);
}

static int take_welcome(struct uplink *u, const struct wire_welcome *w)
{
    if (u->phase != PHASE_HELLO || u->fetching)
        return u->phase == PHASE_HELLO ? 1 : -1;
    if (w->version != WIRE_VERSION) {
        u->close_code = WIRE_CLOSE_VERSION;
        snprintf(u->close_text, sizeof u->close_text, "the server answers with protocol version %u", w->version);
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
    pump(u);
}

static int take_message(struct uplink *u)
{
    const char *fault = NULL;
    enum rc rc = wire_decode(u->rx, u->rx_len, u->frame, &fault);
    if (rc != RC_OK) {
        snprintf(u->close_text, sizeof u->close_text, "the server's message cannot be read (%s)", fault);
        return -1;
    }
    switch (u->frame->kind) {
    case WIRE_WELCOME: {
        int r = take_welcome(u, &u->frame->welcome);
        if (r > 0) /* an answer of the outbox for the connection before is still on its way; rare enough to begin again */
            snprintf(u->close_text, sizeof u->close_text, "the disk is busy");
        return r == 0 ? 0 : -1;
    }
    case WIRE_ACK: take_ack(u, &u->frame->ack); return 0;
    case WIRE_ORDER:
        if (u->setup.order != NULL)
            u->setup.order(u->setup.arg, &u->frame->order);
        return 0;
    case WIRE_BATCH:
    case WIRE_HELLO:
    case WIRE_ORDER_RESULT:
    case WIRE_REPORT:
    case WIRE_ENROL:
    case WIRE_ENROLLED: break;
    }
    snprintf(u->close_text, sizeof u->close_text, "the server sent a message only gateways send");
    return -1;
}

static int receive(struct uplink *u, const void *in, size_t len)
{
    if (u->rx_len + len > RX_MAX) {
        snprintf(u->close_text, sizeof u->close_text, "the server's message is longer than %d bytes", RX_MAX);
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

/* --- libwebsockets --- */

static int add_headers(struct uplink *u, struct lws *wsi, void *in, size_t len)
{
    unsigned char **p = in, *end = *p + len;
    char bearer[UPLINK_SECRET_MAX + 16];
    int n = snprintf(bearer, sizeof bearer, "Bearer %s", u->secret);
    int r = lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, (const unsigned char *)bearer, n, p, end);
    r |= lws_add_http_header_by_name(wsi, (const unsigned char *)"schoolward-gateway:", (const unsigned char *)u->gateway, (int)strlen(u->gateway), p, end);
    explicit_bzero(bearer, sizeof bearer);
    return r;
}

static void established(struct uplink *u, struct lws *wsi)
{
    int fd = lws_get_socket_fd(wsi), on = 1, dead_ms = TCP_DEAD_MS, low = 4096;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
    /* what is in the kernel's buffer an alarm cannot overtake any more: keep it short */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low, sizeof low);
    u->phase = PHASE_HELLO;
    u->hello_due = true;
    lws_callback_on_writable(wsi);
}

static void connection_error(struct uplink *u, struct lws *wsi, const char *text)
{
    unsigned status = wsi != NULL ? lws_http_client_http_response(wsi) : 0;
    if (text == NULL)
        text = "no answer";
    if (status == 401 || status == 403) {
        u->close_code = WIRE_CLOSE_UNAUTHORISED;
        snprintf(u->close_text, sizeof u->close_text, "refused with HTTP status %u", status);
    } else if (status >= 300) {
        snprintf(u->close_text, sizeof u->close_text, "HTTP status %u instead of a websocket: is the path %s right?", status, u->url.path);
    } else if (strstr(text, "cert") != NULL || strstr(text, "X509") != NULL || strstr(text, "tls") != NULL || strstr(text, "SSL") != NULL) {
        char now[CLOCK_TEXT_MAX];
        clock_text(clock_wall_ms(), now);
        snprintf(u->close_text, sizeof u->close_text, "TLS: %.60s: check ca_file, the name %.40s and the clock (%.10s)", text, u->url.host, now);
    } else {
        snprintf(u->close_text, sizeof u->close_text, "cannot be reached (%.60s): is the server up and the mobile link there?", text);
    }
}

/* Whether user is our uplink: other reasons, those of TLS among them, bring other things in its place. */
static bool concerns_us(enum lws_callback_reasons reason)
{
    return reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER || reason == LWS_CALLBACK_CLIENT_ESTABLISHED ||
           reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR || reason == LWS_CALLBACK_CLIENT_RECEIVE || reason == LWS_CALLBACK_CLIENT_WRITEABLE ||
           reason == LWS_CALLBACK_WS_PEER_INITIATED_CLOSE || reason == LWS_CALLBACK_CLIENT_CLOSED;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct uplink *u = user;
    if (!concerns_us(reason) || u == NULL || (u->wsi != NULL && wsi != u->wsi))
        return 0;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: return add_headers(u, wsi, in, len) != 0 ? -1 : 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED: u->wsi = wsi; established(u, wsi); return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        if (u->phase != PHASE_CONNECT && u->phase != PHASE_HELLO)
            return 0;
        if (u->close_text[0] == '\0')
            connection_error(u, wsi, in);
        ended(u);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE: return receive(u, in, len);
    case LWS_CALLBACK_CLIENT_WRITEABLE: return writeable(u);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (len >= 2) {
            const uint8_t *b = in;
            u->close_code = (uint16_t)(b[0] << 8 | b[1]);
            snprintf(u->close_text, sizeof u->close_text, "closed by the server with %u %.*s", u->close_code, (int)(len - 2), (const char *)b + 2);
        }
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        if (u->wsi != NULL)
            ended(u);
        return 0;
    default: return 0;
    }
}

static const struct lws_protocols protocols[] = {{.name = WIRE_SUBPROTOCOL, .callback = callback, .rx_buffer_size = 4096}, {.name = NULL}};

static void lws_says(int level, const char *line)
{
    (void)level;
    size_t n = strcspn(line, "\n");
    log_debug("lws", "%.*s", (int)n, line);
}

static void connect_to(struct uplink *u, const char *address)
{
    char host[160];
    bool v6 = strchr(u->url.host, ':') != NULL;
    if (u->url.port == (u->url.tls ? 443 : 80))
        snprintf(host, sizeof host, "%s%s%s", v6 ? "[" : "", u->url.host, v6 ? "]" : "");
    else
        snprintf(host, sizeof host, "%s%s%s:%d", v6 ? "[" : "", u->url.host, v6 ? "]" : "", u->url.port);
    struct lws_client_connect_info i = {
        .context = u->lws,
        .address = address,
        .port = u->url.port,
        .ssl_connection = u->url.tls ? LCCSCF_USE_SSL : 0,
        .path = u->url.path,
        .host = host, /* also the name the certificate must carry */
        .protocol = WIRE_SUBPROTOCOL,
        .local_protocol_name = WIRE_SUBPROTOCOL,
        .alpn = "http/1.1",
        .userdata = u,
        .retry_and_idle_policy = &u->alive,
        .pwsi = &u->wsi,
    };
    u->phase = PHASE_CONNECT;
    if (lws_client_connect_via_info(&i) == NULL && u->phase == PHASE_CONNECT) { /* it may have told us by callback already */
        if (u->close_text[0] == '\0')
            connection_error(u, NULL, "no connection could be begun");
        ended(u);
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct uplink *u = req->data;
    u->looking = false;
    if (u->stopping) {
        uv_freeaddrinfo(res);
        maybe_stopped(u);
        return;
    }
    if (u->phase != PHASE_RESOLVE) {
        uv_freeaddrinfo(res);
        return;
    }
    if (status != 0 || res == NULL) {
        snprintf(u->close_text, sizeof u->close_text, "the name %.40s cannot be resolved (%.30s): check the mobile link and the name", u->url.host,
                 uv_strerror(status));
        uv_freeaddrinfo(res);
        ended(u);
        return;
    }
    /* a name with several addresses: another one at each try */
    unsigned n = 0, pick;
    for (struct addrinfo *a = res; a != NULL; a = a->ai_next)
        n++;
    pick = u->tries % n;
    struct addrinfo *a = res;
    while (pick-- > 0)
        a = a->ai_next;
    char text[64] = "";
    if (a->ai_family == AF_INET6)
        uv_ip6_name((const struct sockaddr_in6 *)(const void *)a->ai_addr, text, sizeof text);
    else
        uv_ip4_name((const struct sockaddr_in *)(const void *)a->ai_addr, text, sizeof text);
    uv_freeaddrinfo(res);
    connect_to(u, text);
}

static void connect_now(struct uplink *u)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    u->close_code = 0;
    u->close_text[0] = '\0';
    u->rx_len = 0;
    u->phase_ms = clock_mono_ms();
    uv_timer_start(&u->timer, on_timer, WELCOME_WAIT_MS, 0);
    if (uv_ip4_addr(u->url.host, u->url.port, &v4) == 0 || uv_ip6_addr(u->url.host, u->url.port, &v6) == 0) {
        connect_to(u, u->url.host);
        return;
    }
    u->phase = PHASE_RESOLVE;
    if (u->looking) /* an old question is still out; its answer serves */
        return;
    struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    u->lookup.data = u;
    int e = uv_getaddrinfo(u->loop, &u->lookup, on_resolved, u->url.host, NULL, &want);
    u->looking = e == 0;
    if (e != 0) {
        snprintf(u->close_text, sizeof u->close_text, "the name cannot be looked up: %s", uv_strerror(e));
        ended(u);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct uplink *u = t->data;
    if (u->stopping) { /* the goodbye took too long */
        if (u->wsi != NULL)
            lws_set_timeout(u->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        return;
    }
    switch (u->phase) {
    case PHASE_PAUSE: connect_now(u); return;
    case PHASE_RESOLVE:
    case PHASE_CONNECT: kill_connection(u, "no answer within 20 s: is the server up and the mobile link there?"); return;
    case PHASE_HELLO:
    case PHASE_SETTLE: kill_connection(u, "no welcome within 20 s: is that a Schoolward server?"); return;
    case PHASE_READY:
        if (uplink_queue_overdue(&u->queue, clock_mono_ms(), OVERDUE_MS)) {
            log_warning("uplink", "no ack for %d s: sending un-acked records again, in order", OVERDUE_MS / 1000);
            uplink_queue_in_order(&u->queue);
        }
        if (report_due(u))
            lws_callback_on_writable(u->wsi);
        if (u->renew && (u->results == 0 || clock_mono_ms() - u->renew_ms > WELCOME_WAIT_MS)) {
            u->renew = false;
            u->tries = 0;
            kill_connection(u, "coming back with the new secret");
            return;
        }
        pump(u);
        return;
    case PHASE_OVER: return;
    }
}

/* --- begin and end --- */

enum rc uplink_start(uv_loop_t *loop, const struct uplink_setup *s, struct uplink **ret_u, char *why, size_t cap)
{
    struct uplink *u = calloc(1, sizeof *u);
    if (u == NULL)
        return RC_NO_MEMORY;
    u->setup = *s;
    u->loop = loop;
    enum rc rc = uplink_url_parse(s->url, &u->url, why, cap);
    snprintf(u->gateway, sizeof u->gateway, "%s", s->gateway);
    snprintf(u->secret, sizeof u->secret, "%s", s->secret);
    snprintf(u->ca_file, sizeof u->ca_file, "%s", s->ca_file);
    u->rx = malloc(RX_MAX);
    u->frame = malloc(sizeof *u->frame);
    if (rc == RC_OK && (u->rx == NULL || u->frame == NULL))
        rc = RC_NO_MEMORY;
    if (rc == RC_OK) {
        void *loops[1] = {loop};
        lws_set_log_level(LLL_ERR | LLL_WARN, lws_says);
        struct lws_context_creation_info i = {
            .port = CONTEXT_PORT_NO_LISTEN,
            .protocols = protocols,
            .options = LWS_SERVER_OPTION_LIBUV | (u->url.tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0) |
                       (u->ca_file[0] != '\0' ? LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS : 0), /* who is named may sign, and nobody else */
            .foreign_loops = loops,
            .gid = (gid_t)-1,
            .uid = (uid_t)-1,
            .fd_limit_per_thread = 16, /* lws keeps tables by this figure; one connection and its helpers are 4 */
            .alpn = "http/1.1",
            .client_ssl_ca_filepath = u->url.tls && u->ca_file[0] != '\0' ? u->ca_file : NULL,
        };
        u->lws = lws_create_context(&i);
        if (u->lws == NULL) {
            snprintf(why, cap, "libwebsockets cannot start%s%s: is the file a PEM certificate, and libwebsockets-evlib-uv installed?",
                     i.client_ssl_ca_filepath != NULL ? " with ca_file " : "", i.client_ssl_ca_filepath != NULL ? u->ca_file : "");
            rc = RC_IO;
        }
    }
    if (rc != RC_OK) {
        uplink_free(u);
        return rc;
    }
    if (!u->url.tls && strncmp(u->url.host, "127.", 4) != 0 && strcmp(u->url.host, "localhost") != 0 && strcmp(u->url.host, "::1") != 0)
        log_warning("uplink", "%s is not encrypted: the secret and the positions can be read on the way; use wss://", s->url);
    u->alive = (lws_retry_bo_t){.secs_since_valid_ping = (uint16_t)s->ping_s, .secs_since_valid_hangup = (uint16_t)(s->ping_s + s->pong_s)};
    uplink_queue_init(&u->queue, s->window);
    uv_timer_init(loop, &u->timer);
    u->timer.data = u;
    connect_now(u);
    *ret_u = u;
    return RC_OK;
}

void uplink_stored(struct uplink *u, enum event_lane lane, uint64_t last_seq)
{
    if (u->phase != PHASE_READY)
        return;
    uplink_queue_stored(&u->queue, lane, last_seq);
    pump(u);
}

void uplink_result(struct uplink *u, const struct wire_order_result *r)
{
    if (u->phase != PHASE_READY)
        return;
    if (u->results == RESULTS_MAX) {
        log_warning("uplink", "more than %d results at once: that of order %" PRIu64 " is sent when the server asks again", RESULTS_MAX, r->id);
        return;
    }
    u->result[u->results++] = *r;
    lws_callback_on_writable(u->wsi);
}

size_t uplink_results(const struct uplink *u)
{
    return u->results;
}

void uplink_new_secret(struct uplink *u, const char *secret)
{
    explicit_bzero(u->secret, sizeof u->secret);
    snprintf(u->secret, sizeof u->secret, "%s", secret);
    u->renew = u->phase == PHASE_READY;
    u->renew_ms = clock_mono_ms();
    if (u->renew) /* not at once: the result of the order that brought it is still on its way to the disk */
        uv_timer_start(&u->timer, on_timer, RENEW_MS, RENEW_MS);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct uplink *u = h->data;
    u->timer_closed = true;
    maybe_stopped(u);
}

static void maybe_stopped(struct uplink *u)
{
    if (u->wsi != NULL || u->looking || u->fetching || u->phase == PHASE_OVER)
        return;
    if (!uv_is_closing((uv_handle_t *)&u->timer)) {
        uv_close((uv_handle_t *)&u->timer, on_timer_closed);
        return;
    }
    if (!u->timer_closed)
        return;
    u->phase = PHASE_OVER;
    lws_context_destroy(u->lws); /* closes its handles on the loop; uplink_free() does the rest */
    if (u->on_stopped != NULL)
        u->on_stopped(u->stopped_arg);
}

void uplink_stop(struct uplink *u, void (*on_stopped)(void *arg), void *arg)
{
    u->stopping = true;
    u->on_stopped = on_stopped;
    u->stopped_arg = arg;
    if (u->looking)
        uv_cancel((uv_req_t *)&u->lookup);
    if (u->wsi != NULL) {
        uv_timer_start(&u->timer, on_timer, GOODBYE_MS, GOODBYE_MS);
        if (u->phase == PHASE_CONNECT)
            lws_set_timeout(u->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        else
            lws_callback_on_writable(u->wsi);
    }
    maybe_stopped(u);
}

void uplink_free(struct uplink *u)
{
    if (u == NULL)
        return;
    if (u->lws != NULL)
        lws_context_destroy(u->lws);
    explicit_bzero(u->secret, sizeof u->secret);
    free(u->tx);
    free(u->rx);
    free(u->frame);
    free(u);
}

void uplink_figures(const struct uplink *u, struct uplink_figures *ret_f)
{
    *ret_f = u->figures;
}
