#include "cli.h"
void cli_man(FILE *out, bool zh)
{
    (void)out;
    (void)zh;
}
