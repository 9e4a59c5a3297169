/* care: 200 hostile or honest bundles, each applied with a kill at every step: what is found afterwards always starts, and nothing hostile is taken
 * up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "core/bundle.h"
#include "gateway/care.h"
#include "gateway/files.h"

static char dir[64], local_text[512];
static uint8_t seed[32] = {7}, other_seed[32] = {8};
static int step_left;

static void die_at(const char *what)
{
    (void)what;
    if (step_left-- == 0)
        _exit(9);
}

static void sign_with(const uint8_t *s, const char *gateway, struct wire_bundle *b)
{
    uint8_t text[BUNDLE_SIGNED_MAX];
    size_t n = bundle_signed(gateway, b->kind, b->version, b->size, b->sha256, text), len = 64;
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, s, 32);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(c, NULL, NULL, NULL, k), 1);
    assert_int_equal(EVP_DigestSign(c, b->signature, &len, text, n), 1);
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(k);
}

static void text_of(char *out, size_t cap, const char *id, int group_ms)
{
    snprintf(out, cap, "[gateway]\nid = %s\nserver = ws://127.0.0.1:9/gateway\nstate_dir = %s\nduty_file =\n[outbox]\ngroup_ms = %d\n", id, dir,
             group_ms);
}

static struct config *read_text(const char *text)
{
    static struct conf_problems problems;
    struct config *c = NULL;
    problems.n = 0;
    return config_read_text(text, strlen(text), "t", &c, &problems) == RC_OK ? c : NULL;
}

static struct care *open_it(void)
{
    struct care *c;
    bool damaged;
    assert_int_equal(care_open(dir, "gw-1", &c, &damaged), RC_OK);
    assert_false(damaged);
    return c;
}

static enum rc apply(struct care *c, const struct wire_order *o, char *why, size_t cap)
{
    struct config *local = read_text(local_text);
    struct care_local l = {.factory = local, .running = local};
    uint8_t kind;
    struct duty_file *duty = NULL;
    enum rc rc = care_piece(c, o, why, cap);
    if (rc == RC_END)
        rc = care_apply(c, &l, &kind, &duty, why, cap);
    duty_file_free(duty);
    config_free(local);
    return rc;
}

/* Start as main.c does; the configuration that runs must be one that can be read. Returns its group_ms. */
static int64_t start(struct care *c)
{
    char why[320], path[320];
    static struct conf_problems problems;
    struct config *config = NULL;
    assert_int_equal(care_boot(c, false, why, sizeof why), RC_OK);
    assert_int_equal(care_lasted(c, why, sizeof why), RC_OK);
    if (!care_config(c, path, sizeof path))
        return 0;
    problems.n = 0;
    assert_int_equal(config_read(path, NULL, 0, &config, &problems), RC_OK);
    int64_t ms = config->outbox.group_ms;
    config_free(config);
    return ms;
}

enum evil { HONEST, OTHER_KEY, OTHER_BUS, OTHER_KIND, OLD, BENT_BODY, BENT_HASH, TRUNCATED, BAD_TEXT, WRONG_ID, EVILS };

static void make(struct wire_order *o, enum evil e, uint64_t version, int i)
{
    char text[512];
    unsigned len = 32;
    text_of(text, sizeof text, e == WRONG_ID ? "gw-2" : "gw-1", 200 + i);
    if (e == BAD_TEXT)
        strcat(text, "gruop_ms = 5\n");
    *o = (struct wire_order){.id = version, .kind = WIRE_ORDER_BUNDLE, .bundle = {.kind = WIRE_BUNDLE_CONFIG, .version = e == OLD ? 1 : version}};
    struct wire_bundle *b = &o->bundle;
    b->size = b->n = (uint32_t)strlen(text);
    memcpy(b->body, text, b->n);
    EVP_Digest(text, b->n, b->sha256, &len, EVP_sha256(), NULL);
    if (e == OTHER_KIND)
        b->kind = WIRE_BUNDLE_DUTY;
    sign_with(e == OTHER_KEY ? other_seed : seed, e == OTHER_BUS ? "gw-2" : "gw-1", b);
    if (e == OTHER_KIND)
        b->kind = WIRE_BUNDLE_CONFIG;
    if (e == BENT_BODY)
        b->body[(size_t)i % b->n] ^= 1;
    if (e == BENT_HASH)
        b->sha256[i % 32] ^= 1;
    if (e == TRUNCATED)
        b->n--;
}

static void hostile(void **state)
{
    (void)state;
    char why[320];
    uint8_t key[32];
    size_t len = 32;
    int kills = 0, refused = 0, taken = 0;
    snprintf(dir, sizeof dir, "/tmp/schoolward-care-XXXXXX");
    assert_non_null(mkdtemp(dir));
    text_of(local_text, sizeof local_text, "gw-1", 2000);
    struct care *c = open_it();
    static struct wire_order o;
    make(&o, HONEST, 2, 0);
    assert_int_equal(apply(c, &o, why, sizeof why), RC_DENIED); /* no key is pinned */
    care_close(c);
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    assert_int_equal(EVP_PKEY_get_raw_public_key(k, key, &len), 1);
    EVP_PKEY_free(k);
    assert_int_equal(care_put_trust(dir, key, "", why, sizeof why), RC_OK);
    c = open_it();
    make(&o, HONEST, 10, 50);
    assert_int_equal(apply(c, &o, why, sizeof why), RC_OK);
    care_close(c);
    c = open_it();
    int64_t running = start(c);
    assert_int_equal(running, 250);
    assert_int_equal(care_confirm(c, why, sizeof why), RC_OK);
    care_close(c);
    for (int i = 1; i <= 200; i++) {
        enum evil e = (enum evil)(i % EVILS);
        uint64_t version = 1000 + (uint64_t)i;
        make(&o, e, version, i);
        for (int at = 0;; at++) { /* die at each step in turn, until it comes to its end */
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                step_left = at;
                files_step = die_at;
                struct care *mine = open_it();
                _exit(apply(mine, &o, why, sizeof why) == RC_OK ? 0 : 1);
            }
            int status;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFEXITED(status));
            c = open_it();
            int64_t ms = start(c);
            bool trial = care_config_kind(c) == REPORT_CONFIG_TRIAL;
            if (e != HONEST)
                assert_false(trial);
            if (!trial)
                assert_int_equal(ms, running);
            else
                assert_int_equal(ms, 200 + i);
            kills += WEXITSTATUS(status) == 9;
            bool over = WEXITSTATUS(status) != 9 || trial;
            if (trial) {
                assert_int_equal(care_confirm(c, why, sizeof why), RC_OK);
                running = ms;
                taken++;
            } else if (over) {
                refused++;
            }
            care_close(c);
            if (over)
                break;
        }
        c = open_it();
        assert_int_equal(start(c), running); /* and at the start after that */
        care_close(c);
    }
    assert_int_equal(taken, 20);
    assert_int_equal(refused, 180);
    printf("bundles=200 kills=%d taken=%d refused=%d bricks=0\n", kills, taken, refused);
}

static void trial_ends(void **state)
{
    (void)state;
    char why[320];
    static struct wire_order o;
    struct care *c = open_it();
    int64_t before = start(c);
    make(&o, HONEST, 5000, 700);
    assert_int_equal(apply(c, &o, why, sizeof why), RC_OK);
    care_close(c);
    for (int i = 0; i < CARE_TRIAL_STARTS; i++) { /* it dies before it reaches anybody */
        c = open_it();
        assert_int_equal(start(c), 900);
        care_close(c);
    }
    c = open_it();
    assert_int_equal(start(c), before);
    assert_int_equal(care_state(c)->back, 5000);
    assert_int_equal(apply(c, &o, why, sizeof why), RC_RANGE); /* not a second time */
    care_close(c);
    /* a boot loop: safe mode at the fifth, the local configuration at the eighth */
    for (int i = 1; i <= 8; i++) {
        c = open_it();
        char path[320];
        assert_int_equal(care_boot(c, false, why, sizeof why), RC_OK);
        assert_int_equal(care_safe(c), i >= CARE_STARTS_MAX);
        assert_int_equal(care_config(c, path, sizeof path), i < CARE_FACTORY_STARTS);
        care_close(c);
    }
    c = open_it();
    assert_int_equal(care_lasted(c, why, sizeof why), RC_OK);
    care_close(c);
    c = open_it();
    assert_int_equal(start(c), before);
    care_close(c);
    /* every flipped byte of the state is noticed, and starts with the local configuration */
    char *text;
    size_t n;
    assert_int_equal(files_read(dir, "care", 4096, &text, &n, why, sizeof why), RC_OK);
    for (size_t i = 0; i < n; i++) {
        bool damaged;
        text[i] ^= 4;
        assert_int_equal(files_write(dir, "care", text, n, why, sizeof why), RC_OK);
        assert_int_equal(care_open(dir, "gw-1", &c, &damaged), RC_OK);
        assert_true(damaged);
        care_close(c);
        text[i] ^= 4;
    }
    free(text);
    snprintf(why, sizeof why, "rm -r %s", dir);
    assert_int_equal(system(why), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hostile), cmocka_unit_test(trial_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
