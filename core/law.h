/*
 * law - a law pack read and checked. A pack is JSON (core/law/cn-national.json): every number of the law with its article, effective dates,
 * mark (primary, secondary, advice) and date of checking; hold times, severities, recipients and texts in zh and en. Nothing of the law is a
 * literal in the code. Read once, then only looked at.
 */
#ifndef SCHOOLWARD_LAW_H
#define SCHOOLWARD_LAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "duty.h"
#include "rc.h"

enum law_rule { /* index of a rule; LAW_RULES in all. The words (OVL-1 ...) are law_rule_word() */
                LAW_OVL_1 = 0,
                LAW_OVL_2,
                LAW_OVL_3,
                LAW_OVL_DOUBT, /* "count doubtful": what an overload with too little confidence becomes; word OVL-D */
                LAW_SPD_1,
                LAW_SPD_2,
                LAW_SPD_3,
                LAW_RTE_1,
                LAW_SOS_1,
                LAW_OVL_4,
                LAW_STP_2,
                LAW_ATT_1,
                LAW_ATT_4,
                LAW_LFT_1,
                LAW_LFT_2,
                LAW_DRV_1,
                LAW_FIR_1,
                LAW_DEV_2,
                LAW_LMP_1,
                LAW_RULES,
};

enum law_severity { LAW_NONE = 0, LAW_INFO, LAW_LOW, LAW_MEDIUM, LAW_HIGH, LAW_CRITICAL };

/* Recipients (bits): cab, dispatcher, school, officer, police, parent. */
enum law_to { LAW_TO_CAB = 1, LAW_TO_DIS = 2, LAW_TO_SCH = 4, LAW_TO_OFF = 8, LAW_TO_POL = 16, LAW_TO_PAR = 32 };

struct law_cite {
    const char *code;    /* "R617" */
    const char *article; /* "34" */
    const char *zh, *en; /* as printed on a card */
    const char *mark;    /* "primary", "secondary", "advice" */
};

/* One step of a graded rule: reached when the excess is at least min_pct per cent of the limit (integers, the boundary belongs above). */
struct law_grade {
    int min_pct;
    int points;
    enum law_severity severity;
    uint32_t to; /* enum law_to */
    const struct law_cite *cite;
    size_t cites;
};

/*
 * The named numbers of each rule, in the order of law_rule_text.param. Every one must be in the pack.
 */
enum law_ovl_1_param {
    LAW_OVL_1_CONFIDENCE_PCT, /* a count below this is doubtful */
    LAW_OVL_1_MOVING_KMH,     /* from this speed on a bus without door contacts has its doors shut */
    LAW_OVL_1_MOVING_FIX_MS,  /* how old that speed may be */
};
enum law_ovl_3_param { /* criminal filing lines: over by per cent or by persons, per size class */
                       LAW_OVL_3_LARGE_PCT,
                       LAW_OVL_3_LARGE_PERSONS,
                       LAW_OVL_3_MEDIUM_PCT,
                       LAW_OVL_3_MEDIUM_PERSONS,
                       LAW_OVL_3_SMALL_PCT,
                       LAW_OVL_3_SMALL_PERSONS,
};
enum law_spd_1_param {
    LAW_SPD_1_MARGIN_KMH, /* a breach is pending above the limit, and counts from limit + max(margin_kmh, margin_pct) on */
    LAW_SPD_1_MARGIN_PCT,
    LAW_SPD_1_CLEAR_KMH, /* over when this much below the limit */
    LAW_SPD_1_WARN_KMH,  /* the cab is warned this much below the limit */
    LAW_SPD_1_FAST_PCT,  /* from this excess on fast_on_ms is the hold time */
    LAW_SPD_1_FAST_ON_MS,
    LAW_SPD_1_HDOP_MAX, /* a fix with a higher hdop is not judged */
    LAW_SPD_1_MATCH_M,  /* a bus further than this (plus match_hdop_m times hdop) from its line is on no known segment */
    LAW_SPD_1_MATCH_HDOP_M,
    LAW_SPD_1_BOUNDARY_M,     /* this near to a segment's end the milder of both limits counts */
    LAW_SPD_1_CONFIDENCE_PCT, /* how sure a count must be to say that pupils are aboard */
};
enum law_spd_2_param {
    LAW_SPD_2_MARGIN_KMH,
    LAW_SPD_2_RAISED_KMH, /* severity and recipients of `raised` from this speed on */
};
enum law_spd_3_param { /* criminal filing lines: over by per cent and at least so fast */
                       LAW_SPD_3_EXPRESS_PCT,
                       LAW_SPD_3_EXPRESS_KMH,
                       LAW_SPD_3_OTHER_PCT,
                       LAW_SPD_3_OTHER_KMH,
                       LAW_SPD_3_SPECIAL_PCT,
                       LAW_SPD_3_SPECIAL_KMH,
};
enum law_rte_1_param {
    LAW_RTE_1_URBAN_M, /* corridor where the route does not state one */
    LAW_RTE_1_RURAL_M,
    LAW_RTE_1_HDOP_M,       /* added per unit of hdop */
    LAW_RTE_1_HDOP_UNKNOWN, /* taken for an hdop that was not reported */
    LAW_RTE_1_CLEAR_PCT,    /* back on the route inside this part of the corridor */
    LAW_RTE_1_TRAVEL_M,     /* driven since it left the corridor */
    LAW_RTE_1_RAISED_M,     /* `raised` from this distance on, held raised_on_ms */
    LAW_RTE_1_RAISED_ON_MS,
    LAW_RTE_1_RAISED_AFTER_MS, /* or off the route for so long */
    LAW_RTE_1_CONFIDENCE_PCT,
};
enum law_ovl_4_param { LAW_OVL_4_CONFIDENCE_PCT };
enum law_stp_2_param {
    LAW_STP_2_MOVING_KMH, /* faster than this the bus drives */
    LAW_STP_2_FAST_KMH,   /* faster than this fast_on_ms is the hold time */
    LAW_STP_2_FAST_ON_MS,
    LAW_STP_2_HDOP_MAX,
    LAW_STP_2_CONFIDENCE_PCT,
};
enum law_att_1_param { LAW_ATT_1_CONFIDENCE_PCT };
enum law_att_4_param { LAW_ATT_4_MOVING_KMH, LAW_ATT_4_CONFIDENCE_PCT };
enum law_lft_1_param {
    LAW_LFT_1_CONFIDENCE_PCT,
    LAW_LFT_1_EXCUSE_MS,    /* for so long after the end of a run pupils may be getting off: door open, attendant there */
    LAW_LFT_1_SCHOOL_MS,    /* the rule's recipients are told after this, on_ms being the siren's */
    LAW_LFT_1_EVERYBODY_MS, /* and those of `raised` after this */
};
enum law_drv_1_param { LAW_DRV_1_MOVING_KMH, LAW_DRV_1_MOVING_FIX_MS, LAW_DRV_1_MOVING_ON_MS };
enum law_fir_1_param { LAW_FIR_1_CABIN_C, LAW_FIR_1_HEAT_ON_MS, LAW_FIR_1_READING_MS /* how old a reading may be */ };
enum law_dev_2_param { LAW_DEV_2_MOVING_KMH, LAW_DEV_2_MOVING_FIX_MS };
enum law_lmp_1_param { LAW_LMP_1_CONFIDENCE_PCT, LAW_LMP_1_EMPTY_ON_MS /* lit without pupils for so long */ };
#define LAW_PARAMS_MAX 11

struct law_param { /* a named number of a rule, e.g. "margin_kmh" */
    const char *name;
    double value;
    const char *unit;
    const char *mark; /* as law_cite.mark */
};

/*
 * One statement about speed limits (rule SPD-1): it holds when every condition given holds, and the lowest of those that hold counts.
 * hazards, weather and visibility are one condition: any of them.
 */
struct law_limit {
    int kmh;
    bool unposted;        /* only where no sign is known */
    bool pupils;          /* only with pupils aboard */
    bool danger;          /* a place or weather of rule SPD-2 */
    bool special;         /* a place or weather of the lower criminal line of SPD-3 */
    uint32_t roads;       /* bits 1 << enum duty_road; 0 = any. Bit 0: road not known */
    uint32_t hazards;     /* enum duty_hazard */
    uint32_t weather;     /* bits 1 << enum duty_weather */
    int visibility_max_m; /* 0 = no condition */
    const struct law_cite *cite;
};

#define LAW_GRADES_MAX 4
#define LAW_LIMITS_MAX 32

/* One version of a rule. */
struct law_rule_text {
    const char *word; /* "OVL-1" */
    const char *title_zh, *title_en;
    const char *lead_zh, *lead_en; /* "lead, not evidence" note, NULL where none is due */
    int64_t from_ms, to_ms;        /* effective, half open */
    const char *checked_on;        /* "2026-11-22": when somebody last read the source */
    enum law_severity severity;    /* where no grade applies */
    uint32_t to;
    int64_t on_ms, on_single_ms, off_ms, cooldown_ms; /* hold times of the episode; on_single_ms: one source only */
    int64_t gap_ms;                    /* two inputs further apart than this are not one stretch of time; 0 = inputs hold until the next one */
    int64_t expire_ms;                 /* an open episode without any input for so long ends; 0 = never */
    enum law_severity raised_severity; /* the second step of RTE-1, SPD-2, STP-2, LFT-1, DRV-1, DEV-2; LAW_NONE elsewhere */
    uint32_t raised_to;
    const struct law_cite *cite;
    size_t cites;
    const struct law_grade *grade; /* by min_pct, rising; of SPD-1 at most LAW_GRADES_MAX, of OVL-1 and OVL-2 one */
    size_t grades;
    const struct law_grade *grade_b; /* the second table, for expressways, of SPD-1 */
    size_t grades_b;
    const struct law_param *param; /* in the order of the enums above */
    size_t params;
    const struct law_limit *limit; /* of SPD-1 */
    size_t limits;
};

struct law; /* one pack */

/*
 * law_read - parse and check a pack.
 *   json, n  the text (format `schoolward.law.1`, at most 1 MiB); not needed afterwards, the pack owns its texts
 *   file     only for messages
 *   returns  RC_OK; RC_INVALID / RC_RANGE / RC_UNSUPPORTED with "file: path: problem: hint" in why; RC_NO_MEMORY
 * Refused: a rule that is missing, a number or text missing, of the wrong kind or out of range, members not known, grades or points that fall,
 * versions of a rule that overlap in time, recipients, citations, roads, hazards not known, a text in one language only.
 */
enum rc law_read(const char *json, size_t n, const char *file, struct law **ret_law, char *why, size_t cap) RC_MUST_USE;
void law_free(struct law *l); /* NULL is fine */

const char *law_pack(const struct law *l);    /* "cn-national" */
const char *law_version(const struct law *l); /* "2026.11" */
const char *law_title(const struct law *l, bool zh);

/* The version of a rule in force at time_ms, NULL if the pack has none then. */
const struct law_rule_text *law_rule_at(const struct law *l, enum law_rule r, int64_t time_ms);
/* The versions of all rules in force at time_ms, by enum law_rule, NULL where none is: as law_rule_at(), found at once. Lives as long as the pack. */
const struct law_rule_text *const *law_rules_at(const struct law *l, int64_t time_ms);
const char *law_rule_word(enum law_rule r);
/* LAW_RULES if the word is not a rule. */
enum law_rule law_rule_of_word(const char *word);
const char *law_severity_word(enum law_severity s); /* "none" "info" "low" "medium" "high" "critical" */
/* Bits of enum law_to by name: "CAB" "DIS" "SCH" "OFF" "POL" "PAR"; NULL from bit 6 on. */
const char *law_to_word(unsigned bit);

#endif
