/*
 * load - schoolward-sim load: many gateways that send prepared frames of one full fix each, at next to no cost of their own, so that what is measured
 * is the server. Raw sockets and epoll; the frames of one sequence are the same bytes for every connection and are made once.
 *
 * Output: key=value lines. With --pid the CPU time of that process (the server) is read at the start and at the end of the sending.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../core/wire.h"
#include "scenario.h"
#include "sim.h"

#define IN_MAX 8192

enum load_state { UPGRADING = 0, GREETED, READY, GONE };

struct load_client {
    int fd;
    enum load_state state;
    size_t at;      /* bytes of the table already written */
    uint64_t acked; /* highest sequence settled */
    unsigned char in[IN_MAX];
    size_t in_n;
};

struct load {
    const char *host;
    int port;
    char path[128];
    const struct scenario *plan;
    struct load_client *client;
    size_t clients, ready, gone, done;
    unsigned char *table; /* masked WebSocket frames, one after the other */
    size_t *end;          /* of frame i */
    size_t frames;
    unsigned per_write;
    double rate;
    int step_ms;
    int64_t start_ms;
    int epoll;
    int pid;
    struct wire_frame *frame;
    uint64_t writes, short_writes;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_of(int pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = pid ? fopen(path, "re") : NULL;
    if (!f)
        return NAN;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *p = strrchr(text, ')');
    if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return NAN;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* --- frames --- */

static size_t put_ws(unsigned char *out, const unsigned char *data, size_t n)
{
    static const unsigned char mask[4] = {0x5A, 0x13, 0xC7, 0x2E};
    size_t at = 0;
    out[at++] = 0x82;
    if (n < 126) {
        out[at++] = (unsigned char)(0x80 | n);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (unsigned char)(n >> 8);
        out[at++] = (unsigned char)n;
    }
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < n; i++)
        out[at + i] = data[i] ^ mask[i & 3];
    return at + n;
}

/* One bus driving its route at 30 km/h, a fix per step. */
static int make_table(struct load *l)
{
    const struct path *p = l->plan->route[0].path;
    unsigned char raw[256];
    size_t used = 0;
    l->table = malloc(l->frames * 80);
    l->end = calloc(l->frames, sizeof *l->end);
    if (!l->table || !l->end)
        return -1;
    for (size_t i = 0; i < l->frames; i++) {
        double course, along = fmod(100 + 8.3 * (double)i * l->step_ms / 1000, p->length_m);
        struct geo_pt at = path_at(p, along, &course);
        struct event e = {.time_ms = l->start_ms + (int64_t)i * l->step_ms, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS};
        e.fix = (struct event_fix){.lat_e7 = (int32_t)lround(at.lat * 1e7),
                                   .lon_e7 = (int32_t)lround(at.lon * 1e7),
                                   .speed_mmps = 8300 + (int32_t)(i % 17) * 11,
                                   .track_cdeg = (int32_t)lround(course * 100) % 36000,
                                   .alt_dm = 3470,
                                   .hdop_d = 8,
                                   .satellites = 14,
                                   .mode = EVENT_FIX_3D};
        size_t n = 0;
        if (wire_encode_batch(EVENT_LANE_BULK, i + 1, false, &e, 1, raw, sizeof raw, &n) != RC_OK || n > 70)
            return -1;
        used += put_ws(l->table + used, raw, n);
        l->end[i] = used;
    }
    return 0;
}

/* --- connections --- */

static int open_client(struct load *l, size_t i)
{
    struct load_client *c = &l->client[i];
    const struct scenario_bus *b = &l->plan->bus[i];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
    int one = 1;
    char text[600];
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || inet_pton(AF_INET, l->host, &a.sin_addr) != 1 || connect(c->fd, (struct sockaddr *)&a, sizeof a)) {
        fprintf(stderr, "load: connection %zu: %s\n", i + 1, strerror(errno));
        return -1;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    int n = snprintf(
        text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\nAuthorization: Bearer %s\r\nSchoolward-Gateway: %s\r\n\r\n",
        l->path, l->host, l->port, WIRE_SUBPROTOCOL, b->secret, b->gateway);
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        return -1;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = i};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e);
}

static int send_hello(struct load *l, struct load_client *c, size_t i)
{
    struct wire_hello m = {.version = WIRE_VERSION, .time_ms = l->start_ms, .clock = EVENT_CLOCK_NTP};
    unsigned char raw[WIRE_SMALL_MAX], ws[WIRE_SMALL_MAX + 16];
    size_t n = 0;
    snprintf(m.gateway, sizeof m.gateway, "%s", l->plan->bus[i].gateway);
    snprintf(m.boot, sizeof m.boot, "load");
    snprintf(m.firmware, sizeof m.firmware, "load");
    if (wire_encode_hello(&m, raw, sizeof raw, &n) != RC_OK)
        return -1;
    n = put_ws(ws, raw, n);
    c->state = GREETED;
    return send(c->fd, ws, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

static void take_message(struct load *l, struct load_client *c, const unsigned char *data, size_t n)
{
    const char *fault;
    if (wire_decode(data, n, l->frame, &fault) != RC_OK)
        return;
    const struct wire_ack *a = NULL;
    if (l->frame->kind == WIRE_WELCOME) {
        if (c->state != READY)
            l->ready++;
        c->state = READY;
        a = &l->frame->welcome.ack[EVENT_LANE_BULK];
        if (a->through || a->ranges)
            fprintf(stderr, "load: the server already knows this gateway's sequences: start it with an empty journal\n");
    } else if (l->frame->kind == WIRE_ACK && l->frame->ack.lane == EVENT_LANE_BULK) {
        a = &l->frame->ack;
    }
    if (a && a->through > c->acked) {
        if (c->acked < l->frames && a->through >= l->frames)
            l->done++;
        c->acked = a->through;
    }
}

static void lose(struct load *l, struct load_client *c, const char *why)
{
    if (c->state == GONE)
        return;
    if (!l->gone)
        fprintf(stderr, "load: a connection was lost: %s\n", why);
    l->gone++;
    if (c->acked < l->frames)
        l->done++;
    if (c->state == READY)
        l->ready--;
    c->state = GONE;
    close(c->fd);
}

/* Whole frames out of c->in. */
static void take_frames(struct load *l, struct load_client *c, size_t i)
{
    size_t at = 0;
    if (c->state == UPGRADING) {
        const unsigned char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4);
        if (!end)
            return;
        if (c->in_n < 12 || memcmp(c->in, "HTTP/1.1 101", 12) != 0) {
            lose(l, c, "no 101 to the upgrade");
            return;
        }
        at = (size_t)(end - c->in) + 4;
        if (send_hello(l, c, i)) {
            lose(l, c, "hello could not be written");
            return;
        }
    }
    while (c->in_n - at >= 2) {
        const unsigned char *f = c->in + at;
        size_t head = 2, n = f[1] & 127;
        if (n == 126) {
            if (c->in_n - at < 4)
                break;
            n = (size_t)f[2] << 8 | f[3];
            head = 4;
        } else if (n == 127) {
            lose(l, c, "a frame too big");
            return;
        }
        if (c->in_n - at < head + n)
            break;
        if ((f[0] & 15) == 8) {
            char why[64];
            snprintf(why, sizeof why, "close %d %.*s", n >= 2 ? f[head] << 8 | f[head + 1] : 0, n > 2 ? (int)n - 2 : 0, (const char *)f + head + 2);
            lose(l, c, why);
            return;
        }
        if ((f[0] & 15) == 9 && n < 126) {
            unsigned char pong[140];
            size_t m = put_ws(pong, f + head, n);
            pong[0] = 0x8A;
            (void)!send(c->fd, pong, m, MSG_NOSIGNAL);
        }
        if ((f[0] & 15) == 2)
            take_message(l, c, f + head, n);
        at += head + n;
    }
    memmove(c->in, c->in + at, c->in_n - at);
    c->in_n -= at;
}

static void pump(struct load *l, int timeout_ms)
{
    struct epoll_event ev[256];
    int n = epoll_wait(l->epoll, ev, 256, timeout_ms);
    for (int k = 0; k < n; k++) {
        size_t i = (size_t)ev[k].data.u64;
        struct load_client *c = &l->client[i];
        if (c->state == GONE)
            continue;
        ssize_t got = recv(c->fd, c->in + c->in_n, sizeof c->in - c->in_n, 0);
        if (got > 0) {
            c->in_n += (size_t)got;
            take_frames(l, c, i);
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            lose(l, c, got == 0 ? "end of file" : strerror(errno));
        }
    }
}

/* One write of per_write frames. Returns frames begun, 0 when the socket is full or all is written. */
static size_t write_some(struct load *l, struct load_client *c, size_t next)
{
    size_t last = next + l->per_write < l->frames ? next + l->per_write : l->frames;
    size_t to = l->end[last - 1];
    ssize_t n = send(c->fd, l->table + c->at, to - c->at, MSG_NOSIGNAL);
    l->writes++;
    if (n < 0) {
        if (errno != EAGAIN)
            lose(l, c, strerror(errno));
        return 0;
    }
    c->at += (size_t)n;
    if (c->at < to) {
        l->short_writes++;
        return 0; /* the same frames again until they are out */
    }
    return last - next;
}

static void send_all(struct load *l)
{
    size_t *next = calloc(l->clients, sizeof *next);
    uint64_t sent = 0, total = (uint64_t)l->frames * l->clients;
    double began = now_s();
    size_t turn = 0, full = 0;
    while (next && l->done < l->clients) {
        double due = l->rate > 0 ? (now_s() - began) * l->rate : (double)total;
        unsigned burst = 0;
        while ((double)sent < due && sent < total && burst < 4096 && full < l->clients) {
            struct load_client *c = &l->client[turn];
            size_t n = c->state == READY && next[turn] < l->frames ? write_some(l, c, next[turn]) : 0;
            next[turn] += n;
            sent += n;
            burst++;
            full = n ? 0 : full + 1;
            turn = turn + 1 == l->clients ? 0 : turn + 1;
        }
        pump(l, full >= l->clients || sent >= total || burst == 0 ? 1 : 0);
        full = 0;
        if (now_s() - began > 600)
            break;
    }
    free(next);
}

static int connect_all(struct load *l, double per_second)
{
    double began = now_s();
    for (size_t i = 0; i < l->clients; i++) {
        if (open_client(l, i))
            return -1;
        while ((double)(i + 1) > (now_s() - began) * per_second)
            pump(l, 1);
        pump(l, 0);
    }
    while (l->ready + l->gone < l->clients && now_s() - began < 120 + (double)l->clients / per_second)
        pump(l, 10);
    return l->ready == l->clients ? 0 : -1;
}

static int usage(void)
{
    fputs(
        "usage: schoolward-sim load --plan DIR --url ws://127.0.0.1:PORT/gateway --connections N --frames K [--per-write 1] [--rate "
        "MESSAGES_PER_SECOND]\n"
        "         [--step-ms 1000] [--start-ago-s S] [--connections-per-second 500] [--pid SERVER]\n"
        "  --rate 0 (default): as fast as the sockets take it; --start-ago-s: event time of the first frame (default: so that the last one is now)\n",
        stderr);
    return 64;
}

static int measure(struct load *l, double per_second)
{
    double t0 = now_s();
    if (connect_all(l, per_second)) {
        fprintf(stderr, "load: only %zu of %zu connections were welcomed\n", l->ready, l->clients);
        return 69;
    }
    double t1 = now_s(), cpu = cpu_of(l->pid);
    printf("connected_s=%.3f\n", t1 - t0);
    send_all(l);
    double seconds = now_s() - t1, used = cpu_of(l->pid) - cpu;
    uint64_t acked = 0, total = (uint64_t)l->frames * l->clients;
    for (size_t i = 0; i < l->clients; i++)
        acked += l->client[i].acked < l->frames ? l->client[i].acked : l->frames;
    printf("connections=%zu\nmessages=%llu\nacked=%llu\nlost_connections=%zu\nseconds=%.3f\nmessages_per_s=%.0f\nper_write=%u\nshort_writes=%"
           "llu\nframe_bytes=%.1f\n",
           l->clients, (unsigned long long)total, (unsigned long long)acked, l->gone, seconds, (double)acked / seconds, l->per_write,
           (unsigned long long)l->short_writes, (double)l->end[l->frames - 1] / (double)l->frames);
    if (isfinite(used))
        printf("server_cpu_s=%.3f\nserver_cpu_us_per_message=%.3f\n", used, acked ? used * 1e6 / (double)acked : 0.0);
    return acked == total ? 0 : 69;
}

int sim_load(int argc, char **argv)
{
    static const struct option options[] = {
        {"plan", 1, 0, 'p'}, {"url", 1, 0, 'u'},     {"connections", 1, 0, 'c'}, {"frames", 1, 0, 'f'}, {"per-write", 1, 0, 'w'},
        {"rate", 1, 0, 'r'}, {"step-ms", 1, 0, 's'}, {"start-ago-s", 1, 0, 'a'}, {"pid", 1, 0, 'i'},    {"connections-per-second", 1, 0, 'n'},
        {0, 0, 0, 0}};
    struct load l = {.per_write = 1, .step_ms = 1000};
    const char *plan = NULL, *url = NULL;
    char host[64], why[300] = "", file[4096];
    double per_second = 500, ago_s = NAN;
    long connections = 0, frames = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p': plan = optarg; break;
        case 'u': url = optarg; break;
        case 'c': connections = strtol(optarg, NULL, 10); break;
        case 'f': frames = strtol(optarg, NULL, 10); break;
        case 'w': l.per_write = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'r': l.rate = strtod(optarg, NULL); break;
        case 's': l.step_ms = (int)strtol(optarg, NULL, 10); break;
        case 'a': ago_s = strtod(optarg, NULL); break;
        case 'i': l.pid = (int)strtol(optarg, NULL, 10); break;
        case 'n': per_second = strtod(optarg, NULL); break;
        default: return usage();
        }
    }
    if (!plan || !url || connections < 1 || frames < 1 || frames > 2000000 || l.per_write < 1 || l.per_write > 64 || l.step_ms < 1 ||
        per_second <= 0 || sscanf(url, "ws://%63[^:/]:%d%127s", host, &l.port, l.path) != 3)
        return usage();
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    snprintf(file, sizeof file, "%s/light.json", plan);
    struct scenario *s = NULL;
    if (scenario_read(file, &s, why, sizeof why) != RC_OK || (size_t)connections > s->buses) {
        fprintf(stderr, "load: %s\n", *why ? why : "the plan has fewer light buses than connections");
        scenario_free(s);
        return 66;
    }
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    l.host = host;
    l.plan = s;
    l.clients = (size_t)connections;
    l.frames = (size_t)frames;
    l.start_ms = (int64_t)t.tv_sec * 1000 - (int64_t)((isfinite(ago_s) ? ago_s * 1000 : (double)frames * l.step_ms));
    l.client = calloc(l.clients, sizeof *l.client);
    l.frame = malloc(sizeof *l.frame);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    int status = 71;
    if (l.client && l.frame && l.epoll >= 0 && !make_table(&l))
        status = measure(&l, per_second);
    for (size_t i = 0; l.client && i < l.clients; i++)
        if (l.client[i].state != GONE && l.client[i].fd > 0)
            close(l.client[i].fd);
    free(l.client);
    free(l.frame);
    free(l.table);
    free(l.end);
    scenario_free(s);
    return status;
}
