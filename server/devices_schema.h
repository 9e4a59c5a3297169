/* devices_schema - numbered migrations of devices.db, as ledger_schema.h says of its own. */
#ifndef SCHOOLWARD_DEVICES_SCHEMA_H
#define SCHOOLWARD_DEVICES_SCHEMA_H

#define DEVICES_SCHEMA 1
extern const char *const devices_schema[DEVICES_SCHEMA];

#endif
