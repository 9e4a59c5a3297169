/*
 * wire_talk - the parts of the conversation that are about the gateway itself: orders, bundles, enrolment, reports. Inner header of wire.c.
 */
#ifndef SCHOOLWARD_WIRE_TALK_H
#define SCHOOLWARD_WIRE_TALK_H

#include "schoolward.pb-c.h"
#include "wire.h"

/* Copies a text without control characters of at most max bytes; false: it is not one. */
bool wire_talk_text(char *out, size_t max, const char *in);
/* protobuf-c wants char *, and never writes to it when packing. */
char *wire_talk_text_of(const char *s);
enum rc wire_talk_pack(const Schoolward__Frame *m, void *buf, size_t cap, size_t *ret_len) RC_MUST_USE;

/* Into our struct; the name of what is wrong, or NULL. */
const char *wire_talk_order(const Schoolward__Order *m, struct wire_order *o);
const char *wire_talk_order_result(const Schoolward__OrderResult *m, struct wire_order_result *r);
const char *wire_talk_report(const Schoolward__Report *m, struct report *r);
const char *wire_talk_enrol(const Schoolward__Enrol *m, struct wire_enrol *e);
const char *wire_talk_enrolled(const Schoolward__Enrolled *m, struct wire_enrolled *e);

#endif
