/* The law pack reader: any bytes; what is accepted must be complete. */
#include <stdlib.h>
#include <string.h>

#include "core/law.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct law *l = NULL;
    char why[200] = "";
    enum rc rc = law_read((const char *)data, size, "fuzz", &l, why, sizeof why);
    if ((rc == RC_OK) != (l != NULL) || (rc != RC_OK && (why[0] == '\0' || memchr(why, '\0', sizeof why) == NULL)))
        abort();
    if (l == NULL)
        return 0;
    for (int r = 0; r < LAW_RULES; r++)
        for (int64_t t = 0; t < 4102444800000; t += 86400000LL * 365) {
            const struct law_rule_text *x = law_rule_at(l, (enum law_rule)r, t);
            if (x == NULL)
                continue;
            if (t < x->from_ms || t >= x->to_ms || x->title_zh[0] == '\0' || x->title_en[0] == '\0' || x->to == 0 || x->cites == 0)
                abort();
            if (x->grades > LAW_GRADES_MAX || x->grades_b > LAW_GRADES_MAX || x->limits > LAW_LIMITS_MAX || x->params > LAW_PARAMS_MAX)
                abort();
        }
    law_free(l);
    return 0;
}
