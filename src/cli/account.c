/* account.c - `veredus account`: adds, lists and removes accounts, changes passwords and sender rights.
 *
 * Writes the accounts data base itself (SQLite arranges it with the keeper, which sees each change at once); no server needs to run.
 * The file belongs to the keeper's user, so that root's command and the keeper both get at it.
 */
#include "cli/cli.h"
#include "cli/state.h"

#include "config/config.h"
#include "config/routing.h"
#include "io/env.h"
#include "io/fs.h"
#include "io/process.h"
#include "io/terminal.h"
#include "keeper/accounts.h"
#include "keeper/keeper.h"

#include <veredus/address.h>

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define SEND_AS_MAX    64
#define SHORT_PASSWORD 10
#define PASSWORD_READ  (SASL_PASSWORD_MAX + 2)

struct arguments {
    struct cli_state state;
    const char *send_as[SEND_AS_MAX];
    size_t send_as_count;
    const char *not_send_as[SEND_AS_MAX];
    size_t not_send_as_count;
    bool password_stdin, json, same_owner;
    char path[512];
};

static void usage(FILE *out)
{
    fputs("usage: veredus account add ADDRESS [--send-as ADDRESS|@DOMAIN]... [--same-owner] "
          "[--password-stdin]\n"
          "       veredus account password ADDRESS [--password-stdin]\n"
          "       veredus account change ADDRESS [--send-as ADDRESS|@DOMAIN]... [--not-send-as ...]... "
          "[--same-owner]\n"
          "       veredus account remove ADDRESS\n"
          "       veredus account list [--json]\n\n"
          "  --send-as A       the account may also send as this address, or as all of @example.org\n"
          "  --not-send-as A   ... no longer (change)\n"
          "  --same-owner      whoever had this address before is who has it now (add, change)\n"
          "  --password-stdin  the password is the first line of standard input\n"
          "  --json            the list as JSON\n"
          "  --config FILE     where to read the \"state\" folder from (default " CONFIG_DEFAULT_PATH ")\n"
          "  --state DIR       the \"state\" folder itself; accounts are in its file " KEEPER_DATABASE "\n",
          out);
}

/* ---- the data base ------------------------------------------------------------------------------------------------ */

/* SQLite says only "unable to open": false after having said what is the matter. */
static bool may_write(const char *path)
{
    int fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE, 0);
    if (fd != -EACCES && fd != -EPERM) {
        if (fd >= 0)
            io_fs_close(fd);
        return true;
    }
    fprintf(stderr, "veredus account: %s: %s; run this as root, or as the user whom the server runs as\n",
            path, io_error_text(fd));
    return false;
}

/* NULL after having said why; *code is then the exit code. */
static struct accounts *open_data_base(const struct arguments *a, bool create, int *code)
{
    struct io_fs_stat st;
    char error[256] = "";
    bool is_new = io_fs_stat(a->path, &st) == -ENOENT;
    *code = is_new && create ? EX_CANTCREAT : EX_NOINPUT;
    if (is_new && !create) {
        fprintf(
            stderr,
            "veredus account: there are no accounts yet (%s does not exist); `veredus account add` makes the "
            "first one\n",
            a->path);
        return NULL;
    }
    if (is_new && !cli_state_make(&a->state))
        return NULL;
    if (!is_new && !may_write(a->path)) {
        *code = EX_NOPERM;
        return NULL;
    }
    struct accounts *db = accounts_open(a->path, create, error);
    if (db == NULL)
        fprintf(stderr, "veredus account: %s%s\n", error,
                io_is_root() ? "" : " (you are not root: may you read and write there?)");
    if (db != NULL)
        accounts_keep_cram(db, a->state.config != NULL && (a->state.config->mechanisms & SASL_CRAM_MD5));
    if (db != NULL && is_new && !cli_state_give(&a->state, a->path)) {
        accounts_close(db);
        return NULL;
    }
    return db;
}

/* Prints what became of a call; returns the exit code. */
static int report(const struct accounts *db, enum accounts_result r, const char *address)
{
    switch (r) {
    case ACCOUNTS_OK:
        return EX_OK;
    case ACCOUNTS_NO_SUCH:
        fprintf(stderr, "veredus account: there is no account %s; `veredus account list` shows all\n",
                address);
        return EX_NOUSER;
    case ACCOUNTS_EXISTS:
        fprintf(stderr,
                "veredus account: the account %s exists already; `veredus account password %s` changes its "
                "password\n",
                address, address);
        return EX_DATAERR;
    case ACCOUNTS_INVALID:
        fprintf(stderr, "veredus account: %s\n", accounts_error(db));
        return EX_DATAERR;
    case ACCOUNTS_TROUBLE:
        break;
    }
    fprintf(stderr, "veredus account: %s\n", accounts_error(db));
    return EX_IOERR;
}

/* ---- passwords ---------------------------------------------------------------------------------------------------- */

static void wipe(struct vr_buf *b)
{
    if (b->p != NULL)
        explicit_bzero(b->p, b->capacity);
    vr_buf_fini(b);
}

static bool type_twice(const char *address, struct vr_buf *out)
{
    struct vr_buf again;
    vr_buf_init(&again, PASSWORD_READ);
    char prompt[400];
    snprintf(prompt, sizeof prompt, "Password for %s: ", address);
    int status = io_terminal_secret(prompt, out);
    if (status == 0 && vr_buf_size(out) > 0)
        status = io_terminal_secret("The same again: ", &again);
    bool same = status == 0 && vr_str_equal(vr_buf_str(out), vr_buf_str(&again));
    if (status == -ENXIO)
        fprintf(stderr, "veredus account: no terminal to ask on; give the password with --password-stdin\n");
    else if (status == -EFBIG)
        fprintf(stderr, "veredus account: the password is too long: at most %d bytes\n", SASL_PASSWORD_MAX);
    else if (status != 0)
        fprintf(stderr, "veredus account: stopped; nothing was changed\n");
    else if (!same)
        fprintf(stderr, "veredus account: the two passwords differ; nothing was changed, try again\n");
    wipe(&again);
    return same;
}

static bool read_password(const struct arguments *a, const char *address, struct vr_buf *out)
{
    if (!a->password_stdin && io_is_terminal(IO_STDIN))
        return type_twice(address, out);
    int status = io_terminal_read_line(IO_STDIN, out);
    if (status == -EFBIG)
        fprintf(stderr, "veredus account: the password is too long: at most %d bytes\n", SASL_PASSWORD_MAX);
    else if (status != 0)
        fprintf(stderr, "veredus account: no password on standard input: %s\n",
                status == -ENODATA ? "it is empty" : io_error_text(status));
    return status == 0;
}

/* accounts_add or accounts_set_password with a password that was asked for. */
static int with_password(const struct arguments *a, struct accounts *db, const char *address,
                         enum accounts_result (*write)(struct accounts *, struct vr_str, struct vr_str,
                                                       const uint8_t *))
{
    struct vr_buf password;
    vr_buf_init(&password, PASSWORD_READ);
    int code = EX_NOINPUT;
    if (read_password(a, address, &password)) {
        uint8_t salts[ACCOUNTS_SALTS];
        struct io *io = io_new(1);
        io_random(io, salts, sizeof salts);
        io_free(io);
        code = report(db, write(db, vr_str_from(address), vr_buf_str(&password), salts), address);
        if (code == EX_OK && vr_buf_size(&password) < SHORT_PASSWORD)
            fprintf(
                stderr,
                "veredus account: note: a password of fewer than %d characters is guessed sooner or later\n",
                SHORT_PASSWORD);
    }
    wipe(&password);
    return code;
}

/* ---- operations --------------------------------------------------------------------------------------------------- */

static void hint_domain(const struct arguments *a, const char *address)
{
    const char *at = strrchr(address, '@');
    if (a->state.config == NULL || at == NULL)
        return;
    if (routing_domain(a->state.config, vr_str_from(at + 1)) == NULL)
        fprintf(stderr,
                "veredus account: note: \"%s\" is no domain of this configuration: the account may log in "
                "and send, but gets no "
                "mail here until there is a section: domain \"%s\" { … }\n",
                at + 1, at + 1);
}

static int change_rights(const struct arguments *a, struct accounts *db, const char *address)
{
    struct vr_str name = vr_str_from(address);
    for (size_t i = 0; i < a->send_as_count; i++) {
        enum accounts_result r = accounts_add_send_as(db, name, vr_str_from(a->send_as[i]));
        if (r != ACCOUNTS_OK)
            return report(db, r, address);
    }
    for (size_t i = 0; i < a->not_send_as_count; i++) {
        enum accounts_result r = accounts_exists(db, name);
        if (r == ACCOUNTS_OK)
            r = accounts_remove_send_as(db, name, vr_str_from(a->not_send_as[i]));
        else
            return report(db, r, address);
        if (r == ACCOUNTS_NO_SUCH) {
            fprintf(
                stderr,
                "veredus account: %s had no right to send as %s; `veredus account list` shows the rights\n",
                address, a->not_send_as[i]);
            return EX_DATAERR;
        }
        if (r != ACCOUNTS_OK)
            return report(db, r, address);
    }
    return EX_OK;
}

/* All or nothing: the address is as if it had never been added. */
static void take_back(struct accounts *db, const char *address, bool had_owner)
{
    accounts_remove(db, vr_str_from(address));
    if (!had_owner)
        accounts_same_owner(db, vr_str_from(address));
}

/* Says so when the address was somebody else's, or makes it the same owner's. Returns the exit code. */
static int settle_owner(const struct arguments *a, struct accounts *db, const char *address, bool *had_owner)
{
    int64_t since;
    enum accounts_result r = accounts_owner_since(db, vr_str_from(address), &since);
    *had_owner = r == ACCOUNTS_OK && since != ACCOUNTS_OWNER_ALWAYS;
    if (r == ACCOUNTS_OK && a->same_owner)
        r = accounts_same_owner(db, vr_str_from(address));
    return report(db, r, address);
}

static int run_add(const struct arguments *a, struct accounts *db, const char *address)
{
    enum accounts_result there = accounts_exists(db, vr_str_from(address));
    if (there == ACCOUNTS_OK || there == ACCOUNTS_TROUBLE) /* before a password is typed in vain */
        return report(db, there == ACCOUNTS_OK ? ACCOUNTS_EXISTS : there, address);
    int code = with_password(a, db, address, accounts_add);
    if (code != EX_OK)
        return code;
    bool had_owner;
    code = settle_owner(a, db, address, &had_owner);
    if (code == EX_OK)
        code = change_rights(a, db, address);
    if (code != EX_OK) {
        take_back(db, address, had_owner);
        return code;
    }
    printf("Added %s. It may log in at once.\n", address);
    if (had_owner && !a->same_owner)
        fprintf(
            stderr,
            "veredus account: note: somebody had this address before. Mail that is only for the former owner "
            "(RRVS) will be refused; if it is the same person: veredus account change %s --same-owner\n",
            address);
    hint_domain(a, address);
    return EX_OK;
}

static int run_password(const struct arguments *a, struct accounts *db, const char *address)
{
    enum accounts_result there = accounts_exists(db, vr_str_from(address));
    if (there != ACCOUNTS_OK)
        return report(db, there, address);
    int code = with_password(a, db, address, accounts_set_password);
    if (code == EX_OK)
        printf("Changed the password of %s. The old one does not work any more.\n", address);
    return code;
}

static int run_change(const struct arguments *a, struct accounts *db, const char *address)
{
    bool had_owner;
    if (a->send_as_count + a->not_send_as_count == 0 && !a->same_owner)
        return cli_wrong_usage("veredus account",
                               "change what? Give --send-as ADDRESS, --not-send-as ADDRESS or --same-owner");
    int code = settle_owner(a, db, address, &had_owner);
    if (code == EX_OK)
        code = change_rights(a, db, address);
    if (code == EX_OK)
        printf("Changed %s.\n", address);
    return code;
}

static int run_remove(const struct arguments *a, struct accounts *db, const char *address)
{
    (void)a;
    int code = report(db, accounts_remove(db, vr_str_from(address)), address);
    if (code == EX_OK)
        printf("Removed %s. Mail in its mailbox was not touched.\n", address);
    return code;
}

struct listing {
    struct vr_arena arena; /* of one account */
    size_t count;
    json_t *all;
};

static bool list_text(void *arg, struct vr_str address, struct vr_str send_as, int64_t created)
{
    struct listing *l = arg;
    struct vr_str name, shown = address_readable(&l->arena, address);
    const char *before = "  sends also as ";
    (void)created;
    l->count++;
    printf("%.*s", VR_STR_ARG(shown));
    for (; vr_str_split(&send_as, ' ', &name); before = " ") {
        shown = address_readable(&l->arena, name);
        printf("%s%.*s", before, VR_STR_ARG(shown));
    }
    putchar('\n');
    vr_arena_reset(&l->arena);
    return true;
}

static json_t *json_address(struct listing *l, struct vr_str address)
{
    struct vr_str shown = address_readable(&l->arena, address);
    return json_stringn(shown.p, shown.n);
}

static bool list_json(void *arg, struct vr_str address, struct vr_str send_as, int64_t created)
{
    struct listing *l = arg;
    json_t *names = json_array(), *one = json_object();
    struct vr_str name;
    while (vr_str_split(&send_as, ' ', &name))
        json_array_append_new(names, json_address(l, name));
    json_object_set_new(one, "address", json_address(l, address));
    json_object_set_new(one, "send_as", names);
    json_object_set_new(one, "created", json_integer(created));
    json_array_append_new(l->all, one);
    vr_arena_reset(&l->arena);
    return true;
}

static int run_list(const struct arguments *a, struct accounts *db, const char *address)
{
    (void)address;
    struct listing l = {.all = json_array()};
    vr_arena_init(&l.arena, 1u << 20);
    enum accounts_result r = accounts_list(db, a->json ? list_json : list_text, &l);
    if (r == ACCOUNTS_OK && a->json) {
        json_dumpf(l.all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (r == ACCOUNTS_OK && l.count == 0) {
        printf("There are no accounts.\n");
    }
    vr_arena_fini(&l.arena);
    json_decref(l.all);
    return report(db, r, "");
}

static const struct operation {
    const char *name;
    bool needs_address, creates;
    int (*run)(const struct arguments *a, struct accounts *db, const char *address);
} operations[] = {
    {"add", true, true, run_add},        {"password", true, false, run_password},
    {"change", true, false, run_change}, {"remove", true, false, run_remove},
    {"list", false, false, run_list},
};

/* ---- the command line ----------------------------------------------------------------------------------------------- */

static bool add_right(const char **list, size_t *count)
{
    if (*count == SEND_AS_MAX) {
        fprintf(
            stderr,
            "veredus account: at most %d addresses at a time; give the rest with `veredus account change`\n",
            SEND_AS_MAX);
        return false;
    }
    list[(*count)++] = optarg;
    return true;
}

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {{"send-as", required_argument, NULL, 's'},
                                            {"not-send-as", required_argument, NULL, 'S'},
                                            {"password-stdin", no_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"same-owner", no_argument, NULL, 'o'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"state", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    *a = (struct arguments){.state = {.self = "veredus account", .config_path = CONFIG_DEFAULT_PATH}};
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        bool good = true;
        if (o == 's')
            good = add_right(a->send_as, &a->send_as_count);
        else if (o == 'S')
            good = add_right(a->not_send_as, &a->not_send_as_count);
        else if (o == 'p')
            a->password_stdin = true;
        else if (o == 'j')
            a->json = true;
        else if (o == 'o')
            a->same_owner = true;
        else if (o == 'c')
            a->state.config_path = optarg, a->state.config_given = true;
        else if (o == 'd')
            a->state.folder = optarg;
        else {
            if (o != 'h')
                return cli_wrong_option(argv[0]);
            usage(stdout);
            return EX_OK;
        }
        if (!good)
            return EX_USAGE;
    }
    return -1;
}

/* False after having said why. */
static bool find_state(struct arguments *a)
{
    if (!cli_state_find(&a->state))
        return false;
    if (a->state.config != NULL && !config_has_accounts(a->state.config, ACCOUNTS_FROM_SQLITE))
        fprintf(stderr, "veredus account: warning: `accounts.from` does not name sqlite, so nobody asks for "
                        "these accounts; "
                        "add \"sqlite\" to it\n");
    if (snprintf(a->path, sizeof a->path, "%s/%s", a->state.folder, KEEPER_DATABASE) < (int)sizeof a->path)
        return true;
    fprintf(stderr, "veredus account: the path of the state folder is too long\n");
    return false;
}

int cli_account(int argc, char **argv)
{
    struct arguments a;
    int code = read_options(argc, argv, &a);
    if (code >= 0)
        return code;
    const struct operation *op = NULL;
    for (size_t i = 0; optind < argc && i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, argv[optind]) == 0)
            op = &operations[i];
    if (optind == argc) {
        usage(stderr);
        return EX_USAGE;
    }
    if (op == NULL)
        return cli_wrong_usage(
            argv[0], "there is no \"%s\"; there are add, password, change, remove and list", argv[optind]);
    if (argc - optind != (op->needs_address ? 2 : 1))
        return cli_wrong_usage(argv[0], "%s takes %s", op->name,
                               op->needs_address ? "exactly one address"
                                                 : "no address: it shows all accounts");
    const char *address = op->needs_address ? argv[optind + 1] : "";
    code = EX_CONFIG;
    if (find_state(&a)) {
        struct accounts *db = open_data_base(&a, op->creates, &code);
        code = db != NULL ? op->run(&a, db, address) : code;
        accounts_close(db);
    }
    cli_state_free(&a.state);
    return code;
}
