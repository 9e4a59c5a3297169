/*
 * recording_world - the world a recording is played in: simulated time, the host of one driver (driver.h), the one line (port.h) and the device at its other
 * end. One driver and one line per process: test_driver_recordings.c forks for each recording.
 */
#ifndef SCHOOLWARD_RECORDING_WORLD_H
#define SCHOOLWARD_RECORDING_WORLD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "recording.h"
#include "core/base/clock.h"
#include "gateway/driver.h"
#include "gateway/drivers/replay_line.h"
#include "gateway/port.h"

#define SENT_MAX   65536
#define TEXT_MAX   (1 << 20)
#define ON_MAX     32
#define LATER_MAX  64
#define SLAVES_MAX 4

struct slave {
    uint8_t address;
    uint16_t word[65536];
    uint8_t bit[65536], word_there[65536], bit_there[65536];
};

/* The one line and the one driver of this process. */
static struct {
    struct recording rec;
    char dir[64];
    char text[TEXT_MAX]; /* what came out */
    size_t text_n;
    bool failed;

    bool frozen;
    int64_t now_ms;               /* frozen */
    atomic_int_least64_t skip_ms; /* otherwise: simulated minus real */
    int64_t base_ms;

    const struct driver *driver;
    void *options, *state, *kept;
    bool open;
    int driver_fd;
    int64_t poll_at_ms, open_at_ms;
    struct event said;
    struct {
        const char *what;
        unsigned n;
    } count[16], result[16];

    pthread_mutex_t lock; /* of the line and the text, where a slave answers in a thread of its own */
    bool gone;
    int fd, listener;
    uint16_t tcp_port;
    uint8_t sent[SENT_MAX];
    size_t sent_n, sent_at, match_at;
    struct {
        const struct step *step;
        bool silent;
    } on[ON_MAX];
    size_t ons;
    struct {
        int64_t at_ms;
        const struct step *step;
    } later[LATER_MAX];
    size_t laters;

    struct slave *slave[SLAVES_MAX];
    bool mbap;
    const struct step *reply[256];
    size_t reply_at, reply_n;
    pthread_t thread;
    atomic_bool stop;
} w = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .listener = -1, .driver_fd = -1};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(w.text + w.text_n, sizeof w.text - w.text_n, format, ap);
    va_end(ap);
    if (n > 0 && w.text_n + (size_t)n < sizeof w.text)
        w.text_n += (size_t)n;
}

static void fail(unsigned line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(unsigned line, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    printf("%s:%u: ", w.rec.path, line);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
    w.failed = true;
}

/* --- time --- */

static int64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t mono(void *arg)
{
    (void)arg;
    return w.frozen ? 1000000 + w.now_ms : real_ms() + atomic_load(&w.skip_ms);
}

static int64_t now(void)
{
    return mono(NULL) - w.base_ms;
}

static int64_t wall(void *arg)
{
    (void)arg;
    return w.rec.wall_ms + now();
}

static void advance(int64_t to_ms)
{
    int64_t by = to_ms - now();
    if (by <= 0)
        return;
    if (w.frozen)
        w.now_ms += by;
    else
        atomic_fetch_add(&w.skip_ms, by);
}

/* --- the driver's world (driver.h) --- */

struct driver_ctx {
    int unused;
};
static struct driver_ctx the_ctx;

void driver_emit(struct driver_ctx *ctx, const struct event *e)
{
    (void)ctx;
    char line[REPLAY_LINE_MAX];
    const char *field = "";
    struct event whole = *e;
    if (whole.time_ms == 0)
        whole.time_ms = wall(NULL);
    if (e->kind == EVENT_HEALTH) { /* said again is not news; device.c fills in the name and the kind */
        if (w.said.health.state == e->health.state && w.said.health.code == e->health.code)
            return;
        w.said = *e;
        snprintf(whole.health.name, sizeof whole.health.name, "x");
        whole.health.device = (uint8_t)w.driver->kind;
    }
    if (event_check(&whole, &field) != RC_OK)
        fail(0, "an event's %s is out of its range", field);
    replay_line_format(0, e, line, sizeof line);
    pthread_mutex_lock(&w.lock);
    if (e->time_ms != 0)
        say("@%lld ", (long long)e->time_ms);
    say("%s\n", line + 2);
    pthread_mutex_unlock(&w.lock);
}

const char *driver_name(const struct driver_ctx *ctx)
{
    (void)ctx;
    return "x";
}

void driver_count(struct driver_ctx *ctx, const char *what, unsigned n)
{
    (void)ctx;
    for (size_t i = 0; i < sizeof w.count / sizeof *w.count; i++) {
        if (w.count[i].what == NULL)
            w.count[i].what = what;
        if (strcmp(w.count[i].what, what) == 0) {
            w.count[i].n += n;
            return;
        }
    }
    fail(0, "%s: a seventeenth counter", what);
}

void driver_say(struct driver_ctx *ctx, const char *text)
{
    (void)ctx;
    pthread_mutex_lock(&w.lock);
    say("says %s\n", text);
    pthread_mutex_unlock(&w.lock);
}

/* A store for the files of cameras: what came whole is told with its length and a sum over it. */
static struct {
    bool used;
    struct driver_media m;
    uint32_t end;
    uint8_t byte[1 << 20];
} file[8];

enum rc driver_media_begin(struct driver_ctx *ctx, const struct driver_media *m, int *ret_file)
{
    (void)ctx;
    for (int i = 0; i < 8; i++)
        if (!file[i].used) {
            memset(&file[i], 0, sizeof file[i]);
            file[i].used = true;
            file[i].m = *m;
            *ret_file = i;
            return RC_OK;
        }
    return RC_FULL;
}

enum rc driver_media_write(struct driver_ctx *ctx, int i, uint32_t offset, const void *p, size_t n)
{
    (void)ctx;
    if (n > sizeof file[i].byte || offset > sizeof file[i].byte - n)
        return RC_FULL;
    memcpy(file[i].byte + offset, p, n);
    if (offset + n > file[i].end)
        file[i].end = offset + (uint32_t)n;
    return RC_OK;
}

void driver_media_end(struct driver_ctx *ctx, int i, uint32_t bytes)
{
    (void)ctx;
    uint32_t sum = 0;
    if (bytes != 0 && bytes != file[i].end)
        fail(0, "a file ended at %u of %u bytes", bytes, file[i].end);
    for (uint32_t k = 0; k < bytes; k++)
        sum = sum * 31 + file[i].byte[k];
    if (bytes != 0)
        say("file %02x %u %u %u %u bytes %08x\n", file[i].m.unit, file[i].m.type, file[i].m.id, file[i].m.alarm_id, bytes, sum);
    file[i].used = false;
}

void *driver_keep(struct driver_ctx *ctx, size_t size)
{
    (void)ctx;
    if (w.kept == NULL)
        w.kept = calloc(1, size);
    return w.kept;
}

int64_t driver_wall_ms(const struct driver_ctx *ctx)
{
    (void)ctx;
    return clock_wall_ms();
}

int64_t driver_clock_ms(const struct driver_ctx *ctx)
{
    (void)ctx;
    return clock_wall_ms();
}

int64_t driver_mono_ms(const struct driver_ctx *ctx)
{
    (void)ctx;
    return clock_mono_ms();
}

bool driver_stopping(const struct driver_ctx *ctx)
{
    (void)ctx;
    return false;
}

/* --- the line (port.h): one end of a pair of sockets, whose bytes are there at once --- */

struct port {
    int fd;
    enum port_kind kind;
};

const char *const port_parity_words[] = {"none", "even", "odd", NULL};

static void hang_up(void)
{
    pthread_mutex_lock(&w.lock);
    if (w.fd >= 0)
        close(w.fd);
    w.fd = -1;
    pthread_mutex_unlock(&w.lock);
}

enum rc port_open(const struct port_setup *s, struct port **ret_p, char *why, size_t cap)
{
    if (w.gone) {
        snprintf(why, cap, "%s is not there", s->path);
        return RC_NOT_FOUND;
    }
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return RC_IO;
    struct port *p = calloc(1, sizeof *p);
    *p = (struct port){.fd = pair[0], .kind = strncmp(s->path, "tcp", 3) == 0 ? PORT_TCP : PORT_SERIAL};
    if (w.rec.tcp) { /* the driver only looks whether anybody is there */
        close(pair[1]);
    } else {
        hang_up();
        pthread_mutex_lock(&w.lock);
        w.fd = pair[1];
        pthread_mutex_unlock(&w.lock);
    }
    *ret_p = p;
    return RC_OK;
}

void port_close(struct port *p)
{
    if (p == NULL)
        return;
    close(p->fd);
    free(p);
}

int port_fd(const struct port *p)
{
    return p->fd;
}

int port_data_fd(const struct port *p)
{
    return p->fd;
}

enum port_kind port_kind(const struct port *p)
{
    return p->kind;
}

enum rc port_read(struct port *p, void *buf, size_t cap, size_t *ret_n)
{
    ssize_t n = read(p->fd, buf, cap);
    if (n < 0)
        return errno == EAGAIN ? RC_AGAIN : RC_IO;
    if (n == 0)
        return RC_END;
    *ret_n = (size_t)n;
    return RC_OK;
}

enum rc port_write(struct port *p, const void *buf, size_t n)
{
    ssize_t done = send(p->fd, buf, n, MSG_NOSIGNAL);
    return done == (ssize_t)n ? RC_OK : done < 0 && errno == EAGAIN ? RC_AGAIN : RC_IO;
}

enum rc port_ready(struct port *p, int timeout_ms)
{
    (void)p, (void)timeout_ms;
    return RC_OK;
}

size_t port_drain(struct port *p)
{
    uint8_t buf[4096];
    size_t all = 0;
    for (ssize_t n; (n = read(p->fd, buf, sizeof buf)) > 0;)
        all += (size_t)n;
    return all;
}

/* --- what the device does --- */

static void device_writes(const uint8_t *p, size_t n)
{
    pthread_mutex_lock(&w.lock);
    int fd = w.fd;
    pthread_mutex_unlock(&w.lock);
    while (fd >= 0 && n > 0) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            return;
        p += done;
        n -= (size_t)done;
    }
}

static void keep_sent(const uint8_t *p, size_t n)
{
    if (w.sent_n + n > SENT_MAX) { /* the recording does not ask for it: forget the older half */
        size_t drop = w.sent_n / 2;
        memmove(w.sent, w.sent + drop, w.sent_n - drop);
        w.sent_n -= drop;
        w.sent_at -= w.sent_at < drop ? w.sent_at : drop;
        w.match_at -= w.match_at < drop ? w.match_at : drop;
    }
    memcpy(w.sent + w.sent_n, p, n);
    w.sent_n += n;
}

/* What we sent is held against the device's rules; of two that begin alike the longer one counts. */
static void match_rules(void)
{
    while (w.match_at < w.sent_n) {
        const struct step *best = NULL;
        bool maybe = false;
        for (size_t i = 0; i < w.ons; i++) {
            const struct step *s = w.on[i].step;
            size_t have = w.sent_n - w.match_at, n = s->n < have ? s->n : have;
            if (memcmp(s->bytes, w.sent + w.match_at, n) != 0)
                continue;
            if (n < s->n)
                maybe = true;
            else if (best == NULL || s->n > best->n)
                best = s;
        }
        if (best == NULL && maybe)
            return;
        w.match_at += best != NULL ? best->n : 1;
        if (best != NULL && best->answer_n > 0 && w.laters < LATER_MAX) {
            w.later[w.laters].at_ms = now() + best->delay_ms;
            w.later[w.laters++].step = best;
        }
    }
}

static bool take_sent(void)
{
    uint8_t buf[4096];
    ssize_t n = w.fd >= 0 ? recv(w.fd, buf, sizeof buf, MSG_DONTWAIT) : -1;
    if (n <= 0)
        return false;
    keep_sent(buf, (size_t)n);
    match_rules();
    return true;
}

static uint16_t crc16(const uint8_t *p, size_t n)
{
    uint16_t crc = 0xffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
    }
    return crc;
}

/* The answer of a slave's memory to a PDU; 0 = no such slave. An address no step has set gives exception 2, as a real map's holes do. */
static size_t slave_answer(uint8_t unit, const uint8_t *q, uint8_t *out)
{
    struct slave *s = NULL;
    for (size_t i = 0; i < w.rec.slaves; i++)
        if (w.slave[i]->address == unit)
            s = w.slave[i];
    if (s == NULL)
        return 0;
    unsigned at = (unsigned)(q[1] << 8 | q[2]), n = (unsigned)(q[3] << 8 | q[4]);
    size_t len = 0;
    out[len++] = q[0];
    bool good = q[0] >= 1 && q[0] <= 6 && (q[0] >= 5 || (n >= 1 && n <= (q[0] <= 2 ? 2000u : 125u) && at + n <= 65536));
    for (unsigned i = 0; good && q[0] <= 4 && i < n; i++)
        good = q[0] <= 2 ? s->bit_there[at + i] : s->word_there[at + i];
    if (!good) {
        out[0] |= 0x80;
        out[len++] = 2;
    } else if (q[0] <= 2) {
        out[len++] = (uint8_t)((n + 7) / 8);
        memset(out + len, 0, (n + 7) / 8);
        for (unsigned i = 0; i < n; i++)
            out[len + i / 8] |= (uint8_t)(s->bit[at + i] << i % 8);
        len += (n + 7) / 8;
    } else if (q[0] <= 4) {
        out[len++] = (uint8_t)(2 * n);
        for (unsigned i = 0; i < n; i++) {
            out[len++] = (uint8_t)(s->word[at + i] >> 8);
            out[len++] = (uint8_t)s->word[at + i];
        }
    } else {
        if (q[0] == 5)
            say("coil %u %d\n", at, n != 0);
        else
            say("register %u %u\n", at, n);
        if (q[0] == 6)
            s->word[at] = (uint16_t)n; /* a coil is no input */
        memcpy(out + len, q + 1, 4);
        len += 4;
    }
    return len;
}

/* A whole request is there: what the recording says of it, or the memory's answer. */
static void serve(const uint8_t *q, size_t n)
{
    uint8_t out[300];
    size_t len = 0;
    const struct step *reply = NULL;
    pthread_mutex_lock(&w.lock);
    keep_sent(q, n);
    if (w.reply_at < w.reply_n) {
        reply = w.reply[w.reply_at++];
    } else if (w.mbap) {
        memcpy(out, q, 7);
        len = slave_answer(q[6], q + 7, out + 7);
        out[4] = (uint8_t)((len + 1) >> 8);
        out[5] = (uint8_t)(len + 1);
        len += len > 0 ? 7 : 0;
    } else {
        out[0] = q[0];
        len = slave_answer(q[0], q + 1, out + 1);
        len += len > 0;
        uint16_t crc = crc16(out, len);
        if (len > 0) {
            out[len++] = (uint8_t)crc;
            out[len++] = (uint8_t)(crc >> 8);
        }
    }
    pthread_mutex_unlock(&w.lock);
    if (reply != NULL && reply->delay_ms > 0)
        usleep((unsigned)reply->delay_ms * 1000);
    device_writes(reply != NULL ? reply->bytes : out, reply != NULL ? reply->n : len);
}

static void *slave_main(void *arg)
{
    uint8_t q[300];
    size_t have = 0;
    while (!atomic_load(&w.stop)) {
        pthread_mutex_lock(&w.lock);
        struct pollfd f = {.fd = w.fd, .events = POLLIN};
        pthread_mutex_unlock(&w.lock);
        int there = poll(&f, 1, 10);
        pthread_mutex_lock(&w.lock);
        ssize_t n = there > 0 && w.fd == f.fd ? recv(w.fd, q + have, sizeof q - have, MSG_DONTWAIT) : 0;
        pthread_mutex_unlock(&w.lock);
        if (n <= 0) {
            if (there > 0)
                usleep(1000); /* hung up and not yet open again */
            have = 0;
            continue;
        }
        have += (size_t)n;
        size_t whole = w.mbap ? 12 : 8; /* functions 1 to 6 */
        if (have >= whole) {
            if (w.mbap || crc16(q, 6) == (uint16_t)(q[6] | q[7] << 8))
                serve(q, whole);
            have = 0;
        }
    }
    return arg;
}

#endif
