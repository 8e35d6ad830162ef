"""Mail of our users is signed: what others say of the signatures, rotation, a keeper that dies, whose keys they are; and `veredus dkim`."""
import fcntl
import json
import os
import pwd
import re
import signal
import smtplib
import subprocess
import time

from harness import PASSWORD, Sink, Skip, accepts, case, free_port, kill, make_users, nsd, run, wait_until
from test_auth_peers import ask, dkimpy, mail_dkim, opendkim_says
from test_tools import tool

USER = "ann@d.test"
KNOWN = 6  # seconds: receivers know for 5 which keys sign


def signing_server(world, sink, keygen=("--algorithm", "both"), **options):
    s = world.server(accounts=[USER], start=False, extra='route "*" { to = "smtp:[127.0.0.1]:%d" tls = none }' % sink.port, **options)
    if keygen is not None:
        dkim(s, "keygen", "d.test", *keygen)
    return s.start()


def dkim(s, *arguments, ok=True):
    return s.command("dkim", *arguments, "--config", s.config, ok=ok)


def records(s, domain="d.test"):
    """What a zone would have: {name: [text]}."""
    found = {}
    for line in filter(lambda x: " IN TXT " in x, dkim(s, "record", domain, ok=False).stdout.splitlines()):
        name, text = re.match(r"(\S+)\. IN TXT \( (.*) \)$", line).groups()
        found[name] = ["".join(re.findall(r'"([^"]*)"', text))]
    return found


def keys(s):
    return json.loads(dkim(s, "list", "--json").stdout)


def client(s, user=USER):
    c = smtplib.SMTP(s.host, s.submission)
    c.starttls(context=s.tls_context())
    c.login(user, PASSWORD)
    return c


def submit(s, message, sender=USER, to="x@elsewhere.test"):
    with client(s) as c:
        c.sendmail(sender, [to], message, mail_options=["BODY=8BITMIME"])


def verdicts(s, message, zone=None, domain="d.test"):
    """What the library says of each signature, with its d= and s=."""
    return [(v["verdict"],) + tuple(re.search(r";%s=([^;]+);" % tag, re.sub(r"\s", "", f)).group(1) for tag in "ds")
            for v, f in zip(ask(kind="dkim", message=message, dns=zone or records(s, domain)), signatures(message))]


def signatures(message):
    return [f.decode("latin-1") for f in re.findall(rb"^DKIM-Signature:.*?\r\n(?![ \t])", message, re.S | re.M)]


def taken(sink, count):
    wait_until("%d messages are taken by the next server" % count, lambda: len(sink.messages) >= count, 60)
    return sink.messages[count - 1][2]


MESSAGES = {
    "plain": b"From: Ann <ann@d.test>\r\nTo: x@elsewhere.test\r\nSubject: hi\r\nDate: Sat, 28 Nov 2026 01:00:00 +0000\r\nMessage-ID: <1@d.test>\r\n\r\nHello.\r\n",
    "no date, no id": b"From: ann@d.test\r\nSubject: bare\r\n\r\n..dots\r\n.\r\nand   blanks \t \r\n\r\n\r\n",
    "no body": b"From: ann@d.test\r\nSubject: empty\r\n\r\n",
    "8 bit": b"From: =?utf-8?q?J=C3=B6rg?= <ann@d.test>\r\nSubject: bytes\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
             b"Content-Transfer-Encoding: 8bit\r\n\r\n" + "gr\u00fc\u00dfe \u2713\r\n".encode(),
    "folded": b"From: Ann\r\n <ann@d.test>\r\nTo: a@elsewhere.test,\r\n\tb@elsewhere.test\r\nSubject: one \t two \r\n three\r\n\r\nx\r\n",
    "large": b"From: ann@d.test\r\nSubject: large\r\n\r\n" + (b"0123456789 " * 6 + b"\r\n") * 50000,
}


@case
def our_signatures_are_good_for_others(world):
    """Mail sent through the submission port has two signatures; dkimpy, Mail::DKIM, OpenDKIM and the library say pass, and fail when something was changed. Large mail too."""
    sink = Sink(world)
    s = signing_server(world, sink)
    zone = records(s)
    flat = {name: text[0] for name, text in zone.items()}
    rsa = next(n for n in zone if "rsa" in n)
    file = world.write("records", "%s %s\n" % (rsa, flat[rsa]))
    for count, (name, message) in enumerate(MESSAGES.items(), 1):
        submit(s, message)
        got = taken(sink, count)
        assert got.startswith(b"DKIM-Signature: "), (name, got[:200])
        said = verdicts(s, got, zone)
        assert [v[:2] for v in said] == [("pass", "d.test")] * 2, (name, said)
        assert dkimpy(do="verify", message=got, dns=flat) == [True, True], name
        assert "pass" in mail_dkim(do="verify", message=got, dns=flat), name
        assert re.search(r"verification .*succeeded", opendkim_says(world, file, got)), name
        changed = got.replace(b"\r\nSubject: ", b"\r\nSubject: Re: ", 1)
        assert {v[0] for v in verdicts(s, changed, zone)} == {"fail"}, name
        assert dkimpy(do="verify", message=changed, dns=flat) == [False, False], name
    assert s.events("message.accepted")[-1]["dkim"] == "d.test"
    # a field that a second one of would mislead cannot be added
    assert {v[0] for v in verdicts(s, b"From: boss@d.test\r\n" + taken(sink, 1), zone)} == {"fail"}


@case
def who_is_signed_for(world):
    """Local programs and trusted clients are; strangers are not, nor users in a name that is not theirs; `sign = no` is off."""
    sink = Sink(world)
    s = signing_server(world, sink, domains={"d.test": "", "e.test": "", "off.test": "sign = no"}, head='trusted = "127.0.0.1"')
    dkim(s, "keygen", "e.test", "--algorithm", "ed25519")
    dkim(s, "keygen", "off.test", "--algorithm", "ed25519")
    with smtplib.SMTP(s.host, s.mx) as c:
        for sender, author in (("a@d.test", "a@d.test"), ("list@d.test", "a@nokeys.test"), ("a@d.test", "a@e.test"), ("a@d.test", "a@off.test"), ("a@nokeys.test", "a@nokeys.test")):
            c.sendmail(sender, ["x@elsewhere.test"], "From: %s\r\nSubject: %s\r\n\r\nx\r\n" % (author, author))
    run(s.veredus, "sendmail", "-C", s.config, "-f", "cron@d.test", "x@elsewhere.test", input="From: cron@d.test\nSubject: local\n\nx\n")
    submit(s, b"From: boss@e.test\r\nSubject: not mine\r\n\r\nx\r\n")  # ann may send from d.test
    wait_until("all are taken", lambda: len(sink.messages) == 7)
    found = {}
    for sender, _, message in sink.messages:
        domains = set(re.findall(r"\bd=([^;]+);", "".join(signatures(message))))
        found[re.search("<(.*?)>", sender).group(1), re.search(rb"^From: (.*?)\r\n", message, re.M).group(1).decode()] = " ".join(domains)
    assert found == {("a@d.test", "a@d.test"): "d.test", ("list@d.test", "a@nokeys.test"): "d.test", ("a@d.test", "a@e.test"): "e.test",
                     ("a@d.test", "a@off.test"): "", ("a@nokeys.test", "a@nokeys.test"): "", ("cron@d.test", "cron@d.test"): "d.test",
                     (USER, "boss@e.test"): "d.test"}, found
    s.command("account", "change", USER, "--send-as", "boss@e.test", "--config", s.config)
    submit(s, b"From: boss@e.test\r\nSubject: mine now\r\n\r\nx\r\n")
    assert [v[:2] for v in verdicts(s, taken(sink, 8), domain="e.test")] == [("pass", "e.test")]


def selectors(s, sink):
    """Sends a message; whose signatures it has, all of which must pass by what is to be published now."""
    count = len(sink.messages) + 1
    submit(s, MESSAGES["plain"])
    said = verdicts(s, taken(sink, count))
    assert all(v[0] == "pass" for v in said), said
    return sorted(v[2] for v in said)


@case
def rotation_with_overlap(world):
    """The new key's record is there before it signs, the old one's stays: at no time has a message a signature that cannot be checked."""
    sink = Sink(world)
    s = signing_server(world, sink, keygen=("--selector", "old"))
    assert selectors(s, sink) == ["old"]
    before = sink.messages[-1][2]
    first = dkim(s, "rotate", "d.test", "--selector", "new").stdout
    assert "new._domainkey.d.test. IN TXT" in first and "dkim activate" in first, first
    assert set(records(s)) == {"old._domainkey.d.test", "new._domainkey.d.test"}
    assert selectors(s, sink) == ["old"]
    again = dkim(s, "rotate", "d.test", ok=False)
    assert again.returncode == 65 and "waits already" in again.stdout, again.stdout
    said = dkim(s, "activate", "d.test", "--keep", "12s").stdout
    assert "new signs from now on" in said and "old signs no more" in said, said
    wait_until("the new key signs", lambda: selectors(s, sink) == ["new"], KNOWN + 20, 0.5)
    states = {k["selector"]: k["state"] for k in keys(s)}
    assert states["new"] == "active" and states["old"] in ("retiring", "retired"), states
    # mail that the old key signed is still good, until its record may go
    if states["old"] == "retiring":
        assert [v[0] for v in verdicts(s, before)] == ["pass"]
    wait_until("the old key is retired", lambda: {k["selector"]: k["state"] for k in keys(s)}["old"] == "retired", 30)
    assert set(records(s)) == {"new._domainkey.d.test"}
    assert "old._domainkey.d.test out of the zone" in dkim(s, "remove", "d.test", "--retired").stdout
    assert [k["selector"] for k in keys(s)] == ["new"]
    # by the clock alone
    dkim(s, "rotate", "d.test", "--selector", "third", "--after", "4s", "--keep", "1h")
    signing = selectors(s, sink)
    if {k["selector"]: k["state"] for k in keys(s)}["third"] == "published":  # else the machine took its time
        assert signing == ["new"], signing
    wait_until("the third key signs", lambda: selectors(s, sink) == ["third"], 4 + KNOWN + 20, 0.5)
    assert set(records(s)) == {"new._domainkey.d.test", "third._domainkey.d.test"}


@case
def a_second_algorithm(world):
    """An Ed25519 key beside the RSA key makes it two signatures, while the server runs."""
    sink = Sink(world)
    s = signing_server(world, sink, keygen=None)
    assert selectors(s, sink) == []
    dkim(s, "keygen", "d.test", "--selector", "one")
    wait_until("the first key signs", lambda: selectors(s, sink) == ["one"], KNOWN + 20, 0.5)
    dkim(s, "keygen", "d.test", "--selector", "two", "--algorithm", "ed25519")
    wait_until("both sign", lambda: selectors(s, sink) == ["one", "two"], KNOWN + 20, 0.5)
    dkim(s, "remove", "d.test", "--selector", "one", "--force")
    wait_until("one is left", lambda: selectors(s, sink) == ["two"], KNOWN + 20, 0.5)


@case
def a_keeper_that_dies(world):
    """While keepers are killed, a message is signed or put off: none goes unsigned."""
    sink = Sink(world)
    s = signing_server(world, sink)
    accepted = put_off = 0
    for i in range(12):
        with client(s) as c:
            kill(next(iter(s.pids("keeper"))))
            c.mail(USER)
            if c.rcpt("x@elsewhere.test")[0] != 250:
                put_off += 1
                continue
            code = c.data(MESSAGES["plain"])[0]
            assert code in (250, 451), code
            accepted, put_off = accepted + (code == 250), put_off + (code != 250)
        wait_until("there is a keeper", lambda: s.pids("keeper"))
        wait_until("log-ins work", lambda: login_works(s))
    wait_until("%d are taken" % accepted, lambda: len(sink.messages) == accepted)
    assert accepted + put_off == 12
    for _, _, message in sink.messages:
        assert [v[0] for v in verdicts(s, message)] == ["pass", "pass"]
    assert len(selectors(s, sink)) == 2


def login_works(s):
    try:
        client(s).close()
        return True
    except (smtplib.SMTPException, OSError):
        return False


@case
def keys_that_cannot_be_read(world):
    """A damaged file of keys is 451 and an event that names it; its mail goes when it is put back."""
    sink = Sink(world)
    s = signing_server(world, sink)
    path = os.path.join(s.state, "dkim", "d.test")
    with open(path) as f:
        good = f.read()
    with open(path, "w") as f:
        f.write(good[:300])
    try:
        submit(s, MESSAGES["plain"])
        raise AssertionError("it was taken")
    except smtplib.SMTPDataError as e:
        assert e.smtp_code == 451 and b"cannot be signed now" in e.smtp_error, e
    event = s.events("keeper.dkim")
    assert len(event) == 1 and path in event[0]["error"], event
    assert dkim(s, "list", ok=False).returncode == 74
    with open(path, "w") as f:
        f.write(good)
    assert len(selectors(s, sink)) == 2
    assert len(sink.messages) == 1


@case
def keys_are_the_keepers(world):
    """In the privileged mode keys belong to the keeper's user, no other process may read them, and mail is signed all the same."""
    make_users()
    sink = Sink(world)
    s = world.server(accounts=[], foreground=False, start=False, extra='route "*" { to = "smtp:[127.0.0.1]:%d" tls = none }' % sink.port)
    dkim(s, "keygen", "d.test", "--algorithm", "both")  # before the first start: the folder is made for the keeper
    folder, path = os.path.join(s.state, "dkim"), os.path.join(s.state, "dkim", "d.test")
    keeper = pwd.getpwnam("_veredusk").pw_uid
    for what, mode in ((folder, 0o700), (path, 0o600)):
        st = os.stat(what)
        assert st.st_uid == keeper and st.st_mode & 0o777 == mode, (what, st)
    for user in ("_veredus", "_veredusq"):
        number = pwd.getpwnam(user).pw_uid
        done = subprocess.run(["cat", path], user=number, group=number, extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode != 0 and not done.stdout, user
    s.start()
    s.add_account(USER)
    assert len(selectors(s, sink)) == 2
    dkim(s, "rotate", "d.test")
    dkim(s, "activate", "d.test")
    assert os.stat(path).st_uid == keeper
    wait_until("the new keys sign", lambda: len(selectors(s, sink)) == 2 and all(x.endswith("-2") for x in selectors(s, sink)), KNOWN + 20, 0.5)
    assert not os.listdir(folder) or set(os.listdir(folder)) == {".lock", "d.test"}


@case
def the_command(world):
    """`veredus dkim`: what it makes, takes over, shows and refuses."""
    state = world.path("st")
    at = ("--state", state)
    for arguments, code, says in (
            (("list",), 0, "There are no DKIM keys"),
            (("keygen", "org"), 65, '"org" is no domain'),
            (("keygen", "../x.test"), 65, "is no domain"),
            (("keygen", "d.test", "--bits", "1024"), 64, "from 2048"),
            (("keygen", "d.test", "--bits", "8192"), 64, "to 4096"),
            (("keygen", "d.test", "--algorithm", "dsa"), 64, "rsa, ed25519 or both"),
            (("keygen", "d.test", "--after", "soon"), 64, "such as 2d"),
            (("keygen", "d.test", "--selector", "a b"), 65, "letters, digits"),
            (("keygen",), 64, "exactly one domain"),
            (("rotate", "d.test"), 65, "has no keys"),
            (("activate", "d.test"), 65, "has no keys"),
            (("whatever", "d.test"), 64, "keygen, import, rotate"),
            (("import", "d.test", "--selector", "x"), 64, "--key FILE"),
            (("import", "d.test", "--selector", "x", "--key", world.path("none")), 66, "No such file"),
            (("import", "d.test", "--selector", "x", "--key", "/etc/passwd"), 65, "no private key"),
            (("keygen", "d.test", "--selector", "one"), 0, "one._domainkey.d.test. IN TXT"),
            (("keygen", "d.test"), 65, "has a key of this kind"),
            (("rotate", "d.test", "--algorithm", "ed25519"), 65, "no ed25519 key"),
            (("import", "d.test", "--selector", "one", "--key", "/etc/passwd"), 65, "has a key already"),
            (("remove", "d.test", "--selector", "one"), 65, "signs mail now"),
            (("remove", "d.test"), 64, "remove which?"),
            (("remove", "d.test", "--selector", "two"), 65, "has no key two"),
            (("activate", "d.test"), 65, "no key of d.test waits"),
            (("record", "d.test", "--selector", "two"), 65, "no such key"),
            (("list", "d.test", "e.test"), 64, "one domain, or none"),
            (("list", "e.test"), 65, "has no keys"),
            (("list", "D.TEST"), 0, "signs since")):
        got, out, err = tool("dkim", *arguments, *at)
        assert got == code and says in out + err, (arguments, got, out, err)
    # OpenDKIM's own key, and its own record
    folder = world.path("opendkim")
    os.mkdir(folder)
    for bits, weak in (("2048", False), ("1024", True)):
        run("/usr/sbin/opendkim-genkey", "-D", folder, "-d", "e.test", "-s", "k" + bits, "-b", bits)
        code, out, err = tool("dkim", "import", "e.test", "--selector", "k" + bits, "--key", os.path.join(folder, "k%s.private" % bits), *at)
        assert code == 0 and ("has only 1024 bits" in err) == weak, (code, out, err)
        with open(os.path.join(folder, "k%s.txt" % bits)) as f:
            key = re.search(r"p=([^\"]*)", "".join(re.findall(r'"([^"]*)"', f.read()))).group(1)
        assert "p=" + key in "".join(re.findall(r'"([^"]*)"', out)), (key, out)
    code, out, err = tool("dkim", "list", *at)
    assert code == 0 and "k1024 of e.test has only 1024 bits" in err, err
    listed = {k["selector"]: k for k in json.loads(tool("dkim", "list", "--json", *at)[1])}
    assert listed["k2048"]["state"] == "retiring" and listed["k1024"]["state"] == "active" and listed["k1024"]["weak"]
    assert listed["one"]["name"] == "one._domainkey.d.test" and listed["one"]["value"].startswith("v=DKIM1; k=rsa; p=")
    # a planned successor that is taken back leaves the old one signing
    tool("dkim", "rotate", "d.test", "--selector", "next", "--after", "1h", *at)
    assert tool("dkim", "remove", "d.test", "--selector", "next", *at)[0] == 0
    listed = {k["selector"]: k for k in json.loads(tool("dkim", "list", "d.test", "--json", *at)[1])}
    assert listed["one"]["until"] is None, listed
    # one at a time
    with open(os.path.join(state, "dkim", ".lock"), "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        code, out, err = tool("dkim", "rotate", "d.test", *at)
        assert code == 75 and "try again" in err, (code, err)
    # in any script
    assert tool("dkim", "keygen", "b\u00fccher.test", "--algorithm", "ed25519", *at)[0] == 0
    assert "._domainkey.xn--bcher-kva.test." in tool("dkim", "record", "b\u00fccher.test", *at)[1]


# ---- rspamd --------------------------------------------------------------------------------------------------------------------------------

RSPAMD = """
options {{ pidfile = "{folder}/rspamd.pid"; filters = "dkim"; dns {{ nameserver = ["127.0.0.1:{dns}"]; timeout = 5s; retransmits = 2; }} hs_cache_dir = "{folder}";
    rrd = "{folder}/rrd"; stats_file = "{folder}/stats"; history_file = "{folder}/history"; tempdir = "{folder}"; }}
logging {{ type = "console"; level = "warning"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
dkim {{ enabled = true; skip_multi = false; check_local = true; check_authed = true; symbol_allow = "R_DKIM_ALLOW"; symbol_reject = "R_DKIM_REJECT"; }}
actions {{ reject = 100; greylist = null; "add header" = 90; }}
"""


def rspamd_says(port, message):
    """Its symbols, each with its options."""
    import urllib.request
    with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:%d/checkv2" % port, data=message), timeout=60) as answer:
        return {name: s.get("options", []) for name, s in json.load(answer)["symbols"].items()}


@case
def rspamd_takes_our_signatures(world):
    """rspamd finds our records in a zone of its own, and says R_DKIM_ALLOW of our mail, R_DKIM_REJECT of what was changed."""
    if not os.path.exists("/usr/bin/rspamd"):
        raise Skip("there is no rspamd")
    sink = Sink(world)
    s = signing_server(world, sink)
    zone = "\n".join(line for line in dkim(s, "record", "d.test").stdout.splitlines())
    dns, port, folder = nsd(world, {"d.test": zone}), free_port(), world.path("rspamd")
    os.mkdir(folder)
    config = world.write("rspamd.conf", RSPAMD.format(dns=dns, port=port, folder=folder))
    world.start("rspamd", ["/usr/bin/rspamd", "-f", "-i", "-c", config])
    wait_until("rspamd listens", lambda: accepts("127.0.0.1", port), 60)
    for count, (name, message) in enumerate(MESSAGES.items(), 1):
        submit(s, message)
        got = taken(sink, count)
        symbols = rspamd_says(port, got)
        assert "R_DKIM_ALLOW" in symbols and "R_DKIM_REJECT" not in symbols, (name, symbols)
        assert len([o for o in symbols["R_DKIM_ALLOW"] if o.startswith("d.test:")]) == 2, (name, symbols)
        symbols = rspamd_says(port, got.replace(b"\r\nSubject: ", b"\r\nSubject: Re: ", 1))
        assert "R_DKIM_REJECT" in symbols and "R_DKIM_ALLOW" not in symbols, (name, symbols)
