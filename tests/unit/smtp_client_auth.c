/* smtp_client_auth.c - how the client engine logs in: which mechanism it takes, what it sends, what it makes of refusals. */
#include "smtp_client_play.h"

#define GREETED "S:220 hi\nC:EHLO me.example\n"
#define BYE     "!quit\nC:QUIT\nS:221 bye\nE:CLOSED\n"
#define IN      "S:235 2.7.0 ok\nE:READY\n" BYE
#define NO      "S:535 no\nC:QUIT\nE:FAILED 535 - \"AUTH\" no!\n"
#define LOCAL   "C:QUIT\nE:FAILED 0 4.7.0 \"AUTH\" "

static const char *const choices[] = {
    /* the best that both know: with binding data … */
    "@user\n@tls\n@bound\n" GREETED
    "S:250-x\nS:250 AUTH LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS GSSAPI\n"
    "C:AUTH SCRAM-SHA-256-PLUS cD10bHMtZXhwb3J0ZXIsLG49dXNlcixyPVlXSmpaR1ZtWjJocGFtdHNiVzV2Y0hGeQ==\n" NO,
    "@user\n@tls\n@bound\n" GREETED "S:250-x\nS:250 AUTH SCRAM-SHA-256 SCRAM-SHA-1-PLUS\n"
    "C:AUTH SCRAM-SHA-1-PLUS cD10bHMtZXhwb3J0ZXIsLG49dXNlcixyPVlXSmpaR1ZtWjJocGFtdHNiVzV2Y0hGeQ==\n" NO,
    /* … and without */
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1\n"
    "C:AUTH SCRAM-SHA-1 biwsbj11c2VyLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5\n" NO,
    /* RFC 5802 §6: the list has no -PLUS, and we could have bound: told. Not in clear, nor when the list has it and we were told not to */
    "@user\n@tls\n@bound\n" GREETED "S:250-x\nS:250 AUTH SCRAM-SHA-256\nC:AUTH SCRAM-SHA-256 "
                                    "eSwsbj11c2VyLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5\n" NO,
    "@user\n@bound\n" GREETED "S:250-x\nS:250 AUTH SCRAM-SHA-256 PLAIN SCRAM-SHA-256-PLUS\n"
    "C:AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5\n" NO,
    "@user\n@tls\n@bound\n@scram\n" GREETED "S:250-x\nS:250 AUTH SCRAM-SHA-256 SCRAM-SHA-256-PLUS\n"
    "C:AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5\n" NO,
    /* CRAM-MD5 last, and not in clear */
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH CRAM-MD5\nC:AUTH CRAM-MD5\nS:334 "
                            "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\nC:"
                            "dXNlciAyNjZmODJiYjJkMWFjZTY3MjlkMmM1NzNlNGUwMDRjNg==\n" IN,
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH CRAM-MD5 LOGIN\nC:AUTH LOGIN\nS:334 \nC:dXNlcg==\nS:334 "
    "\nC:cGVuY2ls\n" IN,
    "@user\n" GREETED "S:250-x\nS:250 AUTH CRAM-MD5\n" LOCAL
    "without TLS the server takes the password only in clear, so it was not sent\n",
    /* tokens */
    "@name\n@token\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN XOAUTH2 OAUTHBEARER\nC:AUTH OAUTHBEARER "
                                    "bixhPXVzZXIsAWF1dGg9QmVhcmVyIHlhMjkudAEB\n" IN,
    "@token\n@host\n@tls\n" GREETED "S:250-x\nS:250 AUTH XOAUTH2 OAUTHBEARER\nC:AUTH OAUTHBEARER "
                                    "biwsAWhvc3Q9aC50ZXN0AXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHlhMjkudAEB\n" IN,
    "@name\n@token\n@tls\n" GREETED
    "S:250-x\nS:250 AUTH PLAIN XOAUTH2\nC:AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHlhMjkudAEB\n" IN,
    "@name\n@token\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN\n" LOCAL
    "the server offers no AUTH mechanism that takes a token (OAUTHBEARER, XOAUTH2)\n",
    "@token\n@tls\n" GREETED "S:250-x\nS:250 AUTH XOAUTH2\n" LOCAL
    "the server offers no AUTH mechanism that takes a token (OAUTHBEARER, XOAUTH2)\n",
    "@name\n@token\n" GREETED "S:250-x\nS:250 AUTH XOAUTH2\n" LOCAL
    "without TLS the server takes the token only in clear, so it was not sent\n",
    /* certificates: as ourselves, as somebody; not where nobody asks for it */
    "@certificate\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN EXTERNAL\nC:AUTH EXTERNAL =\n" IN,
    "@name\n@certificate\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN EXTERNAL\nC:AUTH EXTERNAL dXNlcg==\n" IN,
    "@user\n@certificate\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN EXTERNAL\nC:AUTH EXTERNAL dXNlcg==\n" IN,
    "@certificate\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN\nE:READY\n" BYE,
    "@certificate\n" GREETED "S:250-x\nS:250 AUTH EXTERNAL\nE:READY\n" BYE,
    "@certificate\n@external\n@tls\n" GREETED "S:250 x\n" LOCAL
    "the server does not offer AUTH, but a log-in is configured for it\n",
    "@name\n@certificate\n@tls\n" GREETED "S:250-x\nS:250 AUTH PLAIN\n" LOCAL
    "the server does not offer AUTH by certificate (EXTERNAL), and there is no password\n",
};

/* What servers say within the mechanism reaches who reads the failure. */
static const char *const refusals[] = {
    "@name\n@token\n@tls\n" GREETED
    "S:250-x\nS:250 AUTH OAUTHBEARER\nC:AUTH OAUTHBEARER bixhPXVzZXIsAWF1dGg9QmVhcmVyIHlhMjkudAEB\nS:334 "
    "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\n"
    "C:AQ==\nS:535 5.7.8 no\nC:QUIT\n"
    "E:FAILED 535 5.7.8 \"AUTH\" 5.7.8 no ({\"status\":\"invalid_token\"})!\n",
    "@name\n@token\n@tls\n" GREETED
    "S:250-x\nS:250 AUTH XOAUTH2\nC:AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHlhMjkudAEB\nS:334 "
    "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\nC:\n"
    "S:535 5.7.8 no\nC:QUIT\nE:FAILED 535 5.7.8 \"AUTH\" 5.7.8 no ({\"status\":\"invalid_token\"})!\n",
    /* a token that was refused is no log-in, whatever is said behind it */
    "@name\n@token\n@tls\n" GREETED
    "S:250-x\nS:250 AUTH OAUTHBEARER\nC:AUTH OAUTHBEARER bixhPXVzZXIsAWF1dGg9QmVhcmVyIHlhMjkudAEB\nS:334 "
    "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\n"
    "C:AQ==\nS:235 welcome\n" LOCAL
    "the server accepts a log-in that is not complete: it may be an impostor\n",
    "@name\n@token\n@tls\n" GREETED
    "S:250-x\nS:250 AUTH OAUTHBEARER\nC:AUTH OAUTHBEARER bixhPXVzZXIsAWF1dGg9QmVhcmVyIHlhMjkudAEB\nS:334 "
    "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\n"
    "C:AQ==\nS:334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\nC:*\nS:501 ok\n" LOCAL
    "the server refuses the log-in: {\"status\":\"invalid_token\"}\n",
    /* SCRAM: an error in place of the proof */
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH SCRAM-SHA-256\nC:AUTH SCRAM-SHA-256 "
                            "biwsbj11c2VyLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5\nS:334 "
                            "cj1ZV0pqWkdWbVoyaHBhbXRzYlc1dmNIRnl4LHM9YzJGc2RBPT0saT00MDk2\n"
    "C:"
    "Yz1iaXdzLHI9WVdKalpHVm1aMmhwYW10c2JXNXZjSEZ5eCxwPWEvY2E4UFZ1R0NBY1k4VUgzZ0N1d3Z0Y0FxMTBSeTNzNzRtWXlxeTVp"
    "eUU9\nS:334 ZT1pbnZhbGlkLXByb29m\nC:*\nS:501 ok\n" LOCAL
    "the server refuses the log-in: invalid-proof\n",
    /* EXTERNAL and CRAM-MD5 that do not keep to it */
    "@certificate\n@tls\n" GREETED
    "S:250-x\nS:250 AUTH EXTERNAL\nC:AUTH EXTERNAL =\nS:334 eA==\nC:*\nS:501 ok\n" LOCAL
    "the server does not keep to the AUTH mechanism, or did not prove that it knows the password: it may be "
    "an impostor\n",
    "@user\n@tls\n" GREETED "S:250-x\nS:250 AUTH CRAM-MD5\nC:AUTH CRAM-MD5\nS:334 \nC:*\nS:501 ok\n" LOCAL
    "the server does not keep to the AUTH mechanism, or did not prove that it knows the password: it may be "
    "an impostor\n",
};

static void test_choices(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        run_all_ways(choices[i]);
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        run_all_ways(refusals[i]);
}

/* A token that fills a line of AUTH goes behind an empty challenge, whole. */
static void test_long_token(void **state)
{
    (void)state;
    static char token[SASL_TOKEN_MAX];
    struct play p;
    memset(token, 't', sizeof token);
    play_begin(&p, WAY_LINES);
    p.config.user = VR_STR("user");
    p.config.token = vr_str(token, sizeof token);
    run_until(&p, "@tls\n" GREETED "S:250-x\nS:250 AUTH OAUTHBEARER\nC:AUTH OAUTHBEARER\nS:334 \n", SIZE_MAX);
    struct vr_str line = smtp_client_pending(p.client);
    assert_true(line.n > 10920 && line.n < SMTP_AUTH_LINE_MAX);
    struct vr_buf message;
    vr_buf_init(&message, SMTP_AUTH_LINE_MAX);
    assert_int_equal(vr_base64_decode(&message, vr_str_trim(line)), VR_OK);
    assert_true(vr_str_starts(vr_buf_str(&message), VR_STR("n,a=user,\001auth=Bearer tttt")));
    assert_int_equal(vr_buf_size(&message), sizeof token + 24);
    vr_buf_fini(&message);
    smtp_client_sent(p.client, line.n);
    feed(&p, VR_STR("235 ok\r\n"));
    event_must_be(&p, "READY");
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choices), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_long_token)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
