/*
 * gtfs - a recorded day of buses: where they were (positions with trip ids) and the shapes, stops and times their trips should follow (GTFS).
 */
#ifndef SCHOOLWARD_SIM_GTFS_H
#define SCHOOLWARD_SIM_GTFS_H

#include <jansson.h>
#include <stdint.h>

#include "csv.h"

struct gtfs_fix {
    int64_t time_ms;
    double lat, lon;
    double speed_mps, bearing_deg; /* NAN where the recording has none */
    const char *vehicle, *trip;
};

struct gtfs {
    struct csv trips, stop_times, stops, shapes, avl;
    struct gtfs_fix *fix; /* by time, as one sees them all */
    size_t fixes;
    const char **vehicle; /* distinct, in order of appearance */
    size_t vehicles;
};

/* Read DIR/{trips,stop_times,stops,shapes}.txt and the positions. RC_OK; RC_IO, RC_INVALID with the file in why; RC_NO_MEMORY. */
enum rc gtfs_read(const char *dir, const char *avl, struct gtfs *ret_g, char *why, size_t cap) RC_MUST_USE;
void gtfs_release(struct gtfs *g);

/* The shape of a trip, NULL if the trip is not in the feed. */
const char *gtfs_shape_of(const struct gtfs *g, const char *trip);

/*
 * gtfs_fleet - the duty document of that day: a route per shape, and per vehicle the routes of its trips, each from the trip's first position to the
 * next trip's. The caller frees it. NULL without memory. secret_sha256  of the one secret all gateways of the replay share, hex
 */
json_t *gtfs_fleet(const struct gtfs *g, const char *secret_sha256);

#endif
