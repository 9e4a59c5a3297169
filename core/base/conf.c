#include "conf.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (1024 * 1024)
#define VALUES_MAX 4096
#define WORD_MAX 64

struct value {
    size_t section;
    int line;
    bool used;
    char *key, *text;
};
struct section {
    char kind[WORD_MAX], name[WORD_MAX];
    int line;
    bool used;
    const struct field *known; /* the last table applied: for "did you mean" */
    size_t known_n;
};
struct conf {
    char *name;
    struct value *value;
    size_t values, values_cap;
    struct section *section;
    size_t sections, sections_cap;
    /* while reading: libinih calls reader() once per line, so its calls are the line numbers */
    const char *text;
    size_t n, at;
    int line;
    struct conf_problems *problems;
    enum rc rc;
};

__attribute__((format(printf, 5, 0))) static void problem_at(struct conf *c, int line, const char *key, struct conf_problems *p, const char *format, va_list ap)
{
    size_t i = p->n++;
    if (i >= CONF_PROBLEMS_MAX)
        return;
    char *out = p->text[i];
    size_t cap = sizeof p->text[i];
    int n = line > 0 ? snprintf(out, cap, "%s:%d: %s%s", c->name, line, key, *key != '\0' ? ": " : "")
                     : snprintf(out, cap, "%s: %s%s", c->name, key, *key != '\0' ? ": " : "");
    if (n >= 0 && (size_t)n < cap)
        vsnprintf(out + n, cap - (size_t)n, format, ap);
}

__attribute__((format(printf, 5, 6))) static void problem(struct conf *c, int line, const char *key, struct conf_problems *p, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    problem_at(c, line, key, p, format, ap);
    va_end(ap);
}

static size_t add_section(struct conf *c, const char *kind, const char *name, int line)
{
    if (c->sections == c->sections_cap) {
        size_t cap = c->sections_cap == 0 ? 16 : c->sections_cap * 2;
        struct section *grown = realloc(c->section, cap * sizeof *grown);
        if (grown == NULL)
            return SIZE_MAX;
        c->section = grown;
        c->sections_cap = cap;
    }
    struct section *s = &c->section[c->sections];
    *s = (struct section){.line = line};
    snprintf(s->kind, sizeof s->kind, "%s", kind);
    snprintf(s->name, sizeof s->name, "%s", name);
    return c->sections++;
}

/* "[device counter]" -> kind "device", name "counter" */
static bool split_head(const char *head, char kind[WORD_MAX], char name[WORD_MAX])
{
    const char *space = strchr(head, ' ');
    size_t n = space != NULL ? (size_t)(space - head) : strlen(head);
    const char *rest = space != NULL ? space + strspn(space, " ") : "";
    if (n == 0 || n >= WORD_MAX || strlen(rest) >= WORD_MAX)
        return false;
    memcpy(kind, head, n);
    kind[n] = '\0';
    snprintf(name, WORD_MAX, "%s", rest);
    return true;
}

static enum rc add_value(struct conf *c, size_t section, const char *key, const char *text, int line)
{
    if (c->values == VALUES_MAX)
        return RC_FULL;
    if (c->values == c->values_cap) {
        size_t cap = c->values_cap == 0 ? 64 : c->values_cap * 2;
        struct value *grown = realloc(c->value, cap * sizeof *grown);
        if (grown == NULL)
            return RC_NO_MEMORY;
        c->value = grown;
        c->values_cap = cap;
    }
    struct value v = {.section = section, .line = line, .key = strdup(key), .text = strdup(text)};
    if (v.key == NULL || v.text == NULL) {
        free(v.key);
        free(v.text);
        return RC_NO_MEMORY;
    }
    c->value[c->values++] = v;
    return RC_OK;
}

static char *reader(char *out, int cap, void *stream)
{
    struct conf *c = stream;
    if (c->at >= c->n || cap < 2)
        return NULL;
    const char *from = c->text + c->at;
    const char *end = memchr(from, '\n', c->n - c->at);
    size_t whole = end != NULL ? (size_t)(end - from) + 1 : c->n - c->at;
    size_t n = whole < (size_t)cap - 1 ? whole : (size_t)cap - 1;
    c->line++;
    if (whole > n)
        problem(c, c->line, "", c->problems, "line longer than %d bytes: shorten it", cap - 2);
    memcpy(out, from, n);
    out[n] = '\0';
    c->at += whole;
    return out;
}

/* libinih ends a value at " ;" by itself; people write " #" as well. */
static size_t without_comment(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 1; i < n; i++)
        if (text[i] == '#' && (text[i - 1] == ' ' || text[i - 1] == '\t')) {
            n = i;
            while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
                n--;
        }
    return n;
}

static int on_value(void *arg, const char *head, const char *key, const char *raw)
{
    struct conf *c = arg;
    char kind[WORD_MAX], name[WORD_MAX], text[4096];
    snprintf(text, sizeof text, "%.*s", (int)without_comment(raw), raw);
    if (*head == '\0') {
        problem(c, c->line, key, c->problems, "stands before the first [section]: move it into one");
        return 1;
    }
    if (!split_head(head, kind, name)) {
        problem(c, c->line, head, c->problems, "is not a section name: write [kind] or [kind name]");
        return 1;
    }
    size_t s = conf_find_section(c, kind, name);
    if (s == SIZE_MAX)
        s = add_section(c, kind, name, c->line);
    if (s == SIZE_MAX) {
        c->rc = RC_NO_MEMORY;
        return 0;
    }
    for (size_t i = 0; i < c->values; i++)
        if (c->value[i].section == s && strcmp(c->value[i].key, key) == 0) {
            problem(c, c->line, key, c->problems, "is given twice (first in line %d): keep one", c->value[i].line);
            return 1;
        }
    enum rc rc = add_value(c, s, key, text, c->line);
    if (rc == RC_FULL)
        problem(c, c->line, key, c->problems, "more than %d values: split the configuration", VALUES_MAX);
    if (rc != RC_OK)
        c->rc = rc;
    return rc == RC_OK;
}

enum rc conf_read_text(const char *text, size_t n, const char *name, struct conf **ret_conf, struct conf_problems *problems)
{
    struct conf *c = calloc(1, sizeof *c);
    if (c == NULL || (c->name = strdup(name)) == NULL) {
        free(c);
        return RC_NO_MEMORY;
    }
    c->text = text;
    c->n = n;
    c->problems = problems;
    size_t before = problems->n;
    if (n > BYTES_MAX)
        problem(c, 0, "", problems, "is larger than 1 MiB: this cannot be a configuration");
    else if (memchr(text, '\0', n) != NULL)
        problem(c, 0, "", problems, "has a NUL byte: this is not a text file");
    else {
        int line = ini_parse_stream(reader, c, on_value, c);
        if (line > 0 && c->rc == RC_OK)
            problem(c, line, "", problems, "is neither [section], key = value nor a comment: write one of them");
    }
    c->text = NULL;
    c->problems = NULL;
    enum rc rc = c->rc != RC_OK ? c->rc : problems->n > before ? RC_INVALID : RC_OK;
    if (rc != RC_OK) {
        conf_free(c);
        return rc;
    }
    *ret_conf = c;
    return RC_OK;
}

enum rc conf_read_file(const char *path, struct conf **ret_conf, struct conf_problems *problems)
{
    struct conf named = {.name = (char[]){""}};
    FILE *f = fopen(path, "re");
    char *text = f != NULL ? malloc(BYTES_MAX + 2) : NULL;
    if (text == NULL) {
        problem(&named, 0, path, problems, "cannot be read: %s", strerror(f == NULL ? errno : ENOMEM));
        if (f != NULL)
            fclose(f);
        return RC_IO;
    }
    size_t n = fread(text, 1, BYTES_MAX + 1, f);
    bool bad = ferror(f) != 0;
    fclose(f);
    enum rc rc = RC_IO;
    if (bad)
        problem(&named, 0, path, problems, "cannot be read: %s", strerror(EIO));
    else
        rc = conf_read_text(text, n, path, ret_conf, problems);
    free(text);
    return rc;
}

void conf_free(struct conf *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->values; i++) {
        free(c->value[i].key);
        free(c->value[i].text);
    }
    free(c->value);
    free(c->section);
    free(c->name);
    free(c);
}

enum rc conf_override(struct conf *c, const char *assignment, struct conf_problems *problems)
{
    char head[3 * WORD_MAX], *dot, kind[WORD_MAX], name[WORD_MAX];
    const char *eq = strchr(assignment, '=');
    size_t n = eq != NULL ? (size_t)(eq - assignment) : 0;
    if (n == 0 || n >= sizeof head)
        goto wrong;
    memcpy(head, assignment, n);
    head[n] = '\0';
    dot = strrchr(head, '.');
    if (dot == NULL || dot == head || dot[1] == '\0')
        goto wrong;
    *dot = '\0';
    const char *key = dot + 1;
    char *inner = strchr(head, '.');
    if (inner != NULL)
        *inner = ' ';
    if (!split_head(head, kind, name))
        goto wrong;
    size_t s = conf_find_section(c, kind, name);
    if (s == SIZE_MAX)
        s = add_section(c, kind, name, 0);
    if (s == SIZE_MAX)
        return RC_NO_MEMORY;
    for (size_t i = 0; i < c->values; i++)
        if (c->value[i].section == s && strcmp(c->value[i].key, key) == 0) {
            char *text = strdup(eq + 1);
            if (text == NULL)
                return RC_NO_MEMORY;
            free(c->value[i].text);
            c->value[i].text = text;
            c->value[i].line = 0;
            return RC_OK;
        }
    return add_value(c, s, key, eq + 1, 0);
wrong:
    problem(c, 0, "--set", problems, "'%.60s' is not section.key=value", assignment);
    return RC_INVALID;
}

size_t conf_sections(const struct conf *c)
{
    return c->sections;
}

void conf_section(const struct conf *c, size_t i, const char **ret_kind, const char **ret_name)
{
    *ret_kind = c->section[i].kind;
    *ret_name = c->section[i].name;
}

size_t conf_find_section(const struct conf *c, const char *kind, const char *name)
{
    for (size_t i = 0; i < c->sections; i++)
        if (strcmp(c->section[i].kind, kind) == 0 && strcmp(c->section[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

static struct value *find_value(struct conf *c, size_t section, const char *key)
{
    for (size_t i = 0; i < c->values; i++)
        if (c->value[i].section == section && strcmp(c->value[i].key, key) == 0)
            return &c->value[i];
    return NULL;
}

const char *conf_value(struct conf *c, size_t section, const char *key)
{
    struct value *v = section < c->sections ? find_value(c, section, key) : NULL;
    if (section < c->sections)
        c->section[section].used = true;
    if (v == NULL)
        return NULL;
    v->used = true;
    return v->text;
}

void conf_apply(struct conf *c, size_t section, const struct field *table, size_t n, void *record, struct conf_problems *problems)
{
    struct section *s = section < c->sections ? &c->section[section] : NULL;
    char why[200];
    if (field_defaults(table, n, record) != RC_OK)
        problem(c, 0, "", problems, "a built-in default does not pass its own check: this is a bug of the program");
    if (s != NULL) {
        s->used = true;
        s->known = table;
        s->known_n = n;
    }
    for (size_t i = 0; i < n; i++) {
        struct value *v = s != NULL ? find_value(c, section, table[i].name) : NULL;
        if (v == NULL) {
            if (table[i].initial == NULL)
                problem(c, s != NULL ? s->line : 0, table[i].name, problems, "must be given: %s", table[i].help);
            continue;
        }
        v->used = true;
        if (field_set(&table[i], record, v->text, why, sizeof why) != RC_OK)
            problem(c, v->line, table[i].name, problems, "%s", why);
    }
}

/* Number of single-letter changes between two short words, at most 99. */
static int distance(const char *a, const char *b)
{
    int row[WORD_MAX + 1];
    size_t n = strlen(b);
    if (n > WORD_MAX)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = (int)j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int insert = row[j] + 1, drop = row[j - 1] + 1;
            row[j] = change < insert ? change : insert;
            if (drop < row[j])
                row[j] = drop;
        }
    }
    return row[n];
}

void conf_report_unused(struct conf *c, struct conf_problems *problems)
{
    for (size_t i = 0; i < c->sections; i++)
        if (!c->section[i].used)
            problem(c, c->section[i].line, "", problems, "[%s%s%s] is not a section of this program: remove it or check its spelling",
                    c->section[i].kind, c->section[i].name[0] != '\0' ? " " : "", c->section[i].name);
    for (size_t i = 0; i < c->values; i++) {
        struct value *v = &c->value[i];
        const struct section *s = &c->section[v->section];
        if (v->used || !s->used)
            continue;
        const char *best = NULL;
        int least = 4;
        for (size_t k = 0; k < s->known_n; k++) {
            int d = distance(v->key, s->known[k].name);
            if (d < least) {
                least = d;
                best = s->known[k].name;
            }
        }
        if (best != NULL)
            problem(c, v->line, v->key, problems, "is not known in [%s]: did you mean %s?", s->kind, best);
        else
            problem(c, v->line, v->key, problems, "is not known in [%s]: --print-config lists what is", s->kind);
    }
}

void conf_problem(struct conf *c, size_t section, const char *key, struct conf_problems *problems, const char *format, ...)
{
    int line = 0;
    if (section < c->sections) {
        const struct value *v = key != NULL ? find_value(c, section, key) : NULL;
        line = v != NULL ? v->line : c->section[section].line;
    }
    va_list ap;
    va_start(ap, format);
    problem_at(c, line, key != NULL ? key : "", problems, format, ap);
    va_end(ap);
}

void conf_print(FILE *out, const char *head, const struct field *table, size_t n, const void *record)
{
    char text[1024];
    fprintf(out, "[%s]\n", head);
    for (size_t i = 0; i < n; i++) {
        const struct field *f = &table[i];
        field_text(f, record, text, sizeof text);
        int w = fprintf(out, "%s = %s", f->name, text);
        fprintf(out, "%*s ; %s", w < 44 ? 44 - w : 1, "", f->help);
        if (f->kind == FIELD_INT || f->kind == FIELD_UINT || f->kind == FIELD_REAL)
            fprintf(out, ", %.10g..%.10g%s%s", f->min, f->max, f->unit != NULL && *f->unit != '\0' ? " " : "", f->unit != NULL ? f->unit : "");
        if (f->kind == FIELD_WORD) {
            fputs(",", out);
            for (int k = 0; f->words[k] != NULL; k++)
                fprintf(out, "%s%s", k > 0 ? "|" : " ", f->words[k]);
        }
        if (f->initial != NULL)
            fprintf(out, ", default %s", *f->initial != '\0' ? f->initial : "empty");
        fputc('\n', out);
    }
    fputc('\n', out);
}
