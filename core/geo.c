#include "geo.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double earth_m = 6371008.8; /* mean radius, IUGG */
static const double to_rad = 3.14159265358979323846 / 180.0;

/* Metres per degree of latitude on the mean sphere. */
#define DEG_M (earth_m * to_rad)

double geo_distance_m(struct geo_pt a, struct geo_pt b)
{
    double p = sin((b.lat - a.lat) * to_rad / 2), q = sin((b.lon - a.lon) * to_rad / 2);
    double h = p * p + cos(a.lat * to_rad) * cos(b.lat * to_rad) * q * q;
    return 2 * earth_m * asin(sqrt(h < 1 ? h : 1));
}

double geo_near_m(struct geo_pt a, struct geo_pt b)
{
    double x = (b.lon - a.lon) * cos((a.lat + b.lat) / 2 * to_rad), y = b.lat - a.lat;
    return DEG_M * sqrt(x * x + y * y);
}

double geo_course_deg(struct geo_pt a, struct geo_pt b)
{
    double d = (b.lon - a.lon) * to_rad, p = a.lat * to_rad, q = b.lat * to_rad;
    double c = atan2(sin(d) * cos(q), cos(p) * sin(q) - sin(p) * cos(q) * cos(d)) / to_rad;
    return c < 0 ? c + 360 : c;
}

struct geo_pt geo_ahead(struct geo_pt a, double course_deg, double along_m)
{
    double d = along_m / earth_m, c = course_deg * to_rad, p = a.lat * to_rad;
    double q = asin(sin(p) * cos(d) + cos(p) * sin(d) * cos(c));
    double l = atan2(sin(c) * sin(d) * cos(p), cos(d) - sin(p) * sin(q));
    double lon = a.lon + l / to_rad;
    return (struct geo_pt){q / to_rad, lon > 180 ? lon - 360 : lon < -180 ? lon + 360 : lon};
}

/*
 * The line is kept in a flat frame of its own: metres east and north of its first point, at one scale for the whole line. Within a county the scale
 * error (cosine of latitude over some tens of kilometres) stays below a metre in the offset, since offsets are short.
 */
struct flat {
    double x, y;
};
struct node { /* together, because matching reads them together */
    struct flat p;
    double along; /* metres from the first point */
};
struct geo_line {
    struct geo_pt origin;
    double per_lat, per_lon; /* metres per degree */
    size_t n;
    struct geo_pt *pt;
    struct node *at;
    /* packed grid over the legs: cell (cx, cy) lists legs slot[first[cell]] .. slot[first[cell + 1] - 1] */
    double cell_m, min_x, min_y;
    int nx, ny;
    uint32_t *first, *slot;
};

static struct flat flatten(const struct geo_line *l, struct geo_pt p)
{
    return (struct flat){(p.lon - l->origin.lon) * l->per_lon, (p.lat - l->origin.lat) * l->per_lat};
}

/* Squared distance of p from leg a-b, and where along it (0..1). */
static double leg_offset2(struct flat a, struct flat b, struct flat p, double *ret_t)
{
    double dx = b.x - a.x, dy = b.y - a.y, len2 = dx * dx + dy * dy;
    double t = len2 > 0 ? ((p.x - a.x) * dx + (p.y - a.y) * dy) / len2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    double ex = a.x + t * dx - p.x, ey = a.y + t * dy - p.y;
    *ret_t = t;
    return ex * ex + ey * ey;
}

static int clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static int cell_of(double v, double min, double cell_m, int n)
{
    double c = floor((v - min) / cell_m);
    return c < 0 ? 0 : c >= n ? n - 1 : (int)c;
}

/* Call fn for every cell the leg's box touches; legs are short against cells, so the box is a good cover. */
static void leg_cells(const struct geo_line *l, size_t leg, int *x0, int *x1, int *y0, int *y1)
{
    struct flat a = l->at[leg].p, b = l->at[leg + 1].p;
    *x0 = cell_of(fmin(a.x, b.x), l->min_x, l->cell_m, l->nx);
    *x1 = cell_of(fmax(a.x, b.x), l->min_x, l->cell_m, l->nx);
    *y0 = cell_of(fmin(a.y, b.y), l->min_y, l->cell_m, l->ny);
    *y1 = cell_of(fmax(a.y, b.y), l->min_y, l->cell_m, l->ny);
}

static enum rc build_grid(struct geo_line *l)
{
    double max_x = l->at[0].p.x, max_y = l->at[0].p.y;
    l->min_x = max_x;
    l->min_y = max_y;
    for (size_t i = 1; i < l->n; i++) {
        l->min_x = fmin(l->min_x, l->at[i].p.x);
        l->min_y = fmin(l->min_y, l->at[i].p.y);
        max_x = fmax(max_x, l->at[i].p.x);
        max_y = fmax(max_y, l->at[i].p.y);
    }
    /* A cell of about two legs' length keeps both the cells looked at and the legs in one cell few; at most about 4 cells per leg. */
    double mean_leg_m = l->at[l->n - 1].along / (double)(l->n - 1);
    double area = (max_x - l->min_x + 1) * (max_y - l->min_y + 1);
    l->cell_m = fmax(fmax(25, 2 * mean_leg_m), sqrt(area / (4.0 * (double)l->n + 64)));
    l->nx = (int)((max_x - l->min_x) / l->cell_m) + 1;
    l->ny = (int)((max_y - l->min_y) / l->cell_m) + 1;
    size_t cells = (size_t)l->nx * (size_t)l->ny;
    l->first = calloc(cells + 1, sizeof *l->first);
    if (l->first == NULL)
        return RC_NO_MEMORY;
    size_t slots = 0;
    int x0, x1, y0, y1;
    for (size_t leg = 0; leg + 1 < l->n; leg++) {
        leg_cells(l, leg, &x0, &x1, &y0, &y1);
        for (int y = y0; y <= y1; y++)
            for (int x = x0; x <= x1; x++) {
                l->first[(size_t)y * (size_t)l->nx + (size_t)x + 1]++;
                slots++;
            }
    }
    l->slot = malloc((slots > 0 ? slots : 1) * sizeof *l->slot);
    uint32_t *fill = calloc(cells > 0 ? cells : 1, sizeof *fill);
    if (l->slot == NULL || fill == NULL) {
        free(fill);
        return RC_NO_MEMORY;
    }
    for (size_t c = 0; c < cells; c++)
        l->first[c + 1] += l->first[c];
    memcpy(fill, l->first, cells * sizeof *fill);
    for (size_t leg = 0; leg + 1 < l->n; leg++) {
        leg_cells(l, leg, &x0, &x1, &y0, &y1);
        for (int y = y0; y <= y1; y++)
            for (int x = x0; x <= x1; x++)
                l->slot[fill[(size_t)y * (size_t)l->nx + (size_t)x]++] = (uint32_t)leg;
    }
    free(fill);
    return RC_OK;
}

enum rc geo_line_new(const struct geo_pt *pt, size_t n, struct geo_line **ret_line)
{
    if (n < 2 || n > UINT32_MAX / 2)
        return RC_INVALID;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(pt[i].lat) || !isfinite(pt[i].lon) || fabs(pt[i].lat) > 85 || fabs(pt[i].lon) > 180)
            return RC_INVALID;
    struct geo_line *l = calloc(1, sizeof *l);
    if (l == NULL)
        return RC_NO_MEMORY;
    l->n = n;
    l->pt = malloc(n * sizeof *l->pt);
    l->at = malloc(n * sizeof *l->at);
    enum rc rc = RC_NO_MEMORY;
    if (l->pt == NULL || l->at == NULL)
        goto out;
    memcpy(l->pt, pt, n * sizeof *pt);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pt[i].lat;
    l->origin = pt[0];
    l->per_lat = DEG_M;
    l->per_lon = DEG_M * cos(sum / (double)n * to_rad);
    l->at[0].along = 0;
    for (size_t i = 0; i < n; i++) {
        l->at[i].p = flatten(l, pt[i]);
        if (i > 0)
            l->at[i].along = l->at[i - 1].along + geo_near_m(pt[i - 1], pt[i]);
    }
    rc = RC_INVALID;
    if (l->at[n - 1].along < 1)
        goto out;
    rc = build_grid(l);
out:
    if (rc != RC_OK) {
        geo_line_free(l);
        return rc;
    }
    *ret_line = l;
    return RC_OK;
}

void geo_line_free(struct geo_line *l)
{
    if (l == NULL)
        return;
    free(l->pt);
    free(l->at);
    free(l->first);
    free(l->slot);
    free(l);
}

size_t geo_line_points(const struct geo_line *l, const struct geo_pt **ret_pt)
{
    *ret_pt = l->pt;
    return l->n;
}

double geo_line_length_m(const struct geo_line *l)
{
    return l->at[l->n - 1].along;
}

/* The leg that holds along_m, 0 <= along_m <= length. */
static size_t leg_of(const struct geo_line *l, double along_m)
{
    size_t lo = 0, hi = l->n - 1;
    for (int turn = 0; hi - lo > 1; turn++) {
        size_t mid = (lo + hi) / 2;
        if (turn < 4) { /* legs are of similar length: a proportional guess is near, and a long line is not read all over */
            double t = (along_m - l->at[lo].along) / (l->at[hi].along - l->at[lo].along);
            mid = lo + 1 + (size_t)(fmax(0, fmin(1, t)) * (double)(hi - lo - 2));
        }
        if (l->at[mid].along <= along_m)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

struct geo_pt geo_line_at(const struct geo_line *l, double along_m)
{
    if (!(along_m > 0))
        return l->pt[0];
    if (along_m >= l->at[l->n - 1].along)
        return l->pt[l->n - 1];
    size_t i = leg_of(l, along_m);
    double leg_m = l->at[i + 1].along - l->at[i].along;
    double t = leg_m > 0 ? (along_m - l->at[i].along) / leg_m : 0;
    return (struct geo_pt){l->pt[i].lat + t * (l->pt[i + 1].lat - l->pt[i].lat), l->pt[i].lon + t * (l->pt[i + 1].lon - l->pt[i].lon)};
}

/* Two passes of a route through the same street differ by less than this, metres: kerb to kerb. */
static const double same_street_m = 15;
/* A hint further away than this says nothing, metres. */
static const double hint_reach_m = 2000;

struct best {
    double off2, jump_m; /* jump_m: along the line from the hint, INFINITY without one */
    struct geo_match m;
};

static void consider(const struct geo_line *l, uint32_t leg, struct flat p, double hint_m, struct best *b)
{
    double t, off2 = leg_offset2(l->at[leg].p, l->at[leg + 1].p, p, &t);
    /* not near enough to compete, whatever the hint says */
    double reach = sqrt(b->off2) + same_street_m;
    if (b->off2 < INFINITY && off2 > reach * reach)
        return;
    double along = l->at[leg].along + t * (l->at[leg + 1].along - l->at[leg].along);
    double jump = fabs(along - hint_m);
    if (!(jump <= hint_reach_m))
        jump = INFINITY;
    double off = sqrt(off2), was = sqrt(b->off2);
    bool nearer = off < was - same_street_m || (fabs(off - was) <= same_street_m && (jump < b->jump_m || (!(jump > b->jump_m) && off < was)));
    if (!(b->off2 < INFINITY) || nearer) {
        b->off2 = off2;
        b->jump_m = jump;
        b->m = (struct geo_match){off, along, leg};
    }
}

/* Look through the cells at ring distance r around (cx, cy). */
static void ring(const struct geo_line *l, int cx, int cy, int r, struct flat p, double hint_m, struct best *b)
{
    int y0 = cy - r, y1 = cy + r, x0 = cx - r, x1 = cx + r;
    for (int y = clamp(y0, 0, l->ny); y <= y1 && y < l->ny; y++) {
        bool edge = y == y0 || y == y1;
        int step = edge || r == 0 ? 1 : 2 * r;
        for (int x = x0; x <= x1; x += step) {
            if (x < 0 || x >= l->nx)
                continue;
            size_t c = (size_t)y * (size_t)l->nx + (size_t)x;
            for (uint32_t i = l->first[c]; i < l->first[c + 1]; i++)
                consider(l, l->slot[i], p, hint_m, b);
        }
    }
}

/*
 * A bus goes on: look at the legs around where it is expected, a few behind and some seconds' worth ahead, from the hint outwards. Once one is as near as
 * the width of a street only a leg nearer to the hint could still win, so it usually ends after two or three.
 */
static void window(const struct geo_line *l, struct flat p, double hint_m, struct best *b)
{
    enum { BEHIND = 6, AHEAD = 18 };
    double at_m = fmax(0, fmin(hint_m, l->at[l->n - 1].along));
    size_t at = leg_of(l, at_m), lo = at, hi = at + 1; /* looked at: lo..hi-1 */
    size_t from = at > BEHIND ? at - BEHIND : 0, to = at + AHEAD < l->n - 1 ? at + AHEAD : l->n - 1;
    consider(l, (uint32_t)at, p, hint_m, b);
    while (lo > from || hi < to) {
        double back = lo > from ? at_m - l->at[lo].along : (double)INFINITY, ahead = hi < to ? l->at[hi].along - at_m : (double)INFINITY;
        if (b->m.offset_m <= same_street_m && b->jump_m <= fmin(back, ahead))
            return;
        if (ahead <= back)
            consider(l, (uint32_t)hi++, p, hint_m, b);
        else
            consider(l, (uint32_t)--lo, p, hint_m, b);
    }
}

struct geo_match geo_line_match(const struct geo_line *l, struct geo_pt pt, double hint_m, double limit_m)
{
    struct best b = {.off2 = INFINITY, .jump_m = INFINITY, .m = {INFINITY, NAN, 0}};
    if (!isfinite(pt.lat) || !isfinite(pt.lon))
        return b.m;
    struct flat p = flatten(l, pt);
    if (isfinite(hint_m)) {
        window(l, p, hint_m, &b);
        if (b.m.offset_m <= same_street_m && b.m.offset_m <= limit_m)
            return b.m; /* no other leg can be nearer by more than a street, and none of the rest is nearer to the hint */
    }
    /* A far point starts at the nearest edge of the grid: rings counted from there, distances still from the point. */
    double gx = fmax(l->min_x, fmin(p.x, l->min_x + l->cell_m * l->nx)), gy = fmax(l->min_y, fmin(p.y, l->min_y + l->cell_m * l->ny));
    double outside = sqrt((p.x - gx) * (p.x - gx) + (p.y - gy) * (p.y - gy));
    if (outside > limit_m)
        return b.m;
    int cx = cell_of(gx, l->min_x, l->cell_m, l->nx), cy = cell_of(gy, l->min_y, l->cell_m, l->ny);
    int last = l->nx > l->ny ? l->nx : l->ny;
    for (int r = 0; r <= last; r++) {
        /* nothing in ring r is nearer than (r - 1) cells to the entry point */
        double nearest = (r - 1) * l->cell_m;
        if (nearest > limit_m + outside)
            break;
        if (b.off2 < INFINITY && nearest > sqrt(b.off2) + same_street_m)
            break;
        ring(l, cx, cy, r, p, hint_m, &b);
    }
    if (b.m.offset_m > limit_m)
        b.m = (struct geo_match){INFINITY, NAN, 0};
    return b.m;
}

double geo_offset_m(const struct geo_pt *line, size_t n, struct geo_pt p)
{
    if (!isfinite(p.lat) || !isfinite(p.lon))
        return (double)NAN;
    double per_lon = DEG_M * cos(p.lat * to_rad), best2 = INFINITY, t;
    for (size_t i = 0; i + 1 < n; i++) {
        struct flat a = {(line[i].lon - p.lon) * per_lon, (line[i].lat - p.lat) * DEG_M};
        struct flat b = {(line[i + 1].lon - p.lon) * per_lon, (line[i + 1].lat - p.lat) * DEG_M};
        double off2 = leg_offset2(a, b, (struct flat){0, 0}, &t);
        if (off2 < best2)
            best2 = off2;
    }
    return sqrt(best2);
}

bool geo_inside(const struct geo_pt *ring_pt, size_t n, struct geo_pt p)
{
    bool in = false;
    for (size_t i = 0, j = n - 1; i < n; j = i++) {
        struct geo_pt a = ring_pt[i], b = ring_pt[j];
        if ((a.lat > p.lat) != (b.lat > p.lat) && p.lon < (b.lon - a.lon) * (p.lat - a.lat) / (b.lat - a.lat) + a.lon)
            in = !in;
    }
    return in;
}
