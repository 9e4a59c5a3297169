#include "wire.h"

#include <stdalign.h>
#include <string.h>

#include "schoolward.pb-c.h"

/* --- settled sets --- */

enum rc wire_settle(struct wire_settled *s, uint64_t from, uint64_t to)
{
    if (from < 1 || to < from)
        return RC_INVALID;
    if (to <= s->through)
        return RC_OK;
    if (from <= s->through + 1) {
        size_t gone = 0;
        s->through = to;
        while (gone < s->ranges && s->range[gone].from <= s->through + 1) {
            if (s->range[gone].to > s->through)
                s->through = s->range[gone].to;
            gone++;
        }
        s->ranges -= gone;
        memmove(s->range, s->range + gone, s->ranges * sizeof s->range[0]);
        return RC_OK;
    }
    size_t i = 0; /* first range that is not wholly below, with a gap, what is added */
    while (i < s->ranges && s->range[i].to + 1 < from)
        i++;
    size_t j = i; /* first range wholly above it, with a gap */
    while (j < s->ranges && s->range[j].from <= to + 1)
        j++;
    if (i == j) {
        if (s->ranges == WIRE_RANGES_MAX)
            return RC_FULL;
        memmove(s->range + i + 1, s->range + i, (s->ranges - i) * sizeof s->range[0]);
        s->range[i] = (struct wire_range){from, to};
        s->ranges++;
        return RC_OK;
    }
    if (s->range[i].from < from)
        from = s->range[i].from;
    if (s->range[j - 1].to > to)
        to = s->range[j - 1].to;
    s->range[i] = (struct wire_range){from, to};
    memmove(s->range + i + 1, s->range + j, (s->ranges - j) * sizeof s->range[0]);
    s->ranges -= j - i - 1;
    return RC_OK;
}

bool wire_is_settled(const struct wire_settled *s, uint64_t seq)
{
    if (seq <= s->through)
        return true;
    for (size_t i = 0; i < s->ranges && s->range[i].from <= seq; i++)
        if (seq <= s->range[i].to)
            return true;
    return false;
}

/* --- Protocol Buffers' own primitives (protobuf.dev, "Encoding") --- */

enum { VARINT = 0, I64 = 1, LEN = 2, I32 = 5 };

struct in {
    const uint8_t *at, *end;
};

static bool get_varint(struct in *in, uint64_t *ret)
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
        if (v > 255)
            return false;
        f->satellites = (uint8_t)(v >> 2);
        f->mode = (uint8_t)(v & 3);
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
    default: return ((uint64_t)f->satellites << 2) | f->mode;
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

static bool get_body(struct event *e, uint64_t field, struct in in)
{
    uint64_t v[8] = {0};
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
        } else if (field >= 2 && field <= 6 && type == LEN) {
            if (!get_len(&in, &body) || !get_body(e, field, body))
                return false;
        } else if (!skip(&in, type)) {
            return false;
        }
    }
    return e->kind != EVENT_NONE;
}

/* Quality on the wire counts from the trusted one, so that the usual case costs no byte. */
static uint8_t clock_from_wire(uint64_t v)
{
    return v == 0 ? EVENT_CLOCK_GNSS : (uint8_t)(v - 1);
}

static uint32_t clock_to_wire(uint8_t clock)
{
    return clock == EVENT_CLOCK_GNSS ? 0 : clock + 1U;
}

struct batch_parts {
    struct in kinds;
    struct rows rows;
    size_t others;
    uint64_t lane, first_seq, clock, backlog;
};

static const char *batch_field(struct wire_frame *f, struct batch_parts *p, uint64_t field, unsigned type, struct in *in)
{
    uint64_t v;
    struct in body;
    const char *fault = NULL;
    uint64_t *scalar = field == 1 ? &p->lane : field == 2 ? &p->first_seq : field == 6 ? &p->clock : field == 7 ? &p->backlog : NULL;
    if (scalar != NULL && type == VARINT)
        return get_varint(in, scalar) ? NULL : "batch";
    if (field == 3 && type == LEN)
        return get_len(in, &p->kinds) ? NULL : "batch.kinds";
    if (field == 4 && type == VARINT) /* unpacked form: allowed by the format */
        return get_varint(in, &v) ? number(f, &p->rows, v) : "batch.fix";
    if (field == 4 && type == LEN) {
        if (!get_len(in, &body))
            return "batch.fix";
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

static enum rc get_batch(struct in in, struct wire_frame *f, const char **ret_fault)
{
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
    for (size_t i = 0; i < b->n && fault == NULL; i++) {
        b->event[i].clock = clock_from_wire(p.clock);
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

static void put_event(struct out *o, const struct event *e)
{
    static const uint8_t body_field[] = {[EVENT_COUNT] = 2, [EVENT_INPUTS] = 3, [EVENT_CAMERA] = 4, [EVENT_HEALTH] = 5, [EVENT_CLOCK] = 6};
    uint8_t *event = open_len(o, 5);
    put_field(o, 1, zigzag(e->time_ms));
    uint8_t *body = open_len(o, body_field[e->kind]);
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
    default:
        put_field(o, 1, zigzag(e->clock_set.offset_ms));
        put_field(o, 2, e->clock_set.quality);
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
    const char *fault;
    bool fixes_only = true;
    if (n < 1 || n > WIRE_BATCH_MAX || first_seq < 1)
        return RC_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (e[i].clock != e[0].clock || e[i].kind == EVENT_TICK)
            return RC_INVALID;
        if (event_check(&e[i], &fault) != RC_OK)
            return RC_RANGE;
        fixes_only = fixes_only && e[i].kind == EVENT_FIX;
    }
    struct out o = {buf, (uint8_t *)buf + (cap < WIRE_FRAME_MAX ? cap : WIRE_FRAME_MAX), false};
    uint8_t *frame = open_len(&o, 1);
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
    put_field(&o, 6, clock_to_wire(e[0].clock));
    put_field(&o, 7, backlog);
    close_len(&o, frame);
    if (o.full)
        return RC_FULL;
    *ret_len = (size_t)(o.at - (uint8_t *)buf);
    return RC_OK;
}

/* --- the conversation, by protobuf-c --- */

struct arena {
    alignas(16) uint8_t room[16384];
    size_t used;
};

static void *arena_alloc(void *data, size_t size)
{
    struct arena *a = data;
    size_t at = (a->used + 15) & ~(size_t)15;
    if (size > sizeof a->room - at || at > sizeof a->room)
        return NULL;
    a->used = at + size;
    return a->room + at;
}

static void arena_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer; /* the arena goes as a whole */
}

static bool copy_text(char out[WIRE_TEXT_MAX + 1], const char *in)
{
    size_t n = strlen(in);
    if (n > WIRE_TEXT_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)in[i] < 0x20)
            return false;
    memcpy(out, in, n + 1);
    return true;
}

static const char *get_ack(const Schoolward__Ack *m, struct wire_ack *a)
{
    if (m->lane >= EVENT_LANES)
        return "ack.lane";
    if (m->n_ranges > WIRE_RANGES_MAX)
        return "ack.ranges";
    a->lane = (uint8_t)m->lane;
    a->through = m->through;
    a->ranges = m->n_ranges;
    uint64_t floor = m->through;
    for (size_t i = 0; i < m->n_ranges; i++) {
        a->range[i] = (struct wire_range){m->ranges[i]->from, m->ranges[i]->to};
        if (floor > UINT64_MAX - 2 || a->range[i].from < floor + 2 || a->range[i].to < a->range[i].from)
            return "ack.ranges";
        floor = a->range[i].to;
    }
    return NULL;
}

static const char *get_hello(const Schoolward__Hello *m, struct wire_hello *h)
{
    *h = (struct wire_hello){.version = m->version, .time_ms = m->time_ms};
    if (m->clock > EVENT_CLOCK_GNSS)
        return "hello.clock";
    h->clock = clock_from_wire(m->clock);
    if (!copy_text(h->gateway, m->gateway) || h->gateway[0] == '\0')
        return "hello.gateway";
    if (!copy_text(h->boot, m->boot))
        return "hello.boot";
    if (!copy_text(h->firmware, m->firmware))
        return "hello.firmware";
    if (!copy_text(h->duty, m->duty))
        return "hello.duty";
    if (!copy_text(h->law, m->law))
        return "hello.law";
    for (size_t i = 0; i < m->n_lanes; i++) {
        const Schoolward__Lane *l = m->lanes[i];
        if (l->lane >= EVENT_LANES || l->first_seq > l->last_seq + 1)
            return "hello.lanes";
        h->lane[l->lane] = (struct wire_lane){l->first_seq, l->last_seq};
    }
    return NULL;
}

static const char *get_welcome(const Schoolward__Welcome *m, struct wire_welcome *w)
{
    *w = (struct wire_welcome){.version = m->version, .time_ms = m->time_ms, .max_frame = m->max_frame};
    for (size_t i = 0; i < EVENT_LANES; i++)
        w->ack[i].lane = (uint8_t)i;
    for (size_t i = 0; i < m->n_acks; i++) {
        if (m->acks[i]->lane >= EVENT_LANES)
            return "welcome.acks";
        const char *fault = get_ack(m->acks[i], &w->ack[m->acks[i]->lane]);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

static const char *get_order(const Schoolward__Order *m, struct wire_order *o)
{
    *o = (struct wire_order){.id = m->id};
    switch (m->body_case) {
    case SCHOOLWARD__ORDER__BODY_TEXT: {
        size_t n = strlen(m->text);
        if (n > WIRE_ORDER_TEXT_MAX)
            return "order.text";
        o->kind = WIRE_ORDER_TEXT;
        memcpy(o->text, m->text, n + 1);
        return NULL;
    }
    case SCHOOLWARD__ORDER__BODY_BUZZER_MS:
        o->kind = WIRE_ORDER_BUZZER;
        o->buzzer_ms = m->buzzer_ms;
        return m->buzzer_ms <= 60000 ? NULL : "order.buzzer_ms";
    case SCHOOLWARD__ORDER__BODY_LOCATE: o->kind = WIRE_ORDER_LOCATE; return NULL;
    default: return "order.body";
    }
}

static enum rc get_talk(const Schoolward__Frame *m, struct wire_frame *f, const char **ret_fault)
{
    const char *fault = NULL;
    switch (m->body_case) {
    case SCHOOLWARD__FRAME__BODY_HELLO:
        f->kind = WIRE_HELLO;
        if (m->hello->version != WIRE_VERSION) {
            *ret_fault = "hello.version";
            return RC_UNSUPPORTED;
        }
        fault = get_hello(m->hello, &f->hello);
        break;
    case SCHOOLWARD__FRAME__BODY_WELCOME:
        f->kind = WIRE_WELCOME;
        fault = get_welcome(m->welcome, &f->welcome);
        break;
    case SCHOOLWARD__FRAME__BODY_ACK:
        f->kind = WIRE_ACK;
        fault = get_ack(m->ack, &f->ack);
        break;
    case SCHOOLWARD__FRAME__BODY_ORDER:
        f->kind = WIRE_ORDER;
        fault = get_order(m->order, &f->order);
        break;
    case SCHOOLWARD__FRAME__BODY_ORDER_RESULT:
        f->kind = WIRE_ORDER_RESULT;
        f->order_result = (struct wire_order_result){.id = m->order_result->id, .done = m->order_result->done};
        fault = copy_text(f->order_result.message, m->order_result->message) ? NULL : "order_result.message";
        break;
    default: fault = "frame";
    }
    if (fault == NULL)
        return RC_OK;
    *ret_fault = fault;
    return RC_RANGE;
}

enum rc wire_decode(const void *buf, size_t n, struct wire_frame *f, const char **ret_fault)
{
    if (n > WIRE_FRAME_MAX) {
        *ret_fault = "frame";
        return RC_FULL;
    }
    struct in in = {buf, (const uint8_t *)buf + n}, body;
    uint64_t key;
    /* Usual case: one field, the batch. Anything else in the frame takes the slow road, and two batches in one frame are no frame of ours. */
    if (n > 0 && *in.at == (1 << 3 | LEN)) {
        if (get_varint(&in, &key) && get_len(&in, &body) && in.at == in.end)
            return get_batch(body, f, ret_fault);
        *ret_fault = "frame";
        return RC_INVALID;
    }
    struct arena arena;
    arena.used = 0;
    ProtobufCAllocator allocator = {arena_alloc, arena_free, &arena};
    Schoolward__Frame *m = schoolward__frame__unpack(&allocator, n, buf);
    if (m == NULL) {
        *ret_fault = "frame";
        return RC_INVALID;
    }
    return get_talk(m, f, ret_fault);
}

static enum rc pack(const Schoolward__Frame *m, void *buf, size_t cap, size_t *ret_len)
{
    size_t n = schoolward__frame__get_packed_size(m);
    if (n > cap)
        return RC_FULL;
    *ret_len = schoolward__frame__pack(m, buf);
    return RC_OK;
}

/* protobuf-c wants char *, never writes to it when packing. */
static char *text_of(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

enum rc wire_encode_hello(const struct wire_hello *h, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m = SCHOOLWARD__FRAME__INIT;
    Schoolward__Hello b = SCHOOLWARD__HELLO__INIT;
    Schoolward__Lane lane[EVENT_LANES], *lanes[EVENT_LANES];
    if (h->gateway[0] == '\0')
        return RC_RANGE;
    for (uint32_t i = 0; i < EVENT_LANES; i++) {
        schoolward__lane__init(&lane[i]);
        lane[i].lane = i;
        lane[i].first_seq = h->lane[i].first_seq;
        lane[i].last_seq = h->lane[i].last_seq;
        lanes[i] = &lane[i];
    }
    b.version = h->version;
    b.gateway = text_of(h->gateway);
    b.boot = text_of(h->boot);
    b.firmware = text_of(h->firmware);
    b.duty = text_of(h->duty);
    b.law = text_of(h->law);
    b.lanes = lanes;
    b.n_lanes = EVENT_LANES;
    b.time_ms = h->time_ms;
    b.clock = clock_to_wire(h->clock);
    m.body_case = SCHOOLWARD__FRAME__BODY_HELLO;
    m.hello = &b;
    return pack(&m, buf, cap, ret_len);
}

struct ack_parts {
    Schoolward__Ack ack;
    Schoolward__Range range[WIRE_RANGES_MAX], *ranges[WIRE_RANGES_MAX];
};

static enum rc fill_ack(const struct wire_ack *a, struct ack_parts *p)
{
    schoolward__ack__init(&p->ack);
    if (a->lane >= EVENT_LANES || a->ranges > WIRE_RANGES_MAX)
        return RC_RANGE;
    for (size_t i = 0; i < a->ranges; i++) {
        schoolward__range__init(&p->range[i]);
        p->range[i].from = a->range[i].from;
        p->range[i].to = a->range[i].to;
        p->ranges[i] = &p->range[i];
    }
    p->ack.lane = a->lane;
    p->ack.through = a->through;
    p->ack.n_ranges = a->ranges;
    p->ack.ranges = p->ranges;
    return RC_OK;
}

enum rc wire_encode_welcome(const struct wire_welcome *w, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m = SCHOOLWARD__FRAME__INIT;
    Schoolward__Welcome b = SCHOOLWARD__WELCOME__INIT;
    struct ack_parts part[EVENT_LANES];
    Schoolward__Ack *acks[EVENT_LANES];
    for (size_t i = 0; i < EVENT_LANES; i++) {
        enum rc rc = fill_ack(&w->ack[i], &part[i]);
        if (rc != RC_OK)
            return rc;
        acks[i] = &part[i].ack;
    }
    b.version = w->version;
    b.time_ms = w->time_ms;
    b.max_frame = w->max_frame;
    b.acks = acks;
    b.n_acks = EVENT_LANES;
    m.body_case = SCHOOLWARD__FRAME__BODY_WELCOME;
    m.welcome = &b;
    return pack(&m, buf, cap, ret_len);
}

enum rc wire_encode_ack(const struct wire_ack *a, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m = SCHOOLWARD__FRAME__INIT;
    struct ack_parts part;
    enum rc rc = fill_ack(a, &part);
    if (rc != RC_OK)
        return rc;
    m.body_case = SCHOOLWARD__FRAME__BODY_ACK;
    m.ack = &part.ack;
    return pack(&m, buf, cap, ret_len);
}

enum rc wire_encode_order(const struct wire_order *o, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m = SCHOOLWARD__FRAME__INIT;
    Schoolward__Order b = SCHOOLWARD__ORDER__INIT;
    b.id = o->id;
    switch (o->kind) {
    case WIRE_ORDER_TEXT:
        b.body_case = SCHOOLWARD__ORDER__BODY_TEXT;
        b.text = text_of(o->text);
        break;
    case WIRE_ORDER_BUZZER:
        if (o->buzzer_ms > 60000)
            return RC_RANGE;
        b.body_case = SCHOOLWARD__ORDER__BODY_BUZZER_MS;
        b.buzzer_ms = o->buzzer_ms;
        break;
    case WIRE_ORDER_LOCATE:
        b.body_case = SCHOOLWARD__ORDER__BODY_LOCATE;
        b.locate = 1;
        break;
    default: return RC_RANGE;
    }
    m.body_case = SCHOOLWARD__FRAME__BODY_ORDER;
    m.order = &b;
    return pack(&m, buf, cap, ret_len);
}

enum rc wire_encode_order_result(const struct wire_order_result *r, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m = SCHOOLWARD__FRAME__INIT;
    Schoolward__OrderResult b = SCHOOLWARD__ORDER_RESULT__INIT;
    b.id = r->id;
    b.done = r->done;
    b.message = text_of(r->message);
    m.body_case = SCHOOLWARD__FRAME__BODY_ORDER_RESULT;
    m.order_result = &b;
    return pack(&m, buf, cap, ret_len);
}
