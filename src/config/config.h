/* config.h - the configuration: one immutable structure, parsed by the supervisor before it forks.
 *
 * Every key is documented in docs/configuration.md (a test compares config_keys[] with it). Units: sizes in bytes, times in milliseconds unless
 * the name says otherwise. In the file sizes take K, M, G and times take ms, s, m, h, d.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "event/event.h"
#include "io/stream.h"
#include "ipc/ipc.h"

#include <veredus/dmarc.h>
#include <veredus/sasl.h>
#include <veredus/srs.h>

struct config_networks {
    struct io_network *items;
    size_t count;
};

/* Who is served: with VRFY, EXPN. Known are those who logged in, trusted clients, and programs of this machine. */
enum config_audience { AUDIENCE_NOBODY, AUDIENCE_KNOWN, AUDIENCE_EVERYBODY };

/* Who may ask for the mail of a domain or route (ETRN). */
struct config_askers {
    struct config_networks networks;
    struct vr_str *accounts; /* lower case */
    size_t account_count;
};

enum listener_role { LISTENER_MX, LISTENER_SUBMISSION, LISTENER_SUBMISSIONS, LISTENER_LMTP, LISTENER_MTA_STS };
struct config_listener {
    struct io_address address;
    enum listener_role role;
    struct config_networks proxy;   /* may, and must, speak the PROXY protocol; none: nobody does */
    struct config_networks bare_lf; /* clients whose lines may end in LF alone */
    bool tls;              /* of MTA_STS: HTTPS, else HTTP for a proxy of this machine */
    const char *client_ca; /* PEM: who signs certificates of clients; NULL: they are not asked for one */
    const char *file;               /* where it was configured, for messages */
    int line;
};

struct config_tls { /* tls "name [name…]" { certificate key } */
    const char *names, *certificate, *key;
    const char *file;
    int line;
};

/* What is done with a message that fails, at the most. VERIFY_NONE: nobody looks. VERIFY_UNSET: as `verify` says (while loading only). */
enum verify_action { VERIFY_UNSET, VERIFY_NONE, VERIFY_MARK, VERIFY_QUARANTINE, VERIFY_REJECT };
extern const char *const verify_action_names[];
struct config_verify {
    enum verify_action spf, dkim, dmarc;
};

enum deliver_kind { DELIVER_MAILDIR, DELIVER_LMTP, DELIVER_SMTP };
enum mailboxes_kind { MAILBOXES_ACCOUNTS, MAILBOXES_SYSTEM, MAILBOXES_ANY };
/* What a domain publishes of itself: `veredus dns`, and the MTA-STS policy that is served. */
enum config_mta_sts { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE };
struct config_published {
    struct vr_str *mx; /* A-labels; none: the hostname */
    size_t mx_count;
    struct vr_str spf, dmarc;   /* records, whole; empty: made of the rest */
    struct vr_str *tls_reports; /* URIs; none: mailto:postmaster@ the domain */
    size_t tls_report_count;
    enum config_mta_sts mta_sts;
    int64_t mta_sts_max_age;
    struct vr_str imaps_host; /* empty: none is told */
    uint16_t imaps_port;
};

struct alias_table; /* loaded aliases, see routing.h */
struct config_domain {
    struct vr_str name;  /* lower case, in U-labels or A-labels as it was written: what {domain} stands for */
    struct vr_str ascii; /* in A-labels: by which it is found, and its mailboxes are named */
    enum deliver_kind deliver;
    struct vr_str maildir;    /* template: {domain} {local} {home} */
    struct next_hop next_hop; /* LMTP, SMTP */
    enum mailboxes_kind mailboxes;
    struct vr_str catch_all; /* address; empty: none */
    bool sign;               /* mail from this domain's users, with its DKIM keys where there are some */
    bool smtputf8;           /* who keeps its mail takes what is beyond ASCII (RFC 6531) */
    char delimiter;          /* '+'; 0: none */
    struct vr_str
        owner; /* system user that owns the mailboxes of accounts; empty: the local process's user */
    const char *aliases_file; /* local parts of this domain; NULL: none */
    const char *virtual_file; /* "address  targets" and "@domain targets"; NULL: none */
    struct alias_table *aliases;
    struct config_askers etrn;
    struct config_published publish;
    struct config_verify verify;
    const char *file;
    int line;
};

struct config_rate { /* "100/1m": so many deliveries in such a time; count 0: no limit */
    uint32_t count;
    int64_t period_ms;
};

enum config_chunking { CHUNKING_AUTO, CHUNKING_YES, CHUNKING_NO }; /* BDAT: where it helps, wherever it is offered, never */

struct config_route {      /* route "pattern" { to tls user password token … } */
    struct vr_str pattern; /* "example.org", ".example.org" (any below), "*"; as config_domain.name */
    struct vr_str ascii;
    struct next_hop next_hop;
    struct vr_str user, password, token; /* at most one of the two secrets */
    const char *tls_certificate, *tls_key; /* shown to a server that asks; NULL: none */
    struct vr_str mechanism; /* of SASL, the only one; empty: the best */
    unsigned concurrency; /* 0: that of `sending` */
    struct config_rate rate;
    struct io_address source, source6; /* family IO_NONE: that of `sending` */
    struct config_askers etrn;
    enum config_chunking chunking;
    const char *file;
    int line;
};

/* Where accounts come from. */
enum accounts_from { ACCOUNTS_FROM_SQLITE, ACCOUNTS_FROM_PASSWD, ACCOUNTS_FROM_PAM, ACCOUNTS_FROM_DOVECOT };
struct config_accounts_source {
    enum accounts_from kind;
    const char *at; /* PASSWD: the file; PAM: the service; DOVECOT: the socket; SQLITE: "" */
};
#define ACCOUNTS_SOURCES_MAX 8

struct config_oauth { /* who checks the tokens of OAUTHBEARER and XOAUTH2 */
    const char *introspection;       /* an https:// URL; NULL: none */
    const char *openid_configuration; /* an https:// URL told to clients; NULL: none */
    struct vr_str client_id;         /* empty: none */
    const char *client_secret_file;  /* read by the keeper; NULL: none */
    const char *ca_file;             /* trusted for the endpoint; NULL: the system's */
    const char **jwt_keys;           /* files, NULL-terminated; NULL: none */
    const char *jwt_secret_file;     /* of HS256; NULL: none */
    struct vr_str issuer;            /* required when not empty */
    const char **audience, **scopes; /* NULL-terminated; NULL: not looked at */
    const char *claim;               /* which claim is the account: "email" */
    bool unknown_accounts;           /* accounts that nobody else knows are let in */
    int64_t cache, timeout;
};
#define OAUTH_LIST_MAX 16 /* keys, audiences, scopes */

struct config_srs { /* reverse paths of mail that is forwarded */
    struct vr_str domain;    /* A-labels; empty: they stay as they are */
    const char *secret_file; /* NULL: <state>/srs.secret, made at the first start */
    int64_t max_age;
    struct vr_str secrets[SRS_SECRETS_MAX]; /* read at the start (srs.c): in the supervisor, receivers and the queue only */
    size_t secret_count;
};

struct config_reports { /* to owners of domains */
    bool dmarc, failures, tls;
    struct vr_str from;         /* address; empty: postmaster at the host name */
    struct vr_str organization; /* empty: the domain of `from` */
    struct vr_str contact;      /* how to reach a person; empty: none */
    int64_t interval;           /* 1d */
};

/* Which mail of strangers is sealed: what leaves again, all of it, none. */
enum config_arc_seal { ARC_SEAL_FORWARDED, ARC_SEAL_ALWAYS, ARC_SEAL_NEVER };
extern const char *const arc_seal_names[];

struct config {
    struct vr_arena arena;
    struct vr_str hostname;   /* default: the system's */
    struct vr_str postmaster; /* address; empty: kept in <state>/postmaster */
    const char *spool;        /* /var/spool/veredus */
    const char *state;        /* /var/lib/veredus: accounts.db, certificates made at the first start */
    const char *run;          /* /run/veredus: control and submit sockets */
    enum event_format log_format;
    enum event_level log_level;
    unsigned receivers, senders; /* processes; 0 in the file: number of cores */

    struct config_listener *listeners;
    size_t listener_count;
    size_t web_count; /* behind those: listeners of role mta-sts, which are the web process's */
    struct config_tls *tls;
    size_t tls_count;
    struct config_networks trusted; /* may relay without AUTH; default none */
    struct config_networks xclient; /* may say by XCLIENT that they are somebody else; default none */
    struct config_networks xforward;
    enum config_audience vrfy, expn;
    struct vr_str no_soliciting; /* keywords, separated by commas (RFC 3865) */
    bool any_etrn;               /* some domain or route has it */
    struct vr_str authserv_id;   /* our name in Authentication-Results; the hostname when none is given */
    struct config_verify verify; /* of strangers' mail, for domains that say nothing else */
    struct config_verify verify_any; /* the most that any domain wants */
    enum dmarc_method verify_dmarc_method;
    bool verify_accepts_temperror;   /* what cannot be verified now is taken all the same */
    struct config_networks verify_skip; /* clients that are not strangers; default: this machine's own */
    int64_t verify_timeout;          /* for each of SPF, DKIM, ARC and DMARC: then the DNS has failed */
    enum config_arc_seal arc_seal;
    struct vr_str arc_domain;        /* A-labels; empty: that of hostname, or above it, which has a key */
    struct vr_str *arc_trusted;      /* domains whose ARC seals count */
    size_t arc_trusted_count;
    struct config_domain *domains;
    size_t domain_count;
    struct config_route *routes;
    size_t route_count;
    void *index; /* routing.c's hash of domains and routes */

    /* limits */
    uint64_t message_size; /* 50M */
    unsigned recipients;   /* 1000 */
    unsigned line_length;  /* 65536 */
    unsigned errors, commands, received;
    unsigned connections, connections_per_address;
    int64_t command_timeout, data_timeout;
    int64_t deliver_by_min; /* 0: none is named */
    int64_t future_release; /* 30d; 0: FUTURERELEASE is not offered */

    /* authentication */
    unsigned mechanisms; /* enum sasl_bit: what may be offered, where the session allows it */

    /* submission */
    bool any_sender;    /* authenticated users may use any sender address */
    bool auth_in_clear; /* lab use */

    /* accounts */
    struct config_accounts_source *accounts; /* asked in this order */
    size_t accounts_count;
    struct vr_str accounts_domain; /* of names without one; empty: there is none */
    bool pam_address;              /* PAM is given the whole address, not the local part */
    const char *dovecot_userdb;    /* NULL: Dovecot is not asked who has a mailbox */
    int64_t accounts_timeout;
    struct config_oauth oauth;

    struct config_srs srs;

    /* queue */
    int64_t *retry;
    size_t retry_count;        /* 1m 5m 15m 30m, the last (1h) repeats */
    int64_t expire;            /* 5d */
    int64_t delay_warning;     /* 4h; 0: never */
    uint64_t segment_size;     /* 64M */
    uint64_t checkpoint_after; /* bytes of new log: 64M */
    uint64_t minimum_free;     /* bytes free below which intake stops: 452. 64M */
    uint64_t inline_body;      /* bodies up to this ride in the log: 64K */

    /* sending */
    unsigned concurrency;              /* connections at a time to one destination: 20 */
    struct config_rate rate;           /* to one destination */
    int64_t connection_idle;           /* an idle connection is kept for reuse: 5s */
    int64_t connect_timeout;           /* 30s */
    int64_t command_timeout_sending;   /* 0: the RFC's table */
    uint16_t mx_port;                  /* 25; for labs */
    struct io_address source, source6; /* family IO_NONE: any */
    bool dane, mta_sts;                /* mail exchangers are verified as their domains publish it */
    uint16_t mta_sts_port;             /* 443; for labs */
    const char *ca_file;               /* trusted CAs; NULL: the system's */
    const char **dns_servers;          /* NULL-terminated; NULL: resolv.conf */
    const char *trust_anchor;

    struct config_reports reports;

    /* users of the privileged mode */
    const char *user, *user_keeper, *user_queue; /* _veredus _veredusk _veredusq */
};

/* One complaint about a configuration. */
struct config_problem {
    const char *file;
    int line;
    bool warning;        /* reported, not fatal */
    const char *message; /* "what was wrong; expected …" */
    struct config_problem *next;
};

struct config_load {
    struct config *config;           /* NULL when there are errors */
    struct config_problem *problems; /* in the order of file and line */
    unsigned errors, warnings;
    const char *run; /* where the sockets are: also of a configuration with errors, whose server may run all the same; NULL when it cannot be read */
};

/* Reads the file (default /etc/veredus/veredus.conf), all it includes, its alias and virtual files; checks everything (does not open
 * sockets). ALL errors are collected. Never NULL. */
struct config_load *config_load_file(const char *path);
/* The same from text, `name` in messages (the embedded configuration of script/server and tests). */
struct config_load *config_load_text(const char *name, struct vr_str text);
void config_load_free(struct config_load *l); /* the config too, unless taken */
struct config *config_take(struct config_load *l);
void config_free(struct config *c);
/* Wipes passwords and tokens of routes: every process but the sender calls it after the fork. */
void config_forget_secrets(struct config *c);
/* Reads the secrets of SRS addresses, which the supervisor or an administrator made. False: `error` says why. Without srs.domain there is nothing to read. */
bool config_srs_read(struct config *c, char error[512]);
/* Where they are: srs.secret_file, or <state>/srs.secret. */
void config_srs_path(const struct config *c, char out[400]);
/* Wipes them: every process but receivers and the queue calls it after the fork. */
void config_forget_srs(struct config *c);
/* What srs.h takes. It points into the configuration; secret_count is 0 where there are none. */
struct srs config_srs(const struct config *c);
/* May a token be checked at all? */
bool config_has_oauth(const struct config *c);
/* Have all accounts keys for SCRAM and CRAM-MD5? Those of the data base alone have. */
bool config_has_keys(const struct config *c);
/* Is there such a source of accounts? */
bool config_has_accounts(const struct config *c, enum accounts_from kind);
/* Appends the configuration with all its defaults as a text that would load again; passwords are left out. */
bool config_print(const struct config *c, struct vr_buf *out);
#define CONFIG_DEFAULT_PATH "/etc/veredus/veredus.conf"

/* How a value is read and where it goes. */
enum config_kind {
    CONFIG_SPECIAL, /* a function of apply.c */
    CONFIG_TEXT,    /* struct vr_str */
    CONFIG_PATH,    /* const char *, must begin with "/" */
    CONFIG_NAME,    /* const char * */
    CONFIG_SIZE,    /* uint64_t */
    CONFIG_TIME,    /* int64_t, milliseconds */
    CONFIG_COUNT,   /* unsigned */
    CONFIG_PORT,    /* uint16_t */
    CONFIG_BOOL     /* bool */
};

/* All keys: what the loader, the documentation test and `veredus check --keys` know of them. */
struct config_key {
    const char *section; /* "" at the top */
    const char *key;
    const char *unit;     /* "bytes", "time", "address", "yes or no", … */
    const char *fallback; /* default, as text */
    const char *purpose;  /* one line */
    const char *postfix;  /* Postfix's name of the thing, or NULL */
    enum config_kind kind;
    bool list;         /* { a, b } */
    size_t offset;     /* into struct config, or config_listener for "listen", config_domain for "domain", config_tls for "tls", … */
    uint64_t min, max; /* of SIZE, TIME, COUNT, PORT */
};
extern const struct config_key config_keys[];
extern const size_t config_key_count;

#endif
