#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

static enum log_level wanted = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    wanted = level;
}

bool log_wants(enum log_level level)
{
    return level <= wanted;
}

static const char *level_word(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR: return "error";
    case LOG_LEVEL_WARNING: return "warning";
    case LOG_LEVEL_NOTICE: return "notice";
    case LOG_LEVEL_INFO: return "info";
    case LOG_LEVEL_DEBUG: return "debug";
    }
    return "?";
}

static pthread_once_t asked = PTHREAD_ONCE_INIT;
static bool journald;
static void ask_journald(void)
{
    journald = getenv("JOURNAL_STREAM") != NULL;
}

void log_line(enum log_level level, const char *module, const char *format, ...)
{
    char line[1024], when[CLOCK_TEXT_MAX];
    if (!log_wants(level))
        return;
    pthread_once(&asked, ask_journald);
    int n;
    if (journald) {
        n = snprintf(line, sizeof line, "<%d>%s: ", (int)level, module);
    } else {
        clock_text(clock_wall_ms(), when);
        n = snprintf(line, sizeof line, "%s %s %s: ", when, level_word(level), module);
    }
    if (n < 0 || (size_t)n >= sizeof line)
        return;
    va_list ap;
    va_start(ap, format);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, ap);
    va_end(ap);
    if (m < 0)
        return;
    size_t len = strlen(line);
    for (size_t i = (size_t)n; i < len; i++) /* a stranger's text must not forge a second line */
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[len++] = '\n';
    ssize_t told = write(STDERR_FILENO, line, len); /* one write per line: lines of threads do not mix */
    (void)told;                                     /* nowhere to say that saying failed */
}

static const int64_t first_pause_ms = 10000, last_pause_ms = 3600000;

bool log_gate_trouble(struct log_gate *g, int64_t now_mono_ms)
{
    if (!g->trouble) {
        g->trouble = true;
        g->said = true;
        g->since_said = 1;
        g->pause_ms = first_pause_ms;
        g->next_ms = now_mono_ms + g->pause_ms;
        return true;
    }
    g->since_said = g->said ? 1 : g->since_said + 1;
    g->said = now_mono_ms >= g->next_ms;
    if (!g->said)
        return false;
    g->pause_ms = g->pause_ms * 2 < last_pause_ms ? g->pause_ms * 2 : last_pause_ms;
    g->next_ms = now_mono_ms + g->pause_ms;
    return true;
}

bool log_gate_over(struct log_gate *g)
{
    bool was = g->trouble;
    *g = (struct log_gate){0};
    return was;
}
