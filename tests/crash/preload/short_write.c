/*
 * Preloaded by test_outbox_points.py: the pwrite with number SHORT_AT writes half of what it was given and says so, as a kernel may. (An injected result would
 * claim bytes that were never written, which is another fault: a disk that lies.)
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at);
ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
    static atomic_long calls;
    const char *text = getenv("SHORT_AT");
    long when = text != NULL ? strtol(text, NULL, 10) : 0;
    if (atomic_fetch_add(&calls, 1) + 1 == when && n > 1)
        n /= 2;
    return (ssize_t)syscall(SYS_pwrite64, fd, buf, n, at);
}
