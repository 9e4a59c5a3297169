#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void (*files_step)(const char *what);

static void step(const char *what)
{
    if (files_step != NULL)
        files_step(what);
}

static enum rc write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, data, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return errno == ENOSPC || errno == EDQUOT ? RC_FULL : RC_IO;
        data += k;
        n -= (size_t)k;
    }
    return RC_OK;
}

enum rc files_write(const char *dir, const char *name, const void *data, size_t n, char *why, size_t cap)
{
    char tmp[80];
    struct stat st;
    enum rc rc = RC_IO;
    int fd = -1, folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(tmp, sizeof tmp, ".%.64s.tmp", name);
    if (folder < 0 || fstat(folder, &st) != 0)
        goto out;
    step("create");
    fd = openat(folder, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        goto out;
    if (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) != 0)
        goto out;
    step("write");
    rc = write_all(fd, data, n);
    if (rc != RC_OK)
        goto out;
    rc = RC_IO;
    step("fsync");
    if (fchmod(fd, 0600) != 0 || fsync(fd) != 0)
        goto out;
    step("rename");
    if (renameat(folder, tmp, folder, name) != 0)
        goto out;
    step("fsync folder");
    if (fsync(folder) == 0)
        rc = RC_OK;
    step("done");
out:
    if (rc != RC_OK)
        snprintf(why, cap, "%s/%s: cannot be written: %s", dir, name, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (rc != RC_OK && folder >= 0)
        unlinkat(folder, tmp, 0);
    if (folder >= 0)
        close(folder);
    return rc;
}

enum rc files_read(const char *dir, const char *name, size_t max, char **ret_text, size_t *ret_n, char *why, size_t cap)
{
    char path[512];
    struct stat st;
    char *text = NULL;
    size_t n = 0;
    enum rc rc = RC_IO;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        rc = errno == ENOENT ? RC_NOT_FOUND : RC_IO;
        snprintf(why, cap, "%s: %s", path, strerror(errno));
        return rc;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        snprintf(why, cap, "%s: not a file", path);
        goto out;
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > max) {
        rc = RC_RANGE;
        snprintf(why, cap, "%s: larger than %zu bytes", path, max);
        goto out;
    }
    text = malloc((size_t)st.st_size + 1);
    if (text == NULL) {
        rc = RC_NO_MEMORY;
        snprintf(why, cap, "out of memory");
        goto out;
    }
    for (ssize_t k; n < (size_t)st.st_size && (k = read(fd, text + n, (size_t)st.st_size - n)) != 0; n += (size_t)k)
        if (k < 0) {
            snprintf(why, cap, "%s: %s", path, strerror(errno));
            goto out;
        }
    text[n] = '\0';
    *ret_text = text;
    *ret_n = n;
    text = NULL;
    rc = RC_OK;
out:
    free(text);
    close(fd);
    return rc;
}

void files_remove(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    step("unlink");
    unlink(path);
}
