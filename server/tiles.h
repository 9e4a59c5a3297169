/*
 * tiles - vector (or raster) map tiles out of MBTiles files: *.mbtiles of one folder, opened read-only at the start. The set's name is the file's name.
 * MBTiles 1.3 counts rows from the south (TMS); addresses here count from the north as web maps do.
 */
#ifndef SCHOOLWARD_TILES_H
#define SCHOOLWARD_TILES_H

#include <stdbool.h>
#include <stddef.h>

#include "json.h"
#include "../core/rc.h"

#define TILES_SETS_MAX 32
#define TILES_ZOOM_MAX 24
#define TILES_TILE_MAX (8u << 20) /* bytes of one tile, also unpacked */

struct tiles;

/*
 * tiles_open - look for maps. A file or a folder that cannot be used is logged and left out: a map less is no reason to stop watching buses.
 *   dir      "" gives no maps
 *   returns  RC_OK; RC_NO_MEMORY, then why says so
 */
enum rc tiles_open(const char *dir, struct tiles **ret_t, char *why, size_t cap) RC_MUST_USE;
void tiles_free(struct tiles *t);

/* The array of docs/protocol.md 2, `maps`. */
void tiles_list(const struct tiles *t, struct json *j, const char *name);

struct tiles_tile {
    unsigned char *body; /* malloc'ed, the caller's */
    size_t n;
    bool gzip;           /* body is gzip */
    const char *type;    /* media type, as long as the set */
    char etag[40];
};
/*
 * tiles_get - one tile. Any thread; blocks for a disk read.
 *   gzip     the client takes gzip; if not, a packed tile is unpacked
 *   returns  RC_OK; RC_END the set has no tile there (204); RC_NOT_FOUND no such set, or z, x, y are no address; RC_IO; RC_CORRUPT; RC_NO_MEMORY
 */
enum rc tiles_get(struct tiles *t, const char *set, unsigned z, unsigned x, unsigned y, bool gzip, struct tiles_tile *ret_tile) RC_MUST_USE;

#endif
