"""What the kernel knows of a server's processes: processor time and memory, read from /proc."""
import contextlib
import os
import re
import time

TICK = os.sysconf("SC_CLK_TCK")


def stats():
    """{pid: (parent, user, system)} of all processes, in ticks, with those of the children that each has waited for."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            found[int(pid)] = (int(fields[1]), int(fields[11]) + int(fields[13]), int(fields[12]) + int(fields[14]))
    return found


def cpu_seconds(root):
    """(user, system) time of a process and of all below it, those that have ended included."""
    known, totals = stats(), [0, 0]
    for pid, (_, *ticks) in known.items():
        ancestor = pid
        while ancestor in known and ancestor != root:
            ancestor = known[ancestor][0]
        if ancestor == root:
            totals = [total + some for total, some in zip(totals, ticks)]
    return [total / TICK for total in totals]


def cpu_seconds_at_rest(root, quiet=0.5, limit=20):
    """The same once it has stopped growing: what a message costs after its delivery counts too."""
    end, value = time.monotonic() + limit, cpu_seconds(root)
    while time.monotonic() < end:
        time.sleep(quiet)
        value, before = cpu_seconds(root), value
        if sum(value) - sum(before) <= 1 / TICK:
            break
    return value


def pss_mib(pid):
    """Proportional set size in MiB."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M).group(1)) / 1024
