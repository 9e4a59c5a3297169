#include "openapi.h"

#include <stdio.h>
#include <string.h>

static void openapi_schema_ref(struct json *j, const char *member, const char *name)
{
    char ref[96];
    (void)snprintf(ref, sizeof ref, "#/components/schemas/%s", name);
    json_begin_object(j, member);
    json_text(j, "$ref", ref);
    json_end_object(j);
}

/* The members of a field's schema; the object around them is the caller's. */
static void openapi_kind(struct json *j, const struct api_field *f)
{
    json_text(j, "type", f->kind == API_INT ? "integer" : "string");
    switch (f->kind) {
    case API_INT:
        json_text(j, "format", "int64");
        json_int(j, "minimum", f->min);
        json_int(j, "maximum", f->max);
        break;
    case API_ID: json_text(j, "pattern", "^[A-Za-z0-9._:-]{1,31}$"); break;
    case API_NAME: json_text(j, "pattern", "^[A-Za-z0-9_-]{1,63}$"); break;
    case API_HEX64: json_text(j, "pattern", "^[0-9a-f]{16}$"); break;
    case API_SHA256: json_text(j, "pattern", "^[0-9a-f]{64}$"); break;
    case API_CURSOR: json_text(j, "pattern", "^[0-9]{1,13}-[0-9a-f]{16}$"); break;
    case API_TEXT: json_int(j, "maxLength", f->max); break;
    case API_WORD:
        json_begin_array(j, "enum");
        for (size_t i = 0; f->words[i]; i++)
            json_text(j, NULL, f->words[i]);
        json_end_array(j);
        break;
    }
}

static void openapi_parameters(struct json *j, const struct api_route *r)
{
    json_begin_array(j, "parameters");
    for (size_t i = 0; i < r->fields; i++) {
        const struct api_field *f = &r->field[i];
        if (f->in == API_IN_BODY)
            continue;
        json_begin_object(j, NULL);
        json_text(j, "name", f->name);
        json_text(j, "in", f->in == API_IN_PATH ? "path" : "query");
        json_bool(j, "required", f->required);
        json_text(j, "description", f->help);
        json_begin_object(j, "schema");
        openapi_kind(j, f);
        json_end_object(j);
        json_end_object(j);
    }
    json_end_array(j);
}

static void openapi_body(struct json *j, const struct api_route *r)
{
    bool any = false, required = false;
    for (size_t i = 0; i < r->fields; i++) {
        any = any || r->field[i].in == API_IN_BODY;
        required = required || (r->field[i].in == API_IN_BODY && r->field[i].required);
    }
    if (!any)
        return;
    json_begin_object(j, "requestBody");
    json_bool(j, "required", required);
    json_begin_object(j, "content");
    json_begin_object(j, "application/json");
    json_begin_object(j, "schema");
    json_text(j, "type", "object");
    json_bool(j, "additionalProperties", false);
    json_begin_array(j, "required");
    for (size_t i = 0; i < r->fields; i++)
        if (r->field[i].in == API_IN_BODY && r->field[i].required)
            json_text(j, NULL, r->field[i].name);
    json_end_array(j);
    json_begin_object(j, "properties");
    for (size_t i = 0; i < r->fields; i++) {
        if (r->field[i].in != API_IN_BODY)
            continue;
        json_begin_object(j, r->field[i].name);
        openapi_kind(j, &r->field[i]);
        json_text(j, "description", r->field[i].help);
        json_end_object(j);
    }
    for (int i = 0; i < 5; i++)
        json_end_object(j);
}

static void openapi_answer(struct json *j, const struct api_route *r, int status)
{
    char code[8];
    (void)snprintf(code, sizeof code, "%d", status);
    json_begin_object(j, code);
    json_text(j, "description", status == 200 ? r->summary : status == 204 ? "nothing there" : "not ready");
    if (status != 204) {
        json_begin_object(j, "content");
        bool media = strchr(r->answer, '/') != NULL;
        json_begin_object(j, media ? r->answer : "application/json");
        if (media) {
            json_begin_object(j, "schema");
            if (!strcmp(r->answer, "application/json"))
                json_text(j, "type", "object");
            json_end_object(j);
        } else {
            openapi_schema_ref(j, "schema", r->answer);
        }
        json_end_object(j);
        json_end_object(j);
    }
    json_end_object(j);
}

static void openapi_error(struct json *j, const char *code)
{
    json_begin_object(j, code);
    json_text(j, "$ref", "#/components/responses/Error");
    json_end_object(j);
}

static void openapi_answers(struct json *j, const struct api_route *r)
{
    bool path = strchr(r->path, '{') != NULL;
    json_begin_object(j, "responses");
    openapi_answer(j, r, 200);
    if (r->other)
        openapi_answer(j, r, r->other);
    if (r->fields)
        openapi_error(j, "400");
    if (!(r->policy & API_PUBLIC)) {
        openapi_error(j, "401");
        openapi_error(j, "403");
    }
    if (path)
        openapi_error(j, "404");
    openapi_error(j, "default"); /* 405, 411, 413, 503 ...: any request may meet them */
    json_end_object(j);
}

static void openapi_operation(struct json *j, const struct api_route *r)
{
    static const char *const word[] = {"get", "head", "post", "put", "patch", "delete", "options", "trace"};
    static const struct {
        uint32_t bit;
        const char *word;
    } role[] = {{ACCESS_OFFICER, "officer"}, {ACCESS_POLICE, "police"}, {ACCESS_ADMIN, "admin"}, {ACCESS_PARENT, "parent link"}};
    json_begin_object(j, word[r->method]);
    json_text(j, "operationId", r->name);
    json_text(j, "summary", r->summary);
    json_begin_array(j, "x-roles");
    if (r->policy & API_PUBLIC)
        json_text(j, NULL, "public");
    for (size_t i = 0; i < sizeof role / sizeof *role; i++)
        if (r->policy & role[i].bit)
            json_text(j, NULL, role[i].word);
    json_end_array(j);
    json_begin_array(j, "security");
    if (!(r->policy & API_PUBLIC)) {
        json_begin_object(j, NULL);
        json_begin_array(j, r->policy == API_PARENT ? "parentLink" : "bearer");
        json_end_array(j);
        json_end_object(j);
        if (r->policy & API_PARENT && r->policy != API_PARENT) {
            json_begin_object(j, NULL);
            json_begin_array(j, "parentLink");
            json_end_array(j);
            json_end_object(j);
        }
    }
    json_end_array(j);
    openapi_parameters(j, r);
    openapi_body(j, r);
    openapi_answers(j, r);
    json_end_object(j);
}

static void openapi_scheme(struct json *j, const char *name, const char *help)
{
    json_begin_object(j, name);
    json_text(j, "type", "http");
    json_text(j, "scheme", "bearer");
    json_text(j, "description", help);
    json_end_object(j);
}

static void openapi_components(struct json *j, const struct api_schema *schema, size_t schemas)
{
    json_begin_object(j, "components");
    json_begin_object(j, "securitySchemes");
    openapi_scheme(j, "bearer", "a token of an officer, the police or an administrator");
    openapi_scheme(j, "parentLink", "the token of a signed parent link, valid for one stop of one vehicle until it expires");
    json_end_object(j);
    json_begin_object(j, "responses");
    json_begin_object(j, "Error");
    json_text(j, "description", "what was wrong, and what to do");
    json_begin_object(j, "content");
    json_begin_object(j, "application/json");
    openapi_schema_ref(j, "schema", "Error");
    for (int i = 0; i < 4; i++)
        json_end_object(j);
    json_begin_object(j, "schemas");
    for (size_t i = 0; i < schemas; i++)
        json_raw(j, schema[i].name, schema[i].json, strlen(schema[i].json));
    json_end_object(j);
    json_end_object(j);
}

void openapi_write(struct json *j, const struct api_route *route, size_t routes, const struct api_schema *schema, size_t schemas)
{
    json_begin_object(j, NULL);
    json_text(j, "openapi", "3.1.0");
    json_begin_object(j, "info");
    json_text(j, "title", "Schoolward 护学");
    json_text(j, "version", SCHOOLWARD_VERSION);
    json_text(j, "description", "Times are UTC milliseconds since 1970, positions WGS-84 degrees; null is \"not known\". Unknown query parameters and "
                                "body members are refused.");
    json_end_object(j);
    json_begin_array(j, "servers");
    json_begin_object(j, NULL);
    json_text(j, "url", "/");
    json_end_object(j);
    json_end_array(j);
    json_begin_object(j, "paths");
    for (size_t i = 0; i < routes;) { /* the methods of one path stand together in the table: api_check() sees to it */
        const char *path = route[i].path;
        json_begin_object(j, path);
        for (; i < routes && !strcmp(route[i].path, path); i++)
            openapi_operation(j, &route[i]);
        json_end_object(j);
    }
    json_end_object(j);
    openapi_components(j, schema, schemas);
    json_end_object(j);
}
