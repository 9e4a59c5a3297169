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

struct law_param { /* a named number of a rule, e.g. "margin_kmh" */
    const char *name;
    double value;
    const char *unit;
    const char *mark; /* as law_cite.mark */
};

struct law_rule_text {
    const char *word;               /* "OVL-1" */
    const char *title_zh, *title_en;
    const char *lead_zh, *lead_en;  /* "lead, not evidence" note, NULL where none is due */
    int64_t from_ms, to_ms;         /* effective, half open */
    const char *checked_on;         /* "2026-11-22": when somebody last read the source */
    enum law_severity severity;     /* where no grade applies */
    uint32_t to;
    int64_t on_ms, on_single_ms, off_ms, cooldown_ms; /* hold times of the episode; on_single_ms: one source only */
    const struct law_cite *cite;
    size_t cites;
    const struct law_grade *grade; /* by min_pct, rising; grade_b: the second table (expressways) */
    size_t grades;
    const struct law_grade *grade_b;
    size_t grades_b;
    const struct law_param *param;
    size_t params;
};

struct law; /* one pack */

/*
 * law_read - parse and check a pack.
 *   json, n  the text
 *   file     only for messages
 *   returns  RC_OK; RC_INVALID / RC_RANGE / RC_UNSUPPORTED with "file: path: problem: hint" in why; RC_NO_MEMORY
 */
enum rc law_read(const char *json, size_t n, const char *file, struct law **ret_law, char *why, size_t cap) RC_MUST_USE;
void law_free(struct law *l);

const char *law_pack(const struct law *l);    /* "cn-national" */
const char *law_version(const struct law *l); /* "2026.11" */

/* The version of a rule in force at time_ms, NULL if the pack has none then. */
const struct law_rule_text *law_rule_at(const struct law *l, enum law_rule r, int64_t time_ms);
const char *law_rule_word(enum law_rule r);
/* LAW_RULES if the word is not a rule. */
enum law_rule law_rule_of_word(const char *word);
const char *law_severity_word(enum law_severity s); /* "none" "info" "low" "medium" "high" "critical" */

#endif
