/*
 * view - what a screen sees of a vehicle, a route, a finding: the JSON of docs/protocol.md 2, written once for API and live socket.
 */
#ifndef SCHOOLWARD_VIEW_H
#define SCHOOLWARD_VIEW_H

#include "fleet.h"
#include "json.h"
#include "ledger.h"

void view_vehicle(struct json *j, const char *name, const struct fleet *f, const struct fleet_vehicle *v, int64_t now_ms);
void view_route(struct json *j, const char *name, const struct duty_route *r, const struct law *law);
void view_finding(struct json *j, const char *name, const struct fleet *f, const struct ledger_finding *x);

#endif
