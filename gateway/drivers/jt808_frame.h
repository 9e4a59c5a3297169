/*
 * jt808_frame - messages framed as JT/T 808 has them, for units on the bus that speak it on their line: passenger counts, voice units. Both headers, of
 * 2013 and of 2019. Pure.
 *
 *   7E | id 2 | properties 2 | [2019: version 1] | terminal 6 [2019: 10] BCD | serial 2 | [parts 2, part 2] | body | xor 1 | 7E
 *
 * 7E inside is 7D 02, 7D is 7D 01. Properties: bits 0-9 length of the body, 10-12 encryption, 13 parts, 14 the header of 2019. xor: of all between.
 * Messages in parts and encrypted ones are refused: nothing short needs them.
 */
#ifndef SCHOOLWARD_JT808_FRAME_H
#define SCHOOLWARD_JT808_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/rc.h"

#define JT808_BODY_MAX 1023
#define JT808_RAW_MAX  (2 + 2 + 1 + 10 + 2 + 4 + JT808_BODY_MAX + 1)
#define JT808_WIRE_MAX (2 + 2 * JT808_RAW_MAX)

enum jt808_fault { JT808_NOISE, JT808_BROKEN, JT808_SUM, JT808_UNSUPPORTED };

struct jt808_frame {
    uint16_t id, serial;
    bool is_2019;
    uint8_t version;      /* 2019 only */
    uint8_t terminal[10]; /* 6 bytes used in 2013 */
    uint16_t n;
    uint8_t body[JT808_BODY_MAX];
};

struct jt808_parser { /* all-zero is a fresh one */
    bool inside, escaped;
    size_t n;
    uint8_t raw[JT808_RAW_MAX];
};

/* jt808_parse - one byte. RC_OK a frame; RC_AGAIN; RC_INVALID with *ret_fault. */
enum rc jt808_parse(struct jt808_parser *p, uint8_t byte, struct jt808_frame *ret_f, enum jt808_fault *ret_fault) RC_MUST_USE;
/* jt808_build - the bytes of a frame; returns how many, at most JT808_WIRE_MAX. */
size_t jt808_build(const struct jt808_frame *f, uint8_t *out);
/* jt808_time_ms - BCD YYMMDDhhmmss of China's time (UTC+8) as UTC ms. RC_OK; RC_INVALID no such moment. */
enum rc jt808_time_ms(const uint8_t bcd[6], int64_t *ret_ms) RC_MUST_USE;

#endif
