/*
 * lineproto - InfluxDB line protocol, written and read. The writer puts points into a bounded buffer and refuses what the grammar or a server in the
 * field cannot carry, so that a line that came out of it is never the reason for a 400: it is stricter than the grammar on purpose (docs/series.md).
 * Knows no server, no socket and no locale.
 *   source   line protocol reference of InfluxDB 1.x, 2.x and 3.x; answers of influxd 1.6.7 (tests/unit/server/test_lineproto.c)
 */
#ifndef SCHOOLWARD_LINEPROTO_H
#define SCHOOLWARD_LINEPROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/rc.h"

#define LINEPROTO_TAGS_MAX 16
#define LINEPROTO_FIELDS_MAX 64
#define LINEPROTO_REAL_MAX 32 /* bytes lineproto_real_text() needs, NUL included */

/*
 * One writer. Order of calls: begin, tags (any order, they leave sorted bytewise), fields, end. An error sticks until end(), which then takes the
 * whole line back: the buffer only ever holds whole lines.
 */
struct lineproto {
    char *out;       /* lines, each ended by "\n"; no NUL */
    size_t n, cap;   /* bytes used, room */
    size_t lines;    /* whole lines in out */
    /* of the line being written */
    size_t start;
    const char *tag_key[LINEPROTO_TAGS_MAX], *tag_value[LINEPROTO_TAGS_MAX];
    size_t tags, fields;
    enum rc failed;
};

void lineproto_init(struct lineproto *w, char *out, size_t cap);
void lineproto_clear(struct lineproto *w);

/* name: UTF-8 without control characters, not empty, not starting with '#' or '_', not ending in a backslash. */
void lineproto_begin(struct lineproto *w, const char *name);

/*
 * lineproto_tag - one tag; key and value must stay until the first field (they are sorted then).
 *   key    as a name, and not "time"
 *   value  UTF-8 without control characters, not ending in a backslash; NULL or "" leaves the tag out, for an empty value is an error to a server
 */
void lineproto_tag(struct lineproto *w, const char *key, const char *value);

/* Fields; the key as a tag's. */
void lineproto_real(struct lineproto *w, const char *key, double value);                 /* NAN and infinity leave the field out */
void lineproto_fixed(struct lineproto *w, const char *key, int64_t value, int decimals); /* value / 10^decimals as float, decimals 0..9; fast */
void lineproto_int(struct lineproto *w, const char *key, int64_t value);
void lineproto_bool(struct lineproto *w, const char *key, bool value);
void lineproto_text(struct lineproto *w, const char *key, const char *value); /* UTF-8 without control characters; NULL leaves the field out */

/*
 * lineproto_end - finish the line.
 *   time     in the unit the request will state
 *   returns  RC_OK; RC_END no field was left, nothing written; RC_FULL no room for the whole line; RC_INVALID a name, key or value was refused, or a
 *            key came twice. Anything but RC_OK leaves the buffer as it was before begin().
 */
enum rc lineproto_end(struct lineproto *w, int64_t time) RC_MUST_USE;

/*
 * The shortest of %.15g, %.16g, %.17g that reads back as the same double, with '.' whatever the locale says; integers up to 2^53 without exponent.
 *   returns  bytes written; 0 for NAN and infinity
 */
size_t lineproto_real_text(double v, char out[LINEPROTO_REAL_MAX]);

enum lineproto_kind { LINEPROTO_REAL = 1, LINEPROTO_INT, LINEPROTO_UINT, LINEPROTO_BOOL, LINEPROTO_TEXT };
struct lineproto_field {
    const char *key;
    enum lineproto_kind kind;
    union {
        double real;
        int64_t integer;
        uint64_t unsigned_integer;
        bool boolean;
        const char *text;
    };
};
struct lineproto_point {
    const char *name;
    size_t tags, fields;
    struct {
        const char *key, *value;
    } tag[LINEPROTO_TAGS_MAX];
    struct lineproto_field field[LINEPROTO_FIELDS_MAX];
    bool timed;
    int64_t time;
};

/*
 * lineproto_parse - read one line (without its "\n") back.
 *   arena    n + 1 bytes that hold the texts *ret_p points to
 *   returns  RC_OK; RC_INVALID not line protocol, a control character, or not UTF-8; RC_RANGE a number outside its type; RC_FULL more tags or fields than
 *            the limits above
 */
enum rc lineproto_parse(const char *line, size_t n, char *arena, struct lineproto_point *ret_p) RC_MUST_USE;

#endif
