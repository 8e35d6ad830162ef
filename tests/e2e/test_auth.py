"""Logging in with programs of others: GNU SASL, swaks, Python's smtplib; each mechanism, by STARTTLS and by TLS from the first byte."""
import base64
import shutil
import smtplib

from harness import PASSWORD, Skip, case, run


def gsasl(server, mechanism, *arguments, password=PASSWORD, user="ann@d.test", port=None):
    """GNU SASL's client logs in by STARTTLS and quits; what it printed, and its exit code."""
    if not shutil.which("gsasl"):
        raise Skip("gsasl is not installed")
    return run("gsasl", "--smtp", "--connect=%s:%d" % (server.host, port or server.submission), "--hostname=%s" % server.hostname, "--service=smtp",
               "--x509-ca-file=", "--mechanism=" + mechanism, "--authentication-id=" + user, "--password=" + password, *arguments, ok=False,
               input="")


@case
def gsasl_logs_in(world):
    """SCRAM-SHA-1 and -256, with and without channel binding, PLAIN, LOGIN and CRAM-MD5 of GNU SASL: the right password alone lets in."""
    s = world.server(start=False, extra='authentication { mechanisms += { "CRAM-MD5" } }')
    s.add_account("ann@d.test")
    s.start()
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "PLAIN", "LOGIN", "CRAM-MD5"):
        # what has a channel binding and is not asked for it, GNU SASL does not go on with
        binding = () if mechanism.endswith("-PLUS") else ("--no-cb",)
        good = gsasl(s, mechanism, *binding)
        assert "235 2.7.0" in good.stdout and good.returncode == 0, (mechanism, good.stdout)
    for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "PLAIN"):
        binding = () if mechanism.endswith("-PLUS") else ("--no-cb",)
        wrong = gsasl(s, mechanism, *binding, password="wrong")
        nobody = gsasl(s, mechanism, *binding, user="nobody@d.test")
        for refused in (wrong, nobody):
            assert "235 " not in refused.stdout and "535 5.7.8" in refused.stdout, (mechanism, refused.stdout)
    assert {e["mechanism"] for e in s.events("auth.ok")} >= {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"}


@case
def channel_binding_is_not_stripped(world):
    """A client that could bind to the channel, and was shown no -PLUS by somebody in the middle, says so and is refused (RFC 5802 §6)."""
    s = world.server(accounts=["ann@d.test"])
    with smtplib.SMTP(s.host, s.submission) as c:
        c.starttls(context=s.tls_context())
        c.ehlo()
        assert "SCRAM-SHA-256-PLUS" in c.esmtp_features["auth"], c.esmtp_features
        code, text = c.docmd("AUTH", "SCRAM-SHA-256 " + base64.b64encode(b"y,,n=ann@d.test,r=abcdefghijklmnop").decode())
        if code == 334:
            code, text = c.docmd(base64.b64encode(b"c=eSws,r=x,p=AAAA").decode())
        assert code in (501, 535), (code, text)


@case
def smtplib_mechanisms(world):
    """smtplib's own PLAIN, LOGIN and CRAM-MD5, the last one only where it is named; what is offered in clear is nothing."""
    s = world.server(start=False, extra='authentication { mechanisms += { "CRAM-MD5" } }')
    s.add_account("ann@d.test")
    s.start()
    with smtplib.SMTP(s.host, s.submission) as c:
        c.ehlo()
        assert "auth" not in c.esmtp_features, c.esmtp_features
        assert c.docmd("AUTH", "PLAIN AGE=")[0] == 538
    for mechanism in ("auth_plain", "auth_login"):
        for implicit in (False, True):
            c = smtplib.SMTP_SSL(s.host, s.submissions, context=s.tls_context()) if implicit else smtplib.SMTP(s.host, s.submission)
            with c:
                if not implicit:
                    c.starttls(context=s.tls_context())
                c.ehlo()
                c.user, c.password = "ann@d.test", PASSWORD
                code, text = c.auth(mechanism[5:].upper(), getattr(c, mechanism))
                assert code == 235, (mechanism, text)
                assert c.docmd("AUTH", "PLAIN AGE=")[0] == 503
                assert c.mail("ann@d.test")[0] == 250
                assert c.docmd("AUTH", "PLAIN AGE=")[0] == 503
    with smtplib.SMTP_SSL(s.host, s.submissions, context=s.tls_context()) as c:
        c.ehlo()
        assert c.docmd("AUTH", "PLAIN")[0] == 334 and c.docmd("*")[0] == 501
        assert c.docmd("AUTH", "LOGIN")[0] == 334 and c.docmd("!")[0] == 501
        assert c.docmd("AUTH", "NTLM")[0] == 504
        assert c.login("ann@d.test", PASSWORD)[0] == 235


@case
def external(world):
    """EXTERNAL: a client certificate of our authority that names an account logs in, any other does not, and neither is it offered."""
    ca, ca_key, key, cert, other = (world.path(n) for n in ("ca.pem", "ca.key", "ann.key", "ann.pem", "joe.pem"))
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key, "-out", ca, "-subj", "/CN=test CA", "-days", "2")
    for name, out in (("ann@d.test", cert), ("joe@d.test", other)):
        extensions = world.write("ext", "subjectAltName=email:%s\nextendedKeyUsage=clientAuth\n" % name)
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key + name, "-out", world.path("csr"), "-subj", "/CN=" + name)
        run("openssl", "x509", "-req", "-in", world.path("csr"), "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", out, "-days", "2", "-extfile", extensions)
    s = world.server(start=False)
    s.config = world.write("veredus.conf", open(s.config).read().replace("{ role = submissions }", '{ role = submissions\n client_ca = "%s" }' % ca))
    s.add_account("ann@d.test")
    s.start()
    for certificate, name, good in ((cert, "ann@d.test", True), (other, "joe@d.test", False)):
        context = s.tls_context()
        context.load_cert_chain(certificate, key + name)
        with smtplib.SMTP_SSL(s.host, s.submissions, context=context) as c:
            c.ehlo()
            assert ("EXTERNAL" in c.esmtp_features["auth"].split()) == good, (name, c.esmtp_features)
            code, text = c.docmd("AUTH", "EXTERNAL =")
            assert code == (235 if good else 504), (name, code, text)
            assert (c.mail("ann@d.test")[0] == 250) == good
    with smtplib.SMTP_SSL(s.host, s.submissions, context=s.tls_context()) as c:
        c.ehlo()
        assert "EXTERNAL" not in c.esmtp_features["auth"].split() and c.login("ann@d.test", PASSWORD)[0] == 235
