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

#define CAMERA_DATA_MAX   1024                            /* longest body but those of 0x51 */
#define CAMERA_FRAME_MAX  (2 * (7 + CAMERA_DATA_MAX) + 2) /* on the wire, every byte escaped */
#define CAMERA_MEDIA_HEAD 9                               /* type 1, id 4, packets 2, index 2 */
#define CAMERA_BODY_MAX   (CAMERA_MEDIA_HEAD + 65536)     /* of 0x51 */

enum camera_function {
    CAMERA_KEEP_ALIVE = 0x2F,    /* both ways, empty; the answer is the same */
    CAMERA_FACTORY_RESET = 0x30, /* never sent */
    CAMERA_VEHICLE = 0x31,       /* down, 26 bytes, no answer */
    CAMERA_INFO = 0x32,          /* asked down, answered with six texts */
    CAMERA_UPGRADE = 0x33,       /* never sent: firmware from afar is how a camera becomes somebody else's; the workshop does it */
    CAMERA_GET_PARAMS = 0x34,    /* asked down, answered with the unit's block */
    CAMERA_SET_PARAMS = 0x35,    /* the block down, 0xFF leaves a value as it is; answered 0 well, 1 not */
    CAMERA_ALARM = 0x36,         /* up, answered empty */
    CAMERA_STATE_QUERY = 0x37,   /* asked down, answered with work state and alarm bits */
    CAMERA_STATE_REPORT = 0x38,  /* the same unasked, answered empty */
    CAMERA_MEDIA_ASK = 0x50,     /* type 1, id 4 down, answered empty */
    CAMERA_MEDIA = 0x51,         /* a packet of it up, answered with its head and 0 got it, 1 again */
    CAMERA_SNAPSHOT = 0x52,      /* asked down, answered 0 well, 1 not; then comes an alarm 0x10 with the picture's number */
};

struct camera_frame {
    uint16_t sequence, vendor;
    uint8_t peripheral;            /* enum event_camera_unit; 0 = all */
    uint8_t function;              /* enum camera_function, or one we do not know */
    uint32_t n;                    /* of the body; above CAMERA_DATA_MAX in CAMERA_MEDIA alone */
    const uint8_t *body;           /* received frames: the whole body, in the parser's memory until the next byte goes in */
    uint8_t data[CAMERA_DATA_MAX]; /* the body's first bytes; all of it, but in CAMERA_MEDIA */
};

struct camera_parser { /* all-zero is a fresh one; 64 KiB, of which a line without pictures never touches more than the first page */
    bool inside, escaped, broken;
    uint32_t n;
    uint8_t buf[7 + CAMERA_BODY_MAX];
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
/* Bits of the vehicle's status in 0x31 and 0x36. */
enum camera_status {
    CAMERA_IGNITION = 1 << 0,
    CAMERA_TURN_LEFT = 1 << 1,
    CAMERA_TURN_RIGHT = 1 << 2,
    CAMERA_WIPER = 1 << 3,
    CAMERA_BRAKE = 1 << 4,
    CAMERA_CARD = 1 << 5,
    CAMERA_POSITIONED = 1 << 10,
};
/*
 * camera_vehicle - body of 0x31.
 *   fix, time_ms  UTC; the body carries GMT+8. Unknown values are 0
 *   trip_m        metres driven, goes in as tenths of a kilometre
 *   status        enum camera_status; CAMERA_POSITIONED is set here
 */
void camera_vehicle(const struct event_fix *fix, int64_t time_ms, uint32_t trip_m, uint16_t status, uint8_t out[CAMERA_VEHICLE_SIZE]);

#define CAMERA_FILES_MAX  16 /* of one alarm that are fetched; a camera offers some three pictures and a clip or two */
#define CAMERA_WHEELS_MAX 24
struct camera_alarm {
    struct event_camera event;
    int64_t time_ms; /* the camera's own time, UTC; 0 where it makes no sense */
    bool report;     /* TPMS: wheels are well, it only says so at intervals */
    /* ADAS; 0 where it is not given */
    uint8_t front_kmh;        /* of the vehicle ahead, 0..250 */
    uint8_t front_ds;         /* time to it in tenths of a second, 0..100 */
    uint8_t departure;        /* 1 to the left, 2 to the right */
    uint8_t sign, sign_value; /* 1 speed km/h, 2 height dm, 3 weight t */
    /* as the camera was told */
    int16_t alt_m;
    int32_t lat_e6, lon_e6; /* 1e-6 degrees */
    uint16_t status;        /* enum camera_status */
    size_t files;
    struct {
        uint8_t type; /* enum event_media_type */
        uint32_t id;
    } file[CAMERA_FILES_MAX];
    size_t wheels; /* TPMS */
    struct {
        uint8_t position; /* from the front, left to right */
        uint16_t bits;    /* 0 report, 1 pressure high, 2 low, 3 hot, 4 sensor, 5 uneven, 6 slow leak, 7 sensor's battery */
        uint16_t kpa;
        int16_t c; /* degrees Celsius */
        uint16_t battery_pct;
    } wheel[CAMERA_WHEELS_MAX];
};
/*
 * camera_alarm - body of 0x36. The type of a TPMS alarm is the low byte of all its wheels' bits.
 *   returns  RC_OK; RC_INVALID shorter than its unit's body or than the lists it announces, a flag the model does not know
 */
enum rc camera_alarm(const struct camera_frame *f, const struct regmap_camera *model, struct camera_alarm *ret_a) RC_MUST_USE;

/* camera_info - body of an answer to 0x32 as one line "maker product hw ... sw ... id ...", of printable ASCII. RC_OK; RC_INVALID its lengths are
 * wrong. */
enum rc camera_info(const struct camera_frame *f, char *out, size_t cap) RC_MUST_USE;

struct camera_packet {
    uint8_t type;
    uint32_t id;
    uint16_t packets, index; /* index 0..packets - 1 */
    const uint8_t *data;
    uint32_t n; /* 1..65536 */
};
/* camera_packet - body of 0x51. RC_OK; RC_INVALID no data, no packets, an index beyond them, an unknown type. */
enum rc camera_packet(const struct camera_frame *f, struct camera_packet *ret_p) RC_MUST_USE;

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
