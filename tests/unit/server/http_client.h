/*
 * http_client - what the tests of http and api share: a server thread with a real libwebsockets context on a free loopback port, and a blocking client.
 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <uv.h>

struct answer {
    int status;
    char head[4096];
    char *body; /* NUL after it */
    size_t n;
};

/* A port nobody listens on, below the ephemeral ones. */
static inline int client_free_port(void)
{
    for (int port = 21000 + (int)(getpid() % 4000);; port += 7) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0), bad = bind(fd, (struct sockaddr *)&a, sizeof a);
        close(fd);
        if (!bad)
            return port;
    }
}

static inline int client_open(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
        abort();
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static inline bool client_send(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t step = send(fd, text, n, MSG_NOSIGNAL);
        if (step <= 0)
            return false;
        text += step;
        n -= (size_t)step;
    }
    return true;
}

static inline void answer_free(struct answer *a)
{
    free(a->body);
    memset(a, 0, sizeof *a);
}

/* Reads one answer; false: the connection ended before it was whole. head_only: after HEAD. */
static inline bool client_read(int fd, struct answer *a, bool head_only)
{
    size_t n = 0;
    memset(a, 0, sizeof *a);
    while (n + 1 < sizeof a->head && !strstr(a->head, "\r\n\r\n"))
        if (recv(fd, a->head + n, 1, 0) == 1)
            n++;
        else
            return false;
    if (sscanf(a->head, "HTTP/1.%*d %d", &a->status) != 1)
        return false;
    const char *length = strcasestr(a->head, "\r\ncontent-length:");
    size_t want = length && !head_only && a->status != 304 ? (size_t)strtoul(length + 17, NULL, 10) : 0;
    a->body = calloc(1, want + 1);
    while (a->body && a->n < want) {
        ssize_t step = recv(fd, a->body + a->n, want - a->n, 0);
        if (step <= 0)
            return false;
        a->n += (size_t)step;
    }
    return a->body != NULL;
}

/* One request on a connection of its own. extra: header lines with their line ends, body NULL: none. */
static inline bool client_ask(int port, const char *method, const char *path, const char *token, const char *extra, const char *body, struct answer *a)
{
    char head[4096], length[96] = "", auth[700] = "";
    if (token)
        (void)snprintf(auth, sizeof auth, "Authorization: Bearer %s\r\n", token);
    if (body)
        (void)snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: test\r\n%s%s%s\r\n", method, path, auth, length, extra ? extra : "");
    int fd = client_open(port);
    bool ok = n > 0 && (size_t)n < sizeof head && client_send(fd, head, (size_t)n) && (!body || client_send(fd, body, strlen(body))) &&
              client_read(fd, a, !strcmp(method, "HEAD"));
    close(fd);
    return ok;
}

/* ---- a server in a thread of its own ---- */

struct testserver {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_sem_t up;
    uv_async_t stop;
    struct lws_context *lws;
    struct lws_protocols protocol[2];
    int port;
    bool (*begin)(struct testserver *s);  /* on the loop's thread: set protocol[0] */
    void (*end)(struct testserver *s);    /* on the loop's thread, before the context is destroyed */
    void (*ended)(struct testserver *s);  /* after the loop has run out */
    void *arg;
};

static inline void testserver_on_stop(uv_async_t *h)
{
    struct testserver *s = h->data;
    uv_close((uv_handle_t *)h, NULL);
    if (s->end)
        s->end(s);
    lws_context_destroy(s->lws);
}

static inline void testserver_run(void *arg)
{
    struct testserver *s = arg;
    void *loops[] = {&s->loop};
    if (uv_loop_init(&s->loop) || uv_async_init(&s->loop, &s->stop, testserver_on_stop) || !s->begin(s))
        abort();
    s->stop.data = s;
    struct lws_context_creation_info info = {.iface = "127.0.0.1",
                                             .port = s->port,
                                             .protocols = s->protocol,
                                             .foreign_loops = loops,
                                             .alpn = "http/1.1",
                                             .max_http_header_pool = 8,
                                             .gid = (gid_t)-1,
                                             .uid = (uid_t)-1,
                                             .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6};
    lws_set_log_level(LLL_ERR, NULL);
    s->lws = lws_create_context(&info);
    if (!s->lws)
        abort();
    uv_sem_post(&s->up);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    lws_context_destroy(s->lws);
    if (s->ended)
        s->ended(s);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&s->loop))
        abort(); /* a handle was forgotten */
}

static inline void testserver_start(struct testserver *s)
{
    s->port = client_free_port();
    (void)uv_sem_init(&s->up, 0);
    if (uv_thread_create(&s->thread, testserver_run, s))
        abort();
    uv_sem_wait(&s->up);
}

static inline void testserver_stop(struct testserver *s)
{
    (void)uv_async_send(&s->stop);
    (void)uv_thread_join(&s->thread);
    uv_sem_destroy(&s->up);
}

#endif
