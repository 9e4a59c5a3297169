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
#define VALUE_MAX 4096
#define LINE_WIDTH 180 /* printed lines: longer remarks stand above their key */

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
    const char *text, *whole; /* whole: the line libinih has now, as it stands in the text */
    size_t n, at, whole_n;
    size_t current; /* section, SIZE_MAX: none yet */
    bool bad_head;  /* the section's name was refused: its values are not looked at */
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
    const char *after = *key != '\0' ? ": " : "";
    int n = line > 0 ? snprintf(out, cap, "%s:%d: %s%s", c->name, line, key, after)
                     : snprintf(out, cap, "%s%s%s%s", c->name, *c->name != '\0' ? ": " : "", key, after);
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

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v'; /* as isspace() of libinih */
}

static bool is_comment(char c)
{
    return c == ';' || c == '#';
}

static void enter_section(struct conf *c)
{
    char head[2 * WORD_MAX], kind[WORD_MAX], name[WORD_MAX];
    const char *end = memchr(c->whole, ']', c->whole_n);
    c->bad_head = end == NULL; /* libinih refuses the line */
    if (c->bad_head)
        return;
    size_t n = (size_t)(end - c->whole) - 1;
    snprintf(head, sizeof head, "%.*s", (int)(n < sizeof head ? n : sizeof head - 1), c->whole + 1);
    c->bad_head = n >= sizeof head || !split_head(head, kind, name);
    if (c->bad_head) {
        problem(c, c->line, head, c->problems, "is not a section name: write [kind] or [kind name]");
        return;
    }
    size_t s = conf_find_section(c, kind, name);
    if (s == SIZE_MAX)
        s = add_section(c, kind, name, c->line);
    if (s == SIZE_MAX)
        c->rc = RC_NO_MEMORY;
    c->current = s;
}

/*
 * libinih as Debian builds it holds 200 bytes of a line and takes an indented one for a continuation. It gets lines without indentation and comments,
 * cut to what it holds, and judges their syntax; sections and values are taken from the whole line.
 */
static char *reader(char *out, int cap, void *stream)
{
    struct conf *c = stream;
    if (c->at >= c->n || cap < 2 || c->rc != RC_OK)
        return NULL;
    const char *from = c->text + c->at;
    const char *end = memchr(from, '\n', c->n - c->at);
    size_t n = end != NULL ? (size_t)(end - from) : c->n - c->at;
    c->line++;
    c->at += n + (end != NULL);
    while (n > 0 && is_blank(from[0]))
        from++, n--;
    while (n > 0 && is_blank(from[n - 1]))
        n--;
    if (n > 0 && is_comment(from[0]))
        n = 0;
    c->whole = from;
    c->whole_n = n;
    if (n > 0 && from[0] == '[')
        enter_section(c);
    snprintf(out, (size_t)cap, "%.*s", (int)(n < (size_t)cap ? n : (size_t)cap - 1), from);
    return out;
}

static bool take_quoted(struct conf *c, const char *key, const char *p, char *out, size_t cap)
{
    const char *end = c->whole + c->whole_n;
    size_t n = 0;
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
            p++;
        if (n + 1 < cap)
            out[n] = *p;
        n++;
    }
    if (p == end) {
        problem(c, c->line, key, c->problems, "begins with a quote that is not closed: close it");
        return false;
    }
    for (p++; p < end && is_blank(*p);)
        p++;
    if (p < end && !is_comment(*p)) {
        problem(c, c->line, key, c->problems, "has text after its closing quote: remove it");
        return false;
    }
    out[n < cap ? n : 0] = '\0';
    if (n >= cap)
        problem(c, c->line, key, c->problems, "is longer than %zu bytes: shorten it", cap - 1);
    return n < cap;
}

/* "a; b" is a value; " ; b" and " # b" are remarks. In quotes everything is a value, \" and \\ stand for themselves. False: told already. */
static bool take_value(struct conf *c, const char *key, char *out, size_t cap)
{
    const char *end = c->whole + c->whole_n, *p = c->whole;
    while (p < end && *p != '=' && *p != ':')
        p++;
    const char *begin = p < end ? p + 1 : end, *last;
    for (p = begin; p < end && is_blank(*p);)
        p++;
    if (p < end && *p == '"')
        return take_quoted(c, key, p, out, cap);
    for (last = p = begin; p < end && !(is_comment(*p) && p > begin && is_blank(p[-1])); p++)
        if (!is_blank(*p))
            last = p + 1;
    while (begin < last && is_blank(*begin))
        begin++;
    size_t n = (size_t)(last - begin);
    if (n >= cap) {
        problem(c, c->line, key, c->problems, "is longer than %zu bytes: shorten it", cap - 1);
        return false;
    }
    memcpy(out, begin, n);
    out[n] = '\0';
    return true;
}

static int on_value(void *arg, const char *head, const char *key, const char *cut)
{
    struct conf *c = arg;
    char text[VALUE_MAX];
    (void)head, (void)cut;
    if (c->bad_head)
        return 1;
    if (c->current == SIZE_MAX) {
        problem(c, c->line, key, c->problems, "stands before the first [section]: move it into one");
        return 1;
    }
    if (!take_value(c, key, text, sizeof text))
        return 1;
    for (size_t i = 0; i < c->values; i++)
        if (c->value[i].section == c->current && strcmp(c->value[i].key, key) == 0) {
            problem(c, c->line, key, c->problems, "is given twice (first in line %d): keep one", c->value[i].line);
            return 1;
        }
    enum rc rc = add_value(c, c->current, key, text, c->line);
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
    bool marked = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0; /* Windows' mark of UTF-8 */
    c->text = text;
    c->n = n;
    c->at = marked ? 3 : 0;
    c->current = SIZE_MAX;
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
    c->text = c->whole = NULL;
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

static void remark(const struct field *f, FILE *out)
{
    fputs(f->help, out);
    if (f->kind == FIELD_INT || f->kind == FIELD_UINT || f->kind == FIELD_REAL)
        fprintf(out, ", %.10g..%.10g%s%s", f->min, f->max, f->unit != NULL && *f->unit != '\0' ? " " : "", f->unit != NULL ? f->unit : "");
    if (f->kind == FIELD_WORD) {
        fputs(",", out);
        for (int k = 0; f->words[k] != NULL; k++)
            fprintf(out, "%s%s", k > 0 ? "|" : " ", f->words[k]);
    }
    if (f->initial != NULL)
        fprintf(out, ", default %s", *f->initial != '\0' ? f->initial : "empty");
}

/* What take_value() would not give back as it is goes in quotes. */
static void put_value(const char *text, FILE *out)
{
    size_t n = strlen(text);
    bool quote = n > 0 && (*text == '"' || is_comment(*text) || is_blank(*text) || is_blank(text[n - 1]));
    for (size_t i = 1; i < n; i++)
        quote = quote || (is_comment(text[i]) && is_blank(text[i - 1]));
    if (!quote) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void value_text(const struct field *f, const void *record, char *out, size_t cap)
{
    double v;
    field_text(f, record, out, cap);
    if (f->kind != FIELD_REAL)
        return;
    memcpy(&v, (const char *)record + f->offset, sizeof v);
    if (strtod(out, NULL) != v)
        snprintf(out, cap, "%.17g", v); /* the few digits field_text() shows were not all of them */
}

void conf_print(FILE *out, const char *head, const struct field *table, size_t n, const void *record)
{
    char text[VALUE_MAX];
    fprintf(out, "[%s]\n", head);
    for (size_t i = 0; i < n; i++) {
        char *line = NULL, *about = NULL;
        size_t line_n = 0, about_n = 0;
        FILE *a = open_memstream(&line, &line_n), *b = open_memstream(&about, &about_n);
        if (a != NULL && b != NULL) {
            value_text(&table[i], record, text, sizeof text);
            fprintf(a, "%s = ", table[i].name);
            put_value(text, a);
            remark(&table[i], b);
        }
        bool good = a != NULL && b != NULL;
        good = (a == NULL || fclose(a) == 0) && good;
        good = (b == NULL || fclose(b) == 0) && good;
        if (!good)
            fprintf(out, "; %s: out of memory\n", table[i].name);
        else if ((line_n < 44 ? 44 : line_n + 1) + 3 + about_n > LINE_WIDTH)
            fprintf(out, "; %s: %s\n%s\n", table[i].name, about, line);
        else
            fprintf(out, "%-44s ; %s\n", line, about);
        free(line);
        free(about);
    }
    fputc('\n', out);
}
