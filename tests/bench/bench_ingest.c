/*
 * bench_ingest - what a message costs. Control: a libwebsockets server on libuv that takes messages and counts them. Subject: the server's whole work on
 * the same messages (decode, repeats, journal with real fsyncs, acknowledgements, bus, route, rules of the real law pack, arrival, publishing to
 * nobody). Same lws options, same loader, one server at a time, in pairs; each server is a process of its own and measures its own CPU time from the first
 * tenth of the messages until the last is counted (subject: on disk and acknowledged). bench_ingest [pairs [messages]]; for a profiler:
 * bench_ingest one subject|control CONNECTIONS PER_READ MESSAGES RATE
 *
 *   ratio_1_per_read    messages per CPU-second, subject / control, one message per read; median of the pairs
 *   ratio_8_per_read    eight messages in one read
 *   cost_5000_over_100  subject's CPU per message with 5,000 connections over that with 100, same total rate
 *   rss_per_connection  bytes of resident memory per greeted connection
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "server/arrive.h"
#include "server/ingest.h"
#include "server/journal.h"

static const char secret[] = "bench-secret-0123456789-0123456789";

struct board { /* shared between bench, loader and server */
    _Atomic uint64_t received; /* by the server; hellos not counted */
    _Atomic int ready, failed, greeted, done, stop;
    uint64_t counted;
    double cpu_s, wall_s;
    double rss_before, rss_greeted; /* bytes */
    double commits, acks, late, load_msgs_per_s;
};
static struct board *board;

struct run {
    bool subject;
    int connections, per_read;
    uint64_t messages;
    double rate_per_s; /* 0 = as fast as it goes */
    int port;
};

static double now_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double rss_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void die(const char *what)
{
    fprintf(stderr, "bench_ingest: %s: %s\n", what, strerror(errno));
    if (board != NULL)
        atomic_store(&board->failed, 1);
    exit(1);
}

/* --- the world: one route of 500 segments, as many buses as connections --- */

enum { LINE_POINTS = 501 };
static const double lat0 = 51.1, lon0 = 71.4, step_lon = 0.0006; /* some 42 m */

static char *fleet_text(int vehicles)
{
    size_t cap = (size_t)vehicles * 400 + LINE_POINTS * 120 + 4096, n = 0;
    char *t = malloc(cap), hex[65];
    uint8_t sha[32];
    if (t == NULL)
        die("memory");
    SHA256((const uint8_t *)secret, sizeof secret - 1, sha);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", sha[i]);
#define ADD(...) n += (size_t)snprintf(t + n, cap - n, __VA_ARGS__)
    ADD("{\"format\":\"schoolward.duty.1\",\"routes\":[{\"id\":\"r1\",\"name_zh\":\"一\",\"name_en\":\"One\",\"rural\":false,\"line\":[");
    for (int i = 0; i < LINE_POINTS; i++)
        ADD("%s[%.6f,%.6f]", i > 0 ? "," : "", lon0 + i * step_lon, lat0 + 0.0004 * sin(i / 9.0));
    ADD("],\"segments\":[");
    for (int i = 0; i < 500; i++)
        ADD("%s{\"from_m\":%d,\"to_m\":%d,\"posted_kmh\":%d,\"road\":\"city_multi\"}", i > 0 ? "," : "", i * 42, i * 42 + 42, i % 3 == 0 ? 50 : 60);
    ADD("],\"stops\":[");
    for (int i = 0; i < 20; i++)
        ADD("%s{\"id\":\"s%d\",\"name_zh\":\"站\",\"name_en\":\"Stop\",\"lat\":%.6f,\"lon\":%.6f,\"offset_s\":%d}", i > 0 ? "," : "", i,
            lat0 + 0.0004 * sin(i * 25 / 9.0), lon0 + i * 25 * step_lon, i * 120);
    ADD("],\"runs\":[{\"id\":\"am\",\"start\":\"07:00:00\"},{\"id\":\"pm\",\"start\":\"16:00:00\"}]}],\"vehicles\":[");
    for (int i = 0; i < vehicles; i++)
        ADD("%s{\"id\":\"b%d\",\"plate\":\"P%d\",\"gateway\":\"gw-%d\",\"secret_sha256\":\"%s\",\"rated\":{\"total\":40,\"pupils\":38},\"size\":\"large\","
            "\"staff\":2,\"staff_uncounted\":1,\"routes\":[{\"route\":\"r1\"}]}",
            i > 0 ? "," : "", i, i, i, hex);
    ADD("]}");
#undef ADD
    return t;
}

/* --- the servers --- */

struct world {
    const struct run *run;
    uv_loop_t loop;
    uv_check_t check;
    uv_timer_t tick;
    struct lws_context *lws;
    struct lws_protocols protocol[2];
    struct fleet *fleet;
    struct journal *journal;
    struct ingest *ingest;
    struct arrive *arrive;
    char dir[64];
    uint64_t count; /* control */
    uint64_t settled, started_at;
    unsigned turns;
    double cpu_start, wall_start;
    bool started, finished, closing;
};

static int count_only(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
    (void)user;
    (void)in;
    (void)n;
    if (reason == LWS_CALLBACK_RECEIVE && lws_is_final_fragment(wsi)) {
        struct world *w = lws_get_protocol(wsi)->user;
        w->count++;
    }
    return 0;
}

static void on_settled(void *arg, uint64_t ticket)
{
    struct world *w = arg;
    w->settled = ticket;
    ingest_settled(w->ingest, ticket);
}

static void on_journal_closed(void *arg)
{
    struct world *w = arg;
    w->journal = NULL;
}

static uint64_t received(struct world *w)
{
    if (!w->run->subject)
        return w->count > (uint64_t)w->run->connections ? w->count - (uint64_t)w->run->connections : 0;
    struct ingest_figures f;
    ingest_figures(w->ingest, &f);
    return f.frames;
}

static void finish(struct world *w, uint64_t n)
{
    w->finished = true;
    board->cpu_s = now_s(CLOCK_PROCESS_CPUTIME_ID) - w->cpu_start;
    board->wall_s = now_s(CLOCK_MONOTONIC) - w->wall_start;
    board->counted = n - w->started_at;
    if (w->run->subject) {
        struct journal_figures jf;
        struct ingest_figures f;
        journal_figures(w->journal, &jf);
        ingest_figures(w->ingest, &f);
        board->commits = (double)jf.commits;
        board->acks = (double)f.acks;
        board->late = (double)f.late;
    }
    atomic_store(&board->done, 1);
}

/* Once per turn of the loop, the same in both servers. */
static void on_check(uv_check_t *c)
{
    struct world *w = c->data;
    uint64_t n = received(w);
    atomic_store_explicit(&board->received, n, memory_order_relaxed);
    if (!w->started && n >= w->run->messages / 10) {
        w->started = true;
        w->started_at = n;
        w->cpu_start = now_s(CLOCK_PROCESS_CPUTIME_ID);
        w->wall_start = now_s(CLOCK_MONOTONIC);
    }
    if (w->started && !w->finished && n >= w->run->messages) {
        struct journal_figures jf = {0};
        if (w->run->subject)
            journal_figures(w->journal, &jf);
        if (jf.waiting_frames == 0)
            finish(w, n);
    }
}

static void on_tick(uv_timer_t *t)
{
    struct world *w = t->data;
    if (atomic_load(&board->greeted) == 1) {
        board->rss_greeted = rss_bytes();
        atomic_store(&board->greeted, 2);
    }
    if (w->run->subject && ++w->turns % 10 == 0) { /* once a second, as the server does */
        int64_t now = clock_wall_ms();
        fleet_tick(w->fleet, now);
        arrive_tick(w->arrive, now);
        ingest_tick(w->ingest);
    }
    if (atomic_load(&board->stop) != 0 && !w->closing) {
        w->closing = true;
        uv_close((uv_handle_t *)&w->check, NULL);
        uv_close((uv_handle_t *)&w->tick, NULL);
        if (w->run->subject)
            journal_close(w->journal, on_journal_closed, w);
        lws_context_destroy(w->lws);
    }
}

static void subject_open(struct world *w)
{
    char why[512] = "", path[600];
    struct law *law;
    struct duty_set *set;
    const char *root = getenv("SCHOOLWARD_SOURCE");
    snprintf(path, sizeof path, "%s/core/law/cn-national.json", root != NULL ? root : ".");
    FILE *f = fopen(path, "re");
    if (f == NULL)
        die(path);
    char *text = calloc(1, 1 << 20);
    size_t n = text != NULL ? fread(text, 1, (1 << 20) - 1, f) : 0;
    fclose(f);
    if (law_read(text, n, path, &law, why, sizeof why) != RC_OK)
        die(why);
    free(text);
    text = fleet_text(w->run->connections);
    if (duty_read(text, strlen(text), &set, why, sizeof why) != RC_OK)
        die(why);
    free(text);
    snprintf(w->dir, sizeof w->dir, "/var/tmp/bench-ingest-XXXXXX");
    if (mkdtemp(w->dir) == NULL)
        die(w->dir);
    struct journal_setup js = {w->dir, 100, on_settled, NULL, w};
    if (fleet_new(law, set, &w->fleet) != RC_OK || arrive_new(w->fleet, "Asia/Shanghai", &w->arrive) != RC_OK ||
        journal_open(&w->loop, &js, &w->journal, why, sizeof why) != RC_OK)
        die(why);
    struct ingest_setup is = {&w->loop, w->fleet, w->journal, NULL, NULL, 60000, 1e6, UINT64_C(1000000000), 3000, 10000, 60000};
    if (ingest_new(&is, &w->ingest) != RC_OK)
        die("ingest");
    ingest_protocol(w->ingest, &w->protocol[0]);
}

static void serve(const struct run *r)
{
    static struct world w;
    w.run = r;
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&w.loop);
    if (r->subject)
        subject_open(&w);
    else
        w.protocol[0] = (struct lws_protocols){.name = WIRE_SUBPROTOCOL, .callback = count_only, .rx_buffer_size = INGEST_RX_BYTES, .user = &w};
    void *loops[] = {&w.loop};
    struct lws_context_creation_info info = {.iface = "127.0.0.1",
                                             .port = r->port,
                                             .protocols = w.protocol,
                                             .gid = (gid_t)-1,
                                             .uid = (uid_t)-1,
                                             .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6 | LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND,
                                             .alpn = "http/1.1",
                                             .foreign_loops = loops,
                                             .max_http_header_pool = 256};
    lws_set_log_level(LLL_ERR, NULL);
    w.lws = lws_create_context(&info);
    if (w.lws == NULL)
        die("cannot listen");
    uv_check_init(&w.loop, &w.check);
    uv_timer_init(&w.loop, &w.tick);
    w.check.data = w.tick.data = &w;
    uv_check_start(&w.check, on_check);
    uv_timer_start(&w.tick, on_tick, 100, 100);
    board->rss_before = rss_bytes();
    atomic_store(&board->ready, 1);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    if (w.dir[0] != '\0') {
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s", w.dir);
        if (system(command) != 0)
            fprintf(stderr, "%s is left behind\n", w.dir);
    }
    _exit(0);
}

/* --- the loader: plain sockets, frames built and masked beforehand --- */

struct peer {
    int fd;
    uint8_t *frames; /* all of its messages, one after another */
    uint32_t *at;    /* where each begins; one more than messages */
    uint64_t sent;
};

static size_t ws_frame(uint8_t *out, const uint8_t *p, size_t n)
{
    static const uint8_t mask[4] = {0x5a, 0x13, 0xc7, 0x88};
    size_t at = 0;
    out[at++] = 0x82;
    if (n < 126) {
        out[at++] = (uint8_t)(0x80 | n);
    } else {
        out[at++] = 0xfe;
        out[at++] = (uint8_t)(n >> 8);
        out[at++] = (uint8_t)n;
    }
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < n; i++)
        out[at++] = p[i] ^ mask[i & 3];
    return at;
}

static void send_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && errno == EAGAIN) {
            struct pollfd w = {fd, POLLOUT, 0};
            poll(&w, 1, 1000);
            continue;
        }
        if (k <= 0)
            die("send");
        p += k;
        n -= (size_t)k;
    }
}

static void greet(struct peer *p, int i, const struct run *r)
{
    char head[512], got[1024];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t hello[WIRE_SMALL_MAX], frame[WIRE_SMALL_MAX + 16];
    size_t n, at = 0;
    int one = 1;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    snprintf(head, sizeof head,
             "GET /gateway HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: schoolward.v1\r\nAuthorization: Bearer %s\r\nSchoolward-Gateway: gw-%d\r\n\r\n",
             secret, i);
    send_all(p->fd, (const uint8_t *)head, strlen(head));
    for (;;) {
        ssize_t k = recv(p->fd, got + at, sizeof got - 1 - at, 0);
        if (k <= 0)
            die("upgrade");
        at += (size_t)k;
        got[at] = '\0';
        if (strstr(got, "\r\n\r\n") != NULL)
            break;
    }
    if (strncmp(got, "HTTP/1.1 101", 12) != 0)
        die("no upgrade");
    struct wire_hello h = {.version = WIRE_VERSION, .time_ms = clock_wall_ms(), .clock = EVENT_CLOCK_GNSS};
    snprintf(h.gateway, sizeof h.gateway, "gw-%d", i);
    snprintf(h.boot, sizeof h.boot, "bench");
    if (wire_encode_hello(&h, hello, sizeof hello, &n) != RC_OK)
        die("hello");
    send_all(p->fd, frame, ws_frame(frame, hello, n));
    if (r->subject && recv(p->fd, got, sizeof got, 0) <= 0) /* the welcome */
        die("welcome");
}

static struct event fix_at(int bus, int64_t t_ms, int64_t since_ms)
{
    double along = fmod((double)bus * 131.0 + 9.0 * (double)since_ms / 1000.0, 20000.0) / 42.0; /* 32 km/h, in steps of the line */
    int i = (int)along;
    double f = along - i, lat = lat0 + 0.0004 * ((1 - f) * sin(i / 9.0) + f * sin((i + 1) / 9.0));
    return (struct event){.time_ms = t_ms,
                          .kind = EVENT_FIX,
                          .clock = EVENT_CLOCK_GNSS,
                          .fix = {(int32_t)(lat * 1e7), (int32_t)((lon0 + along * step_lon) * 1e7), 9000 + bus % 90, 9000 + bus % 700, 3480 + bus % 40, 7 + bus % 6,
                                  (uint8_t)(9 + bus % 8), EVENT_FIX_3D, 0}};
}

static void build(struct peer *p, int bus, uint64_t messages, int64_t t0_ms, double span_ms)
{
    uint8_t frame[256];
    size_t n = 0;
    p->frames = malloc(messages * 80);
    p->at = malloc((messages + 1) * sizeof *p->at);
    if (p->frames == NULL || p->at == NULL)
        die("memory");
    for (uint64_t k = 0; k < messages; k++) {
        int64_t since = (int64_t)((double)k * span_ms / (double)messages);
        struct event e = fix_at(bus, t0_ms + since, since);
        size_t len;
        if (wire_encode_batch(EVENT_LANE_BULK, k + 1, false, &e, 1, frame, sizeof frame, &len) != RC_OK)
            die("frame");
        p->at[k] = (uint32_t)n;
        n += ws_frame(p->frames + n, frame, len);
    }
    p->at[messages] = (uint32_t)n;
}

static void drain(const struct peer *p)
{
    char junk[4096];
    while (recv(p->fd, junk, sizeof junk, MSG_DONTWAIT) == (ssize_t)sizeof junk)
        ;
}

static void load(const struct run *r)
{
    struct rlimit lim;
    struct peer *peer = calloc((size_t)r->connections, sizeof *peer);
    uint64_t each = r->messages / (uint64_t)r->connections, sent = 0;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    /* event times end where the run does, so that all of it is live; at least 1 ms apart */
    double span_ms = r->rate_per_s > 0 ? (double)r->messages / r->rate_per_s * 1000 : (double)each < 20000 ? 20000 : (double)each;
    int64_t t0 = clock_wall_ms() - (int64_t)(r->rate_per_s > 0 ? 0 : span_ms / 2);
    for (int i = 0; i < r->connections; i++)
        build(&peer[i], i, each, t0, span_ms);
    for (int i = 0; i < r->connections; i++)
        greet(&peer[i], i, r);
    atomic_store(&board->greeted, 1);
    while (atomic_load(&board->greeted) != 2)
        usleep(1000);
    double began = now_s(CLOCK_MONOTONIC);
    uint64_t window = (uint64_t)r->connections * (uint64_t)r->per_read / 2;
    for (uint64_t k = 0; k < each; k += (uint64_t)r->per_read)
        for (int i = 0; i < r->connections; i++) {
            uint64_t upto = k + (uint64_t)r->per_read < each ? k + (uint64_t)r->per_read : each;
            if (r->rate_per_s > 0) {
                while (now_s(CLOCK_MONOTONIC) < began + (double)sent / r->rate_per_s)
                    usleep(500);
            } else {
                /* at most one read's worth per connection is under way */
                while (sent - atomic_load_explicit(&board->received, memory_order_relaxed) > window)
                    usleep(20);
            }
            send_all(peer[i].fd, peer[i].frames + peer[i].at[k], peer[i].at[upto] - peer[i].at[k]);
            sent += upto - k;
            if (k / (uint64_t)r->per_read % 16 == 15 || r->rate_per_s > 0)
                drain(&peer[i]);
        }
    board->load_msgs_per_s = (double)sent / (now_s(CLOCK_MONOTONIC) - began);
    while (atomic_load(&board->done) == 0)
        usleep(1000);
    _exit(0);
}

/* --- one run, and what comes of several --- */

static int free_port(void)
{
    for (int port = 24000 + (int)(getpid() % 4000);; port++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        bool ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
        close(fd);
        if (ok)
            return port;
    }
}

static pid_t child(void (*body)(const struct run *), const struct run *r)
{
    fflush(NULL);
    pid_t p = fork();
    if (p < 0)
        die("fork");
    if (p == 0) {
        body(r);
        _exit(0);
    }
    return p;
}

/* CPU microseconds per message. */
static double measure(struct run r)
{
    memset(board, 0, sizeof *board);
    r.port = free_port();
    r.messages -= r.messages % ((uint64_t)r.connections * (uint64_t)r.per_read);
    pid_t server = child(serve, &r);
    for (int i = 0; atomic_load(&board->ready) == 0; i++) {
        if (i > 20000 || waitpid(server, NULL, WNOHANG) == server)
            die("the server did not start");
        usleep(1000);
    }
    pid_t loader = child(load, &r);
    int status = 0;
    for (int i = 0; waitpid(loader, &status, WNOHANG) != loader; i++) {
        if (i > 180000 || waitpid(server, NULL, WNOHANG) == server) {
            kill(loader, SIGKILL);
            die("the server ended before the messages did");
        }
        usleep(1000);
    }
    atomic_store(&board->stop, 1);
    waitpid(server, NULL, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || board->counted == 0)
        die("the loader failed");
    double us = board->cpu_s * 1e6 / (double)board->counted;
    fprintf(stderr, "%s connections=%d per_read=%d rate=%.0f: %.2f us/msg, %.0f msg/CPU-s, %.0f msg/s, commits=%.0f acks=%.0f late=%.0f rss/conn=%.0f\n",
            r.subject ? "subject" : "control", r.connections, r.per_read, r.rate_per_s, us, 1e6 / us, (double)board->counted / board->wall_s, board->commits,
            board->acks, board->late, (board->rss_greeted - board->rss_before) / r.connections);
    if (board->late > 0)
        die("events came late: the bench measured something else");
    return us;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 != 0 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

enum { PAIRS_MAX = 32 };

static void ratio(int per_read, int pairs, uint64_t messages)
{
    double r[PAIRS_MAX], control[PAIRS_MAX], subject[PAIRS_MAX];
    for (int i = 0; i < pairs; i++) {
        struct run run = {.connections = 1000, .per_read = per_read, .messages = messages};
        for (int turn = 0; turn < 2; turn++) { /* in turns first, so that a machine that slows down or speeds up favours none */
            run.subject = (turn + i) % 2 != 0;
            *(run.subject ? &subject[i] : &control[i]) = measure(run);
        }
        r[i] = control[i] / subject[i];
    }
    printf("ratio_%d_per_read=%.3f\n", per_read, median(r, pairs));
    printf("ratio_%d_per_read_min=%.3f\nratio_%d_per_read_max=%.3f\n", per_read, r[0], per_read, r[pairs - 1]);
    printf("control_%d_per_read_msgs_per_cpu_s=%.0f\n", per_read, 1e6 / median(control, pairs));
    printf("subject_%d_per_read_msgs_per_cpu_s=%.0f\n", per_read, 1e6 / median(subject, pairs));
    fflush(stdout);
}

static void growth(int pairs)
{
    double r[PAIRS_MAX], rc[PAIRS_MAX], few[PAIRS_MAX], many[PAIRS_MAX], rss[PAIRS_MAX];
    for (int i = 0; i < pairs; i++) {
        struct run run = {.connections = 100, .per_read = 1, .messages = 30000, .rate_per_s = 10000};
        double c100 = i % 2 != 0 ? 0 : measure(run); /* the control's own growth only explains ours: every second time is enough */
        run.subject = true;
        few[i] = measure(run);
        run.connections = 5000;
        many[i] = measure(run);
        rss[i] = (board->rss_greeted - board->rss_before) / run.connections;
        r[i] = many[i] / few[i];
        if (i % 2 != 0)
            continue;
        run.subject = false;
        rc[i / 2] = measure(run) / c100;
    }
    printf("cost_5000_over_100=%.3f\n", median(r, pairs));
    printf("control_cost_5000_over_100=%.3f\n", median(rc, (pairs + 1) / 2));
    printf("us_per_msg_100=%.2f\nus_per_msg_5000=%.2f\n", median(few, pairs), median(many, pairs));
    printf("rss_per_connection=%.0f\n", median(rss, pairs));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    bool one = argc == 7 && strcmp(argv[1], "one") == 0;
    int pairs = argc > 1 && !one ? atoi(argv[1]) : 5;
    uint64_t messages = argc > 2 && !one ? (uint64_t)atoll(argv[2]) : 300000;
    if (pairs < 1 || pairs > PAIRS_MAX || messages < 16000) {
        fprintf(stderr, "usage: bench_ingest [pairs 1..%d [messages >= 16000]]\n", PAIRS_MAX);
        return 64;
    }
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 1;
    if (one) {
        struct run run = {strcmp(argv[2], "subject") == 0, atoi(argv[3]), atoi(argv[4]), (uint64_t)atoll(argv[5]), atof(argv[6]), 0};
        printf("us_per_msg=%.3f\n", measure(run));
        return 0;
    }
    ratio(1, pairs, messages);
    ratio(8, pairs, messages * 16 / 3); /* a message costs a fraction of the above: as long a run needs more of them */
    growth(pairs);
    return 0;
}
