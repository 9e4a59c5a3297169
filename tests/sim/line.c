#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum rc line_open(const char *link, int *ret_fd, int *ret_far, char *why, size_t cap)
{
    char name[64];
    int far = -1;
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof name))
        goto bad;
    far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios t;
    if (far < 0 || tcgetattr(far, &t))
        goto bad;
    cfmakeraw(&t);
    cfsetspeed(&t, B115200);
    if (tcsetattr(far, TCSANOW, &t) || chmod(name, 0666))
        goto bad;
    if (unlink(link) && errno != ENOENT)
        goto bad;
    if (symlink(name, link))
        goto bad;
    *ret_fd = fd;
    *ret_far = far;
    return RC_OK;
bad:
    snprintf(why, cap, "%s: %s", link, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (far >= 0)
        close(far);
    return RC_IO;
}

void line_close(const char *link, int *fd, int *far)
{
    if (*fd >= 0) {
        unlink(link);
        close(*fd);
    }
    if (*far >= 0)
        close(*far);
    *fd = *far = -1;
}
