#include "outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "outbox_store.h"

/*
 *   loop                              disk thread
 *   outbox_put  --> rings (one per lane) --> stage --> one transaction per group --> on_stored
 *   fetch, ack, welcome --> jobs -------------------------------------------------> answers
 *
 * Sequences are given at the commit, not at the put: a group the disk refused leaves no hole. Acks are gathered and deleted in the transaction of the
 * next group, so that a connected bus pays one fsync per group and not two; a power cut in between only makes a repeat, which the server drops.
 */

enum {
    BULK_QUEUE_MAX = 61440,
    URGENT_QUEUE_MAX = 4096, /* both: the 65,536 of the header; the queue of alarms cannot be filled by positions */
    ACK_PAUSE_MS = 5000,     /* without a group to ride on, acks are settled this long after they came */
    IO_MS = 10000,
    RETRY_FIRST_MS = 1000,
    RETRY_LAST_MS = 30000,
    RETRY_FULL_MS = 4000, /* to look whether there is room again costs nothing */
    THIN_STEPS = 16, /* runs given up per commit: the alarm behind it must not wait */
    FREE_PAGES = 16, /* on a full disk, besides those for the records: of the tree above them, and for cut rows */
    FULL_PATIENCE_MS = 30000, /* a full disk is often the work of a moment; after this old positions make room for new ones */
};

struct ring {
    struct event *e;
    size_t cap, head, n;
};

enum job_kind { JOB_FETCH, JOB_ACK, JOB_WELCOME, JOB_OFFLINE, JOB_CLOCK };
struct job {
    struct job *next;
    enum job_kind kind;
    enum event_lane lane;
    uint64_t from_seq, to_seq;
    size_t max_events;
    bool backlog;
    outbox_batch_fn *done;
    outbox_welcome_fn *welcomed;
    void *arg;
    uint64_t boot;
    int64_t base_ms;
    uint8_t quality;
    bool trusted, move;
    struct wire_ack ack[EVENT_LANES]; /* JOB_ACK one, JOB_WELCOME one per lane */
};

struct answer {
    struct answer *next;
    enum rc rc;
    enum event_lane lane;
    uint64_t first_seq;
    size_t n;
    outbox_batch_fn *done;
    outbox_welcome_fn *welcomed;
    void *arg;
    size_t len;
    uint8_t frame[];
};

struct outbox {
    struct outbox_setup setup;
    char path[OUTBOX_STORE_PATH_MAX + 1];
    uv_async_t async;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;

    /* under the lock */
    struct ring ring[EVENT_LANES];
    struct job *jobs, **jobs_end;
    struct answer *answers, **answers_end;
    struct job *spare_jobs; /* done with; kept, so that a fix costs no allocation */
    struct answer *spare;   /* with room for a frame */
    int64_t group_due_ms; /* 0: no bulk group is open */
    bool stopping, stopped;
    bool stored_news[EVENT_LANES], trouble_news, trouble;
    char trouble_text[512];
    struct wire_lane span[EVENT_LANES];
    struct outbox_figures figures;
    bool untrusted; /* what is put now is marked */
    bool told_trusted;

    /* the disk thread's own */
    struct outbox_store store;
    struct event stage[EVENT_LANES][WIRE_BATCH_MAX]; /* taken from the rings, not yet committed */
    size_t staged[EVENT_LANES];
    struct wire_settled settle[EVENT_LANES]; /* acked, not yet deleted */
    bool settle_open;
    int64_t settle_due_ms, retry_ms, retry_pause_ms;
    int64_t full_ms; /* the disk is full since, 0: it is not */
    bool alarms_go;  /* though it is full: they need not wait for the next try */
    uint64_t acked, given_up, commits, stored[EVENT_LANES];
    struct { /* a commit that failed may have happened all the same */
        bool open, lane[EVENT_LANES];
        uint64_t first[EVENT_LANES];
    } tried;
    int64_t io_ms; /* when the kernel was asked last what it wrote */
    uint64_t io_bytes;

    /* the loop's own */
    int lock_fd; /* PATH.lock: two programs on one outbox would give one number twice */
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

/* --- rings --- */

static bool ring_put(struct ring *r, const struct event *e, size_t max)
{
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        cap = cap > max ? max : cap;
        if (r->n >= cap)
            return false;
        struct event *grown = malloc(cap * sizeof *grown);
        if (grown == NULL)
            return false;
        for (size_t i = 0; i < r->n; i++)
            grown[i] = r->e[(r->head + i) % r->cap];
        free(r->e);
        *r = (struct ring){grown, cap, 0, r->n};
    }
    r->e[(r->head + r->n++) % r->cap] = *e;
    return true;
}

static struct event ring_take(struct ring *r)
{
    struct event e = r->e[r->head];
    r->head = (r->head + 1) % r->cap;
    r->n--;
    return e;
}

/* --- the disk thread: telling the loop --- */

/* write_bytes of the calling thread: proc(5), /proc/PID/io. */
static uint64_t thread_wrote(void)
{
    char text[512];
    int fd = open("/proc/thread-self/io", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, "\nwrite_bytes: ");
    return at != NULL ? strtoull(at + 14, NULL, 10) : 0;
}

static void publish(struct outbox *o)
{
    int64_t now = clock_mono_ms();
    if (now - o->io_ms >= IO_MS) {
        o->io_ms = now;
        o->io_bytes = thread_wrote();
    }
    int64_t used = o->store.db != NULL ? outbox_store_used_lately(&o->store) : -1;
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < EVENT_LANES; i++) {
        uint64_t next = o->store.settled_next[i];
        if (next <= 1)
            o->span[i] = (struct wire_lane){0, 0};
        else
            o->span[i] = (struct wire_lane){o->store.first_seq[i], next - 1};
        o->figures.waiting[i] = o->store.waiting[i];
    }
    o->figures.stored = o->stored[0] + o->stored[1];
    memcpy(o->figures.stored_of, o->stored, sizeof o->stored);
    o->figures.acked = o->acked;
    o->figures.given_up = o->given_up + o->store.damaged;
    o->figures.commits = o->commits;
    o->figures.bytes_written = o->store.bytes_written;
    o->figures.bytes_stored = o->io_bytes;
    if (used >= 0)
        o->figures.file_bytes = used;
    pthread_mutex_unlock(&o->lock);
}

static void tell_trouble(struct outbox *o, const char *text)
{
    pthread_mutex_lock(&o->lock);
    bool news = text != NULL || o->trouble;
    o->trouble = text != NULL;
    if (text != NULL)
        snprintf(o->trouble_text, sizeof o->trouble_text, "%s", text);
    o->trouble_news = o->trouble_news || news;
    pthread_mutex_unlock(&o->lock);
    if (news)
        uv_async_send(&o->async);
}

static void disk_failed(struct outbox *o, enum rc rc, const char *what)
{
    char text[512];
    const char *cause = o->store.db != NULL ? sqlite3_errmsg(o->store.db) : rc_text(rc);
    if (rc == RC_FULL)
        snprintf(text, sizeof text, "%s: the disk is full: free space on it; alarms and positions wait in memory meanwhile", o->path);
    else
        snprintf(text, sizeof text, "%s: %s: %s: check the disk (dmesg) and the folder's rights; records wait in memory meanwhile", o->path, what, cause);
    tell_trouble(o, text);
    const int64_t last_ms = rc == RC_FULL ? RETRY_FULL_MS : RETRY_LAST_MS;
    o->retry_pause_ms = o->retry_pause_ms == 0 ? RETRY_FIRST_MS : o->retry_pause_ms * 2 > last_ms ? last_ms : o->retry_pause_ms * 2;
    o->retry_ms = clock_mono_ms() + o->retry_pause_ms;
    /*
     * After a failed fsync the kernel may have forgotten the dirty pages while SQLite believes them written: nothing of this connection can be
     * trusted any more. Opening again reads back what is really there.
     */
    if (rc != RC_FULL && rc != RC_AGAIN)
        outbox_store_close(&o->store);
}

static void taken(struct outbox *o, enum event_lane lane)
{
    o->stored[lane] += o->staged[lane];
    o->staged[lane] = 0;
    publish(o); /* before the news: the loop reads the span with it */
    pthread_mutex_lock(&o->lock);
    o->stored_news[lane] = true;
    pthread_mutex_unlock(&o->lock);
}

/*
 * A commit that ended in an error may be on the disk: when its fsync failed, or the one after it. Written again its records would be there twice under two
 * numbers, so what the opened file says decides.
 */
static void what_became_of_it(struct outbox *o)
{
    for (int i = 0; i < EVENT_LANES && o->tried.open; i++)
        if (o->tried.lane[i] && o->staged[i] > 0 && outbox_store_has(&o->store, (enum event_lane)i, o->tried.first[i])) {
            taken(o, (enum event_lane)i);
            uv_async_send(&o->async);
        }
    o->tried.open = false;
}

static bool disk_ready(struct outbox *o)
{
    char note[512], why[512];
    if (o->store.db != NULL)
        return true;
    enum rc rc = outbox_store_open(&o->store, o->path, note, why, sizeof why);
    if (rc != RC_OK) {
        disk_failed(o, rc, why);
        return false;
    }
    if (note[0] != '\0')
        log_warning("outbox", "%s", note);
    what_became_of_it(o);
    publish(o);
    return true;
}

/* --- the disk thread: groups --- */

static enum rc apply_settled(struct outbox *o, uint64_t *ret_n)
{
    uint64_t all = 0;
    enum rc rc = RC_OK;
    for (int i = 0; i < EVENT_LANES && rc == RC_OK; i++) {
        struct wire_settled *s = &o->settle[i];
        uint64_t n = 0;
        if (s->through > 0 && o->store.waiting[i] > 0 && o->store.first_seq[i] <= s->through) {
            rc = outbox_store_forget(&o->store, (enum event_lane)i, 1, s->through, &n);
            all += n;
        }
        for (size_t k = 0; k < s->ranges && rc == RC_OK && o->store.waiting[i] > 0; k++) {
            n = 0;
            rc = outbox_store_forget(&o->store, (enum event_lane)i, s->range[k].from, s->range[k].to, &n);
            all += n;
        }
    }
    if (rc == RC_OK)
        *ret_n = all;
    return rc;
}

static void settled_done(struct outbox *o, uint64_t n)
{
    for (int i = 0; i < EVENT_LANES; i++)
        o->settle[i] = (struct wire_settled){0};
    o->settle_open = false;
    o->acked += n;
}

/* Over the size limit; a little more than needed, so that it is not the work of every commit, nor a gap record of each. */
static enum rc make_room(struct outbox *o, uint64_t *ret_gone)
{
    int64_t used = outbox_store_used_lately(&o->store), want = o->setup.max_bytes - o->setup.max_bytes / 64;
    enum rc rc = RC_OK;
    if (used >= 0 && used > o->setup.max_bytes)
        used = outbox_store_used(&o->store);
    if (used < 0 || used <= o->setup.max_bytes)
        return RC_OK;
    for (int i = 0; i < THIN_STEPS && rc == RC_OK && used > want; i++) {
        uint64_t gone = 0;
        rc = outbox_store_thin(&o->store, EVENT_GAP_OLDEST, true, &gone);
        *ret_gone += gone;
        used = outbox_store_used(&o->store);
    }
    return rc == RC_END ? RC_OK : rc;
}

/* On a full disk the file must not grow: as much goes as the new records need pages. Never an old alarm for a new one. */
static enum rc make_room_inside(struct outbox *o, size_t events, uint64_t *ret_gone)
{
    int64_t want = FREE_PAGES + (int64_t)(events * sizeof(struct event)) / o->store.page_bytes;
    enum rc rc = RC_OK;
    while (rc == RC_OK && outbox_store_free_pages(&o->store) < want) {
        uint64_t gone = 0;
        rc = outbox_store_thin(&o->store, EVENT_GAP_DISK_FULL, false, &gone);
        *ret_gone += gone;
    }
    return rc == RC_END ? RC_OK : rc;
}

static enum rc commit_once(struct outbox *o, bool urgent_only, bool shed)
{
    uint64_t acked = 0, gone = 0;
    enum rc rc = outbox_store_begin(&o->store);
    if (rc == RC_OK && o->settle_open)
        rc = apply_settled(o, &acked);
    if (rc == RC_OK)
        rc = shed ? make_room_inside(o, o->staged[EVENT_LANE_URGENT] + (urgent_only ? 0 : o->staged[EVENT_LANE_BULK]), &gone) : make_room(o, &gone);
    for (int i = EVENT_LANES - 1; i >= 0 && rc == RC_OK; i--)
        if (o->staged[i] > 0 && (i == EVENT_LANE_URGENT || !urgent_only))
            rc = outbox_store_add(&o->store, (enum event_lane)i, o->stage[i], o->staged[i]);
    if (rc == RC_OK) {
        for (int i = 0; i < EVENT_LANES; i++)
            o->tried.lane[i] = o->staged[i] > 0 && (i == EVENT_LANE_URGENT || !urgent_only);
        memcpy(o->tried.first, o->store.settled_next, sizeof o->tried.first);
        o->tried.open = true;
        rc = outbox_store_commit(&o->store);
    }
    if (rc != RC_OK) {
        outbox_store_rollback(&o->store);
        return rc;
    }
    o->tried.open = false;
    o->commits++;
    o->given_up += gone;
    if (o->settle_open)
        settled_done(o, acked);
    for (int i = 0; i < EVENT_LANES; i++)
        if (o->tried.lane[i])
            taken(o, (enum event_lane)i);
    publish(o);
    if (gone > 0) {
        pthread_mutex_lock(&o->lock);
        o->stored_news[EVENT_LANE_URGENT] = true; /* its gap record */
        pthread_mutex_unlock(&o->lock);
    }
    uv_async_send(&o->async);
    return RC_OK;
}

/*
 * The disk is full. Alarms go in at once, and so do acks, which make room: into the reserve, and into the room of the oldest positions. Positions wait in
 * memory first; when the disk does not recover, or a batch waits, the oldest ones on it go for them, because a power cut would take what is in memory.
 *   returns  RC_OK what was possible is written: all that is staged, or alarms only; RC_FULL nothing
 */
static enum rc commit_full(struct outbox *o)
{
    int64_t now = clock_mono_ms();
    if (o->full_ms == 0)
        o->full_ms = now;
    bool all = o->staged[EVENT_LANE_BULK] == WIRE_BATCH_MAX || now - o->full_ms >= FULL_PATIENCE_MS;
    if (!all && o->staged[EVENT_LANE_URGENT] == 0 && !o->settle_open)
        return RC_FULL;
    outbox_store_release(&o->store);
    outbox_store_settle(&o->store);
    enum rc rc = commit_once(o, !all, all);
    if (rc == RC_FULL && o->staged[EVENT_LANE_URGENT] > 0)
        rc = commit_once(o, true, true);
    o->alarms_go = rc == RC_OK;
    return rc;
}

static bool fill_stage(struct outbox *o)
{
    bool any = false;
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < EVENT_LANES; i++) {
        while (o->staged[i] < WIRE_BATCH_MAX && o->ring[i].n > 0)
            o->stage[i][o->staged[i]++] = ring_take(&o->ring[i]);
        any = any || o->staged[i] > 0;
    }
    if (o->ring[EVENT_LANE_BULK].n == 0)
        o->group_due_ms = 0;
    pthread_mutex_unlock(&o->lock);
    return any;
}

static void full_goes_on(struct outbox *o)
{
    char text[512];
    o->retry_ms = o->retry_pause_ms = 0;
    snprintf(text, sizeof text, "%s: the disk is full: free space on it; the oldest positions are given up for new ones meanwhile", o->path);
    tell_trouble(o, text);
}

/* Is it still? Only when the reserve could be made again: else each little room that is found would be the end of the trouble, and its next begin. */
static bool still_full(struct outbox *o)
{
    if (o->full_ms == 0)
        return false;
    outbox_store_reserve(&o->store);
    if (o->store.reserved)
        o->full_ms = 0;
    return o->full_ms != 0;
}

/* Commit all that waits. False: the disk refused, the stage and the rings keep what is left. */
static bool commit_all(struct outbox *o)
{
    if (!disk_ready(o))
        return false;
    while (fill_stage(o) || o->settle_open) {
        bool full = still_full(o);
        enum rc rc = full ? RC_FULL : commit_once(o, false, false);
        if (rc == RC_FULL) {
            full = true;
            rc = commit_full(o);
        }
        if (full && rc == RC_OK && o->staged[EVENT_LANE_BULK] == 0) {
            full_goes_on(o);
        } else if (full || rc != RC_OK) {
            disk_failed(o, rc == RC_OK ? RC_FULL : rc, "cannot be written");
            return false;
        }
    }
    o->retry_ms = o->retry_pause_ms = 0;
    if (still_full(o))
        return true; /* written into the room of older ones: the trouble is not over */
    outbox_store_reserve(&o->store);
    tell_trouble(o, NULL);
    return true;
}

/* --- the disk thread: jobs --- */

static void answer(struct outbox *o, struct answer *a)
{
    a->next = NULL;
    pthread_mutex_lock(&o->lock);
    *o->answers_end = a;
    o->answers_end = &a->next;
    pthread_mutex_unlock(&o->lock);
    uv_async_send(&o->async);
}

static void do_fetch(struct outbox *o, const struct job *j)
{
    pthread_mutex_lock(&o->lock);
    struct answer *a = o->spare;
    o->spare = NULL;
    pthread_mutex_unlock(&o->lock);
    if (a == NULL)
        a = malloc(sizeof *a + WIRE_FRAME_MAX);
    if (a == NULL) { /* nobody can be told without memory; the loop asks again when it sees nothing coming */
        log_error("outbox", "out of memory");
        abort();
    }
    *a = (struct answer){.rc = RC_IO, .lane = j->lane, .first_seq = j->from_seq, .done = j->done, .arg = j->arg};
    if (disk_ready(o)) {
        uint64_t damaged = o->store.damaged;
        a->rc = outbox_store_read(&o->store, j->lane, j->from_seq, j->to_seq, j->max_events, j->backlog, a->frame, WIRE_FRAME_MAX, &a->len, &a->first_seq,
                                  &a->n);
        if (o->store.damaged != damaged) {
            log_warning("outbox", "%s: %" PRIu64 " records did not check out and were dropped: the disk is wearing out", o->path,
                        o->store.damaged - damaged);
            publish(o);
        }
        if (a->rc == RC_CORRUPT || a->rc == RC_IO)
            disk_failed(o, a->rc, "cannot be read");
    }
    answer(o, a);
}

static void take_ack(struct outbox *o, const struct wire_ack *k)
{
    struct wire_settled *s = &o->settle[k->lane];
    enum rc rc = k->through > 0 ? wire_settle(s, 1, k->through) : RC_OK;
    for (size_t i = 0; i < k->ranges && rc == RC_OK; i++)
        rc = wire_settle(s, k->range[i].from, k->range[i].to);
    if (k->through > o->store.known[k->lane])
        o->store.known[k->lane] = k->through;
    if (k->through > 0 && wire_settle(&o->store.lane[k->lane].sent, 1, k->through) != RC_OK)
        o->store.lane[k->lane].sent = (struct wire_settled){.through = o->store.settled_next[k->lane] - 1};
    (void)rc; /* a 65th range is not remembered: those records are sent once more */
    if (!o->settle_open) {
        o->settle_open = true;
        o->settle_due_ms = clock_mono_ms() + ACK_PAUSE_MS;
    }
}

static uint64_t highest(const struct wire_ack *k)
{
    return k->ranges > 0 && k->range[k->ranges - 1].to > k->through ? k->range[k->ranges - 1].to : k->through;
}

/*
 * What the server says at the start of a connection. If it knows numbers this file had not given out when it was opened, the disk was replaced, put back
 * from a copy, or lost what it had promised to hold: records since then are other ones than those the server holds under the same numbers, and move above.
 */
static void do_welcome(struct outbox *o, const struct job *j)
{
    struct answer *a = malloc(sizeof *a);
    if (a == NULL) {
        log_error("outbox", "out of memory");
        abort();
    }
    *a = (struct answer){.rc = RC_IO, .welcomed = j->welcomed, .arg = j->arg};
    if (disk_ready(o)) {
        bool moved = false;
        enum rc rc = outbox_store_begin(&o->store);
        for (int i = 0; i < EVENT_LANES && rc == RC_OK; i++) {
            uint64_t top = highest(&j->ack[i]), from = o->store.lane[i].unsure;
            if (from == 0 && top >= o->store.next_seq[i]) /* confirmed before in this run: somebody else sends under our name */
                from = o->store.first_seq[i];
            if (from > 0 && top >= from) {
                rc = outbox_store_rebase(&o->store, (enum event_lane)i, from, top);
                moved = true;
            }
            if (rc == RC_OK)
                take_ack(o, &j->ack[i]);
        }
        uint64_t n = 0;
        if (rc == RC_OK && o->settle_open)
            rc = apply_settled(o, &n);
        if (rc == RC_OK)
            outbox_store_online(&o->store);
        if (rc == RC_OK)
            rc = outbox_store_commit(&o->store);
        if (rc == RC_OK) {
            settled_done(o, n);
            if (moved)
                log_warning("outbox", "the server knows later records of this gateway than %s: its disk was replaced; numbering goes on above them", o->path);
        } else {
            outbox_store_rollback(&o->store);
            disk_failed(o, rc, "cannot be written");
        }
        a->rc = rc;
        publish(o);
    }
    answer(o, a);
}

static void move_event(struct event *e, int64_t by_ms, uint8_t quality)
{
    if ((e->clock & OUTBOX_STORE_RAW) == 0)
        return;
    e->time_ms += by_ms;
    e->clock = quality;
}

/* What waits in memory stands on the basis of this start, what is on the disk on that of its row. */
static void do_clock(struct outbox *o, const struct job *j)
{
    int64_t by = j->base_ms - o->store.basis_ms;
    size_t rows = 0, n = 0;
    o->store.boot = j->boot;
    o->store.basis_ms = j->base_ms;
    o->store.quality = j->trusted || j->quality > EVENT_CLOCK_SYSTEM ? j->quality : (uint8_t)(j->quality | OUTBOX_STORE_RAW);
    if (!j->move)
        return;
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < EVENT_LANES; i++) {
        for (size_t k = 0; k < o->ring[i].n; k++)
            move_event(&o->ring[i].e[(o->ring[i].head + k) % o->ring[i].cap], by, j->quality);
        for (size_t k = 0; k < o->staged[i]; k++)
            move_event(&o->stage[i][k], by, j->quality);
    }
    pthread_mutex_unlock(&o->lock);
    enum rc rc = disk_ready(o) ? RC_OK : RC_IO;
    while (rc == RC_OK) { /* 64 rows a transaction: a power cut leaves each either moved or still with its basis */
        rc = outbox_store_begin(&o->store);
        if (rc == RC_OK)
            rc = outbox_store_backfill(&o->store, j->boot, j->base_ms, j->quality, &n);
        if (rc == RC_OK)
            rc = outbox_store_commit(&o->store);
        if (rc != RC_OK)
            outbox_store_rollback(&o->store);
        rows += rc == RC_OK ? n : 0;
    }
    if (rc != RC_END && o->store.db != NULL)
        disk_failed(o, rc, "cannot be written");
    if (rows > 0)
        log_notice("outbox", "%zu rows of this boot have their right time now", rows);
    publish(o);
}

static void do_jobs(struct outbox *o, struct job *j)
{
    while (j != NULL) {
        struct job *next = j->next;
        switch (j->kind) {
        case JOB_FETCH: do_fetch(o, j); break;
        case JOB_ACK: take_ack(o, &j->ack[0]); break;
        case JOB_WELCOME: do_welcome(o, j); break;
        case JOB_OFFLINE: outbox_store_offline(&o->store); break;
        case JOB_CLOCK: do_clock(o, j); break;
        }
        pthread_mutex_lock(&o->lock);
        j->next = o->spare_jobs;
        o->spare_jobs = j;
        pthread_mutex_unlock(&o->lock);
        j = next;
    }
}

/* When the thread must act by itself, INT64_MAX if never; lock held. */
static int64_t due_ms(const struct outbox *o)
{
    int64_t due = INT64_MAX;
    bool waiting = o->staged[0] + o->staged[1] > 0 || o->ring[EVENT_LANE_URGENT].n > 0 || o->ring[EVENT_LANE_BULK].n >= WIRE_BATCH_MAX;
    if (waiting)
        due = 0;
    else if (o->ring[EVENT_LANE_BULK].n > 0)
        due = o->group_due_ms;
    if (o->settle_open && o->settle_due_ms < due)
        due = o->settle_due_ms;
    if (o->full_ms != 0 && o->alarms_go && o->ring[EVENT_LANE_URGENT].n > 0)
        return 0;
    return due < o->retry_ms ? o->retry_ms : due;
}

static void *disk_main(void *arg)
{
    struct outbox *o = arg;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        int64_t due;
        while (o->jobs == NULL && !o->stopping && (due = due_ms(o)) > clock_mono_ms()) {
            struct timespec at = {.tv_sec = due / 1000, .tv_nsec = (long)(due % 1000) * 1000000};
            if (due == INT64_MAX)
                pthread_cond_wait(&o->wake, &o->lock);
            else
                pthread_cond_timedwait(&o->wake, &o->lock, &at);
        }
        struct job *jobs = o->jobs;
        o->jobs = NULL;
        o->jobs_end = &o->jobs;
        bool stopping = o->stopping;
        bool commit = stopping || due_ms(o) <= clock_mono_ms();
        pthread_mutex_unlock(&o->lock);
        do_jobs(o, jobs);
        if (commit)
            commit_all(o);
        pthread_mutex_lock(&o->lock);
        if (stopping && o->jobs == NULL)
            break;
    }
    size_t lost = o->staged[0] + o->staged[1] + o->ring[0].n + o->ring[1].n;
    pthread_mutex_unlock(&o->lock);
    if (lost > 0)
        log_error("outbox", "%zu records could not be written before the end and are lost", lost);
    if (o->store.db != NULL && (o->store.lane[0].up || o->store.lane[1].up) && outbox_store_begin(&o->store) == RC_OK) {
        outbox_store_offline(&o->store);
        if (outbox_store_commit(&o->store) != RC_OK)
            outbox_store_rollback(&o->store); /* then all that is kept counts as sent */
    }
    if (o->store.db != NULL)
        sqlite3_wal_checkpoint_v2(o->store.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    outbox_store_close(&o->store);
    pthread_mutex_lock(&o->lock);
    o->stopped = true;
    pthread_mutex_unlock(&o->lock);
    uv_async_send(&o->async);
    return NULL;
}

/* --- the loop --- */

static void release(struct outbox *o)
{
    free(o->ring[0].e);
    free(o->ring[1].e);
    pthread_cond_destroy(&o->wake);
    pthread_mutex_destroy(&o->lock);
    if (o->lock_fd >= 0)
        close(o->lock_fd);
    free(o->spare);
    for (struct job *next, *k = o->spare_jobs; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    free(o);
}

static void on_closed(uv_handle_t *h)
{
    struct outbox *o = h->data;
    void (*on_stopped)(void *) = o->on_stopped;
    void *arg = o->stopped_arg;
    release(o);
    if (on_stopped != NULL)
        on_stopped(arg);
}

static void deliver(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    struct answer *a = o->answers;
    o->answers = NULL;
    o->answers_end = &o->answers;
    bool stored[EVENT_LANES], trouble_news = o->trouble_news, trouble = o->trouble;
    uint64_t last[EVENT_LANES];
    char text[sizeof o->trouble_text];
    for (int i = 0; i < EVENT_LANES; i++) {
        stored[i] = o->stored_news[i];
        last[i] = o->span[i].last_seq;
        o->stored_news[i] = false;
    }
    o->trouble_news = false;
    memcpy(text, o->trouble_text, sizeof text);
    pthread_mutex_unlock(&o->lock);
    if (trouble_news && o->setup.on_trouble != NULL)
        o->setup.on_trouble(o->setup.arg, trouble ? text : NULL);
    for (int i = EVENT_LANES - 1; i >= 0; i--)
        if (stored[i] && o->setup.on_stored != NULL)
            o->setup.on_stored(o->setup.arg, (enum event_lane)i, last[i]);
    while (a != NULL) {
        struct answer *next = a->next;
        if (a->done != NULL)
            a->done(a->arg, a->rc, a->lane, a->frame, a->len, a->first_seq, a->n);
        if (a->welcomed != NULL)
            a->welcomed(a->arg, a->rc);
        pthread_mutex_lock(&o->lock);
        bool keep = o->spare == NULL && a->done != NULL; /* a Welcome's answer has no room */
        if (keep)
            o->spare = a;
        pthread_mutex_unlock(&o->lock);
        if (!keep)
            free(a);
        a = next;
    }
}

static void on_async(uv_async_t *h)
{
    struct outbox *o = h->data;
    deliver(o);
    pthread_mutex_lock(&o->lock);
    bool stopped = o->stopped;
    pthread_mutex_unlock(&o->lock);
    if (stopped && !uv_is_closing((uv_handle_t *)h)) {
        pthread_join(o->thread, NULL);
        deliver(o); /* what came between the two */
        uv_close((uv_handle_t *)h, on_closed);
    }
}

static enum rc lock_file(struct outbox *o, char *why, size_t cap)
{
    char path[sizeof o->path + 8];
    snprintf(path, sizeof path, "%s.lock", o->path);
    o->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (o->lock_fd < 0) {
        snprintf(why, cap, "%s: %s: the folder must be there and writable", path, strerror(errno));
        return RC_IO;
    }
    if (flock(o->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return RC_OK;
    snprintf(why, cap, "%s is in use by another program: is a gateway running already?", o->path);
    return RC_DENIED;
}

enum rc outbox_start(uv_loop_t *loop, const struct outbox_setup *s, struct outbox **ret_o, char *why, size_t cap)
{
    char note[512];
    struct outbox *o = calloc(1, sizeof *o);
    if (o == NULL)
        return RC_NO_MEMORY;
    o->setup = *s;
    o->lock_fd = -1;
    o->jobs_end = &o->jobs;
    o->answers_end = &o->answers;
    snprintf(o->path, sizeof o->path, "%s", s->path);
    o->setup.path = o->path;
    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&o->wake, &mono);
    pthread_condattr_destroy(&mono);
    enum rc rc = lock_file(o, why, cap);
    int e = rc == RC_OK ? uv_async_init(loop, &o->async, on_async) : 0;
    if (e != 0) {
        snprintf(why, cap, "uv_async_init: %s", uv_strerror(e));
        rc = RC_NO_MEMORY;
    }
    if (rc != RC_OK) {
        release(o);
        return rc;
    }
    o->async.data = o;
    rc = outbox_store_open(&o->store, s->path, note, why, cap);
    if (rc == RC_OK && note[0] != '\0')
        log_warning("outbox", "%s", note);
    if (rc == RC_FULL || rc == RC_IO || rc == RC_AGAIN) { /* no reason to keep the driver without warnings: the thread goes on trying */
        disk_failed(o, rc, why);
        rc = RC_OK;
    }
    if (rc == RC_OK) {
        publish(o);
        e = pthread_create(&o->thread, NULL, disk_main, o);
        if (e == 0) {
            *ret_o = o;
            return RC_OK;
        }
        snprintf(why, cap, "thread: %s", strerror(e));
        rc = RC_NO_MEMORY;
    }
    outbox_store_close(&o->store);
    uv_close((uv_handle_t *)&o->async, on_closed); /* frees o when the loop runs */
    return rc;
}

void outbox_stop(struct outbox *o, void (*on_stopped)(void *arg), void *arg)
{
    o->on_stopped = on_stopped;
    o->stopped_arg = arg;
    pthread_mutex_lock(&o->lock);
    o->stopping = true;
    pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&o->lock);
}

enum rc outbox_put(struct outbox *o, enum event_lane lane, const struct event *e)
{
    const char *field;
    if (e->kind == EVENT_TICK || event_check(e, &field) != RC_OK)
        return RC_RANGE;
    pthread_mutex_lock(&o->lock);
    struct ring *r = &o->ring[lane];
    struct event marked = *e;
    if (o->untrusted && e->clock <= EVENT_CLOCK_SYSTEM)
        marked.clock |= OUTBOX_STORE_RAW;
    bool taken = ring_put(r, &marked, lane == EVENT_LANE_URGENT ? URGENT_QUEUE_MAX : BULK_QUEUE_MAX);
    if (taken && lane == EVENT_LANE_BULK && o->group_due_ms == 0)
        o->group_due_ms = clock_mono_ms() + o->setup.group_ms;
    if (taken && (lane == EVENT_LANE_URGENT || r->n == 1 || r->n == WIRE_BATCH_MAX))
        pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&o->lock);
    return taken ? RC_OK : RC_FULL;
}

static void post(struct outbox *o, struct job *j)
{
    j->next = NULL;
    pthread_mutex_lock(&o->lock);
    *o->jobs_end = j;
    o->jobs_end = &j->next;
    pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&o->lock);
}

static struct job *new_job(struct outbox *o, enum job_kind kind)
{
    pthread_mutex_lock(&o->lock);
    struct job *j = o->spare_jobs;
    if (j != NULL)
        o->spare_jobs = j->next;
    pthread_mutex_unlock(&o->lock);
    if (j == NULL)
        j = malloc(sizeof *j);
    if (j == NULL) { /* a few hundred bytes: a gateway that cannot have them is better started again by its supervisor */
        log_error("outbox", "out of memory");
        abort();
    }
    memset(j, 0, offsetof(struct job, ack));
    j->kind = kind;
    return j;
}

void outbox_fetch(struct outbox *o, enum event_lane lane, uint64_t from_seq, uint64_t to_seq, size_t max_events, bool backlog, outbox_batch_fn *done,
                  void *arg)
{
    struct job *j = new_job(o, JOB_FETCH);
    j->lane = lane;
    j->from_seq = from_seq;
    j->to_seq = to_seq;
    j->max_events = max_events;
    j->backlog = backlog;
    j->done = done;
    j->arg = arg;
    post(o, j);
}

void outbox_clock(struct outbox *o, uint64_t boot, int64_t base_ms, uint8_t quality, bool trusted)
{
    struct job *j = new_job(o, JOB_CLOCK);
    j->boot = boot;
    j->base_ms = base_ms;
    j->quality = quality;
    j->trusted = trusted;
    pthread_mutex_lock(&o->lock);
    j->move = trusted && !o->told_trusted;
    o->told_trusted = trusted;
    o->untrusted = !trusted;
    pthread_mutex_unlock(&o->lock);
    post(o, j);
}

void outbox_offline(struct outbox *o)
{
    post(o, new_job(o, JOB_OFFLINE));
}

void outbox_acked(struct outbox *o, const struct wire_ack *ack)
{
    struct job *j = new_job(o, JOB_ACK);
    j->ack[0] = *ack;
    post(o, j);
}

void outbox_welcome(struct outbox *o, const struct wire_ack ack[EVENT_LANES], outbox_welcome_fn *done, void *arg)
{
    struct job *j = new_job(o, JOB_WELCOME);
    memcpy(j->ack, ack, EVENT_LANES * sizeof *ack);
    j->welcomed = done;
    j->arg = arg;
    post(o, j);
}

void outbox_span(const struct outbox *o, struct wire_lane ret_lane[EVENT_LANES])
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&o->lock;
    pthread_mutex_lock(lock);
    memcpy(ret_lane, o->span, sizeof o->span);
    pthread_mutex_unlock(lock);
}

void outbox_figures(const struct outbox *o, struct outbox_figures *ret_f)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&o->lock;
    pthread_mutex_lock(lock);
    *ret_f = o->figures;
    pthread_mutex_unlock(lock);
}
