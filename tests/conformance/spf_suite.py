"""The openspf suite for RFC 7208: scenarios, each with a zone and tests. Each case: (id, what disagrees or None)."""
import base64
import os

import yaml

MATERIAL = ("spf/rfc7208-tests.yml",)
TYPES = ("A", "AAAA", "MX", "PTR", "TXT")


def octets(text):
    """The suite writes octets beyond ASCII as characters of that number."""
    return "".join(text).encode("latin-1")


def record(kind, value):
    return base64.b64encode(octets(value)).decode("ascii") if kind == "TXT" else value


def owned(entries):
    """The records of one name by their types, and "failed" for the types that time out."""
    found, timeout = {}, False
    for entry in entries:
        if entry == "TIMEOUT":
            timeout = True
            continue
        (kind, value), = entry.items()
        found.setdefault(kind, []).append(value)
    if "TXT" not in found and "SPF" in found:  # the suite: SPF records are served as TXT, too
        found["TXT"] = found["SPF"]
    table = {kind: [record(kind, v) for v in values if v != "NONE"] for kind, values in found.items() if kind in TYPES}
    for kind in TYPES if timeout else ():
        if not table.get(kind):
            table[kind] = "failed"
    if "CNAME" in found:
        table["CNAME"] = found["CNAME"][0]
    return table


def zone_of(zonedata):
    zone = {name.rstrip(".").lower(): owned(entries) for name, entries in zonedata.items()}

    def resolved(name, seen=()):
        table = zone.get(name, {})
        if "CNAME" not in table:
            return table
        if name in seen:
            return {kind: "failed" for kind in TYPES}
        return resolved(table["CNAME"].rstrip(".").lower(), seen + (name,))

    return {name: resolved(name) for name in zone}


def disagrees(test, got):
    results = test["result"] if isinstance(test["result"], list) else [test["result"]]
    if got["verdict"] not in results:
        return "got %r, wanted %s" % (got, " or ".join(results))
    if not got["reason"] or not got["received"].startswith("Received-SPF: " + got["verdict"]):
        return "says nothing of why: %r" % got
    wanted = test.get("explanation")
    if wanted is not None and got["explanation"].lower() != ("" if wanted == "DEFAULT" else wanted.lower()):
        return "explains %r, wanted %r" % (got["explanation"], wanted)
    return None


def openspf(driver, folder):
    with open(os.path.join(folder, *MATERIAL[0].split("/")), encoding="utf-8") as f:
        scenarios = list(yaml.safe_load_all(f))
    for scenario in scenarios:
        zone = zone_of(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            got = driver.ask_all({"kind": "spf", "client": test["host"], "helo": test["helo"], "sender": test["mailfrom"], "zone": zone,
                                  "receiver": "mx.test", "now": 1750000000})
            yield "spf-" + name, disagrees(test, got)


SOURCES = (openspf,)
