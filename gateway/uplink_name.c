#include "uplink_name.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"

enum {
    PATIENCE_MS = 4000, /* for the resolver, when there is an address to fall back on; glibc's first question alone waits 5 s */
    DAY_MS = 86400000,
    FILE_MAX = 512,
};

static const char head[] = "schoolward-uplink 1";

/* --- the memory: "schoolward-uplink 1 HOST ADDRESS MILLISECONDS" --- */

static bool is_address(const char *s)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    return uv_ip4_addr(s, 1, &v4) == 0 || uv_ip6_addr(s, 1, &v6) == 0;
}

bool uplink_memory_parse(const char *text, struct uplink_memory *ret_m)
{
    struct uplink_memory m = {0};
    int end = 0;
    if (strncmp(text, head, sizeof head - 1) != 0 ||
        sscanf(text + sizeof head - 1, " %127s %63s %" SCNd64 "%n", m.host, m.address, &m.trusted_ms, &end) != 3 ||
        text[sizeof head - 1 + (size_t)end] != '\n')
        return false; /* the line's end too: a file that was cut off is none */
    if (strcmp(m.address, "-") == 0)
        m.address[0] = '\0';
    else if (!is_address(m.address))
        return false;
    if (m.trusted_ms < 0 || m.trusted_ms > INT64_C(4102444800000)) /* 2100: nobody trusted that */
        return false;
    *ret_m = m;
    return true;
}

static void read_memory(struct uplink_name *n, const char *host)
{
    char text[FILE_MAX + 1];
    struct uplink_memory m;
    int fd = n->path[0] != '\0' ? open(n->path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        ssize_t got = read(fd, text, FILE_MAX);
        close(fd);
        text[got > 0 ? got : 0] = '\0';
        if (uplink_memory_parse(text, &m)) {
            n->memory = m;
            if (strcmp(m.host, host) != 0) /* another server is configured now; the date stays true */
                n->memory.address[0] = '\0';
        }
    }
    snprintf(n->memory.host, sizeof n->memory.host, "%s", host);
    n->saved = n->memory;
}

/* In the pool: a card may take its time. */
static void write_memory(uv_work_t *w)
{
    struct uplink_name *n = w->data;
    char text[FILE_MAX], aside[sizeof n->path + 8];
    int len = snprintf(text, sizeof text, "%s %s %s %" PRId64 "\n", head, n->saved.host, n->saved.address[0] != '\0' ? n->saved.address : "-",
                       n->saved.trusted_ms);
    snprintf(aside, sizeof aside, "%s.new", n->path);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* full or broken disks are the outbox's to tell; this is a convenience */
    bool good = write(fd, text, (size_t)len) == len && fdatasync(fd) == 0;
    if (close(fd) == 0 && good)
        good = rename(aside, n->path) == 0;
    if (!good)
        unlink(aside);
}

static void maybe_idle(struct uplink_name *n)
{
    if (n->on_idle != NULL && !n->looking && !n->saving && n->patience_closed) {
        void (*call)(void *) = n->on_idle;
        n->on_idle = NULL;
        call(n->arg);
    }
}

static void on_written(uv_work_t *w, int status)
{
    struct uplink_name *n = w->data;
    (void)status;
    n->saving = false;
    maybe_idle(n);
}

void uplink_name_worked(struct uplink_name *n, const char *address, int64_t trusted_ms)
{
    if (address != NULL)
        snprintf(n->memory.address, sizeof n->memory.address, "%s", address);
    if (trusted_ms > 0)
        n->memory.trusted_ms = trusted_ms;
    int64_t newer = n->memory.trusted_ms - n->saved.trusted_ms; /* negative: the one before was wrong */
    if (n->path[0] == '\0' || n->saving || n->on_idle != NULL || (strcmp(n->memory.address, n->saved.address) == 0 && newer >= 0 && newer < DAY_MS))
        return;
    n->saved = n->memory;
    n->save.data = n;
    n->saving = uv_queue_work(n->loop, &n->save, write_memory, on_written) == 0;
}

/* --- asking --- */

static void answer(struct uplink_name *n, const char *address, bool remembered, const char *error)
{
    if (!n->asked)
        return;
    n->asked = false;
    uv_timer_stop(&n->patience);
    n->answer(n->arg, address, remembered, error);
}

static void fall_back(struct uplink_name *n, const char *error)
{
    bool there = n->memory.address[0] != '\0';
    answer(n, there ? n->memory.address : NULL, there, error);
}

static void on_patience(uv_timer_t *t)
{
    struct uplink_name *n = t->data;
    if (n->asked && n->memory.address[0] != '\0')
        fall_back(n, "no answer of the name server");
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct uplink_name *n = req->data;
    char text[UPLINK_ADDRESS_MAX + 1] = "";
    n->looking = false;
    n->answered_ms = clock_mono_ms() - n->began_ms;
    if (status != 0 || res == NULL) {
        uv_freeaddrinfo(res);
        fall_back(n, status != 0 ? uv_strerror(status) : "no address");
        maybe_idle(n);
        return;
    }
    unsigned all = 0, pick;
    for (struct addrinfo *a = res; a != NULL; a = a->ai_next)
        all++;
    pick = n->turn % all;
    struct addrinfo *a = res;
    while (pick-- > 0)
        a = a->ai_next;
    if (a->ai_family == AF_INET6)
        uv_ip6_name((const struct sockaddr_in6 *)(const void *)a->ai_addr, text, sizeof text);
    else
        uv_ip4_name((const struct sockaddr_in *)(const void *)a->ai_addr, text, sizeof text);
    uv_freeaddrinfo(res);
    answer(n, text, false, "");
    maybe_idle(n);
}

void uplink_name_ask(struct uplink_name *n, unsigned turn)
{
    n->asked = true;
    n->turn = turn;
    if (is_address(n->memory.host)) {
        answer(n, n->memory.host, false, "");
        return;
    }
    uv_timer_start(&n->patience, on_patience, PATIENCE_MS, 0);
    if (n->looking) /* an old question is still out; its answer serves */
        return;
    struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    n->lookup.data = n;
    n->began_ms = clock_mono_ms();
    int e = uv_getaddrinfo(n->loop, &n->lookup, on_resolved, n->memory.host, NULL, &want);
    n->looking = e == 0;
    if (e != 0)
        fall_back(n, uv_strerror(e));
}

void uplink_name_forget(struct uplink_name *n)
{
    n->asked = false;
    uv_timer_stop(&n->patience);
}

void uplink_name_init(struct uplink_name *n, uv_loop_t *loop, const char *host, const char *path, uplink_name_fn *fn, void *arg)
{
    *n = (struct uplink_name){.loop = loop, .answer = fn, .arg = arg, .answered_ms = -1};
    snprintf(n->path, sizeof n->path, "%s", path != NULL ? path : "");
    uv_timer_init(loop, &n->patience);
    n->patience.data = n;
    read_memory(n, host);
}

static void on_patience_closed(uv_handle_t *h)
{
    struct uplink_name *n = h->data;
    n->patience_closed = true;
    maybe_idle(n);
}

void uplink_name_stop(struct uplink_name *n, void (*on_idle)(void *arg))
{
    uplink_name_forget(n);
    n->on_idle = on_idle;
    if (n->looking)
        uv_cancel((uv_req_t *)&n->lookup);
    if (!uv_is_closing((uv_handle_t *)&n->patience))
        uv_close((uv_handle_t *)&n->patience, on_patience_closed);
    maybe_idle(n);
}
