/*
 * LD_PRELOAD for outbox-feeder: what a disk really holds, said by the calls alone.
 *
 *   TRUTH_ASK=1           each fdatasync or fsync that says 0 is asked a second time, and the second answer counts. ext4 says 0 to a call during
 * which its journal is aborted, although the file's new length or blocks were never written (see lying_fsync.c); asked again it says EIO.
 *   TRUTH_SHADOW=FOLDER   copies of the outbox's files as of the last honest sync: a page goes into them when a sync after its writing succeeded. A
 * sync that fails marks its pages clean, as Linux does: they are then in the page cache only, and the next sync says 0 without them. TRUTH_FAIL=N-M
 * the Nth to Mth sync of the database or its WAL fail with EIO. Their count is left in FOLDER/syncs. TRUTH_CUT=N           the power goes before the
 * Nth of them TRUTH_EAGER=1         pages of the database reach the disk as they are written, those of the WAL only with a sync: the order is the
 * kernel's choice
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1 << 14, FILES = 2 };

static const char *const ending[FILES] = {"outbox.db", "outbox.db-wal"};
static unsigned char dirty[FILES][PAGES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int syncs;

static void *real(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (f == NULL)
        abort();
    return f;
}

static int file_of_path(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name != NULL ? name + 1 : path;
    for (int i = 0; i < FILES; i++)
        if (strcmp(name, ending[i]) == 0)
            return i;
    return -1;
}

static int file_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return file_of_path(path);
}

static void shadow_of(int file, char *path)
{
    snprintf(path, PATH_MAX, "%s/%s", getenv("TRUTH_SHADOW"), ending[file]);
}

/* The pages written since, out of the page cache into what the disk has. */
static void carry(int file, const char *path)
{
    char to[PATH_MAX];
    unsigned char page[PAGE];
    struct stat st;
    shadow_of(file, to);
    int in = open(path, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ssize_t (*put)(int, const void *, size_t, off_t) = real("pwrite64");
    int (*cut)(int, off_t) = real("ftruncate64");
    if (in < 0 || out < 0 || fstat(in, &st) != 0 || cut(out, st.st_size) != 0)
        abort();
    for (int p = 0; p < PAGES; p++) {
        ssize_t n = dirty[file][p] ? pread(in, page, PAGE, (off_t)p * PAGE) : 0;
        if (n < 0 || put(out, page, (size_t)n, (off_t)p * PAGE) != n)
            abort();
    }
    close(in);
    close(out);
}

static void touched(int fd, off_t at, size_t n)
{
    char path[PATH_MAX];
    int file = getenv("TRUTH_SHADOW") != NULL && n > 0 ? file_of(fd, path) : -1;
    if (file < 0)
        return;
    pthread_mutex_lock(&lock);
    for (off_t p = at / PAGE; p <= (at + (off_t)n - 1) / PAGE; p++) {
        if (p >= PAGES)
            abort();
        dirty[file][p] = 1;
    }
    if (file == 0 && getenv("TRUTH_EAGER") != NULL)
        carry(file, path);
    pthread_mutex_unlock(&lock);
}

static void leave_count(void)
{
    char path[PATH_MAX], text[16];
    ssize_t (*put)(int, const void *, size_t) = real("write");
    snprintf(path, sizeof path, "%s/syncs", getenv("TRUTH_SHADOW"));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), n = snprintf(text, sizeof text, "%d\n", syncs);
    if (fd < 0 || put(fd, text, (size_t)n) != n)
        abort();
    close(fd);
}

static bool fails(void)
{
    int from = 0, to = 0;
    const char *range = getenv("TRUTH_FAIL"), *end = getenv("TRUTH_CUT");
    syncs++;
    leave_count();
    if (end != NULL && syncs >= atoi(end))
        _exit(9);
    return range != NULL && sscanf(range, "%d-%d", &from, &to) == 2 && syncs >= from && syncs <= to;
}

static int sync_of(const char *name, int fd)
{
    char path[PATH_MAX];
    int (*f)(int) = real(name);
    int file = getenv("TRUTH_SHADOW") != NULL ? file_of(fd, path) : -1;
    if (file < 0) {
        int rc = f(fd);
        return rc == 0 && getenv("TRUTH_ASK") != NULL ? f(fd) : rc;
    }
    pthread_mutex_lock(&lock);
    bool fail = fails();
    if (!fail)
        carry(file, path);
    memset(dirty[file], 0, sizeof dirty[file]);
    pthread_mutex_unlock(&lock);
    errno = fail ? EIO : errno;
    return fail ? -1 : 0;
}

int fdatasync(int fd)
{
    return sync_of("fdatasync", fd);
}

int fsync(int fd)
{
    return sync_of("fsync", fd);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    ssize_t (*f)(int, const void *, size_t, off64_t) = real("pwrite64");
    ssize_t done = f(fd, data, n, at);
    touched(fd, at, done > 0 ? (size_t)done : 0);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    return pwrite64(fd, data, n, at);
}

/* Names change at once: a journal keeps their order, and a later one than the truth is what SQLite has to live with in any case. */
int unlink(const char *path)
{
    char shadow[PATH_MAX];
    int (*f)(const char *) = real("unlink");
    int file = getenv("TRUTH_SHADOW") != NULL ? file_of_path(path) : -1, rc = f(path);
    if (rc == 0 && file >= 0) {
        pthread_mutex_lock(&lock);
        memset(dirty[file], 0, sizeof dirty[file]);
        shadow_of(file, shadow);
        f(shadow);
        pthread_mutex_unlock(&lock);
    }
    return rc;
}

int ftruncate64(int fd, off64_t length)
{
    char path[PATH_MAX], shadow[PATH_MAX];
    int (*f)(int, off64_t) = real("ftruncate64");
    int file = getenv("TRUTH_SHADOW") != NULL ? file_of(fd, path) : -1, rc = f(fd, length);
    if (rc == 0 && file >= 0) {
        pthread_mutex_lock(&lock);
        for (off_t p = (length + PAGE - 1) / PAGE; p < PAGES; p++)
            dirty[file][p] = 0;
        shadow_of(file, shadow);
        struct stat st;
        if (stat(shadow, &st) == 0 && st.st_size > length && truncate(shadow, length) != 0)
            abort();
        pthread_mutex_unlock(&lock);
    }
    return rc;
}
