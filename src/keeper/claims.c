/* claims.c - see claims.h.
 *
 * Sources:    RFC 7519 §4.1 (iss, aud, exp, nbf), RFC 7662 §2.2 (active, scope), RFC 6749 §3.3 (a scope is words with blanks between them).
 * Tests:      tests/unit/tokens.c, tests/fuzz/fuzz_tokens.c
 */
#include "keeper/claims.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static enum claims_verdict bad(char why[256], const char *what)
{
    snprintf(why, 256, "%s", what);
    return CLAIMS_BAD;
}

static enum claims_verdict unreadable(char why[256], const char *what)
{
    snprintf(why, 256, "%s", what);
    return CLAIMS_UNREADABLE;
}

/* Seconds since 1970; a NumericDate may have a fraction. */
static bool read_time(const json_t *v, int64_t *out)
{
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    double d = json_is_real(v) ? json_real_value(v) : -1;
    if (!(d >= 0 && d < 1e15))
        return false;
    *out = (int64_t)d;
    return true;
}

static bool text_is(const json_t *v, const char *wanted)
{
    return json_is_string(v) && json_string_length(v) == strlen(wanted) &&
           memcmp(json_string_value(v), wanted, strlen(wanted)) == 0;
}

/* Is it a text, or one in a list of texts? */
static bool has_text(const json_t *v, const char *wanted)
{
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++)
        if (text_is(json_array_get(v, i), wanted))
            return true;
    return text_is(v, wanted);
}

/* A scope is one text of words; some issuers write a list. */
static bool has_scope(const json_t *v, const char *wanted)
{
    if (!json_is_string(v))
        return has_text(v, wanted);
    struct vr_str rest = vr_str(json_string_value(v), json_string_length(v)), word;
    while (vr_str_split(&rest, ' ', &word))
        if (vr_str_equal(word, vr_str_from(wanted)))
            return true;
    return false;
}

static enum claims_verdict check_times(const json_t *all, bool introspection, int64_t now_s,
                                       struct claims *out, char why[256])
{
    const json_t *exp = json_object_get(all, "exp"), *nbf = json_object_get(all, "nbf");
    int64_t from;
    out->expires_s = INT64_MAX;
    if (exp == NULL && !introspection)
        return bad(why, "the token never expires (no `exp`)");
    if (exp != NULL && !read_time(exp, &out->expires_s))
        return unreadable(why, "`exp` is no time");
    if (nbf != NULL && !read_time(nbf, &from))
        return unreadable(why, "`nbf` is no time");
    if (exp != NULL && now_s - CLAIMS_LEEWAY_S >= out->expires_s)
        return bad(why, "the token has expired");
    if (nbf != NULL && from > now_s && from - now_s > CLAIMS_LEEWAY_S)
        return bad(why, "the token is not valid yet (`nbf`)");
    return CLAIMS_GOOD;
}

static enum claims_verdict check_purpose(const struct config_oauth *o, const json_t *all, char why[256])
{
    if (o->issuer.n > 0 && !text_is(json_object_get(all, "iss"), o->issuer.p))
        return bad(why, "the token is of another issuer (`iss`)");
    const json_t *aud = json_object_get(all, "aud");
    bool ours = o->audience == NULL;
    for (size_t i = 0; !ours && o->audience[i] != NULL; i++)
        ours = has_text(aud, o->audience[i]);
    if (!ours)
        return bad(why, "the token is for another service (`aud`)");
    const json_t *scope = json_object_get(all, "scope");
    if (scope == NULL)
        scope = json_object_get(all, "scp"); /* Microsoft's name of it */
    for (size_t i = 0; o->scopes != NULL && o->scopes[i] != NULL; i++)
        if (!has_scope(scope, o->scopes[i])) {
            snprintf(why, 256, "the token does not allow \"%.100s\" (`scope`)", o->scopes[i]);
            return CLAIMS_BAD;
        }
    return CLAIMS_GOOD;
}

static enum claims_verdict read_account(const struct config_oauth *o, const json_t *all, struct claims *out,
                                        char why[256])
{
    const json_t *v = json_object_get(all, o->claim);
    struct vr_str name = {0};
    if (json_is_string(v))
        name = vr_str(json_string_value(v), json_string_length(v));
    bool good = name.n > 0 && name.n < sizeof out->account;
    for (size_t i = 0; i < name.n; i++)
        good = good && (unsigned char)name.p[i] > ' ' && name.p[i] != 0x7f;
    if (!good) {
        snprintf(why, 256, "the token names no account: `%.100s` is %s", o->claim,
                 v == NULL ? "missing" : "no name of one");
        return CLAIMS_BAD;
    }
    /* OpenID Connect Core §5.1: an address that the issuer did not verify may be anybody's */
    if (strcmp(o->claim, "email") == 0 && json_is_false(json_object_get(all, "email_verified")))
        return bad(why, "the issuer has not verified the address (`email_verified`)");
    memcpy(out->account, name.p, name.n);
    out->account[name.n] = '\0';
    return CLAIMS_GOOD;
}

enum claims_verdict claims_check(const struct config_oauth *o, struct vr_str json, bool introspection,
                                 int64_t now_s, struct claims *out, char why[256])
{
    json_error_t error;
    *out = (struct claims){.expires_s = INT64_MAX};
    why[0] = '\0';
    json_t *all = json_loadb(json.n > 0 ? json.p : "", json.n, JSON_REJECT_DUPLICATES, &error);
    enum claims_verdict v = CLAIMS_GOOD;
    const json_t *active = json_object_get(all, "active"); /* NULL of anything but an object */
    if (!json_is_object(all))
        v = unreadable(why, "what is said of the token is no JSON object");
    else if (introspection && !json_is_boolean(active))
        v = unreadable(why, "the answer does not say whether the token is active");
    else if (introspection && json_is_false(active))
        v = bad(why, "the token is not active");
    if (v == CLAIMS_GOOD)
        v = check_times(all, introspection, now_s, out, why);
    if (v == CLAIMS_GOOD)
        v = check_purpose(o, all, why);
    if (v == CLAIMS_GOOD)
        v = read_account(o, all, out, why);
    json_decref(all);
    return v;
}
