"""What the kernel knows of a server's processes: processor time and memory, read from /proc."""
import contextlib
import os
import re
import time

TICK = os.sysconf("SC_CLK_TCK")


def stats():
    """{pid: (parent, ticks of it and of the children that it has waited for)} of all processes."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            found[int(pid)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found


def cpu_seconds(root):
    """User and system time of a process and of all below it, those that have ended included."""
    known, total = stats(), 0
    for pid, (_, ticks) in known.items():
        ancestor = pid
        while ancestor in known and ancestor != root:
            ancestor = known[ancestor][0]
        total += ticks if ancestor == root else 0
    return total / TICK


def cpu_seconds_at_rest(root, quiet=0.5, limit=20):
    """The same once it has stopped growing: what a message costs after its delivery counts too."""
    end, value = time.monotonic() + limit, cpu_seconds(root)
    while time.monotonic() < end:
        time.sleep(quiet)
        value, before = cpu_seconds(root), value
        if value - before <= 1 / TICK:
            break
    return value


def pss_mib(pid):
    """Proportional set size in MiB."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M).group(1)) / 1024
