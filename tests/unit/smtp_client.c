/* smtp_client.c - the client engine against scripted servers: good ones, refusing ones, hostile ones.
 *
 * smtp_client_play.h says how dialogues are written and run. The good ones are then broken at each line of the server: end of the
 * connection, 421, silence, rubbish.
 */
#include "smtp_client_play.h"

/* ---- good dialogues ------------------------------------------------------------------------------------------------- */

#define GREETED "S:220 server.example ESMTP\nC:EHLO me.example\n"
#define PIPELINED                                                                                            \
    GREETED "S:250-server.example\nS:250-PIPELINING\nS:250-SIZE 10000\nS:250-8BITMIME\nS:250-DSN\nS:250 "    \
            "HELP\nE:READY\n"
#define PLAIN_ESMTP GREETED "S:250 server.example\nE:READY\n"
#define LMTP                                                                                                 \
    "@lmtp\nS:220 server.example LMTP\nC:LHLO me.example\nS:250-server.example\nS:250 PIPELINING\nE:READY\n"
#define GROUP2                                                                                               \
    "!mail 2\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nC:RCPT "                        \
    "TO:<r1@server.example>\nC:DATA\n"
#define BYE "!quit\nC:QUIT\nS:221 bye\nE:CLOSED\n"

#define NO_UTF8                                                                                              \
    "\"RCPT\" the address has characters beyond ASCII before its @, and the server does not take such "      \
    "(SMTPUTF8): not sent to the server!\n"
#define NO_UTF8_HEADER                                                                                       \
    "\"MAIL\" the message's header is in UTF-8, and the server does not take such (SMTPUTF8): not sent to "  \
    "the server!\n"
#define UTF8                                                                                                 \
    GREETED "S:250-server.example\nS:250-PIPELINING\nS:250-8BITMIME\nS:250-DSN\nS:250 SMTPUTF8 ignored\n"    \
            "E:READY\n"
#define SENT                                                                                                 \
    "S:250 ok\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\n"                \
    "E:RESULT * 250 - \".\" ok\nE:READY\n"

static const char *const good[] = {
    /* commands of the owner's own, before and behind a message; each has its answer, whatever that is */
    PLAIN_ESMTP
    "!ask ETRN example.org\nC:ETRN example.org\nS:253-2.0.0 14 messages\nS:253 2.0.0 started\n"
    "E:ANSWER 253 2.0.0 \"command\" 2.0.0 14 messages|2.0.0 started\nE:READY\n"
    "!ask VRFY ann\nC:VRFY ann\nS:550 5.1.1 no\nE:ANSWER 550 5.1.1 \"command\" 5.1.1 no!\nE:READY\n"
    "!ask -\n!ask -A\001B\n!ask -A\177\n"
    "!mail 1\nC:MAIL FROM:<a@client.example>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 ok\n"
    "E:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\n"
    "E:RESULT * 250 - \".\" ok\nE:READY\n"
    "!ask NOOP\nC:NOOP\nS:459 4.7.1 not you\nE:ANSWER 459 4.7.1 \"command\" 4.7.1 not you\nE:READY\n" BYE,
    /* one group, one message, another one */
    PIPELINED
    "!tick never\n" GROUP2 "S:250 2.1.0 ok\nS:250 2.1.5 ok\nE:RCPT 0 250 2.1.5 \"RCPT\" 2.1.5 ok\n"
    "S:550 5.1.1 no such user\nE:RCPT 1 550 5.1.1 \"RCPT\" 5.1.1 no such user!\nS:354 go on\nE:BODY\n"
    "!body Subject: x\\r\\n\\r\\nhello\\r\\n\n!end\nC:Subject: x\nC:\nC:hello\nC:.\n"
    "S:250 2.0.0 queued as 1\nE:RESULT * 250 2.0.0 \".\" 2.0.0 queued as 1\nE:READY\n"
    "!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nC:DATA\nS:250 ok\nS:250 ok\n"
    "E:RCPT 0 250 - \"RCPT\" ok\nS:354 go on\nE:BODY\n!end\nC:.\nS:550-5.7.1 spam\nS:550 5.7.1 go away\n"
    "E:RESULT * 550 5.7.1 \".\" 5.7.1 spam|5.7.1 go away!\nE:READY\n" BYE,
    /* one by one */
    PLAIN_ESMTP
    "!mail 2 size 8bit dsn\nC:MAIL FROM:<a@client.example>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 "
    "ok\n"
    "E:RCPT 0 250 - \"RCPT\" ok\nC:RCPT TO:<r1@server.example>\nS:450 4.2.1 later\n"
    "E:RCPT 1 450 4.2.1 \"RCPT\" 4.2.1 later\nC:DATA\nS:354 go\nE:BODY\n!body x\n!end\nC:x\nC:.\nS:250 ok\n"
    "E:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    /* parameters, where offered */
    PIPELINED "!offers 4194327 10000\n!mail 2 size 8bit dsn\n"
              "C:MAIL FROM:<a@client.example> SIZE=5000 BODY=8BITMIME RET=HDRS ENVID=QQ314159\n"
              "C:RCPT TO:<r0@server.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r0@server.example\nC:RCPT "
              "TO:<r1@server.example>\n"
              "C:DATA\nS:250 ok\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nS:250 ok\nE:RCPT 1 250 - \"RCPT\" "
              "ok\nS:354 go\nE:BODY\n"
              "!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    /* MT-PRIORITY (RFC 6710): where offered, and not 0 */
    GREETED
    "S:250-server.example\nS:250-DSN\nS:250 MT-PRIORITY MIXER\nE:READY\n!offers 144 0\n!mail 1 urgent\n"
    "C:MAIL FROM:<a@client.example> MT-PRIORITY=4\nS:250 2.3.6 0 no\nC:RCPT TO:<r0@server.example>\n"
    "S:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\n"
    "E:RESULT * 250 - \".\" ok\nE:READY\n!mail 1 bulk\nC:MAIL FROM:<a@client.example> MT-PRIORITY=-9\n"
    "S:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\n"
    "E:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" ok\nE:READY\n"
    "!mail 1\nC:MAIL FROM:<a@client.example>\n"
    "S:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\n"
    "E:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    PLAIN_ESMTP
    "!mail 1 urgent\nC:MAIL FROM:<a@client.example>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 ok\n"
    "E:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\n"
    "E:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    /* what further extensions carry, where they are offered */
    GREETED
    "S:250-server.example\nS:250-SMTPUTF8\nS:250-REQUIRETLS\nS:250-DELIVERBY 30\nS:250-FUTURERELEASE 99999 "
    "2030-01-01T00:00:00Z\nS:250-NO-SOLICITING net.example:X\nS:250 RRVS\nE:READY\n!limits 0 0 0 0 30\n!mail "
    "1 asks\n"
    "C:MAIL FROM:<a@client.example> BY=60;RT HOLDFOR=3600 SOLICIT=org.example:ADV\nS:250 "
    "ok\n"
    "C:RCPT TO:<r0@server.example> RRVS=2014-04-03T23:01:00Z;R\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" "
    "ok\nC:DATA\n"
    "S:354 go\nE:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" ok\nE:READY\n!mail 1 late\n"
    "C:MAIL FROM:<a@client.example> BY=-7;N HOLDUNTIL=2026-12-31T08:00:00Z\nS:250 ok\n"
    "C:RCPT TO:<r0@server.example> RRVS=1970-01-01T00:00:00Z;C\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" "
    "ok\nC:DATA\n"
    "S:354 go\nE:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    /* REQUIRETLS under TLS only, whatever was offered in clear (RFC 8689 §2) */
    "@must\n" GREETED "S:250-server.example\nS:250-REQUIRETLS\nS:250 STARTTLS\nC:STARTTLS\nS:220 go "
    "ahead\nE:STARTTLS\n!secured\n"
    "C:EHLO me.example\nS:250-server.example\nS:250 REQUIRETLS\nE:READY\n!mail 1 asks\n"
    "C:MAIL FROM:<a@client.example> REQUIRETLS\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 ok\n"
    "E:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\n"
    "E:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    /* … and where they are not */
    PLAIN_ESMTP
    "!mail 1 asks\nC:MAIL FROM:<a@client.example>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 ok\n"
    "E:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\n"
    "E:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    /* limits are read in any order, what we do not know is passed over (RFC 9422), and so is what is no number */
    GREETED
    "S:250-server.example\nS:250-SIZE 10000\nS:250 LIMITS RCPTMAX=10 X MAILMAX=2 OTHER=7 rcptdomainmax=1 "
    "MAILMAX=x\nE:READY\n!limits 10000 2 10 1 0\n" BYE,
    GREETED "S:250-server.example\nS:250-SIZE 1k\nS:250-DELIVERBY ,later\nS:250 LIMITS\nE:READY\n!limits 0 0 "
            "0 0 0\n" BYE,
    /* LMTP: a result for each accepted recipient */
    LMTP
    "!mail 3\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nC:RCPT TO:<r1@server.example>\n"
    "C:RCPT TO:<r2@server.example>\nC:DATA\nS:250 ok\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nS:550 no\n"
    "E:RCPT 1 550 - \"RCPT\" no!\nS:250 ok\nE:RCPT 2 250 - \"RCPT\" ok\nS:354 go\nE:BODY\n!body "
    "x\\r\\n\n!end\nC:x\nC:.\n"
    "S:250 2.1.5 stored\nE:RESULT 0 250 2.1.5 \".\" 2.1.5 stored\nS:452 4.2.2 full\n"
    "E:RESULT 2 452 4.2.2 \".\" 4.2.2 full\nE:READY\n" BYE,
    /* STARTTLS: everything begins again */
    "@must\n" GREETED "S:250-server.example\nS:250-SIZE 1\nS:250 STARTTLS\nC:STARTTLS\nS:220 go "
    "ahead\nE:STARTTLS\n!tick 60000\n"
    "E:FAILED 0 4.4.2 \"STARTTLS\" timed out in the TLS handshake\n",
    "@must\n" GREETED
    "S:250-server.example\nS:250-SIZE 1\nS:250 STARTTLS\nC:STARTTLS\nS:220 go ahead\nE:STARTTLS\n!secured\n"
    "C:EHLO me.example\nS:250-server.example\nS:250 DSN\nE:READY\n!offers 16 0\n" BYE,
    "@may\n" GREETED "S:250 server.example\nE:READY\n" BYE,
    "@may\n" GREETED "S:250-server.example\nS:250 STARTTLS\nC:STARTTLS\nS:454 4.7.0 no\nE:READY\n" BYE,
    /* HELO */
    GREETED "S:502 what\nC:HELO me.example\nS:250 server.example\nE:READY\n!offers 0 0\n" BYE,
    /* AUTH */
    "@user\n@tls\n" GREETED
    "S:250-server.example\nS:250 AUTH LOGIN PLAIN\nC:AUTH PLAIN AHVzZXIAcGVuY2ls\nS:235 2.7.0 ok\nE:READY\n"
    "!mail 1 auth\nC:MAIL FROM:<a@client.example> AUTH=<>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 "
    "ok\n"
    "E:RCPT 0 250 - \"RCPT\" ok\nC:DATA\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" "
    "ok\nE:READY\n" BYE,
    "@user\n@tls\n@login\n" GREETED
    "S:250-server.example\nS:250 AUTH LOGIN PLAIN\nC:AUTH LOGIN\nS:334 VXNlcm5hbWU6\n"
    "C:dXNlcg==\nS:334 UGFzc3dvcmQ6\nC:cGVuY2ls\nS:235 ok\nE:READY\n" BYE,
    "@user\n@clear\n" GREETED
    "S:250-server.example\nS:250 AUTH PLAIN\nC:AUTH PLAIN AHVzZXIAcGVuY2ls\nS:235 ok\nE:READY\n" BYE,
};

static void test_good(void **state)
{
    (void)state;
    RUN(good);
}

/* ---- transactions that fail, sessions that go on ------------------------------------------------------------------------ */

static const char *const refusals[] = {
    /* MAIL refused in a group: its reply is everybody's, at once; then 503s are swallowed */
    PIPELINED GROUP2 "S:451 4.3.0 not now\nE:RCPT 0 451 4.3.0 \"MAIL\" 4.3.0 not now\nE:RCPT 1 451 4.3.0 "
                     "\"MAIL\" 4.3.0 not now\n"
                     "S:503 MAIL first\nS:503 MAIL first\nS:503 MAIL first\nE:READY\n" BYE,
    /* … and the server closes instead: nobody is left open */
    PIPELINED GROUP2 "S:550 5.7.1 go away\nE:RCPT 0 550 5.7.1 \"MAIL\" 5.7.1 go away!\nE:RCPT 1 550 5.7.1 "
                     "\"MAIL\" 5.7.1 go away!\n"
                     "!eof\nE:FAILED 0 4.4.2 \"RCPT\" the server closed the connection while we were waiting "
                     "for the reply to RCPT\n",
    /* … and 354 to DATA: a lone dot, its reply is nobody's */
    PIPELINED GROUP2 "S:451 no\nE:RCPT 0 451 - \"MAIL\" no\nE:RCPT 1 451 - \"MAIL\" no\nS:503 x\nS:503 "
                     "x\nS:354 go\nC:.\nS:554 no\n"
                     "E:READY\n" BYE,
    /* … but with recipients accepted all the same, no empty message is sent to them */
    PIPELINED GROUP2
    "S:451 no\nE:RCPT 0 451 - \"MAIL\" no\nE:RCPT 1 451 - \"MAIL\" no\nS:503 x\nS:250 x\nS:354 go\n"
    "E:FAILED 0 4.5.0 \"DATA\" the server asks for the message although it refused MAIL\n",
    PIPELINED GROUP2 "S:451 no\nE:RCPT 0 451 - \"MAIL\" no\nE:RCPT 1 451 - \"MAIL\" no\nS:250 x\nS:250 "
                     "x\nS:451 no\nC:RSET\nS:250 ok\n"
                     "E:READY\n" BYE,
    /* MAIL refused, one by one */
    PLAIN_ESMTP "!mail 2\nC:MAIL FROM:<a@client.example>\nS:550 no\nE:RCPT 0 550 - \"MAIL\" no!\nE:RCPT 1 "
                "550 - \"MAIL\" no!\nE:READY\n" BYE,
    /* all recipients refused */
    PIPELINED GROUP2 "S:250 ok\nS:550 a\nE:RCPT 0 550 - \"RCPT\" a!\nS:450 b\nE:RCPT 1 450 - \"RCPT\" "
                     "b\nS:554 no valid recipients\n"
                     "C:RSET\nS:250 ok\nE:READY\n" BYE,
    PIPELINED GROUP2 "S:250 ok\nS:550 a\nE:RCPT 0 550 - \"RCPT\" a!\nS:450 b\nE:RCPT 1 450 - \"RCPT\" "
                     "b\nS:354 go\nC:.\nS:250 taken\n"
                     "E:READY\n" BYE,
    PLAIN_ESMTP "!mail 1\nC:MAIL FROM:<a@client.example>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:550 a\n"
                "E:RCPT 0 550 - \"RCPT\" a!\nC:RSET\nS:250 ok\nE:READY\n" BYE,
    LMTP GROUP2 "S:250 ok\nS:550 a\nE:RCPT 0 550 - \"RCPT\" a!\nS:450 b\nE:RCPT 1 450 - \"RCPT\" b\nS:503 "
                "no\nC:RSET\nS:250 ok\nE:READY\n" BYE,
    LMTP GROUP2
    "S:250 ok\nS:550 a\nE:RCPT 0 550 - \"RCPT\" a!\nS:450 b\nE:RCPT 1 450 - \"RCPT\" b\nS:354 go\n"
    "E:FAILED 0 4.5.0 \"DATA\" the server asks for the message although it refused all recipients\n",
    /* DATA refused */
    PIPELINED GROUP2
    "S:250 ok\nS:250 a\nE:RCPT 0 250 - \"RCPT\" a\nS:450 b\nE:RCPT 1 450 - \"RCPT\" b\nS:451 4.3.0 full\n"
    "E:RESULT * 451 4.3.0 \"DATA\" 4.3.0 full\nC:RSET\nS:250 ok\nE:READY\n" BYE,
    LMTP
    "!mail 3\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nC:RCPT TO:<r1@server.example>\n"
    "C:RCPT TO:<r2@server.example>\nC:DATA\nS:250 ok\nS:250 a\nE:RCPT 0 250 - \"RCPT\" a\nS:450 b\nE:RCPT 1 "
    "450 - \"RCPT\" b\n"
    "S:250 c\nE:RCPT 2 250 - \"RCPT\" c\nS:451 full\nE:RESULT 0 451 - \"DATA\" full\nE:RESULT 2 451 - "
    "\"DATA\" full\nC:RSET\n"
    "S:250 ok\nE:READY\n" BYE,
    /* RSET refused: the results are told, the session is not used again */
    PIPELINED GROUP2 "S:250 ok\nS:550 a\nE:RCPT 0 550 - \"RCPT\" a!\nS:450 b\nE:RCPT 1 450 - \"RCPT\" "
                     "b\nS:554 no\nC:RSET\nS:500 what\n"
                     "E:FAILED 500 - \"RSET\" what!\n",
    /* SIZE: settled without a word to the server */
    GREETED "S:250-server.example\nS:250 SIZE 4999\nE:READY\n!mail 2 size\n"
            "E:RCPT 0 552 5.3.4 \"MAIL\" the message is larger than the server's limit (SIZE): not sent to "
            "the server!\n"
            "E:RCPT 1 552 5.3.4 \"MAIL\" the message is larger than the server's limit (SIZE): not sent to "
            "the server!\nE:READY\n" BYE,
    GREETED "S:250-server.example\nS:250 SIZE\nE:READY\n!mail 1 size\nC:MAIL FROM:<a@client.example> "
            "SIZE=5000\nS:552 no\n"
            "E:RCPT 0 552 - \"MAIL\" no!\nE:READY\n" BYE,
    /* addresses that cannot be sent: nothing of them reaches the server */
    PIPELINED
    "!mail 3 bad1\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nC:RCPT "
    "TO:<r2@server.example>\nC:DATA\n"
    "S:250 ok\nS:250 a\nE:RCPT 0 250 - \"RCPT\" a\n"
    "E:RCPT 1 553 5.1.3 \"RCPT\" the address is not one that SMTP can carry: not sent to the server!\n"
    "S:250 c\nE:RCPT 2 250 - \"RCPT\" c\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" "
    "ok\nE:READY\n" BYE,
    PLAIN_ESMTP
    "!mail 2 utf0\nC:MAIL FROM:<a@client.example>\nS:250 ok\n"
    "E:RCPT 0 553 5.6.7 " NO_UTF8
    "C:RCPT TO:<r1@server.example>\nS:550 no\nE:RCPT 1 550 - \"RCPT\" no!\nC:RSET\nS:250 ok\nE:READY\n" BYE,
    PIPELINED "!mail 1 utf0\n"
              "E:RCPT 0 553 5.6.7 " NO_UTF8 "E:READY\n" BYE,
    PIPELINED "!mail 1 badfrom\nE:RCPT 0 553 5.1.7 \"MAIL\" the address is not one that SMTP can carry: not "
              "sent to the server!\nE:READY\n" BYE,
    PIPELINED "!mail 2 dsn badenvid\nC:MAIL FROM:<a@client.example> RET=HDRS\n"
              "C:RCPT TO:<r0@server.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r0@server.example\nC:RCPT "
              "TO:<r1@server.example>\nC:DATA\n"
              "S:550 no\nE:RCPT 0 550 - \"MAIL\" no!\nE:RCPT 1 550 - \"MAIL\" no!\nS:503 x\nS:503 x\nS:503 "
              "x\nE:READY\n" BYE,
    /* SMTPUTF8 (RFC 6531 §3.4): where it is offered and needed */
    UTF8
    "!mail 1 utf0 idn0 idnfrom utforcpt\nC:MAIL FROM:<a@bücher.example> SMTPUTF8\n"
    "C:RCPT TO:<jörg@bücher.example> ORCPT=utf-8;jörg@bücher.example\nC:DATA\n" SENT
    "!mail 1 utffrom\nC:MAIL FROM:<jörg@client.example> SMTPUTF8\nC:RCPT "
    "TO:<r0@server.example>\nC:DATA\n" SENT "!mail 1 utfheader\nC:MAIL FROM:<a@client.example> BODY=8BITMIME "
    "SMTPUTF8\nC:RCPT TO:<r0@server.example>\n"
    "C:DATA\n" SENT "!mail 1 utfheader 8bit\nC:MAIL FROM:<a@client.example> BODY=8BITMIME SMTPUTF8\n"
    "C:RCPT TO:<r0@server.example>\nC:DATA\n" SENT
    "!mail 1 utforcpt\nC:MAIL FROM:<a@client.example>\n" /* that alone needs it not */
    "C:RCPT TO:<r0@server.example> ORCPT=utf-8;j\\x{F6}rg@b\\x{FC}cher.example\nC:DATA\n" SENT
    "!mail 1 latin0\nE:RCPT 0 553 5.1.3 \"RCPT\" the address is not one that SMTP can carry: not sent to the "
    "server!\nE:READY\n" BYE,
    /* and where it is not offered: A-labels, or nothing of the address is said (§3.2, §3.5) */
    PIPELINED
    "!mail 2 idn0 idnfrom utforcpt\nC:MAIL FROM:<a@xn--bcher-kva.example>\n"
    "C:RCPT TO:<r0@xn--bcher-kva.example> ORCPT=utf-8;j\\x{F6}rg@b\\x{FC}cher.example\n"
    "C:RCPT TO:<r1@server.example>\nC:DATA\nS:250 ok\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\n"
    "S:250 ok\nE:RCPT 1 250 - \"RCPT\" ok\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" ok\n"
    "E:READY\n"
    "!mail 2 utf0\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r1@server.example>\nC:DATA\nS:250 ok\n"
    "E:RCPT 0 553 5.6.7 " NO_UTF8
    "S:250 ok\nE:RCPT 1 250 - \"RCPT\" ok\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\n"
    "E:RESULT * 250 - \".\" ok\nE:READY\n"
    "!mail 1 noidn0\nE:RCPT 0 553 5.1.3 \"RCPT\" the address is not one that SMTP can carry: not sent to the "
    "server!\nE:READY\n"
    "!mail 2 utffrom\nE:RCPT 0 553 5.6.7 \"MAIL\" the address has characters beyond ASCII before its @, and "
    "the "
    "server does not take such (SMTPUTF8): not sent to the server!\n"
    "E:RCPT 1 553 5.6.7 \"MAIL\" the address has characters beyond ASCII before its @, and the server does "
    "not "
    "take such (SMTPUTF8): not sent to the server!\nE:READY\n"
    "!mail 2 utfheader utf0\nE:RCPT 0 553 5.6.7 " NO_UTF8 "E:RCPT 1 554 5.6.9 " NO_UTF8_HEADER
    "E:READY\n" BYE,
    /* AUTH= only after AUTH */
    GREETED
    "S:250-server.example\nS:250 AUTH PLAIN\nE:READY\n!mail 1 auth null quoted\nC:MAIL FROM:<>\nS:250 ok\n"
    "C:RCPT TO:<\"a \\\"b\\\"\"@server.example>\nS:550 no\nE:RCPT 0 550 - \"RCPT\" no!\nC:RSET\nS:250 "
    "ok\nE:READY\n" BYE,
};

static void test_refusals(void **state)
{
    (void)state;
    RUN(refusals);
}

/* ---- sessions that end ---------------------------------------------------------------------------------------------------- */

static const char *const failures[] = {
    "S:554 5.7.1 no service for you\nC:QUIT\nE:FAILED 554 5.7.1 \"greeting\" 5.7.1 no service for you!\n",
    "S:421 too busy\nE:FAILED 421 - \"greeting\" too busy\n",
    "S:354 go on\nE:FAILED 0 4.5.0 \"greeting\" the server replied 354 to greeting, which has no meaning "
    "there\n",
    GREETED "S:451 later\nC:QUIT\nE:FAILED 451 - \"EHLO\" later\n",
    GREETED "S:550 no\nC:HELO me.example\nS:550 no\nC:QUIT\nE:FAILED 550 - \"HELO\" no!\n",
    "@lmtp\nS:220 hi\nC:LHLO me.example\nS:500 what\nC:QUIT\nE:FAILED 500 - \"EHLO\" what!\n",
    /* STARTTLS stripped, refused, or with bytes behind its 220 */
    "@must\n" GREETED "S:250 server.example\nC:QUIT\nE:FAILED 0 4.7.0 \"EHLO\" the server does not offer "
    "STARTTLS, which is required here\n",
    "@must\n" GREETED "S:502 what\nC:HELO me.example\nS:250 x\nC:QUIT\n"
    "E:FAILED 0 4.7.0 \"HELO\" the server does not offer STARTTLS, which is required here\n",
    "@must\n" GREETED "S:250-x\nS:250 STARTTLS\nC:STARTTLS\nS:454 4.7.0 no\nC:QUIT\n"
    "E:FAILED 0 4.7.0 \"STARTTLS\" the server refused STARTTLS, which is required here: 454 4.7.0 no\n",
    "@may\n" GREETED "S:250-x\nS:250 STARTTLS\nC:STARTTLS\nS:250 ok\n"
    "E:FAILED 0 4.5.0 \"STARTTLS\" the server replied 250 to STARTTLS, which has no meaning there\n",
    /* AUTH */
    "@user\n@tls\n" GREETED "S:250 x\nC:QUIT\nE:FAILED 0 4.7.0 \"AUTH\" the server does not offer AUTH, but "
    "a log-in is configured for it\n",
    "@user\n" GREETED "S:250-x\nS:250 AUTH PLAIN LOGIN\nC:QUIT\n"
    "E:FAILED 0 4.7.0 \"AUTH\" without TLS the server takes the password only in clear, so it was not sent\n",
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH GSSAPI\nC:QUIT\n"
    "E:FAILED 0 4.7.0 \"AUTH\" the server offers no AUTH mechanism that is known here (SCRAM-SHA-256, "
    "SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5)\n",
    "@user\n@tls\n@external\n" GREETED
    "S:250-x\nS:250 AUTH EXTERNAL PLAIN\nC:QUIT\nE:FAILED 0 4.7.0 \"AUTH\" the server does not offer the "
    "AUTH mechanism that is configured for it, or it is unknown here, or what it needs is missing\n",
    "@user\n@tls\n" GREETED
    "S:250-x\nS:250 AUTH PLAIN\nC:AUTH PLAIN AHVzZXIAcGVuY2ls\nS:535 5.7.8 wrong\nC:QUIT\n"
    "E:FAILED 535 5.7.8 \"AUTH\" 5.7.8 wrong!\n",
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH SCRAM-SHA-256\n"
    "C:AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5\nS:235 welcome\nC:QUIT\n"
    "E:FAILED 0 4.7.0 \"AUTH\" the server did not prove that it knows the password: it may be an impostor\n",
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN SCRAM-SHA-256\n"
    "C:AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5\nS:334 %%%\nC:*\nS:334 "
    "again\nC:QUIT\n"
    "E:FAILED 0 4.7.0 \"AUTH\" the server sent a challenge that is not base64\n",
    "@user\n@tls\n@login\n" GREETED "S:250-x\nS:250 AUTH LOGIN\nC:AUTH LOGIN\nS:334 \nC:dXNlcg==\nS:334 "
    "\nC:cGVuY2ls\nS:334 \nC:*\nS:501 ok\nC:QUIT\n"
    "E:FAILED 0 4.7.0 \"AUTH\" the server does not keep to the AUTH mechanism, or did not prove that it "
    "knows the password: it may be an "
    "impostor\n",
    /* uncalled */
    PIPELINED "S:250 hello\nE:FAILED 0 4.5.0 \"\" the server replied 250 before it was asked anything\n",
    PIPELINED "S:421 4.4.2 idle too long\nE:FAILED 421 4.4.2 \"\" 4.4.2 idle too long\n",
    PIPELINED "!eof\nE:FAILED 0 4.4.2 \"\" the server closed the connection while we were idle\n",
    "S:220 hi\nS:250 x\nE:FAILED 0 4.5.0 \"EHLO\" the server replied 250 before it was asked "
    "anything\nC:EHLO me.example\n",
    PIPELINED "!raw 250-ear\n" GROUP2 "!raw ly\\r\\n250 x\\r\\n\nE:FAILED 0 4.5.0 \"MAIL\" the server "
              "replied 250 before it was asked anything\n",
    /* 3xx where there is none */
    PIPELINED GROUP2
    "S:354 x\nE:FAILED 0 4.5.0 \"MAIL\" the server replied 354 to MAIL, which has no meaning there\n",
    PIPELINED GROUP2 "S:250 x\nS:334 x\nE:FAILED 0 4.5.0 \"RCPT\" the server replied 334 to RCPT, which has "
                     "no meaning there\n",
    PIPELINED GROUP2
    "S:250 x\nS:250 x\nE:RCPT 0 250 - \"RCPT\" x\nS:250 x\nE:RCPT 1 250 - \"RCPT\" x\nS:250 x\n"
    "E:FAILED 0 4.5.0 \"DATA\" the server replied 250 to DATA, which has no meaning there\n",
    /* the server breaks off in the text, or before the dot has left: it cannot have taken the message */
    PIPELINED GROUP2
    "S:250 x\nS:250 x\nE:RCPT 0 250 - \"RCPT\" x\nS:250 x\nE:RCPT 1 250 - \"RCPT\" x\nS:354 x\nE:BODY\n!body "
    "abc\\r\\n\n"
    "C:abc\nS:552 5.3.4 too big\nE:FAILED 552 5.3.4 \"DATA\" 5.3.4 too big!\n!body more\n!end\n",
    PIPELINED GROUP2
    "S:250 x\nS:250 x\nE:RCPT 0 250 - \"RCPT\" x\nS:250 x\nE:RCPT 1 250 - \"RCPT\" x\nS:354 x\nE:BODY\n!body "
    "abc\\r\\n\n"
    "C:abc\nS:250 ok\nE:FAILED 0 4.5.0 \"DATA\" the server replied 250 before it was asked anything\n",
    PIPELINED GROUP2 "S:250 x\nS:250 x\nE:RCPT 0 250 - \"RCPT\" x\nS:250 x\nE:RCPT 1 250 - \"RCPT\" x\nS:354 "
                     "x\nE:BODY\n!body abc\\r\\n\n"
                     "!end\n!sent 7\n!eof\n!sent 1\nE:FAILED 0 4.4.2 \".\" the server closed the connection "
                     "while we were waiting for the "
                     "reply to the end of the message\n",
    PIPELINED GROUP2
    "S:250 x\nS:250 x\nE:RCPT 0 250 - \"RCPT\" x\nS:250 x\nE:RCPT 1 250 - \"RCPT\" x\nS:354 "
    "x\nE:BODY\n!end\nC:.\n"
    "!tick 600000\nE:FAILED 0 4.4.2 \".\" timed out waiting for the reply to the end of the message?\n",
    /* QUIT */
    PIPELINED "!quit\nC:QUIT\n!eof\nE:CLOSED\n",
    PIPELINED "!quit\nC:QUIT\nS:500 what\nE:CLOSED\n",
    PIPELINED
    "!quit\nC:QUIT\n!tick 30000\nE:FAILED 0 4.4.2 \"QUIT\" timed out waiting for the reply to QUIT\n",
    /* control bytes of a stranger */
    "S:554 a\\x1b[2Jb\\x00c\\x7fd\nC:QUIT\nE:FAILED 554 - \"greeting\" a?[2Jb?c?d!\n",
    /* a status that contradicts its code is none */
    "S:554 2.0.0 fine\nC:QUIT\nE:FAILED 554 - \"greeting\" 2.0.0 fine!\n",
};

static void test_failures(void **state)
{
    (void)state;
    RUN(failures);
}

/* Bytes behind the 220 of STARTTLS: in the same piece, or a moment later. */
static void test_starttls_injection(void **state)
{
    (void)state;
    static const char wanted[] =
        "FAILED 0 4.7.0 \"STARTTLS\" the server sent something in clear behind its reply to STARTTLS";
    for (unsigned together = 0; together < 2; together++) {
        struct play p;
        play_begin(&p, WAY_LINES);
        run_until(&p, "@must\n" GREETED "S:250-x\nS:250 STARTTLS\nC:STARTTLS\n", SIZE_MAX);
        if (together) {
            feed(&p, VR_STR("220 go\r\n250 injected\r\n"));
        } else {
            feed(&p, VR_STR("220 go\r\n"));
            event_must_be(&p, "STARTTLS");
            feed(&p, VR_STR("2"));
        }
        event_must_be(&p, wanted);
        assert_true(p.over);
        smtp_client_secured(p.client, p.now); /* an owner that goes on is not heard */
        pump(&p);
        assert_int_equal(smtp_client_pending(p.client).n, 0);
        play_end(&p);
    }
}

static void test_broken_everywhere(void **state)
{
    (void)state;
    assert_true(broken_everywhere(good, sizeof good / sizeof *good) > 500);
}

/* ---- bounds --------------------------------------------------------------------------------------------------------------- */

static void expect_failure(struct play *p, const char *text)
{
    char wanted[LINE];
    snprintf(wanted, sizeof wanted, "FAILED 0 4.5.0 \"greeting\" %s", text);
    assert_true(p->over);
    assert_string_equal(last_event(p), wanted);
}

static void test_endless_greeting(void **state)
{
    (void)state;
    struct play p;
    play_begin(&p, WAY_LINES);
    p.client = smtp_client_new(&p.config, p.now);
    for (int i = 0; i < 128; i++) {
        assert_false(p.over);
        feed(&p, VR_STR("220-and another line\r\n"));
    }
    assert_false(p.over);
    feed(&p, VR_STR("220 the 129th\r\n"));
    expect_failure(&p, "the server's reply has too many lines");
    play_end(&p);
}

static void test_long_lines(void **state)
{
    (void)state;
    char line[2049];
    memset(line, 'x', sizeof line);
    memcpy(line, "220 ", 4);
    for (int over = 0; over < 2; over++) { /* 2048 octets with CRLF are fine, 2049 are not */
        struct play p;
        play_begin(&p, WAY_BYTES);
        p.client = smtp_client_new(&p.config, p.now);
        size_t n = 2046 + (size_t)over;
        feed(&p, vr_str(line, n));
        assert_false(p.over);
        feed(&p, VR_STR("\r\n"));
        if (over)
            expect_failure(&p, "a line of the server's reply is too long");
        else
            client_must_have_said(&p, "EHLO me.example");
        play_end(&p);
    }
    struct play p; /* a line without an end is not waited for */
    play_begin(&p, WAY_LINES);
    p.client = smtp_client_new(&p.config, p.now);
    feed(&p, vr_str(line, sizeof line));
    expect_failure(&p, "a line of the server's reply is too long");
    play_end(&p);
}

static void test_flood(void **state)
{
    (void)state;
    struct play p;
    play_begin(&p, WAY_LINES);
    p.client = smtp_client_new(&p.config, p.now);
    static char megabyte[1 << 20];
    memset(megabyte, '\n', sizeof megabyte);
    for (int i = 0; i < 9; i++) /* an owner that only feeds */
        smtp_client_feed(p.client, vr_str(megabyte, sizeof megabyte), p.now);
    pump(&p);
    expect_failure(&p, "the server sends far more than it was asked for");
    play_end(&p);
}

/* The largest reply that is allowed reaches the owner whole. */
static void test_largest_reply(void **state)
{
    (void)state;
    struct play p;
    struct smtp_client_event ev;
    char line[2048];
    memset(line, 'x', sizeof line);
    play_begin(&p, WAY_LINES);
    p.client = smtp_client_new(&p.config, p.now);
    for (int i = 0; i < 128; i++) {
        memcpy(line, i < 127 ? "554-" : "554 ", 4);
        memcpy(line + 2046, "\r\n", 2);
        smtp_client_feed(p.client, vr_str(line, sizeof line), p.now);
    }
    assert_int_equal(smtp_client_next(p.client, &ev), SMTP_CLIENT_FAILED);
    assert_int_equal(ev.text.n, 128 * 2042 + 127);
    play_end(&p);
}

/* ---- many recipients, replies before the group is out ---------------------------------------------------------------------- */

static void test_many_recipients(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct play p;
    struct smtp_client_event ev;
    static struct smtp_rcpt rcpts[N];
    struct smtp_mail mail = {.reverse_path = {.null = true}};
    struct vr_buf replies;
    size_t results = 0, replied = 0;
    bool body = false;
    for (size_t i = 0; i < N; i++)
        rcpts[i].forward_path = (struct address){VR_STR("r"), VR_STR("server.example"), false, false};
    play_begin(&p, WAY_LINES);
    run_until(&p, PIPELINED, SIZE_MAX);
    smtp_client_mail(p.client, &mail, rcpts, N, p.now);
    vr_buf_init(&replies, 1 << 20);
    while (
        !body) { /* the server replies to each command as soon as it has it; the pipe takes 1000 bytes at a time */
        struct vr_str out = vr_str_sub(smtp_client_pending(p.client), 0, 1000), rest = out, command;
        while (vr_str_find(rest, '\n') != VR_NPOS && vr_str_split(&rest, '\n', &command)) {
            vr_buf_addf(&replies, "%s\r\n",
                        vr_str_starts(command, VR_STR("DATA")) ? "354 go"
                        : replied % 3 == 2                     ? "550 no"
                                                               : "250 ok");
            replied += vr_str_starts(command, VR_STR("RCPT"));
        }
        smtp_client_sent(p.client, out.n - rest.n);
        smtp_client_feed(p.client, vr_buf_str(&replies), p.now);
        vr_buf_reset(&replies);
        enum smtp_client_event_kind kind;
        while ((kind = smtp_client_next(p.client, &ev)) != SMTP_CLIENT_IDLE) {
            body = kind == SMTP_CLIENT_BODY;
            if (body)
                continue;
            assert_int_equal(kind, SMTP_CLIENT_RCPT_RESULT);
            assert_int_equal(ev.index, results);
            assert_int_equal(ev.code, results % 3 == 2 ? 550 : 250);
            results++;
        }
    }
    assert_int_equal(results, N);
    vr_buf_fini(&replies);
    play_end(&p);
}

/* A reply to what has not left yet, inside a group. */
static void test_early_in_group(void **state)
{
    (void)state;
    struct play p;
    play_begin(&p, WAY_LINES);
    run_until(&p, PIPELINED "!mail 2\n", SIZE_MAX);
    smtp_client_sent(p.client, 10); /* "MAIL FROM:" */
    feed(&p, VR_STR("250 ok\r\n"));
    assert_string_equal(last_event(&p),
                        "FAILED 0 4.5.0 \"MAIL\" the server replied 250 before it was asked anything");
    play_end(&p);
}

/* ---- the text ------------------------------------------------------------------------------------------------------------- */

static void body_becomes(struct vr_str message, struct vr_str wanted)
{
    for (size_t piece = 1; piece <= message.n + 1; piece++) {
        struct play p;
        play_begin(&p, WAY_LINES);
        run_until(&p,
                  PIPELINED "!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT "
                            "TO:<r0@server.example>\nC:DATA\nS:250 a\nS:250 b\n"
                            "S:354 c\nE:RCPT 0 250 - \"RCPT\" b\nE:BODY\n",
                  SIZE_MAX);
        for (size_t at = 0; at < message.n; at += piece)
            smtp_client_body(p.client, vr_str_sub(message, at, piece), p.now);
        smtp_client_body_end(p.client, p.now);
        struct vr_str got = smtp_client_pending(p.client);
        if (!vr_str_equal(got, wanted))
            fail_msg("in pieces of %zu: wanted\n%.*s\ngot\n%.*s", piece, VR_STR_ARG(wanted), VR_STR_ARG(got));
        play_end(&p);
    }
}

static void test_dots_and_ends(void **state)
{
    (void)state;
    static const struct {
        struct vr_str message, wire;
    } rows[] = {
        {VR_STR_INIT(""), VR_STR_INIT(".\r\n")},
        {VR_STR_INIT("a\r\n"), VR_STR_INIT("a\r\n.\r\n")},
        {VR_STR_INIT("a"), VR_STR_INIT("a\r\n.\r\n")},
        {VR_STR_INIT("a\r"), VR_STR_INIT("a\r\n.\r\n")},
        {VR_STR_INIT("a\n"),
         VR_STR_INIT("a\n\r\n.\r\n")}, /* a bare LF is no line end: what follows must be */
        {VR_STR_INIT("."), VR_STR_INIT("..\r\n.\r\n")},
        {VR_STR_INIT(".\r\n"), VR_STR_INIT("..\r\n.\r\n")},
        {VR_STR_INIT("..\r\n.a\r\na.b\r\n...\r\n"), VR_STR_INIT("...\r\n..a\r\na.b\r\n....\r\n.\r\n")},
        {VR_STR_INIT("a\r\n.\r\nMAIL FROM:<x>\r\n"), VR_STR_INIT("a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n")},
        /* smuggling: dots behind bare line ends */
        {VR_STR_INIT("a\n.\r\nb\r\n"), VR_STR_INIT("a\n..\r\nb\r\n.\r\n")},
        {VR_STR_INIT("a\r.\r\nb\r\n"), VR_STR_INIT("a\r..\r\nb\r\n.\r\n")},
        {VR_STR_INIT("a\n.\nb\r\n"), VR_STR_INIT("a\n..\nb\r\n.\r\n")},
        {VR_STR_INIT("\r\n\r\n.x\0.\xff\r\n"), VR_STR_INIT("\r\n\r\n..x\0.\xff\r\n.\r\n")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        body_becomes(rows[i].message, rows[i].wire);
}

/* A user and password whose PLAIN response does not fit into a command line (RFC 4954 §4): it waits for the challenge. */
static void test_long_initial_response(void **state)
{
    (void)state;
    char password[1024];
    struct play p;
    memset(password, 'p', sizeof password);
    play_begin(&p, WAY_LINES);
    p.config.user = VR_STR("user");
    p.config.password = vr_str(password, sizeof password);
    run_until(&p, "@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN\nC:AUTH PLAIN\nS:334 \n", SIZE_MAX);
    struct vr_buf wanted, plain;
    vr_buf_init(&plain, 4096);
    vr_buf_init(&wanted, 4096);
    vr_buf_add(&plain, VR_STR("\0user\0"));
    vr_buf_add(&plain, p.config.password);
    vr_base64_encode(&wanted, vr_buf_str(&plain));
    vr_buf_add(&wanted, VR_STR("\r\n"));
    assert_true(vr_str_equal(smtp_client_pending(p.client), vr_buf_str(&wanted)));
    smtp_client_sent(p.client, vr_buf_size(&wanted));
    feed(&p, VR_STR("235 ok\r\n"));
    event_must_be(&p, "READY");
    vr_buf_fini(&plain);
    vr_buf_fini(&wanted);
    play_end(&p);
}

static void test_own_timeout(void **state)
{
    (void)state;
    struct play p;
    play_begin(&p, WAY_LINES);
    p.config.timeout_ms = 1234;
    run_until(&p, "!tick 1234\nE:FAILED 0 4.4.2 \"greeting\" timed out waiting for the greeting\n", SIZE_MAX);
    assert_true(p.over);
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_starttls_injection),
        cmocka_unit_test(test_broken_everywhere),
        cmocka_unit_test(test_endless_greeting),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_largest_reply),
        cmocka_unit_test(test_many_recipients),
        cmocka_unit_test(test_early_in_group),
        cmocka_unit_test(test_dots_and_ends),
        cmocka_unit_test(test_long_initial_response),
        cmocka_unit_test(test_own_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
