#include "wire_talk.h"

#include <string.h>

#define BUZZER_MS_MAX 60000

/* --- texts --- */

/* One character of UTF-8 (RFC 3629: shortest form, no surrogates); 0 if it is none. */
static size_t utf8(const unsigned char *s, uint32_t *ret_c)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0)
        return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *ret_c = c;
    return n;
}

bool wire_text_good(const char *s)
{
    const unsigned char *at = (const unsigned char *)s;
    size_t chars = 0;
    for (uint32_t c; *at != '\0'; chars++) {
        size_t n = utf8(at, &c);
        if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            return false;
        /* line and paragraph separators, marks and overrides of direction (Unicode 15, Bidi_Control), the byte order mark */
        if (c == 0x061c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff)
            return false;
        at += n;
    }
    return chars >= 1 && chars <= WIRE_ORDER_TEXT_CHARS;
}

/* A secret or a code: printable, no blanks. */
static bool printable(const char *s, size_t min, size_t max)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= 0x20 || s[i] > 0x7e)
            return false;
    return n >= min && n <= max;
}

static ProtobufCBinaryData bytes_of(const uint8_t *p, size_t n)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } u = {.in = p};
    return (ProtobufCBinaryData){.len = n, .data = u.out};
}

/* --- orders --- */

static const char *get_bundle(const Schoolward__Bundle *m, struct wire_bundle *b)
{
    if (m->kind < 1 || m->kind > WIRE_BUNDLE_KINDS)
        return "bundle.kind";
    if (m->version < 1 || m->version > INT64_MAX)
        return "bundle.version";
    if (m->size < 1 || m->size > WIRE_BUNDLE_MAX)
        return "bundle.size";
    if (m->body.len < 1 || m->body.len > WIRE_BUNDLE_PIECE)
        return "bundle.body";
    if (m->offset >= m->size || m->body.len > m->size - m->offset)
        return "bundle.offset";
    if (m->sha256.len != sizeof b->sha256)
        return "bundle.sha256";
    if (m->signature.len != sizeof b->signature)
        return "bundle.signature";
    b->kind = (uint8_t)m->kind;
    b->version = m->version;
    b->size = m->size;
    b->offset = m->offset;
    b->n = (uint32_t)m->body.len;
    memcpy(b->sha256, m->sha256.data, sizeof b->sha256);
    memcpy(b->signature, m->signature.data, sizeof b->signature);
    memcpy(b->body, m->body.data, m->body.len);
    return NULL;
}

const char *wire_talk_order(const Schoolward__Order *m, struct wire_order *o)
{
    o->id = m->id;
    o->expires_ms = m->expires_ms;
    o->number = 0;
    o->text[0] = '\0';
    if (m->id < 1 || m->id > INT64_MAX)
        return "order.id";
    if (m->expires_ms < 0)
        return "order.expires_ms";
    switch (m->body_case) {
    case SCHOOLWARD__ORDER__BODY_TEXT:
        o->kind = WIRE_ORDER_TEXT;
        if (!wire_text_good(m->text))
            return "order.text";
        memcpy(o->text, m->text, strlen(m->text) + 1);
        return NULL;
    case SCHOOLWARD__ORDER__BODY_BUZZER_MS:
        o->kind = WIRE_ORDER_BUZZER;
        o->number = m->buzzer_ms;
        return m->buzzer_ms <= BUZZER_MS_MAX ? NULL : "order.buzzer_ms";
    case SCHOOLWARD__ORDER__BODY_LOCATE: o->kind = WIRE_ORDER_LOCATE; return NULL;
    case SCHOOLWARD__ORDER__BODY_SNAPSHOT:
        o->kind = WIRE_ORDER_SNAPSHOT;
        o->number = m->snapshot;
        return m->snapshot == 0 || (m->snapshot >= EVENT_CAMERA_ADAS && m->snapshot <= EVENT_CAMERA_BSD) ? NULL : "order.snapshot";
    case SCHOOLWARD__ORDER__BODY_RESTART_DEVICE:
        o->kind = WIRE_ORDER_RESTART;
        return m->restart_device[0] != '\0' && wire_talk_text(o->text, EVENT_NAME_MAX, m->restart_device) ? NULL : "order.restart_device";
    case SCHOOLWARD__ORDER__BODY_BUNDLE: o->kind = WIRE_ORDER_BUNDLE; return get_bundle(m->bundle, &o->bundle);
    case SCHOOLWARD__ORDER__BODY_ROTATE:
        o->kind = WIRE_ORDER_ROTATE;
        if (!printable(m->rotate, WIRE_SECRET_MIN, WIRE_SECRET_MAX))
            return "order.rotate";
        memcpy(o->text, m->rotate, strlen(m->rotate) + 1);
        return NULL;
    default: return "order.body";
    }
}

const char *wire_talk_order_result(const Schoolward__OrderResult *m, struct wire_order_result *r)
{
    r->id = m->id;
    r->done = m->done;
    return wire_talk_text(r->message, WIRE_RESULT_MAX, m->message) ? NULL : "order_result.message";
}

enum rc wire_encode_order(const struct wire_order *o, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__Order b;
    schoolward__order__init(&b);
    Schoolward__Bundle piece;
    schoolward__bundle__init(&piece);
    if (o->id < 1 || o->id > INT64_MAX || o->expires_ms < 0)
        return RC_RANGE;
    b.id = o->id;
    b.expires_ms = o->expires_ms;
    switch (o->kind) {
    case WIRE_ORDER_TEXT:
        if (!wire_text_good(o->text))
            return RC_RANGE;
        b.body_case = SCHOOLWARD__ORDER__BODY_TEXT;
        b.text = wire_talk_text_of(o->text);
        break;
    case WIRE_ORDER_BUZZER:
        if (o->number > BUZZER_MS_MAX)
            return RC_RANGE;
        b.body_case = SCHOOLWARD__ORDER__BODY_BUZZER_MS;
        b.buzzer_ms = o->number;
        break;
    case WIRE_ORDER_LOCATE:
        b.body_case = SCHOOLWARD__ORDER__BODY_LOCATE;
        b.locate = 1;
        break;
    case WIRE_ORDER_SNAPSHOT:
        if (o->number != 0 && (o->number < EVENT_CAMERA_ADAS || o->number > EVENT_CAMERA_BSD))
            return RC_RANGE;
        b.body_case = SCHOOLWARD__ORDER__BODY_SNAPSHOT;
        b.snapshot = o->number;
        break;
    case WIRE_ORDER_RESTART:
        if (o->text[0] == '\0' || strlen(o->text) > EVENT_NAME_MAX)
            return RC_RANGE;
        b.body_case = SCHOOLWARD__ORDER__BODY_RESTART_DEVICE;
        b.restart_device = wire_talk_text_of(o->text);
        break;
    case WIRE_ORDER_BUNDLE:
        if (o->bundle.n < 1 || o->bundle.n > WIRE_BUNDLE_PIECE)
            return RC_RANGE;
        piece.kind = o->bundle.kind;
        piece.version = o->bundle.version;
        piece.size = o->bundle.size;
        piece.offset = o->bundle.offset;
        piece.sha256 = bytes_of(o->bundle.sha256, sizeof o->bundle.sha256);
        piece.signature = bytes_of(o->bundle.signature, sizeof o->bundle.signature);
        piece.body = bytes_of(o->bundle.body, o->bundle.n);
        b.body_case = SCHOOLWARD__ORDER__BODY_BUNDLE;
        b.bundle = &piece;
        break;
    case WIRE_ORDER_ROTATE:
        if (!printable(o->text, WIRE_SECRET_MIN, WIRE_SECRET_MAX))
            return RC_RANGE;
        b.body_case = SCHOOLWARD__ORDER__BODY_ROTATE;
        b.rotate = wire_talk_text_of(o->text);
        break;
    default: return RC_RANGE;
    }
    m.body_case = SCHOOLWARD__FRAME__BODY_ORDER;
    m.order = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
}

enum rc wire_encode_order_result(const struct wire_order_result *r, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__OrderResult b;
    schoolward__order_result__init(&b);
    b.id = r->id;
    b.done = r->done;
    b.message = wire_talk_text_of(r->message);
    m.body_case = SCHOOLWARD__FRAME__BODY_ORDER_RESULT;
    m.order_result = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
}

/* --- enrolment --- */

const char *wire_talk_enrol(const Schoolward__Enrol *m, struct wire_enrol *e)
{
    e->stored = m->stored;
    if (!wire_talk_text(e->gateway, WIRE_TEXT_MAX, m->gateway) || e->gateway[0] == '\0')
        return "enrol.gateway";
    if (!printable(m->code, 1, WIRE_CODE_MAX))
        return "enrol.code";
    memcpy(e->code, m->code, strlen(m->code) + 1);
    if (!wire_talk_text(e->firmware, WIRE_TEXT_MAX, m->firmware))
        return "enrol.firmware";
    return wire_talk_text(e->serial, WIRE_TEXT_MAX, m->serial) ? NULL : "enrol.serial";
}

const char *wire_talk_enrolled(const Schoolward__Enrolled *m, struct wire_enrolled *e)
{
    size_t n = strlen(m->ca);
    if (!printable(m->secret, WIRE_SECRET_MIN, WIRE_SECRET_MAX))
        return "enrolled.secret";
    if (m->key.len != sizeof e->key)
        return "enrolled.key";
    if (n > WIRE_CA_MAX)
        return "enrolled.ca";
    memcpy(e->secret, m->secret, strlen(m->secret) + 1);
    memcpy(e->key, m->key.data, sizeof e->key);
    memcpy(e->ca, m->ca, n + 1);
    return NULL;
}

enum rc wire_encode_enrol(const struct wire_enrol *e, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__Enrol b;
    schoolward__enrol__init(&b);
    if (e->gateway[0] == '\0' || !printable(e->code, 1, WIRE_CODE_MAX))
        return RC_RANGE;
    b.gateway = wire_talk_text_of(e->gateway);
    b.code = wire_talk_text_of(e->code);
    b.firmware = wire_talk_text_of(e->firmware);
    b.serial = wire_talk_text_of(e->serial);
    b.stored = e->stored;
    m.body_case = SCHOOLWARD__FRAME__BODY_ENROL;
    m.enrol = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
}

enum rc wire_encode_enrolled(const struct wire_enrolled *e, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__Enrolled b;
    schoolward__enrolled__init(&b);
    if (!printable(e->secret, WIRE_SECRET_MIN, WIRE_SECRET_MAX))
        return RC_RANGE;
    b.secret = wire_talk_text_of(e->secret);
    b.key = bytes_of(e->key, sizeof e->key);
    b.ca = wire_talk_text_of(e->ca);
    m.body_case = SCHOOLWARD__FRAME__BODY_ENROLLED;
    m.enrolled = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
}

/* --- reports --- */

/* 0 = not known, 1, 2, ... mean 0, 1, ...; below zero as is. */
static int64_t from_wire(int64_t v)
{
    return v == 0 ? REPORT_NONE : v > 0 ? v - 1 : v;
}

static int64_t to_wire(int64_t v)
{
    return v == REPORT_NONE ? 0 : v >= 0 && v < INT64_MAX ? v + 1 : v;
}

static const char *get_device(const Schoolward__ReportDevice *m, struct report_device *d)
{
    if (!wire_talk_text(d->name, EVENT_NAME_MAX, m->name) || d->name[0] == '\0')
        return "report.devices.name";
    if (!wire_talk_text(d->driver, EVENT_NAME_MAX, m->driver))
        return "report.devices.driver";
    if (m->kind > EVENT_DEVICE_LAST)
        return "report.devices.kind";
    if (m->state > EVENT_DEVICE_ABSENT)
        return "report.devices.state";
    d->kind = (uint8_t)m->kind;
    d->state = (uint8_t)m->state;
    d->events = m->events;
    d->errors = m->errors;
    d->opens = m->opens;
    d->input_age_ms = from_wire(m->input_age_ms);
    return NULL;
}

const char *wire_talk_report(const Schoolward__Report *m, struct report *r)
{
    if (m->clock > EVENT_CLOCK_GNSS)
        return "report.clock";
    if (m->uptime_s > INT32_MAX)
        return "report.uptime_s";
    if (m->config > REPORT_CONFIG_TRIAL)
        return "report.config";
    if (m->n_devices > REPORT_DEVICES_MAX)
        return "report.devices";
    *r = (struct report){.time_ms = m->time_ms,
                         .clock = (uint8_t)m->clock,
                         .clock_offset_ms = m->clock_offset_ms,
                         .uptime_s = (int64_t)m->uptime_s,
                         .boots = m->boots,
                         .starts = m->starts,
                         .safe_mode = m->safe_mode,
                         .config = (uint8_t)m->config,
                         .config_version = m->config_version,
                         .duty_version = m->duty_version,
                         .law_version = m->law_version,
                         .connected = true,
                         .connects = m->connects,
                         .ack_ms = from_wire(m->ack_ms),
                         .disk_free = from_wire(m->disk_free),
                         .disk_size = from_wire(m->disk_size),
                         .board_mc = from_wire(m->board_mc),
                         .supply_mv = from_wire(m->supply_mv),
                         .rss_bytes = from_wire(m->rss_bytes),
                         .waiting = {m->waiting_bulk, m->waiting_urgent},
                         .outbox_bytes = from_wire(m->outbox_bytes),
                         .written_per_day = from_wire(m->written_per_day),
                         .lost = m->lost,
                         .given_up = m->given_up,
                         .bad = m->bad,
                         .devices = m->n_devices};
    if (!wire_talk_text(r->firmware, REPORT_WORD_MAX, m->firmware))
        return "report.firmware";
    if (!wire_talk_text(r->duty, REPORT_WORD_MAX, m->duty))
        return "report.duty";
    if (!wire_talk_text(r->law, REPORT_WORD_MAX, m->law))
        return "report.law";
    for (size_t i = 0; i < m->n_devices; i++) {
        const char *fault = get_device(m->devices[i], &r->device[i]);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

enum rc wire_encode_report(const struct report *r, void *buf, size_t cap, size_t *ret_len)
{
    Schoolward__Frame m;
    schoolward__frame__init(&m);
    Schoolward__Report b;
    schoolward__report__init(&b);
    Schoolward__ReportDevice device[REPORT_DEVICES_MAX], *devices[REPORT_DEVICES_MAX];
    if (r->devices > REPORT_DEVICES_MAX || r->clock > EVENT_CLOCK_GNSS || r->uptime_s < 0 || r->uptime_s > INT32_MAX)
        return RC_RANGE;
    b.time_ms = r->time_ms;
    b.clock = r->clock;
    b.clock_offset_ms = r->clock_offset_ms;
    b.uptime_s = (uint64_t)r->uptime_s;
    b.boots = r->boots;
    b.starts = r->starts;
    b.safe_mode = r->safe_mode;
    b.firmware = wire_talk_text_of(r->firmware);
    b.duty = wire_talk_text_of(r->duty);
    b.law = wire_talk_text_of(r->law);
    b.config = r->config;
    b.config_version = r->config_version;
    b.duty_version = r->duty_version;
    b.law_version = r->law_version;
    b.connects = r->connects;
    b.ack_ms = to_wire(r->ack_ms);
    b.disk_free = to_wire(r->disk_free);
    b.disk_size = to_wire(r->disk_size);
    b.board_mc = to_wire(r->board_mc);
    b.supply_mv = to_wire(r->supply_mv);
    b.rss_bytes = to_wire(r->rss_bytes);
    b.waiting_bulk = r->waiting[EVENT_LANE_BULK];
    b.waiting_urgent = r->waiting[EVENT_LANE_URGENT];
    b.outbox_bytes = to_wire(r->outbox_bytes);
    b.written_per_day = to_wire(r->written_per_day);
    b.lost = r->lost;
    b.given_up = r->given_up;
    b.bad = r->bad;
    for (size_t i = 0; i < r->devices; i++) {
        const struct report_device *d = &r->device[i];
        schoolward__report_device__init(&device[i]);
        device[i].name = wire_talk_text_of(d->name);
        device[i].driver = wire_talk_text_of(d->driver);
        device[i].kind = d->kind;
        device[i].state = d->state;
        device[i].events = d->events;
        device[i].errors = d->errors;
        device[i].opens = d->opens;
        device[i].input_age_ms = to_wire(d->input_age_ms);
        devices[i] = &device[i];
    }
    b.n_devices = r->devices;
    b.devices = devices;
    m.body_case = SCHOOLWARD__FRAME__BODY_REPORT;
    m.report = &b;
    return wire_talk_pack(&m, buf, cap, ret_len);
}
