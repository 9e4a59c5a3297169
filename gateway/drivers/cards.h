/*
 * cards - the driver of card readers, and how the office gets the hash of a card for a roster (schoolward-gateway --hash-card).
 */
#ifndef SCHOOLWARD_CARDS_H
#define SCHOOLWARD_CARDS_H

#include <stddef.h>
#include <stdint.h>

#include "../../core/rc.h"

/*
 * cards_hash - the hash a tap of this card gives with a reader's options (key, width): HMAC-SHA256 under the key over the canonical bytes, the first
 * eight of it, highest first.
 *   options  of a driver "cards"
 *   text     the number, highest byte first, as card_from_text()
 *   returns  RC_OK; RC_INVALID not a number, or the key's file is unfit; RC_RANGE no card has it; RC_UNSUPPORTED a random number. why "problem: what to do",
 *            which never holds the number
 */
enum rc cards_hash(const void *options, const char *text, uint64_t *ret_hash, char *why, size_t cap) RC_MUST_USE;

#endif
