/*
 * fuzz_conf - the gateway's configuration reader with anything as input. What it accepts must print, and what it printed must be accepted again and
 * print the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config.h"

static char *printed(const struct config *c, size_t *ret_n)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, ret_n);
    if (f == NULL)
        abort();
    config_print(f, c);
    fclose(f);
    return text;
}

/* The help behind a value is for people; with it a line may be longer than the reader of files takes. */
static void drop_help(char *text, size_t *n)
{
    size_t out = 0;
    bool help = false;
    for (size_t i = 0; i < *n; i++) {
        if (text[i] == '\n')
            help = false;
        else if (text[i] == ' ' && i + 2 < *n && text[i + 1] == ';' && text[i + 2] == ' ')
            help = true;
        if (!help)
            text[out++] = text[i];
    }
    *n = out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf_problems problems;
    struct config *c = NULL, *again = NULL;
    problems.n = 0;
    if (config_read_text((const char *)data, size, "fuzz.conf", &c, &problems) != RC_OK) {
        if (c != NULL || problems.n == 0)
            abort(); /* refused without a word */
        return 0;
    }
    if (problems.n != 0)
        abort();
    size_t n, m;
    char *once = printed(c, &n);
    drop_help(once, &n);
    once[n] = '\0';
    if (strstr(once, "= ;") != NULL) { /* "key =;value": a value that can be read, and written only without the space */
        free(once);
        config_free(c);
        return 0;
    }
    if (config_read_text(once, n, "printed.conf", &again, &problems) != RC_OK) {
        fprintf(stderr, "%s\n", problems.text[0]);
        abort();
    }
    char *twice = printed(again, &m);
    drop_help(twice, &m);
    if (n != m || memcmp(once, twice, n) != 0)
        abort();
    free(once);
    free(twice);
    config_free(c);
    config_free(again);
    return 0;
}
