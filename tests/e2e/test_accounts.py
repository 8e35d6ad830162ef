"""Accounts from elsewhere: a passwd-like file, PAM, Dovecot; log-ins by OAuth tokens. Each through a real AUTH on the submission port."""
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import warnings

from harness import PASSWORD, TOP, Skip, case, kill, make_users, run, user_data_base, wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

USERS = "veredus-e2e"  # the beginning of names that tests give to what they leave on the machine for a moment


def session(s):
    c = smtplib.SMTP(s.host, s.submission, timeout=60)
    c.ehlo("client.test")
    c.starttls(context=s.tls_context())
    c.ehlo("client.test")
    return c


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def login(s, user, password=PASSWORD):
    """The code of AUTH PLAIN."""
    with session(s) as c:
        return c.docmd("AUTH", "PLAIN " + b64("\0%s\0%s" % (user, password)))[0]


def login_by_login(s, user, password=PASSWORD):
    with session(s) as c:
        assert c.docmd("AUTH", "LOGIN")[0] == 334
        assert c.docmd(b64(user))[0] == 334
        return c.docmd(b64(password))[0]


def rcpt(s, address):
    """The code of RCPT on the port for other servers."""
    with smtplib.SMTP(s.host, s.mx, timeout=60) as c:
        c.ehlo("client.test")
        c.mail("x@elsewhere.test")
        return c.rcpt(address)[0]


def offered(s):
    with session(s) as c:
        return set(c.esmtp_features["auth"].split())


def send(s, user, password=PASSWORD, sender=None, to=None):
    with session(s) as c:
        c.login(user, password)
        c.sendmail(sender or user, [to or user], b"Subject: by %s\r\n\r\n." % user.encode())


def accounts(text, **options):
    return dict(extra="accounts {\n%s\n}" % text, domains=options.pop("domains", {"d.test": "mailboxes = accounts"}), **options)


def reasons(s):
    return [e.get("reason", "") for e in s.events("auth.failed")]


# ---- a file ------------------------------------------------------------------------------------------------------------------

@case
def passwd_file(world):
    """A passwd-like file: every scheme logs in, who is not in it does not; its changes count at once, and without it nothing is refused for good."""
    rows = {"six": crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_SHA512)), "five": "{SHA256-CRYPT}" + crypt.crypt(PASSWORD, "$5$abcdefgh"),
            "yes": crypt.crypt(PASSWORD, "$y$j9T$abcdefghijkl$"), "blow": "{BLF-CRYPT}" + crypt.crypt(PASSWORD, "$2b$05$abcdefghijklmnopqrstuu"),
            "plain": "{PLAIN}" + PASSWORD, "locked": "!" + crypt.crypt(PASSWORD, "$6$abcdefgh")}
    text = "# users\n" + "".join("%s:%s:1000:1000::/home/%s:/bin/sh\n" % (u, h, u) for u, h in rows.items())
    users = world.write("users", text + "other@e.test:%s\n" % rows["six"])
    s = world.server(**accounts('from = "passwd:%s"' % users))
    for user in ("six", "five", "yes", "blow", "plain"):
        assert login(s, user + "@d.test") == 235, (user, s.log()[-2000:])
        assert login(s, user + "@d.test", PASSWORD + "x") == 535, user
        assert login_by_login(s, user) == 235, user  # the only domain's
    assert login(s, "other@e.test") == 235 and login(s, "other") == 535
    assert login(s, "locked@d.test") == 535 and login(s, "nobody@d.test") == 535
    assert offered(s) == {"PLAIN", "LOGIN"}  # nobody has keys for SCRAM
    assert rcpt(s, "six@d.test") == 250 and rcpt(s, "locked@d.test") == 250 and rcpt(s, "nobody@d.test") == 550
    send(s, "six@d.test")
    s.wait_mail("six@d.test")
    with session(s) as c:
        c.login("six@d.test", PASSWORD)
        assert c.mail("five@d.test")[0] == 553
    world.write("users.new", "fresh:%s\n" % rows["six"])
    os.rename(world.path("users.new"), users)
    assert login(s, "fresh") == 235 and login(s, "six") == 535
    assert rcpt(s, "fresh@d.test") == 250 and rcpt(s, "yes@d.test") == 550
    os.unlink(users)
    assert login(s, "fresh") == 454 and rcpt(s, "nobody@d.test") == 451
    assert s.events("accounts.trouble")
    world.write("users", "fresh:%s\n" % rows["six"])
    assert login(s, "fresh") == 235
    assert PASSWORD not in s.log() and not [r for r in rows.values() if r in s.log()]


@case
def passwd_file_is_checked(world):
    """`veredus check` tells what is wrong in a file of accounts, with its lines; the server takes the rest."""
    users = world.write("users", "ann:{PLAIN}%s\nnonsense\nbob:{ROT13}x\ncarl\tb:$6$x\nann:*\nold:abJ32bJMdTsnY\n" % PASSWORD)
    s = world.server(start=False, **accounts('from = { "sqlite", "passwd:%s" }' % users))
    text = s.command("check", s.config).stdout
    for line, part in ((1, "warning: the password stands here in clear"), (2, "warning: this is no account"), (3, "warning: the hash is of no scheme"),
                       (4, "warning: the name is not one of an account"), (5, "warning: the account a second time: the one in line 1"),
                       (6, "warning: the hash is of an old scheme")):
        assert "%s:%d: %s" % (users, line, part) in text, (line, text)
    assert "everybody on this machine can read the password hashes" in text
    s.start()
    assert login(s, "ann") == 235 and login(s, "bob") == 454 and login(s, "zoe") == 535
    assert {e["line"] for e in s.events("accounts.problem")} == {"2", "3", "4", "5"}, s.log()
    s.stop()
    os.unlink(users)
    done = s.command("check", s.config, ok=False)
    assert done.returncode == 78 and "cannot read the file of accounts %s" % users in done.stdout, done.stdout


@case
def several_sources(world):
    """One source after the other; what one cannot say now is not "wrong", and what another knows counts all the same."""
    users = world.write("users", "file@d.test:{PLAIN}%s\n" % PASSWORD, 0o600)
    s = world.server(accounts=["base@d.test"], **accounts('from = { "sqlite", "passwd:%s", "dovecot:%s" }\n timeout = 1s' % (users, world.path("nowhere"))))
    assert login(s, "base@d.test") == 235 and login(s, "file@d.test") == 235
    assert login(s, "nobody@d.test") == 454 and login(s, "file@d.test", "wrong") == 454  # Dovecot might know
    assert rcpt(s, "base@d.test") == 250 and rcpt(s, "file@d.test") == 250
    assert rcpt(s, "nobody@d.test") == 550  # Dovecot is not asked for mailboxes
    os.rename(world.write("garbage", "no data base any more, and long enough to be looked at as one"), os.path.join(s.state, "accounts.db"))
    assert login(s, "file@d.test") == 235 and login(s, "base@d.test") == 454
    assert rcpt(s, "file@d.test") == 250 and rcpt(s, "nobody@d.test") == 451


# ---- Dovecot -----------------------------------------------------------------------------------------------------------------

def answers(path):
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as c:
        c.connect(path)
        return True
    return False


class Dovecot:
    """A Dovecot that only authenticates; its sockets are auth-client and auth-userdb in its run folder."""

    def __init__(self, world, mechanisms="plain login"):
        if os.geteuid() != 0:
            raise Skip("Dovecot is started as root here")
        if not os.path.exists("/usr/sbin/dovecot"):
            raise Skip("dovecot-core is not installed")
        self.world, self.folder = world, world.path("dovecot")
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        self.users = world.write("dovecot/users", "ann@d.test:{SHA512-CRYPT}%s::::::\nbob@d.test:{PLAIN}other::::::\n" % crypt.crypt(PASSWORD, "$6$abcdefgh"))
        world.write("dovecot/check.sh", "#!/bin/sh\ntr -d '\\000' <&3 | grep -q ^eve@ && exit 111\nexit 1\n", 0o755)  # 111: cannot say
        self.config = world.write("dovecot.conf", """
base_dir = {0}/run
state_dir = {0}/state
log_path = {0}/log
protocols =
listen = 127.0.0.1
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
auth_mechanisms = {2}
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = {1}
}}
passdb {{
  driver = checkpassword
  args = {0}/check.sh
}}
userdb {{
  driver = passwd-file
  args = {1}
  default_fields = uid=nobody gid=nogroup home={0}/home/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener auth-client {{
    mode = 0666
  }}
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
""".format(self.folder, self.users, mechanisms))
        self.client, self.userdb = (os.path.join(self.folder, "run", name) for name in ("auth-client", "auth-userdb"))
        self.start()

    def start(self):
        self.program = self.world.start("dovecot", ["/usr/sbin/dovecot", "-F", "-c", self.config])
        wait_until("Dovecot's sockets", lambda: answers(self.client) and answers(self.userdb), 20)

    def stop(self):
        """Also its auth process, which would serve those who are connected already for a while."""
        children = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/stat" % pid) as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == self.program.pid:
                    children.append(int(pid))
        self.program.stop()
        for pid in children:
            kill(pid)


@case
def dovecot_authenticates(world):
    """Dovecot's sockets decide who logs in and which mailboxes exist; while it is away log-ins hear 454, and it is found again by itself."""
    d = Dovecot(world)
    s = world.server(**accounts('from = "dovecot:%s"\n dovecot_userdb = "%s"\n timeout = 5s' % (d.client, d.userdb)))
    assert login(s, "ann@d.test") == 235, s.log()[-3000:]
    assert login_by_login(s, "ann@d.test") == 235 and login(s, "Ann") == 235
    assert login(s, "ann@d.test", "wrong") == 535 and login(s, "bob@d.test") == 535 and login(s, "bob@d.test", "other") == 235
    assert login(s, "nobody@d.test") == 535 and login(s, "a\tb") in (501, 535)
    assert offered(s) == {"PLAIN", "LOGIN"}
    assert rcpt(s, "ann@d.test") == 250 and rcpt(s, "nobody@d.test") == 550
    send(s, "ann@d.test", to="bob@d.test")
    s.wait_mail("bob@d.test")
    with session(s) as c:
        c.login("ann@d.test", PASSWORD)
        assert c.mail("bob@d.test")[0] == 553
    got = []
    threads = [threading.Thread(target=lambda k=k: got.append((k, login(s, "ann@d.test", PASSWORD if k % 2 else "wrong")))) for k in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(got) == [(k, 235 if k % 2 else 535) for k in range(20)], got
    d.stop()
    assert login(s, "ann@d.test") == 454 and rcpt(s, "carl@d.test") == 451
    d.start()
    assert login(s, "ann@d.test") == 235 and rcpt(s, "nobody@d.test") == 550
    assert login(s, "eve@d.test") == 454, s.log()[-2000:]  # Dovecot itself is in trouble, and says so


@case
def dovecot_without_plain(world):
    """A Dovecot that takes no PLAIN is 454, with the reason in the log."""
    d = Dovecot(world, mechanisms="cram-md5")
    s = world.server(**accounts('from = "dovecot:%s"\n dovecot_userdb = "%s"\n timeout = 5s' % (d.client, d.userdb)))
    assert login(s, "ann@d.test") == 454
    assert "auth_mechanisms" in s.events("accounts.trouble")[0]["error"], s.log()
    assert rcpt(s, "ann@d.test") == 250 and rcpt(s, "nobody@d.test") == 550


# ---- PAM ---------------------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def pam_service(text):
    """A service of PAM for the time of a test."""
    if os.geteuid() != 0:
        raise Skip("PAM's rules in /etc/pam.d are root's")
    name = "%s-%d" % (USERS, os.getpid())
    path = "/etc/pam.d/" + name
    with open(path, "w") as f:
        f.write(text)
    try:
        yield name
    finally:
        os.unlink(path)


@contextlib.contextmanager
def system_user(password):
    """A user of the machine with this password, for the time of a test."""
    name = "veredus-e2e%d" % (os.getpid() % 100000)
    with user_data_base():
        run("useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", "--password", crypt.crypt(password, "$6$abcdefgh"), name)
    try:
        yield name
    finally:
        with user_data_base():
            run("userdel", name, ok=False)


def processes_of(s):
    """{role: (user, no new privileges?)}"""
    found = {}
    for pid, role in s.pids().items():
        with open("/proc/%d/status" % pid) as f:
            status = f.read()
        found[role] = (pwd.getpwuid(int(status.split("Uid:")[1].split()[1])).pw_name, "NoNewPrivs:\t1" in status)
    return found


@case
def pam_unix(world):
    """The privileged mode: users of this machine log in with their passwords from /etc/shadow, by a process that alone keeps root for it."""
    with pam_service("auth required pam_unix.so nodelay\naccount required pam_unix.so\n") as service, system_user(PASSWORD) as user:
        make_users()
        s = world.server(foreground=False, **accounts('from = "pam:%s"' % service))
        roles = processes_of(s)
        assert roles["pam"] == ("root", False) and roles["keeper"] == ("_veredusk", True), roles
        assert login(s, user) == 235, s.log()[-3000:]
        assert login(s, user + "@d.test") == 235 and login_by_login(s, user.upper()) == 235
        assert login(s, user, "wrong") == 535 and login(s, "no-such-user") == 535 and login(s, user + "@elsewhere.test") == 535
        assert login(s, "root", "") in (501, 535)
        assert rcpt(s, user + "@d.test") == 250 and rcpt(s, "no-such-user@d.test") == 550
        send(s, user + "@d.test")
        s.wait_mail(user + "@d.test")
        run("usermod", "--expiredate", "1", user)  # the password is right, and the account is over
        assert login(s, user) == 535
        assert any(r.startswith("pam_acct_mgmt: ") for r in reasons(s)), reasons(s)
        assert PASSWORD not in s.log()


@case
def pam_within_the_unit(world):
    """pam_unix answers also with no more than the systemd unit leaves: its capabilities, and no new privileges."""
    with open(os.path.join(TOP, "packaging", "systemd", "veredus.service")) as f:
        unit = f.read()
    assert "NoNewPrivileges=yes" in unit
    kept = unit.split("CapabilityBoundingSet=")[1].split("\n")[0].lower().replace("cap_", "+").split()
    if shutil.which("setpriv") is None:
        raise Skip("setpriv (util-linux) is not installed")
    with pam_service("auth required pam_unix.so nodelay\naccount required pam_unix.so\n") as service, system_user(PASSWORD) as user:
        make_users()
        s = world.server(foreground=False, start=False, **accounts('from = "pam:%s"' % service))
        program = s.veredus
        s.veredus = world.write("confined.sh", '#!/bin/sh\nexec setpriv --no-new-privs --bounding-set=-all,%s %s "$@"\n' % (",".join(kept), program), 0o755)
        s.start()
        assert processes_of(s)["pam"] == ("root", True)
        assert login(s, user) == 235 and login(s, user, "wrong") == 535, s.log()[-3000:]


@case
def passwd_file_out_of_reach(world):
    """A file that the keeper's own user cannot reach is trouble (454), not the end of the server, and an event says why."""
    make_users()
    users = world.write("closed/users", "ann:{PLAIN}%s\n" % PASSWORD, 0o600)
    os.chmod(world.path("closed"), 0o700)
    s = world.server(foreground=False, **accounts('from = "passwd:%s"' % users))
    assert "cannot read %s; expected its group and mode 0640" % users in s.log()
    assert login(s, "ann") == 454 and rcpt(s, "ann@d.test") == 451
    assert "Permission denied" in s.events("accounts.trouble")[0]["error"], s.log()
    os.chmod(world.path("closed"), 0o755)
    shutil.chown(users, group="_veredusk")
    os.chmod(users, 0o640)
    os.kill(s.program.pid, signal.SIGHUP)  # what may be seen is settled when a process starts
    wait_until("the second generation is ready", lambda: s.log().count("server.ready") == 2, 30)
    assert login(s, "ann") == 235


@case
def pam_in_every_mood(world):
    """PAM that says yes or no, hangs, dies, or whose process is killed: only a no is 535, and one that hangs keeps nobody else waiting."""
    check = world.write("check.sh", """#!/bin/sh
password=$(tr -d '\\000')
case $PAM_USER in
slow*) exec sleep 6 ;;
dies*) kill -SEGV $PPID; sleep 1 ;;
esac
[ "$password" = '%s' ] && [ "$PAM_RHOST" = 127.0.0.1 ]
""" % PASSWORD, 0o755)
    rules = "auth sufficient pam_exec.so expose_authtok quiet %s\nauth required pam_deny.so\naccount required pam_permit.so\n" % check
    with pam_service(rules) as service:
        s = world.server(**accounts('from = "pam:%s"\n pam_name = address\n timeout = 3s' % service, domains={"d.test": "mailboxes = any"}))
        assert login(s, "ann@d.test") == 235 and login(s, "ann@d.test", "wrong") == 535
        began = time.monotonic()
        slow = []
        thread = threading.Thread(target=lambda: slow.append(login(s, "slow@d.test")))
        thread.start()
        assert login(s, "bob@d.test") == 235 and time.monotonic() - began < 3
        thread.join()
        assert slow == [454], slow
        kill(list(s.pids("pam"))[0])
        wait_until("PAM's process is back", lambda: login(s, "ann@d.test") == 235, 20, 0.2)
    with pam_service(rules.replace("sufficient", "required").replace("auth required pam_deny.so\n", "")) as service:
        s2 = world.server("second", **accounts('from = "pam:%s"\n domain = "d.test"\n timeout = 3s' % service, domains={"d.test": "mailboxes = system"}))
        assert login(s2, "ann@d.test") == 235
        assert login(s2, "slow@d.test") == 454 and "longer than 3 s" in reasons(s2)[-1], reasons(s2)
        assert login(s2, "dies@d.test") == 454 and "ended the process" in reasons(s2)[-1], reasons(s2)
        assert login(s2, "ann@d.test", "wrong") == 454  # pam_exec's own word for it is a system error


@case
def sources_change_with_a_reload(world):
    """Without a pam: source there is no process with its privileges; a reload brings it, and takes it away again."""
    s = world.server(accounts=["ann@d.test"], domains={"d.test": "mailboxes = accounts"})
    assert "pam" not in s.pids().values() and login(s, "ann@d.test") == 235
    assert "SCRAM-SHA-256" in offered(s) and "OAUTHBEARER" not in offered(s)

    def reload(extra):
        seen = s.log().count("server.ready")
        s.extra = extra
        s.write_config()
        os.kill(s.program.pid, signal.SIGHUP)
        wait_until("the next generation is ready", lambda: s.log().count("server.ready") > seen, 30)

    with pam_service("auth required pam_permit.so\naccount required pam_permit.so\n") as service:
        reload('accounts { from = "pam:%s" }' % service)
        assert login(s, "whoever@d.test", "whatever") == 235 and "pam" in s.pids().values()
        assert "SCRAM-SHA-256" not in offered(s)
        warned = s.command("account", "list", "--config", s.config).stdout
        assert "does not name sqlite" in warned and "ann@d.test" in warned, warned
        reload("")
    assert login(s, "ann@d.test") == 235 and login(s, "whoever@d.test", "whatever") == 535
    wait_until("the pam process is gone", lambda: "pam" not in s.pids().values(), 30)


# ---- OAuth -------------------------------------------------------------------------------------------------------------------

def authority(world):
    """A certificate authority of the test's own, and a certificate of it for localhost: paths (ca, certificate, key)."""
    ca, ca_key, cert, key, request = (world.path("pki-" + n) for n in ("ca.pem", "ca.key", "cert.pem", "key.pem", "request.pem"))
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key, "-out", ca, "-days", "2",
        "-subj", "/CN=test authority", "-addext", "basicConstraints=critical,CA:TRUE")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    names = world.write("pki-names", "subjectAltName=DNS:localhost\n")
    run("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", cert, "-days", "2", "-extfile", names)
    return ca, cert, key


class Endpoint:
    """An introspection endpoint over HTTPS; tokens: {token: answer object}; mood: "kind" or what goes wrong."""

    def __init__(self, world, cert, key, client="mail", secret="hush %/+"):
        self.tokens, self.mood, self.asked = {}, "kind", []
        endpoint = self
        self.expected = "Basic " + b64("%s:%s" % (urllib.parse.quote_plus(client), urllib.parse.quote_plus(secret)))

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                endpoint.asked.append(body)
                endpoint.headers = dict(self.headers)
                status, text = endpoint.answer(self.headers.get("Authorization"), body)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "https://localhost:%d/elsewhere" % endpoint.port)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # clients that do not trust us, or that leave

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "https://localhost:%d/introspect" % self.port
        world.cleanups.append(self.close)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, authorization, body):
        if self.mood == "slow":
            time.sleep(4)
        if self.mood == "redirect":
            return 302, b""
        if self.mood == "html":
            return 200, b"<html>login</html>"
        if self.mood == "long":
            return 200, b'{"active":true,"x":"' + b"x" * 100000 + b'"}'
        if self.mood == "error":
            return 503, b"{}"
        if authorization != self.expected:
            return 401, b"{}"
        found = self.tokens.get(body["token"][0], {"active": False})
        return 200, json.dumps(found).encode()


def bearer(s, token, user="", mechanism="OAUTHBEARER"):
    """The last code of a log-in by a token."""
    if mechanism == "XOAUTH2":
        message = "user=%s\1auth=Bearer %s\1\1" % (user, token)
    else:
        message = "n,%s,\1host=%s\1port=%d\1auth=Bearer %s\1\1" % ("a=" + user if user else "", s.host, s.submission, token)
    with session(s) as c:
        code, text = c.docmd("AUTH", "%s %s" % (mechanism, b64(message)))
        if code == 334:
            s.last_challenge = json.loads(base64.b64decode(text))
            code = c.docmd(b64("\1") if mechanism == "OAUTHBEARER" else "")[0]
        return code


@case
def oauth_introspection(world):
    """Tokens are shown to an endpoint over HTTPS: good, of others, expired, for others, revoked; and whatever the endpoint does, nobody is refused for its faults."""
    ca, cert, key = authority(world)
    e = Endpoint(world, cert, key)
    secret = world.write("secret", "hush %/+\n", 0o600)
    oauth = """oauth { introspection = "%s"\n client_id = "mail"\n client_secret_file = "%s"\n ca_file = "%s"\n audience = "mail"\n scope = "smtp"
 cache = %s\n timeout = 2s }"""
    s = world.server(accounts=["ann@d.test"], extra=oauth % (e.url, secret, ca, "2s"))
    now = int(time.time())
    good = {"active": True, "email": "Ann@d.test", "exp": now + 600, "aud": ["web", "mail"], "scope": "openid smtp"}
    e.tokens = {"good": good, "expired": dict(good, exp=now - 600), "web": dict(good, aud="web"), "reader": dict(good, scope="openid imap"),
                "early": dict(good, nbf=now + 600), "other": dict(good, email="stranger@d.test"), "nobody": {"active": True, "aud": "mail", "scope": "smtp"},
                "unverified": dict(good, email_verified=False), "short": dict(good, exp=now + 600), "a+b/c~.-_==": good}
    assert "OAUTHBEARER" in offered(s) and "XOAUTH2" in offered(s)
    assert bearer(s, "good") == 235, s.log()[-3000:]
    assert e.asked[-1] == {"token": ["good"], "token_type_hint": ["access_token"]} and e.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert bearer(s, "a+b/c~.-_==") == 235 and e.asked[-1]["token"] == ["a+b/c~.-_=="]
    assert bearer(s, "good", "ann@d.test") == 235 and bearer(s, "good", "ann@d.test", "XOAUTH2") == 235 and bearer(s, "good", "ann", "XOAUTH2") == 235
    assert bearer(s, "good", "bob@d.test") == 535
    for token in ("expired", "web", "reader", "early", "other", "nobody", "unverified", "never-issued"):
        assert bearer(s, token) == 535, (token, s.log()[-2000:])
        assert bearer(s, "good") == 235  # else the client would have to wait longer each time
    said = " / ".join(reasons(s))
    for part in ("expired", "another service", "does not allow", "not valid yet", "no such account here", "names no account", "not verified", "not active"):
        assert part in said, (part, said)
    with session(s) as c:  # who logged in by a token may send, as himself
        c.docmd("AUTH", "XOAUTH2 " + b64("user=ann@d.test\1auth=Bearer good\1\1"))
        assert c.mail("bob@d.test")[0] == 553
        c.sendmail("ann@d.test", ["ann@d.test"], b"Subject: by token\r\n\r\n.")
    s.wait_mail("ann@d.test")

    time.sleep(2.1)  # what was believed is forgotten
    assert bearer(s, "short") == 235
    asked = len(e.asked)
    assert bearer(s, "short") == 235 and len(e.asked) == asked  # believed
    e.tokens["short"] = {"active": False}
    time.sleep(2.1)
    assert bearer(s, "short") == 535  # revoked, and no longer believed

    for mood, why in (("error", "HTTP 503"), ("redirect", "HTTP 302"), ("html", "no JSON object"), ("long", "too long"), ("slow", "cannot be asked")):
        e.mood = mood
        began = time.monotonic()
        assert bearer(s, "fresh-" + mood) == 454, (mood, s.log()[-2000:])
        assert why in reasons(s)[-1], (mood, reasons(s)[-1])
        assert time.monotonic() - began < 4
        assert login(s, "ann@d.test") == 235  # passwords do not wait for it
    for k in range(5):  # who does not wait for the answer takes nothing with him
        c = session(s)
        c.send("AUTH XOAUTH2 %s\r\n" % b64("user=ann\1auth=Bearer gone-%d\1\1" % k))
        wait_until("the endpoint is asked", lambda k=k: e.asked[-1]["token"] == ["gone-%d" % k])
        c.close()
    e.mood = "kind"
    assert bearer(s, "good") == 235
    e.expected = "Basic another"
    assert bearer(s, "a-new-token") == 454 and "client_id" in reasons(s)[-1]
    e.close()
    assert bearer(s, "another-token") == 454
    log = s.log()
    assert "hush" not in log and "a-new-token" not in log and "never-issued" not in log


@case
def tokens_of_other_programs(world):
    """msmtp and curl log in by OAUTHBEARER and XOAUTH2, and hear in their own words that a token is no good."""
    ca, cert, key = authority(world)
    e = Endpoint(world, cert, key)
    e.expected = None
    e.tokens = {"good": {"active": True, "email": "ann@d.test", "aud": "mail"}}
    s = world.server(accounts=["ann@d.test"], extra='oauth { introspection = "%s"\n ca_file = "%s"\n audience = "mail" }' % (e.url, ca))
    text = "From: ann@d.test\r\nTo: ann@d.test\r\nSubject: by %s\r\n\r\n.\r\n"
    rc = """defaults
auth %s
tls on
tls_starttls off
tls_trust_file %s
tls_host_override veredus.test
account default
host 127.0.0.1
port %d
from ann@d.test
user ann@d.test
passwordeval echo %s
"""

    def msmtp(mechanism, token):
        path = world.write("msmtprc", rc % (mechanism.lower(), s.ca(), s.submissions, token), 0o600)
        return run("msmtp", "-C", path, "ann@d.test", input=text % ("msmtp, " + mechanism), ok=False)

    def curl(mechanism, token):
        path = world.write("letter", text % ("curl, " + mechanism))
        return run("curl", "-sS", "--cacert", s.ca(), "--resolve", "veredus.test:%d:127.0.0.1" % s.submissions, "--login-options", "AUTH=" + mechanism, "--user",
                   "ann@d.test", "--oauth2-bearer", token, "--mail-from", "ann@d.test", "--mail-rcpt", "ann@d.test", "--upload-file", path,
                   "smtps://veredus.test:%d" % s.submissions, ok=False)
    for program in (msmtp, curl):
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            done = program(mechanism, "good")
            assert done.returncode == 0, (program.__name__, mechanism, done.stdout, s.log()[-2000:])
            done = program(mechanism, "bad")
            assert done.returncode != 0 and ("535" in done.stdout or "denied" in done.stdout), (program.__name__, mechanism, done.stdout)
    assert sorted(m["Subject"] for m in s.wait_mail("ann@d.test", 4)) == ["by %s, %s" % (p, m) for p in ("curl", "msmtp") for m in ("OAUTHBEARER", "XOAUTH2")]
    assert {f["mechanism"] for f in s.events("auth.ok")} == {"OAUTHBEARER", "XOAUTH2"}


@case
def oauth_trusts_only_its_authorities(world):
    """An endpoint with a certificate of somebody else, or for another name, is not told a token."""
    ca, cert, key = authority(world)
    e = Endpoint(world, cert, key)
    e.expected = None
    e.tokens = {"good": {"active": True, "email": "ann@d.test"}}
    oauth = 'oauth { introspection = "%s"\n %s\n audience = x\n timeout = 3s }'
    s = world.server("system", accounts=["ann@d.test"], extra=oauth % (e.url, ""))
    assert bearer(s, "good") == 454 and "certificate" in reasons(s)[-1], reasons(s)
    s.stop()
    s = world.server("name", accounts=["ann@d.test"], extra=oauth % (e.url.replace("localhost", "127.0.0.1"), 'ca_file = "%s"' % ca))
    assert bearer(s, "good") == 454, reasons(s)
    assert not e.asked


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens with the openssl command."""

    def __init__(self, world):
        self.world = world
        self.rsa, self.ec, self.stranger = (world.path("issuer-%s.key" % n) for n in ("rsa", "ec", "stranger"))
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.rsa)
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.stranger)
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.ec)
        self.public = world.path("issuer.pem")
        with open(self.public, "w") as f:
            for private in (self.rsa, self.ec):
                f.write(run("openssl", "pkey", "-in", private, "-pubout").stdout)

    def token(self, claims, alg="RS256", key=None, header=None):
        text = b64url(json.dumps(dict({"alg": alg, "typ": "JWT"}, **(header or {}))).encode()) + "." + b64url(json.dumps(claims).encode())
        if alg == "none":
            return text + "."
        if alg.startswith("HS"):
            return text + "." + b64url(hmac.new(key, text.encode(), hashlib.sha256).digest())
        private = key or (self.ec if alg == "ES256" else self.rsa)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", private], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
        if alg == "ES256":  # DER to r and s
            at, numbers = 2, []
            for _ in range(2):
                n = signature[at + 1]
                numbers.append(int.from_bytes(signature[at + 2:at + 2 + n], "big").to_bytes(32, "big"))
                at += 2 + n
            signature = b"".join(numbers)
        return text + "." + b64url(signature)


@case
def oauth_signed_tokens(world):
    """Signed tokens are checked by the issuer's public keys, with no endpoint: who signed, when, for whom; no other algorithm, and no `none`."""
    i = Issuer(world)
    secret = b"0123456789abcdef0123456789abcdef"
    path = world.write("hs.secret", secret + b"\n", 0o600)
    s = world.server(accounts=["ann@d.test"], extra="""oauth { jwt_keys = "%s"\n issuer = "https://login.test"\n audience = { "mail", "smtp" }
 openid_configuration = "https://login.test/.well-known/openid-configuration" }""" % i.public)
    now = int(time.time())
    good = {"iss": "https://login.test", "aud": "mail", "email": "ann@d.test", "exp": now + 600, "nbf": now - 10}
    assert bearer(s, i.token(good)) == 235, s.log()[-3000:]
    assert bearer(s, i.token(good, "ES256")) == 235, s.log()[-3000:]
    assert bearer(s, i.token(dict(good, aud=["x", "smtp"])), "ann@d.test", "XOAUTH2") == 235
    assert bearer(s, i.token(good), "bob@d.test") == 535
    with open(i.public, "rb") as f:
        public = f.read()
    bad = {
        "expired": i.token(dict(good, exp=now - 600)), "never": i.token({k: v for k, v in good.items() if k != "exp"}),
        "early": i.token(dict(good, nbf=now + 600)), "audience": i.token(dict(good, aud="web")), "issuer": i.token(dict(good, iss="https://evil.test")),
        "none": i.token(good, "none"), "stranger": i.token(good, key=i.stranger), "secret": i.token(good, "HS256", secret),
        "confused": i.token(good, "HS256", public), "changed": i.token(good)[:-6] + "AAAAAA", "unknown user": i.token(dict(good, email="zoe@d.test")),
        "critical": i.token(good, header={"crit": ["b64"], "b64": False}), "no token": "opaque"}
    for name, token in bad.items():
        assert bearer(s, token) == 535, (name, s.log()[-2000:])
        assert login(s, "ann@d.test") == 235  # else the client would have to wait longer each time
    assert s.last_challenge["status"] == "invalid_token" and s.last_challenge["openid-configuration"].startswith("https://login.test/")
    said = " / ".join(reasons(s))
    for part in ("expired", "never expires", "not valid yet", "another service", "another issuer", "none of the keys", "no key", "no such account here", "crit"):
        assert part in said, (part, said)
    s.stop()
    s = world.server("secret", extra='oauth { jwt_secret_file = "%s"\n audience = mail\n claim = sub\n unknown_accounts = yes }' % path)
    good = {"aud": "mail", "sub": "Zoe", "exp": now + 600}
    assert bearer(s, i.token(good, "HS256", secret)) == 235, s.log()[-3000:]
    assert s.events("auth.ok")[-1]["user"] == "zoe@d.test"
    assert bearer(s, i.token(good, "HS256", b"x" * 32)) == 535 and bearer(s, i.token(good)) == 535 and bearer(s, i.token(good, "none")) == 535


@case
def oauth_keys_and_endpoint(world):
    """With both, tokens that a key has signed are decided here, and all others by the endpoint; also by a keeper that is confined."""
    ca, cert, key = authority(world)
    e, i = Endpoint(world, cert, key), Issuer(world)
    e.expected = None
    now = int(time.time())
    signed = i.token({"aud": "mail", "email": "ann@d.test", "exp": now + 600})
    expired = i.token({"aud": "mail", "email": "ann@d.test", "exp": now - 600})
    foreign = i.token({"aud": "mail", "email": "ann@d.test", "exp": now + 600}, key=i.stranger)
    e.tokens = {"opaque": {"active": True, "aud": "mail", "email": "ann@d.test"}, foreign: {"active": True, "aud": "mail", "email": "ann@d.test"}}
    root = os.geteuid() == 0
    if root:
        make_users()
    users = world.write("accounts/users", "ann:{PLAIN}%s\n" % PASSWORD, 0o644)
    s = world.server(foreground=not root, extra="""accounts { from = "passwd:%s" }
oauth { introspection = "%s"\n ca_file = "%s"\n jwt_keys = "%s"\n audience = mail }""" % (users, e.url, ca, i.public))
    if root:
        assert processes_of(s)["keeper"] == ("_veredusk", True)
    assert login(s, "ann") == 235, s.log()[-3000:]
    assert bearer(s, signed) == 235 and not e.asked
    assert bearer(s, expired) == 535 and not e.asked
    assert bearer(s, "opaque") == 235 and len(e.asked) == 1, s.log()[-3000:]
    assert bearer(s, foreign) == 235 and len(e.asked) == 2
    assert bearer(s, "unknown") == 535
    world.write("accounts/users.new", "bob:{PLAIN}%s\n" % PASSWORD)
    os.rename(world.path("accounts/users.new"), users)  # also there a file that is replaced is read
    assert login(s, "bob") == 235 and bearer(s, signed) == 535


@case
def oauth_files_that_are_wrong(world):
    """Keys and secrets that cannot be used stop the server at its start, with the file's name; `veredus check` says the same before."""
    i = Issuer(world)
    short = world.write("short", "too short\n", 0o600)
    for key, path, part in (("jwt_keys", i.rsa, "PRIVATE KEY"), ("jwt_keys", short, "no public key"), ("jwt_secret_file", short, "expected 32 or more")):
        s = world.server("wrong", start=False, extra='oauth { %s = "%s"\n audience = mail }' % (key, path))
        done = s.command("check", s.config, ok=False)
        assert done.returncode == 78 and "%s:1: " % path in done.stdout and part in done.stdout, done.stdout
        done = s.command("serve", "--foreground", "--config", s.config, ok=False)
        assert done.returncode == 78 and path in done.stdout and "keeper.sources" in done.stdout, done.stdout
        shutil.rmtree(world.path("wrong"))
