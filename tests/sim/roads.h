/*
 * roads - the street graph made by scripts/map (astana-roads.json): read once, then shortest paths over it.
 */
#ifndef SCHOOLWARD_SIM_ROADS_H
#define SCHOOLWARD_SIM_ROADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/geo.h"
#include "../../core/rc.h"

enum roads_class { /* as OpenStreetMap's highway=*, links with their road */
                   ROADS_MOTORWAY = 0,
                   ROADS_TRUNK,
                   ROADS_PRIMARY,
                   ROADS_SECONDARY,
                   ROADS_TERTIARY,
                   ROADS_UNCLASSIFIED,
                   ROADS_RESIDENTIAL,
                   ROADS_LIVING_STREET,
                   ROADS_SERVICE,
                   ROADS_CLASSES,
};

struct roads_edge {
    uint32_t from, to; /* nodes */
    enum roads_class cls;
    bool oneway;       /* from -> to only */
    int posted_kmh;    /* 0 = no sign known */
    uint32_t name;     /* index into names, 0 = none */
    struct geo_pt *pt; /* both end nodes included, from first */
    size_t n;
    double length_m;
};

struct roads_hop { /* one edge as driven */
    uint32_t edge;
    bool reverse; /* to -> from */
};

struct roads_school {
    struct geo_pt at;
    char *name, *name_en;
};

struct roads {
    struct geo_pt *node;
    size_t nodes;
    struct roads_edge *edge;
    size_t edges;
    uint32_t *first; /* hops out of node i: hop[first[i] .. first[i + 1]) */
    struct roads_hop *hop;
    char **name, **name_en;
    size_t names;
    struct roads_school *school;
    size_t schools;
};

/* Read a graph. RC_OK; RC_IO, RC_INVALID (not of this format), RC_NO_MEMORY with the reason in why. */
enum rc roads_read(const char *path, struct roads **ret_roads, char *why, size_t cap) RC_MUST_USE;
void roads_free(struct roads *r); /* NULL is fine */

uint32_t roads_hop_to(const struct roads *r, struct roads_hop h);

/* The node nearest to p that lies on a street of class no lesser than `least` (ROADS_RESIDENTIAL: no service ways); UINT32_MAX if none. */
uint32_t roads_nearest(const struct roads *r, struct geo_pt p, enum roads_class least);

/*
 * roads_path - the cheapest way between two nodes.
 *   factor   what a metre of edge i costs, times the class's own weight; NULL = 1 for all, INFINITY = never. edges entries
 *   came     the hop that led to `from`: not turned back on at once; NULL if none
 *   returns  RC_OK with *ret_hop (malloc) in driving order and *ret_n >= 1; RC_NOT_FOUND; RC_NO_MEMORY
 */
enum rc roads_path(const struct roads *r, uint32_t from, uint32_t to, const double *factor, const struct roads_hop *came, struct roads_hop **ret_hop,
                   size_t *ret_n) RC_MUST_USE;

#endif
