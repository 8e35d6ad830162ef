"""AUTH with the programs of others and over real TLS: SCRAM and its channel binding, client certificates, CRAM-MD5, tokens, somebody between."""
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import smtplib
import socket
import sqlite3
import ssl
import threading
import time

from harness import PASSWORD, Skip, Sink, case, run, wait_until

PLUS = "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS "
SCRAM = "SCRAM-SHA-256 SCRAM-SHA-1"
USER = "ann@d.test"


def offered(connection):
    """The mechanisms in the EHLO reply."""
    connection.ehlo("client.test")
    return connection.esmtp_features.get("auth", "").strip()


def tls(server, version=None, certificate=None):
    context = server.tls_context()
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def submissions(server, **options):
    return smtplib.SMTP_SSL(server.host, server.submissions, context=tls(server, **options))


def failures(server):
    return [e["reason"] for e in server.events("auth.failed")]


def logins(server):
    return [(e["user"], e["mechanism"]) for e in server.events("auth.ok")]


def authority(world, name="users"):
    """A certificate authority of the test's own: its certificate, and a function that makes a client's pair."""
    key, certificate = world.path(name + "-ca.key"), world.path(name + "-ca.pem")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=" + name,
        "-keyout", key, "-out", certificate)

    def issue(common_name, alternative=None):
        base = world.path("%s-%d" % (name, len(os.listdir(world.folder))))
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + common_name, "-keyout",
            base + ".key", "-out", base + ".csr")
        extensions = world.write(os.path.basename(base) + ".ext", "extendedKeyUsage=clientAuth\n" +
                                 ("subjectAltName=%s\n" % alternative if alternative else ""))
        run("openssl", "x509", "-req", "-in", base + ".csr", "-CA", certificate, "-CAkey", key, "-CAcreateserial", "-days", "2", "-extfile",
            extensions, "-out", base + ".pem")
        return base + ".pem", base + ".key"
    return certificate, issue


def with_clients(world, ca, **options):
    """A server whose listeners for users ask clients for certificates of this authority."""
    s = world.server(start=False, **options)
    for port in (s.submission, s.submissions):
        s.config = world.write(s.name + ".conf", open(s.config).read().replace(
            '%d" { role' % port, '%d" { client_ca = "%s"\n role' % (port, ca)))
    for address in (USER, "bob@d.test"):
        s.add_account(address)
    return s.start()


# ---- what is offered ------------------------------------------------------------------------------------------------------------

@case
def mechanisms_are_offered_where_they_work(world):
    """In clear nothing, under TLS what can work there, -PLUS with something to bind to; CRAM-MD5 and EXTERNAL only where asked for."""
    s = world.server(accounts=[USER])
    with smtplib.SMTP(s.host, s.submission) as c:
        assert offered(c) == "", c.esmtp_features
        assert c.docmd("AUTH", "SCRAM-SHA-256 biws")[0] == 538
        c.starttls(context=s.tls_context())
        assert offered(c) == PLUS + SCRAM + " PLAIN LOGIN", c.esmtp_features
        assert c.docmd("AUTH", "CRAM-MD5")[0] == 504 and c.docmd("AUTH", "EXTERNAL =")[0] == 504
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with submissions(s, version=version) as c:
            assert offered(c) == PLUS + SCRAM + " PLAIN LOGIN", (version, c.esmtp_features)
    with smtplib.SMTP(s.host, s.mx) as c:
        c.starttls(context=s.tls_context())
        assert offered(c) == "", c.esmtp_features
    named = world.server("named", extra='authentication { mechanisms = { PLAIN, "CRAM-MD5" } }')
    with submissions(named) as c:
        assert offered(c) == "PLAIN CRAM-MD5", c.esmtp_features
        assert c.docmd("AUTH", "SCRAM-SHA-256 biws")[0] == 504


# ---- swaks and smtplib ------------------------------------------------------------------------------------------------------------

@case
def passwords_by_swaks_and_smtplib(world):
    """PLAIN, LOGIN and CRAM-MD5 with swaks and smtplib, by STARTTLS and by implicit TLS; wrong passwords are 535."""
    if not shutil.which("swaks"):
        raise Skip("swaks is not installed")
    s = world.server(accounts=[USER], extra='authentication { mechanisms += { "CRAM-MD5" } }')
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        for way in (["--port", s.submission, "--tls"], ["--port", s.submissions, "--tls-on-connect"]):
            for password, good in ((PASSWORD, True), ("wrong", False)):
                done = run("swaks", "--server", s.host, "--helo", "client.test", *way, "--auth", mechanism, "--auth-user", USER,
                           "--auth-password", password, "--quit-after", "AUTH", ok=False)
                assert ("235 2.7.0" in done.stdout) == good and ("535 5.7.8" in done.stdout) != good, done.stdout
    for way in ("starttls", "implicit"):
        for method in ("auth_plain", "auth_login", "auth_cram_md5"):
            c = smtplib.SMTP(s.host, s.submission) if way == "starttls" else submissions(s)
            with c:
                if way == "starttls":
                    c.starttls(context=s.tls_context())
                c.ehlo("client.test")
                c.user, c.password = USER, PASSWORD
                name = method[5:].upper().replace("_", "-")
                code, text = c.auth(name, getattr(c, method))
                assert code == 235, (name, code, text)
    assert sorted(set(logins(s))) == [(USER, m) for m in ("CRAM-MD5", "LOGIN", "PLAIN")], logins(s)


@case
def smtplib_sequence(world):
    """AUTH twice, within a transaction, cancelled, with what is not base64, by a mechanism that is none; the session goes on."""
    s = world.server(accounts=[USER])
    with submissions(s) as c:
        c.ehlo("client.test")
        assert c.docmd("AUTH", "PLAIN")[0] == 334 and c.docmd("*")[0] == 501
        assert c.docmd("AUTH", "LOGIN")[0] == 334 and c.docmd("!")[0] == 501
        assert c.docmd("AUTH", "NTLM")[0] == 504
        assert c.mail(USER)[0] == 530
        assert c.login(USER, PASSWORD)[0] == 235
        assert c.docmd("AUTH", "PLAIN AGE=")[0] == 503
        assert c.mail(USER)[0] == 250
        assert c.docmd("AUTH", "PLAIN AGE=")[0] == 503
        assert c.rcpt(USER)[0] == 250


@case
def cram_md5_needs_its_keys(world):
    """An account has keys of CRAM-MD5 only when its password was set while that was named; without, it looks like a wrong password."""
    s = world.server(accounts=[USER], start=False)
    s.extra = 'authentication { mechanisms += { "CRAM-MD5" } }'
    s.config = s.write_config()
    s.add_account("bob@d.test")
    s.start()

    def cram(user):
        with submissions(s) as c:
            c.ehlo("client.test")
            c.user, c.password = user, PASSWORD
            try:
                return c.auth("CRAM-MD5", c.auth_cram_md5)[0]
            except smtplib.SMTPAuthenticationError as e:
                return e.smtp_code
    assert (cram(USER), cram("bob@d.test"), cram("nobody@d.test")) == (535, 235, 535)
    s.command("account", "password", USER, "--config", s.config, "--password-stdin", input=PASSWORD + "\n")
    assert cram(USER) == 235
    with sqlite3.connect(os.path.join(s.state, "accounts.db")) as db:
        rows = dict(db.execute("SELECT address, length(cram_keys) FROM account"))
    assert rows == {USER: 32, "bob@d.test": 32}, rows


# ---- GNU SASL -----------------------------------------------------------------------------------------------------------------------

def gsasl(server, mechanism, *arguments, password=PASSWORD, user=USER, version=None, bind=None, port=None):
    """Logs in with GNU SASL's client. bind False: it does as if it could not bind the channel."""
    if not shutil.which("gsasl"):
        raise Skip("gsasl is not installed")
    if bind is None:
        bind = mechanism.endswith("-PLUS")
    options = ["--priority", "NORMAL:-VERS-ALL:+VERS-" + version] if version else []
    return run("gsasl", "--smtp", "--verbose", "--connect", "%s:%d" % (server.host, port or server.submission), "-m", mechanism,
               "--x509-ca-file", server.ca(), "-a", user, "-z", "", "-p", password, *options, *([] if bind else ["--no-cb"]), *arguments,
               ok=False, input="")


@case
def gsasl_scram(world):
    """GNU SASL: SCRAM-SHA-1 and SCRAM-SHA-256, and -PLUS by tls-exporter (TLS 1.3) and tls-unique (TLS 1.2); wrong passwords are 535."""
    s = world.server(accounts=[USER])
    mechanisms = (PLUS + SCRAM).split()
    for version, binding in (("TLS1.3", b"p=tls-exporter,"), ("TLS1.2", b"p=tls-unique,")):
        for mechanism in mechanisms:
            done = gsasl(s, mechanism, version=version)
            assert done.returncode == 0 and "235 2.7.0" in done.stdout, done.stdout
            assert "server trusted" in done.stdout, done.stdout  # the server has proved itself
            if mechanism.endswith("-PLUS"):
                assert base64.b64encode(binding)[:16].decode() in done.stdout, done.stdout
    for mechanism in mechanisms:
        for user, password in ((USER, "wrong"), ("nobody@d.test", PASSWORD)):
            done = gsasl(s, mechanism, user=user, password=password)
            assert done.returncode != 0 and "535 5.7.8" in done.stdout, done.stdout
    assert logins(s) == 2 * [(USER, m) for m in mechanisms], logins(s)


@case
def gsasl_other_mechanisms(world):
    """GNU SASL: PLAIN, LOGIN, CRAM-MD5."""
    s = world.server(accounts=[USER], extra='authentication { mechanisms += { "CRAM-MD5" } }')
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        done = gsasl(s, mechanism)
        assert done.returncode == 0 and "235 2.7.0" in done.stdout, done.stdout
        done = gsasl(s, mechanism, password="wrong")
        assert done.returncode != 0 and "535 5.7.8" in done.stdout, done.stdout


# ---- client certificates --------------------------------------------------------------------------------------------------------------

def external(server, certificate, authzid="", **options):
    """The reply to AUTH EXTERNAL, or None when it is not offered."""
    with submissions(server, certificate=certificate, **options) as c:
        if "EXTERNAL" not in offered(c).split():
            return None
        return c.docmd("AUTH", "EXTERNAL " + (base64.b64encode(authzid.encode()).decode() or "="))[0]


@case
def certificates_log_in(world):
    """EXTERNAL is offered to a client whose certificate names an account, and logs in as that; any other client is served as before."""
    ca, issue = authority(world)
    other_ca, other_issue = authority(world, "others")
    s = with_clients(world, ca)
    ann = issue("Ann", "email:Ann@d.test")
    both = issue("Both", "email:nobody@d.test,email:%s,DNS:x.test,email:bob@d.test" % USER)
    by_name = issue("bob@d.test")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert external(s, ann, version=version) == 235
    assert external(s, ann, USER) == 235
    assert external(s, ann, "bob@d.test") == 535
    assert external(s, both) == 235 and external(s, both, "bob@d.test") == 235 and external(s, both, "nobody@d.test") == 535
    assert external(s, by_name) == 235
    assert [u for u, _ in logins(s)] == [USER] * 4 + ["bob@d.test"] * 2, logins(s)
    # none, nobody's account, no address, somebody else's authority
    assert external(s, None) is None
    assert external(s, issue("carl@d.test")) is None
    assert external(s, issue("Carl")) is None
    assert external(s, other_issue("Ann", "email:" + USER)) is None
    errors = [e["error"] for e in s.events("tls.client_certificate")]
    assert errors[0] == "it names no address" and errors[1].startswith("unable to "), errors
    with submissions(s, certificate=other_issue("Ann", "email:" + USER)) as c:  # … and all of them may use a password
        c.login(USER, PASSWORD)
    with smtplib.SMTP(s.host, s.submission) as c:  # STARTTLS, and mail as the one who was found
        c.starttls(context=tls(s, certificate=ann))
        assert "EXTERNAL" in offered(c)
        assert c.docmd("AUTH", "EXTERNAL")[0] == 334
        assert c.docmd("")[0] == 235
        c.sendmail(USER, ["bob@d.test"], "Subject: by certificate\r\n\r\nx\r\n")
        assert c.mail("bob@d.test")[0] == 553
    assert s.wait_mail("bob@d.test")[0]["Subject"] == "by certificate"
    with smtplib.SMTP(s.host, s.mx) as c:  # other listeners ask nobody
        c.starttls(context=tls(s, certificate=ann))
        assert offered(c) == ""


@case
def gsasl_external(world):
    """GNU SASL's EXTERNAL with a client certificate."""
    ca, issue = authority(world)
    s = with_clients(world, ca)
    certificate, key = issue("Ann", "email:" + USER)
    files = ["--x509-cert-file", certificate, "--x509-key-file", key]
    done = gsasl(s, "EXTERNAL", *files)
    assert done.returncode == 0 and "235 2.7.0" in done.stdout, done.stdout
    assert logins(s) == [(USER, "EXTERNAL")], logins(s)
    done = gsasl(s, "EXTERNAL")
    assert done.returncode != 0 and "504 5.5.4" in done.stdout, done.stdout


@case
def certificates_wait_for_nobody(world):
    """A keeper that is gone costs a client with a certificate EXTERNAL, not its session."""
    ca, issue = authority(world)
    s = with_clients(world, ca)
    ann = issue("Ann", "email:" + USER)
    assert external(s, ann) == 235
    for pid in s.pids("keeper"):
        os.kill(pid, 19)  # SIGSTOP
    began = time.monotonic()
    with submissions(s, certificate=ann) as c:
        assert offered(c) == PLUS + SCRAM + " PLAIN LOGIN"
    assert time.monotonic() - began < 25
    for pid in s.pids("keeper"):
        os.kill(pid, 18)
    wait_until("the keeper answers again", lambda: external(s, ann) == 235)


# ---- our own client ---------------------------------------------------------------------------------------------------------------------

def jwt(secret, **claims):
    def part(o):
        return base64.urlsafe_b64encode(json.dumps(o).encode()).rstrip(b"=")
    head = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    return (head + b"." + base64.urlsafe_b64encode(hmac.new(secret, head, hashlib.sha256).digest()).rstrip(b"=")).decode()


SECRET = b"a secret of thirty-two bytes, 32"


def oauth(world):
    path = world.write("jwt.secret", SECRET, 0o600)
    os.chmod(path, 0o644)
    return 'oauth { jwt_secret_file = "%s"\n audience = mail }' % path


def token(world, name="token", address=USER, seconds=600):
    return world.write(name, jwt(SECRET, aud="mail", email=address, exp=int(time.time()) + seconds) + "\n", 0o600)


@case
def veredus_send_by_each_mechanism(world):
    """`veredus send` with each mechanism, by STARTTLS and by implicit TLS; without a wish it takes the best."""
    ca, issue = authority(world)
    s = with_clients(world, ca, extra='authentication { mechanisms += { "CRAM-MD5" } }\n' + oauth(world))
    certificate, key = issue("Ann", "email:" + USER)
    password = world.write("password", PASSWORD + "\n", 0o600)
    by_password = ["--user", USER, "--password-file", password]
    by_token = ["--user", USER, "--token-file", token(world)]
    by_certificate = ["--cert", certificate, "--key", key]
    ways = [(m, by_password) for m in (PLUS + SCRAM + " PLAIN LOGIN CRAM-MD5").split()]
    ways += [("OAUTHBEARER", by_token), ("OAUTHBEARER", by_token[2:]), ("XOAUTH2", by_token), ("EXTERNAL", by_certificate),
             ("EXTERNAL", by_certificate + ["--user", USER])]

    def send(*arguments, ok=True):
        return s.command("send", "--ca", s.ca(), "--no-message", *arguments, ok=ok)
    for mechanism, how in ways:
        for place in (["--server", "localhost:%d" % s.submission, "--tls", "verify"],
                      ["--server", "localhost:%d" % s.submissions, "--tls", "implicit"]):
            done = send(*place, *how, "--auth", mechanism)
            assert "235 2.7.0" in done.stdout, done.stdout
    assert [m for _, m in logins(s)] == [m for m, _ in ways for _ in range(2)], logins(s)
    assert {u for u, _ in logins(s)} == {USER}
    place = ["--server", "localhost:%d" % s.submission, "--tls", "verify"]
    for how, best in ((by_password, "SCRAM-SHA-256-PLUS"), (by_token, "OAUTHBEARER"), (by_certificate, "EXTERNAL")):
        send(*place, *how)
        assert logins(s)[-1] == (USER, best), logins(s)[-1]
    # refusals say what the server said within the mechanism
    stale = token(world, "stale", seconds=-600)
    done = send(*place, "--user", USER, "--token-file", stale, ok=False)
    assert done.returncode != 0 and '"status":"invalid_token"' in done.stdout, done.stdout
    done = send(*place, "--user", "bob@d.test", "--token-file", token(world), ok=False)
    assert done.returncode != 0 and "535 5.7.8" in done.stdout, done.stdout
    wrong = world.write("wrong", "wrong\n", 0o600)
    done = send(*place, "--user", USER, "--password-file", wrong, ok=False)
    assert done.returncode != 0 and "535 5.7.8" in done.stdout, done.stdout
    assert PASSWORD not in done.stdout and base64.b64encode(b"\0%s\0" % USER.encode()).decode()[:20] not in done.stdout
    for bad in (["--cert", certificate], ["--auth", "NTLM"], ["--token-file", "/nonexistent"]):
        assert send(*place, "--user", USER, *bad, ok=False).returncode not in (0, 1)


@case
def routes_log_in(world):
    """Routes log in at the next hop: with a password by the best mechanism, with a token, with a certificate; a mechanism can be named."""
    ca, issue = authority(world)
    hop = with_clients(world, ca, name="hop", extra=oauth(world) + "\nsubmission { any_sender = yes }")
    certificate, key = issue("Ann", "email:" + USER)
    password = world.write("password", PASSWORD + "\n", 0o600)
    to = 'to = "smtp:localhost:%d"' % hop.submission
    routes = [("p.test", 'user = "%s" password_file = "%s"' % (USER, password), "SCRAM-SHA-256-PLUS"),
              ("m.test", 'user = "%s" password_file = "%s" mechanism = "scram-sha-1"' % (USER, password), "SCRAM-SHA-1"),
              ("t.test", 'user = "%s" token_file = "%s"' % (USER, token(world)), "OAUTHBEARER"),
              ("x.test", 'user = "%s" token_file = "%s" mechanism = XOAUTH2' % (USER, token(world)), "XOAUTH2"),
              ("c.test", 'tls = verify tls_certificate = "%s" tls_key = "%s"' % (certificate, key), "EXTERNAL")]
    text = "\n".join('route "%s" { %s %s }' % (domain, to, how) for domain, how, _ in routes)
    s = world.server(extra='%s\nsending { ca_file = "%s" }' % (text, hop.ca()), head='trusted = { "127.0.0.1" }')
    for domain, _, mechanism in routes:
        seen = len(logins(hop))
        with smtplib.SMTP(s.host, s.mx) as c:
            c.sendmail("x@d.test", ["y@" + domain], "Subject: x\r\n\r\nx\r\n")
        wait_until("a log-in for " + domain, lambda: len(logins(hop)) > seen or hop.events("auth.failed"))
        assert logins(hop)[-1] == (USER, mechanism), (domain, logins(hop), failures(hop))
    # a token that is not good keeps the mail, and the report of the attempt says why
    bad = world.server("bad", head='trusted = { "127.0.0.1" }', extra='route "*" { %s user = "%s" token = "stale" }\nsending { ca_file = "%s" }'
                       % (to, USER, hop.ca()))
    os.chmod(bad.config, 0o600)
    with smtplib.SMTP(bad.host, bad.mx) as c:
        c.sendmail("x@d.test", ["y@q.test"], "Subject: x\r\n\r\nx\r\n")
    wait_until("the failure is told", lambda: "invalid_token" in bad.queue("list", "--json") or "invalid_token" in bad.log())
    assert bad.listed(), "the mail waits"


# ---- somebody between ---------------------------------------------------------------------------------------------------------------------

class Between:
    """Ends TLS with a certificate of its own and speaks TLS to the server: whoever takes any certificate does not see it. change(line) is
    what it makes of each line of the server."""

    def __init__(self, world, server, change=lambda line: line):
        certificate, key = world.path("between.pem"), world.path("between.key")
        if not os.path.exists(certificate):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=x",
                "-keyout", key, "-out", certificate)
        self.server, self.change = server, change
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        world.cleanups.append(self.listener.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.session, args=(client,), daemon=True).start()

    def session(self, client):
        try:
            near = self.context.wrap_socket(client, server_side=True)
            far = self.server.tls_context().wrap_socket(socket.create_connection((self.server.host, self.server.submissions)))
        except OSError:
            return
        threading.Thread(target=self.pipe, args=(near, far, lambda line: line), daemon=True).start()
        self.pipe(far, near, self.change)

    @staticmethod
    def pipe(source, sink, change):
        try:
            with source.makefile("rb") as lines:
                for line in lines:
                    sink.sendall(change(line))
            sink.close()
        except (OSError, ValueError):
            pass


@case
def somebody_between_is_found_out(world):
    """Who takes any certificate is robbed of a PLAIN password unseen; -PLUS finds out, and so does a client that is shown a shorter list."""
    s = world.server(accounts=[USER])
    password = world.write("password", PASSWORD + "\n", 0o600)

    def send(between, *arguments):
        return s.command("send", "--server", "127.0.0.1:%d" % between.port, "--tls", "implicit", "--insecure", "--no-message", "--user", USER,
                         "--password-file", password, *arguments, ok=False)
    quiet = Between(world, s)
    assert "235 2.7.0" in send(quiet, "--auth", "PLAIN").stdout
    for mechanism in PLUS.split():
        done = send(quiet, "--auth", mechanism)
        assert done.returncode != 0 and "535 5.7.8" in done.stdout, done.stdout
        assert failures(s)[-1] == "the channel binding is another connection's: somebody stands between", failures(s)
    shorter = Between(world, s, lambda line: re.sub(rb"SCRAM-SHA-\d+-PLUS ", b"", line))
    done = send(shorter)
    assert done.returncode != 0 and "535 5.7.8" in done.stdout and "AUTH SCRAM-SHA-256 " in done.stdout, done.stdout
    assert failures(s)[-1] == "the client was not shown that -PLUS is offered: somebody stands between", failures(s)
    # a server that honestly has no -PLUS is no such case
    plain = world.server("plain", accounts=[USER], extra='authentication { mechanisms = { "SCRAM-SHA-256" } }')
    done = plain.command("send", "--server", "127.0.0.1:%d" % plain.submissions, "--tls", "implicit", "--ca", plain.ca(), "--no-message",
                         "--user", USER, "--password-file", password)
    assert "235 2.7.0" in done.stdout, done.stdout


@case
def an_impostor_gets_nothing(world):
    """A server that says 235 without knowing the password gets neither password nor mail."""
    sink = Sink(world, extensions=("AUTH SCRAM-SHA-1 CRAM-MD5 PLAIN",), replies={"AUTH SCRAM-SHA-1": "235 2.7.0 welcome"})
    s = world.server(head='trusted = { "127.0.0.1" }', extra='submission { auth_in_clear = yes }\n'
                     'route "*" { to = "smtp:127.0.0.1:%d" tls = none user = "%s" password = "%s" }' % (sink.port, USER, PASSWORD))
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail("x@d.test", ["y@q.test"], "Subject: x\r\n\r\nx\r\n")
    wait_until("the failure is told", lambda: "impostor" in s.log())
    assert sink.messages == [] and not any(c.startswith("MAIL") for c in sink.commands), sink.commands
    assert PASSWORD not in " ".join(sink.commands)


# ---- older data bases ---------------------------------------------------------------------------------------------------------------------

@case
def an_older_data_base(world):
    """Accounts of a version that had no keys of SCRAM-SHA-1: all else works, that looks like a wrong password until the password is set."""
    s = world.server(accounts=[USER], start=False)
    with sqlite3.connect(os.path.join(s.state, "accounts.db")) as db:
        for column in ("scram1_salt", "scram1_iterations", "scram1_stored_key", "scram1_server_key", "cram_keys"):
            db.execute("ALTER TABLE account DROP COLUMN " + column)
        db.executescript("DROP TRIGGER account_removed; DROP TABLE former; PRAGMA user_version = 1")
    s.start()
    password = world.write("password", PASSWORD + "\n", 0o600)

    def send(mechanism):
        return s.command("send", "--server", "localhost:%d" % s.submissions, "--tls", "implicit", "--ca", s.ca(), "--no-message", "--user", USER,
                         "--password-file", password, "--auth", mechanism, ok=False).stdout
    assert "235 2.7.0" in send("SCRAM-SHA-256-PLUS") and "235 2.7.0" in send("PLAIN")
    assert "535 5.7.8" in send("SCRAM-SHA-1")
    s.command("account", "password", USER, "--config", s.config, "--password-stdin", input=PASSWORD + "\n")
    assert "235 2.7.0" in send("SCRAM-SHA-1-PLUS")
