/*
 * csv - comma-separated tables with a header line (GTFS): quotes, doubled quotes, CR LF, a byte-order mark. Whole file in memory.
 */
#ifndef SCHOOLWARD_SIM_CSV_H
#define SCHOOLWARD_SIM_CSV_H

#include <stddef.h>

#include "../../core/rc.h"

struct csv {
    char *text;
    char **cell; /* rows * columns, NUL-terminated, row 0 is the header */
    size_t columns, rows;
};

/* RC_OK; RC_IO with errno; RC_INVALID no header or a row with more cells than the header (a short row is filled with ""); RC_NO_MEMORY. */
enum rc csv_read(const char *path, struct csv *ret_csv) RC_MUST_USE;
void csv_release(struct csv *c);

/* The column of that name, or columns if there is none. */
size_t csv_column(const struct csv *c, const char *name);

/* A cell of data row 1..rows-1; "" where the column does not exist. */
const char *csv_cell(const struct csv *c, size_t row, size_t column);

#endif
