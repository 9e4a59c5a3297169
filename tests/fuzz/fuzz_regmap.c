/* Register maps and camera models: any text is read or refused with a reason; what is read keeps its promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/regmap.h"
#include "gateway/drivers/total.h"

static void use_counter(const struct regmap_counter *m)
{
    int32_t at[REGMAP_BLOCKS];
    size_t n = 0;
    struct regmap_block block[REGMAP_BLOCKS];
    if ((m->width != 16 && m->width != 32) || (m->function != 3 && m->function != 4))
        abort();
    for (int d = 0; d < REGMAP_DOORS; d++) {
        if (m->door[d].fitted) {
            at[n++] = m->door[d].in;
            if (m->door[d].out >= 0)
                at[n++] = m->door[d].out;
        }
    }
    int32_t each = m->width / 16;
    size_t blocks = regmap_plan(at, n, each, m->gap, 125, block);
    if (blocks == 0 || blocks > n)
        abort();
    for (size_t i = 0; i < n; i++) { /* every address is in a block, and no block is too long */
        bool found = false;
        for (size_t b = 0; b < blocks; b++)
            found |= at[i] >= block[b].first && at[i] + each <= block[b].first + block[b].n && block[b].n <= 125;
        if (!found)
            abort();
    }
    struct total t = {.based = false};
    for (int64_t i = 0; i < 8; i++) {
        int32_t before = t.persons;
        uint16_t words[2] = {(uint16_t)(i * 40503), (uint16_t)(i * 30011)};
        total_step(&t, m, regmap_value(m, words), i * 1000);
        if (t.persons < before || t.persons - before > TOTAL_BURST_MAX + 1)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct regmap_counter counter;
    struct regmap_inputs inputs;
    struct regmap_camera camera;
    char why[256] = "";
    const char *text = (const char *)data;
    if (regmap_text_counter(text, size, "fuzz", &counter, why, sizeof why) == RC_OK)
        use_counter(&counter);
    else if (why[0] == '\0')
        abort();
    why[0] = '\0';
    if (regmap_text_inputs(text, size, "fuzz", &inputs, why, sizeof why) != RC_OK && why[0] == '\0')
        abort();
    why[0] = '\0';
    if (regmap_text_camera(text, size, "fuzz", &camera, why, sizeof why) != RC_OK && why[0] == '\0')
        abort();
    return 0;
}
