/*
 * line - a serial line of the simulated bus: a pty whose far side is found under a stable name, like /dev/serial/by-path on a real one.
 */
#ifndef SCHOOLWARD_SIM_LINE_H
#define SCHOOLWARD_SIM_LINE_H

#include <stddef.h>

#include "../../core/rc.h"

/*
 * line_open - make a pty in raw mode, readable and writable for everybody (gpsd runs as a user of its own), and point the symbolic link at it.
 *   ret_fd    our side, non-blocking; *ret_far holds the far side open so that a program that closes it does not hang the line up
 *   returns   RC_OK; RC_IO with the reason in why
 */
enum rc line_open(const char *link, int *ret_fd, int *ret_far, char *why, size_t cap) RC_MUST_USE;

/* Pull the plug: the far side gets EIO, the name is gone. Descriptors < 0 are fine. */
void line_close(const char *link, int *fd, int *far);

#endif
