/*
 * journal_file - one day file of the journal: its schema, the coding of an arrival group, the names of its gateways and the settled sets. Knows nothing
 * of threads, the network or other days.
 *
 * A group's blob is a row of entries and a CRC-32 of them (little endian) at the end. An entry:
 *   varint  gateway * 2 + lane      (gateway: number of the file's own table)
 *   varint  zigzag of arrival_ms less that of the entry before (of the group's arrival_ms for the first)
 *   varint  n, then n bytes: the batch frame as received
 */
#ifndef SCHOOLWARD_JOURNAL_FILE_H
#define SCHOOLWARD_JOURNAL_FILE_H

#include <sqlite3.h>

#include "../core/wire.h"

#define JOURNAL_FILE_HEAD_MAX 24 /* bytes an entry needs beside its frame */
#define JOURNAL_FILE_PATH_MAX 512

struct journal_file_entry {
    uint32_t gateway; /* number */
    uint8_t lane;
    int64_t arrival_ms;
    const uint8_t *frame;
    size_t n;
};
struct journal_file_reader {
    const uint8_t *at, *end;
    int64_t arrival_ms;
};

/* Write an entry's head before its frame; out has room for JOURNAL_FILE_HEAD_MAX. Returns its length. */
size_t journal_file_head(uint8_t *out, uint32_t gateway, uint8_t lane, int64_t since_ms, size_t n);
uint32_t journal_file_crc(const uint8_t *p, size_t n);
/* Begin reading a group's blob. RC_CORRUPT when the CRC says so. */
enum rc journal_file_read(struct journal_file_reader *r, const void *blob, size_t n, int64_t arrival_ms) RC_MUST_USE;
/* The same of entries without a CRC (a chunk's). */
bool journal_file_next(struct journal_file_reader *r, struct journal_file_entry *ret_e);

size_t journal_file_varint(uint8_t *out, uint64_t v); /* at most 10 bytes */
bool journal_file_get(const uint8_t **at, const uint8_t *end, uint64_t *ret_v);

int32_t journal_file_day(int64_t ms);                 /* YYYYMMDD, UTC */
void journal_file_path(const char *dir, int32_t day, char out[JOURNAL_FILE_PATH_MAX]);
/* The days there are files of, rising, malloc'ed; RC_OK also with none. */
enum rc journal_file_days(const char *dir, int32_t **ret_day, size_t *ret_n) RC_MUST_USE;

/*
 * journal_file_open - open or make a day file for writing: WAL, synchronous FULL. No full check: that would read gigabytes at every start; every
 * group carries its CRC and is checked when it is read.
 *   returns  RC_OK; RC_CORRUPT not a database or of a broken schema; RC_UNSUPPORTED of a newer program; RC_IO, RC_FULL; the reason in why
 */
enum rc journal_file_open(const char *path, sqlite3 **ret_db, char *why, size_t cap) RC_MUST_USE;

/* The name of gateway number id of this file, "" if there is none. Cached by the caller: a table of names by number. */
struct journal_file_names {
    char (*name)[WIRE_TEXT_MAX + 1];
    size_t n; /* numbers 0..n-1 */
};
enum rc journal_file_names(sqlite3 *db, struct journal_file_names *ret_names) RC_MUST_USE;
void journal_file_names_free(struct journal_file_names *names);

/* One value of the file's meta table, `missing` if it is not there. */
int64_t journal_file_meta(sqlite3 *db, const char *key, int64_t missing);
enum rc journal_file_meta_set(sqlite3 *db, const char *key, int64_t value) RC_MUST_USE;

#endif
