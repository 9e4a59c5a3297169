/*
 * schoolward-gateway - the program on the bus. Reads its options and configuration, then starts its parts in order and ends them in the reverse order.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "care.h"
#include "cli.h"
#include "enrol.h"
#include "gateway.h"
#include "hash_cards.h"
#include "keeper.h"
#include "status.h"
#include "status_json.h"

#define SETS_MAX 64
#define AGAIN "SCHOOLWARD_AGAIN" /* in the environment: the program started itself anew */

static const char help[] =
    "schoolward-gateway - reads the devices of a school bus, keeps and sends what they say, warns the driver\n"
    "\n"
    "  --config FILE         configuration (default /etc/schoolward/gateway.conf)\n"
    "  --set SECTION.KEY=V   override one value; a device's as device.NAME.KEY=V; may be repeated\n"
    "  --replay FILE         also play a recording as device 'replay'\n"
    "  --check-config        tell every problem as file:line: key: problem: hint; exit 0 or 78\n"
    "  --print-config        the configuration in effect, with units, ranges and defaults\n"
    "  --hash-card NUMBER    the keyed hash of a card for a roster: hex digits, or dec: and what is printed on it; - reads lines\n"
    "  --version, --help\n"
    "\n"
    "schoolward-gateway enrol --code CODE [--server wss://...]   get this gateway's own secret from the server\n"
    "schoolward-gateway status [--json]              what the running gateway says of itself\n"
    "schoolward-gateway doctor [--json] [--wait S]   checks lines, rights, GNSS, clock, disk and server, and says what to do; exit 0, 1 warnings, 2 faults\n"
    "schoolward-gateway record DEVICE [--seconds N] [--out FILE]   what a device says on its line, for the tests\n"
    "    these three also take --config, --set and --lang zh|en\n"
    "\n"
    "Signals: SIGTERM and SIGINT end it in order, SIGHUP reads duty and law again, SIGUSR1 logs figures.\n"
    "Exit: 0 ended in order, 64 usage, 65 not a card's number, 71 system, 73 cannot create, 74 input/output, 78 configuration.\n";

struct options {
    const char *config;
    const char *set[SETS_MAX];
    size_t sets;
    bool check, print;
    const char *card;
};

struct program {
    struct config *config;
    const struct care_local *local;
    struct care *care;
    bool again;
    uv_loop_t loop;
    uv_signal_t term, interrupt, hup, usr1;
    uv_timer_t watchdog, hourly;
    int64_t start_mono_ms;
    struct gateway *gateway;
    struct orders *orders;
    struct keeper *keeper;
    struct outbox *outbox;
    struct uplink *uplink;
    struct media *media; /* NULL: no pictures are kept */
    struct driver_store store;
    struct status *status; /* NULL: could not be opened */
    struct device *device[CONFIG_DEVICES_MAX];
    size_t devices, devices_stopping;
    int own_closing;
    bool ending, restart; /* restart: start anew after the end */
};

/* --- systemd: sd_notify(3) is one datagram; the library for it brings six others and a tenth of our memory --- */

static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = path != NULL ? strlen(path) : 0;
    if (n == 0 || n >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@') /* the abstract name space */
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)(const void *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
}

static uint64_t watchdog_wanted_us(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (us == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoull(us, NULL, 10);
}

/* --- duty --- */

static void load_duty(struct program *p, bool again)
{
    char why[512];
    struct duty_file *d = NULL;
    const struct config_gateway *c = &p->config->gateway;
    char duty[320], law[320];
    care_path(p->care, WIRE_BUNDLE_DUTY, c->duty_file, duty, sizeof duty);
    care_path(p->care, WIRE_BUNDLE_LAW, c->law_file, law, sizeof law);
    if (duty[0] == '\0') {
        log_warning("duty", "no duty_file is configured: positions and alarms are sent, but nothing is judged in the cab");
        return;
    }
    enum rc rc = duty_file_read(duty, law, c->id, &d, why, sizeof why);
    if (rc == RC_OK) {
        log_notice("duty", "%s: version %s, law %s", duty, d->duty_version, d->law_version);
        gateway_set_duty(p->gateway, d);
    } else if (rc == RC_NOT_FOUND && !again) {
        log_warning("duty", "%s: positions and alarms are sent, but nothing is judged in the cab until it is there (then SIGHUP)", why);
    } else {
        log_error("duty", "refused: %s; %s", why, again ? "the one read before stays" : "nothing is judged in the cab");
    }
}

/* --- callbacks between the parts --- */

static void on_stored(void *arg, enum event_lane lane, uint64_t last_seq)
{
    struct program *p = arg;
    if (p->uplink != NULL)
        uplink_stored(p->uplink, lane, last_seq);
}

static void on_trouble(void *arg, const char *text)
{
    struct program *p = arg;
    gateway_trouble(p->gateway, text);
}

static void on_hello(void *arg, struct wire_hello *h)
{
    struct program *p = arg;
    gateway_hello(p->gateway, h);
    keeper_hello(p->keeper, h);
}

static int64_t on_date(void *arg, bool *ret_trusted)
{
    struct program *p = arg;
    return gateway_date(p->gateway, ret_trusted);
}

static void on_server_time(void *arg, int64_t server_ms, bool tls)
{
    struct program *p = arg;
    gateway_server_time(p->gateway, server_ms, tls);
}

static void on_order(void *arg, const struct wire_order *order)
{
    struct program *p = arg;
    orders_take(p->orders, order);
}

static enum rc on_care(void *arg, const struct wire_order *order, char *why, size_t cap)
{
    struct program *p = arg;
    return keeper_order(&p->keeper, order, why, cap);
}

static void on_result(void *arg, const struct wire_order_result *r)
{
    struct program *p = arg;
    if (p->uplink != NULL)
        uplink_result(p->uplink, r);
}

static struct selfreport_sources report_sources(struct program *p)
{
    struct selfreport_sources s = {.gateway = p->gateway,
                                   .outbox = p->outbox,
                                   .uplink = p->uplink,
                                   .state_dir = p->config->gateway.state_dir,
                                   .start_mono_ms = p->start_mono_ms};
    keeper_report(p->keeper, &s);
    return s;
}

static void on_report(void *arg, struct report *ret_r)
{
    struct selfreport_sources s = report_sources(arg);
    selfreport_collect(&s, ret_r);
}

/* -1 unknown, or over. */
static int64_t days_until(int64_t ms)
{
    int64_t left = ms - clock_wall_ms();
    return ms == 0 || left < 0 ? -1 : left / 86400000;
}

static void on_media(void *arg, const struct event *e)
{
    const struct program *p = arg;
    gateway_event(p->gateway, NULL, e);
}

static void on_media_kept(void *arg)
{
    const struct program *p = arg;
    if (p->uplink != NULL)
        uplink_media_kept(p->uplink);
}

static void on_welcomed(void *arg)
{
    struct program *p = arg;
    keeper_welcomed(p->keeper);
}

static void on_duty(void *arg, struct duty_file *d)
{
    struct program *p = arg;
    gateway_set_duty(p->gateway, d);
}

static void on_secret(void *arg, const char *secret)
{
    struct program *p = arg;
    if (p->uplink != NULL)
        uplink_new_secret(p->uplink, secret);
}

static void end(struct program *p);

static void on_restart(void *arg)
{
    struct program *p = arg;
    log_notice("main", "starting anew");
    p->restart = true;
    end(p);
}

static char *on_status(void *arg)
{
    struct program *p = arg;
    struct selfreport_sources s = report_sources(p);
    return status_json(&s, p->config->gateway.id);
}

static void log_figures(const struct program *p)
{
    struct gateway_figures g;
    struct outbox_figures o = {0};
    struct uplink_figures u = {0};
    gateway_figures(p->gateway, &g);
    if (p->outbox != NULL)
        outbox_figures(p->outbox, &o);
    if (p->uplink != NULL)
        uplink_figures(p->uplink, &u);
    log_notice("main", "events=%" PRIu64 " urgent=%" PRIu64 " bad=%" PRIu64 " lost=%" PRIu64 " findings=%" PRIu64 " worst_us=%" PRIu64, g.events, g.urgent, g.bad,
               g.lost, g.findings, g.worst_us);
    log_notice("main", "stored=%" PRIu64 " acked=%" PRIu64 " given_up=%" PRIu64 " waiting=%" PRIu64 "+%" PRIu64 " commits=%" PRIu64 " disk_bytes=%" PRIu64,
               o.stored, o.acked, o.given_up, o.waiting[0], o.waiting[1], o.commits, o.bytes_written);
    log_notice("main", "connected=%d connects=%" PRIu64 " batches=%" PRIu64 " sent=%" PRIu64 " backlog=%" PRIu64 " acks=%" PRIu64 " sent_bytes=%" PRIu64
               " ack_ms=%" PRId64, u.connected, u.connects, u.batches, u.events, u.backlog_events, u.acks, u.bytes, u.ack_ms);
    if (p->uplink != NULL)
        log_notice("main", "uplink=%s tries=%u name_ms=%" PRId64 " cert_days=%" PRId64 " own_cert_days=%" PRId64, u.state, u.tries, u.name_ms,
                   days_until(u.cert_until_ms), days_until(u.own_cert_until_ms));
    if (p->media != NULL) {
        struct media_figures m;
        media_figures(p->media, &m);
        log_notice("main", "media_kept=%" PRIu64 " media_sent=%" PRIu64 " media_given_up=%" PRIu64 " media_refused=%" PRIu64 " media_waiting=%" PRIu32 " media_disk_bytes=%" PRIu64,
                   m.kept, m.sent, m.given_up, m.refused, m.waiting, m.bytes);
    }
}

/* --- the end, step by step in the reverse order of the start --- */

static void end_gateway(void *arg);
static void end_outbox(void *arg);
static void end_media(void *arg);
static void end_uplink(void *arg);

static void on_own_closed(uv_handle_t *h)
{
    struct program *p = h->data;
    if (--p->own_closing == 0)
        log_notice("main", "ended");
}

static void end_own(void *arg) /* 1. the program's own handles: the loop has nothing left then */
{
    struct program *p = arg;
    uv_handle_t *all[] = {(uv_handle_t *)&p->term, (uv_handle_t *)&p->interrupt, (uv_handle_t *)&p->hup, (uv_handle_t *)&p->usr1,
                          (uv_handle_t *)&p->watchdog, (uv_handle_t *)&p->hourly};
    p->own_closing = (int)(sizeof all / sizeof all[0]);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        uv_close(all[i], on_own_closed);
}

static void end_gateway(void *arg) /* 2. */
{
    struct program *p = arg;
    p->outbox = NULL;
    gateway_stop(p->gateway, end_own, p);
}

static void end_outbox(void *arg) /* 3. commits what is open */
{
    struct program *p = arg;
    gateway_set_outbox(p->gateway, NULL);
    outbox_stop(p->outbox, end_gateway, p);
}

static void end_media(void *arg) /* 4. what is being written goes to disk */
{
    struct program *p = arg;
    struct media *m = p->media;
    p->media = NULL;
    if (m != NULL)
        media_close(m, end_outbox, p);
    else
        end_outbox(p);
}

/*
 * 5. says goodbye. Nothing but media opens files in other threads by now: on a foreign loop libwebsockets 4.1.6 closes its event descriptor twice, and
 * the second time the number may already be somebody else's.
 */
static void end_uplink(void *arg)
{
    struct program *p = arg;
    if (p->uplink != NULL)
        uplink_stop(p->uplink, end_media, p);
    else
        end_media(p);
}

static void end_keeper(void *arg) /* 6. */
{
    struct program *p = arg;
    keeper_stop(p->keeper, !p->restart, end_uplink, p);
}

static void end_orders(void *arg) /* 7. what was carried out is remembered */
{
    struct program *p = arg;
    orders_stop(p->orders, end_keeper, p);
}

static void on_device_ended(void *arg)
{
    struct program *p = arg;
    if (--p->devices_stopping == 0)
        end_orders(p);
}

static void end(struct program *p) /* 8. devices first: nothing new comes in */
{
    if (p->ending)
        return;
    p->ending = true;
    if (!p->restart)
        notify("STOPPING=1");
    log_figures(p);
    if (p->status != NULL)
        status_stop(p->status, NULL, NULL);
    gateway_detach_all(p->gateway);
    p->devices_stopping = p->devices;
    if (p->devices == 0)
        end_orders(p);
    for (size_t i = p->devices; i > 0; i--)
        device_stop(p->device[i - 1], on_device_ended, p);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct program *p = s->data;
    if (number == SIGHUP) {
        load_duty(p, true);
    } else if (number == SIGUSR1) {
        log_figures(p);
    } else {
        log_notice("main", "%s: ending", number == SIGTERM ? "SIGTERM" : "SIGINT");
        end(p);
    }
}

static void on_watchdog(uv_timer_t *t)
{
    (void)t;
    notify("WATCHDOG=1");
}

/*
 * The dynamic linker reads every library's symbol tables once (-z now), which leaves some 4 MB of pages in our working set that nobody touches again.
 * Handing them back costs a few soft faults; they are clean, and come from the page cache if ever needed.
 */
static int hand_back(struct dl_phdr_info *lib, size_t size, void *arg)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size, (void)arg;
    for (int i = 0; i < lib->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &lib->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || (h->p_flags & PF_W) != 0)
            continue;
        uintptr_t from = (lib->dlpi_addr + h->p_vaddr + page - 1) / page * page, to = (lib->dlpi_addr + h->p_vaddr + h->p_memsz) / page * page;
        if (from < to)
            madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

static void on_hour(uv_timer_t *t)
{
    log_figures(t->data);
    dl_iterate_phdr(hand_back, NULL); /* what a TLS handshake or a check of the file has touched */
    malloc_trim(0);
}

/* --- the start --- */

static int start_own(struct program *p)
{
    struct {
        uv_signal_t *handle;
        int number;
    } signals[] = {{&p->term, SIGTERM}, {&p->interrupt, SIGINT}, {&p->hup, SIGHUP}, {&p->usr1, SIGUSR1}};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        uv_signal_init(&p->loop, signals[i].handle);
        signals[i].handle->data = p;
        uv_signal_start(signals[i].handle, on_signal, signals[i].number);
    }
    uint64_t watchdog_us = watchdog_wanted_us();
    uv_timer_init(&p->loop, &p->watchdog);
    uv_timer_init(&p->loop, &p->hourly);
    p->watchdog.data = p->hourly.data = p;
    uv_timer_start(&p->hourly, on_hour, 30000, 3600000); /* the first time when the connection usually stands */
    if (watchdog_us > 0) /* half the time-out, sd_watchdog_enabled(3) */
        uv_timer_start(&p->watchdog, on_watchdog, watchdog_us / 2000, watchdog_us / 2000);
    return EX_OK;
}

static bool is_connected(void *arg)
{
    const struct program *p = arg;
    struct uplink_figures f = {0};
    if (p->uplink != NULL)
        uplink_figures(p->uplink, &f);
    return f.connected;
}

static int start_gateway(struct program *p)
{
    struct gateway_setup s = {.id = p->config->gateway.id,
                              .panel = &p->config->panel,
                              .state_dir = p->config->gateway.state_dir,
                              .gnss = &p->config->gnss,
                              .connected = is_connected,
                              .arg = p};
    if (gateway_start(&p->loop, &s, &p->gateway) != RC_OK)
        return EX_OSERR;
    load_duty(p, false);
    return EX_OK;
}

static int start_outbox(struct program *p)
{
    char path[CONFIG_PATH_MAX + 16], why[512] = "out of memory";
    const char *dir = p->config->gateway.state_dir;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        log_error("main", "state_dir %s cannot be made: %s: make it, or choose another one", dir, strerror(errno));
        return EX_CANTCREAT;
    }
    snprintf(path, sizeof path, "%s/outbox.db", dir);
    struct outbox_setup s = {.path = path,
                             .group_ms = p->config->outbox.group_ms,
                             .max_bytes = p->config->outbox.max_mb << 20,
                             .on_stored = on_stored,
                             .on_trouble = on_trouble,
                             .arg = p};
    enum rc rc = outbox_start(&p->loop, &s, &p->outbox, why, sizeof why);
    if (rc != RC_OK) {
        log_error("main", "%s", why);
        return EX_IOERR;
    }
    gateway_set_outbox(p->gateway, p->outbox);
    return EX_OK;
}

static int start_orders(struct program *p)
{
    struct orders_setup s = {.dir = p->config->gateway.state_dir, .gateway = p->gateway, .care = on_care, .result = on_result, .arg = p};
    return orders_start(&p->loop, &s, &p->orders) == RC_OK ? EX_OK : EX_OSERR;
}

/* Without it the bus is as safe as before: a folder that cannot be used is told, and pictures stay in their cameras. */
static int start_media(struct program *p)
{
    char path[CONFIG_PATH_MAX + 16], why[512] = "out of memory";
    const struct config_media *c = &p->config->media;
    snprintf(path, sizeof path, "%s/media", p->config->gateway.state_dir);
    struct media_setup s = {.dir = path,
                            .max_bytes = (uint64_t)c->max_mb << 20,
                            .max_items = (uint32_t)c->max_items,
                            .item_max = (uint32_t)c->item_mb << 20,
                            .reserve_bytes = (uint64_t)c->reserve_mb << 20,
                            .on_event = on_media,
                            .on_kept = on_media_kept,
                            .arg = p};
    if (c->max_mb > 0 && media_open(&p->loop, &s, &p->media, why, sizeof why) != RC_OK)
        log_error("media", "%s", why);
    if (p->media != NULL)
        media_store(p->media, &p->store);
    return EX_OK;
}

static int start_keeper(struct program *p)
{
    struct keeper_setup s = {.care = p->care,
                             .local = p->local,
                             .gateway = p->gateway,
                             .orders = p->orders,
                             .again = p->again,
                             .duty = on_duty,
                             .secret = on_secret,
                             .restart = on_restart,
                             .arg = p};
    return keeper_start(&p->loop, &s, &p->keeper) == RC_OK ? EX_OK : EX_OSERR;
}

static int start_uplink(struct program *p)
{
    char secret[UPLINK_SECRET_MAX + 1], ca[320], why[512] = "out of memory";
    const struct config *c = p->config;
    if (c->gateway.server[0] == '\0') {
        log_warning("main", "no server is configured: records are kept in %s, nothing is sent", c->gateway.state_dir);
        return EX_OK;
    }
    if (care_secret(c->gateway.state_dir, c, secret, why, sizeof why) != RC_OK) {
        log_error("main", "%s, or enrol this gateway: schoolward-gateway enrol", why);
        return EX_CONFIG;
    }
    care_ca(c->gateway.state_dir, c, ca, sizeof ca);
    char memory[CONFIG_PATH_MAX + 16];
    snprintf(memory, sizeof memory, "%s/uplink.last", c->gateway.state_dir);
    struct uplink_setup s = {.url = c->gateway.server,
                             .ca_file = ca,
                             .cert_file = c->gateway.cert_file,
                             .key_file = c->gateway.key_file,
                             .memory_file = memory,
                             .gateway = c->gateway.id,
                             .secret = secret,
                             .outbox = p->outbox,
                             .media = p->media,
                             .media_kib_per_s = (uint32_t)c->media.kib_per_s,
                             .retry_min_ms = c->uplink.retry_min_ms,
                             .retry_max_ms = c->uplink.retry_max_ms,
                             .silent_ms = c->uplink.silent_ms,
                             .refused_ms = c->uplink.refused_ms,
                             .ping_s = (int)c->uplink.ping_s,
                             .pong_s = (int)c->uplink.pong_s,
                             .window = (int)c->uplink.window,
                             .hello = on_hello,
                             .date = on_date,
                             .server_time = on_server_time,
                             .order = on_order,
                             .welcomed = on_welcomed,
                             .report = on_report,
                             .report_ms = p->config->care.report_s * 1000,
                             .arg = p};
    enum rc rc = uplink_start(&p->loop, &s, &p->uplink, why, sizeof why);
    explicit_bzero(secret, sizeof secret);
    if (rc != RC_OK) {
        log_error("main", "%s", why);
        return EX_CONFIG;
    }
    return EX_OK;
}

static int start_devices(struct program *p)
{
    for (size_t i = 0; i < p->config->devices; i++) {
        const struct config_device *c = &p->config->device[i];
        struct device_setup s = {.name = c->name,
                                 .driver = c->driver,
                                 .options = c->options,
                                 .silence_ms = c->silence_ms,
                                 .on_event = gateway_event,
                                 .clock_ms = gateway_clock_ms,
                                 .arg = p->gateway,
                                 .store = p->media != NULL ? &p->store : NULL};
        if (device_start(&p->loop, &s, &p->device[p->devices]) != RC_OK) {
            log_error("main", "device %s cannot be started: out of memory or threads", c->name);
            return EX_OSERR;
        }
        gateway_attach(p->gateway, p->device[p->devices++]);
    }
    if (p->devices == 0)
        log_warning("main", "no [device NAME] is configured: nothing will be read");
    return EX_OK;
}

static int start_status(struct program *p)
{
    char why[256] = "out of memory";
    struct status_setup s = {.state_dir = p->config->gateway.state_dir, .config = p->config, .json = on_status, .arg = p};
    if (status_start(&p->loop, &s, &p->status, why, sizeof why) != RC_OK)
        log_warning("status", "%s", why);
    return EX_OK;
}

static void prepare_process(void)
{
    struct rlimit files = {256, 256}, cores = {0, 0};
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    setrlimit(RLIMIT_NOFILE, &files);
    setrlimit(RLIMIT_CORE, &cores); /* a core would hold the secret and where children are */
    prctl(PR_SET_DUMPABLE, 0);
    setenv("UV_THREADPOOL_SIZE", "1", 0); /* only names are resolved there */
    mallopt(M_ARENA_MAX, 2); /* an arena per thread costs more than all our data */
}

/* The end of a process that wants to be started anew, by itself: exit status of no meaning to anybody else. */
enum { STATUS_AGAIN = -2 };

static int run(struct config *config, struct care *care, const struct care_local *local, bool again)
{
    struct program *p = calloc(1, sizeof *p);
    if (p == NULL || uv_loop_init(&p->loop) != 0)
        return EX_OSERR;
    p->config = config;
    p->care = care;
    p->local = local;
    p->again = again;
    p->start_mono_ms = clock_mono_ms();
    int (*const start[])(struct program *) = {start_own,   start_gateway, start_outbox,  start_orders, start_keeper,
                                              start_media, start_uplink,  start_devices, start_status};
    int status = EX_OK;
    for (size_t i = 0; i < sizeof start / sizeof start[0] && status == EX_OK; i++)
        status = start[i](p);
    if (status != EX_OK && care_config_kind(care) != REPORT_CONFIG_FACTORY) {
        char why[320];
        log_error("care", "the configuration from the office does not start: going back");
        if (care_config_bad(care, why, sizeof why) != RC_OK)
            log_error("care", "%s", why);
        return care_config_kind(care) == REPORT_CONFIG_FACTORY ? status : STATUS_AGAIN;
    }
    if (status != EX_OK)
        return status; /* nothing is open that the end of the process does not close; what was stored is stored */
    log_notice("main", "schoolward-gateway %s, gateway %s, %zu devices", SCHOOLWARD_VERSION, config->gateway.id, p->devices);
    notify("READY=1");
    dl_iterate_phdr(hand_back, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uplink_free(p->uplink);
    orders_free(p->orders);
    keeper_free(p->keeper);
    gateway_free(p->gateway);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&p->loop) != 0)
        log_warning("main", "the loop still had handles at the end");
    if (p->restart)
        status = STATUS_AGAIN;
    free(p);
    return status;
}

/* --- options --- */

static int tell_problems(const struct conf_problems *problems)
{
    for (size_t i = 0; i < problems->n && i < CONF_PROBLEMS_MAX; i++)
        fprintf(stderr, "%s\n", problems->text[i]);
    if (problems->n > CONF_PROBLEMS_MAX)
        fprintf(stderr, "and %zu more\n", problems->n - CONF_PROBLEMS_MAX);
    return EX_CONFIG;
}

/* Files the configuration names, as far as --check-config can judge them. */
static int check_files(const struct config *c, const char *name)
{
    char why[512], secret[UPLINK_SECRET_MAX + 1];
    struct duty_file *d = NULL;
    int status = EX_OK;
    if (c->gateway.server[0] != '\0' && config_secret(c, secret, why, sizeof why) != RC_OK) {
        fprintf(stderr, "%s: secret_file: %s\n", name, why);
        status = EX_CONFIG;
    }
    explicit_bzero(secret, sizeof secret);
    if (c->gateway.ca_file[0] != '\0' && access(c->gateway.ca_file, R_OK) != 0) {
        fprintf(stderr, "%s: ca_file: %s: %s\n", name, c->gateway.ca_file, strerror(errno));
        status = EX_CONFIG;
    }
    const char *const own[] = {c->gateway.cert_file, c->gateway.key_file};
    for (size_t i = 0; i < 2; i++)
        if (own[i][0] != '\0' && access(own[i], R_OK) != 0) {
            fprintf(stderr, "%s: %s: %s: %s\n", name, i == 0 ? "cert_file" : "key_file", own[i], strerror(errno));
            status = EX_CONFIG;
        }
    if (c->gateway.duty_file[0] == '\0')
        return status;
    enum rc rc = duty_file_read(c->gateway.duty_file, c->gateway.law_file, c->gateway.id, &d, why, sizeof why);
    if (rc == RC_NOT_FOUND) {
        fprintf(stderr, "note: %s: nothing will be judged in the cab until it is there\n", why);
    } else if (rc != RC_OK) {
        fprintf(stderr, "%s: duty_file, law_file: %s\n", name, why);
        status = EX_CONFIG;
    }
    duty_file_free(d);
    return status;
}

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "schoolward-gateway: %s%s%s\ntry schoolward-gateway --help\n", what, value != NULL ? ": " : "", value != NULL ? value : "");
    return EX_USAGE;
}

/* Returns -1 to go on, otherwise the exit status. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
                                          {"replay", required_argument, NULL, 'r'}, {"check-config", no_argument, NULL, 'k'},
                                          {"print-config", no_argument, NULL, 'p'}, {"version", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},         {"hash-card", required_argument, NULL, 'a'},
                                          {0}};
    static char replay[CONFIG_PATH_MAX + 32];
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (c) {
        case 'c': o->config = optarg; break;
        case 's':
        case 'r':
            if (o->sets + 2 > SETS_MAX)
                return usage("too many --set", NULL);
            if (c == 's') {
                o->set[o->sets++] = optarg;
                break;
            }
            if (driver_find("replay") == NULL)
                return usage("this build has no replay driver", NULL);
            snprintf(replay, sizeof replay, "device.replay.file=%s", optarg);
            o->set[o->sets++] = "device.replay.driver=replay";
            o->set[o->sets++] = replay;
            break;
        case 'k': o->check = true; break;
        case 'p': o->print = true; break;
        case 'a': o->card = optarg; break;
        case 'v': printf("schoolward-gateway %s\n", SCHOOLWARD_VERSION); return EX_OK;
        case 'h': fputs(help, stdout); return EX_OK;
        default: return usage("unknown option or missing value", argv[optind - 1]);
        }
    }
    return optind < argc ? usage("unexpected", argv[optind]) : -1;
}

/* Position, inputs and the alarms that come from them. What else is fitted waits until somebody looked, or safe mode is over. */
static void reduce_to_safe(struct config *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->devices; i++) {
        enum event_device_kind kind = c->device[i].driver->kind;
        if (kind == EVENT_DEVICE_GNSS || kind == EVENT_DEVICE_INPUTS) {
            c->device[n++] = c->device[i];
        } else {
            log_warning("care", "safe mode: device %s is not started", c->device[i].name);
            free(c->device[i].options);
        }
    }
    c->devices = n;
}

/* The configuration to run: of the office, if there is one that can be read, otherwise the local one. */
static struct config *choose_config(struct care *care, const struct care_local *local, bool *ret_factory)
{
    static struct conf_problems problems;
    char path[320], why[320];
    while (care_config(care, path, sizeof path)) {
        struct config *c = NULL;
        problems.n = 0;
        if (config_read(path, local->set, local->sets, &c, &problems) == RC_OK) {
            *ret_factory = false;
            return c;
        }
        log_error("care", "%s cannot be used (%s): going back", path, problems.n > 0 ? problems.text[0] : "unreadable");
        if (care_config_bad(care, why, sizeof why) != RC_OK)
            log_error("care", "%s", why);
    }
    *ret_factory = true;
    return NULL;
}

static int start_again(char **argv)
{
    setenv(AGAIN, "1", 1);
    execv("/proc/self/exe", argv);
    log_error("main", "the program cannot start itself anew (%s): the supervisor does", strerror(errno));
    return EX_TEMPFAIL;
}

/* The program proper, with the local configuration read. */
static int serve(struct config *factory, const struct options *o, char **argv)
{
    const char *dir = factory->gateway.state_dir;
    struct care_local local = {.factory = factory, .set = o->set, .sets = o->sets};
    struct care *care = NULL;
    char why[320], secret[UPLINK_SECRET_MAX + 1];
    bool again = getenv(AGAIN) != NULL, damaged = false, is_factory = true;
    unsetenv(AGAIN);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        log_error("main", "state_dir %s cannot be made: %s: make it, or choose another one", dir, strerror(errno));
        return EX_CANTCREAT;
    }
    if (factory->gateway.server[0] != '\0' && care_secret(dir, factory, secret, why, sizeof why) != RC_OK && isatty(STDIN_FILENO))
        enrol_ask(factory);
    explicit_bzero(secret, sizeof secret);
    if (care_open(dir, factory->gateway.id, &care, &damaged) != RC_OK)
        return EX_OSERR;
    if (damaged)
        log_error("care", "%s/care is damaged: running the local configuration and duty until the office sends its own again", dir);
    if (care_boot(care, again, why, sizeof why) != RC_OK)
        log_error("care", "%s", why);
    struct config *config = choose_config(care, &local, &is_factory);
    if (is_factory)
        config = factory;
    if (care_safe(care))
        reduce_to_safe(config);
    local.running = config;
    log_set_level(config_log_level(config));
    int status = run(config, care, &local, again);
    if (!is_factory)
        config_free(config);
    return status == STATUS_AGAIN ? start_again(argv) : status;
}

int main(int argc, char **argv)
{
    struct options o = {.config = "/etc/schoolward/gateway.conf"};
    static struct conf_problems problems; /* 8 kB */
    struct config *config = NULL;
    if (argc > 1 && strcmp(argv[1], "enrol") == 0)
        return enrol_main(argc - 1, argv + 1);
    if (argc > 1 && cli_knows(argv[1]))
        return cli_main(argc - 1, argv + 1);
    int status = read_options(argc, argv, &o);
    if (status >= 0)
        return status;
    enum rc rc = config_read(o.config, o.set, o.sets, &config, &problems);
    if (rc == RC_NO_MEMORY)
        return EX_OSERR;
    if (rc != RC_OK)
        return tell_problems(&problems);
    if (o.card != NULL) {
        status = hash_cards(config, o.card);
        config_free(config);
        return status;
    }
    if (o.print)
        config_print(stdout, config);
    if (o.check) {
        status = check_files(config, o.config);
        if (status == EX_OK && !o.print)
            puts("OK");
    }
    if (o.check || o.print) {
        config_free(config);
        return status < 0 ? EX_OK : status;
    }
    log_set_level(config_log_level(config));
    prepare_process();
    status = serve(config, &o, argv);
    config_free(config);
    return status;
}
