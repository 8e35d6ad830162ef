/* spf_testing.h - a small DNS for tests of SPF: rows of a name, a type and data. */
#ifndef TESTS_SPF_TESTING_H
#define TESTS_SPF_TESTING_H

#include "lib_testing.h"

#include <veredus/address.h>
#include <veredus/spf.h>

/* data: "192.0.2.1 192.0.2.2", "10 mx1.test 20 mx2.test", "one.test two.test", text of a TXT record; "!fail", "" (no data). A name without rows does
 * not exist; several rows of TXT are several records. */
struct zone_row {
    const char *name;
    enum dns_type type;
    const char *data;
};

#define ANSWERS_MAX 64

static struct dns_address address_of(const char *text)
{
    struct dns_address a = {0};
    int family;
    if (!address_ip_parse(vr_str_from(text), a.ip, &family))
        fail_msg("%s is no address", text);
    a.family = (uint8_t)family;
    return a;
}

static void add_records(struct dns_answer *a, struct dns_record *records, const char *data)
{
    struct vr_str rest = vr_str_from(data), word;
    if (a->type == DNS_TYPE_TXT) {
        records[a->count++].data = rest;
        return;
    }
    while (vr_str_split(&rest, ' ', &word)) {
        struct dns_record *r = &records[a->count++];
        if (a->type == DNS_TYPE_MX) {
            uint64_t preference;
            assert_true(vr_str_to_u64(word, &preference));
            r->preference = (uint16_t)preference;
            (void)vr_str_split(&rest, ' ', &word);
            r->name = vr_str_equal(word, VR_STR(".")) ? vr_str(NULL, 0) : word;
        } else if (a->type == DNS_TYPE_PTR) {
            r->name = word;
        } else {
            r->address = address_of(vr_arena_dup(&arena, word).p);
        }
    }
}

static inline struct dns_answer zone_find(const struct zone_row *zone, const struct dns_question *q)
{
    struct dns_answer a = {
        .name = q->name, .type = q->type, .status = DNS_STATUS_NXDOMAIN, .why = VR_STR("timed out")};
    struct dns_record *records = vr_arena_alloc(&arena, 32 * sizeof *records);
    a.records = records;
    for (; zone->name != NULL; zone++) {
        if (!vr_str_equal_nocase(vr_str_from(zone->name), q->name))
            continue;
        if (a.status == DNS_STATUS_NXDOMAIN)
            a.status = DNS_STATUS_NODATA;
        if (zone->type != q->type || zone->data[0] == 0)
            continue;
        a.status = strcmp(zone->data, "!fail") == 0 ? DNS_STATUS_FAILED : DNS_STATUS_OK;
        if (a.status == DNS_STATUS_OK)
            add_records(&a, records, zone->data);
    }
    return a;
}

/* Asks until there is a verdict. *asked (may be NULL): how many questions, *rounds: calls. */
static inline struct spf_result zone_check(struct spf_query q, const struct zone_row *zone, size_t *asked,
                                           size_t *rounds)
{
    struct dns_answer *answers = vr_arena_alloc(&arena, ANSWERS_MAX * sizeof *answers);
    struct spf_result r;
    size_t count = 0, calls = 0;
    do {
        q.answers = answers;
        q.answer_count = count;
        assert_int_equal(spf_check(&q, &arena, &r), VR_OK);
        calls++;
        assert_true(r.state == SPF_DONE ? r.question_count == 0 && r.reason.n > 0 : r.question_count > 0);
        for (size_t i = 0; i < r.question_count; i++) {
            assert_true(count < ANSWERS_MAX && r.question_count <= SPF_QUESTIONS_MAX);
            assert_null(dns_answer_find(answers, count, r.questions[i].name, r.questions[i].type));
            answers[count++] = zone_find(zone, &r.questions[i]);
        }
    } while (r.state == SPF_ASK);
    assert_true(calls <= SPF_ROUNDS_MAX);
    if (asked != NULL)
        *asked = count;
    if (rounds != NULL)
        *rounds = calls;
    return r;
}

#endif
