#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/base/db.h"
#include "../core/base/log.h"
#include "journal_file.h"
#include "journal_fold.h"

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

struct lane { /* a settled set, small while it has no ranges */
    uint64_t through;
    size_t ranges;
    struct wire_range *range;
};
struct gateway {
    char name[WIRE_TEXT_MAX + 1];
    struct lane lane[EVENT_LANES];
};

struct part { /* becomes one group: a batch has several where a checkpoint was asked for in its midst */
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
    struct gateway *gateway;
    size_t gateways, gateways_cap;
    uint32_t *slot; /* open addressing by name: number + 1 */
    size_t slots;   /* power of two */
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

/* --- gateways --- */

static uint32_t name_hash(const char *s)
{
    uint32_t h = 2166136261U; /* FNV-1a */
    for (; *s != '\0'; s++)
        h = (h ^ (uint8_t)*s) * 16777619U;
    return h ^ h >> 15;
}

static struct gateway *gateway_find(const struct journal *j, const char *name)
{
    for (size_t i = name_hash(name) & (j->slots - 1); j->slot[i] != 0; i = (i + 1) & (j->slots - 1))
        if (strcmp(j->gateway[j->slot[i] - 1].name, name) == 0)
            return &j->gateway[j->slot[i] - 1];
    return NULL;
}

static void slot_put(uint32_t *slot, size_t slots, const char *name, uint32_t v)
{
    size_t i = name_hash(name) & (slots - 1);
    while (slot[i] != 0)
        i = (i + 1) & (slots - 1);
    slot[i] = v;
}

static struct gateway *gateway_add(struct journal *j, const char *name)
{
    if (j->gateways == j->gateways_cap) {
        size_t cap = j->gateways_cap == 0 ? 64 : j->gateways_cap * 2;
        struct gateway *more = realloc(j->gateway, cap * sizeof *more);
        if (more == NULL)
            return NULL;
        j->gateway = more;
        j->gateways_cap = cap;
    }
    if ((j->gateways + 1) * 2 > j->slots) {
        size_t slots = j->slots * 2;
        uint32_t *slot = calloc(slots, sizeof *slot);
        if (slot == NULL)
            return NULL;
        for (size_t i = 0; i < j->gateways; i++)
            slot_put(slot, slots, j->gateway[i].name, (uint32_t)i + 1);
        free(j->slot);
        j->slot = slot;
        j->slots = slots;
    }
    struct gateway *g = &j->gateway[j->gateways];
    *g = (struct gateway){0};
    snprintf(g->name, sizeof g->name, "%s", name);
    slot_put(j->slot, j->slots, g->name, (uint32_t)++j->gateways);
    return g;
}

static struct gateway *gateway_of(struct journal *j, const char *name)
{
    struct gateway *g = gateway_find(j, name);
    return g != NULL ? g : gateway_add(j, name);
}

static void lane_load(const struct lane *l, struct wire_settled *s)
{
    s->through = l->through;
    s->ranges = l->ranges;
    if (l->ranges > 0)
        memcpy(s->range, l->range, l->ranges * sizeof s->range[0]);
}

static bool lane_store(struct lane *l, const struct wire_settled *s)
{
    if (s->ranges > l->ranges) {
        struct wire_range *more = realloc(l->range, s->ranges * sizeof *more);
        if (more == NULL)
            return false;
        l->range = more;
    }
    if (s->ranges > 0) {
        memcpy(l->range, s->range, s->ranges * sizeof s->range[0]);
    } else if (l->ranges > 0) {
        free(l->range);
        l->range = NULL;
    }
    l->through = s->through;
    l->ranges = s->ranges;
    return true;
}

/* All settled sets as a blob: varints through, ranges, (from, to)* for each lane of each gateway in the order of their numbers; CRC. */
static uint8_t *snapshot_of(const struct journal *j, size_t *ret_n)
{
    size_t cap = 14;
    for (size_t i = 0; i < j->gateways; i++)
        for (size_t k = 0; k < EVENT_LANES; k++)
            cap += 20 + 20 * j->gateway[i].lane[k].ranges;
    uint8_t *out = malloc(cap);
    if (out == NULL)
        return NULL;
    size_t n = journal_file_varint(out, j->gateways);
    for (size_t i = 0; i < j->gateways; i++)
        for (size_t k = 0; k < EVENT_LANES; k++) {
            const struct lane *l = &j->gateway[i].lane[k];
            n += journal_file_varint(out + n, l->through);
            n += journal_file_varint(out + n, l->ranges);
            for (size_t r = 0; r < l->ranges; r++) {
                n += journal_file_varint(out + n, l->range[r].from);
                n += journal_file_varint(out + n, l->range[r].to);
            }
        }
    uint32_t crc = journal_file_crc(out, n);
    for (int b = 0; b < 4; b++)
        out[n++] = (uint8_t)(crc >> 8 * b);
    *ret_n = n;
    return out;
}

static enum rc snapshot_read(struct journal *j, const struct journal_file_names *names, const void *blob, size_t n)
{
    struct journal_file_reader r;
    uint64_t count, v[2];
    if (journal_file_read(&r, blob, n, 0) != RC_OK || !journal_file_get(&r.at, r.end, &count))
        return RC_CORRUPT;
    for (uint64_t i = 0; i < count; i++)
        for (size_t k = 0; k < EVENT_LANES; k++) {
            struct wire_settled s = {0};
            if (!journal_file_get(&r.at, r.end, &s.through) || !journal_file_get(&r.at, r.end, &v[0]) || v[0] > WIRE_RANGES_MAX)
                return RC_CORRUPT;
            s.ranges = (size_t)v[0];
            for (size_t x = 0; x < s.ranges; x++)
                if (!journal_file_get(&r.at, r.end, &s.range[x].from) || !journal_file_get(&r.at, r.end, &s.range[x].to))
                    return RC_CORRUPT;
            struct gateway *g = i < names->n && names->name[i][0] != '\0' ? gateway_of(j, names->name[i]) : NULL;
            if (g != NULL && !lane_store(&g->lane[k], &s))
                return RC_NO_MEMORY;
        }
    return RC_OK;
}

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

enum rc journal_put(struct journal *j, const char *gateway, enum event_lane lane, int64_t arrival_ms, const void *frame, size_t n,
                    const struct wire_settled *settled, uint64_t *ret_ticket)
{
    if (n > WIRE_FRAME_MAX || (unsigned)lane >= EVENT_LANES)
        return RC_INVALID;
    pthread_mutex_lock(&j->lock);
    struct batch *b = j->open;
    struct gateway *g = gateway_of(j, gateway);
    enum rc rc = RC_FULL;
    bool first = b->parts == 0 || b->part[b->parts - 1].to != 0;
    if (g == NULL || b->n + j->busy_bytes + n > QUEUE_MAX || !batch_room(b, n + JOURNAL_FILE_HEAD_MAX + 4) || (first && b->parts == PARTS_MAX))
        goto out;
    if (!lane_store(&g->lane[lane], settled))
        goto out;
    bool wake = batch_empty(b);
    if (wake)
        b->begun_mono_ms = clock_mono_ms();
    if (first)
        b->part[b->parts++] = (struct part){.from = b->n, .first_ms = arrival_ms, .last_ms = arrival_ms};
    struct part *p = &b->part[b->parts - 1];
    b->n += journal_file_head(b->data + b->n, (uint32_t)(g - j->gateway), (uint8_t)lane, arrival_ms - p->last_ms, n);
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

void journal_settled(struct journal *j, const char *gateway, enum event_lane lane, struct wire_settled *ret_s)
{
    struct wire_settled s = {0};
    pthread_mutex_lock(&j->lock);
    const struct gateway *g = gateway_find(j, gateway);
    if (g != NULL)
        lane_load(&g->lane[lane], &s);
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
    for (size_t i = 0; i < j->gateways; i++)
        for (size_t k = 0; k < EVENT_LANES; k++)
            free(j->gateway[i].lane[k].range);
    free(j->gateway);
    free(j->slot);
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
    enum rc rc = db_prepare(j->db, "INSERT INTO settled(id, upto, blob) VALUES(1, ?, ?) ON CONFLICT(id) DO UPDATE SET upto = excluded.upto, blob = excluded.blob", &s);
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

/* --- checkpoints: a file of their own, replaced as a whole --- */

struct save_head {
    char magic[8];
    int32_t day;
    uint32_t crc;
    int64_t group;
    uint64_t n;
};
static const char save_magic[8] = "swckpt1";

static void save_path(const struct journal *j, const char *suffix, char out[JOURNAL_FILE_PATH_MAX])
{
    snprintf(out, JOURNAL_FILE_PATH_MAX, "%s/checkpoint%s", j->dir, suffix);
}

static bool write_all(int fd, const void *p, size_t n)
{
    const uint8_t *at = p;
    while (n > 0) {
        ssize_t k = write(fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        at += k;
        n -= (size_t)k;
    }
    return true;
}

static void save_write(const struct journal *j, const struct save *s, struct journal_cursor as_of)
{
    char path[JOURNAL_FILE_PATH_MAX], tmp[JOURNAL_FILE_PATH_MAX];
    struct save_head h = {.day = as_of.day, .group = as_of.group, .n = s->n, .crc = journal_file_crc(s->blob, s->n)};
    memcpy(h.magic, save_magic, sizeof h.magic);
    save_path(j, "", path);
    save_path(j, ".new", tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, &h, sizeof h) && write_all(fd, s->blob, s->n) && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok || rename(tmp, path) != 0)
        log_warning("journal", "%s: checkpoint not written (%s): the next start replays more, nothing is lost", tmp, strerror(errno));
    /* No fsync of the directory: after a power cut the older checkpoint is as good, it only makes the replay longer. */
}

enum rc journal_load(struct journal *j, void **ret_blob, size_t *ret_n, struct journal_cursor *ret_cursor)
{
    char path[JOURNAL_FILE_PATH_MAX];
    struct save_head h;
    *ret_blob = NULL;
    *ret_n = 0;
    *ret_cursor = (struct journal_cursor){0};
    save_path(j, "", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return RC_OK;
    struct stat st;
    uint8_t *blob = NULL;
    bool ok = fstat(fd, &st) == 0 && read(fd, &h, sizeof h) == (ssize_t)sizeof h && memcmp(h.magic, save_magic, sizeof h.magic) == 0 &&
              h.n == (uint64_t)st.st_size - sizeof h && h.n < (1ULL << 32);
    if (ok)
        blob = malloc(h.n > 0 ? (size_t)h.n : 1);
    size_t got = 0;
    while (ok && blob != NULL && got < h.n) {
        ssize_t k = read(fd, blob + got, (size_t)h.n - got);
        if (k <= 0)
            break;
        got += (size_t)k;
    }
    close(fd);
    if (!ok || blob == NULL || got < h.n || journal_file_crc(blob, got) != h.crc) {
        log_warning("journal", "%s: not a whole checkpoint: everything kept is replayed instead", path);
        free(blob);
        return RC_OK;
    }
    *ret_blob = blob;
    *ret_n = got;
    *ret_cursor = (struct journal_cursor){h.day, h.group};
    return RC_OK;
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
    if (j->gateways > from) {
        w->name = malloc((j->gateways - from) * sizeof *w->name);
        w->names = w->name == NULL ? 0 : j->gateways - from;
        for (size_t i = 0; i < w->names; i++)
            memcpy(w->name[i], j->gateway[from + i].name, sizeof w->name[i]);
    }
    if (w->day != j->day || j->snapshot_due || j->since_snapshot + b->parts >= SNAPSHOT_GROUPS)
        w->snapshot = snapshot_of(j, &w->snapshot_n);
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
        save_write(j, &save, as_of);
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
        if (last || !work_commit(j, &w))
            break;
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

/* The settled sets of a file: its snapshot, and every group after it. */
static enum rc settled_read(struct journal *j, sqlite3 *db, bool *ret_found)
{
    struct journal_file_names names = {0};
    struct wire_frame *f = malloc(sizeof *f);
    sqlite3_stmt *s = NULL;
    int64_t upto = 0;
    unsigned bad = 0;
    const char *fault = NULL;
    bool found = false;
    int code = SQLITE_DONE;
    enum rc rc = f == NULL ? RC_NO_MEMORY : journal_file_names(db, &names);
    for (size_t i = 0; i < names.n && rc == RC_OK; i++) /* in the order of their numbers: those of the file stay what they are */
        rc = gateway_of(j, names.name[i]) == NULL ? RC_NO_MEMORY : RC_OK;
    j->named = names.n;
    if (rc == RC_OK)
        rc = db_prepare(db, "SELECT upto, blob FROM settled", &s);
    if (rc == RC_OK && sqlite3_step(s) == SQLITE_ROW) {
        const void *blob = sqlite3_column_blob(s, 1);
        rc = snapshot_read(j, &names, blob, (size_t)sqlite3_column_bytes(s, 1));
        upto = sqlite3_column_int64(s, 0);
        found = true;
    }
    sqlite3_finalize(s);
    s = NULL;
    if (rc == RC_OK)
        rc = db_prepare(db, "SELECT arrival_ms, blob FROM arrival WHERE id > ? ORDER BY id", &s);
    if (rc == RC_OK)
        sqlite3_bind_int64(s, 1, upto);
    while (rc == RC_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct journal_file_reader r;
        struct journal_file_entry e;
        const void *blob = sqlite3_column_blob(s, 1);
        if (journal_file_read(&r, blob, (size_t)sqlite3_column_bytes(s, 1), 0) != RC_OK) {
            bad++;
            continue;
        }
        found = true;
        while (journal_file_next(&r, &e)) {
            struct gateway *g = e.gateway < names.n && names.name[e.gateway][0] != '\0' ? gateway_of(j, names.name[e.gateway]) : NULL;
            struct wire_settled set;
            if (g == NULL || wire_decode(e.frame, e.n, f, &fault) != RC_OK || f->kind != WIRE_BATCH)
                continue;
            lane_load(&g->lane[f->batch.lane], &set);
            if (wire_settle(&set, f->batch.first_seq, f->batch.first_seq + f->batch.n - 1) == RC_OK && !lane_store(&g->lane[f->batch.lane], &set))
                rc = RC_NO_MEMORY;
        }
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = db_rc(code);
    sqlite3_finalize(s);
    journal_file_names_free(&names);
    free(f);
    if (bad > 0)
        log_error("journal", "%u damaged groups skipped: what they held is asked for again where the gateway still has it", bad);
    if (rc == RC_OK)
        *ret_found = found;
    return rc;
}

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
    log_error("journal", "%s is damaged (%s) and was set aside as %s.bad-%lld: the server goes on without it; what it held may be in the series store", path,
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
            rc = settled_read(j, j->db, &found);
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
    j->slots = 128;
    j->slot = calloc(j->slots, sizeof *j->slot);
    if (snprintf(j->dir, sizeof j->dir, "%s", s->dir) >= (int)sizeof j->dir) {
        snprintf(why, cap, "journal directory: longer than %zu characters", sizeof j->dir - 1);
        goto refuse;
    }
    if (mkdir(j->dir, 0700) != 0 && errno != EEXIST) {
        snprintf(why, cap, "%s: cannot be made: %s", j->dir, strerror(errno));
        goto refuse;
    }
    enum rc rc = j->slot == NULL ? RC_NO_MEMORY : history_read(j, why, cap);
    if (rc != RC_OK) {
        file_close(j);
        for (size_t i = 0; i < j->gateways; i++)
            for (size_t k = 0; k < EVENT_LANES; k++)
                free(j->gateway[i].lane[k].range);
        free(j->gateway);
        free(j->slot);
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
    free(j->slot);
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
