/*
 * field - record tables: a record is a plain struct plus one table of its fields. Ranges, configuration, --print-config, the reference page
 * and line protocol come from that table.
 */
#ifndef SCHOOLWARD_FIELD_H
#define SCHOOLWARD_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "rc.h"

enum field_kind {
    FIELD_BOOL, /* bool; true/false, yes/no, on/off, 1/0 */
    FIELD_INT,  /* signed integer of `size` 1, 2, 4 or 8 bytes */
    FIELD_UINT, /* unsigned integer of `size` bytes; 0x... accepted */
    FIELD_REAL, /* double */
    FIELD_TEXT, /* char[size], NUL-terminated; min/max are lengths in bytes, max 0 = size - 1 */
    FIELD_WORD, /* int: index into words[] */
};

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset, size;      /* of the member: FIELD_AT() */
    const char *unit;         /* "ms", "km/h", "" */
    double min, max;          /* closed range */
    const char *const *words; /* FIELD_WORD: NULL-terminated */
    const char *initial;      /* default as text; NULL = must be given */
    const char *help;         /* one line, English */
};

#define FIELD_AT(type, member) offsetof(type, member), sizeof(((type *)0)->member)

const struct field *field_find(const struct field *table, size_t n, const char *name);

/*
 * field_set - set one field from text.
 *   why, cap  on failure "problem: hint", e.g. "must be 1..247: slave addresses of Modbus"
 *   returns   RC_OK, RC_INVALID not of its kind, RC_RANGE outside its range; the record is untouched then
 */
enum rc field_set(const struct field *f, void *record, const char *text, char *why, size_t cap) RC_MUST_USE;

/* The field's value as text that field_set() accepts; returns as snprintf does. */
int field_text(const struct field *f, const void *record, char *out, size_t cap);

/* Set all defaults; fields without one stay as they are. RC_INVALID names a default that its own table refuses (a bug, found by tests). */
enum rc field_defaults(const struct field *table, size_t n, void *record) RC_MUST_USE;

#endif
