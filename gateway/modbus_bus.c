#include "modbus_bus.h"

#include <errno.h>
#include <limits.h>
#include <modbus.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#include "../core/base/clock.h"
#include "tap.h"

#define CONNECT_MS     5000
#define BYTE_MS        100 /* longest gap inside an answer: USB adapters hand bytes over every 16 ms */
#define SETTLE_MS      20  /* the line counts as quiet after so long: above 3.5 characters at 1200 bit/s with 8N1 */
#define NOISE_MS       200
#define REST_MIN_MS    1000
#define REST_MAX_MS    30000
#define DEAD_AFTER     2 /* time-outs in a row */
#define GARBLED_AFTER  5 /* unreadable answers in a row */

const char *const modbus_bus_framing_words[] = {"auto", "rtu", "tcp", NULL};

struct modbus_bus {
    struct modbus_bus *next;
    char key[PATH_MAX]; /* what the port's name leads to */
    struct modbus_bus_setup setup;
    unsigned users;

    pthread_mutex_t lock; /* turns are taken in the order of the tickets */
    pthread_cond_t turn;
    uint64_t ticket, serving;

    /* of whose turn it is */
    struct port *port;
    modbus_t *ctx;
    int64_t quiet_until_ms; /* a late answer may still come */
    struct modbus_bus_figures figures;
};

struct modbus_bus_slave {
    struct modbus_bus *bus;
    struct modbus_bus_setup setup;
    unsigned silent, garbled; /* in a row */
    int64_t rest_until_ms, rest_ms;
    bool distrust; /* the last request failed: its answer may be what arrives next */
};

/* The wires of this process, as the ports are the process's: a second open of the same port must find the first. */
static struct modbus_bus *all_buses;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static void take_turn(struct modbus_bus *b)
{
    pthread_mutex_lock(&b->lock);
    uint64_t mine = b->ticket++;
    while (b->serving != mine)
        pthread_cond_wait(&b->turn, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

static void give_turn(struct modbus_bus *b)
{
    pthread_mutex_lock(&b->lock);
    b->serving++;
    pthread_cond_broadcast(&b->turn);
    pthread_mutex_unlock(&b->lock);
}

static void disconnect(struct modbus_bus *b)
{
    /* Never modbus_close(): it would restore line settings it did not save, on a descriptor that is not its own. */
    if (b->ctx != NULL)
        modbus_free(b->ctx);
    b->ctx = NULL;
    port_close(b->port);
    b->port = NULL;
}

static enum rc connect_bus(struct modbus_bus *b, char *why, size_t cap)
{
    if (b->ctx != NULL)
        return RC_OK;
    const struct port_setup *s = &b->setup.port;
    enum rc rc = port_open(s, &b->port, why, cap);
    if (rc != RC_OK)
        return rc;
    rc = port_ready(b->port, CONNECT_MS);
    if (rc != RC_OK) {
        snprintf(why, cap, "%s: %s: is the device on, and the address right?", s->path, rc == RC_TIMEOUT ? "no connection" : strerror(errno));
        disconnect(b);
        return rc;
    }
    int fd = port_data_fd(b->port);
    if (fd >= FD_SETSIZE) { /* libmodbus waits with select(), which would write past its set */
        snprintf(why, cap, "%s: descriptor %d is above %d: lower the number of open files of this program", s->path, fd, FD_SETSIZE - 1);
        disconnect(b);
        return RC_IO;
    }
    bool tcp = port_kind(b->port) == PORT_TCP || port_kind(b->port) == PORT_TCP_LISTEN;
    bool rtu = b->setup.framing == MODBUS_BUS_FRAMING_RTU || (b->setup.framing == MODBUS_BUS_FRAMING_AUTO && !tcp);
    static const char parity[] = {'N', 'E', 'O'};
    /* The line is ours: libmodbus gets the open descriptor and only frames, sends and waits. */
    b->ctx = rtu ? modbus_new_rtu("port", (int)s->baud, parity[s->parity], 8, (int)s->stop_bits) : modbus_new_tcp("127.0.0.1", 502);
    if (b->ctx == NULL) {
        disconnect(b);
        return RC_NO_MEMORY;
    }
    modbus_set_error_recovery(b->ctx, MODBUS_ERROR_RECOVERY_NONE);
    modbus_set_byte_timeout(b->ctx, 0, BYTE_MS * 1000);
    modbus_set_socket(b->ctx, fd);
    b->figures.connects++;
    b->quiet_until_ms = clock_mono_ms() + SETTLE_MS;
    return RC_OK;
}

static bool same_line(const struct modbus_bus_setup *a, const struct modbus_bus_setup *b)
{
    return a->port.baud == b->port.baud && a->port.parity == b->port.parity && a->port.stop_bits == b->port.stop_bits && a->framing == b->framing;
}

static struct modbus_bus *find_or_make(const struct modbus_bus_setup *s)
{
    char key[PATH_MAX];
    if (s->port.path[0] != '/' || realpath(s->port.path, key) == NULL)
        snprintf(key, sizeof key, "%s", s->port.path);
    struct modbus_bus *b = all_buses;
    while (b != NULL && strcmp(b->key, key) != 0)
        b = b->next;
    if (b != NULL)
        return b;
    b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    memcpy(b->key, key, sizeof key);
    b->setup = *s;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->turn, NULL);
    b->next = all_buses;
    all_buses = b;
    return b;
}

enum rc modbus_bus_join(const struct modbus_bus_setup *s, struct modbus_bus_slave **ret_s, char *why, size_t cap)
{
    struct modbus_bus_slave *slave = calloc(1, sizeof *slave);
    if (slave == NULL)
        return RC_NO_MEMORY;
    pthread_mutex_lock(&all_lock);
    struct modbus_bus *b = find_or_make(s);
    if (b != NULL)
        b->users++;
    pthread_mutex_unlock(&all_lock);
    if (b == NULL) {
        free(slave);
        return RC_NO_MEMORY;
    }
    slave->bus = b;
    slave->setup = *s;
    enum rc rc = RC_INVALID;
    if (!same_line(s, &b->setup)) {
        snprintf(why, cap, "another device on %s has other line settings: give all devices of one wire the same speed, parity and framing",
                 s->port.path);
    } else {
        take_turn(b);
        rc = connect_bus(b, why, cap);
        give_turn(b);
    }
    if (rc != RC_OK) {
        modbus_bus_leave(slave);
        return rc;
    }
    *ret_s = slave;
    return RC_OK;
}

void modbus_bus_leave(struct modbus_bus_slave *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&all_lock);
    struct modbus_bus *b = s->bus;
    bool last = --b->users == 0;
    if (last) {
        struct modbus_bus **at = &all_buses;
        while (*at != b)
            at = &(*at)->next;
        *at = b->next;
        disconnect(b); /* under the lock: who joins next must find the port closed */
        pthread_mutex_destroy(&b->lock);
        pthread_cond_destroy(&b->turn);
        free(b);
    }
    pthread_mutex_unlock(&all_lock);
    free(s);
}

/* Throw away what lies on the line, and wait while a late answer may still come; a line that never falls quiet is not waited for. */
static void clear_line(struct modbus_bus *b)
{
    int64_t now = clock_mono_ms(), give_up_ms = (b->quiet_until_ms > now ? b->quiet_until_ms : now) + NOISE_MS;
    for (;;) {
        size_t n = port_drain(b->port);
        b->figures.stale_bytes += n;
        now = clock_mono_ms();
        if (n > 0)
            b->quiet_until_ms = now + SETTLE_MS; /* that was it, or the first half of it */
        if (b->quiet_until_ms <= now || now >= give_up_ms)
            break;
        struct pollfd f = {.fd = port_data_fd(b->port), .events = POLLIN};
        if (poll(&f, 1, (int)(b->quiet_until_ms - now)) > 0 && (f.revents & (POLLHUP | POLLERR)) != 0)
            break; /* the request will tell */
    }
    modbus_flush(b->ctx);
}

/* What a request wants; one of the pointers is set. */
struct ask {
    int function, addr, n;
    uint16_t *words, value;
    uint8_t *bits;
};

static int send_ask(modbus_t *ctx, const struct ask *a)
{
    switch (a->function) {
    case 1: return modbus_read_bits(ctx, a->addr, a->n, a->bits);
    case 2: return modbus_read_input_bits(ctx, a->addr, a->n, a->bits);
    case 3: return modbus_read_registers(ctx, a->addr, a->n, a->words);
    case 4: return modbus_read_input_registers(ctx, a->addr, a->n, a->words);
    case 5: return modbus_write_bit(ctx, a->addr, a->value != 0);
    case 6: return modbus_write_register(ctx, a->addr, a->value);
    default: errno = EINVAL; return -1;
    }
}

static void rest(struct modbus_bus_slave *s)
{
    s->rest_ms = s->rest_ms == 0 ? REST_MIN_MS : s->rest_ms * 2 > REST_MAX_MS ? REST_MAX_MS : s->rest_ms * 2;
    s->rest_until_ms = clock_mono_ms() + s->rest_ms;
}

static enum rc judge_error(struct modbus_bus_slave *s, const struct ask *a, int e, char *why, size_t cap)
{
    struct modbus_bus *b = s->bus;
    s->distrust = true;
    if (e == ETIMEDOUT || e == EMBXGTAR || e == EMBXGPATH) {
        b->figures.timeouts++;
        s->silent++;
        if (s->silent <= DEAD_AFTER)
            b->quiet_until_ms = clock_mono_ms() + s->setup.timeout_ms;
        if (s->silent >= DEAD_AFTER)
            rest(s);
        snprintf(why, cap, "slave %u on %s does not answer within %u ms: check power, wiring, address and speed", s->setup.slave,
                 s->setup.port.path, s->setup.timeout_ms);
        return RC_TIMEOUT;
    }
    if (e > MODBUS_ENOBASE && e < EMBBADCRC) { /* an exception: the slave is well and says no */
        b->figures.bad++;
        s->silent = s->garbled = 0;
        s->rest_ms = 0;
        s->distrust = false;
        snprintf(why, cap, "slave %u refuses function %d, address %d, %d values (%s): check the register map", s->setup.slave, a->function,
                 a->addr, a->n, modbus_strerror(e));
        return RC_INVALID;
    }
    if (e >= EMBBADCRC && e <= EMBBADSLAVE) {
        b->figures.bad++;
        if (++s->garbled >= GARBLED_AFTER)
            rest(s);
        b->quiet_until_ms = clock_mono_ms() + SETTLE_MS;
        snprintf(why, cap, "slave %u on %s answers garbled (%s): check termination, speed, and that no address is used twice", s->setup.slave,
                 s->setup.port.path, modbus_strerror(e));
        return RC_INVALID;
    }
    snprintf(why, cap, "%s is gone: %s", s->setup.port.path, strerror(e));
    disconnect(b);
    return RC_IO;
}

static enum rc request(struct modbus_bus_slave *s, const struct ask *a, char *why, size_t cap)
{
    struct modbus_bus *b = s->bus;
    if (clock_mono_ms() < s->rest_until_ms)
        return RC_AGAIN;
    take_turn(b);
    enum rc rc = RC_OK;
    if (b->ctx == NULL) {
        snprintf(why, cap, "%s is gone", s->setup.port.path);
        rc = RC_IO;
    }
    for (int round = s->distrust ? 0 : 1; rc == RC_OK && round < 2; round++) {
        clear_line(b);
        modbus_set_slave(b->ctx, (int)s->setup.slave);
        modbus_set_response_timeout(b->ctx, s->setup.timeout_ms / 1000, s->setup.timeout_ms % 1000 * 1000);
        b->figures.requests++;
        errno = 0;
        int n = send_ask(b->ctx, a);
        if (n < 0) {
            rc = judge_error(s, a, errno, why, cap);
        } else {
            s->distrust = false;
            s->silent = s->garbled = 0;
            s->rest_ms = s->rest_until_ms = 0;
        }
    }
    give_turn(b);
    return rc;
}

enum rc modbus_bus_read_registers(struct modbus_bus_slave *s, int function, int addr, int n, uint16_t *ret, char *why, size_t cap)
{
    uint16_t got[MODBUS_MAX_READ_REGISTERS] = {0};
    if ((function != 3 && function != 4) || n < 1 || n > MODBUS_MAX_READ_REGISTERS)
        return RC_INVALID;
    enum rc rc = request(s, &(struct ask){.function = function, .addr = addr, .n = n, .words = got}, why, cap);
    if (rc == RC_OK) {
        memcpy(ret, got, (size_t)n * sizeof *ret);
        uint8_t raw[2 * MODBUS_MAX_READ_REGISTERS];
        for (int i = 0; i < n; i++) {
            raw[2 * i] = (uint8_t)(got[i] >> 8);
            raw[2 * i + 1] = (uint8_t)got[i];
        }
        tap_put(s->setup.port.path, TAP_WORDS, s->setup.slave, (unsigned)addr, raw, 2 * (size_t)n);
    }
    return rc;
}

enum rc modbus_bus_read_bits(struct modbus_bus_slave *s, int function, int addr, int n, uint8_t *ret, char *why, size_t cap)
{
    uint8_t got[MODBUS_MAX_READ_BITS] = {0};
    if ((function != 1 && function != 2) || n < 1 || n > MODBUS_MAX_READ_BITS)
        return RC_INVALID;
    enum rc rc = request(s, &(struct ask){.function = function, .addr = addr, .n = n, .bits = got}, why, cap);
    if (rc == RC_OK) {
        memcpy(ret, got, (size_t)n);
        tap_put(s->setup.port.path, TAP_BITS, s->setup.slave, (unsigned)addr, got, (size_t)n);
    }
    return rc;
}

enum rc modbus_bus_write_coil(struct modbus_bus_slave *s, int addr, bool on, char *why, size_t cap)
{
    return request(s, &(struct ask){.function = 5, .addr = addr, .n = 1, .value = on}, why, cap);
}

enum rc modbus_bus_write_register(struct modbus_bus_slave *s, int addr, uint16_t value, char *why, size_t cap)
{
    return request(s, &(struct ask){.function = 6, .addr = addr, .n = 1, .value = value}, why, cap);
}

void modbus_bus_figures(const struct modbus_bus_slave *s, struct modbus_bus_figures *ret_f)
{
    take_turn(s->bus);
    *ret_f = s->bus->figures;
    give_turn(s->bus);
}
