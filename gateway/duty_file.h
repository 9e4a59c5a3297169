/*
 * duty_file - the duty of this bus and the law it is judged by, read from disk. Both or none: without a duty there is no local judging, positions and
 * alarms flow all the same. Reads files; the meaning is core/duty.h and core/law.h.
 */
#ifndef SCHOOLWARD_DUTY_FILE_H
#define SCHOOLWARD_DUTY_FILE_H

#include "../core/duty.h"
#include "../core/law.h"

#define DUTY_FILE_BYTES_MAX (16 << 20)

struct duty_file {
    struct duty_set *set;
    struct law *law;
    const struct duty_vehicle *vehicle; /* in set */
    char duty_version[64];              /* first 16 hex digits of the file's SHA-256: told to the server */
    char law_version[64];               /* "cn-national 2026.11" */
};

/*
 * duty_file_read - read both files.
 *   gateway    the vehicle is the one that names this gateway; a file with one vehicle and no gateway name is taken as it is
 *   why, cap   "file: path: problem: hint"
 *   returns    RC_OK; RC_NOT_FOUND there is no duty file; RC_IO, RC_INVALID, RC_RANGE, RC_UNSUPPORTED, RC_NO_MEMORY
 */
enum rc duty_file_read(const char *duty_path, const char *law_path, const char *gateway, struct duty_file **ret_d, char *why, size_t cap) RC_MUST_USE;
void duty_file_free(struct duty_file *d); /* NULL is fine */

#endif
