"""Addresses and headers beyond ASCII (RFC 6531, 6532, 6533) and internationalised domains, from the client to the mailbox and over other servers."""
import base64
import email
import email.policy
import os
import smtplib
from email.message import EmailMessage

import harness
from harness import PASSWORD, Sink, case, nsd, postfix, run, wait_until

UTF8 = email.policy.SMTPUTF8
EXTENSIONS = ("PIPELINING", "8BITMIME", "DSN", "SMTPUTF8")


def message(subject="Grüße", sender="ann@d.test", to="jörg@bücher.test", attachment=None):
    m = EmailMessage(policy=UTF8)
    m["From"], m["To"], m["Subject"] = sender, to, subject
    m["Message-ID"] = "<%d@d.test>" % abs(hash((subject, to)))
    m.set_content("Schöne Grüße\n", cte="8bit")
    if attachment:
        m.add_attachment("Anhang\n", filename=attachment)
    return m


def submit(s, m, to=None, sender="ann@d.test", user=None, utf8=True):
    """By the submission port; user and password beyond ASCII are more than smtplib's login() can say."""
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.ehlo("client.test")
        assert c.has_extn("smtputf8")
        plain = "\0%s\0%s" % (user or sender, PASSWORD)
        code, text = c.docmd("AUTH PLAIN " + base64.b64encode(plain.encode()).decode())
        assert code == 235, (code, text)
        options = ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else ["BODY=8BITMIME"]
        c.sendmail(sender, to or [m["To"]], m.as_bytes(policy=UTF8) if isinstance(m, EmailMessage) else m, options)


def said(sink, verb):
    """The sink's commands of this verb, read as UTF-8."""
    return [c.encode("latin-1").decode() for c in sink.commands if c.upper().startswith(verb)]


def newest(s, address, count):
    wait_until("%d messages for %s" % (count, address), lambda: len(s.mails(address)) >= count, 30)
    folder = os.path.join(s.maildir(address), "new")
    path = max((os.path.join(folder, name) for name in os.listdir(folder)), key=lambda p: os.stat(p).st_mtime_ns)
    with open(path, "rb") as f:
        return f.read()


def idn_server(world, name="veredus", **options):
    options.setdefault("domains", {"d.test": "", "bücher.test": ""})
    options.setdefault("accounts", ["ann@d.test", "jörg@bücher.test"])
    return world.server(name, **options)


@case
def utf8_from_client_to_mailbox(world):
    """smtplib with SMTPUTF8: one mailbox however its name is spelt, logging in and sending by it, and what is refused."""
    lmtp = harness.free_port()
    s = idn_server(world, head='listen "127.0.0.1:%d" { role = lmtp }' % lmtp)
    submit(s, message(attachment="Übersicht.txt"))
    raw = newest(s, "jörg@bücher.test", 1)
    mail = email.message_from_bytes(raw, policy=UTF8)
    assert mail["Subject"] == "Grüße" and str(mail["To"]) == "jörg@bücher.test", raw
    assert "Subject: Grüße\n".encode() in raw and "Übersicht.txt".encode() in raw and b"Sch\xc3\xb6ne" in raw, raw
    assert "with UTF8SMTPSA id" in mail["Received"] and "for <jörg@bücher.test>" in mail["Received"], mail["Received"]
    assert "Delivered-To: jörg@bücher.test\n".encode() in raw, raw
    # other spellings, A-labels among them; with several recipients
    for i, to in enumerate(("JÖRG@xn--bcher-kva.test", "Jo\u0308rg@BÜCHER.test", "jörg+x@XN--BCHER-KVA.test")):
        submit(s, message(), [to])
        newest(s, "jörg@bücher.test", i + 2)
    # he logs in and sends by any of them, and by none of ann's
    for i, (user, sender) in enumerate((("jörg@bücher.test", "JÖRG@bücher.test"), ("JÖRG@XN--bcher-kva.test", "jörg@xn--bcher-kva.test"))):
        submit(s, message(sender=sender, to="ann@d.test"), sender=sender, user=user)
        raw = newest(s, "ann@d.test", i + 1)
        assert ("Return-Path: <%s>\n" % sender).encode() in raw, raw
    try:
        submit(s, message(), sender="ann@d.test", user="jörg@bücher.test")
        raise AssertionError("jörg may send as ann")
    except smtplib.SMTPSenderRefused as e:
        assert e.smtp_code == 553 and b"5.7.1" in e.smtp_error, e
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("client.test")
        c.command_encoding = "utf-8"
        assert c.docmd("MAIL FROM:<ö@x.test>")[0:1] == (550,)
        assert c.docmd("MAIL FROM:<a@x.test>")[0] == 250
        code, text = c.docmd("RCPT TO:<jörg@bücher.test>")
        assert code == 553 and text.startswith(b"5.6.7"), (code, text)
        assert c.docmd("RCPT TO:<postmaster@xn--bcher-kva.test>")[0] == 250  # A-labels are ASCII
        assert c.docmd("RSET")[0] == 250
        assert c.docmd("MAIL FROM:<ö@straße.test> SMTPUTF8")[0] == 250
        code, text = c.docmd("RCPT TO:<jorg@bücher.test>")
        assert code == 550 and text.startswith(b"5.1.1"), (code, text)
        code, text = c.docmd("RCPT TO:<jörg@straße.test>")
        assert code == 554 and text.startswith(b"5.7.1"), (code, text)
        assert c.docmd("RCPT TO:<jörg@bücher.test>")[0] == 250
        code, text = c.data(message(sender="ö@straße.test").as_bytes(policy=UTF8))
        assert code == 250, text
    raw = newest(s, "jörg@bücher.test", 5)
    assert "Return-Path: <ö@straße.test>\n".encode() in raw and b"with UTF8SMTP id" in raw, raw
    with smtplib.LMTP("127.0.0.1", lmtp) as c:
        c.ehlo("client.test")
        c.sendmail("ö@straße.test", ["jörg@bücher.test"], message().as_bytes(policy=UTF8), ["SMTPUTF8", "BODY=8BITMIME"])
    assert b"with UTF8LMTP id" in newest(s, "jörg@bücher.test", 6)
    assert not s.events("process.died"), s.log()


@case
def utf8_over_servers_that_know_it_and_that_do_not(world):
    """Where SMTPUTF8 is offered all goes as it is; where not: A-labels, plain ASCII, or back with 5.6.7 and 5.6.9."""
    new, old, lmtp = Sink(world, extensions=EXTENSIONS), Sink(world), Sink(world, extensions=EXTENSIONS)
    s = idn_server(world, domains={"d.test": "", "bücher.test": "", "lmtp.test": 'deliver = "lmtp:127.0.0.1:%d"\n mailboxes = any' % lmtp.port}, extra='route "neu.test" { to = "smtp:127.0.0.1:%d" }\nroute "müller.test" { to = "smtp:127.0.0.1:%d" }\n'
                   'route "alt.test" { to = "smtp:127.0.0.1:%d" }\nroute ".straße.test" { to = "smtp:127.0.0.1:%d" }\n' %
                   (new.port, new.port, old.port, old.port))
    submit(s, message(), ["ö@müller.test", "x@xn--mller-kva.test"])
    submit(s, message(to="x@neu.test", subject="plain"), utf8=True)
    wait_until("both are there", lambda: len(new.messages) == 2, 30)
    assert said(new, "MAIL") == ["MAIL FROM:<ann@d.test> BODY=8BITMIME SMTPUTF8", "MAIL FROM:<ann@d.test> BODY=8BITMIME"], said(new, "MAIL")
    assert said(new, "RCPT")[:2] == ["RCPT TO:<ö@müller.test>", "RCPT TO:<x@xn--mller-kva.test>"], said(new, "RCPT")
    assert "Subject: Grüße\r\n".encode() in new.messages[0][2]
    received = email.message_from_bytes(new.messages[1][2])["Received"]
    assert "with UTF8SMTPSA" in received and received.isascii()
    # a domain has an ASCII form, and a message that turns out to be ASCII in its header goes anywhere
    submit(s, message(to="x@a.straße.test", subject="plain") and
           b"From: ann@d.test\r\nTo: x@a.xn--strae-oqa.test\r\nSubject: plain\r\n\r\nx\r\n", ["x@a.straße.test"])
    wait_until("it is there", lambda: len(old.messages) == 1, 30)
    assert len(said(old, "MAIL")) == 1 and "SMTPUTF8" not in said(old, "MAIL")[0], said(old, "MAIL")
    assert said(old, "RCPT") == ["RCPT TO:<x@a.xn--strae-oqa.test>"], said(old, "RCPT")
    assert b"for <x@a.xn--strae-oqa.test>" in old.messages[0][2]
    # a local part has none: 5.6.7 for this recipient; nor has a header: 5.6.9
    submit(s, b"From: ann@d.test\r\nSubject: plain\r\n\r\nx\r\n", ["ö@alt.test", "x@alt.test"])
    raw = newest(s, "ann@d.test", 1)
    assert len(old.messages) == 2 and said(old, "RCPT")[-1] == "RCPT TO:<x@alt.test>"
    fields = dsn_fields(raw)
    assert fields["Status"] == "5.6.7" and fields["Final-Recipient"] == "utf-8; \\x{F6}@alt.test", fields
    assert fields["Diagnostic-Code"].startswith("x-veredus; 5.6.7 the address has characters beyond ASCII"), fields
    assert raw.isascii() and "ö@alt.test" in email.message_from_bytes(raw).get_payload()[0].get_payload(decode=True).decode(), raw
    submit(s, message(to="x@alt.test"))
    raw = newest(s, "ann@d.test", 2)
    assert dsn_fields(raw)["Status"] == "5.6.9" and raw.isascii(), raw
    returned = email.message_from_bytes(raw).get_payload()[2]
    assert returned.get_content_type() == "message/global" and returned["Content-Transfer-Encoding"] == "quoted-printable", raw
    assert b"Subject: Gr=C3=BC=C3=9Fe\n" in raw, raw
    # LMTP likewise
    submit(s, message(to="ö@lmtp.test"))
    wait_until("it is there", lambda: lmtp.messages, 30)
    assert lmtp.commands[0].startswith("LHLO ") and said(lmtp, "MAIL") == ["MAIL FROM:<ann@d.test> BODY=8BITMIME SMTPUTF8"], lmtp.commands
    # an SMTPUTF8 sender: returned for all; the report is in UTF-8, as its reader needs it anyway
    submit(s, b"Subject: plain\r\n\r\nx\r\n", ["x@alt.test"], sender="jörg@bücher.test")
    raw = newest(s, "jörg@bücher.test", 1)
    assert b"\nStatus: 5.6.7\n" in raw and b"\nContent-Type: message/global-delivery-status\n" in raw, raw
    assert "\nTo: jörg@bücher.test\n".encode() in raw, raw
    assert len(old.messages) == 2 and all(c.isascii() for c in old.commands), old.commands


def dsn_fields(raw):
    mail = email.message_from_bytes(raw)
    assert mail.get_content_type() == "multipart/report", raw
    status = mail.get_payload()[1]
    assert status.get_content_type() == "message/delivery-status", raw
    return dict(status.get_payload()[1].items())


@case
def utf8_reports_over_the_net(world):
    """A report for a sender beyond ASCII goes out by SMTPUTF8 in the types of RFC 6533; ORCPT is told as it was meant."""
    home = Sink(world, extensions=EXTENSIONS)
    refuses = Sink(world, extensions=EXTENSIONS, replies={"RCPT": "550 5.1.1 hier wohnt kein Ännchen"})
    s = idn_server(world, head='trusted = "127.0.0.1"', extra='route "heim.test" { to = "smtp:127.0.0.1:%d" }\nroute "*" { to = "smtp:127.0.0.1:%d" }\n' %
                   (home.port, refuses.port))
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("client.test")
        c.command_encoding = "utf-8"
        assert c.docmd("MAIL FROM:<ö@heim.test> SMTPUTF8 RET=HDRS")[0] == 250
        assert c.docmd("RCPT TO:<ä@straße.test> ORCPT=utf-8;\\x{C4}@straße.test")[0] == 250
        assert c.data(message(sender="ö@heim.test", to="ä@straße.test").as_bytes(policy=UTF8))[0] == 250
    wait_until("the report is there", lambda: home.messages, 30)
    sender, rcpts, body = home.messages[0]
    assert sender.startswith("MAIL FROM:<> ") and "SMTPUTF8" in sender and "BODY=8BITMIME" in sender, sender
    assert said(home, "RCPT") == ["RCPT TO:<ö@heim.test> NOTIFY=NEVER"], rcpts
    text = body.decode()
    for line in ("To: ö@heim.test", "Content-Type: message/global-delivery-status", "Original-Recipient: utf-8;Ä@straße.test",
                 "Final-Recipient: utf-8; ä@straße.test", "Diagnostic-Code: smtp; 550 5.1.1 hier wohnt kein Ännchen",
                 "Content-Type: message/global-headers", "Subject: Grüße"):
        assert "\r\n%s\r\n" % line in text, (line, text)
    assert "RCPT TO:<ä@straße.test> ORCPT=utf-8;\\x{C4}@straße.test" in said(refuses, "RCPT"), said(refuses, "RCPT")


@case
def utf8_with_postfix(world):
    """Postfix with smtputf8_enable takes from us what is beyond ASCII, and gives it to us."""
    s = idn_server(world, start=False)
    port = postfix(world, """smtputf8_enable = yes
virtual_mailbox_domains = p.test, bücher-p.test
virtual_mailbox_maps = inline:{{x@p.test = p.test/x/}, {ö@p.test = p.test/oe/}, {ö@bücher-p.test = buecher/oe/}}
transport_maps = inline:{{bücher.test = smtp:[127.0.0.1]:%d}, {xn--bcher-kva.test = smtp:[127.0.0.1]:%d}}
""" % (s.mx, s.mx))
    s.extra = 'route "p.test" { to = "smtp:127.0.0.1:%d" }\nroute "bücher-p.test" { to = "smtp:127.0.0.1:%d" }\n' % (port, port)
    s.config = s.write_config()
    s.start()
    submit(s, message(to="ö@p.test", sender="jörg@bücher.test"), sender="jörg@bücher.test")
    submit(s, message(to="ö@bücher-p.test"), ["ö@bücher-p.test"])
    for folder in ("p.test/oe", "buecher/oe"):
        got = wait_until("Postfix delivers to " + folder, lambda: harness.read_maildir(world.path("postfix-mail", folder)), 60)
        assert "Subject: Grüße\n".encode() in got[0], got
        assert b"with UTF8SMTP id" in got[0] and b"with UTF8SMTPSA id" in got[0], got[0]
    with smtplib.SMTP("127.0.0.1", port) as c:
        c.ehlo("client.test")
        c.sendmail("ö@p.test", ["jörg@bücher.test", "jörg@xn--bcher-kva.test"], message(sender="ö@p.test").as_bytes(policy=UTF8),
                   ["SMTPUTF8", "BODY=8BITMIME"])
    s.wait_mail("jörg@bücher.test", 2, 60)
    for raw in s.mails("jörg@bücher.test"):
        assert "Return-Path: <ö@p.test>\n".encode() in raw and "Subject: Grüße\n".encode() in raw and b"with UTF8SMTP id" in raw, raw


@case
def domains_of_all_scripts_by_the_dns(world):
    """A U-label recipient: its A-labels are asked for in the DNS, its MX is spoken with by TLS that is verified for the A-label name."""
    far = world.server("far", host="127.0.0.7", hostname="mail.παράδειγμα.test", domains={"παράδειγμα.test": "mailboxes = any"})
    dns = nsd(world, {"xn--hxajbheg2az3al.test": "@ MX 10 mail\nmail A 127.0.0.7\n", "test": "xn--nichts-test TXT x\n"})
    s = idn_server(world, extra='dns { servers = { "127.0.0.1@%d" } }\nsending { mx_port = %d\n ca_file = "%s" }\n'
                   'route "παράδειγμα.test" { to = mx\n tls = verify }\n' % (dns, far.mx, far.ca()))
    submit(s, message(to="δοκιμή@παράδειγμα.test"))
    raw = newest(far, "δοκιμή@παράδειγμα.test", 1)  # {domain} reads as the configuration does
    assert b"with UTF8SMTPS id" in raw and "Subject: Grüße\n".encode() in raw, raw
    submit(s, b"Subject: x\r\n\r\nx\r\n", ["δοκιμή@xn--hxajbheg2az3al.test", "Info@ΠΑΡΆΔΕΙΓΜΑ.test"])
    newest(far, "info@παράδειγμα.test", 1)
    newest(far, "δοκιμή@παράδειγμα.test", 2)
    submit(s, b"Subject: x\r\n\r\nx\r\n", ["ö@öd.test"])
    fields = dsn_fields(newest(s, "ann@d.test", 1))
    assert fields["Status"].startswith("5.1.") and "xn--d-0ga.test" in fields["Diagnostic-Code"], fields


@case
def utf8_on_the_command_line(world):
    """veredus send, sendmail, account and queue with names beyond ASCII."""
    sink = Sink(world, extensions=EXTENSIONS)
    dead = harness.free_port()
    s = idn_server(world, extra='route "fern.test" { to = "smtp:127.0.0.1:%d" }\nroute "straße.test" { to = "smtp:127.0.0.1:%d" }\nqueue { retry = { 1h } }\n' %
                   (sink.port, dead))
    listed = s.command("account", "list", "--config", s.config).stdout
    assert listed.split() == ["ann@d.test", "jörg@bücher.test"], listed
    s.command("account", "change", "JÖRG@xn--bcher-kva.test", "--send-as", "büro@BÜCHER.test", "--config", s.config)
    assert "jörg@bücher.test  sends also as büro@bücher.test\n" in s.command("account", "list", "--config", s.config).stdout
    assert '"büro@bücher.test"' in s.command("account", "list", "--json", "--config", s.config).stdout
    s.command("account", "add", "a@i❤.test", "--password-stdin", "--config", s.config, input="xxxxxxxxxx\n", ok=False)
    # send: to a server that knows SMTPUTF8, and to one that does not
    out = s.command("send", "--server", "127.0.0.1:%d" % s.mx, "--from", "ö@x.test", "--to", "Jörg@bücher.test", "--subject", "Größe", "--body", "Grüße").stdout
    assert "-> MAIL FROM:<ö@x.test> " in out.replace("\x1b", "") or "MAIL FROM:<ö@x.test>" in out, out
    assert "Jörg@bücher.test: sent: 250 2.0.0" in out, out
    raw = newest(s, "jörg@bücher.test", 1)
    assert "To: Jörg@bücher.test\n".encode() in raw and "From: ö@x.test\n".encode() in raw and b"Subject: =?UTF-8?" in raw, raw
    old = Sink(world)
    out = s.command("send", "--server", "127.0.0.1:%d" % old.port, "--from", "a@x.test", "--to", "Ann@bücher.test", "--body", "Grüße").stdout
    assert said(old, "RCPT") == ["RCPT TO:<Ann@xn--bcher-kva.test>"] and b"To: Ann@xn--bcher-kva.test\r\n" in old.messages[0][2], old.commands
    out = s.command("send", "--server", "127.0.0.1:%d" % old.port, "--from", "a@x.test", "--to", "jörg@x.test", "--body", "x", ok=False)
    assert out.returncode != 0 and "553 5.6.7" in out.stdout and len(old.messages) == 1, out.stdout
    # sendmail: addresses and header
    run(harness.VEREDUS, "sendmail", "-C", s.config, "-f", "jörg@bücher.test", "-t", "-i",
        input="To: ö@fern.test\nSubject: Grüße\n\nx\n")
    wait_until("it is there", lambda: sink.messages, 30)
    assert said(sink, "MAIL") == ["MAIL FROM:<jörg@bücher.test> BODY=8BITMIME SMTPUTF8"], said(sink, "MAIL")
    assert "Subject: Grüße\r\n".encode() in sink.messages[0][2] and b"with UTF8SMTP id" in sink.messages[0][2], sink.messages
    # the queue: shown as it was written, found by either form
    submit(s, message(to="ß@straße.test"))
    submit(s, b"Subject: x\r\n\r\nx\r\n", ["x@xn--strae-oqa.test"])
    wait_until("both wait", lambda: s.queue("list").count("deferred") == 2, 30)
    text = s.queue("list")
    assert "ß@straße.test" in text and "x@xn--strae-oqa.test" in text, text
    for domain in ("straße.test", "XN--STRAE-OQA.test"):
        assert len(s.listed("--domain", domain)) == 2, s.queue("list", "--domain", domain)
    submit(s, b"Subject: x\r\n\r\nx\r\n", ["y@straße.test"], sender="jörg@bücher.test")
    for sender in ("JÖRG@xn--bcher-kva.test", "bücher.test"):
        assert len(s.listed("--sender", sender)) == 1, s.queue("list", "--sender", sender)


@case
def utf8_in_answers_to_vrfy_and_expn(world):
    """UTF-8 in these replies for who said SMTPUTF8 only (RFC 6531 §3.7.4.2); else A-labels where they do, and 2.6.8 where not."""
    aliases = world.write("aliases", "büro: jörg, x@straße.test\nteam: x@straße.test, y@fern.test\n")
    s = idn_server(world, head='trusted = "127.0.0.1"\nvrfy = known\nexpn = known', domains={"bücher.test": 'aliases = "%s"' % aliases},
                   accounts=["jörg@bücher.test", "ann@bücher.test"])
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("client.test")
        c.command_encoding = "utf-8"
        for command, code, text in (
                ("VRFY jörg@bücher.test SMTPUTF8", 250, "2.1.5 <jörg@xn--bcher-kva.test>"),
                ("VRFY ann@xn--bcher-kva.test", 250, "2.1.5 <ann@xn--bcher-kva.test>"),
                ("VRFY ann", 250, "2.1.5 <ann@xn--bcher-kva.test>"),
                ("VRFY jorg@bücher.test SMTPUTF8", 550, "5.1.1"),
                ("EXPN BÜRO@bücher.test SMTPUTF8", 250, "2.1.5 <jörg@bücher.test>\n2.1.5 <x@straße.test>"),
                ("EXPN team@xn--bcher-kva.test SMTPUTF8", 250, "2.1.5 <x@straße.test>\n2.1.5 <y@fern.test>"),
                ("EXPN team@xn--bcher-kva.test", 250, "2.1.5 <x@xn--strae-oqa.test>\n2.1.5 <y@fern.test>")):
            got = c.docmd(command)
            assert got[0] == code and got[1].decode().startswith(text), (command, got)
    aliases = world.write("aliases", "team: jörg, y@fern.test\n")
    s.program.stop()
    s.start()
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("client.test")
        assert c.docmd("EXPN team@xn--bcher-kva.test")[1].startswith(b"2.6.8"), c.docmd("EXPN team@xn--bcher-kva.test")
