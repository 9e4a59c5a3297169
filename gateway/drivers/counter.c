/*
 * counter - passenger counters by Modbus RTU or TCP, described by a register map file. Emits the persons in and out of each door since the
 * instance began, when they change and at least every report_s. Knows nothing of how many are aboard: that is the bus's fold.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../driver.h"
#include "../modbus_bus.h"
#include "tally.h"

#define DOUBT_MS  1800000 /* after a jump the door's figures are marked for the rest of a run, say half an hour */
#define SAVE_MS   5000    /* the totals go to disk at most so often, for the SD card's sake */
#define TORN_MAX  3
#define PATH_CAP  255

struct counter_options {
    struct modbus_bus_setup modbus;
    char map[REGMAP_NAME_MAX + 1];
    uint32_t poll_ms, report_s;
    uint8_t confidence_pct;
    char state[PATH_CAP + 1];
};

static const struct field counter_fields[] = {
    MODBUS_BUS_FIELDS(struct counter_options),
    {"map", FIELD_TEXT, FIELD_AT(struct counter_options, map), "", 1, REGMAP_NAME_MAX, NULL, "generic-counter", "register map: a file of devices/, or a path"},
    {"poll_ms", FIELD_UINT, FIELD_AT(struct counter_options, poll_ms), "ms", 100, 60000, NULL, "1000", "pause between readings"},
    {"report_s", FIELD_UINT, FIELD_AT(struct counter_options, report_s), "s", 1, 3600, NULL, "60", "repeat unchanged figures so often"},
    {"confidence_pct", FIELD_UINT, FIELD_AT(struct counter_options, confidence_pct), "%", 0, 100, NULL, "95", "how far the counter is to be believed; 0 unknown"},
    {"state", FIELD_TEXT, FIELD_AT(struct counter_options, state), "", 0, PATH_CAP, NULL, "", "file that keeps the totals over a power cut; empty: none"},
};

struct kept { /* outlives a lost line */
    bool restored;
    struct tally in[REGMAP_DOORS], out[REGMAP_DOORS];
    int64_t doubt_until_ms[REGMAP_DOORS];
};

struct counter {
    struct driver_ctx *ctx;
    const struct counter_options *opt;
    struct regmap_counter map;
    struct modbus_bus_slave *slave;
    struct kept *kept;
    size_t blocks;
    struct regmap_block block[REGMAP_BLOCKS];
    uint16_t words[REGMAP_BLOCKS][125];
    bool reset_due, save_due;
    int64_t report_at_ms[REGMAP_DOORS], save_at_ms;
    struct event_count last[REGMAP_DOORS];
};

/* --- totals over a power cut --- */

/* One line per door: "door raw_in persons_in raw_out persons_out"; the head carries the wall time of the reading. */
static void restore(struct counter *c)
{
    struct kept *k = c->kept;
    k->restored = true;
    FILE *f = c->opt->state[0] == '\0' ? NULL : fopen(c->opt->state, "re");
    if (f == NULL)
        return;
    int64_t wall_ms = 0;
    if (fscanf(f, "schoolward-counter 1 %" SCNd64, &wall_ms) == 1) {
        /* What may have passed since then is bounded by the time since then; a clock that lost its date bounds nothing, tally_step() does. */
        int64_t age_ms = driver_wall_ms(c->ctx) - wall_ms;
        int64_t at_ms = driver_mono_ms(c->ctx) - (age_ms > 0 ? age_ms : 0);
        int door;
        int64_t raw_in, raw_out;
        int32_t in, out;
        while (fscanf(f, "%d %" SCNd64 " %" SCNd32 " %" SCNd64 " %" SCNd32, &door, &raw_in, &in, &raw_out, &out) == 5) {
            if (door < 0 || door >= REGMAP_DOORS || in < 0 || out < 0)
                continue;
            k->in[door] = (struct tally){.based = true, .raw = raw_in, .at_ms = at_ms, .persons = in};
            k->out[door] = (struct tally){.based = true, .raw = raw_out, .at_ms = at_ms, .persons = out};
        }
    }
    fclose(f);
}

static enum rc save(struct counter *c, char *why, size_t cap)
{
    char tmp[PATH_CAP + 8];
    snprintf(tmp, sizeof tmp, "%s.new", c->opt->state);
    FILE *f = fopen(tmp, "we");
    bool ok = f != NULL && fprintf(f, "schoolward-counter 1 %" PRId64 "\n", driver_wall_ms(c->ctx)) > 0;
    for (int d = 0; ok && d < REGMAP_DOORS; d++) {
        const struct tally *in = &c->kept->in[d], *out = &c->kept->out[d];
        if (c->map.door[d].fitted && in->based)
            ok = fprintf(f, "%d %" PRId64 " %" PRId32 " %" PRId64 " %" PRId32 "\n", d, in->raw, in->persons, out->raw, out->persons) > 0;
    }
    ok = ok && fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (f != NULL)
        ok = fclose(f) == 0 && ok;
    ok = ok && rename(tmp, c->opt->state) == 0;
    if (!ok)
        snprintf(why, cap, "%s cannot be written: %s: the totals will not outlive a power cut", c->opt->state, strerror(errno));
    return ok ? RC_OK : RC_FULL;
}

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
    if (c->save_due && c->opt->state[0] != '\0')
        (void)!save(c, why, sizeof why);
    modbus_bus_leave(c->slave);
    free(c);
}

static enum rc counter_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct counter *c = calloc(1, sizeof *c);
    struct kept *k = driver_keep(ctx, sizeof *k);
    if (c == NULL || k == NULL) {
        free(c);
        return RC_NO_MEMORY;
    }
    c->ctx = ctx;
    c->opt = options;
    c->kept = k;
    enum rc rc = regmap_read_counter(c->opt->map, &c->map, why, cap);
    if (rc == RC_OK)
        rc = modbus_bus_join(&c->opt->modbus, &c->slave, why, cap);
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
    if (!k->restored) {
        c->reset_due = c->map.reset == REGMAP_RESET_START;
        restore(c);
    }
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
        c->kept->in[d].based = c->kept->out[d].based = false; /* the next reading is the new base */
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

static uint8_t step(struct counter *c, struct tally *t, int32_t addr, int64_t now_ms)
{
    for (size_t i = 0; addr >= 0 && i < c->blocks; i++) {
        const struct regmap_block *b = &c->block[i];
        if (addr < b->first || addr >= b->first + b->n)
            continue;
        int64_t raw = regmap_value(&c->map, &c->words[i][addr - b->first]);
        double range = c->map.rollover != 0 ? (double)c->map.rollover : c->map.width == 16 ? 65536.0 : 4294967296.0;
        if (c->map.reset == REGMAP_RESET_FULL && (double)raw > range * 0.9)
            c->reset_due = true;
        return tally_step(t, &c->map, raw, now_ms);
    }
    return 0;
}

static void report(struct counter *c, int door, uint8_t flags, int64_t now_ms)
{
    struct kept *k = c->kept;
    if (flags & EVENT_COUNT_DOUBTFUL)
        k->doubt_until_ms[door] = now_ms + DOUBT_MS;
    struct event e = {.kind = EVENT_COUNT};
    e.count = (struct event_count){
        .source = EVENT_COUNT_DOOR,
        .door = (uint8_t)door,
        .flags = flags | (uint8_t)(now_ms < k->doubt_until_ms[door] ? EVENT_COUNT_DOUBTFUL : 0),
        .confidence_pct = c->opt->confidence_pct,
        .boarded = k->in[door].persons,
        .alighted = k->out[door].persons,
        .aboard = EVENT_UNKNOWN,
    };
    struct event_count *last = &c->last[door];
    bool changed = last->boarded != e.count.boarded || last->alighted != e.count.alighted || last->flags != e.count.flags;
    if (changed)
        c->save_due = true;
    if (!changed && now_ms < c->report_at_ms[door])
        return;
    *last = e.count;
    c->report_at_ms[door] = now_ms + (int64_t)c->opt->report_s * 1000;
    driver_emit(c->ctx, &e);
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
    for (int d = 0; d < REGMAP_DOORS; d++) {
        if (!c->map.door[d].fitted)
            continue;
        uint8_t flags = step(c, &c->kept->in[d], c->map.door[d].in, now_ms);
        flags |= step(c, &c->kept->out[d], c->map.door[d].out, now_ms);
        if (flags != 0)
            driver_count(c->ctx, flags & EVENT_COUNT_RESET ? "device_restarts" : "jumps", 1);
        report(c, d, flags, now_ms);
    }
    if (c->save_due && c->opt->state[0] != '\0' && now_ms >= c->save_at_ms) {
        c->save_due = false;
        c->save_at_ms = now_ms + SAVE_MS;
        return save(c, why, cap);
    }
    return RC_OK;
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
