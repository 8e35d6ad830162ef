/* transaction.c - a message and its recipients on a session that is ready: what is asked of the server and what its replies mean.
 *
 * Statuses: 2xx OK, 4xx TEMPORARY, 5xx PERMANENT, for each recipient by the reply that decided on it (RFC 5321 §3.3, §4.2.1; LMTP: RFC 2033
 *           §4.2). 552 to RCPT means "too many" (RFC 5321 §4.5.3.1.10): these recipients go in another transaction of the session.
 *           A session that is lost behind the final dot leaves the outcome unknown (§4.5.3.2.6): TEMPORARY, which may repeat the message but
 *           never loses it.
 * Tests:    tests/unit/sender.c
 */
#include "sender/inside.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- before MAIL ---------------------------------------------------------------------------------------------------- */

static uint64_t message_size(const struct connection *c)
{
    const struct inflight_job *j = c->job;
    return c->to < MIME_BINARY ? c->survey->verdict.to[c->to].size : j->d.prefix.n + j->d.content_size;
}

static bool read_address(struct inflight_job *j, struct vr_str text, struct address *out)
{
    const char *why;
    if (address_parse(&j->arena, text, ADDRESS_ALLOW_UTF8, out, &why) == VR_OK)
        return true;
    /* The bare postmaster of RFC 5321 §4.5.1 has no domain. */
    *out = (struct address){.local = text};
    return vr_str_equal_nocase(text, VR_STR("postmaster"));
}

/* The open recipients, as the engine wants them. Those that cannot be written are settled. */
static void gather_rcpts(struct connection *c)
{
    struct inflight_job *j = c->job;
    uint32_t n = j->d.rcpt_count;
    c->rcpt_count = c->accepted_count = 0;
    if (c->rcpts == NULL) {
        c->rcpts = vr_arena_alloc(&j->arena, n * sizeof *c->rcpts);
        c->places = vr_arena_alloc(&j->arena, n * sizeof *c->places);
        c->accepted = vr_arena_alloc(&j->arena, n * sizeof *c->accepted);
    }
    if (c->rcpts == NULL || c->places == NULL || c->accepted == NULL) {
        inflight_settle_rest(j, DELIVERY_TEMPORARY, 0, VR_STR("4.3.0"),
                             VR_STR("too many recipients for one delivery"));
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct delivery_rcpt *from = &j->d.rcpts[i];
        struct smtp_rcpt r = {.notify = demands_notify(c, from->notify),
                              .orcpt = from->orcpt,
                              .rrvs = (enum smtp_rrvs)from->rrvs,
                              .valid_since = from->valid_since};
        if (!inflight_is_open(j, i))
            continue;
        if (!read_address(j, from->address, &r.forward_path)) {
            inflight_settle(j, i, DELIVERY_PERMANENT, 0, VR_STR("5.1.3"),
                            VR_STR("the recipient's address does not follow the syntax of addresses"));
        } else if (limits_take(c,
                               r.forward_path.domain)) { /* else in another transaction, or another session */
            c->rcpts[c->rcpt_count] = r;
            c->accepted[c->rcpt_count] = false;
            c->places[c->rcpt_count++] = i;
        }
    }
}

static int32_t by_seconds(int64_t left)
{
    enum { MOST = 999999999 }; /* RFC 2852 §4 */
    return (int32_t)(left < -MOST ? -MOST : left > MOST ? MOST : left);
}

static bool gather_mail(struct connection *c)
{
    struct inflight_job *j = c->job;
    c->mail = (struct smtp_mail){.size = message_size(c),
                                 .body = c->as,
                                 .ret = (enum dsn_ret)j->d.ret,
                                 .envid = j->d.envid,
                                 .auth = j->d.auth.n > 0 ? j->d.auth : VR_STR("<>"), /* RFC 4954 §5 */
                                 .solicit = j->d.solicit,
                                 .by = (enum smtp_by)j->d.by,
                                 .by_trace = j->d.asks & ENVELOPE_BY_TRACE,
                                 .utf8 = j->d.asks & ENVELOPE_UTF8_HEADER,
                                 .require_tls = j->d.asks & ENVELOPE_REQUIRE_TLS,
                                 .priority = j->d.priority};
    if (j->d.by != SMTP_BY_NONE) /* what is left of it, RFC 2852 §4.1.4 */
        c->mail.by_seconds = by_seconds(demands_time_left(c));
    c->mail.reverse_path.null = j->d.reverse_path.n == 0;
    if (c->mail.reverse_path.null || read_address(j, j->d.reverse_path, &c->mail.reverse_path))
        return true;
    inflight_settle_rest(j, DELIVERY_PERMANENT, 0, VR_STR("5.1.7"),
                         VR_STR("the sender's address does not follow the syntax of addresses"));
    return false;
}

/* RFC 6531 §3.2, §3.5: what a server without SMTPUTF8 cannot be given. Domains can: in A-labels; and so can a message that is ASCII although its
 * client said SMTPUTF8 (§3.6). */
static bool is_beyond_ascii(struct inflight_job *j, struct vr_str text)
{
    struct address a;
    return !vr_str_is_ascii(text) && read_address(j, text, &a) && !vr_str_is_ascii(a.local);
}

static void refuse_utf8(struct connection *c, uint32_t index, const char *enhanced, const char *what)
{
    char text[600];
    snprintf(text, sizeof text, "%s, and the server %s does not take such (SMTPUTF8)", what, c->name);
    if (index == UINT32_MAX)
        inflight_settle_rest(c->job, DELIVERY_PERMANENT, 0, vr_str_from(enhanced), vr_str_from(text));
    else
        inflight_settle(c->job, index, DELIVERY_PERMANENT, 0, vr_str_from(enhanced), vr_str_from(text));
}

static void check_utf8(struct connection *c)
{
    struct inflight_job *j = c->job;
    if (smtp_client_offers(c->engine) & SMTP_EXT_SMTPUTF8)
        return;
    if (is_beyond_ascii(j, j->d.reverse_path)) {
        refuse_utf8(c, UINT32_MAX, "5.6.7", "the sender's address has characters beyond ASCII before its @");
        return;
    }
    for (uint32_t i = 0; i < j->d.rcpt_count; i++)
        if (inflight_is_open(j, i) && is_beyond_ascii(j, j->d.rcpts[i].address))
            refuse_utf8(c, i, "5.6.7", "the address has characters beyond ASCII before its @");
    if (j->open > 0 && (j->d.asks & ENVELOPE_UTF8_HEADER))
        refuse_utf8(c, UINT32_MAX, "5.6.9", "the message's header has characters beyond ASCII");
}

static void check_size(struct connection *c)
{
    uint64_t limit = smtp_client_limits(c->engine)->size, size = message_size(c);
    if (limit == 0 || size <= limit)
        return;
    char text[600];
    snprintf(text, sizeof text, "the message has %llu bytes, the server %s takes %llu at the most",
             (unsigned long long)size, c->name, (unsigned long long)limit);
    inflight_settle_rest(c->job, DELIVERY_PERMANENT, 0, VR_STR("5.3.4"), vr_str_from(text));
}

static void refuse_content(struct connection *c, const char *enhanced, const char *what, const char *next)
{
    char text[900];
    snprintf(text, sizeof text, "%s, and the server %s does not take such; %s", what, c->name, next);
    inflight_settle_rest(c->job, DELIVERY_PERMANENT, 0, vr_str_from(enhanced), vr_str_from(text));
}

/* RFC 6531 §3.5; what is no UTF-8 would not be taken by a server with SMTPUTF8 either. */
static void refuse_header(struct connection *c)
{
    if (c->survey->verdict.header_is_utf8)
        refuse_content(c, "5.6.9", "the header of the message has text beyond ASCII (SMTPUTF8)",
                       "write it as encoded words (RFC 2047)");
    else
        refuse_content(c, "5.6.3", "the header of the message has bytes beyond ASCII (8BITMIME)",
                       "write them as encoded words (RFC 2047)");
}

/* RFC 6152 §3, 3030 §3: what a server does not take is converted or returned; RFC 1847 §2.1: signatures are not broken. */
static void refuse_conversion(struct connection *c, enum mime_transport to, const char *what)
{
    struct vr_buf why;
    char text[600];
    vr_buf_init(&why, 400);
    mime_obstacle_text(&c->survey->verdict, to, &why);
    snprintf(text, sizeof text, "the message %s and cannot be converted, since %.*s", what,
             VR_STR_ARG(vr_buf_str(&why)));
    vr_buf_fini(&why);
    refuse_content(c, "5.6.3", text, "send it again in quoted-printable or base64");
}

static enum config_chunking chunking(const struct connection *c)
{
    const struct config *config = c->sender->config;
    return c->hop.route < config->route_count ? config->routes[c->hop.route].chunking : CHUNKING_AUTO;
}

/* For a server that takes lines only. Any octets must be converted. What has lines already goes as it is, a mere label of 8-bit or long lines too:
 * signatures are worth more. But "binary" is a label that means nothing without BINARYMIME (RFC 3030 §3), so it is put right if it can. */
static void choose_lines(struct connection *c, bool eight_bit_taken)
{
    const struct mime_verdict *v = &c->survey->verdict;
    enum mime_transport to = eight_bit_taken ? MIME_8BIT : MIME_7BIT;
    bool any_octets = c->job->d.body == SMTP_BODY_BINARYMIME;
    bool binary = any_octets && v->needs == MIME_BINARY, eight_bit = !eight_bit_taken && v->eight_bit;
    bool mislabelled = any_octets && v->labelled == MIME_BINARY && v->to[to].can;
    if (v->eight_bit_header && !eight_bit_taken)
        refuse_header(c);
    else if ((binary || eight_bit) && !v->to[to].can)
        refuse_conversion(c, to, binary ? "is binary (BINARYMIME)" : "has bytes beyond ASCII (8BITMIME)");
    else if (binary || eight_bit || mislabelled)
        c->to = to;
    c->as = eight_bit_taken && (v->eight_bit || c->to == MIME_8BIT) ? SMTP_BODY_8BITMIME : SMTP_BODY_7BIT;
}

/* How the message goes to this server. False: it must be looked at first; transaction_surveyed goes on. */
static bool choose_form(struct connection *c)
{
    unsigned offers = smtp_client_offers(c->engine);
    bool binary = c->job->d.body == SMTP_BODY_BINARYMIME, eight_bit_taken = offers & SMTP_EXT_8BITMIME;
    bool binary_taken =
        offers & SMTP_EXT_BINARYMIME && offers & SMTP_EXT_CHUNKING && chunking(c) != CHUNKING_NO;
    c->to = MIME_BINARY;
    c->as = (enum smtp_body)c->job->d.body;
    if (binary ? binary_taken : eight_bit_taken)
        return true;
    if (c->survey == NULL) {
        body_survey(c);
        return false;
    }
    choose_lines(c, eight_bit_taken);
    return true;
}

static bool finish_job(struct connection *c)
{
    c->deliveries++;
    connection_job_done(c);
    if (c->sender->process->draining || c->sender->config->connection_idle == 0 || limits_reached(c))
        connection_step(c, STEP_QUIT);
    else
        connection_step(c, STEP_IDLE);
    return true;
}

static void start_mail(struct connection *c)
{
    c->in_mail = true;
    c->answered = false;
    c->mails++;
    c->smtp.chunking = chunking(c) == CHUNKING_YES;
    c->job->dsn_relayed_on = smtp_client_offers(c->engine) & SMTP_EXT_DSN;
    c->job->by_relayed_on = smtp_client_offers(c->engine) & SMTP_EXT_DELIVERBY;
    smtp_client_mail(c->engine, &c->mail, c->rcpts, c->rcpt_count, connection_now(c));
}

/* An accepted recipient of an ended transaction has its verdict; if the server gave none, it is not delivered. */
static void settle_accepted(struct connection *c)
{
    for (uint32_t i = 0; i < c->rcpt_count; i++)
        if (c->accepted[i] && inflight_is_open(c->job, c->places[i]))
            inflight_settle(c->job, c->places[i], DELIVERY_TEMPORARY, 0, VR_STR("4.5.0"),
                            VR_STR("the server did not say what became of the message"));
}

/* The session is ready: at its beginning, after a transaction, or because an idle one got a job. True: pump on. */
bool transaction_ready(struct connection *c)
{
    body_drop(c);
    if (c->job == NULL)
        return true;  /* cannot happen before QUIT; the engine says READY once */
    if (c->in_mail) { /* a transaction has ended */
        c->in_mail = false;
        c->reused = false;
        settle_accepted(c);
    }
    if (c->job->open > 0 && !demands_met(c))
        return false;
    if (c->job->open > 0 && limits_reached(c)) {
        limits_renew(c);
        return false;
    }
    if (c->job->open > 0)
        check_utf8(c);
    if (c->job->open > 0 && !choose_form(c))
        return false;
    if (c->job->open > 0)
        check_size(c);
    if (c->job->open > 0 && gather_mail(c))
        gather_rcpts(c);
    if (c->job->open == 0)
        return finish_job(c);
    if (c->rcpt_count == 0) { /* the domains that are left are too many for this session */
        limits_renew(c);
        return false;
    }
    start_mail(c);
    return true;
}

void transaction_surveyed(struct connection *c, bool readable)
{
    if (!readable)
        inflight_settle_rest(c->job, DELIVERY_TEMPORARY, 0, VR_STR("4.3.0"),
                             VR_STR("the stored message cannot be read now"));
    if (transaction_ready(c))
        connection_pump(c);
}

/* ---- replies ---------------------------------------------------------------------------------------------------------- */

static enum delivery_status status_of(const struct smtp_client_event *ev)
{
    if (ev->code >= 200 && ev->code < 300)
        return DELIVERY_OK;
    return ev->permanent ? DELIVERY_PERMANENT : DELIVERY_TEMPORARY;
}

void transaction_rcpt_result(struct connection *c, const struct smtp_client_event *ev)
{
    assert(c->in_mail && ev->index < c->rcpt_count);
    uint32_t place = c->places[ev->index];
    c->answered = true;
    if (status_of(ev) == DELIVERY_OK) {
        c->accepted[ev->index] = true;
        c->accepted_count++;
        return;
    }
    bool rcpt = strcmp(ev->command, "RCPT") == 0;
    if (rcpt && (ev->code == 552 || ev->code == 452) && c->accepted_count > 0)
        return; /* stays open for the next transaction */
    inflight_settle(c->job, place, rcpt && ev->code == 552 ? DELIVERY_TEMPORARY : status_of(ev), ev->code,
                    ev->enhanced, ev->text);
}

bool transaction_is_out(const struct connection *c)
{
    return c->in_mail && smtp_client_sent_dot(c->engine);
}

void transaction_result(struct connection *c, const struct smtp_client_event *ev)
{
    body_drop(c); /* by BDAT it may be refused half way */
    for (uint32_t i = 0; i < c->rcpt_count; i++) {
        bool meant = ev->index == SIZE_MAX ? c->accepted[i] : ev->index == i;
        if (meant && inflight_is_open(c->job, c->places[i]))
            inflight_settle(c->job, c->places[i], status_of(ev), ev->code, ev->enhanced, ev->text);
    }
}

/* ---- the session broke ----------------------------------------------------------------------------------------------- */

static bool outcome_unknown(struct connection *c, const struct smtp_client_event *ev)
{
    char text[800];
    snprintf(text, sizeof text,
             "the connection to %s [%s] ended after the whole message was sent and before the server's "
             "answer to it: whether the "
             "message was taken is unknown, so it will be sent again and may arrive twice (%.*s)",
             c->name, c->ip, VR_STR_ARG(vr_str_sub(ev->text, 0, 150)));
    connection_trouble(c, false, ev->code, "4.4.2", ev->command, vr_str_from(text));
    if (ev->code != 0) /* it did answer: with the end of the session */
        inflight_settle_rest(c->job, DELIVERY_TEMPORARY, ev->code, ev->enhanced, ev->text);
    else
        inflight_settle_rest(c->job, DELIVERY_TEMPORARY, 0, VR_STR("4.4.2"), vr_str_from(text));
    connection_next(c);
    return false;
}

/* FAILED of the engine. The connection has moved on or is gone afterwards. */
bool transaction_failed(struct connection *c, const struct smtp_client_event *ev)
{
    if (c->job == NULL) { /* a server that closes an idle connection, or does not answer QUIT: its right */
        connection_free(c);
        return false;
    }
    if (c->in_mail && ev->sent_dot)
        return outcome_unknown(c, ev);
    if (c->in_mail && c->reused && !c->answered) {
        c->reused = false;
        connection_trouble(c, false, ev->code, "4.4.2", ev->command, ev->text);
        body_drop(c);
        connection_restart(c);
        return false;
    }
    if (strcmp(ev->command, "STARTTLS") == 0 && connection_target(c)->care->level == CARE_MAY) {
        char why[300];
        snprintf(why, sizeof why, "%.*s", VR_STR_ARG(vr_str_sub(ev->text, 0, sizeof why - 1)));
        connection_tls_failed(c, why);
        return false;
    }
    char enhanced[12], text[900];
    bool no_tls = ev->code == 0 && vr_str_equal(ev->enhanced, VR_STR("4.7.0"));
    bool required = no_tls && demands_tls(c->job);
    if (no_tls)
        seen_no_tls(c);
    c->refused |= no_tls && connection_target(c)->care->policy != POLICY_NONE;
    bool auth = strcmp(ev->command, "AUTH") == 0;
    snprintf(enhanced, sizeof enhanced, "%.*s", VR_STR_ARG(vr_str_sub(ev->enhanced, 0, sizeof enhanced - 1)));
    if (enhanced[0] == '\0' || auth)
        snprintf(enhanced, sizeof enhanced, "%s", auth ? "4.7.8" : ev->code != 0 ? "4.3.2" : "4.4.2");
    if (required) /* no TLS to be had: RFC 8689 §4.2.1 */
        snprintf(enhanced, sizeof enhanced, "5.7.10");
    if (ev->permanent && !auth)
        enhanced[0] = '5';
    if (ev->code != 0 && !auth)
        snprintf(text, sizeof text, "%.*s", VR_STR_ARG(vr_str_sub(ev->text, 0, sizeof text - 1)));
    else
        snprintf(text, sizeof text, "%s%s [%s]: %.*s%s",
                 auth ? "log-in refused (look at the route's user and password) by " : "", c->name, c->ip,
                 VR_STR_ARG(vr_str_sub(ev->text, 0, 200)),
                 no_tls ? policy_reason(connection_target(c)->care) : "");
    connection_trouble(c, required || (ev->permanent && !auth), ev->code, enhanced, ev->command,
                       vr_str_from(text));
    connection_next(c);
    return false;
}
