/*
 * camera - a driver-monitoring camera as the gateway sees it: the peripheral side of T/JSATL 12 (keep-alive 2F, device info 32, vehicle data 31,
 * settings 34 and 35, alarm report 36 with a picture, state query 37 and report 38, media 50 and 51, snapshot 52, re-send after 1 s, three sends in
 * all), on a serial line or a TCP connection. Bytes in, bytes out; the caller owns the descriptor.
 */
#ifndef SCHOOLWARD_SIM_CAMERA_H
#define SCHOOLWARD_SIM_CAMERA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAMERA_FRAME_MAX   2200 /* on the wire, escaped */
#define CAMERA_PICTURE_MAX 12000
#define CAMERA_PACKET      1000 /* bytes of a picture in one packet */
#define CAMERA_UNIT_DSM  0x65

struct camera {
    uint8_t in[CAMERA_FRAME_MAX];
    size_t in_n;
    bool in_frame;
    uint16_t seq;
    uint32_t alarm_id;
    int32_t lat_e6, lon_e6; /* of the newest alarm */
    /* the one active message waiting for its answer */
    uint8_t waiting[CAMERA_FRAME_MAX];
    size_t waiting_n;
    uint16_t waiting_seq;
    uint8_t waiting_fn;
    int sends;
    int64_t sent_ms;
    /* the vehicle as function 31 told it */
    uint8_t speed_kmh;
    int64_t vehicle_ms; /* 0 = never told */
    /* the newest picture, and how far it is handed over */
    uint8_t picture[CAMERA_PICTURE_MAX];
    size_t picture_n; /* 0 = none yet */
    uint32_t picture_id;
    bool serving;
    uint16_t packet, packet_seq;
    int packet_sends;
    int64_t packet_ms;
    uint8_t params[49];
    unsigned answered, refused, resent, dropped, served;
    void (*send)(void *arg, const void *buf, size_t n);
    void *arg;
};

void camera_init(struct camera *c, void (*send)(void *arg, const void *buf, size_t n), void *arg);
void camera_input(struct camera *c, const uint8_t *buf, size_t n, int64_t now_ms);
/* Re-sends; call some times a second. */
void camera_tick(struct camera *c, int64_t now_ms);
/* Report, with a picture, an alarm of the driver-monitoring table (1 fatigue, 2 phone, 3 smoking, ...) or, with phase 2, its end. */
void camera_alarm(struct camera *c, uint8_t type, uint8_t phase, uint8_t degree, int32_t lat_e6, int32_t lon_e6, int64_t now_ms);
/* Report the work state (2 working, 4 fault) and the alarm bits. */
void camera_state(struct camera *c, uint8_t work, uint32_t alarm_bits, int64_t now_ms);

/* One frame: head, checksum, escapes. Returns the length on the wire. */
size_t camera_frame(uint8_t out[CAMERA_FRAME_MAX], uint16_t seq, uint8_t unit, uint8_t fn, const uint8_t *data, size_t n);

#endif
