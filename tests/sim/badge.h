/*
 * badge - the cards of a simulated bus: their numbers, what a reader says of one (EM4100 as text, as RDM6300 and ID-12 do), and the keyed hash the roster has.
 * A number is the bus's own, so that no two buses share a card.
 */
#ifndef SCHOOLWARD_SIM_BADGE_H
#define SCHOOLWARD_SIM_BADGE_H

#include <stddef.h>
#include <stdint.h>

#define BADGE_PUPILS 60 /* cards of pupils of one bus */
#define BADGE_FRAME  16

/* Added to the number of the driver's card. */
enum { BADGE_DRIVER = 0, BADGE_ATTENDANT = 1, BADGE_PUPIL = 16, BADGE_STRANGER = 0xeee };

/* The driver's card of bus i, 0.. */
uint32_t badge_first(size_t i);
/* 02, ten hex digits, the XOR of the five bytes, 03. Returns its length, 14. */
size_t badge_frame(uint32_t number, char out[BADGE_FRAME]);
/* The first 8 bytes of HMAC-SHA256 over the number without zero bytes in front, as 16 hex digits. */
void badge_hash(const uint8_t key[32], uint32_t number, char out[17]);

#endif
