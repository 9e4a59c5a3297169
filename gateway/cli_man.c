/* The option tables of gateway.conf(5), from the tables that read the configuration. */
#include <string.h>

#include "cli.h"

/* roff gives a meaning to a backslash, to a hyphen and to a dot or quote at the beginning of a line. */
static void escaped(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\')
            fputs("\\e", out);
        else if (*c == '-')
            fputs("\\-", out);
        else if (c == text && (*c == '.' || *c == '\''))
            fprintf(out, "\\&%c", *c);
        else
            putc(*c, out);
    }
}

static void range(FILE *out, const struct field *f, bool zh)
{
    switch (f->kind) {
    case FIELD_WORD:
        for (size_t i = 0; f->words[i] != NULL; i++) {
            fputs(i > 0 ? ", " : "", out);
            escaped(out, f->words[i]);
        }
        break;
    case FIELD_BOOL: fputs("yes, no", out); break;
    case FIELD_TEXT: fputs(zh ? "文字" : "text", out); break;
    case FIELD_INT:
    case FIELD_UINT: fprintf(out, "%.0f..%.0f %s", f->min, f->max, f->unit); break;
    case FIELD_REAL: fprintf(out, "%g..%g %s", f->min, f->max, f->unit); break;
    }
    if (f->initial == NULL) {
        fputs(zh ? "；必填" : "; must be given", out);
    } else if (f->initial[0] != '\0') {
        fputs(zh ? "；默认 " : "; default ", out);
        escaped(out, f->initial);
    }
}

static void table(FILE *out, const struct field *f, size_t n, bool zh)
{
    for (size_t i = 0; i < n; i++) {
        fputs(".TP\n.B ", out);
        escaped(out, f[i].name);
        fputs("\n", out);
        escaped(out, f[i].help);
        fputs(" (", out);
        range(out, &f[i], zh);
        fputs(")\n", out);
    }
}

void cli_man(FILE *out, bool zh)
{
    const char *section;
    const struct field *f;
    size_t n;
    for (size_t i = 0; config_table(i, &section, &f, &n); i++) {
        fprintf(out, ".SH [%s]\n", section);
        table(out, f, n, zh);
    }
    for (size_t i = 0; driver_all[i] != NULL; i++) {
        fprintf(out, ".SH driver = %s\n", driver_all[i]->name);
        table(out, driver_all[i]->options, driver_all[i]->options_n, zh);
    }
}
