/*
 * inputs - doors, ignition, brakes, belts, seats, buttons, lights and alarms by Modbus coils, discrete inputs or registers, described by a map file;
 * buzzer, lamp and siren as coils or registers; measured values of registers. Emits all levels on a change and every report_s. What a bus has wired
 * otherwise than its map says is set per device: invert, unfitted, debounce_ms, sos_press_ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "../modbus_bus.h"
#include "level.h"
#include "reading.h"

#define REFRESH_MS 10000 /* outputs are written again so often: a module that lost power comes back with all of them off */
#define NAMES_CAP  255
#define BLOCK_MAX  512   /* bits or registers in one request; registers are limited to 125 below */

struct inputs_options {
    struct modbus_bus_setup modbus;
    char map[REGMAP_NAME_MAX + 1];
    uint32_t poll_ms, report_s;
    char invert[NAMES_CAP + 1], unfitted[NAMES_CAP + 1];
    int32_t debounce_ms, sos_press_ms;
};

static const struct field inputs_fields[] = {
    MODBUS_BUS_FIELDS(struct inputs_options),
    {"map", FIELD_TEXT, FIELD_AT(struct inputs_options, map), "", 1, REGMAP_NAME_MAX, NULL, "generic-inputs", "which bit is which: a file of devices/, or a path"},
    {"poll_ms", FIELD_UINT, FIELD_AT(struct inputs_options, poll_ms), "ms", 10, 10000, NULL, "50", "pause between readings; the one-key alarm waits that long"},
    {"report_s", FIELD_UINT, FIELD_AT(struct inputs_options, report_s), "s", 1, 3600, NULL, "60", "repeat unchanged levels so often"},
    {"invert", FIELD_TEXT, FIELD_AT(struct inputs_options, invert), "", 0, NAMES_CAP, NULL, "", "inputs wired the other way round on this bus than the map says, blanks between"},
    {"unfitted", FIELD_TEXT, FIELD_AT(struct inputs_options, unfitted), "", 0, NAMES_CAP, NULL, "", "inputs of the map this bus does not have: reported unknown"},
    {"debounce_ms", FIELD_INT, FIELD_AT(struct inputs_options, debounce_ms), "ms", -1, 10000, NULL, "-1", "instead of the map's, for every input; -1: the map's"},
    {"sos_press_ms", FIELD_INT, FIELD_AT(struct inputs_options, sos_press_ms), "ms", -1, 10000, NULL, "-1", "the one-key alarm must be held so long; -1: as the map says"},
};

struct kept {
    struct level level[REGMAP_INPUTS];
};

struct inputs {
    struct driver_ctx *ctx;
    const struct inputs_options *opt;
    struct regmap_inputs map;
    struct modbus_bus_slave *slave;
    struct kept *kept;
    size_t blocks;
    struct regmap_block block[REGMAP_BLOCKS];
    uint16_t value[REGMAP_BLOCKS][BLOCK_MAX];
    bool told;
    struct event_inputs last;
    int64_t report_at_ms, poll_at_ms;
    bool want[REGMAP_OUTPUTS], due[REGMAP_OUTPUTS], written[REGMAP_OUTPUTS];
    int64_t refresh_at_ms;
    struct reading reading[REGMAP_READINGS];
    int64_t read_at_ms[REGMAP_READINGS];
    size_t next_reading;
};

/* "sos door_front" as bits; an input the map does not have is a mistake. */
static enum rc read_names(const char *key, const char *text, const struct regmap_inputs *map, uint32_t *ret_bits, char *why, size_t cap)
{
    char copy[NAMES_CAP + 1], *save = NULL;
    *ret_bits = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *t = strtok_r(copy, " ,", &save); t != NULL; t = strtok_r(NULL, " ,", &save)) {
        int i = 0;
        while (event_input_names[i] != NULL && strcmp(event_input_names[i], t) != 0)
            i++;
        if (event_input_names[i] == NULL || !map->input[i].fitted) {
            snprintf(why, cap, "%s: %s is no input of map %s", key, t, map->model);
            return RC_INVALID;
        }
        *ret_bits |= 1u << i;
    }
    return RC_OK;
}

/* The map as this bus has it. */
static enum rc read_map(const struct inputs_options *o, struct regmap_inputs *m, char *why, size_t cap)
{
    uint32_t invert = 0, unfitted = 0;
    enum rc rc = regmap_read_inputs(o->map, m, why, cap);
    if (rc == RC_OK)
        rc = read_names("invert", o->invert, m, &invert, why, cap);
    if (rc == RC_OK)
        rc = read_names("unfitted", o->unfitted, m, &unfitted, why, cap);
    for (int i = 0; rc == RC_OK && i < REGMAP_INPUTS; i++) {
        m->input[i].inverted ^= (invert >> i & 1) != 0;
        m->input[i].fitted &= (unfitted >> i & 1) == 0;
        if (o->debounce_ms >= 0)
            m->input[i].debounce_ms = o->debounce_ms;
        if (o->sos_press_ms >= 0 && 1u << i == EVENT_IN_SOS)
            m->input[i].press_ms = (uint32_t)o->sos_press_ms;
    }
    return rc;
}

static enum rc inputs_check(const void *options, char *why, size_t cap)
{
    struct regmap_inputs map;
    return read_map(options, &map, why, cap);
}

static enum rc write_output(struct inputs *s, int i, char *why, size_t cap)
{
    bool on = s->want[i] != s->map.output[i].inverted;
    enum rc rc = s->map.output[i].coil >= 0 ? modbus_bus_write_coil(s->slave, s->map.output[i].coil, on, why, cap)
                                            : modbus_bus_write_register(s->slave, s->map.output[i].reg, on ? s->map.output[i].on : s->map.output[i].off, why, cap);
    if (rc == RC_OK) {
        s->due[i] = false;
        s->written[i] = true;
    }
    return rc;
}

static void inputs_close(void *state)
{
    struct inputs *s = state;
    char why[256];
    if (s == NULL)
        return;
    for (int i = 0; s->slave != NULL && i < REGMAP_OUTPUTS; i++) {
        if (s->written[i] && s->want[i]) { /* nobody is left to switch the buzzer off */
            s->want[i] = false;
            (void)!write_output(s, i, why, sizeof why);
        }
    }
    modbus_bus_leave(s->slave);
    free(s);
}

static enum rc inputs_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct inputs *s = calloc(1, sizeof *s);
    struct kept *k = driver_keep(ctx, sizeof *k);
    if (s == NULL || k == NULL) {
        free(s);
        return RC_NO_MEMORY;
    }
    s->ctx = ctx;
    s->opt = options;
    s->kept = k;
    enum rc rc = read_map(s->opt, &s->map, why, cap);
    if (rc == RC_OK)
        rc = modbus_bus_join(&s->opt->modbus, &s->slave, why, cap);
    if (rc != RC_OK) {
        inputs_close(s);
        return rc;
    }
    int32_t at[REGMAP_INPUTS];
    size_t n = 0;
    for (int i = 0; i < REGMAP_INPUTS; i++)
        if (s->map.input[i].fitted)
            at[n++] = s->map.input[i].address;
    s->blocks = regmap_plan(at, n, 1, s->map.gap, s->map.function <= 2 ? BLOCK_MAX : 125, s->block);
    *ret_state = s;
    *ret_fd = -1;
    return RC_OK;
}

static enum rc read_all(struct inputs *s, char *why, size_t cap)
{
    for (size_t i = 0; i < s->blocks; i++) {
        const struct regmap_block *b = &s->block[i];
        enum rc rc;
        if (s->map.function >= 3) {
            rc = modbus_bus_read_registers(s->slave, s->map.function, b->first, b->n, s->value[i], why, cap);
        } else {
            uint8_t bits[BLOCK_MAX];
            rc = modbus_bus_read_bits(s->slave, s->map.function, b->first, b->n, bits, why, cap);
            for (int k = 0; rc == RC_OK && k < b->n; k++)
                s->value[i][k] = bits[k];
        }
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static bool sample(const struct inputs *s, const struct regmap_input *in)
{
    for (size_t i = 0; i < s->blocks; i++)
        if (in->address >= s->block[i].first && in->address < s->block[i].first + s->block[i].n)
            return (s->value[i][in->address - s->block[i].first] >> (s->map.function >= 3 ? in->bit : 0) & 1) != 0;
    return false;
}

static void report(struct inputs *s, int64_t now_ms)
{
    struct event e = {.kind = EVENT_INPUTS};
    for (int i = 0; i < REGMAP_INPUTS; i++) {
        const struct regmap_input *in = &s->map.input[i];
        if (!in->fitted)
            continue;
        e.inputs.known |= 1u << i;
        if (level_step(&s->kept->level[i], in, sample(s, in), now_ms))
            e.inputs.state |= 1u << i;
    }
    if (e.inputs.known == 0) /* readings only */
        return;
    if (s->told && e.inputs.state == s->last.state && now_ms < s->report_at_ms)
        return;
    s->told = true;
    s->last = e.inputs;
    s->report_at_ms = now_ms + (int64_t)s->opt->report_s * 1000;
    driver_emit(s->ctx, &e);
}

/* One value in a pass, those that are due in turn: the one-key alarm must not wait for eight of them. */
static enum rc read_reading(struct inputs *s, int64_t now_ms, char *why, size_t cap)
{
    for (size_t k = 0; k < s->map.readings; k++) {
        size_t i = (s->next_reading + k) % s->map.readings;
        const struct regmap_reading *m = &s->map.reading[i];
        uint16_t words[2] = {0, 0};
        struct event e = {.kind = EVENT_READING};
        if (now_ms < s->read_at_ms[i])
            continue;
        s->next_reading = i + 1;
        s->read_at_ms[i] = now_ms + m->every_ms;
        enum rc rc = modbus_bus_read_registers(s->slave, m->function, m->address, m->width / 16, words, why, cap);
        if (rc == RC_IO || rc == RC_AGAIN)
            return rc;
        e.reading = (struct event_reading){.what = m->what, .channel = m->channel};
        if (reading_step(&s->reading[i], m, rc == RC_OK ? words : NULL, driver_mono_ms(s->ctx), &e.reading.value))
            driver_emit(s->ctx, &e);
        return rc;
    }
    return RC_OK;
}

static enum rc write_due(struct inputs *s, int64_t now_ms, char *why, size_t cap)
{
    if (now_ms >= s->refresh_at_ms) {
        s->refresh_at_ms = now_ms + REFRESH_MS;
        for (int i = 0; i < REGMAP_OUTPUTS; i++)
            s->due[i] |= s->written[i];
    }
    for (int i = 0; i < REGMAP_OUTPUTS; i++) {
        enum rc rc = s->due[i] ? write_output(s, i, why, cap) : RC_OK;
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc inputs_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct inputs *s = state;
    *ret_next_ms = (int)s->opt->poll_ms;
    enum rc rc = read_all(s, why, cap);
    if (rc == RC_OK) {
        report(s, driver_mono_ms(s->ctx));
        rc = write_due(s, now_ms, why, cap);
    }
    if (rc == RC_OK)
        rc = read_reading(s, now_ms, why, cap);
    if (rc == RC_TIMEOUT || rc == RC_INVALID)
        driver_count(s->ctx, rc == RC_TIMEOUT ? "timeouts" : "bad_answers", 1);
    return rc;
}

static enum rc inputs_output(void *state, const struct driver_output *out, char *why, size_t cap)
{
    struct inputs *s = state;
    int i = out->kind == DRIVER_OUT_BUZZER ? 0 : out->kind == DRIVER_OUT_LAMP ? 1 : out->kind == DRIVER_OUT_SIREN ? 2 : -1;
    if (i < 0 || !s->map.output[i].fitted)
        return RC_OK; /* told to every device that has outputs; this one has not this one */
    s->want[i] = out->on;
    s->due[i] = true;
    return write_output(s, i, why, cap); /* if it fails, poll tries again */
}

const struct driver driver_inputs = {
    .name = "inputs",
    .kind = EVENT_DEVICE_INPUTS,
    .options_size = sizeof(struct inputs_options),
    .options = inputs_fields,
    .options_n = sizeof inputs_fields / sizeof *inputs_fields,
    .threaded = true,
    .silence_ms = 3000,
    .check = inputs_check,
    .open = inputs_open,
    .poll = inputs_poll,
    .output = inputs_output,
    .close = inputs_close,
};
