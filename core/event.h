/*
 * event - the one currency: everything that happens on a bus is an event. Devices make it, the outbox keeps it, the uplink
 * carries it, the server stores it, the law judges it, the screens show it.
 *
 * Plain values, no pointers: an event may be copied with = and lives as long as its copy. Unknown is a value of its own
 * (EVENT_UNKNOWN and the masks), never 0.
 */
#ifndef SCHOOLWARD_EVENT_H
#define SCHOOLWARD_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "rc.h"

#define EVENT_UNKNOWN INT32_MIN /* any int32_t field below: the device did not say */

enum event_kind {
    EVENT_NONE = 0,
    EVENT_FIX = 1,    /* a GNSS report, with or without a position */
    EVENT_COUNT = 2,  /* persons: of a door counter, a camera, an attendant */
    EVENT_INPUTS = 3, /* doors, ignition, brake, SOS, stop arm, beacon */
    EVENT_CAMERA = 4, /* an alarm of a driver-assistance or driver-monitoring camera */
    EVENT_HEALTH = 5, /* a device of the bus came, went silent, failed */
    EVENT_CLOCK = 6,  /* the gateway's clock was set or became trusted */
    EVENT_TICK = 7,   /* time passed, nothing happened: drives hold times, never stored nor sent */
};

/* Which lane an event travels in (docs/protocol.md 1.2). */
enum event_lane { EVENT_LANE_BULK = 0, EVENT_LANE_URGENT = 1, EVENT_LANES = 2 };

/* How far event.time_ms can be believed, worst first. */
enum event_clock {
    EVENT_CLOCK_NONE = 0,   /* since boot only, the date is not known */
    EVENT_CLOCK_SAVED = 1,  /* continued from the last power-off */
    EVENT_CLOCK_SYSTEM = 2, /* the system's clock, not disciplined as far as we know */
    EVENT_CLOCK_NTP = 3,
    EVENT_CLOCK_GNSS = 4,   /* the receiver's own time of this very fix */
};

/* Mode as gpsd reports it (gpsd_json(5), TPV.mode). */
enum event_fix_mode { EVENT_FIX_UNSEEN = 0, EVENT_FIX_NONE = 1, EVENT_FIX_2D = 2, EVENT_FIX_3D = 3 };

struct event_fix {
    int32_t lat_e7;     /* 1e-7 degrees WGS-84, north positive, -900000000..900000000; EVENT_UNKNOWN without a position */
    int32_t lon_e7;     /* 1e-7 degrees, east positive, -1800000000..1800000000 */
    int32_t speed_mmps; /* millimetres per second over ground, >= 0 */
    int32_t track_cdeg; /* 0.01 degrees true, clockwise from north, 0..35999 */
    int32_t alt_dm;     /* decimetres above mean sea level */
    int32_t hdop_d;     /* horizontal dilution of precision times ten, 0..999 */
    uint8_t satellites; /* used in the fix, 0..63; 63 = 63 or more */
    uint8_t mode;       /* enum event_fix_mode */
};

enum event_count_source {
    EVENT_COUNT_DOOR = 1,      /* beam or stereo counter in a door: boarded and alighted accumulate */
    EVENT_COUNT_CAMERA = 2,    /* saloon camera: aboard as seen */
    EVENT_COUNT_ATTENDANT = 3, /* typed in or confirmed by the attendant: aboard */
    EVENT_COUNT_CARDS = 4,     /* cards tapped on and not yet off: aboard */
};

enum event_count_flag {
    EVENT_COUNT_RESET = 1,    /* the device started again from zero; the totals continue from a new base */
    EVENT_COUNT_DOUBTFUL = 2, /* a jump no door can let through, or a read that failed half-way */
    EVENT_COUNT_ZEROED = 4,   /* the tally was set to empty (end of a run, confirmed) */
};

struct event_count {
    uint8_t source;         /* enum event_count_source */
    uint8_t door;           /* 0..3, counters only */
    uint8_t flags;          /* enum event_count_flag */
    uint8_t confidence_pct; /* 0..100, as configured or reported; 0 = unknown */
    int32_t boarded;        /* persons in since the tally was zeroed, this door, >= 0 */
    int32_t alighted;       /* persons out since the tally was zeroed, this door, >= 0 */
    int32_t aboard;         /* persons aboard by this source alone, EVENT_UNKNOWN for a door counter */
};

/* Bits of event_inputs. A bit outside `known` says nothing. */
enum event_input {
    EVENT_IN_DOOR_FRONT = 1 << 0, /* 1 = open */
    EVENT_IN_DOOR_MIDDLE = 1 << 1,
    EVENT_IN_DOOR_REAR = 1 << 2,
    EVENT_IN_IGNITION = 1 << 3,      /* 1 = on */
    EVENT_IN_PARKING_BRAKE = 1 << 4, /* 1 = set */
    EVENT_IN_SOS = 1 << 5,           /* 1 = pressed or latched: one-key alarm */
    EVENT_IN_STOP_ARM = 1 << 6,      /* 1 = out: 停车指示标志 */
    EVENT_IN_BEACON = 1 << 7,        /* 1 = lit: 校车标志灯 */
    EVENT_IN_HAZARD = 1 << 8,        /* 1 = flashing: 危险报警闪光灯 */
    EVENT_IN_ALL = (1 << 9) - 1,
    EVENT_IN_DOORS = EVENT_IN_DOOR_FRONT | EVENT_IN_DOOR_MIDDLE | EVENT_IN_DOOR_REAR,
};

struct event_inputs {
    uint32_t state; /* enum event_input, levels now */
    uint32_t known; /* which of them are fitted and readable */
};

/* Peripheral ids of T/JSATL 12 (docs/devices.md). */
enum event_camera_unit { EVENT_CAMERA_ADAS = 0x64, EVENT_CAMERA_DSM = 0x65, EVENT_CAMERA_TPMS = 0x66, EVENT_CAMERA_BSD = 0x67 };
enum event_camera_phase { EVENT_CAMERA_ONCE = 0, EVENT_CAMERA_BEGIN = 1, EVENT_CAMERA_END = 2 };

struct event_camera {
    uint32_t alarm_id; /* the device's own number, links begin and end */
    uint8_t unit;      /* enum event_camera_unit */
    uint8_t phase;     /* enum event_camera_phase */
    uint8_t type;      /* alarm type in the unit's own numbering, T/JSATL 12 table of function 0x36 */
    uint8_t degree;    /* DSM fatigue 1..10; 0 = not given */
    uint8_t speed_kmh; /* as the camera knew it */
    uint8_t media;     /* how many pictures or clips the camera offers */
};

enum event_device_kind {
    EVENT_DEVICE_GNSS = 1,
    EVENT_DEVICE_COUNTER = 2,
    EVENT_DEVICE_INPUTS = 3,
    EVENT_DEVICE_CAMERA = 4,
    EVENT_DEVICE_PANEL = 5,
    EVENT_DEVICE_STORE = 6, /* the gateway's own disk */
    EVENT_DEVICE_REPLAY = 7,
};
enum event_device_state { EVENT_DEVICE_OK = 1, EVENT_DEVICE_SILENT = 2, EVENT_DEVICE_FAILED = 3, EVENT_DEVICE_ABSENT = 4 };

#define EVENT_NAME_MAX 15
struct event_health {
    char name[EVENT_NAME_MAX + 1]; /* the instance's name from the configuration, [a-z0-9-]+ */
    uint8_t device;                /* enum event_device_kind */
    uint8_t state;                 /* enum event_device_state */
    int32_t code;                  /* the driver's own number for the cause, 0 = none */
};

struct event_clock_set {
    int64_t offset_ms; /* new minus old wall time */
    uint8_t quality;   /* enum event_clock after the step */
};

struct event {
    int64_t time_ms; /* when it happened, UTC; GNSS time for a fix, the gateway's clock for the rest */
    uint8_t kind;    /* enum event_kind */
    uint8_t clock;   /* enum event_clock of time_ms */
    union {
        struct event_fix fix;
        struct event_count count;
        struct event_inputs inputs;
        struct event_camera camera;
        struct event_health health;
        struct event_clock_set clock_set;
    };
};

/*
 * event_check - whether every field of an event lies in its range, as a stranger's event must before it is used.
 *   returns  RC_OK, or RC_RANGE with the dotted name of the first bad field in *ret_field (a static string)
 */
enum rc event_check(const struct event *e, const char **ret_field) RC_MUST_USE;

/* Which lane the event travels in: SOS level 1 and camera alarms are urgent. Loops and filters never move an event down. */
enum event_lane event_lane_of(const struct event *e);

/* True for a fix whose position may be used: mode >= 2D and both coordinates known (gpsd's `status` says nothing). */
bool event_fix_valid(const struct event_fix *f);

#endif
