/* tiles: an MBTiles file made here; rows from the south, packed tiles, borders, and files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <zlib.h>

#include "tempdir.h"
#include "core/base/log.h"
#include "server/tiles.h"

static char dir[64];

static void make_map(const char *name, const char *metadata)
{
    char path[128], sql[1024];
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    (void)snprintf(sql, sizeof sql, "CREATE TABLE metadata (name text, value text); CREATE TABLE tiles (zoom_level integer, tile_column integer, "
                                    "tile_row integer, tile_data blob); %s", metadata);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    unsigned char packed[256], plain[] = "north-west north-west north-west";
    z_stream z = {.next_in = plain, .avail_in = sizeof plain - 1, .next_out = packed, .avail_out = sizeof packed};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO tiles VALUES (?, ?, ?, ?)", -1, &s, NULL), SQLITE_OK);
    struct {
        int z, x, row;
        const void *blob;
        int n;
    } tile[] = {{1, 0, 1, packed, (int)z.total_out}, {1, 1, 0, "south-east", 10}, {2, 0, 0, "", 0}, {2, 1, 1, "\x1f\x8b\x08 broken", 10}};
    for (size_t i = 0; i < sizeof tile / sizeof *tile; i++) {
        (void)sqlite3_bind_int(s, 1, tile[i].z);
        (void)sqlite3_bind_int(s, 2, tile[i].x);
        (void)sqlite3_bind_int(s, 3, tile[i].row);
        (void)sqlite3_bind_blob(s, 4, tile[i].blob, tile[i].n, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(s), SQLITE_DONE);
        (void)sqlite3_reset(s);
    }
    (void)deflateEnd(&z);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR); /* the files below are left out with a warning each, as they should */
    (void)snprintf(dir, sizeof dir, "/tmp/schoolward-maps-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    make_map("city.mbtiles", "INSERT INTO metadata VALUES ('name', 'City'), ('name:zh', '城'), ('format', 'pbf'), ('minzoom', '1'), ('maxzoom', '3'), "
                             "('bounds', '71.2,51.0,71.7,51.3'), ('attribution', '© OpenStreetMap contributors');");
    make_map("bad-zoom.mbtiles", "INSERT INTO metadata VALUES ('minzoom', '9'), ('maxzoom', '3');");
    make_map("bad-bounds.mbtiles", "INSERT INTO metadata VALUES ('bounds', '10,nonsense');");
    make_map("bad name.mbtiles", "");
    char path[128];
    (void)snprintf(path, sizeof path, "%s/text.mbtiles", dir);
    FILE *f = fopen(path, "w");
    (void)fputs("no database at all, only some text that is long enough to be looked at", f);
    return fclose(f);
}

static int teardown(void **state)
{
    (void)state;
    return tempdir_remove(dir);
}

static struct tiles *open_it(void)
{
    struct tiles *t = NULL;
    char why[256];
    assert_int_equal(tiles_open(dir, &t, why, sizeof why), RC_OK);
    return t;
}

static void test_list(void **state)
{
    (void)state;
    struct tiles *t = open_it();
    struct json j;
    json_init(&j, 4096);
    tiles_list(t, &j, NULL);
    assert_string_equal(j.text, "[{\"set\":\"city\",\"name_zh\":\"城\",\"name_en\":\"City\",\"min_zoom\":1,\"max_zoom\":3,\"bounds\":[71.2,51,71.7,51.3],"
                                "\"attribution\":\"© OpenStreetMap contributors\",\"crs\":\"wgs84\"}]");
    json_free(&j);
    tiles_free(t);
}

static void test_get(void **state)
{
    (void)state;
    struct tiles *t = open_it();
    struct tiles_tile tile, plain;
    assert_int_equal(tiles_get(t, "city", 1, 0, 0, true, &tile), RC_OK); /* row 1 from the south is row 0 from the north */
    assert_true(tile.gzip);
    assert_string_equal(tile.type, "application/vnd.mapbox-vector-tile");
    assert_int_equal(tiles_get(t, "city", 1, 0, 0, false, &plain), RC_OK);
    assert_false(plain.gzip);
    assert_int_equal(plain.n, 32);
    assert_memory_equal(plain.body, "north-west", 10);
    assert_string_not_equal(tile.etag, plain.etag);
    free(tile.body);
    free(plain.body);
    assert_int_equal(tiles_get(t, "city", 1, 1, 1, true, &tile), RC_OK);
    assert_false(tile.gzip);
    assert_memory_equal(tile.body, "south-east", 10);
    free(tile.body);
    assert_int_equal(tiles_get(t, "city", 1, 0, 1, true, &tile), RC_END);
    assert_int_equal(tiles_get(t, "city", 2, 0, 3, true, &tile), RC_END); /* there, but empty */
    assert_int_equal(tiles_get(t, "city", 14, 0, 0, true, &tile), RC_END);
    assert_int_equal(tiles_get(t, "city", 1, 2, 0, true, &tile), RC_NOT_FOUND);
    assert_int_equal(tiles_get(t, "city", 1, 0, 2, true, &tile), RC_NOT_FOUND);
    assert_int_equal(tiles_get(t, "city", 0, 1, 0, true, &tile), RC_NOT_FOUND);
    assert_int_equal(tiles_get(t, "city", 25, 0, 0, true, &tile), RC_NOT_FOUND);
    assert_int_equal(tiles_get(t, "city", 4294967295u, 0, 0, true, &tile), RC_NOT_FOUND);
    assert_int_equal(tiles_get(t, "town", 1, 0, 0, true, &tile), RC_NOT_FOUND);
    assert_int_equal(tiles_get(t, "bad-zoom", 1, 0, 0, true, &tile), RC_NOT_FOUND);
    assert_int_equal(tiles_get(t, "city", 2, 1, 2, false, &tile), RC_CORRUPT);
    tiles_free(t);
}

static void test_open(void **state)
{
    (void)state;
    struct tiles *t = NULL;
    char why[256];
    assert_int_equal(tiles_open("", &t, why, sizeof why), RC_OK);
    tiles_free(t);
    t = NULL;
    assert_int_equal(tiles_open("/nonexistent", &t, why, sizeof why), RC_OK); /* buses are watched without a map too */
    assert_non_null(t);
    tiles_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_list), cmocka_unit_test(test_get), cmocka_unit_test(test_open)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
