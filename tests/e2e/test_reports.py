"""Reports: DMARC aggregate reports and TLS reports made of real mail, sent, signed, and read back by `veredus report` and by a parser that is not ours; what `veredus report` refuses."""
import email
import glob
import gzip
import io
import json
import os
import pwd
import re
import signal
import smtplib
import time
import xml.etree.ElementTree
import zipfile

from harness import PASSWORD, Sink, case, kill, make_users, nsd, run, wait_until
from test_auth_peers import ask

ZONE = """
author        TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.author TXT "v=DMARC1; p=quarantine; rua=mailto:reports@author.test,mailto:x@consulting.test,mailto:y@nosy.test"
other         TXT "v=spf1 ip4:127.0.0.1 -all"
quiet         TXT "v=spf1 -all"
_dmarc.quiet  TXT "v=DMARC1; p=none"
author.test._report._dmarc.consulting TXT "v=DMARC1"
"""

# RFC 7489 appendix C: each element with its children (name: least, most) or the values that it may have; None: any text. With what RFC 9990 added.
MANY = 10 ** 6
SCHEMA = {
    "feedback": {"version": (1, 1), "report_metadata": (1, 1), "policy_published": (1, 1), "record": (1, MANY)},
    "feedback/version": r"1\.0",
    "feedback/report_metadata": {"org_name": (1, 1), "email": (1, 1), "extra_contact_info": (0, 1), "report_id": (1, 1), "date_range": (1, 1), "error": (0, MANY), "generator": (0, 1)},
    "feedback/report_metadata/date_range": {"begin": (1, 1), "end": (1, 1)},
    "feedback/report_metadata/date_range/begin": r"\d+",
    "feedback/report_metadata/date_range/end": r"\d+",
    "feedback/policy_published": {"domain": (1, 1), "adkim": (0, 1), "aspf": (0, 1), "p": (1, 1), "sp": (1, 1), "pct": (1, 1), "fo": (1, 1), "np": (0, 1), "testing": (0, 1), "discovery_method": (0, 1)},
    "feedback/policy_published/adkim": "r|s",
    "feedback/policy_published/aspf": "r|s",
    "feedback/policy_published/p": "none|quarantine|reject",
    "feedback/policy_published/sp": "none|quarantine|reject",
    "feedback/policy_published/np": "none|quarantine|reject",
    "feedback/policy_published/pct": r"\d+",
    "feedback/policy_published/fo": "[01ds](:[01ds])*",
    "feedback/policy_published/testing": "y|n",
    "feedback/policy_published/discovery_method": "psl|treewalk",
    "feedback/record": {"row": (1, 1), "identifiers": (1, 1), "auth_results": (1, 1)},
    "feedback/record/row": {"source_ip": (1, 1), "count": (1, 1), "policy_evaluated": (1, 1)},
    "feedback/record/row/source_ip": r"[0-9.]+|[0-9a-fA-F:.]+",
    "feedback/record/row/count": r"\d+",
    "feedback/record/row/policy_evaluated": {"disposition": (1, 1), "dkim": (1, 1), "spf": (1, 1), "reason": (0, MANY)},
    "feedback/record/row/policy_evaluated/disposition": "none|quarantine|reject",
    "feedback/record/row/policy_evaluated/dkim": "pass|fail",
    "feedback/record/row/policy_evaluated/spf": "pass|fail",
    "feedback/record/row/policy_evaluated/reason": {"type": (1, 1), "comment": (0, 1)},
    "feedback/record/row/policy_evaluated/reason/type": "forwarded|sampled_out|trusted_forwarder|mailing_list|local_policy|policy_test_mode|other",
    "feedback/record/identifiers": {"envelope_to": (0, 1), "envelope_from": (1, 1), "header_from": (1, 1)},
    "feedback/record/auth_results": {"dkim": (0, MANY), "spf": (1, MANY)},
    "feedback/record/auth_results/dkim": {"domain": (1, 1), "selector": (0, 1), "result": (1, 1), "human_result": (0, 1)},
    "feedback/record/auth_results/dkim/result": "none|pass|fail|policy|neutral|temperror|permerror",
    "feedback/record/auth_results/spf": {"domain": (1, 1), "scope": (1, 1), "result": (1, 1)},
    "feedback/record/auth_results/spf/scope": "helo|mfrom",
    "feedback/record/auth_results/spf/result": "none|neutral|pass|fail|softfail|temperror|permerror",
}


def check_schema(element, path=None):
    path = path or element.tag
    rule = SCHEMA.get(path)
    if not isinstance(rule, dict):
        assert len(element) == 0, "%s has children" % path
        assert rule is None or re.fullmatch(rule, element.text or ""), "%s is %r" % (path, element.text)
        return
    assert not (element.text or "").strip(), "%s has text" % path
    for name in {child.tag for child in element} | set(rule):
        least, most = rule.get(name, (0, 0))
        assert least <= len(element.findall(name)) <= most, "%s has %d %s" % (path, len(element.findall(name)), name)
    for child in element:
        check_schema(child, path + "/" + child.tag)


def scene(world, sink, reports="dmarc = yes", keygen=True, interval="2s", zone=ZONE, **options):
    anchors = world.write("no-anchors", "; this world has no root\n")
    s = world.server(accounts=["ann@d.test"], start=False, **options, extra="""
verify { skip = none
 dmarc = mark }
dns { servers = { "127.0.0.1@%d" }
 trust_anchor = "%s" }
reports { %s
 from = "reports@d.test"
 organization = "Test & Co"
 interval = %s }
route "*" { to = "smtp:[127.0.0.1]:%d" tls = none }""" % (nsd(world, {"test": zone}), anchors, reports, interval, sink.port))
    if keygen:
        s.command("dkim", "keygen", "d.test", "--algorithm", "ed25519", "--config", s.config)
    return s.start()


def send(s, sender, author, to="ann@d.test", more=""):
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail(sender, [to], ("From: %s\r\nTo: %s\r\nSubject: x\r\nDate: %s\r\nMessage-ID: <%s@x.test>\r\n%s\r\nhi\r\n" % (author, to, email.utils.formatdate(), time.time_ns(), more)).encode())


def reports_to(sink, address):
    """Each message that came to this address, with its report (an element)."""
    found = []
    for _, recipients, data in list(sink.messages):
        if any(address in r for r in recipients):
            message = email.message_from_bytes(data)
            attached = [p for p in message.walk() if p.get_content_type() == "application/gzip"]
            assert len(attached) == 1, message
            found.append((data, message, attached[0], xml.etree.ElementTree.fromstring(gzip.decompress(attached[0].get_payload(decode=True)))))
    return found


def told(found):
    return sum(int(r.findtext("row/count")) for _, _, _, root in found for r in root.findall("record"))


def key_records(s):
    text = s.command("dkim", "record", "d.test", "--config", s.config).stdout
    return {name: ["".join(re.findall(r'"([^"]*)"', value))] for name, value in re.findall(r"^(\S+)\. IN TXT \( (.*) \)$", text, re.M)}


@case
def owners_of_domains_are_told(world):
    """Mail that passes and mail that fails DMARC is reported to the domain's addresses: to its own, to another's that wants it, to none that does not."""
    sink = Sink(world)
    s = scene(world, sink)
    for _ in range(3):
        send(s, "x@author.test", "x@author.test")
    send(s, "x@other.test", "x@author.test")
    send(s, "x@quiet.test", "x@quiet.test")  # has no rua
    wait_until("all four messages are reported to both", lambda: told(reports_to(sink, "reports@author.test")) == 4 and told(reports_to(sink, "x@consulting.test")) == 4, 60)
    found = reports_to(sink, "reports@author.test")
    rows = []
    for data, message, attachment, root in found:
        check_schema(root)
        assert root.findtext("report_metadata/org_name") == "Test & Co" and root.findtext("policy_published/domain") == "author.test"
        begin, end = (int(root.findtext("report_metadata/date_range/" + n)) for n in ("begin", "end"))
        assert begin % 2 == 0 and end == begin + 1, (begin, end)
        assert re.fullmatch(r"d\.test!author\.test!%d!%d!\w+\.xml\.gz" % (begin, end), attachment.get_filename()), attachment.get_filename()
        subject = re.sub(r"\s+", " ", message["Subject"])
        assert re.fullmatch(r"Report Domain: author\.test Submitter: d\.test Report-ID: <%s>" % re.escape(root.findtext("report_metadata/report_id")), subject), subject
        assert message["From"] == "reports@d.test" and message["To"] == "reports@author.test", message.items()
        verdicts = ask(kind="dkim", message=data, dns=key_records(s))
        assert [v["verdict"] for v in verdicts] == ["pass"], verdicts
        assert re.search(rb"DKIM-Signature:[^:]*d=d\.test;", data)
        rows += [(r.findtext("identifiers/envelope_from"), r.findtext("row/policy_evaluated/spf"), r.findtext("auth_results/spf/domain"), r.findtext("auth_results/spf/result"))
                 for r in root.findall("record") for _ in range(int(r.findtext("row/count")))]
        assert all(r.findtext("row/source_ip") == "127.0.0.1" and r.findtext("identifiers/header_from") == "author.test" and r.findtext("identifiers/envelope_to") == "d.test"
                   for r in root.findall("record"))
    assert sorted(rows) == [("author.test", "pass", "author.test", "pass")] * 3 + [("other.test", "fail", "other.test", "pass")], rows
    assert not [m for m in sink.messages if any("nosy" in r or "quiet" in r for r in m[1])], "somebody is told who did not ask"
    assert re.search(r"report\.refused.*nosy\.test", s.log()) and re.search(r"report\.sent.*author\.test", s.log())

    # the same, read by ours: the message as it came, what is attached, and what is in that
    mail = world.path("report.eml")
    for data, message, attachment, root in found:
        with open(mail, "wb") as f:
            f.write(data)
        packed, plain = world.path(os.path.basename(attachment.get_filename())), world.path("report.xml")
        with open(packed, "wb") as f:
            f.write(attachment.get_payload(decode=True))
        with open(plain, "wb") as f:
            f.write(gzip.decompress(attachment.get_payload(decode=True)))
        with zipfile.ZipFile(world.path("report.zip"), "w", zipfile.ZIP_DEFLATED) as z:
            z.write(plain, "report.xml")
        lines = s.command("report", "--json", mail, packed, plain, world.path("report.zip")).stdout.splitlines()
        assert len(lines) == 4 and len(set(lines)) == 1, lines
        ours = json.loads(lines[0])
        assert ours["policy"]["domain"] == "author.test" and ours["organization"] == "Test & Co"
        assert sum(r["count"] for r in ours["records"]) == sum(int(r.findtext("row/count")) for r in root.findall("record"))
        failed = json.loads(s.command("report", "--json", "--failed", mail).stdout)
        assert all(r["result"] == "fail" for r in failed["records"])
        text = s.command("report", mail).stdout
        assert "DMARC report of Test & Co <reports@d.test> about author.test" in text and "p=quarantine" in text, text


FAILURE_ZONE = """
author        TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.author TXT "v=DMARC1; p=quarantine; ruf=mailto:ruf@author.test,mailto:ruf@consulting.test,mailto:ruf@nosy.test"
author.test._report._dmarc.consulting TXT "v=DMARC1"
other         TXT "v=spf1 ip4:127.0.0.1 -all"
strict        TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.strict TXT "v=DMARC1; p=none; fo=1:d:s; ruf=mailto:ruf@strict.test"
bad           TXT "v=spf1 ip4:192.0.2.1 ~all"
_dmarc.bad    TXT "v=DMARC1; p=none; fo=s; ruf=mailto:ruf@bad.test"
quiet         TXT "v=spf1 -all"
_dmarc.quiet  TXT "v=DMARC1; p=none"
"""


def failures_to(sink, address):
    """Each failure report that came to this address: its reverse path, as it came, its machine-readable part, the header in it."""
    found = []
    for path, recipients, data in list(sink.messages):
        if any(address in r for r in recipients):
            message = email.message_from_bytes(data)
            assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "feedback-report", message
            assert not message.defects and message["Auto-Submitted"] == "auto-generated" and message["From"] == "reports@d.test", message.items()
            words, feedback, header = message.get_payload()
            assert [p.get_content_type() for p in (words, feedback, header)] == ["text/plain", "message/feedback-report", "text/rfc822-headers"], message
            inner, = feedback.get_payload()
            found.append((path, data, inner, email.message_from_bytes(header.get_payload(decode=True))))
    return found


@case
def failures_are_told_where_that_is_wanted(world):
    """With `reports.failures` a message that fails DMARC is told at once, with its header and without its body, to those who may hear it, as fo= says; ten of a domain within an hour."""
    sink = Sink(world)
    s = scene(world, sink, reports="failures = yes", zone=FAILURE_ZONE)
    send(s, "x@author.test", "x@author.test")  # passes
    send(s, "x@quiet.test", "x@quiet.test")  # fails, and has no ruf
    send(s, "", "x@author.test")  # a machine's
    send(s, "x@other.test", "x@author.test", more="Auto-Submitted: auto-replied\r\n")
    send(s, "x@other.test", "x@author.test", more="X-Word: gr\u00fc\u00df\r\n--=_veredus_failure_0_=: x\r\n")
    wait_until("both are told", lambda: failures_to(sink, "ruf@author.test") and failures_to(sink, "ruf@consulting.test"), 30)
    (path, data, feedback, header), = failures_to(sink, "ruf@author.test")
    assert len(failures_to(sink, "ruf@consulting.test")) == 1
    assert path.upper().startswith("MAIL FROM:<> "), path
    assert [v["verdict"] for v in ask(kind="dkim", message=data, dns=key_records(s))] == ["pass"]
    wanted = {"Feedback-Type": "auth-failure", "Version": "1", "Auth-Failure": "dmarc", "Delivery-Result": "delivered", "Identity-Alignment": "none", "Original-Mail-From": "<x@other.test>",
              "Source-IP": "127.0.0.1", "Reported-Domain": "author.test", "SPF-DNS": 'txt : other.test : "v=spf1 ip4:127.0.0.1 -all"'}
    assert {name: feedback[name] for name in wanted} == wanted, feedback.items()
    assert re.fullmatch(r"\S+;\s+dmarc=fail.*\sheader\.from=author\.test", feedback["Authentication-Results"], re.S), feedback["Authentication-Results"]
    assert abs(email.utils.parsedate_to_datetime(feedback["Arrival-Date"]).timestamp() - time.time()) < 600
    assert not feedback.get_payload().strip()
    assert header["From"] == "x@author.test" and header["To"] == "ann@d.test" and header["Subject"] == "x", header.items()
    assert "X-Word: gr=C3=BC=C3=9F".encode() in data and b"\r\nhi\r\n" not in data and not header.get_payload().strip(), data
    wait_until("who did not ask is refused", lambda: re.search(r"report\.refused.*nosy\.test", s.log()), 20)

    send(s, "x@strict.test", "x@strict.test")  # passes by SPF, and has no signature
    send(s, "x@bad.test", "x@bad.test")
    wait_until("fo=1 and fo=s are told", lambda: failures_to(sink, "ruf@strict.test") and failures_to(sink, "ruf@bad.test"), 30)
    (_, _, feedback, _), = failures_to(sink, "ruf@strict.test")
    assert feedback["Auth-Failure"] == "dmarc" and feedback["Identity-Alignment"] == "spf" and "dmarc=pass" in feedback["Authentication-Results"], feedback.items()
    (_, _, feedback, _), = failures_to(sink, "ruf@bad.test")
    assert feedback["Auth-Failure"] == "spf" and "spf=softfail" in feedback["Authentication-Results"] and feedback["Identity-Alignment"] == "none", feedback.items()

    for _ in range(12):
        send(s, "x@bad.test", "x@bad.test")
    wait_until("the limit is reached", lambda: len(failures_to(sink, "ruf@bad.test")) == 10, 30)
    wait_until("the log tells of the rest", lambda: sum(int(e["messages"]) for e in s.events("report.limited")) == 3, 30)
    assert len(failures_to(sink, "ruf@bad.test")) == 10 and len(failures_to(sink, "ruf@author.test")) == 1
    assert not [m for m in sink.messages if any("nosy" in r or "quiet" in r for r in m[1])], "somebody is told who did not ask"


@case
def failures_are_not_told_unless_that_is_wanted(world):
    """With aggregate reports alone no header leaves."""
    sink = Sink(world)
    s = scene(world, sink, zone=FAILURE_ZONE.replace("ruf=mailto:ruf@author.test", "rua=mailto:rua@author.test; ruf=mailto:ruf@author.test"))
    send(s, "x@other.test", "x@author.test")
    wait_until("the aggregate report comes", lambda: reports_to(sink, "rua@author.test"), 60)
    assert not [m for m in sink.messages if any("ruf@" in r for r in m[1])], sink.messages


TLS_ZONE = """
peer            MX 10 mx.peer
mx.peer         A 127.0.0.1
_smtp._tls.peer TXT "v=TLSRPTv1; rua=mailto:tls@peer.test"
plain            MX 10 mx.plain
mx.plain         A 127.0.0.2
_smtp._tls.plain TXT "v=TLSRPTv1; rua=mailto:plain@peer.test,ftp://plain.test/"
quiet            MX 10 mx.peer
"""


def tls_reports(peer, address):
    """(the file, the message, the report) of each that came to this address."""
    found = []
    for name in glob.glob(os.path.join(peer.maildir(address), "new", "*")):
        with open(name, "rb") as f:
            message = email.message_from_bytes(f.read())
        attached = [p for p in message.walk() if p.get_content_type() == "application/tlsrpt+gzip"]
        assert len(attached) == 1, message
        found.append((name, message, json.loads(gzip.decompress(attached[0].get_payload(decode=True)))))
    return found


@case
def tls_with_other_servers_is_reported(world):
    """Sessions with TLS, and with a server that has none, come as reports to those who ask, signed; they are delivered although the one who asks wants TLS."""
    peer = world.server("peer", domains={"peer.test": "", "quiet.test": ""}, accounts=["bob@peer.test", "tls@peer.test", "plain@peer.test", "bob@quiet.test"])
    plain = Sink(world, host="127.0.0.2", port=peer.mx)
    anchors = world.write("no-anchors", "; this world has no root\n")
    s = world.server(accounts=["ann@d.test"], start=False, extra="""
dns { servers = { "127.0.0.1@%d" }
 trust_anchor = "%s" }
reports { tls = yes
 from = "reports@d.test"
 interval = 3s }
sending { mx_port = %d }""" % (nsd(world, {"test": TLS_ZONE}), anchors, peer.mx))
    s.command("dkim", "keygen", "d.test", "--algorithm", "ed25519", "--config", s.config)
    s.start()
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.login("ann@d.test", PASSWORD)
        for to in ("bob@peer.test", "bob@quiet.test", "x@plain.test"):
            c.sendmail("ann@d.test", [to], "From: ann@d.test\r\nTo: %s\r\nSubject: x\r\n\r\nhi\r\n" % to)
    for address, domain, good, results in (("tls@peer.test", "peer.test", True, []), ("plain@peer.test", "plain.test", False, ["starttls-not-supported"])):
        wait_until("%s is told of %s" % (address, domain), lambda address=address: tls_reports(peer, address), 60)
        name, message, report = tls_reports(peer, address)[0]
        assert sorted(report) == ["contact-info", "date-range", "organization-name", "policies", "report-id"], report
        assert report["contact-info"] == "reports@d.test" and all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", t) for t in report["date-range"].values()), report
        policy, = report["policies"]
        assert policy["policy"] == {"policy-type": "no-policy-found", "policy-domain": domain}, report
        counted = policy["summary"]
        assert (counted["total-successful-session-count"] > 0) == good and (counted["total-failure-session-count"] > 0) != good, report
        assert [d["result-type"] for d in policy.get("failure-details", [])] == results, report
        assert message["TLS-Report-Domain"] == domain and message["TLS-Report-Submitter"] == "d.test" and message["TLS-Required"] == "No"
        assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "tlsrpt"
        with open(name, "rb") as f:
            data = re.sub(rb"\r?\n", b"\r\n", f.read())
        assert [v["verdict"] for v in ask(kind="dkim", message=data, dns=key_records(s))] == ["pass"]
        ours = json.loads(s.command("report", "--json", name).stdout)
        assert ours["kind"] == "tls" and ours["id"] == report["report-id"] and ours["policies"][0]["domain"] == domain
        assert ours["policies"][0]["successful"] == counted["total-successful-session-count"]
    assert "quiet.test" not in "".join(str(e) for e in s.events("report.sent")), s.events("report.sent")
    assert plain.messages


@case
def counts_survive_and_the_reporter_is_confined(world):
    """In the privileged mode the reporter is a user without rights, and writes its folder; killed and reloaded, it reports what was seen before."""
    make_users()
    sink = Sink(world)
    s = scene(world, sink, keygen=False, interval="12s", foreground=False, domains={"d.test": "mailboxes = any\n deliver = \"smtp:[127.0.0.1]:%d\"" % sink.port})
    pid, = s.pids("reporter")
    uid = pwd.getpwnam("_veredus").pw_uid
    with open("/proc/%d/status" % pid) as f:
        status = f.read()
    assert "Uid:\t%d\t%d" % (uid, uid) in status and "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status, status
    st = os.stat(os.path.join(s.state, "reports"))
    assert st.st_uid == uid and st.st_mode & 0o777 == 0o700
    time.sleep(12.1 - time.time() % 12)  # the beginning of a period: what follows is in one
    send(s, "x@author.test", "x@author.test")
    time.sleep(2)  # it commits once a second
    kill(pid)
    wait_until("another reporter serves", lambda: set(s.pids("reporter")) - {pid}, 20)
    time.sleep(1)
    send(s, "x@author.test", "x@author.test")
    os.kill(s.program.pid, signal.SIGHUP)
    wait_until("the second generation is ready", lambda: s.log().count("server.ready") == 2, 30)
    send(s, "x@author.test", "x@author.test")
    wait_until("all three messages are reported", lambda: told(reports_to(sink, "reports@author.test")) == 3, 60)
    assert "reporter.no_counts" not in s.log() and "process.confine" not in s.log(), s.log()[-3000:]


@case
def reports_are_off_until_they_are_wanted(world):
    """Without `reports` there is no such process, and nothing leaves."""
    sink = Sink(world)
    s = scene(world, sink, reports="dmarc = no", keygen=False)
    send(s, "x@author.test", "x@author.test")
    wait_until("the message is delivered", lambda: "delivered" in s.log(), 30)
    assert "role=reporter" not in s.log()
    time.sleep(5)
    assert not sink.messages, sink.messages


@case
def a_report_that_is_none_is_refused(world):
    """veredus report says of each file what is wrong with it, and prints the others."""
    s = world.server(start=False)
    bomb, big = world.path("bomb.gz"), gzip.GzipFile
    with big(bomb, "wb") as f:
        for _ in range(80):
            f.write(b" " * (1 << 20))
    files = {"empty": b"", "text": b"hello\n", "entities.xml": b'<!DOCTYPE f [<!ENTITY a "b">]><feedback>&a;</feedback>', "cut.xml.gz": gzip.compress(b"<feedback/>")[:-4],
             "html": b"<html><body/></html>", "list.json": b"[1]", "escape.json": b'{"date-range":{"start-datetime":"\\u001b[2J"},"policies":[]}'}
    for name, content in files.items():
        with open(world.path(name), "wb") as f:
            f.write(content)
    for path, words in ((bomb, "larger than is read"), (world.path("text"), "neither XML nor JSON"), (world.path("empty"), "neither XML nor JSON"),
                        (world.path("entities.xml"), "document type"), (world.path("cut.xml.gz"), "damaged"), (world.path("html"), "no DMARC report"), (world.path("list.json"), "neither XML nor JSON"),
                        (world.path("escape.json"), "no date range")):
        result = s.command("report", path, ok=False)
        assert result.returncode == 65 and words in result.stdout and "\x1b" not in result.stdout, (path, result)
    assert s.command("report", world.path("missing"), ok=False).returncode == 66
    good = io.BytesIO(b"<feedback><report_metadata><org_name>\xc2\x9b31m</org_name><date_range><begin>1</begin><end>2</end></date_range></report_metadata></feedback>")
    with open(world.path("good.xml"), "wb") as f:
        f.write(good.getvalue())
    result = s.command("report", world.path("text"), world.path("good.xml"), ok=False)
    assert result.returncode == 65 and "DMARC report of ?31m" in result.stdout, result
