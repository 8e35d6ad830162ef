"""A deep queue: list and summary while mail goes on, filters, pages, changes in bulk, readers that leave or do not read, a queue that dies."""
import json
import os
import signal
import smtplib
import socket
import subprocess
import threading

import harness
from harness import VEREDUS, case, kill, wait_until
from test_tools import on_terminal, tool

MESSAGES = int(os.environ.get("VEREDUS_DEEP_MESSAGES", "20000"))
SESSIONS = 8


def send(port, numbers, to):
    """One session; MAIL, RCPT and DATA in one piece, behind the dot of the message before."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection, connection.makefile("rb") as replies:
        def expect(code, times=1):
            for _ in range(times):
                line = replies.readline()
                while line[3:4] == b"-":
                    line = replies.readline()
                assert line.startswith(code), line
        expect(b"220")
        connection.sendall(b"EHLO deep\r\n")
        expect(b"250")
        dot = b""
        for number in numbers:
            connection.sendall(dot + b"MAIL FROM:<s%d@news.test>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (number % 100, to))
            if dot:
                expect(b"250")
            expect(b"250", 2)
            expect(b"354")
            dot = b"Subject: n%d\r\n\r\ntext\r\n.\r\n" % number
        connection.sendall(dot + b"QUIT\r\n")
        expect(b"250")


def fill(s, count, to):
    failed = []

    def session(numbers):
        try:
            send(s.mx, numbers, to)
        except Exception as e:  # told by the test, not lost with the thread
            failed.append(e)
    threads = [threading.Thread(target=session, args=(range(i, count, SESSIONS),)) for i in range(SESSIONS)]
    for t in threads:
        t.start()
    return threads, failed


def ended(threads, failed):
    for t in threads:
        t.join()
    assert not failed, failed


def summary(s):
    return json.loads(s.queue("summary", "--json"))


def asking(s, *arguments):
    """veredus queue, which has shown a line already: (process, that line)."""
    p = subprocess.Popen([VEREDUS, "queue", *arguments, "--run", s.run_dir], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return p, p.stdout.readline()


def ids_of(text):
    return [json.loads(line)["id"] for line in text.splitlines()]


@case
def deep_queue(world):
    """20,000 deferred messages: told whole and in order while mail is accepted, and to readers that leave or stop reading; bulk changes; kill -9 in mid-answer."""
    s = world.server(domains={"far.test": 'deliver = "smtp:127.0.0.1:%d"' % harness.free_port(), "d.test": "mailboxes = any"},
                     extra="queue { retry = { 10h } }")
    ended(*fill(s, MESSAGES, b"r@far.test"))
    wait_until("all are deferred", lambda: summary(s)["deferred"] == MESSAGES, 120, 0.3)
    told = summary(s)
    assert told["messages"] == told["recipients"] == MESSAGES and told["oldest"] and told["ready"] == told["sending"] == 0, told

    # Mail is accepted and delivered meanwhile, and makes the table of messages grow.
    load = fill(s, 2000, b"r@d.test")
    rounds = 0
    while rounds == 0 or any(t.is_alive() for t in load[0]):
        deferred = ids_of(s.queue("list", "--json", "--domain", "far.test"))
        assert len(deferred) == len(set(deferred)) == MESSAGES and deferred == sorted(deferred), len(deferred)
        assert summary(s)["deferred"] >= MESSAGES  # and those that came this very moment
        rounds += 1
    ended(*load)
    wait_until("the load is delivered", lambda: summary(s)["messages"] == MESSAGES, 60)

    # Filters and pages.
    assert len(s.listed("--sender", "s7@news.test")) == len(range(7, MESSAGES, 100))
    assert "No message" in s.queue("list", "--reason", "no such words") and "No message" in s.queue("list", "--older", "1d")
    assert len(s.listed("--reason", "REFUSED", "--newer", "1d", "--state", "deferred", "--limit", "10")) == 10
    pages, after = [], []
    while len(pages) < MESSAGES:
        page = ids_of(s.queue("list", "--json", "--limit", "7000", *after))
        pages, after = pages + page, ["--after", page[-1]]
    assert pages == deferred and "nothing more" in s.queue("list", *after)
    shown = on_terminal([VEREDUS, "queue", "list", "--run", s.run_dir])[1].splitlines()
    assert shown[-1].startswith("1000 of %d messages; --after %s " % (MESSAGES, deferred[999])), shown[-1]

    # A reader that leaves; one that reads no more for a while, during which mail and other questions go on.
    p, first = asking(s, "list")
    p.stdout.close()
    complaint = p.stderr.read()
    assert p.wait(60) == 0 and first.startswith(deferred[0].encode()) and complaint == b"", (p.returncode, complaint)
    p, first = asking(s, "list", "--json")
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail("x@y.test", ["ann@d.test"], "Subject: meanwhile\r\n\r\n.")
    s.wait_mail("ann@d.test", 1)
    assert summary(s)["deferred"] == MESSAGES
    assert ids_of(first + p.stdout.read()) == deferred and p.wait(60) == 0

    # Changes in bulk; who asked for one and leaves ends it, and what was changed stays changed.
    assert tool("queue", "hold", "--run", s.run_dir)[0] == 64
    assert "%d messages would be held" % MESSAGES in s.queue("hold", "--domain", "far.test", "--dry-run") and summary(s)["held"] == 0
    p = subprocess.Popen([VEREDUS, "queue", "hold", "--all", "--run", s.run_dir], stdout=subprocess.PIPE)
    wait_until("some are held", lambda: summary(s)["held"] > 0 or p.poll() is not None)
    p.send_signal(signal.SIGKILL)
    p.wait()
    held = -1
    while held != summary(s)["held"]:
        held = summary(s)["held"]
    assert 0 < held <= MESSAGES and len(s.listed("--held")) == held
    assert "%d messages held" % MESSAGES in s.queue("hold", "--domain", "far.test")
    assert summary(s)["held"] == MESSAGES
    assert "%d messages released" % MESSAGES in s.queue("release", "--held")

    # The queue dies with an answer half told.
    p, first = asking(s, "list")
    kill(next(iter(s.pids("queue"))))
    rest, complaint = p.communicate(timeout=60)
    assert p.returncode == 75 and b"ask again" in complaint, (p.returncode, complaint)
    wait_until("the queue is back", lambda: '"deferred":%d' % MESSAGES in tool("queue", "summary", "--json", "--run", s.run_dir)[1], 60)
    assert "%d messages removed" % MESSAGES in s.queue("remove", "--all")
    s.wait_empty()
