#include "media.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"

#define NAME_MAX_BYTES 128
#define SENT           ".sent"

static const char *const extensions[] = {"jpg", "wav", "mp4"}; /* by enum event_media_type */

struct item {
    int64_t time_ms;
    uint32_t id, alarm_id, bytes;
    uint8_t unit, type;
    bool sent;
    uint8_t sha256[WIRE_SHA256];
};

struct writing {
    struct media *m;
    uv_work_t job;
    bool used, ending;
    int fd;
    unsigned number; /* of its temporary name */
    uint32_t room;   /* bytes written so far, holes included */
    struct item item;
    int error; /* errno of the job, 0 it went well */
};

struct media {
    uv_loop_t *loop;
    struct media_setup setup;
    char *dir;
    int dir_fd;
    struct item *item; /* setup.max_items of them */
    uint32_t items;
    uint64_t bytes;
    struct writing writing[MEDIA_OPEN_MAX];
    unsigned next_number;
    uint8_t current[WIRE_SHA256]; /* in flight */
    bool has_current;
    int read_fd; /* of the one in flight, -1 none */
    struct log_gate disk_gate;
    struct media_figures figures;
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* --- names --- */

static void name_of(const struct item *i, char out[NAME_MAX_BYTES])
{
    int n = snprintf(out, NAME_MAX_BYTES, "%012" PRIx64 "-%02x-%x-%08" PRIx32 "-%08" PRIx32 "-", (uint64_t)i->time_ms, i->unit, i->type, i->id,
                     i->alarm_id);
    for (size_t k = 0; k < WIRE_SHA256; k++)
        n += snprintf(out + n, NAME_MAX_BYTES - (size_t)n, "%02x", i->sha256[k]);
    snprintf(out + n, NAME_MAX_BYTES - (size_t)n, ".%s%s", extensions[i->type], i->sent ? SENT : "");
}

static bool item_of(const char *name, struct item *ret_i)
{
    struct item i = {.sent = false};
    unsigned unit = 0, type = 0;
    uint64_t time_ms = 0;
    int at = 0;
    if (sscanf(name, "%12" SCNx64 "-%2x-%1x-%8" SCNx32 "-%8" SCNx32 "-%n", &time_ms, &unit, &type, &i.id, &i.alarm_id, &at) != 5 || at == 0 ||
        unit < EVENT_CAMERA_ADAS || unit > EVENT_CAMERA_BSD || type > EVENT_MEDIA_VIDEO)
        return false;
    for (size_t k = 0; k < WIRE_SHA256; k++, at += 2)
        if (sscanf(name + at, "%2hhx", &i.sha256[k]) != 1)
            return false;
    i.time_ms = (int64_t)time_ms;
    i.unit = (uint8_t)unit;
    i.type = (uint8_t)type;
    i.sent = strlen(name) > sizeof SENT && strcmp(name + strlen(name) - (sizeof SENT - 1), SENT) == 0;
    char again[NAME_MAX_BYTES];
    name_of(&i, again);
    if (strcmp(again, name) != 0) /* ours look exactly like this */
        return false;
    *ret_i = i;
    return true;
}

static void tmp_name(unsigned number, char out[NAME_MAX_BYTES])
{
    snprintf(out, NAME_MAX_BYTES, "%u.tmp", number);
}

/* --- what is there --- */

static void tell(struct media *m, const struct item *i, enum event_media_state state)
{
    struct event e = {.kind = EVENT_MEDIA};
    memcpy(e.media.sha256, i->sha256, sizeof e.media.sha256);
    e.media.id = i->id;
    e.media.bytes = i->bytes;
    e.media.alarm_id = i->alarm_id;
    e.media.unit = i->unit;
    e.media.type = i->type;
    e.media.state = (uint8_t)state;
    m->setup.on_event(m->setup.arg, &e);
}

static struct item *find(struct media *m, const uint8_t sha256[WIRE_SHA256])
{
    for (uint32_t i = 0; i < m->items; i++)
        if (memcmp(m->item[i].sha256, sha256, WIRE_SHA256) == 0)
            return &m->item[i];
    return NULL;
}

static void end_flight(struct media *m)
{
    m->has_current = false;
    if (m->read_fd >= 0)
        close(m->read_fd);
    m->read_fd = -1;
}

static void forget(struct media *m, struct item *i)
{
    char name[NAME_MAX_BYTES];
    name_of(i, name);
    unlinkat(m->dir_fd, name, 0);
    m->bytes -= i->bytes;
    if (m->has_current && memcmp(m->current, i->sha256, WIRE_SHA256) == 0)
        end_flight(m);
    *i = m->item[--m->items];
}

/* The one that goes first: sent before unsent, old before new. NULL: nothing is there. */
static struct item *first_to_go(struct media *m, bool sent_only)
{
    struct item *best = NULL;
    for (uint32_t k = 0; k < m->items; k++) {
        struct item *i = &m->item[k];
        if (sent_only && !i->sent)
            continue;
        if (best == NULL || i->sent > best->sent || (i->sent == best->sent && i->time_ms < best->time_ms))
            best = i;
    }
    return best;
}

static void give_up(struct media *m, struct item *i)
{
    struct item gone = *i;
    forget(m, i);
    m->figures.given_up++;
    tell(m, &gone, EVENT_MEDIA_GIVEN_UP);
}

static void make_room(struct media *m, uint64_t bytes)
{
    while (m->items >= m->setup.max_items || m->bytes + bytes > m->setup.max_bytes) {
        struct item *i = first_to_go(m, false);
        if (i == NULL)
            return;
        if (i->sent)
            forget(m, i);
        else
            give_up(m, i);
    }
}

/* Whether the disk has room beside what the outbox needs. Files the office has make way. */
static bool disk_has_room(struct media *m)
{
    struct statvfs s;
    for (;;) {
        if (fstatvfs(m->dir_fd, &s) != 0 || (uint64_t)s.f_bavail * s.f_frsize >= m->setup.reserve_bytes) {
            if (log_gate_over(&m->disk_gate))
                log_notice("media", "the disk has room again: pictures are kept");
            return true;
        }
        struct item *i = first_to_go(m, true);
        if (i == NULL)
            break;
        forget(m, i);
    }
    if (log_gate_trouble(&m->disk_gate, clock_mono_ms()))
        log_warning("media", "less than %" PRIu64 " MiB free: pictures are not kept until there is room; free the disk or lower media.reserve_mb",
                    m->setup.reserve_bytes >> 20);
    return false;
}

/* --- writing --- */

static void drop(struct writing *w)
{
    char name[NAME_MAX_BYTES];
    close(w->fd);
    tmp_name(w->number, name);
    unlinkat(w->m->dir_fd, name, 0);
    w->used = false;
}

static enum rc store_begin(void *arg, const struct driver_media *what, int *ret_file)
{
    struct media *m = arg;
    int k = 0;
    char name[NAME_MAX_BYTES];
    while (k < MEDIA_OPEN_MAX && m->writing[k].used)
        k++;
    if (m->closing || k == MEDIA_OPEN_MAX || !disk_has_room(m)) {
        m->figures.refused++;
        return RC_FULL;
    }
    struct writing *w = &m->writing[k];
    *w = (struct writing){.m = m, .number = m->next_number++};
    w->item = (struct item){.time_ms = what->time_ms > 0 ? what->time_ms : clock_wall_ms(),
                            .id = what->id,
                            .alarm_id = what->alarm_id,
                            .unit = what->unit,
                            .type = what->type};
    tmp_name(w->number, name);
    w->fd = openat(m->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w->fd < 0) {
        m->figures.refused++;
        return errno == ENOSPC || errno == EDQUOT ? RC_FULL : RC_IO;
    }
    w->used = true;
    *ret_file = k;
    return RC_OK;
}

static enum rc store_write(void *arg, int file, uint32_t offset, const void *p, size_t n)
{
    struct media *m = arg;
    struct writing *w = &m->writing[file];
    if (n > m->setup.item_max || offset > m->setup.item_max - n)
        return RC_FULL;
    if (!disk_has_room(m))
        return RC_FULL;
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(w->fd, (const uint8_t *)p + done, n - done, (off_t)(offset + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return errno == ENOSPC || errno == EDQUOT ? RC_FULL : RC_IO;
        done += (size_t)k;
    }
    if (offset + (uint32_t)n > w->room)
        w->room = offset + (uint32_t)n;
    return RC_OK;
}

static bool hash_file(int fd, uint32_t bytes, uint8_t out[WIRE_SHA256])
{
    uint8_t buf[16384];
    unsigned len = 0;
    uint32_t at = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    while (ok && at < bytes) {
        ssize_t n = pread(fd, buf, bytes - at < sizeof buf ? bytes - at : sizeof buf, (off_t)at);
        ok = n > 0 && EVP_DigestUpdate(ctx, buf, (size_t)n) == 1;
        at += n > 0 ? (uint32_t)n : 0;
    }
    ok = ok && EVP_DigestFinal_ex(ctx, out, &len) == 1 && len == WIRE_SHA256;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* In the pool: everything that waits for the disk. The name comes last: it says that the bytes are there. */
static void end_work(uv_work_t *job)
{
    struct writing *w = job->data;
    char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES];
    errno = EIO;
    if (ftruncate(w->fd, (off_t)w->item.bytes) != 0 || fsync(w->fd) != 0 || !hash_file(w->fd, w->item.bytes, w->item.sha256)) {
        w->error = errno;
        return;
    }
    tmp_name(w->number, from);
    name_of(&w->item, to);
    if (renameat(w->m->dir_fd, from, w->m->dir_fd, to) != 0 || fsync(w->m->dir_fd) != 0)
        w->error = errno;
}

static void finish_close(struct media *m);

static void end_after(uv_work_t *job, int status)
{
    struct writing *w = job->data;
    struct media *m = w->m;
    (void)status;
    w->ending = false;
    if (w->error != 0) {
        if (log_gate_trouble(&m->disk_gate, clock_mono_ms()))
            log_error("media", "a picture could not be kept: %s", strerror(w->error));
        m->figures.given_up++;
        tell(m, &w->item, EVENT_MEDIA_GIVEN_UP);
        drop(w);
    } else {
        struct item *twin = find(m, w->item.sha256);
        char mine[NAME_MAX_BYTES], its[NAME_MAX_BYTES] = "";
        close(w->fd);
        w->used = false;
        name_of(&w->item, mine);
        if (twin != NULL)
            name_of(twin, its);
        if (twin != NULL) { /* the camera sent it again */
            if (strcmp(mine, its) != 0)
                unlinkat(m->dir_fd, mine, 0);
        } else {
            make_room(m, w->item.bytes); /* again: others may have ended meanwhile */
            m->item[m->items++] = w->item;
            m->bytes += w->item.bytes;
            m->figures.kept++;
            tell(m, &w->item, EVENT_MEDIA_KEPT);
            if (m->setup.on_kept != NULL && !m->closing)
                m->setup.on_kept(m->setup.arg);
        }
    }
    finish_close(m);
}

static void store_end(void *arg, int file, uint32_t bytes)
{
    struct media *m = arg;
    struct writing *w = &m->writing[file];
    if (bytes == 0 || bytes != w->room) { /* a hole at the end would be bytes nobody sent */
        drop(w);
        return;
    }
    w->item.bytes = bytes;
    w->job.data = w;
    make_room(m, bytes);
    w->ending = uv_queue_work(m->loop, &w->job, end_work, end_after) == 0;
    if (!w->ending)
        drop(w);
}

void media_store(struct media *m, struct driver_store *ret_s)
{
    *ret_s = (struct driver_store){m, store_begin, store_write, store_end};
}

/* --- sending --- */

enum rc media_next(struct media *m, struct wire_media_part *ret_p)
{
    struct item *best = m->has_current ? find(m, m->current) : NULL;
    if (best == NULL || best->sent) {
        best = NULL;
        end_flight(m);
        for (uint32_t k = 0; k < m->items; k++) /* what just happened is worth more than what is long past */
            if (!m->item[k].sent && (best == NULL || m->item[k].time_ms > best->time_ms))
                best = &m->item[k];
    }
    if (best == NULL)
        return RC_END;
    if (!m->has_current) {
        memcpy(m->current, best->sha256, WIRE_SHA256);
        m->has_current = true;
    }
    memcpy(ret_p->sha256, best->sha256, WIRE_SHA256);
    ret_p->bytes = best->bytes;
    ret_p->offset = ret_p->n = 0;
    ret_p->time_ms = best->time_ms;
    ret_p->id = best->id;
    ret_p->alarm_id = best->alarm_id;
    ret_p->unit = best->unit;
    ret_p->type = best->type;
    return RC_OK;
}

enum rc media_read(struct media *m, struct wire_media_part *p, uint32_t offset, uint32_t n)
{
    struct item *i = m->has_current ? find(m, m->current) : NULL;
    char name[NAME_MAX_BYTES];
    if (i == NULL || offset > i->bytes || n > i->bytes - offset || n > WIRE_MEDIA_DATA_MAX)
        return RC_RANGE;
    if (m->read_fd < 0) {
        name_of(i, name);
        m->read_fd = openat(m->dir_fd, name, O_RDONLY | O_CLOEXEC);
    }
    if (m->read_fd < 0 || (n > 0 && pread(m->read_fd, p->data, n, (off_t)offset) != (ssize_t)n)) {
        media_give_up(m, i->sha256, "the file cannot be read");
        return RC_IO;
    }
    p->offset = offset;
    p->n = n;
    return RC_OK;
}

void media_sent(struct media *m, const uint8_t sha256[WIRE_SHA256])
{
    struct item *i = find(m, sha256);
    char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES];
    if (i == NULL || i->sent)
        return;
    name_of(i, from);
    i->sent = true;
    name_of(i, to);
    if (m->has_current && memcmp(m->current, sha256, WIRE_SHA256) == 0)
        end_flight(m);
    if (renameat(m->dir_fd, from, m->dir_fd, to) != 0)
        log_warning("media", "a sent file cannot be marked (%s): it is sent again after the next start", strerror(errno));
    m->figures.sent++;
    tell(m, i, EVENT_MEDIA_SENT);
}

void media_give_up(struct media *m, const uint8_t sha256[WIRE_SHA256], const char *why)
{
    struct item *i = find(m, sha256);
    if (i == NULL || i->sent)
        return;
    log_warning("media", "file %02x%02x%02x%02x of %" PRIu32 " bytes is given up: %s", sha256[0], sha256[1], sha256[2], sha256[3], i->bytes, why);
    give_up(m, i);
}

void media_figures(const struct media *m, struct media_figures *ret_f)
{
    *ret_f = m->figures;
    ret_f->bytes = m->bytes;
    ret_f->items = m->items;
    ret_f->waiting = 0;
    for (uint32_t i = 0; i < m->items; i++)
        ret_f->waiting += !m->item[i].sent;
}

/* --- begin and end --- */

static enum rc read_folder(struct media *m)
{
    int fd = openat(m->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL)
        return RC_IO;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        struct item i;
        struct stat st;
        size_t n = strlen(e->d_name);
        if (n > 4 && strcmp(e->d_name + n - 4, ".tmp") == 0) {
            unlinkat(m->dir_fd, e->d_name, 0);
            continue;
        }
        if (!item_of(e->d_name, &i))
            continue; /* not ours: left alone */
        if (fstatat(m->dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || st.st_size < 1 ||
            st.st_size > (off_t)WIRE_MEDIA_MAX) {
            unlinkat(m->dir_fd, e->d_name, 0);
            continue;
        }
        i.bytes = (uint32_t)st.st_size;
        make_room(m, i.bytes); /* the limits may have been lowered */
        m->item[m->items++] = i;
        m->bytes += i.bytes;
    }
    closedir(d);
    return RC_OK;
}

enum rc media_open(uv_loop_t *loop, const struct media_setup *s, struct media **ret_m, char *why, size_t cap)
{
    struct media *m = calloc(1, sizeof *m);
    if (m == NULL)
        return RC_NO_MEMORY;
    m->loop = loop;
    m->setup = *s;
    m->read_fd = m->dir_fd = -1;
    m->item = calloc(s->max_items, sizeof *m->item);
    m->dir = strdup(s->dir);
    enum rc rc = m->item == NULL || m->dir == NULL ? RC_NO_MEMORY : RC_OK;
    if (rc == RC_OK && mkdir(s->dir, 0700) != 0 && errno != EEXIST)
        rc = RC_IO;
    if (rc == RC_OK) {
        m->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = m->dir_fd < 0 ? RC_IO : read_folder(m);
    }
    if (rc != RC_OK) {
        snprintf(why, cap, "%s: %s: pictures cannot be kept there", s->dir, rc == RC_IO ? strerror(errno) : rc_text(rc));
        if (m->dir_fd >= 0)
            close(m->dir_fd);
        free(m->item);
        free(m->dir);
        free(m);
        return rc;
    }
    *ret_m = m;
    return RC_OK;
}

static void finish_close(struct media *m)
{
    if (!m->closing)
        return;
    for (int i = 0; i < MEDIA_OPEN_MAX; i++)
        if (m->writing[i].used || m->writing[i].ending)
            return;
    void (*on_closed)(void *) = m->on_closed;
    void *arg = m->closed_arg;
    end_flight(m);
    close(m->dir_fd);
    free(m->item);
    free(m->dir);
    free(m);
    on_closed(arg);
}

void media_close(struct media *m, void (*on_closed)(void *arg), void *arg)
{
    m->closing = true;
    m->on_closed = on_closed;
    m->closed_arg = arg;
    for (int i = 0; i < MEDIA_OPEN_MAX; i++)
        if (m->writing[i].used && !m->writing[i].ending)
            drop(&m->writing[i]);
    finish_close(m);
}
