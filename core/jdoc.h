/*
 * jdoc - strict reading of a JSON document (jansson): every member known and of its kind, every number in range. The first problem is kept as
 * "path: problem: hint" and everything after it is skipped, so that a reader is a chain of && without error codes in between.
 */
#ifndef SCHOOLWARD_JDOC_H
#define SCHOOLWARD_JDOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rc.h"

struct jdoc {
    const char *file; /* put before the path, NULL = none */
    char *why;        /* at most cap bytes, always terminated when cap > 0 */
    size_t cap;
    enum rc rc; /* RC_OK until the first problem */
};

/* A value and how one came to it. Lives on the stack of the reader. */
struct jdoc_at {
    const struct jdoc_at *up; /* NULL at the root */
    const char *key;          /* member name, NULL in a list */
    size_t index;
    json_t *value; /* NULL: an optional member that is not there */
};

/*
 * jdoc_parse - take the text apart: UTF-8, no member twice, no NUL, nothing behind the document.
 *   max      refuse longer texts
 *   returns  the root, to be released with json_decref(); NULL with the problem told
 */
json_t *jdoc_parse(struct jdoc *d, const char *json, size_t n, size_t max);

/* Tell a problem (only the first one is kept); returns false always. The text is "problem: hint". */
bool jdoc_fail(struct jdoc *d, const struct jdoc_at *at, enum rc rc, const char *format, ...) __attribute__((format(printf, 4, 5)));
bool jdoc_no_memory(struct jdoc *d);

/* at is an object and has only members of the list (NULL-terminated). */
bool jdoc_members(struct jdoc *d, const struct jdoc_at *at, const char *const *known);
/* at is a list of min..max elements. */
bool jdoc_list(struct jdoc *d, const struct jdoc_at *at, size_t min, size_t max, size_t *ret_n);

/* Step down. jdoc_get: a member that must be there (null counts as absent: told). jdoc_opt: value NULL when it is not there. */
bool jdoc_get(struct jdoc *d, const struct jdoc_at *at, const char *key, struct jdoc_at *ret);
void jdoc_opt(const struct jdoc_at *at, const char *key, struct jdoc_at *ret);
void jdoc_item(const struct jdoc_at *at, size_t i, struct jdoc_at *ret);

/*
 * Members of an object, all by name. What is not `must` leaves the result as it is when absent.
 *   text: min..max bytes of UTF-8 without control characters, NUL-terminated into out[max + 1]
 *   string: the same, left where it is: it lives as long as the document
 *   word: index into words (NULL-terminated)
 */
bool jdoc_text(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, size_t min, size_t max, char *out);
bool jdoc_string(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, size_t min, size_t max, const char **out);
bool jdoc_id(struct jdoc *d, const struct jdoc_at *at, const char *key, size_t max, char *out);
bool jdoc_int(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, int64_t min, int64_t max, int64_t *out);
bool jdoc_real(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, double min, double max, double *out);
bool jdoc_bool(struct jdoc *d, const struct jdoc_at *at, const char *key, bool *out);
bool jdoc_word(struct jdoc *d, const struct jdoc_at *at, const char *key, bool must, const char *const *words, int *out);

/* The same for the value at itself. */
bool jdoc_word_here(struct jdoc *d, const struct jdoc_at *at, const char *const *words, int *out);
bool jdoc_string_here(struct jdoc *d, const struct jdoc_at *at, size_t min, size_t max, const char **out);
bool jdoc_real_here(struct jdoc *d, const struct jdoc_at *at, double min, double max, double *out);

#endif
