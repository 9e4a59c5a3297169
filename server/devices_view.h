/* devices_view - gateways and their orders as JSON, the same for the HTTP interface and the command line (docs/protocol.md 2, Gateway and Order). */
#ifndef SCHOOLWARD_DEVICES_VIEW_H
#define SCHOOLWARD_DEVICES_VIEW_H

#include "devices.h"
#include "json.h"

/* vehicle: id of the duty, NULL = none; connected: now. */
void devices_view_row(struct json *j, const char *name, const struct devices_row *r, const char *vehicle, bool connected);
void devices_view_job(struct json *j, const char *name, const struct devices_job *o);

#endif
