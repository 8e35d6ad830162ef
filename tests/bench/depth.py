"""A deep queue beside an empty one: memory, the rate of acceptance, the time from a crash to accepting again.

The deep one holds recipients that were tried once, refused (a port on which nobody listens), and sleep until their next attempt in an hour.
Memory and time are told for a million recipients: what an empty queue takes, plus what the deep one takes above that, in proportion.
"""
import contextlib
import json
import smtplib
import statistics
import subprocess
import threading
import time

import field as fields
import harness
import processes

MILLION = 1000000
COUNT = 20000  # messages of one measurement of the rate


def sleeping(server):
    """How many recipients have been tried and wait."""
    return json.loads(server.queue("summary", "--json"))["deferred"]


def fill(server, recipients, per_message):
    """`recipients` deferred ones, `per_message` to a message."""
    fields.source(server.mx, recipients // per_message, "recipient@deferred.test", True, size=512, recipients=per_message)
    harness.wait_until("%d recipients are deferred" % recipients, lambda: sleeping(server) >= recipients, 1800, 0.5)


def accept_rate(server):
    rate = COUNT / fields.source(server.mx, COUNT, "r@stall.test", True)
    server.queue("remove", "--domain", "stall.test")
    return rate


def first_line_seconds(server):
    """From the command line to the first line of `queue list --limit 10`."""
    began = time.monotonic()
    with asking(server, "list", "--limit", "10") as p:
        if not p.stdout.readline():
            raise AssertionError("nothing is listed")
        return time.monotonic() - began


def summary_seconds(server):
    began = time.monotonic()
    server.queue("summary", "--json")
    return time.monotonic() - began


def asking(server, *arguments, out=subprocess.PIPE):
    return subprocess.Popen([server.veredus, "queue", *arguments, "--config", server.config], stdout=out)


def rate_while_listing(server):
    """accept_rate, while one whole list after the other is told to somebody who reads as fast as he can."""
    over = threading.Event()

    def list_on():
        while not over.is_set():
            with asking(server, "list", "--json", out=subprocess.DEVNULL) as p:
                while p.poll() is None and not over.wait(0.05):
                    pass
                p.kill()
    reader = threading.Thread(target=list_on)
    reader.start()
    try:
        return accept_rate(server)
    finally:
        over.set()
        reader.join()


def restart_seconds(server):
    """From kill -9 of all its processes to the first message that is safe again."""
    fields.crash(server)
    began = time.monotonic()
    server.program = server.world.start(server.name, [server.veredus, "serve", "--config", server.config, "--foreground"])
    while not takes_a_message(server.mx):
        server.give_up()
        if time.monotonic() - began > 600:
            raise AssertionError("no message was accepted within 600 s of a restart")
        time.sleep(0.01)
    return time.monotonic() - began


def takes_a_message(port):
    with contextlib.suppress(OSError, smtplib.SMTPException):
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.sendmail("from@source.test", ["r@stall.test"], "Subject: again\r\n\r\nsafe?\r\n")
            return True
    return False


def at_a_million(empty, deep, recipients):
    return empty + (deep - empty) * MILLION / recipients


class Depth:
    """The measurement, made once for the rows that tell of it."""

    def __init__(self, field):
        options = field.options
        recipients = options.recipients // options.per_message * options.per_message
        domains = {"deferred.test": fields.smtp_to(field.refusing.port)}
        empty, deep = (field.new_server(name, domains, "queue { retry = { 1h } }") for name in ("empty", "deep"))
        fill(deep, recipients, options.per_message)
        rates = {deep: [], empty: []}
        for _ in range(options.rounds):
            for server in rates:
                rates[server].append(accept_rate(server))
        if sleeping(deep) < recipients:
            raise AssertionError("only %d of %d recipients are still deferred" % (sleeping(deep), recipients))
        self.rates = [statistics.median(rates[server]) for server in (deep, empty)]
        memory = [processes.pss_mib(next(iter(server.pids("queue")))) for server in (empty, deep)]  # both have had the same load
        self.listing = [statistics.median(rate_while_listing(deep) for _ in range(options.rounds)), self.rates[0]]
        self.first_line = statistics.median(first_line_seconds(deep) for _ in range(options.rounds))
        self.summary = statistics.median(summary_seconds(deep) for _ in range(options.rounds))
        seconds = [statistics.median(restart_seconds(server) for _ in range(options.rounds)) for server in (empty, deep)]
        self.memory, self.restart = (at_a_million(*pair, recipients) for pair in (memory, seconds))
        self.told = ("%d recipients, %d to a message: %.1f MiB (empty %.1f), restart %.2f s (empty %.2f); for a million in proportion; "
                     "first line of a list %.0f ms, summary %.0f ms"
                     % (recipients, options.per_message, memory[1], memory[0], seconds[1], seconds[0], 1000 * self.first_line, 1000 * self.summary))
        fields.crash(deep)
        fields.crash(empty)
