#!/usr/bin/env python3
"""Rates of veredus beside those of its peers, in one run on one disk, as ratios.

usage: bench.py [--json FILE] [--rounds N] [row ...]

A line a row: row, veredus, peer, ratio, mark, ok or short. Rates are messages a second: the median of the rounds, in which the
peers take turns. Postfix is Debian's with its defaults and fsync; the null rate is that of smtp-sink, which keeps nothing. smtp-source
sends messages of 4 KiB in 50 sessions. VEREDUS names the release build.
"""
import argparse
import json
import os
import re
import shutil
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402

SIZE, SESSIONS = 4096, 50


class Stalled:
    """A next hop that accepts connections and never says a word: what was accepted stays in the queue."""

    def __init__(self, world):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(1000)
        self.port = self.socket.getsockname()[1]
        world.cleanups.append(self.socket.close)


class SmtpSink:
    def __init__(self, world):
        self.port = harness.free_port()
        self.program = world.start("smtp-sink-%d" % self.port, ["smtp-sink", "-u", "nobody", "-c", "127.0.0.1:%d" % self.port, "1000"])
        harness.wait_until("smtp-sink", lambda: harness.accepts("127.0.0.1", self.port))

    def count(self):
        with open(self.program.log_path, "rb") as f:
            f.seek(max(0, os.path.getsize(self.program.log_path) - 400))
            found = re.findall(rb"mesg=(\d+)", f.read())
        return int(found[-1]) if found else 0


def source(port, count, to, keep_open, size=SIZE, sessions=SESSIONS):
    """Seconds that smtp-source takes for `count` messages."""
    command = ["smtp-source", "-s", sessions, "-m", count, "-l", size, "-f", "from@source.test", "-t", to]
    began = time.monotonic()
    harness.run(*command + (["-d"] if keep_open else []) + ["127.0.0.1:%d" % port], timeout=600)
    return time.monotonic() - began


def files_in(folder):
    try:
        return sum(1 for _ in os.scandir(folder))
    except FileNotFoundError:
        return 0


def until(count, target, seconds=300):
    end = time.monotonic() + seconds
    while count() < target:
        if time.monotonic() > end:
            raise AssertionError("only %d of %d arrived in %d s" % (count(), target, seconds))
        time.sleep(0.02)


class Field:
    """The servers that stand side by side in one run."""

    def __init__(self, world):
        self.world = world
        self.sink = SmtpSink(world)
        self.stalled = Stalled(world)
        transports = "inline:{stall.test=smtp:[127.0.0.1]:%d, sink.test=smtp:[127.0.0.1]:%d}" % (self.stalled.port, self.sink.port)
        self.postfix = harness.postfix(world, "relay_domains = stall.test, sink.test\ntransport_maps = %s" % transports)
        self.server = harness.Server(
            world, hostname="bench.test", processes=0,
            domains={"stall.test": 'deliver = "smtp:127.0.0.1:%d"' % self.stalled.port, "sink.test": 'deliver = "smtp:127.0.0.1:%d"' % self.sink.port,
                     "d.test": "mailboxes = any"},
            extra="limits { connections_per_address = 1000 }\nlog { level = notice }")
        self.ports = {"veredus": self.server.mx, "postfix": self.postfix, "null": self.sink.port}
        self.counts = {"veredus": 20000, "postfix": 3000, "null": 20000}

    def accept(self, who, keep_open):
        count = self.counts[who] // (1 if keep_open else 2)
        rate = count / source(self.ports[who], count, "r@stall.test", keep_open)
        self.settle(who)
        return rate

    def relay(self, who):
        count, before = self.counts[who], self.sink.count()
        began = time.monotonic()
        source(self.ports[who], count, "r@sink.test", True)
        until(lambda: self.sink.count() - before, count)
        return count / (time.monotonic() - began)

    def maildir(self, who):
        count = self.counts[who] // 2
        to = "x@p.test" if who == "postfix" else "x@d.test"
        folder = (self.world.path("postfix-mail", "p.test", "x", "new") if who == "postfix"
                  else os.path.join(self.server.maildir("x@d.test"), "new"))
        before = files_in(folder)
        began = time.monotonic()
        source(self.ports[who], count, to, True)
        until(lambda: files_in(folder) - before, count)
        rate = count / (time.monotonic() - began)
        shutil.rmtree(os.path.dirname(folder), ignore_errors=True)
        return rate

    def settle(self, who):
        """Empties the queue, so that each measurement begins alike."""
        if who == "veredus":
            self.server.queue("remove", "--all")
        elif who == "postfix":
            harness.run("postsuper", "-c", self.world.path("postfix"), "-d", "ALL", ok=False, timeout=300)
            harness.run("postfix", "-c", self.world.path("postfix"), "reload", ok=False)


# row: (what is measured, peer, mark)
ROWS = {
    "accept": (lambda f, who: f.accept(who, True), "postfix", 6.0),
    "accept-null": (lambda f, who: f.accept(who, True), "null", None),
    "accept-connect": (lambda f, who: f.accept(who, False), "postfix", None),
    "accept-connect-null": (lambda f, who: f.accept(who, False), "null", None),
    "relay": (lambda f, who: f.relay(who), "postfix", 4.0),
    "maildir": (lambda f, who: f.maildir(who), "postfix", 3.0),
}


def main():
    parser = argparse.ArgumentParser(usage="script/bench [--json FILE] [--rounds N] [row ...]", epilog="rows: " + ", ".join(ROWS))
    parser.add_argument("rows", nargs="*", metavar="row")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for row in options.rows:
        if row not in ROWS:
            parser.error("there is no row %s; there are %s" % (row, ", ".join(ROWS)))
    world = harness.World("bench")
    results = []
    try:
        field = Field(world)
        for row in options.rows or ROWS:
            measure, peer, mark = ROWS[row]
            rates = {"veredus": [], peer: []}
            for _ in range(options.rounds):
                for who in rates:
                    rates[who].append(measure(field, who))
            ours, theirs = (statistics.median(rates[who]) for who in ("veredus", peer))
            ratio = ours / theirs
            verdict = ratio >= mark if mark else None
            results.append({"row": row, "veredus": round(ours), "peer": round(theirs), "ratio": round(ratio, 2), "mark": mark, "ok": verdict})
            print("%-20s %8.0f %8.0f (%s) %7.2f %6s  %s" % (row, ours, theirs, peer, ratio, "-" if mark is None else "%g" % mark,
                                                          "-" if verdict is None else "ok" if verdict else "short"), flush=True)
    finally:
        world.end()
        world.remove()
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
