/*
 * cli - the subcommands of schoolward-gateway for a person at the bus: status, doctor, record. They run beside the service or without it and change
 * nothing.
 */
#ifndef SCHOOLWARD_CLI_H
#define SCHOOLWARD_CLI_H

#include <stdio.h>

#include "config.h"

#define CLI_SETS_MAX 64

struct cli {
    const char *command, *device, *out, *lang; /* lang: zh, en, NULL = as the environment says */
    const char *config, *set[CLI_SETS_MAX];
    size_t sets;
    int seconds; /* 0 = the command's default */
    bool json;
};

bool cli_knows(const char *command);
/* argv[0] is the command. Returns the exit status. */
int cli_main(int argc, char **argv);

int cli_status(const struct cli *c, const struct config *config);
int cli_record(const struct cli *c, const struct config *config);
/* config NULL: it cannot be read; what is wrong stands in problems. */
int cli_doctor(const struct cli *c, const struct config *config, const struct conf_problems *problems);
/* The option tables of gateway.conf(5) as man(7) source. */
void cli_man(FILE *out, bool zh);

bool cli_zh(const struct cli *c);
/* Columns a UTF-8 text takes on a terminal: CJK characters take two. */
int cli_width(const char *text);
/* Print text, then blanks up to width columns. */
void cli_pad(FILE *out, const char *text, int width);
/*
 * cli_ask - ask the running gateway, print nothing.
 *   ret_fd   its answer follows, after the line "ok"
 *   returns  RC_OK; RC_NOT_FOUND none is running; RC_DENIED no right to ask it; RC_INVALID it says no: why; RC_IO
 */
enum rc cli_ask(const struct config *config, const char *question, int *ret_fd, char *why, size_t cap);

#endif
