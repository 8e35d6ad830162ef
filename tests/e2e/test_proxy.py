"""Proxies before the server and filters behind others: HAProxy with the PROXY protocol, swaks with XCLIENT, Postfix with XFORWARD."""
import contextlib
import shutil
import smtplib
import socket
import ssl

from harness import PASSWORD, Skip, accepts, case, free_port, postfix, run, wait_until

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
    wait_until("the reason is told", lambda: any("10 seconds" in f["error"] for f in s.events("proxy.failed")))
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


def swaks(server, port, *arguments, ok=True):
    if not shutil.which("swaks"):
        raise Skip("swaks is not installed")
    return run("swaks", "--server", server.host, "--port", port, "--helo", "client.test", *arguments, ok=ok)


@case
def swaks_says_xclient(world):
    """swaks as a proxy: whom it names by XCLIENT is the client, its login too; without the grant nothing changes."""
    s = world.server(accounts=["ann@d.test"], head='xclient = "127.0.0.1"\ntrusted = "192.0.2.0/24"')
    mx = ["--from", "x@elsewhere.test", "--to", "y@elsewhere.test"]
    swaks(s, s.mx, "--xclient-addr", "192.0.2.7", "--xclient-name", "host.example", "--xclient-helo", "helo.example", "--quit-after", "RCPT", *mx)
    stranger = swaks(s, s.mx, "--xclient-addr", "198.51.100.7", *mx, ok=False)
    assert "554 5.7.1" in stranger.stdout, stranger.stdout
    v6 = swaks(s, s.mx, "--xclient-addr", "IPV6:2001:db8::7", "--xclient-name", "[UNAVAILABLE]", "--from", "x@elsewhere.test", "--to", "ann@d.test")
    assert "220 veredus.test ESMTP" in v6.stdout.split("XCLIENT ", 1)[1], v6.stdout
    (mail,) = s.wait_mail("ann@d.test")
    assert "([IPv6:2001:db8::7])" in mail["Received"], mail["Received"]
    swaks(s, s.submission, "--tls", "--xclient", "LOGIN=ann@d.test ADDR=203.0.113.9", "--from", "ann@d.test", "--to", "ann@d.test")
    mails = s.wait_mail("ann@d.test", 2)
    assert any("([203.0.113.9])" in m["Received"] and "ESMTPSA" in m["Received"] for m in mails), [m["Received"] for m in mails]
    assert {"client": "203.0.113.9", "proxy": "127.0.0.1", "user": "ann@d.test"} in s.events("xclient.client"), s.events("xclient.client")
    closed = world.server("closed", accounts=["ann@d.test"], head='trusted = "127.0.0.1"')
    denied = swaks(closed, closed.mx, "--xclient-addr", "192.0.2.7", "--xclient-optional", "--from", "x@elsewhere.test", "--to", "ann@d.test", ok=False)
    assert "did not advertise XCLIENT" in denied.stdout and "queued as" in denied.stdout, denied.stdout
    with smtplib.SMTP(closed.host, closed.mx) as c:
        c.ehlo("client.test")
        assert not c.has_extn("xclient") and not c.has_extn("xforward")
        assert c.docmd("XCLIENT", "ADDR=192.0.2.7")[0] == 550 and c.docmd("XFORWARD", "ADDR=192.0.2.7")[0] == 550


@case
def postfix_says_xforward(world):
    """Postfix as the filter before us: whose mail it hands on is in the log and in Received, as Postfix's XFORWARD says."""
    s = world.server(accounts=["ann@d.test"], head='xforward = "127.0.0.1"')
    relay = postfix(world, "relay_domains = d.test\nrelay_transport = smtp:[127.0.0.1]:%d\nrelay_recipient_maps =\nsmtp_send_xforward_command = yes" % s.mx)
    with smtplib.SMTP("127.0.0.1", relay, source_address=("127.0.0.77", 0), local_hostname="helo(77).test") as c:
        c.sendmail("x@p.test", ["ann@d.test"], b"Subject: forwarded\r\n\r\nhello\r\n")
    (mail,) = s.wait_mail("ann@d.test", seconds=60)
    received = mail.get_all("Received")[0]
    identity = mail.get_all("Received")[1].split(" id ", 1)[1].split(";")[0].split()[0]
    assert "(forwarded for [127.0.0.77] helo helo?77?.test id %s)" % identity in received.replace("unknown ", ""), received
    assert "([127.0.0.1])" in received, received
    (event,) = s.events("message.accepted")
    assert event["forwarded_client"] == "127.0.0.77" and event["forwarded_id"] == identity and event["client"] == "127.0.0.1", event
