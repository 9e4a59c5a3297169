/*
 * files - small files that are whole or not there after a power cut: written beside, fsynced, renamed over the old one, the folder fsynced. For what
 * the gateway must know at its next start: its secret, which configuration it runs, which orders it carried out.
 */
#ifndef SCHOOLWARD_FILES_H
#define SCHOOLWARD_FILES_H

#include <stddef.h>

#include "../core/rc.h"

/*
 * files_write - put n bytes into dir/name, mode 0600, owned by who owns dir (a technician's root shell must not lock the service out).
 *   returns  RC_OK: on disk; RC_FULL, RC_IO with "path: problem" in why: the old content, or none, is there
 */
enum rc files_write(const char *dir, const char *name, const void *data, size_t n, char *why, size_t cap) RC_MUST_USE;

/*
 * files_read - the whole file, with a NUL behind it; the caller frees.
 *   returns  RC_OK; RC_NOT_FOUND; RC_RANGE larger than max; RC_IO, RC_NO_MEMORY
 */
enum rc files_read(const char *dir, const char *name, size_t max, char **ret_text, size_t *ret_n, char *why, size_t cap) RC_MUST_USE;

/* Remove it, if it is there. */
void files_remove(const char *dir, const char *name);

/* Tests only: called before each step that a power cut could stop at. NULL in the program. */
extern void (*files_step)(const char *what);

#endif
