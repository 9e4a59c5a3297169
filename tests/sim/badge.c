#include "badge.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#define VERSION_BYTE 0x4a /* the maker's byte of an EM4100 */

uint32_t badge_first(size_t i)
{
    return 0x00100000u + (uint32_t)i * 0x1000u;
}

size_t badge_frame(uint32_t number, char out[BADGE_FRAME])
{
    unsigned check = VERSION_BYTE;
    for (int shift = 24; shift >= 0; shift -= 8)
        check ^= number >> shift & 0xff;
    return (size_t)snprintf(out, BADGE_FRAME, "\002%02X%08X%02X\003", VERSION_BYTE, number, check & 0xff);
}

void badge_hash(const uint8_t key[32], uint32_t number, char out[17])
{
    uint8_t raw[4], sum[EVP_MAX_MD_SIZE];
    unsigned n = 0, len = 0;
    for (int shift = 24; shift >= 0; shift -= 8)
        if (n > 0 || (number >> shift & 0xff) != 0)
            raw[n++] = (uint8_t)(number >> shift);
    HMAC(EVP_sha256(), key, 32, raw, n, sum, &len);
    for (int i = 0; i < 8; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
}
