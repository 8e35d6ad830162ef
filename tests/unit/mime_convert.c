/* mime_convert.c - what a message needs, what stands in the way of a conversion, and what comes out of it; each in any pieces. */
#include "mime_testing.h"

/* ---- tools -------------------------------------------------------------------------------------------------------- */

static const struct mime_survey *survey(struct vr_str message, size_t cut)
{
    static struct mime_survey s;
    struct vr_str rest = message;
    mime_survey_init(&s);
    while (rest.n > 0)
        mime_survey_feed(&s, cut_piece(&rest, cut, message.n));
    mime_survey_end(&s);
    return &s;
}

static void take(struct mime_converter *c, struct vr_buf *out)
{
    struct vr_str piece;
    while (mime_convert_next(c, &piece)) {
        assert_true(piece.n > 0);
        assert_true(vr_buf_add(out, piece));
    }
}

static struct vr_str convert(struct vr_str message, const struct mime_survey *s, enum mime_transport to,
                             size_t cut)
{
    static struct mime_converter c;
    struct vr_str rest = message;
    struct vr_buf out;
    vr_buf_init(&out, 1u << 20);
    mime_convert_init(&c, s, to);
    while (rest.n > 0) {
        mime_convert_feed(&c, cut_piece(&rest, cut, message.n));
        take(&c, &out);
    }
    mime_convert_end(&c);
    take(&c, &out);
    struct vr_str copy = vr_arena_dup(&arena, vr_buf_str(&out));
    vr_buf_fini(&out);
    return copy;
}

static struct vr_str obstacle(const struct mime_survey *s, enum mime_transport to)
{
    struct vr_buf b;
    vr_buf_init(&b, 500);
    assert_true(mime_obstacle_text(&s->verdict, to, &b));
    struct vr_str copy = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return copy;
}

/* ---- conversions -------------------------------------------------------------------------------------------------- */

#define CTE      "Content-Transfer-Encoding: "
#define QP       CTE "quoted-printable\n"
#define B64      CTE "base64\n"
#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\n"
#define X76      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X75      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct row {
    const char *name;
    enum mime_transport to;
    struct vr_str message,
        result; /* result: {NULL, 0} when there is none: then the obstacle's words are in `words` */
    const char *words;
} rows[] = {
    {"text with a header", MIME_7BIT,
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" CTE
          "8bit\nSubject: x\n\nGr\xc3\xbc\xc3\x9f"
          "e\n"),
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" QP
          "Subject: x\n\nGr=C3=BC=C3=9Fe\n"),
     NULL},
    {"no MIME at all, UTF-8", MIME_7BIT, TEXT("Subject: x\n\n\xc3\xa4 and so on\n"),
     TEXT("Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" QP
          "\n=C3=A4 and so on\n"),
     NULL},
    {"no MIME at all, something else", MIME_7BIT, TEXT("Subject: x\n\n\xe4 and so on\n"),
     TEXT("Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n" QP
          "\n=E4 and so on\n"),
     NULL},
    {"no MIME at all, UTF-8 cut off", MIME_7BIT, TEXT("Subject: x\n\nand so on \xc3"),
     TEXT("Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n" QP
          "\nand so on =C3=\n"),
     NULL},
    {"no header", MIME_7BIT, TEXT("\n\xe4 and so on\n"),
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n" QP "\n=E4 and so on\n"),
     NULL},
    {"a line that is no field, and no blank line", MIME_7BIT,
     TEXT("A: x\nGr\xfc\xdf"
          "e and so on: y\n"),
     TEXT("A: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n" QP
          "\nGr=FC=DFe and so on: y\n"),
     NULL},
    {"a type, but no encoding", MIME_7BIT, TEXT("Content-Type: text/html\n\n\xe4 and so on\n"),
     TEXT("Content-Type: text/html\nMIME-Version: 1.0\n" QP "\n=E4 and so on\n"), NULL},
    {"an encoding that is none", MIME_7BIT,
     TEXT(CTE "8-bit\nMIME-Version: 1.0\nContent-Type: text/plain\n\n\xe4 and so on\n"),
     TEXT(QP "MIME-Version: 1.0\nContent-Type: text/plain\n\n=E4 and so on\n"), NULL},
    {"folded and repeated encodings", MIME_7BIT,
     TEXT("MIME-Version: 1.0\n" CTE
          "\n 8bit\n (x)\nContent-Type: text/plain\ncontent-transfer-encoding: binary\n\n\xe4 and so on\n"),
     TEXT("MIME-Version: 1.0\n" QP "Content-Type: text/plain\n\n=E4 and so on\n"), NULL},
    {"not text", MIME_7BIT, TEXT("Mime-Version: 1.0\nContent-Type: image/gif\n\nGIF\xe4\n"),
     TEXT("Mime-Version: 1.0\nContent-Type: image/gif\n" B64 "\nR0lG5A0K\n"), NULL},
    {"text that is mostly 8-bit", MIME_7BIT,
     TEXT(
         "MIME-Version: 1.0\nContent-Type: text/plain\n\n\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\n"),
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n" B64 "\n5OTk5OTk5OTk5OTkDQo=\n"), NULL},
    {"text that is none", MIME_7BIT,
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n\nabc\0def ghi jkl mno\n"),
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n" B64 "\nYWJjAGRlZiBnaGkgamtsIG1ubw0K\n"), NULL},
    {"8-bit is no reason for 8bit", MIME_8BIT, TEXT("Subject: x\n\n\xe4\n"), TEXT("Subject: x\n\n\xe4\n"),
     NULL},
    {"7-bit is no reason at all", MIME_7BIT, TEXT("Subject: x\n\n= . \n.\nFrom x\n--\n"),
     TEXT("Subject: x\n\n= . \n.\nFrom x\n--\n"), NULL},
    /* quoted-printable */
    {"what must be escaped", MIME_7BIT,
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n\n=3D \t\n \n.\n..x\nx.\nFrom x\n>From "
          "x\nFrom\nFromage\n--b\n-- \n-\nx--\n\x01\x7f\xff.\n"),
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n" QP
          "\n=3D3D =09\n=20\n=2E\n=2E.x\nx.\n=46rom x\n>From "
          "x\nFrom\nFromage\n=2D-b\n=2D-=20\n-\nx--\n=01=7F=FF.\n"),
     NULL},
    {"76 characters are a line, 77 are two", MIME_7BIT,
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n\n" X76 "\n" X76 "y\n" X75 "=\n" X75 "\xe4\n" X76
          "\xe4 \nx"),
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n" QP "\n" X76 "\n" X75 "=\nxy\n" X75 "=\n=3D\n" X75
          "=\n=E4\n" X75 "=\nx=E4=20\nx=\n"),
     NULL},
    {"soft line breaks make no delimiter, no From, no dot", MIME_7BIT,
     TEXT("MIME-Version: 1.0\n" MULTI("b") "\n--b\n\n" X75 "--b\xe4\n" X75 "--b--\n" X75 "From xx\n" X75
                                           ".xx\n" X75 " \n--b--\n"),
     TEXT("MIME-Version: 1.0\n" MULTI("b") "\n--b\n" QP "\n" X75 "=\n=2D-b=E4\n" X75 "=\n=2D-b--\n" X75
                                           "=\n=46rom xx\n" X75 "=\n=2Exx\n" X75 "=\n=20\n--b--\n"),
     NULL},
    {"a boundary that looks like an escape", MIME_7BIT,
     TEXT("MIME-Version: 1.0\n" MULTI("\"a=E4b\"") "\n--a=E4b\n\nand so on\n--a\xe4"
                                                   "b\n--a=E4b--\n"),
     TEXT("MIME-Version: 1.0\n" MULTI("\"a=E4b\"") "\n--a=E4b\n" QP "\nand so on\n=2D-a=E4b\n--a=E4b--\n"),
     NULL},
    {"no line end before the delimiter", MIME_7BIT,
     TEXT(MULTI("b") "\n--b\n\nGr\xfc\xdf and so on \n--b--\n"),
     TEXT(MULTI("b") "\n--b\n" QP "\nGr=FC=DF and so on=20\n--b--\n"), NULL},
    {"76 characters end the message", MIME_7BIT,
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n\n\xe4\n" X76),
     TEXT("MIME-Version: 1.0\nContent-Type: text/plain\n" QP "\n=E4\n" X75 "=\nx=\n"), NULL},
    /* base64 */
    {"base64 before a delimiter", MIME_7BIT,
     TEXT(MULTI("b") "\n--b\nContent-Type: a/b\n\n\xe4\n--b\nContent-Type: a/b\n\n\xe4\n\n--b--"),
     TEXT(MULTI("b") "\n--b\nContent-Type: a/b\n" B64 "\n5A==\n--b\nContent-Type: a/b\n" B64 "\n5A0K\n--b--"),
     NULL},
    /* binary */
    {"binary to 8bit", MIME_8BIT,
     TEXT(MULTI("b") CTE "binary\n\n--b\n" CTE "binary\n\nte\xfct\n--b\nContent-Type: image/x\n" CTE
                         "binary\n\n\0\r\xff\n--b\nContent-Type: text/plain\n\n\xe4\n--b--\n"),
     TEXT(MULTI("b") CTE "8bit\n\n--b\n" CTE "8bit\n\nte\xfct\n--b\nContent-Type: image/x\n" B64
                         "\nAA3/\n--b\nContent-Type: text/plain\n\n\xe4\n--b--\n"),
     NULL},
    {"binary to 7bit", MIME_7BIT,
     TEXT(MULTI("b") CTE "binary\n\n--b\n" CTE "binary\n\ntext\n--b\nContent-Type: image/x\n" CTE
                         "binary\n\n\0\r\xff\n--b--\n"),
     TEXT(MULTI("b") CTE "7bit\n\n--b\n" CTE "7bit\n\ntext\n--b\nContent-Type: image/x\n" B64
                         "\nAA3/\n--b--\n"),
     NULL},
    {"binary without a line end, last in the message", MIME_8BIT,
     TEXT("MIME-Version: 1.0\nContent-Type: image/x\n" CTE "binary\n\nabc"),
     TEXT("MIME-Version: 1.0\nContent-Type: image/x\n" B64 "\nYWJj\n"), NULL},
    {"the same before a delimiter", MIME_8BIT,
     TEXT(MULTI("b") "\n--b\nContent-Type: image/x\n" CTE "binary\n\nabc\n--b--\n"),
     TEXT(MULTI("b") "\n--b\nContent-Type: image/x\n" CTE "8bit\n\nabc\n--b--\n"), NULL},
    /* labels */
    {"a label alone", MIME_7BIT, TEXT(CTE "8bit\n\nx\n"), TEXT(CTE "7bit\n\nx\n"), NULL},
    {"labels around what is encoded", MIME_7BIT,
     TEXT(CTE "8bit\n" MULTI("a") "\n--a\n" CTE "8bit\nContent-Type: message/rfc822\n\n" CTE "8bit\n" MULTI(
         "b") "\n--b\n" CTE "8bit\n\nGr\xfc\xdf and so on\n--b\n" CTE "8bit\n\nx\n--b--\n--a--\n"),
     TEXT(CTE "7bit\n" MULTI("a") "\n--a\n" CTE "7bit\nContent-Type: message/rfc822\n\n" CTE "7bit\n" MULTI(
         "b") "\n--b\n" QP "\nGr=FC=DF and so on\n--b\n" CTE "7bit\n\nx\n--b--\n--a--\n"),
     NULL},
    {"a message in a message gets what a message needs", MIME_7BIT,
     TEXT("Content-Type: message/rfc822\n\nSubject: x\n\n\xe4 and so on\n"),
     TEXT("Content-Type: message/rfc822\n\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/plain; "
          "charset=unknown-8bit\n" QP "\n=E4 and so on\n"),
     NULL},
    {"… also when its container has no blank line", MIME_7BIT,
     TEXT("Content-Type: message/rfc822\nno field \xe4\n"),
     TEXT("Content-Type: message/rfc822\n\nMIME-Version: 1.0\nContent-Type: text/plain; "
          "charset=unknown-8bit\n" QP "\nno field =E4\n"),
     NULL},
    {"a digest", MIME_7BIT,
     TEXT("Content-Type: multipart/digest; boundary=b\n\n--b\n\nMIME-Version: 1.0\nContent-Type: "
          "text/plain\n\n\xe4 and so on\n--b--\n"),
     TEXT("Content-Type: multipart/digest; boundary=b\n\n--b\n\nMIME-Version: 1.0\nContent-Type: "
          "text/plain\n" QP "\n=E4 and so on\n--b--\n"),
     NULL},
    {"message/global", MIME_7BIT,
     TEXT("MIME-Version: 1.0\nContent-Type: message/global\n\nSubject: \xc3\xa4\n"),
     TEXT("MIME-Version: 1.0\nContent-Type: message/global\n" B64 "\nU3ViamVjdDogw6QNCg==\n"), NULL},
    /* what claims to be encoded */
    {"quoted-printable with 8-bit octets", MIME_7BIT,
     TEXT(QP "\na=E4\xe4 \n=zz=4\xe4=\n=x\n=\xe4= \n" X75 "=E4\n.\nx=\n"),
     TEXT(QP "\na=E4=E4 \n=3Dzz=3D4=E4=\n=3Dx\n=3D=E4= \n" X75 "=\n=E4\n=2E\nx=\n"), NULL},
    {"base64 with 8-bit octets", MIME_7BIT, TEXT(B64 "\nQU\xe4JD\r\r\n"), TEXT(B64 "\nQU?JD??\n"), NULL},
    {"message/rfc822 in base64 stays so", MIME_7BIT,
     TEXT("Content-Type: message/rfc822\n" B64 "\nQU\xe4JD\n"),
     TEXT("Content-Type: message/rfc822\n" B64 "\nQU?JD\n"), NULL},
    {"quoted-printable that ends without a line end", MIME_7BIT, TEXT(QP "\n\xe4x"), TEXT(QP "\n=E4x"), NULL},
    /* preamble and epilogue */
    {"8-bit around the parts", MIME_7BIT,
     TEXT(MULTI("b") "\npr\xe4"
                     "amble\n--b\n\nx\n--b--\nepil\xf6g"),
     TEXT(MULTI("b") "\npr?amble\n--b\n\nx\n--b--\nepil?g"), NULL},
    {"… which 8bit may have", MIME_8BIT,
     TEXT(MULTI("b") "\npr\xe4"
                     "amble\0\n--b\n\nx\n--b--\nepil\xf6g\n"),
     TEXT(MULTI("b") "\npr\xe4"
                     "amble?\n--b\n\nx\n--b--\nepil\xf6g\n"),
     NULL},
    {"what stands for an octet makes no delimiter", MIME_7BIT,
     TEXT(MULTI("\"a?b\"") "\n--a\xe4"
                           "b\n--a?b\n\nx\n--a?b--"),
     TEXT(MULTI("\"a?b\"") "\n--a#b\n--a?b\n\nx\n--a?b--"), NULL},
    {"a bad header before a preamble", MIME_7BIT, TEXT(MULTI("b") "\xe4: x\n--b\n\nx\n--b--"),
     TEXT(MULTI("b") "\n?: x\n--b\n\nx\n--b--"), NULL},
    /* signatures and other obstacles */
    {"signed",
     MIME_7BIT,
     TEXT(MULTI("a") "\n--a\nContent-Type: multipart/signed; boundary=b\n\n--b\n" CTE
                     "8bit\n\nx\xe4\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n--a--\n"),
     {NULL, 0},
     "part 2 (text/plain) is signed (multipart/signed): to encode it would break the signature"},
    {"signed within signed: the outer one lasts longer",
     MIME_7BIT,
     TEXT("Content-Type: multipart/signed; boundary=a\n\n--a\nContent-Type: multipart/signed; "
          "boundary=b\n\n--b\n\nx\n--b--\n--a\n\n\xe4\n--a--\n"),
     {NULL, 0},
     "part 3 (text/plain) is signed"},
    {"signed, in a preamble",
     MIME_7BIT,
     TEXT("Content-Type: multipart/signed; boundary=b\n\n\xe4\n--b\n\nx\n--b--\n"),
     {NULL, 0},
     "the message itself (multipart) is signed"},
    {"signed, and 7-bit: left alone, labels too", MIME_7BIT,
     TEXT(MULTI("a") CTE
          "8bit\n\n--a\n\nGr\xfc\xdf and so on\n--a\nContent-Type: multipart/signed; boundary=b\n" CTE
          "8bit\n\n--b\n" CTE "8bit\n\nx\n--b--\n--a--\n"),
     TEXT(MULTI("a") CTE "7bit\n\n--a\n" QP
                         "\nGr=FC=DF and so on\n--a\nContent-Type: multipart/signed; boundary=b\n" CTE
                         "8bit\n\n--b\n" CTE "8bit\n\nx\n--b--\n--a--\n"),
     NULL},
    {"behind what is signed", MIME_7BIT,
     TEXT(MULTI("a") "\n--a\nContent-Type: multipart/signed; "
                     "boundary=b\n\n--b\n\nx\n--b--\n--a\n\nGr\xfc\xdf and so on\n--a--\n"),
     TEXT(MULTI("a") "\n--a\nContent-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b--\n--a\n" QP
                     "\nGr=FC=DF and so on\n--a--\n"),
     NULL},
    {"signed without a boundary is not signed",
     MIME_7BIT,
     TEXT("Content-Type: multipart/signed\n\n\xe4\n"),
     {NULL, 0},
     "the message itself (multipart/signed) is a multipart whose parts cannot be told apart"},
    {"encrypted",
     MIME_7BIT,
     TEXT("Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b\n\n\xe4\n--b--\n"),
     {NULL, 0},
     "part 2 (text/plain) is within multipart/encrypted, which must stay as it is"},
    {"message/partial",
     MIME_7BIT,
     TEXT("Content-Type: message/partial; id=x\n\n\xe4\n"),
     {NULL, 0},
     "the message itself (message/partial) has a type that must not be encoded"},
    {"message/external-body",
     MIME_7BIT,
     TEXT(MULTI("b") "\n--b\nContent-Type: message/external-body\n\nA: \xe4\n--b--\n"),
     {NULL, 0},
     "part 1 (message/external-body) has a type"},
    {"message/partial in 7 bits", MIME_7BIT, TEXT("Content-Type: message/partial; id=x\n" CTE "8bit\n\nx\n"),
     TEXT("Content-Type: message/partial; id=x\n" CTE "7bit\n\nx\n"), NULL},
    {"an encoding of one's own",
     MIME_7BIT,
     TEXT(CTE "x-yenc\n\n\xe4\n"),
     {NULL, 0},
     "the message itself (text/plain) has a Content-Transfer-Encoding of its own, which nobody else can "
     "undo"},
    {"no boundary",
     MIME_7BIT,
     TEXT("Content-Type: multipart/mixed\n\n--b\n\n\xe4\n"),
     {NULL, 0},
     "whose parts cannot be told apart"},
    {"no delimiter",
     MIME_7BIT,
     TEXT(MULTI("b") "\n--c\n\n\xe4\n"),
     {NULL, 0},
     "the message itself (multipart) is a multipart whose parts"},
    {"NUL in a header",
     MIME_8BIT,
     TEXT("A: \0\n\nx\n"),
     {NULL, 0},
     "the message itself (text/plain) has a NUL, or a CR or LF"},
    {"bare CR in a part's header",
     MIME_7BIT,
     TEXT(MULTI("b") "\n--b\nA: \r x\n\nx\n--b--\n"),
     {NULL, 0},
     "part 1 (text/plain) has a NUL"},
};

static void check_row(const struct row *row, struct vr_str message, size_t cut)
{
    const struct mime_survey *s = survey(message, cut);
    const struct mime_conversion *c = &s->verdict.to[row->to];
    struct vr_str words = obstacle(s, row->to);
    if (c->can != (row->words == NULL) || (row->words != NULL && !has(words, row->words)))
        fail_msg("%s: can %d, \"%.*s\"", row->name, c->can, VR_STR_ARG(words));
    if (!c->can) {
        assert_true(s->verdict.needs > row->to);
        return;
    }
    struct vr_str got = convert(message, s, row->to, cut), wanted = crlf(row->result);
    if (!vr_str_equal(got, wanted))
        fail_msg("%s, cut at %zu: got\n%.*s\nwanted\n%.*s", row->name, cut, VR_STR_ARG(got),
                 VR_STR_ARG(wanted));
    assert_int_equal(c->size, got.n);
    assert_int_equal(c->changed == 0, vr_str_equal(message, got));
    s = survey(got, 0);
    assert_true(s->verdict.needs <= row->to && s->verdict.to[row->to].changed == 0);
}

static void conversions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str message = crlf(rows[i].message);
        for (EVERY_CUT(message, cut)) {
            check_row(&rows[i], message, cut);
            vr_arena_reset(&arena);
            message = crlf(rows[i].message);
        }
        vr_arena_reset(&arena);
    }
}

/* ---- lines -------------------------------------------------------------------------------------------------------- */

/* The head, then `count` characters in lines of at most `first`, then `line`, with `between` in their middle, then the tail. */
static struct vr_str wrapped(const char *head, size_t count, size_t first, size_t line, const char *between,
                             const char *tail)
{
    struct vr_buf b;
    vr_buf_init(&b, 1u << 16);
    vr_buf_add(&b, crlf(vr_str_from(head)));
    for (size_t i = 0, column = 0, room = first; i < count; i++, column++) {
        if (column == room) {
            vr_buf_add(&b, crlf(vr_str_from(between)));
            column = 0;
            room = line;
        }
        vr_buf_add_byte(&b, 'x');
    }
    vr_buf_add(&b, crlf(vr_str_from(tail)));
    struct vr_str copy = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return copy;
}

#define LONG SIZE_MAX

static void check_long(const char *head, const char *new_head, size_t count, enum mime_transport to,
                       size_t first, size_t line, const char *between, const char *tail)
{
    struct vr_str message = wrapped(head, count, LONG, LONG, "", tail);
    struct vr_str wanted = wrapped(new_head, count, first, line, between, tail);
    static const size_t cuts[] = {0, 1, 500, 1050, LONG};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        const struct mime_survey *s = survey(message, cuts[i]);
        assert_int_equal(s->verdict.longest_line, count);
        assert_int_equal(s->verdict.needs, count > MIME_LINE_MAX ? MIME_BINARY : MIME_7BIT);
        assert_true(s->verdict.to[to].can);
        struct vr_str got = convert(message, s, to, cuts[i]);
        if (!vr_str_equal(got, wanted))
            fail_msg("%zu, cut at %zu:\n%.*s", count, cuts[i], VR_STR_ARG(got));
        assert_int_equal(s->verdict.to[to].size, got.n);
    }
}

static void long_lines(void **state)
{
    static const char text[] = "MIME-Version: 1.0\nContent-Type: text/plain\n";
    static const char multi[] = MULTI("b") "\n", parts[] = "\n--b\n\nx\n--b--";
    char head[200], encoded[200];
    (void)state;
    snprintf(head, sizeof head, "%s\n", text);
    snprintf(encoded, sizeof encoded, "%s%s\n", text, QP);
    for (enum mime_transport to = MIME_7BIT; to < MIME_BINARY; to++) {
        check_long(head, head, 998, to, LONG, LONG, "", "\n");
        check_long(head, encoded, 999, to, 75, 75, "=\n", "\n");
        check_long(QP "\n", QP "\n", 998, to, LONG, LONG, "", "\n");
        check_long(QP "\n", QP "\n", 1001, to, 75, 75, "=\n", "\n");
        check_long(B64 "\n", B64 "\n", 998, to, LONG, LONG, "", "\n");
        check_long(B64 "\n", B64 "\n", 3000, to, 998, 997, "\n ", "\n");
        check_long(multi, multi, 998, to, LONG, LONG, "", parts);
        check_long(multi, multi, 998 + 997, to, 998, 997, "\n ", parts);
        check_long(multi, multi, 998 + 997 + 1, to, 998, 997, "\n ", parts);
        vr_arena_reset(&arena);
    }
    /* a long field is told, and stays as it is */
    struct vr_str message = vr_arena_printf(&arena, "Subject: %01500d\r\n\r\n\xe4\r\n", 7);
    const struct mime_survey *s = survey(message, 0);
    assert_int_equal(s->verdict.longest_header_line, 1509);
    assert_int_equal(s->verdict.longest_line, 1);
    assert_int_equal(s->verdict.needs, MIME_8BIT);
    assert_true(has(convert(message, s, MIME_7BIT, 0), "000000007\r\nMIME-Version: 1.0\r\n"));
}

/* Of every length: lines of 76 characters, the last one shorter, what was encoded comes back. */
static void base64_lines(void **state)
{
    static const char head[] = "MIME-Version: 1.0\r\nContent-Type: a/b\r\n";
    static const char encoding[] = "Content-Transfer-Encoding: base64\r\n\r\n";
    char content[200];
    (void)state;
    for (size_t n = 1; n < sizeof content; n++) {
        struct vr_buf back;
        struct mime_decoder d;
        for (size_t i = 0; i < n; i++)
            content[i] = (char)(255 - i);
        struct vr_str message = vr_arena_printf(&arena, "%s\r\n%.*s", head, (int)n, content);
        const struct mime_survey *s = survey(message, 0);
        struct vr_str got = convert(message, s, MIME_7BIT, n % 50);
        assert_int_equal(s->verdict.to[MIME_7BIT].size, got.n);
        struct vr_str body = vr_str_from_pos(got, sizeof head + sizeof encoding - 2), line;
        assert_true(vr_str_starts(vr_str_from_pos(got, sizeof head - 1), vr_str_from(encoding)));
        vr_buf_init(&back, 300);
        mime_decoder_init(&d, MIME_ENCODING_BASE64);
        assert_true(mime_decode(&d, body, &back) && mime_decode_end(&d, &back));
        assert_true(vr_str_equal(vr_buf_str(&back), vr_str(content, n)));
        vr_buf_fini(&back);
        assert_true(vr_str_ends_nocase(body, VR_STR("\r\n")));
        while (vr_str_split(&body, '\n', &line))
            assert_true(line.n == 77 || (body.n == 0 && line.n > 1 && line.n < 77));
        vr_arena_reset(&arena);
    }
}

/* ---- the verdict -------------------------------------------------------------------------------------------------- */

static void verdicts(void **state)
{
    static const struct {
        struct vr_str message;
        enum mime_transport needs, labelled;
        const char *
            flags; /* h 8-bit header, u … in UTF-8, s signed, e encrypted, d DKIM, 7 8 can, r R replaces for 7 and 8 */
    } rows_[] = {
        {TEXT(""), MIME_7BIT, MIME_7BIT, "78"},
        {TEXT("A: x\n\nx\n"), MIME_7BIT, MIME_7BIT, "78"},
        {TEXT("A: \xc3\xa4\n\nx\n"), MIME_7BIT, MIME_7BIT, "hu78"},
        {TEXT("A: \xe4\n\nx\n"), MIME_7BIT, MIME_7BIT, "h78"},
        {TEXT("A: \xc3\nB: \xa4\n\nx\n"), MIME_7BIT, MIME_7BIT, "h78"},
        {TEXT(MULTI("b") "\n--b\nA: \xc3\xa4\n\nx\n--b--\n"), MIME_7BIT, MIME_7BIT, "hu78"},
        {TEXT("Content-Type: message/rfc822\n\nA: \xe4\n\nx\n"), MIME_7BIT, MIME_7BIT, "h78"},
        {TEXT("A: x\n\n\xe4\n"), MIME_8BIT, MIME_7BIT, "78"},
        {TEXT(CTE "binary\n\nx\n"), MIME_7BIT, MIME_BINARY, "78"},
        {TEXT("A: x\n\nx\ry\n"), MIME_BINARY, MIME_7BIT, "78"},
        {TEXT("A: x\n\nx\r"), MIME_BINARY, MIME_7BIT, "78"},
        {TEXT("A: x\n\nx\0\n"), MIME_BINARY, MIME_7BIT, "78"},
        {TEXT("A: x\0\n\nx\n"), MIME_BINARY, MIME_7BIT, ""},
        {TEXT("DKIM-Signature: v=1\n\nx\n"), MIME_7BIT, MIME_7BIT, "d78"},
        {TEXT("Content-Type: message/rfc822\n\nDKIM-Signature: v=1\n\nx\n"), MIME_7BIT, MIME_7BIT, "78"},
        {TEXT("Content-Type: multipart/signed; boundary=b\n\n--b\n\n\xe4\n--b--\n"), MIME_8BIT, MIME_7BIT,
         "s8"},
        {TEXT("Content-Type: multipart/encrypted; boundary=b\n\n--b\n\n\0\n--b--\n"), MIME_BINARY, MIME_7BIT,
         "e"},
        {TEXT(MULTI("b") "\n\xe4\n--b\n\nx\n--b--\n"), MIME_8BIT, MIME_7BIT, "78r"},
        {TEXT(MULTI("b") "\n--b\n\nx\n--b--\n\r x"), MIME_BINARY, MIME_7BIT, "78rR"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows_ / sizeof *rows_; i++) {
        struct vr_str message = crlf(rows_[i].message);
        for (EVERY_CUT(message, cut)) {
            const struct mime_verdict *v = &survey(message, cut)->verdict;
            char flags[20];
            snprintf(flags, sizeof flags, "%s%s%s%s%s%s%s%s%s", v->eight_bit_header ? "h" : "",
                     v->header_is_utf8 ? "u" : "", v->is_signed ? "s" : "", v->is_encrypted ? "e" : "",
                     v->has_dkim ? "d" : "", v->to[MIME_7BIT].can ? "7" : "", v->to[MIME_8BIT].can ? "8" : "",
                     v->to[MIME_7BIT].replaces ? "r" : "", v->to[MIME_8BIT].replaces ? "R" : "");
            assert_int_equal(v->size, message.n);
            assert_int_equal(v->needs == MIME_BINARY,
                             v->nul || v->bare || v->to[MIME_8BIT].obstacle == MIME_IN_HEADER);
            assert_int_equal(v->eight_bit, v->needs == MIME_8BIT);
            if (v->needs != rows_[i].needs || v->labelled != rows_[i].labelled ||
                strcmp(flags, rows_[i].flags) != 0)
                fail_msg("row %zu, cut at %zu: needs %s, labelled %s, %s", i, cut,
                         mime_transport_name(v->needs), mime_transport_name(v->labelled), flags);
        }
    }
}

/* A CR or LF alone is no line end, wherever the pieces end. */
static void bare_line_ends(void **state)
{
    static const struct {
        const char *body;
        bool bare;
        size_t longest;
    } bodies[] = {{"a\r\nb\r\n", false, 1}, {"a\nb\r\n", true, 3},     {"a\rb\r\n", true, 3},
                  {"\nab\r\n", true, 3},    {"\r\n\nab\r\n", true, 3}, {"ab\r\r\n", true, 3},
                  {"ab\r", true, 3},        {"ab\n", true, 3},         {"ab\r\n\r\n", false, 2},
                  {"ab\n\r", true, 4},      {"ab\r\nc\n", true, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct vr_str message = vr_arena_printf(&arena, "A: x\r\n\r\n%s", bodies[i].body);
        for (EVERY_CUT(message, cut)) {
            const struct mime_verdict *v = &survey(message, cut)->verdict;
            if (v->bare != bodies[i].bare || v->longest_line != bodies[i].longest)
                fail_msg("%zu, cut at %zu: bare %d, longest %llu", i, cut, v->bare,
                         (unsigned long long)v->longest_line);
        }
    }
}

/* Beyond the plan's room a part passes when nothing must be done to it. */
static void many_parts(void **state)
{
    struct vr_buf b;
    (void)state;
    vr_buf_init(&b, 1u << 20);
    vr_buf_add(&b, crlf(VR_STR(MULTI("b") "\n")));
    for (unsigned i = 1; i < MIME_PARTS_MAX + 10; i++)
        vr_buf_add(&b, crlf(i == 5 ? VR_STR("--b\n\n\xe4 and so on\n") : VR_STR("--b\n\nx\n")));
    const struct mime_survey *s = survey(vr_buf_str(&b), 0);
    assert_int_equal(s->verdict.parts, MIME_PARTS_MAX + 10);
    assert_true(s->verdict.to[MIME_7BIT].can && s->verdict.to[MIME_7BIT].changed == 1);
    struct vr_str got = convert(vr_buf_str(&b), s, MIME_7BIT, 0);
    assert_true(vr_str_is_ascii(got) && got.n == s->verdict.to[MIME_7BIT].size);
    vr_buf_add(&b, VR_STR("\xe4"));
    s = survey(vr_buf_str(&b), 0);
    assert_false(s->verdict.to[MIME_7BIT].can);
    assert_true(s->verdict.to[MIME_8BIT].can);
    assert_text(obstacle(s, MIME_7BIT), "part 8201 (text/plain) comes behind more parts than are looked at");
    vr_buf_fini(&b);
}

/* What needs no change is given out where it was fed, not copied. */
static void nothing_is_copied(void **state)
{
    static struct mime_converter c;
    struct vr_str message = crlf(VR_STR(MULTI("b") "\n--b\n\nplain text\n--b\n\n\xe4 and so on\n--b--\n")),
                  piece;
    size_t own = 0;
    (void)state;
    mime_convert_init(&c, survey(message, 0), MIME_7BIT);
    mime_convert_feed(&c, message);
    while (mime_convert_next(&c, &piece))
        own += piece.p < message.p || piece.p >= message.p + message.n ? piece.n : 0;
    assert_int_equal(own, strlen("Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4 and so on"));
    mime_convert_end(&c);
    assert_false(mime_convert_next(&c, &piece));
    assert_false(mime_convert_next(&c, &piece));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(conversions),    T(long_lines), T(base64_lines),      T(verdicts),
        T(bare_line_ends), T(many_parts), T(nothing_is_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
