/*
 * replay - plays a recording of events (replay_line.h) in the real program: a demonstration without hardware, an incident once more. It reads the
 * file line by line, so a recording may be of any length.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "replay_line.h"

#define FILE_MAX    255
#define PASS_MAX    500     /* events in one go: the loop has other work */
#define IDLE_MS     3600000
#define ABSOLUTE_MS INT64_C(1000000000000) /* above it a time is a date (2001 and later) */

enum { TIMES_NOW = 0, TIMES_RECORDED = 1 };

struct replay_options {
    char file[FILE_MAX + 1];
    double speed;
    int times;
    bool repeat;
};

static const char *const times_words[] = {"now", "recorded", NULL};

static const struct field replay_fields[] = {
    {"file", FIELD_TEXT, FIELD_AT(struct replay_options, file), "", 1, FILE_MAX, NULL, NULL, "recording, see docs/devices.md"},
    {"speed", FIELD_REAL, FIELD_AT(struct replay_options, speed), "", 0, 10000, NULL, "1", "times real time; 0: as fast as the loop takes it"},
    {"times", FIELD_WORD, FIELD_AT(struct replay_options, times), "", 0, 1, times_words, "now", "now: as if it happened now; recorded: the file's dates"},
    {"repeat", FIELD_BOOL, FIELD_AT(struct replay_options, repeat), "", 0, 1, NULL, "no", "begin again at the end"},
};

struct replay {
    struct driver_ctx *ctx;
    const struct replay_options *opt;
    FILE *f;
    unsigned line;
    bool waiting; /* an event is read and not yet due */
    struct event event;
    int64_t event_ms;
    bool begun;
    int64_t first_ms, begun_mono_ms;
};

static void replay_close(void *state)
{
    struct replay *r = state;
    if (r == NULL)
        return;
    if (r->f != NULL)
        fclose(r->f);
    free(r);
}

static enum rc open_file(const char *path, FILE **ret_f, char *why, size_t cap)
{
    char head[REPLAY_LINE_MAX] = "";
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        enum rc rc = errno == ENOENT ? RC_NOT_FOUND : RC_DENIED;
        snprintf(why, cap, "%s cannot be read: %s", path, strerror(errno));
        return rc;
    }
    if (fgets(head, sizeof head, f) == NULL || strncmp(head, REPLAY_LINE_HEAD, strlen(REPLAY_LINE_HEAD)) != 0) {
        snprintf(why, cap, "%s is no recording: its first line must be \"%s\"", path, REPLAY_LINE_HEAD);
        fclose(f);
        return RC_INVALID;
    }
    *ret_f = f;
    return RC_OK;
}

static enum rc replay_check(const void *options, char *why, size_t cap)
{
    FILE *f = NULL;
    enum rc rc = open_file(((const struct replay_options *)options)->file, &f, why, cap);
    if (rc == RC_OK)
        fclose(f);
    return rc == RC_OK ? RC_OK : RC_INVALID;
}

static enum rc replay_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    struct replay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return RC_NO_MEMORY;
    r->ctx = ctx;
    r->opt = options;
    r->line = 1;
    enum rc rc = open_file(r->opt->file, &r->f, why, cap);
    if (rc != RC_OK) {
        replay_close(r);
        return rc;
    }
    *ret_state = r;
    *ret_fd = -1;
    return RC_OK;
}

/* Read on to the next event. RC_OK, RC_END, RC_INVALID a line that makes no sense (it is skipped). */
static enum rc next_event(struct replay *r, char *why, size_t cap)
{
    char line[REPLAY_LINE_MAX + 2], problem[160];
    while (fgets(line, sizeof line, r->f) != NULL) {
        r->line++;
        enum rc rc = replay_line_parse(line, &r->event_ms, &r->event, problem, sizeof problem);
        if (rc == RC_AGAIN)
            continue;
        if (rc == RC_OK && r->opt->times == TIMES_RECORDED && r->event_ms < ABSOLUTE_MS) {
            snprintf(problem, sizeof problem, "no date: times = recorded needs UTC milliseconds in every line");
            rc = RC_INVALID;
        }
        if (rc == RC_OK)
            return RC_OK;
        driver_count(r->ctx, "bad_lines", 1);
        snprintf(why, cap, "%s:%u: %s", r->opt->file, r->line, problem);
        return RC_INVALID;
    }
    return RC_END;
}

static void play(struct replay *r)
{
    struct event e = r->event;
    if (r->opt->times == TIMES_RECORDED) {
        e.time_ms = r->event_ms;
        e.clock = e.kind == EVENT_FIX ? EVENT_CLOCK_GNSS : EVENT_CLOCK_SYSTEM;
    }
    driver_emit(r->ctx, &e);
    r->waiting = false;
}

static enum rc at_end(struct replay *r, int *ret_next_ms)
{
    driver_count(r->ctx, "plays", 1);
    if (!r->opt->repeat) {
        *ret_next_ms = IDLE_MS;
        return RC_OK;
    }
    rewind(r->f);
    r->line = 0;
    r->begun = false;
    *ret_next_ms = 1000;
    return RC_OK;
}

static enum rc replay_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct replay *r = state;
    *ret_next_ms = 0;
    for (int i = 0; i < PASS_MAX; i++) {
        if (!r->waiting) {
            enum rc rc = next_event(r, why, cap);
            if (rc == RC_END)
                return at_end(r, ret_next_ms);
            if (rc != RC_OK)
                return rc;
            r->waiting = true;
            if (!r->begun) {
                r->begun = true;
                r->first_ms = r->event_ms;
                r->begun_mono_ms = now_ms;
            }
        }
        if (r->opt->speed > 0) {
            double due_ms = (double)(r->event_ms - r->first_ms) / r->opt->speed - (double)(now_ms - r->begun_mono_ms);
            if (due_ms >= 1) {
                *ret_next_ms = due_ms < 1000 ? (int)due_ms : 1000;
                return RC_OK;
            }
        }
        play(r);
    }
    return RC_OK;
}

const struct driver driver_replay = {
    .name = "replay",
    .kind = EVENT_DEVICE_REPLAY,
    .options_size = sizeof(struct replay_options),
    .options = replay_fields,
    .options_n = sizeof replay_fields / sizeof *replay_fields,
    .silence_ms = 0,
    .check = replay_check,
    .open = replay_open,
    .poll = replay_poll,
    .close = replay_close,
};
