/*
 * care - the command line for gateways as devices: `schoolward-server device ...` and `schoolward-server order ...`. Works on the files of state_dir;
 * a running server notices within a second.
 */
#ifndef SCHOOLWARD_SERVER_CARE_H
#define SCHOOLWARD_SERVER_CARE_H

#include "config.h"

/* words: what stands behind "device" or "order" (words[0]) on the command line. Returns the exit status. */
int care_command(const struct config_server *config, char *const *words, size_t n, bool as_json);
extern const char care_usage[];

#endif
