/* The journal with real files, its real thread and a real loop: nothing acknowledged is lost, nothing is doubled, history reads what was put in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/db.h"
#include "server/journal.h"
#include "server/journal_file.h"
#include "server/journal_fold.h"

#define DAY_MS 86400000LL

struct desk {
    char dir[64];
    uv_loop_t loop;
    struct journal *j;
    uint64_t settled;
    int troubles, recoveries;
    bool closed;
};

static int64_t offset_ms; /* the test's day: added to the system's clock */

static int64_t wall(void *arg)
{
    (void)arg;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + offset_ms;
}

static int64_t mono(void *arg)
{
    (void)arg;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_settled(void *arg, uint64_t ticket)
{
    ((struct desk *)arg)->settled = ticket;
}

static void on_trouble(void *arg, const char *text)
{
    struct desk *d = arg;
    if (text != NULL)
        d->troubles++;
    else
        d->recoveries++;
}

static void on_closed(void *arg)
{
    ((struct desk *)arg)->closed = true;
}

static void desk_open(struct desk *d)
{
    char why[256] = "";
    struct journal_setup s = {d->dir, 10, on_settled, on_trouble, d};
    d->settled = 0;
    d->closed = false;
    assert_int_equal(uv_loop_init(&d->loop), 0);
    enum rc rc = journal_open(&d->loop, &s, &d->j, why, sizeof why);
    if (rc != RC_OK)
        fail_msg("%s", why);
}

static void desk_close(struct desk *d)
{
    journal_close(d->j, on_closed, d);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    assert_true(d->closed);
    assert_int_equal(uv_loop_close(&d->loop), 0);
}

static int setup(void **state)
{
    struct desk *d = calloc(1, sizeof *d);
    snprintf(d->dir, sizeof d->dir, "/tmp/test-journal-XXXXXX");
    if (mkdtemp(d->dir) == NULL)
        return -1;
    offset_ms = 0;
    clock_set_source(wall, mono, NULL);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct desk *d = *state;
    char path[400];
    DIR *dir = opendir(d->dir);
    for (const struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir))
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", d->dir, e->d_name);
            unlink(path);
        }
    if (dir != NULL)
        closedir(dir);
    rmdir(d->dir);
    free(d);
    clock_set_source(NULL, NULL, NULL);
    return 0;
}

static struct event fix_at(int64_t ms, int32_t i)
{
    return (struct event){.time_ms = ms,
                          .kind = EVENT_FIX,
                          .clock = EVENT_CLOCK_GNSS,
                          .fix = {512000000 + i * 10, 714000000 + i * 20, 10000 + i % 5000, (i * 7) % 36000, 3500, 9, 12, EVENT_FIX_3D, 0}};
}

/* One frame of n fixes, a second apart, the first at ms. */
static uint64_t put(struct desk *d, const char *gateway, struct wire_settled *set, uint64_t seq, size_t n, int64_t ms, int64_t arrival_ms, bool backlog)
{
    struct event e[WIRE_BATCH_MAX];
    uint8_t frame[8192];
    size_t len;
    uint64_t ticket = 0;
    for (size_t i = 0; i < n; i++)
        e[i] = fix_at(ms + (int64_t)i * 1000, (int32_t)(seq + i));
    assert_int_equal(wire_encode_batch(EVENT_LANE_BULK, seq, backlog, e, n, frame, sizeof frame, &len), RC_OK);
    assert_int_equal(wire_settle(set, seq, seq + n - 1), RC_OK);
    assert_int_equal(journal_put(d->j, gateway, EVENT_LANE_BULK, arrival_ms, frame, len, set, &ticket), RC_OK);
    return ticket;
}

static void wait_settled(struct desk *d, uint64_t ticket)
{
    while (d->settled < ticket)
        uv_run(&d->loop, UV_RUN_ONCE);
}

struct tale {
    size_t n, late;
    uint64_t seq[4096];
    int64_t time_ms[4096];
    char gateway[64];
};

static bool each(void *arg, const struct journal_row *row)
{
    struct tale *t = arg;
    assert_true(t->n < 4096);
    t->seq[t->n] = row->seq;
    t->time_ms[t->n] = row->event->time_ms;
    t->n++;
    t->late += row->late;
    snprintf(t->gateway, sizeof t->gateway, "%s", row->gateway);
    struct event want = fix_at(row->event->time_ms, (int32_t)row->seq);
    assert_int_equal(row->event->fix.lat_e7, want.fix.lat_e7);
    assert_int_equal(row->event->fix.lon_e7, want.fix.lon_e7);
    assert_int_equal(row->event->fix.speed_mmps, want.fix.speed_mmps);
    assert_int_equal(row->event->fix.track_cdeg, want.fix.track_cdeg);
    return true;
}

static size_t follow_all(struct desk *d, struct journal_cursor *c, struct tale *t)
{
    enum rc rc;
    *t = (struct tale){0};
    while ((rc = journal_follow(d->j, c, 100, each, t)) == RC_OK)
        ;
    assert_int_equal(rc, RC_AGAIN);
    return t->n;
}

static void test_put_follow_history(void **state)
{
    struct desk *d = *state;
    struct wire_settled a = {0}, b = {0}, got;
    struct tale *t = calloc(1, sizeof *t);
    struct journal_cursor c = {0};
    int64_t now = clock_wall_ms();
    uint64_t ticket = 0;
    desk_open(d);
    for (uint64_t i = 0; i < 50; i++) {
        put(d, "gw-a", &a, 1 + i * 4, 4, now - 200000 + (int64_t)i * 4000, now, false);
        ticket = put(d, "gw-b", &b, 1 + i, 1, now - 50000 + (int64_t)i * 1000, now, false);
    }
    wait_settled(d, ticket);
    assert_int_equal(follow_all(d, &c, t), 250);
    assert_int_equal(journal_follow(d->j, &c, 100, each, t), RC_AGAIN);
    *t = (struct tale){0};
    assert_int_equal(journal_history(d->j, "gw-a", 0, INT64_MAX, 4000, each, t), RC_OK);
    assert_int_equal(t->n, 200);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(t->seq[i], i + 1);
    assert_int_equal(t->late, 140); /* older than a minute when they came */
    *t = (struct tale){0};
    assert_int_equal(journal_history(d->j, "gw-b", now - 50000, now - 50000 + 10000, 4000, each, t), RC_OK);
    assert_int_equal(t->n, 10); /* half open */
    *t = (struct tale){0};
    assert_int_equal(journal_history(d->j, "gw-a", 0, INT64_MAX, 7, each, t), RC_FULL);
    assert_int_equal(t->n, 7);
    assert_int_equal(t->seq[6], 7); /* the earliest ones */
    *t = (struct tale){0};
    assert_int_equal(journal_history(d->j, "gw-nobody", 0, INT64_MAX, 7, each, t), RC_OK);
    assert_int_equal(t->n, 0);
    desk_close(d);
    /* the next start knows what is settled, from the groups alone and from the snapshot */
    for (int round = 0; round < 2; round++) {
        desk_open(d);
        journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &got);
        assert_int_equal(got.through, 200);
        journal_settled(d->j, "gw-b", EVENT_LANE_BULK, &got);
        assert_int_equal(got.through, 50);
        journal_settled(d->j, "gw-b", EVENT_LANE_URGENT, &got);
        assert_int_equal(got.through, 0);
        wait_settled(d, put(d, "gw-c", &(struct wire_settled){0}, 1, 1, now, now, false));
        desk_close(d);
    }
    free(t);
}

static void test_gaps_and_waiting(void **state)
{
    struct desk *d = *state;
    struct wire_settled s = {0}, got;
    int64_t now = clock_wall_ms();
    desk_open(d);
    struct journal_cursor start = {0};
    assert_false(journal_wait(d->j, &start, 20));
    for (uint64_t i = 0; i < 40; i++)
        put(d, "gw-a", &s, 10 + i * 10, 3, now, now, false);
    wait_settled(d, put(d, "gw-a", &s, 1, 2, now, now, true));
    assert_true(journal_wait(d->j, &start, 1000));
    assert_int_equal(s.ranges, 40);
    desk_close(d);
    desk_open(d);
    journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &got);
    assert_int_equal(got.through, 2);
    assert_int_equal(got.ranges, 40);
    assert_int_equal(got.range[39].to, 402);
    /* the gaps close: the set is small again, after a restart too */
    for (uint64_t i = 0; i < 40; i++)
        put(d, "gw-a", &got, 3 + i * 10, 7, now, now, true);
    uint64_t ticket = put(d, "gw-a", &got, 403, 1, now, now, false);
    wait_settled(d, ticket);
    assert_int_equal(got.ranges, 0);
    desk_close(d);
    desk_open(d);
    journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &got);
    assert_int_equal(got.through, 403);
    assert_int_equal(got.ranges, 0);
    desk_close(d);
}

static void test_days_and_fold(void **state)
{
    struct desk *d = *state;
    struct wire_settled s = {0}, got;
    struct tale *t = calloc(1, sizeof *t);
    struct journal_cursor c = {0};
    int64_t now = clock_wall_ms(), midnight = now - now % DAY_MS;
    offset_ms = midnight + DAY_MS - 600000 - now; /* ten minutes before midnight */
    int64_t base = clock_wall_ms();
    desk_open(d);
    uint64_t seq = 1, ticket = 0;
    for (int minute = 0; minute < 20; minute++) { /* over midnight, arrival told by us */
        int64_t at = base + minute * 60000;
        ticket = put(d, "gw-a", &s, seq, 60, at - 59000, at, false);
        seq += 60;
        if (minute % 5 == 4) { /* and some late ones */
            ticket = put(d, "gw-a", &s, seq, 10, at - 7200000, at, true);
            seq += 10;
        }
        wait_settled(d, ticket);
    }
    size_t total = seq - 1;
    assert_int_equal(follow_all(d, &c, t), total);
    assert_int_equal(c.day, journal_file_day(base + 20 * 60000));
    desk_close(d);
    offset_ms += 2 * 3600000; /* two hours later all windows are over: the writer folds when idle */
    desk_open(d);
    wait_settled(d, put(d, "gw-b", &(struct wire_settled){0}, 1, 1, clock_wall_ms(), clock_wall_ms(), false));
    char path[JOURNAL_FILE_PATH_MAX], why[256];
    int64_t folded = 0, chunks = 0;
    for (int tries = 0; tries < 1000 && (folded == 0 || chunks < 6); tries++) {
        int32_t days[2] = {journal_file_day(base), journal_file_day(base + DAY_MS)};
        folded = 1;
        chunks = 0;
        for (int i = 0; i < 2; i++) {
            sqlite3 *db = NULL;
            sqlite3_stmt *q = NULL;
            journal_file_path(d->dir, days[i], path);
            assert_int_equal(db_open_readonly(path, &db, why, sizeof why), RC_OK);
            folded = folded != 0 && journal_file_meta(db, "folded", 0) > 0;
            assert_int_equal(db_prepare(db, "SELECT count(*) FROM chunk", &q), RC_OK);
            assert_int_equal(sqlite3_step(q), SQLITE_ROW);
            chunks += sqlite3_column_int64(q, 0);
            sqlite3_finalize(q);
            db_close(db);
        }
        usleep(10000);
    }
    assert_true(folded != 0);
    assert_in_range(chunks, 6, 12); /* live and late ones of each five minutes that have them */
    /* history is the same as before, read from the chunks */
    *t = (struct tale){0};
    assert_int_equal(journal_history(d->j, "gw-a", 0, INT64_MAX, 4000, each, t), RC_OK);
    assert_int_equal(t->n, total);
    assert_int_equal(t->late, 40);
    for (size_t i = 1; i < t->n; i++)
        assert_true(t->time_ms[i] >= t->time_ms[i - 1]);
    *t = (struct tale){0};
    assert_int_equal(journal_history(d->j, "gw-a", base, base + 60000, 4000, each, t), RC_OK);
    assert_int_equal(t->n, 60);
    /* and a follower who was away reads the groups, once */
    c = (struct journal_cursor){0};
    assert_int_equal(follow_all(d, &c, t), total + 1);
    desk_close(d);
    /* much later the groups are given up: the chunks tell the same */
    offset_ms += 15 * DAY_MS;
    desk_open(d);
    wait_settled(d, put(d, "gw-b", &(struct wire_settled){0}, 2, 1, clock_wall_ms(), clock_wall_ms(), false));
    int64_t left = 1;
    for (int tries = 0; tries < 1000 && left > 0; tries++) {
        left = 0;
        for (int i = 0; i < 2; i++) {
            sqlite3 *db = NULL;
            sqlite3_stmt *q = NULL;
            journal_file_path(d->dir, journal_file_day(base + i * DAY_MS), path);
            assert_int_equal(db_open_readonly(path, &db, why, sizeof why), RC_OK);
            assert_int_equal(db_prepare(db, "SELECT count(*) FROM arrival", &q), RC_OK);
            left += sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 1;
            sqlite3_finalize(q);
            db_close(db);
        }
        usleep(10000);
    }
    assert_int_equal(left, 0);
    c = (struct journal_cursor){0};
    assert_int_equal(follow_all(d, &c, t), total + 2);
    *t = (struct tale){0};
    assert_int_equal(journal_history(d->j, "gw-a", 0, INT64_MAX, 4000, each, t), RC_OK);
    assert_int_equal(t->n, total);
    journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &got);
    assert_int_equal(got.through, total);
    desk_close(d);
    free(t);
}

static void released(void *p)
{
    free(p);
}

static void test_checkpoint(void **state)
{
    struct desk *d = *state;
    struct wire_settled s = {0};
    struct tale *t = calloc(1, sizeof *t);
    int64_t now = clock_wall_ms();
    desk_open(d);
    put(d, "gw-a", &s, 1, 10, now, now, false);
    journal_save(d->j, strdup("as of ten"), 10, released); /* in the midst of a group */
    wait_settled(d, put(d, "gw-a", &s, 11, 5, now + 20000, now, false));
    desk_close(d);
    desk_open(d);
    void *blob = NULL;
    size_t n = 0;
    struct journal_cursor c = {0};
    assert_int_equal(journal_load(d->j, &blob, &n, &c), RC_OK);
    assert_int_equal(n, 10);
    assert_string_equal(blob, "as of ten");
    free(blob);
    assert_int_equal(follow_all(d, &c, t), 5);
    assert_int_equal(t->seq[0], 11);
    journal_save(d->j, strdup("as of all"), 10, released); /* nothing open: as of the last group */
    desk_close(d);
    desk_open(d);
    assert_int_equal(journal_load(d->j, &blob, &n, &c), RC_OK);
    assert_string_equal(blob, "as of all");
    free(blob);
    assert_int_equal(follow_all(d, &c, t), 0);
    desk_close(d);
    /* half a checkpoint is none */
    char path[128];
    snprintf(path, sizeof path, "%s/checkpoint", d->dir);
    assert_int_equal(truncate(path, 41), 0);
    desk_open(d);
    assert_int_equal(journal_load(d->j, &blob, &n, &c), RC_OK);
    assert_null(blob);
    assert_int_equal(c.day, 0);
    desk_close(d);
    free(t);
}

static void scribble(const char *path, off_t from, size_t n)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    char junk[4096];
    memset(junk, 0x5a, sizeof junk);
    for (size_t i = 0; i < n; i += sizeof junk)
        assert_int_equal(pwrite(fd, junk, sizeof junk, from + (off_t)i), sizeof junk);
    close(fd);
}

static void test_damage(void **state)
{
    struct desk *d = *state;
    struct wire_settled s = {0}, got;
    struct tale *t = calloc(1, sizeof *t);
    int64_t now = clock_wall_ms();
    desk_open(d); /* yesterday's file, and today's */
    put(d, "gw-a", &s, 1, 10, now - DAY_MS, now - DAY_MS, false);
    wait_settled(d, 1);
    wait_settled(d, put(d, "gw-a", &s, 11, 10, now, now, false));
    desk_close(d);
    char path[JOURNAL_FILE_PATH_MAX];
    journal_file_path(d->dir, journal_file_day(now), path);
    scribble(path, 0, 8192); /* not a database any more */
    desk_open(d);
    journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &got);
    assert_int_equal(got.through, 10); /* yesterday's word */
    struct journal_cursor c = {journal_file_day(now), 1}; /* a follower had read the lost file's group 1 */
    wait_settled(d, put(d, "gw-a", &got, 21, 3, now, now, false));
    assert_int_equal(follow_all(d, &c, t), 3); /* and misses nothing of the new file */
    desk_close(d);
    int aside = 0;
    DIR *dir = opendir(d->dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        aside += strstr(e->d_name, ".bad-") != NULL;
    closedir(dir);
    assert_true(aside >= 1);
    free(t);
}

static bool in_order(void *arg, const struct journal_row *row)
{
    uint64_t *next = arg;
    assert_int_equal(row->seq, *next); /* every one, once, in order */
    ++*next;
    return true;
}

/* kill -9 at a random moment: what was told as settled is there, once. */
static void test_kill(void **state)
{
    struct desk *d = *state;
    uint64_t acked = 0, seq = 1;
    srand(7);
    for (int round = 0; round < 25; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct wire_settled s;
            desk_open(d);
            journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &s);
            static uint64_t ticket[65536];
            uint64_t told = 0;
            uint64_t next = s.through + 1, first = next;
            for (;;) {
                int64_t now = clock_wall_ms();
                ticket[(next - first) % 65536] = put(d, "gw-a", &s, next, 1, now, now, false);
                next++;
                uv_run(&d->loop, UV_RUN_NOWAIT);
                while (first + told < next && ticket[told % 65536] <= d->settled)
                    told++;
                uint64_t say = first + told - 1;
                if (write(pipes[1], &say, sizeof say) != sizeof say)
                    _exit(1);
            }
        }
        close(pipes[1]);
        usleep((useconds_t)(rand() % 120000));
        kill(child, SIGKILL);
        uint64_t say;
        while (read(pipes[0], &say, sizeof say) == sizeof say)
            if (say > acked)
                acked = say;
        close(pipes[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    desk_open(d);
    struct wire_settled s;
    journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &s);
    assert_true(s.through >= acked);
    assert_true(acked > 100);
    struct journal_cursor c = {0};
    enum rc rc;
    do
        rc = journal_follow(d->j, &c, 1000, in_order, &seq);
    while (rc == RC_OK);
    assert_int_equal(rc, RC_AGAIN);
    assert_int_equal(seq - 1, s.through);
    print_message("acked %llu of %llu over 25 kills\n", (unsigned long long)acked, (unsigned long long)s.through);
    desk_close(d);
}

static void test_disk_full(void **state)
{
    struct desk *d = *state;
    struct wire_settled s = {0}, got;
    struct tale *t = calloc(1, sizeof *t);
    struct rlimit old, small;
    struct journal_cursor c = {0};
    int64_t now = clock_wall_ms();
    desk_open(d);
    wait_settled(d, put(d, "gw-a", &s, 1, 1, now, now, false));
    /* a file size limit stands for the full disk: writes fail with EFBIG */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint64_t ticket = put(d, "gw-a", &s, 2, 1, now, now, false), before = d->settled;
    while (d->troubles == 0)
        uv_run(&d->loop, UV_RUN_ONCE);
    assert_int_equal(d->settled, before); /* nothing is acknowledged */
    assert_true(ticket > before);
    put(d, "gw-a", &s, 3, 1, now, now, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    while (d->recoveries == 0)
        uv_run(&d->loop, UV_RUN_ONCE);
    wait_settled(d, ticket + 1);
    assert_int_equal(follow_all(d, &c, t), 3);
    struct journal_figures f;
    journal_figures(d->j, &f);
    assert_true(f.failures > 0);
    desk_close(d);
    desk_open(d);
    journal_settled(d->j, "gw-a", EVENT_LANE_BULK, &got);
    assert_int_equal(got.through, 3);
    desk_close(d);
    free(t);
}

static void test_queue_limit(void **state)
{
    struct desk *d = *state;
    struct wire_settled s = {0};
    struct rlimit old, small;
    static uint8_t frame[WIRE_FRAME_MAX];
    uint64_t ticket, taken = 0;
    desk_open(d);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    s.through = 1;
    while (journal_put(d->j, "gw-a", EVENT_LANE_BULK, 1, frame, sizeof frame, &s, &ticket) == RC_OK)
        assert_true(++taken < 2000);
    assert_in_range(taken, 900, 1024); /* 64 MiB */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    wait_settled(d, ticket);
    assert_int_equal(journal_put(d->j, "gw-a", EVENT_LANE_BULK, 1, frame, sizeof frame, &s, &ticket), RC_OK);
    assert_int_equal(journal_put(d->j, "gw-a", EVENT_LANE_BULK, 1, frame, sizeof frame + 1, &s, &ticket), RC_INVALID);
    desk_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_follow_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gaps_and_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_days_and_fold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_limit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
