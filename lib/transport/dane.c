/* dane.c - see dane.h. From a host and what the DNS said to what a session with it must show.
 *
 * Steps:   addresses -> are they vouched for? -> candidates for the TLSA base domain -> TLSA records -> usable ones -> names.
 * Source:  RFC 7672 §2.1.2, §2.2.2, §2.2.3, §3; RFC 6698 §2.1
 * Tests:   tests/unit/dane.c, tests/fuzz/fuzz_dane.c
 */
#include <veredus/dane.h>

#include <stdio.h>
#include <string.h>

#define QUESTIONS_MAX 3
#define NAME_MAX_TEXT 253

/* ---- records ----------------------------------------------------------------------------------------------------------- */

enum vr_err dane_record_parse(struct vr_str rdata, struct dane_record *out)
{
    *out = (struct dane_record){0};
    if (rdata.n < 4)
        return VR_ERR_SYNTAX;
    out->usage = (uint8_t)rdata.p[0];
    out->selector = (uint8_t)rdata.p[1];
    out->matching = (uint8_t)rdata.p[2];
    out->data = vr_str_from_pos(rdata, 3);
    return VR_OK;
}

/* A certificate and a public key are a SEQUENCE of that length in DER (X.690 §8.1); whether it is one of them, TLS finds out. */
static bool is_der_sequence(struct vr_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    if (s.n < 2 || p[0] != 0x30)
        return false;
    size_t length = p[1], header = 2;
    if (length >= 0x80) {
        size_t bytes = length & 0x7f;
        if (bytes == 0 || bytes > 3 || s.n < 2 + bytes)
            return false;
        for (length = 0; header < 2 + bytes; header++)
            length = length << 8 | p[header];
    }
    return length == s.n - header;
}

bool dane_record_usable(const struct dane_record *r)
{
    if (r->usage != DANE_TA && r->usage != DANE_EE)
        return false;
    if (r->selector > DANE_PUBLIC_KEY)
        return false;
    return r->matching == DANE_FULL     ? is_der_sequence(r->data)
           : r->matching == DANE_SHA256 ? r->data.n == 32
           : r->matching == DANE_SHA512 ? r->data.n == 64
                                        : false;
}

void dane_record_text(struct vr_str rdata, char out[DANE_RECORD_TEXT])
{
    struct dane_record r;
    if (dane_record_parse(rdata, &r) != VR_OK) {
        snprintf(out, DANE_RECORD_TEXT, "malformed");
        return;
    }
    int n = snprintf(out, DANE_RECORD_TEXT, "%u %u %u ", r.usage, r.selector, r.matching);
    for (size_t i = 0; i < r.data.n && i < 4; i++)
        n += snprintf(out + n, DANE_RECORD_TEXT - (size_t)n, "%02x", (unsigned)(unsigned char)r.data.p[i]);
    if (r.data.n > 4)
        snprintf(out + n, DANE_RECORD_TEXT - (size_t)n, "...");
}

/* ---- what is known ------------------------------------------------------------------------------------------------------ */

static struct vr_str without_dot(struct vr_str name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    return name;
}

struct selection {
    const struct dane_query *q;
    struct vr_str host; /* without a trailing dot */
    struct vr_arena *arena;
    struct dane_result *out;
    struct dns_question *questions;
    bool too_big;
};

static const struct dns_answer *known_or_ask(struct selection *s, struct vr_str name, enum dns_type type)
{
    const struct dns_answer *a = dns_answer_find(s->q->answers, s->q->answer_count, name, type);
    if (a == NULL)
        s->questions[s->out->question_count++] = (struct dns_question){name, type};
    return a;
}

static void verdict(struct selection *s, enum dane_verdict v, struct vr_str text)
{
    s->out->verdict = v;
    s->out->text = text;
    s->too_big |= text.n == 0 && v != DANE_ENCRYPT && v != DANE_VERIFY;
}

static void failed(struct selection *s, const struct dns_answer *a, const char *what)
{
    verdict(s, DANE_LATER,
            vr_arena_printf(s->arena,
                            "the DNS does not answer for the %s records of %.*s now (%.*s), so it is not "
                            "known how the host %.*s is to be verified",
                            what, VR_STR_ARG(a->name),
                            VR_STR_ARG(a->why.n > 0 ? a->why : VR_STR("no answer")), VR_STR_ARG(s->host)));
}

static void nothing(struct selection *s, const char *why)
{
    verdict(s, DANE_NOTHING, vr_str_from(why));
}

static bool is_other(struct vr_str canonical, struct vr_str name)
{
    return canonical.n > 0 && !vr_str_equal_nocase(without_dot(canonical), without_dot(name));
}

/* ---- the base domain ---------------------------------------------------------------------------------------------------- */

static bool has_records(const struct dns_answer *a)
{
    return a != NULL && a->status == DNS_STATUS_OK && a->count > 0;
}

/* The candidates for the base domain, the best first (§2.2.2). 0: the verdict, or a question, is there. */
static size_t candidates(struct selection *s, struct vr_str out[2])
{
    const struct dane_query *q = s->q;
    const struct dns_answer *a = q->no_ipv4 ? NULL : known_or_ask(s, s->host, DNS_TYPE_A);
    const struct dns_answer *aaaa = q->no_ipv6 ? NULL : known_or_ask(s, s->host, DNS_TYPE_AAAA);
    if (s->out->question_count > 0)
        return 0;
    const struct dns_answer *first = has_records(aaaa) ? aaaa : a;
    if (!has_records(first)) {
        const struct dns_answer *bad = a != NULL && a->status == DNS_STATUS_FAILED ? a : aaaa;
        if (bad != NULL && bad->status == DNS_STATUS_FAILED)
            failed(s, bad, "address");
        else
            verdict(
                s, DANE_LATER,
                vr_arena_printf(s->arena, "the host %.*s has no address in the DNS", VR_STR_ARG(s->host)));
        return 0;
    }
    bool secure = (has_records(a) && a->secure) || (has_records(aaaa) && aaaa->secure);
    out[0] = s->host;
    if (!is_other(first->canonical, s->host)) {
        if (!secure)
            nothing(s, "DNSSEC does not vouch for its addresses");
        return secure ? 1 : 0;
    }
    if (secure) {
        out[0] = without_dot(first->canonical);
        out[1] = s->host;
        return 2;
    }
    const struct dns_answer *alias = known_or_ask(s, s->host, DNS_TYPE_CNAME);
    if (alias == NULL)
        return 0;
    if (alias->status == DNS_STATUS_FAILED)
        failed(s, alias, "CNAME");
    else if (!alias->secure)
        nothing(s, "DNSSEC vouches neither for its addresses nor for its alias");
    return alias->status != DNS_STATUS_FAILED && alias->secure ? 1 : 0;
}

/* ---- what the records want ------------------------------------------------------------------------------------------------- */

static void use_records(struct selection *s, const struct dns_answer *a, struct vr_str base)
{
    struct vr_str *records = vr_arena_alloc(s->arena, DANE_RECORDS_MAX * sizeof *records);
    struct dane_record r;
    if (records == NULL) {
        s->too_big = true;
        return;
    }
    for (size_t i = 0; i < a->count && s->out->record_count < DANE_RECORDS_MAX; i++)
        if (dane_record_parse(a->records[i].data, &r) == VR_OK && dane_record_usable(&r))
            records[s->out->record_count++] = a->records[i].data;
    s->out->records = records;
    s->out->base = base;
    verdict(s, s->out->record_count > 0 ? DANE_VERIFY : DANE_ENCRYPT, vr_str(NULL, 0));
}

static void add_name(struct dane_result *out, struct vr_str *names, struct vr_str name)
{
    name = without_dot(name);
    for (size_t i = 0; i < out->name_count; i++)
        if (vr_str_equal_nocase(names[i], name))
            return;
    if (name.n > 0)
        names[out->name_count++] = name;
}

/* §3.2.2. Without MX records the host is the next hop's domain itself. */
static void use_names(struct selection *s)
{
    const struct dane_query *q = s->q;
    struct vr_str *names = vr_arena_alloc(s->arena, DANE_NAMES_MAX * sizeof *names);
    if (names == NULL) {
        s->too_big = true;
        return;
    }
    s->out->names_secure = !q->by_mx || q->mx_secure;
    add_name(s->out, names, s->out->base);
    if (!q->by_mx) {
        add_name(s->out, names, s->host);
    } else if (q->mx_secure) {
        add_name(s->out, names, q->domain);
        add_name(s->out, names, q->domain_canonical);
    }
    s->out->names = names;
}

enum vr_err dane_select(const struct dane_query *q, struct vr_arena *arena, struct dane_result *out)
{
    *out = (struct dane_result){.verdict = DANE_ASK};
    struct selection s = {.q = q, .arena = arena, .out = out};
    struct vr_str bases[2];
    s.host = without_dot(q->host);
    s.questions = vr_arena_alloc(arena, QUESTIONS_MAX * sizeof *s.questions);
    if (s.questions == NULL)
        return VR_ERR_TOO_BIG;
    out->questions = s.questions;
    size_t count = candidates(&s, bases);
    for (size_t i = 0; i < count; i++) {
        struct vr_str name = vr_arena_printf(arena, "_%u._tcp.%.*s", (unsigned)q->port, VR_STR_ARG(bases[i]));
        if (name.n == 0)
            return VR_ERR_TOO_BIG;
        if (name.n > NAME_MAX_TEXT)
            continue; /* no such name can be */
        const struct dns_answer *a = known_or_ask(&s, name, DNS_TYPE_TLSA);
        if (a == NULL)
            break; /* the next candidate only when this one has none */
        if (a->status == DNS_STATUS_FAILED)
            failed(&s, a, "TLSA");
        else if (has_records(a) && a->secure)
            use_records(&s, a, bases[i]);
        if (out->verdict != DANE_ASK)
            break;
    }
    if (out->verdict == DANE_ASK && out->question_count == 0)
        nothing(&s, "it has no TLSA records that DNSSEC vouches for");
    if (out->verdict == DANE_VERIFY)
        use_names(&s);
    return s.too_big ? VR_ERR_TOO_BIG : VR_OK;
}
