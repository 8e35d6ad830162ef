/* mtasts.c - see mtasts.h: the TXT record, the policy's file, and whether a pattern fits. What holds now is in mtasts_decide.c.
 *
 * Source:  RFC 8461 §3.1 (record), §3.2 (policy), §4.1 (patterns)
 * Tests:   tests/unit/mtasts.c, tests/conformance/run.py, tests/fuzz/fuzz_mtasts.c
 */
#include <veredus/mtasts.h>

#include <veredus/address.h>

#include <string.h>

#define NAME_MAX_LENGTH 32 /* of a field, sts-ext-name */

static bool is_alnum(char c)
{
    char l = vr_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9');
}

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

static struct vr_str skip_wsp(struct vr_str s)
{
    while (s.n > 0 && is_wsp(s.p[0]))
        s = vr_str_from_pos(s, 1);
    return s;
}

static struct vr_str cut_wsp(struct vr_str s)
{
    while (s.n > 0 && is_wsp(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* sts-ext-name, which the names of known fields are too. */
static bool is_name(struct vr_str s)
{
    if (s.n == 0 || s.n > NAME_MAX_LENGTH || !is_alnum(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '_' && s.p[i] != '-' && s.p[i] != '.')
            return false;
    return true;
}

/* ---- the record -------------------------------------------------------------------------------------------------------- */

static bool is_id(struct vr_str s)
{
    if (s.n == 0 || s.n > MTASTS_ID_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]))
            return false;
    return true;
}

/* sts-ext-value */
static bool is_record_value(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ';' || s.p[i] == '=')
            return false;
    return s.n > 0;
}

enum vr_err mtasts_record_parse(struct vr_str text, struct vr_str *id)
{
    const struct vr_str version = VR_STR("v=STSv1");
    bool found = false;
    *id = vr_str(NULL, 0);
    if (!vr_str_starts(text, version))
        return VR_ERR_SYNTAX;
    text = skip_wsp(vr_str_from_pos(text, version.n));
    while (text.n > 0) {
        if (text.p[0] != ';')
            return VR_ERR_SYNTAX;
        text = skip_wsp(vr_str_from_pos(text, 1));
        if (text.n == 0)
            break; /* the delimiter at the end */
        size_t end = vr_str_find(text, ';');
        struct vr_str field = cut_wsp(vr_str_sub(text, 0, end)), name = field, value;
        text = end == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(text, end);
        size_t equals = vr_str_find(field, '=');
        if (equals == VR_NPOS)
            return VR_ERR_SYNTAX;
        name.n = equals;
        value = vr_str_from_pos(field, equals + 1);
        if (!is_name(name) || !is_record_value(value))
            return VR_ERR_SYNTAX;
        if (found || !vr_str_equal(name, VR_STR("id")))
            continue;
        if (!is_id(value))
            return VR_ERR_SYNTAX;
        *id = value;
        found = true;
    }
    return found ? VR_OK : VR_ERR_SYNTAX;
}

/* ---- the policy -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum mtasts_mode mode;
} modes[] = {{"none", MTASTS_NONE}, {"testing", MTASTS_TESTING}, {"enforce", MTASTS_ENFORCE}};
#define MODE_COUNT (sizeof modes / sizeof *modes)

const char *mtasts_mode_name(enum mtasts_mode m)
{
    for (size_t i = 0; i < MODE_COUNT; i++)
        if (modes[i].mode == m)
            return modes[i].name;
    return "unknown";
}

/* sts-policy-mx-value */
static bool is_pattern(struct vr_str s)
{
    return address_domain_valid(vr_str_starts(s, VR_STR("*.")) ? vr_str_from_pos(s, 2) : s, 0);
}

/* sts-policy-ext-value */
static bool is_policy_value(struct vr_str s)
{
    if (s.n == 0 || s.p[0] == ' ' || s.p[s.n - 1] == ' ' || !vr_utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

struct reading {
    struct vr_arena *arena;
    struct mtasts_policy *out;
    struct vr_str *mx;
    size_t mx_max;
    bool version, mode, max_age;
    const char *fault;
};

static void read_version(struct reading *r, struct vr_str value)
{
    if (!vr_str_equal(value, VR_STR("STSv1")))
        r->fault = "the version is not STSv1";
    r->version = true;
}

static void read_mode(struct reading *r, struct vr_str value)
{
    r->fault = "the mode is none of enforce, testing, none";
    for (size_t i = 0; i < MODE_COUNT; i++)
        if (vr_str_equal(value, vr_str_from(modes[i].name))) {
            r->out->mode = modes[i].mode;
            r->fault = NULL;
        }
    r->mode = true;
}

static void read_max_age(struct reading *r, struct vr_str value)
{
    uint64_t seconds = 0;
    if (value.n > 10 || !vr_str_to_u64(value, &seconds))
        r->fault = "max_age is no number of seconds";
    r->out->max_age = seconds < MTASTS_MAX_AGE_MAX ? (uint32_t)seconds : MTASTS_MAX_AGE_MAX;
    r->max_age = true;
}

static void read_mx(struct reading *r, struct vr_str value)
{
    if (!is_pattern(value))
        r->fault = "an mx is neither a host name nor \"*.\" and a domain";
    else
        r->mx[r->out->mx_count++] = value;
}

/* seen: the field was there before, and does not count again. */
static const struct {
    const char *name;
    void (*read)(struct reading *r, struct vr_str value);
    size_t seen; /* offset of a bool; 0: it may be repeated */
} fields[] = {
    {"version", read_version, offsetof(struct reading, version)},
    {"mode", read_mode, offsetof(struct reading, mode)},
    {"max_age", read_max_age, offsetof(struct reading, max_age)},
    {"mx", read_mx, 0},
};

static void read_line(struct reading *r, struct vr_str line)
{
    size_t colon = vr_str_find(line, ':');
    struct vr_str name = vr_str_sub(line, 0, colon == VR_NPOS ? 0 : colon);
    if (colon == VR_NPOS || !is_name(name)) {
        r->fault = line.n == 0 ? "it is empty" : "it is not \"name: value\"";
        return;
    }
    struct vr_str value = cut_wsp(skip_wsp(vr_str_from_pos(line, colon + 1)));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (vr_str_equal(name, vr_str_from(fields[i].name)) &&
            (fields[i].seen == 0 || !*(const bool *)((const char *)r + fields[i].seen))) {
            fields[i].read(r, value);
            return;
        }
    if (!is_policy_value(value))
        r->fault = "the value has bytes that no value may have, or there is none";
}

static const char *missing(const struct reading *r)
{
    return !r->version                                            ? "it names no version"
           : !r->mode                                             ? "it names no mode"
           : !r->max_age                                          ? "it names no max_age"
           : r->out->mode != MTASTS_NONE && r->out->mx_count == 0 ? "it names no mx"
                                                                  : NULL;
}

static enum vr_err too_big(struct vr_str *why)
{
    *why = VR_STR("the policy is larger than 64 KiB, or larger than the memory for it");
    return VR_ERR_TOO_BIG;
}

enum vr_err mtasts_policy_parse(struct vr_arena *arena, struct vr_str text, struct mtasts_policy *out,
                                struct vr_str *why)
{
    struct reading r = {.arena = arena, .out = out};
    struct vr_str rest = text, line;
    size_t number = 0;
    *out = (struct mtasts_policy){.mode = MTASTS_NONE};
    *why = vr_str(NULL, 0);
    for (size_t i = 0; i < text.n; i++)
        r.mx_max += text.p[i] == '\n';
    if (text.n > MTASTS_POLICY_MAX || (r.mx = vr_arena_alloc(arena, (r.mx_max + 1) * sizeof *r.mx)) == NULL)
        return too_big(why);
    while (r.fault == NULL && vr_str_split(&rest, '\n', &line)) {
        number++;
        if (line.n > 0 && line.p[line.n - 1] == '\r' && line.p + line.n < text.p + text.n)
            line.n--; /* CRLF, and no CR without its LF */
        read_line(&r, line);
    }
    out->mx = r.mx;
    if (r.fault != NULL)
        *why = vr_arena_printf(arena, "line %zu of the policy is wrong: %s", number, r.fault);
    else if ((r.fault = missing(&r)) != NULL)
        *why = vr_arena_printf(arena, "the policy is not complete: %s", r.fault);
    if (r.fault == NULL)
        return VR_OK;
    return why->n == 0 ? too_big(why) : VR_ERR_SYNTAX;
}

bool mtasts_policy_write(struct vr_buf *out, const struct mtasts_policy *policy)
{
    if (policy->max_age > MTASTS_MAX_AGE_MAX || (size_t)policy->mode >= MODE_COUNT ||
        (policy->mode != MTASTS_NONE && policy->mx_count == 0))
        return false;
    bool good = vr_buf_addf(out, "version: STSv1\r\nmode: %s\r\n", mtasts_mode_name(policy->mode));
    for (size_t i = 0; i < policy->mx_count; i++) {
        if (!is_pattern(policy->mx[i]))
            return false;
        good = good && vr_buf_addf(out, "mx: %.*s\r\n", VR_STR_ARG(policy->mx[i]));
    }
    return good && vr_buf_addf(out, "max_age: %u\r\n", (unsigned)policy->max_age);
}

bool mtasts_mx_matches(const struct mtasts_policy *policy, struct vr_str host)
{
    if (host.n > 0 && host.p[host.n - 1] == '.')
        host.n--;
    size_t dot = vr_str_find(host, '.');
    struct vr_str above = dot == VR_NPOS || dot == 0 ? vr_str(NULL, 0) : vr_str_from_pos(host, dot + 1);
    for (size_t i = 0; i < policy->mx_count; i++) {
        struct vr_str pattern = policy->mx[i];
        bool wild = vr_str_starts(pattern, VR_STR("*."));
        if (wild ? above.n > 0 && vr_str_equal_nocase(vr_str_from_pos(pattern, 2), above)
                 : host.n > 0 && vr_str_equal_nocase(pattern, host))
            return true;
    }
    return false;
}
