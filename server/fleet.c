#include "fleet.h"

#include <stdlib.h>
#include <string.h>

enum {
    LISTENERS_MAX = 8,
    TICK_LAG_MS = 3000,    /* a bus may report two seconds in one message: do not tick past what is still under way */
    LATE_BACK_MS = 600000, /* late data this much older than the late judge's newest begins a new story */
    SNAPSHOT_LAYOUT = 3,
};

struct fleet_late { /* the judge of what came as backlog */
    struct bus bus;
    struct rules_memory memory;
    struct rules_finding open[RULES_LADDERS]; /* newest form of each open finding; .change 0 = none */
};

struct fleet_old { /* what opened on late but orderly events: old news until the bus is heard in time again */
    struct rules_finding open[RULES_LADDERS]; /* .change 0 = none */
};

struct fleet {
    const struct law *law;
    const struct duty_set *set;
    struct bus_freshness_limits freshness;
    struct fleet_vehicle *vehicle;
    size_t vehicles;
    uint32_t *by_gateway, *by_id; /* open addressing: index + 1 */
    size_t slots;
    struct fleet_listener listener[LISTENERS_MAX];
    size_t listeners;
    /* vehicles with an episode that time alone can move: dense list and the place of each in it (+ 1) */
    uint32_t *pending, *place;
    size_t pendings;
    bool replaying;
};

/* --- finding a vehicle --- */

static uint32_t text_hash(const char *s)
{
    uint32_t h = 2166136261U; /* FNV-1a */
    for (; *s != '\0'; s++)
        h = (h ^ (uint8_t)*s) * 16777619U;
    return h ^ h >> 15;
}

static void slot_put(uint32_t *slot, size_t slots, const char *key, uint32_t v)
{
    size_t i = text_hash(key) & (slots - 1);
    while (slot[i] != 0)
        i = (i + 1) & (slots - 1);
    slot[i] = v;
}

struct fleet_vehicle *fleet_by_gateway(struct fleet *f, const char *gateway)
{
    for (size_t i = text_hash(gateway) & (f->slots - 1); f->by_gateway[i] != 0; i = (i + 1) & (f->slots - 1))
        if (strcmp(f->vehicle[f->by_gateway[i] - 1].duty->gateway, gateway) == 0)
            return &f->vehicle[f->by_gateway[i] - 1];
    return NULL;
}

struct fleet_vehicle *fleet_by_id(struct fleet *f, const char *vehicle_id)
{
    for (size_t i = text_hash(vehicle_id) & (f->slots - 1); f->by_id[i] != 0; i = (i + 1) & (f->slots - 1))
        if (strcmp(f->vehicle[f->by_id[i] - 1].duty->id, vehicle_id) == 0)
            return &f->vehicle[f->by_id[i] - 1];
    return NULL;
}

enum rc fleet_new(const struct law *law, const struct duty_set *set, struct fleet **ret_f)
{
    struct fleet *f = calloc(1, sizeof *f);
    if (f == NULL)
        return RC_NO_MEMORY;
    f->law = law;
    f->set = set;
    f->freshness = bus_freshness_usual;
    f->vehicles = set->vehicles;
    f->slots = 16;
    while (f->slots < f->vehicles * 2)
        f->slots *= 2;
    size_t n = f->vehicles > 0 ? f->vehicles : 1;
    f->vehicle = calloc(n, sizeof *f->vehicle);
    f->pending = calloc(n, sizeof *f->pending);
    f->place = calloc(n, sizeof *f->place);
    f->by_gateway = calloc(f->slots, sizeof *f->by_gateway);
    f->by_id = calloc(f->slots, sizeof *f->by_id);
    if (f->vehicle == NULL || f->pending == NULL || f->place == NULL || f->by_gateway == NULL || f->by_id == NULL) {
        fleet_free(f);
        return RC_NO_MEMORY;
    }
    for (size_t i = 0; i < f->vehicles; i++) {
        struct fleet_vehicle *v = &f->vehicle[i];
        v->index = (uint32_t)i;
        v->duty = &set->vehicle[i];
        v->persons = bus_persons(&v->bus, v->duty);
        slot_put(f->by_id, f->slots, v->duty->id, (uint32_t)i + 1);
        if (v->duty->gateway[0] != '\0')
            slot_put(f->by_gateway, f->slots, v->duty->gateway, (uint32_t)i + 1);
    }
    *ret_f = f;
    return RC_OK;
}

void fleet_free(struct fleet *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; f->vehicle != NULL && i < f->vehicles; i++) {
        free(f->vehicle[i].late);
        free(f->vehicle[i].old);
    }
    free(f->vehicle);
    free(f->pending);
    free(f->place);
    free(f->by_gateway);
    free(f->by_id);
    free(f);
}

enum rc fleet_listen(struct fleet *f, const struct fleet_listener *l)
{
    if (f->listeners == LISTENERS_MAX)
        return RC_FULL;
    f->listener[f->listeners++] = *l;
    return RC_OK;
}

double fleet_limit_kmh(const struct fleet *f, const struct fleet_vehicle *v)
{
    return rules_limit_kmh(f->law, f->set, v->duty, &v->bus);
}

size_t fleet_count(const struct fleet *f)
{
    return f->vehicles;
}

struct fleet_vehicle *fleet_at(struct fleet *f, size_t index)
{
    return &f->vehicle[index];
}

const struct duty_set *fleet_duty(const struct fleet *f)
{
    return f->set;
}

const struct law *fleet_law(const struct fleet *f)
{
    return f->law;
}

void fleet_set_freshness(struct fleet *f, const struct bus_freshness_limits *limits)
{
    f->freshness = *limits;
}

const struct bus_freshness_limits *fleet_freshness(const struct fleet *f)
{
    return &f->freshness;
}

/* --- judging --- */

static void tell_finding(struct fleet *f, const struct fleet_vehicle *v, const struct rules_finding *x, bool late)
{
    for (size_t i = 0; i < f->listeners; i++)
        if (f->listener[i].on_finding != NULL)
            f->listener[i].on_finding(f->listener[i].arg, v, x, late, f->replaying);
}

static void count_open(struct fleet_vehicle *v)
{
    v->severity = LAW_NONE;
    v->open_findings = 0;
    memset(v->open, 0, sizeof v->open);
    for (size_t i = 0; i < RULES_LADDERS; i++) {
        if (v->memory.state[i] != RULES_ACTIVE && v->memory.state[i] != RULES_CLEARING)
            continue;
        const struct rules_episode *e = &v->memory.episode[i];
        v->open_findings++;
        if (e->rule < LAW_RULES)
            v->open[e->rule] = e->severity;
        if (e->severity > v->severity)
            v->severity = e->severity;
    }
}

/* Warnings are for the cab alone. */
static bool for_office(const struct rules_finding *x)
{
    return x->change == RULES_OPENED || x->change == RULES_RAISED || x->change == RULES_CLOSED;
}

/* Does time alone move anything here? */
static bool busy(const struct rules_memory *m)
{
    for (size_t i = 0; i < RULES_LADDERS; i++)
        if (m->state[i] != RULES_IDLE)
            return true;
    return false;
}

static void pending_put(struct fleet *f, const struct fleet_vehicle *v)
{
    if (f->place[v->index] == 0) {
        f->pending[f->pendings++] = v->index;
        f->place[v->index] = (uint32_t)f->pendings;
    }
}

static void pending_drop(struct fleet *f, uint32_t index)
{
    uint32_t at = f->place[index];
    if (at == 0)
        return;
    uint32_t moved = f->pending[--f->pendings];
    f->pending[at - 1] = moved;
    f->place[moved] = at;
    f->place[index] = 0;
}

/* Where the newest form of an episode that was old news when it opened is kept, NULL if this one is none. */
static struct rules_finding *old_slot(const struct fleet_vehicle *v, uint64_t id)
{
    for (size_t i = 0; v->old != NULL && i < RULES_LADDERS; i++)
        if (v->old->open[i].change != 0 && v->old->open[i].id == id)
            return &v->old->open[i];
    return NULL;
}

/* Tell a finding the late events of the live judge made. Opened by them, it is remembered: it may turn out to go on. */
static void tell_old(struct fleet *f, struct fleet_vehicle *v, const struct rules_finding *x)
{
    struct rules_finding *slot = old_slot(v, x->id);
    if (slot == NULL && x->change == RULES_OPENED) {
        if (v->old == NULL)
            v->old = calloc(1, sizeof *v->old);
        for (size_t i = 0; v->old != NULL && i < RULES_LADDERS && slot == NULL; i++)
            if (v->old->open[i].change == 0)
                slot = &v->old->open[i];
    }
    if (slot != NULL) {
        *slot = *x;
        if (x->change == RULES_CLOSED)
            slot->change = 0;
    }
    tell_finding(f, v, x, true);
}

/*
 * The bus is heard in time again, and what was old news when it opened goes on: that is news. An episode that the very same event closes is not.
 */
static void still_going(struct fleet *f, struct fleet_vehicle *v, int64_t now_ms, const struct rules_finding *out, size_t n)
{
    for (size_t i = 0; i < RULES_LADDERS; i++) {
        struct rules_finding x = v->old->open[i];
        bool told = x.change == 0;
        for (size_t k = 0; k < n && !told; k++)
            told = out[k].id == x.id;
        if (told)
            continue;
        x.change = RULES_RAISED;
        x.time_ms = now_ms;
        tell_finding(f, v, &x, false);
    }
    free(v->old);
    v->old = NULL;
}

static void judge_live(struct fleet *f, struct fleet_vehicle *v, const struct event *e, bool late)
{
    struct rules_finding out[RULES_OUT_MAX];
    size_t n = rules_step(f->law, f->set, v->duty, &v->bus, e, &v->memory, out);
    if (busy(&v->memory))
        pending_put(f, v);
    else
        pending_drop(f, v->index);
    bool heard = v->old != NULL && !late && e->kind != EVENT_TICK; /* time alone does not show that anything goes on */
    if (n == 0 && !heard)
        return;
    count_open(v);
    v->version++;
    for (size_t i = 0; i < n; i++) {
        if (!for_office(&out[i]))
            continue;
        if (late || (out[i].change == RULES_CLOSED && old_slot(v, out[i].id) != NULL))
            tell_old(f, v, &out[i]);
        else
            tell_finding(f, v, &out[i], false);
    }
    if (heard)
        still_going(f, v, e->time_ms, out, n);
}

/* Where the late judge keeps the open finding of this id: its own place, or a free one. */
static struct rules_finding *open_slot(struct fleet_late *l, uint64_t id)
{
    struct rules_finding *free_one = NULL;
    for (size_t i = 0; i < RULES_LADDERS; i++) {
        if (l->open[i].change != 0 && l->open[i].id == id)
            return &l->open[i];
        if (l->open[i].change == 0)
            free_one = &l->open[i];
    }
    return free_one;
}

static void judge_late(struct fleet *f, struct fleet_vehicle *v, const struct event *e)
{
    struct rules_finding out[RULES_OUT_MAX];
    if (v->late == NULL) {
        v->late = calloc(1, sizeof *v->late);
        if (v->late == NULL)
            return; /* the event is in the journal; only its judgement is lost */
    }
    struct fleet_late *l = v->late;
    if (e->time_ms < l->bus.time_ms - LATE_BACK_MS) {
        fleet_caught_up(f, v); /* an older story begins: end this one */
        judge_late(f, v, e);
        return;
    }
    bus_apply(&l->bus, f->set, v->duty, e);
    size_t n = rules_step(f->law, f->set, v->duty, &l->bus, e, &l->memory, out);
    for (size_t i = 0; i < n; i++) {
        if (!for_office(&out[i]))
            continue;
        struct rules_finding *x = open_slot(l, out[i].id);
        if (x != NULL)
            *x = out[i];
        if (x != NULL && out[i].change == RULES_CLOSED)
            x->change = 0;
        tell_finding(f, v, &out[i], true);
    }
}

static void note_device(struct fleet_vehicle *v, const struct event *e)
{
    struct fleet_device *d = NULL;
    for (size_t i = 0; i < v->devices && d == NULL; i++)
        if (strcmp(v->device[i].name, e->health.name) == 0)
            d = &v->device[i];
    if (d == NULL) {
        if (v->devices == FLEET_DEVICES_MAX)
            return;
        d = &v->device[v->devices++];
        *d = (struct fleet_device){0};
        memcpy(d->name, e->health.name, sizeof d->name);
    }
    if (e->time_ms < d->since_ms)
        return;
    if (d->state != e->health.state)
        d->since_ms = e->time_ms;
    d->kind = e->health.device;
    d->state = e->health.state;
}

void fleet_apply(struct fleet *f, struct fleet_vehicle *v, const struct event *e, int64_t arrival_ms, bool late, bool replayed)
{
    bool outer = f->replaying;
    f->replaying = outer || replayed;
    v->received_ms = arrival_ms;
    /*
     * What comes late but in order (a short gap, or a bus that has not yet said anything newer) goes on where the live judge stands: one story, one
     * episode. What is older than the newest judged event needs a judge of its own; and what says it comes from the future or has no date must not
     * move the live state, or nothing true would be newer than it.
     */
    if (late && (e->time_ms < v->bus.time_ms || e->time_ms > arrival_ms || e->clock == EVENT_CLOCK_NONE)) {
        judge_late(f, v, e);
    } else {
        bus_apply(&v->bus, f->set, v->duty, e);
        v->version++;
        if (e->kind == EVENT_COUNT || e->kind == EVENT_INPUTS)
            v->persons = bus_persons(&v->bus, v->duty);
        else if (e->kind == EVENT_HEALTH)
            note_device(v, e);
        judge_live(f, v, e, late);
    }
    for (size_t i = 0; i < f->listeners; i++)
        if (f->listener[i].on_event != NULL)
            f->listener[i].on_event(f->listener[i].arg, v, e, late);
    f->replaying = outer;
}

void fleet_replay(struct fleet *f, bool on)
{
    f->replaying = on;
}

void fleet_caught_up(struct fleet *f, struct fleet_vehicle *v)
{
    if (v->late == NULL)
        return;
    /*
     * The outage is over and what came after it is the live judge's. An episode of the backlog still open here ends where the backlog ends: if the
     * breach goes on, the live judge has it as an episode of its own.
     */
    for (size_t i = 0; i < RULES_LADDERS; i++) {
        struct rules_finding x = v->late->open[i];
        if (x.change == 0)
            continue;
        x.change = RULES_CLOSED;
        x.time_ms = x.closed_ms = v->late->bus.time_ms > x.time_ms ? v->late->bus.time_ms : x.time_ms;
        tell_finding(f, v, &x, true);
    }
    free(v->late);
    v->late = NULL;
}

void fleet_tick(struct fleet *f, int64_t now_ms)
{
    /* backwards: dropping the current one moves the last, already seen, into its place */
    for (size_t i = f->pendings; i-- > 0;) {
        struct fleet_vehicle *v = &f->vehicle[f->pending[i]];
        struct event e = {.time_ms = now_ms - TICK_LAG_MS, .kind = EVENT_TICK, .clock = EVENT_CLOCK_SYSTEM};
        if (e.time_ms <= v->bus.time_ms)
            continue; /* it speaks for itself */
        bus_apply(&v->bus, f->set, v->duty, &e);
        judge_live(f, v, &e, false);
    }
}

void fleet_link(struct fleet *f, struct fleet_vehicle *v, bool connected, int64_t now_ms)
{
    v->connected = connected;
    if (connected)
        v->received_ms = now_ms;
    v->version++;
    for (size_t i = 0; i < f->listeners; i++)
        if (f->listener[i].on_link != NULL)
            f->listener[i].on_link(f->listener[i].arg, v);
}

/* --- snapshot: one record per vehicle that was ever heard, in this build's own layout --- */

struct snapshot_head {
    uint32_t layout, record;  /* SNAPSHOT_LAYOUT, sizeof(struct snapshot) */
    uint32_t bus, memory;     /* sizes of what it is made of: another build is told from this one by them */
    uint32_t rules, vehicles; /* LAW_RULES, records that follow */
};
struct snapshot {
    char id[DUTY_ID_MAX + 1];
    int64_t received_ms;
    struct bus bus;
    struct rules_memory memory;
    struct fleet_device device[FLEET_DEVICES_MAX];
    struct fleet_old old;
    uint8_t devices, has_late;
    struct fleet_late late;
};

enum rc fleet_snapshot(const struct fleet *f, void **ret_blob, size_t *ret_n)
{
    size_t count = 0;
    for (size_t i = 0; i < f->vehicles; i++)
        count += f->vehicle[i].received_ms != 0;
    size_t n = sizeof(struct snapshot_head) + count * sizeof(struct snapshot);
    uint8_t *blob = calloc(1, n);
    if (blob == NULL)
        return RC_NO_MEMORY;
    struct snapshot_head h = {SNAPSHOT_LAYOUT, sizeof(struct snapshot), sizeof(struct bus), sizeof(struct rules_memory), LAW_RULES, (uint32_t)count};
    memcpy(blob, &h, sizeof h);
    uint8_t *at = blob + sizeof h;
    for (size_t i = 0; i < f->vehicles; i++) {
        const struct fleet_vehicle *v = &f->vehicle[i];
        if (v->received_ms == 0)
            continue;
        struct snapshot s;
        memset(&s, 0, sizeof s);
        memcpy(s.id, v->duty->id, sizeof s.id);
        s.received_ms = v->received_ms;
        s.bus = v->bus;
        s.memory = v->memory;
        memcpy(s.device, v->device, sizeof s.device);
        if (v->old != NULL)
            s.old = *v->old;
        s.devices = v->devices;
        s.has_late = v->late != NULL;
        if (v->late != NULL)
            s.late = *v->late;
        memcpy(at, &s, sizeof s);
        at += sizeof s;
    }
    *ret_blob = blob;
    *ret_n = n;
    return RC_OK;
}

enum rc fleet_restore(struct fleet *f, const void *blob, size_t n)
{
    struct snapshot_head h, want = {SNAPSHOT_LAYOUT, sizeof(struct snapshot), sizeof(struct bus), sizeof(struct rules_memory), LAW_RULES, 0};
    if (n < sizeof h)
        return RC_UNSUPPORTED;
    memcpy(&h, blob, sizeof h);
    want.vehicles = h.vehicles;
    if (memcmp(&h, &want, sizeof h) != 0 || n != sizeof h + (size_t)h.vehicles * sizeof(struct snapshot))
        return RC_UNSUPPORTED;
    const uint8_t *at = (const uint8_t *)blob + sizeof h;
    for (uint32_t i = 0; i < h.vehicles; i++, at += sizeof(struct snapshot)) {
        struct snapshot s;
        memcpy(&s, at, sizeof s);
        s.id[DUTY_ID_MAX] = '\0';
        struct fleet_vehicle *v = fleet_by_id(f, s.id);
        if (v == NULL)
            continue; /* no longer in the fleet */
        v->received_ms = s.received_ms;
        v->bus = s.bus;
        v->memory = s.memory;
        memcpy(v->device, s.device, sizeof v->device);
        bool any = false;
        for (size_t k = 0; k < RULES_LADDERS; k++)
            any = any || s.old.open[k].change != 0;
        if (any && (v->old = malloc(sizeof *v->old)) != NULL)
            *v->old = s.old;
        v->devices = s.devices <= FLEET_DEVICES_MAX ? s.devices : 0;
        if (s.has_late && (v->late = malloc(sizeof *v->late)) != NULL)
            *v->late = s.late;
        v->persons = bus_persons(&v->bus, v->duty);
        count_open(v);
        if (busy(&v->memory))
            pending_put(f, v);
        v->version++;
    }
    return RC_OK;
}
