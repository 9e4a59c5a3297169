#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/base/clock.h"
#include "../core/base/db.h"
#include "../core/base/log.h"
#include "../core/bundle.h"
#include "devices_schema.h"

enum {
    ANSWER_MS = 60000, /* an order without a result holds up the next ones for so long */
    OPEN_MAX = 100,    /* orders waiting for one gateway */
    TRIES_PER_S = 2,   /* codes from all strangers together; an 80-bit code outlives the sun at that */
    TRIES_BURST = 30,
};

enum sql {
    SQL_ADD,
    SQL_SECRETS,
    SQL_PROMOTE,
    SQL_NEXT_SECRET,
    SQL_CODE_GET,
    SQL_CODE_SET,
    SQL_CODE_TRIED,
    SQL_ENROL,
    SQL_REVOKE,
    SQL_HELLO,
    SQL_REPORT,
    SQL_ORDER,
    SQL_ORDER_NEXT,
    SQL_ORDER_SENT,
    SQL_RESULT,
    SQL_OPEN,
    SQL_EXPIRE,
    SQL_LAST,
    SQL_BUNDLE,
    SQL_BUNDLE_GET,
    SQL_BUNDLE_DROP,
    SQL_REPLACE,
    SQL_WANT1,
    SQL_WANT2,
    SQL_WANT3,
    SQL_ROW,
    SQL_ROWS,
    SQL_JOBS,
    SQLS,
};

#define ROW_COLUMNS                                                                                                                                  \
    "SELECT gateway, state, secret, next_secret, code, code_expires_ms, enrolled_ms, seen_ms, serial, firmware, wanted1, wanted2, wanted3, "         \
    "confirmed1, "                                                                                                                                   \
    "confirmed2, confirmed3, report_ms, report, (SELECT count(*) FROM device_order o WHERE o.gateway = device.gateway AND o.fate < 2) FROM device"

static const char *const sql[SQLS] = {
    [SQL_ADD] = "INSERT INTO device (gateway) VALUES ($1) ON CONFLICT (gateway) DO NOTHING",
    [SQL_SECRETS] = "SELECT state, secret, next_secret FROM device WHERE gateway = $1",
    [SQL_PROMOTE] = "UPDATE device SET secret = next_secret, next_secret = NULL, code = NULL, code_expires_ms = 0, state = 1, enrolled_ms = $1 "
                    "WHERE gateway = $2 AND next_secret IS NOT NULL",
    [SQL_NEXT_SECRET] = "UPDATE device SET next_secret = $1 WHERE gateway = $2",
    [SQL_CODE_GET] = "SELECT code, code_expires_ms, code_tries FROM device WHERE gateway = $1 AND code IS NOT NULL",
    [SQL_CODE_SET] = "UPDATE device SET code = $1, code_expires_ms = $2, code_tries = 0, secret = CASE WHEN state = 2 THEN NULL ELSE secret END, "
                     "next_secret = NULL, state = CASE WHEN state = 2 THEN 0 ELSE state END WHERE gateway = $3",
    [SQL_CODE_TRIED] = "UPDATE device SET code_tries = code_tries + 1 WHERE gateway = $1",
    [SQL_ENROL] = "UPDATE device SET next_secret = $1, serial = $2, firmware = $3 WHERE gateway = $4",
    [SQL_REVOKE] = "UPDATE device SET state = 2, secret = NULL, next_secret = NULL, code = NULL, code_expires_ms = 0 WHERE gateway = $1",
    [SQL_HELLO] = "UPDATE device SET seen_ms = $1, firmware = $2, confirmed1 = $3, confirmed2 = $4, confirmed3 = $5 WHERE gateway = $6",
    [SQL_REPORT] = "UPDATE device SET seen_ms = $1, report_ms = $2, report = $3, confirmed1 = CASE WHEN $4 = 2 THEN confirmed1 ELSE $5 END, "
                   "confirmed2 = $6, confirmed3 = $7 WHERE gateway = $8",
    [SQL_ORDER] = "INSERT INTO device_order (id, gateway, kind, bundle, version, number, text, by_name, created_ms, expires_ms) "
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    [SQL_ORDER_NEXT] = "SELECT id, kind, bundle, version, number, text, expires_ms FROM device_order WHERE gateway = $1 AND fate < 2 AND id > $2 AND "
                       "expires_ms > $3 ORDER BY id LIMIT 1",
    [SQL_ORDER_SENT] = "UPDATE device_order SET fate = 1 WHERE id = $1 AND fate = 0",
    [SQL_RESULT] = "UPDATE device_order SET fate = $1, message = $2, answered_ms = $3 WHERE id = $4 AND gateway = $5 AND fate < 2",
    [SQL_OPEN] = "SELECT count(*) FROM device_order WHERE gateway = $1 AND fate < 2",
    [SQL_EXPIRE] = "UPDATE device_order SET fate = 4, answered_ms = $1 WHERE fate < 2 AND expires_ms <= $2",
    [SQL_LAST] = "SELECT max(id) FROM device_order",
    [SQL_BUNDLE] = "INSERT INTO device_bundle (id, sha256, signature, body) VALUES ($1, $2, $3, $4)",
    [SQL_BUNDLE_GET] = "SELECT sha256, signature, length(body) FROM device_bundle WHERE id = $1",
    [SQL_BUNDLE_DROP] = "DELETE FROM device_bundle WHERE id IN (SELECT id FROM device_order WHERE gateway = $1 AND bundle = $2 AND fate > 1)",
    [SQL_REPLACE] = "UPDATE device_order SET fate = 5, answered_ms = $1 WHERE gateway = $2 AND bundle = $3 AND fate < 2",
    [SQL_WANT1] = "UPDATE device SET wanted1 = $1 WHERE gateway = $2",
    [SQL_WANT2] = "UPDATE device SET wanted2 = $1 WHERE gateway = $2",
    [SQL_WANT3] = "UPDATE device SET wanted3 = $1 WHERE gateway = $2",
    [SQL_ROW] = ROW_COLUMNS " WHERE gateway = $1",
    [SQL_ROWS] = ROW_COLUMNS " ORDER BY gateway",
    [SQL_JOBS] = "SELECT id, kind, bundle, version, number, text, by_name, created_ms, expires_ms, fate, message, answered_ms FROM device_order "
                 "WHERE gateway = $1 ORDER BY id DESC LIMIT $2",
};

struct devices {
    sqlite3 *db;
    sqlite3_stmt *s[SQLS], *version_asked;
    char path[512];
    uint8_t seed[32], key[32]; /* order.key and its public half */
    char ca[WIRE_CA_MAX + 1];
    bool open;       /* a transaction is */
    int64_t version; /* PRAGMA data_version */
    double tries;
    int64_t tries_ms;
    uint64_t last_id;
    struct log_gate trouble, guesses;
    struct devices_figures figures;
    void (*changed)(void *arg, const char *gateway);
    void *arg;
};

/* --- database --- */

static void bind_text(sqlite3_stmt *s, int i, const char *v)
{
    (void)sqlite3_bind_text(s, i, v, -1, SQLITE_TRANSIENT);
}

static void bind_blob(sqlite3_stmt *s, int i, const void *v, size_t n)
{
    (void)sqlite3_bind_blob64(s, i, v, n, SQLITE_TRANSIENT);
}

static enum rc trouble(struct devices *d)
{
    if (log_gate_trouble(&d->trouble, clock_mono_ms()))
        log_error("devices", "%s: %s (%u times)", d->path, sqlite3_errmsg(d->db), d->trouble.since_said);
    return RC_IO;
}

static enum rc begin(struct devices *d)
{
    if (d->open)
        return RC_OK;
    if (db_exec(d->db, "BEGIN IMMEDIATE") != RC_OK)
        return trouble(d);
    d->open = true;
    return RC_OK;
}

static enum rc commit(struct devices *d)
{
    if (!d->open)
        return RC_OK;
    d->open = false;
    if (db_exec(d->db, "COMMIT") == RC_OK) {
        if (log_gate_over(&d->trouble))
            log_notice("devices", "%s can be written again", d->path);
        return RC_OK;
    }
    enum rc rc = trouble(d);
    if (!sqlite3_get_autocommit(d->db) && db_exec(d->db, "ROLLBACK") != RC_OK)
        log_debug("devices", "rollback: %s", sqlite3_errmsg(d->db));
    return rc;
}

/* What cannot be written whole is not there: forgets all since the last commit, which is a second at most of what buses told. */
static enum rc give_up(struct devices *d, enum rc rc)
{
    d->open = false;
    if (!sqlite3_get_autocommit(d->db) && db_exec(d->db, "ROLLBACK") != RC_OK)
        log_debug("devices", "rollback: %s", sqlite3_errmsg(d->db));
    return rc;
}

static enum rc run(struct devices *d, enum sql which)
{
    enum rc rc = begin(d);
    if (rc == RC_OK && db_run(d->s[which]) != RC_OK)
        rc = trouble(d);
    (void)sqlite3_clear_bindings(d->s[which]);
    return rc;
}

static enum rc add(struct devices *d, const char *gateway)
{
    bind_text(d->s[SQL_ADD], 1, gateway);
    return run(d, SQL_ADD);
}

static void text_at(sqlite3_stmt *s, int i, char *out, size_t cap)
{
    const unsigned char *t = sqlite3_column_text(s, i);
    (void)snprintf(out, cap, "%s", t != NULL ? (const char *)t : "");
}

static bool blob_at(sqlite3_stmt *s, int i, void *out, size_t n)
{
    const void *b = sqlite3_column_blob(s, i);
    if (b == NULL || sqlite3_column_bytes(s, i) != (int)n)
        return false;
    memcpy(out, b, n);
    return true;
}

/* --- keys --- */

static bool order_key(const char *path, uint8_t seed[32], char *why, size_t cap)
{
    struct stat st;
    char tmp[560];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        snprintf(tmp, sizeof tmp, "%s.%ld", path, (long)getpid());
        fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        bool ok = fd >= 0 && RAND_priv_bytes(seed, 32) == 1 && write(fd, seed, 32) == 32 && fsync(fd) == 0;
        if (fd >= 0)
            close(fd);
        if (!ok || link(tmp, path) != 0) /* not rename: of two that start at once, the first one's stays */
            snprintf(why, cap, "%s: cannot be made: %s", path, strerror(errno));
        unlink(tmp);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 32 && read(fd, seed, 32) == 32;
    if (!ok)
        snprintf(why, cap, "%s: must hold 32 bytes; a new one is made if it is removed, and every gateway must be enrolled again then", path);
    else if ((st.st_mode & 077) != 0)
        snprintf(why, cap, "%s: others may read it: chmod 600", path);
    ok = ok && (st.st_mode & 077) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool public_half(struct devices *d)
{
    size_t n = sizeof d->key;
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, d->seed, sizeof d->seed);
    bool ok = k != NULL && EVP_PKEY_get_raw_public_key(k, d->key, &n) == 1 && n == sizeof d->key;
    EVP_PKEY_free(k);
    return ok;
}

static bool sign(const struct devices *d, const uint8_t *text, size_t n, uint8_t signature[64])
{
    size_t len = 64;
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, d->seed, sizeof d->seed);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = k != NULL && ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k) == 1 && EVP_DigestSign(ctx, signature, &len, text, n) == 1 &&
              len == 64;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(k);
    return ok;
}

/* Of a rotation: made again each time the order is sent, so that it need not be kept anywhere, and a repeat brings the same one. */
static bool rotated_secret(const struct devices *d, const char *gateway, uint64_t order, char out[65])
{
    uint8_t mac[SHA256_DIGEST_LENGTH];
    char text[DUTY_ID_MAX + 48];
    unsigned len = 0;
    int n = snprintf(text, sizeof text, "schoolward rotate 1\n%s\n%" PRIu64, gateway, order);
    if (HMAC(EVP_sha256(), d->seed, sizeof d->seed, (const unsigned char *)text, (size_t)n, mac, &len) == NULL)
        return false;
    for (unsigned i = 0; i < sizeof mac; i++)
        snprintf(out + 2 * i, 3, "%02x", mac[i]);
    OPENSSL_cleanse(mac, sizeof mac);
    return true;
}

void devices_key(const struct devices *d, uint8_t ret_key[32])
{
    memcpy(ret_key, d->key, 32);
}

void devices_set_ca(struct devices *d, const char *pem)
{
    snprintf(d->ca, sizeof d->ca, "%s", pem);
}

/* --- begin and end --- */

static int64_t data_version(struct devices *d)
{
    int64_t v = sqlite3_step(d->version_asked) == SQLITE_ROW ? sqlite3_column_int64(d->version_asked, 0) : d->version;
    (void)sqlite3_reset(d->version_asked);
    return v;
}

enum rc devices_open(const char *state_dir, struct devices **ret_d, char *why, size_t cap)
{
    char key_path[544];
    struct devices *d = calloc(1, sizeof *d);
    if (d == NULL) {
        snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    snprintf(d->path, sizeof d->path, "%s/devices.db", state_dir);
    snprintf(key_path, sizeof key_path, "%s/order.key", state_dir);
    enum rc rc = order_key(key_path, d->seed, why, cap) && public_half(d) ? RC_OK : RC_DENIED;
    if (rc == RC_OK)
        rc = db_open(d->path, DB_SYNC_FULL, &d->db, why, cap);
    if (rc == RC_OK)
        rc = db_migrate(d->db, devices_schema, DEVICES_SCHEMA, why, cap);
    for (size_t i = 0; i < SQLS && rc == RC_OK; i++) {
        rc = db_prepare(d->db, sql[i], &d->s[i]);
        if (rc != RC_OK)
            snprintf(why, cap, "%s: %s", d->path, sqlite3_errmsg(d->db));
    }
    if (rc == RC_OK)
        rc = db_prepare(d->db, "PRAGMA data_version", &d->version_asked);
    if (rc != RC_OK) {
        devices_close(d);
        return rc;
    }
    d->version = data_version(d);
    d->tries = TRIES_BURST;
    *ret_d = d;
    return RC_OK;
}

void devices_close(struct devices *d)
{
    if (d == NULL)
        return;
    if (d->db != NULL && commit(d) != RC_OK)
        log_warning("devices", "the last second of reports is not kept");
    for (size_t i = 0; i < SQLS; i++)
        (void)sqlite3_finalize(d->s[i]);
    (void)sqlite3_finalize(d->version_asked);
    db_close(d->db);
    OPENSSL_cleanse(d, sizeof *d);
    free(d);
}

void devices_listen(struct devices *d, void (*changed)(void *arg, const char *gateway), void *arg)
{
    d->changed = changed;
    d->arg = arg;
}

static void tell(const struct devices *d, const char *gateway)
{
    if (d->changed != NULL)
        d->changed(d->arg, gateway);
}

void devices_tick(struct devices *d, int64_t now_ms)
{
    (void)sqlite3_bind_int64(d->s[SQL_EXPIRE], 1, now_ms);
    (void)sqlite3_bind_int64(d->s[SQL_EXPIRE], 2, now_ms);
    if (db_run(d->s[SQL_EXPIRE]) != RC_OK) /* on its own where no transaction is open: writes nothing when nothing is due */
        (void)trouble(d);
    if (commit(d) != RC_OK)
        return;
    int64_t version = data_version(d);
    if (version != d->version) {
        d->version = version;
        tell(d, "");
    }
}

/* --- the door --- */

bool devices_admit(struct devices *d, const char *gateway, const uint8_t sha256[32], const uint8_t fleet_sha256[32])
{
    static const uint8_t none[32] = {0};
    uint8_t own[32] = {0}, next[32] = {0};
    int state = DEVICES_NEW;
    sqlite3_stmt *s = d->s[SQL_SECRETS];
    bind_text(s, 1, gateway);
    int step = sqlite3_step(s);
    bool has_own = false, has_next = false;
    if (step == SQLITE_ROW) {
        state = sqlite3_column_int(s, 0);
        has_own = blob_at(s, 1, own, sizeof own);
        has_next = blob_at(s, 2, next, sizeof next);
    }
    (void)sqlite3_reset(s);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return trouble(d) == RC_OK; /* a database that cannot be read lets nobody in: a revoked one could be among them */
    const uint8_t *usual = has_own ? own : fleet_sha256;
    bool is_usual = CRYPTO_memcmp(sha256, usual, 32) == 0 && CRYPTO_memcmp(usual, none, 32) != 0;
    bool is_next = CRYPTO_memcmp(sha256, next, 32) == 0 && has_next;
    if (state == DEVICES_REVOKED)
        return false;
    if (is_next) {
        (void)sqlite3_bind_int64(d->s[SQL_PROMOTE], 1, clock_wall_ms());
        bind_text(d->s[SQL_PROMOTE], 2, gateway);
        if (run(d, SQL_PROMOTE) == RC_OK)
            log_notice("devices", "%s uses its new secret; the one before is dead", gateway);
    }
    return is_usual || is_next;
}

bool devices_revoked(struct devices *d, const char *gateway)
{
    sqlite3_stmt *s = d->s[SQL_SECRETS];
    bind_text(s, 1, gateway);
    int step = sqlite3_step(s);
    bool revoked = step == SQLITE_ROW && sqlite3_column_int(s, 0) == DEVICES_REVOKED;
    (void)sqlite3_reset(s);
    return revoked;
}

static bool may_try(struct devices *d, int64_t now_ms)
{
    double more = (double)(now_ms - d->tries_ms) / 1000.0 * TRIES_PER_S;
    d->tries = more > 0 && d->tries + more < TRIES_BURST ? d->tries + more : more > 0 ? TRIES_BURST : d->tries;
    d->tries_ms = now_ms;
    if (d->tries < 1)
        return false;
    d->tries -= 1;
    return true;
}

static bool code_good(struct devices *d, const char *gateway, const char *code, int64_t now_ms)
{
    uint8_t given[SHA256_DIGEST_LENGTH], want[SHA256_DIGEST_LENGTH] = {0};
    sqlite3_stmt *s = d->s[SQL_CODE_GET];
    SHA256((const unsigned char *)code, strlen(code), given);
    bind_text(s, 1, gateway);
    bool alive = sqlite3_step(s) == SQLITE_ROW && blob_at(s, 0, want, sizeof want) && sqlite3_column_int64(s, 1) > now_ms &&
                 sqlite3_column_int(s, 2) < DEVICES_CODE_TRIES;
    (void)sqlite3_reset(s);
    bool same = CRYPTO_memcmp(given, want, sizeof want) == 0;
    if (alive && !same) {
        bind_text(d->s[SQL_CODE_TRIED], 1, gateway);
        if (run(d, SQL_CODE_TRIED) != RC_OK || commit(d) != RC_OK)
            return false;
    }
    return alive && same;
}

enum rc devices_enrol(struct devices *d, const struct wire_enrol *e, int64_t now_ms, struct wire_enrolled *ret_e)
{
    uint8_t raw[32], hash[SHA256_DIGEST_LENGTH];
    if (!may_try(d, now_ms))
        return RC_AGAIN;
    if (!code_good(d, e->gateway, e->code, now_ms)) {
        d->figures.refused_codes++;
        if (log_gate_trouble(&d->guesses, clock_mono_ms()))
            log_warning("devices", "%s: an enrolment code was refused (%u times): wrong, used, older than a day, or tried %d times", e->gateway,
                        d->guesses.since_said, DEVICES_CODE_TRIES);
        return RC_DENIED;
    }
    if (e->stored) {
        (void)sqlite3_bind_int64(d->s[SQL_PROMOTE], 1, now_ms);
        bind_text(d->s[SQL_PROMOTE], 2, e->gateway);
        enum rc rc = run(d, SQL_PROMOTE);
        rc = rc == RC_OK ? commit(d) : rc;
        d->figures.enrolled += rc == RC_OK;
        if (rc == RC_OK)
            log_notice("devices", "%s is enrolled (hardware %s)", e->gateway, e->serial[0] != '\0' ? e->serial : "without a serial number");
        return rc;
    }
    if (RAND_priv_bytes(raw, sizeof raw) != 1)
        return RC_IO;
    memset(ret_e, 0, sizeof *ret_e);
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(ret_e->secret + 2 * i, 3, "%02x", raw[i]);
    OPENSSL_cleanse(raw, sizeof raw);
    memcpy(ret_e->key, d->key, sizeof ret_e->key);
    snprintf(ret_e->ca, sizeof ret_e->ca, "%s", d->ca);
    SHA256((const unsigned char *)ret_e->secret, strlen(ret_e->secret), hash);
    sqlite3_stmt *s = d->s[SQL_ENROL];
    bind_blob(s, 1, hash, sizeof hash);
    bind_text(s, 2, e->serial);
    bind_text(s, 3, e->firmware);
    bind_text(s, 4, e->gateway);
    enum rc rc = run(d, SQL_ENROL);
    return rc == RC_OK ? commit(d) : rc; /* on disk before the gateway has it */
}

void devices_hello(struct devices *d, const struct wire_hello *h, int64_t now_ms)
{
    sqlite3_stmt *s = d->s[SQL_HELLO];
    if (add(d, h->gateway) != RC_OK)
        return;
    (void)sqlite3_bind_int64(s, 1, now_ms);
    bind_text(s, 2, h->firmware);
    (void)sqlite3_bind_int64(s, 3, (int64_t)h->config);
    (void)sqlite3_bind_int64(s, 4, (int64_t)h->duty_bundle);
    (void)sqlite3_bind_int64(s, 5, (int64_t)h->law_bundle);
    bind_text(s, 6, h->gateway);
    (void)run(d, SQL_HELLO);
}

void devices_report(struct devices *d, const char *gateway, const struct report *r, int64_t now_ms)
{
    uint8_t frame[WIRE_SMALL_MAX];
    size_t n;
    sqlite3_stmt *s = d->s[SQL_REPORT];
    if (wire_encode_report(r, frame, sizeof frame, &n) != RC_OK || add(d, gateway) != RC_OK)
        return;
    (void)sqlite3_bind_int64(s, 1, now_ms);
    (void)sqlite3_bind_int64(s, 2, now_ms);
    bind_blob(s, 3, frame, n);
    (void)sqlite3_bind_int(s, 4, r->config);
    (void)sqlite3_bind_int64(s, 5, (int64_t)r->config_version);
    (void)sqlite3_bind_int64(s, 6, (int64_t)r->duty_version);
    (void)sqlite3_bind_int64(s, 7, (int64_t)r->law_version);
    bind_text(s, 8, gateway);
    if (run(d, SQL_REPORT) == RC_OK)
        d->figures.reports++;
}

void devices_result(struct devices *d, const char *gateway, const struct wire_order_result *r, int64_t now_ms)
{
    sqlite3_stmt *s = d->s[SQL_RESULT];
    (void)sqlite3_bind_int(s, 1, r->done ? DEVICES_DONE : DEVICES_FAILED);
    bind_text(s, 2, r->message);
    (void)sqlite3_bind_int64(s, 3, now_ms);
    (void)sqlite3_bind_int64(s, 4, (int64_t)r->id);
    bind_text(s, 5, gateway);
    if (run(d, SQL_RESULT) == RC_OK && sqlite3_changes(d->db) > 0) {
        d->figures.results++;
        log_notice("devices", "%s: order %" PRIu64 ": %s: %s", gateway, r->id, r->done ? "done" : "not done", r->message);
    }
}

/* --- orders on their way --- */

/* The next piece of the bundle of order o->id. */
static bool next_piece(struct devices *d, struct devices_cursor *c, struct wire_order *o)
{
    struct wire_bundle *b = &o->bundle;
    sqlite3_blob *blob = NULL;
    sqlite3_stmt *s = d->s[SQL_BUNDLE_GET];
    (void)sqlite3_bind_int64(s, 1, (int64_t)o->id);
    bool ok = sqlite3_step(s) == SQLITE_ROW && blob_at(s, 0, b->sha256, sizeof b->sha256) && blob_at(s, 1, b->signature, sizeof b->signature);
    b->size = ok ? (uint32_t)sqlite3_column_int64(s, 2) : 0;
    (void)sqlite3_reset(s);
    if (!ok || c->offset >= b->size)
        return false;
    b->offset = c->offset;
    b->n = b->size - b->offset < WIRE_BUNDLE_PIECE ? b->size - b->offset : WIRE_BUNDLE_PIECE;
    ok = sqlite3_blob_open(d->db, "main", "device_bundle", "body", (sqlite3_int64)o->id, 0, &blob) == SQLITE_OK &&
         sqlite3_blob_read(blob, b->body, (int)b->n, (int)b->offset) == SQLITE_OK;
    (void)sqlite3_blob_close(blob);
    if (!ok)
        return false;
    c->size = b->size;
    c->offset = b->offset + b->n;
    return true;
}

static bool fill(struct devices *d, const char *gateway, struct devices_cursor *c, struct wire_order *o)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    c->size = 0;
    if (o->kind == WIRE_ORDER_BUNDLE)
        return next_piece(d, c, o);
    if (o->kind != WIRE_ORDER_ROTATE)
        return true;
    if (!rotated_secret(d, gateway, o->id, o->text))
        return false;
    SHA256((const unsigned char *)o->text, strlen(o->text), hash);
    bind_blob(d->s[SQL_NEXT_SECRET], 1, hash, sizeof hash);
    bind_text(d->s[SQL_NEXT_SECRET], 2, gateway);
    return run(d, SQL_NEXT_SECRET) == RC_OK && commit(d) == RC_OK; /* known here before it is known there */
}

bool devices_next(struct devices *d, const char *gateway, struct devices_cursor *c, int64_t now_ms, struct wire_order *ret_o)
{
    sqlite3_stmt *s = d->s[SQL_ORDER_NEXT];
    bool going_on = c->size > 0 && c->offset < c->size;
    if (!going_on && c->sent_ms != 0 && now_ms - c->sent_ms < ANSWER_MS && now_ms >= c->sent_ms)
        return false;
    bind_text(s, 1, gateway);
    (void)sqlite3_bind_int64(s, 2, (int64_t)(going_on ? c->order - 1 : c->order));
    (void)sqlite3_bind_int64(s, 3, now_ms);
    bool found = sqlite3_step(s) == SQLITE_ROW;
    if (found) {
        ret_o->id = (uint64_t)sqlite3_column_int64(s, 0);
        ret_o->kind = (uint8_t)sqlite3_column_int(s, 1);
        ret_o->bundle.kind = (uint8_t)sqlite3_column_int(s, 2);
        ret_o->bundle.version = (uint64_t)sqlite3_column_int64(s, 3);
        ret_o->number = (uint32_t)sqlite3_column_int64(s, 4);
        text_at(s, 5, ret_o->text, sizeof ret_o->text);
        ret_o->expires_ms = sqlite3_column_int64(s, 6);
    }
    (void)sqlite3_reset(s);
    if (!found) {
        c->size = 0;
        return false;
    }
    if (ret_o->id != c->order)
        *c = (struct devices_cursor){.order = ret_o->id};
    if (!fill(d, gateway, c, ret_o)) {
        c->size = 0;
        return false;
    }
    if (c->size == 0 || c->offset == c->size)
        c->sent_ms = now_ms;
    (void)sqlite3_bind_int64(d->s[SQL_ORDER_SENT], 1, (int64_t)ret_o->id);
    if (c->size == 0 || c->offset <= WIRE_BUNDLE_PIECE)
        (void)run(d, SQL_ORDER_SENT);
    return true;
}

/* --- people --- */

enum rc devices_code(struct devices *d, const char *gateway, int64_t now_ms, char ret_code[DEVICES_CODE_TEXT], int64_t *ret_expires_ms)
{
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* Crockford's 32: none is taken for another */
    uint8_t raw[20], hash[SHA256_DIGEST_LENGTH];
    char plain[21], code[DEVICES_CODE_TEXT];
    size_t n = 0;
    if (RAND_priv_bytes(raw, sizeof raw) != 1)
        return RC_IO;
    for (size_t i = 0; i < sizeof raw; i++) { /* 20 letters of 5 bits: 100 bits */
        plain[i] = letters[raw[i] & 31];
        if (i > 0 && i % 5 == 0)
            code[n++] = '-';
        code[n++] = plain[i];
    }
    plain[20] = code[n] = '\0';
    SHA256((const unsigned char *)plain, 20, hash);
    OPENSSL_cleanse(raw, sizeof raw);
    OPENSSL_cleanse(plain, sizeof plain);
    enum rc rc = add(d, gateway);
    bind_blob(d->s[SQL_CODE_SET], 1, hash, sizeof hash);
    (void)sqlite3_bind_int64(d->s[SQL_CODE_SET], 2, now_ms + DEVICES_CODE_MS);
    bind_text(d->s[SQL_CODE_SET], 3, gateway);
    if (rc == RC_OK)
        rc = run(d, SQL_CODE_SET);
    rc = rc == RC_OK ? commit(d) : give_up(d, rc);
    if (rc != RC_OK)
        return rc;
    memcpy(ret_code, code, sizeof code);
    *ret_expires_ms = now_ms + DEVICES_CODE_MS;
    return RC_OK;
}

enum rc devices_revoke(struct devices *d, const char *gateway, int64_t now_ms)
{
    (void)now_ms;
    enum rc rc = add(d, gateway);
    bind_text(d->s[SQL_REVOKE], 1, gateway);
    if (rc == RC_OK)
        rc = run(d, SQL_REVOKE);
    rc = rc == RC_OK ? commit(d) : give_up(d, rc);
    if (rc == RC_OK)
        tell(d, gateway);
    return rc;
}

/* Rises also over a lost database: a gateway remembers ids it has carried out. */
static uint64_t next_id(struct devices *d, int64_t now_ms)
{
    uint64_t last = d->last_id, by_clock = (uint64_t)now_ms * 1000;
    if (sqlite3_step(d->s[SQL_LAST]) == SQLITE_ROW && (uint64_t)sqlite3_column_int64(d->s[SQL_LAST], 0) > last)
        last = (uint64_t)sqlite3_column_int64(d->s[SQL_LAST], 0);
    (void)sqlite3_reset(d->s[SQL_LAST]);
    d->last_id = by_clock > last ? by_clock : last + 1;
    return d->last_id;
}

static enum rc put_order(struct devices *d, const struct wire_order *o, const char *gateway, const char *by, int64_t now_ms)
{
    sqlite3_stmt *s = d->s[SQL_ORDER];
    (void)sqlite3_bind_int64(s, 1, (int64_t)o->id);
    bind_text(s, 2, gateway);
    (void)sqlite3_bind_int(s, 3, o->kind);
    (void)sqlite3_bind_int(s, 4, o->kind == WIRE_ORDER_BUNDLE ? o->bundle.kind : 0);
    (void)sqlite3_bind_int64(s, 5, o->kind == WIRE_ORDER_BUNDLE ? (int64_t)o->bundle.version : 0);
    (void)sqlite3_bind_int64(s, 6, o->number);
    bind_text(s, 7, o->kind == WIRE_ORDER_ROTATE ? "" : o->text);
    bind_text(s, 8, by);
    (void)sqlite3_bind_int64(s, 9, now_ms);
    (void)sqlite3_bind_int64(s, 10, o->expires_ms);
    return run(d, SQL_ORDER);
}

enum rc devices_order(struct devices *d, const char *gateway, uint8_t kind, const char *text, uint32_t number, const char *by, int64_t expires_ms,
                      int64_t now_ms, uint64_t *ret_id)
{
    uint8_t frame[WIRE_SMALL_MAX];
    size_t n;
    struct wire_order *o = calloc(1, sizeof *o);
    if (o == NULL)
        return RC_NO_MEMORY;
    o->kind = kind;
    o->number = number;
    o->expires_ms = expires_ms != 0 ? expires_ms : now_ms + (kind == WIRE_ORDER_ROTATE ? DEVICES_BUNDLE_MS : DEVICES_ORDER_MS);
    snprintf(o->text, sizeof o->text, "%s", text != NULL ? text : "");
    if (kind == WIRE_ORDER_ROTATE)
        memset(o->text, 'x', WIRE_SECRET_MIN); /* in its place: the secret is made when it is sent */
    enum rc rc = begin(d);                     /* the ids of two who order at once must differ */
    o->id = rc == RC_OK ? next_id(d, now_ms) : 1;
    bool good =
        kind != WIRE_ORDER_BUNDLE && (text == NULL || strlen(text) < sizeof o->text) && wire_encode_order(o, frame, sizeof frame, &n) == RC_OK;
    if (rc == RC_OK && !good)
        rc = RC_RANGE;
    bind_text(d->s[SQL_OPEN], 1, gateway);
    if (rc == RC_OK && sqlite3_step(d->s[SQL_OPEN]) == SQLITE_ROW && sqlite3_column_int(d->s[SQL_OPEN], 0) >= OPEN_MAX)
        rc = RC_FULL;
    (void)sqlite3_reset(d->s[SQL_OPEN]);
    if (rc == RC_RANGE || rc == RC_FULL) {
        free(o);
        return rc; /* nothing was written */
    }
    if (rc == RC_OK)
        rc = add(d, gateway);
    if (rc == RC_OK)
        rc = put_order(d, o, gateway, by, now_ms);
    rc = rc == RC_OK ? commit(d) : give_up(d, rc);
    if (rc == RC_OK) {
        *ret_id = o->id;
        d->figures.orders++;
        tell(d, gateway);
    }
    free(o);
    return rc;
}

enum rc devices_bundle(struct devices *d, const char *gateway, uint8_t kind, const void *body, size_t n, const char *by, int64_t now_ms,
                       uint64_t *ret_version, uint64_t *ret_id)
{
    uint8_t text[BUNDLE_SIGNED_MAX];
    if (n < 1 || n > WIRE_BUNDLE_MAX || kind < 1 || kind > WIRE_BUNDLE_KINDS)
        return RC_RANGE;
    struct wire_order *o = calloc(1, sizeof *o);
    if (o == NULL)
        return RC_NO_MEMORY;
    enum rc rc = begin(d);
    o->id = next_id(d, now_ms);
    o->kind = WIRE_ORDER_BUNDLE;
    o->expires_ms = now_ms + DEVICES_BUNDLE_MS;
    o->bundle.kind = kind;
    o->bundle.version = o->id; /* rises with the orders, and over a lost database */
    SHA256(body, n, o->bundle.sha256);
    size_t len = bundle_signed(gateway, kind, o->bundle.version, n, o->bundle.sha256, text);
    if (rc == RC_OK && !sign(d, text, len, o->bundle.signature))
        rc = RC_IO;
    if (rc == RC_OK)
        rc = add(d, gateway);
    if (rc == RC_OK) {
        (void)sqlite3_bind_int64(d->s[SQL_REPLACE], 1, now_ms);
        bind_text(d->s[SQL_REPLACE], 2, gateway);
        (void)sqlite3_bind_int(d->s[SQL_REPLACE], 3, kind);
        rc = run(d, SQL_REPLACE);
    }
    if (rc == RC_OK) { /* bodies that were answered are the gateway's; here only their hash was ever needed again */
        bind_text(d->s[SQL_BUNDLE_DROP], 1, gateway);
        (void)sqlite3_bind_int(d->s[SQL_BUNDLE_DROP], 2, kind);
        rc = run(d, SQL_BUNDLE_DROP);
    }
    if (rc == RC_OK)
        rc = put_order(d, o, gateway, by, now_ms);
    if (rc == RC_OK) {
        sqlite3_stmt *s = d->s[SQL_BUNDLE];
        (void)sqlite3_bind_int64(s, 1, (int64_t)o->id);
        bind_blob(s, 2, o->bundle.sha256, sizeof o->bundle.sha256);
        bind_blob(s, 3, o->bundle.signature, sizeof o->bundle.signature);
        bind_blob(s, 4, body, n);
        rc = run(d, SQL_BUNDLE);
    }
    if (rc == RC_OK) {
        enum sql want = kind == WIRE_BUNDLE_CONFIG ? SQL_WANT1 : kind == WIRE_BUNDLE_DUTY ? SQL_WANT2 : SQL_WANT3;
        (void)sqlite3_bind_int64(d->s[want], 1, (int64_t)o->bundle.version);
        bind_text(d->s[want], 2, gateway);
        rc = run(d, want);
    }
    rc = rc == RC_OK ? commit(d) : give_up(d, rc);
    if (rc == RC_OK) {
        *ret_version = o->bundle.version;
        *ret_id = o->id;
        d->figures.orders++;
        tell(d, gateway);
    }
    free(o);
    return rc;
}

/* --- looking --- */

static void read_row(sqlite3_stmt *s, struct devices_row *r, struct wire_frame *frame)
{
    const char *fault;
    memset(r, 0, sizeof *r);
    text_at(s, 0, r->gateway, sizeof r->gateway);
    r->state = (uint8_t)sqlite3_column_int(s, 1);
    r->own_secret = sqlite3_column_type(s, 2) != SQLITE_NULL;
    r->rotating = sqlite3_column_type(s, 3) != SQLITE_NULL;
    r->code_expires_ms = sqlite3_column_type(s, 4) != SQLITE_NULL ? sqlite3_column_int64(s, 5) : 0;
    r->enrolled_ms = sqlite3_column_int64(s, 6);
    r->seen_ms = sqlite3_column_int64(s, 7);
    text_at(s, 8, r->serial, sizeof r->serial);
    text_at(s, 9, r->firmware, sizeof r->firmware);
    for (int i = 1; i <= WIRE_BUNDLE_KINDS; i++) {
        r->wanted[i] = (uint64_t)sqlite3_column_int64(s, 9 + i);
        r->confirmed[i] = (uint64_t)sqlite3_column_int64(s, 12 + i);
    }
    r->waiting = (uint32_t)sqlite3_column_int(s, 18);
    const void *blob = sqlite3_column_blob(s, 17);
    if (blob != NULL && wire_decode(blob, (size_t)sqlite3_column_bytes(s, 17), frame, &fault) == RC_OK && frame->kind == WIRE_REPORT) {
        r->report_ms = sqlite3_column_int64(s, 16);
        r->report = frame->report;
    }
}

enum rc devices_rows(struct devices *d, const char *gateway, void (*each)(void *arg, const struct devices_row *r), void *arg)
{
    sqlite3_stmt *s = d->s[gateway != NULL ? SQL_ROW : SQL_ROWS];
    struct wire_frame *frame = malloc(sizeof *frame);
    struct devices_row row;
    size_t n = 0;
    int step;
    if (frame == NULL)
        return RC_NO_MEMORY;
    if (gateway != NULL)
        bind_text(s, 1, gateway);
    while ((step = sqlite3_step(s)) == SQLITE_ROW) {
        read_row(s, &row, frame);
        each(arg, &row);
        n++;
    }
    (void)sqlite3_reset(s);
    free(frame);
    return step != SQLITE_DONE ? trouble(d) : gateway != NULL && n == 0 ? RC_NOT_FOUND : RC_OK;
}

enum rc devices_jobs(struct devices *d, const char *gateway, size_t limit, void (*each)(void *arg, const struct devices_job *j), void *arg)
{
    sqlite3_stmt *s = d->s[SQL_JOBS];
    int step;
    bind_text(s, 1, gateway);
    (void)sqlite3_bind_int64(s, 2, (sqlite3_int64)limit);
    while ((step = sqlite3_step(s)) == SQLITE_ROW) {
        struct devices_job j = {.id = (uint64_t)sqlite3_column_int64(s, 0),
                                .kind = (uint8_t)sqlite3_column_int(s, 1),
                                .bundle = (uint8_t)sqlite3_column_int(s, 2),
                                .version = (uint64_t)sqlite3_column_int64(s, 3),
                                .number = (uint32_t)sqlite3_column_int64(s, 4),
                                .created_ms = sqlite3_column_int64(s, 7),
                                .expires_ms = sqlite3_column_int64(s, 8),
                                .fate = (uint8_t)sqlite3_column_int(s, 9),
                                .answered_ms = sqlite3_column_int64(s, 11)};
        text_at(s, 5, j.text, sizeof j.text);
        text_at(s, 6, j.by, sizeof j.by);
        text_at(s, 10, j.message, sizeof j.message);
        each(arg, &j);
    }
    (void)sqlite3_reset(s);
    return step == SQLITE_DONE ? RC_OK : trouble(d);
}

const char *devices_state_word(uint8_t state)
{
    return state == DEVICES_ENROLLED ? "enrolled" : state == DEVICES_REVOKED ? "revoked" : "new";
}

const char *devices_fate_word(uint8_t fate)
{
    static const char *const words[] = {"waiting", "sent", "done", "failed", "expired", "replaced"};
    return fate < sizeof words / sizeof words[0] ? words[fate] : "unknown";
}

const char *devices_kind_word(uint8_t kind)
{
    static const char *const words[] = {"unknown", "text", "buzzer", "locate", "snapshot", "restart_device", "bundle", "rotate"};
    return kind < sizeof words / sizeof words[0] ? words[kind] : words[0];
}

void devices_figures(const struct devices *d, struct devices_figures *ret_f)
{
    *ret_f = d->figures;
}
