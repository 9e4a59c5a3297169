/*
 * geo - distances, lines and polygons on the ground. Degrees WGS-84 in, metres out; own arithmetic, no projection library.
 * Good for a county: equirectangular at the mean latitude is within 0.1 % of the great circle below 20 km up to 60 degrees of
 * latitude (tests/unit/core/test_geo.c). Refuses nothing: a NAN in gives a NAN out.
 */
#ifndef SCHOOLWARD_GEO_H
#define SCHOOLWARD_GEO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rc.h"

struct geo_pt {
    double lat, lon; /* degrees */
};

/* Great-circle distance in metres (haversine on the mean sphere, IUGG mean radius 6371008.8 m). */
double geo_distance_m(struct geo_pt a, struct geo_pt b);

/* Fast distance for points a few kilometres apart, see head. */
double geo_near_m(struct geo_pt a, struct geo_pt b);

/* Initial course from a to b, degrees true 0..360. */
double geo_course_deg(struct geo_pt a, struct geo_pt b);

/* The point `along` metres from a on the course given. */
struct geo_pt geo_ahead(struct geo_pt a, double course_deg, double along_m);

/*
 * A polyline prepared for matching: cumulative length and a packed grid over its legs, so that the nearest leg is found in time
 * that does not grow with the line (tests/bench/bench_geo.c: 50 to 50,000 legs).
 */
struct geo_line;

/*
 * geo_line_new - prepare a polyline.
 *   pt, n    n >= 2 points, finite, |lat| <= 85; copied
 *   returns  RC_OK; RC_INVALID n < 2, a point not finite or the whole line shorter than 1 m; RC_NO_MEMORY
 */
enum rc geo_line_new(const struct geo_pt *pt, size_t n, struct geo_line **ret_line) RC_MUST_USE;
void geo_line_free(struct geo_line *l); /* NULL is fine */

size_t geo_line_points(const struct geo_line *l, const struct geo_pt **ret_pt);
double geo_line_length_m(const struct geo_line *l);
struct geo_pt geo_line_at(const struct geo_line *l, double along_m); /* clamped to the ends */

struct geo_match {
    double offset_m; /* from the nearest point of the line, >= 0 */
    double along_m;  /* of that point, from the line's start */
    uint32_t leg;    /* index of the nearest leg, 0..n-2 */
};

/*
 * geo_line_match - nearest place on the line.
 *   hint_m   where the point is expected (last along_m), or NAN: of several passes of the line through the same street the one nearest
 *            to hint_m and not more than 2 km away from it wins when offsets differ by less than 15 m, so that a loop route does not jump
 *   limit_m  give up looking further than this; offset_m is then INFINITY
 */
struct geo_match geo_line_match(const struct geo_line *l, struct geo_pt p, double hint_m, double limit_m);

/*
 * geo_offset_m - brute-force distance of a point from a polyline; the yard-stick geo_line_match is tested against.
 *   line, n  n >= 2 points
 *   returns  metres to the nearest leg, 0 when on it; NAN if p is not finite
 */
double geo_offset_m(const struct geo_pt *line, size_t n, struct geo_pt p);

/* True if p is inside the polygon (even-odd rule, closed implicitly, n >= 3; a point on the edge may be either). */
bool geo_inside(const struct geo_pt *ring, size_t n, struct geo_pt p);

#endif
