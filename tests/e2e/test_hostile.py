"""Clients and servers that do not behave, over real sockets: slow, stuck, half-closed; old TLS, weak ciphers, renegotiation."""
import base64
import contextlib
import os
import re
import shutil
import socket
import ssl
import threading
import time

from harness import PASSWORD, Skip, Sink, case, free_port, run, wait_until

MESSAGE = b"Subject: x\r\n\r\nhello\r\n.\r\n"


def read_reply(lines):
    """One whole reply as text."""
    text = ""
    while True:
        line = lines.readline().decode()
        assert line.endswith("\r\n"), repr(text + line)
        text += line
        if line[3:4] != "-":
            return text


def greeted(server, port=None):
    c = socket.create_connection((server.host, port or server.mx), 20)
    lines = c.makefile("rb")
    assert read_reply(lines).startswith("220 ")
    return c, lines


def still_serves(server):
    c, lines = greeted(server)
    with c:
        c.sendall(b"EHLO other.test\r\nQUIT\r\n")
        assert read_reply(lines).startswith("250-") and read_reply(lines).startswith("221 ")


@case
def slow_sender(world):
    """A client that sends one byte at a time is served like any other, and holds up nobody."""
    s = world.server(domains={"d.test": "mailboxes = any"})
    c, lines = greeted(s)
    with c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dialogue = b"EHLO slow.test\r\nMAIL FROM:<a@s.test>\r\nRCPT TO:<x@d.test>\r\nDATA\r\n" + MESSAGE + b"QUIT\r\n"
        for i, byte in enumerate(dialogue):
            c.sendall(bytes([byte]))
            time.sleep(0.001)
            if i == len(dialogue) // 2:
                still_serves(s)
        codes = [read_reply(lines)[:3] for _ in range(6)]
        assert codes == ["250", "250", "250", "354", "250", "221"], codes
    assert len(s.wait_mail("x@d.test")) == 1


@case
def stuck_reader(world):
    """A client that pipelines megabytes and reads nothing is not read either: memory stays flat, others are served; when it reads, all is there."""
    s = world.server(extra="limits { commands = 1000000 }", processes=1)
    (pid,) = s.pids("receiver")

    def memory():
        with open("/proc/%d/status" % pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    c, lines = greeted(s)
    with c:
        before, sent = memory(), 0
        c.setblocking(False)
        chunk = b"NOOP " + b"x" * 100 + b"\r\n"
        end = time.monotonic() + 20
        idle = 0
        while idle < 20 and time.monotonic() < end and sent < 200 << 20:
            try:
                sent += c.send(chunk * 500 if sent % len(chunk) == 0 else chunk[sent % len(chunk):])
                idle = 0
            except BlockingIOError:
                idle += 1
                time.sleep(0.05)
        assert sent < 100 << 20, "the server went on reading: %d bytes" % sent
        still_serves(s)
        assert memory() < before + 100 * 1024, (before, memory())
        c.setblocking(True)
        c.settimeout(20)
        rest = -sent % len(chunk)
        writer = threading.Thread(target=lambda: c.sendall(chunk[len(chunk) - rest:] + b"QUIT\r\n" if rest else b"QUIT\r\n"))
        writer.start()
        replies = 0
        while not (reply := read_reply(lines)).startswith("221 "):
            assert reply.startswith("250 "), reply
            replies += 1
        writer.join()
        assert replies == (sent + rest) // len(chunk), (replies, sent)


@case
def half_closed(world):
    """A client that closes its side behind the last dot still hears that its message was taken; one that closes within it has sent none."""
    s = world.server(domains={"d.test": "mailboxes = any"})
    envelope = b"EHLO half.test\r\nMAIL FROM:<a@s.test>\r\nRCPT TO:<x@d.test>\r\nDATA\r\n"
    c, lines = greeted(s)
    with c:
        c.sendall(envelope + MESSAGE)
        c.shutdown(socket.SHUT_WR)
        codes = [read_reply(lines)[:3] for _ in range(5)]
        assert codes == ["250", "250", "250", "354", "250"] and lines.read() == b"", codes
    for cut in (MESSAGE[:-1], MESSAGE[:-3], MESSAGE[:12], b""):
        c, lines = greeted(s)
        with c:
            c.sendall(envelope + cut)
            c.shutdown(socket.SHUT_WR)
            codes = [read_reply(lines)[:3] for _ in range(4)]
            assert codes == ["250", "250", "250", "354"] and lines.read() == b"", codes
    c, lines = greeted(s)
    c.sendall(envelope + MESSAGE[:-1])
    c.close()  # with replies unread: a reset
    still_serves(s)
    assert len(s.wait_mail("x@d.test")) == 1 and "empty" in s.queue("list")


@case
def hostile_next_hops(world):
    """Servers that flood, babble, lie or hang up: the mail waits, the sender lives, and mail to others goes through."""
    def speak(connection, text, rest):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            connection.sendall(text)
            rest(connection)

    def hostile(text, rest=lambda c: c.recv(4096)):
        listener = socket.create_server(("127.0.0.1", 0))
        world.cleanups.append(listener.close)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    speak(listener.accept()[0], text, rest)
        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    def endless(connection):
        for _ in range(2000):
            connection.sendall(b"250-" + b"x" * 900 + b"\r\n")
    ports = {"banner": hostile(b"220 " + b"x" * (3 << 20) + b"\r\n"), "lines": hostile(b"220-" + b"x\r\n220-" * 100000 + b"\r\n"),
             "endless": hostile(b"220 ok\r\n", endless), "noise": hostile(os.urandom(70000)), "early": hostile(b"220 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"),
             "codes": hostile(b"999 what\r\n"), "none": hostile(b"", lambda c: None), "421": hostile(b"421 4.3.2 go away\r\n"),
             "ssh": hostile(b"SSH-2.0-OpenSSH_9.2\r\n"), "nul": hostile(b"220 a\0b\r\n250 \0\r\n")}
    sink = Sink(world)
    routes = "\n".join('route "%s.test" { to = "smtp:127.0.0.1:%d" }' % item for item in ports.items())
    s = world.server(extra=routes + '\nroute "good.test" { to = "smtp:127.0.0.1:%d" }\ntrusted = "127.0.0.0/8"' % sink.port)
    senders = s.pids("sender")
    c, lines = greeted(s)
    with c:
        c.sendall(b"EHLO a.test\r\n")
        read_reply(lines)
        for name in list(ports) + ["good"]:
            c.sendall(b"MAIL FROM:<a@s.test>\r\nRCPT TO:<x@%s.test>\r\nDATA\r\n" % name.encode() + MESSAGE)
            assert [read_reply(lines)[:3] for _ in range(4)] == ["250", "250", "354", "250"]
    wait_until("the good one arrives", lambda: len(sink.messages) == 1, 30)
    wait_until("each of the others was tried", lambda: len([m for m in s.listed() if any(r.get("reply") for r in m["recipients"])]) == len(ports), 60, 0.5)
    assert s.pids("sender") == senders, "a sender died"
    for message in s.listed():
        for recipient in message["recipients"]:
            assert recipient["status"] == "deferred", recipient
            assert all(0x20 <= ord(ch) < 0x7f for ch in recipient["reply"]), recipient["reply"]


def s_client(server, *arguments, port=None, text="QUIT\n"):
    if not shutil.which("openssl"):
        raise Skip("openssl is not installed")
    return run("openssl", "s_client", "-connect", "%s:%d" % (server.host, port or server.submissions), "-servername", server.hostname, *arguments, ok=False, input=text)


@case
def tls_versions_and_ciphers(world):
    """TLS 1.2 and 1.3 only, forward secrecy, no weak cipher, no compression, no renegotiation by the client, by STARTTLS and from the first byte."""
    s = world.server()
    for way in ((s.submissions, ()), (s.submission, ("-starttls", "smtp")), (s.mx, ("-starttls", "smtp"))):
        port, start = way
        for version in ("-tls1_2", "-tls1_3"):
            out = s_client(s, *start, version, port=port).stdout
            assert "Cipher is (NONE)" not in out and "Cipher is " in out, out
            assert "Compression: NONE" in out and "Secure Renegotiation IS supported" in out or version == "-tls1_3", out
        for version in ("-tls1", "-tls1_1"):
            out = s_client(s, *start, version, "-cipher", "ALL:@SECLEVEL=0", port=port).stdout
            assert "Cipher is (NONE)" in out, out
    for weak in ("NULL", "aNULL", "EXPORT", "LOW", "RC4", "3DES", "MD5", "kRSA", "PSK", "SRP", "CAMELLIA", "ARIA", "SEED", "IDEA"):
        out = s_client(s, "-tls1_2", "-cipher", weak + ":@SECLEVEL=0").stdout
        assert "Cipher is (NONE)" in out or "no cipher match" in out, (weak, out)
    out = s_client(s, "-tls1_2", text="R\nQUIT\n").stdout
    assert "RENEGOTIATING" in out and "221 " not in out, out
    ordinary = s_client(s, "-tls1_2", "-crlf", "-quiet", text="EHLO c.test\nQUIT\n").stdout
    assert "221 2.0.0" in ordinary and "250-" in ordinary, ordinary


@case
def tls_injection(world):
    """What a man in the middle puts behind STARTTLS in clear is not served under TLS, nor what a server says behind its 220 believed."""
    s = world.server()
    c, lines = greeted(s)
    with c:
        c.sendall(b"EHLO c.test\r\n")
        read_reply(lines)
        c.sendall(b"STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@s.test>\r\n")
        assert read_reply(lines).startswith("220 ")
        with s.tls_context().wrap_socket(c) as t:
            t.settimeout(1)
            with contextlib.suppress(ssl.SSLError, TimeoutError):
                early = t.recv(100)
                assert early == b"", early
            t.settimeout(20)
            t.sendall(b"NOOP\r\nMAIL FROM:<a@s.test>\r\n")
            under = t.makefile("rb")
            assert read_reply(under).startswith("250 2.0.0") and read_reply(under).startswith("503 "), "the session did not begin anew"
    listener = socket.create_server(("127.0.0.1", free_port()))
    world.cleanups.append(listener.close)

    def impostor():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as got, contextlib.suppress(OSError):
                    connection.sendall(b"220 hi\r\n")
                    got.readline()
                    connection.sendall(b"250-hi\r\n250 STARTTLS\r\n")
                    got.readline()
                    connection.sendall(b"220 go\r\n250 injected\r\n")
                    connection.recv(100)
    threading.Thread(target=impostor, daemon=True).start()
    out = run(s.veredus, "send", "--server", "127.0.0.1:%d" % listener.getsockname()[1], "--tls", "required", "--from", "a@s.test", "--to", "x@d.test",
              "--body", "x", ok=False)
    assert out.returncode != 0 and "in clear behind its reply to STARTTLS" in out.stdout, out.stdout


@case
def bare_lf_of_local_programs(world):
    """On submission, a client that is named may end its lines in LF; others, and port 25, may not."""
    port, other = free_port(), free_port()
    s = world.server(accounts=["ann@d.test"], head="submission { auth_in_clear = yes }", extra='listen "127.0.0.1:%d" { role = submission\n bare_lf = "127.0.0.0/8" }\n'
                     'listen "127.0.0.1:%d" { role = submission\n bare_lf = "192.0.2.1" }' % (port, other))
    login = base64.b64encode(b"\0ann@d.test\0" + PASSWORD.encode())
    dialogue = [b"EHLO c.test\n", b"AUTH PLAIN " + login + b"\n", b"MAIL FROM:<ann@d.test>\n", b"RCPT TO:<ann@d.test>\n", b"DATA\n",
                b"Subject: LF\n\none\n..two\n.\n", b"QUIT\n"]
    c, lines = greeted(s, port)
    with c:
        codes = []
        for step in dialogue:
            c.sendall(step)
            codes.append(read_reply(lines)[:3])
        assert codes == ["250", "235", "250", "250", "354", "250", "221"], codes
    (mail,) = s.wait_mail("ann@d.test")
    assert mail["Subject"] == "LF" and mail.get_payload() == "one\n.two\n", mail.as_string()
    for refusing in (other, s.mx):
        c, lines = greeted(s, refusing)
        with c:
            c.sendall(b"EHLO c.test\nNOOP\r\n")
            assert read_reply(lines).startswith("500 5.5.2")
