#include "panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct field panel_fields[] = {
    {"device", FIELD_TEXT, FIELD_AT(struct panel_options, device), "", 0, EVENT_NAME_MAX, NULL, "",
     "name of the device with buzzer and lamp; empty: every device that has outputs"},
    {"buzzer", FIELD_BOOL, FIELD_AT(struct panel_options, buzzer), "", 0, 1, NULL, "true", "use the buzzer"},
    {"lamp", FIELD_BOOL, FIELD_AT(struct panel_options, lamp), "", 0, 1, NULL, "true", "use the lamp"},
    {"siren", FIELD_BOOL, FIELD_AT(struct panel_options, siren), "", 0, 1, NULL, "true", "use the siren when a pupil may be left in the bus"},
    {"prewarn_repeat_ms", FIELD_INT, FIELD_AT(struct panel_options, prewarn_repeat_ms), "ms", 1000, 600000, NULL, "10000",
     "pause between beeps while the speed stays near the limit"},
};
const size_t panel_fields_n = sizeof panel_fields / sizeof panel_fields[0];

struct pattern {
    int beeps;                       /* per burst; 0 = none */
    int64_t on_ms, off_ms;           /* of a beep; off 0 = continuous */
    int64_t repeat_ms;               /* from burst to burst */
    int64_t lamp_on_ms, lamp_off_ms; /* both 0 dark, off 0 lit */
};
static const struct pattern patterns[PANEL_LEVELS] = {
    [PANEL_PREWARN] = {1, 150, 150, 0 /* from the options */, 0, 0},
    [PANEL_BOARDING] = {1, 300, 300, 3000, 1, 0},
    [PANEL_LOW] = {2, 150, 150, 30000, 1, 0},
    [PANEL_MEDIUM] = {3, 200, 200, 10000, 500, 500},
    [PANEL_HIGH] = {1, 500, 500, 1000, 500, 500},
    [PANEL_SEARCH] = {5, 100, 100, 2000, 200, 200},
    [PANEL_CRITICAL] = {1, 1, 0, 0, 200, 200},
};
static const struct pattern sos_pattern = {0, 0, 0, 0, 100, 100};
static const int64_t order_max_ms = 60000;

static enum panel_level level_of_severity(uint8_t severity)
{
    switch ((enum law_severity)severity) {
    case LAW_NONE:
    case LAW_INFO: return PANEL_PREWARN;
    case LAW_LOW: return PANEL_LOW;
    case LAW_MEDIUM: return PANEL_MEDIUM;
    case LAW_HIGH: return PANEL_HIGH;
    case LAW_CRITICAL: return PANEL_CRITICAL;
    }
    return PANEL_HIGH;
}

static enum panel_level level_of_warning(enum rules_ladder l)
{
    switch (l) {
    case RULES_OVERLOAD:
    case RULES_DOUBT:
    case RULES_ATTENDANT: return PANEL_BOARDING;
    case RULES_LEFT: return PANEL_SEARCH;
    default: return PANEL_PREWARN;
    }
}

static void set_level(struct panel *p, enum rules_ladder l, enum panel_level level, bool open, int64_t now_ms)
{
    p->slot[l].open = open;
    if (level == p->slot[l].level)
        return;
    p->slot[l].level = (uint8_t)level;
    p->slot[l].since_ms = now_ms;
}

void panel_finding(struct panel *p, const struct rules_finding *f, int64_t now_ms)
{
    enum rules_ladder l = rules_ladder_of((enum law_rule)f->rule);
    if ((f->to & LAW_TO_CAB) == 0 || l == RULES_LADDERS || l == RULES_SOS)
        return;
    switch ((enum rules_change)f->change) {
    case RULES_WARNED:
        if (!p->slot[l].open)
            set_level(p, l, level_of_warning(l), false, now_ms);
        break;
    case RULES_OPENED:
    case RULES_RAISED: set_level(p, l, level_of_severity(f->severity), true, now_ms); break;
    case RULES_CLOSED: set_level(p, l, PANEL_QUIET, false, now_ms); break;
    case RULES_CALMED:
        if (!p->slot[l].open)
            set_level(p, l, PANEL_QUIET, false, now_ms);
        break;
    }
}

void panel_resume(struct panel *p, const struct rules_memory *mem, int64_t now_ms)
{
    for (int l = 0; l < RULES_LADDERS; l++) {
        const struct rules_episode *ep = &mem->episode[l];
        if (l == RULES_SOS)
            continue;
        if (mem->state[l] >= RULES_ACTIVE && (ep->to & LAW_TO_CAB) != 0)
            set_level(p, (enum rules_ladder)l, level_of_severity(ep->severity), true, now_ms);
        else if (mem->warned[l])
            set_level(p, (enum rules_ladder)l, level_of_warning((enum rules_ladder)l), false, now_ms);
    }
}

void panel_sos(struct panel *p, bool pressed, int64_t now_ms)
{
    if (pressed != p->sos)
        p->sos_ms = now_ms;
    p->sos = pressed;
}

void panel_order(struct panel *p, uint32_t ms, int64_t now_ms)
{
    p->order_ms = now_ms;
    p->order_until_ms = now_ms + (ms < order_max_ms ? (int64_t)ms : order_max_ms);
}

void panel_reset(struct panel *p)
{
    memset(p->slot, 0, sizeof p->slot);
}

static int worst_slot(const struct panel *p)
{
    int worst = 0;
    for (int i = 1; i < RULES_LADDERS; i++)
        if (p->slot[i].level > p->slot[worst].level)
            worst = i;
    return worst;
}

enum panel_level panel_worst(const struct panel *p)
{
    return (enum panel_level)p->slot[worst_slot(p)].level;
}

/* Level of a square wave t after its start, and when it changes next. */
static bool wave(int64_t t, int64_t on, int64_t off, int64_t *ret_left)
{
    if (on == 0 || off == 0) {
        *ret_left = INT64_MAX;
        return on > 0;
    }
    int64_t in = t % (on + off);
    *ret_left = in < on ? on - in : on + off - in;
    return in < on;
}

static bool beeping(const struct pattern *w, int64_t t, int64_t repeat, int64_t *ret_left)
{
    if (w->beeps == 0 || w->off_ms == 0)
        return wave(t, w->beeps > 0 ? w->on_ms : 0, 0, ret_left);
    int64_t burst = w->beeps * (w->on_ms + w->off_ms), in = repeat > 0 ? t % repeat : t;
    if (in < burst)
        return wave(in, w->on_ms, w->off_ms, ret_left);
    *ret_left = repeat > 0 ? repeat - in : INT64_MAX;
    return false;
}

struct panel_signal panel_now(const struct panel *p, int64_t now_ms)
{
    int r = worst_slot(p);
    const struct pattern *w = &patterns[p->slot[r].level];
    int64_t t = now_ms - p->slot[r].since_ms, buzzer_left, lamp_left;
    struct panel_signal s;
    s.buzzer = beeping(w, t, p->slot[r].level == PANEL_PREWARN ? p->opt.prewarn_repeat_ms : w->repeat_ms, &buzzer_left);
    s.lamp = wave(t, w->lamp_on_ms, w->lamp_off_ms, &lamp_left);
    if (p->sos)
        s.lamp = wave(now_ms - p->sos_ms, sos_pattern.lamp_on_ms, sos_pattern.lamp_off_ms, &lamp_left);
    if (now_ms < p->order_until_ms) {
        s.buzzer = true;
        buzzer_left = p->order_until_ms - now_ms;
    }
    s.siren = p->slot[RULES_LEFT].open && p->opt.siren;
    s.buzzer = s.buzzer && p->opt.buzzer;
    s.lamp = s.lamp && p->opt.lamp;
    int64_t left = buzzer_left < lamp_left ? buzzer_left : lamp_left;
    s.next_ms = left == INT64_MAX ? INT64_MAX : now_ms + left;
    return s;
}

/* 1 -> "1", 62.4 -> "62.4": one decimal only where there is one. */
static void figure(double v, char *out, size_t cap)
{
    if (!isfinite(v))
        snprintf(out, cap, "?");
    else if (fabs(v - round(v)) < 0.05)
        snprintf(out, cap, "%.0f", v);
    else
        snprintf(out, cap, "%.1f", v);
}

static const char *unit_zh(const char *unit)
{
    if (strcmp(unit, "persons") == 0)
        return "人";
    if (strcmp(unit, "km/h") == 0)
        return "公里/小时";
    if (strcmp(unit, "m") == 0)
        return "米";
    return unit;
}

int panel_text(const struct rules_finding *f, const struct law_rule_text *rule, char *out, size_t cap)
{
    static const struct {
        const char *zh, *en;
    } words[] = {
        [RULES_WARNED] = {"注意：", "Careful: "}, [RULES_OPENED] = {"", ""},
        [RULES_RAISED] = {"加重：", "Worse: "},   [RULES_CLOSED] = {"已解除：", "Over: "},
        [RULES_CALMED] = {"已解除：", "Over: "},  {"请勿起步：", "Do not depart: "},
        {"请立即巡车：", "Search the bus now: "},
    };
    unsigned c = f->change <= RULES_CALMED && f->change >= RULES_WARNED ? f->change : RULES_OPENED;
    enum panel_level hold = c == RULES_WARNED ? level_of_warning(rules_ladder_of((enum law_rule)f->rule)) : PANEL_QUIET;
    if (hold == PANEL_BOARDING || hold == PANEL_SEARCH)
        c = hold == PANEL_BOARDING ? RULES_CALMED + 1 : RULES_CALMED + 2;
    const char *unit = rules_unit((enum law_rule)f->rule);
    char value[32], limit[32];
    if (*unit == '\0')
        return snprintf(out, cap, "%s%s · %s%s", words[c].zh, rule->title_zh, words[c].en, rule->title_en);
    figure(f->value, value, sizeof value);
    figure(f->limit, limit, sizeof limit);
    return snprintf(out, cap, "%s%s %s/%s %s · %s%s %s/%s %s", words[c].zh, rule->title_zh, value, limit, unit_zh(unit), words[c].en, rule->title_en,
                    value, limit, unit);
}
