"""SRS: mail that an alias forwards goes out with a reverse path of ours, and a bounce finds its way back; beside postsrsd."""
import base64
import hashlib
import hmac
import os
import re
import shutil
import smtplib
import socket
import time

from harness import Sink, Skip, case, free_port, make_users, run, wait_until

MESSAGE = "From: ann@org.test\r\nTo: joe@fwd.test\r\nSubject: %s\r\nMessage-ID: <%s@org.test>\r\n\r\nhello\r\n"
SRS0 = re.compile(r"<SRS0=[^=]{4}=[A-Z2-7]{2}=org\.test=ann@fwd\.test>")
SECRET = "tops3cret"


def bring(server, sender, to, subject="hello", options=()):
    """As a stranger's server, at the mx listener."""
    with smtplib.SMTP(server.host, server.mx) as c:
        c.ehlo("org.test")
        return c.sendmail(sender, [to] if isinstance(to, str) else to, MESSAGE % (subject, subject), options)


def rcpt(server, sender, to):
    with smtplib.SMTP(server.host, server.mx) as c:
        c.ehlo("org.test")
        assert c.mail(sender)[0] == 250
        code, text = c.rcpt(to)
        return code, text.decode()


def path_of(command):
    return re.search(r"<[^>]*>", command).group(0)


def forwarder(world, name, aliases, routes, srs, **options):
    """A server for NAME.test whose aliases lead elsewhere."""
    domain = name + ".test"
    file = world.write(name + ".aliases", "".join("%s: %s\n" % a for a in aliases.items()))
    routes = "".join('route "%s" { to = "%s" }\n' % r for r in routes.items())
    return world.server(name, domains={domain: 'aliases = "%s"' % file}, extra=routes + srs + "\nqueue { retry = { 1s } }", **options)


def forge(kind, *parts, domain="fwd.test"):
    """An address by the secret; what postsrsd would make."""
    hashed = hmac.new(SECRET.encode(), "".join(parts).lower().encode(), hashlib.sha1).digest()
    return "%s=%s=%s@%s" % (kind, base64.b64encode(hashed).decode()[:4], "=".join(parts), domain)


def day(ago=0):
    n = int(time.time()) // 86400 - ago
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return letters[n >> 5 & 31] + letters[n & 31]


@case
def a_bounce_finds_back(world):
    """org → fwd → far: far sees a reverse path of fwd; its report goes to fwd, which takes it and sends it to org."""
    org = Sink(world)
    far_mx, fwd_mx = free_port(), None
    fwd = forwarder(world, "fwd", {"joe": "joe@far.test", "ben": "ben@fwd.test"},
                    {"far.test": "smtp:127.0.0.1:%d" % far_mx, "org.test": "smtp:127.0.0.1:%d" % org.port}, 'srs { domain = "fwd.test" }',
                    accounts=["ben@fwd.test"])
    fwd_mx = fwd.mx
    far = world.server("far", domains={"far.test": 'aliases = "%s"' % world.write("far.aliases", "joe: x@gone.test\n")}, start=False,
                       extra='route "gone.test" { to = "error:5.1.1 joe has left" }\nroute "fwd.test" { to = "smtp:127.0.0.1:%d" }' % fwd_mx)
    far.mx = far_mx
    far.config = far.write_config()
    far.start()
    bring(fwd, "ann@org.test", "joe@fwd.test")
    wait_until("the report is back at the sender's", lambda: org.messages, 40)
    sender, recipients, body = org.messages[0]
    assert path_of(sender) == "<>" and [path_of(r) for r in recipients] == ["<ann@org.test>"], (sender, recipients)
    assert b"joe has left" in body and b"Content-Type: multipart/report" in body, body
    rewritten = fwd.events("sender.rewritten")
    assert len(rewritten) == 1 and rewritten[0]["from"] == "ann@org.test" and SRS0.fullmatch("<%s>" % rewritten[0]["to"]), rewritten
    assert [e["from"] for e in far.events("message.queued")][0] == rewritten[0]["to"], far.events("message.queued")
    # the secret was made, and is for root and the server's own children only
    secret = os.path.join(fwd.state, "srs.secret")
    assert os.stat(secret).st_mode & 0o777 == 0o600 and len(open(secret).read().strip()) == 32
    # nothing else is rewritten: what stays here, and the null reverse path
    bring(fwd, "ann@org.test", "ben@fwd.test", "stays")
    assert fwd.wait_mail("ben@fwd.test")[0]["Return-Path"] == "<ann@org.test>"
    assert len(fwd.events("sender.rewritten")) == 1


@case
def three_hops(world):
    """org → fwd → third → far: third makes an SRS1, and its bounce goes through third and fwd to org."""
    org = Sink(world)
    far = Sink(world, replies={"RCPT TO:<joe@far.test>": "250 2.1.5 ok"})
    third_port = free_port()
    fwd = forwarder(world, "fwd", {"joe": "joe@third.test"},
                    {"third.test": "smtp:127.0.0.1:%d" % third_port, "org.test": "smtp:127.0.0.1:%d" % org.port}, 'srs { domain = "fwd.test" }')
    third = forwarder(world, "third", {"joe": "joe@far.test"},
                      {"far.test": "smtp:127.0.0.1:%d" % far.port, "fwd.test": "smtp:127.0.0.1:%d" % fwd.mx}, 'srs { domain = "third.test" }', start=False)
    third.mx = third_port
    third.config = third.write_config()
    third.start()
    long = "bounces+1234567-abcdef-customer=example.com"  # what it becomes has more than 64 octets before its @
    bring(fwd, long + "@org.test", "joe@fwd.test")
    wait_until("it is forwarded twice", lambda: far.messages, 30)
    path = path_of(far.messages[0][0])
    assert re.fullmatch(r"<SRS1=[^=]{4}=fwd\.test==[^=]{4}=[A-Z2-7]{2}=org\.test=%s@third\.test>" % re.escape(long), path), path
    bring(third, "", path.strip("<>"), "bounce")
    wait_until("the bounce is back", lambda: org.messages, 30)
    assert path_of(org.messages[0][0]) == "<>" and [path_of(r) for r in org.messages[0][1]] == ["<%s@org.test>" % long]


@case
def our_own_reports(world):
    """A copy that cannot be delivered: our report goes straight to the sender; recipients of both kinds at one destination; queue show tells the path."""
    org, far = Sink(world), Sink(world, replies={"RCPT TO:<joe@far.test>": "451 4.2.0 later"})
    s = forwarder(world, "fwd", {"joe": "joe@far.test", "two": "a@far.test, b@far.test"},
                  {"far.test": "smtp:127.0.0.1:%d" % far.port, "org.test": "smtp:127.0.0.1:%d" % org.port}, 'srs { domain = "fwd.test" }\n',
                  head='trusted = { "127.0.0.1" }')
    bring(s, "ann@org.test", "joe@fwd.test")
    wait_until("it waits", lambda: s.events("delivery.deferred"), 20)
    shown = s.listed()[0]
    assert shown["from"] == "ann@org.test" and SRS0.fullmatch("<%s>" % shown["recipients"][0]["sent_as"]), shown
    assert "forwarded from SRS0=" in s.queue("show", shown["id"])
    far.replies["RCPT TO:<joe@far.test>"] = "550 5.1.1 no joe"
    wait_until("the report is there", lambda: org.messages, 30)
    assert path_of(org.messages[0][0]) == "<>" and path_of(org.messages[0][1][0]) == "<ann@org.test>"
    bring(s, "ann@org.test", ["two@fwd.test", "direct@far.test"], "mixed")
    wait_until("three copies", lambda: sum(len(m[1]) for m in far.messages) == 3, 20)
    told = {path_of(r): path_of(m[0]) for m in far.messages for r in m[1]}
    assert told["<direct@far.test>"] == "<ann@org.test>", told
    assert SRS0.fullmatch(told["<a@far.test>"]) and told["<a@far.test>"] == told["<b@far.test>"], told
    # a sender of our own domain may send from here: nothing is to be rewritten
    bring(s, "joe@fwd.test", "two@fwd.test", "own")
    wait_until("two more", lambda: sum(len(m[1]) for m in far.messages) == 5, 20)
    assert path_of(far.messages[-1][0]) == "<joe@fwd.test>", far.messages[-1]
    s.wait_empty()


@case
def never_an_open_relay(world):
    """Forged, broken and old addresses are refused, good ones take reports only; other secrets are known until they go, by a reload."""
    org = Sink(world)
    secret = world.write("secret", SECRET + "\n", 0o600)
    s = forwarder(world, "fwd", {"joe": "joe@far.test"}, {"*": "smtp:127.0.0.1:%d" % org.port},
                  'srs { domain = "fwd.test"\n secret_file = "%s"\n max_age = 10d }' % secret)
    good = forge("SRS0", day(), "org.test", "ann")
    for to, code, words in (
            (good, 250, ""), (good.lower(), 250, ""), (forge("SRS0", day(10), "org.test", "ann"), 250, ""),
            (forge("SRS1", "other.test", "=abcd=EF=org.test=ann"), 250, ""),
            (forge("SRS0", day(12), "org.test", "ann"), 550, "5.7.1 this SRS address is too old"),
            (good.replace("ann", "bob"), 550, "5.7.1 this SRS address was not made here"),
            (good.replace("org.test", "victim.test"), 550, "5.7.1 this SRS address was not made here"),
            ("SRS0=AAAA=%s=victim.test=ann@fwd.test" % day(), 550, "5.7.1 this SRS address was not made here"),
            ("SRS0=%s@fwd.test" % day(), 550, "5.1.3"), ("SRS1=AAAA=victim.test@fwd.test", 550, "5.1.3"),
            ("SRS0-%s" % good[5:], 250, ""),
            (good.replace("@fwd.test", "@elsewhere.test"), 554, "5.7.1 relaying denied"),
            ("nobody@fwd.test", 550, "5.1.1"), ("victim@org.test", 554, "5.7.1")):
        got = rcpt(s, "", to)
        assert got[0] == code and words in got[1], (to, got)
    code, text = rcpt(s, "mallory@evil.test", good)
    assert code == 550 and "5.7.1 this address takes reports only" in text, text
    assert not org.messages
    bring(s, "", good, "report")
    wait_until("it is sent on", lambda: org.messages, 20)
    assert path_of(org.messages[0][1][0]) == "<ann@org.test>"
    world.write("secret", "another one\n%s\n" % SECRET, 0o600)  # rotated
    reload(s)
    assert rcpt(s, "", good)[0] == 250
    bring(s, "ann@org.test", "joe@fwd.test", "again")
    wait_until("it is forwarded", lambda: len(org.messages) == 2, 20)
    new = path_of(org.messages[1][0]).strip("<>")
    assert new != good and rcpt(s, "", new)[0] == 250, new
    world.write("secret", "another one\n", 0o600)
    reload(s)
    assert rcpt(s, "", good)[0] == 550 and rcpt(s, "", new)[0] == 250
    world.write("secret", "\n", 0o600)
    s.program.process.send_signal(1)
    wait_until("the reload is refused", lambda: s.events("server.reload_refused"), 20)
    assert "is empty" in s.log() and rcpt(s, "", new)[0] == 250


def holds(pid, secret):
    """Is it anywhere in the process's memory?"""
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            first, last = (int(x, 16) for x in span.split("-"))
            if "rw" not in rights or "[v" in line or last - first > 1 << 30:
                continue
            memory.seek(first)
            try:
                if secret in memory.read(last - first):
                    return True
            except OSError:
                continue
    return False


@case
def reports_are_verified_like_other_mail(world):
    """An SRS address is a recipient like others: beside one whose domain verifies mail in another way it comes separately, whichever is named first."""
    s = forwarder(world, "fwd", {}, {}, 'srs { domain = "fwd.test" secret_file = "%s" }\nverify { skip = none }\ndns { servers = { "127.0.0.1@%d" } }\n'
                  'domain "other.test" { mailboxes = any verify_dmarc = none }' % (world.write("secret", SECRET + "\n", 0o600), free_port()))
    report = forge("SRS0", day(), "org.test", "ann")
    for first, second in ((report, "x@other.test"), ("x@other.test", report)):
        with smtplib.SMTP(s.host, s.mx) as c:
            c.ehlo("org.test")
            assert c.mail("")[0] == 250 and c.rcpt(first)[0] == 250
            code, text = c.rcpt(second)
            assert code == 452 and text.startswith(b"4.5.3"), (first, code, text)


@case
def who_has_the_secret(world):
    """As separate users: the secret is made, read before that, kept by receivers and the queue, and wiped by all others."""
    make_users()
    far = Sink(world)
    s = forwarder(world, "fwd", {"joe": "joe@far.test"}, {"far.test": "smtp:127.0.0.1:%d" % far.port}, 'srs { domain = "fwd.test" }', foreground=False)
    bring(s, "ann@org.test", "joe@fwd.test")
    wait_until("it is forwarded", lambda: far.messages, 20)
    path = path_of(far.messages[0][0])
    assert SRS0.fullmatch(path) and rcpt(s, "", path.strip("<>"))[0] == 250
    file = os.path.join(s.state, "srs.secret")
    assert (os.stat(file).st_uid, os.stat(file).st_mode & 0o777) == (0, 0o600)
    with open(file, "rb") as f:
        secret = f.read().strip()
    having = {role for role in ("receiver", "keeper", "queue", "sender", "local", "admin", "resolver") for pid in s.pids(role) if holds(pid, secret)}
    assert having == {"receiver", "queue"}, having


def reload(s):
    before = s.log().count("server.ready")
    s.program.process.send_signal(1)
    wait_until("the new generation is ready", lambda: s.log().count("server.ready") > before, 30)


def ask(port, address):
    with socket.create_connection(("127.0.0.1", port), 10) as c:
        c.sendall(("get %s\n" % address).encode())
        code, text = c.makefile().readline().strip().split(" ", 1)
        return text if code == "200" else None


@case
def postsrsd_agrees(world):
    """postsrsd with the same secret reads our addresses and makes ones that we read."""
    program = shutil.which("postsrsd", path="/usr/sbin:/usr/bin")
    if program is None:
        raise Skip("postsrsd is not installed")
    org, far = Sink(world), Sink(world)
    secret = world.write("secret", SECRET + "\n", 0o600)
    forward, reverse = free_port(), free_port()
    world.start("postsrsd", [program, "-4", "-s", secret, "-d", "fwd.test", "-f", str(forward), "-r", str(reverse)])
    s = forwarder(world, "fwd", {"joe": "joe@far.test"}, {"far.test": "smtp:127.0.0.1:%d" % far.port, "*": "smtp:127.0.0.1:%d" % org.port},
                  'srs { domain = "fwd.test"\n secret_file = "%s" }' % secret)
    senders = ["ann@org.test", "Ann.B+tag=1@org.test", "SRS0=abcd=EF=org.test=ann@other.test", "SRS0+abcd=EF=org.test=ann@other.test",
               "SRS1=wxyz=first.test==abcd=EF=org.test=ann@other.test"]

    def postsrsd_answers():
        try:
            return ask(forward, senders[0])
        except OSError:
            return None
    wait_until("postsrsd answers", postsrsd_answers, 10)
    for number, sender in enumerate(senders):
        bring(s, sender, "joe@fwd.test", "to%d" % number)
        wait_until("it is forwarded", lambda: len(far.messages) == number + 1, 20)
        ours = path_of(far.messages[number][0]).strip("<>")
        theirs = ask(forward, sender)
        assert ours == theirs, (sender, ours, theirs)
        bring(s, "", theirs, "back%d" % number)
        wait_until("it is back", lambda: len(org.messages) == number + 1, 20)
        assert path_of(org.messages[number][1][0]).strip("<>") == ask(reverse, ours), (sender, org.messages[number])
