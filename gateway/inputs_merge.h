/*
 * inputs_merge - the levels of all input devices of a bus as one: a report replaces all bits of the bus (core/bus.h), so every stored one must
 * carry what the other devices know. A bit is known while any device that answers knows it, and on while one of those says on: an alarm button in the
 * saloon is pressed whatever the one at the driver's seat says.
 */
#ifndef SCHOOLWARD_INPUTS_MERGE_H
#define SCHOOLWARD_INPUTS_MERGE_H

#include <stddef.h>

#include "../core/event.h"

#define INPUTS_MERGE_MAX 17 /* all devices of a configuration, and one for what has none */

struct inputs_merge { /* all-zero is a valid start */
    struct {
        const void *device;
        struct event_inputs last; /* newest report */
        bool away;                /* silent, failed or absent: its bits are not known */
    } source[INPUTS_MERGE_MAX];
    size_t n;
    int64_t time_ms; /* of the newest report that went on */
};

/*
 * inputs_merge_report - fold one device's report in.
 *   device  who says so; NULL is a device like any other
 *   e       an EVENT_INPUTS with its time; gets the masks of all devices. Two threads stamp their reports before they meet here: one up to 2 s
 *           older than what went on before takes that time, or whoever folds by time would drop the newer word
 */
void inputs_merge_report(struct inputs_merge *m, const void *device, struct event *e);

/*
 * inputs_merge_health - a device went away or came back. Coming back, its newest report holds again: a driver reports what changed before it is well.
 *   ret_in   the masks of all devices now
 *   returns  true when that changed what is known: it must be told
 */
bool inputs_merge_health(struct inputs_merge *m, const void *device, bool answers, struct event_inputs *ret_in);

#endif
