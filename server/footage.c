#include "footage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/base/db.h"
#include "../core/base/log.h"

#define PATH_BYTES 128 /* below dir: GATEWAY/SHA256.part */

static const char *const extensions[] = {"jpg", "wav", "mp4"}; /* by enum event_media_type */

static const char *const schema[] = {
    "CREATE TABLE footage (sha256 BLOB PRIMARY KEY, gateway TEXT NOT NULL, time_ms BIGINT NOT NULL, bytes BIGINT NOT NULL, id BIGINT NOT NULL,"
    " alarm_id BIGINT NOT NULL, unit SMALLINT NOT NULL, type SMALLINT NOT NULL);"
    "CREATE INDEX footage_by_gateway ON footage (gateway, time_ms);"
    "CREATE INDEX footage_by_time ON footage (time_ms);",
};

struct job {
    struct footage *f;
    uv_work_t req;
    struct job *next;
    struct footage_item item;
    struct wire_media_ack ack;
};

struct footage {
    uv_loop_t *loop;
    struct footage_setup setup;
    int dir_fd;
    sqlite3 *loop_db; /* the loop's own, for reading: never waits for a commit */
    sqlite3_stmt *loop_there;
    uv_mutex_t write_lock, read_lock, count_lock;
    sqlite3 *write_db, *read_db; /* each under its lock */
    struct job *jobs;
    size_t jobs_n;
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
    struct log_gate disk_gate;
    struct footage_figures figures; /* under count_lock */
};

#define COLUMNS "sha256, gateway, time_ms, bytes, id, alarm_id, unit, type"

/* --- names --- */

/* A gateway's id may be "..", a folder's name must not. */
static void folder_of(const char *gateway, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s%.*s", gateway[0] == '.' ? "_" : "", DUTY_ID_MAX, gateway);
}

static void path_of(const char *gateway, const uint8_t sha256[WIRE_SHA256], const char *extension, char out[PATH_BYTES])
{
    folder_of(gateway, out);
    size_t n = strlen(out);
    out[n++] = '/';
    for (size_t i = 0; i < WIRE_SHA256; i++)
        n += (size_t)snprintf(out + n, PATH_BYTES - n, "%02x", sha256[i]);
    snprintf(out + n, PATH_BYTES - n, ".%s", extension);
}

static void count(struct footage *f, uint64_t *what, uint64_t n)
{
    uv_mutex_lock(&f->count_lock);
    *what += n;
    uv_mutex_unlock(&f->count_lock);
}

/* --- rows --- */

static void bind_sha(sqlite3_stmt *s, int at, const uint8_t sha256[WIRE_SHA256])
{
    sqlite3_bind_blob(s, at, sha256, WIRE_SHA256, SQLITE_STATIC);
}

static bool row_of(sqlite3_stmt *s, struct footage_item *ret_i)
{
    struct footage_item i = {.bytes = (uint32_t)sqlite3_column_int64(s, 3)};
    const void *sha = sqlite3_column_blob(s, 0);
    const unsigned char *gateway = sqlite3_column_text(s, 1);
    if (sha == NULL || sqlite3_column_bytes(s, 0) != WIRE_SHA256 || gateway == NULL)
        return false;
    memcpy(i.sha256, sha, WIRE_SHA256);
    snprintf(i.gateway, sizeof i.gateway, "%s", (const char *)gateway);
    i.time_ms = sqlite3_column_int64(s, 2);
    i.id = (uint32_t)sqlite3_column_int64(s, 4);
    i.alarm_id = (uint32_t)sqlite3_column_int64(s, 5);
    i.unit = (uint8_t)sqlite3_column_int(s, 6);
    i.type = (uint8_t)sqlite3_column_int(s, 7);
    *ret_i = i;
    return i.type <= EVENT_MEDIA_VIDEO;
}

static uint64_t sum_of(sqlite3 *db, const char *gateway)
{
    sqlite3_stmt *s = NULL;
    uint64_t n = 0;
    if (db_prepare(db, gateway != NULL ? "SELECT total(bytes) FROM footage WHERE gateway = $1" : "SELECT total(bytes) FROM footage", &s) != RC_OK)
        return 0;
    if (gateway != NULL)
        sqlite3_bind_text(s, 1, gateway, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW)
        n = (uint64_t)sqlite3_column_double(s, 0);
    sqlite3_finalize(s);
    return n;
}

/* Remove the oldest, of one gateway or of all; the file first, so that no row is lost sight of while its file stays. False: there is none. */
static bool remove_oldest(struct footage *f, const char *gateway)
{
    sqlite3_stmt *s = NULL;
    struct footage_item i;
    bool found = false;
    char path[PATH_BYTES];
    const char *sql = gateway != NULL ? "SELECT " COLUMNS " FROM footage WHERE gateway = $1 ORDER BY time_ms LIMIT 1"
                                      : "SELECT " COLUMNS " FROM footage ORDER BY time_ms LIMIT 1";
    if (db_prepare(f->write_db, sql, &s) != RC_OK)
        return false;
    if (gateway != NULL)
        sqlite3_bind_text(s, 1, gateway, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW)
        found = row_of(s, &i);
    sqlite3_finalize(s);
    if (!found)
        return false;
    path_of(i.gateway, i.sha256, extensions[i.type], path);
    unlinkat(f->dir_fd, path, 0);
    if (db_prepare(f->write_db, "DELETE FROM footage WHERE sha256 = $1", &s) != RC_OK)
        return false;
    bind_sha(s, 1, i.sha256);
    found = db_run(s) == RC_OK;
    sqlite3_finalize(s);
    if (found) {
        uv_mutex_lock(&f->count_lock);
        f->figures.removed++;
        f->figures.bytes -= i.bytes;
        uv_mutex_unlock(&f->count_lock);
    }
    return found;
}

static enum rc put_row(struct footage *f, const struct footage_item *i)
{
    sqlite3_stmt *s = NULL;
    enum rc rc =
        db_prepare(f->write_db, "INSERT INTO footage (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (sha256) DO NOTHING", &s);
    if (rc != RC_OK)
        return rc;
    bind_sha(s, 1, i->sha256);
    sqlite3_bind_text(s, 2, i->gateway, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 3, i->time_ms);
    sqlite3_bind_int64(s, 4, i->bytes);
    sqlite3_bind_int64(s, 5, i->id);
    sqlite3_bind_int64(s, 6, i->alarm_id);
    sqlite3_bind_int(s, 7, i->unit);
    sqlite3_bind_int(s, 8, i->type);
    rc = db_run(s);
    if (rc == RC_OK && sqlite3_changes(f->write_db) == 1)
        count(f, &f->figures.bytes, i->bytes);
    sqlite3_finalize(s);
    return rc;
}

/* --- the end of a file, in the pool --- */

static bool hash_is(int fd, const struct footage_item *i)
{
    uint8_t buf[16384], out[WIRE_SHA256];
    unsigned len = 0;
    uint32_t at = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    while (ok && at < i->bytes) {
        ssize_t n = pread(fd, buf, sizeof buf, (off_t)at);
        ok = n > 0 && EVP_DigestUpdate(ctx, buf, (size_t)n) == 1;
        at += n > 0 ? (uint32_t)n : 0;
    }
    ok = ok && at == i->bytes && EVP_DigestFinal_ex(ctx, out, &len) == 1 && memcmp(out, i->sha256, WIRE_SHA256) == 0;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static uint64_t bytes_of(struct footage *f)
{
    uv_mutex_lock(&f->count_lock);
    uint64_t n = f->figures.bytes;
    uv_mutex_unlock(&f->count_lock);
    return n;
}

static void later(struct wire_media_ack *a, const char *reason)
{
    a->state = WIRE_MEDIA_LATER;
    snprintf(a->reason, sizeof a->reason, "%s", reason);
}

static bool sync_folder(const struct footage *f, const char *gateway)
{
    char folder[PATH_BYTES];
    folder_of(gateway, folder);
    int fd = openat(f->dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static void on_work(uv_work_t *req)
{
    struct job *j = req->data;
    struct footage *f = j->f;
    const struct footage_item *i = &j->item;
    char part[PATH_BYTES], whole[PATH_BYTES];
    path_of(i->gateway, i->sha256, "part", part);
    path_of(i->gateway, i->sha256, extensions[i->type], whole);
    int fd = openat(f->dir_fd, part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool renamed = false;
    if (fd < 0) { /* a restart came between the new name and the row */
        fd = openat(f->dir_fd, whole, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        renamed = fd >= 0;
    }
    if (fd < 0) {
        j->ack.next = 0;
        return;
    }
    if (!hash_is(fd, i)) {
        close(fd);
        unlinkat(f->dir_fd, renamed ? whole : part, 0);
        count(f, &f->figures.damaged, 1);
        j->ack.next = 0; /* again, from the beginning */
        return;
    }
    bool ok = fsync(fd) == 0 && (renamed || renameat(f->dir_fd, part, f->dir_fd, whole) == 0) && sync_folder(f, i->gateway);
    close(fd);
    uv_mutex_lock(&f->write_lock);
    ok = ok && put_row(f, i) == RC_OK;
    while (ok && sum_of(f->write_db, i->gateway) > f->setup.gateway_bytes && remove_oldest(f, i->gateway))
        ;
    while (ok && bytes_of(f) > f->setup.total_bytes && remove_oldest(f, NULL))
        ;
    uv_mutex_unlock(&f->write_lock);
    j->ack.next = i->bytes;
    if (ok)
        j->ack.state = WIRE_MEDIA_DONE;
    else
        later(&j->ack, "the server's disk does not take it");
    if (ok)
        count(f, &f->figures.files, 1);
}

static void finish_close(struct footage *f);

static void after_work(uv_work_t *req, int status)
{
    struct job *j = req->data;
    struct footage *f = j->f;
    (void)status;
    for (struct job **at = &f->jobs; *at != NULL; at = &(*at)->next)
        if (*at == j) {
            *at = j->next;
            break;
        }
    f->jobs_n--;
    if (!f->closing)
        f->setup.on_answer(f->setup.arg, j->item.gateway, &j->ack);
    free(j);
    finish_close(f);
}

static enum rc check_whole(struct footage *f, const char *gateway, const struct wire_media_part *p, struct wire_media_ack *ret_a)
{
    for (const struct job *j = f->jobs; j != NULL; j = j->next)
        if (memcmp(j->item.sha256, p->sha256, WIRE_SHA256) == 0 && strcmp(j->item.gateway, gateway) == 0)
            return RC_AGAIN;
    struct job *j = f->jobs_n < FOOTAGE_JOBS_MAX ? calloc(1, sizeof *j) : NULL;
    if (j == NULL) {
        later(ret_a, "busy");
        return RC_OK;
    }
    j->f = f;
    j->req.data = j;
    memcpy(j->item.sha256, p->sha256, WIRE_SHA256);
    memcpy(j->ack.sha256, p->sha256, WIRE_SHA256);
    snprintf(j->item.gateway, sizeof j->item.gateway, "%s", gateway);
    j->item.time_ms = p->time_ms;
    j->item.bytes = p->bytes;
    j->item.id = p->id;
    j->item.alarm_id = p->alarm_id;
    j->item.unit = p->unit;
    j->item.type = p->type;
    if (uv_queue_work(f->loop, &j->req, on_work, after_work) != 0) {
        free(j);
        later(ret_a, "busy");
        return RC_OK;
    }
    j->next = f->jobs;
    f->jobs = j;
    f->jobs_n++;
    return RC_AGAIN;
}

/* --- pieces --- */

static bool is_there(struct footage *f, const uint8_t sha256[WIRE_SHA256])
{
    bind_sha(f->loop_there, 1, sha256);
    bool there = sqlite3_step(f->loop_there) == SQLITE_ROW;
    sqlite3_reset(f->loop_there);
    return there;
}

/* A gateway that begins one file after the other and ends none must not fill the disk. */
static void limit_parts(const struct footage *f, const char *folder)
{
    for (;;) {
        int fd = openat(f->dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        char oldest[PATH_BYTES] = "";
        time_t oldest_s = 0;
        size_t n = 0;
        if (d == NULL) {
            if (fd >= 0)
                close(fd);
            return;
        }
        for (const struct dirent *e; (e = readdir(d)) != NULL;) {
            struct stat st;
            size_t len = strlen(e->d_name);
            if (len < 6 || len >= sizeof oldest || strcmp(e->d_name + len - 5, ".part") != 0 || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
                continue;
            if (n++ == 0 || st.st_mtime < oldest_s) {
                memcpy(oldest, e->d_name, len + 1);
                oldest_s = st.st_mtime;
            }
        }
        bool full = n >= FOOTAGE_PARTS_MAX && unlinkat(fd, oldest, 0) == 0;
        closedir(d);
        if (!full)
            return;
    }
}

/* The first piece of a file is a question. */
static bool may_begin(struct footage *f, const struct wire_media_part *p, struct wire_media_ack *a)
{
    struct statvfs s;
    if (p->bytes > f->setup.item_max) {
        a->state = WIRE_MEDIA_REFUSED;
        snprintf(a->reason, sizeof a->reason, "larger than the server takes: %u of %u bytes", p->bytes, f->setup.item_max);
        count(f, &f->figures.refused, 1);
        return false;
    }
    if (fstatvfs(f->dir_fd, &s) == 0 && (uint64_t)s.f_bavail * s.f_frsize < f->setup.reserve_bytes) {
        later(a, "the server's disk is full");
        count(f, &f->figures.refused, 1);
        if (log_gate_trouble(&f->disk_gate, clock_mono_ms()))
            log_warning("footage", "less than %llu MiB free: no pictures are taken; free the disk or lower media.total_mb",
                        (unsigned long long)f->setup.reserve_bytes >> 20);
        return false;
    }
    if (log_gate_over(&f->disk_gate))
        log_notice("footage", "the disk has room again");
    return true;
}

static bool write_all(int fd, const uint8_t *p, size_t n, off_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(fd, p + done, n - done, at + (off_t)done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        done += (size_t)k;
    }
    return true;
}

enum rc footage_take(struct footage *f, const char *gateway, const struct wire_media_part *p, struct wire_media_ack *ret_a)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    struct stat st;
    *ret_a = (struct wire_media_ack){.state = WIRE_MEDIA_MORE};
    memcpy(ret_a->sha256, p->sha256, WIRE_SHA256);
    count(f, &f->figures.parts, 1);
    if (p->n == 0 && is_there(f, p->sha256)) {
        count(f, &f->figures.repeats, 1);
        ret_a->state = WIRE_MEDIA_DONE;
        ret_a->next = p->bytes;
        return RC_OK;
    }
    if (!may_begin(f, p, ret_a))
        return RC_OK;
    folder_of(gateway, folder);
    path_of(gateway, p->sha256, extensions[p->type], path);
    if (p->n == 0 && fstatat(f->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return check_whole(f, gateway, p, ret_a);
    path_of(gateway, p->sha256, "part", path);
    int fd = openat(f->dir_fd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        if (mkdirat(f->dir_fd, folder, 0700) == 0)
            fsync(f->dir_fd);
        limit_parts(f, folder);
        fd = openat(f->dir_fd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        later(ret_a, "the server's disk does not take it");
        if (fd >= 0)
            close(fd);
        return RC_OK;
    }
    uint32_t have = st.st_size > (off_t)p->bytes ? 0 : (uint32_t)st.st_size; /* never longer, unless announced with another size */
    if (st.st_size > (off_t)p->bytes && ftruncate(fd, 0) != 0)
        have = 0;
    if (p->n > 0 && p->offset == have) {
        if (!write_all(fd, p->data, p->n, (off_t)have)) {
            close(fd);
            later(ret_a, "the server's disk does not take it");
            return RC_OK;
        }
        have += p->n;
    }
    close(fd);
    ret_a->next = have;
    return have == p->bytes ? check_whole(f, gateway, p, ret_a) : RC_OK;
}

/* --- asking --- */

enum rc footage_list(struct footage *f, const char *gateway, int64_t from_ms, int64_t to_ms, size_t limit,
                     void (*each)(void *arg, const struct footage_item *i), void *arg)
{
    sqlite3_stmt *s = NULL;
    uv_mutex_lock(&f->read_lock);
    enum rc rc = db_prepare(
        f->read_db, "SELECT " COLUMNS " FROM footage WHERE gateway = $1 AND time_ms >= $2 AND time_ms <= $3 ORDER BY time_ms, sha256 LIMIT $4", &s);
    if (rc == RC_OK) {
        int code;
        sqlite3_bind_text(s, 1, gateway, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 2, from_ms);
        sqlite3_bind_int64(s, 3, to_ms);
        sqlite3_bind_int64(s, 4, (int64_t)limit);
        while ((code = sqlite3_step(s)) == SQLITE_ROW) {
            struct footage_item i;
            if (row_of(s, &i))
                each(arg, &i);
        }
        rc = db_rc(code);
        sqlite3_finalize(s);
    }
    uv_mutex_unlock(&f->read_lock);
    return rc;
}

enum rc footage_find(struct footage *f, const uint8_t sha256[WIRE_SHA256], struct footage_item *ret_i)
{
    sqlite3_stmt *s = NULL;
    uv_mutex_lock(&f->read_lock);
    enum rc rc = db_prepare(f->read_db, "SELECT " COLUMNS " FROM footage WHERE sha256 = $1", &s);
    if (rc == RC_OK) {
        bind_sha(s, 1, sha256);
        int code = sqlite3_step(s);
        rc = code == SQLITE_ROW && row_of(s, ret_i) ? RC_OK : code == SQLITE_DONE ? RC_NOT_FOUND : RC_IO;
        sqlite3_finalize(s);
    }
    uv_mutex_unlock(&f->read_lock);
    return rc;
}

enum rc footage_read(struct footage *f, const struct footage_item *i, void **ret_bytes)
{
    char path[PATH_BYTES];
    path_of(i->gateway, i->sha256, extensions[i->type], path);
    int fd = openat(f->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? RC_NOT_FOUND : RC_IO;
    uint8_t *bytes = malloc(i->bytes > 0 ? i->bytes : 1);
    size_t n = 0;
    for (ssize_t k = 1; bytes != NULL && n < i->bytes && k > 0; n += k > 0 ? (size_t)k : 0)
        k = pread(fd, bytes + n, i->bytes - n, (off_t)n);
    close(fd);
    if (bytes == NULL)
        return RC_NO_MEMORY;
    if (n != i->bytes) {
        free(bytes);
        return RC_IO;
    }
    *ret_bytes = bytes;
    return RC_OK;
}

void footage_figures(struct footage *f, struct footage_figures *ret_f)
{
    uv_mutex_lock(&f->count_lock);
    *ret_f = f->figures;
    uv_mutex_unlock(&f->count_lock);
}

/* --- begin and end --- */

static void release(struct footage *f)
{
    sqlite3_finalize(f->loop_there);
    db_close(f->loop_db);
    db_close(f->read_db);
    db_close(f->write_db);
    if (f->dir_fd >= 0)
        close(f->dir_fd);
    uv_mutex_destroy(&f->write_lock);
    uv_mutex_destroy(&f->read_lock);
    uv_mutex_destroy(&f->count_lock);
    free(f);
}

enum rc footage_open(uv_loop_t *loop, const struct footage_setup *s, struct footage **ret_f, char *why, size_t cap)
{
    char path[512];
    struct footage *f = calloc(1, sizeof *f);
    if (f == NULL)
        return RC_NO_MEMORY;
    f->loop = loop;
    f->setup = *s;
    uv_mutex_init(&f->write_lock);
    uv_mutex_init(&f->read_lock);
    uv_mutex_init(&f->count_lock);
    snprintf(path, sizeof path, "%s/footage.db", s->dir);
    enum rc rc = mkdir(s->dir, 0700) != 0 && errno != EEXIST ? RC_IO : RC_OK;
    f->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc != RC_OK || f->dir_fd < 0) {
        snprintf(why, cap, "%s: %s", s->dir, strerror(errno));
        rc = RC_IO;
    }
    if (rc == RC_OK)
        rc = db_open(path, DB_SYNC_FULL, &f->write_db, why, cap);
    if (rc == RC_OK)
        rc = db_migrate(f->write_db, schema, (int)(sizeof schema / sizeof *schema), why, cap);
    if (rc == RC_OK)
        rc = db_open_readonly(path, &f->read_db, why, cap);
    if (rc == RC_OK)
        rc = db_open_readonly(path, &f->loop_db, why, cap);
    if (rc == RC_OK)
        rc = db_prepare(f->loop_db, "SELECT 1 FROM footage WHERE sha256 = $1", &f->loop_there);
    if (rc != RC_OK) {
        release(f);
        return rc;
    }
    f->figures.bytes = sum_of(f->write_db, NULL);
    *ret_f = f;
    return RC_OK;
}

static void finish_close(struct footage *f)
{
    if (!f->closing || f->jobs != NULL)
        return;
    void (*on_closed)(void *) = f->on_closed;
    void *arg = f->closed_arg;
    release(f);
    on_closed(arg);
}

void footage_close(struct footage *f, void (*on_closed)(void *arg), void *arg)
{
    f->closing = true;
    f->on_closed = on_closed;
    f->closed_arg = arg;
    finish_close(f);
}
