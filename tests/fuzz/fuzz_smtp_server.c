/* fuzz_smtp_server.c - any bytes from a client: the server engine never crashes, never holds more than its bounds, speaks in whole reply lines,
 * and says and takes the same however the bytes are split and whenever the owner answers.
 *
 * The first byte picks the configuration, the second how the input is split; the rest is what the client sends.
 */
#include <veredus/smtp_server.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct vr_buf said, taken; /* taken: envelopes and texts of whole messages */
    bool closed;
};

struct owner {
    struct smtp_server *engine;
    struct seen *seen;
    struct vr_buf text;
    bool waits, challenge, lmtp, utf8, binary, refuses_data;
    unsigned due; /* answers to the end of the data */
    struct smtp_reply reply;
};

static uint32_t mix(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static void check_path(const struct address *a)
{
    assert(vr_utf8_valid(a->local) && vr_utf8_valid(a->domain));
    for (size_t i = 0; i < a->local.n; i++)
        assert(a->local.p[i] != '\r' && a->local.p[i] != '\n' && a->local.p[i] != '\0');
    assert(a->local.n <= ADDRESS_LOCAL_MAX && a->domain.n <= ADDRESS_DOMAIN_MAX);
}

static void decide(struct owner *o, struct smtp_reply r)
{
    o->reply = r;
    o->waits = true;
}

/* What others said of a client can stand in a header field. */
static void check_claim(struct vr_str s)
{
    assert(s.n <= 255);
    for (size_t i = 0; i < s.n; i++)
        assert(s.p[i] > ' ' && s.p[i] <= '~' && strchr("<>()\\\"", s.p[i]) == NULL);
}

static void check_x(const struct smtp_x *x)
{
    check_claim(x->name);
    check_claim(x->helo);
    check_claim(x->ident);
    assert(x->given != 0 && (x->known & ~x->given) == 0 && vr_utf8_valid(x->login) && x->login.n <= 255);
    assert(x->name.n == 0 || address_domain_valid(x->name, 0));
    assert(((x->known & SMTP_X_ADDR) != 0) == (x->client.family != 0));
    for (size_t i = 0; i < x->login.n; i++)
        assert((unsigned char)x->login.p[i] >= 0x20 && x->login.p[i] != 0x7f);
}

static void hear_path(struct owner *o, const struct address *a)
{
    check_path(a);
    if (a->local.n % 4 == 3)
        decide(o, SMTP_REPLY(550, "5.1.1", "no"));
    else
        decide(o, SMTP_REPLY(250, "2.1.0", "yes"));
}

static void hear_end(struct owner *o, const struct smtp_server_event *ev)
{
    if (ev->refusal.code == 0) {
        struct vr_str text = vr_buf_str(&o->text);
        for (size_t i = 0; i < text.n && !o->binary; i++) { /* invariant (2): CRLF only */
            assert(text.p[i] != '\n' || (i > 0 && text.p[i - 1] == '\r'));
            assert(text.p[i] != '\r' || (i + 1 < text.n && text.p[i + 1] == '\n'));
        }
        vr_buf_add(&o->seen->taken, text);
        o->due = smtp_server_rcpt_count(o->engine);
        vr_buf_addf(&o->seen->taken, "[%u]", o->due);
        o->due = o->lmtp ? o->due : 1;
        decide(o, text.n % 5 == 4 ? SMTP_REPLY(451, "4.3.0", "later\nperhaps")
                                  : SMTP_REPLY(250, "2.0.0", "taken"));
    }
    vr_buf_reset(&o->text);
}

static void hear(struct owner *o, enum smtp_server_event_kind kind, const struct smtp_server_event *ev)
{
    switch (kind) {
    case SMTP_SERVER_EHLO:
        decide(o, SMTP_REPLY(250, NULL, "mx.d.test"));
        break;
    case SMTP_SERVER_MAIL:
        o->utf8 = ev->mail->utf8;
        assert(o->utf8 || !ev->mail->reverse_path.utf8);
        o->binary = ev->mail->body == SMTP_BODY_BINARYMIME;
        o->refuses_data = ev->mail->reverse_path.local.n % 8 == 6;
        if (smtp_server_forwarded(o->engine) != NULL) {
            check_x(smtp_server_forwarded(o->engine));
            vr_buf_addf(&o->seen->taken, "<%x>", smtp_server_forwarded(o->engine)->known);
        }
        hear_path(o, &ev->mail->reverse_path);
        break;
    case SMTP_SERVER_RCPT:
        assert(o->utf8 || (!ev->rcpt->forward_path.utf8 && vr_str_is_ascii(ev->rcpt->orcpt)));
        hear_path(o, &ev->rcpt->forward_path);
        break;
    case SMTP_SERVER_DATA:
        assert(smtp_server_in_transaction(o->engine) && vr_buf_size(&o->text) == 0);
        decide(o, o->refuses_data ? SMTP_REPLY(451, "4.3.0", "not now") : (struct smtp_reply){0});
        break;
    case SMTP_SERVER_CHUNK:
        assert(ev->data.n > 0);
        vr_buf_add(&o->text, ev->data);
        break;
    case SMTP_SERVER_DATA_END:
        hear_end(o, ev);
        break;
    case SMTP_SERVER_RESET:
        assert(!smtp_server_in_transaction(o->engine));
        vr_buf_reset(&o->text);
        break;
    case SMTP_SERVER_AUTH:
    case SMTP_SERVER_AUTH_RESPONSE:
        o->challenge = ev->data.n % 3 == 1;
        decide(o, ev->data.n % 3 == 2 ? SMTP_REPLY(235, "2.7.0", "in") : SMTP_REPLY(535, "5.7.8", "out"));
        break;
    case SMTP_SERVER_VRFY:
    case SMTP_SERVER_EXPN:
        decide(o, SMTP_REPLY(250, "2.1.5", "yes\nand yes"));
        break;
    case SMTP_SERVER_ETRN:
        assert(ev->name.n > 0 && (ev->option == '\0' || ev->option == '@' || ev->option == '#'));
        assert(ev->option == '#' || address_domain_valid(ev->name, 0));
        assert(!smtp_server_in_transaction(o->engine));
        decide(o, SMTP_REPLY(250, "2.0.0", "started"));
        break;
    case SMTP_SERVER_XCLIENT:
        assert(!smtp_server_in_transaction(o->engine));
        check_x(ev->x);
        vr_buf_addf(&o->seen->taken, "(%x/%x)", ev->x->given, ev->x->known);
        decide(o, ev->x->helo.n % 4 == 3 ? SMTP_REPLY(550, "5.7.1", "no") : SMTP_REPLY(220, NULL, ""));
        break;
    case SMTP_SERVER_CLOSE:
        assert(!o->seen->closed && !smtp_server_in_transaction(o->engine));
        o->seen->closed = true;
        break;
    default:
        break;
    }
}

static void give(struct owner *o)
{
    o->waits = false;
    if (o->challenge)
        smtp_server_challenge(o->engine, VR_STR("more"), 0);
    else
        smtp_server_answer(o->engine, o->reply, 0);
    o->challenge = false;
    if (o->due > 0 && --o->due > 0)
        o->waits = true; /* LMTP: a reply for each recipient */
}

static void pump(struct owner *o, uint32_t *state, bool patient)
{
    struct smtp_server_event ev;
    enum smtp_server_event_kind kind;
    for (;;) {
        if (o->waits) {
            if (patient && mix(state) % 4 == 0)
                break;
            give(o);
            continue;
        }
        kind = smtp_server_next(o->engine, &ev);
        if (kind == SMTP_SERVER_IDLE)
            break;
        hear(o, kind, &ev);
        if (kind == SMTP_SERVER_STARTTLS)
            smtp_server_secured(o->engine, 0);
    }
    struct vr_str out = smtp_server_pending(o->engine);
    vr_buf_add(&o->seen->said, out);
    smtp_server_sent(o->engine, out.n);
}

static void run(const struct smtp_server_config *c, unsigned granted, struct vr_str input, uint8_t split,
                struct seen *seen)
{
    struct owner o = {.engine = smtp_server_new(c, false, 0), .seen = seen, .lmtp = c->lmtp};
    uint32_t state = split;
    assert(o.engine != NULL);
    vr_buf_init(&o.text, 8u << 20);
    smtp_server_grant(o.engine, granted);
    smtp_server_greet(o.engine, SMTP_REPLY(220, NULL, ""));
    while (input.n > 0) {
        size_t n = split == 0 ? 100000 : split == 1 ? 1 : 1 + mix(&state) % (split * 8u);
        if (smtp_server_blocked(o.engine))
            pump(&o, &state, false);
        smtp_server_feed(o.engine, vr_str_sub(input, 0, n), 0);
        input = vr_str_from_pos(input, n);
        pump(&o, &state, split > 1);
    }
    pump(&o, &state, false);
    smtp_server_eof(o.engine);
    pump(&o, &state, false);
    assert(seen->closed);
    vr_buf_fini(&o.text);
    smtp_server_free(o.engine);
}

/* "250-…CRLF" or "250 …CRLF", nothing else, and no line over the limit. */
static void check_said(struct vr_str said)
{
    struct vr_str line;
    while (vr_str_split(&said, '\n', &line)) {
        assert(line.n >= 5 && line.n < SMTP_REPLY_LINE_MAX && line.p[line.n - 1] == '\r');
        assert(line.p[0] >= '2' && line.p[0] <= '5' && (line.p[3] == ' ' || line.p[3] == '-'));
        for (size_t i = 0; i + 1 < line.n; i++)
            assert((unsigned char)line.p[i] >= 0x20 && line.p[i] != 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 400000)
        return 0;
    struct smtp_server_config c = {.hostname = VR_STR("mx.d.test"),
                                   .starttls = data[0] & 1 && !(data[0] & 64),
                                   .lmtp = data[0] & 2,
                                   .offers = data[0] & 32 ? SMTP_EXT_BASIC : ~0u,
                                   .rcpt_max = data[0] & 8 ? 3 : 0,
                                   .size_max = data[0] & 16 ? 200 : 0,
                                   .text_line_max = data[0] & 32 ? 1000 : 0};
    if (data[0] & 64) {
        c.auth_mechanisms = VR_STR("PLAIN LOGIN");
        c.auth_in_clear = true;
        c.auth_required = data[0] & 128;
    }
    struct vr_str input = vr_str((const char *)data + 2, size - 2);
    struct seen one = {0}, other = {0};
    vr_buf_init(&one.said, 8u << 20);
    vr_buf_init(&one.taken, 8u << 20);
    vr_buf_init(&other.said, 8u << 20);
    vr_buf_init(&other.taken, 8u << 20);
    unsigned granted = data[0] & 4 ? ~0u : 0;
    run(&c, granted, input, 0, &one);
    check_said(vr_buf_str(&one.said));
    run(&c, granted, input, data[1] > 0 ? data[1] : 1, &other);
    if (!c.starttls) { /* behind STARTTLS what came along is dropped, so there the split is a difference */
        assert(vr_str_equal(vr_buf_str(&one.said), vr_buf_str(&other.said)));
        assert(vr_str_equal(vr_buf_str(&one.taken), vr_buf_str(&other.taken)));
    }
    vr_buf_fini(&one.said);
    vr_buf_fini(&one.taken);
    vr_buf_fini(&other.said);
    vr_buf_fini(&other.taken);
    return 0;
}
