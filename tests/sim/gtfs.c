#include "gtfs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATED 60

static double number(const char *s)
{
    return *s ? strtod(s, NULL) : (double)NAN;
}

static int by_time(const void *a, const void *b)
{
    const struct gtfs_fix *x = a, *y = b;
    return x->time_ms < y->time_ms ? -1 : x->time_ms > y->time_ms;
}

static enum rc take_fixes(struct gtfs *g)
{
    const struct csv *c = &g->avl;
    size_t time = csv_column(c, "timestamp"), vehicle = csv_column(c, "vehicle_id"), trip = csv_column(c, "trip_id"), lat = csv_column(c, "latitude"),
           lon = csv_column(c, "longitude"), bearing = csv_column(c, "bearing_deg"), speed = csv_column(c, "speed_mps");
    if (time == c->columns || vehicle == c->columns || lat == c->columns || lon == c->columns)
        return RC_INVALID;
    g->fix = calloc(c->rows, sizeof *g->fix);
    g->vehicle = calloc(c->rows, sizeof(char *));
    if (!g->fix || !g->vehicle)
        return RC_NO_MEMORY;
    for (size_t i = 1; i < c->rows; i++) {
        struct gtfs_fix f = {.time_ms = strtoll(csv_cell(c, i, time), NULL, 10) * 1000,
                             .lat = number(csv_cell(c, i, lat)),
                             .lon = number(csv_cell(c, i, lon)),
                             .speed_mps = number(csv_cell(c, i, speed)),
                             .bearing_deg = number(csv_cell(c, i, bearing)),
                             .vehicle = csv_cell(c, i, vehicle),
                             .trip = csv_cell(c, i, trip)};
        if (f.time_ms <= 0 || !isfinite(f.lat) || !isfinite(f.lon))
            return RC_INVALID;
        g->fix[g->fixes++] = f;
        size_t k = 0;
        while (k < g->vehicles && strcmp(g->vehicle[k], f.vehicle) != 0)
            k++;
        if (k == g->vehicles)
            g->vehicle[g->vehicles++] = f.vehicle;
    }
    qsort(g->fix, g->fixes, sizeof *g->fix, by_time);
    return g->fixes ? RC_OK : RC_INVALID;
}

enum rc gtfs_read(const char *dir, const char *avl, struct gtfs *ret_g, char *why, size_t cap)
{
    struct gtfs g = {0};
    const struct {
        const char *name;
        struct csv *csv;
    } table[] = {{"trips", &g.trips}, {"stop_times", &g.stop_times}, {"stops", &g.stops}, {"shapes", &g.shapes}};
    enum rc rc = RC_OK;
    char path[4096];
    for (size_t i = 0; i < 4 && rc == RC_OK; i++) {
        snprintf(path, sizeof path, "%s/%s.txt", dir, table[i].name);
        rc = csv_read(path, table[i].csv);
    }
    if (rc == RC_OK) {
        snprintf(path, sizeof path, "%s", avl);
        rc = csv_read(avl, &g.avl);
    }
    if (rc == RC_OK)
        rc = take_fixes(&g);
    if (rc != RC_OK) {
        snprintf(why, cap, "%s: %s", path, rc == RC_IO ? strerror(errno) : rc_text(rc));
        gtfs_release(&g);
        return rc;
    }
    *ret_g = g;
    return RC_OK;
}

void gtfs_release(struct gtfs *g)
{
    csv_release(&g->trips);
    csv_release(&g->stop_times);
    csv_release(&g->stops);
    csv_release(&g->shapes);
    csv_release(&g->avl);
    free(g->fix);
    free(g->vehicle);
    memset(g, 0, sizeof *g);
}

const char *gtfs_shape_of(const struct gtfs *g, const char *trip)
{
    size_t id = csv_column(&g->trips, "trip_id"), shape = csv_column(&g->trips, "shape_id");
    for (size_t i = 1; i < g->trips.rows; i++)
        if (!strcmp(csv_cell(&g->trips, i, id), trip))
            return csv_cell(&g->trips, i, shape);
    return NULL;
}

static json_t *shape_line(const struct gtfs *g, const char *shape)
{
    const struct csv *c = &g->shapes;
    size_t id = csv_column(c, "shape_id"), lat = csv_column(c, "shape_pt_lat"), lon = csv_column(c, "shape_pt_lon");
    json_t *line = json_array();
    const char *last_lat = "", *last_lon = "";
    for (size_t i = 1; i < c->rows; i++) {
        const char *a = csv_cell(c, i, lat), *o = csv_cell(c, i, lon);
        if (strcmp(csv_cell(c, i, id), shape) != 0 || (!strcmp(a, last_lat) && !strcmp(o, last_lon)))
            continue;
        json_array_append_new(line, json_pack("[f, f]", number(o), number(a)));
        last_lat = a;
        last_lon = o;
    }
    return line;
}

static int clock_s(const char *t)
{
    int h, m, s;
    return sscanf(t, "%d:%d:%d", &h, &m, &s) == 3 ? h * 3600 + m * 60 + s : -1;
}

static size_t row_of(const struct csv *c, const char *column, const char *value)
{
    size_t k = csv_column(c, column);
    for (size_t i = 1; i < c->rows; i++)
        if (!strcmp(csv_cell(c, i, k), value))
            return i;
    return 0;
}

/* The stops of the first trip that has the shape, and the start of every trip that has it. */
static void shape_times(const struct gtfs *g, const char *shape, json_t *stops, json_t *runs)
{
    const struct csv *c = &g->stop_times, *s = &g->stops;
    size_t trip = csv_column(c, "trip_id"), arrival = csv_column(c, "arrival_time"), stop = csv_column(c, "stop_id");
    size_t name = csv_column(s, "stop_name"), lat = csv_column(s, "stop_lat"), lon = csv_column(s, "stop_lon");
    const char *model = NULL, *last_trip = "";
    int began = 0;
    for (size_t i = 1; i < c->rows; i++) {
        const char *t = csv_cell(c, i, trip), *of = gtfs_shape_of(g, t);
        int at = clock_s(csv_cell(c, i, arrival));
        if (!of || strcmp(of, shape) != 0 || at < 0)
            continue;
        if (!model || strcmp(t, last_trip) != 0) {
            char start[16];
            snprintf(start, sizeof start, "%02d:%02d:%02d", at / 3600 % 48, at / 60 % 60, at % 60);
            json_array_append_new(runs, json_pack("{s:s, s:s}", "id", t, "start", start));
            last_trip = t;
            if (!model) {
                model = t;
                began = at;
            }
        }
        size_t row = row_of(s, "stop_id", csv_cell(c, i, stop));
        if (strcmp(t, model) != 0 || !row)
            continue;
        json_array_append_new(stops, json_pack("{s:s, s:s, s:s, s:f, s:f, s:i}", "id", csv_cell(s, row, 0), "name_zh", csv_cell(s, row, name),
                                               "name_en", csv_cell(s, row, name), "lat", number(csv_cell(s, row, lat)), "lon",
                                               number(csv_cell(s, row, lon)), "offset_s", at - began));
    }
}

static json_t *vehicle_routes(const struct gtfs *g, const char *vehicle)
{
    json_t *list = json_array();
    const char *trip = NULL;
    for (size_t i = 0; i < g->fixes; i++) {
        const struct gtfs_fix *f = &g->fix[i];
        if (strcmp(f->vehicle, vehicle) != 0 || (trip && !strcmp(trip, f->trip)))
            continue;
        size_t n = json_array_size(list);
        if (n && trip && !json_object_get(json_array_get(list, n - 1), "to_ms"))
            json_object_set_new(json_array_get(list, n - 1), "to_ms", json_integer(f->time_ms));
        trip = f->trip;
        const char *shape = gtfs_shape_of(g, f->trip);
        if (shape)
            json_array_append_new(list, json_pack("{s:s, s:I}", "route", shape, "from_ms", (json_int_t)f->time_ms));
    }
    return list;
}

json_t *gtfs_fleet(const struct gtfs *g, const char *secret_sha256)
{
    json_t *routes = json_array(), *vehicles = json_array(), *known = json_object();
    for (size_t i = 1; i < g->trips.rows; i++) {
        const char *shape = gtfs_shape_of(g, csv_cell(&g->trips, i, csv_column(&g->trips, "trip_id")));
        if (!shape || json_object_get(known, shape))
            continue;
        json_object_set_new(known, shape, json_true());
        char name[64];
        snprintf(name, sizeof name, "%.30s %.20s", shape, csv_cell(&g->trips, i, csv_column(&g->trips, "trip_headsign")));
        json_t *stops = json_array(), *runs = json_array();
        shape_times(g, shape, stops, runs);
        json_array_append_new(routes, json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "id", shape, "name_zh", name, "name_en", name, "rural", 0,
                                                "line", shape_line(g, shape), "stops", stops, "runs", runs));
    }
    for (size_t i = 0; i < g->vehicles; i++) {
        char gateway[32], plate[24];
        snprintf(gateway, sizeof gateway, "gw-%.24s", g->vehicle[i]);
        snprintf(plate, sizeof plate, "%.20s", g->vehicle[i]);
        json_array_append_new(vehicles, json_pack("{s:s, s:s, s:s, s:s, s:{s:i}, s:i, s:i, s:o}", "id", g->vehicle[i], "plate", plate, "gateway",
                                                  gateway, "secret_sha256", secret_sha256, "rated", "total", RATED, "staff", 1, "staff_uncounted", 1,
                                                  "routes", vehicle_routes(g, g->vehicle[i])));
    }
    json_decref(known);
    return json_pack("{s:s, s:o, s:o}", "format", "schoolward.duty.1", "routes", routes, "vehicles", vehicles);
}
