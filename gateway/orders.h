/*
 * orders - what the office asks of this bus: each order is carried out once, however often it comes (its id is remembered over restarts), and has a
 * result. A result leaves only after it is on disk. There is no order that stops a vehicle, and none may be added: CISA ICSA-22-200-01 tells why.
 */
#ifndef SCHOOLWARD_ORDERS_H
#define SCHOOLWARD_ORDERS_H

#include <uv.h>

#include "gateway.h"

#define ORDERS_KEPT 64 /* ids remembered */

struct orders;

struct orders_setup {
    const char *dir; /* where the file `orders` is kept */
    struct gateway *gateway;
    /*
     * Bundles (piece by piece) and rotation. RC_OK: orders_answer() comes later, or this was not the last piece; anything else: done with it, the
     * reason in why.
     */
    enum rc (*care)(void *arg, const struct wire_order *o, char *why, size_t cap);
    /* A result may be sent. */
    void (*result)(void *arg, const struct wire_order_result *r);
    void *arg;
};

/* orders_start - RC_OK, also with an unreadable file (told in the log: orders of before may be carried out again); RC_NO_MEMORY. */
enum rc orders_start(uv_loop_t *loop, const struct orders_setup *s, struct orders **ret_o) RC_MUST_USE;
/* No more orders are taken; on_stopped when what is being written is on disk; orders_free() after that. */
void orders_stop(struct orders *o, void (*on_stopped)(void *arg), void *arg);
void orders_free(struct orders *o); /* NULL is fine */

void orders_take(struct orders *o, const struct wire_order *order);
/* The end of one that took its time, also from before a restart. message: cut to WIRE_RESULT_MAX, control characters become blanks. */
void orders_answer(struct orders *o, uint64_t id, bool done, const char *message);
/* Nothing is being written any more, and all results were handed on. */
bool orders_idle(const struct orders *o);

#endif
