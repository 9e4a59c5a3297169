#include "rc.h"

const char *rc_text(enum rc rc)
{
    switch (rc) {
    case RC_OK: return "ok";
    case RC_AGAIN: return "nothing yet";
    case RC_END: return "ended";
    case RC_INVALID: return "invalid";
    case RC_RANGE: return "out of range";
    case RC_FULL: return "full";
    case RC_NOT_FOUND: return "not found";
    case RC_DENIED: return "denied";
    case RC_UNSUPPORTED: return "unsupported";
    case RC_TIMEOUT: return "timed out";
    case RC_IO: return "input/output error";
    case RC_CORRUPT: return "corrupt";
    case RC_NO_MEMORY: return "out of memory";
    }
    return "unknown result";
}
