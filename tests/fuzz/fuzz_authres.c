/* fuzz_authres.c - any bytes as Authentication-Results, as the values of one, and as a header with some.
 *
 * Checked: what is read is written and read as the same; whatever a value is, what is written is one field of lines that are not too long; a field that
 * says to be ours is found; what is merged can be read.
 */
#include <veredus/authres.h>
#include <veredus/idn.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(struct vr_str field)
{
    struct vr_str line;
    for (bool first = true; vr_str_split(&field, '\n', &line); first = false) {
        assert(line.n > 1 && line.n <= 999 && line.p[line.n - 1] == '\r');
        assert(first || line.p[0] == ' ');
        assert(vr_str_find(vr_str_sub(line, 0, line.n - 1), '\r') == VR_NPOS &&
               vr_str_find(line, '\0') == VR_NPOS);
    }
}

static void check_read(struct vr_str body)
{
    struct vr_arena arena;
    struct vr_buf out;
    struct authres a, again;
    vr_arena_init(&arena, 16 << 20);
    vr_buf_init(&out, 4 << 20);
    enum vr_err e = authres_parse(&arena, body, &a);
    assert(e == VR_OK || e == VR_ERR_SYNTAX || e == VR_ERR_TOO_BIG || e == VR_ERR_UNSUPPORTED);
    if (e == VR_OK && authres_write(&out, &a)) {
        check_lines(vr_buf_str(&out));
        struct vr_str text = vr_str_from_pos(vr_buf_str(&out), 23);
        assert(authres_parse(&arena, text, &again) == VR_OK && again.result_count == a.result_count);
        for (size_t i = 0; i < a.result_count; i++) {
            const struct authres_result *x = &a.results[i], *y = &again.results[i];
            assert(vr_str_equal(x->method, y->method) && vr_str_equal(x->result, y->result) &&
                   x->version == y->version && x->property_count == y->property_count);
            assert(x->raw.p >= body.p && x->raw.p + x->raw.n <= body.p + body.n);
        }
    }
    vr_buf_fini(&out);
    vr_arena_fini(&arena);
}

static void check_written(struct vr_str value)
{
    struct vr_arena arena;
    struct vr_buf out;
    struct authres again;
    const struct authres_property p = {VR_STR("smtp"), VR_STR("mailfrom"), value};
    const struct authres_result r = {.method = VR_STR("spf"),
                                     .result = VR_STR("fail"),
                                     .comment = value,
                                     .reason = value,
                                     .properties = &p,
                                     .property_count = 1};
    vr_arena_init(&arena, 16 << 20);
    vr_buf_init(&out, 65536);
    assert(
        authres_write(&out, &(struct authres){.id = VR_STR("id.example"), .results = &r, .result_count = 1}));
    check_lines(vr_buf_str(&out));
    assert(authres_parse(&arena, vr_str_from_pos(vr_buf_str(&out), 23), &again) == VR_OK &&
           again.result_count == 1);
    assert(again.results[0].property_count == 1);
    vr_buf_fini(&out);
    vr_arena_fini(&arena);
}

static void check_header(struct vr_str header)
{
    static const struct vr_str ours = VR_STR_INIT("example.org");
    struct vr_arena arena;
    struct vr_buf out;
    struct header_field *forged, f;
    struct header_reader r;
    struct authres a;
    size_t count, at = 0;
    vr_arena_init(&arena, 16 << 20);
    vr_buf_init(&out, 4 << 20);
    assert(authres_forged(&arena, header, &ours, 1, &forged, &count) == VR_OK);
    header_reader_init(&r, header);
    while (header_next(&r, &f)) {
        bool found = at < count && forged[at].raw.p == f.raw.p;
        at += found;
        if (!found && vr_str_equal_nocase(f.name, VR_STR("Authentication-Results")))
            assert(authres_parse(&arena, f.body, &a) == VR_OK && !idn_equal(a.id, ours));
    }
    assert(at == count);
    assert(authres_merge(&out, header, ours));
    struct vr_str payload = vr_buf_str(&out);
    enum vr_err e = authres_parse(&arena, payload, &a);
    assert(e == VR_OK || e == VR_ERR_TOO_BIG);
    vr_buf_fini(&out);
    vr_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 32768)
        return 0;
    struct vr_str in = vr_str(size > 0 ? (const char *)data : "", size);
    check_read(in);
    check_written(in);
    check_header(in);
    return 0;
}
