/*
 * fuzz_json_body - a stranger's request body against every route of the table that takes one. First byte: the route; the rest: the body. What passes
 * must keep the table's promises, what is refused must say why.
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

static void keeps_promise(const struct api_field *f, const struct api_value *v)
{
    if (!v->given) {
        must(!f->required);
        return;
    }
    if (f->kind == API_INT) {
        must(v->number >= f->min && v->number <= f->max);
        return;
    }
    must(v->text != NULL);
    if (f->kind == API_TEXT)
        must(strlen(v->text) <= (size_t)f->max);
    if (f->kind == API_ID)
        must(strlen(v->text) >= 1 && strlen(v->text) <= DUTY_ID_MAX && !strpbrk(v->text, "|/\\ \"'<>%\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t routes = 0;
    const struct api_route *route = api_routes(&routes);
    if (!size || size - 1 > HTTP_BODY_MAX)
        return 0;
    struct http_exchange *x = calloc(1, sizeof *x);
    struct api_call *c = calloc(1, sizeof *c);
    char *body = malloc(size);
    must(x && c && body);
    memcpy(body, data + 1, size - 1);
    body[size - 1] = '\0';
    x->body = body;
    x->body_n = size - 1;
    x->json_body = true;
    c->x = x;
    c->route = &route[data[0] % routes];
    char part[] = "0123456789abcdef"; /* fits every kind of path field there is */
    for (size_t i = 0; i < c->route->fields; i++)
        if (c->route->field[i].in == API_IN_PATH)
            c->value[i].text = part;
    struct api_problem p = {.status = 0};
    if (api_read_fields(c, &p)) {
        for (size_t i = 0; i < c->route->fields; i++)
            keeps_promise(&c->route->field[i], &c->value[i]);
    } else {
        must(p.status == 400 || p.status == 404);
        must(p.status == 404 || (p.message[0] && p.hint[0] && strlen(p.message) < sizeof p.message && strlen(p.hint) < sizeof p.hint));
    }
    json_decref(c->body);
    free(body);
    free(c);
    free(x);
    return 0;
}
