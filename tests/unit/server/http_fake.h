/*
 * http_fake - a small HTTP/1.1 server in a thread of the test, on a free port of the loopback below 32768. It reads whole requests (gzip too) and asks
 * the test what to answer: a status, nothing at all, a cut, or a reset. Serves one connection at a time, keeps it open, notices when told to stop.
 */
#ifndef SCHOOLWARD_HTTP_FAKE_H
#define SCHOOLWARD_HTTP_FAKE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

struct http_fake_request {
    char head[8192]; /* request line and headers */
    char *body;      /* unpacked, ends in NUL */
    size_t n;
    size_t packed_n; /* as it came */
};
enum http_fake_act { HTTP_FAKE_ANSWER = 0, HTTP_FAKE_HANG, HTTP_FAKE_RESET, HTTP_FAKE_CUT /* the first bytes of an answer, then closed */ };
struct http_fake_answer {
    enum http_fake_act act;
    int status;
    const char *headers; /* "Retry-After: 1\r\n" or NULL */
    const char *body;    /* NULL = none; copied at once */
};
struct http_fake {
    int port, listener;
    pthread_t thread;
    atomic_bool stop;
    struct http_fake_answer (*answer)(void *arg, const struct http_fake_request *q);
    void *arg;
};

/* A header's value, "" without it; valid until the next call. */
static inline const char *http_fake_header(const struct http_fake_request *q, const char *name)
{
    static char value[1024];
    size_t n = strlen(name);
    for (const char *line = strstr(q->head, "\r\n"); line != NULL && line[2] != '\0'; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *v = line + 3 + n + strspn(line + 3 + n, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(v, "\r\n"), v);
            return value;
        }
    return "";
}

static inline bool http_fake_wait(struct http_fake *h, int fd)
{
    while (!atomic_load(&h->stop)) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 50) > 0)
            return true;
    }
    return false;
}

static inline char *http_fake_unpack(const char *in, size_t n, size_t *ret_n)
{
    size_t cap = 32u << 20;
    char *out = malloc(cap);
    z_stream z = {0};
    if (out == NULL || inflateInit2(&z, 15 + 16) != Z_OK)
        abort();
    z.next_in = (unsigned char *)(uintptr_t)in;
    z.avail_in = (uInt)n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (uInt)cap - 1;
    if (inflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    *ret_n = z.total_out;
    inflateEnd(&z);
    out[*ret_n] = '\0';
    return out;
}

/* One request from fd; false when the connection is over. */
static inline bool http_fake_serve(struct http_fake *h, int fd, struct http_fake_request *q)
{
    size_t have = 0, length = 0, head = 0;
    size_t cap = 8u << 20;
    char *in = malloc(cap);
    if (in == NULL)
        abort();
    while (head == 0 || have < head + length) {
        ssize_t k = http_fake_wait(h, fd) ? read(fd, in + have, cap - have - 1) : 0;
        if (k <= 0) {
            free(in);
            return false;
        }
        have += (size_t)k;
        in[have] = '\0';
        const char *end = head == 0 ? strstr(in, "\r\n\r\n") : NULL;
        if (end != NULL) {
            head = (size_t)(end - in) + 4;
            snprintf(q->head, sizeof q->head, "%.*s", (int)head - 2, in);
            length = strtoul(http_fake_header(q, "Content-Length"), NULL, 10);
        }
    }
    q->packed_n = length;
    q->n = length;
    if (strcmp(http_fake_header(q, "Content-Encoding"), "gzip") == 0)
        q->body = http_fake_unpack(in + head, length, &q->n);
    else {
        q->body = malloc(length + 1);
        if (q->body == NULL)
            abort();
        memcpy(q->body, in + head, length);
        q->body[length] = '\0';
    }
    free(in);
    struct http_fake_answer a = h->answer(h->arg, q);
    free(q->body);
    char text[8192];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n%s", a.status, a.body == NULL ? 0 : strlen(a.body),
                     a.headers == NULL ? "" : a.headers, a.body == NULL ? "" : a.body);
    if (a.act == HTTP_FAKE_HANG) {
        http_fake_wait(h, fd); /* until the client gives up and closes */
        return false;
    }
    if (a.act == HTTP_FAKE_RESET) {
        struct linger l = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        return false;
    }
    if (a.act == HTTP_FAKE_CUT)
        n = 7;
    return write(fd, text, (size_t)n) == n && a.act == HTTP_FAKE_ANSWER;
}

static inline void *http_fake_run(void *arg)
{
    struct http_fake *h = arg;
    struct http_fake_request *q = calloc(1, sizeof *q);
    while (q != NULL && http_fake_wait(h, h->listener)) {
        int fd = accept(h->listener, NULL, NULL);
        if (fd < 0)
            continue;
        while (http_fake_serve(h, fd, q))
            ;
        close(fd);
    }
    free(q);
    return NULL;
}

static inline int http_fake_bind(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 16) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A free port, not listening yet. */
static inline int http_fake_free_port(void)
{
    for (int i = 0;; i++) {
        int port = 20000 + (int)((getpid() * 37 + i * 101) % 12000), fd = http_fake_bind(port);
        if (fd < 0)
            continue;
        close(fd);
        return port;
    }
}

/* port 0: a free one. */
static inline void http_fake_start(struct http_fake *h, int port, struct http_fake_answer (*answer)(void *arg, const struct http_fake_request *q), void *arg)
{
    h->answer = answer;
    h->arg = arg;
    atomic_store(&h->stop, false);
    h->port = port == 0 ? http_fake_free_port() : port;
    h->listener = http_fake_bind(h->port);
    if (h->listener < 0 || pthread_create(&h->thread, NULL, http_fake_run, h) != 0)
        abort();
}

static inline void http_fake_stop(struct http_fake *h)
{
    atomic_store(&h->stop, true);
    pthread_join(h->thread, NULL);
    close(h->listener);
}

#endif
