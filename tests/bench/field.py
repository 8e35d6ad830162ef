"""The servers that the rows of the benchmark share: veredus, Postfix and smtp-sink side by side, each started when it is first asked for."""
import functools
import os
import re
import shutil
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402

SIZE, SESSIONS, LARGE, LARGE_SESSIONS = 4096, 50, 1 << 20, 10
COUNTS = {"veredus": 20000, "postfix": 3000, "null": 20000}


class Stalled:
    """A next hop that accepts connections and never says a word: what was accepted stays in the queue."""

    def __init__(self, world):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(1000)
        self.port = self.socket.getsockname()[1]
        world.cleanups.append(self.socket.close)


class Refusing:
    """A port that is taken, on every address, and on which nobody listens."""

    def __init__(self, world):
        self.socket = socket.socket()
        self.socket.bind(("", 0))
        self.port = self.socket.getsockname()[1]
        world.cleanups.append(self.socket.close)


class SmtpSink:
    """Takes everything and keeps nothing."""

    def __init__(self, world):
        self.port = harness.free_port()
        self.program = world.start("smtp-sink-%d" % self.port, ["smtp-sink", "-u", "nobody", "-c", "127.0.0.1:%d" % self.port, "1000"])
        harness.wait_until("smtp-sink", lambda: harness.accepts("127.0.0.1", self.port))

    def count(self):
        with open(self.program.log_path, "rb") as f:
            f.seek(max(0, os.path.getsize(self.program.log_path) - 400))
            found = re.findall(rb"mesg=(\d+)", f.read())
        return int(found[-1]) if found else 0


def source(port, count, to, keep_open, size=SIZE, sessions=SESSIONS, recipients=1):
    """Seconds that smtp-source takes for `count` messages."""
    command = ["smtp-source", "-s", sessions, "-m", count, "-l", size, "-r", recipients, "-f", "from@source.test", "-t", to]
    began = time.monotonic()
    harness.run(*command + (["-d"] if keep_open else []) + ["127.0.0.1:%d" % port], timeout=1800)
    return time.monotonic() - began


def pipelined_source(port, count, to):
    """Seconds for `count` messages in one session by a client that sends MAIL, RCPT and DATA at once: two round trips for each."""
    commands = b"MAIL FROM:<from@source.test>\r\nRCPT TO:<%s>\r\nDATA\r\n" % to.encode()
    message = b"Subject: one at a time\r\n\r\n" + (b"X" * 78 + b"\r\n") * (SIZE // 80) + b".\r\n"
    with socket.create_connection(("127.0.0.1", port), 60) as s, s.makefile("rb") as replies:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(text, *codes):
            s.sendall(text)
            for code in codes:
                line = replies.readline()
                while line[3:4] == b"-":
                    line = replies.readline()
                if not line.startswith(code):
                    raise AssertionError("expected %s, got %r" % (code.decode(), line))
        ask(b"", b"220")
        ask(b"EHLO source.test\r\n", b"250")
        began = time.monotonic()
        for _ in range(count):
            ask(commands, b"250", b"250", b"354")
            ask(message, b"250")
        return time.monotonic() - began


def files_in(folder):
    try:
        return sum(1 for _ in os.scandir(folder))
    except FileNotFoundError:
        return 0


def bodies_in(spool):
    return sum(len(files) for _, _, files in os.walk(os.path.join(spool, "body")))


def until(count, target, seconds=300):
    end = time.monotonic() + seconds
    while count() < target:
        if time.monotonic() > end:
            raise AssertionError("only %d of %d arrived in %d s" % (count(), target, seconds))
        time.sleep(0.02)


def crash(server):
    """kill -9 of a veredus with all its processes; a stop would wait for the next hop that stalls."""
    pids = [server.program.pid, *server.pids()]
    for pid in pids:
        harness.kill(pid)
    server.program.process.wait()
    harness.wait_until("all processes are gone", lambda: not any(os.path.exists("/proc/%d" % pid) for pid in pids))


def smtp_to(port):
    """The value of `deliver` for a next hop on this machine."""
    return 'deliver = "smtp:127.0.0.1:%d"' % port


class Field:
    def __init__(self, world, options):
        self.world, self.options, self.servers = world, options, []

    @functools.cached_property
    def sink(self):
        return SmtpSink(self.world)

    @functools.cached_property
    def stalled(self):
        return Stalled(self.world)

    @functools.cached_property
    def refusing(self):
        return Refusing(self.world)

    @functools.cached_property
    def server(self):
        return self.new_server("veredus", {"refuse.test": smtp_to(self.refusing.port), "sink.test": smtp_to(self.sink.port), "d.test": "mailboxes = any"})

    @functools.cached_property
    def postfix(self):
        transports = "inline:{stall.test=smtp:[127.0.0.1]:%d, sink.test=smtp:[127.0.0.1]:%d}" % (self.stalled.port, self.sink.port)
        return harness.postfix(self.world, "relay_domains = stall.test, sink.test\ntransport_maps = %s" % transports)

    def new_server(self, name, domains, extra="", head=""):
        """A veredus with all defaults but for its folders and ports; mail for stall.test stays in its queue."""
        server = harness.Server(self.world, name, hostname="bench.test", processes=0, head=head,
                              domains={"stall.test": smtp_to(self.stalled.port), **domains},
                              extra="limits { connections_per_address = 1000 }\nlog { level = notice }\n" + extra)
        self.servers.append(server)
        return server

    def end(self):
        for server in self.servers:
            if server.program.alive():
                crash(server)

    def port(self, who):
        return {"veredus": lambda: self.server.mx, "postfix": lambda: self.postfix, "null": lambda: self.sink.port}[who]()

    def postfix_master(self):
        with open(self.world.path("postfix-spool", "pid", "master.pid")) as f:
            return int(f.read())

    def settle(self, who):
        """Empties the queue, so that each measurement begins alike."""
        if who == "veredus":
            self.server.queue("remove", "--all")
            harness.wait_until("the bodies are gone", lambda: bodies_in(self.server.spool) == 0, 60)
        elif who == "postfix":
            harness.run("postsuper", "-c", self.world.path("postfix"), "-d", "ALL", ok=False, timeout=300)
            harness.run("postfix", "-c", self.world.path("postfix"), "reload", ok=False)

    # ---- messages a second ----

    def accept(self, who, keep_open):
        count, port = COUNTS[who] // (1 if keep_open else 2), self.port(who)
        rate = count / source(port, count, "r@stall.test", keep_open)
        self.settle(who)
        return rate

    def single(self, who, pipelined=False):
        """One session, one message at a time."""
        count, port, to = COUNTS[who] // 5, self.port(who), "r@stall.test"
        rate = count / (pipelined_source(port, count, to) if pipelined else source(port, count, to, True, sessions=1))
        self.settle(who)
        return rate

    def large(self, who):
        """Messages of 1 MiB: as many a second as MiB. Their next hop refuses connections, so that settle() frees their files."""
        count, port = self.options.large, self.port(who)
        rate = count / source(port, count, "r@refuse.test", True, size=LARGE, sessions=LARGE_SESSIONS)
        self.settle(who)
        return rate

    def relay(self, who):
        count, port, before = COUNTS[who], self.port(who), self.sink.count()
        began = time.monotonic()
        source(port, count, "r@sink.test", True)
        until(lambda: self.sink.count() - before, count)
        return count / (time.monotonic() - began)

    def maildir(self, who):
        count, port = COUNTS[who] // 2, self.port(who)
        to = "x@p.test" if who == "postfix" else "x@d.test"
        folder = (self.world.path("postfix-mail", "p.test", "x", "new") if who == "postfix"
                  else os.path.join(self.server.maildir("x@d.test"), "new"))
        before = files_in(folder)
        began = time.monotonic()
        source(port, count, to, True)
        until(lambda: files_in(folder) - before, count)
        rate = count / (time.monotonic() - began)
        shutil.rmtree(os.path.dirname(folder), ignore_errors=True)
        return rate
