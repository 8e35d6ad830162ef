/* session.h - one client's session, and the receiver that holds them all. Internal to src/receiver/. */
#ifndef RECEIVER_SESSION_H
#define RECEIVER_SESSION_H

#include "config/routing.h"
#include "io/stream.h"
#include "ipc/process.h"
#include "ipc/resolving.h"
#include "receiver/crowd.h"

#include <veredus/mail_digest.h>
#include <veredus/proxy.h>
#include <veredus/smtp_server.h>

#include <sys/queue.h>
#include <uthash.h>

struct receiver;

/* What a listening socket makes of its sessions. */
struct listener {
    struct receiver *receiver;
    struct io_listener *io;
    struct smtp_server_config smtp;
    struct io_tls *tls;
    struct vr_buf
        auth[2]
            [2]; /* names of mechanisms: [the channel can be bound][the client's certificate is an account] */
    bool asks_clients; /* for certificates */
    bool implicit_tls;
    bool submission; /* clients are users: senders are checked, missing header fields are added */
    bool local;      /* the UNIX socket of sendmail(1): the kernel says who it is */
    unsigned grants; /* enum smtp_extension: what may be granted here */
    const struct config_networks
        *proxies; /* who may, and must, speak the PROXY protocol; NULL or none: nobody */
    const struct config_networks *bare_lf; /* whose lines may end in LF alone; NULL or none: nobody's */
};

/* A message on its way in, from MAIL until the queue has answered. Outlives its session when that ends after
 * submitting. */
struct transaction {
    uint64_t id; /* queue id, given at DATA; 0 before */
    struct receiver *receiver;
    struct session *session; /* NULL: the client is gone */
    struct vr_arena arena;   /* the envelope */
    struct envelope envelope;
    uint32_t rcpt_capacity;
    struct vr_buf body; /* all of a small message, the unwritten rest of a large one */
    uint64_t body_size;
    enum { BODY_INLINE, BODY_ASKED /* waiting for the file */, BODY_FILE, BODY_FAILED } where;
    int fd;
    uint64_t written;      /* offset of the file */
    struct vr_buf writing; /* under io_work */
    int write_status;
    bool busy;      /* io_work under way */
    bool ended;     /* end of data came */
    bool submitted; /* in receiver->submitted, waiting for the queue */
    bool missing_date, missing_message_id, header_seen;
    bool lowered;                  /* the priority that was asked for is for those whom we know */
    struct smtp_x forwarded;       /* what XFORWARD said; given 0: nothing */
    struct vr_str solicits;        /* keywords of a Solicitation field that are not wanted here */
    struct mail_digest *digest;    /* of the message as it streams by; NULL: nobody verifies or signs it */
    struct verification *verification; /* verifying.c's; NULL: it is not a stranger's, or nobody asks */
    bool endless_header;               /* it is beyond all bounds: the message is refused at its end */
    struct signing *signing;       /* signing.c's; NULL: it has not begun */
    struct vr_str signed_for;      /* domain; empty: not signed */
    bool to_be_sealed;             /* its digest is made for it */
    struct sealing *sealing;       /* sealing.c's; NULL: it has not begun */
    struct vr_str sealed_for;      /* domain; empty: not sealed */
    struct mime_reader *mime;      /* utf8.c's; NULL: not needed, or not any more */
    uint32_t hold_for;             /* seconds, HOLDFOR */
    bool rrvs;                     /* some recipient came with RRVS */
    struct owner_question *owners; /* what the keeper is to be asked before it is submitted: owners.c's */
    bool ascii_only;               /* a recipient's domain takes no header in UTF-8 */
    size_t header_looked_at; /* bytes of the body, when its header was longer than what stays in memory */
    int64_t submitted_ms;
    UT_hash_handle hh; /* receiver->by_id */
};

struct session {
    uint64_t key; /* names the session in its question to the keeper: a new one for each */
    struct receiver *receiver;
    const struct listener *listener;
    struct io_stream *stream;
    struct smtp_server *engine;
    struct transaction *transaction;
    char client[48]; /* IP address, or "unix" */
    bool trusted, crowded, securing, closing, pumping;
    bool uninvited; /* not one of the listener's proxies */
    bool vouched;   /* the address is the client's own, or one whose word counts has given it */
    bool is_counted;
    unsigned may_x;       /* XCLIENT, XFORWARD: by the address of the connection */
    struct io_network ip; /* of the client; vouched only when it has one */
    struct crowd_client counted;
    struct proxy_reader *proxy; /* while a proxy's header is awaited */
    bool bindable;              /* TLS that -PLUS can bind to: 1.3, or 1.2 with the extended master secret */
    char *candidates,
        *identity; /* addresses of the client's certificate, by lines: not asked about yet; accounts. On the heap */
    bool conversing; /* the keeper holds an exchange of AUTH under our key */
    enum {
        ASK_NOTHING,
        ASK_MAILBOX,
        ASK_SENDER,
        ASK_SASL,
        ASK_IDENTITY,
        ASK_VRFY,
        ASK_OWNER,   /* at the end of the data, */
        ASK_FROM,    /* this, */
        ASK_SIGNING, /* and this, */
        ASK_SEALING, /* or this */
        ASK_FLUSH,   /* the queue */
        ASK_DNS      /* verifying.c's; no frame of the keeper or the queue answers it */
    } asking;
    char *asked_name;             /* VRFY: the mailbox; ETRN: the node */
    const struct smtp_rcpt *rcpt; /* the one that the keeper is asked about */
    struct vr_str asked;          /* in the transaction's arena: the mailbox */
    bool catch_all, owner_matters;
    int64_t deadline_ms; /* of the proxy's header, of the TLS handshake, of the keeper's answer; INT64_MAX */
    char *helo, *user, *name; /* on the heap: few sessions have them. name: of the host, as XCLIENT says */
    TAILQ_ENTRY(session) entry;
    UT_hash_handle hh;
};

struct receiver {
    struct process *process;
    const struct config *config;
    struct io *io;
    struct event_log *log;
    struct io_tls *tls, **own_tls; /* own_tls[i]: of a listener that asks for certificates; NULL: tls */
    struct listener *listeners;
    size_t listener_count;
    TAILQ_HEAD(session_list, session) sessions;
    struct session *by_key;
    unsigned session_count, session_max;
    uint64_t next_key, last_id;
    struct transaction *by_id; /* from DATA until the queue answered */
    struct known_mailbox *known;
    struct known_signers *signers; /* signers.c's */
    struct resolving *resolving;   /* the DNS */
    struct io_timer *sweep;
};

/* session.c */
void session_open(struct listener *listener, struct io_stream *stream);
void session_start(struct session *s,
                   struct vr_str received); /* the client is known: handshake or greeting */
void session_pump(struct session *s);
void session_answer(struct session *s, struct smtp_reply reply); /* settles the engine's event, then pumps */
void session_answer_ehlo(struct session *s);                     /* does not pump */
void session_close(struct session *s);
void session_sweep(struct receiver *r); /* once a second: deadlines */
struct session *session_by_key(struct receiver *r, uint64_t key);
void session_renumber(struct session *s); /* answers to what was asked under the old key go nowhere */

/* arrival.c: who the client is. Each may close the session */
void arrival_begin(struct session *s);
void arrival_bytes(struct session *s, struct vr_str bytes); /* while s->proxy */
void arrival_late(struct session *s);
void arrival_forget(struct session *s);
void arrival_xclient(struct session *s, const struct smtp_x *x);
/* What this client is granted besides, as far as it is known now (AUTH, STARTTLS, XCLIENT change that). */
void session_grant(struct session *s);
/* The address by which the client may be granted something. False: it has none. */
bool session_address(const struct session *s, struct io_address *out);
bool session_is_of(const struct session *s, const struct config_networks *networks); /* by that address */

/* asks.c: VRFY, EXPN, ETRN */
void asks_vrfy(struct session *s, struct vr_str argument, bool utf8);
void asks_vrfy_answered(struct session *s, uint8_t answer);
void asks_expn(struct session *s, struct vr_str argument, bool utf8);
void asks_etrn(struct session *s, char option, struct vr_str node);
bool asks_may_etrn(const struct session *s); /* for something at all */
void asks_queue_frame(struct receiver *r, struct vr_str payload);
void asks_queue_lost(struct receiver *r);

/* policy.c: who may send what to whom */
void policy_mail(struct session *s, const struct smtp_mail *mail);
void policy_mail_accept(struct session *s);
void policy_rcpt(struct session *s, const struct smtp_rcpt *rcpt);
void policy_auth(struct session *s, struct vr_str mechanism, bool has_initial, struct vr_str initial);
void policy_auth_response(struct session *s, struct vr_str response);
void policy_auth_cancel(struct session *s);
void policy_keeper_frame(struct receiver *r, uint16_t type, struct vr_str payload);
void policy_keeper_lost(struct receiver *r);
void policy_fini(struct receiver *r);
bool policy_is_known(const struct session *s); /* may use this server as its own */
/* The keeper, to be asked under s->key; NULL: the session was answered that it cannot be */
struct peer *policy_keeper_for(struct session *s, int asking);
/* srs.c: SRS_NONE: the address is no SRS address of ours. SRS_GOOD: take it. Else the session was answered. */
enum srs_verdict srs_rcpt(struct session *s, const struct address *to);
void policy_refused(struct session *s, const char *event, struct vr_str address,
                    const char *why); /* to the log */

/* owners.c: RRVS. Who can say since when this recipient has had his address? */
enum owners_of {
    OWNERS_NONE,      /* it has no owner: nobody is asked */
    OWNERS_KEEPER,    /* the keeper */
    OWNERS_ELSEWHERE, /* the next hop */
    OWNERS_UNTOLD     /* nobody */
};
enum owners_of owners_of(const struct session *s, const struct address *rcpt, const struct routing_answer *a);
/* since: as the keeper says. NULL: it is the same owner. */
const struct smtp_reply *owners_refusal(int64_t since, int64_t valid_since);
#define OWNERS_WHY "the owner of the mailbox has changed, or is not known for long enough (RRVS)"
void owners_look(struct transaction *t, struct vr_str message); /* for the header field */
/* True: the transaction waits for the keeper, or was refused; else there is nothing to ask. */
bool owners_ask(struct transaction *t);
void owners_answered(struct session *s, uint8_t answer, int64_t since);

/* login.c: what is offered for the log-in */
void login_lists(struct listener *l);
void login_secured(struct session *s); /* TLS stands */
void login_forget(struct session *s);  /* the certificate is that of a proxy, not the client's */
/* At EHLO: is the client's certificate an account? True: the keeper is asked, and the reply to EHLO follows its answer. */
bool login_identify(struct session *s);
void login_identified(struct session *s, uint8_t answer);
/* Was this client shown the -PLUS form of this mechanism? */
bool login_plus_offered(const struct session *s, struct vr_str mechanism);

/* intake.c: from the first byte of data to the queue's answer */
struct transaction *transaction_new(struct session *s, const struct smtp_mail *mail);
bool transaction_add_rcpt(struct transaction *t, const struct smtp_rcpt *rcpt,
                          bool catch_all); /* false: too big */
void transaction_begin_data(struct transaction *t);
void transaction_chunk(struct transaction *t, struct vr_str data);
void transaction_end(struct transaction *t);
void transaction_abandon(
    struct transaction *t); /* its session ended or reset; a submitted one goes on alone */
void transaction_refuse(struct transaction *t,
                        struct smtp_reply reply);   /* at the end of the data: frees it */
void transaction_go_on(struct transaction *t);      /* owners_ask has its answer */
bool transaction_full(const struct transaction *t); /* stop reading: enough is waiting to be written */
void intake_queue_frame(struct receiver *r, uint16_t type, struct vr_str payload, int fd);
void intake_queue_attached(struct receiver *r); /* what was submitted and not answered is submitted again */
void intake_queue_lost(struct receiver *r);
void intake_sweep(struct receiver *r);

/* solicit.c: NO-SOLICITING. The first of these keywords that is not wanted; empty: all are fine, or nothing is offered here */
struct vr_str solicit_unwanted(const struct session *s, struct vr_str keywords);
void solicit_look(struct transaction *t, struct vr_str header); /* for a Solicitation field */
struct smtp_reply solicit_refusal(struct vr_arena *arena, struct vr_str keyword);

/* utf8.c: ENVELOPE_UTF8_HEADER, for messages with ENVELOPE_UTF8 */
void utf8_look(struct transaction *t, struct vr_str data); /* the next bytes of the message */
void utf8_end(struct transaction *t);
void utf8_forget(struct transaction *t);
/* terms.c: what a message asks for besides its way */
/* On whose behalf it comes: xtext for AUTH=, empty for nobody known. given: the client's AUTH=. */
struct vr_str terms_submitter(const struct session *s, struct vr_arena *arena, struct vr_str given);
void terms_header(struct transaction *t, struct vr_str message); /* its header is at hand */

/* signing.c: DKIM-Signature on our users' mail */
bool signing_wanted(const struct session *s); /* perhaps: its digest is needed */
/* At the end of the data, when the fields on top are known. True: the transaction waits for the keeper, or was refused; else it is signed, or is not to be. */
bool signing_ask(struct transaction *t);
void signing_may(struct session *s, uint8_t answer);                              /* ASK_FROM */
void signing_frame(struct session *s, uint16_t type, struct ipc_reader *reader); /* ASK_SIGNING */
void signing_later(struct session *s);                                            /* no answer comes */
void signing_forget(struct transaction *t);

/* sealing.c: a set of ARC on strangers' mail that leaves again. As of signing.c */
bool sealing_wanted(const struct transaction *t); /* all recipients are known */
bool sealing_ask(struct transaction *t);
void sealing_frame(struct session *s, uint16_t type, struct ipc_reader *reader); /* ASK_SEALING */
void sealing_later(struct session *s);
void sealing_forget(struct transaction *t);

/* verifying.c, verdicts.c: SPF, DKIM, ARC, DMARC of strangers' mail. Each does nothing for others */
bool verifying_begin(struct transaction *t); /* at MAIL. True: the session waits, and policy_mail_accept follows */
/* At RCPT, for a recipient in this domain (NULL: in none of ours). code 0: it may be taken; and when it was, verifying_bind. */
struct smtp_reply verifying_rcpt(struct transaction *t, const struct config_domain *d);
void verifying_bind(struct transaction *t, const struct config_domain *d);
bool verifying_digests(struct transaction *t); /* at DATA: is the message to be hashed? */
void verifying_header(struct transaction *t);  /* t->digest has all of it */
bool verifying_ask(struct transaction *t);     /* at the end. True: it waits for the DNS, or was refused */
void verifying_fields(const struct transaction *t, struct vr_buf *out); /* Authentication-Results, X-Quarantine */
void verifying_forget(struct transaction *t);

/* forged.c: Authentication-Results in our name */
bool forged_matters(const struct transaction *t); /* may this client not write them? */
enum forged_header { FORGED_HEADER_OPEN, FORGED_HEADER_ENDED, FORGED_HEADER_ENDLESS };
enum forged_header forged_header_state(struct vr_str message); /* of its bytes so far */
void forged_remove(struct transaction *t);                     /* its header is at hand */

/* trace.c: the header fields put on top */
void trace_forwarded_ip(const struct smtp_x *x, char out[IO_ADDRESS_TEXT]);
struct vr_str trace_fields(struct transaction *t, struct vr_arena *arena);

#endif
