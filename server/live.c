#include "live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "../core/wire.h"
#include "json.h"
#include "view.h"

/* What a screen can make us hold. */
enum {
    SCREENS_MAX = 1000,
    PIECE = 32768,                /* a message leaves in fragments of this size, as the peer takes them */
    MESSAGE_MAX = 256 << 20,
    CLOSING_MAX = 5,
};

struct message { /* shared between screens */
    unsigned refs;
    size_t n;
    char text[];
};

struct entry {
    struct entry *next;
    struct message *m;
};

struct screen { /* lws' per-session memory */
    struct lws *wsi;
    struct live *live;
    struct screen *next, *prev;
    enum access_role role;
    struct entry *first, *last; /* findings and the hello, oldest first */
    size_t queued;
    struct message *now; /* being sent, `at` bytes of it are gone */
    size_t at;
    uint64_t seen;       /* the tick whose positions it has; 0 = none yet */
    bool due;            /* a tick came since */
    unsigned stuck;      /* ticks in a row in which the peer took nothing */
    uint16_t code;       /* close with this when writeable, 0 = no */
    const char *reason;
};

struct cached { /* what a screen sees of one vehicle */
    char *text;
    size_t n;
    uint64_t version, changed; /* fleet's version it was made of; tick it changed in */
    uint8_t freshness;
};

struct live {
    struct fleet *fleet;
    struct arrive *arrive;
    struct access *access;
    struct screen *screen; /* list */
    size_t screens;
    struct cached *cached; /* by vehicle index */
    struct live_limits limits;
    uint64_t tick;
    int64_t tick_ms;
    struct message *delta; /* positions of this tick for all who have the one before */
    struct message *empty; /* for the police: the heartbeat */
    const struct lws *checked;
    struct access_who checked_who;
    bool checked_ok;
    struct json json;
    struct log_gate slow;
    unsigned char piece[LWS_PRE + PIECE];
};

/* --- messages --- */

static struct message *message_of(const struct json *j)
{
    struct message *m = j->failed ? NULL : malloc(sizeof *m + j->n);
    if (m == NULL)
        return NULL;
    m->refs = 1;
    m->n = j->n;
    memcpy(m->text, j->text, j->n);
    return m;
}

static void message_drop(struct message *m)
{
    if (m != NULL && --m->refs == 0)
        free(m);
}

static void begin(struct json *j, const char *type)
{
    json_reset(j);
    json_begin_object(j, NULL);
    json_text(j, "type", type);
}

static void positions_begin(struct live *l, struct json *j)
{
    begin(j, "positions");
    json_int(j, "server_time_ms", l->tick_ms);
    json_begin_array(j, "vehicles");
}

/* Everything that changed after tick `since`. */
static struct message *positions(struct live *l, uint64_t since)
{
    struct json *j = &l->json;
    positions_begin(l, j);
    for (size_t i = 0; since != UINT64_MAX && i < fleet_count(l->fleet); i++)
        if (l->cached[i].changed > since)
            json_raw(j, NULL, l->cached[i].text, l->cached[i].n);
    json_end_array(j);
    json_end_object(j);
    return message_of(j);
}

/* Encode every vehicle that changed since the last tick, once for all screens. */
static void refresh(struct live *l)
{
    for (size_t i = 0; i < fleet_count(l->fleet); i++) {
        const struct fleet_vehicle *v = fleet_at(l->fleet, i);
        struct cached *c = &l->cached[i];
        uint8_t freshness = (uint8_t)view_freshness(l->fleet, v, l->tick_ms);
        if (c->text != NULL && c->version == v->version && c->freshness == freshness)
            continue;
        json_reset(&l->json);
        view_vehicle(&l->json, NULL, l->fleet, l->arrive, v, l->tick_ms);
        char *text = l->json.failed ? NULL : realloc(c->text, l->json.n > 0 ? l->json.n : 1);
        if (text == NULL)
            continue; /* tried again with the next tick */
        memcpy(text, l->json.text, l->json.n);
        *c = (struct cached){text, l->json.n, v->version, l->tick, freshness};
    }
}

/* --- screens --- */

static void screen_close(struct screen *s, uint16_t code, const char *reason)
{
    if (s->code != 0)
        return;
    s->code = code;
    s->reason = reason;
    /* As in ingest.c: by a timer, so that a close frame is sent; and an event of the socket, so that the timer is looked at. */
    lws_set_timer_usecs(s->wsi, 1);
    lws_callback_on_writable(s->wsi);
}

/* -1: close with the reason. While a fragment is still on its way libwebsockets would close without one: wait until the peer has taken it. */
static int on_timer(struct screen *s)
{
    char text[124];
    if (s->code == 0)
        return 0;
    if (lws_partial_buffered(s->wsi)) {
        lws_callback_on_writable(s->wsi);
        return 0;
    }
    int n = snprintf(text, sizeof text, "%s", s->reason);
    lws_close_reason(s->wsi, (enum lws_close_status)s->code, (unsigned char *)text, n > 0 && (size_t)n < sizeof text ? (size_t)n : 0);
    return -1;
}

static void kill_now(const struct screen *s)
{
    lws_set_timeout(s->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_cancel_service(lws_get_context(s->wsi));
}

static void queue_drop(struct screen *s)
{
    while (s->first != NULL) {
        struct entry *e = s->first;
        s->first = e->next;
        message_drop(e->m);
        free(e);
    }
    s->last = NULL;
    s->queued = 0;
    message_drop(s->now);
    s->now = NULL;
}

static void queue(struct screen *s, struct message *m)
{
    struct entry *e = m == NULL || s->code != 0 ? NULL : malloc(sizeof *e);
    if (s->code != 0)
        return;
    if (e == NULL || s->queued + m->n > s->live->limits.unread_bytes) {
        free(e);
        if (log_gate_trouble(&s->live->slow, clock_mono_ms()))
            log_warning("live", "a screen does not read its findings and was closed (%u times)", s->live->slow.since_said);
        queue_drop(s);
        screen_close(s, WIRE_CLOSE_TOO_FAST, "too slow: findings unread, connect again");
        return;
    }
    m->refs++;
    *e = (struct entry){NULL, m};
    if (s->last != NULL)
        s->last->next = e;
    else
        s->first = e;
    s->last = e;
    s->queued += m->n;
    lws_callback_on_writable(s->wsi);
}

static struct message *next_message(struct screen *s)
{
    struct live *l = s->live;
    if (s->first != NULL) { /* facts go before state */
        struct entry *e = s->first;
        struct message *m = e->m;
        s->first = e->next;
        if (s->first == NULL)
            s->last = NULL;
        s->queued -= m->n;
        free(e);
        return m;
    }
    if (!s->due || l->tick == 0)
        return NULL;
    struct message *m;
    s->due = false;
    if (s->role == ACCESS_POLICE)
        m = l->empty;
    else if (s->seen != 0 && s->seen == l->tick - 1)
        m = l->delta;
    else
        m = NULL;
    uint64_t since = s->seen;
    s->seen = l->tick;
    if (m == NULL)
        return positions(l, since); /* its first one, or it missed some: everything since */
    m->refs++;
    return m;
}

/* One fragment per call: the peer is the boss. -1: close. */
static int on_writable(struct screen *s)
{
    if (s->code != 0) {
        lws_set_timer_usecs(s->wsi, 1);
        return 0;
    }
    if (s->now == NULL) {
        s->now = next_message(s);
        s->at = 0;
    }
    if (s->now == NULL)
        return 0;
    s->stuck = 0;
    size_t n = s->now->n - s->at < PIECE ? s->now->n - s->at : PIECE;
    bool first = s->at == 0, last = s->at + n == s->now->n;
    memcpy(s->live->piece + LWS_PRE, s->now->text + s->at, n);
    int flags = lws_write_ws_flags(LWS_WRITE_TEXT, first, last);
    if (lws_write(s->wsi, s->live->piece + LWS_PRE, n, (enum lws_write_protocol)flags) < (int)n)
        return -1;
    s->at += n;
    if (last) {
        message_drop(s->now);
        s->now = NULL;
    }
    if (!last || s->first != NULL || s->due)
        lws_callback_on_writable(s->wsi);
    return 0;
}

static int on_filter(struct live *l, struct lws *wsi)
{
    static const char path[] = "/api/v1/live";
    char at[sizeof path + 1], ticket[128];
    if (l->screens >= SCREENS_MAX)
        return -1;
    if (lws_hdr_copy(wsi, at, sizeof at, WSI_TOKEN_GET_URI) <= 0 || strcmp(at, path) != 0)
        return -1;
    const char *t = lws_get_urlarg_by_name(wsi, "ticket=", ticket, sizeof ticket);
    l->checked = wsi;
    l->checked_ok = t != NULL && access_redeem(l->access, t, clock_wall_ms(), &l->checked_who) == RC_OK &&
                    (l->checked_who.role == ACCESS_OFFICER || l->checked_who.role == ACCESS_POLICE || l->checked_who.role == ACCESS_ADMIN);
    return 0;
}

static void on_established(struct live *l, struct screen *s, struct lws *wsi)
{
    *s = (struct screen){.wsi = wsi, .live = l, .next = l->screen};
    if (l->screen != NULL)
        l->screen->prev = s;
    l->screen = s;
    l->screens++;
    if (l->checked != wsi || !l->checked_ok) {
        l->checked = NULL;
        screen_close(s, WIRE_CLOSE_UNAUTHORISED, "unauthorised: ask for a new ticket");
        return;
    }
    l->checked = NULL;
    s->role = l->checked_who.role;
    struct json *j = &l->json;
    begin(j, "hello");
    json_int(j, "server_time_ms", clock_wall_ms());
    json_text(j, "role", s->role == ACCESS_POLICE ? "police" : s->role == ACCESS_ADMIN ? "admin" : "officer");
    json_end_object(j);
    struct message *m = message_of(j);
    queue(s, m);
    message_drop(m);
}

static void on_closed(struct live *l, struct screen *s)
{
    if (s->wsi == NULL)
        return;
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        l->screen = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    l->screens--;
    queue_drop(s);
    s->wsi = NULL;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *p, size_t n)
{
    const struct lws_protocols *protocol = lws_get_protocol(wsi);
    struct live *l = protocol != NULL ? protocol->user : NULL;
    (void)p;
    (void)n;
    if (l == NULL)
        return 0;
    switch ((int)reason) {
    case LWS_CALLBACK_SERVER_WRITEABLE: return on_writable(user);
    case LWS_CALLBACK_TIMER: return on_timer(user);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return on_filter(l, wsi);
    case LWS_CALLBACK_ESTABLISHED: on_established(l, user, wsi); return 0;
    case LWS_CALLBACK_RECEIVE: return 0; /* screens have nothing to say */
    case LWS_CALLBACK_CLOSED: on_closed(l, user); return 0;
    default: return 0;
    }
}

/* --- from outside --- */

void live_tick(struct live *l, int64_t now_ms)
{
    l->tick++;
    l->tick_ms = now_ms;
    message_drop(l->delta);
    message_drop(l->empty);
    l->delta = l->empty = NULL;
    if (l->screens == 0)
        return; /* nobody looks: nothing is encoded */
    refresh(l);
    l->delta = positions(l, l->tick - 1);
    l->empty = positions(l, UINT64_MAX);
    for (struct screen *s = l->screen; s != NULL; s = s->next) {
        if (s->due || s->code != 0)
            s->stuck++;
        if (s->stuck >= (s->code != 0 ? CLOSING_MAX : l->limits.stuck_s))
            kill_now(s);
        s->due = true;
        lws_callback_on_writable(s->wsi);
    }
}

void live_finding(struct live *l, const char *change, const struct ledger_finding *x)
{
    if (l->screens == 0)
        return;
    struct json *j = &l->json;
    begin(j, "finding");
    json_text(j, "change", change);
    view_finding(j, "finding", l->fleet, x);
    json_end_object(j);
    struct message *m = message_of(j);
    for (struct screen *s = l->screen; s != NULL; s = s->next)
        if (s->role != ACCESS_POLICE || (x->f.to & LAW_TO_POL) != 0)
            queue(s, m);
    message_drop(m);
}

size_t live_screens(const struct live *l)
{
    return l->screens;
}

void live_protocol(struct live *l, struct lws_protocols *ret_p)
{
    *ret_p = (struct lws_protocols){
        .name = "schoolward.live.v1", .callback = callback, .per_session_data_size = sizeof(struct screen), .rx_buffer_size = 512, .user = l};
}

enum rc live_new(struct fleet *f, struct arrive *w, struct access *a, const struct live_limits *limits, struct live **ret_l)
{
    size_t n = fleet_count(f);
    struct live *l = calloc(1, sizeof *l);
    if (l == NULL)
        return RC_NO_MEMORY;
    l->fleet = f;
    l->arrive = w;
    l->access = a;
    l->limits = *limits;
    l->cached = calloc(n > 0 ? n : 1, sizeof *l->cached);
    if (l->cached == NULL) {
        free(l);
        return RC_NO_MEMORY;
    }
    json_init(&l->json, MESSAGE_MAX);
    *ret_l = l;
    return RC_OK;
}

void live_free(struct live *l)
{
    if (l == NULL)
        return;
    message_drop(l->delta);
    message_drop(l->empty);
    for (size_t i = 0; i < fleet_count(l->fleet); i++)
        free(l->cached[i].text);
    free(l->cached);
    json_free(&l->json);
    free(l);
}
