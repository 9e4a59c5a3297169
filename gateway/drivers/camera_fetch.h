/*
 * camera_fetch - pictures and clips out of one camera, one after the other: what alarms announced is asked for (0x50), its packets (0x51) go straight
 * to the store, in whatever order they come; what is missing is asked for again. Knows no line: the driver sends what this decides.
 */
#ifndef SCHOOLWARD_CAMERA_FETCH_H
#define SCHOOLWARD_CAMERA_FETCH_H

#include "../driver.h"
#include "camera_frame.h"

#define CAMERA_FETCH_QUEUE 32 /* files announced and not yet fetched; more are lost, and told */

enum camera_fetch_phase { CAMERA_FETCH_IDLE = 0, CAMERA_FETCH_ASK, CAMERA_FETCH_ASKED, CAMERA_FETCH_COMING };

struct camera_fetch {
    struct driver_ctx *ctx;
    struct driver_media queue[CAMERA_FETCH_QUEUE];
    size_t n;
    struct driver_media now; /* what is being fetched */
    enum camera_fetch_phase phase;
    int file;
    uint32_t packets, got; /* 0 packets: none came yet */
    uint32_t packet_size;  /* of all but the last, 0 not known yet */
    uint32_t bytes;        /* of the file, known with the last packet */
    int64_t moved_ms;
    unsigned nudges, rounds;
    uint8_t have[8192]; /* bit per packet */
};

void camera_fetch_init(struct camera_fetch *f, struct driver_ctx *ctx);
void camera_fetch_add(struct camera_fetch *f, const struct driver_media *m);
/* What to ask for now with 0x50; false: nothing, or it is under way. */
bool camera_fetch_wants(struct camera_fetch *f, int64_t now_ms, uint8_t ret_body[5]);
/* 0x50 was answered, or three times not. */
void camera_fetch_asked(struct camera_fetch *f, int64_t now_ms, bool answered);
/* A packet came. Returns the answer's last byte: 0 got it, 1 send it again. */
uint8_t camera_fetch_packet(struct camera_fetch *f, const struct camera_packet *p, int64_t now_ms);
/*
 * camera_fetch_stalled - nothing came for a while.
 *   receiving  a long frame is just coming in
 *   ret_body   the "send it again" of the first missing packet
 *   returns    true: send it as an answer to 0x51
 */
bool camera_fetch_stalled(struct camera_fetch *f, int64_t now_ms, bool receiving, uint8_t ret_body[CAMERA_MEDIA_HEAD + 1]);
/*
 * camera_fetch_end - the line is gone. What was being fetched is lost, and told: it may be what killed the line.
 *   keep, ret_n  what is queued goes there, to be added again when the line is back; NULL: it is lost too
 */
void camera_fetch_end(struct camera_fetch *f, struct driver_media keep[CAMERA_FETCH_QUEUE], size_t *ret_n);

#endif
