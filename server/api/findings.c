/* findings - the list, one of them, its evidence, and who takes care of it. Every query carries the call's filter of recipients. */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../view.h"

#define EVIDENCE_AROUND_MS 60000
#define EVIDENCE_SPAN_MAX_MS 900000
#define EVIDENCE_POINTS 20000
#define LIST_DEFAULT 100

struct list {
    struct api_call *c;
    size_t n;
    int64_t opened_ms; /* of the last one */
    uint64_t id;
};

static void list_each(void *arg, const struct ledger_finding *x)
{
    struct list *l = arg;
    view_finding(&l->c->out, NULL, l->c->api->s.fleet, x);
    l->n++;
    l->opened_ms = x->f.opened_ms;
    l->id = x->f.id;
}

static void read_list(struct api_call *c)
{
    struct list l = {.c = c};
    struct ledger_query q = {.to = c->to, .vehicle = api_text(c, "vehicle"), .from_ms = api_number(c, "from_ms", 0), .to_ms = api_number(c, "to_ms", 0)};
    const char *cursor = api_text(c, "cursor"), *rule = api_text(c, "rule");
    char next[48];
    q.state = api_value(c, "state")->given ? (int)api_number(c, "state", 0) + 1 : 0;
    q.severity = api_value(c, "severity")->given ? (uint8_t)(LAW_LOW + api_number(c, "severity", 0)) : 0;
    q.rules = rule ? UINT32_C(1) << law_rule_of_word(rule) : 0;
    q.limit = (size_t)api_number(c, "limit", LIST_DEFAULT);
    if (cursor) {
        q.before_ms = strtoll(cursor, NULL, 10);
        q.before_id = strtoull(strchr(cursor, '-') + 1, NULL, 16);
    }
    json_begin_object(&c->out, NULL);
    json_begin_array(&c->out, "findings");
    c->rc = ledger_find(c->api->s.ledger, &q, list_each, &l);
    json_end_array(&c->out);
    (void)snprintf(next, sizeof next, "%lld-%016llx", (long long)l.opened_ms, (unsigned long long)l.id);
    json_text(&c->out, "next_cursor", l.n == q.limit ? next : NULL);
    json_end_object(&c->out);
}

void api_findings(struct api_call *c)
{
    api_work(c, read_list, api_answer_read);
}

static void keep_one(void *arg, const struct ledger_finding *x)
{
    *(struct ledger_finding *)arg = *x;
}

enum rc api_find_finding(struct api_call *c)
{
    struct ledger_query q = {.id = (uint64_t)api_number(c, "id", 0), .to = c->to, .limit = 1};
    if (!q.id)
        return RC_NOT_FOUND;
    enum rc rc = ledger_find(c->api->s.ledger, &q, keep_one, &c->finding);
    return rc != RC_OK ? rc : c->finding.f.id == q.id ? RC_OK : RC_NOT_FOUND;
}

static void read_one(struct api_call *c)
{
    c->rc = api_find_finding(c);
    if (c->rc == RC_OK)
        view_finding(&c->out, NULL, c->api->s.fleet, &c->finding);
}

void api_finding(struct api_call *c)
{
    api_work(c, read_one, api_answer_read);
}

void api_evidence_span(const struct rules_finding *f, int64_t now_ms, int64_t *ret_from_ms, int64_t *ret_to_ms)
{
    int64_t from_ms = f->began_ms - EVIDENCE_AROUND_MS, to_ms = (f->closed_ms ? f->closed_ms : now_ms) + EVIDENCE_AROUND_MS;
    *ret_from_ms = from_ms;
    *ret_to_ms = to_ms > from_ms + EVIDENCE_SPAN_MAX_MS ? from_ms + EVIDENCE_SPAN_MAX_MS : to_ms;
}

static void read_evidence(struct api_call *c)
{
    const struct rules_finding *f = &c->finding.f;
    c->rc = api_find_finding(c);
    if (c->rc != RC_OK)
        return;
    const struct duty_vehicle *v = duty_vehicle_by_id(fleet_duty(c->api->s.fleet), c->finding.vehicle);
    int64_t from_ms, to_ms;
    api_evidence_span(f, c->now_ms, &from_ms, &to_ms);
    c->rc = v ? api_write_track(c, v, from_ms, to_ms, EVIDENCE_POINTS) : RC_NOT_FOUND;
}

void api_evidence(struct api_call *c)
{
    api_work(c, read_evidence, api_answer_read);
}

/* ---- acknowledging ---- */

static void count_acknowledged(struct api *a, const struct ledger_finding *x)
{
    static const double le[] = {10, 30, 60, 120, 600, 3600};
    double s = (double)(x->ack_ms - x->f.opened_ms) / 1000.0;
    a->counters.acknowledged++;
    a->counters.ack_sum_s += s;
    for (size_t i = 0; i < sizeof le / sizeof *le; i++)
        a->counters.ack_le[i] += s <= le[i];
}

/* On the loop, after the commit. */
static void on_acknowledged(void *arg, enum rc rc, const struct ledger_finding *x)
{
    struct api_call *c = arg;
    struct api *a = c->api;
    if (rc != RC_OK || a->dying) { /* dying: fleet and screens may be gone already */
        api_fail_rc(c, rc == RC_OK ? RC_FULL : rc);
        return;
    }
    if (x->ack_ms == c->now_ms && !strcmp(x->ack_by, c->who.name)) { /* ours is the first */
        count_acknowledged(a, x);
        if (a->s.on_acknowledged)
            a->s.on_acknowledged(a->s.arg, x);
    }
    view_finding(&c->out, NULL, a->s.fleet, x);
    api_answer_json(c, 200);
}

static void check_one(struct api_call *c)
{
    c->rc = api_find_finding(c);
}

static void write_acknowledgement(struct api_call *c)
{
    if (c->rc != RC_OK) {
        api_fail_rc(c, c->rc);
        return;
    }
    ledger_acknowledge(c->api->s.ledger, c->finding.f.id, c->who.name, c->now_ms, api_text(c, "note"), on_acknowledged, c);
}

void api_acknowledge(struct api_call *c)
{
    api_work(c, check_one, write_acknowledgement);
}
