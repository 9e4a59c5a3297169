#include "devices_view.h"

#include <stdio.h>

#include "../core/bundle.h"

static void time_or_none(struct json *j, const char *name, int64_t ms)
{
    if (ms != 0)
        json_int(j, name, ms);
    else
        json_none(j, name);
}

void devices_view_row(struct json *j, const char *name, const struct devices_row *r, const char *vehicle, bool connected)
{
    char report[REPORT_JSON_MAX];
    json_begin_object(j, name);
    json_text(j, "id", r->gateway);
    json_text(j, "vehicle", vehicle);
    json_text(j, "state", devices_state_word(r->state));
    json_bool(j, "connected", connected);
    json_bool(j, "own_secret", r->own_secret);
    json_bool(j, "rotating", r->rotating);
    time_or_none(j, "code_expires_ms", r->code_expires_ms);
    time_or_none(j, "enrolled_ms", r->enrolled_ms);
    time_or_none(j, "seen_ms", r->seen_ms);
    json_text(j, "serial", r->serial[0] != '\0' ? r->serial : NULL);
    json_text(j, "firmware", r->firmware[0] != '\0' ? r->firmware : NULL);
    json_begin_array(j, "bundles");
    for (int kind = 1; kind <= WIRE_BUNDLE_KINDS; kind++) {
        json_begin_object(j, NULL);
        json_text(j, "kind", bundle_kind_word((uint8_t)kind));
        json_int(j, "wanted", (int64_t)r->wanted[kind]);
        json_int(j, "confirmed", (int64_t)r->confirmed[kind]);
        json_end_object(j);
    }
    json_end_array(j);
    json_int(j, "orders_waiting", r->waiting);
    time_or_none(j, "report_ms", r->report_ms);
    size_t n = r->report_ms != 0 ? report_json(&r->report, report, sizeof report) : 0;
    if (n > 0)
        json_raw(j, "report", report, n);
    else
        json_none(j, "report");
    json_end_object(j);
}

void devices_view_job(struct json *j, const char *name, const struct devices_job *o)
{
    char id[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)o->id);
    json_begin_object(j, name);
    json_text(j, "id", id);
    json_text(j, "kind", o->kind == WIRE_ORDER_BUNDLE ? bundle_kind_word(o->bundle) : devices_kind_word(o->kind));
    json_text(j, "text", o->text[0] != '\0' ? o->text : NULL);
    if (o->kind == WIRE_ORDER_BUZZER || o->kind == WIRE_ORDER_SNAPSHOT)
        json_int(j, "number", o->number);
    else
        json_none(j, "number");
    if (o->version != 0)
        json_int(j, "version", (int64_t)o->version);
    else
        json_none(j, "version");
    json_text(j, "by", o->by);
    json_text(j, "state", devices_fate_word(o->fate));
    json_text(j, "result", o->fate == DEVICES_DONE || o->fate == DEVICES_FAILED ? o->message : NULL);
    json_int(j, "created_ms", o->created_ms);
    json_int(j, "expires_ms", o->expires_ms);
    time_or_none(j, "answered_ms", o->answered_ms);
    json_end_object(j);
}
