/*
 * care - what the office may change on this bus, and how the bus lives through it: its secret, signed configuration, duty and law, trial and way
 * back, the count of starts. Only files in state_dir; no loop, no socket, no log. Every step may be the last before a power cut: what is found at the
 * next start is either as before or as after.
 *
 *   care             which versions are kept, on trial, given up; starts. Renamed into place, with a checksum
 *   config-N duty-N law-N    bodies of bundles: written before `care` names them, removed after it does not any more
 *   secret           this gateway's secret, if enrolled or rotated; otherwise [gateway] secret_file
 *   server.key       the server's Ed25519 public key, hex, pinned at enrolment: bundles must be signed by it
 *   server.ca        PEM of who may sign the server's certificate, if the server gave one at enrolment
 *   bundle.part      a bundle that is coming in
 *
 * The local configuration is never written to: it is the factory setting everything falls back to.
 */
#ifndef SCHOOLWARD_CARE_H
#define SCHOOLWARD_CARE_H

#include "config.h"
#include "duty_file.h"

#define CARE_STARTS_MAX     5 /* starts in a row that did not last: safe mode */
#define CARE_FACTORY_STARTS 8 /* nor did safe mode: with the local configuration */
#define CARE_TRIAL_STARTS   3 /* power cuts and crashes a trial is allowed */

struct care_state {
    uint64_t kept[WIRE_BUNDLE_KINDS + 1];   /* by enum wire_bundle_kind; 0 = the local file */
    uint64_t before[WIRE_BUNDLE_KINDS + 1]; /* what was kept before */
    uint64_t newest[WIRE_BUNDLE_KINDS + 1]; /* highest version ever taken up: none below or equal comes in again */
    uint64_t trial, trial_order;            /* configuration on trial, 0 = none; the order that brought it */
    uint64_t trial_starts;
    uint64_t back, back_order; /* configuration that was given up and not yet told of */
    uint64_t boots, starts;    /* in the life of state_dir; in a row that did not last */
};

struct care;

/*
 * care_open - read the state. A damaged one is treated as none: the local files, the secret and the key stay.
 *   ret_damaged  true: so it was
 *   returns      RC_OK, RC_NO_MEMORY
 */
enum rc care_open(const char *dir, const char *gateway, struct care **ret_c, bool *ret_damaged) RC_MUST_USE;
void care_close(struct care *c); /* NULL is fine */
const struct care_state *care_state(const struct care *c);

/*
 * care_boot - the program starts: count it, and decide about a trial. After this care_config() says what to run.
 *   again    the program started itself anew: not counted
 *   returns  RC_OK; RC_IO the state cannot be written (a trial is not begun then), the reason in why
 */
enum rc care_boot(struct care *c, bool again, char *why, size_t cap) RC_MUST_USE;
bool care_safe(const struct care *c); /* position, inputs and alarms only */
/* Path of the configuration to run into out; false: the local one. */
bool care_config(const struct care *c, char *out, size_t cap);
/* Of duty or law to use, otherwise the local one's path as configured. */
void care_path(const struct care *c, uint8_t kind, const char *local, char *out, size_t cap);
enum report_config care_config_kind(const struct care *c);
/* The configuration that care_config() named cannot be used: a trial is given up, a kept one is left for the one before, then for the local one. */
enum rc care_config_bad(struct care *c, char *why, size_t cap) RC_MUST_USE;

/* The start was a good one. The program ends in order. */
enum rc care_lasted(struct care *c, char *why, size_t cap) RC_MUST_USE;
/* The trial reached the server: it is kept. It did not: the one before runs at the next start. */
enum rc care_confirm(struct care *c, char *why, size_t cap) RC_MUST_USE;
enum rc care_give_up(struct care *c, char *why, size_t cap) RC_MUST_USE;
enum rc care_back_told(struct care *c, char *why, size_t cap) RC_MUST_USE;

/*
 * care_piece - a piece of a bundle; they come in order from offset 0.
 *   returns  RC_OK more to come; RC_END it is whole: care_apply(); RC_DENIED no key is pinned; RC_RANGE not newer; RC_INVALID out of order or a trial
 * is under way; RC_IO: the reason in why
 */
enum rc care_piece(struct care *c, const struct wire_order *o, char *why, size_t cap) RC_MUST_USE;

struct care_local {               /* what the dry run needs */
    const struct config *factory; /* the local configuration: id, secret_file and state_dir must stay as there */
    const char *const *set;       /* of the command line */
    size_t sets;
    const struct config *running;
};
/*
 * care_apply - check the whole bundle: hash, signature, version; then a dry run (a configuration is read with all the files it names, a duty is read
 * with the law and the law with the duty); then take it up. A configuration is on trial from the next start on, a duty or law is in force. ret_kind
 * of the bundle ret_duty   duty or law: what to judge by from now on; the caller's returns    RC_OK; RC_DENIED the signature is not the server's;
 * RC_CORRUPT the hash; RC_RANGE not newer; RC_INVALID the dry run failed; RC_IO: reason in why, nothing is changed
 */
enum rc care_apply(struct care *c, const struct care_local *l, uint8_t *ret_kind, struct duty_file **ret_duty, char *why, size_t cap) RC_MUST_USE;

/* The secret in use: dir/secret, otherwise as config_secret(). */
enum rc care_secret(const char *dir, const struct config *config, char ret_secret[UPLINK_SECRET_MAX + 1], char *why, size_t cap) RC_MUST_USE;
enum rc care_put_secret(const char *dir, const char *secret, char *why, size_t cap) RC_MUST_USE;
/* What came with enrolment; ca "" = none. */
enum rc care_put_trust(const char *dir, const uint8_t key[32], const char *ca, char *why, size_t cap) RC_MUST_USE;
/* ca_file as configured, otherwise dir/server.ca if it is there, otherwise "". */
void care_ca(const char *dir, const struct config *config, char *out, size_t cap);

#endif
