/*
 * status_json - what `schoolward-gateway status` shows, as one JSON object: "report" as the office gets it (core/report.h) and beside it what only
 * somebody at the bus needs: position, inputs by name, counts, lanes of the outbox, the connection, counters of the drivers. No names, no cards.
 */
#ifndef SCHOOLWARD_STATUS_JSON_H
#define SCHOOLWARD_STATUS_JSON_H

#include "selfreport.h"

/* In memory of malloc(), NULL: out of memory. */
char *status_json(const struct selfreport_sources *s, const char *id);

#endif
