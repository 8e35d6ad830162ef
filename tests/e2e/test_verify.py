"""Strangers' mail verified at the receiver: SPF, DKIM, ARC and DMARC with a real DNS (nsd), real signatures (dkimpy), and a DNS that is silent or dead."""
import contextlib
import os
import pwd
import re
import smtplib
import socket
import threading

from harness import PASSWORD, Sink, case, free_port, kill, make_users, nsd, read_maildir, run, wait_until
from test_auth_peers import Keys, dkimpy

ANN = "ann@d.test"
ZONE = """
pass        TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.pass TXT "v=DMARC1; p=reject"
strict        TXT "v=spf1 -all exp=why.strict.test"
why.strict    TXT "%{i} is not one of ours"
_dmarc.strict TXT "v=DMARC1; p=reject"
junk        TXT "v=spf1 -all"
_dmarc.junk TXT "v=DMARC1; p=quarantine"
open        TXT "v=spf1 -all"
_dmarc.open TXT "v=DMARC1; p=none"
"""
SIGNERS = ("pass", "strict", "junk", "open", "list")


def quoted(record):
    return " ".join('"%s"' % record[i:i + 200] for i in range(0, len(record), 200))


class Dns:
    """In front of nsd: names with `mute` in them have no answer, as long as `mute` is set; those with `dead` are SERVFAIL."""

    def __init__(self, world, port):
        self.nsd, self.mute, self.port = port, True, free_port()
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", self.port))
        world.cleanups.append(self.stop)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def stop(self):
        with contextlib.suppress(OSError):
            self.socket.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join(10)
        self.socket.close()

    def serve(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            if not packet:
                return
            self.asked.append(packet)
            if self.mute and b"mute" in packet:
                continue
            if b"dead" in packet:
                self.socket.sendto(packet[:2] + bytes([packet[2] | 0x80, 0x82]) + packet[4:], client)
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, contextlib.suppress(OSError):
                s.settimeout(5)
                s.sendto(packet, ("127.0.0.1", self.nsd))
                self.socket.sendto(s.recv(65535), client)


class Scene:
    """A server that verifies what comes from 127.0.0.1, and a DNS for it."""

    def __init__(self, world, verify="", domains=None, accounts=(ANN,), extra="", mute=False, dns=None, **options):
        self.keys = Keys(world)
        key = quoted(self.keys.record["rsa-sha256"])
        zone = ZONE + "".join("peer._domainkey.%s TXT %s\n" % (d, key) for d in SIGNERS)
        self.dns = dns or nsd(world, {"test": zone})
        self.proxy = Dns(world, self.dns) if mute else None
        port = self.proxy.port if mute else self.dns
        anchors = world.write("no-anchors", "; this world has no root\n")
        self.server = world.server(
            domains=domains, accounts=accounts,
            extra='verify { skip = none\n %s }\ndns { servers = { "127.0.0.1@%d" }\n trust_anchor = "%s" }\n%s' % (verify, port, anchors, extra), **options)

    def signed(self, domain, message):
        return dkimpy(do="sign", message=message, key=self.keys.plain["rsa-sha256"], domain=domain, selector="peer", canon="relaxed/relaxed",
                      algorithm="rsa-sha256", dns={}).encode("ascii") + message

    def connect(self, name="client.nowhere.test"):
        return smtplib.SMTP(self.server.host, self.server.mx, local_hostname=name, timeout=60)

    def give(self, sender, message, to=(ANN,), helo="client.nowhere.test"):
        """The reply to the first command that was refused, or to the end of the data."""
        with self.connect(helo) as c:
            c.ehlo()
            replies = [c.mail(sender)] + [c.rcpt(r) for r in to]
            for reply in replies:
                if reply[0] != 250:
                    return told(reply)
            return told(c.data(message))

    def verified(self, count=1):
        """The last event about a verification."""
        wait_until("%d messages are verified" % count, lambda: len(self.server.events("message.verified")) >= count)
        return self.server.events("message.verified")[count - 1]


def told(reply):
    return "%d %s" % (reply[0], reply[1].decode("ascii", "replace"))


def message(domain, subject="hello", body="Hello.\r\n", more=""):
    return ("From: Bob <bob@%s>\r\nTo: ann@d.test\r\nSubject: %s\r\nDate: Mon, 23 Nov 2026 16:52:51 +0000\r\nMessage-ID: <%s@%s>\r\n%s\r\n%s" % (
        domain, subject, subject.replace(" ", "."), domain, more, body)).encode("ascii")


def results(mail, server):
    """What our own Authentication-Results say: {method: result}; and that they stand on top."""
    own = [f for f in mail.get_all("Authentication-Results", []) if f.split(";")[0].strip() == server.hostname]
    assert len(own) == 1, mail.items()
    names = [name for name, _ in mail.items()]
    assert names.index("Authentication-Results") < names.index("Received"), names
    text = re.sub(r"\([^()]*\)", "", re.sub(r"\s+", " ", own[0]))
    found = {}
    for part in text.split(";")[1:]:
        method, result = re.match(r" *([a-z]+)=([a-z]+)", part).groups()
        found.setdefault(method, []).append(result)
    return {m: r[0] if len(r) == 1 else r for m, r in found.items()}, own[0]


def junk(server, address):
    return read_maildir(os.path.join(server.maildir(address), ".Junk"))


@case
def what_is_found_is_told(world):
    """SPF, DKIM and DMARC that pass, of nobody, and that fail without a policy: marked, and one event for each message."""
    s = Scene(world)
    assert s.give("bob@pass.test", s.signed("pass.test", message("pass.test")), helo="pass.test").startswith("250"), s.server.log()
    mail = s.server.wait_mail(ANN)[0]
    found, field = results(mail, s.server)
    assert found == {"spf": ["pass", "pass"], "dkim": "pass", "dmarc": "pass"}, field
    assert "smtp.mailfrom=pass.test" in field and "smtp.helo=pass.test" in field and "header.from=pass.test" in field and "header.d=pass.test" in field, field
    event = s.verified()
    assert (event["spf"], event["dkim"], event["dmarc"], event["action"]) == ("pass", "pass:pass.test", "pass", "accept"), event
    assert s.give("bob@nowhere.test", message("nowhere.test")).startswith("250")
    found, field = results(s.server.wait_mail(ANN, 2)[1], s.server)
    assert found == {"spf": ["none", "none"], "dkim": "none", "dmarc": "none"}, field
    broken = s.signed("open.test", message("open.test", "broken")).replace(b"Hello.", b"Hallo.")
    assert s.give("bob@open.test", broken).startswith("250")
    found, field = results(s.server.wait_mail(ANN, 3)[2], s.server)
    assert found == {"spf": ["fail", "none"], "dkim": "fail", "dmarc": "fail"}, field
    assert s.verified(3)["action"] == "accept" and s.verified(3)["policy"] == "none"
    assert s.give("", message("pass.test", "bounce")).startswith("250") is False, "the null path is HELO's, which is not pass.test's"
    assert s.give("", s.signed("pass.test", message("pass.test", "bounce"))).startswith("250")
    found, field = results(s.server.wait_mail(ANN, 4)[3], s.server)
    assert found == {"spf": "none", "dkim": "pass", "dmarc": "pass"}, field


@case
def as_users_of_their_own(world):
    """Started by root: the resolver asks the DNS under its own user, confined, for receivers that may have no network."""
    make_users()
    s = Scene(world, foreground=False, accounts=(), domains={"d.test": "mailboxes = any"})
    assert s.give("bob@strict.test", message("strict.test")).startswith("550 5.7.1"), s.server.log()
    assert s.give("bob@junk.test", message("junk.test")).startswith("250")
    wait_until("it is in Junk", lambda: junk(s.server, ANN))
    folder = os.path.join(s.server.maildir(ANN), ".Junk")
    owners = {os.stat(os.path.join(root, f)).st_uid for root, _, files in os.walk(folder) for f in files}
    assert owners == {pwd.getpwnam("_veredus").pw_uid}, owners


@case
def the_owner_of_the_domain_decides(world):
    """p=reject is 550 with what failed and where to look, p=quarantine goes to Junk, and a field says why; what is aligned and holds goes in."""
    s = Scene(world)
    reply = s.give("bob@strict.test", message("strict.test"))
    assert reply.startswith("550 5.7.1 refused by the DMARC policy of strict.test (p=reject, _dmarc.strict.test): SPF is fail for strict.test, DKIM is none"), reply
    assert s.verified()["action"] == "reject" and s.verified()["code"] == "550"
    assert s.give("bob@strict.test", s.signed("strict.test", message("strict.test"))).startswith("250"), "its signature holds, whatever SPF says"
    assert s.give("bob@pass.test", message("strict.test", "spoofed"), helo="pass.test").startswith("550 5.7.1"), "SPF of another domain speaks for nobody"
    assert s.give("bob@pass.test", s.signed("pass.test", message("strict.test", "spoofed")), helo="pass.test").startswith("550 5.7.1")
    assert s.give("bob@junk.test", message("junk.test", "spam")).startswith("250")
    wait_until("it is in Junk", lambda: junk(s.server, ANN))
    (spam,) = junk(s.server, ANN)
    assert b"\nX-Quarantine: dmarc=fail; the policy of junk.test is quarantine\n" in spam and b"\nSubject: spam\n" in spam, spam
    assert os.path.exists(os.path.join(s.server.maildir(ANN), ".Junk", "maildirfolder"))
    assert s.give("bob@pass.test", b"Subject: nobody\r\nTo: ann@d.test\r\n\r\n.\r\n", helo="pass.test").startswith("250")
    wait_until("who leaves out From is in Junk", lambda: len(junk(s.server, ANN)) == 2)
    assert [m["Subject"] for m in s.server.wait_mail(ANN)] == ["hello"]


@case
def domains_that_want_other_things(world):
    """Each domain has its own rules; recipients in domains with other rules come in a transaction of their own; a next hop by SMTP sees the field that says why."""
    sink = Sink(world)
    s = Scene(world, accounts=["ann@reject.test", "ann@mark.test", "ann@none.test", "ann@dkim.test"],
              domains={"reject.test": "verify_spf = reject", "mark.test": "verify_dmarc = mark", "none.test": "verify_spf = none\n verify_dkim = none\n verify_dmarc = none",
                       "quarantine.test": 'verify_spf = quarantine\n verify_dmarc = quarantine\n deliver = "smtp:127.0.0.1:%d"' % sink.port, "dkim.test": "verify_dkim = reject\n verify_dmarc = none"})
    reply = s.give("bob@strict.test", b"never sent", ["ann@reject.test"])
    assert reply == ("550 5.7.23 SPF: 127.0.0.1 may not send in the name of strict.test (-all), says the TXT record of that domain; "
                     "its owner explains: 127.0.0.1 is not one of ours"), reply
    assert s.give("bob@pass.test", message("pass.test"), ["ann@reject.test"]).startswith("250")
    assert s.give("bob@strict.test", message("strict.test"), ["ann@mark.test"]).startswith("250")
    found, field = results(s.server.wait_mail("ann@mark.test")[0], s.server)
    assert found["dmarc"] == "fail" and "X-Quarantine" not in s.server.wait_mail("ann@mark.test")[0], field
    assert s.give("bob@strict.test", message("strict.test"), ["ann@none.test"]).startswith("250")
    assert "Authentication-Results" not in s.server.wait_mail("ann@none.test")[0]
    for sender in "strict.test", "open.test": # by DMARC, by SPF
        assert s.give("bob@" + sender, message(sender), ["ann@quarantine.test"]).startswith("250")
    wait_until("both came to the next hop", lambda: len(sink.messages) == 2)
    why = sorted(re.search(rb"X-Quarantine: (\S+);", m[2]).group(1) for m in sink.messages)
    assert why == [b"dmarc=fail", b"spf=fail"], why
    broken = s.signed("nowhere.test", message("nowhere.test")).replace(b"Hello.", b"Hallo.")
    reply = s.give("bob@nowhere.test", broken, ["ann@dkim.test"])
    assert reply.startswith("550 5.7.20 no DKIM signature of the message holds; that of nowhere.test: "), reply
    assert s.give("bob@nowhere.test", message("nowhere.test"), ["ann@dkim.test"]).startswith("250"), "no signature is no failure"
    with s.connect() as c:
        c.ehlo()
        c.mail("bob@strict.test")
        assert c.rcpt("ann@mark.test")[0] == 250
        assert told(c.rcpt("ann@reject.test")).startswith("452 4.5.3 this recipient's domain verifies mail in another way")
        assert c.rcpt("ann@mark.test")[0] == 250
        assert c.data(message("strict.test"))[0] == 250


@case
def a_dns_that_is_silent_or_broken(world):
    """SERVFAIL and silence: 451 where the policy needs the answer, temperror and never a pass where it does not; what holds without the missing answer goes in; others do not wait."""
    s = Scene(world, verify="timeout = 2s", mute=True, domains={"d.test": "", "reject.test": "verify_spf = reject", "mark.test": "verify_dmarc = mark"},
              accounts=[ANN, "ann@reject.test", "ann@mark.test"])
    reply = s.give("bob@dead.test", message("dead.test"))
    assert reply.startswith("451 4.4.3 DMARC of dead.test cannot be evaluated now: the DNS does not answer"), reply
    assert s.verified()["dmarc"] == "temperror" and s.verified()["spf"] == "temperror" and s.verified()["action"] == "later"
    waiting = s.connect()
    waiting.ehlo()
    waiting.mail("bob@mute.test")
    waiting.rcpt(ANN)
    waiting.putcmd("data")
    assert waiting.getreply()[0] == 354
    asked = len(s.proxy.asked)
    waiting.send(message("mute.test") + b".\r\n")
    wait_until("the DNS is asked", lambda: len(s.proxy.asked) > asked)
    assert s.give("bob@pass.test", message("pass.test", "meanwhile")).startswith("250"), "who needs no answer that is missing does not wait for it"
    assert s.verified(2)["domain"] == "pass.test", "it was there first"
    assert told(waiting.getreply()).startswith("451 4.4.3 DMARC of mute.test"), "silence is no pass"
    waiting.quit()
    reply = s.give("bob@mute.test", b"", ["ann@reject.test"])
    assert reply.startswith("451 4.7.24 SPF of mute.test cannot be looked up now"), reply
    assert s.give("bob@mute.test", message("mute.test"), ["ann@mark.test"]).startswith("250")
    found, field = results(s.server.wait_mail("ann@mark.test")[0], s.server)
    assert found["dmarc"] == "temperror" and "temperror" in found["spf"] and "pass" not in str(found), field
    # SPF is silent, but the signature is by the domain of From: that is enough
    assert s.give("bob@mute.test", s.signed("pass.test", message("pass.test", "signed"))).startswith("250")
    assert s.verified(5)["dmarc"] == "pass" and s.verified(5)["spf"] == "temperror", s.verified(5)
    assert not junk(s.server, ANN)


@case
def temperror_may_be_accepted(world):
    """verify.temperror = accept: taken and marked when the whole DNS is dead."""
    s = Scene(world, verify="temperror = accept\n timeout = 1s", dns=free_port())
    assert s.give("bob@strict.test", message("strict.test")).startswith("250")
    found, field = results(s.server.wait_mail(ANN)[0], s.server)
    assert found["dmarc"] == "temperror" and set(found["spf"]) == {"temperror"}, field


@case
def a_resolver_that_dies(world):
    """Killed while a message waits for it: the next one is asked, and the verdict is the right one."""
    s = Scene(world, mute=True, verify="timeout = 20s")
    s.proxy.mute = False
    replies = []
    s.proxy.mute = True
    waiting = threading.Thread(target=lambda: replies.append(s.give("bob@mute.test", s.signed("pass.test", message("pass.test")))))
    asked = len(s.proxy.asked)
    waiting.start()
    wait_until("the DNS is asked", lambda: any(b"mute" in p for p in s.proxy.asked[asked:]))
    s.proxy.mute = False
    (resolver,) = s.server.pids("resolver")
    kill(resolver)
    waiting.join(60)
    assert replies and replies[0].startswith("250"), replies
    event = s.verified()
    assert event["dmarc"] == "pass" and event["spf"] == "none", event


FORGED = "".join("Authentication-Results: %s\r\n" % v for v in (
    "veredus.test; dmarc=pass header.from=bank.example", "other.example; dkim=pass header.d=other.example", "VEREDUS.test (x)\r\n\t; spf=pass\r\n smtp.mailfrom=x"))


@case
def forged_results_are_removed(world):
    """Authentication-Results in our name: gone from strangers' and users' mail, in memory or in a file, also behind a strange line; those of others, and those of trusted servers, stay."""
    s = Scene(world, accounts=[ANN], domains={"d.test": "verify_dmarc = mark"}, extra='authentication { }\nsubmission { auth_in_clear = yes }')
    large = "x" * 70 + "\r\n"

    def own_and_others(mail):
        ids = [f.split(";")[0].strip() for f in mail.get_all("Authentication-Results", [])]
        return ids.count("veredus.test"), ids.count("other.example"), "bank.example" in str(mail.get_all("Authentication-Results"))

    count = 0
    for subject, more, body in (("small", "", "Hello.\r\n"), ("large", "", large * 15000), ("long header", "X-Long: " + ("y" * 900 + "\r\n ") * 100 + "z\r\n", large * 2000)):
        assert s.give("bob@pass.test", message("pass.test", subject, body, more + FORGED)).startswith("250"), s.server.log()[-2000:]
        count += 1
        mail = s.server.wait_mail(ANN, count, 60)
        (mail,) = [m for m in mail if m["Subject"] == subject]
        assert own_and_others(mail) == (1, 1, False), (subject, mail.items())
        assert mail.get_payload().replace("\n", "\r\n") == body, subject
        assert results(mail, s.server)[0]["spf"][0] == "pass"
    with smtplib.SMTP(s.server.host, s.server.submission) as c:
        c.ehlo()
        c.login(ANN, PASSWORD)
        c.sendmail(ANN, [ANN], message("d.test", "by a user", "Hello.\r\n", FORGED))
    (mail,) = [m for m in s.server.wait_mail(ANN, count + 1) if m["Subject"] == "by a user"]
    assert own_and_others(mail) == (0, 1, False), mail.items()
    strange = message("pass.test", "strange", "Hello.\r\n", "this line is no field\r\n" + FORGED)
    assert s.give("bob@pass.test", strange).startswith("250")
    wait_until("it came", lambda: len(s.server.mails(ANN)) == count + 2)
    (raw,) = [m for m in s.server.mails(ANN) if b"Subject: strange" in m]
    assert b"bank.example" not in raw and b"other.example" in raw, raw
    assert len(s.server.events("message.forged_results")) == count + 2
    endless = message("pass.test", "endless", "Hello.\r\n", "X-Long: " + ("y" * 900 + "\r\n ") * 400 + "z\r\n")
    reply = s.give("bob@pass.test", endless)
    assert reply.startswith("552 5.3.4 the header of the message is too large"), reply


@case
def trusted_servers_may_write_results(world):
    """What a trusted network says in our name stays, and its mail is not verified."""
    s = Scene(world, head='trusted = { "127.0.0.1" }')
    assert s.give("bob@strict.test", message("strict.test", more=FORGED)).startswith("250")
    mail = s.server.wait_mail(ANN)[0]
    assert len(mail.get_all("Authentication-Results")) == 3 and not s.server.events("message.verified"), mail.items()


@case
def trusted_sealers_override_dmarc(world):
    """A list that breaks signatures, seals what it saw, and is named in arc.trusted: DMARC's failure is overridden. Not when the seal is broken, nor one of somebody else."""
    seen = message("strict.test", "to the list", more="Authentication-Results: list.test; dmarc=pass header.from=strict.test\r\n")

    def sealed(s, domain="list.test"):
        changed = seen.replace(b"Hello.", b"Hello. Sent through the list.")
        fields = dkimpy(do="arc-sign", message=changed, key=s.keys.plain["rsa-sha256"], domain=domain, selector="peer", id="list.test", dns={})
        return fields.encode("ascii") + changed

    s = Scene(world, extra='arc { trusted = { "list.test" } }')
    assert s.give("list-bounces@list.test", sealed(s)).startswith("250"), s.server.log()[-1500:]
    found, field = results(s.server.wait_mail(ANN)[0], s.server)
    assert found["arc"] == "pass" and found["dmarc"] == "fail", field
    event = s.verified()
    assert event["arc"] == "pass" and event["action"] == "accept" and "arc=pass" in event["override"], event
    assert s.give("list-bounces@list.test", sealed(s).replace(b"through", b"thruogh")).startswith("550 5.7.1"), "the seal is broken"
    assert s.give("list-bounces@list.test", sealed(s, "open.test")).startswith("550 5.7.1"), "he is not trusted"


@case
def large_messages_and_chunks(world):
    """1 MiB, signed: by DATA and by BDAT the signature is verified while it streams by; a byte that changed is seen."""
    s = Scene(world)
    whole = s.signed("strict.test", message("strict.test", "large", ("x" * 70 + "\r\n") * 15000))
    assert s.give("bob@strict.test", whole).startswith("250"), s.server.log()[-1500:]
    changed = bytearray(whole)
    changed[-100] = ord("y")
    assert s.give("bob@strict.test", bytes(changed)).startswith("550 5.7.1")
    for body, code in (whole, 250), (bytes(changed), 550):
        with s.connect() as c:
            c.ehlo()
            c.mail("bob@strict.test")
            c.rcpt(ANN)
            for at in range(0, len(body), 300000):
                piece = body[at:at + 300000]
                c.send(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if at + 300000 >= len(body) else b"") + piece)
                reply = c.getreply()
            assert reply[0] == code, told(reply)
    mails = s.server.wait_mail(ANN, 2)
    assert [results(m, s.server)[0]["dkim"] for m in mails] == ["pass", "pass"]
