#include "hpc168_frame.h"

#include <string.h>

#define STX 0x02
#define ETX 0x03

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum rc take(const struct hpc168_parser *p, struct hpc168_frame *ret_f, enum hpc168_fault *ret_fault)
{
    uint8_t b[5 + HPC168_DATA_MAX], sum = 0;
    size_t n = p->n / 2;
    *ret_fault = HPC168_BROKEN;
    if (p->n % 2 != 0 || n < 5)
        return RC_INVALID;
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)((unsigned)digit((uint8_t)p->text[2 * i]) << 4 | (unsigned)digit((uint8_t)p->text[2 * i + 1])); /* hpc168_parse() lets only digits in */
    if (n != 5u + b[3])
        return RC_INVALID;
    for (size_t i = 0; i + 1 < n; i++)
        sum = (uint8_t)(sum + b[i]);
    if (sum != b[n - 1]) {
        *ret_fault = HPC168_SUM;
        return RC_INVALID;
    }
    *ret_f = (struct hpc168_frame){.id = (uint16_t)(b[0] << 8 | b[1]), .command = b[2], .n = b[3]};
    memcpy(ret_f->data, b + 4, b[3]);
    return RC_OK;
}

enum rc hpc168_parse(struct hpc168_parser *p, uint8_t byte, struct hpc168_frame *ret_f, enum hpc168_fault *ret_fault)
{
    bool was = p->inside;
    *ret_fault = was ? HPC168_BROKEN : HPC168_NOISE;
    if (byte == STX) { /* never inside a frame: the one before lost its end */
        bool lost = was && p->n > 0;
        *p = (struct hpc168_parser){.inside = true};
        return lost ? RC_INVALID : RC_AGAIN;
    }
    if (!was)
        return RC_INVALID;
    if (byte == ETX) {
        p->inside = false;
        return take(p, ret_f, ret_fault);
    }
    if (digit(byte) < 0 || p->n == sizeof p->text) {
        p->inside = false;
        return RC_INVALID;
    }
    p->text[p->n++] = (char)byte;
    return RC_AGAIN;
}

size_t hpc168_build(const struct hpc168_frame *f, uint8_t out[HPC168_WIRE_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t b[5 + HPC168_DATA_MAX] = {(uint8_t)(f->id >> 8), (uint8_t)f->id, f->command, f->n};
    size_t n = 4, at = 0;
    for (uint8_t i = 0; i < f->n && i < HPC168_DATA_MAX; i++)
        b[n++] = f->data[i];
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + b[i]);
    b[n++] = sum;
    out[at++] = STX;
    for (size_t i = 0; i < n; i++) {
        out[at++] = (uint8_t)digits[b[i] >> 4];
        out[at++] = (uint8_t)digits[b[i] & 15];
    }
    out[at++] = ETX;
    return at;
}

uint32_t hpc168_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
