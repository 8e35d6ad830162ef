"""nodemailer (npm) as a foreign peer: its client submits to us, its server is our next hop."""
import base64
import glob
import json
import os
import shutil

from harness import PASSWORD, Skip, case, free_port, run, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ("nodemailer", "smtp-server")


def node(world):
    """The environment in which node finds the packages: those of VEREDUS_NODE_PATH, or fetched by npm into the world's folder."""
    if not shutil.which("node"):
        raise Skip("there is no node")
    named = os.environ.get("VEREDUS_NODE_PATH")
    if not named:
        if not shutil.which("npm"):
            raise Skip("there is no npm to fetch nodemailer with; VEREDUS_NODE_PATH may name a folder that has it")
        done = run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", world.folder, *PACKAGES, ok=False, timeout=180)
        if done.returncode:
            raise Skip("npm could not fetch nodemailer: %s" % done.stdout.strip()[-200:])
        named = world.path("node_modules")
    return dict(os.environ, NODE_PATH=named)


def send(environment, transport, *messages):
    what = json.dumps({"transport": transport, "messages": messages})
    done = run("node", os.path.join(HERE, "nodemailer_send.js"), what, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


def serve(world, environment, **options):
    port, folder = free_port(), world.path("taken")
    os.makedirs(folder, exist_ok=True)
    users = options.pop("users", None)
    what = {"port": port, "folder": folder, "options": options}
    if users is not None:
        what["users"] = users
    program = world.start("nodemailer", ["node", os.path.join(HERE, "nodemailer_serve.js"), json.dumps(what)], env=environment)
    wait_until("nodemailer's server is ready", lambda: "ready" in program.text(), 30)
    return port, folder


def taken(folder, count):
    wait_until("%d messages arrived" % count, lambda: len(glob.glob(os.path.join(folder, "*.json"))) >= count, 30)
    found = []
    for name in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(name) as envelope, open(name[:-5] + ".eml", "rb") as text:
            found.append((json.load(envelope), text.read()))
    return found


@case
def nodemailer_client(world):
    """nodemailer submits with each of its mechanisms, by STARTTLS and by TLS from the start, with attachments, DSN and a pool."""
    environment = node(world)
    s = world.server(accounts=["ann@d.test", "bob@d.test"])
    binary = bytes(range(256)) * 40
    message = {"from": "Ann <ann@d.test>", "to": ["bob@d.test", "nobody@d.test"], "subject": "Größe", "text": ".\n..\nzwölf\n",
               "attachments": [{"filename": "all.bin", "content": base64.b64encode(binary).decode(), "encoding": "base64"}],
               "dsn": {"id": "QQ314", "return": "headers", "notify": ["failure", "delay"], "recipient": "bob@d.test"}}
    auth = {"user": "ann@d.test", "pass": PASSWORD}
    ways = [{"port": s.submission, "requireTLS": True, "auth": dict(auth, type="login"), "authMethod": method} for method in ("PLAIN", "LOGIN")]
    ways.append({"port": s.submissions, "secure": True, "auth": auth})
    ways.append({"port": s.submissions, "secure": True, "auth": auth, "pool": True, "maxConnections": 1})
    with open(s.ca()) as f:
        trust = {"ca": f.read(), "servername": s.hostname}
    for way in ways:
        way = dict(way, host=s.host, tls=trust)
        for answer in send(environment, way, *([message] * (3 if way.get("pool") else 1))):
            assert answer.get("accepted") == ["bob@d.test"] and answer["rejected"] == ["nobody@d.test"], answer
            assert answer["response"].startswith("250 2.0.0 queued as "), answer
    for mail in s.wait_mail("bob@d.test", 6):
        attachments = [part.get_payload(decode=True) for part in mail.walk() if part.get_filename() == "all.bin"]
        assert attachments == [binary] and "ESMTPSA" in mail["Received"], mail
    way = {"host": s.host, "port": s.submission, "requireTLS": True, "auth": dict(auth, **{"pass": "wrong"}), "tls": trust}
    (answer,) = send(environment, way, message)
    assert answer["code"] == "EAUTH" and answer["reply"] == 535, answer
    (answer,) = send(environment, {"host": s.host, "port": s.mx, "ignoreTLS": True}, dict(message, to="x@foreign.test"))
    assert answer["reply"] == 554, answer
    assert len(s.mails("bob@d.test")) == 6


@case
def nodemailer_server(world):
    """nodemailer's server as a smarthost: STARTTLS, AUTH, 8-bit and dotted lines, refused recipients."""
    environment = node(world)
    port, folder = serve(world, environment, users={"ann": "far secret"}, size=1000000)
    s = world.server(accounts=["ann@d.test"],
                     extra='route "*" { to = "smtp:127.0.0.1:%d" tls = required user = "ann" password = "far secret" }' % port)
    body = b"From: ann@d.test\r\nTo: x@far.test\r\nSubject: there\r\n\r\n.\r\n..\r\nl\xc3\xa4nger\r\n"
    path = world.write("message.eml", body)
    out = s.command("send", "--server", "%s:%d" % (s.host, s.submissions), "--tls", "implicit", "--ca", s.ca(), "--user", "ann@d.test",
                    "--password-file", world.write("password", PASSWORD + "\n", 0o600), "--from", "ann@d.test", "--to", "x@far.test",
                    "--to", "refused@far.test", "--file", path, ok=False)
    assert "x@far.test: sent" in out.stdout, out.stdout
    (envelope, text), = taken(folder, 1)
    assert envelope["mailFrom"]["address"] == "ann@d.test" and envelope["user"] == "ann" and envelope["secure"], envelope
    assert [r["address"] for r in envelope["rcptTo"]] == ["x@far.test"], envelope
    assert text.endswith(body.split(b"\r\n\r\n", 1)[1]), text
    (report,) = s.wait_mail("ann@d.test", 1)
    assert report.get_content_type() == "multipart/report" and "refused@far.test" in str(report), report
    s.wait_empty()
