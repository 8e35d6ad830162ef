#!/usr/bin/env python3
"""Runs test material of others against the library: addresses (isemail), address lists, dates and Received lines (mail-parser), DKIM and ARC
(auth.py), public suffixes (psl.py), SPF (spf_suite.py), MTA-STS (transport.py).

usage: run.py DRIVER. The material is not part of this repository: it is taken from the folder that VEREDUS_CONFORMANCE names, or from
../shared/conformance beside the repository; without it the exit code is 77 (skipped). README.md in this folder tells more.
"""
import calendar
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree

sys.dont_write_bytecode = True  # the source folder stays as it is
import auth  # noqa: E402
import psl  # noqa: E402
import spf_suite  # noqa: E402
import transport  # noqa: E402
from exceptions import EXCEPTIONS  # noqa: E402

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


MATERIAL = ("address/isemail-tests.xml", "message/address.json", "message/date.json", "message/received.json") + auth.MATERIAL + psl.MATERIAL + spf_suite.MATERIAL + transport.MATERIAL


def folder():
    return os.environ.get("VEREDUS_CONFORMANCE") or os.path.join(os.path.dirname(TOP), "shared", "conformance")


class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True, bufsize=1)

    def ask(self, kind, text):
        return self.ask_all({"kind": kind, "text": text})

    def ask_all(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the driver died on %r (exit %s)" % (question, self.process.wait()))
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        return self.process.wait()


# Each case: (id, what disagrees or None).

ACCEPTED = {"ISEMAIL_VALID_CATEGORY", "ISEMAIL_RFC5321", "ISEMAIL_DNSWARN"}


def isemail(driver):
    tests = xml.etree.ElementTree.parse(os.path.join(folder(), "address", "isemail-tests.xml")).getroot()
    for test in tests.iter("test"):
        address = test.findtext("address") or ""
        address = "".join(chr(ord(c) - 0x2400) if 0x2400 <= ord(c) < 0x2420 else c for c in address)
        got = driver.ask("address", address)
        wanted = test.findtext("category") in ACCEPTED
        wrong = None
        if (got is not None) != wanted:
            wrong = "%r (%s): %s" % (address, test.findtext("diagnosis"), "refused" if wanted else "accepted as %r" % got)
        elif got and not got["same"]:
            wrong = "%r is not written back as itself: %r" % (address, got)
        yield "isemail-%s" % test.get("id"), wrong


def cases(name):
    with open(os.path.join(folder(), "message", name + ".json"), encoding="utf-8") as f:
        return enumerate(json.load(f), 1)


def members(expected):
    """(group, name, address) of each mailbox; the material names some by their comment alone: those are none for us."""
    groups = expected["Group"] if "Group" in expected else [{"name": None, "addresses": expected["List"]}]
    return [(g["name"] or "", a["name"] or "", a["address"]) for g in groups for a in g["addresses"] if a["address"]]


def lists(driver):
    for number, case in cases("address"):
        header = case["header"]
        got = [(m["group"], m["name"], m["address"]) for m in driver.ask("list", header)]
        wanted = members(case["expected"])
        yield "address-%d" % number, None if got == wanted else "%r: got %r, wanted %r" % (header, got, wanted)


def seconds(date):
    zone = (date["tz_hour"] * 60 + date["tz_minute"]) * (-1 if date["tz_before_gmt"] else 1)
    if not 1 <= date["month"] <= 12:
        return None, zone
    when = (date["year"], date["month"], date["day"], date["hour"], date["minute"], date["second"])
    return calendar.timegm(when + (0, 0, 0)) - zone * 60, zone


def dates(driver):
    for number, case in cases("date"):
        got = driver.ask("date", case["header"])
        got = got and (got["time"], got["zone"])
        wanted = case["expected"] and seconds(case["expected"])
        yield "date-%d" % number, None if got == wanted else "%r: got %r, wanted %r" % (case["header"], got, wanted)


def host(value):
    return value.get("Name") or value.get("IpAddr") or ""


def protocol(header, wanted):
    """The material makes protocols of products ("with Microsoft SMTPSVC" is SMTP); for us it is the word that stands there."""
    if "with" not in wanted or re.search(r"\bwith\s+%s(?![\w/-])" % re.escape(wanted["with"]), header, re.I):
        return wanted.get("with")
    return re.search(r"\bwith\s+([^\s;()]+)", header, re.I).group(1)


def received(driver):
    for number, case in cases("received"):
        got, wanted, wrong = driver.ask("received", case["header"]), case["expected"], []
        if got is None:
            yield "received-%d" % number, "%r: not understood" % case["header"]
            continue
        for part in ("from", "by"):
            if part in wanted and got[part].strip("[]").lower() != host(wanted[part]).lower():
                wrong.append("%s: got %r, wanted %r" % (part, got[part], host(wanted[part])))
        for part in ("with", "id", "for_", "via"):
            value = protocol(case["header"], wanted) if part == "with" else wanted.get(part)
            if value and got[part].lower() != value.lower():
                wrong.append("%s: got %r, wanted %r" % (part, got[part], value))
        if wanted.get("from_ip") and wanted["from_ip"] not in got["from"] + " " + got["from_comment"]:
            wrong.append("from_comment: got %r, without %r" % (got["from_comment"], wanted["from_ip"]))
        if wanted.get("date") and got.get("time") != seconds(wanted["date"])[0]:
            wrong.append("time: got %r, wanted %r" % (got.get("time"), seconds(wanted["date"])[0]))
        yield "received-%d" % number, "%r: %s" % (case["header"], "; ".join(wrong)) if wrong else None


def main():
    if not os.path.isdir(folder()):
        print("skipped: isemail, mail-parser addresses, dates and Received lines, DKIM, ARC, public suffixes, SPF and MTA-STS: there is no %s; "
              "set VEREDUS_CONFORMANCE to the folder with the material" % folder())
        return 77
    for name in MATERIAL:
        if not os.path.isfile(os.path.join(folder(), *name.split("/"))):
            print("FAILED: %s holds no %s: get the whole of the material, or take the folder away to skip it" % (folder(), name))
            print("0 passed, 1 failed, 0 excepted")
            return 1
    driver = Driver(sys.argv[1])
    passed = failed = excepted = 0
    unused = set(EXCEPTIONS)
    sources = [source(driver) for source in (isemail, lists, dates, received)] + [source(driver, folder()) for source in auth.SOURCES + psl.SOURCES + spf_suite.SOURCES + transport.SOURCES]
    for source in sources:
        for name, wrong in source:
            if wrong is None:
                passed += 1
            elif name in EXCEPTIONS:
                excepted += 1
                unused.discard(name)
            else:
                failed += 1
                print("FAILED %s: %s" % (name, wrong))
    for name in sorted(unused):  # it agrees by now, or the case is gone: the row must go too
        failed += 1
        print("FAILED %s: it is listed in exceptions.py, but it agrees" % name)
    if driver.end() != 0:
        failed += 1
        print("FAILED: the driver did not end in order")
    print("%d passed, %d failed, %d excepted" % (passed, failed, excepted))  # excepted: they disagree for a reason
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
