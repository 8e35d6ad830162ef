/* dane.c - what a mail host must show by DANE, without a network: the records of RFC 7672 §3.2.2.
 *
 * exchange.example.org is an alias of example.com, whose MX hosts are aliases too. The library asks; a table answers as a validating resolver does.
 */
#include <veredus/dane.h>

#include <stdio.h>
#include <string.h>

#define RECORD                                                                                               \
    "\2\0\1" /* DANE-TA, certificate, SHA-256 … */                                                         \
    "0123456789abcdef0123456789abcdef"

static const struct dns_record address = {.address = {4, {192, 0, 2, 10}}},
                               tlsa = {.data = VR_STR_INIT(RECORD)};

static const struct {
    const char *name;
    enum dns_type type;
    const char *canonical;
} zone[] = {
    {"mx10.example.com", DNS_TYPE_A, ""},
    {"mx15.example.com", DNS_TYPE_A, "mxbackup.example.com"},
    {"mx20.example.com", DNS_TYPE_A, "mxbackup.example.net"},
    {"_25._tcp.mx10.example.com", DNS_TYPE_TLSA, ""},
    {"_25._tcp.mx15.example.com", DNS_TYPE_TLSA, ""},
    {"_25._tcp.mxbackup.example.net", DNS_TYPE_TLSA, ""},
};

static struct dns_answer look_up(struct dns_question q)
{
    struct dns_answer a = {.name = q.name, .type = q.type, .status = DNS_STATUS_NODATA, .secure = true};
    for (size_t i = 0; i < sizeof zone / sizeof *zone; i++)
        if (zone[i].type == q.type && vr_str_equal_nocase(vr_str_from(zone[i].name), q.name)) {
            a.status = DNS_STATUS_OK;
            a.canonical = vr_str_from(zone[i].canonical);
            a.records = q.type == DNS_TYPE_TLSA ? &tlsa : &address;
            a.count = 1;
        }
    return a;
}

static bool judge(const char *host, const char *base)
{
    struct vr_arena arena;
    struct dns_answer answers[6];
    struct dane_result r;
    struct dane_query q = {.host = vr_str_from(host),
                           .port = 25,
                           .by_mx = true,
                           .mx_secure = true,
                           .domain = VR_STR("exchange.example.org"),
                           .domain_canonical = VR_STR("example.com"),
                           .answers = answers};
    vr_arena_init(&arena, 1 << 16);
    while (dane_select(&q, &arena, &r) == VR_OK && r.verdict == DANE_ASK)
        for (size_t i = 0; i < r.question_count; i++)
            answers[q.answer_count++] = look_up(r.questions[i]);
    bool good = r.verdict == DANE_VERIFY && vr_str_equal(r.base, vr_str_from(base)) && r.name_count == 3;
    printf("%s: TLS, with a certificate for", host);
    for (size_t i = 0; i < r.name_count; i++)
        printf(" %.*s", VR_STR_ARG(r.names[i]));
    for (size_t i = 0; i < r.record_count; i++) {
        char text[DANE_RECORD_TEXT];
        dane_record_text(r.records[i], text);
        printf("; %s", text);
    }
    puts("");
    vr_arena_fini(&arena);
    return good;
}

int main(void)
{
    bool good = judge("mx10.example.com", "mx10.example.com");
    good &= judge("mx15.example.com", "mx15.example.com"); /* its expanded name has no records */
    good &= judge("mx20.example.com", "mxbackup.example.net");
    return good ? 0 : 1;
}
