/*
 * interval-counter - a counter unit that speaks JT/T 808 on its line and tells, after each stop or each so many minutes, how many passed meanwhile
 * (message 0x1005 of JT/T 1078: start, end, boarded, alighted). The intervals are added up; one that is told again is dropped, an old one that comes
 * late is added and marked. Every message is acknowledged (0x8001), or the unit would send it for ever.
 *
 * The message knows no door: `door` says where the unit looks. Two doors are two units.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../port.h"
#include "doors.h"
#include "jt808_frame.h"

#define TICK_MS    1000
#define REMEMBERED 64
#define BODY_SIZE  16
#define LATE_MS    120000 /* an interval that ended so long ago waited in the unit */
#define AHEAD_MS   120000 /* and one that ends so far ahead has a wrong clock */
#define LENGTH_MS  INT64_C(604800000) /* some units tell a whole day at once */

enum { GENERAL_ACK = 0x8001, REGISTERED = 0x8100, HEARTBEAT = 0x0002, REGISTER = 0x0100, AUTHENTICATE = 0x0102, PASSENGERS = 0x1005 };
enum { ACK_DONE = 0, ACK_WRONG = 2, ACK_UNSUPPORTED = 3 };

struct interval_options {
    struct port_setup port;
    uint8_t door;
    double max_persons_per_s;
    struct doors_setup doors;
};

static const struct field interval_fields[] = {
    PORT_FIELDS(struct interval_options, "115200", "none"),
    {"door", FIELD_UINT, FIELD_AT(struct interval_options, door), "", 0, REGMAP_DOORS - 1, NULL, "0", "which door it looks at, 0 the front one"},
    {"max_persons_per_s", FIELD_REAL, FIELD_AT(struct interval_options, max_persons_per_s), "1/s", 0.1, 100, NULL, "3", "in each direction; more is no people"},
    DOORS_FIELDS(struct interval_options),
};

struct span {
    int64_t from_ms, to_ms; /* 0, 0: free */
};

struct interval_kept {
    struct doors_kept doors; /* first: driver_keep() is asked for all of it */
    struct span seen[REMEMBERED];
    size_t seen_at;
    int64_t newest_ms;
};

struct interval {
    struct driver_ctx *ctx;
    const struct interval_options *opt;
    struct regmap_counter map;
    struct doors doors;
    struct interval_kept *kept;
    struct port *port;
    struct jt808_parser parser;
    uint16_t serial;
    bool told_open;
};

static void interval_close(void *state)
{
    struct interval *v = state;
    char why[256];
    if (v == NULL)
        return;
    if (v->doors.ctx != NULL)
        (void)!doors_save(&v->doors, 0, true, why, sizeof why);
    port_close(v->port);
    free(v);
}

static enum rc interval_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct interval_kept *kept = driver_keep(ctx, sizeof *kept);
    struct interval *v = calloc(1, sizeof *v);
    if (v == NULL || kept == NULL) {
        free(v);
        return RC_NO_MEMORY;
    }
    v->ctx = ctx;
    v->opt = options;
    v->kept = kept;
    v->map = (struct regmap_counter){.width = 32, .scale = 1, .max_persons_per_s = v->opt->max_persons_per_s};
    v->map.door[v->opt->door].fitted = true;
    enum rc rc = doors_open(&v->doors, ctx, &v->opt->doors, &v->map, &kept->doors, false, NULL);
    if (rc == RC_OK)
        rc = port_open(&v->opt->port, &v->port, why, cap);
    if (rc != RC_OK) {
        interval_close(v);
        return rc;
    }
    *ret_state = v;
    *ret_fd = port_fd(v->port);
    return RC_OK;
}

static bool seen_before(struct interval *v, struct span s)
{
    struct interval_kept *k = v->kept;
    for (size_t i = 0; i < REMEMBERED; i++)
        if (k->seen[i].from_ms == s.from_ms && k->seen[i].to_ms == s.to_ms)
            return true;
    k->seen[k->seen_at++ % REMEMBERED] = s;
    return false;
}

static enum rc bad(struct interval *v, const char *what, const char *told, char *why, size_t cap)
{
    driver_count(v->ctx, what, 1);
    snprintf(why, cap, "%s", told);
    return RC_INVALID;
}

static enum rc take_passengers(struct interval *v, const struct jt808_frame *f, uint8_t *ret_ack, char *why, size_t cap)
{
    struct span s = {0};
    *ret_ack = ACK_WRONG;
    if (f->n != BODY_SIZE || jt808_time_ms(f->body, &s.from_ms) != RC_OK || jt808_time_ms(f->body + 6, &s.to_ms) != RC_OK || s.to_ms < s.from_ms ||
        s.to_ms - s.from_ms > LENGTH_MS)
        return bad(v, "bad_intervals", "a count has no sensible interval: check the unit's clock and firmware", why, cap);
    *ret_ack = ACK_DONE;
    if (seen_before(v, s)) {
        driver_count(v->ctx, "copies", 1);
        return RC_OK;
    }
    int32_t in = f->body[12] << 8 | f->body[13], out = f->body[14] << 8 | f->body[15];
    int64_t late_ms = driver_wall_ms(v->ctx) - s.to_ms;
    double limit = v->opt->max_persons_per_s * (double)(s.to_ms - s.from_ms) / 1000.0 + TOTAL_BURST;
    bool doubtful = late_ms < -AHEAD_MS;
    if (late_ms > LATE_MS || s.to_ms < v->kept->newest_ms) { /* at which stop they boarded is lost for the one who reads the totals as they come */
        driver_count(v->ctx, "late", 1);
        doubtful = true;
    }
    if (s.to_ms > v->kept->newest_ms)
        v->kept->newest_ms = s.to_ms;
    doors_add(&v->doors, v->opt->door, (double)in > limit ? -1 : in, (double)out > limit ? -1 : out, doubtful, driver_mono_ms(v->ctx));
    return RC_OK;
}

static enum rc answer(struct interval *v, const struct jt808_frame *f, uint8_t result)
{
    struct jt808_frame a = {.id = GENERAL_ACK, .serial = v->serial++, .is_2019 = f->is_2019, .version = f->version, .n = 5};
    uint8_t wire[JT808_WIRE_MAX];
    memcpy(a.terminal, f->terminal, sizeof a.terminal);
    a.body[0] = (uint8_t)(f->serial >> 8);
    a.body[1] = (uint8_t)f->serial;
    a.body[2] = (uint8_t)(f->id >> 8);
    a.body[3] = (uint8_t)f->id;
    a.body[4] = result;
    if (f->id == REGISTER) { /* serial, result 0 done, a code it gives back in 0102 */
        a.id = REGISTERED;
        a.body[2] = 0;
        memcpy(a.body + 3, "SW", 2);
    }
    return port_write(v->port, wire, jt808_build(&a, wire));
}

static enum rc take_frame(struct interval *v, const struct jt808_frame *f, char *why, size_t cap)
{
    uint8_t ack = ACK_DONE;
    enum rc rc = RC_OK;
    switch (f->id) {
    case PASSENGERS: rc = take_passengers(v, f, &ack, why, cap); break;
    case HEARTBEAT:
    case REGISTER:
    case AUTHENTICATE: break;
    default:
        if ((f->id & 0x8000) != 0) { /* a platform's: our own, echoed, or a second master's */
            driver_count(v->ctx, "answers_heard", 1);
            return RC_AGAIN;
        }
        ack = ACK_UNSUPPORTED;
        driver_count(v->ctx, "unknown_messages", 1);
        break;
    }
    enum rc sent = answer(v, f, ack);
    if (sent == RC_END || sent == RC_IO) {
        snprintf(why, cap, "the line to the counter is gone: check cable and power");
        return sent;
    }
    return rc;
}

static enum rc interval_input(void *state, char *why, size_t cap)
{
    struct interval *v = state;
    uint8_t buf[1024];
    enum rc worst = RC_AGAIN;
    for (int i = 0; i < 16; i++) {
        size_t n = 0;
        enum rc rc = port_read(v->port, buf, sizeof buf, &n);
        if (rc != RC_OK) {
            if (rc == RC_AGAIN)
                break;
            snprintf(why, cap, "the line to the counter is gone: check cable and power");
            return rc;
        }
        for (size_t k = 0; k < n; k++) {
            struct jt808_frame f;
            enum jt808_fault fault;
            rc = jt808_parse(&v->parser, buf[k], &f, &fault);
            if (rc == RC_OK)
                rc = take_frame(v, &f, why, cap);
            else if (rc == RC_INVALID)
                rc = bad(v, fault == JT808_NOISE ? "noise_bytes" : fault == JT808_SUM ? "checksum_errors" : fault == JT808_BROKEN ? "broken_frames" : "unsupported",
                         "garbled: check speed, wiring and shielding", why, cap);
            if (rc == RC_END || rc == RC_IO)
                return rc;
            if (rc == RC_OK || (rc == RC_INVALID && worst != RC_OK))
                worst = rc;
        }
    }
    return worst;
}

static enum rc interval_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct interval *v = state;
    *ret_next_ms = TICK_MS;
    doors_again(&v->doors, now_ms);
    enum rc rc = doors_save(&v->doors, now_ms, false, why, cap);
    if (rc != RC_OK)
        return rc;
    if (v->told_open || port_data_fd(v->port) < 0)
        return RC_AGAIN;
    v->told_open = true; /* the unit may be silent for an hour: that its line is there is all there is to know */
    return RC_OK;
}

const struct driver driver_interval = {
    .name = "interval-counter",
    .kind = EVENT_DEVICE_COUNTER,
    .options_size = sizeof(struct interval_options),
    .options = interval_fields,
    .options_n = sizeof interval_fields / sizeof *interval_fields,
    .silence_ms = 0, /* nothing while nobody boards */
    .open = interval_open,
    .input = interval_input,
    .poll = interval_poll,
    .close = interval_close,
};
