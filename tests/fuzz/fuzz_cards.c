/* Card readers: any bytes in every format; a card that comes out is one, has one canonical form, and after noise the next but one is read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/card_frame.h"

static void judge(const struct card_id *id, bool reversed, uint32_t width)
{
    struct card_form f = {.reversed = reversed, .width = width};
    struct card_id one, two;
    if (id->n < 1 || id->n > CARD_ID_MAX)
        abort();
    if (card_canonical(id, &f, &one) != RC_OK)
        return;
    if (one.n < 1 || one.n > CARD_ID_MAX || one.byte[0] == 0 || (width > 0 && one.n > width / 8))
        abort();
    f.reversed = false; /* the canonical form of a canonical form is itself */
    if (card_canonical(&one, &f, &two) == RC_OK && (two.n != one.n || memcmp(one.byte, two.byte, one.n) != 0))
        abort();
}

static void feed(enum card_format format, enum card_check check, const uint8_t *data, size_t size)
{
    static const char *const good[] = {"\x02" "1400508931FC" "\x03", "\x02\x09\x02\x04\x2e\x53\x82\xf0\x03", "\r00011110100010010110101101\r", "\r6B3D12D6\r", "\r0005278001\r"};
    struct card_parser p = {.inside = false};
    struct card_id id;
    enum card_fault fault;
    for (size_t i = 0; i < size; i++)
        if (card_parse(&p, format, check, data[i], &id, &fault) == RC_OK)
            judge(&id, i % 2 != 0, i % 3 == 0 ? 24 : 0);
    p.check = CARD_CHECK_AUTO;
    bool found = false;
    for (int k = 0; k < 3; k++)
        for (const char *s = good[format]; *s != '\0'; s++)
            found |= card_parse(&p, format, check, (uint8_t)*s, &id, &fault) == RC_OK;
    if (!found && format != CARD_WIEGAND && check != CARD_CHECK_SUM)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct card_id id;
    char text[64];
    for (int format = CARD_EM4100; format <= CARD_DECIMAL; format++)
        feed((enum card_format)format, (enum card_check)(size % 3), data, size);
    size_t n = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, n);
    text[n] = '\0';
    if (card_from_text(text, &id) == RC_OK)
        judge(&id, false, 0);
    return 0;
}
