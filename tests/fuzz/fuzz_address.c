/* fuzz_address.c - any bytes as an SMTP path, as a bare address and as the body of a From or To field.
 *
 * The first byte gives the flags. What is taken keeps the limits of RFC 5321 §4.5.3.1, holds no control byte, and is written in one canonical way that is
 * read as the same mailbox; what is refused has a reason. A list ends, within its arena; a mailbox that is written is read as itself.
 */
#include <veredus/address.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct vr_str part, struct vr_str whole)
{
    return part.n <= whole.n && part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

static void check_parts(const struct address *a, unsigned flags)
{
    uint8_t bytes[16];
    int family = 0;
    for (size_t i = 0; i < a->local.n; i++) {
        unsigned char c = (unsigned char)a->local.p[i];
        assert(c >= 0x20 && c != 0x7f && (c < 0x80 || (flags & ADDRESS_ALLOW_UTF8)));
    }
    assert(a->local.n <= ADDRESS_LOCAL_MAX && a->domain.n <= ADDRESS_DOMAIN_MAX);
    assert(!a->null || (a->local.n == 0 && a->domain.n == 0));
    assert(a->utf8 == (!vr_str_is_ascii(a->local) || !vr_str_is_ascii(a->domain)));
    assert(vr_utf8_valid(a->local) && vr_utf8_valid(a->domain));
    if (a->domain.n == 0)
        assert(a->null || vr_str_equal_nocase(a->local, VR_STR("postmaster")));
    else if (a->domain.p[0] == '[')
        assert(address_literal(a->domain, bytes, &family) && (family == 4 || family == 6));
    else
        assert(address_domain_valid(a->domain, flags));
}

/* The key is one, whichever form of the address it is made of; and there is an ASCII form where the local part is ASCII. */
static void check_forms(struct vr_arena *arena, const struct address *a, const struct address *again)
{
    struct vr_str key = address_key(arena, a);
    struct address ascii;
    assert(key.n > 0 && vr_utf8_valid(key));
    assert(vr_str_equal(key, address_key(arena, again)));
    size_t at = vr_str_find_last(key, '@');
    assert(at == VR_NPOS || vr_str_is_ascii(vr_str_from_pos(key, at)));
    assert(vr_str_equal(address_key_of(arena, key), key));
    assert(address_to_ascii(arena, a, &ascii) == vr_str_is_ascii(a->local));
    if (vr_str_is_ascii(a->local))
        assert(!ascii.utf8 && vr_str_is_ascii(ascii.domain) && address_equal(a, &ascii));
}

static void check_text(struct vr_arena *arena, const struct address *a, unsigned flags)
{
    struct vr_str text = address_text(arena, a), rest;
    struct address again;
    const char *why = NULL;
    assert(text.p != NULL && text.n + 2 <= ADDRESS_PATH_MAX);
    if (a->null) {
        assert(text.n == 0);
        return;
    }
    enum vr_err e = address_parse_path(arena, text, flags | ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_POSTMASTER,
                                       &again, &rest, &why);
    assert(e == VR_OK && rest.n == 0 && address_equal(a, &again));
    assert(vr_str_equal(text, address_text(arena, &again)));
    check_forms(arena, a, &again);
}

static void try_path(struct vr_arena *arena, struct vr_str in, unsigned flags)
{
    struct address a;
    struct vr_str rest;
    const char *why = NULL;
    enum vr_err e = address_parse_path(arena, in, flags, &a, &rest, &why);
    if (e != VR_OK) {
        assert((e == VR_ERR_SYNTAX || e == VR_ERR_TOO_BIG) && why != NULL && strlen(why) > 10);
        return;
    }
    assert(within(rest, in) && rest.p + rest.n == in.p + in.n);
    check_parts(&a, flags);
    if (arena->max > 4096)
        check_text(arena, &a, flags);
}

/* What address_write_mailbox may put in place of a name: control bytes are blanks, none at the ends. */
static struct vr_str clean(struct vr_arena *arena, struct vr_str name)
{
    struct vr_str copy = vr_arena_dup(arena, name);
    for (size_t i = 0; i < copy.n; i++)
        if ((unsigned char)copy.p[i] < 0x20 || copy.p[i] == 0x7f)
            ((char *)copy.p)[i] = ' ';
    return vr_str_trim(copy);
}

static void write_again(struct vr_arena *arena, const struct address_mailbox *m)
{
    struct address a;
    const char *why;
    struct vr_str name = clean(arena, m->name);
    if (m->domain.n == 0 || !vr_utf8_valid(name) ||
        address_parse(arena, m->text, ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK)
        return;
    struct vr_buf out;
    struct address_mailbox *again;
    vr_buf_init(&out, 16 * (name.n + m->text.n) + 64);
    assert(address_write_mailbox(&out, name, m->text));
    struct vr_str text = vr_buf_str(&out);
    for (size_t i = 0; i < text.n; i++)
        assert((unsigned char)text.p[i] >= 0x20 && text.p[i] != 0x7f);
    assert(address_parse_list(arena, text, &again) == VR_OK && again != NULL && again->next == NULL);
    assert(vr_str_equal(again->name, name));
    assert(vr_str_equal(again->local, m->local) && vr_str_equal(again->domain, m->domain));
    vr_buf_fini(&out);
}

static void try_list(struct vr_str in, size_t memory)
{
    struct vr_arena arena, other;
    struct address_mailbox *m;
    vr_arena_init(&arena, memory);
    vr_arena_init(&other, 1u << 24);
    enum vr_err e = address_parse_list(&arena, in, &m);
    assert(e == VR_OK || e == VR_ERR_TOO_BIG);
    assert(arena.used <= memory);
    for (; m != NULL; m = m->next) {
        assert(m->text.p != NULL && m->name.p != NULL);
        assert(m->local.n == 0 || m->local.n <= m->text.n);
        if (e == VR_OK)
            write_again(&other, m);
    }
    vr_arena_fini(&other);
    vr_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 65536)
        return 0;
    struct vr_str in = vr_str((const char *)data + 1, size - 1);
    unsigned flags = data[0] & 15;
    struct vr_arena arena;
    struct address a;
    const char *why = NULL;
    vr_arena_init(&arena, 1u << 20);
    try_path(&arena, in, flags);
    if (address_parse(&arena, in, flags, &a, &why) == VR_OK)
        check_text(&arena, &a, flags);
    else
        assert(why != NULL);
    vr_arena_fini(&arena);
    vr_arena_init(&arena, 40); /* too small for most: said so, or done */
    try_path(&arena, in, flags & ~(unsigned)ADDRESS_ALLOW_BARE);
    vr_arena_fini(&arena);
    try_list(in, 1u << 24);
    try_list(in, 600);
    return 0;
}
