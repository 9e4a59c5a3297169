/* outbox_row - what outbox_store.c lends to outbox_thin.c: single rows inside a transaction. */
#ifndef SCHOOLWARD_OUTBOX_ROW_H
#define SCHOOLWARD_OUTBOX_ROW_H

#include "outbox_store.h"

struct outbox_row { /* columns of one row, valid until the statement goes on */
    uint64_t first;
    size_t n;
    uint32_t crc;
    uint64_t boot; /* 0: the times are as good as they will be */
    int64_t basis_ms;
    const void *frame;
    size_t len;
};
/* The columns first_seq, n, crc, boot, basis, frame from column 0 on. */
void outbox_row_take(sqlite3_stmt *q, struct outbox_row *ret_r);
/* Does it check out? Its events are in s->scratch->batch then. */
bool outbox_row_good(struct outbox_store *s, enum event_lane lane, const struct outbox_row *r);
/* Whether one of the closed range may have been on the wire. */
bool outbox_row_sent(const struct wire_settled *sent, uint64_t first, uint64_t last);
/* Write a row; boot 0: without basis. RC_END, nothing written: the frame is longer than max bytes. */
enum rc outbox_row_insert(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t n, uint64_t boot,
                          int64_t basis_ms, size_t max) RC_MUST_USE;
/* The same row with other events, of the same number. */
enum rc outbox_row_update(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t n) RC_MUST_USE;
/* Write events of any clock as rows of a good size. */
enum rc outbox_row_insert_all(struct outbox_store *s, enum event_lane lane, uint64_t first, const struct event *e, size_t n, uint64_t boot,
                              int64_t basis_ms) RC_MUST_USE;
enum rc outbox_row_delete(struct outbox_store *s, enum event_lane lane, uint64_t from, uint64_t to) RC_MUST_USE;
enum rc outbox_row_oldest(struct outbox_store *s, enum event_lane lane) RC_MUST_USE; /* look for first_seq again */
void outbox_row_less(struct outbox_store *s, enum event_lane lane, uint64_t n);      /* n fewer are waiting */

#endif
