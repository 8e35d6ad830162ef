/* dmarc_report.c - an aggregate report for the owner of a domain, as it is mailed, and what he reads of it.
 */
#include <veredus/dmarc_report.h>
#include <veredus/report.h>

#include <stdio.h>

static bool send(struct vr_buf *mail)
{
    const struct dmarc_report_dkim signature = {VR_STR("shop.example"), VR_STR("s1"), VR_STR("pass"), {0}};
    const struct dmarc_report_record records[] = {{.source_ip = VR_STR("192.0.2.1"),
                                                   .count = 7,
                                                   .disposition = VR_STR("none"),
                                                   .dkim = VR_STR("pass"),
                                                   .spf = VR_STR("fail"),
                                                   .header_from = VR_STR("shop.example"),
                                                   .dkim_results = &signature,
                                                   .dkim_count = 1},
                                                  {.source_ip = VR_STR("203.0.113.9"),
                                                   .count = 2,
                                                   .disposition = VR_STR("reject"),
                                                   .dkim = VR_STR("fail"),
                                                   .spf = VR_STR("fail"),
                                                   .header_from = VR_STR("shop.example")}};
    const struct dmarc_report report = {.organization = VR_STR("Example Mail"),
                                        .email = VR_STR("postmaster@mail.example"),
                                        .id = VR_STR("20261128.shop.example"),
                                        .begin = 1795824000,
                                        .end = 1795910399,
                                        .policy = {.domain = VR_STR("shop.example"),
                                                   .p = VR_STR("reject"),
                                                   .adkim = VR_STR("r"),
                                                   .aspf = VR_STR("r")},
                                        .records = records,
                                        .record_count = 2};
    struct vr_buf xml, gzip;
    vr_buf_init(&xml, 1 << 16);
    vr_buf_init(&gzip, 1 << 16);
    bool good =
        dmarc_report_write(&xml, &report) && report_gzip(&gzip, vr_buf_str(&xml)) &&
        dmarc_report_message(mail, &(struct dmarc_report_mail){.from = VR_STR("postmaster@mail.example"),
                                                               .to = VR_STR("dmarc@shop.example"),
                                                               .domain = report.policy.domain,
                                                               .message_id = VR_STR("1@mail.example"),
                                                               .report = &report,
                                                               .messages = 9,
                                                               .time = 1795910400,
                                                               .gzip = vr_buf_str(&gzip)});
    vr_buf_fini(&gzip);
    vr_buf_fini(&xml);
    return good;
}

/* mail: the message, or the attachment alone, compressed or not. */
static bool receive(struct vr_str mail, struct vr_arena *arena)
{
    struct vr_buf xml;
    enum report_kind kind;
    struct dmarc_report r;
    const char *why = "";
    vr_buf_init(&xml, 1 << 20);
    bool good = report_extract(&xml, mail, &kind, &why) == VR_OK && kind == REPORT_DMARC &&
                dmarc_report_read(arena, vr_buf_str(&xml), &r, &why) == VR_OK;
    if (!good)
        fprintf(stderr, "%s\n", why);
    for (size_t i = 0; good && i < r.record_count; i++)
        printf("%.*s: %llu messages, DKIM %.*s, SPF %.*s: %.*s\n", VR_STR_ARG(r.records[i].source_ip),
               (unsigned long long)r.records[i].count, VR_STR_ARG(r.records[i].dkim),
               VR_STR_ARG(r.records[i].spf), VR_STR_ARG(r.records[i].disposition));
    vr_buf_fini(&xml);
    return good && r.record_count == 2 && r.records[1].count == 2;
}

int main(void)
{
    struct vr_arena arena;
    struct vr_buf mail;
    vr_arena_init(&arena, 1 << 20);
    vr_buf_init(&mail, 1 << 16);
    bool good = send(&mail);
    printf("%.*s\n", VR_STR_ARG(vr_buf_str(&mail)));
    good = good && receive(vr_buf_str(&mail), &arena);
    vr_buf_fini(&mail);
    vr_arena_fini(&arena);
    return good ? 0 : 1;
}
