#include "uplink_cert.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../core/base/clock.h"

static const int64_t day_ms = 86400000;

static int64_t when_ms(const ASN1_TIME *t)
{
    struct tm tm;
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm) * 1000;
}

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "unknown";
}

static void name_of(X509 *x, char *out, size_t cap)
{
    char text[sizeof((struct uplink_cert *)0)->subject] = "";
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, text, (int)sizeof text) <= 0)
        snprintf(text, sizeof text, "without a name");
    for (char *p = text; *p != '\0'; p++) /* a stranger's text, for a log */
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            *p = '?';
    snprintf(out, cap, "%s", text);
}

/* --- our own --- */

static enum rc load_own(struct uplink_cert *c, char *why, size_t cap)
{
    struct stat st;
    if (stat(c->cert_file, &st) != 0) {
        snprintf(why, cap, "cert_file %s cannot be read: %s", c->cert_file, strerror(errno));
        return RC_IO;
    }
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c->ctx, c->cert_file) != 1) {
        snprintf(why, cap, "cert_file %s is no PEM certificate: %s", c->cert_file, reason());
        return RC_IO;
    }
    if (SSL_CTX_use_PrivateKey_file(c->ctx, c->key_file, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(c->ctx) != 1) {
        snprintf(why, cap, "key_file %s is not the key of cert_file %s: %s", c->key_file, c->cert_file, reason());
        return RC_INVALID;
    }
    c->own_mtime = st.st_mtim;
    c->own_until_ms = when_ms(X509_get0_notAfter(SSL_CTX_get0_certificate(c->ctx)));
    c->own_said_days = 0;
    return RC_OK;
}

/* --- attached to OpenSSL --- */

static int ours = -1; /* index of OpenSSL's extra data */

/* What the peer says and how far we are; SSL_CTX_set_info_callback(3). */
static void on_info(const SSL *ssl, int where, int what)
{
    struct uplink_cert *c = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ours);
    if (c == NULL)
        return;
    if ((where & SSL_CB_HANDSHAKE_START) != 0)
        c->begun = true;
    if ((where & SSL_CB_HANDSHAKE_DONE) != 0)
        c->done = true;
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (what >> 8) == SSL3_AL_FATAL)
        c->alert = what & 0xff;
}

static int on_asked(SSL *ssl, void *arg)
{
    (void)ssl;
    ((struct uplink_cert *)arg)->asked = true;
    return 1;
}

enum rc uplink_cert_attach(struct uplink_cert *c, SSL_CTX *ctx, const char *cert_file, const char *key_file, char *why, size_t cap)
{
    if (ours < 0)
        ours = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    c->ctx = ctx;
    snprintf(c->cert_file, sizeof c->cert_file, "%s", cert_file);
    snprintf(c->key_file, sizeof c->key_file, "%s", key_file);
    if (ours < 0 || SSL_CTX_set_ex_data(ctx, ours, c) != 1) {
        snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    SSL_CTX_set_info_callback(ctx, on_info);
    SSL_CTX_set_cert_cb(ctx, on_asked, c);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* a resumed session would skip the look at the certificate */
    return cert_file[0] != '\0' ? load_own(c, why, cap) : RC_OK;
}

bool uplink_cert_begin(struct uplink_cert *c, int64_t now_ms, bool trusted, int64_t last_ms, char *why, size_t cap)
{
    struct stat st;
    bool fine = true;
    if (c->ctx == NULL)
        return true;
    if (c->cert_file[0] != '\0' && stat(c->cert_file, &st) == 0 &&
        (st.st_mtim.tv_sec != c->own_mtime.tv_sec || st.st_mtim.tv_nsec != c->own_mtime.tv_nsec))
        fine = load_own(c, why, cap) == RC_OK;
    int64_t by_ms = UPLINK_CERT_EPOCH_MS;
    if (trusted && now_ms > by_ms)
        by_ms = now_ms;
    else if (!trusted && last_ms > by_ms)
        by_ms = last_ms;
    c->trusted = trusted;
    c->by_ms = by_ms;
    c->begun = c->done = c->asked = false;
    c->error = 0;
    c->alert = 0;
    c->subject[0] = '\0';
    c->from_ms = c->until_ms = 0;
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(c->ctx), (time_t)(by_ms / 1000));
    ERR_clear_error();
    return fine;
}

void uplink_cert_judge(struct uplink_cert *c, X509_STORE_CTX *store, bool good)
{
    long error = X509_STORE_CTX_get_error(store);
    X509 *x = X509_STORE_CTX_get_current_cert(store);
    if (!good && error == X509_V_ERR_CERT_NOT_YET_VALID && !c->trusted) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        good = true;
    }
    if (x == NULL) {
        if (!good)
            c->error = error;
        return;
    }
    int64_t from_ms = when_ms(X509_get0_notBefore(x)), until_ms = when_ms(X509_get0_notAfter(x));
    if (!good) {
        c->error = error;
        c->from_ms = from_ms;
        c->until_ms = until_ms;
        name_of(x, c->subject, sizeof c->subject);
        return;
    }
    if (c->error != 0)
        return;
    if (from_ms > c->from_ms)
        c->from_ms = from_ms;
    if (until_ms != 0 && (c->until_ms == 0 || until_ms <= c->until_ms)) {
        c->until_ms = until_ms;
        name_of(x, c->subject, sizeof c->subject);
    }
}

bool uplink_cert_again(struct uplink_cert *c, int64_t now_ms)
{
    c->trusted = true;
    c->by_ms = now_ms;
    if (c->until_ms != 0 && now_ms > c->until_ms)
        c->error = X509_V_ERR_CERT_HAS_EXPIRED;
    else if (now_ms < c->from_ms)
        c->error = X509_V_ERR_CERT_NOT_YET_VALID;
    return c->error == 0;
}

bool uplink_cert_trouble(const struct uplink_cert *c, const struct uplink_target *to, bool cut, struct uplink_trouble *ret_t)
{
    char when[CLOCK_TEXT_MAX], from[CLOCK_TEXT_MAX], until[CLOCK_TEXT_MAX], valid[64] = "";
    if (c->error != 0) {
        clock_text(c->by_ms, when);
        clock_text(c->from_ms, from);
        clock_text(c->until_ms, until);
        snprintf(valid, sizeof valid, "%.10s to %.10s", from, until);
        when[10] = '\0'; /* the day is enough */
        uplink_trouble_certificate(ret_t, to, c->error, c->subject, when, c->until_ms != 0 ? valid : "");
        return true;
    }
    if (c->alert != 0) {
        uplink_trouble_alert(ret_t, to, c->alert, c->cert_file[0] != '\0');
        return true;
    }
    if (cut && c->asked && c->done) {
        uplink_trouble_alert(ret_t, to, c->cert_file[0] != '\0' ? 42 : 116, c->cert_file[0] != '\0'); /* bad_certificate, certificate_required */
        return true;
    }
    return false;
}

bool uplink_cert_due(int64_t until_ms, int64_t now_ms, int *said_days, int *ret_days)
{
    static const int steps[] = {1, 7, 14, 30};
    if (until_ms == 0)
        return false;
    int64_t left = until_ms - now_ms;
    int days = (int)(left / day_ms) - (left < 0 ? 1 : 0);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (left > steps[i] * day_ms)
            continue;
        int step = left < 0 ? -1 : steps[i]; /* that it ended is said once more */
        if (*said_days != 0 && *said_days <= step)
            return false;
        *said_days = step;
        *ret_days = days;
        return true;
    }
    *said_days = 0;
    return false;
}
