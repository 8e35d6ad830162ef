"""The public suffix list's own cases: registrable domains, as RFC 7489's organisational domains. Each case: (id, what disagrees or None)."""
import os
import re

MATERIAL = ("psl/test_psl.txt",)


def ascii_of(name):
    return name.lower().encode("idna").decode("ascii")


def public_suffix(driver, folder):
    with open(os.path.join(folder, "psl", "test_psl.txt"), encoding="utf-8") as f:
        cases = re.findall(r"^checkPublicSuffix\((null|'[^']*'), (null|'[^']*')\);", f.read(), re.M)
    for name, wanted in cases:
        name, wanted = name.strip("'"), None if wanted == "null" else ascii_of(wanted.strip("'"))
        got = driver.ask("registrable", "" if name == "null" else name)
        yield "psl-%s" % name, None if got == wanted else "got %r, wanted %r" % (got, wanted)


SOURCES = (public_suffix,)
