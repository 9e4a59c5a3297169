/*
 * skywatch - what the receiver's view of the sky says besides the position: whether the signals of all satellites fell at once, and what it says of
 * its aerial. Pure.
 *
 * A jammer drowns every satellite within seconds; a bus that drives under a bridge loses some, one after the other. So the sky now is held against
 * the sky up to window_ms ago: of the satellites that were strong then (at least SKYWATCH_MIN of them), nine of ten must be gone or at least drop_db
 * or drop_pct weaker. It is over when half as much is there again. Whether it was a jammer or a garage decides gateway/fixgate.h.
 */
#ifndef SCHOOLWARD_SKYWATCH_H
#define SCHOOLWARD_SKYWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKYWATCH_SATS  64 /* further ones are not looked at */
#define SKYWATCH_VIEWS 8
#define SKYWATCH_MIN   4  /* as many as a position needs */
#define SKYWATCH_DBHZ  25 /* C/N0 of a signal that was good for something */

struct skywatch_sat {
    int16_t id;   /* unique within a view */
    uint8_t dbhz; /* C/N0, 0 = not tracked */
};
struct skywatch_view {
    int64_t mono_ms;
    size_t n;
    struct skywatch_sat sat[SKYWATCH_SATS];
};
struct skywatch { /* all-zero is a fresh one */
    struct skywatch_view view[SKYWATCH_VIEWS];
    unsigned next;
    bool fallen;
    int strong_dbhz; /* mean of the strongest four before it fell */
};
struct skywatch_setup {
    int64_t window_ms;
    unsigned drop_db, drop_pct;
};

/*
 * skywatch_see - a new view of the sky; n beyond SKYWATCH_SATS is cut.
 *   ret_db    how much weaker the satellites are in the mean, dB >= 0, when it begins
 *   returns   1 they fell, -1 it is over, 0 nothing new
 */
int skywatch_see(struct skywatch *s, const struct skywatch_setup *o, const struct skywatch_sat *sat, size_t n, int64_t mono_ms, int *ret_db);

/*
 * skywatch_antenna - what a line of NMEA says of the aerial: the TXT sentences of u-blox ("ANTSTATUS=OPEN", "ANTSTATUS=SHORT", "ANTSTATUS=OK") and of
 * the common BeiDou modules ("ANTENNA OPEN", "ANTENNA SHORT", "ANTENNA OK"), any talker, checksum right. returns  1 open or shorted, -1 it is fine, 0
 * it says nothing of it
 */
int skywatch_antenna(const char *line);

#endif
