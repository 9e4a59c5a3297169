/*
 * static - the built web pages, read whole at the start: a request is a look-up in a table of known paths, so that no path of a stranger ever reaches
 * the file system. FILE.gz beside FILE is its compressed form. New pages need a restart.
 */
#ifndef SCHOOLWARD_STATIC_H
#define SCHOOLWARD_STATIC_H

#include <stdbool.h>
#include <stddef.h>

#include "../core/rc.h"

#define STATIC_FILES_MAX 4096
#define STATIC_BYTES_MAX (128u << 20)

struct static_file {
    char *path;       /* as asked for: "/officer/index.html" */
    const char *type; /* media type */
    char *body, *gz;  /* gz NULL: not compressed */
    size_t n, gz_n;
    char etag[40], etag_gz[40]; /* with quotes */
    bool immutable;   /* its name holds a hash of its content */
};

struct static_files;

/*
 * static_open - read a folder. Symbolic links, hidden files and what is no regular file are left out.
 *   dir      "" gives an empty table
 *   returns  RC_OK; RC_IO cannot be read; RC_FULL more than the limits above; RC_NO_MEMORY; the reason in why
 */
enum rc static_open(const char *dir, struct static_files **ret_s, char *why, size_t cap) RC_MUST_USE;
void static_free(struct static_files *s);
size_t static_count(const struct static_files *s);

/* "/x/" finds "/x/index.html"; below the three pages /officer/, /police/, /parent/ a path without a dot is the page itself. NULL if there is none. */
const struct static_file *static_find(const struct static_files *s, const char *path);
/* "/officer" -> true: redirect to "/officer/". */
bool static_is_folder(const struct static_files *s, const char *path);

#endif
