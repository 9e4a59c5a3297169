#include "clock.h"

#include <stddef.h>
#include <stdio.h>
#include <time.h>

static int64_t (*wall_source)(void *);
static int64_t (*mono_source)(void *);
static void *source_arg;

static int64_t system_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    return wall_source != NULL ? wall_source(source_arg) : system_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
    return mono_source != NULL ? mono_source(source_arg) : system_ms(CLOCK_MONOTONIC);
}

void clock_deadline(int64_t in_ms, struct timespec *ret_t)
{
    int64_t at_ms = system_ms(CLOCK_MONOTONIC) + in_ms; /* waiting is done by the system's clock, whatever source the caller runs on */
    ret_t->tv_sec = (time_t)(at_ms / 1000);
    ret_t->tv_nsec = (long)(at_ms % 1000) * 1000000;
}

void clock_set_source(int64_t (*wall)(void *), int64_t (*mono)(void *), void *arg)
{
    wall_source = wall;
    mono_source = mono;
    source_arg = arg;
}

void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_MAX])
{
    time_t s = (time_t)(wall_ms / 1000);
    int ms = (int)(wall_ms % 1000);
    struct tm tm;
    if (ms < 0) {
        ms += 1000;
        s--;
    }
    if (gmtime_r(&s, &tm) == NULL) {
        snprintf(out, CLOCK_TEXT_MAX, "-");
        return;
    }
    size_t n = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_TEXT_MAX - n, ".%03dZ", ms);
}
