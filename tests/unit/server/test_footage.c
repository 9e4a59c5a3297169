/* Pictures arriving at the office: in pieces, over restarts, damaged, too large, too many; on a real disk. */
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
#include "server/footage.h"
#include "tempdir.h"

static uv_loop_t loop;
static char dir[64];
static struct footage *f;
static struct wire_media_ack answered;
static char answered_to[40];
static unsigned answers;
static bool closed;
static struct wire_media_part p;

static void on_answer(void *arg, const char *gateway, const struct wire_media_ack *a)
{
    (void)arg;
    answered = *a;
    snprintf(answered_to, sizeof answered_to, "%s", gateway);
    answers++;
}

static void on_closed(void *arg)
{
    (void)arg;
    closed = true;
}

static void open_it(uint64_t gateway_bytes, uint64_t total_bytes, uint64_t reserve)
{
    char why[256] = "";
    struct footage_setup s = {
        .dir = dir, .gateway_bytes = gateway_bytes, .total_bytes = total_bytes, .item_max = 100000, .reserve_bytes = reserve, .on_answer = on_answer};
    if (footage_open(&loop, &s, &f, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
}

static void close_it(void)
{
    closed = false;
    footage_close(f, on_closed, NULL);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    uv_loop_init(&loop);
    snprintf(dir, sizeof dir, "/tmp/schoolward-footage-XXXXXX");
    answers = 0;
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) != 0 || tempdir_remove(dir);
}

static uint8_t body[100000];

static void announce(uint32_t n, uint32_t seed, int64_t time_ms)
{
    uint32_t x = seed;
    for (uint32_t i = 0; i < n; i++)
        body[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    p = (struct wire_media_part){.bytes = n, .time_ms = time_ms, .id = seed, .alarm_id = 7, .unit = EVENT_CAMERA_DSM, .type = EVENT_MEDIA_PICTURE};
    SHA256(body, n, p.sha256);
}

static enum rc put(const char *gateway, uint32_t offset, uint32_t n, struct wire_media_ack *a)
{
    p.offset = offset;
    p.n = n;
    memcpy(p.data, body + offset, n);
    return footage_take(f, gateway, &p, a);
}

static void wait_answer(unsigned before)
{
    while (answers == before)
        uv_run(&loop, UV_RUN_ONCE);
}

static void whole(const char *gateway, uint32_t n, uint32_t seed, int64_t time_ms)
{
    struct wire_media_ack a;
    unsigned before = answers;
    announce(n, seed, time_ms);
    for (uint32_t at = 0; at < n;) {
        uint32_t k = n - at < WIRE_MEDIA_DATA_MAX ? n - at : WIRE_MEDIA_DATA_MAX;
        enum rc rc = put(gateway, at, k, &a);
        at += k;
        assert_int_equal(rc, at == n ? RC_AGAIN : RC_OK);
        assert_true(at == n || a.next == at);
    }
    wait_answer(before);
    assert_int_equal(answered.state, WIRE_MEDIA_DONE);
    assert_string_equal(answered_to, gateway);
}

static void count_each(void *arg, const struct footage_item *i)
{
    (void)i;
    ++*(size_t *)arg;
}

static size_t listed(const char *gateway)
{
    size_t n = 0;
    assert_int_equal(footage_list(f, gateway, 0, INT64_MAX, 1000, count_each, &n), RC_OK);
    return n;
}

static void resumes(void **state)
{
    (void)state;
    struct wire_media_ack a;
    struct footage_item i;
    void *bytes = NULL;
    open_it(1 << 20, 1 << 20, 0);
    announce(50000, 1, 1000);
    assert_int_equal(put("gw-1", 0, 0, &a), RC_OK); /* how much is there? */
    assert_true(a.state == WIRE_MEDIA_MORE && a.next == 0);
    assert_int_equal(put("gw-1", 0, 16384, &a), RC_OK);
    assert_int_equal(a.next, 16384);
    assert_int_equal(put("gw-1", 30000, 100, &a), RC_OK); /* a gap: from where it ended */
    assert_int_equal(a.next, 16384);
    assert_int_equal(put("gw-1", 0, 16384, &a), RC_OK); /* once more: the same answer */
    assert_int_equal(a.next, 16384);
    close_it(); /* a restart of the server */
    open_it(1 << 20, 1 << 20, 0);
    assert_int_equal(put("gw-1", 0, 0, &a), RC_OK);
    assert_int_equal(a.next, 16384);
    assert_int_equal(put("gw-2", 0, 0, &a), RC_OK); /* another bus has its own */
    assert_int_equal(a.next, 0);
    assert_int_equal(put("gw-1", 16384, 16384, &a), RC_OK);
    unsigned before = answers;
    assert_int_equal(put("gw-1", 32768, 16384, &a), RC_OK);
    assert_int_equal(put("gw-1", 49152, 848, &a), RC_AGAIN);
    assert_int_equal(put("gw-1", 0, 0, &a), RC_AGAIN); /* asked while it is being checked: one answer */
    wait_answer(before);
    assert_int_equal(answered.state, WIRE_MEDIA_DONE);
    assert_int_equal(put("gw-1", 0, 0, &a), RC_OK); /* the answer was lost */
    assert_int_equal(a.state, WIRE_MEDIA_DONE);
    assert_int_equal(listed("gw-1"), 1);
    assert_int_equal(footage_find(f, p.sha256, &i), RC_OK);
    assert_true(i.bytes == 50000 && i.time_ms == 1000 && i.id == 1 && i.alarm_id == 7 && i.unit == EVENT_CAMERA_DSM &&
                strcmp(i.gateway, "gw-1") == 0);
    assert_int_equal(footage_read(f, &i, &bytes), RC_OK);
    assert_memory_equal(bytes, body, 50000);
    free(bytes);
    uint8_t none[WIRE_SHA256] = {0};
    assert_int_equal(footage_find(f, none, &i), RC_NOT_FOUND);
    size_t n = 0;
    assert_int_equal(footage_list(f, "gw-1", 1001, 2000, 10, count_each, &n), RC_OK);
    assert_int_equal(n, 0);
    assert_int_equal(footage_list(f, "gw-1", 1000, 1000, 10, count_each, &n), RC_OK);
    assert_int_equal(n, 1);
    close_it();
}

static void refuses(void **state)
{
    (void)state;
    struct wire_media_ack a;
    struct footage_figures fig;
    open_it(1 << 20, 1 << 20, 0);
    announce(20000, 1, 1000);
    uint8_t right[WIRE_SHA256];
    memcpy(right, p.sha256, WIRE_SHA256);
    p.sha256[5] ^= 1; /* what comes is not what was announced */
    unsigned before = answers;
    assert_int_equal(put("gw-1", 0, 16384, &a), RC_OK);
    assert_int_equal(put("gw-1", 16384, 3616, &a), RC_AGAIN);
    wait_answer(before);
    assert_true(answered.state == WIRE_MEDIA_MORE && answered.next == 0);
    footage_figures(f, &fig);
    assert_int_equal(fig.damaged, 1);
    assert_int_equal(listed("gw-1"), 0);
    /* larger than it takes */
    announce(100000, 2, 1000);
    p.bytes = 100001;
    assert_int_equal(put("gw-1", 0, 0, &a), RC_OK);
    assert_int_equal(a.state, WIRE_MEDIA_REFUSED);
    assert_non_null(strstr(a.reason, "100001"));
    /* a name that would lead out of the folder stays inside it */
    whole("..", 100, 3, 1000);
    char path[200];
    snprintf(path, sizeof path, "%s/_..", dir);
    assert_int_equal(access(path, F_OK), 0);
    /* five begun: the oldest makes room */
    for (uint32_t i = 10; i < 15; i++) {
        announce(20000, i, 1000);
        assert_int_equal(put("gw-3", 0, 1000, &a), RC_OK);
    }
    size_t parts = 0;
    snprintf(path, sizeof path, "ls %s/gw-3 | grep -c part$ >%s/n", dir, dir);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/n", dir);
    FILE *n = fopen(path, "re");
    assert_int_equal(fscanf(n, "%zu", &parts), 1);
    fclose(n);
    assert_int_equal(parts, FOOTAGE_PARTS_MAX);
    close_it();
    open_it(1 << 20, 1 << 20, UINT64_MAX / 2); /* no room on the disk */
    announce(20000, 20, 1000);
    assert_int_equal(put("gw-1", 0, 0, &a), RC_OK);
    assert_int_equal(a.state, WIRE_MEDIA_LATER);
    close_it();
}

static void is_bounded(void **state)
{
    (void)state;
    struct footage_item i;
    uint8_t first[WIRE_SHA256];
    open_it(25000, 45000, 0);
    whole("gw-1", 10000, 1, 1000);
    memcpy(first, p.sha256, WIRE_SHA256);
    whole("gw-1", 10000, 2, 2000);
    whole("gw-1", 10000, 3, 3000); /* above the bus's share: its oldest goes */
    assert_int_equal(listed("gw-1"), 2);
    assert_int_equal(footage_find(f, first, &i), RC_NOT_FOUND);
    whole("gw-2", 20000, 4, 500);
    whole("gw-3", 10000, 5, 5000); /* above all: the oldest of all goes */
    assert_int_equal(listed("gw-2"), 0);
    assert_int_equal(listed("gw-1"), 2);
    struct footage_figures fig;
    footage_figures(f, &fig);
    assert_true(fig.removed == 2 && fig.files == 5 && fig.bytes == 30000);
    close_it();
}

/* A power cut between the new name and its row: the file is found and counted in. */
static void finds_its_file(void **state)
{
    (void)state;
    struct wire_media_ack a;
    char from[200], hex[2 * WIRE_SHA256 + 1];
    open_it(1 << 20, 1 << 20, 0);
    whole("gw-1", 10000, 1, 1000);
    close_it();
    snprintf(from, sizeof from, "%s/footage.db", dir);
    assert_int_equal(unlink(from), 0);
    open_it(1 << 20, 1 << 20, 0);
    assert_int_equal(listed("gw-1"), 0);
    unsigned before = answers;
    assert_int_equal(put("gw-1", 0, 0, &a), RC_AGAIN);
    wait_answer(before);
    assert_int_equal(answered.state, WIRE_MEDIA_DONE);
    assert_int_equal(listed("gw-1"), 1);
    for (size_t k = 0; k < WIRE_SHA256; k++)
        snprintf(hex + 2 * k, 3, "%02x", p.sha256[k]);
    struct stat st;
    snprintf(from, sizeof from, "%s/gw-1/%s.jpg", dir, hex);
    assert_int_equal(stat(from, &st), 0);
    assert_int_equal(st.st_mode & 077, 0); /* nobody else may read it */
    close_it();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(resumes, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_its_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
