/* http: whole requests over a real libwebsockets context: bodies, pipelining, long answers to slow readers, late answers to clients that left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "http_client.h"
#include "server/http.h"

#define LONG (8u << 20)

static struct testserver server;
static struct http *http;
static char *long_body;
static uv_timer_t later;
static struct http_exchange *waiting;
static volatile int asked, released;
static uv_sem_t waits;

static void on_released(void *arg)
{
    (void)arg;
    released++;
}

static void on_later(uv_timer_t *t)
{
    (void)t;
    struct http_answer a = {.status = 200, .type = "text/plain", .body = "late", .n = 4, .release = on_released};
    http_answer(waiting, &a);
    waiting = NULL;
}

/* What the client asks for says how it is answered. */
static void on_request(void *arg, struct http_exchange *x)
{
    (void)arg;
    struct http_answer a = {.status = 200, .type = "text/plain", .etag = "\"tag\"", .vary = true};
    asked++;
    if (x->fault) {
        a.status = x->fault == HTTP_TOO_LARGE ? 413 : x->fault == HTTP_LENGTH_REQUIRED ? 411 : 400;
        a.body = "fault";
        a.n = 5;
    } else if (!strcmp(x->path, "/long")) {
        a.body = long_body;
        a.n = LONG;
        a.release = on_released;
    } else if (!strcmp(x->path, "/later")) {
        waiting = x;
        uv_timer_start(&later, on_later, 300, 0);
        uv_sem_post(&waits);
        return;
    } else if (!strcmp(x->path, "/nothing")) {
        a.status = 204;
        a.type = NULL;
    } else {
        static char echo[70000];
        int n = snprintf(echo, sizeof echo, "%s %s [%s] %zu %s gz%d", http_method_word(x->method), x->path,
                         x->query.n ? http_query_value(&x->query, 0) : "", x->body_n, x->body_n ? x->body : "", x->gzip);
        a.body = echo;
        a.n = (size_t)n < sizeof echo ? (size_t)n : sizeof echo - 1;
    }
    http_answer(x, &a);
}

static bool begin(struct testserver *s)
{
    (void)uv_timer_init(&s->loop, &later);
    if (http_new(on_request, NULL, &http) != RC_OK)
        return false;
    http_protocol(http, &s->protocol[0]);
    return true;
}

static void end(struct testserver *s)
{
    (void)s;
    uv_close((uv_handle_t *)&later, NULL);
}

static void ended(struct testserver *s)
{
    (void)s;
    struct http_figures f;
    http_figures(http, &f);
    assert_int_equal(f.open, 0);
    assert_int_equal(f.held, 0);
    http_free(http);
}

static int setup(void **state)
{
    (void)state;
    (void)uv_sem_init(&waits, 0);
    long_body = malloc(LONG);
    for (size_t i = 0; i < LONG; i++)
        long_body[i] = (char)('a' + i % 23);
    server.begin = begin;
    server.end = end;
    server.ended = ended;
    testserver_start(&server);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testserver_stop(&server);
    uv_sem_destroy(&waits);
    free(long_body);
    return 0;
}

static void expect(const char *method, const char *path, const char *extra, const char *body, int status, const char *text)
{
    struct answer a;
    if (!client_ask(server.port, method, path, NULL, extra, body, &a))
        fail_msg("%s %s: no answer", method, path);
    if (a.status != status || (text && strcmp(a.body, text) != 0))
        fail_msg("%s %s: %d %.200s", method, path, a.status, a.body);
    answer_free(&a);
}

static void test_requests(void **state)
{
    (void)state;
    expect("GET", "/a/b?x=1%202", NULL, NULL, 200, "GET /a/b [1 2] 0  gz0");
    expect("GET", "/%E7%B2%A4", "Accept-Encoding: br, gzip\r\n", NULL, 200, "GET /粤 [] 0  gz1");
    expect("GET", "/", "Accept-Encoding: gzip;q=0\r\n", NULL, 200, "GET / [] 0  gz0");
    expect("POST", "/p", NULL, "{\"a\":1}", 200, "POST /p [] 7 {\"a\":1} gz0");
    expect("POST", "/p", NULL, "", 200, "POST /p [] 0  gz0");
    expect("POST", "/p", NULL, NULL, 200, "POST /p [] 0  gz0");
    expect("DELETE", "/d", NULL, "xyz", 200, "DELETE /d [] 3 xyz gz0");
    expect("OPTIONS", "/d", NULL, NULL, 200, "OPTIONS /d [] 0  gz0");
    expect("PUT", "/d", NULL, "1", 200, "PUT /d [] 1 1 gz0");
    expect("GET", "/nothing", NULL, NULL, 204, "");
    expect("GET", "/?a=1&a=2", NULL, NULL, 400, NULL);
    expect("GET", "/?A=1", NULL, NULL, 400, NULL);
    expect("GET", "/?a=%01", NULL, NULL, 400, NULL);
    expect("GET", "/?a=%FF", NULL, NULL, 400, NULL);
    expect("GET", "/%FF", NULL, NULL, 400, NULL);
    expect("GET", "/", "If-None-Match: \"x\", \"tag\"\r\n", NULL, 304, "");
    expect("GET", "/", "If-None-Match: \"tagged\"\r\n", NULL, 200, NULL);
    expect("POST", "/p", "Transfer-Encoding: chunked\r\n", NULL, 411, NULL);
    expect("POST", "/p", "Content-Length: 12x\r\n", NULL, 400, NULL);
    expect("POST", "/p", "Content-Length: -1\r\n", NULL, 400, NULL);
    expect("POST", "/p", "Content-Length: 99999999999\r\n", NULL, 413, NULL);
}

static void test_head(void **state)
{
    (void)state;
    struct answer a;
    int fd = client_open(server.port);
    static const char two[] = "HEAD /h HTTP/1.1\r\nHost: t\r\n\r\nGET /g HTTP/1.1\r\nHost: t\r\n\r\n";
    assert_true(client_send(fd, two, sizeof two - 1));
    assert_true(client_read(fd, &a, true));
    assert_int_equal(a.status, 200);
    assert_non_null(strcasestr(a.head, "content-length: 17"));
    answer_free(&a);
    assert_true(client_read(fd, &a, false));
    assert_string_equal(a.body, "GET /g [] 0  gz0");
    answer_free(&a);
    close(fd);
}

static void test_security_headers(void **state)
{
    (void)state;
    struct answer a;
    assert_true(client_ask(server.port, "GET", "/", NULL, NULL, NULL, &a));
    static const char *const must[] = {"default-src 'self'",     "frame-ancestors 'none'", "object-src 'none'", "connect-src 'self' ws: wss:",
                                       "x-content-type-options: nosniff", "referrer-policy: no-referrer", "cache-control: no-store", "vary: accept-encoding"};
    for (size_t i = 0; i < sizeof must / sizeof *must; i++)
        if (!strcasestr(a.head, must[i]))
            fail_msg("%s is missing in %s", must[i], a.head);
    answer_free(&a);
}

/* The largest body that is taken, the smallest that is not, on one connection: the second must not spoil the third. */
static void test_body_limit(void **state)
{
    (void)state;
    int fd = client_open(server.port);
    char *body = malloc(HTTP_BODY_MAX + 2);
    memset(body, 'b', HTTP_BODY_MAX + 1);
    for (int over = 0; over < 3; over++) {
        char head[200];
        size_t n = over == 1 ? HTTP_BODY_MAX + 1 : HTTP_BODY_MAX;
        struct answer a;
        int head_n = snprintf(head, sizeof head, "POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", n);
        assert_true(client_send(fd, head, (size_t)head_n));
        assert_true(client_send(fd, body, n));
        assert_true(client_read(fd, &a, false));
        assert_int_equal(a.status, over == 1 ? 413 : 200);
        answer_free(&a);
    }
    free(body);
    close(fd);
}

/* Twenty requests in one packet come back as twenty answers in order, each handled once. */
static void test_pipeline(void **state)
{
    (void)state;
    char text[4096];
    size_t n = 0;
    int before = asked, fd = client_open(server.port);
    for (int i = 0; i < 20; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "GET /%d HTTP/1.1\r\nHost: t\r\n\r\n", i);
    assert_true(client_send(fd, text, n));
    for (int i = 0; i < 20; i++) {
        struct answer a;
        char want[64];
        (void)snprintf(want, sizeof want, "GET /%d [] 0  gz0", i);
        assert_true(client_read(fd, &a, false));
        assert_string_equal(a.body, want);
        answer_free(&a);
    }
    assert_int_equal(asked - before, 20);
    close(fd);
}

/* A long answer arrives whole, also where the reader is slow, and does not keep others waiting. */
static void test_long(void **state)
{
    (void)state;
    struct answer a;
    int before = released, slow = client_open(server.port);
    static const char get[] = "GET /long HTTP/1.1\r\nHost: t\r\n\r\n";
    assert_true(client_send(slow, get, sizeof get - 1));
    assert_true(client_ask(server.port, "GET", "/long", NULL, NULL, NULL, &a));
    assert_int_equal(a.n, LONG);
    assert_memory_equal(a.body, long_body, LONG);
    answer_free(&a);
    expect("GET", "/quick", NULL, NULL, 200, "GET /quick [] 0  gz0");
    assert_true(client_read(slow, &a, false));
    assert_int_equal(a.n, LONG);
    assert_memory_equal(a.body, long_body, LONG);
    answer_free(&a);
    close(slow);
    /* one that leaves in the middle */
    slow = client_open(server.port);
    char some[1000];
    assert_true(client_send(slow, get, sizeof get - 1));
    assert_true(recv(slow, some, sizeof some, 0) > 0);
    close(slow);
    for (int i = 0; i < 500 && released < before + 3; i++)
        usleep(10000);
    assert_int_equal(released, before + 3);
}

/* Many readers that ask for a long answer and take nothing of it do not shut out others, though the context has places for eight headers. */
static void test_stalled(void **state)
{
    (void)state;
    enum { READERS = 60 };
    static const char get[] = "GET /long HTTP/1.1\r\nHost: t\r\n\r\n";
    int fd[READERS], before = released;
    for (int i = 0; i < READERS; i++) {
        fd[i] = client_open(server.port);
        assert_true(client_send(fd[i], get, sizeof get - 1));
    }
    struct timespec begun, end_of_it;
    (void)clock_gettime(CLOCK_MONOTONIC, &begun);
    expect("GET", "/beside", NULL, NULL, 200, "GET /beside [] 0  gz0");
    (void)clock_gettime(CLOCK_MONOTONIC, &end_of_it);
    double ms = (double)(end_of_it.tv_sec - begun.tv_sec) * 1e3 + (double)(end_of_it.tv_nsec - begun.tv_nsec) / 1e6;
    print_message("an answer beside %d stalled readers: %.1f ms\n", READERS, ms);
    assert_true(ms < 5000);
    for (int i = 0; i < READERS; i++)
        close(fd[i]);
    for (int i = 0; i < 500 && released < before + READERS; i++)
        usleep(10000);
    assert_int_equal(released, before + READERS);
}

static void test_late_answer(void **state)
{
    (void)state;
    int before = released;
    expect("GET", "/later", NULL, NULL, 200, "late");
    uv_sem_wait(&waits);
    int fd = client_open(server.port);
    static const char get[] = "GET /later HTTP/1.1\r\nHost: t\r\n\r\n";
    assert_true(client_send(fd, get, sizeof get - 1));
    uv_sem_wait(&waits);
    close(fd); /* gone before the answer is made */
    for (int i = 0; i < 500 && released < before + 2; i++)
        usleep(10000);
    assert_int_equal(released, before + 2);
    /* a second request that is already there waits for its turn */
    fd = client_open(server.port);
    static const char two[] = "GET /later HTTP/1.1\r\nHost: t\r\n\r\nGET /next HTTP/1.1\r\nHost: t\r\n\r\n";
    struct answer a;
    assert_true(client_send(fd, two, sizeof two - 1));
    assert_true(client_read(fd, &a, false));
    assert_string_equal(a.body, "late");
    answer_free(&a);
    assert_true(client_read(fd, &a, false));
    assert_string_equal(a.body, "GET /next [] 0  gz0");
    answer_free(&a);
    close(fd);
    uv_sem_wait(&waits);
    expect("GET", "/after", NULL, NULL, 200, "GET /after [] 0  gz0");
}

static void test_rubbish(void **state)
{
    (void)state;
    static const char upgrade[] = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: t\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    static const char *const rubbish[] = {
        "GET\r\n\r\n", "\r\n\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "BREW /pot HTTP/1.1\r\nHost: t\r\n\r\n", "GET /../../etc/passwd HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: t\r\n\r\n", "\x16\x03\x01\x02", upgrade};
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        int fd = client_open(server.port);
        char text[2048];
        assert_true(client_send(fd, rubbish[i], strlen(rubbish[i])));
        (void)shutdown(fd, SHUT_WR);
        ssize_t n = recv(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        assert_null(strstr(text, "101 Switching"));
        assert_null(strstr(text, "root:"));
        close(fd);
    }
    char *big = malloc(20000);
    int n = snprintf(big, 20000, "GET / HTTP/1.1\r\nHost: t\r\nX-Long: ");
    memset(big + n, 'x', 18000);
    int fd = client_open(server.port);
    (void)client_send(fd, big, 19000);
    close(fd);
    free(big);
    expect("GET", "/alive", NULL, NULL, 200, "GET /alive [] 0  gz0");
}

static void test_query(void **state)
{
    (void)state;
    struct http_query q = {.n = 0};
    char name[16];
    assert_int_equal(http_query_add(&q, "a=1", 3), RC_OK);
    assert_int_equal(http_query_add(&q, "b", 1), RC_OK);
    assert_string_equal(http_query_find(&q, "b"), "");
    assert_null(http_query_find(&q, "c"));
    assert_int_equal(http_query_add(&q, "a=2", 3), RC_INVALID);
    assert_int_equal(http_query_add(&q, "=2", 2), RC_INVALID);
    assert_int_equal(http_query_add(&q, "x y=2", 5), RC_INVALID);
    for (int i = 0; q.n < HTTP_QUERY_MAX; i++) {
        int n = snprintf(name, sizeof name, "p%d=%d", i, i);
        assert_int_equal(http_query_add(&q, name, (size_t)n), RC_OK);
    }
    assert_int_equal(http_query_add(&q, "zz=1", 4), RC_FULL);
    assert_string_equal(http_query_find(&q, "p3"), "3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests),  cmocka_unit_test(test_head),        cmocka_unit_test(test_security_headers),
                                       cmocka_unit_test(test_body_limit), cmocka_unit_test(test_pipeline),    cmocka_unit_test(test_long),
                                       cmocka_unit_test(test_stalled),  cmocka_unit_test(test_late_answer), cmocka_unit_test(test_rubbish),    cmocka_unit_test(test_query)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
