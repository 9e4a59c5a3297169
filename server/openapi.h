/*
 * openapi - writes the OpenAPI 3.1 document out of the route table and the schemas, so that it cannot say something else than the server does.
 */
#ifndef SCHOOLWARD_OPENAPI_H
#define SCHOOLWARD_OPENAPI_H

#include "api/route.h"

void openapi_write(struct json *j, const struct api_route *route, size_t routes, const struct api_schema *schema, size_t schemas);

#endif
