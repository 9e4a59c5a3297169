#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libserialport.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "tap.h"

#define CONNECT_MS 5000 /* a TCP connection that is not there by then is given up; the kernel itself would try for two minutes */

const char *const port_parity_words[] = {"none", "even", "odd", NULL};

struct port {
    enum port_kind kind;
    char line[PORT_PATH_MAX + 1]; /* for a tap */
    int fd;     /* carries the bytes, -1 none */
    int listen; /* PORT_TCP_LISTEN */
    int epoll;  /* PORT_TCP_LISTEN: one descriptor for "a caller or bytes" */
    bool connecting;
    int refused; /* errno of a connection that failed: the socket tells it only once */
    int64_t connect_until_ms;
    struct sp_port *sp; /* PORT_SERIAL: owns fd */
};

static enum rc from_errno(int e)
{
    switch (e) {
    case ENOENT:
    case ENODEV:
    case ENXIO: return RC_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EBUSY: return RC_DENIED;
    default: return RC_IO;
    }
}

/* --- serial --- */

/* Two programs on one line garble both. flock holds against programs that ask, TIOCEXCL against those that do not (root excepted). */
static enum rc lock_line(int fd, const char *path, char *why, size_t cap)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(why, cap, "%s is in use by another program: stop it, or give each its own line", path);
        return RC_DENIED;
    }
    ioctl(fd, TIOCEXCL);
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    return RC_OK;
}

static enum rc open_libserialport(struct port *p, const struct port_setup *s, const char *real, char *why, size_t cap)
{
    static const enum sp_parity parity[] = {SP_PARITY_NONE, SP_PARITY_EVEN, SP_PARITY_ODD};
    struct sp_port *sp = NULL;
    if (sp_get_port_by_name(real, &sp) != SP_OK)
        return RC_UNSUPPORTED;
    if (sp_open(sp, SP_MODE_READ_WRITE) != SP_OK) {
        enum rc rc = from_errno(errno);
        snprintf(why, cap, "%s cannot be opened: %s%s", real, strerror(errno),
                 rc == RC_DENIED ? ": add the service's user to group dialout" : "");
        sp_free_port(sp);
        return rc;
    }
    int fd = -1;
    struct sp_port_config *c = NULL;
    bool ok = sp_get_port_handle(sp, &fd) == SP_OK && sp_new_config(&c) == SP_OK && sp_set_config_baudrate(c, (int)s->baud) == SP_OK &&
              sp_set_config_bits(c, (int)s->data_bits) == SP_OK && sp_set_config_parity(c, parity[s->parity]) == SP_OK &&
              sp_set_config_stopbits(c, (int)s->stop_bits) == SP_OK && sp_set_config_flowcontrol(c, SP_FLOWCONTROL_NONE) == SP_OK &&
              sp_set_config(sp, c) == SP_OK;
    int e = errno;
    sp_free_config(c);
    enum rc rc = RC_UNSUPPORTED;
    if (!ok)
        snprintf(why, cap, "%s refuses %u bit/s, %u data bits, %u stop bits: %s", real, s->baud, s->data_bits, s->stop_bits, strerror(e));
    else
        rc = lock_line(fd, real, why, cap);
    if (rc != RC_OK) {
        sp_close(sp);
        sp_free_port(sp);
        return rc;
    }
    p->kind = PORT_SERIAL;
    p->sp = sp;
    p->fd = fd;
    return RC_OK;
}

static speed_t speed_of(uint32_t baud)
{
    static const struct {
        uint32_t baud;
        speed_t speed;
    } known[] = {{1200, B1200},   {2400, B2400},   {4800, B4800},     {9600, B9600},     {19200, B19200},   {38400, B38400},
                 {57600, B57600}, {115200, B115200}, {230400, B230400}, {460800, B460800}, {921600, B921600}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].baud == baud)
            return known[i].speed;
    return B0;
}

static enum rc open_termios(struct port *p, const struct port_setup *s, const char *real, char *why, size_t cap)
{
    int fd = open(real, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        enum rc rc = from_errno(errno);
        snprintf(why, cap, "%s cannot be opened: %s%s", real, strerror(errno),
                 rc == RC_DENIED ? ": add the service's user to group dialout" : "");
        return rc;
    }
    struct termios t;
    speed_t speed = speed_of(s->baud);
    enum rc rc = RC_UNSUPPORTED;
    if (tcgetattr(fd, &t) != 0)
        snprintf(why, cap, "%s is not a serial line: give the device's own /dev name", real);
    else if (speed == B0)
        snprintf(why, cap, "%u bit/s is no standard speed: use 9600, 19200, 115200 or the like", s->baud);
    else {
        cfmakeraw(&t);
        t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB | PARODD | CSTOPB | CRTSCTS);
        t.c_cflag |= CLOCAL | CREAD | (s->data_bits == 7 ? CS7 : CS8) | (s->stop_bits == 2 ? CSTOPB : 0) |
                     (s->parity == PORT_PARITY_NONE ? 0 : s->parity == PORT_PARITY_EVEN ? PARENB : PARENB | PARODD);
        t.c_cc[VMIN] = 1; /* non-blocking: EAGAIN when there is nothing, 0 only when the other end is gone */
        t.c_cc[VTIME] = 0;
        cfsetispeed(&t, speed);
        cfsetospeed(&t, speed);
        if (tcsetattr(fd, TCSANOW, &t) != 0)
            snprintf(why, cap, "%s refuses the settings: %s", real, strerror(errno));
        else
            rc = lock_line(fd, real, why, cap);
    }
    if (rc != RC_OK) {
        close(fd);
        return rc;
    }
    p->kind = PORT_TERMIOS;
    p->fd = fd;
    return RC_OK;
}

static enum rc open_serial(struct port *p, const struct port_setup *s, char *why, size_t cap)
{
    char real[PATH_MAX];
    if (realpath(s->path, real) == NULL) {
        enum rc rc = from_errno(errno);
        snprintf(why, cap, "%s: %s: is the adapter plugged in? its stable names are in /dev/serial/by-id", s->path, strerror(errno));
        return rc;
    }
    /* libserialport knows a port by its entry in sysfs and needs modem lines; either is missing for pseudo terminals and USB gadgets. */
    char sys[PATH_MAX + 32];
    const char *base = strrchr(real, '/');
    snprintf(sys, sizeof sys, "/sys/class/tty%s", base == NULL ? "/" : base);
    bool full = strncmp(real, "/dev/pts/", 9) != 0 && access(sys, F_OK) == 0;
    if (full) {
        int fd = open(real, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), lines = 0;
        if (fd >= 0) {
            full = ioctl(fd, TIOCMGET, &lines) == 0;
            close(fd);
        }
    }
    if (full) {
        enum rc rc = open_libserialport(p, s, real, why, cap);
        if (rc != RC_UNSUPPORTED || why[0] != '\0')
            return rc;
    }
    return open_termios(p, s, real, why, cap);
}

/* --- TCP --- */

static enum rc parse_address(const char *text, struct sockaddr_storage *ret_a, socklen_t *ret_len)
{
    char host[PORT_PATH_MAX + 1];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host)
        return RC_INVALID;
    size_t n = (size_t)(colon - text);
    memcpy(host, text, n);
    host[n] = '\0';
    char *h = host, *end = NULL;
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        h++;
    }
    errno = 0;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (errno != 0 || end == colon + 1 || *end != '\0' || number < 1 || number > 65535)
        return RC_INVALID;
    struct sockaddr_storage a = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
    if (strcmp(h, "localhost") == 0)
        h = memcpy(host, "127.0.0.1", 10);
    if (inet_pton(AF_INET, h, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)number);
        *ret_len = sizeof *v4;
    } else if (inet_pton(AF_INET6, h, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)number);
        *ret_len = sizeof *v6;
    } else {
        return RC_INVALID;
    }
    *ret_a = a;
    return RC_OK;
}

/* A peer whose power was cut sends nothing ever again: keep-alive tells after some 25 s, a small message goes out at once. */
static void tune_socket(int fd)
{
    int one = 1, idle = 10, interval = 5, count = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static enum rc open_tcp(struct port *p, const char *text, char *why, size_t cap)
{
    struct sockaddr_storage a;
    socklen_t len;
    if (parse_address(text, &a, &len) != RC_OK) {
        snprintf(why, cap, "tcp:%s makes no sense: write tcp:ADDRESS:PORT with a numeric address", text);
        return RC_INVALID;
    }
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        snprintf(why, cap, "no socket: %s", strerror(errno));
        return RC_IO;
    }
    tune_socket(fd);
    p->kind = PORT_TCP;
    if (connect(fd, (struct sockaddr *)&a, len) == 0) {
        p->fd = fd;
        return RC_OK;
    }
    if (errno != EINPROGRESS) {
        snprintf(why, cap, "tcp:%s: %s: is the device on, and the address right?", text, strerror(errno));
        close(fd);
        return RC_IO;
    }
    p->fd = fd;
    p->connecting = true;
    p->connect_until_ms = clock_mono_ms() + CONNECT_MS;
    return RC_OK;
}

static enum rc open_listen(struct port *p, const char *text, char *why, size_t cap)
{
    struct sockaddr_storage a;
    socklen_t len;
    int one = 1;
    if (parse_address(text, &a, &len) != RC_OK) {
        snprintf(why, cap, "tcp-listen:%s makes no sense: write tcp-listen:ADDRESS:PORT with the gateway's own numeric address", text);
        return RC_INVALID;
    }
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || ep < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 || bind(fd, (struct sockaddr *)&a, len) != 0 ||
        listen(fd, 2) != 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0) {
        enum rc rc = errno == EADDRINUSE ? RC_DENIED : RC_IO;
        snprintf(why, cap, "cannot listen on %s: %s: the address must be the gateway's own and free", text, strerror(errno));
        if (fd >= 0)
            close(fd);
        if (ep >= 0)
            close(ep);
        return rc;
    }
    p->kind = PORT_TCP_LISTEN;
    p->listen = fd;
    p->epoll = ep;
    return RC_OK;
}

static void drop_caller(struct port *p)
{
    if (p->fd >= 0) {
        epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->fd, NULL);
        close(p->fd);
        p->fd = -1;
    }
}

static void accept_caller(struct port *p)
{
    int fd = accept4(p->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    tune_socket(fd);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
    if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
        close(fd);
        return;
    }
    /* A device that lost power and came back calls again before its old connection is known to be dead. */
    drop_caller(p);
    p->fd = fd;
}

/* RC_OK connected, RC_AGAIN under way, RC_IO failed (errno). */
static enum rc check_connect(struct port *p)
{
    if (p->kind == PORT_TCP_LISTEN) {
        accept_caller(p);
        return p->fd >= 0 ? RC_OK : RC_AGAIN;
    }
    if (p->refused != 0) {
        errno = p->refused;
        return RC_IO;
    }
    if (!p->connecting)
        return RC_OK;
    struct pollfd f = {.fd = p->fd, .events = POLLOUT};
    if (poll(&f, 1, 0) > 0) {
        int e = 0;
        socklen_t n = sizeof e;
        if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &e, &n) == 0 && e != 0) {
            errno = p->refused = e;
            return RC_IO;
        }
        p->connecting = false;
        return RC_OK;
    }
    if (clock_mono_ms() > p->connect_until_ms) {
        errno = p->refused = ETIMEDOUT;
        return RC_IO;
    }
    return RC_AGAIN;
}

/* --- all kinds --- */

enum rc port_open(const struct port_setup *s, struct port **ret_p, char *why, size_t cap)
{
    struct port *p = calloc(1, sizeof *p);
    if (p == NULL)
        return RC_NO_MEMORY;
    p->fd = p->listen = p->epoll = -1;
    snprintf(p->line, sizeof p->line, "%s", s->path);
    if (cap > 0)
        why[0] = '\0';
    enum rc rc;
    if (strncmp(s->path, "tcp:", 4) == 0)
        rc = open_tcp(p, s->path + 4, why, cap);
    else if (strncmp(s->path, "tcp-listen:", 11) == 0)
        rc = open_listen(p, s->path + 11, why, cap);
    else if (s->path[0] == '/')
        rc = open_serial(p, s, why, cap);
    else {
        snprintf(why, cap, "\"%s\" is no port: write /dev/..., tcp:ADDRESS:PORT or tcp-listen:ADDRESS:PORT", s->path);
        rc = RC_INVALID;
    }
    if (rc != RC_OK) {
        free(p);
        return rc;
    }
    *ret_p = p;
    return RC_OK;
}

void port_close(struct port *p)
{
    if (p == NULL)
        return;
    if (p->kind == PORT_SERIAL || p->kind == PORT_TERMIOS)
        ioctl(p->fd, TIOCNXCL); /* a pseudo terminal keeps the mark while its other end stays open, and nobody could come back */
    if (p->sp != NULL) {
        sp_close(p->sp);
        sp_free_port(p->sp);
    } else if (p->fd >= 0) {
        close(p->fd);
    }
    if (p->listen >= 0)
        close(p->listen);
    if (p->epoll >= 0)
        close(p->epoll);
    free(p);
}

int port_fd(const struct port *p)
{
    return p->kind == PORT_TCP_LISTEN ? p->epoll : p->fd;
}

int port_data_fd(const struct port *p)
{
    return p->fd;
}

enum port_kind port_kind(const struct port *p)
{
    return p->kind;
}

static ssize_t read_some(int fd, void *buf, size_t cap)
{
    ssize_t n;
    do
        n = read(fd, buf, cap);
    while (n < 0 && errno == EINTR);
    return n;
}

enum rc port_read(struct port *p, void *buf, size_t cap, size_t *ret_n)
{
    enum rc rc = check_connect(p);
    if (rc != RC_OK)
        return rc;
    ssize_t n = read_some(p->fd, buf, cap);
    if (n == 0 && p->sp != NULL) {
        /* libserialport sets VMIN 0: a line that has nothing reads 0 bytes as well. Readable and still 0 bytes is a hang-up. */
        struct pollfd f = {.fd = p->fd, .events = POLLIN};
        if (poll(&f, 1, 0) <= 0)
            return RC_AGAIN;
        n = f.revents == POLLIN ? read_some(p->fd, buf, cap) : 0;
    }
    if (n > 0) {
        *ret_n = (size_t)n;
        tap_put(p->line, TAP_RECEIVED, 0, 0, buf, (size_t)n);
        return RC_OK;
    }
    if (n < 0 && errno == EAGAIN)
        return RC_AGAIN;
    if (p->kind == PORT_TCP_LISTEN) {
        drop_caller(p); /* the next caller is welcome */
        return RC_AGAIN;
    }
    return n == 0 || errno == EIO || errno == ECONNRESET ? RC_END : RC_IO;
}

enum rc port_write(struct port *p, const void *buf, size_t n)
{
    enum rc rc = check_connect(p);
    if (rc != RC_OK)
        return rc;
    bool socket_kind = p->kind == PORT_TCP || p->kind == PORT_TCP_LISTEN;
    size_t done = 0;
    for (int tries = 0; done < n && tries < 8; tries++) {
        const char *from = (const char *)buf + done;
        ssize_t k = socket_kind ? send(p->fd, from, n - done, MSG_NOSIGNAL) : write(p->fd, from, n - done);
        if (k > 0) {
            done += (size_t)k;
        } else if (k < 0 && errno != EINTR) {
            if (errno == EAGAIN)
                break;
            if (p->kind == PORT_TCP_LISTEN) {
                drop_caller(p);
                return RC_AGAIN;
            }
            return errno == EIO || errno == EPIPE || errno == ECONNRESET ? RC_END : RC_IO;
        }
    }
    if (done > 0)
        tap_put(p->line, TAP_SENT, 0, 0, buf, done);
    if (done == n)
        return RC_OK;
    /* Half a message on the line: the peer's framing finds its way back, as it must after noise. */
    return RC_AGAIN;
}

enum rc port_ready(struct port *p, int timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    for (;;) {
        enum rc rc = check_connect(p);
        if (rc != RC_AGAIN)
            return rc;
        int64_t left = until - clock_mono_ms();
        if (left <= 0)
            return RC_TIMEOUT;
        struct pollfd f = {.fd = port_fd(p), .events = p->kind == PORT_TCP_LISTEN ? POLLIN : POLLOUT};
        poll(&f, 1, (int)left);
    }
}

size_t port_drain(struct port *p)
{
    unsigned char buf[512];
    size_t all = 0;
    for (int i = 0; i < 32; i++) {
        size_t n = 0;
        if (p->fd < 0 || port_read(p, buf, sizeof buf, &n) != RC_OK)
            break;
        all += n;
    }
    return all;
}
