#include "hash_cards.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "drivers/cards.h"

int hash_cards(const struct config *c, const char *number)
{
    const struct config_device *reader = NULL;
    char line[128], why[256] = "";
    int status = EX_OK;
    for (size_t i = 0; i < c->devices && reader == NULL; i++)
        if (strcmp(c->device[i].driver->name, "cards") == 0)
            reader = &c->device[i];
    if (reader == NULL) {
        fprintf(stderr, "no [device NAME] with driver = cards: it names the key\n");
        return EX_CONFIG;
    }
    bool many = strcmp(number, "-") == 0;
    for (unsigned n = 1; many ? fgets(line, sizeof line, stdin) != NULL : n == 1; n++) {
        uint64_t hash = 0;
        if (!many)
            snprintf(line, sizeof line, "%s", number);
        line[strcspn(line, "\r\n")] = '\0';
        if (cards_hash(reader->options, line, &hash, why, sizeof why) == RC_OK) {
            printf("%016" PRIx64 "\n", hash);
        } else { /* by its place, not by its number */
            fprintf(stderr, "card %u: %s\n", n, why);
            status = EX_DATAERR;
        }
    }
    explicit_bzero(line, sizeof line);
    return status;
}
