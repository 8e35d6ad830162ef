"""CHUNKING and BINARYMIME (RFC 3030) over real sockets: BDAT from clients and to servers, ours and others': Postfix, Dovecot."""
import email
import email.policy
import hashlib
import os
import random
import re
import shutil
import socket

from harness import Sink, Skip, case, free_port, postfix, read_maildir, run, wait_until


class Client:
    """Speaks raw SMTP: what is sent is bytes, what is heard are whole replies."""

    def __init__(self, host, port, hello=b"EHLO client.test\r\n"):
        self.socket = socket.create_connection((host, port), 20)
        self.file = self.socket.makefile("rb")
        self.reply()
        self.offers = self.ask(hello).decode().split("\r\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def reply(self):
        text = b""
        for line in self.file:
            text += line
            if line[3:4] != b"-":
                return text
        return text

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, data):
        self.send(data)
        return self.reply()

    def begin(self, recipient, parameters=b""):
        assert self.ask(b"MAIL FROM:<a@client.test>%s\r\n" % parameters).startswith(b"250")
        assert self.ask(b"RCPT TO:<%s>\r\n" % recipient.encode()).startswith(b"250")

    def bdat(self, chunk, last=False):
        return self.ask(b"BDAT %d%s\r\n%s" % (len(chunk), b" LAST" if last else b"", chunk))


def octets(n, seed=1):
    """Any bytes, with line ends, dots and commands among them."""
    r = random.Random(seed)
    return b"".join(r.choice((r.randbytes(50), b"\r\n.\r\n", b"\n.\n", b"\r", b"\0", b"BDAT 0 LAST\r\n", b"\xff" * 5)) for _ in range(n // 30))


def binary_message(content, name="x"):
    return (b"From: a@client.test\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=b=\"\r\n\r\n"
            b"--=b=\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nd\xc3\xbcrer\r\n.\r\n"
            b"--=b=\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n%s\r\n--=b=--\r\n"
            % (name.encode(), content))


def parts_of(raw):
    """What the leaves of a message decode to."""
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    return [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]


def check_parts(raw, content):
    text, binary = parts_of(raw)
    assert text.replace(b"\r\n", b"\n").rstrip(b"\n") == b"d\xc3\xbcrer\n.", text
    assert binary == content, (len(binary), len(content), hashlib.sha256(binary).hexdigest())


class BinarySink(Sink):
    """A sink that takes BDAT and keeps every byte of it."""

    def __init__(self, world, **options):
        self.chunks = []  # the sizes, of all messages
        super().__init__(world, extensions=("PIPELINING", "8BITMIME", "SIZE 50000000", "CHUNKING", "BINARYMIME"), **options)

    def session(self, connection):
        connection.settimeout(30)
        with connection, connection.makefile("rb") as stream:
            def say(text):
                connection.sendall((text + "\r\n").encode())
            say("220 sink.test ESMTP")
            body, sender, recipients = b"", None, []
            while True:
                command = stream.readline().decode("latin-1").rstrip("\r\n")
                words = command.upper().split(" ")
                self.commands.append(command)
                if words[0] == "EHLO":
                    say("\r\n".join("250-" + e for e in ("sink.test",) + tuple(self.extensions)) + "\r\n250 HELP")
                elif words[0] in ("QUIT", ""):
                    say("221 bye")
                    return
                elif words[0] == "BDAT":
                    self.chunks.append(int(words[1]))
                    body += stream.read(int(words[1]))
                    if words[-1] == "LAST":
                        self.messages.append((sender, recipients, body))
                    say(self.reply_to("LAST" if words[-1] == "LAST" else "BDAT", "250 2.0.0 ok"))
                else:
                    if words[0] == "MAIL":
                        sender, recipients, body = command, [], b""
                    if words[0] == "RCPT":
                        recipients.append(command)
                    say("250 2.0.0 ok")


@case
def bdat_from_a_client(world):
    """Chunks that cut lines, line ends and header fields anywhere; pipelined ones; CRLF.CRLF and commands in them are text."""
    s = world.server(domains={"d.test": "mailboxes = any"})
    text = b"Subject: in chunks\r\n\r\nfirst\r\n.\r\nMAIL FROM:<evil@x.test>\r\nBDAT 3 LAST\r\n..\r\nlast\r\n"
    with Client(s.host, s.mx) as c:
        assert "250-CHUNKING" in c.offers and "250-BINARYMIME" in c.offers, c.offers
        c.begin("r@d.test")
        for i in range(0, len(text), 7):
            reply = c.bdat(text[i:i + 7], i + 7 >= len(text))
            assert reply.startswith(b"250 2.0.0 "), reply
        big = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 100000
        group = b"MAIL FROM:<b@client.test>\r\nRCPT TO:<r@d.test>\r\n"
        for i in range(0, len(big), 100000):
            group += b"BDAT %d\r\n%s" % (len(big[i:i + 100000]), big[i:i + 100000])
        c.send(group + b"BDAT 0 LAST\r\nMAIL FROM:<c@client.test>\r\n")
        replies = [c.reply() for _ in range(2 + (len(big) + 99999) // 100000 + 1 + 1)]
        assert all(reply.startswith(b"250 ") for reply in replies), replies
    small, large = sorted(s.mails("r@d.test") if s.wait_mail("r@d.test", 2) else [], key=len)
    assert small.endswith(text.replace(b"\r\n", b"\n")), small
    assert large.endswith(big.replace(b"\r\n", b"\n")), large[:500]
    assert len(s.mails("r@d.test")) == 2


@case
def bdat_that_is_refused(world):
    """Whatever speaks against a BDAT, its octets are no commands; a broken connection leaves nothing behind."""
    s = world.server(accounts=["r@d.test"], extra="limits { message_size = 100K }")
    evil = b"RSET\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<r@d.test>\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n"
    with Client(s.host, s.mx) as c:
        assert c.bdat(evil).startswith(b"503 "), "before MAIL"
        assert c.ask(b"RSET\r\n").startswith(b"250")
        assert c.ask(b"MAIL FROM:<a@client.test>\r\n").startswith(b"250")
        assert c.ask(b"RCPT TO:<nobody@d.test>\r\n").startswith(b"550")
        c.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (len(evil), evil, len(evil), evil))
        assert c.reply().startswith(b"554 ") and c.reply().startswith(b"503 "), "nobody was accepted"
        c.begin("r@d.test")
        assert c.bdat(b"x" * 60000 + b"\r\n").startswith(b"250")
        assert c.bdat(evil * 1000, True).startswith(b"552 5.3.4 "), "too large"
        c.begin("r@d.test")
        assert c.bdat(b"bare\nline feed\r\n").startswith(b"554 5.6.0 ")
        assert c.ask(b"MAIL FROM:<a@client.test>\r\n").startswith(b"503 ")
        assert c.ask(b"RSET\r\n").startswith(b"250")
        c.begin("r@d.test")
        assert c.bdat(b"half a mess").startswith(b"250")
        c.send(b"BDAT 1000 LAST\r\nage")
    with Client(s.host, s.mx) as c:
        c.begin("r@d.test")
        c.send(b"BDAT 18446744073709551616\r\n" + evil)
        assert c.reply().startswith(b"501 ") and c.reply().startswith(b"421 ") and c.reply() == b"", "no size: the end"
    with Client(s.host, s.mx) as c:
        c.begin("r@d.test")
        assert c.bdat(b"Subject: good\r\n\r\n", True).startswith(b"250")
    s.wait_mail("r@d.test", 1)
    s.wait_empty()
    assert [b"Subject: good" in raw for raw in s.mails("r@d.test")] == [True]


@case
def binary_from_hop_to_hop(world):
    """A binary message, small and large, goes from veredus to the next server byte for byte; of a Maildir its parts come back byte for byte."""
    sink = BinarySink(world)
    b = world.server("b", domains={"b.test": "mailboxes = any"})
    a = world.server("a", domains={"a.test": "mailboxes = any"}, head='trusted = { "127.0.0.0/8" }', extra="""
route "b.test" { to = "smtp:127.0.0.1:%d" }
route "sink.test" { to = "smtp:127.0.0.1:%d" }""" % (b.mx, sink.port))
    contents = {"small": octets(2000), "large": octets(3000000, 2), "lines": b"lines\r\nonly\r\n" * 20, "nul": b"\0"}
    with Client(a.host, a.mx) as c:
        for name, content in contents.items():
            message = binary_message(content, name)
            assert c.ask(b"MAIL FROM:<a@client.test> BODY=BINARYMIME SIZE=%d\r\n" % len(message)).startswith(b"250")
            for recipient in (b"r@a.test", b"r@b.test", b"r@sink.test"):
                assert c.ask(b"RCPT TO:<%s>\r\n" % recipient).startswith(b"250")
            for i in range(0, len(message), 70001):
                assert c.bdat(message[i:i + 70001]).startswith(b"250 ")
            assert c.bdat(b"", True).startswith(b"250 ")
    wait_until("the sink has all", lambda: len(sink.messages) == len(contents), 30)
    for name, content in contents.items():
        message = binary_message(content, name)
        found = [(mail, body) for mail, _, body in sink.messages if b"Subject: %s\r\n" % name.encode() in body]
        assert len(found) == 1, (name, len(found))
        mail, body = found[0]
        assert body.endswith(message) and body.startswith(b"Received: "), name
        assert " BODY=BINARYMIME" in mail and " SIZE=%d" % len(body) in mail, mail
    assert not [c for c in sink.commands if c == "DATA"], sink.commands
    for server, recipient in ((a, "r@a.test"), (b, "r@b.test")):
        server.wait_mail(recipient, len(contents), 30)
        for name, content in contents.items():
            raw = [m for m in server.mails(recipient) if b"\nSubject: %s\n" % name.encode() in m]
            assert len(raw) == 1 and b"\0" not in raw[0] and b"\r" not in raw[0], name
            check_parts(raw[0], content.replace(b"\r\n", b"\n") if name == "lines" else content)  # a Maildir has LF
    a.wait_empty()


@case
def binary_for_servers_that_take_none(world):
    """Postfix takes chunks and no BINARYMIME: converted, what it delivers decodes to the same bytes. What is signed comes back, without its body."""
    port = postfix(world)
    plain = Sink(world, extensions=("PIPELINING",))
    s = world.server(domains={"d.test": "mailboxes = any"}, head='trusted = { "127.0.0.0/8" }', extra="""
route "p.test" { to = "smtp:127.0.0.1:%d" }
route "seven.test" { to = "smtp:127.0.0.1:%d" }""" % (port, plain.port))
    content = octets(200000, 3)
    signed = binary_message(b"\0signed", "signed").replace(b"multipart/mixed", b"multipart/signed")
    for message, recipients in ((binary_message(content), ("x@p.test", "r@seven.test")), (signed, ("x@p.test",))):
        with Client(s.host, s.mx) as c:
            assert c.ask(b"MAIL FROM:<back@d.test> BODY=BINARYMIME\r\n").startswith(b"250")
            for recipient in recipients:
                assert c.ask(b"RCPT TO:<%s>\r\n" % recipient.encode()).startswith(b"250")
            assert c.bdat(message, True).startswith(b"250")
    folder = world.path("postfix-mail", "p.test", "x")
    wait_until("Postfix delivered", lambda: read_maildir(folder), 30)
    raw, = read_maildir(folder)
    assert b"Content-Transfer-Encoding: base64" in raw and b"\0" not in raw
    check_parts(raw, content)
    wait_until("the 7-bit server has it", lambda: plain.messages, 30)
    mail, _, body = plain.messages[0]
    assert "BODY" not in mail and all(byte < 128 for byte in body), mail
    check_parts(body, content)
    report = s.wait_mail("back@d.test", 1)[0]
    text = report.as_string()
    assert "5.6.3" in text and "BINARYMIME" in text and "text/rfc822-headers" in text, text
    assert "Subject: signed" in text and "--=b=" not in text.split("text/rfc822-headers")[1].split("=b=")[-1], text
    s.wait_empty()


@case
def chunks_to_postfix(world):
    """With `chunking = yes` every message goes to Postfix by BDAT, in one chunk or in many."""
    port = postfix(world)
    s = world.server(domains={"d.test": "mailboxes = any"}, head='trusted = { "127.0.0.0/8" }', extra="""
sending { connection_idle = 0 }
route "p.test" { to = "smtp:127.0.0.1:%d" chunking = yes }""" % port)
    texts = [b"\r\n.\r\n..\r\nx\r\n", b"\r\n" + b".0123456789 and so on\r\n" * 50000]
    with Client(s.host, s.mx) as c:
        for text in texts:
            c.begin("x@p.test")
            assert c.bdat(b"Subject: x\r\n" + text, True).startswith(b"250")  # Postfix adds fields
    folder = world.path("postfix-mail", "p.test", "x")
    wait_until("Postfix delivered both", lambda: len(read_maildir(folder)) == 2, 30)
    for raw, text in zip(sorted(read_maildir(folder), key=len), texts):
        assert raw.endswith(text.replace(b"\r\n", b"\n")), raw[:300]
    log = world.path("postfix.log")
    wait_until("Postfix tells of the commands", lambda: open(log).read().count(" commands=") >= 2)
    lines = [line for line in open(log) if " commands=" in line and "mail=" in line]
    assert all("bdat=" in line and "data=" not in line for line in lines), lines
    assert any("bdat=1 " in line for line in lines) and any("bdat=1 " not in line for line in lines), lines


def dovecot(world, veredus_port):
    """Dovecot's submission server before ours, and its LMTP server. Returns the port and the socket."""
    if os.geteuid() != 0:
        raise Skip("Dovecot is started as root here")
    for program in ("lmtp", "submission"):
        if not os.path.exists("/usr/lib/dovecot/" + program):
            raise Skip("Dovecot's %s is not installed" % program)
    port, folder = free_port(), world.path("dovecot")
    os.makedirs(folder)
    users = world.write("dovecot/users", "ann@d.test:{PLAIN}secret::::::\n")
    config = world.write("dovecot.conf", """
base_dir = {0}/run
state_dir = {0}/state
log_path = {0}/log
protocols = lmtp submission
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
hostname = dovecot.test
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
submission_relay_host = 127.0.0.1
submission_relay_port = {3}
submission_backend_capabilities = 8BITMIME BINARYMIME DSN
submission_relay_rawlog_dir = {0}/raw
service submission-login {{
  inet_listener submission {{
    port = {2}
  }}
  inet_listener submissions {{
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
  lmtp_rawlog_dir = {0}/raw
}}
""".format(folder, users, port, veredus_port))
    for part in ("mail", "home", "raw"):
        os.makedirs(os.path.join(folder, part))
        shutil.chown(os.path.join(folder, part), "nobody", "nogroup")
    os.chmod(os.path.join(folder, "raw"), 0o777)
    os.chmod(folder, 0o755)
    world.start("dovecot", ["/usr/sbin/dovecot", "-F", "-c", config])
    socket_path = os.path.join(folder, "run", "lmtp")
    wait_until("Dovecot's LMTP socket", lambda: os.path.exists(socket_path), 20)
    return port, socket_path


def said(done):
    """The lines that `veredus send` said."""
    return re.findall(r"^-> +[\d.]+ +(.*)$", done.stdout, re.M)


def raw_logs(world, ending):
    """What Dovecot heard (.in) and said (.out), as it came."""
    folder = world.path("dovecot", "raw")
    return b"".join(open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder)) if name.endswith(ending))


@case
def dovecot_by_bdat(world):
    """Dovecot as a client: its submission server gives us mail by BDAT. Dovecot as a server: it takes LMTP chunks from us."""
    mx = free_port()
    port, lmtp = dovecot(world, mx)
    s = world.server(domains={"e.test": "mailboxes = any"}, start=False, head='trusted = { "127.0.0.0/8" }',
                     extra='route "d.test" { to = "lmtp:unix:%s" chunking = yes }' % lmtp)
    s.mx = mx
    s.config = s.write_config()
    s.start()
    content = octets(300000, 4).replace(b"\r", b"").replace(b"\n", b"")  # Dovecot makes CRLF of an LF alone, here too
    message = binary_message(content, "through Dovecot")
    path = world.write("message", message)
    wait_until("Dovecot's submission port", lambda: run("true") and socket.create_connection(("127.0.0.1", port), 5).close() is None)
    done = s.command("send", "--server", "127.0.0.1:%d" % port, "--user", "ann@d.test", "--password-file", world.write("password", "secret\n"),
                     "--auth-in-clear", "--from", "ann@d.test", "--to", "r@e.test", "--binary", "--file", path)
    assert any("BODY=BINARYMIME" in line for line in said(done)) and any(line.startswith("BDAT ") for line in said(done)), done.stdout
    assert "\0" not in done.stdout and "application/octet-stream" not in done.stdout, "the trace has no octets"
    s.wait_mail("r@e.test", 1)
    raw, = s.mails("r@e.test")
    assert b"dovecot.test" in raw
    check_parts(raw, content)
    log = raw_logs(world, ".out")
    assert b"BDAT " in log and b" BODY=BINARYMIME" in log and b"\nDATA\r\n" not in log, log[:500]
    texts = [b"Subject: small\r\n\r\n.\r\n..\r\n", b"Subject: large\r\n\r\n" + b".0123456789\r\n" * 50000]
    with Client(s.host, s.mx) as c:
        for text in texts:
            c.begin("ann@d.test")
            assert c.bdat(text, True).startswith(b"250")
    folder = os.path.join(world.path("dovecot"), "mail", "ann@d.test")
    wait_until("Dovecot has both", lambda: len(read_maildir(folder)) == 2, 30)
    for raw, text in zip(sorted(read_maildir(folder), key=len), texts):
        assert raw.replace(b"\r\n", b"\n").endswith(text.replace(b"\r\n", b"\n")), raw[:300]
    heard = re.findall(rb"(BDAT \d+(?: LAST)?|DATA)\r\n", raw_logs(world, ".in"))
    assert len(heard) >= 3 and b"DATA" not in heard, heard
    s.wait_empty()


@case
def send_by_bdat(world):
    """`veredus send --bdat` and `--binary`, and what they say to a server that offers neither."""
    s = world.server(domains={"d.test": "mailboxes = any"})
    plain = Sink(world)
    server = ["--server", "127.0.0.1:%d" % s.mx]
    text = world.write("text", "hello\n.\n" + "and so on\n" * 30000)
    done = s.command("send", *server, "--to", "r@d.test", "--bdat", "--subject", "x", "--body", "@" + text)
    bdats = [line for line in said(done) if line.startswith("BDAT ")]
    assert len(bdats) > 2 and bdats[-1].endswith(" LAST") and "DATA" not in said(done), done.stdout
    assert "hello" not in done.stdout and "and so on" not in done.stdout
    raw, = s.mails("r@d.test") if s.wait_mail("r@d.test") else []
    assert parts_of(raw)[0].startswith(b"hello\n.\nand so on\n"), raw[:500]
    path = world.write("binary", b"Subject: b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r")
    done = s.command("send", *server, "--to", "b@d.test", "--binary", "--file", path)
    assert any("BODY=BINARYMIME" in line for line in said(done)) and "BDAT 52 LAST" in said(done), done.stdout
    s.wait_mail("b@d.test")
    assert parts_of(s.mails("b@d.test")[0]) == [b"\0\n\r"]
    other = ["send", "--server", "127.0.0.1:%d" % plain.port, "--to", "r@d.test"]
    done = s.command(*other, "--bdat", "--body", "hello")
    assert "DATA" in said(done) and len(plain.messages) == 1, done.stdout
    done = s.command(*other, "--binary", "--file", path, ok=False)
    assert done.returncode == 69 and "5.6.3" in done.stdout and "BINARYMIME" in done.stdout, (done.returncode, done.stdout)
    assert not any(line.startswith("MAIL") for line in said(done)) and len(plain.messages) == 1
    done = s.command(*other, "--binary", "--body", "x", ok=False)
    assert done.returncode == 64 and "--binary" in done.stdout, done.stdout
