/*
 * uplink_cert - the certificates of the uplink: by which day the server's is judged while the bus does not know the date, when it and our own run
 * out, why a handshake failed. Reads no clock.
 *
 * A board without a battery wakes up in 1970, and by that date every certificate is not yet valid; a wrong date must not lock a bus out, and no date
 * must not open it to a certificate that ran out long ago. While the date is not trusted, what is certain is a floor: the program is not older than
 * its epoch, and the last trusted time is past. A certificate that ended before the floor is refused; one that begins after it may have begun. When
 * the date is known the connection that stands is judged again.
 */
#ifndef SCHOOLWARD_UPLINK_CERT_H
#define SCHOOLWARD_UPLINK_CERT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "../core/rc.h"
#include "uplink_trouble.h"

#define UPLINK_CERT_EPOCH_MS INT64_C(1767225600000) /* 2026-01-01: no gateway of this program ran before */

struct uplink_cert {
    SSL_CTX *ctx;                       /* libwebsockets' client context */
    char cert_file[256], key_file[256]; /* our own, "" none */
    struct timespec own_mtime;
    int64_t own_until_ms; /* when our own runs out, 0 none or unknown */
    /* of the handshake that runs or ran */
    bool trusted;  /* judged by a trusted date */
    int64_t by_ms; /* the date it was judged by */
    bool begun, done;
    bool asked; /* the server asked for a certificate of ours */
    long error; /* X509_V_ERR_*, 0 none */
    int alert;  /* received, 0 none */
    char subject[64];
    int64_t from_ms, until_ms;    /* when all of the chain is valid, 0 unknown; after an error: of the certificate that failed */
    int said_days, own_said_days; /* nearest warning given, 0 none */
};

/*
 * uplink_cert_attach - take over judging in this context; loads our own certificate.
 *   cert_file, key_file  PEM (chain, key), "" none
 *   returns  RC_OK; RC_IO a file cannot be read, RC_INVALID they do not fit each other, RC_NO_MEMORY: reason in why
 */
enum rc uplink_cert_attach(struct uplink_cert *c, SSL_CTX *ctx, const char *cert_file, const char *key_file, char *why, size_t cap) RC_MUST_USE;

/*
 * uplink_cert_begin - before each handshake; reads our own files again when they changed (a failure keeps the old ones; false: reason in why).
 *   now_ms   the bus's date, trusted: whether GNSS or NTP stands behind it
 *   last_ms  the last date that was trusted, 0 unknown
 */
bool uplink_cert_begin(struct uplink_cert *c, int64_t now_ms, bool trusted, int64_t last_ms, char *why, size_t cap);

/* OpenSSL's question for each certificate of the chain; excuses what only a wrong date makes wrong (by X509_STORE_CTX_set_error). */
void uplink_cert_judge(struct uplink_cert *c, X509_STORE_CTX *store, bool good);

/* The date became known: is what was accepted valid on it? false: error is set. */
bool uplink_cert_again(struct uplink_cert *c, int64_t now_ms);

/*
 * Why the handshake failed, if it was a certificate or an alert; false: it was not.
 *   cut  the connection ended without a word: in TLS 1.3 a server judges our certificate after our handshake is over, and its alert is often lost
 */
bool uplink_cert_trouble(const struct uplink_cert *c, const struct uplink_target *to, bool cut, struct uplink_trouble *ret_t);

/*
 * uplink_cert_due - is a warning due that a certificate runs out? Once each at 30, 14, 7 and 1 days before.
 *   said_days  what was warned last, kept by the caller; a certificate that was renewed begins anew
 *   returns    true: say that it ends in *ret_days (negative: it ended)
 */
bool uplink_cert_due(int64_t until_ms, int64_t now_ms, int *said_days, int *ret_days);

#endif
