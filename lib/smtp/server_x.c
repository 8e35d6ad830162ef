/* server_x.c - XCLIENT and XFORWARD: a proxy or filter that the owner trusts says whose mail it is (Postfix's XCLIENT_README and XFORWARD_README).
 *
 * XCLIENT replaces what is known of the client, and the session begins anew. XFORWARD only adds, for logs and the trace, and holds for one transaction.
 * Promise: what comes out of the values can stand in a log and in a header field: no control bytes, no brackets where names are, 255 octets at the most.
 * Tests:   tests/unit/smtp_x.c, tests/transcripts/server/xclient*.txt, xforward*.txt
 */
#include "server_inside.h"

#define VALUE_MAX      255 /* octets, once decoded: XFORWARD_README */
#define FORWARD_MEMORY (16u << 10)

enum { OF_XCLIENT = 1, OF_XFORWARD = 2 };

struct reading {
    struct vr_arena *arena;
    struct smtp_x *out;
    bool unavailable;
};

static const char *const too_big = "these attributes are too big";

/* ---- values ---------------------------------------------------------------------------------------------------- */

static const char *keep(struct reading *r, struct vr_str value, struct vr_str *out)
{
    *out = r->unavailable ? vr_str(NULL, 0) : vr_arena_dup(r->arena, value);
    return r->unavailable || out->n == value.n ? NULL : too_big;
}

static const char *read_name(struct reading *r, struct vr_str value)
{
    if (!r->unavailable && !address_domain_valid(value, 0))
        return "NAME is no host name";
    return keep(r, value, &r->out->name);
}

/* What a stranger said is no fault of the one who passes it on: what could break a line is replaced. */
static const char *read_claim(struct reading *r, struct vr_str value, struct vr_str *out)
{
    const char *fault = keep(r, value, out);
    for (size_t i = 0; i < out->n; i++)
        if (out->p[i] <= ' ' || out->p[i] > '~' || strchr("<>()\\\"", out->p[i]) != NULL)
            ((char *)out->p)[i] = '?';
    return fault;
}

static const char *read_helo(struct reading *r, struct vr_str value)
{
    return read_claim(r, value, &r->out->helo);
}

static const char *read_ident(struct reading *r, struct vr_str value)
{
    return read_claim(r, value, &r->out->ident);
}

static const char *read_login(struct reading *r, struct vr_str value)
{
    if (!vr_utf8_valid(value))
        return "LOGIN is no UTF-8";
    return keep(r, value, &r->out->login);
}

/* "192.0.2.1", "IPV6:2001:db8::1" */
static const char *read_ip(struct reading *r, struct vr_str value, struct smtp_x_end *out)
{
    *out = (struct smtp_x_end){.port = out->port};
    if (r->unavailable)
        return NULL;
    bool v6 = vr_str_starts_nocase(value, VR_STR("IPV6:"));
    int family;
    if (!address_ip_parse(vr_str_from_pos(value, v6 ? 5 : 0), out->ip, &family) || (family == 6) != v6)
        return "an address is written 192.0.2.1 or IPV6:2001:db8::1";
    out->family = family;
    return NULL;
}

static const char *read_addr(struct reading *r, struct vr_str value)
{
    return read_ip(r, value, &r->out->client);
}

static const char *read_destaddr(struct reading *r, struct vr_str value)
{
    return read_ip(r, value, &r->out->server);
}

static const char *read_number(struct reading *r, struct vr_str value, uint16_t *out)
{
    uint64_t n = 0;
    if (!r->unavailable && (value.n > 5 || !vr_str_to_u64(value, &n) || n > 65535))
        return "a port is a number from 0 to 65535";
    *out = (uint16_t)n;
    return NULL;
}

static const char *read_port(struct reading *r, struct vr_str value)
{
    return read_number(r, value, &r->out->client.port);
}

static const char *read_destport(struct reading *r, struct vr_str value)
{
    return read_number(r, value, &r->out->server.port);
}

static const char *read_proto(struct reading *r, struct vr_str value)
{
    r->out->extended = vr_str_equal_nocase(value, VR_STR("ESMTP"));
    return r->unavailable || r->out->extended || vr_str_equal_nocase(value, VR_STR("SMTP"))
               ? NULL
               : "PROTO is SMTP or ESMTP";
}

static const char *read_source(struct reading *r, struct vr_str value)
{
    r->out->local = vr_str_equal_nocase(value, VR_STR("LOCAL"));
    return r->unavailable || r->out->local || vr_str_equal_nocase(value, VR_STR("REMOTE"))
               ? NULL
               : "SOURCE is LOCAL or REMOTE";
}

/* ---- attributes ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum smtp_x_attribute bit;
    unsigned of;                                                 /* which commands have it */
    const char *(*read)(struct reading *r, struct vr_str value); /* NULL, or what is wrong */
} attributes[] = {
    {"NAME", SMTP_X_NAME, OF_XCLIENT | OF_XFORWARD, read_name},
    {"ADDR", SMTP_X_ADDR, OF_XCLIENT | OF_XFORWARD, read_addr},
    {"PORT", SMTP_X_PORT, OF_XCLIENT | OF_XFORWARD, read_port},
    {"PROTO", SMTP_X_PROTO, OF_XCLIENT | OF_XFORWARD, read_proto},
    {"HELO", SMTP_X_HELO, OF_XCLIENT | OF_XFORWARD, read_helo},
    {"LOGIN", SMTP_X_LOGIN, OF_XCLIENT, read_login},
    {"DESTADDR", SMTP_X_DESTADDR, OF_XCLIENT, read_destaddr},
    {"DESTPORT", SMTP_X_DESTPORT, OF_XCLIENT, read_destport},
    {"IDENT", SMTP_X_IDENT, OF_XFORWARD, read_ident},
    {"SOURCE", SMTP_X_SOURCE, OF_XFORWARD, read_source},
};
#define ATTRIBUTES (sizeof attributes / sizeof *attributes)

void server_add_x_names(struct vr_buf *out, bool forward)
{
    for (size_t i = 0; i < ATTRIBUTES; i++)
        if (attributes[i].of & (forward ? OF_XFORWARD : OF_XCLIENT))
            vr_buf_addf(out, " %s", attributes[i].name);
}

static const char *read_value(struct reading *r, size_t i, struct vr_str text)
{
    struct vr_buf plain;
    char memory[VALUE_MAX];
    vr_buf_init(&plain, VALUE_MAX);
    enum vr_err e = dsn_xtext_decode(&plain, text);
    struct vr_str value = vr_buf_str(&plain);
    if (value.n > 0)
        memcpy(memory, value.p, value.n);
    vr_buf_fini(&plain);
    if (e != VR_OK)
        return e == VR_ERR_TOO_BIG ? "a value is longer than 255 octets"
                                   : "values are xtext (RFC 3461 §4) without control characters";
    value = vr_str(memory, value.n);
    r->unavailable = vr_str_equal_nocase(value, VR_STR("[UNAVAILABLE]")) ||
                     vr_str_equal_nocase(value, VR_STR("[TEMPUNAVAIL]"));
    if (value.n == 0)
        return "a value is missing; what is not known is [UNAVAILABLE]";
    return attributes[i].read(r, value);
}

static const char *read_attribute(struct reading *r, unsigned of, struct vr_str text, unsigned *seen)
{
    size_t equals = vr_str_find(text, '=');
    struct vr_str name = vr_str_sub(text, 0, equals);
    if (equals == VR_NPOS)
        return "attributes are of the form NAME=value";
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        if (!(attributes[i].of & of) || !vr_str_equal_nocase(name, vr_str_from(attributes[i].name)))
            continue;
        if (*seen & attributes[i].bit)
            return "an attribute stands twice";
        *seen |= attributes[i].bit;
        const char *fault = read_value(r, i, vr_str_from_pos(text, equals + 1));
        r->out->given |= attributes[i].bit;
        r->out->known =
            r->unavailable ? r->out->known & ~(unsigned)attributes[i].bit : r->out->known | attributes[i].bit;
        return fault;
    }
    return "this attribute is not known here; see the EHLO reply";
}

const char *smtp_x_parse(struct vr_arena *arena, struct vr_str text, bool forward, struct smtp_x *out)
{
    struct smtp_x next = *out;
    struct reading r = {.arena = arena, .out = &next};
    struct vr_str one;
    unsigned seen = 0;
    while (vr_str_split(&text, ' ', &one)) {
        const char *fault =
            one.n > 0 ? read_attribute(&r, forward ? OF_XFORWARD : OF_XCLIENT, one, &seen) : NULL;
        if (fault != NULL)
            return fault;
    }
    if (seen == 0)
        return "at least one attribute is wanted; see the EHLO reply";
    *out = next;
    return NULL;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

/* What both are refused for; code 0: nothing. */
static struct smtp_reply untimely(const struct smtp_server *s, enum smtp_extension bit)
{
    if (!(smtp_server_offered(s) & bit))
        return SMTP_REPLY(550, "5.7.0", "this is for hosts that the administrator has named");
    if (s->in_mail)
        return SMTP_REPLY(503, "5.5.1", "a transaction is under way; finish it, or send RSET");
    return (struct smtp_reply){0};
}

static struct smtp_reply attribute_fault(const char *why)
{
    if (why == too_big)
        return (struct smtp_reply){452, "4.5.3", vr_str_from(why)};
    return (struct smtp_reply){501, "5.5.4", vr_str_from(why)};
}

enum smtp_server_event_kind server_verb_xclient(struct smtp_server *s, struct vr_str line,
                                                struct vr_str argument, struct smtp_server_event *ev)
{
    struct smtp_reply refusal = untimely(s, SMTP_EXT_XCLIENT);
    if (refusal.code != 0)
        return server_refuse(s, ev, line, refusal);
    vr_arena_reset(&s->arena);
    s->x = (struct smtp_x){0};
    const char *fault = smtp_x_parse(&s->arena, argument, false, &s->x);
    if (fault != NULL) {
        vr_arena_reset(&s->arena);
        return server_refuse(s, ev, line, attribute_fault(fault));
    }
    ev->x = &s->x;
    return server_await(s, SMTP_SERVER_XCLIENT);
}

/* 220: as after the greeting, but for TLS, which is the connection's. */
void server_answer_xclient(struct smtp_server *s, struct smtp_reply r)
{
    bool in = (s->x.known & SMTP_X_LOGIN) != 0;
    if (r.code == 220) {
        server_forward_end(s);
        s->greeted = s->extended = s->spoiled = false;
        s->authenticated = in;
        server_greeting(s, r);
    } else {
        server_reply(s, r);
        server_count_refusal(s, r);
    }
    if (r.code == 421)
        server_close(s, 421);
    vr_arena_reset(&s->arena);
    s->x = (struct smtp_x){0};
}

enum smtp_server_event_kind server_verb_xforward(struct smtp_server *s, struct vr_str line,
                                                 struct vr_str argument, struct smtp_server_event *ev)
{
    struct smtp_reply refusal = untimely(s, SMTP_EXT_XFORWARD);
    if (refusal.code != 0)
        return server_refuse(s, ev, line, refusal);
    if (s->forward == NULL) {
        s->forward = vr_arena_alloc(&s->forward_arena, sizeof *s->forward);
        if (s->forward == NULL)
            return server_refuse(s, ev, line, attribute_fault(too_big));
    }
    const char *fault = smtp_x_parse(&s->forward_arena, argument, true, s->forward);
    if (fault != NULL)
        return server_refuse(s, ev, line, attribute_fault(fault));
    server_reply(s, SMTP_REPLY(250, "2.0.0", "noted"));
    return SMTP_SERVER_IDLE;
}

void server_forward_init(struct smtp_server *s)
{
    vr_arena_init(&s->forward_arena, FORWARD_MEMORY);
}

void server_forward_end(struct smtp_server *s)
{
    s->forward = NULL;
    vr_arena_reset(&s->forward_arena);
}

const struct smtp_x *smtp_server_forwarded(const struct smtp_server *s)
{
    return s->forward != NULL && s->forward->given != 0 ? s->forward : NULL;
}
