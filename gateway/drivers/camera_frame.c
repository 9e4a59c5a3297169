#include "camera_frame.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MARK      0x7E
#define ESCAPE    0x7D
#define HEAD      7
#define GMT8_S    28800
#define POSITIONED (1u << 10)

/* --- frames --- */

static uint8_t sum_of(const uint8_t *p, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    return (uint8_t)sum;
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static enum rc end_frame(struct camera_parser *p, struct camera_frame *ret_f, enum camera_fault *ret_fault)
{
    uint16_t n = p->n;
    bool broken = p->broken || p->escaped;
    p->n = 0;
    p->broken = p->escaped = false;
    if (n == 0 && !broken)
        return RC_AGAIN; /* the end of one frame and the start of the next, or a shared 7E */
    if (broken) {
        *ret_fault = n >= sizeof p->buf ? CAMERA_LONG : CAMERA_ESCAPE;
        return RC_INVALID;
    }
    if (n < HEAD) {
        *ret_fault = CAMERA_SHORT;
        return RC_INVALID;
    }
    if (sum_of(p->buf + 3, n - 3u) != p->buf[0]) {
        *ret_fault = CAMERA_SUM;
        return RC_INVALID;
    }
    ret_f->sequence = get16(p->buf + 1);
    ret_f->vendor = get16(p->buf + 3);
    ret_f->peripheral = p->buf[5];
    ret_f->function = p->buf[6];
    ret_f->n = (uint16_t)(n - HEAD);
    memcpy(ret_f->data, p->buf + HEAD, ret_f->n);
    return RC_OK;
}

enum rc camera_parse(struct camera_parser *p, uint8_t byte, struct camera_frame *ret_f, enum camera_fault *ret_fault)
{
    *ret_fault = CAMERA_FINE;
    if (byte == MARK) {
        if (!p->inside) {
            p->inside = true;
            return RC_AGAIN;
        }
        return end_frame(p, ret_f, ret_fault);
    }
    if (!p->inside) {
        *ret_fault = CAMERA_NOISE;
        return RC_INVALID;
    }
    if (p->broken)
        return RC_AGAIN;
    if (p->escaped) {
        p->escaped = false;
        if (byte != 1 && byte != 2) {
            p->broken = true;
            return RC_AGAIN;
        }
        byte = byte == 1 ? ESCAPE : MARK;
    } else if (byte == ESCAPE) {
        p->escaped = true;
        return RC_AGAIN;
    }
    if (p->n == sizeof p->buf) {
        p->broken = true;
        return RC_AGAIN;
    }
    p->buf[p->n++] = byte;
    return RC_AGAIN;
}

size_t camera_build(const struct camera_frame *f, uint8_t *out)
{
    uint8_t raw[HEAD + CAMERA_DATA_MAX];
    size_t n = 0;
    put16(raw + 1, f->sequence);
    put16(raw + 3, f->vendor);
    raw[5] = f->peripheral;
    raw[6] = f->function;
    memcpy(raw + HEAD, f->data, f->n);
    raw[0] = sum_of(raw + 3, HEAD - 3u + f->n);
    out[n++] = MARK;
    for (size_t i = 0; i < HEAD + (size_t)f->n; i++) {
        if (raw[i] == MARK || raw[i] == ESCAPE) {
            out[n++] = ESCAPE;
            out[n++] = raw[i] == MARK ? 2 : 1;
        } else {
            out[n++] = raw[i];
        }
    }
    out[n++] = MARK;
    return n;
}

/* --- time --- */

static int64_t make_time(const int v[6])
{
    if (v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23 || v[4] > 59 || v[5] > 59 || v[0] > 99)
        return 0;
    struct tm tm = {.tm_year = 100 + v[0], .tm_mon = v[1] - 1, .tm_mday = v[2], .tm_hour = v[3], .tm_min = v[4], .tm_sec = v[5]};
    int day = tm.tm_mday;
    time_t t = timegm(&tm);
    return tm.tm_mday != day ? 0 : ((int64_t)t - GMT8_S) * 1000;
}

int64_t camera_time(const uint8_t t[6], int form)
{
    int bcd[6], binary[6];
    bool digits = true;
    for (int i = 0; i < 6; i++) {
        binary[i] = t[i];
        bcd[i] = (t[i] >> 4) * 10 + (t[i] & 15);
        digits = digits && (t[i] >> 4) <= 9 && (t[i] & 15) <= 9;
    }
    /*
     * The document says BCD, some firmware sends plain binary. Until 2031 the years tell them apart where both would make a date: BCD 26 is 0x26,
     * which read as binary is 2038; binary 26 is 0x1A, which is no BCD.
     */
    if (form != REGMAP_TIME_BINARY && digits) {
        int64_t ms = make_time(bcd);
        if (ms != 0)
            return ms;
    }
    return form != REGMAP_TIME_BCD ? make_time(binary) : 0;
}

static void put_time(uint8_t t[6], int64_t time_ms)
{
    time_t s = (time_t)(time_ms / 1000 + GMT8_S);
    struct tm tm;
    memset(t, 0, 6);
    if (time_ms <= 0 || gmtime_r(&s, &tm) == NULL)
        return;
    int v[6] = {tm.tm_year % 100, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
    for (int i = 0; i < 6; i++)
        t[i] = (uint8_t)(v[i] / 10 << 4 | v[i] % 10);
}

/* --- bodies --- */

void camera_vehicle(const struct event_fix *fix, int64_t time_ms, uint8_t out[CAMERA_VEHICLE_SIZE])
{
    /* speed 0, reserved 1, mileage 2-5, reserved 6-7, altitude 8-9, latitude 10-13, longitude 14-17, time 18-23, status 24-25 */
    bool valid = event_fix_valid(fix);
    memset(out, 0, CAMERA_VEHICLE_SIZE);
    if (fix->speed_mmps > 0) {
        double kmh = fix->speed_mmps * 0.0036;
        out[0] = (uint8_t)lround(kmh > 255 ? 255 : kmh);
    }
    if (valid) {
        if (fix->alt_dm != EVENT_UNKNOWN && fix->alt_dm / 10 >= INT16_MIN && fix->alt_dm / 10 <= INT16_MAX)
            put16(out + 8, (uint16_t)(int16_t)(fix->alt_dm / 10));
        /* 1e-6 degrees, unsigned; the hemispheres have no bit in this status word, and the system runs in the north-east one */
        put32(out + 10, (uint32_t)(llabs((long long)fix->lat_e7 + (fix->lat_e7 < 0 ? -5 : 5)) / 10));
        put32(out + 14, (uint32_t)(llabs((long long)fix->lon_e7 + (fix->lon_e7 < 0 ? -5 : 5)) / 10));
    }
    put_time(out + 18, time_ms);
    put16(out + 24, 1u | (valid ? POSITIONED : 0)); /* bit 0 ACC: the gateway has power with it */
}

enum rc camera_alarm(const struct camera_frame *f, const struct regmap_camera *model, struct event_camera *ret_c, int64_t *ret_time_ms)
{
    /*
     * id 4, flag 1, then by unit:
     *   ADAS  type, front speed, front distance, departure, sign type, sign value       speed at 11
     *   DSM   type, fatigue, reserved 4                                                 speed at 11
     *   BSD   type                                                                      speed at 6
     * speed 1, altitude 2, latitude 4, longitude 4, time 6, status 2, media count 1, media count times 5
     */
    size_t speed_at;
    switch (f->peripheral) {
    case EVENT_CAMERA_ADAS:
    case EVENT_CAMERA_DSM: speed_at = 11; break;
    case EVENT_CAMERA_BSD: speed_at = 6; break;
    default: return RC_INVALID;
    }
    if (f->n < speed_at + 19)
        return RC_INVALID;
    const uint8_t *d = f->data;
    struct event_camera c = {.alarm_id = get32(d), .unit = f->peripheral, .type = d[5], .speed_kmh = d[speed_at]};
    if (d[4] == model->flag_begin)
        c.phase = EVENT_CAMERA_BEGIN;
    else if (d[4] == model->flag_end)
        c.phase = EVENT_CAMERA_END;
    else if (d[4] == model->flag_event)
        c.phase = EVENT_CAMERA_ONCE;
    else
        return RC_INVALID;
    if (f->peripheral == EVENT_CAMERA_DSM && d[6] <= 10)
        c.degree = d[6];
    if (f->n > speed_at + 19) {
        uint8_t media = d[speed_at + 19];
        if (f->n < speed_at + 20 + 5u * media)
            return RC_INVALID;
        c.media = media;
    }
    *ret_c = c;
    *ret_time_ms = camera_time(d + speed_at + 11, model->time);
    return RC_OK;
}

enum rc camera_state_of(const struct camera_frame *f, const struct regmap_camera *model, struct camera_state *ret_s)
{
    const uint32_t fatal = 1u << 0 | 1u << 10; /* a camera without a lens or a link sees nothing */
    if (f->n != 5)
        return RC_INVALID;
    struct camera_state s = {.work = f->data[0], .alarm_bits = get32(f->data + 1)};
    bool well = s.work == model->work_working || s.work == model->work_standby;
    s.state = well && (s.alarm_bits & fatal) == 0 ? EVENT_DEVICE_OK : EVENT_DEVICE_FAILED;
    *ret_s = s;
    return RC_OK;
}
