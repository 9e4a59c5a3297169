/*
 * people-uart - distance sensors that count people over a door and send their totals unasked (TeraRanger Evo). Their totals are zero after a loss of power.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../port.h"
#include "doors.h"
#include "people_frame.h"

#define TICK_MS 1000

struct people_options {
    struct port_setup port;
    uint8_t door;
    bool swapped;
    double max_persons_per_s;
    struct doors_setup doors;
};

static const struct field people_fields[] = {
    PORT_FIELDS(struct people_options, "115200", "none"),
    {"door", FIELD_UINT, FIELD_AT(struct people_options, door), "", 0, REGMAP_DOORS - 1, NULL, "0", "which door it looks at, 0 the front one"},
    {"swapped", FIELD_BOOL, FIELD_AT(struct people_options, swapped), "", 0, 1, NULL, "no", "its IN (from left to right) is alighting"},
    {"max_persons_per_s", FIELD_REAL, FIELD_AT(struct people_options, max_persons_per_s), "1/s", 0.1, 100, NULL, "3", "in each direction; more is a jump, not people"},
    DOORS_FIELDS(struct people_options),
};

struct people {
    struct driver_ctx *ctx;
    const struct people_options *opt;
    struct regmap_counter map;
    struct doors doors;
    struct port *port;
    struct people_parser parser;
};

static void people_close(void *state)
{
    struct people *p = state;
    char why[256];
    if (p == NULL)
        return;
    if (p->doors.ctx != NULL)
        (void)!doors_save(&p->doors, 0, true, why, sizeof why);
    port_close(p->port);
    free(p);
}

static enum rc people_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct people *p = calloc(1, sizeof *p);
    if (p == NULL)
        return RC_NO_MEMORY;
    p->ctx = ctx;
    p->opt = options;
    p->map = (struct regmap_counter){.width = 16, .scale = 1, .power_up = REGMAP_POWER_ZERO, .max_persons_per_s = p->opt->max_persons_per_s};
    p->map.door[p->opt->door].fitted = true;
    enum rc rc = doors_open(&p->doors, ctx, &p->opt->doors, &p->map, NULL, false, NULL);
    if (rc == RC_OK)
        rc = port_open(&p->opt->port, &p->port, why, cap);
    if (rc != RC_OK) {
        people_close(p);
        return rc;
    }
    *ret_state = p;
    *ret_fd = port_fd(p->port);
    return RC_OK;
}

static enum rc people_input(void *state, char *why, size_t cap)
{
    struct people *p = state;
    uint8_t buf[512];
    enum rc worst = RC_AGAIN;
    for (int i = 0; i < 16; i++) {
        size_t n = 0;
        enum rc rc = port_read(p->port, buf, sizeof buf, &n);
        if (rc != RC_OK) {
            if (rc == RC_AGAIN)
                break;
            snprintf(why, cap, "the line to the counter is gone: check cable and power");
            return rc;
        }
        for (size_t k = 0; k < n; k++) {
            struct people_frame f;
            rc = people_parse(&p->parser, buf[k], &f);
            if (p->parser.dropped > 0)
                driver_count(p->ctx, "noise_bytes", p->parser.dropped);
            p->parser.dropped = 0;
            if (rc == RC_OK && f.counts)
                doors_take(&p->doors, p->opt->door, p->opt->swapped ? f.out : f.in, p->opt->swapped ? f.in : f.out, driver_mono_ms(p->ctx));
            if (rc == RC_INVALID)
                snprintf(why, cap, "bytes that are no frame: check speed and wiring");
            if (rc == RC_OK || (rc == RC_INVALID && worst != RC_OK))
                worst = rc;
        }
    }
    return worst;
}

static enum rc people_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct people *p = state;
    *ret_next_ms = TICK_MS;
    doors_again(&p->doors, now_ms);
    enum rc rc = doors_save(&p->doors, now_ms, false, why, cap);
    return rc == RC_OK ? RC_AGAIN : rc;
}

const struct driver driver_people = {
    .name = "people-uart",
    .kind = EVENT_DEVICE_COUNTER,
    .options_size = sizeof(struct people_options),
    .options = people_fields,
    .options_n = sizeof people_fields / sizeof *people_fields,
    .silence_ms = 10000,
    .open = people_open,
    .input = people_input,
    .poll = people_poll,
    .close = people_close,
};
