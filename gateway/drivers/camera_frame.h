/*
 * camera_frame - the link between a camera (ADAS, DSM, TPMS, BSD) and the terminal, T/JSATL 12 chapter on peripherals: frames, and the bodies we
 * use. Pure: bytes in, frames out.
 *
 *   7E | checksum 1 | sequence 2 | vendor 2 | peripheral 1 | function 1 | data n | 7E      big-endian
 *
 * The checksum is the low byte of the sum of vendor .. data. Between the two 7E, 7E travels as 7D 02 and 7D as 7D 01.
 */
#ifndef SCHOOLWARD_CAMERA_FRAME_H
#define SCHOOLWARD_CAMERA_FRAME_H

#include "../../core/event.h"
#include "regmap.h"

#define CAMERA_DATA_MAX  1024 /* longest body we take; pictures (0x51) are longer and are not asked for */
#define CAMERA_FRAME_MAX (2 * (7 + CAMERA_DATA_MAX) + 2) /* on the wire, every byte escaped */

enum camera_function {
    CAMERA_KEEP_ALIVE = 0x2F,   /* both ways, empty; the answer is the same */
    CAMERA_FACTORY_RESET = 0x30, /* never sent */
    CAMERA_VEHICLE = 0x31,      /* down, 26 bytes, no answer */
    CAMERA_INFO = 0x32,         /* asked down, answered with six texts */
    CAMERA_ALARM = 0x36,        /* up, answered empty */
    CAMERA_STATE_QUERY = 0x37,  /* asked down, answered with work state and alarm bits */
    CAMERA_STATE_REPORT = 0x38, /* the same unasked, answered empty */
};

struct camera_frame {
    uint16_t sequence, vendor;
    uint8_t peripheral; /* enum event_camera_unit; 0 = all */
    uint8_t function;   /* enum camera_function, or one we do not know */
    uint16_t n;
    uint8_t data[CAMERA_DATA_MAX];
};

struct camera_parser { /* all-zero is a fresh one */
    bool inside, escaped, broken;
    uint16_t n;
    uint8_t buf[7 + CAMERA_DATA_MAX];
};

enum camera_fault { CAMERA_FINE = 0, CAMERA_NOISE, CAMERA_SHORT, CAMERA_LONG, CAMERA_ESCAPE, CAMERA_SUM };

/*
 * camera_parse - take one byte.
 *   returns  RC_OK a frame is complete in *ret_f; RC_AGAIN not yet; RC_INVALID something was thrown away (*ret_fault says what). The 7E that ends
 *            a bad frame begins the next: after noise or half a frame the first whole one is understood.
 */
enum rc camera_parse(struct camera_parser *p, uint8_t byte, struct camera_frame *ret_f, enum camera_fault *ret_fault);

/* camera_build - a frame as bytes, out has room for CAMERA_FRAME_MAX; returns how many. f->n <= CAMERA_DATA_MAX. */
size_t camera_build(const struct camera_frame *f, uint8_t *out);

#define CAMERA_VEHICLE_SIZE 26
/* camera_vehicle - body of 0x31 from a fix (UTC milliseconds; the body carries GMT+8). Unknown values are 0, and status bit 10 says whether positioned. */
void camera_vehicle(const struct event_fix *fix, int64_t time_ms, uint8_t out[CAMERA_VEHICLE_SIZE]);

/*
 * camera_alarm - body of 0x36.
 *   ret_time_ms  the camera's own time as UTC milliseconds, 0 where it makes no sense
 *   returns      RC_OK; RC_INVALID too short for its unit, a flag the model does not know, or a unit without such a body
 */
enum rc camera_alarm(const struct camera_frame *f, const struct regmap_camera *model, struct event_camera *ret_c, int64_t *ret_time_ms) RC_MUST_USE;

struct camera_state {
    enum event_device_state state;
    uint8_t work;
    uint32_t alarm_bits; /* 0 camera, 1 main storage, 2 second storage, 3 infra-red light, 4 speaker, 5 battery, 10 communication, 11 positioning */
};
/* camera_state_of - body of 0x37 and 0x38. RC_OK; RC_INVALID not 5 bytes. Stand-by and working are well, unless the lens or the link fails. */
enum rc camera_state_of(const struct camera_frame *f, const struct regmap_camera *model, struct camera_state *ret_s) RC_MUST_USE;

/* camera_time - six bytes year-month-day-hour-minute-second GMT+8, BCD or binary, as UTC milliseconds; 0 where it makes no sense. */
int64_t camera_time(const uint8_t t[6], int form);

#endif
