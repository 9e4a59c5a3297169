#include "wire.h"
#include "wire_batch.h"
#include "wire_talk.h"

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

/* --- the conversation, by protobuf-c --- */

struct arena {
    alignas(16) uint8_t room[WIRE_MEDIA_DATA_MAX + 4096];
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

bool wire_talk_text(char *out, size_t max, const char *in)
{
    size_t n = strlen(in);
    if (n > max)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)in[i] < 0x20)
            return false;
    memcpy(out, in, n + 1);
    return true;
}

static bool copy_text(char out[WIRE_TEXT_MAX + 1], const char *in)
{
    return wire_talk_text(out, WIRE_TEXT_MAX, in);
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
    h->clock = wire_clock_in(m->clock);
    h->config = m->config;
    h->duty_bundle = m->duty_bundle;
    h->law_bundle = m->law_bundle;
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

static const char *get_media_part(const Schoolward__MediaPart *m, struct wire_media_part *p)
{
    const int64_t time_max_ms = 4102444800000LL; /* 2100, as event_check() */
    if (m->sha256.len != WIRE_SHA256)
        return "media_part.sha256";
    if (m->bytes < 1 || m->bytes > WIRE_MEDIA_MAX)
        return "media_part.bytes";
    if (m->data.len > WIRE_MEDIA_DATA_MAX)
        return "media_part.data";
    if (m->offset > m->bytes || m->data.len > m->bytes - m->offset)
        return "media_part.offset";
    if (m->time_ms < 0 || m->time_ms > time_max_ms)
        return "media_part.time_ms";
    if (m->unit < EVENT_CAMERA_ADAS || m->unit > EVENT_CAMERA_BSD)
        return "media_part.unit";
    if (m->type > EVENT_MEDIA_VIDEO)
        return "media_part.type";
    memcpy(p->sha256, m->sha256.data, WIRE_SHA256);
    p->bytes = m->bytes;
    p->offset = m->offset;
    p->n = (uint32_t)m->data.len;
    p->time_ms = m->time_ms;
    p->id = m->id;
    p->alarm_id = m->alarm_id;
    p->unit = (uint8_t)m->unit;
    p->type = (uint8_t)m->type;
    if (p->n > 0)
        memcpy(p->data, m->data.data, p->n);
    return NULL;
}

static const char *get_media_ack(const Schoolward__MediaAck *m, struct wire_media_ack *a)
{
    if (m->sha256.len != WIRE_SHA256)
        return "media_ack.sha256";
    if (m->next > WIRE_MEDIA_MAX)
        return "media_ack.next";
    if (m->state > WIRE_MEDIA_LATER)
        return "media_ack.state";
    memcpy(a->sha256, m->sha256.data, WIRE_SHA256);
    a->next = m->next;
    a->state = (uint8_t)m->state;
    return copy_text(a->reason, m->reason) ? NULL : "media_ack.reason";
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
        fault = wire_talk_order(m->order, &f->order);
        break;
    case SCHOOLWARD__FRAME__BODY_ORDER_RESULT:
        f->kind = WIRE_ORDER_RESULT;
        fault = wire_talk_order_result(m->order_result, &f->order_result);
        break;
    case SCHOOLWARD__FRAME__BODY_REPORT:
        f->kind = WIRE_REPORT;
        fault = wire_talk_report(m->report, &f->report);
        break;
    case SCHOOLWARD__FRAME__BODY_ENROL:
        f->kind = WIRE_ENROL;
        fault = wire_talk_enrol(m->enrol, &f->enrol);
        break;
    case SCHOOLWARD__FRAME__BODY_ENROLLED:
        f->kind = WIRE_ENROLLED;
        fault = wire_talk_enrolled(m->enrolled, &f->enrolled);
        break;
    case SCHOOLWARD__FRAME__BODY_MEDIA_PART:
        f->kind = WIRE_MEDIA_PART;
        fault = get_media_part(m->media_part, &f->media_part);
        break;
    case SCHOOLWARD__FRAME__BODY_MEDIA_ACK:
        f->kind = WIRE_MEDIA_ACK;
        fault = get_media_ack(m->media_ack, &f->media_ack);
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
    /* Usual case: one field, the batch. Anything else takes the slow road. */
    if (n > 0 && *(const uint8_t *)buf == WIRE_BATCH_TAG)
        return wire_batch_decode(buf, n, f, ret_fault);
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

enum rc wire_talk_pack(const Schoolward__Frame *m, void *buf, size_t cap, size_t *ret_len)
{
    size_t n = schoolward__frame__get_packed_size(m);
    if (n > cap)
        return RC_FULL;
    *ret_len = schoolward__frame__pack(m, buf);
    return RC_OK;
}

char *wire_talk_text_of(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

enum rc wire_encode_hello(const struct wire_hello *h, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__Hello b;
    schoolward__hello__init(&b);
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
    b.gateway = wire_talk_text_of(h->gateway);
    b.boot = wire_talk_text_of(h->boot);
    b.firmware = wire_talk_text_of(h->firmware);
    b.duty = wire_talk_text_of(h->duty);
    b.law = wire_talk_text_of(h->law);
    b.lanes = lanes;
    b.n_lanes = EVENT_LANES;
    b.time_ms = h->time_ms;
    b.clock = wire_clock_out(h->clock);
    b.config = h->config;
    b.duty_bundle = h->duty_bundle;
    b.law_bundle = h->law_bundle;
    m.body_case = SCHOOLWARD__FRAME__BODY_HELLO;
    m.hello = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
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
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__Welcome b;
    schoolward__welcome__init(&b);
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
    return wire_talk_pack(&m, buf, cap, ret_len);
}

enum rc wire_encode_ack(const struct wire_ack *a, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    struct ack_parts part;
    enum rc rc = fill_ack(a, &part);
    if (rc != RC_OK)
        return rc;
    m.body_case = SCHOOLWARD__FRAME__BODY_ACK;
    m.ack = &part.ack;
    return wire_talk_pack(&m, buf, cap, ret_len);
}

/* protobuf-c wants uint8_t *, never writes to it when packing. */
static ProtobufCBinaryData bytes_of(const void *p, size_t n)
{
    union {
        const void *in;
        uint8_t *out;
    } u = {.in = p};
    return (ProtobufCBinaryData){.len = n, .data = u.out};
}

enum rc wire_encode_media_part(const struct wire_media_part *p, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__MediaPart b;
    schoolward__media_part__init(&b);
    if (p->bytes < 1 || p->bytes > WIRE_MEDIA_MAX || p->n > WIRE_MEDIA_DATA_MAX || p->offset > p->bytes || p->n > p->bytes - p->offset ||
        p->unit < EVENT_CAMERA_ADAS || p->unit > EVENT_CAMERA_BSD || p->type > EVENT_MEDIA_VIDEO || p->time_ms < 0)
        return RC_RANGE;
    b.sha256 = bytes_of(p->sha256, WIRE_SHA256);
    b.bytes = p->bytes;
    b.offset = p->offset;
    b.data = bytes_of(p->data, p->n);
    b.time_ms = p->time_ms;
    b.unit = p->unit;
    b.type = p->type;
    b.id = p->id;
    b.alarm_id = p->alarm_id;
    m.body_case = SCHOOLWARD__FRAME__BODY_MEDIA_PART;
    m.media_part = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
}

enum rc wire_encode_media_ack(const struct wire_media_ack *a, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__MediaAck b;
    schoolward__media_ack__init(&b);
    if (a->next > WIRE_MEDIA_MAX || a->state > WIRE_MEDIA_LATER)
        return RC_RANGE;
    b.sha256 = bytes_of(a->sha256, WIRE_SHA256);
    b.next = a->next;
    b.state = a->state;
    b.reason = wire_talk_text_of(a->reason);
    m.body_case = SCHOOLWARD__FRAME__BODY_MEDIA_ACK;
    m.media_ack = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
}
