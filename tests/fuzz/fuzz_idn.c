/* fuzz_idn.c - any bytes as a domain name: what comes out is bounded, a name, and the same from each of its forms. */
#include <veredus/idn.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ascii(struct vr_str name, bool was_ascii)
{
    assert(name.n > 0 && name.n <= IDN_NAME_MAX && vr_str_is_ascii(name));
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        assert(c == vr_lower(c));
        assert(was_ascii || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.');
    }
}

static void try(struct vr_arena *arena, struct vr_str in)
{
    struct vr_str ascii, unicode, again;
    enum vr_err e = idn_to_ascii(arena, in, &ascii);
    assert(e == VR_OK || e == VR_ERR_SYNTAX || e == VR_ERR_TOO_BIG);
    assert(idn_equal(in, in));
    if (e != VR_OK) {
        assert(idn_to_unicode(arena, in, &unicode) != VR_OK);
        return;
    }
    check_ascii(ascii, vr_str_is_ascii(in));
    if (idn_to_unicode(arena, in, &unicode) != VR_OK)
        return; /* the arena is full */
    assert(unicode.n > 0 && unicode.n <= IDN_NAME_MAX && vr_utf8_valid(unicode));
    if (idn_to_ascii(arena, unicode, &again) == VR_OK)
        assert(vr_str_equal(again, ascii));
    else
        assert(arena->max < 4096);
    assert(idn_equal(in, ascii) && idn_equal(unicode, ascii));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_arena arena;
    vr_arena_init(&arena, 1u << 16);
    try(&arena, vr_str((const char *)data, size));
    vr_arena_fini(&arena);
    vr_arena_init(&arena, 600);
    try(&arena, vr_str((const char *)data, size));
    vr_arena_fini(&arena);
    return 0;
}
