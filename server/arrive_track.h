/*
 * arrive_track - one bus on one run, from where it is along the route and what time it is: stops reached, delay, estimates. All arithmetic: time is
 * handed in, nothing is read, logged or allocated. The zone of the process (TZ) decides what a service day is.
 */
#ifndef SCHOOLWARD_ARRIVE_TRACK_H
#define SCHOOLWARD_ARRIVE_TRACK_H

#include "../core/duty.h"

/*
 * Three service days around a moment. A day begins 12 hours before local noon, as GTFS has it, so that 25200 s is seven o'clock on the wall on the two
 * days of the year when clocks change, too.
 */
struct arrive_days {
    int32_t date[3]; /* YYYYMMDD: the day before, the day, the day after */
    int64_t start_ms[3];
    int64_t since_ms, until_ms; /* the local midnights around date[1] */
};
void arrive_days_at(struct arrive_days *d, int64_t time_ms); /* recomputed only when the day has changed; all-zero is a valid start */

struct arrive_mark { /* one stop */
    int64_t reached_ms; /* 0 = not yet, or not known */
    bool behind;        /* passed before the run was first seen: when is not known */
    bool noticed;
};

struct arrive_track {
    const struct duty_route *route; /* NULL: none */
    const struct duty_run *run;     /* NULL: not on a run */
    int32_t date;
    int64_t starts_ms;
    int64_t after_ms; /* only runs that start later than this may begin: the others were driven */
    bool placed;      /* far_m and the like are meaningful */
    double far_m;     /* furthest along the line */
    double here_m;    /* newest accepted place */
    int64_t here_ms;  /* its time */
    /* a place that does not fit: believed when it goes on consistently */
    unsigned doubts;
    double doubt_from_m, doubt_m;
    int64_t doubt_ms;
    struct arrive_mark *mark; /* room for the stops of the longest route */
};

struct arrive_place {
    int64_t time_ms;
    double along_m, offset_m; /* offset_m INFINITY: nowhere near the line */
    double speed_mps;         /* NAN unknown */
    int doors_open;           /* 1, 0, -1 not known */
};

/* A valid fix of the bus on this route (NULL: it has none now). Times must not fall. */
void arrive_track_place(struct arrive_track *t, struct arrive_days *days, const struct duty_route *route, const struct arrive_place *as_matched);
/* Time passed without a fix: a run may begin or end. */
void arrive_track_time(struct arrive_track *t, struct arrive_days *days, const struct duty_route *route, int64_t now_ms);
/* The doors changed where the bus was last seen. */
void arrive_track_doors(struct arrive_track *t, int64_t time_ms, bool open);

size_t arrive_track_next(const struct arrive_track *t); /* index of the next stop; route->stops when all are passed */
int64_t arrive_track_planned_ms(const struct arrive_track *t, size_t stop);
int32_t arrive_track_delay_s(const struct arrive_track *t, int64_t now_ms); /* INT32_MIN unknown; late is positive */
int64_t arrive_track_eta_ms(const struct arrive_track *t, size_t stop, int64_t now_ms);
bool arrive_track_at_stop(const struct arrive_track *t, size_t stop, int64_t now_ms); /* there, not yet gone on */
bool arrive_track_near(const struct arrive_track *t, size_t stop, int64_t now_ms);    /* at most 60 s or 200 m to go, or less than 60 s there */

#endif
