#include "uplink.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../core/base/clock.h"
#include "uplink_own.h"

enum {
    WELCOME_WAIT_MS = 20000, /* for the address, and from there to the Welcome */
    LOOK_MS = 250,           /* meanwhile: how far are we? */
    /*
     * Linux asks for a connection at 0, 1, 3, 7 s ...: in a dead zone begin anew after the third, or the gaps soon are longer than a bus may stay
     * away (live again 3 s after the network). One try in eight waits longer, for links that take so long to answer at all.
     */
    ANSWER_WAIT_MS = 3500,
    PATIENT_WAIT_MS = 7500,
    PATIENT_EVERY = 8,
    STEADY_MS = 60000, /* a connection that lived this long, or brought an ack, resets the pauses */
    OVERDUE_MS = 30000,
    RENEW_MS = 500,
    GOODBYE_MS = 2000,
    TCP_DEAD_MS = 20000,
    POISON_TRIES = 3,
};

static void connect_now(struct uplink *u);

/* --- when to try again --- */

static uint64_t any_number(void)
{
    uint64_t r = 0;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r)
        r = (uint64_t)uv_hrtime();
    return r;
}

static void on_timer(uv_timer_t *t);

static int64_t date_ms(const struct uplink *u, bool *ret_trusted)
{
    return u->setup.date(u->setup.arg, ret_trusted);
}

static void pause_then_connect(struct uplink *u)
{
    u->phase = PHASE_PAUSE;
    if (u->stopping)
        return;
    if (u->trouble.cause == UPLINK_CAUSE_NONE)
        uplink_trouble_say(&u->trouble, UPLINK_CAUSE_LOST, "connection lost", "");
    const struct uplink_patience p = {u->setup.retry_min_ms, u->setup.retry_max_ms, u->setup.silent_ms, u->setup.refused_ms};
    int64_t pause = uplink_trouble_pause_ms(&u->trouble, &p, u->tries, any_number()), now = clock_mono_ms();
    u->next_ms = now + pause;
    uv_timer_start(&u->timer, on_timer, (uint64_t)pause, 0);
    snprintf(u->line, sizeof u->line, "%s: %s", u->trouble.what, u->trouble.todo);
    if (log_gate_trouble(&u->gate[u->trouble.cause], now)) /* another cause is news at once, the same again at growing intervals */
        log_warning("uplink", "%s: %s (try %u, next in %.1f s)", u->setup.url, u->line, u->tries, (double)pause / 1000.0);
}

/* --- what ends a connection --- */

static void forget_connection(struct uplink *u)
{
    if (u->phase >= PHASE_SETTLE && !u->stopping)
        outbox_offline(u->setup.outbox);
    u->wsi = NULL;
    u->generation++;
    u->tx_len = 0;
    u->rx_len = 0;
    u->results = 0;
    u->hello_due = u->media_due = false;
    u->renew = false; /* the next connection has it anyhow */
    u->figures.connected = false;
}

/*
 * A batch the server calls malformed, or too big for it, would otherwise come again for ever and block all that is behind it. Batches are halved
 * until one record stands alone; if that one is refused POISON_TRIES times it is given up, loudly.
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
        log_error("uplink", "record %" PRIu64 " of lane %d was refused by the server %d times (%s) and is given up", f->first, (int)f->lane,
                  POISON_TRIES, u->trouble.what);
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
        uplink_maybe_stopped(u);
    else
        pause_then_connect(u);
}

/* The first reason counts: what follows from it is no news. */
void uplink_because(struct uplink *u, enum uplink_cause cause, const char *what, const char *todo)
{
    if (u->trouble.cause == UPLINK_CAUSE_NONE)
        uplink_trouble_say(&u->trouble, cause, what, todo);
}

/* Drop the connection from our side, outside its own callbacks. The reason is set. */
void uplink_kill(struct uplink *u)
{
    if (u->wsi != NULL)
        lws_set_timeout(u->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    else
        ended(u);
}

/* --- certificates and what is remembered --- */

static void remember(struct uplink *u)
{
    bool trusted;
    int64_t now = date_ms(u, &trusted);
    uplink_name_worked(&u->name, u->address, trusted ? now : 0);
}

static void warn(const char *whose, const char *todo, int64_t until_ms, int64_t now_ms, int *said)
{
    char day[CLOCK_TEXT_MAX];
    int days;
    if (!uplink_cert_due(until_ms, now_ms, said, &days))
        return;
    clock_text(until_ms, day);
    if (days < 0)
        log_error("uplink", "%s has expired on %.10s: %s", whose, day, todo);
    else
        log_warning("uplink", "%s expires in %d %s, on %.10s: %s", whose, days, days == 1 ? "day" : "days", day, todo);
}

static void warn_of_expiry(struct uplink *u)
{
    bool trusted;
    int64_t now = date_ms(u, &trusted);
    char whose[128];
    if (!trusted && now < u->cert.by_ms)
        now = u->cert.by_ms;
    if (u->ready_ms != 0) {
        snprintf(whose, sizeof whose, "the server's certificate (%s)", u->cert.subject);
        warn(whose, "renew it on the server", u->cert.until_ms, now, &u->cert.said_days);
    }
    warn("this gateway's certificate", "renew cert_file, or the server will not let this bus in", u->cert.own_until_ms, now, &u->cert.own_said_days);
}

/* GNSS or NTP has told the date: was the server's certificate rightly accepted without it? */
static void look_again(struct uplink *u)
{
    bool trusted;
    int64_t now = date_ms(u, &trusted);
    if (!trusted)
        return;
    if (u->url.tls && !u->cert.trusted) {
        if (!uplink_cert_again(&u->cert, now)) {
            uplink_name_worked(&u->name, NULL, now); /* so that it is not let in again after a restart without a date */
            if (u->trouble.cause == UPLINK_CAUSE_NONE)
                uplink_cert_trouble(&u->cert, &u->target, false, &u->trouble);
            uplink_kill(u);
            return;
        }
        log_info("uplink", "the date is known now, and the server's certificate is valid on it");
    }
    remember(u);
}

void uplink_ready(struct uplink *u)
{
    struct wire_lane span[EVENT_LANES];
    outbox_span(u->setup.outbox, span);
    uplink_queue_begin(&u->queue, span);
    uplink_media_begin(&u->media);
    u->phase = PHASE_READY;
    u->ready_ms = clock_mono_ms();
    u->figures.connected = true;
    u->figures.connects++;
    uint64_t backlog = 0;
    for (int i = 0; i < EVENT_LANES; i++)
        backlog += span[i].last_seq + 1 - span[i].first_seq;
    if (span[0].last_seq == 0 && span[1].last_seq == 0)
        backlog = 0;
    for (size_t i = 0; i < UPLINK_CAUSES; i++)
        log_gate_over(&u->gate[i]);
    u->line[0] = '\0';
    remember(u);
    warn_of_expiry(u);
    log_notice("uplink", "connected to %s, %" PRIu64 " records waiting", u->setup.url, backlog);
    uv_timer_start(&u->timer, on_timer, UPLINK_CHECK_MS, UPLINK_CHECK_MS);
    u->report_ms = u->ready_ms;
    if (u->setup.welcomed != NULL)
        u->setup.welcomed(u->setup.arg);
    lws_callback_on_writable(u->wsi); /* the report */
}

/* --- libwebsockets --- */

static int add_headers(struct uplink *u, struct lws *wsi, void *in, size_t len)
{
    unsigned char **p = in, *end = *p + len;
    char bearer[UPLINK_SECRET_MAX + 16];
    int n = snprintf(bearer, sizeof bearer, "Bearer %s", u->secret);
    int r = lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, (const unsigned char *)bearer, n, p, end);
    r |= lws_add_http_header_by_name(wsi, (const unsigned char *)"schoolward-gateway:", (const unsigned char *)u->gateway, (int)strlen(u->gateway), p,
                                     end);
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

/* Why TCP failed, an errno value; 0 unknown. libwebsockets 4.1.6 says "closed before established" of everything and leaves the reason in the socket.
 */
static int socket_error(struct lws *wsi)
{
    int error = 0, fd = wsi != NULL ? lws_get_socket_fd(wsi) : -1;
    socklen_t n = sizeof error;
    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 ? error : 0;
}

static void connection_error(struct uplink *u, struct lws *wsi, const char *text)
{
    char after[32] = "", type[64] = "";
    unsigned status = wsi != NULL ? lws_http_client_http_response(wsi) : 0;
    if (u->trouble.cause != UPLINK_CAUSE_NONE)
        return;
    if (text == NULL)
        text = "no answer";
    int error = socket_error(wsi);
    log_debug("uplink", "connection error: %s (%d)", text, error);
    if (u->url.tls && uplink_cert_trouble(&u->cert, &u->target, status == 0, &u->trouble))
        return;
    if (status >= 100) {
        lws_hdr_copy(wsi, after, sizeof after, WSI_TOKEN_HTTP_RETRY_AFTER);
        lws_hdr_copy(wsi, type, sizeof type, WSI_TOKEN_HTTP_CONTENT_TYPE);
        uplink_trouble_http(&u->trouble, &u->target, status, after, type);
    } else if (u->url.tls && u->cert.begun && !u->cert.done) {
        char what[160];
        snprintf(what, sizeof what, "TLS: the handshake failed (%.100s)", text);
        uplink_trouble_say(&u->trouble, UPLINK_CAUSE_TLS, what, "is that port for wss://, and does nothing between cut it off?");
    } else if (error == 0 && (u->cert.done || u->tcp_up)) {
        uplink_trouble_say(&u->trouble, UPLINK_CAUSE_LOST, "the connection ended before a websocket was there",
                           "is the server starting or full? records are kept");
    } else if (u->name_error[0] != '\0') { /* the address is one of yesterday: name service is what is broken */
        uplink_trouble_name(&u->trouble, &u->target, u->name_error);
    } else {
        uplink_trouble_connect(&u->trouble, &u->target, error);
    }
}

/* Whether user is our uplink: other reasons, those of TLS among them, bring other things in its place. */
static bool concerns_us(enum lws_callback_reasons reason)
{
    return reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER || reason == LWS_CALLBACK_CLIENT_ESTABLISHED ||
           reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR || reason == LWS_CALLBACK_CLIENT_RECEIVE || reason == LWS_CALLBACK_CLIENT_WRITEABLE ||
           reason == LWS_CALLBACK_CLIENT_RECEIVE_PONG || reason == LWS_CALLBACK_WS_PEER_INITIATED_CLOSE || reason == LWS_CALLBACK_CLIENT_CLOSED;
}

/* A connection that ends after nothing was heard for the time of a ping was dead: not lost by the peer, but on the way. */
static void fell_silent(struct uplink *u)
{
    int64_t quiet_ms = clock_mono_ms() - u->heard_ms;
    char text[80];
    if (u->ready_ms == 0 || quiet_ms < u->setup.ping_s * INT64_C(1000))
        return;
    snprintf(text, sizeof text, "nothing was heard of the server for %lld s", (long long)quiet_ms / 1000);
    uplink_because(u, UPLINK_CAUSE_SILENT, text, "the mobile link dropped the connection without a word: nothing to do, unless it is often");
}

/* libwebsockets 4.1.6 drops who answers the upgrade with something that is not HTTP without telling us. */
static void vanished(struct uplink *u)
{
    if (u->phase == PHASE_CONNECT && u->trouble.cause == UPLINK_CAUSE_NONE &&
        !(u->url.tls && uplink_cert_trouble(&u->cert, &u->target, true, &u->trouble)))
        uplink_trouble_say(&u->trouble, UPLINK_CAUSE_HTTP, "the connection ended without an answer in HTTP",
                           "is the server starting? are host and port in [gateway] server right, and wss:// or ws://?");
    ended(u);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct uplink *u = user;
    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS) { /* user is the SSL_CTX */
        u = lws_context_user(lws_get_context(wsi));
        u->attach_rc = uplink_cert_attach(&u->cert, user, u->setup.cert_file, u->setup.key_file, u->attach_why, sizeof u->attach_why);
        return 0;
    }
    if (reason == LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION) { /* user is the X509_STORE_CTX, len whether OpenSSL finds it good */
        u = lws_context_user(lws_get_context(wsi));
        uplink_cert_judge(&u->cert, user, len != 0);
        return 0;
    }
    if (reason == LWS_CALLBACK_WSI_DESTROY) {
        u = lws_context_user(lws_get_context(wsi));
        if (u != NULL && u->wsi == wsi)
            vanished(u);
        return 0;
    }
    if (!concerns_us(reason) || u == NULL || (u->wsi != NULL && wsi != u->wsi))
        return 0;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: return add_headers(u, wsi, in, len) != 0 ? -1 : 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        u->wsi = wsi;
        established(u, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        if (u->phase != PHASE_CONNECT && u->phase != PHASE_HELLO)
            return 0;
        connection_error(u, wsi, in);
        ended(u);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE: u->heard_ms = clock_mono_ms(); return uplink_receive(u, in, len);
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG: u->heard_ms = clock_mono_ms(); return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE: return uplink_writeable(u);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (len >= 2) {
            const uint8_t *b = in;
            char text[124]; /* RFC 6455 5.5: 125 bytes with the code */
            u->close_code = (uint16_t)(b[0] << 8 | b[1]);
            snprintf(text, sizeof text, "%.*s", (int)(len - 2), (const char *)b + 2);
            if (u->close_code == LWS_CLOSE_STATUS_PROTOCOL_ERR && strncmp(text, "restart", 7) == 0)
                u->close_code = WIRE_CLOSE_RESTART; /* libwebsockets 4.1.6 knows no 1012 and makes a protocol error of it */
            if (u->trouble.cause == UPLINK_CAUSE_NONE)
                uplink_trouble_closed(&u->trouble, &u->target, u->close_code, text);
        }
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        if (u->wsi != NULL) {
            fell_silent(u);
            ended(u);
        }
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
    char host[160], why[256];
    bool trusted;
    int64_t now = date_ms(u, &trusted);
    snprintf(u->address, sizeof u->address, "%s", address);
    if (!uplink_cert_begin(&u->cert, now, trusted, u->name.memory.trusted_ms, why, sizeof why)) {
        if (log_gate_trouble(&u->own_gate, clock_mono_ms()))
            log_error("uplink", "%s: going on with the one read before", why);
    } else if (log_gate_over(&u->own_gate)) {
        log_notice("uplink", "cert_file and key_file are good again");
    }
    u->phase_ms = clock_mono_ms();
    u->tcp_up = false;
    bool v6 = strchr(u->url.host, ':') != NULL;
    if (u->url.port == (u->url.tls ? 443 : 80))
        snprintf(host, sizeof host, "%s%s%s", v6 ? "[" : "", u->url.host, v6 ? "]" : "");
    else
        snprintf(host, sizeof host, "%s%s%s:%d", v6 ? "[" : "", u->url.host, v6 ? "]" : "", u->url.port);
    struct lws_client_connect_info i = {
        .context = u->lws,
        .address = address,
        .port = u->url.port,
        /* a login page's redirect would take our secret with it */
        .ssl_connection = (u->url.tls ? LCCSCF_USE_SSL : 0) | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
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
        connection_error(u, NULL, "no connection could be begun");
        ended(u);
    }
}

static void on_address(void *arg, const char *address, bool remembered, const char *error)
{
    struct uplink *u = arg;
    if (u->stopping || u->phase != PHASE_RESOLVE)
        return;
    snprintf(u->name_error, sizeof u->name_error, "%s", error);
    if (address == NULL) {
        uplink_trouble_name(&u->trouble, &u->target, error);
        ended(u);
        return;
    }
    if (remembered && log_gate_trouble(&u->memory_gate, clock_mono_ms()))
        log_warning("uplink", "the name %s cannot be resolved (%s): trying %s, which worked last", u->url.host, error, address);
    else if (!remembered && log_gate_over(&u->memory_gate))
        log_notice("uplink", "the name %s is resolved again", u->url.host);
    connect_to(u, address);
}

static void connect_now(struct uplink *u)
{
    u->close_code = 0;
    u->trouble = (struct uplink_trouble){0};
    u->name_error[0] = '\0';
    u->rx_len = 0;
    u->phase_ms = clock_mono_ms();
    u->phase = PHASE_RESOLVE;
    uv_timer_start(&u->timer, on_timer, LOOK_MS, LOOK_MS);
    uplink_name_ask(&u->name, u->tries);
}

/* Is there a TCP connection yet? libwebsockets does not tell. */
static bool tcp_stands(const struct uplink *u)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    int fd = u->wsi != NULL ? lws_get_socket_fd(u->wsi) : -1;
    return fd >= 0 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_ESTABLISHED;
}

static void look_how_far(struct uplink *u)
{
    int64_t took_ms = clock_mono_ms() - u->phase_ms;
    if (u->phase == PHASE_CONNECT && !u->tcp_up)
        u->tcp_up = tcp_stands(u);
    if (u->phase == PHASE_CONNECT && !u->tcp_up && took_ms >= (u->tries % PATIENT_EVERY == PATIENT_EVERY - 1 ? PATIENT_WAIT_MS : ANSWER_WAIT_MS)) {
        if (u->name_error[0] != '\0')
            uplink_trouble_name(&u->trouble, &u->target, u->name_error);
        else
            uplink_trouble_connect(&u->trouble, &u->target, 0);
        uplink_kill(u);
        return;
    }
    if (took_ms < WELCOME_WAIT_MS)
        return;
    if (u->phase == PHASE_RESOLVE) {
        uplink_name_forget(&u->name);
        uplink_trouble_name(&u->trouble, &u->target, "no answer of the name server");
    } else if (u->phase == PHASE_CONNECT && u->url.tls && !u->cert.done) {
        uplink_because(u, UPLINK_CAUSE_TLS, "TLS: the handshake was not over within 20 s",
                       "the mobile link is very slow, or that port is not for wss://");
    } else if (u->phase == PHASE_CONNECT) {
        uplink_because(u, UPLINK_CAUSE_SILENT, "no answer to the websocket's begin within 20 s",
                       "is that a Schoolward server, and does the proxy pass websockets?");
    } else {
        uplink_because(u, UPLINK_CAUSE_SILENT, "no welcome within 20 s", "is that a Schoolward server?");
    }
    uplink_kill(u);
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
    case PHASE_CONNECT:
    case PHASE_HELLO:
    case PHASE_SETTLE: look_how_far(u); return;
    case PHASE_READY:
        if (uplink_queue_overdue(&u->queue, clock_mono_ms(), OVERDUE_MS)) {
            log_warning("uplink", "no ack for %d s: sending un-acked records again, in order", OVERDUE_MS / 1000);
            uplink_queue_in_order(&u->queue);
        }
        if (uplink_report_due(u))
            lws_callback_on_writable(u->wsi);
        if (u->renew && (u->results == 0 || clock_mono_ms() - u->renew_ms > WELCOME_WAIT_MS)) {
            u->renew = false;
            u->tries = 0;
            uplink_because(u, UPLINK_CAUSE_LOST, "coming back with the new secret", "nothing to do");
            uplink_kill(u);
            return;
        }
        look_again(u);
        warn_of_expiry(u);
        uplink_pump(u);
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
    u->target = (struct uplink_target){.host = u->url.host, .path = u->url.path, .gateway = u->gateway, .ca_file = u->ca_file, .tls = u->url.tls};
    u->rx = malloc(UPLINK_RX_MAX);
    u->frame = malloc(sizeof *u->frame);
    u->tx = malloc(LWS_PRE + WIRE_FRAME_MAX);
    if (rc == RC_OK && (u->rx == NULL || u->frame == NULL || u->tx == NULL))
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
            .user = u,
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
        } else if (u->attach_rc != RC_OK) {
            snprintf(why, cap, "%s", u->attach_why);
            rc = u->attach_rc;
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
    uplink_media_init(&u->media, s->media, s->media_kib_per_s);
    uv_timer_init(loop, &u->timer);
    u->timer.data = u;
    uplink_name_init(&u->name, loop, u->url.host, s->memory_file, on_address, u);
    warn_of_expiry(u);
    connect_now(u);
    *ret_u = u;
    return RC_OK;
}

void uplink_stored(struct uplink *u, enum event_lane lane, uint64_t last_seq)
{
    if (u->phase != PHASE_READY)
        return;
    uplink_queue_stored(&u->queue, lane, last_seq);
    uplink_pump(u);
}

void uplink_result(struct uplink *u, const struct wire_order_result *r)
{
    if (u->phase != PHASE_READY && u->phase != PHASE_SETTLE) /* orders may come right behind the Welcome */
        return;
    if (u->results == UPLINK_RESULTS_MAX) {
        log_warning("uplink", "more than %d results at once: that of order %" PRIu64 " is sent when the server asks again", UPLINK_RESULTS_MAX,
                    r->id);
        return;
    }
    u->result[u->results++] = *r;
    lws_callback_on_writable(u->wsi);
}

size_t uplink_results(const struct uplink *u)
{
    return u->results;
}

void uplink_media_kept(struct uplink *u)
{
    uplink_pump(u);
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
    uplink_maybe_stopped(u);
}

void uplink_maybe_stopped(struct uplink *u)
{
    if (u->wsi != NULL || u->fetching || !u->name_idle || u->phase == PHASE_OVER)
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

static void on_name_idle(void *arg)
{
    struct uplink *u = arg;
    u->name_idle = true;
    uplink_maybe_stopped(u);
}

void uplink_stop(struct uplink *u, void (*on_stopped)(void *arg), void *arg)
{
    u->stopping = true;
    u->on_stopped = on_stopped;
    u->stopped_arg = arg;
    uplink_name_stop(&u->name, on_name_idle);
    if (u->wsi != NULL) {
        uv_timer_start(&u->timer, on_timer, GOODBYE_MS, GOODBYE_MS);
        if (u->phase == PHASE_CONNECT)
            lws_set_timeout(u->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        else
            lws_callback_on_writable(u->wsi);
    }
    uplink_maybe_stopped(u);
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

static const char *state_word(const struct uplink *u)
{
    if (u->stopping)
        return "stopping";
    switch (u->phase) {
    case PHASE_PAUSE: return uplink_trouble_word(u->trouble.cause);
    case PHASE_RESOLVE: return "resolving";
    case PHASE_CONNECT:
        return u->url.tls && u->cert.done ? "upgrading" : u->url.tls && u->cert.begun ? "tls" : !u->url.tls && u->tcp_up ? "upgrading" : "connecting";
    case PHASE_HELLO:
    case PHASE_SETTLE: return "greeting";
    case PHASE_READY: return "welcomed";
    case PHASE_OVER: break;
    }
    return "stopping";
}

void uplink_figures(const struct uplink *u, struct uplink_figures *ret_f)
{
    int64_t left_ms = u->next_ms - clock_mono_ms();
    *ret_f = u->figures;
    ret_f->state = state_word(u);
    ret_f->trouble = u->line;
    ret_f->tries = u->tries;
    ret_f->next_ms = u->phase == PHASE_PAUSE && left_ms > 0 ? left_ms : 0;
    ret_f->name_ms = u->name.answered_ms;
    ret_f->cert_until_ms = u->cert.error == 0 ? u->cert.until_ms : 0;
    ret_f->own_cert_until_ms = u->cert.own_until_ms;
}
