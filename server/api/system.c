/* system - what machines and operators ask: health, figures, the document, maps and tiles. */
#include "route.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../view.h"

#define METRICS_OTHERS 65536 /* room for the text of the modules the api does not know */

static void write_health(struct api_call *c, const char *status, const char *reason)
{
    json_begin_object(&c->out, NULL);
    json_text(&c->out, "status", status);
    json_text(&c->out, "version", SCHOOLWARD_VERSION);
    json_begin_array(&c->out, "reasons");
    if (reason)
        json_text(&c->out, NULL, reason);
    json_end_array(&c->out);
    json_end_object(&c->out);
}

void api_health(struct api_call *c)
{
    write_health(c, "ok", NULL);
    api_answer_json(c, 200);
}

void api_ready(struct api_call *c)
{
    char why[512] = "";
    struct api_setup *s = &c->api->s;
    bool ready = !s->ready || s->ready(s->arg, why, sizeof why) == 1;
    write_health(c, ready ? "ok" : "unready", ready ? NULL : why);
    api_answer_json(c, ready ? 200 : 503);
}

void api_document(struct api_call *c)
{
    struct http_answer a = {.status = 200, .type = "application/json", .body = c->api->openapi, .n = c->api->openapi_n, .shared = true};
    api_answer(c, &a);
}

/* ---- figures ---- */

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* le: rising upper bounds; counted: how many lay at or below each of them. */
static void write_histogram(FILE *out, const char *name, const double *le, const uint64_t *counted, size_t n, uint64_t all, double sum)
{
    for (size_t i = 0; i < n; i++)
        (void)fprintf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, le[i], counted[i]);
    (void)fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.3f\n%s_count %" PRIu64 "\n", name, all, name, sum, name, all);
}

static void write_fleet(FILE *out, struct fleet *f, int64_t now_ms)
{
    static const double le[] = {1, 5, 10, 30, 120, 600};
    uint64_t state[BUS_NO_FIX + 1] = {0}, below[6] = {0}, positions = 0, connected = 0;
    uint32_t open[LAW_RULES][LAW_CRITICAL + 1] = {{0}};
    double sum = 0;
    for (size_t i = 0; i < fleet_count(f); i++) {
        const struct fleet_vehicle *v = fleet_at(f, i);
        state[view_freshness(f, v, now_ms)]++;
        connected += v->connected;
        for (size_t r = 0; r < LAW_RULES; r++)
            if (v->open[r] && v->open[r] <= LAW_CRITICAL)
                open[r][v->open[r]]++;
        if (!v->bus.fix_ms)
            continue;
        double age_s = fmax(0, (double)(now_ms - v->bus.fix_ms) / 1000.0);
        positions++;
        sum += age_s;
        for (size_t k = 0; k < 6; k++)
            below[k] += age_s <= le[k];
    }
    write_head(out, "schoolward_buses", "gauge", "Buses by freshness of their position.");
    for (int s = BUS_NEVER; s <= BUS_NO_FIX; s++)
        (void)fprintf(out, "schoolward_buses{state=\"%s\"} %" PRIu64 "\n", bus_freshness_word((enum bus_freshness)s), state[s]);
    write_head(out, "schoolward_buses_connected", "gauge", "Buses with an open connection.");
    (void)fprintf(out, "schoolward_buses_connected %" PRIu64 "\n", connected);
    write_head(out, "schoolward_position_age_seconds", "histogram", "Age of the newest position of each bus that ever had one.");
    write_histogram(out, "schoolward_position_age_seconds", le, below, 6, positions, sum);
    write_head(out, "schoolward_alerts_open", "gauge", "Open findings on the road.");
    for (int r = 0; r < LAW_RULES; r++)
        for (int s = LAW_INFO; s <= LAW_CRITICAL; s++)
            if (open[r][s])
                (void)fprintf(out, "schoolward_alerts_open{severity=\"%s\",type=\"%s\"} %" PRIu32 "\n", law_severity_word((enum law_severity)s),
                              law_rule_word((enum law_rule)r), open[r][s]);
}

static void write_http(FILE *out, const struct api *a)
{
    static const double le[] = {10, 30, 60, 120, 600, 3600};
    struct http_figures h;
    http_figures(a->http, &h);
    write_head(out, "schoolward_http_requests_total", "counter", "HTTP requests received.");
    (void)fprintf(out, "schoolward_http_requests_total %" PRIu64 "\n", h.requests);
    write_head(out, "schoolward_http_answers_total", "counter", "HTTP answers by class of status.");
    for (int i = 1; i <= 5; i++)
        (void)fprintf(out, "schoolward_http_answers_total{class=\"%dxx\"} %" PRIu64 "\n", i, h.answers[i]);
    write_head(out, "schoolward_http_dropped_total", "counter", "Connections dropped because too many requests were open.");
    (void)fprintf(out, "schoolward_http_dropped_total %" PRIu64 "\n", h.dropped);
    write_head(out, "schoolward_http_open", "gauge", "Requests not yet answered to the end.");
    (void)fprintf(out, "schoolward_http_open %zu\n", h.open);
    write_head(out, "schoolward_http_held_bytes", "gauge", "Bytes of answers that wait for their readers.");
    (void)fprintf(out, "schoolward_http_held_bytes %zu\n", h.held);
    write_head(out, "schoolward_api_refused_total", "counter", "Calls refused for want of a token or of a role.");
    (void)fprintf(out, "schoolward_api_refused_total{reason=\"token\"} %" PRIu64 "\nschoolward_api_refused_total{reason=\"role\"} %" PRIu64 "\n",
                  a->counters.refused[0], a->counters.refused[1]);
    write_head(out, "schoolward_alert_ack_seconds", "histogram", "Time from the opening of a finding to its first acknowledgement.");
    write_histogram(out, "schoolward_alert_ack_seconds", le, a->counters.ack_le, 6, a->counters.acknowledged, a->counters.ack_sum_s);
}

void api_metrics(struct api_call *c)
{
    struct api *a = c->api;
    char *text = NULL, *others = calloc(1, METRICS_OTHERS);
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out || !others) {
        if (out)
            (void)fclose(out);
        free(text);
        free(others);
        api_fail_rc(c, RC_NO_MEMORY);
        return;
    }
    write_head(out, "schoolward_build_info", "gauge", "Always 1; the version is in the label.");
    (void)fprintf(out, "schoolward_build_info{version=\"%s\"} 1\n", SCHOOLWARD_VERSION);
    write_fleet(out, a->s.fleet, c->now_ms);
    write_http(out, a);
    if (a->s.metrics)
        a->s.metrics(a->s.arg, others, METRICS_OTHERS);
    (void)fputs(others, out);
    free(others);
    if (fclose(out)) {
        free(text);
        api_fail_rc(c, RC_NO_MEMORY);
        return;
    }
    struct http_answer answer = {
        .status = 200, .type = "text/plain; version=0.0.4", .body = text, .n = n, .release = free, .release_arg = text};
    api_answer(c, &answer);
}

/* ---- maps ---- */

void api_maps(struct api_call *c)
{
    json_begin_object(&c->out, NULL);
    tiles_list(c->api->tiles, &c->out, "maps");
    json_end_object(&c->out);
    api_answer_json(c, 200);
}

static void read_tile(struct api_call *c)
{
    c->rc = tiles_get(c->api->tiles, api_text(c, "set"), (unsigned)api_number(c, "z", 0), (unsigned)api_number(c, "x", 0),
                      (unsigned)api_number(c, "y", 0), c->x->gzip, &c->tile);
}

static void answer_tile(struct api_call *c)
{
    struct http_answer a = {.status = 200,
                            .type = c->tile.type,
                            .body = c->tile.body,
                            .n = c->tile.n,
                            .etag = c->tile.etag,
                            .encoding = c->tile.gzip ? "gzip" : NULL,
                            .cache = "public, max-age=3600",
                            .vary = true};
    struct http_answer empty = {.status = 204, .cache = "public, max-age=3600"};
    if (c->rc == RC_OK)
        api_answer(c, &a);
    else if (c->rc == RC_END)
        api_answer(c, &empty);
    else
        api_fail_rc(c, c->rc);
}

void api_tile(struct api_call *c)
{
    api_work(c, read_tile, answer_tile);
}
