/* verifying.h - is a stranger's message by whom it says it is? What is known of one message. Internal to src/receiver/ (verifying.c asks, verdicts.c decides).
 *
 * Tests: tests/unit/receiver_verifying.c, tests/e2e/test_verify.py
 */
#ifndef RECEIVER_VERIFYING_H
#define RECEIVER_VERIFYING_H

#include "receiver/session.h"

#include <veredus/dmarc.h>
#include <veredus/spf.h>

enum check_kind { CHECK_HELO, CHECK_MAIL_FROM, CHECK_DKIM, CHECK_ARC, CHECK_DMARC, CHECK_COUNT };

/* Of one kind. Wanted -> asking [check_run] -> done. */
struct check {
    struct verification *of;
    enum check_kind kind;
    bool wanted, done;
    bool
        given_up; /* the DNS answered so often, and so much, that it is not heard any more: what is missing has failed */
    unsigned rounds;
    struct vr_arena arena;     /* of the last call: its result is in it */
    struct resolving_ask *ask; /* under way */
    int64_t asked_ms;          /* since then; */
    int64_t
        waited_ms; /* and so long for what was asked before: the time that the message takes to come is not its */
};

struct verification {
    struct transaction *transaction;
    bool
        bound; /* a recipient was taken, `wants` is that of his domain; before it is the most that any domain wants */
    struct config_verify wants;
    enum { WAITS_NOT, WAITS_AT_MAIL, WAITS_AT_END } waits; /* the session, for us */
    bool settled;                                          /* verdicts_settle was called */
    struct check checks[CHECK_COUNT];
    struct vr_arena memory; /* what is known of the DNS; texts */
    struct dns_answer *answers;
    size_t answer_count, answer_capacity;
    struct dns_address client;
    struct vr_str client_text;
    struct vr_str helo, sender; /* sender: as of the envelope, without < > */
    struct spf_result spf[2];   /* by CHECK_HELO, CHECK_MAIL_FROM; of a null path the second is not wanted */
    struct dkim_result dkim;
    bool dkim_unknown; /* its check was given up: one signature, temperror, stands for all */
    struct arc_result arc;
    struct dmarc_from from;
    struct dmarc_result dmarc;
    unsigned sample;
    /* verdicts.c's */
    bool overridden; /* DMARC's failure, by a trusted chain */
    struct vr_str override_comment;
    enum dmarc_policy disposition; /* what is done for DMARC */
    struct vr_str quarantine;      /* why; empty: it is none */
};

/* The result by which DMARC and policies know the sender: that of MAIL, or of HELO for the null path. NULL: SPF was not looked at. */
const struct spf_result *verification_spf(const struct verification *v);
bool verification_done(const struct verification *v, enum check_kind kind); /* wanted, and there */

/* verdicts.c. At the end: the event, the report; a reply when it is refused (code 0: it is taken). */
struct smtp_reply verdicts_settle(struct verification *v);
/* At RCPT, when SPF is known. */
struct smtp_reply verdicts_rcpt(struct verification *v, const struct config_verify *wants);

#endif
