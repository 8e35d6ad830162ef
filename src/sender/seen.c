/* seen.c - what the reporter hears of TLS: one frame for each session to a mail exchanger, or for why there was none (RFC 8460 §4.3). Without a reporter nothing is told.
 *
 * Counted: a session with TLS, or without although it might be had; a handshake that failed (the session in clear that follows is not counted again); a host that was
 *          left for what is published; an MTA-STS policy that could not be had.
 * Tests:   tests/e2e/test_transport.py
 */
#include "sender/inside.h"

#include "ipc/seen.h"

#include <stdio.h>
#include <string.h>

#define SCRATCH (128u << 10)

/* By the words of OpenSSL's X509_verify_cert_error_string, which io_stream_tls_error gives. */
static const struct {
    const char *word;
    enum tlsrpt_result result;
} words[] = {
    {"expired", TLSRPT_CERTIFICATE_EXPIRED},         {"mismatch", TLSRPT_CERTIFICATE_HOST_MISMATCH},
    {"self-signed", TLSRPT_CERTIFICATE_NOT_TRUSTED}, {"self signed", TLSRPT_CERTIFICATE_NOT_TRUSTED},
    {"issuer", TLSRPT_CERTIFICATE_NOT_TRUSTED},      {"untrusted", TLSRPT_CERTIFICATE_NOT_TRUSTED},
};

static enum tlsrpt_result result_of(const char *why)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(why, words[i].word) != NULL)
            return words[i].result;
    return TLSRPT_VALIDATION_FAILURE;
}

/* ---- the policy, as reports show it ------------------------------------------------------------------------------------- */

static struct vr_str tlsa_text(struct vr_arena *arena, struct vr_str rdata)
{
    struct dane_record r;
    struct vr_buf out;
    if (dane_record_parse(rdata, &r) != VR_OK)
        return vr_str(NULL, 0);
    vr_buf_init(&out, 2 * r.data.n + 16);
    vr_buf_addf(&out, "%u %u %u ", r.usage, r.selector, r.matching);
    for (size_t i = 0; i < r.data.n; i++)
        vr_buf_addf(&out, "%02x", (unsigned)(unsigned char)r.data.p[i]);
    struct vr_str text = vr_arena_dup(arena, vr_buf_str(&out));
    vr_buf_fini(&out);
    return text;
}

static void add_string(struct tls_seen *s, struct vr_str *strings, struct vr_str text)
{
    if (text.n > 0 && s->string_count < SEEN_STRINGS_MAX)
        strings[s->string_count++] = text;
}

static void put_policy(struct vr_arena *arena, const struct connection *c, const struct host_care *care,
                       struct tls_seen *s)
{
    struct vr_str *strings = vr_arena_alloc(arena, SEEN_STRINGS_MAX * sizeof *strings);
    struct vr_str *host = vr_arena_alloc(arena, sizeof *host);
    if (strings == NULL || host == NULL)
        return;
    s->strings = strings;
    if (care->policy == POLICY_DANE) {
        s->policy_type = TLSRPT_TLSA;
        for (size_t i = 0; i < care->record_count; i++)
            add_string(s, strings, tlsa_text(arena, care->records[i]));
        *host = vr_str_from(c->name);
        s->mx_hosts = host;
        s->mx_count = 1;
    } else if (care->policy == POLICY_STS || care->policy == POLICY_STS_TESTING) {
        const struct mtasts_policy *p = &care->sts;
        s->policy_type = TLSRPT_STS;
        s->mx_hosts = p->mx;
        s->mx_count = (uint32_t)(p->mx_count < SEEN_STRINGS_MAX ? p->mx_count : SEEN_STRINGS_MAX);
        add_string(s, strings, VR_STR("version: STSv1"));
        add_string(s, strings, vr_arena_printf(arena, "mode: %s", mtasts_mode_name(p->mode)));
        add_string(s, strings, vr_arena_printf(arena, "max_age: %u", (unsigned)p->max_age));
        for (size_t i = 0; i < s->mx_count; i++)
            add_string(s, strings, vr_arena_printf(arena, "mx: %.*s", VR_STR_ARG(p->mx[i])));
    }
}

/* ---- frames ----------------------------------------------------------------------------------------------------------------- */

/* Mail that goes whatever is published says nothing of how the policy fares. */
static struct peer *listener(const struct connection *c)
{
    const struct sender *s = c->sender;
    bool domain = c->hop.kind == NEXT_HOP_MX && c->hop.host.n > 0 && c->hop.host.p[0] != '[';
    return s->config->reports.tls && domain && !demands_no_tls(c->job)
               ? process_peer(s->process, IPC_REPORTER)
               : NULL;
}

static void send_seen(struct peer *peer, const struct tls_seen *s)
{
    struct vr_buf *b = process_frame(peer->process);
    if (ipc_put_tls_seen(b, s))
        peer_send(peer, IPC_TLS_SEEN, b, -1);
}

static void tell(const struct connection *c, enum tlsrpt_result result, const char *reason)
{
    const struct host_care *care = connection_target(c)->care;
    struct peer *peer = listener(c);
    struct vr_arena arena;
    char local[IO_ADDRESS_TEXT] = "";
    if (peer == NULL)
        return;
    struct tls_seen s = {.time_us = io_now_us(c->sender->io),
                         .policy_domain = c->hop.host,
                         .policy_type = TLSRPT_NO_POLICY,
                         .result = (uint8_t)result};
    vr_arena_init(&arena, SCRATCH);
    put_policy(&arena, c, care, &s);
    if (result != TLSRPT_SUCCESS) {
        struct io_address a = {0};
        if (c->stream != NULL)
            io_stream_local(c->stream, &a);
        if (a.family != IO_NONE)
            io_address_ip_text(&a, local);
        s.sending_ip = vr_str_from(local);
        s.mx_hostname = vr_str_from(c->name);
        s.receiving_ip = vr_str_from(c->ip);
        s.reason = vr_str_from(reason);
    }
    send_seen(peer, &s);
    vr_arena_fini(&arena);
}

void seen_session(const struct connection *c, const char *error)
{
    const struct host_care *care = connection_target(c)->care;
    bool testing = care->policy == POLICY_STS_TESTING;
    if (c->in_clear ||
        care->level == CARE_NEVER) /* counted when the handshake failed; or not wanted at all */
        return;
    if (!c->tls)
        tell(c, TLSRPT_STARTTLS_NOT_SUPPORTED, "");
    else if (care->policy == POLICY_DANE && (care->record_count == 0 || !c->verified))
        tell(c, TLSRPT_TLSA_INVALID, "no TLSA record can be used");
    else if (testing && !mtasts_mx_matches(&care->sts, vr_str_from(c->name)))
        tell(c, TLSRPT_VALIDATION_FAILURE, "the policy does not name the host");
    else if (testing && !c->verified)
        tell(c, result_of(error), error);
    else
        tell(c, TLSRPT_SUCCESS, "");
}

void seen_no_tls(const struct connection *c)
{
    tell(c, TLSRPT_STARTTLS_NOT_SUPPORTED, "");
}

void seen_handshake(const struct connection *c, const char *why)
{
    if (c->hop.tls != NEXT_HOP_TLS_IMPLICIT)
        tell(c, result_of(why), why);
}

void seen_refused(const struct connection *c)
{
    const struct host_care *care = connection_target(c)->care;
    char reason[300];
    snprintf(reason, sizeof reason, "%.*s", VR_STR_ARG(vr_str_sub(care->refused, 0, sizeof reason - 1)));
    tell(c,
         care->unknown                                        ? TLSRPT_DNSSEC_INVALID
         : care->policy == POLICY_NONE                        ? TLSRPT_DANE_REQUIRED
         : care->policy == POLICY_DANE && !care->record_count ? TLSRPT_TLSA_INVALID
                                                              : TLSRPT_VALIDATION_FAILURE,
         reason);
}

/* Whether the record could be had is between us and our DNS; what it leads to is the domain's. */
void seen_policy_unsure(const struct connection *c, struct vr_str why)
{
    struct peer *peer = listener(c);
    if (peer == NULL || !vr_str_starts(why, VR_STR("the MTA-STS policy")))
        return;
    bool web = vr_str_find_str(why, VR_STR("ertificate")) != VR_NPOS ||
               vr_str_find_str(why, VR_STR("SSL")) != VR_NPOS;
    bool wrong = vr_str_find_str(why, VR_STR("of the policy is wrong")) != VR_NPOS ||
                 vr_str_find_str(why, VR_STR("is not complete")) != VR_NPOS;
    send_seen(peer, &(struct tls_seen){.time_us = io_now_us(c->sender->io),
                                       .policy_domain = c->hop.host,
                                       .policy_type = TLSRPT_STS,
                                       .result = (uint8_t)(web     ? TLSRPT_STS_WEBPKI_INVALID
                                                           : wrong ? TLSRPT_STS_POLICY_INVALID
                                                                   : TLSRPT_STS_POLICY_FETCH_ERROR),
                                       .reason = why});
}
