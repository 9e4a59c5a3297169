/*
 * bundle - what the server's signature of a configuration, duty or law covers. Pure: signing is the server's, checking the gateway's, by OpenSSL.
 *
 *   "schoolward bundle 1" NUL | gateway id NUL | kind, 1 byte | version, 8 bytes | size, 8 bytes | SHA-256 of the body, 32 bytes     (big-endian)
 *
 * A signature is good for one gateway, one kind and one version: a bundle of another bus, or one that ran before, is refused whoever hands it over.
 */
#ifndef SCHOOLWARD_BUNDLE_H
#define SCHOOLWARD_BUNDLE_H

#include "duty.h"

#define BUNDLE_SIGNED_MAX (20 + DUTY_ID_MAX + 1 + 1 + 8 + 8 + 32)

/* Bytes to sign or check; returns their number. gateway: 1..DUTY_ID_MAX bytes; kind: enum wire_bundle_kind. */
size_t bundle_signed(const char *gateway, uint8_t kind, uint64_t version, uint64_t size, const uint8_t sha256[32], uint8_t out[BUNDLE_SIGNED_MAX]);
/* "config", "duty", "law"; NULL if there is none. */
const char *bundle_kind_word(uint8_t kind);

#endif
