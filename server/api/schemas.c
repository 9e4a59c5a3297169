/* schemas - the answers of docs/protocol.md 2 as JSON Schema (2020-12, the dialect of OpenAPI 3.1). Objects are closed: what is not listed is not sent. */
#include "route.h"

#define REF(name) "{\"$ref\":\"#/components/schemas/" name "\"}"
#define OBJECT(required, members) "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[" required "],\"properties\":{" members "}}"
#define LIST(of) "{\"type\":\"array\",\"items\":" of "}"
#define OR_NULL(of) "{\"anyOf\":[" of ",{\"type\":\"null\"}]}"
#define TEXT "{\"type\":\"string\"}"
#define TEXT0 "{\"type\":[\"string\",\"null\"]}"
#define INT "{\"type\":\"integer\"}"
#define INT0 "{\"type\":[\"integer\",\"null\"]}"
#define NUM "{\"type\":\"number\"}"
#define NUM0 "{\"type\":[\"number\",\"null\"]}"
#define BOOL "{\"type\":\"boolean\"}"
#define BOOL0 "{\"type\":[\"boolean\",\"null\"]}"
#define MS "{\"type\":\"integer\",\"format\":\"int64\",\"description\":\"UTC milliseconds since 1970\"}"
#define MS0 "{\"type\":[\"integer\",\"null\"],\"format\":\"int64\",\"description\":\"UTC milliseconds since 1970\"}"
#define TUPLE(min, max, of) "{\"type\":\"array\",\"minItems\":" min ",\"maxItems\":" max ",\"items\":" of "}"
#define SEVERITY "{\"type\":\"string\",\"enum\":[\"none\",\"low\",\"medium\",\"high\",\"critical\"]}"
#define NAMED "\"id\":" TEXT ",\"name_zh\":" TEXT ",\"name_en\":" TEXT
#define NAMED_REQUIRED "\"id\",\"name_zh\",\"name_en\""

static const struct api_schema table[] = {
    {"Error", OBJECT("\"error\"", "\"error\":" OBJECT("\"code\",\"message\",\"hint\"", "\"code\":" TEXT ",\"message\":" TEXT ",\"hint\":" TEXT))},
    {"Health", OBJECT("\"status\",\"version\",\"reasons\"", "\"status\":{\"type\":\"string\",\"enum\":[\"ok\",\"unready\"]},\"version\":" TEXT
                                                            ",\"reasons\":" LIST(TEXT))},
    {"Session", OBJECT("\"name\",\"role\",\"server_time_ms\",\"version\",\"time_zone\",\"freshness\"",
                       "\"name\":" TEXT ",\"role\":{\"type\":\"string\",\"enum\":[\"officer\",\"police\",\"admin\"]},\"server_time_ms\":" MS
                       ",\"version\":" TEXT ",\"time_zone\":" TEXT ",\"freshness\":" OBJECT(
                           "\"fresh_ms\",\"delayed_ms\",\"stale_ms\"", "\"fresh_ms\":" INT ",\"delayed_ms\":" INT ",\"stale_ms\":" INT))},
    {"LiveTicket", OBJECT("\"ticket\",\"expires_ms\"", "\"ticket\":" TEXT ",\"expires_ms\":" MS)},
    {"Named", OBJECT(NAMED_REQUIRED, NAMED)},
    {"Position", OBJECT("\"lat\",\"lon\",\"time_ms\",\"age_ms\",\"speed_mps\",\"track_deg\",\"hdop\",\"satellites\",\"mode\"",
                        "\"lat\":" NUM ",\"lon\":" NUM ",\"time_ms\":" MS ",\"age_ms\":" INT ",\"speed_mps\":" NUM0 ",\"track_deg\":" NUM0
                        ",\"hdop\":" NUM0 ",\"satellites\":" INT0 ",\"mode\":" INT)},
    {"Aboard", OBJECT("\"persons\",\"pupils\",\"rated\",\"confidence\",\"sources\",\"time_ms\",\"age_ms\"",
                      "\"persons\":" INT ",\"pupils\":" INT0 ",\"rated\":" INT0
                      ",\"confidence\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"sources\":" LIST(
                          "{\"type\":\"string\",\"enum\":[\"door\",\"camera\",\"attendant\",\"cards\",\"unknown\"]}") ",\"time_ms\":" MS
                                                                                                                     ",\"age_ms\":" INT)},
    {"NextStop", OBJECT(NAMED_REQUIRED ",\"eta_ms\",\"planned_ms\",\"stops_to_go\"",
                        NAMED ",\"eta_ms\":" MS0 ",\"planned_ms\":" MS0 ",\"stops_to_go\":" INT)},
    {"Device", OBJECT("\"name\",\"kind\",\"state\",\"since_ms\"",
                      "\"name\":" TEXT ",\"kind\":" TEXT
                      ",\"state\":{\"type\":\"string\",\"enum\":[\"ok\",\"silent\",\"failed\",\"absent\"]},\"since_ms\":" MS)},
    {"Vehicle",
     OBJECT("\"id\",\"plate\",\"route\",\"freshness\",\"position\",\"aboard\",\"doors_open\",\"ignition\",\"sos\",\"link\",\"limit_kmh\",\"severity\","
            "\"open_findings\",\"next_stop\",\"delay_s\",\"devices\"",
            "\"id\":" TEXT ",\"plate\":" TEXT ",\"route\":" OR_NULL(REF("Named")) ",\"freshness\":{\"type\":\"string\",\"enum\":[\"fresh\","
            "\"delayed\",\"stale\",\"offline\",\"no_fix\",\"never\"]},\"position\":" OR_NULL(REF("Position")) ",\"aboard\":" OR_NULL(
                REF("Aboard")) ",\"doors_open\":" BOOL0 ",\"ignition\":" BOOL0 ",\"sos\":" BOOL
            ",\"link\":" OBJECT("\"connected\",\"last_received_ms\"", "\"connected\":" BOOL ",\"last_received_ms\":" MS0) ",\"limit_kmh\":" NUM0
            ",\"severity\":" SEVERITY ",\"open_findings\":" INT ",\"next_stop\":" OR_NULL(REF("NextStop")) ",\"delay_s\":" INT0
            ",\"devices\":" LIST(REF("Device")))},
    {"Vehicles", OBJECT("\"server_time_ms\",\"vehicles\"", "\"server_time_ms\":" MS ",\"vehicles\":" LIST(REF("Vehicle")))},
    {"Track", OBJECT("\"vehicle\",\"from_ms\",\"to_ms\",\"points\",\"counts\",\"doors\",\"limits\",\"truncated\"",
                     "\"vehicle\":" TEXT ",\"from_ms\":" MS ",\"to_ms\":" MS ",\"points\":{\"type\":\"array\",\"description\":\"[time_ms, lat, lon, "
                     "speed_mps, track_deg, mode, flags]; flags bit 0: arrived late\",\"items\":" TUPLE("7", "7", NUM0) "},\"counts\":{\"type\":"
                     "\"array\",\"description\":\"[time_ms, persons, confidence]\",\"items\":" TUPLE("3", "3", NUM) "},\"doors\":{\"type\":\"array\","
                     "\"description\":\"[time_ms, 0 all closed or 1 one open]\",\"items\":" TUPLE("2", "2", INT) "},\"limits\":{\"type\":\"array\","
                     "\"description\":\"[time_ms, limit in force in km/h], from the first fix on, where it changes; null: not known\",\"items\":" TUPLE(
                         "2", "2", NUM0) "},\"truncated\":" BOOL)},
    {"Order", OBJECT("\"id\",\"kind\",\"text\",\"number\",\"version\",\"by\",\"state\",\"result\",\"created_ms\",\"expires_ms\",\"answered_ms\"",
                     "\"id\":{\"type\":\"string\",\"pattern\":\"^[0-9]+$\"},\"kind\":{\"type\":\"string\",\"enum\":[\"locate\",\"text\",\"buzzer\","
                     "\"snapshot\",\"restart_device\",\"config\",\"duty\",\"law\",\"rotate\"]},\"text\":" TEXT0 ",\"number\":" INT0 ",\"version\":" INT0
                     ",\"by\":" TEXT ",\"state\":{\"type\":\"string\",\"enum\":[\"waiting\",\"sent\",\"done\",\"failed\",\"expired\",\"replaced\"]},"
                     "\"result\":" TEXT0 ",\"created_ms\":" MS ",\"expires_ms\":" MS ",\"answered_ms\":" MS0)},
    {"Orders", OBJECT("\"orders\"", "\"orders\":" LIST(REF("Order")))},
    {"ReportDevice", OBJECT("\"name\",\"driver\",\"kind\",\"state\",\"events\",\"errors\",\"opens\",\"input_age_ms\"",
                            "\"name\":" TEXT ",\"driver\":" TEXT ",\"kind\":" TEXT ",\"state\":" TEXT ",\"events\":" INT ",\"errors\":" INT
                            ",\"opens\":" INT ",\"input_age_ms\":" INT0)},
    {"Report",
     OBJECT("\"time_ms\",\"clock\",\"clock_offset_ms\",\"uptime_s\",\"boots\",\"starts\",\"safe_mode\",\"firmware\",\"duty\",\"law\",\"config\","
            "\"config_version\",\"duty_version\",\"law_version\",\"connected\",\"connects\",\"ack_ms\",\"disk_free\",\"disk_size\",\"board_mc\","
            "\"supply_mv\",\"rss_bytes\",\"waiting_bulk\",\"waiting_urgent\",\"outbox_bytes\",\"written_per_day\",\"lost\",\"given_up\",\"bad\","
            "\"devices\"",
            "\"time_ms\":" MS ",\"clock\":{\"type\":\"string\",\"enum\":[\"none\",\"saved\",\"system\",\"ntp\",\"gnss\"]},\"clock_offset_ms\":" INT
            ",\"uptime_s\":" INT ",\"boots\":" INT ",\"starts\":" INT ",\"safe_mode\":" BOOL ",\"firmware\":" TEXT ",\"duty\":" TEXT ",\"law\":" TEXT
            ",\"config\":{\"type\":\"string\",\"enum\":[\"factory\",\"kept\",\"trial\"]},\"config_version\":" INT ",\"duty_version\":" INT
            ",\"law_version\":" INT ",\"connected\":" BOOL ",\"connects\":" INT ",\"ack_ms\":" INT0 ",\"disk_free\":" INT0 ",\"disk_size\":" INT0
            ",\"board_mc\":" INT0 ",\"supply_mv\":" INT0 ",\"rss_bytes\":" INT0 ",\"waiting_bulk\":" INT ",\"waiting_urgent\":" INT
            ",\"outbox_bytes\":" INT0 ",\"written_per_day\":" INT0 ",\"lost\":" INT ",\"given_up\":" INT ",\"bad\":" INT ",\"devices\":" LIST(
                REF("ReportDevice")))},
    {"Gateway",
     OBJECT("\"id\",\"vehicle\",\"state\",\"connected\",\"own_secret\",\"rotating\",\"code_expires_ms\",\"enrolled_ms\",\"seen_ms\",\"serial\","
            "\"firmware\",\"bundles\",\"orders_waiting\",\"report_ms\",\"report\"",
            "\"id\":" TEXT ",\"vehicle\":" TEXT0 ",\"state\":{\"type\":\"string\",\"enum\":[\"new\",\"enrolled\",\"revoked\"]},\"connected\":" BOOL
            ",\"own_secret\":" BOOL ",\"rotating\":" BOOL ",\"code_expires_ms\":" MS0 ",\"enrolled_ms\":" MS0 ",\"seen_ms\":" MS0
            ",\"serial\":" TEXT0 ",\"firmware\":" TEXT0 ",\"bundles\":" LIST(
                OBJECT("\"kind\",\"wanted\",\"confirmed\"", "\"kind\":{\"type\":\"string\",\"enum\":[\"config\",\"duty\",\"law\"]},\"wanted\":" INT
                                                           ",\"confirmed\":" INT)) ",\"orders_waiting\":" INT ",\"report_ms\":" MS0
            ",\"report\":" OR_NULL(REF("Report")))},
    {"Gateways", OBJECT("\"server_time_ms\",\"gateways\"", "\"server_time_ms\":" MS ",\"gateways\":" LIST(REF("Gateway")))},
    {"Stop", OBJECT(NAMED_REQUIRED ",\"lat\",\"lon\",\"along_m\",\"offset_s\"",
                    NAMED ",\"lat\":" NUM ",\"lon\":" NUM ",\"along_m\":" NUM ",\"offset_s\":" INT)},
    {"Segment", OBJECT("\"from_m\",\"to_m\",\"limit_kmh\",\"road_class\",\"hazard\"",
                       "\"from_m\":" NUM ",\"to_m\":" NUM ",\"limit_kmh\":" INT0
                       ",\"road_class\":{\"type\":\"string\",\"enum\":[\"unknown\",\"expressway\",\"urban_expressway\",\"city_no_line\","
                       "\"rural_no_line\",\"city_one_lane\",\"rural_one_lane\",\"city_multi\",\"rural_multi\"]},\"hazard\":" TEXT0)},
    {"Route", OBJECT(NAMED_REQUIRED ",\"line\",\"corridor_m\",\"stops\",\"segments\"",
                     NAMED ",\"line\":" LIST(TUPLE("2", "2", NUM)) ",\"corridor_m\":" NUM0 ",\"stops\":" LIST(REF("Stop")) ",\"segments\":" LIST(
                         REF("Segment")))},
    {"Routes", OBJECT("\"routes\"", "\"routes\":" LIST(REF("Route")))},
    {"Citation", OBJECT("\"code\",\"article\",\"zh\",\"en\",\"mark\"",
                        "\"code\":" TEXT ",\"article\":" TEXT ",\"zh\":" TEXT ",\"en\":" TEXT
                        ",\"mark\":{\"type\":\"string\",\"enum\":[\"primary\",\"secondary\",\"advice\"]}")},
    {"FindingInput", OBJECT("\"name\",\"source\",\"confidence\",\"age_ms\"",
                            "\"name\":" TEXT ",\"source\":" TEXT ",\"confidence\":" NUM0 ",\"age_ms\":" INT0)},
    {"Acknowledgement", OBJECT("\"by\",\"at_ms\",\"note\"", "\"by\":" TEXT ",\"at_ms\":" MS ",\"note\":" TEXT0)},
    {"Finding",
     OBJECT("\"id\",\"rule\",\"vehicle\",\"plate\",\"route\",\"state\",\"severity\",\"points\",\"criminal_lead\",\"late\",\"title_zh\",\"title_en\","
            "\"value\",\"limit\",\"unit\",\"over_pct\",\"began_ms\",\"opened_ms\",\"raised_ms\",\"closed_ms\",\"lat\",\"lon\",\"pupils\","
            "\"citations\",\"lead_zh\",\"lead_en\",\"inputs\",\"law\",\"audience\",\"ack\"",
            "\"id\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{16}$\"},\"rule\":" TEXT ",\"vehicle\":" TEXT ",\"plate\":" TEXT
            ",\"route\":" OR_NULL(REF("Named")) ",\"state\":{\"type\":\"string\",\"enum\":[\"open\",\"closed\"]},\"severity\":" SEVERITY
            ",\"points\":" INT0 ",\"criminal_lead\":" BOOL ",\"late\":" BOOL ",\"title_zh\":" TEXT ",\"title_en\":" TEXT ",\"value\":" NUM0
            ",\"limit\":" NUM0 ",\"unit\":{\"type\":\"string\",\"enum\":[\"persons\",\"km/h\",\"m\",\"\"]},\"over_pct\":" NUM0 ",\"began_ms\":" MS
            ",\"opened_ms\":" MS ",\"raised_ms\":" MS0 ",\"closed_ms\":" MS0 ",\"lat\":" NUM0 ",\"lon\":" NUM0 ",\"pupils\":" INT0
            ",\"citations\":" LIST(REF("Citation")) ",\"lead_zh\":" TEXT0 ",\"lead_en\":" TEXT0 ",\"inputs\":" LIST(
                REF("FindingInput")) ",\"law\":" OBJECT("\"pack\",\"version\"", "\"pack\":" TEXT
                                                                                ",\"version\":" TEXT) ",\"audience\":"
            LIST("{\"type\":\"string\",\"enum\":[\"CAB\",\"DIS\",\"SCH\",\"OFF\",\"POL\",\"PAR\"]}") ",\"ack\":" OR_NULL(REF("Acknowledgement")))},
    {"Findings", OBJECT("\"findings\",\"next_cursor\"", "\"findings\":" LIST(REF("Finding")) ",\"next_cursor\":" TEXT0)},
    {"MediaList",
     OBJECT("\"media\"", "\"media\":" LIST(OBJECT("\"sha256\",\"time_ms\",\"unit\",\"unit_zh\",\"unit_en\",\"type\",\"alarm_id\",\"bytes\"",
                                              "\"sha256\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{64}$\"},\"time_ms\":" MS
                                              ",\"unit\":{\"type\":\"string\",\"enum\":[\"adas\",\"dsm\",\"tpms\",\"bsd\"]},\"unit_zh\":" TEXT ",\"unit_en\":" TEXT
                                              ",\"type\":{\"type\":\"string\",\"enum\":[\"picture\",\"audio\",\"video\"]},\"alarm_id\":" INT
                                              ",\"bytes\":" INT)))},
    {"ParentLink", OBJECT("\"url\",\"expires_ms\"", "\"url\":" TEXT ",\"expires_ms\":" MS)},
    {"ParentView",
     OBJECT("\"plate\",\"route\",\"stop\",\"server_time_ms\",\"expires_ms\",\"state\",\"stops_away\",\"eta_ms\",\"delay_s\",\"passed_ms\",\"position\","
            "\"progress\",\"notices\"",
            "\"plate\":" TEXT ",\"route\":" OBJECT("\"name_zh\",\"name_en\"", "\"name_zh\":" TEXT ",\"name_en\":" TEXT) ",\"stop\":" OBJECT(
                "\"name_zh\",\"name_en\",\"planned_ms\"", "\"name_zh\":" TEXT ",\"name_en\":" TEXT ",\"planned_ms\":" MS0) ",\"server_time_ms\":" MS
            ",\"expires_ms\":" MS ",\"state\":{\"type\":\"string\",\"enum\":[\"not_running\",\"coming\",\"arriving\",\"at_stop\",\"passed\","
            "\"no_signal\"]},\"stops_away\":" INT0 ",\"eta_ms\":" MS0 ",\"delay_s\":" INT0 ",\"passed_ms\":" MS0 ",\"position\":" OR_NULL(
                OBJECT("\"lat\",\"lon\",\"age_ms\"", "\"lat\":" NUM ",\"lon\":" NUM ",\"age_ms\":" INT)) ",\"progress\":" LIST(
                OBJECT("\"mine\",\"state\"", "\"mine\":" BOOL ",\"state\":{\"type\":\"string\",\"enum\":[\"passed\",\"next\",\"ahead\"]}")) ",\"notices\":"
            LIST(OBJECT("\"kind\",\"at_ms\"", "\"kind\":{\"type\":\"string\",\"enum\":[\"arriving\"]},\"at_ms\":" MS)))},
    {"Map", OBJECT("\"set\",\"name_zh\",\"name_en\",\"min_zoom\",\"max_zoom\",\"bounds\",\"attribution\",\"crs\"",
                   "\"set\":" TEXT ",\"name_zh\":" TEXT ",\"name_en\":" TEXT ",\"min_zoom\":" INT ",\"max_zoom\":" INT ",\"bounds\":" TUPLE(
                       "4", "4", NUM) ",\"attribution\":" TEXT ",\"crs\":{\"type\":\"string\",\"enum\":[\"wgs84\"]}")},
    {"Maps", OBJECT("\"maps\"", "\"maps\":" LIST(REF("Map")))},
};

const struct api_schema *api_schemas(size_t *ret_n)
{
    *ret_n = sizeof table / sizeof *table;
    return table;
}
