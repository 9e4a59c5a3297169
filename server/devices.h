/*
 * devices - the gateways as devices: their secrets, one-time codes, orders and bundles that wait for them, what they last reported. SQLite file
 * devices.db in state_dir; belongs to the loop's thread. The command line works on the same file beside the running server, which looks each second
 * whether it did.
 *
 * Secrets and codes are kept as SHA-256 only. What a bus reports and answers is committed once a second; what a person decides, at once.
 */
#ifndef SCHOOLWARD_DEVICES_H
#define SCHOOLWARD_DEVICES_H

#include "../core/duty.h"
#include "../core/wire.h"

struct devices;

#define DEVICES_CODE_MS    86400000            /* a code is good for a day */
#define DEVICES_CODE_TRIES 10                  /* wrong ones, then it is dead */
#define DEVICES_ORDER_MS   600000              /* what a person wants now: ten minutes */
#define DEVICES_BUNDLE_MS  INT64_C(7776000000) /* a bus in the repair shop: 90 days */
#define DEVICES_BY_MAX     63

/*
 * devices_open - open or make state_dir/devices.db, and state_dir/order.key: the Ed25519 key that signs bundles, made at the first start, mode 0600.
 *   returns  RC_OK; RC_DENIED others may read the key; RC_IO, RC_CORRUPT, RC_UNSUPPORTED, RC_NO_MEMORY: reason in why
 */
enum rc devices_open(const char *state_dir, struct devices **ret_d, char *why, size_t cap) RC_MUST_USE;
void devices_close(struct devices *d); /* commits; NULL is fine */
/* Called after something changed for a gateway ("" = perhaps all): an order waits, or it was revoked. */
void devices_listen(struct devices *d, void (*changed)(void *arg, const char *gateway), void *arg);
/* Once a second: commits, expires, sees what the command line did. */
void devices_tick(struct devices *d, int64_t now_ms);
/* The public half of order.key, and who signs the server's certificate (PEM, "" = the system's authorities; at most WIRE_CA_MAX). */
void devices_key(const struct devices *d, uint8_t ret_key[32]);
void devices_set_ca(struct devices *d, const char *pem);

/* --- the door --- */

/*
 * devices_admit - may this gateway in with a secret of this hash? A secret of its own (enrolled, rotated) takes the place of the fleet file's.
 *   fleet_sha256  of the fleet file, all zero = none
 *   returns       the same time for every kind of no
 */
bool devices_admit(struct devices *d, const char *gateway, const uint8_t sha256[32], const uint8_t fleet_sha256[32]);
bool devices_revoked(struct devices *d, const char *gateway);

/*
 * devices_enrol - a code for a secret. The code dies when the gateway says that the secret is on its disk (e->stored), or comes in with it; until
 * then the same code gives another one, so that a lost answer costs nothing. returns  RC_OK: *ret_e is to be sent, unless e->stored; RC_DENIED wrong,
 * expired, used up; RC_AGAIN too many tries at once; RC_IO
 */
enum rc devices_enrol(struct devices *d, const struct wire_enrol *e, int64_t now_ms, struct wire_enrolled *ret_e) RC_MUST_USE;

void devices_hello(struct devices *d, const struct wire_hello *h, int64_t now_ms);
void devices_report(struct devices *d, const char *gateway, const struct report *r, int64_t now_ms);
void devices_result(struct devices *d, const char *gateway, const struct wire_order_result *r, int64_t now_ms);

/* How far a connection is with its gateway's orders; all zero at its beginning. */
struct devices_cursor {
    uint64_t order;  /* the newest sent on it */
    uint32_t offset; /* of a bundle: what was sent */
    uint32_t size;   /* 0: not a bundle */
    int64_t sent_ms; /* wholly sent and not yet answered since; 0 = free for the next */
};
/* The next frame for this gateway. One order at a time: false while one is on its way, at most a minute. */
bool devices_next(struct devices *d, const char *gateway, struct devices_cursor *c, int64_t now_ms, struct wire_order *ret_o);

/* --- people --- */

#define DEVICES_CODE_TEXT 24 /* "7K3QM-0ZT8X-..." with its NUL */
enum rc devices_code(struct devices *d, const char *gateway, int64_t now_ms, char ret_code[DEVICES_CODE_TEXT], int64_t *ret_expires_ms) RC_MUST_USE;
enum rc devices_revoke(struct devices *d, const char *gateway, int64_t now_ms) RC_MUST_USE;
/*
 * devices_order - let an order wait for its gateway.
 *   kind      text, buzzer, locate, snapshot, restart, rotate
 *   text, number  as struct wire_order; text NULL = ""
 *   expires_ms    0 = the kind's usual time from now
 *   returns   RC_OK; RC_RANGE not an order the wire would take; RC_FULL 100 wait already; RC_IO
 */
enum rc devices_order(struct devices *d, const char *gateway, uint8_t kind, const char *text, uint32_t number, const char *by, int64_t expires_ms,
                      int64_t now_ms, uint64_t *ret_id) RC_MUST_USE;
/* A signed bundle and its order; one of the same kind that still waits is replaced. RC_RANGE empty or above WIRE_BUNDLE_MAX. */
enum rc devices_bundle(struct devices *d, const char *gateway, uint8_t kind, const void *body, size_t n, const char *by, int64_t now_ms,
                       uint64_t *ret_version, uint64_t *ret_id) RC_MUST_USE;

enum devices_state { DEVICES_NEW = 0, DEVICES_ENROLLED, DEVICES_REVOKED };
struct devices_row {
    char gateway[DUTY_ID_MAX + 1];
    uint8_t state;                           /* enum devices_state */
    bool own_secret, rotating;               /* rotating: a newer secret waits for its first use */
    int64_t code_expires_ms;                 /* 0 = no code waits */
    int64_t enrolled_ms, seen_ms, report_ms; /* 0 = never */
    char serial[WIRE_TEXT_MAX + 1], firmware[WIRE_TEXT_MAX + 1];
    uint64_t wanted[WIRE_BUNDLE_KINDS + 1], confirmed[WIRE_BUNDLE_KINDS + 1];
    uint32_t waiting;     /* orders without a result */
    struct report report; /* if report_ms != 0 */
};
/* One, or all (gateway NULL) by name. RC_OK, RC_NOT_FOUND never heard of, RC_IO. */
enum rc devices_rows(struct devices *d, const char *gateway, void (*each)(void *arg, const struct devices_row *r), void *arg) RC_MUST_USE;

enum devices_fate { DEVICES_WAITS = 0, DEVICES_SENT, DEVICES_DONE, DEVICES_FAILED, DEVICES_EXPIRED, DEVICES_REPLACED };
struct devices_job {
    uint64_t id, version; /* version: of a bundle */
    uint8_t kind, bundle, fate;
    uint32_t number;
    char text[WIRE_ORDER_TEXT_MAX + 1], by[DEVICES_BY_MAX + 1], message[WIRE_RESULT_MAX + 1];
    int64_t created_ms, expires_ms, answered_ms;
};
/* Newest first, at most limit. */
enum rc devices_jobs(struct devices *d, const char *gateway, size_t limit, void (*each)(void *arg, const struct devices_job *j),
                     void *arg) RC_MUST_USE;

const char *devices_state_word(uint8_t state);
const char *devices_fate_word(uint8_t fate);
const char *devices_kind_word(uint8_t kind); /* of an order */

struct devices_figures {
    uint64_t enrolled, refused_codes, orders, results, reports;
};
void devices_figures(const struct devices *d, struct devices_figures *ret_f);

#endif
