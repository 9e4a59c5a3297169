/* schoolward-gateway doctor: everything a gateway needs, looked at from outside, with the service running or not. */
#include "cli_doctor.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "care.h"
#include "duty_file.h"
#include "port.h"

#define FIX_WAIT_S 10
#define FREE_LOW   (64LL << 20) /* bytes; the outbox keeps 7 days in as much */

void doctor_say(struct doctor *d, enum doctor_mark mark, const char *what, const char *en, const char *zh, ...)
{
    if (d->n == DOCTOR_LINES_MAX)
        return;
    va_list args, again;
    va_start(args, zh);
    va_copy(again, args);
    d->line[d->n].mark = mark;
    snprintf(d->line[d->n].what, sizeof d->line[0].what, "%s", what);
    vsnprintf(d->line[d->n].en, sizeof d->line[0].en, en, args);
    vsnprintf(d->line[d->n].zh, sizeof d->line[0].zh, zh, again);
    va_end(args);
    va_end(again);
    d->n++;
}

/* --- files --- */

static void files(struct doctor *d, const struct config *c)
{
    char why[512], path[400], duty[320], law[320];
    const char *dir = c->gateway.state_dir;
    struct statvfs disk;
    struct care *care = NULL;
    struct duty_file *file = NULL;
    bool damaged = false;
    if (access(dir, R_OK | W_OK | X_OK) != 0) {
        doctor_say(d, DOCTOR_FAIL, "state_dir", "%s: %s: run doctor with sudo; if it says so again, give the folder to user schoolward",
                   "%s：%s：请用 sudo 运行；若仍如此，把该目录的属主改为 schoolward", dir, strerror(errno));
        return;
    }
    if (statvfs(dir, &disk) == 0) {
        long long free_bytes = (long long)disk.f_bavail * (long long)disk.f_frsize;
        doctor_say(d, free_bytes < FREE_LOW ? DOCTOR_WARN : DOCTOR_OK, "state_dir", "%s: %lld MiB free", "%s：剩余 %lld MiB", dir, free_bytes >> 20);
    }
    char head[16] = "";
    snprintf(path, sizeof path, "%s/outbox.db", dir);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        doctor_say(d, errno == ENOENT ? DOCTOR_OK : DOCTOR_FAIL, "outbox", "%s: %s", "%s：%s", path,
                   errno == ENOENT ? "not yet made" : strerror(errno));
    else if (fread(head, 1, sizeof head, f) != sizeof head || memcmp(head, "SQLite format 3", 16) != 0)
        doctor_say(d, DOCTOR_WARN, "outbox", "%s is damaged: the gateway will set it aside at its next start and begin a new one",
                   "%s 已损坏：网关下次启动会将其隔离并重新建立", path);
    else
        doctor_say(d, DOCTOR_OK, "outbox", "%s can be read", "%s 可读", path);
    if (f != NULL)
        fclose(f);
    snprintf(duty, sizeof duty, "%s", c->gateway.duty_file);
    snprintf(law, sizeof law, "%s", c->gateway.law_file);
    if (care_open(dir, c->gateway.id, &care, &damaged) == RC_OK) {
        care_path(care, WIRE_BUNDLE_DUTY, c->gateway.duty_file, duty, sizeof duty);
        care_path(care, WIRE_BUNDLE_LAW, c->gateway.law_file, law, sizeof law);
        if (damaged)
            doctor_say(d, DOCTOR_WARN, "care", "%s/care is damaged: the office sends its settings again", "%s/care 已损坏：中心会重新下发", dir);
        care_close(care);
    }
    if (duty[0] == '\0')
        doctor_say(d, DOCTOR_WARN, "duty", "no duty_file: nothing is judged in the cab%s", "未配置任务文件：车内不作判断%s", "");
    else if (duty_file_read(duty, law, c->gateway.id, &file, why, sizeof why) == RC_OK)
        doctor_say(d, DOCTOR_OK, "duty", "version %s, law %s", "版本 %s，法规包 %s", file->duty_version, file->law_version);
    else
        doctor_say(d, access(duty, F_OK) != 0 ? DOCTOR_WARN : DOCTOR_FAIL, "duty", "%.300s", "%.300s", why);
    duty_file_free(file);
}

static void clock_check(struct doctor *d)
{
    struct timex t = {0};
    char now[CLOCK_TEXT_MAX];
    int state = adjtimex(&t);
    int64_t ms = clock_wall_ms();
    clock_text(ms, now);
    if (ms < INT64_C(1767225600000)) /* 2026-01-01: this program is younger */
        doctor_say(d, DOCTOR_FAIL, "clock", "%s is in the past: receiver with a fix, or chrony with a network, will set it",
                   "%s 早于出厂：定位后或 chrony 联网后会校正", now);
    else if (state < 0 || state == TIME_ERROR || (t.status & STA_UNSYNC) != 0)
        doctor_say(d, DOCTOR_WARN, "clock", "%s, not synchronised: install chrony with firmware-config/chrony/schoolward.conf",
                   "%s，未同步：请安装 chrony 并使用随附配置", now);
    else
        doctor_say(d, DOCTOR_OK, "clock", "%s, synchronised", "%s，已同步", now);
}

/* --- lines --- */

/* Who has it open: readable for root, or for one's own programs. False: nobody that can be seen. */
static bool holder_of(const char *real, char *out, size_t cap)
{
    bool found = false;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc != NULL && !found && (e = readdir(proc)) != NULL;) {
        char path[300], target[PATH_MAX];
        char *end = NULL;
        long pid = strtol(e->d_name, &end, 10);
        if (*end != '\0' || pid <= 0 || pid == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%ld/fd", pid);
        DIR *fds = opendir(path);
        for (struct dirent *f; fds != NULL && !found && (f = readdir(fds)) != NULL;) {
            snprintf(path, sizeof path, "/proc/%ld/fd/%.20s", pid, f->d_name);
            ssize_t n = readlink(path, target, sizeof target - 1);
            if (n <= 0)
                continue;
            target[n] = '\0';
            if (strcmp(target, real) != 0)
                continue;
            char name[64] = "?";
            snprintf(path, sizeof path, "/proc/%ld/comm", pid);
            FILE *comm = fopen(path, "re");
            if (comm != NULL) {
                if (fgets(name, sizeof name, comm) != NULL)
                    name[strcspn(name, "\n")] = '\0';
                fclose(comm);
            }
            snprintf(out, cap, "%s (%ld)", name, pid);
            found = true;
        }
        if (fds != NULL)
            closedir(fds);
    }
    if (proc != NULL)
        closedir(proc);
    return found;
}

static void serial_line(struct doctor *d, const char *what, const char *port)
{
    char real[PATH_MAX], who[100];
    struct stat st;
    if (realpath(port, real) == NULL || stat(real, &st) != 0) {
        doctor_say(d, DOCTOR_FAIL, what, "%s: %s: is the adapter plugged in? names that stay are in /dev/schoolward and /dev/serial/by-id",
                   "%s：%s：适配器是否插好？固定名称见 /dev/schoolward 与 /dev/serial/by-id", port, strerror(errno));
        return;
    }
    if (!S_ISCHR(st.st_mode)) {
        doctor_say(d, DOCTOR_FAIL, what, "%s is not a serial line", "%s 不是串口", port);
        return;
    }
    if (holder_of(real, who, sizeof who)) {
        bool ours = strncmp(who, "schoolward-gate", 15) == 0;
        doctor_say(d, ours ? DOCTOR_OK : DOCTOR_FAIL, what,
                   ours ? "%s, in use by %s" : "%s is held by %s: stop that program, or give each its own line",
                   ours ? "%s，由 %s 使用" : "%s 被 %s 占用：停止该程序，或各用一条线", port, who);
        return;
    }
    if (access(real, R_OK | W_OK) != 0)
        doctor_say(d, DOCTOR_FAIL, what, "%s: no right to use it: adduser schoolward dialout (and run doctor with sudo)",
                   "%s：无权使用：adduser schoolward dialout（并用 sudo 运行 doctor）", port);
    else
        doctor_say(d, DOCTOR_OK, what, "%s is there and free", "%s 存在且空闲", port);
}

static void tcp_line(struct doctor *d, const char *what, const char *name)
{
    struct port_setup s = {.baud = 9600, .data_bits = 8, .stop_bits = 1};
    struct port *p = NULL;
    char why[224] = "";
    snprintf(s.path, sizeof s.path, "%.*s", PORT_PATH_MAX, name);
    if (port_open(&s, &p, why, sizeof why) == RC_OK && port_ready(p, 3000) == RC_OK)
        doctor_say(d, DOCTOR_OK, what, "%s answers", "%s 有应答", name);
    else
        doctor_say(d, DOCTOR_FAIL, what, "%s does not answer: is the device on, address and cable right? %s",
                   "%s 无应答：设备是否通电，地址与网线是否正确？%s", name, why);
    port_close(p);
}

/* Ask gpsd for reports and wait for a position. */
static void gpsd_line(struct doctor *d, const char *what, const char *host, unsigned number, int wait_s)
{
    struct port_setup s = {.baud = 9600, .data_bits = 8, .stop_bits = 1};
    struct port *p = NULL;
    char why[224] = "", buf[8193];
    static const char watch[] = "?WATCH={\"enable\":true,\"json\":true};\n";
    snprintf(s.path, sizeof s.path, strchr(host, ':') != NULL ? "tcp:[%s]:%u" : "tcp:%s:%u", host, number);
    if (port_open(&s, &p, why, sizeof why) != RC_OK || port_ready(p, 3000) != RC_OK || port_write(p, watch, sizeof watch - 1) != RC_OK) {
        doctor_say(d, DOCTOR_FAIL, what, "no gpsd at %s port %u: systemctl status gpsd; apt install gpsd",
                   "%s 端口 %u 没有 gpsd：systemctl status gpsd；apt install gpsd", host, number);
        port_close(p);
        return;
    }
    bool reports = false, fix = false;
    for (int64_t until = clock_mono_ms() + (int64_t)wait_s * 1000; !fix && clock_mono_ms() < until;) {
        struct pollfd f = {.fd = port_fd(p), .events = POLLIN};
        size_t n = 0;
        if (poll(&f, 1, 500) <= 0)
            continue;
        enum rc rc = port_read(p, buf, sizeof buf - 1, &n);
        if (rc == RC_END || rc == RC_IO)
            break;
        buf[n] = '\0';
        reports |= strstr(buf, "\"TPV\"") != NULL;
        fix = strstr(buf, "\"mode\":2") != NULL || strstr(buf, "\"mode\":3") != NULL;
    }
    port_close(p);
    if (fix)
        doctor_say(d, DOCTOR_OK, what, "gpsd at %s port %u has a fix", "%s 端口 %u 的 gpsd 已定位", host, number);
    else if (reports)
        doctor_say(d, DOCTOR_WARN, what,
                   "gpsd at %s port %u has no fix within %d s: aerial with a view of the sky, cable, a few minutes after power-up",
                   "%s 端口 %u 的 gpsd 在 %d 秒内未定位：天线是否见天、线缆是否完好，上电后等几分钟", host, number, wait_s);
    else
        doctor_say(d, DOCTOR_FAIL, what,
                   "gpsd at %s port %u hears no receiver within %d s: DEVICES in /etc/default/gpsd, cable and power of the receiver",
                   "%s 端口 %u 的 gpsd 在 %d 秒内收不到接收机：检查 /etc/default/gpsd 的 DEVICES、线缆与供电", host, number, wait_s);
}

static bool option(const struct config_device *d, const char *name, char *out, size_t cap)
{
    const struct field *f = field_find(d->driver->options, d->driver->options_n, name);
    return f != NULL && field_text(f, d->options, out, cap) < (int)cap;
}

static void lines(struct doctor *d, const struct config *c, int wait_s)
{
    char port[160], host[128], what[48];
    for (size_t i = 0; i < c->devices; i++) {
        const struct config_device *dev = &c->device[i];
        snprintf(what, sizeof what, "device %s", dev->name);
        if (!option(dev, "port", port, sizeof port))
            continue;
        if (option(dev, "host", host, sizeof host))
            gpsd_line(d, what, host, (unsigned)strtoul(port, NULL, 10), wait_s);
        else if (port[0] == '/')
            serial_line(d, what, port);
        else if (strncmp(port, "tcp:", 4) == 0)
            tcp_line(d, what, port);
        else
            doctor_say(d, DOCTOR_OK, what, "%s: the device calls us", "%s：由设备主动连接", port);
    }
    if (c->devices == 0)
        doctor_say(d, DOCTOR_WARN, "device", "no [device NAME] is configured%s", "未配置任何设备%s", "");
}

static void service(struct doctor *d, const struct config *c)
{
    char why[400];
    int fd = -1;
    enum rc rc = cli_ask(c, "status\n", &fd, why, sizeof why);
    if (rc == RC_OK) {
        close(fd);
        doctor_say(d, DOCTOR_OK, "service", "running", "正在运行");
    } else if (rc == RC_DENIED) {
        doctor_say(d, DOCTOR_WARN, "service", "may not be asked by you: use sudo, or join group schoolward",
                   "无权询问网关：用 sudo，或加入 schoolward 组");
    } else if (rc == RC_NOT_FOUND) {
        doctor_say(d, DOCTOR_WARN, "service", "not running: systemctl status schoolward-gateway", "未在运行：systemctl status schoolward-gateway");
    } else {
        doctor_say(d, DOCTOR_WARN, "service", "does not answer: %s", "没有应答：%s", why);
    }
}

/* --- the page --- */

static void print_json(const struct doctor *d)
{
    static const char *const marks[] = {"ok", "warn", "fail"};
    printf("[");
    for (size_t i = 0; i < d->n; i++) {
        printf("%s{\"mark\":\"%s\",\"what\":\"%s\",\"text\":\"", i > 0 ? "," : "", marks[d->line[i].mark], d->line[i].what);
        for (const unsigned char *t = (const unsigned char *)d->line[i].en; *t != '\0'; t++) {
            if (*t == '"' || *t == '\\')
                printf("\\%c", *t);
            else if (*t >= 0x20)
                putchar(*t);
        }
        printf("\"}");
    }
    printf("]\n");
}

int cli_doctor(const struct cli *c, const struct config *config, const struct conf_problems *problems)
{
    static struct doctor d;
    static const char *const en[] = {"OK  ", "WARN", "FAIL"}, *const zh[] = {"正常", "注意", "故障"};
    if (config == NULL) {
        for (size_t i = 0; i < problems->n && i < CONF_PROBLEMS_MAX; i++)
            doctor_say(&d, DOCTOR_FAIL, "configuration", "%s", "%s", problems->text[i]);
    } else {
        doctor_say(&d, DOCTOR_OK, "configuration", "%s: %zu devices", "%s：%zu 个设备", c->config, config->devices);
        service(&d, config);
        files(&d, config);
        clock_check(&d);
        lines(&d, config, c->seconds > 0 ? c->seconds : FIX_WAIT_S);
        doctor_server(&d, config);
    }
    int worst = 0;
    bool chinese = cli_zh(c);
    for (size_t i = 0; i < d.n; i++)
        worst = (int)d.line[i].mark > worst ? (int)d.line[i].mark : worst;
    if (c->json) {
        print_json(&d);
        return worst;
    }
    for (size_t i = 0; i < d.n; i++) {
        printf("%s  ", (chinese ? zh : en)[d.line[i].mark]);
        cli_pad(stdout, d.line[i].what, 24);
        printf("%s\n", chinese ? d.line[i].zh : d.line[i].en);
    }
    return worst;
}
