"""Programs of others as clients: swaks, Python's smtplib, openssl."""
import shutil
import smtplib
import socket
import ssl
import subprocess

from harness import PASSWORD, Skip, case, kill, run, wait_until


def swaks(server, *arguments, ok=True):
    if not shutil.which("swaks"):
        raise Skip("swaks is not installed")
    return run("swaks", "--server", server.host, "--helo", "client.test", *arguments, ok=ok)


@case
def swaks_submits(world):
    """swaks submits with each mechanism, by STARTTLS and by implicit TLS; each message arrives."""
    s = world.server(accounts=["ann@d.test"])
    user = ["--auth-user", "ann@d.test", "--auth-password", PASSWORD, "--from", "ann@d.test", "--to", "ann@d.test"]
    swaks(s, "--port", s.submission, "--tls", "--auth", "PLAIN", "--header", "Subject: one", *user)
    swaks(s, "--port", s.submission, "--tls", "--auth", "LOGIN", "--header", "Subject: two", *user)
    swaks(s, "--port", s.submissions, "--tls-on-connect", "--auth", "PLAIN", "--header", "Subject: three", *user)
    mails = s.wait_mail("ann@d.test", 3)
    assert sorted(m["Subject"] for m in mails) == ["one", "three", "two"], mails
    for m in mails:
        assert "with ESMTPSA" in m["Received"] and "TLSv1." in m["Received"], m["Received"]
        assert m["Return-Path"] == "<ann@d.test>" and m["Delivered-To"] == "ann@d.test"


@case
def swaks_refusals(world):
    """Wrong passwords, mail without AUTH, AUTH without TLS, foreign senders and relaying are refused with their codes."""
    s = world.server(accounts=["ann@d.test"])
    user = ["--auth", "PLAIN", "--auth-user", "ann@d.test"]
    wrong = swaks(s, "--port", s.submission, "--tls", *user, "--auth-password", "wrong", "--to", "ann@d.test", ok=False)
    assert "535 5.7.8" in wrong.stdout, wrong.stdout
    none = swaks(s, "--port", s.submission, "--tls", "--to", "ann@d.test", "--from", "ann@d.test", ok=False)
    assert "530 5.7.0" in none.stdout, none.stdout
    clear = swaks(s, "--port", s.submission, "--to", "ann@d.test", "--from", "ann@d.test", ok=False)
    assert "530 5.7.0" in clear.stdout, clear.stdout
    forged = swaks(s, "--port", s.submission, "--tls", *user, "--auth-password", PASSWORD, "--from", "boss@d.test", "--to", "ann@d.test",
                   ok=False)
    assert "553 5.7.1" in forged.stdout, forged.stdout
    relay = swaks(s, "--port", s.mx, "--from", "a@elsewhere.test", "--to", "b@foreign.test", ok=False)
    assert "554 5.7.1" in relay.stdout, relay.stdout
    unknown = swaks(s, "--port", s.mx, "--from", "a@elsewhere.test", "--to", "nobody@d.test", ok=False)
    assert "550 5.1.1" in unknown.stdout, unknown.stdout
    assert s.mails("ann@d.test") == []


@case
def send_as_and_aliases(world):
    """A user may send as an alias of the account and as an address given by --send-as, with a delimiter too."""
    aliases = world.write("aliases", "sales: ann\nboth: ann, bob\n")
    s = world.server(domains={"d.test": 'aliases = "%s"' % aliases}, start=False)
    s.add_account("ann@d.test", "--send-as", "press@d.test")
    s.add_account("bob@d.test")
    s.start()
    for sender, good in (("ann@d.test", True), ("ANN@D.TEST", True), ("ann+shop@d.test", True), ("sales@d.test", True),
                         ("press@d.test", True), ("bob@d.test", False), ("x@foreign.test", False)):
        done = swaks(s, "--port", s.submission, "--tls", "--auth", "PLAIN", "--auth-user", "ann@d.test", "--auth-password", PASSWORD,
                     "--from", sender, "--to", "both@d.test", ok=False)
        assert (done.returncode == 0) == good, (sender, done.stdout)
    s.wait_mail("bob@d.test", 5)
    s.wait_mail("ann@d.test", 5)


@case
def smtplib_submits(world):
    """Python's smtplib: STARTTLS, implicit TLS, 8-bit bodies, dots; the body comes out byte for byte."""
    s = world.server(accounts=["ann@d.test", "bob@d.test"])
    body = b"Subject: dots\r\nFrom: ann@d.test\r\n\r\n.\r\n..\r\n.x\r\nl\xc3\xa4nger \xff\r\n" + b"y" * 5000 + b"\r\n"
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.login("ann@d.test", PASSWORD)
        refused = c.sendmail("ann@d.test", ["bob@d.test", "nobody@d.test"], body, ["BODY=8BITMIME"])
        assert list(refused) == ["nobody@d.test"] and refused["nobody@d.test"][0] == 550, refused
    with smtplib.SMTP_SSL(s.host, s.submissions, context=s.tls_context()) as c:
        c.login("ann@d.test", PASSWORD)
        c.sendmail("ann@d.test", ["bob@d.test"], body, ["BODY=8BITMIME"])
    s.wait_mail("bob@d.test", 2)
    for raw in s.mails("bob@d.test"):
        assert raw.split(b"\n\n", 1)[1] == body.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n"), raw
        assert b"\nMessage-ID: <" in raw and b"\nDate: " in raw, "missing fields are added for users"


@case
def large_messages(world):
    """Bodies above 64 KiB go by files: several sizes and at once, byte for byte; too large ones get 552, declared or not."""
    s = world.server(accounts=["ann@d.test"], extra="limits { message_size = 3M }")
    sizes = [65000, 65536, 65537, 70000, 300000, 1048576, 2900000]
    for size in sizes:
        line = b"0123456789abcdef" * 4 + b"\r\n"
        body = (line * (size // len(line) + 1))[:size - 2] + b"\r\n"
        with smtplib.SMTP(s.host, s.mx) as c:
            c.sendmail("x@elsewhere.test", ["ann@d.test"], b"Subject: %d\r\n\r\n" % size + body)
    s.wait_mail("ann@d.test", len(sizes), 40)
    for raw in s.mails("ann@d.test"):
        head, body = raw.split(b"\n\n", 1)
        size = int(head.split(b"Subject: ")[1].split(b"\n")[0])
        line = b"0123456789abcdef" * 4 + b"\r\n"
        assert body == ((line * (size // len(line) + 1))[:size - 2] + b"\r\n").replace(b"\r\n", b"\n"), size
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo()
        assert c.docmd("MAIL FROM:<x@y.test> SIZE=4000000")[0] == 552
        c.docmd("MAIL FROM:<x@y.test>")
        c.docmd("RCPT TO:<ann@d.test>")
        assert c.data(b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 50000)[0] == 552
    wait_until("no body files are left", lambda: not run("find", s.spool + "/body", "-type", "f").stdout, 20)


@case
def openssl_starttls(world):
    """openssl s_client sees TLS 1.2 and 1.3, and nothing older; nothing sent before the handshake counts after it."""
    s = world.server(accounts=["ann@d.test"])
    for version, good in (("-tls1_2", True), ("-tls1_3", True), ("-tls1_1", False)):
        done = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (s.host, s.submission), "-starttls", "smtp", version,
                               "-cipher", "DEFAULT:@SECLEVEL=0"], input=b"QUIT\r\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=30)
        assert (b"Cipher is (NONE)" not in done.stdout and done.returncode == 0) == good, (version, done.stdout[-600:])
    with socket.create_connection((s.host, s.submission), 10) as raw:
        lines = raw.makefile("rb")
        lines.readline()
        raw.sendall(b"EHLO x\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        raw.sendall(b"STARTTLS\r\nMAIL FROM:<evil@s.test>\r\n")
        assert lines.readline().startswith(b"220")
        context = s.tls_context()
        with context.wrap_socket(raw) as tls:
            tls.sendall(b"NOOP\r\n")
            tls.settimeout(5)
            assert tls.recv(100).startswith(b"250 2.0.0"), "the first reply under TLS is that to NOOP"

@case
def starttls_without_a_certificate(world):
    """A server of one line, for other servers only and without a certificate, makes one of its own and offers STARTTLS with it."""
    s = world.server(start=False)
    s.config = world.write("smallest.conf", "\n".join(['hostname = "%s"' % s.hostname, 'spool = "%s"' % s.spool, 'state = "%s"' % s.state,
                                                       'run = "%s"' % s.run_dir, 'listen "%s:%d" { role = mx }' % (s.host, s.mx),
                                                       'domain "d.test" { mailboxes = any }']) + "\n")
    s.start()
    with smtplib.SMTP(s.host, s.mx) as c:
        c.starttls(context=s.tls_context())
        assert c.sock.version() in ("TLSv1.2", "TLSv1.3"), c.sock.version()
        c.sendmail("x@elsewhere.test", ["ann@d.test"], "Subject: secret\r\n\r\n.")
    assert "with ESMTPS" in s.wait_mail("ann@d.test")[0]["Received"]


@case
def limits_are_told(world):
    """Connections per address, recipients, errors, idle time: each limit has its reply."""
    s = world.server(accounts=["ann@d.test"], processes=4,
                     extra="limits { connections_per_address = 3\n recipients = 100\n errors = 4\n command_timeout = 2s }")
    held = [socket.create_connection((s.host, s.mx), 10) for _ in range(3)]
    for h in held:
        assert h.recv(200).startswith(b"220")
    with socket.create_connection((s.host, s.mx), 10) as one_more:
        assert one_more.recv(200).startswith(b"421"), "the fourth connection is one too many"
    held[0].settimeout(10)
    assert held[0].recv(200).startswith(b"421 "), "an idle session ends with 421"
    for h in held:
        h.close()
    wait_until("connections are counted down", lambda: greeting(s).startswith(b"220"), 10)
    with smtplib.SMTP(s.host, s.mx) as c:
        c.ehlo()
        c.docmd("MAIL FROM:<>")
        replies = [c.docmd("RCPT TO:<ann+%d@d.test>" % i)[0] for i in range(102)]
        assert replies == [250] * 100 + [452] * 2, replies
    with socket.create_connection((s.host, s.mx), 10) as c:
        c.sendall(b"FOO\r\n" * 6)
        c.settimeout(5)
        text = b""
        while chunk := c.recv(4096):
            text += chunk
        assert text.count(b"\r\n500 ") == 4 and b"\r\n421 4.7.0" in text, text


@case
def dead_receivers_clients_are_not_counted(world):
    """Connections that died with their receiver leave room for others."""
    s = world.server(processes=4, extra="limits { connections_per_address = 2 }")
    held = [socket.create_connection((s.host, s.mx), 10) for _ in range(2)]
    for h in held:
        assert h.recv(200).startswith(b"220")
    assert greeting(s).startswith(b"421")
    for pid in s.pids("receiver"):
        kill(pid)
    wait_until("new receivers count from nothing", lambda: greeting(s).startswith(b"220"), 10)
    for h in held:
        h.close()


def greeting(s):
    try:
        with socket.create_connection((s.host, s.mx), 10) as c:
            return c.recv(200)
    except ConnectionError: # its receiver died
        return b""
