/*
 * json - writes JSON text into a growing buffer with a limit. Commas are its business; strings are escaped and checked for UTF-8 (bad bytes
 * become U+FFFD); NAN and infinity become null. The names stay clear of jansson's (json_object, json_array, json_real, json_null ...): a program's
 * own function of such a name would also be called from inside libjansson.so.
 */
#ifndef SCHOOLWARD_JSON_H
#define SCHOOLWARD_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    char *text;
    size_t n, cap, limit;
    bool failed; /* over the limit or out of memory: text is not whole, say 500/413 */
    uint8_t depth;
    uint64_t comma; /* one bit per depth */
};
void json_init(struct json *j, size_t limit);
void json_reset(struct json *j); /* keep the buffer */
void json_free(struct json *j);

/* name NULL inside arrays and at the top. */
void json_begin_object(struct json *j, const char *name);
void json_end_object(struct json *j);
void json_begin_array(struct json *j, const char *name);
void json_end_array(struct json *j);
void json_text(struct json *j, const char *name, const char *value); /* NULL value: null */
void json_int(struct json *j, const char *name, int64_t value);
void json_number(struct json *j, const char *name, double value, int decimals); /* trailing zeros cut */
void json_bool(struct json *j, const char *name, bool value);
void json_none(struct json *j, const char *name);
void json_raw(struct json *j, const char *name, const char *json_value, size_t n); /* already JSON */

#endif
