/*
 * duty - what a bus may do: its rated persons, its approved routes with stops, limits and hazards, when it runs them, deviation
 * permits and weather orders. One JSON format (`schoolward.duty.1`, docs/duty-format.md) for the server's fleet file and for the duty of
 * one bus kept on its gateway. Read once, then only looked at.
 */
#ifndef SCHOOLWARD_DUTY_H
#define SCHOOLWARD_DUTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event.h"
#include "geo.h"
#include "rc.h"

#define DUTY_ID_MAX    31 /* ids: [A-Za-z0-9._:-]+ */
#define DUTY_NAME_MAX  63 /* bytes of UTF-8 */
#define DUTY_PLATE_MAX 23 /* bytes of UTF-8 */

/* Size classes of 机动车 passenger vehicles; they decide the criminal filing line of overload (law pack, rule OVL-3). */
enum duty_size { DUTY_SIZE_UNKNOWN = 0, DUTY_SIZE_LARGE = 1, DUTY_SIZE_MEDIUM = 2, DUTY_SIZE_SMALL = 3 };

/* Road classes as the law tells them apart (RTSL-IR art. 45, 78; R617 art. 35). */
enum duty_road {
    DUTY_ROAD_UNKNOWN = 0,
    DUTY_ROAD_EXPRESSWAY = 1,       /* 高速公路 */
    DUTY_ROAD_URBAN_EXPRESSWAY = 2, /* 城市快速路 */
    DUTY_ROAD_CITY_NO_LINE = 3,     /* 没有道路中心线的城市道路 */
    DUTY_ROAD_RURAL_NO_LINE = 4,    /* 没有道路中心线的公路 */
    DUTY_ROAD_CITY_ONE_LANE = 5,    /* 同方向只有1条机动车道的城市道路 */
    DUTY_ROAD_RURAL_ONE_LANE = 6,   /* 同方向只有1条机动车道的公路 */
    DUTY_ROAD_CITY_MULTI = 7,
    DUTY_ROAD_RURAL_MULTI = 8,
};

/* Hazard tags of a segment (bits). */
enum duty_hazard {
    DUTY_HAZARD_SHARP_BEND = 1 << 0,    /* 急弯 */
    DUTY_HAZARD_STEEP = 1 << 1,         /* 陡坡 */
    DUTY_HAZARD_NARROW_ROAD = 1 << 2,   /* 窄路 */
    DUTY_HAZARD_NARROW_BRIDGE = 1 << 3, /* 窄桥 */
    DUTY_HAZARD_RAIL_CROSSING = 1 << 4,
    DUTY_HAZARD_CLIFF = 1 << 5, /* 临崖 */
    DUTY_HAZARD_WATER = 1 << 6, /* 临水 */
    DUTY_HAZARD_TUNNEL = 1 << 7, /* 隧道: no satellites are expected here */
};

/* The words of the JSON formats, NULL-terminated: by enum duty_road; by bit of enum duty_hazard; by enum duty_weather less 1. */
extern const char *const duty_road_words[], *const duty_hazard_words[], *const duty_weather_words[];

struct duty_segment {
    double from_m, to_m; /* along the route's line, 0 <= from < to */
    int posted_kmh;      /* 0 = no sign known */
    enum duty_road road;
    uint32_t hazards; /* enum duty_hazard */
};

struct duty_stop {
    char id[DUTY_ID_MAX + 1];
    char name_zh[DUTY_NAME_MAX + 1], name_en[DUTY_NAME_MAX + 1];
    struct geo_pt at;
    double along_m;   /* matched on the line at load, in the order given: never less than the stop before */
    int32_t offset_s; /* planned arrival after the run's start, >= 0, not falling */
};

struct duty_run {
    char id[DUTY_ID_MAX + 1];
    int32_t start_s; /* local seconds of the service day, 0..172799 (a run after midnight counts on) */
};

struct duty_route {
    char id[DUTY_ID_MAX + 1];
    char name_zh[DUTY_NAME_MAX + 1], name_en[DUTY_NAME_MAX + 1];
    struct geo_line *line;
    bool rural;                   /* chooses the corridor default of the law pack */
    double corridor_m;            /* 0 = the law pack's default */
    struct duty_segment *segment; /* by from_m, not overlapping; gaps allowed */
    size_t segments;
    struct duty_stop *stop;
    size_t stops;
    struct duty_run *run;
    size_t runs;
};

struct duty_assignment {    /* which route this vehicle runs when; without one the vehicle has no approved route */
    uint32_t route;         /* index into duty_set.route */
    int64_t from_ms, to_ms; /* half open; INT64_MIN / INT64_MAX = always */
};

struct duty_permit { /* a logged deviation permit (R617 art. 30(2): traffic control, works, disaster, bad weather, accident) */
    int64_t from_ms, to_ms;
    char reason[DUTY_ID_MAX + 1]; /* one of: traffic_control works disaster weather accident */
};

struct duty_card { /* a card of this bus's roster */
    uint64_t hash; /* of its number under the fleet's key (event_card.hash) */
    uint8_t kind;  /* enum event_card_kind, never unknown */
};

struct duty_vehicle {
    char id[DUTY_ID_MAX + 1];
    char plate[DUTY_PLATE_MAX + 1];
    char gateway[DUTY_ID_MAX + 1];
    uint8_t secret_sha256[32]; /* of the gateway's secret; all zero in a gateway's own duty file */
    int rated_total;           /* 核定载人数, driver and attendants included, read from the licence; 0 = not known */
    int rated_pupils;          /* 0 = not known */
    enum duty_size size;
    int staff;           /* driver and attendants aboard on a run, >= 1 */
    int staff_uncounted; /* of them those who do not pass a counted door (normally the driver) */
    struct duty_assignment *assignment;
    size_t assignments;
    struct duty_permit *permit;
    size_t permits;
    struct duty_card *card; /* by hash, rising; none twice */
    uint32_t cards;
    uint16_t staff_cards;  /* of them those of attendants: 0 = who looks after the pupils cannot be told */
    bool front_seat_staff; /* the seat beside the driver is the attendant's: nobody is judged for sitting there */
};

enum duty_weather { DUTY_WEATHER_ICE_MUD = 1, DUTY_WEATHER_LOW_VISIBILITY = 2 };
struct duty_order { /* an officer-declared weather order, for the whole set */
    int64_t from_ms, to_ms;
    enum duty_weather kind;
    int visibility_m; /* 0 = not stated */
};

struct duty_set {
    struct duty_route *route;
    size_t routes;
    struct duty_vehicle *vehicle;
    size_t vehicles;
    struct duty_order *order;
    size_t orders;
};

/*
 * duty_read - parse and check a duty document.
 *   json, n  the text, n bytes
 *   returns  RC_OK; RC_INVALID / RC_RANGE with "path: problem: hint" in why (at most cap bytes); RC_NO_MEMORY
 * The whole document is checked: unknown members, duplicate ids, a stop further than 200 m from its line, falling offsets are refused.
 */
enum rc duty_read(const char *json, size_t n, struct duty_set **ret_set, char *why, size_t cap) RC_MUST_USE;
void duty_free(struct duty_set *s); /* NULL is fine */

const struct duty_vehicle *duty_vehicle_of_gateway(const struct duty_set *s, const char *gateway); /* NULL if none */
const struct duty_vehicle *duty_vehicle_by_id(const struct duty_set *s, const char *id);

/* The route this vehicle is approved for at that time, NULL if none. */
const struct duty_route *duty_route_at(const struct duty_set *s, const struct duty_vehicle *v, int64_t time_ms);

/* The segment that holds along_m, NULL in a gap. O(log segments). */
const struct duty_segment *duty_segment_at(const struct duty_route *r, double along_m);

const struct duty_permit *duty_permit_at(const struct duty_vehicle *v, int64_t time_ms);
/* What kind of card this is for this vehicle, enum event_card_kind; EVENT_CARD_UNKNOWN: not on its roster. O(log cards). */
uint8_t duty_card_kind(const struct duty_vehicle *v, uint64_t hash);
/* Of several in force the strictest: the one with the shortest visibility stated. */
const struct duty_order *duty_order_at(const struct duty_set *s, enum duty_weather kind, int64_t time_ms);

#endif
