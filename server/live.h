/*
 * live - websocket screens by role. State is conflated, facts are queued: a slow screen gets the newest positions and every finding. docs/protocol.md 3.
 */
#ifndef SCHOOLWARD_LIVE_H
#define SCHOOLWARD_LIVE_H

#include <libwebsockets.h>

#include "access.h"
#include "arrive.h"
#include "ledger.h"

struct live;
struct live_limits { /* of what one screen can make us hold */
    size_t unread_bytes; /* findings it has not read; above it is closed with 4429 */
    unsigned stuck_s;    /* in which it takes nothing at all; then it is cut off */
};
/* w: for view_vehicle()'s next stop */
enum rc live_new(struct fleet *f, struct arrive *w, struct access *a, const struct live_limits *limits, struct live **ret_l) RC_MUST_USE;
void live_free(struct live *l);
void live_protocol(struct live *l, struct lws_protocols *ret_p); /* "schoolward.live.v1" */
void live_tick(struct live *l, int64_t now_ms);                  /* once a second */
/* change: "opened", "raised", "closed", "acknowledged" */
void live_finding(struct live *l, const char *change, const struct ledger_finding *x);
size_t live_screens(const struct live *l);

#endif
