/*
 * driver - what a kind of hardware must offer, and all it may use. A driver knows one kind of device; it never exits, sleeps, logs or sees another
 * device: device.c opens it, retries with growing pauses, watches silence, reports health and logs for it.
 *
 * Two ways to be served: with a file descriptor (`fd` >= 0, input() when readable: camera, gpsd, replay) on the loop, or by poll() every
 * poll_ms in the driver's own thread (Modbus, whose library blocks). Events go out by driver_emit(), from either.
 */
#ifndef SCHOOLWARD_DRIVER_H
#define SCHOOLWARD_DRIVER_H

#include <stddef.h>

#include "../core/event.h"
#include "../core/field.h"

struct driver_ctx; /* the instance's world: what device.c gives it */

struct driver_output;

struct driver {
    const char *name;           /* word in the configuration: "gpsd" */
    enum event_device_kind kind;
    size_t options_size;        /* of the record its table describes */
    const struct field *options;
    size_t options_n;
    bool threaded;              /* poll() in a thread of its own; otherwise on the loop */
    int64_t silence_ms;         /* default: no input for this long is silence; 0 = never */

    /*
     * check - whether the options make sense beyond their ranges (the register map can be read, the port name is one); NULL if nothing is to check.
     *   why, cap  "problem: what to do"; returns RC_OK or RC_INVALID. Opens no device: --check-config calls it.
     */
    enum rc (*check)(const void *options, char *why, size_t cap);
    /*
     * open - reach the device. Must not block longer than 2 s on the loop (threaded drivers: 10 s).
     *   options      as configured, options_size bytes, outlives the instance
     *   ret_state    the driver's own memory, given to the other functions
     *   ret_fd       to watch on the loop, -1 if none
     *   why, cap     on failure: what is wrong and what to do
     *   returns      RC_OK; RC_IO, RC_DENIED, RC_NOT_FOUND, RC_INVALID
     */
    enum rc (*open)(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap);
    /*
     * input - the descriptor is readable (or hung up). Read what is there, emit events, return soon.
     *   returns  RC_OK something was understood; RC_AGAIN nothing whole yet; RC_INVALID bytes made no sense, RC_TIMEOUT no answer (both
     *            counted and told, the device stays open); RC_IO / RC_END the line is gone: device.c closes and opens again later
     */
    enum rc (*input)(void *state, char *why, size_t cap);
    /* poll - one pass (threaded), or the periodic work of a loop driver; NULL if it has none. Same results as input; *ret_next_ms: when again. */
    enum rc (*poll)(void *state, int64_t now_mono_ms, int *ret_next_ms, char *why, size_t cap);
    /* output - set a named output ("buzzer", "lamp") or hand the vehicle state down; NULL if the device has none. Called on the device's own thread. */
    enum rc (*output)(void *state, const struct driver_output *out, char *why, size_t cap);
    void (*close)(void *state); /* NULL and half-open states are fine */
};

enum driver_output_kind {
    DRIVER_OUT_BUZZER = 1,
    DRIVER_OUT_LAMP,
    DRIVER_OUT_VEHICLE,
    DRIVER_OUT_SIREN,
    DRIVER_OUT_TEXT,     /* a line for the display or the voice unit */
    DRIVER_OUT_SNAPSHOT, /* a camera takes a picture now */
    DRIVER_OUT_LAST = DRIVER_OUT_SNAPSHOT,
};
#define DRIVER_TEXT_MAX 255 /* bytes of UTF-8 */
struct driver_output {
    enum driver_output_kind kind;
    bool on;               /* buzzer, lamp, siren; text: say it urgently */
    char text[DRIVER_TEXT_MAX + 1];
    struct event_fix fix;  /* vehicle: newest fix, for cameras that want the speed (1 Hz) */
    int64_t fix_ms;
    struct event_inputs inputs; /* vehicle: ignition, brake */
};

/* --- functions used by drivers: their whole world --- */

/*
 * Hand an event up; callable from the driver's own thread. time_ms 0 = now by the gateway's clock. A health event tells what the device says of
 * itself (state and code; device.c fills in the rest): it holds until the next one, and while the line works.
 */
void driver_emit(struct driver_ctx *ctx, const struct event *e);
/* The instance's name in the configuration. */
const char *driver_name(const struct driver_ctx *ctx);
/* Count something worth a metric ("crc_errors", "resyncs"); names are static strings, at most 16 different ones per device. */
void driver_count(struct driver_ctx *ctx, const char *what, unsigned n);
/*
 * Memory of the instance, all-zero at first, that outlives close() and the next open(): totals, latches. NULL when there is none left.
 * Always ask for the same size.
 */
void *driver_keep(struct driver_ctx *ctx, size_t size);
int64_t driver_wall_ms(const struct driver_ctx *ctx);
/* The gateway's own time, which receiver, NTP or the server may have set; for drivers on the loop only. */
int64_t driver_clock_ms(const struct driver_ctx *ctx);
int64_t driver_mono_ms(const struct driver_ctx *ctx);
/* True once the device shall stop: a threaded poll() must return within a second. */
bool driver_stopping(const struct driver_ctx *ctx);
/* Tell the log something worth a line at a driver's start (make, serial number, a setting that did not take); loop drivers, once per opening. */
void driver_say(struct driver_ctx *ctx, const char *text);

/* --- pictures, sounds, clips: for drivers on the loop --- */

struct driver_media {
    uint8_t unit, type; /* enum event_camera_unit, enum event_media_type */
    uint32_t id, alarm_id;
    int64_t time_ms;    /* when it was taken, UTC; 0 = now */
};
/* Where they go: gateway/media.h fills it, device_setup.store hands it to the device. */
struct driver_store {
    void *arg;
    enum rc (*begin)(void *arg, const struct driver_media *m, int *ret_file);
    enum rc (*write)(void *arg, int file, uint32_t offset, const void *p, size_t n);
    void (*end)(void *arg, int file, uint32_t bytes);
};
/*
 * driver_media_begin - a file begins.
 *   ret_file  a number for the other calls, >= 0
 *   returns   RC_OK; RC_UNSUPPORTED this gateway keeps no files; RC_FULL no room on the disk or too many at once; RC_IO
 */
enum rc driver_media_begin(struct driver_ctx *ctx, const struct driver_media *m, int *ret_file) RC_MUST_USE;
/* Bytes of it, in any order. RC_OK; RC_FULL larger than allowed or the disk is full; RC_IO. The file must be ended all the same. */
enum rc driver_media_write(struct driver_ctx *ctx, int file, uint32_t offset, const void *p, size_t n) RC_MUST_USE;
/* It is whole with so many bytes and now the store's business; 0: forget it. */
void driver_media_end(struct driver_ctx *ctx, int file, uint32_t bytes);

/* All drivers, NULL-terminated (drivers/registry.c). */
extern const struct driver *const driver_all[];
const struct driver *driver_find(const char *name);

#endif
