/*
 * port - a line to a device: a serial port, a pseudo terminal or a TCP connection, as one non-blocking descriptor. It opens, configures, reads and
 * writes bytes, and notices a hang-up. It knows no protocol, never waits except in port_ready(), never logs.
 *
 * Names:
 *   /dev/ttyS1, /dev/serial/by-id/...  serial line by libserialport, which wants the real name: links are resolved first. Where the kernel has no
 *                                      modem lines for it (pseudo terminals, USB gadgets) the port is set up with termios directly.
 *   tcp:ADDRESS:PORT                   connect; ADDRESS is numeric (a name look-up would block), IPv6 in brackets
 *   tcp-listen:ADDRESS:PORT            wait for the device to connect; a newer connection replaces the older one
 */
#ifndef SCHOOLWARD_PORT_H
#define SCHOOLWARD_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/field.h"

#define PORT_PATH_MAX 127

enum port_parity { PORT_PARITY_NONE = 0, PORT_PARITY_EVEN = 1, PORT_PARITY_ODD = 2 };
enum port_kind { PORT_SERIAL = 1, PORT_TERMIOS = 2, PORT_TCP = 3, PORT_TCP_LISTEN = 4 };

struct port_setup {
    char path[PORT_PATH_MAX + 1];
    uint32_t baud; /* 1200..921600 */
    int parity;    /* enum port_parity */
    uint32_t data_bits, stop_bits;
};

/* The fields of a driver's options that describe its port; `type` has a member `struct port_setup port`. */
#define PORT_FIELDS(type, initial_baud, initial_parity)                                                                                        \
    {"port", FIELD_TEXT, FIELD_AT(type, port.path), "", 1, PORT_PATH_MAX, NULL, NULL, "/dev/..., tcp:ADDRESS:PORT or tcp-listen:ADDRESS:PORT"}, \
    {"baud", FIELD_UINT, FIELD_AT(type, port.baud), "bit/s", 1200, 921600, NULL, initial_baud, "serial speed"},                                \
    {"parity", FIELD_WORD, FIELD_AT(type, port.parity), "", 0, 2, port_parity_words, initial_parity, "serial parity"},                          \
    {"data_bits", FIELD_UINT, FIELD_AT(type, port.data_bits), "bit", 7, 8, NULL, "8", "serial data bits"},                                     \
    {"stop_bits", FIELD_UINT, FIELD_AT(type, port.stop_bits), "bit", 1, 2, NULL, "1", "serial stop bits"}
extern const char *const port_parity_words[]; /* none, even, odd */

struct port;

/*
 * port_open - start reaching the port; a TCP connection may still be under way when this returns.
 *   why, cap  on failure "problem: what to do"
 *   returns   RC_OK; RC_INVALID the name makes no sense, RC_NOT_FOUND no such device, RC_DENIED no permission or another program has it,
 *             RC_UNSUPPORTED the port refuses the settings, RC_IO, RC_NO_MEMORY
 */
enum rc port_open(const struct port_setup *s, struct port **ret_p, char *why, size_t cap) RC_MUST_USE;
void port_close(struct port *p); /* NULL is fine */

/* Descriptor to watch for reading, the same one until port_close(). */
int port_fd(const struct port *p);
/* Descriptor that carries the bytes, -1 while nobody is connected. */
int port_data_fd(const struct port *p);
enum port_kind port_kind(const struct port *p);

/* port_read - what is there. RC_OK *ret_n > 0 bytes; RC_AGAIN nothing now; RC_END the other end hung up; RC_IO errno. */
enum rc port_read(struct port *p, void *buf, size_t cap, size_t *ret_n) RC_MUST_USE;
/* port_write - all or nothing for small messages. RC_OK; RC_AGAIN not connected yet or the line takes no more; RC_END, RC_IO as above. */
enum rc port_write(struct port *p, const void *buf, size_t n) RC_MUST_USE;
/* port_ready - wait until connected. RC_OK; RC_TIMEOUT; RC_IO refused or unreachable. For threads that may block. */
enum rc port_ready(struct port *p, int timeout_ms) RC_MUST_USE;
/* port_drain - throw away what has arrived; returns how many bytes that were. */
size_t port_drain(struct port *p);

#endif
