/*
 * schoolward-server - the program in the office. This file reads the options, starts the modules in the order in which they need each other, wires them,
 * and ends them in the reverse order.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <uv.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "api.h"
#include "care.h"
#include "config.h"
#include "dump.h"
#include "footage.h"
#include "ingest.h"
#include "live.h"
#include "metrics.h"
#include "notify.h"
#include "replay.h"
#include "series.h"

enum {
    EXIT_CONFIG = 78, /* EX_CONFIG of sysexits.h */
    CHECKPOINT_S = 60,
    DRAIN_MS = 1500, /* how long gateways have to take their close frame */
    DRAIN_TURN_MS = 50,
    FLUSH_MS = 3000, /* and the ledger to write what it has */
    NOTICE_MS = 120000,
    FDS_BESIDE = 256, /* files, screens, threads */
};

enum phase { RUNNING, DRAINING, FLUSHING, CLOSING };

struct server {
    struct config_server config;
    uv_loop_t loop;
    uv_timer_t tick, patience;
    uv_signal_t sigterm, sigint, sighup;
    struct lws_context *lws;
    struct lws_protocols protocol[4];
    struct law *law;
    struct duty_set *set;
    struct fleet *fleet;
    struct journal *journal;
    struct ledger *ledger;
    struct footage *footage; /* NULL: no pictures are taken */
    struct access *access;
    struct devices *devices;
    struct arrive *arrive;
    struct notify *notify;
    struct series *series;
    struct api *api;
    struct ingest *ingest;
    struct live *live;
    enum phase phase;
    int exit_code;
    char trouble[320];       /* of the journal; "" = it works */
    unsigned since_checkpoint_s, drain_turns;
    bool checkpoint_waits;   /* for the ledger */
    uint64_t findings, findings_flushed;
    uint64_t late_findings, checkpoints;
    bool journal_open, ledger_open, footage_open;
};

/* --- the law found something --- */

static void record(const struct server *s, const struct fleet_vehicle *v, const struct rules_finding *f, bool late, struct ledger_finding *ret_x)
{
    struct ledger_finding x = {.f = *f, .late = late};
    const struct duty_route *r = duty_route_at(s->set, v->duty, f->time_ms);
    snprintf(x.vehicle, sizeof x.vehicle, "%s", v->duty->id);
    snprintf(x.plate, sizeof x.plate, "%s", v->duty->plate);
    snprintf(x.route, sizeof x.route, "%s", r != NULL ? r->id : "");
    snprintf(x.law_pack, sizeof x.law_pack, "%s", law_pack(s->law));
    snprintf(x.law_version, sizeof x.law_version, "%s", law_version(s->law));
    *ret_x = x;
}

static void on_finding(void *arg, const struct fleet_vehicle *v, const struct rules_finding *f, bool late, bool replayed)
{
    struct server *s = arg;
    struct ledger_finding x;
    record(s, v, f, late, &x);
    s->findings++;
    s->late_findings += late;
    ledger_put_finding(s->ledger, &x);
    if (s->series != NULL)
        series_put_finding(s->series, &x);
    if (!replayed && s->live != NULL)
        live_finding(s->live, f->change == RULES_OPENED ? "opened" : f->change == RULES_RAISED ? "raised" : "closed", &x);
}

static int64_t noticed_ms(void *arg, const struct fleet_vehicle *v, const char *stop)
{
    struct server *s = arg;
    struct arrive_run run = arrive_of(s->arrive, v, clock_wall_ms());
    char key[ARRIVE_KEY_MAX];
    if (run.run == NULL)
        return 0;
    arrive_key(run.run->id, run.date, v->duty->id, stop, key);
    return notify_made_ms(s->notify, key);
}

static void on_acknowledged(void *arg, const struct ledger_finding *x)
{
    struct server *s = arg;
    live_finding(s->live, "acknowledged", x);
}

static void on_notice(void *arg, const struct arrive_notice *n)
{
    struct server *s = arg;
    char key[ARRIVE_KEY_MAX];
    struct json j;
    int64_t now = clock_wall_ms();
    arrive_key(n->run->id, n->date, n->vehicle->duty->id, n->stop->id, key);
    json_init(&j, 4096);
    json_begin_object(&j, NULL);
    json_text(&j, "kind", "arriving");
    json_text(&j, "delivery", key);
    json_text(&j, "run", n->run->id);
    json_text(&j, "vehicle", n->vehicle->duty->id);
    json_text(&j, "plate", n->vehicle->duty->plate);
    json_text(&j, "stop", n->stop->id);
    if (n->eta_ms != 0)
        json_int(&j, "eta_ms", n->eta_ms);
    else
        json_none(&j, "eta_ms");
    json_int(&j, "planned_ms", n->planned_ms);
    json_int(&j, "created_ms", now);
    json_end_object(&j);
    char *text = j.failed ? NULL : strndup(j.text, j.n);
    enum rc rc = text == NULL ? RC_NO_MEMORY : notify_send(s->notify, key, text, now + NOTICE_MS);
    if (rc != RC_OK && rc != RC_END)
        log_warning("main", "an arrival notice could not be kept: %s", rc_text(rc));
    free(text);
    json_free(&j);
}

/* --- journal, checkpoints --- */

static void on_settled(void *arg, uint64_t ticket)
{
    struct server *s = arg;
    if (s->ingest != NULL)
        ingest_settled(s->ingest, ticket);
}

static void on_trouble(void *arg, const char *text)
{
    struct server *s = arg;
    snprintf(s->trouble, sizeof s->trouble, "%s", text != NULL ? text : "");
}

static void save_now(struct server *s)
{
    void *blob;
    size_t n;
    if (fleet_snapshot(s->fleet, &blob, &n) != RC_OK) {
        log_warning("main", "no memory for a checkpoint: the next start replays more");
        return;
    }
    journal_save(s->journal, blob, n, free);
    s->checkpoints++;
}

/*
 * A checkpoint lets the next start skip the groups before it, so their findings have to be in the ledger first. If another was made while the ledger
 * was writing, it is asked again.
 */
static void on_flushed(void *arg)
{
    struct server *s = arg;
    if (s->phase == CLOSING)
        return;
    if (s->findings != s->findings_flushed) {
        s->findings_flushed = s->findings;
        ledger_flush(s->ledger, on_flushed, s);
        return;
    }
    s->checkpoint_waits = false;
    save_now(s);
    if (s->phase == FLUSHING)
        uv_timer_start(&s->patience, s->patience.timer_cb, 0, 0);
}

static void checkpoint(struct server *s)
{
    if (s->checkpoint_waits)
        return;
    s->checkpoint_waits = true;
    s->findings_flushed = s->findings;
    ledger_flush(s->ledger, on_flushed, s);
}

static void on_footage(void *arg, const char *gateway, const struct wire_media_ack *a)
{
    struct server *s = arg;
    if (s->ingest != NULL)
        ingest_footage_answer(s->ingest, gateway, a);
}

/* --- what the api asks us --- */

static int ready(void *arg, char *why, size_t cap)
{
    const struct server *s = arg;
    if (s->trouble[0] != '\0')
        snprintf(why, cap, "%s", s->trouble);
    else if (s->phase != RUNNING)
        snprintf(why, cap, "stopping");
    return s->trouble[0] == '\0' && s->phase == RUNNING;
}

static void metrics(void *arg, char *out, size_t cap)
{
    const struct server *s = arg;
    const struct metrics_sources sources = {s->ingest, s->journal,  s->devices,       s->notify,     s->live,
                                            s->series, s->footage, s->findings, s->late_findings, s->checkpoints};
    metrics_write(&sources, out, cap);
}

/* --- start --- */

static bool fail(const char *what, const char *why)
{
    log_error("main", "%s: %s", what, why);
    return false;
}

static char *read_text(const char *path, size_t *ret_n, char *why, size_t cap)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    size_t n = 0;
    ssize_t k = -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < (256LL << 20))
        text = malloc((size_t)st.st_size + 1);
    while (text != NULL && n < (size_t)st.st_size && (k = read(fd, text + n, (size_t)st.st_size - n)) > 0)
        n += (size_t)k;
    if (text == NULL || k < 0) {
        snprintf(why, cap, "%s: cannot be read: %s", path, fd < 0 || k < 0 ? strerror(errno) : "not a file of a sensible size");
        free(text);
        text = NULL;
    }
    if (fd >= 0)
        close(fd);
    if (text != NULL) {
        text[n] = '\0';
        *ret_n = n;
    }
    return text;
}

static bool read_law_and_duty(struct server *s, char *why, size_t cap)
{
    size_t n = 0;
    char *text = read_text(s->config.server.law_file, &n, why, cap);
    if (text == NULL)
        return false;
    enum rc rc = law_read(text, n, s->config.server.law_file, &s->law, why, cap);
    free(text);
    if (rc != RC_OK)
        return false;
    text = read_text(s->config.server.duty_file, &n, why, cap);
    if (text == NULL)
        return false;
    char place[200];
    rc = duty_read(text, n, &s->set, place, sizeof place);
    free(text);
    if (rc != RC_OK)
        snprintf(why, cap, "%s: %s", s->config.server.duty_file, place);
    return rc == RC_OK;
}

/* The key that signs links of parents: made at the first start. */
static bool link_key(const char *path, uint8_t key[32], char *why, size_t cap)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        bool ok = fd >= 0 && RAND_bytes(key, 32) == 1 && write(fd, key, 32) == 32 && fsync(fd) == 0;
        if (fd >= 0)
            close(fd);
        if (!ok)
            snprintf(why, cap, "%s: cannot be made: %s", path, strerror(errno));
        return ok;
    }
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && read(fd, key, 32) == 32 && st.st_size == 32;
    if (!ok)
        snprintf(why, cap, "%s: must hold 32 bytes: remove it and a new one is made (links given out before stop working)", path);
    else if ((st.st_mode & 077) != 0)
        snprintf(why, cap, "%s: others may read it: chmod 600", path);
    if (fd >= 0)
        close(fd);
    return ok && (st.st_mode & 077) == 0;
}

static bool series_tags(void *arg, const char *gateway, const char **ret_vehicle, const char **ret_route, int64_t time_ms)
{
    struct server *s = arg; /* on the series thread: only what never changes after the start */
    const struct fleet_vehicle *v = fleet_by_gateway(s->fleet, gateway);
    if (v == NULL)
        return false;
    const struct duty_route *r = duty_route_at(s->set, v->duty, time_ms);
    *ret_vehicle = v->duty->id;
    *ret_route = r != NULL ? r->id : "";
    return true;
}

static bool start_series(struct server *s, char *why, size_t cap)
{
    static char password[256], token[512]; /* for as long as the thread may read them */
    if (s->config.series.api == SERIES_OFF)
        return true;
    if (config_server_secret(s->config.series.password_file, password, sizeof password, why, cap) != RC_OK ||
        config_server_secret(s->config.series.token_file, token, sizeof token, why, cap) != RC_OK)
        return false;
    struct series_setup setup = {.api = (enum series_api)s->config.series.api,
                                 .url = s->config.series.url,
                                 .database = s->config.series.database,
                                 .retention = s->config.series.retention,
                                 .org = s->config.series.org,
                                 .bucket = s->config.series.bucket,
                                 .user = s->config.series.user,
                                 .password = password,
                                 .token = token,
                                 .state_dir = s->config.server.state_dir,
                                 .batch_points = (int)s->config.series.batch_points,
                                 .flush_ms = (int)s->config.series.flush_ms,
                                 .timeout_ms = (int)s->config.series.timeout_ms,
                                 .ledger = s->ledger};
    return series_start(&setup, s->journal, series_tags, s, &s->series, why, cap) == RC_OK;
}

/* What remembers. */
static bool start_memory(struct server *s, char *why, size_t cap)
{
    char path[512];
    const char *dir = s->config.server.state_dir;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        snprintf(why, cap, "%s: cannot be made: %s", dir, strerror(errno));
        return false;
    }
    snprintf(path, sizeof path, "%s/journal", dir);
    struct journal_setup js = {path, s->config.journal.group_ms, on_settled, on_trouble, s};
    if (journal_open(&s->loop, &js, &s->journal, why, cap) != RC_OK)
        return false;
    s->journal_open = true;
    snprintf(path, sizeof path, "%s/ledger.db", dir);
    if (ledger_open(&s->loop, path, &s->ledger, why, cap) != RC_OK)
        return false;
    s->ledger_open = true;
    snprintf(path, sizeof path, "%s/media", dir);
    struct footage_setup fs = {.dir = path,
                               .gateway_bytes = (uint64_t)s->config.media.gateway_mb << 20,
                               .total_bytes = (uint64_t)s->config.media.total_mb << 20,
                               .item_max = (uint32_t)s->config.media.item_mb << 20,
                               .reserve_bytes = (uint64_t)s->config.media.reserve_mb << 20,
                               .on_answer = on_footage,
                               .arg = s};
    if (s->config.media.total_mb > 0 && footage_open(&s->loop, &fs, &s->footage, why, cap) != RC_OK)
        return false;
    s->footage_open = s->footage != NULL;
    if (devices_open(dir, &s->devices, why, cap) != RC_OK)
        return false;
    static char secret[256];
    if (config_server_secret(s->config.notify.secret_file, secret, sizeof secret, why, cap) != RC_OK)
        return false;
    snprintf(path, sizeof path, "%s/notices.db", dir);
    struct notify_setup ns = {path, s->config.notify.url, secret};
    if (notify_open(&ns, &s->notify, why, cap) != RC_OK)
        return false;
    uint8_t key[32];
    return link_key(s->config.server.link_key_file, key, why, cap) && access_open(s->config.server.tokens_file, key, &s->access, why, cap) == RC_OK;
}

/* What thinks. */
static bool start_mind(struct server *s, char *why, size_t cap)
{
    const struct fleet_listener l = {.on_finding = on_finding, .arg = s};
    const struct bus_freshness_limits limits = {s->config.server.fresh_s * 1000, s->config.server.delayed_s * 1000, s->config.server.stale_s * 1000};
    enum rc rc = fleet_new(s->law, s->set, &s->fleet);
    if (rc == RC_OK)
        fleet_set_freshness(s->fleet, &limits);
    if (rc == RC_OK)
        rc = fleet_listen(s->fleet, &l);
    if (rc == RC_OK)
        rc = arrive_new(s->fleet, s->config.server.time_zone, &s->arrive);
    if (rc == RC_INVALID)
        snprintf(why, cap, "server.time_zone: '%.63s' is not a zone of this system: install tzdata or write one like Asia/Shanghai", s->config.server.time_zone);
    else if (rc != RC_OK)
        snprintf(why, cap, "fleet: %s", rc_text(rc));
    return rc == RC_OK;
}

static void on_lws_line(int level, const char *line)
{
    static struct log_gate gate; /* a full file table makes it say the same thing 100,000 times a second */
    (void)level;
    if (log_gate_trouble(&gate, clock_mono_ms()))
        log_warning("lws", "%.*s (%u times)", (int)strcspn(line, "\n"), line, gate.since_said);
}

/* The doors. */
static bool start_doors(struct server *s, char *why, size_t cap)
{
    struct ingest_setup is = {&s->loop,
                              s->fleet,
                              s->journal,
                              s->footage,
                              s->devices,
                              (size_t)s->config.ingest.max_connections,
                              s->config.ingest.rate_per_s,
                              (uint64_t)s->config.ingest.bytes_per_s,
                              s->config.ingest.ack_ms,
                              s->config.ingest.hello_s * 1000,
                              s->config.ingest.silent_s * 1000};
    const struct live_limits ll = {(size_t)s->config.live.unread_kib * 1024, (unsigned)s->config.live.stuck_s};
    struct api_setup as = {.loop = &s->loop,
                           .fleet = s->fleet,
                           .journal = s->journal,
                           .ledger = s->ledger,
                           .footage = s->footage,
                           .access = s->access,
                           .devices = s->devices,
                           .arrive = s->arrive,
                           .web_dir = s->config.server.web_dir,
                           .maps_dir = s->config.server.maps_dir,
                           .public_url = s->config.server.public_url,
                           .time_zone = s->config.server.time_zone,
                           .ready = ready,
                           .metrics = metrics,
                           .noticed_ms = noticed_ms,
                           .on_acknowledged = on_acknowledged,
                           .arg = s};
    if (ingest_new(&is, &s->ingest) != RC_OK || live_new(s->fleet, s->arrive, s->access, &ll, &s->live) != RC_OK) {
        snprintf(why, cap, "out of memory");
        return false;
    }
    devices_listen(s->devices, ingest_devices_changed, s->ingest);
    if (api_new(&as, &s->api, why, cap) != RC_OK)
        return false;
    api_protocol(s->api, &s->protocol[0]); /* first: it takes plain HTTP, and refuses a websocket without a subprotocol */
    ingest_protocol(s->ingest, &s->protocol[1]);
    live_protocol(s->live, &s->protocol[2]);
    void *loops[] = {&s->loop};
    struct lws_context_creation_info info = {
        .iface = s->config.address,
        .port = s->config.port,
        .protocols = s->protocol,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        /* With IPv6 on, libwebsockets takes an IPv4 address for "every interface". HTTP/2 is broken in 4.1.6. */
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6 | LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND,
        .alpn = "http/1.1",
        .foreign_loops = loops,
        .max_http_header_pool = 256, /* handshakes at a time; the others wait their turn */
        .timeout_secs = 20,
        .server_string = "schoolward",
    };
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_line);
    s->lws = lws_create_context(&info);
    if (s->lws == NULL)
        snprintf(why, cap, "cannot listen on %s: is the port taken? (ss -ltnp)", s->config.server.listen);
    return s->lws != NULL;
}

static void raise_limits(struct server *s)
{
    struct rlimit r;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
        return;
    int64_t most = (int64_t)r.rlim_cur - FDS_BESIDE;
    if (most < s->config.ingest.max_connections) {
        log_warning("main", "only %lld file descriptors: at most %lld gateways; raise LimitNOFILE for more", (long long)r.rlim_cur, (long long)most);
        s->config.ingest.max_connections = most > 10 ? most : 10;
    }
}

/* --- running and ending --- */

static void on_tick(uv_timer_t *t)
{
    struct server *s = t->data;
    int64_t now = clock_wall_ms();
    fleet_tick(s->fleet, now);
    arrive_tick(s->arrive, now);
    ingest_tick(s->ingest);
    devices_tick(s->devices, now);
    live_tick(s->live, now);
    if (++s->since_checkpoint_s >= CHECKPOINT_S && s->phase == RUNNING) {
        s->since_checkpoint_s = 0;
        checkpoint(s);
    }
}

static void close_handle(uv_handle_t *h)
{
    if (h->data != NULL && !uv_is_closing(h))
        uv_close(h, NULL);
}

static void end_loop(struct server *s)
{
    if (s->journal_open || s->ledger_open || s->footage_open)
        return;
    close_handle((uv_handle_t *)&s->tick);
    close_handle((uv_handle_t *)&s->patience);
    close_handle((uv_handle_t *)&s->sigterm);
    close_handle((uv_handle_t *)&s->sigint);
    close_handle((uv_handle_t *)&s->sighup);
    if (s->lws != NULL)
        lws_context_destroy(s->lws);
}

static void on_journal_closed(void *arg)
{
    struct server *s = arg;
    s->journal_open = false;
    s->journal = NULL;
    end_loop(s);
}

static void on_ledger_closed(void *arg)
{
    struct server *s = arg;
    s->ledger_open = false;
    s->ledger = NULL;
    end_loop(s);
}

static void on_footage_closed(void *arg)
{
    struct server *s = arg;
    s->footage_open = false;
    s->footage = NULL;
    end_loop(s);
}

/* The doors are shut and what they took in is written: now the memory ends, last opened first. */
static void close_memory(struct server *s)
{
    s->phase = CLOSING;
    api_stop(s->api);
    series_stop(s->series);
    s->series = NULL;
    if (s->notify != NULL)
        notify_close(s->notify);
    s->notify = NULL;
    bool ledger = s->ledger_open, journal = s->journal_open, footage = s->footage_open;
    if (footage)
        footage_close(s->footage, on_footage_closed, s);
    if (ledger)
        ledger_close(s->ledger, on_ledger_closed, s);
    if (journal)
        journal_close(s->journal, on_journal_closed, s);
    if (!ledger && !journal && !footage)
        end_loop(s);
}

static void on_patience(uv_timer_t *t)
{
    struct server *s = t->data;
    struct ingest_figures f;
    if (s->phase == DRAINING) {
        ingest_figures(s->ingest, &f);
        if (f.connections > 0 && ++s->drain_turns < DRAIN_MS / DRAIN_TURN_MS)
            return;
        s->phase = FLUSHING;
        uv_timer_start(t, on_patience, FLUSH_MS, 0);
        checkpoint(s);
        return;
    }
    if (s->phase == FLUSHING)
        close_memory(s);
}

static void on_stop(uv_signal_t *sig, int number)
{
    struct server *s = sig->data;
    if (s->phase != RUNNING)
        return;
    log_notice("main", "%s: stopping", number == SIGINT ? "interrupt" : "asked to stop");
    sd_notify(0, "STOPPING=1");
    s->phase = DRAINING;
    ingest_drain(s->ingest);
    uv_timer_start(&s->patience, on_patience, DRAIN_TURN_MS, DRAIN_TURN_MS);
}

static void on_hup(uv_signal_t *sig, int number)
{
    (void)sig;
    (void)number;
    log_notice("main", "hang-up ignored: restart to read the configuration again; gateways keep their data meanwhile");
}

static bool start(struct server *s)
{
    char why[512] = "";
    raise_limits(s);
    if (!read_law_and_duty(s, why, sizeof why) || !start_mind(s, why, sizeof why))
        return fail("start", why);
    if (!start_memory(s, why, sizeof why))
        return fail("start", why);
    arrive_set_notice(s->arrive, on_notice, s);
    enum rc rc = replay_fleet(s->fleet, s->journal);
    if (rc != RC_OK)
        return fail("the journal cannot be read", rc_text(rc));
    if (!start_series(s, why, sizeof why) || !start_doors(s, why, sizeof why))
        return fail("start", why);
    uv_timer_start(&s->tick, on_tick, 1000, 1000);
    uv_signal_start(&s->sigterm, on_stop, SIGTERM);
    uv_signal_start(&s->sigint, on_stop, SIGINT);
    uv_signal_start(&s->sighup, on_hup, SIGHUP);
    log_notice("main", "schoolward-server " SCHOOLWARD_VERSION " listens on http://%s: %zu vehicles, law %s %s", s->config.server.listen, fleet_count(s->fleet),
               law_pack(s->law), law_version(s->law));
    sd_notify(0, "READY=1");
    return true;
}

static int run(struct server *s)
{
    uv_loop_init(&s->loop);
    uv_timer_init(&s->loop, &s->tick);
    uv_timer_init(&s->loop, &s->patience);
    uv_signal_init(&s->loop, &s->sigterm);
    uv_signal_init(&s->loop, &s->sigint);
    uv_signal_init(&s->loop, &s->sighup);
    s->tick.data = s->patience.data = s->sigterm.data = s->sigint.data = s->sighup.data = s;
    if (!start(s)) {
        s->exit_code = EXIT_FAILURE;
        close_memory(s);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    if (s->lws != NULL)
        lws_context_destroy(s->lws); /* the second time frees it: its handles are closed now */
    api_free(s->api);
    live_free(s->live);
    ingest_free(s->ingest);
    devices_close(s->devices);
    arrive_free(s->arrive);
    fleet_free(s->fleet);
    access_free(s->access);
    duty_free(s->set);
    law_free(s->law);
    if (uv_loop_close(&s->loop) != 0)
        log_debug("main", "handles were still open at the end");
    if (s->exit_code == 0)
        log_notice("main", "stopped: everything acknowledged is on disk");
    return s->exit_code;
}

/* --- options --- */

static void usage(FILE *out)
{
    fputs("usage: schoolward-server [--config FILE] [--set section.key=value]...\n"
          "       schoolward-server --check-config | --print-config | --print-openapi | --dump-journal | --version | --help\n"
          "  --config FILE    configuration (default /etc/schoolward/server.conf)\n"
          "  --set S.K=V      override one value; may be repeated; without --config no file is read\n"
          "  --check-config   say what is wrong with the configuration, the law pack and the fleet file; exit 0 or 78\n"
          "  --print-config   print every setting in effect, with unit, range and default\n"
          "  --print-openapi  print the OpenAPI document of the HTTP interface\n"
          "  --dump-journal   print every event in the journal, a JSON object a line; the server may be running\n",
          out);
    fputs(care_usage, out);
}

static int check(struct server *s)
{
    char why[512] = "";
    if (!read_law_and_duty(s, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        return EXIT_CONFIG;
    }
    printf("configuration is good: %zu vehicles, %zu routes, law %s %s\n", s->set->vehicles, s->set->routes, law_pack(s->law), law_version(s->law));
    duty_free(s->set);
    law_free(s->law);
    return EXIT_SUCCESS;
}

static int print_openapi(void)
{
    struct json j;
    json_init(&j, 4 << 20);
    api_openapi(&j);
    bool ok = !j.failed && fwrite(j.text, 1, j.n, stdout) == j.n && fputc('\n', stdout) != EOF;
    json_free(&j);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    enum { SETS_MAX = 64 };
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},    {"set", required_argument, NULL, 's'},
                                            {"check-config", no_argument, NULL, 'k'},    {"print-config", no_argument, NULL, 'p'},
                                            {"print-openapi", no_argument, NULL, 'o'},   {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},            {"dump-journal", no_argument, NULL, 'd'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    static struct server server; /* some kilobytes, and all-zero is its start */
    static struct conf_problems problems;
    const char *path = NULL, *set[SETS_MAX];
    size_t sets = 0;
    int todo = 0;
    bool as_json = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'c') {
            path = optarg;
        } else if (c == 's' && sets < SETS_MAX) {
            set[sets++] = optarg;
        } else if (c == 'j') {
            as_json = true;
        } else if (c == 'h') {
            usage(stdout);
            return EXIT_SUCCESS;
        } else if (c == 'v') {
            puts("schoolward-server " SCHOOLWARD_VERSION);
            return EXIT_SUCCESS;
        } else if (c == 'o') {
            return print_openapi();
        } else if (c == 'k' || c == 'p' || c == 'd') {
            todo = c;
        } else {
            usage(stderr);
            return 64;
        }
    }
    bool command = optind < argc && todo == 0 && (strcmp(argv[optind], "device") == 0 || strcmp(argv[optind], "order") == 0);
    if (optind < argc && !command) {
        usage(stderr);
        return 64;
    }
    if (path == NULL && sets == 0)
        path = "/etc/schoolward/server.conf";
    enum rc rc = config_server_read(path, set, sets, &server.config, &problems);
    for (size_t i = 0; i < problems.n && i < CONF_PROBLEMS_MAX; i++)
        fprintf(stderr, "%s\n", problems.text[i]);
    if (rc != RC_OK) {
        fprintf(stderr, "schoolward-server: %zu problems in the configuration, see above\n", problems.n);
        return EXIT_CONFIG;
    }
    log_set_level(config_server_log_level(&server.config));
    if (command) {
        int status = care_command(&server.config, argv + optind, (size_t)(argc - optind), as_json);
        if (status == 64)
            usage(stderr);
        return status;
    }
    if (todo == 'p') {
        config_server_print(stdout, &server.config);
        return EXIT_SUCCESS;
    }
    if (todo == 'd') {
        char dir[CONFIG_SERVER_PATH_MAX + 16];
        snprintf(dir, sizeof dir, "%s/journal", server.config.server.state_dir);
        rc = dump_journal(dir, stdout);
        if (rc != RC_OK)
            fprintf(stderr, "schoolward-server: %s: %s\n", dir, rc_text(rc));
        return rc == RC_OK ? EXIT_SUCCESS : 74;
    }
    return todo == 'k' ? check(&server) : run(&server);
}
