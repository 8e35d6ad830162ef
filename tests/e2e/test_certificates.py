"""Certificates: those of the tls sections follow their files while mail flows, SNI chooses among them, `veredus tls` tells what is loaded."""
import json
import os
import pwd
import smtplib
import ssl
import subprocess
import threading
import time

from harness import PASSWORD, accepts, case, free_port, kill, make_users, run, wait_until

POLL = 6  # the files are looked at every two seconds, twice


def make_certificate(world, name, *names, days=90, key="ec", expired=False, where=None):
    """A certificate of its own signature for these names; (certificate, key), below where or the world's folder."""
    folder = where or world.path("certs")
    os.makedirs(folder, exist_ok=True)
    chain, secret, request = (os.path.join(folder, name + part) for part in (".pem", ".key", ".csr"))
    kind = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"], "ed25519": ["ed25519"]}[key]
    san = "subjectAltName=" + ",".join("DNS:" + n for n in names)
    run("openssl", "req", "-new", "-newkey", *kind, "-nodes", "-keyout", secret, "-subj", "/CN=" + names[0], "-addext", san, "-out", request)
    run("openssl", "x509", "-req", "-in", request, "-signkey", secret, "-days", -1 if expired else days, "-copy_extensions", "copy", "-out", chain)
    os.chmod(secret, 0o600)
    return chain, secret


def install(pair, target):
    """As ACME clients do: written aside and renamed; the certificate first."""
    for source, to in zip(pair, target):
        with open(source, "rb") as f:
            data = f.read()
        with open(to + ".new", "wb") as f:
            f.write(data)
        os.chmod(to + ".new", 0o600)
        os.rename(to + ".new", to)


def fingerprint_of(path):
    return run("openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256").stdout.split("=")[1].strip()


def shown(server, name=None, port=None):
    """The fingerprint of what a new client is shown, by openssl s_client."""
    sni = ["-servername", name] if name else ["-noservername"]
    start = ["-starttls", "smtp"] if port is None else []
    out = run("openssl", "s_client", "-connect", "%s:%d" % (server.host, port or server.submission), *start, *sni, stdin=subprocess.DEVNULL, ok=False).stdout
    begin, end = out.find("-----BEGIN CERT"), out.find("-----END CERT")
    assert begin >= 0, out
    pem = server.world.write("seen.pem", out[begin:end] + "-----END CERTIFICATE-----\n")
    return fingerprint_of(pem)


def trusting_all():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def told(server, *arguments, ok=True):
    """What `veredus tls --json` says, and its exit code."""
    done = server.command("tls", "--json", "--config", server.config, *arguments, ok=ok)
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def tls_section(names, pair):
    return 'tls "%s" { certificate = "%s"\n key = "%s" }\n' % (names, *pair)


class Senders:
    """Clients that log in and send one message after the other, over TLS, until they are stopped; each keeps what was acknowledged."""

    def __init__(self, server, count=3):
        self.server, self.sent, self.errors, self.over = server, [], [], False
        self.threads = [threading.Thread(target=self.one, args=(i,)) for i in range(count)]
        for t in self.threads:
            t.start()

    def one(self, i):
        number = 0
        while not self.over:
            number += 1
            try:
                with smtplib.SMTP(self.server.host, self.server.submission, timeout=30) as c:
                    c.starttls(context=trusting_all())
                    c.login("ann@d.test", PASSWORD)
                    subject = "%d-%d" % (i, number)
                    c.sendmail("ann@d.test", ["bob@d.test"], "Subject: %s\n\nhello\n" % subject)
                    self.sent.append(subject)
            except (OSError, smtplib.SMTPException) as e:
                self.errors.append(repr(e))

    def stop(self):
        self.over = True
        for t in self.threads:
            t.join()


@case
def certificate_replaced_under_load(world):
    """A certificate that is replaced on disk is shown to new sessions; old ones go on, no message and no process is lost."""
    first, second = make_certificate(world, "first", "mail.test"), make_certificate(world, "second", "mail.test", key="rsa")
    live = (world.path("live.pem"), world.path("live.key"))
    install(first, live)
    s = world.server(accounts=["ann@d.test", "bob@d.test"], extra=tls_section("mail.test", live))
    assert shown(s) == fingerprint_of(first[0])
    receivers = set(s.pids("receiver"))
    with smtplib.SMTP(s.host, s.submission) as old:
        old.starttls(context=trusting_all())
        old.login("ann@d.test", PASSWORD)
        senders = Senders(s)
        wait_until("mail flows", lambda: len(senders.sent) > 5)
        install(second, live)
        wait_until("the new one is shown", lambda: shown(s) == fingerprint_of(second[0]), POLL + 10, 0.3)
        assert shown(s, port=s.submissions) == fingerprint_of(second[0])
        count = len(senders.sent)
        wait_until("mail flows on", lambda: len(senders.sent) > count + 5)
        senders.stop()
        assert not senders.errors, senders.errors[:3]
        assert old.noop()[0] == 250, "the session from before was dropped"
        old.sendmail("ann@d.test", ["bob@d.test"], "Subject: old\n\nhello\n")
    s.wait_empty()
    subjects = sorted(m["Subject"] for m in s.wait_mail("bob@d.test", len(senders.sent) + 1))
    assert subjects == sorted(senders.sent + ["old"])
    assert set(s.pids("receiver")) == receivers, "receivers were started anew"
    event, = s.events("tls.reloaded")
    assert event["certificate"] == live[0] and event["names"] == "mail.test" and "expires" in event, event
    # all receivers have it: the kernel spreads connections over them
    assert {shown(s) for _ in range(8)} == {fingerprint_of(second[0])}


@case
def broken_pair_keeps_the_old(world):
    """A key that does not belong to the certificate, half a file, a file that is gone: the old pair stays, also in a receiver that is started again."""
    first, second = make_certificate(world, "first", "mail.test"), make_certificate(world, "second", "mail.test")
    live = (world.path("live.pem"), world.path("live.key"))
    install(first, live)
    s = world.server(extra=tls_section("mail.test", live), processes=1)
    install((second[0], first[1]), live)
    wait_until("it is refused", lambda: len(s.events("tls.reload_refused")) == 1, POLL + 10)
    assert "key values mismatch" in s.events("tls.reload_refused")[0]["error"]
    assert shown(s) == fingerprint_of(first[0])
    listed, code = told(s, ok=False)
    assert code == 1 and any("keeps what it had" in p for p in listed[0]["problems"]), listed
    kill(next(iter(s.pids("receiver"))))
    wait_until("a receiver is there again", lambda: accepts(s.host, s.submission) and len(s.pids("receiver")) == 1)
    assert shown(s) == fingerprint_of(first[0]), "the receiver that was started again shows another one"
    with open(second[1]) as f:
        half = f.read()[:80]
    world.write("live.key", half)
    wait_until("half a key is refused", lambda: len(s.events("tls.reload_refused")) == 2, POLL + 10)
    assert "cannot use the private key" in s.events("tls.reload_refused")[1]["error"]
    os.unlink(live[1])
    wait_until("no key is refused", lambda: len(s.events("tls.reload_refused")) == 3, POLL + 10)
    assert "No such file" in s.events("tls.reload_refused")[2]["error"]
    assert not s.events("tls.reloaded") and shown(s) == fingerprint_of(first[0])
    install(second, live)
    wait_until("what was mended is shown", lambda: shown(s) == fingerprint_of(second[0]), POLL + 10, 0.3)
    listed, code = told(s, "--warn", "30")
    assert code == 0 and listed[0]["problems"] == [], listed
    time.sleep(POLL)
    assert len(s.events("tls.reload_refused")) == 3 and len(s.events("tls.reloaded")) == 1, "told more than once"


@case
def sni_with_two_certificates(world):
    """Each name gets its certificate; one of two is replaced, the other stays; the wildcard is behind the exact name."""
    pairs = {n: (world.path(n + ".pem"), world.path(n + ".key")) for n in ("a", "b")}
    install(make_certificate(world, "a", "a.test"), pairs["a"])
    install(make_certificate(world, "b", "b.test", "*.b.test"), pairs["b"])
    s = world.server(extra=tls_section("a.test", pairs["a"]) + tls_section("b.test *.b.test", pairs["b"]))
    a, b = fingerprint_of(pairs["a"][0]), fingerprint_of(pairs["b"][0])
    expected = {"a.test": a, "b.test": b, "mx.b.test": b, "c.test": a, None: a}
    assert {name: shown(s, name) for name in expected} == expected
    install(make_certificate(world, "b2", "b.test", "*.b.test", key="ed25519"), pairs["b"])
    fresh = fingerprint_of(pairs["b"][0])
    wait_until("b.test's is another", lambda: shown(s, "b.test") == fresh, POLL + 10, 0.3)
    expected.update({"b.test": fresh, "mx.b.test": fresh})
    assert {name: shown(s, name) for name in expected} == expected
    install(make_certificate(world, "a2", "a.test"), pairs["a"])
    first = fingerprint_of(pairs["a"][0])
    wait_until("the default is another", lambda: shown(s) == first, POLL + 10, 0.3)
    expected.update({"a.test": first, "c.test": first, None: first})
    assert {name: shown(s, name) for name in expected} == expected, "SNI is lost with the default's certificate"
    assert [e["certificate"] for e in s.events("tls.reloaded")] == [pairs["b"][0], pairs["a"][0]]


@case
def confined_receivers_get_it_too(world):
    """With users of their own and no file system, receivers are handed what root read; a key that only root may read is enough."""
    make_users()
    live, second = (world.path("live.pem"), world.path("live.key")), make_certificate(world, "second", "mail.test")
    install(make_certificate(world, "first", "mail.test"), live)
    s = world.server(extra=tls_section("mail.test", live), foreground=False, processes=1)
    pid, = s.pids("receiver")
    with open("/proc/%d/status" % pid) as f:
        assert "Uid:\t%d\t" % pwd.getpwnam("_veredus").pw_uid in f.read()
    install(second, live)
    wait_until("the new one is shown", lambda: shown(s) == fingerprint_of(second[0]), POLL + 10, 0.3)
    assert set(s.pids("receiver")) == {pid} and told(s, "--warn", "2")[0][0]["loaded"]


@case
def clients_are_asked_for_certificates_as_before(world):
    """A listener with `client_ca` asks its clients for certificates by the same authorities after the server's own was replaced."""
    live, port = (world.path("live.pem"), world.path("live.key")), free_port()
    install(make_certificate(world, "first", "mail.test"), live)
    ca, _ = make_certificate(world, "clients", "clients.test")
    s = world.server(head='listen "127.0.0.1:%d" { role = submissions\n client_ca = "%s" }' % (port, ca), extra=tls_section("mail.test", live))

    def asked():
        return run("openssl", "s_client", "-connect", "127.0.0.1:%d" % port, stdin=subprocess.DEVNULL, ok=False).stdout

    assert "Acceptable client certificate CA names" in asked() and "CN = clients.test" in asked()
    fresh = make_certificate(world, "second", "mail.test")
    install(fresh, live)
    wait_until("the new one is shown", lambda: shown(s, port=port) == fingerprint_of(fresh[0]), POLL + 10, 0.3)
    assert "Acceptable client certificate CA names" in asked() and "CN = clients.test" in asked()


@case
def tls_tells_what_is_loaded(world):
    """`veredus tls`: names, issuer, key, dates, TLSA; expiry by --warn; a chain that is cut; from files when the server does not run."""
    short = make_certificate(world, "short", "short.test", days=10, key="rsa")
    ed = make_certificate(world, "ed", "ed.test", "www.ed.test", key="ed25519")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", world.path("ca.key"), "-out", world.path("ca.pem"), "-subj", "/CN=Test CA")
    run("openssl", "x509", "-req", "-in", world.path("certs", "ed.csr"), "-CA", world.path("ca.pem"), "-CAkey", world.path("ca.key"), "-CAcreateserial",
        "-days", "400", "-copy_extensions", "copy", "-out", ed[0])
    s = world.server(extra=tls_section("short.test other.test", short) + tls_section("ed.test", ed))
    (one, two), code = told(s, ok=False)
    assert code == 1 and one["loaded"] and two["loaded"], (one, two)
    assert one["names"] == ["short.test"] and one["key_type"] == "RSA 2048" and one["self_signed"] and one["days_left"] in (9, 10), one
    assert any("expires in" in p for p in one["problems"]) and any("not for other.test" in p for p in one["problems"]), one
    assert two["names"] == ["ed.test", "www.ed.test"] and two["key_type"] == "Ed25519" and two["issuer"] == "CN=Test CA" and not two["self_signed"], two
    assert any("(Test CA) is neither in the file nor trusted" in p for p in two["problems"]), two
    spki = run("sh", "-c", "openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum" % ed[0]).stdout.split()[0]
    assert two["tlsa"] == [3, 1, 1, spki] and two["sha256"].upper() == fingerprint_of(ed[0]).replace(":", ""), two
    assert not any("expires in" in p for p in told(s, "--warn", "2", ok=False)[0][0]["problems"])
    text = s.command("tls", "--config", s.config, ok=False).stdout
    assert "PROBLEM  it expires in" in text and "TLSA     3 1 1 " + spki in text and "key      Ed25519" in text, text
    assert len(s.events("tls.expires_soon")) == 1, s.log()
    from_files, _ = told(s, "--files", ok=False)
    assert [c["loaded"] for c in from_files] == [False, False]
    s.stop()
    stopped, code = told(s, ok=False)
    assert code == 1 and [c["sha256"] for c in stopped] == [c["sha256"] for c in from_files] and not stopped[0]["loaded"]
    assert s.command("tls", "--warn", "soon", ok=False).returncode == 64
    assert s.command("tls", "--config", world.path("none"), ok=False).returncode == 78


@case
def self_signed_is_told_too(world):
    """Without a tls section the one that was made at the first start is what is loaded; it is no problem of its own."""
    s = world.server()
    listed, code = told(s)
    assert code == 0 and listed[0]["self_signed"] and listed[0]["section"] == "" and "pins it by DANE" in listed[0]["note"], listed


@case
def check_warns_of_an_expired_certificate(world):
    """`veredus check` warns, `veredus tls` calls it a problem, and the server starts all the same, with an event."""
    pair = make_certificate(world, "old", "mail.test", expired=True)
    s = world.server(extra=tls_section("mail.test", pair))
    out = s.command("check", s.config)
    assert "warning: the certificate %s has expired on" % pair[0] in out.stdout, out.stdout
    assert len(s.events("tls.expired")) == 1
    listed, code = told(s, ok=False)
    assert code == 1 and any("it has expired" in p for p in listed[0]["problems"]) and listed[0]["days_left"] < 0, listed
