/*
 * journal_read - reading the journal beside its writer: history of one gateway, and following everything in the order of arrival. Implements
 * journal_history() and journal_follow() of journal.h with a read-only connection of each call's own.
 */
#ifndef SCHOOLWARD_JOURNAL_READ_H
#define SCHOOLWARD_JOURNAL_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "journal.h"

/* An event is late when it came as backlog, or its time and its arrival are more than this apart: then its order among the live ones is not known. */
#define JOURNAL_READ_LATE_MS 60000
bool journal_read_late(bool backlog, const struct event *e, int64_t arrival_ms);

/* journal_follow() of a folder, beside whatever program writes it. */
enum rc journal_read_follow(const char *dir, struct journal_cursor *cursor, size_t max_events, journal_each_fn *each, void *arg) RC_MUST_USE;

#endif
