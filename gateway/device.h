/*
 * device - instances of drivers: opens them, retries with growing pauses (1 s doubling to 30 s, with jitter), watches silence, reports health as
 * events, logs for them. A sick device never disturbs its neighbour.
 */
#ifndef SCHOOLWARD_DEVICE_H
#define SCHOOLWARD_DEVICE_H

#include <uv.h>

#include "driver.h"

struct device;

struct device_setup {
    const char *name;            /* [a-z0-9-]{1,15} */
    const struct driver *driver;
    const void *options;         /* the driver's record, copied */
    int64_t silence_ms;          /* 0 = the driver's default */
    /* Every event of the device, on the loop's thread; health events included. */
    void (*on_event)(void *arg, struct device *d, const struct event *e);
    int64_t (*clock_ms)(void *arg); /* the gateway's own time; NULL: the system's */
    void *arg;
    const struct driver_store *store; /* where a camera's pictures go, copied; NULL: nowhere */
};

/* Make and start an instance on the loop. RC_OK, RC_NO_MEMORY. A device that cannot be opened is retried, not an error. */
enum rc device_start(uv_loop_t *loop, const struct device_setup *s, struct device **ret_d) RC_MUST_USE;
/* Ask it to stop; on_stopped when threads are joined and handles closed. */
void device_stop(struct device *d, void (*on_stopped)(void *arg), void *arg);

const char *device_name(const struct device *d);
const struct driver *device_driver(const struct device *d);
enum event_device_state device_state(const struct device *d);
/*
 * Set an output (buzzer, lamp) or hand the vehicle state down; never blocks. The newest of each kind counts: one that was not carried out yet is
 * replaced, and buzzer and lamp are set again after the device was away. RC_OK, RC_UNSUPPORTED the driver has none.
 */
enum rc device_output(struct device *d, const struct driver_output *out) RC_MUST_USE;

/* Close it and open it again, without a pause; one that is closed is tried at once. Totals and latches are kept (driver_keep()). */
void device_restart(struct device *d);

#define DEVICE_COUNTS 16
struct device_figures {
    uint64_t events, errors, opens;
    int64_t last_input_mono_ms; /* 0 = never */
    struct { const char *what; uint64_t n; } count[DEVICE_COUNTS];
};
void device_figures(const struct device *d, struct device_figures *ret_f);

#endif
