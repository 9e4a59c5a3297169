#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *at;
    size_t left, n;
    bool failed;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->left) {
        t->failed = true;
        t->left = 0;
        return;
    }
    t->at += n;
    t->left -= (size_t)n;
    t->n += (size_t)n;
}

static void number(struct text *t, const char *name, int64_t v)
{
    if (v == REPORT_NONE)
        add(t, "\"%s\":null,", name);
    else
        add(t, "\"%s\":%" PRId64 ",", name, v);
}

/* Words come over the wire: whatever JSON gives a meaning to is left out. */
static void word(struct text *t, const char *name, const char *v)
{
    char clean[REPORT_WORD_MAX + 1];
    size_t n = 0;
    for (; *v != '\0' && n < REPORT_WORD_MAX; v++)
        if ((unsigned char)*v >= 0x20 && (unsigned char)*v < 0x7f && *v != '"' && *v != '\\')
            clean[n++] = *v;
    clean[n] = '\0';
    add(t, "\"%s\":\"%s\",", name, clean);
}

static const char *one_of(const char *const *words, size_t n, unsigned i)
{
    return i < n && words[i] != NULL ? words[i] : "unknown";
}
#define ONE_OF(words, i) one_of(words, sizeof(words) / sizeof *(words), i)

static void device(struct text *t, const struct report_device *d)
{
    static const char *const kinds[] = {NULL, "gnss", "counter", "inputs", "camera", "panel", "store", "replay", "cards"};
    static const char *const states[] = {NULL, "ok", "silent", "failed", "absent"};
    add(t, "{");
    word(t, "name", d->name);
    word(t, "driver", d->driver);
    add(t, "\"kind\":\"%s\",\"state\":\"%s\",", ONE_OF(kinds, d->kind), ONE_OF(states, d->state));
    add(t, "\"events\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"opens\":%" PRIu64 ",", d->events, d->errors, d->opens);
    if (d->input_age_ms == REPORT_NONE)
        add(t, "\"input_age_ms\":null}");
    else
        add(t, "\"input_age_ms\":%" PRId64 "}", d->input_age_ms);
}

size_t report_json(const struct report *r, char *out, size_t cap)
{
    static const char *const clocks[] = {"none", "saved", "system", "ntp", "gnss"};
    static const char *const configs[] = {"factory", "kept", "trial"};
    struct text t = {.at = out, .left = cap};
    add(&t, "{");
    number(&t, "time_ms", r->time_ms);
    add(&t, "\"clock\":\"%s\",", ONE_OF(clocks, r->clock));
    number(&t, "clock_offset_ms", r->clock_offset_ms);
    number(&t, "uptime_s", r->uptime_s);
    add(&t, "\"boots\":%" PRIu64 ",\"starts\":%" PRIu32 ",\"safe_mode\":%s,", r->boots, r->starts, r->safe_mode ? "true" : "false");
    word(&t, "firmware", r->firmware);
    word(&t, "duty", r->duty);
    word(&t, "law", r->law);
    add(&t, "\"config\":\"%s\",\"config_version\":%" PRIu64 ",\"duty_version\":%" PRIu64 ",\"law_version\":%" PRIu64 ",", ONE_OF(configs, r->config),
        r->config_version, r->duty_version, r->law_version);
    add(&t, "\"connected\":%s,\"connects\":%" PRIu64 ",", r->connected ? "true" : "false", r->connects);
    number(&t, "ack_ms", r->ack_ms);
    number(&t, "disk_free", r->disk_free);
    number(&t, "disk_size", r->disk_size);
    number(&t, "board_mc", r->board_mc);
    number(&t, "supply_mv", r->supply_mv);
    number(&t, "rss_bytes", r->rss_bytes);
    add(&t, "\"waiting_bulk\":%" PRIu64 ",\"waiting_urgent\":%" PRIu64 ",", r->waiting[EVENT_LANE_BULK], r->waiting[EVENT_LANE_URGENT]);
    number(&t, "outbox_bytes", r->outbox_bytes);
    number(&t, "written_per_day", r->written_per_day);
    add(&t, "\"lost\":%" PRIu64 ",\"given_up\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"devices\":[", r->lost, r->given_up, r->bad);
    for (size_t i = 0; i < r->devices && i < REPORT_DEVICES_MAX; i++) {
        add(&t, "%s", i > 0 ? "," : "");
        device(&t, &r->device[i]);
    }
    add(&t, "]}");
    return t.failed ? 0 : t.n;
}
