/*
 * conf - INI configuration (libinih) applied to record tables, with the line of every value kept: a problem reads
 * "file:line: key: problem: hint". Sections are "[name]" or "[kind name]". A remark begins at a line's start or after a blank, with ; or #.
 * A value may stand in double quotes, where blanks, ; and # are its own; \" and \\ stand for themselves there. At most 4095 bytes.
 */
#ifndef SCHOOLWARD_CONF_H
#define SCHOOLWARD_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "../field.h"

struct conf; /* one document */

#define CONF_PROBLEMS_MAX 32
struct conf_problems { /* all problems of a document are told, not only the first */
    size_t n;          /* may exceed CONF_PROBLEMS_MAX: the rest is only counted */
    char text[CONF_PROBLEMS_MAX][256];
};

/*
 * conf_read_file / conf_read_text - take a document apart (at most 1 MiB, 4096 values).
 *   returns  RC_OK; RC_IO cannot be read; RC_INVALID syntax (told in problems)
 */
enum rc conf_read_file(const char *path, struct conf **ret_conf, struct conf_problems *problems) RC_MUST_USE;
enum rc conf_read_text(const char *text, size_t n, const char *name, struct conf **ret_conf, struct conf_problems *problems) RC_MUST_USE;
void conf_free(struct conf *c); /* NULL is fine */

/* Command line --set section.key=value (section of the form "kind name" written as kind.name.key): overrides or adds a value. */
enum rc conf_override(struct conf *c, const char *assignment, struct conf_problems *problems) RC_MUST_USE;

/* Sections in the order of the document. kind and name of "[device counter]" are "device" and "counter"; name is "" for "[gateway]". */
size_t conf_sections(const struct conf *c);
void conf_section(const struct conf *c, size_t i, const char **ret_kind, const char **ret_name);
size_t conf_find_section(const struct conf *c, const char *kind, const char *name); /* SIZE_MAX if none */
/* A raw value (e.g. `driver`, which chooses the table), NULL if not there. Marks it used. */
const char *conf_value(struct conf *c, size_t section, const char *key);

/*
 * conf_apply - defaults, then the section's values, into a record. May be called several times on one section with several tables.
 *   section  index, or SIZE_MAX: defaults only
 * A required field that is missing and every bad value are added to problems.
 */
void conf_apply(struct conf *c, size_t section, const struct field *table, size_t n, void *record, struct conf_problems *problems);

/* Report every section and key nobody asked for, with the nearest known word as hint. */
void conf_report_unused(struct conf *c, struct conf_problems *problems);

/* Add a problem of the caller's at a key of a section (or at the section's head if key is NULL). */
void conf_problem(struct conf *c, size_t section, const char *key, struct conf_problems *problems, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/*
 * One section as --print-config shows it: "key = value   ; help, range and unit, default", the remark above the key where the line would be too long.
 * Reads back as it is.
 */
void conf_print(FILE *out, const char *head, const struct field *table, size_t n, const void *record);

#endif
