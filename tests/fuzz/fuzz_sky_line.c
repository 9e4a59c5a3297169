/* gpsd's SKY reports as we read them: any bytes; what is read lies in its ranges, and a line cut anywhere is refused. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/drivers/sky_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *line = malloc(n + 1);
    if (line == NULL)
        return 0;
    memcpy(line, data, n);
    line[n] = '\0';
    struct sky_line sky = {.n = 12345};
    if (sky_line_read(line, n, &sky)) {
        if (sky.n > SKYWATCH_SATS || sky.used < 0 || (sky.n > 0 && !sky.satellites))
            abort();
        for (size_t i = 0; i < sky.n; i++)
            if (sky.sat[i].dbhz > 99 || sky.sat[i].id < 8)
                abort();
        size_t end = n;
        while (end > 0 && line[end - 1] != '}')
            end--;
        struct sky_line cut;
        if (end > 0 && sky_line_read(line, end - 1, &cut))
            abort();
    } else if (sky.n != 12345) {
        abort();
    }
    (void)sky_line_is(line);
    free(line);
    return 0;
}
