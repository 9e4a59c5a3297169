#include "uplink_queue.h"

#include <string.h>

enum {
    LIVE_RUN = 4,
    BACKLOG_START = 128,
    BACKLOG_MIN = 16,
    SHORT_BACKLOG = 256, /* half a batch: some minutes of a bus */
    SLOW_ACK_MS = 1000, /* an ack that takes longer says that the link is full: an alarm would wait as long */
    FAST_ACK_MS = 400,
    CAREFUL_ACKS = 64,
    LIVE_HEAD = 8, /* the newest of a backlog go with the live ones: the last commit group or two, where the bus is now */
};

void uplink_queue_init(struct uplink_queue *q, int window)
{
    *q = (struct uplink_queue){.window = window < 1 ? 1 : window > UPLINK_WINDOW_MAX ? UPLINK_WINDOW_MAX : (size_t)window,
                               .live_max = WIRE_BATCH_MAX,
                               .backlog_max = BACKLOG_START,
                               .max_frame = WIRE_FRAME_MAX};
}

void uplink_queue_limits(struct uplink_queue *q, uint32_t max_frame)
{
    q->max_frame = max_frame < 1024 || max_frame > WIRE_FRAME_MAX ? WIRE_FRAME_MAX : max_frame;
}

void uplink_queue_begin(struct uplink_queue *q, const struct wire_lane span[EVENT_LANES])
{
    q->flights = 0;
    q->in_order = false;
    q->live_run = 0;
    for (int i = 0; i < EVENT_LANES; i++) {
        q->stored[i] = span[i].last_seq;
        q->through[i] = span[i].first_seq > 0 ? span[i].first_seq - 1 : 0;
    }
    q->urgent_next = q->through[EVENT_LANE_URGENT] + 1;
    q->backlog_next = q->through[EVENT_LANE_BULK] + 1;
    q->boundary = span[EVENT_LANE_BULK].last_seq;
    q->live_next = q->boundary + 1;
    /* What fits one batch goes first and in order: it delays live positions by one message, and the office has one story instead of two. */
    if (q->boundary - q->through[EVENT_LANE_BULK] <= SHORT_BACKLOG) {
        q->in_order = true;
    } else {
        q->boundary -= LIVE_HEAD;
        q->live_next = q->boundary + 1;
    }
}

void uplink_queue_stored(struct uplink_queue *q, enum event_lane lane, uint64_t last_seq)
{
    if (last_seq > q->stored[lane])
        q->stored[lane] = last_seq;
    if (lane == EVENT_LANE_BULK && q->in_order) {
        q->boundary = q->stored[lane];
        q->live_next = q->boundary + 1;
    }
}

static size_t flights_of(const struct uplink_queue *q, enum event_lane lane, bool backlog_only)
{
    size_t n = 0;
    for (size_t i = 0; i < q->flights; i++)
        n += q->flight[i].lane == lane && (!backlog_only || q->flight[i].backlog);
    return n;
}

bool uplink_queue_next(const struct uplink_queue *q, struct uplink_want *ret_want)
{
    const uint64_t urgent_to = q->stored[EVENT_LANE_URGENT], live_to = q->stored[EVENT_LANE_BULK];
    if (q->urgent_next <= urgent_to && q->flights < q->window + UPLINK_URGENT_EXTRA) {
        *ret_want = (struct uplink_want){EVENT_LANE_URGENT, false, q->urgent_next, urgent_to, q->live_max};
        return true;
    }
    if (flights_of(q, EVENT_LANE_BULK, false) >= q->window)
        return false;
    bool live = q->live_next <= live_to, backlog = q->backlog_next <= q->boundary;
    /* a fourth of the window is enough to fill the pipe, and leaves the rest to what is happening now; in order there is nothing else to leave it to */
    bool backlog_may = backlog && (q->in_order || flights_of(q, EVENT_LANE_BULK, true) < (q->window + 3) / 4);
    if (live && (q->live_run < LIVE_RUN || !backlog_may)) {
        *ret_want = (struct uplink_want){EVENT_LANE_BULK, false, q->live_next, live_to, q->live_max};
        return true;
    }
    if (backlog_may) {
        *ret_want = (struct uplink_want){EVENT_LANE_BULK, true, q->backlog_next, q->boundary, q->backlog_max};
        return true;
    }
    return false;
}

bool uplink_queue_drained(const struct uplink_queue *q)
{
    return q->urgent_next > q->stored[EVENT_LANE_URGENT] && q->live_next > q->stored[EVENT_LANE_BULK] && q->backlog_next > q->boundary;
}

void uplink_queue_taken(struct uplink_queue *q, const struct uplink_want *w, uint64_t first, size_t n)
{
    uint64_t next = first + n;
    if (w->lane == EVENT_LANE_URGENT)
        q->urgent_next = next;
    else if (w->backlog)
        q->backlog_next = next;
    else
        q->live_next = next;
    if (w->lane == EVENT_LANE_BULK)
        q->live_run = w->backlog ? 0 : q->live_run + 1;
}

void uplink_queue_nothing(struct uplink_queue *q, const struct uplink_want *w)
{
    unsigned run = q->live_run;
    uplink_queue_taken(q, w, w->to, 1);
    q->live_run = run;
}

void uplink_queue_sent(struct uplink_queue *q, const struct uplink_flight *f, int64_t now_ms)
{
    if (q->flights == sizeof q->flight / sizeof q->flight[0])
        return; /* uplink_queue_next() never lets it come to this */
    q->flight[q->flights] = *f;
    q->flight[q->flights++].sent_ms = now_ms;
}

static bool settles(const struct wire_ack *a, const struct uplink_flight *f)
{
    if (a->lane != f->lane)
        return false;
    if (f->last <= a->through)
        return true;
    uint64_t from = f->first > a->through ? f->first : a->through + 1; /* what through left of it must lie in one range */
    for (size_t i = 0; i < a->ranges; i++)
        if (a->range[i].from <= from && f->last <= a->range[i].to)
            return true;
    return false;
}

static void drop_flights(struct uplink_queue *q, enum event_lane lane)
{
    size_t kept = 0;
    for (size_t i = 0; i < q->flights; i++)
        if (q->flight[i].lane != lane)
            q->flight[kept++] = q->flight[i];
    q->flights = kept;
}

void uplink_queue_in_order(struct uplink_queue *q)
{
    q->flights = 0;
    q->in_order = true;
    q->urgent_next = q->through[EVENT_LANE_URGENT] + 1;
    q->backlog_next = q->through[EVENT_LANE_BULK] + 1;
    q->boundary = q->stored[EVENT_LANE_BULK];
    q->live_next = q->boundary + 1;
}

/* Additive up, halving down, by how long acks take: a backlog of a day must not make an alarm wait on a thin link. */
static void adapt(struct uplink_queue *q, int64_t took_ms, bool backlog)
{
    if (q->careful > 0) {
        q->careful--;
        return;
    }
    if (q->live_max < WIRE_BATCH_MAX)
        q->live_max = q->live_max * 2 > WIRE_BATCH_MAX ? WIRE_BATCH_MAX : q->live_max * 2;
    if (!backlog)
        return;
    if (took_ms > SLOW_ACK_MS)
        q->backlog_max = q->backlog_max / 2 < BACKLOG_MIN ? BACKLOG_MIN : q->backlog_max / 2;
    else if (took_ms < FAST_ACK_MS)
        q->backlog_max = q->backlog_max + 32 > WIRE_BATCH_MAX ? WIRE_BATCH_MAX : q->backlog_max + 32;
}

bool uplink_queue_acked(struct uplink_queue *q, const struct wire_ack *a, int64_t now_ms, int64_t *ret_took_ms)
{
    size_t kept = 0;
    bool any = false, skipped = false;
    struct uplink_flight newest = {0};
    for (size_t i = 0; i < q->flights; i++) {
        if (settles(a, &q->flight[i])) {
            /* acks follow arrival: one that was sent earlier and is not in it was refused */
            for (size_t k = 0; k < kept; k++)
                skipped = skipped || q->flight[k].lane == a->lane;
            newest = q->flight[i];
            any = true;
        } else {
            q->flight[kept++] = q->flight[i];
        }
    }
    q->flights = kept;
    if (a->lane < EVENT_LANES && a->through > q->through[a->lane])
        q->through[a->lane] = a->through;
    if (any) {
        *ret_took_ms = now_ms - newest.sent_ms;
        adapt(q, now_ms - newest.sent_ms, newest.backlog);
    }
    if (a->lane == EVENT_LANE_URGENT) {
        if (skipped) {
            drop_flights(q, EVENT_LANE_URGENT);
            q->urgent_next = q->through[EVENT_LANE_URGENT] + 1;
        }
        return false;
    }
    if (q->in_order) {
        if (skipped)
            uplink_queue_in_order(q);
        else if (q->backlog_next > q->boundary && flights_of(q, EVENT_LANE_BULK, false) == 0)
            q->in_order = false;
        return false;
    }
    if (skipped || a->ranges >= WIRE_RANGES_MAX) {
        uplink_queue_in_order(q);
        return true;
    }
    return false;
}

bool uplink_queue_overdue(const struct uplink_queue *q, int64_t now_ms, int64_t limit_ms)
{
    return q->flights > 0 && now_ms - q->flight[0].sent_ms >= limit_ms;
}

void uplink_queue_smaller(struct uplink_queue *q)
{
    q->live_max = q->live_max > 1 ? q->live_max / 2 : 1;
    q->backlog_max = q->backlog_max > 1 ? q->backlog_max / 2 : 1;
    q->careful = CAREFUL_ACKS;
}

const struct uplink_flight *uplink_queue_oldest(const struct uplink_queue *q)
{
    return q->flights > 0 ? &q->flight[0] : NULL;
}
