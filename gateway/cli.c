#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "status.h"

#define ANSWER_MS 5000

static const char *const commands[] = {"status", "doctor", "record", "print-man"};

bool cli_knows(const char *command)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i], command) == 0)
            return true;
    return false;
}

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "schoolward-gateway: %s %s\ntry schoolward-gateway --help\n", what, value);
    return EX_USAGE;
}

static int take_seconds(struct cli *c, const char *text)
{
    char *end = NULL;
    long v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || v < 1 || v > 3600)
        return usage("seconds must be 1..3600, not", text);
    c->seconds = (int)v;
    return -1;
}

/* -1 to go on, otherwise the exit status. */
static int read_options(int argc, char **argv, struct cli *c)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},  {"set", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},          {"lang", required_argument, NULL, 'l'},
                                          {"seconds", required_argument, NULL, 'n'}, {"wait", required_argument, NULL, 'n'},
                                          {"out", required_argument, NULL, 'o'},     {0}};
    int status = -1;
    opterr = 0;
    for (int k; status < 0 && (k = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (k) {
        case 'c': c->config = optarg; break;
        case 's':
            if (c->sets == CLI_SETS_MAX)
                return usage("too many", "--set");
            c->set[c->sets++] = optarg;
            break;
        case 'j': c->json = true; break;
        case 'l':
            if (strcmp(optarg, "zh") != 0 && strcmp(optarg, "en") != 0)
                return usage("--lang is zh or en, not", optarg);
            c->lang = optarg;
            break;
        case 'n': status = take_seconds(c, optarg); break;
        case 'o': c->out = optarg; break;
        default: return usage("unknown option or missing value:", argv[optind - 1]);
        }
    }
    if (status < 0 && optind < argc && strcmp(c->command, "record") == 0)
        c->device = argv[optind++];
    return status < 0 && optind < argc ? usage("unexpected:", argv[optind]) : status;
}

int cli_main(int argc, char **argv)
{
    struct cli c = {.command = argv[0], .config = "/etc/schoolward/gateway.conf"};
    static struct conf_problems problems;
    struct config *config = NULL;
    int status = read_options(argc, argv, &c);
    if (status >= 0)
        return status;
    if (strcmp(c.command, "print-man") == 0) { /* for the build: the tables of gateway.conf(5) */
        cli_man(stdout, cli_zh(&c));
        return EX_OK;
    }
    log_set_level(LOG_LEVEL_ERROR);
    enum rc rc = config_read(c.config, c.set, c.sets, &config, &problems);
    if (strcmp(c.command, "doctor") == 0) {
        status = cli_doctor(&c, rc == RC_OK ? config : NULL, &problems);
    } else if (rc == RC_OK) {
        status = strcmp(c.command, "record") == 0 ? cli_record(&c, config) : cli_status(&c, config);
    } else {
        for (size_t i = 0; i < problems.n && i < CONF_PROBLEMS_MAX; i++)
            fprintf(stderr, "%s\n", problems.text[i]);
        status = EX_CONFIG;
    }
    if (rc == RC_OK)
        config_free(config);
    return status;
}

bool cli_zh(const struct cli *c)
{
    const char *lang = c->lang;
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < 3 && (lang == NULL || *lang == '\0'); i++)
        lang = getenv(names[i]);
    return lang != NULL && strncmp(lang, "zh", 2) == 0;
}

int cli_width(const char *text)
{
    int width = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        if ((*c & 0xc0) != 0x80) /* the first byte of a character; all of three bytes that we print are CJK */
            width += *c >= 0xe3 ? 2 : 1;
    return width;
}

void cli_pad(FILE *out, const char *text, int width)
{
    fprintf(out, "%s%*s", text, width > cli_width(text) ? width - cli_width(text) : 0, "");
}

static enum rc try_socket(const char *path, int *ret_fd)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return RC_IO;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)(const void *)&a, sizeof a) == 0) {
        *ret_fd = fd;
        return RC_OK;
    }
    enum rc rc = errno == EACCES || errno == EPERM ? RC_DENIED : RC_NOT_FOUND;
    close(fd);
    return rc;
}

/* One line without its end, byte by byte: what follows it stays in the socket. */
static bool read_line(int fd, char *out, size_t cap)
{
    for (size_t n = 0; n + 1 < cap;) {
        struct pollfd f = {.fd = fd, .events = POLLIN};
        if (poll(&f, 1, ANSWER_MS) <= 0 || read(fd, out + n, 1) != 1)
            return false;
        if (out[n] == '\n') {
            out[n] = '\0';
            return true;
        }
        n++;
    }
    return false;
}

enum rc cli_ask(const struct config *config, const char *question, int *ret_fd, char *why, size_t cap)
{
    char own[STATUS_PATH_MAX + 1], line[400];
    int fd = -1;
    /* the service's own place is last: several gateways on one machine each have a state_dir */
    enum rc rc = status_path(config->gateway.state_dir, own) ? try_socket(own, &fd) : RC_NOT_FOUND;
    if (rc != RC_OK) {
        enum rc service = try_socket("/run/schoolward/status.sock", &fd);
        rc = service == RC_NOT_FOUND ? rc : service;
    }
    if (rc != RC_OK) {
        snprintf(why, cap,
                 rc == RC_DENIED ? "no right to ask the gateway: use sudo, or become a member of group schoolward"
                                 : "no gateway is running here: systemctl status schoolward-gateway, or schoolward-gateway doctor");
        return rc;
    }
    size_t n = strlen(question);
    if (send(fd, question, n, MSG_NOSIGNAL) != (ssize_t)n || !read_line(fd, line, sizeof line)) {
        snprintf(why, cap, "the gateway does not answer: systemctl status schoolward-gateway");
        rc = RC_IO;
    } else if (strcmp(line, "ok") != 0) {
        snprintf(why, cap, "%s", strncmp(line, "error ", 6) == 0 ? line + 6 : line);
        rc = RC_INVALID;
    }
    if (rc != RC_OK) {
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return RC_OK;
}
