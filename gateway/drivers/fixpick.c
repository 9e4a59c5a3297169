#include "fixpick.h"

#define DAY_MS        INT64_C(86400000)
#define PLAUSIBLE_MS  INT64_C(1704067200000) /* 2024-01-01: a system clock before that was never set */
#define UNTIMED_GAP_MS 1000

int64_t fixpick_time(int64_t receiver_ms, int64_t wall_ms, bool repair)
{
    int64_t off_ms = wall_ms - receiver_ms;
    if (!repair || wall_ms < PLAUSIBLE_MS || (off_ms < DAY_MS && off_ms > -DAY_MS))
        return receiver_ms;
    int64_t half = FIXPICK_WEEKS_MS / 2;
    int64_t k = (off_ms >= 0 ? off_ms + half : off_ms - half) / FIXPICK_WEEKS_MS;
    int64_t repaired_ms = receiver_ms + k * FIXPICK_WEEKS_MS;
    int64_t left_ms = wall_ms - repaired_ms;
    return left_ms < DAY_MS && left_ms > -DAY_MS ? repaired_ms : receiver_ms;
}

/* How much a report says; a position outweighs all the rest. */
static int completeness(const struct event_fix *f)
{
    return f->mode + (event_fix_valid(f) ? 16 : 0) + (f->speed_mmps != EVENT_UNKNOWN ? 8 : 0) + (f->track_cdeg != EVENT_UNKNOWN ? 4 : 0) +
           (f->alt_dm != EVENT_UNKNOWN ? 2 : 0);
}

/* A report that says all a receiver can: nothing better will come. At rest receivers give no track; then it is patience_ms. */
static bool says_all(const struct event_fix *f)
{
    return event_fix_valid(f) && f->speed_mmps != EVENT_UNKNOWN && f->track_cdeg != EVENT_UNKNOWN &&
           (f->mode == EVENT_FIX_2D || f->alt_dm != EVENT_UNKNOWN);
}

/* Either time counts: a receiver that finds its week within a second gives that second twice, and our clock may be set in between. */
static bool was_given(const struct fixpick *p, int64_t time_ms, int64_t repaired_ms)
{
    for (int i = 0; i < FIXPICK_SEEN; i++)
        if (p->seen_ms[i] == time_ms || p->told_ms[i] == repaired_ms)
            return true;
    return false;
}

static void give(struct fixpick *p, struct event *ret)
{
    *ret = p->kept;
    p->waiting = false;
    p->seen_ms[p->seen_at % FIXPICK_SEEN] = p->kept_time_ms;
    p->told_ms[p->seen_at++ % FIXPICK_SEEN] = p->kept.time_ms;
}

static int take_untimed(struct fixpick *p, const struct event_fix *f, int64_t mono_ms, struct event *ret)
{
    if (!p->untimed) {
        p->untimed = true;
        p->untimed_mono_ms = mono_ms;
        p->untimed_told_ms = mono_ms - UNTIMED_GAP_MS;
    }
    bool late_enough = f->mode < EVENT_FIX_2D || mono_ms - p->untimed_mono_ms >= FIXPICK_UNTIMED_MS;
    if (!late_enough || mono_ms - p->untimed_told_ms < UNTIMED_GAP_MS)
        return 0;
    p->untimed_told_ms = mono_ms;
    *ret = (struct event){.kind = EVENT_FIX, .clock = EVENT_CLOCK_SYSTEM, .fix = *f};
    return 1;
}

int fixpick_take(struct fixpick *p, const struct fixpick_setup *s, const struct fixpick_report *r, int64_t wall_ms, int64_t mono_ms, struct event *ret)
{
    if (r->time_ms == 0)
        return take_untimed(p, &r->fix, mono_ms, ret);
    p->untimed = false;
    int64_t repaired_ms = fixpick_time(r->time_ms, wall_ms, s->repair);
    if (p->waiting && (r->time_ms == p->kept_time_ms || repaired_ms == p->kept.time_ms)) {
        if (completeness(&r->fix) >= completeness(&p->kept.fix))
            p->kept.fix = r->fix;
        return 0;
    }
    int ready = 0;
    if (p->waiting) {
        give(p, ret);
        ready = 1;
    }
    if (was_given(p, r->time_ms, repaired_ms))
        return ready;
    p->waiting = true;
    p->kept_time_ms = r->time_ms;
    p->kept_mono_ms = mono_ms;
    p->kept = (struct event){.time_ms = repaired_ms, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS, .fix = r->fix};
    return ready;
}

int fixpick_due(struct fixpick *p, const struct fixpick_setup *s, int64_t mono_ms, bool all, struct event *ret, int64_t *ret_next_ms)
{
    *ret_next_ms = -1;
    if (!p->waiting)
        return 0;
    int64_t left_ms = p->kept_mono_ms + (says_all(&p->kept.fix) ? s->settle_ms : s->patience_ms) - mono_ms;
    if (!all && left_ms > 0) {
        *ret_next_ms = left_ms;
        return 0;
    }
    give(p, ret);
    return 1;
}
