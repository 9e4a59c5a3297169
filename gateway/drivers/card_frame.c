#include "card_frame.h"

#include <string.h>

#define STX 0x02
#define ETX 0x03
#define CR  0x0d
#define LF  0x0a

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 2 x n hex digits; false: another character stands there. */
static bool from_hex(const uint8_t *text, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void number(uint32_t v, size_t n, struct card_id *ret_id)
{
    *ret_id = (struct card_id){.n = (uint8_t)n};
    for (size_t i = 0; i < n; i++)
        ret_id->byte[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

/* --- frames between 02 and 03 --- */

static enum rc take_em4100(struct card_parser *p, enum card_check check, struct card_id *ret_id, enum card_fault *ret_fault)
{
    uint8_t b[6], x = 0, sum = 0;
    size_t n = p->n;
    while (n > 0 && (p->byte[n - 1] == CR || p->byte[n - 1] == LF))
        n--;
    *ret_fault = CARD_BROKEN;
    if (n != 12 || !from_hex(p->byte, 6, b))
        return RC_INVALID;
    for (int i = 0; i < 5; i++) {
        x ^= b[i];
        sum = (uint8_t)(sum + b[i]);
    }
    bool by_xor = b[5] == x, by_sum = b[5] == sum;
    bool good = check == CARD_CHECK_XOR ? by_xor : check == CARD_CHECK_SUM ? by_sum : p->check == CARD_CHECK_XOR ? by_xor : p->check == CARD_CHECK_SUM ? by_sum : by_xor || by_sum;
    if (!good) {
        *ret_fault = CARD_SUM;
        return RC_INVALID;
    }
    if (p->check == CARD_CHECK_AUTO && by_xor != by_sum)
        p->check = by_xor ? CARD_CHECK_XOR : CARD_CHECK_SUM;
    *ret_id = (struct card_id){.n = 4, .chip = CARD_CHIP_EM4100};
    memcpy(ret_id->byte, b + 1, 4); /* the version is a customer's number of the maker, not the card's */
    return RC_OK;
}

static enum rc parse_em4100(struct card_parser *p, enum card_check check, uint8_t byte, struct card_id *ret_id, enum card_fault *ret_fault)
{
    *ret_fault = p->inside ? CARD_BROKEN : CARD_NOISE;
    if (byte == STX) {
        bool lost = p->inside && p->n > 0;
        p->inside = true;
        p->n = 0;
        return lost ? RC_INVALID : RC_AGAIN;
    }
    if (!p->inside)
        return byte == CR || byte == LF ? RC_AGAIN : RC_INVALID;
    if (byte == ETX) {
        p->inside = false;
        return take_em4100(p, check, ret_id, ret_fault);
    }
    if ((digit(byte) < 0 && byte != CR && byte != LF) || p->n == 14) {
        p->inside = false;
        return RC_INVALID;
    }
    p->byte[p->n++] = byte;
    return RC_AGAIN;
}

/* 0 may become a frame, > 0 it is one of so many bytes, < 0 none begins here. */
static int judge_binary(const uint8_t *b, size_t n, struct card_id *ret_id, enum card_fault *ret_fault)
{
    *ret_fault = b[0] != STX ? CARD_NOISE : CARD_BROKEN;
    if (b[0] != STX)
        return -1;
    if (n < 2)
        return 0;
    size_t len = b[1];
    if (len < 6 || len > 5 + CARD_ID_MAX) /* 02 len type id xor 03 */
        return -1;
    if (n >= 3 && (b[2] < 1 || b[2] > 2))
        return -1;
    if (n < len)
        return 0;
    if (b[len - 1] != ETX)
        return -1;
    uint8_t x = 0;
    for (size_t i = 1; i < len - 2; i++)
        x ^= b[i];
    if (x != b[len - 2]) {
        *ret_fault = CARD_SUM;
        return -1;
    }
    *ret_id = (struct card_id){.n = (uint8_t)(len - 5), .chip = b[2] == 1 ? CARD_CHIP_MIFARE : CARD_CHIP_EM4100};
    memcpy(ret_id->byte, b + 3, len - 5);
    return (int)len;
}

/* By length, since 02 and 03 may be part of a number; after a frame that was none the next 02 in it is tried. */
static enum rc parse_binary(struct card_parser *p, uint8_t byte, struct card_id *ret_id, enum card_fault *ret_fault)
{
    bool dropped = false;
    enum card_fault worst = CARD_NOISE;
    p->byte[p->n++] = byte;
    while (p->n > 0) {
        enum card_fault fault = CARD_NOISE;
        int found = judge_binary(p->byte, p->n, ret_id, &fault);
        if (found == 0)
            break;
        size_t take = found > 0 ? (size_t)found : 1;
        memmove(p->byte, p->byte + take, p->n - take);
        p->n -= take;
        if (found > 0)
            return RC_OK;
        if (!dropped || fault > worst)
            worst = fault;
        dropped = true;
    }
    *ret_fault = worst;
    return dropped ? RC_INVALID : RC_AGAIN;
}

/* --- lines of text --- */

static bool bits_even(const uint8_t *text, size_t n, bool *ret_even)
{
    unsigned ones = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '0' && text[i] != '1')
            return false;
        ones += text[i] == '1';
    }
    *ret_even = ones % 2 == 0;
    return true;
}

static enum rc take_wiegand(const struct card_parser *p, struct card_id *ret_id, enum card_fault *ret_fault)
{
    bool first = false, second = false;
    *ret_fault = CARD_BROKEN;
    if ((p->n != 26 && p->n != 34) || !bits_even(p->byte, p->n / 2, &first) || !bits_even(p->byte + p->n / 2, p->n / 2, &second))
        return RC_INVALID;
    *ret_fault = CARD_SUM;
    if (!first || second)
        return RC_INVALID;
    uint32_t v = 0;
    for (size_t i = 1; i + 1 < p->n; i++)
        v = v << 1 | (p->byte[i] == '1');
    number(v, (p->n - 2) / 8, ret_id);
    return RC_OK;
}

static enum rc take_hex(const uint8_t *text, size_t n, struct card_id *ret_id)
{
    uint8_t b[CARD_ID_MAX];
    if (n < 2 || n % 2 != 0 || n > (size_t)2 * CARD_ID_MAX || !from_hex(text, n / 2, b))
        return RC_INVALID;
    *ret_id = (struct card_id){.n = (uint8_t)(n / 2)};
    memcpy(ret_id->byte, b, n / 2);
    return RC_OK;
}

static bool decimal(const uint8_t *text, size_t n, uint64_t *ret_v)
{
    *ret_v = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *ret_v = *ret_v * 10 + (uint64_t)(text[i] - '0');
    }
    return n > 0;
}

/* Ten digits are all 32 bits; eight, and "fff,nnnnn", are the lower 24: facility of 8 bits, number of 16. */
static enum rc take_decimal(const uint8_t *text, size_t n, struct card_id *ret_id)
{
    uint64_t v = 0, facility = 0;
    const uint8_t *comma = memchr(text, ',', n);
    if (comma != NULL) {
        size_t before = (size_t)(comma - text), after = n - before - 1;
        if (before > 3 || after != 5 || !decimal(text, before, &facility) || !decimal(comma + 1, after, &v) || facility > 255 || v > 65535)
            return RC_INVALID;
        number((uint32_t)(facility << 16 | v), 3, ret_id);
        return RC_OK;
    }
    if ((n != 8 && n != 10) || !decimal(text, n, &v) || v > (n == 8 ? 0xffffffu : UINT32_MAX))
        return RC_INVALID;
    number((uint32_t)v, n == 8 ? 3 : 4, ret_id);
    return RC_OK;
}

static enum rc parse_line(struct card_parser *p, enum card_format format, uint8_t byte, struct card_id *ret_id, enum card_fault *ret_fault)
{
    *ret_fault = CARD_BROKEN;
    if (byte != CR && byte != LF) {
        if (p->skip)
            return RC_AGAIN;
        if (p->n == sizeof p->byte || byte < 0x20 || byte > 0x7e) { /* no reader's line: up to its end it is thrown away */
            p->skip = true;
            p->n = 0;
            *ret_fault = CARD_NOISE;
            return RC_INVALID;
        }
        p->byte[p->n++] = byte;
        return RC_AGAIN;
    }
    bool skipped = p->skip;
    p->skip = false;
    if (skipped || p->n == 0)
        return RC_AGAIN;
    enum rc rc = format == CARD_WIEGAND ? take_wiegand(p, ret_id, ret_fault)
                 : format == CARD_HEX   ? (p->n < 6 ? RC_INVALID : take_hex(p->byte, p->n, ret_id))
                                        : take_decimal(p->byte, p->n, ret_id);
    p->n = 0;
    return rc;
}

enum rc card_parse(struct card_parser *p, enum card_format format, enum card_check check, uint8_t byte, struct card_id *ret_id, enum card_fault *ret_fault)
{
    switch (format) {
    case CARD_EM4100: return parse_em4100(p, check, byte, ret_id, ret_fault);
    case CARD_BINARY: return parse_binary(p, byte, ret_id, ret_fault);
    case CARD_WIEGAND:
    case CARD_HEX:
    case CARD_DECIMAL: return parse_line(p, format, byte, ret_id, ret_fault);
    }
    return RC_INVALID;
}

enum rc card_canonical(const struct card_id *id, const struct card_form *f, struct card_id *ret_id)
{
    uint8_t b[CARD_ID_MAX];
    size_t n = id->n > CARD_ID_MAX ? CARD_ID_MAX : id->n, from = 0, all = 0;
    for (size_t i = 0; i < n; i++)
        b[i] = id->byte[f->reversed ? n - 1 - i : i];
    int chip = id->chip != CARD_CHIP_AUTO ? id->chip : f->chip;
    if (chip == CARD_CHIP_MIFARE && n == 4 && b[0] == 0x08)
        return RC_UNSUPPORTED;
    if (f->width > 0 && n > f->width / 8)
        from = n - f->width / 8;
    while (from < n && b[from] == 0)
        from++;
    for (size_t i = from; i < n; i++)
        all += b[i] == 0xff;
    if (from == n || (all == n - from && n - from >= 3))
        return RC_RANGE;
    *ret_id = (struct card_id){.n = (uint8_t)(n - from), .chip = (uint8_t)chip};
    memcpy(ret_id->byte, b + from, n - from);
    return RC_OK;
}

enum rc card_from_text(const char *text, struct card_id *ret_id)
{
    if (strncmp(text, "dec:", 4) == 0)
        return take_decimal((const uint8_t *)text + 4, strlen(text + 4), ret_id);
    return take_hex((const uint8_t *)text, strlen(text), ret_id);
}
