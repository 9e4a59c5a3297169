/*
 * media - what the cameras took around a finding. A picture is evidence: officers see it as they see the track, the police only within the time of a
 * finding that is addressed to them. Never cached, never public.
 */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/camera_word.h"

#define MEDIA_LIST_MAX 200
#define MEDIA_SPAN_MS  960000 /* a finding's evidence ends within so long after it opened, see api_evidence_span() */

static void sha_text(const uint8_t sha256[WIRE_SHA256], char out[2 * WIRE_SHA256 + 1])
{
    for (size_t i = 0; i < WIRE_SHA256; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", sha256[i]);
}

static void list_each(void *arg, const struct footage_item *i)
{
    static const char *const units[] = {"adas", "dsm", "tpms", "bsd"}, *const types[] = {"picture", "audio", "video"};
    struct json *j = arg;
    char sha[2 * WIRE_SHA256 + 1];
    sha_text(i->sha256, sha);
    json_begin_object(j, NULL);
    json_text(j, "sha256", sha);
    json_int(j, "time_ms", i->time_ms);
    json_text(j, "unit", units[i->unit - EVENT_CAMERA_ADAS]);
    json_text(j, "unit_zh", camera_word_unit(i->unit).zh);
    json_text(j, "unit_en", camera_word_unit(i->unit).en);
    json_text(j, "type", types[i->type]);
    json_int(j, "alarm_id", i->alarm_id);
    json_int(j, "bytes", i->bytes);
    json_end_object(j);
}

static void read_list(struct api_call *c)
{
    int64_t from_ms, to_ms;
    c->rc = api_find_finding(c);
    if (c->rc != RC_OK)
        return;
    const struct duty_vehicle *v = duty_vehicle_by_id(fleet_duty(c->api->s.fleet), c->finding.vehicle);
    api_evidence_span(&c->finding.f, c->now_ms, &from_ms, &to_ms);
    json_begin_object(&c->out, NULL);
    json_begin_array(&c->out, "media");
    if (v && c->api->s.footage)
        c->rc = footage_list(c->api->s.footage, v->gateway, from_ms, to_ms, MEDIA_LIST_MAX, list_each, &c->out);
    json_end_array(&c->out);
    json_end_object(&c->out);
}

void api_media_list(struct api_call *c)
{
    api_work(c, read_list, api_answer_read);
}

struct seek {
    int64_t time_ms, now_ms;
    bool found;
};

static void seek_each(void *arg, const struct ledger_finding *x)
{
    struct seek *s = arg;
    int64_t from_ms, to_ms;
    api_evidence_span(&x->f, s->now_ms, &from_ms, &to_ms);
    s->found = s->found || (s->time_ms >= from_ms && s->time_ms <= to_ms);
}

/* Is it evidence of a finding this caller may see? */
static bool may_see(struct api_call *c)
{
    const struct fleet_vehicle *v = fleet_by_gateway(c->api->s.fleet, c->item.gateway);
    struct seek s = {c->item.time_ms, c->now_ms, false};
    if (!c->to)
        return true;
    if (!v)
        return false;
    struct ledger_query q = {.to = c->to,
                             .vehicle = v->duty->id,
                             .from_ms = c->item.time_ms > MEDIA_SPAN_MS ? c->item.time_ms - MEDIA_SPAN_MS : 0,
                             .to_ms = c->item.time_ms + MEDIA_SPAN_MS,
                             .limit = 500};
    return ledger_find(c->api->s.ledger, &q, seek_each, &s) == RC_OK && s.found;
}

static void read_media(struct api_call *c)
{
    uint8_t sha[WIRE_SHA256];
    const char *text = api_text(c, "sha256");
    for (size_t i = 0; i < WIRE_SHA256; i++) {
        unsigned v = 0;
        (void)sscanf(text + 2 * i, "%2x", &v); /* the field's kind has seen to it that these are digits */
        sha[i] = (uint8_t)v;
    }
    c->rc = c->api->s.footage ? footage_find(c->api->s.footage, sha, &c->item) : RC_NOT_FOUND;
    if (c->rc == RC_OK && !may_see(c))
        c->rc = RC_NOT_FOUND;
    if (c->rc == RC_OK)
        c->rc = footage_read(c->api->s.footage, &c->item, &c->bytes);
}

static void answer_media(struct api_call *c)
{
    if (c->rc != RC_OK) {
        api_fail_rc(c, c->rc);
        return;
    }
    /* A device's bytes: no browser may take them for anything by itself. The list says what the page should make of them. */
    struct http_answer a = {.status = 200, .type = "application/octet-stream", .body = c->bytes, .n = c->item.bytes};
    api_answer(c, &a); /* no-store: http_answer's own default */
}

void api_media(struct api_call *c)
{
    api_work(c, read_media, answer_media);
}
