/* dkim_print.c - what `veredus dkim` shows: keys as a table or JSON, and their records as a zone file has them.
 *
 * Tests: tests/e2e/test_sign.py
 */
#include "cli/dkim_inside.h"

#include "config/routing.h"

#include <veredus/message.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define DOMAINS_MAX 100000

const char *dkim_algorithm_word(enum dkim_algorithm a)
{
    return a == DKIM_ED25519_SHA256 ? "ed25519" : "rsa";
}

const char *dkim_time_text(char out[DKIM_TIME_TEXT], int64_t seconds)
{
    char text[MESSAGE_RFC3339_SIZE];
    message_rfc3339_write(text, seconds * 1000000);
    snprintf(out, DKIM_TIME_TEXT, "%.10s %.5s UTC", text, text + 11);
    return out;
}

int dkim_complain(enum dkim_store_result r, struct vr_str domain, const char *error)
{
    if (r == DKIM_STORE_NONE) {
        fprintf(stderr, DKIM_SELF ": %.*s has no keys; `veredus dkim keygen %.*s` makes the first one\n",
                VR_STR_ARG(domain), VR_STR_ARG(domain));
        return EX_DATAERR;
    }
    fprintf(stderr, DKIM_SELF ": %s\n", error);
    return r == DKIM_STORE_INVALID ? EX_DATAERR : EX_IOERR;
}

/* ---- records ---------------------------------------------------------------------------------------------------------- */

static void record_of(const struct dkim_ring *r, const struct dkim_stored *k, struct vr_arena *arena,
                      struct dkim_published *out)
{
    struct vr_buf value;
    vr_buf_init(&value, DKIM_STORE_RECORD);
    dkim_key_record(k->key, &value);
    *out = (struct dkim_published){.name = vr_arena_printf(arena, "%.*s._domainkey.%.*s",
                                                           VR_STR_ARG(k->selector), VR_STR_ARG(r->domain)),
                                   .value = vr_arena_dup(arena, vr_buf_str(&value))};
    vr_buf_fini(&value);
}

void dkim_print_record(const struct dkim_ring *r, const struct dkim_stored *k)
{
    struct vr_arena arena;
    struct dkim_published p;
    struct vr_buf line;
    vr_arena_init(&arena, 4 * DKIM_STORE_RECORD);
    vr_buf_init(&line, 2 * DKIM_STORE_RECORD);
    record_of(r, k, &arena, &p);
    dkim_zone_line(&line, &p);
    printf("%.*s", VR_STR_ARG(vr_buf_str(&line)));
    vr_buf_fini(&line);
    vr_arena_fini(&arena);
}

/* ---- the list ------------------------------------------------------------------------------------------------------------ */

struct listing {
    const struct cli_state *state;
    struct vr_arena arena;
    struct vr_str *domains;
    size_t count, capacity;
    int64_t now;
    json_t *all; /* NULL: a table */
    bool headed;
    int code;
};

static bool gather(void *arg, struct vr_str domain)
{
    struct listing *l = arg;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity > 0 ? l->capacity * 2 : 64;
        struct vr_str *more = realloc(l->domains, capacity * sizeof *more);
        if (more == NULL || capacity > DOMAINS_MAX)
            return false;
        l->domains = more;
        l->capacity = capacity;
    }
    l->domains[l->count] = vr_arena_dup(&l->arena, domain);
    return l->domains[l->count++].n > 0;
}

static int by_name(const void *a, const void *b)
{
    return vr_str_compare(*(const struct vr_str *)a, *(const struct vr_str *)b);
}

static void add_time(json_t *o, const char *name, int64_t t)
{
    json_object_set_new(o, name, t == DKIM_NEVER ? json_null() : json_integer(t));
}

static json_t *text(struct vr_str s)
{
    return json_stringn(s.p, s.n);
}

static void list_json(struct listing *l, const struct dkim_ring *r, const struct dkim_stored *k)
{
    struct vr_arena arena;
    struct dkim_published p;
    json_t *o = json_object();
    vr_arena_init(&arena, 4 * DKIM_STORE_RECORD);
    record_of(r, k, &arena, &p);
    json_object_set_new(o, "domain", text(r->domain));
    json_object_set_new(o, "selector", text(k->selector));
    json_object_set_new(o, "algorithm", json_string(dkim_algorithm_word(dkim_key_algorithm(k->key))));
    json_object_set_new(o, "bits", json_integer(dkim_key_bits(k->key)));
    json_object_set_new(o, "state", json_string(dkim_phase_name(dkim_phase_of(k, l->now))));
    json_object_set_new(o, "weak", json_boolean(dkim_is_weak(k)));
    add_time(o, "created", k->created);
    add_time(o, "from", k->from);
    add_time(o, "until", k->until);
    add_time(o, "keep", k->keep);
    json_object_set_new(o, "name", text(p.name));
    json_object_set_new(o, "value", text(p.value));
    json_array_append_new(l->all, o);
    vr_arena_fini(&arena);
}

/* What the state means for who looks after it. */
static void describe(const struct dkim_stored *k, int64_t now, char out[96])
{
    char time[DKIM_TIME_TEXT];
    switch (dkim_phase_of(k, now)) {
    case DKIM_WAITING:
        if (k->from == DKIM_NEVER)
            snprintf(out, 96, "signs after `activate`");
        else
            snprintf(out, 96, "signs from %s", dkim_time_text(time, k->from));
        break;
    case DKIM_SIGNING:
        if (k->until == DKIM_NEVER)
            snprintf(out, 96, "signs since %s", dkim_time_text(time, k->from));
        else
            snprintf(out, 96, "signs until %s", dkim_time_text(time, k->until));
        break;
    case DKIM_RETIRING:
        if (k->keep == DKIM_NEVER)
            snprintf(out, 96, "keep its record");
        else
            snprintf(out, 96, "keep its record until %s", dkim_time_text(time, k->keep));
        break;
    case DKIM_RETIRED:
        snprintf(out, 96, "its record may go");
        break;
    }
}

static void list_table(struct listing *l, const struct dkim_ring *r, const struct dkim_stored *k)
{
    char what[96];
    if (!l->headed)
        printf("%-24s %-20s %-8s %4s  %-9s  %s\n", "DOMAIN", "SELECTOR", "KEY", "BITS", "STATE", "");
    l->headed = true;
    describe(k, l->now, what);
    printf("%-24.*s %-20.*s %-8s %4u  %-9s  %s\n", VR_STR_ARG(r->domain), VR_STR_ARG(k->selector),
           dkim_algorithm_word(dkim_key_algorithm(k->key)), dkim_key_bits(k->key),
           dkim_phase_name(dkim_phase_of(k, l->now)), what);
}

/* What somebody should do about them. */
static void warn(const struct listing *l, struct dkim_ring *r)
{
    bool signs = false;
    for (size_t i = 0; i < r->count; i++) {
        const struct dkim_stored *k = &r->keys[i];
        enum dkim_phase phase = dkim_phase_of(k, l->now);
        signs = signs || phase == DKIM_SIGNING;
        if (dkim_is_weak(k) && phase <= DKIM_SIGNING)
            fprintf(
                stderr,
                DKIM_SELF ": warning: the key %.*s of %.*s has only %u bits, which receivers need not accept "
                          "(RFC 8301 wants 2048): `veredus dkim rotate %.*s`\n",
                VR_STR_ARG(k->selector), VR_STR_ARG(r->domain), dkim_key_bits(k->key), VR_STR_ARG(r->domain));
    }
    if (r->count > 0 && !signs)
        fprintf(stderr,
                DKIM_SELF
                ": warning: no key of %.*s signs now, its mail goes unsigned: `veredus dkim activate "
                "%.*s`, or `veredus dkim keygen %.*s`\n",
                VR_STR_ARG(r->domain), VR_STR_ARG(r->domain), VR_STR_ARG(r->domain));
    const struct config_domain *d =
        l->state->config != NULL ? routing_domain(l->state->config, r->domain) : NULL;
    if (signs && d != NULL && !d->sign)
        fprintf(stderr,
                DKIM_SELF
                ": warning: %s:%d: the domain %.*s has keys, and `sign = no`: its mail goes unsigned\n",
                d->file, d->line, VR_STR_ARG(r->domain));
}

static void list_domain(struct listing *l, struct vr_str domain)
{
    char error[DKIM_STORE_ERROR];
    struct dkim_ring *r;
    enum dkim_store_result result = dkim_store_load(l->state->folder, domain, &r, error);
    if (result != DKIM_STORE_OK) {
        l->code = dkim_complain(result, domain, error);
        return;
    }
    for (size_t i = 0; i < r->count; i++)
        (l->all != NULL ? list_json : list_table)(l, r, &r->keys[i]);
    warn(l, r);
    dkim_ring_free(r);
}

int dkim_print_list(const struct cli_state *s, struct vr_str domain, bool json, int64_t now)
{
    char error[DKIM_STORE_ERROR] = "there are too many domains for memory";
    struct listing l = {.state = s, .now = now, .all = json ? json_array() : NULL, .code = EX_OK};
    enum dkim_store_result r = DKIM_STORE_OK;
    vr_arena_init(&l.arena, 64u << 20);
    if (domain.n > 0)
        gather(&l, domain);
    else
        r = dkim_store_domains(s->folder, gather, &l, error);
    if (r == DKIM_STORE_TROUBLE)
        l.code = dkim_complain(r, domain, error);
    if (l.count > 0)
        qsort(l.domains, l.count, sizeof *l.domains, by_name);
    for (size_t i = 0; i < l.count; i++)
        list_domain(&l, l.domains[i]);
    if (json) {
        json_dumpf(l.all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (l.code == EX_OK && l.count == 0) {
        printf("There are no DKIM keys; `veredus dkim keygen DOMAIN` makes the first one.\n");
    }
    json_decref(l.all);
    free(l.domains);
    vr_arena_fini(&l.arena);
    return l.code;
}
