/* seen.h - what receivers and senders tell the reporter: one message that DMARC was evaluated for, one session to a server and what became of its
 * TLS. Nobody waits for an answer; there is none. Who has no reporter (process_peer gives NULL) drops it.
 *
 * Texts are those of strangers: the reporter bounds and checks them, senders need not (but see SEEN_MAX).
 * Tests: tests/unit/ipc.c
 */
#ifndef IPC_SEEN_H
#define IPC_SEEN_H

#include "ipc/ipc.h"

#include <veredus/dmarc.h>
#include <veredus/dmarc_failure.h>
#include <veredus/tlsrpt.h>

#define SEEN_SIGNATURES_MAX 16
#define SEEN_STRINGS_MAX    64
#define SEEN_MAX            (64u << 10) /* octets of a frame; what is larger is not packed */

/* A DKIM signature, for <auth_results>. */
struct seen_signature {
    struct vr_str domain, selector; /* d=, s= */
    uint8_t verdict;                /* enum dkim_verdict */
    struct vr_str reason;           /* human_result; may be empty */
};

/* A message. Sent when DMARC found a record (result.record is not NULL) and the message's fate is known. */
struct dmarc_seen {
    int64_t time_us; /* microseconds since 1970 */
    /* the policy, as published */
    struct vr_str policy_domain; /* dmarc_result.record_domain */
    struct vr_str organization;  /* dmarc_result.organization */
    struct vr_str record;        /* dmarc_record.text: the reporter reads it again */
    uint8_t method;              /* enum dmarc_method */
    /* the message */
    struct vr_str source_ip; /* text */
    uint8_t verdict;         /* enum dmarc_verdict */
    uint8_t disposition;     /* enum dmarc_policy: what was done, not what was wanted */
    uint8_t override;        /* enum dmarc_override: why these differ */
    struct vr_str comment;   /* on the override */
    uint8_t dkim_aligned, spf_aligned;
    struct vr_str header_from;   /* the domain of From */
    struct vr_str envelope_from; /* the domain of MAIL FROM; empty for <> */
    struct vr_str envelope_to;   /* the domain of the first recipient */
    /* what was found */
    struct vr_str spf_domain,
        spf_result;   /* "pass", … as in Authentication-Results; an empty domain: not checked */
    uint8_t spf_helo; /* the domain is that of HELO (MAIL FROM was <>) */
    const struct seen_signature *signatures;
    uint32_t signature_count;
};
/* False: too large, nothing was packed. More signatures than SEEN_SIGNATURES_MAX: the first ones. */
bool ipc_put_dmarc_seen(struct vr_buf *b, const struct dmarc_seen *s);
/* Slices point into the payload, arrays are in the arena. */
bool ipc_get_dmarc_seen(struct ipc_reader *r, struct vr_arena *arena, struct dmarc_seen *out);

/* A message that a failure report is wanted of (dmarc_failure_wanted). Sent only when `reports.failures` is on, beside the other frame. */
struct failure_seen {
    struct dmarc_seen message;
    uint8_t kind;              /* enum dmarc_failure_kind, not NONE */
    uint8_t delivery;          /* enum dmarc_failure_delivery */
    struct vr_str mail_from;   /* the address; never empty */
    struct vr_str spf_record;  /* of spf_domain; empty: none */
    struct vr_str dkim_domain, /* of the signature to tell of; empty: none */
        dkim_identity, dkim_selector, dkim_reason;
    uint8_t dkim_verdict; /* enum dkim_verdict */
    struct vr_str header; /* as of dmarc_failure_header */
    uint8_t cut;          /* it was longer */
};
bool ipc_put_failure_seen(struct vr_buf *b, const struct failure_seen *s); /* as ipc_put_dmarc_seen */
bool ipc_get_failure_seen(struct ipc_reader *r, struct vr_arena *arena, struct failure_seen *out);

/* A session to a server of a policy domain, or a failure to begin one because of a policy. One frame for each policy that was applied. */
struct tls_seen {
    int64_t time_us;
    struct vr_str policy_domain; /* the recipients' domain, A-labels */
    uint8_t policy_type;         /* enum tlsrpt_policy_type */
    const struct vr_str
        *strings; /* policy-string: TLSA records in presentation format, or lines of the MTA-STS policy */
    uint32_t string_count;
    const struct vr_str *mx_hosts; /* patterns of the MTA-STS policy; for DANE the host */
    uint32_t mx_count;
    uint8_t result; /* enum tlsrpt_result */
    /* of a failure; may be empty */
    struct vr_str sending_ip, mx_hostname, mx_helo, receiving_ip, reason;
};
bool ipc_put_tls_seen(struct vr_buf *b, const struct tls_seen *s);
bool ipc_get_tls_seen(struct ipc_reader *r, struct vr_arena *arena, struct tls_seen *out);

#endif
