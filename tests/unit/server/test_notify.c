/* The signed webhook against a real HTTP server: signature, receipts, tries, restarts, expiry. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "core/base/clock.h"
#include "http_fake.h"
#include "tempdir.h"
#include "server/notify.h"

static const char secret[] = "sixteen characters at least";

#define TAKEN_MAX 64
static struct {
    pthread_mutex_t lock;
    int fail_first; /* so many answers of 500 before the receipts */
    int status;     /* of a receipt */
    bool hang;
    size_t n;
    struct {
        char delivery[64], body[1024];
        bool signed_well;
    } taken[TAKEN_MAX];
} hook = {.lock = PTHREAD_MUTEX_INITIALIZER, .status = 204};

/* As a receiver would check it: its own arithmetic, from the documented form alone. */
static bool signature_holds(const struct http_fake_request *q)
{
    long long t = 0;
    char given[80] = "", text[8192], want[80];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (sscanf(http_fake_header(q, "Schoolward-Signature"), "t=%lld,v1=%64[0-9a-f]", &t, given) != 2)
        return false;
    int k = snprintf(text, sizeof text, "%lld.%s", t, q->body);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)text, (size_t)k, mac, &n);
    for (unsigned i = 0; i < n; i++)
        snprintf(want + 2 * i, 3, "%02x", mac[i]);
    return strcmp(want, given) == 0 && llabs(t - clock_wall_ms() / 1000) < 60;
}

static struct http_fake_answer on_request(void *arg, const struct http_fake_request *q)
{
    (void)arg;
    struct http_fake_answer a = {.status = 500};
    pthread_mutex_lock(&hook.lock);
    if (hook.n < TAKEN_MAX) {
        snprintf(hook.taken[hook.n].delivery, 64, "%.63s", http_fake_header(q, "Schoolward-Delivery"));
        snprintf(hook.taken[hook.n].body, 1024, "%.1023s", q->body);
        hook.taken[hook.n].signed_well = signature_holds(q) && strcmp(http_fake_header(q, "Content-Type"), "application/json") == 0;
        hook.n++;
    }
    if (hook.hang)
        a.act = HTTP_FAKE_HANG;
    if (hook.fail_first > 0)
        hook.fail_first--;
    else
        a.status = hook.status;
    pthread_mutex_unlock(&hook.lock);
    return a;
}

static size_t requests(void)
{
    pthread_mutex_lock(&hook.lock);
    size_t n = hook.n;
    pthread_mutex_unlock(&hook.lock);
    return n;
}

static void set_hang(bool hang)
{
    pthread_mutex_lock(&hook.lock);
    hook.hang = hang;
    pthread_mutex_unlock(&hook.lock);
}

struct world {
    char dir[64], path[96], url[64];
    struct http_fake http;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    strcpy(w->dir, "/tmp/schoolward-notify-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof w->path, "%s/outbox.db", w->dir);
    hook.n = 0;
    hook.fail_first = 0;
    hook.status = 204;
    hook.hang = false;
    http_fake_start(&w->http, 0, on_request, NULL);
    snprintf(w->url, sizeof w->url, "http://127.0.0.1:%d/hook", w->http.port);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    http_fake_stop(&w->http);
    int rc = tempdir_remove(w->dir);
    free(w);
    return rc;
}

static struct notify *open_notify(const struct world *w, const char *url)
{
    struct notify *n = NULL;
    char why[256] = "";
    struct notify_setup s = {w->path, url, secret};
    enum rc rc = notify_open(&s, &n, why, sizeof why);
    if (rc != RC_OK)
        fail_msg("%s: %s", rc_text(rc), why);
    return n;
}

/* Waits at most 20 s for what the figures must come to. */
static struct notify_figures wait_for(struct notify *n, uint64_t delivered, uint64_t expired, uint64_t failed_tries)
{
    struct notify_figures f;
    int64_t until = clock_mono_ms() + 20000;
    for (;;) {
        notify_figures(n, &f);
        if ((f.delivered >= delivered && f.expired >= expired && f.failed_tries >= failed_tries) || clock_mono_ms() > until)
            return f;
        usleep(5000);
    }
}

static void signs_a_known_text(void **state)
{
    (void)state;
    /* made with: printf '1763856764.{"a":1}' | openssl dgst -sha256 -hmac 'sixteen characters at least' */
    char out[NOTIFY_SIGNATURE_MAX];
    notify_sign(secret, 1763856764, "{\"a\":1}", out);
    assert_string_equal(out, "t=1763856764,v1=acc6d2cd617fad5501d14f97ebec1d13694fbaafd3a0a90bfcb6a3ec85899348");
}

static void delivers_signed(void **state)
{
    struct world *w = *state;
    struct notify *n = open_notify(w, w->url);
    int64_t before = clock_wall_ms();
    static const char body[] = "{\"kind\":\"arriving\",\"delivery\":\"k1\",\"plate\":\"\xe6\xb2\xaa" "A12345\",\"eta_ms\":1763856900000}";
    assert_int_equal(notify_made_ms(n, "k1"), 0);
    assert_int_equal(notify_send(n, "k1", body, before + 60000), RC_OK);
    assert_int_equal(notify_send(n, "k1", body, before + 60000), RC_END);
    assert_true(notify_made_ms(n, "k1") >= before);
    struct notify_figures f = wait_for(n, 1, 0, 0);
    assert_int_equal(f.delivered, 1);
    assert_int_equal(f.queued, 0);
    notify_close(n);
    assert_int_equal(hook.n, 1);
    assert_true(hook.taken[0].signed_well);
    assert_string_equal(hook.taken[0].delivery, "k1");
    assert_string_equal(hook.taken[0].body, body);
}

static void tries_again_with_the_same_delivery(void **state)
{
    struct world *w = *state;
    hook.fail_first = 2;
    struct notify *n = open_notify(w, w->url);
    assert_int_equal(notify_send(n, "k", "{}", clock_wall_ms() + 60000), RC_OK);
    struct notify_figures f = wait_for(n, 1, 0, 2);
    assert_int_equal(f.delivered, 1);
    assert_int_equal(f.failed_tries, 2);
    notify_close(n);
    assert_int_equal(hook.n, 3);
    assert_string_equal(hook.taken[0].delivery, hook.taken[2].delivery);
    assert_true(hook.taken[0].signed_well && hook.taken[2].signed_well);
}

static void survives_a_restart(void **state)
{
    struct world *w = *state;
    hook.fail_first = 1000000;
    struct notify *n = open_notify(w, w->url);
    assert_int_equal(notify_send(n, "a", "{\"n\":1}", clock_wall_ms() + 60000), RC_OK);
    assert_int_equal(notify_send(n, "b", "{\"n\":2}", clock_wall_ms() + 60000), RC_OK);
    wait_for(n, 0, 0, 2);
    int64_t made = notify_made_ms(n, "a");
    notify_close(n);
    hook.fail_first = 0;
    hook.n = 0;
    n = open_notify(w, w->url);
    assert_int_equal(notify_made_ms(n, "a"), made);
    assert_int_equal(notify_send(n, "a", "{\"n\":1}", clock_wall_ms() + 60000), RC_END);
    assert_int_equal(wait_for(n, 2, 0, 0).delivered, 2);
    notify_close(n);
    assert_int_equal(hook.n, 2);
    n = open_notify(w, w->url); /* delivered ones stay so, and stay known */
    assert_int_equal(notify_send(n, "b", "{}", clock_wall_ms() + 60000), RC_END);
    assert_int_equal(wait_for(n, 0, 0, 0).queued, 0);
    notify_close(n);
    assert_int_equal(hook.n, 2);
}

static void expires(void **state)
{
    struct world *w = *state;
    hook.fail_first = 1000000;
    struct notify *n = open_notify(w, w->url);
    assert_int_equal(notify_send(n, "soon", "{}", clock_wall_ms() + 700), RC_OK);
    assert_int_equal(notify_send(n, "over", "{}", clock_wall_ms() - 1), RC_OK);
    struct notify_figures f = wait_for(n, 0, 2, 1);
    assert_int_equal(f.expired, 2);
    assert_int_equal(f.queued, 0);
    assert_int_equal(f.delivered, 0);
    notify_close(n);
    assert_true(hook.n >= 1);
    hook.fail_first = 0;
    hook.n = 0;
    n = open_notify(w, w->url);
    assert_int_equal(notify_send(n, "soon", "{}", clock_wall_ms() + 60000), RC_END);
    notify_close(n);
    assert_int_equal(hook.n, 0);
}

/* One whose receiver refuses it must not hold up the next. */
static void one_failure_does_not_hold_up_the_others(void **state)
{
    struct world *w = *state;
    hook.fail_first = 1;
    struct notify *n = open_notify(w, w->url);
    assert_int_equal(notify_send(n, "first", "{\"n\":1}", clock_wall_ms() + 60000), RC_OK);
    wait_for(n, 0, 0, 1);
    int64_t start = clock_mono_ms();
    char key[16];
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(notify_send(n, key, "{}", clock_wall_ms() + 60000), RC_OK);
    }
    assert_int_equal(wait_for(n, 21, 0, 0).delivered, 21);
    print_message("20 notices behind a refused one: all 21 delivered after %lld ms\n", (long long)(clock_mono_ms() - start));
    notify_close(n);
    assert_int_equal(hook.n, 22);
}

static void closes_at_once_while_the_receiver_hangs(void **state)
{
    struct world *w = *state;
    hook.hang = true;
    struct notify *n = open_notify(w, w->url);
    assert_int_equal(notify_send(n, "k", "{}", clock_wall_ms() + 60000), RC_OK);
    int64_t until = clock_mono_ms() + 10000;
    while (requests() == 0 && clock_mono_ms() < until)
        usleep(2000);
    int64_t start = clock_mono_ms();
    notify_close(n);
    assert_true(clock_mono_ms() - start < 3000);
    set_hang(false);
    n = open_notify(w, w->url);
    assert_int_equal(wait_for(n, 1, 0, 0).delivered, 1);
    notify_close(n);
}

static void only_records_when_switched_off(void **state)
{
    struct world *w = *state;
    struct notify *n = open_notify(w, "");
    assert_int_equal(notify_send(n, "k", "{}", clock_wall_ms() + 60000), RC_OK);
    assert_true(notify_made_ms(n, "k") > 0);
    notify_close(n);
    n = open_notify(w, w->url);
    assert_true(notify_made_ms(n, "k") > 0);
    assert_int_equal(notify_send(n, "k2", "{}", clock_wall_ms() + 60000), RC_OK);
    wait_for(n, 1, 0, 0);
    notify_close(n);
}

static void refuses_bad_settings(void **state)
{
    struct world *w = *state;
    char why[256];
    struct notify *n = NULL;
    struct notify_setup s = {w->path, "ftp://x", secret};
    assert_int_equal(notify_open(&s, &n, why, sizeof why), RC_INVALID);
    assert_non_null(strstr(why, "notify.url"));
    s = (struct notify_setup){w->path, w->url, "short"};
    assert_int_equal(notify_open(&s, &n, why, sizeof why), RC_INVALID);
    assert_non_null(strstr(why, "notify.secret"));
    s = (struct notify_setup){"/nonexistent/outbox.db", w->url, secret};
    assert_int_equal(notify_open(&s, &n, why, sizeof why), RC_IO);
    assert_null(n);
    n = open_notify(w, w->url);
    static char big[NOTIFY_BODY_MAX + 2];
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(notify_send(n, "k", big, 0), RC_RANGE);
    big[NOTIFY_KEY_MAX + 1] = '\0';
    assert_int_equal(notify_send(n, big, "{}", 0), RC_RANGE);
    assert_int_equal(notify_send(n, "", "{}", 0), RC_RANGE);
    assert_int_equal(notify_send(n, "a\r\nX-Header: b", "{}", 0), RC_RANGE);
    notify_close(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_a_known_text),
        cmocka_unit_test_setup_teardown(delivers_signed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tries_again_with_the_same_delivery, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(expires, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_failure_does_not_hold_up_the_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closes_at_once_while_the_receiver_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_records_when_switched_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_bad_settings, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
