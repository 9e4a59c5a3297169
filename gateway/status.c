#include "status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "recorder.h"

enum {
    CALLERS = 4,
    ASK_MS = 5000,           /* to ask, and to read a status */
    TICK_MS = 100,           /* a recording is handed out so often */
    UNREAD_MAX = 256 * 1024, /* of a recording that its caller does not read */
};

struct caller {
    struct status *s;
    uv_pipe_t pipe;
    uv_timer_t timer;
    int handles; /* open ones */
    char line[STATUS_LINE_MAX + 2];
    size_t n;
    bool asked, closing;
    struct recorder *recorder;
    int64_t until_ms;
};

struct status {
    struct status_setup setup;
    uv_loop_t *loop;
    uv_pipe_t listener;
    char path[STATUS_PATH_MAX + 1];
    struct caller *caller[CALLERS];
    size_t leaving; /* hung up on, not yet closed */
    bool stopping, closed;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

struct answer {
    uv_write_t write;
    bool last;
    uv_buf_t buf;
};

bool status_path(const char *state_dir, char ret_path[STATUS_PATH_MAX + 1])
{
    const char *run = getenv("RUNTIME_DIRECTORY");
    int n = snprintf(ret_path, STATUS_PATH_MAX + 1, "%s/status.sock", run != NULL && run[0] == '/' && strchr(run, ':') == NULL ? run : state_dir);
    return n <= STATUS_PATH_MAX;
}

enum rc status_question(const char *line, size_t n, char ret_device[EVENT_NAME_MAX + 1], int *ret_seconds)
{
    char text[STATUS_LINE_MAX + 1], device[EVENT_NAME_MAX + 1];
    unsigned seconds = 0;
    int used = 0;
    if (n > STATUS_LINE_MAX || memchr(line, '\0', n) != NULL)
        return RC_INVALID;
    memcpy(text, line, n);
    text[n] = '\0';
    if (strcmp(text, "status") == 0) {
        ret_device[0] = '\0';
        *ret_seconds = 0;
        return RC_OK;
    }
    _Static_assert(EVENT_NAME_MAX == 15, "the width below");
    if (sscanf(text, "record %15[a-z0-9-] %4u%n", device, &seconds, &used) != 2 || text[used] != '\0' || seconds < 1 ||
        seconds > RECORDER_SECONDS_MAX)
        return RC_INVALID;
    snprintf(ret_device, EVENT_NAME_MAX + 1, "%s", device);
    *ret_seconds = (int)seconds;
    return RC_OK;
}

/* --- a caller's end --- */

static void maybe_stopped(struct status *s)
{
    if (!s->stopping || !s->closed || s->leaving > 0)
        return;
    void (*on_stopped)(void *) = s->on_stopped;
    void *arg = s->stopped_arg;
    free(s);
    if (on_stopped != NULL)
        on_stopped(arg);
}

static void caller_closed(uv_handle_t *h)
{
    struct caller *c = h->data;
    struct status *s = c->s;
    if (--c->handles > 0)
        return;
    free(c);
    s->leaving--;
    maybe_stopped(s);
}

static void hang_up(struct caller *c)
{
    if (c->closing)
        return;
    c->closing = true;
    c->s->leaving++;
    for (size_t i = 0; i < CALLERS; i++) /* its place is free at once: who saw it end may call before its handles are closed */
        if (c->s->caller[i] == c)
            c->s->caller[i] = NULL;
    if (c->recorder != NULL) {
        tap_stop();
        free(c->recorder);
        c->recorder = NULL;
    }
    uv_close((uv_handle_t *)&c->timer, caller_closed);
    uv_close((uv_handle_t *)&c->pipe, caller_closed);
}

/* --- answering --- */

static void written(uv_write_t *w, int status)
{
    struct answer *a = (struct answer *)w;
    struct caller *c = w->handle->data;
    bool over = a->last || status < 0;
    free(a->buf.base);
    free(a);
    if (over)
        hang_up(c);
}

/* Takes the text. */
static void say(struct caller *c, char *text, size_t n, bool last)
{
    struct answer *a = calloc(1, sizeof *a);
    if (a == NULL || text == NULL) {
        free(a);
        free(text);
        hang_up(c);
        return;
    }
    a->last = last;
    a->buf = uv_buf_init(text, (unsigned)n);
    if (uv_write(&a->write, (uv_stream_t *)&c->pipe, &a->buf, 1, written) != 0) {
        free(text);
        free(a);
        hang_up(c);
    }
}

static void say_error(struct caller *c, const char *why)
{
    char *text = malloc(400);
    int n = text != NULL ? snprintf(text, 400, "error %.380s\n", why) : 0;
    say(c, text, (size_t)n, true);
}

static void on_timer(uv_timer_t *t);

/* What the recorder has to write now goes out as one piece. */
static void record_more(struct caller *c, bool begin, bool end)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (out == NULL) {
        hang_up(c);
        return;
    }
    if (begin) {
        fprintf(out, "ok\n");
        recorder_head(c->recorder, out);
    }
    if (end) {
        recorder_end(c->recorder, out);
        free(c->recorder);
        c->recorder = NULL;
    } else {
        recorder_write(c->recorder, out);
    }
    if (fclose(out) != 0) {
        free(text);
        hang_up(c);
    } else if (n == 0) {
        free(text);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) + n > UNREAD_MAX) {
        free(text);
        hang_up(c);
    } else {
        say(c, text, n, end);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct caller *c = t->data;
    if (c->recorder == NULL) {
        hang_up(c); /* too slow */
        return;
    }
    bool end = clock_mono_ms() >= c->until_ms;
    if (end)
        uv_timer_start(&c->timer, on_timer, ASK_MS, 0); /* to read the rest */
    record_more(c, false, end);
}

static void record(struct caller *c, const char *device, int seconds)
{
    char why[256] = "";
    c->recorder = calloc(1, sizeof *c->recorder);
    if (c->recorder == NULL) {
        hang_up(c);
        return;
    }
    enum rc rc = recorder_start(c->s->setup.config, device, c->recorder, why, sizeof why);
    if (rc != RC_OK) {
        free(c->recorder);
        c->recorder = NULL;
        say_error(c, why);
        return;
    }
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t len = sizeof who;
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&c->pipe, &fd) == 0)
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
    log_notice("status", "user %u records device %s for %d s", (unsigned)who.uid, device, seconds);
    c->until_ms = clock_mono_ms() + (int64_t)seconds * 1000;
    uv_timer_start(&c->timer, on_timer, TICK_MS, TICK_MS);
    record_more(c, true, false);
}

static void answer(struct caller *c)
{
    char device[EVENT_NAME_MAX + 1];
    int seconds = 0;
    c->asked = true;
    if (status_question(c->line, c->n, device, &seconds) != RC_OK) {
        say_error(c, "not understood");
        return;
    }
    if (device[0] != '\0') {
        record(c, device, seconds);
        return;
    }
    char *json = c->s->setup.json(c->s->setup.arg);
    size_t cap = json != NULL ? strlen(json) + sizeof "ok\n\n" : 0;
    char *text = json != NULL ? malloc(cap) : NULL;
    int n = text != NULL ? snprintf(text, cap, "ok\n%s\n", json) : 0;
    free(json);
    say(c, text, (size_t)n, true);
}

/* --- a caller's beginning --- */

static void room(uv_handle_t *h, size_t wanted, uv_buf_t *buf)
{
    struct caller *c = h->data;
    (void)wanted;
    *buf = uv_buf_init(c->line + c->n, c->n < sizeof c->line ? (unsigned)(sizeof c->line - c->n) : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct caller *c = stream->data;
    (void)buf;
    if (n == 0 || c->closing)
        return;
    if (n < 0) { /* hung up; or more than the longest line */
        hang_up(c);
        return;
    }
    if (c->asked) { /* nothing more is asked here: only the end is waited for */
        c->n = 0;
        return;
    }
    c->n += (size_t)n;
    const char *end = memchr(c->line, '\n', c->n);
    if (end == NULL)
        return;
    c->n = (size_t)(end - c->line);
    answer(c);
    c->n = 0;
}

static void on_call(uv_stream_t *listener, int status)
{
    struct status *s = listener->data;
    struct caller *c = status == 0 && !s->stopping ? calloc(1, sizeof *c) : NULL;
    if (c == NULL)
        return;
    c->s = s;
    c->handles = 2;
    uv_pipe_init(s->loop, &c->pipe, 0);
    uv_timer_init(s->loop, &c->timer);
    c->pipe.data = c->timer.data = c;
    size_t place = 0;
    while (place < CALLERS && s->caller[place] != NULL)
        place++;
    bool good = uv_accept(listener, (uv_stream_t *)&c->pipe) == 0 && place < CALLERS; /* who may come in says the mode of the socket */
    if (place < CALLERS)
        s->caller[place] = c;
    if (!good || uv_read_start((uv_stream_t *)&c->pipe, room, on_read) != 0) {
        hang_up(c);
        return;
    }
    uv_timer_start(&c->timer, on_timer, ASK_MS, 0);
}

/* --- begin and end --- */

enum rc status_start(uv_loop_t *loop, const struct status_setup *setup, struct status **ret_s, char *why, size_t cap)
{
    struct status *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RC_NO_MEMORY;
    s->setup = *setup;
    s->loop = loop;
    if (!status_path(setup->state_dir, s->path)) {
        snprintf(why, cap, "state_dir is too long for the socket of `status` (%d characters): choose a shorter one", STATUS_PATH_MAX);
        free(s);
        return RC_RANGE;
    }
    unlink(s->path); /* of a run that was killed: the outbox has told that no other gateway is there */
    uv_pipe_init(loop, &s->listener, 0);
    s->listener.data = s;
    int e = uv_pipe_bind(&s->listener, s->path);
    if (e == 0 && chmod(s->path, 0660) != 0) /* bound under umask 077: nobody came in between */
        e = -errno;
    if (e == 0)
        e = uv_listen((uv_stream_t *)&s->listener, CALLERS, on_call);
    if (e != 0) {
        snprintf(why, cap, "%s: %s: `status` will not work", s->path, uv_strerror(e));
        status_stop(s, NULL, NULL);
        return RC_IO;
    }
    *ret_s = s;
    return RC_OK;
}

static void listener_closed(uv_handle_t *h)
{
    struct status *s = h->data;
    s->closed = true;
    maybe_stopped(s);
}

void status_stop(struct status *s, void (*on_stopped)(void *arg), void *arg)
{
    s->stopping = true;
    s->on_stopped = on_stopped;
    s->stopped_arg = arg;
    for (size_t i = 0; i < CALLERS; i++)
        if (s->caller[i] != NULL)
            hang_up(s->caller[i]);
    uv_close((uv_handle_t *)&s->listener, listener_closed); /* removes the file, too */
}
