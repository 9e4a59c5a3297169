/* access: the tokens file, one-time tickets, and links that nobody can forge, stretch or lengthen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/access.h"

static const uint8_t key[32] = {1, 2, 3};
#define OFFICER "officer-token-0123456789abcdef0123456789"
#define POLICE "police-token-0123456789abcdef0123456789"
#define GOOD "# who may\nli officer " OFFICER "\n\nwang police " POLICE "\r\nroot admin admin-token-0123456789abcdef0123456789\n"

static enum rc open_text(const char *text, mode_t mode, struct access **ret_a, char *why, size_t cap)
{
    char path[] = "/tmp/schoolward-tokens-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    enum rc rc = access_open(path, key, ret_a, why, cap);
    unlink(path);
    return rc;
}

static struct access *good(void)
{
    struct access *a = NULL;
    char why[256];
    assert_int_equal(open_text(GOOD, 0600, &a, why, sizeof why), RC_OK);
    return a;
}

static void test_tokens(void **state)
{
    (void)state;
    struct access *a = good();
    struct access_who w;
    assert_int_equal(access_bearer(a, OFFICER, strlen(OFFICER), 1, &w), RC_OK);
    assert_int_equal(w.role, ACCESS_OFFICER);
    assert_string_equal(w.name, "li");
    assert_int_equal(access_bearer(a, POLICE, strlen(POLICE), 1, &w), RC_OK);
    assert_int_equal(w.role, ACCESS_POLICE);
    assert_int_equal(access_bearer(a, "", 0, 1, &w), RC_DENIED);
    assert_int_equal(access_bearer(a, OFFICER "x", strlen(OFFICER) + 1, 1, &w), RC_DENIED);
    assert_int_equal(access_bearer(a, OFFICER, strlen(OFFICER) - 1, 1, &w), RC_DENIED);
    char huge[4096];
    memset(huge, 'a', sizeof huge);
    assert_int_equal(access_bearer(a, huge, sizeof huge, 1, &w), RC_DENIED);
    access_free(a);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mode_t mode;
        enum rc rc;
        const char *says;
    } cases[] = {
        {GOOD, 0640, RC_DENIED, "chmod 600"},
        {GOOD, 0604, RC_DENIED, "chmod 600"},
        {"", 0600, RC_INVALID, "no token"},
        {"# only talk\n", 0600, RC_INVALID, "no token"},
        {"li officer short\n", 0600, RC_INVALID, ":1: the token is too short"},
        {"li boss " OFFICER "\n", 0600, RC_INVALID, "unknown role"},
        {"\nli officer\n", 0600, RC_INVALID, ":2: a line has three words"},
        {"li officer " OFFICER " more\n", 0600, RC_INVALID, "three words"},
        {"li officer " OFFICER "\nwang police " OFFICER "\n", 0600, RC_INVALID, ":2: the same token as li"},
        {"li officer 01234567890123456789012345678901\"x\n", 0600, RC_INVALID, "no Authorization header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct access *a = (struct access *)&a;
        char why[256] = "";
        assert_int_equal(open_text(cases[i].text, cases[i].mode, &a, why, sizeof why), cases[i].rc);
        assert_ptr_equal(a, &a);
        if (!strstr(why, cases[i].says))
            fail_msg("case %zu says: %s", i, why);
        assert_null(strstr(why, OFFICER)); /* a message never shows a token */
    }
    struct access *a = NULL;
    char why[256];
    assert_int_equal(access_open("/nonexistent/tokens", key, &a, why, sizeof why), RC_IO);
    assert_int_equal(access_open("/tmp", key, &a, why, sizeof why), RC_INVALID);
}

static void test_tickets(void **state)
{
    (void)state;
    struct access *a = good();
    struct access_who w = {.role = ACCESS_POLICE, .name = "wang"}, got;
    char ticket[64], first[64];
    assert_int_equal(access_ticket(a, &w, 1000, first), RC_OK);
    assert_int_equal(strlen(first), 43);
    assert_int_equal(access_redeem(a, "nonsense", 1000, &got), RC_DENIED);
    assert_int_equal(access_redeem(a, "", 1000, &got), RC_DENIED);
    assert_int_equal(access_redeem(a, first, 1000 + ACCESS_TICKET_MS - 1, &got), RC_OK);
    assert_int_equal(got.role, ACCESS_POLICE);
    assert_string_equal(got.name, "wang");
    assert_int_equal(access_redeem(a, first, 1000, &got), RC_DENIED); /* once */
    assert_int_equal(access_ticket(a, &w, 1000, ticket), RC_OK);
    assert_int_equal(access_redeem(a, ticket, 1000 + ACCESS_TICKET_MS, &got), RC_DENIED); /* 30 s */
    for (int i = 0; i < 1024; i++)
        assert_int_equal(access_ticket(a, &w, 100000, ticket), RC_OK);
    assert_int_equal(access_ticket(a, &w, 100000, ticket), RC_FULL);
    assert_int_equal(access_ticket(a, &w, 100000 + ACCESS_TICKET_MS, ticket), RC_OK);
    access_free(a);
}

static void test_links(void **state)
{
    (void)state;
    struct access *a = good(), *other = NULL;
    char link[ACCESS_LINK_MAX + 1], again[ACCESS_LINK_MAX + 1], bent[ACCESS_LINK_MAX + 8];
    struct access_who w;
    assert_int_equal(access_link(a, "bus-1", "s2", 5000, link, sizeof link), RC_OK);
    assert_int_equal(access_link(a, "bus-1", "s2", 5000, again, sizeof again), RC_OK);
    assert_string_not_equal(link, again); /* two guardians, two links */
    size_t n = strlen(link);
    assert_int_equal(access_bearer(a, link, n, 4999, &w), RC_OK);
    assert_int_equal(w.role, ACCESS_PARENT);
    assert_string_equal(w.vehicle, "bus-1");
    assert_string_equal(w.stop, "s2");
    assert_int_equal(w.expires_ms, 5000);
    assert_int_equal(access_bearer(a, link, n, 5000, &w), RC_TIMEOUT);
    /* any one character changed, left out or added is another text, and no link */
    for (size_t i = 0; i < n; i++) {
        memcpy(bent, link, n + 1);
        bent[i] = link[i] == 'A' ? 'B' : 'A';
        assert_int_equal(access_bearer(a, bent, n, 1, &w), RC_DENIED);
        memmove(bent + i, link + i + 1, n - i);
        assert_int_equal(access_bearer(a, bent, n - 1, 1, &w), RC_DENIED);
        memcpy(bent, link, i);
        bent[i] = 'A';
        memcpy(bent + i + 1, link + i, n - i + 1);
        assert_int_equal(access_bearer(a, bent, n + 1, 1, &w), RC_DENIED);
    }
    (void)snprintf(bent, sizeof bent, "%s=", link);
    assert_int_equal(access_bearer(a, bent, n + 1, 1, &w), RC_DENIED);
    uint8_t other_key[32] = {9};
    char path[] = "/tmp/schoolward-tokens-XXXXXX", why[256];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, GOOD, strlen(GOOD)), strlen(GOOD));
    close(fd);
    assert_int_equal(access_open(path, other_key, &other, why, sizeof why), RC_OK);
    unlink(path);
    assert_int_equal(access_bearer(other, link, n, 1, &w), RC_DENIED);
    assert_int_equal(access_link(a, "bus|1", "s2", 5000, link, sizeof link), RC_INVALID);
    assert_int_equal(access_link(a, "", "s2", 5000, link, sizeof link), RC_INVALID);
    assert_int_equal(access_link(a, "bus-1", "s2", 0, link, sizeof link), RC_RANGE);
    assert_int_equal(access_link(a, "bus-1", "s2", 5000, link, 40), RC_FULL);
    assert_int_equal(access_link(a, "abcdefghijklmnopqrstuvwxyz01234", "abcdefghijklmnopqrstuvwxyz01234", INT64_MAX, link, sizeof link), RC_OK);
    assert_int_equal(access_bearer(a, link, strlen(link), 1, &w), RC_OK);
    access_free(a);
    access_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokens), cmocka_unit_test(test_bad_files), cmocka_unit_test(test_tickets),
                                       cmocka_unit_test(test_links)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
