#include "jt808_frame.h"

#include <string.h>

#define MARK   0x7e
#define ESCAPE 0x7d

static uint16_t word(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static enum rc take(const struct jt808_parser *p, struct jt808_frame *ret_f, enum jt808_fault *ret_fault)
{
    uint8_t sum = 0;
    *ret_fault = JT808_BROKEN;
    if (p->escaped || p->n < 13)
        return RC_INVALID;
    for (size_t i = 0; i + 1 < p->n; i++)
        sum ^= p->raw[i];
    if (sum != p->raw[p->n - 1]) {
        *ret_fault = JT808_SUM;
        return RC_INVALID;
    }
    uint16_t properties = word(p->raw + 2);
    bool is_2019 = (properties & 1 << 14) != 0;
    size_t terminal = is_2019 ? 10 : 6, at = is_2019 ? 5 : 4, body = at + terminal + 2, n = properties & 0x3ff;
    if ((properties & (7 << 10 | 1 << 13)) != 0) {
        *ret_fault = JT808_UNSUPPORTED;
        return RC_INVALID;
    }
    if (p->n != body + n + 1)
        return RC_INVALID;
    *ret_f = (struct jt808_frame){.id = word(p->raw), .is_2019 = is_2019, .version = is_2019 ? p->raw[4] : 0, .serial = word(p->raw + at + terminal), .n = (uint16_t)n};
    memcpy(ret_f->terminal, p->raw + at, terminal);
    memcpy(ret_f->body, p->raw + body, n);
    return RC_OK;
}

enum rc jt808_parse(struct jt808_parser *p, uint8_t byte, struct jt808_frame *ret_f, enum jt808_fault *ret_fault)
{
    *ret_fault = p->inside ? JT808_BROKEN : JT808_NOISE;
    if (byte == MARK) {
        /* One mark may end a frame and begin the next; and after a frame that lost its end the next one's first mark must not be taken for that end. */
        enum rc rc = !p->inside || p->n == 0 ? RC_AGAIN : take(p, ret_f, ret_fault);
        p->inside = true;
        p->escaped = false;
        p->n = 0;
        return rc;
    }
    if (!p->inside)
        return RC_INVALID;
    if (p->escaped && byte != 0x01 && byte != 0x02) {
        p->inside = p->escaped = false;
        return RC_INVALID;
    }
    if (!p->escaped && byte == ESCAPE) {
        p->escaped = true;
        return RC_AGAIN;
    }
    if (p->n == sizeof p->raw) {
        p->inside = p->escaped = false;
        return RC_INVALID;
    }
    p->raw[p->n++] = !p->escaped ? byte : byte == 0x01 ? ESCAPE : MARK;
    p->escaped = false;
    return RC_AGAIN;
}

size_t jt808_build(const struct jt808_frame *f, uint8_t *out)
{
    uint8_t raw[JT808_RAW_MAX], sum = 0;
    size_t n = 0, at = 0, terminal = f->is_2019 ? 10 : 6;
    uint16_t properties = (uint16_t)((f->n & 0x3ff) | (f->is_2019 ? 1 << 14 : 0));
    raw[n++] = (uint8_t)(f->id >> 8);
    raw[n++] = (uint8_t)f->id;
    raw[n++] = (uint8_t)(properties >> 8);
    raw[n++] = (uint8_t)properties;
    if (f->is_2019)
        raw[n++] = f->version;
    memcpy(raw + n, f->terminal, terminal);
    n += terminal;
    raw[n++] = (uint8_t)(f->serial >> 8);
    raw[n++] = (uint8_t)f->serial;
    memcpy(raw + n, f->body, f->n & 0x3ff);
    n += f->n & 0x3ff;
    for (size_t i = 0; i < n; i++)
        sum ^= raw[i];
    raw[n++] = sum;
    out[at++] = MARK;
    for (size_t i = 0; i < n; i++) {
        if (raw[i] == MARK || raw[i] == ESCAPE) {
            out[at++] = ESCAPE;
            out[at++] = raw[i] == MARK ? 0x02 : 0x01;
        } else {
            out[at++] = raw[i];
        }
    }
    out[at++] = MARK;
    return at;
}

enum rc jt808_time_ms(const uint8_t bcd[6], int64_t *ret_ms)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    static const uint8_t days_in[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int v[6];
    for (int i = 0; i < 6; i++) {
        if (bcd[i] >> 4 > 9 || (bcd[i] & 15) > 9)
            return RC_INVALID;
        v[i] = (bcd[i] >> 4) * 10 + (bcd[i] & 15);
    }
    int year = 2000 + v[0];
    bool leap = year % 4 == 0; /* 2000 to 2099 */
    if (v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > days_in[v[1] - 1] + (leap && v[1] == 2) || v[3] > 23 || v[4] > 59 || v[5] > 59)
        return RC_INVALID;
    int64_t days = 10957 + (int64_t)v[0] * 365 + (v[0] + 3) / 4 + before[v[1] - 1] + (leap && v[1] > 2) + v[2] - 1;
    *ret_ms = ((days * 24 + v[3] - 8) * 3600 + v[4] * 60 + v[5]) * 1000;
    return RC_OK;
}
