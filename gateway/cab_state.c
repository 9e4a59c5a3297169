#include "cab_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outbox_file.h"
#include "files.h"

/* Sizes and rule count stand for the layout; a change of meaning alone needs a new number here. */
struct head {
    char magic[8];
    uint32_t layout, sizes[4], crc;
};
_Static_assert(sizeof(struct head) == CAB_STATE_BYTES - sizeof(struct cab_state), "the head fits its room");

static struct head head_of(const struct cab_state *s)
{
    struct head h = {.magic = "swcab", .layout = 1};
    h.sizes[0] = sizeof(struct bus);
    h.sizes[1] = sizeof(struct rules_memory);
    h.sizes[2] = sizeof(struct headcount);
    h.sizes[3] = LAW_RULES;
    h.crc = outbox_file_crc(0, s, sizeof *s);
    return h;
}

void cab_state_pack(const struct cab_state *s, unsigned char out[CAB_STATE_BYTES])
{
    struct head h = head_of(s);
    memcpy(out, &h, sizeof h);
    memcpy(out + sizeof h, s, sizeof *s);
}

enum rc cab_state_unpack(const void *data, size_t n, struct cab_state *ret_s)
{
    struct cab_state *s = n == CAB_STATE_BYTES ? malloc(sizeof *s) : NULL;
    if (s == NULL)
        return n == CAB_STATE_BYTES ? RC_NO_MEMORY : RC_INVALID;
    memcpy(s, (const unsigned char *)data + sizeof(struct head), sizeof *s);
    struct head want = head_of(s);
    bool good = memcmp(data, &want, sizeof want) == 0 && memchr(s->vehicle, '\0', sizeof s->vehicle) != NULL &&
                memchr(s->law, '\0', sizeof s->law) != NULL && s->bus.pupils <= BUS_CARDS_MAX && s->bus.staffs <= BUS_STAFF_MAX;
    if (good)
        *ret_s = *s;
    free(s);
    return good ? RC_OK : RC_INVALID;
}

enum rc cab_state_load(const char *dir, struct cab_state *ret_s, char *why, size_t cap)
{
    char *data;
    size_t n;
    enum rc rc = files_read(dir, CAB_STATE_FILE, CAB_STATE_BYTES, &data, &n, why, cap);
    if (rc != RC_OK)
        return rc == RC_RANGE ? RC_INVALID : rc;
    rc = cab_state_unpack(data, n, ret_s);
    free(data);
    if (rc == RC_INVALID)
        snprintf(why, cap, "is damaged or of another version of this program");
    return rc;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
}

uint64_t cab_state_key(const struct cab_state *s)
{
    const struct bus *b = &s->bus;
    uint64_t h = mix(b->run, (uint64_t)b->run_ms);
    h = mix(h, (uint64_t)b->patrol_ms);
    h = mix(h, (uint64_t)b->confirm_ms);
    h = mix(h, b->motion_ms > b->patrol_ms); /* that, not each twitch of the sensor */
    h = mix(h, (uint64_t)s->headcount.told_ms);
    h = mix(h, b->staffs);
    for (int l = 0; l < RULES_LADDERS; l++)
        h = mix(h, s->memory.state[l] >= RULES_ACTIVE);
    return mix(h, s->memory.episode[RULES_LEFT].to);
}
