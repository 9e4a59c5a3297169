/*
 * outbox_file - the small files beside the outbox: PATH.floor (numbers never given out), PATH.reserve (room for the worst hour), PATH.bad-<time>
 * (what could not be read). Of the disk thread alone.
 */
#ifndef SCHOOLWARD_OUTBOX_FILE_H
#define SCHOOLWARD_OUTBOX_FILE_H

#include "outbox_store.h"

enum { OUTBOX_FILE_FLOOR_STEP = 100000, OUTBOX_FILE_FLOOR_MARGIN = 10000, OUTBOX_FILE_WAL_PAGES = 500 };

/* CRC-32 of IEEE 802.3 (reflected, 0xEDB88320), going on from crc (0 to begin). */
uint32_t outbox_file_crc(uint32_t crc, const void *data, size_t n);

bool outbox_file_floor_read(struct outbox_store *s); /* into s->floor; false: not there, or damaged */
/* Keep the floor ahead of what is given out. Failing is no reason to stop: it is tried again at the next commit, 10,000 records ahead of need. */
void outbox_file_floor_raise(struct outbox_store *s);

/*
 * Write the WAL over itself and fsync it. What it shows may be in the kernel's memory only: an fsync that failed marks its pages clean, and the next one says
 * 0 without them (PostgreSQL's lesson of 2018). Before SQLite opens the file. False: errno says why; a WAL that is not there is fine.
 */
bool outbox_file_rewrite_wal(const struct outbox_store *s);

/* What stands at the path can never become a database: a folder, a device; or a file without rights for its owner that cannot be given any. */
bool outbox_file_hopeless(const char *path);

/* Rename the file and its WAL to PATH.bad-<time>, told in aside; the newest three are kept. What is no file goes too. False: errno says why. */
bool outbox_file_set_aside(const struct outbox_store *s, char *aside, size_t cap);

#endif
