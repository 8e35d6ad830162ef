#!/usr/bin/python3
"""dkimpy for test_auth_peers.py: a JSON question a line on standard input, the answer a line on standard output. Debian's package is for Debian's python3, which may not be
the one that runs the tests.

{"do": "verify" | "arc-verify" | "sign" | "arc-sign", "message": BASE64, "dns": {name: record}, "key": …, "domain": …, "selector": …, "canon": "relaxed/simple",
 "algorithm": …, "id": …}
"""
import base64
import json
import sys

import dkim


class Question:
    def __init__(self, line):
        self.asked = json.loads(line)
        self.message = base64.b64decode(self.asked["message"])

    def text(self, name):
        return self.asked[name].encode("ascii")

    def dns(self, name, timeout=5):
        record = self.asked["dns"].get(name.decode("ascii").rstrip("."))
        return record.encode("ascii") if record else None

    def verifies(self, index):
        try:
            return bool(dkim.DKIM(self.message).verify(idx=index, dnsfunc=self.dns))
        except dkim.ValidationError:
            return False

    def verify(self):
        return [self.verifies(i) for i in range(self.message.lower().count(b"dkim-signature:"))]

    def arc_verify(self):
        status, results, reason = dkim.arc_verify(self.message, dnsfunc=self.dns)
        return {"status": (status or b"none").decode("ascii"), "reason": str(reason)}

    def sign(self):
        return dkim.sign(self.message, self.text("selector"), self.text("domain"), self.text("key"), canonicalize=tuple(self.text("canon").split(b"/")),
                         signature_algorithm=self.text("algorithm")).decode("ascii")

    def arc_sign(self):
        return b"".join(dkim.arc_sign(self.message, self.text("selector"), self.text("domain"), self.text("key"), self.text("id"))).decode("ascii")


for line in sys.stdin:
    question = Question(line)
    print(json.dumps(getattr(question, question.asked["do"].replace("-", "_"))()), flush=True)
