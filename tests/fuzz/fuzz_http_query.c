/*
 * fuzz_http_query - a stranger's query, one "name=value" per line, against the limits of http and then against every route of the table (first byte).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void promises(const struct api_route *r, const struct api_value *value)
{
    for (size_t i = 0; i < r->fields; i++) {
        const struct api_field *f = &r->field[i];
        if (!value[i].given || f->in != API_IN_QUERY)
            continue;
        if (f->kind == API_INT)
            must(value[i].number >= f->min && value[i].number <= f->max);
        if (f->kind == API_WORD)
            must(!strcmp(f->words[value[i].number], value[i].text));
        if (f->kind == API_CURSOR)
            must(strchr(value[i].text, '-') != NULL && strlen(value[i].text) <= 30);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t routes = 0, at = 1;
    const struct api_route *route = api_routes(&routes);
    if (!size)
        return 0;
    struct http_exchange *x = calloc(1, sizeof *x);
    struct api_call *c = calloc(1, sizeof *c);
    must(x && c);
    while (at < size) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t n = (end ? (size_t)(end - data) : size) - at, before = x->query.n;
        enum rc rc = http_query_add(&x->query, (const char *)data + at, n);
        must(x->query.n == before + (rc == RC_OK));
        must(x->query.n <= HTTP_QUERY_MAX && x->query.used <= sizeof x->query.text);
        if (rc == RC_OK)
            must(http_query_find(&x->query, http_query_name(&x->query, before)) == http_query_value(&x->query, before));
        at += n + 1;
    }
    c->x = x;
    c->route = &route[data[0] % routes];
    char part[] = "0123456789abcdef";
    for (size_t i = 0; i < c->route->fields; i++)
        if (c->route->field[i].in == API_IN_PATH)
            c->value[i].text = part;
    struct api_problem p = {.status = 0};
    if (api_read_fields(c, &p))
        promises(c->route, c->value);
    else
        must(p.status == 404 || (p.status == 400 && p.message[0] && p.hint[0]));
    free(c);
    free(x);
    return 0;
}
