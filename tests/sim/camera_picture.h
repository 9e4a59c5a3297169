/* camera_picture - what the simulated camera sees: one drawing, with a comment in it that makes each picture another one. */
#ifndef SCHOOLWARD_SIM_CAMERA_PICTURE_H
#define SCHOOLWARD_SIM_CAMERA_PICTURE_H

#include <stddef.h>
#include <stdint.h>

/* A JPEG of cap bytes (some thousand to 60,000). Returns its length, 0 if cap is too small or too large. */
size_t camera_picture(uint32_t number, int64_t time_ms, uint8_t *out, size_t cap);

#endif
