#include "status_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"

/* Text of the world outside in quotes. */
static void quoted(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20)
            fprintf(out, "\\u%04x", *c);
        else
            putc(*c, out);
    }
    putc('"', out);
}

static void whole(FILE *out, const char *name, int32_t v)
{
    if (v == EVENT_UNKNOWN)
        fprintf(out, "\"%s\":null,", name);
    else
        fprintf(out, "\"%s\":%" PRId32 ",", name, v);
}

static void real(FILE *out, const char *name, int32_t v, double by, int digits)
{
    if (v == EVENT_UNKNOWN)
        fprintf(out, "\"%s\":null,", name);
    else
        fprintf(out, "\"%s\":%.*f,", name, digits, (double)v / by);
}

static void gnss(FILE *out, struct gateway *g, const struct bus *b, int64_t now_ms)
{
    struct event_fix f;
    int64_t age_ms = 0;
    bool any = gateway_last_fix(g, &f, &age_ms);
    fprintf(out, "\"gnss\":{\"mode\":%d,", b->report_ms != 0 ? b->report_mode : 0);
    if (b->report_ms != 0)
        fprintf(out, "\"report_age_ms\":%" PRId64 ",", now_ms - b->report_ms);
    else
        fprintf(out, "\"report_age_ms\":null,");
    if (any) {
        real(out, "lat", f.lat_e7, 1e7, 6);
        real(out, "lon", f.lon_e7, 1e7, 6);
        real(out, "speed_kmh", f.speed_mmps == EVENT_UNKNOWN ? EVENT_UNKNOWN : f.speed_mmps * 36 / 10, 1000, 1);
        real(out, "hdop", f.hdop_d, 10, 1);
        fprintf(out, "\"satellites\":%d,\"fix_age_ms\":%" PRId64 "},", f.satellites, age_ms);
    } else {
        fprintf(out, "\"lat\":null,\"lon\":null,\"speed_kmh\":null,\"hdop\":null,\"satellites\":null,\"fix_age_ms\":null},");
    }
}

static void inputs(FILE *out, const struct bus *b)
{
    const char *comma = "";
    fprintf(out, "\"inputs\":{");
    for (int i = 0; event_input_names[i] != NULL; i++)
        if ((b->inputs_known >> i & 1) != 0) {
            fprintf(out, "%s\"%s\":%s", comma, event_input_names[i], (b->inputs >> i & 1) != 0 ? "true" : "false");
            comma = ",";
        }
    fprintf(out, "},");
}

static void persons(FILE *out, struct gateway *g, const struct bus *b)
{
    static const char *const sources[] = {"unknown", "door", "camera", "attendant", "cards"};
    const struct duty_file *d = cab_duty(gateway_cab(g));
    struct bus_persons p = bus_persons(b, d != NULL ? d->vehicle : NULL);
    fprintf(out, "\"persons\":{");
    whole(out, "best", p.persons);
    whole(out, "least", p.persons == EVENT_UNKNOWN ? EVENT_UNKNOWN : p.least);
    whole(out, "most", p.persons == EVENT_UNKNOWN ? EVENT_UNKNOWN : p.most);
    whole(out, "pupils", p.pupils);
    fprintf(out, "\"confidence_pct\":%d,\"sources\":%d,\"doubtful\":%s,\"leading\":", p.confidence_pct, p.sources, p.doubtful ? "true" : "false");
    if (p.persons == EVENT_UNKNOWN || p.source >= sizeof sources / sizeof *sources)
        fprintf(out, "null},");
    else
        fprintf(out, "\"%s\"},", sources[p.source]);
    fprintf(out, "\"doors\":[");
    const char *comma = "";
    for (int i = 0; i < BUS_DOORS; i++)
        if (b->door[i].time_ms != 0) {
            fprintf(out, "%s{\"door\":%d,\"boarded\":%" PRId32 ",\"alighted\":%" PRId32 "}", comma, i, b->door[i].boarded, b->door[i].alighted);
            comma = ",";
        }
    fprintf(out, "],");
}

static void lanes(FILE *out, const struct outbox *o)
{
    static const char *const names[EVENT_LANES] = {[EVENT_LANE_BULK] = "bulk", [EVENT_LANE_URGENT] = "urgent"};
    struct wire_lane lane[EVENT_LANES] = {{0}};
    struct outbox_figures f = {0};
    if (o != NULL) {
        outbox_span(o, lane);
        outbox_figures(o, &f);
    }
    fprintf(out, "\"outbox\":{\"bytes\":%" PRId64 ",\"stored\":%" PRIu64 ",\"acked\":%" PRIu64 ",\"commits\":%" PRIu64 ",\"written\":%" PRIu64,
            f.file_bytes, f.stored, f.acked, f.commits, f.bytes_written);
    for (int i = 0; i < EVENT_LANES; i++)
        fprintf(out, ",\"%s\":{\"waiting\":%" PRIu64 ",\"oldest_seq\":%" PRIu64 ",\"newest_seq\":%" PRIu64 "}", names[i], f.waiting[i],
                lane[i].first_seq, lane[i].last_seq);
    fprintf(out, "},");
}

static void uplink(FILE *out, const struct uplink *u)
{
    struct uplink_figures f = {0};
    if (u == NULL) {
        fprintf(out, "\"uplink\":null,");
        return;
    }
    uplink_figures(u, &f);
    fprintf(out, "\"uplink\":{\"state\":");
    quoted(out, f.state != NULL ? f.state : "");
    fprintf(out, ",\"trouble\":");
    quoted(out, f.trouble != NULL ? f.trouble : "");
    fprintf(out,
            ",\"tries\":%u,\"next_ms\":%" PRId64 ",\"cert_until_ms\":%" PRId64 ",\"own_cert_until_ms\":%" PRId64 ",\"batches\":%" PRIu64
            ",\"events\":%" PRIu64 ",\"backlog_events\":%" PRIu64 ",\"acks\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"sent_bytes\":%" PRIu64 "},",
            f.tries, f.next_ms, f.cert_until_ms, f.own_cert_until_ms, f.batches, f.events, f.backlog_events, f.acks, f.refused, f.bytes);
}

static void counters(FILE *out, struct gateway *g)
{
    struct device *const *device;
    size_t n = gateway_devices(g, &device);
    fprintf(out, "\"counters\":{");
    for (size_t i = 0; i < n; i++) {
        struct device_figures f;
        const char *comma = "";
        device_figures(device[i], &f);
        fprintf(out, "%s\"%s\":{", i > 0 ? "," : "", device_name(device[i]));
        for (size_t k = 0; k < sizeof f.count / sizeof *f.count && f.count[k].what != NULL; k++) {
            fprintf(out, "%s\"%s\":%" PRIu64, comma, f.count[k].what, f.count[k].n);
            comma = ",";
        }
        fprintf(out, "}");
    }
    fprintf(out, "}");
}

char *status_json(const struct selfreport_sources *s, const char *id)
{
    struct report r;
    char *text = NULL, *report = malloc(REPORT_JSON_MAX);
    size_t n = 0;
    FILE *out = report != NULL ? open_memstream(&text, &n) : NULL;
    if (out == NULL) {
        free(report);
        return NULL;
    }
    selfreport_collect(s, &r);
    const struct bus *b = cab_bus(gateway_cab(s->gateway));
    fprintf(out, "{\"gateway\":");
    quoted(out, id);
    fprintf(out, ",\"report\":%.*s,", (int)report_json(&r, report, REPORT_JSON_MAX), report);
    gnss(out, s->gateway, b, r.time_ms);
    inputs(out, b);
    persons(out, s->gateway, b);
    lanes(out, s->outbox);
    uplink(out, s->uplink);
    counters(out, s->gateway);
    fprintf(out, "}");
    free(report);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
