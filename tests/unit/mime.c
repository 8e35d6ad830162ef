/* mime.c - the fields of MIME, the structure of messages good and bad, and the decoder; each in any pieces. */
#include "mime_testing.h"

/* ---- fields ------------------------------------------------------------------------------------------------------- */

static void types(void **state)
{
    static const struct {
        const char *body, *type, *subtype; /* type NULL: none */
    } rows[] = {
        {"text/plain", "text", "plain"},
        {" Text/HTML; charset=x", "Text", "HTML"},
        {"(a (nested \\) comment)) multipart (x) / (y) mixed;boundary=z", "multipart", "mixed"},
        {"\r\n application/vnd.ms-excel", "application", "vnd.ms-excel"},
        {"text/plain,charset=x", "text", "plain"},
        {"text", NULL, NULL},
        {"text/", NULL, NULL},
        {"/plain", NULL, NULL},
        {"text;/plain", NULL, NULL},
        {"", NULL, NULL},
        {"(unfinished", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str type, subtype;
        assert_int_equal(mime_type_parse(vr_str_from(rows[i].body), &type, &subtype), rows[i].type != NULL);
        if (rows[i].type != NULL) {
            assert_text(type, rows[i].type);
            assert_text(subtype, rows[i].subtype);
        }
    }
}

static void encodings(void **state)
{
    static const struct {
        const char *body;
        enum mime_encoding encoding;
    } rows[] = {
        {"7bit", MIME_ENCODING_7BIT},
        {" 8BIT ", MIME_ENCODING_8BIT},
        {"(why?) Binary", MIME_ENCODING_BINARY},
        {"Quoted-Printable; x", MIME_ENCODING_QUOTED_PRINTABLE},
        {"\r\n\tbase64", MIME_ENCODING_BASE64},
        {"x-uuencode", MIME_ENCODING_PRIVATE},
        {"X-", MIME_ENCODING_PRIVATE},
        {"8-bit", MIME_ENCODING_UNKNOWN},
        {"utf-8", MIME_ENCODING_UNKNOWN},
        {"", MIME_ENCODING_UNKNOWN},
        {"7bits", MIME_ENCODING_UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(mime_encoding_parse(vr_str_from(rows[i].body)), rows[i].encoding);
}

static void parameters(void **state)
{
    static const struct {
        const char *body, *name, *value; /* NULL: there is none */
    } rows[] = {
        {"multipart/mixed; boundary=abc", "boundary", "abc"},
        {"multipart/mixed; BOUNDARY=\"a b\"", "boundary", "a b"},
        {"multipart/mixed;boundary=----=_Part/1:2?", "boundary", "----=_Part/1:2?"},
        {"multipart/mixed; x=\"; boundary=no\"; boundary=yes", "boundary", "yes"},
        {"multipart/mixed (; boundary=no) ; boundary = yes (c)", "boundary", "yes"},
        {"a/b; n=\"a\\\"b\\\\\"", "n", "a\"b\\"},
        {"a/b; n=\"folded\r\n text\"", "n", "folded text"},
        {"a/b; n=\"unfinished", "n", "unfinished"},
        {"a/b; n=", "n", ""},
        {"a/b; n=x;n=y", "n", "x"},
        {"a/b; nn=x", "n", NULL},
        {"a/b n=x", "n", NULL},
        {"a/b; n x", "n", NULL},
        {"a/b;;; ;n=x", "n", "x"},
        {"attachment; filename*=utf-8'de'%c3%A4.txt", "filename", "\xc3\xa4.txt"},
        {"attachment; filename=plain; filename*=''extended", "filename", "extended"},
        {"attachment; filename*0=ab; filename*1=\"cd\"; filename*2=ef", "filename", "abcdef"},
        {"attachment; filename*1=cd; filename*0=ab", "filename", "abcd"},
        {"attachment; filename*0*=us-ascii''a%20; filename*1=%20; filename*2*=%41", "filename", "a %20A"},
        {"attachment; filename*1=b", "filename", NULL},
        {"attachment; filename*=\"utf-8''%41b\"", "filename", "Ab"},
        {"attachment; filename*=no%2", "filename", "no%2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_buf b;
        vr_buf_init(&b, 100);
        enum vr_err err = mime_param(vr_str_from(rows[i].body), vr_str_from(rows[i].name), &b);
        if (err != (rows[i].value == NULL ? VR_ERR_NOT_FOUND : VR_OK))
            fail_msg("%s: %s", rows[i].body, vr_err_name(err));
        assert_text(vr_buf_str(&b), rows[i].value != NULL ? rows[i].value : "");
        vr_buf_fini(&b);
    }
    struct vr_buf small;
    vr_buf_init(&small, 3);
    assert_int_equal(mime_param(VR_STR("a/b; n=long"), VR_STR("n"), &small), VR_ERR_TOO_BIG);
    vr_buf_fini(&small);
}

/* ---- structure ---------------------------------------------------------------------------------------------------- */

/* Events as text: "[type H" a header of so many fields, P B E preamble, body, epilogue, "|" a delimiter, "!" the last one, "]". CRLF is "~". */
struct writer {
    struct mime_reader reader;
    struct vr_buf out, bytes;
    enum mime_event_kind last;
};

static void write_bytes(struct writer *w, const struct mime_event *ev)
{
    static const char letters[] = {[MIME_BODY] = 'B', [MIME_PREAMBLE] = 'P', [MIME_EPILOGUE] = 'E'};
    if (ev->kind != w->last)
        vr_buf_addf(&w->out, " %c:", letters[ev->kind]);
    for (size_t i = 0; i < ev->bytes.n; i++)
        if (ev->bytes.p[i] == '\n')
            vr_buf_add_byte(&w->out, '~');
        else if (ev->bytes.p[i] != '\r')
            vr_buf_add_byte(&w->out, ev->bytes.p[i]);
}

static void write_event(struct writer *w, const struct mime_event *ev)
{
    const struct mime_part *p = &w->reader.part;
    if (ev->kind == MIME_PART)
        vr_buf_addf(&w->out, " [%u", ev->part);
    else if (ev->kind == MIME_FIELD && ev->first)
        vr_buf_addf(&w->out, "%s", "f");
    else if (ev->kind == MIME_HEADER_END)
        vr_buf_addf(&w->out, " %s/%s%s%s", p->type, p->subtype, ev->bytes.n > 0 ? "" : "-",
                    p->is_message ? "*" : "");
    else if (ev->kind == MIME_BODY || ev->kind == MIME_PREAMBLE || ev->kind == MIME_EPILOGUE)
        write_bytes(w, ev);
    else if (ev->kind == MIME_BOUNDARY)
        vr_buf_addf(&w->out, "%s", ev->last ? " !" : " |");
    else if (ev->kind == MIME_PART_END)
        vr_buf_addf(&w->out, "%s", ev->last ? " ]." : " ]");
    vr_buf_add(&w->bytes, ev->bytes);
    w->last = ev->kind;
}

static void write_events(struct writer *w)
{
    struct mime_event ev;
    while (mime_reader_next(&w->reader, &ev) != MIME_MORE && ev.kind != MIME_END)
        write_event(w, &ev);
}

/* Reads a message cut in this way; what is written is the arena's. */
static struct vr_str structure(struct vr_str message, size_t cut, unsigned *notes)
{
    struct writer *w = calloc(1, sizeof *w);
    struct vr_str rest = message;
    assert_non_null(w);
    vr_buf_init(&w->out, 1u << 20);
    vr_buf_init(&w->bytes, 1u << 20);
    mime_reader_init(&w->reader);
    while (rest.n > 0) {
        mime_reader_feed(&w->reader, cut_piece(&rest, cut, message.n));
        write_events(w);
    }
    mime_reader_end(&w->reader);
    write_events(w);
    assert_true(vr_str_equal(vr_buf_str(&w->bytes), message));
    struct vr_str text = vr_arena_dup(&arena, vr_buf_str(&w->out));
    *notes = w->reader.notes;
    vr_buf_fini(&w->out);
    vr_buf_fini(&w->bytes);
    free(w);
    return text;
}

#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\n\n"

static const struct {
    const char *name;
    struct vr_str message;
    const char *events;
    unsigned notes;
} messages[] = {
    {"empty", TEXT(""), " [0 text/plain-* ].", 0},
    {"no body", TEXT("Subject: x\n"), " [0f text/plain-* ].", 0},
    {"a header that just stops", TEXT("Subject: x"), " [0f text/plain-* ].", 0},
    {"no header", TEXT("\nbody"), " [0 text/plain* B:body ].", 0},
    {"a body", TEXT("A: x\nB: y\n folded\nC: z\n\nbody\n\n--\n"), " [0fff text/plain* B:body~~--~ ].", 0},
    {"folded with blanks only", TEXT("A: x\n \n\t\nB: y\n\nz"), " [0ff text/plain* B:z ].", 0},
    {"a folded line first", TEXT(" x\nB: y\n\nz"), " [0f text/plain* B:z ].", 0},
    {"blanks before the colon", TEXT("Content-Type : image/gif\n\nz"), " [0f image/gif* B:z ].", 0},
    {"a line that is no field", TEXT("A: x\nno field here\nB: y\n\nz"),
     " [0f text/plain-* B:no field here~B: y~~z ].", MIME_NOTE_BAD_HEADER},
    {"the same, not whole", TEXT("A: x\nnothing"), " [0f text/plain-* B:nothing ].", MIME_NOTE_BAD_HEADER},
    {"a colon first", TEXT(": x\n\nz"), " [0 text/plain-* B:: x~~z ].", MIME_NOTE_BAD_HEADER},
    {"8-bit name", TEXT("S\xfc: x\n\nz"), " [0 text/plain-* B:S\xfc: x~~z ].", MIME_NOTE_BAD_HEADER},
    {"a mailbox's From line", TEXT("From a@b Mon 1 10:00:00\nA: x\n>From c\nContent-Type: a/b\n\nz"),
     " [0ffff a/b* B:z ].", 0},
    {"two parts", TEXT(MULTI("b") "pre\n--b\nA: x\n\none\n--b\n\ntwo\n\n--b--\nepi\n"),
     " [0f multipart/mixed* P:pre | [1f text/plain B:one ] | [2 text/plain B:two~ ] ! E:epi~ ].", 0},
    {"no preamble, empty parts", TEXT(MULTI("b") "--b\n\n--b\n\n\n--b--"),
     " [0f multipart/mixed* | [1 text/plain ] | [2 text/plain ] ! ].", 0},
    {"a part without a blank line", TEXT(MULTI("b") "--b\nA: x\n--b--\n"),
     " [0f multipart/mixed* | [1f text/plain- ] ! ].", 0},
    {"no last delimiter", TEXT(MULTI("b") "--b\n\none\n"),
     " [0f multipart/mixed* | [1 text/plain B:one~ ]. ].", MIME_NOTE_UNCLOSED},
    {"no delimiter at all", TEXT(MULTI("b") "one\n--c\n"), " [0f multipart/mixed* P:one~--c~ ].",
     MIME_NOTE_UNCLOSED},
    {"a delimiter cut off by the end", TEXT(MULTI("b") "--b\n\none\n--b-"),
     " [0f multipart/mixed* | [1 text/plain B:one~--b- ]. ].", MIME_NOTE_UNCLOSED},
    {"the last delimiter ends the message", TEXT(MULTI("b") "--b\n\none\n--b--"),
     " [0f multipart/mixed* | [1 text/plain B:one ] ! ].", 0},
    {"blanks behind delimiters", TEXT(MULTI("b") "--b \t\n\none\n--b--  \n"),
     " [0f multipart/mixed* | [1 text/plain B:one ] ! ].", 0},
    {"lines that only begin like delimiters",
     TEXT(MULTI("b") "--b\n\n--bx\n--b-\n--b-- x\n --b\n-- b\n-b\n--b\r\r\n--b--\n"),
     " [0f multipart/mixed* | [1 text/plain B:--bx~--b-~--b-- x~ --b~-- b~-b~--b ] ! ].", 0},
    {"no line, no delimiter", TEXT(MULTI("b") "--b\n\none--b--\n\n--b--\n"),
     " [0f multipart/mixed* | [1 text/plain B:one--b--~ ] ! ].", 0},
    {"a delimiter behind the last", TEXT(MULTI("b") "--b\n\none\n--b--\n--b\n\ntwo"),
     " [0f multipart/mixed* | [1 text/plain B:one ] ! E:--b~~two ].", 0},
    {"many line ends before a delimiter", TEXT(MULTI("b") "\n\n\n--b\n\n\n\n\n--b--\n"),
     " [0f multipart/mixed* P:~~ | [1 text/plain B:~~ ] ! ].", 0},
    {"a CR before a delimiter's CRLF", TEXT(MULTI("b") "--b\n\none\r\n--b--\n"),
     " [0f multipart/mixed* | [1 text/plain B:one ] ! ].", 0},
    {"nested", TEXT(MULTI("a") "--a\n" MULTI("b") "--b\n\nx\n--b--\nepi\n--a\n\ny\n--a--\n"),
     " [0f multipart/mixed* | [1f multipart/mixed | [2 text/plain B:x ] ! E:epi ] | [3 text/plain B:y ] ! ].",
     0},
    {"the outer delimiter ends the inner multipart",
     TEXT(MULTI("a") "--a\n" MULTI("b") "--b\n\nx\n--a\n\ny\n--a--\n"),
     " [0f multipart/mixed* | [1f multipart/mixed | [2 text/plain B:x ] ] | [3 text/plain B:y ] ! ].",
     MIME_NOTE_UNCLOSED},
    {"a boundary that begins another (inner longer)",
     TEXT(MULTI("b") "--b\n" MULTI("bc") "--bc\n\nx\n--bc--\n--b\n\ny\n--b--\n"),
     " [0f multipart/mixed* | [1f multipart/mixed | [2 text/plain B:x ] ! ] | [3 text/plain B:y ] ! ].", 0},
    {"a boundary that begins another (outer longer)",
     TEXT(MULTI("bc") "--bc\n" MULTI("b") "--b\n\nx\n--bc--\n"),
     " [0f multipart/mixed* | [1f multipart/mixed | [2 text/plain B:x ] ] ! ].", MIME_NOTE_UNCLOSED},
    {"the same boundary twice", TEXT(MULTI("b") "--b\n" MULTI("b") "--b\n\nx\n--b--\n--b--\n"),
     " [0f multipart/mixed* | [1f multipart/mixed | [2 text/plain B:x ] ! ] ! ].", 0},
    {"message/rfc822", TEXT("Content-Type: message/rfc822\n\nA: x\n\nz"),
     " [0f message/rfc822* [1f text/plain* B:z ]. ].", 0},
    {"message/rfc822 in a multipart",
     TEXT(MULTI("b") "--b\nContent-Type: message/rfc822\n\nA: x\n\nz\n--b--\n"),
     " [0f multipart/mixed* | [1f message/rfc822 [2f text/plain* B:z ] ] ! ].", 0},
    {"message/rfc822 that ends in its header",
     TEXT(MULTI("b") "--b\nContent-Type: message/rfc822\n\nA: x\n--b--\n"),
     " [0f multipart/mixed* | [1f message/rfc822 [2f text/plain-* ] ] ! ].", 0},
    {"message/rfc822 that is encoded",
     TEXT("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQTogeA=="),
     " [0ff message/rfc822* B:QTogeA== ].", MIME_NOTE_ENCODED_COMPOSITE},
    {"message/partial is a leaf", TEXT("Content-Type: message/partial; id=x\n\nA: x\n"),
     " [0f message/partial* B:A: x~ ].", 0},
    {"multipart/digest",
     TEXT("Content-Type: multipart/digest; boundary=b\n\n--b\n\nA: x\n\nz\n--b\nContent-Type: "
          "text/plain\n\nA: y\n--b--\n"),
     " [0f multipart/digest* | [1 message/rfc822 [2f text/plain* B:z ] ] | [3f text/plain B:A: y ] ! ].", 0},
    {"a multipart that says base64",
     TEXT("Content-Transfer-Encoding: base64\n" MULTI("b") "--b\n\nx\n--b--\n"),
     " [0ff multipart/mixed* | [1 text/plain B:x ] ! ].", MIME_NOTE_ENCODED_COMPOSITE},
    {"no boundary", TEXT("Content-Type: multipart/mixed\n\n--b\n\nx\n"), " [0f multipart/mixed* B:--b~~x~ ].",
     MIME_NOTE_NO_BOUNDARY},
    {"an empty boundary", TEXT("Content-Type: multipart/mixed; boundary=\" \"\n\n-- \n"),
     " [0f multipart/mixed* B:-- ~ ].", MIME_NOTE_NO_BOUNDARY},
    {"a boundary that is no text", TEXT("Content-Type: multipart/mixed; boundary=\"\xe4\"\n\n--\xe4\n"),
     " [0f multipart/mixed* B:--\xe4~ ].", MIME_NOTE_NO_BOUNDARY},
    {"a boundary in pieces",
     TEXT("Content-Type: multipart/mixed; boundary*0=\"a \"; boundary*1=b\n\n--a b\n\nx\n--a b--"),
     " [0f multipart/mixed* | [1 text/plain B:x ] ! ].", 0},
    {"no type", TEXT("Content-Type: text\n\nx"), " [0f text/plain* B:x ].", MIME_NOTE_BAD_TYPE},
    {"two types", TEXT("Content-Type: a/b\nContent-Type: c/d\n\nx"), " [0ff a/b* B:x ].",
     MIME_NOTE_REPEATED_FIELD},
    {"two encodings", TEXT("Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64\n\nx"),
     " [0ff text/plain* B:x ].", MIME_NOTE_REPEATED_FIELD},
    {"a bare LF is content", TEXT("A: x\n\n\ny\n"), " [0f text/plain* B:~y~ ].", 0},
    {"the header's own delimiter follows at once",
     TEXT("Content-Type: multipart/mixed; boundary=b\n--b\n\nx\n--b--\n"),
     " [0f multipart/mixed-* | [1 text/plain B:x ] ! ].", MIME_NOTE_BAD_HEADER},
    {"a field that begins with a delimiter's dashes", TEXT(MULTI("b") "--b\n--bx: y\n\nz\n--b--\n"),
     " [0f multipart/mixed* | [1f text/plain B:z ] ! ].", 0},
};

static void structures(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        struct vr_str message = crlf(messages[i].message);
        for (EVERY_CUT(message, cut)) {
            unsigned notes;
            struct vr_str got = structure(message, cut, &notes);
            if (!vr_str_equal(got, vr_str_from(messages[i].events)) || notes != messages[i].notes)
                fail_msg("%s, cut at %zu:\n got \"%.*s\" %u\nwant \"%s\" %u", messages[i].name, cut,
                         VR_STR_ARG(got), notes, messages[i].events, messages[i].notes);
        }
        vr_arena_reset(&arena);
    }
}

/* Bare CR and LF end neither lines nor headers, and make no delimiter. */
static void only_crlf_ends_a_line(void **state)
{
    static const char *const bodies[] = {"x\n--b--",     "x\r--b--",     "x\n\r--b--",
                                         "x\r\n--b\r--", "x\r\n--b--\r", "x\r\n--b--\n"};
    unsigned notes;
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct vr_str message =
            vr_arena_printf(&arena, "Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n%s", bodies[i]);
        for (EVERY_CUT(message, cut)) {
            structure(message, cut, &notes);
            assert_int_equal(notes, MIME_NOTE_UNCLOSED);
        }
    }
    struct vr_str message = VR_STR("A: x\nContent-Type: a/b\r\rB: y\r\n\r\nz");
    assert_text(structure(message, 0, &notes), " [0f text/plain* B:z ].");
    assert_text(structure(VR_STR("A: x\r\n\rB: y"), 1, &notes), " [0f text/plain-* B:B: y ].");
    assert_int_equal(notes, MIME_NOTE_BAD_HEADER);
}

static struct vr_str repeated(const char *text, unsigned count)
{
    struct vr_buf b;
    vr_buf_init(&b, 1u << 20);
    for (unsigned i = 0; i < count; i++)
        vr_buf_addf(&b, text, i, i);
    struct vr_str copy = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return copy;
}

/* What exceeds a bound is opaque, and said. */
static void bounds(void **state)
{
    unsigned notes;
    (void)state;
    struct vr_str deep = repeated("Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", 105);
    struct vr_str text = structure(deep, 0, &notes);
    assert_int_equal(notes, MIME_NOTE_TOO_DEEP | MIME_NOTE_UNCLOSED);
    assert_true(has(text, " [99f multipart/mixed B:--b99~") && !has(text, "[100"));
    deep = repeated("Content-Type: message/rfc822\r\n\r\n", 105);
    text = structure(deep, 1, &notes);
    assert_int_equal(notes, MIME_NOTE_TOO_DEEP);
    assert_true(has(text, " [99f message/rfc822* B:Content-Type"));
    for (int n = MIME_BOUNDARY_MAX - 1; n <= MIME_BOUNDARY_MAX + 1; n++) {
        struct vr_str message = vr_arena_printf(
            &arena, "Content-Type: multipart/mixed; boundary=\"%0*d\"\r\n\r\n--%0*d\r\n\r\nx", n, 7, n, 7);
        text = structure(message, 1, &notes);
        assert_int_equal(has(text, " [1 text/plain B:x"), n <= MIME_BOUNDARY_MAX);
        assert_int_equal(notes, n <= MIME_BOUNDARY_MAX ? MIME_NOTE_UNCLOSED : MIME_NOTE_NO_BOUNDARY);
    }
    for (int n = 250; n < 260; n++) { /* a name up to here is one */
        struct vr_str message = vr_arena_printf(&arena, "%0*d: x\r\n\r\nz", n, 7);
        text = structure(message, 1, &notes);
        assert_int_equal(notes, n < 256 ? 0 : MIME_NOTE_BAD_HEADER);
        assert_true(vr_str_equal(text, structure(message, 0, &notes)));
    }
    for (int n = 240; n < 400; n += 53) { /* … and a mailbox's line is one with few blanks and with many */
        struct vr_str message = vr_arena_printf(&arena, "From%*s1\r\nA: x\r\n\r\nz", n, "");
        assert_text(structure(message, 1, &notes), " [0ff text/plain* B:z ].");
        assert_text(structure(message, 0, &notes), " [0ff text/plain* B:z ].");
        message = vr_arena_printf(&arena, "%0*d", n, 7);
        assert_true(has(structure(message, 1, &notes), " [0 text/plain-* B:000"));
        assert_true(has(structure(message, 0, &notes), " [0 text/plain-* B:000"));
    }
    for (int n = 60; n < 70; n++) { /* blanks behind a delimiter */
        struct vr_str message =
            vr_arena_printf(&arena, "Content-Type: multipart/x; boundary=\"%0*d\"\r\n\r\n--%0*d%*s\r\n\r\nx",
                            200, 7, 200, 7, n, "");
        text = structure(message, 1, &notes);
        assert_int_equal(has(text, " [1 "), n < 66);
        assert_true(vr_str_equal(text, structure(message, 0, &notes)));
    }
    struct vr_str folds = repeated(" %u %u\r\n", 3000);
    struct vr_str message = vr_arena_printf(&arena, "Content-Type: a/b;\r\n%.*s\r\nz", VR_STR_ARG(folds));
    text = structure(message, 0, &notes);
    assert_text(text, " [0f a/b* B:z ].");
    assert_int_equal(notes, MIME_NOTE_LONG_FIELD);
    message = vr_arena_printf(&arena, "Content-Type: %0128d/x\r\n\r\nz", 7);
    assert_text(structure(message, 0, &notes), " [0f application/octet-stream* B:z ].");
}

/* What a FIELD_END tells, which a user of the reader looks into. */
static void field_bodies(void **state)
{
    static struct mime_reader r;
    static const char text[] =
        "Subject: not kept\r\nContent-Disposition: attachment;\r\n filename=\"a b\"\r\n"
        "DKIM-Signature: v=1\r\nMIME-Version: 1.0 (x)\r\nCONTENT-TRANSFER-ENCODING : 8Bit\r\n\r\n";
    static const struct {
        enum mime_field field;
        const char *body;
    } wanted[] = {{MIME_FIELD_OTHER, ""},
                  {MIME_FIELD_CONTENT_OTHER, "attachment;\r\n filename=\"a b\""},
                  {MIME_FIELD_DKIM_SIGNATURE, ""},
                  {MIME_FIELD_MIME_VERSION, "1.0 (x)"},
                  {MIME_FIELD_CONTENT_TRANSFER_ENCODING, "8Bit"}};
    struct mime_event ev;
    size_t n = 0;
    (void)state;
    mime_reader_init(&r);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        mime_reader_feed(&r, vr_str(text + i, 1));
        while (mime_reader_next(&r, &ev) != MIME_MORE)
            if (ev.kind == MIME_FIELD_END) {
                assert_true(n < sizeof wanted / sizeof *wanted);
                assert_int_equal(ev.field, wanted[n].field);
                assert_text(ev.body, wanted[n++].body);
            }
    }
    assert_int_equal(n, sizeof wanted / sizeof *wanted);
    assert_true(r.part.has_encoding && r.part.has_version && !r.part.has_type && r.part.is_message);
    assert_int_equal(r.part.encoding, MIME_ENCODING_8BIT);
}

/* ---- decoding ----------------------------------------------------------------------------------------------------- */

static void decoding(void **state)
{
    static const struct {
        enum mime_encoding encoding;
        struct vr_str in, out;
    } rows[] = {
        {MIME_ENCODING_BASE64, TEXT("QUJD"), TEXT("ABC")},
        {MIME_ENCODING_BASE64, TEXT("QU\r\nJ D\r\nQQ==\r\n"), TEXT("ABCA")},
        {MIME_ENCODING_BASE64, TEXT("QUI="), TEXT("AB")},
        {MIME_ENCODING_BASE64, TEXT("QUI"), TEXT("AB")},
        {MIME_ENCODING_BASE64, TEXT("QQ"), TEXT("A")},
        {MIME_ENCODING_BASE64, TEXT("Q"), TEXT("")},
        {MIME_ENCODING_BASE64, TEXT("?Q\xe4UJD--"), TEXT("ABC")},
        {MIME_ENCODING_BASE64, TEXT("QQ==QQ=="), TEXT("A")},
        {MIME_ENCODING_BASE64, TEXT("=QQ="), TEXT("A")},
        {MIME_ENCODING_BASE64, TEXT("AP+/"), TEXT("\0\xff\xbf")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("a=3Db=e4"), TEXT("a=b\xe4")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("soft=\r\nbreak= \t\r\ns=\n."), TEXT("softbreaks.")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("blanks \t\r\n x \r\n=20\r\n"), TEXT("blanks\r\n x\r\n \r\n")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("bad =4 =zz ==41 =\r"), TEXT("bad =4 =zz =A =\r")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("8\xe4 \r \n"), TEXT("8\xe4 \r\n")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("end \t"), TEXT("end")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("end="), TEXT("end")},
        {MIME_ENCODING_QUOTED_PRINTABLE, TEXT("end=4"), TEXT("end=4")},
        {MIME_ENCODING_8BIT, TEXT("=41\r"), TEXT("=41\r")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (EVERY_CUT(rows[i].in, cut)) {
            struct mime_decoder d;
            struct vr_buf out;
            struct vr_str rest = rows[i].in;
            vr_buf_init(&out, 100);
            mime_decoder_init(&d, rows[i].encoding);
            while (rest.n > 0)
                assert_true(mime_decode(&d, cut_piece(&rest, cut, rows[i].in.n), &out));
            assert_true(mime_decode_end(&d, &out));
            if (!vr_str_equal(vr_buf_str(&out), rows[i].out))
                fail_msg("\"%.*s\" cut at %zu gave \"%.*s\"", VR_STR_ARG(rows[i].in), cut,
                         VR_STR_ARG(vr_buf_str(&out)));
            vr_buf_fini(&out);
        }
    struct mime_decoder d;
    struct vr_buf out;
    vr_buf_init(&out, 2);
    mime_decoder_init(&d, MIME_ENCODING_BASE64);
    assert_false(mime_decode(&d, VR_STR("QUJD"), &out));
    vr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(types),  T(encodings),    T(parameters), T(structures), T(only_crlf_ends_a_line),
        T(bounds), T(field_bodies), T(decoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
