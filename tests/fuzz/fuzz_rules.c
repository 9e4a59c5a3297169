/* The rules: any bytes as a bus's day (tests/unit/core/stream.h); whatever happens, episodes are well formed, and a doubled event tells nothing new.
 */
#include "tests/unit/core/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scene *s;
    if (s == NULL)
        s = scene_new(
            "\"rated\":{\"total\":40},\"size\":\"large\",\"permits\":[{\"from_ms\":1795380600000,\"to_ms\":1795380900000,\"reason\":\"works\"}]",
            ",\"weather_orders\":[{\"kind\":\"ice_mud\",\"from_ms\":1795381000000,\"to_ms\":1795381200000}]");
    memset(&s->bus, 0, sizeof s->bus);
    memset(&s->mem, 0, sizeof s->mem);
    s->now_ms = SCENE_T0;
    s->along_m = 5000;
    s->off_m = 0;
    struct stream_state st = {0};
    for (size_t i = 0; i + STREAM_STEP <= size; i += STREAM_STEP) {
        struct event e = stream_event(s, data + i);
        const char *field = "";
        if (event_check(&e, &field) != RC_OK)
            continue;
        struct rules_finding out[RULES_OUT_MAX];
        bus_apply(&s->bus, s->set, s->v, &e);
        size_t n = rules_step(s->law, s->set, s->v, &s->bus, &e, &s->mem, out);
        stream_check(&st, s, out, n);
        bus_apply(&s->bus, s->set, s->v, &e);
        if (rules_step(s->law, s->set, s->v, &s->bus, &e, &s->mem, out) != 0)
            stream_broken("a doubled event tells nothing", &out[0]);
        double limit_kmh = rules_limit_kmh(s->law, s->set, s->v, &s->bus);
        if (!isnan(limit_kmh) && !(limit_kmh >= 5 && limit_kmh <= 130))
            abort();
    }
    return 0;
}
