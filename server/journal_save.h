/*
 * journal_save - the checkpoint beside the groups: one file, replaced as a whole, with a CRC and the cursor it is as of. Without it, or with a broken
 * one, a start replays more; nothing is lost.
 */
#ifndef SCHOOLWARD_JOURNAL_SAVE_H
#define SCHOOLWARD_JOURNAL_SAVE_H

#include "journal.h"

/* Blocks; failures are logged here. */
void journal_save_write(const char *dir, const void *blob, size_t n, struct journal_cursor as_of);
/* ret_blob malloc'ed, NULL without a whole checkpoint; else as journal_load(). */
enum rc journal_save_read(const char *dir, void **ret_blob, size_t *ret_n, struct journal_cursor *ret_cursor) RC_MUST_USE;

#endif
