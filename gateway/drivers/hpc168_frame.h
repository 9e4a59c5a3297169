/*
 * hpc168_frame - frames of the HPC168 family of stereo door counters. Pure.
 *
 *   02 | id 4 | cmd 2 | len 2 | data 2 x len | check 2 | 03        all between 02 and 03 is hexadecimal text
 *
 * The check is the low byte of the sum of the bytes the text stands for, id to data. A reply has bit 7 of the command set.
 * source  github.com/ErnestoLomar/HPC168 (bytes a program sends to a real counter), cross-checked with a second program
 */
#ifndef SCHOOLWARD_HPC168_FRAME_H
#define SCHOOLWARD_HPC168_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/rc.h"

#define HPC168_DATA_MAX 64 /* 16 in a count; longer ones are not ours */
#define HPC168_WIRE_MAX (2 + 2 * (5 + HPC168_DATA_MAX))

enum hpc168_command { HPC168_RESET = 0x12, HPC168_COUNTS = 0x13, HPC168_DOOR = 0x66, HPC168_REPLY = 0x80 };
enum hpc168_fault { HPC168_NOISE, HPC168_BROKEN, HPC168_SUM };

struct hpc168_frame {
    uint16_t id;
    uint8_t command, n;
    uint8_t data[HPC168_DATA_MAX];
};

struct hpc168_parser { /* all-zero is a fresh one */
    bool inside;
    size_t n;
    char text[2 * (5 + HPC168_DATA_MAX)];
};

/* hpc168_parse - one byte. RC_OK a frame; RC_AGAIN; RC_INVALID with *ret_fault: a byte outside a frame, a frame that ends or begins amiss, a wrong check. */
enum rc hpc168_parse(struct hpc168_parser *p, uint8_t byte, struct hpc168_frame *ret_f, enum hpc168_fault *ret_fault) RC_MUST_USE;
/* hpc168_build - the bytes of a frame, n <= HPC168_DATA_MAX; returns how many. */
size_t hpc168_build(const struct hpc168_frame *f, uint8_t out[HPC168_WIRE_MAX]);
/* hpc168_u32 - four bytes, highest first. */
uint32_t hpc168_u32(const uint8_t *p);

#endif
