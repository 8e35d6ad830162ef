/* srs.c - a report comes back to an address that we made for mail that was forwarded (srs.h): is it ours, and is this a report?
 *
 * Promise: only what carries our hash is sent on, so this is no open relay; and from strangers only with the null reverse path, as reports have it (RFC 5321
 *          §4.5.5), so that who saw such an address cannot write to its sender through us.
 * Tests:   tests/e2e/test_srs.py
 */
#include "receiver/session.h"

struct refusal {
    struct smtp_reply reply;
    const char *why;
};

static const struct refusal no_report = {
    {550, "5.7.1",
     VR_STR_INIT(
         "this address takes reports only: mail to it must have the null reverse-path (MAIL FROM:<>)")},
    "an SRS address, and this is no report"};

static const struct refusal refusals[] = {
    [SRS_BROKEN] = {{550, "5.1.3",
                     VR_STR_INIT(
                         "this SRS address is not whole; it cannot be told where the report should go")},
                    "an SRS address that is not whole"},
    [SRS_FORGED] =
        {{550, "5.7.1",
          VR_STR_INIT(
              "this SRS address was not made here (its hash is wrong), so nothing is sent on for it")},
         "an SRS address with a wrong hash"},
    [SRS_EXPIRED] = {{550, "5.7.1",
                      VR_STR_INIT("this SRS address is too old: reports are sent on for a few weeks only")},
                     "an SRS address that is too old"},
};

enum srs_verdict srs_rcpt(struct session *s, const struct address *to)
{
    const struct receiver *r = s->receiver;
    struct address sender;
    enum srs_verdict v =
        routing_srs(r->config, &s->transaction->arena, to, io_now_us(r->io) / 1000000, &sender);
    bool report = s->transaction->envelope.reverse_path.n == 0;
    if (v == SRS_NONE || (v == SRS_GOOD && (report || policy_is_known(s))))
        return v;
    const struct refusal *refusal = v == SRS_GOOD ? &no_report : &refusals[v];
    policy_refused(s, "rcpt.refused", address_text(&s->transaction->arena, to), refusal->why);
    session_answer(s, refusal->reply);
    return v == SRS_GOOD ? SRS_FORGED : v;
}
