/* The line of a unit that speaks JT/T 808: any bytes; a frame that comes out must survive being built and parsed again; its times must be sane. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/jt808_frame.h"

static void again(const struct jt808_frame *f)
{
    static uint8_t wire[JT808_WIRE_MAX];
    static struct jt808_frame g;
    struct jt808_parser p = {.inside = false};
    enum jt808_fault fault;
    size_t n = jt808_build(f, wire);
    unsigned frames = 0;
    if (n > sizeof wire)
        abort();
    for (size_t i = 0; i < n; i++)
        frames += jt808_parse(&p, wire[i], &g, &fault) == RC_OK;
    if (frames != 1 || g.id != f->id || g.serial != f->serial || g.is_2019 != f->is_2019 || g.n != f->n || memcmp(g.body, f->body, f->n) != 0 ||
        memcmp(g.terminal, f->terminal, sizeof g.terminal) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jt808_parser p;
    static struct jt808_frame f;
    enum jt808_fault fault;
    memset(&p, 0, sizeof p);
    for (size_t i = 0; i < size; i++) {
        int64_t ms = 0;
        if (jt808_parse(&p, data[i], &f, &fault) != RC_OK)
            continue;
        again(&f);
        if (f.n >= 6 && jt808_time_ms(f.body, &ms) == RC_OK && (ms < INT64_C(946656000000) || ms >= INT64_C(4102416000000)))
            abort(); /* 2000 to 2099 in China */
    }
    /* whatever was on the line: of two frames at least the second is understood */
    static uint8_t wire[JT808_WIRE_MAX];
    size_t n = jt808_build(&(struct jt808_frame){.id = 0x1005, .n = 16}, wire);
    bool found = false;
    for (size_t i = 0; i < 2 * n; i++)
        found |= jt808_parse(&p, wire[i % n], &f, &fault) == RC_OK;
    if (!found)
        abort();
    return 0;
}
