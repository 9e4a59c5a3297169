/*
 * counter - passenger counters by Modbus RTU or TCP, described by a register map file. Emits the persons in and out of each door since the
 * instance began, when they change and at least every report_s. Knows nothing of how many are aboard: that is the bus's fold.
 */
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "../modbus_bus.h"
#include "doors.h"

#define TORN_MAX 3

struct counter_options {
    struct modbus_bus_setup modbus;
    char map[REGMAP_NAME_MAX + 1];
    uint32_t poll_ms;
    struct doors_setup doors;
};

static const struct field counter_fields[] = {
    MODBUS_BUS_FIELDS(struct counter_options),
    {"map", FIELD_TEXT, FIELD_AT(struct counter_options, map), "", 1, REGMAP_NAME_MAX, NULL, "generic-counter", "register map: a file of devices/, or a path"},
    {"poll_ms", FIELD_UINT, FIELD_AT(struct counter_options, poll_ms), "ms", 100, 60000, NULL, "1000", "pause between readings"},
    DOORS_FIELDS(struct counter_options),
};

struct counter {
    struct driver_ctx *ctx;
    const struct counter_options *opt;
    struct regmap_counter map;
    struct modbus_bus_slave *slave;
    struct doors doors;
    size_t blocks;
    struct regmap_block block[REGMAP_BLOCKS];
    uint16_t words[REGMAP_BLOCKS][125];
    bool reset_due;
};

/* --- driver --- */

static enum rc counter_check(const void *options, char *why, size_t cap)
{
    const struct counter_options *o = options;
    struct regmap_counter map;
    return regmap_read_counter(o->map, &map, why, cap);
}

static void counter_close(void *state)
{
    struct counter *c = state;
    char why[256];
    if (c == NULL)
        return;
    if (c->doors.ctx != NULL)
        (void)!doors_save(&c->doors, 0, true, why, sizeof why);
    modbus_bus_leave(c->slave);
    free(c);
}

static enum rc counter_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct counter *c = calloc(1, sizeof *c);
    bool first = false;
    if (c == NULL)
        return RC_NO_MEMORY;
    c->ctx = ctx;
    c->opt = options;
    enum rc rc = regmap_read_counter(c->opt->map, &c->map, why, cap);
    if (rc == RC_OK)
        rc = modbus_bus_join(&c->opt->modbus, &c->slave, why, cap);
    if (rc == RC_OK)
        rc = doors_open(&c->doors, ctx, &c->opt->doors, &c->map, NULL, true, &first);
    if (rc != RC_OK) {
        counter_close(c);
        return rc;
    }
    int32_t at[REGMAP_BLOCKS];
    size_t n = 0;
    for (int d = 0; d < REGMAP_DOORS; d++) {
        if (c->map.door[d].fitted) {
            at[n++] = c->map.door[d].in;
            if (c->map.door[d].out >= 0)
                at[n++] = c->map.door[d].out;
        }
    }
    c->blocks = regmap_plan(at, n, c->map.width / 16, c->map.gap, 125, c->block);
    c->reset_due = first && c->map.reset == REGMAP_RESET_START;
    *ret_state = c;
    *ret_fd = -1;
    return RC_OK;
}

static enum rc reset_device(struct counter *c, char *why, size_t cap)
{
    enum rc rc = c->map.reset_coil >= 0 ? modbus_bus_write_coil(c->slave, c->map.reset_coil, true, why, cap)
                                        : modbus_bus_write_register(c->slave, c->map.reset_register, c->map.reset_value, why, cap);
    if (rc != RC_OK)
        return rc;
    c->reset_due = false;
    for (int d = 0; d < REGMAP_DOORS; d++)
        doors_rebase(&c->doors, d);
    driver_count(c->ctx, "resets", 1);
    return RC_OK;
}

static enum rc read_block(struct counter *c, size_t i, char *why, size_t cap)
{
    return modbus_bus_read_registers(c->slave, c->map.function, c->block[i].first, c->block[i].n, c->words[i], why, cap);
}

/* All blocks of one moment: with more than one, the first is read again until nobody passed meanwhile, or three times. */
static enum rc read_all(struct counter *c, char *why, size_t cap)
{
    for (int round = 0; round < TORN_MAX; round++) {
        uint16_t first[125];
        for (size_t i = 0; i < c->blocks; i++) {
            enum rc rc = read_block(c, i, why, cap);
            if (rc != RC_OK)
                return rc;
        }
        if (c->blocks < 2)
            return RC_OK;
        size_t bytes = (size_t)c->block[0].n * sizeof(uint16_t);
        memcpy(first, c->words[0], bytes);
        enum rc rc = read_block(c, 0, why, cap);
        if (rc != RC_OK)
            return rc;
        if (memcmp(first, c->words[0], bytes) == 0)
            return RC_OK;
    }
    return RC_OK;
}

/* The counts at an address; -1 if there is none. */
static int64_t raw_at(struct counter *c, int32_t addr)
{
    for (size_t i = 0; addr >= 0 && i < c->blocks; i++) {
        const struct regmap_block *b = &c->block[i];
        if (addr < b->first || addr >= b->first + b->n)
            continue;
        int64_t raw = regmap_value(&c->map, &c->words[i][addr - b->first]);
        double range = c->map.rollover != 0 ? (double)c->map.rollover : c->map.width == 16 ? 65536.0 : 4294967296.0;
        if (c->map.reset == REGMAP_RESET_FULL && (double)raw > range * 0.9)
            c->reset_due = true;
        return raw;
    }
    return -1;
}

static enum rc counter_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct counter *c = state;
    *ret_next_ms = (int)c->opt->poll_ms;
    enum rc rc = c->reset_due ? reset_device(c, why, cap) : RC_OK;
    if (rc == RC_OK)
        rc = read_all(c, why, cap);
    if (rc != RC_OK) {
        if (rc == RC_TIMEOUT || rc == RC_INVALID)
            driver_count(c->ctx, rc == RC_TIMEOUT ? "timeouts" : "bad_answers", 1);
        return rc;
    }
    for (int d = 0; d < REGMAP_DOORS; d++)
        if (c->map.door[d].fitted)
            doors_take(&c->doors, d, raw_at(c, c->map.door[d].in), raw_at(c, c->map.door[d].out), now_ms);
    return doors_save(&c->doors, now_ms, false, why, cap);
}

const struct driver driver_counter = {
    .name = "counter",
    .kind = EVENT_DEVICE_COUNTER,
    .options_size = sizeof(struct counter_options),
    .options = counter_fields,
    .options_n = sizeof counter_fields / sizeof *counter_fields,
    .threaded = true,
    .silence_ms = 10000,
    .check = counter_check,
    .open = counter_open,
    .poll = counter_poll,
    .close = counter_close,
};
