#include "law.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jdoc.h"

#define PACK_MAX      ((size_t)1 << 20)
#define CITATIONS_MAX 256
#define RULES_MAX     128 /* versions of all rules together */
#define CITES_MAX     16
#define TEXT_MAX      400
#define HOLD_MAX_MS   86400000

static const char *const rule_words[] = {"OVL-1", "OVL-2", "OVL-3", "OVL-D", "SPD-1", "SPD-2", "SPD-3", "RTE-1", "SOS-1", "OVL-4",
                                         "STP-2", "ATT-1", "ATT-4", "LFT-1", "LFT-2", "DRV-1", "FIR-1", "DEV-2", "LMP-1", NULL}; /* enum law_rule */
static const char *const severity_words[] = {"none", "info", "low", "medium", "high", "critical", NULL}; /* enum law_severity */
static const char *const to_words[] = {"CAB", "DIS", "SCH", "OFF", "POL", "PAR", NULL};                  /* bits of enum law_to */
static const char *const mark_words[] = {"primary", "secondary", "advice", NULL};

/* What each rule must state, in the order of the enums in law.h. */
struct number {
    const char *name, *unit;
    double min, max;
};
static const struct number ovl_1[] = {{"confidence_pct", "%", 1, 100}, {"moving_kmh", "km/h", 1, 60}, {"moving_fix_ms", "ms", 1000, 600000}};
static const struct number ovl_3[] = {{"large_pct", "%", 1, 1000},  {"large_persons", "persons", 1, 200},
                                      {"medium_pct", "%", 1, 1000}, {"medium_persons", "persons", 1, 200},
                                      {"small_pct", "%", 1, 1000},  {"small_persons", "persons", 1, 200}};
static const struct number spd_1[] = {{"margin_kmh", "km/h", 0, 30}, {"margin_pct", "%", 0, 50},     {"clear_kmh", "km/h", 0, 30},
                                      {"warn_kmh", "km/h", 0, 30},   {"fast_pct", "%", 1, 1000},     {"fast_on_ms", "ms", 1000, HOLD_MAX_MS},
                                      {"hdop_max", "", 1, 99},       {"match_m", "m", 1, 1000},      {"match_hdop_m", "m", 0, 100},
                                      {"boundary_m", "m", 0, 500},   {"confidence_pct", "%", 1, 100}};
static const struct number spd_2[] = {{"margin_kmh", "km/h", 0, 30}, {"raised_kmh", "km/h", 1, 200}};
static const struct number spd_3[] = {{"express_pct", "%", 1, 1000}, {"express_kmh", "km/h", 1, 300}, {"other_pct", "%", 1, 1000},
                                      {"other_kmh", "km/h", 1, 300}, {"special_pct", "%", 1, 1000},   {"special_kmh", "km/h", 1, 300}};
static const struct number rte_1[] = {{"urban_m", "m", 10, 5000},
                                      {"rural_m", "m", 10, 5000},
                                      {"hdop_m", "m", 0, 100},
                                      {"hdop_unknown", "", 0, 99},
                                      {"clear_pct", "%", 1, 100},
                                      {"travel_m", "m", 0, 10000},
                                      {"raised_m", "m", 10, 20000},
                                      {"raised_on_ms", "ms", 0, HOLD_MAX_MS},
                                      {"raised_after_ms", "ms", 0, HOLD_MAX_MS},
                                      {"confidence_pct", "%", 1, 100}};

static const struct number confidence[] = {{"confidence_pct", "%", 1, 100}};
static const struct number stp_2[] = {{"moving_kmh", "km/h", 1, 60},
                                      {"fast_kmh", "km/h", 1, 120},
                                      {"fast_on_ms", "ms", 0, HOLD_MAX_MS},
                                      {"hdop_max", "", 1, 99},
                                      {"confidence_pct", "%", 1, 100}};
static const struct number att_4[] = {{"moving_kmh", "km/h", 1, 60}, {"confidence_pct", "%", 1, 100}};
static const struct number lft_1[] = {{"confidence_pct", "%", 1, 100},
                                      {"excuse_ms", "ms", 0, HOLD_MAX_MS},
                                      {"school_ms", "ms", 1000, HOLD_MAX_MS},
                                      {"everybody_ms", "ms", 1000, HOLD_MAX_MS}};
static const struct number drv_1[] = {{"moving_kmh", "km/h", 1, 60}, {"moving_fix_ms", "ms", 1000, 600000}, {"moving_on_ms", "ms", 0, HOLD_MAX_MS}};
static const struct number fir_1[] = {{"cabin_c", "C", 20, 90}, {"heat_on_ms", "ms", 0, HOLD_MAX_MS}, {"reading_ms", "ms", 1000, 3600000}};
static const struct number dev_2[] = {{"moving_kmh", "km/h", 1, 60}, {"moving_fix_ms", "ms", 1000, 600000}};
static const struct number lmp_1[] = {{"confidence_pct", "%", 1, 100}, {"empty_on_ms", "ms", 0, HOLD_MAX_MS}};

enum { GRADES = 1, GRADES_EXPRESS = 2, LIMITS = 4, RAISED = 8 };
static const struct shape {
    const struct number *number;
    size_t numbers;
    unsigned has;
} shapes[LAW_RULES] = {
#define NUMBERS(a) (a), sizeof(a) / sizeof *(a)
    [LAW_OVL_1] = {NUMBERS(ovl_1), GRADES},
    [LAW_OVL_2] = {NULL, 0, GRADES},
    [LAW_OVL_3] = {NUMBERS(ovl_3), 0},
    [LAW_OVL_DOUBT] = {NULL, 0, 0},
    [LAW_SPD_1] = {NUMBERS(spd_1), GRADES | GRADES_EXPRESS | LIMITS},
    [LAW_SPD_2] = {NUMBERS(spd_2), RAISED},
    [LAW_SPD_3] = {NUMBERS(spd_3), 0},
    [LAW_RTE_1] = {NUMBERS(rte_1), RAISED},
    [LAW_SOS_1] = {NULL, 0, 0},
    [LAW_OVL_4] = {NUMBERS(confidence), 0},
    [LAW_STP_2] = {NUMBERS(stp_2), RAISED},
    [LAW_ATT_1] = {NUMBERS(confidence), 0},
    [LAW_ATT_4] = {NUMBERS(att_4), 0},
    [LAW_LFT_1] = {NUMBERS(lft_1), RAISED},
    [LAW_LFT_2] = {NULL, 0, 0},
    [LAW_DRV_1] = {NUMBERS(drv_1), RAISED},
    [LAW_FIR_1] = {NUMBERS(fir_1), 0},
    [LAW_DEV_2] = {NUMBERS(dev_2), RAISED},
    [LAW_LMP_1] = {NUMBERS(lmp_1), 0},
};

/* Everything a pack allocates hangs on one chain. */
struct block {
    struct block *next;
    union {
        double d;
        int64_t i;
        void *p;
    } memory[];
};

struct law {
    json_t *root; /* the texts live in here */
    struct block *blocks;
    const char *pack, *version, *title_zh, *title_en;
    int64_t utc_offset_ms;
    struct {
        struct law_rule_text *version; /* by from_ms, rising */
        size_t n;
    } rule[LAW_RULES];
    struct era *era; /* by from_ms, rising; the first one holds since ever */
    size_t eras;
};

struct era { /* a time in which no rule begins or ends */
    int64_t from_ms;
    const struct law_rule_text *text[LAW_RULES];
};

struct reader {
    struct jdoc *d;
    struct law *law;
    struct jdoc_at citations;
};

static void *room(struct reader *r, size_t n, size_t size)
{
    struct block *b = calloc(1, sizeof *b + n * size);
    if (b == NULL) {
        jdoc_no_memory(r->d);
        return NULL;
    }
    b->next = r->law->blocks;
    r->law->blocks = b;
    return b->memory;
}

static int64_t days_of(int y, int m, int d) /* since 1970-01-01, proleptic Gregorian */
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    int past = y - 1;
    return 365LL * past + past / 4 - past / 100 + past / 400 + before[m - 1] + (leap && m > 2 ? 1 : 0) + d - 1 - 719162;
}

/* "YYYY-MM-DD" -> its midnight in the pack's time zone. */
static bool read_date(struct reader *r, const struct jdoc_at *at, const char *key, bool must, const char **ret_text, int64_t *ret_ms)
{
    static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *t = NULL;
    if (!jdoc_string(r->d, at, key, must, 10, 10, &t))
        return false;
    if (t == NULL)
        return true;
    bool ok = t[4] == '-' && t[7] == '-';
    for (int i = 0; i < 10; i++)
        if (i != 4 && i != 7 && (t[i] < '0' || t[i] > '9'))
            ok = false;
    int y = ok ? (t[0] - '0') * 1000 + (t[1] - '0') * 100 + (t[2] - '0') * 10 + t[3] - '0' : 0;
    int m = ok ? (t[5] - '0') * 10 + t[6] - '0' : 0, d = ok ? (t[8] - '0') * 10 + t[9] - '0' : 0;
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    if (y < 1900 || y > 2199 || m < 1 || m > 12 || d < 1 || d > length[m - 1] + (m == 2 && leap ? 1 : 0)) {
        struct jdoc_at member = {at, key, 0, NULL};
        return jdoc_fail(r->d, &member, RC_INVALID, "is no date: must be YYYY-MM-DD");
    }
    if (ret_text != NULL)
        *ret_text = t;
    if (ret_ms != NULL)
        *ret_ms = days_of(y, m, d) * 86400000 - r->law->utc_offset_ms;
    return true;
}

/* A list of words as bits 1 << (index + shift). */
static bool read_bits(struct reader *r, const struct jdoc_at *at, const char *key, bool must, const char *const *words, int shift, uint32_t *out)
{
    struct jdoc_at list;
    size_t n;
    jdoc_opt(at, key, &list);
    if (list.value == NULL && !must)
        return true;
    if (!jdoc_get(r->d, at, key, &list) || !jdoc_list(r->d, &list, 1, 16, &n))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct jdoc_at item;
        int word;
        jdoc_item(&list, i, &item);
        if (!jdoc_word_here(r->d, &item, words, &word))
            return false;
        uint32_t bit = 1U << (word + shift);
        if ((*out & bit) != 0)
            return jdoc_fail(r->d, &item, RC_INVALID, "is given twice: once is enough");
        *out |= bit;
    }
    return true;
}

static bool read_severity(struct reader *r, const struct jdoc_at *at, enum law_severity *out)
{
    int s = LAW_NONE;
    if (!jdoc_word(r->d, at, "severity", true, severity_words, &s))
        return false;
    if (s == LAW_NONE) {
        struct jdoc_at member = {at, "severity", 0, NULL};
        return jdoc_fail(r->d, &member, RC_RANGE, "is none: a finding has at least info");
    }
    *out = (enum law_severity)s;
    return true;
}

/* ---- citations ---- */

static bool read_mark(struct reader *r, const struct jdoc_at *at, const char **out)
{
    int mark = 0;
    if (!jdoc_word(r->d, at, "mark", true, mark_words, &mark))
        return false;
    *out = mark_words[mark];
    return true;
}

static bool read_citation(struct reader *r, const struct jdoc_at *at, struct law_cite *c)
{
    static const char *const known[] = {"code", "article", "zh", "en", "mark", NULL};
    return jdoc_members(r->d, at, known) && jdoc_string(r->d, at, "code", true, 1, 31, &c->code) &&
           jdoc_string(r->d, at, "article", true, 1, 31, &c->article) && jdoc_string(r->d, at, "zh", true, 1, TEXT_MAX, &c->zh) &&
           jdoc_string(r->d, at, "en", true, 1, TEXT_MAX, &c->en) && read_mark(r, at, &c->mark);
}

/* Every citation is checked, also one that no rule uses. */
static bool check_citations(struct reader *r, const struct jdoc_at *root)
{
    if (!jdoc_get(r->d, root, "citations", &r->citations))
        return false;
    if (!json_is_object(r->citations.value) || json_object_size(r->citations.value) > CITATIONS_MAX)
        return jdoc_fail(r->d, &r->citations, RC_INVALID, "must be an object of at most %d citations by name", CITATIONS_MAX);
    const char *key;
    json_t *value;
    json_object_foreach(r->citations.value, key, value)
    {
        struct jdoc_at item = {&r->citations, key, 0, value};
        struct law_cite c;
        if (!read_citation(r, &item, &c))
            return false;
    }
    return true;
}

static bool find_citation(struct reader *r, const struct jdoc_at *at, struct law_cite *c)
{
    const char *name;
    if (!jdoc_string_here(r->d, at, 1, 63, &name))
        return false;
    struct jdoc_at found;
    jdoc_opt(&r->citations, name, &found);
    if (found.value == NULL)
        return jdoc_fail(r->d, at, RC_INVALID, "\"%.40s\" is not among the citations: add it there", name);
    return read_citation(r, &found, c);
}

static bool read_cites(struct reader *r, const struct jdoc_at *at, const struct law_cite **ret_cite, size_t *ret_n)
{
    struct jdoc_at list;
    size_t n;
    if (!jdoc_get(r->d, at, "cite", &list) || !jdoc_list(r->d, &list, 1, CITES_MAX, &n))
        return false;
    struct law_cite *c = room(r, n, sizeof *c);
    for (size_t i = 0; c != NULL && i < n; i++) {
        struct jdoc_at item;
        jdoc_item(&list, i, &item);
        if (!find_citation(r, &item, &c[i]))
            return false;
    }
    *ret_cite = c;
    *ret_n = n;
    return c != NULL;
}

/* ---- the parts of a rule ---- */

static bool read_grades(struct reader *r, const struct jdoc_at *at, const char *key, size_t most, const struct law_grade **ret_grade, size_t *ret_n)
{
    static const char *const known[] = {"min_pct", "points", "severity", "recipients", "cite", NULL};
    struct jdoc_at list;
    size_t n;
    if (!jdoc_get(r->d, at, key, &list) || !jdoc_list(r->d, &list, 1, most, &n))
        return false;
    struct law_grade *g = room(r, n, sizeof *g);
    for (size_t i = 0; g != NULL && i < n; i++) {
        struct jdoc_at item;
        int64_t pct = 0, points = 0;
        jdoc_item(&list, i, &item);
        if (!jdoc_members(r->d, &item, known) || !jdoc_int(r->d, &item, "min_pct", true, 0, 1000, &pct) ||
            !jdoc_int(r->d, &item, "points", true, 0, 12, &points) || !read_severity(r, &item, &g[i].severity) ||
            !read_bits(r, &item, "recipients", true, to_words, 0, &g[i].to) || !read_cites(r, &item, &g[i].cite, &g[i].cites))
            return false;
        g[i].min_pct = (int)pct;
        g[i].points = (int)points;
        if (i > 0 && g[i].min_pct <= g[i - 1].min_pct)
            return jdoc_fail(r->d, &item, RC_INVALID, "min_pct %d does not rise above %d: list grades from the mildest up", g[i].min_pct,
                             g[i - 1].min_pct);
        if (i > 0 && (g[i].points < g[i - 1].points || g[i].severity < g[i - 1].severity))
            return jdoc_fail(r->d, &item, RC_INVALID, "points or severity fall below the grade before: a worse breach cannot count less");
    }
    *ret_grade = g;
    *ret_n = n;
    return g != NULL;
}

static bool read_params(struct reader *r, const struct jdoc_at *at, const struct shape *shape, struct law_rule_text *t)
{
    static const char *const members[] = {"value", "unit", "mark", NULL};
    if (shape->numbers == 0)
        return true;
    struct jdoc_at params;
    const char *known[LAW_PARAMS_MAX + 1] = {NULL};
    for (size_t i = 0; i < shape->numbers; i++)
        known[i] = shape->number[i].name;
    struct law_param *p = room(r, shape->numbers, sizeof *p);
    if (p == NULL || !jdoc_get(r->d, at, "params", &params) || !jdoc_members(r->d, &params, known))
        return false;
    for (size_t i = 0; i < shape->numbers; i++) {
        const struct number *want = &shape->number[i];
        struct jdoc_at one;
        if (!jdoc_get(r->d, &params, want->name, &one) || !jdoc_members(r->d, &one, members) ||
            !jdoc_real(r->d, &one, "value", true, want->min, want->max, &p[i].value) || !jdoc_string(r->d, &one, "unit", true, 0, 15, &p[i].unit) ||
            !read_mark(r, &one, &p[i].mark))
            return false;
        if (strcmp(p[i].unit, want->unit) != 0) {
            struct jdoc_at unit = {&one, "unit", 0, NULL};
            return jdoc_fail(r->d, &unit, RC_INVALID, "is \"%s\": this number is in \"%s\"", p[i].unit, want->unit);
        }
        p[i].name = want->name;
    }
    t->param = p;
    t->params = shape->numbers;
    return true;
}

static bool read_limit(struct reader *r, const struct jdoc_at *at, struct law_limit *l)
{
    static const char *const known[] = {"kmh",     "unposted", "pupils",           "danger", "special", "roads",
                                        "hazards", "weather",  "visibility_max_m", "cite",   NULL};
    int64_t kmh = 0, visibility = 0;
    struct jdoc_at cite;
    if (!jdoc_members(r->d, at, known) || !jdoc_int(r->d, at, "kmh", true, 5, 130, &kmh) ||
        !jdoc_int(r->d, at, "visibility_max_m", false, 1, 10000, &visibility))
        return false;
    const struct {
        const char *key;
        bool *out;
    } flag[] = {{"unposted", &l->unposted}, {"pupils", &l->pupils}, {"danger", &l->danger}, {"special", &l->special}};
    for (size_t i = 0; i < sizeof flag / sizeof *flag; i++) {
        struct jdoc_at m;
        jdoc_opt(at, flag[i].key, &m);
        if (m.value != NULL && !jdoc_bool(r->d, at, flag[i].key, flag[i].out))
            return false;
    }
    l->kmh = (int)kmh;
    l->visibility_max_m = (int)visibility;
    struct law_cite *c = room(r, 1, sizeof *c);
    l->cite = c;
    return c != NULL && read_bits(r, at, "roads", false, duty_road_words, 0, &l->roads) &&
           read_bits(r, at, "hazards", false, duty_hazard_words, 0, &l->hazards) &&
           read_bits(r, at, "weather", false, duty_weather_words, 1, &l->weather) && jdoc_get(r->d, at, "cite", &cite) && find_citation(r, &cite, c);
}

static bool read_limits(struct reader *r, const struct jdoc_at *at, struct law_rule_text *t)
{
    struct jdoc_at list;
    size_t n;
    if (!jdoc_get(r->d, at, "limits", &list) || !jdoc_list(r->d, &list, 1, LAW_LIMITS_MAX, &n))
        return false;
    struct law_limit *l = room(r, n, sizeof *l);
    for (size_t i = 0; l != NULL && i < n; i++) {
        struct jdoc_at item;
        jdoc_item(&list, i, &item);
        if (!read_limit(r, &item, &l[i]))
            return false;
    }
    t->limit = l;
    t->limits = n;
    return l != NULL;
}

static bool read_hold(struct reader *r, const struct jdoc_at *at, struct law_rule_text *t)
{
    static const char *const known[] = {"on_ms", "on_single_ms", "off_ms", "cooldown_ms", "gap_ms", "expire_ms", "mark", NULL};
    struct jdoc_at hold;
    const char *mark;
    if (!jdoc_get(r->d, at, "hold", &hold) || !jdoc_members(r->d, &hold, known) || !jdoc_int(r->d, &hold, "on_ms", true, 0, HOLD_MAX_MS, &t->on_ms))
        return false;
    t->on_single_ms = t->on_ms;
    return jdoc_int(r->d, &hold, "on_single_ms", false, t->on_ms, HOLD_MAX_MS, &t->on_single_ms) &&
           jdoc_int(r->d, &hold, "off_ms", true, 0, HOLD_MAX_MS, &t->off_ms) &&
           jdoc_int(r->d, &hold, "cooldown_ms", true, 0, HOLD_MAX_MS, &t->cooldown_ms) &&
           jdoc_int(r->d, &hold, "gap_ms", false, 1, HOLD_MAX_MS, &t->gap_ms) &&
           jdoc_int(r->d, &hold, "expire_ms", false, 1, HOLD_MAX_MS, &t->expire_ms) && read_mark(r, &hold, &mark);
}

static bool read_raised(struct reader *r, const struct jdoc_at *at, struct law_rule_text *t)
{
    static const char *const known[] = {"severity", "recipients", NULL};
    struct jdoc_at raised;
    if (!jdoc_get(r->d, at, "raised", &raised) || !jdoc_members(r->d, &raised, known) || !read_severity(r, &raised, &t->raised_severity) ||
        !read_bits(r, &raised, "recipients", true, to_words, 0, &t->raised_to))
        return false;
    if (t->raised_severity < t->severity)
        return jdoc_fail(r->d, &raised, RC_INVALID, "severity falls below the rule's own: raised means worse");
    return true;
}

static bool read_texts(struct reader *r, const struct jdoc_at *at, struct law_rule_text *t)
{
    if (!jdoc_string(r->d, at, "title_zh", true, 1, TEXT_MAX, &t->title_zh) || !jdoc_string(r->d, at, "title_en", true, 1, TEXT_MAX, &t->title_en) ||
        !jdoc_string(r->d, at, "lead_zh", false, 1, TEXT_MAX, &t->lead_zh) || !jdoc_string(r->d, at, "lead_en", false, 1, TEXT_MAX, &t->lead_en))
        return false;
    if ((t->lead_zh == NULL) != (t->lead_en == NULL))
        return jdoc_fail(r->d, at, RC_INVALID, "has lead_%s only: give the note in both languages", t->lead_zh != NULL ? "zh" : "en");
    return true;
}

/* Members that this rule knows: common ones first, then what its shape has. */
static bool check_members(struct reader *r, const struct jdoc_at *at, const struct shape *shape)
{
    const char *known[24] = {"word",         "title_zh",   "title_en", "lead_zh",    "lead_en", "effective_from",
                             "effective_to", "checked_on", "severity", "recipients", "hold",    "cite"};
    size_t n = 12;
    if (shape->numbers > 0)
        known[n++] = "params";
    if ((shape->has & GRADES) != 0)
        known[n++] = "grades";
    if ((shape->has & GRADES_EXPRESS) != 0)
        known[n++] = "grades_express";
    if ((shape->has & LIMITS) != 0)
        known[n++] = "limits";
    if ((shape->has & RAISED) != 0)
        known[n++] = "raised";
    return jdoc_members(r->d, at, known);
}

static bool read_rule(struct reader *r, const struct jdoc_at *at, enum law_rule rule, struct law_rule_text *t)
{
    const struct shape *shape = &shapes[rule];
    t->word = rule_words[rule];
    t->to_ms = INT64_MAX;
    if (!check_members(r, at, shape) || !read_texts(r, at, t) || !read_date(r, at, "effective_from", true, NULL, &t->from_ms) ||
        !read_date(r, at, "effective_to", false, NULL, &t->to_ms) || !read_date(r, at, "checked_on", true, &t->checked_on, NULL) ||
        !read_severity(r, at, &t->severity) || !read_bits(r, at, "recipients", true, to_words, 0, &t->to) || !read_hold(r, at, t) ||
        !read_cites(r, at, &t->cite, &t->cites) || !read_params(r, at, shape, t))
        return false;
    if (t->from_ms >= t->to_ms)
        return jdoc_fail(r->d, at, RC_RANGE, "effective_from is not before effective_to: a version must hold some time");
    return ((shape->has & GRADES) == 0 || read_grades(r, at, "grades", rule == LAW_SPD_1 ? LAW_GRADES_MAX : 1, &t->grade, &t->grades)) &&
           ((shape->has & GRADES_EXPRESS) == 0 || read_grades(r, at, "grades_express", LAW_GRADES_MAX, &t->grade_b, &t->grades_b)) &&
           ((shape->has & LIMITS) == 0 || read_limits(r, at, t)) && ((shape->has & RAISED) == 0 || read_raised(r, at, t));
}

/* ---- the pack ---- */

static bool insert_version(struct reader *r, const struct jdoc_at *at, enum law_rule rule, const struct law_rule_text *t)
{
    struct law_rule_text *v = r->law->rule[rule].version;
    size_t n = r->law->rule[rule].n, i = n;
    for (; i > 0 && v[i - 1].from_ms > t->from_ms; i--)
        v[i] = v[i - 1];
    v[i] = *t;
    r->law->rule[rule].n = n + 1;
    if ((i > 0 && v[i - 1].to_ms > t->from_ms) || (i < n && t->to_ms > v[i + 1].from_ms))
        return jdoc_fail(r->d, at, RC_INVALID, "%s is effective twice at one time: end one version where the next begins", t->word);
    return true;
}

static bool read_rules(struct reader *r, const struct jdoc_at *root)
{
    struct jdoc_at list;
    size_t n, count[LAW_RULES] = {0};
    if (!jdoc_get(r->d, root, "rules", &list) || !jdoc_list(r->d, &list, 1, RULES_MAX, &n))
        return false;
    int word = 0;
    for (size_t i = 0; i < n; i++) {
        struct jdoc_at item;
        jdoc_item(&list, i, &item);
        if (!json_is_object(item.value))
            return jdoc_fail(r->d, &item, RC_INVALID, "must be an object");
        if (!jdoc_word(r->d, &item, "word", true, rule_words, &word))
            return false;
        count[word]++;
    }
    for (word = 0; word < LAW_RULES; word++) {
        if (count[word] == 0)
            return jdoc_fail(r->d, &list, RC_INVALID, "%s is missing: every rule of this program must be in the pack", rule_words[word]);
        r->law->rule[word].version = room(r, count[word], sizeof(struct law_rule_text));
        if (r->law->rule[word].version == NULL)
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct jdoc_at item;
        struct law_rule_text t = {0};
        jdoc_item(&list, i, &item);
        if (!jdoc_word(r->d, &item, "word", true, rule_words, &word) || !read_rule(r, &item, (enum law_rule)word, &t) ||
            !insert_version(r, &item, (enum law_rule)word, &t))
            return false;
    }
    return true;
}

static void insert_era(struct law *l, int64_t from_ms)
{
    size_t i = l->eras;
    while (i > 0 && l->era[i - 1].from_ms >= from_ms)
        i--;
    if (i < l->eras && l->era[i].from_ms == from_ms)
        return;
    memmove(&l->era[i + 1], &l->era[i], (l->eras++ - i) * sizeof l->era[0]);
    l->era[i].from_ms = from_ms;
}

/* Every event is judged by the rules of its time: so they lie ready for each time. */
static bool make_eras(struct reader *r)
{
    struct law *l = r->law;
    size_t n = 1;
    for (size_t i = 0; i < LAW_RULES; i++)
        n += 2 * l->rule[i].n;
    l->era = room(r, n, sizeof *l->era);
    if (l->era == NULL)
        return false;
    insert_era(l, INT64_MIN);
    for (size_t i = 0; i < LAW_RULES; i++)
        for (size_t k = 0; k < l->rule[i].n; k++) {
            insert_era(l, l->rule[i].version[k].from_ms);
            insert_era(l, l->rule[i].version[k].to_ms);
        }
    for (size_t i = 0; i < l->eras; i++)
        for (int rule = 0; rule < LAW_RULES; rule++)
            l->era[i].text[rule] = law_rule_at(l, (enum law_rule)rule, l->era[i].from_ms);
    return true;
}

static bool read_pack(struct reader *r, const struct jdoc_at *root)
{
    static const char *const known[] = {"format", "pack", "version", "title_zh", "title_en", "utc_offset_min", "citations", "rules", NULL};
    struct law *l = r->law;
    const char *format;
    int64_t offset_min = 0;
    if (!jdoc_members(r->d, root, known) || !jdoc_string(r->d, root, "format", true, 1, 63, &format))
        return false;
    if (strcmp(format, "schoolward.law.1") != 0) {
        struct jdoc_at at = {root, "format", 0, NULL};
        return jdoc_fail(r->d, &at, RC_UNSUPPORTED, "is \"%s\": this program reads schoolward.law.1", format);
    }
    if (!jdoc_string(r->d, root, "pack", true, 1, 31, &l->pack) || !jdoc_string(r->d, root, "version", true, 1, 31, &l->version) ||
        !jdoc_string(r->d, root, "title_zh", true, 1, TEXT_MAX, &l->title_zh) ||
        !jdoc_string(r->d, root, "title_en", true, 1, TEXT_MAX, &l->title_en) ||
        !jdoc_int(r->d, root, "utc_offset_min", true, -720, 840, &offset_min))
        return false;
    l->utc_offset_ms = offset_min * 60000;
    return check_citations(r, root) && read_rules(r, root) && make_eras(r);
}

enum rc law_read(const char *json, size_t n, const char *file, struct law **ret_law, char *why, size_t cap)
{
    struct jdoc d = {file, why, cap, RC_OK};
    json_t *root = jdoc_parse(&d, json, n, PACK_MAX);
    if (root == NULL)
        return d.rc;
    struct law *l = calloc(1, sizeof *l);
    if (l == NULL) {
        jdoc_no_memory(&d);
        json_decref(root);
        return d.rc;
    }
    l->root = root;
    struct reader r = {&d, l, {0}};
    struct jdoc_at at = {NULL, NULL, 0, root};
    if (read_pack(&r, &at))
        *ret_law = l;
    else
        law_free(l);
    return d.rc;
}

void law_free(struct law *l)
{
    if (l == NULL)
        return;
    for (struct block *b = l->blocks, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    json_decref(l->root);
    free(l);
}

const char *law_pack(const struct law *l)
{
    return l->pack;
}

const char *law_version(const struct law *l)
{
    return l->version;
}

const char *law_title(const struct law *l, bool zh)
{
    return zh ? l->title_zh : l->title_en;
}

const struct law_rule_text *law_rule_at(const struct law *l, enum law_rule r, int64_t time_ms)
{
    if ((unsigned)r >= LAW_RULES)
        return NULL;
    for (size_t i = l->rule[r].n; i > 0; i--) { /* newest first: it is the usual answer */
        const struct law_rule_text *t = &l->rule[r].version[i - 1];
        if (time_ms >= t->from_ms)
            return time_ms < t->to_ms ? t : NULL;
    }
    return NULL;
}

const struct law_rule_text *const *law_rules_at(const struct law *l, int64_t time_ms)
{
    size_t i = l->eras - 1; /* newest first: it is the usual answer */
    while (i > 0 && time_ms < l->era[i].from_ms)
        i--;
    return l->era[i].text;
}

const char *law_rule_word(enum law_rule r)
{
    return (unsigned)r < LAW_RULES ? rule_words[r] : "";
}

enum law_rule law_rule_of_word(const char *word)
{
    int r = 0;
    while (r < LAW_RULES && strcmp(rule_words[r], word) != 0)
        r++;
    return (enum law_rule)r;
}

const char *law_severity_word(enum law_severity s)
{
    return (unsigned)s <= LAW_CRITICAL ? severity_words[s] : severity_words[0];
}

const char *law_to_word(unsigned bit)
{
    return bit < 6 ? to_words[bit] : NULL;
}
