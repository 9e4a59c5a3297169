#include "path.h"

#include <math.h>
#include <stdlib.h>

#define STEP_M       5.0
#define BEND_HALF_M  10.0 /* a bend is measured between a chord behind and one ahead of this length */
#define SIDE_MPS2    1.4  /* sideways acceleration children put up with */
#define BEND_MIN_MPS 2.5
#define BELOW_KMH    6.5 /* how far below the limit a careful driver stays: the cab warns from 5 km/h below it */
#define GAP_KMH      30.0

static size_t index_at(const struct path *p, double along_m)
{
    size_t lo = 0, hi = p->n - 1;
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (p->along_m[mid] <= along_m)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

struct geo_pt path_at(const struct path *p, double along_m, double *ret_course_deg)
{
    if (along_m < 0)
        along_m = 0;
    if (along_m > p->length_m)
        along_m = p->length_m;
    size_t i = index_at(p, along_m);
    double leg = p->along_m[i + 1] - p->along_m[i], f = leg > 0 ? (along_m - p->along_m[i]) / leg : 0;
    struct geo_pt a = p->pt[i], b = p->pt[i + 1];
    if (ret_course_deg)
        *ret_course_deg = geo_course_deg(a, b);
    return (struct geo_pt){.lat = a.lat + f * (b.lat - a.lat), .lon = a.lon + f * (b.lon - a.lon)};
}

double path_speed_mps(const struct path *p, double along_m, int hasty)
{
    if (along_m >= p->length_m)
        return 0;
    const double *v = hasty ? p->hasty_mps : p->calm_mps;
    size_t i = index_at(p, along_m);
    double ahead = p->along_m[i + 1] - along_m;
    double brake = sqrt(v[i + 1] * v[i + 1] + 2 * PATH_BRAKE_MPS2 * fmax(ahead, 0));
    /* Just past a stop point its own zero must not hold the bus. */
    double here = v[i] > 0 ? v[i] : brake;
    return fmin(fmax(here, v[i + 1]), brake);
}

/* Points every STEP_M, corners of the line kept. */
static enum rc densify(struct path *p, const struct geo_pt *line, size_t n)
{
    size_t cap = n;
    for (size_t i = 1; i < n; i++)
        cap += (size_t)(geo_near_m(line[i - 1], line[i]) / STEP_M) + 1;
    p->pt = calloc(cap, sizeof *p->pt);
    p->along_m = calloc(cap, sizeof *p->along_m);
    p->calm_mps = calloc(cap, sizeof *p->calm_mps);
    p->hasty_mps = calloc(cap, sizeof *p->hasty_mps);
    if (!p->pt || !p->along_m || !p->calm_mps || !p->hasty_mps)
        return RC_NO_MEMORY;
    p->pt[p->n++] = line[0];
    for (size_t i = 1; i < n; i++) {
        double m = geo_near_m(line[i - 1], line[i]);
        if (m < 0.05)
            continue;
        size_t parts = (size_t)ceil(m / STEP_M);
        for (size_t k = 1; k <= parts; k++) {
            double f = (double)k / (double)parts;
            p->pt[p->n] = (struct geo_pt){.lat = line[i - 1].lat + f * (line[i].lat - line[i - 1].lat),
                                          .lon = line[i - 1].lon + f * (line[i].lon - line[i - 1].lon)};
            p->along_m[p->n] = p->along_m[p->n - 1] + m / (double)parts;
            p->n++;
        }
    }
    p->length_m = p->along_m[p->n - 1];
    return p->n >= 2 && p->length_m >= 50 ? RC_OK : RC_INVALID;
}

static double bend_mps(const struct path *p, size_t i)
{
    double at = p->along_m[i];
    if (at < BEND_HALF_M || at > p->length_m - BEND_HALF_M)
        return HUGE_VAL;
    struct geo_pt a = path_at(p, at - BEND_HALF_M, NULL), b = p->pt[i], c = path_at(p, at + BEND_HALF_M, NULL);
    double turn = fabs(remainder(geo_course_deg(b, c) - geo_course_deg(a, b), 360.0)) * M_PI / 180;
    if (turn < 0.03)
        return HUGE_VAL;
    return fmax(sqrt(SIDE_MPS2 * BEND_HALF_M / turn), BEND_MIN_MPS);
}

static void brake_ahead(double *v, const double *along_m, size_t n)
{
    for (size_t i = n - 1; i-- > 0;) {
        double most = sqrt(v[i + 1] * v[i + 1] + 2 * PATH_BRAKE_MPS2 * (along_m[i + 1] - along_m[i]));
        if (v[i] > most)
            v[i] = most;
    }
}

enum rc path_make(const struct geo_pt *line, size_t n, const struct path_limit *limit, size_t limits, const double *stop_m, size_t stops,
                  double over_kmh, struct path **ret_path)
{
    struct path *p = calloc(1, sizeof *p);
    if (!p)
        return RC_NO_MEMORY;
    enum rc rc = densify(p, line, n);
    if (rc != RC_OK)
        goto out;
    p->stop_m = calloc(stops + 1, sizeof *p->stop_m);
    if (!p->stop_m) {
        rc = RC_NO_MEMORY;
        goto out;
    }
    size_t k = 0;
    for (size_t i = 0; i < p->n; i++) {
        while (k < limits && limit[k].to_m <= p->along_m[i])
            k++;
        double kmh = k < limits && limit[k].from_m <= p->along_m[i] ? limit[k].kmh : GAP_KMH;
        double bend = bend_mps(p, i);
        p->calm_mps[i] = fmin((kmh - BELOW_KMH) / 3.6, bend);
        p->hasty_mps[i] = fmin((kmh + over_kmh) / 3.6, bend * 1.15);
    }
    for (size_t s = 0; s < stops; s++) {
        double m = fmin(stop_m[s], p->length_m);
        size_t i = index_at(p, m);
        if (i + 1 < p->n && m - p->along_m[i] > p->along_m[i + 1] - m)
            i++;
        p->calm_mps[i] = p->hasty_mps[i] = 0;
        p->stop_m[p->stops++] = p->along_m[i];
    }
    brake_ahead(p->calm_mps, p->along_m, p->n);
    brake_ahead(p->hasty_mps, p->along_m, p->n);
    *ret_path = p;
    return RC_OK;
out:
    path_free(p);
    return rc;
}

void path_free(struct path *p)
{
    if (!p)
        return;
    free(p->pt);
    free(p->along_m);
    free(p->calm_mps);
    free(p->hasty_mps);
    free(p->stop_m);
    free(p);
}
