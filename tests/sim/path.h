/*
 * path - a way to drive with the speed a careful driver has at each place: limits, bends, stops, and braking ahead of all three.
 */
#ifndef SCHOOLWARD_SIM_PATH_H
#define SCHOOLWARD_SIM_PATH_H

#include <stddef.h>

#include "../../core/geo.h"
#include "../../core/rc.h"

#define PATH_ACCEL_MPS2 0.9 /* a full bus pulling away; children stand up early */
#define PATH_BRAKE_MPS2 1.1

struct path_limit {
    double from_m, to_m;
    double kmh; /* limit in force there */
};

struct path {
    struct geo_pt *pt; /* every few metres */
    double *along_m;
    double *calm_mps;  /* what the driver allows himself: below the limit, braking ahead included; 0 at stops */
    double *hasty_mps; /* the same of a driver who is `over_kmh` too fast where the road lets him */
    size_t n;
    double *stop_m; /* where he halts, rising */
    size_t stops;
    double length_m;
};

/*
 * path_make - prepare a way.
 *   line, n      n >= 2 points
 *   limit        by from_m; a gap counts as 30 km/h
 *   stop_m       rising, within the line
 *   over_kmh     for hasty_mps
 *   returns      RC_OK; RC_INVALID line shorter than 50 m; RC_NO_MEMORY
 */
enum rc path_make(const struct geo_pt *line, size_t n, const struct path_limit *limit, size_t limits, const double *stop_m, size_t stops,
                  double over_kmh, struct path **ret_path) RC_MUST_USE;
void path_free(struct path *p); /* NULL is fine */

/* The place and the course at along_m, clamped to the ends. */
struct geo_pt path_at(const struct path *p, double along_m, double *ret_course_deg);

/* The speed that still lets the bus brake for what is ahead of along_m. */
double path_speed_mps(const struct path *p, double along_m, int hasty);

#endif
