#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "uplink_queue.h"

#define N(table) (sizeof(table) / sizeof((table)[0]))

static const char *const levels[] = {"error", "warning", "notice", "info", "debug", NULL};

static const struct field gateway_fields[] = {
    {"id", FIELD_TEXT, FIELD_AT(struct config_gateway, id), "", 1, DUTY_ID_MAX, NULL, NULL, "the name the server knows this gateway by"},
    {"server", FIELD_TEXT, FIELD_AT(struct config_gateway, server), "", 0, UPLINK_URL_MAX, NULL, "",
     "wss://host[:port][/gateway]; empty: keep records, send nothing"},
    {"secret_file", FIELD_TEXT, FIELD_AT(struct config_gateway, secret_file), "", 1, CONFIG_PATH_MAX, NULL, "/etc/schoolward/secret",
     "file whose first line is this gateway's secret, mode 0600"},
    {"ca_file", FIELD_TEXT, FIELD_AT(struct config_gateway, ca_file), "", 0, CONFIG_PATH_MAX, NULL, "",
     "PEM of who may sign the server's certificate; empty: the system's"},
    {"cert_file", FIELD_TEXT, FIELD_AT(struct config_gateway, cert_file), "", 0, CONFIG_PATH_MAX, NULL, "",
     "this gateway's own certificate, PEM, for a server that wants one"},
    {"key_file", FIELD_TEXT, FIELD_AT(struct config_gateway, key_file), "", 0, CONFIG_PATH_MAX, NULL, "", "and its key, PEM, mode 0600"},
    {"duty_file", FIELD_TEXT, FIELD_AT(struct config_gateway, duty_file), "", 0, CONFIG_PATH_MAX, NULL, "/etc/schoolward/duty.json",
     "what this bus may do; missing: no warnings in the cab"},
    {"law_file", FIELD_TEXT, FIELD_AT(struct config_gateway, law_file), "", 1, CONFIG_PATH_MAX, NULL, "/usr/share/schoolward/law/cn-national.json",
     "law pack the bus is judged by"},
    {"state_dir", FIELD_TEXT, FIELD_AT(struct config_gateway, state_dir), "", 1, CONFIG_PATH_MAX - 50, NULL, "/var/lib/schoolward",
     "folder for records that are not yet sent"},
    {"log_level", FIELD_WORD, FIELD_AT(struct config_gateway, log_level), "", 0, 4, levels, "info", "what is written to the journal"},
};
static const struct field outbox_fields[] = {
    {"group_ms", FIELD_INT, FIELD_AT(struct config_outbox, group_ms), "ms", 100, 60000, NULL, "2000",
     "positions are written to disk this often; longer spares an SD card, a power cut loses as much"},
    {"max_mb", FIELD_INT, FIELD_AT(struct config_outbox, max_mb), "MiB", 4, 65536, NULL, "512",
     "largest size of the records kept; above it the oldest positions are given up"},
};
static const struct field uplink_fields[] = {
    {"retry_min_ms", FIELD_INT, FIELD_AT(struct config_uplink, retry_min_ms), "ms", 10, 60000, NULL, "1000", "first pause before connecting again"},
    {"retry_max_ms", FIELD_INT, FIELD_AT(struct config_uplink, retry_max_ms), "ms", 100, 3600000, NULL, "60000", "longest pause before connecting again"},
    {"silent_ms", FIELD_INT, FIELD_AT(struct config_uplink, silent_ms), "ms", 100, 3600000, NULL, "2000",
     "but at most this while the network does not answer: a bus is there again soon after a dead zone"},
    {"refused_ms", FIELD_INT, FIELD_AT(struct config_uplink, refused_ms), "ms", 100, 3600000, NULL, "300000",
     "pause after the server refused this gateway"},
    {"ping_s", FIELD_INT, FIELD_AT(struct config_uplink, ping_s), "s", 1, 600, NULL, "20", "ask a silent server for a sign of life after"},
    {"pong_s", FIELD_INT, FIELD_AT(struct config_uplink, pong_s), "s", 1, 600, NULL, "10", "and give the connection up after another"},
    {"window", FIELD_INT, FIELD_AT(struct config_uplink, window), "batches", 1, UPLINK_WINDOW_MAX, NULL, "16", "batches sent ahead of their acks"},
};
static const struct field care_fields[] = {
    {"report_s", FIELD_INT, FIELD_AT(struct config_care, report_s), "s", 1, 86400, NULL, "300", "the gateway reports on itself this often"},
    {"confirm_s", FIELD_INT, FIELD_AT(struct config_care, confirm_s), "s", 5, 3600, NULL, "180",
     "a configuration from the server must reach it within; otherwise the one before runs again"},
    {"lasted_s", FIELD_INT, FIELD_AT(struct config_care, lasted_s), "s", 1, 3600, NULL, "120", "a start that lasts this long was a good one; five in a row that do not: safe mode"},
    {"safe_s", FIELD_INT, FIELD_AT(struct config_care, safe_s), "s", 5, 86400, NULL, "1800", "safe mode is left for a new try after"},
};
static const struct field media_fields[] = {
    {"max_mb", FIELD_INT, FIELD_AT(struct config_media, max_mb), "MiB", 0, 65536, NULL, "256", "pictures and clips of cameras kept; 0: none are"},
    {"max_items", FIELD_INT, FIELD_AT(struct config_media, max_items), "", 1, 20000, NULL, "1000", "and how many of them"},
    {"item_mb", FIELD_INT, FIELD_AT(struct config_media, item_mb), "MiB", 1, WIRE_MEDIA_MAX >> 20, NULL, "8", "a larger one is not taken"},
    {"reserve_mb", FIELD_INT, FIELD_AT(struct config_media, reserve_mb), "MiB", 0, 65536, NULL, "64",
     "free space that is left to records: below it no picture is taken and sent ones are removed"},
    {"kib_per_s", FIELD_INT, FIELD_AT(struct config_media, kib_per_s), "KiB/s", 1, 4096, NULL, "32", "files are sent no faster than this, and only when no record waits"},
};
static const struct field device_fields[] = {
    {"silence_ms", FIELD_INT, FIELD_AT(struct config_device, silence_ms), "ms", 0, 86400000, NULL, "0",
     "without input for this long the device is reported silent; 0: the driver's default"},
};

static bool id_good(const char *s, const char *also)
{
    for (; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '-' || strchr(also, *s) != NULL))
            return false;
    return true;
}

static void driver_names(char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; driver_all[i] != NULL && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i > 0 ? ", " : "", driver_all[i]->name);
}

/* The driver's own check, told at the option it speaks of: a map that cannot be read names its file in the reason. */
static void check_device(const struct config_device *dev, struct conf *doc, size_t section, struct conf_problems *problems)
{
    char why[200] = "", text[CONFIG_PATH_MAX + 1];
    const struct driver *d = dev->driver;
    const char *key = NULL;
    size_t longest = 0;
    if (d->check == NULL || d->check(dev->options, why, sizeof why) == RC_OK)
        return;
    for (size_t i = 0; i < d->options_n; i++) {
        if (d->options[i].kind != FIELD_TEXT)
            continue;
        field_text(&d->options[i], dev->options, text, sizeof text);
        if (strlen(text) > longest && strstr(why, text) != NULL) {
            longest = strlen(text);
            key = d->options[i].name;
        }
    }
    conf_problem(doc, section, key, problems, "%s", why);
}

static enum rc read_device(struct config *c, struct conf *doc, size_t section, const char *name, bool files, struct conf_problems *problems)
{
    char names[160];
    if (*name == '\0' || strlen(name) > EVENT_NAME_MAX || !id_good(name, "")) {
        conf_problem(doc, section, NULL, problems, "a device needs a name of 1..%d of a-z 0-9 -: write [device counter-front]", EVENT_NAME_MAX);
        return RC_OK;
    }
    for (size_t i = 0; i < c->devices; i++)
        if (strcmp(c->device[i].name, name) == 0) {
            conf_problem(doc, section, NULL, problems, "device %s is there twice: give each its own name", name);
            return RC_OK;
        }
    if (c->devices == CONFIG_DEVICES_MAX) {
        conf_problem(doc, section, NULL, problems, "more than %d devices", CONFIG_DEVICES_MAX);
        return RC_OK;
    }
    const char *word = conf_value(doc, section, "driver");
    driver_names(names, sizeof names);
    if (word == NULL) {
        conf_problem(doc, section, "driver", problems, "must be given: one of %s", names);
        return RC_OK;
    }
    const struct driver *d = driver_find(word);
    if (d == NULL) {
        conf_problem(doc, section, "driver", problems, "%.40s is not a driver: one of %s", word, names);
        return RC_OK;
    }
    struct config_device *dev = &c->device[c->devices];
    void *options = calloc(1, d->options_size > 0 ? d->options_size : 1);
    if (options == NULL)
        return RC_NO_MEMORY;
    *dev = (struct config_device){.driver = d, .options = options};
    snprintf(dev->name, sizeof dev->name, "%s", name);
    c->devices++;
    conf_apply(doc, section, device_fields, N(device_fields), dev, problems);
    size_t before = problems->n;
    conf_apply(doc, section, d->options, d->options_n, dev->options, problems);
    if (files && problems->n == before)
        check_device(dev, doc, section, problems);
    return RC_OK;
}

static void check_gateway(const struct config *c, struct conf *doc, size_t section, struct conf_problems *problems)
{
    char why[200];
    struct uplink_url url;
    const struct config_gateway *g = &c->gateway;
    if (g->id[0] != '\0' && !id_good(g->id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ._:"))
        conf_problem(doc, section, "id", problems, "has a character outside A-Z a-z 0-9 . _ : -: use the id of the server's fleet file");
    if (g->server[0] != '\0' && uplink_url_parse(g->server, &url, why, sizeof why) != RC_OK)
        conf_problem(doc, section, "server", problems, "%s", why);
    if (g->ca_file[0] != '\0' && strncmp(g->server, "ws://", 5) == 0)
        conf_problem(doc, section, "ca_file", problems, "has no use with ws://: write wss:// or remove it");
    if (g->cert_file[0] != '\0' && strncmp(g->server, "ws://", 5) == 0)
        conf_problem(doc, section, "cert_file", problems, "has no use with ws://: write wss:// or remove it");
    if ((g->cert_file[0] != '\0') != (g->key_file[0] != '\0'))
        conf_problem(doc, section, g->cert_file[0] != '\0' ? "cert_file" : "key_file", problems, "cert_file and key_file go together: give both or none");
    if (c->uplink.retry_max_ms < c->uplink.retry_min_ms)
        conf_problem(doc, conf_find_section(doc, "uplink", ""), "retry_max_ms", problems, "is below retry_min_ms (%lld)", (long long)c->uplink.retry_min_ms);
}

static void check_media(const struct config_media *m, struct conf *doc, struct conf_problems *problems)
{
    if (m->max_mb > 0 && m->item_mb > m->max_mb)
        conf_problem(doc, conf_find_section(doc, "media", ""), "item_mb", problems, "is above max_mb (%lld): one file must fit", (long long)m->max_mb);
}

static enum rc check_panel(const struct config *c, struct conf *doc, struct conf_problems *problems)
{
    if (c->panel.device[0] == '\0')
        return RC_OK;
    for (size_t i = 0; i < c->devices; i++)
        if (strcmp(c->device[i].name, c->panel.device) == 0) {
            if (c->device[i].driver->output == NULL)
                conf_problem(doc, conf_find_section(doc, "panel", ""), "device", problems, "device %s has no outputs", c->panel.device);
            return RC_OK;
        }
    conf_problem(doc, conf_find_section(doc, "panel", ""), "device", problems, "there is no [device %s]", c->panel.device);
    return RC_OK;
}

static enum rc build(struct conf *doc, bool files, struct config **ret_c, struct conf_problems *problems)
{
    struct config *c = calloc(1, sizeof *c);
    if (c == NULL)
        return RC_NO_MEMORY;
    size_t gateway = conf_find_section(doc, "gateway", "");
    conf_apply(doc, gateway, gateway_fields, N(gateway_fields), &c->gateway, problems);
    conf_apply(doc, conf_find_section(doc, "outbox", ""), outbox_fields, N(outbox_fields), &c->outbox, problems);
    conf_apply(doc, conf_find_section(doc, "uplink", ""), uplink_fields, N(uplink_fields), &c->uplink, problems);
    conf_apply(doc, conf_find_section(doc, "care", ""), care_fields, N(care_fields), &c->care, problems);
    conf_apply(doc, conf_find_section(doc, "media", ""), media_fields, N(media_fields), &c->media, problems);
    conf_apply(doc, conf_find_section(doc, "panel", ""), panel_fields, panel_fields_n, &c->panel, problems);
    conf_apply(doc, conf_find_section(doc, "gnss", ""), fixgate_fields, fixgate_fields_n, &c->gnss, problems);
    enum rc rc = RC_OK;
    for (size_t i = 0; i < conf_sections(doc) && rc == RC_OK; i++) {
        const char *kind, *name;
        conf_section(doc, i, &kind, &name);
        if (strcmp(kind, "device") == 0)
            rc = read_device(c, doc, i, name, files, problems);
    }
    if (rc == RC_OK) {
        check_gateway(c, doc, gateway, problems);
        check_media(&c->media, doc, problems);
        rc = check_panel(c, doc, problems);
    }
    conf_report_unused(doc, problems);
    if (rc == RC_OK && problems->n > 0)
        rc = RC_INVALID;
    if (rc != RC_OK) {
        config_free(c);
        return rc;
    }
    *ret_c = c;
    return RC_OK;
}

enum rc config_read_text(const char *text, size_t n, const char *name, struct config **ret_c, struct conf_problems *problems)
{
    struct conf *doc = NULL;
    enum rc rc = conf_read_text(text, n, name, &doc, problems);
    if (rc == RC_OK)
        rc = build(doc, false, ret_c, problems);
    conf_free(doc);
    return rc;
}

enum rc config_read(const char *path, const char *const *set, size_t sets, struct config **ret_c, struct conf_problems *problems)
{
    struct conf *doc = NULL;
    enum rc rc = path != NULL ? conf_read_file(path, &doc, problems) : conf_read_text("", 0, "command line", &doc, problems);
    for (size_t i = 0; i < sets && rc == RC_OK; i++) {
        enum rc set_rc = conf_override(doc, set[i], problems);
        if (set_rc == RC_NO_MEMORY)
            rc = set_rc;
    }
    if (rc == RC_OK)
        rc = build(doc, true, ret_c, problems);
    conf_free(doc);
    return rc;
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->devices; i++)
        free(c->device[i].options);
    free(c);
}

void config_print(FILE *out, const struct config *c)
{
    conf_print(out, "gateway", gateway_fields, N(gateway_fields), &c->gateway);
    conf_print(out, "outbox", outbox_fields, N(outbox_fields), &c->outbox);
    conf_print(out, "uplink", uplink_fields, N(uplink_fields), &c->uplink);
    conf_print(out, "care", care_fields, N(care_fields), &c->care);
    conf_print(out, "media", media_fields, N(media_fields), &c->media);
    conf_print(out, "panel", panel_fields, panel_fields_n, &c->panel);
    conf_print(out, "gnss", fixgate_fields, fixgate_fields_n, &c->gnss);
    for (size_t i = 0; i < c->devices; i++) {
        const struct config_device *d = &c->device[i];
        char head[EVENT_NAME_MAX + 16];
        /* one section of two records: the driver's word and the silence come first */
        snprintf(head, sizeof head, "device %s", d->name);
        fprintf(out, "[%s]\ndriver = %-35s ; kind of hardware\nsilence_ms = %-31lld ; %s, 0..86400000 ms, default 0\n", head, d->driver->name,
                (long long)d->silence_ms, device_fields[0].help);
        char *text = NULL;
        size_t len = 0;
        FILE *mem = open_memstream(&text, &len);
        if (mem == NULL)
            continue;
        conf_print(mem, head, d->driver->options, d->driver->options_n, d->options);
        fclose(mem);
        const char *rest = text != NULL ? strchr(text, '\n') : NULL; /* the head is printed already */
        fputs(rest != NULL ? rest + 1 : "\n", out);
        free(text);
    }
}

bool config_table(size_t i, const char **ret_section, const struct field **ret_table, size_t *ret_n)
{
    const struct {
        const char *section;
        const struct field *table;
        size_t n;
    } all[] = {{"gateway", gateway_fields, N(gateway_fields)}, {"outbox", outbox_fields, N(outbox_fields)}, {"uplink", uplink_fields, N(uplink_fields)},
               {"care", care_fields, N(care_fields)},          {"media", media_fields, N(media_fields)},    {"panel", panel_fields, panel_fields_n},
               {"device NAME", device_fields, N(device_fields)}};
    if (i >= N(all))
        return false;
    *ret_section = all[i].section;
    *ret_table = all[i].table;
    *ret_n = all[i].n;
    return true;
}

enum log_level config_log_level(const struct config *c)
{
    return (enum log_level)(LOG_LEVEL_ERROR + c->gateway.log_level);
}

enum rc config_secret(const struct config *c, char ret_secret[UPLINK_SECRET_MAX + 1], char *why, size_t cap)
{
    const char *path = c->gateway.secret_file;
    char line[UPLINK_SECRET_MAX + 3];
    FILE *f = fopen(path, "re");
    if (f == NULL && errno == ENOENT) { /* systemd.exec(5): a credential that the service's user cannot read where root keeps it */
        const char *dir = getenv("CREDENTIALS_DIRECTORY");
        char credential[CONFIG_PATH_MAX + 64];
        if (dir != NULL && snprintf(credential, sizeof credential, "%s/schoolward-gateway.secret", dir) < (int)sizeof credential)
            f = fopen(credential, "re");
        errno = ENOENT;
    }
    if (f == NULL) {
        snprintf(why, cap, "%s: %s: put the secret the server gave for gateway '%s' there, mode 0600", path, strerror(errno), c->gateway.id);
        return RC_IO;
    }
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && (st.st_mode & 077) != 0)
        log_warning("config", "%s can be read by others: chmod 600 it", path);
    const char *got = fgets(line, sizeof line, f);
    fclose(f);
    size_t n = got != NULL ? strcspn(line, "\r\n") : 0;
    enum rc rc = n > 0 && n <= UPLINK_SECRET_MAX ? RC_OK : RC_INVALID;
    for (size_t i = 0; i < n && rc == RC_OK; i++)
        if (line[i] <= 0x20 || line[i] > 0x7e)
            rc = RC_INVALID;
    if (rc == RC_OK) {
        memcpy(ret_secret, line, n);
        ret_secret[n] = '\0';
    } else {
        snprintf(why, cap, "%s: the first line must be the secret, 1..%d printable characters without spaces", path, UPLINK_SECRET_MAX);
    }
    explicit_bzero(line, sizeof line);
    return rc;
}
