/* tlsrpt.c - TLS reports, both ways: what a sender does at the end of the day, and what the administrator of the domain sees of it.
 *
 * The day's counts become JSON, gzip, and a message; then the message is opened again, as `veredus report` does with those of others.
 */
#include <veredus/report.h>
#include <veredus/tlsrpt.h>

#include <stdio.h>

static const struct dns_record published = {.data = VR_STR_INIT("v=TLSRPTv1; rua=mailto:tls@example.net")};

/* What was counted. */
static const struct vr_str policy_lines[] = {VR_STR_INIT("version: STSv1"), VR_STR_INIT("mode: enforce"),
                                             VR_STR_INIT("mx: mx.example.net"),
                                             VR_STR_INIT("max_age: 604800")};
static const struct vr_str host = VR_STR_INIT("mx.example.net");
static const struct tlsrpt_detail failure = {.result_type = VR_STR_INIT("certificate-expired"),
                                             .sending_ip = VR_STR_INIT("192.0.2.25"),
                                             .mx_hostname = VR_STR_INIT("mx.example.net"),
                                             .receiving_ip = VR_STR_INIT("198.51.100.7"),
                                             .sessions = 2};
static const struct tlsrpt_policy policy = {.type = VR_STR_INIT("sts"),
                                            .strings = policy_lines,
                                            .string_count = 4,
                                            .domain = VR_STR_INIT("example.net"),
                                            .mx_hosts = &host,
                                            .mx_count = 1,
                                            .successful = 41,
                                            .failed = 2,
                                            .details = &failure,
                                            .detail_count = 1};

static bool write_mail(struct vr_buf *mail, struct vr_str to)
{
    struct tlsrpt_report r = {.organization = VR_STR("Example Org"),
                              .contact = VR_STR("postmaster@example.org"),
                              .id = VR_STR("20261127.example.net"),
                              .begin = 1795737600,
                              .end = 1795823999,
                              .policies = &policy,
                              .policy_count = 1};
    struct vr_buf json, gzip;
    vr_buf_init(&json, 1 << 16);
    vr_buf_init(&gzip, 1 << 16);
    bool good =
        tlsrpt_write(&json, &r) == VR_OK && report_gzip(&gzip, vr_buf_str(&json)) &&
        tlsrpt_message(mail, &(struct tlsrpt_mail){.from = r.contact,
                                                   .to = to,
                                                   .domain = policy.domain,
                                                   .message_id = VR_STR("20261127.example.net@example.org"),
                                                   .report = &r,
                                                   .time = 1795830000,
                                                   .gzip = vr_buf_str(&gzip)});
    vr_buf_fini(&gzip);
    vr_buf_fini(&json);
    return good;
}

static bool read_mail(struct vr_str mail, struct vr_arena *arena)
{
    struct vr_buf content;
    struct tlsrpt_report r;
    enum report_kind kind;
    const char *why;
    vr_buf_init(&content, 1 << 20);
    bool good = report_extract(&content, mail, &kind, &why) == VR_OK && kind == REPORT_TLS &&
                tlsrpt_read(arena, vr_buf_str(&content), &r, &why) == VR_OK && r.policy_count == 1;
    for (size_t i = 0; good && i < r.policies[0].detail_count; i++)
        printf("%.*s: %llu sessions with %.*s\n", VR_STR_ARG(r.policies[0].details[i].result_type),
               (unsigned long long)r.policies[0].details[i].sessions,
               VR_STR_ARG(r.policies[0].details[i].mx_hostname));
    vr_buf_fini(&content);
    return good && r.policies[0].details[0].sessions == 2;
}

int main(void)
{
    struct vr_arena arena;
    struct vr_buf mail;
    struct tlsrpt_record record;
    vr_arena_init(&arena, 1 << 20);
    vr_buf_init(&mail, 1 << 20);
    struct dns_question q = tlsrpt_question(&arena, policy.domain);
    struct dns_answer a = {
        .name = q.name, .type = q.type, .status = DNS_STATUS_OK, .records = &published, .count = 1};
    printf("? %.*s TXT\n", VR_STR_ARG(q.name));
    bool good = tlsrpt_find(&arena, &a, &record) == VR_OK && record.rua_count == 1;
    struct vr_str to = good ? vr_str_from_pos(record.rua[0], sizeof "mailto:" - 1) : vr_str(NULL, 0);
    good = good && write_mail(&mail, to) && read_mail(vr_buf_str(&mail), &arena);
    printf("%.*s", VR_STR_ARG(vr_buf_str(&mail)));
    vr_buf_fini(&mail);
    vr_arena_fini(&arena);
    return good ? 0 : 1;
}
