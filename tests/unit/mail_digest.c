/* mail_digest.c - canonical forms against those made line by line, the end of the header, bounds; in all splits. */
#include "auth_testing.h"

#include "lib/auth/canon.h"

/* ---- bodies ----------------------------------------------------------------------------------------------------------------- */

struct gathered {
    struct vr_buf text;
};

static void gather(void *arg, struct vr_str bytes)
{
    assert_true(bytes.n > 0);
    assert_true(vr_buf_add(&((struct gathered *)arg)->text, bytes));
}

/* piece 0: of random sizes. */
static struct vr_str canonical(struct vr_str body, enum mail_canon canon, size_t piece)
{
    struct gathered g;
    struct canon_body c = {.canon = canon};
    vr_buf_init(&g.text, body.n + 16);
    while (body.n > 0) {
        struct vr_str part = vr_str_sub(body, 0, piece > 0 ? piece : 1 + random_below(200));
        char *exact = malloc(part.n);
        memcpy(exact, part.p, part.n);
        canon_body_feed(&c, vr_str(exact, part.n), gather, &g);
        free(exact);
        body = vr_str_from_pos(body, part.n);
    }
    canon_body_end(&c, gather, &g);
    struct vr_str out = vr_arena_dup(&arena, vr_buf_str(&g.text));
    vr_buf_fini(&g.text);
    return out;
}

static const struct {
    const char *body, *simple, *relaxed;
} forms[] = {
    {"", "\r\n", ""},
    {"\r\n", "\r\n", ""},
    {"\r\n\r\n\r\n", "\r\n", ""},
    {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, /* RFC 6376 §3.4.5 */
    {"a", "a\r\n", "a\r\n"},
    {"a\r\n", "a\r\n", "a\r\n"},
    {"a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
    {"a\r\n \t\r\n", "a\r\n \t\r\n", "a\r\n"}, /* a line of blanks is empty in relaxed form */
    {"a\r\n \t\r\nb", "a\r\n \t\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {" a", " a\r\n", " a\r\n"},
    {"\t\ta  b\t", "\t\ta  b\t\r\n", " a b\r\n"},
    {" \t ", " \t \r\n", ""},
    {"a\rb\r\n", "a\rb\r\n", "a\rb\r\n"}, /* a CR alone is no line end */
    {"a\r", "a\r\r\n", "a\r\r\n"},
    {"a \r", "a \r\r\n", "a \r\r\n"},
    {"a  \rb", "a  \rb\r\n", "a \rb\r\n"},
    {"a\nb\n", "a\nb\n\r\n", "a\nb\n\r\n"}, /* nor is an LF */
    {"a \n b", "a \n b\r\n", "a \n b\r\n"},
    {"\r\r\n", "\r\r\n", "\r\r\n"},
    {"a\r\n\r", "a\r\n\r\r\n", "a\r\n\r\r\n"},
    {"a \r\n", "a \r\n", "a\r\n"},
};

static void forms_of_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct vr_str body = vr_str_from(forms[i].body);
        for (size_t piece = 1; piece <= body.n + 1; piece++) {
            assert_text(canonical(body, MAIL_CANON_SIMPLE, piece), forms[i].simple);
            assert_text(canonical(body, MAIL_CANON_RELAXED, piece), forms[i].relaxed);
        }
        assert_text(slow_body(body, false), forms[i].simple); /* what the others are held against */
        if (strchr(forms[i].body, '\r') == NULL || strstr(forms[i].body, "\r\n") != NULL)
            assert_true(slow_body(body, true).n > 0 || forms[i].relaxed[0] == '\0');
    }
}

/* Random texts of what matters, some dense, some with long stretches of nothing, in random pieces. */
static void bodies_in_random_pieces(void **state)
{
    (void)state;
    static const char *const tokens[] = {
        "\r\n", " ",  "\t", "x",    "\r\n\r\n",
        "  ",   "\r", "\n", "word", "a longer stretch of text, as there is in mail"};
    for (int round = 0; round < 6000; round++) {
        struct vr_buf b;
        vr_buf_init(&b, 1 << 16);
        uint32_t kinds = 3 + random_below(8), count = random_below(round % 16 == 0 ? 400 : 40);
        for (uint32_t i = 0; i < count; i++)
            vr_buf_add(
                &b, vr_str_from(
                        tokens[kinds == 10 ? 9 - random_below(4) * random_below(3) : random_below(kinds)]));
        struct vr_str body = vr_arena_dup(&arena, vr_buf_str(&b));
        vr_buf_fini(&b);
        for (int canon = 0; canon < 2; canon++) {
            struct vr_str whole = canonical(body, (enum mail_canon)canon, SIZE_MAX),
                          pieces = canonical(body, (enum mail_canon)canon, 0);
            assert_true(vr_str_equal(whole, pieces));
            assert_true(vr_str_equal(whole, canonical(body, (enum mail_canon)canon, 1)));
            if (vr_str_find_str(body, VR_STR("\r\r")) == VR_NPOS) {
                struct vr_str slow = slow_body(body, canon == MAIL_CANON_RELAXED);
                if (!vr_str_equal(whole, slow))
                    fail_msg("round %d: got \"%.*s\", wanted \"%.*s\"", round, VR_STR_ARG(whole),
                             VR_STR_ARG(slow));
            }
        }
        vr_arena_reset(&arena);
    }
}

/* ---- header fields ------------------------------------------------------------------------------------------------------------ */

static struct vr_str hashed_field(enum mail_canon canon, struct canon_field field)
{
    struct canon_hash h;
    uint8_t digest[EVP_MAX_MD_SIZE];
    canon_hash_init(&h, false);
    canon_field_add(&h, canon, &field);
    assert_int_equal(canon_hash_fini(&h, digest), 32);
    return vr_arena_dup(&arena, vr_str((char *)digest, 32));
}

static struct vr_str sha256(struct vr_str text)
{
    unsigned char digest[32];
    assert_int_equal(EVP_Digest(text.p, text.n, digest, NULL, EVP_sha256(), NULL), 1);
    return vr_arena_dup(&arena, vr_str((char *)digest, 32));
}

static void forms_of_fields(void **state)
{
    (void)state;
    static const struct {
        const char *field, *relaxed;
    } rows[] = {
        {"A: X\r\n", "a:X\r\n"}, /* RFC 6376 §3.4.5 */
        {"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
        {"SUBJect: AbC\r\n", "subject:AbC\r\n"},
        {"X:\r\n", "x:\r\n"},
        {"X: \r\n", "x:\r\n"},
        {"X:a\r\n", "x:a\r\n"},
        {"X:\r\n a\r\n \t\r\n b\r\n", "x:a b\r\n"},
        {"X: a:b : c\r\n", "x:a:b : c\r\n"},
        {"X: a\n b\n", "x:a b\r\n"},
        {"X: a\rb\r\n", "x:a\rb\r\n"},
        {"X: b\xc3\xbc"
         "cher\r\n",
         "x:b\xc3\xbc"
         "cher\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str raw = vr_str_from(rows[i].field), relaxed = vr_str_from(rows[i].relaxed);
        assert_true(vr_str_equal(hashed_field(MAIL_CANON_RELAXED, (struct canon_field){.raw = raw}),
                                 sha256(relaxed)));
        struct vr_str last = vr_str_sub(relaxed, 0, relaxed.n - 2);
        assert_true(vr_str_equal(
            hashed_field(MAIL_CANON_RELAXED, (struct canon_field){.raw = raw, .last = true}), sha256(last)));
        if (strstr(rows[i].field, "\r\n") != NULL)
            assert_true(
                vr_str_equal(hashed_field(MAIL_CANON_SIMPLE, (struct canon_field){.raw = raw}), sha256(raw)));
    }
    struct vr_str cut = VR_STR("D: a=1; b= 2\r\n 3; c=4\r\n");
    struct canon_field field = {.raw = cut, .cut_from = 10, .cut_to = 16};
    assert_true(vr_str_equal(hashed_field(MAIL_CANON_SIMPLE, field), sha256(VR_STR("D: a=1; b=; c=4\r\n"))));
    assert_true(vr_str_equal(hashed_field(MAIL_CANON_RELAXED, field), sha256(VR_STR("d:a=1; b=; c=4\r\n"))));
    field = (struct canon_field){.raw = VR_STR("D: b= 2 \r\n"), .cut_from = 5, .cut_to = 8, .last = true};
    assert_true(vr_str_equal(hashed_field(MAIL_CANON_SIMPLE, field), sha256(VR_STR("D: b="))));
}

/* ---- where the header ends ------------------------------------------------------------------------------------------------------- */

static void the_end_of_the_header(void **state)
{
    (void)state;
    static const struct {
        const char *message, *header;
        uint64_t body;
    } rows[] = {
        {"", "", 0},
        {"A: 1\r\n\r\nbody\r\n", "A: 1\r\n\r\n", 6},
        {"A: 1\r\n b\r\nC: 2\r\n\r\n", "A: 1\r\n b\r\nC: 2\r\n\r\n", 0},
        {"\r\nbody", "\r\n", 4},
        {"\nbody", "\n", 4},
        {"A: 1\n\nbody", "A: 1\n\n", 4},
        {"A: 1", "A: 1", 0},
        {"A: 1\r\n", "A: 1\r\n", 0},
        {"A: 1\r\n\r", "A: 1\r\n", 0},
        {"A: 1\r\nno field\r\nB: 2\r\n\r\nx", "A: 1\r\n",
         19}, /* as message.h has it: the body begins there */
        {"A: 1\r\nno field", "A: 1\r\n", 8},
        {" blank first\r\nA: 1\r\n", "", 20},
        {"From ann@example.org Thu Jan  1\r\nA: 1\r\n", "", 39},
        {"A: 1\r\n \r\n c\r\n\r\nx", "A: 1\r\n \r\n c\r\n\r\n", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t piece = 1; piece < 12; piece++) {
            struct vr_str message = vr_str_from(rows[i].message);
            struct mail_digest *d = digest_of(message, piece);
            assert_true(mail_digest_has_header(d) && mail_digest_ended(d));
            assert_text(mail_digest_header(d), rows[i].header);
            assert_int_equal(mail_digest_body_size(d), rows[i].body);
            assert_int_equal(mail_digest_feed(d, VR_STR("more")), VR_ERR_STATE);
            assert_int_equal(mail_digest_end(d), VR_ERR_STATE);
            mail_digest_free(d);
        }
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){0});
    assert_int_equal(mail_digest_feed(d, VR_STR("A: 1\r\n\r")), VR_OK);
    assert_false(mail_digest_has_header(d));
    assert_int_equal(mail_digest_header(d).n, 0);
    assert_int_equal(mail_digest_feed(d, VR_STR("\n")), VR_OK);
    assert_true(mail_digest_has_header(d));
    assert_false(mail_digest_ended(d));
    mail_digest_free(d);
    mail_digest_free(NULL);
}

static struct vr_str many_fields(size_t count, size_t size)
{
    struct vr_buf b;
    vr_buf_init(&b, count * (size + 16) + 16);
    for (size_t i = 0; i < count; i++)
        vr_buf_addf(&b, "X: %0*d\r\n", (int)size, 1);
    vr_buf_add(&b, VR_STR("\r\n"));
    struct vr_str out = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

static void bounds(void **state)
{
    (void)state;
    struct vr_str large = many_fields(10, 95), body = many_fields(1, 5000); /* 1002 octets of header */
    struct {
        size_t max;
        bool fits;
    } rows[] = {{1002, true}, {1001, false}, {1000, false}, {2000, true}, {1, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t piece = 1; piece < 6000; piece = piece * 7 + 1) {
            struct mail_digest *d = mail_digest_new(
                &(struct mail_digest_config){.header_max = rows[i].max, .verify = true, .sign = {true}});
            struct dkim_result r;
            struct dkim_unsigned u;
            struct dkim_query q = {.now = NOW};
            assert_int_equal(large.n, 1002);
            feed(d, vr_arena_printf(&arena, "%.*s%.*s", VR_STR_ARG(large), VR_STR_ARG(body)), piece);
            assert_int_equal(mail_digest_end(d), rows[i].fits ? VR_OK : VR_ERR_TOO_BIG);
            assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_OK);
            assert_int_equal(r.state, DKIM_DONE);
            assert_int_equal(r.signature_count, !rows[i].fits);
            if (!rows[i].fits) {
                assert_verdict(&r.signatures[0], DKIM_PERMERROR, "too large");
                assert_int_equal(mail_digest_feed(d, VR_STR("x")), VR_ERR_TOO_BIG);
                assert_int_equal(mail_digest_header(d).n, 0);
                assert_int_equal(dkim_sign_prepare(d, &(struct dkim_signer){0}, vr_str(NULL, 0), &arena, &u),
                                 VR_ERR_TOO_BIG);
            }
            mail_digest_free(d);
        }
    struct vr_str fields = many_fields(MAIL_DIGEST_FIELDS_MAX, 1),
                  more = many_fields(MAIL_DIGEST_FIELDS_MAX + 1, 1);
    struct mail_digest *d = digest_of(fields, 1000);
    assert_true(mail_digest_ended(d));
    mail_digest_free(d);
    d = digest_of(more, 1000);
    assert_false(mail_digest_ended(d));
    mail_digest_free(d);
    d = digest_of(more, SIZE_MAX);
    assert_int_equal(mail_digest_end(d), VR_ERR_TOO_BIG);
    mail_digest_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(forms_of_bodies), T(bodies_in_random_pieces), T(forms_of_fields), T(the_end_of_the_header),
        T(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
