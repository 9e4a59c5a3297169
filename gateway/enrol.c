#include "enrol.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "care.h"
#include "files.h"

enum { WAIT_MS = 60000, BYE_MS = 3000, SETS_MAX = 16 };

struct talk {
    const struct enrol_setup *setup;
    const char *dir;
    struct wire_enrol enrol;
    struct lws *wsi;
    bool due, stored, told, over;
    enum rc rc;
    char *why;
    size_t cap;
    uint8_t rx[WIRE_ORDER_MAX];
    size_t rx_n;
    struct wire_frame frame;
};

static void fail(struct talk *t, enum rc rc, const char *text)
{
    if (t->over)
        return; /* the first reason is the right one */
    t->over = true;
    if (t->stored)
        return; /* what is on disk works */
    t->rc = rc;
    snprintf(t->why, t->cap, "%s", text);
}

static int add_headers(struct talk *t, struct lws *wsi, void *in, size_t len)
{
    static const char word[] = "Enrol";
    unsigned char **p = in, *end = *p + len;
    int r = lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, (const unsigned char *)word, sizeof word - 1, p, end);
    return r | lws_add_http_header_by_name(wsi, (const unsigned char *)"schoolward-gateway:", (const unsigned char *)t->enrol.gateway,
                                           (int)strlen(t->enrol.gateway), p, end);
}

static int write_enrol(struct talk *t)
{
    uint8_t buf[LWS_PRE + WIRE_SMALL_MAX];
    size_t n;
    t->enrol.stored = t->stored;
    if (!t->due || wire_encode_enrol(&t->enrol, buf + LWS_PRE, WIRE_SMALL_MAX, &n) != RC_OK)
        return 0;
    t->due = false;
    t->told = t->stored;
    return lws_write(t->wsi, buf + LWS_PRE, n, LWS_WRITE_BINARY) < (int)n ? -1 : 0;
}

static int take(struct talk *t)
{
    const char *fault = "";
    if (wire_decode(t->rx, t->rx_n, &t->frame, &fault) != RC_OK || t->frame.kind != WIRE_ENROLLED) {
        fail(t, RC_INVALID, "the answer cannot be read: is that a Schoolward server of this version?");
        return -1;
    }
    const struct wire_enrolled *e = &t->frame.enrolled;
    /* the secret last: with it the gateway is enrolled, and what it trusts must be there */
    enum rc rc = care_put_trust(t->dir, e->key, e->ca, t->why, t->cap);
    if (rc == RC_OK)
        rc = care_put_secret(t->dir, e->secret, t->why, t->cap);
    explicit_bzero(&t->frame.enrolled.secret, sizeof t->frame.enrolled.secret);
    explicit_bzero(t->rx, sizeof t->rx);
    if (rc != RC_OK) {
        t->rc = rc;
        t->over = true;
        return -1;
    }
    t->stored = t->due = true;
    t->rc = RC_OK;
    lws_callback_on_writable(t->wsi);
    return 0;
}

static int receive(struct talk *t, const void *in, size_t len)
{
    if (t->rx_n + len > sizeof t->rx) {
        fail(t, RC_INVALID, "the answer is too long");
        return -1;
    }
    memcpy(t->rx + t->rx_n, in, len);
    t->rx_n += len;
    if (lws_remaining_packet_payload(t->wsi) > 0 || !lws_is_final_fragment(t->wsi))
        return 0;
    int r = take(t);
    t->rx_n = 0;
    return r;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct talk *t = lws_context_user(lws_get_context(wsi));
    char text[200];
    (void)user;
    switch ((int)reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: return add_headers(t, wsi, in, len) != 0 ? -1 : 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        t->wsi = wsi;
        t->due = true;
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        snprintf(text, sizeof text, "the server cannot be reached: %.120s: check address, certificate and clock",
                 in != NULL ? (const char *)in : "no answer");
        fail(t, RC_IO, text);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE: return write_enrol(t);
    case LWS_CALLBACK_CLIENT_RECEIVE: return receive(t, in, len);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        snprintf(text, sizeof text, "refused: %.*s", len > 2 ? (int)(len - 2 < 150 ? len - 2 : 150) : 0, len > 2 ? (const char *)in + 2 : "");
        fail(t, RC_DENIED, text);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED: fail(t, RC_IO, "the connection was lost: try again with the same code"); return 0;
    default: return 0;
    }
}

/* /proc/cpuinfo of ARM boards, else the machine's DMI serial; "" where there is none or only root may know. */
static void serial_of_hardware(char out[WIRE_TEXT_MAX + 1])
{
    char line[256];
    out[0] = '\0';
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f != NULL && out[0] == '\0' && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "Serial", 6) == 0 && strchr(line, ':') != NULL)
            snprintf(out, WIRE_TEXT_MAX + 1, "%.63s", strchr(line, ':') + 2);
    if (f != NULL)
        fclose(f);
    f = out[0] == '\0' ? fopen("/sys/class/dmi/id/product_serial", "re") : NULL;
    if (f != NULL) {
        if (fgets(line, sizeof line, f) != NULL)
            snprintf(out, WIRE_TEXT_MAX + 1, "%.63s", line);
        fclose(f);
    }
    size_t n = 0;
    while (isgraph((unsigned char)out[n]))
        n++;
    out[n] = '\0';
}

static bool loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static void ask(struct talk *t, const struct uplink_url *url, const char *ca)
{
    static const struct lws_protocols protocols[] = {{.name = WIRE_SUBPROTOCOL, .callback = callback, .rx_buffer_size = 4096}, {.name = NULL}};
    char host[200];
    lws_set_log_level(0, NULL);
    struct lws_context_creation_info i = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = (url->tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0) | (ca[0] != '\0' ? LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS : 0),
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .alpn = "http/1.1",
        .client_ssl_ca_filepath = url->tls && ca[0] != '\0' ? ca : NULL,
        .user = t,
    };
    struct lws_context *context = lws_create_context(&i);
    if (context == NULL) {
        fail(t, RC_IO, "TLS cannot start: is ca_file a PEM certificate?");
        return;
    }
    snprintf(host, sizeof host, "%s:%d", url->host, url->port);
    struct lws_client_connect_info c = {
        .context = context,
        .address = url->host,
        .port = url->port,
        .ssl_connection = url->tls ? LCCSCF_USE_SSL : 0,
        .path = url->path,
        .host = url->port == (url->tls ? 443 : 80) ? url->host : host,
        .protocol = WIRE_SUBPROTOCOL,
        .local_protocol_name = WIRE_SUBPROTOCOL,
        .alpn = "http/1.1",
    };
    if (lws_client_connect_via_info(&c) == NULL && !t->over)
        fail(t, RC_IO, "no connection could be begun");
    int64_t until = clock_mono_ms() + WAIT_MS, bye = 0;
    while (!t->over && clock_mono_ms() < until) {
        lws_service(context, 0);
        if (t->told && bye == 0)
            bye = clock_mono_ms() + BYE_MS; /* the server closes when it has noted it */
        if (bye != 0 && clock_mono_ms() > bye)
            break;
    }
    if (!t->over && !t->stored)
        fail(t, RC_TIMEOUT, "no answer within a minute");
    lws_context_destroy(context);
}

enum rc enrol_run(const struct enrol_setup *s, char *why, size_t cap)
{
    struct uplink_url url;
    char ca[320], given[UPLINK_URL_MAX + 1];
    snprintf(given, sizeof given, "%s", s->server != NULL ? s->server : s->config->gateway.server);
    enum rc rc = uplink_url_parse(given, &url, why, cap);
    if (rc != RC_OK)
        return rc;
    if (!url.tls && !loopback(url.host)) {
        snprintf(why, cap, "%s is not encrypted: the secret would be read on the way; use wss://", given);
        return RC_INVALID;
    }
    struct talk *t = calloc(1, sizeof *t);
    if (t == NULL)
        return RC_NO_MEMORY;
    t->setup = s;
    t->dir = s->config->gateway.state_dir;
    t->why = why;
    t->cap = cap;
    t->rc = RC_TIMEOUT;
    snprintf(t->enrol.gateway, sizeof t->enrol.gateway, "%s", s->config->gateway.id);
    snprintf(t->enrol.firmware, sizeof t->enrol.firmware, "%s", SCHOOLWARD_VERSION);
    serial_of_hardware(t->enrol.serial);
    size_t n = 0;
    for (const char *c = s->code; *c != '\0' && n < WIRE_CODE_MAX; c++)
        if (isalnum((unsigned char)*c))
            t->enrol.code[n++] = (char)toupper((unsigned char)*c);
    care_ca(t->dir, s->config, ca, sizeof ca);
    if (n == 0) {
        t->rc = RC_INVALID;
        snprintf(why, cap, "the code is empty");
    } else if (mkdir(t->dir, 0700) != 0 && errno != EEXIST) {
        t->rc = RC_IO;
        snprintf(why, cap, "%s: cannot be made: %s", t->dir, strerror(errno));
    } else {
        ask(t, &url, ca);
    }
    rc = t->rc;
    explicit_bzero(t, sizeof *t);
    free(t);
    return rc;
}

/* --- the command --- */

static int usage(void)
{
    fputs("usage: schoolward-gateway enrol --code CODE [--server wss://HOST[:PORT][/PATH]] [--config FILE] [--set SECTION.KEY=V]...\n"
          "  CODE comes from `schoolward-server device enrol GATEWAY`; it is good once, for 24 hours.\n"
          "  Without --code it is asked for. Stop the service before, start it after.\n",
          stderr);
    return EX_USAGE;
}

static bool read_code(char *out, size_t cap)
{
    fputs("注册码 · enrolment code: ", stderr);
    return fgets(out, (int)cap, stdin) != NULL && out[0] != '\n';
}

int enrol_main(int argc, char **argv)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
                                          {"server", required_argument, NULL, 'u'}, {"code", required_argument, NULL, 'k'},
                                          {"help", no_argument, NULL, 'h'},         {0}};
    static struct conf_problems problems;
    const char *path = "/etc/schoolward/gateway.conf", *set[SETS_MAX], *server = NULL;
    char code[128] = "", why[320] = "";
    size_t sets = 0;
    struct config *config = NULL;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'c')
            path = optarg;
        else if (c == 's' && sets < SETS_MAX)
            set[sets++] = optarg;
        else if (c == 'u')
            server = optarg;
        else if (c == 'k')
            snprintf(code, sizeof code, "%s", optarg);
        else
            return usage();
    }
    if (optind < argc)
        return usage();
    enum rc rc = config_read(path, set, sets, &config, &problems);
    for (size_t i = 0; i < problems.n && i < CONF_PROBLEMS_MAX; i++)
        fprintf(stderr, "%s\n", problems.text[i]);
    if (rc != RC_OK)
        return EX_CONFIG;
    if (code[0] == '\0' && (!isatty(STDIN_FILENO) || !read_code(code, sizeof code))) {
        config_free(config);
        return usage();
    }
    struct enrol_setup s = {.config = config, .server = server, .code = code};
    rc = enrol_run(&s, why, sizeof why);
    explicit_bzero(code, sizeof code);
    if (rc == RC_OK)
        printf("enrolled: %s has its own secret in %s\n", config->gateway.id, config->gateway.state_dir);
    else
        fprintf(stderr, "schoolward-gateway: not enrolled: %s\n", why);
    config_free(config);
    return rc == RC_OK                       ? EX_OK
           : rc == RC_DENIED                 ? EX_NOPERM
           : rc == RC_INVALID                ? EX_CONFIG
           : rc == RC_IO || rc == RC_TIMEOUT ? EX_UNAVAILABLE
                                             : EX_OSERR;
}

bool enrol_ask(const struct config *config)
{
    char code[128] = "", why[320] = "";
    if (!isatty(STDIN_FILENO) || config->gateway.server[0] == '\0')
        return false;
    fprintf(stderr, "%s has no secret yet.\n", config->gateway.id);
    for (int tries = 0; tries < 3 && read_code(code, sizeof code); tries++) {
        struct enrol_setup s = {.config = config, .code = code};
        if (enrol_run(&s, why, sizeof why) == RC_OK)
            return true;
        fprintf(stderr, "%s\n", why);
    }
    return false;
}
