/* dmarc_record.c - DMARC policy records (RFC 9989 §4.7, §4.8; RFC 7489 §6.3) and the URIs in them.
 *
 * Lenient where the RFC wants it: only "v=DMARC1" in front makes a record, and what is wrong behind that is ignored tag by tag, so that a
 * typing error in fo= does not undo a policy. Of a tag that is given twice the first counts.
 *
 * Tests: tests/unit/dmarc.c
 */
#include "dmarc_inside.h"

#include <veredus/address.h>

#define PCT_DEFAULT      100
#define INTERVAL_DEFAULT 86400

static const char *const policies[] = {"none", "quarantine", "reject"};

const char *dmarc_policy_name(enum dmarc_policy p)
{
    return policies[p];
}

struct reading {
    struct vr_arena *arena;
    struct dmarc_record *out;
    bool given[16]; /* rows of tags[] that were seen */
    bool p_bad, too_big;
};

static void fault(struct reading *r, const char *what)
{
    if (r->out->fault == NULL)
        r->out->fault = what;
}

/* ---- values --------------------------------------------------------------------------------------------------------- */

static bool word(struct vr_str value, const char *w)
{
    return vr_str_equal_nocase(value, vr_str_from(w));
}

static bool read_policy(struct reading *r, struct vr_str value, enum dmarc_policy *out, bool *given)
{
    for (int i = DMARC_POLICY_NONE; i <= DMARC_POLICY_REJECT; i++)
        if (word(value, policies[i])) {
            *out = (enum dmarc_policy)i;
            return *given = true;
        }
    r->p_bad = true; /* §4.10.1 */
    return false;
}

static bool read_p(struct reading *r, struct vr_str value)
{
    return read_policy(r, value, &r->out->p, &r->out->p_given);
}

static bool read_sp(struct reading *r, struct vr_str value)
{
    return read_policy(r, value, &r->out->sp, &r->out->sp_given);
}

static bool read_np(struct reading *r, struct vr_str value)
{
    return read_policy(r, value, &r->out->np, &r->out->np_given);
}

static bool read_choice(struct vr_str value, const char *yes, const char *no, bool *out)
{
    *out = word(value, yes);
    return *out || word(value, no);
}

static bool read_adkim(struct reading *r, struct vr_str value)
{
    return read_choice(value, "s", "r", &r->out->adkim_strict);
}

static bool read_aspf(struct reading *r, struct vr_str value)
{
    return read_choice(value, "s", "r", &r->out->aspf_strict);
}

static bool read_t(struct reading *r, struct vr_str value)
{
    return read_choice(value, "y", "n", &r->out->testing);
}

static bool read_psd(struct reading *r, struct vr_str value)
{
    if (!word(value, "y") && !word(value, "n") && !word(value, "u"))
        return false;
    r->out->psd = vr_lower(value.p[0]);
    return true;
}

static bool read_pct(struct reading *r, struct vr_str value)
{
    uint64_t n;
    if (!vr_str_to_u64(value, &n) || n > 100)
        return false;
    r->out->pct = (unsigned)n;
    return true;
}

static bool read_ri(struct reading *r, struct vr_str value)
{
    uint64_t n;
    if (!vr_str_to_u64(value, &n) || n > UINT32_MAX)
        return false;
    r->out->interval = n;
    return true;
}

static bool read_fo(struct reading *r, struct vr_str value)
{
    static const struct {
        char letter;
        unsigned bit;
    } options[] = {{'0', DMARC_FO_ALL}, {'1', DMARC_FO_ANY}, {'d', DMARC_FO_DKIM}, {'s', DMARC_FO_SPF}};
    unsigned fo = 0;
    struct vr_str part;
    while (vr_str_split(&value, ':', &part)) {
        size_t i = 0;
        part = vr_str_trim(part);
        while (i < 4 && !(part.n == 1 && vr_lower(part.p[0]) == options[i].letter))
            i++;
        if (i == 4)
            return false;
        fo |= options[i].bit;
    }
    if (fo == 0 || (fo & (DMARC_FO_ALL | DMARC_FO_ANY)) == (DMARC_FO_ALL | DMARC_FO_ANY))
        return false;
    r->out->fo = fo;
    return true;
}

/* ---- URIs ------------------------------------------------------------------------------------------------------------- */

/* scheme ":" and something behind it, of characters that a URI may have (RFC 3986 §2, §3.1). */
static bool is_uri(struct vr_str uri)
{
    size_t colon = vr_str_find(uri, ':');
    if (colon == VR_NPOS || colon == 0 || colon + 1 == uri.n)
        return false;
    for (size_t i = 0; i < colon; i++) {
        char c = vr_lower(uri.p[i]);
        bool letter = c >= 'a' && c <= 'z';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return false;
    }
    for (size_t i = 0; i < uri.n; i++)
        if (uri.p[i] <= ' ' || uri.p[i] == 0x7f || uri.p[i] == '"' || uri.p[i] == '<' || uri.p[i] == '>')
            return false;
    return true;
}

/* "10m" → octets (RFC 7489 §6.2). */
static bool read_size(struct vr_str text, uint64_t *out)
{
    static const char units[] = "kmgt";
    unsigned shift = 0;
    for (size_t i = 0; text.n > 0 && i < 4; i++)
        if (vr_lower(text.p[text.n - 1]) == units[i])
            shift = 10 * (unsigned)(i + 1);
    if (shift > 0)
        text.n--;
    if (!vr_str_to_u64(text, out) || *out > UINT64_MAX >> shift)
        return false;
    *out <<= shift;
    return true;
}

static bool read_uris(struct reading *r, struct vr_str value, const struct dmarc_uri **out, size_t *count)
{
    struct dmarc_uri *all = vr_arena_alloc(r->arena, DMARC_URIS_MAX * sizeof *all);
    struct vr_str part;
    bool good = true;
    if (all == NULL) {
        r->too_big = true;
        return true;
    }
    *out = all;
    while (vr_str_split(&value, ',', &part)) {
        struct dmarc_uri uri = {.uri = vr_str_trim(part)};
        size_t mark = vr_str_find_last(uri.uri, '!');
        if (mark != VR_NPOS && read_size(vr_str_from_pos(uri.uri, mark + 1), &uri.max_octets))
            uri.uri.n = mark;
        if (!is_uri(uri.uri) || *count == DMARC_URIS_MAX)
            good = false;
        else
            all[(*count)++] = uri;
    }
    return good && *count > 0;
}

static bool read_rua(struct reading *r, struct vr_str value)
{
    return read_uris(r, value, &r->out->rua, &r->out->rua_count);
}

static bool read_ruf(struct reading *r, struct vr_str value)
{
    return read_uris(r, value, &r->out->ruf, &r->out->ruf_count);
}

/* ---- tags --------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool (*read)(struct reading *r, struct vr_str value);
    const char *fault;
} tags[] = {
    {"p", read_p, "p= is none of none, quarantine, reject"},
    {"sp", read_sp, "sp= is none of none, quarantine, reject"},
    {"np", read_np, "np= is none of none, quarantine, reject"},
    {"adkim", read_adkim, "adkim= is neither r nor s"},
    {"aspf", read_aspf, "aspf= is neither r nor s"},
    {"psd", read_psd, "psd= is none of y, n, u"},
    {"t", read_t, "t= is neither y nor n"},
    {"pct", read_pct, "pct= is no number from 0 to 100"},
    {"fo", read_fo, "fo= is no list of 0 or 1, d, s"},
    {"ri", read_ri, "ri= is no number of seconds"},
    {"rua", read_rua, "rua= has something that is no URI, or more than 16"},
    {"ruf", read_ruf, "ruf= has something that is no URI, or more than 16"},
};

static bool is_name(struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = vr_lower(name.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(i > 0 && ((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return name.n > 0;
}

static void read_tag(struct reading *r, struct vr_str spec)
{
    size_t equals = vr_str_find(spec, '=');
    struct vr_str name = vr_str_trim(vr_str_sub(spec, 0, equals)),
                  value = equals == VR_NPOS ? name : vr_str_trim(vr_str_from_pos(spec, equals + 1));
    if (equals == VR_NPOS || !is_name(name)) {
        fault(r, "a part of the record is no tag=value");
        return;
    }
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (vr_str_equal(name, vr_str_from(tags[i].name))) {
            if (r->given[i])
                fault(r, "a tag is given twice; the first counts");
            else if (!tags[i].read(r, value))
                fault(r, tags[i].fault);
            r->given[i] = true;
            return;
        }
}

static bool is_version(struct vr_str spec)
{
    size_t equals = vr_str_find(spec, '=');
    return equals != VR_NPOS && word(vr_str_trim(vr_str_sub(spec, 0, equals)), "v") &&
           vr_str_equal(vr_str_trim(vr_str_from_pos(spec, equals + 1)), VR_STR("DMARC1"));
}

/* What the record counts as (§4.7, §4.10.1). */
static void conclude(struct reading *r)
{
    struct dmarc_record *out = r->out;
    if (!out->p_given && !r->p_bad)
        fault(r, "there is no p=");
    if (!out->p_given || r->p_bad)
        out->p = out->sp = out->np = DMARC_POLICY_NONE;
    else {
        out->sp = out->sp_given ? out->sp : out->p;
        out->np = out->np_given ? out->np : out->sp;
    }
    out->usable = (out->p_given && !r->p_bad) || out->rua_count > 0;
}

enum vr_err dmarc_record_parse(struct vr_arena *arena, struct vr_str txt, struct dmarc_record *out)
{
    struct reading r = {.arena = arena, .out = out};
    struct vr_str rest = txt, spec;
    *out = (struct dmarc_record){
        .psd = 'u', .pct = PCT_DEFAULT, .fo = DMARC_FO_ALL, .interval = INTERVAL_DEFAULT, .text = txt};
    if (!vr_str_split(&rest, ';', &spec) || !is_version(spec))
        return VR_ERR_SYNTAX;
    if (txt.n > DMARC_RECORD_MAX)
        return VR_ERR_TOO_BIG;
    while (vr_str_split(&rest, ';', &spec))
        if (vr_str_trim(spec).n > 0 || rest.n > 0)
            read_tag(&r, spec);
    conclude(&r);
    return r.too_big ? VR_ERR_TOO_BIG : VR_OK;
}

/* ---- mailto ---------------------------------------------------------------------------------------------------------------- */

static int hex(char c)
{
    c = vr_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-encoding undone. False: a "%" without two digits behind it. */
static bool decode(char *text, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 2 < *n ? hex(text[i + 1]) : -1, low = i + 2 < *n ? hex(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        text[kept++] = c;
    }
    *n = kept;
    return true;
}

enum vr_err dmarc_mailto(struct vr_arena *arena, struct vr_str uri, struct vr_str *address)
{
    static const char scheme[] = "mailto:";
    struct address parsed;
    const char *why;
    if (!vr_str_starts_nocase(uri, VR_STR(scheme)))
        return VR_ERR_UNSUPPORTED;
    uri = vr_str_from_pos(uri, sizeof scheme - 1);
    struct vr_str copy = vr_arena_dup(arena, vr_str_sub(uri, 0, vr_str_find(uri, '?')));
    if (copy.n == 0)
        return uri.n == 0 || uri.p[0] == '?' ? VR_ERR_SYNTAX : VR_ERR_TOO_BIG;
    if (!decode((char *)copy.p, &copy.n))
        return VR_ERR_SYNTAX;
    enum vr_err e = address_parse(arena, copy, ADDRESS_ALLOW_UTF8, &parsed, &why);
    if (e != VR_OK)
        return VR_ERR_SYNTAX;
    *address = address_text(arena, &parsed);
    return address->n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}
