/*
 * The gpsd driver against a gpsd that says anything: libgps takes the bytes from a socket as it does on the bus, our side turns what it understood
 * into events. Whatever comes, every field of every event lies in its range, fixes of one time come once, and after a whole report in good order the
 * driver works.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/driver.h"

extern const struct driver driver_gpsd; /* not by driver_find(): the others would bring device.c with them */

struct driver_ctx {
    int64_t mono_ms;
    unsigned events, fixes;
    int64_t last_ms; /* time of the newest fix that carries the receiver's */
};

static struct driver_ctx ctx;
static const int64_t wall_ms = 1795400000000;

void driver_emit(struct driver_ctx *c, const struct event *given)
{
    struct event e = *given;
    const char *field = "";
    if (e.kind != EVENT_FIX && e.kind != EVENT_GNSS)
        abort();
    if (e.kind == EVENT_FIX && e.time_ms != 0 && e.time_ms == c->last_ms)
        abort();
    c->last_ms = e.kind == EVENT_FIX && e.time_ms != 0 ? e.time_ms : c->last_ms;
    if (e.time_ms <= 0 || e.time_ms > wall_ms * 2) /* libgps makes a time of any text; such a fix is refused by the gateway */
        e.time_ms = wall_ms;
    if (event_check(&e, &field) != RC_OK)
        abort();
    if (e.kind == EVENT_FIX && e.fix.mode >= EVENT_FIX_2D && !event_fix_placed(&e.fix))
        abort();
    c->events++;
    c->fixes += e.kind == EVENT_FIX;
}

const char *driver_name(const struct driver_ctx *c)
{
    (void)c;
    return "gnss";
}

void driver_count(struct driver_ctx *c, const char *what, unsigned n)
{
    (void)c, (void)what, (void)n;
}

void driver_say(struct driver_ctx *c, const char *text)
{
    (void)c, (void)text;
}

int64_t driver_wall_ms(const struct driver_ctx *c)
{
    return wall_ms + c->mono_ms;
}

int64_t driver_clock_ms(const struct driver_ctx *c)
{
    return wall_ms + c->mono_ms;
}

int64_t driver_mono_ms(const struct driver_ctx *c)
{
    return c->mono_ms;
}

bool driver_stopping(const struct driver_ctx *c)
{
    (void)c;
    return false;
}

static int listener = -1, gpsd = -1;
static uint8_t options[4096];
static void *state;

static void start(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char why[256];
    int fd;
    const struct driver *d = &driver_gpsd;
    if (listener < 0) {
        if (d->options_size > sizeof options || field_defaults(d->options, d->options_n, options) != RC_OK)
            abort();
        listener = socket(AF_INET, SOCK_STREAM, 0);
        uint16_t port = (uint16_t)(20000 + getpid() % 10000);
        for (a.sin_port = htons(port); bind(listener, (struct sockaddr *)&a, sizeof a) != 0; a.sin_port = htons(port))
            port = (uint16_t)(port < 32000 ? port + 1 : 20000);
        if (listen(listener, 16) != 0)
            abort();
        char text[8];
        snprintf(text, sizeof text, "%u", port);
        for (size_t i = 0; i < d->options_n; i++) {
            char problem[160];
            const char *value = strcmp(d->options[i].name, "port") == 0 ? text : strcmp(d->options[i].name, "antenna") == 0 ? "nmea" : NULL;
            if (value != NULL && field_set(&d->options[i], options, value, problem, sizeof problem) != RC_OK)
                abort();
        }
    }
    if (d->open(&ctx, options, &state, &fd, why, sizeof why) != RC_OK) {
        printf("%s\n", why);
        abort();
    }
    int probe = accept(listener, NULL, NULL); /* the driver first looks whether somebody answers there */
    gpsd = accept(listener, NULL, NULL);
    close(probe);
}

static void end(void)
{
    driver_gpsd.close(state);
    close(gpsd);
    state = NULL;
}

static void say(const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(gpsd, p, n);
        if (k <= 0)
            abort();
        p += k;
        n -= (size_t)k;
    }
}

static void hear(void)
{
    char why[256];
    int next;
    enum rc rc = driver_gpsd.input(state, why, sizeof why);
    ctx.mono_ms += 5000;
    driver_gpsd.poll(state, ctx.mono_ms, &next, why, sizeof why);
    if (rc == RC_END || rc == RC_IO) {
        end();
        start();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static unsigned turn;
    if (state == NULL)
        start();
    if (n > 16000) /* what a socket holds without anybody reading */
        n = 16000;
    say(data, n);
    say((const uint8_t *)"\n", 1);
    hear();
    hear(); /* half a line and the rest of it */
    /* libgps may still be lost in a line longer than its buffer: then the driver has begun anew. Either way it works now. */
    unsigned before = ctx.fixes;
    turn++;
    for (int i = 0; i < 2 && ctx.fixes == before; i++) {
        char good[256];
        unsigned second = (turn * 2 + (unsigned)i) % 86400;
        int len = snprintf(good, sizeof good,
                           "{\"class\":\"TPV\",\"device\":\"/dev/"
                           "gps0\",\"mode\":3,\"time\":\"2026-11-%02uT%02u:%02u:%02u.000Z\",\"lat\":31.2,\"lon\":121.4,\"speed\":9.5,"
                           "\"track\":90.0,\"altMSL\":4.5}\n",
                           1 + turn * 2 / 86400 % 28, second / 3600, second / 60 % 60, second % 60);
        say((const uint8_t *)good, (size_t)len);
        hear();
        hear();
    }
    if (ctx.fixes == before)
        abort();
    return 0;
}
