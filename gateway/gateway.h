/*
 * gateway - the heart of the program on the bus: takes the events of all devices, gives them their time and lane, hands them to the outbox and to
 * the cab (cab.h), all within the same pass of the loop. Knows no hardware, no socket, no file.
 */
#ifndef SCHOOLWARD_GATEWAY_H
#define SCHOOLWARD_GATEWAY_H

#include <uv.h>

#include "cab.h"
#include "fixgate.h"
#include "outbox.h"
#include "panel.h"
#include "timing.h"

#define GATEWAY_DEVICES_MAX CAB_DEVICES_MAX

struct gateway;

struct gateway_setup {
    const char *id;
    const struct panel_options *panel;
    const char *state_dir; /* where the last trusted time is kept, NULL: nowhere */
    const struct fixgate_options *gnss; /* NULL: the defaults */
    bool (*connected)(void *arg);       /* is the office reached? NULL: never */
    void *arg;
};

enum rc gateway_start(uv_loop_t *loop, const struct gateway_setup *s, struct gateway **ret_g) RC_MUST_USE;
void gateway_stop(struct gateway *g, void (*on_stopped)(void *arg), void *arg);
void gateway_free(struct gateway *g); /* after the loop ended; NULL is fine */

/* Where events go from now on; NULL: nowhere (it is stopping). */
void gateway_set_outbox(struct gateway *g, struct outbox *o);
/* Judge by this from now on; takes ownership. NULL: no judging. Findings of the old one are forgotten, counts and doors are kept. */
void gateway_set_duty(struct gateway *g, struct duty_file *d);
/* A device that may have a buzzer, a lamp or want the vehicle's speed. */
void gateway_attach(struct gateway *g, struct device *d);
void gateway_detach_all(struct gateway *g);

/* device_setup.on_event, arg is the gateway. */
int64_t gateway_clock_ms(void *arg); /* device_setup.clock_ms */
void gateway_event(void *arg, struct device *d, const struct event *e);
/* outbox_setup.on_trouble: a health event of the store when it begins and when it is over. */
void gateway_trouble(struct gateway *g, const char *text);
/* uplink_setup.server_time and .hello, arg is the gateway: what it knows itself. */
void gateway_server_time(void *arg, int64_t server_ms, bool tls);
void gateway_hello(void *arg, struct wire_hello *h);
/* What day it is; trusted: GNSS or NTP said so since the start. */
int64_t gateway_date(struct gateway *g, bool *ret_trusted);
/* Store what the gateway did with itself, or was ordered to do (enum event_action_what); value EVENT_UNKNOWN: none. */
void gateway_action(struct gateway *g, uint8_t what, uint64_t ref, int32_t value);

/* For orders.c and selfreport.c: */
struct cab *gateway_cab(struct gateway *g);
/* The newest fix with a position; false: none since the start. */
bool gateway_last_fix(const struct gateway *g, struct event_fix *ret_fix, int64_t *ret_age_ms);
struct gateway_clock {
    int64_t time_ms, offset_ms; /* now; what is added to the system's clock */
    uint8_t quality;            /* enum event_clock */
};
struct gateway_clock gateway_clock(struct gateway *g);
/* The newest of a kind (enum event_reading_what, channel 0) in thousandths of its unit; EVENT_UNKNOWN: none, or older than ten minutes. */
int32_t gateway_reading(const struct gateway *g, uint8_t what);
size_t gateway_devices(const struct gateway *g, struct device *const **ret_devices);

struct gateway_figures {
    uint64_t events, urgent, bad, lost, findings, outputs_lost;
    uint64_t worst_us; /* longest time from taking an event to having told the panel's device */
};
void gateway_figures(const struct gateway *g, struct gateway_figures *ret_f);

#endif
