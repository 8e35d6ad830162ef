/* address_text.c - mailboxes as text: written, stored, compared.
 *
 * Forms of a mailbox: as text (address_text: what is stored and sent on), as key (address_key: what our own mailboxes are found by), in ASCII
 * (address_to_ascii: what a server without SMTPUTF8 takes). RFC 5321 §2.4, RFC 6531 §3.2, RFC 6532 §3.1.
 * Tests: tests/unit/address.c
 */
#include <veredus/address.h>
#include <veredus/idn.h>

#include "address_inside.h"

#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <uninorm.h>

#define TEXT_MAX    (2 * ADDRESS_LOCAL_SRS_MAX + ADDRESS_DOMAIN_MAX + 8)
#define SCRATCH_MAX 16384

static bool needs_quotes(struct vr_str local)
{
    bool after_dot = true;
    for (size_t i = 0; i < local.n; i++) {
        int c = (unsigned char)local.p[i];
        if ((c == '.' && after_dot) || (c != '.' && !address_is_atext(c) && c < 0x80))
            return true;
        after_dot = c == '.';
    }
    return after_dot; /* empty, or a dot at the end */
}

bool address_write(struct vr_buf *out, const struct address *a)
{
    if (a->null)
        return true;
    if (!needs_quotes(a->local)) {
        vr_buf_add(out, a->local);
    } else {
        vr_buf_add_byte(out, '"');
        for (size_t i = 0; i < a->local.n; i++) {
            if (a->local.p[i] == '"' || a->local.p[i] == '\\')
                vr_buf_add_byte(out, '\\');
            vr_buf_add_byte(out, a->local.p[i]);
        }
        vr_buf_add_byte(out, '"');
    }
    if (a->domain.n > 0) {
        vr_buf_add_byte(out, '@');
        vr_buf_add(out, a->domain);
    }
    return !out->too_big;
}

static struct vr_str text_of(struct vr_arena *arena, struct vr_str local, struct vr_str domain, bool null)
{
    struct address a = {.local = local, .domain = domain, .null = null};
    struct vr_buf b;
    vr_buf_init(&b, TEXT_MAX);
    address_write(&b, &a);
    struct vr_str text = b.too_big ? vr_str(NULL, 0) : vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b); /* nothing rather than a part of it */
    return text;
}

/* Domains have no case (RFC 5321 §2.4), and those beyond ASCII have several spellings: one is kept, unless it were too long for a path. */
struct vr_str address_text(struct vr_arena *arena, const struct address *a)
{
    struct vr_arena scratch;
    struct vr_str unicode, text = {0};
    if (a->domain.n > ADDRESS_DOMAIN_MAX)
        return text;
    vr_arena_init(&scratch, SCRATCH_MAX);
    if (!vr_str_is_ascii(a->domain) && idn_to_unicode(&scratch, a->domain, &unicode) == VR_OK) {
        text = text_of(&scratch, a->local, unicode, a->null);
        text = text.n + 2 <= ADDRESS_PATH_MAX ? vr_arena_dup(arena, text) : vr_str(NULL, 0);
    }
    if (text.n == 0)
        text = text_of(arena, a->local, vr_arena_lower(&scratch, a->domain), a->null);
    vr_arena_fini(&scratch);
    return text;
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->null == b->null && vr_str_equal(a->local, b->local) && idn_equal(a->domain, b->domain);
}

bool address_to_ascii(struct vr_arena *arena, const struct address *a, struct address *out)
{
    *out = *a;
    if (!vr_str_is_ascii(a->local))
        return false;
    out->utf8 = false;
    return vr_str_is_ascii(a->domain) || idn_to_ascii(arena, a->domain, &out->domain) == VR_OK;
}

/* ---- keys ----------------------------------------------------------------------------------------------------------- */

struct vr_str address_fold(struct vr_arena *arena, struct vr_str local)
{
    if (vr_str_is_ascii(local) || !vr_utf8_valid(local))
        return vr_arena_lower(arena, local);
    size_t n = 0;
    uint8_t *lower = u8_tolower((const uint8_t *)local.p, local.n, NULL, UNINORM_NFC, NULL, &n);
    struct vr_str folded =
        lower != NULL ? vr_arena_dup(arena, vr_str((const char *)lower, n)) : vr_str(NULL, 0);
    free(lower);
    return folded;
}

/* What stands behind "@". */
static struct vr_str key_domain(struct vr_arena *arena, struct vr_str domain)
{
    struct vr_str ascii;
    return idn_to_ascii(arena, domain, &ascii) == VR_OK ? ascii : vr_arena_lower(arena, domain);
}

struct vr_str address_key(struct vr_arena *arena, const struct address *a)
{
    struct vr_arena scratch;
    if (a->local.n > ADDRESS_LOCAL_SRS_MAX || a->domain.n > ADDRESS_DOMAIN_MAX)
        return vr_str(NULL, 0);
    vr_arena_init(&scratch, SCRATCH_MAX);
    struct vr_str local = address_fold(&scratch, a->local);
    struct vr_str domain = a->domain.n > 0 ? key_domain(&scratch, a->domain) : a->domain;
    struct vr_str text = text_of(arena, local, domain, a->null);
    vr_arena_fini(&scratch);
    return text;
}

struct vr_str address_key_of(struct vr_arena *arena, struct vr_str text)
{
    struct vr_arena scratch;
    size_t at = vr_str_find_last(text, '@');
    if (at == VR_NPOS || vr_str_is_ascii(text))
        return address_fold(arena, text);
    vr_arena_init(&scratch, SCRATCH_MAX + 2 * text.n);
    struct vr_str local = address_fold(&scratch, vr_str_sub(text, 0, at));
    struct vr_str domain = key_domain(&scratch, vr_str_from_pos(text, at + 1));
    struct vr_str key = vr_arena_printf(arena, "%.*s@%.*s", VR_STR_ARG(local), VR_STR_ARG(domain));
    vr_arena_fini(&scratch);
    return key;
}

struct vr_str address_readable(struct vr_arena *arena, struct vr_str key)
{
    struct vr_str unicode;
    size_t at = vr_str_find_last(key, '@');
    if (at == VR_NPOS || idn_to_unicode(arena, vr_str_from_pos(key, at + 1), &unicode) != VR_OK)
        return vr_arena_dup(arena, key);
    return vr_arena_printf(arena, "%.*s@%.*s", (int)at, key.p, VR_STR_ARG(unicode));
}

bool address_same(struct vr_str a, struct vr_str b)
{
    struct vr_arena scratch;
    if (vr_str_is_ascii(a) && vr_str_is_ascii(b))
        return vr_str_equal_nocase(a, b);
    vr_arena_init(&scratch, SCRATCH_MAX + 2 * (a.n + b.n));
    bool same = vr_str_equal(address_key_of(&scratch, a), address_key_of(&scratch, b));
    vr_arena_fini(&scratch);
    return same;
}
