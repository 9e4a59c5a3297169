/*
 * outbox-feeder PATH GROUP_MS MAX_BYTES [STEPS-FILE]: the gateway's outbox, and nothing else, on the words of a test that outlives it. The test is
 * the server and the ledger: it makes the records, keeps what it was given under (lane, sequence), and knows each record by its number, not by its
 * sequence.
 *
 * In, one word list per line (from the file, then from standard input):
 *   put LANE FROM TO      records with these numbers, one after the other; bulk ones are positions, urgent ones camera alarms
 *   wait LANE N           until N records that were put into the lane are stored
 *   full                  until the disk is reported full, or stored is all there is
 *   welcome THROUGH0 RANGES0 THROUGH1 RANGES1   ranges as a-b,c-d or -
 *   insist (likewise)     the same again until the outbox takes it: nothing may be sent before
 *   fetch LANE            from the oldest above what was fetched on this connection, one batch
 *   drain LANE            all of it
 *   ack LANE THROUGH
 *   offline | figures | quit
 * Out:
 *   open                                     the outbox has started
 *   stored LANE N                            so many of those put are stored
 *   batch LANE FIRST SKIPPED N: NUMBER ...   a record's number, or gap:LANE:FROM:TO:COUNT:REASON
 *   end LANE | trouble TEXT | over | welcomed | figures ... | bye
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "gateway/outbox.h"

static uv_loop_t loop;
static struct outbox *outbox;
static struct outbox_figures figures;
static uint64_t told[EVENT_LANES], after[EVENT_LANES] = {1, 1};
static bool answered, ended, full, quiet, welcomed;
static struct wire_frame frame;

/* One write per line: the reader sees whole lines whatever becomes of us. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[16384];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line - 1, format, ap);
    va_end(ap);
    line[n++] = '\n';
    if (write(1, line, (size_t)n) != n)
        _exit(3);
}

static void look(void)
{
    outbox_figures(outbox, &figures);
    for (int i = 0; i < EVENT_LANES; i++)
        if (figures.stored_of[i] > told[i]) {
            told[i] = figures.stored_of[i];
            say("stored %d %" PRIu64, i, told[i]);
        }
}

static void on_stored(void *arg, enum event_lane lane, uint64_t last)
{
    (void)arg, (void)lane, (void)last;
    look();
}

static void on_trouble(void *arg, const char *text)
{
    (void)arg;
    full = full || text != NULL;
    if (!quiet)
        say(text != NULL ? "trouble %s" : "over", text);
}

static void on_batch(void *arg, enum rc rc, enum event_lane lane, const void *data, size_t len, uint64_t first, size_t n)
{
    (void)arg;
    const char *fault;
    answered = true;
    ended = rc != RC_OK;
    if (rc != RC_OK) {
        say("end %d %s", lane, rc_text(rc));
        return;
    }
    if (wire_decode(data, len, &frame, &fault) != RC_OK || frame.batch.first_seq != first || frame.batch.n != n || frame.batch.lane != lane) {
        say("malformed");
        _exit(4);
    }
    char line[12000];
    size_t at = (size_t)snprintf(line, sizeof line, "batch %d %" PRIu64 " %" PRIu64 " %zu:", lane, first, frame.batch.skipped, n);
    for (size_t i = 0; i < n && at < sizeof line - 128; i++) {
        const struct event *e = &frame.batch.event[i];
        if (e->kind == EVENT_GAP)
            at += (size_t)snprintf(line + at, sizeof line - at, " gap:%u:%" PRIu64 ":%" PRIu64 ":%u:%u", e->gap.lane, e->gap.from_seq, e->gap.to_seq,
                                   e->gap.n, e->gap.reason);
        else
            at += (size_t)snprintf(line + at, sizeof line - at, " %d", e->kind == EVENT_FIX ? e->fix.alt_dm : (int)e->camera.alarm_id);
    }
    after[lane] = first + n;
    say("%s", line);
}

static void on_welcome(void *arg, enum rc rc)
{
    (void)arg;
    answered = true;
    welcomed = rc == RC_OK;
    say(rc == RC_OK ? "welcomed" : "unwelcome %s", rc_text(rc));
}

static void on_stopped(void *arg)
{
    (void)arg;
    answered = true;
}

static void on_wake(uv_timer_t *t)
{
    (void)t;
}

static void turn(void)
{
    uv_run(&loop, UV_RUN_ONCE);
    look();
}

static void put(int lane, int from, int to)
{
    for (int k = from; k <= to; k++) {
        struct event e = {.time_ms = 1790000000000 + (int64_t)k * 1000, .clock = EVENT_CLOCK_GNSS, .kind = lane == 0 ? EVENT_FIX : EVENT_CAMERA};
        if (lane == 0)
            e.fix = (struct event_fix){.lat_e7 = 240000000 + k % 7919 * 1013,
                                       .lon_e7 = 1080000000 + k % 104729 * 17,
                                       .speed_mmps = k * 7 % 20000,
                                       .track_cdeg = k * 37 % 36000,
                                       .alt_dm = k,
                                       .hdop_d = 9,
                                       .satellites = 11,
                                       .mode = EVENT_FIX_3D};
        else
            e.camera = (struct event_camera){.alarm_id = (uint32_t)k, .unit = EVENT_CAMERA_DSM, .type = 1};
        while (outbox_put(outbox, (enum event_lane)lane, &e) == RC_FULL)
            turn();
    }
}

static void ranges(struct wire_ack *a, const char *text)
{
    for (char *end; *text >= '0' && *text <= '9' && a->ranges < WIRE_RANGES_MAX; text = *end == ',' ? end + 1 : end) {
        a->range[a->ranges].from = strtoull(text, &end, 10);
        a->range[a->ranges].to = *end == '-' ? strtoull(end + 1, &end, 10) : a->range[a->ranges].from;
        a->ranges++;
    }
}

static void fetch(int lane)
{
    answered = false;
    outbox_fetch(outbox, (enum event_lane)lane, after[lane], UINT64_MAX, WIRE_BATCH_MAX, true, on_batch, NULL);
    while (!answered)
        turn();
}

static bool step(const char *line)
{
    char word[16] = "", r[2][4096];
    int a = 0, b = 0, c = 0;
    unsigned long long t[2];
    sscanf(line, "%15s %d %d %d", word, &a, &b, &c);
    int lane = a == 1;
    if (strcmp(word, "put") == 0) {
        put(lane, b, c);
    } else if (strcmp(word, "wait") == 0) {
        while (told[lane] < (uint64_t)b)
            turn();
    } else if (strcmp(word, "full") == 0) {
        while (!full)
            turn();
    } else if ((strcmp(word, "welcome") == 0 || strcmp(word, "insist") == 0) && sscanf(line, "%*s %llu %4095s %llu %4095s", &t[0], r[0], &t[1], r[1]) == 4) {
        struct wire_ack ack[EVENT_LANES] = {0};
        for (int i = 0; i < EVENT_LANES; i++) {
            ack[i].lane = (uint8_t)i;
            ack[i].through = t[i];
            ranges(&ack[i], r[i]);
            after[i] = 1;
        }
        do {
            answered = false;
            outbox_welcome(outbox, ack, on_welcome, NULL);
            while (!answered)
                turn();
        } while (!welcomed && word[0] == 'i');
    } else if (strcmp(word, "fetch") == 0) {
        fetch(lane);
    } else if (strcmp(word, "drain") == 0) {
        do
            fetch(lane);
        while (!ended);
    } else if (strcmp(word, "ack") == 0) {
        struct wire_ack ack = {.lane = (uint8_t)lane, .through = strtoull(strchr(strchr(line, ' ') + 1, ' '), NULL, 10)};
        outbox_acked(outbox, &ack);
    } else if (strcmp(word, "offline") == 0) {
        outbox_offline(outbox);
    } else if (strcmp(word, "figures") == 0) {
        look();
        say("figures waiting %" PRIu64 " %" PRIu64 " given_up %" PRIu64 " file %" PRId64 " commits %" PRIu64 " written %" PRIu64, figures.waiting[0],
            figures.waiting[1], figures.given_up, figures.file_bytes, figures.commits, figures.bytes_written);
    } else if (strcmp(word, "die") == 0) {
        _exit(9);
    } else if (strcmp(word, "quit") == 0) {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    char why[512], line[16384];
    if (argc < 4)
        return 2;
    quiet = getenv("FEEDER_QUIET") != NULL;
    log_set_level(LOG_LEVEL_ERROR);
    uv_loop_init(&loop);
    struct outbox_setup s = {
        .path = argv[1], .group_ms = atoi(argv[2]), .max_bytes = atoll(argv[3]), .on_stored = on_stored, .on_trouble = on_trouble};
    if (outbox_start(&loop, &s, &outbox, why, sizeof why) != RC_OK) {
        say("refused %s", why);
        return 1;
    }
    uv_timer_t wake;
    uv_timer_init(&loop, &wake);
    uv_timer_start(&wake, on_wake, 2, 2);
    say("open");
    FILE *f = argc > 4 ? fopen(argv[4], "r") : stdin;
    bool go = true;
    while (go && f != NULL && fgets(line, sizeof line, f) != NULL)
        go = step(line);
    answered = false;
    outbox_stop(outbox, on_stopped, NULL);
    uv_unref((uv_handle_t *)&wake);
    while (!answered)
        uv_run(&loop, UV_RUN_ONCE);
    say("bye");
    return 0;
}
