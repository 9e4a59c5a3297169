#include "wire_batch.h"

#include <string.h>

/* --- Protocol Buffers' own primitives (protobuf.dev, "Encoding") --- */

enum { VARINT = 0, I64 = 1, LEN = 2, I32 = 5 };

struct in {
    const uint8_t *at, *end;
};

/* Byte by byte: at the end of a message, and for the longest. */
static bool get_varint_slowly(struct in *in, uint64_t *ret)
{
    uint64_t v = 0;
    const uint8_t *p = in->at;
    for (int shift = 0; p < in->end && shift < 64; shift += 7) {
        uint8_t b = *p++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            in->at = p;
            *ret = v;
            return true;
        }
    }
    return false;
}

static inline bool get_varint(struct in *in, uint64_t *ret)
{
    const uint8_t *p = in->at;
    if (p < in->end && *p < 0x80) {
        *ret = *p;
        in->at = p + 1;
        return true;
    }
    if (in->end - p < 8)
        return get_varint_slowly(in, ret);
    /* Eight bytes at once: the lowest one without its top bit is the last of the number; its seven-bit digits are pushed together pair by pair. */
    uint64_t w = (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 |
                 (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
    uint64_t ends = ~w & UINT64_C(0x8080808080808080);
    if (ends == 0)
        return get_varint_slowly(in, ret);
    w &= ends ^ (ends - 1); /* up to and with the last byte */
    w &= UINT64_C(0x7f7f7f7f7f7f7f7f);
    w = (w & UINT64_C(0x007f007f007f007f)) | (w & UINT64_C(0x7f007f007f007f00)) >> 1;
    w = (w & UINT64_C(0x00003fff00003fff)) | (w & UINT64_C(0x3fff00003fff0000)) >> 2;
    *ret = (w & UINT64_C(0x000000000fffffff)) | (w & UINT64_C(0x0fffffff00000000)) >> 4;
    in->at = p + (__builtin_ctzll(ends) >> 3) + 1;
    return true;
}

static bool get_len(struct in *in, struct in *ret)
{
    uint64_t n;
    if (!get_varint(in, &n) || n > (uint64_t)(in->end - in->at))
        return false;
    *ret = (struct in){in->at, in->at + n};
    in->at += n;
    return true;
}

/* Unknown fields are stepped over: an older program understands a newer one's message. */
static bool skip(struct in *in, unsigned type)
{
    uint64_t v;
    struct in body;
    switch (type) {
    case VARINT: return get_varint(in, &v);
    case LEN: return get_len(in, &body);
    case I64:
    case I32: {
        size_t n = type == I64 ? 8 : 4;
        if ((size_t)(in->end - in->at) < n)
            return false;
        in->at += n;
        return true;
    }
    default: return false;
    }
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)((v >> 1) ^ (~(v & 1) + 1));
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

/* --- the fixes of a batch: eight numbers each, see core/schoolward.proto --- */

#define SATS_MAX (EVENT_DOUBT_ALL << 8 | 63 << 2 | EVENT_FIX_3D)
enum { COL_TIME, COL_LAT, COL_LON, COL_SPEED, COL_TRACK, COL_ALT, COL_HDOP, COL_SATS, COLS };

struct rows {
    uint64_t last[COLS], step[3]; /* unsigned: differences wrap, ranges are checked on the result */
    size_t n;                     /* rows done */
    unsigned col;
};

/* Difference -> value, for the next number of the stream. */
static uint64_t row_value(struct rows *r, uint64_t diff)
{
    unsigned c = r->col;
    uint64_t v = r->n == 0 ? diff : r->last[c] + diff + (c <= COL_LON && r->n > 1 ? r->step[c] : 0);
    if (c <= COL_LON)
        r->step[c] = v - r->last[c];
    r->last[c] = v;
    return v;
}

static uint64_t row_diff(struct rows *r, uint64_t v)
{
    unsigned c = r->col;
    uint64_t diff = r->n == 0 ? v : v - r->last[c] - (c <= COL_LON && r->n > 1 ? r->step[c] : 0);
    if (c <= COL_LON)
        r->step[c] = v - r->last[c];
    r->last[c] = v;
    return diff;
}

static void row_next(struct rows *r)
{
    if (++r->col == COLS) {
        r->col = 0;
        r->n++;
    }
}

static bool fits32(uint64_t v)
{
    int64_t s = (int64_t)v;
    return s >= INT32_MIN && s <= INT32_MAX;
}

/* 0 = not known; 1, 2, ... mean 0, 1, ...; values below zero stand for themselves */
static int32_t from_optional(uint64_t v)
{
    int64_t s = (int64_t)v;
    return s == 0 ? EVENT_UNKNOWN : (int32_t)(s > 0 ? s - 1 : s);
}

static uint64_t to_optional(int32_t v)
{
    return v == EVENT_UNKNOWN ? 0 : (uint64_t)(v >= 0 ? (int64_t)v + 1 : v);
}

static bool put_fix(struct event *e, unsigned col, uint64_t v)
{
    struct event_fix *f = &e->fix;
    if (col == COL_TIME) {
        e->kind = EVENT_FIX;
        e->time_ms = (int64_t)v;
        return true;
    }
    if (!fits32(v))
        return false;
    switch (col) {
    case COL_LAT: f->lat_e7 = (int32_t)(int64_t)v; return true;
    case COL_LON: f->lon_e7 = (int32_t)(int64_t)v; return true;
    case COL_SPEED: f->speed_mmps = from_optional(v); return true;
    case COL_TRACK: f->track_cdeg = from_optional(v); return true;
    case COL_ALT: f->alt_dm = from_optional(v); return true;
    case COL_HDOP: f->hdop_d = from_optional(v); return true;
    default:
        if (v > SATS_MAX)
            return false;
        f->satellites = (uint8_t)(v >> 2 & 63);
        f->mode = (uint8_t)(v & 3);
        f->doubt = (uint8_t)(v >> 8);
        return true;
    }
}

static uint64_t take_fix(const struct event *e, unsigned col)
{
    const struct event_fix *f = &e->fix;
    switch (col) {
    case COL_TIME: return (uint64_t)e->time_ms;
    case COL_LAT: return (uint64_t)(int64_t)f->lat_e7;
    case COL_LON: return (uint64_t)(int64_t)f->lon_e7;
    case COL_SPEED: return to_optional(f->speed_mmps);
    case COL_TRACK: return to_optional(f->track_cdeg);
    case COL_ALT: return to_optional(f->alt_dm);
    case COL_HDOP: return to_optional(f->hdop_d);
    default: return (uint64_t)f->doubt << 8 | (uint64_t)f->satellites << 2 | f->mode;
    }
}

/* --- taking a batch apart --- */

static const char *number(struct wire_frame *f, struct rows *r, uint64_t raw)
{
    if (r->n == WIRE_BATCH_MAX)
        return "batch.fix";
    if (!put_fix(&f->batch.event[r->n], r->col, row_value(r, (uint64_t)unzigzag(raw))))
        return "batch.fix";
    row_next(r);
    return NULL;
}

/*
 * The first fix is absolute and on the wire mostly the only one: a short cut for it. Where it does not fit nothing is taken, and the long way finds out
 * what is wrong.
 */
static void first_fix(struct in *in, struct wire_frame *f, struct rows *r)
{
    uint64_t v[COLS], raw;
    struct in at = *in;
    struct event *e = &f->batch.event[0];
    for (unsigned c = 0; c < COLS; c++) {
        if (!get_varint(&at, &raw))
            return;
        v[c] = (uint64_t)unzigzag(raw);
    }
    if (!fits32(v[COL_LAT]) || !fits32(v[COL_LON]) || (v[COL_SPEED] | v[COL_TRACK] | v[COL_ALT] | v[COL_HDOP]) > INT32_MAX || v[COL_SATS] > SATS_MAX)
        return;
    e->kind = EVENT_FIX;
    e->time_ms = (int64_t)v[COL_TIME];
    e->fix = (struct event_fix){.lat_e7 = (int32_t)(int64_t)v[COL_LAT],
                                .lon_e7 = (int32_t)(int64_t)v[COL_LON],
                                .speed_mmps = from_optional(v[COL_SPEED]),
                                .track_cdeg = from_optional(v[COL_TRACK]),
                                .alt_dm = from_optional(v[COL_ALT]),
                                .hdop_d = from_optional(v[COL_HDOP]),
                                .satellites = (uint8_t)(v[COL_SATS] >> 2 & 63),
                                .mode = (uint8_t)(v[COL_SATS] & 3),
                                .doubt = (uint8_t)(v[COL_SATS] >> 8)};
    memcpy(r->last, v, sizeof r->last);
    r->n = 1;
    *in = at;
}

/* The fields of a message of varints, by number 1..n, into v[1..n]; v[n] is the last the caller has. */
static bool varints(struct in in, uint64_t *v, unsigned n)
{
    uint64_t key;
    while (in.at < in.end) {
        if (!get_varint(&in, &key))
            return false;
        uint64_t field = key >> 3;
        if ((key & 7) == VARINT && field >= 1 && field <= n) {
            if (!get_varint(&in, &v[field]))
                return false;
        } else if (!skip(&in, (unsigned)(key & 7))) {
            return false;
        }
    }
    return true;
}

static bool small(const uint64_t *v, unsigned n, uint64_t max)
{
    for (unsigned i = 1; i <= n; i++)
        if (v[i] > max)
            return false;
    return true;
}

static bool get_health(struct in in, struct event_health *h)
{
    uint64_t key, v;
    struct in body;
    *h = (struct event_health){0};
    while (in.at < in.end) {
        if (!get_varint(&in, &key))
            return false;
        unsigned type = (unsigned)(key & 7);
        uint64_t field = key >> 3;
        if (field == 1 && type == LEN) {
            if (!get_len(&in, &body) || body.end - body.at > EVENT_NAME_MAX)
                return false;
            memset(h->name, 0, sizeof h->name);
            memcpy(h->name, body.at, (size_t)(body.end - body.at));
        } else if (field >= 2 && field <= 4 && type == VARINT) {
            if (!get_varint(&in, &v) || (field < 4 && v > 255))
                return false;
            if (field == 2)
                h->device = (uint8_t)v;
            else if (field == 3)
                h->state = (uint8_t)v;
            else
                h->code = (int32_t)unzigzag(v);
        } else if (!skip(&in, type)) {
            return false;
        }
    }
    return true;
}

/* A kind with a table: field i + 1 of the message is field i of the table. */
static bool get_described(struct in in, struct event *e)
{
    size_t n = 0;
    const struct event_field *f = event_fields(e->kind, &n);
    for (size_t i = 0; i < n; i++)
        if (f[i].form == EVENT_FIELD_I32 && !event_field_set(e, &f[i], EVENT_UNKNOWN))
            return false;
    while (in.at < in.end) {
        uint64_t key, v;
        struct in body;
        if (!get_varint(&in, &key))
            return false;
        unsigned type = (unsigned)(key & 7);
        uint64_t field = (key >> 3) - 1;
        const struct event_field *one = field < n ? &f[field] : NULL;
        if (one != NULL && one->form == EVENT_FIELD_BYTES && type == LEN) {
            if (!get_len(&in, &body) || body.end - body.at != 16)
                return false;
            memcpy((char *)e + one->offset, body.at, 16);
        } else if (one != NULL && one->form != EVENT_FIELD_BYTES && type == VARINT) {
            if (!get_varint(&in, &v))
                return false;
            if (one->form == EVENT_FIELD_I32) {
                int64_t s = unzigzag(v);
                if (s < INT32_MIN || s > INT32_MAX || !event_field_set(e, one, from_optional((uint64_t)s)))
                    return false;
            } else if (!event_field_set(e, one, (int64_t)v)) {
                return false;
            }
        } else if (!skip(&in, type)) {
            return false;
        }
    }
    return true;
}

static bool get_body(struct event *e, uint64_t field, struct in in)
{
    uint64_t v[8] = {0};
    if (field > EVENT_TICK) {
        e->kind = (uint8_t)field;
        return get_described(in, e);
    }
    switch (field) {
    case 2:
        if (!varints(in, v, 7) || !small(v, 4, 255) || !small(v + 4, 3, INT32_MAX))
            return false;
        e->kind = EVENT_COUNT;
        e->count = (struct event_count){(uint8_t)v[1], (uint8_t)v[2], (uint8_t)v[3], (uint8_t)v[4], from_optional(v[5]),
                                        from_optional(v[6]),   from_optional(v[7])};
        return true;
    case 3:
        if (!varints(in, v, 2) || !small(v, 2, UINT32_MAX))
            return false;
        e->kind = EVENT_INPUTS;
        e->inputs = (struct event_inputs){(uint32_t)v[1], (uint32_t)v[2]};
        return true;
    case 4:
        if (!varints(in, v, 7) || v[1] > UINT32_MAX || !small(v + 1, 6, 255))
            return false;
        e->kind = EVENT_CAMERA;
        e->camera = (struct event_camera){(uint32_t)v[1], (uint8_t)v[2], (uint8_t)v[3], (uint8_t)v[4], (uint8_t)v[5], (uint8_t)v[6], (uint8_t)v[7]};
        return true;
    case 5: e->kind = EVENT_HEALTH; return get_health(in, &e->health);
    default:
        if (!varints(in, v, 2) || v[2] > 255)
            return false;
        e->kind = EVENT_CLOCK;
        e->clock_set = (struct event_clock_set){unzigzag(v[1]), (uint8_t)v[2]};
        return true;
    }
}

static bool get_event(struct in in, struct event *e)
{
    uint64_t key, v;
    struct in body;
    *e = (struct event){0};
    while (in.at < in.end) {
        if (!get_varint(&in, &key))
            return false;
        unsigned type = (unsigned)(key & 7);
        uint64_t field = key >> 3;
        if (field == 1 && type == VARINT) {
            if (!get_varint(&in, &v))
                return false;
            e->time_ms = unzigzag(v);
        } else if (field >= 2 && field < EVENT_KINDS && field != EVENT_TICK && type == LEN) {
            if (!get_len(&in, &body) || !get_body(e, field, body))
                return false;
        } else if (!skip(&in, type)) {
            return false;
        }
    }
    return e->kind != EVENT_NONE;
}

struct batch_parts {
    struct in kinds;
    struct rows rows;
    size_t others;
    uint64_t lane, first_seq, clock, backlog, skipped;
};

static const char *batch_field(struct wire_frame *f, struct batch_parts *p, uint64_t field, unsigned type, struct in *in)
{
    uint64_t v;
    struct in body;
    const char *fault = NULL;
    uint64_t *scalar = field == 1 ? &p->lane : field == 2 ? &p->first_seq : field == 6 ? &p->clock : field == 7 ? &p->backlog
                     : field == 8 ? &p->skipped : NULL;
    if (scalar != NULL && type == VARINT)
        return get_varint(in, scalar) ? NULL : "batch";
    if (field == 3 && type == LEN)
        return get_len(in, &p->kinds) ? NULL : "batch.kinds";
    if (field == 4 && type == VARINT) /* unpacked form: allowed by the format */
        return get_varint(in, &v) ? number(f, &p->rows, v) : "batch.fix";
    if (field == 4 && type == LEN) {
        if (!get_len(in, &body))
            return "batch.fix";
        if (p->rows.n == 0 && p->rows.col == 0)
            first_fix(&body, f, &p->rows);
        while (body.at < body.end && fault == NULL)
            fault = get_varint(&body, &v) ? number(f, &p->rows, v) : "batch.fix";
        return fault;
    }
    if (field == 5 && type == LEN) {
        if (p->others == WIRE_BATCH_MAX || !get_len(in, &body) || !get_event(body, &f->scratch[p->others]))
            return "batch.other";
        p->others++;
        return NULL;
    }
    return skip(in, type) ? NULL : "batch";
}

/* Put fixes (at the front of event[]) and the others into the order of `kinds`, from the back so that nothing is overwritten unread. */
static const char *interleave(struct wire_frame *f, struct batch_parts *p)
{
    struct wire_batch *b = &f->batch;
    size_t fixes = p->rows.n, others = p->others;
    size_t n = (size_t)(p->kinds.end - p->kinds.at);
    if (n == 0) {
        b->n = fixes;
        return others == 0 ? NULL : "batch.kinds";
    }
    if (n > WIRE_BATCH_MAX || n != fixes + others)
        return "batch.kinds";
    for (size_t i = n; i-- > 0;) {
        uint8_t kind = p->kinds.at[i];
        if (kind == EVENT_FIX) {
            if (fixes == 0)
                return "batch.kinds";
            b->event[i] = b->event[--fixes];
        } else {
            if (others == 0 || f->scratch[others - 1].kind != kind)
                return "batch.kinds";
            b->event[i] = f->scratch[--others];
        }
    }
    b->n = n;
    return NULL;
}

enum rc wire_batch_decode(const void *buf, size_t n, struct wire_frame *f, const char **ret_fault)
{
    struct in whole = {(const uint8_t *)buf + 1, (const uint8_t *)buf + n}, in;
    if (!get_len(&whole, &in) || whole.at != whole.end) { /* two batches in one frame are no frame of ours */
        *ret_fault = "frame";
        return RC_INVALID;
    }
    struct batch_parts p = {0};
    const char *fault = NULL;
    uint64_t key;
    while (in.at < in.end && fault == NULL)
        fault = get_varint(&in, &key) ? batch_field(f, &p, key >> 3, (unsigned)(key & 7), &in) : "batch";
    if (fault == NULL && p.rows.col != 0)
        fault = "batch.fix";
    if (fault == NULL)
        fault = interleave(f, &p);
    if (fault != NULL) {
        *ret_fault = fault;
        return p.rows.n == WIRE_BATCH_MAX || p.others == WIRE_BATCH_MAX ? RC_FULL : RC_INVALID;
    }
    struct wire_batch *b = &f->batch;
    f->kind = WIRE_BATCH;
    if (b->n == 0)
        fault = "batch.kinds";
    else if (p.lane >= EVENT_LANES)
        fault = "batch.lane";
    else if (p.first_seq < 1 || p.first_seq > UINT64_MAX / 2)
        fault = "batch.first_seq";
    else if (p.clock > EVENT_CLOCK_GNSS)
        fault = "batch.clock";
    else if (p.skipped >= p.first_seq)
        fault = "batch.skipped";
    for (size_t i = 0; i < b->n && fault == NULL; i++) {
        b->event[i].clock = wire_clock_in(p.clock);
        if (event_check(&b->event[i], &fault) == RC_OK)
            fault = NULL;
    }
    if (fault != NULL) {
        *ret_fault = fault;
        return RC_RANGE;
    }
    b->lane = (uint8_t)p.lane;
    b->backlog = p.backlog != 0;
    b->first_seq = p.first_seq;
    b->skipped = p.skipped;
    return RC_OK;
}

/* --- putting a batch together --- */

struct out {
    uint8_t *at, *end;
    bool full;
};

static void put_varint(struct out *o, uint64_t v)
{
    do {
        if (o->at == o->end) {
            o->full = true;
            return;
        }
        *o->at++ = (uint8_t)(v >= 0x80 ? (v & 0x7f) | 0x80 : v);
        v >>= 7;
    } while (v != 0);
}

static void put_field(struct out *o, unsigned field, uint64_t v)
{
    if (v != 0) {
        put_varint(o, (uint64_t)field << 3 | VARINT);
        put_varint(o, v);
    }
}

static void put_bytes(struct out *o, unsigned field, const void *bytes, size_t n)
{
    put_varint(o, (uint64_t)field << 3 | LEN);
    put_varint(o, n);
    if ((size_t)(o->end - o->at) < n) {
        o->full = true;
        return;
    }
    memcpy(o->at, bytes, n);
    o->at += n;
}

/* A length is known only when its content is written: leave room for the usual size and move the content where it was not enough. */
static uint8_t *open_len(struct out *o, unsigned field)
{
    put_varint(o, (uint64_t)field << 3 | LEN);
    if (o->at == o->end)
        o->full = true;
    else
        o->at++;
    return o->at;
}

static void close_len(struct out *o, uint8_t *start)
{
    if (o->full)
        return;
    size_t n = (size_t)(o->at - start), extra = 0;
    for (size_t v = n >> 7; v != 0; v >>= 7)
        extra++;
    if ((size_t)(o->end - o->at) < extra) {
        o->full = true;
        return;
    }
    memmove(start + extra, start, n);
    struct out head = {start - 1, start + extra, false};
    put_varint(&head, n);
    o->at += extra;
}

static void put_described(struct out *o, const struct event *e)
{
    size_t n = 0;
    const struct event_field *f = event_fields(e->kind, &n);
    for (unsigned i = 0; i < n; i++) {
        int64_t v = event_field_value(e, &f[i]);
        if (f[i].form == EVENT_FIELD_BYTES)
            put_bytes(o, i + 1, (const char *)e + f[i].offset, 16);
        else if (f[i].form == EVENT_FIELD_I32)
            put_field(o, i + 1, zigzag((int64_t)to_optional((int32_t)v)));
        else
            put_field(o, i + 1, (uint64_t)v);
    }
}

static void put_event(struct out *o, const struct event *e)
{
    uint8_t *event = open_len(o, 5);
    put_field(o, 1, zigzag(e->time_ms));
    uint8_t *body = open_len(o, e->kind); /* Event's fields have the numbers of the kinds */
    switch (e->kind) {
    case EVENT_COUNT:
        put_field(o, 1, e->count.source);
        put_field(o, 2, e->count.door);
        put_field(o, 3, e->count.flags);
        put_field(o, 4, e->count.confidence_pct);
        put_field(o, 5, to_optional(e->count.boarded));
        put_field(o, 6, to_optional(e->count.alighted));
        put_field(o, 7, to_optional(e->count.aboard));
        break;
    case EVENT_INPUTS:
        put_field(o, 1, e->inputs.state);
        put_field(o, 2, e->inputs.known);
        break;
    case EVENT_CAMERA:
        put_field(o, 1, e->camera.alarm_id);
        put_field(o, 2, e->camera.unit);
        put_field(o, 3, e->camera.phase);
        put_field(o, 4, e->camera.type);
        put_field(o, 5, e->camera.degree);
        put_field(o, 6, e->camera.speed_kmh);
        put_field(o, 7, e->camera.media);
        break;
    case EVENT_HEALTH:
        put_bytes(o, 1, e->health.name, strlen(e->health.name));
        put_field(o, 2, e->health.device);
        put_field(o, 3, e->health.state);
        put_field(o, 4, zigzag(e->health.code));
        break;
    case EVENT_CLOCK:
        put_field(o, 1, zigzag(e->clock_set.offset_ms));
        put_field(o, 2, e->clock_set.quality);
        break;
    default: put_described(o, e);
    }
    close_len(o, body);
    close_len(o, event);
}

static void put_fixes(struct out *o, const struct event *e, size_t n)
{
    struct rows r = {0};
    uint8_t *start = NULL;
    for (size_t i = 0; i < n; i++) {
        if (e[i].kind != EVENT_FIX)
            continue;
        if (start == NULL)
            start = open_len(o, 4);
        for (unsigned c = 0; c < COLS; c++) {
            put_varint(o, zigzag((int64_t)row_diff(&r, take_fix(&e[i], c))));
            row_next(&r);
        }
    }
    if (start != NULL)
        close_len(o, start);
}

enum rc wire_encode_batch(enum event_lane lane, uint64_t first_seq, bool backlog, const struct event *e, size_t n, void *buf, size_t cap, size_t *ret_len)
{
    return wire_encode_batch_after(lane, first_seq, 0, backlog, e, n, buf, cap, ret_len);
}

enum rc wire_encode_batch_after(enum event_lane lane, uint64_t first_seq, uint64_t skipped, bool backlog, const struct event *e, size_t n, void *buf,
                                size_t cap, size_t *ret_len)
{
    const char *fault;
    bool fixes_only = true;
    if (n < 1 || n > WIRE_BATCH_MAX || first_seq < 1 || skipped >= first_seq)
        return RC_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (e[i].clock != e[0].clock || e[i].kind == EVENT_TICK)
            return RC_INVALID;
        if (event_check(&e[i], &fault) != RC_OK)
            return RC_RANGE;
        fixes_only = fixes_only && e[i].kind == EVENT_FIX;
    }
    struct out o = {buf, (uint8_t *)buf + (cap < WIRE_FRAME_MAX ? cap : WIRE_FRAME_MAX), false};
    uint8_t *frame = open_len(&o, WIRE_BATCH_TAG >> 3);
    put_field(&o, 1, lane);
    put_field(&o, 2, first_seq);
    if (!fixes_only) {
        uint8_t kinds[WIRE_BATCH_MAX];
        for (size_t i = 0; i < n; i++)
            kinds[i] = e[i].kind;
        put_bytes(&o, 3, kinds, n);
    }
    put_fixes(&o, e, n);
    for (size_t i = 0; i < n && !o.full; i++)
        if (e[i].kind != EVENT_FIX)
            put_event(&o, &e[i]);
    put_field(&o, 6, wire_clock_out(e[0].clock));
    put_field(&o, 7, backlog);
    put_field(&o, 8, skipped);
    close_len(&o, frame);
    if (o.full)
        return RC_FULL;
    *ret_len = (size_t)(o.at - (uint8_t *)buf);
    return RC_OK;
}
