"""The command line: sendmail, mailq, newaliases, veredus send, queue; and the transcripts over TCP."""
import email
import glob
import json
import os
import smtplib
import subprocess

import harness
from harness import PASSWORD, TOP, VEREDUS, Sink, Skip, case, run, wait_until


def called(world, name):
    """The program under another name."""
    link = world.path(name)
    if not os.path.exists(link):
        os.symlink(harness.VEREDUS, link)
    return link


@case
def sendmail_and_mailq(world):
    """sendmail -t, recipients on the command line, -i, -bs, exit codes; mailq; -q; newaliases."""
    sink = Sink(world, replies={"RCPT TO:<LATER": "450 4.2.0 later"})
    aliases = world.write("aliases", "team: ann, bob\n")
    s = world.server(domains={"d.test": 'aliases = "%s"' % aliases, "veredus.test": 'catch_all = "ann@d.test"'},
                     accounts=["ann@d.test", "bob@d.test"], extra='route "far.test" { to = "smtp:127.0.0.1:%d" }' % sink.port)
    sendmail = [called(world, "sendmail"), "-C", s.config]
    text = "To: ann@d.test\nCc: Bob <bob@d.test>\nBcc: x@far.test\nSubject: from a program\n\nline\n.\nmore\n"
    run(*sendmail, "-t", "-i", "-f", "ann@d.test", input=text)
    mail = s.wait_mail("ann@d.test", 1)[0]
    assert mail["Bcc"] is None and mail["Subject"] == "from a program" and mail.get_payload().splitlines() == ["line", ".", "more"]
    assert mail["Return-Path"] == "<ann@d.test>" and mail["Date"] and mail["Message-ID"] and "uid %d" % os.getuid() in mail["Received"]
    s.wait_mail("bob@d.test", 1)
    wait_until("the hidden copy", lambda: len(sink.messages) == 1)
    run(*sendmail, "team@d.test", input="Subject: dot\n\nuntil\n.\nnot\n")
    s.wait_mail("bob@d.test", 2)
    assert all("not" not in m.get_payload() for m in s.wait_mail("ann@d.test", 2) if m["Subject"] == "dot")
    done = run(*sendmail, "-bs", input="EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@d.test>\r\nDATA\r\nSubject: bs\r\n\r\n.\r\nQUIT\r\n")
    assert "354" in done.stdout and "queued as" in done.stdout, done.stdout
    s.wait_mail("bob@d.test", 3)
    assert run(*sendmail, input="x", ok=False).returncode == 64, "no recipients is EX_USAGE"
    assert run(*sendmail, "nobody@d.test", input="Subject: x\n\n.", ok=False).returncode == 67, "an unknown user is EX_NOUSER"
    run(*sendmail, "later@far.test", input="Subject: later\n\n.\n")
    wait_until("it is deferred", lambda: "deferred" in s.queue("list"))
    listing = run(called(world, "mailq"), "-C", s.config, ok=False)
    assert "later@far.test" in listing.stdout, listing.stdout
    assert "later@far.test" in run(*sendmail, "-bp").stdout
    sink.replies.clear()
    run(*sendmail, "-q")
    wait_until("the queue is run", lambda: len(sink.messages) == 2)
    world.write("aliases", "team: ann, bob\nnew: bob\n")
    run(called(world, "newaliases"), "-C", s.config)
    wait_until("the new alias is known", lambda: s.log().count("server.ready") == 2)
    run(*sendmail, "new@d.test", input="Subject: new\n\n.\n")
    s.wait_mail("bob@d.test", 4)
    s.stop()
    assert run(*sendmail, "ann@d.test", input="Subject: x\n\n.", ok=False).returncode == 75, "no server is EX_TEMPFAIL"


@case
def queue_commands(world):
    """list, show, hold, release, retry, remove, filters, --json."""
    sink = Sink(world, replies={"RCPT": "450 4.2.0 later"})
    s = world.server(domains={"far.test": 'deliver = "smtp:127.0.0.1:%d"' % sink.port, "else.test": 'deliver = "smtp:127.0.0.1:%d"' % sink.port})
    with smtplib.SMTP(s.host, s.mx) as c:
        for i in range(6):
            c.sendmail("a%d@x.test" % (i % 2), ["r@%s" % ("far.test" if i < 4 else "else.test")], "Subject: n%d\r\n\r\nbody %d" % (i, i))
    wait_until("all are deferred", lambda: s.queue("list").count("deferred ") == 6)
    data = json.loads(s.queue("list", "--json"))
    assert data["total"] == 6 and len(data["messages"]) == 6
    first = data["messages"][0]
    assert set(first) >= {"id", "arrival", "from", "size", "held", "recipients"}, first
    assert json.loads(s.queue("list", "--json", "--domain", "else.test"))["total"] == 2
    assert json.loads(s.queue("list", "--json", "--sender", "a0@x.test"))["total"] == 3
    shown = s.queue("show", first["id"])
    assert "Subject: n" in shown and "body" in shown and "450 4.2.0 later" in shown, shown
    assert "1 message" in s.queue("hold", first["id"]) and "HELD" in s.queue("list")
    sink.replies.clear()
    assert "6 messages" in s.queue("retry", "--all")
    wait_until("all but the held one are sent", lambda: len(sink.messages) == 5)
    s.queue("release", first["id"])
    wait_until("the released one is sent", lambda: s.queue("retry", "--all") and len(sink.messages) == 6)
    s.wait_empty()
    sink.replies["RCPT"] = "450 4.2.0 later"
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail("a@x.test", ["r@far.test"], "Subject: gone\r\n\r\n.")
    wait_until("it is there", lambda: "far.test" in s.queue("list"))
    assert "1 message" in s.queue("remove", "--all")
    s.wait_empty()
    assert run(VEREDUS, "queue", "show", "0000000000000", "--config", s.config, ok=False).returncode != 0


@case
def veredus_send(world):
    """veredus send: from flags and from a file, its trace, its exit codes."""
    s = world.server(accounts=["ann@d.test"])
    done = run(harness.VEREDUS, "send", "--server", "%s:%d" % (s.host, s.mx), "--from", "x@y.test", "--to", "ann@d.test", "--subject", "gr\u00fc\u00dfe",
               "--body", "hello")
    for expected in ("EHLO", "MAIL FROM:<x@y.test>", "RCPT TO:<ann@d.test>", "250 2.1.5", "queued as"):
        assert expected in done.stdout, (expected, done.stdout)
    mail = s.wait_mail("ann@d.test", 1)[0]
    assert str(email.header.make_header(email.header.decode_header(mail["Subject"]))) == "gr\u00fc\u00dfe", mail["Subject"]
    path = world.write("message", "From: x@y.test\nTo: ann@d.test\nSubject: a file\n\nbody\n")
    run(harness.VEREDUS, "send", "--server", "%s:%d" % (s.host, s.mx), "--from", "x@y.test", "--to", "ann@d.test", "--file", path)
    s.wait_mail("ann@d.test", 2)
    refused = run(harness.VEREDUS, "send", "--server", "%s:%d" % (s.host, s.mx), "--from", "x@y.test", "--to", "nobody@d.test", "--body", "x",
                  ok=False)
    assert refused.returncode not in (0, 75) and "550 5.1.1" in refused.stdout, refused.stdout
    down = run(harness.VEREDUS, "send", "--server", "127.0.0.1:1", "--from", "x@y.test", "--to", "ann@d.test", "--body", "x", ok=False)
    assert down.returncode == 75 and "refused" in down.stdout, down.stdout
    hidden = run(harness.VEREDUS, "send", "--server", "%s:%d" % (s.host, s.submissions), "--tls", "implicit", "--ca", s.ca(), "--user", "ann@d.test",
                 "--password-stdin", "--from", "ann@d.test", "--to", "ann@d.test", "--body", "x", input=PASSWORD + "\n")
    assert PASSWORD not in hidden.stdout and "AUTH" in hidden.stdout


@case
def accounts(world):
    """veredus account: add, list, password, remove; a running server sees each change at once."""
    s = world.server()
    s.add_account("ann@d.test")

    def login(password):
        with smtplib.SMTP(s.host, s.submission) as c:
            c.starttls(context=s.tls_context())
            try:
                c.login("ann@d.test", password)
                return True
            except smtplib.SMTPAuthenticationError:
                return False
    assert login(PASSWORD) and not login("other")
    s.command("account", "password", "ann@d.test", "--config", s.config, "--password-stdin", input="other\n")
    assert login("other")
    assert "ann@d.test" in s.command("account", "list", "--config", s.config).stdout
    assert s.command("account", "add", "ann@d.test", "--config", s.config, "--password-stdin", input="x\n", ok=False).returncode != 0
    s.command("account", "remove", "ann@d.test", "--config", s.config)
    assert not login("other")
    with open(os.path.join(s.state, "accounts.db"), "rb") as f:
        data = f.read()
    assert PASSWORD.encode() not in data, "no password is kept in clear"


@case
def transcripts_over_tcp(world):
    """Every server transcript that needs no special configuration, over TCP against the daemon."""
    runner = os.environ.get("VEREDUS_TRANSCRIPTS", os.path.join(TOP, "build", "tests", "transcripts", "run_transcript"))
    if not os.path.exists(runner):
        raise Skip("the transcript runner is not built")
    s = world.server(accounts=["ok@d.test", "ok2@d.test"], hostname="mx.test", extra="limits { connections_per_address = 1000 }")
    files = sorted(glob.glob(os.path.join(TOP, "tests", "transcripts", "server", "*.txt")))
    done = run(runner, "--tcp", "%s:%d" % (s.host, s.mx), *files, ok=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:]
    print("         " + done.stdout.strip().splitlines()[-1], flush=True)


@case
def json_log(world):
    """With log.format = json every line of the log is a JSON object, and the way of a message can be followed by its id."""
    s = world.server(domains={"d.test": "mailboxes = any"}, extra="log { format = json\n level = debug }")
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail('"odd \\"=name"@x.test', ["r@d.test"], "Subject: x\r\n\r\n.")
    s.wait_mail("r@d.test", 1)
    s.wait_empty()
    s.stop()
    events = [json.loads(line) for line in s.log().splitlines() if line.startswith("{")]
    ids = {e["id"] for e in events if e["event"] == "message.accepted"}
    assert len(ids) == 1
    steps = [e["event"] for e in events if e.get("id") in ids]
    for step in ("message.accepted", "message.queued", "delivery.ok", "message.done"):
        assert step in steps, (step, steps)


@case
def separate_users(world):
    """The privileged mode: every process as its own user, without the folders that are not its own; mail flows, also after a reload."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    for user in ("_veredus", "_veredusk", "_veredusq"):
        run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", user, ok=False)
    s = world.server(accounts=[], foreground=False, start=False)
    s.start()
    s.add_account("ann@d.test")
    import pwd
    wanted = {"receiver": "_veredus", "keeper": "_veredusk", "queue": "_veredusq", "sender": "_veredus", "local": "root", "admin": "_veredus"}
    for role, user in wanted.items():
        pids = list(s.pids(role))
        assert pids, role
        for pid in pids:
            owner = pwd.getpwuid(os.stat("/proc/%d" % pid).st_uid).pw_name
            with open("/proc/%d/status" % pid) as f:
                status = f.read()
            uid = int(status.split("Uid:")[1].split()[1])
            assert pwd.getpwuid(uid).pw_name == user, (role, owner, uid)
            if role != "local":
                assert "NoNewPrivs:\t1" in status, role
    with smtplib.SMTP(s.host, s.mx) as c:
        c.sendmail("x@y.test", ["ann@d.test"], b"Subject: small\r\n\r\n.")
        c.sendmail("x@y.test", ["ann@d.test"], b"Subject: large\r\n\r\n" + (b"y" * 70 + b"\r\n") * 3000)
    s.wait_mail("ann@d.test", 2)
    os.kill(s.program.pid, 1)
    wait_until("the second generation is ready", lambda: s.log().count("server.ready") == 2, 30)
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.login("ann@d.test", PASSWORD)
        c.sendmail("ann@d.test", ["ann@d.test"], b"Subject: after\r\n\r\n.")
    s.wait_mail("ann@d.test", 3)
    owners = {os.stat(os.path.join(root, f)).st_uid for root, _, files in os.walk(s.maildir("ann@d.test")) for f in files}
    assert owners == {pwd.getpwnam("_veredus").pw_uid}, owners


@case
def bare_help(world):
    """Every command explains itself, and a wrong one says what to do."""
    for command in ([], ["serve"], ["check"], ["account"], ["queue"], ["send"], ["sendmail"]):
        done = subprocess.run([harness.VEREDUS] + command + ["--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        assert done.returncode == 0 and b"usage" in done.stdout.lower(), (command, done.stdout)
    assert run(harness.VEREDUS, "nonsense", ok=False).returncode == 64
    assert run(harness.VEREDUS, "version").stdout.startswith("veredus 0.")
    del world
