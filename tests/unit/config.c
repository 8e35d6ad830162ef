/* config.c - tests of src/config/: reading, every error with its place, values, checks, printing, and the documentation. */
#include "config_tools.h"

#include "io/tls.h"

#define HOST "hostname = \"mail.example.org\" "

/* ---- one wrong thing each ----------------------------------------------------------------------------------------- */

/* A text, and the problems that it has: "line: a part of the message". Nothing else may be found. */
static const struct wrong {
    const char *text;
    const char *found[4];
} wrongs[] = {
    {HOST "domain \"a.test\" { }", {NULL}},
    {HOST "domain \"a.test\" { }\nhostnam = x",
     {"2: unknown key `hostnam` at the top; did you mean `hostname`?"}},
    {HOST "domain \"a.test\" { alises = \"/x\" }",
     {"1: unknown key `alises` in `domain`; did you mean `aliases`?"}},
    {HOST "domain \"a.test\" { }\ndomian \"b.test\" { }",
     {"2: unknown section `domian`; did you mean `domain`?"}},
    {HOST "domain \"a.test\" { }\nmynetworks = { \"::1\" }",
     {"2: it is Postfix's name; here it is `trusted`"}},
    {HOST "domain \"a.test\" { }\nmessage_size = 5M", {"2: expected it in the section `limits`"}},
    {HOST "domain \"a.test\" { }\nlimits { hostname = \"a.b\" }", {"2: expected it outside of all sections"}},
    {"hostname = \"not a name\" domain \"a.test\" { }",
     {"1: `hostname` is \"not a name\"; expected a domain name"}},
    {"hostname = \"short\" domain \"a.test\" { }",
     {"1: warning: the host name is \"short\", without a domain"}},
    {HOST "hostname = \"b.test\" domain \"a.test\" { }",
     {"1: `hostname` is set again; it was set at test.conf:1"}},
    {HOST, {"1: warning: there is no domain"}},
    {HOST "domain \"a.test\" { }\nspool = var",
     {"2: `spool` is \"var\"; expected a path that begins with /"}},
    {HOST "domain \"a.test\" { }\nlimits { message_size = 12X }",
     {"2: `message_size` is \"12X\"; expected a size in bytes, or with K, M or G, from 64K to 4G"}},
    {HOST "domain \"a.test\" { }\nlimits { message_size = 1 }", {"2: from 64K to 4G"}},
    {HOST "domain \"a.test\" { }\nlimits { recipients = 99 }", {"2: a whole number from 100 to 100000"}},
    {HOST "domain \"a.test\" { }\nlimits { recipients = { 100, 200 } }",
     {"2: `recipients` has a list; expected one value"}},
    {HOST "domain \"a.test\" { }\nqueue { segment_size = 2G }", {"2: from 1M to 1G"}},
    {HOST "domain \"a.test\" { }\nqueue { expire = 5 }",
     {"2: `expire` is \"5\"; expected a time with its unit"}},
    {HOST "domain \"a.test\" { }\nqueue { expire = 99999999999999999999d }", {"2: a time with its unit"}},
    {HOST "domain \"a.test\" { }\nqueue { retry = { 5m, 1m } }", {"2: `retry` goes down at \"1m\""}},
    {HOST "domain \"a.test\" { }\nqueue { retry = { 0s } }", {"2: `retry` has \"0s\""}},
    {HOST "domain \"a.test\" { }\nqueue { retry = { 2d } expire = 1d }",
     {"2: the first pause of `retry` is not shorter than `expire`"}},
    {HOST "domain \"a.test\" { }\nqueue { delay_warning = 2d expire = 1d }",
     {"2: warning: `delay_warning` is not before `expire`"}},
    {HOST "domain \"a.test\" { }\nqueue { inline_body = 1M segment_size = 1M }",
     {"2: `inline_body` is more than half of `segment_size`"}},
    {HOST "domain \"a.test\" { }\nsubmission { any_sender = maybe }",
     {"2: `any_sender` is \"maybe\"; expected yes or no"}},
    {HOST "domain \"a.test\" { }\ntrusted = { \"10.0.0.0/33\" }",
     {"2: `trusted` has \"10.0.0.0/33\"; expected a network"}},
    {HOST "domain \"a.test\" { }\ntrusted = { \"0.0.0.0/0\" }", {"2: the whole Internet: an open relay"}},
    {HOST "domain \"a.test\" { }\ntrusted = { \"::/0\" }", {"2: the whole Internet: an open relay"}},
    {HOST "domain \"a.test\" { }\nxclient = { \"0.0.0.0/0\" }", {"2: anybody could say that he is anybody"}},
    {HOST "domain \"a.test\" { }\nxforward = { \"::/0\" }",
     {"2: anybody could write what he wants into the log"}},
    {HOST "domain \"a.test\" { }\nxforward = { filter }",
     {"2: `xforward` has \"filter\"; expected a network"}},
    {HOST "domain \"a.test\" { }\nvrfy = yes", {"2: `vrfy` is \"yes\"; expected nobody, known"}},
    {HOST "domain \"a.test\" { }\nexpn = everybody",
     {"2: `expn` is \"everybody\"; expected nobody or known"}},
    {HOST "domain \"a.test\" { }\nno_soliciting = { ADV, \"1ADV\" }",
     {"2: `no_soliciting` has \"1ADV\"; expected keywords"}},
    {HOST "domain \"a.test\" { }\nno_soliciting = { \"a b\" }", {"2: `no_soliciting` has \"a b\""}},
    {HOST "domain \"a.test\" {\netrn = { \"host.test\" } }",
     {"2: `etrn` has \"host.test\"; expected networks"}},
    {HOST "domain \"a.test\" { etrn = { \"@a.test\" } }", {"1: `etrn` has \"@a.test\""}},
    {HOST "domain \"a.test\" { mx = { \"mx\" } }", {"1: `mx` has \"mx\"; expected host names"}},
    {HOST "domain \"a.test\" { spf_record = \"v=DMARC1\" }",
     {"1: `spf_record` is \"v=DMARC1\"; expected a record such as \"v=spf1 mx -all\""}},
    {HOST "domain \"a.test\" { dmarc_record = \"p=reject\" }",
     {"1: `dmarc_record` is \"p=reject\"; expected a record such as \"v=DMARC1; p=reject;"}},
    {HOST "domain \"a.test\" { tls_reports = { \"tls@a.test\" } }",
     {"1: `tls_reports` has \"tls@a.test\"; expected URIs such as \"mailto:tls@example.org\""}},
    {HOST "domain \"a.test\" { tls_reports = \"mailto:a@a.test,mailto:b@a.test\" }",
     {"1: `tls_reports` has"}},
    {HOST "domain \"a.test\" { mta_sts = yes }",
     {"1: `mta_sts` is \"yes\"; expected none, testing (others report what would fail) or enforce"}},
    {HOST "listen \"192.0.2.1:80\" { role = mta-sts tls = no } domain \"a.test\" { mta_sts = testing }",
     {"1: `tls` is no on an address that others reach"}},
    {HOST "listen \"127.0.0.1:80\" { role = mta-sts tls = no } domain \"a.test\" { }",
     {"1: warning: policies are to be served here, and no domain has one"}},
    {HOST "listen \":443\" { role = mta-sts } domain \"a.test\" { mta_sts = testing } domain \"b.test\" { }",
     {"1: warning: the policy of a.test is served without a certificate for its host"}},
    {HOST "listen \":25\" { tls = yes } domain \"a.test\" { }", {"1: `tls` is for role = mta-sts"}},
    {HOST "listen \":443\" { role = mta-sts proxy = \"127.0.0.1\" } domain \"a.test\" { mta_sts = testing }",
     {"1: `proxy` is for listeners of mail", "1: warning: the policy of a.test is served without"}},
    {HOST "domain \"a.test\" { mta_sts_max_age = 1m }", {"1: `mta_sts_max_age` is \"1m\"; expected a time"}},
    {HOST "domain \"a.test\" { imaps = \"imap.a.test:0\" }",
     {"1: `imaps` is \"imap.a.test:0\"; expected a host name"}},
    {HOST "domain \"a.test\" { }\nlisten \":25\" { proxy = lb.test }",
     {"2: `proxy` has \"lb.test\"; expected a network"}},
    {HOST "domain \"a.test\" { }\nlisten \":25\" { proxy = { \"0.0.0.0/0\" } }",
     {"2: the whole Internet: anybody could say that he is anybody"}},
    {HOST "domain \"a.test\" { }\nlisten \"unix:/run/x\" { proxy = { \"::1\" } }",
     {"2: clients of the UNIX socket unix:/run/x have no address"}},
    {HOST "domain \"a.test\" { }\nlisten \":25\" { bare_lf = { \"127.0.0.1\" } }",
     {"2: `bare_lf` stands on [::]:25, where mail of other servers is taken"}},
    {HOST "domain \"a.test\" { }\nlisten \":587\" { bare_lf = { \"::/0\" } }",
     {"2: the whole Internet: messages could be smuggled", "2: warning: users log in on [::]:587"}},
    {HOST "domain \"a.test\" { }\npostmaster = \"joe\"", {"2: `postmaster` is \"joe\", which is no address"}},
    {HOST "domain \"a.test\" { }\nlisten \"mail.example.org:25\" { }",
     {"2: `listen` has \"mail.example.org:25\"; expected \":25\""}},
    {HOST "domain \"a.test\" { }\nlisten \":25\" { role = relay }", {"2: `role` is \"relay\"; expected mx"}},
    {HOST "domain \"a.test\" { }\nlisten \":25\" { }\nlisten \"*:25\" { }",
     {"3: a second time; it is at test.conf:2"}},
    {HOST "domain \"a.test\" { }\nlisten { }", {"2: `listen` has no name"}},
    {HOST "domain \"a.test\" { }\nlisten \":25\" { client_ca = \"/nonexistent/ca\" }",
     {"2: `client_ca` is for users who log in; expected it with role = submission",
      "2: cannot read the trusted CAs /nonexistent/ca"}},
    {HOST "domain \"a.test\" { }\nauthentication { mechanisms = { PLAIN, \"SCRAM-SHA-512\" } }",
     {"2: `mechanisms` has \"SCRAM-SHA-512\"; expected one of SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS"}},
    {HOST "domain \"a.test\" { }\nauthentication { mechanisms = XOAUTH2 }",
     {"2: nobody could log in: no token can be checked"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" token = \"x\" }",
     {"2: a token without a user; expected user = "}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u token = \"\" }",
     {"2: `token` is empty; expected a text (or token_file)"}},
    {HOST
     "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u token_file = \"/nonexistent/t\" }",
     {"2: cannot read the token file /nonexistent/t"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" tls = may user = u token = x }",
     {"2: the token would go over the network without TLS"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u token = x password = y }",
     {"2: a password and a token are given; expected one of them"}},
    {HOST
     "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u password = y mechanism = XOAUTH2 }",
     {"2: `mechanism` is XOAUTH2, which needs user and token_file (or token); expected them beside it"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" mechanism = external }",
     {"2: `mechanism` is EXTERNAL, which needs tls_certificate and tls_key"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" chunking = always }",
     {"2: `chunking` is \"always\"; expected auto (what is binary), yes"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" mechanism = NTLM }",
     {"2: `mechanism` has \"NTLM\"; expected one of"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" tls_key = \"/nonexistent/k\" }",
     {"2: one of `tls_certificate` and `tls_key` is missing; expected both"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" tls = none tls_certificate = "
          "\"/nonexistent/c\" tls_key = \"/nonexistent/k\" }",
     {"2: cannot read the certificate /nonexistent/c", "2: cannot read the private key /nonexistent/k",
      "2: `tls_certificate` is never shown: `tls` is none"}},
    {HOST "domain \"a.test\" { }\nlimits \"x\" { }", {"2: `limits` has a name; expected `limits { … }`"}},
    {HOST "domain \"a.test\" { }\nlisten \":587\" { }",
     {"2: warning: users log in on [::]:587, but there is no tls section"}},
    {HOST "domain \"a.test\" { }\ntls \"a.test\" { }",
     {"2: `tls` has no certificate", "2: `tls` has no key"}},
    {HOST
     "domain \"a.test\" { }\ntls \"a.test\" { certificate = \"/nonexistent/c\"\nkey = \"/nonexistent/k\" }",
     {"2: cannot read the certificate /nonexistent/c", "3: cannot read the private key /nonexistent/k"}},
    {HOST "domain \"a b\" { }", {"1: `domain` has \"a b\"; expected a domain name"}},
    {HOST "domain \"a.test\" { }\ndomain \"A.TEST\" { }",
     {"2: the domain a.test a second time; it is at test.conf:1"}},
    {HOST "domain \"a.test\" { deliver = \"mbox:/x\" }",
     {"1: `deliver` is \"mbox:/x\": it names no way to deliver; expected"}},
    {HOST "domain \"a.test\" { deliver = mx }",
     {"1: `deliver` is \"mx\": a domain is not delivered like this"}},
    {HOST "domain \"a.test\" { deliver = \"maildir:/m/{locall}\" }",
     {"1: `deliver` has {locall} in its path", "1: the same path for every mailbox"}},
    {HOST "domain \"a.test\" { deliver = \"maildir:m/{local}\" }",
     {"1: expected one that begins with / or {home}"}},
    {HOST "domain \"a.test\" { deliver = \"maildir:{home}/Maildir\" }", {"1: accounts have no home folder"}},
    {HOST "domain \"a.test\" { deliver = \"lmtp:unix:relative\" }",
     {"1: the path of a UNIX socket does not begin with /"}},
    {HOST "domain \"a.test\" { mailboxes = some }", {"1: `mailboxes` is \"some\"; expected accounts"}},
    {HOST "domain \"a.test\" { catch_all = joe@nowhere }", {"1: `catch_all` points nowhere: \"nowhere\""}},
    {HOST "domain \"a.test\" { catch_all = \"@\" }", {"1: `catch_all` is \"@\", which is no address"}},
    {HOST "domain \"a.test\" { catch_all = joe mailboxes = any }", {"1: warning: `catch_all` is never used"}},
    {HOST "domain \"a.test\" { delimiter = \"++\" }", {"1: `delimiter` is \"++\"; expected one character"}},
    {HOST "domain \"a.test\" { sign = perhaps }", {"1: `sign` is \"perhaps\"; expected yes or no"}},
    {HOST "domain \"a.test\" { smtputf8 = perhaps }", {"1: `smtputf8` is \"perhaps\"; expected yes or no"}},
    {HOST "domain \"a.test\" { delimiter = + }",
     {"1: `delimiter` has no value; expected a word or a \"text in quotes\""}},
    {HOST "domain \"a.test\" { owner = \"no-such-user-here\" }",
     {"1: there is no system user \"no-such-user-here\""}},
    {HOST "domain \"a.test\" { aliases = \"/nonexistent/aliases\" }",
     {"1: cannot read the alias file /nonexistent/aliases"}},
    {HOST "domain \"a.test\" { virtual = \"/nonexistent/virtual\" }",
     {"1: cannot read the virtual table /nonexistent/virtual"}},
    {HOST "domain \"a.test\" { }\nroute \"b.test\" { }", {"2: the route b.test goes nowhere"}},
    {HOST "domain \"a.test\" { }\nroute \"*.b.test\" { to = mx }", {"2: `route` has \"*.b.test\"; expected"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = mx }\nroute \"*\" { to = mx }",
     {"3: the route * a second time; it is at test.conf:2"}},
    {HOST "domain \"a.test\" { }\nroute \"a.test\" { to = mx }", {"2: warning: this route is never used"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test:0\" }",
     {"2: the port is not a number from 1 to 65535"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:2001:db8::1\" }",
     {"2: an IPv6 address stands in brackets"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:[x]:25\" }",
     {"2: the text in brackets is not an IP address"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"error:no\" }",
     {"2: the text does not begin with a status"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" tls = strict }",
     {"2: `tls` is \"strict\"; expected may"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtps:h.test\" tls = none }",
     {"2: `tls` turns TLS off for smtps:"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { tls = none to = \"smtps:h.test\" }",
     {"2: `tls` turns TLS off for smtps:"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtps:h.test\" tls = dane }",
     {"2: `tls` wants DANE for smtps:, whose certificate is verified by authorities; expected no `tls`, or "
      "`to` "
      "with smtp:"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u password = p tls = dane }",
     {"2: the password would go over the network without TLS"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { tls = verify to = \"lmtp:unix:/s\" }",
     {"2: `tls` demands TLS on a UNIX socket"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u }",
     {"2: a user without a password"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" password = p }",
     {"2: a password without a user"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u password = p tls = may }",
     {"2: the password would go over the network without TLS"}},
    {HOST "submission { auth_in_clear = yes } domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user "
          "= u password = p tls = none }",
     {"2: warning: the password goes over the network without TLS"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = mx user = u password = p }",
     {"2: `to` names no host to log in at"}},
    {HOST "domain \"a.test\" { }\nroute \"*\" { to = \"smtp:h.test\" user = u password_file = "
          "\"/nonexistent/p\" }",
     {"2: cannot read the password file /nonexistent/p"}},
    {HOST "domain \"a.test\" { }\nsending { source = \"::1\" }",
     {"2: `source` is \"::1\"; expected an IPv4 address"}},
    {HOST "domain \"a.test\" { }\nsending { mx_port = 70000 }",
     {"2: `mx_port` is \"70000\"; expected a whole number from 1 to 65535"}},
    {HOST "domain \"a.test\" { }\nsending { ca_file = \"/nonexistent/ca\" }",
     {"2: cannot read the file of certificate authorities /nonexistent/ca"}},
    {HOST "domain \"a.test\" { }\ndns { servers = { \"dns.test\" } }",
     {"2: `servers` has \"dns.test\"; expected IP addresses"}},
    {HOST "domain \"a.test\" { }\ndns { servers = { \"192.0.2.1\" \"192.0.2.2\" } }",
     {"2: with a comma between two values"}},
    {HOST "domain \"a.test\" { }\nlog { level = loud }", {"2: `level` is \"loud\"; expected debug"}},
    {HOST "domain \"a.test\" { }\nlog { format = \"text\" level }",
     {"2: `level` is not followed by a value"}},
    {HOST "domain \"a.test\" { }\nlog { level = }", {"2: `level` has no value"}},
    {HOST "domain \"a.test\" { }\nlog { level =\nformat = json }", {"2: `level` has no value"}},
    {HOST "domain \"a.test\" { }\nlog { level = info; }", {"2: the value of `level` ends with a `;`"}},
    {HOST "domain \"a.test\" { }\nlog { level = info, format = json }",
     {"2: a comma stands between two settings"}},
    {HOST "domain \"a.test\" { }\n}", {"2: a } closes nothing"}},
    {HOST "domain \"a.test\" { }\nlog { level = info",
     {"2: the section `log` is not closed; expected } before the end"}},
    {HOST "domain \"a.test\" {\nlisten \":25\" { }",
     {"1: the section `domain` is not closed before `listen` begins on line 2"}},
    {HOST "domain \"a.test\" { }\nqueue\nexpire = 1d\n}",
     {"2: `queue` is not followed by a {; expected `queue { … }`", "3: `expire` does not stand at the top",
      "4: a } closes nothing"}},
    {HOST "domain \"a.test\" { }\nroute\n",
     {"2: `route` is not followed by a {; expected `route \"…\" { … }`"}},
    {HOST "domain \"a.test\" { }\nspool \"/x\"",
     {"2: `spool` is not followed by a value; expected `spool = value`"}},
    {HOST "domain \"a.test\" { }\nspool = \"/x\";\nqueue { expire = 1x }",
     {"2: a `;` is not needed here", "3: `expire` is \"1x\""}},
    {HOST "domain \"a.test\" { }\nspool = \"${VEREDUS_NO_SUCH}\"",
     {"2: `spool` names the environment variable VEREDUS_NO_SUCH, which is not set"}},
    {HOST "domain \"a.test\" { }\n\xff = 1", {"2: unknown key `?`"}},
    {HOST "domain \"a.test\" { }\nprocesses { user = \"no-such-user-here\" user_queue = root }",
     {"2: warning: there is no system user \"no-such-user-here\""}},
    {HOST "domain \"a.test\" { }\nlisten \"unix:relative\" { }", {"2: `listen` has \"unix:relative\""}},
    {"hostname = \"192.0.2.1\"\ndomain \"a.test\" { }",
     {"1: `hostname` is \"192.0.2.1\"; expected a domain name"}},
    {HOST "domain \"a.test\" { catch_all = \"@\" }", {"1: `catch_all` is \"@\", which is no address"}},
    {HOST "domain \"a.test\" { catch_all = \"\" }", {"1: the address begins with @"}},
    {HOST "domain \"a.test\" { }\nlog { level = \"info }\nrun = \"/run/x\"",
     {"2: a quoted text is not closed on its line"}},
    {HOST "domain \"a.test\" { }\n/* no end", {"2: a comment begins with /* and does not end"}},
    {HOST "domain \"a.test\" { }\ntrusted = { \"::1\" ", {"2: the list of `trusted` is not closed"}},
    {HOST "domain \"a.test\" { }\ninclude(\"/nonexistent/x\")",
     {"2: cannot read the included file /nonexistent/x: No such file"}},
    {HOST "domain \"a.test\" { }\ninclude(x)", {"2: include is not complete; expected include(\"file\")"}},
    {HOST "domain \"a.test\" { }\nrun = \"/a\" = 5", {"2: `=` is out of place"}},
};

static void each_wrong_thing_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        const struct wrong *w = &wrongs[i];
        struct config_load *l = config_load_text("test.conf", vr_str_from(w->text));
        const struct config_problem *p = l->problems;
        for (size_t k = 0; k < 4 && w->found[k]; k++) {
            const char *colon = strchr(w->found[k], ':');
            bool warning = strncmp(colon, ": warning: ", 11) == 0;
            const char *part = colon + (warning ? 11 : 2);
            bool good = p && p->line == atoi(w->found[k]) && strstr(p->message, part) &&
                        p->warning == warning && strcmp(p->file, "test.conf") == 0;
            if (!good)
                print_error("%s\n--- wanted %s, found:\n%s", w->text, w->found[k], problems_text(l));
            assert_true(good);
            assert_true(warning || l->config == NULL);
            p = p->next;
        }
        if (p)
            print_error("%s\n--- found more:\n%s", w->text, problems_text(l));
        assert_null(p);
        assert_true((l->errors == 0) == (l->config != NULL));
        config_load_free(l);
    }
}

/* ---- many at once, in several files --------------------------------------------------------------------------------- */

static void all_errors_in_one_run(void **state)
{
    (void)state;
    file_write("inner.conf",
               "# a comment\n/* and\n one of several lines */\nbogus = 1\nlog { levl = info\n}\n");
    file_write("middle.conf", "\n\nspool = relative\ninclude(\"inner.conf\")\nrun = relative // comment\n");
    const char *path = file_write("main.conf", "hostnam = \"x\"\n"
                                               "hostname = \"mail.example.org\" # fine\n"
                                               "listen \":25\" { role = mx }\n"
                                               "listen \":26\" { rol = mx } # wrong\n"
                                               "include(\"$/middle.conf\")\n"
                                               "domain \"example.org\" {\n"
                                               "    # a comment with \"quotes and {\n"
                                               "    include(\"inner.conf\")\n"
                                               "    delimiter = \"==\"\n"
                                               "}\n"
                                               "limits {\n"
                                               "    message_size = 5X   recipients = 7\n"
                                               "    errors = many\n"
                                               "}\n"
                                               "queue { retry = { 1m,\n"
                                               "    5m,\n"
                                               "    2m } expire = soon }\n");
    struct config_load *l = config_load_file(path);
    /* inner.conf is included twice: its section cannot stand inside of `domain`, which shows as a domain not closed */
    assert_string_equal(error_places(l), "inner.conf:4 inner.conf:4 inner.conf:5 "
                                         "main.conf:1 main.conf:4 main.conf:6 main.conf:9 main.conf:10 "
                                         "main.conf:12 main.conf:12 main.conf:13 main.conf:15 main.conf:17 "
                                         "middle.conf:3 middle.conf:5 ");
    assert_null(l->config);
    config_load_free(l);
}

static void a_flood_is_counted_but_not_kept(void **state)
{
    (void)state;
    char text[8192] = "hostname = \"mail.example.org\"\n";
    for (int i = 0; i < 150; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "zz%d = %d\n", i, i);
    struct config_load *l = config_load_text("flood.conf", vr_str_from(text));
    unsigned kept = 0;
    for (const struct config_problem *p = l->problems; p; p = p->next)
        kept++;
    assert_int_equal(l->errors, 150);
    assert_int_equal(kept, 100);
    config_load_free(l);
}

static void an_include_that_includes_itself_ends(void **state)
{
    (void)state;
    const char *path = file_write(
        "self.conf", "hostname = \"mail.example.org\"\ninclude(\"self.conf\")\ninclude(\"self.conf\")\n");
    struct config_load *l = config_load_file(path);
    assert_true(l->errors > 0);
    assert_non_null(strstr(problems_text(l), "levels deep; does the file include itself?"));
    config_load_free(l);
}

static void an_unreadable_file_is_one_clear_error(void **state)
{
    (void)state;
    struct config_load *l = config_load_file("/nonexistent/veredus.conf");
    assert_int_equal(l->errors, 1);
    assert_string_equal(l->problems->file, "/nonexistent/veredus.conf");
    assert_non_null(strstr(l->problems->message, "No such file or directory"));
    assert_null(l->config);
    config_load_free(l);
    l = config_load_text("zero.conf", VR_STR("hostname = \"a.b\"\0"));
    assert_int_equal(l->errors, 1);
    config_load_free(l);
}

/* ---- what a good file means -------------------------------------------------------------------------------------------- */

static void the_smallest_file_has_good_defaults(void **state)
{
    (void)state;
    struct config *c = config_of("hostname = \"Mail.Example.ORG\"\ndomain \"Example.org\" { }\n");
    assert_true(vr_str_equal(c->hostname, VR_STR("mail.example.org")));
    assert_int_equal(c->listener_count, 1);
    assert_int_equal(c->listeners[0].address.port, 25);
    assert_int_equal(c->listeners[0].role, LISTENER_MX);
    assert_int_equal(c->domain_count, 1);
    assert_true(vr_str_equal(c->domains[0].name, VR_STR("example.org")));
    assert_true(vr_str_equal(c->domains[0].maildir, VR_STR("/var/lib/veredus/mail/{domain}/{local}")));
    assert_int_equal(c->domains[0].mailboxes, MAILBOXES_ACCOUNTS);
    assert_int_equal(c->domains[0].delimiter, '+');
    assert_int_equal(c->trusted.count, 0);
    assert_int_equal(c->message_size, 50u << 20);
    assert_int_equal(c->recipients, 1000);
    assert_int_equal(c->line_length, 65536);
    assert_int_equal(c->errors, 20);
    assert_int_equal(c->command_timeout, 300000);
    assert_int_equal(c->retry_count, 5);
    assert_int_equal(c->retry[4], 3600000);
    assert_int_equal(c->expire, 5ll * 86400000);
    assert_int_equal(c->delay_warning, 4 * 3600000);
    assert_int_equal(c->inline_body, 65536);
    assert_int_equal(c->concurrency, 20);
    assert_int_equal(c->mx_port, 25);
    assert_true(c->dane && c->mta_sts);
    assert_int_equal(c->mta_sts_port, 443);
    assert_int_equal(c->log_level, EVENT_INFO);
    assert_string_equal(c->spool, "/var/spool/veredus");
    assert_string_equal(c->user_queue, "_veredusq");
    assert_null(c->ca_file);
    assert_null(c->dns_servers);
    assert_false(c->any_sender);
    assert_true(c->mechanisms & SASL_SCRAM_SHA_1_PLUS);
    assert_false(c->mechanisms & SASL_CRAM_MD5);
    config_free(c);
}

static void everything_can_be_set(void **state)
{
    (void)state;
    const char *password = file_write("password", "se\"cret\r\nsecond line\n");
    char text[4096];
    snprintf(text, sizeof text,
             "hostname = mx.test.example postmaster = \"admin@a.test\" spool = \"/q\" state = \"/s\" run = "
             "\"/r\"\n"
             "trusted = { \"10.0.0.0/8\", \"::1\" } trusted += { \"192.0.2.7\" }\n"
             "xclient = \"192.0.2.1\" xforward = { \"192.0.2.2\", \"::1\" } vrfy = everybody expn = known "
             "no_soliciting = \"org.example:ADV\" no_soliciting += { \"X-1\" } "
             "listen \"127.0.0.1:2525\" { role = mx } listen \"[::1]:587\" { bare_lf = { \"127.0.0.1\" } "
             "proxy = { \"192.0.2.0/24\" } proxy "
             "+= { \"2001:db8::1\" } } listen \":4650\" { role = "
             "submissions } listen \":443\" { role = mta-sts } listen \"unix:/run/x\" { }\n"
             "domain a.test { deliver = \"maildir:/m/{domain}/{local}\" catch_all = Joe delimiter = \"\" }\n"
             "domain \"b.test\" { deliver = \"lmtp:unix:/run/dovecot/lmtp\" mailboxes = any etrn = { "
             "\"192.0.2.0/24\", "
             "\"Ann@b.test\" } etrn += { \"::1\" } }\n"
             "domain \"c.test\" { deliver = \"smtp:[192.0.2.1]:2525\" smtputf8 = no sign = no "
             "mx = { \"MX1.c.test\" } mx += \"mx2.c.test\" spf_record = \"v=spf1 -all\" "
             "dmarc_record = \"v=DMARC1; p=reject\" tls_reports = \"https://c.test/t\" "
             "mta_sts = enforce mta_sts_max_age = 1d imaps = \"imap.c.test\" }\n"
             "domain \"d.test\" { deliver = \"lmtp:LMTP.test\" mailboxes = system delimiter = \"-\" }\n"
             "route \"x.test\" { to = \"smtp:[2001:db8::1]\" tls = none chunking = yes }\n"
             "route \".x.test\" { tls = required to = \"smtp:h.test:587\" chunking = \"no\" }\n"
             "route \"*\" { to = \"smtps:smart.test\" user = 'me' password_file = \"%s\" }\n"
             "route \"y.test\" { to = \"smtp:h.test:587\" user = \"me\" password_file = '%s' }\n"
             "route \"e.test\" { to = \"error:5.7.1 we do not write to them\" }\n"
             "route \"d1.test\" { to = mx tls = dane } route \"d2.test\" { to = mx tls = dane-only }\n"
             "limits { message_size = 1G connections_per_address = 3 data_timeout = 90s }\n"
             "submission { any_sender = yes auth_in_clear = on }\n"
             "srs { domain = a.test max_age = 9d }\n"
             "queue { retry = { 10s, 1m } expire = 12h delay_warning = 0 minimum_free = 1G }\n"
             "sending { source = \"192.0.2.9\" source6 = \"2001:db8::9\" command_timeout = 30s "
             "connection_idle = 500ms mx_port = 2525 dane = no mta_sts = no mta_sts_port = 8443 }\n"
             "dns { servers = { \"127.0.0.1@5353\", \"2001:db8::53\" } }\n"
             "reports { dmarc = yes failures = yes tls = yes from = reports organization = \"A & B\" interval = 12h }\n"
             "log { format = json level = debug } processes { receivers = 2 senders = 3 user = mail }\n",
             password, password);
    struct config *c = config_of(text);
    assert_true(vr_str_equal(c->postmaster, VR_STR("admin@a.test")));
    assert_int_equal(c->trusted.count, 3);
    assert_true(c->reports.dmarc && c->reports.failures && c->reports.tls && c->reports.interval == 12 * 3600 * 1000);
    assert_true(vr_str_equal(c->reports.from, VR_STR("reports@mx.test.example")));
    assert_true(vr_str_equal(c->reports.organization, VR_STR("A & B")));
    assert_int_equal(c->trusted.items[2].bits, 32);
    assert_int_equal(c->xclient.count, 1);
    assert_int_equal(c->xforward.count, 2);
    assert_int_equal(c->vrfy, AUDIENCE_EVERYBODY);
    assert_int_equal(c->expn, AUDIENCE_KNOWN);
    assert_true(vr_str_equal(c->no_soliciting, VR_STR("org.example:ADV,X-1")));
    assert_int_equal(c->routes[0].chunking, CHUNKING_YES);
    assert_int_equal(c->routes[1].chunking, CHUNKING_NO);
    assert_int_equal(c->routes[2].chunking, CHUNKING_AUTO);
    assert_true(c->any_etrn);
    assert_int_equal(c->domains[1].etrn.networks.count, 2);
    assert_int_equal(c->domains[1].etrn.account_count, 1);
    assert_true(vr_str_equal(c->domains[1].etrn.accounts[0], VR_STR("ann@b.test")));
    assert_int_equal(c->domains[0].etrn.networks.count, 0);
    assert_int_equal(c->listener_count, 4);
    assert_int_equal(c->web_count, 1); /* behind the others, wherever it was written */
    assert_int_equal(c->listeners[3].address.family, IO_UNIX);
    assert_true(c->listeners[4].role == LISTENER_MTA_STS && c->listeners[4].tls);
    assert_int_equal(c->listeners[1].role, LISTENER_SUBMISSION);
    assert_int_equal(c->listeners[1].proxy.count, 2);
    assert_int_equal(c->listeners[1].bare_lf.count, 1);
    assert_int_equal(c->listeners[0].bare_lf.count, 0);
    assert_int_equal(c->listeners[1].proxy.items[1].bits, 128);
    assert_int_equal(c->listeners[2].role, LISTENER_SUBMISSIONS);
    assert_int_equal(c->listeners[2].proxy.count, 0);
    assert_int_equal(c->listeners[3].address.family, IO_UNIX);
    assert_int_equal(c->listeners[3].line, 3);
    assert_true(vr_str_equal(c->domains[0].catch_all, VR_STR("Joe@a.test")));
    assert_int_equal(c->domains[0].delimiter, 0);
    assert_int_equal(c->domains[1].next_hop.kind, NEXT_HOP_LMTP);
    assert_int_equal(c->domains[1].next_hop.port, 0);
    assert_int_equal(c->domains[1].next_hop.domain, 1);
    assert_true(vr_str_equal(c->domains[1].next_hop.host, VR_STR("/run/dovecot/lmtp")));
    const struct config_published *p = &c->domains[2].publish;
    assert_int_equal(p->mx_count, 2);
    assert_true(vr_str_equal(p->mx[0], VR_STR("mx1.c.test")) && vr_str_equal(p->mx[1], VR_STR("mx2.c.test")));
    assert_true(vr_str_equal(p->spf, VR_STR("v=spf1 -all")) &&
                vr_str_equal(p->dmarc, VR_STR("v=DMARC1; p=reject")));
    assert_true(p->tls_report_count == 1 && vr_str_equal(p->tls_reports[0], VR_STR("https://c.test/t")));
    assert_true(p->mta_sts == MTA_STS_ENFORCE && p->mta_sts_max_age == 86400000);
    assert_true(vr_str_equal(p->imaps_host, VR_STR("imap.c.test")) && p->imaps_port == 993);
    assert_true(c->domains[1].publish.mta_sts == MTA_STS_NONE && c->domains[1].publish.mx_count == 0);
    assert_false(c->domains[2].smtputf8);
    assert_false(c->domains[2].sign);
    assert_true(c->domains[1].sign);
    assert_true(c->domains[1].smtputf8);
    assert_int_equal(c->domains[2].mailboxes, MAILBOXES_ANY);
    assert_true(vr_str_equal(c->domains[2].next_hop.host, VR_STR("192.0.2.1")));
    assert_int_equal(c->domains[2].next_hop.port, 2525);
    assert_true(vr_str_equal(c->domains[3].next_hop.host, VR_STR("lmtp.test")));
    assert_int_equal(c->domains[3].next_hop.port, 24);
    assert_true(vr_str_equal(c->routes[0].next_hop.host, VR_STR("[2001:db8::1]")));
    assert_int_equal(c->routes[0].next_hop.tls, NEXT_HOP_TLS_NONE);
    assert_int_equal(c->routes[1].next_hop.tls, NEXT_HOP_TLS_REQUIRED);
    assert_int_equal(c->routes[2].next_hop.tls, NEXT_HOP_TLS_IMPLICIT);
    assert_int_equal(c->routes[2].next_hop.port, 465);
    assert_int_equal(c->routes[2].next_hop.route, 2);
    assert_true(vr_str_equal(c->routes[2].password, VR_STR("se\"cret")));
    assert_false(c->dane || c->mta_sts);
    assert_int_equal(c->mta_sts_port, 8443);
    assert_int_equal(c->routes[5].next_hop.tls, NEXT_HOP_TLS_DANE);
    assert_int_equal(c->routes[6].next_hop.tls, NEXT_HOP_TLS_DANE_ONLY);
    assert_int_equal(c->routes[3].next_hop.tls,
                     NEXT_HOP_TLS_VERIFY); /* a password wants to know whom it goes to */
    assert_true(vr_str_equal(c->routes[4].next_hop.host, VR_STR("5.7.1 we do not write to them")));
    assert_int_equal(c->message_size, 1u << 30);
    assert_int_equal(c->data_timeout, 90000);
    assert_true(c->any_sender && c->auth_in_clear);
    assert_true(vr_str_equal(c->srs.domain, VR_STR("a.test")));
    assert_null(c->srs.secret_file);
    assert_int_equal(c->srs.max_age, 9 * 86400000);
    assert_int_equal(c->retry_count, 2);
    assert_int_equal(c->delay_warning, 0);
    assert_int_equal(c->source.family, IO_INET);
    assert_int_equal(c->source6.family, IO_INET6);
    assert_int_equal(c->command_timeout_sending, 30000);
    assert_int_equal(c->connection_idle, 500);
    assert_string_equal(c->dns_servers[1], "2001:db8::53");
    assert_null(c->dns_servers[2]);
    assert_int_equal(c->log_format, EVENT_JSON);
    assert_int_equal(c->log_level, EVENT_DEBUG);
    assert_int_equal(c->receivers, 2);
    assert_string_equal(c->user, "mail");

    const char *secret = c->routes[2].password.p;
    config_forget_secrets(c);
    assert_int_equal(secret[0], 0);
    assert_int_equal(c->routes[2].password.n, 0);

    /* what is printed loads again to the same (the password lines are not there, so users go too) */
    c->routes[2].user = c->routes[3].user = vr_str(NULL, 0);
    struct vr_buf once, twice;
    vr_buf_init(&once, 1 << 20);
    vr_buf_init(&twice, 1 << 20);
    assert_true(config_print(c, &once));
    vr_buf_add_byte(&once, '\0');
    struct config *again = config_of(vr_buf_str(&once).p);
    assert_true(config_print(again, &twice));
    vr_buf_add_byte(&twice, '\0');
    assert_string_equal(vr_buf_str(&once).p, vr_buf_str(&twice).p);
    assert_null(strstr(vr_buf_str(&once).p, "cret"));
    vr_buf_fini(&once);
    vr_buf_fini(&twice);
    config_free(again);
    config_free(c);
}

/* Mechanisms, tokens, certificates; and that they are printed but for what is secret. */
static void log_ins_can_be_set(void **state)
{
    (void)state;
    char certificate[300], key[300], text[4096];
    const char *token = file_write("token", "ya29.to-ken~\nnext\n");
    snprintf(certificate, sizeof certificate, "%s", file_write("c", ""));
    snprintf(key, sizeof key, "%s", file_write("k", ""));
    assert_int_equal(io_tls_self_signed("x.test", 1, certificate, key), 0);
    snprintf(text, sizeof text,
             HOST
             "domain a.test { }\n"
             "listen \":465\" { client_ca = \"%s\" } tls \"x.test\" { certificate = \"%s\" key = \"%s\" }\n"
             "route \"t.test\" { to = \"smtp:h.test\" user = u token_file = \"%s\" mechanism = xoauth2 }\n"
             "route \"c.test\" { to = \"smtp:h.test\" tls = verify tls_certificate = \"%s\" tls_key = \"%s\" "
             "mechanism = EXTERNAL }\n"
             "route \"u.test\" { to = \"smtps:h.test\" user = u tls_certificate = \"%s\" tls_key = \"%s\" }\n"
             "authentication { mechanisms = { plain } mechanisms += { \"CRAM-MD5\", LOGIN } }\n",
             certificate, certificate, key, token, certificate, key, certificate, key);
    struct config *c = config_of(text);
    assert_string_equal(c->listeners[0].client_ca, certificate);
    assert_true(vr_str_equal(c->routes[0].token, VR_STR("ya29.to-ken~")));
    assert_true(vr_str_equal(c->routes[0].mechanism, VR_STR("XOAUTH2")));
    assert_int_equal(c->routes[0].next_hop.tls, NEXT_HOP_TLS_VERIFY);
    assert_string_equal(c->routes[1].tls_certificate, certificate);
    assert_string_equal(c->routes[1].tls_key, key);
    assert_true(vr_str_equal(c->routes[2].user, VR_STR("u")));
    assert_int_equal(c->mechanisms, SASL_PLAIN | SASL_LOGIN | SASL_CRAM_MD5);
    struct vr_buf printed;
    vr_buf_init(&printed, 1 << 20);
    assert_true(config_print(c, &printed));
    vr_buf_add_byte(&printed, '\0');
    const char *out = vr_buf_str(&printed).p;
    assert_null(strstr(out, "ya29"));
    assert_non_null(strstr(out, "# the token is not printed"));
    assert_non_null(strstr(out, "mechanism = \"XOAUTH2\""));
    assert_non_null(strstr(out, "mechanisms = { \"PLAIN\", \"LOGIN\", \"CRAM-MD5\" }"));
    assert_non_null(strstr(out, "client_ca = "));
    assert_non_null(strstr(out, "tls_key = "));
    const char *secret = c->routes[0].token.p;
    config_forget_secrets(c);
    assert_int_equal(secret[0], 0);
    assert_int_equal(c->routes[0].token.n, 0);
    vr_buf_fini(&printed);
    config_free(c);
    c = config_of(HOST "domain a.test { } authentication { mechanisms += { \"CRAM-MD5\" } }");
    assert_true(c->mechanisms & SASL_CRAM_MD5 && c->mechanisms & SASL_SCRAM_SHA_256);
    config_free(c);
}

static void variables_of_the_environment_are_put_in(void **state)
{
    (void)state;
    setenv("VEREDUS_TEST_HOST", "env.example.org", 1);
    struct config *c = config_of("hostname = \"${VEREDUS_TEST_HOST}\"\nlog { level = "
                                 "${VEREDUS_TEST_NONE:-error} }\ndomain \"a.test\" { }");
    assert_true(vr_str_equal(c->hostname, VR_STR("env.example.org")));
    assert_int_equal(c->log_level, EVENT_ERROR);
    config_free(c);
    unsetenv("VEREDUS_TEST_HOST");
}

static void open_secrets_are_warned_of(void **state)
{
    (void)state;
    const char *path =
        file_write("open.conf", "hostname = \"mail.example.org\"\ndomain \"a.test\" { }\nroute \"*\" {\nto = "
                                "\"smtps:h.test\"\nuser = u\npassword = p }\n");
    struct config_load *l = config_load_file(path);
    assert_int_equal(l->warnings, 0);
    config_load_free(l);
    chmod(path, 0644);
    l = config_load_file(path);
    assert_int_equal(l->errors, 0);
    assert_int_equal(l->warnings, 1);
    assert_int_equal(l->problems->line, 6);
    assert_non_null(strstr(l->problems->message, "everybody on this machine can read the password"));
    config_load_free(l);
    const char *password = file_write("pw", "secret\n");
    chmod(password, 0644);
    char text[1024];
    snprintf(text, sizeof text,
             HOST
             "domain \"a.test\" { } route \"*\" { to = \"smtps:h.test\" user = u password_file = \"%s\" }",
             password);
    l = config_load_text("test.conf", vr_str_from(text));
    assert_int_equal(l->errors, 0);
    assert_int_equal(l->warnings, 1);
    config_load_free(l);
}

/* ---- the documentation and the examples ------------------------------------------------------------------------------------ */

static char *slurp(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", SOURCE_ROOT, name);
    FILE *f = fopen(path, "r");
    if (!f)
        print_error("cannot open %s\n", path);
    assert_non_null(f);
    static char text[1 << 20];
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

/* Each row of config_keys[] has a heading "#### `section.key`" with its default in the manual, and each such heading a row. */
static void the_manual_and_the_table_agree(void **state)
{
    (void)state;
    char *manual = slurp("docs/configuration.md"), heading[128];
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        snprintf(heading, sizeof heading, "\n#### `%s%s%s`\n", k->section, k->section[0] ? "." : "", k->key);
        const char *entry = strstr(manual, heading);
        if (!entry)
            print_error("docs/configuration.md has no entry%s", heading);
        assert_non_null(entry);
        const char *end = strstr(entry + 1, "\n#");
        char facts[1024];
        snprintf(facts, sizeof facts, "%s · default: %s%s%s", k->unit, k->fallback,
                 k->postfix ? " · Postfix: " : "", k->postfix ? k->postfix : "");
        const char *found = strstr(entry, facts);
        if (!found || (end && found > end))
            print_error("docs/configuration.md: the entry%sdoes not say \"%s\"\n", heading, facts);
        assert_true(found && (!end || found < end));
    }
    size_t headings = 0;
    for (const char *p = manual; (p = strstr(p, "\n#### `")) != NULL; p++)
        headings++;
    assert_int_equal(headings, config_key_count);
}

/* tls sections with the given files, one a line. */
static struct config_load *with_pairs(const char *const pairs[][2], size_t n)
{
    static char text[4096];
    int at = snprintf(text, sizeof text, "hostname = m.test domain \"a.test\" { }\n");
    for (size_t i = 0; i < n; i++)
        at += snprintf(text + at, sizeof text - (size_t)at,
                       "tls \"%s.test\" { certificate = \"%s/%s\" key = \"%s/%s\" }\n", i < 2 ? "m" : "n",
                       tools_folder, pairs[i][0], tools_folder, pairs[i][1]);
    return config_load_text("pairs.conf", vr_str_from(text));
}

static void a_certificate_and_a_key_that_do_not_fit_are_told(void **state)
{
    (void)state;
    static const char *const files[] = {"c.pem", "k.pem", "other.pem", "other-key.pem"};
    static const char *const pairs[][2] = {
        {"c.pem", "k.pem"}, {"other.pem", "other-key.pem"}, {"c.pem", "other-key.pem"}, {"k.pem", "c.pem"}};
    for (size_t i = 0; i < 4; i++)
        file_write(files[i], "");
    assert_int_equal(io_tls_self_signed("m.test", 30, tools_files[0], tools_files[1]), 0);
    assert_int_equal(io_tls_self_signed("m.test", 30, tools_files[2], tools_files[3]), 0);
    struct config_load *l = with_pairs(pairs, 4);
    const char *text = problems_text(l);
    assert_null(strstr(text, "pairs.conf:2:"));
    assert_non_null(strstr(text, "pairs.conf:3: warning: a certificate for m.test a second time"));
    assert_non_null(strstr(text, "pairs.conf:4: cannot use the private key"));
    assert_non_null(strstr(text, "pairs.conf:5: cannot read the certificate chain"));
    assert_int_equal(l->errors, 2);
    assert_null(l->config);
    assert_string_equal(l->run, "/run/veredus"); /* the server may run with what it had: it can be asked */
    config_load_free(l);
}

static unsigned lines_that_say_something(const char *text)
{
    unsigned n = 0;
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (length && text[0] != '#')
            n++;
        text += length + (text[length] == '\n');
    }
    return n;
}

/* Examples name files that only stand on an installed machine: "/etc/" and the like are put into the test's folder. */
static void the_examples_load(void **state)
{
    (void)state;
    static const char *const names[] = {"minimal.conf", "self-hosted.conf", "smarthost.conf",
                                        "lmtp-dovecot.conf", "relay-domain.conf"};
    static const char *const stand_ins[] = {"fullchain.pem", "privkey.pem", "aliases", "virtual",
                                            "smarthost.password"};
    for (size_t i = 0; i < sizeof stand_ins / sizeof stand_ins[0]; i++)
        file_write(stand_ins[i], strcmp(stand_ins[i], "smarthost.password") == 0 ? "secret\n" : "");
    assert_int_equal(io_tls_self_signed("mail.example.org", 30, tools_files[0], tools_files[1]), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[256];
        static char text[65536];
        size_t n = 0;
        snprintf(name, sizeof name, "examples/%s", names[i]);
        for (const char *c = slurp(name); *c && n + 512 < sizeof text;) {
            if (strncmp(c, "\"/etc/", 6) == 0) {
                const char *end = strchr(c + 1, '"'), *base = end;
                while (base[-1] != '/')
                    base--;
                n += (size_t)snprintf(text + n, sizeof text - n, "\"%s/%.*s\"", tools_folder,
                                      (int)(end - base), base);
                c = end + 1;
            } else {
                text[n++] = *c++;
            }
        }
        text[n] = '\0';
        struct config_load *l = config_load_text(names[i], vr_str_from(text));
        if (l->errors || l->warnings)
            print_error("%s", problems_text(l));
        assert_int_equal(l->errors, 0);
        assert_int_equal(l->warnings, 0);
        if (i == 0)
            assert_in_range(lines_that_say_something(text), 1, 9);
        config_load_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wrong_thing_is_told),
        cmocka_unit_test_setup_teardown(all_errors_in_one_run, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_certificate_and_a_key_that_do_not_fit_are_told, folder_make,
                                        folder_remove),
        cmocka_unit_test(a_flood_is_counted_but_not_kept),
        cmocka_unit_test_setup_teardown(an_include_that_includes_itself_ends, folder_make, folder_remove),
        cmocka_unit_test(an_unreadable_file_is_one_clear_error),
        cmocka_unit_test(the_smallest_file_has_good_defaults),
        cmocka_unit_test_setup_teardown(everything_can_be_set, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(log_ins_can_be_set, folder_make, folder_remove),
        cmocka_unit_test(variables_of_the_environment_are_put_in),
        cmocka_unit_test_setup_teardown(open_secrets_are_warned_of, folder_make, folder_remove),
        cmocka_unit_test(the_manual_and_the_table_agree),
        cmocka_unit_test_setup_teardown(the_examples_load, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
