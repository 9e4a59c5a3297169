#include "timing.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

#include "../core/base/clock.h"

enum {
    GNSS_AGE_MS = 60000,
    STEP_MS = 1500, /* a receiver's sentence comes up to a second after its time */
    FIXES = 3,
    SAVE_MS = 600000, /* 144 renames a day */
};
/* No gateway of this program ran before it was written: a clock below this was never set, a receiver below it lost its week number. */
static const int64_t epoch_ms = 1767225600000; /* 2026-01-01 */
static const int64_t end_ms = 4102444800000;   /* 2100-01-01: rubbish above */

static bool system_clock_synced(void)
{
    struct timex t = {0};
    int clock = adjtimex(&t); /* a sandbox may refuse even to look: then nothing is known of the clock */
    return clock >= 0 && clock != TIME_ERROR && (t.status & STA_UNSYNC) == 0;
}

/* FNV-1a of the kernel's boot id; without /proc every start is a boot of its own, and nothing of the one before is moved. */
static uint64_t boot_number(void)
{
    char text[64];
    uint64_t h = 14695981039346656037U;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        n = (ssize_t)snprintf(text, sizeof text, "%d %" PRId64, (int)getpid(), clock_mono_ms());
    for (ssize_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)text[i]) * 1099511628211U;
    return h >> 1; /* fits SQLite's integers */
}

static int64_t saved_ms(const struct timing *t)
{
    char text[64];
    int64_t ms = 0, check = 0;
    int fd = t->path[0] != '\0' ? open(t->path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    /* twice, one of them turned over: a torn or flipped file must not put the floor into the future */
    if (sscanf(text, "schoolward clock %" SCNd64 " %" SCNd64, &ms, &check) != 2 || ms != ~check || ms < epoch_ms || ms > end_ms)
        return 0;
    return ms;
}

/* Steps of a clock that nobody disciplines are not time passing. */
static int64_t look(struct timing *t)
{
    int64_t wall = clock_wall_ms(), mono = clock_mono_ms();
    int64_t jump = (wall - t->wall_ms) - (mono - t->mono_ms);
    if (!t->ntp && (jump > STEP_MS || jump < -STEP_MS))
        t->offset_ms -= jump;
    t->wall_ms = wall;
    t->mono_ms = mono;
    return wall + t->offset_ms;
}

void timing_start(struct timing *t, const char *state_dir)
{
    *t = (struct timing){.boot = boot_number(), .ntp = system_clock_synced(), .wall_ms = clock_wall_ms(), .mono_ms = clock_mono_ms()};
    if (state_dir != NULL && snprintf(t->path, sizeof t->path, "%s/clock", state_dir) >= (int)sizeof t->path - 8)
        t->path[0] = '\0';
    int64_t saved = saved_ms(t);
    t->floor_ms = saved > epoch_ms ? saved : epoch_ms;
    t->trusted = t->ntp;
    if (t->ntp) {
        t->quality = EVENT_CLOCK_NTP;
    } else if (t->wall_ms >= t->floor_ms) {
        t->quality = EVENT_CLOCK_SYSTEM;
    } else {
        t->quality = saved > 0 ? EVENT_CLOCK_SAVED : EVENT_CLOCK_NONE;
        t->offset_ms = t->floor_ms - t->wall_ms;
    }
}

int64_t timing_now_ms(struct timing *t)
{
    return look(t);
}

int64_t timing_base_ms(struct timing *t)
{
    int64_t now = look(t);
    return now - t->mono_ms;
}

int64_t timing_of_ms(struct timing *t, int64_t wall_ms)
{
    int64_t now = look(t);
    return wall_ms == 0 ? now : wall_ms + t->offset_ms;
}

static bool set(struct timing *t, int64_t offset_ms, uint8_t quality, bool trust, const char *source, struct timing_step *ret_step)
{
    struct timing_step s = {.by_ms = offset_ms - t->offset_ms, .old_base_ms = timing_base_ms(t), .source = source};
    s.first = trust && !t->trusted;
    bool news = s.by_ms != 0 || s.first || (quality >= EVENT_CLOCK_NTP) != (t->quality >= EVENT_CLOCK_NTP);
    s.base_ms = s.old_base_ms + s.by_ms;
    t->offset_ms = offset_ms;
    t->quality = quality;
    t->trusted = t->trusted || trust;
    if (news)
        *ret_step = s;
    return news;
}

static bool gnss_fresh(const struct timing *t)
{
    return t->gnss_mono_ms != 0 && t->mono_ms - t->gnss_mono_ms < GNSS_AGE_MS;
}

bool timing_look(struct timing *t, struct timing_step *ret_step)
{
    t->ntp = system_clock_synced();
    look(t);
    bool gnss = gnss_fresh(t);
    if (t->ntp && t->offset_ms != 0) /* chrony found its sources: it knows better from now on */
        return set(t, 0, gnss ? EVENT_CLOCK_GNSS : EVENT_CLOCK_NTP, true, "NTP", ret_step);
    if (gnss)
        return set(t, t->offset_ms, EVENT_CLOCK_GNSS, true, "GNSS", ret_step);
    if (t->ntp)
        return set(t, 0, EVENT_CLOCK_NTP, true, "NTP", ret_step);
    /* carried on by the quartz: right to a second a day, but nobody watches it */
    return set(t, t->offset_ms, t->quality > EVENT_CLOCK_SYSTEM ? EVENT_CLOCK_SYSTEM : t->quality, false, "none", ret_step);
}

static bool usable(const struct timing *t, const struct event *fix)
{
    return fix->kind == EVENT_FIX && fix->clock == EVENT_CLOCK_GNSS && fix->fix.mode >= EVENT_FIX_2D && fix->time_ms >= t->floor_ms &&
           fix->time_ms < end_ms;
}

bool timing_agrees(struct timing *t, const struct event *fix)
{
    int64_t off = fix->time_ms - look(t);
    return t->trusted || (off > -STEP_MS && off < STEP_MS);
}

bool timing_fix(struct timing *t, const struct event *fix, struct timing_step *ret_step)
{
    if (!usable(t, fix))
        return false;
    int64_t off = fix->time_ms - look(t), apart = off - t->odd_ms;
    if (off > -STEP_MS && off < STEP_MS) {
        t->odd_fixes = 0;
        t->gnss_mono_ms = t->mono_ms;
        return t->quality != EVENT_CLOCK_GNSS && timing_look(t, ret_step);
    }
    t->odd_fixes = t->odd_fixes > 0 && apart > -STEP_MS && apart < STEP_MS ? t->odd_fixes + 1 : 1;
    t->odd_ms = off;
    if (t->ntp || t->odd_fixes < FIXES)
        return false;
    t->odd_fixes = 0;
    t->gnss_mono_ms = t->mono_ms;
    return set(t, t->offset_ms + off, EVENT_CLOCK_GNSS, true, "GNSS", ret_step);
}

bool timing_server(struct timing *t, int64_t server_ms, bool tls, struct timing_step *ret_step)
{
    int64_t off = server_ms - look(t);
    if (t->ntp || gnss_fresh(t) || server_ms < t->floor_ms || server_ms >= end_ms)
        return false;
    if (t->trusted && off > -STEP_MS && off < STEP_MS)
        return false; /* its answer was on its way for a while: ours is as good */
    return set(t, t->offset_ms + (off > -STEP_MS && off < STEP_MS ? 0 : off), tls ? EVENT_CLOCK_NTP : EVENT_CLOCK_SYSTEM, true, "server", ret_step);
}

void timing_save(struct timing *t, bool now)
{
    char next[sizeof t->path + 8], text[96];
    int64_t ms = look(t);
    if (t->path[0] == '\0' || !t->trusted || (!now && t->saved_mono_ms != 0 && t->mono_ms - t->saved_mono_ms < SAVE_MS))
        return;
    t->saved_mono_ms = t->mono_ms;
    snprintf(next, sizeof next, "%s.new", t->path);
    int n = snprintf(text, sizeof text, "schoolward clock %" PRId64 " %" PRId64 "\n", ms, ~ms);
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    /* no fsync: it runs on the loop, and an old or missing floor costs nothing but a lower floor */
    bool done = write(fd, text, (size_t)n) == n;
    if (close(fd) != 0 || !done || rename(next, t->path) != 0)
        unlink(next);
}
