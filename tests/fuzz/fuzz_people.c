/* The line of a distance sensor that counts people: any bytes; a frame comes out only if its check fits, and after noise the third frame at the latest does. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/people_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct people_parser p = {.n = 0};
    struct people_frame f;
    size_t out = 0;
    for (size_t i = 0; i < size; i++) {
        if (people_parse(&p, data[i], &f) == RC_OK)
            out += 7;
        if (p.n >= PEOPLE_FRAME_MAX || out > i + 1)
            abort();
    }
    uint8_t wire[15] = {'P', 'C', 0, 0, 0, 1, 0, 0, 0, 3, 0, 5, 0, 2, 0};
    wire[14] = people_crc8(wire, 14);
    bool found = false;
    for (int k = 0; k < 3; k++) {
        for (size_t i = 0; i < sizeof wire; i++)
            found |= people_parse(&p, wire[i], &f) == RC_OK && f.counts && f.in == 5 && f.out == 2;
    }
    if (!found)
        abort();
    return 0;
}
