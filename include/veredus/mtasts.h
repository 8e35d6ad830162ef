/* mtasts.h - MTA-STS (RFC 8461): a domain says over HTTPS which hosts take its mail, and that they show good certificates.
 *
 * mtasts_decide is a pure function over what is known: the TXT record, the policy that was kept from an earlier time, what the policy host said.
 * It returns the next question, the URL to fetch, or the policy that holds now. The caller finds what is wanted and calls again from the start.
 *
 * Rules:      a policy holds for max_age seconds since it was fetched, whatever becomes of record and host meanwhile (§3.3): a record that is gone, a
 *             DNS that does not answer, a host that is down or lies do not end it. Another id in the record means "fetch again" (§3.1).
 *             A policy that cannot be fetched, and none that was kept: the domain is as one without MTA-STS (§3.3 MUST); the text tells why.
 *             After a failed fetch the host is left alone for 5 minutes, unless the id changes (§3.3).
 * Strict:     records and policies by their grammars (§3.1, §3.2), which have no place for empty lines; what is repeated counts once, the first time;
 *             unknown fields are passed over. A max_age beyond the RFC's most is taken for the most.
 * Tests:      tests/unit/mtasts.c, tests/conformance/run.py, tests/fuzz/fuzz_mtasts.c, examples/mta_sts.c
 */
#ifndef VEREDUS_MTASTS_H
#define VEREDUS_MTASTS_H

#include <veredus/dnsq.h>

#define MTASTS_ID_MAX        32         /* characters of an id, §3.1 */
#define MTASTS_POLICY_MAX    (64u << 10) /* bytes of a policy, §3.3 */
#define MTASTS_MAX_AGE_MAX   31557600   /* seconds: a year, §3.2 */
#define MTASTS_RETRY_AFTER   300        /* seconds between a failed fetch and the next one, §3.3 */
#define MTASTS_REFRESH_AFTER 86400      /* seconds; a policy that is in use is fetched anew by then, §3.3 */

enum mtasts_mode {
    MTASTS_NONE,    /* as if there were no policy */
    MTASTS_TESTING, /* what does not fit is reported, and delivered */
    MTASTS_ENFORCE  /* what does not fit is not delivered */
};
const char *mtasts_mode_name(enum mtasts_mode m); /* "none", "testing", "enforce" */

struct mtasts_policy {
    enum mtasts_mode mode;
    uint32_t max_age;        /* seconds since the fetch, MTASTS_MAX_AGE_MAX at the most */
    const struct vr_str *mx; /* patterns: "mx.example.org", "*.example.org"; none only with MTASTS_NONE */
    size_t mx_count;
};

/* The TXT record at _mta-sts.<domain>, its strings joined (§3.1). id points into text. VR_ERR_SYNTAX: it is none. */
enum vr_err mtasts_record_parse(struct vr_str text, struct vr_str *id);

/* The file that the policy host serves (§3.2). Slices point into text; the array is the arena's. VR_ERR_SYNTAX: *why is a sentence that tells
 * the line and what is wrong with it. VR_ERR_TOO_BIG: more than MTASTS_POLICY_MAX bytes, or the arena is full; *why is set too. */
enum vr_err mtasts_policy_parse(struct vr_arena *arena, struct vr_str text, struct mtasts_policy *out, struct vr_str *why);

/* Appends the policy as a file with CRLF line ends, which mtasts_policy_parse reads as the same. False: a pattern is no host name, there is none although
 * the mode wants one, max_age is too large, or out is full. */
bool mtasts_policy_write(struct vr_buf *out, const struct mtasts_policy *policy);

/* Does a pattern of the policy fit this MX host (§4.1)? "*" stands for exactly one label. A trailing dot of the host does not count. */
bool mtasts_mx_matches(const struct mtasts_policy *policy, struct vr_str host);

/* ---- which policy holds now -------------------------------------------------------------------------------------------------------- */

/* A policy that was fetched once. */
struct mtasts_known {
    struct vr_str id;   /* of the record at that time */
    int64_t fetched_at; /* seconds since 1970 */
    struct mtasts_policy policy;
};
/* The last fetch that failed. */
struct mtasts_failure {
    struct vr_str id;
    int64_t failed_at;
};
/* What became of fetching the URL. */
struct mtasts_fetched {
    unsigned status;           /* of HTTP; 0: no answer, and `error` tells why */
    struct vr_str content_type; /* as in the answer's header; only text/plain is taken (§3.2) */
    struct vr_str body;
    struct vr_str error;
};

struct mtasts_query {
    struct vr_str domain; /* in A-labels: the policy domain, which is the recipient's (§3.4) */
    int64_t now;          /* seconds since 1970 */
    uint16_t port;        /* of the policy host; 0: 443. For tests: the RFC knows no other */
    bool refresh;         /* a policy that is older than MTASTS_REFRESH_AFTER is fetched although its id is the same */
    const struct dns_answer *answers; /* all that is known so far */
    size_t answer_count;
    const struct mtasts_known *known;     /* NULL: none was kept */
    const struct mtasts_failure *failure; /* NULL: none is known */
    const struct mtasts_fetched *fetched; /* NULL: not fetched for this query */
};

enum mtasts_verdict {
    MTASTS_ASK,    /* find the answer to `question` and call again */
    MTASTS_FETCH,  /* fetch `url` and call again with what came */
    MTASTS_APPLY,  /* `policy` holds */
    MTASTS_ABSENT  /* there is none: deliver as without MTA-STS */
};

struct mtasts_result {
    enum mtasts_verdict verdict;
    struct dns_question question;
    struct vr_str url;
    struct mtasts_policy policy; /* APPLY */
    struct vr_str id;            /* APPLY, FETCH: of the policy; of a kept one as it was then */
    bool fresh;                  /* APPLY: it was fetched just now: keep it, with `id` and the time */
    bool unsure;                 /* ABSENT: there may be one, but record or policy could not be had */
    bool failed;                 /* `fetched` was of no use: remember `failed_id` and the time */
    struct vr_str failed_id;
    struct vr_str text; /* APPLY, ABSENT: why record or policy could not be had, a sentence for a log; else empty */
};

/* Slices of the result point into the query, its answers and the arena. VR_ERR_TOO_BIG: the arena is full. */
enum vr_err mtasts_decide(const struct mtasts_query *q, struct vr_arena *arena, struct mtasts_result *out);

#endif
