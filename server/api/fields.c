/* fields - a call's parameters and body, checked against its route's table. */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/base/log.h"

const struct api_value *api_value(const struct api_call *c, const char *name)
{
    for (size_t i = 0; i < c->route->fields; i++)
        if (!strcmp(c->route->field[i].name, name))
            return &c->value[i];
    log_error("api", "%s has no field %s", c->route->path, name);
    abort();
}

int64_t api_number(const struct api_call *c, const char *name, int64_t otherwise)
{
    const struct api_value *v = api_value(c, name);
    return v->given ? v->number : otherwise;
}

const char *api_text(const struct api_call *c, const char *name)
{
    return api_value(c, name)->text;
}

static bool is_of(const char *text, const char *set, size_t max)
{
    size_t n = strlen(text);
    return n >= 1 && n <= max && strspn(text, set) == n;
}

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define HEX "0123456789abcdef"

static bool read_int(const char *text, int64_t *ret_v)
{
    size_t n = strlen(text);
    if (!n || n > 18 || strspn(text, "0123456789") != n)
        return false;
    *ret_v = strtoll(text, NULL, 10);
    return true;
}

/* What the value must be, NULL if it is that. */
static const char *read_text(const struct api_field *f, const char *text, struct api_value *v)
{
    v->given = true;
    v->text = text;
    switch (f->kind) {
    case API_ID: return is_of(text, ALNUM "._:-", DUTY_ID_MAX) ? NULL : "an id: 1 to 31 of A-Z a-z 0-9 . _ : -";
    case API_NAME: return is_of(text, ALNUM "_-", 63) ? NULL : "a name: 1 to 63 of A-Z a-z 0-9 _ -";
    case API_INT: return read_int(text, &v->number) && v->number >= f->min && v->number <= f->max ? NULL : "a whole number in its range";
    case API_TEXT: {
        size_t n = strlen(text);
        return n >= (size_t)f->min && n <= (size_t)f->max ? NULL : "a text of the allowed length";
    }
    case API_HEX64:
        v->number = (int64_t)strtoull(text, NULL, 16);
        return strlen(text) == 16 && is_of(text, HEX, 16) ? NULL : "16 hex digits";
    case API_SHA256: return strlen(text) == 64 && is_of(text, HEX, 64) ? NULL : "64 hex digits, lower case";
    case API_CURSOR: {
        const char *dash = strchr(text, '-');
        return dash && dash - text >= 1 && dash - text <= 13 && strspn(text, "0123456789") == (size_t)(dash - text) && strlen(dash + 1) == 16 &&
                       is_of(dash + 1, HEX, 16)
                   ? NULL
                   : "the next_cursor of an earlier answer";
    }
    case API_WORD:
        for (v->number = 0; f->words[v->number]; v->number++)
            if (!strcmp(f->words[v->number], text))
                return NULL;
        return "one of its words";
    }
    return "something else";
}

static void bad_field(struct api_problem *p, const struct api_field *f, const char *must)
{
    p->status = 400;
    (void)snprintf(p->message, sizeof p->message, "%s %s must be %s", f->in == API_IN_BODY ? "member" : "parameter", f->name, must);
    if (f->kind == API_INT)
        (void)snprintf(p->hint, sizeof p->hint, "%lld to %lld: %s", (long long)f->min, (long long)f->max, f->help);
    else if (f->kind == API_WORD) {
        size_t n = (size_t)snprintf(p->hint, sizeof p->hint, "one of");
        for (size_t i = 0; f->words[i] && n < sizeof p->hint; i++)
            n += (size_t)snprintf(p->hint + n, sizeof p->hint - n, " %s", f->words[i]);
    } else
        (void)snprintf(p->hint, sizeof p->hint, "%s", f->help);
}

/* The names a route knows, for the hint of a refusal. */
static void unknown(struct api_problem *p, const struct api_route *r, enum api_in in, const char *name)
{
    size_t n = 0;
    p->status = 400;
    for (size_t i = 0; i < r->fields && n < sizeof p->hint; i++)
        if (r->field[i].in == in)
            n += (size_t)snprintf(p->hint + n, sizeof p->hint - n, "%s%s", n ? ", " : "it knows: ", r->field[i].name);
    (void)snprintf(p->message, sizeof p->message, "unknown %s %.64s", in == API_IN_BODY ? "member" : "parameter", name);
    if (!n)
        (void)snprintf(p->hint, sizeof p->hint, "%s", in == API_IN_BODY ? "it takes an empty body or {}" : "it takes no parameters");
}

static bool read_query(struct api_call *c, struct api_problem *p)
{
    const struct http_query *q = &c->x->query;
    for (size_t k = 0; k < q->n; k++) {
        size_t i = 0;
        while (i < c->route->fields && (c->route->field[i].in != API_IN_QUERY || strcmp(c->route->field[i].name, http_query_name(q, k)) != 0))
            i++;
        if (i == c->route->fields) {
            unknown(p, c->route, API_IN_QUERY, http_query_name(q, k));
            return false;
        }
        const char *must = read_text(&c->route->field[i], http_query_value(q, k), &c->value[i]);
        if (must) {
            bad_field(p, &c->route->field[i], must);
            return false;
        }
    }
    return true;
}

static bool read_member(struct api_call *c, const char *name, json_t *value, struct api_problem *p)
{
    size_t i = 0;
    while (i < c->route->fields && (c->route->field[i].in != API_IN_BODY || strcmp(c->route->field[i].name, name) != 0))
        i++;
    if (i == c->route->fields) {
        unknown(p, c->route, API_IN_BODY, name);
        return false;
    }
    const struct api_field *f = &c->route->field[i];
    struct api_value *v = &c->value[i];
    const char *must = NULL;
    if (f->kind == API_INT) {
        v->given = true;
        v->number = json_integer_value(value);
        must = json_is_integer(value) && v->number >= f->min && v->number <= f->max ? NULL : "a whole number in its range";
    } else {
        must = json_is_string(value) ? read_text(f, json_string_value(value), v) : "a text";
    }
    if (must)
        bad_field(p, f, must);
    return !must;
}

static bool read_body(struct api_call *c, struct api_problem *p)
{
    json_error_t error;
    if (!c->x->body_n)
        return true;
    if (!c->x->json_body) {
        *p = (struct api_problem){400, "the body is not declared as JSON", "send Content-Type: application/json"};
        return false;
    }
    c->body = json_loadb(c->x->body, c->x->body_n, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(c->body)) {
        *p = (struct api_problem){400, "the body is not valid JSON", ""};
        (void)snprintf(p->hint, sizeof p->hint, "one JSON object is wanted; line %d, column %d: %.120s", c->body ? 1 : error.line, c->body ? 1 : error.column,
                       c->body ? "not an object" : error.text);
        return false;
    }
    const char *name;
    json_t *value;
    json_object_foreach(c->body, name, value)
        if (!read_member(c, name, value, p))
            return false;
    return true;
}

bool api_read_fields(struct api_call *c, struct api_problem *p)
{
    for (size_t i = 0; i < c->route->fields; i++) {
        const struct api_field *f = &c->route->field[i];
        if (f->in != API_IN_PATH)
            continue;
        struct api_value *v = &c->value[i];
        if (read_text(f, v->text, v)) { /* what cannot be an address is not there */
            p->status = 404;
            return false;
        }
    }
    if (!read_query(c, p) || !read_body(c, p))
        return false;
    for (size_t i = 0; i < c->route->fields; i++)
        if (c->route->field[i].required && !c->value[i].given) {
            bad_field(p, &c->route->field[i], "given");
            return false;
        }
    return true;
}
