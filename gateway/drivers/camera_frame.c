#include "camera_frame.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MARK   0x7E
#define ESCAPE 0x7D
#define HEAD   7
#define GMT8_S 28800

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
    uint32_t n = p->n;
    bool broken = p->broken || p->escaped;
    p->n = 0;
    p->broken = p->escaped = false;
    if (n == 0 && !broken)
        return RC_AGAIN; /* the end of one frame and the start of the next, or a shared 7E */
    if (broken) {
        *ret_fault = n >= sizeof p->buf ? CAMERA_LONG : CAMERA_ESCAPE;
        return RC_INVALID;
    }
    if (n > HEAD + CAMERA_DATA_MAX && p->buf[6] != CAMERA_MEDIA) {
        *ret_fault = CAMERA_LONG;
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
    ret_f->n = n - HEAD;
    ret_f->body = p->buf + HEAD;
    memcpy(ret_f->data, ret_f->body, ret_f->n < CAMERA_DATA_MAX ? ret_f->n : CAMERA_DATA_MAX);
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

void camera_vehicle(const struct event_fix *fix, int64_t time_ms, uint32_t trip_m, uint16_t status, uint8_t out[CAMERA_VEHICLE_SIZE])
{
    /* speed 0, reserved 1, mileage 2-5, reserved 6-7, altitude 8-9, latitude 10-13, longitude 14-17, time 18-23, status 24-25 */
    bool valid = event_fix_valid(fix);
    memset(out, 0, CAMERA_VEHICLE_SIZE);
    if (fix->speed_mmps > 0) {
        double kmh = fix->speed_mmps * 0.0036;
        out[0] = (uint8_t)lround(kmh > 255 ? 255 : kmh);
    }
    put32(out + 2, trip_m / 100);
    if (valid) {
        if (fix->alt_dm != EVENT_UNKNOWN && fix->alt_dm / 10 >= INT16_MIN && fix->alt_dm / 10 <= INT16_MAX)
            put16(out + 8, (uint16_t)(int16_t)(fix->alt_dm / 10));
        /* 1e-6 degrees, unsigned; the hemispheres have no bit in this status word, and the system runs in the north-east one */
        put32(out + 10, (uint32_t)(llabs((long long)fix->lat_e7 + (fix->lat_e7 < 0 ? -5 : 5)) / 10));
        put32(out + 14, (uint32_t)(llabs((long long)fix->lon_e7 + (fix->lon_e7 < 0 ? -5 : 5)) / 10));
    }
    put_time(out + 18, time_ms);
    put16(out + 24, status | (valid ? (unsigned)CAMERA_POSITIONED : 0));
}

/* The part all units share, from the speed on; *ret_at: where it ends. */
static bool read_tail(const struct camera_frame *f, size_t at, const struct regmap_camera *model, struct camera_alarm *a, size_t *ret_at)
{
    const uint8_t *d = f->data + at;
    if (f->n < at + 19)
        return false;
    a->event.speed_kmh = d[0];
    a->alt_m = (int16_t)get16(d + 1);
    a->lat_e6 = (int32_t)get32(d + 3);
    a->lon_e6 = (int32_t)get32(d + 7);
    a->time_ms = camera_time(d + 11, model->time);
    a->status = get16(d + 17);
    *ret_at = at + 19;
    return true;
}

static bool read_files(const struct camera_frame *f, size_t at, struct camera_alarm *a)
{
    if (f->n == at)
        return true; /* early firmware has no list */
    size_t n = f->data[at];
    if (f->n < at + 1 + 5 * n)
        return false;
    a->event.media = (uint8_t)n;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *d = f->data + at + 1 + 5 * i;
        if (d[0] > EVENT_MEDIA_VIDEO || a->files == CAMERA_FILES_MAX)
            continue;
        a->file[a->files].type = d[0];
        a->file[a->files++].id = get32(d + 1);
    }
    return true;
}

static bool read_wheels(const struct camera_frame *f, size_t at, struct camera_alarm *a)
{
    unsigned bits = 0;
    if (f->n == at || f->n < at + 1 + 9U * f->data[at] || f->data[at] > CAMERA_WHEELS_MAX)
        return false;
    a->wheels = f->data[at];
    for (size_t i = 0; i < a->wheels; i++) {
        const uint8_t *d = f->data + at + 1 + 9 * i;
        a->wheel[i].position = d[0];
        a->wheel[i].bits = get16(d + 1);
        a->wheel[i].kpa = get16(d + 3);
        a->wheel[i].c = (int16_t)get16(d + 5);
        a->wheel[i].battery_pct = get16(d + 7);
        bits |= a->wheel[i].bits;
    }
    a->event.type = (uint8_t)bits;
    a->report = (bits & ~1U) == 0;
    return true;
}

enum rc camera_alarm(const struct camera_frame *f, const struct regmap_camera *model, struct camera_alarm *ret_a)
{
    /*
     * id 4, flag 1, then by unit:
     *   ADAS  type, front speed, front distance, departure, sign type, sign value       speed at 11
     *   DSM   type, fatigue, reserved 4                                                 speed at 11
     *   BSD   type                                                                      speed at 6
     *   TPMS                                                                            speed at 5
     * speed 1, altitude 2, latitude 4, longitude 4, time 6, status 2, then
     *   TPMS  wheels 1, wheels times 9; the others: media 1, media times 5
     */
    static const uint8_t speed_at[] = {11, 11, 5, 6};
    const uint8_t *d = f->data;
    size_t at = 0;
    if (f->peripheral < EVENT_CAMERA_ADAS || f->peripheral > EVENT_CAMERA_BSD || f->n > CAMERA_DATA_MAX)
        return RC_INVALID;
    struct camera_alarm a = {.event = {.alarm_id = get32(d), .unit = f->peripheral}};
    if (!read_tail(f, speed_at[f->peripheral - EVENT_CAMERA_ADAS], model, &a, &at))
        return RC_INVALID;
    if (d[4] == model->flag_begin)
        a.event.phase = EVENT_CAMERA_BEGIN;
    else if (d[4] == model->flag_end)
        a.event.phase = EVENT_CAMERA_END;
    else if (d[4] == model->flag_event)
        a.event.phase = EVENT_CAMERA_ONCE;
    else
        return RC_INVALID;
    if (f->peripheral != EVENT_CAMERA_TPMS)
        a.event.type = model->map[d[5]];
    if (f->peripheral == EVENT_CAMERA_DSM && d[6] <= 10)
        a.event.degree = d[6];
    if (f->peripheral == EVENT_CAMERA_ADAS) {
        a.front_kmh = d[6];
        a.front_ds = d[7];
        a.departure = d[8];
        a.sign = d[9];
        a.sign_value = d[10];
    }
    if (!(f->peripheral == EVENT_CAMERA_TPMS ? read_wheels(f, at, &a) : read_files(f, at, &a)))
        return RC_INVALID;
    *ret_a = a;
    return RC_OK;
}

enum rc camera_info(const struct camera_frame *f, char *out, size_t cap)
{
    static const char *const word[] = {"", " ", " hw ", " sw ", " id ", " for "};
    size_t at = 0, n = 0;
    out[0] = '\0';
    if (f->n > CAMERA_DATA_MAX)
        return RC_INVALID;
    for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
        if (at == f->n && i >= 5)
            return RC_OK; /* some leave the customer out */
        if (at >= f->n || f->data[at] > f->n - at - 1)
            return RC_INVALID;
        size_t len = f->data[at++];
        if (len > 0 && n < cap)
            n += (size_t)snprintf(out + n, cap - n, "%s", word[i]);
        for (size_t k = 0; k < len && n + 1 < cap; k++) {
            uint8_t c = f->data[at + k];
            out[n++] = c > 0x20 && c < 0x7f ? (char)c : '_';
            out[n] = '\0';
        }
        at += len;
    }
    return RC_OK;
}

enum rc camera_packet(const struct camera_frame *f, struct camera_packet *ret_p)
{
    if (f->n <= CAMERA_MEDIA_HEAD || f->n > CAMERA_BODY_MAX)
        return RC_INVALID;
    struct camera_packet p = {.type = f->body[0], .id = get32(f->body + 1), .packets = get16(f->body + 5), .index = get16(f->body + 7)};
    p.data = f->body + CAMERA_MEDIA_HEAD;
    p.n = f->n - CAMERA_MEDIA_HEAD;
    if (p.type > EVENT_MEDIA_VIDEO || p.index >= p.packets)
        return RC_INVALID;
    *ret_p = p;
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
