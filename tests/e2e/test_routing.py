"""Finding the way: MX records of a real DNS server, routes, aliases, DSNs; Postfix as next hop and as upstream; Dovecot behind LMTP."""
import email
import imaplib
import json
import os
import re
import shutil
import smtplib

import harness
from harness import PASSWORD, Sink, Skip, case, free_port, nsd, postfix, run, wait_until

MESSAGE = "From: ann@d.test\r\nTo: you\r\nSubject: %s\r\nMessage-ID: <%s@d.test>\r\n\r\nhello\r\n"


def submit(s, to, subject="hello", sender="ann@d.test", options=(), rcpt_options=()):
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.login("ann@d.test", PASSWORD)
        c.sendmail(sender, [to] if isinstance(to, str) else to, MESSAGE % (subject, subject.replace(" ", ".")), options, rcpt_options)


def dsn_of(mail):
    """The per-recipient fields of a DSN: a list of dicts."""
    assert mail.get_content_type() == "multipart/report", mail.as_string()[:500]
    parts = mail.get_payload()
    assert parts[1].get_content_type() == "message/delivery-status"
    return [dict(block.items()) for block in parts[1].get_payload()[1:]]


@case
def mx_records(world):
    """An nsd zone: preferences, an unreachable best MX, a CNAME, A without MX, null MX, missing names; each as the RFCs want."""
    best, second = Sink(world, "127.0.0.3"), None
    port = best.port
    second = Sink(world, "127.0.0.4", port)
    dns = nsd(world, {"zone.test": """
two      MX 10 h3
two      MX 20 h4
dead     MX 10 h9
dead     MX 20 h4
alias    CNAME two
bare     A 127.0.0.3
null     MX 0 .
empty    TXT "no mail here"
loop     MX 10 veredus.test.
loop     MX 20 h4
dangling MX 10 nowhere
h3 A 127.0.0.3
h4 A 127.0.0.4
h9 A 127.0.0.9
"""})
    s = world.server(accounts=["ann@d.test"],
                     extra='dns { servers = { "127.0.0.1@%d" } }\nsending { mx_port = %d\n connect_timeout = 2s }' % (dns, port))
    for name in ("two", "dead", "alias", "bare"):
        submit(s, "x@%s.zone.test" % name, name)
    wait_until("three at the best, one at the second", lambda: len(best.messages) == 3 and len(second.messages) == 1, 30)
    assert b"Subject: dead" in second.messages[0][2]
    for name, status in (("null", "5.1.10"), ("missing", "5.1.2"), ("empty", "5.1.2"), ("loop", "5.4.6"), ("dangling", "5.4.4")):
        before = len(s.mails("ann@d.test"))
        submit(s, "x@%s.zone.test" % name, name)
        mail = s.wait_mail("ann@d.test", before + 1)[-1] if before == 0 else newest(s, before)
        status_of = dsn_of(mail)[0]
        assert status_of["Action"] == "failed" and status_of["Status"].startswith(status.rsplit(".", 1)[0]), (name, status_of)
    submit(s, "x@[127.0.0.4]", "literal")
    wait_until("the address literal is reached", lambda: len(second.messages) == 2, 20)


@case
def send_asks_the_dns(world):
    """veredus send finds a server by name, and says by text and exit code why a domain has none."""
    sink = Sink(world, "127.0.0.3")
    dns = nsd(world, {"zone.test": """
h3       A 127.0.0.3
null     MX 0 .
dangling MX 10 nowhere
"""})
    send = [harness.VEREDUS, "send", "--dns", "127.0.0.1@%d" % dns, "--from", "a@x.test", "--body", "hello"]
    run(*send, "--server", "h3.zone.test:%d" % sink.port, "--to", "b@y.test")
    assert len(sink.messages) == 1
    for to, code, says in (("x@null.zone.test", 69, "null MX"), ("x@missing.zone.test", 68, "does not exist"), ("x@dangling.zone.test", 68, "address")):
        done = run(*send, "--to", to, ok=False)
        assert done.returncode == code and says in done.stdout, (to, done.returncode, done.stdout)
    silent = ["127.0.0.1@%d" % harness.free_port() if a.startswith("127.0.0.1@") else a for a in send]
    done = run(*silent, "--to", "x@null.zone.test", ok=False, timeout=120)
    assert done.returncode == 75 and "null.zone.test" in done.stdout, done.stdout


def newest(s, before):
    s.wait_mail("ann@d.test", before + 1)
    paths = []
    folder = os.path.join(s.maildir("ann@d.test"), "new")
    for name in os.listdir(folder):
        paths.append((os.stat(os.path.join(folder, name)).st_mtime_ns, os.path.join(folder, name)))
    with open(max(paths)[1], "rb") as f:
        return email.message_from_binary_file(f)


@case
def dns_trouble_defers(world):
    """A DNS server that does not answer: the message stays, with 4.4.3 or 4.4.1, and is sent when it answers again."""
    sink = Sink(world, "127.0.0.3")
    port = free_port()
    s = world.server(accounts=["ann@d.test"], extra='dns { servers = { "127.0.0.1@%d" } }\nsending { mx_port = %d }\n'
                     'queue { retry = { 1s } }' % (port, sink.port))
    submit(s, "x@later.test")
    wait_until("it is deferred", lambda: s.events("delivery.deferred"), 60)
    assert "4.4.3" in s.queue("list") or "4.4." in s.queue("list"), s.queue("list")
    nsd(world, {"later.test": "@ MX 10 h\nh A 127.0.0.3"}, port)
    wait_until("it is sent", lambda: len(sink.messages) == 1, 120)


@case
def routes_and_smarthost(world):
    """A route per domain, by suffix and for the rest; a smarthost with AUTH and verified TLS, which is another veredus."""
    exact, suffix = Sink(world), Sink(world)
    smart = world.server("smart", accounts=["relay@smart.test"], domains={"smart.test": "", "far.test": 'mailboxes = any'},
                         extra="submission { any_sender = yes }", hostname="localhost")
    secret = world.write("secret", PASSWORD + "\n", 0o600)
    routes = """
route "exact.test" { to = "smtp:127.0.0.1:%d" }
route ".suffix.test" { to = "smtp:127.0.0.1:%d" }
route "*" { to = "smtp:127.0.0.1:%d"
 tls = verify
 user = "relay@smart.test"
 password_file = "%s" }
sending { ca_file = "%s" }
""" % (exact.port, suffix.port, smart.submission, secret, smart.ca())
    s = world.server(accounts=["ann@d.test"], extra=routes)
    submit(s, ["a@exact.test", "b@exact.test"], "exact")
    submit(s, "c@deep.suffix.test", "suffix")
    submit(s, "d@far.test", "far")
    wait_until("exact", lambda: exact.messages and suffix.messages, 20)
    assert len(exact.messages[0][1]) == 2, "several recipients of one message go in one transaction"
    mail = smart.wait_mail("d@far.test")[0]
    assert "ESMTPSA" in mail["Received"], mail["Received"]


@case
def aliases_expand(world):
    """Nested aliases, lists from files, loops, virtual tables, catch-all and delimiter: each gets its copies once."""
    world.write("team", "bob\ncat@d.test, ann\n")
    aliases = world.write("aliases", 'root: ann\nstaff: team, root\nteam: :include:%s\nring: ring2\nring2: ring\n"odd name": bob\n'
                          % world.path("team"))
    virtual = world.write("virtual", "info@v.test ann@d.test, bob@d.test\n@v.test cat@d.test\n")
    s = world.server(accounts=["ann@d.test", "bob@d.test", "cat@d.test"],
                     domains={"d.test": 'aliases = "%s"' % aliases, "v.test": 'virtual = "%s"' % virtual, "c.test": 'catch_all = "ann@d.test"'})
    with smtplib.SMTP(s.host, s.mx) as c:
        for to in ("staff@d.test", "info@v.test", "whoever@v.test", "ann+list@d.test", "x@c.test", "ROOT@D.test"):
            c.sendmail("x@elsewhere.test", [to], "Subject: %s\r\n\r\n." % to)
        assert c.docmd("MAIL FROM:<>")[0] == 250 and c.docmd("RCPT TO:<nobody@d.test>")[0] == 550
    subjects = {who: sorted(m["Subject"] for m in s.wait_mail("%s@d.test" % who, count))
                for who, count in (("ann", 5), ("bob", 2), ("cat", 2))}
    assert subjects["ann"] == ["ROOT@D.test", "ann+list@d.test", "info@v.test", "staff@d.test", "x@c.test"], subjects
    assert subjects["bob"] == ["info@v.test", "staff@d.test"] and subjects["cat"] == ["staff@d.test", "whoever@v.test"], subjects
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail("ann@d.test", ["ring@d.test"], "Subject: ring\r\n\r\n.")
    s.wait_mail("ann@d.test", 6)
    assert dsn_of(newest(s, 5))[0]["Status"] == "5.4.6"


@case
def dsn_by_request(world):
    """RFC 3461: success, failure and delay reports as NOTIFY asks; RET, ENVID and ORCPT are kept; never one for the null sender."""
    sink = Sink(world, replies={"RCPT TO:<GONE": "550 5.1.1 no such user here", "RCPT TO:<BUSY": "450 4.2.0 come back later"})
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }\n'
                     'queue { retry = { 1s }\n expire = 8s\n delay_warning = 3s }' % sink.port)
    def reports():
        return [email.message_from_bytes(m) for m in s.mails("ann@d.test")]
    submit(s, "gone@far.test", "failure", options=["RET=HDRS", "ENVID=QQ314159"], rcpt_options=["ORCPT=rfc822;First@far.test"])
    mail = s.wait_mail("ann@d.test", 1)[0]
    fields = dsn_of(mail)[0]
    assert fields["Action"] == "failed" and fields["Status"] == "5.1.1" and "no such user here" in fields["Diagnostic-Code"], fields
    assert fields["Original-Recipient"] == "rfc822;First@far.test".replace(";", "; ") or fields["Original-Recipient"] == "rfc822;First@far.test"
    assert mail.get_payload()[1].get_payload()[0]["Original-Envelope-Id"] == "QQ314159"
    assert mail.get_payload()[2].get_content_type() == "text/rfc822-headers" and mail["Return-Path"] == "<>"
    submit(s, "good@far.test", "success", rcpt_options=["NOTIFY=SUCCESS"])
    s.wait_mail("ann@d.test", 2)
    assert [dsn_of(m)[0]["Action"] for m in reports() if dsn_of(m)[0]["Final-Recipient"].endswith("good@far.test")] == ["relayed"]
    submit(s, "ann@d.test", "delivered", rcpt_options=["NOTIFY=SUCCESS"])
    s.wait_mail("ann@d.test", 4)
    submit(s, "gone@far.test", "silent", rcpt_options=["NOTIFY=NEVER"])
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo()
    submit(s, "gone@far.test", "null", sender="")
    submit(s, "busy@far.test", "delay")
    wait_until("a warning and then a failure", lambda: [a for m in reports() if m.is_multipart() for a in [dsn_of(m)[0]]
                                                         if "busy@" in a["Final-Recipient"] and a["Action"] == "failed"], 40)
    actions = [dsn_of(m)[0]["Action"] for m in reports() if m.is_multipart() and "busy@" in dsn_of(m)[0]["Final-Recipient"]]
    assert sorted(actions) == ["delayed", "failed"], actions
    assert len(reports()) == 6, [m.as_string()[:300] for m in reports()]
    s.wait_empty()


@case
def dsn_parameters_are_carried(world):
    """NOTIFY, ORCPT, RET and ENVID go on to a next hop that offers DSN, and the success report is left to it; SIZE and BODY too."""
    sink = Sink(world, extensions=("PIPELINING", "8BITMIME", "SIZE 50000000", "DSN"))
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }' % sink.port)
    submit(s, "x@far.test", "carried", options=["RET=HDRS", "ENVID=QQ1", "BODY=8BITMIME"],
           rcpt_options=["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;old@far.test"])
    wait_until("it is relayed", lambda: sink.messages)
    sender, recipients, _ = sink.messages[0]
    for part in ("RET=HDRS", "ENVID=QQ1", "BODY=8BITMIME", "SIZE="):
        assert part in sender.upper(), sender
    assert "NOTIFY=SUCCESS,DELAY" in recipients[0] and "ORCPT=rfc822;old@far.test" in recipients[0], recipients
    s.wait_empty()
    assert s.mails("ann@d.test") == [], "no report of ours: the next hop makes it"


@case
def priorities(world):
    """MT-PRIORITY (RFC 6710): a user's goes on to a next hop that offers it, over a restart; a stranger's is lowered; a report has its message's."""
    sink = Sink(world, replies={"RCPT TO:<LATER": "450 4.2.0 later", "RCPT TO:<GONE": "550 5.1.1 no such user here"},
                extensions=("PIPELINING", "8BITMIME", "SIZE 50000000", "MT-PRIORITY STANAG4406"))
    plain = Sink(world)
    s = world.server(domains={"d.test": "", "own.test": 'deliver = "smtp:127.0.0.1:%d"' % sink.port}, accounts=["ann@d.test"],
                     extra='route "far.test" { to = "smtp:127.0.0.1:%d" }\nroute "plain.test" { to = "smtp:127.0.0.1:%d" }' % (sink.port, plain.port))

    def mails():
        return [c[10:] for c in sink.commands if c.startswith("MAIL FROM:")]

    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.login("ann@d.test", PASSWORD)
        assert c.has_extn("mt-priority") and c.esmtp_features["mt-priority"] == ""
        for to, option in (("u@far.test", "MT-PRIORITY=4"), ("u@plain.test", "MT-PRIORITY=9"), ("later@far.test", "MT-PRIORITY=-2"), ("u@far.test", "MT-PRIORITY=0")):
            c.sendmail("ann@d.test", [to], "Subject: %s\r\n\r\n." % option, mail_options=[option])
        assert c.docmd("MAIL FROM:<ann@d.test> MT-PRIORITY=+4")[0] == 501
    wait_until("three came", lambda: len(sink.messages) == 2 and len(plain.messages) == 1 and "deferred" in s.queue("list"))
    sizes = sorted(re.sub(r" SIZE=\d+", "", m) for m in mails())
    assert sizes == ["<ann@d.test>", "<ann@d.test> MT-PRIORITY=-2", "<ann@d.test> MT-PRIORITY=4"], sizes
    assert not any("PRIORITY" in command for command in plain.commands), plain.commands
    urgent = [m for m in sink.messages if "PRIORITY=4" in m[0]][0]
    assert re.search(r"\tpriority 4; ", email.message_from_bytes(urgent[2])["Received"]), urgent[2]
    assert sorted(e.get("priority", "none") for e in s.events("message.queued")) == ["-2", "4", "9", "none"], s.log()
    listed = s.listed()
    assert [m["priority"] for m in listed] == [-2] and "priority -2" in s.queue("list") and "priority -2" in s.queue("show", listed[0]["id"])
    s.stop()
    sink.replies.pop("RCPT TO:<LATER")
    s.start()
    s.queue("retry", "--all")
    wait_until("it has its priority still", lambda: any("MT-PRIORITY=-2" in m[0] for m in sink.messages))
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("x.test")
        code, text = c.docmd("MAIL FROM:<x@far.test> MT-PRIORITY=7")
        assert code == 250 and text.startswith(b"2.3.6 0 "), (code, text)
        c.rset()
        c.sendmail("x@far.test", ["gone@own.test"], "Subject: report\r\n\r\n.", mail_options=["MT-PRIORITY=-3"])
    wait_until("the report came", lambda: any(m[0].startswith("MAIL FROM:<>") for m in sink.messages))
    report = [m for m in sink.messages if m[0].startswith("MAIL FROM:<>")][0]
    assert "MT-PRIORITY=-3" in report[0], report[0]
    done = s.command("send", "--server", "127.0.0.1:%d" % sink.port, "--from", "x@y.test", "--to", "u@far.test", "--body", "x", "--priority", "-5")
    assert "MT-PRIORITY=-5" in done.stdout and "MT-PRIORITY=-5" in sink.messages[-1][0], done.stdout


def eight_bit_message():
    """Parts of many kinds, in one another, 8-bit as they are: what a 7-bit server must not get."""
    inner = ("Subject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
             "h\xe9 l\xe0\r\n.\r\nFrom here \r\n").encode("latin-1")
    parts = [b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + "Gr\xfc\xdfe = \r\n-- \r\nx\r\n".encode(),
             b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>" + "\u65e5\u672c\u8a9e".encode() * 40 + b"</p>",
             b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%PDF " + bytes(range(128, 256)) + b"\r\n",
             b"Content-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lGODlhAQABAAAAACw=\r\n",
             b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + inner,
             b"Content-Type: text/plain\r\n\r\n7 bits\r\n"]
    body = b"".join(b"--=_b\r\n" + p + b"\r\n" for p in parts) + b"--=_b--\r\n"
    return (b"From: ann@d.test\r\nSubject: eight\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
            b"Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n" + body)


def contents(raw):
    """Types and decoded contents of all parts, in order."""
    return [(p.get_content_type(), p.get_content_charset(), None if p.is_multipart() else p.get_payload(decode=True))
            for p in email.message_from_bytes(raw).walk()]


@case
def eight_bit_to_a_seven_bit_server(world):
    """A server without 8BITMIME gets 8-bit mail in quoted-printable and base64, part by part, with the same contents; what cannot be converted comes back."""
    sink = Sink(world, extensions=("PIPELINING", "SIZE 50000000"))
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }' % sink.port)

    def send(text):
        with smtplib.SMTP(s.host, s.submission) as c:
            c.starttls(context=s.tls_context())
            c.login("ann@d.test", PASSWORD)
            c.sendmail("ann@d.test", ["x@far.test"], text, ["BODY=8BITMIME"])

    submit(s, "x@far.test", "seven")
    wait_until("7-bit passes", lambda: len(sink.messages) == 1)
    small = eight_bit_message()
    large = small.replace(b"7 bits\r\n", b"7 bits, and many of them\r\n" * 12000)
    for number, text in enumerate((small, large), 2):
        send(text)
        wait_until("it is converted", lambda: len(sink.messages) == number)
        command, _, got = sink.messages[-1]
        assert max(got) < 128 and max(map(len, got.split(b"\r\n"))) <= 998
        assert "BODY" not in command and "SIZE=%d" % len(got) in command, (command, len(got))
        assert contents(got) == contents(text), (contents(got)[:6], contents(text)[:6])
        assert all(p["Content-Transfer-Encoding"] != "8bit" for p in email.message_from_bytes(got).walk()), got[:2000]
        assert got.count(b"\r\nContent-Transfer-Encoding: ") == 7, got[:2000]
    s.wait_empty()
    assert [e.get("converted") for e in s.events("delivery.ok")] == [None, "7bit", "7bit"], s.log()
    events = s.events("message.converted")
    assert [(e["to"], e["parts"]) for e in events] == [("7bit", "6")] * 2 and events[0]["id"] == s.events("delivery.ok")[1]["id"], events
    signed = small.replace(b"multipart/mixed", b"multipart/signed")
    header = small.replace(b"Subject: eight", "Subject: \u00e9ight".encode())
    for number, (text, status, words) in enumerate(((signed, "5.6.3", "part 1 (text/plain) is signed"), (header, "5.6.9", "SMTPUTF8")), 1):
        send(text)
        fields = dsn_of(s.wait_mail("ann@d.test", number)[-1])[0]
        assert any(dsn_of(m)[0]["Status"] == status and words in str(dsn_of(m)[0]["Diagnostic-Code"]).replace("\n", "")
                   for m in s.wait_mail("ann@d.test", number)), (status, fields)
    assert len(sink.messages) == 3


@case
def sending_follows_the_rules(world):
    """Pipelining, connection reuse, per-destination concurrency; a 4xx defers, the next try succeeds."""
    sink = Sink(world)
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }\nqueue { retry = { 1s } }\n'
                     'sending { concurrency = 2 }' % sink.port)
    sink.replies["."] = "451 4.3.0 not now"
    submit(s, "x@far.test", "later")
    wait_until("it is deferred", lambda: s.events("delivery.deferred"), 20)
    del sink.replies["."]
    wait_until("the second try succeeds", lambda: len(sink.messages) == 1, 20)
    before = sink.connections
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.login("ann@d.test", PASSWORD)
        for i in range(30):
            c.sendmail("ann@d.test", ["x@far.test"], MESSAGE % (i, i))
    wait_until("all arrived", lambda: len(sink.messages) == 31, 20)
    assert sink.connections - before <= 4, "connections are reused: %d for 30 messages" % (sink.connections - before)


# ---- Postfix -------------------------------------------------------------------------------------------------------------

@case
def postfix_as_next_hop(world):
    """Relay to Postfix: it takes messages, 8-bit and large ones too, and its refusals come back as DSNs."""
    port = postfix(world)
    s = world.server(accounts=["ann@d.test"], extra='route "p.test" { to = "smtp:127.0.0.1:%d" }' % port)
    for i in range(5):
        submit(s, "x@p.test", "to postfix %d" % i)
    folder = world.path("postfix-mail", "p.test", "x", "new")
    wait_until("Postfix delivered all", lambda: os.path.isdir(folder) and len(os.listdir(folder)) == 5, 40)
    submit(s, "unknown@p.test", "refused")
    mail = s.wait_mail("ann@d.test", 1)[0]
    assert dsn_of(mail)[0]["Status"].startswith("5.1.1"), dsn_of(mail)


@case
def postfix_as_upstream(world):
    """Postfix relays to veredus with STARTTLS: local mail is delivered, an unknown user is refused and bounced by Postfix."""
    s = world.server(accounts=["ann@d.test"])
    port = postfix(world, "relay_domains = d.test\ntransport_maps = inline:{d.test=smtp:[127.0.0.1]:%d}" % s.mx)
    with smtplib.SMTP("127.0.0.1", port) as c:
        for i in range(20):
            c.sendmail("x@p.test", ["ann@d.test"], MESSAGE % (i, i))
        c.sendmail("x@p.test", ["nobody@d.test"], MESSAGE % ("bounce", "bounce"))
    mails = s.wait_mail("ann@d.test", 20, 40)
    assert all("postfix.test" in m["Received"] and "ESMTPS " in m["Received"] for m in mails), mails[0]["Received"]
    folder = world.path("postfix-mail", "p.test", "x", "new")
    wait_until("Postfix bounced the other", lambda: os.path.isdir(folder) and len(os.listdir(folder)) == 1, 40)


# ---- Dovecot -------------------------------------------------------------------------------------------------------------

@case
def dovecot_over_lmtp(world):
    """Dovecot takes the mail over LMTP on a UNIX socket, its refusal of one recipient touches only that one, and IMAP reads it back."""
    if os.geteuid() != 0:
        raise Skip("Dovecot is started as root here")
    if not os.path.exists("/usr/lib/dovecot/lmtp"):
        raise Skip("dovecot-lmtpd is not installed")
    imap, folder = free_port(), world.path("dovecot")
    os.makedirs(folder)
    users = world.write("dovecot/users", "ann@d.test:{PLAIN}secret::::::\nbob@d.test:{PLAIN}secret::::::\n")
    config = world.write("dovecot.conf", """
base_dir = {0}/run
state_dir = {0}/state
log_path = {0}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
mail_location = maildir:{0}/mail/%u
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = {1}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={0}/home/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {2}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
protocol lmtp {{
  auth_username_format = %Lu
}}
""".format(folder, users, imap))
    for part in ("mail", "home"):
        os.makedirs(os.path.join(folder, part))
        shutil.chown(os.path.join(folder, part), "nobody", "nogroup")
    os.chmod(folder, 0o755)
    world.start("dovecot", ["/usr/sbin/dovecot", "-F", "-c", config])
    socket_path = os.path.join(folder, "run", "lmtp")
    wait_until("Dovecot's LMTP socket", lambda: os.path.exists(socket_path), 20)
    s = world.server(domains={"d.test": 'deliver = "lmtp:unix:%s"\nmailboxes = any' % socket_path})
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail("x@elsewhere.test", ["ann@d.test", "bob@d.test", "nobody@d.test"], MESSAGE % ("over lmtp", "over.lmtp"))
    wait_until("both were delivered, one refused", lambda: len(s.events("delivery.ok")) == 2 and len(s.events("delivery.failed")) >= 1, 30)
    for user in ("ann@d.test", "bob@d.test"):
        with imaplib.IMAP4("127.0.0.1", imap) as c:
            c.login(user, "secret")
            assert c.select("INBOX")[1] == [b"1"]
            raw = c.fetch("1", "(RFC822)")[1][0][1]
            assert b"Subject: over lmtp" in raw and raw.endswith(b"hello\r\n"), raw
