/*
 * uplink_queue - which records go next, and what is on its way. Pure: no clock, no socket. docs/protocol.md G5 and 1.3.
 *
 *   urgent   one cursor, before everything else
 *   live     what was stored after this connection's Welcome
 *   backlog  what was stored before it, oldest first; one backlog batch after at most four live ones
 *
 * In order: after the server could not keep another gap, live and backlog are one cursor until all is acked.
 */
#ifndef SCHOOLWARD_UPLINK_QUEUE_H
#define SCHOOLWARD_UPLINK_QUEUE_H

#include "../core/wire.h"

#define UPLINK_WINDOW_MAX 32
#define UPLINK_URGENT_EXTRA 8 /* places alarms have beyond the window */

struct uplink_flight {
    enum event_lane lane;
    bool backlog;
    uint64_t first, last; /* closed */
    int64_t sent_ms;
};

struct uplink_want { /* what to fetch */
    enum event_lane lane;
    bool backlog;
    uint64_t from, to;
    size_t max_events;
};

struct uplink_queue {
    uint64_t stored[EVENT_LANES]; /* newest that may be sent */
    uint64_t through[EVENT_LANES]; /* acked without gaps */
    uint64_t urgent_next, live_next, backlog_next, boundary; /* backlog is <= boundary < live */
    bool in_order;
    unsigned live_run; /* live batches since the last backlog batch */
    size_t window;
    size_t live_max, backlog_max; /* events per batch */
    unsigned careful;             /* acks to come before batches may grow again */
    uint32_t max_frame;
    struct uplink_flight flight[UPLINK_WINDOW_MAX + UPLINK_URGENT_EXTRA];
    size_t flights;
};

void uplink_queue_init(struct uplink_queue *q, int window);
void uplink_queue_limits(struct uplink_queue *q, uint32_t max_frame);
/* A connection begins: nothing is on its way, everything in the spans waits. */
void uplink_queue_begin(struct uplink_queue *q, const struct wire_lane span[EVENT_LANES]);
void uplink_queue_stored(struct uplink_queue *q, enum event_lane lane, uint64_t last_seq);

/* What to fetch next; false: nothing waits, or enough is on its way. */
bool uplink_queue_next(const struct uplink_queue *q, struct uplink_want *ret_want);
/* Nothing waits to be sent; what was sent may still be un-acked. */
bool uplink_queue_drained(const struct uplink_queue *q);
/* The fetch found n records from first on / nothing. */
void uplink_queue_taken(struct uplink_queue *q, const struct uplink_want *w, uint64_t first, size_t n);
void uplink_queue_nothing(struct uplink_queue *q, const struct uplink_want *w);
void uplink_queue_sent(struct uplink_queue *q, const struct uplink_flight *f, int64_t now_ms);

/*
 * uplink_queue_acked - an Ack came.
 *   ret_took_ms  from write to ack of the newest batch it settles; untouched if it settles none
 *   returns      true if it shows that the server refused a batch: the queue is in order from now on
 */
bool uplink_queue_acked(struct uplink_queue *q, const struct wire_ack *a, int64_t now_ms, int64_t *ret_took_ms);

/* The oldest batch on its way has waited this long. */
bool uplink_queue_overdue(const struct uplink_queue *q, int64_t now_ms, int64_t limit_ms);
void uplink_queue_in_order(struct uplink_queue *q);
/* Halve the batches (1009, 4400, above max_frame); acks make them grow again. */
void uplink_queue_smaller(struct uplink_queue *q);
const struct uplink_flight *uplink_queue_oldest(const struct uplink_queue *q); /* NULL: nothing on its way */

#endif
