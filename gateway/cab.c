#include "cab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "../core/rules.h"

enum { REFRESH_MS = 5000 }; /* outputs are told again: a device that came back may have forgotten */

struct cab {
    uv_timer_t panel_timer;
    struct duty_file *duty;
    struct device *device[CAB_DEVICES_MAX];
    size_t devices;
    struct bus bus;
    struct rules_memory memory;
    int64_t event_mono_ms; /* when the newest event was folded: ticks go on from its time */
    struct panel panel;
    struct panel_signal told;
    int64_t told_ms;
    struct cab_figures figures;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

/* --- outputs --- */

static bool has_panel(const struct cab *c, const struct device *d)
{
    const struct driver *driver = device_driver(d);
    if (driver->output == NULL || driver->kind != EVENT_DEVICE_INPUTS)
        return false;
    return c->panel.opt.device[0] == '\0' || strcmp(c->panel.opt.device, device_name(d)) == 0;
}

static void output(struct cab *c, struct device *d, enum driver_output_kind kind, bool on)
{
    struct driver_output out = {.kind = kind, .on = on};
    if (device_output(d, &out) != RC_OK)
        c->figures.outputs_lost++; /* the line is dead, its health event says so; told again each 5 s */
}

/* Siren and voice need not be where the buzzer is. */
static bool has_voice(const struct device *d)
{
    const struct driver *driver = device_driver(d);
    return driver->output != NULL && (driver->kind == EVENT_DEVICE_INPUTS || driver->kind == EVENT_DEVICE_PANEL);
}

static void say(struct cab *c, const char *text, bool urgent)
{
    struct driver_output out = {.kind = DRIVER_OUT_TEXT, .on = urgent};
    size_t n = strlen(text);
    if (n > DRIVER_TEXT_MAX) /* not in the middle of a character */
        for (n = DRIVER_TEXT_MAX; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
            n--;
    memcpy(out.text, text, n);
    for (size_t i = 0; i < c->devices; i++)
        if (has_voice(c->device[i]) && device_output(c->device[i], &out) != RC_OK)
            c->figures.outputs_lost++;
}

static void on_panel_timer(uv_timer_t *t);

static void show(struct cab *c)
{
    int64_t now = clock_mono_ms();
    struct panel_signal s = panel_now(&c->panel, now);
    bool again = c->told_ms == 0 || now - c->told_ms >= REFRESH_MS;
    for (size_t i = 0; i < c->devices; i++) {
        if (has_voice(c->device[i]) && (again || s.siren != c->told.siren))
            output(c, c->device[i], DRIVER_OUT_SIREN, s.siren);
        if (!has_panel(c, c->device[i]))
            continue;
        if (again || s.buzzer != c->told.buzzer)
            output(c, c->device[i], DRIVER_OUT_BUZZER, s.buzzer);
        if (again || s.lamp != c->told.lamp)
            output(c, c->device[i], DRIVER_OUT_LAMP, s.lamp);
    }
    if (again)
        c->told_ms = now;
    c->told = s;
    if (s.next_ms == INT64_MAX)
        uv_timer_stop(&c->panel_timer);
    else
        uv_timer_start(&c->panel_timer, on_panel_timer, (uint64_t)(s.next_ms > now ? s.next_ms - now : 1), 0);
}

static void on_panel_timer(uv_timer_t *t)
{
    show(t->data);
}

static void speak(struct cab *c, const struct rules_finding *f)
{
    char line[256];
    if ((f->to & LAW_TO_CAB) == 0)
        return;
    const struct law_rule_text *rule = law_rule_at(c->duty->law, (enum law_rule)f->rule, f->time_ms);
    if (rule == NULL)
        return;
    panel_text(f, rule, line, sizeof line);
    log_notice("panel", "%s %s", law_rule_word((enum law_rule)f->rule), line);
    say(c, line, f->severity >= LAW_HIGH && f->change != RULES_CLOSED);
}

/* --- judging --- */

static void judge(struct cab *c, const struct event *e)
{
    struct rules_finding found[RULES_OUT_MAX];
    const struct duty_set *set = c->duty != NULL ? c->duty->set : NULL;
    const struct duty_vehicle *v = c->duty != NULL ? c->duty->vehicle : NULL;
    bus_apply(&c->bus, set, v, e);
    if (c->duty == NULL)
        return;
    size_t n = rules_step(c->duty->law, set, v, &c->bus, e, &c->memory, found);
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < n; i++) {
        c->figures.findings++;
        panel_finding(&c->panel, &found[i], now);
        speak(c, &found[i]);
    }
    if (n > 0)
        show(c);
}

static void note_inputs(struct cab *c, const struct event_inputs *in)
{
    bool pressed = (in->known & in->state & EVENT_IN_SOS) != 0;
    if ((in->known & EVENT_IN_SOS) == 0 || pressed == c->panel.sos)
        return;
    panel_sos(&c->panel, pressed, clock_mono_ms());
    log_notice("panel", pressed ? "一键报警已发出 · SOS sent" : "一键报警已复位 · SOS released");
    show(c);
}

void cab_event(struct cab *c, const struct event *e)
{
    c->event_mono_ms = clock_mono_ms();
    judge(c, e);
    if (e->kind == EVENT_INPUTS)
        note_inputs(c, &e->inputs);
}

void cab_clock(struct cab *c, int64_t by_ms)
{
    bus_shift(&c->bus, by_ms);
    rules_shift(&c->memory, by_ms);
}

void cab_tick(struct cab *c, uint8_t clock)
{
    int64_t mono = clock_mono_ms();
    if (c->bus.time_ms != 0) {
        /* in the time of the events, so that a recording is judged in its own day */
        struct event e = {.kind = EVENT_TICK, .clock = clock, .time_ms = c->bus.time_ms + (mono - c->event_mono_ms)};
        c->event_mono_ms = mono;
        judge(c, &e);
    }
    if (mono - c->told_ms >= REFRESH_MS)
        show(c);
}

/* --- the office --- */

bool cab_order_buzzer(struct cab *c, uint32_t ms)
{
    for (size_t i = 0; i < c->devices; i++)
        if (has_panel(c, c->device[i]) && device_state(c->device[i]) == EVENT_DEVICE_OK) {
            panel_order(&c->panel, ms, clock_mono_ms());
            show(c);
            return true;
        }
    return false;
}

void cab_order_text(struct cab *c, const char *text)
{
    say(c, text, false);
    log_notice("panel", "中心消息 · from the office: %s", text);
}

/* --- begin and end --- */

enum rc cab_start(uv_loop_t *loop, const struct panel_options *opt, struct cab **ret_c)
{
    struct cab *c = calloc(1, sizeof *c);
    if (c == NULL)
        return RC_NO_MEMORY;
    c->panel.opt = *opt;
    uv_timer_init(loop, &c->panel_timer);
    c->panel_timer.data = c;
    *ret_c = c;
    return RC_OK;
}

static void on_closed(uv_handle_t *h)
{
    struct cab *c = h->data;
    if (c->on_stopped != NULL)
        c->on_stopped(c->stopped_arg);
}

void cab_stop(struct cab *c, void (*on_stopped)(void *arg), void *arg)
{
    c->on_stopped = on_stopped;
    c->stopped_arg = arg;
    uv_close((uv_handle_t *)&c->panel_timer, on_closed);
}

void cab_free(struct cab *c)
{
    if (c == NULL)
        return;
    duty_file_free(c->duty);
    free(c);
}

void cab_set_duty(struct cab *c, struct duty_file *d)
{
    duty_file_free(c->duty);
    c->duty = d;
    c->memory = (struct rules_memory){0};
    c->bus.route_ms = 0; /* an index into the old set */
    c->bus.route = 0;
    panel_reset(&c->panel);
    show(c);
}

const struct duty_file *cab_duty(const struct cab *c)
{
    return c->duty;
}

const struct bus *cab_bus(const struct cab *c)
{
    return &c->bus;
}

void cab_attach(struct cab *c, struct device *d)
{
    if (c->devices < CAB_DEVICES_MAX)
        c->device[c->devices++] = d;
    if (has_panel(c, d))
        c->told_ms = 0; /* tell it at the next tick */
}

void cab_detach_all(struct cab *c)
{
    c->devices = 0;
}

void cab_figures(const struct cab *c, struct cab_figures *ret_f)
{
    *ret_f = c->figures;
}
