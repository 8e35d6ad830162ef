/* report.c - what the log hears of connections: opened, closed, in trouble; each with the queue id of the delivery at hand. */
#include "sender/inside.h"

#include <stdio.h>

uint64_t connection_queue_id(const struct connection *c)
{
    return c->job != NULL ? c->job->d.message : 0;
}

void report_place(const struct connection *c)
{
    struct event_log *l = c->sender->log;
    event_str(l, "destination", c->destination);
    if (c->name[0] != '\0')
        event_text(l, "mx", c->name);
    if (c->ip[0] != '\0')
        event_text(l, "ip", c->ip);
}

void report_open(struct connection *c)
{
    struct event_log *l = c->sender->log;
    struct io_tls_info info;
    c->open = true;
    c->tls = io_stream_tls_info(c->stream, &info);
    c->verified = c->tls && (info.verified || info.dane);
    event_begin(l, EVENT_INFO, "connection.open", connection_queue_id(c));
    report_place(c);
    event_text(l, "tls", c->tls ? info.protocol : "none");
    event_text(l, "tls_policy", policy_name(connection_target(c)->care));
    if (c->tls) {
        event_text(l, "cipher", info.cipher);
        event_text(l, "verified", !c->verified ? "no" : connection_target(c)->care->named ? "yes" : "host");
    }
    event_u64(l, "ms", (uint64_t)(connection_now(c) - c->opened_ms));
    event_end(l);
    seen_session(c, c->tls ? info.peer_error : "");
}

void report_closed(struct connection *c)
{
    if (!c->open)
        return;
    c->open = false;
    event_begin(c->sender->log, EVENT_INFO, "connection.closed", connection_queue_id(c));
    report_place(c);
    event_u64(c->sender->log, "deliveries", c->deliveries);
    event_u64(c->sender->log, "ms", (uint64_t)(connection_now(c) - c->opened_ms));
    event_end(c->sender->log);
}

void report_converted(struct connection *c, const struct mime_survey *survey)
{
    struct event_log *l = c->sender->log;
    const struct mime_verdict *v = &survey->verdict;
    event_begin(l, EVENT_INFO, "message.converted", connection_queue_id(c));
    report_place(c);
    event_text(l, "to", mime_transport_name(c->to));
    event_u64(l, "parts", v->to[c->to].changed);
    event_u64(l, "size", v->to[c->to].size);
    event_u64(l, "before", v->size);
    if (v->to[c->to].replaces)
        event_text(l, "replaced", "bytes before or behind the parts");
    if (v->has_dkim)
        event_text(l, "dkim", "broken");
    event_end(l);
}

void connection_trouble(struct connection *c, bool permanent, uint16_t code, const char *enhanced,
                        const char *stage, struct vr_str text)
{
    struct event_log *l = c->sender->log;
    event_begin(l, EVENT_NOTICE, "session.trouble", connection_queue_id(c));
    report_place(c);
    event_text(l, "stage", stage);
    if (code != 0)
        event_u64(l, "code", code);
    event_str(l, "reply", text);
    event_text(l, "next",
               c->job == NULL                    ? "the idle connection is given up"
               : c->target + 1 < c->target_count ? "the next address is tried"
                                                 : "no address is left to try");
    event_end(l);
    if (c->troubled && !c->trouble.permanent && permanent)
        return; /* as long as one host may get better, the message may get through */
    c->troubled = true;
    c->trouble.permanent = permanent;
    c->trouble.code = code;
    snprintf(c->trouble.enhanced, sizeof c->trouble.enhanced, "%s", enhanced);
    snprintf(c->trouble.text, sizeof c->trouble.text, "%.*s",
             VR_STR_ARG(vr_str_sub(text, 0, sizeof c->trouble.text - 1)));
}
