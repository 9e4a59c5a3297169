/* registry - all drivers: a new one is a file of its own and one line here. */
#include <string.h>

#include "../driver.h"

extern const struct driver driver_gpsd, driver_counter, driver_hpc168, driver_people, driver_interval, driver_cards, driver_inputs, driver_camera, driver_text_line,
    driver_replay;

const struct driver *const driver_all[] = {
    &driver_gpsd,  &driver_counter, &driver_hpc168, &driver_people, &driver_interval, &driver_cards, &driver_inputs, &driver_camera, &driver_text_line,
    &driver_replay, NULL,
};

const struct driver *driver_find(const char *name)
{
    for (size_t i = 0; driver_all[i] != NULL; i++)
        if (strcmp(driver_all[i]->name, name) == 0)
            return driver_all[i];
    return NULL;
}
