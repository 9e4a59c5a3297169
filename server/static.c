#include "static.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATIC_DEPTH 8

struct static_files {
    struct static_file *file; /* by path */
    size_t n, cap, bytes;
    char *why;
    size_t why_cap;
};

static const char *static_type(const char *path)
{
    static const struct {
        const char *end, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"}, {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},   {".json", "application/json"},             {".svg", "image/svg+xml"},
        {".png", "image/png"},                 {".jpg", "image/jpeg"},                    {".ico", "image/x-icon"},
        {".webp", "image/webp"},               {".woff2", "font/woff2"},                  {".wasm", "application/wasm"},
        {".txt", "text/plain; charset=utf-8"}, {".webmanifest", "application/manifest+json"}, {".map", "application/json"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (!strcasecmp(dot, types[i].end))
            return types[i].type;
    return "application/octet-stream";
}

/* Vite names what may be kept for ever NAME-HASH.EXT, HASH being eight characters of base64url. */
static bool static_is_hashed(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (!dot || dot - path < 10 || dot[-9] != '-')
        return false;
    for (const char *s = dot - 8; s < dot; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-')
            return false;
    return true;
}

static enum rc static_fail(struct static_files *s, enum rc rc, const char *what, const char *path)
{
    (void)snprintf(s->why, s->why_cap, "%s: %s", path, what);
    return rc;
}

static enum rc static_slurp(struct static_files *s, int dir, const char *name, const char *path, char **ret_body, size_t *ret_n)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        enum rc rc = static_fail(s, RC_IO, strerror(errno), path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    size_t n = (size_t)st.st_size;
    char *body = n <= STATIC_BYTES_MAX - s->bytes ? malloc(n + 1) : NULL;
    size_t got = 0;
    ssize_t step = 1;
    while (body && got < n && (step = read(fd, body + got, n - got)) > 0)
        got += (size_t)step;
    close(fd);
    if (!body || got != n) {
        free(body);
        return body ? static_fail(s, RC_IO, "cannot be read whole", path) : static_fail(s, RC_FULL, "the pages are too large: at most 128 MiB", path);
    }
    s->bytes += n;
    *ret_body = body;
    *ret_n = n;
    return RC_OK;
}

static void static_etag(const char *body, size_t n, const char *mark, char out[40])
{
    unsigned char sha[SHA256_DIGEST_LENGTH];
    char *at = out;
    SHA256((const unsigned char *)body, n, sha);
    *at++ = '"';
    for (size_t i = 0; i < 12; i++)
        at += sprintf(at, "%02x", sha[i]);
    (void)sprintf(at, "%s\"", mark);
}

static struct static_file *static_add(struct static_files *s, const char *path)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct static_file *file = realloc(s->file, cap * sizeof *file);
        if (!file)
            return NULL;
        s->file = file;
        s->cap = cap;
    }
    struct static_file *f = &s->file[s->n];
    memset(f, 0, sizeof *f);
    f->path = strdup(path);
    if (!f->path)
        return NULL;
    s->n++;
    return f;
}

static enum rc static_load(struct static_files *s, int dir, const char *name, const char *path)
{
    struct stat st;
    char gz[NAME_MAX + 8];
    size_t len = strlen(name);
    (void)snprintf(gz, sizeof gz, "%s.gz", name);
    if (len > 3 && !strcmp(name + len - 3, ".gz")) { /* comes with its plain form; alone it is a file like any other */
        char plain[NAME_MAX + 1];
        (void)snprintf(plain, sizeof plain, "%.*s", (int)(len - 3), name);
        if (!fstatat(dir, plain, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
            return RC_OK;
    }
    if (s->n == STATIC_FILES_MAX)
        return static_fail(s, RC_FULL, "too many files: at most 4096", path);
    struct static_file *f = static_add(s, path);
    if (!f)
        return static_fail(s, RC_NO_MEMORY, "out of memory", path);
    enum rc rc = static_slurp(s, dir, name, path, &f->body, &f->n);
    if (rc == RC_OK && !fstatat(dir, gz, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
        rc = static_slurp(s, dir, gz, path, &f->gz, &f->gz_n);
    if (rc != RC_OK)
        return rc;
    f->type = static_type(path);
    f->immutable = static_is_hashed(path);
    static_etag(f->body, f->n, "", f->etag);
    if (f->gz)
        static_etag(f->gz, f->gz_n, "-gz", f->etag_gz);
    return RC_OK;
}

static enum rc static_walk(struct static_files *s, int dir, const char *at, int depth)
{
    DIR *d = fdopendir(dir);
    enum rc rc = RC_OK;
    if (!d) {
        close(dir);
        return static_fail(s, RC_IO, strerror(errno), at);
    }
    for (struct dirent *e; rc == RC_OK && (e = readdir(d));) {
        struct stat st;
        char path[1024];
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", at, e->d_name) >= sizeof path)
            continue;
        if (S_ISREG(st.st_mode)) {
            rc = static_load(s, dirfd(d), e->d_name, path);
        } else if (S_ISDIR(st.st_mode) && depth < STATIC_DEPTH) {
            int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            rc = sub < 0 ? static_fail(s, RC_IO, strerror(errno), path) : static_walk(s, sub, path, depth + 1);
        }
    }
    closedir(d);
    return rc;
}

static int static_order(const void *a, const void *b)
{
    return strcmp(((const struct static_file *)a)->path, ((const struct static_file *)b)->path);
}

enum rc static_open(const char *dir, struct static_files **ret_s, char *why, size_t cap)
{
    struct static_files *s = calloc(1, sizeof *s);
    enum rc rc = RC_OK;
    if (!s) {
        (void)snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    s->why = why;
    s->why_cap = cap;
    if (*dir) {
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = fd < 0 ? static_fail(s, RC_IO, strerror(errno), dir) : static_walk(s, fd, "", 0);
    }
    if (rc != RC_OK) {
        static_free(s);
        return rc;
    }
    if (s->n)
        qsort(s->file, s->n, sizeof *s->file, static_order);
    *ret_s = s;
    return RC_OK;
}

void static_free(struct static_files *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        free(s->file[i].path);
        free(s->file[i].body);
        free(s->file[i].gz);
    }
    free(s->file);
    free(s);
}

size_t static_count(const struct static_files *s)
{
    return s->n;
}

static const struct static_file *static_exact(const struct static_files *s, const char *path)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int c = strcmp(path, s->file[mid].path);
        if (!c)
            return &s->file[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static const struct static_file *static_index(const struct static_files *s, const char *folder, size_t n)
{
    char path[600];
    if ((size_t)snprintf(path, sizeof path, "%.*s/index.html", (int)n, folder) >= sizeof path)
        return NULL;
    return static_exact(s, path);
}

const struct static_file *static_find(const struct static_files *s, const char *path)
{
    static const char *const page[] = {"/officer", "/police", "/parent"};
    size_t n = strlen(path);
    if (!n || path[0] != '/')
        return NULL;
    const struct static_file *f = path[n - 1] == '/' ? static_index(s, path, n - 1) : static_exact(s, path);
    for (size_t i = 0; !f && i < sizeof page / sizeof *page; i++) {
        size_t len = strlen(page[i]);
        if (!strncmp(path, page[i], len) && path[len] == '/' && !strchr(path, '.'))
            f = static_index(s, page[i], len);
    }
    return f;
}

bool static_is_folder(const struct static_files *s, const char *path)
{
    size_t n = strlen(path);
    return n > 1 && path[n - 1] != '/' && static_index(s, path, n) != NULL;
}
