/*
 * fuzz_uplink - what an uplink reads that a stranger or a power cut wrote: headers of an answer that is no websocket, the reason of a close, names in
 * certificates and name service's words (one line each), and its own small file. Every cause has to end in a line that says what to do.
 *
 * First byte: what the rest is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/uplink_name.h"
#include "gateway/uplink_trouble.h"

static void check(const struct uplink_trouble *t)
{
    if (t->cause == UPLINK_CAUSE_NONE || t->what[0] == '\0' || t->todo[0] == '\0' || t->retry_after_ms < 0 || t->retry_after_ms > 3600000)
        abort();
    const struct uplink_patience p = {1000, 60000, 2000, 300000};
    int64_t ms = uplink_trouble_pause_ms(t, &p, 3, 0x123456789abcdef);
    if (ms < 0 || ms > 2 * 3600000)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct uplink_target to = {.host = "bus.example.cn", .path = "/gateway", .gateway = "gw-7", .ca_file = "", .tls = true};
    struct uplink_trouble t;
    struct uplink_memory m;
    if (size < 3)
        return 0;
    char *text = malloc(size - 1); /* exactly as long as it is: a read beyond it is seen */
    if (text == NULL)
        return 0;
    memcpy(text, data + 2, size - 2);
    text[size - 2] = '\0';
    const char *second = strchr(text, '\n');
    second = second != NULL ? second + 1 : "";
    switch (data[0] % 5) {
    case 0: uplink_trouble_http(&t, &to, 100U + data[1] * 4U, text, second); break;
    case 1: uplink_trouble_closed(&t, &to, 4400U + data[1], text); break;
    case 2: uplink_trouble_certificate(&t, &to, data[1], text, second, second); break;
    case 3: uplink_trouble_name(&t, &to, text); break;
    default:
        memset(&m, 0, sizeof m);
        if (uplink_memory_parse(text, &m) &&
            (memchr(m.host, 0, sizeof m.host) == NULL || memchr(m.address, 0, sizeof m.address) == NULL || m.trusted_ms < 0))
            abort();
        free(text);
        return 0;
    }
    check(&t);
    free(text);
    return 0;
}
