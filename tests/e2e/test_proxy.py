"""Proxies before the server and filters behind others: HAProxy with the PROXY protocol."""
import contextlib
import shutil
import smtplib
import socket
import ssl

from harness import PASSWORD, Skip, accepts, case, free_port, wait_until

HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""


def haproxy(world, servers):
    """Starts HAProxy with a listener for each (port, options of its server line); returns their ports."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not program:
        raise Skip("haproxy is not installed")
    text, ports = HAPROXY, []
    for i, (port, options) in enumerate(servers):
        ports.append(free_port())
        text += "listen l%d\n    bind 127.0.0.1:%d\n    server s 127.0.0.1:%d %s\n" % (i, ports[-1], port, options)
    world.start("haproxy", [program, "-db", "-f", world.write("haproxy.cfg", text)])
    for port in ports:
        wait_until("haproxy listens", lambda: accepts("127.0.0.1", port))
    return ports


def proxied_server(world, **options):
    """A veredus whose listeners behind its proxies have their own ports: (server, mx, submissions)."""
    mx, submissions = free_port(), free_port()
    head = ('listen "127.0.0.1:%d" { role = mx proxy = { "127.0.0.1" } }\nlisten "127.0.0.1:%d" { role = submissions proxy = "127.0.0.1" }\n'
            'log { level = debug }\n%s' % (mx, submissions, options.pop("head", "")))
    return world.server(head=head, accounts=["ann@d.test"], **options), mx, submissions


@case
def haproxy_names_its_clients(world):
    """Through HAProxy, by both versions of the PROXY protocol, in clear and before a TLS handshake, the client is whoever came to HAProxy."""
    s, mx, submissions = proxied_server(world, head='trusted = { "127.0.0.7" }')
    v1, v2, crc, tls1, tls2 = haproxy(world, [
        (mx, "send-proxy"), (mx, "send-proxy-v2"), (mx, "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl,cert-cn"),
        (submissions, "send-proxy"), (submissions, "send-proxy-v2 proxy-v2-options crc32c")])
    for i, port in enumerate((v1, v2, crc)):
        client = "127.0.0.%d" % (20 + i)
        with smtplib.SMTP("127.0.0.1", port, source_address=(client, 0)) as c:
            c.sendmail("x@elsewhere.test", "ann@d.test", "Subject: %d\r\n\r\nhello\r\n" % i)
        mails = {m["Subject"]: m for m in s.wait_mail("ann@d.test", i + 1)}
        assert "([%s])" % client in mails[str(i)]["Received"], mails[str(i)]["Received"]
        assert s.events("message.accepted")[i]["client"] == client
    for i, port in enumerate((tls1, tls2)):
        client = "127.0.0.%d" % (30 + i)
        with smtplib.SMTP_SSL("127.0.0.1", port, source_address=(client, 0), context=s.tls_context()) as c:
            with contextlib.suppress(smtplib.SMTPAuthenticationError):
                c.login("ann@d.test", "wrong")
            c.login("ann@d.test", PASSWORD)
            c.sendmail("ann@d.test", "ann@d.test", "Subject: tls %d\r\n\r\nhello\r\n" % i)
        mails = {m["Subject"]: m for m in s.wait_mail("ann@d.test", 4 + i)}
        received = mails["tls %d" % i]["Received"]
        assert "([%s])" % client in received and "ESMTPSA" in received, received
    # the trusted address may relay, the others may not
    for client, expected in (("127.0.0.7", 250), ("127.0.0.8", 554)):
        with smtplib.SMTP("127.0.0.1", v2, source_address=(client, 0)) as c:
            c.ehlo("client.test")
            c.mail("x@elsewhere.test")
            assert c.rcpt("y@elsewhere.test")[0] == expected, client
    versions = {(e["client"], e["version"]) for e in s.events("proxy.client")}
    assert {("127.0.0.20", "1"), ("127.0.0.21", "2"), ("127.0.0.22", "2"), ("127.0.0.30", "1"), ("127.0.0.31", "2")} <= versions, versions


@case
def haproxy_checks_health(world):
    """HAProxy's own health checks speak for HAProxy (LOCAL): the server is up, and they are nobody's connections."""
    s, mx, _ = proxied_server(world)
    port, = haproxy(world, [(mx, "send-proxy-v2 check check-send-proxy inter 200ms")])
    wait_until("a health check", lambda: any(e.get("command") == "local" for e in s.events("proxy.client")))
    with smtplib.SMTP("127.0.0.1", port, source_address=("127.0.0.9", 0)) as c:
        assert c.ehlo("client.test")[0] == 250
    assert {e["client"] for e in s.events("proxy.client") if e.get("command") == "local"} == {"127.0.0.1"}
    assert s.events("proxy.failed") == []


@case
def proxies_only(world):
    """Where proxies are named, nobody else is heard; a proxy that says nothing, or nonsense, is cut off."""
    s, mx, submissions = proxied_server(world)
    with socket.create_connection((s.host, mx), source_address=("127.0.0.3", 0)) as c:
        c.sendall(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n")
        assert c.recv(1000).startswith(b"554 ")
    with socket.create_connection((s.host, submissions), source_address=("127.0.0.3", 0)) as c:
        assert c.recv(1000) == b""
    for nonsense in (b"EHLO client.test\r\n", b"\x16\x03\x01\x02\x00\x01", b"PROXY TCP4 ::1 ::1 1 2\r\n"):
        with socket.create_connection((s.host, mx)) as c:
            c.sendall(nonsense)
            with contextlib.suppress(ConnectionResetError):
                assert c.recv(1000) == b""
    wait_until("all is told", lambda: len(s.events("proxy.failed")) >= 3)
    reasons = [e["error"] for e in s.events("proxy.failed")]
    assert len(reasons) == 3 and "does not begin" in reasons[0] and "address" in reasons[2], reasons
    with socket.create_connection((s.host, submissions)) as c:  # a header, and then no handshake
        c.sendall(b"PROXY UNKNOWN\r\nEHLO in clear\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"220" not in c.recv(1000)
    wait_until("the handshake fails", lambda: s.events("tls.failed"))
    with socket.create_connection((s.host, mx), timeout=30) as c:
        assert c.recv(1000) == b""
    assert "10 seconds" in s.events("proxy.failed")[-1]["error"]
    assert len(s.events("proxy.refused")) == 2
    # a handshake in pieces behind the header, in one write with its first bytes
    context, incoming, outgoing = s.tls_context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with socket.create_connection((s.host, submissions), timeout=30) as c:
        first = b"PROXY TCP4 127.0.0.44 127.0.0.1 1 25\r\n"
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                greeting = tls.read()
                break
            c.sendall(first + outgoing.read())
            first = b""
            incoming.write(c.recv(16384))
        assert greeting.startswith(b"220 "), greeting
