/* solicit.c - NO-SOLICITING (RFC 3865): which solicitations are not wanted, as MAIL or the header says what a message is.
 *
 * Keywords are compared whole, without case (§2.2 knows no hierarchy).
 * Tests: tests/unit/receiver.c, tests/e2e/test_clients.py
 */
#include "receiver/session.h"

#include <veredus/message.h>

#define SOLICIT_MAX 1000

static bool is_listed(struct vr_str list, struct vr_str word)
{
    struct vr_str one;
    while (vr_str_split(&list, ',', &one))
        if (vr_str_equal_nocase(one, word))
            return true;
    return false;
}

struct vr_str solicit_unwanted(const struct session *s, struct vr_str keywords)
{
    struct vr_str one;
    if (!(smtp_server_offered(s->engine) & SMTP_EXT_NO_SOLICITING))
        return vr_str(NULL, 0);
    while (vr_str_split(&keywords, ',', &one))
        if (is_listed(s->receiver->config->no_soliciting, one))
            return one;
    return vr_str(NULL, 0);
}

/* Solicitation-keywords = word *("," word), less than 1000 octets; §2.7 wants that checked before it goes on as a parameter. */
static bool keywords_valid(struct vr_str text)
{
    bool begins = true;
    for (size_t i = 0; i < text.n; i++) {
        char c = vr_lower(text.p[i]);
        bool letter = c >= 'a' && c <= 'z';
        bool inner = (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':' || c == ',';
        if (!letter && (begins || !inner))
            return false;
        begins = c == ',';
    }
    return !begins && text.n < SOLICIT_MAX;
}

/* The field's words without blanks and folding, which §2.5 has not, but senders may. */
static struct vr_str field_words(struct vr_arena *arena, struct vr_str body)
{
    struct vr_buf b;
    vr_buf_init(&b, SOLICIT_MAX);
    for (size_t i = 0; i < body.n; i++)
        if (body.p[i] != ' ' && body.p[i] != '\t' && body.p[i] != '\r' && body.p[i] != '\n')
            vr_buf_add_byte(&b, body.p[i]);
    struct vr_str words = b.too_big ? vr_str(NULL, 0) : vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return words;
}

void solicit_look(struct transaction *t, struct vr_str header)
{
    struct header_field f;
    if (!header_find(header, VR_STR("Solicitation"), &f))
        return;
    struct vr_str words = field_words(&t->arena, f.body);
    if (!keywords_valid(words))
        return;
    t->solicits = solicit_unwanted(t->session, words);
    if (t->envelope.solicit.n == 0) /* §2.7: the client did not know of the parameter */
        t->envelope.solicit = words;
}

struct smtp_reply solicit_refusal(struct vr_arena *arena, struct vr_str keyword)
{
    return (struct smtp_reply){550, "5.7.1",
                               vr_arena_printf(arena, "SOLICIT=%.*s such solicitations are not wanted here",
                                               VR_STR_ARG(keyword))}; /* §2.4: the keyword is echoed */
}
