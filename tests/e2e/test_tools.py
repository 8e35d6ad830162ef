"""The command line: sendmail, mailq, newaliases, veredus send, queue; and the transcripts over TCP."""
import email
import glob
import json
import os
import pty
import smtplib
import socket
import subprocess

import harness
from harness import PASSWORD, TOP, VEREDUS, Sink, Skip, case, make_users, run, wait_until


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
    data = s.listed()
    assert len(data) == 6
    summary = s.queue("summary").splitlines()
    assert "deferred       6" in summary and "full           no" in summary and any(w.startswith("log            segments 1, ") for w in summary), summary
    first = data[0]
    assert set(first) >= {"id", "arrival", "from", "size", "held", "recipients"}, first
    assert len(s.listed("--domain", "else.test")) == 2
    assert len(s.listed("--sender", "a0@x.test")) == 3
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
    make_users()
    s = world.server(accounts=[], foreground=False, start=False, extra='processes { user = "nosuchuser" }')
    code, _, text = tool("serve", "--config", s.config)
    assert code == 78 and "server.folders" in text and "nosuchuser" in text, (code, text)
    s = world.server(accounts=[], foreground=False, start=False)
    s.start()
    s.add_account("ann@d.test")
    import pwd
    wanted = {"receiver": "_veredus", "keeper": "_veredusk", "queue": "_veredusq", "sender": "_veredus", "local": "root", "admin": "_veredus", "resolver": "_veredus"}
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


def tool(*arguments, **options):
    """veredus with these arguments: (exit code, standard output, standard error)."""
    done = subprocess.run([harness.VEREDUS] + [str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          stdin=options.pop("stdin", subprocess.DEVNULL if "input" not in options else None), **options)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def on_terminal(command, answers=(), environment=None):
    """Runs a command on a terminal of its own; answers: (text to wait for, text to type). (exit code, what the terminal showed)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, dict(os.environ, TERM="xterm", **(environment or {})))
    shown = b""

    def more():
        nonlocal shown
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            part = b""
        shown += part
        return part
    for wanted, typed in answers:
        while wanted not in shown and more():
            pass
        os.write(terminal, typed)
    while more():
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace")


@case
def a_second_server(world):
    """A server that finds its sockets taken ends with 70, says by whom, and leaves the first one alone."""
    s = world.server(accounts=["ann@d.test"])
    same = s.command("serve", "--foreground", "--config", s.config, ok=False)
    assert same.returncode == 70 and "veredus runs already with this" in same.stdout, same.stdout
    taken = socket.socket()
    world.cleanups.append(taken.close)
    taken.bind((s.host, 0))
    taken.listen()
    other = world.write("other.conf", "\n".join(['hostname = "other.test"'] + ['%s = "%s"' % (k, world.path("other", k)) for k in ("spool", "state", "run")] +
                                                ['listen "%s:%d" { role = mx }' % (s.host, taken.getsockname()[1]), 'domain "o.test" { }']) + "\n")
    done = s.command("serve", "--foreground", "--config", other, ok=False)
    assert done.returncode == 70 and "other.conf:5: cannot listen on" in done.stdout and "another server has it" in done.stdout, done.stdout
    assert "empty" in s.queue("list")


@case
def wrong_command_lines(world):
    """A wrong command line gets one line that says what, and 64; what a file or a socket lacks has its own code."""
    run_folder, no_file = world.path("nowhere"), world.path("no-such-file")
    for arguments, code, says in (
            (["serve", "--bogus"], 64, "veredus serve: unrecognized option '--bogus'"),
            (["serve", "x"], 64, 'veredus serve: "x" is one argument too many'),
            (["serve", "--config", no_file, "--foreground"], 78, "cannot read the configuration: No such file"),
            (["check", no_file], 78, ""),
            (["check", "a", "b"], 64, '"b" is one argument too many'),
            (["account", "ad"], 64, 'there is no "ad"; there are add, password'),
            (["account", "add"], 64, "exactly one address"),
            (["account", "list", "x"], 64, "takes no address"),
            (["account", "list", "--state", world.folder], 66, "there are no accounts yet"),
            (["account", "remove", "a@b.test", "--state", world.folder], 66, "there are no accounts yet"),
            (["queue", "lst"], 64, 'there is no "lst"; there are list, show'),
            (["queue", "remove"], 64, "remove what?"),
            (["queue", "remove", "--all", "0000000000000"], 64, "exclude each other"),
            (["queue", "summary", "--all"], 64, "takes no ids and filters"),
            (["queue", "list", "--limit", "x"], 64, '--limit takes a number from 1 on, not "x"'),
            (["queue", "list", "--domain", ""], 64, "--domain has no value"),
            (["queue", "list", "--older", "4"], 64, '--older takes an age such as 90s, 30m, 4h, 2d or 1w, not "4"'),
            (["queue", "list", "--state", "odd"], 64, '--state takes active, deferred or held, not "odd"'),
            (["queue", "list", "--after", "XYZ"], 64, '"XYZ" is no queue id'),
            (["queue", "list", "--dry-run"], 64, "--dry-run is for what changes messages"),
            (["queue", "summary", "--limit", "3"], 64, "summary knows no --limit and --after"),
            (["queue", "show", "XYZ"], 65, '"XYZ" is no queue id'),
            (["queue", "list", "--run", run_folder], 75, "No such file or directory; it does not run"),
            (["queue", "list", "--run", "/" + "x" * 200], 78, "at most 107 bytes"),
            (["queue", "list", "--config", no_file], 78, "cannot read the configuration"),
            (["queue", "verify", "a", "b"], 64, '"b" is one folder too many'),
            (["queue", "verify", "--all"], 64, "verify is about a whole spool"),
            (["queue", "verify", run_folder], 66, "is no spool: name the folder that holds log/ and body/"),
            (["queue", "verify", "--config", no_file], 78, "verify FOLDER` does without the configuration"),
            (["send"], 64, "no recipient"),
            (["send", "--to", "a@b.test", "--tls", "x"], 64, "--tls takes none, may"),
            (["send", "--to", "a@b.test", "--auth", "NTLM"], 64, "--auth takes one of SCRAM-SHA-256-PLUS"),
            (["send", "--to", "a@b.test", "--priority", "10"], 64, "--priority takes a number from -9 to 9"),
            (["send", "--to", "a@b.test", "--header", "a b: c"], 64, "--header takes"),
            (["send", "--to", "a@b.test", "--file", no_file, "--body", "x"], 64, "does not go with"),
            (["send", "--to", "a@b.test", "--server", "a b"], 64, "--server takes"),
            (["send", "--to", "a@b.test", "--file", no_file], 66, "cannot read %s: No such file" % no_file),
            (["send", "--to", "a@b.test", "--body", "@" + no_file], 66, "cannot read %s: No such file" % no_file),
            (["send", "--no-message", "--server", "127.0.0.1:1", "--ca", no_file], 66, "trusted CAs %s: No such file" % no_file),
            (["send", "--no-message", "--server", "h", "--user", "u", "--password-file", no_file], 66, "the password from %s: No such" % no_file),
            (["send", "--to", "not an address"], 64, "does not read like ann@example.org"),
            (["help", "nonsense"], 64, 'there is no command "nonsense"')):
        got = tool(*arguments)
        assert got[0] == code and says in got[2] and len(got[2].splitlines()) <= 4, (arguments, got)
    assert tool("help", "queue") == tool("queue", "--help") and "--destination" in tool("help", "queue")[1]
    for name in ("mailq", "newaliases", "sendmail"):
        assert "usage: sendmail" in run(called(world, name), "--help").stdout


@case
def account_input(world):
    """veredus account: bad addresses and passwords are refused with the reason; a password typed at a terminal does not show."""
    state = world.path("state")
    for address, says in (("", "no local part"), ("x", "no domain"), ("@d.test", "no local part"), ("a b@d.test", "must be quoted"),
                          ("ann@d.test.", "ends in a dot"), ("../x@d.test", "two dots in a row"), ("<ann@d.test>", "without angle brackets")):
        got = tool("account", "add", address, "--state", state, "--password-stdin", input=b"a long password\n")
        assert got[0] == 65 and says in got[2], (address, got)
    for password, code, says in ((b"", 66, "it is empty"), (b"\n", 65, "the password is empty"), (b"a\tb\n", 65, "control character"),
                                 (b"\xff\n", 65, "not valid UTF-8"), (b"x" * 2000, 66, "at most 1024 bytes"), (b"short\n", 0, "guessed")):
        got = tool("account", "add", "ann@d.test", "--state", state, "--password-stdin", input=password)
        assert got[0] == code and says in got[2], (password, got)
    got = tool("account", "add", "ANN@d.test", "--state", state, "--password-stdin", input=b"a long password\n")
    assert got[0] == 65 and "exists already" in got[2], got
    assert tool("account", "change", "ann@d.test", "--state", state, "--not-send-as", "x@d.test")[0] == 65
    assert tool("account", "change", "ann@d.test", "--state", state, "--send-as", "@x.test", "--send-as", "y@y.test")[0] == 0
    listed = json.loads(tool("account", "list", "--state", state, "--json")[1])
    assert [(a["address"], a["send_as"]) for a in listed] == [("ann@d.test", ["@x.test", "y@y.test"])], listed
    add = [harness.VEREDUS, "account", "add", "tty@d.test", "--state", state]
    code, shown = on_terminal(add, [(b"tty@d.test: ", b"correct horse\n"), (b"again: ", b"wrong horse\n")])
    assert code != 0 and "the two passwords differ" in shown and "horse" not in shown, (code, shown)
    code, shown = on_terminal(add, [(b"tty@d.test: ", b"\x03")])
    assert code != 0 and "nothing was changed" in shown, (code, shown)
    code, shown = on_terminal(add, [(b"tty@d.test: ", b"correct horse\n"), (b"again: ", b"correct horse\n")])
    assert code == 0 and "Added tty@d.test" in shown and "horse" not in shown, (code, shown)
    if os.geteuid() == 0:
        got = tool("account", "list", "--state", state, user="nobody")
        assert got[0] == 77 and "Permission denied; run this as root" in got[2], got


@case
def queue_several(world):
    """veredus queue: several ids, ids that are gone, texts that would drive a terminal; who may ask."""
    s = world.server(domains={"far.test": 'deliver = "smtp:127.0.0.1:%d"' % harness.free_port()})
    with smtplib.SMTP(s.host, s.mx) as c:
        for i in range(3):
            c.sendmail("a@x.test", ["r%d@far.test" % i], b"Subject: n%d\r\n\r\n\x1b[31mred" % i + b"\r\nlong" * 1000)
    wait_until("all are deferred", lambda: s.queue("list").count("deferred ") == 3)
    ids = [m["id"] for m in s.listed()]
    shown = s.queue("show", *ids[:2])
    assert "Subject: n0" in shown and "Subject: n1" in shown and "?[31mred" in shown and "\x1b" not in shown, shown
    assert "--full shows more" in shown and "--full shows more" not in s.queue("show", ids[0], "--full")
    got = tool("queue", "hold", ids[0], "0000000000000", "--run", s.run_dir)
    assert got[0] == 65 and "1 message held" in got[1] and "1 of these 2 messages are not in the queue" in got[2], got
    got = tool("queue", "show", "0000000000000", "--json", "--run", s.run_dir)
    assert got[0] == 65 and got[1] == "", got
    via = s.listed()[0]["recipients"][0]["destination"]
    assert "2 of 3 messages" in s.queue("list", "--limit", "2", "--destination", via)
    assert "No message in the queue is of this kind" in s.queue("list", "--sender", "<>")
    assert "\x1b" not in s.queue("list") and "\x1b[33m" in on_terminal([harness.VEREDUS, "queue", "list", "--run", s.run_dir])[1]
    assert "\x1b" not in on_terminal([harness.VEREDUS, "queue", "list", "--run", s.run_dir], environment={"NO_COLOR": "1"})[1]
    if os.geteuid() == 0:
        got = tool("queue", "list", "--run", s.run_dir, user="nobody")
        assert got[0] == 77 and "Permission denied; root may" in got[2], got


@case
def queue_verify(world):
    """veredus queue verify: not beside a server; sound after a stop; a flipped byte is told with file, offset and message, and costs that message only."""
    sink = Sink(world, replies={"RCPT": "450 4.2.0 later"})
    s = world.server(domains={"far.test": 'deliver = "smtp:127.0.0.1:%d"' % sink.port})
    texts = [b"Subject: n%d\r\n\r\nthe text of number %d\r\n" % (i, i) for i in range(5)] + [b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 20000]
    with smtplib.SMTP(s.host, s.mx) as c:
        for i, text in enumerate(texts):
            c.sendmail("a%d@x.test" % i, ["r%d@far.test" % i], text)
    wait_until("all are deferred", lambda: s.queue("list").count("deferred ") == 6)
    got = tool("queue", "verify", "--config", s.config)
    assert got[0] == 75 and "a server runs on %s" % s.spool in got[2] and got[1] == "", got
    ids = {m["from"]: m["id"] for m in s.listed()}
    s.stop()
    got = tool("queue", "verify", "--config", s.config)
    assert got[0] == 0 and got[1].rstrip().endswith("; it is sound") and "6 messages wait for 6 recipients" in got[1], got
    segments = sorted(f for f in os.listdir(os.path.join(s.spool, "log")) if f.endswith(".seg"))
    path = os.path.join(s.spool, "log", segments[0])
    with open(path, "rb") as f:
        bytes_before = f.read()
    place = bytes_before.index(b"the text of number 2")
    with open(path, "r+b") as f:
        f.seek(place)
        f.write(b"T")
    before = {name: os.stat(os.path.join(s.spool, "log", name)).st_mtime_ns for name in os.listdir(os.path.join(s.spool, "log"))}
    code, printed, complaint = tool("queue", "verify", s.spool)
    assert code == 1 and complaint == "", (code, printed, complaint)
    where = [line for line in printed.splitlines() if "checksum or framing" in line]
    assert len(where) == 1 and where[0].startswith(path + ":"), printed
    offset, size = int(where[0][len(path) + 1:].split(":")[0]), int(where[0].split(": damage: ")[1].split(" ")[0])
    assert offset < place < offset + size < offset + 4096, (where, place)
    assert "message of %s from <a2@x.test> to <r2@far.test>\n" % ids["a2@x.test"] in printed, printed
    assert "5 messages wait for 5 recipients" in printed and "1 damaged stretch, 2 faults" in printed, printed
    assert "no record names their message: that one is lost\n    result of %s\n" % ids["a2@x.test"] in printed, printed  # its deferral
    data = json.loads(tool("queue", "verify", s.spool, "--json")[1])
    found = [f for f in data["findings"] if f["kind"] == "record"]
    assert not data["sound"] and data["messages"] == 5 and data["damaged"] == 1 and len(found) == 1, data
    assert found[0]["file"] == path and found[0]["offset"] == offset and found[0]["bytes"] == size, found
    assert found[0]["concerns"] == [{"id": ids["a2@x.test"], "record": "message", "in_queue": False, "from": "a2@x.test", "recipients": ["r2@far.test"]}], found
    body = [os.path.join(d, f) for d, _, names in os.walk(os.path.join(s.spool, "body")) for f in names]
    assert len(body) == 1, body
    os.rename(body[0], world.path("body"))
    printed = tool("queue", "verify", s.spool)[1]
    assert "%s: damage: the body of a message that waits cannot be read: No such file" % body[0] in printed, printed
    os.rename(world.path("body"), body[0])
    assert before == {name: os.stat(os.path.join(s.spool, "log", name)).st_mtime_ns for name in before}, "verify changes nothing"
    if os.geteuid() == 0:
        os.chmod(s.spool, 0o700)
        got = tool("queue", "verify", s.spool, user="nobody")
        assert got[0] == 77 and "Permission denied; root may" in got[2], got
    sink.replies.clear()
    s.start()
    assert any(e["from"] == str(offset) and e["file"] == path for e in s.events("log.damage")), s.log()
    s.queue("retry", "--all")
    wait_until("the other five are sent", lambda: len(sink.messages) == 5)
    s.wait_empty()
    assert sorted(m[0].split("<")[1].split(">")[0] for m in sink.messages) == ["a%d@x.test" % i for i in (0, 1, 3, 4, 5)], sink.messages


@case
def send_refusals(world):
    """veredus send: what happened and what to do next, for TLS, log-in, and messages as they come."""
    s = world.server(accounts=["ann@d.test"])
    mx, submission, implicit = ("%s:%d" % (s.host, p) for p in (s.mx, s.submission, s.submissions))
    password = world.write("password", PASSWORD + "\n")
    login = ["--user", "ann@d.test", "--password-file", password]
    for arguments, code, says in (
            (["--server", implicit, "--tls", "implicit"], 76, "--ca FILE trusts"),
            (["--server", mx, "--tls", "implicit"], 76, "does this port speak TLS from the first byte"),
            (["--server", implicit, "--tls", "none", "--timeout", "1"], 75, "needs --tls implicit"),
            (["--server", submission, "--tls", "none"] + login, 69, "only after STARTTLS"),
            (["--server", submission, "--user", "ann@d.test", "--password-file", s.config], 77, "AUTH: 535 5.7.8"),
            (["--server", implicit, "--tls", "implicit", "--ca", s.ca()] + login, 0, "235"),
            (["--server", submission, "--tls", "verify", "--ca", s.ca(), "--auth", "plain"] + login, 0, "AUTH PLAIN [hidden]"),
            (["--server", submission, "--auth", "LOGIN"] + login, 0, "AUTH LOGIN")):
        got = tool("send", "--no-message", *arguments)
        assert got[0] == code and says in got[2] and PASSWORD not in got[2], (arguments, got)
    texts = {"crlf": b"Subject: crlf\r\n\r\none\r\n.\r\n..two\r\n", "lf": b"Subject: lf\n\none\n.\n..two",
             "stray": b"Subject: stray\rBcc: eve@d.test\n\none\n.\n..two\n"}
    for i, (name, text) in enumerate(texts.items(), 1):
        got = tool("send", "--quiet", "--server", mx, "--from", "x@y.test", "--to", "ann@d.test", input=text)
        assert got == (0, "", ""), (name, got)
        s.wait_mail("ann@d.test", i)
    mails = {m["Subject"].split()[0]: m for m in s.wait_mail("ann@d.test", 3)}
    assert all(m.get_payload().splitlines() == ["one", ".", "..two"] and m["Bcc"] is None for m in mails.values()), mails
    assert mails["stray"]["Subject"] == "stray Bcc: eve@d.test", "a lone CR begins no field"
    code, shown = on_terminal([harness.VEREDUS, "send", "--no-message", "--server", submission, "--user", "ann@d.test"],
                              [(b"Password for ann@d.test: ", PASSWORD.encode() + b"\n")])
    assert code == 0 and "\x1b[32m<-" in shown and PASSWORD not in shown, shown
    assert "\x1b" not in on_terminal([harness.VEREDUS, "send", "--no-message", "--server", mx], environment={"NO_COLOR": "1"})[1]


@case
def sendmail_session(world):
    """sendmail -bs: line ends of a person and of a program; input that ends too early sends nothing and does not hang; other users."""
    s = world.server(accounts=["ann@d.test"])
    sendmail = [called(world, "sendmail"), "-C", s.config]
    others = {"user": "nobody"} if os.geteuid() == 0 else {}
    talk = "HELO x\nMAIL FROM:<>\nRCPT TO:<ann@d.test>\nDATA\nSubject: %s\n\ntext\n%s"
    assert "queued as" in run(*sendmail, "-bs", input=talk % ("lf", ".\nQUIT\n"), **others).stdout
    assert "queued as" in run(*sendmail, "-bs", input=(talk % ("crlf", ".\nQUIT\n")).replace("\n", "\r\n"), **others).stdout
    for text in (talk % ("cut", ""), talk % ("cut", "."), (talk % ("cut", "")).replace("\n", "\r\n"),
                 (talk % ("cut", "")).replace("\n", "\r\n") + "\n.\n"):
        cut = run(*sendmail, "-bs", input=text, ok=False, timeout=20, **others)
        assert cut.returncode == 65 and "it was not sent" in cut.stdout, cut.stdout
    assert run(*sendmail, "-bs", input="EHLO x\r\nNOO", **others).stdout.endswith("221 2.0.0 goodbye\n")
    code, shown = on_terminal(sendmail + ["-bs"], [(b"220 ", b"HELO x\n"), (b"250 ", b"QUIT\n")])
    assert code == 0 and "221 2.0.0" in shown, shown
    run(*sendmail, "-f", "", "ann@d.test", input="Subject: none\n\n.\n", **others)
    mails = {m["Subject"]: m for m in s.wait_mail("ann@d.test", 3)}
    assert set(mails) == {"lf", "crlf", "none"} and mails["none"]["Return-Path"] == "<>", mails
    assert "uid %d" % (0 if not others else 65534) in mails["lf"]["Received"] or not others, mails["lf"]["Received"]
    wrong = run(*sendmail, "ann b@d.test", input="Subject: x\n\n.\n", ok=False)
    assert wrong.returncode == 67 and '"ann b"@d.test' in wrong.stdout, "the words of an address are not joined: " + wrong.stdout
    missing = run(called(world, "sendmail"), "-C", world.path("no.conf"), "ann@d.test", input="Subject: x\n\n.\n", ok=False)
    assert missing.returncode in (75, 67) and (missing.returncode == 67 or "the default, because of" in missing.stdout), missing.stdout


@case
def bare_help(world):
    """Every command explains itself, and a wrong one says what to do."""
    for command in ([], ["serve"], ["check"], ["account"], ["queue"], ["send"], ["sendmail"]):
        done = subprocess.run([harness.VEREDUS] + command + ["--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        assert done.returncode == 0 and b"usage" in done.stdout.lower(), (command, done.stdout)
    assert run(harness.VEREDUS, "nonsense", ok=False).returncode == 64
    with open("/dev/full", "w") as full:
        done = subprocess.run([harness.VEREDUS, "check", "--keys"], stdout=full, stderr=subprocess.PIPE, timeout=20)
        assert done.returncode == 74 and b"could not be written" in done.stderr, done
    assert run(harness.VEREDUS, "version").stdout.startswith("veredus 0.")
    del world
