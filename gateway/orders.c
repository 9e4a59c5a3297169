#include "orders.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "files.h"

#define FILE_NAME "orders"
#define FILE_MAX  (ORDERS_KEPT * (WIRE_RESULT_MAX + 32) + 64)
static const char head[] = "schoolward-orders 1\n";

enum state { FREE, WAITS /* taken up, no result yet */, ANSWERED /* not on disk yet */, KEPT };

struct entry {
    uint8_t state; /* enum state */
    bool send;     /* its result, once it is on disk */
    uint32_t in;   /* number of the write that has it */
    struct wire_order_result result;
};

struct orders {
    uv_loop_t *loop;
    struct orders_setup setup;
    char dir[256];
    struct entry entry[ORDERS_KEPT];
    size_t next; /* the oldest */
    uv_work_t work;
    bool writing, dirty, stopping;
    uint32_t writes;
    char *text; /* of the write under way: the pool's */
    size_t text_n;
    enum rc written;
    char why[256];
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

/* --- the file --- */

static void load(struct orders *o)
{
    char *text = NULL, why[256] = "";
    size_t n = 0;
    enum rc rc = files_read(o->dir, FILE_NAME, FILE_MAX, &text, &n, why, sizeof why);
    if (rc == RC_NOT_FOUND)
        return;
    if (rc != RC_OK || strncmp(text, head, sizeof head - 1) != 0) {
        log_warning("orders", "%s: orders of before this start may be carried out again", rc != RC_OK ? why : "the file of orders is damaged");
        free(text);
        return;
    }
    for (char *line = text + sizeof head - 1; *line != '\0' && o->next < ORDERS_KEPT;) {
        char *end = strchr(line, '\n'), *at = NULL;
        if (end == NULL)
            break;
        *end = '\0';
        uint64_t id = strtoull(line, &at, 10);
        if (id > 0 && at[0] == ' ' && (at[1] == '0' || at[1] == '1') && at[2] == ' ') {
            struct entry *e = &o->entry[o->next++];
            e->state = KEPT;
            e->result.id = id;
            e->result.done = at[1] == '1';
            snprintf(e->result.message, sizeof e->result.message, "%s", at + 3);
        }
        line = end + 1;
    }
    o->next %= ORDERS_KEPT;
    free(text);
}

static void on_work(uv_work_t *w)
{
    struct orders *o = w->data;
    o->written = files_write(o->dir, FILE_NAME, o->text, o->text_n, o->why, sizeof o->why);
}

static void write_file(struct orders *o);

static void send_kept(struct orders *o)
{
    for (size_t i = 0; i < ORDERS_KEPT; i++) {
        struct entry *e = &o->entry[(o->next + i) % ORDERS_KEPT];
        if (e->state != KEPT || !e->send)
            continue;
        e->send = false;
        o->setup.result(o->setup.arg, &e->result);
    }
}

static void after_work(uv_work_t *w, int status)
{
    struct orders *o = w->data;
    (void)status;
    o->writing = false;
    /* On a sick disk the result goes out all the same: the office must know; a repeat after a power cut would be carried out again. */
    if (o->written != RC_OK)
        log_warning("orders", "%s", o->why);
    for (size_t i = 0; i < ORDERS_KEPT; i++)
        if (o->entry[i].state == ANSWERED && o->entry[i].in == o->writes)
            o->entry[i].state = KEPT;
    send_kept(o);
    if (o->dirty) {
        write_file(o);
    } else if (o->on_stopped != NULL) {
        void (*on_stopped)(void *) = o->on_stopped;
        o->on_stopped = NULL;
        on_stopped(o->stopped_arg);
    }
}

static void write_file(struct orders *o)
{
    o->dirty = true;
    if (o->writing)
        return;
    o->dirty = false;
    o->writes++;
    size_t n = (size_t)snprintf(o->text, FILE_MAX, "%s", head);
    for (size_t i = 0; i < ORDERS_KEPT; i++) {
        struct entry *e = &o->entry[(o->next + i) % ORDERS_KEPT];
        if (e->state != ANSWERED && e->state != KEPT)
            continue;
        e->in = o->writes;
        n += (size_t)snprintf(o->text + n, FILE_MAX - n, "%" PRIu64 " %d %s\n", e->result.id, e->result.done, e->result.message);
    }
    o->text_n = n;
    o->work.data = o;
    o->writing = true;
    if (uv_queue_work(o->loop, &o->work, on_work, after_work) != 0) {
        o->written = RC_NO_MEMORY;
        snprintf(o->why, sizeof o->why, "the file of orders cannot be written: out of memory");
        after_work(&o->work, 0);
    }
}

/* --- one order --- */

static struct entry *find(struct orders *o, uint64_t id)
{
    for (size_t i = 0; i < ORDERS_KEPT; i++)
        if (o->entry[i].state != FREE && o->entry[i].result.id == id)
            return &o->entry[i];
    return NULL;
}

static struct entry *take_up(struct orders *o, uint64_t id)
{
    struct entry *e = &o->entry[o->next];
    o->next = (o->next + 1) % ORDERS_KEPT;
    *e = (struct entry){.state = WAITS, .result = {.id = id}};
    return e;
}

static bool locate(struct orders *o, char *message, size_t cap)
{
    struct event_fix fix;
    int64_t age_ms;
    if (!gateway_last_fix(o->setup.gateway, &fix, &age_ms)) {
        snprintf(message, cap, "no fix since the start");
        return false;
    }
    snprintf(message, cap, "%.6f,%.6f %" PRId64 " s ago", fix.lat_e7 / 1e7, fix.lon_e7 / 1e7, age_ms / 1000);
    return true;
}

static bool snapshot(struct orders *o, uint32_t unit, char *message, size_t cap)
{
    struct driver_output out = {.kind = DRIVER_OUT_SNAPSHOT, .on = true};
    struct device *const *device;
    size_t n = gateway_devices(o->setup.gateway, &device), told = 0;
    if (unit != 0)
        snprintf(out.text, sizeof out.text, "%u", unit);
    for (size_t i = 0; i < n; i++)
        if (device_driver(device[i])->kind == EVENT_DEVICE_CAMERA && device_state(device[i]) == EVENT_DEVICE_OK &&
            device_output(device[i], &out) == RC_OK)
            told++;
    if (told > 0)
        snprintf(message, cap, "%zu camera%s told: the picture comes as media", told, told > 1 ? "s" : "");
    else
        snprintf(message, cap, "no camera that works takes pictures");
    return told > 0;
}

static bool restart(struct orders *o, const char *name, char *message, size_t cap)
{
    struct device *const *device;
    size_t n = gateway_devices(o->setup.gateway, &device);
    for (size_t i = 0; i < n; i++)
        if (strcmp(device_name(device[i]), name) == 0) {
            device_restart(device[i]);
            snprintf(message, cap, "%.64s is opened again", name);
            return true;
        }
    snprintf(message, cap, "there is no device %.64s", name);
    return false;
}

void orders_answer(struct orders *o, uint64_t id, bool done, const char *message)
{
    struct entry *e = find(o, id);
    if (e == NULL)
        e = take_up(o, id);
    e->state = ANSWERED;
    e->send = true;
    e->result.done = done;
    snprintf(e->result.message, sizeof e->result.message, "%s", message);
    for (char *c = e->result.message; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    log_notice("orders", "order %" PRIu64 ": %s: %s", id, done ? "done" : "not done", e->result.message);
    gateway_action(o->setup.gateway, EVENT_ACTION_ORDER, id, done);
    write_file(o);
}

void orders_take(struct orders *o, const struct wire_order *order)
{
    char message[WIRE_RESULT_MAX + 1] = "";
    struct entry *e = find(o, order->id);
    bool done = false;
    if (o->stopping)
        return; /* it comes again */
    if (e != NULL && e->state == KEPT) { /* the result was lost on its way */
        o->setup.result(o->setup.arg, &e->result);
        return;
    }
    if (e != NULL && (e->state != WAITS || order->kind != WIRE_ORDER_BUNDLE))
        return; /* its result comes */
    if (e == NULL) {
        struct gateway_clock clock = gateway_clock(o->setup.gateway);
        take_up(o, order->id);
        if (order->expires_ms != 0 && clock.quality >= EVENT_CLOCK_NTP && clock.time_ms > order->expires_ms) {
            orders_answer(o, order->id, false, "came after its time");
            return;
        }
    }
    switch ((enum wire_order_kind)order->kind) {
    case WIRE_ORDER_TEXT:
        cab_order_text(gateway_cab(o->setup.gateway), order->text);
        snprintf(message, sizeof message, "shown");
        done = true;
        break;
    case WIRE_ORDER_BUZZER:
        done = cab_order_buzzer(gateway_cab(o->setup.gateway), order->number);
        snprintf(message, sizeof message, done ? "buzzer told" : "no buzzer answers");
        break;
    case WIRE_ORDER_LOCATE: done = locate(o, message, sizeof message); break;
    case WIRE_ORDER_SNAPSHOT: done = snapshot(o, order->number, message, sizeof message); break;
    case WIRE_ORDER_RESTART: done = restart(o, order->text, message, sizeof message); break;
    case WIRE_ORDER_BUNDLE:
    case WIRE_ORDER_ROTATE:
        if (o->setup.care != NULL && o->setup.care(o->setup.arg, order, message, sizeof message) == RC_OK)
            return;
        if (o->setup.care == NULL)
            snprintf(message, sizeof message, "not possible here");
        break;
    }
    orders_answer(o, order->id, done, message[0] != '\0' ? message : "not known to this version");
}

bool orders_idle(const struct orders *o)
{
    return !o->writing && !o->dirty;
}

/* --- begin and end --- */

enum rc orders_start(uv_loop_t *loop, const struct orders_setup *s, struct orders **ret_o)
{
    struct orders *o = calloc(1, sizeof *o);
    if (o == NULL || (o->text = malloc(FILE_MAX)) == NULL) {
        free(o);
        return RC_NO_MEMORY;
    }
    o->loop = loop;
    o->setup = *s;
    snprintf(o->dir, sizeof o->dir, "%s", s->dir);
    load(o);
    *ret_o = o;
    return RC_OK;
}

void orders_stop(struct orders *o, void (*on_stopped)(void *arg), void *arg)
{
    o->stopping = true;
    if (orders_idle(o)) {
        on_stopped(arg);
        return;
    }
    o->on_stopped = on_stopped;
    o->stopped_arg = arg;
}

void orders_free(struct orders *o)
{
    if (o == NULL)
        return;
    free(o->text);
    free(o);
}
