#include "inputs_merge.h"

static const int64_t disorder_ms = 2000; /* further back the clock was set, or a recording began again */

static struct event_inputs all_of(const struct inputs_merge *m)
{
    struct event_inputs in = {0};
    for (size_t i = 0; i < m->n; i++) {
        if (m->source[i].away)
            continue;
        in.known |= m->source[i].last.known;
        in.state |= m->source[i].last.state & m->source[i].last.known;
    }
    return in;
}

static size_t find(const struct inputs_merge *m, const void *device)
{
    size_t i = 0;
    while (i < m->n && m->source[i].device != device)
        i++;
    return i;
}

void inputs_merge_report(struct inputs_merge *m, const void *device, struct event *e)
{
    size_t i = find(m, device);
    if (i == INPUTS_MERGE_MAX)
        return; /* more devices than a configuration can hold: nothing to add to its own word */
    if (i == m->n)
        m->n++;
    m->source[i].device = device;
    m->source[i].last = e->inputs;
    m->source[i].away = false;
    e->inputs = all_of(m);
    if (e->time_ms < m->time_ms && m->time_ms - e->time_ms <= disorder_ms)
        e->time_ms = m->time_ms;
    m->time_ms = e->time_ms;
}

bool inputs_merge_health(struct inputs_merge *m, const void *device, bool answers, struct event_inputs *ret_in)
{
    size_t i = find(m, device);
    if (i == m->n || m->source[i].away == !answers)
        return false; /* it never reported, or this is known */
    struct event_inputs before = all_of(m);
    m->source[i].away = !answers;
    struct event_inputs after = all_of(m);
    if (after.known == before.known && after.state == before.state)
        return false;
    *ret_in = after;
    return true;
}
