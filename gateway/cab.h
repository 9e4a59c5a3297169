/*
 * cab - the driver's side of the bus: folds the events, judges them by the local law and lets the outputs speak (buzzer, lamp, line of text), all
 * within the pass of the loop that took the event, with the office or without it. Knows no hardware, no socket, no file; stores nothing.
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

enum rc cab_start(uv_loop_t *loop, const struct panel_options *opt, struct cab **ret_c) RC_MUST_USE;
/* on_stopped when its timer is closed; cab_free() after that. */
void cab_stop(struct cab *c, void (*on_stopped)(void *arg), void *arg);
void cab_free(struct cab *c); /* NULL is fine */

/* Judge by this from now on; takes ownership. NULL: no judging. Findings of the old one are forgotten, counts and doors are kept. */
void cab_set_duty(struct cab *c, struct duty_file *d);
const struct duty_file *cab_duty(const struct cab *c); /* NULL if none */
/* A device that may have outputs. */
void cab_attach(struct cab *c, struct device *d);
void cab_detach_all(struct cab *c);

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
    uint64_t findings, outputs_lost;
};
void cab_figures(const struct cab *c, struct cab_figures *ret_f);

#endif
