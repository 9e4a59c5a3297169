#include "regmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../core/base/conf.h"

#define INSTALLED "/usr/share/schoolward/devices"
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

const char *const regmap_output_names[] = {"buzzer", "lamp", "siren", NULL};
static const char *const order_words[] = {"ABCD", "CDAB", "BADC", "DCBA", NULL};
static const char *const power_words[] = {"keep", "zero", NULL};
static const char *const reset_words[] = {"never", "start", "full", NULL};
static const char *const time_words[] = {"auto", "bcd", "binary", NULL};

#define C(member) FIELD_AT(struct regmap_counter, member)
static const struct field counter_fields[] = {
    {"model", FIELD_TEXT, C(model), "", 1, REGMAP_MODEL_MAX, NULL, NULL, "maker and model"},
    {"function", FIELD_UINT, C(function), "", 3, 4, NULL, NULL, "3 holding registers, 4 input registers"},
    {"width", FIELD_UINT, C(width), "bit", 16, 32, NULL, "32", "16 or 32"},
    {"word_order", FIELD_WORD, C(order), "", 0, 3, order_words, "ABCD", "byte order of a 32-bit value, A highest, first register first"},
    {"signed", FIELD_BOOL, C(is_signed), "", 0, 1, NULL, "no", "two's complement"},
    {"scale", FIELD_REAL, C(scale), "", 0.001, 1000, NULL, "1", "persons per count"},
    {"rollover", FIELD_UINT, C(rollover), "", 0, 4294967296.0, NULL, "0", "counts after which it starts at 0 again; 0: 2^width"},
    {"power_up", FIELD_WORD, C(power_up), "", 0, 1, power_words, "zero", "totals after the device lost power: keep, zero"},
    {"max_persons_per_s", FIELD_REAL, C(max_persons_per_s), "1/s", 0.1, 100, NULL, "3", "per door and direction; more is a jump, not people"},
    {"reset", FIELD_WORD, C(reset), "", 0, 2, reset_words, "never", "clear the device: never, start (when opened), full (at nine tenths of the range)"},
    {"reset_coil", FIELD_INT, C(reset_coil), "", -1, 65535, NULL, "-1", "coil that clears all totals when set"},
    {"reset_register", FIELD_INT, C(reset_register), "", -1, 65535, NULL, "-1", "holding register that clears all totals when written"},
    {"reset_value", FIELD_UINT, C(reset_value), "", 0, 65535, NULL, "1", "what is written there"},
    {"gap", FIELD_UINT, C(gap), "", 0, 100, NULL, "0", "unused registers that may be read along; the device must allow it"},
};
struct door_record {
    int32_t in, out;
};
static const struct field door_fields[] = {
    {"in", FIELD_INT, FIELD_AT(struct door_record, in), "", 0, 65535, NULL, NULL, "0-based address of the boarded total"},
    {"out", FIELD_INT, FIELD_AT(struct door_record, out), "", -1, 65535, NULL, "-1", "0-based address of the alighted total, -1 none"},
};

#define I(member) FIELD_AT(struct regmap_inputs, member)
static const struct field inputs_fields[] = {
    {"model", FIELD_TEXT, I(model), "", 1, REGMAP_MODEL_MAX, NULL, NULL, "maker and model"},
    {"function", FIELD_UINT, I(function), "", 1, 4, NULL, NULL, "1 coils, 2 discrete inputs, 3 holding registers, 4 input registers"},
    {"debounce_ms", FIELD_UINT, I(debounce_ms), "ms", 0, 10000, NULL, "0", "a level must last so long to count"},
    {"gap", FIELD_UINT, I(gap), "", 0, 200, NULL, "16", "unused addresses that may be read along"},
};
#define N(member) FIELD_AT(struct regmap_input, member)
static const struct field input_fields[] = {
    {"fitted", FIELD_BOOL, N(fitted), "", 0, 1, NULL, "yes", "no: reported as unknown"},
    {"address", FIELD_INT, N(address), "", 0, 65535, NULL, NULL, "0-based"},
    {"bit", FIELD_UINT, N(bit), "", 0, 15, NULL, "0", "of the register, functions 3 and 4"},
    {"inverted", FIELD_BOOL, N(inverted), "", 0, 1, NULL, "no", "yes: 0 on the wire means on"},
    {"debounce_ms", FIELD_INT, N(debounce_ms), "ms", -1, 10000, NULL, "-1", "-1: the module's"},
    {"press_ms", FIELD_UINT, N(press_ms), "ms", 0, 10000, NULL, "0", "on only after it has been on for so long"},
    {"hold_ms", FIELD_UINT, N(hold_ms), "ms", 0, 60000, NULL, "0", "on until it has been off so long: blinking lamps"},
    {"latch_s", FIELD_UINT, N(latch_s), "s", 0, 3600, NULL, "0", "on at least so long after it went off: push buttons"},
};
struct output_record {
    bool fitted, inverted;
    int32_t coil, reg;
    uint16_t on, off;
};
#define O(member) FIELD_AT(struct output_record, member)
static const struct field output_fields[] = {
    {"fitted", FIELD_BOOL, O(fitted), "", 0, 1, NULL, "yes", "no: not used"},
    {"coil", FIELD_INT, O(coil), "", -1, 65535, NULL, "-1", "0-based address of the coil, -1 none"},
    {"register", FIELD_INT, O(reg), "", -1, 65535, NULL, "-1", "0-based address of the holding register, -1 none"},
    {"on", FIELD_UINT, O(on), "", 0, 65535, NULL, "1", "what is written to the register to switch on"},
    {"off", FIELD_UINT, O(off), "", 0, 65535, NULL, "0", "and to switch off"},
    {"inverted", FIELD_BOOL, O(inverted), "", 0, 1, NULL, "no", "yes: 0 switches on"},
};

static const char *const reading_words[] = {"cabin_c", "board_c", "supply_v", "battery_v", "tyre_kpa", "tyre_c", "wheel_kmh", NULL}; /* enum event_reading_what - 1 */
struct reading_record {
    int what;
    struct regmap_reading r;
};
#define R(member) FIELD_AT(struct reading_record, member)
static const struct field reading_fields[] = {
    {"what", FIELD_WORD, R(what), "", 0, EVENT_READING_LAST - 1, reading_words, NULL, "cabin_c, board_c, supply_v, battery_v, tyre_kpa, tyre_c, wheel_kmh"},
    {"channel", FIELD_UINT, R(r.channel), "", 0, 255, NULL, "0", "which sensor or wheel"},
    {"function", FIELD_UINT, R(r.function), "", 3, 4, NULL, "4", "3 holding registers, 4 input registers"},
    {"address", FIELD_INT, R(r.address), "", 0, 65535, NULL, NULL, "0-based"},
    {"width", FIELD_UINT, R(r.width), "bit", 16, 32, NULL, "16", "16 or 32"},
    {"word_order", FIELD_WORD, R(r.order), "", 0, 3, order_words, "ABCD", "byte order of a 32-bit value, A highest, first register first"},
    {"signed", FIELD_BOOL, R(r.is_signed), "", 0, 1, NULL, "no", "two's complement"},
    {"scale", FIELD_REAL, R(r.scale), "", -1e6, 1e6, NULL, "1", "unit per count"},
    {"offset", FIELD_REAL, R(r.offset), "", -1e6, 1e6, NULL, "0", "added after that"},
    {"min", FIELD_REAL, R(r.min), "", -1e6, 1e6, NULL, "-100000", "below it the sensor is broken"},
    {"max", FIELD_REAL, R(r.max), "", -1e6, 1e6, NULL, "100000", "above it the sensor is broken"},
    {"deadband", FIELD_REAL, R(r.deadband), "", 0, 1e6, NULL, "1", "told when it has changed by so much"},
    {"pulses_per_km", FIELD_REAL, R(r.pulses_per_km), "1/km", 0, 1e6, NULL, "0", "wheel_kmh: the register counts pulses; 0: it holds km/h"},
    {"every_ms", FIELD_UINT, R(r.every_ms), "ms", 100, 3600000, NULL, "1000", "read so often"},
    {"report_s", FIELD_UINT, R(r.report_s), "s", 1, 86400, NULL, "300", "told again so often when it does not change"},
};

#define K(member) FIELD_AT(struct regmap_camera, member)
static const struct field camera_fields[] = {
    {"model", FIELD_TEXT, K(model), "", 1, REGMAP_MODEL_MAX, NULL, NULL, "maker and model"},
    {"flag_begin", FIELD_UINT, K(flag_begin), "", 0, 255, NULL, "1", "alarm flag: begins"},
    {"flag_end", FIELD_UINT, K(flag_end), "", 0, 255, NULL, "2", "alarm flag: ends"},
    {"flag_event", FIELD_UINT, K(flag_event), "", 0, 255, NULL, "0", "alarm flag: an event without length"},
    {"work_standby", FIELD_UINT, K(work_standby), "", 0, 255, NULL, "1", "work state: stand-by"},
    {"work_working", FIELD_UINT, K(work_working), "", 0, 255, NULL, "2", "work state: working"},
    {"work_maintenance", FIELD_UINT, K(work_maintenance), "", 0, 255, NULL, "3", "work state: maintenance or upgrade"},
    {"work_fault", FIELD_UINT, K(work_fault), "", 0, 255, NULL, "4", "work state: fault"},
    {"time", FIELD_WORD, K(time), "", 0, 2, time_words, "auto", "form of the time: auto, bcd, binary"},
    {"media", FIELD_BOOL, K(media), "", 0, 1, NULL, "yes", "no: it gives no pictures"},
    {"params", FIELD_BOOL, K(params), "", 0, 1, NULL, "yes", "no: it takes no settings"},
    {"types", FIELD_TEXT, K(types), "", 0, REGMAP_TYPES_MAX, NULL, "", "alarm numbers of its own as THEIRS:OURS, hexadecimal, with blanks between"},
};

void regmap_path(const char *name, char *out, size_t cap)
{
    if (strchr(name, '/') != NULL) {
        snprintf(out, cap, "%s", name);
        return;
    }
    const char *folder = getenv("SCHOOLWARD_DEVICES");
    if (folder == NULL || folder[0] == '\0')
        folder = INSTALLED;
    snprintf(out, cap, "%s/%s", folder, name);
    if (access(out, F_OK) != 0)
        snprintf(out, cap, "%s/%s.conf", folder, name);
}

/* --- counters --- */

static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static void check_counter(struct conf *c, size_t head, const struct regmap_counter *m, struct conf_problems *p)
{
    if (m->width != 16 && m->width != 32)
        conf_problem(c, head, "width", p, "must be 16 or 32: one register or two");
    if (m->width == 16 && m->rollover > 65536)
        conf_problem(c, head, "rollover", p, "16 bits count to 65536: use width = 32 or a smaller figure");
    if (m->reset != REGMAP_RESET_NEVER && m->reset_coil < 0 && m->reset_register < 0)
        conf_problem(c, head, "reset", p, "nothing to reset with: give reset_coil or reset_register");
    bool any = false;
    for (int i = 0; i < REGMAP_DOORS; i++) {
        any |= m->door[i].fitted;
        if (m->width == 32 && m->door[i].fitted && (m->door[i].in == 65535 || m->door[i].out == 65535))
            conf_problem(c, head, NULL, p, "door %d: a 32-bit value needs two registers: address 65534 is the last", i);
        if (m->width == 32 && m->door[i].fitted && m->door[i].out >= 0 && abs(m->door[i].out - m->door[i].in) == 1)
            conf_problem(c, head, NULL, p, "door %d: in and out overlap: a 32-bit value takes two registers", i);
    }
    if (!any)
        conf_problem(c, head, NULL, p, "no door: add a section [door 0] with in and out");
}

static void fill_counter(struct conf *c, struct regmap_counter *m, struct conf_problems *p)
{
    size_t head = conf_find_section(c, "counter", "");
    conf_apply(c, head, counter_fields, COUNT_OF(counter_fields), m, p);
    for (size_t i = 0; i < conf_sections(c); i++) {
        const char *kind, *name;
        conf_section(c, i, &kind, &name);
        if (strcmp(kind, "door") != 0)
            continue;
        if (strlen(name) != 1 || name[0] < '0' || name[0] >= '0' + REGMAP_DOORS) {
            conf_problem(c, i, NULL, p, "no such door: 0 to %d, the front one first", REGMAP_DOORS - 1);
            continue;
        }
        struct door_record d = {0, -1};
        conf_apply(c, i, door_fields, COUNT_OF(door_fields), &d, p);
        m->door[name[0] - '0'].fitted = true;
        m->door[name[0] - '0'].in = d.in;
        m->door[name[0] - '0'].out = d.out;
    }
    check_counter(c, head, m, p);
}

/* --- inputs --- */

static void fill_output(struct conf *c, size_t i, const char *name, struct regmap_inputs *m, struct conf_problems *p)
{
    int at = index_of(regmap_output_names, name);
    struct output_record o = {0};
    if (at < 0) {
        conf_problem(c, i, NULL, p, "no such output: buzzer, lamp, siren");
        return;
    }
    conf_apply(c, i, output_fields, COUNT_OF(output_fields), &o, p);
    if (o.fitted && (o.coil < 0) == (o.reg < 0))
        conf_problem(c, i, "coil", p, "give either coil or register");
    m->output[at].fitted = o.fitted;
    m->output[at].inverted = o.inverted;
    m->output[at].coil = o.coil;
    m->output[at].reg = o.reg;
    m->output[at].on = o.on;
    m->output[at].off = o.off;
}

static void fill_reading(struct conf *c, size_t i, struct regmap_inputs *m, struct conf_problems *p)
{
    struct reading_record r = {0};
    if (m->readings == REGMAP_READINGS) {
        conf_problem(c, i, NULL, p, "more than %d readings: make a second device with a map of its own", REGMAP_READINGS);
        return;
    }
    conf_apply(c, i, reading_fields, COUNT_OF(reading_fields), &r, p);
    r.r.what = (uint8_t)(r.what + 1);
    if (r.r.width != 16 && r.r.width != 32)
        conf_problem(c, i, "width", p, "must be 16 or 32: one register or two");
    if (r.r.width == 32 && r.r.address == 65535)
        conf_problem(c, i, "address", p, "a 32-bit value needs two registers: address 65534 is the last");
    if (r.r.pulses_per_km > 0 && (r.r.what != EVENT_READING_WHEEL_KMH || r.r.is_signed))
        conf_problem(c, i, "pulses_per_km", p, "is for what = wheel_kmh and a register without a sign");
    if (r.r.pulses_per_km > 0 && r.r.max > 200)
        r.r.max = 200; /* no bus: the register was reset */
    if (r.r.min >= r.r.max)
        conf_problem(c, i, "min", p, "must be below max");
    m->reading[m->readings++] = r.r;
}

static void fill_inputs(struct conf *c, struct regmap_inputs *m, struct conf_problems *p)
{
    size_t head = conf_find_section(c, "inputs", "");
    conf_apply(c, head, inputs_fields, COUNT_OF(inputs_fields), m, p);
    bool any = false;
    for (size_t i = 0; i < conf_sections(c); i++) {
        const char *kind, *name;
        conf_section(c, i, &kind, &name);
        if (strcmp(kind, "input") == 0) {
            int at = index_of(event_input_names, name);
            if (at < 0) {
                conf_problem(c, i, NULL, p, "no such input: see docs/devices.md for the twenty names");
                continue;
            }
            conf_apply(c, i, input_fields, COUNT_OF(input_fields), &m->input[at], p);
            if (m->input[at].debounce_ms < 0)
                m->input[at].debounce_ms = (int32_t)m->debounce_ms;
            any |= m->input[at].fitted;
        } else if (strcmp(kind, "output") == 0) {
            fill_output(c, i, name, m, p);
        } else if (strcmp(kind, "reading") == 0) {
            fill_reading(c, i, m, p);
            any = true;
        }
    }
    if (!any)
        conf_problem(c, head, NULL, p, "no input: add a section such as [input sos] with its address");
}

/* --- cameras --- */

static void fill_camera(struct conf *c, struct regmap_camera *m, struct conf_problems *p)
{
    size_t head = conf_find_section(c, "camera", "");
    conf_apply(c, head, camera_fields, COUNT_OF(camera_fields), m, p);
    if (m->flag_begin == m->flag_end || m->flag_begin == m->flag_event || m->flag_end == m->flag_event)
        conf_problem(c, head, "flag_begin", p, "two flags have the same number: begin, end and event must differ");
    if (m->work_working == m->work_fault || m->work_standby == m->work_fault || m->work_working == m->work_standby)
        conf_problem(c, head, "work_working", p, "two work states have the same number: they must differ");
    for (unsigned i = 0; i < 256; i++)
        m->map[i] = (uint8_t)i;
    for (const char *s = m->types; *s != '\0';) {
        unsigned theirs = 0, ours = 0;
        int used = 0;
        if (sscanf(s, " %2x:%2x%n", &theirs, &ours, &used) != 2 || (s[used] != ' ' && s[used] != '\0')) {
            conf_problem(c, head, "types", p, "must be pairs such as 0d:02 0e:14");
            break;
        }
        m->map[theirs] = (uint8_t)ours;
        s += used;
        while (*s == ' ')
            s++;
    }
}

/* --- all --- */

enum kind { COUNTER, INPUTS, CAMERA };

static enum rc finish(struct conf *c, enum rc rc, enum kind kind, void *ret_map, const char *name, struct conf_problems *p, char *why, size_t cap)
{
    static const char *const head[] = {"counter", "inputs", "camera"};
    union {
        struct regmap_counter counter;
        struct regmap_inputs inputs;
        struct regmap_camera camera;
    } m;
    memset(&m, 0, sizeof m);
    if (rc == RC_OK && conf_find_section(c, head[kind], "") == SIZE_MAX) {
        snprintf(why, cap, "%s: no section [%s]: this is no %s file", name, head[kind], head[kind]);
        conf_free(c);
        return RC_INVALID;
    }
    if (rc == RC_OK) {
        if (kind == COUNTER)
            fill_counter(c, &m.counter, p);
        else if (kind == INPUTS)
            fill_inputs(c, &m.inputs, p);
        else
            fill_camera(c, &m.camera, p);
        conf_report_unused(c, p);
        conf_free(c);
    }
    if (p->n > 0) {
        if (p->n > 1)
            snprintf(why, cap, "%s (and %zu more)", p->text[0], p->n - 1);
        else
            snprintf(why, cap, "%s", p->text[0]);
        return RC_INVALID;
    }
    if (rc != RC_OK) {
        snprintf(why, cap, "%s: %s: give a file of firmware-config/devices or a path", name, rc_text(rc));
        return RC_INVALID;
    }
    if (kind == COUNTER)
        *(struct regmap_counter *)ret_map = m.counter;
    else if (kind == INPUTS)
        *(struct regmap_inputs *)ret_map = m.inputs;
    else
        *(struct regmap_camera *)ret_map = m.camera;
    return RC_OK;
}

static enum rc from_file(const char *name, enum kind kind, void *ret_map, char *why, size_t cap)
{
    char path[4096];
    regmap_path(name, path, sizeof path);
    struct conf_problems *p = calloc(1, sizeof *p);
    struct conf *c = NULL;
    if (p == NULL)
        return RC_NO_MEMORY;
    enum rc rc = conf_read_file(path, &c, p);
    rc = finish(c, rc, kind, ret_map, path, p, why, cap);
    free(p);
    return rc;
}

static enum rc from_text(const char *text, size_t n, const char *name, enum kind kind, void *ret_map, char *why, size_t cap)
{
    struct conf_problems *p = calloc(1, sizeof *p);
    struct conf *c = NULL;
    if (p == NULL)
        return RC_NO_MEMORY;
    enum rc rc = conf_read_text(text, n, name, &c, p);
    rc = finish(c, rc, kind, ret_map, name, p, why, cap);
    free(p);
    return rc;
}

enum rc regmap_read_counter(const char *name, struct regmap_counter *ret_map, char *why, size_t cap)
{
    return from_file(name, COUNTER, ret_map, why, cap);
}

enum rc regmap_read_inputs(const char *name, struct regmap_inputs *ret_map, char *why, size_t cap)
{
    return from_file(name, INPUTS, ret_map, why, cap);
}

enum rc regmap_read_camera(const char *name, struct regmap_camera *ret_map, char *why, size_t cap)
{
    return from_file(name, CAMERA, ret_map, why, cap);
}

enum rc regmap_text_counter(const char *text, size_t n, const char *name, struct regmap_counter *ret_map, char *why, size_t cap)
{
    return from_text(text, n, name, COUNTER, ret_map, why, cap);
}

enum rc regmap_text_inputs(const char *text, size_t n, const char *name, struct regmap_inputs *ret_map, char *why, size_t cap)
{
    return from_text(text, n, name, INPUTS, ret_map, why, cap);
}

enum rc regmap_text_camera(const char *text, size_t n, const char *name, struct regmap_camera *ret_map, char *why, size_t cap)
{
    return from_text(text, n, name, CAMERA, ret_map, why, cap);
}

/* --- arithmetic --- */

static uint32_t swapped(uint16_t w)
{
    return (uint32_t)(w >> 8 | (w & 0xff) << 8);
}

int64_t regmap_number(int order, uint8_t width, bool is_signed, const uint16_t *words)
{
    bool bytes = order == REGMAP_BADC || order == REGMAP_DCBA;
    uint32_t first = bytes ? swapped(words[0]) : words[0];
    if (width == 16)
        return is_signed ? (int64_t)(int16_t)first : (int64_t)first;
    uint32_t second = bytes ? swapped(words[1]) : words[1];
    bool low_first = order == REGMAP_CDAB || order == REGMAP_DCBA;
    uint32_t value = low_first ? second << 16 | first : first << 16 | second;
    return is_signed ? (int64_t)(int32_t)value : (int64_t)value;
}

int64_t regmap_value(const struct regmap_counter *map, const uint16_t *words)
{
    return regmap_number(map->order, map->width, map->is_signed, words);
}

int64_t regmap_delta(const struct regmap_counter *map, int64_t before, int64_t now)
{
    int64_t delta = now - before;
    if (map->is_signed || delta >= 0)
        return delta;
    return delta + (map->rollover != 0 ? (int64_t)map->rollover : (int64_t)1 << map->width);
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

size_t regmap_plan(int32_t *at, size_t n, int32_t each, int32_t gap, int32_t max, struct regmap_block ret_block[REGMAP_BLOCKS])
{
    size_t blocks = 0;
    qsort(at, n, sizeof *at, by_number);
    for (size_t i = 0; i < n; i++) {
        struct regmap_block *b = blocks > 0 ? &ret_block[blocks - 1] : NULL;
        if (b != NULL && at[i] <= b->first + b->n + gap && at[i] + each - b->first <= max) {
            if (at[i] + each - b->first > b->n)
                b->n = at[i] + each - b->first;
        } else if (blocks < REGMAP_BLOCKS) {
            ret_block[blocks++] = (struct regmap_block){at[i], each};
        }
    }
    return blocks;
}
