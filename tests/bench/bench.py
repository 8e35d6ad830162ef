#!/usr/bin/env python3
"""Figures of veredus beside those of its peers, in one run on one disk, as ratios.

usage: bench.py [--json FILE] [--rounds N] [--full] [--recipients N] [--per-message N] [--dead DxM] [--large N] [row ...]

A line a row: row, veredus, peer, ratio (veredus by peer), mark, ok or short. A mark is the least that the ratio may be, one with <= the most.
Rates are the median of the rounds, in which the peers take turns. Postfix is Debian's with its defaults and fsync; the null rate is that of
smtp-sink, which keeps nothing; the disk's are of bare system calls. docs/performance.md says what each row measures. What helps to
understand a figure is told on standard error. VEREDUS names the release build.
"""
import argparse
import functools
import json
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import field as fields  # noqa: E402  (also finds the harness)
import dead  # noqa: E402
import depth  # noqa: E402
import disk  # noqa: E402
import harness  # noqa: E402
import processes  # noqa: E402


def note(text):
    print("  " + text, file=sys.stderr, flush=True)


def in_turns(field, ours, theirs):
    """The medians of two measurements that take turns."""
    values = ([], [])
    for _ in range(field.options.rounds):
        for found, measure in zip(values, (ours, theirs)):
            found.append(measure())
    return tuple(map(statistics.median, values))


def beside(measure, peer):
    """A row of a measurement that is made of veredus and of a peer alike."""
    return lambda field: in_turns(field, lambda: measure(field, "veredus"), lambda: measure(field, peer))


def single(pipelined):
    return lambda field: in_turns(field, lambda: field.single("veredus", pipelined), lambda: disk.appends_rate(field.world.folder))


def large(field):
    return in_turns(field, lambda: field.large("veredus"), lambda: disk.files_rate(field.world.folder, field.options.large))


@functools.lru_cache(maxsize=None)
def the_depth(field):
    measured = depth.Depth(field)
    note("deferred: " + measured.told)
    return measured


def deaths(death):
    def row(field):
        note(dead.describe(field.options))
        return dead.measure(field, death)
    return row


def cpu(field):
    """Milliseconds of processor time for each message that is taken and relayed, all processes of the server together."""
    def milliseconds(who):
        field.relay(who)  # warm, and started
        root = field.server.program.pid if who == "veredus" else field.postfix_master()
        before = processes.cpu_seconds_at_rest(root)
        field.relay(who)
        user, system = (1000 * (after - b) / fields.COUNTS[who] for after, b in zip(processes.cpu_seconds_at_rest(root), before))
        note("cpu: %s: %.3f ms in user mode, %.3f ms in the kernel" % (who, user, system))
        return user + system
    return milliseconds("veredus"), milliseconds("postfix")


@functools.lru_cache(maxsize=None)
def auth_figures(rounds):
    """What bench_auth measures: {its row: (ours, theirs)}."""
    program = os.path.join(os.path.dirname(harness.VEREDUS), "..", "tests", "bench", "bench_auth")
    done = subprocess.run([program, str(3 * rounds)], stdout=subprocess.PIPE, universal_newlines=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        name, *numbers = line.split()
        if name != "#":
            found[name] = tuple(map(float, numbers[:2]))
    return found


def auth(name):
    """A row of bench_auth, which has its peers in the same process, by turns."""
    return lambda field: auth_figures(field.options.rounds)[name]


class Row:
    def __init__(self, measure, peer, mark, at_most=False):
        self.measure, self.peer, self.mark, self.at_most = measure, peer, mark, at_most

    def verdict(self, ratio):
        return None if self.mark is None else ratio <= self.mark if self.at_most else ratio >= self.mark

    def mark_text(self):
        return "-" if self.mark is None else "%s%g" % ("<=" if self.at_most else "", self.mark)


ROWS = {
    "accept": Row(beside(lambda f, who: f.accept(who, True), "postfix"), "postfix", 15),
    "accept-null": Row(beside(lambda f, who: f.accept(who, True), "null"), "null", 0.75),
    "accept-connect": Row(beside(lambda f, who: f.accept(who, False), "postfix"), "postfix", 6),
    "accept-connect-null": Row(beside(lambda f, who: f.accept(who, False), "null"), "null", 0.65),
    "single": Row(single(False), "disk", 0.70),
    "single-null": Row(beside(lambda f, who: f.single(who), "null"), "null", None),
    "single-pipelined": Row(single(True), "disk", None),
    "single-pipelined-null": Row(beside(lambda f, who: f.single(who, True), "null"), "null", None),
    "relay": Row(beside(lambda f, who: f.relay(who), "postfix"), "postfix", 9),
    "maildir": Row(beside(lambda f, who: f.maildir(who), "postfix"), "postfix", 4),
    "large": Row(large, "disk", 0.70),
    "large-null": Row(beside(lambda f, who: f.large(who), "null"), "null", None),
    "deferred-memory": Row(lambda f: (the_depth(f).memory, 256), "allowed", 1, at_most=True),
    "deferred-accept": Row(lambda f: the_depth(f).rates, "empty", 0.90),
    "deferred-list": Row(lambda f: the_depth(f).listing, "no list", 0.50),
    "deferred-first-line": Row(lambda f: (the_depth(f).first_line, 1), "allowed", 1, at_most=True),
    "deferred-summary": Row(lambda f: (the_depth(f).summary, 0.2), "allowed", 1, at_most=True),
    "deferred-restart": Row(lambda f: (the_depth(f).restart, 5), "allowed", 1, at_most=True),
    "dead": Row(deaths(fields.Refusing), "alone", 2, at_most=True),
    "dead-silent": Row(deaths(dead.Silent), "alone", 2, at_most=True),
    "dkim-sign": Row(auth("sign-4k-rsa2048"), "OpenSSL", 0.85),
    "dkim-sign-ed25519": Row(auth("sign-4k-ed25519"), "OpenSSL", None),
    "dkim-verify": Row(auth("verify-4k-rsa2048"), "OpenSSL", None),
    "dkim-verify-ed25519": Row(auth("verify-4k-ed25519"), "OpenSSL", None),
    "dkim-body": Row(auth("hash-10m-relaxed-text"), "SHA-256", 0.70),
    "dkim-body-base64": Row(auth("hash-10m-relaxed-base64"), "SHA-256", 0.70),
    "dkim-sign-peer": Row(auth("sign-4k-opendkim"), "OpenDKIM", None),
    "dkim-verify-peer": Row(auth("verify-4k-opendkim"), "OpenDKIM", None),
    "dkim-sign-large-peer": Row(auth("sign-10m-text-opendkim"), "OpenDKIM", None),
    "dkim-verify-large-peer": Row(auth("verify-10m-text-opendkim"), "OpenDKIM", None),
    "cpu": Row(cpu, "postfix", 0.10, at_most=True),
}


def short_number(value):
    return "%.0f" % value if value >= 100 else "%.3g" % value


def run_row(name, field):
    row = ROWS[name]
    ours, theirs = row.measure(field)
    ratio = ours / theirs
    verdict = row.verdict(ratio)
    print("%-21s %8s %8s %-9s %7.2f %6s  %s" % (name, short_number(ours), short_number(theirs), "(%s)" % row.peer, ratio, row.mark_text(),
                                               "-" if verdict is None else "ok" if verdict else "short"), flush=True)
    return {"row": name, "veredus": float(short_number(ours)), "peer": float(short_number(theirs)), "ratio": round(ratio, 3),
            "mark": row.mark, "ok": verdict}


def sizes(text):
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or int(found[1]) not in range(1, 65536) or int(found[2]) < 1:
        raise argparse.ArgumentTypeError("expected destinations (at most 65535) and messages for each, such as 200x20, not %s" % text)
    return int(found[1]), int(found[2])


def positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("expected a number from 1 on, not %s" % text)
    return int(text)


def read_options():
    parser = argparse.ArgumentParser(usage="script/bench [option ...] [row ...]", epilog="rows: " + ", ".join(ROWS))
    parser.add_argument("rows", nargs="*", metavar="row")
    parser.add_argument("--json", metavar="FILE", help="the rows as a list of objects, too")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="measurements of each rate (default 3)")
    parser.add_argument("--full", action="store_true", help="a million deferred recipients, 10000 dead destinations with 100 messages each")
    parser.add_argument("--recipients", type=positive, metavar="N", help="deferred recipients (default 100000)")
    parser.add_argument("--per-message", type=positive, default=1, metavar="N", help="deferred recipients to a message (default 1, at most 1000)")
    parser.add_argument("--dead", type=sizes, metavar="DxM", help="dead destinations and messages for each (default 200x20)")
    parser.add_argument("--large", type=positive, default=300, metavar="N", help="messages of 1 MiB (default 300)")
    options = parser.parse_args()
    for row in options.rows:
        if row not in ROWS:
            parser.error("there is no row %s; there are %s" % (row, ", ".join(ROWS)))
    options.recipients = options.recipients or (depth.MILLION if options.full else 100000)
    options.dead = options.dead or ((10000, 100) if options.full else (200, 20))
    if options.per_message > min(1000, options.recipients):
        parser.error("--per-message is at most 1000, and not above --recipients")
    return options


def main():
    options = read_options()
    world = harness.World("bench")
    field = fields.Field(world, options)
    try:
        results = [run_row(row, field) for row in options.rows or ROWS]
    finally:
        field.end()
        world.end()
        world.remove()
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
