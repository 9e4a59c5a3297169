/*
 * selfreport - looks around on the bus and fills struct report (core/report.h): for the server (each care.report_s) and for the technician's
 * `schoolward-gateway status`. Reads a few small files of /proc and /sys; never blocks on hardware.
 */
#ifndef SCHOOLWARD_SELFREPORT_H
#define SCHOOLWARD_SELFREPORT_H

#include "gateway.h"
#include "uplink.h"

struct selfreport_sources {
    struct gateway *gateway;
    const struct outbox *outbox; /* NULL while it is not open */
    const struct uplink *uplink; /* NULL without a server */
    const char *state_dir;
    int64_t start_mono_ms; /* clock_mono_ms() at the program's start */
    /* of care.c: */
    uint64_t boots;
    uint32_t starts;
    bool safe_mode;
    uint8_t config; /* enum report_config */
    uint64_t config_version, duty_version, law_version;
};

void selfreport_collect(const struct selfreport_sources *s, struct report *ret_r);

#endif
