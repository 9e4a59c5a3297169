/*
 * rc - how a function says how it went. One result type for both programs; results come back through ret_* pointers,
 * which a failing function leaves untouched.
 */
#ifndef SCHOOLWARD_RC_H
#define SCHOOLWARD_RC_H

enum rc {
    RC_OK = 0,
    RC_AGAIN,       /* nothing now, ask again: not an error */
    RC_END,         /* orderly end of a source */
    RC_INVALID,     /* outside data or a caller's value does not make sense */
    RC_RANGE,       /* well formed, but outside its range */
    RC_FULL,        /* a stated limit is reached */
    RC_NOT_FOUND,
    RC_DENIED,
    RC_UNSUPPORTED, /* a version or feature this build does not speak */
    RC_TIMEOUT,
    RC_IO,          /* the system refused; errno or the error text of the module says why */
    RC_CORRUPT,     /* stored data does not check out */
    RC_NO_MEMORY,
};

/* A short English word for a log line, never NULL. */
const char *rc_text(enum rc rc);

#define RC_MUST_USE __attribute__((warn_unused_result))

#endif
