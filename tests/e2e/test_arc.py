"""Strangers' mail that is forwarded is sealed (ARC): chains of our own servers, held against dkimpy, Mail::DKIM and the library."""
import os
import re
import smtplib

from harness import Sink, case, free_port, nsd, wait_until
from test_auth_peers import Keys, ask, dkimpy, mail_dkim
from test_sign import dkim, records

HOPS = ("a", "b")


class Chain:
    """a.test forwards fwd@a.test to fwd@b.test, and that to x@c.test, whose server is a sink. Both verify what comes from 127.0.0.1."""

    def __init__(self, world, hops=HOPS, keys=True, arc="", verify=""):
        self.world, self.sink, self.keys, self.servers = world, Sink(world), Keys(world), {}
        port = free_port()
        anchors = world.write("no-anchors", "; this world has no root\n")
        following = self.sink.port
        zones = 'pass TXT "v=spf1 ip4:127.0.0.1 -all"\n_dmarc.pass TXT "v=DMARC1; p=reject"\npeer._domainkey.pass TXT %s\n' % " ".join(
            '"%s"' % self.keys.record["rsa-sha256"][i:i + 200] for i in range(0, len(self.keys.record["rsa-sha256"]), 200))
        for name, to in reversed(tuple(zip(hops, (hops + ("c",))[1:]))):
            table = world.write(name + ".virtual", "fwd@%s.test %s@%s.test\n" % (name, "x" if to == "c" else "fwd", to))
            s = world.server(name, hostname="mx.%s.test" % name, start=False, domains={name + ".test": 'virtual = "%s"' % table},
                             extra='verify { skip = none\n %s }\narc { %s }\ndns { servers = { "127.0.0.1@%d" }\n trust_anchor = "%s" }\nroute "*" { to = "smtp:[127.0.0.1]:%d" tls = none }'
                             % (verify, arc, port, anchors, following))
            if keys:
                dkim(s, "keygen", name + ".test", "--algorithm", "both")
                zones += "\n".join(dkim(s, "record", name + ".test").stdout.splitlines()) + "\n"
            s.add_account("ann@%s.test" % name)
            self.servers[name], following = s, s.mx
        nsd(world, {"test": zones}, port)
        for s in self.servers.values():
            s.start()
        self.first = self.servers[hops[0]]

    def signed(self, message):
        return dkimpy(do="sign", message=message, key=self.keys.plain["rsa-sha256"], domain="pass.test", selector="peer", canon="relaxed/relaxed", algorithm="rsa-sha256",
                      dns={}).encode("ascii") + message

    def give(self, message, to="fwd@a.test", sender="bob@pass.test"):
        with smtplib.SMTP(self.first.host, self.first.mx, local_hostname="client.pass.test") as c:
            c.sendmail(sender, [to], message)

    def taken(self, count=1):
        wait_until("%d messages come out" % count, lambda: len(self.sink.messages) >= count, 60)
        return self.sink.messages[count - 1][2]

    def dns(self):
        return {name: text for s in self.servers.values() for name, text in records(s, s.hostname.split(".", 1)[1]).items()}

    def says(self, message):
        """What the library, dkimpy and Mail::DKIM say of the chain."""
        dns = self.dns()
        flat = {name: text[0] for name, text in dns.items()}
        return (ask(kind="arc", message=message, dns=dns)["status"], dkimpy(do="arc-verify", message=message, dns=flat)["status"].lower(),
                mail_dkim(do="arc-verify", message=message, dns=flat)["status"].lower())


MESSAGE = (b"From: Bob <bob@pass.test>\r\nTo: fwd@a.test\r\nSubject: hello\r\nDate: Mon, 23 Nov 2026 16:52:51 +0000\r\nMessage-ID: <1@pass.test>\r\n\r\nHello.\r\n")


def sets(message):
    """The fields of ARC from the top, unfolded: [(name, {tag: value} or text)]."""
    header = message.split(b"\r\n\r\n", 1)[0].decode("latin-1")
    found = []
    for field in re.split(r"\r\n(?![ \t])", header):
        name, body = field.split(":", 1)
        if name.startswith("ARC-"):
            found.append((name, re.sub(r"\s+", " ", body).strip()))
    return found


@case
def forwarded_mail_is_sealed(world):
    """Two servers of ours forward a message: each adds a set, the second finds the first good; the library, dkimpy and Mail::DKIM say pass, and fail when something was changed."""
    chain = Chain(world)
    for count, body in enumerate((b"Hello.\r\n", b"", (b"0123456789 " * 6 + b"\r\n") * 20000), 1):
        chain.give(chain.signed(MESSAGE.split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n" + body))
        got = chain.taken(count)
        fields = sets(got)
        assert [name for name, _ in fields] == ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"] * 2, fields
        assert "cv=pass; d=b.test; i=2;" in fields[0][1] and "cv=none; d=a.test; i=1;" in fields[3][1], fields
        assert "a=rsa-sha256;" in fields[0][1] and "rsa" in fields[0][1].split(" s=")[1], fields[0]
        assert fields[5][1].startswith("i=1; mx.a.test; spf=pass ") and " dkim=pass " in fields[5][1] and " dmarc=pass " in fields[5][1], fields[5]
        assert fields[2][1].startswith("i=2; mx.b.test; ") and " arc=pass " in fields[2][1], fields[2]
        assert got.startswith(b"ARC-Seal: "), got[:100]
        assert chain.says(got) == ("pass", "pass", "pass"), (count, chain.says(got))
        changed = got.replace(b"\r\nSubject: hello", b"\r\nSubject: hullo")
        assert chain.says(changed) == ("fail", "fail", "fail"), (count, chain.says(changed))
    assert chain.first.events("message.accepted")[-1]["arc"] == "a.test"


@case
def a_broken_chain_is_sealed_as_broken(world):
    """A list in between changes the message: we say cv=fail, and who comes after us adds nothing."""
    chain = Chain(world, verify="dmarc = mark")
    chain.give(chain.signed(MESSAGE))
    first = chain.taken()
    changed = re.sub(rb"\r\nSubject: hello", b"\r\nSubject: [list] hello", first)
    chain.give(changed, sender="list@nowhere.test")
    fields = sets(chain.taken(2))
    assert [name for name, _ in fields] == ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"] * 3, fields
    assert "cv=fail; d=a.test; i=3;" in fields[0][1], fields[0]
    assert chain.says(chain.sink.messages[1][2])[0] == "fail"


@case
def what_is_not_sealed(world):
    """Mail that stays is not sealed, unless all is to be; without a key nothing is; keys that cannot be read put it off."""
    chain = Chain(world, hops=("a",))
    chain.give(chain.signed(MESSAGE), to="ann@a.test")
    (mail,) = chain.first.wait_mail("ann@a.test")
    assert mail["ARC-Seal"] is None and mail["Authentication-Results"] is not None
    path = os.path.join(chain.first.state, "dkim", "a.test")
    good = open(path).read()
    with open(path, "w") as f:
        f.write(good[:200])
    try:
        chain.give(chain.signed(MESSAGE))
        raise AssertionError("it was taken")
    except smtplib.SMTPDataError as e:
        assert e.smtp_code == 451 and b"cannot be sealed now" in e.smtp_error, e
    with open(path, "w") as f:
        f.write(good)
    chain.give(chain.signed(MESSAGE))
    assert chain.says(chain.taken())[0] == "pass"


@case
def sealing_by_choice(world):
    """arc.seal = always seals what stays, too; arc.domain says in whose name; never is never."""
    for number, (arc, to, domain) in enumerate((('seal = always\n domain = "other.test"', "ann@a.test", "other.test"), ("seal = never", "fwd@a.test", None))):
        part = world.path("part%d" % number)
        os.mkdir(part)
        chain = Chain(world, hops=("a",), arc=arc) if number == 0 else chain
        if number == 1:
            chain.first.stop()
            with open(chain.first.config) as f:
                text = f.read()
            world.write("a.conf", text.replace('seal = always\n domain = "other.test"', arc))
            chain.first.start()
        else:
            dkim(chain.first, "keygen", "other.test", "--algorithm", "ed25519")
        chain.give(chain.signed(MESSAGE), to=to)
        if domain is None:
            assert not sets(chain.taken()), sets(chain.taken())
        else:
            (mail,) = chain.first.wait_mail(to)
            assert "d=%s;" % domain in mail["ARC-Seal"] and "a=ed25519-sha256" in mail["ARC-Seal"], mail["ARC-Seal"]


@case
def no_key_no_seal(world):
    """A server without keys forwards as it is."""
    chain = Chain(world, hops=("a",), keys=False)
    chain.give(chain.signed(MESSAGE))
    assert not sets(chain.taken())
    assert not chain.first.events("message.unsealed")
