/* params.c - the parameters behind MAIL FROM:<…> and RCPT TO:<…> (RFC 5321 §4.1.1.11), one table row each.
 *
 * esmtp-param = esmtp-keyword ["=" esmtp-value]; a keyword may stand once.
 * Tests: tests/unit/smtp_params.c
 */
#include <veredus/smtp.h>

#define PARAMETERS_MAX 16

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
    if (vr_str_equal_nocase(value, VR_STR("7BIT")))
        t->mail->body = SMTP_BODY_7BIT;
    else if (vr_str_equal_nocase(value, VR_STR("8BITMIME")))
        t->mail->body = SMTP_BODY_8BITMIME;
    else
        return fault_501("BODY is 7BIT or 8BITMIME here");
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

static struct fault read_notify(struct target *t, struct vr_str value)
{
    if (dsn_notify_parse(value, &t->rcpt->notify) != VR_OK)
        return fault_501("NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY, each once");
    return fine;
}

static struct fault read_orcpt(struct target *t, struct vr_str value)
{
    if (dsn_orcpt_check(value) != VR_OK)
        return fault_501(
            "ORCPT wants type;address, in xtext without control characters, 500 octets at the most");
    return keep(t, value, &t->rcpt->orcpt);
}

struct parameter {
    const char *keyword;
    struct fault (*read)(struct target *t, struct vr_str value);
};
static const struct parameter mail_parameters[] = {{"SIZE", read_size}, {"BODY", read_body},
                                                   {"RET", read_ret},   {"ENVID", read_envid},
                                                   {"AUTH", read_auth}, {"MT-PRIORITY", read_priority},
                                                   {NULL, NULL}};
static const struct parameter rcpt_parameters[] = {
    {"NOTIFY", read_notify}, {"ORCPT", read_orcpt}, {NULL, NULL}};

static bool value_valid(struct vr_str v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] <= ' ' || v.p[i] > '~')
            return false;
    return true;
}

static struct fault read_one(struct target *t, const struct parameter *table, struct vr_str text,
                             unsigned *seen)
{
    size_t equals = vr_str_find(text, '=');
    struct vr_str keyword = vr_str_sub(text, 0, equals);
    struct vr_str value = equals == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(text, equals + 1);
    if (keyword.n == 0 || !value_valid(text))
        return fault_501("parameters are of the form KEYWORD=value");
    for (unsigned i = 0; table[i].keyword != NULL; i++) {
        if (!vr_str_equal_nocase(keyword, vr_str_from(table[i].keyword)))
            continue;
        if (*seen & 1u << i)
            return fault_501("a parameter stands twice");
        *seen |= 1u << i;
        if (value.n == 0)
            return fault_501("this parameter wants a value");
        return table[i].read(t, value);
    }
    return (struct fault){555, "5.5.4", "this parameter is not known here; see the EHLO reply"};
}

static enum vr_err read_all(struct target *t, const struct parameter *table, struct vr_str text,
                            struct fault *f)
{
    unsigned seen = 0;
    struct vr_str part;
    *f = fine;
    for (unsigned count = 0; f->code == 0 && vr_str_split(&text, ' ', &part);) {
        if (part.n == 0)
            continue; /* blanks in a row, or at the end: tolerated */
        if (++count > PARAMETERS_MAX)
            *f = fault_501("too many parameters");
        else
            *f = read_one(t, table, part, &seen);
    }
    return f->code == 0 ? VR_OK : VR_ERR_SYNTAX;
}

enum vr_err smtp_mail_params(struct vr_arena *arena, struct vr_str params, struct smtp_mail *out,
                             uint16_t *code, const char **enhanced, const char **why)
{
    struct target t = {.arena = arena, .mail = out};
    struct fault f;
    enum vr_err e = read_all(&t, mail_parameters, params, &f);
    *code = f.code;
    *enhanced = f.enhanced;
    *why = f.why;
    return e;
}

enum vr_err smtp_rcpt_params(struct vr_arena *arena, struct vr_str params, struct smtp_rcpt *out,
                             uint16_t *code, const char **enhanced, const char **why)
{
    struct target t = {.arena = arena, .rcpt = out};
    struct fault f;
    enum vr_err e = read_all(&t, rcpt_parameters, params, &f);
    *code = f.code;
    *enhanced = f.enhanced;
    *why = f.why;
    return e;
}
