/* smtp_pair.c - the client engine against the server engine, in memory: what goes in at one end comes out at the other.
 *
 * Between them lie two pipes that hand on bytes in pieces of random size. Everything random comes from fixed seeds. The
 * server's owner refuses recipients and messages by their names; the client's owner must be told exactly that.
 */
#include <veredus/smtp_client.h>
#include <veredus/smtp_server.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sasl_owner.h"

#define RCPTS_MAX   12
#define MESSAGE_MAX (300u << 10)
#define CHUNKS      (SMTP_EXT_CHUNKING | SMTP_EXT_BINARYMIME)
#define TURNS_MAX   2000000

/* ---- chance --------------------------------------------------------------------------------------------------------- */

static uint64_t chance_state;

static uint64_t chance(uint64_t below)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return chance_state % below;
}

/* A message of lines that end in CRLF: dots where they hurt, 8-bit bytes, NULs, empty lines, long lines. */
static void make_message(struct vr_buf *out)
{
    static const struct vr_str pieces[] = {VR_STR_INIT("."),         VR_STR_INIT(".."), VR_STR_INIT(".a"),
                                           VR_STR_INIT("\xff\xfe"),  VR_STR_INIT("\0"), VR_STR_INIT("a.b "),
                                           VR_STR_INIT("MAIL FROM"), VR_STR_INIT("x")};
    vr_buf_reset(out);
    size_t lines = chance(10) == 0 ? chance(3000) : chance(30);
    for (size_t i = 0; i < lines; i++) {
        size_t length = chance(20) == 0 ? chance(20000) : chance(30);
        for (size_t n = chance(3) == 0 ? 0 : length; n > 0; n--)
            vr_buf_add(out, pieces[chance(sizeof pieces / sizeof *pieces)]);
        if (vr_buf_size(out) > MESSAGE_MAX - 100000)
            break;
        vr_buf_add(out, VR_STR("\r\n"));
    }
    struct vr_str text = vr_buf_str(out);
    if (text.n > 0 && !vr_str_ends_nocase(text, VR_STR("\r\n")))
        vr_buf_add(out, VR_STR("\r\n"));
    assert_false(out->too_big);
}

/* Any bytes, with what could be taken for commands and ends among them. */
static void make_binary(struct vr_buf *out)
{
    vr_buf_reset(out);
    for (size_t n = chance(4) == 0 ? chance(MESSAGE_MAX / 2) : chance(300); n > 0; n--)
        switch (chance(40)) {
        case 0:
            vr_buf_add(out, VR_STR("\r\n.\r\n"));
            break;
        case 1:
            vr_buf_add(out, VR_STR("BDAT 0 LAST\r\n"));
            break;
        case 2:
            vr_buf_add_byte(out, '\r');
            break;
        case 3:
            vr_buf_add_byte(out, '\n');
            break;
        default:
            vr_buf_add_byte(out, (char)chance(256));
        }
    assert_false(out->too_big);
}

/* ---- the two owners ---------------------------------------------------------------------------------------------------- */

struct setting {
    bool lmtp, starttls, must, one_by_one, trace;
    bool bdat;               /* chunks are offered and asked for */
    bool binary;             /* chunks, and every other message has BODY=BINARYMIME */
    const char *mechanisms;  /* NULL: no AUTH */
    const char *used;        /* which of them is */
    bool token, certificate; /* instead of the password */
    unsigned transactions;
};

struct pair {
    const struct setting *setting;
    struct smtp_server_config server_config;
    struct smtp_client_config client_config;
    struct smtp_server *server;
    struct smtp_client *client;
    struct vr_buf to_server, to_client; /* the pipes */
    bool server_closed, client_closed, secured_server, secured_client;
    /* the server's owner */
    struct sasl_server *sasl;
    struct vr_buf received;
    unsigned received_count;
    char taken_names[RCPTS_MAX];
    size_t taken_count, answered;
    /* the client's owner */
    unsigned begun;
    struct vr_buf message;
    size_t body_at;
    bool in_body;
    struct smtp_mail mail;
    struct smtp_rcpt rcpts[RCPTS_MAX];
    char names[RCPTS_MAX + 1]; /* one letter a recipient: see verdict_of */
    size_t count;
    uint16_t rcpt_codes[RCPTS_MAX], result_codes[RCPTS_MAX];
    unsigned results;
    bool refuse_mail, refuse_data;
};

/* What the recipient's first letter brings: at RCPT, and (LMTP) at the end. */
static uint16_t verdict_of(char letter, bool at_end)
{
    switch (letter) {
    case 'n':
        return at_end ? 0 : 550;
    case 'l':
        return at_end ? 0 : 451;
    case 'f':
        return at_end ? 552 : 250;
    default:
        return 250;
    }
}

static struct smtp_reply reply_of(uint16_t code)
{
    return code == 550   ? SMTP_REPLY(550, "5.1.1", "no such user")
           : code == 451 ? SMTP_REPLY(451, "4.2.1", "not now\nbut later")
           : code == 552 ? SMTP_REPLY(552, "5.2.2", "full")
                         : SMTP_REPLY(250, "2.0.0", "fine");
}

static void answer_data_end(struct pair *p)
{
    if (!p->setting->lmtp) {
        smtp_server_answer(p->server, reply_of(250), 0);
        return;
    }
    for (size_t i = 0; i < p->taken_count; i++)
        smtp_server_answer(p->server, reply_of(verdict_of(p->taken_names[i], true)), 0);
}

static void go_on_with_sasl(struct pair *p, enum sasl_step step, struct vr_str out)
{
    static const struct sasl_owner owner = {.user = "user", .password = "pencil", .token = "ya29.token"};
    step = sasl_owner_settle(&owner, p->sasl, step, &out);
    if (step == SASL_CHALLENGE) {
        smtp_server_challenge(p->server, out, 0);
        return;
    }
    smtp_server_answer(
        p->server,
        step == SASL_DONE ? SMTP_REPLY(235, "2.7.0", "welcome") : SMTP_REPLY(535, "5.7.8", "wrong"), 0);
    sasl_server_free(p->sasl);
    p->sasl = NULL;
}

static bool is_chunked(const struct pair *p)
{
    return p->setting->bdat || p->mail.body == SMTP_BODY_BINARYMIME;
}

/* What both ends of the session under TLS know. */
static struct sasl_binding binding_of(const struct pair *p)
{
    return p->setting->starttls ? (struct sasl_binding){.tls_exporter = VR_STR("exported by both"),
                                                        .tls_server_end_point = VR_STR("hash")}
                                : (struct sasl_binding){{NULL, 0}, {NULL, 0}, {NULL, 0}};
}

static bool offers_plus(const struct pair *p)
{
    return strstr(p->setting->mechanisms, "-PLUS") != NULL;
}

static void on_rcpt(struct pair *p, const struct smtp_rcpt *rcpt)
{
    char letter = rcpt->forward_path.local.p[0];
    uint16_t code = verdict_of(letter, false);
    if (code == 250)
        p->taken_names[p->taken_count++] = letter;
    smtp_server_answer(p->server, reply_of(code), 0);
}

static void server_event(struct pair *p, enum smtp_server_event_kind kind, const struct smtp_server_event *ev)
{
    struct vr_str out = {0};
    switch (kind) {
    case SMTP_SERVER_EHLO:
        smtp_server_answer(p->server, SMTP_REPLY(250, NULL, "server.example"), 0);
        break;
    case SMTP_SERVER_MAIL:
        vr_buf_reset(&p->received);
        p->taken_count = 0;
        assert_int_equal(ev->mail->size, p->mail.size);
        assert_int_equal(ev->mail->body, p->mail.body);
        assert_int_equal(ev->mail->ret, DSN_RET_HDRS);
        assert_true(vr_str_equal(ev->mail->envid, VR_STR("id+2B1")));
        assert_true(vr_str_equal(ev->mail->auth, p->setting->mechanisms != NULL ? VR_STR("<>") : VR_STR("")));
        smtp_server_answer(p->server, p->refuse_mail ? reply_of(451) : reply_of(250), 0);
        break;
    case SMTP_SERVER_RCPT:
        on_rcpt(p, ev->rcpt);
        break;
    case SMTP_SERVER_DATA:
        smtp_server_answer(p->server, p->refuse_data ? reply_of(451) : (struct smtp_reply){0}, 0);
        break;
    case SMTP_SERVER_CHUNK:
        vr_buf_add(&p->received, ev->data);
        break;
    case SMTP_SERVER_DATA_END:
        if (p->refuse_data && is_chunked(p)) { /* the owner's own no, behind the octets */
            assert_int_equal(ev->refusal.code, 451);
            assert_int_equal(vr_buf_size(&p->received), 0);
            break;
        }
        assert_int_equal(ev->refusal.code, 0);
        assert_int_equal(vr_buf_size(&p->received), vr_buf_size(&p->message));
        assert_memory_equal(vr_buf_str(&p->received).p, vr_buf_str(&p->message).p, vr_buf_size(&p->message));
        p->received_count++;
        answer_data_end(p);
        break;
    case SMTP_SERVER_AUTH:
        if (p->setting->used != NULL)
            assert_true(vr_str_equal(ev->mechanism, vr_str_from(p->setting->used)));
        p->sasl =
            sasl_server_new(ev->mechanism, &(struct sasl_server_config){.binding = binding_of(p),
                                                                        .plus_offered = offers_plus(p),
                                                                        .identity = VR_STR("other\nuser"),
                                                                        .nonce = "server's nonce 18",
                                                                        .fake_key = "fake key of them"});
        assert_non_null(p->sasl);
        enum sasl_step step = sasl_server_step(p->sasl, ev->data, ev->has_data, &out);
        go_on_with_sasl(p, step, out);
        break;
    case SMTP_SERVER_AUTH_RESPONSE:
        step = sasl_server_step(p->sasl, ev->data, true, &out);
        go_on_with_sasl(p, step, out);
        break;
    case SMTP_SERVER_STARTTLS:
        p->secured_server = true;
        break;
    case SMTP_SERVER_CLOSE:
        assert_int_equal(ev->refusal.code, 221);
        p->server_closed = true;
        break;
    case SMTP_SERVER_RESET: /* all recipients refused, or DATA */
        break;
    case SMTP_SERVER_COMMAND_REFUSED: /* what stands in a group behind a refused MAIL, or DATA for nobody */
        assert_true(ev->refusal.code == 503 || ev->refusal.code == 554);
        break;
    default:
        fail_msg("server event %d: %u %.*s: %.*s", kind, ev->refusal.code, VR_STR_ARG(ev->refusal.text),
                 VR_STR_ARG(ev->data));
    }
}

/* ---- the client's owner ---------------------------------------------------------------------------------------------------- */

/* Everything that was to be said of the last transaction has been said. */
static void check_results(struct pair *p)
{
    bool any = false;
    for (size_t i = 0; i < p->count; i++) {
        uint16_t at_rcpt = p->refuse_mail ? 451 : verdict_of(p->names[i], false);
        assert_int_equal(p->rcpt_codes[i], at_rcpt);
        any = any || at_rcpt == 250;
        uint16_t at_end = at_rcpt != 250     ? 0
                          : p->refuse_data   ? 451
                          : p->setting->lmtp ? verdict_of(p->names[i], true)
                                             : 250;
        assert_int_equal(p->result_codes[i], at_end);
    }
    if (!p->setting->lmtp)
        assert_int_equal(p->results, any);
}

static void begin(struct pair *p)
{
    static const char letters[] = "aaaaalnf";
    static const char *const locals[128] = {['a'] = "ann", ['l'] = "later", ['n'] = "nobody", ['f'] = "full"};
    p->begun++;
    p->count = 1 + chance(RCPTS_MAX);
    p->refuse_mail = chance(6) == 0;
    p->refuse_data = chance(6) == 0;
    p->results = 0;
    p->body_at = 0;
    bool binary = p->setting->binary && chance(2) == 0;
    if (binary)
        make_binary(&p->message);
    else
        make_message(&p->message);
    memset(p->rcpt_codes, 0, sizeof p->rcpt_codes);
    memset(p->result_codes, 0, sizeof p->result_codes);
    p->mail = (struct smtp_mail){.reverse_path = {VR_STR("me"), VR_STR("client.example"), false, false},
                                 .size = vr_buf_size(&p->message) + 1,
                                 .body = binary ? SMTP_BODY_BINARYMIME : SMTP_BODY_8BITMIME,
                                 .ret = DSN_RET_HDRS,
                                 .envid = VR_STR("id+2B1"),
                                 .auth = VR_STR("<>")};
    bool hopeless = chance(8) == 0;
    for (size_t i = 0; i < p->count; i++) {
        p->names[i] = hopeless ? 'n' : letters[chance(sizeof letters - 1)];
        p->rcpts[i] = (struct smtp_rcpt){.forward_path = {vr_str_from(locals[(unsigned char)p->names[i]]),
                                                          VR_STR("server.example"), false, false},
                                         .notify = DSN_NOTIFY_FAILURE,
                                         .orcpt = VR_STR("rfc822;x@y.example")};
    }
    smtp_client_mail(p->client, &p->mail, p->rcpts, p->count, 0);
}

static void on_result(struct pair *p, const struct smtp_client_event *ev)
{
    p->results++;
    for (size_t i = 0; i < p->count; i++)
        if (ev->index == i || (ev->index == SIZE_MAX && p->rcpt_codes[i] == 250)) {
            assert_int_equal(p->result_codes[i], 0);
            p->result_codes[i] = ev->code;
        }
}

static void client_event(struct pair *p, enum smtp_client_event_kind kind, const struct smtp_client_event *ev)
{
    switch (kind) {
    case SMTP_CLIENT_STARTTLS:
        p->secured_client = true;
        break;
    case SMTP_CLIENT_READY:
        p->in_body = false;
        if (p->begun > 0)
            check_results(p);
        if (p->begun < p->setting->transactions)
            begin(p);
        else
            smtp_client_quit(p->client, 0);
        break;
    case SMTP_CLIENT_RCPT_RESULT:
        assert_true(ev->index < p->count);
        assert_int_equal(p->rcpt_codes[ev->index], 0);
        p->rcpt_codes[ev->index] = ev->code;
        if (ev->code == 451)
            assert_true(vr_str_equal(ev->text, VR_STR("4.2.1 not now\n4.2.1 but later")));
        break;
    case SMTP_CLIENT_BODY:
        p->in_body = true;
        break;
    case SMTP_CLIENT_RESULT:
        on_result(p, ev);
        break;
    case SMTP_CLIENT_REPLY:
        assert_true(p->setting->trace);
        break;
    case SMTP_CLIENT_CLOSED:
        p->client_closed = true;
        break;
    default:
        fail_msg("client event %d: %u %.*s at %s", kind, ev->code, VR_STR_ARG(ev->text), ev->command);
    }
}

static void give_body(struct pair *p)
{
    struct vr_str piece = vr_str_sub(vr_buf_str(&p->message), p->body_at, 1 + chance(chance(3) ? 30 : 30000));
    smtp_client_body(p->client, piece, 0);
    p->body_at += piece.n;
    if (p->body_at < vr_buf_size(&p->message))
        return;
    smtp_client_body_end(p->client, 0); /* does nothing when a chunk was refused meanwhile */
    p->in_body = false;
}

/* ---- the pipes ------------------------------------------------------------------------------------------------------------------ */

static size_t some(size_t n)
{
    return n == 0 ? 0 : 1 + chance(chance(4) == 0 ? (n < 3 ? n : 3) : n);
}

static void client_writes(struct pair *p)
{
    struct vr_str out = smtp_client_pending(p->client);
    size_t n = some(out.n);
    vr_buf_add(&p->to_server, vr_str_sub(out, 0, n));
    smtp_client_sent(p->client, n);
}

/* A server without PIPELINING: the offer is made unreadable on the way. */
static void hide_pipelining(struct vr_str bytes)
{
    size_t at = vr_str_find_str(bytes, VR_STR("PIPELINING"));
    if (at != VR_NPOS)
        ((char *)bytes.p)[at] = 'X';
}

static void server_writes(struct pair *p)
{
    struct vr_str out = smtp_server_pending(p->server);
    if (p->setting->one_by_one)
        hide_pipelining(out);
    size_t n = p->setting->one_by_one ? out.n : some(out.n);
    vr_buf_add(&p->to_client, vr_str_sub(out, 0, n));
    smtp_server_sent(p->server, n);
}

static void server_reads(struct pair *p)
{
    struct smtp_server_event ev;
    enum smtp_server_event_kind kind;
    size_t n = smtp_server_blocked(p->server) ? 0 : some(vr_buf_size(&p->to_server));
    smtp_server_feed(p->server, vr_str_sub(vr_buf_str(&p->to_server), 0, n), 0);
    vr_buf_consume(&p->to_server, n);
    while ((kind = smtp_server_next(p->server, &ev)) != SMTP_SERVER_IDLE)
        server_event(p, kind, &ev);
}

static void client_reads(struct pair *p)
{
    struct smtp_client_event ev;
    enum smtp_client_event_kind kind;
    size_t n = some(vr_buf_size(&p->to_client));
    smtp_client_feed(p->client, vr_str_sub(vr_buf_str(&p->to_client), 0, n), 0);
    vr_buf_consume(&p->to_client, n);
    while ((kind = smtp_client_next(p->client, &ev)) != SMTP_CLIENT_IDLE)
        client_event(p, kind, &ev);
}

/* Both have agreed on TLS and nothing in clear is under way: the handshake "succeeds". */
static void shake_hands(struct pair *p)
{
    if (!p->secured_client || !p->secured_server)
        return;
    assert_int_equal(vr_buf_size(&p->to_client) + vr_buf_size(&p->to_server), 0);
    p->secured_client = p->secured_server = false;
    struct sasl_binding binding = binding_of(p);
    smtp_client_binding(p->client, &binding);
    smtp_server_secured(p->server, 0);
    smtp_client_secured(p->client, 0);
}

static void pair_begin(struct pair *p, const struct setting *s)
{
    memset(p, 0, sizeof *p);
    p->setting = s;
    bool chunks = s->bdat || s->binary;
    p->server_config = (struct smtp_server_config){.hostname = VR_STR("server.example"),
                                                   .lmtp = s->lmtp,
                                                   .starttls = s->starttls,
                                                   .auth_mechanisms = vr_str_from(s->mechanisms),
                                                   .auth_in_clear = !s->starttls,
                                                   .auth_required = s->mechanisms != NULL,
                                                   .offers = SMTP_EXT_BASIC | (chunks ? CHUNKS : 0u),
                                                   .size_max = 10u << 20,
                                                   .rcpt_max = 100,
                                                   .error_max = 1000000,
                                                   .command_max = 1000000};
    p->client_config = (struct smtp_client_config){.helo_name = VR_STR("client.example"),
                                                   .lmtp = s->lmtp,
                                                   .tls = s->must       ? SMTP_CLIENT_TLS_MUST
                                                          : s->starttls ? SMTP_CLIENT_TLS_MAY
                                                                        : SMTP_CLIENT_TLS_NONE,
                                                   .auth_in_clear = true,
                                                   .chunking = s->bdat,
                                                   .nonce = "client nonce 18 b",
                                                   .trace = s->trace};
    if (s->mechanisms != NULL)
        p->client_config.user = VR_STR("user");
    if (s->token)
        p->client_config.token = VR_STR("ya29.token");
    else if (!s->certificate)
        p->client_config.password = VR_STR("pencil");
    p->client_config.certificate = s->certificate;
    p->server = smtp_server_new(&p->server_config, false, 0);
    p->client = smtp_client_new(&p->client_config, 0);
    vr_buf_init(&p->to_server, 64u << 20);
    vr_buf_init(&p->to_client, 64u << 20);
    vr_buf_init(&p->message, MESSAGE_MAX);
    vr_buf_init(&p->received, 2 * MESSAGE_MAX);
    smtp_server_greet(p->server, (struct smtp_reply){.code = 220});
}

static void pair_end(struct pair *p)
{
    smtp_server_free(p->server);
    smtp_client_free(p->client);
    sasl_server_free(p->sasl);
    vr_buf_fini(&p->to_server);
    vr_buf_fini(&p->to_client);
    vr_buf_fini(&p->message);
    vr_buf_fini(&p->received);
}

static unsigned run(const struct setting *s)
{
    struct pair p;
    pair_begin(&p, s);
    for (unsigned turn = 0; !p.client_closed; turn++) {
        assert_true(turn < TURNS_MAX); /* else they wait for each other */
        server_writes(&p);
        client_reads(&p);
        if (p.in_body && chance(3) > 0)
            give_body(&p);
        client_writes(&p);
        server_reads(&p);
        shake_hands(&p);
    }
    assert_true(p.server_closed);
    assert_int_equal(p.begun, s->transactions);
    unsigned received = p.received_count;
    pair_end(&p);
    return received;
}

static void run_seeds(const struct setting *s, unsigned seeds)
{
    unsigned received = 0;
    for (unsigned seed = 1; seed <= seeds; seed++) {
        chance_state = seed * 0x9e3779b97f4a7c15u;
        received += run(s);
    }
    assert_true(received > seeds); /* most transactions carry a message */
}

static void test_smtp(void **state)
{
    (void)state;
    run_seeds(&(struct setting){.transactions = 8}, 60);
}

static void test_one_by_one(void **state)
{
    (void)state;
    run_seeds(&(struct setting){.transactions = 8, .one_by_one = true}, 40);
}

static void test_lmtp(void **state)
{
    (void)state;
    run_seeds(&(struct setting){.transactions = 8, .lmtp = true}, 60);
}

static void test_lmtp_one_by_one(void **state)
{
    (void)state;
    run_seeds(&(struct setting){.transactions = 8, .lmtp = true, .one_by_one = true, .trace = true}, 30);
}

static void test_tls(void **state)
{
    (void)state;
    run_seeds(&(struct setting){.transactions = 4, .starttls = true, .must = true, .trace = true}, 20);
    run_seeds(&(struct setting){.transactions = 4, .starttls = true, .mechanisms = "SCRAM-SHA-256 PLAIN"},
              10);
}

static void test_auth(void **state)
{
    (void)state;
    static const struct setting settings[] = {
        {.mechanisms = "PLAIN", .used = "PLAIN"},
        {.mechanisms = "LOGIN", .used = "LOGIN"},
        {.mechanisms = "CRAM-MD5 LOGIN", .used = "LOGIN"},
        {.mechanisms = "CRAM-MD5", .used = "CRAM-MD5"},
        {.mechanisms = "LOGIN PLAIN SCRAM-SHA-256", .used = "SCRAM-SHA-256"},
        {.mechanisms = "SCRAM-SHA-1 PLAIN", .used = "SCRAM-SHA-1"},
        {.mechanisms = "SCRAM-SHA-256 SCRAM-SHA-1", .used = "SCRAM-SHA-256", .starttls = true},
        {.mechanisms = "SCRAM-SHA-256 SCRAM-SHA-1-PLUS", .used = "SCRAM-SHA-1-PLUS", .starttls = true},
        {.mechanisms = "PLAIN SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS",
         .used = "SCRAM-SHA-256-PLUS",
         .starttls = true},
        {.mechanisms = "SCRAM-SHA-256-PLUS SCRAM-SHA-256", .used = "SCRAM-SHA-256"}, /* in clear */
        {.mechanisms = "PLAIN OAUTHBEARER XOAUTH2", .used = "OAUTHBEARER", .starttls = true, .token = true},
        {.mechanisms = "PLAIN XOAUTH2", .used = "XOAUTH2", .starttls = true, .token = true},
        {.mechanisms = "PLAIN EXTERNAL", .used = "EXTERNAL", .starttls = true, .certificate = true},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct setting s = settings[i];
        s.transactions = 4;
        run_seeds(&s, 10);
    }
}

static void test_chunks(void **state)
{
    (void)state;
    run_seeds(&(struct setting){.transactions = 8, .bdat = true}, 60);
    run_seeds(&(struct setting){.transactions = 8, .bdat = true, .one_by_one = true}, 30);
    run_seeds(&(struct setting){.transactions = 8, .bdat = true, .lmtp = true}, 40);
    run_seeds(&(struct setting){.transactions = 8, .bdat = true, .lmtp = true, .one_by_one = true}, 20);
}

static void test_binary(void **state)
{
    (void)state;
    run_seeds(&(struct setting){.transactions = 8, .binary = true}, 60);
    run_seeds(&(struct setting){.transactions = 8, .binary = true, .bdat = true, .trace = true}, 60);
    run_seeds(&(struct setting){.transactions = 8, .binary = true, .one_by_one = true}, 20);
    run_seeds(&(struct setting){.transactions = 8, .binary = true, .lmtp = true}, 30);
    run_seeds(&(struct setting){.transactions = 4, .binary = true, .starttls = true, .must = true}, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_smtp),   cmocka_unit_test(test_one_by_one),
                                       cmocka_unit_test(test_lmtp),   cmocka_unit_test(test_lmtp_one_by_one),
                                       cmocka_unit_test(test_tls),    cmocka_unit_test(test_auth),
                                       cmocka_unit_test(test_chunks), cmocka_unit_test(test_binary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
