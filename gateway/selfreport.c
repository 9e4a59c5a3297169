#include "selfreport.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../core/base/clock.h"

#define DAY_MS        INT64_C(86400000)
#define RATE_AFTER_MS 600000 /* the first minutes say little of a day */

/* The first number in a small file; REPORT_NONE if there is none. */
static int64_t number_in(const char *path)
{
    char text[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return REPORT_NONE;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return REPORT_NONE;
    text[n] = '\0';
    char *end = NULL;
    int64_t v = strtoll(text, &end, 10);
    return end == text ? REPORT_NONE : v;
}

/* The hottest thermal zone, thousandths of a degree (Documentation/driver-api/thermal/sysfs-api.rst). */
static int64_t board_mc(void)
{
    int64_t hottest = REPORT_NONE;
    for (int i = 0; i < 8; i++) {
        char path[64];
        snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", i);
        int64_t v = number_in(path);
        if (v != REPORT_NONE && v > -60000 && v < 200000 && (hottest == REPORT_NONE || v > hottest))
            hottest = v;
    }
    return hottest;
}

/* Second number of /proc/self/statm: resident pages, proc(5). */
static int64_t rss_bytes(void)
{
    char text[128];
    long pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return REPORT_NONE;
    text[n] = '\0';
    const char *second = strchr(text, ' ');
    pages = second != NULL ? strtol(second, NULL, 10) : 0;
    return pages > 0 ? (int64_t)pages * sysconf(_SC_PAGESIZE) : REPORT_NONE;
}

static void add_device(struct report *r, const struct device *d, int64_t now)
{
    struct device_figures f;
    struct report_device *out = &r->device[r->devices++];
    device_figures(d, &f);
    snprintf(out->name, sizeof out->name, "%s", device_name(d));
    snprintf(out->driver, sizeof out->driver, "%s", device_driver(d)->name);
    out->kind = (uint8_t)device_driver(d)->kind;
    out->state = (uint8_t)device_state(d);
    out->events = f.events;
    out->errors = f.errors;
    out->opens = f.opens;
    out->input_age_ms = f.last_input_mono_ms == 0 ? REPORT_NONE : now - f.last_input_mono_ms;
}

void selfreport_collect(const struct selfreport_sources *s, struct report *ret_r)
{
    struct wire_hello h = {.version = WIRE_VERSION};
    struct gateway_figures g;
    struct outbox_figures o = {.file_bytes = REPORT_NONE};
    struct uplink_figures u = {0};
    struct statvfs disk;
    struct device *const *device;
    struct gateway_clock clock = gateway_clock(s->gateway);
    int64_t now = clock_mono_ms(), up_ms = now - s->start_mono_ms, supply = gateway_reading(s->gateway, EVENT_READING_SUPPLY_V),
            board = gateway_reading(s->gateway, EVENT_READING_BOARD_C);
    gateway_figures(s->gateway, &g);
    if (s->outbox != NULL)
        outbox_figures(s->outbox, &o);
    if (s->uplink != NULL)
        uplink_figures(s->uplink, &u);
    *ret_r = (struct report){.time_ms = clock.time_ms,
                             .clock = clock.quality,
                             .clock_offset_ms = clock.offset_ms,
                             .uptime_s = up_ms > 0 ? up_ms / 1000 : 0,
                             .boots = s->boots,
                             .starts = s->starts,
                             .safe_mode = s->safe_mode,
                             .config = s->config,
                             .config_version = s->config_version,
                             .duty_version = s->duty_version,
                             .law_version = s->law_version,
                             .connected = u.connected,
                             .connects = u.connects,
                             .ack_ms = u.acks > 0 ? u.ack_ms : REPORT_NONE,
                             .disk_free = REPORT_NONE,
                             .disk_size = REPORT_NONE,
                             .board_mc = board != EVENT_UNKNOWN ? board : board_mc(),
                             .supply_mv = supply != EVENT_UNKNOWN ? supply : REPORT_NONE,
                             .rss_bytes = rss_bytes(),
                             .waiting = {o.waiting[0], o.waiting[1]},
                             .outbox_bytes = o.file_bytes,
                             .written_per_day = REPORT_NONE,
                             .lost = g.lost,
                             .given_up = o.given_up,
                             .bad = g.bad};
    if (up_ms >= RATE_AFTER_MS)
        ret_r->written_per_day = (int64_t)((double)o.bytes_written * (double)DAY_MS / (double)up_ms);
    if (statvfs(s->state_dir, &disk) == 0) {
        ret_r->disk_free = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
        ret_r->disk_size = (int64_t)disk.f_blocks * (int64_t)disk.f_frsize;
    }
    gateway_hello(s->gateway, &h);
    snprintf(ret_r->firmware, sizeof ret_r->firmware, "%s", h.firmware);
    snprintf(ret_r->duty, sizeof ret_r->duty, "%s", h.duty);
    snprintf(ret_r->law, sizeof ret_r->law, "%s", h.law);
    size_t n = gateway_devices(s->gateway, &device);
    for (size_t i = 0; i < n && i < REPORT_DEVICES_MAX; i++)
        add_device(ret_r, device[i], now);
}
