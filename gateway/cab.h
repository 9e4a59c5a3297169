/*
 * cab - the driver's side of the bus: folds the events, judges them by the local law and lets the outputs speak (buzzer, lamp, line of text), all
 * within the pass of the loop that took the event, with the office or without it. Makes the head-count (core/headcount.h). Keeps what a power cut
 * must not take in one small file (cab_state.h): a bus that lost its power with a child aboard sounds the siren again when it starts. Knows no
 * hardware and no socket.
 */
#ifndef SCHOOLWARD_CAB_H
#define SCHOOLWARD_CAB_H

#include <uv.h>

#include "../core/bus.h"
#include "device.h"
#include "duty_file.h"
#include "panel.h"

#define CAB_DEVICES_MAX 16

struct cab;

struct cab_setup {
    const struct panel_options *panel;
    const char *state_dir; /* NULL: nothing is kept */
    int64_t now_ms;        /* by the gateway's clock: what was kept may be of a later time than a clock without battery */
    /* An event the cab made (head-count, audit): to be stored; it is folded and judged already when it comes. NULL: nobody wants it. */
    void (*on_event)(void *arg, const struct event *e);
    void *arg;
};

/* RC_OK, RC_NO_MEMORY. A state that cannot be read is told in the log and not used. */
enum rc cab_start(uv_loop_t *loop, const struct cab_setup *s, struct cab **ret_c) RC_MUST_USE;
/* on_stopped when its timer is closed and its last state is on disk; cab_free() after that. */
void cab_stop(struct cab *c, void (*on_stopped)(void *arg), void *arg);
void cab_free(struct cab *c); /* NULL is fine */

/* Judge by this from now on; takes ownership. NULL: no judging. Findings of the old one are forgotten, but for a pupil left behind and a bus not
 * searched; counts and doors are kept. The first duty after the start goes on with what was kept, if vehicle and law are the same. */
void cab_set_duty(struct cab *c, struct duty_file *d);
const struct duty_file *cab_duty(const struct cab *c); /* NULL if none */
/* A device that may have outputs. */
void cab_attach(struct cab *c, struct device *d);
void cab_detach_all(struct cab *c);

/* What kind of card this is by the duty's roster (enum event_card_kind). */
uint8_t cab_card_kind(const struct cab *c, uint64_t hash);
/* An event happened on the bus (checked, with its time). */
void cab_event(struct cab *c, const struct event *e);
/* The gateway's clock was set by by_ms: what holds goes on holding. */
void cab_clock(struct cab *c, int64_t by_ms);
/* Time passed, `clock` as events carry it now: hold times end, devices that may have forgotten are told their outputs again. */
void cab_tick(struct cab *c, uint8_t clock);
const struct bus *cab_bus(const struct cab *c);

/* The office wants the buzzer for ms; false: no device with outputs answers. */
bool cab_order_buzzer(struct cab *c, uint32_t ms);
/* A line from the office for the driver. */
void cab_order_text(struct cab *c, const char *text);

struct cab_figures {
    uint64_t findings, outputs_lost, saves; /* saves: of the state, to disk */
};
void cab_figures(const struct cab *c, struct cab_figures *ret_f);

#endif
