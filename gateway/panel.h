/*
 * panel - what driver and attendant hear and see: findings addressed to the cab become patterns of one buzzer and one lamp, and a line of text in zh
 * and en. Pure: time is handed in (monotonic), outputs come back as levels. It judges nothing and knows no hardware.
 *
 *   level      buzzer                              lamp
 *   prewarn    one beep of 0.15 s, again after 10 s  off                speed near the limit
 *   boarding   one beep of 0.3 s each 3 s            lit                overload, or no attendant, at the stop: the bus may not leave
 *   low        two beeps, again after 30 s           lit
 *   medium     three beeps, again after 10 s         1 Hz
 *   high       0.5 s on, 0.5 s off                   1 Hz
 *   critical   continuous until the finding closes   2.5 Hz
 *   search     0.1 s on, 0.1 s off for 1 s, again after 2 s  2.5 Hz  the run is over and somebody may be in the bus: before the siren
 *   SOS        nothing: a cry for help must not be announced to whoever it is about; lamp flickers at 5 Hz: it was understood
 *
 * The siren is outside and for one thing only: a pupil may be left in the bus (LFT-1 open).
 */
#ifndef SCHOOLWARD_PANEL_H
#define SCHOOLWARD_PANEL_H

#include "../core/field.h"
#include "../core/rules.h"

struct panel_options {
    char device[EVENT_NAME_MAX + 1]; /* device with the outputs; "" = every device that has some */
    bool buzzer, lamp, siren;
    int64_t prewarn_repeat_ms;
};
extern const struct field panel_fields[];
extern const size_t panel_fields_n;

enum panel_level { PANEL_QUIET = 0, PANEL_PREWARN, PANEL_BOARDING, PANEL_LOW, PANEL_MEDIUM, PANEL_HIGH, PANEL_SEARCH, PANEL_CRITICAL, PANEL_LEVELS };

struct panel { /* all-zero, then opt, is a valid start */
    struct panel_options opt;
    struct {
        uint8_t level; /* enum panel_level */
        bool open;     /* a finding, not only a warning */
        int64_t since_ms;
    } slot[RULES_LADDERS]; /* by enum rules_ladder: each has one episode at a time, whose rule may rise */
    bool sos;
    int64_t sos_ms;
    int64_t order_ms, order_until_ms; /* buzzer ordered by the office */
};

struct panel_signal {
    bool buzzer, lamp, siren;
    int64_t next_ms; /* ask again then, INT64_MAX: only after a change */
};

/* A finding changed. Not addressed to the cab: nothing. */
void panel_finding(struct panel *p, const struct rules_finding *f, int64_t now_ms);
void panel_sos(struct panel *p, bool pressed, int64_t now_ms);
/* The office wants the buzzer for ms (at most 60 s; 0 ends it). */
void panel_order(struct panel *p, uint32_t ms, int64_t now_ms);
/* Go on after a restart with what a memory says is open or warned of. */
void panel_resume(struct panel *p, const struct rules_memory *mem, int64_t now_ms);
/* Forget all findings (their law or duty is gone). */
void panel_reset(struct panel *p);

struct panel_signal panel_now(const struct panel *p, int64_t now_ms);
enum panel_level panel_worst(const struct panel *p);

/* The line for the driver's display, zh then en, e.g. "校车超员 39/36 人 · Overload 39/36 persons". Returns as snprintf does. */
int panel_text(const struct rules_finding *f, const struct law_rule_text *rule, char *out, size_t cap);

#endif
