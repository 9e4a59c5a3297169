/*
 * camera_params - the settings of an ADAS or DSM camera, T/JSATL 12 functions 0x34 and 0x35 (the blocks of platform parameters F364 and F365): a file
 * of names and values <-> the block on the line. Pure but for reading the file. A byte 0xFF leaves a value as it is.
 */
#ifndef SCHOOLWARD_CAMERA_PARAMS_H
#define SCHOOLWARD_CAMERA_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "../../core/rc.h"

#define CAMERA_PARAMS_MAX 128 /* bytes of a block; the longest known has 65 */

struct camera_param {
    const char *name;
    uint8_t at, size; /* in the block, big-endian */
    const char *help; /* unit and meaning */
};
/* The table of a unit (enum event_camera_unit); NULL if it has no block. */
const struct camera_param *camera_params_of(uint8_t unit, size_t *ret_n);

/*
 * camera_params_read - a file with a section [adas] or [dsm].
 *   ret_block  0xFF where the file says nothing
 *   returns    RC_OK; RC_INVALID with the first problem in why; RC_UNSUPPORTED the unit has no block
 */
enum rc camera_params_read(const char *path, uint8_t unit, uint8_t ret_block[CAMERA_PARAMS_MAX], char *why, size_t cap) RC_MUST_USE;
enum rc camera_params_text(const char *text, size_t n, uint8_t unit, uint8_t ret_block[CAMERA_PARAMS_MAX], char *why, size_t cap) RC_MUST_USE;

/*
 * camera_params_differ - how many wanted values the camera does not have; their names with both values into out ("volume 3 not 6, ...").
 *   got, n  the camera's block: what is wanted beyond its end differs too
 */
size_t camera_params_differ(uint8_t unit, const uint8_t want[CAMERA_PARAMS_MAX], const uint8_t *got, size_t n, char *out, size_t cap);

#endif
