/*
 * Plays every recordings/DRIVER/NAME.in into the real driver and compares what it hands up with NAME.expect. The host of drivers (driver.h) and the
 * line (port.h) are this program's: time is simulated, so an hour of silence costs nothing. Each recording runs in a process of its own.
 *
 *   test_driver_recordings [PART OF A NAME ...]      only those
 *   SCHOOLWARD_RECORDINGS=write ...                  write the .expect files instead of comparing: then read the difference and commit it
 */

#include "recording_world.h"

#define AT_ONCE    12 /* most of them wait for a time-out of libmodbus */
#define CASES_MAX  4000
#define CASE_S     60
#define LOST_MS    1000

/* --- the driver's host --- */

static void note_result(enum rc rc)
{
    w.result[rc < 16 ? (int)rc : 0].n++;
}

static void close_driver(void)
{
    if (w.state != NULL)
        w.driver->close(w.state);
    w.state = NULL;
    w.open = false;
    w.driver_fd = -1;
}

static bool settle(enum rc rc)
{
    if (rc == RC_OK || rc == RC_AGAIN)
        return true;
    if (rc == RC_IO || rc == RC_END || rc == RC_NOT_FOUND || rc == RC_DENIED || rc == RC_NO_MEMORY) {
        pthread_mutex_lock(&w.lock);
        say("lost\n");
        pthread_mutex_unlock(&w.lock);
        close_driver();
        w.open_at_ms = now() + LOST_MS;
        return false;
    }
    note_result(rc);
    return true;
}

static void accept_line(void)
{
    for (int fd; w.listener >= 0 && (fd = accept4(w.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
        hang_up();
        w.fd = fd;
    }
}

static void try_open(void)
{
    char why[256] = "";
    enum rc rc = w.driver->open(&the_ctx, w.options, &w.state, &w.driver_fd, why, sizeof why);
    accept_line();
    if (rc != RC_OK) {
        if (getenv("KIT_DEBUG") != NULL)
            printf("open: %s\n", why);
        w.driver->close(w.state);
        w.state = NULL;
        w.open_at_ms = now() + LOST_MS;
        return;
    }
    w.open = true;
    w.poll_at_ms = now();
}

/* Everything that can happen at this moment happens. */
static void pump(void)
{
    for (int i = 0; i < 2000; i++) {
        bool more = w.driver->threaded ? false : take_sent();
        struct pollfd f = {.fd = w.driver_fd, .events = POLLIN | POLLRDHUP};
        if (w.open && w.driver_fd >= 0 && !w.driver->threaded && poll(&f, 1, 0) > 0) {
            char why[256] = "";
            enum rc rc = w.driver->input(w.state, why, sizeof why);
            if (getenv("KIT_DEBUG") != NULL)
                printf("%lld input: %s %s\n", (long long)now(), rc_text(rc), why);
            if (rc == RC_AGAIN && (f.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0)
                rc = RC_END;
            settle(rc);
            more = true;
        }
        if (!more)
            return;
    }
    fail(0, "the driver does not come to rest: it would spin");
}

static void run_poll(void)
{
    char why[256] = "";
    int next_ms = 1000;
    enum rc rc = w.driver->poll(w.state, mono(NULL), &next_ms, why, sizeof why);
    if (getenv("KIT_DEBUG") != NULL && rc != RC_OK && rc != RC_AGAIN)
        printf("%lld poll: %s %s\n", (long long)now(), rc_text(rc), why);
    w.poll_at_ms = now() + (next_ms > 0 ? next_ms : w.frozen ? 1 : 0);
    settle(rc);
}

static void set_output(const struct step *s)
{
    struct driver_output out = {.on = false};
    char why[256] = "", word[16] = "";
    int used = 0;
    const char *rest = s->text;
    sscanf(rest, "%15s %n", word, &used);
    rest += used;
    static const char *const kinds[] = {"", "buzzer", "lamp", "vehicle", "siren", "text", "snapshot"};
    for (size_t i = 1; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(word, kinds[i]) == 0)
            out.kind = (enum driver_output_kind)i;
    if (strcmp(word, "urgent") == 0) {
        out.kind = DRIVER_OUT_TEXT;
        out.on = true;
    }
    if (out.kind == DRIVER_OUT_TEXT)
        snprintf(out.text, sizeof out.text, "%s", rest);
    else if (out.kind == DRIVER_OUT_VEHICLE) {
        char line[300];
        struct event e = {.kind = EVENT_FIX};
        int64_t ms;
        snprintf(line, sizeof line, "0 fix %.250s", rest);
        if (replay_line_parse(line, &ms, &e, why, sizeof why) != RC_OK)
            fail(s->line, "%s", why);
        out.fix = e.fix;
        out.fix_ms = wall(NULL);
    } else {
        out.on = atoi(rest) != 0;
    }
    if (out.kind == 0 || w.driver->output == NULL) {
        fail(s->line, "no such output");
        return;
    }
    if (w.open)
        settle(w.driver->output(w.state, &out, why, sizeof why));
}

static void hex(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n && i < 200; i++)
        printf("%02X", p[i]);
    printf("%s\n", n > 200 ? "..." : "");
}

static void check_sent(const struct step *s)
{
    pthread_mutex_lock(&w.lock);
    const uint8_t *from = w.sent + w.sent_at, *found = NULL;
    size_t have = w.sent_n - w.sent_at;
    if (s->kind == STEP_SENT_LATER)
        found = memmem(from, have, s->bytes, s->n);
    else if (have >= s->n && memcmp(from, s->bytes, s->n) == 0)
        found = from;
    if (found == NULL) {
        fail(s->line, "we had not sent this; since the last such line we sent:");
        hex(from, have);
    } else {
        w.sent_at = (size_t)(found - w.sent) + s->n;
    }
    pthread_mutex_unlock(&w.lock);
}

static void set_memory(const struct step *s)
{
    pthread_mutex_lock(&w.lock);
    for (size_t i = 0; i < w.rec.slaves; i++) {
        struct slave *v = w.slave[i];
        for (size_t k = 0; v->address == s->slave && k < s->n / 2 && s->address + k < 65536; k++) {
            uint16_t value = (uint16_t)(s->bytes[2 * k] << 8 | s->bytes[2 * k + 1]);
            if (s->kind == STEP_WORD) {
                v->word[s->address + k] = value;
                v->word_there[s->address + k] = 1;
            } else {
                v->bit[s->address + k] = value != 0;
                v->bit_there[s->address + k] = 1;
            }
        }
    }
    pthread_mutex_unlock(&w.lock);
}

static void set_rule(const struct step *s)
{
    size_t i = 0;
    while (i < w.ons && (w.on[i].step->n != s->n || memcmp(w.on[i].step->bytes, s->bytes, s->n) != 0))
        i++;
    if (i == ON_MAX) {
        fail(s->line, "more than %d rules", ON_MAX);
        return;
    }
    w.on[i].step = s;
    w.ons += i == w.ons;
}

static void take_step(const struct step *s)
{
    switch (s->kind) {
    case STEP_BYTES: device_writes(s->bytes, s->n); break;
    case STEP_SENT:
    case STEP_SENT_LATER: check_sent(s); break;
    case STEP_ON: set_rule(s); break;
    case STEP_HANGUP:
        w.gone = true;
        hang_up();
        break;
    case STEP_BACK: w.gone = false; break;
    case STEP_POWER: /* ours: all memory is gone, files stay */
        close_driver();
        free(w.kept);
        w.kept = NULL;
        w.open_at_ms = now();
        break;
    case STEP_OUT: set_output(s); break;
    case STEP_WORD:
    case STEP_BIT: set_memory(s); break;
    case STEP_REPLY:
        pthread_mutex_lock(&w.lock);
        if (w.reply_n < sizeof w.reply / sizeof *w.reply)
            w.reply[w.reply_n++] = s;
        pthread_mutex_unlock(&w.lock);
        break;
    }
}

static int64_t next_due(size_t at)
{
    int64_t next = INT64_MAX;
    if (at < w.rec.steps)
        next = w.rec.step[at].ms;
    for (size_t i = 0; i < w.laters; i++)
        next = w.later[i].at_ms < next ? w.later[i].at_ms : next;
    if (w.open && w.driver->poll != NULL && w.poll_at_ms < next)
        next = w.poll_at_ms;
    if (!w.open && w.open_at_ms < next)
        next = w.open_at_ms;
    return next;
}

static void play(void)
{
    size_t at = 0;
    while (at < w.rec.steps && w.rec.step[at].ms == 0 &&
           (w.rec.step[at].kind == STEP_WORD || w.rec.step[at].kind == STEP_BIT || w.rec.step[at].kind == STEP_ON))
        take_step(&w.rec.step[at++]); /* what the device is like before anybody asks it */
    for (;;) {
        int64_t next = next_due(at);
        if (next > w.rec.end_ms && at == w.rec.steps)
            return;
        advance(next);
        if (!w.open && now() >= w.open_at_ms)
            try_open();
        pump();
        for (size_t i = 0; i < w.laters;) {
            if (w.later[i].at_ms > now()) {
                i++;
                continue;
            }
            const struct step *s = w.later[i].step;
            memmove(&w.later[i], &w.later[i + 1], (--w.laters - i) * sizeof w.later[0]);
            device_writes(s->answer, s->answer_n);
            pump();
        }
        while (at < w.rec.steps && w.rec.step[at].ms <= now()) {
            take_step(&w.rec.step[at++]);
            pump();
        }
        if (w.open && w.driver->poll != NULL && now() >= w.poll_at_ms)
            run_poll();
        pump();
    }
}

/* --- one recording --- */

static void set_option(char *assignment)
{
    char why[256] = "", value[600] = "";
    char *equals = strchr(assignment, '=');
    if (equals == NULL) {
        fail(0, "option without a value: %s", assignment);
        return;
    }
    *equals = '\0';
    size_t n = 0;
    const char *source = getenv("SCHOOLWARD_SOURCE") != NULL ? getenv("SCHOOLWARD_SOURCE") : ".";
    for (const char *s = equals + 1; *s != '\0' && n + 1 < sizeof value; s++) {
        if (strncmp(s, "$DIR", 4) == 0) {
            n += (size_t)snprintf(value + n, sizeof value - n, "%s", w.dir);
            s += 3;
        } else if (strncmp(s, "$SOURCE", 7) == 0) {
            n += (size_t)snprintf(value + n, sizeof value - n, "%.400s", source);
            s += 6;
        } else if (strncmp(s, "$PORT", 5) == 0) {
            n += (size_t)snprintf(value + n, sizeof value - n, "%u", w.tcp_port);
            s += 4;
        } else {
            value[n++] = *s;
            value[n] = '\0';
        }
    }
    const struct field *f = field_find(w.driver->options, w.driver->options_n, recording_trim(assignment));
    if (f == NULL || field_set(f, w.options, recording_trim(value), why, sizeof why) != RC_OK)
        fail(0, "option %s: %s", assignment, f == NULL ? "there is none" : why);
}

static bool prepare(void)
{
    char why[256] = "";
    w.driver = driver_find(w.rec.driver);
    if (w.driver == NULL) {
        fail(0, "no driver %s", w.rec.driver);
        return false;
    }
    snprintf(w.dir, sizeof w.dir, "/tmp/schoolward-recording-XXXXXX");
    if (mkdtemp(w.dir) == NULL)
        return false;
    for (size_t i = 0; i < w.rec.files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", w.dir, w.rec.file[i].name);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, w.rec.file[i].bytes, w.rec.file[i].n) != (ssize_t)w.rec.file[i].n)
            fail(0, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
    if (w.rec.tcp) {
        w.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        for (unsigned i = 0; i < 3000 && w.tcp_port == 0; i++) {
            uint16_t port = (uint16_t)(12000 + (unsigned)(getpid() * 37 + (int)i * 7) % 18000);
            a.sin_port = htons(port);
            if (bind(w.listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(w.listener, 8) == 0)
                w.tcp_port = port;
        }
    }
    w.options = calloc(1, w.driver->options_size);
    if (field_defaults(w.driver->options, w.driver->options_n, w.options) != RC_OK)
        fail(0, "the driver's defaults do not fit its own table");
    const struct field *port = field_find(w.driver->options, w.driver->options_n, "port");
    if (port != NULL && port->kind == FIELD_TEXT && field_set(port, w.options, "/dev/line", why, sizeof why) != RC_OK)
        fail(0, "port: %s", why);
    char options[900], *save = NULL;
    memcpy(options, w.rec.options, sizeof options);
    for (char *t = strtok_r(options, ";", &save); t != NULL; t = strtok_r(NULL, ";", &save))
        set_option(t);
    if (!w.failed && w.driver->check != NULL && w.driver->check(w.options, why, sizeof why) != RC_OK)
        fail(0, "%s", why);
    w.mbap = strstr(w.rec.options, "port=tcp") != NULL && strstr(w.rec.options, "framing=rtu") == NULL;
    for (size_t i = 0; i < w.rec.slaves; i++) {
        w.slave[i] = calloc(1, sizeof **w.slave);
        w.slave[i]->address = (uint8_t)w.rec.slave[i];
    }
    return !w.failed;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void finish_text(void)
{
    for (size_t i = 0; i < sizeof w.count / sizeof *w.count && w.count[i].what != NULL; i++)
        say("= %s %u\n", w.count[i].what, w.count[i].n);
    for (int i = 0; i < 16; i++)
        if (w.result[i].n > 0)
            say("= result %s %u\n", i == RC_INVALID ? "invalid" : i == RC_TIMEOUT ? "timeout" : rc_text((enum rc)i), w.result[i].n);
}

static void compare(void)
{
    char path[600], *want = calloc(1, TEXT_MAX);
    snprintf(path, sizeof path, "%.*s.expect", (int)strlen(w.rec.path) - 3, w.rec.path);
    const char *mode = getenv("SCHOOLWARD_RECORDINGS");
    bool write_it = mode != NULL && strcmp(mode, "write") == 0;
    FILE *f = fopen(path, write_it ? "we" : "re");
    if (f == NULL) {
        fail(0, "%s: %s (SCHOOLWARD_RECORDINGS=write writes it)", path, strerror(errno));
    } else if (write_it) {
        fwrite(w.text, 1, w.text_n, f);
    } else {
        size_t n = fread(want, 1, TEXT_MAX - 1, f);
        want[n] = '\0';
    }
    if (f != NULL)
        fclose(f);
    if (f == NULL || write_it || strcmp(want, w.text) == 0) {
        free(want);
        return;
    }
    fail(0, "differs from %s", path);
    unsigned number = 1;
    for (char *a = want, *b = w.text; *a != '\0' || *b != '\0'; number++) {
        size_t na = strcspn(a, "\n"), nb = strcspn(b, "\n");
        if (na != nb || memcmp(a, b, na) != 0)
            printf("  %u expected: %.*s\n  %u was:      %.*s\n", number, (int)na, a, number, (int)nb, b);
        a += na + (a[na] == '\n');
        b += nb + (b[nb] == '\n');
    }
    free(want);
}

static int run_case(const char *path)
{
    char why[200];
    alarm(CASE_S);
    if (!recording_read(path, &w.rec, why, sizeof why)) {
        snprintf(w.rec.path, sizeof w.rec.path, "%s", path);
        fail(0, "%s", why);
        return 1;
    }
    if (prepare()) {
        w.said.health.state = EVENT_DEVICE_OK;
        w.frozen = !w.driver->threaded;
        clock_set_source(wall, mono, NULL);
        w.base_ms = mono(NULL);
        if (!w.frozen)
            pthread_create(&w.thread, NULL, slave_main, NULL);
        play();
        finish_text();
        close_driver();
        if (!w.frozen) {
            atomic_store(&w.stop, true);
            pthread_join(w.thread, NULL);
        }
        if (!w.failed)
            compare();
    }
    nftw(w.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    hang_up();
    free(w.options);
    free(w.kept);
    for (size_t i = 0; i < w.rec.slaves; i++)
        free(w.slave[i]);
    recording_free(&w.rec);
    return w.failed;
}

/* --- all of them --- */

struct job {
    char path[512];
    pid_t pid;
    int out;
};
static struct job job[CASES_MAX];
static size_t jobs;

static int find_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)ftw;
    size_t n = strlen(path);
    if (flag == FTW_F && n > 3 && strcmp(path + n - 3, ".in") == 0 && jobs < CASES_MAX)
        snprintf(job[jobs++].path, sizeof job[0].path, "%s", path);
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct job *)a)->path, ((const struct job *)b)->path);
}

static void start(struct job *j)
{
    j->out = memfd_create("out", MFD_CLOEXEC);
    fflush(stdout);
    j->pid = fork();
    if (j->pid != 0)
        return;
    dup2(j->out, STDOUT_FILENO);
    dup2(j->out, STDERR_FILENO);
    int status = run_case(j->path);
    fflush(stdout);
    exit(status); /* the leak checker runs here */
}

static bool tell(struct job *j, int status)
{
    char buf[4096];
    lseek(j->out, 0, SEEK_SET);
    for (ssize_t n; (n = read(j->out, buf, sizeof buf)) > 0;)
        fwrite(buf, 1, (size_t)n, stdout);
    close(j->out);
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!good && !(WIFEXITED(status) && WEXITSTATUS(status) == 1))
        printf("%s: ended by signal %d, status %d\n", j->path, WTERMSIG(status), WEXITSTATUS(status));
    return good;
}

static size_t run_all(void)
{
    size_t bad = 0, started = 0, running = 0;
    while (started < jobs || running > 0) {
        for (; started < jobs && running < AT_ONCE; started++, running++)
            start(&job[started]);
        int status = 0;
        pid_t pid = wait(&status);
        for (size_t i = 0; i < started; i++)
            if (job[i].pid == pid)
                bad += !tell(&job[i], status);
        running--;
    }
    return bad;
}

/* How many there are and what they rest on; a driver without any fails. */
static size_t count_all(bool whole)
{
    size_t real = 0, derived = 0, missing = 0, n[32] = {0};
    for (size_t i = 0; i < jobs; i++) {
        struct recording r;
        char why[200];
        if (recording_read(job[i].path, &r, why, sizeof why)) {
            real += r.real;
            derived += r.derived;
            for (size_t d = 0; driver_all[d] != NULL; d++)
                n[d] += strcmp(driver_all[d]->name, r.driver) == 0;
        }
        recording_free(&r);
    }
    for (size_t d = 0; driver_all[d] != NULL; d++) {
        printf("%s%s %zu", d > 0 ? ", " : "", driver_all[d]->name, n[d]);
        missing += n[d] == 0 && whole;
    }
    printf("\n%zu recordings: %zu real, %zu derived, %zu written by us; %zu drivers without one\n", jobs, real, derived, jobs - real - derived,
           missing);
    return missing;
}

int main(int argc, char **argv)
{
    const char *root = getenv("SCHOOLWARD_SOURCE") != NULL ? getenv("SCHOOLWARD_SOURCE") : ".";
    char path[1024];
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "%.900s/firmware-config/devices", root);
    setenv("SCHOOLWARD_DEVICES", path, 1);
    snprintf(path, sizeof path, "%.900s/tests/replay/recordings", root);
    nftw(path, find_one, 8, FTW_PHYS);
    size_t kept = 0;
    for (size_t i = 0; i < jobs; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strstr(job[i].path, argv[a]) != NULL;
        if (wanted)
            job[kept++] = job[i];
    }
    jobs = kept;
    qsort(job, jobs, sizeof *job, by_path);
    int64_t began = real_ms();
    size_t bad = run_all();
    size_t missing = count_all(argc < 2);
    printf("%zu failed, %lld ms\n", bad, (long long)(real_ms() - began));
    return bad > 0 || missing > 0 || jobs == 0 ? 1 : 0;
}
