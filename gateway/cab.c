#include "cab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "../core/rules.h"
#include "cab_state.h"
#include "files.h"

enum {
    REFRESH_MS = 5000, /* outputs are told again: a device that came back may have forgotten */
    RETRY_MS = 10000,  /* a disk that refused the state is asked again */
};

struct cab {
    uv_timer_t panel_timer;
    struct duty_file *duty;
    struct device *device[CAB_DEVICES_MAX];
    size_t devices;
    struct cab_state state; /* what is kept */
    struct cab_setup setup;
    char state_dir[160];
    uv_loop_t *loop;
    uv_work_t work;
    unsigned char saved[CAB_STATE_BYTES]; /* being written by a thread of the pool while `saving` */
    uint64_t saved_key;
    int64_t save_ms;
    bool saving, save_failed, restored; /* restored: by the file, no duty was set yet */
    enum rc save_rc;
    char save_why[200];
    int closing;
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

/* --- the state on disk --- */

static void write_state(uv_work_t *w)
{
    struct cab *c = w->data;
    c->save_rc = files_write(c->state_dir, CAB_STATE_FILE, c->saved, sizeof c->saved, c->save_why, sizeof c->save_why);
}

static void part_closed(struct cab *c);
static void save(struct cab *c);

static void on_written(uv_work_t *w, int status)
{
    struct cab *c = w->data;
    c->saving = false;
    if (c->save_rc != RC_OK)
        c->saved_key = ~c->saved_key;
    c->figures.saves += status == 0 && c->save_rc == RC_OK;
    if (status == 0 && (c->save_rc != RC_OK) != c->save_failed) {
        c->save_failed = c->save_rc != RC_OK;
        if (c->save_failed)
            log_error("cab", "%s: who is aboard would be forgotten in a power cut", c->save_why);
        else
            log_notice("cab", "the state of the run is written again");
    }
    save(c); /* it may have changed meanwhile */
    if (c->closing > 0 && !c->saving)
        part_closed(c);
}

/* Write what changed, off the loop: a card may take a second to fsync. */
static void save(struct cab *c)
{
    uint64_t key = cab_state_key(&c->state);
    if (c->state_dir[0] == '\0' || c->saving || key == c->saved_key)
        return;
    int64_t mono = clock_mono_ms();
    if (c->save_failed && mono - c->save_ms < RETRY_MS)
        return;
    c->save_ms = mono;
    cab_state_pack(&c->state, c->saved);
    c->saved_key = key;
    c->work.data = c;
    c->saving = uv_queue_work(c->loop, &c->work, write_state, on_written) == 0;
}

static void load(struct cab *c)
{
    char why[200] = "";
    enum rc rc = cab_state_load(c->state_dir, &c->state, why, sizeof why);
    if (rc != RC_OK) {
        if (rc != RC_NOT_FOUND)
            log_warning("cab", "%s: %s: who was aboard before the start is not known", CAB_STATE_FILE, why);
        return;
    }
    c->restored = true;
    struct bus *b = &c->state.bus;
    b->inputs = b->inputs_known = 0; /* levels may be others now; devices tell them */
    b->fast_fixes = 0;
    b->route_ms = 0;
    b->route = 0;
    c->state.headcount.inputs = 0;
    if (c->setup.now_ms < b->time_ms)
        cab_clock(c, c->setup.now_ms - b->time_ms);
    c->event_mono_ms = clock_mono_ms();
    c->saved_key = cab_state_key(&c->state);
    if (b->run != BUS_RUN_IDLE)
        log_notice("cab", "going on with the %s of before the start", b->run == BUS_RUN_ON ? "run" : "end of the run");
}

/* --- judging --- */

static void judge(struct cab *c, const struct event *e)
{
    struct rules_finding found[RULES_OUT_MAX];
    const struct duty_set *set = c->duty != NULL ? c->duty->set : NULL;
    const struct duty_vehicle *v = c->duty != NULL ? c->duty->vehicle : NULL;
    bus_apply(&c->state.bus, set, v, e);
    if (c->duty == NULL)
        return;
    size_t n = rules_step(c->duty->law, set, v, &c->state.bus, e, &c->state.memory, found);
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < n; i++) {
        c->figures.findings++;
        panel_finding(&c->panel, &found[i], now);
        speak(c, &found[i]);
    }
    if (n > 0)
        show(c);
}

/* The head-count, which makes events of its own. */
static void count_heads(struct cab *c, uint8_t clock)
{
    struct event made[HEADCOUNT_OUT_MAX];
    const struct duty_vehicle *v = c->duty != NULL ? c->duty->vehicle : NULL;
    size_t n = headcount_step(&c->state.headcount, &c->state.bus, v, rules_left_open(&c->state.memory), made);
    for (size_t i = 0; i < n; i++) {
        made[i].clock = clock;
        judge(c, &made[i]);
        if (made[i].kind == EVENT_ACTION && made[i].action.what == EVENT_ACTION_ZEROED)
            log_notice("cab", "本次运行结束，人数清零 · run over, head-count set to empty");
        if (c->setup.on_event != NULL)
            c->setup.on_event(c->setup.arg, &made[i]);
    }
    save(c);
}

static void note_card(struct cab *c, const struct event_card *card)
{
    static const char unknown[] = "未登记的卡 · unknown card";
    if (card->kind != EVENT_CARD_UNKNOWN || c->duty == NULL || c->duty->vehicle == NULL || c->duty->vehicle->cards == 0)
        return;
    say(c, unknown, false);
    log_notice("panel", "%s", unknown);
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
    if (e->kind == EVENT_CARD)
        note_card(c, &e->card);
    count_heads(c, e->clock);
}

void cab_clock(struct cab *c, int64_t by_ms)
{
    bus_shift(&c->state.bus, by_ms);
    rules_shift(&c->state.memory, by_ms);
    headcount_shift(&c->state.headcount, by_ms);
}

void cab_tick(struct cab *c, uint8_t clock)
{
    int64_t mono = clock_mono_ms();
    if (c->state.bus.time_ms != 0) {
        /* in the time of the events, so that a recording is judged in its own day */
        struct event e = {.kind = EVENT_TICK, .clock = clock, .time_ms = c->state.bus.time_ms + (mono - c->event_mono_ms)};
        c->event_mono_ms = mono;
        judge(c, &e);
        count_heads(c, clock);
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

enum rc cab_start(uv_loop_t *loop, const struct cab_setup *s, struct cab **ret_c)
{
    struct cab *c = calloc(1, sizeof *c);
    if (c == NULL)
        return RC_NO_MEMORY;
    c->setup = *s;
    c->panel.opt = *s->panel;
    c->loop = loop;
    uv_timer_init(loop, &c->panel_timer);
    c->panel_timer.data = c;
    c->saved_key = cab_state_key(&c->state);
    if (s->state_dir != NULL) {
        snprintf(c->state_dir, sizeof c->state_dir, "%s", s->state_dir);
        load(c);
    }
    *ret_c = c;
    return RC_OK;
}

static void part_closed(struct cab *c)
{
    if (--c->closing == 0 && c->on_stopped != NULL)
        c->on_stopped(c->stopped_arg);
}

static void on_closed(uv_handle_t *h)
{
    part_closed(h->data);
}

void cab_stop(struct cab *c, void (*on_stopped)(void *arg), void *arg)
{
    c->on_stopped = on_stopped;
    c->stopped_arg = arg;
    if (!c->saving && c->state.bus.run != BUS_RUN_IDLE)
        c->saved_key = ~c->saved_key; /* a stop in order keeps the last tap too */
    save(c);
    c->closing = c->saving ? 2 : 1;
    uv_close((uv_handle_t *)&c->panel_timer, on_closed);
}

void cab_free(struct cab *c)
{
    if (c == NULL)
        return;
    duty_file_free(c->duty);
    free(c);
}

/* Whose state it is; false: another vehicle's, so nothing of it holds. */
static bool same_vehicle(const struct cab *c, const struct duty_file *d)
{
    return c->state.vehicle[0] == '\0' || d == NULL || d->vehicle == NULL || strcmp(c->state.vehicle, d->vehicle->id) == 0;
}

static void keep_memory(struct cab *c, const struct duty_file *d)
{
    static const enum rules_ladder kept[] = {RULES_LEFT, RULES_PATROL};
    struct rules_memory old = c->state.memory;
    if (c->restored && d != NULL && strcmp(c->state.law, d->law_version) == 0)
        return;
    c->state.memory = (struct rules_memory){0};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        c->state.memory.state[kept[i]] = old.state[kept[i]];
        c->state.memory.warned[kept[i]] = old.warned[kept[i]];
        c->state.memory.episode[kept[i]] = old.episode[kept[i]];
    }
}

void cab_set_duty(struct cab *c, struct duty_file *d)
{
    duty_file_free(c->duty);
    c->duty = d;
    if (!same_vehicle(c, d)) {
        log_warning("cab", "the duty is of another vehicle than before: who is aboard is not known");
        memset(&c->state, 0, sizeof c->state);
    } else
        keep_memory(c, d);
    if (d != NULL) {
        snprintf(c->state.vehicle, sizeof c->state.vehicle, "%s", d->vehicle != NULL ? d->vehicle->id : "");
        snprintf(c->state.law, sizeof c->state.law, "%.31s", d->law_version);
        c->restored = false;
    }
    c->state.bus.route_ms = 0; /* an index into the old set */
    c->state.bus.route = 0;
    panel_reset(&c->panel);
    panel_resume(&c->panel, &c->state.memory, clock_mono_ms());
    show(c);
}

uint8_t cab_card_kind(const struct cab *c, uint64_t hash)
{
    return c->duty == NULL || c->duty->vehicle == NULL ? EVENT_CARD_UNKNOWN : duty_card_kind(c->duty->vehicle, hash);
}

const struct duty_file *cab_duty(const struct cab *c)
{
    return c->duty;
}

const struct bus *cab_bus(const struct cab *c)
{
    return &c->state.bus;
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
