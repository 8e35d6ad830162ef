/* queue_process.c - the queue as a process of its own, driven over channels as receiver, sender, local and admin would; killed and restarted.
 */
#include "queue_testing.h"

/* ---- tests ---------------------------------------------------------------------------------------------------------------------------------- */

static void test_relay(void **state)
{
    (void)state;
    uint64_t id =
        submit(&(struct mail){"a@home.example", {"b@far.example", "c@far.example", "d@other.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_true(d.message == id);
    assert_int_equal(d.rcpt_count, 2); /* one transaction for one destination */
    assert_int_equal(d.next_hop.kind, NEXT_HOP_MX);
    assert_true(vr_str_equal(d.next_hop.host, VR_STR("far.example")));
    assert_true(vr_str_equal(d.prefix, VR_STR("Received: from test\r\n")));
    assert_true(contains(d.content, "How are you?"));
    assert_true(vr_str_equal(d.envid, VR_STR("env+2Bid")));
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    d = expect_delivery(&sides[SENDER]);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("d@other.example")));
    assert_int_equal(queued(), 1);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    expect_queued(0);
    assert_quiet(&sides[SENDER], 100);
    drain_queue();
    start_queue(true);
    assert_int_equal(queued(), 0); /* what is done stays done */
    assert_quiet(&sides[SENDER], 300);
}

static void test_retry(void **state)
{
    (void)state;
    submit(&(struct mail){"a@home.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.3.0", "not now");
    expect_queued(1);
    json_t *l = ask("{\"op\":\"list\",\"domain\":\"far.example\"}");
    json_t *rcpt =
        json_array_get(json_object_get(json_array_get(json_object_get(l, "messages"), 0), "recipients"), 0);
    assert_string_equal(json_string_value(json_object_get(rcpt, "status")), "deferred");
    assert_string_equal(json_string_value(json_object_get(rcpt, "reply")), "451 4.3.0 not now");
    assert_string_equal(json_string_value(json_object_get(rcpt, "destination")), "mx:far.example");
    assert_int_equal(json_integer_value(json_object_get(rcpt, "attempts")), 1);
    json_decref(l);
    d = expect_delivery(&sides[SENDER]); /* by the table */
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 0, "4.4.1",
           "connection refused"); /* the next pause is minutes */
    for (int i = 0; i < 100; i++) {
        l = ask("{\"op\":\"list\"}");
        rcpt = json_array_get(
            json_object_get(json_array_get(json_object_get(l, "messages"), 0), "recipients"), 0);
        json_int_t attempts = json_integer_value(json_object_get(rcpt, "attempts"));
        json_decref(l);
        if (attempts == 2)
            break;
        run(10);
    }
    assert_quiet(&sides[SENDER], 300);
    run(100); /* the lazy commit */
    kill_queue();
    start_queue(true);
    assert_quiet(&sides[SENDER], 300); /* the time of the next attempt survived */
    l = ask("{\"op\":\"list\"}");
    rcpt =
        json_array_get(json_object_get(json_array_get(json_object_get(l, "messages"), 0), "recipients"), 0);
    assert_string_equal(json_string_value(json_object_get(rcpt, "reply")), "4.4.1 connection refused");
    assert_int_equal(json_integer_value(json_object_get(rcpt, "attempts")), 2);
    json_decref(l);
    json_decref(ask("{\"op\":\"retry\",\"all\":true}"));
    d = expect_delivery(&sides[SENDER]); /* read back from the log */
    assert_true(contains(d.content, "How are you?"));
    answer(&sides[SENDER], &d, DELIVERY_CANCELLED, 0, "4.3.2", "closing");
    d = expect_delivery(&sides[SENDER]); /* again soon */
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    expect_queued(0);
}

/* The first recipient of the first message that `list` shows, or NULL. Frees *l first. */
static json_t *first_recipient(json_t **l, const char *request)
{
    json_decref(*l);
    *l = ask(request);
    return json_array_get(json_object_get(json_array_get(json_object_get(*l, "messages"), 0), "recipients"),
                          0);
}

/* Two attempts find nobody; then all mail for that destination knows it, and one attempt tells when it is over. */
static void test_dead_destination(void **state)
{
    (void)state;
    static const char dead[] = "{\"op\":\"list\",\"sender\":\"third@home.example\"}";
    config->retry[0] = 60000;
    drain_queue();
    start_queue(true);
    unreachable = true;
    submit(&(struct mail){"first@home.example", {"b@far.example"}});
    submit(&(struct mail){"second@home.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]), second = expect_delivery(&sides[SENDER]);
    submit(&(struct mail){"third@home.example", {"c@far.example"}}); /* waits: two at a time */
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 0, "4.4.1", "cannot connect");
    answer(&sides[SENDER], &second, DELIVERY_TEMPORARY, 0, "4.4.1", "cannot connect");
    submit(&(struct mail){"fourth@home.example", {"d@far.example", "e@other.example"}});
    d = expect_delivery(&sides[SENDER]);
    assert_true(vr_str_equal(d.next_hop.host, VR_STR("other.example"))); /* nobody else's trouble */
    unreachable = false;
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    json_t *l = NULL, *rcpt = first_recipient(&l, dead);
    for (int i = 0; i < 100 && json_object_get(rcpt, "reply") == NULL; i++) {
        run(10);
        rcpt = first_recipient(&l, dead);
    }
    assert_string_equal(json_string_value(json_object_get(rcpt, "reply")), "4.4.1 cannot connect");
    assert_int_equal(json_integer_value(json_object_get(rcpt, "attempts")), 0); /* none was made */
    assert_quiet(&sides[SENDER], 1500);
    json_decref(l);
    l = ask("{\"op\":\"summary\"}");
    json_t *first = json_array_get(json_object_get(l, "destinations"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "destination")), "mx:far.example");
    assert_in_range(json_integer_value(json_object_get(first, "dead_s")), 40, 66);
    json_decref(l);
    json_decref(ask("{\"op\":\"retry\",\"all\":true}")); /* an administrator knows better: one tries it */
    d = expect_delivery(&sides[SENDER]);
    assert_quiet(&sides[SENDER], 200);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    d = expect_delivery(&sides[SENDER]);
    second = expect_delivery(&sides[SENDER]); /* it lives: two at a time again */
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    answer(&sides[SENDER], &second, DELIVERY_OK, 250, "2.0.0", "taken");
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    expect_queued(0);
}

/* A receiver asks for the mail of a domain (ETRN): what comes back. */
static uint64_t flush(enum ipc_flush kind, const char *name, enum ipc_flushed what)
{
    static uint64_t number = 100;
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    ipc_put_u64(&b, ++number);
    ipc_put_u8(&b, (uint8_t)kind);
    ipc_put_str(&b, vr_str_from(name));
    io_channel_send(sides[RECEIVER].channel, IPC_FLUSH, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    struct ipc_reader r = receive(&sides[RECEIVER], IPC_FLUSHED);
    assert_int_equal(ipc_get_u64(&r), number);
    assert_int_equal(ipc_get_u8(&r), what);
    uint64_t count = ipc_get_u64(&r);
    assert_true(ipc_done(&r));
    return count;
}

/* Mail that waits for a domain is tried at once when its server asks; that of others is not, and what is held stays so. */
static void test_flush(void **state)
{
    (void)state;
    config->retry[0] = 60000;
    drain_queue();
    start_queue(true);
    static const char *const to[] = {"b@far.example", "c@sub.FAR.example", "d@notfar.example",
                                     "e@far.example"};
    for (size_t i = 0; i < 4; i++) {
        submit(&(struct mail){"a@home.example", {to[i]}});
        struct delivery d = expect_delivery(&sides[SENDER]);
        answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.3.0", "not now");
    }
    for (int i = 0; i < 300; i++) {
        json_t *l = ask("{\"op\":\"list\",\"state\":\"deferred\"}");
        bool all = json_integer_value(json_object_get(l, "total")) == 4;
        json_decref(l);
        if (all)
            break;
        run(10);
    }
    json_t *l = ask("{\"op\":\"list\"}");
    const char *last =
        json_string_value(json_object_get(json_array_get(json_object_get(l, "messages"), 3), "id"));
    char hold[80];
    snprintf(hold, sizeof hold, "{\"op\":\"hold\",\"ids\":[\"%s\"]}", last);
    json_decref(ask(hold));
    json_decref(l);
    assert_int_equal(flush(IPC_FLUSH_DOMAIN, "elsewhere.example", IPC_FLUSH_COUNTED), 0);
    assert_int_equal(flush(IPC_FLUSH_DOMAIN, "ar.example", IPC_FLUSH_COUNTED), 0);
    assert_int_equal(flush(IPC_FLUSH_BELOW, "ar.example", IPC_FLUSH_COUNTED), 0);
    assert_quiet(&sides[SENDER], 300);
    assert_int_equal(flush(IPC_FLUSH_DOMAIN, "Far.Example", IPC_FLUSH_COUNTED), 1);
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("b@far.example")));
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    expect_queued(3);
    assert_int_equal(flush(IPC_FLUSH_BELOW, "far.example", IPC_FLUSH_COUNTED), 1);
    d = expect_delivery(&sides[SENDER]);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("c@sub.FAR.example")));
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    expect_queued(2);
    assert_int_equal(flush(IPC_FLUSH_DESTINATION, "mx:notfar.example", IPC_FLUSH_COUNTED), 1);
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "taken");
    expect_queued(1);
    assert_quiet(&sides[SENDER], 100);
}

static void test_failure(void **state)
{
    (void)state;
    submit(&(struct mail){
        "x@away.example", {"b@far.example", "c@far.example"}, .orcpt = "rfc822;original@far.example"});
    struct delivery d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no such user here");
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_true(vr_str_equal(dsn.rcpts[0].address, VR_STR("x@away.example")));
    assert_true(contains(dsn.content, "Final-Recipient: rfc822; b@far.example"));
    assert_true(contains(dsn.content, "Final-Recipient: rfc822; c@far.example")); /* one report for both */
    assert_true(contains(dsn.content, "550 5.1.1 no such user here"));
    assert_true(contains(dsn.content, "original@far.example"));
    assert_true(contains(dsn.content, "How are you?")); /* small: returned whole */
    expect_queued(1);
    kill_queue(); /* the report survives, the original does not come back */
    start_queue(true);
    expect_queued(1);
    dsn = expect_dsn(&sides[SENDER]);
    answer(&sides[SENDER], &dsn, DELIVERY_PERMANENT, 550, "5.1.1", "nor here"); /* a double bounce: dropped */
    expect_queued(0);
    assert_quiet(&sides[SENDER], 200);
    submit(&(struct mail){"x@away.example", {"b@far.example"}, .notify = DSN_NOTIFY_NEVER});
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no");
    expect_queued(0);
    submit(&(struct mail){"", {"b@far.example"}});
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no");
    expect_queued(0);
    submit(&(struct mail){"x@away.example", {"b@far.example"}, .ret = DSN_RET_HDRS});
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no");
    dsn = expect_dsn(&sides[SENDER]);
    assert_false(contains(dsn.content, "How are you?"));
    assert_true(contains(dsn.content, "Subject: hello"));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    expect_queued(0);
}

/* What is binary is not returned, whatever RET says: it could stand in no report (RFC 3030 §3). */
static void test_binary_bounce(void **state)
{
    (void)state;
    static const char *const bodies[] = {"Subject: hello\r\n\r\n\xff\nHow are you?\r",
                                         "no header\n\xff How are you?"};
    for (int i = 0; i < 2; i++) {
        submit(&(struct mail){
            "x@away.example", {"b@far.example"}, .ret = DSN_RET_FULL, .body = bodies[i], .binary = true});
        struct delivery d = expect_delivery(&sides[SENDER]);
        assert_int_equal(d.body, SMTP_BODY_BINARYMIME);
        assert_true(vr_str_equal(d.content, vr_str_from(bodies[i])));
        answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no");
        struct delivery dsn = expect_dsn(&sides[SENDER]);
        assert_int_equal(dsn.body, SMTP_BODY_7BIT);
        assert_false(contains(dsn.content, "How are you?"));
        assert_true(contains(dsn.content, "text/rfc822-headers"));
        assert_true(contains(dsn.content, "Received: from test"));
        assert_int_equal(contains(dsn.content, "Subject: hello"), i == 0);
        answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    }
    expect_queued(0);
}

static void test_success(void **state)
{
    (void)state;
    submit(&(struct mail){"x@away.example", {"ann@home.example"}, .notify = DSN_NOTIFY_SUCCESS});
    struct delivery d = expect_delivery(&sides[LOCAL]);
    assert_int_equal(d.next_hop.kind, NEXT_HOP_MAILDIR);
    answer(&sides[LOCAL], &d, DELIVERY_OK, 0, "", "");
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_true(contains(dsn.content, "Action: delivered"));
    assert_false(contains(dsn.content, "How are you?")); /* RET is about failures */
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    expect_queued(0);
    submit(&(struct mail){"x@away.example", {"b@far.example"}, .notify = DSN_NOTIFY_SUCCESS});
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", ""); /* the next hop offers no DSN */
    dsn = expect_dsn(&sides[SENDER]);
    assert_true(contains(dsn.content, "Action: relayed"));
}

static void test_alias(void **state)
{
    (void)state;
    submit(&(struct mail){"x@away.example",
                          {"team@home.example", "ann@home.example"},
                          .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE});
    bool seen_dsn = false, seen_far = false;
    for (int i = 0; i < 2; i++) {
        struct delivery d = expect_delivery(&sides[SENDER]);
        if (d.reverse_path.n == 0) {
            assert_true(contains(d.content, "Action: expanded"));
            assert_true(contains(d.content, "team@home.example"));
            seen_dsn = true;
        } else {
            assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("carol@far.example")));
            assert_int_equal(d.rcpts[0].notify, DSN_NOTIFY_FAILURE); /* SUCCESS was answered by "expanded" */
            seen_far = true;
        }
        answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    }
    assert_true(seen_dsn && seen_far);
    struct delivery d = expect_delivery(&sides[LOCAL]);
    assert_int_equal(d.rcpt_count, 2); /* ann once, though named twice; bob */
    bool ann = false, bob = false;
    for (uint32_t i = 0; i < 2; i++) {
        ann = ann || (vr_str_equal(d.rcpts[i].address, VR_STR("ann@home.example")) &&
                      d.rcpts[i].notify == (DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE));
        bob = bob || (vr_str_equal(d.rcpts[i].address, VR_STR("bob@home.example")) &&
                      d.rcpts[i].notify == DSN_NOTIFY_FAILURE);
    }
    assert_true(ann && bob);
}

/* An address that became an alias while mail waited for it, of somebody who has that mail: no reason to send it back. */
static void test_alias_made_meanwhile(void **state)
{
    (void)state;
    submit(&(struct mail){"x@away.example", {"dora@home.example", "bob@home.example"}});
    struct delivery d = expect_delivery(&sides[LOCAL]);
    assert_int_equal(d.rcpt_count, 2);
    answer(&sides[LOCAL], &d, DELIVERY_TEMPORARY, 0, "4.2.2", "over quota");
    drain_queue();
    config_free(config);
    config_make("dora: bob\n");
    start_queue(true);
    json_decref(ask("{\"op\":\"retry\",\"all\":true}"));
    for (unsigned got = 0; got < 2; got += d.rcpt_count) {
        d = expect_delivery(&sides[LOCAL]);
        for (uint32_t i = 0; i < d.rcpt_count; i++)
            assert_true(vr_str_equal(d.rcpts[i].address, VR_STR("bob@home.example")));
        answer(&sides[LOCAL], &d, DELIVERY_OK, 0, "", "");
    }
    expect_queued(0);
    assert_quiet(&sides[SENDER], 100);
}

static void test_catch_all(void **state)
{
    (void)state;
    submit(&(struct mail){"x@away.example", {"gone@home.example"}});
    struct delivery d = expect_delivery(&sides[LOCAL]);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("gone@home.example")));
    answer(&sides[LOCAL], &d, DELIVERY_NO_MAILBOX, 0, "5.1.1", "no such account");
    d = expect_delivery(&sides[LOCAL]);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("ann@home.example")));
    uint32_t index = d.rcpts[0].index;
    assert_int_equal(index, 1);
    kill_queue();
    start_queue(true);
    d = expect_delivery(&sides[LOCAL]); /* the expansion is remembered, indexes mean the same */
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("ann@home.example")));
    assert_int_equal(d.rcpts[0].index, index);
    answer(&sides[LOCAL], &d, DELIVERY_NO_MAILBOX, 0, "5.1.1",
           "no such account either"); /* no second catch-all */
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_true(contains(dsn.content, "5.1.1"));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    expect_queued(0);
}

static void test_expiry(void **state)
{
    (void)state;
    drain_queue();
    config->expire = 1500;
    config->delay_warning = 1;
    start_queue(true);
    submit(&(struct mail){"x@away.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    run(20);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_true(contains(dsn.content, "Action: delayed"));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    bool failed = false;
    for (int i = 0; i < 6 && !failed; i++) {
        d = expect_delivery(&sides[SENDER]);
        if (d.reverse_path.n > 0) {
            answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
            continue;
        }
        assert_false(contains(d.content, "Action: delayed")); /* the warning comes once */
        assert_true(contains(d.content, "Status: 4.4.7"));
        assert_true(contains(d.content, "greylisted"));
        answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
        failed = true;
    }
    assert_true(failed);
    expect_queued(0);
}

static void large_open(uint64_t id)
{
    io_channel_send(sides[RECEIVER].channel, IPC_BODY_OPEN, vr_str((const char *)&id, sizeof id), -1);
}

/* The receiver's part: asks for a file and writes it. */
static void large_write(uint64_t id, struct vr_buf *body)
{
    large_open(id);
    struct ipc_reader r = receive(&sides[RECEIVER], IPC_BODY_FILE);
    assert_true(ipc_get_u64(&r) == id);
    assert_int_equal(ipc_get_u32(&r), 0);
    assert_true(current->fd >= 0);
    vr_buf_init(body, 1u << 20);
    vr_buf_add(body, VR_STR("Subject: large\r\n\r\n"));
    for (int i = 0; i < 5000; i++)
        vr_buf_addf(body, "line %d of a large body\r\n", i);
    assert_true(io_fs_write(current->fd, vr_buf_str(body).p, vr_buf_size(body)) >= 0);
}

static void large_submit(uint64_t id, uint64_t size)
{
    struct envelope_rcpt rcpt = {.address = VR_STR("b@far.example")};
    struct envelope e = {.id = id,
                         .arrival_us = io_now_us(io),
                         .reverse_path = VR_STR("x@away.example"),
                         .body_size = size,
                         .large = true,
                         .rcpts = &rcpt,
                         .rcpt_count = 1};
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    ipc_put_envelope(&b, &e);
    ipc_put_str(&b, vr_str(NULL, 0));
    io_channel_send(sides[RECEIVER].channel, IPC_SUBMIT, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

/* A receiver that asked an earlier queue for its file asks the next one as well; when that one reads it, the file may be written and submitted. */
static void test_large_asked_twice(void **state)
{
    (void)state;
    struct vr_buf body;
    uint64_t id = queue_id_next(&last_id, io_now_us(io), 3);
    large_write(id, &body);
    kill_queue();
    start_queue(true);
    large_open(id);
    large_submit(id, vr_buf_size(&body));
    expect_submitted(id, IPC_SUBMIT_OK);
    struct delivery d = expect_delivery(&sides[SENDER]);
    char *read = malloc(vr_buf_size(&body));
    assert_non_null(read);
    assert_int_equal(io_fs_pread(current->fd, read, vr_buf_size(&body), 0), vr_buf_size(&body));
    assert_memory_equal(read, vr_buf_str(&body).p, vr_buf_size(&body));
    free(read);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    expect_queued(0);
    vr_buf_fini(&body);
}

static void test_large(void **state)
{
    (void)state;
    struct vr_buf body;
    uint64_t id = queue_id_next(&last_id, io_now_us(io), 3);
    large_write(id, &body);
    large_submit(id, vr_buf_size(&body));
    expect_submitted(id, IPC_SUBMIT_OK);
    for (int round = 0; round < 2; round++) {
        struct delivery d = expect_delivery(&sides[SENDER]);
        assert_true(d.large && d.content.n == 0 && d.content_size == vr_buf_size(&body));
        char *read = malloc(vr_buf_size(&body));
        assert_non_null(read);
        assert_int_equal(io_fs_pread(current->fd, read, vr_buf_size(&body), 0), vr_buf_size(&body));
        assert_memory_equal(read, vr_buf_str(&body).p, vr_buf_size(&body));
        free(read);
        if (round == 0) {
            kill_queue();
            start_queue(true);
        } else {
            answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 552, "5.3.4", "too large");
        }
    }
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_true(contains(dsn.content, "Subject: large"));
    assert_false(contains(dsn.content, "line 17 of"));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    expect_queued(0);
    char text[QUEUE_ID_TEXT], path[256];
    queue_id_text(id, text);
    snprintf(path, sizeof path, "%s/spool/body/%.2s/%s", folder, text + 8, text);
    struct io_fs_stat st;
    for (int i = 0; i < 200 && io_fs_stat(path, &st) == 0; i++)
        run(10);
    assert_true(io_fs_stat(path, &st) != 0); /* gone with its message */
    /* A transaction that ends without a message leaves no file, nor does one of another size. */
    id = queue_id_next(&last_id, io_now_us(io), 3);
    io_channel_send(sides[RECEIVER].channel, IPC_BODY_OPEN, vr_str((const char *)&id, sizeof id), -1);
    receive(&sides[RECEIVER], IPC_BODY_FILE);
    queue_id_text(id, text);
    snprintf(path, sizeof path, "%s/spool/body/%.2s/%s", folder, text + 8, text);
    assert_int_equal(io_fs_stat(path, &st), 0);
    large_submit(id, vr_buf_size(&body));
    expect_submitted(id, IPC_SUBMIT_ERROR);
    for (int i = 0; i < 200 && io_fs_stat(path, &st) == 0; i++)
        run(10);
    assert_true(io_fs_stat(path, &st) != 0);
    id = queue_id_next(&last_id, io_now_us(io), 3);
    io_channel_send(sides[RECEIVER].channel, IPC_BODY_OPEN, vr_str((const char *)&id, sizeof id), -1);
    receive(&sides[RECEIVER], IPC_BODY_FILE);
    detach(&sides[RECEIVER]); /* the receiver dies */
    queue_id_text(id, text);
    snprintf(path, sizeof path, "%s/spool/body/%.2s/%s", folder, text + 8, text);
    for (int i = 0; i < 200 && io_fs_stat(path, &st) == 0; i++)
        run(10);
    assert_true(io_fs_stat(path, &st) != 0);
    vr_buf_fini(&body);
}

#define MANY 2000

/* kill -9 in the middle of it all: each id that was acknowledged is there again, and nothing else is twice. */
static void test_kill(void **state)
{
    (void)state;
    static uint64_t acknowledged[MANY];
    size_t n = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t sent[MANY / 2];
        for (int i = 0; i < MANY / 2; i++)
            sent[i] = submit_as(queue_id_next(&last_id, io_now_us(io), 3),
                                &(struct mail){"a@home.example", {"b@far.example"}});
        for (size_t want = n + 150 + 100 * (size_t)round; n < want;) {
            struct ipc_reader r = receive(&sides[RECEIVER], IPC_SUBMITTED);
            acknowledged[n] = ipc_get_u64(&r);
            assert_int_equal(ipc_get_u8(&r), IPC_SUBMIT_OK);
            n++;
        }
        kill_queue();
        start_queue(true);
        /* The receiver asks again for all that it has no answer for: known or new, each is acknowledged. */
        for (int i = 0; i < 20; i++) {
            submit_as(sent[MANY / 2 - 1 - i], &(struct mail){"a@home.example", {"b@far.example"}});
            expect_submitted(sent[MANY / 2 - 1 - i], IPC_SUBMIT_OK);
            acknowledged[n++] = sent[MANY / 2 - 1 - i];
        }
    }
    json_t *l = ask("{\"op\":\"list\"}");
    json_t *messages = json_object_get(l, "messages");
    uint64_t before = 0;
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        uint64_t id;
        assert_true(queue_id_parse(
            vr_str_from(json_string_value(json_object_get(json_array_get(messages, i), "id"))), &id));
        assert_true(id > before); /* sorted, none twice */
        before = id;
        for (size_t k = 0; k < n; k++)
            if (acknowledged[k] == id) {
                acknowledged[k] = 0;
                found++;
            }
    }
    assert_int_equal(found, n);
    json_decref(l);
}

static void test_resend_of_finished(void **state)
{
    (void)state;
    struct mail mail = {"a@home.example", {"b@far.example"}};
    uint64_t id = submit(&mail);
    struct delivery d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    expect_queued(0);
    run(150); /* the lazy commit */
    kill_queue();
    start_queue(true);
    submit_as(id, &mail); /* its acknowledgement was lost */
    expect_submitted(id, IPC_SUBMIT_OK);
    assert_quiet(&sides[SENDER], 300);
    assert_int_equal(queued(), 0);
}

static void introduce_with(struct side *s, uint64_t message)
{
    struct vr_buf b;
    vr_buf_init(&b, 256);
    ipc_put_u32(&b, 1);
    ipc_put_u64(&b, message);
    ipc_put_u32(&b, 1);
    ipc_put_u32(&b, 0);
    io_channel_send(s->channel, IPC_INFLIGHT, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

/* A sender repeats its late results to each new queue. */
static void test_repeated_deferral(void **state)
{
    (void)state;
    uint64_t id = submit(&(struct mail){"a@home.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.3.0", "later");
    run(200); /* it is on disk */
    for (int i = 0; i < 3; i++) {
        kill_queue();
        start_queue(false);
        introduce_with(&sides[SENDER], id);
        introduce(&sides[LOCAL]);
        answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.3.0", "later");
    }
    struct delivery again = expect_delivery(&sides[SENDER]);
    assert_int_equal(again.rcpts[0].attempt, 1);
    answer(&sides[SENDER], &again, DELIVERY_OK, 250, "", "");
    expect_queued(0);
}

static void test_inflight(void **state)
{
    (void)state;
    uint64_t id = submit(&(struct mail){"a@home.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    uint64_t old = d.id;
    kill_queue();
    start_queue(false);
    introduce_with(&sides[SENDER], id);
    introduce(&sides[LOCAL]);
    assert_quiet(&sides[SENDER], 500); /* it is with the sender already */
    d.id = old;
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    expect_queued(0);
}

static void test_peer_death(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        submit(&(struct mail){"a@home.example", {"b@far.example"}});
    expect_delivery(&sides[SENDER]);
    expect_delivery(&sides[SENDER]);
    assert_quiet(&sides[SENDER], 200); /* concurrency = 2 */
    detach(&sides[SENDER]);
    attach(&sides[SENDER], IPC_SENDER, 30);
    introduce(&sides[SENDER]);
    for (int i = 0; i < 4; i++) {
        struct delivery d = expect_delivery(&sides[SENDER]);
        answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    }
    expect_queued(0);
}

static void test_control(void **state)
{
    (void)state;
    detach(&sides[SENDER]); /* nobody sends */
    uint64_t id = submit(&(struct mail){"a@home.example", {"b@far.example"}});
    submit(&(struct mail){"x@away.example", {"c@other.example"}});
    char text[QUEUE_ID_TEXT], request[256];
    queue_id_text(id, text);
    snprintf(request, sizeof request, "{\"op\":\"hold\",\"ids\":[\"%s\"]}", text);
    json_t *a = ask(request);
    assert_int_equal(json_integer_value(json_object_get(a, "count")), 1);
    json_decref(a);
    run(150);
    kill_queue();
    start_queue(true);
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("c@other.example")));
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    assert_quiet(&sides[SENDER], 200); /* the hold survived */
    a = ask("{\"op\":\"list\",\"held\":true,\"sender\":\"@home.example\"}");
    assert_int_equal(json_integer_value(json_object_get(a, "total")), 1);
    json_decref(a);
    snprintf(request, sizeof request, "{\"op\":\"show\",\"ids\":[\"%s\"]}", text);
    a = ask(request);
    json_t *m = json_array_get(json_object_get(a, "messages"), 0);
    assert_true(json_is_true(json_object_get(m, "held")));
    assert_string_equal(json_string_value(json_object_get(m, "client")), "192.0.2.1");
    assert_non_null(strstr(json_string_value(json_object_get(m, "header")), "Subject: hello"));
    assert_string_equal(json_string_value(json_object_get(m, "body")), "How are you?\r\n");
    json_decref(a);
    a = ask("{\"op\":\"summary\"}");
    assert_int_equal(json_integer_value(json_object_get(a, "held")), 1);
    json_decref(a);
    snprintf(request, sizeof request, "{\"op\":\"release\",\"ids\":[\"%s\"]}", text);
    json_decref(ask(request));
    d = expect_delivery(&sides[SENDER]);
    assert_true(d.message == id);
    json_decref(ask("{\"op\":\"remove\",\"domain\":\"far.example\"}"));
    expect_queued(0);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.0.0", "too late"); /* nobody minds any more */
    assert_quiet(&sides[SENDER], 200);
    static const char *const wrong[] = {"{\"op\":\"hold\"}", "{\"op\":\"dance\"}", "[1]", "{",
                                        "{\"op\":\"show\",\"ids\":[\"nonsense\"]}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        a = ask(wrong[i]);
        assert_true(json_is_string(json_object_get(a, "error")));
        json_decref(a);
    }
}

static void test_full(void **state)
{
    (void)state;
    drain_queue();
    config->minimum_free = 1ull << 60;
    start_queue(true);
    run(200); /* the guard looks */
    struct mail mail = {"a@home.example", {"b@far.example"}};
    uint64_t id = submit_as(queue_id_next(&last_id, io_now_us(io), 3), &mail);
    expect_submitted(id, IPC_SUBMIT_FULL);
    assert_int_equal(queued(), 0);
}

/* Two messages that live long would hold up a log of dead ones: they are moved to its young end, states, aliases and all. */
static void test_moved(void **state)
{
    (void)state;
    enum { DEAD = 300, SIZE = 20000 };
    char *body = malloc(SIZE + 1);
    assert_non_null(body);
    memset(body, 'x', SIZE);
    memcpy(body, "Subject: long\r\n\r\n", 17);
    body[SIZE] = '\0';
    config->retry[0] = 3600000;
    drain_queue();
    start_queue(true);
    uint64_t late = submit(&(struct mail){"x@away.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.2.0", "come back");
    uint64_t caught = submit(&(struct mail){"x@away.example", {"gone@home.example"}});
    d = expect_delivery(&sides[LOCAL]);
    answer(&sides[LOCAL], &d, DELIVERY_NO_MAILBOX, 0, "5.1.1", "no such account");
    d = expect_delivery(&sides[LOCAL]);
    answer(&sides[LOCAL], &d, DELIVERY_TEMPORARY, 0, "4.2.2", "over quota");
    char path[256];
    struct io_fs_stat st;
    snprintf(path, sizeof path, "%s/spool/log/%012u.seg", folder, 1u);
    assert_int_equal(io_fs_stat(path, &st), 0);
    for (int i = 0; i < DEAD; i++) {
        submit(&(struct mail){"a@home.example", {"c@other.example"}, .body = body});
        d = expect_delivery(&sides[SENDER]);
        answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    }
    free(body);
    expect_queued(2);
    for (int i = 0; i < 800 && io_fs_stat(path, &st) == 0; i++)
        run(10);
    assert_true(io_fs_stat(path, &st) != 0); /* the oldest segments could go */
    expect_queued(2);
    submit(&(struct mail){"a@home.example", {"c@other.example"}}); /* durable, and with it what came before */
    d = expect_delivery(&sides[SENDER]);
    kill_queue();
    start_queue(true);
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    expect_queued(2);
    json_t *l = ask("{\"op\":\"list\"}");
    json_t *messages = json_object_get(l, "messages");
    assert_int_equal(json_array_size(messages), 2);
    json_t *rcpt = json_array_get(json_object_get(json_array_get(messages, 0), "recipients"), 0);
    assert_string_equal(json_string_value(json_object_get(rcpt, "reply")), "451 4.2.0 come back");
    assert_int_equal(json_integer_value(json_object_get(rcpt, "attempts")), 1);
    rcpt = json_array_get(json_object_get(json_array_get(messages, 1), "recipients"), 0);
    assert_string_equal(json_string_value(json_object_get(rcpt, "address")), "ann@home.example");
    assert_string_equal(json_string_value(json_object_get(rcpt, "reply")), "4.2.2 over quota");
    json_decref(l);
    json_decref(ask("{\"op\":\"retry\",\"all\":true}"));
    d = expect_delivery(&sides[SENDER]);
    assert_true(d.message == late);
    assert_true(contains(d.content, "How are you?"));
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    d = expect_delivery(&sides[LOCAL]);
    assert_true(d.message == caught);
    assert_int_equal(d.rcpts[0].index, 1);
    answer(&sides[LOCAL], &d, DELIVERY_OK, 0, "", "");
    expect_queued(0);
}

/* At a reload a sender ends what it has and tells the next queue; when that one begins to serve, the sender may be gone. */
static void test_result_of_an_ended_sender(void **state)
{
    (void)state;
    submit(&(struct mail){"a@home.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    struct io_channel *first_supervisor = supervisor;
    pid_t first_child = child;
    for (size_t i = 0; i < SIDES; i++)
        detach(&sides[i]);
    spawn_introduced();
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    io_channel_flush(sides[SENDER].channel);
    detach(&sides[SENDER]);
    attach(&sides[SENDER], IPC_SENDER, 31);
    introduce(&sides[SENDER]);
    run(100);
    process_drain_ask(first_supervisor, 5000);
    expect_queued(0);
    assert_quiet(&sides[SENDER], 300);
    process_ends(first_child, 0);
    io_channel_close(first_supervisor);
}

/* One that is to end before it had the spool writes down first what it was told: nobody else knows. */
static void test_result_told_to_one_that_waits(void **state)
{
    (void)state;
    submit(&(struct mail){"a@home.example", {"b@far.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    struct io_channel *first_supervisor = supervisor;
    pid_t first_child = child;
    for (size_t i = 0; i < SIDES; i++)
        detach(&sides[i]);
    spawn_introduced();
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    io_channel_flush(sides[SENDER].channel);
    detach(&sides[SENDER]);
    attach(&sides[SENDER], IPC_SENDER, 31);
    run(100);
    process_drain_ask(supervisor, 5000);
    run(100);
    process_drain_ask(first_supervisor, 5000);
    process_ends(first_child, 0);
    process_ends(child, 0);
    io_channel_close(first_supervisor);
    sides_close();
    start_queue(true);
    expect_queued(0);
}

static void test_second_queue_waits(void **state)
{
    (void)state;
    submit(&(struct mail){"a@home.example", {"b@far.example"}});
    struct io_channel *first_supervisor = supervisor;
    pid_t first_child = child;
    for (size_t i = 0; i < SIDES; i++)
        detach(&sides[i]);
    spawn_introduced(); /* of the next generation: the lock is with the first one */
    run(100);
    assert_false(ready);
    uint64_t id = submit_as(queue_id_next(&last_id, io_now_us(io), 3),
                            &(struct mail){"a@home.example", {"c@far.example"}});
    assert_quiet(&sides[RECEIVER], 200);
    process_drain_ask(first_supervisor, 5000);
    expect_submitted(id, IPC_SUBMIT_OK); /* what waited is served then */
    assert_int_equal(queued(), 2);
    process_ends(first_child, 0);
    io_channel_close(first_supervisor);
}

static void ignore_record(void *arg, const struct qlog_record *r)
{
    (void)arg, (void)r;
}

static void record_durable(void *arg, int status)
{
    *(int *)arg = status;
    io_stop(io);
}

/* A spool that a later version wrote in: nothing is served, and nothing of it is given back. */
static void test_record_of_a_later_version(void **state)
{
    (void)state;
    char log_folder[256], path[512];
    drain_queue();
    snprintf(log_folder, sizeof log_folder, "%s/spool/log", folder);
    struct event_log *events = event_log_new(io, "test", config->log_format, EVENT_ERROR + 1);
    struct qlog_options o = {.io = io,
                             .events = events,
                             .folder = log_folder,
                             .segment_size = config->segment_size,
                             .lazy_ms = 50,
                             .replay = ignore_record};
    struct qlog *log;
    assert_int_equal(qlog_open(&o, &log), 0);
    int status = 1;
    struct vr_str payload = VR_STR("of tomorrow");
    qlog_position at = qlog_append(log, RECORD_MESSAGE, RECORD_MESSAGE_VERSION + 1, &payload, 1, QLOG_URGENT,
                                   record_durable, &status);
    assert_true(at != 0);
    run(WAIT_MS);
    assert_int_equal(status, 0);
    qlog_close(log);
    run(100);
    event_log_free(events);
    spawn_queue();
    process_ends(child, 74);
    assert_false(ready);
    sides_close();
    snprintf(path, sizeof path, "%s/%012u.seg", log_folder, (unsigned)(at >> 32));
    struct io_fs_stat st;
    assert_int_equal(io_fs_stat(path, &st), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_relay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_record_of_a_later_version, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_destination, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_binary_bounce, setup, teardown),
        cmocka_unit_test_setup_teardown(test_success, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alias, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alias_made_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_catch_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_asked_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resend_of_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inflight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeated_deferral, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_death, setup, teardown),
        cmocka_unit_test_setup_teardown(test_control, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_queue_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_result_of_an_ended_sender, setup, teardown),
        cmocka_unit_test_setup_teardown(test_result_told_to_one_that_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
