"""authheaders' verdicts on DMARC (RFC 7489, by the public suffix list), for tests: a JSON object a line in, one out. {"from", "spf": domain or null, "dkim": [domain or nothing],
"dns": {name: [record]}} → "pass", "fail", "none"."""
import functools
import json
import sys
from types import SimpleNamespace

import authheaders
from authheaders import dmarc_lookup

dmarc_lookup.get_org_domain = authheaders.get_org_domain = functools.lru_cache(None)(dmarc_lookup.get_org_domain)  # it reads its list anew each time

for line in sys.stdin:
    q = json.loads(line)
    spf = SimpleNamespace(result="pass", smtp_mailfrom="x@" + q["spf"]) if q["spf"] else None
    dkim = SimpleNamespace(result="pass", header_d=q["dkim"][0]) if q["dkim"] else None
    found = authheaders.dmarc_per_from(q["from"], spf, dkim, dnsfunc=lambda name, *_, zone=q["dns"]: zone.get(name.rstrip("."), [None])[0])
    print(json.dumps(found[0]), flush=True)
