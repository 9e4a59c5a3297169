/*
 * hpc168 - stereo door counters of the HPC168 family on RS-232, or several on one RS-485 line. One counter per door; each is asked in its turn for its
 * totals and, if wanted, whether its door is open.
 *
 *   gateway                         counter
 *     | 13 your totals        -->    |
 *     |          <-- 93 in, out      |   within timeout_ms
 *     |   turn_ms of quiet           |   RS-485: the talker lets go of the line; the byte that makes is thrown away before 02
 *     | 66 your door          -->    |
 *     |          <-- E6 six bytes    |   all 01: open
 *
 * A counter that does not answer rests with growing pauses, so that the other door loses one time-out now and then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../port.h"
#include "doors.h"
#include "hpc168_frame.h"

#define TICK_MS     50
#define REST_MIN_MS 1000
#define REST_MAX_MS 30000
#define DEAD_AFTER  2 /* time-outs in a row */
#define DOOR_BYTES  6

struct hpc168_options {
    struct port_setup port;
    char ids[64];
    uint32_t poll_ms, timeout_ms, turn_ms;
    bool door_state;
    int reset, power_up;
    double max_persons_per_s;
    struct doors_setup doors;
};

static const char *const power_words[] = {"keep", "zero", NULL};
static const char *const reset_words[] = {"never", "start", NULL};

static const struct field hpc168_fields[] = {
    PORT_FIELDS(struct hpc168_options, "115200", "none"),
    {"ids", FIELD_TEXT, FIELD_AT(struct hpc168_options, ids), "", 4, 63, NULL, "0001", "the counters' ids, four hex digits each, front door first; - for a door without one"},
    {"poll_ms", FIELD_UINT, FIELD_AT(struct hpc168_options, poll_ms), "ms", 100, 60000, NULL, "1000", "pause between readings"},
    {"timeout_ms", FIELD_UINT, FIELD_AT(struct hpc168_options, timeout_ms), "ms", 20, 5000, NULL, "500", "wait for an answer"},
    {"turn_ms", FIELD_UINT, FIELD_AT(struct hpc168_options, turn_ms), "ms", 0, 200, NULL, "15", "quiet between an answer and the next question: RS-485 turns round"},
    {"door_state", FIELD_BOOL, FIELD_AT(struct hpc168_options, door_state), "", 0, 1, NULL, "no", "also ask whether the door is open, and tell it as an input"},
    {"reset", FIELD_WORD, FIELD_AT(struct hpc168_options, reset), "", 0, 1, reset_words, "never", "clear the counters: never, start (when opened first)"},
    {"power_up", FIELD_WORD, FIELD_AT(struct hpc168_options, power_up), "", 0, 1, power_words, "zero", "totals after the counter lost power: keep, zero"},
    {"max_persons_per_s", FIELD_REAL, FIELD_AT(struct hpc168_options, max_persons_per_s), "1/s", 0.1, 100, NULL, "3", "per door and direction; more is a jump, not people"},
    DOORS_FIELDS(struct hpc168_options),
};

struct slot { /* one counter */
    bool reset_due;
    unsigned silent; /* time-outs in a row */
    int64_t rest_until_ms, rest_ms;
    int door_open; /* 0, 1, -1 not known */
};

struct hpc168 {
    struct driver_ctx *ctx;
    const struct hpc168_options *opt;
    struct regmap_counter map;
    uint16_t id[REGMAP_DOORS];
    struct slot slot[REGMAP_DOORS];
    struct doors doors;
    struct port *port;
    struct hpc168_parser parser;
    /* whose turn: door and command; waiting: asked and not yet answered */
    int at;
    bool waiting, door_next;
    uint8_t asked;
    int64_t until_ms, quiet_until_ms, round_at_ms;
    struct event_inputs told;
    int64_t tell_at_ms;
};

/* "0001 0002", "- 0002": the ids by door. */
static enum rc read_ids(const char *text, struct hpc168 *h, char *why, size_t cap)
{
    int door = 0, fitted = 0;
    for (const char *s = text; *s != '\0';) {
        unsigned id = 0;
        int used = 0;
        if (*s == ' ' || *s == ',') {
            s++;
            continue;
        }
        bool none = *s == '-';
        if (door == REGMAP_DOORS || (!none && (sscanf(s, "%4x%n", &id, &used) != 1 || used != 4))) {
            snprintf(why, cap, "ids \"%s\": write four hex digits for each door, at most %d, such as 0001 0002", text, REGMAP_DOORS);
            return RC_INVALID;
        }
        for (int i = 0; !none && i < door; i++) {
            if (h->map.door[i].fitted && h->id[i] == id) {
                snprintf(why, cap, "ids \"%s\": %04x is there twice", text, id);
                return RC_INVALID;
            }
        }
        h->id[door] = (uint16_t)id;
        h->map.door[door].fitted = !none;
        fitted += !none;
        door++;
        s += none ? 1 : used;
    }
    if (fitted == 0)
        snprintf(why, cap, "ids \"%s\" names no counter", text);
    return fitted > 0 ? RC_OK : RC_INVALID;
}

static enum rc hpc168_check(const void *options, char *why, size_t cap)
{
    const struct hpc168_options *o = options;
    struct hpc168 h = {.opt = o};
    return read_ids(o->ids, &h, why, cap);
}

static void hpc168_close(void *state)
{
    struct hpc168 *h = state;
    char why[256];
    if (h == NULL)
        return;
    if (h->doors.ctx != NULL)
        (void)!doors_save(&h->doors, 0, true, why, sizeof why);
    port_close(h->port);
    free(h);
}

static enum rc hpc168_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct hpc168 *h = calloc(1, sizeof *h);
    bool first = false;
    if (h == NULL)
        return RC_NO_MEMORY;
    h->ctx = ctx;
    h->opt = options;
    h->map = (struct regmap_counter){.width = 32, .scale = 1, .power_up = h->opt->power_up, .max_persons_per_s = h->opt->max_persons_per_s};
    enum rc rc = read_ids(h->opt->ids, h, why, cap);
    if (rc == RC_OK)
        rc = doors_open(&h->doors, ctx, &h->opt->doors, &h->map, NULL, false, &first);
    if (rc == RC_OK)
        rc = port_open(&h->opt->port, &h->port, why, cap);
    if (rc != RC_OK) {
        hpc168_close(h);
        return rc;
    }
    for (int d = 0; d < REGMAP_DOORS; d++)
        h->slot[d] = (struct slot){.door_open = -1, .reset_due = first && h->opt->reset == 1};
    h->at = -1;
    *ret_state = h;
    *ret_fd = port_fd(h->port);
    return RC_OK;
}

/* --- what the counters say --- */

static void tell_doors(struct hpc168 *h, int64_t now_ms)
{
    static const uint32_t bit[REGMAP_DOORS] = {EVENT_IN_DOOR_FRONT, EVENT_IN_DOOR_MIDDLE, EVENT_IN_DOOR_REAR, 0};
    struct event e = {.kind = EVENT_INPUTS};
    for (int d = 0; d < REGMAP_DOORS; d++) {
        if (h->slot[d].door_open >= 0)
            e.inputs.known |= bit[d];
        if (h->slot[d].door_open == 1)
            e.inputs.state |= bit[d];
    }
    if (e.inputs.known == 0 && h->told.known == 0)
        return;
    if (e.inputs.state == h->told.state && e.inputs.known == h->told.known && now_ms < h->tell_at_ms)
        return;
    h->told = e.inputs;
    h->tell_at_ms = now_ms + (int64_t)h->opt->doors.report_s * 1000;
    driver_emit(h->ctx, &e);
}

static enum rc bad(struct hpc168 *h, const char *what, const char *told, char *why, size_t cap)
{
    driver_count(h->ctx, what, 1);
    snprintf(why, cap, "%s: check speed, wiring, termination and that no id is used twice", told);
    return RC_INVALID;
}

static enum rc take_reply(struct hpc168 *h, int door, const struct hpc168_frame *f, char *why, size_t cap)
{
    struct slot *s = &h->slot[door];
    int64_t now_ms = driver_mono_ms(h->ctx);
    switch (f->command & ~HPC168_REPLY) {
    case HPC168_COUNTS:
        if (f->n < 8)
            return bad(h, "broken_frames", "an answer is too short", why, cap);
        /* what the counter answered before it was cleared is no reading any more */
        if (!s->reset_due && !(h->waiting && h->at == door && h->asked == HPC168_RESET))
            doors_take(&h->doors, door, hpc168_u32(f->data), hpc168_u32(f->data + 4), now_ms);
        break;
    case HPC168_RESET:
        if (f->n < 1 || f->data[0] != 0x06) {
            s->reset_due = false; /* asking again would not help */
            return bad(h, "refused_resets", "a counter refuses to be cleared", why, cap);
        }
        s->reset_due = false;
        doors_rebase(&h->doors, door);
        driver_count(h->ctx, "resets", 1);
        break;
    case HPC168_DOOR: {
        if (f->n < DOOR_BYTES)
            return bad(h, "broken_frames", "an answer is too short", why, cap);
        unsigned open = 0, closed = 0;
        for (int i = 0; i < DOOR_BYTES; i++) {
            open += f->data[i] == 1;
            closed += f->data[i] == 0;
        }
        int was = s->door_open;
        s->door_open = open == DOOR_BYTES ? 1 : closed == DOOR_BYTES ? 0 : -1;
        if (was == 1 && s->door_open == 0)
            h->round_at_ms = now_ms; /* some units publish only now: ask again at once */
        tell_doors(h, now_ms);
        break;
    }
    default: driver_count(h->ctx, "unknown_commands", 1); break;
    }
    return RC_OK;
}

static enum rc take_frame(struct hpc168 *h, const struct hpc168_frame *f, char *why, size_t cap)
{
    if ((f->command & HPC168_REPLY) == 0) { /* our own question, from an adapter that echoes, or a second master's */
        driver_count(h->ctx, "questions_heard", 1);
        return RC_AGAIN;
    }
    for (int d = 0; d < REGMAP_DOORS; d++) {
        if (!h->map.door[d].fitted || h->id[d] != f->id)
            continue;
        enum rc rc = take_reply(h, d, f, why, cap);
        if (h->waiting && h->at == d && f->command == (h->asked | HPC168_REPLY)) {
            h->waiting = false;
            h->quiet_until_ms = driver_mono_ms(h->ctx) + h->opt->turn_ms;
        }
        h->slot[d].silent = 0;
        h->slot[d].rest_ms = h->slot[d].rest_until_ms = 0;
        return rc;
    }
    driver_count(h->ctx, "other_ids", 1);
    return RC_AGAIN;
}

static enum rc hpc168_input(void *state, char *why, size_t cap)
{
    struct hpc168 *h = state;
    uint8_t buf[1024];
    enum rc worst = RC_AGAIN;
    for (int i = 0; i < 16; i++) { /* a line that is never quiet must not hold the loop */
        size_t n = 0;
        enum rc rc = port_read(h->port, buf, sizeof buf, &n);
        if (rc != RC_OK) {
            if (rc == RC_AGAIN)
                break;
            snprintf(why, cap, "the line to the counter is gone: check cable and power");
            return rc;
        }
        for (size_t k = 0; k < n; k++) {
            struct hpc168_frame f;
            enum hpc168_fault fault;
            rc = hpc168_parse(&h->parser, buf[k], &f, &fault);
            if (rc == RC_OK) {
                rc = take_frame(h, &f, why, cap);
            } else if (rc == RC_INVALID && fault == HPC168_NOISE) {
                driver_count(h->ctx, "noise_bytes", 1); /* the turn of the line makes one; only a frame amiss is told */
                rc = RC_AGAIN;
            } else if (rc == RC_INVALID) {
                rc = bad(h, fault == HPC168_SUM ? "checksum_errors" : "broken_frames", fault == HPC168_SUM ? "wrong check" : "broken frame", why, cap);
            }
            if (rc == RC_OK || (rc == RC_INVALID && worst != RC_OK))
                worst = rc;
        }
    }
    return worst;
}

/* --- asking --- */

static enum rc ask(struct hpc168 *h, uint8_t command, int64_t now_ms, char *why, size_t cap)
{
    uint8_t wire[HPC168_WIRE_MAX];
    struct hpc168_frame f = {.id = h->id[h->at], .command = command};
    enum rc rc = port_write(h->port, wire, hpc168_build(&f, wire));
    if (rc == RC_END || rc == RC_IO)
        snprintf(why, cap, "the line to the counter is gone: check cable and power");
    if (rc != RC_OK)
        return rc;
    h->asked = command;
    h->waiting = true;
    h->until_ms = now_ms + h->opt->timeout_ms;
    return RC_OK;
}

static void give_up(struct hpc168 *h, int64_t now_ms, char *why, size_t cap)
{
    struct slot *s = &h->slot[h->at];
    h->waiting = false;
    driver_count(h->ctx, "timeouts", 1);
    snprintf(why, cap, "counter %04X does not answer within %u ms: check power, wiring, id and speed", h->id[h->at], h->opt->timeout_ms);
    h->door_next = false;
    if (++s->silent < DEAD_AFTER)
        return;
    s->rest_ms = s->rest_ms == 0 ? REST_MIN_MS : s->rest_ms * 2 > REST_MAX_MS ? REST_MAX_MS : s->rest_ms * 2;
    s->rest_until_ms = now_ms + s->rest_ms;
    if (s->door_open >= 0) {
        s->door_open = -1;
        tell_doors(h, now_ms);
    }
}

/* The next question of this round; false: the round is over. */
static bool next_question(struct hpc168 *h, int64_t now_ms, uint8_t *ret_command)
{
    if (h->at >= 0 && h->door_next) { /* its totals came: now the door, whose closing asks for them once more */
        h->door_next = false;
        *ret_command = HPC168_DOOR;
        return true;
    }
    if (h->at >= 0 && h->asked == HPC168_RESET && h->slot[h->at].silent == 0) {
        *ret_command = HPC168_COUNTS;
        h->door_next = h->opt->door_state;
        return true;
    }
    for (h->at++; h->at < REGMAP_DOORS; h->at++) {
        if (!h->map.door[h->at].fitted || now_ms < h->slot[h->at].rest_until_ms)
            continue;
        *ret_command = h->slot[h->at].reset_due ? HPC168_RESET : HPC168_COUNTS;
        h->door_next = h->opt->door_state && *ret_command == HPC168_COUNTS;
        return true;
    }
    h->at = -1;
    h->asked = 0;
    return false;
}

static enum rc hpc168_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct hpc168 *h = state;
    enum rc told = RC_AGAIN;
    *ret_next_ms = TICK_MS;
    if (h->waiting && now_ms >= h->until_ms) {
        give_up(h, now_ms, why, cap);
        told = RC_TIMEOUT;
    }
    if (!h->waiting && now_ms >= h->quiet_until_ms && (h->at >= 0 || now_ms >= h->round_at_ms)) {
        uint8_t command = 0;
        if (h->at < 0)
            h->round_at_ms = now_ms + h->opt->poll_ms;
        if (next_question(h, now_ms, &command)) {
            enum rc rc = ask(h, command, now_ms, why, cap);
            if (rc == RC_AGAIN) { /* nobody is connected yet, or the line is full: the round begins anew */
                h->at = -1;
                h->door_next = false;
            } else if (rc != RC_OK) {
                return rc;
            }
        }
    }
    if (h->waiting)
        *ret_next_ms = (int)(h->until_ms - now_ms < TICK_MS ? h->until_ms - now_ms : TICK_MS);
    else if (h->at >= 0)
        *ret_next_ms = (int)(h->quiet_until_ms > now_ms ? h->quiet_until_ms - now_ms : 1);
    doors_again(&h->doors, now_ms);
    enum rc saved = doors_save(&h->doors, now_ms, false, why, cap);
    return saved != RC_OK ? saved : told;
}

const struct driver driver_hpc168 = {
    .name = "hpc168",
    .kind = EVENT_DEVICE_COUNTER,
    .options_size = sizeof(struct hpc168_options),
    .options = hpc168_fields,
    .options_n = sizeof hpc168_fields / sizeof *hpc168_fields,
    .silence_ms = 10000,
    .check = hpc168_check,
    .open = hpc168_open,
    .input = hpc168_input,
    .poll = hpc168_poll,
    .close = hpc168_close,
};
