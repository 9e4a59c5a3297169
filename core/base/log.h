/*
 * log - lines for the journal: stderr, with "<6>" priorities when systemd reads it (JOURNAL_STREAM), otherwise "time level module: text".
 * The module that decides what to do about an error logs it, once. Names of people, card numbers and home stops never go here.
 */
#ifndef SCHOOLWARD_LOG_H
#define SCHOOLWARD_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

void log_set_level(enum log_level level);
bool log_wants(enum log_level level);
void log_line(enum log_level level, const char *module, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_error(module, ...) log_line(LOG_LEVEL_ERROR, module, __VA_ARGS__)
#define log_warning(module, ...) log_line(LOG_LEVEL_WARNING, module, __VA_ARGS__)
#define log_notice(module, ...) log_line(LOG_LEVEL_NOTICE, module, __VA_ARGS__)
#define log_info(module, ...) log_line(LOG_LEVEL_INFO, module, __VA_ARGS__)
#define log_debug(module, ...)                                \
    do {                                                      \
        if (log_wants(LOG_LEVEL_DEBUG))                       \
            log_line(LOG_LEVEL_DEBUG, module, __VA_ARGS__);   \
    } while (0)

/*
 * Complain once, then at growing intervals (10 s doubling to 1 h), and say when it is over. All-zero is a fresh gate.
 *   if (log_gate_trouble(&g, now_mono_ms)) log_warning(..., "... (%u times)", g.since_said);
 *   if (log_gate_over(&g)) log_notice(..., "works again");
 */
struct log_gate {
    int64_t next_ms, pause_ms;
    unsigned since_said; /* troubles since the last one said, this one included */
    bool trouble, said;
};
bool log_gate_trouble(struct log_gate *g, int64_t now_mono_ms);
bool log_gate_over(struct log_gate *g);

#endif
