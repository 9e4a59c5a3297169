/*
 * cards - readers of pupils', attendants', drivers' and patrol cards on a serial line. A tap becomes an event with the keyed hash of the card's number;
 * who that is the duty's roster knows. The number itself goes nowhere: not into an event, not into a log, not into a file.
 *
 * A reader repeats a card while it lies there. The same card within repeat_ms since it was last heard is the same tap, also while another child's card
 * is read in between.
 */
#include "cards.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../driver.h"
#include "../port.h"
#include "card_frame.h"

#define KEY_MIN    32 /* bytes */
#define KEY_MAX    64
#define REMEMBERED 32
#define TICK_MS    1000
#define PATH_CAP   255

struct cards_options {
    struct port_setup port;
    int format, check, order, chip, way;
    uint32_t width, repeat_ms;
    uint8_t door;
    char key_file[PATH_CAP + 1];
};

static const char *const format_words[] = {"em4100", "binary", "wiegand", "hex", "decimal", NULL};
static const char *const check_words[] = {"auto", "xor", "sum", NULL};
static const char *const order_words[] = {"sent", "reversed", NULL};
static const char *const chip_words[] = {"auto", "em4100", "mifare", NULL};
static const char *const way_words[] = {"tap", "on", "off", NULL};

#define C(member) FIELD_AT(struct cards_options, member)
static const struct field cards_fields[] = {
    PORT_FIELDS(struct cards_options, "9600", "none"),
    {"format", FIELD_WORD, C(format), "", 0, 4, format_words, "em4100", "em4100, binary, wiegand, hex, decimal: docs/devices.md"},
    {"check", FIELD_WORD, C(check), "", 0, 2, check_words, "auto", "of em4100: xor, sum, auto (whichever the first card fits)"},
    {"byte_order", FIELD_WORD, C(order), "", 0, 1, order_words, "sent", "reversed: the reader sends the lowest byte first"},
    {"width", FIELD_UINT, C(width), "bit", 0, 80, NULL, "0", "bits that count, 0 all; 24 where a Wiegand 26 reader is in the fleet"},
    {"chip", FIELD_WORD, C(chip), "", 0, 2, chip_words, "auto", "em4100 (125 kHz) or mifare (13.56 MHz), where the frame does not say"},
    {"repeat_ms", FIELD_UINT, C(repeat_ms), "ms", 0, 60000, NULL, "3000", "the same card within this time is the same tap"},
    {"way", FIELD_WORD, C(way), "", 0, 2, way_words, "tap", "on: the reader stands where they board, off: where they alight, tap: both"},
    {"door", FIELD_UINT, C(door), "", 0, 3, NULL, "0", "which door it stands at, 0 the front one"},
    {"key_file", FIELD_TEXT, C(key_file), "", 1, PATH_CAP, NULL, "/etc/schoolward/cards.key", "the fleet's key: 32 to 64 random bytes, as they are or as hex digits, mode 0600"},
};

struct key {
    size_t n;
    uint8_t byte[KEY_MAX];
};

struct recent {
    uint64_t hash;
    int64_t heard_ms; /* 0 = free */
};

struct cards_kept {
    struct recent recent[REMEMBERED]; /* outlives a lost line: a card may lie there when it comes back */
};

struct cards {
    struct driver_ctx *ctx;
    const struct cards_options *opt;
    struct cards_kept *kept;
    struct port *port;
    struct card_parser parser;
    struct key key;
    bool told_open;
};

/* --- the key --- */

/* Hex digits become bytes. False: it is no such text, then it is a key as it is. */
static bool from_hex_key(uint8_t *text, size_t *n)
{
    size_t digits = *n;
    while (digits > 0 && (text[digits - 1] == '\n' || text[digits - 1] == '\r' || text[digits - 1] == ' '))
        digits--;
    for (size_t i = 0; i < digits; i++)
        if (text[i] == '\0' || strchr("0123456789abcdefABCDEF", text[i]) == NULL)
            return false;
    for (size_t i = 0; i < digits / 2; i++) {
        char pair[3] = {(char)text[2 * i], (char)text[2 * i + 1], '\0'};
        text[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    *n = digits % 2 == 0 ? digits / 2 : 0;
    return true;
}

static enum rc read_key(const char *path, struct key *ret_key, char *why, size_t cap)
{
    uint8_t text[2 * KEY_MAX + 8];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, cap, "%s cannot be read: %s: make the fleet's key, head -c 32 /dev/urandom, and give it to every bus", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return RC_INVALID;
    }
    ssize_t got = S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 ? read(fd, text, sizeof text) : -1;
    close(fd);
    enum rc rc = RC_INVALID;
    size_t n = got > 0 ? (size_t)got : 0;
    (void)!from_hex_key(text, &n);
    if (got < 0) {
        snprintf(why, cap, "%s can be read by others: chmod 0600 it: who has the key can find every card's number", path);
    } else if (n < KEY_MIN || n > KEY_MAX) {
        snprintf(why, cap, "%s has no key of %d to %d bytes: make one with head -c 32 /dev/urandom", path, KEY_MIN, KEY_MAX);
    } else {
        rc = RC_OK;
        ret_key->n = n;
        memcpy(ret_key->byte, text, n);
    }
    explicit_bzero(text, sizeof text);
    return rc;
}

static bool hash_of(const struct key *k, const struct card_id *id, uint64_t *ret_hash)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (HMAC(EVP_sha256(), k->byte, (int)k->n, id->byte, id->n, mac, &n) == NULL || n < 8)
        return false;
    *ret_hash = 0;
    for (int i = 0; i < 8; i++)
        *ret_hash = *ret_hash << 8 | mac[i];
    return true;
}

static enum rc canonical(const struct cards_options *o, const struct card_id *id, bool sent_by_reader, struct card_id *ret_id)
{
    struct card_form f = {.reversed = sent_by_reader && o->order == 1, .width = o->width, .chip = o->chip};
    return card_canonical(id, &f, ret_id);
}

enum rc cards_hash(const void *options, const char *text, uint64_t *ret_hash, char *why, size_t cap)
{
    const struct cards_options *o = options;
    struct card_id id, whole;
    struct key key;
    if (card_from_text(text, &id) != RC_OK) {
        snprintf(why, cap, "not a card's number: give 2 to 20 hex digits, or dec: and the 8 or 10 digits printed on it");
        return RC_INVALID;
    }
    enum rc rc = canonical(o, &id, false, &whole);
    if (rc != RC_OK) {
        snprintf(why, cap, "%s", rc == RC_RANGE ? "no card has this number" : "a random number: the card shows another one at each tap");
        return rc;
    }
    rc = read_key(o->key_file, &key, why, cap);
    if (rc == RC_OK && !hash_of(&key, &whole, ret_hash))
        rc = RC_NO_MEMORY;
    explicit_bzero(&key, sizeof key);
    explicit_bzero(&id, sizeof id);
    explicit_bzero(&whole, sizeof whole);
    return rc;
}

/* --- driver --- */

static enum rc cards_check(const void *options, char *why, size_t cap)
{
    const struct cards_options *o = options;
    struct key key;
    if (o->width % 8 != 0 || (o->width > 0 && o->width < 24)) {
        snprintf(why, cap, "width %u: must be 0 or whole bytes from 24 on", o->width);
        return RC_INVALID;
    }
    enum rc rc = read_key(o->key_file, &key, why, cap);
    explicit_bzero(&key, sizeof key);
    return rc;
}

static void cards_close(void *state)
{
    struct cards *c = state;
    if (c == NULL)
        return;
    port_close(c->port);
    explicit_bzero(&c->key, sizeof c->key);
    explicit_bzero(&c->parser, sizeof c->parser);
    free(c);
}

static enum rc cards_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct cards *c = calloc(1, sizeof *c);
    struct cards_kept *k = driver_keep(ctx, sizeof *k);
    if (c == NULL || k == NULL) {
        free(c);
        return RC_NO_MEMORY;
    }
    c->ctx = ctx;
    c->opt = options;
    c->kept = k;
    enum rc rc = read_key(c->opt->key_file, &c->key, why, cap);
    if (rc == RC_OK)
        rc = port_open(&c->opt->port, &c->port, why, cap);
    if (rc != RC_OK) {
        cards_close(c);
        return rc;
    }
    *ret_state = c;
    *ret_fd = port_fd(c->port);
    return RC_OK;
}

/* Whether the card was heard within repeat_ms; it is now. With all places taken the one heard longest ago makes room. */
static bool is_repeat(struct cards *c, uint64_t hash, int64_t now_ms)
{
    struct recent *r = c->kept->recent, *oldest = r;
    for (size_t i = 0; i < REMEMBERED; i++) {
        if (r[i].heard_ms != 0 && r[i].hash == hash) {
            bool repeat = now_ms - r[i].heard_ms < (int64_t)c->opt->repeat_ms;
            r[i].heard_ms = now_ms;
            return repeat;
        }
        if (r[i].heard_ms < oldest->heard_ms)
            oldest = &r[i];
    }
    *oldest = (struct recent){.hash = hash, .heard_ms = now_ms};
    return false;
}

static enum rc take_card(struct cards *c, const struct card_id *id, char *why, size_t cap)
{
    struct card_id whole;
    uint64_t hash = 0;
    enum rc rc = canonical(c->opt, id, true, &whole);
    if (rc == RC_UNSUPPORTED) {
        driver_count(c->ctx, "random_ids", 1);
        snprintf(why, cap, "a card with a random number was read, a phone perhaps: it shows another one at each tap and cannot be used");
        return RC_INVALID;
    }
    if (rc != RC_OK) {
        driver_count(c->ctx, "no_cards", 1);
        snprintf(why, cap, "a number no card has: check the reader");
        return RC_INVALID;
    }
    if (!hash_of(&c->key, &whole, &hash))
        return RC_FULL;
    explicit_bzero(&whole, sizeof whole);
    if (is_repeat(c, hash, driver_mono_ms(c->ctx))) {
        driver_count(c->ctx, "repeats", 1);
        return RC_OK;
    }
    struct event e = {.kind = EVENT_CARD};
    e.card = (struct event_card){.hash = hash, .kind = EVENT_CARD_UNKNOWN, .way = (uint8_t)c->opt->way, .door = c->opt->door};
    driver_emit(c->ctx, &e);
    return RC_OK;
}

static enum rc cards_input(void *state, char *why, size_t cap)
{
    struct cards *c = state;
    uint8_t buf[512];
    enum rc worst = RC_AGAIN;
    for (int i = 0; i < 16; i++) {
        size_t n = 0;
        enum rc rc = port_read(c->port, buf, sizeof buf, &n);
        if (rc != RC_OK) {
            if (rc == RC_AGAIN)
                break;
            snprintf(why, cap, "the line to the reader is gone: check cable and power");
            return rc;
        }
        for (size_t k = 0; k < n; k++) {
            struct card_id id;
            enum card_fault fault = CARD_NOISE;
            rc = card_parse(&c->parser, (enum card_format)c->opt->format, (enum card_check)c->opt->check, buf[k], &id, &fault);
            if (rc == RC_OK) {
                rc = take_card(c, &id, why, cap);
                explicit_bzero(&id, sizeof id);
            } else if (rc == RC_INVALID) {
                driver_count(c->ctx, fault == CARD_NOISE ? "noise_bytes" : fault == CARD_SUM ? "checksum_errors" : "broken_frames", 1);
                snprintf(why, cap, "%s: check format, speed and wiring", fault == CARD_NOISE ? "noise" : fault == CARD_SUM ? "wrong check" : "broken frame");
            }
            if (rc == RC_OK || (rc == RC_INVALID && worst != RC_OK))
                worst = rc;
        }
    }
    explicit_bzero(buf, sizeof buf);
    return worst;
}

/* A reader says nothing until somebody taps: that its line is there is all there is to know. */
static enum rc cards_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct cards *c = state;
    (void)now_ms, (void)why, (void)cap;
    *ret_next_ms = TICK_MS;
    if (c->told_open || port_data_fd(c->port) < 0)
        return RC_AGAIN;
    c->told_open = true;
    return RC_OK;
}

const struct driver driver_cards = {
    .name = "cards",
    .kind = EVENT_DEVICE_CARDS,
    .options_size = sizeof(struct cards_options),
    .options = cards_fields,
    .options_n = sizeof cards_fields / sizeof *cards_fields,
    .silence_ms = 0, /* nothing while nobody boards */
    .check = cards_check,
    .open = cards_open,
    .input = cards_input,
    .poll = cards_poll,
    .close = cards_close,
};
