/* request.h - the head of an HTTP request, as far as somebody wants to know it who serves one small file. Pure: bytes in, facts out.
 *
 * Taken:      HTTP/1.0 and 1.1; GET and HEAD; targets in origin-form and absolute-form (RFC 9112 §3.2.1, §3.2.2).
 * Strict:     lines end in CRLF, no line is folded, no blank stands before a colon, one Host and no more (RFC 9112 §2.2, §3.2, §5): what other
 *             servers and proxies might read in another way is refused.
 * Not here:   bodies, further requests of the connection, ranges, conditions: the answer is the whole file, and the connection ends.
 * Tests:      tests/unit/web_request.c, tests/fuzz/fuzz_web_request.c
 */
#ifndef WEB_REQUEST_H
#define WEB_REQUEST_H

#include <veredus/base.h>

#define WEB_HEAD_MAX 8192 /* octets of a head */

struct web_request {
    unsigned status;    /* 0: it can be answered; else the answer: 400, 405, 431, 501, 505 */
    bool head;          /* HEAD: no body */
    struct vr_str path; /* "/.well-known/mta-sts.txt", with its query if there is one */
    struct vr_str host; /* without a port; empty: none was named (HTTP/1.0) */
};

/* Where the head ends, in all that came so far: the offset behind its empty line. VR_NPOS: not yet. from: what was looked at before. */
size_t web_head_end(struct vr_str bytes, size_t from);
/* A whole head, its empty line included. Slices point into it. */
void web_request_parse(struct vr_str head, struct web_request *out);

#endif
