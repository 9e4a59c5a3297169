/*
 * herd - schoolward-sim herd: many gateways that lose one server at one moment and come back to it, each waiting as the real one does
 * (gateway/uplink_trouble.c is the same code). Connects, waits for all to be lost and welcomed again, and prints how they came:
 *
 *   lost_s      from the first to the last connection that was lost
 *   first_s, median_s, last_s   from the first loss until that many were welcomed again
 *   peak_per_100ms              most welcomes in a tenth of a second
 *   tries                       connections that were begun, per gateway
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../core/wire.h"
#include "../../gateway/uplink_trouble.h"
#include "sim.h"

enum { IN_MAX = 4096, LIMIT_S = 120 };

enum state { PAUSE, CONNECTING, UPGRADING, GREETED, READY };

struct bus {
    int fd;
    enum state state;
    unsigned tries; /* in a row */
    int64_t due_ms, welcomed_ms;
    unsigned char in[IN_MAX];
    size_t n;
};

struct herd {
    struct sockaddr_in to;
    const char *prefix, *secret;
    struct bus *bus;
    size_t buses, ready, again;
    int epoll;
    int64_t first_lost_ms, last_lost_ms;
    uint64_t begun;
    bool all_were_ready;
    struct wire_frame *frame;
};

static const struct uplink_patience patience = {
    .retry_min_ms = 1000, .retry_max_ms = 60000, .silent_ms = 2000, .refused_ms = 300000}; /* the defaults */
static const struct uplink_target target = {.host = "server", .path = "/gateway", .gateway = "herd", .ca_file = ""};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_for(struct bus *b, const struct uplink_trouble *why)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint64_t)now_ms() * 2654435761u;
    b->tries++;
    b->state = PAUSE;
    b->n = 0;
    b->due_ms = now_ms() + uplink_trouble_pause_ms(why, &patience, b->tries, random);
}

static void lose(struct herd *h, struct bus *b, const struct uplink_trouble *why)
{
    if (b->state == READY) {
        h->ready--;
        h->last_lost_ms = now_ms();
        if (h->first_lost_ms == 0)
            h->first_lost_ms = h->last_lost_ms;
        b->tries = 0;
    }
    close(b->fd);
    pause_for(b, why);
}

static void lose_by(struct herd *h, struct bus *b, int error)
{
    struct uplink_trouble why;
    if (b->state == CONNECTING)
        uplink_trouble_connect(&why, &target, error);
    else
        uplink_trouble_say(&why, UPLINK_CAUSE_LOST, "lost", "");
    lose(h, b, &why);
}

static void begin(struct herd *h, size_t i)
{
    struct bus *b = &h->bus[i];
    struct epoll_event e = {.events = EPOLLOUT, .data.u64 = i};
    h->begun++;
    b->state = CONNECTING;
    b->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (b->fd < 0 || (connect(b->fd, (const struct sockaddr *)&h->to, sizeof h->to) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(h->epoll, EPOLL_CTL_ADD, b->fd, &e) != 0)
        lose_by(h, b, errno);
}

static size_t put_ws(unsigned char *out, unsigned char first, const unsigned char *data, size_t n)
{
    size_t at = 0;
    out[at++] = first;
    if (n < 126) {
        out[at++] = (unsigned char)(0x80 | n);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (unsigned char)(n >> 8);
        out[at++] = (unsigned char)n;
    }
    memset(out + at, 0, 4); /* a mask of nothing */
    memcpy(out + at + 4, data, n);
    return at + 4 + n;
}

static void upgrade(struct herd *h, size_t i)
{
    struct bus *b = &h->bus[i];
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = i};
    char text[600];
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(b->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        lose_by(h, b, error);
        return;
    }
    int n = snprintf(
        text, sizeof text,
        "GET /gateway HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\nAuthorization: Bearer %s\r\nSchoolward-Gateway: %s%zu\r\n\r\n",
        WIRE_SUBPROTOCOL, h->secret, h->prefix, i);
    b->state = UPGRADING;
    if (send(b->fd, text, (size_t)n, MSG_NOSIGNAL) != n || epoll_ctl(h->epoll, EPOLL_CTL_MOD, b->fd, &e) != 0)
        lose_by(h, b, errno);
}

static bool greet(struct herd *h, size_t i)
{
    struct wire_hello m = {.version = WIRE_VERSION, .clock = EVENT_CLOCK_NTP};
    unsigned char raw[WIRE_SMALL_MAX], ws[WIRE_SMALL_MAX + 16];
    size_t n = 0;
    snprintf(m.gateway, sizeof m.gateway, "%s%zu", h->prefix, i);
    snprintf(m.boot, sizeof m.boot, "herd");
    snprintf(m.firmware, sizeof m.firmware, "herd");
    if (wire_encode_hello(&m, raw, sizeof raw, &n) != RC_OK)
        return false;
    n = put_ws(ws, 0x82, raw, n);
    return send(h->bus[i].fd, ws, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static void welcome(struct herd *h, struct bus *b)
{
    b->state = READY;
    b->welcomed_ms = now_ms();
    h->ready++;
    h->again += h->first_lost_ms != 0;
}

/* A whole frame; false: the connection is over. */
static bool take_frame(struct herd *h, struct bus *b, const unsigned char *head, const unsigned char *data, size_t n)
{
    const char *fault;
    unsigned char pong[140];
    if ((head[0] & 15) == 8) {
        struct uplink_trouble why;
        uplink_trouble_closed(&why, &target, n >= 2 ? (unsigned)data[0] << 8 | data[1] : 1005, "");
        lose(h, b, &why);
        return false;
    }
    if ((head[0] & 15) == 9 && n < 126)
        (void)!send(b->fd, pong, put_ws(pong, 0x8A, data, n), MSG_NOSIGNAL);
    if ((head[0] & 15) == 2 && b->state == GREETED && wire_decode(data, n, h->frame, &fault) == RC_OK && h->frame->kind == WIRE_WELCOME)
        welcome(h, b);
    return true;
}

static void take(struct herd *h, size_t i)
{
    struct bus *b = &h->bus[i];
    size_t at = 0;
    if (b->state == UPGRADING) {
        const unsigned char *end = memmem(b->in, b->n, "\r\n\r\n", 4);
        if (end == NULL)
            return;
        if (b->n < 12 || memcmp(b->in, "HTTP/1.1 101", 12) != 0) {
            struct uplink_trouble why;
            uplink_trouble_http(&why, &target, (unsigned)strtoul((const char *)b->in + 9, NULL, 10), "", "");
            lose(h, b, &why);
            return;
        }
        at = (size_t)(end - b->in) + 4;
        b->state = GREETED;
        if (!greet(h, i)) {
            lose_by(h, b, errno);
            return;
        }
    }
    while (b->n - at >= 2) {
        const unsigned char *f = b->in + at;
        size_t head = (f[1] & 127) == 126 ? 4 : 2;
        if (b->n - at < head)
            break;
        size_t n = head == 4 ? (size_t)f[2] << 8 | f[3] : f[1] & 127;
        if (b->n - at < head + n)
            break;
        if (!take_frame(h, b, f, f + head, n))
            return;
        at += head + n;
    }
    memmove(b->in, b->in + at, b->n - at);
    b->n -= at;
}

static void turn(struct herd *h)
{
    struct epoll_event ev[256];
    int64_t now = now_ms();
    for (size_t i = 0; i < h->buses; i++)
        if (h->bus[i].state == PAUSE && h->bus[i].due_ms <= now)
            begin(h, i);
    int n = epoll_wait(h->epoll, ev, 256, 5);
    for (int k = 0; k < n; k++) {
        size_t i = (size_t)ev[k].data.u64;
        struct bus *b = &h->bus[i];
        if (b->state == PAUSE)
            continue;
        if (b->state == CONNECTING) {
            upgrade(h, i);
            continue;
        }
        ssize_t got = recv(b->fd, b->in + b->n, sizeof b->in - 1 - b->n, 0);
        if (got > 0) {
            b->n += (size_t)got;
            b->in[b->n] = '\0';
            take(h, i);
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            lose_by(h, b, got == 0 ? 0 : errno);
        }
    }
}

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const struct bus *)a)->welcomed_ms, y = ((const struct bus *)b)->welcomed_ms;
    return x < y ? -1 : x > y;
}

static void tell(struct herd *h)
{
    size_t peak = 0;
    qsort(h->bus, h->buses, sizeof *h->bus, by_time);
    for (size_t i = 0, k = 0; i < h->buses; i++) {
        while (h->bus[i].welcomed_ms - h->bus[k].welcomed_ms > 100)
            k++;
        peak = i - k + 1 > peak ? i - k + 1 : peak;
    }
    const int64_t zero = h->first_lost_ms;
    const struct bus *middle = &h->bus[h->buses / 2];
    printf("gateways=%zu\nlost_s=%.3f\nfirst_s=%.3f\nmedian_s=%.3f\nlast_s=%.3f\npeak_per_100ms=%zu\ntries=%.2f\n", h->buses,
           (double)(h->last_lost_ms - zero) / 1000, (double)(h->bus[0].welcomed_ms - zero) / 1000,
           (double)(middle->welcomed_ms - zero) / 1000, (double)(h->bus[h->buses - 1].welcomed_ms - zero) / 1000, peak,
           (double)h->begun / (double)h->buses);
}

/* 0 all came back; 69 not in time. */
static int watch(struct herd *h)
{
    int64_t began = now_ms();
    while (now_ms() - began < LIMIT_S * INT64_C(1000)) {
        turn(h);
        if (!h->all_were_ready && h->ready == h->buses) {
            h->all_were_ready = true;
            h->first_lost_ms = 0;
            h->again = 0;
            h->begun = 0;
            printf("ready=%zu\n", h->ready);
        }
        if (h->all_were_ready && h->again >= h->buses && h->ready == h->buses) {
            tell(h);
            return 0;
        }
    }
    fprintf(stderr, "herd: %zu of %zu are welcomed after %d s\n", h->ready, h->buses, LIMIT_S);
    return 69;
}

static int usage(void)
{
    fputs("usage: schoolward-sim herd --port PORT --gateways PREFIX --count N --secret TEXT     gateway ids are PREFIX0, PREFIX1 ...\n", stderr);
    return 64;
}

int sim_herd(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, 0, 'p'}, {"gateways", 1, 0, 'g'}, {"count", 1, 0, 'c'}, {"secret", 1, 0, 's'}, {0, 0, 0, 0}};
    struct herd h = {.to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p': h.to.sin_port = htons((uint16_t)strtoul(optarg, NULL, 10)); break;
        case 'g': h.prefix = optarg; break;
        case 'c': h.buses = strtoul(optarg, NULL, 10); break;
        case 's': h.secret = optarg; break;
        default: return usage();
        }
    }
    if (h.to.sin_port == 0 || h.prefix == NULL || strlen(h.prefix) > 40 || h.secret == NULL || strlen(h.secret) > 200 || h.buses < 1 ||
        h.buses > 15000)
        return usage();
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    h.bus = calloc(h.buses, sizeof *h.bus);
    h.frame = malloc(sizeof *h.frame);
    h.epoll = epoll_create1(EPOLL_CLOEXEC);
    int status = 71;
    if (h.bus != NULL && h.frame != NULL && h.epoll >= 0) {
        for (size_t i = 0; i < h.buses; i++) /* 500 a second at first: that storm is not what is looked at */
            h.bus[i].due_ms = now_ms() + (int64_t)i * 2;
        status = watch(&h);
    }
    free(h.bus);
    free(h.frame);
    return status;
}
