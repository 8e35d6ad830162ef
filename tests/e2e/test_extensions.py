"""Extensions between servers: delivery status notifications with Postfix in both directions, mail for later, mail in time."""
import email
import re
import smtplib
import time

from harness import PASSWORD, Sink, case, postfix, read_maildir, wait_until

MESSAGE = b"From: ann@d.test\r\nTo: x@p.test\r\nSubject: about it\r\n\r\nhello\r\n"


def submit(server, mail, rcpts, message=MESSAGE, sender="ann@d.test"):
    """Submits by hand: mail and rcpts are parameters behind the paths."""
    with smtplib.SMTP_SSL(server.host, server.submissions, context=server.tls_context()) as c:
        c.login("ann@d.test", PASSWORD)
        c.ehlo()
        code, text = c.docmd("MAIL", "FROM:<%s> %s" % (sender, mail))
        assert code == 250, (code, text)
        for address, options in rcpts:
            code, text = c.docmd("RCPT", "TO:<%s> %s" % (address, options))
            assert code == 250, (code, text)
        assert c.data(message)[0] == 250


def report_of(message):
    """A report's per-message and per-recipient fields, and what it returns."""
    assert message.get_content_type() == "multipart/report", message.as_string()[:500]
    parts = message.get_payload()
    assert parts[1].get_content_type() == "message/delivery-status", parts[1].get_content_type()
    blocks = parts[1].get_payload()
    return dict(blocks[0].items()), [dict(b.items()) for b in blocks[1:]], parts[2]


@case
def dsn_by_postfix(world):
    """NOTIFY, ORCPT, RET and ENVID reach Postfix, whose report of success tells them again."""
    s = world.server(accounts=["ann@d.test"], start=False)
    port = postfix(world, "relayhost = [127.0.0.1]:%d" % s.mx)
    s.extra = 'route "p.test" { to = "smtp:127.0.0.1:%d" }' % port
    s.config = s.write_config()
    s.start()
    submit(s, "RET=HDRS ENVID=QQ+2B314", [("x@p.test", "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bx@p.test")])
    (report,) = s.wait_mail("ann@d.test", 1, 40)
    whole, (one,), returned = report_of(report)
    assert whole["Original-Envelope-Id"] == "QQ+314" and one["Action"] == "delivered" and one["Status"].startswith("2."), (whole, one)
    assert one["Original-Recipient"].replace(" ", "") == "rfc822;first+x@p.test" and "postfix.test" in whole["Reporting-MTA"], one
    assert returned.get_content_type() == "text/rfc822-headers", returned.get_content_type()


@case
def dsn_where_postfix_offers_none(world):
    """A server without DSN: success is reported by us, as relayed (RFC 3461 §5.2.2); who asked for NEVER hears nothing of failures."""
    port = postfix(world, "smtpd_discard_ehlo_keywords = dsn")
    s = world.server(accounts=["ann@d.test"], extra='route "p.test" { to = "smtp:127.0.0.1:%d" }' % port)
    submit(s, "RET=HDRS ENVID=E1", [("x@p.test", "NOTIFY=SUCCESS"), ("nobody@p.test", "NOTIFY=NEVER")])
    (report,) = s.wait_mail("ann@d.test", 1, 40)
    whole, (one,), _ = report_of(report)
    assert whole["Original-Envelope-Id"] == "E1" and one["Action"] == "relayed", (whole, one)
    s.wait_empty()
    time.sleep(0.5)
    assert len(s.mails("ann@d.test")) == 1


@case
def dsn_asked_by_postfix(world):
    """Postfix asks: delivery into a Maildir is reported to its user, a failure with RET=FULL returns the message."""
    s = world.server(accounts=["ann@d.test"], start=False)
    port = postfix(world, "transport_maps = inline:{{d.test=smtp:[127.0.0.1]:%d}}\nrelay_domains = d.test" % s.mx)
    s.extra = 'route "p.test" { to = "smtp:127.0.0.1:%d" }\nroute "gone.test" { to = "error:5.1.2 gone" }' % port
    s.config = s.write_config()
    s.start()
    with smtplib.SMTP("127.0.0.1", port) as c:
        c.ehlo("client.test")
        assert c.has_extn("dsn")
        assert c.docmd("MAIL", "FROM:<x@p.test> RET=FULL ENVID=P1")[0] == 250
        assert c.docmd("RCPT", "TO:<ann@d.test> NOTIFY=SUCCESS ORCPT=rfc822;old@d.test")[0] == 250
        assert c.data(MESSAGE)[0] == 250
    s.wait_mail("ann@d.test")
    folder = world.path("postfix-mail/p.test/x")
    wait_until("the report arrives at Postfix", lambda: read_maildir(folder), 40)
    whole, (one,), _ = report_of(email.message_from_bytes(read_maildir(folder)[0]))
    assert whole["Original-Envelope-Id"] == "P1" and one["Action"] == "delivered" and "old@d.test" in one["Original-Recipient"], (whole, one)


@case
def mail_for_later(world):
    """FUTURERELEASE: it is offered to users with its limits, holds the message, and lets it go when its time has come, over a restart too."""
    sink = Sink(world)
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }' % sink.port)
    with smtplib.SMTP_SSL(s.host, s.submissions, context=s.tls_context()) as c:
        c.login("ann@d.test", PASSWORD)
        c.ehlo()
        assert re.fullmatch(r"\d+ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", c.esmtp_features["futurerelease"]), c.esmtp_features
        assert c.docmd("MAIL", "FROM:<ann@d.test> HOLDFOR=999999999")[0] == 501
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("client.test")
        assert not c.has_extn("futurerelease")
    before = time.time()
    submit(s, "HOLDFOR=8", [("x@far.test", "")])
    s.stop()
    s.start()
    assert "empty" not in s.queue("list") and not sink.messages
    wait_until("it leaves", lambda: sink.messages, 40)
    assert time.time() - before >= 7.5


@case
def mail_in_time(world):
    """DELIVERBY: what cannot be delivered in its time is returned with 5.4.7, long before the queue would give up."""
    sink = Sink(world, replies={"RCPT": "450 4.2.1 not now"}, extensions=("PIPELINING", "8BITMIME", "DELIVERBY"))
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }' % sink.port)
    submit(s, "BY=5;R", [("x@far.test", "")])
    (report,) = s.wait_mail("ann@d.test", 1, 60)
    whole, (one,), _ = report_of(report)
    assert one["Action"] == "failed" and one["Status"] == "5.4.7" and "Deliver-By-Date" in whole, (whole, one)
    s.wait_empty()


@case
def mail_for_who_had_the_mailbox(world):
    """RRVS: an account that was made again under an old address is another's, by the parameter and by the header field, until it is said to be the
    same person's. It is passed on to a next hop that offers it; one that does not gets what may go without (;C), and the rest comes back."""
    knows, simple = Sink(world, extensions=("RRVS",)), Sink(world)
    s = world.server(accounts=["ann@d.test", "new@d.test"], extra='route "knows.test" { to = "smtp:127.0.0.1:%d" }\nroute "simple.test" { to = "smtp:127.0.0.1:%d" }' %
                     (knows.port, simple.port))
    s.command("account", "remove", "new@d.test", "--config", s.config)
    s.add_account("new@d.test")
    old = "RRVS=2014-04-03T23:01:00Z"
    field = b"Require-Recipient-Valid-Since: new@d.test; Thu, 3 Apr 2014 23:01:00 +0000\r\n"
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("client.test")
        assert c.has_extn("rrvs")

        def rcpt(address, options):
            assert c.docmd("MAIL", "FROM:<x@client.test>")[0] == 250
            return c.docmd("RCPT", "TO:<%s> %s" % (address, options))

        def refused(code, text, status):
            assert code == 550 and text.startswith(status), (code, text)
            assert c.rset()[0] == 250

        assert rcpt("ann@d.test", old)[0] == 250  # nobody had it before her
        assert c.rset()[0] == 250
        refused(*rcpt("new@d.test", old), b"5.7.17")
        assert rcpt("new@d.test", "RRVS=" + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2)))[0] == 250
        assert c.rset()[0] == 250
        assert rcpt("new@d.test", "")[0] == 250
        refused(*c.data(field + MESSAGE), b"5.7.17")
        s.command("account", "change", "new@d.test", "--same-owner", "--config", s.config)
        assert rcpt("new@d.test", old)[0] == 250
        assert c.data(MESSAGE)[0] == 250
        assert rcpt("new@d.test", "")[0] == 250 and c.data(field + MESSAGE)[0] == 250
    s.wait_mail("new@d.test", 2)
    submit(s, "", [("x@knows.test", old)])
    submit(s, "", [("r@simple.test", old), ("c@simple.test", old + ";C")])
    wait_until("both hops have mail", lambda: knows.messages and simple.messages, 30)
    assert old in knows.messages[0][1][0] and "RRVS" not in str(simple.messages[0][1]) and "c@simple.test" in str(simple.messages[0][1]), simple.messages
    (report,) = s.wait_mail("ann@d.test", 1, 30)
    _, (one,), _ = report_of(report)
    assert "r@simple.test" in one["Final-Recipient"] and one["Status"].startswith("5.7."), one
