#include "access.h"

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

#define ACCESS_TICKETS_MAX 1024
#define ACCESS_TOKEN_MIN 32
#define ACCESS_TOKEN_MAX 256
#define ACCESS_FILE_MAX 262144
#define ACCESS_BEARER_MAX 512
#define ACCESS_ID_MAX 31
#define ACCESS_KEY 32
#define ACCESS_TICKET_BYTES 32

struct access_token {
    uint8_t sha256[SHA256_DIGEST_LENGTH]; /* the token itself is not kept: a core file must not give it away */
    enum access_role role;
    char name[64];
};

struct access_ticket {
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    int64_t expires_ms; /* 0 = free */
    struct access_who who;
};

struct access {
    uint8_t key[ACCESS_KEY];
    struct access_token token[ACCESS_TOKENS_MAX];
    size_t tokens;
    struct access_ticket ticket[ACCESS_TICKETS_MAX];
};

static const char access_b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* RFC 4648 section 5, without padding. */
static size_t access_encode(const uint8_t *in, size_t n, char *out, size_t cap)
{
    size_t len = n / 3 * 4 + (n % 3 ? n % 3 + 1 : 0), o = 0;
    if (len + 1 > cap)
        return SIZE_MAX;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) | (i + 2 < n ? in[i + 2] : 0);
        for (size_t k = 0; k < 4 && o < len; k++)
            out[o++] = access_b64[v >> (18 - 6 * k) & 63];
    }
    out[o] = '\0';
    return o;
}

/* Strict: only the canonical spelling passes, so that one link has one text. */
static size_t access_decode(const char *in, size_t n, uint8_t *out, size_t cap)
{
    size_t o = 0;
    uint32_t v = 0;
    unsigned bits = 0;
    if (n % 4 == 1)
        return SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const char *at = in[i] ? strchr(access_b64, in[i]) : NULL;
        if (!at)
            return SIZE_MAX;
        v = v << 6 | (uint32_t)(at - access_b64);
        bits += 6;
        if (bits >= 8) {
            if (o == cap)
                return SIZE_MAX;
            bits -= 8;
            out[o++] = (uint8_t)(v >> bits);
            v &= (1u << bits) - 1;
        }
    }
    return v ? SIZE_MAX : o;
}

static bool access_is_id(const char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-");
    return n >= 1 && n <= ACCESS_ID_MAX && !s[n];
}

static enum access_role access_role_of_word(const char *w)
{
    return !strcmp(w, "officer") ? ACCESS_OFFICER : !strcmp(w, "police") ? ACCESS_POLICE : !strcmp(w, "admin") ? ACCESS_ADMIN : ACCESS_NOBODY;
}

/* One line of the file; it is cut into words in place. Never shows the token itself in a message. */
static enum rc access_line(struct access *a, char *line, const char *path, size_t number, char *why, size_t cap)
{
    char *save = NULL, *word[4];
    size_t n = 0;
    for (char *w = strtok_r(line, " \t\r", &save); w && n < 4; w = strtok_r(NULL, " \t\r", &save))
        word[n++] = w;
    if (!n || word[0][0] == '#')
        return RC_OK;
    const char *problem = NULL;
    if (n != 3)
        problem = "a line has three words: name role token";
    else if (strlen(word[0]) >= sizeof a->token[0].name)
        problem = "the name is too long: at most 63 bytes";
    else if (access_role_of_word(word[1]) == ACCESS_NOBODY)
        problem = "unknown role: officer, police or admin";
    else if (strlen(word[2]) < ACCESS_TOKEN_MIN)
        problem = "the token is too short: at least 32 characters, for example from `openssl rand -hex 32`";
    else if (strlen(word[2]) > ACCESS_TOKEN_MAX)
        problem = "the token is too long: at most 256 characters";
    else if (word[2][strspn(word[2], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+/=-")])
        problem = "the token has characters no Authorization header can carry: only A-Z a-z 0-9 . _ ~ + / = -";
    if (problem) {
        (void)snprintf(why, cap, "%s:%zu: %s", path, number, problem);
        return RC_INVALID;
    }
    if (a->tokens == ACCESS_TOKENS_MAX) {
        (void)snprintf(why, cap, "%s:%zu: too many tokens: at most %d", path, number, ACCESS_TOKENS_MAX);
        return RC_FULL;
    }
    struct access_token *t = &a->token[a->tokens];
    t->role = access_role_of_word(word[1]);
    memcpy(t->name, word[0], strlen(word[0]) + 1);
    SHA256((const unsigned char *)word[2], strlen(word[2]), t->sha256);
    for (size_t i = 0; i < a->tokens; i++)
        if (!memcmp(a->token[i].sha256, t->sha256, sizeof t->sha256)) {
            (void)snprintf(why, cap, "%s:%zu: the same token as %s: every name needs its own", path, number, a->token[i].name);
            return RC_INVALID;
        }
    a->tokens++;
    return RC_OK;
}

static enum rc access_read(struct access *a, const char *path, char *text, size_t n, char *why, size_t cap)
{
    if (memchr(text, 0, n)) {
        (void)snprintf(why, cap, "%s: not a text file", path);
        return RC_INVALID;
    }
    text[n] = '\0';
    size_t number = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        enum rc rc = access_line(a, line, path, ++number, why, cap);
        if (rc != RC_OK)
            return rc;
    }
    if (!a->tokens) {
        (void)snprintf(why, cap, "%s: no token in it: add a line \"name officer <at least 32 characters>\"", path);
        return RC_INVALID;
    }
    return RC_OK;
}

enum rc access_open(const char *tokens_path, const uint8_t link_key[32], struct access **ret_a, char *why, size_t cap)
{
    struct stat st;
    enum rc rc = RC_IO;
    char *text = NULL;
    struct access *a = calloc(1, sizeof *a);
    int fd = open(tokens_path, O_RDONLY | O_CLOEXEC);
    if (!a) {
        rc = RC_NO_MEMORY;
        (void)snprintf(why, cap, "out of memory");
        goto out;
    }
    if (fd < 0 || fstat(fd, &st)) {
        (void)snprintf(why, cap, "%s: %s: make a file with lines \"name role token\", chmod 600", tokens_path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > ACCESS_FILE_MAX) {
        rc = RC_INVALID;
        (void)snprintf(why, cap, "%s: not a regular file of at most 256 KiB", tokens_path);
        goto out;
    }
    if (st.st_mode & 077) {
        rc = RC_DENIED;
        (void)snprintf(why, cap, "%s: mode %03o lets others read the tokens: chmod 600", tokens_path, (unsigned)(st.st_mode & 0777));
        goto out;
    }
    text = malloc((size_t)st.st_size + 1);
    if (!text) {
        rc = RC_NO_MEMORY;
        (void)snprintf(why, cap, "out of memory");
        goto out;
    }
    ssize_t n = read(fd, text, (size_t)st.st_size);
    if (n != (ssize_t)st.st_size) {
        (void)snprintf(why, cap, "%s: cannot be read whole: %s", tokens_path, n < 0 ? strerror(errno) : "it changed meanwhile");
        goto out;
    }
    memcpy(a->key, link_key, ACCESS_KEY);
    rc = access_read(a, tokens_path, text, (size_t)n, why, cap);
    OPENSSL_cleanse(text, (size_t)n);
    if (rc == RC_OK) {
        *ret_a = a;
        a = NULL;
    }
out:
    if (fd >= 0)
        close(fd);
    free(text);
    access_free(a);
    return rc;
}

void access_free(struct access *a)
{
    if (a)
        OPENSSL_cleanse(a, sizeof *a);
    free(a);
}

static bool access_mac(const struct access *a, const char *text, size_t n, uint8_t out[SHA256_DIGEST_LENGTH])
{
    unsigned len = 0;
    return HMAC(EVP_sha256(), a->key, ACCESS_KEY, (const unsigned char *)text, n, out, &len) && len == SHA256_DIGEST_LENGTH;
}

/* Takes "p1|vehicle|stop|expires_ms|link" apart; the signature was right, so what does not parse was made by another version. */
static bool access_payload(char *text, struct access_who *w)
{
    char *field[5], *save = NULL;
    size_t n = 0;
    for (char *f = strtok_r(text, "|", &save); f && n < 5; f = strtok_r(NULL, "|", &save))
        field[n++] = f;
    if (n != 5 || strcmp(field[0], "p1") != 0 || !access_is_id(field[1]) || !access_is_id(field[2]) || strlen(field[4]) >= sizeof w->link)
        return false;
    char *end = NULL;
    errno = 0;
    w->expires_ms = strtoll(field[3], &end, 10);
    if (errno || *end || w->expires_ms <= 0)
        return false;
    memcpy(w->vehicle, field[1], strlen(field[1]) + 1);
    memcpy(w->stop, field[2], strlen(field[2]) + 1);
    memcpy(w->link, field[4], strlen(field[4]) + 1);
    return true;
}

static enum rc access_check_link(const struct access *a, const char *token, size_t n, int64_t now_ms, struct access_who *ret_who)
{
    const char *dot = memchr(token, '.', n);
    uint8_t said[SHA256_DIGEST_LENGTH], made[SHA256_DIGEST_LENGTH];
    char payload[ACCESS_LINK_MAX + 1];
    if (!dot || n > ACCESS_LINK_MAX)
        return RC_DENIED;
    size_t head = (size_t)(dot - token);
    if (access_decode(dot + 1, n - head - 1, said, sizeof said) != sizeof said || !access_mac(a, token, head, made) ||
        CRYPTO_memcmp(said, made, sizeof made) != 0)
        return RC_DENIED;
    size_t len = access_decode(token, head, (uint8_t *)payload, sizeof payload - 1);
    if (len == SIZE_MAX || memchr(payload, 0, len))
        return RC_DENIED;
    payload[len] = '\0';
    struct access_who w = {.role = ACCESS_PARENT, .name = "parent"};
    if (!access_payload(payload, &w))
        return RC_DENIED;
    if (w.expires_ms <= now_ms)
        return RC_TIMEOUT;
    *ret_who = w;
    return RC_OK;
}

enum rc access_bearer(const struct access *a, const char *token, size_t n, int64_t now_ms, struct access_who *ret_who)
{
    uint8_t sha[SHA256_DIGEST_LENGTH];
    size_t found = SIZE_MAX;
    if (!n || n > ACCESS_BEARER_MAX)
        return RC_DENIED;
    SHA256((const unsigned char *)token, n, sha);
    /* All are compared, also after a hit: the time tells nothing. */
    for (size_t i = 0; i < a->tokens; i++)
        if (!CRYPTO_memcmp(a->token[i].sha256, sha, sizeof sha))
            found = i;
    if (found == SIZE_MAX)
        return access_check_link(a, token, n, now_ms, ret_who);
    struct access_who w = {.role = a->token[found].role};
    memcpy(w.name, a->token[found].name, sizeof w.name);
    *ret_who = w;
    return RC_OK;
}

enum rc access_ticket(struct access *a, const struct access_who *who, int64_t now_ms, char out[64])
{
    struct access_ticket *free_one = NULL;
    for (size_t i = 0; i < ACCESS_TICKETS_MAX && !free_one; i++)
        if (a->ticket[i].expires_ms <= now_ms)
            free_one = &a->ticket[i];
    if (!free_one)
        return RC_FULL;
    uint8_t raw[ACCESS_TICKET_BYTES];
    if (RAND_bytes(raw, sizeof raw) != 1)
        return RC_IO;
    char text[64];
    size_t n = access_encode(raw, sizeof raw, text, sizeof text);
    SHA256((const unsigned char *)text, n, free_one->sha256);
    free_one->expires_ms = now_ms + ACCESS_TICKET_MS;
    free_one->who = *who;
    memcpy(out, text, n + 1);
    return RC_OK;
}

enum rc access_redeem(struct access *a, const char *ticket, int64_t now_ms, struct access_who *ret_who)
{
    uint8_t sha[SHA256_DIGEST_LENGTH];
    struct access_ticket *found = NULL;
    size_t n = strnlen(ticket, 64);
    SHA256((const unsigned char *)ticket, n, sha);
    for (size_t i = 0; i < ACCESS_TICKETS_MAX; i++)
        if (!CRYPTO_memcmp(a->ticket[i].sha256, sha, sizeof sha) && a->ticket[i].expires_ms > now_ms)
            found = &a->ticket[i];
    if (!found || n != 43)
        return RC_DENIED;
    *ret_who = found->who;
    memset(found, 0, sizeof *found);
    return RC_OK;
}

enum rc access_link(const struct access *a, const char *vehicle, const char *stop, int64_t expires_ms, char *out, size_t cap)
{
    char payload[128], text[ACCESS_LINK_MAX + 1];
    uint8_t id[8], mac[SHA256_DIGEST_LENGTH];
    if (!access_is_id(vehicle) || !access_is_id(stop))
        return RC_INVALID;
    if (expires_ms <= 0)
        return RC_RANGE;
    if (RAND_bytes(id, sizeof id) != 1)
        return RC_IO;
    int len = snprintf(payload, sizeof payload, "p1|%s|%s|%" PRId64 "|%02x%02x%02x%02x%02x%02x%02x%02x", vehicle, stop, expires_ms, id[0], id[1], id[2],
                       id[3], id[4], id[5], id[6], id[7]);
    size_t head = access_encode((const uint8_t *)payload, (size_t)len, text, sizeof text);
    if (head == SIZE_MAX || !access_mac(a, text, head, mac))
        return RC_IO;
    text[head] = '.';
    size_t tail = access_encode(mac, sizeof mac, text + head + 1, sizeof text - head - 1);
    if (tail == SIZE_MAX || head + 1 + tail + 1 > cap)
        return RC_FULL;
    memcpy(out, text, head + 1 + tail + 1);
    return RC_OK;
}
