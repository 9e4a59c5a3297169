/*
 * people_frame - what a distance sensor with people counting (TeraRanger Evo) sends on its UART without being asked. Pure.
 *
 *   "PC" | sensor 4 | in - out 4 | in 2 | out 2 | crc 1      Evo People Counter, 15 bytes
 *   "PC" | in - out 4 | in 2 | out 2 | crc 1                 Evo Swipe Plus, 11 bytes
 *   "DD" | distance 2 | distance 2 | crc 1                   streamed all the time: a sign of life
 *
 * The crc is CRC-8 with polynomial 07, initial value 0, over all before it: the commands the maker's manual prints, with their crc, confirm it.
 * The manual does not say which byte comes first; in - out = difference does, and is held against the frame as a second check.
 * source  Terabee, TeraRanger Evo People Counter user manual 5.4 and 5.5; Evo Swipe Plus user manual 5.5 (both by manual mirrors)
 */
#ifndef SCHOOLWARD_PEOPLE_FRAME_H
#define SCHOOLWARD_PEOPLE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/rc.h"

#define PEOPLE_FRAME_MAX   15
#define PEOPLE_RESET_SIZE  8
extern const uint8_t people_reset[PEOPLE_RESET_SIZE]; /* the command that sets both counters to zero */

struct people_frame {
    bool counts; /* otherwise a distance: a sign of life */
    uint16_t in, out;
};

struct people_parser { /* all-zero is a fresh one */
    size_t n;
    uint8_t byte[PEOPLE_FRAME_MAX];
    unsigned dropped; /* bytes thrown away since the last frame */
};

/* people_parse - one byte. RC_OK a frame; RC_AGAIN; RC_INVALID bytes that are none were thrown away, one by one until a frame may begin. */
enum rc people_parse(struct people_parser *p, uint8_t byte, struct people_frame *ret_f) RC_MUST_USE;
uint8_t people_crc8(const uint8_t *p, size_t n);

#endif
