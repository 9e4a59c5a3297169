#include "event.h"

#include <stddef.h>
#include <string.h>

const char *const event_input_names[] = {"door_front", "door_middle", "door_rear",   "ignition",   "parking_brake", "sos",     "stop_arm",
                                         "beacon",     "hazard",      "brake",       "driver_belt", "belts",        "driver_seat", "front_seat",
                                         "patrol",     "confirm",     "motion",      "smoke",      "power_lost",    "tamper",  NULL};

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
    if (f->doubt > EVENT_DOUBT_ALL)
        return "fix.doubt";
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
    if (h->device < EVENT_DEVICE_GNSS || h->device > EVENT_DEVICE_LAST)
        return "health.device";
    if (h->state < EVENT_DEVICE_OK || h->state > EVENT_DEVICE_ABSENT)
        return "health.state";
    return NULL;
}

/* --- kinds described by a table --- */

static const char *const card_kinds[] = {"unknown", "pupil", "attendant", "driver", "patrol"};
static const char *const card_ways[] = {"tap", "on", "off"};
static const char *const gap_reasons[] = {NULL, "thinned", "oldest", "disk_full", "damaged", "memory"};
static const char *const media_types[] = {"picture", "audio", "video"};
static const char *const media_states[] = {NULL, "kept", "sent", "given_up"};
static const char *const gnss_faults[] = {NULL, "frozen", "jump", "speed", "antenna", "jammed", "week", "clock"};
static const char *const reading_whats[] = {NULL, "cabin_c", "board_c", "supply_v", "battery_v", "tyre_kpa", "tyre_c", "wheel_kmh"};
static const char *const action_whats[] = {NULL,           "boot",        "count_confirmed", "patrol", "confirmed", "zeroed", "order",
                                           "config_tried", "config_kept", "config_back",     "duty",   "safe_mode", "secret"};

#define N(a) (sizeof(a) / sizeof(a)[0])
#define U8(member, lo, hi) {#member, EVENT_FIELD_U8, 0, offsetof(struct event, member), lo, hi, NULL}
#define I32(member, lo, hi) {#member, EVENT_FIELD_I32, 0, offsetof(struct event, member), lo, hi, NULL}
#define WORD(member, list) {#member, EVENT_FIELD_U8, N(list), offsetof(struct event, member), 0, N(list) - 1, list}
#define U32(member) {#member, EVENT_FIELD_U32, 0, offsetof(struct event, member), 0, 0, NULL}
#define U64(member) {#member, EVENT_FIELD_U64, 0, offsetof(struct event, member), 0, 0, NULL}
#define BYTES(member) {#member, EVENT_FIELD_BYTES, 0, offsetof(struct event, member), 0, 0, NULL}

static const struct event_field card_fields[] = {U64(card.hash), WORD(card.kind, card_kinds), WORD(card.way, card_ways), U8(card.door, 0, 3)};
static const struct event_field tally_fields[] = {I32(tally.low, 0, 1000),        I32(tally.best, 0, 1000),          I32(tally.high, 0, 1000),
                                                  I32(tally.boarded, 0, 1000000), I32(tally.alighted, 0, 1000000),   U8(tally.confidence_pct, 0, 100),
                                                  U8(tally.flags, 0, 7),          U8(tally.sources, 0, 31)};
static const struct event_field gap_fields[] = {U64(gap.from_seq), U64(gap.to_seq), U32(gap.n), U8(gap.lane, 0, EVENT_LANES - 1),
                                                WORD(gap.reason, gap_reasons)};
static const struct event_field media_fields[] = {
    BYTES(media.sha256), U32(media.id), U32(media.bytes), U32(media.alarm_id), U8(media.unit, EVENT_CAMERA_ADAS, EVENT_CAMERA_BSD),
    WORD(media.type, media_types), WORD(media.state, media_states)};
static const struct event_field gnss_fields[] = {I32(gnss.value, -100000000, 100000000), WORD(gnss.fault, gnss_faults), U8(gnss.over, 0, 1)};
static const struct event_field reading_fields[] = {I32(reading.value, -100000000, 100000000), WORD(reading.what, reading_whats),
                                                    U8(reading.channel, 0, 255)};
static const struct event_field action_fields[] = {U64(action.ref), I32(action.value, -1000000, 1000000), WORD(action.what, action_whats)};

static const struct {
    const char *word;
    const struct event_field *field;
    size_t n;
} described[EVENT_KINDS] = {
    [EVENT_FIX] = {"fix", NULL, 0},
    [EVENT_COUNT] = {"count", NULL, 0},
    [EVENT_INPUTS] = {"inputs", NULL, 0},
    [EVENT_CAMERA] = {"camera", NULL, 0},
    [EVENT_HEALTH] = {"health", NULL, 0},
    [EVENT_CLOCK] = {"clock", NULL, 0},
    [EVENT_TICK] = {"tick", NULL, 0},
    [EVENT_CARD] = {"card", card_fields, N(card_fields)},
    [EVENT_TALLY] = {"tally", tally_fields, N(tally_fields)},
    [EVENT_GAP] = {"gap", gap_fields, N(gap_fields)},
    [EVENT_MEDIA] = {"media", media_fields, N(media_fields)},
    [EVENT_GNSS] = {"gnss", gnss_fields, N(gnss_fields)},
    [EVENT_READING] = {"reading", reading_fields, N(reading_fields)},
    [EVENT_ACTION] = {"action", action_fields, N(action_fields)},
};

const struct event_field *event_fields(uint8_t kind, size_t *ret_n)
{
    if (kind >= EVENT_KINDS || described[kind].field == NULL)
        return NULL;
    *ret_n = described[kind].n;
    return described[kind].field;
}

const char *event_kind_word(uint8_t kind)
{
    return kind < EVENT_KINDS ? described[kind].word : NULL;
}

const char *event_field_word(const struct event_field *f)
{
    return strchr(f->name, '.') + 1;
}

int64_t event_field_value(const struct event *e, const struct event_field *f)
{
    const void *at = (const char *)e + f->offset;
    uint32_t u32;
    int32_t i32;
    uint64_t u64;
    switch (f->form) {
    case EVENT_FIELD_U8: return *(const uint8_t *)at;
    case EVENT_FIELD_U32: memcpy(&u32, at, sizeof u32); return u32;
    case EVENT_FIELD_I32: memcpy(&i32, at, sizeof i32); return i32;
    case EVENT_FIELD_U64: memcpy(&u64, at, sizeof u64); return (int64_t)u64;
    default: return 0;
    }
}

bool event_field_set(struct event *e, const struct event_field *f, int64_t v)
{
    void *at = (char *)e + f->offset;
    uint8_t u8 = (uint8_t)v;
    uint32_t u32 = (uint32_t)v;
    int32_t i32 = (int32_t)v;
    switch (f->form) {
    case EVENT_FIELD_U8: memcpy(at, &u8, sizeof u8); return v >= 0 && v <= UINT8_MAX;
    case EVENT_FIELD_U32: memcpy(at, &u32, sizeof u32); return v >= 0 && v <= UINT32_MAX;
    case EVENT_FIELD_I32: memcpy(at, &i32, sizeof i32); return v >= INT32_MIN && v <= INT32_MAX;
    case EVENT_FIELD_U64: memcpy(at, &v, sizeof v); return true;
    default: return false;
    }
}

static const char *described_fault(const struct event *e)
{
    size_t n = 0;
    const struct event_field *f = event_fields(e->kind, &n);
    if (f == NULL)
        return "kind";
    for (size_t i = 0; i < n; i++) {
        int64_t v = event_field_value(e, &f[i]);
        if (f[i].form == EVENT_FIELD_I32 && v == EVENT_UNKNOWN)
            continue;
        if ((f[i].form == EVENT_FIELD_U8 || f[i].form == EVENT_FIELD_I32) && (v < f[i].min || v > f[i].max))
            return f[i].name;
        if (f[i].words > 0 && f[i].word[v] == NULL)
            return f[i].name;
    }
    const struct event_tally *t = &e->tally;
    if (e->kind == EVENT_TALLY && (t->low > t->best || t->best > t->high || (t->low == EVENT_UNKNOWN) != (t->high == EVENT_UNKNOWN)))
        return "tally.low"; /* in order, or all three unknown: EVENT_UNKNOWN is below every number */
    if (e->kind == EVENT_GAP && e->gap.from_seq > e->gap.to_seq)
        return "gap.from_seq";
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
        default: fault = described_fault(e);
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
    /* what a person did, and that the bus protects itself; not its own housekeeping */
    if (e->kind == EVENT_ACTION &&
        ((e->action.what >= EVENT_ACTION_COUNT_CONFIRMED && e->action.what <= EVENT_ACTION_ZEROED) || e->action.what == EVENT_ACTION_SAFE_MODE))
        return EVENT_LANE_URGENT;
    if (e->kind == EVENT_INPUTS && (e->inputs.state & EVENT_IN_URGENT) != 0)
        return EVENT_LANE_URGENT;
    return EVENT_LANE_BULK;
}

bool event_fix_placed(const struct event_fix *f)
{
    return f->mode >= EVENT_FIX_2D && f->lat_e7 != EVENT_UNKNOWN && f->lon_e7 != EVENT_UNKNOWN;
}

bool event_fix_valid(const struct event_fix *f)
{
    return event_fix_placed(f) && (f->doubt & EVENT_DOUBT_PLACE) == 0;
}
