"""The material for MTA-STS: mox's records and policies, good and bad. Each case: (id, what disagrees or None)."""
import json
import os
import re


def fields(text):
    """What a good policy says, read by other means."""
    pairs = [re.split(r":[ \t]*", line.strip(), maxsplit=1) for line in text.splitlines()]
    first = {}
    for name, value in pairs:
        first.setdefault(name, value)
    return {"mode": first["mode"], "max_age": int(first["max_age"]), "mx": [value for name, value in pairs if name == "mx"]}


def mta_sts(driver, folder):
    with open(os.path.join(folder, "mtasts", "parse.json"), encoding="utf-8") as f:
        material = json.load(f)
    for kind in ("record", "policy"):
        for quality in ("good", "bad"):
            for number, text in enumerate(material[kind][quality], 1):
                got = driver.ask("sts-" + kind, text)
                wanted = None
                if quality == "good":
                    wanted = re.search(r"\bid=(\w+)", text).group(1) if kind == "record" else fields(text)
                yield "mta-sts-%s-%s-%d" % (kind, quality, number), None if got == wanted else "%r: got %r, wanted %r" % (text, got, wanted)


MATERIAL = ("mtasts/parse.json",)
SOURCES = (mta_sts,)
