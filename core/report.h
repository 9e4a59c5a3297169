/*
 * report - what a gateway says of itself: health of its devices, disk, temperature, clock, outbox, versions. Made on the bus by gateway/selfreport.c,
 * sent as frame 7 of the wire, kept by the server; the same JSON text stands in the server's API and in `schoolward-gateway status`. Plain data, no
 * pointers.
 */
#ifndef SCHOOLWARD_REPORT_H
#define SCHOOLWARD_REPORT_H

#include "event.h"

#define REPORT_DEVICES_MAX 16
#define REPORT_WORD_MAX    63
#define REPORT_NONE        INT64_MIN /* of the int64_t fields: not known, not readable here */

struct report_device {
    char name[EVENT_NAME_MAX + 1];
    char driver[EVENT_NAME_MAX + 1]; /* word of the configuration */
    uint8_t kind, state;             /* enum event_device_kind, enum event_device_state */
    uint64_t events, errors, opens;  /* since the start */
    int64_t input_age_ms;            /* since something was last understood; REPORT_NONE: never */
};

enum report_config { REPORT_CONFIG_FACTORY = 0, REPORT_CONFIG_KEPT, REPORT_CONFIG_TRIAL };

struct report {
    int64_t time_ms;         /* the gateway's clock now */
    uint8_t clock;           /* enum event_clock of it */
    int64_t clock_offset_ms; /* what is added to the system's clock */
    int64_t uptime_s;        /* of the program */
    uint64_t boots;          /* starts in the life of state_dir */
    uint32_t starts;         /* in a row that did not last; see care.h */
    bool safe_mode;
    char firmware[REPORT_WORD_MAX + 1];
    char duty[REPORT_WORD_MAX + 1], law[REPORT_WORD_MAX + 1]; /* in use, as in Hello */
    uint8_t config;                                           /* enum report_config */
    uint64_t config_version, duty_version, law_version;       /* of the signed bundles in use, 0 = the local file */
    bool connected;
    uint64_t connects;
    int64_t ack_ms;               /* of the newest ack */
    int64_t disk_free, disk_size; /* bytes, of state_dir's file system */
    int64_t board_mc;             /* thousandths of a degree Celsius */
    int64_t supply_mv;            /* millivolts */
    int64_t rss_bytes;
    uint64_t waiting[EVENT_LANES]; /* records not yet acknowledged */
    int64_t outbox_bytes;          /* size of its file */
    int64_t written_per_day;       /* bytes to disk, extrapolated from the time since the start; REPORT_NONE in the first ten minutes */
    uint64_t lost, given_up, bad;  /* records: never stored; given up for newer ones; refused for a value out of range */
    size_t devices;
    struct report_device device[REPORT_DEVICES_MAX];
};

/*
 * report_json - as a JSON object without line breaks; unknown is null.
 *   out, cap  REPORT_JSON_MAX is always enough
 *   returns   bytes written without the NUL, 0 if cap is too small
 */
#define REPORT_JSON_MAX 8192
size_t report_json(const struct report *r, char *out, size_t cap);

#endif
