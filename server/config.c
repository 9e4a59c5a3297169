#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N(table)   (sizeof(table) / sizeof((table)[0]))
#define AT(member) offsetof(struct config_server, member), sizeof(((struct config_server *)0)->member)

static const char *const levels[] = {"error", "warning", "notice", "info", "debug", NULL};
static const char *const apis[] = {"off", "v1", "v2", "v3", "victoria", NULL}; /* in the order of enum series_api */

static const struct field server_fields[] = {
    {"listen", FIELD_TEXT, AT(server.listen), "", 1, 63, NULL, "127.0.0.1:8080",
     "address:port; only loopback until accounts exist: others reach it through a proxy on this machine that asks who they are"},
    {"public_url", FIELD_TEXT, AT(server.public_url), "", 0, CONFIG_SERVER_TEXT_MAX, NULL, "",
     "how links of parents begin; empty: http:// and listen"},
    {"time_zone", FIELD_TEXT, AT(server.time_zone), "", 1, 63, NULL, "Asia/Shanghai", "IANA zone of the county: run times are local"},
    {"state_dir", FIELD_TEXT, AT(server.state_dir), "", 1, CONFIG_SERVER_PATH_MAX - 56, NULL, "/var/lib/schoolward",
     "folder of journal, findings and notices: on a disk that is backed up"},
    {"duty_file", FIELD_TEXT, AT(server.duty_file), "", 1, CONFIG_SERVER_PATH_MAX, NULL, "/etc/schoolward/fleet.json",
     "vehicles, routes, runs, permits"},
    {"law_file", FIELD_TEXT, AT(server.law_file), "", 1, CONFIG_SERVER_PATH_MAX, NULL, "/usr/share/schoolward/law/cn-national.json",
     "law pack the fleet is judged by"},
    {"tokens_file", FIELD_TEXT, AT(server.tokens_file), "", 1, CONFIG_SERVER_PATH_MAX, NULL, "/etc/schoolward/tokens",
     "lines 'name role token' of who may ask, mode 0600"},
    {"link_key_file", FIELD_TEXT, AT(server.link_key_file), "", 0, CONFIG_SERVER_PATH_MAX, NULL, "",
     "key that signs links of parents; empty: link.key in state_dir; made at the first start"},
    {"web_dir", FIELD_TEXT, AT(server.web_dir), "", 0, CONFIG_SERVER_PATH_MAX, NULL, "", "built pages; empty: none are served"},
    {"maps_dir", FIELD_TEXT, AT(server.maps_dir), "", 0, CONFIG_SERVER_PATH_MAX, NULL, "", "folder of *.mbtiles; empty: no maps"},
    {"fresh_s", FIELD_INT, AT(server.fresh_s), "s", 2, 3600, NULL, "30", "a position up to so old is fresh: a few reports of a bus"},
    {"delayed_s", FIELD_INT, AT(server.delayed_s), "s", 3, 7200, NULL, "120", "up to so old it is delayed"},
    {"stale_s", FIELD_INT, AT(server.stale_s), "s", 4, 86400, NULL, "600", "up to so old it is stale, above that the bus is offline"},
    {"log_level", FIELD_WORD, AT(server.log_level), "", 0, 4, levels, "info", "what is written to the log"},
};
static const struct field ingest_fields[] = {
    {"max_connections", FIELD_INT, AT(ingest.max_connections), "", 10, 60000, NULL, "12000",
     "gateways connected at a time; needs as many file descriptors"},
    {"rate_per_s", FIELD_REAL, AT(ingest.rate_per_s), "messages/s", 0.1, 1000000, NULL, "20", "per gateway, with 10 s of burst"},
    {"bytes_per_s", FIELD_INT, AT(ingest.bytes_per_s), "bytes/s", 1024, 1e12, NULL, "131072", "per gateway, with 10 s of burst"},
    {"ack_ms", FIELD_INT, AT(ingest.ack_ms), "ms", 0, 10000, NULL, "3000",
     "live positions are acknowledged at most so late; alarms and backlog at once"},
    {"hello_s", FIELD_INT, AT(ingest.hello_s), "s", 1, 60, NULL, "10", "a gateway that has not said who it is by then is closed"},
    {"silent_s", FIELD_INT, AT(ingest.silent_s), "s", 2, 3600, NULL, "60",
     "a gateway that says nothing for so long is closed; it is pinged at half of it"},
};
static const struct field live_fields[] = {
    {"unread_kib", FIELD_INT, AT(live.unread_kib), "KiB", 16, 65536, NULL, "1024",
     "findings kept for a screen that does not read; above it the screen is closed"},
    {"stuck_s", FIELD_INT, AT(live.stuck_s), "s", 2, 600, NULL, "30", "a screen that takes nothing for so long is closed"},
};
static const struct field journal_fields[] = {
    {"group_ms", FIELD_INT, AT(journal.group_ms), "ms", 10, 1000, NULL, "100", "what arrives within this time is written to disk together"},
};
static const struct field media_fields[] = {
    {"total_mb", FIELD_INT, AT(media.total_mb), "MiB", 0, 1e9, NULL, "20480", "pictures and clips kept of all buses, the oldest go first; 0: none are taken"},
    {"gateway_mb", FIELD_INT, AT(media.gateway_mb), "MiB", 1, 1e9, NULL, "512", "and of one bus"},
    {"item_mb", FIELD_INT, AT(media.item_mb), "MiB", 1, 64, NULL, "16", "a larger one is refused"},
    {"reserve_mb", FIELD_INT, AT(media.reserve_mb), "MiB", 0, 1e6, NULL, "1024", "free space left to the journal: below it none are taken"},
};
static const struct field series_fields[] = {
    {"api", FIELD_WORD, AT(series.api), "", 0, 4, apis, "off", "off; v1, v2, v3: InfluxDB; victoria: VictoriaMetrics"},
    {"url", FIELD_TEXT, AT(series.url), "", 0, CONFIG_SERVER_TEXT_MAX, NULL, "http://127.0.0.1:8086", "base address of the database"},
    {"database", FIELD_TEXT, AT(series.database), "", 0, 63, NULL, "schoolward", "v1, v3"},
    {"retention", FIELD_TEXT, AT(series.retention), "", 0, 63, NULL, "", "v1: retention policy; empty: the default one"},
    {"org", FIELD_TEXT, AT(series.org), "", 0, 63, NULL, "", "v2"},
    {"bucket", FIELD_TEXT, AT(series.bucket), "", 0, 63, NULL, "", "v2"},
    {"user", FIELD_TEXT, AT(series.user), "", 0, 63, NULL, "", "empty: none"},
    {"password_file", FIELD_TEXT, AT(series.password_file), "", 0, CONFIG_SERVER_PATH_MAX, NULL, "", "its first line, mode 0600; empty: none"},
    {"token_file", FIELD_TEXT, AT(series.token_file), "", 0, CONFIG_SERVER_PATH_MAX, NULL, "", "v2, v3: its first line, mode 0600; empty: none"},
    {"batch_points", FIELD_INT, AT(series.batch_points), "points", 1000, 20000, NULL, "5000", "in one request"},
    {"flush_ms", FIELD_INT, AT(series.flush_ms), "ms", 100, 60000, NULL, "1000", "a request is sent at least so often"},
    {"timeout_ms", FIELD_INT, AT(series.timeout_ms), "ms", 1000, 120000, NULL, "30000", "of one request"},
};
static const struct field notify_fields[] = {
    {"url", FIELD_TEXT, AT(notify.url), "", 0, CONFIG_SERVER_TEXT_MAX, NULL, "", "where notices are posted to; empty: they are only recorded"},
    {"secret_file", FIELD_TEXT, AT(notify.secret_file), "", 0, CONFIG_SERVER_PATH_MAX, NULL, "",
     "first line signs the notices, 16 characters or more, mode 0600"},
};

static const struct {
    const char *name;
    const struct field *field;
    size_t n;
} sections[] = {
    {"server", server_fields, N(server_fields)}, {"ingest", ingest_fields, N(ingest_fields)}, {"live", live_fields, N(live_fields)}, {"journal", journal_fields, N(journal_fields)},
    {"media", media_fields, N(media_fields)},
    {"series", series_fields, N(series_fields)}, {"notify", notify_fields, N(notify_fields)},
};

/* "127.0.0.1:8080" -> address and port. Until people and roles exist, nothing but this machine may reach us. */
static void read_listen(struct conf *doc, size_t section, struct config_server *c, struct conf_problems *problems)
{
    struct in_addr a;
    char *end = NULL;
    const char *colon = strrchr(c->server.listen, ':');
    size_t n = colon != NULL ? (size_t)(colon - c->server.listen) : 0;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    if (n == 0 || n >= sizeof c->address || end == colon + 1 || *end != '\0' || port < 1 || port > 65535) {
        conf_problem(doc, section, "listen", problems, "'%s' is not address:port: write 127.0.0.1:8080", c->server.listen);
        return;
    }
    memcpy(c->address, c->server.listen, n);
    c->address[n] = '\0';
    if (strcmp(c->address, "localhost") == 0)
        memcpy(c->address, "127.0.0.1", sizeof "127.0.0.1");
    c->port = (int)port;
    if (inet_pton(AF_INET, c->address, &a) != 1)
        conf_problem(doc, section, "listen", problems, "'%s' is not an IPv4 address: write 127.0.0.1:8080", c->address);
    else if ((ntohl(a.s_addr) >> 24) != 127)
        conf_problem(doc, section, "listen", problems,
                     "%s is not a loopback address: with tokens instead of accounts this server is not for a network; put a proxy before 127.0.0.1",
                     c->address);
}

static enum rc read_doc(struct conf *doc, const char *const *set, size_t sets, struct config_server *c, struct conf_problems *problems)
{
    for (size_t i = 0; i < sets; i++)
        if (conf_override(doc, set[i], problems) == RC_NO_MEMORY)
            return RC_NO_MEMORY;
    for (size_t i = 0; i < N(sections); i++)
        conf_apply(doc, conf_find_section(doc, sections[i].name, ""), sections[i].field, sections[i].n, c, problems);
    size_t server = conf_find_section(doc, "server", "");
    read_listen(doc, server, c, problems);
    if (c->server.delayed_s <= c->server.fresh_s)
        conf_problem(doc, server, "delayed_s", problems, "%lld must be above fresh_s = %lld", (long long)c->server.delayed_s,
                     (long long)c->server.fresh_s);
    if (c->server.stale_s <= c->server.delayed_s)
        conf_problem(doc, server, "stale_s", problems, "%lld must be above delayed_s = %lld", (long long)c->server.stale_s,
                     (long long)c->server.delayed_s);
    if (c->media.item_mb > c->media.gateway_mb || (c->media.total_mb > 0 && c->media.gateway_mb > c->media.total_mb))
        conf_problem(doc, conf_find_section(doc, "media", ""), "gateway_mb", problems, "must lie between item_mb = %lld and total_mb = %lld",
                     (long long)c->media.item_mb, (long long)c->media.total_mb);
    if (c->server.public_url[0] == '\0')
        snprintf(c->server.public_url, sizeof c->server.public_url, "http://%s", c->server.listen);
    if (c->server.link_key_file[0] == '\0')
        snprintf(c->server.link_key_file, sizeof c->server.link_key_file, "%s/link.key", c->server.state_dir);
    if (c->notify.url[0] != '\0' && c->notify.secret_file[0] == '\0')
        conf_problem(doc, conf_find_section(doc, "notify", ""), "secret_file", problems,
                     "must be given with url: without a signature nobody can trust a notice");
    conf_report_unused(doc, problems);
    return problems->n > 0 ? RC_INVALID : RC_OK;
}

enum rc config_server_read_text(const char *text, size_t n, const char *name, const char *const *set, size_t sets, struct config_server *ret_c,
                                struct conf_problems *problems)
{
    struct conf *doc = NULL;
    struct config_server c = {0};
    enum rc rc = conf_read_text(text, n, name, &doc, problems);
    if (rc == RC_OK)
        rc = read_doc(doc, set, sets, &c, problems);
    conf_free(doc);
    if (rc == RC_OK)
        *ret_c = c;
    return rc;
}

enum rc config_server_read(const char *path, const char *const *set, size_t sets, struct config_server *ret_c, struct conf_problems *problems)
{
    struct conf *doc = NULL;
    struct config_server c = {0};
    enum rc rc = path != NULL ? conf_read_file(path, &doc, problems) : conf_read_text("", 0, "command line", &doc, problems);
    if (rc == RC_OK)
        rc = read_doc(doc, set, sets, &c, problems);
    conf_free(doc);
    if (rc == RC_OK)
        *ret_c = c;
    return rc;
}

void config_server_print(FILE *out, const struct config_server *c)
{
    for (size_t i = 0; i < N(sections); i++) {
        if (i > 0)
            fputc('\n', out);
        conf_print(out, sections[i].name, sections[i].field, sections[i].n, c);
    }
}

enum log_level config_server_log_level(const struct config_server *c)
{
    static const enum log_level of[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
    return of[c->server.log_level];
}

enum rc config_server_secret(const char *path, char *out, size_t cap, char *why, size_t why_cap)
{
    struct stat st;
    out[0] = '\0';
    if (path[0] == '\0')
        return RC_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, why_cap, "%s: cannot be read: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return RC_IO;
    }
    if ((st.st_mode & 077) != 0) {
        snprintf(why, why_cap, "%s: others may read it: chmod 600", path);
        close(fd);
        return RC_DENIED;
    }
    ssize_t n = read(fd, out, cap);
    close(fd);
    size_t len = 0;
    while (n > 0 && len < (size_t)n && out[len] != '\n' && out[len] != '\r')
        len++;
    if (n <= 0 || len == 0 || len >= cap) {
        snprintf(why, why_cap, "%s: its first line must be 1..%zu characters", path, cap - 1);
        out[0] = '\0';
        return RC_INVALID;
    }
    out[len] = '\0';
    return RC_OK;
}
