/* err.c - names of errors. */
#include <veredus/base.h>

const char *vr_err_name(enum vr_err e)
{
    static const char *const names[] = {
        [VR_OK] = "ok",
        [VR_ERR_SYNTAX] = "syntax",
        [VR_ERR_TOO_BIG] = "too big",
        [VR_ERR_UNSUPPORTED] = "unsupported",
        [VR_ERR_STATE] = "state",
        [VR_ERR_NOT_FOUND] = "not found",
    };
    return (size_t)e < sizeof names / sizeof *names ? names[e] : "unknown";
}
