#include "roads.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A driver of a bus stays on the larger streets: how long a metre feels, by enum roads_class. */
static const double class_weight[ROADS_CLASSES] = {3.0, 1.2, 1.0, 1.0, 1.0, 1.3, 1.4, 3.0, 6.0};

static enum roads_class class_of_word(const char *w)
{
    static const char *const word[ROADS_CLASSES] = {"motorway",     "trunk",       "primary",       "secondary", "tertiary",
                                                    "unclassified", "residential", "living_street", "service"};
    for (int i = 0; i < ROADS_CLASSES; i++) {
        size_t n = strlen(word[i]);
        if (!strncmp(w, word[i], n) && (!w[n] || !strcmp(w + n, "_link")))
            return (enum roads_class)i;
    }
    return ROADS_SERVICE;
}

static char *copy_text(const json_t *j)
{
    const char *s = json_string_value(j);
    return strdup(s ? s : "");
}

static bool read_edge(struct roads *r, const json_t *row, const enum roads_class *classes, size_t nclasses, struct roads_edge *e)
{
    json_int_t v[6];
    if (json_array_size(row) != 7)
        return false;
    for (size_t i = 0; i < 6; i++) {
        if (!json_is_integer(json_array_get(row, i)))
            return false;
        v[i] = json_integer_value(json_array_get(row, i));
    }
    const json_t *inner = json_array_get(row, 6);
    size_t m = json_array_size(inner) / 2;
    if (v[0] < 0 || v[1] < 0 || (size_t)v[0] >= r->nodes || (size_t)v[1] >= r->nodes || v[2] < 0 || (size_t)v[2] >= nclasses || v[5] < 0 ||
        (size_t)v[5] >= r->names)
        return false;
    *e = (struct roads_edge){.from = (uint32_t)v[0],
                             .to = (uint32_t)v[1],
                             .cls = classes[v[2]],
                             .oneway = v[3] != 0,
                             .posted_kmh = (int)v[4],
                             .name = (uint32_t)v[5],
                             .n = m + 2};
    e->pt = calloc(e->n, sizeof *e->pt);
    if (!e->pt)
        return false;
    e->pt[0] = r->node[e->from];
    for (size_t i = 0; i < m; i++) {
        e->pt[i + 1].lon = json_number_value(json_array_get(inner, 2 * i));
        e->pt[i + 1].lat = json_number_value(json_array_get(inner, 2 * i + 1));
    }
    e->pt[m + 1] = r->node[e->to];
    for (size_t i = 1; i < e->n; i++)
        e->length_m += geo_near_m(e->pt[i - 1], e->pt[i]);
    return true;
}

static bool index_hops(struct roads *r)
{
    if (!r->edge || !r->edges)
        return false;
    r->first = calloc(r->nodes + 1, sizeof *r->first);
    r->hop = calloc(2 * r->edges + 1, sizeof *r->hop);
    uint32_t *fill = calloc(r->nodes + 1, sizeof *fill);
    if (!r->first || !r->hop || !fill) {
        free(fill);
        return false;
    }
    for (size_t i = 0; i < r->edges; i++) {
        r->first[r->edge[i].from + 1]++;
        if (!r->edge[i].oneway)
            r->first[r->edge[i].to + 1]++;
    }
    for (size_t i = 0; i < r->nodes; i++)
        r->first[i + 1] += r->first[i];
    memcpy(fill, r->first, (r->nodes + 1) * sizeof *fill);
    for (uint32_t i = 0; i < r->edges; i++) {
        r->hop[fill[r->edge[i].from]++] = (struct roads_hop){i, false};
        if (!r->edge[i].oneway)
            r->hop[fill[r->edge[i].to]++] = (struct roads_hop){i, true};
    }
    free(fill);
    return true;
}

static bool read_lists(struct roads *r, const json_t *doc)
{
    const json_t *nodes = json_object_get(doc, "nodes"), *names = json_object_get(doc, "names"), *schools = json_object_get(doc, "schools");
    r->nodes = json_array_size(nodes) / 2;
    r->names = json_array_size(names);
    r->schools = json_array_size(schools);
    if (!r->nodes || !r->names)
        return false;
    r->node = calloc(r->nodes, sizeof *r->node);
    r->name = calloc(r->names, sizeof *r->name);
    r->name_en = calloc(r->names, sizeof *r->name_en);
    r->school = calloc(r->schools + 1, sizeof *r->school);
    if (!r->node || !r->name || !r->name_en || !r->school)
        return false;
    for (size_t i = 0; i < r->nodes; i++) {
        r->node[i].lon = json_number_value(json_array_get(nodes, 2 * i));
        r->node[i].lat = json_number_value(json_array_get(nodes, 2 * i + 1));
    }
    for (size_t i = 0; i < r->names; i++) {
        r->name[i] = copy_text(json_array_get(json_array_get(names, i), 0));
        r->name_en[i] = copy_text(json_array_get(json_array_get(names, i), 1));
        if (!r->name[i] || !r->name_en[i])
            return false;
    }
    for (size_t i = 0; i < r->schools; i++) {
        const json_t *s = json_array_get(schools, i), *at = json_object_get(s, "lonlat");
        r->school[i] = (struct roads_school){
            .at = {.lat = json_number_value(json_array_get(at, 1)), .lon = json_number_value(json_array_get(at, 0))},
            .name = copy_text(json_object_get(s, "name")),
            .name_en = copy_text(json_object_get(s, "name_en")),
        };
    }
    return true;
}

enum rc roads_read(const char *path, struct roads **ret_roads, char *why, size_t cap)
{
    json_error_t err;
    json_t *doc = json_load_file(path, 0, &err);
    if (!doc) {
        snprintf(why, cap, "%s: %s: make it with scripts/map/build", path, err.text);
        return RC_IO;
    }
    enum rc rc = RC_INVALID;
    struct roads *r = calloc(1, sizeof *r);
    const char *format = json_string_value(json_object_get(doc, "format"));
    const json_t *edges = json_object_get(doc, "edges"), *classes = json_object_get(doc, "classes");
    enum roads_class class_at[64];
    size_t nclasses = json_array_size(classes);
    snprintf(why, cap, "%s: not a schoolward-roads-1 file", path);
    if (!r || !format || strcmp(format, "schoolward-roads-1") != 0 || nclasses > 64 || !read_lists(r, doc))
        goto out;
    for (size_t i = 0; i < nclasses; i++) {
        const char *w = json_string_value(json_array_get(classes, i));
        class_at[i] = class_of_word(w ? w : "");
    }
    r->edge = calloc(json_array_size(edges) + 1, sizeof *r->edge);
    for (size_t i = 0; r->edge && i < json_array_size(edges); i++) {
        if (!read_edge(r, json_array_get(edges, i), class_at, nclasses, &r->edge[i])) {
            snprintf(why, cap, "%s: edges[%zu] is wrong", path, i);
            goto out;
        }
        r->edges = i + 1;
    }
    if (!index_hops(r))
        goto out;
    *ret_roads = r;
    r = NULL;
    rc = RC_OK;
out:
    roads_free(r);
    json_decref(doc);
    return rc;
}

void roads_free(struct roads *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->edges; i++)
        free(r->edge[i].pt);
    for (size_t i = 0; i < r->names && r->name && r->name_en; i++) {
        free(r->name[i]);
        free(r->name_en[i]);
    }
    for (size_t i = 0; i < r->schools && r->school; i++) {
        free(r->school[i].name);
        free(r->school[i].name_en);
    }
    free(r->node);
    free(r->edge);
    free(r->first);
    free(r->hop);
    free(r->name);
    free(r->name_en);
    free(r->school);
    free(r);
}

uint32_t roads_hop_to(const struct roads *r, struct roads_hop h)
{
    return h.reverse ? r->edge[h.edge].from : r->edge[h.edge].to;
}

uint32_t roads_nearest(const struct roads *r, struct geo_pt p, enum roads_class least)
{
    uint32_t best = UINT32_MAX;
    double best_m = HUGE_VAL;
    for (size_t i = 0; i < r->edges; i++) {
        if (r->edge[i].cls > least)
            continue;
        uint32_t end[2] = {r->edge[i].from, r->edge[i].to};
        for (int k = 0; k < 2; k++) {
            double m = geo_near_m(p, r->node[end[k]]);
            if (m < best_m) {
                best_m = m;
                best = end[k];
            }
        }
    }
    return best;
}

/* A binary heap of (cost, node); a node may be in it several times, the settled ones are skipped on the way out. */
struct heap {
    struct heap_item {
        double cost;
        uint32_t node;
    } * item;
    size_t n, cap;
};

static bool heap_push(struct heap *h, double cost, uint32_t node)
{
    if (h->n == h->cap) {
        size_t cap = h->cap ? 2 * h->cap : 1024;
        void *more = realloc(h->item, cap * sizeof *h->item);
        if (!more)
            return false;
        h->item = more;
        h->cap = cap;
    }
    size_t i = h->n++;
    while (i && h->item[(i - 1) / 2].cost > cost) {
        h->item[i] = h->item[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->item[i] = (struct heap_item){cost, node};
    return true;
}

static struct heap_item heap_pop(struct heap *h)
{
    struct heap_item top = h->item[0], last = h->item[--h->n];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= h->n)
            break;
        if (k + 1 < h->n && h->item[k + 1].cost < h->item[k].cost)
            k++;
        if (h->item[k].cost >= last.cost)
            break;
        h->item[i] = h->item[k];
        i = k;
    }
    h->item[i] = last;
    return top;
}

static enum rc path_back(const struct roads *r, uint32_t from, uint32_t to, const struct roads_hop *by, struct roads_hop **ret_hop, size_t *ret_n)
{
    size_t n = 0;
    for (uint32_t v = to; v != from; n++)
        v = by[v].reverse ? r->edge[by[v].edge].to : r->edge[by[v].edge].from;
    struct roads_hop *hop = calloc(n, sizeof *hop);
    if (!hop)
        return RC_NO_MEMORY;
    uint32_t v = to;
    for (size_t i = n; i-- > 0;) {
        hop[i] = by[v];
        v = by[v].reverse ? r->edge[by[v].edge].to : r->edge[by[v].edge].from;
    }
    *ret_hop = hop;
    *ret_n = n;
    return RC_OK;
}

enum rc roads_path(const struct roads *r, uint32_t from, uint32_t to, const double *factor, const struct roads_hop *came, struct roads_hop **ret_hop,
                   size_t *ret_n)
{
    if (from == to)
        return RC_NOT_FOUND;
    double *cost = malloc(r->nodes * sizeof *cost);
    struct roads_hop *by = malloc(r->nodes * sizeof *by);
    struct heap heap = {0};
    enum rc rc = RC_NO_MEMORY;
    if (!cost || !by || !heap_push(&heap, 0, from))
        goto out;
    for (size_t i = 0; i < r->nodes; i++)
        cost[i] = HUGE_VAL;
    cost[from] = 0;
    rc = RC_NOT_FOUND;
    while (heap.n) {
        struct heap_item it = heap_pop(&heap);
        if (it.cost > cost[it.node])
            continue;
        if (it.node == to) {
            rc = path_back(r, from, to, by, ret_hop, ret_n);
            break;
        }
        for (uint32_t k = r->first[it.node]; k < r->first[it.node + 1]; k++) {
            struct roads_hop h = r->hop[k];
            if (it.node == from && came && came->edge == h.edge && came->reverse != h.reverse)
                continue;
            const struct roads_edge *e = &r->edge[h.edge];
            double c = it.cost + e->length_m * class_weight[e->cls] * (factor ? factor[h.edge] : 1.0);
            uint32_t v = roads_hop_to(r, h);
            if (c < cost[v]) {
                cost[v] = c;
                by[v] = h;
                if (!heap_push(&heap, c, v)) {
                    rc = RC_NO_MEMORY;
                    goto out;
                }
            }
        }
    }
out:
    free(heap.item);
    free(cost);
    free(by);
    return rc;
}
