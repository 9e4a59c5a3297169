/*
 * replay_line - one event as one line of text: what the replay driver plays, and what recordings of drivers are compared with. Pure.
 *
 *   # schoolward-replay 1                                       first line of a file; other lines that begin with # are comments
 *   MS fix LAT LON SPEED_MPS TRACK_DEG HDOP SATELLITES MODE [ALTITUDE_M]
 *   MS count door|camera|attendant|cards DOOR BOARDED ALIGHTED ABOARD CONFIDENCE_PCT [reset|doubtful|zeroed ...]
 *   MS inputs NAME=0|1 ...                                      names of regmap.h; an input not named is unknown
 *   MS camera adas|dsm|tpms|bsd once|begin|end TYPE ALARM_ID [DEGREE SPEED_KMH MEDIA]
 *   MS health ok|silent|failed|absent CODE
 *
 * MS is milliseconds from the start of the recording, or UTC milliseconds since 1970 throughout. "-" is unknown.
 */
#ifndef SCHOOLWARD_REPLAY_LINE_H
#define SCHOOLWARD_REPLAY_LINE_H

#include <stddef.h>

#include "../../core/event.h"

#define REPLAY_LINE_HEAD "# schoolward-replay 1"
#define REPLAY_LINE_MAX  256

/*
 * replay_line_parse - returns RC_OK; RC_AGAIN blank or a comment; RC_INVALID with why "problem: hint"; RC_RANGE a value event_check() refuses.
 * The event's time_ms stays 0.
 */
enum rc replay_line_parse(const char *line, int64_t *ret_ms, struct event *ret_e, char *why, size_t cap) RC_MUST_USE;

/* replay_line_format - the line of an event, without its end, times as given. Returns as snprintf does. */
int replay_line_format(int64_t ms, const struct event *e, char *out, size_t cap);

#endif
