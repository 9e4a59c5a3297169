/* The duty reader: any bytes; what is accepted must answer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/duty.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct duty_set *s = NULL;
    char why[200] = "";
    enum rc rc = duty_read((const char *)data, size, &s, why, sizeof why);
    if ((rc == RC_OK) != (s != NULL) || (rc != RC_OK && (why[0] == '\0' || memchr(why, '\0', sizeof why) == NULL)))
        abort();
    if (s == NULL)
        return 0;
    for (size_t i = 0; i < s->vehicles; i++) {
        const struct duty_vehicle *v = &s->vehicle[i];
        if (duty_vehicle_by_id(s, v->id) != v || duty_vehicle_of_gateway(s, v->gateway) != v || v->staff < 1 || v->staff_uncounted > v->staff)
            abort();
        for (size_t k = 0; k < v->assignments; k++)
            if (v->assignment[k].route >= s->routes || duty_route_at(s, v, v->assignment[k].from_ms) != &s->route[v->assignment[k].route])
                abort();
        (void)duty_permit_at(v, 1000);
        for (size_t k = 0; k < v->cards; k++)
            if (duty_card_kind(v, v->card[k].hash) != v->card[k].kind || v->card[k].kind == EVENT_CARD_UNKNOWN)
                abort();
    }
    for (size_t i = 0; i < s->routes; i++) {
        const struct duty_route *r = &s->route[i];
        double past_m = 0;
        for (size_t k = 0; k < r->stops; k++) {
            if (!(r->stop[k].along_m >= past_m) || !isfinite(r->stop[k].along_m))
                abort();
            past_m = r->stop[k].along_m;
        }
        for (size_t k = 0; k < r->segments; k++)
            if (duty_segment_at(r, r->segment[k].from_m) != &r->segment[k])
                abort();
    }
    (void)duty_order_at(s, DUTY_WEATHER_LOW_VISIBILITY, 1000);
    duty_free(s);
    return 0;
}
