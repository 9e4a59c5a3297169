/*
 * ledger_schema - the ledger's numbered migrations: ledger_schema[i] leads from version i to i + 1. In the common subset of SQLite and PostgreSQL.
 * A migration that was released is never edited; a change is a new one at the end.
 */
#ifndef SCHOOLWARD_LEDGER_SCHEMA_H
#define SCHOOLWARD_LEDGER_SCHEMA_H

#define LEDGER_SCHEMA 1
extern const char *const ledger_schema[LEDGER_SCHEMA];

#endif
