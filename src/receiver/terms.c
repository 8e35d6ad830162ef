/* terms.c - what a message asks for besides its way: on whose behalf it comes (AUTH=, RFC 4954 §5), how much TLS matters to it (the TLS-Required
 * field, RFC 8689 §4.1).
 *
 * Promise:    a stranger speaks for nobody.
 * Tests:      tests/unit/receiver_terms.c, tests/e2e/test_extensions.py
 */
#include "receiver/session.h"

#include <veredus/message.h>

#define XTEXT_MAX 512

/* Of an account whose name is an address; else nobody whom the next hop could be told. */
static struct vr_str own_mailbox(const struct session *s, struct vr_arena *arena)
{
    struct vr_buf b;
    struct vr_str user = vr_str_from(s->user), made = vr_str(NULL, 0);
    vr_buf_init(&b, XTEXT_MAX);
    if (vr_str_find(user, '@') != VR_NPOS && vr_str_is_ascii(user) && dsn_xtext_encode(&b, user))
        made = vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return made;
}

static bool is_own(const struct session *s, struct vr_str xtext)
{
    struct vr_buf plain;
    vr_buf_init(&plain, XTEXT_MAX);
    bool own =
        dsn_xtext_decode(&plain, xtext) == VR_OK && address_same(vr_buf_str(&plain), vr_str_from(s->user));
    vr_buf_fini(&plain);
    return own;
}

struct vr_str terms_submitter(const struct session *s, struct vr_arena *arena, struct vr_str given)
{
    if (vr_str_equal(given, VR_STR("<>")))
        return vr_str(NULL, 0);
    if (given.n > 0 && (s->listener->local || s->trusted)) /* who may say for whom */
        return vr_arena_dup(arena, given);
    if (!smtp_server_authenticated(s->engine))
        return vr_str(NULL, 0);
    if (given.n > 0)
        return is_own(s, given) ? vr_arena_dup(arena, given) : vr_str(NULL, 0);
    return own_mailbox(s, arena);
}

void terms_header(struct transaction *t, struct vr_str message)
{
    struct header_reader r;
    struct header_field f;
    unsigned fields = 0, no = 0;
    if (t->envelope.asks & ENVELOPE_REQUIRE_TLS) /* which is stronger: RFC 8689 §4.1 */
        return;
    header_reader_init(&r, message);
    while (header_next(&r, &f)) {
        if (!vr_str_equal_nocase(f.name, VR_STR("TLS-Required")))
            continue;
        fields++;
        no += vr_str_equal_nocase(header_unfold(&t->arena, f.body), VR_STR("No"));
    }
    if (fields == 1 && no == 1) /* more than one may not stand there, §3 */
        t->envelope.asks |= ENVELOPE_TLS_OPTIONAL;
}
