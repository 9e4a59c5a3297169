/*
 * uplink_name - the server's address: asks the resolver in libuv's pool (on a bad mobile network it blocks for many seconds), and remembers the
 * address that worked last, over restarts too, for when name service is slow or dead but the server is not. Keeps the last trusted date in the same
 * small file.
 */
#ifndef SCHOOLWARD_UPLINK_NAME_H
#define SCHOOLWARD_UPLINK_NAME_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define UPLINK_ADDRESS_MAX 63

/*
 * The answer, once for each question.
 *   address     "10.1.2.3", "2001:db8::1"; NULL: none
 *   remembered  name service said nothing in time, or an error: this is the address that worked last
 *   error       the resolver's words, "" none; set with a remembered address too
 */
typedef void uplink_name_fn(void *arg, const char *address, bool remembered, const char *error);

struct uplink_memory { /* what outlives the program */
    char host[128], address[UPLINK_ADDRESS_MAX + 1];
    int64_t trusted_ms; /* a date that was trusted, 0 none */
};

struct uplink_name {
    uv_loop_t *loop;
    uv_getaddrinfo_t lookup;
    uv_work_t save;
    uv_timer_t patience;
    bool looking, saving, asked, patience_closed;
    char path[256];      /* of the file, "" none */
    unsigned turn;       /* which address of several */
    int64_t answered_ms; /* how long the last answer took, -1 none */
    int64_t began_ms;
    struct uplink_memory memory, saved;
    uplink_name_fn *answer;
    void (*on_idle)(void *arg); /* after uplink_name_stop(): nothing of it is left on the loop */
    void *arg;
};

/* host: a name or an address; path: "" or NULL, nothing is kept over restarts. An unreadable file is as good as none. */
void uplink_name_init(struct uplink_name *n, uv_loop_t *loop, const char *host, const char *path, uplink_name_fn *answer, void *arg);
/* Ask. turn: the how many-th try, a name with several addresses gives another one each. The answer may come before this returns. */
void uplink_name_ask(struct uplink_name *n, unsigned turn);
/* No answer is wanted any more. */
void uplink_name_forget(struct uplink_name *n);
/* The server was there; trusted_ms: the date if it is trusted, 0. Written at most when the address changes, and once a day for the date. */
void uplink_name_worked(struct uplink_name *n, const char *address, int64_t trusted_ms);
/* End; on_idle comes when nothing is left on the loop, perhaps before this returns. */
void uplink_name_stop(struct uplink_name *n, void (*on_idle)(void *arg));

/* The file's text; for tests and fuzzing. Returns whether it makes sense; *ret_m untouched otherwise. */
bool uplink_memory_parse(const char *text, struct uplink_memory *ret_m);

#endif
