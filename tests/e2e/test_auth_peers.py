"""DKIM and ARC against the implementations of others, both ways: OpenDKIM, dkimpy, Mail::DKIM. The library speaks through the conformance driver; nobody asks the DNS."""
import atexit
import base64
import json
import os
import re
import socket
import struct
import subprocess
import time

from harness import BUILD, Skip, accepts, case, free_port, run, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER = os.path.join(BUILD, "tests", "conformance", "conformance_driver")
DOMAIN, SELECTOR = "example.org", "peer"
NAME = "%s._domainkey.%s" % (SELECTOR, DOMAIN)
FORMS = ("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")

HEADER = ("Received: from a.example (a.example [192.0.2.1])\r\n\tby b.example with ESMTP id 1\r\n\tfor <ann@example.org>; Mon, 23 Nov 2026 16:52:51 +0000\r\n"
          "From: Bob  <bob@example.org>\r\nTo: Ann <ann@example.net>,\r\n   Cy <cy@example.net>\r\nSubject: one \t two \r\n three\r\n"
          "Date: Mon, 23 Nov 2026 16:52:51 +0000\r\nMessage-ID: <1@example.org>\r\nX-Empty:\r\nReceived: x\r\n\r\n")
BODIES = {
    "plain": "Hello,\r\n\r\nworld.\r\n",
    "empty": "",
    "blank lines": "\r\n\r\n\r\n",
    "blank lines at both ends": "\r\n\r\none\r\n\r\n \t\r\n\r\n",
    "blanks": "  two  blanks\t\ttabs \t both  \r\n\ttab first\r\ntrailing \t \r\n.\r\n..\r\n",
    "long": "x" * 20000 + " \r\n" + ("the quick  brown fox\t" * 30 + "\r\n") * 40,
    "utf-8": "gr\u00fc\u00dfe  \u2713\r\n",
}


def messages():
    return {name: (HEADER + body).encode("utf-8") for name, body in BODIES.items()}


class Program:
    """A program that answers a JSON question a line. One for each command, as long as the tests run."""
    running = {}

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        atexit.register(self.end)

    @classmethod
    def named(cls, *command):
        if command not in cls.running:
            cls.running[command] = cls(*command)
        return cls.running[command]

    def ask(self, question):
        if "message" in question:
            question["message"] = base64.b64encode(question["message"]).decode("ascii")
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "%s died" % self.process.args
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait(20)


def ask(**question):
    """The library."""
    if not os.path.exists(DRIVER):
        raise Skip("there is no %s: build with -Dtests=true" % DRIVER)
    question.setdefault("now", int(time.time()))
    return Program.named(DRIVER).ask(question)


def dkimpy(**question):
    return Program.named("/usr/bin/python3", os.path.join(HERE, "auth_dkimpy.py")).ask(question)


def mail_dkim(**question):
    return Program.named("perl", os.path.join(HERE, "auth_mail_dkim.pl")).ask(question)[0]


class Keys:
    """A key of each kind: a file in PEM for us, and what the others want."""

    def __init__(self, world):
        self.rsa = world.path("rsa.pem")
        run("openssl", "genrsa", "-traditional", "-out", self.rsa, "2048")
        self.ed25519 = world.path("ed25519.pem")
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", self.ed25519)
        self.pem = {"rsa-sha256": open(self.rsa).read(), "ed25519-sha256": open(self.ed25519).read()}
        der = subprocess.run(["openssl", "pkey", "-in", self.ed25519, "-outform", "DER"], stdout=subprocess.PIPE, check=True).stdout
        self.plain = {"rsa-sha256": self.pem["rsa-sha256"], "ed25519-sha256": base64.b64encode(der[-32:]).decode("ascii")}
        self.bare = {"rsa-sha256": re.sub(r"-----[^-]*-----|\s", "", self.pem["rsa-sha256"]), "ed25519-sha256": self.plain["ed25519-sha256"]}
        self.record = {a: ask(kind="record", key=self.pem[a]) for a in self.pem}

    def dns(self, algorithm):
        return {NAME: self.record[algorithm]}


def verdicts(message, record):
    return [s["verdict"] for s in ask(kind="dkim", message=message, dns={NAME: [record]})]


def ours(keys, algorithm, form, message):
    return ask(kind="sign", message=message, key=keys.pem[algorithm], domain=DOMAIN, selector=SELECTOR, canon=form).encode("ascii") + message


def changed(message):
    """One octet of the body, or a field."""
    if message.endswith(b".\r\n"):
        return message[:-3] + b"!\r\n"
    return message.replace(b"Subject: one", b"Subject: two")


def each(algorithms=("rsa-sha256", "ed25519-sha256")):
    for algorithm in algorithms:
        for form in FORMS:
            for name, message in messages().items():
                yield algorithm, form, name, message


RSA = ("rsa-sha256",)  # Mail::DKIM and OpenDKIM of Debian 12 know no Ed25519


@case
def dkimpy_verifies_ours(world):
    """dkimpy takes our signatures, and not when something was changed."""
    keys = Keys(world)
    for algorithm, form, name, message in each():
        signed = ours(keys, algorithm, form, message)
        told = (algorithm, form, name)
        assert dkimpy(do="verify", message=signed, dns=keys.dns(algorithm)) == [True], told
        assert dkimpy(do="verify", message=changed(signed), dns=keys.dns(algorithm)) == [False], told


@case
def dkimpy_signs_for_us(world):
    """We take dkimpy's signatures, and not when something was changed."""
    keys = Keys(world)
    for algorithm, form, name, message in each():
        signature = dkimpy(do="sign", message=message, key=keys.plain[algorithm], domain=DOMAIN, selector=SELECTOR, canon=form, algorithm=algorithm, dns={})
        told = (algorithm, form, name, signature)
        assert verdicts(signature.encode("ascii") + message, keys.record[algorithm]) == ["pass"], told
        assert verdicts(changed(signature.encode("ascii") + message), keys.record[algorithm]) == ["fail"], told


@case
def mail_dkim_verifies_ours(world):
    """Mail::DKIM takes our signatures, and not when something was changed."""
    keys = Keys(world)
    for algorithm, form, name, message in each(RSA):
        signed = ours(keys, algorithm, form, message)
        told = (algorithm, form, name)
        assert mail_dkim(do="verify", message=signed, dns=keys.dns(algorithm)) == ["pass"], told
        assert mail_dkim(do="verify", message=changed(signed), dns=keys.dns(algorithm)) == ["fail"], told


@case
def mail_dkim_signs_for_us(world):
    """We take Mail::DKIM's signatures, and not when something was changed."""
    keys = Keys(world)
    for algorithm, form, name, message in each(RSA):
        signature = mail_dkim(do="sign", message=message, key=keys.bare[algorithm], domain=DOMAIN, selector=SELECTOR, canon=form, algorithm=algorithm, dns={})
        told = (algorithm, form, name, signature)
        assert verdicts(signature.encode("ascii") + message, keys.record[algorithm]) == ["pass"], told
        assert verdicts(changed(signature.encode("ascii") + message), keys.record[algorithm]) == ["fail"], told


def opendkim_says(world, records, message):
    path = world.path("message")
    with open(path, "wb") as f:
        f.write(message.replace(b"\r\n", b"\n"))
    configuration = world.write("opendkim.conf", "TestPublicKeys %s\nMode v\nSyslog no\n" % records)
    done = subprocess.run(["/usr/sbin/opendkim", "-x", configuration, "-v", "-t", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return done.stdout


@case
def opendkim_verifies_ours(world):
    """OpenDKIM takes our signatures, and not when something was changed."""
    keys = Keys(world)
    records = world.write("records", "%s %s\n" % (NAME, keys.record["rsa-sha256"]))
    for algorithm, form, name, message in each(RSA):
        signed = ours(keys, algorithm, form, message)
        said = opendkim_says(world, records, signed)
        assert re.search(r"verification .*succeeded", said), (form, name, said)
        said = opendkim_says(world, records, changed(signed))
        assert not re.search(r"verification .*succeeded", said), (form, name, said)


class Milter:
    """As much of a milter's client as it takes to have a message signed."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.send(b"O" + struct.pack("!III", 6, 0x1FF, 0))
        assert self.answer()[:1] == b"O"

    def send(self, packet):
        self.socket.sendall(struct.pack("!I", len(packet)) + packet)

    def bytes(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            assert piece, "the milter hung up"
            data += piece
        return data

    def answer(self):
        return self.bytes(struct.unpack("!I", self.bytes(4))[0])

    def step(self, packet):
        self.send(packet)
        said = self.answer()
        assert said == b"c", said

    def added(self, message):
        """The fields that it puts on top of a message."""
        header, body = message.split(b"\r\n\r\n", 1)
        self.step(b"Clocalhost\0" + b"4" + struct.pack("!H", 25) + b"127.0.0.1\0")
        self.step(b"Hlocalhost\0")
        self.step(b"M<bob@example.org>\0")
        self.step(b"R<ann@example.net>\0")
        for field in re.split(rb"\r\n(?![ \t])", header):
            name, value = field.split(b":", 1)
            self.step(b"L" + name + b"\0" + (value[1:] if value.startswith(b" ") else value).replace(b"\r\n", b"\n") + b"\0")
        self.step(b"N")
        for at in range(0, len(body), 65535):
            self.step(b"B" + body[at:at + 65535])
        self.send(b"E")
        fields = []
        while True:
            said = self.answer()
            if said[:1] in (b"i", b"h"):
                name, value = said[5 if said[:1] == b"i" else 1:].rstrip(b"\0").split(b"\0", 1)
                fields.append(name + b": " + value.lstrip(b" ").replace(b"\n", b"\r\n") + b"\r\n")
            elif said[:1] in (b"c", b"a"):
                return fields


@case
def opendkim_signs_for_us(world):
    """We take the signatures that OpenDKIM makes as a milter, and not when something was changed."""
    keys = Keys(world)
    os.chmod(keys.rsa, 0o600)
    for form in FORMS:
        port = free_port()
        configuration = world.write("opendkim.conf", "Mode s\nSyslog no\nDomain %s\nSelector %s\nKeyFile %s\nSignatureAlgorithm rsa-sha256\nCanonicalization %s\n"
                                    "RequireSafeKeys no\nSocket inet:%d@127.0.0.1\n" % (DOMAIN, SELECTOR, keys.rsa, form, port))
        program = world.start("opendkim", ["/usr/sbin/opendkim", "-f", "-x", configuration])
        wait_until("opendkim listens", lambda: accepts("127.0.0.1", port))
        for name, message in messages().items():
            added = Milter(port).added(message)
            assert len(added) == 1 and b"a=rsa-sha256; c=" in added[0], (form, name, added)
            assert verdicts(added[0] + message, keys.record["rsa-sha256"]) == ["pass"], (form, name, added)
            assert verdicts(changed(added[0] + message), keys.record["rsa-sha256"]) == ["fail"], (form, name, added)
        program.stop()


@case
def opendkim_signs_by_an_old_hash(world):
    """opendkim-testmsg signs with rsa-sha1: the signature is right, and by RFC 8301 none that passes."""
    keys = Keys(world)
    for name, message in messages().items():
        signed = subprocess.run(["/usr/sbin/opendkim-testmsg", "-C", "-d", DOMAIN, "-k", keys.rsa, "-s", SELECTOR, "-t", world.folder], input=message,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert signed.returncode == 0, signed.stderr
        signature = re.sub(rb"\r?\n", b"\r\n", re.match(rb"DKIM-Signature:.*?\r?\n(?![ \t])", signed.stdout, re.S).group(0))
        assert b"a=rsa-sha1" in signature
        (answer,) = ask(kind="dkim", message=signature + message, dns={NAME: [keys.record["rsa-sha256"]]})
        assert answer["verdict"] == "policy" and "rsa-sha1" in answer["reason"], (name, answer)
        assert verdicts(changed(signature + message), keys.record["rsa-sha256"]) == ["fail"], name


# ---- ARC -------------------------------------------------------------------------------------------------------------------------------

def results(hop, arc):
    return ("Authentication-Results: mx%d.example.org; arc=%s;\r\n spf=pass smtp.mailfrom=bob@example.org\r\n" % (hop, arc)).encode("ascii")


def sealed(keys, sealer, message, hop):
    """By one of the three, who finds in Authentication-Results what the chain was like when the message came; we look ourselves."""
    message = results(hop, "none" if hop == 1 else "pass") + message
    what = dict(message=message, domain=DOMAIN, selector=SELECTOR, id="mx%d.example.org" % hop)
    if sealer == "ours":
        fields = ask(kind="seal", dns={NAME: [keys.record["rsa-sha256"]]}, key=keys.pem["rsa-sha256"], **what)
    elif sealer == "dkimpy":
        fields = dkimpy(do="arc-sign", key=keys.plain["rsa-sha256"], dns={}, **what)
    else:
        fields = mail_dkim(do="arc-sign", key=keys.bare["rsa-sha256"], chain="ar", algorithm="rsa-sha256", dns=keys.dns("rsa-sha256"), **what)
    return fields.encode("ascii") + message


def statuses(keys, message):
    """What each of the three says."""
    dns = keys.dns("rsa-sha256")
    return (ask(kind="arc", message=message, dns={NAME: [keys.record["rsa-sha256"]]})["status"],
            dkimpy(do="arc-verify", message=message, dns=dns)["status"].lower(),
            mail_dkim(do="arc-verify", message=message, dns=dns)["status"].lower())


@case
def arc_chains_of_three_sealers(world):
    """Sets of ours, of dkimpy and of Mail::DKIM, in each order: all three find that the chain holds, and that it does not when something was changed."""
    keys = Keys(world)
    sealers = ("ours", "dkimpy", "Mail::DKIM")
    for first in sealers:
        for name, message in messages().items():
            one = sealed(keys, first, message, 1)
            assert statuses(keys, one) == ("pass", "pass", "pass"), (first, name, statuses(keys, one))
            if name not in ("plain", "blanks"):
                continue
            for second in sealers:
                two = sealed(keys, second, one, 2)
                assert statuses(keys, two) == ("pass", "pass", "pass"), (first, second, name, statuses(keys, two))
                three = sealed(keys, "ours", two, 3)
                assert statuses(keys, three) == ("pass", "pass", "pass"), (first, second, statuses(keys, three))
                broken = three.replace(b"spf=pass", b"spf=fail", 1)
                assert statuses(keys, broken) == ("fail", "fail", "fail"), (first, second, statuses(keys, broken))
