#include "outbox_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../core/base/clock.h"

enum {
    FLOOR_STEP = OUTBOX_FILE_FLOOR_STEP,
    FLOOR_MARGIN = OUTBOX_FILE_FLOOR_MARGIN,
    BAD_KEPT = 3,
    RESERVE_BYTES = (OUTBOX_FILE_WAL_PAGES * 4 + 256) << 10
}; /* a WAL of new pages can be settled in it, and alarms on top */

uint32_t outbox_file_crc(uint32_t crc, const void *data, size_t n)
{
    static uint32_t table[256]; /* the disk thread's alone */
    const uint8_t *p = data;
    if (table[1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int b = 0; b < 8; b++)
                c = (c >> 1) ^ (0xEDB88320U & (0U - (c & 1U)));
            table[i] = c;
        }
    crc = ~crc;
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ p[i]) & 0xff];
    return ~crc;
}

bool outbox_file_rewrite_wal(const struct outbox_store *s)
{
    char path[PATH_MAX];
    uint8_t page[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s-wal", s->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) { /* what is no file, or not ours, SQLite refuses */
        if (fd >= 0)
            close(fd);
        return true;
    }
    bool done = true;
    ssize_t n = 0;
    off_t at = 0;
    while (done && (n = pread(fd, page, sizeof page, at)) > 0) {
        done = pwrite(fd, page, (size_t)n, at) == n;
        at += n;
    }
    done = done && n == 0 && (at == 0 || fdatasync(fd) == 0);
    int error = errno;
    close(fd);
    errno = error;
    return done;
}

/* --- the floor file --- */

static void floor_path(const struct outbox_store *s, const char *end, char *out, size_t cap)
{
    snprintf(out, cap, "%s.floor%s", s->path, end);
}

bool outbox_file_floor_read(struct outbox_store *s)
{
    char path[PATH_MAX], text[128];
    floor_path(s, "", path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    uint64_t lane[EVENT_LANES];
    uint32_t crc;
    int body = 0;
    if (sscanf(text, "schoolward outbox floor %" SCNu64 " %" SCNu64 "%n %" SCNx32, &lane[0], &lane[1], &body, &crc) != 3 || body == 0 ||
        outbox_file_crc(0, text, (size_t)body) != crc || lane[0] > INT64_MAX / 2 || lane[1] > INT64_MAX / 2)
        return false;
    for (int i = 0; i < EVENT_LANES; i++)
        s->floor[i] = lane[i];
    return true;
}

static bool sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        slash[1] = '\0';
    else if (slash != NULL)
        *slash = '\0';
    int fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = fsync(fd) == 0;
    close(fd);
    return done;
}

static bool floor_write(const struct outbox_store *s, const uint64_t lane[EVENT_LANES])
{
    char path[PATH_MAX], next[PATH_MAX], text[128];
    floor_path(s, "", path, sizeof path);
    floor_path(s, ".new", next, sizeof next);
    int n = snprintf(text, sizeof text, "schoolward outbox floor %" PRIu64 " %" PRIu64, lane[0], lane[1]);
    n += snprintf(text + n, sizeof text - (size_t)n, " %08" PRIx32 "\n", outbox_file_crc(0, text, (size_t)n));
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool done = write(fd, text, (size_t)n) == n && fsync(fd) == 0;
    if (close(fd) != 0 || !done || rename(next, path) != 0) {
        unlink(next);
        return false;
    }
    return sync_folder_of(path);
}

/* Keep the floor ahead of what is given out. Failing is no reason to stop: it is tried again at the next commit, 10,000 records ahead of need. */
void outbox_file_floor_raise(struct outbox_store *s)
{
    uint64_t lane[EVENT_LANES];
    bool low = false;
    for (int i = 0; i < EVENT_LANES; i++) {
        lane[i] = s->floor[i];
        if (s->next_seq[i] + FLOOR_MARGIN > s->floor[i]) {
            lane[i] = s->next_seq[i] + FLOOR_STEP;
            low = true;
        }
    }
    if (low && floor_write(s, lane))
        memcpy(s->floor, lane, sizeof lane);
}

/* --- room for the worst hour --- */

static void reserve_path(const struct outbox_store *s, char *out, size_t cap)
{
    snprintf(out, cap, "%s.reserve", s->path);
}

void outbox_store_reserve(struct outbox_store *s)
{
    char path[PATH_MAX];
    if (s->reserved)
        return;
    reserve_path(s, path, sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    s->reserved = posix_fallocate(fd, 0, RESERVE_BYTES) == 0;
    close(fd);
    if (!s->reserved)
        unlink(path);
}

void outbox_store_release(struct outbox_store *s)
{
    char path[PATH_MAX];
    reserve_path(s, path, sizeof path);
    unlink(path);
    s->reserved = false;
}

/* --- setting a broken file aside --- */

static void drop_old_bad(const struct outbox_store *s)
{
    char pattern[PATH_MAX];
    snprintf(pattern, sizeof pattern, "%s.bad-*Z*", s->path);
    glob_t found;
    if (glob(pattern, 0, NULL, &found) == 0) {
        size_t kept = 0;
        for (size_t i = found.gl_pathc; i-- > 0;) { /* sorted, and the names are times */
            const char *end = strrchr(found.gl_pathv[i], '-');
            bool companion = end != NULL && (strcmp(end, "-wal") == 0 || strcmp(end, "-shm") == 0);
            if (kept > BAD_KEPT || (kept == BAD_KEPT && !companion))
                remove(found.gl_pathv[i]);
            kept += !companion;
        }
    }
    globfree(&found);
}

bool outbox_file_set_aside(const struct outbox_store *s, char *aside, size_t cap)
{
    char from[PATH_MAX], to[PATH_MAX + 8], when[32];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(aside, cap, "%s.bad-%s", s->path, when);
    for (int i = 2; access(aside, F_OK) == 0 && i < 100; i++)
        snprintf(aside, cap, "%s.bad-%s-%02d", s->path, when, i);
    if (rename(s->path, aside) != 0 && errno != ENOENT)
        return false;
    snprintf(from, sizeof from, "%s-wal", s->path);
    snprintf(to, sizeof to, "%s-wal", aside);
    if (rename(from, to) != 0 && errno != ENOENT)
        return false;
    snprintf(from, sizeof from, "%s-shm", s->path);
    snprintf(to, sizeof to, "%s-shm", aside);
    if (unlink(from) != 0 && errno != ENOENT && rename(from, to) != 0)
        return false;
    drop_old_bad(s);
    return true;
}

bool outbox_file_hopeless(const char *path)
{
    static const char *const end[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof end / sizeof end[0]; i++) {
        char name[PATH_MAX];
        struct stat st;
        snprintf(name, sizeof name, "%s%s", path, end[i]);
        if (stat(name, &st) != 0)
            continue;
        if (!S_ISREG(st.st_mode) || (access(name, R_OK | W_OK) != 0 && errno == EACCES))
            return true;
    }
    return false;
}
