"""pyspf over a name server on a port of 127.0.0.1: a JSON question a line ({"sender", "client", "helo"}), the verdict a line."""
import json
import sys

import dns.resolver

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], int(sys.argv[1])
dns.resolver.default_resolver = resolver
import spf  # noqa: E402  it asks the default resolver

for line in sys.stdin:
    question = json.loads(line)
    print(json.dumps(spf.check2(i=question["client"], s=question["sender"], h=question["helo"])[0]), flush=True)
