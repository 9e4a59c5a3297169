/*
 * slave - a Modbus slave of the simulated bus (libmodbus, one thread each): RTU on a pty or TCP. It can be unplugged and made to answer too late.
 */
#ifndef SCHOOLWARD_SIM_SLAVE_H
#define SCHOOLWARD_SIM_SLAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../core/rc.h"

#define SLAVE_REGISTERS 128 /* holding and input registers, addresses 0 .. 127 (both show the same values) */
#define SLAVE_BITS      64  /* discrete inputs and coils, addresses 0 .. 63 */

struct slave;

struct slave_setup {
    const char *name; /* for messages and the log of coil writes */
    const char *link; /* the pty's name; NULL: TCP */
    int port;         /* TCP on 127.0.0.1, 0 = any free one */
    int unit;         /* slave address 1..247 */
    /* A coil was written; on the slave's own thread. NULL is fine. */
    void (*on_coil)(void *arg, const char *name, int address, bool on);
    void *arg;
};

enum rc slave_start(const struct slave_setup *setup, struct slave **ret_s, char *why, size_t cap) RC_MUST_USE;
void slave_stop(struct slave *s); /* NULL is fine */
int slave_port(const struct slave *s);

/* Registers and inputs as the next request shall see them, all n at once. */
void slave_set_registers(struct slave *s, int address, const uint16_t *value, int n);
void slave_set_input(struct slave *s, int address, bool on);
bool slave_coil(struct slave *s, int address);

unsigned slave_requests(struct slave *s); /* answered so far */

void slave_plug(struct slave *s, bool plugged);  /* false: the line vanishes within half a second */
void slave_answer_late(struct slave *s, int ms); /* 0 = at once */

#endif
