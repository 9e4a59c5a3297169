/*
 * uplink_trouble - why there is no connection: a word for the status, a plain line that says what to do, and how long to wait. Pure: no clock, no
 * socket. docs/operations.md 5 lists the lines.
 */
#ifndef SCHOOLWARD_UPLINK_TROUBLE_H
#define SCHOOLWARD_UPLINK_TROUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum uplink_cause {
    UPLINK_CAUSE_NONE,
    UPLINK_CAUSE_NAME,            /* the name is not resolved */
    UPLINK_CAUSE_UNREACHABLE,     /* no route, no answer: the mobile link */
    UPLINK_CAUSE_DOWN,            /* the machine answers, the program does not */
    UPLINK_CAUSE_PORTAL,          /* a login page of somebody's network answers */
    UPLINK_CAUSE_CERTIFICATE,     /* the server's certificate is not good */
    UPLINK_CAUSE_OWN_CERTIFICATE, /* the server does not take ours */
    UPLINK_CAUSE_TLS,             /* another fault of TLS */
    UPLINK_CAUSE_HTTP,            /* an answer, but no websocket */
    UPLINK_CAUSE_REFUSED,         /* unknown gateway or wrong secret */
    UPLINK_CAUSE_VERSION,
    UPLINK_CAUSE_REPLACED,
    UPLINK_CAUSE_BUSY, /* 503, 429, 4429: later */
    UPLINK_CAUSE_RESTART,
    UPLINK_CAUSE_SILENT, /* a connection fell silent, or no Welcome came */
    UPLINK_CAUSE_LOST,   /* a connection ended without a word */
    UPLINK_CAUSE_FAULT,  /* messages that cannot be read, own faults */
    UPLINK_CAUSES
};

struct uplink_trouble {
    enum uplink_cause cause;
    int64_t retry_after_ms; /* what the server asked for, 0 nothing */
    char what[200];         /* what happened */
    char todo[240];         /* what to do */
};

/* What was being tried; texts of the configuration. */
struct uplink_target {
    const char *host, *path, *gateway, *ca_file;
    bool tls;
};

/* The word of a cause: "name", "portal" ...; "" for none. */
const char *uplink_trouble_word(enum uplink_cause cause);

/* The name could not be resolved; error is the resolver's text. */
void uplink_trouble_name(struct uplink_trouble *ret_t, const struct uplink_target *to, const char *error);
/* No TCP connection: error is an errno value, 0 = no answer at all. */
void uplink_trouble_connect(struct uplink_trouble *ret_t, const struct uplink_target *to, int error);
/*
 * HTTP was answered, but not by 101.
 *   status       100..999
 *   retry_after  text of the header, "" none (RFC 9110 10.2.3; only seconds are understood: a date needs a clock that is right)
 *   type         text of Content-Type, "" none
 */
void uplink_trouble_http(struct uplink_trouble *ret_t, const struct uplink_target *to, unsigned status, const char *retry_after, const char *type);
/*
 * The server's certificate does not pass.
 *   error    X509_V_ERR_* of OpenSSL
 *   subject  of the certificate that fails, "" unknown
 *   when     the day it was judged by, "2026-11-25"
 *   valid    "2026-01-01 to 2026-12-31", "" unknown
 */
void uplink_trouble_certificate(struct uplink_trouble *ret_t, const struct uplink_target *to, long error, const char *subject, const char *when,
                                const char *valid);
/* The server ended TLS with this alert (RFC 8446 6.2), own_cert: we have a certificate of our own. */
void uplink_trouble_alert(struct uplink_trouble *ret_t, const struct uplink_target *to, int alert, bool own_cert);
/* The server closed the websocket: docs/protocol.md 1.4; reason is its text, "" none. */
void uplink_trouble_closed(struct uplink_trouble *ret_t, const struct uplink_target *to, unsigned code, const char *reason);
/* Anything else, in our own words; what and todo may be "". */
void uplink_trouble_say(struct uplink_trouble *ret_t, enum uplink_cause cause, const char *what, const char *todo);

struct uplink_patience {
    int64_t retry_min_ms, retry_max_ms; /* full jitter between 0 and min * 2^n, at most max */
    int64_t silent_ms;  /* at most this while the network does not answer: a bus that leaves a dead zone is there again within seconds */
    int64_t refused_ms; /* about this after somebody has to do something */
};

/*
 * uplink_trouble_pause_ms - how long to wait before the next try. Full jitter: a county of gateways that lost one server at one moment must not come
 * back at one moment.
 *   tries   failures in a row, this one included
 *   random  any 64 bits
 */
int64_t uplink_trouble_pause_ms(const struct uplink_trouble *t, const struct uplink_patience *p, unsigned tries, uint64_t random);

#endif
