/* gpsd's SKY and TPV reports as we read them: any bytes; what is read lies in its ranges, and a line cut anywhere is refused. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/gpsd_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *line = malloc(n + 1);
    if (line == NULL)
        return 0;
    memcpy(line, data, n);
    line[n] = '\0';
    struct gpsd_sky sky = {.n = 12345};
    if (gpsd_line_sky(line, n, &sky)) {
        if (sky.n > SKYWATCH_SATS || sky.used < 0 || (sky.n > 0 && !sky.satellites))
            abort();
        for (size_t i = 0; i < sky.n; i++)
            if (sky.sat[i].dbhz > 99 || sky.sat[i].id < 8)
                abort();
        size_t end = n;
        while (end > 0 && line[end - 1] != '}')
            end--;
        struct gpsd_sky cut;
        if (end > 0 && gpsd_line_sky(line, end - 1, &cut))
            abort();
    } else if (sky.n != 12345) {
        abort();
    }
    struct gpsd_tpv tpv = {.mode = 77};
    const char *rest = NULL;
    if (gpsd_line_tpv(line, n, &tpv, &rest)) {
        if (tpv.mode < 0 || tpv.mode > 3 || tpv.time_ms < 0 || rest <= line || rest > line + n || rest[-1] != '}')
            abort();
    } else if (tpv.mode != 77 || rest != NULL) {
        abort();
    }
    (void)gpsd_line_is_sky(line);
    (void)gpsd_line_is_tpv(line);
    free(line);
    return 0;
}
