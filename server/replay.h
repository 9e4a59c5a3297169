/*
 * replay - the fleet as it was before the last end: the newest checkpoint, and every group of the journal after it judged again.
 */
#ifndef SCHOOLWARD_REPLAY_H
#define SCHOOLWARD_REPLAY_H

#include "fleet.h"
#include "journal.h"

/* At start, before the doors open; listeners hear it as replayed. Finding ids are derived, so judging again changes nothing. Blocks. RC_OK, RC_IO. */
enum rc replay_fleet(struct fleet *fleet, struct journal *journal) RC_MUST_USE;

#endif
