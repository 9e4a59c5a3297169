#include "journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../core/base/clock.h"
#include "../core/base/db.h"
#include "../core/base/log.h"
#include "journal_file.h"
#include "journal_fold.h"
#include "journal_lanes.h"
#include "journal_save.h"

/*
 *   loop thread                         writer thread
 *   journal_put -> open batch           waits for a batch and group_ms, swaps it out, one transaction
 *   <- uv_async: settled ticket         then wakes the loop and whoever follows
 *
 * A ticket is the number of a batch. There are never more than two: the one being written and the open one, so who keeps the state of a lane as of
 * the batch before can acknowledge exactly what is on disk.
 */

enum {
    QUEUE_MAX = 64 << 20, /* bytes of frames not yet on disk */
    GROUP_MAX = 8 << 20,  /* a batch this big does not wait for group_ms */
    KEEP_MAX = 1 << 20,   /* buffer kept between batches */
    PARTS_MAX = 4,
    SNAPSHOT_GROUPS = 256,
    TIMES = 512,
};

struct part {        /* becomes one group: a batch has several where a checkpoint was asked for in its midst */
    size_t from, to; /* bytes of data, the CRC's four included */
    int64_t first_ms, last_ms;
    uint32_t frames;
};
struct save {
    void *blob;
    size_t n;
    void (*release)(void *);
    size_t part; /* as of the end of this many parts */
};
struct batch {
    uint8_t *data;
    size_t n, cap;
    struct part part[PARTS_MAX];
    size_t parts; /* the last one is open while the batch is */
    int64_t begun_mono_ms;
    struct save save;
    uint64_t ticket;
};

struct journal {
    char dir[JOURNAL_FILE_PATH_MAX - 64];
    struct journal_setup setup;
    uv_loop_t *loop;
    uv_async_t async;
    pthread_t thread;
    void (*on_closed)(void *);
    void *closed_arg;

    pthread_mutex_t lock;
    pthread_cond_t wake; /* the writer */
    pthread_cond_t news; /* followers */
    /* under the lock */
    struct journal_lanes lanes;
    size_t newest; /* number of the gateway that handed in last */
    struct batch batch[2], *open, *busy;
    size_t busy_bytes;
    bool stop, stopped;
    uint64_t settled;
    struct journal_cursor last;
    bool trouble, trouble_told;
    char trouble_text[320];
    struct journal_figures figures;
    float time_ms[TIMES];
    size_t times;

    /* the writer's own */
    sqlite3 *db;
    sqlite3_stmt *insert;
    int32_t day;
    int64_t next_id;
    size_t named; /* gateways already in the day file's table */
    unsigned since_snapshot;
    int32_t aside_day; /* a file of this day was set aside at start: its group numbers are not used again */
    bool snapshot_due;
    struct journal_fold fold;
};

/* --- the loop's side --- */

const char *journal_dir(const struct journal *j)
{
    return j->dir;
}

static bool batch_room(struct batch *b, size_t more)
{
    if (b->n + more <= b->cap)
        return true;
    size_t cap = b->cap == 0 ? 16384 : b->cap * 2;
    while (cap < b->n + more)
        cap *= 2;
    uint8_t *data = realloc(b->data, cap);
    if (data == NULL)
        return false;
    b->data = data;
    b->cap = cap;
    return true;
}

static bool batch_empty(const struct batch *b)
{
    return b->parts == 0 && b->save.release == NULL;
}

/* Frames of one gateway mostly come several at a time. */
static struct journal_gateway *gateway_of(struct journal *j, const char *name)
{
    struct journal_gateway *g = j->newest < j->lanes.gateways ? &j->lanes.gateway[j->newest] : NULL;
    if (g == NULL || strcmp(g->name, name) != 0)
        g = journal_lanes_of(&j->lanes, name);
    if (g != NULL)
        j->newest = (size_t)(g - j->lanes.gateway);
    return g;
}

enum rc journal_put(struct journal *j, const char *gateway, enum event_lane lane, int64_t arrival_ms, const void *frame, size_t n,
                    const struct wire_settled *settled, uint64_t *ret_ticket)
{
    if (n > WIRE_FRAME_MAX || (unsigned)lane >= EVENT_LANES)
        return RC_INVALID;
    pthread_mutex_lock(&j->lock);
    struct batch *b = j->open;
    struct journal_gateway *g = gateway_of(j, gateway);
    enum rc rc = RC_FULL;
    bool first = b->parts == 0 || b->part[b->parts - 1].to != 0;
    if (g == NULL || b->n + j->busy_bytes + n > QUEUE_MAX || !batch_room(b, n + JOURNAL_FILE_HEAD_MAX + 4) || (first && b->parts == PARTS_MAX))
        goto out;
    if (!journal_lanes_store(&g->lane[lane], settled))
        goto out;
    bool wake = batch_empty(b);
    if (wake)
        b->begun_mono_ms = clock_mono_ms();
    if (first)
        b->part[b->parts++] = (struct part){.from = b->n, .first_ms = arrival_ms, .last_ms = arrival_ms};
    struct part *p = &b->part[b->parts - 1];
    b->n += journal_file_head(b->data + b->n, (uint32_t)(g - j->lanes.gateway), (uint8_t)lane, arrival_ms - p->last_ms, n);
    memcpy(b->data + b->n, frame, n);
    b->n += n;
    p->last_ms = arrival_ms;
    p->frames++;
    j->figures.frames++;
    j->figures.bytes += n;
    *ret_ticket = b->ticket;
    rc = RC_OK;
    if (wake || b->n >= GROUP_MAX)
        pthread_cond_signal(&j->wake);
out:
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* Close the open part: room for its CRC. */
static void part_end(struct batch *b)
{
    if (b->parts > 0 && b->part[b->parts - 1].to == 0) {
        b->n += 4; /* journal_put keeps four bytes to spare */
        b->part[b->parts - 1].to = b->n;
    }
}

void journal_save(struct journal *j, void *blob, size_t n, void (*release)(void *))
{
    struct save old = {0};
    pthread_mutex_lock(&j->lock);
    struct batch *b = j->open;
    bool wake = batch_empty(b);
    if (b->parts == PARTS_MAX) { /* four checkpoints within one group: the newest is not worth having */
        old = (struct save){.blob = blob, .release = release};
    } else {
        old = b->save;
        part_end(b);
        b->save = (struct save){blob, n, release, b->parts};
        if (wake)
            b->begun_mono_ms = clock_mono_ms();
        pthread_cond_signal(&j->wake);
    }
    pthread_mutex_unlock(&j->lock);
    if (old.release != NULL)
        old.release(old.blob);
}

enum rc journal_load(struct journal *j, void **ret_blob, size_t *ret_n, struct journal_cursor *ret_cursor)
{
    return journal_save_read(j->dir, ret_blob, ret_n, ret_cursor);
}

void journal_settled(struct journal *j, const char *gateway, enum event_lane lane, struct wire_settled *ret_s)
{
    struct wire_settled s = {0};
    pthread_mutex_lock(&j->lock);
    const struct journal_gateway *g = journal_lanes_find(&j->lanes, gateway);
    if (g != NULL)
        journal_lanes_load(&g->lane[lane], &s);
    pthread_mutex_unlock(&j->lock);
    *ret_s = s;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void journal_figures(struct journal *j, struct journal_figures *ret_f)
{
    float t[TIMES];
    pthread_mutex_lock(&j->lock);
    struct journal_figures f = j->figures;
    size_t n = j->times < TIMES ? j->times : TIMES;
    memcpy(t, j->time_ms, n * sizeof t[0]);
    j->times = 0;
    f.waiting_frames = 0;
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < j->batch[i].parts; k++)
            f.waiting_frames += j->batch[i].part[k].frames;
    pthread_mutex_unlock(&j->lock);
    qsort(t, n, sizeof t[0], by_value);
    f.commit_ms_p50 = n == 0 ? 0 : (double)t[n / 2];
    f.commit_ms_max = n == 0 ? 0 : (double)t[n - 1];
    *ret_f = f;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct journal *j = h->data;
    void (*then)(void *) = j->on_closed;
    void *arg = j->closed_arg;
    journal_lanes_free(&j->lanes);
    for (size_t i = 0; i < 2; i++) {
        if (j->batch[i].save.release != NULL)
            j->batch[i].save.release(j->batch[i].save.blob);
        free(j->batch[i].data);
    }
    pthread_cond_destroy(&j->wake);
    pthread_cond_destroy(&j->news);
    pthread_mutex_destroy(&j->lock);
    free(j);
    if (then != NULL)
        then(arg);
}

static void on_async(uv_async_t *a)
{
    struct journal *j = a->data;
    char text[sizeof j->trouble_text];
    pthread_mutex_lock(&j->lock);
    uint64_t settled = j->settled;
    bool changed = j->trouble != j->trouble_told, trouble = j->trouble, stopped = j->stopped;
    j->trouble_told = j->trouble;
    memcpy(text, j->trouble_text, sizeof text);
    pthread_mutex_unlock(&j->lock);
    if (changed && j->setup.on_trouble != NULL)
        j->setup.on_trouble(j->setup.arg, trouble ? text : NULL);
    if (j->setup.on_settled != NULL)
        j->setup.on_settled(j->setup.arg, settled);
    if (stopped && !uv_is_closing((uv_handle_t *)a)) {
        pthread_join(j->thread, NULL);
        uv_close((uv_handle_t *)a, on_handle_closed);
    }
}

/* --- the writer --- */

static void file_close(struct journal *j)
{
    journal_fold_forget(&j->fold);
    sqlite3_finalize(j->insert);
    j->insert = NULL;
    db_close(j->db);
    j->db = NULL;
}

/* The day's file, open and ready to insert. */
static enum rc file_ready(struct journal *j, int32_t day, char *why, size_t cap)
{
    if (j->db != NULL && j->day == day)
        return RC_OK;
    file_close(j);
    char path[JOURNAL_FILE_PATH_MAX];
    journal_file_path(j->dir, day, path);
    enum rc rc = journal_file_open(path, &j->db, why, cap);
    if (rc != RC_OK)
        return rc;
    rc = db_prepare(j->db, "INSERT INTO arrival(id, arrival_ms, last_ms, frames, blob) VALUES(?, ?, ?, ?, ?)", &j->insert);
    if (rc != RC_OK) {
        snprintf(why, cap, "%s: %s", path, sqlite3_errmsg(j->db));
        file_close(j);
        return rc;
    }
    if (j->day != day) {
        j->day = day;
        j->named = 0;
        /* Every group takes at least 10 ms: the millisecond of the day lies above any number the file set aside can have had. */
        j->next_id = j->aside_day == day ? clock_wall_ms() % 86400000 + 1 : 1;
    }
    return RC_OK;
}

struct work { /* what one commit writes, copied out under the lock */
    struct batch *b;
    int32_t day;
    uint8_t *snapshot;
    size_t snapshot_n;
    char (*name)[WIRE_TEXT_MAX + 1]; /* gateways from name_from on */
    size_t name_from, names;
};

static enum rc write_names(struct journal *j, const struct work *w)
{
    sqlite3_stmt *s = NULL;
    enum rc rc = w->names == 0 ? RC_OK : db_prepare(j->db, "INSERT INTO gateway(id, name) VALUES(?, ?) ON CONFLICT(id) DO NOTHING", &s);
    for (size_t i = 0; i < w->names && rc == RC_OK; i++) {
        sqlite3_bind_int64(s, 1, (int64_t)(w->name_from + i));
        sqlite3_bind_text(s, 2, w->name[i], -1, SQLITE_STATIC);
        rc = db_run(s);
    }
    sqlite3_finalize(s);
    return rc;
}

static enum rc write_snapshot(struct journal *j, const struct work *w, int64_t upto)
{
    sqlite3_stmt *s = NULL;
    if (w->snapshot == NULL)
        return RC_OK;
    enum rc rc = db_prepare(
        j->db, "INSERT INTO settled(id, upto, blob) VALUES(1, ?, ?) ON CONFLICT(id) DO UPDATE SET upto = excluded.upto, blob = excluded.blob", &s);
    if (rc == RC_OK) {
        sqlite3_bind_int64(s, 1, upto);
        sqlite3_bind_blob64(s, 2, w->snapshot, w->snapshot_n, SQLITE_STATIC);
        rc = db_run(s);
    }
    sqlite3_finalize(s);
    return rc;
}

static enum rc write_parts(struct journal *j, const struct work *w)
{
    const struct batch *b = w->b;
    for (size_t i = 0; i < b->parts; i++) {
        const struct part *p = &b->part[i];
        uint8_t *crc_at = b->data + p->to - 4;
        uint32_t crc = journal_file_crc(b->data + p->from, p->to - 4 - p->from);
        for (int k = 0; k < 4; k++)
            crc_at[k] = (uint8_t)(crc >> 8 * k);
        sqlite3_bind_int64(j->insert, 1, j->next_id + (int64_t)i);
        sqlite3_bind_int64(j->insert, 2, p->first_ms);
        sqlite3_bind_int64(j->insert, 3, p->last_ms);
        sqlite3_bind_int64(j->insert, 4, p->frames);
        sqlite3_bind_blob64(j->insert, 5, b->data + p->from, p->to - p->from, SQLITE_STATIC);
        enum rc rc = db_run(j->insert);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc write_work(struct journal *j, const struct work *w, char *why, size_t cap)
{
    if (w->b->parts == 0)
        return RC_OK;
    enum rc rc = file_ready(j, w->day, why, cap);
    if (rc != RC_OK)
        return rc;
    rc = db_exec(j->db, "BEGIN IMMEDIATE");
    if (rc == RC_OK)
        rc = write_names(j, w);
    if (rc == RC_OK)
        rc = write_parts(j, w);
    if (rc == RC_OK)
        rc = write_snapshot(j, w, j->next_id + (int64_t)w->b->parts - 1);
    if (rc == RC_OK)
        rc = db_exec(j->db, "COMMIT");
    if (rc == RC_OK)
        return RC_OK;
    snprintf(why, cap, "%s", sqlite3_errmsg(j->db));
    if (!sqlite3_get_autocommit(j->db))
        sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    /* After a failed write or fsync nothing this connection has cached is believed any more: everything is written again through a new one. */
    if (rc != RC_AGAIN)
        file_close(j);
    return rc;
}

/* Swap the open batch out. Under the lock. */
static void work_take(struct journal *j, struct work *w)
{
    struct batch *b = j->open;
    part_end(b);
    j->open = j->busy;
    j->busy = b;
    j->open->ticket = b->ticket + 1;
    j->busy_bytes = b->n;
    int32_t day = b->parts == 0 ? 0 : journal_file_day(b->part[0].first_ms);
    *w = (struct work){.b = b, .day = day > j->day ? day : j->day};
    if (b->parts == 0)
        return;
    size_t from = w->day != j->day ? 0 : j->named;
    w->name_from = from;
    if (j->lanes.gateways > from) {
        w->name = malloc((j->lanes.gateways - from) * sizeof *w->name);
        w->names = w->name == NULL ? 0 : j->lanes.gateways - from;
        for (size_t i = 0; i < w->names; i++)
            memcpy(w->name[i], j->lanes.gateway[from + i].name, sizeof w->name[i]);
    }
    if (w->day != j->day || j->snapshot_due || j->since_snapshot + b->parts >= SNAPSHOT_GROUPS)
        w->snapshot = journal_lanes_snapshot(&j->lanes, &w->snapshot_n);
}

static void work_done(struct journal *j, struct work *w, int64_t took_ms)
{
    struct batch *b = w->b;
    struct save save = b->save;
    struct journal_cursor as_of = j->last;
    size_t parts = b->parts;
    if (parts > 0) {
        if (save.part > 0)
            as_of = (struct journal_cursor){w->day, j->next_id + (int64_t)save.part - 1};
        j->next_id += (int64_t)parts;
        j->named = w->name_from + w->names;
        j->since_snapshot = w->snapshot != NULL ? 0 : j->since_snapshot + (unsigned)parts;
        j->snapshot_due = false;
    }
    pthread_mutex_lock(&j->lock);
    if (parts > 0) {
        j->last = (struct journal_cursor){w->day, j->next_id - 1};
        j->figures.commits++;
        j->time_ms[j->times++ % TIMES] = (float)took_ms;
        if (j->times == 2 * TIMES)
            j->times = TIMES;
    }
    j->settled = b->ticket;
    j->trouble = false;
    b->n = b->parts = 0;
    b->save = (struct save){0};
    if (b->cap > KEEP_MAX) {
        free(b->data);
        b->data = NULL;
        b->cap = 0;
    }
    j->busy_bytes = 0;
    pthread_cond_broadcast(&j->news);
    pthread_mutex_unlock(&j->lock);
    uv_async_send(&j->async);
    if (save.release != NULL) {
        journal_save_write(j->dir, save.blob, save.n, as_of);
        save.release(save.blob);
    }
    free(w->snapshot);
    free(w->name);
}

static void wait_ms(struct journal *j, pthread_cond_t *c, int64_t ms)
{
    struct timespec t;
    clock_deadline(ms, &t);
    pthread_cond_timedwait(c, &j->lock, &t);
}

static void trouble_say(struct journal *j, enum rc rc, const char *why)
{
    const char *hint = rc == RC_FULL      ? "free space on this disk; buses keep their data until then"
                       : rc == RC_CORRUPT ? "restart the server: it sets the file aside and begins a new one"
                                          : "check the disk (dmesg, SMART) and the rights of the directory; buses keep their data until then";
    pthread_mutex_lock(&j->lock);
    j->trouble = true;
    j->figures.failures++;
    snprintf(j->trouble_text, sizeof j->trouble_text, "%.100s: cannot store (%.100s): %s", j->dir, why, hint);
    pthread_mutex_unlock(&j->lock);
    uv_async_send(&j->async);
}

/* Commit until it works; false: asked to stop and it did not within 3 s. What is not committed was not acknowledged. */
static bool work_commit(struct journal *j, struct work *w)
{
    struct log_gate gate = {0};
    int64_t pause_ms = 100, stop_mono_ms = 0;
    char why[256] = "";
    for (;;) {
        int64_t t = clock_mono_ms();
        enum rc rc = write_work(j, w, why, sizeof why);
        int64_t now = clock_mono_ms();
        if (rc == RC_OK) {
            if (log_gate_over(&gate))
                log_notice("journal", "%s: stores again", j->dir);
            work_done(j, w, now - t);
            return true;
        }
        trouble_say(j, rc, why);
        if (log_gate_trouble(&gate, now))
            log_error("journal", "%s (%u times)", j->trouble_text, gate.since_said);
        pthread_mutex_lock(&j->lock);
        if (j->stop && stop_mono_ms == 0)
            stop_mono_ms = now;
        bool give_up = j->stop && now - stop_mono_ms > 3000;
        if (!give_up)
            wait_ms(j, &j->wake, pause_ms);
        pthread_mutex_unlock(&j->lock);
        if (give_up)
            return false;
        pause_ms = pause_ms * 2 < 5000 ? pause_ms * 2 : 5000;
    }
}

/* Nothing to commit: fold old groups a slice at a time. Returns how long to sleep, ms; 0 there is more to do. */
static int64_t idle(struct journal *j)
{
    char why[256] = "";
    if (j->db == NULL)
        return 1000;
    enum rc rc = journal_fold_step(&j->fold, j->dir, j->db, j->day, clock_wall_ms(), why, sizeof why);
    if (rc == RC_OK)
        return 0;
    if (rc != RC_AGAIN && log_gate_trouble(&j->fold.gate, clock_mono_ms()))
        log_warning("journal", "%s: history not condensed (%s): reading it is slower, nothing is lost", j->dir, why);
    else if (rc == RC_AGAIN && log_gate_over(&j->fold.gate))
        log_notice("journal", "%s: history is condensed again", j->dir);
    return 1000;
}

static void *writer(void *arg)
{
    struct journal *j = arg;
    int64_t idle_mono_ms = 0; /* when to look for groups to fold */
    for (;;) {
        struct work w;
        pthread_mutex_lock(&j->lock);
        int64_t rest = idle_mono_ms - clock_mono_ms();
        if (batch_empty(j->open) && !j->stop && rest > 0) {
            wait_ms(j, &j->wake, rest);
            rest = idle_mono_ms - clock_mono_ms();
        }
        if (rest <= 0 && !j->stop) { /* also under load: one slice between two commits, twice a second */
            bool quiet = batch_empty(j->open);
            pthread_mutex_unlock(&j->lock);
            rest = idle(j);
            idle_mono_ms = clock_mono_ms() + (rest > 0 ? rest : quiet ? 0 : 500);
            continue;
        }
        if (batch_empty(j->open) && !j->stop) {
            pthread_mutex_unlock(&j->lock);
            continue;
        }
        int64_t due = j->open->begun_mono_ms + j->setup.group_ms;
        for (int64_t now = clock_mono_ms(); !j->stop && now < due && j->open->n < GROUP_MAX; now = clock_mono_ms())
            wait_ms(j, &j->wake, due - now);
        bool last = batch_empty(j->open);
        if (!last)
            work_take(j, &w);
        pthread_mutex_unlock(&j->lock);
        if (last)
            break;
        if (!work_commit(j, &w)) { /* the disk refused it to the end */
            free(w.snapshot);
            free(w.name);
            break;
        }
    }
    file_close(j);
    pthread_mutex_lock(&j->lock);
    j->stopped = true;
    pthread_cond_broadcast(&j->news);
    pthread_mutex_unlock(&j->lock);
    uv_async_send(&j->async);
    return NULL;
}

bool journal_wait(struct journal *j, const struct journal_cursor *cursor, int timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    pthread_mutex_lock(&j->lock);
    bool newer;
    for (;;) {
        newer = j->last.day > cursor->day || (j->last.day == cursor->day && j->last.group > cursor->group);
        int64_t left = until - clock_mono_ms();
        if (newer || left <= 0 || j->stopped)
            break;
        wait_ms(j, &j->news, left);
    }
    pthread_mutex_unlock(&j->lock);
    return newer;
}

/* --- start --- */

static void set_aside(struct journal *j, int32_t day, const char *why)
{
    char path[JOURNAL_FILE_PATH_MAX], from[JOURNAL_FILE_PATH_MAX + 8], to[JOURNAL_FILE_PATH_MAX + 48];
    static const char *const part[] = {"", "-wal", "-shm"};
    journal_file_path(j->dir, day, path);
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        snprintf(from, sizeof from, "%s%s", path, part[i]);
        snprintf(to, sizeof to, "%s.bad-%lld%s", path, (long long)now, part[i]);
        if (rename(from, to) != 0 && i == 0)
            log_error("journal", "%s: cannot be set aside: %s", path, strerror(errno));
    }
    j->aside_day = day;
    log_error("journal",
              "%s is damaged (%s) and was set aside as %s.bad-%lld: the server goes on without it; what it held may be in the series store", path,
              why, path, (long long)now);
}

/* Newest file first: what it knows is the state; a damaged one is set aside and the one before is asked. */
static enum rc history_read(struct journal *j, char *why, size_t cap)
{
    int32_t *day = NULL;
    size_t n = 0;
    bool found = false;
    enum rc rc = journal_file_days(j->dir, &day, &n);
    if (rc != RC_OK)
        snprintf(why, cap, "%s: cannot be read: %s", j->dir, strerror(errno));
    while (rc == RC_OK && n-- > 0 && !found) {
        rc = file_ready(j, day[n], why, cap);
        if (rc == RC_OK) {
            rc = journal_lanes_read(&j->lanes, j->db, &j->named, &found);
            if (rc != RC_OK)
                snprintf(why, cap, "settled sets: %s", rc_text(rc));
        }
        if (rc == RC_CORRUPT) {
            file_close(j);
            set_aside(j, day[n], why);
            j->day = 0;
            rc = RC_OK;
            continue;
        }
        if (rc == RC_OK && found) {
            sqlite3_stmt *s = NULL;
            rc = db_prepare(j->db, "SELECT coalesce((SELECT max(id) FROM arrival), 0), coalesce((SELECT max(upto) FROM chunk), 0)", &s);
            if (rc == RC_OK && sqlite3_step(s) == SQLITE_ROW) {
                int64_t a = sqlite3_column_int64(s, 0), b = sqlite3_column_int64(s, 1);
                j->next_id = (a > b ? a : b) + 1;
            }
            sqlite3_finalize(s);
            j->last = (struct journal_cursor){j->day, j->next_id - 1};
        }
    }
    free(day);
    if (rc == RC_OK) {
        j->snapshot_due = true;
        if (j->day != 0 && j->last.day == 0)
            j->last = (struct journal_cursor){j->day, j->next_id - 1};
    }
    return rc;
}

enum rc journal_open(uv_loop_t *loop, const struct journal_setup *s, struct journal **ret_j, char *why, size_t cap)
{
    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL)
        return RC_NO_MEMORY;
    j->setup = *s;
    j->loop = loop;
    j->open = &j->batch[0];
    j->busy = &j->batch[1];
    j->open->ticket = 1;
    if (snprintf(j->dir, sizeof j->dir, "%s", s->dir) >= (int)sizeof j->dir) {
        snprintf(why, cap, "journal directory: longer than %zu characters", sizeof j->dir - 1);
        goto refuse;
    }
    if (mkdir(j->dir, 0700) != 0 && errno != EEXIST) {
        snprintf(why, cap, "%s: cannot be made: %s", j->dir, strerror(errno));
        goto refuse;
    }
    enum rc rc = journal_lanes_init(&j->lanes);
    if (rc == RC_OK)
        rc = history_read(j, why, cap);
    if (rc != RC_OK) {
        file_close(j);
        journal_lanes_free(&j->lanes);
        free(j);
        return rc;
    }
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->wake, &mono);
    pthread_cond_init(&j->news, &mono);
    pthread_condattr_destroy(&mono);
    uv_async_init(loop, &j->async, on_async);
    j->async.data = j;
    if (pthread_create(&j->thread, NULL, writer, j) != 0) {
        snprintf(why, cap, "journal: no thread: %s", strerror(errno));
        file_close(j);
        uv_close((uv_handle_t *)&j->async, on_handle_closed);
        return RC_IO;
    }
    *ret_j = j;
    return RC_OK;
refuse:
    free(j);
    return RC_IO;
}

void journal_close(struct journal *j, void (*on_closed)(void *arg), void *arg)
{
    if (j == NULL) {
        if (on_closed != NULL)
            on_closed(arg);
        return;
    }
    j->on_closed = on_closed;
    j->closed_arg = arg;
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
}
