/*
 * devices_kit - what the tests of devices share: a loop with the events it gave, options from text, pseudo terminals, and a Modbus RTU wire whose
 * slaves can be told to be late, silent, garbled or gone. Waits are for conditions, with a limit.
 */
#ifndef SCHOOLWARD_DEVICES_KIT_H
#define SCHOOLWARD_DEVICES_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "gateway/device.h"

#define KIT_EVENTS  4096
#define KIT_DEVICES 8

struct kit {
    uv_loop_t loop;
    uv_timer_t limit;
    bool limit_hit;
    struct {
        struct event e;
        const struct device *d;
        int64_t at_ms; /* monotonic */
    } got[KIT_EVENTS];
    size_t n;
    struct device *device[KIT_DEVICES];
    void *options[KIT_DEVICES];
    size_t devices, stopping;
};

static inline void kit_on_event(void *arg, struct device *d, const struct event *e)
{
    struct kit *k = arg;
    if (k->n < KIT_EVENTS) {
        k->got[k->n].e = *e;
        k->got[k->n].d = d;
        k->got[k->n++].at_ms = clock_mono_ms();
    }
}

static inline struct kit *kit_new(void)
{
    struct kit *k = calloc(1, sizeof *k);
    assert_non_null(k);
    uv_loop_init(&k->loop);
    uv_timer_init(&k->loop, &k->limit);
    log_set_level(getenv("KIT_DEBUG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    return k;
}

/* options "key=value;key=value" over the driver's defaults */
static inline struct device *kit_start(struct kit *k, const char *driver, const char *name, int64_t silence_ms, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static inline struct device *kit_start(struct kit *k, const char *driver, const char *name, int64_t silence_ms, const char *format, ...)
{
    char text[1024], why[256] = "";
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    const struct driver *d = driver_find(driver);
    assert_non_null(d);
    void *options = calloc(1, d->options_size);
    assert_non_null(options);
    assert_int_equal(field_defaults(d->options, d->options_n, options), RC_OK);
    char *save = NULL;
    for (char *t = strtok_r(text, ";", &save); t != NULL; t = strtok_r(NULL, ";", &save)) {
        char *equals = strchr(t, '=');
        assert_non_null(equals);
        *equals = '\0';
        const struct field *f = field_find(d->options, d->options_n, t);
        if (f == NULL)
            fail_msg("%s has no option %s", driver, t);
        if (field_set(f, options, equals + 1, why, sizeof why) != RC_OK)
            fail_msg("%s=%s: %s", t, equals + 1, why);
    }
    if (d->check != NULL && d->check(options, why, sizeof why) != RC_OK)
        fail_msg("%s: %s", name, why);
    struct device_setup s = {.name = name, .driver = d, .options = options, .silence_ms = silence_ms, .on_event = kit_on_event, .arg = k};
    struct device *dev = NULL;
    assert_int_equal(device_start(&k->loop, &s, &dev), RC_OK);
    k->options[k->devices] = options;
    k->device[k->devices++] = dev;
    return dev;
}

static inline void kit_limit_cb(uv_timer_t *t)
{
    ((struct kit *)((char *)t - offsetof(struct kit, limit)))->limit_hit = true;
}

/* Run the loop until the condition holds; false after ms. */
static inline bool kit_until(struct kit *k, bool (*cond)(struct kit *k, void *arg), void *arg, unsigned ms)
{
    k->limit_hit = false;
    uv_update_time(&k->loop);
    uv_timer_start(&k->limit, kit_limit_cb, ms, 0);
    while (!cond(k, arg) && !k->limit_hit)
        uv_run(&k->loop, UV_RUN_ONCE);
    uv_timer_stop(&k->limit);
    return cond(k, arg);
}

static inline bool kit_never(struct kit *k, void *arg)
{
    (void)k, (void)arg;
    return false;
}

static inline void kit_run_ms(struct kit *k, unsigned ms)
{
    kit_until(k, kit_never, NULL, ms);
}

struct kit_want {
    const struct device *d; /* NULL any */
    enum event_kind kind;
    int state;      /* health: this state; -1 any */
    size_t from;    /* events before are not looked at */
    size_t count;   /* so many of them, 0 = 1 */
    size_t last;    /* out: index of the last found */
    bool (*extra)(const struct event *e, void *arg);
    void *arg;
};

static inline bool kit_seen(struct kit *k, void *arg)
{
    struct kit_want *w = arg;
    size_t n = 0;
    for (size_t i = w->from; i < k->n; i++) {
        const struct event *e = &k->got[i].e;
        if ((w->d != NULL && k->got[i].d != w->d) || e->kind != w->kind || (e->kind == EVENT_HEALTH && w->state >= 0 && e->health.state != w->state) ||
            (w->extra != NULL && !w->extra(e, w->arg)))
            continue;
        w->last = i;
        if (++n >= (w->count == 0 ? 1 : w->count))
            return true;
    }
    return false;
}

static inline bool kit_wait_health(struct kit *k, const struct device *d, enum event_device_state state, unsigned ms)
{
    struct kit_want w = {.d = d, .kind = EVENT_HEALTH, .state = (int)state};
    return kit_until(k, kit_seen, &w, ms);
}

static inline size_t kit_count(const struct kit *k, const struct device *d, enum event_kind kind, size_t from)
{
    size_t n = 0;
    for (size_t i = from; i < k->n; i++)
        n += (d == NULL || k->got[i].d == d) && k->got[i].e.kind == kind;
    return n;
}

static inline uint64_t kit_figure(const struct device *d, const char *what)
{
    struct device_figures f;
    device_figures(d, &f);
    for (size_t i = 0; i < DEVICE_COUNTS; i++)
        if (f.count[i].what != NULL && strcmp(f.count[i].what, what) == 0)
            return f.count[i].n;
    return 0;
}

static inline void kit_stopped(void *arg)
{
    ((struct kit *)arg)->stopping--;
}

static inline bool kit_all_stopped(struct kit *k, void *arg)
{
    (void)arg;
    return k->stopping == 0;
}

/* Stops everything; the loop must come out empty, or a handle leaked. */
static inline void kit_free(struct kit *k)
{
    int64_t began = clock_mono_ms();
    k->stopping = k->devices;
    for (size_t i = 0; i < k->devices; i++)
        device_stop(k->device[i], kit_stopped, k);
    assert_true(kit_until(k, kit_all_stopped, NULL, 15000));
    assert_true(clock_mono_ms() - began < 12000);
    uv_close((uv_handle_t *)&k->limit, NULL);
    uv_run(&k->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&k->loop), 0);
    for (size_t i = 0; i < k->devices; i++)
        free(k->options[i]);
    free(k);
}

/* --- lines --- */

/* A pseudo terminal: returns the device's end (non-blocking), the gateway's end by name. hold keeps the far side from hanging up at a close. */
static inline int kit_pty(char name[64])
{
    int master, slave;
    struct termios t;
    assert_int_equal(openpty(&master, &slave, name, NULL, NULL), 0);
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    close(slave);
    fcntl(master, F_SETFL, O_NONBLOCK);
    fcntl(master, F_SETFD, FD_CLOEXEC);
    return master;
}

/* A listening TCP socket on a free port below 32768 of 127.0.0.1; the port's number in *ret_port. */
static inline int kit_listen(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    for (unsigned i = 0; i < 2000; i++) {
        uint16_t port = (uint16_t)(12000 + (unsigned)(getpid() * 37 + (int)i * 7) % 18000);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 8) == 0) {
            *ret_port = port;
            return fd;
        }
    }
    fail_msg("no free port");
    return -1;
}

static inline uint16_t kit_free_port(void)
{
    uint16_t port = 0;
    close(kit_listen(&port));
    return port;
}

/* --- a Modbus RTU wire with several slaves, on the device's end of a pseudo terminal --- */

enum kit_mood { KIT_WELL, KIT_SILENT, KIT_LATE, KIT_BAD_CRC, KIT_HALF, KIT_GARBAGE, KIT_EXCEPTION };

struct kit_slave {
    uint8_t address;
    _Atomic int mood;      /* enum kit_mood */
    atomic_int late_ms;
    atomic_uint requests;
    _Atomic uint16_t words[128]; /* holding and input registers alike, from address 0 */
    atomic_uchar bits[64];       /* coils and discrete inputs alike */
};

struct kit_wire {
    int fd;
    pthread_t thread;
    atomic_bool stop;
    struct kit_slave *slave[4];
    size_t slaves;
};

static inline uint16_t kit_crc(const uint8_t *p, size_t n)
{
    uint16_t crc = 0xffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
    }
    return crc;
}

static inline size_t kit_answer(struct kit_slave *s, const uint8_t *q, uint8_t *out)
{
    unsigned addr = (unsigned)(q[2] << 8 | q[3]), n = (unsigned)(q[4] << 8 | q[5]);
    size_t len = 0;
    out[len++] = q[0];
    out[len++] = q[1];
    if (atomic_load(&s->mood) == KIT_EXCEPTION || addr + (q[1] < 5 ? n : 1) > (q[1] <= 2 || q[1] == 5 ? 64u : 128u)) {
        out[1] |= 0x80;
        out[len++] = 2;
    } else if (q[1] == 1 || q[1] == 2) {
        out[len++] = (uint8_t)((n + 7) / 8);
        memset(out + len, 0, (n + 7) / 8);
        for (unsigned i = 0; i < n; i++)
            out[len + i / 8] |= (uint8_t)(atomic_load(&s->bits[addr + i]) << i % 8);
        len += (n + 7) / 8;
    } else if (q[1] == 3 || q[1] == 4) {
        out[len++] = (uint8_t)(2 * n);
        for (unsigned i = 0; i < n; i++) {
            uint16_t w = atomic_load(&s->words[addr + i]);
            out[len++] = (uint8_t)(w >> 8);
            out[len++] = (uint8_t)w;
        }
    } else {
        if (q[1] == 5)
            atomic_store(&s->bits[addr], n != 0);
        else
            atomic_store(&s->words[addr], (uint16_t)n);
        memcpy(out + len, q + 2, 4);
        len += 4;
    }
    uint16_t crc = kit_crc(out, len);
    out[len++] = (uint8_t)crc;
    out[len++] = (uint8_t)(crc >> 8);
    return len;
}

static inline void kit_put(int fd, const void *p, size_t n)
{
    if (write(fd, p, n) < 0 && errno != EAGAIN && errno != EIO)
        perror("write");
}

static inline void kit_serve(struct kit_wire *w, const uint8_t q[8])
{
    uint8_t out[300];
    for (size_t i = 0; i < w->slaves; i++) {
        struct kit_slave *s = w->slave[i];
        if (s->address != q[0])
            continue;
        atomic_fetch_add(&s->requests, 1);
        size_t n = kit_answer(s, q, out);
        switch ((enum kit_mood)atomic_load(&s->mood)) {
        case KIT_SILENT: return;
        case KIT_LATE: usleep((unsigned)atomic_load(&s->late_ms) * 1000); break;
        case KIT_BAD_CRC: out[n - 1] ^= 0x55; break;
        case KIT_HALF: n /= 2; break;
        case KIT_GARBAGE:
            for (size_t k = 0; k < n; k++)
                out[k] = (uint8_t)(k * 73 + 11);
            break;
        case KIT_WELL:
        case KIT_EXCEPTION: break;
        }
        kit_put(w->fd, out, n);
        return;
    }
}

static inline void *kit_wire_main(void *arg)
{
    struct kit_wire *w = arg;
    uint8_t q[8];
    size_t have = 0;
    while (!atomic_load(&w->stop)) {
        struct pollfd f = {.fd = w->fd, .events = POLLIN};
        if (poll(&f, 1, 20) <= 0 || (f.revents & POLLIN) == 0) {
            if (f.revents & POLLHUP)
                usleep(2000); /* the gateway's end is not open */
            have = 0; /* a pause ends a frame */
            continue;
        }
        ssize_t n = read(w->fd, q + have, sizeof q - have);
        if (n <= 0)
            continue;
        have += (size_t)n;
        if (have == sizeof q) {
            have = 0;
            if (kit_crc(q, 6) == (uint16_t)(q[6] | q[7] << 8))
                kit_serve(w, q);
        }
    }
    return NULL;
}

static inline void kit_wire_start(struct kit_wire *w)
{
    atomic_store(&w->stop, false);
    assert_int_equal(pthread_create(&w->thread, NULL, kit_wire_main, w), 0);
}

static inline void kit_wire_stop(struct kit_wire *w)
{
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
}

/* The folder of the shipped maps. */
static inline void kit_devices_folder(void)
{
    const char *root = getenv("SCHOOLWARD_SOURCE");
    char path[1024];
    snprintf(path, sizeof path, "%s/firmware-config/devices", root != NULL ? root : ".");
    setenv("SCHOOLWARD_DEVICES", path, 1);
}

#endif
