/*
 * Every single flipped bit and every truncation of a small outbox: never a crash, never a changed record accepted, never a number given out again
 * that the file as it was had given out. The file without a WAL, and the WAL on its own. And everything else that may stand where the file should: it
 * always starts. In CI one bit of each byte of the header and of each 16th byte behind it goes (which one rotates), and each 199th truncation; SCHOOLWARD_NIGHTLY=1 does all.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "gateway/outbox_store.h"

enum { RECORDS = 300, ALARMS = 40, COPY_MAX = 1 << 20 };
static char dir[64], path[96], wal[112];
static bool nightly;

struct image {
    uint8_t *data;
    size_t n;
};

static struct event record(enum event_lane lane, int32_t number)
{
    struct event e = {.time_ms = 1790000000000 + number, .clock = EVENT_CLOCK_GNSS, .kind = lane == EVENT_LANE_BULK ? EVENT_FIX : EVENT_CAMERA};
    if (lane == EVENT_LANE_BULK)
        e.fix = (struct event_fix){.lat_e7 = 240000000 + number * 977,
                                   .lon_e7 = 1090000000 - number * 331,
                                   .speed_mmps = number * 17 % 20000,
                                   .track_cdeg = number * 91 % 36000,
                                   .alt_dm = number,
                                   .hdop_d = 9,
                                   .satellites = 9,
                                   .mode = EVENT_FIX_3D};
    else
        e.camera = (struct event_camera){.alarm_id = (uint32_t)number, .unit = EVENT_CAMERA_DSM, .type = 1};
    return e;
}

static bool same(const struct event *a, const struct event *b)
{
    if (a->time_ms != b->time_ms || a->kind != b->kind || a->clock != b->clock)
        return false;
    if (a->kind == EVENT_FIX)
        return memcmp(&a->fix, &b->fix, offsetof(struct event_fix, mode) + 1) == 0;
    return a->camera.alarm_id == b->camera.alarm_id && a->camera.unit == b->camera.unit && a->camera.type == b->camera.type;
}

static struct image load(const char *name)
{
    struct image m = {malloc(COPY_MAX), 0};
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0 && m.data != NULL);
    ssize_t n = read(fd, m.data, COPY_MAX);
    assert_true(n >= 0);
    m.n = (size_t)n;
    close(fd);
    return m;
}

static void save(const char *name, const struct image *m)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, m->data, m->n), m->n);
    close(fd);
}

static void clear(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'/outbox.db*", dir);
    assert_int_equal(system(command), 0);
}

static void fill(struct outbox_store *s, int32_t from, int32_t to)
{
    for (int32_t k = from; k <= to; k += 10) {
        assert_int_equal(outbox_store_begin(s), RC_OK);
        struct event e[10];
        for (int i = 0; i < 10; i++)
            e[i] = record(EVENT_LANE_BULK, k + i);
        assert_int_equal(outbox_store_add(s, EVENT_LANE_BULK, e, 10), RC_OK);
        if (k <= ALARMS * 10) {
            e[0] = record(EVENT_LANE_URGENT, k);
            assert_int_equal(outbox_store_add(s, EVENT_LANE_URGENT, e, 1), RC_OK);
        }
        assert_int_equal(outbox_store_commit(s), RC_OK);
    }
}

static unsigned aside, complete;

/* Open what lies there, read everything, compare; then write something and see which number it gets. */
static void look(const char *what, size_t at)
{
    static struct outbox_store s;
    static struct wire_frame f;
    static uint8_t frame[WIRE_FRAME_MAX];
    char note[512], why[512];
    s = (struct outbox_store){0};
    enum rc rc = outbox_store_open(&s, path, note, why, sizeof note);
    if (rc != RC_OK)
        fail_msg("%s %zu: does not start: %s", what, at, why);
    aside += note[0] != '\0';
    size_t found = 0;
    for (int lane = 0; lane < EVENT_LANES; lane++) {
        uint64_t from = 1, first;
        size_t len, n;
        const char *fault;
        while ((rc = outbox_store_read(&s, (enum event_lane)lane, from, UINT64_MAX, 512, false, frame, sizeof frame, &len, &first, &n)) == RC_OK) {
            assert_int_equal(wire_decode(frame, len, &f, &fault), RC_OK);
            for (size_t i = 0; i < n; i++) {
                const struct event *e = &f.batch.event[i];
                if (e->kind == EVENT_GAP)
                    continue;
                /* the sequence of a bulk record is its number; alarms stand at 1, 2, ... for 1, 11, ... */
                int32_t number = lane == EVENT_LANE_BULK ? (int32_t)(first + i) : (int32_t)(first + i) * 10 - 9;
                struct event right = record((enum event_lane)lane, number);
                if (!same(e, &right))
                    fail_msg("%s %zu: lane %d sequence %llu is another record now", what, at, lane, (unsigned long long)(first + i));
                found++;
            }
            from = first + n;
        }
        if (rc != RC_END) /* SQLite sees the damage itself only here: the program opens the file again, and then it is set aside */
            assert_int_equal(rc, RC_CORRUPT);
    }
    complete += found == RECORDS + RECORDS / 10;
    outbox_store_close(&s);
}

static int make(void **state)
{
    (void)state;
    const char *env = getenv("SCHOOLWARD_NIGHTLY");
    nightly = env != NULL && strcmp(env, "1") == 0;
    /* fsync costs nothing there, and 60,000 files are opened */
    snprintf(dir, sizeof dir, "%s/sw-damage-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/outbox.db", dir);
    snprintf(wal, sizeof wal, "%s-wal", path);
    aside = complete = 0;
    return 0;
}

static int drop(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

/* The damage is done to `name`; the other of the two, and the floor, lie there as they were. */
static void damage(const char *name, const struct image *m, const char *other, const struct image *o, const struct image *floor)
{
    char floor_name[112];
    struct image x = {malloc(m->n), m->n};
    size_t flips = 0, cuts = 0;
    assert_non_null(x.data);
    snprintf(floor_name, sizeof floor_name, "%s.floor", path);
    for (size_t at = 0; at < m->n; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            if (!nightly && (bit != at % 8 || (at > 1024 && at % 16 != 0)))
                continue;
            clear();
            memcpy(x.data, m->data, m->n);
            x.data[at] ^= (uint8_t)(1U << bit);
            save(name, &x);
            if (o != NULL)
                save(other, o);
            save(floor_name, floor);
            look("bit of byte", at);
            flips++;
        }
    for (size_t n = 0; n < m->n; n += nightly ? 1 : 199) {
        clear();
        x.n = n;
        memcpy(x.data, m->data, n);
        save(name, &x);
        if (o != NULL)
            save(other, o);
        save(floor_name, floor);
        look("cut at byte", n);
        cuts++;
    }
    free(x.data);
    print_message("bytes=%zu flips=%zu truncations=%zu set_aside=%u complete=%u\n", m->n, flips, cuts, aside, complete);
}

static void test_file_without_wal(void **state)
{
    (void)state;
    static struct outbox_store s;
    char note[512], why[512], name[112];
    s = (struct outbox_store){0};
    assert_int_equal(outbox_store_open(&s, path, note, why, sizeof note), RC_OK);
    fill(&s, 1, RECORDS);
    assert_int_equal(sqlite3_wal_checkpoint_v2(s.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
    outbox_store_close(&s);
    snprintf(name, sizeof name, "%s.floor", path);
    struct image db = load(path), floor = load(name);
    assert_true(db.n <= 65536);
    look("as it was", 0);
    assert_int_equal(complete, 1);
    damage(path, &db, NULL, NULL, &floor);
    assert_true(aside > 0 && complete > 1);
    free(db.data);
    free(floor.data);
}

static void test_wal(void **state)
{
    (void)state;
    static struct outbox_store s;
    char note[512], why[512], name[112];
    s = (struct outbox_store){0};
    assert_int_equal(outbox_store_open(&s, path, note, why, sizeof note), RC_OK);
    fill(&s, 1, 200);
    assert_int_equal(sqlite3_wal_checkpoint_v2(s.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
    fill(&s, 201, RECORDS);
    snprintf(name, sizeof name, "%s.floor", path);
    struct image db = load(path), log = load(wal), floor = load(name); /* as a power cut leaves them */
    outbox_store_close(&s);
    assert_true(log.n > 4096);
    damage(wal, &log, path, &db, &floor);
    free(db.data);
    free(log.data);
    free(floor.data);
}

/* --- whatever stands in its place --- */

static void starts_and_stores(const char *what)
{
    static struct outbox_store s;
    char note[512], why[512];
    s = (struct outbox_store){0};
    enum rc rc = outbox_store_open(&s, path, note, why, sizeof note);
    if (rc != RC_OK)
        fail_msg("%s: %s", what, why);
    print_message("%s: %s\n", what, note);
    assert_int_equal(outbox_store_begin(&s), RC_OK);
    struct event e = record(EVENT_LANE_BULK, 1);
    assert_int_equal(outbox_store_add(&s, EVENT_LANE_BULK, &e, 1), RC_OK);
    assert_int_equal(outbox_store_commit(&s), RC_OK);
    assert_true(s.next_seq[0] > 301); /* above everything that was ever given out */
    outbox_store_close(&s);
}

static void old_file(void)
{
    static struct outbox_store s;
    char note[512], why[512];
    clear();
    s = (struct outbox_store){0};
    assert_int_equal(outbox_store_open(&s, path, note, why, sizeof note), RC_OK);
    fill(&s, 1, RECORDS);
    outbox_store_close(&s);
}

static void test_it_always_starts(void **state)
{
    (void)state;
    setenv("F", path, 1);
    const struct {
        const char *what, *done;
    } harm[] = {
        {"nothing at all", "rm $F"},
        {"an empty file", ": > $F"},
        {"half of it", "truncate -s 6000 $F"},
        {"its header alone", "truncate -s 100 $F"},
        {"another program's file", "seq 100000 > $F"},
        {"a folder", "rm $F; mkdir $F"},
        {"a folder for its WAL", "mkdir $F-wal"},
        {"a folder for its index", "mkdir $F-shm"},
        {"rubbish for its WAL", "head -c 70000 /dev/urandom > $F-wal"},
        {"another database",
         "rm $F; python3 -c \"import sqlite3; sqlite3.connect('$F').executescript('create table outbox (a); pragma user_version=1')\""},
    };
    for (size_t i = 0; i < sizeof harm / sizeof harm[0]; i++) {
        old_file();
        assert_int_equal(system(harm[i].done), 0);
        if (i == 8) { /* nothing of it was in the WAL, so nothing is lost and nothing set aside */
            static struct outbox_store s;
            char note[512], why[512];
            s = (struct outbox_store){0};
            assert_int_equal(outbox_store_open(&s, path, note, why, sizeof note), RC_OK);
            assert_int_equal(s.waiting[0], RECORDS);
            outbox_store_close(&s);
        }
        starts_and_stores(harm[i].what);
    }
}

/* Not readable for the user the gateway runs as. */
static void test_without_rights(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    old_file();
    assert_int_equal(chmod(dir, 0777), 0);
    pid_t pid = fork();
    if (pid == 0) {
        static struct outbox_store s;
        char note[512], why[512];
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(77);
        enum rc rc = outbox_store_open(&s, path, note, why, sizeof note);
        _exit(rc == RC_OK && note[0] != '\0' ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
int main(void)
{
    const struct CMUnitTest tests[] = {T(test_it_always_starts), T(test_without_rights), T(test_file_without_wal), T(test_wal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
