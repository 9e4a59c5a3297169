#include "recorder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"

#define ANSWER_MS 2000 /* what comes later is no answer to that question */
#define LEAD_MS   1000

static bool option_text(const struct config_device *d, const char *name, char *out, size_t cap)
{
    const struct field *f = field_find(d->driver->options, d->driver->options_n, name);
    return f != NULL && field_text(f, d->options, out, cap) < (int)cap;
}

static bool line_of(const struct config_device *d, char *out, size_t cap)
{
    char host[128], port[160];
    if (!option_text(d, "port", port, sizeof port))
        return false;
    if (option_text(d, "host", host, sizeof host))
        return tap_gpsd_line(host, (unsigned)strtoul(port, NULL, 10), out, cap) < (int)cap;
    return snprintf(out, cap, "%s", port) < (int)cap;
}

enum rc recorder_start(const struct config *c, const char *device, struct recorder *ret_r, char *why, size_t cap)
{
    struct recorder r = {0};
    char other[TAP_LINE_MAX + 1];
    for (size_t i = 0; i < c->devices && r.device == NULL; i++)
        if (strcmp(c->device[i].name, device) == 0)
            r.device = &c->device[i];
    if (r.device == NULL) {
        snprintf(why, cap, "there is no [device %.40s]: the names are in the configuration", device);
        return RC_NOT_FOUND;
    }
    if (!line_of(r.device, r.line, sizeof r.line)) {
        snprintf(why, cap, "device %s has no line that could be recorded", device);
        return RC_UNSUPPORTED;
    }
    for (size_t i = 0; i < c->devices; i++)
        if (c->device[i].driver->kind == EVENT_DEVICE_CARDS && line_of(&c->device[i], other, sizeof other) && strcmp(other, r.line) == 0) {
            snprintf(why, cap, "a card reader is on %.100s: numbers of children's cards are not written into a file", r.line);
            return RC_DENIED;
        }
    r.asks = r.device->driver->kind == EVENT_DEVICE_COUNTER || r.device->driver->kind == EVENT_DEVICE_INPUTS;
    enum rc rc = tap_start(r.line);
    if (rc != RC_OK) {
        snprintf(why, cap, rc == RC_DENIED ? "a recording runs already: wait until it is over" : "%s", rc_text(rc));
        return rc;
    }
    r.began_ms = clock_mono_ms();
    *ret_r = r;
    return RC_OK;
}

/* The options that differ from their defaults: a recording is played with the same ones. Paths of this machine mean nothing elsewhere. */
static void write_options(const struct recorder *r, FILE *out)
{
    const struct driver *d = r->device->driver;
    char text[300];
    bool any = false, tcp = strncmp(r->line, "gpsd:", 5) == 0;
    fprintf(out, "# options: ");
    if (tcp)
        any = fprintf(out, "port=$PORT") > 0;
    for (size_t i = 0; i < d->options_n; i++) {
        const struct field *f = &d->options[i];
        if (strcmp(f->name, "port") == 0 || strcmp(f->name, "host") == 0 ||
            field_text(f, r->device->options, text, sizeof text) >= (int)sizeof text || text[0] == '\0' || text[0] == '/' ||
            (f->initial != NULL && strcmp(f->initial, text) == 0))
            continue;
        fprintf(out, "%s%s=%s", any ? ";" : "", f->name, text);
        any = true;
    }
    fprintf(out, "\n");
    if (tcp)
        fprintf(out, "# line: tcp\n");
    if (option_text(r->device, "slave", text, sizeof text))
        fprintf(out, "# slave: %s\n", text);
}

void recorder_head(const struct recorder *r, FILE *out)
{
    char when[CLOCK_TEXT_MAX];
    int64_t now = clock_wall_ms();
    clock_text(now, when);
    fprintf(out, "# schoolward-recording 1\n# device %s, recorded by schoolward-gateway %s\n# driver: %s\n", r->device->name, SCHOOLWARD_VERSION,
            r->device->driver->name);
    fprintf(out, "# origin: real, schoolward-gateway record, %s\n", when);
    write_options(r, out);
    fprintf(out, "# wall: %" PRId64 "\n", now);
}

static void hex(FILE *out, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%02x", b[i]);
}

static void line_head(struct recorder *r, FILE *out, int64_t ms, const char *word)
{
    r->last_ms = ms > r->last_ms ? ms : r->last_ms;
    fprintf(out, "%" PRId64 " %s ", r->last_ms, word);
}

/*
 * "Each time we send this, the device sends that." It holds from somewhat before the moment it was heard: the driver that plays it asks at moments of
 * its own.
 */
static void write_answer(struct recorder *r, FILE *out)
{
    if (r->answer_n > 0) {
        line_head(r, out, r->asked_ms - LEAD_MS, "on");
        hex(out, r->asked, r->asked_n);
        fprintf(out, " : +%" PRId64 " ", r->answer_ms - r->asked_ms);
        hex(out, r->answer, r->answer_n);
        fprintf(out, "\n");
    }
    r->asked_n = r->answer_n = 0;
}

static void write_bytes(struct recorder *r, FILE *out, const struct tap_piece *p, const uint8_t *b, int64_t ms)
{
    if (p->kind == TAP_SENT) {
        write_answer(r, out);
        /* a remark: what a driver sends holds sequence numbers and times, which are others when it is played */
        fprintf(out, "# %" PRId64 " < ", ms);
        hex(out, b, p->n);
        fprintf(out, "\n");
        if (r->asks && p->n <= sizeof r->asked) {
            memcpy(r->asked, b, p->n);
            r->asked_n = p->n;
            r->asked_ms = ms;
        }
        return;
    }
    if (r->asked_n > 0 && ms - r->asked_ms <= ANSWER_MS && r->answer_n + p->n <= sizeof r->answer) {
        if (r->answer_n == 0)
            r->answer_ms = ms;
        memcpy(r->answer + r->answer_n, b, p->n);
        r->answer_n += p->n;
        return;
    }
    write_answer(r, out);
    line_head(r, out, ms, ">");
    hex(out, b, p->n);
    fprintf(out, "\n");
}

static void write_piece(struct recorder *r, FILE *out, const struct tap_piece *p, const uint8_t *b, int64_t ms)
{
    switch (p->kind) {
    case TAP_RECEIVED:
    case TAP_SENT: write_bytes(r, out, p, b, ms); return;
    case TAP_TEXT:
        line_head(r, out, ms, "\"");
        fprintf(out, "%.*s\n", (int)p->n, (const char *)b);
        return;
    case TAP_WORDS:
        line_head(r, out, ms, "word");
        fprintf(out, "@%u %u", p->slave, p->address);
        for (size_t i = 0; i + 1 < p->n; i += 2)
            fprintf(out, " %u", (unsigned)b[i] << 8 | b[i + 1]);
        fprintf(out, "\n");
        return;
    case TAP_BITS:
        line_head(r, out, ms, "bit");
        fprintf(out, "@%u %u", p->slave, p->address);
        for (size_t i = 0; i < p->n; i++)
            fprintf(out, " %u", b[i] != 0);
        fprintf(out, "\n");
        return;
    default: return;
    }
}

size_t recorder_write(struct recorder *r, FILE *out)
{
    uint8_t data[TAP_DATA_MAX];
    struct tap_piece p;
    size_t pieces = 0;
    while (tap_take(&p, data)) {
        int64_t ms = p.mono_ms - r->began_ms;
        pieces++;
        r->bytes += p.n;
        write_piece(r, out, &p, data, ms > 0 ? ms : 0);
    }
    r->pieces += pieces;
    return pieces;
}

void recorder_end(struct recorder *r, FILE *out)
{
    recorder_write(r, out);
    write_answer(r, out);
    uint64_t lost = tap_lost();
    tap_stop();
    if (lost > 0)
        fprintf(out, "# %" PRIu64 " bytes came faster than they could be written and are missing\n", lost);
    fprintf(out, "# end: %" PRId64 "\n# %" PRIu64 " pieces, %" PRIu64 " bytes\n", clock_mono_ms() - r->began_ms, r->pieces, r->bytes);
}
