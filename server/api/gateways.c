/* gateways - the gateways as devices, and what the office orders them to do. No order stops a vehicle: there is none. */
#include "route.h"

#include <string.h>

#include "../devices_view.h"

#define JOBS_DEFAULT 50

static void one_row(void *arg, const struct devices_row *r)
{
    struct api_call *c = arg;
    const struct fleet_vehicle *v = fleet_by_gateway(c->api->s.fleet, r->gateway);
    devices_view_row(&c->out, NULL, r, v != NULL ? v->duty->id : NULL, v != NULL && v->connected);
}

static bool has_devices(struct api_call *c)
{
    if (c->api->s.devices == NULL)
        api_fail(c, 503, "unavailable", "this server keeps no gateways", "ask again later");
    return c->api->s.devices != NULL;
}

void api_gateways(struct api_call *c)
{
    if (!has_devices(c))
        return;
    json_begin_object(&c->out, NULL);
    json_int(&c->out, "server_time_ms", c->now_ms);
    json_begin_array(&c->out, "gateways");
    enum rc rc = devices_rows(c->api->s.devices, NULL, one_row, c);
    json_end_array(&c->out);
    json_end_object(&c->out);
    if (rc == RC_OK)
        api_answer_json(c, 200);
    else
        api_fail_rc(c, rc);
}

void api_gateway(struct api_call *c)
{
    if (!has_devices(c))
        return;
    enum rc rc = devices_rows(c->api->s.devices, api_text(c, "id"), one_row, c);
    if (rc == RC_OK)
        api_answer_json(c, 200);
    else
        api_fail_rc(c, rc);
}

/* The gateway of the vehicle in the address; NULL: answered already. */
static const char *gateway_of(struct api_call *c)
{
    const struct fleet_vehicle *v = fleet_by_id(c->api->s.fleet, api_text(c, "id"));
    if (v == NULL) {
        api_not_found(c);
        return NULL;
    }
    return has_devices(c) ? v->duty->gateway : NULL;
}

struct search {
    struct api_call *c;
    uint64_t id; /* 0 = all */
};

static void one_job(void *arg, const struct devices_job *o)
{
    struct search *s = arg;
    if (s->id == 0 || s->id == o->id)
        devices_view_job(&s->c->out, NULL, o);
}

void api_orders(struct api_call *c)
{
    const char *gateway = gateway_of(c);
    struct search s = {.c = c};
    if (gateway == NULL)
        return;
    json_begin_object(&c->out, NULL);
    json_begin_array(&c->out, "orders");
    enum rc rc = devices_jobs(c->api->s.devices, gateway, (size_t)api_number(c, "limit", JOBS_DEFAULT), one_job, &s);
    json_end_array(&c->out);
    json_end_object(&c->out);
    if (rc == RC_OK)
        api_answer_json(c, 200);
    else
        api_fail_rc(c, rc);
}

void api_order(struct api_call *c)
{
    static const uint8_t kinds[] = {WIRE_ORDER_LOCATE, WIRE_ORDER_TEXT, WIRE_ORDER_BUZZER, WIRE_ORDER_SNAPSHOT,
                                    WIRE_ORDER_RESTART}; /* as words_order */
    const char *gateway = gateway_of(c), *text = api_text(c, "text");
    struct search s = {.c = c};
    if (gateway == NULL)
        return;
    uint8_t kind = kinds[api_number(c, "kind", 0)];
    bool wants_text = kind == WIRE_ORDER_TEXT || kind == WIRE_ORDER_RESTART;
    if (wants_text != (text != NULL)) {
        api_fail(c, 400, "bad_request", wants_text ? "text must be given" : "this kind takes no text",
                 "text goes with the kinds text and restart_device");
        return;
    }
    int64_t number = api_number(c, "number", kind == WIRE_ORDER_BUZZER ? 1000 : 0);
    enum rc rc = devices_order(c->api->s.devices, gateway, kind, text, (uint32_t)number, c->who.name,
                               api_value(c, "expires_s")->given ? c->now_ms + api_number(c, "expires_s", 0) * 1000 : 0, c->now_ms, &s.id);
    if (rc == RC_RANGE) {
        api_fail(
            c, 400, "bad_request", "text or number does not fit the kind",
            "text: 1 to 200 characters, no control characters; restart_device: a device's name; buzzer: up to 60000 ms; snapshot: 0, or 100 to 103");
        return;
    }
    if (rc == RC_OK)
        rc = devices_jobs(c->api->s.devices, gateway, JOBS_DEFAULT, one_job, &s);
    if (rc == RC_OK)
        api_answer_json(c, 200);
    else
        api_fail_rc(c, rc);
}
