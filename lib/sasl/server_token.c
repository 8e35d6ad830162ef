/* server_token.c - the server side of the bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's form of it).
 *
 *     OAUTHBEARER   n,a=ann@example.org,^Ahost=mail.example.org^Aport=587^Aauth=Bearer TOKEN^A^A     ^A is the octet 1
 *     XOAUTH2       user=ann@example.org^Aauth=Bearer TOKEN^A^A
 *
 * Promise: whose token it is, the owner says; who the client claims to be must be the same. A refused token is told with a JSON object, which
 *          the client answers (^A, or nothing), and that answer is followed by the refusal, whatever it is (§3.2.3).
 * Tests:   tests/unit/sasl_mechanisms.c (RFC 7628 §4), tests/unit/sasl_tokens.c, tests/fuzz/fuzz_sasl.c
 */
#include "inside.h"

#include <string.h>

#define SEPARATOR '\1'

/* b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=" */
bool sasl_token_valid(struct vr_str s)
{
    size_t n = s.n;
    while (n > 0 && s.p[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        char c = vr_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c != '\0' && strchr("-._~+/", c) != NULL)))
            return false;
    }
    return n > 0 && s.n <= SASL_TOKEN_MAX;
}

/* ---- the refusal --------------------------------------------------------------------------------------------------- */

static void add_json_string(struct vr_buf *out, struct vr_str s)
{
    vr_buf_add_byte(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            vr_buf_add_byte(out, '\\');
        if (c < 0x20)
            vr_buf_addf(out, "\\u%04x", c);
        else
            vr_buf_add_byte(out, s.p[i]);
    }
    vr_buf_add_byte(out, '"');
}

static const struct {
    const char *status, *number /* XOAUTH2 has HTTP's */, *why;
} refusals[] = {
    {"invalid_token", "401", "the token is not valid, or not any more"},
    {"insufficient_scope", "403", "the token is not for the scope of mail"},
    {"invalid_request", "400", "the token cannot be read"},
};

static void add_member(struct vr_buf *out, const char *name, struct vr_str value)
{
    if (value.n == 0)
        return;
    vr_buf_addf(out, ",\"%s\":", name);
    add_json_string(out, value);
}

static enum sasl_step refuse(struct sasl_server *s, const struct sasl_token_verdict *v, const char *why,
                             struct vr_str *out)
{
    struct vr_buf *b = &s->out;
    size_t at = 0;
    for (size_t i = 0; v->status != NULL && i < sizeof refusals / sizeof *refusals; i++)
        if (strcmp(refusals[i].status, v->status) == 0)
            at = i;
    s->why = why != NULL ? why : refusals[at].why;
    s->refused = true;
    vr_buf_reset(b);
    vr_buf_add(b, VR_STR("{\"status\":"));
    bool number = s->mechanism->bit == SASL_XOAUTH2;
    add_json_string(b, vr_str_from(number ? refusals[at].number : refusals[at].status));
    if (number)
        add_member(b, "schemes", VR_STR("bearer"));
    add_member(b, "scope", v->scope);
    if (!number)
        add_member(b, "openid-configuration", v->openid_configuration);
    vr_buf_add_byte(b, '}');
    if (b->too_big)
        return server_fail(s, s->why);
    *out = vr_buf_str(b);
    return SASL_CHALLENGE;
}

enum sasl_step sasl_server_token_checked(struct sasl_server *s, const struct sasl_token_verdict *v,
                                         struct vr_str *out)
{
    static const struct sasl_token_verdict another = {.status = "invalid_token"};
    bool none = vr_buf_size(&s->token) == 0;
    server_settle(s, SASL_NEED_TOKEN, out);
    sasl_wipe_buf(&s->token);
    if (!v->good || none)
        return refuse(s, v, none ? "there is no token" : NULL, out);
    struct vr_str claimed = sasl_server_user(s);
    if (claimed.n > 0 && !vr_str_equal_nocase(claimed, v->user))
        return refuse(s, &another, "the token is another user's", out);
    if (!server_keep_user(s, v->user))
        return refuse(s, &another, "the token names nobody", out);
    return SASL_DONE;
}

/* ---- the message ---------------------------------------------------------------------------------------------------- */

/* "Bearer TOKEN"; the scheme in any case (RFC 7235 §2.1). An empty value asks what would be needed (RFC 7628 §4.3). */
static enum sasl_step take_auth(struct sasl_server *s, struct vr_str auth)
{
    struct vr_str token = vr_str_starts_nocase(auth, VR_STR("Bearer ")) ? vr_str_from_pos(auth, 7) : auth;
    while (token.n > 0 && token.p[0] == ' ')
        token = vr_str_from_pos(token, 1);
    if (auth.n == 0)
        return server_ask(s, SASL_NEED_TOKEN);
    if (token.p == auth.p || !sasl_token_valid(token))
        return server_malformed_fail(s, "the token is no bearer token, or holds what may not be in one");
    vr_buf_reserve(&s->token, token.n);
    vr_buf_add(&s->token, token);
    return server_ask(s, SASL_NEED_TOKEN);
}

/* kvpair = key "=" value %x01 ; the list ends with one more %x01 (§3.1). The value of "auth" is wanted, others are looked at only for their
 * form. NULL: fine. */
static const char *read_pairs(struct vr_str in, struct vr_str *auth, bool *found)
{
    struct vr_str pair;
    *found = false;
    if (in.n < 1 || in.p[in.n - 1] != SEPARATOR || (in.n > 1 && in.p[in.n - 2] != SEPARATOR))
        return "the message does not end in two separators";
    struct vr_str rest = vr_str_sub(in, 0, in.n - 1);
    while (vr_str_split(&rest, SEPARATOR, &pair)) {
        size_t equals = vr_str_find(pair, '=');
        if (equals == VR_NPOS || equals == 0)
            return "a part of the message is not of the form key=value";
        for (size_t i = 0; i < pair.n; i++)
            if ((unsigned char)pair.p[i] < 0x20 && memchr("\t\r\n", pair.p[i], 3) == NULL)
                return "a part of the message holds control bytes";
        if (!vr_str_equal(vr_str_sub(pair, 0, equals), VR_STR("auth")))
            continue;
        if (*found)
            return "the message holds two tokens";
        *auth = vr_str_from_pos(pair, equals + 1);
        *found = true;
    }
    return *found ? NULL : "the message holds no token";
}

static enum sasl_step read_message(struct sasl_server *s, struct vr_str pairs)
{
    struct vr_str auth;
    bool found;
    const char *fault = read_pairs(pairs, &auth, &found);
    return fault != NULL ? server_malformed_fail(s, fault) : take_auth(s, auth);
}

enum sasl_step server_oauthbearer(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (s->refused)
        return server_fail(s, s->why);
    if (!has_in && s->at == 0)
        return server_prompt(s, VR_STR(""), out);
    struct gs2 gs2;
    const char *fault = gs2_read(in, &gs2);
    if (fault != NULL)
        return server_malformed_fail(s, fault);
    if (gs2.flag.p[0] == 'p')
        return server_malformed_fail(s, "OAUTHBEARER has no channel binding");
    if (gs2.rest.n == 0 || gs2.rest.p[0] != SEPARATOR)
        return server_malformed_fail(s, "there is no separator behind the gs2 header");
    struct vr_buf zid;
    vr_buf_init(&zid, SASL_USER_MAX);
    bool good =
        saslname_read(gs2.authzid, &zid) && (vr_buf_size(&zid) == 0 || server_keep_user(s, vr_buf_str(&zid)));
    vr_buf_fini(&zid);
    if (!good)
        return server_malformed_fail(s, "the user name is too long, or not well-formed");
    return read_message(s, vr_str_from_pos(gs2.rest, 1));
}

enum sasl_step server_xoauth2(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (s->refused)
        return server_fail(s, s->why);
    if (!has_in && s->at == 0)
        return server_prompt(s, VR_STR(""), out);
    struct vr_str rest = in, user;
    if (!vr_str_starts(in, VR_STR("user=")) || !vr_str_split(&rest, SEPARATOR, &user))
        return server_malformed_fail(s, "the message does not begin with user=");
    if (!server_keep_user(s, vr_str_from_pos(user, 5)))
        return server_malformed_fail(s, "the user name is empty, too long, or holds control bytes");
    return read_message(s, rest);
}
