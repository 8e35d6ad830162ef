/* ipc.h - what the processes say to each other: roles, frames, who may send what to whom, and how fields are packed.
 *
 * Each frame is one row of ipc_frames[] (src/ipc/frames.c): its name, who may send it, who may hear it. A frame that the table does not
 * allow ends the channel: the receiver of it treats its sender as broken (ipc_check).
 * Packing: fixed-width integers in host order (same machine, same program), slices as u32 length + bytes. A reader has a sticky
 * `bad`; check it once after the last field (ipc_done).
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <veredus/address.h>
#include <veredus/base.h>
#include <veredus/dsn.h>

enum ipc_role {
    IPC_SUPERVISOR = 1 << 0,
    IPC_RECEIVER = 1 << 1,
    IPC_KEEPER = 1 << 2,
    IPC_QUEUE = 1 << 3,
    IPC_SENDER = 1 << 4,
    IPC_LOCAL = 1 << 5,
    IPC_ADMIN = 1 << 6,
    IPC_PAM = 1 << 7,
    IPC_RESOLVER = 1 << 8,
    IPC_REPORTER = 1 << 9,
    IPC_WEB = 1 << 10
};
const char *ipc_role_name(enum ipc_role r); /* "receiver" */

enum ipc_type {
    /* life (supervisor ↔ each) */
    IPC_READY = 1,   /* child → supervisor: prepared, confined, serving. no payload */
    IPC_ATTACH,      /* supervisor → child: u32 role, u32 slot, u32 generation, with the descriptor of a channel to that process */
    IPC_EXPECT,      /* supervisor → queue: u32 number of senders+locals that will be attached before deliveries may begin */
    IPC_CERTIFICATE, /* supervisor → receiver, web, admin: u32 which of the tls sections, slice chain (PEM), slice key (PEM; empty to admin). Show this one from now on */
    IPC_DRAIN,       /* supervisor → child: u32 milliseconds. Finish what is under way, take nothing new, exit */
    /* intake (receiver ↔ queue) */
    IPC_BODY_OPEN = 16, /* receiver → queue: u64 id. A file for a large body, please */
    IPC_BODY_FILE,      /* queue → receiver: u64 id, i32 status (0 or negative errno), with the descriptor when 0 */
    IPC_BODY_DROP,      /* receiver → queue: u64 id. The transaction ended without a message */
    IPC_SUBMIT,         /* receiver, reporter → queue: envelope (ipc_envelope_*), then slice body (empty when large) */
    IPC_SUBMITTED,      /* queue → receiver, reporter: u64 id, u8 enum ipc_submitted. Durable when IPC_SUBMIT_OK */
    IPC_FLUSH,          /* receiver → queue: u64 ask, u8 enum ipc_flush, slice name. Mail that waits for it is wanted now (ETRN) */
    IPC_FLUSHED,        /* queue → receiver: u64 ask, u8 enum ipc_flushed, u64 messages. Its attempts come */
    /* identity (receiver, local ↔ keeper) */
    IPC_SASL_START = 32, /* receiver → keeper: struct sasl_start (ipc_sasl_start_*) */
    IPC_SASL_STEP,       /* receiver → keeper: u64 conversation, slice response */
    IPC_SASL_ABORT,      /* receiver → keeper: u64 conversation */
    IPC_SASL_CHALLENGE,  /* keeper → receiver: u64 conversation, slice challenge */
    IPC_SASL_DONE,       /* keeper → receiver: u64 conversation, u8 enum ipc_sasl, slice user (canonical account name) */
    IPC_MAILBOX_ASK,     /* receiver, local → keeper: u64 ask, u8 0=accounts 1=system users, slice address (address_key) */
    IPC_SENDER_ASK,      /* receiver → keeper: u64 ask, slice user, slice address: may this account use this address? */
    IPC_ANSWER,          /* keeper → receiver, local: u64 ask, u8 enum ipc_answer, u32 uid, u32 gid, slice home (system users only), i64 owner since: seconds since 1970, 1 always, 0 unknown */
    IPC_PAM_ASK,         /* keeper → pam: u64 ask, u32 which of config.accounts[], slice user, slice password, slice client ip */
    IPC_PAM_ANSWER,      /* pam → keeper: u64 ask, u8 enum ipc_answer: is it right?, slice why (for the log) */
    IPC_SIGNERS_ASK,     /* receiver, reporter → keeper: u64 ask, slice domain (A-labels, lower case). Which keys sign for it now? */
    IPC_SIGNERS,         /* keeper → receiver, reporter: u64 ask, u8 enum ipc_answer (NO: none), signers (ipc_put_signers; empty unless YES) */
    IPC_SIGN_ASK,        /* receiver, reporter → keeper: u64 ask, slice domain, signers with what each is to sign: a digest of 32 octets */
    IPC_SIGNED,          /* keeper → receiver, reporter: u64 ask, u8 enum ipc_answer (NO: some key does not sign any more), signers with their signatures (empty unless YES) */
    /* delivery (queue ↔ sender, local) */
    IPC_DELIVER = 48,    /* queue → sender, local: struct delivery (ipc_delivery_*), with the descriptor of a large body */
    IPC_RESULT,          /* sender, local → queue: struct delivery_result (ipc_result_*) */
    IPC_INFLIGHT,        /* sender, local → queue, first frame on a new channel: u32 n, then n × (u64 message, u32 recipients, recipients × u32 index) */
    /* control (admin ↔ queue) */
    IPC_CONTROL = 64,    /* admin → queue: u64 request, slice JSON object */
    IPC_CONTROL_PART,    /* queue → admin: u64 request, u8 last, slice lines of JSON (parts are concatenated) */
    IPC_CONTROL_TAKEN,   /* admin → queue: u64 request, u64 bytes of parts that the client's kernel has taken. Who sends parts waits for it */
    IPC_CONTROL_CANCEL,  /* admin → queue: u64 request. Nobody listens any more: stop */
    /* the DNS, for who has no network (ipc/answers.h) */
    IPC_DNS_ASK = 80,    /* receiver, reporter → resolver: u64 ask, u32 n, n × (u32 enum dns_type, slice name) */
    IPC_DNS_ANSWERS,     /* resolver → receiver, reporter: u64 ask, u32 n, n × answer (ipc_put_answers) */
    /* MTA-STS policies (RFC 8461) */
    IPC_STS_ASK = 84,    /* sender → resolver: u64 ask, slice domain (A-labels) */
    IPC_STS_POLICY,      /* resolver → sender: u64 ask, u8 enum ipc_sts, slice id, slice policy (a file), slice why not */
    /* reports (receiver, sender → reporter), see ipc/seen.h; no answers */
    IPC_DMARC_SEEN = 96, /* receiver → reporter: struct dmarc_seen (ipc_put_dmarc_seen). A message that DMARC was evaluated for */
    IPC_TLS_SEEN,        /* sender → reporter: struct tls_seen (ipc_put_tls_seen). A session to a server, or why there was none */
    IPC_FAILURE_SEEN     /* receiver → reporter: struct failure_seen (ipc_put_failure_seen). A message to send a failure report of */
};

enum ipc_submitted { IPC_SUBMIT_OK, IPC_SUBMIT_FULL /* 452 4.3.1 */, IPC_SUBMIT_ERROR /* 451 4.3.0 */ };
enum ipc_flush { IPC_FLUSH_DOMAIN, IPC_FLUSH_BELOW /* the domain and all below it */, IPC_FLUSH_DESTINATION /* named by next_hop_text */ };
enum ipc_flushed { IPC_FLUSH_COUNTED, IPC_FLUSH_STARTED /* so much waits that nobody has counted it yet */, IPC_FLUSH_BUSY };
enum ipc_sasl { IPC_SASL_OK, IPC_SASL_BAD /* 535 5.7.8 */, IPC_SASL_TEMPORARY /* 454 4.7.0 */, IPC_SASL_UNKNOWN_MECHANISM /* 504 5.5.4 */, IPC_SASL_MALFORMED /* 501 5.5.2 */ };
enum ipc_sts {
    IPC_STS_NONE,
    IPC_STS_FOUND,
    IPC_STS_UNSURE, /* none is kept, and it cannot be found out whether there is one */
    IPC_STS_LATER   /* one may be kept: mail must wait */
};
enum ipc_answer { IPC_NO, IPC_YES, IPC_LATER /* data base trouble: 451 */ };

struct ipc_frame_row {
    enum ipc_type type;
    const char *name;
    unsigned from; /* roles that may send it */
    unsigned to;   /* roles that may hear it */
    bool with_fd;  /* may carry a descriptor */
};
extern const struct ipc_frame_row ipc_frames[];
extern const size_t ipc_frame_count;
/* May `from` send this to `to`? */
bool ipc_allowed(uint16_t type, enum ipc_role from, enum ipc_role to, bool has_fd);

/* ---- packing --------------------------------------------------------------------------------------------------- */

void ipc_put_u8(struct vr_buf *b, uint8_t v);
void ipc_put_u32(struct vr_buf *b, uint32_t v);
void ipc_put_u64(struct vr_buf *b, uint64_t v);
void ipc_put_str(struct vr_buf *b, struct vr_str s);

struct ipc_reader {
    struct vr_str rest;
    bool bad;
};
struct ipc_reader ipc_reader(struct vr_str payload);
uint8_t ipc_get_u8(struct ipc_reader *r);
uint32_t ipc_get_u32(struct ipc_reader *r);
uint64_t ipc_get_u64(struct ipc_reader *r);
struct vr_str ipc_get_str(struct ipc_reader *r); /* points into the payload */
bool ipc_done(const struct ipc_reader *r);       /* not bad, and nothing left */

/* ---- the beginning of a log-in ----------------------------------------------------------------------------------- */

struct sasl_start {
    uint64_t conversation;
    struct vr_str mechanism;
    bool has_initial;
    struct vr_str initial;
    struct vr_str client;       /* IP address, or "unix" */
    bool plus_offered;          /* the client was shown -PLUS mechanisms */
    struct vr_str tls_exporter; /* channel binding data of the session; empty: none of this type */
    struct vr_str tls_unique;
    struct vr_str tls_server_end_point;
    struct vr_str identity;     /* whom the client's certificate names, verified; empty: nobody */
};
void ipc_sasl_start_pack(struct vr_buf *b, const struct sasl_start *s);
bool ipc_sasl_start_unpack(struct vr_str payload, struct sasl_start *s); /* slices point into the payload */

/* ---- keys that sign for a domain ------------------------------------------------------------------------------------ */

#define IPC_SIGNERS_MAX 4
struct ipc_signer {
    uint8_t algorithm;      /* enum dkim_algorithm */
    struct vr_str selector;
    struct vr_str bytes;    /* what is to be signed, or the signature; IPC_SIGNERS: empty */
};
struct ipc_signers {
    struct ipc_signer list[IPC_SIGNERS_MAX];
    size_t count;
};
void ipc_put_signers(struct vr_buf *b, const struct ipc_signers *s);
/* Slices point into the payload. Too many make the reader bad. */
void ipc_get_signers(struct ipc_reader *r, struct ipc_signers *out);

/* ---- the envelope: what a message is besides its bytes ----------------------------------------------------------- */

struct envelope_rcpt {
    struct vr_str address; /* canonical text (address_text), lower-case domain */
    uint32_t notify;       /* enum dsn_notify bits, 0: not given */
    struct vr_str orcpt;   /* xtext; empty: not given */
    bool catch_all;        /* the receiver found no mailbox, only the domain's catch-all */
    uint8_t rrvs;          /* enum smtp_rrvs, RFC 7293 */
    int64_t valid_since;   /* seconds since 1970 */
};

/* What a message asks of each hop. Bits of envelope.asks and delivery.asks. */
enum envelope_asks {
    ENVELOPE_UTF8 = 1 << 0,         /* SMTPUTF8 was given: addresses or header fields are in UTF-8 (RFC 6531) */
    ENVELOPE_REQUIRE_TLS = 1 << 1,  /* REQUIRETLS (RFC 8689) */
    ENVELOPE_TLS_OPTIONAL = 1 << 2, /* "TLS-Required: No" in the header: delivery matters more than TLS (RFC 8689 §5) */
    ENVELOPE_BY_TRACE = 1 << 3,     /* BY=…T */
    ENVELOPE_HOLD_FOR = 1 << 4,     /* hold_until was given as HOLDFOR: so many seconds after the arrival (RFC 4865) */
    ENVELOPE_UTF8_HEADER = 1 << 5,  /* with ENVELOPE_UTF8: a header, be it of a part, is in UTF-8: each hop must know SMTPUTF8 (RFC 6532) */
    ENVELOPE_QUARANTINE = 1 << 6    /* it failed verification: into Junk with it (why stands in its X-Quarantine field) */
};

struct envelope {
    uint64_t id;               /* queue id, see queue_id_text */
    int64_t arrival_us;        /* microseconds since 1970 */
    struct vr_str reverse_path;/* canonical text; empty: null */
    uint8_t body;              /* enum smtp_body */
    uint8_t ret;               /* enum dsn_ret */
    struct vr_str envid;       /* xtext */
    struct vr_str user;        /* authenticated account or "uid:1000"; empty: a stranger */
    struct vr_str client;      /* "192.0.2.1", "unix" */
    struct vr_str helo;
    struct vr_str prefix;      /* header fields to stand before the body bytes: Received, and Date, Message-ID that were missing */
    uint64_t body_size;        /* bytes of the body without prefix */
    bool large;                /* the body is in a file of its own */
    struct envelope_rcpt *rcpts;
    uint32_t rcpt_count;
    int8_t priority;           /* -9..9, RFC 6710 */
    uint8_t asks;              /* enum envelope_asks */
    uint8_t by;                /* enum smtp_by: what becomes of it when it is late (RFC 2852) */
    int64_t deliver_by;        /* seconds since 1970; only with `by` */
    int64_t hold_until;        /* seconds since 1970; 0: at once (RFC 4865) */
    struct vr_str auth;        /* AUTH= of the MAIL command, xtext; empty: not given (RFC 4954 §5) */
    struct vr_str solicit;     /* RFC 3865 */
};
/* The queue stores it as it is packed. Who changes it: a new RECORD_MESSAGE_VERSION, and what was written before must still be read
 * (ipc_get_envelope_of, docs/queue-format.md). */
void ipc_put_envelope(struct vr_buf *b, const struct envelope *e);
/* Slices point into the payload; rcpts into the arena. False: malformed or too many recipients for the arena. */
bool ipc_get_envelope(struct ipc_reader *r, struct vr_arena *arena, struct envelope *out);
/* Of any version, when nothing stands behind it: 1 ends with the recipients, 2 with the priority. */
bool ipc_get_envelope_of(struct ipc_reader *r, struct vr_arena *arena, struct envelope *out);

/* ---- queue ids ------------------------------------------------------------------------------------------------ */

/* 64 bits: microseconds since 2020 << 10 | slot of the process that gave it. Unique as long as a slot's clock does not repeat: the
 * giver keeps `last`. Written as 13 characters of Crockford's base 32 ("0123456789ABCDEFGHJKMNPQRSTVWXYZ"): sorts by time as
 * text too, and reads well over a telephone (parsing takes lower case, and I, L for 1, O for 0). */
uint64_t queue_id_next(uint64_t *last, int64_t now_us, unsigned slot);
#define QUEUE_ID_TEXT 14
void queue_id_text(uint64_t id, char out[QUEUE_ID_TEXT]);
bool queue_id_parse(struct vr_str text, uint64_t *out);
int64_t queue_id_time_us(uint64_t id); /* microseconds since 1970 */

/* ---- deliveries ------------------------------------------------------------------------------------------------ */

enum next_hop_kind {
    NEXT_HOP_MX = 1,  /* host is the domain (or address literal): MX records decide */
    NEXT_HOP_SMTP,    /* host:port as given; a name is looked up for A/AAAA only */
    NEXT_HOP_LMTP,    /* host:port, or unix path in host when port is 0 */
    NEXT_HOP_MAILDIR, /* local: host is the path template resolved by local, see delivery.local_* */
    NEXT_HOP_ERROR    /* routing itself failed: the recipient is refused with `host` as text ("5.4.6 alias loop …") */
};
enum next_hop_tls {
    NEXT_HOP_TLS_MAY,
    NEXT_HOP_TLS_NONE,
    NEXT_HOP_TLS_REQUIRED,
    NEXT_HOP_TLS_VERIFY,
    NEXT_HOP_TLS_IMPLICIT, /* 465: verify too */
    NEXT_HOP_TLS_DANE,     /* as the TLSA records say; may where there are none */
    NEXT_HOP_TLS_DANE_ONLY /* only as they say */
};

struct next_hop {
    enum next_hop_kind kind;
    struct vr_str host;
    uint16_t port;
    enum next_hop_tls tls;
    uint32_t route; /* index of the configuration's route that gave it (credentials), or UINT32_MAX */
    uint32_t domain;/* MAILDIR, and LMTP of own domains: index of the configuration's domain, or UINT32_MAX */
};
/* The destination's key and name in logs: "mx:example.org", "smtp:host:25", "lmtp:unix:/run/x", "maildir". */
bool next_hop_text(struct vr_buf *out, const struct next_hop *h);

struct delivery_rcpt {
    uint32_t index;         /* of the recipient in the queue's message */
    struct vr_str address;  /* where it goes now (after aliases) */
    uint32_t notify;
    struct vr_str orcpt;
    uint16_t attempt;       /* attempts before this one */
    uint8_t rrvs;           /* as in the envelope */
    int64_t valid_since;
};
struct delivery {
    uint64_t id;            /* of this delivery attempt */
    uint64_t message;       /* queue id */
    struct next_hop next_hop;
    struct vr_str reverse_path;
    uint8_t body, ret;
    int8_t priority;
    uint8_t asks, by;       /* as in the envelope */
    int64_t deliver_by;
    struct vr_str auth, solicit;
    struct vr_str envid;
    struct vr_str prefix;
    struct vr_str content;  /* empty when the descriptor holds it */
    uint64_t content_size;
    bool large;
    int64_t arrival_us;
    struct delivery_rcpt *rcpts;
    uint32_t rcpt_count;
};
void ipc_put_delivery(struct vr_buf *b, const struct delivery *d);
bool ipc_get_delivery(struct ipc_reader *r, struct vr_arena *arena, struct delivery *out);

enum delivery_status {
    DELIVERY_OK,        /* delivered (MAILDIR, LMTP) or taken by the next hop */
    DELIVERY_TEMPORARY, /* 4xx, connection trouble, DNS trouble: later */
    DELIVERY_PERMANENT, /* 5xx, null MX, no such domain: a DSN */
    DELIVERY_NO_MAILBOX,/* local only: no such account; the queue tries the catch-all, else PERMANENT 5.1.1 */
    DELIVERY_CANCELLED  /* not tried (drain, the sender is full): again soon, does not count as an attempt */
};
struct delivery_rcpt_result {
    uint32_t index;
    enum delivery_status status;
    uint16_t code;             /* reply code of the remote; 0: our own verdict */
    struct vr_str enhanced;    /* "4.4.1"; never empty unless OK */
    struct vr_str text;        /* the remote's words or ours */
    uint16_t attempt;          /* the delivery's: a queue that is told again sees that it knows */
};
enum delivery_form { DELIVERY_AS_IT_WAS, DELIVERY_AS_7BIT, DELIVERY_AS_8BIT }; /* converted for the next hop, or not */
struct delivery_result {
    uint64_t delivery;
    uint64_t message;
    struct vr_str remote_mta;  /* host name tried last; empty: none reached */
    struct vr_str remote_ip;
    bool dsn_relayed_on;       /* the next hop offers DSN: a success report is its duty (RFC 3461 §5.2.1) */
    bool by_relayed_on;        /* it offers DELIVERBY (RFC 2852 §4.1.4) */
    bool tls;
    uint8_t form;              /* enum delivery_form of what was sent last */
    bool unreachable;          /* no host of the next hop could be spoken with: what was said holds for all mail to it, for now */
    uint32_t duration_ms;
    struct delivery_rcpt_result *rcpts; /* all that were asked for */
    uint32_t rcpt_count;
};
void ipc_put_result(struct vr_buf *b, const struct delivery_result *d);
bool ipc_get_result(struct ipc_reader *r, struct vr_arena *arena, struct delivery_result *out);

#endif
