/* The line of door counters: any bytes; a frame that comes out must survive being built and parsed again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/hpc168_frame.h"

static void again(const struct hpc168_frame *f)
{
    uint8_t wire[HPC168_WIRE_MAX];
    struct hpc168_parser p = {.inside = false};
    struct hpc168_frame g = {0};
    enum hpc168_fault fault;
    size_t n = hpc168_build(f, wire);
    unsigned frames = 0;
    if (n > sizeof wire)
        abort();
    for (size_t i = 0; i < n; i++)
        frames += hpc168_parse(&p, wire[i], &g, &fault) == RC_OK;
    if (frames != 1 || g.id != f->id || g.command != f->command || g.n != f->n || memcmp(g.data, f->data, f->n) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hpc168_parser p = {.inside = false};
    struct hpc168_frame f = {0};
    enum hpc168_fault fault;
    for (size_t i = 0; i < size; i++)
        if (hpc168_parse(&p, data[i], &f, &fault) == RC_OK)
            again(&f);
    /* whatever was on the line: the frame after the next start byte is understood */
    uint8_t wire[HPC168_WIRE_MAX];
    size_t n = hpc168_build(&(struct hpc168_frame){.id = 1, .command = 0x93, .n = 16}, wire);
    bool found = false;
    for (size_t i = 0; i < n; i++)
        found |= hpc168_parse(&p, wire[i], &f, &fault) == RC_OK;
    if (!found)
        abort();
    return 0;
}
