/* Lines: names that make no sense, ptys by link, locks, hang-ups, TCP to nobody, a caller that goes and another that comes. */
#include "devices_kit.h"

#include "gateway/port.h"

static struct port_setup setup(const char *path)
{
    struct port_setup s = {.baud = 9600, .data_bits = 8, .stop_bits = 1};
    snprintf(s.path, sizeof s.path, "%s", path);
    return s;
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum rc rc;
        const char *told;
    } wrong[] = {
        {"ttyUSB0", RC_INVALID, "no port"},
        {"tcp:counter.local:502", RC_INVALID, "numeric"},
        {"tcp:127.0.0.1", RC_INVALID, "makes no sense"},
        {"tcp:127.0.0.1:0", RC_INVALID, "makes no sense"},
        {"tcp:127.0.0.1:502x", RC_INVALID, "makes no sense"},
        {"tcp-listen:[::1:502", RC_INVALID, "makes no sense"},
        {"tcp-listen:198.51.100.7:9000", RC_IO, "gateway's own"},
        {"/dev/no-such-line", RC_NOT_FOUND, "plugged in"},
        {"/dev/null", RC_UNSUPPORTED, "not a serial line"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct port_setup s = setup(wrong[i].path);
        struct port *p = NULL;
        char why[256] = "";
        assert_int_equal(port_open(&s, &p, why, sizeof why), wrong[i].rc);
        assert_null(p);
        if (strstr(why, wrong[i].told) == NULL)
            fail_msg("%s: \"%s\" does not say %s", wrong[i].path, why, wrong[i].told);
    }
}

static void a_pty_by_its_link(void **state)
{
    (void)state;
    char name[64], link[64], why[256] = "";
    uint8_t buf[16];
    size_t n = 0;
    int master = kit_pty(name);
    snprintf(link, sizeof link, "/tmp/schoolward-port-%d", getpid());
    unlink(link);
    assert_int_equal(symlink(name, link), 0);
    struct port_setup s = setup(link);
    struct port *p = NULL, *second = NULL;
    assert_int_equal(port_open(&s, &p, why, sizeof why), RC_OK);
    assert_int_equal(port_kind(p), PORT_TERMIOS); /* libserialport refuses these */
    assert_true((fcntl(port_fd(p), F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(port_fd(p), F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(port_open(&s, &second, why, sizeof why), RC_DENIED); /* two on one line garble both */
    assert_non_null(strstr(why, "in use"));
    assert_int_equal(port_read(p, buf, sizeof buf, &n), RC_AGAIN);
    kit_put(master, "\x00\x03\x11\x7f\r\n", 6); /* raw: no character means anything to the line */
    usleep(20000);
    assert_int_equal(port_read(p, buf, sizeof buf, &n), RC_OK);
    assert_int_equal(n, 6);
    assert_memory_equal(buf, "\x00\x03\x11\x7f\r\n", 6);
    assert_int_equal(port_write(p, "\x0a\x0d\x04", 3), RC_OK);
    usleep(20000);
    assert_int_equal(read(master, buf, sizeof buf), 3);
    assert_memory_equal(buf, "\x0a\x0d\x04", 3);
    kit_put(master, "old bytes", 9);
    usleep(20000);
    assert_int_equal(port_drain(p), 9);
    close(master); /* the adapter is pulled */
    assert_int_equal(port_read(p, buf, sizeof buf, &n), RC_END);
    assert_int_equal(port_write(p, "x", 1), RC_END);
    port_close(p);
    port_close(NULL);
    /* closed and opened again: no lock stays behind */
    master = kit_pty(name);
    s = setup(name);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(port_open(&s, &p, why, sizeof why), RC_OK);
        port_close(p);
    }
    close(master);
    unlink(link);
}

static void tcp_to_nobody(void **state)
{
    (void)state;
    char path[64], why[256] = "";
    uint8_t buf[8];
    size_t n = 0;
    snprintf(path, sizeof path, "tcp:127.0.0.1:%u", kit_free_port());
    struct port_setup s = setup(path);
    struct port *p = NULL;
    enum rc rc = port_open(&s, &p, why, sizeof why);
    if (rc == RC_OK) {
        assert_int_equal(port_ready(p, 2000), RC_IO);
        assert_int_equal(port_read(p, buf, sizeof buf, &n), RC_IO);
        port_close(p);
    } else {
        assert_int_equal(rc, RC_IO);
    }
    /* an address that swallows everything: opening it must not wait */
    s = setup("tcp:192.0.2.1:502");
    int64_t began = clock_mono_ms();
    p = NULL;
    rc = port_open(&s, &p, why, sizeof why);
    assert_true(clock_mono_ms() - began < 500);
    if (rc == RC_OK) {
        assert_true(port_read(p, buf, sizeof buf, &n) != RC_OK);
        assert_true(port_write(p, "x", 1) != RC_OK);
    }
    port_close(p);
}

static void callers(void **state)
{
    (void)state;
    char path[64], why[256] = "";
    uint8_t buf[8];
    size_t n = 0;
    uint16_t number = kit_free_port();
    snprintf(path, sizeof path, "tcp-listen:127.0.0.1:%u", number);
    struct port_setup s = setup(path);
    struct port *p = NULL, *second = NULL;
    assert_int_equal(port_open(&s, &p, why, sizeof why), RC_OK);
    assert_int_equal(port_open(&s, &second, why, sizeof why), RC_DENIED);
    int fd = port_fd(p);
    assert_int_equal(port_write(p, "x", 1), RC_AGAIN); /* nobody there yet */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 3; i++) {
        int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(c, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(port_ready(p, 2000), RC_OK);
        assert_int_equal(port_fd(p), fd); /* the loop watches one descriptor */
        kit_put(c, "hi", 2);
        struct pollfd f = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&f, 1, 1000), 1);
        enum rc rc = RC_AGAIN;
        for (int k = 0; k < 100 && (rc = port_read(p, buf, sizeof buf, &n)) == RC_AGAIN; k++)
            usleep(1000);
        assert_int_equal(rc, RC_OK);
        assert_int_equal(n, 2);
        assert_int_equal(port_write(p, "yo", 2), RC_OK);
        assert_int_equal(recv(c, buf, sizeof buf, 0), 2);
        close(c);
        usleep(10000);
        assert_int_equal(port_read(p, buf, sizeof buf, &n), RC_AGAIN); /* gone: the next one is welcome */
        assert_int_equal(port_data_fd(p), -1);
    }
    port_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(a_pty_by_its_link), cmocka_unit_test(tcp_to_nobody), cmocka_unit_test(callers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
