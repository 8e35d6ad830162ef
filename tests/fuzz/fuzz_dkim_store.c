/* fuzz_dkim_store.c - any bytes as a file of DKIM keys: what is read can be written, and is then the same; at no time does more than one key of an
 * algorithm sign. */
#include "keeper/dkim_store.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_times(struct dkim_ring *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct dkim_stored *k = &r->keys[i];
        int64_t at = k->from < DKIM_NEVER ? k->from : 0;
        struct dkim_stored *s = dkim_ring_signer(r, dkim_key_algorithm(k->key), at);
        assert(s == NULL || dkim_phase_of(s, at) == DKIM_SIGNING);
        assert(dkim_phase_of(k, at) != DKIM_SIGNING || s != NULL);
        assert(dkim_ring_find(r, k->selector) == k);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[DKIM_STORE_ERROR] = "";
    struct dkim_ring *r, *again;
    struct vr_buf text, twice;
    if (dkim_ring_parse(VR_STR("example.org"), vr_str((const char *)data, size), &r, error) !=
        DKIM_STORE_OK) {
        assert(r == NULL && strlen(error) > 0);
        return 0;
    }
    vr_buf_init(&text, 1u << 20);
    vr_buf_init(&twice, 1u << 20);
    assert(dkim_ring_write(r, &text));
    assert(dkim_ring_parse(r->domain, vr_buf_str(&text), &again, error) == DKIM_STORE_OK);
    assert(dkim_ring_write(again, &twice));
    assert(again->count == r->count && vr_str_equal(vr_buf_str(&text), vr_buf_str(&twice)));
    check_times(r);
    dkim_ring_free(r);
    dkim_ring_free(again);
    vr_buf_fini(&text);
    vr_buf_fini(&twice);
    return 0;
}
