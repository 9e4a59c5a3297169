#include "camera_fetch.h"

#include <string.h>

enum {
    STALL_MS = 2000, /* the camera itself sends a packet again after 1 s, three times in all */
    NUDGES = 3,
    ROUNDS = 3, /* so often a file is asked for */
};

void camera_fetch_init(struct camera_fetch *f, struct driver_ctx *ctx)
{
    f->ctx = ctx;
    f->file = -1;
}

static void give_up(struct camera_fetch *f, const struct driver_media *m)
{
    struct event e = {.kind = EVENT_MEDIA,
                      .media = {.id = m->id, .alarm_id = m->alarm_id, .unit = m->unit, .type = m->type, .state = EVENT_MEDIA_GIVEN_UP}};
    driver_count(f->ctx, "media_lost", 1);
    driver_emit(f->ctx, &e);
}

static void close_file(struct camera_fetch *f, uint32_t bytes)
{
    if (f->file >= 0)
        driver_media_end(f->ctx, f->file, bytes);
    f->file = -1;
    f->phase = CAMERA_FETCH_IDLE;
}

static void fail(struct camera_fetch *f)
{
    close_file(f, 0);
    give_up(f, &f->now);
}

void camera_fetch_add(struct camera_fetch *f, const struct driver_media *m)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->queue[i].id == m->id && f->queue[i].type == m->type && f->queue[i].alarm_id == m->alarm_id)
            return;
    if (f->n == CAMERA_FETCH_QUEUE) { /* the newest is worth more */
        give_up(f, &f->queue[0]);
        memmove(&f->queue[0], &f->queue[1], --f->n * sizeof f->queue[0]);
    }
    f->queue[f->n++] = *m;
}

bool camera_fetch_wants(struct camera_fetch *f, int64_t now_ms, uint8_t ret_body[5])
{
    while (f->phase == CAMERA_FETCH_IDLE && f->n > 0) {
        f->now = f->queue[0];
        memmove(&f->queue[0], &f->queue[1], --f->n * sizeof f->queue[0]);
        enum rc rc = driver_media_begin(f->ctx, &f->now, &f->file);
        if (rc != RC_OK) {
            f->file = -1;
            if (rc != RC_UNSUPPORTED) /* a gateway told to keep none misses none */
                give_up(f, &f->now);
            continue;
        }
        f->phase = CAMERA_FETCH_ASK;
        f->packets = f->got = f->packet_size = f->bytes = 0;
        f->nudges = f->rounds = 0;
        memset(f->have, 0, sizeof f->have);
    }
    if (f->phase != CAMERA_FETCH_ASK)
        return false;
    f->phase = CAMERA_FETCH_ASKED;
    f->moved_ms = now_ms;
    ret_body[0] = f->now.type;
    for (int i = 0; i < 4; i++)
        ret_body[1 + i] = (uint8_t)(f->now.id >> (24 - 8 * i));
    return true;
}

void camera_fetch_asked(struct camera_fetch *f, int64_t now_ms, bool answered)
{
    if (f->phase != CAMERA_FETCH_ASKED)
        return;
    if (!answered) {
        fail(f);
        return;
    }
    f->phase = CAMERA_FETCH_COMING;
    f->moved_ms = now_ms;
}

static bool has(const struct camera_fetch *f, uint32_t index)
{
    return (f->have[index / 8] & 1 << index % 8) != 0;
}

/* Where it belongs; false: that is not known yet, or it does not fit the others. */
static bool place(struct camera_fetch *f, const struct camera_packet *p, uint32_t *ret_offset)
{
    bool last = p->index + 1U == p->packets;
    if (!last && f->packet_size == 0)
        f->packet_size = p->n;
    if (!last && p->n != f->packet_size)
        return false;
    if (last && p->index > 0 && (f->packet_size == 0 || p->n > f->packet_size))
        return false;
    uint64_t offset = (uint64_t)p->index * f->packet_size;
    *ret_offset = (uint32_t)offset;
    return offset < UINT32_MAX - 65536;
}

uint8_t camera_fetch_packet(struct camera_fetch *f, const struct camera_packet *p, int64_t now_ms)
{
    uint32_t offset = 0;
    if (f->phase < CAMERA_FETCH_ASKED || p->id != f->now.id || p->type != f->now.type) {
        driver_count(f->ctx, "media_unasked", 1);
        return 0; /* or it sends it for ever */
    }
    f->phase = CAMERA_FETCH_COMING; /* the answer to 0x50 may have got lost */
    if (f->packets == 0)
        f->packets = p->packets;
    if (p->packets != f->packets) {
        fail(f);
        return 0;
    }
    if (has(f, p->index))
        return 0;
    if (!place(f, p, &offset))
        return 1;
    if (driver_media_write(f->ctx, f->file, offset, p->data, p->n) != RC_OK) {
        fail(f);
        return 0;
    }
    f->have[p->index / 8] |= (uint8_t)(1 << p->index % 8);
    f->got++;
    f->moved_ms = now_ms;
    f->nudges = 0;
    if (p->index + 1U == p->packets)
        f->bytes = offset + p->n;
    if (f->got == f->packets)
        close_file(f, f->bytes);
    return 0;
}

bool camera_fetch_stalled(struct camera_fetch *f, int64_t now_ms, bool receiving, uint8_t ret_body[CAMERA_MEDIA_HEAD + 1])
{
    if (f->phase != CAMERA_FETCH_COMING || receiving || now_ms - f->moved_ms < STALL_MS)
        return false;
    f->moved_ms = now_ms;
    if (f->packets == 0 || ++f->nudges > NUDGES) {
        f->nudges = 0;
        if (++f->rounds >= ROUNDS)
            fail(f);
        else
            f->phase = CAMERA_FETCH_ASK; /* what has come is kept */
        return false;
    }
    uint32_t missing = 0;
    while (has(f, missing))
        missing++;
    ret_body[0] = f->now.type;
    for (int i = 0; i < 4; i++)
        ret_body[1 + i] = (uint8_t)(f->now.id >> (24 - 8 * i));
    ret_body[5] = (uint8_t)(f->packets >> 8);
    ret_body[6] = (uint8_t)f->packets;
    ret_body[7] = (uint8_t)(missing >> 8);
    ret_body[8] = (uint8_t)missing;
    ret_body[9] = 1;
    return true;
}

void camera_fetch_end(struct camera_fetch *f, struct driver_media keep[CAMERA_FETCH_QUEUE], size_t *ret_n)
{
    if (f->phase != CAMERA_FETCH_IDLE)
        fail(f);
    if (keep != NULL) {
        memcpy(keep, f->queue, f->n * sizeof f->queue[0]);
        *ret_n = f->n;
        return;
    }
    while (f->n > 0)
        give_up(f, &f->queue[--f->n]);
}
