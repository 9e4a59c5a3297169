#include "uplink_trouble.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../core/wire.h"

enum {
    RETRY_AFTER_MAX_S = 3600, /* a typing error of a proxy must not silence a bus for a day */
    RESTART_SPREAD = 4,       /* times the first pause: all buses lost the server at one moment, and it has just begun to read its journal */
};

const char *uplink_trouble_word(enum uplink_cause cause)
{
    static const char *const words[UPLINK_CAUSES] = {"",       "name", "unreachable", "down",    "portal",   "certificate", "own_certificate",
                                                     "tls",    "http", "refused",     "version", "replaced", "busy",        "restart",
                                                     "silent", "lost", "fault"};
    return cause < UPLINK_CAUSES ? words[cause] : "";
}

void uplink_trouble_say(struct uplink_trouble *ret_t, enum uplink_cause cause, const char *what, const char *todo)
{
    *ret_t = (struct uplink_trouble){.cause = cause};
    snprintf(ret_t->what, sizeof ret_t->what, "%s", what);
    snprintf(ret_t->todo, sizeof ret_t->todo, "%s", todo[0] != '\0' ? todo : "records are kept and sent later");
}

#define SAY(t, why, todo_text, ...)                                                                                                                  \
    do {                                                                                                                                             \
        uplink_trouble_say((t), (why), "", (todo_text));                                                                                             \
        snprintf((t)->what, sizeof(t)->what, __VA_ARGS__);                                                                                           \
    } while (0)

void uplink_trouble_name(struct uplink_trouble *ret_t, const struct uplink_target *to, const char *error)
{
    SAY(ret_t, UPLINK_CAUSE_NAME, "check the mobile link (SIM, signal, data volume), then the name in [gateway] server and the name servers",
        "the name %.60s cannot be resolved (%.60s)", to->host, error);
}

void uplink_trouble_connect(struct uplink_trouble *ret_t, const struct uplink_target *to, int error)
{
    if (error == ECONNREFUSED || error == ECONNRESET)
        SAY(ret_t, UPLINK_CAUSE_DOWN, "is the server up, and the port in [gateway] server right?", "%.80s cannot be reached (%s)", to->host,
            strerror(error));
    else if (error != 0)
        SAY(ret_t, UPLINK_CAUSE_UNREACHABLE, "there is no way to it: check the mobile link (SIM, signal, modem)", "%.80s cannot be reached (%s)",
            to->host, strerror(error));
    else
        SAY(ret_t, UPLINK_CAUSE_UNREACHABLE, "a dead zone, or a firewall between: nothing to do while the bus is out of coverage",
            "%.80s cannot be reached (no answer)", to->host);
}

static int64_t retry_after_ms(const char *text)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return 0;
    unsigned long s = strtoul(text, &end, 10);
    if (*end != '\0')
        return 0;
    return (int64_t)(s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * 1000;
}

void uplink_trouble_http(struct uplink_trouble *ret_t, const struct uplink_target *to, unsigned status, const char *retry_after, const char *type)
{
    bool html = strncasecmp(type, "text/html", 9) == 0;
    if (status == 401 || status == 403) {
        uplink_trouble_closed(ret_t, to, WIRE_CLOSE_UNAUTHORISED, "");
        snprintf(ret_t->what, sizeof ret_t->what, "refused with HTTP status %u", status);
    } else if (status == 503 || status == 429) {
        SAY(ret_t, UPLINK_CAUSE_BUSY, "it is starting or overloaded: waiting as long as it asks", "the server says 'later' (HTTP status %u)", status);
        ret_t->retry_after_ms = retry_after_ms(retry_after);
    } else if (status == 511 || (status >= 300 && status < 400) || (status == 200 && html)) { /* RFC 6585 6; the usual ways of portals, RFC 8952 1 */
        SAY(ret_t, UPLINK_CAUSE_PORTAL, "log this network in, renew the SIM's volume, or take the bus off this WLAN; nothing was sent to that page",
            "a login page answers in place of %.60s (HTTP status %u)", to->host, status);
    } else if (status >= 500) {
        SAY(ret_t, UPLINK_CAUSE_BUSY, "the proxy is there, the server behind it is not: is it up?", "HTTP status %u instead of a websocket", status);
        ret_t->retry_after_ms = retry_after_ms(retry_after);
    } else {
        SAY(ret_t, UPLINK_CAUSE_HTTP, "is the path in [gateway] server right, and does the proxy pass websockets?",
            "HTTP status %u instead of a websocket at path %.60s", status, to->path);
    }
}

void uplink_trouble_certificate(struct uplink_trouble *ret_t, const struct uplink_target *to, long error, const char *subject, const char *when,
                                const char *valid)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        SAY(ret_t, UPLINK_CAUSE_CERTIFICATE, "renew the certificate on the server; if it is new, the bus's clock is wrong (chrony, GNSS)",
            "TLS: the server's certificate (%.50s, valid %.30s) has expired by the bus's date %.12s", subject, valid, when);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        SAY(ret_t, UPLINK_CAUSE_CERTIFICATE, "is the clock of the machine that made it right, and the bus's (chrony, GNSS)?",
            "TLS: the server's certificate (%.50s, valid %.30s) is not yet valid on %.12s", subject, valid, when);
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        SAY(ret_t, UPLINK_CAUSE_CERTIFICATE,
            "write the certificate's name into [gateway] server, or a login page of this network answers in its place",
            "TLS: the certificate (%.60s) is not for %.60s", subject, to->host);
        return;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        if (to->ca_file[0] != '\0')
            SAY(ret_t, UPLINK_CAUSE_CERTIFICATE,
                "put who signs the server's certificate into that file, or a login page of this network answers in its place",
                "TLS: the certificate (%.50s) is not signed by who %.60s names", subject, to->ca_file);
        else
            SAY(ret_t, UPLINK_CAUSE_CERTIFICATE, "name who signed it by [gateway] ca_file, or a login page of this network answers in its place",
                "TLS: the certificate (%.60s) is not signed by anybody this system trusts", subject);
        return;
    default:
        SAY(ret_t, UPLINK_CAUSE_CERTIFICATE, "mend the certificate on the server, or look what answers in its place",
            "TLS: the certificate (%.50s) is refused: %s", subject, X509_verify_cert_error_string(error));
    }
}

void uplink_trouble_alert(struct uplink_trouble *ret_t, const struct uplink_target *to, int alert, bool own_cert)
{
    switch (alert) { /* RFC 8446 6.2 */
    case 116:
        SAY(ret_t, UPLINK_CAUSE_OWN_CERTIFICATE, "give this gateway one by [gateway] cert_file and key_file",
            "TLS: the server wants a client certificate");
        return;
    case 45:
        SAY(ret_t, UPLINK_CAUSE_OWN_CERTIFICATE, "renew cert_file; if it is new, the server's clock is wrong",
            "TLS: the server says that our certificate has expired");
        return;
    case 44: SAY(ret_t, UPLINK_CAUSE_OWN_CERTIFICATE, "enrol this gateway again", "TLS: the server says that our certificate is revoked"); return;
    case 42:
    case 43:
    case 46:
    case 48:
        SAY(ret_t, UPLINK_CAUSE_OWN_CERTIFICATE, "is it signed by who the server trusts? enrol this gateway again",
            "TLS: the server does not take our certificate (alert %d)", alert);
        return;
    case 112:
        SAY(ret_t, UPLINK_CAUSE_TLS, "is the name in [gateway] server right?", "TLS: nobody at this address knows the name %.80s", to->host);
        return;
    case 70: SAY(ret_t, UPLINK_CAUSE_TLS, "update the older one", "TLS: server and gateway have no version in common"); return;
    case 40:
        if (own_cert)
            break;
        SAY(ret_t, UPLINK_CAUSE_OWN_CERTIFICATE, "if the server wants a client certificate: [gateway] cert_file and key_file",
            "TLS: the server ended the handshake (alert 40)");
        return;
    default: break;
    }
    SAY(ret_t, UPLINK_CAUSE_TLS, "look into the log of the server or of the proxy before it", "TLS: the server ended the handshake (alert %d)",
        alert);
}

void uplink_trouble_closed(struct uplink_trouble *ret_t, const struct uplink_target *to, unsigned code, const char *reason)
{
    static const struct {
        unsigned code;
        enum uplink_cause cause;
        const char *todo;
    } known[] = {
        {WIRE_CLOSE_VERSION, UPLINK_CAUSE_VERSION, "server and gateway have no protocol version in common: update the older one"},
        {WIRE_CLOSE_TOO_FAST, UPLINK_CAUSE_BUSY, "above the server's rate limit: waiting"},
        {WIRE_CLOSE_MALFORMED, UPLINK_CAUSE_FAULT, "the server could not read a record: same versions on both ends?"},
        {WIRE_CLOSE_SILENT, UPLINK_CAUSE_SILENT, "the server heard nothing for too long: check the mobile link"},
        {WIRE_CLOSE_RESTART, UPLINK_CAUSE_RESTART, "the server restarts: nothing to do"},
        {WIRE_CLOSE_TOO_BIG, UPLINK_CAUSE_FAULT, "sending smaller batches"},
    };
    SAY(ret_t, UPLINK_CAUSE_LOST, "", "closed by the server with %u %.100s", code, reason);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].code == code) {
            ret_t->cause = known[i].cause;
            snprintf(ret_t->todo, sizeof ret_t->todo, "%s", known[i].todo);
        }
    if (code == WIRE_CLOSE_UNAUTHORISED) {
        ret_t->cause = UPLINK_CAUSE_REFUSED;
        snprintf(ret_t->todo, sizeof ret_t->todo,
                 "the server does not know gateway '%.60s' or its secret: compare [gateway] id and secret_file with the server's fleet file",
                 to->gateway);
    } else if (code == WIRE_CLOSE_REPLACED) {
        ret_t->cause = UPLINK_CAUSE_REPLACED;
        snprintf(ret_t->todo, sizeof ret_t->todo, "another gateway connected with the id '%.60s': give each bus its own [gateway] id", to->gateway);
    }
}

static int64_t below(int64_t n, uint64_t random)
{
    return n > 0 ? (int64_t)(random % (uint64_t)n) : 0;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t uplink_trouble_pause_ms(const struct uplink_trouble *t, const struct uplink_patience *p, unsigned tries, uint64_t random)
{
    int64_t cap = p->retry_min_ms;
    for (unsigned i = 1; i < tries && cap < p->retry_max_ms; i++)
        cap *= 2;
    cap = least(cap, p->retry_max_ms);
    switch (t->cause) {
    case UPLINK_CAUSE_REFUSED:
    case UPLINK_CAUSE_VERSION: /* somebody has to do something first */
    case UPLINK_CAUSE_OWN_CERTIFICATE: return p->refused_ms / 2 + below(p->refused_ms / 2, random);
    case UPLINK_CAUSE_PORTAL: /* the bus may drive out of it: sooner, but not often on somebody's network */
    case UPLINK_CAUSE_CERTIFICATE: return least(p->refused_ms, p->retry_max_ms) / 2 + below(least(p->refused_ms, p->retry_max_ms) / 2, random);
    case UPLINK_CAUSE_REPLACED: return p->retry_max_ms / 6 + below(p->retry_max_ms, random);
    case UPLINK_CAUSE_BUSY:
        if (t->retry_after_ms > 0) /* all who were sent away at one moment heard the same figure */
            return t->retry_after_ms + below(t->retry_after_ms / 2 + p->retry_min_ms, random);
        return p->retry_max_ms / 6 + below(p->retry_max_ms, random);
    case UPLINK_CAUSE_NAME:
    case UPLINK_CAUSE_UNREACHABLE: return 20 + below(least(cap, p->silent_ms), random);
    case UPLINK_CAUSE_RESTART:
        if (cap < p->retry_min_ms * RESTART_SPREAD)
            cap = least(p->retry_min_ms * RESTART_SPREAD, p->retry_max_ms);
        return 20 + below(cap, random);
    case UPLINK_CAUSE_NONE:
    case UPLINK_CAUSE_DOWN:
    case UPLINK_CAUSE_TLS:
    case UPLINK_CAUSE_HTTP:
    case UPLINK_CAUSE_SILENT:
    case UPLINK_CAUSE_LOST:
    case UPLINK_CAUSE_FAULT:
    case UPLINK_CAUSES: break;
    }
    return 20 + below(cap, random);
}
