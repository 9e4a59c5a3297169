/*
 * recording - a recording of a device's line as a file, read and checked. HACKING.md ("Recordings") describes the format; test_driver_recordings.c
 * plays it.
 */
#ifndef SCHOOLWARD_RECORDING_H
#define SCHOOLWARD_RECORDING_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDING_HEAD  "# schoolward-recording 1"
#define RECORDING_BYTES 70000 /* of one line */
#define RECORDING_FILES 8

enum step_kind { STEP_BYTES, STEP_SENT, STEP_SENT_LATER, STEP_ON, STEP_HANGUP, STEP_BACK, STEP_POWER, STEP_OUT, STEP_WORD, STEP_BIT, STEP_REPLY };

struct step {
    int64_t ms;
    enum step_kind kind;
    uint8_t *bytes, *answer; /* answer: STEP_ON, NULL = stays silent */
    size_t n, answer_n;
    int64_t delay_ms; /* STEP_ON, STEP_REPLY */
    uint32_t slave, address;
    char *text; /* STEP_OUT: what follows the word */
    unsigned line;
};

struct recording {
    char path[512];
    char driver[32], origin[400], options[900];
    bool real, derived, tcp;
    uint32_t slave[4];
    size_t slaves;
    struct {
        char name[32];
        uint8_t *bytes;
        size_t n;
    } file[RECORDING_FILES];
    size_t files;
    int64_t wall_ms, end_ms; /* end_ms -1: a second after the last step */
    struct step *step;
    size_t steps;
};

static inline char *recording_trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    size_t n = strlen(s);
    while (n > 0 && isspace((unsigned char)s[n - 1]))
        s[--n] = '\0';
    return s;
}

/* "+N" at *at, which moves behind it. */
static inline int64_t recording_number(const char **at)
{
    char *end = NULL;
    int64_t v = strtoll(*at + 1, &end, 10);
    *at = end;
    return v;
}

/* Hex digits with blanks anywhere between bytes, and "text" in double quotes. Stops at ':' if there is one; false: something else stands there. */
static inline bool recording_bytes(const char **at, uint8_t **ret_p, size_t *ret_n)
{
    uint8_t *out = malloc(RECORDING_BYTES);
    size_t n = 0;
    const char *s = *at;
    bool good = true;
    while (good && *s != '\0' && *s != ':' && n < RECORDING_BYTES) {
        unsigned v;
        if (isspace((unsigned char)*s)) {
            s++;
        } else if (*s == '"') {
            const char *end = strchr(s + 1, '"');
            good = end != NULL;
            for (s++; good && s < end && n < RECORDING_BYTES; s++)
                out[n++] = (uint8_t)*s;
            s += good;
        } else if (isxdigit((unsigned char)s[0]) && isxdigit((unsigned char)s[1]) && sscanf(s, "%2x", &v) == 1) {
            out[n++] = (uint8_t)v;
            s += 2;
        } else {
            good = false;
        }
    }
    *at = s;
    *ret_p = realloc(out, n > 0 ? n : 1); /* exactly as long as it is: an overrun shows */
    *ret_n = n;
    return good;
}

static inline bool recording_header(struct recording *r, char *s)
{
    char *colon = strchr(s, ':');
    if (colon == NULL)
        return true; /* an ordinary remark */
    *colon = '\0';
    const char *key = recording_trim(s);
    char *value = recording_trim(colon + 1);
    if (strcmp(key, "driver") == 0)
        snprintf(r->driver, sizeof r->driver, "%.31s", value);
    else if (strcmp(key, "origin") == 0)
        snprintf(r->origin, sizeof r->origin, "%.399s", value);
    else if (strcmp(key, "options") == 0)
        snprintf(r->options, sizeof r->options, "%.899s", value);
    else if (strcmp(key, "line") == 0)
        r->tcp = strcmp(value, "tcp") == 0;
    else if (strcmp(key, "wall") == 0)
        r->wall_ms = strtoll(value, NULL, 10);
    else if (strcmp(key, "end") == 0)
        r->end_ms = strtoll(value, NULL, 10);
    else if (strcmp(key, "slave") == 0 && r->slaves < 4)
        r->slave[r->slaves++] = (uint32_t)strtoul(value, NULL, 0);
    else if (strcmp(key, "file") == 0) {
        int used = 0;
        if (r->files == RECORDING_FILES || sscanf(value, "%31s%n", r->file[r->files].name, &used) != 1 || strchr(r->file[r->files].name, '/') != NULL)
            return false;
        const char *at = value + used;
        bool good = recording_bytes(&at, &r->file[r->files].bytes, &r->file[r->files].n);
        r->files++;
        return good;
    }
    return true;
}

static inline bool recording_memory(struct recording *r, struct step *s, const char *rest)
{
    unsigned long v[130];
    size_t n = 0;
    char *end = NULL;
    s->slave = r->slaves > 0 ? r->slave[0] : 1;
    if (*rest == '@') {
        s->slave = (uint32_t)strtoul(rest + 1, &end, 0);
        rest = end;
    }
    for (; n < 130; n++, rest = end) {
        v[n] = strtoul(rest, &end, 0);
        if (end == rest)
            break;
    }
    if (n < 2)
        return false;
    s->address = (uint32_t)v[0];
    s->n = 2 * (n - 1);
    s->bytes = malloc(s->n);
    for (size_t i = 1; i < n; i++) {
        s->bytes[2 * i - 2] = (uint8_t)(v[i] >> 8);
        s->bytes[2 * i - 1] = (uint8_t)v[i];
    }
    return true;
}

/* What stands behind the time. */
static inline bool recording_step(struct recording *r, struct step *s, char *text)
{
    char word[16] = "";
    int used = 0;
    if (sscanf(text, "%15s %n", word, &used) != 1)
        return false;
    const char *rest = text + used;
    bool plus = false;
    if (strcmp(word, "\"") == 0) {
        s->kind = STEP_BYTES;
        s->n = strlen(rest) + 1;
        s->bytes = malloc(s->n);
        memcpy(s->bytes, rest, s->n - 1);
        s->bytes[s->n - 1] = '\n';
        return true;
    }
    if (strcmp(word, ">") == 0 || strcmp(word, "<") == 0 || strcmp(word, "<~") == 0) {
        s->kind = word[0] == '>' ? STEP_BYTES : word[1] == '~' ? STEP_SENT_LATER : STEP_SENT;
        return recording_bytes(&rest, &s->bytes, &s->n) && *rest == '\0' && s->n > 0;
    }
    if (strcmp(word, "reply") == 0) {
        s->kind = STEP_REPLY;
        plus = *rest == '+';
        if (plus)
            s->delay_ms = recording_number(&rest);
        return recording_bytes(&rest, &s->bytes, &s->n) && *rest == '\0';
    }
    if (strcmp(word, "on") == 0) {
        s->kind = STEP_ON;
        if (!recording_bytes(&rest, &s->bytes, &s->n) || *rest != ':' || s->n == 0)
            return false;
        for (rest++; isspace((unsigned char)*rest);)
            rest++;
        if (*rest == '+')
            s->delay_ms = recording_number(&rest);
        return recording_bytes(&rest, &s->answer, &s->answer_n) && *rest == '\0';
    }
    if (strcmp(word, "word") == 0 || strcmp(word, "bit") == 0) {
        s->kind = word[0] == 'w' ? STEP_WORD : STEP_BIT;
        return recording_memory(r, s, rest);
    }
    if (strcmp(word, "out") == 0) {
        s->kind = STEP_OUT;
        s->text = strdup(rest);
        return true;
    }
    s->kind = strcmp(word, "hangup") == 0 ? STEP_HANGUP : strcmp(word, "back") == 0 ? STEP_BACK : STEP_POWER;
    return strcmp(word, "hangup") == 0 || strcmp(word, "back") == 0 || strcmp(word, "power") == 0;
}

/* recording_read - false with a reason in why. A file that begins with the replay driver's head is its own recording: played by that driver. */
static inline bool recording_read(const char *path, struct recording *r, char *why, size_t cap)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    unsigned number = 0;
    int64_t last_ms = 0;
    *r = (struct recording){.wall_ms = INT64_C(1795390000000), .end_ms = -1};
    snprintf(r->path, sizeof r->path, "%.511s", path);
    why[0] = '\0';
    while (f != NULL && why[0] == '\0' && getline(&text, &size, f) > 0) {
        number++;
        text[strcspn(text, "\r\n")] = '\0';
        if (number == 1 && strcmp(text, RECORDING_HEAD) != 0)
            snprintf(why, cap, "the first line must be \"%s\"", RECORDING_HEAD);
        char *s = recording_trim(text);
        if (*s == '\0')
            continue;
        if (*s == '#') {
            if (!recording_header(r, s + 1))
                snprintf(why, cap, "line %u: bad header", number);
            continue;
        }
        r->step = realloc(r->step, (r->steps + 1) * sizeof *r->step);
        struct step *step = &r->step[r->steps];
        *step = (struct step){.line = number};
        char *rest = NULL;
        step->ms = strtoll(*s == '+' ? s + 1 : s, &rest, 10) + (*s == '+' ? last_ms : 0);
        if (rest == s || step->ms < last_ms || !recording_step(r, step, rest))
            snprintf(why, cap, "line %u: no step, or earlier than the one before", number);
        last_ms = step->ms;
        r->steps++;
    }
    free(text);
    if (f == NULL)
        snprintf(why, cap, "cannot be read");
    else
        fclose(f);
    r->real = strncmp(r->origin, "real, ", 6) == 0 && strlen(r->origin) > 12;
    r->derived = strncmp(r->origin, "derived from ", 13) == 0 && strstr(r->origin, " by ") != NULL;
    if (why[0] == '\0' && !r->real && !r->derived && strncmp(r->origin, "written by us", 13) != 0)
        snprintf(why, cap, "origin must be \"real, SOURCE\", \"derived from NAME by ...\" or \"written by us\"");
    if (why[0] == '\0' && r->driver[0] == '\0')
        snprintf(why, cap, "no driver");
    if (r->end_ms < 0)
        r->end_ms = last_ms + 1000;
    return why[0] == '\0';
}

static inline void recording_free(struct recording *r)
{
    for (size_t i = 0; i < r->steps; i++) {
        free(r->step[i].bytes);
        free(r->step[i].answer);
        free(r->step[i].text);
    }
    for (size_t i = 0; i < r->files; i++)
        free(r->file[i].bytes);
    free(r->step);
}

#endif
