/*
 * regmap - the files that describe a model of device: register maps of counters and input modules, and camera numberings. A new model is a new
 * file (docs/devices.md lists the keys). Reads and checks; talks to no device.
 */
#ifndef SCHOOLWARD_REGMAP_H
#define SCHOOLWARD_REGMAP_H

#include "../../core/event.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/field.h"

#define REGMAP_DOORS     4
#define REGMAP_INPUTS    EVENT_INPUTS_N
#define REGMAP_OUTPUTS   3 /* buzzer, lamp, siren */
#define REGMAP_READINGS  8
#define REGMAP_WHEEL_MS  1000 /* pulses are counted over at least so long */
#define REGMAP_NAME_MAX  127
#define REGMAP_MODEL_MAX 63
#define REGMAP_TYPES_MAX 255

/* Order of the four bytes A (highest) to D of a 32-bit value in two registers. */
enum regmap_order { REGMAP_ABCD = 0, REGMAP_CDAB, REGMAP_BADC, REGMAP_DCBA };
enum regmap_power_up { REGMAP_POWER_KEEP = 0, REGMAP_POWER_ZERO };
enum regmap_reset { REGMAP_RESET_NEVER = 0, REGMAP_RESET_START, REGMAP_RESET_FULL };

struct regmap_counter {
    char model[REGMAP_MODEL_MAX + 1];
    uint8_t function; /* 3, 4 */
    uint8_t width;    /* 16, 32 bits */
    int order;        /* enum regmap_order */
    bool is_signed;
    double scale;     /* persons per count */
    uint64_t rollover; /* counts after which the register is 0 again; 0 = 2^width */
    int power_up;     /* enum regmap_power_up */
    double max_persons_per_s;
    int reset;        /* enum regmap_reset: when the device is told to clear its totals */
    int32_t reset_coil, reset_register; /* -1 none */
    uint16_t reset_value;
    uint8_t gap;      /* registers between two values that are read along rather than asking twice */
    struct {
        bool fitted;
        int32_t in, out; /* 0-based address, -1 none */
    } door[REGMAP_DOORS];
};

struct regmap_input {
    bool fitted, inverted;
    int32_t address; /* 0-based */
    uint8_t bit;     /* functions 3 and 4 */
    int32_t debounce_ms;
    uint32_t press_ms; /* must be on for so long to count: a button that is touched by chance */
    uint32_t hold_ms; /* stays on until off for so long: blinking lamps */
    uint32_t latch_s; /* a press stays visible this long after release */
};

struct regmap_reading {
    uint8_t what;     /* enum event_reading_what */
    uint8_t channel;
    uint8_t function; /* 3, 4 */
    uint8_t width;    /* 16, 32 bits */
    int order;        /* enum regmap_order */
    bool is_signed;
    int32_t address;  /* 0-based */
    double scale, offset, min, max, deadband; /* in the unit: degrees, volts, kPa, km/h */
    double pulses_per_km; /* EVENT_READING_WHEEL_KMH of a counting register; 0 = the register holds the value */
    uint32_t every_ms, report_s;
};

struct regmap_inputs {
    char model[REGMAP_MODEL_MAX + 1];
    uint8_t function; /* 1, 2 bits; 3, 4 registers */
    uint32_t debounce_ms;
    uint8_t gap;
    struct regmap_input input[REGMAP_INPUTS];
    struct {
        bool fitted, inverted;
        int32_t coil, reg; /* 0-based; the one that is not used is -1 */
        uint16_t on, off;  /* what is written to the register */
    } output[REGMAP_OUTPUTS];
    struct regmap_reading reading[REGMAP_READINGS];
    size_t readings;
};

enum regmap_time { REGMAP_TIME_AUTO = 0, REGMAP_TIME_BCD, REGMAP_TIME_BINARY };

struct regmap_camera {
    char model[REGMAP_MODEL_MAX + 1];
    uint8_t flag_begin, flag_end, flag_event;
    uint8_t work_standby, work_working, work_maintenance, work_fault;
    int time; /* enum regmap_time */
    bool media, params;           /* whether it can give pictures (0x50 to 0x52), and take settings (0x34, 0x35) */
    char types[REGMAP_TYPES_MAX + 1];
    uint8_t map[256];             /* made of types: its number of an alarm -> ours */
};

extern const char *const regmap_output_names[]; /* buzzer, lamp, siren, NULL */

/*
 * regmap_path - the file a name means: as it is if it has a slash; otherwise NAME or NAME.conf in the folder of the environment variable
 * SCHOOLWARD_DEVICES, else in the installed one (/usr/share/schoolward/devices).
 */
void regmap_path(const char *name, char *out, size_t cap);

/*
 * regmap_read_* - read a file by name, or a text (name is only for messages).
 *   why, cap  "file:line: key: problem: hint" of the first problem and how many more there are
 *   returns   RC_OK; RC_INVALID
 */
enum rc regmap_read_counter(const char *name, struct regmap_counter *ret_map, char *why, size_t cap) RC_MUST_USE;
enum rc regmap_read_inputs(const char *name, struct regmap_inputs *ret_map, char *why, size_t cap) RC_MUST_USE;
enum rc regmap_read_camera(const char *name, struct regmap_camera *ret_map, char *why, size_t cap) RC_MUST_USE;
enum rc regmap_text_counter(const char *text, size_t n, const char *name, struct regmap_counter *ret_map, char *why, size_t cap) RC_MUST_USE;
enum rc regmap_text_inputs(const char *text, size_t n, const char *name, struct regmap_inputs *ret_map, char *why, size_t cap) RC_MUST_USE;
enum rc regmap_text_camera(const char *text, size_t n, const char *name, struct regmap_camera *ret_map, char *why, size_t cap) RC_MUST_USE;

/*
 * regmap_value - the number in a value's registers, in counts.
 *   words  1 register at width 16, 2 at width 32, in the order of their addresses
 */
int64_t regmap_value(const struct regmap_counter *map, const uint16_t *words);

/* regmap_number - the same for any value of one or two registers; order: enum regmap_order. */
int64_t regmap_number(int order, uint8_t width, bool is_signed, const uint16_t *words);

/*
 * regmap_delta - counts passed from one reading to the next, across a roll-over; negative only where the register is signed and went down.
 */
int64_t regmap_delta(const struct regmap_counter *map, int64_t before, int64_t now);

/* Addresses that are read with one request. */
struct regmap_block {
    int32_t first, n;
};
#define REGMAP_BLOCKS 24 /* every input alone */
/*
 * regmap_plan - the requests that cover some addresses.
 *   at, n     addresses, n <= REGMAP_BLOCKS; sorted by this function
 *   each      registers or bits that belong to each address
 *   gap, max  unused addresses read along; longest block
 *   returns   number of blocks
 */
size_t regmap_plan(int32_t *at, size_t n, int32_t each, int32_t gap, int32_t max, struct regmap_block ret_block[REGMAP_BLOCKS]);

#endif
