"""Runs in network and mount namespaces of its own, for test_dane_postfix.py: the name server of the test, a validating resolver on port 53, mail exchangers
at the same addresses as outside, and posttls-finger for each domain. Takes a JSON object on its input, and prints {domain: what posttls-finger said}."""
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys

from harness import World, dns_answers, run, wait_until
from test_transport import Mx

UNBOUND = """
server:
  interface: 127.0.0.1
  port: 53
  username: ""
  chroot: ""
  directory: "%(folder)s"
  pidfile: ""
  use-syslog: no
  do-ip6: no
  do-not-query-localhost: no
  local-zone: "test." nodefault
  module-config: "validator iterator"
  trust-anchor-file: "%(anchors)s"
remote-control:
  control-enable: no
"""


def sbin(name):
    return shutil.which(name, path="/usr/sbin:/usr/bin")


def finger(world, level, destination, ca):
    """What it says (-v: also of records that there are not). Its exit status tells nothing: it made its connection, whatever that is worth."""
    return run(sbin("posttls-finger"), "-v", "-c", "-l", level, "-F", ca, "-t", "10", "-T", "10", destination, ok=False, stdin=subprocess.DEVNULL,
               env=dict(os.environ, MAIL_CONFIG=world.path("postfix"))).stdout


def main():
    asked = json.load(sys.stdin)
    fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH22x", b"lo", 0x49))  # lo up
    world = World("posttls-finger")
    try:
        resolv = world.write("resolv.conf", "nameserver 127.0.0.1\noptions trust-ad timeout:5 attempts:2\n")
        subprocess.run(["mount", "--bind", resolv, "/etc/resolv.conf"], check=True)
        # Where an answer is not vouched for, it looks whether any ever is: at the root, which there is not here, or at a zone that is signed.
        world.write("postfix/main.cf", "compatibility_level = 3.6\ndnssec_probe = ns:signed.test\nmyhostname = finger.test\ninet_protocols = ipv4\n")
        for address, pair in asked["pairs"].items():
            Mx(world, address, asked["port"], pair)
        world.start("nsd", [sbin("nsd"), "-d", "-c", asked["nsd"]])
        wait_until("nsd answers", lambda: dns_answers(asked["zone_port"]), 15)
        stubs = "".join('stub-zone:\n  name: "%s."\n  stub-addr: 127.0.0.1@%d\n' % (zone, asked["zone_port"]) for zone in asked["zones"])
        config = world.write("unbound.conf", UNBOUND % {"folder": world.folder, "anchors": asked["anchors"]} + stubs)
        world.start("unbound", [sbin("unbound"), "-d", "-c", config])
        wait_until("unbound answers", lambda: dns_answers(53), 15)
        said = {domain: finger(world, level, "%s:%d" % (domain, asked["port"]), asked["ca"]) for domain, level in asked["domains"].items()}
        json.dump(said, sys.stdout)
    finally:
        world.end()
        world.remove()


if __name__ == "__main__":
    main()
