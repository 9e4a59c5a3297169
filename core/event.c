#include "event.h"

#include <stddef.h>

static const int64_t time_min_ms = 0;               /* 1970 */
static const int64_t time_max_ms = 4102444800000LL; /* 2100 */

static bool within(int32_t v, int32_t lo, int32_t hi)
{
    return v == EVENT_UNKNOWN || (v >= lo && v <= hi);
}

static const char *fix_fault(const struct event_fix *f)
{
    if (!within(f->lat_e7, -900000000, 900000000))
        return "fix.lat";
    if (!within(f->lon_e7, -1800000000, 1800000000))
        return "fix.lon";
    if (!within(f->speed_mmps, 0, 1000000))
        return "fix.speed";
    if (!within(f->track_cdeg, 0, 35999))
        return "fix.track";
    if (!within(f->alt_dm, -10000, 1000000))
        return "fix.alt";
    if (!within(f->hdop_d, 0, 999))
        return "fix.hdop";
    if (f->satellites > 63)
        return "fix.satellites";
    if (f->mode > EVENT_FIX_3D)
        return "fix.mode";
    return NULL;
}

static const char *count_fault(const struct event_count *c)
{
    if (c->source < EVENT_COUNT_DOOR || c->source > EVENT_COUNT_CARDS)
        return "count.source";
    if (c->door > 3)
        return "count.door";
    if (c->flags > 7)
        return "count.flags";
    if (c->confidence_pct > 100)
        return "count.confidence";
    if (!within(c->boarded, 0, 1000000))
        return "count.boarded";
    if (!within(c->alighted, 0, 1000000))
        return "count.alighted";
    if (!within(c->aboard, 0, 1000))
        return "count.aboard";
    return NULL;
}

static const char *health_fault(const struct event_health *h)
{
    size_t n = 0;
    for (; n <= EVENT_NAME_MAX && h->name[n] != '\0'; n++) {
        char c = h->name[n];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return "health.name";
    }
    if (n == 0 || n > EVENT_NAME_MAX)
        return "health.name";
    if (h->device < EVENT_DEVICE_GNSS || h->device > EVENT_DEVICE_REPLAY)
        return "health.device";
    if (h->state < EVENT_DEVICE_OK || h->state > EVENT_DEVICE_ABSENT)
        return "health.state";
    return NULL;
}

enum rc event_check(const struct event *e, const char **ret_field)
{
    const char *fault = NULL;
    if (e->time_ms < time_min_ms || e->time_ms > time_max_ms)
        fault = "time";
    else if (e->clock > EVENT_CLOCK_GNSS)
        fault = "clock";
    else
        switch (e->kind) {
        case EVENT_FIX: fault = fix_fault(&e->fix); break;
        case EVENT_COUNT: fault = count_fault(&e->count); break;
        case EVENT_INPUTS:
            if ((e->inputs.known & ~(uint32_t)EVENT_IN_ALL) != 0 || (e->inputs.state & ~e->inputs.known) != 0)
                fault = "inputs";
            break;
        case EVENT_CAMERA:
            if (e->camera.unit < EVENT_CAMERA_ADAS || e->camera.unit > EVENT_CAMERA_BSD)
                fault = "camera.unit";
            else if (e->camera.phase > EVENT_CAMERA_END)
                fault = "camera.phase";
            else if (e->camera.degree > 10)
                fault = "camera.degree";
            break;
        case EVENT_HEALTH: fault = health_fault(&e->health); break;
        case EVENT_CLOCK:
            if (e->clock_set.quality > EVENT_CLOCK_GNSS)
                fault = "clock.quality";
            break;
        case EVENT_TICK: break;
        default: fault = "kind";
        }
    if (fault == NULL)
        return RC_OK;
    *ret_field = fault;
    return RC_RANGE;
}

enum event_lane event_lane_of(const struct event *e)
{
    if (e->kind == EVENT_CAMERA)
        return EVENT_LANE_URGENT;
    if (e->kind == EVENT_INPUTS && (e->inputs.state & EVENT_IN_SOS) != 0)
        return EVENT_LANE_URGENT;
    return EVENT_LANE_BULK;
}

bool event_fix_valid(const struct event_fix *f)
{
    return f->mode >= EVENT_FIX_2D && f->lat_e7 != EVENT_UNKNOWN && f->lon_e7 != EVENT_UNKNOWN;
}
