/* sender_chunks.c - the sender and what goes by BDAT: binary messages, or converted where they are not taken; routes that want chunks. */
#include "deliverer_testing.h"
#include "smtp_script.h"

#include "sender/sender.h"

#include <veredus/mime.h>
#include <veredus/smtp.h>

#define PREFIX "Received: from nowhere\r\n"
#define TEXT   "Subject: x\r\n\r\n.dots\r\nend\r\n"
#define MIXED(encoding, bytes)                                                                               \
    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "                                                   \
    "boundary=b\r\n\r\n--b\r\n\r\nt\xc3\xa4xt\r\n--b\r\n"                                                    \
    "Content-Type: application/octet-stream\r\n" encoding "\r\n" bytes "\r\n--b--\r\n"
#define BINARY "Content-Transfer-Encoding: binary\r\n"
#define BASE64 "Content-Transfer-Encoding: base64\r\n"

enum { ALWAYS, NEVER }; /* the routes, by index */

struct fixture {
    struct rig rig;
    struct smtpd server;
    uint64_t message;
};

static int setup_idle(void **state, const char *idle)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct rig *r = &f->rig;
    char text[1024];
    r->io = io_new(2);
    folder_make(r->folder);
    smtpd_start(&f->server, r->io, "127.0.0.1:0");
    snprintf(text, sizeof text,
             "hostname = \"sender.test\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
             "sending { command_timeout = 5s\n connection_idle = %s }\n"
             "route \"always.test\" { to = \"smtp:127.0.0.1:%u\" chunking = yes }\n"
             "route \"never.test\" { to = \"smtp:127.0.0.1:%u\" chunking = no }\n",
             r->folder, r->folder, r->folder, idle, f->server.port, f->server.port);
    rig_config(r, text);
    rig_start(r, &sender_ops);
    *state = f;
    return 0;
}

static int setup(void **state) /* a connection for each delivery: it hears what is offered now */
{
    return setup_idle(state, "0s");
}

static int setup_reuse(void **state)
{
    return setup_idle(state, "20s");
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    smtpd_stop(&f->server);
    rig_stop(&f->rig);
    folder_remove(f->rig.folder);
    free(f);
    return 0;
}

static struct delivery delivery(struct fixture *f, uint32_t route, struct vr_str content, uint8_t body)
{
    static struct delivery_rcpt rcpts[] = {{.index = 3, .address = {"ann@x.test", 10}},
                                           {.index = 5, .address = {"ben@x.test", 10}}};
    return (struct delivery){.message = ++f->message,
                             .next_hop = {.kind = NEXT_HOP_SMTP,
                                          .host = VR_STR("127.0.0.1"),
                                          .port = f->server.port,
                                          .tls = NEXT_HOP_TLS_MAY,
                                          .route = route,
                                          .domain = UINT32_MAX},
                             .reverse_path = VR_STR("from@sender.test"),
                             .prefix = VR_STR(PREFIX),
                             .content = content,
                             .body = body,
                             .rcpts = rcpts,
                             .rcpt_count = 2};
}

static void assert_got(const struct fixture *f, struct vr_str content)
{
    struct vr_str got = vr_buf_str(&f->server.body);
    assert_true(vr_str_starts(got, VR_STR(PREFIX)));
    got = vr_str_from_pos(got, strlen(PREFIX));
    if (!vr_str_equal(got, content))
        fail_msg("the server got %zu bytes instead of %zu: \"%.*s\"", got.n, content.n,
                 (int)(got.n < 1000 ? got.n : 1000), got.p);
}

static void assert_heard(const struct fixture *f, const char *line, bool heard)
{
    if (smtpd_heard(&f->server, line) != heard)
        fail_msg("%s \"%s\" in %.*s", heard ? "no" : "there is", line,
                 VR_STR_ARG(vr_buf_str(&f->server.log)));
}

/* ---- who sends by BDAT -------------------------------------------------------------------------------------------------- */

static void text_by_choice(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint32_t route;
        bool offered, chunked;
    } rows[] = {
        {ALWAYS, true, true}, {ALWAYS, false, false}, {UINT32_MAX, true, false}, {NEVER, true, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        f->server.script.chunking = f->server.script.binarymime = rows[i].offered;
        struct delivery d = delivery(f, rows[i].route, VR_STR(TEXT), SMTP_BODY_7BIT);
        const struct seen *s = rig_deliver(&f->rig, &d, -1);
        expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
        expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
        assert_int_equal(f->server.chunks, rows[i].chunked);
        assert_got(f, VR_STR(TEXT));
        assert_heard(f, "DATA", !rows[i].chunked);
        assert_heard(f, "BODY=", false);
        vr_buf_reset(&f->server.log);
    }
}

/* What is binary, and to whom. */
static void binary(void **state)
{
    struct fixture *f = *state;
    static const char as_it_is[] = MIXED(BINARY, "\0\r\n\n.\r\n\xff\r");
    static const char for_8bit[] = MIXED(BASE64, "AA0KCi4NCv8N");
    static const char for_7bit[] =
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nt=C3=A4xt\r\n--b\r\n"
        "Content-Type: application/octet-stream\r\n" BASE64 "\r\nAA0KCi4NCv8N\r\n--b--\r\n";
    static const struct {
        bool chunking, binarymime, eight_bit;
        uint32_t route;
        struct vr_str wanted;
        const char *body; /* of MAIL */
        enum delivery_form form;
    } rows[] = {
        {true, true, true, UINT32_MAX, VR_STR_INIT(as_it_is), " BODY=BINARYMIME", DELIVERY_AS_IT_WAS},
        {true, true, false, ALWAYS, VR_STR_INIT(as_it_is), " BODY=BINARYMIME", DELIVERY_AS_IT_WAS},
        {true, true, true, NEVER, VR_STR_INIT(for_8bit), " BODY=8BITMIME", DELIVERY_AS_8BIT},
        {true, false, true, UINT32_MAX, VR_STR_INIT(for_8bit), " BODY=8BITMIME", DELIVERY_AS_8BIT},
        {true, false, true, ALWAYS, VR_STR_INIT(for_8bit), " BODY=8BITMIME", DELIVERY_AS_8BIT},
        {false, true, true, UINT32_MAX, VR_STR_INIT(for_8bit), " BODY=8BITMIME", DELIVERY_AS_8BIT},
        {false, false, false, UINT32_MAX, VR_STR_INIT(for_7bit), NULL, DELIVERY_AS_7BIT},
        {true, false, false, ALWAYS, VR_STR_INIT(for_7bit), NULL, DELIVERY_AS_7BIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        f->server.script = (struct script){.chunking = rows[i].chunking,
                                           .binarymime = rows[i].binarymime,
                                           .no_8bitmime = !rows[i].eight_bit,
                                           .size = "100000"};
        struct delivery d = delivery(f, rows[i].route, VR_STR(as_it_is), SMTP_BODY_BINARYMIME);
        const struct seen *s = rig_deliver(&f->rig, &d, -1);
        expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
        assert_int_equal(s->form, rows[i].form);
        assert_got(f, rows[i].wanted);
        if (rows[i].body != NULL)
            assert_heard(f, rows[i].body, true);
        else
            assert_heard(f, "BODY=", false);
        char size[40];
        snprintf(size, sizeof size, " SIZE=%zu", strlen(PREFIX) + rows[i].wanted.n);
        assert_heard(f, size, true); /* of what is sent */
        vr_buf_reset(&f->server.log);
    }
}

/* What cannot be converted comes back; what was only called binary needs nothing but another name. */
static void binary_that_is_not_taken(void **state)
{
    struct fixture *f = *state;
#define SIGNED(bytes)                                                                                        \
    "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n" BINARY "\r\n" bytes                          \
    "\r\n--b\r\n\r\nx\r\n--b--\r\n"
    static const struct {
        struct vr_str content, wanted;
        const char *body, *words;
    } rows[] = {
        {VR_STR_INIT(SIGNED("\0")),
         {NULL, 0},
         NULL,
         "is binary (BINARYMIME) and cannot be converted, since part 1"},
        {VR_STR_INIT(SIGNED("\xe4")), VR_STR_INIT(SIGNED("\xe4")), " BODY=8BITMIME", "taken"},
        {VR_STR_INIT("Subject: a\nb\r\n\r\n"), {NULL, 0}, NULL, "cannot be converted"},
        {VR_STR_INIT(TEXT), VR_STR_INIT(TEXT), NULL, "taken"},
        {VR_STR_INIT(BINARY "\r\ntext\r\n"), VR_STR_INIT("Content-Transfer-Encoding: 8bit\r\n\r\ntext\r\n"),
         " BODY=8BITMIME", "taken"},
        {VR_STR_INIT("Subject: x\r\n\r\nno end"), VR_STR_INIT("Subject: x\r\n\r\nno end\r\n"), NULL, "taken"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct delivery d = delivery(f, UINT32_MAX, rows[i].content, SMTP_BODY_BINARYMIME);
        const struct seen *s = rig_deliver(&f->rig, &d, -1);
        bool good = rows[i].wanted.p != NULL;
        expect(s, 0, good ? DELIVERY_OK : DELIVERY_PERMANENT, good ? "2.6.0" : "5.6.3", rows[i].words);
        assert_heard(f, "MAIL", good);
        if (good)
            assert_got(f, rows[i].wanted);
        assert_heard(f, rows[i].body != NULL ? rows[i].body : "BODY=", rows[i].body != NULL);
        vr_buf_reset(&f->server.log);
    }
}

/* ---- large ones --------------------------------------------------------------------------------------------------------- */

static int random_file(struct fixture *f, struct vr_buf *content, size_t size)
{
    char path[120];
    uint32_t seed = 7;
    snprintf(path, sizeof path, "%s/body", f->rig.folder);
    vr_buf_init(content, size + 200);
    vr_buf_add(content, VR_STR("Content-Type: application/octet-stream\r\n" BINARY "\r\n"));
    while (vr_buf_size(content) < size)
        vr_buf_add_byte(content, (char)((seed = seed * 1664525u + 1013904223u) >> 24));
    assert_int_equal(io_fs_replace_file(path, vr_buf_str(content), 0600), 0);
    int fd = io_fs_open(path, IO_FS_READ, 0);
    assert_true(fd >= 0);
    return fd;
}

static struct delivery large(struct fixture *f, uint32_t route, struct vr_buf *content)
{
    struct delivery d = delivery(f, route, vr_str(NULL, 0), SMTP_BODY_BINARYMIME);
    d.content_size = vr_buf_size(content);
    return d;
}

/* Many chunks, several of them on their way; and one by one. */
static void large_binary(void **state)
{
    struct fixture *f = *state;
    struct vr_buf content;
    for (int slow = 0; slow < 2; slow++) {
        f->server.script =
            (struct script){.chunking = true, .binarymime = true, .no_pipelining = slow, .size = "99999999"};
        int fd = random_file(f, &content, 5u << 20);
        struct delivery d = large(f, UINT32_MAX, &content);
        const struct seen *s = rig_deliver(&f->rig, &d, fd);
        expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
        expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
        assert_got(f, vr_buf_str(&content));
        assert_true(f->server.chunks > 15);
        vr_buf_fini(&content);
    }
}

static void large_binary_converted(void **state)
{
    struct fixture *f = *state;
    struct vr_buf content, decoded;
    struct mime_decoder decoder;
    int fd = random_file(f, &content, 3u << 20);
    struct delivery d = large(f, UINT32_MAX, &content);
    const struct seen *s = rig_deliver(&f->rig, &d, fd);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(s->form, DELIVERY_AS_8BIT);
    struct vr_str got = vr_buf_str(&f->server.body), whole = vr_buf_str(&content);
    got = vr_str_from_pos(got, vr_str_find_str(got, VR_STR("\r\n\r\n")) + 4);
    whole = vr_str_from_pos(whole, vr_str_find_str(whole, VR_STR("\r\n\r\n")) + 4);
    vr_buf_init(&decoded, 4u << 20);
    mime_decoder_init(&decoder, MIME_ENCODING_BASE64);
    assert_true(mime_decode(&decoder, got, &decoded) && mime_decode_end(&decoder, &decoded));
    assert_true(vr_str_equal(vr_buf_str(&decoded), whole));
    vr_buf_fini(&decoded);
    vr_buf_fini(&content);
}

/* ---- refusals half way ---------------------------------------------------------------------------------------------------- */

static void refused_half_way(void **state)
{
    struct fixture *f = *state;
    struct vr_buf content;
    static const struct {
        const char *reply, *enhanced;
        enum delivery_status status;
        bool again; /* the session goes on */
    } rows[] = {{"552 5.3.4 too much", "5.3.4", DELIVERY_PERMANENT, true},
                {"452 4.3.1 no room", "4.3.1", DELIVERY_TEMPORARY, true},
                {"421 4.3.2 going", "4.3.2", DELIVERY_TEMPORARY, false},
                {"!", "4.4.2", DELIVERY_TEMPORARY, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int slow = 0; slow < 2; slow++) {
            f->server.script = (struct script){
                .chunking = true, .binarymime = true, .no_pipelining = slow, .bdat = {NULL, rows[i].reply}};
            int before = f->server.connections;
            int fd = random_file(f, &content, 4u << 20);
            struct delivery d = large(f, slow ? UINT32_MAX : ALWAYS, &content);
            const struct seen *s = rig_deliver(&f->rig, &d, fd);
            expect(s, 0, rows[i].status, rows[i].enhanced, "");
            expect(s, 1, rows[i].status, rows[i].enhanced, "");
            assert_int_equal(f->server.messages, 0);
            f->server.script.bdat[1] = NULL;
            d = delivery(f, slow ? UINT32_MAX : ALWAYS, VR_STR("\0"), SMTP_BODY_BINARYMIME);
            expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
            assert_got(f, VR_STR("\0"));
            assert_heard(f, "RSET", rows[i].again);
            if (rows[i].again && i == 0)
                assert_int_equal(f->server.connections, before + 1);
            f->server.messages = 0;
            vr_buf_reset(&f->server.log);
            vr_buf_fini(&content);
        }
}

/* The end of the message is where a loss leaves the outcome open. */
static void lost_at_the_end(void **state)
{
    struct fixture *f = *state;
    f->server.script = (struct script){.chunking = true, .binarymime = true, .dot = "!"};
    struct delivery d = delivery(f, UINT32_MAX, VR_STR("\0"), SMTP_BODY_BINARYMIME);
    expect(rig_deliver(&f->rig, &d, -1), 1, DELIVERY_TEMPORARY, "4.4.2", "may arrive twice");
    f->server.script.dot = "554 5.7.1 spam";
    d = delivery(f, UINT32_MAX, VR_STR("\0"), SMTP_BODY_BINARYMIME);
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_PERMANENT, "5.7.1", "spam");
    expect(s, 1, DELIVERY_PERMANENT, "5.7.1", "spam");
}

static void lmtp_has_a_result_for_each(void **state)
{
    struct fixture *f = *state;
    f->server.lmtp = true;
    f->server.script = (struct script){
        .chunking = true, .binarymime = true, .lmtp_dot = {"250 2.1.5 stored", "452 4.2.2 full"}};
    struct delivery d = delivery(f, UINT32_MAX, VR_STR("\0"), SMTP_BODY_BINARYMIME);
    d.next_hop.kind = NEXT_HOP_LMTP;
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.1.5", "stored");
    expect(s, 1, DELIVERY_TEMPORARY, "4.2.2", "full");
    assert_got(f, VR_STR("\0"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(text_by_choice),
        T(binary),
        T(binary_that_is_not_taken),
        T(large_binary),
        T(large_binary_converted),
        T(lost_at_the_end),
        T(lmtp_has_a_result_for_each),
        cmocka_unit_test_setup_teardown(refused_half_way, setup_reuse, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
