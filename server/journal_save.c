#include "journal_save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/base/log.h"
#include "journal_file.h"

struct save_head {
    char magic[8];
    int32_t day;
    uint32_t crc;
    int64_t group;
    uint64_t n;
};
static const char save_magic[8] = "swckpt1";

static void save_path(const char *dir, const char *suffix, char out[JOURNAL_FILE_PATH_MAX])
{
    snprintf(out, JOURNAL_FILE_PATH_MAX, "%s/checkpoint%s", dir, suffix);
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

void journal_save_write(const char *dir, const void *blob, size_t n, struct journal_cursor as_of)
{
    char path[JOURNAL_FILE_PATH_MAX], tmp[JOURNAL_FILE_PATH_MAX];
    struct save_head h = {.day = as_of.day, .group = as_of.group, .n = n, .crc = journal_file_crc(blob, n)};
    memcpy(h.magic, save_magic, sizeof h.magic);
    save_path(dir, "", path);
    save_path(dir, ".new", tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, &h, sizeof h) && write_all(fd, blob, n) && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok || rename(tmp, path) != 0)
        log_warning("journal", "%s: checkpoint not written (%s): the next start replays more, nothing is lost", tmp, strerror(errno));
    /* No fsync of the directory: after a power cut the older checkpoint is as good, it only makes the replay longer. */
}

enum rc journal_save_read(const char *dir, void **ret_blob, size_t *ret_n, struct journal_cursor *ret_cursor)
{
    char path[JOURNAL_FILE_PATH_MAX];
    struct save_head h;
    *ret_blob = NULL;
    *ret_n = 0;
    *ret_cursor = (struct journal_cursor){0};
    save_path(dir, "", path);
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
