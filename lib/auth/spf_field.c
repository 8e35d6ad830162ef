/* spf_field.c - the Received-SPF field (RFC 7208 §9.1).
 *
 * Each pair stands on a line of its own. What strangers said is a quoted string, in which all but visible ASCII becomes "?", and is cut to 256 octets.
 * Tests: tests/unit/spf.c
 */
#include "spf_inside.h"

#define VALUE_MAX 256

/* As a quoted-string, or as part of a comment; both know quoted pairs (RFC 5322 §3.2.1). */
static void put_safely(struct vr_buf *out, struct vr_str s, bool comment)
{
    for (size_t i = 0; i < s.n && i < VALUE_MAX; i++) {
        char c = s.p[i];
        if (c < ' ' || c >= 0x7f)
            c = '?';
        if (c == '\\' || (comment ? c == '(' || c == ')' : c == '"'))
            vr_buf_add_byte(out, '\\');
        vr_buf_add_byte(out, c);
    }
}

static void put_pair(struct vr_buf *out, const char *key, struct vr_str value)
{
    if (value.n == 0)
        return;
    vr_buf_addf(out, "\r\n\t%s=\"", key);
    put_safely(out, value, false);
    vr_buf_add(out, VR_STR("\";"));
}

bool spf_received(struct vr_buf *out, const struct spf_query *q, const struct spf_result *r)
{
    struct vr_arena arena;
    bool mail_from = q->identity == SPF_MAIL_FROM;
    bool error = r->verdict == SPF_TEMPERROR || r->verdict == SPF_PERMERROR;
    vr_arena_init(&arena, 4096);
    vr_buf_addf(out, "Received-SPF: %s\r\n\t(", spf_verdict_name(r->verdict));
    put_safely(out, r->reason, true);
    vr_buf_add(out, VR_STR(")"));
    put_pair(out, "receiver", q->receiver);
    put_pair(out, "identity", mail_from ? VR_STR("mailfrom") : VR_STR("helo"));
    put_pair(out, "client-ip", spf_address_text(&arena, &q->client));
    if (mail_from)
        put_pair(out, "envelope-from", q->sender.n > 0 ? q->sender : VR_STR("<>"));
    put_pair(out, "helo", q->helo);
    put_pair(out, "mechanism", r->mechanism);
    if (error)
        put_pair(out, "problem", r->reason);
    vr_arena_fini(&arena);
    return vr_buf_add(out, VR_STR("\r\n")) && !out->too_big;
}
