/*
 * recorder - what a tap takes from a device's line, as lines of a recording that tests/replay plays (HACKING.md, "Recordings"). Knows which line a
 * device is on and whether it may be recorded at all: never a line with a card reader, whose numbers belong to children.
 */
#ifndef SCHOOLWARD_RECORDER_H
#define SCHOOLWARD_RECORDER_H

#include <stdio.h>

#include "config.h"
#include "tap.h"

#define RECORDER_SECONDS_MAX 3600

struct recorder {
    char line[TAP_LINE_MAX + 1];
    const struct config_device *device;
    bool asks; /* the device only speaks when asked: its answers are written as answers */
    int64_t began_ms;
    uint64_t pieces, bytes; /* so far */
    int64_t last_ms;        /* of the newest line: they rise */
    /* a question and its answer in the making */
    int64_t asked_ms, answer_ms; /* answer_ms: of its first piece, 0 none yet */
    size_t asked_n, answer_n;
    uint8_t asked[256], answer[1024];
};

/*
 * recorder_start - find the device, begin to tap its line.
 *   returns  RC_OK; RC_NOT_FOUND no such device; RC_DENIED it may not be recorded, or another recording runs; RC_UNSUPPORTED it has no line;
 * RC_NO_MEMORY. why: "problem: hint"
 */
enum rc recorder_start(const struct config *c, const char *device, struct recorder *ret_r, char *why, size_t cap) RC_MUST_USE;
/* The head of the file: driver, options (without folders and files of this machine), slaves. */
void recorder_head(const struct recorder *r, FILE *out);
/* What came since the last call; returns how many pieces. */
size_t recorder_write(struct recorder *r, FILE *out);
/* The last lines; ends the tap. */
void recorder_end(struct recorder *r, FILE *out);

#endif
