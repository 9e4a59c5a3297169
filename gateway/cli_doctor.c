#include "cli.h"
int cli_doctor(const struct cli *c, const struct config *config, const struct conf_problems *problems)
{
    (void)c;
    (void)config;
    (void)problems;
    return 2;
}
