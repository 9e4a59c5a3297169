/* The store of camera files, and which piece of which file goes next: on a real disk, with the server's answers given by hand. */
#include <dirent.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/log.h"
#include "gateway/media.h"
#include "gateway/uplink_media.h"

struct bench {
    uv_loop_t loop;
    char dir[64];
    struct media *m;
    struct driver_store store;
    struct event event[64];
    size_t events;
    unsigned kept;
    bool closed;
};

static void on_event(void *arg, const struct event *e)
{
    struct bench *b = arg;
    const char *field = "";
    struct event whole = *e;
    whole.time_ms = 1;
    assert_int_equal(event_check(&whole, &field), RC_OK);
    assert_true(b->events < 64);
    b->event[b->events++] = *e;
}

static void on_kept(void *arg)
{
    ((struct bench *)arg)->kept++;
}

static void on_closed(void *arg)
{
    ((struct bench *)arg)->closed = true;
}

static void open_store(struct bench *b, uint64_t max_bytes, uint32_t max_items, uint64_t reserve)
{
    char why[256] = "";
    struct media_setup s = {.dir = b->dir,
                            .max_bytes = max_bytes,
                            .max_items = max_items,
                            .item_max = 100000,
                            .reserve_bytes = reserve,
                            .on_event = on_event,
                            .on_kept = on_kept,
                            .arg = b};
    assert_int_equal(media_open(&b->loop, &s, &b->m, why, sizeof why), RC_OK);
    media_store(b->m, &b->store);
}

static void close_store(struct bench *b)
{
    b->closed = false;
    media_close(b->m, on_closed, b);
    while (!b->closed)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static struct bench *bench_new(void)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    log_set_level(LOG_LEVEL_ERROR);
    uv_loop_init(&b->loop);
    snprintf(b->dir, sizeof b->dir, "/tmp/schoolward-media-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    return b;
}

static size_t names(const struct bench *b, const char *end, char out[300])
{
    DIR *d = opendir(b->dir);
    size_t n = 0;
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name), tail = strlen(end);
        if (e->d_name[0] == '.' || len < tail || strcmp(e->d_name + len - tail, end) != 0)
            continue;
        if (n++ == 0 && out != NULL)
            snprintf(out, 300, "%s", e->d_name);
    }
    closedir(d);
    return n;
}

static void bench_free(struct bench *b)
{
    char name[300], path[400];
    while (names(b, "", name) > 0) {
        snprintf(path, sizeof path, "%s/%s", b->dir, name);
        unlink(path);
    }
    rmdir(b->dir);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    free(b);
}

static void fill(uint8_t *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

/* One file of n bytes made from its id; its time is 1000 * id. Waits until it is kept. */
static void keep(struct bench *b, uint32_t id, uint32_t n, uint8_t sha[WIRE_SHA256])
{
    static uint8_t body[100000];
    struct driver_media m = {.unit = EVENT_CAMERA_DSM, .type = EVENT_MEDIA_PICTURE, .id = id, .alarm_id = 7, .time_ms = 1000 * (int64_t)id};
    int file = -1;
    size_t before = b->events;
    fill(body, n, id);
    SHA256(body, n, sha);
    assert_int_equal(b->store.begin(b->store.arg, &m, &file), RC_OK);
    assert_int_equal(b->store.write(b->store.arg, file, n / 2, body + n / 2, n - n / 2), RC_OK); /* the second half first */
    assert_int_equal(b->store.write(b->store.arg, file, 0, body, n / 2), RC_OK);
    b->store.end(b->store.arg, file, n);
    while (b->events == before || b->event[b->events - 1].media.state != EVENT_MEDIA_KEPT)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_memory_equal(b->event[b->events - 1].media.sha256, sha, 16);
    assert_int_equal(b->event[b->events - 1].media.bytes, n);
}

static void survives(void **state)
{
    (void)state;
    struct bench *b = bench_new();
    uint8_t sha[WIRE_SHA256], other[WIRE_SHA256];
    static struct wire_media_part p;
    char path[400], name[300];
    open_store(b, 1 << 20, 10, 0);
    keep(b, 1, 5000, sha);
    assert_int_equal(b->kept, 1);
    /* a half written file, as a power cut leaves it, a stranger's file, and one whose name lies */
    struct driver_media m = {.unit = EVENT_CAMERA_DSM};
    int file = -1;
    assert_int_equal(b->store.begin(b->store.arg, &m, &file), RC_OK);
    assert_int_equal(b->store.write(b->store.arg, file, 0, "half", 4), RC_OK);
    assert_int_equal(names(b, ".tmp", NULL), 1);
    static const char *const left[] = {"77.tmp", "readme.txt", "000000000001-65-0-00000001-00000001-00.jpg"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, left[i]);
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    close_store(b);
    open_store(b, 1 << 20, 10, 0);
    assert_int_equal(names(b, ".tmp", NULL), 0);
    assert_int_equal(names(b, "readme.txt", NULL), 1);
    struct media_figures f;
    media_figures(b->m, &f);
    assert_true(f.items == 1 && f.waiting == 1 && f.bytes == 5000);
    assert_int_equal(media_next(b->m, &p), RC_OK);
    assert_memory_equal(p.sha256, sha, WIRE_SHA256);
    assert_true(p.bytes == 5000 && p.id == 1 && p.alarm_id == 7 && p.time_ms == 1000 && p.unit == EVENT_CAMERA_DSM);
    assert_int_equal(media_read(b->m, &p, 4990, 10), RC_OK);
    uint8_t body[5000];
    fill(body, 5000, 1);
    assert_memory_equal(p.data, body + 4990, 10);
    assert_int_equal(media_read(b->m, &p, 4990, 11), RC_RANGE);
    /* the newest goes first, but what is under way is finished */
    keep(b, 2, 100, other);
    assert_int_equal(media_next(b->m, &p), RC_OK);
    assert_int_equal(p.id, 1);
    media_sent(b->m, sha);
    assert_int_equal(b->event[b->events - 1].media.state, EVENT_MEDIA_SENT);
    assert_int_equal(media_next(b->m, &p), RC_OK);
    assert_int_equal(p.id, 2);
    assert_int_equal(names(b, ".jpg.sent", NULL), 1);
    close_store(b);
    open_store(b, 1 << 20, 10, 0);
    media_figures(b->m, &f);
    assert_true(f.items == 2 && f.waiting == 1);
    /* gone from under us: given up, and told */
    assert_int_equal(names(b, ".jpg", name), 2); /* the lying one is still there, and not ours */
    assert_int_equal(media_next(b->m, &p), RC_OK);
    snprintf(path, sizeof path, "%s/%s", b->dir, strncmp(name, "0000000007d0", 12) == 0 ? name : "");
    if (path[strlen(path) - 1] == '/') {
        DIR *d = opendir(b->dir);
        for (const struct dirent *e; (e = readdir(d)) != NULL;)
            if (strncmp(e->d_name, "0000000007d0", 12) == 0)
                snprintf(path, sizeof path, "%s/%s", b->dir, e->d_name);
        closedir(d);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(media_read(b->m, &p, 0, 10), RC_IO);
    assert_int_equal(b->event[b->events - 1].media.state, EVENT_MEDIA_GIVEN_UP);
    assert_int_equal(media_next(b->m, &p), RC_END);
    close_store(b);
    bench_free(b);
}

static void has_limits(void **state)
{
    (void)state;
    struct bench *b = bench_new();
    uint8_t sha[6][WIRE_SHA256], again[WIRE_SHA256];
    struct media_figures f;
    struct driver_media m = {.unit = EVENT_CAMERA_DSM, .id = 99};
    static uint8_t body[1000];
    int file = -1;
    open_store(b, 10000, 100, 0);
    for (uint32_t i = 1; i <= 3; i++)
        keep(b, i, 3000, sha[i]);
    media_sent(b->m, sha[2]);
    keep(b, 4, 3000, sha[4]); /* 12,000 bytes: the sent one goes */
    media_figures(b->m, &f);
    assert_true(f.items == 3 && f.waiting == 3 && f.given_up == 0);
    size_t before = b->events;
    keep(b, 5, 3000, sha[5]); /* the oldest unsent one goes, and is told */
    assert_int_equal(b->events, before + 2);
    assert_int_equal(b->event[before].media.state, EVENT_MEDIA_GIVEN_UP);
    assert_int_equal(b->event[before].media.id, 1);
    /* the same file again is one file */
    before = b->events;
    m = (struct driver_media){.unit = EVENT_CAMERA_DSM, .id = 5, .alarm_id = 7, .time_ms = 5000};
    static uint8_t five[3000];
    fill(five, 3000, 5);
    SHA256(five, 3000, again);
    assert_memory_equal(again, sha[5], WIRE_SHA256);
    assert_int_equal(b->store.begin(b->store.arg, &m, &file), RC_OK);
    assert_int_equal(b->store.write(b->store.arg, file, 0, five, 3000), RC_OK);
    b->store.end(b->store.arg, file, 3000);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    media_figures(b->m, &f);
    assert_true(f.items == 3 || f.items == 2); /* room was made for it before it was known as a twin */
    assert_int_equal(names(b, ".jpg", NULL), f.items);
    /* larger than one may be; a hole at its end; eight at a time */
    assert_int_equal(b->store.begin(b->store.arg, &m, &file), RC_OK);
    assert_int_equal(b->store.write(b->store.arg, file, 99500, body, 1000), RC_FULL);
    assert_int_equal(b->store.write(b->store.arg, file, 4000000000U, body, 1000), RC_FULL);
    assert_int_equal(b->store.write(b->store.arg, file, 0, body, 1000), RC_OK);
    b->store.end(b->store.arg, file, 1001);
    assert_int_equal(names(b, ".tmp", NULL), 0);
    int open[MEDIA_OPEN_MAX];
    for (int i = 0; i < MEDIA_OPEN_MAX; i++)
        assert_int_equal(b->store.begin(b->store.arg, &m, &open[i]), RC_OK);
    assert_int_equal(b->store.begin(b->store.arg, &m, &file), RC_FULL);
    close_store(b);
    assert_int_equal(names(b, ".tmp", NULL), 0);
    /* the disk must keep more than it has: sent files go, nothing new is taken */
    open_store(b, 10000, 100, UINT64_MAX / 2);
    media_figures(b->m, &f);
    media_sent(b->m, sha[5]);
    assert_int_equal(b->store.begin(b->store.arg, &m, &file), RC_FULL);
    assert_int_equal(names(b, ".sent", NULL), 0);
    close_store(b);
    bench_free(b);
}

static struct wire_media_ack answer(const struct wire_media_part *p, uint32_t next, uint8_t state)
{
    struct wire_media_ack a = {.next = next, .state = state};
    memcpy(a.sha256, p->sha256, WIRE_SHA256);
    return a;
}

static void pieces(void **state)
{
    (void)state;
    struct bench *b = bench_new();
    uint8_t sha[WIRE_SHA256];
    static struct wire_media_part p;
    struct uplink_media u;
    struct wire_media_ack a;
    open_store(b, 1 << 20, 10, 0);
    uplink_media_init(&u, b->m, 10); /* 10,240 bytes a second */
    assert_int_equal(uplink_media_due(&u, 0), -1);
    keep(b, 1, 90000, sha);
    assert_int_equal(uplink_media_due(&u, 0), 0);
    uplink_media_begin(&u);
    assert_int_equal(uplink_media_take(&u, 0, &p), RC_OK);
    assert_true(p.n == 0 && p.offset == 0); /* how much do you have? */
    assert_true(uplink_media_due(&u, 1) > 0);
    a = answer(&p, 50000, WIRE_MEDIA_MORE);
    uplink_media_acked(&u, 10, &a);
    assert_int_equal(uplink_media_take(&u, 10, &p), RC_OK);
    assert_true(p.offset == 50000 && p.n > 0 && p.n <= 8192);
    uint32_t first = p.n;
    a = answer(&p, 50000 + p.n, WIRE_MEDIA_MORE);
    a.sha256[0] ^= 1; /* of another file: nothing */
    uplink_media_acked(&u, 50, &a);
    assert_true(uplink_media_due(&u, 60) > 1000);
    a.sha256[0] ^= 1;
    uplink_media_acked(&u, 60, &a);
    int64_t due = uplink_media_due(&u, 60); /* the rate: so many bytes take so long */
    assert_in_range(due, (int64_t)first * 1000 / 10240 - 60, (int64_t)first * 1000 / 10240);
    assert_int_equal(uplink_media_take(&u, 2000, &p), RC_OK);
    assert_true(p.offset == 50000 + first && p.n >= first); /* answered quickly: larger */
    uint32_t large = p.n;
    a = answer(&p, p.offset + p.n, WIRE_MEDIA_MORE);
    uplink_media_acked(&u, 2900, &a); /* slowly: smaller */
    assert_int_equal(uplink_media_take(&u, 9000, &p), RC_OK);
    assert_true(p.n < large && p.offset == 50000 + first + large);
    /* no answer for half a minute: the question again */
    assert_true(uplink_media_due(&u, 10000) > 0);
    assert_int_equal(uplink_media_due(&u, 39001), 0);
    assert_int_equal(uplink_media_take(&u, 39001, &p), RC_OK);
    assert_int_equal(p.n, 0);
    a = answer(&p, 90000, WIRE_MEDIA_DONE);
    uplink_media_acked(&u, 39050, &a);
    assert_int_equal(b->event[b->events - 1].media.state, EVENT_MEDIA_SENT);
    assert_int_equal(uplink_media_due(&u, 60000), -1);
    /* no room there now: much later, from the question on */
    keep(b, 2, 20000, sha);
    assert_int_equal(uplink_media_take(&u, 60000, &p), RC_OK);
    a = answer(&p, 0, WIRE_MEDIA_LATER);
    uplink_media_acked(&u, 60010, &a);
    assert_true(uplink_media_due(&u, 60011) > 60000);
    /* a server that goes back for ever: given up in the end */
    int64_t now = 1000000;
    unsigned turns = 0;
    for (; turns < 100 && uplink_media_due(&u, now) >= 0; now += 10000, turns++) {
        assert_int_equal(uplink_media_take(&u, now, &p), RC_OK);
        a = answer(&p, 0, WIRE_MEDIA_MORE);
        uplink_media_acked(&u, now + 10, &a);
    }
    assert_in_range(turns, 3, 20);
    assert_int_equal(b->event[b->events - 1].media.state, EVENT_MEDIA_GIVEN_UP);
    /* refused for good */
    keep(b, 3, 20000, sha);
    assert_int_equal(uplink_media_take(&u, now, &p), RC_OK);
    a = answer(&p, 0, WIRE_MEDIA_REFUSED);
    uplink_media_acked(&u, now + 10, &a);
    assert_int_equal(b->event[b->events - 1].media.state, EVENT_MEDIA_GIVEN_UP);
    assert_int_equal(uplink_media_due(&u, now + 100000), -1);
    /* an answer beyond the file must not be believed */
    keep(b, 4, 100, sha);
    now += 100000;
    assert_int_equal(uplink_media_take(&u, now, &p), RC_OK);
    a = answer(&p, 101, WIRE_MEDIA_MORE);
    uplink_media_acked(&u, now + 10, &a);
    for (turns = 0; turns < 100 && uplink_media_due(&u, now) >= 0; now += 40000, turns++)
        if (uplink_media_take(&u, now, &p) == RC_OK)
            assert_true(p.offset + p.n <= 100);
    close_store(b);
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(survives), cmocka_unit_test(has_limits), cmocka_unit_test(pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
