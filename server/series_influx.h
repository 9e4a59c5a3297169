/*
 * series_influx - one HTTP connection to InfluxDB 1.x, 2.x, 3.x or VictoriaMetrics: sends lines (gzip) and says what the answer means. Decides nothing,
 * logs nothing. One thread.
 */
#ifndef SCHOOLWARD_SERIES_INFLUX_H
#define SCHOOLWARD_SERIES_INFLUX_H

#include <stdatomic.h>

#include "series.h"

enum series_influx_verdict {
    SERIES_INFLUX_OK,      /* stored */
    SERIES_INFLUX_PARTIAL, /* some lines were rejected, the others are stored */
    SERIES_INFLUX_REFUSED, /* nothing was stored because of some line: look for it */
    SERIES_INFLUX_TOO_BIG, /* send less at a time */
    SERIES_INFLUX_BARRED,  /* nothing will be stored until a person does something; why says what */
    SERIES_INFLUX_LATER,   /* down, busy, or nobody knows whether it was stored: the same bytes again later */
};

#define SERIES_INFLUX_NAMED_MAX 100 /* InfluxDB 3 names at most so many lines */
struct series_influx_answer {
    enum series_influx_verdict verdict;
    int status;             /* of HTTP, 0 = no answer */
    int64_t retry_after_ms; /* -1 = not said */
    size_t dropped;         /* PARTIAL: lines rejected as the server counts them, 0 = not said */
    size_t named;           /* PARTIAL: line numbers in line[], 1-based; 0 = the server does not say which */
    size_t line[SERIES_INFLUX_NAMED_MAX];
    char why[320]; /* "" when OK; no control characters */
};

struct series_influx;

/* Copies what it needs of the setup. RC_INVALID with the setting's name and a hint in why; RC_NO_MEMORY. */
enum rc series_influx_new(const struct series_setup *s, struct series_influx **ret_i, char *why, size_t cap) RC_MUST_USE;
void series_influx_free(struct series_influx *i);

/* "v1 http://127.0.0.1:8086 database schoolward": which target a cursor belongs to. */
const char *series_influx_target(const struct series_influx *i);

/* Send n bytes of whole lines. Blocks up to the setup's timeout_ms, or until *stop becomes true (checked several times a second). */
void series_influx_write(struct series_influx *i, const char *lines, size_t n, const atomic_bool *stop, struct series_influx_answer *ret_a);

/* What a status and body mean (docs/series.md, answers); *a is wholly written. body need not end in NUL. */
void series_influx_judge(enum series_api api, int status, const char *body, size_t n, int64_t retry_after_ms, struct series_influx_answer *a);

#endif
