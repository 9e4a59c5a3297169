#include "duty_file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whole file; RC_NOT_FOUND only if it is not there. */
static enum rc slurp(const char *path, char **ret_text, size_t *ret_n, char *why, size_t cap)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        enum rc rc = errno == ENOENT ? RC_NOT_FOUND : RC_IO;
        snprintf(why, cap, "%s: %s", path, strerror(errno));
        return rc;
    }
    size_t room = 65536, n = 0;
    char *text = malloc(room);
    while (text != NULL) {
        n += fread(text + n, 1, room - n, f);
        if (n < room || room > DUTY_FILE_BYTES_MAX)
            break;
        char *more = realloc(text, room *= 2);
        if (more == NULL)
            free(text);
        text = more;
    }
    bool bad = ferror(f) != 0;
    fclose(f);
    if (text != NULL && !bad && n <= DUTY_FILE_BYTES_MAX) {
        *ret_text = text;
        *ret_n = n;
        return RC_OK;
    }
    snprintf(why, cap, "%s: %s", path, text == NULL ? "out of memory" : bad ? "cannot be read" : "larger than 16 MiB: a bus needs its own duty only");
    free(text);
    return text == NULL ? RC_NO_MEMORY : RC_IO;
}

static void version_of(const char *text, size_t n, char *out, size_t cap)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    out[0] = '\0';
    if (EVP_Digest(text, n, sum, &len, EVP_sha256(), NULL) != 1)
        return;
    for (unsigned i = 0; i < 8 && i < len; i++)
        snprintf(out + 2 * i, cap - 2 * i, "%02x", sum[i]);
}

static enum rc read_duty(struct duty_file *d, const char *path, const char *gateway, char *why, size_t cap)
{
    char *text = NULL, reason[384];
    size_t n = 0;
    enum rc rc = slurp(path, &text, &n, why, cap);
    if (rc != RC_OK)
        return rc;
    rc = duty_read(text, n, &d->set, reason, sizeof reason);
    if (rc != RC_OK)
        snprintf(why, cap, "%s: %s", path, reason);
    else
        version_of(text, n, d->duty_version, sizeof d->duty_version);
    free(text);
    if (rc != RC_OK)
        return rc;
    d->vehicle = duty_vehicle_of_gateway(d->set, gateway);
    if (d->vehicle == NULL && d->set->vehicles == 1 && d->set->vehicle[0].gateway[0] == '\0')
        d->vehicle = &d->set->vehicle[0];
    if (d->vehicle != NULL)
        return RC_OK;
    snprintf(why, cap, "%s: vehicles: none has \"gateway\": \"%s\": this is the duty of another bus, or [gateway] id is wrong", path, gateway);
    return RC_INVALID;
}

static enum rc read_law(struct duty_file *d, const char *path, char *why, size_t cap)
{
    char *text = NULL;
    size_t n = 0;
    enum rc rc = slurp(path, &text, &n, why, cap);
    if (rc == RC_NOT_FOUND)
        return RC_IO; /* a duty without its law is a mistake; no duty is not */
    if (rc != RC_OK)
        return rc;
    rc = law_read(text, n, path, &d->law, why, cap);
    free(text);
    if (rc == RC_OK)
        snprintf(d->law_version, sizeof d->law_version, "%s %s", law_pack(d->law), law_version(d->law));
    return rc;
}

enum rc duty_file_read(const char *duty_path, const char *law_path, const char *gateway, struct duty_file **ret_d, char *why, size_t cap)
{
    struct duty_file *d = calloc(1, sizeof *d);
    if (d == NULL) {
        snprintf(why, cap, "out of memory");
        return RC_NO_MEMORY;
    }
    enum rc rc = read_duty(d, duty_path, gateway, why, cap);
    if (rc == RC_OK)
        rc = read_law(d, law_path, why, cap);
    if (rc != RC_OK) {
        duty_file_free(d);
        return rc;
    }
    *ret_d = d;
    return RC_OK;
}

void duty_file_free(struct duty_file *d)
{
    if (d == NULL)
        return;
    duty_free(d->set);
    law_free(d->law);
    free(d);
}
