#include "slave.h"

#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "line.h"

#define LOOK_MS 200 /* how soon the thread sees that it shall stop, or that the plug was pulled */

struct slave {
    struct slave_setup setup;
    char *name, *link;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    modbus_mapping_t *map;
    bool stop, plugged;
    int late_ms;
    unsigned requests;
    /* the thread's own */
    int listener, port;
    int fd, far;
    modbus_t *ctx;
};

static bool wants(struct slave *s)
{
    pthread_mutex_lock(&s->lock);
    bool yes = !s->stop && s->plugged;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

static bool stopping(struct slave *s)
{
    pthread_mutex_lock(&s->lock);
    bool yes = s->stop;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

static void answer(struct slave *s, const uint8_t *query, int n)
{
    uint8_t coil[SLAVE_BITS];
    pthread_mutex_lock(&s->lock);
    int late = s->late_ms;
    pthread_mutex_unlock(&s->lock);
    if (late)
        usleep((useconds_t)late * 1000);
    pthread_mutex_lock(&s->lock);
    memcpy(coil, s->map->tab_bits, sizeof coil);
    (void)modbus_reply(s->ctx, query, n, s->map);
    s->requests++;
    uint8_t changed[SLAVE_BITS], now[SLAVE_BITS];
    memcpy(now, s->map->tab_bits, sizeof now);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < SLAVE_BITS; i++) {
        changed[i] = coil[i] != now[i];
        if (changed[i] && s->setup.on_coil)
            s->setup.on_coil(s->setup.arg, s->name, i, now[i] != 0);
    }
}

/* Serve requests until the plug is pulled or the other side is gone. */
static void serve(struct slave *s)
{
    uint8_t query[MODBUS_MAX_ADU_LENGTH];
    while (wants(s)) {
        int fd = modbus_get_socket(s->ctx);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, LOOK_MS);
        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        int n = modbus_receive(s->ctx, query);
        if (n > 0)
            answer(s, query, n);
        else if (n < 0 && !s->link && errno != EMBBADCRC && errno != EMBBADDATA && errno != ETIMEDOUT)
            return; /* the TCP client is gone */
        else if (n < 0 && (errno == EBADF || errno == EIO))
            return;
    }
}

static void serve_pty(struct slave *s)
{
    char why[160];
    if (line_open(s->link, &s->fd, &s->far, why, sizeof why) != RC_OK) {
        fprintf(stderr, "%s: %s\n", s->name, why);
        usleep(LOOK_MS * 1000);
        return;
    }
    /* The library opens devices by name; on the near side of a pty it is handed the descriptor. */
    s->ctx = modbus_new_rtu("/dev/ptmx", 115200, 'N', 8, 1);
    if (s->ctx && !modbus_set_slave(s->ctx, s->setup.unit) && !modbus_set_socket(s->ctx, s->fd))
        serve(s);
    modbus_free(s->ctx);
    s->ctx = NULL;
    line_close(s->link, &s->fd, &s->far);
}

static void serve_tcp(struct slave *s)
{
    struct pollfd p = {.fd = s->listener, .events = POLLIN};
    if (poll(&p, 1, LOOK_MS) <= 0)
        return;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    s->ctx = modbus_new_tcp("127.0.0.1", s->port);
    if (s->ctx && !modbus_set_socket(s->ctx, fd))
        serve(s);
    modbus_free(s->ctx);
    s->ctx = NULL;
    close(fd);
}

static void *run(void *arg)
{
    struct slave *s = arg;
    while (!stopping(s)) {
        if (!wants(s))
            usleep(LOOK_MS * 1000);
        else if (s->link)
            serve_pty(s);
        else
            serve_tcp(s);
    }
    return NULL;
}

static enum rc listen_on(struct slave *s, char *why, size_t cap)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->setup.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int one = 1;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(s->listener, (struct sockaddr *)&a, sizeof a) || listen(s->listener, 4) || getsockname(s->listener, (struct sockaddr *)&a, &len)) {
        snprintf(why, cap, "%s: port %d: %s", s->name, s->setup.port, strerror(errno));
        return RC_IO;
    }
    s->port = ntohs(a.sin_port);
    return RC_OK;
}

enum rc slave_start(const struct slave_setup *setup, struct slave **ret_s, char *why, size_t cap)
{
    struct slave *s = calloc(1, sizeof *s);
    if (!s)
        return RC_NO_MEMORY;
    enum rc rc = RC_NO_MEMORY;
    s->setup = *setup;
    s->fd = s->far = s->listener = -1;
    s->plugged = true;
    s->name = strdup(setup->name);
    s->link = setup->link ? strdup(setup->link) : NULL;
    s->map = modbus_mapping_new(SLAVE_BITS, SLAVE_BITS, SLAVE_REGISTERS, SLAVE_REGISTERS);
    if (!s->name || (setup->link && !s->link) || !s->map || pthread_mutex_init(&s->lock, NULL))
        goto bad;
    if (!s->link) {
        rc = listen_on(s, why, cap);
        if (rc != RC_OK)
            goto bad;
    }
    rc = RC_NO_MEMORY;
    if (pthread_create(&s->thread, NULL, run, s))
        goto bad;
    *ret_s = s;
    return RC_OK;
bad:
    if (s->listener >= 0)
        close(s->listener);
    modbus_mapping_free(s->map);
    free(s->name);
    free(s->link);
    free(s);
    return rc;
}

void slave_stop(struct slave *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    if (s->listener >= 0)
        close(s->listener);
    modbus_mapping_free(s->map);
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s->link);
    free(s);
}

int slave_port(const struct slave *s)
{
    return s->port;
}

void slave_set_registers(struct slave *s, int address, const uint16_t *value, int n)
{
    if (address < 0 || n < 0 || address + n > SLAVE_REGISTERS)
        return;
    pthread_mutex_lock(&s->lock);
    memcpy(s->map->tab_registers + address, value, (size_t)n * sizeof *value);
    memcpy(s->map->tab_input_registers + address, value, (size_t)n * sizeof *value);
    pthread_mutex_unlock(&s->lock);
}

void slave_set_input(struct slave *s, int address, bool on)
{
    if (address < 0 || address >= SLAVE_BITS)
        return;
    pthread_mutex_lock(&s->lock);
    s->map->tab_input_bits[address] = on;
    pthread_mutex_unlock(&s->lock);
}

bool slave_coil(struct slave *s, int address)
{
    if (address < 0 || address >= SLAVE_BITS)
        return false;
    pthread_mutex_lock(&s->lock);
    bool on = s->map->tab_bits[address] != 0;
    pthread_mutex_unlock(&s->lock);
    return on;
}

unsigned slave_requests(struct slave *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void slave_plug(struct slave *s, bool plugged)
{
    pthread_mutex_lock(&s->lock);
    s->plugged = plugged;
    pthread_mutex_unlock(&s->lock);
}

void slave_answer_late(struct slave *s, int ms)
{
    pthread_mutex_lock(&s->lock);
    s->late_ms = ms;
    pthread_mutex_unlock(&s->lock);
}
