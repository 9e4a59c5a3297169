#include "bundle.h"

#include <string.h>

static uint8_t *big_endian(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--)
        *p++ = (uint8_t)(v >> (8 * i));
    return p;
}

size_t bundle_signed(const char *gateway, uint8_t kind, uint64_t version, uint64_t size, const uint8_t sha256[32], uint8_t out[BUNDLE_SIGNED_MAX])
{
    static const char head[] = "schoolward bundle 1"; /* its NUL belongs to it */
    size_t n = strnlen(gateway, DUTY_ID_MAX);
    uint8_t *p = out;
    memcpy(p, head, sizeof head);
    p += sizeof head;
    memcpy(p, gateway, n);
    p += n;
    *p++ = 0;
    *p++ = kind;
    p = big_endian(p, version);
    p = big_endian(p, size);
    memcpy(p, sha256, 32);
    return (size_t)(p + 32 - out);
}

const char *bundle_kind_word(uint8_t kind)
{
    static const char *const words[] = {NULL, "config", "duty", "law"};
    return kind < sizeof words / sizeof words[0] ? words[kind] : NULL;
}
