/*
 * ride - one bus on its scenario: where it is, how fast, its doors, who gets in and out. Time is handed in; the hardware simulator and the
 * light fleet both drive on it, and the planner tries a scenario out before it writes it.
 */
#ifndef SCHOOLWARD_SIM_RIDE_H
#define SCHOOLWARD_SIM_RIDE_H

#include <stdint.h>

#include "scenario.h"

enum ride_phase { RIDE_DRIVE = 0, RIDE_OPEN, RIDE_BOARD, RIDE_CLOSE };

struct ride {
    const struct scenario_bus *bus;
    const struct path *path; /* of this lap */
    double t_s;              /* since the start */
    double along_m, v_mps;   /* on path */
    size_t next_stop;        /* index into path->stop_m */
    unsigned lap;
    enum ride_phase phase;
    double wait_s;
    int to_board, to_alight;
    bool overloaded;
    double left_s; /* > 0: one pupil is still in the bus for so long after the run */
    /* what the devices see */
    int pupils;
    int32_t boarded, alighted; /* through the counted door since the start, staff included */
    uint32_t inputs;           /* enum event_input */
    struct geo_pt at;
    double course_deg;
};

/* Put the bus at its start. */
void ride_begin(struct ride *r, const struct scenario_bus *bus);

/* dt_s later (0 < dt_s <= 1). */
void ride_step(struct ride *r, double dt_s);

/* The happening of that kind in force now, NULL if none. */
const struct scenario_happening *ride_happening(const struct ride *r, enum scenario_what what);

#endif
