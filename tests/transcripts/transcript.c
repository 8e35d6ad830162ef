/* transcript.c - reads the text file of a transcript; README.md has the format. */
#include "transcript.h"

#include <veredus/message.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES (4u << 20)
#define STEPS_MAX      20000
#define PLAIN_OFFERS   (SMTP_EXT_BASIC | SMTP_EXT_MT_PRIORITY)
#define DAEMON_OFFERS  (PLAIN_OFFERS | SMTP_EXT_CHUNKING | SMTP_EXT_BINARYMIME)

static bool fail(struct transcript *t, unsigned line, const char *why)
{
    t->error_line = line;
    t->error = why;
    return false;
}

/* ---- escapes ------------------------------------------------------------------------------------------------------ */

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef", *at = c != '\0' ? strchr(digits, vr_lower(c)) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static bool unescape(struct vr_buf *out, struct vr_str s);

/* \{N|text}: N times the text */
static bool unescape_repeat(struct vr_buf *out, struct vr_str *s)
{
    size_t bar = vr_str_find(*s, '|'), end = vr_str_find(*s, '}');
    uint64_t n;
    if (bar == VR_NPOS || end == VR_NPOS || bar > end || !vr_str_to_u64(vr_str_sub(*s, 0, bar), &n))
        return false;
    struct vr_str text = vr_str_sub(*s, bar + 1, end - bar - 1);
    *s = vr_str_from_pos(*s, end + 1);
    while (n-- > 0)
        if (!unescape(out, text))
            return false;
    return true;
}

static bool unescape(struct vr_buf *out, struct vr_str s)
{
    static const char names[] = "rn0t\\", values[] = "\r\n\0\t\\";
    while (s.n > 0) {
        if (s.p[0] != '\\') {
            vr_buf_add_byte(out, s.p[0]);
            s = vr_str_from_pos(s, 1);
            continue;
        }
        char c = s.n > 1 ? s.p[1] : '\0';
        const char *name = c != '\0' ? strchr(names, c) : NULL;
        s = vr_str_from_pos(s, 2);
        if (name != NULL) {
            vr_buf_add_byte(out, values[name - names]);
        } else if (c == 'x' && s.n >= 2 && hex_value(s.p[0]) >= 0 && hex_value(s.p[1]) >= 0) {
            vr_buf_add_byte(out, (char)(hex_value(s.p[0]) * 16 + hex_value(s.p[1])));
            s = vr_str_from_pos(s, 2);
        } else if (c != '{' || !unescape_repeat(out, &s)) {
            return false;
        }
    }
    return !out->too_big;
}

/* ---- configuration ------------------------------------------------------------------------------------------------ */

static bool set_role(struct transcript *t, struct vr_str value)
{
    if (vr_str_equal(value, VR_STR("lmtp"))) {
        t->config.lmtp = true;
        t->config.starttls = false;
    } else if (vr_str_equal(value, VR_STR("submission"))) {
        t->config.auth_mechanisms = VR_STR("SCRAM-SHA-256 PLAIN LOGIN");
        t->config.auth_required = t->config.tls_required = true;
    } else {
        return vr_str_equal(value, VR_STR("mx"));
    }
    return true;
}

static bool set_tls(struct transcript *t, struct vr_str value)
{
    t->implicit_tls = vr_str_equal(value, VR_STR("implicit"));
    t->config.starttls = vr_str_equal(value, VR_STR("offered"));
    t->config.tls_required = t->config.tls_required && !vr_str_equal(value, VR_STR("none"));
    return t->implicit_tls || t->config.starttls || vr_str_equal(value, VR_STR("none"));
}

static bool set_auth(struct transcript *t, struct vr_str value)
{
    t->config.auth_in_clear = vr_str_equal(value, VR_STR("clear"));
    if (t->config.auth_in_clear)
        t->config.tls_required = false;
    return t->config.auth_in_clear;
}

static bool set_greeting(struct transcript *t, struct vr_str value)
{
    uint64_t code;
    if (!vr_str_to_u64(vr_str_sub(value, 0, 3), &code) || code < 200 || code > 599)
        return false;
    t->greeting = (struct smtp_reply){(uint16_t)code, NULL, vr_str_trim(vr_str_from_pos(value, 3))};
    return true;
}

/* Keywords of smtp_extensions[]. */
static bool set_extensions(struct transcript *t, struct vr_str key, struct vr_str keywords)
{
    struct vr_str one;
    unsigned bits = 0;
    while (vr_str_split(&keywords, ' ', &one)) {
        unsigned before = bits;
        for (size_t i = 0; i < smtp_extension_count; i++)
            if (vr_str_equal(one, vr_str_from(smtp_extensions[i].keyword)))
                bits |= smtp_extensions[i].bit;
        if (bits == before)
            return false;
    }
    if (vr_str_equal(key, VR_STR("offer")))
        t->config.offers |= bits;
    else if (vr_str_equal(key, VR_STR("withhold")))
        t->config.offers &= ~bits;
    else
        t->granted |= bits;
    return bits != 0;
}

static bool set_number(struct transcript *t, struct vr_str key, uint64_t n)
{
    const struct {
        const char *key;
        unsigned *value;
    } numbers[] = {{"rcpt_max", &t->config.rcpt_max},
                   {"error_max", &t->config.error_max},
                   {"line_max", &t->config.text_line_max},
                   {"command_max", &t->config.command_max},
                   {"received_max", &t->config.received_max},
                   {"hold_max", &t->config.hold_max},
                   {"deliver_by_min", &t->config.deliver_by_min},
                   {NULL, NULL}};
    for (unsigned i = 0; numbers[i].key != NULL; i++)
        if (vr_str_equal(key, vr_str_from(numbers[i].key))) {
            *numbers[i].value = (unsigned)n;
            return true;
        }
    if (!vr_str_equal(key, VR_STR("size_max")))
        return false;
    t->config.size_max = n;
    return true;
}

static bool read_setting(struct transcript *t, struct vr_str text, unsigned line)
{
    struct vr_str key = vr_str_sub(text, 0, vr_str_find(text, ' '));
    struct vr_str value = vr_str_trim(vr_str_from_pos(text, key.n));
    uint64_t n;
    bool good;
    if (vr_str_equal(key, VR_STR("tcp")) && vr_str_equal(value, VR_STR("no"))) {
        t->tcp = false;
        return true;
    }
    if (vr_str_equal(key, VR_STR("role")))
        good = set_role(t, value);
    else if (vr_str_equal(key, VR_STR("tls")))
        good = set_tls(t, value);
    else if (vr_str_equal(key, VR_STR("auth")))
        good = set_auth(t, value);
    else if (vr_str_equal(key, VR_STR("mechanisms"))) {
        t->config.auth_mechanisms = vr_arena_dup(&t->arena, value);
        good = value.n > 0;
    } else if (vr_str_equal(key, VR_STR("greeting")))
        good = set_greeting(t, value);
    else if (vr_str_equal(key, VR_STR("offer")) || vr_str_equal(key, VR_STR("withhold")) ||
             vr_str_equal(key, VR_STR("grant")))
        good = set_extensions(t, key, value);
    else if (vr_str_equal(key, VR_STR("bare_lf")))
        good = t->bare_lf = vr_str_equal(value, VR_STR("allowed"));
    else if (vr_str_equal(key, VR_STR("solicit"))) {
        t->config.solicit = vr_arena_dup(&t->arena, value);
        good = value.n > 0;
    } else if (vr_str_equal(key, VR_STR("clock"))) {
        good = message_rfc3339_parse(value, &t->unix_seconds) == VR_OK;
    } else
        good = vr_str_to_u64(value, &n) && set_number(t, key, n);
    bool as_daemon = (vr_str_equal(key, VR_STR("role")) && vr_str_equal(value, VR_STR("mx"))) ||
                     (vr_str_equal(key, VR_STR("offer")) && !(t->config.offers & ~DAEMON_OFFERS));
    t->tcp = t->tcp && as_daemon;
    return good || fail(t, line, "no such setting, or not a value for it; README.md lists them");
}

/* ---- lines -------------------------------------------------------------------------------------------------------- */

static bool add_step(struct transcript *t, struct step step)
{
    if (t->count >= STEPS_MAX)
        return fail(t, step.line, "too many steps");
    t->steps[t->count++] = step;
    return true;
}

/* "C", "C!", "S", "T", "E", "W", "X", each with "*N" behind for N times, and a colon (but "C!" stands without one). */
static bool read_step(struct transcript *t, struct vr_str text, unsigned line)
{
    static const char letters[] = "CSTEWX";
    static const enum step_kind kinds[] = {STEP_CLIENT, STEP_SERVER, STEP_TLS,
                                           STEP_EOF,    STEP_WAIT,   STEP_FACT};
    const char *letter = text.p[0] != '\0' ? strchr(letters, text.p[0]) : NULL;
    bool raw = text.n > 1 && text.p[1] == '!';
    size_t colon = raw ? 1 : vr_str_find(text, ':');
    uint64_t times = 1;
    if (letter == NULL || colon == VR_NPOS || (raw && *letter != 'C'))
        return fail(t, line, "a line begins with C: C! S: T: E: W: X: @ or #");
    bool any = *letter == 'S' && colon == 2 && text.p[1] == '*';
    if (colon > 1 && !any && (text.p[1] != '*' || !vr_str_to_u64(vr_str_sub(text, 2, colon - 2), &times)))
        return fail(t, line, "between the letter and the colon only *N may stand");
    struct vr_str rest = vr_str_from_pos(text, colon + 1);
    if (rest.n > 0 && rest.p[0] == ' ')
        rest = vr_str_from_pos(rest, 1);

    struct step step = {.kind = kinds[letter - letters], .line = line, .any = any};
    struct vr_buf plain;
    vr_buf_init(&plain, 8u << 20);
    bool good = unescape(&plain, rest);
    if (step.kind == STEP_FACT && vr_str_equal(rest, VR_STR("body")))
        vr_buf_add_byte(&plain, ' '); /* the empty line, without a blank at the end that an editor may drop */
    if (step.kind == STEP_CLIENT && !raw)
        vr_buf_add(&plain, VR_STR("\r\n"));
    step.text = vr_arena_dup(&t->arena, vr_buf_str(&plain));
    good = good && step.text.n == vr_buf_size(&plain);
    vr_buf_fini(&plain);
    uint64_t ms = 0;
    if (step.kind == STEP_WAIT)
        good = good && vr_str_to_u64(step.text, &ms);
    step.wait_ms = (int64_t)ms;
    if (!good)
        return fail(t, line, "a backslash stands before r n 0 t \\ xHH or {N|text}; W: wants milliseconds");
    t->tcp = t->tcp && step.kind != STEP_TLS && step.kind != STEP_WAIT;
    while (times-- > 0)
        if (!add_step(t, step))
            return false;
    return true;
}

static bool read_line(struct transcript *t, struct vr_str text, unsigned line)
{
    if (text.n == 0)
        return true;
    if (text.p[0] == '#') {
        if (t->title.n == 0)
            t->title = vr_str_trim(vr_str_from_pos(text, 1));
        return true;
    }
    if (text.p[0] == '@')
        return read_setting(t, vr_str_trim(vr_str_from_pos(text, 1)), line);
    return read_step(t, text, line);
}

static bool read_file(struct transcript *t, struct vr_str *out)
{
    FILE *f = fopen(t->path, "rb");
    char *bytes = vr_arena_alloc(&t->arena, FILE_MAX_BYTES);
    if (f == NULL || bytes == NULL) {
        if (f != NULL)
            fclose(f);
        return fail(t, 0, "the file cannot be opened");
    }
    *out = vr_str(bytes, fread(bytes, 1, FILE_MAX_BYTES, f));
    bool good = !ferror(f);
    fclose(f);
    return good || fail(t, 0, "the file cannot be read");
}

bool transcript_read(struct transcript *t, const char *path)
{
    *t = (struct transcript){.path = path, .tcp = true};
    vr_arena_init(&t->arena, 64u << 20);
    t->config = (struct smtp_server_config){
        .hostname = VR_STR("mx.d.test"), .offers = PLAIN_OFFERS, .starttls = true, .size_max = 10u << 20};
    t->greeting = SMTP_REPLY(220, NULL, "");
    t->steps = calloc(STEPS_MAX, sizeof *t->steps);
    struct vr_str rest, text;
    if (t->steps == NULL || !read_file(t, &rest))
        return false;
    for (unsigned line = 1; vr_str_split(&rest, '\n', &text); line++)
        if (!read_line(t, text, line))
            return false;
    if (t->title.n == 0)
        return fail(t, 1, "the first line says in a comment what the transcript shows");
    return t->count > 0 || fail(t, 1, "there are no steps");
}

void transcript_free(struct transcript *t)
{
    free(t->steps);
    vr_arena_fini(&t->arena);
}

bool pattern_matches(struct vr_str pattern, struct vr_str text)
{
    size_t p = 0, i = 0, star = VR_NPOS, resume = 0;
    while (i < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            resume = i;
        } else if (p < pattern.n && pattern.p[p] == text.p[i]) {
            p++;
            i++;
        } else if (star != VR_NPOS) {
            p = star + 1;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

/* ---- enhanced statuses ------------------------------------------------------------------------------------------------ */

static unsigned commands(const struct transcript *t, const char *const *verbs, size_t n)
{
    unsigned found = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct vr_str rest = t->steps[i].text, line;
        while (t->steps[i].kind == STEP_CLIENT && vr_str_split(&rest, '\n', &line))
            for (size_t k = 0; k < n; k++)
                found += vr_str_starts_nocase(vr_str_trim(line), vr_str_from(verbs[k]));
    }
    return found;
}

struct status_check status_check_of(const struct transcript *t)
{
    static const char *const hellos[] = {"EHLO", "HELO", "LHLO"}, *const xclients[] = {"XCLIENT"};
    return (struct status_check){.hellos = commands(t, hellos, 3), .xclients = commands(t, xclients, 1)};
}

bool status_check_line(struct status_check *s, struct vr_str line)
{
    struct vr_str status;
    if (s->lines++ == 0 || line.n < 4 || strchr("245", line.p[0]) == NULL)
        return true;
    if (dsn_status_find(vr_str_from_pos(line, 4), &status))
        return status.p[0] == line.p[0];
    bool of_hello = vr_str_starts(line, VR_STR("250")), greeting = vr_str_starts(line, VR_STR("220 "));
    s->plain_hellos += of_hello && line.p[3] == ' ';
    s->greetings += greeting;
    return of_hello ? s->plain_hellos <= s->hellos : greeting && s->greetings <= s->xclients;
}
