/*
 * keeper - care.c on the loop: what touches the disk runs in libuv's pool, one job at a time, so that no fsync of a slow card holds an alarm up.
 * Keeps the times: a trial must reach the server within care.confirm_s, a start is good after care.lasted_s, safe mode is left after care.safe_s.
 */
#ifndef SCHOOLWARD_KEEPER_H
#define SCHOOLWARD_KEEPER_H

#include "care.h"
#include "orders.h"
#include "selfreport.h"

struct keeper;

struct keeper_setup {
    struct care *care; /* after care_boot(); the keeper's from now on */
    const struct care_local *local;
    struct gateway *gateway;
    struct orders *orders;                        /* its care callback must be keeper_order() */
    bool again;                                   /* the program started itself anew */
    void (*duty)(void *arg, struct duty_file *d); /* judge by this from now on; takes it over */
    void (*secret)(void *arg, const char *secret);
    void (*restart)(void *arg); /* end in order and start again */
    void *arg;
};

enum rc keeper_start(uv_loop_t *loop, const struct keeper_setup *s, struct keeper **ret_k) RC_MUST_USE;
/* orderly: the end was asked for, and counts as a good start. on_stopped when the disk has all. */
void keeper_stop(struct keeper *k, bool orderly, void (*on_stopped)(void *arg), void *arg);
void keeper_free(struct keeper *k); /* NULL is fine */

/* orders_setup.care; arg is a struct keeper **, because orders come before it. */
enum rc keeper_order(void *arg, const struct wire_order *o, char *why, size_t cap);
/* The server took our Hello. */
void keeper_welcomed(struct keeper *k);
void keeper_hello(const struct keeper *k, struct wire_hello *h);
void keeper_report(const struct keeper *k, struct selfreport_sources *s);

#endif
