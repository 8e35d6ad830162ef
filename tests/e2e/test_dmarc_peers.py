"""DMARC held against authheaders (Python): the same records, authors and identifiers, by the public suffix list, which is what both know. Names
below a suffix that is not listed are left out: authheaders does not know the list's rule for these."""
import os
import random

from harness import Skip, case
from test_auth_peers import HERE, Program, ask

DOMAINS = ["d.com", "a.d.com", "b.a.d.com", "e.com", "com", "d.co.uk", "a.d.co.uk", "e.co.uk", "co.uk", "x.kobe.jp", "a.b.x.kobe.jp", "city.kobe.jp"]
RECORDS = ["v=DMARC1; p=reject", "v=DMARC1;p=none;", "v=DMARC1; p=quarantine; adkim=s; aspf=s", "v=DMARC1; p=reject; adkim=s", "v=DMARC1; p=reject; aspf=s; sp=none", "v=spf1 -all"]


def theirs(**question):
    if not os.path.isdir("/usr/lib/python3/dist-packages/authheaders"):
        raise Skip("python3-authheaders is not installed")
    return Program.named("/usr/bin/python3", os.path.join(HERE, "dmarc_authheaders.py")).ask(question)


@case
def authheaders_agrees(world):
    """Two thousand messages: pass, fail or none."""
    dice = random.Random(7489)
    seen = {}
    for _ in range(2000):
        zone = {"_dmarc." + d: [dice.choice(RECORDS)] for d in dice.sample(DOMAINS, 7) if d not in ("com", "co.uk")}
        q = {"from": dice.choice(DOMAINS), "spf": dice.choice([None] + DOMAINS), "dkim": dice.choice([[]] + [[d] for d in DOMAINS]), "dns": zone}
        ours = ask(kind="dmarc", list=True, **q)
        assert ours["verdict"] == theirs(**q), (q, ours)
        seen[ours["verdict"]] = seen.get(ours["verdict"], 0) + 1
    assert min(seen.get(v, 0) for v in ("pass", "fail", "none")) > 100, seen
