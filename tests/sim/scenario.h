/*
 * scenario - what a simulated bus does: the file `schoolward-sim plan` writes and `bus` and `fleet` read (format schoolward-sim.1).
 *
 *   {"format": "schoolward-sim.1",
 *    "routes": [{"id", "line": [[lon, lat], ...], "limits": [[from_m, to_m, kmh], ...], "stops": [{"along_m", "board"}, ...]}],
 *    "buses": [{"id", "gateway", "secret", "route", "start_m", "aboard", "rated", "staff_counted",
 *               "detour": {"leave_m", "rejoin_m", "line"} | absent,
 *               "happenings": [{"what", "at_s", "for_s", "value"}]}]}
 */
#ifndef SCHOOLWARD_SIM_SCENARIO_H
#define SCHOOLWARD_SIM_SCENARIO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "path.h"

#define SCENARIO_ID_MAX     31
#define SCENARIO_STOPS_MAX  24
#define SCENARIO_EVENTS_MAX 24
#define SCENARIO_OVER_KMH   16.0 /* how much too fast a speeding driver is */

enum scenario_what {
    SCENARIO_OVERLOAD = 0,      /* value: persons above rated get in at the first stop after at_s; they stay until the school */
    SCENARIO_SPEEDING,          /* for_s */
    SCENARIO_SOS,               /* the one-key alarm is pressed for for_s */
    SCENARIO_NO_FIX,            /* tunnel: the receiver reports that it has no fix */
    SCENARIO_GNSS_SILENT,       /* the receiver says nothing */
    SCENARIO_COUNTER_UNPLUGGED, /* the counter's line is gone */
    SCENARIO_COUNTER_STALE,     /* the counter answers too late */
    SCENARIO_CAMERA_ALARM,      /* value: alarm type of the driver-monitoring camera */
    SCENARIO_CAMERA_GARBAGE,    /* noise on the camera's line */
    SCENARIO_DOOR_OPEN,         /* the front door is open while the bus drives */
    SCENARIO_BELTS_OPEN,        /* a belt is open at an occupied seat */
    SCENARIO_UNKNOWN_CARD,      /* a card that is on no roster is held to the reader, once */
    SCENARIO_LEFT_BEHIND,       /* at the end of a lap one pupil stays in the bus for value seconds */
    SCENARIO_POWER_LOST,        /* the gateway runs on its battery */
    SCENARIO_WHATS,
};

struct scenario_happening {
    enum scenario_what what;
    double at_s, for_s, value;
};

struct scenario_route {
    char id[SCENARIO_ID_MAX + 1];
    struct geo_pt *line;
    size_t n;
    struct path_limit *limit;
    size_t limits;
    double stop_m[SCENARIO_STOPS_MAX];
    int board[SCENARIO_STOPS_MAX];
    size_t stops;
    struct path *path;
};

struct scenario_bus {
    char id[SCENARIO_ID_MAX + 1], gateway[SCENARIO_ID_MAX + 1], secret[80];
    const struct scenario_route *route;
    double start_m;
    int aboard;               /* pupils at the start */
    int rated;                /* persons */
    int staff, staff_counted; /* aboard; of them those who pass the counted door */
    unsigned cards;           /* number of its driver's card; the attendant's and the pupils' follow. 0: no reader */
    /* First lap on another street: the lap's own way with its own stops, NULL if none. */
    struct path *detour;
    int detour_board[SCENARIO_STOPS_MAX];
    struct scenario_happening event[SCENARIO_EVENTS_MAX];
    size_t events;
};

struct scenario {
    struct scenario_route *route;
    size_t routes;
    struct scenario_bus *bus;
    size_t buses;
};

/* Read a file. RC_OK; RC_IO, RC_INVALID with the place in why; RC_NO_MEMORY. */
enum rc scenario_read(const char *file, struct scenario **ret_s, char *why, size_t cap) RC_MUST_USE;
enum rc scenario_parse(const json_t *doc, struct scenario **ret_s, char *why, size_t cap) RC_MUST_USE;
void scenario_free(struct scenario *s); /* NULL is fine */

const char *scenario_word(enum scenario_what w);

/*
 * scenario_detour - the way of a lap that leaves the route at leave_m, takes `other` and comes back at rejoin_m; stops in between are missed.
 *   ret_board  SCENARIO_STOPS_MAX entries, who boards at each of the path's stops
 */
enum rc scenario_detour(const struct scenario_route *r, double leave_m, double rejoin_m, const struct geo_pt *other, size_t n, struct path **ret_path,
                        int *ret_board) RC_MUST_USE;

#endif
