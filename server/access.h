/*
 * access - who is asking and what they may see. For now bootstrap tokens with a role each (a server with these refuses to listen beyond loopback),
 * one-time tickets for the live socket, and signed expiring links for parents. Every route of the API names a policy; no policy, no start.
 */
#ifndef SCHOOLWARD_ACCESS_H
#define SCHOOLWARD_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/rc.h"

struct access;

enum access_role { ACCESS_NOBODY = 0, ACCESS_OFFICER = 1, ACCESS_POLICE = 2, ACCESS_ADMIN = 4, ACCESS_PARENT = 8 };

struct access_who {
    enum access_role role;
    char name[64];            /* of the token: for the record of who acknowledged */
    /* parents only */
    char link[40];            /* link id */
    char vehicle[32], stop[32];
    int64_t expires_ms;
};

/*
 * access_open - read bootstrap tokens.
 *   tokens_path  lines "name role token" (role: officer, police, admin), token 32..256 characters of [A-Za-z0-9._~+/=-], file mode without
 *                group/other rights, '#' comments; at most ACCESS_TOKENS_MAX lines
 *   link_key     32 bytes, signs parent links (HMAC-SHA256); copied
 *   returns      RC_OK; RC_IO cannot be read; RC_DENIED others may read it; RC_INVALID with "file:line: problem: hint" in why; RC_FULL; RC_NO_MEMORY
 */
#define ACCESS_TOKENS_MAX 256
enum rc access_open(const char *tokens_path, const uint8_t link_key[32], struct access **ret_a, char *why, size_t cap) RC_MUST_USE;
void access_free(struct access *a);

/*
 * Who holds this bearer token (bootstrap token or parent link)? RC_OK, RC_DENIED (constant time), RC_TIMEOUT an expired link: only said of one whose
 * signature is right.
 */
enum rc access_bearer(const struct access *a, const char *token, size_t n, int64_t now_ms, struct access_who *ret_who) RC_MUST_USE;

/* One-time ticket, ACCESS_TICKET_MS, at most 1024 outstanding (RC_FULL). out: 43 characters and NUL. Tickets belong to the loop's thread. */
#define ACCESS_TICKET_MS 30000
enum rc access_ticket(struct access *a, const struct access_who *who, int64_t now_ms, char out[64]) RC_MUST_USE;
enum rc access_redeem(struct access *a, const char *ticket, int64_t now_ms, struct access_who *ret_who) RC_MUST_USE;

/*
 * A signed link token for one stop of one vehicle's route: base64url(payload) "." base64url(HMAC-SHA256(key, base64url(payload))).
 *   vehicle, stop  ids of the duty
 *   returns        RC_OK; RC_INVALID not ids; RC_RANGE expires_ms <= 0; RC_FULL out (ACCESS_LINK_MAX + 1 is enough); RC_IO no random numbers
 */
#define ACCESS_LINK_MAX 255
enum rc access_link(const struct access *a, const char *vehicle, const char *stop, int64_t expires_ms, char *out, size_t cap) RC_MUST_USE;

#endif
