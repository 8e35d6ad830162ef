/* spf_macro.c - macros expanded: target names and explanations (RFC 7208 §7.2, §7.3, §4.8, §6.2; RFC 8616 §4).
 *
 * %{i} of an IPv6 address is in upper case, as the protocol's test suite has it; the DNS does not care.
 * Tests: tests/unit/spf_macro.c
 */
#include "spf_inside.h"

#include <string.h>

#define EXPANDED_MAX 16384 /* what is longer is no name and no explanation */
#define TARGET_MAX   253
#define LABEL_MAX    63
#define CLEAN_MAX    80

/* ---- texts ------------------------------------------------------------------------------------------------------------ */

struct vr_str spf_clean(struct vr_arena *arena, struct vr_str s)
{
    bool cut = s.n > CLEAN_MAX;
    struct vr_str out = vr_arena_dup(arena, vr_str_sub(s, 0, CLEAN_MAX));
    char *p = (char *)out.p;
    for (size_t i = 0; i < out.n; i++)
        if (p[i] < ' ' || p[i] >= 0x7f)
            p[i] = '?';
    return cut ? vr_arena_printf(arena, "%.*s...", VR_STR_ARG(out)) : out;
}

/* RFC 5952 §4: the longest run of zero groups, the first of equals, becomes "::". */
static struct vr_str ipv6_text(struct vr_arena *arena, const uint8_t ip[16])
{
    char text[48];
    size_t n = 0;
    int best = 8, best_n = 1;
    for (int i = 0; i < 8; i++) {
        int run = 0;
        while (i + run < 8 && ip[2 * (i + run)] == 0 && ip[2 * (i + run) + 1] == 0)
            run++;
        if (run > best_n) {
            best = i;
            best_n = run;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            text[n++] = ':';
            if (i == 0)
                text[n++] = ':';
            i += best_n - 1;
            continue;
        }
        unsigned group = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
        bool started = false;
        for (int shift = 12; shift >= 0; shift -= 4) {
            unsigned nibble = group >> shift & 15;
            started |= nibble != 0 || shift == 0;
            if (started)
                text[n++] = "0123456789abcdef"[nibble];
        }
        if (i < 7)
            text[n++] = ':';
    }
    return vr_arena_dup(arena, vr_str(text, n));
}

struct vr_str spf_address_text(struct vr_arena *arena, const struct dns_address *a)
{
    if (a->family == 4)
        return vr_arena_printf(arena, "%u.%u.%u.%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3]);
    return ipv6_text(arena, a->ip);
}

/* ---- names -------------------------------------------------------------------------------------------------------------- */

static struct vr_str without_dot(struct vr_str name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    return name;
}

/* A backslash is an escape in the presentation form of names, so it would ask for another name. */
bool spf_name_valid(struct vr_str name)
{
    size_t labels = 0;
    struct vr_str label;
    if (name.n > TARGET_MAX || name.n == 0 || name.p[name.n - 1] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < ' ' || name.p[i] >= 0x7f || name.p[i] == '\\')
            return false;
    while (vr_str_split(&name, '.', &label)) {
        if (label.n == 0 || label.n > LABEL_MAX)
            return false;
        labels++;
    }
    return labels > 1;
}

bool spf_is_below(struct vr_str name, struct vr_str domain)
{
    name = without_dot(name);
    domain = without_dot(domain);
    return vr_str_ends_nocase(name, domain) && domain.n > 0 &&
           (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

/* ---- values ------------------------------------------------------------------------------------------------------------- */

/* %{i}: of IPv6 each nibble is a part. */
static struct vr_str nibbles(struct vr_arena *arena, const uint8_t ip[16])
{
    char text[64];
    for (size_t i = 0; i < 32; i++) {
        text[2 * i] = "0123456789ABCDEF"[ip[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
        text[2 * i + 1] = '.';
    }
    return vr_arena_dup(arena, vr_str(text, sizeof text - 1));
}

/* %{p}: the domain itself before its subdomains before others; "unknown" where there is none. */
static enum spf_step client_name(struct spf_run *r, struct vr_str domain, struct vr_str *out)
{
    const struct vr_str *names;
    size_t count, best = 0;
    bool found;
    enum spf_step step = spf_client_names(r, &names, &count, &found);
    if (step == SPF_ASKED || step == SPF_NO_MEMORY)
        return step;
    *out = VR_STR("unknown");
    for (size_t i = 0; step == SPF_GOES_ON && i < count; i++) {
        size_t rank = !spf_is_below(names[i], domain) ? 1 : without_dot(names[i]).n > domain.n ? 2 : 3;
        if (rank > best) {
            best = rank;
            *out = without_dot(names[i]);
        }
    }
    return SPF_GOES_ON;
}

static enum spf_step value_of(struct spf_run *r, char letter, struct vr_str domain, struct vr_str *out)
{
    switch (letter) {
    case 's':
        *out = vr_arena_printf(r->arena, "%.*s@%.*s", VR_STR_ARG(r->local), VR_STR_ARG(r->domain));
        break;
    case 'l':
        *out = r->local;
        break;
    case 'o':
        *out = r->domain;
        break;
    case 'd':
        *out = domain;
        break;
    case 'i':
        *out = r->client.family == 4 ? r->client_text : nibbles(r->arena, r->client.ip);
        break;
    case 'p':
        return client_name(r, domain, out);
    case 'v':
        *out = r->client.family == 4 ? VR_STR("in-addr") : VR_STR("ip6");
        break;
    case 'h':
        *out = r->helo;
        return SPF_GOES_ON; /* may be empty */
    case 'c':
        *out = r->client_text;
        break;
    case 'r':
        *out = r->q->receiver.n > 0 ? r->q->receiver : VR_STR("unknown");
        break;
    default: /* t */
        *out = vr_arena_printf(r->arena, "%lld", (long long)r->q->now);
        break;
    }
    return out->p != NULL ? SPF_GOES_ON : SPF_NO_MEMORY;
}

/* ---- transformers --------------------------------------------------------------------------------------------------------- */

static void put(struct vr_buf *out, struct vr_str s, bool escape)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], lower = vr_lower(c);
        bool unreserved = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || /* RFC 3986 §2.3 */
                          vr_str_find(VR_STR("-._~"), c) != VR_NPOS;
        if (escape && !unreserved)
            vr_buf_addf(out, "%%%02X", (unsigned char)c);
        else
            vr_buf_add_byte(out, c);
    }
}

static size_t part_end(struct vr_str value, size_t from, struct vr_str delimiters)
{
    while (from < value.n && vr_str_find(delimiters, value.p[from]) == VR_NPOS)
        from++;
    return from;
}

/* Parts `from` to `to` - 1 of the value, joined by dots. */
static void put_forwards(struct vr_buf *out, struct vr_str value, struct vr_str delimiters, size_t from,
                         size_t to, bool escape)
{
    for (size_t i = 0, at = 0; i < to; i++) {
        size_t end = part_end(value, at, delimiters);
        if (i > from)
            vr_buf_add_byte(out, '.');
        if (i >= from)
            put(out, vr_str_sub(value, at, end - at), escape);
        at = end + 1;
    }
}

/* The first `count` parts, the last of them first. */
static void put_backwards(struct vr_buf *out, struct vr_str value, struct vr_str delimiters, size_t count,
                          bool escape)
{
    size_t end = part_end(value, 0, delimiters);
    for (size_t i = 1; i < count; i++)
        end = part_end(value, end + 1, delimiters);
    for (size_t i = 0; i < count; i++) {
        size_t at = end;
        while (at > 0 && vr_str_find(delimiters, value.p[at - 1]) == VR_NPOS)
            at--;
        if (i > 0)
            vr_buf_add_byte(out, '.');
        put(out, vr_str_sub(value, at, end - at), escape);
        end = at > 0 ? at - 1 : 0;
    }
}

/* Split, reversed, and of that the right-hand parts. */
static void put_parts(struct vr_buf *out, struct vr_str value, const struct spf_macro *m)
{
    struct vr_str delimiters = m->delimiters.n > 0 ? m->delimiters : VR_STR(".");
    size_t parts = 1;
    for (size_t at = part_end(value, 0, delimiters); at < value.n; at = part_end(value, at + 1, delimiters))
        parts++;
    size_t keep = m->parts == 0 || m->parts > parts ? parts : m->parts;
    if (m->reverse)
        put_backwards(out, value, delimiters, keep, m->escape);
    else
        put_forwards(out, value, delimiters, parts - keep, parts, m->escape);
}

/* ---- expansion -------------------------------------------------------------------------------------------------------------- */

static void put_escape(struct vr_buf *out, struct vr_str text)
{
    vr_buf_add(out, text.p[1] == '%' ? VR_STR("%") : text.p[1] == '_' ? VR_STR(" ") : VR_STR("%20"));
}

/* *usable: false for what breaks its grammar, and for the local part of an address beyond ASCII, which matches nothing (RFC 8616 §4). */
static enum spf_step expand(struct spf_run *r, struct vr_str text, struct vr_str domain, bool explanation,
                            struct vr_buf *out, bool *usable)
{
    struct spf_macro m;
    const char *why;
    *usable = true;
    while (spf_macro_next(&text, explanation, &m, &why)) {
        struct vr_str value = VR_STR("");
        if (m.kind == SPF_MACRO_LITERAL) {
            vr_buf_add(out, m.text);
            continue;
        }
        if (m.kind == SPF_MACRO_ESCAPE) {
            put_escape(out, m.text);
            continue;
        }
        enum spf_step step = value_of(r, m.letter, domain, &value);
        if (step != SPF_GOES_ON)
            return step;
        if (m.letter == 's' || m.letter == 'l') {
            r->out->local_part = true;
            *usable &= vr_str_is_ascii(r->local);
        }
        if (m.transformed)
            put_parts(out, value, &m);
        else
            put(out, value, m.escape);
    }
    *usable &= why == NULL && !out->too_big;
    return SPF_GOES_ON;
}

enum spf_step spf_target(struct spf_run *r, struct vr_str spec, struct vr_str domain, struct vr_str *out)
{
    struct vr_buf b;
    bool usable;
    *out = domain;
    if (spec.n == 0)
        return SPF_GOES_ON;
    vr_buf_init(&b, EXPANDED_MAX);
    enum spf_step step = expand(r, spec, domain, false, &b, &usable);
    *out = vr_str(NULL, 0);
    if (step == SPF_GOES_ON && usable) {
        struct vr_str name = without_dot(vr_buf_str(&b));
        while (name.n > TARGET_MAX) { /* §7.3: labels go from the left */
            size_t dot = vr_str_find(name, '.');
            name = vr_str_from_pos(name, dot == VR_NPOS ? name.n : dot + 1);
        }
        if (spf_name_valid(name)) {
            *out = vr_arena_dup(r->arena, name);
            if (out->n == 0)
                step = SPF_NO_MEMORY;
        }
    }
    vr_buf_fini(&b);
    return step;
}

enum spf_step spf_explain(struct spf_run *r, struct vr_str text, struct vr_str domain, struct vr_str *out)
{
    struct vr_buf b;
    bool usable;
    vr_buf_init(&b, SPF_EXPLANATION_MAX);
    enum spf_step step = expand(r, text, domain, true, &b, &usable);
    *out = vr_str(NULL, 0);
    struct vr_str said = vr_buf_str(&b);
    for (size_t i = 0; i < said.n; i++)
        usable &= said.p[i] >= ' ' && said.p[i] < 0x7f;
    if (step == SPF_GOES_ON && usable && said.n > 0) {
        *out = vr_arena_dup(r->arena, said);
        if (out->n == 0)
            step = SPF_NO_MEMORY;
    }
    vr_buf_fini(&b);
    return step;
}
