#include "camera.h"

#include <string.h>
#include <time.h>

#include "camera_picture.h"

/*
 * 7E | checksum 1 | sequence 2 | vendor 2 | peripheral 1 | function 1 | data | 7E, big-endian; 7E -> 7D 02 and 7D -> 7D 01 between the two 7E.
 * The checksum is the low byte of the sum of vendor..data.
 */
#define HEAD       7
#define VENDOR     0x5357
#define RESEND_MS  1000
#define SENDS_MAX  3
#define FN_ALIVE   0x2F
#define FN_RESET   0x30
#define FN_VEHICLE 0x31
#define FN_INFO    0x32
#define FN_GET     0x34
#define FN_SET     0x35
#define FN_ALARM   0x36
#define FN_STATE   0x37
#define FN_REPORT  0x38
#define FN_ASK     0x50
#define FN_MEDIA   0x51
#define FN_SHOOT   0x52
#define SNAPSHOT   0x10

void camera_init(struct camera *c, void (*send)(void *arg, const void *buf, size_t n), void *arg)
{
    memset(c, 0, sizeof *c);
    c->params[0] = 30; /* km/h */
    c->params[1] = 6;  /* volume */
    c->send = send;
    c->arg = arg;
}

static size_t put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
    return 4;
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static size_t put_escaped(uint8_t *out, size_t at, uint8_t b)
{
    if (b == 0x7E || b == 0x7D) {
        out[at++] = 0x7D;
        out[at++] = b == 0x7E ? 0x02 : 0x01;
    } else {
        out[at++] = b;
    }
    return at;
}

size_t camera_frame(uint8_t out[CAMERA_FRAME_MAX], uint16_t seq, uint8_t unit, uint8_t fn, const uint8_t *data, size_t n)
{
    uint8_t raw[CAMERA_FRAME_MAX / 2 - 2];
    if (n + HEAD > sizeof raw)
        n = sizeof raw - HEAD;
    raw[1] = (uint8_t)(seq >> 8);
    raw[2] = (uint8_t)seq;
    raw[3] = VENDOR >> 8;
    raw[4] = VENDOR & 0xFF;
    raw[5] = unit;
    raw[6] = fn;
    if (n)
        memcpy(raw + HEAD, data, n);
    uint8_t sum = 0;
    for (size_t i = 3; i < HEAD + n; i++)
        sum = (uint8_t)(sum + raw[i]);
    raw[0] = sum;
    size_t at = 0;
    out[at++] = 0x7E;
    for (size_t i = 0; i < HEAD + n; i++)
        at = put_escaped(out, at, raw[i]);
    out[at++] = 0x7E;
    return at;
}

static void reply(struct camera *c, uint16_t seq, uint8_t fn, const uint8_t *data, size_t n)
{
    uint8_t frame[CAMERA_FRAME_MAX];
    c->send(c->arg, frame, camera_frame(frame, seq, CAMERA_UNIT_DSM, fn, data, n));
    c->answered++;
}

static void reply_info(struct camera *c, uint16_t seq)
{
    static const char *const text[6] = {"Schoolward", "SIM-DSM", "H1", "S1.0", "SIM0001", "test"};
    uint8_t data[80];
    size_t n = 0;
    for (int i = 0; i < 6; i++) {
        size_t len = strlen(text[i]);
        data[n++] = (uint8_t)len;
        memcpy(data + n, text[i], len);
        n += len;
    }
    reply(c, seq, FN_INFO, data, n);
}

static uint16_t packets(const struct camera *c)
{
    return (uint16_t)((c->picture_n + CAMERA_PACKET - 1) / CAMERA_PACKET);
}

static void send_packet(struct camera *c, int64_t now_ms)
{
    uint8_t data[9 + CAMERA_PACKET] = {0}, frame[CAMERA_FRAME_MAX];
    size_t from = (size_t)c->packet * CAMERA_PACKET, n = c->picture_n - from < CAMERA_PACKET ? c->picture_n - from : CAMERA_PACKET;
    put_u32(data + 1, c->picture_id); /* data[0] is 0: JPEG */
    data[5] = (uint8_t)(packets(c) >> 8);
    data[6] = (uint8_t)packets(c);
    data[7] = (uint8_t)(c->packet >> 8);
    data[8] = (uint8_t)c->packet;
    memcpy(data + 9, c->picture + from, n);
    c->packet_ms = now_ms;
    c->send(c->arg, frame, camera_frame(frame, c->packet_seq, CAMERA_UNIT_DSM, FN_MEDIA, data, 9 + n));
}

static void begin_packet(struct camera *c, uint16_t packet, int64_t now_ms)
{
    c->packet = packet;
    c->packet_seq = c->seq++;
    c->packet_sends = 1;
    send_packet(c, now_ms);
}

static void take_media_answer(struct camera *c, const uint8_t *data, size_t n, int64_t now_ms)
{
    uint16_t index = n >= 10 ? (uint16_t)(data[7] << 8 | data[8]) : 0;
    if (n < 10 || !c->picture_n || index >= packets(c))
        return;
    if (data[9] != 0) { /* again, whichever it is */
        c->serving = true;
        begin_packet(c, index, now_ms);
    } else if (c->serving && index == c->packet) {
        if (index + 1 < packets(c)) {
            begin_packet(c, (uint16_t)(index + 1), now_ms);
        } else {
            c->serving = false;
            c->served++;
        }
    }
}

static void take_frame(struct camera *c, const uint8_t *f, size_t n, int64_t now_ms)
{
    uint8_t sum = 0;
    for (size_t i = 3; i < n; i++)
        sum = (uint8_t)(sum + f[i]);
    if (n < HEAD || sum != f[0]) {
        c->refused++;
        return;
    }
    uint16_t seq = (uint16_t)(f[1] << 8 | f[2]);
    uint8_t unit = f[5], fn = f[6];
    if (unit != CAMERA_UNIT_DSM && unit != 0)
        return;
    const uint8_t state[5] = {2, 0, 0, 0, 0}, well[1] = {0};
    switch (fn) {
    case FN_ALIVE:
    case FN_RESET: reply(c, seq, fn, NULL, 0); break;
    case FN_INFO: reply_info(c, seq); break;
    case FN_STATE: reply(c, seq, fn, state, sizeof state); break;
    case FN_GET: reply(c, seq, fn, c->params, sizeof c->params); break;
    case FN_SET:
        for (size_t i = 0; i < sizeof c->params && HEAD + i < n; i++)
            if (f[HEAD + i] != 0xFF)
                c->params[i] = f[HEAD + i];
        reply(c, seq, fn, well, sizeof well);
        break;
    case FN_ASK:
        if (n < HEAD + 5 || !c->picture_n || f[HEAD] != 0 || get_u32(f + HEAD + 1) != c->picture_id)
            break; /* only the newest is still there */
        reply(c, seq, fn, NULL, 0);
        c->serving = true;
        begin_packet(c, 0, now_ms);
        break;
    case FN_MEDIA: take_media_answer(c, f + HEAD, n - HEAD, now_ms); break;
    case FN_SHOOT:
        reply(c, seq, fn, well, sizeof well);
        camera_alarm(c, SNAPSHOT, 0, 0, c->lat_e6, c->lon_e6, now_ms);
        break;
    case FN_VEHICLE:
        if (n >= HEAD + 26) {
            c->speed_kmh = f[HEAD];
            c->vehicle_ms = now_ms;
        } else {
            c->refused++;
        }
        break;
    default:
        if (c->waiting_n && fn == c->waiting_fn && seq == c->waiting_seq)
            c->waiting_n = 0;
        break;
    }
}

/* Returns the length, 0 for an escape that does not exist. */
static size_t unescape(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t b = in[i];
        if (b == 0x7D) {
            if (++i == n || (in[i] != 0x01 && in[i] != 0x02))
                return 0;
            b = in[i] == 0x02 ? 0x7E : 0x7D;
        }
        out[m++] = b;
    }
    return m;
}

void camera_input(struct camera *c, const uint8_t *buf, size_t n, int64_t now_ms)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t b = buf[i];
        if (b == 0x7E) {
            if (c->in_frame && c->in_n) {
                uint8_t plain[CAMERA_FRAME_MAX];
                size_t m = unescape(c->in, c->in_n, plain);
                if (m)
                    take_frame(c, plain, m, now_ms);
                else
                    c->refused++;
            }
            c->in_frame = true;
            c->in_n = 0;
        } else if (c->in_frame && c->in_n < sizeof c->in) {
            c->in[c->in_n++] = b;
        } else if (c->in_frame) {
            c->in_frame = false; /* longer than any frame we know */
            c->refused++;
        }
    }
}

/* An active message takes the place of one that nobody answered. */
static void send_active(struct camera *c, uint8_t fn, const uint8_t *data, size_t n, int64_t now_ms)
{
    if (c->waiting_n)
        c->dropped++;
    c->waiting_seq = c->seq++;
    c->waiting_fn = fn;
    c->waiting_n = camera_frame(c->waiting, c->waiting_seq, CAMERA_UNIT_DSM, fn, data, n);
    c->sends = 1;
    c->sent_ms = now_ms;
    c->send(c->arg, c->waiting, c->waiting_n);
}

static void tick_packet(struct camera *c, int64_t now_ms)
{
    if (!c->serving || now_ms - c->packet_ms < RESEND_MS)
        return;
    if (c->packet_sends++ < SENDS_MAX) {
        c->resent++;
        send_packet(c, now_ms);
    } else {
        c->serving = false;
        c->dropped++;
    }
}

void camera_tick(struct camera *c, int64_t now_ms)
{
    tick_packet(c, now_ms);
    if (!c->waiting_n || now_ms - c->sent_ms < RESEND_MS)
        return;
    if (c->sends >= SENDS_MAX) {
        c->waiting_n = 0;
        c->dropped++;
        return;
    }
    c->sends++;
    c->resent++;
    c->sent_ms = now_ms;
    c->send(c->arg, c->waiting, c->waiting_n);
}

static uint8_t bcd(int v)
{
    return (uint8_t)(v / 10 % 10 << 4 | v % 10);
}

void camera_alarm(struct camera *c, uint8_t type, uint8_t phase, uint8_t degree, int32_t lat_e6, int32_t lon_e6, int64_t now_ms)
{
    /* id 4, flag, type, fatigue, reserved 4, speed, altitude 2, latitude 4, longitude 4, time 6, status 2, media count */
    uint8_t d[40] = {0};
    time_t s = (time_t)(now_ms / 1000 + 8 * 3600); /* the protocol's clock is China's */
    struct tm tm;
    gmtime_r(&s, &tm);
    if (phase != 2)
        c->alarm_id++;
    c->lat_e6 = lat_e6;
    c->lon_e6 = lon_e6;
    size_t at = put_u32(d, c->alarm_id);
    d[at++] = phase;
    d[at++] = type;
    d[at++] = degree;
    at += 4;
    d[at++] = c->speed_kmh;
    d[at++] = 347 >> 8; /* metres above the sea */
    d[at++] = 347 & 0xFF;
    at += put_u32(d + at, (uint32_t)lat_e6);
    at += put_u32(d + at, (uint32_t)lon_e6);
    const int clock[6] = {tm.tm_year % 100, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
    for (int i = 0; i < 6; i++)
        d[at++] = bcd(clock[i]);
    d[at++] = 0x04; /* bit 10: positioned */
    d[at++] = 0x01; /* bit 0: ignition on */
    bool shot = phase != 2 && !c->serving;
    d[at++] = shot;
    if (shot) {
        c->picture_id = c->alarm_id;
        c->picture_n = camera_picture(c->alarm_id, now_ms, c->picture, sizeof c->picture);
        d[at++] = 0; /* a picture */
        at += put_u32(d + at, c->picture_id);
    }
    send_active(c, FN_ALARM, d, at, now_ms);
}

void camera_state(struct camera *c, uint8_t work, uint32_t alarm_bits, int64_t now_ms)
{
    uint8_t d[5] = {work};
    put_u32(d + 1, alarm_bits);
    send_active(c, FN_REPORT, d, sizeof d, now_ms);
}
