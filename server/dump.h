/*
 * dump - the journal as text, one JSON object a line in the order of arrival: for people who look into an incident and for tests. Reads beside the
 * running server; changes nothing.
 */
#ifndef SCHOOLWARD_DUMP_H
#define SCHOOLWARD_DUMP_H

#include <stdio.h>

#include "../core/rc.h"

/*
 * dump_journal - {"gateway","lane","seq","time_ms","arrival_ms","late","kind", and what the event says}.
 *   dir      the journal's folder
 *   returns  RC_OK, RC_IO (out or the journal), RC_NO_MEMORY
 */
enum rc dump_journal(const char *dir, FILE *out) RC_MUST_USE;

#endif
