"""LMTP as a server: another server hands its mail to us, and hears of each recipient."""
import os
import smtplib
import stat

from harness import case, free_port, postfix, read_maildir, wait_until


def lmtp_server(world, **options):
    """A veredus that listens for LMTP on a port and on a UNIX socket too: (server, port, path)."""
    port, path = free_port(), world.path("lmtp.sock")
    s = world.server(accounts=["ann@d.test", "bob@d.test"], extra='listen "127.0.0.1:%d" { role = lmtp }\nlisten "unix:%s" { role = lmtp }' % (port, path), **options)
    return s, port, path


@case
def lmtp_replies(world):
    """smtplib's LMTP by port and by UNIX socket: unknown users are refused at RCPT, each of the others has its reply behind the message."""
    s, port, path = lmtp_server(world)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    for where in (("127.0.0.1", port), (path, 0)):
        with smtplib.LMTP(*where) as c:
            assert c.docmd("EHLO", "client.test")[0] == 500
            c.ehlo("client.test")
            assert c.has_extn("pipelining") and c.has_extn("enhancedstatuscodes") and not c.has_extn("starttls")
            assert c.mail("a@s.test")[0] == 250
            codes = [c.rcpt(to)[0] for to in ("ann@d.test", "nobody@d.test", "bob@d.test", "x@foreign.test", "ann@d.test")]
            assert codes == [250, 550, 250, 554, 250], codes
            c.putcmd("data")
            assert c.getreply()[0] == 354
            c.send(b"Subject: lmtp\r\n\r\nhello\r\n.\r\n")
            for _ in range(3):
                code, text = c.getreply()
                assert code == 250 and text.startswith(b"2.0.0 queued as "), (code, text)
            assert c.noop()[0] == 250  # no reply too many
            assert c.mail("a@s.test")[0] == 250 and c.rcpt("nobody@d.test")[0] == 550
            assert c.docmd("DATA")[0] == 503
    (first, second) = s.wait_mail("bob@d.test", 2)
    assert "with LMTP id" in first["Received"] and "with LMTP id" in second["Received"], (first["Received"], second["Received"])
    wait_until("the same mailbox twice in a message is one delivery", lambda: len(s.mails("ann@d.test")) >= 2)


@case
def lmtp_many_receivers(world):
    """All receivers accept from the one UNIX socket."""
    s, _, path = lmtp_server(world, processes=3)
    for i in range(12):
        with smtplib.LMTP(path) as c:
            c.sendmail("a@s.test", ["ann@d.test"], "Subject: %d\r\n\r\nx\r\n" % i)
    assert sorted(int(m["Subject"]) for m in s.wait_mail("ann@d.test", 12)) == list(range(12))


@case
def postfix_delivers_by_lmtp(world):
    """Postfix hands a message over LMTP: two of its recipients get it, the unknown one is reported by Postfix, the one put off waits there."""
    s, port, path = lmtp_server(world)
    relay = postfix(world, "relay_domains = d.test\nrelay_transport = lmtp:inet:127.0.0.1:%d\nrelay_recipient_maps =" % port)
    with smtplib.SMTP("127.0.0.1", relay) as c:
        c.sendmail("x@p.test", ["ann@d.test", "nobody@d.test", "bob@d.test"], b"From: x@p.test\r\nSubject: mixed\r\n\r\n.\r\n..dots\r\n", ["BODY=8BITMIME"])
    for user in ("ann", "bob"):
        (mail,) = s.wait_mail(user + "@d.test")
        assert mail["Subject"] == "mixed" and mail.get_payload() == ".\n..dots\n", mail.as_string()
    folder = world.path("postfix-mail/p.test/x")
    wait_until("Postfix reports the unknown one", lambda: read_maildir(folder), 30)
    (report,) = read_maildir(folder)
    assert b"nobody@d.test" in report and b"5.1.1" in report and b"ann@d.test" not in report.split(b"message/delivery-status")[1], report
    log = open(world.path("postfix.log")).read()
    assert log.count("status=sent (250 2.0.0 queued as ") == 2 and log.count("status=bounced (host 127.0.0.1[127.0.0.1] said: 550 5.1.1") == 1, log


@case
def lmtp_is_not_for_port_25(world):
    """RFC 2033 §5: the configuration says so."""
    s = world.server(start=False, extra='listen "127.0.0.1:25" { role = lmtp }')
    out = s.command("check", "--config", s.config, ok=False)
    assert out.returncode != 0 and "not for port 25" in out.stdout, out.stdout
