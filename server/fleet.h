/*
 * fleet - now: one record per vehicle with its folded state, its duty and its rule memory. Applies events, judges them, tells listeners. Late data
 * (backlog) is judged by a second memory of its own, in its own order, and never changes the live state.
 */
#ifndef SCHOOLWARD_FLEET_H
#define SCHOOLWARD_FLEET_H

#include "../core/rules.h"

struct fleet;

#define FLEET_DEVICES_MAX 8
struct fleet_device {
    char name[EVENT_NAME_MAX + 1];
    uint8_t kind, state;
    int64_t since_ms;
};

struct fleet_vehicle {
    uint32_t index; /* dense, 0.. */
    const struct duty_vehicle *duty;
    struct bus bus;
    struct rules_memory memory;
    struct bus_persons persons;
    bool connected;
    int64_t received_ms;      /* wall time of the last message, 0 = never */
    uint8_t severity;         /* worst open finding, enum law_severity */
    uint16_t open_findings;
    uint8_t open[LAW_RULES];  /* severity of the open finding of each rule, 0 = none */
    struct fleet_device device[FLEET_DEVICES_MAX];
    uint8_t devices;
    uint64_t version;         /* grows with every change a screen could show */
    void *arrive;             /* arrive.c's own record */
    struct fleet_old *old;    /* episodes of the live judge that opened on late events and may still go on; NULL = none */
    struct fleet_late *late;  /* second judge, NULL while no backlog came */
};

struct fleet_listener {
    void (*on_event)(void *arg, const struct fleet_vehicle *v, const struct event *e, bool late); /* NULL = not wanted */
    /* replayed: the finding comes from the journal at start, not from the road: store it (same id), tell nobody */
    void (*on_finding)(void *arg, const struct fleet_vehicle *v, const struct rules_finding *f, bool late, bool replayed);
    void (*on_link)(void *arg, const struct fleet_vehicle *v);
    void *arg;
};

/* law and set outlive the fleet. RC_OK, RC_NO_MEMORY. */
enum rc fleet_new(const struct law *law, const struct duty_set *set, struct fleet **ret_f) RC_MUST_USE;
void fleet_free(struct fleet *f);
enum rc fleet_listen(struct fleet *f, const struct fleet_listener *l) RC_MUST_USE; /* at most 8 */

/* The limit in force where the vehicle is, rules_limit_kmh(); on demand, because screens ask once a second and fixes come more often. */
double fleet_limit_kmh(const struct fleet *f, const struct fleet_vehicle *v);

size_t fleet_count(const struct fleet *f);
struct fleet_vehicle *fleet_at(struct fleet *f, size_t index);
struct fleet_vehicle *fleet_by_gateway(struct fleet *f, const char *gateway); /* O(1) */
struct fleet_vehicle *fleet_by_id(struct fleet *f, const char *vehicle_id);   /* O(1) */
const struct duty_set *fleet_duty(const struct fleet *f);
const struct law *fleet_law(const struct fleet *f);

/* How old a position may be and be called fresh, delayed or stale: bus_freshness()'s defaults until told; set before the first screen asks. */
void fleet_set_freshness(struct fleet *f, const struct bus_freshness_limits *limits);
const struct bus_freshness_limits *fleet_freshness(const struct fleet *f);

/* One accepted event. arrival_ms: wall time of arrival; late: it came as backlog. */
void fleet_apply(struct fleet *f, struct fleet_vehicle *v, const struct event *e, int64_t arrival_ms, bool late, bool replayed);
/* Between on and off everything is told as replayed, ticks too: the start reads the journal. */
void fleet_replay(struct fleet *f, bool on);
/* The backlog of this vehicle has caught up: close the late judge's books. */
void fleet_caught_up(struct fleet *f, struct fleet_vehicle *v);
/* Once a second: hold times of silent buses end, freshness changes. Touches only vehicles with something pending. */
void fleet_tick(struct fleet *f, int64_t now_ms);
void fleet_link(struct fleet *f, struct fleet_vehicle *v, bool connected, int64_t now_ms);

/* Snapshot of all states for journal_save(); fleet_restore refuses (RC_UNSUPPORTED) one of another layout, then everything is replayed. */
enum rc fleet_snapshot(const struct fleet *f, void **ret_blob, size_t *ret_n) RC_MUST_USE;
enum rc fleet_restore(struct fleet *f, const void *blob, size_t n) RC_MUST_USE;

#endif
