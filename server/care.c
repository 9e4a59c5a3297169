#include "care.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/bundle.h"
#include "devices_view.h"

const char care_usage[] = "       schoolward-server [--json] device enrol|rotate|revoke|show|orders GATEWAY | device list | device key\n"
                          "       schoolward-server [--json] device config|duty|law GATEWAY FILE\n"
                          "       schoolward-server [--json] order GATEWAY locate | text TEXT | buzzer [MS] | snapshot [UNIT] | restart_device NAME\n"
                          "  device enrol     a one-time code for schoolward-gateway enrol, good for 24 hours\n"
                          "  device rotate    the gateway gets a new secret; the old one dies when the new one is used\n"
                          "  device revoke    cut it off now and let it in no more, until it is enrolled again\n"
                          "  device config    send a signed configuration: it is kept when the bus reaches us with it, otherwise the bus goes back\n";

struct job {
    struct devices *d;
    const struct config_server *config;
    struct json out;
    bool as_json, in_list;
    int64_t now_ms;
    const char *by;
};

static int fail(const char *what, enum rc rc)
{
    fprintf(stderr, "schoolward-server: %s: %s\n", what, rc_text(rc));
    return rc == RC_NOT_FOUND ? EX_NOINPUT : rc == RC_RANGE || rc == RC_FULL ? EX_DATAERR : EX_IOERR;
}

static int finish(struct job *j)
{
    if (j->as_json && !j->out.failed)
        printf("%.*s\n", (int)j->out.n, j->out.text);
    return j->out.failed ? EX_SOFTWARE : EX_OK;
}

static char *read_file(const char *path, size_t *ret_n)
{
    struct stat st;
    char *text = NULL;
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= (off_t)WIRE_BUNDLE_MAX)
        text = malloc((size_t)st.st_size);
    for (ssize_t k; text != NULL && n < (size_t)st.st_size && (k = read(fd, text + n, (size_t)st.st_size - n)) > 0;)
        n += (size_t)k;
    if (fd < 0 || text == NULL)
        fprintf(stderr, "%s: %s\n", path, fd < 0 ? strerror(errno) : "not a file of 1 byte to 4 MiB");
    if (fd >= 0)
        close(fd);
    *ret_n = n;
    return text;
}

/* Is there a vehicle with this gateway in the fleet file? A code for a name nobody knows would only be found out on the bus. */
static bool in_fleet(const struct config_server *c, const char *gateway)
{
    size_t n;
    char why[256];
    struct duty_set *set = NULL;
    bool found = false;
    struct stat st;
    FILE *f = fopen(c->server.duty_file, "re");
    char *text = f != NULL && fstat(fileno(f), &st) == 0 ? malloc((size_t)st.st_size + 1) : NULL;
    n = text != NULL ? fread(text, 1, (size_t)st.st_size, f) : 0;
    if (f != NULL)
        fclose(f);
    if (text != NULL && duty_read(text, n, &set, why, sizeof why) == RC_OK)
        found = duty_vehicle_of_gateway(set, gateway) != NULL;
    duty_free(set);
    free(text);
    if (!found)
        fprintf(stderr, "%s: no vehicle has \"gateway\": \"%s\": enter the bus there first, and restart the server\n", c->server.duty_file, gateway);
    return found;
}

static void print_time(const char *name, int64_t ms)
{
    char text[CLOCK_TEXT_MAX];
    if (ms == 0)
        return;
    clock_text(ms, text);
    printf("  %s %.19sZ", name, text);
}

static void print_row(void *arg, const struct devices_row *r)
{
    struct job *j = arg;
    if (j->as_json) {
        devices_view_row(&j->out, NULL, r, NULL, false);
        return;
    }
    printf("%-24s %-9s%s%s", r->gateway, devices_state_word(r->state), r->rotating ? "  new secret waits" : "",
           r->report.safe_mode ? "  SAFE MODE" : "");
    print_time("code until", r->code_expires_ms);
    print_time("seen", r->seen_ms);
    for (int k = 1; k <= WIRE_BUNDLE_KINDS; k++)
        if (r->wanted[k] != 0)
            printf("  %s %" PRIu64 "%s", bundle_kind_word((uint8_t)k), r->wanted[k], r->wanted[k] == r->confirmed[k] ? "" : " (not confirmed)");
    if (r->waiting > 0)
        printf("  %u orders wait", r->waiting);
    putchar('\n');
    if (j->in_list || r->report_ms == 0)
        return;
    char text[REPORT_JSON_MAX];
    size_t n = report_json(&r->report, text, sizeof text);
    print_time("report of", r->report_ms);
    printf("\n  %.*s\n", (int)n, text);
}

static void print_job(void *arg, const struct devices_job *o)
{
    struct job *j = arg;
    if (j->as_json) {
        devices_view_job(&j->out, NULL, o);
        return;
    }
    printf("%" PRIu64 "  %-14s %-8s %s%s%s\n", o->id, o->kind == WIRE_ORDER_BUNDLE ? bundle_kind_word(o->bundle) : devices_kind_word(o->kind),
           devices_fate_word(o->fate), o->message, o->text[0] != '\0' ? " | " : "", o->text);
}

static int ordered(struct job *j, enum rc rc, const char *gateway, uint64_t id, uint64_t version)
{
    char text[24];
    if (rc != RC_OK)
        return fail(gateway, rc);
    snprintf(text, sizeof text, "%" PRIu64, id);
    json_begin_object(&j->out, NULL);
    json_text(&j->out, "gateway", gateway);
    json_text(&j->out, "order", text);
    if (version != 0)
        json_int(&j->out, "version", (int64_t)version);
    json_end_object(&j->out);
    if (!j->as_json)
        printf("order %s waits for %s; what became of it: schoolward-server device orders %s\n", text, gateway, gateway);
    return finish(j);
}

static int enrol(struct job *j, const char *gateway)
{
    char code[DEVICES_CODE_TEXT], until[CLOCK_TEXT_MAX];
    int64_t expires_ms;
    if (!in_fleet(j->config, gateway))
        return EX_NOINPUT;
    enum rc rc = devices_code(j->d, gateway, j->now_ms, code, &expires_ms);
    if (rc != RC_OK)
        return fail(gateway, rc);
    clock_text(expires_ms, until);
    json_begin_object(&j->out, NULL);
    json_text(&j->out, "gateway", gateway);
    json_text(&j->out, "code", code);
    json_int(&j->out, "expires_ms", expires_ms);
    json_end_object(&j->out);
    if (!j->as_json)
        printf("%s\nOn the bus: schoolward-gateway enrol --code %s\nGood once, until %.19sZ.\n", code, code, until);
    return finish(j);
}

static int list(struct job *j, enum rc (*look)(struct job *j, const char *gateway), const char *gateway)
{
    json_begin_array(&j->out, NULL);
    enum rc rc = look(j, gateway);
    json_end_array(&j->out);
    return rc == RC_OK ? finish(j) : fail(gateway != NULL ? gateway : "gateways", rc);
}

static enum rc rows(struct job *j, const char *gateway)
{
    j->in_list = gateway == NULL;
    return devices_rows(j->d, gateway, print_row, j);
}

static enum rc jobs(struct job *j, const char *gateway)
{
    return devices_jobs(j->d, gateway, 100, print_job, j);
}

static int key(struct job *j)
{
    uint8_t k[32];
    char hex[65];
    devices_key(j->d, k);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", k[i]);
    json_text(&j->out, NULL, hex);
    if (!j->as_json)
        puts(hex);
    return finish(j);
}

static int bundle(struct job *j, uint8_t kind, const char *gateway, const char *path)
{
    size_t n;
    uint64_t version = 0, id = 0;
    char *text = in_fleet(j->config, gateway) ? read_file(path, &n) : NULL;
    if (text == NULL)
        return EX_NOINPUT;
    enum rc rc = devices_bundle(j->d, gateway, kind, text, n, j->by, j->now_ms, &version, &id);
    free(text);
    return ordered(j, rc, gateway, id, version);
}

static int device(struct job *j, char *const *w, size_t n)
{
    uint64_t id = 0;
    if (n == 2 && strcmp(w[1], "list") == 0)
        return list(j, rows, NULL);
    if (n == 2 && strcmp(w[1], "key") == 0)
        return key(j);
    for (uint8_t kind = 1; n == 4 && kind <= WIRE_BUNDLE_KINDS; kind++)
        if (strcmp(w[1], bundle_kind_word(kind)) == 0)
            return bundle(j, kind, w[2], w[3]);
    if (n != 3 || strlen(w[2]) > DUTY_ID_MAX)
        return EX_USAGE;
    if (strcmp(w[1], "enrol") == 0)
        return enrol(j, w[2]);
    if (strcmp(w[1], "show") == 0)
        return list(j, rows, w[2]);
    if (strcmp(w[1], "orders") == 0)
        return list(j, jobs, w[2]);
    if (strcmp(w[1], "rotate") == 0) {
        enum rc given = in_fleet(j->config, w[2]) ? devices_order(j->d, w[2], WIRE_ORDER_ROTATE, NULL, 0, j->by, 0, j->now_ms, &id) : RC_NOT_FOUND;
        return ordered(j, given, w[2], id, 0);
    }
    if (strcmp(w[1], "revoke") != 0)
        return EX_USAGE;
    enum rc rc = devices_revoke(j->d, w[2], j->now_ms);
    if (rc != RC_OK)
        return fail(w[2], rc);
    json_text(&j->out, NULL, "revoked");
    if (!j->as_json)
        printf("%s is cut off and let in no more\n", w[2]);
    return finish(j);
}

static int order(struct job *j, char *const *w, size_t n)
{
    uint64_t id = 0;
    uint8_t kind = WIRE_ORDER_TEXT;
    char *end = NULL;
    if (n < 3 || n > 4 || strlen(w[1]) > DUTY_ID_MAX)
        return EX_USAGE;
    while (kind <= WIRE_ORDER_RESTART && strcmp(devices_kind_word(kind), w[2]) != 0)
        kind++;
    bool wants_text = kind == WIRE_ORDER_TEXT || kind == WIRE_ORDER_RESTART;
    if (kind > WIRE_ORDER_RESTART || (wants_text && n != 4) || (kind == WIRE_ORDER_LOCATE && n != 3))
        return EX_USAGE;
    unsigned long number = kind == WIRE_ORDER_BUZZER ? 1000 : 0;
    if (!wants_text && n == 4)
        number = strtoul(w[3], &end, 0);
    if ((end != NULL && *end != '\0') || number > 60000)
        return EX_USAGE;
    if (!in_fleet(j->config, w[1]))
        return EX_NOINPUT;
    enum rc rc = devices_order(j->d, w[1], kind, wants_text ? w[3] : NULL, (uint32_t)number, j->by, 0, j->now_ms, &id);
    return ordered(j, rc, w[1], id, 0);
}

int care_command(const struct config_server *config, char *const *words, size_t n, bool as_json)
{
    char why[512] = "", by[DEVICES_BY_MAX + 1];
    const char *user = getenv("SUDO_USER") != NULL ? getenv("SUDO_USER") : getenv("USER");
    struct job j = {.config = config, .as_json = as_json, .now_ms = clock_wall_ms(), .by = by};
    snprintf(by, sizeof by, "cli:%.40s", user != NULL ? user : "unknown");
    enum rc rc = devices_open(config->server.state_dir, &j.d, why, sizeof why);
    if (rc != RC_OK) {
        fprintf(stderr, "schoolward-server: %s\n", why);
        return rc == RC_DENIED ? EX_NOPERM : EX_CANTCREAT;
    }
    json_init(&j.out, 64u << 20);
    int status = strcmp(words[0], "device") == 0 ? device(&j, words, n) : order(&j, words, n);
    json_free(&j.out);
    devices_close(j.d);
    return status;
}
