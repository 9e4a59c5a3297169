/*
 * config - the gateway's configuration: INI sections [gateway] [outbox] [uplink] [care] [media] [panel] [gnss] and one [device NAME] per instance of a driver, each described by
 * a field table. Refuses what it does not know; tells every problem at once as file:line: key: problem: hint.
 */
#ifndef SCHOOLWARD_GATEWAY_CONFIG_H
#define SCHOOLWARD_GATEWAY_CONFIG_H

#include <stdio.h>

#include "../core/base/conf.h"
#include "../core/base/log.h"
#include "driver.h"
#include "fixgate.h"
#include "panel.h"
#include "uplink.h"
#include "uplink_url.h"

#define CONFIG_DEVICES_MAX 16
#define CONFIG_PATH_MAX 199

struct config_gateway {
    char id[DUTY_ID_MAX + 1];
    char server[UPLINK_URL_MAX + 1]; /* "" = no uplink: records are kept */
    char secret_file[CONFIG_PATH_MAX + 1], ca_file[CONFIG_PATH_MAX + 1], cert_file[CONFIG_PATH_MAX + 1], key_file[CONFIG_PATH_MAX + 1],
         duty_file[CONFIG_PATH_MAX + 1], law_file[CONFIG_PATH_MAX + 1];
    char state_dir[CONFIG_PATH_MAX - 49]; /* outbox.db and its companions */
    int log_level;                        /* index: error warning notice info debug */
};
struct config_outbox {
    int64_t group_ms, max_mb;
};
struct config_uplink {
    int64_t retry_min_ms, retry_max_ms, silent_ms, refused_ms, ping_s, pong_s, window;
};
struct config_care {
    int64_t report_s, confirm_s, lasted_s, safe_s;
};
struct config_media {
    int64_t max_mb, max_items, item_mb, reserve_mb, kib_per_s;
};
struct config_device {
    char name[EVENT_NAME_MAX + 1];
    const struct driver *driver;
    int64_t silence_ms; /* 0 = the driver's default */
    void *options;      /* the driver's record */
};

struct config {
    struct config_gateway gateway;
    struct config_outbox outbox;
    struct config_uplink uplink;
    struct config_care care;
    struct config_media media;
    struct panel_options panel;
    struct fixgate_options gnss;
    struct config_device device[CONFIG_DEVICES_MAX];
    size_t devices;
};

/*
 * config_read - read and check a configuration, and the files that its devices' options name (register maps, recordings).
 *   path       the file, NULL = none, only `set`
 *   set, sets  section.key=value assignments that override it
 *   problems   every problem found; zero it before
 *   returns    RC_OK; RC_INVALID with problems; RC_IO the file cannot be read (told in problems too); RC_NO_MEMORY
 */
enum rc config_read(const char *path, const char *const *set, size_t sets, struct config **ret_c, struct conf_problems *problems) RC_MUST_USE;
/* The same from text in memory (tests, fuzzing); opens no file. */
enum rc config_read_text(const char *text, size_t n, const char *name, struct config **ret_c, struct conf_problems *problems) RC_MUST_USE;
void config_free(struct config *c); /* NULL is fine */

void config_print(FILE *out, const struct config *c);
/* The tables of the sections, one after the other, for the manual; false: there is no i-th. Drivers' own: driver_all. */
bool config_table(size_t i, const char **ret_section, const struct field **ret_table, size_t *ret_n);
enum log_level config_log_level(const struct config *c);

/*
 * config_secret - the first line of the secret file; where that is not there, of systemd's credential schoolward-gateway.secret.
 *   returns  RC_OK; RC_IO, RC_INVALID (empty, too long, not printable) with the reason in why
 */
enum rc config_secret(const struct config *c, char ret_secret[UPLINK_SECRET_MAX + 1], char *why, size_t cap) RC_MUST_USE;

#endif
