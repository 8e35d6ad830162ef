/* ipc.c - frames: who may send what, packing and unpacking whatever comes; queue ids; names of destinations. */
#include "buffer_testing.h"

#include "ipc/ipc.h"
#include "ipc/seen.h"

#include <veredus/smtp.h>

/* ---- the table ----------------------------------------------------------------------------------------------------------- */

static void test_who_may(void **state)
{
    (void)state;
    static const struct {
        enum ipc_type type;
        enum ipc_role from, to;
        bool fd, allowed;
    } rows[] = {
        {IPC_SUBMIT, IPC_RECEIVER, IPC_QUEUE, false, true},
        {IPC_SUBMIT, IPC_RECEIVER, IPC_QUEUE, true, false}, /* no descriptor with it */
        {IPC_SUBMIT, IPC_SENDER, IPC_QUEUE, false, false},
        {IPC_SUBMIT, IPC_QUEUE, IPC_RECEIVER, false, false}, /* not backwards */
        {IPC_BODY_FILE, IPC_QUEUE, IPC_RECEIVER, true, true},
        {IPC_DELIVER, IPC_QUEUE, IPC_LOCAL, true, true},
        {IPC_DELIVER, IPC_RECEIVER, IPC_LOCAL, false, false}, /* who hears strangers delivers nothing */
        {IPC_CONTROL, IPC_ADMIN, IPC_QUEUE, false, true},
        {IPC_CONTROL, IPC_RECEIVER, IPC_QUEUE, false, false},
        {IPC_CONTROL_CANCEL, IPC_ADMIN, IPC_QUEUE, false, true},
        {IPC_CONTROL_TAKEN, IPC_QUEUE, IPC_ADMIN, false, false},
        {IPC_SASL_START, IPC_SENDER, IPC_KEEPER, false, false},
        {IPC_PAM_ASK, IPC_KEEPER, IPC_PAM, false, true},
        {IPC_PAM_ASK, IPC_RECEIVER, IPC_PAM, false, false}, /* who hears strangers asks root for nothing */
        {IPC_PAM_ANSWER, IPC_PAM, IPC_KEEPER, false, true},
        {IPC_PAM_ANSWER, IPC_PAM, IPC_RECEIVER, false, false},
        {IPC_DMARC_SEEN, IPC_RECEIVER, IPC_REPORTER, false, true},
        {IPC_DMARC_SEEN, IPC_SENDER, IPC_REPORTER, false, false},
        {IPC_TLS_SEEN, IPC_SENDER, IPC_REPORTER, false, true},
        {IPC_TLS_SEEN, IPC_REPORTER, IPC_SENDER, false, false},
        {IPC_FAILURE_SEEN, IPC_RECEIVER, IPC_REPORTER, false, true},
        {IPC_FAILURE_SEEN, IPC_SENDER, IPC_REPORTER, false, false},
        {IPC_DNS_ASK, IPC_RECEIVER, IPC_RESOLVER, false, true},
        {IPC_DNS_ASK, IPC_QUEUE, IPC_RESOLVER, false, false},
        {IPC_DNS_ANSWERS, IPC_RESOLVER, IPC_RECEIVER, false, true},
        {IPC_DNS_ANSWERS, IPC_RECEIVER, IPC_RECEIVER, false, false},
        {IPC_ATTACH, IPC_SUPERVISOR, IPC_KEEPER, true, true},
        {IPC_ATTACH, IPC_QUEUE, IPC_SENDER, true, false},
        {IPC_DRAIN, IPC_SUPERVISOR, IPC_RECEIVER, false, true},
        {(enum ipc_type)999, IPC_SUPERVISOR, IPC_QUEUE, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (ipc_allowed((uint16_t)rows[i].type, rows[i].from, rows[i].to, rows[i].fd) != rows[i].allowed)
            fail_msg("row %zu", i);
    for (size_t i = 0; i < ipc_frame_count; i++) /* one row a frame, each with a name */
        for (size_t k = 0; k < i; k++) {
            assert_true(ipc_frames[i].type != ipc_frames[k].type);
            assert_string_not_equal(ipc_frames[i].name, ipc_frames[k].name);
        }
    assert_string_equal(ipc_role_name(IPC_KEEPER), "keeper");
    assert_string_equal(ipc_role_name((enum ipc_role)0), "nobody");
}

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

static void test_fields(void **state)
{
    (void)state;
    ipc_put_u8(&buf, 200);
    ipc_put_u32(&buf, UINT32_MAX);
    ipc_put_u64(&buf, UINT64_MAX - 1);
    ipc_put_str(&buf, VR_STR("text"));
    ipc_put_str(&buf, vr_str(NULL, 0));
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_int_equal(ipc_get_u8(&r), 200);
    assert_int_equal(ipc_get_u32(&r), UINT32_MAX);
    assert_true(ipc_get_u64(&r) == UINT64_MAX - 1);
    assert_str(ipc_get_str(&r), VR_STR("text"));
    assert_false(ipc_done(&r)); /* something is left */
    assert_str(ipc_get_str(&r), VR_STR(""));
    assert_true(ipc_done(&r));
    assert_int_equal(ipc_get_u32(&r), 0); /* beyond the end: zero, and bad from now on */
    assert_true(r.bad);
    assert_int_equal(ipc_get_u8(&r), 0);
    assert_false(ipc_done(&r));
    r = ipc_reader(VR_STR("\xff\xff\xff\xff text")); /* a slice longer than the frame */
    assert_int_equal(ipc_get_str(&r).n, 0);
    assert_true(r.bad);
}

static void put_all(void)
{
    struct envelope_rcpt rcpts[] = {
        {.address = VR_STR("a@x.test"), .notify = DSN_NOTIFY_SUCCESS, .orcpt = VR_STR("rfc822;a@y")},
        {.address = VR_STR("b@x.test"),
         .catch_all = true,
         .rrvs = SMTP_RRVS_CONTINUE,
         .valid_since = 1396566060}};
    struct envelope e = {.id = 77,
                         .arrival_us = 1795452771000000,
                         .reverse_path = VR_STR("from@x.test"),
                         .body = 1,
                         .ret = DSN_RET_HDRS,
                         .envid = VR_STR("QQ"),
                         .user = VR_STR("ann@d.test"),
                         .client = VR_STR("192.0.2.1"),
                         .helo = VR_STR("client.test"),
                         .prefix = VR_STR("Received: x\r\n"),
                         .body_size = 123456789012,
                         .large = true,
                         .rcpts = rcpts,
                         .rcpt_count = 2,
                         .priority = -7,
                         .asks = ENVELOPE_REQUIRE_TLS | ENVELOPE_BY_TRACE,
                         .by = SMTP_BY_RETURN,
                         .deliver_by = 1795452999,
                         .hold_until = -5,
                         .auth = VR_STR("<>"),
                         .solicit = VR_STR("org.example:ADV")};
    ipc_put_envelope(&buf, &e);
}

static void test_envelope(void **state)
{
    (void)state;
    struct envelope e;
    put_all();
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_envelope(&r, &arena, &e));
    assert_true(ipc_done(&r));
    assert_true(e.id == 77 && e.arrival_us == 1795452771000000 && e.body == 1 && e.ret == DSN_RET_HDRS &&
                e.large);
    assert_true(e.body_size == 123456789012);
    assert_str(e.reverse_path, VR_STR("from@x.test"));
    assert_str(e.envid, VR_STR("QQ"));
    assert_str(e.user, VR_STR("ann@d.test"));
    assert_str(e.client, VR_STR("192.0.2.1"));
    assert_str(e.helo, VR_STR("client.test"));
    assert_str(e.prefix, VR_STR("Received: x\r\n"));
    assert_int_equal(e.rcpt_count, 2);
    assert_str(e.rcpts[0].address, VR_STR("a@x.test"));
    assert_int_equal(e.rcpts[0].notify, DSN_NOTIFY_SUCCESS);
    assert_str(e.rcpts[0].orcpt, VR_STR("rfc822;a@y"));
    assert_true(e.rcpts[1].catch_all && !e.rcpts[0].catch_all);
    assert_int_equal(e.priority, -7);
    assert_int_equal(e.asks, ENVELOPE_REQUIRE_TLS | ENVELOPE_BY_TRACE);
    assert_int_equal(e.by, SMTP_BY_RETURN);
    assert_true(e.deliver_by == 1795452999 && e.hold_until == -5);
    assert_str(e.auth, VR_STR("<>"));
    assert_str(e.solicit, VR_STR("org.example:ADV"));
    assert_int_equal(e.rcpts[0].rrvs, SMTP_RRVS_NONE);
    assert_int_equal(e.rcpts[1].rrvs, SMTP_RRVS_CONTINUE);
    assert_true(e.rcpts[1].valid_since == 1396566060);
    for (size_t cut = 1; cut < 40;
         cut++) { /* what is missing at the end is not taken for an earlier version */
        r = ipc_reader(vr_str_sub(vr_buf_str(&buf), 0, vr_buf_size(&buf) - cut));
        assert_false(ipc_get_envelope(&r, &arena, &e));
    }
}

/* What was stored by an earlier version ends before what was added since. */
static void test_envelope_of_earlier_versions(void **state)
{
    (void)state;
    struct envelope_rcpt rcpt = {.address = VR_STR("a@x.test")};
    struct envelope e = {.id = 77, .rcpts = &rcpt, .rcpt_count = 1, .priority = 4};
    ipc_put_envelope(&buf, &e);
    struct vr_str all = vr_buf_str(&buf);
    struct ipc_reader r = ipc_reader(vr_str_sub(all, 0, all.n - 2)); /* 1 */
    assert_true(ipc_get_envelope_of(&r, &arena, &e) && ipc_done(&r));
    assert_true(e.rcpt_count == 1 && e.priority == 0);
    r = ipc_reader(vr_str_sub(all, 0, all.n - 1)); /* 2 */
    assert_true(ipc_get_envelope_of(&r, &arena, &e) && ipc_done(&r));
    assert_true(e.rcpt_count == 1 && e.priority == 4);
    r = ipc_reader(all); /* 3 */
    assert_true(ipc_get_envelope_of(&r, &arena, &e) && ipc_done(&r));
    assert_true(e.rcpt_count == 1 && e.priority == 4 && e.asks == 0);
}

static void test_delivery_and_result(void **state)
{
    (void)state;
    struct delivery_rcpt to[] = {{.index = 3,
                                  .address = VR_STR("a@x.test"),
                                  .notify = DSN_NOTIFY_DELAY,
                                  .orcpt = VR_STR("rfc822;o@y"),
                                  .rrvs = SMTP_RRVS_REJECT,
                                  .valid_since = 1396566060},
                                 {.index = 9, .address = VR_STR("b@x.test"), .attempt = 65535}};
    struct delivery d = {.id = 5,
                         .message = 77,
                         .next_hop = {NEXT_HOP_LMTP, VR_STR("/run/lmtp"), 0, NEXT_HOP_TLS_VERIFY, 4, 2},
                         .reverse_path = VR_STR("f@x"),
                         .body = 1,
                         .ret = DSN_RET_FULL,
                         .priority = 9,
                         .asks = ENVELOPE_UTF8,
                         .by = SMTP_BY_NOTIFY,
                         .deliver_by = -3,
                         .auth = VR_STR("a@x"),
                         .solicit = VR_STR("b"),
                         .envid = VR_STR("E"),
                         .prefix = VR_STR("P: 1\r\n"),
                         .content = VR_STR("text"),
                         .content_size = 4,
                         .arrival_us = 42,
                         .rcpts = to,
                         .rcpt_count = 2},
                    got;
    ipc_put_delivery(&buf, &d);
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_delivery(&r, &arena, &got));
    assert_true(got.id == 5 && got.message == 77 && got.body == 1 && got.ret == DSN_RET_FULL &&
                got.priority == 9 && got.asks == ENVELOPE_UTF8 && got.by == SMTP_BY_NOTIFY &&
                got.deliver_by == -3 && got.auth.n == 3 && got.solicit.n == 1 &&
                got.rcpts[0].rrvs == SMTP_RRVS_REJECT && got.rcpts[0].valid_since == 1396566060 &&
                got.content_size == 4 && !got.large && got.arrival_us == 42);
    assert_true(got.next_hop.kind == NEXT_HOP_LMTP && got.next_hop.port == 0 &&
                got.next_hop.tls == NEXT_HOP_TLS_VERIFY && got.next_hop.route == 4 &&
                got.next_hop.domain == 2);
    assert_str(got.next_hop.host, VR_STR("/run/lmtp"));
    assert_str(got.content, VR_STR("text"));
    assert_str(got.prefix, VR_STR("P: 1\r\n"));
    assert_int_equal(got.rcpts[1].index, 9);
    assert_int_equal(got.rcpts[1].attempt, 65535);
    assert_str(got.rcpts[0].orcpt, VR_STR("rfc822;o@y"));

    struct delivery_rcpt_result results[] = {{3, DELIVERY_OK, 250, {NULL, 0}, VR_STR("fine"), 7},
                                             {9, DELIVERY_PERMANENT, 550, VR_STR("5.1.1"), VR_STR("no"), 0}};
    struct delivery_result res = {.delivery = 5,
                                  .message = 77,
                                  .remote_mta = VR_STR("mx.test"),
                                  .remote_ip = VR_STR("192.0.2.9"),
                                  .dsn_relayed_on = true,
                                  .by_relayed_on = true,
                                  .tls = true,
                                  .form = DELIVERY_AS_8BIT,
                                  .unreachable = true,
                                  .duration_ms = 31,
                                  .rcpts = results,
                                  .rcpt_count = 2},
                           back;
    vr_buf_reset(&buf);
    ipc_put_result(&buf, &res);
    r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_result(&r, &arena, &back));
    assert_true(back.delivery == 5 && back.message == 77 && back.dsn_relayed_on && back.by_relayed_on &&
                back.tls && back.unreachable && back.duration_ms == 31 && back.rcpt_count == 2 &&
                back.form == DELIVERY_AS_8BIT);
    assert_int_equal(back.rcpts[0].attempt, 7);
    assert_str(back.remote_mta, VR_STR("mx.test"));
    assert_true(back.rcpts[1].status == DELIVERY_PERMANENT && back.rcpts[1].code == 550);
    assert_str(back.rcpts[1].enhanced, VR_STR("5.1.1"));
}

/* Cut anywhere, or with any byte changed: refused or read, never read beyond. */
static void test_damaged(void **state)
{
    (void)state;
    put_all();
    size_t n = vr_buf_size(&buf);
    for (size_t cut = 0; cut < n; cut++) {
        char *exact = malloc(cut > 0 ? cut : 1);
        struct envelope e;
        memcpy(exact, vr_buf_str(&buf).p, cut);
        struct ipc_reader r = ipc_reader(vr_str(exact, cut));
        if (ipc_get_envelope(&r, &arena, &e) && ipc_done(&r))
            fail_msg("cut at %zu is taken", cut);
        free(exact);
        vr_arena_reset(&arena);
    }
    for (size_t at = 0; at < n; at++)
        for (int value = 0; value < 256; value += 51) {
            char *exact = malloc(n);
            struct envelope e;
            memcpy(exact, vr_buf_str(&buf).p, n);
            exact[at] = (char)value;
            struct ipc_reader r = ipc_reader(vr_str(exact, n));
            if (ipc_get_envelope(&r, &arena, &e))
                for (uint32_t i = 0; i < e.rcpt_count; i++)
                    assert_true(e.rcpts[i].address.n <= n);
            free(exact);
            vr_arena_reset(&arena);
        }
    vr_buf_reset(&buf); /* as many recipients as no frame can hold: no memory is asked for them */
    struct envelope e = {.rcpt_count = 0};
    ipc_put_envelope(&buf, &e);
    memset(buf.p + buf.start + vr_buf_size(&buf) - 5, 0xff, 4);
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_false(ipc_get_envelope(&r, &arena, &e));
    assert_int_equal(e.rcpt_count, 0);
}

/* ---- queue ids --------------------------------------------------------------------------------------------------------------- */

/* Whole as it was packed; cut anywhere, it is not taken. */
static void test_seen(void **state)
{
    (void)state;
    const struct seen_signature signatures[SEEN_SIGNATURES_MAX + 1] = {
        {VR_STR("d.test"), VR_STR("s1"), DKIM_FAIL, VR_STR("the signature does not match")}};
    struct dmarc_seen sent = {.time_us = 77,
                              .policy_domain = VR_STR("d.test"),
                              .organization = VR_STR("org.test"),
                              .record = VR_STR("v=DMARC1; p=reject"),
                              .method = DMARC_PUBLIC_SUFFIX,
                              .source_ip = VR_STR("192.0.2.1"),
                              .verdict = DMARC_FAIL,
                              .disposition = DMARC_POLICY_QUARANTINE,
                              .override = DMARC_OVERRIDE_LOCAL_POLICY,
                              .comment = VR_STR("why"),
                              .spf_aligned = 1,
                              .header_from = VR_STR("a.d.test"),
                              .envelope_from = VR_STR("e.test"),
                              .envelope_to = VR_STR("t.test"),
                              .spf_domain = VR_STR("h.test"),
                              .spf_result = VR_STR("softfail"),
                              .spf_helo = 1,
                              .signatures = signatures,
                              .signature_count = SEEN_SIGNATURES_MAX + 1};
    struct dmarc_seen d;
    assert_true(ipc_put_dmarc_seen(&buf, &sent));
    for (size_t cut = 0; cut < vr_buf_size(&buf); cut++) {
        struct ipc_reader part = ipc_reader(vr_str_sub(vr_buf_str(&buf), 0, cut));
        assert_false(ipc_get_dmarc_seen(&part, &arena, &d) && ipc_done(&part));
    }
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_dmarc_seen(&r, &arena, &d) && ipc_done(&r));
    assert_int_equal(d.time_us, 77);
    assert_str(d.record, sent.record);
    assert_str(d.organization, sent.organization);
    assert_str(d.comment, sent.comment);
    assert_str(d.envelope_to, sent.envelope_to);
    assert_str(d.spf_result, sent.spf_result);
    assert_true(d.method == sent.method && d.verdict == sent.verdict && d.disposition == sent.disposition &&
                d.override == sent.override && d.spf_aligned && !d.dkim_aligned && d.spf_helo);
    assert_int_equal(d.signature_count, SEEN_SIGNATURES_MAX);
    assert_str(d.signatures[0].reason, signatures[0].reason);
    assert_int_equal(d.signatures[0].verdict, DKIM_FAIL);

    vr_buf_reset(&buf); /* a verdict that there is not */
    sent.verdict = DMARC_PERMERROR + 1;
    assert_true(ipc_put_dmarc_seen(&buf, &sent));
    r = ipc_reader(vr_buf_str(&buf));
    assert_false(ipc_get_dmarc_seen(&r, &arena, &d));

    vr_buf_reset(&buf);
    static char large[SEEN_MAX];
    sent.record = vr_str(large, sizeof large);
    assert_false(ipc_put_dmarc_seen(&buf, &sent));
}

static void test_failure_seen(void **state)
{
    (void)state;
    struct failure_seen sent = {
        .message = {.time_us = 79, .header_from = VR_STR("d.test"), .verdict = DMARC_FAIL},
        .kind = DMARC_FAILURE_DKIM,
        .delivery = DMARC_FAILURE_SPAM,
        .mail_from = VR_STR("a@d.test"),
        .spf_record = VR_STR("v=spf1 -all"),
        .dkim_domain = VR_STR("e.test"),
        .dkim_identity = VR_STR("@e.test"),
        .dkim_selector = VR_STR("s1"),
        .dkim_reason = VR_STR("why"),
        .dkim_verdict = DKIM_PERMERROR,
        .header = VR_STR("A: b\r\n"),
        .cut = 1};
    struct failure_seen f;
    assert_true(ipc_put_failure_seen(&buf, &sent));
    for (size_t cut = 0; cut < vr_buf_size(&buf); cut++) {
        struct ipc_reader part = ipc_reader(vr_str_sub(vr_buf_str(&buf), 0, cut));
        assert_false(ipc_get_failure_seen(&part, &arena, &f) && ipc_done(&part));
    }
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_failure_seen(&r, &arena, &f) && ipc_done(&r));
    assert_true(f.message.time_us == 79 && f.kind == sent.kind && f.delivery == sent.delivery &&
                f.dkim_verdict == sent.dkim_verdict && f.cut);
    assert_str(f.message.header_from, sent.message.header_from);
    assert_str(f.mail_from, sent.mail_from);
    assert_str(f.spf_record, sent.spf_record);
    assert_str(f.dkim_domain, sent.dkim_domain);
    assert_str(f.dkim_identity, sent.dkim_identity);
    assert_str(f.dkim_selector, sent.dkim_selector);
    assert_str(f.dkim_reason, sent.dkim_reason);
    assert_str(f.header, sent.header);

    static char large[SEEN_MAX];
    vr_buf_reset(&buf); /* more of a header than may be sent */
    sent.header = vr_str(large, DMARC_FAILURE_HEADER_MAX + 1);
    assert_true(ipc_put_failure_seen(&buf, &sent));
    r = ipc_reader(vr_buf_str(&buf));
    assert_false(ipc_get_failure_seen(&r, &arena, &f));
    vr_buf_reset(&buf); /* nothing that a report is wanted of */
    sent.header = vr_str(NULL, 0);
    sent.kind = DMARC_FAILURE_NONE;
    assert_true(ipc_put_failure_seen(&buf, &sent));
    r = ipc_reader(vr_buf_str(&buf));
    assert_false(ipc_get_failure_seen(&r, &arena, &f));
    vr_buf_reset(&buf);
    sent.message.record = vr_str(large, sizeof large - 300);
    sent.header = vr_str(large, 1000);
    assert_false(ipc_put_failure_seen(&buf, &sent));
}

static void test_tls_seen(void **state)
{
    (void)state;
    const struct vr_str lines[] = {VR_STR("version: STSv1"), VR_STR("mode: enforce")},
                        hosts[] = {VR_STR("*.d.test")};
    const struct tls_seen sent = {.time_us = 78,
                                  .policy_domain = VR_STR("d.test"),
                                  .policy_type = TLSRPT_STS,
                                  .strings = lines,
                                  .string_count = 2,
                                  .mx_hosts = hosts,
                                  .mx_count = 1,
                                  .result = TLSRPT_CERTIFICATE_EXPIRED,
                                  .sending_ip = VR_STR("192.0.2.1"),
                                  .mx_hostname = VR_STR("mx.d.test"),
                                  .mx_helo = VR_STR("helo.d.test"),
                                  .receiving_ip = VR_STR("192.0.2.2"),
                                  .reason = VR_STR("expired")};
    struct tls_seen t;
    assert_true(ipc_put_tls_seen(&buf, &sent));
    for (size_t cut = 0; cut < vr_buf_size(&buf); cut++) {
        struct ipc_reader part = ipc_reader(vr_str_sub(vr_buf_str(&buf), 0, cut));
        assert_false(ipc_get_tls_seen(&part, &arena, &t) && ipc_done(&part));
    }
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_tls_seen(&r, &arena, &t) && ipc_done(&r));
    assert_str(t.policy_domain, sent.policy_domain);
    assert_true(t.policy_type == TLSRPT_STS && t.result == TLSRPT_CERTIFICATE_EXPIRED && t.string_count == 2);
    assert_str(t.strings[1], lines[1]);
    assert_str(t.mx_hosts[0], hosts[0]);
    assert_str(t.mx_helo, sent.mx_helo);
    assert_str(t.reason, sent.reason);
    vr_buf_reset(&buf);
    ipc_put_u64(&buf, 0);
    ipc_put_str(&buf, VR_STR("d.test"));
    ipc_put_u8(&buf, TLSRPT_STS);
    ipc_put_u32(&buf, 0xffffffff); /* more strings than any frame has */
    r = ipc_reader(vr_buf_str(&buf));
    assert_false(ipc_get_tls_seen(&r, &arena, &t));
}

static void test_ids(void **state)
{
    (void)state;
    uint64_t last = 0, other = 0, before = 0;
    char text[QUEUE_ID_TEXT], earlier[QUEUE_ID_TEXT] = "";
    int64_t now = 1795452771123456;
    for (int i = 0; i < 1000; i++) { /* also when the clock stands still, or goes back */
        uint64_t id = queue_id_next(&last, i < 500 ? now : now - 1000000, 7), parsed;
        assert_true(id > before);
        assert_true(queue_id_next(&other, now, 8) != id); /* another slot, another id */
        queue_id_text(id, text);
        assert_int_equal(strlen(text), 13);
        assert_true(strcmp(text, earlier) > 0);
        assert_true(queue_id_parse(vr_str_from(text), &parsed) && parsed == id);
        strcpy(earlier, text);
        before = id;
    }
    last = 0;
    uint64_t id = queue_id_next(&last, now, 1023), parsed;
    assert_true(queue_id_time_us(id) == now);
    queue_id_text(id, text);
    for (char *p = text; *p != '\0'; p++)
        *p = *p == '1' ? 'l' : *p == '0' ? 'o' : vr_lower(*p); /* as read over a telephone */
    assert_true(queue_id_parse(vr_str_from(text), &parsed) && parsed == id);
    static const char *const bad[] = {"",
                                      "065XMPAR1S10",
                                      "065XMPAR1S1077",
                                      "065XMPAR1S10U",
                                      "065XMPAR1S10 ",
                                      "G000000000000",
                                      "ZZZZZZZZZZZZZ"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (queue_id_parse(vr_str_from(bad[i]), &parsed))
            fail_msg("%s is taken", bad[i]);
}

static void test_signers(void **state)
{
    (void)state;
    struct ipc_signers in = {.count = 2}, out;
    in.list[0] = (struct ipc_signer){2, VR_STR("one"), VR_STR("digest")};
    in.list[1] = (struct ipc_signer){3, VR_STR("two"), VR_STR("")};
    vr_buf_reset(&buf);
    ipc_put_signers(&buf, &in);
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    ipc_get_signers(&r, &out);
    assert_true(ipc_done(&r));
    assert_int_equal(out.count, 2);
    assert_int_equal(out.list[1].algorithm, 3);
    assert_str(out.list[0].selector, VR_STR("one"));
    assert_str(out.list[0].bytes, VR_STR("digest"));
    for (size_t n = 0; n < vr_buf_size(&buf); n++) { /* cut anywhere */
        r = ipc_reader(vr_str_sub(vr_buf_str(&buf), 0, n));
        ipc_get_signers(&r, &out);
        assert_false(ipc_done(&r));
    }
    vr_buf_reset(&buf);
    ipc_put_u32(&buf, IPC_SIGNERS_MAX + 1);
    r = ipc_reader(vr_buf_str(&buf));
    ipc_get_signers(&r, &out);
    assert_false(ipc_done(&r));
}

static void test_destinations(void **state)
{
    (void)state;
    static const struct {
        struct next_hop hop;
        const char *text;
    } rows[] = {
        {{NEXT_HOP_MX, VR_STR_INIT("example.org"), 0, NEXT_HOP_TLS_MAY, 0, 0}, "mx:example.org"},
        {{NEXT_HOP_SMTP, VR_STR_INIT("relay.test"), 25, NEXT_HOP_TLS_MAY, 0, 0}, "smtp:relay.test:25"},
        {{NEXT_HOP_LMTP, VR_STR_INIT("/run/x"), 0, NEXT_HOP_TLS_NONE, 0, 0}, "lmtp:unix:/run/x"},
        {{NEXT_HOP_LMTP, VR_STR_INIT("127.0.0.1"), 24, NEXT_HOP_TLS_NONE, 0, 0}, "lmtp:127.0.0.1:24"},
        {{NEXT_HOP_MAILDIR, VR_STR_INIT(""), 0, NEXT_HOP_TLS_NONE, 0, 0}, "maildir"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vr_buf_reset(&buf);
        assert_true(next_hop_text(&buf, &rows[i].hop));
        assert_str(vr_buf_str(&buf), vr_str_from(rows[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_may, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_envelope_of_earlier_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_envelope, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delivery_and_result, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tls_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_destinations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
