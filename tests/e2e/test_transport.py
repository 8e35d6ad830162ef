"""Verified transport: DANE in zones that the test signs itself, MTA-STS with a policy host and an authority of its own."""
import hashlib
import http.server
import os
import re
import smtplib
import sqlite3
import ssl
import struct
import subprocess
import threading
import time

from harness import PASSWORD, Peer, case, free_port, nsd, run, wait_until
from test_routing import submit

# ---- certificates -------------------------------------------------------------------------------------------------------------------------


class Authority:
    """Certificates of the test's own: openssl's command line makes them."""

    def __init__(self, world, name="ca"):
        self.world, self.name = world, name
        self.key, self.pem = world.path(name + ".key"), world.path(name + ".pem")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.key, "-out", self.pem,
            "-days", "30", "-subj", "/CN=%s of the test" % name)

    def issue(self, name, names=(), days=30, common_name_only=False):
        """(chain with the authority, key) of a server; days < 0: it has expired."""
        key, request, pem = (self.world.path("%s-%s.%s" % (self.name, name, end)) for end in ("key", "csr", "pem"))
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", request,
            "-subj", "/CN=%s" % name)
        extensions = self.world.write("extensions", "" if common_name_only else "subjectAltName=" + ",".join("DNS:" + n for n in names or (name,)))
        run("openssl", "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-out", pem, "-days", str(days),
            "-extfile", extensions)
        with open(pem, "a") as out, open(self.pem) as ca:
            out.write(ca.read())
        return pem, key


def tlsa(pem, usage, selector, matching):
    """The record for the first certificate of a file, or with usage 2 for the last one: made with openssl."""
    with open(pem) as f:
        blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", f.read(), re.S)
    der = ssl.PEM_cert_to_DER_cert(blocks[-1 if usage == 2 else 0])
    if selector == 1:
        public = subprocess.run(["openssl", "x509", "-inform", "DER", "-pubkey", "-noout"], input=der, capture_output=True, check=True).stdout
        der = ssl.PEM_cert_to_DER_cert(public.decode().replace("PUBLIC KEY", "CERTIFICATE"))
    data = der if matching == 0 else (hashlib.sha256 if matching == 1 else hashlib.sha512)(der).digest()
    return "TLSA %d %d %d %s" % (usage, selector, matching, data.hex())


# ---- servers ------------------------------------------------------------------------------------------------------------------------------


class Mx(Peer):
    """A mail exchanger that knows STARTTLS, when it has a certificate: keeps recipients, and whether they came under TLS."""

    def __init__(self, world, host, port, pair=None, extensions=()):
        self.mails, self.extensions, self.names = [], extensions, []
        self.context = None
        if pair:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*pair)
            self.context.sni_callback = lambda connection, name, context: self.names.append(name)
        super().__init__(world, host, port)

    def session(self, connection):
        try:
            self.talk(connection, False)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def talk(self, connection, secured):
        lines = connection.makefile("rb")
        say = lambda text: connection.sendall(text.encode() + b"\r\n")
        if not secured:
            say("220 peer.test ESMTP")
        mail = ""
        for raw in lines:
            line = raw.decode("latin-1").strip()
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                offers = list(self.extensions) + (["STARTTLS"] if self.context and not secured else [])
                for offer in ["peer.test"] + offers:
                    say("250-" + offer)
                say("250 8BITMIME")
            elif verb == "STARTTLS":
                say("220 go")
                secure = self.context.wrap_socket(connection, server_side=True)
                self.talk(secure, True)
                return
            elif verb == "MAIL":
                mail = line
                say("250 ok")
            elif verb == "RCPT":
                self.mails.append((re.search("<(.*)>", line).group(1), secured, mail))
                say("250 ok")
            elif verb == "DATA":
                say("354 go")
                for body in lines:
                    if body == b".\r\n":
                        break
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def got(self, address):
        return [secured for rcpt, secured, _ in self.mails if rcpt == address]


class SignedZone:
    """Zones for nsd, signed by ldns; each its own trust anchor."""

    def __init__(self, world):
        self.world, self.anchors, self.plain = world, [], {}
        self.port = free_port()

    def sign(self, origin, records, expired=False, tamper=None):
        text = "$ORIGIN %s.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n%s\n" % (origin, records)
        zone = self.world.write(origin + ".unsigned", text)
        key = run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", origin, cwd=self.world.folder).stdout.strip()
        with open(self.world.path(key + ".key")) as f:
            self.anchors.append(f.read().split(";")[0].strip())
        times = ["-i", "20200101000000", "-e", "20200201000000"] if expired else []
        run("ldns-signzone", *times, "-o", origin, "-f", self.world.path(origin + ".zone"), zone, key, cwd=self.world.folder)
        if tamper:
            with open(self.world.path(origin + ".zone")) as f:
                signed = f.read()
            assert tamper[0] in signed, signed
            self.world.write(origin + ".zone", signed.replace(*tamper))
        self.plain[origin] = None

    def start(self):
        nsd(self.world, self.plain, self.port)
        return self.world.write("anchors", "\n".join(self.anchors) + "\n")


def verdicts(server, wanted, seconds=90):
    """{address: "sent" or "deferred …"} of these recipients, when all have one."""
    def look():
        found = {}
        for event in server.events("delivery.ok"):
            found[event["to"]] = "sent"
        for event in server.events("delivery.deferred") + server.events("delivery.failed"):
            found.setdefault(event["to"], "%s %s" % (event.get("dsn", event.get("status", "")), event.get("reply", event)))
        return found
    wait_until("all have a verdict: %s" % wanted, lambda: all(w in look() for w in wanted) or False, seconds, 0.2)
    return look()


RESULTS = ("success", "starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted", "validation-failure",
           "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid")
TYPES = ("no-policy-found", "tlsa", "sts")


def counted(server):
    """What the reporter has counted: {(domain, policy type, result): (count, strings of the policy)}. The rows are frames (src/ipc/seen.c)."""
    data = sqlite3.connect("file:%s?mode=ro" % os.path.join(server.state, "reports", "counts.db"), uri=True)
    try:
        rows = data.execute("SELECT CAST(domain AS TEXT), identity, count FROM row WHERE kind = 1").fetchall()
    finally:
        data.close()
    found = {}
    for domain, frame, count in rows:
        at = 8

        def take(form):
            nonlocal at
            (value,) = struct.unpack_from(form, frame, at)
            at += struct.calcsize(form)
            return value

        def text():
            nonlocal at
            n = take("=I")
            at += n
            return frame[at - n:at].decode()
        text()  # the domain, which is the row's
        kind = take("=B")
        strings = [text() for _ in range(take("=I"))]
        [text() for _ in range(take("=I"))]
        key = (domain, TYPES[kind], RESULTS[take("=B")])
        found[key] = (found.get(key, (0,))[0] + count, strings)
    return found


def opened(server, host):
    """How the sessions with this host went: [(tls, policy, verified)]."""
    return [(e["tls"], e["tls_policy"], e.get("verified")) for e in server.events("connection.open") if e.get("mx") == host]


class DaneHosts:
    """Domains with an exchanger each, in a signed zone, in one that is not, and in one whose signatures are of old: what `sent` names is to be sent to, and `waiting` is not."""

    def __init__(self, world):
        self.world, self.port, self.zone = world, free_port("127.0.2.1"), SignedZone(world)
        self.ca, self.other = Authority(world), Authority(world, "other")
        self.wrong = self.ca.issue("wrong.test")
        self.leaf = self.ca.issue("elsewhere.test")  # a name that has nothing to do with its host: DANE-EE looks at no names (RFC 7672 §3.1.1)
        self.records, self.plain, self.hosts = [], [], {}
        self.pairs = {}  # {address: (chain, key), or None}
        self.good()
        self.sent = ["x@%s.signed.test" % name for name in self.hosts]
        before = len(self.hosts)
        self.bad()
        self.waiting = ["x@%s.signed.test" % name for name in list(self.hosts)[before:]]
        self.others()
        was = tlsa(self.wrong[0], 3, 0, 2).split()[-1]
        self.zone.sign("signed.test", "\n".join(self.records), tamper=(was, was[::-1]))
        self.zone.plain["plain.test"] = "\n".join(self.plain)
        self.pairs["127.0.2.250"] = self.leaf
        self.late = Mx(world, "127.0.2.250", self.port, self.leaf)
        self.zone.sign("late.test", "@ MX 10 mx\nmx A 127.0.2.250\n_%d._tcp.mx %s" % (self.port, tlsa(self.leaf[0], 3, 1, 1)), expired=True)
        self.waiting.append("x@late.test")
        self.anchors = self.zone.start()

    def host(self, name, pair, rrs, into=None, more=""):
        """A domain of this name with one exchanger, at an address of its own."""
        address = "127.0.2.%d" % (len(self.hosts) + 1)
        into = self.records if into is None else into
        self.pairs[address] = pair
        self.hosts[name] = Mx(self.world, address, self.port, pair)
        into.append("%s MX 10 mx-%s" % (name, name))
        into.append("mx-%s A %s" % (name, address) if not more else more % {"address": address, "name": name})
        for rr in rrs:
            into.append("_%d._tcp.mx-%s %s" % (self.port, name, rr))

    def good(self):
        ca, leaf, wrong, host = self.ca, self.leaf, self.wrong, self.host
        expired = ca.issue("expired.test", days=-1)
        for usage, selector, matching in ((3, 0, 0), (3, 0, 1), (3, 0, 2), (3, 1, 0), (3, 1, 1), (3, 1, 2)):
            host("ee%d%d" % (selector, matching), leaf, [tlsa(leaf[0], usage, selector, matching)])
        host("old", expired, [tlsa(expired[0], 3, 1, 1)])  # nor at dates
        for selector, matching in ((0, 1), (1, 2), (0, 0)):
            name = "ta%d%d" % (selector, matching)
            pair = ca.issue(name, ["mx-%s.signed.test" % name])
            host(name, pair, [tlsa(pair[0], 2, selector, matching)])
        byname = ca.issue("byname", ["byname.signed.test"])  # the domain's name will do (§3.2.2)
        host("byname", byname, [tlsa(byname[0], 2, 0, 1)])
        host("rollover", leaf, [tlsa(wrong[0], 3, 1, 1), tlsa(leaf[0], 3, 1, 1)])
        host("der", leaf, ["TLSA 3 0 0 3003020105"])  # it looks like a certificate, and is none: unusable, too
        host("unusable", leaf, [tlsa(wrong[0], 1, 1, 1), "TLSA 3 9 1 00ff"])
        aliased = ca.issue("aliased", ["real-aliased.signed.test"])  # at the expanded name (§2.2.3)
        host("aliased", aliased, [], more="mx-%(name)s CNAME real-%(name)s\nreal-%(name)s A %(address)s\n" + "_%d._tcp.real-%%(name)s %s" % (self.port, tlsa(aliased[0], 2, 0, 1)))
        host("alias2", leaf, [tlsa(leaf[0], 3, 1, 1)], more="mx-%(name)s CNAME real-%(name)s\nreal-%(name)s A %(address)s")  # … and at the original one
        host("outside", leaf, [tlsa(leaf[0], 3, 1, 1)], more="mx-%(name)s CNAME h.plain.test.")
        self.plain.append("h A 127.0.2.%d" % len(self.hosts))

    def bad(self):
        leaf, wrong, host = self.leaf, self.wrong, self.host
        host("mismatch", leaf, [tlsa(wrong[0], 3, 1, 1)])
        stranger = self.other.issue("stranger", ["mx-stranger.signed.test"])
        host("stranger", stranger, [tlsa(leaf[0], 2, 0, 1)])
        host("misnamed", leaf, [tlsa(leaf[0], 2, 0, 1)])  # DANE-TA wants a name
        host("clear", None, [tlsa(leaf[0], 3, 1, 1)])
        host("unusable2", None, [tlsa(leaf[0], 0, 0, 1)])  # TLS all the same (§2.2)
        host("der2", leaf, ["TLSA 3 0 0 3003020105"])  # … and not enough for dane-only
        host("forged", leaf, [tlsa(wrong[0], 3, 0, 2)])

    def others(self):
        """What nobody vouches for, and domains at exchangers of another."""
        self.host("liar", self.leaf, [tlsa(self.wrong[0], 3, 1, 1)], self.plain)
        self.host("nothing", None, [], self.plain)
        self.plain.append("mixed MX 10 mx-ee11.signed.test.\nmixed2 MX 10 mx-mismatch.signed.test.")
        self.sent += ["x@liar.plain.test", "x@nothing.plain.test", "x@mixed.plain.test"]
        self.waiting.append("x@mixed2.plain.test")  # hosts are held to their records, whoever names them

    def send(self):
        """A server of ours that has tried to send to all of them, and {address: verdict}."""
        s = self.world.server(accounts=["ann@d.test"], extra="""
dns { servers = { "127.0.0.1@%d" } trust_anchor = "%s" }
sending { mx_port = %d mta_sts = no ca_file = "%s" }
queue { retry = { 1h } }
reports { tls = yes }
route "ee12.signed.test" { to = mx tls = dane-only }
route "der2.signed.test" { to = mx tls = dane-only }
route "unusable.signed.test" { to = mx tls = may }
route "nothing.plain.test" { to = mx tls = dane }
""" % (self.zone.port, self.anchors, self.port, self.other.pem))
        for address in self.sent + self.waiting:
            submit(s, address)
        return s, verdicts(s, self.sent + self.waiting)


@case
def dane(world):
    """TLSA records in a signed zone: what fits is sent to, what does not waits, and where DNSSEC vouches for nothing all is as without DANE."""
    w = DaneHosts(world)
    hosts, sent, waiting, leaf = w.hosts, w.sent, w.waiting, w.leaf
    s, found = w.send()
    for address in sent:
        assert found[address] == "sent", (address, found[address])
    for address in waiting:
        assert "4.7.5" in found[address] or ("late" in address and "4.4.3" in found[address]) or "4.7.0" in found[address], (address, found[address])
        name = address[2:].split(".")[0]
        assert name not in hosts or not hosts[name].got(address), (address, "was sent")
    assert w.late.mails == []
    for name in hosts:
        for address, secured, _ in hosts[name].mails:
            assert secured or name == "nothing", (name, address, "in clear")
    by_both = sorted(o[1:] for o in opened(s, "mx-ee11.signed.test"))
    assert by_both == [("dane", "host"), ("dane", "yes")], "found by an unsigned MX it is not said to be the domain's: %s" % by_both
    assert opened(s, "mx-unusable.signed.test")[0][1:] == ("dane", "no")
    assert opened(s, "mx-der.signed.test")[0][1:] == ("dane", "no")
    assert opened(s, "mx-liar.plain.test")[0][1:] == ("none", "no")
    assert "real-aliased.signed.test" in hosts["aliased"].names and "mx-alias2.signed.test" in hosts["alias2"].names, "the SNI is the base domain"
    assert "does not answer for the TLSA records" in found["x@forged.signed.test"], found["x@forged.signed.test"]
    assert "DANE" in found["x@clear.signed.test"], found["x@clear.signed.test"]
    wanted = {("ee11.signed.test", "tlsa", "success"): 1, ("mismatch.signed.test", "tlsa", "validation-failure"): 1, ("misnamed.signed.test", "tlsa", "certificate-host-mismatch"): 1,
              ("clear.signed.test", "tlsa", "starttls-not-supported"): 1, ("unusable.signed.test", "tlsa", "tlsa-invalid"): 1,
              ("forged.signed.test", "tlsa", "dnssec-invalid"): 1, ("liar.plain.test", "no-policy-found", "success"): 1,
              ("nothing.plain.test", "no-policy-found", "starttls-not-supported"): 1}
    wait_until("TLS is counted", lambda: all(counted(s).get(key, (0,))[0] == count for key, count in wanted.items()) or ("forged.signed.test", "tlsa", "dnssec-invalid") in counted(s), 20)
    seen = counted(s)
    assert all(seen.get(key, (0,))[0] == count for key, count in wanted.items()), ({k: seen.get(k) for k in wanted}, sorted(seen))
    assert seen[("ee11.signed.test", "tlsa", "success")][1] == [tlsa(leaf[0], 3, 1, 1)[5:]], "the records as a zone has them"


@case
def dane_beside_others(world):
    """Records made by danetool (GnuTLS) and ldns-dane, from a zone that ldns signed: our verdict on each is that of ldns-dane."""
    port, zone, ca = free_port("127.0.2.1"), SignedZone(world), Authority(world)
    leaf, wrong = ca.issue("mx.signed.test", ["mx-%s.signed.test" % n for n in ("a", "b", "c", "d", "e", "f", "g")]), ca.issue("wrong.test")

    def by_danetool(pem, *options):
        out = run("danetool", "--tlsa-rr", "--host", "h", "--port", "25", "--load-certificate", pem, *options).stdout
        numbers = re.search(r"TLSA \( (\d+) (\d+) (\d+) ([0-9a-f]+) \)", out)
        return "TLSA %d %d %d %s" % (tuple(int(n) for n in numbers.groups()[:3]) + (numbers.group(4),))

    def by_ldns(pem, *numbers):
        return "TLSA " + run("ldns-dane", "-n", "-f", ca.pem, "-c", pem, "create", "h", "25", *numbers).stdout.split("TLSA")[1].strip().replace("\t", " ")

    def judged(pem, name, record):
        """ldns-dane's word on a chain, a name and a record: it does not know STARTTLS, so the chain comes from the file."""
        records = world.write("records", "_25._tcp.%s. 3600 IN %s\n" % (name, record))
        return run("ldns-dane", "-c", pem, "-t", records, "verify", name, "25", ok=False).returncode == 0

    records = {"a": by_danetool(leaf[0]), "b": by_danetool(leaf[0], "--x509", "--hash", "sha512"), "c": by_danetool(ca.pem, "--ca", "--x509"), "d": by_ldns(leaf[0], "3", "0", "1"),
               "e": by_danetool(wrong[0]), "f": by_ldns(wrong[0], "3", "0", "2"), "g": by_danetool(Authority(world, "other").pem, "--ca", "--x509")}
    assert records["a"] == tlsa(leaf[0], 3, 1, 1) and records["c"] == tlsa(leaf[0], 2, 0, 1), records
    lines, hosts = [], {}
    for n, (name, record) in enumerate(sorted(records.items()), 1):
        hosts[name] = Mx(world, "127.0.2.%d" % n, port, leaf)
        lines += ["%s MX 10 mx-%s" % (name, name), "mx-%s A 127.0.2.%d" % (name, n), "_%d._tcp.mx-%s %s" % (port, name, record)]
    zone.sign("signed.test", "\n".join(lines))
    anchors = zone.start()
    s = world.server(accounts=["ann@d.test"], extra="""
dns { servers = { "127.0.0.1@%d" } trust_anchor = "%s" }
sending { mx_port = %d mta_sts = no }
queue { retry = { 1h } }
""" % (zone.port, anchors, port))
    addresses = {name: "x@%s.signed.test" % name for name in records}
    for address in addresses.values():
        submit(s, address)
    found = verdicts(s, list(addresses.values()))
    ours = {name: found[address] == "sent" for name, address in addresses.items()}
    theirs = {name: judged(leaf[0], "mx-%s.signed.test" % name, record) for name, record in records.items()}
    assert ours == theirs == {name: name < "e" for name in records}, (ours, theirs, found)


# ---- MTA-STS ------------------------------------------------------------------------------------------------------------------------------


class PolicyHost:
    """What serves https://mta-sts.<domain>/.well-known/mta-sts.txt at an address of its own."""

    def __init__(self, world, address, port, pair, body, status=200, kind="text/plain"):
        self.body, self.status, self.kind, self.paths = body, status, kind, []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.paths.append("%s%s" % (self.headers["Host"].split(":")[0], self.path))
                data = owner.body.encode()
                self.send_response(owner.status)
                self.send_header("Content-Type", owner.kind)
                self.send_header("Content-Length", str(len(data)))
                if owner.status == 301:
                    self.send_header("Location", "/moved")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):  # a client that does not like the certificate
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self.server = Server((address, port), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.up = True
        world.cleanups.append(self.close)

    def close(self):
        if self.up:
            self.up = False
            self.server.shutdown()
            self.server.server_close()


def policy(mode="enforce", mx=(), max_age=86400):
    return "".join(line + "\r\n" for line in ["version: STSv1", "mode: " + mode] + ["mx: " + m for m in mx] + ["max_age: %d" % max_age])


class StsWorld:
    """Domains with an exchanger and a policy host each."""

    def __init__(self, world):
        self.world = world
        self.ca, self.other = Authority(world), Authority(world, "other")
        self.mx_port, self.https_port = free_port("127.0.2.1"), free_port("127.0.3.1")
        self.mx, self.hosts, self.zones, self.count = {}, {}, {}, 0

    def domain(self, name, text=None, pair="good", host_pair="good", record="v=STSv1; id=1;", extensions=(), **options):
        """text: the policy; None: there is no policy host. pair: of the exchanger; host_pair: of the policy host."""
        self.count += 1
        n, mx, host = self.count, "mx.%s.test" % name, "mta-sts.%s.test" % name
        pairs = {"good": lambda who: self.ca.issue(who), "stranger": lambda who: self.other.issue(who), "misnamed": lambda who: self.ca.issue("x." + who),
                 "expired": lambda who: self.ca.issue(who, days=-1), "common": lambda who: self.ca.issue(who, common_name_only=True), "none": lambda who: None}
        self.mx[name] = Mx(self.world, "127.0.2.%d" % n, self.mx_port, pairs[pair](mx), extensions)
        if text is not None:
            self.hosts[name] = PolicyHost(self.world, "127.0.3.%d" % n, self.https_port, pairs[host_pair](host), text, **options)
        self.zones[name + ".test"] = "@ MX 10 mx\nmx A 127.0.2.%d\nmta-sts A 127.0.3.%d\n%s" % (
            n, n, '_mta-sts TXT "%s"' % record if record else "")

    def serve(self, **options):
        self.dns = nsd(self.world, self.zones)
        self.server = self.world.server(accounts=["ann@d.test"], extra="""
dns { servers = { "127.0.0.1@%d" } }
sending { mx_port = %d mta_sts_port = %d ca_file = "%s" }
queue { retry = { 1h } }
reports { tls = yes }
""" % (self.dns, self.mx_port, self.https_port, self.ca.pem), **options)
        return self.server

    def new_zones(self, *changed):
        """The name server begins anew with other records."""
        for program in [p for p in self.world.programs if p.log_path.endswith("nsd.log") and p.alive()]:
            program.stop()
        for name, old, new in changed:
            assert old in self.zones[name]
            self.zones[name] = self.zones[name].replace(old, new)
        nsd(self.world, self.zones, self.dns)


@case
def mta_sts(world):
    """Policies of every kind, from policy hosts of every kind: only what an enforced one wants is wanted, and all of it."""
    w = StsWorld(world)
    good = lambda name, **more: policy(mx=["mx.%s.test" % name], **more)
    w.domain("ok", good("ok"))
    w.domain("wild", policy(mx=["other.test", "*.wild.test"]))
    w.domain("testing", policy("testing", ["else.test"]), pair="stranger")
    w.domain("off", policy("none"), pair="stranger")
    w.domain("norecord", policy(mx=["else.test"]), pair="stranger", record=None)
    w.domain("oldhost", policy(mx=["else.test"]), pair="stranger", host_pair="expired")
    w.domain("falsehost", policy(mx=["else.test"]), pair="stranger", host_pair="misnamed")
    w.domain("strangehost", policy(mx=["else.test"]), pair="none", host_pair="stranger")
    w.domain("unreachable", None, pair="stranger")
    w.domain("moved", policy(mx=["else.test"]), pair="stranger", status=301)
    w.domain("missing", policy(mx=["else.test"]), pair="stranger", status=404)
    w.domain("page", policy(mx=["else.test"]), pair="stranger", kind="text/html")
    w.domain("broken", "version: STSv1\nmode: enforce\n", pair="stranger")
    w.domain("huge", policy(mx=["else%d.test" % i for i in range(6000)]), pair="stranger")
    sent = list(w.mx)
    w.domain("unnamed", policy(mx=["mx.else.test", "*.mx.unnamed.test"]))
    w.domain("stranger", good("stranger"), pair="stranger")
    w.domain("misnamed", good("misnamed"), pair="misnamed")
    w.domain("common", good("common"), pair="common")
    w.domain("expired", good("expired"), pair="expired")
    w.domain("clear", good("clear"), pair="none")
    waiting = list(w.mx)[len(sent):]
    w.domain("secret", good("secret"), extensions=["REQUIRETLS"])
    w.domain("secret2", policy("testing", ["else.test"]), extensions=["REQUIRETLS"])
    s = w.serve()
    for name in sent + waiting:
        submit(s, "x@%s.test" % name)
    submit(s, "y@ok.test", "again")
    submit(s, "x@secret.test", options=["REQUIRETLS"])
    submit(s, "x@secret2.test", options=["REQUIRETLS"])
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.login("ann@d.test", PASSWORD)
        for to in ("y@unnamed.test", "y@clear.test"):
            c.sendmail("ann@d.test", to, "From: ann@d.test\r\nTLS-Required: No\r\n\r\nhello\r\n")
    found = verdicts(s, ["x@%s.test" % name for name in list(w.mx)] + ["y@ok.test", "y@unnamed.test", "y@clear.test"])
    for name in sent:
        assert found["x@%s.test" % name] == "sent", (name, found["x@%s.test" % name])
    for name in waiting:
        reply = found["x@%s.test" % name]
        assert " 4.7." in reply and "MTA-STS policy" in reply, (name, reply)
        assert not w.mx[name].got("x@%s.test" % name), name
    assert "does not name the host mx.unnamed.test" in found["x@unnamed.test"], found["x@unnamed.test"]
    assert w.mx["unnamed"].got("y@unnamed.test") == [True] and w.mx["clear"].got("y@clear.test") == [False], "TLS-Required: No"
    assert w.mx["ok"].got("x@ok.test") == [True] and w.mx["ok"].got("y@ok.test") == [True]
    assert w.hosts["ok"].paths == ["mta-sts.ok.test/.well-known/mta-sts.txt"], "fetched once: %s" % w.hosts["ok"].paths
    assert w.hosts["moved"].paths == ["mta-sts.moved.test/.well-known/mta-sts.txt"], "redirections are not followed"
    assert w.hosts["norecord"].paths == []
    assert opened(s, "mx.ok.test")[0][1:] == ("sts", "yes"), opened(s, "mx.ok.test")
    assert opened(s, "mx.testing.test")[0][1:] == ("sts-testing", "no")
    assert opened(s, "mx.off.test")[0][1:] == ("none", "no")
    failed = {e["domain"]: e["error"] for e in s.events("sts.failed")}
    for name, why in (("oldhost", "certificate"), ("falsehost", "certificate"), ("strangehost", "certificate"), ("unreachable", "connect"), ("moved", "301"),
                      ("missing", "404"), ("page", "text/html"), ("broken", "max_age"), ("huge", "too long")):
        assert why in failed[name + ".test"], (name, failed[name + ".test"])
    assert found["x@secret.test"] == "sent" and "REQUIRETLS" in w.mx["secret"].mails[0][2], "the policy vouches for the host (RFC 8689 §4.2.1)"
    assert "5.7.10" in found["x@secret2.test"] and "no MTA-STS policy names the host" in found["x@secret2.test"], found["x@secret2.test"]
    wanted = {("ok.test", "sts", "success"): 1, ("testing.test", "sts", "validation-failure"): 1, ("oldhost.test", "sts", "sts-webpki-invalid"): 1,
              ("missing.test", "sts", "sts-policy-fetch-error"): 1, ("broken.test", "sts", "sts-policy-invalid"): 1, ("expired.test", "sts", "certificate-expired"): 1,
              ("stranger.test", "sts", "certificate-not-trusted"): 1, ("misnamed.test", "sts", "certificate-host-mismatch"): 1,
              ("clear.test", "sts", "starttls-not-supported"): 1, ("unnamed.test", "sts", "validation-failure"): 1, ("off.test", "no-policy-found", "success"): 1}
    wait_until("TLS is counted", lambda: ("clear.test", "sts", "starttls-not-supported") in counted(s), 20)
    time.sleep(1.5)  # the last second's
    seen = counted(s)
    assert all(seen.get(key, (0,))[0] >= count for key, count in wanted.items()), ({k: seen.get(k) for k in wanted}, sorted(seen))
    assert seen[("ok.test", "sts", "success")][1] == ["version: STSv1", "mode: enforce", "max_age: 86400", "mx: mx.ok.test"], seen[("ok.test", "sts", "success")]
    kept = sorted(os.listdir(os.path.join(s.state, "mta-sts")))
    assert "ok.test" in kept and "off.test" in kept and "broken.test" not in kept, kept


@case
def mta_sts_kept(world):
    """A policy outlives restarts, a policy host that is down and a record that is gone; another id is another policy; old ones are fetched anew in time."""
    w = StsWorld(world)
    w.domain("a", policy(mx=["mx.a.test"]))
    w.domain("b", policy(mx=["mx.else.test"]))
    w.domain("c", policy(mx=["mx.c.test"]))
    s = w.serve(foreground=os.geteuid() != 0)  # as root: confined, as it is served
    for name in "abc":
        submit(s, "1@%s.test" % name)
    found = verdicts(s, ["1@a.test", "1@b.test", "1@c.test"])
    assert found["1@a.test"] == found["1@c.test"] == "sent" and "4.7.5" in found["1@b.test"], found
    s.stop()
    for name in "ab":
        w.hosts[name].close()
    w.new_zones(("a.test", 'v=STSv1; id=1;', 'v=spf1 -all'))
    path = os.path.join(s.state, "mta-sts", "c.test")
    with open(path) as f:
        text = f.read()
    fetched = int(re.search(r"fetched: (\d+)", text).group(1))
    world.write(path, text.replace("fetched: %d" % fetched, "fetched: %d" % (fetched - 86000)).replace("max_age: 86400", "max_age: 200000"))
    s.start()
    submit(s, "2@a.test")  # the record is gone: its policy is not
    submit(s, "2@b.test")  # the policy host is gone
    submit(s, "2@c.test")
    found = verdicts(s, ["2@a.test", "2@b.test", "2@c.test"])
    assert found["2@a.test"] == found["2@c.test"] == "sent" and "4.7.5" in found["2@b.test"], found
    assert [o[1] for o in opened(s, "mx.a.test")] == ["sts", "sts"]
    assert len(w.hosts["c"].paths) == 1
    s.stop()
    with open(path) as f:
        text = f.read()
    world.write(path, text.replace("fetched: %d" % (fetched - 86000), "fetched: %d" % (fetched - 90000)))
    w.new_zones(("b.test", "id=1;", "id=2;"))
    w.hosts["b"] = PolicyHost(world, "127.0.3.2", w.https_port, w.ca.issue("mta-sts.b.test"), policy(mx=["mx.b.test"]))
    s.start()
    submit(s, "3@b.test")
    assert verdicts(s, ["3@b.test"])["3@b.test"] == "sent", "another id: another policy"
    wait_until("a policy that is a day old is fetched anew, without mail", lambda: len(w.hosts["c"].paths) == 2, 40)
    wait_until("and kept", lambda: len([e for e in s.events("sts.fetched") if e["domain"] == "c.test"]) == 2)
