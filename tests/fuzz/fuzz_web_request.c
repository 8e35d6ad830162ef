/* fuzz_web_request.c - any bytes as an HTTP request, in pieces: its end does not depend on how it was cut, and what is read out of it lies within it and is
 * what a host or a path can be. */
#include "web/request.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct vr_str part, struct vr_str all)
{
    return part.n == 0 || (part.p >= all.p && part.p + part.n <= all.p + all.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t step = data[0] % 16 + 1u, searched = 0, end = VR_NPOS;
    struct vr_str all = vr_str((const char *)data + 1, size - 1);
    for (size_t n = 0; end == VR_NPOS && n < all.n;) {
        n = n + step < all.n ? n + step : all.n;
        end = web_head_end(vr_str_sub(all, 0, n), searched);
        searched = n;
    }
    assert(end == web_head_end(all, 0));
    struct vr_str head = end != VR_NPOS ? vr_str_sub(all, 0, end) : all;
    struct web_request r;
    web_request_parse(head, &r);
    assert(r.status == 0 || r.status == 400 || r.status == 405 || r.status == 505);
    if (r.status != 0)
        return 0;
    assert(within(r.path, head) && within(r.host, head));
    assert(r.path.n > 0 && r.path.p[0] == '/');
    for (size_t i = 0; i < r.host.n; i++)
        assert(r.host.p[i] > ' ' && r.host.p[i] != '/' && r.host.p[i] != ':' && r.host.p[i] != '@');
    return 0;
}
