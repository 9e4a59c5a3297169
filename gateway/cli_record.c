/* schoolward-gateway record: a device's line into a file, through the running gateway or, where none runs, by opening the device ourselves. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "cli.h"
#include "device.h"
#include "recorder.h"

#define SECONDS_USUAL 60
#define TICK_MS       100

static int copy(int fd, FILE *out)
{
    char buf[8192];
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0 && fwrite(buf, 1, (size_t)n, out) != (size_t)n)
            return EX_IOERR;
    return n < 0 ? EX_IOERR : EX_OK;
}

/* --- without a gateway: one device on a loop of our own --- */

struct own {
    uv_loop_t loop;
    uv_timer_t timer;
    struct recorder recorder;
    struct device *device;
    int64_t until_ms;
    FILE *out;
};

static void ignore(void *arg, struct device *d, const struct event *e)
{
    (void)arg, (void)d, (void)e;
}

static void on_tick(uv_timer_t *t)
{
    struct own *o = t->data;
    recorder_write(&o->recorder, o->out);
    if (clock_mono_ms() < o->until_ms)
        return;
    uv_close((uv_handle_t *)t, NULL);
    device_stop(o->device, NULL, NULL);
}

static int record_ourselves(const struct config *config, const char *device, int seconds, FILE *out)
{
    char why[256];
    struct own o = {.out = out};
    if (recorder_start(config, device, &o.recorder, why, sizeof why) != RC_OK) {
        fprintf(stderr, "schoolward-gateway: %s\n", why);
        return EX_UNAVAILABLE;
    }
    recorder_head(&o.recorder, out);
    const struct config_device *c = o.recorder.device;
    struct device_setup s = {.name = c->name, .driver = c->driver, .options = c->options, .silence_ms = c->silence_ms, .on_event = ignore};
    int status = EX_OSERR;
    log_set_level(LOG_LEVEL_WARNING); /* a port that cannot be opened is told */
    if (uv_loop_init(&o.loop) == 0 && device_start(&o.loop, &s, &o.device) == RC_OK) {
        o.until_ms = clock_mono_ms() + (int64_t)seconds * 1000;
        uv_timer_init(&o.loop, &o.timer);
        o.timer.data = &o;
        uv_timer_start(&o.timer, on_tick, TICK_MS, TICK_MS);
        uv_run(&o.loop, UV_RUN_DEFAULT);
        uv_loop_close(&o.loop);
        status = EX_OK;
    }
    recorder_end(&o.recorder, out);
    return status;
}

/* --- both --- */

static int record(const struct config *config, const char *device, int seconds, FILE *out)
{
    char question[64], why[400];
    int fd = -1;
    snprintf(question, sizeof question, "record %.20s %d\n", device, seconds);
    enum rc rc = cli_ask(config, question, &fd, why, sizeof why);
    if (rc == RC_NOT_FOUND)
        return record_ourselves(config, device, seconds, out);
    if (rc != RC_OK) {
        fprintf(stderr, "schoolward-gateway: %s\n", why);
        return rc == RC_DENIED ? EX_NOPERM : EX_UNAVAILABLE;
    }
    int status = copy(fd, out);
    close(fd);
    return status;
}

int cli_record(const struct cli *c, const struct config *config)
{
    int seconds = c->seconds > 0 ? c->seconds : SECONDS_USUAL;
    bool known = false;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < config->devices && c->device != NULL; i++)
        known |= strcmp(config->device[i].name, c->device) == 0;
    if (!known) {
        fprintf(stderr, "schoolward-gateway: record needs a device of the configuration:");
        for (size_t i = 0; i < config->devices; i++)
            fprintf(stderr, " %s", config->device[i].name);
        fprintf(stderr, "\n");
        return EX_USAGE;
    }
    FILE *out = c->out != NULL ? fopen(c->out, "wxe") : stdout;
    if (out == NULL) {
        fprintf(stderr, "schoolward-gateway: %s: %s\n", c->out, strerror(errno));
        return EX_CANTCREAT;
    }
    int status = record(config, c->device, seconds, out);
    bool failed = fflush(out) != 0;
    if (out != stdout)
        failed |= fclose(out) != 0;
    if (status != EX_OK && c->out != NULL)
        unlink(c->out);
    return failed && status == EX_OK ? EX_IOERR : status;
}
