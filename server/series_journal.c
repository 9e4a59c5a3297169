/* The usual source of series: our journal and ledger. Apart, so that series.c itself knows only the three functions of struct series_source. */
#include "series.h"

#include <stdlib.h>

struct pair {
    struct journal *journal;
    struct ledger *ledger;
};

static enum rc follow(void *arg, struct journal_cursor *cursor, size_t max_events, journal_each_fn *each, void *each_arg)
{
    return journal_follow(((struct pair *)arg)->journal, cursor, max_events, each, each_arg);
}

static bool wait(void *arg, const struct journal_cursor *cursor, int timeout_ms)
{
    return journal_wait(((struct pair *)arg)->journal, cursor, timeout_ms);
}

static enum rc find(void *arg, const struct ledger_query *q, void (*each)(void *arg, const struct ledger_finding *x), void *each_arg)
{
    return ledger_find(((struct pair *)arg)->ledger, q, each, each_arg);
}

enum rc series_start(const struct series_setup *s, struct journal *j, series_tags_fn *tags, void *arg, struct series **ret_s, char *why, size_t cap)
{
    struct pair *p = malloc(sizeof *p);
    if (p == NULL)
        return RC_NO_MEMORY;
    *p = (struct pair){j, s->ledger};
    struct series_source from = {follow, wait, s->ledger == NULL ? NULL : find, free, p};
    /* cppcheck-suppress memleak ; series_start_from() owns p from here on, also when it fails */
    return series_start_from(s, &from, tags, arg, ret_s, why, cap);
}
