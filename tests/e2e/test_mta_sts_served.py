"""`listen … { role = mta-sts }`: policies of our own domains by HTTPS, to curl and to Python, and to those who mean no good."""
import http.client
import os
import pwd
import shutil
import socket
import ssl

from harness import case, free_port, make_users, nsd, run, wait_until
from test_certificates import install, make_certificate, tls_section

PATH = "/.well-known/mta-sts.txt"
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mail.d.test\r\nmax_age: 604800\r\n"


def served(world, domains=None, extra="", **options):
    """A server with an HTTPS listener, and certificates for the policy hosts of d.test and e.test."""
    port = free_port()
    pairs = {n: make_certificate(world, n, "mta-sts.%s.test" % n) for n in ("d", "e")}
    pairs["mail"] = make_certificate(world, "mail", "mail.d.test")
    s = world.server(hostname="mail.d.test", domains=domains or {"d.test": "mta_sts = enforce", "e.test": "mta_sts = testing\n mx = { \"mx.e.test\" }",
                                                                 "none.test": ""},
                     head='listen "127.0.0.1:%d" { role = mta-sts }' % port,
                     extra=tls_section("mail.d.test", pairs["mail"]) +
                     "".join(tls_section("mta-sts.%s.test" % n, pairs[n]) for n in ("d", "e")) + extra, **options)
    return s, port, pairs


def curl(port, host, path=PATH, ca=None, *arguments):
    trust = ["--cacert", ca] if ca else ["-k"]
    return run("curl", "-sS", "-i", "--noproxy", "*", "--resolve", "%s:%d:127.0.0.1" % (host, port), *trust, *arguments,
               "https://%s:%d%s" % (host, port, path), ok=False)


def raw(port, data, seconds=15):
    """What the server answers to these bytes, over TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), seconds) as plain, context.wrap_socket(plain, server_hostname="mta-sts.d.test") as s:
        s.sendall(data)
        out = b""
        while True:
            try:
                more = s.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                more = b""
            if not more:
                return out
            out += more


@case
def policies_are_served_to_curl_and_python(world):
    """Each domain's policy under its own certificate, by SNI; 404 for the rest; HEAD; the listener is announced; a certificate is replaced without a restart."""
    s, port, pairs = served(world)
    assert shutil.which("curl"), "curl is needed"
    assert s.events("server.ready")[0]["mta_sts"] == "127.0.0.1:%d" % port
    out = curl(port, "mta-sts.d.test", PATH, pairs["d"][0])
    assert out.returncode == 0, out.stdout
    head, body = out.stdout.replace("\r\n", "\n").split("\n\n", 1)
    assert head.startswith("HTTP/1.1 200 OK") and "Content-Type: text/plain" in head and "GMT" in head, head
    assert body == POLICY.replace("\r\n", "\n"), body
    other = curl(port, "mta-sts.e.test", PATH, pairs["e"][0]).stdout
    assert "mode: testing" in other and "mx: mx.e.test" in other, other
    for host, path in (("mta-sts.none.test", PATH), ("mta-sts.x.test", PATH), ("d.test", PATH), ("mta-sts.d.test", "/"),
                       ("mta-sts.d.test", PATH + "?x"), ("mta-sts.d.test", "/../etc/passwd"), ("mta-sts.d.test", "/.well-known//mta-sts.txt")):
        assert " 404 " in curl(port, host, path, None, "--path-as-is").stdout.splitlines()[0], (host, path)
    context = ssl.create_default_context(cafile=pairs["d"][0])
    c = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    c.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="mta-sts.d.test")
    c.request("GET", PATH, headers={"Host": "mta-sts.d.test"})
    answer = c.getresponse()
    assert answer.status == 200 and answer.read().decode() == POLICY and answer.getheader("Connection") == "close"
    done = raw(port, b"HEAD %s HTTP/1.1\r\nHost: MTA-STS.D.TEST.\r\n\r\n" % PATH.encode())
    assert done.startswith(b"HTTP/1.1 200") and done.endswith(b"\r\n\r\n") and b"Content-Length: %d" % len(POLICY) in done, done
    assert {e["host"] for e in s.events("policy.served")} >= {"mta-sts.d.test", "mta-sts.e.test"}
    fresh = make_certificate(world, "d2", "mta-sts.d.test")
    install(fresh, pairs["d"])
    wait_until("the new certificate is shown", lambda: curl(port, "mta-sts.d.test", PATH, fresh[0]).returncode == 0, 15, 0.3)
    assert len(s.pids("web")) == 1 and not s.events("process.died")


@case
def strangers_who_mean_no_good(world):
    """What is no request of HTTP has an error or nothing; slow ones and many ones are cut off, and do not keep others from the policy."""
    s, port, _ = served(world)
    good = b"GET %s HTTP/1.1\r\nHost: mta-sts.d.test\r\n\r\n" % PATH.encode()
    for data, status in ((b"POST / HTTP/1.1\r\nHost: mta-sts.d.test\r\n\r\n", b"405"), (b"GET / HTTP/2.0\r\n\r\n", b"505"), (b"\r\n\r\n", b"400"),
                         (b"GET %s HTTP/1.1\r\n\r\n" % PATH.encode(), b"400"), (b"\x00" * 100 + b"\r\n\r\n", b"400"),
                         (b"GET %s HTTP/1.1\r\nHost: mta-sts.d.test\r\nHost: x\r\n\r\n" % PATH.encode(), b"400"),
                         (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"431"), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
                         (good + good, b"200")):
        out = raw(port, data)
        assert out.startswith(b"HTTP/1.1 " + status), (data[:40], out[:80])
        assert out.count(b"HTTP/1.1") == 1, "one answer a connection"
    with socket.create_connection(("127.0.0.1", port)) as plain:  # no TLS
        plain.sendall(good)
        plain.settimeout(15)
        assert b"STSv1" not in plain.recv(4096)
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]  # 16 of them may stay, for 10 s
    wait_until("one address does not take all there is", lambda: sum(closed(c) for c in idle) >= 24, 10)
    from_elsewhere = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(from_elsewhere, server_hostname="mta-sts.d.test") as c:
        c.sendall(good)
        assert b"200 OK" in c.recv(4096)
    wait_until("the others are cut off after 10 s", lambda: all(closed(c) for c in idle), 20, 0.3)
    for c in idle:
        c.close()
    assert raw(port, good).startswith(b"HTTP/1.1 200") and not s.events("process.died")


def closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@case
def behind_a_reverse_proxy_in_clear(world):
    """`tls = no` on loopback: plain HTTP, the Host that the proxy hands on decides; a UNIX socket does too."""
    port, path = free_port(), world.path("web.sock")
    s = world.server(hostname="mail.d.test", domains={"d.test": "mta_sts = enforce"},
                     head='listen "127.0.0.1:%d" { role = mta-sts\n tls = no }\nlisten "unix:%s" { role = mta-sts\n tls = no }' % (port, path))
    c = http.client.HTTPConnection("127.0.0.1", port)
    c.request("GET", PATH, headers={"Host": "mta-sts.d.test"})
    assert c.getresponse().read().decode() == POLICY
    with socket.socket(socket.AF_UNIX) as u:
        u.connect(path)
        u.sendall(b"GET %s HTTP/1.0\r\nHost: mta-sts.d.test\r\n\r\n" % PATH.encode())
        u.settimeout(10)
        assert b"200 OK" in u.recv(4096)
    wrong = world.write("wrong.conf", 'hostname = "h.test"\nlisten "192.0.2.1:80" { role = mta-sts\n tls = no }\n'
                        'listen ":25" { tls = no }\ndomain "d.test" { }\n')
    out = s.command("check", wrong, ok=False).stdout
    assert "wrong.conf:3: `tls` is no on an address that others reach" in out and "wrong.conf:4: `tls` is for role = mta-sts" in out, out
    assert "no domain has one" in out, out


@case
def a_reload_changes_the_policy(world):
    """SIGHUP with another mode: the new policy is served by the same address; nobody is refused meanwhile. Without such a listener the process goes."""
    s, port, _ = served(world)
    s.domains["d.test"] = "mta_sts = testing"
    s.write_config()
    os.kill(s.program.pid, 1)
    good = b"GET %s HTTP/1.1\r\nHost: mta-sts.d.test\r\n\r\n" % PATH.encode()
    wait_until("the new policy is served", lambda: b"mode: testing" in raw(port, good), 20, 0.2)
    wait_until("the old process is gone", lambda: len(s.pids("web")) == 1, 20)
    s.head = ""
    s.write_config()
    os.kill(s.program.pid, 1)
    wait_until("there is none", lambda: not s.pids("web"), 20)


@case
def dns_check_is_content_with_what_is_served(world):
    """The policy that the server itself serves is what `veredus dns check` fetches, and the alias for its host is among the records."""
    dns = free_port()
    s, port, pairs = served(world, extra='sending { source = "10.1.2.3" }\ndns { servers = "127.0.0.1@%d" }' % dns)
    printed = s.command("dns", "d.test", "--config", s.config).stdout
    assert "mta-sts.d.test. 3600 IN CNAME mail.d.test." in printed and "this server serves the policy" in printed, printed
    # the host has a public address there, and this server is on loopback
    nsd(world, {"d.test": printed.replace("mta-sts.d.test. 3600 IN CNAME mail.d.test.", "mta-sts.d.test. 3600 IN A 127.0.0.1"),
                "10.in-addr.arpa": "3.2.1 PTR mail.d.test."}, dns)
    trusted = world.write("trusted.pem", open(pairs["d"][0]).read() + open(pairs["mail"][0]).read())
    out = s.command("dns", "check", "d.test", "--config", s.config, "--ca", trusted, "--policy-port", str(port), ok=False).stdout
    assert "ok       MTA-STS  https://mta-sts.d.test:%d%s: mode enforce, for 604800 s" % (port, PATH) in out, out
    assert "0 missing, 0 wrong" in out, out


@case
def it_runs_without_privileges(world):
    """As root: the web process is another user, has no file system, and may make no sockets."""
    make_users()
    uid = pwd.getpwnam("_veredus").pw_uid
    s, port, _ = served(world, foreground=False)
    pid, = s.pids("web")
    status = open("/proc/%d/status" % pid).read()
    assert "Uid:\t%d\t%d" % (uid, uid) in status and "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status, status
    assert raw(port, b"GET %s HTTP/1.1\r\nHost: mta-sts.d.test\r\n\r\n" % PATH.encode()).startswith(b"HTTP/1.1 200")
