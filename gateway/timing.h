/*
 * timing - what time it is on a bus whose computer may wake up in 1970: the system's clock, held against the receiver, NTP and the server, and
 * carried on by CLOCK_MONOTONIC where the system's clock jumps. Knows the clock (core/base/clock) and one small file, no loop, no log.
 *
 * Until one of the three sources is trusted, times are max(system, build, last saved) and records say so (EVENT_CLOCK_NONE, _SAVED, _SYSTEM).
 * `base_ms` then leads from the one time to the other: what was recorded before is moved by its difference (outbox_clock()).
 */
#ifndef SCHOOLWARD_TIMING_H
#define SCHOOLWARD_TIMING_H

#include "../core/event.h"

struct timing {
    int64_t offset_ms;        /* gateway's time minus the system's */
    uint8_t quality;          /* enum event_clock of timing_now_ms() */
    bool trusted;             /* a source was believed since the start; never taken back */
    bool ntp;                 /* the system's clock is disciplined */
    int64_t floor_ms;         /* no time below this is believed */
    int64_t wall_ms, mono_ms; /* of the last look, to see the system's clock jump */
    int64_t gnss_mono_ms;     /* newest fix that agreed, 0 = none */
    int64_t odd_ms;           /* by how much the last fix did not agree */
    int odd_fixes;            /* in a row */
    int64_t saved_mono_ms;    /* 0 = not yet */
    uint64_t boot;            /* of the system's boot, not of the program's: CLOCK_MONOTONIC is one clock within it */
    char path[256];           /* "": nothing is saved */
};

/* What a source changed: by_ms new minus old time; base_ms before and after: time minus CLOCK_MONOTONIC. */
struct timing_step {
    int64_t by_ms, old_base_ms, base_ms;
    bool first;         /* the time became trusted with it */
    const char *source; /* "GNSS", "NTP", "server" */
};

/* state_dir: where the last trusted time is kept, NULL: nowhere. */
void timing_start(struct timing *t, const char *state_dir);
int64_t timing_now_ms(struct timing *t);
int64_t timing_base_ms(struct timing *t); /* timing_now_ms() minus clock_mono_ms() */
/* The gateway's time of something the system's clock stamped with wall_ms a moment ago; 0: now. */
int64_t timing_of_ms(struct timing *t, int64_t wall_ms);

/*
 * Each returns true if time or trust changed. A single odd fix is not believed, nor one below the floor (a receiver that counts its weeks from the
 * wrong thousand), nor any while NTP disciplines the system. The server's time counts only where there is neither. tls   its certificate was checked:
 * quality is that of NTP then
 */
bool timing_fix(struct timing *t, const struct event *fix, struct timing_step *ret_step);
bool timing_server(struct timing *t, int64_t server_ms, bool tls, struct timing_step *ret_step);
bool timing_look(struct timing *t, struct timing_step *ret_step); /* at the system's clock; each 10 s or so */
/* A fix whose time may be taken for what it says: not while it contradicts an untrusted clock, see timing_fix(). */
bool timing_agrees(struct timing *t, const struct event *fix);

/* Write down the time if it is trusted and ten minutes passed since the last time, or `now`. Some 40 bytes, renamed into place. */
void timing_save(struct timing *t, bool now);

#endif
