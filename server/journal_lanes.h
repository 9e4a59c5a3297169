/*
 * journal_lanes - what is settled of every gateway the journal knows: a table by name, a number for each that never changes, and its coding in a day
 * file. Plain data; the caller locks.
 */
#ifndef SCHOOLWARD_JOURNAL_LANES_H
#define SCHOOLWARD_JOURNAL_LANES_H

#include "journal_file.h"

struct journal_lane { /* a settled set, small while it has no ranges */
    uint64_t through;
    size_t ranges;
    struct wire_range *range;
};
struct journal_gateway {
    char name[WIRE_TEXT_MAX + 1];
    struct journal_lane lane[EVENT_LANES];
};
struct journal_lanes {
    struct journal_gateway *gateway; /* by number */
    size_t gateways, cap;
    uint32_t *slot; /* open addressing by name: number + 1 */
    size_t slots;   /* power of two */
};

enum rc journal_lanes_init(struct journal_lanes *t) RC_MUST_USE;
void journal_lanes_free(struct journal_lanes *t);

struct journal_gateway *journal_lanes_find(const struct journal_lanes *t, const char *name); /* NULL unknown */
/* Likewise, adding it; NULL out of memory. Adding moves the others: keep numbers, not pointers. */
struct journal_gateway *journal_lanes_of(struct journal_lanes *t, const char *name);

void journal_lanes_load(const struct journal_lane *l, struct wire_settled *ret_s);
bool journal_lanes_store(struct journal_lane *l, const struct wire_settled *s); /* false: out of memory, nothing changed */

/* All sets as a blob: varints through, ranges, (from, to)* for each lane of each gateway in the order of their numbers; CRC. NULL: out of memory. */
uint8_t *journal_lanes_snapshot(const struct journal_lanes *t, size_t *ret_n);

/*
 * journal_lanes_read - take over what a day file knows: its snapshot, and every group after it. Damaged groups are passed over and told.
 *   ret_named  gateways in the file's own table
 *   ret_found  the file says anything of settled sets
 *   returns    RC_OK, RC_CORRUPT, RC_NO_MEMORY, RC_IO
 */
enum rc journal_lanes_read(struct journal_lanes *t, sqlite3 *db, size_t *ret_named, bool *ret_found) RC_MUST_USE;

#endif
