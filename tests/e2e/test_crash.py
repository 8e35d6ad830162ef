"""kill -9: every process one at a time, and all at once, during a load; each acknowledged message must arrive."""
import os
import random
import re
import signal
import smtplib
import socket
import threading
import time

import harness
from harness import Sink, case, kill, read_maildir, wait_until

MESSAGES = int(os.environ.get("VEREDUS_CRASH_MESSAGES", "20000"))
SESSIONS = 40
PAD = b"x" * 70 + b"\r\n"


class Load:
    """Sessions that send numbered messages to d.test (a Maildir) and far.test (relayed), and note which were acknowledged."""

    def __init__(self, port, count):
        self.port, self.next, self.count = port, 0, count
        self.acknowledged, self.lock = set(), threading.Lock()
        self.threads = [threading.Thread(target=self.session, daemon=True) for _ in range(SESSIONS)]
        for t in self.threads:
            t.start()

    def take(self):
        with self.lock:
            if self.next >= self.count:
                return None
            self.next += 1
            return self.next

    def session(self):
        number = self.take()
        while number is not None:
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as c:
                    while number is not None:
                        domain = "d.test" if number % 2 else "far.test"
                        size = 1100 if number % 500 == 0 else 3  # some are large: bodies in files of their own
                        c.sendmail("s@elsewhere.test", ["r@" + domain], b"Subject: n%d\r\n\r\n" % number + PAD * size)
                        with self.lock:
                            self.acknowledged.add(number)
                        number = self.take()
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)  # not acknowledged: the same number again, as a client would

    def running(self):
        return any(t.is_alive() for t in self.threads)


def numbers(raws):
    found = []
    for raw in raws:
        match = re.search(rb"^Subject: n(\d+)\r?$", raw[:2000], re.M)
        if match:
            found.append(int(match.group(1)))
    return found


@case
def kill_dash_nine(world):
    """At least 20,000 messages while processes die by SIGKILL: nothing acknowledged is lost; the count of duplicates is printed."""
    sink = Sink(world)
    s = world.server(domains={"d.test": "mailboxes = any", "far.test": 'deliver = "smtp:127.0.0.1:%d"' % sink.port}, hostname="crash.test", release=True,
                     extra="queue { retry = { 1s } }\nlimits { connections_per_address = 1000 }\nlog { level = notice }")
    random.seed(7)
    load = Load(s.mx, MESSAGES)
    killed = []
    roles = ["queue", "receiver", "sender", "local", "keeper", "admin", "resolver"]
    while load.running():
        for role in roles:
            time.sleep(0.4)
            pids = list(s.pids(role))
            if pids and load.running():
                kill(random.choice(pids))
                killed.append(role)
        if not load.running():
            break
        time.sleep(0.4)
        everybody = [s.program.pid] + list(s.pids())
        for pid in everybody:
            kill(pid)
        killed.append("all")
        s.program.process.wait()
        wait_until("all are gone", lambda: not any(alive(p) for p in everybody), 20)
        s.start()
    for t in load.threads:
        t.join()
    assert len(load.acknowledged) == MESSAGES and len(set(killed)) >= 5, (len(load.acknowledged), killed)
    s.wait_empty(120)
    arrived = numbers(read_maildir(s.maildir("r@d.test"))) + numbers([m[2] for m in sink.messages])
    lost = load.acknowledged - set(arrived)
    print("         %d messages, %d kills (%s): %d acknowledged, %d lost, %d duplicates" % (
        MESSAGES, len(killed), ", ".join("%s %d" % (r, killed.count(r)) for r in roles + ["all"]), len(load.acknowledged), len(lost),
        len(arrived) - len(set(arrived))), flush=True)
    assert not lost, sorted(lost)[:20]


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@case
def stop_and_reload_lose_nothing(world):
    """SIGHUP and SIGTERM during a load: no session breaks without a reply that lets the client try again, and nothing is sent twice."""
    sink = Sink(world)
    s = world.server(domains={"d.test": "mailboxes = any", "far.test": 'deliver = "smtp:127.0.0.1:%d"' % sink.port},
                     extra="limits { connections_per_address = 1000 }")
    count = MESSAGES // 10
    load = Load(s.mx, count)
    for i in range(4):
        time.sleep(0.7)
        os.kill(s.program.pid, signal.SIGHUP)
        wait_until("generation %d is ready" % (i + 2), lambda: s.log().count("server.ready") >= i + 2, 30)
    for _ in range(2):
        time.sleep(0.5)
        assert s.stop() == 0, "SIGTERM ends with 0"
        s.start()
    while load.running():
        time.sleep(0.1)
    s.wait_empty(60)
    arrived = numbers(read_maildir(s.maildir("r@d.test"))) + numbers([m[2] for m in sink.messages])
    assert set(arrived) == load.acknowledged and len(load.acknowledged) == count
    print("         %d messages, 4 reloads, 2 stops: %d duplicates" % (count, len(arrived) - len(set(arrived))), flush=True)
    assert len(arrived) == len(set(arrived)), "nothing is delivered twice when nobody dies"


@case
def torn_tail_is_cut(world):
    """Garbage at the end of the newest segment, as a power cut leaves it, costs nothing that was acknowledged."""
    s = world.server(domains={"far.test": 'deliver = "smtp:127.0.0.1:1"'})
    with smtplib.SMTP(s.host, s.mx) as c:
        for i in range(50):
            c.sendmail("x@y.test", ["r@far.test"], "Subject: n%d\r\n\r\n." % i)
    for pid in [s.program.pid] + list(s.pids()):
        kill(pid)
    s.program.process.wait()
    folder = os.path.join(s.spool, "log")
    newest = os.path.join(folder, sorted(n for n in os.listdir(folder) if n.endswith(".seg"))[-1])
    with open(newest, "r+b") as f:
        data = f.read()
        end = len(data.rstrip(b"\0"))
        f.seek(end)
        f.write(b"VR\x01garbage that looks like the beginning of a record" * 3)
    s.start()
    assert len(s.listed()) == 50


@case
def full_disk_is_452(world):
    """A full disk gives 452 and nothing is acknowledged; when there is room again, mail is taken again."""
    if os.geteuid() != 0:
        raise harness.Skip("needs root to mount a small file system")
    small = world.path("small")
    os.makedirs(small)
    harness.run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small)
    world.cleanups.append(lambda: harness.run("umount", "-l", small, ok=False))
    s = world.server(domains={"far.test": 'deliver = "smtp:127.0.0.1:1"'}, start=False)
    s.spool = os.path.join(small, "spool")
    s.extra = "queue { segment_size = 4M\n minimum_free = 1M }"
    s.config = s.write_config()
    s.start()
    taken, codes = 0, set()
    for session in range(60):
        with smtplib.SMTP(s.host, s.mx) as c:
            for i in range(10):
                try:
                    c.sendmail("x@y.test", ["r@far.test"], b"Subject: n%d-%d\r\n\r\n" % (session, i) + PAD * 700)
                    taken += 1
                except smtplib.SMTPDataError as e:
                    codes.add((e.smtp_code, e.smtp_error[:5]))
    assert codes == {(452, b"4.3.1")}, codes
    assert taken > 50 and "1 of %d messages" % taken in s.queue("list", "--limit", "1"), taken
    s.queue("remove", "--all")
    def one_more():
        try:
            with smtplib.SMTP(s.host, s.mx) as c:
                c.sendmail("x@y.test", ["r@far.test"], "Subject: again\r\n\r\n.")
            return True
        except smtplib.SMTPException:
            return False
    wait_until("there is room again", one_more, 30, 0.5)


@case
def idle_connections(world):
    """10,000 idle connections in clear: at most 8 KiB of memory (PSS) each."""
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 10000
    if hard < count + 500:
        raise harness.Skip("only %d descriptors are allowed" % hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    s = world.server(release=True, extra="limits { connections = 20000\n connections_per_address = 20000 }\nlog { level = notice }")
    before = pss(s)
    held = []
    for i in range(count):
        held.append(socket.create_connection((s.host, s.mx), 30))
        if i % 200 == 199:
            for h in held[-200:]:
                assert h.recv(200).startswith(b"220")
                h.sendall(b"EHLO idle.test\r\n")
            for h in held[-200:]:
                text = b""
                while b"250 HELP\r\n" not in text:
                    text += h.recv(1000)
    time.sleep(1)
    after = pss(s)
    print("         %d idle sessions after EHLO: %d KiB of PSS in all, %.2f KiB each (without them %d KiB)" % (
        count, after, (after - before) / count, before), flush=True)
    for h in held:
        h.close()
    assert (after - before) / count <= 8 and after / count <= 8


def pss(s):
    total = 0
    for pid in [s.program.pid] + list(s.pids()):
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    return total
