"""SPF beside others: veredus' library, spfquery (libspf2) and pyspf, over the same zones of a name server, say the same."""
import base64
import os
import shutil
import subprocess

from harness import Skip, case, nsd
from test_auth_peers import HERE, Program, ask

ZONE = """
plain     TXT "v=spf1 ip4:192.0.2.0/28 ip6:2001:db8::/48 -all"
soft      TXT "v=spf1 a:hosts.spf.test ~all"
hosts     A 192.0.2.10
hosts     A 192.0.2.11
hosts     AAAA 2001:db8:1::10
open      TXT "v=spf1 ?all"
mx        TXT "v=spf1 mx/28 -all"
mx        MX 10 hosts
mx        MX 20 second
second    A 198.51.100.17
includes  TXT "v=spf1 include:plain.spf.test ?include:soft.spf.test -all"
redirects TXT "v=spf1 redirect=plain.spf.test"
nowhere   TXT "v=spf1 include:missing.spf.test -all"
lost      TXT "v=spf1 redirect=missing.spf.test"
twice     TXT "v=spf1 -all"
twice     TXT "v=spf1 +all"
wrong     TXT "v=spf1 ipv4:192.0.2.1 -all"
late      TXT "v=spf1 +all foo"
nothing   TXT "some other text"
cut       TXT "v=spf1 ip4:192.0.2.1" "0 -all"
macro     TXT "v=spf1 exists:%{l}.%{ir}.%{v}.users.spf.test -all"
ann.1.2.0.192.in-addr.users A 127.0.0.2
split     TXT "v=spf1 exists:%{l1r+-}.%{d2}.only.spf.test -all"
ann.spf.test.only A 127.0.0.2
ptr       TXT "v=spf1 ptr:spf.test -all"
loop      TXT "v=spf1 include:loop.spf.test -all"
voids     TXT "v=spf1 a:no1.spf.test a:no2.spf.test a:no3.spf.test ip4:192.0.2.1 -all"
void2     TXT "v=spf1 a:no1.spf.test a:no2.spf.test ip4:192.0.2.1 -all"
why       TXT "v=spf1 -all exp=text.spf.test"
text      TXT "%{i} may not send for %{d}: ask %{l}"
alias     CNAME plain
broken    TXT "v=spf1 include:x.dead.test -all"
host      A 192.0.2.1
"""
REVERSE = """
1  PTR host.spf.test.
9  PTR liar.spf.test.
"""

# sender's domain, client, verdict
TABLE = [
    ("plain", "192.0.2.1", "pass"), ("plain", "192.0.2.16", "fail"), ("plain", "2001:db8::7", "pass"), ("plain", "2001:db8:1::7", "fail"),
    ("soft", "192.0.2.11", "pass"), ("soft", "192.0.2.12", "softfail"), ("soft", "2001:db8:1::10", "pass"), ("open", "192.0.2.1", "neutral"),
    ("mx", "192.0.2.12", "pass"), ("mx", "198.51.100.30", "pass"), ("mx", "198.51.100.32", "fail"), ("includes", "192.0.2.1", "pass"),
    ("includes", "198.51.100.1", "fail"), ("includes", "2001:db8:1::10", "neutral"), ("redirects", "192.0.2.2", "pass"), ("redirects", "192.0.2.99", "fail"),
    ("nowhere", "192.0.2.1", "permerror"), ("lost", "192.0.2.1", "permerror"), ("twice", "192.0.2.1", "permerror"), ("wrong", "192.0.2.1", "permerror"),
    ("late", "192.0.2.1", "permerror"), ("nothing", "192.0.2.1", "none"), ("missing", "192.0.2.1", "none"), ("cut", "192.0.2.10", "pass"),
    ("cut", "192.0.2.1", "fail"), ("macro", "192.0.2.1", "pass"), ("macro", "192.0.2.2", "fail"), ("split", "192.0.2.99", "pass"),
    ("ptr", "192.0.2.1", "pass"), ("ptr", "192.0.2.2", "fail"), ("loop", "192.0.2.1", "permerror"), ("voids", "192.0.2.1", "permerror"),
    ("void2", "192.0.2.1", "pass"), ("why", "192.0.2.1", "fail"), ("alias", "192.0.2.1", "pass"), ("alias", "192.0.2.99", "fail"),
    ("broken", "192.0.2.1", "temperror"),
]

# What others say that RFC 7208 does not.
OTHERS = {
    "spfquery": {("split", "192.0.2.99"): "fail",   # libspf2 makes nothing of %{l1r} of a single part (RFC 7208 §7.3)
                 ("voids", "192.0.2.1"): "pass"},   # libspf2 has no limit of look-ups in vain (§4.6.4)
    "pyspf": {},
}
ZONES = {"spf.test": ZONE, "2.0.192.in-addr.arpa": REVERSE}


def records():
    """The zones as the library's driver takes them."""
    table = {}
    for origin, text in ZONES.items():
        for line in filter(None, text.splitlines()):
            name, kind, data = line.split(None, 2)
            table.setdefault("%s.%s" % (name.lower(), origin), {}).setdefault(kind, []).append(value_of(kind, data, origin))
    for owned in table.values():
        if "CNAME" in owned:
            owned.update({k: v for k, v in table[owned["CNAME"][0]].items() if k != "CNAME"})
    table["x.dead.test"] = {"TXT": "failed"}  # nobody answers for it
    return table


def value_of(kind, data, origin):
    if kind == "TXT":
        return base64.b64encode("".join(data.split('"')[1::2]).encode()).decode("ascii")
    if kind == "MX":
        preference, host = data.split()
        return [int(preference), "%s.%s" % (host, origin)]
    if kind == "CNAME":
        return "%s.%s" % (data, origin)
    return data.rstrip(".")


def ours(zone, domain, client):
    return ask(kind="spf", client=client, helo="helo.test", sender="ann@%s.spf.test" % domain, zone=zone, receiver="mx.test")


def agree(name, said):
    wrong = []
    for domain, client, wanted in TABLE:
        got = said(domain, client)
        if got != OTHERS[name].get((domain, client), wanted):
            wrong.append((domain, client, got, wanted))
    assert not wrong, wrong


@case
def the_library(world):
    """The table is what the library says, with a reason for each; the explanation is what the owner wrote."""
    zone = records()
    for domain, client, wanted in TABLE:
        got = ours(zone, domain, client)
        assert got["verdict"] == wanted and got["reason"], (domain, client, got)
    assert ours(zone, "why", "192.0.2.1")["explanation"] == "192.0.2.1 may not send for why.spf.test: ask ann"


@case
def pyspf_agrees(world):
    """pyspf, asking the name server."""
    peer = Program.named("/usr/bin/python3", os.path.join(HERE, "spf_pyspf.py"), str(nsd(world, ZONES)))
    agree("pyspf", lambda domain, client: peer.ask({"sender": "ann@%s.spf.test" % domain, "client": client, "helo": "helo.test"}))


@case
def spfquery_agrees(world):
    """spfquery asks port 53 of the server in /etc/resolv.conf: both are made for it in namespaces of its own."""
    program = shutil.which("spfquery")
    if program is None or shutil.which("unshare") is None or os.geteuid() != 0:
        raise Skip("it needs spfquery, unshare and root")
    nsd(world, ZONES)  # writes the zones
    with open(world.path("nsd.conf")) as f:
        text = f.read()
    port53 = world.write("nsd53.conf", text.replace(text.split("ip-address: ")[1].split("\n")[0], "127.0.0.1@53"))
    resolv = world.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n")
    script = world.write("ask.sh", """
set -e
python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH22x", b"lo", 0x49))'  # lo up
mount --bind %s /etc/resolv.conf
%s -d -c %s &
trap "kill $!" EXIT
for i in 1 2 3 4 5 6 7 8 9 10; do
    %s -ip 192.0.2.1 -sender ann@open.spf.test | head -n 1 | grep -q neutral && break
    sleep 0.3
done
while read -r domain client; do
    echo "$domain $client $(%s -ip "$client" -sender "ann@$domain.spf.test" -helo helo.test | sed '/^StartError/,/^EndError/d' | head -n 1)"
done
""" % (resolv, shutil.which("nsd", path="/usr/sbin:/usr/bin"), port53, program, program))
    done = subprocess.run(["unshare", "--net", "--mount", "sh", script], input="".join("%s %s\n" % row[:2] for row in TABLE), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=300)
    if "Operation not permitted" in done.stderr:
        raise Skip("namespaces cannot be made here")
    answers = {tuple(line.split()[:2]): line.split()[2].replace("(invalid)", "permerror") for line in done.stdout.splitlines() if len(line.split()) == 3}
    assert len(answers) == len(TABLE), (done.stdout, done.stderr)
    agree("spfquery", lambda domain, client: answers[domain, client])
