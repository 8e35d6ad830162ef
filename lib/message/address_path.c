/* address_path.c - SMTP paths and mailboxes by the grammar of RFC 5321 §4.1.2 and §4.1.3, RFC 6531 §3.3 for UTF-8.
 *
 * The ABNF stands above each function that reads it. What is read is undone to the bytes meant ("quoted".local becomes its content), so that two
 * spellings of one mailbox compare equal; address_write quotes again where it must.
 * Does not: look at RFC 5322 comments or folding (address_list.c does).
 * Tests: tests/unit/address.c, tests/conformance/ (isemail)
 */
#include <veredus/address.h>
#include <veredus/idn.h>

#include "address_inside.h"

#include <string.h>

struct reader {
    struct vr_str rest;
    unsigned flags;
    const char *why;
    bool too_big;
};

static int peek(const struct reader *r)
{
    return r->rest.n > 0 ? (unsigned char)r->rest.p[0] : -1;
}

static void skip(struct reader *r, size_t n)
{
    r->rest = vr_str_from_pos(r->rest, n);
}

static bool fail(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

static bool fail_too_big(struct reader *r, const char *why)
{
    r->too_big = true;
    return fail(r, why);
}

/* atext, RFC 5322 §3.2.3 */
bool address_is_atext(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c > 0 && c < 0x80 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_alnum(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Dot-string = Atom *("." Atom) */
static bool read_dot_string(struct reader *r, struct vr_str *out)
{
    struct vr_str whole = r->rest;
    bool after_dot = true;
    size_t i = 0;
    for (; i < whole.n; i++) {
        int c = (unsigned char)whole.p[i];
        if (c == '.' && after_dot)
            return fail(r, "the local part has a dot at its beginning, or two dots in a row; quote it");
        if (c != '.' && !address_is_atext(c) && !(c >= 0x80 && (r->flags & ADDRESS_ALLOW_UTF8)))
            break;
        after_dot = c == '.';
    }
    if (i == 0)
        return fail(r, peek(r) >= 0x80 ? "the local part has 8-bit bytes, which need SMTPUTF8"
                                       : "the address has no local part");
    if (after_dot)
        return fail(r, "the local part ends in a dot; quote it");
    *out = vr_str_sub(whole, 0, i);
    skip(r, i);
    return true;
}

/* Quoted-string = DQUOTE *(qtextSMTP / quoted-pairSMTP) DQUOTE ; printable ASCII only */
static bool read_quoted(struct reader *r, struct vr_arena *arena, struct vr_str *out)
{
    char *to = vr_arena_alloc(arena, r->rest.n < 512 ? r->rest.n : 512);
    size_t n = 0;
    if (to == NULL)
        return fail_too_big(r, "the address is too long");
    skip(r, 1);
    for (;;) {
        int c = peek(r);
        if (c == '"')
            break;
        if (c == '\\') {
            skip(r, 1);
            c = peek(r);
            if (c < 0x20 || c > 0x7e)
                return fail(r,
                            "a backslash in a quoted local part must be followed by a printable character");
        } else if ((c < 0x20 || c > 0x7e) && !(c >= 0x80 && (r->flags & ADDRESS_ALLOW_UTF8))) {
            return fail(r, c < 0 ? "the quoted local part has no end"
                                 : "the quoted local part holds a control or 8-bit byte");
        }
        if (n == 511)
            return fail_too_big(r, "the address is too long");
        to[n++] = (char)c;
        skip(r, 1);
    }
    skip(r, 1);
    *out = vr_str(to, n);
    return true;
}

/* sub-domain = Let-dig [Ldh-str]; underscores occur in names that exist, so they are taken */
static const char *label_fault(struct vr_str label, unsigned flags)
{
    if (label.n == 0)
        return "the domain has an empty label";
    if (label.n > 63 && vr_str_is_ascii(label)) /* of another, its A-label counts */
        return "a label of the domain is longer than 63 octets";
    if (label.p[0] == '-' || label.p[label.n - 1] == '-')
        return "a label of the domain begins or ends with a hyphen";
    for (size_t i = 0; i < label.n; i++) {
        int c = (unsigned char)label.p[i];
        if (!is_alnum(c) && c != '-' && c != '_' && !(c >= 0x80 && (flags & ADDRESS_ALLOW_UTF8)))
            return c >= 0x80 ? "the domain has 8-bit bytes, which need SMTPUTF8"
                             : "the domain holds a character that domains do not have";
    }
    return NULL;
}

static const char too_long[] = "the domain is longer than 255 octets";

static const char *domain_fault(struct vr_str domain, unsigned flags);

/* U-label, RFC 5890 §2.3.2.1 */
static const char *idn_fault(struct vr_str domain)
{
    struct vr_arena scratch;
    struct vr_str ascii;
    if (!vr_utf8_valid(domain))
        return "the domain is not valid UTF-8";
    vr_arena_init(&scratch, 4096);
    enum vr_err e = idn_to_ascii(&scratch, domain, &ascii);
    const char *why = e == VR_OK ? domain_fault(ascii, 0) : NULL;
    vr_arena_fini(&scratch);
    if (e == VR_ERR_TOO_BIG)
        return "the domain is longer in A-labels than a domain may be";
    return e == VR_OK ? why : "the domain has a label that no internationalised domain name has (IDNA 2008)";
}

static const char *domain_fault(struct vr_str domain, unsigned flags)
{
    struct vr_str whole = domain;
    if (domain.n == 0)
        return "the address has no domain";
    if (domain.n > ADDRESS_DOMAIN_MAX)
        return too_long;
    for (size_t dot = 0; dot != VR_NPOS;) {
        dot = vr_str_find(domain, '.');
        const char *why = label_fault(vr_str_sub(domain, 0, dot), flags);
        if (why != NULL)
            return why;
        if (dot != VR_NPOS) {
            domain = vr_str_from_pos(domain, dot + 1);
            if (domain.n == 0)
                return "the domain ends in a dot";
        }
    }
    return vr_str_is_ascii(whole) ? NULL : idn_fault(whole);
}

bool address_domain_valid(struct vr_str domain, unsigned flags)
{
    return domain_fault(domain, flags) == NULL;
}

/* Whose grammar an IP address follows. */
enum ip_form {
    IP_IN_LITERAL, /* RFC 5321 §4.1.3: zeros may lead a decimal number, "::" stands for two groups or more */
    IP_ALONE /* RFC 4291 §2.2: "::" for one or more; a number with a leading zero would be octal to some, so it is none */
};

/* Snum = 1*3DIGIT, 0 to 255 */
static bool read_ipv4(struct vr_str text, enum ip_form form, uint8_t out[4])
{
    for (int i = 0; i < 4; i++) {
        size_t dot = i < 3 ? vr_str_find(text, '.') : text.n;
        uint64_t v;
        if (dot == VR_NPOS || dot > 3 || !vr_str_to_u64(vr_str_sub(text, 0, dot), &v) || v > 255 ||
            (form == IP_ALONE && dot > 1 && text.p[0] == '0'))
            return false;
        out[i] = (uint8_t)v;
        text = vr_str_from_pos(text, i < 3 ? dot + 1 : dot);
    }
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = vr_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* IPv6-hex = 1*4HEXDIG */
static bool read_group(struct vr_str text, uint8_t out[2])
{
    unsigned v = 0;
    if (text.n < 1 || text.n > 4)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int digit = hex_value(text.p[i]);
        if (digit < 0)
            return false;
        v = v << 4 | (unsigned)digit;
    }
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
    return true;
}

/* Groups separated by ":", an IPv4 address allowed at the very end. Returns the bytes read, or -1. */
static int read_groups(struct vr_str text, enum ip_form form, bool tail, uint8_t *out, int room)
{
    int n = 0;
    while (text.n > 0) {
        size_t colon = vr_str_find(text, ':');
        struct vr_str part = vr_str_sub(text, 0, colon);
        if (colon == VR_NPOS && tail && vr_str_find(part, '.') != VR_NPOS)
            return n + 4 <= room && read_ipv4(part, form, out + n) ? n + 4 : -1;
        if (n + 2 > room || !read_group(part, out + n))
            return -1;
        n += 2;
        if (colon == VR_NPOS)
            break;
        text = vr_str_from_pos(text, colon + 1);
        if (text.n == 0)
            return -1; /* a colon at the end */
    }
    return n;
}

/* IPv6-full / IPv6-comp / IPv6v4-full / IPv6v4-comp */
static bool read_ipv6(struct vr_str text, enum ip_form form, uint8_t out[16])
{
    uint8_t after[16];
    int room = form == IP_ALONE ? 14 : 12;
    memset(out, 0, 16);
    size_t gap = vr_str_find_str(text, VR_STR("::"));
    if (gap == VR_NPOS)
        return read_groups(text, form, true, out, 16) == 16;
    int head = read_groups(vr_str_sub(text, 0, gap), form, false, out, room);
    int tail = read_groups(vr_str_from_pos(text, gap + 2), form, true, after, room);
    if (head < 0 || tail < 0 || head + tail > room)
        return false;
    memcpy(out + 16 - tail, after, (size_t)tail);
    return true;
}

bool address_literal(struct vr_str domain, uint8_t bytes[16], int *family)
{
    if (domain.n < 3 || domain.p[0] != '[' || domain.p[domain.n - 1] != ']')
        return false;
    struct vr_str inside = vr_str_sub(domain, 1, domain.n - 2);
    if (vr_str_starts_nocase(inside, VR_STR("IPv6:"))) {
        *family = 6;
        return read_ipv6(vr_str_from_pos(inside, 5), IP_IN_LITERAL, bytes);
    }
    *family = 4;
    return read_ipv4(inside, IP_IN_LITERAL, bytes);
}

bool address_ip_parse(struct vr_str text, uint8_t bytes[16], int *family)
{
    *family = vr_str_find(text, ':') != VR_NPOS ? 6 : 4;
    return *family == 6 ? read_ipv6(text, IP_ALONE, bytes) : read_ipv4(text, IP_ALONE, bytes);
}

/* Domain or address-literal, up to what cannot belong to it */
static bool read_domain(struct reader *r, struct vr_str *out)
{
    struct vr_str whole = r->rest;
    size_t n = 0;
    if (peek(r) == '[') {
        uint8_t bytes[16];
        int family;
        n = vr_str_find(whole, ']');
        if (n == VR_NPOS)
            return fail(r, "the address literal has no \"]\"");
        *out = vr_str_sub(whole, 0, n + 1);
        if (!address_literal(*out, bytes, &family))
            return fail(r, "the address literal is neither [192.0.2.1] nor [IPv6:2001:db8::1]");
        skip(r, out->n);
        return true;
    }
    while (n < whole.n && whole.p[n] != '>' && whole.p[n] != ',' && whole.p[n] != ':' && whole.p[n] != ' ')
        n++;
    *out = vr_str_sub(whole, 0, n);
    const char *why = domain_fault(*out, r->flags);
    if (why != NULL)
        return why == too_long ? fail_too_big(r, why) : fail(r, why);
    skip(r, n);
    return true;
}

/* A-d-l = At-domain *("," At-domain) ":" ; read and ignored (RFC 5321 appendix C) */
static bool skip_source_route(struct reader *r)
{
    while (peek(r) == '@') {
        struct vr_str ignored;
        skip(r, 1);
        if (!read_domain(r, &ignored))
            return false;
        if (peek(r) == ',') {
            skip(r, 1);
            if (peek(r) != '@')
                return fail(r, "the source route is not of the form <@host,@host:user@domain>");
        } else if (peek(r) == ':') {
            skip(r, 1);
            return true;
        } else {
            return fail(
                r, "the address begins with @: it has no local part, or is a source route without a colon");
        }
    }
    return true;
}

/* A reverse path of a forwarder (srs.h). RFC 5321 §4.5.3.1 wants no limits where they can be done without. */
static size_t local_max(struct vr_str local)
{
    bool srs = local.n > 5 && vr_str_starts_nocase(local, VR_STR("SRS")) &&
               (local.p[3] == '0' || local.p[3] == '1') && vr_str_find(VR_STR("=+-"), local.p[4]) != VR_NPOS;
    return srs ? ADDRESS_LOCAL_SRS_MAX : ADDRESS_LOCAL_MAX;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static bool read_mailbox(struct reader *r, struct vr_arena *arena, struct address *out)
{
    size_t before = r->rest.n;
    if (!(peek(r) == '"' ? read_quoted(r, arena, &out->local) : read_dot_string(r, &out->local)))
        return false;
    if (before - r->rest.n > local_max(out->local)) /* as it stands, quotes and backslashes included */
        return fail_too_big(r, "the local part is longer than 64 octets");
    if (peek(r) != '@') {
        bool ends = peek(r) < 0 || peek(r) == '>';
        if (ends && (r->flags & ADDRESS_ALLOW_POSTMASTER) &&
            vr_str_equal_nocase(out->local, VR_STR("postmaster")))
            return true;
        return fail(r, ends              ? "the address has no domain"
                       : peek(r) >= 0x80 ? "the local part has 8-bit bytes, which need SMTPUTF8"
                                         : "the local part holds a character that must be quoted");
    }
    skip(r, 1);
    if (!read_domain(r, &out->domain))
        return false;
    if (before - r->rest.n + 2 > ADDRESS_PATH_MAX) /* with "<" and ">", which may have been left out */
        return fail_too_big(r, "the address is longer than 256 octets");
    return true;
}

/* Controls, line ends and what turns the direction of writing are in no name (RFC 5198 §2), and would play tricks on who reads a log. */
static bool is_text(struct vr_str s)
{
    static const struct {
        uint32_t first, last;
    } refused[] = {{0x80, 0x9f}, {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfdd0, 0xfdef}, {0xfff9, 0xfffb}};
    uint32_t c;
    while (vr_utf8_next(&s, &c)) {
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
            if (c >= refused[i].first && c <= refused[i].last)
                return false;
        if ((c & 0xfffe) == 0xfffe) /* noncharacters */
            return false;
    }
    return true;
}

static bool keep(struct vr_arena *arena, struct address *a)
{
    struct vr_str local = vr_arena_dup(arena, a->local), domain = vr_arena_dup(arena, a->domain);
    bool fits = local.n == a->local.n && domain.n == a->domain.n;
    a->local = local;
    a->domain = domain;
    a->utf8 = !vr_str_is_ascii(local) || !vr_str_is_ascii(domain);
    return fits;
}

enum vr_err address_parse_path(struct vr_arena *arena, struct vr_str in, unsigned flags, struct address *out,
                               struct vr_str *rest, const char **why)
{
    struct reader r = {.rest = in, .flags = flags};
    *out = (struct address){0};
    *why = NULL;
    bool angle = peek(&r) == '<';
    bool good = true;
    if (angle)
        skip(&r, 1);
    else if (!(flags & ADDRESS_ALLOW_BARE))
        good = fail(&r, "the address must stand in angle brackets: <user@example.org>");
    if (good && angle && peek(&r) == '>') {
        out->null = true;
        good = (flags & ADDRESS_ALLOW_NULL) || fail(&r, "an empty address is not allowed here");
    } else if (good) {
        good = skip_source_route(&r) && read_mailbox(&r, arena, out);
    }
    if (good && angle) {
        good = peek(&r) == '>' || fail(&r, "the address does not end in \">\"");
        skip(&r, 1);
    }
    if (good && (flags & ADDRESS_ALLOW_UTF8) && !vr_utf8_valid(out->local))
        good = fail(&r, "the local part is not valid UTF-8");
    if (good && (flags & ADDRESS_ALLOW_UTF8) && !is_text(out->local))
        good = fail(&r, "the local part holds a control character");
    if (!good) {
        *why = r.why;
        return r.too_big ? VR_ERR_TOO_BIG : VR_ERR_SYNTAX;
    }
    if (!keep(arena, out)) {
        *why = "the address is too long";
        return VR_ERR_TOO_BIG;
    }
    *rest = r.rest;
    return VR_OK;
}

enum vr_err address_parse(struct vr_arena *arena, struct vr_str in, unsigned flags, struct address *out,
                          const char **why)
{
    struct vr_str rest;
    if (in.n > 0 && in.p[0] == '<') {
        *why = "the address must stand without angle brackets here";
        return VR_ERR_SYNTAX;
    }
    enum vr_err e = address_parse_path(arena, in, flags | ADDRESS_ALLOW_BARE, out, &rest, why);
    if (e == VR_OK && rest.n > 0) {
        *why = "something follows the address";
        return VR_ERR_SYNTAX;
    }
    return e;
}
