#include "tiles.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../core/base/db.h"
#include "../core/base/log.h"

struct tiles_set {
    char id[64], name_zh[128], name_en[128], attribution[512];
    const char *type;
    int min_zoom, max_zoom;
    double bounds[4]; /* west, south, east, north */
    pthread_mutex_t lock; /* one statement per file: a read takes some 50 us */
    sqlite3 *db;
    sqlite3_stmt *get;
};

struct tiles {
    struct tiles_set set[TILES_SETS_MAX];
    size_t n;
};

static bool tiles_meta(sqlite3 *db, const char *key, char *out, size_t cap)
{
    sqlite3_stmt *s = NULL;
    bool found = false;
    if (db_prepare(db, "SELECT value FROM metadata WHERE name = $1", &s) != RC_OK)
        return false;
    (void)sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_text(s, 0)) {
        (void)snprintf(out, cap, "%s", (const char *)sqlite3_column_text(s, 0));
        found = true;
    }
    (void)sqlite3_finalize(s);
    return found;
}

static const char *tiles_type(const char *format)
{
    return !strcmp(format, "png")    ? "image/png"
           : !strcmp(format, "jpg")  ? "image/jpeg"
           : !strcmp(format, "webp") ? "image/webp"
                                     : "application/vnd.mapbox-vector-tile";
}

/* "name:zh" is how some makers spell it, "name_zh" others; a map with one name has it in both languages. */
static void tiles_names(struct tiles_set *s)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s", s->id);
    (void)tiles_meta(s->db, "name", name, sizeof name);
    memcpy(s->name_zh, name, sizeof name);
    memcpy(s->name_en, name, sizeof name);
    if (!tiles_meta(s->db, "name_zh", s->name_zh, sizeof s->name_zh))
        (void)tiles_meta(s->db, "name:zh", s->name_zh, sizeof s->name_zh);
    if (!tiles_meta(s->db, "name_en", s->name_en, sizeof s->name_en))
        (void)tiles_meta(s->db, "name:en", s->name_en, sizeof s->name_en);
}

static bool tiles_figures(struct tiles_set *s)
{
    char text[128];
    s->min_zoom = tiles_meta(s->db, "minzoom", text, sizeof text) ? atoi(text) : 0;
    s->max_zoom = tiles_meta(s->db, "maxzoom", text, sizeof text) ? atoi(text) : 14;
    if (s->min_zoom < 0 || s->max_zoom > TILES_ZOOM_MAX || s->min_zoom > s->max_zoom)
        return false;
    static const double world[4] = {-180, -85.0511, 180, 85.0511};
    memcpy(s->bounds, world, sizeof world);
    if (!tiles_meta(s->db, "bounds", text, sizeof text))
        return true;
    return sscanf(text, "%lf,%lf,%lf,%lf", &s->bounds[0], &s->bounds[1], &s->bounds[2], &s->bounds[3]) == 4 && isfinite(s->bounds[0]) &&
           s->bounds[0] >= -180 && s->bounds[2] <= 180 && s->bounds[0] < s->bounds[2] && s->bounds[1] >= -90 && s->bounds[3] <= 90 &&
           s->bounds[1] < s->bounds[3];
}

static void tiles_close_set(struct tiles_set *s)
{
    (void)sqlite3_finalize(s->get);
    db_close(s->db);
    pthread_mutex_destroy(&s->lock);
}

static void tiles_add(struct tiles *t, const char *dir, const char *name, size_t stem)
{
    char path[1024], why[200], format[32] = "pbf";
    struct tiles_set *s = &t->set[t->n];
    if (t->n == TILES_SETS_MAX) {
        log_warning("tiles", "%s/%s is left out: at most %d maps", dir, name, TILES_SETS_MAX);
        return;
    }
    memset(s, 0, sizeof *s);
    if (stem >= sizeof s->id || (size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != stem) {
        log_warning("tiles", "%s/%s is left out: a map's name has letters, digits, _ and -, at most 63", dir, name);
        return;
    }
    memcpy(s->id, name, stem);
    (void)pthread_mutex_init(&s->lock, NULL);
    if (db_open_readonly(path, &s->db, why, sizeof why) != RC_OK) {
        log_warning("tiles", "%s is left out: %s", path, why);
        tiles_close_set(s);
        return;
    }
    if (db_prepare(s->db, "SELECT tile_data FROM tiles WHERE zoom_level = $1 AND tile_column = $2 AND tile_row = $3", &s->get) != RC_OK ||
        !tiles_figures(s)) {
        log_warning("tiles", "%s is left out: no MBTiles file with tiles, minzoom, maxzoom and bounds", path);
        tiles_close_set(s);
        return;
    }
    (void)tiles_meta(s->db, "format", format, sizeof format);
    s->type = tiles_type(format);
    tiles_names(s);
    (void)tiles_meta(s->db, "attribution", s->attribution, sizeof s->attribution);
    t->n++;
}

enum rc tiles_open(const char *dir, struct tiles **ret_t, char *why, size_t cap)
{
    struct tiles *t = calloc(1, sizeof *t);
    if (!t) {
        (void)snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    if (*dir) {
        struct dirent **entry = NULL;
        int n = scandir(dir, &entry, NULL, alphasort);
        if (n < 0)
            log_warning("tiles", "%s: %s: no base map is served: put *.mbtiles there, or empty server.maps_dir", dir, strerror(errno));
        for (int i = 0; i < n; i++) {
            const char *name = entry[i]->d_name, *dot = strrchr(name, '.');
            if (dot && dot != name && !strcmp(dot, ".mbtiles"))
                tiles_add(t, dir, name, (size_t)(dot - name));
            free(entry[i]);
        }
        free(entry);
    }
    *ret_t = t;
    return RC_OK;
}

void tiles_free(struct tiles *t)
{
    for (size_t i = 0; t && i < t->n; i++)
        tiles_close_set(&t->set[i]);
    free(t);
}

void tiles_list(const struct tiles *t, struct json *j, const char *name)
{
    json_begin_array(j, name);
    for (size_t i = 0; i < t->n; i++) {
        const struct tiles_set *s = &t->set[i];
        json_begin_object(j, NULL);
        json_text(j, "set", s->id);
        json_text(j, "name_zh", s->name_zh);
        json_text(j, "name_en", s->name_en);
        json_int(j, "min_zoom", s->min_zoom);
        json_int(j, "max_zoom", s->max_zoom);
        json_begin_array(j, "bounds");
        for (size_t k = 0; k < 4; k++)
            json_number(j, NULL, s->bounds[k], 6);
        json_end_array(j);
        json_text(j, "attribution", s->attribution);
        json_text(j, "crs", "wgs84");
        json_end_object(j);
    }
    json_end_array(j);
}

static enum rc tiles_unpack(struct tiles_tile *tile)
{
    size_t cap = tile->n * 4 + 1024;
    z_stream z = {.next_in = tile->body, .avail_in = (uInt)tile->n};
    unsigned char *out = NULL;
    int step = inflateInit2(&z, 16 + MAX_WBITS); /* 16: gzip */
    if (step != Z_OK)
        return RC_NO_MEMORY;
    do {
        unsigned char *more = z.total_out + 1 < TILES_TILE_MAX ? realloc(out, cap) : NULL;
        if (!more) {
            step = z.total_out + 1 < TILES_TILE_MAX ? Z_MEM_ERROR : Z_DATA_ERROR;
            break;
        }
        out = more;
        z.next_out = out + z.total_out;
        z.avail_out = (uInt)(cap - z.total_out);
        step = inflate(&z, Z_NO_FLUSH);
        cap = cap * 2 < TILES_TILE_MAX ? cap * 2 : TILES_TILE_MAX;
    } while (step == Z_OK && !z.avail_out);
    size_t n = z.total_out;
    (void)inflateEnd(&z);
    if (step != Z_STREAM_END) {
        free(out);
        return step == Z_MEM_ERROR ? RC_NO_MEMORY : RC_CORRUPT;
    }
    free(tile->body);
    tile->body = out;
    tile->n = n;
    tile->gzip = false;
    return RC_OK;
}

static void tiles_etag(struct tiles_tile *tile)
{
    unsigned char sha[SHA256_DIGEST_LENGTH];
    char *at = tile->etag;
    SHA256(tile->body, tile->n, sha);
    *at++ = '"';
    for (size_t i = 0; i < 12; i++)
        at += sprintf(at, "%02x", sha[i]);
    (void)sprintf(at, "\"");
}

/* Reads the blob under the set's lock; RC_END where there is none. */
static enum rc tiles_read(struct tiles_set *s, unsigned z, unsigned x, unsigned row, struct tiles_tile *tile)
{
    enum rc rc = RC_END;
    (void)pthread_mutex_lock(&s->lock);
    (void)sqlite3_bind_int64(s->get, 1, z);
    (void)sqlite3_bind_int64(s->get, 2, x);
    (void)sqlite3_bind_int64(s->get, 3, row);
    int step = sqlite3_step(s->get);
    if (step == SQLITE_ROW) {
        const void *blob = sqlite3_column_blob(s->get, 0);
        size_t n = (size_t)sqlite3_column_bytes(s->get, 0);
        if (blob && n) {
            tile->body = n <= TILES_TILE_MAX ? malloc(n) : NULL;
            tile->n = n;
            rc = tile->body ? RC_OK : n <= TILES_TILE_MAX ? RC_NO_MEMORY : RC_CORRUPT;
            if (tile->body)
                memcpy(tile->body, blob, n);
        }
    } else if (step != SQLITE_DONE) {
        rc = db_rc(step);
    }
    (void)sqlite3_reset(s->get);
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

enum rc tiles_get(struct tiles *t, const char *set, unsigned z, unsigned x, unsigned y, bool gzip, struct tiles_tile *ret_tile)
{
    struct tiles_set *s = NULL;
    for (size_t i = 0; i < t->n && !s; i++)
        if (!strcmp(t->set[i].id, set))
            s = &t->set[i];
    if (!s || z > TILES_ZOOM_MAX || x >= 1u << z || y >= 1u << z)
        return RC_NOT_FOUND;
    struct tiles_tile tile = {.type = s->type};
    enum rc rc = tiles_read(s, z, x, (1u << z) - 1 - y, &tile);
    if (rc != RC_OK)
        return rc;
    tile.gzip = tile.n > 2 && tile.body[0] == 0x1F && tile.body[1] == 0x8B;
    if (tile.gzip && !gzip)
        rc = tiles_unpack(&tile);
    if (rc != RC_OK) {
        free(tile.body);
        return rc;
    }
    tiles_etag(&tile);
    *ret_tile = tile;
    return RC_OK;
}
