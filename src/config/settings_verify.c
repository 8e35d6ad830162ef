/* settings_verify.c - what is done with mail whose sender is not who he says he is: the keys of `verify`, of `arc`, and those of a domain.
 *
 * Tests: tests/unit/config_verify.c
 */
#include "config/load.h"

#include <veredus/address.h>

#include <string.h>

const char *const verify_action_names[] = {[VERIFY_NONE] = "none",
                                           [VERIFY_MARK] = "mark",
                                           [VERIFY_QUARANTINE] = "quarantine",
                                           [VERIFY_REJECT] = "reject"};

void set_verify_action(const struct setting *s)
{
    static const struct word_value words[] = {{"reject", VERIFY_REJECT},
                                              {"quarantine", VERIFY_QUARANTINE},
                                              {"mark", VERIFY_MARK},
                                              {"none", VERIFY_NONE}};
    int action;
    if (CHOOSE(s, words,
               "reject, quarantine (the Junk folder), mark (Authentication-Results only) or none (not looked "
               "at)",
               &action))
        *(enum verify_action *)((char *)s->target + s->row->offset) = (enum verify_action)action;
}

void set_verify_dmarc_method(const struct setting *s)
{
    static const struct word_value words[] = {{"tree_walk", DMARC_TREE_WALK},
                                              {"public_suffix", DMARC_PUBLIC_SUFFIX}};
    int method;
    if (CHOOSE(s, words, "tree_walk (RFC 9989) or public_suffix (RFC 7489)", &method))
        s->l->c->verify_dmarc_method = (enum dmarc_method)method;
}

void set_verify_temperror(const struct setting *s)
{
    static const struct word_value words[] = {{"later", false}, {"accept", true}};
    int accept;
    if (CHOOSE(s, words, "later (451, the sender tries again) or accept", &accept))
        s->l->c->verify_accepts_temperror = accept;
}

void set_verify_skip(const struct setting *s)
{
    if (!s->adds) /* in the place of the default */
        s->l->c->verify_skip.count = 0;
    if (s->values->next != NULL || !vr_str_equal_nocase(s->values->text, VR_STR("none")))
        set_networks(s);
}

void default_verify(struct config *c)
{
    static const char *const own[] = {"127.0.0.0/8", "::1"};
    c->verify = (struct config_verify){VERIFY_MARK, VERIFY_MARK, VERIFY_REJECT};
    c->verify_skip.items = must_alloc(&c->arena, 2 * sizeof *c->verify_skip.items);
    for (size_t i = 0; i < 2; i++)
        c->verify_skip.count += io_network_parse(vr_str_from(own[i]), &c->verify_skip.items[i]);
}

/* RFC 8601 §2.2: a value of MIME; what needs no quotes will do for everybody. */
void set_authserv_id(const struct setting *s)
{
    if (!address_domain_valid(s->values->text, 0))
        setting_wrong(s, "a name such as \"mail.example.org\"");
    else
        s->l->c->authserv_id = vr_arena_lower(&s->l->c->arena, s->values->text);
}

const char *const arc_seal_names[] = {
    [ARC_SEAL_FORWARDED] = "forwarded", [ARC_SEAL_ALWAYS] = "always", [ARC_SEAL_NEVER] = "never"};

void set_arc_seal(const struct setting *s)
{
    for (size_t i = 0; i < sizeof arc_seal_names / sizeof *arc_seal_names; i++)
        if (vr_str_equal_nocase(s->values->text, vr_str_from(arc_seal_names[i]))) {
            s->l->c->arc_seal = (enum config_arc_seal)i;
            return;
        }
    problem_error(&s->l->problems, s->at, "`seal` is \"%.*s\"; expected forwarded, always or never",
                  VR_STR_ARG(s->values->text));
}

void set_arc_domain(const struct setting *s)
{
    struct vr_str name = s->values->text;
    if (address_domain_valid(name, ADDRESS_ALLOW_UTF8) && vr_str_find(name, '.') != VR_NPOS &&
        name.p[0] != '[')
        s->l->c->arc_domain = ascii_name(&s->l->c->arena, name);
    else
        problem_error(&s->l->problems, s->at,
                      "`domain` is \"%.*s\"; expected a domain that has a DKIM key, such as \"example.org\"",
                      VR_STR_ARG(name));
}

void set_arc_trusted(const struct setting *s)
{
    struct config *c = s->l->c;
    size_t n = 0;
    for (const struct value *v = s->values; v; v = v->next)
        n++;
    struct vr_str *all = must_alloc(&c->arena, (c->arc_trusted_count + n) * sizeof *all);
    if (c->arc_trusted_count)
        memcpy(all, c->arc_trusted, c->arc_trusted_count * sizeof *all);
    c->arc_trusted = all;
    for (const struct value *v = s->values; v; v = v->next)
        if (address_domain_valid(v->text, ADDRESS_ALLOW_UTF8) && vr_str_find(v->text, '[') == VR_NPOS)
            all[c->arc_trusted_count++] = ascii_name(&c->arena, v->text);
        else
            problem_error(&s->l->problems, s->at,
                          "`trusted` has \"%.*s\"; expected domains that seal what they forward, such as "
                          "\"lists.example.org\"",
                          VR_STR_ARG(v->text));
}

static void inherit(enum verify_action *of_domain, enum verify_action general)
{
    if (*of_domain == VERIFY_UNSET)
        *of_domain = general;
}

void settle_verify(struct config *c)
{
    if (c->authserv_id.n == 0)
        c->authserv_id = c->hostname;
    for (size_t i = 0; i < c->domain_count; i++) {
        struct config_verify *v = &c->domains[i].verify;
        inherit(&v->spf, c->verify.spf);
        inherit(&v->dkim, c->verify.dkim);
        inherit(&v->dmarc, c->verify.dmarc);
        c->verify_any.spf = v->spf > c->verify_any.spf ? v->spf : c->verify_any.spf;
        c->verify_any.dkim = v->dkim > c->verify_any.dkim ? v->dkim : c->verify_any.dkim;
        c->verify_any.dmarc = v->dmarc > c->verify_any.dmarc ? v->dmarc : c->verify_any.dmarc;
    }
}
