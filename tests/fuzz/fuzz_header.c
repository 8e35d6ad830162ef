/* fuzz_header.c - any bytes as a message's header: fields, dates, Received, encoded words; and any bytes as what is to be written into a header.
 *
 * Fields and body are the message, byte for byte. A date that is read is written as a date of the same second. A field that is written is one field, whose
 * lines keep RFC 5322 §2.1.1, and says what it was given.
 */
#include <veredus/message.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX 998

static void check_date(struct vr_str text)
{
    struct message_date d, again;
    char out[MESSAGE_DATE_SIZE];
    if (message_date_parse(text, &d) != VR_OK)
        return;
    if (d.time + d.zone_minutes * 60 >= 253402300800) /* the leap second that ends the year 9999 */
        return;
    assert(d.zone_minutes > -6000 && d.zone_minutes < 6000);
    size_t n = message_date_write(out, d.time, d.zone_minutes);
    assert(n >= 30 && n < MESSAGE_DATE_SIZE && out[n] == '\0');
    assert(message_date_parse(vr_str(out, n), &again) == VR_OK);
    assert(again.time == d.time && again.zone_minutes == d.zone_minutes);
    n = message_rfc3339_write(out, d.time * 1000000);
    assert(n == 24);
}

static void check_received(struct vr_arena *arena, struct vr_str body)
{
    struct received r;
    enum vr_err e = received_parse(arena, body, &r);
    assert(e == VR_OK || e == VR_ERR_SYNTAX || e == VR_ERR_TOO_BIG);
    const struct vr_str parts[] = {r.from, r.by, r.via, r.with, r.id, r.for_};
    for (size_t i = 0; e == VR_OK && i < sizeof parts / sizeof *parts; i++)
        for (size_t k = 0; k < parts[i].n; k++)
            assert(parts[i].p[k] != ' ' && parts[i].p[k] != '\r' && parts[i].p[k] != '\n');
}

static void check_body(struct vr_arena *arena, struct vr_str body)
{
    for (size_t i = 0; i < body.n; i++) /* a field ends at the first line that is not folded */
        assert(body.p[i] != '\n' || i + 1 == body.n || body.p[i + 1] == ' ' || body.p[i + 1] == '\t');
    struct vr_str line = header_unfold(arena, body);
    assert(line.p != NULL && vr_str_find(line, '\n') == VR_NPOS && vr_str_find(line, '\r') == VR_NPOS);
    struct vr_str text = header_decode(arena, line);
    assert(text.p != NULL && text.n <= 4 * line.n);
    assert(vr_str_find_str(line, VR_STR("=?")) != VR_NPOS || vr_str_equal(text, line));
    check_date(body);
    check_received(arena, body);
}

static void read_message(struct vr_str message)
{
    struct header_reader r;
    struct header_field f, first;
    size_t fields = 0;
    const char *at = message.p;
    header_reader_init(&r, message);
    while (header_next(&r, &f)) {
        struct vr_arena arena;
        vr_arena_init(&arena, 1u << 22);
        assert(f.name.n > 0 && f.raw.p == at && f.name.p == at);
        for (size_t i = 0; i < f.name.n; i++)
            assert(f.name.p[i] > ' ' && f.name.p[i] < 0x7f && f.name.p[i] != ':');
        assert(f.body.p + f.body.n <= f.raw.p + f.raw.n);
        at = f.raw.p + f.raw.n;
        assert(fields > 20 || header_find(message, f.name, &first));
        assert(fields > 20 || (vr_str_equal_nocase(first.name, f.name) && header_count(message, f.name) > 0));
        check_body(&arena, f.body);
        vr_arena_fini(&arena);
        fields++;
    }
    struct vr_str body = header_body(&r);
    assert(r.done && body.p + body.n == message.p + message.n && body.p >= at && body.p - at <= 2);
    assert(!r.malformed || body.p == at);
    assert(!header_next(&r, &f));
}

/* What header_write may put in place of its text: control bytes are blanks, none at the ends. */
static struct vr_str clean(struct vr_arena *arena, struct vr_str text)
{
    struct vr_str copy = vr_arena_dup(arena, text);
    for (size_t i = 0; i < copy.n; i++)
        if ((unsigned char)copy.p[i] < 0x20 || copy.p[i] == 0x7f)
            ((char *)copy.p)[i] = ' ';
    return vr_str_trim(copy);
}

/* Lines of the length that RFC 5322 allows. Returns whether a word or a run of blanks had to be broken. */
static bool check_lines(struct vr_str text, size_t *longest)
{
    struct vr_str line;
    *longest = 0;
    while (vr_str_split(&text, '\n', &line)) {
        assert(line.n >= 1 && line.p[line.n - 1] == '\r' && line.n - 1 <= LINE_MAX);
        struct vr_str said = vr_str_trim(line);
        assert(said.n > 0 && vr_str_find(said, '\r') == VR_NPOS); /* no line of blanks only */
        if (line.n > *longest)
            *longest = line.n;
    }
    return *longest > 200;
}

static void write_field(struct vr_str body, bool encode)
{
    struct vr_arena arena;
    struct vr_buf out;
    struct header_reader r;
    struct header_field f;
    size_t longest;
    vr_arena_init(&arena, 1u << 24);
    vr_buf_init(&out, 24 * body.n + 200);
    assert(header_write(&out, VR_STR("Subject"), body, encode));
    struct vr_str text = vr_buf_str(&out), want = clean(&arena, body);
    bool broken = check_lines(text, &longest);
    header_reader_init(&r, text);
    assert(header_next(&r, &f) && f.raw.n == text.n && vr_str_equal(f.name, VR_STR("Subject")));
    bool encoded = encode && !vr_str_is_ascii(want);
    struct vr_str got = header_unfold(&arena, f.body);
    if (encoded) {
        assert(vr_str_is_ascii(text) && longest <= 78 + 1);
        if (vr_utf8_valid(want))
            assert(vr_str_equal(header_decode(&arena, got), want));
    } else if (!broken && vr_str_find_str(want, VR_STR("          ")) == VR_NPOS) {
        assert(vr_str_equal(got, want));
    }
    vr_buf_fini(&out);
    vr_buf_init(&out, 60); /* too small: said, and nothing beyond */
    header_write(&out, VR_STR("Subject"), body, encode);
    assert(vr_buf_size(&out) <= 60);
    vr_buf_fini(&out);
    vr_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    struct vr_str in = vr_str(size > 0 ? (const char *)data : "", size);
    struct vr_arena small;
    struct received r;
    read_message(in);
    check_date(in);
    write_field(in, false);
    write_field(in, true);
    vr_arena_init(&small, 100);
    received_parse(&small, in, &r);
    header_decode(&small, header_unfold(&small, in));
    assert(small.used <= 100);
    vr_arena_fini(&small);
    return 0;
}
