/*
 * wire - events and the conversation about them <-> Protocol Buffers (core/schoolward.proto, docs/protocol.md 1). One codec serves the wire,
 * the gateway's outbox and the server's journal. Never trusts its input: every length, count and range is checked, nothing is allocated.
 *
 * Batches are taken apart and put together by own code, because that is nearly all of the traffic and has to cost less than the socket
 * does; tests hold it against protobuf-c's (tests/unit/core/test_wire.c). The rest goes through protobuf-c with an arena inside wire.c.
 */
#ifndef SCHOOLWARD_WIRE_H
#define SCHOOLWARD_WIRE_H

#include <stddef.h>

#include "report.h"

#define WIRE_VERSION     1
#define WIRE_SUBPROTOCOL "schoolward.v1"
#define WIRE_FRAME_MAX   65536
#define WIRE_BATCH_MAX   512 /* events in one batch */
#define WIRE_RANGES_MAX  64  /* settled ranges above `through` per lane */
#define WIRE_TEXT_MAX    63

/* Why a connection was closed: RFC 6455 7.4.1 below 4000, our own above; docs/protocol.md 1.4 says what a gateway does then. */
enum wire_close {
    WIRE_CLOSE_BYE = 1000,
    WIRE_CLOSE_TOO_BIG = 1009,
    WIRE_CLOSE_RESTART = 1012,
    WIRE_CLOSE_MALFORMED = 4400,
    WIRE_CLOSE_UNAUTHORISED = 4401,
    WIRE_CLOSE_SILENT = 4408,
    WIRE_CLOSE_REPLACED = 4409,
    WIRE_CLOSE_VERSION = 4426,
    WIRE_CLOSE_TOO_FAST = 4429,
};

enum wire_kind {
    WIRE_BATCH = 1,
    WIRE_HELLO,
    WIRE_WELCOME,
    WIRE_ACK,
    WIRE_ORDER,
    WIRE_ORDER_RESULT,
    WIRE_REPORT,
    WIRE_MEDIA_PART,
    WIRE_MEDIA_ACK,
    WIRE_ENROL,
    WIRE_ENROLLED
};

struct wire_batch {
    uint8_t lane; /* enum event_lane */
    bool backlog;
    uint64_t first_seq;
    uint64_t skipped; /* sequences right below first_seq that never come any more */
    size_t n;         /* 1..WIRE_BATCH_MAX */
    struct event event[WIRE_BATCH_MAX];
};

struct wire_lane {
    uint64_t first_seq, last_seq;
};

struct wire_range {
    uint64_t from, to; /* closed */
};

struct wire_ack {
    uint8_t lane;
    uint64_t through;
    size_t ranges;
    struct wire_range range[WIRE_RANGES_MAX];
};

struct wire_hello {
    uint32_t version;
    char gateway[WIRE_TEXT_MAX + 1], boot[WIRE_TEXT_MAX + 1], firmware[WIRE_TEXT_MAX + 1], duty[WIRE_TEXT_MAX + 1], law[WIRE_TEXT_MAX + 1];
    struct wire_lane lane[EVENT_LANES];
    int64_t time_ms;
    uint8_t clock; /* enum event_clock */
    uint64_t config, duty_bundle, law_bundle; /* versions of the signed bundles that are kept, 0 = local files */
};

struct wire_welcome {
    uint32_t version;
    int64_t time_ms;
    uint32_t max_frame;
    struct wire_ack ack[EVENT_LANES]; /* ack[i].lane == i */
};

#define WIRE_ORDER_TEXT_MAX 799 /* bytes: 200 characters of UTF-8 */
#define WIRE_ORDER_TEXT_CHARS 200
#define WIRE_RESULT_MAX 255
#define WIRE_SECRET_MIN 32
#define WIRE_SECRET_MAX 255
#define WIRE_CODE_MAX 63
#define WIRE_CA_MAX 8000
#define WIRE_BUNDLE_PIECE 8192
#define WIRE_BUNDLE_MAX (4u << 20)
enum wire_order_kind {
    WIRE_ORDER_TEXT = 1,
    WIRE_ORDER_BUZZER,
    WIRE_ORDER_LOCATE,
    WIRE_ORDER_SNAPSHOT,
    WIRE_ORDER_RESTART,
    WIRE_ORDER_BUNDLE,
    WIRE_ORDER_ROTATE,
    WIRE_ORDER_LAST = WIRE_ORDER_ROTATE,
};
enum wire_bundle_kind { WIRE_BUNDLE_CONFIG = 1, WIRE_BUNDLE_DUTY, WIRE_BUNDLE_LAW, WIRE_BUNDLE_KINDS = WIRE_BUNDLE_LAW };
struct wire_bundle {
    uint8_t kind; /* enum wire_bundle_kind */
    uint64_t version;
    uint32_t size, offset, n; /* of the whole body; of this piece, n >= 1 */
    uint8_t sha256[32], signature[64];
    uint8_t body[WIRE_BUNDLE_PIECE];
};
struct wire_order {
    uint64_t id;        /* >= 1 */
    uint8_t kind;       /* enum wire_order_kind */
    int64_t expires_ms; /* 0 = never */
    uint32_t number;    /* buzzer: ms, 0..60000; snapshot: camera unit, 0 = all */
    char text[WIRE_ORDER_TEXT_MAX + 1]; /* text; restart: the device's name; rotate: the new secret */
    struct wire_bundle bundle;
};
struct wire_order_result {
    uint64_t id;
    bool done;
    char message[WIRE_RESULT_MAX + 1];
};
struct wire_enrol {
    char gateway[WIRE_TEXT_MAX + 1], code[WIRE_CODE_MAX + 1], firmware[WIRE_TEXT_MAX + 1], serial[WIRE_TEXT_MAX + 1];
    bool stored;
};
struct wire_enrolled {
    char secret[WIRE_SECRET_MAX + 1];
    uint8_t key[32];
    char ca[WIRE_CA_MAX + 1];
};

/* May this reach a driver's display: 1..200 characters of UTF-8, none of them a control character, a line break or a change of writing direction. */
bool wire_text_good(const char *s);

#define WIRE_MEDIA_DATA_MAX 16384       /* bytes in one part: an alarm waits behind at most one */
#define WIRE_MEDIA_MAX      (64U << 20) /* bytes of one file */
#define WIRE_SHA256         32
struct wire_media_part {
    uint8_t sha256[WIRE_SHA256]; /* of the whole file */
    uint32_t bytes, offset, n;   /* size of the file 1..WIRE_MEDIA_MAX; where data begins, offset + n <= bytes; n = 0 asks how much is there */
    int64_t time_ms;             /* UTC, 0..2100 */
    uint32_t id, alarm_id;
    uint8_t unit, type; /* enum event_camera_unit, enum event_media_type */
    uint8_t data[WIRE_MEDIA_DATA_MAX];
};
enum wire_media_state { WIRE_MEDIA_MORE = 0, WIRE_MEDIA_DONE, WIRE_MEDIA_REFUSED, WIRE_MEDIA_LATER };
struct wire_media_ack {
    uint8_t sha256[WIRE_SHA256];
    uint32_t next; /* offset to go on from */
    uint8_t state; /* enum wire_media_state */
    char reason[WIRE_TEXT_MAX + 1];
};

struct wire_frame { /* some 50 kB: one per loop, not one per connection */
    enum wire_kind kind;
    union {
        struct wire_batch batch;
        struct wire_hello hello;
        struct wire_welcome welcome;
        struct wire_ack ack;
        struct wire_order order;
        struct wire_order_result order_result;
        struct report report;
        struct wire_enrol enrol;
        struct wire_enrolled enrolled;
        struct wire_media_part media_part;
        struct wire_media_ack media_ack;
    };
    struct event scratch[WIRE_BATCH_MAX]; /* of wire_decode alone */
};

/*
 * wire_decode - take one message apart.
 *   buf, n     the whole message
 *   ret_fault  on failure the name of what is wrong ("batch.fix", "hello.gateway"), a static string; never NULL on failure
 *   returns    RC_OK; RC_INVALID does not parse; RC_RANGE a value outside its range; RC_UNSUPPORTED a hello of another version;
 *              RC_FULL more events or bytes than the limits above
 * On failure *f may hold rubbish.
 */
enum rc wire_decode(const void *buf, size_t n, struct wire_frame *f, const char **ret_fault) RC_MUST_USE;

/*
 * wire_encode_batch - n events of one lane as a frame.
 *   e, n     1..WIRE_BATCH_MAX events with sequences first_seq ..., all of one clock quality; ticks are refused
 *   returns  RC_OK; RC_FULL does not fit into cap; RC_RANGE an event does not pass event_check(); RC_INVALID n, mixed clocks
 */
enum rc wire_encode_batch(enum event_lane lane, uint64_t first_seq, bool backlog, const struct event *e, size_t n, void *buf, size_t cap,
                          size_t *ret_len) RC_MUST_USE;

/* Likewise, and the `skipped` (< first_seq) sequences below first_seq will never come: who takes it settles them too. */
enum rc wire_encode_batch_after(enum event_lane lane, uint64_t first_seq, uint64_t skipped, bool backlog, const struct event *e, size_t n, void *buf,
                                size_t cap, size_t *ret_len) RC_MUST_USE;

/* The other messages; cap WIRE_SMALL_MAX is always enough. RC_FULL otherwise, RC_RANGE for values wire_decode would refuse. */
#define WIRE_SMALL_MAX 4096
enum rc wire_encode_hello(const struct wire_hello *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
enum rc wire_encode_welcome(const struct wire_welcome *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
enum rc wire_encode_ack(const struct wire_ack *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
/* An order with a piece of a bundle, and an Enrolled with a certificate, take up to WIRE_ORDER_MAX. */
#define WIRE_ORDER_MAX 12288
enum rc wire_encode_order(const struct wire_order *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
enum rc wire_encode_order_result(const struct wire_order_result *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
enum rc wire_encode_report(const struct report *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
enum rc wire_encode_enrol(const struct wire_enrol *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
enum rc wire_encode_enrolled(const struct wire_enrolled *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
enum rc wire_encode_media_ack(const struct wire_media_ack *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;
/* A part; cap WIRE_MEDIA_DATA_MAX + WIRE_SMALL_MAX is always enough. */
enum rc wire_encode_media_part(const struct wire_media_part *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;

/*
 * The settled set of one lane: everything through `through`, and up to WIRE_RANGES_MAX ranges above it. Used by the server to drop
 * repeats and by the gateway to forget; plain data.
 */
struct wire_settled {
    uint64_t through;
    size_t ranges;
    struct wire_range range[WIRE_RANGES_MAX]; /* rising, apart by at least one, above through + 1 */
};
/* Add from..to (closed, from >= 1). RC_FULL when it would need a 65th range; nothing is changed then. */
enum rc wire_settle(struct wire_settled *s, uint64_t from, uint64_t to) RC_MUST_USE;
bool wire_is_settled(const struct wire_settled *s, uint64_t seq);

#endif
