#include "journal_lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/db.h"
#include "../core/base/log.h"

enum rc journal_lanes_init(struct journal_lanes *t)
{
    *t = (struct journal_lanes){.slots = 128};
    t->slot = calloc(t->slots, sizeof *t->slot);
    return t->slot != NULL ? RC_OK : RC_NO_MEMORY;
}

void journal_lanes_free(struct journal_lanes *t)
{
    for (size_t i = 0; i < t->gateways; i++)
        for (size_t k = 0; k < EVENT_LANES; k++)
            free(t->gateway[i].lane[k].range);
    free(t->gateway);
    free(t->slot);
    *t = (struct journal_lanes){0};
}

static uint32_t name_hash(const char *s)
{
    uint32_t h = 2166136261U; /* FNV-1a */
    for (; *s != '\0'; s++)
        h = (h ^ (uint8_t)*s) * 16777619U;
    return h ^ h >> 15;
}

struct journal_gateway *journal_lanes_find(const struct journal_lanes *t, const char *name)
{
    for (size_t i = name_hash(name) & (t->slots - 1); t->slot[i] != 0; i = (i + 1) & (t->slots - 1))
        if (strcmp(t->gateway[t->slot[i] - 1].name, name) == 0)
            return &t->gateway[t->slot[i] - 1];
    return NULL;
}

static void slot_put(uint32_t *slot, size_t slots, const char *name, uint32_t v)
{
    size_t i = name_hash(name) & (slots - 1);
    while (slot[i] != 0)
        i = (i + 1) & (slots - 1);
    slot[i] = v;
}

static struct journal_gateway *gateway_add(struct journal_lanes *t, const char *name)
{
    if (t->gateways == t->cap) {
        size_t cap = t->cap == 0 ? 64 : t->cap * 2;
        struct journal_gateway *more = realloc(t->gateway, cap * sizeof *more);
        if (more == NULL)
            return NULL;
        t->gateway = more;
        t->cap = cap;
    }
    if ((t->gateways + 1) * 2 > t->slots) {
        size_t slots = t->slots * 2;
        uint32_t *slot = calloc(slots, sizeof *slot);
        if (slot == NULL)
            return NULL;
        for (size_t i = 0; i < t->gateways; i++)
            slot_put(slot, slots, t->gateway[i].name, (uint32_t)i + 1);
        free(t->slot);
        t->slot = slot;
        t->slots = slots;
    }
    struct journal_gateway *g = &t->gateway[t->gateways];
    *g = (struct journal_gateway){0};
    snprintf(g->name, sizeof g->name, "%s", name);
    slot_put(t->slot, t->slots, g->name, (uint32_t)++t->gateways);
    return g;
}

struct journal_gateway *journal_lanes_of(struct journal_lanes *t, const char *name)
{
    struct journal_gateway *g = journal_lanes_find(t, name);
    return g != NULL ? g : gateway_add(t, name);
}

void journal_lanes_load(const struct journal_lane *l, struct wire_settled *ret_s)
{
    ret_s->through = l->through;
    ret_s->ranges = l->ranges;
    if (l->ranges > 0)
        memcpy(ret_s->range, l->range, l->ranges * sizeof ret_s->range[0]);
}

bool journal_lanes_store(struct journal_lane *l, const struct wire_settled *s)
{
    if (s->ranges > l->ranges) {
        struct wire_range *more = realloc(l->range, s->ranges * sizeof *more);
        if (more == NULL)
            return false;
        l->range = more;
    }
    if (s->ranges > 0) {
        memcpy(l->range, s->range, s->ranges * sizeof s->range[0]);
    } else if (l->ranges > 0) {
        free(l->range);
        l->range = NULL;
    }
    l->through = s->through;
    l->ranges = s->ranges;
    return true;
}

uint8_t *journal_lanes_snapshot(const struct journal_lanes *t, size_t *ret_n)
{
    size_t cap = 14;
    for (size_t i = 0; i < t->gateways; i++)
        for (size_t k = 0; k < EVENT_LANES; k++)
            cap += 20 + 20 * t->gateway[i].lane[k].ranges;
    uint8_t *out = malloc(cap);
    if (out == NULL)
        return NULL;
    size_t n = journal_file_varint(out, t->gateways);
    for (size_t i = 0; i < t->gateways; i++)
        for (size_t k = 0; k < EVENT_LANES; k++) {
            const struct journal_lane *l = &t->gateway[i].lane[k];
            n += journal_file_varint(out + n, l->through);
            n += journal_file_varint(out + n, l->ranges);
            for (size_t r = 0; r < l->ranges; r++) {
                n += journal_file_varint(out + n, l->range[r].from);
                n += journal_file_varint(out + n, l->range[r].to);
            }
        }
    uint32_t crc = journal_file_crc(out, n);
    for (int b = 0; b < 4; b++)
        out[n++] = (uint8_t)(crc >> 8 * b);
    *ret_n = n;
    return out;
}

static enum rc snapshot_read(struct journal_lanes *t, const struct journal_file_names *names, const void *blob, size_t n)
{
    struct journal_file_reader r;
    uint64_t count, v[2];
    if (journal_file_read(&r, blob, n, 0) != RC_OK || !journal_file_get(&r.at, r.end, &count))
        return RC_CORRUPT;
    for (uint64_t i = 0; i < count; i++)
        for (size_t k = 0; k < EVENT_LANES; k++) {
            struct wire_settled s = {0};
            if (!journal_file_get(&r.at, r.end, &s.through) || !journal_file_get(&r.at, r.end, &v[0]) || v[0] > WIRE_RANGES_MAX)
                return RC_CORRUPT;
            s.ranges = (size_t)v[0];
            for (size_t x = 0; x < s.ranges; x++)
                if (!journal_file_get(&r.at, r.end, &s.range[x].from) || !journal_file_get(&r.at, r.end, &s.range[x].to))
                    return RC_CORRUPT;
            struct journal_gateway *g = i < names->n && names->name[i][0] != '\0' ? journal_lanes_of(t, names->name[i]) : NULL;
            if (g != NULL && !journal_lanes_store(&g->lane[k], &s))
                return RC_NO_MEMORY;
        }
    return RC_OK;
}

/* --- at start --- */

enum rc journal_lanes_read(struct journal_lanes *t, sqlite3 *db, size_t *ret_named, bool *ret_found)
{
    struct journal_file_names names = {0};
    struct wire_frame *f = malloc(sizeof *f);
    sqlite3_stmt *s = NULL;
    int64_t upto = 0;
    unsigned bad = 0;
    const char *fault = NULL;
    bool found = false;
    int code = SQLITE_DONE;
    enum rc rc = f == NULL ? RC_NO_MEMORY : journal_file_names(db, &names);
    for (size_t i = 0; i < names.n && rc == RC_OK; i++) /* in the order of their numbers: those of the file stay what they are */
        rc = journal_lanes_of(t, names.name[i]) == NULL ? RC_NO_MEMORY : RC_OK;
    *ret_named = names.n;
    if (rc == RC_OK)
        rc = db_prepare(db, "SELECT upto, blob FROM settled", &s);
    if (rc == RC_OK && sqlite3_step(s) == SQLITE_ROW) {
        const void *blob = sqlite3_column_blob(s, 1);
        rc = snapshot_read(t, &names, blob, (size_t)sqlite3_column_bytes(s, 1));
        upto = sqlite3_column_int64(s, 0);
        found = true;
    }
    sqlite3_finalize(s);
    s = NULL;
    if (rc == RC_OK)
        rc = db_prepare(db, "SELECT arrival_ms, blob FROM arrival WHERE id > ? ORDER BY id", &s);
    if (rc == RC_OK)
        sqlite3_bind_int64(s, 1, upto);
    while (rc == RC_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct journal_file_reader r;
        struct journal_file_entry e;
        const void *blob = sqlite3_column_blob(s, 1);
        if (journal_file_read(&r, blob, (size_t)sqlite3_column_bytes(s, 1), 0) != RC_OK) {
            bad++;
            continue;
        }
        found = true;
        while (journal_file_next(&r, &e)) {
            struct journal_gateway *g = e.gateway < names.n && names.name[e.gateway][0] != '\0' ? journal_lanes_of(t, names.name[e.gateway]) : NULL;
            struct wire_settled set;
            if (g == NULL || wire_decode(e.frame, e.n, f, &fault) != RC_OK || f->kind != WIRE_BATCH)
                continue;
            journal_lanes_load(&g->lane[f->batch.lane], &set);
            if (wire_settle(&set, f->batch.first_seq - f->batch.skipped, f->batch.first_seq + f->batch.n - 1) == RC_OK &&
                !journal_lanes_store(&g->lane[f->batch.lane], &set))
                rc = RC_NO_MEMORY;
        }
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = db_rc(code);
    sqlite3_finalize(s);
    journal_file_names_free(&names);
    free(f);
    if (bad > 0)
        log_error("journal", "%u damaged groups skipped: what they held is asked for again where the gateway still has it", bad);
    if (rc == RC_OK)
        *ret_found = found;
    return rc;
}
