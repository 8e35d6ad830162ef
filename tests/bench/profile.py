#!/usr/bin/env python3
"""Instructions, or system calls, for each message, by process (script/profile).

usage: profile.py [--messages N] [--top N] [--inclusive] [--calls] [--keep FOLDER] [accept|connect|single|relay]

veredus runs under callgrind with one receiver and one sender, twice: once for a few messages, once for those and N more. The difference is what N
messages cost, without start and stop. (callgrind_control, which could set counters to zero, does not find forked processes.) What the
kernel does for a system call is not among them: the row `cpu` of script/bench has that time, and --calls counts the calls by strace.
"""
import argparse
import os
import re
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import field as fields  # noqa: E402
import harness  # noqa: E402

WARM_UP = 200
WORK = {  # name: (recipient, smtp-source's -d, sessions)
    "accept": ("r@stall.test", True, 50),
    "connect": ("r@stall.test", False, 50),
    "single": ("r@stall.test", True, 1),
    "relay": ("r@sink.test", True, 50),
}
ROLES = ("receiver", "queue", "sender")


def new_server(world, field, name):
    return harness.Server(world, name, hostname="bench.test", processes=1, start=False,
                          domains={"stall.test": fields.smtp_to(field.stalled.port), "sink.test": fields.smtp_to(field.sink.port)},
                          extra="limits { connections_per_address = 1000 }\nlog { level = notice }")


def server_under_callgrind(world, field, counts):
    server = new_server(world, field, os.path.basename(counts))
    os.makedirs(counts)
    wrapper = world.write("under-callgrind", '#!/bin/sh\nexec valgrind -q --tool=callgrind --callgrind-out-file="%s/%%p" "%s" "$@"\n'
                          % (counts, harness.VEREDUS), 0o755)
    server.veredus = wrapper
    return server.start()


def counted(path, inclusive=False):
    """{function: instructions} of a file of callgrind's; inclusive: only veredus's own functions, each with all that it calls."""
    text = harness.run("callgrind_annotate", "--threshold=100", "--auto=no", "--inclusive=%s" % ("yes" if inclusive else "no"), path,
                       timeout=120).stdout
    found = {}
    for count, where in re.findall(r"^ *([\d,]+) \([ \d.]+%\) +(\S.*)$", text, re.M):
        file, _, name = re.sub(r" \[.*\]$", "", where).rpartition(":")
        if name.startswith("PROGRAM TOTALS") or name == where or inclusive and not re.search(r"/(lib|src)/\w+/", file):
            continue
        name = name.split("'")[0]
        found[name] = found.get(name, 0) + int(count.replace(",", ""))
    return found


def send(field, server, to, keep_open, sessions, count):
    before = field.sink.count()
    fields.source(server.mx, count, to, keep_open, sessions=sessions)
    if to.endswith("@sink.test"):
        fields.until(lambda: field.sink.count() - before, count)


def life(world, options, name, count):
    """{role: (itself, inclusive)} of a server from start to stop, which was sent `count` messages."""
    field, counts = fields.Field(world, options), world.path("counts", name)
    server = server_under_callgrind(world, field, counts)
    pids = {role: next(iter(server.pids(role))) for role in ROLES}
    send(field, server, *WORK[options.work], count)
    field.stalled.socket.close()  # what waits for it is deferred now, and nothing holds up the stop
    server.stop()
    for role, pid in pids.items():
        os.rename(os.path.join(counts, str(pid)), os.path.join(counts, role))
    return {role: [counted(os.path.join(counts, role), inclusive) for inclusive in (False, True)] for role in ROLES}


def measure(world, options):
    """{role: (instructions of each function itself, … with all that it calls)} of `options.messages` messages."""
    few = life(world, options, "few", WARM_UP)
    many = life(world, options, "many", WARM_UP + options.messages)
    return {role: [{name: count - before.get(name, 0) for name, count in after.items()} for before, after in zip(few[role], many[role])]
            for role in ROLES}


def show_calls(world, options):
    """System calls for each message, as strace counts them while it is attached to a process with its threads."""
    field = fields.Field(world, options)
    server = new_server(world, field, "called").start()
    send(field, server, *WORK[options.work], WARM_UP)
    tracers = {role: world.start("strace-" + role, ["strace", "-q", "-f", "-c", "-U", "calls,name", "-p", next(iter(server.pids(role)))])
               for role in ROLES}
    harness.wait_until("strace has attached", lambda: all(traced(next(iter(server.pids(role)))) for role in ROLES))
    send(field, server, *WORK[options.work], options.messages)
    for role, tracer in tracers.items():
        tracer.process.send_signal(signal.SIGINT)
        tracer.process.wait(30)
        calls = [(int(n), name) for n, name in re.findall(r"^ *(\d+) (\w+)$", tracer.text(), re.M) if name != "total"]
        print("%s: %.2f calls a message: %s" % (role, sum(n for n, _ in calls) / options.messages,
                                               ", ".join("%s %.2f" % (name, n / options.messages) for n, name in sorted(calls, reverse=True)[:8])))
    fields.crash(server)


def traced(pid):
    with open("/proc/%d/status" % pid) as f:
        return not re.search(r"^TracerPid:\s+0$", f.read(), re.M)


def show_instructions(world, options):
    found = measure(world, options)
    if options.keep:
        for name in ("few", "many"):
            shutil.copytree(world.path("counts", name), os.path.join(options.keep, name), dirs_exist_ok=True)
    totals = {role: sum(itself.values()) for role, (itself, _) in found.items()}
    print("%s: %d instructions a message" % (options.work, sum(totals.values()) // options.messages))
    for role, (itself, inclusive) in found.items():
        if totals[role] < options.messages:
            continue  # it had nothing to do
        print("\n%s: %d a message" % (role, totals[role] // options.messages))
        show(itself, totals[role], options)
        if options.inclusive:
            print("  with all that they call:")
            show(inclusive, totals[role], options)


def show(functions, total, options):
    for name, count in sorted(functions.items(), key=lambda item: -item[1])[:options.top]:
        print("  %8.0f  %4.1f %%  %s" % (count / options.messages, 100 * count / total, name))


def main():
    parser = argparse.ArgumentParser(usage="script/profile [--messages N] [--top N] [--inclusive] [--calls] [--keep FOLDER] [%s]" % "|".join(WORK))
    parser.add_argument("work", nargs="?", default="accept", choices=WORK)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--top", type=int, default=15, help="functions to show of each process")
    parser.add_argument("--inclusive", action="store_true", help="also veredus's functions with all that they call")
    parser.add_argument("--calls", action="store_true", help="system calls instead of instructions")
    parser.add_argument("--keep", metavar="FOLDER")
    options = parser.parse_args()
    world = harness.World("profile")
    try:
        (show_calls if options.calls else show_instructions)(world, options)
    finally:
        world.end()
        world.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
