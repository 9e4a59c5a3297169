/*
 * config - the server's configuration: INI sections [server] [ingest] [live] [journal] [media] [series] [notify], each described by a field table. Refuses what it
 * does not know; tells every problem at once as file:line: key: problem: hint.
 */
#ifndef SCHOOLWARD_SERVER_CONFIG_H
#define SCHOOLWARD_SERVER_CONFIG_H

#include <stdio.h>

#include "../core/base/conf.h"
#include "../core/base/log.h"

#define CONFIG_SERVER_PATH_MAX 255
#define CONFIG_SERVER_TEXT_MAX 255

struct config_server {
    struct {
        char listen[64];
        char public_url[CONFIG_SERVER_TEXT_MAX + 1];
        char time_zone[64];
        char state_dir[CONFIG_SERVER_PATH_MAX - 55]; /* files of ours follow it */
        char duty_file[CONFIG_SERVER_PATH_MAX + 1], law_file[CONFIG_SERVER_PATH_MAX + 1], tokens_file[CONFIG_SERVER_PATH_MAX + 1];
        char link_key_file[CONFIG_SERVER_PATH_MAX + 1], web_dir[CONFIG_SERVER_PATH_MAX + 1], maps_dir[CONFIG_SERVER_PATH_MAX + 1];
        int64_t fresh_s, delayed_s, stale_s; /* rising */
        int log_level; /* index: error warning notice info debug */
    } server;
    struct {
        int64_t max_connections, bytes_per_s, ack_ms, hello_s, silent_s;
        double rate_per_s;
    } ingest;
    struct {
        int64_t unread_kib, stuck_s;
    } live;
    struct {
        int64_t group_ms;
    } journal;
    struct {
        int64_t gateway_mb, total_mb, item_mb, reserve_mb;
    } media;
    struct {
        int api; /* enum series_api */
        char url[CONFIG_SERVER_TEXT_MAX + 1], database[64], retention[64], org[64], bucket[64], user[64];
        char password_file[CONFIG_SERVER_PATH_MAX + 1], token_file[CONFIG_SERVER_PATH_MAX + 1];
        int64_t batch_points, flush_ms, timeout_ms;
    } series;
    struct {
        char url[CONFIG_SERVER_TEXT_MAX + 1], secret_file[CONFIG_SERVER_PATH_MAX + 1];
    } notify;
    /* made of the above */
    char address[64]; /* of listen: IPv4, loopback */
    int port;
};

/*
 * config_server_read - read and check a configuration.
 *   path       the file, NULL = none, only `set`
 *   set, sets  section.key=value assignments that override it
 *   problems   every problem found; zero it before
 *   returns    RC_OK; RC_INVALID with problems; RC_IO the file cannot be read (told in problems too); RC_NO_MEMORY
 */
enum rc config_server_read(const char *path, const char *const *set, size_t sets, struct config_server *ret_c, struct conf_problems *problems) RC_MUST_USE;
/* The same from text in memory (tests). */
enum rc config_server_read_text(const char *text, size_t n, const char *name, const char *const *set, size_t sets, struct config_server *ret_c,
                                struct conf_problems *problems) RC_MUST_USE;
void config_server_print(FILE *out, const struct config_server *c);
enum log_level config_server_log_level(const struct config_server *c);

/*
 * config_server_secret - the first line of a file that only we may read. An empty path gives an empty secret.
 *   returns  RC_OK; RC_IO cannot be read; RC_DENIED others may read it; RC_INVALID empty or longer than cap - 1; the reason in why
 */
enum rc config_server_secret(const char *path, char *out, size_t cap, char *why, size_t why_cap) RC_MUST_USE;

#endif
