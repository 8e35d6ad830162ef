#!/usr/bin/env python3
"""Counts what `meson test` ran: the cases inside each program (cmocka's summary, or a runner's `N passed, N failed`), else the program itself.

usage: count.py testlog.json. The last line is `N passed, N failed`.
"""
import json
import re
import sys


def cases(result, text):
    """(passed, failed) of one program."""
    last = re.findall(r"^(\d+) passed, (\d+) failed", text, re.M)
    if last:
        return int(last[-1][0]), int(last[-1][1])
    passed = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M))
    failed = sum(int(n) for n in re.findall(r"^\[  FAILED  \] \w+: (\d+) test", text, re.M))
    return (passed, failed) if passed + failed else (int(result == "OK"), 0)


def main():
    passed = failed = 0
    with open(sys.argv[1]) as lines:
        for line in lines:
            test = json.loads(line)
            if test["result"] == "SKIP":
                print("skipped  %s" % test["name"])
                continue
            good, bad = cases(test["result"], test.get("stdout", "") + "\n" + test.get("stderr", ""))
            if test["result"] != "OK" and bad == 0:
                bad = 1  # died, or timed out
            print("%-8s %s (%d)" % ("ok" if bad == 0 else "FAILED", test["name"], good + bad))
            passed, failed = passed + good, failed + bad
    print("%d passed, %d failed" % (passed, failed))


if __name__ == "__main__":
    main()
