"""Dead destinations beside a healthy one: how long a message to the healthy one takes, from its last byte to the next hop's hands, against alone.

A dead destination is a domain with a route of its own to an address of its own in 127.0.0.0/8. Two kinds of death: the connection is refused, or
nobody answers at all (a listener whose backlog is full, so the kernel drops what comes). The mail for them stays in the queue and is tried again and
again while the healthy one is measured.
"""
import contextlib
import itertools
import smtplib
import socket
import statistics
import threading
import time

import field as fields
import harness

FILLERS = 10    # connections
PROBES = 100    # messages to the healthy destination
PACE = 0.02     # seconds between them
PATIENCE = 10   # seconds after the last one; what has not arrived then counts with the time that it has waited


class Silent:
    """A port on every loopback address whose backlog is full: who connects hears nothing."""

    def __init__(self, world):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        self.socket.bind(("", 0))
        self.socket.listen(0)
        self.port = self.socket.getsockname()[1]
        self.callers = [socket.socket() for _ in range(4)]
        for caller in self.callers:
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                caller.connect(("127.0.0.1", self.port))
            world.cleanups.append(caller.close)
        world.cleanups.append(self.socket.close)
        with contextlib.suppress(TimeoutError, socket.timeout):
            socket.create_connection(("127.1.0.1", self.port), 0.5).close()
            raise AssertionError("a connection to a full backlog was answered; the row cannot be measured here")


class Arrivals:
    """In the place of a Sink's list of messages: notes when each came, by its token."""

    def __init__(self):
        self.times = {}

    def append(self, message):
        now = time.monotonic()
        token = message[2].split(b"Subject: ", 1)[1].split(b"\r\n", 1)[0]
        self.times.setdefault(int(token), now)


def fill(port, count, per_destination):
    """A message for each of `count` dead domains, `per_destination` times over, by several connections."""
    addresses = ("r@d%d.dead.test" % i for _, i in itertools.product(range(per_destination), range(count)))
    lock, faults = threading.Lock(), []

    def next_address():
        with lock:
            return next(addresses, None)

    def connection():
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as s, s.makefile("rb") as replies:
                def expect(code):
                    line = replies.readline()
                    while line[3:4] == b"-":
                        line = replies.readline()
                    if not line.startswith(code):
                        raise AssertionError("expected %s, got %r" % (code.decode(), line))
                expect(b"220")
                s.sendall(b"EHLO filler.test\r\n")
                expect(b"250")
                for to in iter(next_address, None):
                    s.sendall(b"MAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n" % to.encode())
                    for code in (b"250", b"250", b"354"):
                        expect(code)
                    s.sendall(b"Subject: for nobody\r\n\r\nIs anybody there?\r\n.\r\n")
                    expect(b"250")
        except (OSError, AssertionError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=connection) for _ in range(FILLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def latency_ms(port, arrivals, first):
    """The median over PROBES messages to the healthy destination, whose tokens begin with `first`."""
    sent = {}
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        for token in range(first, first + PROBES):
            client.mail("from@source.test")
            client.rcpt("r@healthy.test")
            sent[token] = time.monotonic()
            code, reply = client.data("Subject: %d\r\n\r\nHow long do I take?\r\n" % token)
            if code != 250:
                raise AssertionError("a message was refused: %d %s" % (code, reply))
            time.sleep(PACE)
    end = time.monotonic() + PATIENCE
    while any(token not in arrivals.times for token in sent) and time.monotonic() < end:
        time.sleep(0.02)
    now = time.monotonic()
    return 1000 * statistics.median(arrivals.times.get(token, now) - began for token, began in sent.items())


def measure(field, death):
    """(latency beside the dead, latency alone), in milliseconds."""
    count, per_destination = field.options.dead
    grave = death(field.world)
    sink = harness.Sink(field.world)
    sink.messages = Arrivals()
    routes = "".join('route "d%d.dead.test" { to = "smtp:127.%d.%d.%d:%d" }\n' % (i, 1 + (i >> 16), i >> 8 & 255, i & 255, grave.port)
                     for i in range(count))
    # Few messages tried every second keep it as busy as many that are tried every minute, as by default.
    retry = "" if field.options.full else "queue { retry = { 1s } }\n"
    server = field.new_server("beside-" + death.__name__.lower(), {"healthy.test": fields.smtp_to(sink.port)}, retry + routes,
                              head='trusted = { "127.0.0.1" }')
    alone = latency_ms(server.mx, sink.messages, 0)
    fill(server.mx, count, per_destination)
    beside = latency_ms(server.mx, sink.messages, PROBES)
    fields.crash(server)
    return beside, alone


def describe(options):
    return "%d dead destinations with %d messages each" % options.dead
