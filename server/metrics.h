/*
 * metrics - Prometheus text of the modules the api does not know: what came in, what is on disk, what was found, what was told.
 */
#ifndef SCHOOLWARD_METRICS_H
#define SCHOOLWARD_METRICS_H

#include "footage.h"
#include "ingest.h"
#include "live.h"
#include "notify.h"
#include "series.h"

struct metrics_sources {
    struct ingest *ingest;
    struct journal *journal;
    struct devices *devices;
    struct notify *notify;
    struct live *live;
    struct series *series; /* NULL: none */
    struct footage *footage; /* NULL: none */
    uint64_t findings, late_findings, checkpoints; /* since the start */
};
/* What does not fit into out is left off; it ends with a NUL. On the loop. */
void metrics_write(const struct metrics_sources *s, char *out, size_t cap);

#endif
