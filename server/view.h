/*
 * view - what a screen sees of a vehicle, a route, a finding: the JSON of docs/protocol.md 2, written once for API and live socket.
 */
#ifndef SCHOOLWARD_VIEW_H
#define SCHOOLWARD_VIEW_H

#include "arrive.h"
#include "json.h"
#include "ledger.h"

/* a: for next_stop and delay_s. On the loop only: it reads the live state. */
void view_vehicle(struct json *j, const char *name, const struct fleet *f, const struct arrive *a, const struct fleet_vehicle *v, int64_t now_ms);
/* These read only what never changes after the start (duty and law): any thread. */
void view_route(struct json *j, const char *name, const struct duty_route *r, const struct law *law, int64_t now_ms);
void view_finding(struct json *j, const char *name, const struct fleet *f, const struct ledger_finding *x);
/* As Finding.severity and Vehicle.severity: the contract of the screens has no "info"; it shows as "low". */
const char *view_severity_word(uint8_t severity);
/* Freshness by the limits of fleet_freshness(). On the loop only. */
enum bus_freshness view_freshness(const struct fleet *f, const struct fleet_vehicle *v, int64_t now_ms);

#endif
