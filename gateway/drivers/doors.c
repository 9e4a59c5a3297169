#include "doors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DOUBT_MS 1800000 /* after a jump the door's figures are marked for the rest of a run, say half an hour */
#define SAVE_MS  5000
#define TEXT_MAX 512

/* --- totals over a power cut --- */

/*
 * One line per door: "door raw_in persons_in raw_out persons_out"; the head carries the wall time of the reading, the last line the sum of all before
 * it. A driver on the loop must not wait for the disk: it starts the writing and keeps the file before as STATE.old, so that a cut in between leaves
 * one that is whole.
 */
static uint32_t sum_of(const char *text, size_t n)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    return h;
}

static bool read_whole(const char *path, char text[TEXT_MAX])
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t n = fread(text, 1, TEXT_MAX - 1, f);
    fclose(f);
    text[n] = '\0';
    char *end = strstr(text, "end ");
    uint32_t sum = 0;
    return end != NULL && sscanf(end, "end %8" SCNx32, &sum) == 1 && sum == sum_of(text, (size_t)(end - text));
}

static void restore(struct doors *d)
{
    char text[TEXT_MAX], old[DOORS_PATH_MAX + 8];
    int64_t wall_ms = 0;
    int used = 0;
    d->kept->restored = true;
    if (d->setup->state[0] == '\0')
        return;
    snprintf(old, sizeof old, "%s.old", d->setup->state);
    if (!read_whole(d->setup->state, text) && !read_whole(old, text))
        return;
    if (sscanf(text, "schoolward-counter 2 %" SCNd64 "\n%n", &wall_ms, &used) != 1)
        return;
    /* What may have passed since then is bounded by the time since then; a clock that lost its date bounds nothing, total_step() does. */
    int64_t age_ms = driver_wall_ms(d->ctx) - wall_ms;
    int64_t at_ms = driver_mono_ms(d->ctx) - (age_ms > 0 ? age_ms : 0);
    int door = 0, more = 0;
    int64_t raw_in = 0, raw_out = 0;
    int32_t in = 0, out = 0;
    for (const char *s = text + used;
         sscanf(s, "%d %" SCNd64 " %" SCNd32 " %" SCNd64 " %" SCNd32 "\n%n", &door, &raw_in, &in, &raw_out, &out, &more) == 5; s += more) {
        if (door < 0 || door >= REGMAP_DOORS || in < 0 || out < 0 || in > TOTAL_MAX || out > TOTAL_MAX)
            continue;
        d->kept->in[door] = (struct total){.based = true, .raw = raw_in, .at_ms = at_ms, .persons = in};
        d->kept->out[door] = (struct total){.based = true, .raw = raw_out, .at_ms = at_ms, .persons = out};
    }
}

static bool write_file(const struct doors *d, const char *path, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, n) == (ssize_t)n;
    if (ok && d->waits)
        ok = fsync(fd) == 0;
    else if (ok)
        sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return close(fd) == 0 && ok;
}

enum rc doors_save(struct doors *d, int64_t now_ms, bool at_once, char *why, size_t cap)
{
    if (!d->save_due || d->setup->state[0] == '\0' || (now_ms < d->save_at_ms && !at_once))
        return RC_OK;
    d->save_due = false;
    d->save_at_ms = now_ms + SAVE_MS;
    char text[TEXT_MAX], path[DOORS_PATH_MAX + 8], old[DOORS_PATH_MAX + 8];
    size_t n = (size_t)snprintf(text, sizeof text, "schoolward-counter 2 %" PRId64 "\n", driver_wall_ms(d->ctx));
    for (int i = 0; i < REGMAP_DOORS; i++) {
        const struct total *in = &d->kept->in[i], *out = &d->kept->out[i];
        if (d->map->door[i].fitted && in->based)
            n += (size_t)snprintf(text + n, sizeof text - n, "%d %" PRId64 " %" PRId32 " %" PRId64 " %" PRId32 "\n", i, in->raw, in->persons, out->raw, out->persons);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "end %08" PRIx32 "\n", sum_of(text, n));
    snprintf(path, sizeof path, "%s.new", d->setup->state);
    snprintf(old, sizeof old, "%s.old", d->setup->state);
    bool ok = write_file(d, path, text, n);
    if (ok && !d->waits)
        (void)!rename(d->setup->state, old); /* there is none the first time */
    ok = ok && rename(path, d->setup->state) == 0;
    if (!ok)
        snprintf(why, cap, "%s cannot be written: %s: the totals will not outlive a power cut", d->setup->state, strerror(errno));
    return ok ? RC_OK : RC_FULL;
}

/* --- figures --- */

enum rc doors_open(struct doors *d, struct driver_ctx *ctx, const struct doors_setup *s, const struct regmap_counter *map, struct doors_kept *kept, bool waits,
                   bool *ret_first)
{
    struct doors_kept *k = kept != NULL ? kept : driver_keep(ctx, sizeof *k);
    if (k == NULL)
        return RC_NO_MEMORY;
    *d = (struct doors){.ctx = ctx, .setup = s, .map = map, .kept = k, .waits = waits};
    if (ret_first != NULL)
        *ret_first = !k->restored;
    if (!k->restored)
        restore(d);
    return RC_OK;
}

static void report(struct doors *d, int door, uint8_t flags, int64_t now_ms)
{
    struct doors_kept *k = d->kept;
    if (flags & EVENT_COUNT_DOUBTFUL)
        k->doubt_until_ms[door] = now_ms + DOUBT_MS;
    struct event e = {.kind = EVENT_COUNT};
    e.count = (struct event_count){
        .source = EVENT_COUNT_DOOR,
        .door = (uint8_t)door,
        .flags = flags | (uint8_t)(now_ms < k->doubt_until_ms[door] ? EVENT_COUNT_DOUBTFUL : 0),
        .confidence_pct = d->setup->confidence_pct,
        .boarded = k->in[door].persons,
        .alighted = k->out[door].persons,
        .aboard = EVENT_UNKNOWN,
    };
    struct event_count *last = &d->last[door];
    bool changed = last->source == 0 || last->boarded != e.count.boarded || last->alighted != e.count.alighted || last->flags != e.count.flags;
    if (changed)
        d->save_due = true;
    if (!changed && now_ms < d->report_at_ms[door])
        return;
    *last = e.count;
    d->report_at_ms[door] = now_ms + (int64_t)d->setup->report_s * 1000;
    driver_emit(d->ctx, &e);
}

void doors_take(struct doors *d, int door, int64_t raw_in, int64_t raw_out, int64_t now_ms)
{
    uint8_t flags = raw_in >= 0 || d->map->is_signed ? total_step(&d->kept->in[door], d->map, raw_in, now_ms) : 0;
    if (raw_out >= 0 || (d->map->is_signed && d->map->door[door].out >= 0))
        flags |= total_step(&d->kept->out[door], d->map, raw_out, now_ms);
    if (flags != 0)
        driver_count(d->ctx, flags & EVENT_COUNT_RESET ? "device_restarts" : "jumps", 1);
    report(d, door, flags, now_ms);
}

void doors_add(struct doors *d, int door, int32_t in, int32_t out, bool doubtful, int64_t now_ms)
{
    struct total *t[2] = {&d->kept->in[door], &d->kept->out[door]};
    int32_t n[2] = {in, out};
    uint8_t flags = doubtful ? EVENT_COUNT_DOUBTFUL : 0;
    for (int i = 0; i < 2; i++) {
        t[i]->based = true;
        if (n[i] < 0 || n[i] > TOTAL_BURST_MAX) {
            flags |= EVENT_COUNT_DOUBTFUL;
            driver_count(d->ctx, "jumps", 1);
        } else if (t[i]->persons + n[i] <= TOTAL_MAX) {
            t[i]->persons += n[i];
        }
    }
    report(d, door, flags, now_ms);
}

void doors_again(struct doors *d, int64_t now_ms)
{
    for (int i = 0; i < REGMAP_DOORS; i++)
        if (d->map->door[i].fitted && d->last[i].source != 0)
            report(d, i, 0, now_ms);
}

void doors_rebase(struct doors *d, int door)
{
    d->kept->in[door].based = d->kept->out[door].based = false;
}
