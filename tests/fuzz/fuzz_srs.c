/* fuzz_srs.c - any bytes as an address of the Sender Rewriting Scheme, and as a sender.
 *
 * Input: two bytes for the length of hashes and the day, then an address.
 * Checked: a local part that we did not make leads nowhere; what we make of a sender leads back to it, and once more forwarded to us; what comes out is an
 * address that a path may have.
 */
#include <veredus/srs.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct vr_str secrets[] = {VR_STR_INIT("one"), VR_STR_INIT("two")};
static const struct vr_str unknown[] = {VR_STR_INIT("nobody knows")};

static void forwarded(const struct srs *srs, const struct address *sender, int64_t now,
                      struct vr_arena *arena)
{
    struct address out, back, read;
    const char *why;
    if (srs_forward(srs, sender, now, arena, &out) != VR_OK)
        return;
    struct vr_str text = address_text(arena, &out);
    if (text.n == 0) /* quotes made it too long for a path */
        return;
    assert(srs_is(out.local) && address_parse(arena, text, ADDRESS_ALLOW_UTF8, &read, &why) == VR_OK);
    assert(vr_str_equal(read.local, out.local));
    enum srs_verdict v = srs_reverse(srs, read.local, now, arena, &back);
    assert(v == SRS_GOOD);
    assert(vr_str_is_ascii(back.domain));
    if (!srs_is(sender->local))
        assert(address_equal(&back, sender));
    else
        assert(srs_is(back.local) || address_equal(&back, sender));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_arena arena;
    struct address a, out;
    const char *why;
    if (size < 2 || size > 1024)
        return 0;
    struct srs srs = {
        .domain = VR_STR("fwd.test"), .secrets = secrets, .secret_count = 2, .hash = data[0] & 31};
    struct srs theirs = {.domain = VR_STR("other.test"), .secrets = unknown, .secret_count = 1, .hash = 20};
    struct vr_str text = vr_str((const char *)data + 2, size - 2);
    int64_t now = (int64_t)data[1] * 86400;
    vr_arena_init(&arena, 1 << 20);
    enum srs_verdict v = srs_reverse(&theirs, text, now, &arena, &out);
    assert(v != SRS_GOOD && v != SRS_EXPIRED);
    assert((v == SRS_NONE) == !srs_is(text));
    if (address_parse(&arena, text, ADDRESS_ALLOW_UTF8, &a, &why) == VR_OK) {
        forwarded(&srs, &a, now, &arena);
        if (srs_forward(&theirs, &a, now, &arena, &out) == VR_OK)
            forwarded(&srs, &out, now, &arena);
    }
    vr_arena_fini(&arena);
    return 0;
}
