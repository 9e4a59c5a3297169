/*
 * tunnel - a bad mobile network between two network namespaces, in user space (kernels without netem): two TUN devices and what happens to the
 * packets between them. tests/net/README.md
 *
 * The namespaces have no names: they end with this program and with what runs inside them, whatever happens to the test. Prints
 *
 *   ready a=/proc/PID/fd/N b=/proc/PID/fd/M       for nsenter --net=FILE; a is 10.77.0.1, b is 10.77.0.2
 *
 * and obeys lines on its standard input, each answered by "ok ..." or "error ...". End of input, a signal or --seconds end it. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PACKET_MAX = 2048, /* above the devices' 1500 */
    WAITING_MAX = 8192,
    FLOWS_MAX = 4096,
    SIDES = 2,
    EX_SKIP = 77,
};

struct packet {
    int64_t due_us;
    uint64_t order; /* of arrival, among equals */
    uint16_t n;
    uint8_t to;
    uint8_t bytes[PACKET_MAX];
};

/* What happens to packets of one direction; index 0: from a to b. */
struct way {
    int64_t delay_us, jitter_us;
    unsigned loss, duplicate, reorder; /* of 1000 */
    int64_t rate_bps;                  /* bits per second, 0 = any */
    int64_t queue_us;                  /* what waits longer for its turn is dropped, as a modem with a full buffer does */
    bool down;                         /* all is swallowed: a dead zone does not say that it is one */
    int64_t free_us, last_us;          /* when the line is free again; due time of the newest in order */
    uint64_t passed, lost, doubled, reordered, swallowed, forgotten;
};

/* A NAT's memory of TCP flows: what was idle for too long is not known any more, and its packets vanish. */
struct flow {
    uint32_t peer[SIDES]; /* addresses and ports, a's first */
    uint16_t port[SIDES];
    int64_t seen_us;
};

static struct {
    int tun[SIDES], ns[SIDES];
    struct way way[SIDES];
    struct packet *packet, *heap[WAITING_MAX], *unused[WAITING_MAX];
    size_t waiting, free;
    uint64_t arrivals, random;
    int64_t idle_us; /* of the NAT, 0 = remembers for ever */
    struct flow flow[FLOWS_MAX];
    size_t flows;
} t;

static int64_t now_us(void)
{
    struct timespec s;
    clock_gettime(CLOCK_MONOTONIC, &s);
    return (int64_t)s.tv_sec * 1000000 + s.tv_nsec / 1000;
}

static uint32_t random_below(uint32_t n)
{
    t.random ^= t.random << 13; /* xorshift64 */
    t.random ^= t.random >> 7;
    t.random ^= t.random << 17;
    return n > 0 ? (uint32_t)((t.random >> 16) % n) : 0;
}

/* --- packets that wait, a heap by due time --- */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void push(struct packet *p)
{
    size_t i = t.waiting++;
    while (i > 0 && before(p, t.heap[(i - 1) / 2])) {
        t.heap[i] = t.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t.heap[i] = p;
}

static struct packet *pop(void)
{
    struct packet *first = t.heap[0], *last = t.heap[--t.waiting];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < t.waiting && before(t.heap[child + 1], t.heap[child]))
            child++;
        if (child >= t.waiting || !before(t.heap[child], last))
            break;
        t.heap[i] = t.heap[child];
        i = child;
    }
    t.heap[i] = last;
    return first;
}

/* --- the NAT --- */

/* Does the NAT let this packet through? from: the side it comes from. */
static bool known_flow(const uint8_t *p, size_t n, int from, int64_t now)
{
    size_t head = (size_t)(p[0] & 15) * 4;
    if (t.idle_us == 0 || p[0] >> 4 != 4 || p[9] != IPPROTO_TCP || head < 20 || n < head + 20)
        return true;
    const uint8_t *tcp = p + head;
    struct flow f = {.seen_us = now};
    memcpy(&f.peer[from], p + 12, 4);
    memcpy(&f.peer[1 - from], p + 16, 4);
    memcpy(&f.port[from], tcp, 2);
    memcpy(&f.port[1 - from], tcp + 2, 2);
    bool begins = (tcp[13] & 0x12) == 0x02; /* SYN without ACK */
    for (size_t i = 0; i < t.flows; i++) {
        struct flow *o = &t.flow[i];
        if (memcmp(o->peer, f.peer, sizeof f.peer) != 0 || memcmp(o->port, f.port, sizeof f.port) != 0)
            continue;
        if (now - o->seen_us > t.idle_us && !begins)
            return false; /* and stays forgotten: seen_us is not touched */
        o->seen_us = now;
        return true;
    }
    if (!begins || from != 0) /* only the bus opens connections */
        return false;
    if (t.flows == FLOWS_MAX)
        t.flows = 0;
    t.flow[t.flows++] = f;
    return true;
}

/* --- what happens to a packet --- */

static void schedule(const uint8_t *bytes, size_t n, int from, int64_t due_us)
{
    if (t.free == 0) {
        t.way[from].lost++;
        return;
    }
    struct packet *p = t.unused[--t.free];
    p->due_us = due_us;
    p->order = t.arrivals++;
    p->to = (uint8_t)(1 - from);
    p->n = (uint16_t)n;
    memcpy(p->bytes, bytes, n);
    push(p);
}

static void arrive(const uint8_t *bytes, size_t n, int from)
{
    struct way *w = &t.way[from];
    int64_t now = now_us(), start = now > w->free_us ? now : w->free_us;
    if (w->down) {
        w->swallowed++;
        return;
    }
    if (!known_flow(bytes, n, from, now)) {
        w->forgotten++;
        return;
    }
    if (random_below(1000) < w->loss || start - now > w->queue_us) {
        w->lost++;
        return;
    }
    if (w->rate_bps > 0)
        start += (int64_t)n * 8 * 1000000 / w->rate_bps;
    w->free_us = start;
    int64_t due = start + w->delay_us + (w->jitter_us > 0 ? (int64_t)random_below((uint32_t)(2 * w->jitter_us)) - w->jitter_us : 0);
    if (due < start)
        due = start;
    if (random_below(1000) < w->reorder) { /* overtakes what is on its way, as tc-netem(8) does it */
        due = start;
        w->reordered++;
    } else {
        due = due > w->last_us ? due : w->last_us;
        w->last_us = due;
    }
    schedule(bytes, n, from, due);
    w->passed++;
    if (random_below(1000) < w->duplicate) {
        schedule(bytes, n, from, due + 100);
        w->doubled++;
    }
}

static void deliver(void)
{
    int64_t now = now_us();
    while (t.waiting > 0 && t.heap[0]->due_us <= now) {
        struct packet *p = pop();
        if (t.way[1 - p->to].down)
            t.way[1 - p->to].swallowed++; /* it was on its way when the bus drove into the tunnel */
        else if (write(t.tun[p->to], p->bytes, p->n) < 0 && errno != EIO && errno != ENOBUFS)
            fprintf(stderr, "tunnel: write: %s\n", strerror(errno));
        t.unused[t.free++] = p;
    }
}

/* --- commands --- */

static bool set_one(struct way *w, const char *name, double v)
{
    if (strcmp(name, "delay") == 0)
        w->delay_us = (int64_t)(v * 1000);
    else if (strcmp(name, "jitter") == 0)
        w->jitter_us = (int64_t)(v * 1000);
    else if (strcmp(name, "loss") == 0)
        w->loss = (unsigned)(v * 10);
    else if (strcmp(name, "duplicate") == 0)
        w->duplicate = (unsigned)(v * 10);
    else if (strcmp(name, "reorder") == 0)
        w->reorder = (unsigned)(v * 10);
    else if (strcmp(name, "rate") == 0)
        w->rate_bps = (int64_t)(v * 1000);
    else if (strcmp(name, "queue") == 0)
        w->queue_us = (int64_t)(v * 1000);
    else
        return false;
    return true;
}

/* set ab|ba|both NAME VALUE ...: ms, percent, kbit/s */
static bool set(char *save)
{
    const char *which = strtok_r(NULL, " ", &save);
    if (which == NULL || (strcmp(which, "ab") != 0 && strcmp(which, "ba") != 0 && strcmp(which, "both") != 0))
        return false;
    for (const char *name; (name = strtok_r(NULL, " ", &save)) != NULL;) {
        const char *text = strtok_r(NULL, " ", &save);
        char *end = NULL;
        double v = text != NULL ? strtod(text, &end) : -1;
        if (text == NULL || end == text || *end != '\0' || !(v >= 0 && v <= 1e7))
            return false;
        for (int i = 0; i < SIDES; i++)
            if ((strcmp(which, "both") == 0 || (which[0] == 'b') == (i == 1)) && !set_one(&t.way[i], name, v))
                return false;
    }
    return true;
}

static void command(char *line)
{
    char *save = NULL, *word = strtok_r(line, " ", &save);
    bool good = true;
    if (word == NULL)
        return;
    if (strcmp(word, "set") == 0) {
        good = set(save);
    } else if (strcmp(word, "down") == 0 || strcmp(word, "up") == 0) {
        t.way[0].down = t.way[1].down = word[0] == 'd';
    } else if (strcmp(word, "idle") == 0) { /* the NAT forgets a flow after so many ms; 0 never */
        const char *text = strtok_r(NULL, " ", &save);
        t.idle_us = text != NULL ? strtoll(text, NULL, 10) * 1000 : 0;
        t.flows = 0;
    } else if (strcmp(word, "stats") == 0) {
        for (int i = 0; i < SIDES; i++)
            printf("%s passed=%llu lost=%llu doubled=%llu reordered=%llu swallowed=%llu forgotten=%llu ", i == 0 ? "ok ab" : "ba",
                   (unsigned long long)t.way[i].passed, (unsigned long long)t.way[i].lost, (unsigned long long)t.way[i].doubled,
                   (unsigned long long)t.way[i].reordered, (unsigned long long)t.way[i].swallowed, (unsigned long long)t.way[i].forgotten);
        puts("");
        return;
    } else {
        good = false;
    }
    puts(good ? "ok" : "error not understood");
}

/* Whole lines of standard input; false at its end. */
static bool read_commands(void)
{
    static char buf[512];
    static size_t n;
    ssize_t got = read(STDIN_FILENO, buf + n, sizeof buf - 1 - n);
    if (got <= 0)
        return false;
    n += (size_t)got;
    buf[n] = '\0';
    for (char *end; (end = strchr(buf, '\n')) != NULL;) {
        *end = '\0';
        command(buf);
        n -= (size_t)(end + 1 - buf);
        memmove(buf, end + 1, n + 1);
    }
    return n < sizeof buf - 1;
}

/* --- the two namespaces --- */

static int fail(const char *what)
{
    fprintf(stderr, "tunnel: %s: %s\n", what, strerror(errno));
    return errno == EPERM || errno == EACCES || errno == ENOENT || errno == ENODEV ? EX_SKIP : 1;
}

static int up(const char *name, const char *address)
{
    struct ifreq r = {0};
    struct sockaddr_in a = {.sin_family = AF_INET};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bad = 0;
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    if (address != NULL) {
        inet_pton(AF_INET, address, &a.sin_addr);
        memcpy(&r.ifr_addr, &a, sizeof a);
        bad |= ioctl(s, SIOCSIFADDR, &r);
        inet_pton(AF_INET, "255.255.255.0", &a.sin_addr);
        memcpy(&r.ifr_netmask, &a, sizeof a);
        bad |= ioctl(s, SIOCSIFNETMASK, &r);
    }
    bad |= ioctl(s, SIOCGIFFLAGS, &r);
    r.ifr_flags |= IFF_UP;
    bad |= ioctl(s, SIOCSIFFLAGS, &r);
    close(s);
    return bad;
}

static int open_side(int i)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(r.ifr_name, sizeof r.ifr_name, "mobile%d", i);
    if (unshare(CLONE_NEWNET) != 0)
        return fail("a new network namespace");
    t.ns[i] = open("/proc/self/ns/net", O_RDONLY);
    t.tun[i] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (t.tun[i] < 0)
        return fail("/dev/net/tun");
    if (ioctl(t.tun[i], TUNSETIFF, &r) != 0 || up("lo", NULL) != 0 || up(r.ifr_name, i == 0 ? "10.77.0.1" : "10.77.0.2") != 0)
        return fail("the TUN device");
    return 0;
}

static int run(void)
{
    struct pollfd fd[3] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = t.tun[0], .events = POLLIN}, {.fd = t.tun[1], .events = POLLIN}};
    static uint8_t bytes[PACKET_MAX];
    for (;;) {
        struct timespec wait = {.tv_sec = 3600};
        if (t.waiting > 0) {
            int64_t us = t.heap[0]->due_us - now_us();
            us = us < 0 ? 0 : us;
            wait = (struct timespec){us / 1000000, us % 1000000 * 1000};
        }
        if (ppoll(fd, 3, &wait, NULL) < 0 && errno != EINTR)
            return fail("poll");
        deliver();
        for (int i = 0; i < SIDES; i++)
            for (ssize_t n; (fd[1 + i].revents & POLLIN) != 0 && (n = read(t.tun[i], bytes, sizeof bytes)) > 0;)
                arrive(bytes, (size_t)n, i);
        deliver();
        if ((fd[0].revents & (POLLIN | POLLHUP)) != 0 && !read_commands())
            return 0;
    }
}

int main(int argc, char **argv)
{
    unsigned seconds = 300;
    t.random = 0x9E3779B97F4A7C15;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seconds") == 0)
            seconds = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            t.random ^= strtoull(argv[i + 1], NULL, 10) << 17;
    }
    alarm(seconds); /* whatever happens to the test */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    t.packet = calloc(WAITING_MAX, sizeof *t.packet);
    if (t.packet == NULL)
        return 1;
    for (size_t i = 0; i < WAITING_MAX; i++)
        t.unused[t.free++] = &t.packet[i];
    for (int i = 0; i < SIDES; i++) {
        t.way[i].queue_us = 2000000;
        int bad = open_side(i);
        if (bad != 0)
            return bad;
    }
    printf("ready a=/proc/%d/fd/%d b=/proc/%d/fd/%d\n", (int)getpid(), t.ns[0], (int)getpid(), t.ns[1]);
    return run();
}
