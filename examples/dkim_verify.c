/* dkim_verify.c - DKIM and ARC of a message, without a network: what a receiver does between the first byte of DATA and its Authentication-Results field.
 *
 * The message is that of RFC 8463's appendix, with two signatures; it comes in pieces, as from a socket. The library asks for keys; a real receiver asks the DNS,
 * here two records answer. On the way a field is found that somebody wrote in our name.
 */
#include <veredus/authres.h>

#include <stdio.h>

static const char message[] =
    "Authentication-Results: mx.example.net; dkim=pass header.d=bank.example\r\n" /* a lie */
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    " subject : date : message-id : from : subject : date;\r\n"
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
    " date : message-id : from : subject : date;\r\n"
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
    " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
    " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n"
    "From: Joe SixPack <joe@football.example.com>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
    "\r\n"
    "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

/* The DNS. */
static const struct {
    struct vr_str name;
    struct dns_record record;
} zone[] = {
    {VR_STR_INIT("brisbane._domainkey.football.example.com"),
     {.data = VR_STR_INIT("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")}},
    {VR_STR_INIT("test._domainkey.football.example.com"),
     {.data = VR_STR_INIT(
          "v=DKIM1; k=rsa; "
          "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/"
          "J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/"
          "8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+"
          "2kryOTIKT+l/K4w3QIDAQAB")}},
};

static struct dns_answer look_up(const struct dns_question *q)
{
    printf("? %.*s TXT\n", VR_STR_ARG(q->name));
    for (size_t i = 0; i < sizeof zone / sizeof *zone; i++)
        if (vr_str_equal_nocase(zone[i].name, q->name))
            return (struct dns_answer){.name = q->name,
                                       .type = q->type,
                                       .status = DNS_STATUS_OK,
                                       .records = &zone[i].record,
                                       .count = 1};
    return (struct dns_answer){.name = q->name, .type = q->type, .status = DNS_STATUS_NXDOMAIN};
}

static bool find_forged(const struct mail_digest *d, struct vr_arena *arena)
{
    static const struct vr_str ours = VR_STR_INIT("mx.example.net");
    struct header_field *forged;
    size_t count;
    if (authres_forged(arena, mail_digest_header(d), &ours, 1, &forged, &count) != VR_OK)
        return false;
    for (size_t i = 0; i < count; i++)
        printf("- %.*s:%.*s\n", VR_STR_ARG(forged[i].name), VR_STR_ARG(forged[i].body));
    return count == 1;
}

int main(void)
{
    struct dns_answer answers[DKIM_SIGNATURES_MAX];
    struct dkim_query query = {.now = 1528637920, .answers = answers};
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){.verify = true});
    struct vr_str rest = vr_str(message, sizeof message - 1);
    struct vr_arena arena;
    struct vr_buf field;
    struct dkim_result dkim;
    struct arc_result arc;
    size_t count = 0;

    vr_arena_init(&arena, 1 << 20);
    vr_buf_init(&field, 1 << 16);
    for (; d != NULL && rest.n > 0; rest = vr_str_from_pos(rest, 100)) /* in pieces of any size */
        if (mail_digest_feed(d, vr_str_sub(rest, 0, 100)) != VR_OK)
            return 1;
    if (d == NULL || mail_digest_end(d) != VR_OK || !find_forged(d, &arena))
        return 1;
    do { /* until there are no more questions */
        if (dkim_verify(d, &query, &arena, &dkim) != VR_OK)
            return 1;
        for (size_t i = 0; i < dkim.question_count; i++)
            answers[query.answer_count++] = look_up(&dkim.questions[i]);
    } while (dkim.state == DKIM_ASK);
    if (arc_validate(d, &query, &arena, &arc) != VR_OK || arc.status != ARC_NONE)
        return 1;

    const struct authres_result *results = authres_of_dkim(&arena, &dkim, &count);
    struct authres ours = {.id = VR_STR("mx.example.net"), .results = results, .result_count = count};
    bool good = results != NULL && authres_write(&field, &ours) && count == 2 &&
                dkim.signatures[0].verdict == DKIM_PASS && dkim.signatures[1].verdict == DKIM_PASS;
    printf("%.*s", VR_STR_ARG(vr_buf_str(&field)));
    vr_buf_fini(&field);
    vr_arena_fini(&arena);
    mail_digest_free(d);
    return good ? 0 : 1;
}
