"""What the end-to-end tests share: servers of ours and of others on loopback, started and stopped by pid, below one temporary folder.

A test is a function marked @case in a file test_*.py; it gets a World and fails by raising. run.py finds and runs them.
Every server that a test starts belongs to its World, which stops it by pid when the test ends.
"""
import contextlib
import email
import fcntl
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
VEREDUS = os.environ.get("VEREDUS", os.path.join(TOP, "build", "src", "veredus"))
BUILD = os.path.dirname(os.path.dirname(os.path.abspath(VEREDUS)))  # where it was built; run.py copies the program elsewhere
PASSWORD = "correct horse battery"
CASES = []


class Skip(Exception):
    """The machine lacks what the case needs; the reason is printed."""


def case(function):
    """Marks a test; its docstring's first line is its title."""
    CASES.append(function)
    return function


# Each worker of run.py has a part of these, below what the kernel gives to clients: nobody else takes a port between here and the server's start.
PORTS = range(10000, 32768)
next_port = random.choice(PORTS)


def share_ports(worker, workers):
    global PORTS, next_port
    PORTS = PORTS[worker * len(PORTS) // workers:(worker + 1) * len(PORTS) // workers]
    next_port = random.choice(PORTS)


def free_port(host="127.0.0.1"):
    global next_port
    for _ in PORTS:
        port = next_port
        next_port = port + 1 if port + 1 in PORTS else PORTS[0]
        with socket.socket() as s, contextlib.suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, port))
            return port
    raise AssertionError("no port is free")


@contextlib.contextmanager
def user_data_base():
    """useradd gives up where another one is at work: one at a time."""
    with open(__file__) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def make_users():
    """The users of the privileged mode, which only root can make and use."""
    if os.geteuid() != 0:
        raise Skip("the privileged mode needs root")
    with user_data_base():
        for user in ("_veredus", "_veredusk", "_veredusq"):
            run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", user, ok=False)


def wait_until(what, test, seconds=20.0, every=0.05):
    """Returns test()'s first true value; fails when none came in time."""
    end = time.monotonic() + seconds
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("did not happen within %g s: %s" % (seconds, what))
        time.sleep(every)


def accepts(host, port):
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), 1).close()
        return True
    return False


def run(*command, ok=True, **options):
    """Runs a program to its end, with its output as text."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=options.pop("timeout", 60),
                          universal_newlines=True, errors="replace", **options)
    if ok and done.returncode != 0:
        raise AssertionError("%s ended with %d:\n%s" % (" ".join(map(str, command)), done.returncode, done.stdout))
    return done


class Program:
    """A server in the background with its output in a file."""

    def __init__(self, world, name, command, **options):
        self.name, self.log_path = name, os.path.join(world.folder, name + ".log")
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, **options)
        world.programs.append(self)

    @property
    def pid(self):
        return self.process.pid

    def text(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process.poll() is None

    def stop(self, seconds=30):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


class World:
    """One test's surroundings."""

    def __init__(self, title):
        self.title = title
        self.folder = tempfile.mkdtemp(prefix="veredus-e2e-")
        os.chmod(self.folder, 0o755)  # servers that change their user must pass
        self.programs = []
        self.cleanups = []

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def start(self, name, command, **options):
        return Program(self, name, command, **options)

    def server(self, name="veredus", **options):
        return Server(self, name, **options)

    def end(self):
        for program in reversed(self.programs):
            program.stop()
            program.log.close()
        for cleanup in reversed(self.cleanups):
            cleanup()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """A veredus of the test's own: mx, submission and submissions listeners on free ports of `host`.

    domains: {name: body of its section}; extra: text for the end of the configuration.
    """

    def __init__(self, world, name="veredus", host="127.0.0.1", domains=None, extra="", head="", accounts=(), hostname=None,
                 foreground=True, start=True, processes=2, release=False):
        # a load test wants the release build, when the others run a sanitized one
        self.veredus = os.environ.get("VEREDUS_RELEASE", VEREDUS) if release else VEREDUS
        self.world, self.name, self.host = world, name, host
        self.hostname = hostname or name + ".test"
        self.mx, self.submission, self.submissions = free_port(host), free_port(host), free_port(host)
        self.domains = {"d.test": ""} if domains is None else domains
        self.extra, self.head, self.foreground, self.processes = extra, head, foreground, processes
        self.state, self.spool, self.run_dir = (world.path(name, part) for part in ("state", "spool", "run"))
        os.makedirs(world.path(name), exist_ok=True)
        self.program = None
        self.config = self.write_config()
        for account in accounts:
            self.add_account(account)
        if start:
            self.start()

    def write_config(self):
        lines = ['hostname = "%s"' % self.hostname, 'spool = "%s"' % self.spool, 'state = "%s"' % self.state, 'run = "%s"' % self.run_dir,
                 self.head, 'listen "%s:%d" { role = mx }' % (self.host, self.mx),
                 'listen "%s:%d" { role = submission }' % (self.host, self.submission),
                 'listen "%s:%d" { role = submissions }' % (self.host, self.submissions)]
        lines += ['domain "%s" { %s }' % item for item in self.domains.items()]
        lines += ["processes { receivers = %d\n senders = %d }" % (self.processes, self.processes), self.extra]
        return self.world.write(self.name + ".conf", "\n".join(lines) + "\n")

    def command(self, *arguments, ok=True, **options):
        return run(self.veredus, *arguments, ok=ok, **options)

    def add_account(self, address, *arguments):
        self.command("account", "add", address, "--config", self.config, "--password-stdin", *arguments, input=PASSWORD + "\n")

    def start(self):
        options = ["--foreground"] if self.foreground else []
        seen = self.log().count("server.ready") if self.program else 0
        self.program = self.world.start(self.name, [self.veredus, "serve", "--config", self.config] + options)
        wait_until("%s is ready" % self.name,
                   lambda: self.program.text().count("server.ready") > seen or self.give_up(), 30)
        return self

    def give_up(self):
        if not self.program.alive():
            raise AssertionError("%s ended with %s:\n%s" % (self.name, self.program.process.returncode, self.program.text()[-3000:]))
        return False

    def stop(self):
        return self.program.stop()

    def log(self):
        return self.program.text()

    def events(self, name):
        """The events of this name, each as a dict."""
        found = []
        for line in self.log().splitlines():
            parts = line.split(" ", 4)
            if len(parts) >= 4 and parts[3] == name:
                fields = dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', parts[4] if len(parts) > 4 else ""))
                found.append({k: v.strip('"') for k, v in fields.items()})
        return found

    def pids(self, role=None):
        """Process ids of the children that live now: {pid: role}."""
        living = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open("/proc/%s/stat" % pid) as f:
                    name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
                if int(rest.split()[1]) == self.program.pid:
                    living[int(pid)] = name.removeprefix("vd-")
        return {p: r for p, r in living.items() if role is None or r.startswith(role[:6])}

    def maildir(self, address):
        local, domain = address.rsplit("@", 1)
        return os.path.join(self.state, "mail", domain, local)

    def mails(self, address):
        """The raw messages in this account's Maildir."""
        return read_maildir(self.maildir(address))

    def wait_mail(self, address, count=1, seconds=20):
        wait_until("%d messages for %s" % (count, address), lambda: len(self.mails(address)) >= count, seconds)
        return [email.message_from_bytes(raw) for raw in self.mails(address)]

    def queue(self, *arguments, ok=True):
        return self.command("queue", *arguments, "--config", self.config, ok=ok).stdout

    def listed(self, *filters):
        """The messages of `queue list`, as objects."""
        return [json.loads(line) for line in self.queue("list", "--json", *filters).splitlines()]

    def wait_empty(self, seconds=30):
        wait_until("the queue of %s is empty" % self.name, lambda: "empty" in self.queue("list"), seconds, 0.2)

    def ca(self):
        return os.path.join(self.state, "self-signed.pem")

    def tls_context(self):
        context = ssl.create_default_context(cafile=self.ca())
        context.check_hostname = False
        return context


def read_maildir(folder):
    found = []
    for part in ("new", "cur"):
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(os.path.join(folder, part))):
                with contextlib.suppress(FileNotFoundError):
                    with open(os.path.join(folder, part, name), "rb") as f:
                        found.append(f.read())
    return found


class Peer:
    """Listens; each connection is a session() of the subclass in a thread of its own, until the world ends."""

    def __init__(self, world, host, port):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port or 0))
        self.port = self.listener.getsockname()[1]
        self.listener.listen(100)
        self.open, self.connections = True, 0
        threading.Thread(target=self.serve, daemon=True).start()
        world.cleanups.append(self.close)

    def close(self):
        self.open = False
        self.listener.close()

    def serve(self):
        while self.open:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.session, args=(connection,), daemon=True).start()


class Sink(Peer):
    """A small scripted SMTP server in a thread: keeps what it gets, replies as told.

    replies: {"RCPT TO:<x@y>": "450 4.2.0 later", "DATA": …, ".": …}; a prefix match on the command, upper case, wins over 250.
    """

    def __init__(self, world, host="127.0.0.1", port=None, replies=None, extensions=("PIPELINING", "8BITMIME", "SIZE 50000000")):
        self.replies, self.extensions = dict(replies or {}), extensions
        self.messages, self.commands = [], []
        super().__init__(world, host, port)

    def reply_to(self, command, otherwise):
        for prefix, reply in self.replies.items():
            if command.upper().startswith(prefix.upper()):
                return reply
        return otherwise

    def session(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # replies to pipelined commands leave one by one
        with connection, connection.makefile("rb") as lines:
            def say(text):
                connection.sendall((text + "\r\n").encode())
            sender, recipients = None, []
            with contextlib.suppress(OSError):
                say(self.reply_to("GREETING", "220 sink.test ESMTP"))
                for raw in lines:
                    command = raw.decode("latin-1").rstrip("\r\n")
                    self.commands.append(command)
                    verb = command.split(" ")[0].upper()
                    if verb in ("EHLO", "LHLO"):
                        default = "\r\n".join("250-" + e for e in ("sink.test",) + tuple(self.extensions)) + "\r\n250 HELP"
                    elif verb == "DATA":
                        default = "354 go" if recipients else "554 5.5.1 no valid recipients"
                    elif verb == "QUIT":
                        default = "221 bye"
                    else:
                        default = "250 2.0.0 ok"
                    reply = self.reply_to(command, default)
                    if reply == "CLOSE":
                        return
                    if verb == "MAIL":
                        sender, recipients = command, []
                    if verb == "RCPT" and reply.startswith("2"):
                        recipients.append(command)
                    say(reply)
                    if verb == "QUIT":
                        return
                    if verb == "DATA" and reply.startswith("354"):
                        body = b""
                        for line in lines:
                            if line == b".\r\n":
                                break
                            body += line[1:] if line.startswith(b".") else line
                        verdict = self.reply_to(".", "250 2.0.0 taken")
                        if verdict.startswith("2"):
                            self.messages.append((sender, list(recipients), body))
                        if verdict == "CLOSE":
                            return
                        say(verdict)


def nsd(world, zones, port=None):
    """An authoritative DNS server on 127.0.0.1; zones: {origin: text of records, or None: its file stands already}. Returns its port."""
    port = port or free_port()
    parts = ["server:", "  ip-address: 127.0.0.1@%d" % port, '  username: ""', '  chroot: ""', '  zonesdir: "%s"' % world.folder,
             '  zonelistfile: "%s"' % world.path("zone.list"), '  xfrdfile: ""', '  pidfile: ""', "  server-count: 1",
             "remote-control:", "  control-enable: no"]
    for origin, records in zones.items():
        if records is not None:
            text = "$ORIGIN %s.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n%s\n" % (origin, records)
            world.write(origin + ".zone", text)
        parts += ["zone:", "  name: %s" % origin, "  zonefile: %s.zone" % origin]
    config = world.write("nsd.conf", "\n".join(parts) + "\n")
    world.start("nsd", [shutil.which("nsd", path="/usr/sbin:/usr/bin"), "-d", "-c", config])
    wait_until("nsd answers", lambda: dns_answers(port), 15)
    return port


def dns_answers(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        with contextlib.suppress(OSError):
            s.sendto(b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x06\x00\x01", ("127.0.0.1", port))
            return bool(s.recv(512))
    return False


def postfix(world, extra="", port=None):
    """A Postfix of the test's own in the world's folder; needs root, as Postfix does."""
    if os.geteuid() != 0:
        raise Skip("Postfix can be started by root only")
    if not os.path.exists("/usr/sbin/postfix"):
        raise Skip("Postfix is not installed")
    port = port or free_port()
    conf, queue, data = world.path("postfix"), world.path("postfix-spool"), world.path("postfix-data")
    for folder in (conf, queue, data):
        os.makedirs(folder, exist_ok=True)
    shutil.chown(data, "postfix", "postfix")
    world.write("postfix/main.cf", """
compatibility_level = 3.6
queue_directory = %s
data_directory = %s
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = %s
maillog_file_prefixes = %s
alias_maps =
smtpd_tls_security_level = none
smtp_tls_security_level = may
syslog_name = postfix-test
virtual_mailbox_domains = p.test
virtual_mailbox_base = %s
virtual_mailbox_maps = inline:{x@p.test=p.test/x/}
virtual_uid_maps = static:%d
virtual_gid_maps = static:%d
virtual_minimum_uid = 1
%s
""" % (queue, data, world.path("postfix.log"), world.folder, world.path("postfix-mail"), pwd.getpwnam("nobody").pw_uid,
       pwd.getpwnam("nobody").pw_gid, extra))
    os.makedirs(world.path("postfix-mail"), exist_ok=True)
    shutil.chown(world.path("postfix-mail"), "nobody")
    with open("/usr/share/postfix/master.cf.dist" if os.path.exists("/usr/share/postfix/master.cf.dist") else "/etc/postfix/master.cf") as f:
        master = f.read()
    lines = [line for line in master.splitlines() if not line.startswith("smtp      inet")]
    lines = ["127.0.0.1:%d inet n - n - - smtpd" % port] + [
        " ".join(line.split()[:4] + ["n"] + line.split()[5:]) if line[:1].isalpha() and len(line.split()) >= 8 else line for line in lines]
    world.write("postfix/master.cf", "\n".join(lines) + "\npostlog unix-dgram n - n - 1 postlogd\n")
    run("postfix", "-c", conf, "set-permissions", ok=False)
    run("postfix", "-c", conf, "start", timeout=120)
    world.cleanups.append(lambda: run("postfix", "-c", conf, "stop", ok=False, timeout=120))
    return port


def kill(pid, signum=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)
