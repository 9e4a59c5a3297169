/* control of scripts/bench gateway: what libgps alone needs to take gpsd's lines apart. usage: control_gps_unpack FILE TIMES */
#include <gps.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    static char line[16384];
    static struct gps_data_t data;
    FILE *f = argc == 3 ? fopen(argv[1], "r") : NULL;
    if (f == NULL)
        return 64;
    long lines = 0;
    for (int i = 0; i < atoi(argv[2]); i++) {
        rewind(f);
        while (fgets(line, sizeof line, f) != NULL) {
            line[strcspn(line, "\r\n")] = '\0';
            lines += gps_unpack(line, &data) == 0;
        }
    }
    printf("%ld\n", lines);
    fclose(f);
    return 0;
}
