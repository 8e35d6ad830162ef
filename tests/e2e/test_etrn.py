"""ETRN: a server that was away asks for the mail that waits for it, as client of ours, of Postfix, and by hand."""
import smtplib
import time

from harness import PASSWORD, Sink, case, free_port, postfix, wait_until


def etrn(s, *arguments, ok=True, **options):
    return s.command("etrn", *arguments, ok=ok, **options)


def waiting_server(world, port, extra=""):
    """A veredus whose mail for branch.test waits for an hour: its next hop is dead."""
    s = world.server(accounts=["branch@d.test", "other@d.test"], domains={
        "d.test": "", "branch.test": 'deliver = "smtp:127.0.0.1:%d"\netrn = { "127.0.0.16/28", "branch@d.test" }' % port},
        extra='queue { retry = 1h }\n' + extra)
    for i in range(3):
        with smtplib.SMTP(s.host, s.mx) as c:
            c.sendmail("x@elsewhere.test", ["r%d@branch.test" % i], "Subject: %d\r\n\r\nhello\r\n" % i)
    wait_until("all are deferred", lambda: len(s.listed("--state", "deferred")) == 3)
    return s


@case
def etrn_starts_what_waits(world):
    """Mail waits for a dead next hop; its server comes back, logs in, asks by ETRN, and gets it all at once."""
    port = free_port()
    s = waiting_server(world, port)
    sink = Sink(world, port=port)
    refused = etrn(s, "%s:%d" % (s.host, s.mx), "branch.test", ok=False)
    assert refused.returncode == 69 and "502 5.5.1" in refused.stdout and "does not offer ETRN" in refused.stdout, refused.stdout
    login = ["--user", "branch@d.test", "--password-stdin", "--tls", "verify", "--ca", s.ca(), "127.0.0.1:%d" % s.submission]
    foreign = etrn(s, "--quiet", *login, "d.test", ok=False, input=PASSWORD + "\n")
    assert foreign.returncode == 77 and "459 4.7.1" in foreign.stdout, foreign.stdout
    done = etrn(s, *login, "branch.test", input=PASSWORD + "\n")
    assert "branch.test: 253 2.0.0 3 pending messages for branch.test started" in done.stdout, done.stdout
    assert "-> " in done.stdout and "ETRN branch.test" in done.stdout and PASSWORD not in done.stdout
    wait_until("the sink has them", lambda: len(sink.messages) == 3)
    s.wait_empty()
    again = etrn(s, "--quiet", *login, "branch.test", "@branch.test", "#branch.test", input=PASSWORD + "\n")
    assert again.stdout.count(": 251 2.0.0 no messages wait for branch.test") == 3, again.stdout
    stranger = ["--user", "other@d.test", "--password-stdin", "--tls", "required", "127.0.0.1:%d" % s.submission]
    assert etrn(s, "--quiet", *stranger, "branch.test", ok=False, input=PASSWORD + "\n").returncode == 69
    assert [e["for"] for e in s.events("etrn.asked")] == ["branch.test"] * 4
    assert [e["messages"] for e in s.events("queue.flushed")] == ["3", "0", "0", "0"]


@case
def etrn_by_network(world):
    """By the client's address, with smtplib: the keyword is offered, other domains are not started, and what is held stays held."""
    port = free_port()
    s = waiting_server(world, port, extra='route "far.test" { to = "smtp:127.0.0.1:%d" }' % port)
    held = s.listed()[0]["id"]
    s.queue("hold", held)
    sink = Sink(world, port=port)
    with smtplib.SMTP(s.host, s.mx, source_address=("127.0.0.9", 0)) as c:
        c.ehlo("client.test")
        assert not c.has_extn("etrn") and c.docmd("ETRN", "branch.test")[0] == 502
    with smtplib.SMTP(s.host, s.mx, source_address=("127.0.0.17", 0)) as c:
        c.ehlo("client.test")
        assert c.has_extn("etrn")
        assert c.docmd("ETRN", "far.test")[0] == 459 and c.docmd("ETRN", "d.test")[0] == 459
        code, text = c.docmd("ETRN", "#branch.test")
        assert code == 253 and b" 2 pending" in text, (code, text)
    wait_until("the sink has two", lambda: len(sink.messages) == 2)
    time.sleep(0.5)
    assert len(sink.messages) == 2 and [m["id"] for m in s.listed()] == [held]


@case
def postfix_is_asked(world):
    """veredus etrn asks Postfix: mail that Postfix has deferred for us comes."""
    port = free_port()
    relay = postfix(world, "relay_domains = d.test\nrelay_transport = smtp:[127.0.0.1]:%d\nrelay_recipient_maps =\n"
                           "fast_flush_domains = $relay_domains\nminimal_backoff_time = 1h\nmaximal_backoff_time = 2h\nqueue_run_delay = 1h" % port)
    with smtplib.SMTP("127.0.0.1", relay) as c:
        c.sendmail("x@p.test", ["ann@d.test"], b"Subject: waited\r\n\r\nhello\r\n")
    wait_until("Postfix defers it", lambda: "status=deferred" in open(world.path("postfix.log")).read(), 60)
    s = world.server(accounts=["ann@d.test"], head='listen "127.0.0.1:%d" { role = mx }' % port)
    done = etrn(s, "127.0.0.1:%d" % relay, "d.test")
    assert "d.test: 250 Queuing started" in done.stdout, done.stdout
    (mail,) = s.wait_mail("ann@d.test", seconds=60)
    assert mail["Subject"] == "waited"
    unknown = etrn(s, "--quiet", "127.0.0.1:%d" % relay, "elsewhere.test", ok=False)
    assert unknown.returncode != 0 and "45" in unknown.stdout, unknown.stdout
