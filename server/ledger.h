/*
 * ledger - findings and what people did about them, relational and small (SQLite; later PostgreSQL): must not lose a row. Findings are upserted by
 * their id, so a replay of the journal changes nothing; acknowledgements are committed before they are answered. Own thread for writes.
 */
#ifndef SCHOOLWARD_LEDGER_H
#define SCHOOLWARD_LEDGER_H

#include <uv.h>

#include "../core/rules.h"

struct ledger;

#define LEDGER_NOTE_MAX 500
struct ledger_finding {
    struct rules_finding f;        /* newest form; f.change is the last change */
    char vehicle[DUTY_ID_MAX + 1]; /* id */
    char plate[DUTY_PLATE_MAX + 1];
    char route[DUTY_ID_MAX + 1];   /* "" = none */
    char law_pack[32], law_version[32];
    bool late;
    char ack_by[64]; /* "" = not acknowledged */
    int64_t ack_ms;
    char ack_note[LEDGER_NOTE_MAX + 1];
};

/*
 * ledger_open - open or make the database at path, start the writer thread.
 *   returns  RC_OK; RC_UNSUPPORTED made by a newer program; RC_CORRUPT, RC_IO, RC_FULL, RC_NO_MEMORY; the reason in why
 */
enum rc ledger_open(uv_loop_t *loop, const char *path, struct ledger **ret_l, char *why, size_t cap) RC_MUST_USE;
void ledger_close(struct ledger *l, void (*on_closed)(void *arg), void *arg); /* writes what is queued */

/*
 * Queue an upsert by x->f.id; never blocks. A form older than the stored one (opened after closed, as a replay gives it) changes nothing; an
 * acknowledgement is kept in a table of its own that no upsert touches. Warnings for the cab are ignored.
 */
void ledger_put_finding(struct ledger *l, const struct ledger_finding *x);
/*
 * All queued upserts so far are on disk: then(arg) on the loop. Used before a checkpoint that lets the journal's replay skip them. Never told once an
 * upsert had to be dropped (more than LEDGER_QUEUE_MAX waiting for a sick disk): the replay after the next start brings it back.
 */
#define LEDGER_QUEUE_MAX 65536
void ledger_flush(struct ledger *l, void (*then)(void *arg), void *arg);

/* done on the loop after the commit: RC_OK and the row (the first acknowledgement stays), RC_NOT_FOUND, RC_IO. */
typedef void ledger_done_fn(void *arg, enum rc rc, const struct ledger_finding *x);
void ledger_acknowledge(struct ledger *l, uint64_t id, const char *by, int64_t at_ms, const char *note, ledger_done_fn *done, void *arg);

struct ledger_query {
    int state;             /* 0 all, 1 open, 2 closed */
    uint32_t rules;        /* bit per enum law_rule, 0 = all */
    uint8_t severity;      /* at least */
    uint32_t to;           /* addressed to any of these (enum law_to), 0 = all */
    const char *vehicle;   /* id or NULL */
    int64_t from_ms, to_ms; /* opened_ms; 0 = open ended */
    int64_t before_ms; uint64_t before_id; /* cursor: newest first, strictly before this one; 0 = start */
    uint64_t id;           /* exactly this one, 0 = any */
    size_t limit;          /* 1..500 */
};
/* Newest first; each on the calling thread (any; blocks, milliseconds). RC_OK, RC_IO. */
enum rc ledger_find(struct ledger *l, const struct ledger_query *q, void (*each)(void *arg, const struct ledger_finding *x), void *arg) RC_MUST_USE;

#endif
