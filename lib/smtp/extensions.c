/* extensions.c - the one table of SMTP extensions: the EHLO reply, the readers of parameters, the client's reading of EHLO and the table in
 * docs/extensions.md come from here.
 *
 * Tests: tests/unit/smtp_params.c (the table against the readers), tests/checks/run.py (the documentation)
 */
#include <veredus/smtp.h>

#define MX         SMTP_WHERE_MX
#define SUBMISSION SMTP_WHERE_SUBMISSION
#define LMTP       SMTP_WHERE_LMTP
#define ALL        (MX | SUBMISSION | LMTP)

const struct smtp_extension_row smtp_extensions[] = {
    {SMTP_EXT_PIPELINING, "PIPELINING", "RFC 2920", "several commands in one packet", "", "", "", ALL,
     "MAIL, RCPT and DATA leave together", "transcripts/server/pipelining.txt"},
    {SMTP_EXT_SIZE, "SIZE", "RFC 1870", "the size of a message is declared and bounded", "SIZE", "", "", ALL,
     "tells the size, and keeps to the limit", "transcripts/server/size.txt"},
    {SMTP_EXT_8BITMIME, "8BITMIME", "RFC 6152", "bodies with 8-bit bytes", "BODY", "", "", ALL,
     "tells of 8-bit bodies; converts them where it is not offered", "transcripts/server/body.txt"},
    {SMTP_EXT_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES", "RFC 2034", "replies carry a status such as 5.1.1",
     "", "", "", ALL, "reads them", "transcripts/server/hello-ehlo.txt"},
    {SMTP_EXT_DSN, "DSN", "RFC 3461", "delivery status notifications as asked for", "RET ENVID",
     "NOTIFY ORCPT", "", ALL, "passes on what was asked; reports \"relayed\" where it is not offered",
     "transcripts/server/dsn.txt"},
    {SMTP_EXT_MT_PRIORITY, "MT-PRIORITY", "RFC 6710", "what is urgent goes first, what is not waits",
     "MT-PRIORITY", "", "", ALL, "passes it on", "transcripts/server/mt-priority.txt"},
    {SMTP_EXT_CHUNKING, "CHUNKING", "RFC 3030", "messages in counted pieces instead of dotted lines", "", "",
     "BDAT", ALL, "sends binary mail by BDAT, all mail where a route says so", "transcripts/server/bdat.txt"},
    {SMTP_EXT_BINARYMIME, "BINARYMIME", "RFC 3030", "bodies with any bytes and no lines", "BODY", "", "", ALL,
     "passes them on; converts them where it is not offered", "transcripts/server/bdat-binary.txt"},
    {SMTP_EXT_SMTPUTF8, "SMTPUTF8", "RFC 6531", "addresses and header fields in UTF-8", "SMTPUTF8", "", "",
     ALL,
     "says it where it is needed; where it is not offered, domains go in A-labels, and what has no such form "
     "is returned",
     "transcripts/server/smtputf8.txt"},
    {SMTP_EXT_DELIVERBY, "DELIVERBY", "RFC 2852", "mail that is worth nothing after a time", "BY", "", "",
     ALL, "passes on the time that is left", "transcripts/server/deliverby.txt"},
    {SMTP_EXT_FUTURERELEASE, "FUTURERELEASE", "RFC 4865", "mail that leaves at a later time",
     "HOLDFOR HOLDUNTIL", "", "", SUBMISSION, "", "transcripts/server/futurerelease.txt"},
    {SMTP_EXT_REQUIRETLS, "REQUIRETLS", "RFC 8689", "mail that travels only over verified TLS", "REQUIRETLS",
     "", "", MX | SUBMISSION | SMTP_WHERE_TLS, "passes it on; returns the message where it is not offered",
     "transcripts/server/requiretls.txt"},
    {SMTP_EXT_LIMITS, "LIMITS", "RFC 9422", "limits are told before they are met", "", "", "", ALL,
     "keeps to them", "transcripts/server/limits.txt"},
    {SMTP_EXT_RRVS, "RRVS", "RFC 7293", "mail only for who had the mailbox at a time", "", "RRVS", "", ALL,
     "passes it on", "transcripts/server/rrvs.txt"},
    {SMTP_EXT_NO_SOLICITING, "NO-SOLICITING", "RFC 3865", "which solicitations are not wanted", "SOLICIT", "",
     "", MX, "passes it on", "transcripts/server/no-soliciting.txt"},
    {SMTP_EXT_ETRN, "ETRN", "RFC 1985", "a client asks for the mail that waits for it", "", "", "ETRN",
     MX | SUBMISSION | SMTP_WHERE_GRANTED, "veredus etrn", "transcripts/server/etrn.txt"},
    {SMTP_EXT_VRFY, "VRFY", "RFC 5321", "asks whether a mailbox exists", "", "", "VRFY",
     MX | SUBMISSION | LMTP | SMTP_WHERE_GRANTED, "", "transcripts/server/vrfy.txt"},
    {SMTP_EXT_EXPN, "EXPN", "RFC 5321", "asks whom an alias stands for", "", "", "EXPN",
     MX | SUBMISSION | SMTP_WHERE_GRANTED, "", "transcripts/server/expn.txt"},
    {SMTP_EXT_XCLIENT, "XCLIENT", "Postfix XCLIENT_README", "a proxy says who its client is", "", "",
     "XCLIENT", MX | SUBMISSION | SMTP_WHERE_GRANTED, "", "transcripts/server/xclient.txt"},
    {SMTP_EXT_XFORWARD, "XFORWARD", "Postfix XFORWARD_README", "a filter says whose mail it forwards", "", "",
     "XFORWARD", MX | SUBMISSION | SMTP_WHERE_GRANTED, "", "transcripts/server/xforward.txt"},
    {SMTP_EXT_STARTTLS, "STARTTLS", "RFC 3207", "the session goes on under TLS", "", "", "STARTTLS",
     MX | SUBMISSION | SMTP_WHERE_CLEAR, "takes it", "transcripts/server/starttls.txt"},
    {SMTP_EXT_AUTH, "AUTH", "RFC 4954", "the client says who it is", "AUTH", "", "AUTH", SUBMISSION,
     "logs in where a user is configured", "transcripts/server/auth-plain.txt"},
    {SMTP_EXT_HELP, "HELP", "RFC 5321", "lists the commands", "", "", "HELP", ALL, "",
     "transcripts/server/help.txt"},
};
const size_t smtp_extension_count = sizeof smtp_extensions / sizeof *smtp_extensions;

unsigned smtp_extensions_for(enum smtp_where role)
{
    unsigned bits = 0;
    for (size_t i = 0; i < smtp_extension_count; i++)
        if (smtp_extensions[i].server & role)
            bits |= smtp_extensions[i].bit;
    return bits;
}

const struct smtp_extension_row *smtp_extension_find(enum smtp_extension bit)
{
    for (size_t i = 0; i < smtp_extension_count; i++)
        if (smtp_extensions[i].bit == bit)
            return &smtp_extensions[i];
    return NULL;
}
