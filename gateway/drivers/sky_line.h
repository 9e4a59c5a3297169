/*
 * sky_line - what we need of gpsd's SKY report (gpsd_json(5)): hdop, and of each satellite its number, its signal and whether it is used. Pure.
 *
 * libgps takes a whole SKY apart for 150,000 instructions a second, four times what a position costs, and we want three numbers of each satellite; so
 * this report alone is read here. Whatever it holds besides is stepped over, unread.
 */
#ifndef SCHOOLWARD_SKY_LINE_H
#define SCHOOLWARD_SKY_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "skywatch.h"

struct sky_line {
    const char *device; /* into the line, device_n bytes; NULL: not given */
    size_t device_n;
    double hdop; /* NAN: not given */
    int used;    /* satellites that take part in the position */
    size_t n;    /* of sat; 0 with `satellites` false: the report has no list, the one before still holds */
    bool satellites;
    struct skywatch_sat sat[SKYWATCH_SATS]; /* further ones count as used, but are not kept */
};

/* True for a line that begins as gpsd's SKY does. */
bool sky_line_is(const char *line);

/*
 * sky_line_read - one line, without its end.
 *   returns  true; false: it is cut off or no JSON, *ret is untouched. Numbers out of range are taken for not given.
 */
bool sky_line_read(const char *line, size_t n, struct sky_line *ret);

#endif
