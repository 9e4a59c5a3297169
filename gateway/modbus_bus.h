/*
 * modbus_bus - one RS-485 wire or one Modbus TCP unit, shared by every device on it. Devices call from their own threads; the wire serves them in
 * the order they came, one request each, so a counter and an input module take turns. A slave that does not answer rests with growing pauses (1 s
 * doubling to 30 s), so that a dead one costs its neighbours one time-out now and then, not every round.
 *
 * RTU replies carry no number: a reply that comes after its time-out would be taken for the answer to the next request. Therefore everything that
 * lies on the line is thrown away before each request; after a time-out the wire is left quiet for one more time-out, unless the slave has been
 * dead for a while; and the first answer after an error is thrown away and asked for again.
 * Refuses: to use libmodbus' own error recovery, which sleeps and reconnects for ever inside a call.
 */
#ifndef SCHOOLWARD_MODBUS_BUS_H
#define SCHOOLWARD_MODBUS_BUS_H

#include "port.h"

enum modbus_bus_framing { MODBUS_BUS_FRAMING_AUTO = 0, MODBUS_BUS_FRAMING_RTU = 1, MODBUS_BUS_FRAMING_TCP = 2 };

struct modbus_bus_setup {
    struct port_setup port;
    int framing;         /* enum modbus_bus_framing: AUTO = TCP on tcp:, RTU on a serial line */
    uint32_t slave;      /* 1..247; 255 allowed for TCP units without a slave behind them */
    uint32_t timeout_ms; /* the slave's worst case, 20..5000 */
};

/* The fields of a driver's options that describe its place on a wire; `type` has a member `struct modbus_bus_setup modbus`. */
#define MODBUS_BUS_FIELDS(type)                                                                                                                      \
    {"port", FIELD_TEXT, FIELD_AT(type, modbus.port.path), "", 1, PORT_PATH_MAX, NULL, NULL, "/dev/... or tcp:ADDRESS:PORT; devices with the same port share it"}, \
    {"baud", FIELD_UINT, FIELD_AT(type, modbus.port.baud), "bit/s", 1200, 921600, NULL, "9600", "serial speed"},                                 \
    {"parity", FIELD_WORD, FIELD_AT(type, modbus.port.parity), "", 0, 2, port_parity_words, "none", "serial parity"},                            \
    {"data_bits", FIELD_UINT, FIELD_AT(type, modbus.port.data_bits), "bit", 8, 8, NULL, "8", "serial data bits; RTU needs 8"},                   \
    {"stop_bits", FIELD_UINT, FIELD_AT(type, modbus.port.stop_bits), "bit", 1, 2, NULL, "1", "serial stop bits"},                                \
    {"framing", FIELD_WORD, FIELD_AT(type, modbus.framing), "", 0, 2, modbus_bus_framing_words, "auto", "auto, rtu (also over tcp: serial servers), tcp"}, \
    {"slave", FIELD_UINT, FIELD_AT(type, modbus.slave), "", 1, 255, NULL, "1", "the device's Modbus address"},                                   \
    {"timeout_ms", FIELD_UINT, FIELD_AT(type, modbus.timeout_ms), "ms", 20, 5000, NULL, "600", "wait for an answer; above the device's worst case"}
extern const char *const modbus_bus_framing_words[]; /* auto, rtu, tcp */

struct modbus_bus;   /* the wire */
struct modbus_bus_slave; /* one device's place on it */

/*
 * modbus_bus_join - take a place on the wire; the first that joins opens it. Blocks until a TCP connection is there, at most 5 s.
 *   returns  RC_OK; RC_INVALID another device uses the same port with other line settings; RC_NOT_FOUND, RC_DENIED, RC_IO, RC_TIMEOUT the port
 *            cannot be reached; RC_NO_MEMORY. why: "problem: what to do"
 */
enum rc modbus_bus_join(const struct modbus_bus_setup *s, struct modbus_bus_slave **ret_s, char *why, size_t cap) RC_MUST_USE;
void modbus_bus_leave(struct modbus_bus_slave *s); /* NULL is fine; the last one closes the port */

/*
 * modbus_bus_read_registers - n registers from addr. function: 3 holding, 4 input; n 1..125.
 * modbus_bus_read_bits   - n bits from addr, one per byte. function: 1 coils, 2 discrete inputs; n 1..2000.
 *   returns  RC_OK; RC_AGAIN the slave rests after time-outs, nothing was sent; RC_TIMEOUT no answer; RC_INVALID the answer is wrong or an
 *            exception; RC_IO the line is gone: leave and join again later
 */
enum rc modbus_bus_read_registers(struct modbus_bus_slave *s, int function, int addr, int n, uint16_t *ret, char *why, size_t cap) RC_MUST_USE;
enum rc modbus_bus_read_bits(struct modbus_bus_slave *s, int function, int addr, int n, uint8_t *ret, char *why, size_t cap) RC_MUST_USE;
/* Write one coil (function 5) or one register (function 6). Same results. */
enum rc modbus_bus_write_coil(struct modbus_bus_slave *s, int addr, bool on, char *why, size_t cap) RC_MUST_USE;
enum rc modbus_bus_write_register(struct modbus_bus_slave *s, int addr, uint16_t value, char *why, size_t cap) RC_MUST_USE;

struct modbus_bus_figures {
    uint64_t requests, timeouts, bad, stale_bytes, connects;
};
void modbus_bus_figures(const struct modbus_bus_slave *s, struct modbus_bus_figures *ret_f);

#endif
