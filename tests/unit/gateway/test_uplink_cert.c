/* Certificates by a date that is not known: real handshakes in memory between an SSL server and our client context, at dates of the test's choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "gateway/uplink_cert.h"

static const int64_t day = 86400000;
static const struct uplink_target to = {.host = "bus.example.cn", .path = "/gateway", .gateway = "gw-7", .ca_file = "ca.pem", .tls = true};

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

static struct identity make(const char *name, int64_t from_ms, int64_t until_ms)
{
    struct identity i = {EVP_EC_gen("P-256"), X509_new()};
    X509_set_version(i.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(i.cert), 1);
    ASN1_TIME_set(X509_getm_notBefore(i.cert), (time_t)(from_ms / 1000));
    ASN1_TIME_set(X509_getm_notAfter(i.cert), (time_t)(until_ms / 1000));
    X509_set_pubkey(i.cert, i.key);
    X509_NAME *n = X509_get_subject_name(i.cert);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(i.cert, n);
    assert_true(X509_sign(i.cert, i.key, EVP_sha256()) > 0);
    return i;
}

static void drop(struct identity *i)
{
    EVP_PKEY_free(i->key);
    X509_free(i->cert);
}

/* libwebsockets' place between OpenSSL and us. */
static struct uplink_cert *judged;
static int on_verify(int good, X509_STORE_CTX *store)
{
    uplink_cert_judge(judged, store, good != 0);
    return good != 0 || X509_STORE_CTX_get_error(store) == X509_V_OK;
}

static SSL_CTX *client_context(const struct identity *trusted)
{
    SSL_CTX *x = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(x, SSL_VERIFY_PEER, on_verify);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(x), trusted->cert);
    return x;
}

/* A handshake; returns whether both ends are content. */
static bool shake(struct uplink_cert *c, const struct identity *server, const char *host, bool wants_client)
{
    SSL_CTX *sx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(sx, server->cert);
    SSL_CTX_use_PrivateKey(sx, server->key);
    if (wants_client)
        SSL_CTX_set_verify(sx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL *a = SSL_new(c->ctx), *b = SSL_new(sx);
    BIO *ab, *ba;
    char byte;
    BIO_new_bio_pair(&ab, 0, &ba, 0);
    SSL_set_bio(a, ab, ab);
    SSL_set_bio(b, ba, ba);
    SSL_set_connect_state(a);
    SSL_set_accept_state(b);
    if (host != NULL)
        SSL_set1_host(a, host);
    judged = c;
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(a);
        SSL_do_handshake(b);
    }
    SSL_read(a, &byte, 1); /* TLS 1.3: the server's judgement comes after the client's handshake is over */
    bool good = SSL_is_init_finished(a) && SSL_is_init_finished(b) && c->alert == 0;
    SSL_free(a);
    SSL_free(b);
    SSL_CTX_free(sx);
    return good;
}

static bool at(struct uplink_cert *c, const struct identity *server, int64_t now_ms, bool trusted, int64_t last_ms)
{
    char why[256] = "";
    assert_true(uplink_cert_begin(c, now_ms, trusted, last_ms, why, sizeof why));
    return shake(c, server, NULL, false);
}

static void test_dates(void **state)
{
    (void)state;
    const int64_t from = UPLINK_CERT_EPOCH_MS + 100 * day, until = from + 90 * day, in_1970 = 5000, far = from + 10000 * day;
    struct identity s = make("bus.example.cn", from, until);
    struct uplink_cert c = {0};
    struct uplink_trouble t;
    char why[256];
    SSL_CTX *ctx = client_context(&s);
    assert_int_equal(uplink_cert_attach(&c, ctx, "", "", why, sizeof why), RC_OK);
    assert_false(uplink_cert_trouble(&c, &to, false, &t));

    /* the date is known */
    assert_true(at(&c, &s, from + day, true, 0));
    assert_int_equal(c.until_ms, until);
    assert_int_equal(c.from_ms, from);
    assert_string_equal(c.subject, "bus.example.cn");
    assert_true(c.begun && c.done);
    assert_false(at(&c, &s, until + day, true, 0));
    assert_int_equal(c.error, X509_V_ERR_CERT_HAS_EXPIRED);
    assert_true(uplink_cert_trouble(&c, &to, false, &t));
    assert_non_null(strstr(t.what, "has expired"));
    assert_false(at(&c, &s, from - day, true, 0));
    assert_int_equal(c.error, X509_V_ERR_CERT_NOT_YET_VALID);
    /* a last date that was wrong is of no weight then */
    assert_true(at(&c, &s, from + day, true, far));

    /* it is not: neither 1970 nor a far year locks the bus out */
    assert_true(at(&c, &s, in_1970, false, 0));
    assert_int_equal(c.error, 0);
    assert_true(at(&c, &s, far, false, 0));
    assert_true(at(&c, &s, in_1970, false, from + day));
    /* but what ended before the last trusted date is refused */
    assert_false(at(&c, &s, in_1970, false, until + day));
    assert_int_equal(c.error, X509_V_ERR_CERT_HAS_EXPIRED);

    /* then it becomes known */
    assert_true(at(&c, &s, in_1970, false, 0));
    assert_true(uplink_cert_again(&c, from + day));
    assert_true(c.trusted);
    assert_false(uplink_cert_again(&c, until + day));
    assert_int_equal(c.error, X509_V_ERR_CERT_HAS_EXPIRED);
    assert_true(at(&c, &s, in_1970, false, 0));
    assert_false(uplink_cert_again(&c, from - day));
    assert_int_equal(c.error, X509_V_ERR_CERT_NOT_YET_VALID);
    SSL_CTX_free(ctx);
    drop(&s);

    /* older than this program */
    struct identity old = make("bus.example.cn", UPLINK_CERT_EPOCH_MS - 100 * day, UPLINK_CERT_EPOCH_MS - day);
    ctx = client_context(&old);
    assert_int_equal(uplink_cert_attach(&c, ctx, "", "", why, sizeof why), RC_OK);
    assert_false(at(&c, &old, UPLINK_CERT_EPOCH_MS - 50 * day, false, 0));
    assert_int_equal(c.error, X509_V_ERR_CERT_HAS_EXPIRED);
    SSL_CTX_free(ctx);
    drop(&old);
}

static void test_names_and_strangers(void **state)
{
    (void)state;
    const int64_t from = UPLINK_CERT_EPOCH_MS + 100 * day;
    struct identity s = make("portal\n<7>forged", from, from + day), other = make("other", from, from + day);
    struct uplink_cert c = {0};
    struct uplink_trouble t;
    char why[256];
    SSL_CTX *ctx = client_context(&s);
    assert_int_equal(uplink_cert_attach(&c, ctx, "", "", why, sizeof why), RC_OK);
    assert_true(uplink_cert_begin(&c, 0, false, 0, why, sizeof why));
    assert_false(shake(&c, &s, "bus.example.cn", false));
    assert_int_equal(c.error, X509_V_ERR_HOSTNAME_MISMATCH);
    assert_true(uplink_cert_trouble(&c, &to, false, &t));
    assert_null(strchr(t.what, '\n'));
    assert_false(at(&c, &other, 0, false, 0)); /* an unknown date opens nothing to strangers */
    assert_int_equal(c.error, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
    SSL_CTX_free(ctx);
    drop(&s);
    drop(&other);
}

static void write_pem(const char *path, const struct identity *i, bool key)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    if (key)
        PEM_write_PrivateKey(f, i->key, NULL, NULL, 0, NULL, NULL);
    else
        PEM_write_X509(f, i->cert);
    fclose(f);
}

static void test_own(void **state)
{
    (void)state;
    const int64_t from = UPLINK_CERT_EPOCH_MS + 100 * day;
    char dir[] = "/tmp/test-uplink-cert-XXXXXX", cert[64], key[64], why[256] = "";
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof cert, "%s/c.pem", dir);
    snprintf(key, sizeof key, "%s/k.pem", dir);
    struct identity s = make("bus.example.cn", from, from + 90 * day), mine = make("gw-7", from, from + 30 * day),
                    next = make("gw-7", from, from + 400 * day);
    struct uplink_cert c = {0};
    struct uplink_trouble t;
    SSL_CTX *ctx = client_context(&s);
    assert_int_equal(uplink_cert_attach(&c, ctx, cert, key, why, sizeof why), RC_IO);
    write_pem(cert, &mine, false);
    write_pem(key, &next, true);
    assert_int_equal(uplink_cert_attach(&c, ctx, cert, key, why, sizeof why), RC_INVALID);
    assert_non_null(strstr(why, "is not the key of"));
    write_pem(key, &mine, true);
    assert_int_equal(uplink_cert_attach(&c, ctx, cert, key, why, sizeof why), RC_OK);
    assert_int_equal(c.own_until_ms, from + 30 * day);
    /* renewed while we run: taken with the next handshake; a broken one is told, and the old one kept */
    write_pem(cert, &next, false);
    write_pem(key, &next, true);
    c.own_mtime.tv_sec = 0;
    assert_true(uplink_cert_begin(&c, from, true, 0, why, sizeof why));
    assert_int_equal(c.own_until_ms, from + 400 * day);
    FILE *f = fopen(cert, "we");
    fputs("half a cert", f);
    fclose(f);
    c.own_mtime.tv_sec = 0;
    assert_false(uplink_cert_begin(&c, from, true, 0, why, sizeof why));
    assert_non_null(strstr(why, "no PEM certificate"));
    SSL_CTX_free(ctx);

    /* a server that wants one, and we have none */
    c = (struct uplink_cert){0};
    ctx = client_context(&s);
    assert_int_equal(uplink_cert_attach(&c, ctx, "", "", why, sizeof why), RC_OK);
    assert_true(uplink_cert_begin(&c, from, true, 0, why, sizeof why));
    assert_false(shake(&c, &s, NULL, true));
    assert_int_equal(c.alert, 116);
    assert_true(uplink_cert_trouble(&c, &to, false, &t));
    assert_int_equal(t.cause, UPLINK_CAUSE_OWN_CERTIFICATE);
    c.alert = 0; /* the same, and the alert was lost on the way */
    assert_false(uplink_cert_trouble(&c, &to, false, &t));
    assert_true(uplink_cert_trouble(&c, &to, true, &t));
    assert_int_equal(t.cause, UPLINK_CAUSE_OWN_CERTIFICATE);
    SSL_CTX_free(ctx);
    drop(&s);
    drop(&mine);
    drop(&next);
    unlink(cert);
    unlink(key);
    rmdir(dir);
}

static void test_due(void **state)
{
    (void)state;
    const int64_t until = UPLINK_CERT_EPOCH_MS + 500 * day;
    int said = 0, days = 0, told[8], n = 0;
    assert_false(uplink_cert_due(0, until, &said, &days));
    for (int64_t now = until - 60 * day; now < until + 5 * day; now += day / 4)
        if (uplink_cert_due(until, now, &said, &days) && n < 8)
            told[n++] = days;
    assert_int_equal(n, 5);
    assert_int_equal(told[0], 30);
    assert_int_equal(told[1], 14);
    assert_int_equal(told[2], 7);
    assert_int_equal(told[3], 1);
    assert_true(told[4] < 0);
    /* renewed, and a start shortly before the end: the nearest only */
    assert_false(uplink_cert_due(until + 400 * day, until, &said, &days));
    assert_true(uplink_cert_due(until, until - 3 * day, &said, &days));
    assert_int_equal(days, 3);
    assert_false(uplink_cert_due(until, until - 3 * day + 1000, &said, &days));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dates), cmocka_unit_test(test_names_and_strangers), cmocka_unit_test(test_own),
                                       cmocka_unit_test(test_due)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
