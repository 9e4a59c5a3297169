/*
 * text-line - a voice unit or a LED board on a serial line that says or shows what it is told. Writes only; what the unit answers is read and thrown away.
 * A text waits until the line takes it; of several the newest counts (device.c).
 */
#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "../port.h"
#include "jt808_frame.h"

enum { CODE_GBK = 0, CODE_UTF8 = 1 };
enum { FRAMING_LINE = 0, FRAMING_JT808 = 1 };
enum { TEXT_MESSAGE = 0x8300, FLAG_URGENT = 1 << 0, FLAG_DISPLAY = 1 << 2, FLAG_VOICE = 1 << 3 };

struct text_options {
    struct port_setup port;
    int encoding, framing;
    char prefix[32], urgent_prefix[32];
};

static const char *const encoding_words[] = {"gbk", "utf-8", NULL};
static const char *const framing_words[] = {"line", "jt808", NULL};

static const struct field text_fields[] = {
    PORT_FIELDS(struct text_options, "9600", "none"),
    {"encoding", FIELD_WORD, FIELD_AT(struct text_options, encoding), "", 0, 1, encoding_words, "gbk", "what the unit reads: gbk, utf-8"},
    {"framing", FIELD_WORD, FIELD_AT(struct text_options, framing), "", 0, 1, framing_words, "line",
     "line: the text and CR LF; jt808: message 0x8300 of JT/T 808"},
    {"prefix", FIELD_TEXT, FIELD_AT(struct text_options, prefix), "", 0, 31, NULL, "", "goes before every text, such as the unit's volume command"},
    {"urgent_prefix", FIELD_TEXT, FIELD_AT(struct text_options, urgent_prefix), "", 0, 31, NULL, "", "goes before an urgent text instead"},
};

struct text_line {
    struct driver_ctx *ctx;
    const struct text_options *opt;
    struct port *port;
    iconv_t to;
    bool converts;
    uint16_t serial;
    uint8_t wire[JT808_WIRE_MAX];
    size_t waiting; /* bytes in wire that the line did not take yet */
    bool told_open;
};

static void text_close(void *state)
{
    struct text_line *t = state;
    if (t == NULL)
        return;
    if (t->converts)
        iconv_close(t->to);
    port_close(t->port);
    free(t);
}

static enum rc text_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct text_line *t = calloc(1, sizeof *t);
    if (t == NULL)
        return RC_NO_MEMORY;
    t->ctx = ctx;
    t->opt = options;
    if (t->opt->encoding == CODE_GBK) {
        t->to = iconv_open("GBK", "UTF-8");
        if (t->to == (iconv_t)-1) {
            snprintf(why, cap, "this system cannot write GBK (%s): install libc's character sets, or set encoding = utf-8", strerror(errno));
            free(t);
            return RC_INVALID;
        }
        t->converts = true;
    }
    enum rc rc = port_open(&t->opt->port, &t->port, why, cap);
    if (rc != RC_OK) {
        text_close(t);
        return rc;
    }
    *ret_state = t;
    *ret_fd = port_fd(t->port);
    return RC_OK;
}

/* The text in the unit's encoding; a character it has not becomes '?', control characters blanks: a line break would end the line. */
static size_t encode(struct text_line *t, const char *prefix, const char *text, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "%s", prefix);
    char clean[DRIVER_TEXT_MAX + 1];
    snprintf(clean, sizeof clean, "%s", text);
    for (char *c = clean; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    if (!t->converts)
        return n + (size_t)snprintf(out + n, cap - n, "%s", clean);
    char *from = clean, *to = out + n;
    size_t left = strlen(clean), room = cap - n;
    iconv(t->to, NULL, NULL, NULL, NULL);
    while (left > 0 && room > 1 && iconv(t->to, &from, &left, &to, &room) == (size_t)-1) {
        if (errno == E2BIG)
            break;
        *to++ = '?';
        room--;
        do { /* to the next character */
            from++;
            left--;
        } while (left > 0 && ((unsigned char)*from & 0xc0) == 0x80);
        driver_count(t->ctx, "unknown_characters", 1);
    }
    return (size_t)(to - out);
}

static enum rc flush(struct text_line *t, char *why, size_t cap)
{
    if (t->waiting == 0)
        return RC_AGAIN;
    enum rc rc = port_write(t->port, t->wire, t->waiting);
    if (rc == RC_OK) {
        t->waiting = 0;
        driver_count(t->ctx, "texts", 1);
        return RC_OK;
    }
    if (rc != RC_AGAIN)
        snprintf(why, cap, "the line to the voice unit is gone: check cable and power");
    return rc;
}

static enum rc text_output(void *state, const struct driver_output *out, char *why, size_t cap)
{
    struct text_line *t = state;
    char text[2 * DRIVER_TEXT_MAX + 64];
    if (out->kind != DRIVER_OUT_TEXT)
        return RC_AGAIN; /* it has no siren */
    const char *prefix = out->on && t->opt->urgent_prefix[0] != '\0' ? t->opt->urgent_prefix : t->opt->prefix;
    size_t n = encode(t, prefix, out->text, text, sizeof text - 2);
    if (t->opt->framing == FRAMING_LINE) {
        text[n++] = '\r';
        text[n++] = '\n';
        memcpy(t->wire, text, n);
        t->waiting = n;
    } else {
        struct jt808_frame f = {.id = TEXT_MESSAGE, .serial = t->serial++, .n = (uint16_t)(n + 1)};
        f.body[0] = (uint8_t)(FLAG_DISPLAY | FLAG_VOICE | (out->on ? FLAG_URGENT : 0));
        memcpy(f.body + 1, text, n);
        t->waiting = jt808_build(&f, t->wire);
    }
    return flush(t, why, cap);
}

static enum rc text_input(void *state, char *why, size_t cap)
{
    struct text_line *t = state;
    uint8_t buf[256];
    for (int i = 0; i < 16; i++) {
        size_t n = 0;
        enum rc rc = port_read(t->port, buf, sizeof buf, &n);
        if (rc == RC_AGAIN)
            return i > 0 ? RC_OK : RC_AGAIN;
        if (rc != RC_OK) {
            snprintf(why, cap, "the line to the voice unit is gone: check cable and power");
            return rc;
        }
    }
    return RC_OK;
}

static enum rc text_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct text_line *t = state;
    (void)now_ms;
    *ret_next_ms = t->waiting > 0 ? 200 : 1000;
    enum rc rc = flush(t, why, cap);
    if (rc != RC_AGAIN || t->told_open || port_data_fd(t->port) < 0)
        return rc;
    t->told_open = true; /* most units never say a word: that the line is there is all there is to know */
    return RC_OK;
}

const struct driver driver_text_line = {
    .name = "text-line",
    .kind = EVENT_DEVICE_PANEL,
    .options_size = sizeof(struct text_options),
    .options = text_fields,
    .options_n = sizeof text_fields / sizeof *text_fields,
    .silence_ms = 0, /* most units never say a word */
    .open = text_open,
    .input = text_input,
    .poll = text_poll,
    .output = text_output,
    .close = text_close,
};
