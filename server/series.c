/*
 * One thread: read the journal behind a durable cursor, make lines, send them, move the cursor. While the target is down only the batch in hand is kept,
 * and tried again; the journal keeps the rest. A line's key comes from the record, so sending anything twice changes nothing.
 */
#include "series.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "series_influx.h"
#include "series_points.h"

#define BATCH_BYTES_MAX (32u << 20)    /* of lines in hand */
#define WAITING_BYTES (256u << 10)     /* of findings waiting: some thousand; beyond that they are read from the ledger again */
#define DEAD_BYTES_MAX (16 << 20)      /* of the dead-letter file; one older file is kept beside it */
#define PARTIAL_REQUESTS_MAX 512       /* to find out which lines of a batch were rejected, where the server does not say */
#define PAUSE_FIRST_MS 500             /* back-off: full jitter below 500 ms, doubling ... */
#define PAUSE_MAX_MS 60000             /* ... to a minute */
#define BARRED_FIRST_MS 10000          /* while a person has to do something */
#define RETRY_AFTER_MAX_MS (15 * 60000)
#define SLICE_MS 200                   /* longest wait that does not look at `stopping` */

struct series {
    struct series_setup setup; /* only the numbers; texts belong to influx */
    struct series_source from;
    series_tags_fn *tags;
    void *tags_arg;
    struct series_influx *influx;
    char cursor_path[512], dead_path[512], dir[480];
    pthread_t thread;
    atomic_bool stopping;

    pthread_mutex_t lock; /* of waiting, rescan, figures; wake is signalled with it */
    pthread_cond_t wake;
    struct lineproto waiting;
    bool rescan;
    struct series_figures figures;
    int64_t oldest_arrival_ms; /* of the batch in hand, 0 = none */

    /* of the thread alone */
    struct lineproto batch;
    struct journal_cursor saved, reached; /* on disk; of the last row in batch */
    uint64_t skip;                        /* rows of the group after `reached` that are in the batch already: a group too big for one */
    bool one_group;
    int64_t batch_since_ms;
    bool scanning; /* the ledger, newest first, from scan_ms and scan_id on */
    int64_t scan_ms;
    uint64_t scan_id;
    size_t request_bytes; /* learned from 413 */
    int64_t pause_ms;
    struct log_gate gate, disk_gate;
};

/* --- small things ---------------------------------------------------------------------------------------------------------------------- */

static bool stopping(const struct series *s)
{
    return atomic_load(&s->stopping);
}

static void rest(struct series *s, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms;
    pthread_mutex_lock(&s->lock);
    while (!stopping(s) && clock_mono_ms() < until) {
        int64_t left = until - clock_mono_ms(), then = clock_mono_ms() + (left < SLICE_MS ? left : SLICE_MS);
        struct timespec t = {.tv_sec = (time_t)(then / 1000), .tv_nsec = (long)(then % 1000) * 1000000L};
        pthread_cond_timedwait(&s->wake, &s->lock, &t);
    }
    pthread_mutex_unlock(&s->lock);
}

static int64_t random_below(int64_t n)
{
    uint64_t r = 0;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r)
        r = (uint64_t)clock_mono_ms() * 6364136223846793005ULL;
    return n <= 1 ? 0 : (int64_t)(r % (uint64_t)n);
}

/* --- the cursor on disk ------------------------------------------------------------------------------------------------------------------ */

static bool write_whole(const char *path, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    return close(fd) == 0 && good;
}

/* New file, fsync, rename, fsync of the folder: after a power cut there is the old cursor or the new one. */
static bool cursor_save(struct series *s, const struct journal_cursor *c)
{
    char text[700], temporary[520];
    int n = snprintf(text, sizeof text, "schoolward series cursor 1\nday %d\ngroup %lld\ntarget %s\n", c->day, (long long)c->group, series_influx_target(s->influx));
    snprintf(temporary, sizeof temporary, "%s.new", s->cursor_path);
    bool good = write_whole(temporary, text, (size_t)n) && rename(temporary, s->cursor_path) == 0;
    int dir = good ? open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    good = dir >= 0 && fsync(dir) == 0;
    int error = errno;
    if (dir >= 0)
        close(dir);
    errno = error;
    return good;
}

static void cursor_load(struct series *s)
{
    char text[800] = "", target[512] = "";
    int day = 0;
    long long group = 0;
    FILE *f = fopen(s->cursor_path, "re");
    if (f == NULL) {
        log_info("series", "no cursor yet: projecting everything the journal holds to %s", series_influx_target(s->influx));
        return;
    }
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    if (sscanf(text, "schoolward series cursor 1\nday %d\ngroup %lld\ntarget %511[^\n]\n", &day, &group, target) != 3 || text[n - 1] != '\n' || day < 0 ||
        group < 0)
        log_warning("series", "%s is not a cursor: projecting everything again (the same points: nothing doubles)", s->cursor_path);
    else if (strcmp(target, series_influx_target(s->influx)) != 0)
        log_notice("series", "the target changed to %s: projecting everything the journal holds", series_influx_target(s->influx));
    else
        s->saved = (struct journal_cursor){.day = day, .group = group};
    s->reached = s->saved;
}

/* --- dead letters ------------------------------------------------------------------------------------------------------------------------ */

/* What the server will never take, with its reason, for a person to read. The journal still has it all. */
static void dead_letter(struct series *s, const char *lines, size_t n, size_t count, const char *reason)
{
    char now[CLOCK_TEXT_MAX], older[520];
    struct stat st;
    pthread_mutex_lock(&s->lock);
    s->figures.rejected += count;
    pthread_mutex_unlock(&s->lock);
    if (log_gate_trouble(&s->gate, clock_mono_ms()))
        log_warning("series", "%zu point(s) rejected, kept in %s: %s", count, s->dead_path, reason);
    if (stat(s->dead_path, &st) == 0 && st.st_size + (off_t)n > DEAD_BYTES_MAX) {
        snprintf(older, sizeof older, "%s.1", s->dead_path);
        if (rename(s->dead_path, older) != 0)
            return;
    }
    int fd = open(s->dead_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "a");
    if (f == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    clock_text(clock_wall_ms(), now);
    size_t keep = n < DEAD_BYTES_MAX ? n : DEAD_BYTES_MAX;
    fprintf(f, "# %s %zu rejected: %s\n", now, count, reason);
    fwrite(lines, 1, keep, f);
    fclose(f);
}

/* --- sending ----------------------------------------------------------------------------------------------------------------------------- */

struct range {
    const char *text;
    size_t n, lines;
};

static struct range first_lines(struct range r, size_t lines)
{
    struct range out = {r.text, 0, 0};
    while (out.lines < lines && out.n < r.n) {
        const char *end = memchr(r.text + out.n, '\n', r.n - out.n);
        out.n = (size_t)(end - r.text) + 1;
        out.lines++;
    }
    return out;
}

static struct range without(struct range r, struct range first)
{
    return (struct range){r.text + first.n, r.n - first.n, r.lines - first.lines};
}

static void say_up(struct series *s, bool clean)
{
    s->pause_ms = 0;
    if (clean && log_gate_over(&s->gate))
        log_notice("series", "works again");
    pthread_mutex_lock(&s->lock);
    s->figures.down = false;
    s->figures.why[0] = '\0';
    pthread_mutex_unlock(&s->lock);
}

/* Down, busy or barred: say so, then wait. Full jitter, so that many servers do not come back in step; a stated Retry-After is kept. */
static void say_down_and_wait(struct series *s, const struct series_influx_answer *a)
{
    bool barred = a->verdict == SERIES_INFLUX_BARRED;
    int64_t least = barred ? BARRED_FIRST_MS : PAUSE_FIRST_MS;
    if (log_gate_trouble(&s->gate, clock_mono_ms()))
        log_warning("series", "cannot write to %s: %s; nothing is lost, the journal keeps it, trying again", series_influx_target(s->influx), a->why);
    pthread_mutex_lock(&s->lock);
    s->figures.down = true;
    s->figures.retries++;
    snprintf(s->figures.why, sizeof s->figures.why, "%.*s", (int)sizeof s->figures.why - 1, a->why);
    pthread_mutex_unlock(&s->lock);
    s->pause_ms = s->pause_ms * 2 < least ? least : s->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : s->pause_ms * 2;
    int64_t pause = barred ? s->pause_ms : 20 + random_below(s->pause_ms);
    if (a->retry_after_ms > pause)
        pause = a->retry_after_ms < RETRY_AFTER_MAX_MS ? a->retry_after_ms : RETRY_AFTER_MAX_MS;
    rest(s, pause);
}

static void count_points(struct series *s, size_t points)
{
    pthread_mutex_lock(&s->lock);
    s->figures.points += points;
    s->figures.batches++;
    pthread_mutex_unlock(&s->lock);
}

/* The server took some lines and not others. True when the range is dealt with, false when its halves should be sent to see which. */
static bool settle_partial(struct series *s, struct range r, const struct series_influx_answer *a, size_t *requests)
{
    if (a->named > 0) {
        for (size_t i = 0; i < a->named; i++) {
            if (a->line[i] > r.lines)
                continue;
            struct range before = first_lines(r, a->line[i] - 1), bad = first_lines(without(r, before), 1);
            dead_letter(s, bad.text, bad.n, 1, a->why);
        }
        count_points(s, r.lines - (a->named < r.lines ? a->named : r.lines));
        return true;
    }
    /* Too old for the retention policy: nothing is wrong with any line, and a backlog of a week would ask for thousands of requests. */
    bool old = strstr(a->why, "beyond retention policy") != NULL;
    if (r.lines > 1 && a->dropped != r.lines && !old && *requests < PARTIAL_REQUESTS_MAX)
        return false;
    size_t dropped = a->dropped > 0 && a->dropped < r.lines ? a->dropped : r.lines == 1 || a->dropped >= r.lines ? r.lines : 1;
    dead_letter(s, r.text, old ? 0 : r.n, dropped, a->why);
    count_points(s, r.lines - dropped);
    return true;
}

/*
 * Send one request's worth until every line of it is stored or known to be refused. A refused range is halved until the bad line stands alone; the good
 * ones around it are stored. False: stopping.
 */
static bool deliver(struct series *s, struct range whole)
{
    struct range stack[64]; /* halving: never deeper than log2 of the lines, twice */
    size_t top = 0, requests = 0;
    stack[top++] = whole;
    while (top > 0) {
        struct series_influx_answer a;
        struct range r = stack[--top];
        series_influx_write(s->influx, r.text, r.n, &s->stopping, &a);
        requests++;
        if (a.verdict == SERIES_INFLUX_LATER || a.verdict == SERIES_INFLUX_BARRED) {
            stack[top++] = r;
            if (!stopping(s))
                say_down_and_wait(s, &a);
            if (stopping(s))
                return false;
            continue;
        }
        s->pause_ms = 0;
        if (a.verdict == SERIES_INFLUX_OK) {
            count_points(s, r.lines);
            continue;
        }
        if (a.verdict == SERIES_INFLUX_TOO_BIG && r.lines > 1)
            s->request_bytes = r.n / 2;
        if (a.verdict == SERIES_INFLUX_PARTIAL ? settle_partial(s, r, &a, &requests) : r.lines == 1) {
            if (a.verdict != SERIES_INFLUX_PARTIAL)
                dead_letter(s, r.text, r.n, 1, a.why);
            continue;
        }
        struct range half = first_lines(r, r.lines / 2);
        stack[top++] = without(r, half);
        stack[top++] = half;
    }
    return true;
}

static bool deliver_batch(struct series *s)
{
    struct range left = {s->batch.out, s->batch.n, s->batch.lines};
    uint64_t rejected_before = s->figures.rejected; /* written by this thread only */
    while (left.lines > 0) {
        struct range r = first_lines(left, (size_t)s->setup.batch_points);
        while (s->request_bytes > 0 && r.lines > 1 && r.n > s->request_bytes)
            r = first_lines(r, r.lines / 2);
        if (!deliver(s, r))
            return false;
        left = without(left, r);
    }
    say_up(s, s->figures.rejected == rejected_before);
    return true;
}

/* --- filling the batch ------------------------------------------------------------------------------------------------------------------- */

static bool grow(struct lineproto *w)
{
    size_t cap = w->cap == 0 ? 1u << 20 : w->cap * 2;
    if (cap > BATCH_BYTES_MAX)
        return false;
    char *more = realloc(w->out, cap);
    if (more == NULL)
        return false;
    w->out = more;
    w->cap = cap;
    return true;
}

struct filling {
    struct series *s;
    uint64_t seen;
    bool full;
};

static bool take_row(void *arg, const struct journal_row *row)
{
    struct filling *f = arg;
    struct series *s = f->s;
    if (f->seen < s->skip) {
        f->seen++;
        return true;
    }
    const char *vehicle = NULL, *route = NULL;
    if (s->tags == NULL || !s->tags(s->tags_arg, row->gateway, &vehicle, &route, row->event->time_ms) || vehicle == NULL) {
        vehicle = row->gateway; /* a bus the registry has forgotten: its data is kept under the name it came by */
        route = NULL;
    }
    enum rc rc;
    while ((rc = series_points_row(&s->batch, row, vehicle, route)) == RC_FULL)
        if (!grow(&s->batch)) {
            f->full = true;
            return false;
        }
    if (rc != RC_OK)
        dead_letter(s, "", 0, 1, "a name that line protocol cannot carry");
    f->seen++;
    if (s->oldest_arrival_ms == 0) {
        pthread_mutex_lock(&s->lock);
        s->oldest_arrival_ms = row->arrival_ms;
        pthread_mutex_unlock(&s->lock);
    }
    return true;
}

enum filled { FILL_MORE, FILL_IDLE, FILL_SEND };

/*
 * Whole groups after `reached`. One that does not fit is taken alone and in parts: the journal tells rows in the same order each time, so a number of
 * rows to skip says where we are in it.
 */
static enum filled fill_from_journal(struct series *s)
{
    struct filling f = {.s = s};
    struct journal_cursor c = s->reached;
    size_t n = s->batch.n, lines = s->batch.lines, room = (size_t)s->setup.batch_points;
    enum rc rc = s->from.follow(s->from.arg, &c, s->one_group ? 1 : room > lines ? room - lines : 1, take_row, &f);
    if (f.full && (lines > 0 || !s->one_group)) {
        s->batch.n = s->batch.start = n;
        s->batch.lines = lines;
        s->one_group = true;
        return lines > 0 ? FILL_SEND : FILL_MORE;
    }
    if (f.full) {
        s->skip = f.seen;
        return FILL_SEND;
    }
    if (rc == RC_OK) {
        bool moved = c.day != s->reached.day || c.group != s->reached.group;
        s->reached = c;
        s->skip = 0;
        s->one_group = false;
        return moved || f.seen > 0 ? FILL_MORE : FILL_IDLE;
    }
    if (rc == RC_AGAIN)
        s->reached = c; /* it may have walked on over days without rows */
    else {
        s->batch.n = s->batch.start = n; /* half a group: again from its start */
        s->batch.lines = lines;
        if (log_gate_trouble(&s->disk_gate, clock_mono_ms()))
            log_error("series", "cannot read the journal: %s; trying again (%u times)", rc_text(rc), s->disk_gate.since_said);
        rest(s, 1000);
    }
    return FILL_IDLE;
}

static void take_finding(void *arg, const struct ledger_finding *x)
{
    struct series *s = arg;
    while (series_points_finding(&s->batch, x) == RC_FULL)
        if (!grow(&s->batch))
            break;
    s->scan_ms = x->f.opened_ms;
    s->scan_id = x->f.id;
}

/* A page of the ledger, newest first; the fresh ones after it, so that of two versions the newer is written last. */
static void fill_from_findings(struct series *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->rescan && s->from.find != NULL) {
        s->scanning = true;
        s->scan_ms = 0;
        s->scan_id = 0;
    }
    s->rescan = false;
    pthread_mutex_unlock(&s->lock);
    if (s->scanning) {
        struct ledger_query q = {.from_ms = clock_wall_ms() - SERIES_FINDINGS_DAYS * 86400000LL, .before_ms = s->scan_ms, .before_id = s->scan_id, .limit = 500};
        size_t before = s->batch.lines;
        if (s->from.find(s->from.arg, &q, take_finding, s) == RC_OK)
            s->scanning = s->batch.lines - before >= q.limit;
    }
    pthread_mutex_lock(&s->lock);
    bool room = true;
    while (room && s->batch.cap - s->batch.n < s->waiting.n)
        room = grow(&s->batch);
    if (room && s->waiting.n > 0) {
        memcpy(s->batch.out + s->batch.n, s->waiting.out, s->waiting.n);
        s->batch.n += s->waiting.n;
        s->batch.lines += s->waiting.lines;
        lineproto_clear(&s->waiting);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Until there are batch_points lines, or flush_ms passed since the first; waits for the first. False: stopping. */
static bool fill(struct series *s)
{
    lineproto_clear(&s->batch);
    s->batch_since_ms = 0;
    pthread_mutex_lock(&s->lock);
    s->oldest_arrival_ms = 0;
    pthread_mutex_unlock(&s->lock);
    while (!stopping(s)) {
        if (s->skip == 0)
            fill_from_findings(s);
        enum filled got = fill_from_journal(s);
        int64_t now = clock_mono_ms();
        if (s->batch.lines > 0 && s->batch_since_ms == 0)
            s->batch_since_ms = now;
        if (got == FILL_SEND || s->batch.lines >= (size_t)s->setup.batch_points)
            return true;
        int64_t left = s->batch.lines == 0 ? SLICE_MS : s->batch_since_ms + s->setup.flush_ms - now;
        if (s->batch.lines > 0 && left <= 0)
            return true;
        if (got == FILL_IDLE && s->from.wait(s->from.arg, &s->reached, (int)(left < SLICE_MS ? left : SLICE_MS)))
            rest(s, 20); /* groups come every 100 ms or so: let a few gather rather than read each by itself */
    }
    return false;
}

static void *run(void *arg)
{
    struct series *s = arg;
    while (fill(s)) {
        if (!deliver_batch(s))
            break;
        if (s->reached.day == s->saved.day && s->reached.group == s->saved.group)
            continue;
        if (cursor_save(s, &s->reached)) {
            s->saved = s->reached;
            if (log_gate_over(&s->disk_gate))
                log_notice("series", "the cursor can be kept again");
        } else if (log_gate_trouble(&s->disk_gate, clock_mono_ms()))
            log_error("series", "cannot keep the cursor in %s: %s; after a restart the same points are sent again", s->dir, strerror(errno));
    }
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------------------------------------------------------ */

void series_put_finding(struct series *s, const struct ledger_finding *x)
{
    pthread_mutex_lock(&s->lock);
    if (series_points_finding(&s->waiting, x) == RC_FULL)
        s->rescan = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void series_figures(struct series *s, struct series_figures *ret_f)
{
    pthread_mutex_lock(&s->lock);
    *ret_f = s->figures;
    int64_t waited = s->oldest_arrival_ms == 0 ? 0 : clock_wall_ms() - s->oldest_arrival_ms;
    ret_f->lag_ms = waited > 0 ? waited : 0;
    pthread_mutex_unlock(&s->lock);
}

static enum rc check(const struct series_setup *s, char *why, size_t cap)
{
    if (s->api <= SERIES_OFF || s->api > SERIES_VICTORIA)
        snprintf(why, cap, "series.api: must be v1, v2, v3 or victoria");
    else if (s->batch_points < 1000 || s->batch_points > 20000)
        snprintf(why, cap, "series.batch_points: must be 1000..20000: fewer cost a request each, more do not fit into one");
    else if (s->flush_ms < 100 || s->flush_ms > 60000)
        snprintf(why, cap, "series.flush_ms: must be 100..60000");
    else if (s->timeout_ms != 0 && (s->timeout_ms < 1000 || s->timeout_ms > 120000))
        snprintf(why, cap, "series.timeout_ms: must be 1000..120000");
    else if (s->state_dir == NULL || s->state_dir[0] == '\0' || strlen(s->state_dir) > 440)
        snprintf(why, cap, "series.state_dir: must name a folder, at most 440 bytes long");
    else
        return RC_OK;
    return RC_INVALID;
}

static enum rc prepare(struct series *s, const struct series_setup *setup, char *why, size_t cap)
{
    snprintf(s->dir, sizeof s->dir, "%s", setup->state_dir);
    snprintf(s->cursor_path, sizeof s->cursor_path, "%s/series.cursor", setup->state_dir);
    snprintf(s->dead_path, sizeof s->dead_path, "%s/series.rejected", setup->state_dir);
    if (mkdir(s->dir, 0700) != 0 && errno != EEXIST) {
        snprintf(why, cap, "series.state_dir: cannot make %s: %s", s->dir, strerror(errno));
        return RC_IO;
    }
    enum rc rc = series_influx_new(setup, &s->influx, why, cap);
    if (rc != RC_OK)
        return rc;
    cursor_load(s);
    if (!cursor_save(s, &s->saved)) {
        snprintf(why, cap, "series.state_dir: cannot write %s: %s", s->cursor_path, strerror(errno));
        return RC_IO;
    }
    char *room = malloc(WAITING_BYTES);
    if (room == NULL || !grow(&s->batch)) {
        free(room);
        snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    lineproto_init(&s->waiting, room, WAITING_BYTES);
    return RC_OK;
}

static void release(struct series *s)
{
    if (s->from.done != NULL)
        s->from.done(s->from.arg);
    series_influx_free(s->influx);
    free(s->waiting.out);
    free(s->batch.out);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

enum rc series_start_from(const struct series_setup *setup, const struct series_source *from, series_tags_fn *tags, void *arg, struct series **ret_s, char *why,
                          size_t cap)
{
    enum rc rc = check(setup, why, cap);
    struct series *s = rc == RC_OK ? calloc(1, sizeof *s) : NULL;
    if (s == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        if (rc == RC_OK)
            snprintf(why, cap, "out of memory");
        if (from->done != NULL)
            from->done(from->arg);
        free(s);
        return rc == RC_OK ? RC_NO_MEMORY : rc;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    s->setup.batch_points = setup->batch_points;
    s->setup.flush_ms = setup->flush_ms;
    s->from = *from;
    s->tags = tags;
    s->tags_arg = arg;
    s->rescan = from->find != NULL;
    rc = prepare(s, setup, why, cap);
    if (rc == RC_OK && pthread_create(&s->thread, NULL, run, s) != 0) {
        snprintf(why, cap, "cannot start a thread: %s", strerror(errno));
        rc = RC_NO_MEMORY;
    }
    if (rc != RC_OK) {
        release(s);
        return rc;
    }
    *ret_s = s;
    return RC_OK;
}

void series_stop(struct series *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->stopping, true);
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    release(s);
}
