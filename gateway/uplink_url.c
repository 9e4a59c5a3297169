#include "uplink_url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum rc uplink_url_parse(const char *text, struct uplink_url *ret_url, char *why, size_t cap)
{
    struct uplink_url u = {.path = "/gateway"};
    const char *p;
    if (strncmp(text, "ws://", 5) == 0) {
        p = text + 5;
        u.port = 80;
    } else if (strncmp(text, "wss://", 6) == 0) {
        p = text + 6;
        u.port = 443;
        u.tls = true;
    } else {
        snprintf(why, cap, "must begin with ws:// or wss://: e.g. wss://bus.example.cn/gateway");
        return RC_INVALID;
    }
    const char *host = p, *host_end;
    if (*p == '[') { /* RFC 3986 3.2.2: an IPv6 address stands in brackets */
        host = p + 1;
        host_end = strchr(host, ']');
        if (host_end == NULL) {
            snprintf(why, cap, "the bracket of the IPv6 address is not closed: write wss://[2001:db8::1]:8443/gateway");
            return RC_INVALID;
        }
        p = host_end + 1;
    } else {
        host_end = p + strcspn(p, ":/?#");
        p = host_end;
    }
    size_t n = (size_t)(host_end - host);
    if (n == 0 || n >= sizeof u.host) {
        snprintf(why, cap, "has no host: e.g. wss://bus.example.cn/gateway");
        return RC_INVALID;
    }
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)host[i]) && strchr(".-_:", host[i]) == NULL) {
            snprintf(why, cap, "'%c' cannot be in a host name: user names and passwords do not go here, the secret has its own file", host[i]);
            return RC_INVALID;
        }
    memcpy(u.host, host, n);
    if (*p == ':') {
        char *end;
        unsigned long port = strtoul(p + 1, &end, 10);
        if (!isdigit((unsigned char)p[1]) || port < 1 || port > 65535) {
            snprintf(why, cap, "the port must be 1..65535");
            return RC_INVALID;
        }
        u.port = (int)port;
        p = end;
    }
    if (*p == '/' && p[1] != '\0') {
        if (strlen(p) >= sizeof u.path) {
            snprintf(why, cap, "the path is longer than %zu", sizeof u.path - 1);
            return RC_INVALID;
        }
        snprintf(u.path, sizeof u.path, "%s", p);
    } else if (*p != '/' && *p != '\0') {
        snprintf(why, cap, "cannot be understood from '%s' on", p);
        return RC_INVALID;
    }
    for (const char *c = u.path; *c != '\0'; c++)
        if (*c <= 0x20 || *c == 0x7f) {
            snprintf(why, cap, "has a space or control character in its path");
            return RC_INVALID;
        }
    *ret_url = u;
    return RC_OK;
}
