#include "care.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/bundle.h"
#include "files.h"

#define STATE     "care"
#define STATE_MAX 4096
#define PART      "bundle.part"
#define KEY       "server.key"
#define CA        "server.ca"
#define SECRET    "secret"
static const char head[] = "schoolward-care 1\n";

struct care {
    char dir[256], gateway[DUTY_ID_MAX + 1];
    struct care_state s;
    bool safe, factory; /* factory: not even safe mode lasted */
    uint8_t key[32];
    bool has_key;
    struct wire_bundle part; /* head of what is coming in; its `offset` is how much is there */
    uint64_t part_order;     /* 0 = nothing */
    bool trial_due;          /* taken up, runs from the next start on */
    bool runs_trial;
};

/* --- the state's file: lines "word number", then "sum" and the first half of their SHA-256 --- */

struct row {
    const char *word;
    size_t offset;
};
#define ROW(word, member)                                                                                                                            \
    {                                                                                                                                                \
        word, offsetof(struct care_state, member)                                                                                                    \
    }
static const struct row rows[] = {
    ROW("config", kept[1]),
    ROW("duty", kept[2]),
    ROW("law", kept[3]),
    ROW("config-before", before[1]),
    ROW("duty-before", before[2]),
    ROW("law-before", before[3]),
    ROW("config-newest", newest[1]),
    ROW("duty-newest", newest[2]),
    ROW("law-newest", newest[3]),
    ROW("trial", trial),
    ROW("trial-order", trial_order),
    ROW("trial-starts", trial_starts),
    ROW("back", back),
    ROW("back-order", back_order),
    ROW("boots", boots),
    ROW("starts", starts),
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static uint64_t *field(struct care_state *s, size_t i)
{
    return (uint64_t *)(void *)((char *)s + rows[i].offset);
}

static void sum_of(const char *text, size_t n, char out[33])
{
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};
    unsigned len = 0;
    if (EVP_Digest(text, n, sum, &len, EVP_sha256(), NULL) != 1)
        memset(sum, 0, sizeof sum);
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

static enum rc save(struct care *c, struct care_state *s, char *why, size_t cap)
{
    char text[STATE_MAX], sum[33];
    size_t n = (size_t)snprintf(text, sizeof text, "%s", head);
    for (size_t i = 0; i < ROWS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s %" PRIu64 "\n", rows[i].word, *field(s, i));
    sum_of(text, n, sum);
    n += (size_t)snprintf(text + n, sizeof text - n, "sum %s\n", sum);
    enum rc rc = files_write(c->dir, STATE, text, n, why, cap);
    if (rc == RC_OK)
        c->s = *s;
    return rc;
}

static bool parse(const char *text, size_t n, struct care_state *ret_s)
{
    struct care_state s = {.boots = 0};
    char sum[33];
    const char *last = strstr(text, "\nsum "), *at = text + sizeof head - 1;
    if (strncmp(text, head, sizeof head - 1) != 0 || last == NULL || strlen(text) != n)
        return false;
    sum_of(text, (size_t)(last + 1 - text), sum);
    if (strncmp(last + 5, sum, 32) != 0 || strcmp(last + 37, "\n") != 0)
        return false;
    for (size_t i = 0; i < ROWS; i++) {
        size_t len = strlen(rows[i].word);
        char *end = NULL;
        if (strncmp(at, rows[i].word, len) != 0 || at[len] != ' ')
            return false;
        errno = 0;
        *field(&s, i) = strtoull(at + len + 1, &end, 10);
        if (errno != 0 || *end != '\n')
            return false;
        at = end + 1;
    }
    *ret_s = s;
    return true;
}

static bool hex_key(const char *text, uint8_t key[32])
{
    for (int i = 0; i < 32; i++) {
        unsigned v;
        if (strspn(text + 2 * i, "0123456789abcdef") < 2 || sscanf(text + 2 * i, "%2x", &v) != 1)
            return false;
        key[i] = (uint8_t)v;
    }
    return true;
}

enum rc care_open(const char *dir, const char *gateway, struct care **ret_c, bool *ret_damaged)
{
    struct care *c = calloc(1, sizeof *c);
    char *text = NULL, why[320];
    size_t n = 0;
    if (c == NULL)
        return RC_NO_MEMORY;
    snprintf(c->dir, sizeof c->dir, "%s", dir);
    snprintf(c->gateway, sizeof c->gateway, "%s", gateway);
    enum rc rc = files_read(dir, STATE, STATE_MAX, &text, &n, why, sizeof why);
    *ret_damaged = rc != RC_NOT_FOUND && (rc != RC_OK || !parse(text, n, &c->s));
    if (rc == RC_OK)
        free(text);
    if (files_read(dir, KEY, 256, &text, &n, why, sizeof why) == RC_OK) {
        c->has_key = n >= 64 && hex_key(text, c->key);
        free(text);
    }
    *ret_c = c;
    return RC_OK;
}

void care_close(struct care *c)
{
    free(c);
}

const struct care_state *care_state(const struct care *c)
{
    return &c->s;
}

/* --- which one runs --- */

static void name_of(uint8_t kind, uint64_t version, char out[48])
{
    snprintf(out, 48, "%s-%" PRIu64, bundle_kind_word(kind), version);
}

static bool there(const struct care *c, uint8_t kind, uint64_t version)
{
    char name[48], path[320];
    if (version == 0)
        return false;
    name_of(kind, version, name);
    snprintf(path, sizeof path, "%s/%s", c->dir, name);
    return access(path, R_OK) == 0;
}

static struct care_state given_up(const struct care_state *was)
{
    struct care_state s = *was;
    s.back = s.trial;
    s.back_order = s.trial_order;
    s.trial = s.trial_order = s.trial_starts = 0;
    return s;
}

enum rc care_boot(struct care *c, bool again, char *why, size_t cap)
{
    struct care_state s = c->s;
    if (!again) {
        s.boots++;
        s.starts++;
    }
    c->safe = s.starts >= CARE_STARTS_MAX;
    c->factory = s.starts >= CARE_FACTORY_STARTS;
    if (s.trial != 0 && (c->safe || s.trial_starts >= CARE_TRIAL_STARTS || !there(c, WIRE_BUNDLE_CONFIG, s.trial)))
        s = given_up(&s);
    if (s.trial != 0)
        s.trial_starts++;
    enum rc rc = save(c, &s, why, cap);
    c->runs_trial = rc == RC_OK && s.trial != 0; /* a trial that cannot be counted could go on for ever */
    c->s.starts = s.starts;
    return rc;
}

bool care_safe(const struct care *c)
{
    return c->safe;
}

enum report_config care_config_kind(const struct care *c)
{
    return c->runs_trial ? REPORT_CONFIG_TRIAL : c->s.kept[WIRE_BUNDLE_CONFIG] != 0 && !c->factory ? REPORT_CONFIG_KEPT : REPORT_CONFIG_FACTORY;
}

bool care_config(const struct care *c, char *out, size_t cap)
{
    char name[48];
    uint64_t version = c->runs_trial ? c->s.trial : c->s.kept[WIRE_BUNDLE_CONFIG];
    if (version == 0 || c->factory)
        return false;
    name_of(WIRE_BUNDLE_CONFIG, version, name);
    snprintf(out, cap, "%s/%s", c->dir, name);
    return true;
}

void care_path(const struct care *c, uint8_t kind, const char *local, char *out, size_t cap)
{
    char name[48];
    uint64_t version = there(c, kind, c->s.kept[kind]) ? c->s.kept[kind] : there(c, kind, c->s.before[kind]) ? c->s.before[kind] : 0;
    if (version == 0) {
        snprintf(out, cap, "%s", local);
        return;
    }
    name_of(kind, version, name);
    snprintf(out, cap, "%s/%s", c->dir, name);
}

enum rc care_config_bad(struct care *c, char *why, size_t cap)
{
    struct care_state s = c->s;
    if (c->runs_trial) {
        s = given_up(&s);
    } else {
        uint64_t before = s.before[WIRE_BUNDLE_CONFIG];
        s.kept[WIRE_BUNDLE_CONFIG] = before != s.kept[WIRE_BUNDLE_CONFIG] && there(c, WIRE_BUNDLE_CONFIG, before) ? before : 0;
        s.before[WIRE_BUNDLE_CONFIG] = 0;
    }
    c->runs_trial = false;
    enum rc rc = save(c, &s, why, cap);
    c->s = s; /* also where it could not be written: the next start finds the same and does the same */
    return rc;
}

enum rc care_lasted(struct care *c, char *why, size_t cap)
{
    struct care_state s = c->s;
    if (s.starts == 0)
        return RC_OK;
    s.starts = 0;
    return save(c, &s, why, cap);
}

/* Bodies nobody names any more. */
static void sweep(struct care *c, uint8_t kind, uint64_t version)
{
    char name[48];
    if (version == 0 || version == c->s.kept[kind] || version == c->s.before[kind] || (kind == WIRE_BUNDLE_CONFIG && version == c->s.trial))
        return;
    name_of(kind, version, name);
    files_remove(c->dir, name);
}

enum rc care_confirm(struct care *c, char *why, size_t cap)
{
    struct care_state s = c->s;
    if (!c->runs_trial)
        return RC_OK;
    uint64_t old = s.before[WIRE_BUNDLE_CONFIG];
    s.before[WIRE_BUNDLE_CONFIG] = s.kept[WIRE_BUNDLE_CONFIG];
    s.kept[WIRE_BUNDLE_CONFIG] = s.trial;
    s.trial = s.trial_order = s.trial_starts = 0;
    enum rc rc = save(c, &s, why, cap);
    if (rc != RC_OK)
        return rc;
    c->runs_trial = false;
    sweep(c, WIRE_BUNDLE_CONFIG, old);
    return RC_OK;
}

enum rc care_give_up(struct care *c, char *why, size_t cap)
{
    struct care_state s = given_up(&c->s);
    return c->s.trial == 0 ? RC_OK : save(c, &s, why, cap);
}

enum rc care_back_told(struct care *c, char *why, size_t cap)
{
    struct care_state s = c->s;
    if (s.back == 0)
        return RC_OK;
    s.back = s.back_order = 0;
    uint64_t gone = c->s.back;
    enum rc rc = save(c, &s, why, cap);
    if (rc == RC_OK)
        sweep(c, WIRE_BUNDLE_CONFIG, gone);
    return rc;
}

/* --- a bundle comes in --- */

static bool same_bundle(const struct wire_bundle *a, const struct wire_bundle *b)
{
    return a->kind == b->kind && a->version == b->version && a->size == b->size && memcmp(a->sha256, b->sha256, sizeof a->sha256) == 0 &&
           memcmp(a->signature, b->signature, sizeof a->signature) == 0;
}

enum rc care_piece(struct care *c, const struct wire_order *o, char *why, size_t cap)
{
    const struct wire_bundle *b = &o->bundle;
    char path[320];
    if (!c->has_key) {
        snprintf(why, cap, "this gateway knows no key of the server: enrol it, or write the key into %s/" KEY, c->dir);
        return RC_DENIED;
    }
    if (b->version <= c->s.newest[b->kind]) {
        snprintf(why, cap, "%s %" PRIu64 " is not newer than %" PRIu64 ", which was taken up before", bundle_kind_word(b->kind), b->version,
                 c->s.newest[b->kind]);
        return RC_RANGE;
    }
    if (b->kind == WIRE_BUNDLE_CONFIG && (c->runs_trial || c->trial_due)) {
        snprintf(why, cap, "another configuration is on trial");
        return RC_INVALID;
    }
    if (b->offset > 0 && (c->part_order != o->id || b->offset != c->part.offset || !same_bundle(&c->part, b))) {
        snprintf(why, cap, "a piece of the bundle is missing");
        return RC_INVALID;
    }
    snprintf(path, sizeof path, "%s/" PART, c->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (b->offset == 0 ? O_TRUNC : 0), 0600);
    bool ok = fd >= 0 && pwrite(fd, b->body, b->n, (off_t)b->offset) == (ssize_t)b->n;
    if (!ok)
        snprintf(why, cap, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    c->part_order = ok ? o->id : 0;
    if (!ok)
        return RC_IO;
    c->part = *b;
    c->part.offset = b->offset + b->n;
    return c->part.offset == b->size ? RC_END : RC_OK;
}

static bool signature_good(const struct care *c, const struct wire_bundle *b)
{
    uint8_t text[BUNDLE_SIGNED_MAX];
    size_t n = bundle_signed(c->gateway, b->kind, b->version, b->size, b->sha256, text);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, c->key, sizeof c->key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = key != NULL && ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(ctx, b->signature, sizeof b->signature, text, n) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return good;
}

/* What a configuration from the office may not touch: who this gateway is, and where its secret and its memory are. */
static const char *untouchable(const struct config *is, const struct config *wants)
{
    if (strcmp(is->gateway.id, wants->gateway.id) != 0)
        return "gateway.id";
    if (strcmp(is->gateway.state_dir, wants->gateway.state_dir) != 0)
        return "gateway.state_dir";
    if (strcmp(is->gateway.secret_file, wants->gateway.secret_file) != 0)
        return "gateway.secret_file";
    if (wants->gateway.server[0] == '\0')
        return "gateway.server";
    return NULL;
}

static enum rc try_config(struct care *c, const struct care_local *l, const char *path, char *why, size_t cap)
{
    struct conf_problems *problems = calloc(1, sizeof *problems);
    struct config *config = NULL;
    struct duty_file *duty = NULL;
    char duty_path[320], law_path[320];
    if (problems == NULL)
        return RC_NO_MEMORY;
    enum rc rc = config_read(path, l->set, l->sets, &config, problems);
    if (rc != RC_OK) {
        const char *text = problems->n > 0 ? problems->text[0] : "it cannot be read";
        const char *name = strrchr(path, '/');
        if (name != NULL && strncmp(text, path, strlen(path)) == 0) /* the office knows no path of ours */
            text += strlen(path) + 1;
        snprintf(why, cap, "the configuration has %zu problem%s, the first: %.160s", problems->n, problems->n == 1 ? "" : "s", text);
        free(problems);
        return rc == RC_NO_MEMORY ? rc : RC_INVALID;
    }
    free(problems);
    const char *key = untouchable(l->factory, config);
    if (key != NULL) {
        snprintf(why, cap, "%s may not be changed from the office", key);
        rc = RC_INVALID;
    } else if (config->gateway.ca_file[0] != '\0' && access(config->gateway.ca_file, R_OK) != 0) {
        snprintf(why, cap, "ca_file: %.160s: %s", config->gateway.ca_file, strerror(errno));
        rc = RC_INVALID;
    } else if (config->gateway.duty_file[0] != '\0' || c->s.kept[WIRE_BUNDLE_DUTY] != 0) {
        care_path(c, WIRE_BUNDLE_DUTY, config->gateway.duty_file, duty_path, sizeof duty_path);
        care_path(c, WIRE_BUNDLE_LAW, config->gateway.law_file, law_path, sizeof law_path);
        rc = duty_file_read(duty_path, law_path, config->gateway.id, &duty, why, cap);
        rc = rc == RC_OK || rc == RC_NOT_FOUND ? RC_OK : rc == RC_NO_MEMORY ? rc : RC_INVALID;
        duty_file_free(duty);
    }
    config_free(config);
    return rc;
}

static enum rc try_duty(struct care *c, const struct care_local *l, uint8_t kind, const char *path, struct duty_file **ret_duty, char *why,
                        size_t cap)
{
    char other[320];
    enum rc rc;
    if (kind == WIRE_BUNDLE_DUTY) {
        care_path(c, WIRE_BUNDLE_LAW, l->running->gateway.law_file, other, sizeof other);
        rc = duty_file_read(path, other, c->gateway, ret_duty, why, cap);
    } else {
        care_path(c, WIRE_BUNDLE_DUTY, l->running->gateway.duty_file, other, sizeof other);
        rc = duty_file_read(other, path, c->gateway, ret_duty, why, cap);
        if (rc == RC_NOT_FOUND)
            snprintf(why, cap, "there is no duty this law could be tried with: send the duty first");
    }
    return rc == RC_OK || rc == RC_NO_MEMORY ? rc : RC_INVALID;
}

static enum rc take_up(struct care *c, uint8_t kind, uint64_t version, uint64_t order, const char *text, size_t n, char *why, size_t cap)
{
    char name[48];
    struct care_state s = c->s;
    uint64_t old = s.before[kind];
    name_of(kind, version, name);
    enum rc rc = files_write(c->dir, name, text, n, why, cap);
    if (rc != RC_OK)
        return rc;
    s.newest[kind] = version;
    if (kind == WIRE_BUNDLE_CONFIG) {
        s.trial = version;
        s.trial_order = order;
        s.trial_starts = 0;
        old = s.back; /* of a trial before it that nobody was told of yet: its number stays, its body goes */
    } else {
        s.before[kind] = s.kept[kind];
        s.kept[kind] = version;
    }
    rc = save(c, &s, why, cap);
    if (rc != RC_OK) {
        files_remove(c->dir, name);
        return rc;
    }
    c->trial_due = kind == WIRE_BUNDLE_CONFIG;
    sweep(c, kind, old);
    return RC_OK;
}

enum rc care_apply(struct care *c, const struct care_local *l, uint8_t *ret_kind, struct duty_file **ret_duty, char *why, size_t cap)
{
    const struct wire_bundle *b = &c->part;
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};
    unsigned len = 0;
    char *text = NULL, path[320];
    size_t n = 0;
    struct duty_file *duty = NULL;
    snprintf(path, sizeof path, "%s/" PART, c->dir);
    enum rc rc = c->part_order != 0 ? files_read(c->dir, PART, WIRE_BUNDLE_MAX, &text, &n, why, cap) : RC_INVALID;
    if (rc != RC_OK)
        return rc;
    if (b->version <= c->s.newest[b->kind]) {
        rc = RC_RANGE;
        snprintf(why, cap, "version %" PRIu64 " is not newer than what was taken up before", b->version);
    } else if (n != b->size || EVP_Digest(text, n, sum, &len, EVP_sha256(), NULL) != 1 || memcmp(sum, b->sha256, sizeof b->sha256) != 0) {
        rc = RC_CORRUPT;
        snprintf(why, cap, "the bundle's hash is not that of what arrived");
    } else if (!signature_good(c, b)) {
        rc = RC_DENIED;
        snprintf(why, cap, "the bundle is not signed by the server this gateway was enrolled at, or is meant for another gateway");
    } else if (b->kind == WIRE_BUNDLE_CONFIG) {
        rc = try_config(c, l, path, why, cap);
    } else {
        rc = try_duty(c, l, b->kind, path, &duty, why, cap);
    }
    if (rc == RC_OK)
        rc = take_up(c, b->kind, b->version, c->part_order, text, n, why, cap);
    free(text);
    files_remove(c->dir, PART);
    c->part_order = 0;
    if (rc != RC_OK) {
        duty_file_free(duty);
        return rc;
    }
    *ret_kind = b->kind;
    *ret_duty = duty;
    return RC_OK;
}

/* --- the secret --- */

enum rc care_secret(const char *dir, const struct config *config, char ret_secret[UPLINK_SECRET_MAX + 1], char *why, size_t cap)
{
    char path[320];
    snprintf(path, sizeof path, "%s/" SECRET, dir);
    if (access(path, F_OK) != 0)
        return config_secret(config, ret_secret, why, cap);
    struct config own = {.devices = 0};
    snprintf(own.gateway.id, sizeof own.gateway.id, "%s", config->gateway.id);
    snprintf(own.gateway.secret_file, sizeof own.gateway.secret_file, "%.*s", (int)sizeof own.gateway.secret_file - 1, path);
    return config_secret(&own, ret_secret, why, cap);
}

enum rc care_put_secret(const char *dir, const char *secret, char *why, size_t cap)
{
    char line[UPLINK_SECRET_MAX + 2];
    int n = snprintf(line, sizeof line, "%s\n", secret);
    enum rc rc = n > 1 && (size_t)n < sizeof line ? files_write(dir, SECRET, line, (size_t)n, why, cap) : RC_RANGE;
    explicit_bzero(line, sizeof line);
    return rc;
}

enum rc care_put_trust(const char *dir, const uint8_t key[32], const char *ca, char *why, size_t cap)
{
    char hex[66];
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", key[i]);
    hex[64] = '\n';
    enum rc rc = files_write(dir, KEY, hex, 65, why, cap);
    if (rc == RC_OK && ca[0] != '\0')
        rc = files_write(dir, CA, ca, strlen(ca), why, cap);
    return rc;
}

void care_ca(const char *dir, const struct config *config, char *out, size_t cap)
{
    snprintf(out, cap, "%s", config->gateway.ca_file);
    if (out[0] != '\0' || strncmp(config->gateway.server, "wss://", 6) != 0)
        return;
    snprintf(out, cap, "%s/" CA, dir);
    if (access(out, R_OK) != 0)
        out[0] = '\0';
}
