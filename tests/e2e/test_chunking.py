"""CHUNKING and BINARYMIME (RFC 3030) over real connections: in by BDAT, on by BDAT, and what becomes of binary mail where a server takes none."""
import email
import smtplib

from harness import PASSWORD, Sink, case, postfix, read_maildir, wait_until

BINARY = bytes(range(256)) * 300 + b"\r.\r\n.\r\n\n.\n\0"
MESSAGE = (b"From: ann@d.test\r\nTo: x@far.test\r\nSubject: binary\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n"
           b"--=_b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n.\r\n"
           b"--=_b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + BINARY + b"\r\n--=_b--\r\n")


def submit(server, to, body="BINARYMIME", sizes=(1, 999, 70000)):
    """Submits MESSAGE by BDAT, in chunks of these sizes and a last one."""
    with smtplib.SMTP_SSL(server.host, server.submissions, context=server.tls_context()) as c:
        c.login("ann@d.test", PASSWORD)
        c.ehlo()
        assert c.has_extn("chunking") and c.has_extn("binarymime")
        assert c.docmd("MAIL", "FROM:<ann@d.test> BODY=%s" % body)[0] == 250
        assert c.docmd("RCPT", "TO:<%s>" % to)[0] == 250
        rest = MESSAGE
        for size in sizes:
            c.send(b"BDAT %d\r\n" % size + rest[:size])
            code, text = c.getreply()
            assert code == 250 and b"%d octets" % size in text, (code, text)
            rest = rest[size:]
        c.send(b"BDAT %d LAST\r\n" % len(rest) + rest)
        code, text = c.getreply()
        assert code == 250 and b"queued as" in text, (code, text)


def check(raw):
    """The parts are what they were, however they travelled."""
    parts = list(email.message_from_bytes(raw).walk())[1:]
    assert [p.get_content_type() for p in parts] == ["text/plain", "application/octet-stream"], raw[:800]
    text = parts[0].get_payload(decode=True).replace(b"\r\n", b"\n")
    assert text.rstrip(b"\n") == b"Gr\xc3\xbc\xc3\x9fe\n.", text
    assert parts[1].get_payload(decode=True) == BINARY, len(parts[1].get_payload(decode=True))


@case
def binary_from_veredus_to_veredus(world):
    """A binary message by BDAT over two servers of ours into a Maildir, which has lines: there it is base64, and every byte is the same."""
    far = world.server("far", host="127.0.0.2", domains={"far.test": "mailboxes = any"})
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.2:%d" }' % far.mx)
    submit(s, "x@far.test")
    wait_until("it arrives", lambda: far.mails("x@far.test"), 30)
    (raw,) = far.mails("x@far.test")
    check(raw)
    assert b"\0" not in raw


@case
def binary_to_postfix(world):
    """Postfix takes BDAT but no binary mail: it gets the message by BDAT, converted."""
    port = postfix(world)
    s = world.server(accounts=["ann@d.test"], extra='route "p.test" { to = "smtp:127.0.0.1:%d" chunking = yes }' % port)
    submit(s, "x@p.test")
    folder = world.path("postfix-mail/p.test/x")
    wait_until("it arrives", lambda: read_maildir(folder), 30)
    (raw,) = read_maildir(folder)
    check(raw)
    assert s.events("message.converted"), s.log()[-2000:]


@case
def binary_where_nothing_is_offered(world):
    """A server without CHUNKING and 8BITMIME gets it in seven bits, by DATA."""
    sink = Sink(world, extensions=("PIPELINING",))
    s = world.server(accounts=["ann@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }' % sink.port)
    submit(s, "x@far.test")
    wait_until("it arrives", lambda: sink.messages, 30)
    (_, _, body), = sink.messages
    assert all(byte < 0x80 for byte in body) and max(len(line) for line in body.split(b"\r\n")) <= 998
    check(body)


@case
def bdat_faults(world):
    """A chunk is never taken for commands: wrong sizes end the session, a chunk for nobody is swallowed, DATA and BDAT do not mix."""
    s = world.server(domains={"d.test": "mailboxes = any"})
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo("client.test")
        c.send(b"BDAT 34\r\nMAIL FROM:<a@s.test>\r\nQUIT\r\nxxxx\r\n")
        assert c.getreply()[0] == 503 and c.noop()[0] == 250 and c.docmd("RSET")[0] == 250
        assert c.docmd("MAIL", "FROM:<a@s.test>")[0] == 250 and c.docmd("RCPT", "TO:<x@d.test>")[0] == 250
        c.send(b"BDAT 3\r\na\r\n")
        assert c.getreply()[0] == 250 and c.docmd("DATA")[0] == 503
        assert c.docmd("RSET")[0] == 250
        c.send(b"BDAT 99999999999999999999999 LAST\r\n")
        assert c.getreply()[0] == 501 and c.getreply()[0] == 421
        c.close()
    assert s.mails("x@d.test") == []
