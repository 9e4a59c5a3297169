/* routes - the one table: what the server answers, to whom, and with which fields. */
#include "route.h"

#define API_MS_MAX INT64_C(4102444800000) /* 2100 */

static const char *const words_state[] = {"open", "closed", NULL};
static const char *const words_severity[] = {"low", "medium", "high", "critical", NULL};
static const char *const words_rule[] = {"OVL-1", "OVL-2", "OVL-3", "OVL-D", "SPD-1", "SPD-2", "SPD-3", "RTE-1", "SOS-1", "OVL-4",
                                         "STP-2", "ATT-1", "ATT-4", "LFT-1", "LFT-2", "DRV-1", "FIR-1", "DEV-2", "LMP-1", NULL};
_Static_assert(sizeof words_rule / sizeof *words_rule == LAW_RULES + 1, "a rule without its word here could not be asked for");

static const struct api_field fields_id[] = {
    {"id", API_IN_PATH, API_ID, true, 0, 0, NULL, "id of the object"},
};
static const struct api_field fields_track[] = {
    {"id", API_IN_PATH, API_ID, true, 0, 0, NULL, "id of the vehicle"},
    {"from_ms", API_IN_QUERY, API_INT, false, 0, API_MS_MAX, NULL, "first event time; default one hour before to_ms"},
    {"to_ms", API_IN_QUERY, API_INT, false, 0, API_MS_MAX, NULL, "end of the time asked for, exclusive; default now; at most 31 days after from_ms"},
    {"limit", API_IN_QUERY, API_INT, false, 1, 20000, NULL,
     "most points; default 5000. A truncated track goes on with from_ms = the last point's time + 1"},
};
static const struct api_field fields_findings[] = {
    {"state", API_IN_QUERY, API_WORD, false, 0, 0, words_state, "only open or closed ones"},
    {"rule", API_IN_QUERY, API_WORD, false, 0, 0, words_rule, "only of this rule"},
    {"severity", API_IN_QUERY, API_WORD, false, 0, 0, words_severity, "at least so severe"},
    {"vehicle", API_IN_QUERY, API_ID, false, 0, 0, NULL, "only of this vehicle"},
    {"from_ms", API_IN_QUERY, API_INT, false, 0, API_MS_MAX, NULL, "opened at or after"},
    {"to_ms", API_IN_QUERY, API_INT, false, 0, API_MS_MAX, NULL, "opened before"},
    {"limit", API_IN_QUERY, API_INT, false, 1, 500, NULL, "how many; default 100"},
    {"cursor", API_IN_QUERY, API_CURSOR, false, 0, 0, NULL, "next_cursor of the answer before"},
};
static const struct api_field fields_finding[] = {
    {"id", API_IN_PATH, API_HEX64, true, 0, 0, NULL, "id of the finding, 16 hex digits"},
};
static const struct api_field fields_media[] = {
    {"sha256", API_IN_PATH, API_SHA256, true, 0, 0, NULL, "sha256 of a finding's media list"},
};
static const struct api_field fields_acknowledge[] = {
    {"id", API_IN_PATH, API_HEX64, true, 0, 0, NULL, "id of the finding, 16 hex digits"},
    {"note", API_IN_BODY, API_TEXT, false, 0, LEDGER_NOTE_MAX, NULL, "what was done; at most 500 bytes of UTF-8"},
};
static const struct api_field fields_link[] = {
    {"vehicle", API_IN_BODY, API_ID, true, 0, 0, NULL, "id of the vehicle"},
    {"stop", API_IN_BODY, API_ID, true, 0, 0, NULL, "id of a stop on one of its routes"},
    {"valid_until_ms", API_IN_BODY, API_INT, false, 0, API_MS_MAX, NULL, "end of validity, at most 366 days away; default 7 days from now"},
};
static const struct api_field fields_tile[] = {
    {"set", API_IN_PATH, API_NAME, true, 0, 0, NULL, "name of the map, see /api/v1/maps"},
    {"z", API_IN_PATH, API_INT, true, 0, TILES_ZOOM_MAX, NULL, "zoom"},
    {"x", API_IN_PATH, API_INT, true, 0, (1 << TILES_ZOOM_MAX) - 1, NULL, "column, from the west"},
    {"y", API_IN_PATH, API_INT, true, 0, (1 << TILES_ZOOM_MAX) - 1, NULL, "row, from the north"},
};

static const char *const words_order[] = {"locate", "text", "buzzer", "snapshot", "restart_device", NULL}; /* gateways.c counts on the order */
static const struct api_field fields_orders[] = {
    {"id", API_IN_PATH, API_ID, true, 0, 0, NULL, "id of the vehicle"},
    {"limit", API_IN_QUERY, API_INT, false, 1, 500, NULL, "how many, newest first; default 50"},
};
static const struct api_field fields_order[] = {
    {"id", API_IN_PATH, API_ID, true, 0, 0, NULL, "id of the vehicle"},
    {"kind", API_IN_BODY, API_WORD, true, 0, 0, words_order, "what to do"},
    {"text", API_IN_BODY, API_TEXT, false, 1, WIRE_ORDER_TEXT_MAX, NULL,
     "text: for the driver, at most 200 characters and no control characters; restart_device: the device's name"},
    {"number", API_IN_BODY, API_INT, false, 0, 60000, NULL, "buzzer: how long in ms, default 1000; snapshot: camera unit, 100 to 103, 0 = all (default)"},
    {"expires_s", API_IN_BODY, API_INT, false, 1, 86400, NULL, "not to be carried out later than in so many seconds; default 600"},
};

#define FIELDS(f) (f), sizeof(f) / sizeof *(f)

static const struct api_route table[] = {
    {HTTP_GET, "/healthz", API_PUBLIC, api_health, "health", "The process runs and its loop turns.", NULL, 0, "Health", 0},
    {HTTP_GET, "/readyz", API_PUBLIC, api_ready, "ready", "Everything the server needs works; 503 with reasons otherwise.", NULL, 0, "Health", 503},
    {HTTP_GET, "/metrics", API_PUBLIC, api_metrics, "metrics", "Figures in Prometheus' text format.", NULL, 0, "text/plain; version=0.0.4", 0},
    {HTTP_GET, "/api/v1/openapi.json", API_PUBLIC, api_document, "openapi", "This document.", NULL, 0, "application/json", 0},
    {HTTP_GET, "/api/v1/session", API_TOKEN, api_session, "session", "Who am I, and what time is it.", NULL, 0, "Session", 0},
    {HTTP_POST, "/api/v1/live-tickets", API_TOKEN, api_live_ticket, "liveTicket", "A one-time ticket for the live socket, valid 30 s.", NULL, 0,
     "LiveTicket", 0},
    {HTTP_GET, "/api/v1/vehicles", API_OFFICER, api_vehicles, "vehicles", "All vehicles as they are now.", NULL, 0, "Vehicles", 0},
    {HTTP_GET, "/api/v1/vehicles/{id}", API_OFFICER, api_vehicle, "vehicle", "One vehicle as it is now.", FIELDS(fields_id), "Vehicle", 0},
    {HTTP_GET, "/api/v1/vehicles/{id}/track", API_OFFICER, api_track, "track",
     "Where it was, how many were aboard, when doors were open, which speed limit held.", FIELDS(fields_track), "Track", 0},
    {HTTP_GET, "/api/v1/vehicles/{id}/orders", API_OFFICER, api_orders, "orders", "What was ordered, by whom, and what became of it; newest first.",
     FIELDS(fields_orders), "Orders", 0},
    {HTTP_POST, "/api/v1/vehicles/{id}/orders", API_OFFICER, api_order, "order",
     "Order something of a bus. A connected one is told at once, another one when it comes, unless the order has expired. None stops a vehicle.",
     FIELDS(fields_order), "Order", 0},
    {HTTP_GET, "/api/v1/gateways", API_OFFICER, api_gateways, "gateways", "All gateways as devices, with their last report.", NULL, 0, "Gateways", 0},
    {HTTP_GET, "/api/v1/gateways/{id}", API_OFFICER, api_gateway, "gateway", "One gateway as a device.", FIELDS(fields_id), "Gateway", 0},
    {HTTP_GET, "/api/v1/routes", API_OFFICER, api_route_list, "routes", "All approved routes.", NULL, 0, "Routes", 0},
    {HTTP_GET, "/api/v1/routes/{id}", API_OFFICER, api_route_one, "route", "One approved route.", FIELDS(fields_id), "Route", 0},
    {HTTP_GET, "/api/v1/findings", API_CASE, api_findings, "findings", "Findings, newest first; police see those addressed to POL.",
     FIELDS(fields_findings), "Findings", 0},
    {HTTP_GET, "/api/v1/findings/{id}", API_CASE, api_finding, "finding", "One finding.", FIELDS(fields_finding), "Finding", 0},
    {HTTP_POST, "/api/v1/findings/{id}/acknowledgements", API_CASE, api_acknowledge, "acknowledge",
     "I take care of it: who and when are kept, the first acknowledgement stays.", FIELDS(fields_acknowledge), "Finding", 0},
    {HTTP_GET, "/api/v1/findings/{id}/evidence", API_CASE, api_evidence, "evidence",
     "The vehicle's track from 60 s before to 60 s after the finding, at most 15 minutes.", FIELDS(fields_finding), "Track", 0},
    {HTTP_GET, "/api/v1/findings/{id}/media", API_CASE, api_media_list, "findingMedia",
     "Pictures and clips the vehicle's cameras took within the evidence's time, oldest first, at most 200.", FIELDS(fields_finding), "MediaList", 0},
    {HTTP_GET, "/api/v1/media/{sha256}", API_CASE, api_media, "media",
     "One picture or clip; police only those within the evidence of a finding addressed to POL.", FIELDS(fields_media), "application/octet-stream", 0},
    {HTTP_POST, "/api/v1/parent-links", API_OFFICER, api_parent_link, "parentLink", "A signed, expiring link to the parents' page of one stop.",
     FIELDS(fields_link), "ParentLink", 0},
    {HTTP_GET, "/api/v1/parent", API_PARENT, api_parent, "parent", "What the holder of a parent link may know.", NULL, 0, "ParentView", 0},
    {HTTP_GET, "/api/v1/maps", API_TOKEN | API_PARENT, api_maps, "maps", "The base maps this server has.", NULL, 0, "Maps", 0},
    {HTTP_GET, "/tiles/{set}/{z}/{x}/{y}", API_PUBLIC, api_tile, "tile", "One map tile; 204 where the map is empty.", FIELDS(fields_tile),
     "application/vnd.mapbox-vector-tile", 204},
};

const struct api_route *api_routes(size_t *ret_n)
{
    *ret_n = sizeof table / sizeof *table;
    return table;
}
