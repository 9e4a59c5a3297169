/*
 * journal_fold - condenses a day file: the groups of five minutes of arrival become one chunk per gateway (and one for what came late), in the wire's
 * delta coding. Works in slices of gateways, each a transaction of its own, so that commits never wait long. Groups stay until their day is
 * JOURNAL_FOLD_KEEP_DAYS old and wholly folded. The writer thread calls it; nobody else writes.
 */
#ifndef SCHOOLWARD_JOURNAL_FOLD_H
#define SCHOOLWARD_JOURNAL_FOLD_H

#include <sqlite3.h>

#include "../core/base/log.h"
#include "../core/rc.h"

#include <stddef.h>

#define JOURNAL_FOLD_WINDOW_MS 300000
#define JOURNAL_FOLD_GRACE_MS 30000 /* a window is folded this long after it ended */
#define JOURNAL_FOLD_KEEP_DAYS 7    /* groups of a day this old are given up; its chunks stay */

struct journal_fold { /* all-zero is a valid start */
    struct log_gate gate;
    int32_t tidied_day;   /* current day when the older files were looked through */
    int32_t old_day;      /* an older day being folded, 0 = none */
    sqlite3 *old;         /* its connection */
    bool active;          /* a window is being folded */
    int64_t folded, upto; /* groups folded before it, its last group */
    int64_t next;         /* first gateway number of the next slice */
    int64_t width;        /* gateways in a slice */
};

/*
 * journal_fold_step - one slice.
 *   db, day  the open day file
 *   returns  RC_OK something was done, call again; RC_AGAIN nothing to do now; otherwise as SQLite says, the reason in why
 */
enum rc journal_fold_step(struct journal_fold *f, const char *dir, sqlite3 *db, int32_t day, int64_t now_ms, char *why, size_t cap) RC_MUST_USE;
/* The day file is about to be closed: begin afresh. */
void journal_fold_forget(struct journal_fold *f);

#endif
