#include "uplink_media.h"

#include <string.h>

#include "../core/base/log.h"

enum {
    SIZE_MIN = 1024,
    SIZE_FIRST = 4096,
    FAST_MS = 250,     /* answered so soon: the link takes more */
    SLOW_MS = 600,     /* an alarm would have waited about so long */
    LOST_MS = 30000,   /* no answer: ask again */
    LATER_MS = 300000, /* the server has no room now */
    SETBACKS_MAX = 8,
};

void uplink_media_init(struct uplink_media *u, struct media *m, uint32_t kib_per_s)
{
    *u = (struct uplink_media){.media = m, .bytes_per_s = kib_per_s * 1024, .size = SIZE_FIRST};
}

void uplink_media_begin(struct uplink_media *u)
{
    u->asked = u->waiting = false;
    u->size = SIZE_FIRST; /* another link, another speed */
}

int64_t uplink_media_due(const struct uplink_media *u, int64_t now_ms)
{
    struct wire_media_part none;
    if (u->media == NULL)
        return -1;
    if (u->waiting)
        return now_ms - u->sent_ms >= LOST_MS ? 0 : u->sent_ms + LOST_MS - now_ms;
    if (now_ms < u->not_before_ms)
        return u->not_before_ms - now_ms;
    return media_next(u->media, &none) == RC_OK ? 0 : -1;
}

enum rc uplink_media_take(struct uplink_media *u, int64_t now_ms, struct wire_media_part *ret_p)
{
    enum rc rc;
    if (u->waiting) /* its answer is lost */
        u->asked = u->waiting = false;
    do {
        rc = media_next(u->media, ret_p);
        if (rc != RC_OK)
            return rc;
        if (memcmp(u->sha256, ret_p->sha256, WIRE_SHA256) != 0) {
            memcpy(u->sha256, ret_p->sha256, WIRE_SHA256);
            u->asked = false;
            u->setbacks = 0;
        }
        u->total = ret_p->bytes;
        if (!u->asked)
            u->next = 0;
        u->n = u->asked ? ret_p->bytes - u->next : 0; /* first the question how much of it is there */
        if (u->n > u->size)
            u->n = u->size;
        rc = media_read(u->media, ret_p, u->next, u->n);
    } while (rc == RC_IO); /* each turn gives one file up */
    if (rc != RC_OK)
        return rc;
    u->waiting = true;
    u->sent_ms = now_ms;
    u->not_before_ms = now_ms + (int64_t)u->n * 1000 / u->bytes_per_s;
    u->bytes += u->n;
    return RC_OK;
}

static void judge_speed(struct uplink_media *u, int64_t took_ms)
{
    if (u->n == u->size && took_ms < FAST_MS)
        u->size = u->size * 2 > WIRE_MEDIA_DATA_MAX ? WIRE_MEDIA_DATA_MAX : u->size * 2;
    else if (took_ms > SLOW_MS)
        u->size = u->size / 2 < SIZE_MIN ? SIZE_MIN : u->size / 2;
}

void uplink_media_acked(struct uplink_media *u, int64_t now_ms, const struct wire_media_ack *a)
{
    if (!u->waiting || memcmp(a->sha256, u->sha256, WIRE_SHA256) != 0)
        return; /* of a piece we gave up waiting for */
    u->waiting = false;
    judge_speed(u, now_ms - u->sent_ms);
    switch ((enum wire_media_state)a->state) {
    case WIRE_MEDIA_DONE:
        u->asked = false;
        media_sent(u->media, u->sha256);
        return;
    case WIRE_MEDIA_REFUSED:
        u->asked = false;
        media_give_up(u->media, u->sha256, a->reason[0] != '\0' ? a->reason : "the server refused it");
        return;
    case WIRE_MEDIA_LATER:
        u->asked = false;
        u->not_before_ms = now_ms + LATER_MS;
        log_notice("media", "the server takes no files now (%s): trying again in %d min", a->reason, LATER_MS / 60000);
        return;
    case WIRE_MEDIA_MORE: break;
    }
    if (a->next > u->total) {
        u->asked = false;
        media_give_up(u->media, u->sha256, "the server wants more than there is");
        return;
    }
    if (u->asked && a->next != u->next + u->n && ++u->setbacks > SETBACKS_MAX) {
        u->asked = false;
        media_give_up(u->media, u->sha256, "the server never gets it whole");
        return;
    }
    u->asked = true;
    u->next = a->next;
}
