#include "replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"

enum { REPLAY_EVENTS = 50000 }; /* in one step of the journal */

struct replay {
    struct fleet *fleet;
    int64_t tick_ms, events;
};

static bool on_row(void *arg, const struct journal_row *row)
{
    struct replay *r = arg;
    struct fleet_vehicle *v = fleet_by_gateway(r->fleet, row->gateway);
    if (row->arrival_ms >= r->tick_ms + 1000) { /* time passed for the silent ones, as it did then */
        r->tick_ms = row->arrival_ms - row->arrival_ms % 1000;
        fleet_tick(r->fleet, r->tick_ms);
    }
    if (v != NULL)
        fleet_apply(r->fleet, v, row->event, row->arrival_ms, row->late, true);
    r->events++;
    return true;
}

/* A backlog that was whole before the end: its books were closed then. */
static void close_late(struct fleet *fleet, struct journal *journal)
{
    for (size_t i = 0; i < fleet_count(fleet); i++) {
        struct fleet_vehicle *v = fleet_at(fleet, i);
        bool whole = v->late != NULL;
        for (int lane = 0; lane < EVENT_LANES && whole; lane++) {
            struct wire_settled settled;
            journal_settled(journal, v->duty->gateway, (enum event_lane)lane, &settled);
            whole = settled.ranges == 0;
        }
        if (whole)
            fleet_caught_up(fleet, v);
    }
}

enum rc replay_fleet(struct fleet *fleet, struct journal *journal)
{
    void *blob = NULL;
    size_t n = 0;
    struct journal_cursor c = {0};
    struct replay r = {.fleet = fleet};
    int64_t began = clock_mono_ms();
    enum rc rc = journal_load(journal, &blob, &n, &c);
    if (rc != RC_OK)
        return rc;
    if (blob == NULL || fleet_restore(fleet, blob, n) != RC_OK) {
        if (blob != NULL)
            log_notice("replay", "the checkpoint is of another version: the journal since yesterday is judged again");
        char day[CLOCK_TEXT_MAX]; /* states older than a day are nobody's now */
        clock_text(clock_wall_ms() - 86400000, day);
        int y = 0, m = 0, d = 0;
        sscanf(day, "%d-%d-%d", &y, &m, &d);
        c = (struct journal_cursor){y * 10000 + m * 100 + d, 0};
    }
    free(blob);
    fleet_replay(fleet, true);
    do
        rc = journal_follow(journal, &c, REPLAY_EVENTS, on_row, &r);
    while (rc == RC_OK);
    close_late(fleet, journal);
    fleet_replay(fleet, false);
    if (rc != RC_AGAIN)
        return rc;
    for (size_t i = 0; i < fleet_count(fleet); i++)
        fleet_at(fleet, i)->connected = false;
    if (r.events > 0)
        log_info("replay", "judged %lld events of the journal again in %lld ms", (long long)r.events, (long long)(clock_mono_ms() - began));
    return RC_OK;
}
