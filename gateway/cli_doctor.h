/*
 * cli_doctor - the list of what was looked at: each check adds one line with its judgement and, where it is not well, what to do, in both languages.
 */
#ifndef SCHOOLWARD_CLI_DOCTOR_H
#define SCHOOLWARD_CLI_DOCTOR_H

#include "cli.h"

#define DOCTOR_LINES_MAX 64

enum doctor_mark { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
    struct {
        enum doctor_mark mark;
        char what[48], en[320], zh[320];
    } line[DOCTOR_LINES_MAX];
    size_t n;
};

/* zh and en take the same arguments in the same order. */
void doctor_say(struct doctor *d, enum doctor_mark mark, const char *what, const char *en, const char *zh, ...)
    __attribute__((format(printf, 4, 6), format(printf, 5, 6)));

/* Name, TCP, TLS, upgrade with the secret: what the uplink needs, step by step, at most some 20 s. Sends no Hello: a running gateway is not
 * disturbed. */
void doctor_server(struct doctor *d, const struct config *config);

#endif
