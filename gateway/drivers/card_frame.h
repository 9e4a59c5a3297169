/*
 * card_frame - what readers of student cards send on their serial line, and the one form a card's number gets here, whichever reader read it. Pure.
 *
 *   em4100   02 | version 2 number 8 | check 2 | [0D 0A] | 03     hexadecimal text; the check is the XOR, with some makers the SUM, of the five bytes
 *   binary   02 | len | type | id .. | xor | 03                  len counts the whole frame, so 02 and 03 may stand in the id; type 01 MIFARE, 02 EM4100
 *   wiegand  26 or 34 of the characters 0 and 1, CR or LF        what was on the two wires: even parity over the first half, odd over the second
 *   hex      6 to 20 hexadecimal digits, CR or LF                Wiegand and 13.56 MHz readers with a serial side
 *   decimal  8 or 10 digits, or "fff,nnnnn", CR or LF            as printed on the cards
 *
 * source  rfid_frames.txt's vectors (public pages of makers and users), docs/devices.md "cards"
 */
#ifndef SCHOOLWARD_CARD_FRAME_H
#define SCHOOLWARD_CARD_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/rc.h"

#define CARD_ID_MAX   10 /* bytes: the longest of ISO 14443 */
#define CARD_TEXT_MAX 48

enum card_format { CARD_EM4100 = 0, CARD_BINARY, CARD_WIEGAND, CARD_HEX, CARD_DECIMAL };
enum card_check { CARD_CHECK_AUTO = 0, CARD_CHECK_XOR, CARD_CHECK_SUM };
enum card_chip { CARD_CHIP_AUTO = 0, CARD_CHIP_EM4100, CARD_CHIP_MIFARE };
enum card_fault { CARD_NOISE, CARD_BROKEN, CARD_SUM };

struct card_id {
    uint8_t n; /* 1..CARD_ID_MAX */
    uint8_t byte[CARD_ID_MAX];
    uint8_t chip; /* enum card_chip, as far as the frame says; AUTO it does not */
};

struct card_parser { /* all-zero is a fresh one */
    bool inside;
    bool skip; /* the rest of a line that made no sense */
    size_t n;
    uint8_t byte[CARD_TEXT_MAX];
    int check; /* enum card_check that last fitted, with CARD_CHECK_AUTO: a reader does not change its mind */
};

/* card_parse - one byte. RC_OK a card; RC_AGAIN; RC_INVALID with *ret_fault. */
enum rc card_parse(struct card_parser *p, enum card_format format, enum card_check check, uint8_t byte, struct card_id *ret_id, enum card_fault *ret_fault) RC_MUST_USE;

struct card_form {
    bool reversed;  /* the reader sends the lowest byte first */
    uint32_t width; /* bits that count, from the lowest; 0 all. 24 where one reader of the fleet knows no more (Wiegand 26) */
    int chip;       /* enum card_chip, where the frame does not say */
};
/*
 * card_canonical - highest byte first, `width` bits, no zero bytes in front: one card is one number, whatever read it.
 *   returns  RC_OK; RC_RANGE it is zero or all ones: no card; RC_UNSUPPORTED a random number (four bytes beginning 08, ISO 14443-3): new at each tap
 */
enum rc card_canonical(const struct card_id *id, const struct card_form *f, struct card_id *ret_id) RC_MUST_USE;

/* card_from_text - a number as people write it: 2 to 20 hex digits, or "dec:" and 8 or 10 digits or "fff,nnnnn". RC_OK, RC_INVALID. */
enum rc card_from_text(const char *text, struct card_id *ret_id) RC_MUST_USE;

#endif
