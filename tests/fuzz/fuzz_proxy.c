/* fuzz_proxy.c - any bytes as the header of the PROXY protocol.
 *
 * Input: one byte that chooses the pieces and the limit, then what a client sends.
 * Checked: the same header out of one piece and out of many; no byte taken behind it; every slice inside it; what is taken is written, and read again as the same.
 */
#include <veredus/proxy.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const struct proxy_reader *r, struct vr_str s)
{
    struct vr_str all = vr_buf_str(&r->in);
    assert(s.n == 0 || (s.p >= all.p && s.n <= all.n && (size_t)(s.p - all.p) <= all.n - s.n));
}

static void check_slices(const struct proxy_reader *r, const struct proxy_header *h)
{
    const struct vr_str slices[] = {h->source.path, h->destination.path, h->authority,  h->alpn,
                                    h->unique_id,   h->tls_version,      h->tls_cipher, h->tls_common_name};
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        check_inside(r, slices[i]);
    assert(h->version == 1 || h->version == 2);
    assert(!h->local || h->family == PROXY_UNKNOWN);
    assert(!h->tls_verified || h->tls);
}

static bool same_end(const struct proxy_end *a, const struct proxy_end *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0 && a->port == b->port && vr_str_equal(a->path, b->path);
}

static bool same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->version == b->version && a->local == b->local && a->family == b->family &&
           same_end(&a->source, &b->source) && same_end(&a->destination, &b->destination) &&
           vr_str_equal(a->authority, b->authority) && vr_str_equal(a->alpn, b->alpn) &&
           vr_str_equal(a->unique_id, b->unique_id);
}

static void check_written(const struct proxy_header *h)
{
    struct vr_buf b;
    struct proxy_reader again;
    struct proxy_header read;
    size_t taken;
    vr_buf_init(&b, 8192);
    assert(proxy_write(&b, h) == VR_OK);
    proxy_reader_init(&again,
                      8000); /* a TLV that stood twice is written once, so it fits; but see the checksum */
    assert(proxy_reader_feed(&again, vr_buf_str(&b), &taken, &read) == PROXY_DONE &&
           taken == vr_buf_size(&b));
    assert(same(h, &read) && read.checksummed == h->checksummed);
    proxy_reader_fini(&again);
    vr_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct vr_str in = vr_str((const char *)data + 1, size - 1);
    size_t piece = 1u + (data[0] & 31), max = data[0] & 32 ? 40 : 0, whole_taken, taken, at = 0;
    struct proxy_reader whole, apart;
    struct proxy_header h, other = {0};
    proxy_reader_init(&whole, max);
    proxy_reader_init(&apart, max);
    enum proxy_status status = proxy_reader_feed(&whole, in, &whole_taken, &h), later = PROXY_MORE;
    while (at < in.n && later == PROXY_MORE) {
        struct vr_str part = vr_str_sub(in, at, piece);
        char *copy = malloc(part.n);
        assert(copy != NULL);
        memcpy(copy, part.p, part.n);
        later = proxy_reader_feed(&apart, vr_str(copy, part.n), &taken, &other);
        assert(taken <= part.n && (later != PROXY_MORE || taken == part.n));
        at += taken;
        free(copy);
    }
    assert(status == later && whole_taken == at);
    assert((status == PROXY_BAD) == (proxy_reader_why(&whole)[0] != '\0'));
    assert(strcmp(proxy_reader_why(&whole), proxy_reader_why(&apart)) == 0);
    if (status == PROXY_DONE) {
        assert(h.version == 1 ? whole_taken <= PROXY_V1_MAX
                              : whole_taken <= PROXY_V2_FIXED + (max > 0 ? max : PROXY_V2_MAX));
        check_slices(&whole, &h);
        check_slices(&apart, &other);
        assert(same(&h, &other));
        check_written(&h);
    }
    proxy_reader_fini(&whole);
    proxy_reader_fini(&apart);
    return 0;
}
