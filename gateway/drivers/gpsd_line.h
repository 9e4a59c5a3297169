/*
 * gpsd_line - what we need of gpsd's reports (gpsd_json(5)): of TPV the position, of SKY hdop and of each satellite its number, its signal and whether it is
 * used. Pure, allocates nothing, and reads every byte at most once.
 *
 * libgps 3.22 loops for ever on some garbled lines (its parser does not move on), which would stop the whole gateway; and it takes a SKY apart for
 * 150,000 instructions a second. So libgps makes the connection, and these two reports are read here. Whatever they hold besides is stepped over, unread.
 */
#ifndef SCHOOLWARD_GPSD_LINE_H
#define SCHOOLWARD_GPSD_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "skywatch.h"

/* Of TPV; a number that is not given, or not a number, is NAN. */
struct gpsd_tpv {
    const char *device; /* into the line, device_n bytes; NULL: not given */
    size_t device_n;
    int mode;        /* 0..3, as gpsd writes it; 0 if it does not */
    int64_t time_ms; /* UTC since 1970, rounded; 0: not given or not a time */
    double lat_deg, lon_deg, alt_m, speed_mps, track_deg;
};

/* True for a line that begins as gpsd's TPV does. */
bool gpsd_line_is_tpv(const char *line);

/*
 * gpsd_line_tpv - the first report of a line, without the line's end.
 *   ret_rest  what stands behind its last brace: gpsd may put a second one on the line
 *   returns   true; false: it is cut off or no JSON, nothing is touched
 */
bool gpsd_line_tpv(const char *line, size_t n, struct gpsd_tpv *ret, const char **ret_rest);

struct gpsd_sky {
    const char *device; /* into the line, device_n bytes; NULL: not given */
    size_t device_n;
    double hdop; /* NAN: not given */
    int used;    /* satellites that take part in the position */
    size_t n;    /* of sat; 0 with `satellites` false: the report has no list, the one before still holds */
    bool satellites;
    struct skywatch_sat sat[SKYWATCH_SATS]; /* further ones count as used, but are not kept */
};

/* True for a line that begins as gpsd's SKY does. */
bool gpsd_line_is_sky(const char *line);

/*
 * gpsd_line_sky - one line, without its end.
 *   returns  true; false: it is cut off or no JSON, *ret is untouched. Numbers out of range are taken for not given.
 */
bool gpsd_line_sky(const char *line, size_t n, struct gpsd_sky *ret);

#endif
