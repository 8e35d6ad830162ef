"""The material for DKIM and ARC: suites of Mail::DKIM, mail-auth, chasquid, and ValiMail's of ARC. Each case: (id, what disagrees or None)."""
import base64
import json
import os
import re

import yaml

NOW = 1750000000  # well after the material was made


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def crlf(data):
    return re.sub(rb"\r?\n", b"\r\n", data)


def ask(driver, kind, message, dns, **more):
    return driver.ask_all(dict(more, kind=kind, message=base64.b64encode(message).decode("ascii"), dns=dns, now=more.get("now", NOW)))


def verdicts(answer):
    return [s["verdict"] for s in answer]


# ---- Mail::DKIM: a line a record; the result of the whole message ---------------------------------------------------------------------

def mail_dkim_dns(folder):
    dns = {}
    for line in read(folder, "FAKE_DNS.dat").decode("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, value = line.split(None, 1)
        dns[name] = None if value == "NXDOMAIN" else "failed" if value.startswith("~~") else ["" if value == '""' else value]
    return dns


# What may be ours for each of theirs. RFC 8301: rsa-sha1 and keys below 1024 bits are checked, and policy.
MAIL_DKIM = {"pass": {"pass", "policy"}, "fail": {"fail"}, "invalid": {"neutral", "permerror", "temperror"}}


def best(found):
    """The result of a message is that of its best signature."""
    return next((v for v in ("pass", "policy", "fail", "temperror", "permerror", "neutral") if v in found), "none")


def mail_dkim(driver, folder):
    folder = os.path.join(folder, "dkim", "mail-dkim")
    dns = mail_dkim_dns(folder)
    for line in read(folder, "expected.tsv").decode("utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        name, wanted = line.split("\t")[:2]
        answer = ask(driver, "dkim", crlf(read(folder, name)), dns)
        got = best(verdicts(answer))
        told = all(s["reason"] for s in answer if s["verdict"] != "pass")
        good = got in MAIL_DKIM[wanted] and told
        yield "mail-dkim-" + name.replace(".txt", ""), None if good else "got %s, wanted %s" % (answer, wanted)


# ---- mail-auth: records, a blank line, a message whose signatures all hold --------------------------------------------------------------

def mail_auth(driver, folder):
    folder = os.path.join(folder, "dkim", "mail-auth")
    for name in sorted(os.listdir(folder)):
        head, message = re.split(rb"\r?\n\r?\n", read(folder, name), maxsplit=1)
        dns = {}
        for line in head.decode("utf-8").splitlines():
            owner, value = line.split(None, 1)
            dns.setdefault(owner, []).append(value)
        times = [int(t) for t in re.findall(rb"[; \t]t=(\d+)", message.split(b"\n\n")[0])]
        answer = ask(driver, "dkim", crlf(message), dns, now=max(times, default=NOW) + 60)
        good = answer and set(verdicts(answer)) == {"pass"}
        yield "mail-auth-" + name.replace(".txt", ""), None if good else "got %s" % answer


# ---- chasquid: a message, records, and what its verifier said of each signature -----------------------------------------------------------

CHASQUID = {"SUCCESS": {"pass"}, "TEMPFAIL": {"temperror"}, "PERMFAIL": {"fail", "policy", "neutral", "permerror"}}


def chasquid_dns(path):
    dns = {}
    if not os.path.exists(path):
        return dns
    for line in re.sub(r"\\\n", " ", read(path).decode("utf-8")).splitlines():
        if ":" in line:
            name, value = (part.strip() for part in line.split(":", 1))
            dns[name] = "failed" if value == "TEMPERROR" else None if value == "PERMERROR" else [value]
    return dns


def chasquid(driver, folder):
    folder = os.path.join(folder, "dkim", "chasquid")
    for name in sorted(n[:-4] for n in os.listdir(folder) if n.endswith(".msg")):
        path = os.path.join(folder, name)
        result = path + ".result"
        wanted = json.loads(read(result))["Results"] if os.path.exists(result) else []  # without: no message at all
        answer = ask(driver, "dkim", crlf(read(path + ".msg")), chasquid_dns(path + ".dns"), signatures=5)
        wrong = [] if len(answer) == len(wanted) else ["%d signatures" % len(answer)]
        for ours, theirs in zip(answer, wanted):
            if ours["verdict"] not in CHASQUID[theirs["State"]]:
                wrong.append("%s, wanted %s" % (ours, theirs["State"]))
            if theirs["Domain"] and (ours["d"], ours["s"]) != (theirs["Domain"], theirs["Selector"]):
                wrong.append("%s, wanted %s and %s" % (ours, theirs["Domain"], theirs["Selector"]))
            if theirs["B"] and not (len(ours["b"]) >= 8 and theirs["B"].startswith(ours["b"])):
                wrong.append("%s, wanted %s" % (ours["b"], theirs["B"]))
        yield "chasquid-" + name, "; ".join(wrong) or None


# ---- ValiMail's suite of ARC -----------------------------------------------------------------------------------------------------------------

def arc_dns(scenario):
    """The records of the signing suite have line ends in their keys: an artefact of the file."""
    return {name: [re.sub(r"\s*\n\s*", "", value)] for name, value in scenario["txt-records"].items()}


def arc_message(case):
    return crlf(case["message"].encode("utf-8"))


def arc_validate(driver, folder):
    for scenario in yaml.safe_load_all(read(folder, "arc", "validate.yml")):
        for name, case in scenario["tests"].items():
            wanted = (case["cv"] or "fail").lower()  # where the file says nothing, a seal says cv=fail: RFC 8617 §5.2 steps 2 and 3
            if case["cv"] is None or case["cv"] == "None":
                wanted = "none"
            got = ask(driver, "arc", arc_message(case), arc_dns(scenario))
            yield "arc-" + name, None if got["status"] == wanted else "got %s, wanted %s" % (got, wanted)


def tags(body):
    """What a field says, without folding."""
    pairs = (spec.split("=", 1) for spec in body.strip().strip(";").split(";"))
    return {name.strip(): re.sub(r"\s+", "", value) if name.strip() in ("b", "bh", "h") else value.strip() for name, value in pairs}


def unfolded(body):
    return re.sub(r"\s+", " ", body).strip()


def arc_seal(driver, folder):
    for scenario in yaml.safe_load_all(read(folder, "arc", "sign.yml")):
        for name, case in scenario["tests"].items():
            out = ask(driver, "seal", arc_message(case), arc_dns(scenario), now=case["t"], key=scenario["privatekey"], domain=scenario["domain"],
                      selector=scenario["sel"], fields=case["sig-headers"].split(":"), id=case["srv-id"])
            fields = dict(f.split(":", 1) for f in re.split(r"\r\n(?![ \t])", out) if f)
            wrong = []
            for short, long in (("AS", "ARC-Seal"), ("AMS", "ARC-Message-Signature")):
                if tags(fields[long]) != tags(case[short]) if long in fields else case[short].strip():
                    wrong.append("%s: got %s, wanted %s" % (short, fields.get(long), case[short]))
            if unfolded(fields.get("ARC-Authentication-Results", "")) != unfolded(case["AAR"]):
                wrong.append("AAR: got %s, wanted %s" % (fields.get("ARC-Authentication-Results"), case["AAR"]))
            yield "arc-seal-" + name, "; ".join(wrong) or None


MATERIAL = ("dkim/mail-dkim/expected.tsv", "dkim/mail-dkim/FAKE_DNS.dat", "dkim/mail-auth/001.txt", "dkim/chasquid/01-rfc8463.msg", "arc/validate.yml",
            "arc/sign.yml")
SOURCES = (mail_dkim, mail_auth, chasquid, arc_validate, arc_seal)
