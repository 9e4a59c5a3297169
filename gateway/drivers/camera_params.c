#include "camera_params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/base/conf.h"
#include "../../core/event.h"

#define PARAMS 64 /* rows of the longest table */

#define HEAD_FIELDS                                                                                                                                  \
    {"speed_kmh", 0, 1, "km/h, 0..60: below it nothing is alarmed"}, {"volume", 1, 1, "0..8"},                                                       \
        {"snapshots", 2, 1, "0 none, 1 by time, 2 by distance"}, {"snapshot_every_s", 3, 2, "s"}, {"snapshot_every_100m", 5, 2, "100 m"},            \
        {"snapshot_photos", 7, 1, "1..10"}, {"snapshot_gap_100ms", 8, 1, "100 ms"},                                                                  \
        {"photo_size", 9, 1, "1 352x288, 2 704x288, 3 704x576, 4 640x480, 5 1280x720, 6 1920x1080"},                                                 \
        {"video_size", 10, 1, "1 CIF, 2 HD1, 3 D1, 4 WD1, 5 VGA, 6 720P, 7 1080P"}, {"alarms", 11, 4, "bits, two per alarm: level 1, level 2"},      \
    {                                                                                                                                                \
        "events", 15, 4, "bits: 0 sign recognised or driver change, 1 snapshot"                                                                      \
    }

static const struct camera_param adas[] = {
    HEAD_FIELDS,
    {"obstacle_100ms", 20, 1, "100 ms, 10..50: time to the obstacle"},
    {"obstacle_level_kmh", 21, 1, "km/h: above it level 2"},
    {"obstacle_video_s", 22, 1, "s before and after"},
    {"obstacle_photos", 23, 1, ""},
    {"obstacle_photo_gap_100ms", 24, 1, "100 ms"},
    {"lanes_window_s", 25, 1, "s, 30..120: frequent lane changes within"},
    {"lanes_changes", 26, 1, "3..10"},
    {"lanes_level_kmh", 27, 1, "km/h"},
    {"lanes_video_s", 28, 1, "s"},
    {"lanes_photos", 29, 1, ""},
    {"lanes_photo_gap_100ms", 30, 1, "100 ms"},
    {"departure_level_kmh", 31, 1, "km/h"},
    {"departure_video_s", 32, 1, "s"},
    {"departure_photos", 33, 1, ""},
    {"departure_photo_gap_100ms", 34, 1, "100 ms"},
    {"collision_100ms", 35, 1, "100 ms, 10..50: time to collision"},
    {"collision_level_kmh", 36, 1, "km/h"},
    {"collision_video_s", 37, 1, "s"},
    {"collision_photos", 38, 1, ""},
    {"collision_photo_gap_100ms", 39, 1, "100 ms"},
    {"pedestrian_100ms", 40, 1, "100 ms, 10..50"},
    {"pedestrian_from_kmh", 41, 1, "km/h"},
    {"pedestrian_video_s", 42, 1, "s"},
    {"pedestrian_photos", 43, 1, ""},
    {"pedestrian_photo_gap_100ms", 44, 1, "100 ms"},
    {"close_100ms", 45, 1, "100 ms, 10..50: time to the vehicle ahead"},
    {"close_level_kmh", 46, 1, "km/h"},
    {"close_video_s", 47, 1, "s"},
    {"close_photos", 48, 1, ""},
    {"close_photo_gap_100ms", 49, 1, "100 ms"},
    {"sign_photos", 50, 1, ""},
    {"sign_photo_gap_100ms", 51, 1, "100 ms"},
    {"solid_line_level_kmh", 52, 1, "km/h (Guangdong)"},
    {"solid_line_video_s", 53, 1, "s (Guangdong)"},
    {"solid_line_photos", 54, 1, "(Guangdong)"},
    {"solid_line_photo_gap_100ms", 55, 1, "100 ms (Guangdong)"},
    {"aisle_level_kmh", 56, 1, "km/h (Guangdong): a person in the aisle"},
};

static const struct camera_param dsm[] = {
    HEAD_FIELDS,
    {"smoking_again_s", 19, 2, "s: the same alarm not again within"},
    {"phone_again_s", 21, 2, "s"},
    {"fatigue_level_kmh", 26, 1, "km/h: above it level 2"},
    {"fatigue_video_s", 27, 1, "s before and after"},
    {"fatigue_photos", 28, 1, ""},
    {"fatigue_photo_gap_100ms", 29, 1, "100 ms"},
    {"phone_level_kmh", 30, 1, "km/h"},
    {"phone_video_s", 31, 1, "s"},
    {"phone_photos", 32, 1, ""},
    {"phone_photo_gap_100ms", 33, 1, "100 ms"},
    {"smoking_level_kmh", 34, 1, "km/h"},
    {"smoking_video_s", 35, 1, "s"},
    {"smoking_photos", 36, 1, ""},
    {"smoking_photo_gap_100ms", 37, 1, "100 ms"},
    {"distraction_level_kmh", 38, 1, "km/h"},
    {"distraction_video_s", 39, 1, "s"},
    {"distraction_photos", 40, 1, ""},
    {"distraction_photo_gap_100ms", 41, 1, "100 ms"},
    {"abnormal_level_kmh", 42, 1, "km/h"},
    {"abnormal_video_s", 43, 1, "s"},
    {"abnormal_photos", 44, 1, ""},
    {"abnormal_photo_gap_100ms", 45, 1, "100 ms"},
    {"identify", 46, 1, "who drives: 0 never, 1 by time, 2 by card, 3 both"},
    {"covered_level_kmh", 47, 1, "km/h (Guangdong): lens covered"},
    {"belt_level_kmh", 48, 1, "km/h (Guangdong)"},
    {"belt_video_s", 49, 1, "s (Guangdong)"},
    {"belt_photos", 50, 1, "(Guangdong)"},
    {"belt_photo_gap_100ms", 51, 1, "100 ms (Guangdong)"},
    {"glasses_level_kmh", 52, 1, "km/h (Guangdong): glasses that block infra-red"},
    {"glasses_video_s", 53, 1, "s (Guangdong)"},
    {"glasses_photos", 54, 1, "(Guangdong)"},
    {"glasses_photo_gap_100ms", 55, 1, "100 ms (Guangdong)"},
    {"hands_level_kmh", 56, 1, "km/h (Guangdong): both hands off the wheel"},
    {"hands_video_s", 57, 1, "s (Guangdong)"},
    {"hands_photos", 58, 1, "(Guangdong)"},
    {"hands_photo_gap_100ms", 59, 1, "100 ms (Guangdong)"},
    {"playing_level_kmh", 60, 1, "km/h (Guangdong): plays with a telephone"},
    {"playing_video_s", 61, 1, "s (Guangdong)"},
    {"playing_photos", 62, 1, "(Guangdong)"},
    {"playing_photo_gap_100ms", 63, 1, "100 ms (Guangdong)"},
};
_Static_assert(sizeof adas / sizeof *adas <= PARAMS && sizeof dsm / sizeof *dsm <= PARAMS, "a table longer than its record");

const struct camera_param *camera_params_of(uint8_t unit, size_t *ret_n)
{
    *ret_n = unit == EVENT_CAMERA_ADAS ? sizeof adas / sizeof *adas : unit == EVENT_CAMERA_DSM ? sizeof dsm / sizeof *dsm : 0;
    return unit == EVENT_CAMERA_ADAS ? adas : unit == EVENT_CAMERA_DSM ? dsm : NULL;
}

static uint32_t ones(uint8_t size)
{
    return size == 4 ? UINT32_MAX : (1U << 8 * size) - 1;
}

static uint32_t value_at(const struct camera_param *p, const uint8_t *block)
{
    uint32_t v = 0;
    for (uint8_t i = 0; i < p->size; i++)
        v = v << 8 | block[p->at + i];
    return v;
}

static enum rc fill(struct conf *c, uint8_t unit, uint8_t block[CAMERA_PARAMS_MAX], struct conf_problems *problems)
{
    static const char *const initial[] = {"", "0xff", "0xffff", "", "0xffffffff"};
    struct field f[PARAMS];
    uint32_t value[PARAMS];
    size_t n = 0;
    const struct camera_param *p = camera_params_of(unit, &n);
    if (p == NULL)
        return RC_UNSUPPORTED;
    for (size_t i = 0; i < n; i++)
        f[i] =
            (struct field){p[i].name, FIELD_UINT, i * sizeof value[0], sizeof value[0], "", 0, ones(p[i].size), NULL, initial[p[i].size], p[i].help};
    size_t section = conf_find_section(c, unit == EVENT_CAMERA_ADAS ? "adas" : "dsm", "");
    conf_apply(c, section, f, n, value, problems);
    for (size_t i = 0; i < conf_sections(c); i++) { /* one file may serve both cameras of a bus */
        const char *kind, *name;
        conf_section(c, i, &kind, &name);
        size_t others = 0;
        const struct camera_param *o = i == section ? NULL
                                                    : camera_params_of(strcmp(kind, "adas") == 0  ? EVENT_CAMERA_ADAS
                                                                       : strcmp(kind, "dsm") == 0 ? EVENT_CAMERA_DSM
                                                                                                  : 0,
                                                                       &others);
        for (size_t k = 0; k < others; k++)
            (void)conf_value(c, i, o[k].name);
    }
    conf_report_unused(c, problems);
    memset(block, 0xff, CAMERA_PARAMS_MAX);
    for (size_t i = 0; i < n; i++)
        for (uint8_t k = 0; k < p[i].size; k++)
            block[p[i].at + k] = (uint8_t)(value[i] >> 8 * (p[i].size - 1 - k));
    return problems->n > 0 ? RC_INVALID : RC_OK;
}

static enum rc finish(struct conf *c, enum rc rc, const char *name, uint8_t unit, uint8_t ret_block[CAMERA_PARAMS_MAX], struct conf_problems *p,
                      char *why, size_t cap)
{
    uint8_t block[CAMERA_PARAMS_MAX];
    if (rc == RC_OK)
        rc = fill(c, unit, block, p);
    conf_free(c);
    if (rc == RC_OK)
        memcpy(ret_block, block, sizeof block);
    else if (rc == RC_UNSUPPORTED)
        snprintf(why, cap, "params: only ADAS (0x64) and DSM (0x65) cameras have settings");
    else
        snprintf(why, cap, "%s", p->n > 0 ? p->text[0] : name);
    return rc == RC_OK || rc == RC_UNSUPPORTED || rc == RC_NO_MEMORY ? rc : RC_INVALID;
}

enum rc camera_params_read(const char *path, uint8_t unit, uint8_t ret_block[CAMERA_PARAMS_MAX], char *why, size_t cap)
{
    struct conf_problems *p = calloc(1, sizeof *p);
    struct conf *c = NULL;
    if (p == NULL)
        return RC_NO_MEMORY;
    enum rc rc = conf_read_file(path, &c, p);
    rc = finish(c, rc, path, unit, ret_block, p, why, cap);
    free(p);
    return rc;
}

enum rc camera_params_text(const char *text, size_t n, uint8_t unit, uint8_t ret_block[CAMERA_PARAMS_MAX], char *why, size_t cap)
{
    struct conf_problems *p = calloc(1, sizeof *p);
    struct conf *c = NULL;
    if (p == NULL)
        return RC_NO_MEMORY;
    enum rc rc = conf_read_text(text, n, "params", &c, p);
    rc = finish(c, rc, "params", unit, ret_block, p, why, cap);
    free(p);
    return rc;
}

size_t camera_params_differ(uint8_t unit, const uint8_t want[CAMERA_PARAMS_MAX], const uint8_t *got, size_t n, char *out, size_t cap)
{
    size_t params = 0, differ = 0, len = 0;
    const struct camera_param *p = camera_params_of(unit, &params);
    out[0] = '\0';
    for (size_t i = 0; i < params; i++) {
        uint32_t w = value_at(&p[i], want);
        bool there = (size_t)p[i].at + p[i].size <= n;
        if (w == ones(p[i].size) || (there && value_at(&p[i], got) == w))
            continue;
        differ++;
        if (len >= cap)
            continue;
        if (there)
            len += (size_t)snprintf(out + len, cap - len, "%s%s %u not %u", len > 0 ? ", " : "", p[i].name, value_at(&p[i], got), w);
        else
            len += (size_t)snprintf(out + len, cap - len, "%s%s is not known to it", len > 0 ? ", " : "", p[i].name);
    }
    return differ;
}
