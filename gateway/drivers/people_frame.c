#include "people_frame.h"

#include <string.h>

const uint8_t people_reset[PEOPLE_RESET_SIZE] = {0x00, 0x55, 0x08, 0x00, 0x00, 0x00, 0x00, 0x7c};

uint8_t people_crc8(const uint8_t *p, size_t n)
{
    uint8_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = (uint8_t)((crc & 0x80) != 0 ? crc << 1 ^ 0x07 : crc << 1);
    }
    return crc;
}

/* Difference, in, out; highest byte first or lowest first, whichever adds up. */
static bool take_counts(const uint8_t *p, struct people_frame *ret_f)
{
    uint32_t high = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    uint32_t low = (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
    uint16_t in = (uint16_t)(p[4] << 8 | p[5]), out = (uint16_t)(p[6] << 8 | p[7]);
    uint16_t in_low = (uint16_t)(p[5] << 8 | p[4]), out_low = (uint16_t)(p[7] << 8 | p[6]);
    if (high == (uint32_t)in - (uint32_t)out) {
        *ret_f = (struct people_frame){.counts = true, .in = in, .out = out};
        return true;
    }
    if (low == (uint32_t)in_low - (uint32_t)out_low) {
        *ret_f = (struct people_frame){.counts = true, .in = in_low, .out = out_low};
        return true;
    }
    return false;
}

/* What the bytes so far are: 0 may become a frame, > 0 a frame of so many bytes, < 0 none begins here. */
static int judge(const struct people_parser *p, struct people_frame *ret_f)
{
    const uint8_t *b = p->byte;
    if (b[0] != 'P' && b[0] != 'D')
        return -1;
    if (p->n >= 2 && b[1] != (b[0] == 'P' ? 'C' : 'D'))
        return -1;
    if (b[0] == 'D') {
        if (p->n < 7)
            return 0;
        *ret_f = (struct people_frame){.counts = false};
        return people_crc8(b, 6) == b[6] ? 7 : -1;
    }
    if (p->n == 11 && people_crc8(b, 10) == b[10] && take_counts(b + 2, ret_f))
        return 11;
    if (p->n < 15)
        return 0;
    return people_crc8(b, 14) == b[14] && take_counts(b + 6, ret_f) ? 15 : -1;
}

enum rc people_parse(struct people_parser *p, uint8_t byte, struct people_frame *ret_f)
{
    bool dropped = false;
    p->byte[p->n++] = byte;
    while (p->n > 0) {
        /* After bytes were thrown away the rest is looked at as it came, shortest first: a whole frame may stand in it. */
        struct people_parser part = *p;
        int found = 0;
        for (part.n = 1; part.n <= p->n && found == 0; part.n++)
            found = judge(&part, ret_f);
        if (found == 0)
            break;
        size_t take = found > 0 ? (size_t)found : 1;
        memmove(p->byte, p->byte + take, p->n - take);
        p->n -= take;
        if (found > 0)
            return RC_OK;
        p->dropped++;
        dropped = true;
    }
    return dropped ? RC_INVALID : RC_AGAIN;
}
