/* inside.h - what the files of the sender share.
 *
 * sender.c (the process) gives a job to a connection: an idle one of its destination (pool.c) or a new one. connection.c walks it through its
 * steps (resolve.c finds the hosts, policy.c says how much TLS each must do, sts.c asks for MTA-STS policies, report.c tells the log), transaction.c speaks about recipients, demands.c compares what message and server
 * want of each other, body.c feeds the message.
 */
#ifndef SENDER_INSIDE_H
#define SENDER_INSIDE_H

#include "io/dns.h"
#include "io/stream.h"
#include "ipc/inflight.h"
#include "sender/sts.h"

#include <veredus/dane.h>
#include <veredus/mime.h>
#include <veredus/mtasts.h>
#include <veredus/mx.h>
#include <veredus/smtp_client.h>

#include <sys/queue.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>
#pragma GCC diagnostic pop

struct connection;
TAILQ_HEAD(connection_list, connection);

struct sender {
    struct process *process;
    const struct config *config;
    struct io *io;
    struct event_log *log;
    struct io_dns *dns;
    struct io_tls *tls, **route_tls; /* route_tls[i]: of a route with a certificate of its own; NULL: tls */
    struct inflight *inflight;
    struct sts_asks *sts;
    struct connection_list connections; /* all */
    struct connection_list idle;        /* those without a job, the longest idle first */
    struct idle_key *idle_keys;         /* pool.c */
    unsigned connection_count, connection_max, idle_count, idle_max;
    struct io_timer *cancel_timer, *last_timer; /* of the drain */
    struct dns_address *own_addresses;
    size_t own_address_count;
    bool own_wildcard4, own_wildcard6; /* we listen on all addresses */
};

/* How much TLS a host must do, the least first. */
enum care_level {
    CARE_NEVER,
    CARE_MAY,
    CARE_ENCRYPT,
    CARE_AUTHORITY, /* a certificate by an authority, for the host's name */
    CARE_DANE       /* one that a TLSA record is about */
};
enum care_policy { POLICY_NONE, POLICY_DANE, POLICY_STS, POLICY_STS_TESTING /* noted only */ };

struct host_care {
    enum care_level level;
    enum care_policy policy;              /* what is published and holds */
    bool dns_id;                          /* AUTHORITY: the common name does not count */
    bool named;                           /* DNSSEC or MTA-STS vouches for it as a host of its domain */
    bool unknown;                         /* a look-up of DANE's failed */
    bool unsure;                          /* there may be an MTA-STS policy that could not be had */
    struct vr_str refused;                /* why it must not be used now; empty: it may */
    const struct vr_str *names, *records; /* DANE */
    size_t name_count, record_count;
    struct mtasts_policy sts; /* with STS, STS_TESTING */
};

/* One place to connect to. */
struct target {
    const struct host_care *care;
    struct io_address address;
    struct vr_str name; /* of the host; for verification, logs and reports */
};
#define TARGETS_MAX 24

/* Why a host could not be used. */
struct trouble {
    bool permanent;
    uint16_t code;
    char enhanced[12];
    char text[600];
};

enum step { STEP_RESOLVE, STEP_CONNECT, STEP_SECURE, STEP_SESSION, STEP_TRANSACTION, STEP_IDLE, STEP_QUIT };

/* body.c: the message of one transaction on its way out. */
struct body;

struct connection {
    struct sender *sender;
    enum step step;
    struct vr_arena arena;         /* hop, key, destination */
    struct vr_arena targets_arena; /* reset when resolved anew */
    struct next_hop hop;
    struct vr_str key;         /* what makes it reusable: destination, route, TLS */
    struct vr_str destination; /* next_hop_text */

    struct resolve *resolve;
    struct target *targets;
    size_t target_count, target;
    bool in_clear;          /* the opportunistic handshake failed with this target: once more without TLS */
    struct trouble trouble; /* of the targets so far: a temporary one stays before a permanent one */
    bool troubled;
    bool refused; /* a host was left for what is published about TLS: another message may still go there */
    char name[256], ip[IO_ADDRESS_TEXT]; /* the target's; empty: none was tried */

    struct io_stream *stream;
    struct io_timer *timer;
    struct smtp_client *engine;
    struct smtp_client_config smtp;
    int64_t opened_ms;
    unsigned deliveries; /* made on this stream */
    bool tls, open;
    bool verified;     /* under TLS, and the certificate is that of the name */
    uint64_t mails;    /* transactions of this session … */
    uint64_t *domains; /* … and hashes of its recipients' domains, where the server bounds them */
    size_t domain_count;
    bool leaving; /* what was written last may still go out when the stream is given up */

    /* the transaction */
    struct inflight_job *job; /* NULL when idle */
    struct smtp_mail mail;
    struct smtp_rcpt *rcpts;
    uint32_t *places; /* of rcpts[i] in job->d.rcpts */
    bool *accepted;   /* of rcpts[i] */
    uint32_t rcpt_count, accepted_count;
    bool reused;                /* the job came to a standing connection */
    bool answered;              /* the server replied to something of this transaction */
    bool in_mail;               /* between smtp_client_mail and the next READY */
    struct mime_survey *survey; /* of the job's message; NULL: not made yet, or body.c is at work with it */
    enum mime_transport to;     /* what the message is converted to; MIME_BINARY: it goes as it is … */
    enum smtp_body as;          /* … and is called so in MAIL */
    struct body *body;

    TAILQ_ENTRY(connection) entry, idle_entry, same_key;
};

/* connection.c */
struct connection *connection_new(struct sender *s, const struct next_hop *hop, struct vr_str key);
void connection_start(struct connection *c, struct inflight_job *job); /* resolve first */
void connection_reuse(struct connection *c, struct inflight_job *job); /* an idle one */
void connection_step(struct connection *c, enum step step);
void connection_pump(struct connection *c);
void connection_flush(struct connection *c);   /* what the engine has for the server goes to the stream */
void connection_restart(struct connection *c); /* the same job, as if the connection were new */
void connection_free(struct connection *c);    /* at once, without a word; its job must be gone */
void connection_tls_failed(struct connection *c, const char *why); /* in clear, or the next target */
void connection_next(struct connection *c);     /* the next target, or the end of job and connection */
void connection_job_done(struct connection *c); /* reports; the connection has no job then */
void connection_cancel(struct connection *c, enum delivery_status status, const char *enhanced,
                       const char *text);
int64_t connection_now(const struct connection *c);
const struct target *connection_target(const struct connection *c); /* the one at hand */

/* transaction.c: the engine's events between READY and READY. False: the connection has moved on or is gone. */
bool transaction_ready(struct connection *c);
void transaction_rcpt_result(struct connection *c, const struct smtp_client_event *ev);
void transaction_result(struct connection *c, const struct smtp_client_event *ev);
bool transaction_failed(struct connection *c, const struct smtp_client_event *ev);
/* The server may have the whole message by now, and has not said what became of it. */
bool transaction_is_out(const struct connection *c);
void transaction_surveyed(struct connection *c, bool readable); /* c->survey is set when it was */

/* body.c */
void body_begin(struct connection *c);
void body_feed(struct connection *c);   /* as much as the stream takes; again when it drained */
void body_drop(struct connection *c);   /* NULL-safe: also while a worker reads */
void body_survey(struct connection *c); /* what does the message need? transaction_surveyed, maybe later */

/* report.c: events */
uint64_t connection_queue_id(const struct connection *c); /* of the job; 0: none */
void report_place(const struct connection *c);            /* the fields that say which connection */
void report_open(struct connection *c);
void report_closed(struct connection *c);
void report_converted(struct connection *c, const struct mime_survey *survey); /* as it is sent now */
/* The target does not work: remembered and reported. Then connection_next. */
void connection_trouble(struct connection *c, bool permanent, uint16_t code, const char *enhanced,
                        const char *stage, struct vr_str text);

/* policy.c */
struct policy_wishes {
    bool dane, sts; /* are TLSA records, is the MTA-STS policy looked at? */
    bool strict;    /* REQUIRETLS */
    enum next_hop_tls tls;
};
struct policy_facts {
    struct policy_wishes wishes;
    struct vr_str domain, host;
    bool by_mx, mx_secure;           /* mx_secure: of mx_result; true without MX records */
    const struct dane_result *dane;  /* NULL: not looked at */
    const struct mtasts_policy *sts; /* NULL: none */
    bool sts_unsure;
};
struct policy_wishes policy_wishes(const struct connection *c);
const struct host_care *policy_of_host(struct vr_arena *arena,
                                       const struct policy_facts *f); /* all of it in the arena */
const char *policy_name(const struct host_care *h);   /* "dane", "sts", "sts-testing", "none" */
const char *policy_reason(const struct host_care *h); /* "; … wants it", "" */

/* seen.c: for TLS reports */
void seen_session(
    const struct connection *c,
    const char *error); /* it is open; error: of a certificate that was not insisted on, or "" */
void seen_no_tls(const struct connection *c);                     /* TLS must be, and is not offered */
void seen_handshake(const struct connection *c, const char *why); /* it failed */
void seen_refused(const struct connection *c); /* the host is not used, for what is published */
void seen_policy_unsure(const struct connection *c, struct vr_str why);

/* resolve.c */
struct resolve *resolve_new(struct connection *c);
void resolve_go(struct resolve *r); /* connection_resolved comes, perhaps before the return */
void resolve_free(struct resolve *r);
void connection_resolved(struct connection *c, const struct mx_result *result); /* NULL: targets are set */

/* demands.c: what a message demands of a server, what a server demands of us */
bool demands_tls(const struct inflight_job *j); /* does REQUIRETLS bind this delivery? NULL: no */
bool demands_no_tls(
    const struct inflight_job *j); /* does it go whatever is published about TLS (TLS-Required: No)? */
/* The next hop as this delivery needs it. */
void demands_raise(const struct inflight_job *j, struct next_hop *hop);
/* May the target be trusted with the job? False: the trouble was told. */
bool demands_name(struct connection *c);
/* The session is ready: is it good for the job? False: the connection has moved on or is gone. Recipients that cannot go are settled. */
bool demands_met(struct connection *c);
int64_t demands_time_left(const struct connection *c); /* seconds of BY */
/* NOTIFY for this server: RFC 2852 §4.1.4.2. */
unsigned demands_notify(const struct connection *c, unsigned notify);
/* May a recipient of this domain be in the transaction that gathers? Then it counts. */
bool limits_take(struct connection *c, struct vr_str domain);
bool limits_reached(const struct connection *c); /* no transaction more in this session */
void limits_renew(struct connection *c);         /* the job goes on in another session */
void limits_forget(struct connection *c);

/* pool.c */
bool pool_key(struct vr_buf *out, const struct next_hop *hop, bool no_tls_policy);
struct connection *pool_take(struct sender *s, struct vr_str key); /* an idle one, or NULL */
void pool_put(struct connection *c);
void pool_remove(struct connection *c);

#endif
