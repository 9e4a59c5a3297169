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
#include <stddef.h>
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
    EVENT_CARD = 8,    /* a card was held to a reader */
    EVENT_TALLY = 9,   /* the head-count: all sources reconciled, when the bus leaves a stop */
    EVENT_GAP = 10,    /* records that were given up, and why: no loss is silent */
    EVENT_MEDIA = 11,  /* a picture or clip of a camera: kept on the bus's disk, sent, given up */
    EVENT_GNSS = 12,   /* the receiver's positions became or ceased to be doubtful */
    EVENT_READING = 13, /* temperature, voltage, tyre pressure */
    EVENT_ACTION = 14, /* what a person did on the bus, or the gateway with itself: for the audit */
    EVENT_KINDS = 15,
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
/* What of a report is kept and shown to experts, but moves no bus and judges nobody (gateway/fixgate.h says when). */
enum event_fix_doubt { EVENT_DOUBT_PLACE = 1, EVENT_DOUBT_SPEED = 2, EVENT_DOUBT_ALL = 3 };

struct event_fix {
    int32_t lat_e7;     /* 1e-7 degrees WGS-84, north positive, -900000000..900000000; EVENT_UNKNOWN without a position */
    int32_t lon_e7;     /* 1e-7 degrees, east positive, -1800000000..1800000000 */
    int32_t speed_mmps; /* millimetres per second over ground, >= 0 */
    int32_t track_cdeg; /* 0.01 degrees true, clockwise from north, 0..35999 */
    int32_t alt_dm;     /* decimetres above mean sea level */
    int32_t hdop_d;     /* horizontal dilution of precision times ten, 0..999 */
    uint8_t satellites; /* used in the fix, 0..63; 63 = 63 or more */
    uint8_t mode;       /* enum event_fix_mode */
    uint8_t doubt;      /* bits of enum event_fix_doubt */
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
    EVENT_IN_BRAKE = 1 << 9,         /* 1 = service brake pressed */
    EVENT_IN_DRIVER_BELT = 1 << 10,  /* 1 = the driver's belt is open */
    EVENT_IN_BELTS = 1 << 11,        /* 1 = at an occupied seat a belt is open */
    EVENT_IN_DRIVER_SEAT = 1 << 12,  /* 1 = somebody sits there */
    EVENT_IN_FRONT_SEAT = 1 << 13,   /* 1 = somebody sits beside the driver: 副驾驶座 */
    EVENT_IN_PATROL = 1 << 14,       /* 1 = rear patrol button pressed: 停车巡视按钮 */
    EVENT_IN_CONFIRM = 1 << 15,      /* 1 = the attendant's button pressed: head-count done, ready to go */
    EVENT_IN_MOTION = 1 << 16,       /* 1 = something moves in the saloon */
    EVENT_IN_SMOKE = 1 << 17,        /* 1 = smoke or fire */
    EVENT_IN_POWER_LOST = 1 << 18,   /* 1 = the gateway runs on its own battery */
    EVENT_IN_TAMPER = 1 << 19,       /* 1 = the enclosure is open */
    EVENT_IN_ALL = (1 << 20) - 1,
    EVENT_IN_URGENT = EVENT_IN_SOS | EVENT_IN_SMOKE,
    EVENT_IN_DOORS = EVENT_IN_DOOR_FRONT | EVENT_IN_DOOR_MIDDLE | EVENT_IN_DOOR_REAR,
};

#define EVENT_INPUTS_N 20
extern const char *const event_input_names[]; /* by bit: "door_front" .. "tamper", NULL */

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
    EVENT_DEVICE_CARDS = 8,
    EVENT_DEVICE_LAST = EVENT_DEVICE_CARDS,
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

enum event_card_kind { EVENT_CARD_UNKNOWN = 0, EVENT_CARD_PUPIL, EVENT_CARD_ATTENDANT, EVENT_CARD_DRIVER, EVENT_CARD_PATROL };
enum event_card_way { EVENT_CARD_TAP = 0, EVENT_CARD_ON, EVENT_CARD_OFF }; /* TAP: the reader cannot tell in which direction */

struct event_card {
    uint64_t hash; /* of the card's number under the fleet's key; the number itself never leaves the bus */
    uint8_t kind;  /* enum event_card_kind: by the duty's roster; UNKNOWN is worth an alarm of its own */
    uint8_t way;   /* enum event_card_way */
    uint8_t door;  /* 0..3 */
};

enum event_tally_flag {
    EVENT_TALLY_DISAGREE = 1, /* current sources are more than one person apart */
    EVENT_TALLY_DOUBTFUL = 2, /* a source doubts itself, or the sum is below zero */
    EVENT_TALLY_ZEROED = 4,   /* set to empty at the end of a run: `low`..`high` say what it was before */
};
struct event_tally {
    int32_t low, best, high;   /* persons aboard, staff included, low <= best <= high; EVENT_UNKNOWN: nothing counts */
    int32_t boarded, alighted; /* at this stop, by the doors; EVENT_UNKNOWN without door counters */
    uint8_t confidence_pct;    /* of `best`, as bus_persons.confidence_pct */
    uint8_t flags;             /* enum event_tally_flag */
    uint8_t sources;           /* bits 1 << enum event_count_source of those that were current */
};

enum event_gap_reason {
    EVENT_GAP_THINNED = 1, /* of the positions every second one went, so that the disk holds longer */
    EVENT_GAP_OLDEST,      /* the oldest went, because the file had its size */
    EVENT_GAP_DISK_FULL,   /* likewise, because the disk was full */
    EVENT_GAP_DAMAGED,     /* could not be read back */
    EVENT_GAP_MEMORY,      /* never stored: the queue before the disk was full; from_seq and to_seq are 0 */
};
struct event_gap {
    uint64_t from_seq, to_seq; /* closed; the sequences of `lane` the lost records had or lay between */
    uint32_t n;                /* how many records are missing */
    uint8_t lane, reason;      /* enum event_lane, enum event_gap_reason */
};

enum event_media_type { EVENT_MEDIA_PICTURE = 0, EVENT_MEDIA_AUDIO, EVENT_MEDIA_VIDEO };
enum event_media_state { EVENT_MEDIA_KEPT = 1, EVENT_MEDIA_SENT, EVENT_MEDIA_GIVEN_UP };
struct event_media {
    uint8_t sha256[16]; /* the first half of the file's SHA-256: what arrives later is held against it */
    uint32_t id;        /* the camera's own number of it */
    uint32_t bytes;     /* size of the file */
    uint32_t alarm_id;  /* of the alarm it belongs to, 0 = none */
    uint8_t unit;       /* enum event_camera_unit */
    uint8_t type, state; /* enum event_media_type, enum event_media_state */
};

enum event_gnss_fault {
    EVENT_GNSS_FROZEN = 1, /* the same position to the last digit while the bus drives; value: seconds */
    EVENT_GNSS_JUMP,       /* further than the bus can have driven; value: metres */
    EVENT_GNSS_SPEED,      /* speed over ground and wheel speed are apart; value: km/h */
    EVENT_GNSS_ANTENNA,    /* open or shorted, as the receiver says */
    EVENT_GNSS_JAMMED,     /* signals of all satellites fell at once; value: dB */
    EVENT_GNSS_WEEK,       /* its date is whole periods of 1024 weeks off; value: periods */
    EVENT_GNSS_CLOCK,      /* its time and a trusted clock are apart; value: seconds */
    EVENT_GNSS_LAST = EVENT_GNSS_CLOCK,
};
struct event_gnss {
    int32_t value; /* unit by fault, EVENT_UNKNOWN */
    uint8_t fault; /* enum event_gnss_fault */
    uint8_t over;  /* 0 begins, 1 is over */
};

enum event_reading_what {
    EVENT_READING_CABIN_C = 1, /* value in thousandths of the unit */
    EVENT_READING_BOARD_C,     /* the gateway's own */
    EVENT_READING_SUPPLY_V,
    EVENT_READING_BATTERY_V,
    EVENT_READING_TYRE_KPA,
    EVENT_READING_TYRE_C,
    EVENT_READING_WHEEL_KMH, /* speed by the wheels or the gearbox */
    EVENT_READING_LAST = EVENT_READING_WHEEL_KMH,
};
struct event_reading {
    int32_t value;   /* thousandths of the unit, EVENT_UNKNOWN: the sensor does not answer */
    uint8_t what;    /* enum event_reading_what */
    uint8_t channel; /* wheel, sensor: 0.. */
};

enum event_action_what {
    EVENT_ACTION_BOOT = 1,        /* the gateway started; value: starts within ten minutes */
    EVENT_ACTION_COUNT_CONFIRMED, /* the attendant confirmed the head-count; value: persons */
    EVENT_ACTION_PATROL,          /* the rear button was pressed after the run */
    EVENT_ACTION_CONFIRMED,       /* the second confirmation that nobody is left; value: enum event_card_kind of who, 0 = button */
    EVENT_ACTION_ZEROED,          /* the tally was set to empty; value: what it was */
    EVENT_ACTION_ORDER,           /* an order of the office was carried out; ref: its id, value: 1 done, 0 not */
    EVENT_ACTION_CONFIG_TRIED,    /* a new configuration runs on trial; ref: its version */
    EVENT_ACTION_CONFIG_KEPT,     /* it reached the office and stays; ref: its version */
    EVENT_ACTION_CONFIG_BACK,     /* it did not: the one before runs again; ref: version of the one given up */
    EVENT_ACTION_DUTY,            /* a new duty is in force; ref: its version */
    EVENT_ACTION_SAFE_MODE,       /* too many starts: position and alarms only; value: starts */
    EVENT_ACTION_SECRET,          /* the gateway's secret was changed */
    EVENT_ACTION_LAST = EVENT_ACTION_SECRET,
};
struct event_action {
    uint64_t ref;
    int32_t value; /* EVENT_UNKNOWN where it has none */
    uint8_t what;  /* enum event_action_what */
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
        struct event_card card;
        struct event_tally tally;
        struct event_gap gap;
        struct event_media media;
        struct event_gnss gnss;
        struct event_reading reading;
        struct event_action action;
    };
};

/*
 * The fields of the kinds from EVENT_CARD on, as one table: check, wire, replay files, dump and series are made from it. Field i of a kind is field i + 1 of
 * its message in core/schoolward.proto.
 */
enum event_field_form {
    EVENT_FIELD_U8,
    EVENT_FIELD_U32,
    EVENT_FIELD_U64,
    EVENT_FIELD_I32,   /* may be EVENT_UNKNOWN */
    EVENT_FIELD_BYTES, /* 16 of them */
};
struct event_field {
    const char *name; /* "card.hash": the kind's word, a dot, [a-z0-9_]+ */
    uint8_t form;     /* enum event_field_form */
    uint8_t words;    /* 0: a number; otherwise the value is one of word[0..words-1] */
    uint16_t offset;  /* in struct event */
    int32_t min, max; /* closed; of EVENT_FIELD_U32 and _U64 not looked at */
    const char *const *word; /* NULL entries are not allowed values */
};
/* The table of a kind, NULL for those before EVENT_CARD. */
const struct event_field *event_fields(uint8_t kind, size_t *ret_n);
/* What stands behind the dot of its name. */
const char *event_field_word(const struct event_field *f);
/* The kind's word: "fix", "count", "inputs", "camera", "health", "clock", "tick", "card", ...; NULL if there is none. */
const char *event_kind_word(uint8_t kind);
/* A field's value, I32 and U8 sign-extended; EVENT_FIELD_BYTES: 0. */
int64_t event_field_value(const struct event *e, const struct event_field *f);
/* Set it. False: does not fit the field's form (ranges are event_check()'s). */
bool event_field_set(struct event *e, const struct event_field *f, int64_t v);

/*
 * event_check - whether every field of an event lies in its range, as a stranger's event must before it is used.
 *   returns  RC_OK, or RC_RANGE with the dotted name of the first bad field in *ret_field (a static string)
 */
enum rc event_check(const struct event *e, const char **ret_field) RC_MUST_USE;

/* Which lane the event travels in: SOS or smoke at level 1, camera alarms, and what a person confirmed are urgent. Nothing moves an event down. */
enum event_lane event_lane_of(const struct event *e);

/* True for a fix with a position: mode >= 2D and both coordinates known (gpsd's `status` says nothing). */
bool event_fix_placed(const struct event_fix *f);
/* True for a fix whose position may be used: it has one, and nobody doubts it. */
bool event_fix_valid(const struct event_fix *f);

#endif
