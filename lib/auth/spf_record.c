/* spf_record.c - the grammar of SPF records and of the macros in them (RFC 7208 §4.6.1, §5, §6, §7.1, §12).
 *
 * Nothing is expanded or asked here: a record is read twice, first as a whole, so that a mistake anywhere in it is found before anything is
 * evaluated (§4.6), then term by term.
 *
 * Tests: tests/unit/spf_record.c
 */
#include "spf_inside.h"

#include <veredus/address.h>

static bool is_alpha(char c)
{
    return vr_lower(c) >= 'a' && vr_lower(c) <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- macros ------------------------------------------------------------------------------------------------------- */

static bool is_delimiter(char c)
{
    return vr_str_find(VR_STR(".-+,/_="), c) != VR_NPOS;
}

/* "{d2r-}": what stands between "%" and the end of the macro. */
static bool read_letter(struct vr_str *rest, bool explanation, struct spf_macro *m, const char **why)
{
    struct vr_str s = vr_str_from_pos(*rest, 2);
    size_t end = vr_str_find(s, '}'), i = 1;
    *why = "a macro has no end";
    if (end == VR_NPOS || end == 0)
        return false;
    *why = "there is no such macro letter";
    m->letter = vr_lower(s.p[0]);
    m->escape = m->letter != s.p[0];
    if (vr_str_find(VR_STR("slodiphvcrt"), m->letter) == VR_NPOS)
        return false;
    *why = "the macro letters c, r and t are for explanations only";
    if (!explanation && vr_str_find(VR_STR("crt"), m->letter) != VR_NPOS)
        return false;
    bool digits = false;
    for (; i < end && is_digit(s.p[i]); i++, digits = true)
        if (m->parts < 1000) /* there are no more parts than that */
            m->parts = 10 * m->parts + (unsigned)(s.p[i] - '0');
    *why = "a macro that keeps 0 parts";
    if (digits && m->parts == 0)
        return false;
    m->reverse = i < end && vr_lower(s.p[i]) == 'r';
    i += m->reverse;
    m->delimiters = vr_str_sub(s, i, end - i);
    *why = "a macro's delimiters are . - + , / _ =";
    for (; i < end; i++)
        if (!is_delimiter(s.p[i]))
            return false;
    m->kind = SPF_MACRO_LETTER;
    m->transformed = end > 1;
    m->text = vr_str_sub(*rest, 0, end + 3);
    return true;
}

bool spf_macro_next(struct vr_str *rest, bool explanation, struct spf_macro *m, const char **why)
{
    *m = (struct spf_macro){.kind = SPF_MACRO_LITERAL};
    *why = NULL;
    if (rest->n == 0)
        return false;
    if (rest->p[0] == '%') {
        char next = rest->n > 1 ? rest->p[1] : 0;
        *why = "a % that begins no macro (%% stands for one)";
        if (next == '{') {
            if (!read_letter(rest, explanation, m, why))
                return false;
        } else if (next == '%' || next == '_' || next == '-') {
            m->kind = SPF_MACRO_ESCAPE;
            m->text = vr_str_sub(*rest, 0, 2);
        } else {
            return false;
        }
    } else {
        size_t n = 0;
        while (n < rest->n && rest->p[n] != '%' && rest->p[n] < 0x7f &&
               rest->p[n] >= (explanation ? ' ' : '!'))
            n++;
        *why = "a byte that is no visible ASCII";
        if (n == 0)
            return false;
        m->text = vr_str_sub(*rest, 0, n);
    }
    *why = NULL;
    *rest = vr_str_from_pos(*rest, m->text.n);
    return true;
}

/* The end of a domain-spec that is no macro: "." toplabel [ "." ]. */
static bool ends_in_toplabel(struct vr_str literal)
{
    if (literal.n > 0 && literal.p[literal.n - 1] == '.')
        literal.n--;
    size_t dot = vr_str_find_last(literal, '.');
    struct vr_str label = vr_str_from_pos(literal, dot + 1);
    bool numeric = true;
    if (dot == VR_NPOS || label.n == 0 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++) {
        if (!is_alpha(label.p[i]) && !is_digit(label.p[i]) && label.p[i] != '-')
            return false;
        numeric &= is_digit(label.p[i]);
    }
    return !numeric;
}

static bool check_macros(struct vr_str text, bool explanation, struct spf_macro *last, const char **why)
{
    struct spf_macro m;
    while (spf_macro_next(&text, explanation, &m, why))
        *last = m;
    return *why == NULL;
}

static bool check_spec(struct vr_str spec, const char **why)
{
    struct spf_macro last = {.kind = SPF_MACRO_LITERAL};
    if (spec.n == 0) {
        *why = "its domain is missing";
        return false;
    }
    if (!check_macros(spec, false, &last, why))
        return false;
    if (last.kind == SPF_MACRO_LITERAL && !ends_in_toplabel(last.text)) {
        *why = "what stands there is no domain of at least two labels, and the last one must not be a number";
        return false;
    }
    return true;
}

/* ---- terms ---------------------------------------------------------------------------------------------------------- */

/* A number without leading zeros. */
static bool read_prefix(struct vr_str digits, unsigned max, unsigned *out)
{
    uint64_t n;
    if (!vr_str_to_u64(digits, &n) || n > max || (digits.n > 1 && digits.p[0] == '0'))
        return false;
    *out = (unsigned)n;
    return true;
}

/* Takes "/N" at the end of a text off, when it is there and right. */
static bool take_prefix(struct vr_str *text, struct vr_str slash, unsigned max, unsigned *out)
{
    size_t at = vr_str_find_last(*text, '/');
    if (at == VR_NPOS || at + 1 < slash.n)
        return false;
    struct vr_str head = vr_str_sub(*text, 0, at + 1);
    if (!vr_str_ends_nocase(head, slash) || !read_prefix(vr_str_from_pos(*text, at + 1), max, out))
        return false;
    text->n = head.n - slash.n;
    return true;
}

static bool read_network(struct vr_str text, int wanted, struct spf_term *t, const char **why)
{
    unsigned *prefix = wanted == 4 ? &t->prefix4 : &t->prefix6;
    int family;
    *why = wanted == 4 ? "it wants \":\" and an IPv4 network, like ip4:192.0.2.0/24"
                       : "it wants \":\" and an IPv6 network, like ip6:2001:db8::/32";
    if (text.n == 0 || text.p[0] != ':')
        return false;
    text = vr_str_from_pos(text, 1);
    take_prefix(&text, VR_STR("/"), wanted == 4 ? 32 : 128, prefix);
    if (!address_ip_parse(text, t->network.ip, &family) || family != wanted)
        return false;
    t->network.family = (uint8_t)family;
    return true;
}

enum arguments { NOTHING, DOMAIN, DOMAIN_OR_NOTHING, DOMAIN_AND_PREFIX, NETWORK4, NETWORK6 };

static const struct {
    struct vr_str name;
    enum spf_kind kind;
    enum arguments arguments;
} mechanisms[] = {
    {VR_STR_INIT("all"), SPF_TERM_ALL, NOTHING},
    {VR_STR_INIT("include"), SPF_TERM_INCLUDE, DOMAIN},
    {VR_STR_INIT("a"), SPF_TERM_A, DOMAIN_AND_PREFIX},
    {VR_STR_INIT("mx"), SPF_TERM_MX, DOMAIN_AND_PREFIX},
    {VR_STR_INIT("ptr"), SPF_TERM_PTR, DOMAIN_OR_NOTHING},
    {VR_STR_INIT("ip4"), SPF_TERM_IP4, NETWORK4},
    {VR_STR_INIT("ip6"), SPF_TERM_IP6, NETWORK6},
    {VR_STR_INIT("exists"), SPF_TERM_EXISTS, DOMAIN},
};
#define MECHANISMS (sizeof mechanisms / sizeof mechanisms[0])

static bool read_domain(struct vr_str text, enum arguments wanted, struct spf_term *t, const char **why)
{
    if (wanted == DOMAIN_AND_PREFIX) {
        take_prefix(&text, VR_STR("//"), 128, &t->prefix6);
        take_prefix(&text, VR_STR("/"), 32, &t->prefix4);
    }
    if (text.n == 0 && wanted != DOMAIN)
        return true;
    if (text.n == 0 || text.p[0] != ':') {
        *why = wanted == DOMAIN_AND_PREFIX
                   ? "behind it stands neither \":\" and a domain nor \"/\" and a number of bits"
                   : "it wants \":\" and a domain";
        return false;
    }
    t->spec = vr_str_from_pos(text, 1);
    return check_spec(t->spec, why);
}

static bool read_mechanism(struct vr_str text, struct spf_term *t, const char **why)
{
    static const char qualifiers[] = "+-~?";
    static const enum spf_verdict means[] = {SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL};
    size_t qualifier = vr_str_find(VR_STR(qualifiers), text.p[0]), n = 0, i = 0;
    t->qualifier = qualifier == VR_NPOS ? SPF_PASS : means[qualifier];
    text = vr_str_from_pos(text, qualifier != VR_NPOS);
    while (n < text.n && text.p[n] != ':' && text.p[n] != '/')
        n++;
    while (i < MECHANISMS && !vr_str_equal_nocase(mechanisms[i].name, vr_str_sub(text, 0, n)))
        i++;
    *why = "there is no such mechanism";
    if (i == MECHANISMS)
        return false;
    t->kind = mechanisms[i].kind;
    text = vr_str_from_pos(text, n);
    switch (mechanisms[i].arguments) {
    case NOTHING:
        *why = "nothing may stand behind it";
        return text.n == 0;
    case NETWORK4:
        return read_network(text, 4, t, why);
    case NETWORK6:
        return read_network(text, 6, t, why);
    default:
        return read_domain(text, mechanisms[i].arguments, t, why);
    }
}

/* name "=" …; name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ) */
static size_t modifier_name(struct vr_str text)
{
    size_t n = 0;
    while (n < text.n &&
           (is_alpha(text.p[n]) ||
            (n > 0 && (is_digit(text.p[n]) || vr_str_find(VR_STR("-_."), text.p[n]) != VR_NPOS))))
        n++;
    return n > 0 && n < text.n && text.p[n] == '=' ? n : 0;
}

static bool read_modifier(struct vr_str text, size_t n, struct spf_term *t, const char **why)
{
    struct vr_str name = vr_str_sub(text, 0, n), value = vr_str_from_pos(text, n + 1);
    struct spf_macro last;
    bool redirect = vr_str_equal_nocase(name, VR_STR("redirect"));
    if (redirect || vr_str_equal_nocase(name, VR_STR("exp"))) {
        t->kind = redirect ? SPF_TERM_REDIRECT : SPF_TERM_EXP;
        t->spec = value;
        return check_spec(value, why);
    }
    t->kind = SPF_TERM_UNKNOWN;
    return check_macros(value, true, &last, why); /* blanks, which explanations may have, end a term */
}

enum spf_read spf_term_next(struct vr_str *rest, struct spf_term *t, const char **why)
{
    *t = (struct spf_term){.prefix4 = 32, .prefix6 = 128};
    *why = NULL;
    do {
        if (!vr_str_split(rest, ' ', &t->text))
            return SPF_READ_END;
    } while (t->text.n == 0);
    size_t n = modifier_name(t->text);
    bool good = n > 0 ? read_modifier(t->text, n, t, why) : read_mechanism(t->text, t, why);
    return good ? SPF_READ_TERM : SPF_READ_BAD;
}

/* ---- records ---------------------------------------------------------------------------------------------------------- */

bool spf_record_is(struct vr_str txt, struct vr_str *rest)
{
    struct vr_str version = VR_STR("v=spf1");
    if (!vr_str_starts_nocase(txt, version) || (txt.n > version.n && txt.p[version.n] != ' '))
        return false;
    *rest = vr_str_from_pos(txt, version.n);
    return true;
}

static bool once(struct spf_summary *s, struct spf_term *place, const struct spf_term *t)
{
    if (place->spec.n > 0) {
        s->why = "redirect= and exp= may each stand there once only";
        s->bad = *t;
        return false;
    }
    *place = *t;
    return true;
}

bool spf_record_read(struct vr_str rest, struct spf_summary *out)
{
    struct spf_term t;
    enum spf_read read;
    *out = (struct spf_summary){.why = NULL};
    while ((read = spf_term_next(&rest, &t, &out->why)) == SPF_READ_TERM) {
        out->all |= t.kind == SPF_TERM_ALL;
        out->lookups += t.kind == SPF_TERM_INCLUDE || t.kind == SPF_TERM_A || t.kind == SPF_TERM_MX ||
                        t.kind == SPF_TERM_PTR || t.kind == SPF_TERM_EXISTS;
        if ((t.kind == SPF_TERM_REDIRECT && !once(out, &out->redirect, &t)) ||
            (t.kind == SPF_TERM_EXP && !once(out, &out->exp, &t)))
            return false;
    }
    out->bad = t;
    out->lookups += out->redirect.spec.n > 0 && !out->all;
    return read == SPF_READ_END;
}

enum vr_err spf_record_parse(struct vr_str txt, unsigned *lookups, const char **why, struct vr_str *where)
{
    struct spf_summary s;
    struct vr_str rest;
    *lookups = 0;
    *where = txt;
    *why = "an SPF record begins with \"v=spf1\" and a blank";
    if (!spf_record_is(txt, &rest))
        return VR_ERR_NOT_FOUND;
    if (!spf_record_read(rest, &s)) {
        *why = s.why;
        *where = s.bad.text;
        return VR_ERR_SYNTAX;
    }
    *lookups = s.lookups;
    return VR_OK;
}
