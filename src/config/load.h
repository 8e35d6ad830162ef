/* load.h - how a configuration is loaded. Internal to src/config/.
 *
 * The path: config_load_file (load.c) → source_read (source.c: includes laid out, comments blanked, statements found) → statement_values
 * (parse.c: libConfuse reads one statement) → config_apply (apply.c and settings.c: the row of config_keys[] says where the value goes) → config_check
 * (checks.c: what only shows when all is known) → alias tables (aliases.c) → the routing index (routing.c). Each step adds to one list of problems and
 * goes on, so that one run shows all of them.
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "config/config.h"

/* ---- problems (problems.c) ---------------------------------------------------------------------------------- */

struct place {
    const char *file;
    int line;
};

struct problems {
    struct vr_arena *arena;
    struct config_problem *list; /* newest first until problems_sort */
    unsigned errors, warnings, total;
};
#define PROBLEMS_MAX 100 /* more are counted, not kept: a wrong file should not flood a terminal */
#define PROBLEM_TEXT 1024

void problem_error(struct problems *p, struct place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void problem_warning(struct problems *p, struct place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* By file (in the order in which files were met), then line; the same complaint twice is kept once. */
void problems_sort(struct problems *p);

/* The arena's memory, or the end of the process: a configuration is made by an administrator, and its bound is far away. */
void *must_alloc(struct vr_arena *a, size_t n);
struct vr_str must_dup(struct vr_arena *a, struct vr_str s);
const char *must_text(struct vr_arena *a, struct vr_str s); /* NUL-terminated */

/* The closest of n words to `word` (a few typing errors away), or NULL. each(i) gives word i. */
const char *closest_word(struct vr_str word, const char *const *words, size_t n);

/* ---- sources (source.c) --------------------------------------------------------------------------------------- */

enum statement_kind { STATEMENT_KEY, STATEMENT_SECTION, STATEMENT_END /* of a section */ };
struct statement {
    enum statement_kind kind;
    struct vr_str word;  /* key or section name */
    struct vr_str title; /* SECTION: as written, with its quotes; empty: none */
    struct vr_str text;  /* KEY: "= value" or "+= { list }", as written */
    struct place at;
    struct statement *next;
};

struct source;
/* Reads `text` (of file `name`) and all that it includes; the list of statements in their order. */
struct statement *source_read(struct vr_arena *arena, struct problems *p, const char *name,
                              struct vr_str text);

/* ---- names (names.c) ---------------------------------------------------------------------------------------- */

/* A domain as the DNS and the index of domains have it: A-labels in lower case. What is none ("*", a mistake that was reported) is lowered. A "." or "*."
 * in front stays. */
struct vr_str ascii_name(struct vr_arena *arena, struct vr_str name);
/* As the administrator wrote it, in one spelling: U-labels stay U-labels, A-labels A-labels, all in lower case. */
struct vr_str written_name(struct vr_arena *arena, struct vr_str name);

/* ---- values (parse.c, values.c) ---------------------------------------------------------------------------- */

struct value {
    struct vr_str text; /* NUL-terminated */
    struct place at;
    struct value *next;
};
/* What libConfuse makes of a statement's value: quotes and escapes undone, ${variables} put in. list: "{ a, b }" is allowed. NULL after an error (noted). */
struct value *statement_values(struct vr_arena *arena, struct problems *p, const struct statement *s,
                               bool list);
/* The same for a title; {NULL,0} after an error. */
struct vr_str statement_title(struct vr_arena *arena, struct problems *p, const struct statement *s);

/* Each: false when `text` is not what it should be; the caller says what was expected. */
bool value_size(struct vr_str text, uint64_t *bytes);
bool value_time(struct vr_str text, int64_t *ms);
bool value_bool(struct vr_str text, bool *out);
/* The largest unit that fits: "50M", "90s". */
void write_amount(struct vr_buf *out, enum config_kind kind, uint64_t v);
/* "smtp:host:port", "lmtp:unix:/path", "mx", "error:5.7.1 text", … NULL, or what is wrong with it. */
const char *value_next_hop(struct vr_arena *arena, struct vr_str text, struct next_hop *out);

/* ---- sections (apply.c) and checks (checks.c) ------------------------------------------------------------------ */

/* A section of the language; rows of config_keys[] with its name stand together. */
struct section {
    const char *name;   /* "" for the top */
    bool titled;        /* may stand several times, each with a title */
    size_t first, rows; /* of config_keys[] */
    size_t count;       /* of titled ones */
    struct place *seen; /* count × rows: where a key was written; file NULL: it was not */
};
enum section_id {
    SECTION_TOP,
    SECTION_LISTEN,
    SECTION_TLS,
    SECTION_DOMAIN,
    SECTION_ROUTE,
    SECTION_LIMITS,
    SECTION_AUTHENTICATION,
    SECTION_SUBMISSION,
    SECTION_ACCOUNTS,
    SECTION_OAUTH,
    SECTION_SRS,
    SECTION_QUEUE,
    SECTION_SENDING,
    SECTION_DNS,
    SECTION_REPORTS,
    SECTION_VERIFY,
    SECTION_ARC,
    SECTION_LOG,
    SECTION_PROCESSES,
    SECTION_COUNT
};

extern const char *const section_names[SECTION_COUNT];

struct loader {
    struct config *c;
    struct problems problems;
    struct vr_arena scratch; /* dies with the load */
    const char *main_file;
    struct section sections[SECTION_COUNT];
};

/* One value to be put in its place (settings.c). */
struct setting {
    struct loader *l;
    void *target; /* struct config, config_domain, … */
    const struct config_key *row;
    struct place at;
    bool adds; /* "+=" */
    struct value *values;
};
void setting_apply(const struct setting *s);
/* settings.c, for its sisters: a complaint about the value; a path; one of some words (*out), or the complaint. */
void setting_wrong(const struct setting *s, const char *expected);
void setting_path(const struct setting *s, void *field);
struct word_value {
    const char *word;
    int value;
};
bool setting_choose(const struct setting *s, const struct word_value *words, size_t n, const char *expected,
                    int *out);
#define CHOOSE(s, words, expected, out)                                                                      \
    setting_choose(s, words, sizeof(words) / sizeof(words)[0], expected, out)
/* login.c */
void set_password(const struct setting *s);
void set_password_file(const struct setting *s);
void set_token(const struct setting *s);
void set_token_file(const struct setting *s);
void set_mechanism(const struct setting *s);
void set_mechanisms(const struct setting *s);
/* settings_clients.c: who may do what */
void set_networks(const struct setting *s);
void set_audience(const struct setting *s);
void set_etrn(const struct setting *s);
void set_published_mx(const struct setting *s); /* settings_publish.c */
void set_published_record(const struct setting *s);
void set_tls_reports(const struct setting *s);
void set_mta_sts(const struct setting *s);
void set_imaps(const struct setting *s);
void set_no_soliciting(const struct setting *s);
/* settings_verify.c: who is who he says he is */
void set_verify_action(const struct setting *s);
void set_verify_dmarc_method(const struct setting *s);
void set_verify_temperror(const struct setting *s);
void set_verify_skip(const struct setting *s);
void default_verify(struct config *c);
void set_authserv_id(const struct setting *s);
void set_arc_seal(const struct setting *s);
void set_arc_domain(const struct setting *s);
void set_arc_trusted(const struct setting *s);
void settle_verify(struct config *c); /* what was not written, when all was read */
/* Of `accounts` and `oauth` (settings_accounts.c), and the rules across their keys (checks_accounts.c). */
void set_accounts_from(const struct setting *s);
void set_accounts_domain(const struct setting *s);
void set_pam_name(const struct setting *s);
void set_https_url(const struct setting *s);
void set_jwt_keys(const struct setting *s);
void set_token_audience(const struct setting *s);
void set_scope(const struct setting *s);
void check_accounts(struct loader *l);
void check_oauth(struct loader *l);
/* What checks share. */
void check_file(struct loader *l, struct place at, const char *what, const char *path); /* cannot be read: an error */
bool check_open_to_all(const char *path); /* may every user of this machine read it? */
/* What config_keys[] names as defaults, where it is a value of the key. */
void settings_default(struct config *c);

/* Statements → the fields of l->c; defaults where nothing was written. */
void config_apply(struct loader *l, struct statement *statements);
/* Where a key was written; when it was not: file NULL. */
struct place config_place(const struct loader *l, enum section_id section, size_t index, const char *key);
/* checks_web.c: the i-th listener as it was written; and those of the web process go behind the others. */
void check_web(struct loader *l, const struct config_listener *x, size_t i);
void part_listeners(struct config *c);
void config_check(struct loader *l);

#endif
