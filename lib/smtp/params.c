/* params.c - the parameters behind MAIL FROM:<…> and RCPT TO:<…> (RFC 5321 §4.1.1.11), one table row each.
 *
 * esmtp-param = esmtp-keyword ["=" esmtp-value]; a keyword may stand once.
 * Tests: tests/unit/smtp_params.c
 */
#include <veredus/message.h>
#include <veredus/smtp.h>

#define PARAMETERS_MAX 32
#define SOLICIT_MAX    1000 /* RFC 3865 §2.5 */

struct fault {
    uint16_t code;
    const char *enhanced;
    const char *why;
};

static const struct fault fine = {0};

static struct fault fault_501(const char *why)
{
    return (struct fault){501, "5.5.4", why};
}

struct target {
    struct vr_arena *arena;
    unsigned offered; /* enum smtp_extension */
    struct smtp_mail *mail;
    struct smtp_rcpt *rcpt;
};

static struct fault read_size(struct target *t, struct vr_str value)
{
    if (value.n > 20 || !vr_str_to_u64(value, &t->mail->size)) /* RFC 1870 §4: 1*20DIGIT */
        return fault_501("SIZE wants a number of octets: SIZE=12345");
    return fine;
}

static struct fault read_body(struct target *t, struct vr_str value)
{
    bool binary = t->offered & SMTP_EXT_BINARYMIME;
    if (vr_str_equal_nocase(value, VR_STR("7BIT")))
        t->mail->body = SMTP_BODY_7BIT;
    else if (vr_str_equal_nocase(value, VR_STR("8BITMIME")) && (t->offered & SMTP_EXT_8BITMIME))
        t->mail->body = SMTP_BODY_8BITMIME;
    else if (vr_str_equal_nocase(value, VR_STR("BINARYMIME")) && binary)
        t->mail->body = SMTP_BODY_BINARYMIME;
    else
        return fault_501(binary ? "BODY is 7BIT, 8BITMIME or BINARYMIME" : "BODY is 7BIT or 8BITMIME here");
    return fine;
}

static struct fault read_ret(struct target *t, struct vr_str value)
{
    if (vr_str_equal_nocase(value, VR_STR("FULL")))
        t->mail->ret = DSN_RET_FULL;
    else if (vr_str_equal_nocase(value, VR_STR("HDRS")))
        t->mail->ret = DSN_RET_HDRS;
    else
        return fault_501("RET is FULL or HDRS");
    return fine;
}

static struct fault keep(struct target *t, struct vr_str value, struct vr_str *out)
{
    *out = vr_arena_dup(t->arena, value);
    return out->n == value.n ? fine
                             : (struct fault){452, "4.5.3", "the parameters of this transaction are too big"};
}

static struct fault read_envid(struct target *t, struct vr_str value)
{
    if (dsn_envid_check(value) != VR_OK)
        return fault_501("ENVID wants at most 100 characters of xtext without control characters");
    return keep(t, value, &t->mail->envid);
}

/* RFC 4954 §5: "<>" or an address in xtext */
static struct fault read_auth(struct target *t, struct vr_str value)
{
    struct vr_buf plain;
    vr_buf_init(&plain, 512);
    bool good =
        value.n > 0 && (vr_str_equal(value, VR_STR("<>")) || dsn_xtext_decode(&plain, value) == VR_OK);
    vr_buf_fini(&plain);
    return good ? keep(t, value, &t->mail->auth) : fault_501("AUTH wants <> or an address in xtext");
}

/* RFC 6710 §7: "0", or a digit from 1 on with or without a minus. */
static struct fault read_priority(struct target *t, struct vr_str value)
{
    bool minus = value.p[0] == '-';
    if (value.n != 1u + minus || value.p[minus] < (minus ? '1' : '0') || value.p[minus] > '9')
        return fault_501("MT-PRIORITY is a number from -9 to 9");
    t->mail->priority = (int8_t)(minus ? '0' - value.p[1] : value.p[0] - '0');
    t->mail->has_priority = true;
    return fine;
}

/* RFC 3865 §2.6, §2.5: words separated by commas, no blanks; word = ALPHA *("." / "-" / "_" / ":" / ALPHA / DIGIT) */
static struct fault read_solicit(struct target *t, struct vr_str value)
{
    bool good = value.n < SOLICIT_MAX, begins = true;
    for (size_t i = 0; i < value.n && good; i++) {
        char c = vr_lower(value.p[i]);
        bool letter = c >= 'a' && c <= 'z';
        bool inner = (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':' || c == ',';
        good = letter || (inner && !begins);
        begins = c == ',';
    }
    if (!good || begins)
        return fault_501("SOLICIT wants keywords such as org.example:ADV, separated by commas");
    return keep(t, value, &t->mail->solicit);
}

/* RFC 4865 §4.1: 1 to 999999999 seconds. Either of the two may stand, not both (§4.2). */
static struct fault read_hold_for(struct target *t, struct vr_str value)
{
    uint64_t n;
    if (t->mail->hold_until != 0)
        return fault_501("HOLDFOR and HOLDUNTIL do not go together");
    if (value.n > 9 || value.p[0] == '0' || !vr_str_to_u64(value, &n))
        return fault_501("HOLDFOR wants a number of seconds from 1 to 999999999");
    t->mail->hold_for = (uint32_t)n;
    return fine;
}

static struct fault read_hold_until(struct target *t, struct vr_str value)
{
    if (t->mail->hold_for != 0)
        return fault_501("HOLDFOR and HOLDUNTIL do not go together");
    if (message_rfc3339_parse(value, &t->mail->hold_until) != VR_OK || t->mail->hold_until <= 0)
        return fault_501("HOLDUNTIL wants a time such as 2026-12-31T08:00:00Z");
    return fine;
}

/* RFC 2852 §4: by-time ";" by-mode [by-trace]; with R the time must be positive. */
static struct fault read_by(struct target *t, struct vr_str value)
{
    static const char *const wrong = "BY wants seconds and a mode, such as BY=3600;R or BY=600;NT";
    size_t semicolon = vr_str_find(value, ';');
    struct vr_str time = vr_str_sub(value, 0, semicolon), mode = vr_str_from_pos(value, semicolon + 1);
    bool minus = time.n > 0 && time.p[0] == '-', sign = minus || (time.n > 0 && time.p[0] == '+');
    uint64_t n;
    time = vr_str_from_pos(time, sign);
    if (semicolon == VR_NPOS || time.n == 0 || time.n > 9 || !vr_str_to_u64(time, &n) || mode.n == 0)
        return fault_501(wrong);
    char letter = vr_lower(mode.p[0]);
    bool trace = mode.n == 2 && vr_lower(mode.p[1]) == 't';
    if ((letter != 'r' && letter != 'n') || mode.n != 1u + trace)
        return fault_501(wrong);
    if (letter == 'r' && (minus || n == 0))
        return fault_501("BY with the mode R wants a time above 0");
    t->mail->by = letter == 'r' ? SMTP_BY_RETURN : SMTP_BY_NOTIFY;
    t->mail->by_seconds = minus ? -(int32_t)n : (int32_t)n;
    t->mail->by_trace = trace;
    return fine;
}

static struct fault read_utf8(struct target *t, struct vr_str value)
{
    (void)value;
    t->mail->utf8 = true;
    return fine;
}

static struct fault read_require_tls(struct target *t, struct vr_str value)
{
    (void)value;
    t->mail->require_tls = true;
    return fine;
}

static struct fault read_notify(struct target *t, struct vr_str value)
{
    if (dsn_notify_parse(value, &t->rcpt->notify) != VR_OK)
        return fault_501("NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY, each once");
    return fine;
}

static struct fault read_orcpt(struct target *t, struct vr_str value)
{
    if (dsn_orcpt_check(value, (t->offered & SMTP_EXT_SMTPUTF8) != 0) != VR_OK)
        return fault_501(
            "ORCPT wants type;address, in xtext without control characters, 500 octets at the most");
    return keep(t, value, &t->rcpt->orcpt);
}

/* RFC 7293 §3.1: date-time [";" ("C" / "R")]; R where none is named (§5.1) */
static struct fault read_rrvs(struct target *t, struct vr_str value)
{
    size_t semicolon = vr_str_find(value, ';');
    struct vr_str time = vr_str_sub(value, 0, semicolon);
    struct vr_str action = semicolon == VR_NPOS ? VR_STR("R") : vr_str_from_pos(value, semicolon + 1);
    char letter = action.n == 1 ? vr_lower(action.p[0]) : '\0';
    bool whole = vr_str_find(time, '.') == VR_NPOS; /* no fractions of seconds, §3.1 */
    if (!whole || message_rfc3339_parse(time, &t->rcpt->valid_since) != VR_OK ||
        (letter != 'c' && letter != 'r'))
        return fault_501("RRVS wants a time such as 2026-04-03T23:01:00Z, and may end in ;C or ;R");
    t->rcpt->rrvs = letter == 'c' ? SMTP_RRVS_CONTINUE : SMTP_RRVS_REJECT;
    return fine;
}

/* Which extension a parameter belongs to stands in smtp_extensions[]. */
static const struct parameter {
    const char *keyword;
    struct fault (*read)(struct target *t, struct vr_str value);
    bool mail;  /* of MAIL; else of RCPT */
    bool alone; /* without a value */
} parameters[] = {
    {"SIZE", read_size, true, false},
    {"BODY", read_body, true, false},
    {"RET", read_ret, true, false},
    {"ENVID", read_envid, true, false},
    {"AUTH", read_auth, true, false},
    {"MT-PRIORITY", read_priority, true, false},
    {"SMTPUTF8", read_utf8, true, true},
    {"BY", read_by, true, false},
    {"HOLDFOR", read_hold_for, true, false},
    {"HOLDUNTIL", read_hold_until, true, false},
    {"REQUIRETLS", read_require_tls, true, true},
    {"SOLICIT", read_solicit, true, false},
    {"NOTIFY", read_notify, false, false},
    {"ORCPT", read_orcpt, false, false},
    {"RRVS", read_rrvs, false, false},
};

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static bool is_listed(const char *list, struct vr_str keyword)
{
    struct vr_str rest = vr_str_from(list), one;
    while (vr_str_split(&rest, ' ', &one))
        if (vr_str_equal_nocase(one, keyword))
            return true;
    return false;
}

/* Is it a parameter of something that is offered? */
static bool is_offered(unsigned offered, bool mail, struct vr_str keyword)
{
    for (size_t i = 0; i < smtp_extension_count; i++) {
        const struct smtp_extension_row *row = &smtp_extensions[i];
        if ((row->bit & offered) && is_listed(mail ? row->mail_parameters : row->rcpt_parameters, keyword))
            return true;
    }
    return false;
}

/* esmtp-value; with RFC 6531 §3.3 also UTF-8, of which each reader takes what its own grammar has. */
static bool value_valid(struct vr_str v, bool utf8)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if (c <= ' ' || c == 0x7f || (c >= 0x80 && !utf8))
            return false;
    }
    return vr_utf8_valid(v);
}

static struct fault read_one(struct target *t, struct vr_str text, unsigned *seen)
{
    size_t equals = vr_str_find(text, '=');
    struct vr_str keyword = vr_str_sub(text, 0, equals);
    struct vr_str value = equals == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(text, equals + 1);
    bool utf8 = t->rcpt != NULL && (t->offered & SMTP_EXT_SMTPUTF8);
    if (keyword.n == 0 || !value_valid(keyword, false) || !value_valid(value, utf8))
        return fault_501("parameters are of the form KEYWORD=value");
    for (unsigned i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        const struct parameter *p = &parameters[i];
        if (p->mail != (t->mail != NULL) || !vr_str_equal_nocase(keyword, vr_str_from(p->keyword)))
            continue;
        if (!is_offered(t->offered, p->mail, keyword))
            break;
        if (*seen & 1u << i)
            return fault_501("a parameter stands twice");
        *seen |= 1u << i;
        if (p->alone && equals != VR_NPOS)
            return fault_501("this parameter takes no value");
        if (!p->alone && value.n == 0)
            return fault_501("this parameter wants a value");
        return p->read(t, value);
    }
    return (struct fault){555, "5.5.4", "this parameter is not known here; see the EHLO reply"};
}

static enum vr_err read_all(struct target *t, struct vr_str text, uint16_t *code, const char **enhanced,
                            const char **why)
{
    unsigned seen = 0;
    struct vr_str part;
    struct fault f = fine;
    for (unsigned count = 0; f.code == 0 && vr_str_split(&text, ' ', &part);) {
        if (part.n == 0)
            continue; /* blanks in a row, or at the end: tolerated */
        if (++count > PARAMETERS_MAX)
            f = fault_501("too many parameters");
        else
            f = read_one(t, part, &seen);
    }
    *code = f.code;
    *enhanced = f.enhanced;
    *why = f.why;
    return f.code == 0 ? VR_OK : VR_ERR_SYNTAX;
}

enum vr_err smtp_mail_params(struct vr_arena *arena, struct vr_str params, unsigned offered,
                             struct smtp_mail *out, uint16_t *code, const char **enhanced, const char **why)
{
    struct target t = {.arena = arena, .offered = offered, .mail = out};
    return read_all(&t, params, code, enhanced, why);
}

enum vr_err smtp_rcpt_params(struct vr_arena *arena, struct vr_str params, unsigned offered,
                             struct smtp_rcpt *out, uint16_t *code, const char **enhanced, const char **why)
{
    struct target t = {.arena = arena, .offered = offered, .rcpt = out};
    return read_all(&t, params, code, enhanced, why);
}
