/*
 * enrol - a one-time code becomes this gateway's own secret and the server's key: docs/protocol.md 1.5. Blocks for up to a minute; used by the
 * command `enrol` and at a first start on a terminal, never beside the running program.
 */
#ifndef SCHOOLWARD_ENROL_H
#define SCHOOLWARD_ENROL_H

#include "config.h"

struct enrol_setup {
    const struct config *config; /* id, state_dir, ca_file; server unless given below */
    const char *server;          /* wss://..., or ws:// to a loopback address; NULL: of the configuration */
    const char *code;            /* as printed by `schoolward-server device enrol`; blanks and small letters are forgiven */
};

/*
 * enrol_run - ask, store (secret 0600, key, certificate; each renamed into place and fsynced), tell the server that it is stored.
 *   returns  RC_OK, also if the last message was lost: the secret works; RC_DENIED the server refused the code; RC_INVALID the URL, or plain ws:// to
 *            another machine; RC_TIMEOUT no answer; RC_IO: the reason in why
 */
enum rc enrol_run(const struct enrol_setup *s, char *why, size_t cap) RC_MUST_USE;

/* The command line of `schoolward-gateway enrol`; argv[0] is "enrol". Returns the exit status. */
int enrol_main(int argc, char **argv);
/* At a start without secret: ask for the code if stdin is a terminal. False: no secret was got. */
bool enrol_ask(const struct config *config);

#endif
