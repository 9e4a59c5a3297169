/*
 * hash_cards - schoolward-gateway --hash-card: the keyed hashes of cards, for the roster of a duty. Prints them; never a number.
 */
#ifndef SCHOOLWARD_HASH_CARDS_H
#define SCHOOLWARD_HASH_CARDS_H

#include "config.h"

/*
 * hash_cards - with the options of the first card reader: all readers of a fleet share key and width.
 *   number   as card_from_text(), or "-": one per line from standard input
 *   returns  the exit status: EX_OK; EX_CONFIG there is no reader; EX_DATAERR a number was refused, told by its place
 */
int hash_cards(const struct config *c, const char *number);

#endif
