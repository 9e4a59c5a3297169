/*
 * nmea - what a GNSS receiver says once a second: RMC, GGA, GSA and GSV of GPS and BeiDou (NMEA 0183 4.11), with a sky that moves.
 */
#ifndef SCHOOLWARD_SIM_NMEA_H
#define SCHOOLWARD_SIM_NMEA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/geo.h"

#define NMEA_EPOCH_MAX 2048

struct nmea_epoch {
    int64_t time_ms; /* UTC */
    bool fix;
    struct geo_pt at; /* meaningful with a fix */
    double speed_mps, course_deg, alt_m;
};

/* Begin a sentence's end: "*hh\r\n" after body, which starts behind '$'. Returns the length as snprintf does. */
int nmea_sentence(char *out, size_t cap, const char *body);

/* One epoch as text. Returns its length; at most NMEA_EPOCH_MAX - 1. */
size_t nmea_epoch(char out[NMEA_EPOCH_MAX], const struct nmea_epoch *e);

#endif
