/*
 * uplink_url - the server's address taken apart: ws:// or wss://, host or [IPv6], port, path. Nothing else is accepted: no user names, no fragments.
 */
#ifndef SCHOOLWARD_UPLINK_URL_H
#define SCHOOLWARD_UPLINK_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "../core/rc.h"

#define UPLINK_URL_MAX 255

struct uplink_url {
    bool tls;
    char host[128]; /* name or address, IPv6 without brackets */
    int port;       /* 1..65535 */
    char path[128]; /* "/gateway" if none was given */
};

/* RC_OK; RC_INVALID with "problem: hint" in why, *ret_url untouched. */
enum rc uplink_url_parse(const char *text, struct uplink_url *ret_url, char *why, size_t cap) RC_MUST_USE;

#endif
