/* arc_seal.c - a mailing list passes a message on: what it found of it goes along under its seal (ARC), and the next server believes that without the DNS of
 * the author. Sealing takes two signatures of a key that may be elsewhere; here it is RFC 8463's.
 */
#include <veredus/authres.h>

#include <stdio.h>

static const char message[] =
    "From: Joe SixPack <joe@football.example.com>\r\n"
    "To: fans@lists.example.org\r\n"
    "Subject: [fans] Is dinner ready?\r\n" /* the list's mark broke Joe's signature */
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
    "\r\n"
    "Hi.\r\n";

/* The three fields of the list's set. */
static bool seal(const struct dkim_key *key, struct vr_arena *arena, struct vr_buf *out)
{
    const struct arc_sealer sealer = {
        .domain = VR_STR("lists.example.org"),
        .selector = VR_STR("brisbane"),
        .algorithm = dkim_key_algorithm(key),
        .header_canon = MAIL_CANON_RELAXED,
        .body_canon = MAIL_CANON_RELAXED,
        .time = 1528637909,
        .status = ARC_NONE, /* what arc_validate said of the message that came */
        .authres = VR_STR("lists.example.org; dmarc=pass header.from=football.example.com")};
    struct mail_digest *d =
        mail_digest_new(&(struct mail_digest_config){.sign = {[MAIL_CANON_RELAXED] = true}});
    struct arc_seal s;
    struct vr_str signature;
    bool good = d != NULL && mail_digest_feed(d, vr_str_from(message)) == VR_OK &&
                mail_digest_end(d) == VR_OK &&
                arc_seal_begin(d, &sealer, vr_str(NULL, 0), arena, &s) == VR_OK;
    for (int i = 0; good && i < 2; i++) /* of the message, then of the set */
        good = dkim_key_sign(key, s.digest, arena, &signature) == VR_OK &&
               arc_seal_signed(&s, signature) == VR_OK;
    good = good && arc_seal_finish(&s, out);
    mail_digest_free(d);
    return good;
}

/* The next server: is the chain whole, and what does its newest set say? */
static bool validate(struct vr_str sealed, const struct dkim_key *key, struct vr_arena *arena)
{
    struct vr_buf record;
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){.verify = true});
    struct dns_record txt;
    struct dns_answer answer = {.name = VR_STR("brisbane._domainkey.lists.example.org"),
                                .type = DNS_TYPE_TXT,
                                .status = DNS_STATUS_OK,
                                .records = &txt,
                                .count = 1};
    struct dkim_query query = {.now = 1528637920, .answers = &answer};
    struct arc_result r;
    vr_buf_init(&record, 4096);
    bool good = d != NULL && dkim_key_record(key, &record) && mail_digest_feed(d, sealed) == VR_OK &&
                mail_digest_end(d) == VR_OK;
    txt = (struct dns_record){.data = vr_buf_str(&record)};
    while (good && (good = arc_validate(d, &query, arena, &r) == VR_OK) && r.state == DKIM_ASK &&
           query.answer_count == 0) {
        printf("? %.*s TXT\n", VR_STR_ARG(r.questions[0].name));
        query.answer_count = 1; /* a real receiver asks the DNS */
    }
    good = good && r.state == DKIM_DONE && r.status == ARC_PASS && r.instances == 1;
    if (good)
        printf("arc=%s: %.*s says:%.*s\n", arc_status_name(r.status), VR_STR_ARG(r.sets[0].domain),
               VR_STR_ARG(r.sets[0].authres));
    vr_buf_fini(&record);
    mail_digest_free(d);
    return good;
}

int main(void)
{
    struct dkim_key *key;
    struct vr_arena arena;
    struct vr_buf sealed;
    const char *why;
    vr_arena_init(&arena, 1 << 20);
    vr_buf_init(&sealed, 1 << 16);
    if (dkim_key_load(VR_STR("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &key, &why) != VR_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    bool good = seal(key, &arena, &sealed) && vr_buf_add(&sealed, vr_str_from(message));
    printf("%.*s", VR_STR_ARG(vr_buf_str(&sealed)));
    good = good && validate(vr_buf_str(&sealed), key, &arena);
    dkim_key_free(key);
    vr_buf_fini(&sealed);
    vr_arena_fini(&arena);
    return good ? 0 : 1;
}
