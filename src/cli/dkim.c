/* dkim.c - `veredus dkim`: makes, rotates, activates, removes and lists the keys that sign mail.
 *
 * Changes the store itself (keeper/dkim_store.h), under its lock; the keeper sees each change at once, no server needs to run. What is printed of a new key can be
 * put into a zone file as it is.
 *
 * Tests: tests/e2e/test_sign.py, tests/unit/dkim_store.c
 */
#include "cli/cli.h"
#include "cli/dkim_inside.h"

#include "config/routing.h"
#include "io/env.h"
#include "io/process.h"

#include <veredus/message.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define KEEP_DEFAULT (7 * 86400) /* mail is tried for 5 days (queue.expire), and read a little later */
#define KEY_FILE_MAX 65536

static const enum dkim_algorithm algorithms[] = {DKIM_RSA_SHA256, DKIM_ED25519_SHA256};
#define ALGORITHMS (sizeof algorithms / sizeof *algorithms)

/* ---- the store ---------------------------------------------------------------------------------------------------------- */

static struct dkim_owner owner_of(const struct dkim_arguments *a)
{
    struct io_user keeper;
    if (!cli_state_keeper(&a->state, &keeper))
        return (struct dkim_owner){.as_caller = true};
    return (struct dkim_owner){.uid = keeper.uid, .gid = keeper.gid};
}

static int save(struct dkim_arguments *a)
{
    char error[DKIM_STORE_ERROR];
    enum dkim_store_result r = dkim_store_save(a->state.folder, a->ring, owner_of(a), error);
    return r == DKIM_STORE_OK ? EX_OK : dkim_complain(r, a->domain, error);
}

static void hint_domain(const struct dkim_arguments *a)
{
    const struct config_domain *d =
        a->state.config != NULL ? routing_domain(a->state.config, a->domain) : NULL;
    if (d != NULL && !d->sign)
        fprintf(stderr, DKIM_SELF ": note: %s:%d: `sign = no`: mail from %.*s stays unsigned\n", d->file,
                d->line, VR_STR_ARG(a->domain));
    else if (d == NULL && a->state.config != NULL)
        fprintf(stderr,
                DKIM_SELF
                ": note: \"%.*s\" is no domain of this configuration; mail from it that users and trusted "
                "clients hand in is signed all the same\n",
                VR_STR_ARG(a->domain));
}

/* ---- making keys -------------------------------------------------------------------------------------------------------- */

/* "20261128-rsa", "20261128-rsa-2", …; or what was asked for, which of two keys is the RSA key's. */
static void choose_selector(const struct dkim_arguments *a, enum dkim_algorithm algorithm, bool one_of_two,
                            char out[80])
{
    char date[MESSAGE_RFC3339_SIZE];
    const char *word = dkim_algorithm_word(algorithm);
    if (a->selector != NULL) {
        snprintf(out, 80, "%.63s%s", a->selector,
                 one_of_two && algorithm == DKIM_ED25519_SHA256 ? "-ed25519" : "");
        return;
    }
    message_rfc3339_write(date, a->now * 1000000);
    snprintf(out, 80, "%.4s%.2s%.2s-%s", date, date + 5, date + 8, word);
    for (unsigned i = 2; dkim_ring_find(a->ring, vr_str_from(out)) != NULL && i < 100; i++)
        snprintf(out, 80, "%.4s%.2s%.2s-%s-%u", date, date + 5, date + 8, word, i);
}

static void wipe(struct vr_buf *b)
{
    if (b->p != NULL)
        explicit_bzero(b->p, b->capacity);
    vr_buf_fini(b);
}

static int add(struct dkim_arguments *a, const char *selector, struct vr_str pem, struct dkim_stored **out)
{
    char error[DKIM_STORE_ERROR];
    enum dkim_store_result r = dkim_ring_add(a->ring, vr_str_from(selector), pem, a->now, out, error);
    return r == DKIM_STORE_OK ? EX_OK : dkim_complain(r, a->domain, error);
}

static int make_one(struct dkim_arguments *a, enum dkim_algorithm algorithm, bool one_of_two,
                    struct dkim_stored **out)
{
    struct vr_buf pem;
    char selector[80];
    choose_selector(a, algorithm, one_of_two, selector);
    vr_buf_init(&pem, KEY_FILE_MAX);
    bool good = dkim_key_make(algorithm, a->bits != 0 ? a->bits : DKIM_BITS_NEW, &pem);
    if (!good)
        fprintf(stderr, DKIM_SELF ": OpenSSL could not make a key\n");
    int code = good ? add(a, selector, vr_buf_str(&pem), out) : EX_SOFTWARE;
    wipe(&pem);
    return code;
}

static void tell_made(const struct dkim_arguments *a, const struct dkim_stored *k)
{
    char time[DKIM_TIME_TEXT];
    printf("; %.*s: a new %s key of %u bits, selector %.*s. ", VR_STR_ARG(a->domain),
           dkim_algorithm_word(dkim_key_algorithm(k->key)), dkim_key_bits(k->key), VR_STR_ARG(k->selector));
    if (k->from == DKIM_NEVER)
        printf("It waits.\n; Publish this record; when it can be looked up: veredus dkim activate %.*s\n",
               VR_STR_ARG(a->domain));
    else if (k->from > a->now)
        printf("It signs from %s.\n; Publish this record before:\n", dkim_time_text(time, k->from));
    else
        printf("It signs from now on.\n; Publish this record at once:\n");
    dkim_print_record(a->ring, k);
}

/* Has the domain a key of this algorithm that signs or will? */
static const struct dkim_stored *in_use(const struct dkim_ring *r, enum dkim_algorithm a, int64_t now)
{
    for (size_t i = 0; i < r->count; i++)
        if (dkim_key_algorithm(r->keys[i].key) == a && dkim_phase_of(&r->keys[i], now) <= DKIM_SIGNING)
            return &r->keys[i];
    return NULL;
}

static int run_keygen(struct dkim_arguments *a)
{
    unsigned wanted = a->algorithms != 0 ? a->algorithms : DKIM_RSA;
    struct dkim_stored *made[ALGORITHMS];
    size_t count = 0;
    for (size_t i = 0; i < ALGORITHMS; i++) {
        const struct dkim_stored *there =
            wanted & 1u << algorithms[i] ? in_use(a->ring, algorithms[i], a->now) : NULL;
        if (there == NULL)
            continue;
        fprintf(stderr,
                DKIM_SELF
                ": %.*s has a key of this kind (%s, selector %.*s); `veredus dkim rotate %.*s` makes its "
                "successor\n",
                VR_STR_ARG(a->domain), dkim_algorithm_word(algorithms[i]), VR_STR_ARG(there->selector),
                VR_STR_ARG(a->domain));
        return EX_DATAERR;
    }
    for (size_t i = 0; i < ALGORITHMS; i++) {
        if (!(wanted & 1u << algorithms[i]))
            continue;
        int code = make_one(a, algorithms[i], wanted == (DKIM_RSA | DKIM_ED25519), &made[count]);
        if (code != EX_OK)
            return code;
        dkim_ring_activate(a->ring, made[count++], a->now + (a->after > 0 ? a->after : 0), KEEP_DEFAULT);
    }
    int code = save(a);
    for (size_t i = 0; code == EX_OK && i < count; i++)
        tell_made(a, made[i]);
    hint_domain(a);
    return code;
}

static void tell_replaced(const struct dkim_arguments *a)
{
    char time[DKIM_TIME_TEXT];
    for (size_t i = 0; i < a->ring->count; i++) {
        const struct dkim_stored *k = &a->ring->keys[i];
        if (k->until == a->now)
            printf("; %.*s signs no more. Leave %.*s._domainkey.%.*s published until %s: its signatures are "
                   "on their "
                   "way.\n",
                   VR_STR_ARG(k->selector), VR_STR_ARG(k->selector), VR_STR_ARG(a->domain),
                   dkim_time_text(time, k->keep));
    }
}

static int run_import(struct dkim_arguments *a)
{
    struct vr_buf text;
    struct dkim_stored *k = NULL;
    if (a->selector == NULL || a->key_file == NULL)
        return cli_wrong_usage(DKIM_SELF,
                               "import needs --selector S, under which the record stands, and --key FILE");
    vr_buf_init(&text, KEY_FILE_MAX);
    int status = io_fs_read_file(a->key_file, &text);
    int code = EX_NOINPUT;
    if (status < 0)
        fprintf(stderr, DKIM_SELF ": cannot read %s: %s\n", a->key_file, io_error_text(status));
    else
        code = add(a, a->selector, vr_buf_str(&text), &k);
    wipe(&text);
    if (code != EX_OK)
        return code;
    dkim_ring_activate(a->ring, k, a->now, a->keep >= 0 ? a->keep : KEEP_DEFAULT);
    code = save(a);
    if (code != EX_OK)
        return code;
    printf("; %.*s: the key of selector %.*s signs from now on. This is its record, which should be there "
           "already:\n",
           VR_STR_ARG(a->domain), VR_STR_ARG(k->selector));
    dkim_print_record(a->ring, k);
    tell_replaced(a);
    if (dkim_is_weak(k))
        fprintf(stderr,
                DKIM_SELF
                ": warning: it has only %u bits, which receivers need not accept (RFC 8301 wants 2048): "
                "`veredus dkim rotate %.*s`\n",
                dkim_key_bits(k->key), VR_STR_ARG(a->domain));
    hint_domain(a);
    return EX_OK;
}

/* ---- rotation ----------------------------------------------------------------------------------------------------------- */

static void drop_retired(struct dkim_arguments *a)
{
    for (size_t i = 0; i < a->ring->count;) {
        struct dkim_stored *k = &a->ring->keys[i];
        if (dkim_phase_of(k, a->now) != DKIM_RETIRED) {
            i++;
            continue;
        }
        printf("; removed the retired key %.*s; take %.*s._domainkey.%.*s out of the zone\n",
               VR_STR_ARG(k->selector), VR_STR_ARG(k->selector), VR_STR_ARG(a->domain));
        dkim_ring_remove(a->ring, k, a->now);
    }
}

/* The kinds to rotate: those asked for, else those that sign. 0 after having said why not. */
static unsigned to_rotate(const struct dkim_arguments *a)
{
    unsigned found = 0;
    for (size_t i = 0; i < ALGORITHMS; i++) {
        const struct dkim_stored *k = in_use(a->ring, algorithms[i], a->now);
        unsigned bit = 1u << algorithms[i];
        if (k == NULL && (a->algorithms & bit)) {
            fprintf(stderr,
                    DKIM_SELF
                    ": %.*s has no %s key that signs; `veredus dkim keygen %.*s --algorithm %s` makes one\n",
                    VR_STR_ARG(a->domain), dkim_algorithm_word(algorithms[i]), VR_STR_ARG(a->domain),
                    dkim_algorithm_word(algorithms[i]));
            return 0;
        }
        if (k != NULL && (a->algorithms == 0 || (a->algorithms & bit)))
            found |= bit;
    }
    if (found == 0)
        fprintf(stderr, DKIM_SELF ": no key of %.*s signs; `veredus dkim keygen %.*s` makes one\n",
                VR_STR_ARG(a->domain), VR_STR_ARG(a->domain));
    return found;
}

static bool one_waits(const struct dkim_arguments *a, unsigned kinds)
{
    for (size_t i = 0; i < a->ring->count; i++) {
        const struct dkim_stored *k = &a->ring->keys[i];
        if (dkim_phase_of(k, a->now) != DKIM_WAITING || !(kinds & 1u << dkim_key_algorithm(k->key)))
            continue;
        fprintf(stderr,
                DKIM_SELF
                ": a new key of %.*s waits already (selector %.*s): publish its record, then `veredus dkim "
                "activate %.*s`; or take it back: `veredus dkim remove %.*s --selector %.*s`\n",
                VR_STR_ARG(a->domain), VR_STR_ARG(k->selector), VR_STR_ARG(a->domain), VR_STR_ARG(a->domain),
                VR_STR_ARG(k->selector));
        return true;
    }
    return false;
}

static int run_rotate(struct dkim_arguments *a)
{
    unsigned kinds = to_rotate(a);
    struct dkim_stored *made[ALGORITHMS];
    size_t count = 0;
    if (kinds == 0 || one_waits(a, kinds))
        return EX_DATAERR;
    drop_retired(a);
    for (size_t i = 0; i < ALGORITHMS; i++) {
        if (!(kinds & 1u << algorithms[i]))
            continue;
        int code = make_one(a, algorithms[i], kinds == (DKIM_RSA | DKIM_ED25519), &made[count]);
        if (code != EX_OK)
            return code;
        if (a->after >= 0)
            dkim_ring_activate(a->ring, made[count], a->now + a->after,
                               a->keep >= 0 ? a->keep : KEEP_DEFAULT);
        count++;
    }
    int code = save(a);
    for (size_t i = 0; code == EX_OK && i < count; i++)
        tell_made(a, made[i]);
    return code;
}

static int run_activate(struct dkim_arguments *a)
{
    struct dkim_stored *chosen =
        a->selector != NULL ? dkim_ring_find(a->ring, vr_str_from(a->selector)) : NULL;
    bool any = false;
    if (a->selector != NULL && chosen == NULL) {
        fprintf(stderr, DKIM_SELF ": %.*s has no key %s; `veredus dkim list %.*s` shows all\n",
                VR_STR_ARG(a->domain), a->selector, VR_STR_ARG(a->domain));
        return EX_DATAERR;
    }
    for (size_t i = 0; i < a->ring->count; i++) {
        struct dkim_stored *k = &a->ring->keys[i];
        enum dkim_phase phase = dkim_phase_of(k, a->now);
        if (chosen != NULL ? k != chosen || phase == DKIM_SIGNING : phase != DKIM_WAITING)
            continue;
        dkim_ring_activate(a->ring, k, a->now, a->keep >= 0 ? a->keep : KEEP_DEFAULT);
        any = true;
        printf("; %.*s signs from now on.\n", VR_STR_ARG(k->selector));
    }
    if (!any) {
        fprintf(stderr, DKIM_SELF ": no key of %.*s waits; `veredus dkim rotate %.*s` makes a new one\n",
                VR_STR_ARG(a->domain), VR_STR_ARG(a->domain));
        return EX_DATAERR;
    }
    int code = save(a);
    if (code == EX_OK)
        tell_replaced(a);
    return code;
}

/* ---- removing, showing ---------------------------------------------------------------------------------------------------- */

static int run_remove(struct dkim_arguments *a)
{
    if ((a->selector != NULL) == a->retired)
        return cli_wrong_usage(DKIM_SELF,
                               "remove which? Give --selector S, or --retired for all whose record may go");
    if (a->retired) {
        drop_retired(a);
        return save(a);
    }
    struct dkim_stored *k = dkim_ring_find(a->ring, vr_str_from(a->selector));
    if (k == NULL) {
        fprintf(stderr, DKIM_SELF ": %.*s has no key %s; `veredus dkim list %.*s` shows all\n",
                VR_STR_ARG(a->domain), a->selector, VR_STR_ARG(a->domain));
        return EX_DATAERR;
    }
    enum dkim_phase phase = dkim_phase_of(k, a->now);
    if (phase == DKIM_SIGNING && !a->force) {
        fprintf(
            stderr,
            DKIM_SELF
            ": the key %s of %.*s signs mail now; `veredus dkim rotate %.*s` replaces it, --force removes "
            "it all the same\n",
            a->selector, VR_STR_ARG(a->domain), VR_STR_ARG(a->domain));
        return EX_DATAERR;
    }
    dkim_ring_remove(a->ring, k, a->now);
    int code = save(a);
    if (code == EX_OK)
        printf("Removed %s. %s\n", a->selector,
               phase == DKIM_SIGNING || phase == DKIM_RETIRING
                   ? "Leave its record published for a week: mail that it signed is on its way."
                   : "Its record may be taken out of the zone.");
    return code;
}

static int run_record(struct dkim_arguments *a)
{
    bool any = false;
    for (size_t i = 0; i < a->ring->count; i++) {
        const struct dkim_stored *k = &a->ring->keys[i];
        bool wanted = a->selector != NULL ? vr_str_equal_nocase(k->selector, vr_str_from(a->selector))
                                          : dkim_phase_of(k, a->now) != DKIM_RETIRED;
        if (wanted)
            dkim_print_record(a->ring, k);
        any = any || wanted;
    }
    if (any)
        return EX_OK;
    fprintf(stderr, DKIM_SELF ": there is no such key; `veredus dkim list %.*s` shows all\n",
            VR_STR_ARG(a->domain));
    return EX_DATAERR;
}

/* ---- the command line ------------------------------------------------------------------------------------------------------- */

static const struct operation {
    const char *name;
    bool makes; /* the first key of a domain may be made by it */
    bool changes;
    int (*run)(struct dkim_arguments *a);
} operations[] = {
    {"keygen", true, true, run_keygen},  {"import", true, true, run_import},
    {"rotate", false, true, run_rotate}, {"activate", false, true, run_activate},
    {"remove", false, true, run_remove}, {"record", false, false, run_record},
    {"list", false, false, NULL},
};

/* With the domain's ring, and under the lock where something changes. */
static int run(struct dkim_arguments *a, const struct operation *op)
{
    char error[DKIM_STORE_ERROR];
    int lock = op->changes ? dkim_store_lock(a->state.folder, owner_of(a), error) : 0;
    if (lock < 0) {
        fprintf(stderr, DKIM_SELF ": %s\n", error);
        return lock == -EAGAIN ? EX_TEMPFAIL : lock == -EACCES ? EX_NOPERM : EX_CANTCREAT;
    }
    enum dkim_store_result r = dkim_store_load(a->state.folder, a->domain, &a->ring, error);
    if (r == DKIM_STORE_NONE && op->makes && (a->ring = dkim_ring_new(a->domain)) != NULL)
        r = DKIM_STORE_OK;
    int code = r == DKIM_STORE_OK ? op->run(a) : dkim_complain(r, a->domain, error);
    dkim_ring_free(a->ring);
    if (op->changes)
        io_fs_close(lock);
    return code;
}

static const struct operation *find_operation(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

static int run_in_state(struct dkim_arguments *a, const struct operation *op, const char *domain)
{
    char error[DKIM_STORE_ERROR];
    struct vr_arena arena;
    enum dkim_store_result r = DKIM_STORE_OK;
    vr_arena_init(&arena, 16384);
    if (domain != NULL)
        r = dkim_store_domain(&arena, vr_str_from(domain), &a->domain, error);
    int code = EX_CONFIG;
    if (r != DKIM_STORE_OK)
        code = dkim_complain(r, vr_str_from(domain), error);
    else if (cli_state_find(&a->state) && (!op->makes || cli_state_make(&a->state)))
        code = op->run != NULL ? run(a, op) : dkim_print_list(&a->state, a->domain, a->json, a->now);
    cli_state_free(&a->state);
    vr_arena_fini(&arena);
    return code;
}

int cli_dkim(int argc, char **argv)
{
    struct dkim_arguments a;
    int code = dkim_read_options(argc, argv, &a);
    if (code >= 0)
        return code;
    if (optind == argc) {
        dkim_usage(stderr);
        return EX_USAGE;
    }
    const struct operation *op = find_operation(argv[optind]);
    if (op == NULL)
        return cli_wrong_usage(
            argv[0],
            "there is no \"%s\"; there are keygen, import, rotate, activate, remove, record and list",
            argv[optind]);
    int rest = argc - optind - 1;
    if (rest > 1 || (rest == 0 && op->run != NULL))
        return cli_wrong_usage(argv[0], "%s takes %s", op->name,
                               op->run != NULL ? "exactly one domain" : "one domain, or none: it shows all");
    return run_in_state(&a, op, rest == 1 ? argv[optind + 1] : NULL);
}
