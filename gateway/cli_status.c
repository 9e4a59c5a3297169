/* schoolward-gateway status: what the running gateway says of itself, on 80 columns in Chinese or English, or as it comes (--json). */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli.h"

#define ANSWER_MAX 65536
#define LABEL      14 /* columns */

struct page {
    json_t *root, *report;
    bool zh;
};

/* --- words --- */

static const struct {
    const char *word, *zh;
} words[] = {{"ok", "正常"},
             {"silent", "无数据"},
             {"failed", "故障"},
             {"absent", "不存在"},
             {"gnss", "卫星定位"},
             {"counter", "计数器"},
             {"inputs", "输入输出"},
             {"camera", "摄像机"},
             {"panel", "面板"},
             {"replay", "回放"},
             {"cards", "刷卡机"},
             {"none", "无"},
             {"saved", "上次保存"},
             {"system", "系统"},
             {"ntp", "网络校时"},
             {"factory", "本机文件"},
             {"kept", "已下发"},
             {"trial", "试用中"},
             {"door", "车门"},
             {"attendant", "照管员"},
             {"welcomed", "已连接"},
             {"away", "未连接"},
             {"resolving", "解析域名"},
             {"connecting", "正在连接"},
             {"tls", "TLS"},
             {"upgrading", "正在升级"},
             {"greeting", "正在问候"},
             {"stopping", "正在停止"},
             {"name", "域名无法解析"},
             {"unreachable", "网络不通"},
             {"down", "服务器未开"},
             {"portal", "上网认证页"},
             {"certificate", "证书有误"},
             {"own_certificate", "本机证书有误"},
             {"http", "非护学服务器"},
             {"refused", "被拒绝"},
             {"version", "版本不符"},
             {"replaced", "编号重复"},
             {"busy", "服务器繁忙"},
             {"restart", "服务器重启"},
             {"lost", "连接中断"},
             {"fault", "内部故障"},
             {"unknown", "未知"}};

static const char *said(const struct page *p, const char *word)
{
    for (size_t i = 0; p->zh && i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].zh;
    return word;
}

static const char *in(const struct page *p, const char *en, const char *zh)
{
    return p->zh ? zh : en;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    return t != NULL ? t : "";
}

static bool has(const json_t *o, const char *key)
{
    return json_is_number(json_object_get(o, key));
}

static double number_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static long long whole_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

/* --- figures as people read them; each returns one of a few static buffers --- */

static char *buffer(void)
{
    static char all[16][64];
    static unsigned next;
    return all[next++ % 16];
}

static const char *span(const struct page *p, long long s)
{
    char *b = buffer();
    if (s < 120)
        snprintf(b, 64, "%lld %s", s, in(p, "s", "秒"));
    else if (s < 7200)
        snprintf(b, 64, "%lld %s", s / 60, in(p, "min", "分钟"));
    else if (s < 172800)
        snprintf(b, 64, "%lld %s %lld %s", s / 3600, in(p, "h", "小时"), s / 60 % 60, in(p, "min", "分钟"));
    else
        snprintf(b, 64, "%lld %s %lld %s", s / 86400, in(p, "d", "天"), s / 3600 % 24, in(p, "h", "小时"));
    return b;
}

static const char *age(const struct page *p, const json_t *o, const char *key)
{
    if (!has(o, key))
        return in(p, "never", "从未");
    long long ms = whole_of(o, key);
    if (ms >= 10000)
        return span(p, ms / 1000);
    char *b = buffer();
    snprintf(b, 64, "%.1f %s", (double)ms / 1000, in(p, "s", "秒"));
    return b;
}

static const char *bytes(const json_t *o, const char *key)
{
    char *b = buffer();
    double v = number_of(o, key);
    if (!has(o, key))
        snprintf(b, 64, "-");
    else if (v < 1024 * 1024)
        snprintf(b, 64, "%.0f KiB", v / 1024);
    else if (v < 1024.0 * 1024 * 1024)
        snprintf(b, 64, "%.1f MiB", v / 1048576);
    else
        snprintf(b, 64, "%.1f GiB", v / 1073741824);
    return b;
}

static const char *scaled(const json_t *o, const char *key, double by, const char *unit)
{
    char *b = buffer();
    if (has(o, key))
        snprintf(b, 64, "%.1f %s", number_of(o, key) / by, unit);
    else
        snprintf(b, 64, "-");
    return b;
}

static void line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(const char *label, const char *format, ...)
{
    va_list args;
    cli_pad(stdout, label, LABEL);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* A long line at blanks, behind the labels. */
static void wrapped(const char *text)
{
    while (*text != '\0') {
        size_t n = strlen(text), keep = n;
        if (n > 80 - LABEL)
            for (keep = 80 - LABEL; keep > 20 && text[keep] != ' ';)
                keep--;
        line("", "%.*s", (int)keep, text);
        text += keep + (text[keep] == ' ');
    }
}

static void right(const char *text, int width)
{
    printf("%*s%s", width > cli_width(text) ? width - cli_width(text) : 0, "", text);
}

/* --- the page --- */

static void head(const struct page *p)
{
    const json_t *r = p->report;
    line(in(p, "gateway", "网关"), "%s   schoolward %s", text_of(p->root, "gateway"), text_of(r, "firmware"));
    line(in(p, "running", "已运行"), p->zh ? "%s（第 %lld 次启动）" : "for %s (start %lld)", span(p, whole_of(r, "uptime_s")), whole_of(r, "boots"));
    if (json_is_true(json_object_get(r, "safe_mode")))
        line(in(p, "SAFE MODE", "安全模式"), "%s",
             in(p, "the last starts did not live: running with the factory settings", "前几次启动未能维持，现以出厂配置运行"));
    line(in(p, "config", "配置"), "%s %lld", said(p, text_of(r, "config")), whole_of(r, "config_version"));
    const char *none = in(p, "none: nothing is judged in the cab", "无：车内不作判断");
    line(in(p, "duty", "任务"), "%s", *text_of(r, "duty") != '\0' ? text_of(r, "duty") : none);
    line(in(p, "law", "法规包"), "%s", *text_of(r, "law") != '\0' ? text_of(r, "law") : "-");
    line(in(p, "clock", "时钟"), p->zh ? "%s，改正 %+.1f 秒" : "%s, corrected by %+.1f s", said(p, text_of(r, "clock")),
         number_of(r, "clock_offset_ms") / 1000);
}

static void position(const struct page *p)
{
    const json_t *g = json_object_get(p->root, "gnss");
    static const char *const modes[] = {"none", "none", "2D", "3D"};
    long long mode = whole_of(g, "mode");
    const char *fix = modes[mode < 0 || mode > 3 ? 0 : mode];
    if (!has(g, "fix_age_ms")) {
        line(in(p, "position", "定位"), "%s", in(p, "no fix since the start", "启动以来未定位"));
        return;
    }
    line(in(p, "position", "定位"), p->zh ? "现在 %s；上次定位 %s前：%lld 颗星，精度因子 %s" : "%s now; last fix %s ago: %lld satellites, HDOP %s",
         said(p, fix), age(p, g, "fix_age_ms"), whole_of(g, "satellites"), scaled(g, "hdop", 1, ""));
    line("", "%.6f %.6f   %s", number_of(g, "lat"), number_of(g, "lon"), scaled(g, "speed_kmh", 1, "km/h"));
}

static void persons(const struct page *p)
{
    const json_t *n = json_object_get(p->root, "persons"), *door;
    size_t i;
    if (has(n, "best"))
        line(in(p, "aboard", "车上人数"), p->zh ? "%lld（%lld 至 %lld），把握 %lld%%，来自%s%s" : "%lld (%lld to %lld), %lld %% sure, by %s%s",
             whole_of(n, "best"), whole_of(n, "least"), whole_of(n, "most"), whole_of(n, "confidence_pct"), said(p, text_of(n, "leading")),
             json_is_true(json_object_get(n, "doubtful")) ? in(p, ", the sources disagree", "，各来源不一致") : "");
    else
        line(in(p, "aboard", "车上人数"), "%s", in(p, "not known", "未知"));
    json_array_foreach(json_object_get(p->root, "doors"), i, door)
        line("", p->zh ? "%lld 号门：上 %lld，下 %lld" : "door %lld: %lld in, %lld out", whole_of(door, "door"), whole_of(door, "boarded"),
             whole_of(door, "alighted"));
}

static const char *input_name(const struct page *p, const char *name)
{
    static const struct {
        const char *name, *zh;
    } all[] = {{"door_front", "前门"},
               {"door_middle", "中门"},
               {"door_rear", "后门"},
               {"ignition", "点火"},
               {"parking_brake", "驻车制动"},
               {"sos", "一键报警"},
               {"stop_arm", "停车标志"},
               {"beacon", "标志灯"},
               {"hazard", "危险报警灯"},
               {"brake", "行车制动"},
               {"driver_belt", "驾驶员安全带未系"},
               {"belts", "座椅安全带未系"},
               {"driver_seat", "驾驶座有人"},
               {"front_seat", "副驾驶座有人"},
               {"patrol", "巡视按钮"},
               {"confirm", "照管员确认"},
               {"motion", "车内有动静"},
               {"smoke", "烟雾"},
               {"power_lost", "主电源断开"},
               {"tamper", "机壳打开"}};
    for (size_t i = 0; p->zh && i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].zh;
    return name;
}

static void inputs(const struct page *p)
{
    const char *key;
    json_t *v;
    int column = 0;
    cli_pad(stdout, in(p, "inputs", "输入"), LABEL);
    json_object_foreach(json_object_get(p->root, "inputs"), key, v)
    {
        char item[64];
        snprintf(item, sizeof item, "%s=%s", input_name(p, key), json_is_true(v) ? "1" : "0");
        int n = cli_width(item);
        if (column + n > 80 - LABEL - 2) {
            printf("\n%*s", LABEL, "");
            column = 0;
        }
        printf("%s%s", item, "  ");
        column += n + 2;
    }
    printf("%s\n", column == 0 ? in(p, "none is known", "均未知") : "");
}

static void store(const struct page *p)
{
    const json_t *r = p->report, *o = json_object_get(p->root, "outbox");
    line(in(p, "outbox", "待发箱"), p->zh ? "紧急 %lld，普通 %lld 条未确认；文件 %s" : "%lld urgent, %lld other not acknowledged; file %s",
         whole_of(r, "waiting_urgent"), whole_of(r, "waiting_bulk"), bytes(r, "outbox_bytes"));
    line("", p->zh ? "已写盘 %s，每天 %s" : "written %s, a day %s", bytes(o, "written"), bytes(r, "written_per_day"));
    if (whole_of(r, "lost") > 0 || whole_of(r, "given_up") > 0 || whole_of(r, "bad") > 0)
        line("", p->zh ? "未能保存 %lld，放弃 %lld，无效 %lld" : "%lld lost, %lld given up, %lld invalid", whole_of(r, "lost"),
             whole_of(r, "given_up"), whole_of(r, "bad"));
    line(in(p, "disk", "磁盘"), p->zh ? "剩 %s，共 %s" : "%s free of %s", bytes(r, "disk_free"), bytes(r, "disk_size"));
    line(in(p, "board", "主板"), p->zh ? "温度 %s，电压 %s，内存 %s" : "%s, supply %s, memory %s", scaled(r, "board_mc", 1000, "°C"),
         scaled(r, "supply_mv", 1000, "V"), bytes(r, "rss_bytes"));
}

static void server(const struct page *p)
{
    const json_t *u = json_object_get(p->root, "uplink");
    if (!json_is_object(u)) {
        line(in(p, "server", "服务器"), "%s", in(p, "none is configured", "未配置"));
        return;
    }
    line(in(p, "server", "服务器"), p->zh ? "%s，连接 %lld 次，发出 %lld 条" : "%s, connected %lld times, %lld records sent",
         said(p, text_of(u, "state")), whole_of(p->report, "connects"), whole_of(u, "events"));
    if (has(p->report, "ack_ms"))
        line("", p->zh ? "最近一次确认用时 %lld 毫秒" : "the newest acknowledgement took %lld ms", whole_of(p->report, "ack_ms"));
    if (whole_of(u, "next_ms") > 0)
        line("", p->zh ? "第 %lld 次尝试失败，%s后再试" : "try %lld failed, the next one in %s", whole_of(u, "tries"),
             span(p, whole_of(u, "next_ms") / 1000));
    if (*text_of(u, "trouble") != '\0')
        wrapped(text_of(u, "trouble"));
}

static void devices(const struct page *p)
{
    json_t *d, *n;
    const char *what;
    size_t i;
    static const int width[] = {16, 12, 10, 12};
    const char *const heads[] = {in(p, "DEVICE", "设备"), in(p, "KIND", "种类"), in(p, "STATE", "状态"), in(p, "LAST INPUT", "最近数据")};
    printf("\n");
    for (i = 0; i < 4; i++)
        cli_pad(stdout, heads[i], width[i]);
    right(in(p, "EVENTS", "事件"), 10);
    right(in(p, "ERRORS", "错误"), 8);
    right(in(p, "OPENS", "打开"), 8);
    printf("\n");
    json_array_foreach(json_object_get(p->report, "devices"), i, d)
    {
        cli_pad(stdout, text_of(d, "name"), width[0]);
        cli_pad(stdout, said(p, text_of(d, "kind")), width[1]);
        cli_pad(stdout, said(p, text_of(d, "state")), width[2]);
        cli_pad(stdout, age(p, d, "input_age_ms"), width[3]);
        printf("%10lld%8lld%8lld\n", whole_of(d, "events"), whole_of(d, "errors"), whole_of(d, "opens"));
        int column = 0;
        json_object_foreach(json_object_get(json_object_get(p->root, "counters"), text_of(d, "name")), what, n)
        {
            char item[64];
            int k = snprintf(item, sizeof item, "%s=%lld", what, (long long)json_integer_value(n));
            printf("%s%s", column == 0 || column + k > 74 ? (column == 0 ? "    " : "\n    ") : "  ", item);
            column = column + k > 74 ? 4 + k : column + k + 2;
        }
        if (column > 0)
            printf("\n");
    }
}

static char *read_all(int fd)
{
    char *text = malloc(ANSWER_MAX + 1);
    size_t n = 0;
    ssize_t k = 1;
    while (text != NULL && n < ANSWER_MAX && k != 0) {
        k = read(fd, text + n, ANSWER_MAX - n);
        if (k < 0 && errno != EINTR)
            break;
        n += k > 0 ? (size_t)k : 0;
    }
    if (text != NULL)
        text[n] = '\0';
    return text;
}

int cli_status(const struct cli *c, const struct config *config)
{
    char why[400];
    int fd = -1;
    enum rc rc = cli_ask(config, "status\n", &fd, why, sizeof why);
    if (rc != RC_OK) {
        fprintf(stderr, "schoolward-gateway: %s\n", why);
        return rc == RC_DENIED ? EX_NOPERM : EX_UNAVAILABLE;
    }
    char *text = read_all(fd);
    close(fd);
    struct page p = {.root = text != NULL ? json_loads(text, 0, NULL) : NULL, .zh = cli_zh(c)};
    p.report = json_object_get(p.root, "report");
    int status = json_is_object(p.report) ? EX_OK : EX_PROTOCOL;
    if (status != EX_OK) {
        fprintf(stderr, "schoolward-gateway: the answer of the gateway makes no sense: same versions?\n");
    } else if (c->json) {
        fputs(text, stdout);
    } else {
        head(&p);
        position(&p);
        persons(&p);
        inputs(&p);
        server(&p);
        store(&p);
        devices(&p);
    }
    json_decref(p.root);
    free(text);
    return status;
}
