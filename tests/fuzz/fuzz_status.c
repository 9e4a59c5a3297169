/* What a caller of the status socket may send. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char device[EVENT_NAME_MAX + 1];
    int seconds = 0;
    char *line = malloc(n > 0 ? n : 1); /* exactly as long as it is */
    if (line == NULL)
        return 0;
    memcpy(line, data, n);
    if (status_question(line, n, device, &seconds) == RC_OK) {
        bool status = device[0] == '\0';
        if ((status && seconds != 0) || (!status && (seconds < 1 || seconds > 3600 || strlen(device) > EVENT_NAME_MAX)))
            abort();
    }
    free(line);
    return 0;
}
