/* apply.c - puts the values of statements into struct config, by the rows of config_keys[].
 *
 * Promise: every statement either lands in the configuration or is a problem with its file and line and what was expected.
 * What only shows when all is known is checked in checks.c.
 * Tests:   tests/unit/config.c
 */
#include "config/load.h"

#include <veredus/address.h>
#include <veredus/idn.h>

#include <string.h>

const char *const section_names[SECTION_COUNT] = {
    "",           "listen",   "tls",   "domain", "route",    "limits",  "authentication",
    "submission", "accounts", "oauth", "srs",    "queue",    "sending", "dns",
    "reports",    "verify",   "arc",   "log",    "processes"};

/* ---- keys and sections ------------------------------------------------------------------------------------------- */

struct place config_place(const struct loader *l, enum section_id id, size_t index, const char *key)
{
    const struct section *section = &l->sections[id];
    for (size_t i = 0; i < section->rows; i++)
        if (strcmp(config_keys[section->first + i].key, key) == 0)
            return section->seen[index * section->rows + i];
    return (struct place){NULL, 0};
}

/* Is a word a part of a list of words, "a, b"? */
static bool is_listed(const char *list, struct vr_str word)
{
    struct vr_str rest = vr_str_from(list), one;
    while (vr_str_split(&rest, ',', &one))
        if (vr_str_equal_nocase(vr_str_trim(one), word))
            return true;
    return false;
}

static void unknown_key(struct loader *l, const struct section *section, const struct statement *s)
{
    const char *words[64], *guess;
    size_t n = 0;
    char where[64];
    struct vr_str place =
        section->name[0] ? vr_arena_printf(&l->scratch, "in `%s`", section->name) : VR_STR("at the top");
    memcpy(where, place.p, place.n);
    where[place.n] = '\0';
    for (size_t i = 0; i < section->rows && n < 64; i++)
        words[n++] = config_keys[section->first + i].key;
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].postfix && is_listed(config_keys[i].postfix, s->word)) {
            problem_error(&l->problems, s->at,
                          "unknown key `%.*s` %s: it is Postfix's name; here it is `%s%s%s`",
                          VR_STR_ARG(s->word), where, config_keys[i].section,
                          config_keys[i].section[0] ? "." : "", config_keys[i].key);
            return;
        }
    for (size_t i = 0; i < config_key_count; i++)
        if (vr_str_equal(s->word, vr_str_from(config_keys[i].key))) {
            problem_error(&l->problems, s->at, "`%s` does not stand %s; expected it %s%s%s",
                          config_keys[i].key, where,
                          config_keys[i].section[0] ? "in the section `" : "outside of all sections",
                          config_keys[i].section, config_keys[i].section[0] ? "`" : "");
            return;
        }
    guess = closest_word(s->word, words, n);
    if (!guess && !section->name[0] &&
        (guess = closest_word(s->word, section_names + 1, SECTION_COUNT - 1)) != NULL) {
        problem_error(&l->problems, s->at, "unknown key `%.*s` %s; did you mean the section `%s { … }`?",
                      VR_STR_ARG(s->word), where, guess);
        return;
    }
    if (guess)
        problem_error(&l->problems, s->at, "unknown key `%.*s` %s; did you mean `%s`?", VR_STR_ARG(s->word),
                      where, guess);
    else
        problem_error(&l->problems, s->at,
                      "unknown key `%.*s` %s; expected one of those that `veredus check --keys` lists",
                      VR_STR_ARG(s->word), where);
}

static void apply_key(struct loader *l, struct section *section, size_t index, void *target,
                      const struct statement *s)
{
    const struct config_key *row = NULL;
    struct place *seen = NULL;
    for (size_t i = 0; i < section->rows; i++)
        if (vr_str_equal(s->word, vr_str_from(config_keys[section->first + i].key))) {
            row = &config_keys[section->first + i];
            seen = &section->seen[index * section->rows + i];
        }
    if (!row) {
        unknown_key(l, section, s);
        return;
    }
    if (seen->file && s->text.p[0] != '+') {
        problem_error(&l->problems, s->at, "`%s` is set again; it was set at %s:%d already; expected it once",
                      row->key, seen->file, seen->line);
        return;
    }
    struct setting setting = {.l = l, .target = target, .row = row, .at = s->at, .adds = s->text.p[0] == '+'};
    setting.values = statement_values(&l->scratch, &l->problems, s, row->list);
    *seen = s->at;
    if (!setting.values)
        return;
    setting_apply(&setting);
    if (strcmp(row->key, "password") == 0 ||
        strcmp(row->key, "token") == 0) /* children inherit this memory */
        explicit_bzero((char *)(uintptr_t)s->text.p, s->text.n);
}

static void begin_listen(struct loader *l, struct config_listener *x, struct vr_str title, struct place at)
{
    if (!io_address_parse(title, 0, &x->address) ||
        (x->address.family == IO_UNIX && x->address.path[0] != '/')) {
        problem_error(&l->problems, at,
                      "`listen` has \"%.*s\"; expected \":25\", \"192.0.2.1:25\", \"[2001:db8::1]:25\" or "
                      "\"unix:/path\"",
                      VR_STR_ARG(title));
        x->address.family = IO_NONE;
    }
    x->tls = true;
    x->role = x->address.port == 587   ? LISTENER_SUBMISSION
              : x->address.port == 465 ? LISTENER_SUBMISSIONS
              : x->address.port == 24  ? LISTENER_LMTP
                                       : LISTENER_MX;
}

static void begin_tls(struct loader *l, struct config_tls *x, struct vr_str title, struct place at)
{
    struct vr_str rest = title, name;
    while (vr_str_split(&rest, ' ', &name)) {
        struct vr_str bare = vr_str_starts(name, VR_STR("*.")) ? vr_str_from_pos(name, 2) : name;
        if (name.n && !address_domain_valid(bare, ADDRESS_ALLOW_UTF8))
            problem_error(&l->problems, at,
                          "`tls` has the name \"%.*s\"; expected host names with blanks between them: tls "
                          "\"mail.example.org *.example.net\"",
                          VR_STR_ARG(name));
    }
    struct vr_buf names; /* in A-labels, as clients name them (RFC 6066 §3) */
    vr_buf_init(&names, 1u << 16);
    for (rest = title; vr_str_split(&rest, ' ', &name);)
        if (name.n) {
            struct vr_str ascii = ascii_name(&l->scratch, name);
            vr_buf_addf(&names, "%s%.*s", vr_buf_size(&names) > 0 ? " " : "", VR_STR_ARG(ascii));
        }
    x->names = must_text(&l->c->arena, vr_buf_str(&names));
    vr_buf_fini(&names);
}

static void begin_domain(struct loader *l, struct config_domain *x, struct vr_str title, struct place at)
{
    if (!address_domain_valid(title, ADDRESS_ALLOW_UTF8))
        problem_error(&l->problems, at,
                      "`domain` has \"%.*s\"; expected a domain name such as \"example.org\"",
                      VR_STR_ARG(title));
    x->name = written_name(&l->c->arena, title);
    x->ascii = ascii_name(&l->c->arena, title);
    x->delimiter = '+';
    x->smtputf8 = true;
    x->sign = true;
    x->publish.mta_sts_max_age = 7 * 86400000ll;
    x->deliver = DELIVER_MAILDIR;
    x->next_hop = (struct next_hop){.route = UINT32_MAX, .domain = UINT32_MAX};
}

static void begin_route(struct loader *l, struct config_route *x, struct vr_str title, struct place at)
{
    struct vr_str bare = vr_str_starts(title, VR_STR(".")) ? vr_str_from_pos(title, 1) : title;
    if (!vr_str_equal(title, VR_STR("*")) && !address_domain_valid(bare, ADDRESS_ALLOW_UTF8))
        problem_error(&l->problems, at,
                      "`route` has \"%.*s\"; expected \"example.org\", \".example.org\" (all below it) or "
                      "\"*\" (all mail)",
                      VR_STR_ARG(title));
    x->pattern = written_name(&l->c->arena, title);
    x->ascii = ascii_name(&l->c->arena, title);
    x->next_hop = (struct next_hop){.tls = NEXT_HOP_TLS_MAY, .route = UINT32_MAX, .domain = UINT32_MAX};
}

/* The next free element of a titled section, filled with its title. */
static void *begin_section(struct loader *l, enum section_id id, size_t index, const struct statement *s)
{
    struct vr_str title = {NULL, 0};
    const char *file = must_text(&l->c->arena, vr_str_from(s->at.file));
    if (s->title.n == 0)
        problem_error(&l->problems, s->at, "`%s` has no name; expected `%s \"…\" { … }`", section_names[id],
                      section_names[id]);
    else
        title = statement_title(&l->scratch, &l->problems, s);
    bool bad = title.p == NULL;
    if (bad)
        title = id == SECTION_LISTEN
                    ? VR_STR("unix:/unnamed")
                    : VR_STR("unnamed.invalid"); /* so that its keys are checked all the same */
    switch (id) {
    case SECTION_LISTEN: {
        struct config_listener *x = &l->c->listeners[index];
        x->file = file;
        x->line = s->at.line;
        begin_listen(l, x, title, s->at);
        return x;
    }
    case SECTION_TLS: {
        struct config_tls *x = &l->c->tls[index];
        x->file = file;
        x->line = s->at.line;
        begin_tls(l, x, title, s->at);
        return x;
    }
    case SECTION_DOMAIN: {
        struct config_domain *x = &l->c->domains[index];
        x->file = file;
        x->line = s->at.line;
        begin_domain(l, x, title, s->at);
        return x;
    }
    case SECTION_ROUTE: {
        struct config_route *x = &l->c->routes[index];
        x->file = file;
        x->line = s->at.line;
        begin_route(l, x, title, s->at);
        return x;
    }
    default:
        return l->c;
    }
}

static enum section_id section_find(struct vr_str word)
{
    for (int i = 1; i < SECTION_COUNT; i++)
        if (vr_str_equal(word, vr_str_from(section_names[i])))
            return (enum section_id)i;
    return SECTION_COUNT;
}

static void unknown_section(struct loader *l, const struct statement *s)
{
    const char *guess = closest_word(s->word, section_names + 1, SECTION_COUNT - 1);
    if (guess)
        problem_error(&l->problems, s->at, "unknown section `%.*s`; did you mean `%s`?", VR_STR_ARG(s->word),
                      guess);
    else
        problem_error(
            &l->problems, s->at,
            "unknown section `%.*s`; expected listen, tls, domain, route, limits, authentication, "
            "submission, accounts, oauth, srs, queue, sending, dns, reports, verify, arc, log or processes",
            VR_STR_ARG(s->word));
}

static void prepare_sections(struct loader *l, const struct statement *statements)
{
    for (const struct statement *s = statements; s; s = s->next) {
        enum section_id id = s->kind == STATEMENT_SECTION ? section_find(s->word) : SECTION_COUNT;
        if (id != SECTION_COUNT)
            l->sections[id].count++;
    }
    for (int id = 0; id < SECTION_COUNT; id++) {
        struct section *section = &l->sections[id];
        section->name = section_names[id];
        section->titled = id >= SECTION_LISTEN && id <= SECTION_ROUTE;
        for (size_t i = 0; i < config_key_count; i++)
            if (strcmp(config_keys[i].section, section->name) == 0 && section->rows++ == 0)
                section->first = i;
        size_t instances = section->titled ? section->count : 1;
        section->seen = must_alloc(&l->scratch, instances * section->rows * sizeof *section->seen);
    }
    struct config *c = l->c;
    c->listener_count = l->sections[SECTION_LISTEN].count;
    c->tls_count = l->sections[SECTION_TLS].count;
    c->domain_count = l->sections[SECTION_DOMAIN].count;
    c->route_count = l->sections[SECTION_ROUTE].count;
    c->listeners =
        must_alloc(&c->arena, (c->listener_count + 1) * sizeof *c->listeners); /* + the default one */
    c->tls = must_alloc(&c->arena, c->tls_count * sizeof *c->tls);
    c->domains = must_alloc(&c->arena, c->domain_count * sizeof *c->domains);
    c->routes = must_alloc(&c->arena, c->route_count * sizeof *c->routes);
}

void config_apply(struct loader *l, struct statement *statements)
{
    prepare_sections(l, statements);
    settings_default(l->c);
    size_t next[SECTION_COUNT] = {0}, index = 0;
    enum section_id id = SECTION_TOP;
    void *target = l->c;
    for (struct statement *s = statements; s; s = s->next) {
        if (s->kind == STATEMENT_END) {
            id = SECTION_TOP;
            target = l->c;
            index = 0;
        } else if (s->kind == STATEMENT_SECTION) {
            id = section_find(s->word);
            if (id == SECTION_COUNT) {
                unknown_section(l, s);
            } else if (l->sections[id].titled) {
                index = next[id]++;
                target = begin_section(l, id, index, s);
            } else {
                index = 0;
                target = l->c;
                if (s->title.n)
                    problem_error(&l->problems, s->at, "`%s` has a name; expected `%s { … }`",
                                  section_names[id], section_names[id]);
            }
        } else if (id != SECTION_COUNT) { /* what stands in an unknown section is not judged */
            apply_key(l, &l->sections[id], index, target, s);
        }
    }
}
