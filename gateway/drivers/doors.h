/*
 * doors - the totals of up to four doors, from whatever counts there: kept over a lost line and, in a file, over a power cut; told when they change and
 * at least every report_s; marked doubtful after a jump. Shared by all counter drivers. Talks to no device.
 */
#ifndef SCHOOLWARD_DOORS_H
#define SCHOOLWARD_DOORS_H

#include "../driver.h"
#include "total.h"

#define DOORS_PATH_MAX 255

struct doors_kept { /* driver_keep(): outlives a lost line */
    bool restored;
    struct total in[REGMAP_DOORS], out[REGMAP_DOORS];
    int64_t doubt_until_ms[REGMAP_DOORS];
};

struct doors_setup {
    uint32_t report_s;
    uint8_t confidence_pct;
    char state[DOORS_PATH_MAX + 1];
};

/* The fields of a driver's options that describe it; `type` has a member `struct doors_setup doors`. */
#define DOORS_FIELDS(type)                                                                                                                          \
    {"report_s", FIELD_UINT, FIELD_AT(type, doors.report_s), "s", 1, 3600, NULL, "60", "repeat unchanged figures so often"},                        \
    {"confidence_pct", FIELD_UINT, FIELD_AT(type, doors.confidence_pct), "%", 0, 100, NULL, "95", "how far the counter is to be believed; 0 unknown"}, \
    {"state", FIELD_TEXT, FIELD_AT(type, doors.state), "", 0, DOORS_PATH_MAX, NULL, "", "file that keeps the totals over a power cut; empty: none"}

struct doors {
    struct driver_ctx *ctx;
    const struct doors_setup *setup;
    const struct regmap_counter *map; /* how raw counts behave, and which doors there are */
    struct doors_kept *kept;
    bool waits; /* may wait for the disk: a driver with a thread of its own */
    bool save_due;
    int64_t report_at_ms[REGMAP_DOORS], save_at_ms;
    struct event_count last[REGMAP_DOORS];
};

/*
 * doors_open - reads the file the first time.
 *   kept       the driver's kept memory that holds it; NULL: all the driver keeps is this, and it is asked for here
 *   ret_first  true if this is the first opening since the program started; NULL if nobody asks
 *   returns    RC_OK, RC_NO_MEMORY
 */
enum rc doors_open(struct doors *d, struct driver_ctx *ctx, const struct doors_setup *s, const struct regmap_counter *map, struct doors_kept *kept, bool waits,
                   bool *ret_first) RC_MUST_USE;
/* doors_take - a reading of one door, in counts as regmap_value(); raw_out < 0: no reading of that direction. now_ms monotonic. */
void doors_take(struct doors *d, int door, int64_t raw_in, int64_t raw_out, int64_t now_ms);
/* doors_add - persons that passed, where a device tells those and no totals; more than TOTAL_BURST_MAX is not added but marked. */
void doors_add(struct doors *d, int door, int32_t in, int32_t out, bool doubtful, int64_t now_ms);
/* doors_again - tell the totals again if report_s has passed. */
void doors_again(struct doors *d, int64_t now_ms);
/* doors_rebase - the device was set to zero: the next reading is the new base. */
void doors_rebase(struct doors *d, int door);
/* doors_save - write the file if it is due: at most every 5 s, for the SD card's sake. RC_OK; RC_FULL with why. */
enum rc doors_save(struct doors *d, int64_t now_ms, bool at_once, char *why, size_t cap);

#endif
