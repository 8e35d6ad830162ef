"""DANE beside Postfix: posttls-finger, with a validating resolver of its own, makes the same of the test's zones as our sender does, but for one thing (DIFFERENT)."""
import json
import os
import re
import shutil
import subprocess
import sys

from harness import Skip, case
from test_transport import DaneHosts, tlsa

HERE = os.path.dirname(os.path.abspath(__file__))
NEEDED = ("posttls-finger", "unbound", "unshare", "mount")
DANE_ONLY = ("ee12.signed.test", "der2.signed.test")  # as the routes of DaneHosts.send have it
# What Postfix says that RFC 7672 does not: {domain: (its verdict, ours)}.
DIFFERENT = {
    # posttls-finger takes the domain's name from the certificate even where nobody vouches for its MX records; there the host's is the only one (§3.2.2).
    "mixed3.plain.test": ("host verified", "refused: hostname mismatch"),
}
# Each of these must occur, or the comparison is of less than it seems.
VERDICTS = {"verified", "host verified", "encrypted", "no DANE", "no answer: MX", "no answer: TLSA", "refused: no STARTTLS", "refused: no usable records",
            "refused: no matching DANE TLSA records", "refused: hostname mismatch"}


class MoreHosts(DaneHosts):
    """… and records on which two programs may well differ."""

    def alias(self, target):
        """A host whose records are an alias of others, as in the example of RFC 7671 §5.2."""
        return "mx-%(name)s A %(address)s\n" + "_%d._tcp.mx-%%(name)s CNAME " % self.port + target

    def good(self):
        super().good()
        leaf, wrong, host, at = self.leaf, self.wrong, self.host, self.alias
        host("bare", leaf, [])  # its zone denies that it has any
        host("partly", leaf, [tlsa(wrong[0], 1, 1, 1), "TLSA 3 9 1 00ff", tlsa(leaf[0], 3, 1, 1)])
        host("short", leaf, ["TLSA 3 1 1 00ff"])  # no digest is that short
        host("nokey", leaf, ["TLSA 3 1 0 3003020105"])
        host("elsewhere", leaf, [], more=at("kept-%(name)s\nkept-%(name)s ") + tlsa(leaf[0], 3, 1, 1))
        host("lent", leaf, [], more=at("lent.plain.test."))  # the alias is signed, the record is not
        self.plain.append("lent " + tlsa(wrong[0], 3, 1, 1))
        host("strong", leaf, [tlsa(wrong[0], 3, 1, 1), tlsa(leaf[0], 3, 1, 2)])

    def bad(self):
        super().bad()
        leaf, wrong, host = self.leaf, self.wrong, self.host
        host("agile", leaf, [tlsa(leaf[0], 3, 1, 1), tlsa(wrong[0], 3, 1, 2)])  # the strongest digest alone counts (RFC 7671 §9)
        host("partly2", leaf, ["TLSA 3 9 1 00ff", tlsa(wrong[0], 3, 1, 1)])
        for name, domain in (("named", "mixed3.plain.test"), ("named2", "own.signed.test")):
            pair = self.ca.issue(domain)
            host(name, pair, [tlsa(pair[0], 2, 0, 1)])
        host("elsewhere2", leaf, [], more=self.alias("kept-%(name)s\nkept-%(name)s ") + tlsa(wrong[0], 3, 1, 1))

    def others(self):
        super().others()
        self.host("inside", self.leaf, [], self.plain, more="mx-%(name)s CNAME inside.signed.test.")  # nobody vouches for the alias
        self.records.append("inside A 127.0.2.%d\n_%d._tcp.inside %s" % (len(self.hosts), self.port, tlsa(self.wrong[0], 3, 1, 1)))
        self.records.append("aka CNAME byname\nown CNAME named2")  # the name that the alias leads to, and that of the alias (RFC 7672 §3.2.2)
        self.plain.append("mixed3 MX 10 mx-named.signed.test.")  # … but not the domain's where its MX records are not signed
        self.sent += ["x@inside.plain.test", "x@aka.signed.test", "x@own.signed.test"]
        self.waiting.append("x@mixed3.plain.test")


# ---- verdicts: one word for what each says in words of its own ------------------------------------------------------------------------------


def refused(text):
    """Why the certificate was not taken: both hand on OpenSSL's words."""
    return "refused: " + next((why for why in ("no matching DANE TLSA records", "hostname mismatch") if why in text), text)


def ours(server, domain, reply):
    """From what the queue keeps of the attempt; for what was sent, from the event of the session."""
    if reply == "sent":
        words = {("dane", "yes"): "verified", ("dane", "host"): "host verified", ("dane", "no"): "encrypted", ("none", "no"): "no DANE", ("none", None): "no DANE"}
        (session,) = [e for e in server.events("connection.open") if e["destination"] == "mx:" + domain]
        return words[session["tls_policy"], session.get("verified")]
    lookup = re.search("the DNS does not answer for the (MX|TLSA) records", reply)
    if lookup:
        return "no answer: " + lookup.group(1)
    if "does not offer STARTTLS, which is required" in reply:
        return "refused: no STARTTLS"
    return "refused: no usable records" if "none of the host's TLSA records can be used" in reply else refused(reply)


def theirs(text, level):
    """posttls-finger says which records it found and what the connection is worth; what Postfix makes of both at this level is in postconf(5),
    smtp_tls_security_level. (Itself it goes on with the level "secure" where there are no records; what comes of that is no verdict of DANE.)"""
    assert "DNSSEC validation may be unavailable" not in text, text
    if "TLSA lookup error" in text:
        return "no answer: TLSA"
    if re.search("Destination address lookup failed: .* type=MX: Host not found, try again", text):
        return "no answer: MX"
    assert "connect_addr: trying" in text, text
    if "no TLSA records found" in text:
        return "no DANE"
    connection = re.search(r": (\w+) TLS connection established", text)
    if "no usable TLSA records found" in text or "all TLSA records unusable" in text:
        if level == "dane-only":
            return "refused: no usable records"
        return "encrypted" if connection else "refused: no STARTTLS"
    if connection is None:
        return "refused: no STARTTLS"
    if connection.group(1) == "Trusted":
        assert "MX RRset insecure: log verified as trusted" in text, text
    return {"Verified": "verified", "Trusted": "host verified"}.get(connection.group(1)) or refused(text)


def ask_postfix(world, hosts, domains):
    """{domain: what posttls-finger says}, from namespaces with the same name server and exchangers, and a resolver on port 53."""
    asked = {"pairs": hosts.pairs, "port": hosts.port, "nsd": world.path("nsd.conf"), "zone_port": hosts.zone.port, "zones": list(hosts.zone.plain),
             "anchors": hosts.anchors, "ca": hosts.other.pem, "domains": domains}
    done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", sys.executable, os.path.join(HERE, "dane_postfix.py")],
                          input=json.dumps(asked), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=600)
    if "unshare failed: Operation not permitted" in done.stderr or "mount: /etc/resolv.conf: permission denied" in done.stderr:
        raise Skip("namespaces cannot be made here")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@case
def dane_beside_postfix(world):
    """posttls-finger's verdict on every domain is ours (but for DIFFERENT), with its reason: it asks unbound on port 53, which takes namespaces of its own."""
    lacks = [name for name in NEEDED if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None] + ["root"] * (os.geteuid() != 0)
    if lacks:
        raise Skip("it needs " + ", ".join(lacks))
    hosts = MoreHosts(world)
    domains = {address[2:]: "dane-only" if address[2:] in DANE_ONLY else "dane" for address in hosts.sent + hosts.waiting}
    said = ask_postfix(world, hosts, domains)
    server, found = hosts.send()
    both = {domain: (theirs(said[domain], level), ours(server, domain, found["x@" + domain])) for domain, level in domains.items()}
    differ = ["%s: Postfix %s, veredus %s:\n%s" % (domain, *pair, said[domain]) for domain, pair in both.items() if pair != DIFFERENT.get(domain, (pair[0],) * 2)]
    assert not differ, "\n".join(differ)
    for address in hosts.sent + hosts.waiting:
        assert (found[address] == "sent") == (address in hosts.sent), (address, found[address])
    assert set(sum(both.values(), ())) == VERDICTS, both
