#include "device.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"

#define RING          256   /* messages from a driver's thread to the loop; a driver waits for room, nothing is lost */
#define WHY_MAX       224
#define PAUSE_MIN_MS  1000
#define PAUSE_MAX_MS  30000
#define WATCH_MS      500   /* how often silence is looked for */
#define QUIET_MS      60000 /* no bad frame for so long: the trouble with them is over */
#define OUTPUTS       DRIVER_OUT_LAST /* one place per enum driver_output_kind */

struct driver_ctx {
    struct device *d;
};

enum news_kind { NEWS_EVENT, NEWS_OPENED, NEWS_OPEN_FAILED, NEWS_LOST, NEWS_BAD, NEWS_OK };

struct news {
    enum news_kind kind;
    enum rc rc;
    struct event event;
    char why[WHY_MAX];
};

struct device {
    struct driver_ctx ctx;
    char name[EVENT_NAME_MAX + 1];
    const struct driver *driver;
    void *options;
    int64_t silence_ms;
    void (*on_event)(void *arg, struct device *d, const struct event *e);
    int64_t (*clock_ms)(void *arg);
    void *arg;
    struct driver_store store; /* begin is NULL: none */

    uv_loop_t *loop;
    uv_async_t async;
    uv_timer_t tick, watch; /* tick: opening again, periodic work of a loop driver */
    uv_poll_t *poll;        /* of its own memory: it outlives the line it watched by one turn of the loop */
    int handles;            /* still to be closed before on_stopped */
    void (*on_stopped)(void *arg);
    void *stopped_arg;

    /* the driver's: touched by its thread if it has one, else by the loop */
    void *state, *kept;
    bool open;
    int64_t pause_ms;
    uint32_t random;

    /* the loop's */
    bool told_open;
    enum event_device_state now, said; /* now: as reported to the world; said: as the device says of itself */
    int32_t now_code, said_code;
    int64_t opened_ms, bad_ms;
    struct log_gate line_gate, bad_gate;

    pthread_t thread;
    bool has_thread;
    atomic_bool stopping, restart;
    bool exited;
    atomic_int_least64_t last_input_ms;
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t wake;  /* the driver's thread: output, stop, room in the ring */
    struct news *ring;
    size_t ring_at, ring_n;
    struct driver_output output[OUTPUTS];
    bool output_set[OUTPUTS], output_due[OUTPUTS];
    struct device_figures figures;
};

/* --- the loop's side: state, log, events --- */

static void set_state(struct device *d, enum event_device_state s, int32_t code)
{
    if (d->now == s && d->now_code == code)
        return;
    d->now = s;
    d->now_code = code;
    struct event e = {.time_ms = clock_wall_ms(), .kind = EVENT_HEALTH, .clock = EVENT_CLOCK_SYSTEM};
    memcpy(e.health.name, d->name, sizeof e.health.name);
    e.health.device = (uint8_t)d->driver->kind;
    e.health.state = (uint8_t)s;
    e.health.code = code;
    d->on_event(d->arg, d, &e);
}

static void take_health(struct device *d, const struct event_health *h)
{
    if (d->said == h->state && d->said_code == h->code)
        return;
    log_notice(d->name, "the device reports itself %s (code 0x%x)", h->state == EVENT_DEVICE_OK ? "well" : "faulty", (unsigned)h->code);
    d->said = (enum event_device_state)h->state;
    d->said_code = h->code;
    set_state(d, d->said, d->said_code);
}

static void take_ok(struct device *d)
{
    if (d->now == d->said && d->now_code == d->said_code)
        return;
    if (log_gate_over(&d->line_gate))
        log_notice(d->name, "works again");
    else
        log_info(d->name, "works");
    set_state(d, d->said, d->said_code);
}

static void trouble(struct device *d, struct log_gate *gate, const char *what, const char *why)
{
    if (log_gate_trouble(gate, clock_mono_ms()))
        log_warning(d->name, "%s: %s (%u times)", what, why, gate->since_said);
    else
        log_debug(d->name, "%s: %s", what, why);
}

static void take_news(struct device *d, const struct news *n)
{
    switch (n->kind) {
    case NEWS_EVENT:
        if (n->event.kind == EVENT_HEALTH) {
            take_health(d, &n->event.health);
            return;
        }
        d->figures.events++;
        d->on_event(d->arg, d, &n->event);
        return;
    case NEWS_OPENED:
        d->figures.opens++;
        d->told_open = true;
        d->opened_ms = clock_mono_ms();
        log_debug(d->name, "open");
        return;
    case NEWS_OPEN_FAILED:
        d->figures.errors++;
        trouble(d, &d->line_gate, "cannot be reached", n->why);
        set_state(d, n->rc == RC_NOT_FOUND ? EVENT_DEVICE_ABSENT : EVENT_DEVICE_FAILED, (int32_t)n->rc);
        return;
    case NEWS_LOST:
        d->figures.errors++;
        d->told_open = false;
        trouble(d, &d->line_gate, "line lost", n->why);
        set_state(d, EVENT_DEVICE_FAILED, (int32_t)n->rc);
        return;
    case NEWS_BAD:
        d->figures.errors++;
        d->bad_ms = clock_mono_ms();
        trouble(d, &d->bad_gate, n->rc == RC_TIMEOUT ? "no answer" : "bad data", n->why);
        return;
    case NEWS_OK: take_ok(d); return;
    }
}

/* Hand news to the loop: directly when on it, through the ring from a thread. */
static void tell(struct device *d, const struct news *n)
{
    if (!d->has_thread) {
        take_news(d, n);
        return;
    }
    pthread_mutex_lock(&d->lock);
    while (d->ring_n == RING && !atomic_load(&d->stopping))
        pthread_cond_wait(&d->wake, &d->lock);
    if (d->ring_n < RING)
        d->ring[(d->ring_at + d->ring_n++) % RING] = *n;
    pthread_mutex_unlock(&d->lock);
    uv_async_send(&d->async);
}

static void tell_result(struct device *d, enum news_kind kind, enum rc rc, const char *why)
{
    struct news n = {.kind = kind, .rc = rc};
    snprintf(n.why, sizeof n.why, "%s", why[0] != '\0' ? why : rc_text(rc));
    tell(d, &n);
}

/* --- opening, closing and working, on the driver's own thread --- */

/* Between half the pause and the whole of it, so that what failed together does not come back together. */
static int64_t next_pause_ms(struct device *d)
{
    d->pause_ms = d->pause_ms == 0 ? PAUSE_MIN_MS : d->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : d->pause_ms * 2;
    d->random ^= d->random << 13;
    d->random ^= d->random >> 17;
    d->random ^= d->random << 5;
    return d->pause_ms / 2 + (int64_t)(d->random % (uint32_t)(d->pause_ms / 2 + 1));
}

static bool try_open(struct device *d, int *ret_fd)
{
    char why[WHY_MAX] = "";
    int fd = -1;
    enum rc rc = d->driver->open(&d->ctx, d->options, &d->state, &fd, why, sizeof why);
    if (rc != RC_OK) {
        d->driver->close(d->state);
        d->state = NULL;
        tell_result(d, NEWS_OPEN_FAILED, rc, why);
        return false;
    }
    d->open = true;
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < OUTPUTS; i++)
        d->output_due[i] = d->output_set[i];
    pthread_mutex_unlock(&d->lock);
    tell_result(d, NEWS_OPENED, RC_OK, "");
    *ret_fd = fd;
    return true;
}

/* Judge what input, poll or output came back with. False: the line is gone. */
static bool settle(struct device *d, enum rc rc, const char *why)
{
    switch (rc) {
    case RC_OK: {
        /* The first input after an opening or a silence is news; further ones only move the clock, whose age watch_cb() looks at. */
        bool was_quiet = clock_mono_ms() - atomic_exchange(&d->last_input_ms, clock_mono_ms()) > WATCH_MS || d->pause_ms != 0;
        d->pause_ms = 0;
        if (was_quiet || !d->has_thread)
            tell_result(d, NEWS_OK, RC_OK, "");
        return true;
    }
    case RC_AGAIN: return true;
    case RC_IO:
    case RC_END:
    case RC_NOT_FOUND:
    case RC_DENIED:
    case RC_NO_MEMORY: tell_result(d, NEWS_LOST, rc, why); return false;
    case RC_INVALID:
    case RC_RANGE:
    case RC_FULL:
    case RC_UNSUPPORTED:
    case RC_TIMEOUT:
    case RC_CORRUPT: tell_result(d, NEWS_BAD, rc, why); return true;
    }
    return true;
}

static void close_driver(struct device *d)
{
    d->driver->close(d->state);
    d->state = NULL;
    d->open = false;
}

static bool run_outputs(struct device *d)
{
    for (int i = 0; i < OUTPUTS; i++) {
        pthread_mutex_lock(&d->lock);
        bool due = d->output_due[i];
        struct driver_output out = d->output[i];
        d->output_due[i] = false;
        pthread_mutex_unlock(&d->lock);
        if (!due)
            continue;
        char why[WHY_MAX] = "";
        enum rc rc = d->driver->output(d->state, &out, why, sizeof why);
        if (rc != RC_OK && !settle(d, rc, why))
            return false;
    }
    return true;
}

/* --- a driver with a thread --- */

static void wait_wake(struct device *d, int64_t ms)
{
    struct timespec t;
    clock_deadline(ms, &t);
    pthread_mutex_lock(&d->lock);
    for (;;) {
        bool due = false;
        for (int i = 0; i < OUTPUTS; i++)
            due |= d->output_due[i] && d->open;
        if (due || atomic_load(&d->stopping) || atomic_load(&d->restart) || pthread_cond_timedwait(&d->wake, &d->lock, &t) != 0)
            break;
    }
    pthread_mutex_unlock(&d->lock);
}

static void *thread_main(void *arg)
{
    struct device *d = arg;
    int64_t poll_at_ms = 0;
    while (!atomic_load(&d->stopping)) {
        int fd = -1;
        if (!d->open)
            atomic_store(&d->restart, false); /* this is what was asked for */
        if (!d->open && !try_open(d, &fd)) {
            wait_wake(d, next_pause_ms(d));
            continue;
        }
        char why[WHY_MAX] = "";
        bool alive = run_outputs(d);
        int64_t now = clock_mono_ms();
        if (alive && atomic_exchange(&d->restart, false)) { /* asked for: open again without a pause */
            close_driver(d);
            poll_at_ms = 0;
            continue;
        }
        if (alive && now >= poll_at_ms) {
            int next_ms = 1000;
            alive = settle(d, d->driver->poll(d->state, now, &next_ms, why, sizeof why), why);
            poll_at_ms = now + next_ms;
        }
        if (!alive) {
            close_driver(d);
            poll_at_ms = 0;
            wait_wake(d, next_pause_ms(d));
        } else if (poll_at_ms > clock_mono_ms()) {
            wait_wake(d, poll_at_ms - clock_mono_ms());
        }
    }
    if (d->open)
        close_driver(d);
    pthread_mutex_lock(&d->lock);
    d->exited = true;
    pthread_mutex_unlock(&d->lock);
    uv_async_send(&d->async);
    return NULL;
}

/* --- a driver on the loop --- */

static void tick_cb(uv_timer_t *t);

static void poll_closed(uv_handle_t *h)
{
    free(h);
}

static void leave_line(struct device *d)
{
    if (d->poll != NULL) {
        uv_poll_stop(d->poll); /* before the driver closes the descriptor: a closed one must not stay in epoll */
        uv_close((uv_handle_t *)d->poll, poll_closed);
        d->poll = NULL;
    }
    if (d->open)
        close_driver(d);
}

static void lose_line(struct device *d)
{
    leave_line(d);
    uv_timer_start(&d->tick, tick_cb, (uint64_t)next_pause_ms(d), 0);
}

static void readable(uv_poll_t *h, int status, int events)
{
    struct device *d = h->data;
    if (!d->open || atomic_load(&d->stopping))
        return;
    char why[WHY_MAX] = "";
    enum rc rc = d->driver->input(d->state, why, sizeof why);
    /* A hang-up keeps the descriptor readable for ever: if the driver did not notice, it would spin. */
    if (rc == RC_AGAIN && (status < 0 || (events & UV_DISCONNECT) != 0)) {
        rc = RC_END;
        snprintf(why, sizeof why, "the other end hung up");
    }
    if (!settle(d, rc, why))
        lose_line(d);
}

static bool watch_line(struct device *d, int fd)
{
    if (fd < 0)
        return true;
    uv_poll_t *h = calloc(1, sizeof *h);
    if (h == NULL)
        return false;
    if (uv_poll_init(d->loop, h, fd) != 0) {
        free(h);
        return false;
    }
    h->data = d;
    d->poll = h;
    uv_poll_start(h, UV_READABLE | UV_DISCONNECT, readable);
    return true;
}

static void work(struct device *d)
{
    char why[WHY_MAX] = "";
    int next_ms = 1000;
    enum rc rc = d->driver->poll == NULL ? RC_AGAIN : d->driver->poll(d->state, clock_mono_ms(), &next_ms, why, sizeof why);
    if (!settle(d, rc, why))
        lose_line(d);
    else if (d->driver->poll != NULL)
        uv_timer_start(&d->tick, tick_cb, (uint64_t)(next_ms > 0 ? next_ms : 0), 0);
}

static void tick_cb(uv_timer_t *t)
{
    struct device *d = t->data;
    if (atomic_load(&d->stopping))
        return;
    uv_update_time(d->loop);
    if (!d->open) {
        int fd = -1;
        if (!try_open(d, &fd)) {
            uv_timer_start(&d->tick, tick_cb, (uint64_t)next_pause_ms(d), 0);
            return;
        }
        if (!watch_line(d, fd)) {
            tell_result(d, NEWS_LOST, RC_IO, "the descriptor cannot be watched");
            lose_line(d);
            return;
        }
        if (!run_outputs(d)) {
            lose_line(d);
            return;
        }
    }
    work(d);
}

/* --- both --- */

static void watch_cb(uv_timer_t *t)
{
    struct device *d = t->data;
    int64_t now = clock_mono_ms(), heard = atomic_load(&d->last_input_ms);
    if (d->bad_ms != 0 && now - d->bad_ms > QUIET_MS) {
        d->bad_ms = 0;
        if (log_gate_over(&d->bad_gate))
            log_notice(d->name, "no bad data any more");
    }
    if (!d->told_open)
        return;
    int64_t since = heard > d->opened_ms ? heard : d->opened_ms;
    if (d->silence_ms > 0 && now - since > d->silence_ms && d->now != EVENT_DEVICE_SILENT) {
        char why[WHY_MAX];
        snprintf(why, sizeof why, "nothing for %lld s: check power and wiring", (long long)((now - since) / 1000));
        trouble(d, &d->line_gate, "silent", why);
        set_state(d, EVENT_DEVICE_SILENT, (int32_t)RC_TIMEOUT);
    } else if (heard > d->opened_ms && (d->now != d->said || d->now_code != d->said_code) && (d->silence_ms == 0 || now - heard <= d->silence_ms)) {
        take_ok(d);
    }
}

static void closed(uv_handle_t *h)
{
    struct device *d = h->data;
    if (--d->handles > 0)
        return;
    void (*on_stopped)(void *) = d->on_stopped;
    void *arg = d->stopped_arg;
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->wake);
    free(d->ring);
    free(d->options);
    free(d->kept);
    free(d);
    if (on_stopped != NULL)
        on_stopped(arg);
}

static void finish(struct device *d)
{
    if (d->has_thread)
        pthread_join(d->thread, NULL);
    else
        leave_line(d);
    d->handles = 3;
    uv_close((uv_handle_t *)&d->tick, closed);
    uv_close((uv_handle_t *)&d->watch, closed);
    uv_close((uv_handle_t *)&d->async, closed);
}

static void async_cb(uv_async_t *a)
{
    struct device *d = a->data;
    for (;;) {
        struct news n;
        pthread_mutex_lock(&d->lock);
        bool any = d->ring_n > 0;
        if (any) {
            n = d->ring[d->ring_at];
            d->ring_at = (d->ring_at + 1) % RING;
            d->ring_n--;
            pthread_cond_broadcast(&d->wake);
        }
        pthread_mutex_unlock(&d->lock);
        if (!any)
            break;
        take_news(d, &n);
    }
    if (!d->has_thread && !atomic_load(&d->stopping) && atomic_exchange(&d->restart, false)) {
        leave_line(d);
        uv_timer_start(&d->tick, tick_cb, 0, 0);
    }
    if (!d->has_thread && !atomic_load(&d->stopping) && d->open && !run_outputs(d))
        lose_line(d);
    pthread_mutex_lock(&d->lock);
    bool done = d->handles == 0 && atomic_load(&d->stopping) && (!d->has_thread || d->exited);
    pthread_mutex_unlock(&d->lock);
    if (done)
        finish(d);
}

enum rc device_start(uv_loop_t *loop, const struct device_setup *s, struct device **ret_d)
{
    struct device *d = calloc(1, sizeof *d);
    if (d == NULL)
        return RC_NO_MEMORY;
    d->options = malloc(s->driver->options_size > 0 ? s->driver->options_size : 1);
    d->ring = s->driver->threaded ? calloc(RING, sizeof *d->ring) : NULL;
    if (d->options == NULL || (s->driver->threaded && d->ring == NULL))
        goto fail;
    d->ctx.d = d;
    snprintf(d->name, sizeof d->name, "%s", s->name);
    d->driver = s->driver;
    if (s->options != NULL)
        memcpy(d->options, s->options, s->driver->options_size);
    d->silence_ms = s->silence_ms != 0 ? s->silence_ms : s->driver->silence_ms;
    d->on_event = s->on_event;
    if (s->store != NULL)
        d->store = *s->store;
    d->arg = s->arg;
    d->clock_ms = s->clock_ms;
    d->loop = loop;
    d->said = EVENT_DEVICE_OK;
    d->random = (uint32_t)clock_mono_ms() * 2654435761u ^ (uint32_t)(uintptr_t)d;
    if (d->random == 0)
        d->random = 1;

    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* the GNSS time may set the wall clock while we wait */
    pthread_cond_init(&d->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&d->lock, NULL);

    signal(SIGPIPE, SIG_IGN); /* libgps and libmodbus write to sockets whose other end may be gone */
    d->async.data = d->tick.data = d->watch.data = d;
    if (uv_async_init(loop, &d->async, async_cb) != 0)
        goto fail;
    uv_timer_init(loop, &d->tick);
    uv_timer_init(loop, &d->watch);
    uv_timer_start(&d->watch, watch_cb, WATCH_MS, WATCH_MS);
    d->has_thread = d->driver->threaded;
    if (d->has_thread && pthread_create(&d->thread, NULL, thread_main, d) != 0) {
        d->has_thread = false;
        atomic_store(&d->stopping, true);
        finish(d); /* frees when the handles are closed */
        return RC_NO_MEMORY;
    }
    if (d->has_thread) {
        char title[16];
        snprintf(title, sizeof title, "dev-%.11s", d->name);
        pthread_setname_np(d->thread, title);
    } else {
        uv_timer_start(&d->tick, tick_cb, 0, 0);
    }
    *ret_d = d;
    return RC_OK;
fail:
    free(d->options);
    free(d->ring);
    free(d);
    return RC_NO_MEMORY;
}

void device_stop(struct device *d, void (*on_stopped)(void *arg), void *arg)
{
    d->on_stopped = on_stopped;
    d->stopped_arg = arg;
    pthread_mutex_lock(&d->lock);
    atomic_store(&d->stopping, true);
    pthread_cond_broadcast(&d->wake);
    pthread_mutex_unlock(&d->lock);
    /* In a turn of its own: the caller may be inside an event of this very device. */
    uv_async_send(&d->async);
}

const char *device_name(const struct device *d)
{
    return d->name;
}

const struct driver *device_driver(const struct device *d)
{
    return d->driver;
}

enum event_device_state device_state(const struct device *d)
{
    return d->now == 0 ? EVENT_DEVICE_ABSENT : d->now;
}

enum rc device_output(struct device *d, const struct driver_output *out)
{
    int i = (int)out->kind - 1;
    if (d->driver->output == NULL || i < 0 || i >= OUTPUTS)
        return RC_UNSUPPORTED;
    pthread_mutex_lock(&d->lock);
    d->output[i] = *out;
    d->output_due[i] = true;
    /* levels are told again when the device comes back; an old position, text or picture is not worth it */
    d->output_set[i] = out->kind == DRIVER_OUT_BUZZER || out->kind == DRIVER_OUT_LAMP || out->kind == DRIVER_OUT_SIREN;
    pthread_cond_broadcast(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (!d->has_thread)
        uv_async_send(&d->async);
    return RC_OK;
}

void device_restart(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    atomic_store(&d->restart, true);
    pthread_cond_broadcast(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (!d->has_thread)
        uv_async_send(&d->async);
}

void device_figures(const struct device *d, struct device_figures *ret_f)
{
    struct device *m = d->ctx.d; /* the lock is not part of what const promises */
    pthread_mutex_lock(&m->lock);
    *ret_f = m->figures;
    pthread_mutex_unlock(&m->lock);
    ret_f->last_input_mono_ms = atomic_load(&m->last_input_ms);
}

/* --- functions used by drivers --- */

void driver_emit(struct driver_ctx *ctx, const struct event *e)
{
    struct news n = {.kind = NEWS_EVENT, .event = *e};
    if (n.event.time_ms == 0) {
        n.event.time_ms = clock_wall_ms();
        n.event.clock = EVENT_CLOCK_SYSTEM;
    }
    tell(ctx->d, &n);
}

const char *driver_name(const struct driver_ctx *ctx)
{
    return ctx->d->name;
}

void driver_count(struct driver_ctx *ctx, const char *what, unsigned n)
{
    struct device *d = ctx->d;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < sizeof d->figures.count / sizeof *d->figures.count; i++) {
        if (d->figures.count[i].what == NULL)
            d->figures.count[i].what = what;
        if (strcmp(d->figures.count[i].what, what) == 0) {
            d->figures.count[i].n += n;
            break;
        }
    }
    pthread_mutex_unlock(&d->lock);
}

void *driver_keep(struct driver_ctx *ctx, size_t size)
{
    if (ctx->d->kept == NULL)
        ctx->d->kept = calloc(1, size);
    return ctx->d->kept;
}

int64_t driver_wall_ms(const struct driver_ctx *ctx)
{
    (void)ctx;
    return clock_wall_ms();
}

int64_t driver_clock_ms(const struct driver_ctx *ctx)
{
    const struct device *d = ctx->d;
    return d->clock_ms != NULL ? d->clock_ms(d->arg) : clock_wall_ms();
}

int64_t driver_mono_ms(const struct driver_ctx *ctx)
{
    (void)ctx;
    return clock_mono_ms();
}

bool driver_stopping(const struct driver_ctx *ctx)
{
    return atomic_load(&ctx->d->stopping);
}

void driver_say(struct driver_ctx *ctx, const char *text)
{
    log_notice(ctx->d->name, "%s", text);
}

enum rc driver_media_begin(struct driver_ctx *ctx, const struct driver_media *m, int *ret_file)
{
    const struct driver_store *s = &ctx->d->store;
    return s->begin == NULL || ctx->d->has_thread ? RC_UNSUPPORTED : s->begin(s->arg, m, ret_file);
}

enum rc driver_media_write(struct driver_ctx *ctx, int file, uint32_t offset, const void *p, size_t n)
{
    return ctx->d->store.write(ctx->d->store.arg, file, offset, p, n);
}

void driver_media_end(struct driver_ctx *ctx, int file, uint32_t bytes)
{
    ctx->d->store.end(ctx->d->store.arg, file, bytes);
}
