"""`veredus dns` prints what a domain should publish, `veredus dns check` compares: with a name server (nsd) that has it, and one that has not."""
import http.server
import json
import os
import re
import ssl
import threading

from harness import case, free_port, nsd, run, wait_until

HOST = "mail.d.test"
SOURCE = "10.1.2.3"  # nothing is sent from there
REVERSE = {"10.in-addr.arpa": "3.2.1 PTR mail.d.test."}


def conf(port, extra=""):
    return 'sending { source = "%s" }\ndns { servers = "127.0.0.1@%d" }\n%s' % (SOURCE, port, extra)


def records(server, domain="d.test", *arguments):
    """The records that are to be published, by (name, type)."""
    out = server.command("dns", domain, "--json", "--config", server.config, *arguments).stdout
    return [json.loads(line) for line in out.splitlines()]


def zone(server, domain="d.test"):
    return server.command("dns", domain, "--config", server.config).stdout


def check(server, *arguments, domain="d.test"):
    """What the check finds, and its exit code."""
    done = server.command("dns", "check", domain, "--json", "--config", server.config, *arguments, ok=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def only(findings, what, name=None):
    return [f for f in findings if f["what"] == what and (name is None or f["name"] == name)]


def verdicts(findings, *which):
    return [(f["what"], f["name"], f["text"]) for f in findings if f["verdict"] in which]


class PolicyHost:
    """An HTTPS server that serves a text as mta-sts.txt, with a certificate of an authority of its own."""

    def __init__(self, world, domain, text="", content_type="text/plain"):
        self.world, self.ca = world, world.path("policy-ca.pem")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", world.path("policy-ca.key"), "-out", self.ca, "-subj", "/CN=CA")
        pem, key = self.certificate("policy", "mta-sts." + domain)
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                good = self.path == "/.well-known/mta-sts.txt"
                self.send_response(200 if good else 404)
                self.send_header("Content-Type", host.content_type)
                self.end_headers()
                self.wfile.write(host.text.encode() if good else b"")

            def log_message(self, *arguments):
                pass

        self.text, self.content_type = text, content_type
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        world.cleanups.append(self.close)

    def certificate(self, file, name):
        """Signed by this authority; (certificate, key)."""
        key, pem, csr = (self.world.path(file + e) for e in (".key", ".pem", ".csr"))
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=x", "-addext", "subjectAltName=DNS:" + name)
        run("openssl", "x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.world.path("policy-ca.key"), "-CAcreateserial", "-copy_extensions", "copy",
            "-out", pem)
        os.chmod(key, 0o600)
        return pem, key

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@case
def printed_records_pasted_into_a_zone_are_all_right(world):
    """First everything is missing, with the line that mends it; then what `veredus dns` prints is loaded by a name server, and the check is content."""
    port, web = free_port(), PolicyHost(world, "d.test")
    s = world.server(hostname=HOST, accounts=["ann@d.test"], domains={"d.test": 'mta_sts = enforce\n imaps = "imap.d.test"'},
                     extra=conf(port) + 'tls "%s" { certificate = "%s"\n key = "%s" }' % (HOST, *web.certificate("mail", HOST)))
    s.command("dkim", "keygen", "d.test", "--config", s.config)
    printed = records(s)
    web.text = next(r["text"] for r in printed if r["kind"] == "MTA-STS policy")
    lab = ["--ca", web.ca, "--policy-port", str(web.port)]
    nsd(world, {"d.test": "", **REVERSE}, port)
    findings, code = check(s, *lab)
    assert code == 1
    missing = {(f["what"], f["name"]) for f in findings if f["verdict"] == "missing"}
    dkim = {("DKIM", r["name"]) for r in printed if r["kind"] == "DKIM"}
    assert dkim, printed
    assert missing == {("MX", "d.test"), ("MX host", HOST), ("SPF", "d.test"), ("DMARC", "_dmarc.d.test"), ("MTA-STS", "_mta-sts.d.test"),
                       ("MTA-STS", "mta-sts.d.test"), ("TLS-RPT", "_smtp._tls.d.test")} | dkim, missing
    assert {f["name"] for f in only(findings, "SRV") if f["verdict"] == "warning"} == {"_submission._tcp.d.test", "_submissions._tcp.d.test",
                                                                                     "_imaps._tcp.d.test"}
    lines = [r["line"] for r in printed if "line" in r]
    for f in findings:
        if f["verdict"] == "missing" and f["name"] != "mta-sts.d.test":
            assert f["publish"] in lines, f
    world.programs[-1].stop()

    nsd(world, {"d.test": zone(s) + "mta-sts A 127.0.0.1\nimap A 127.0.0.1\n", **REVERSE}, port)
    findings, code = check(s, *lab)
    bad = verdicts(findings, "missing", "wrong", "unknown")
    assert code == 0 and not bad, bad
    warnings = verdicts(findings, "warning")
    assert [w[0] for w in warnings] == ["TLSA"] and "DNSSEC does not vouch" in warnings[0][2], warnings  # this zone is not signed
    seen = {f["what"] for f in findings if f["verdict"] == "ok"}
    assert seen == {"MX", "MX host", "PTR", "SPF", "DKIM", "DMARC", "TLSA", "MTA-STS", "TLS-RPT", "SRV"}, seen
    text = s.command("dns", "check", "d.test", "--config", s.config, *lab).stdout
    assert "0 missing, 0 wrong, 1 warning, 0 unknown" in text and "ok       MX       d.test: 10 mail.d.test" in text, text


@case
def what_is_wrong_is_said_with_how_to_mend_it(world):
    """Each record that is there and wrong: the check names what is wrong, and the line to publish."""
    port = free_port()
    s = world.server(hostname=HOST, domains={"d.test": "mta_sts = enforce"}, extra=conf(port))
    s.command("dkim", "keygen", "d.test", "--config", s.config)
    key = next(r for r in records(s) if r["kind"] == "DKIM")
    other = run("sh", "-c", "openssl genrsa 2048 2>/dev/null | openssl rsa -pubout -outform DER 2>/dev/null | base64 -w0").stdout.strip()
    web = PolicyHost(world, "d.test", "version: STSv1\r\nmode: enforce\r\nmx: other.d.test\r\nmax_age: 604800\r\n")
    nsd(world, {"d.test": """
@ MX 10 other
@ MX 5 mail
other A 127.0.0.1
mail CNAME real
real A 10.1.2.3
real A 10.1.2.4
@ TXT "v=spf1 ip4:192.0.2.1 -all"
%s. TXT "v=DKIM1; k=rsa; p=%s" "%s"
_dmarc TXT "v=DMARC1; p=perhaps"
_mta-sts TXT "v=STSv1; id=1;"
mta-sts A 127.0.0.1
_smtp._tls TXT "v=TLSRPTv1; rua=gopher:x"
_25._tcp.mail TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
_submission._tcp SRV 0 1 25 other
""" % (key["name"], other[:200], other[200:]), "10.in-addr.arpa": "3.2.1 PTR other.d.test.\n"}, port)
    findings, code = check(s, "--ca", web.ca, "--policy-port", str(web.port))
    assert code == 1
    wrong = {(f["what"], f["name"]): f for f in findings if f["verdict"] == "wrong"}
    policy = "https://mta-sts.d.test:%d/.well-known/mta-sts.txt" % web.port
    expected = {
        ("MX host", HOST): "it is an alias (CNAME)",
        ("PTR", "3.2.1.10.in-addr.arpa"): "10.1.2.3 is called other.d.test and not mail.d.test",
        ("SPF", "d.test"): 'our own address 10.1.2.3 does not pass but is "fail"',
        ("DKIM", key["name"]): "another key is published",
        ("DMARC", "_dmarc.d.test"): "which is no policy",
        ("MTA-STS", "_mta-sts.d.test"): "its id is 1, of another policy",
        ("MTA-STS", policy): "does not allow mail.d.test",
        ("MTA-STS", HOST): "nobody but itself has signed it",
        ("TLS-RPT", "_smtp._tls.d.test"): "which names nobody",
        ("TLSA", "_25._tcp.mail.d.test"): "none of its 1 records is for the certificate that is shown",
    }
    assert set(wrong) == set(expected), set(wrong) ^ set(expected)
    for at, words in expected.items():
        assert words in wrong[at]["text"], wrong[at]
    assert wrong["DKIM", key["name"]]["publish"] == key["line"]
    assert ("PTR", "4.2.1.10.in-addr.arpa") in {(f["what"], f["name"]) for f in findings if f["verdict"] == "missing"}
    warned = {(f["what"], f["text"].split(",")[0]) for f in findings if f["verdict"] == "warning"}
    assert ("MX", "other.d.test takes its mail too") in warned, warned
    assert ("SRV", "mail programs are led to another host or port") in warned, warned


@case
def doubled_and_broken_records(world):
    """Two records of a kind count as none; SPF beyond ten look-ups; a null MX; reports to another organisation without its leave; a policy host that fails."""
    port = free_port()
    s = world.server(hostname=HOST, domains={"d.test": "mta_sts = testing", "e.test": "sign = no"}, extra=conf(port))
    chain = "".join('i%d TXT "v=spf1 include:i%d.e.test -all"\n' % (i, i + 1) for i in range(12))
    nsd(world, {"d.test": """
@ MX 0 .
mail A 10.1.2.3
@ TXT "v=spf1 mx -all"
@ TXT "v=spf1 a -all"
_dmarc TXT "v=DMARC1; p=none"
_dmarc TXT "v=DMARC1; p=reject"
_mta-sts TXT "v=STSv1; id=1;"
_mta-sts TXT "v=STSv1; id=2;"
mta-sts A 127.0.0.1
_smtp._tls TXT "v=TLSRPTv1; rua=mailto:a@d.test"
_smtp._tls TXT "v=TLSRPTv1; rua=mailto:b@d.test"
""", "e.test": '@ MX 10 mail.d.test.\n@ TXT "v=spf1 include:i0.e.test -all"\n_dmarc TXT "v=DMARC1; p=none; rua=mailto:r@else.example"\n'
                + '_mta-sts TXT "v=STSv1; id=1;"\n' + chain, **REVERSE}, port)
    findings, code = check(s, "--policy-port", str(free_port()))
    assert code == 1
    wrong = verdicts(findings, "wrong")
    for what, words in (("MX", "a null MX says"), ("SPF", "there are 2 SPF records"), ("DMARC", "there are 2 DMARC records"),
                        ("MTA-STS", "there are 2 records"), ("TLS-RPT", "there are 2 records"), ("MTA-STS", "the policy cannot be fetched")):
        assert any(w[0] == what and words in w[2] for w in wrong), (what, words, wrong)
    findings, code = check(s, domain="e.test")
    assert code == 1
    assert any("it is broken" in w[2] for w in verdicts(findings, "wrong") if w[0] == "SPF"), findings
    warned = verdicts(findings, "warning")
    assert ("DMARC", "e.test._report._dmarc.else.example") in [w[:2] for w in warned] or \
        ("DMARC", "e.test._report._dmarc.else.example") in [w[:2] for w in verdicts(findings, "unknown")], findings
    assert any(w[0] == "MTA-STS" and "mta_sts = none" in w[2] for w in warned), warned
    assert not only(findings, "DKIM"), "signing is off for this domain"


@case
def a_dns_that_does_not_answer_is_no_verdict(world):
    """Without an answer nothing is called missing or wrong; the exit code says to ask again."""
    s = world.server(hostname=HOST, extra=conf(free_port()))
    findings, code = check(s)
    assert code == 75 and not verdicts(findings, "missing", "wrong"), (code, findings)
    assert {f["what"] for f in findings if f["verdict"] == "unknown"} >= {"MX", "SPF", "DMARC", "TLS-RPT"}, findings


@case
def dnssec_makes_tlsa_count(world):
    """In a signed zone a TLSA record for the certificate is all right without a warning, and its lack is one."""
    port, keys = free_port(), world.path("keys")
    os.makedirs(keys)
    names = [run("ldns-keygen", "-a", "ECDSAP256SHA256", *flags, "d.test", cwd=keys).stdout.strip().splitlines()[-1] for flags in ((), ("-k",))]
    with open(os.path.join(keys, names[1] + ".key")) as f:
        anchor = world.write("anchor", f.read())
    s = world.server(hostname=HOST, domains={"d.test": "sign = no"}, extra=conf(port).replace("dns {", 'dns { trust_anchor = "%s"\n' % anchor))

    def serve(text):
        plain = world.write("plain", "$ORIGIN d.test.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n" + text)
        signed = world.path("signed")
        run("ldns-signzone", "-f", signed, "-o", "d.test", plain, *[os.path.join(keys, n) for n in names])
        parts = ["server:", "  ip-address: 127.0.0.1@%d" % port, '  username: ""', '  chroot: ""', '  zonesdir: "%s"' % world.folder,
                 '  zonelistfile: "%s"' % world.path("zone.list"), '  xfrdfile: ""', '  pidfile: ""', "  server-count: 1", "remote-control:",
                 "  control-enable: no", "zone:", "  name: d.test", "  zonefile: %s" % signed]
        config = world.write("signed.conf", "\n".join(parts) + "\n")
        world.start("nsd", ["/usr/sbin/nsd", "-d", "-c", config])
        wait_until("nsd answers", lambda: only(check(s)[0], "MX")[0]["verdict"] != "unknown", 20, 0.5)

    text = zone(s)
    serve(re.sub(r"(?m)^.* TLSA .*$", "", text))
    findings, _ = check(s)
    tlsa, = only(findings, "TLSA")
    assert tlsa["verdict"] == "warning" and "the zone is signed" in tlsa["text"] and tlsa["publish"] in text, tlsa
    world.programs[-1].stop()
    serve(text)
    findings, _ = check(s)
    tlsa, = only(findings, "TLSA")
    assert tlsa["verdict"] == "ok", tlsa


@case
def wrong_usage_of_dns(world):
    """A domain that is none of ours, options that make no sense."""
    s = world.server(start=False, domains={"d.test": "", "b\u00fccher.test": ""})
    assert s.command("dns", "other.test", "--config", s.config, ok=False).returncode == 65
    assert s.command("dns", "--config", s.config, ok=False).returncode == 64
    assert s.command("dns", "check", "d.test", "--policy-port", "x", "--config", s.config, ok=False).returncode == 64
    done = s.command("dns", "d.test", "--config", s.config, ok=False)  # no certificate was made yet: it was never started
    assert done.returncode == 0 and "cannot read" in done.stdout and "IN MX 10 veredus.test." in done.stdout, done.stdout
    for name in ("b\u00fccher.test", "xn--bcher-kva.test"):
        assert "xn--bcher-kva.test. 3600 IN MX 10" in s.command("dns", name, "--config", s.config, ok=False).stdout
