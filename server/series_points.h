/*
 * series_points - one accepted event, or one finding, as a line of line protocol. Measurements, tags and fields: docs/series.md. A line's key
 * (measurement, tags, time) comes from the record alone, so that a replay writes the same point again and never a second one.
 */
#ifndef SCHOOLWARD_SERIES_POINTS_H
#define SCHOOLWARD_SERIES_POINTS_H

#include "journal.h"
#include "ledger.h"
#include "lineproto.h"

/* Both: time in milliseconds. RC_OK; RC_FULL no room in w; RC_INVALID a name that line protocol cannot carry. */
enum rc series_points_row(struct lineproto *w, const struct journal_row *row, const char *vehicle, const char *route) RC_MUST_USE;
enum rc series_points_finding(struct lineproto *w, const struct ledger_finding *x) RC_MUST_USE;

#endif
