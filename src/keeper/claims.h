/* claims.h - what a token says of itself, and whether that is enough: the JSON of an introspection answer (RFC 7662 §2.2) and the claims of a JWT
 * (RFC 7519 §4.1). Text in, verdict out.
 */
#ifndef KEEPER_CLAIMS_H
#define KEEPER_CLAIMS_H

#include "config/config.h"

#define CLAIMS_ACCOUNT_MAX 320
#define CLAIMS_LEEWAY_S    60 /* between the clocks of the issuer and ours (RFC 7519 §4.1.4) */

enum claims_verdict {
    CLAIMS_GOOD,
    CLAIMS_BAD,      /* this token is not good here; why: for the log */
    CLAIMS_UNREADABLE /* no JSON, or not what the RFC says: the fault of who wrote it */
};

struct claims {
    char account[CLAIMS_ACCOUNT_MAX]; /* as the issuer writes it; NUL-terminated */
    int64_t expires_s;                /* seconds since 1970; INT64_MAX: never said */
};
/* introspection: `active` decides and `exp` may be missing; else `exp` is required. why: a sentence for the log. */
enum claims_verdict claims_check(const struct config_oauth *o, struct vr_str json, bool introspection, int64_t now_s,
                                 struct claims *out, char why[256]);

#endif
