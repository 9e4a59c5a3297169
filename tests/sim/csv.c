#include "csv.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES (256L << 20)

static enum rc slurp(const char *path, char **ret_text)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return RC_IO;
    char *text = NULL;
    enum rc rc = RC_IO;
    long n = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
    if (n < 0 || n > FILE_MAX_BYTES || fseek(f, 0, SEEK_SET))
        goto out;
    text = malloc((size_t)n + 1);
    rc = RC_NO_MEMORY;
    if (!text)
        goto out;
    rc = fread(text, 1, (size_t)n, f) == (size_t)n ? RC_OK : RC_IO;
    text[n] = 0;
out:
    fclose(f);
    if (rc == RC_OK)
        *ret_text = text;
    else
        free(text);
    return rc;
}

/* Cut one cell off at *at, in place; true if it was the row's last. */
static bool cut_cell(char **at, char **ret_cell)
{
    char *p = *at, *out = p;
    *ret_cell = p;
    if (*p == '"') {
        p++;
        while (*p && !(*p == '"' && p[1] != '"')) {
            if (*p == '"')
                p++;
            *out++ = *p++;
        }
        if (*p == '"')
            p++;
    }
    while (*p && *p != ',' && *p != '\n')
        *out++ = *p++;
    bool last = *p != ',';
    if (*p)
        p++;
    if (last && out > *ret_cell && out[-1] == '\r')
        out--;
    *out = 0;
    *at = p;
    return last;
}

enum rc csv_read(const char *path, struct csv *ret_csv)
{
    struct csv c = {0};
    enum rc rc = slurp(path, &c.text);
    if (rc != RC_OK)
        return rc;
    char *at = c.text;
    if (!strncmp(at, "\xEF\xBB\xBF", 3))
        at += 3;
    static char none[] = "";
    size_t cap = 0, n = 0;
    while (*at) {
        size_t in_row = 0;
        bool last = false;
        while (!last) {
            if (n + 1 > cap) {
                cap = cap ? 2 * cap : 1024;
                char **more = realloc(c.cell, cap * sizeof(char *));
                if (!more) {
                    rc = RC_NO_MEMORY;
                    goto out;
                }
                c.cell = more;
            }
            last = cut_cell(&at, &c.cell[n]);
            n++;
            in_row++;
        }
        if (!c.columns)
            c.columns = in_row;
        if (in_row == 1 && c.columns > 1 && !c.cell[n - 1][0]) {
            n--; /* an empty line */
            continue;
        }
        if (in_row > c.columns) {
            rc = RC_INVALID;
            goto out;
        }
        for (; in_row < c.columns; in_row++) {
            if (n + 1 > cap) {
                cap = 2 * cap;
                char **more = realloc(c.cell, cap * sizeof(char *));
                if (!more) {
                    rc = RC_NO_MEMORY;
                    goto out;
                }
                c.cell = more;
            }
            c.cell[n++] = none;
        }
        c.rows++;
    }
    if (c.rows) {
        *ret_csv = c;
        return RC_OK;
    }
    rc = RC_INVALID;
out:
    csv_release(&c);
    return rc;
}

void csv_release(struct csv *c)
{
    free(c->text);
    free(c->cell);
    memset(c, 0, sizeof *c);
}

size_t csv_column(const struct csv *c, const char *name)
{
    for (size_t i = 0; i < c->columns; i++)
        if (!strcmp(c->cell[i], name))
            return i;
    return c->columns;
}

const char *csv_cell(const struct csv *c, size_t row, size_t column)
{
    return column < c->columns && row < c->rows ? c->cell[row * c->columns + column] : "";
}
