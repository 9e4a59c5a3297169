#include "notify.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../core/base/clock.h"
#include "../core/base/db.h"
#include "../core/base/log.h"

#define BUCKETS 16384 /* a county makes some ten thousand notices in NOTIFY_KEPT_DAYS */
#define TRY_TIMEOUT_MS 10000L
#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 30000
#define PRUNE_EVERY_MS 3600000

enum state { NEW = -1, QUEUED = 0, DELIVERED = 1, EXPIRED = 2, RECORDED = 3 }; /* NEW: not yet on disk; the others as in column state */

struct notice {
    struct notice *next;               /* of the bucket */
    struct notice *later, *sooner;     /* of those waiting */
    char *key, *body;                  /* body NULL once it waits no more */
    int64_t made_ms, expires_ms;       /* wall */
    int64_t due_ms;                    /* monotonic */
    int tries;
    enum state state;
};

struct notify {
    char url[1024], secret[256];
    sqlite3 *db;
    sqlite3_stmt *insert, *finish, *prune;
    CURL *curl;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct notice *bucket[BUCKETS];
    struct notice waiting; /* head of the ring */
    struct notify_figures figures;
    struct log_gate gate, disk_gate;
};

static const char *const schema[] = {
    "CREATE TABLE notice(key TEXT PRIMARY KEY, body TEXT NOT NULL, made_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, state INTEGER NOT NULL,"
    " done_ms INTEGER);"
    "CREATE INDEX notice_made ON notice(made_ms);",
};

/* --- the signature ------------------------------------------------------------------------------------------------------------------- */

static void hex(const unsigned char *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void notify_sign(const char *secret, int64_t unix_s, const char *body, char out[NOTIFY_SIGNATURE_MAX])
{
    char head[32], text[32 + NOTIFY_BODY_MAX + 1];
    unsigned char mac[EVP_MAX_MD_SIZE] = {0};
    char digits[2 * EVP_MAX_MD_SIZE + 1];
    snprintf(head, sizeof head, "%lld", (long long)unix_s);
    int m = snprintf(text, sizeof text, "%s.%s", head, body);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text, (size_t)m, mac, NULL);
    hex(mac, 32, digits);
    snprintf(out, NOTIFY_SIGNATURE_MAX, "t=%s,v1=%.64s", head, digits);
}

/* --- notices in memory --------------------------------------------------------------------------------------------------------------------- */

static size_t bucket_of(const char *key)
{
    uint64_t h = 14695981039346656037ULL; /* FNV-1a */
    for (const char *p = key; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ULL;
    return h % BUCKETS;
}

static struct notice *lookup(struct notify *n, const char *key)
{
    struct notice *x = n->bucket[bucket_of(key)];
    while (x != NULL && strcmp(x->key, key) != 0)
        x = x->next;
    return x;
}

static void free_notice(struct notice *x)
{
    free(x->key);
    free(x->body);
    free(x);
}

static struct notice *add(struct notify *n, const char *key, const char *body, int64_t made_ms, int64_t expires_ms, enum state state)
{
    struct notice *x = calloc(1, sizeof *x);
    bool waits = state == NEW || state == QUEUED;
    if (x == NULL || (x->key = strdup(key)) == NULL || (waits && (x->body = strdup(body)) == NULL)) {
        if (x != NULL)
            free_notice(x);
        return NULL;
    }
    size_t b = bucket_of(key);
    x->made_ms = made_ms;
    x->expires_ms = expires_ms;
    x->state = state;
    x->next = n->bucket[b];
    n->bucket[b] = x;
    if (waits) {
        x->later = &n->waiting;
        x->sooner = n->waiting.sooner;
        x->sooner->later = n->waiting.sooner = x;
        n->figures.queued++;
    }
    return x;
}

static void forget_old(struct notify *n, int64_t before_ms)
{
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct notice **p = &n->bucket[b]; *p != NULL;) {
            struct notice *x = *p;
            if (x->made_ms < before_ms && x->body == NULL) {
                *p = x->next;
                free_notice(x);
            } else
                p = &x->next;
        }
}

/* --- on disk, on the thread ---------------------------------------------------------------------------------------------------------------- */

static void disk_trouble(struct notify *n, const char *what)
{
    if (log_gate_trouble(&n->disk_gate, clock_mono_ms()))
        log_error("notify", "cannot %s: %s; a notice may be sent twice after a restart (%u times): check the disk", what, sqlite3_errmsg(n->db),
                  n->disk_gate.since_said);
}

/* All new ones in one transaction, before the first of them is sent. On a broken disk they are sent all the same: a parent waits in the street. */
static void store_new(struct notify *n)
{
    bool begun = false, good = true;
    pthread_mutex_lock(&n->lock);
    for (struct notice *x = n->waiting.later; x != &n->waiting; x = x->later) {
        if (x->state != NEW)
            continue;
        if (!begun)
            good = db_exec(n->db, "BEGIN IMMEDIATE") == RC_OK;
        begun = true;
        sqlite3_bind_text(n->insert, 1, x->key, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(n->insert, 2, x->body, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int64(n->insert, 3, x->made_ms);
        sqlite3_bind_int64(n->insert, 4, x->expires_ms);
        good = db_run(n->insert) == RC_OK && good;
        x->state = QUEUED;
    }
    pthread_mutex_unlock(&n->lock);
    if (!begun)
        return;
    if (!good || db_exec(n->db, "COMMIT") != RC_OK) {
        disk_trouble(n, "keep a notice");
        if (db_exec(n->db, "ROLLBACK") != RC_OK)
            return;
    } else if (log_gate_over(&n->disk_gate))
        log_notice("notify", "the outbox works again");
}

static void finish(struct notify *n, struct notice *x, enum state state)
{
    sqlite3_bind_int(n->finish, 1, state);
    sqlite3_bind_int64(n->finish, 2, clock_wall_ms());
    sqlite3_bind_text(n->finish, 3, x->key, -1, SQLITE_TRANSIENT);
    if (db_run(n->finish) != RC_OK)
        disk_trouble(n, "mark a notice as done");
    pthread_mutex_lock(&n->lock);
    x->state = state;
    x->sooner->later = x->later;
    x->later->sooner = x->sooner;
    free(x->body);
    x->body = NULL;
    n->figures.queued--;
    n->figures.delivered += state == DELIVERED;
    n->figures.expired += state == EXPIRED;
    pthread_mutex_unlock(&n->lock);
}

static void prune(struct notify *n)
{
    int64_t before = clock_wall_ms() - NOTIFY_KEPT_DAYS * 86400000LL;
    sqlite3_bind_int64(n->prune, 1, before);
    if (db_run(n->prune) != RC_OK)
        disk_trouble(n, "forget old notices");
    pthread_mutex_lock(&n->lock);
    forget_old(n, before);
    pthread_mutex_unlock(&n->lock);
}

/* --- sending ------------------------------------------------------------------------------------------------------------------------------- */

static size_t ignore_body(char *data, size_t size, size_t k, void *arg)
{
    (void)data, (void)arg;
    return size * k;
}

static int watch(void *arg, curl_off_t dt, curl_off_t dn, curl_off_t ut, curl_off_t un)
{
    (void)dt, (void)dn, (void)ut, (void)un;
    return atomic_load(&((struct notify *)arg)->stopping);
}

/* One try. True: a receipt (2xx). why: what went wrong otherwise. */
static bool post(struct notify *n, const struct notice *x, char *why, size_t cap)
{
    char signature[NOTIFY_SIGNATURE_MAX], line[NOTIFY_KEY_MAX + 40], error[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    long status = 0;
    notify_sign(n->secret, clock_wall_ms() / 1000, x->body, signature);
    snprintf(line, sizeof line, "Schoolward-Signature: %s", signature);
    headers = curl_slist_append(headers, line);
    snprintf(line, sizeof line, "Schoolward-Delivery: %s", x->key);
    headers = curl_slist_append(headers, line);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(n->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(n->curl, CURLOPT_POSTFIELDS, x->body);
    curl_easy_setopt(n->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(x->body));
    curl_easy_setopt(n->curl, CURLOPT_ERRORBUFFER, error);
    CURLcode c = curl_easy_perform(n->curl);
    curl_easy_getinfo(n->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(n->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    if (c == CURLE_OK && status >= 200 && status < 300)
        return true;
    if (c == CURLE_OK)
        snprintf(why, cap, "it answered %ld%s", status, status >= 300 && status < 400 ? " (redirects are not followed: correct notify.url)" : "");
    else
        snprintf(why, cap, "%s", error[0] != '\0' ? error : curl_easy_strerror(c));
    return false;
}

static int64_t pause_after(int tries)
{
    uint32_t r = 0;
    int64_t most = PAUSE_FIRST_MS;
    for (int i = 1; i < tries && most < PAUSE_MAX_MS; i++)
        most *= 2;
    most = most > PAUSE_MAX_MS ? PAUSE_MAX_MS : most;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r)
        r = (uint32_t)clock_mono_ms();
    return most / 2 + (int64_t)(r % (uint32_t)(most / 2 + 1));
}

/* The next one that is due or expired; *ret_wait_ms: how long until there may be one. */
static struct notice *next_due(struct notify *n, int64_t *ret_wait_ms)
{
    int64_t now = clock_mono_ms(), wall = clock_wall_ms(), wait = PRUNE_EVERY_MS;
    struct notice *found = NULL;
    pthread_mutex_lock(&n->lock);
    for (struct notice *x = n->waiting.later; x != &n->waiting && found == NULL; x = x->later) {
        int64_t left = x->due_ms - now < x->expires_ms - wall ? x->due_ms - now : x->expires_ms - wall;
        if (x->state == NEW || left <= 0)
            found = x;
        wait = left < wait ? left : wait;
    }
    pthread_mutex_unlock(&n->lock);
    *ret_wait_ms = wait;
    return found;
}

static void attempt(struct notify *n, struct notice *x)
{
    char why[CURL_ERROR_SIZE + 64];
    if (n->url[0] == '\0') {
        finish(n, x, RECORDED);
        return;
    }
    if (clock_wall_ms() >= x->expires_ms) {
        finish(n, x, EXPIRED);
        return;
    }
    if (post(n, x, why, sizeof why)) {
        if (log_gate_over(&n->gate))
            log_notice("notify", "the webhook works again");
        finish(n, x, DELIVERED);
        return;
    }
    if (atomic_load(&n->stopping))
        return;
    if (log_gate_trouble(&n->gate, clock_mono_ms()))
        log_warning("notify", "the webhook does not take notices: %s; trying again until they expire (%u times): check notify.url", why, n->gate.since_said);
    pthread_mutex_lock(&n->lock);
    n->figures.failed_tries++;
    x->tries++;
    x->due_ms = clock_mono_ms() + pause_after(x->tries);
    /* behind the others: one that cannot be delivered must not stand before one that can */
    x->sooner->later = x->later;
    x->later->sooner = x->sooner;
    x->later = &n->waiting;
    x->sooner = n->waiting.sooner;
    x->sooner->later = n->waiting.sooner = x;
    pthread_mutex_unlock(&n->lock);
}

static bool has_new(const struct notify *n)
{
    return n->waiting.sooner != &n->waiting && n->waiting.sooner->state == NEW; /* new ones are at the end */
}

static void *run(void *arg)
{
    struct notify *n = arg;
    int64_t pruned = clock_mono_ms();
    while (!atomic_load(&n->stopping)) {
        int64_t wait;
        store_new(n);
        struct notice *x = next_due(n, &wait);
        if (x != NULL && x->state != NEW) {
            attempt(n, x);
            continue;
        }
        if (clock_mono_ms() - pruned > PRUNE_EVERY_MS) {
            prune(n);
            pruned = clock_mono_ms();
        }
        wait = clock_mono_ms() + (wait > 5000 ? 5000 : wait < 1 ? 1 : wait); /* not longer: the wall clock may be set meanwhile */
        struct timespec t = {.tv_sec = (time_t)(wait / 1000), .tv_nsec = (long)(wait % 1000) * 1000000L};
        pthread_mutex_lock(&n->lock);
        if (!has_new(n) && !atomic_load(&n->stopping))
            pthread_cond_timedwait(&n->wake, &n->lock, &t);
        pthread_mutex_unlock(&n->lock);
    }
    store_new(n);
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------------------------------------------------------- */

enum rc notify_send(struct notify *n, const char *key, const char *json_body, int64_t expires_ms)
{
    size_t length = strlen(key);
    if (length == 0 || length > NOTIFY_KEY_MAX || strlen(json_body) > NOTIFY_BODY_MAX)
        return RC_RANGE;
    for (size_t i = 0; i < length; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return RC_RANGE; /* it becomes a header */
    enum rc rc = RC_OK;
    pthread_mutex_lock(&n->lock);
    if (lookup(n, key) != NULL)
        rc = RC_END;
    else if (n->figures.queued >= NOTIFY_WAITING_MAX)
        rc = RC_FULL;
    else if (add(n, key, json_body, clock_wall_ms(), expires_ms, NEW) == NULL)
        rc = RC_NO_MEMORY;
    pthread_cond_signal(&n->wake);
    pthread_mutex_unlock(&n->lock);
    return rc;
}

int64_t notify_made_ms(struct notify *n, const char *key)
{
    pthread_mutex_lock(&n->lock);
    const struct notice *x = lookup(n, key);
    int64_t made = x == NULL ? 0 : x->made_ms;
    pthread_mutex_unlock(&n->lock);
    return made;
}

void notify_figures(struct notify *n, struct notify_figures *ret_f)
{
    pthread_mutex_lock(&n->lock);
    *ret_f = n->figures;
    pthread_mutex_unlock(&n->lock);
}

static enum rc load(struct notify *n)
{
    sqlite3_stmt *s = NULL;
    enum rc rc = db_prepare(n->db, "SELECT key, body, made_ms, expires_ms, state FROM notice ORDER BY made_ms", &s);
    int code = SQLITE_DONE;
    while (rc == RC_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
        if (add(n, (const char *)sqlite3_column_text(s, 0), (const char *)sqlite3_column_text(s, 1), sqlite3_column_int64(s, 2), sqlite3_column_int64(s, 3),
                (enum state)sqlite3_column_int(s, 4)) == NULL)
            rc = RC_NO_MEMORY;
    sqlite3_finalize(s);
    return rc == RC_OK && code != SQLITE_DONE ? db_rc(code) : rc;
}

static enum rc open_outbox(struct notify *n, const char *path, char *why, size_t cap)
{
    enum rc rc = db_open(path, DB_SYNC_FULL, &n->db, why, cap);
    if (rc == RC_OK)
        rc = db_migrate(n->db, schema, (int)(sizeof schema / sizeof *schema), why, cap);
    if (rc != RC_OK)
        return rc;
    rc = db_prepare(n->db, "INSERT OR IGNORE INTO notice(key, body, made_ms, expires_ms, state) VALUES(?, ?, ?, ?, 0)", &n->insert);
    if (rc == RC_OK)
        rc = db_prepare(n->db, "UPDATE notice SET state = ?, done_ms = ?, body = '' WHERE key = ?", &n->finish);
    if (rc == RC_OK)
        rc = db_prepare(n->db, "DELETE FROM notice WHERE made_ms < ? AND state <> 0", &n->prune);
    if (rc == RC_OK) {
        prune(n);
        rc = load(n);
    }
    if (rc != RC_OK)
        snprintf(why, cap, "%s: %s", path, sqlite3_errmsg(n->db));
    return rc;
}

static bool set_options(struct notify *n)
{
    CURLcode c = curl_easy_setopt(n->curl, CURLOPT_URL, n->url);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_WRITEFUNCTION, ignore_body);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_XFERINFOFUNCTION, watch);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_XFERINFODATA, n);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_NOPROGRESS, 0L);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_NOSIGNAL, 1L);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_CONNECTTIMEOUT_MS, TRY_TIMEOUT_MS / 2);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_TIMEOUT_MS, TRY_TIMEOUT_MS);
    if (c == CURLE_OK)
        c = curl_easy_setopt(n->curl, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
    return c == CURLE_OK;
}

static void release(struct notify *n)
{
    for (size_t b = 0; b < BUCKETS; b++)
        while (n->bucket[b] != NULL) {
            struct notice *x = n->bucket[b];
            n->bucket[b] = x->next;
            free_notice(x);
        }
    sqlite3_finalize(n->insert);
    sqlite3_finalize(n->finish);
    sqlite3_finalize(n->prune);
    db_close(n->db);
    curl_easy_cleanup(n->curl);
    pthread_cond_destroy(&n->wake);
    pthread_mutex_destroy(&n->lock);
    explicit_bzero(n->secret, sizeof n->secret);
    free(n);
}

static const char *fault(const struct notify_setup *s)
{
    if (s->url[0] == '\0')
        return NULL;
    if ((strncmp(s->url, "http://", 7) != 0 && strncmp(s->url, "https://", 8) != 0) || strlen(s->url) >= sizeof((struct notify *)0)->url)
        return "notify.url: must be http://... or https://..., at most 1023 bytes";
    if (strlen(s->secret) < 16 || strlen(s->secret) >= sizeof((struct notify *)0)->secret)
        return "notify.secret: must be 16 to 255 characters long: the receiver checks the signature with it";
    return NULL;
}

enum rc notify_open(const struct notify_setup *s, struct notify **ret_n, char *why, size_t cap)
{
    if (fault(s) != NULL) {
        snprintf(why, cap, "%s", fault(s));
        return RC_INVALID;
    }
    struct notify *n = calloc(1, sizeof *n);
    if (n == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(n);
        snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&n->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&n->lock, NULL);
    n->waiting.later = n->waiting.sooner = &n->waiting;
    snprintf(n->url, sizeof n->url, "%s", s->url);
    snprintf(n->secret, sizeof n->secret, "%s", s->secret);
    enum rc rc = open_outbox(n, s->path, why, cap);
    n->curl = rc == RC_OK ? curl_easy_init() : NULL;
    if (rc == RC_OK && (n->curl == NULL || !set_options(n) || pthread_create(&n->thread, NULL, run, n) != 0)) {
        snprintf(why, cap, "out of memory or threads");
        rc = RC_NO_MEMORY;
    }
    if (rc != RC_OK) {
        release(n);
        return rc;
    }
    *ret_n = n;
    return RC_OK;
}

void notify_close(struct notify *n)
{
    if (n == NULL)
        return;
    atomic_store(&n->stopping, true);
    pthread_mutex_lock(&n->lock);
    pthread_cond_signal(&n->wake);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
    release(n);
}
