/* answers.c - see answers.h. */
#include "ipc/answers.h"

#include <assert.h>
#include <string.h>

#define TOO_BIG VR_STR("the answers are too big")
/* Of a packed answer and record the least that they take. */
#define ANSWER_LEAST (4 + 4 + 1 + 1 + 4 + 4)
#define RECORD_LEAST (4 + 4 + 1 + 16 + 4)

struct dns_answer dns_answer_failed(struct dns_question question, struct vr_str why)
{
    return (struct dns_answer){
        .name = question.name, .type = question.type, .status = DNS_STATUS_FAILED, .why = why};
}

/* ---- from the loop ---------------------------------------------------------------------------------------------------- */

static bool dup_into(struct vr_arena *arena, struct vr_str *s)
{
    size_t n = s->n;
    *s = vr_arena_dup(arena, *s);
    return s->n == n;
}

/* Addresses that are none are left out. */
static bool copy_records(struct vr_arena *arena, const struct io_dns_answer *from, struct dns_answer *to)
{
    size_t address = to->type == DNS_TYPE_A ? 4 : to->type == DNS_TYPE_AAAA ? 16 : 0;
    struct dns_record *records = vr_arena_alloc(arena, (from->count + 1) * sizeof *records);
    if (records == NULL)
        return false;
    for (size_t i = 0; i < from->count; i++) {
        const struct io_dns_record *r = &from->records[i];
        struct dns_record *m = &records[to->count];
        if (address != 0 && r->data.n != address)
            continue;
        *m = (struct dns_record){.preference = r->preference, .name = r->name};
        if (address != 0) {
            m->address.family = address == 4 ? 4 : 6;
            memcpy(m->address.ip, r->data.p, address);
        } else {
            m->data = r->data;
        }
        if (!dup_into(arena, &m->name) || !dup_into(arena, &m->data))
            return false;
        to->count++;
    }
    to->records = records;
    return true;
}

struct dns_answer dns_answer_from(struct vr_arena *arena, struct dns_question question,
                                  const struct io_dns_answer *a)
{
    static const enum dns_status statuses[] = {[IO_DNS_OK] = DNS_STATUS_OK,
                                               [IO_DNS_NODATA] = DNS_STATUS_NODATA,
                                               [IO_DNS_NXDOMAIN] = DNS_STATUS_NXDOMAIN,
                                               [IO_DNS_FAILED] = DNS_STATUS_FAILED};
    struct dns_question q = {.name = vr_arena_dup(arena, question.name), .type = question.type};
    struct dns_answer m = {
        .name = q.name, .type = q.type, .status = statuses[a->status], .secure = a->secure};
    if (!vr_str_equal_nocase(a->canonical, q.name))
        m.canonical = vr_arena_dup(arena, a->canonical);
    if (a->status == IO_DNS_FAILED)
        m.why = vr_arena_dup(arena, vr_str_from(a->why));
    if (a->status == IO_DNS_OK && !copy_records(arena, a, &m))
        return dns_answer_failed(question, TOO_BIG);
    if (a->status == IO_DNS_OK && m.count == 0) /* io_dns has promised one at least */
        return dns_answer_failed(q, VR_STR("malformed records"));
    return m;
}

/* ---- packing ---------------------------------------------------------------------------------------------------------- */

void ipc_put_questions(struct vr_buf *b, const struct dns_question *questions, size_t n)
{
    assert(n <= DNS_ASK_MAX);
    ipc_put_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        ipc_put_u32(b, questions[i].type);
        ipc_put_str(b, questions[i].name);
    }
}

static bool is_type(uint32_t type)
{
    switch (type) {
    case DNS_TYPE_A:
    case DNS_TYPE_PTR:
    case DNS_TYPE_MX:
    case DNS_TYPE_TXT:
    case DNS_TYPE_AAAA:
    case DNS_TYPE_TLSA:
        return true;
    default:
        return false;
    }
}

bool ipc_get_questions(struct ipc_reader *r, struct vr_arena *arena, struct dns_question **out, size_t *n)
{
    uint32_t count = ipc_get_u32(r);
    if (r->bad || count > DNS_ASK_MAX || count > r->rest.n / 8)
        return false;
    struct dns_question *q = vr_arena_alloc(arena, (count + 1) * sizeof *q);
    if (q == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t type = ipc_get_u32(r);
        if (!is_type(type))
            return false;
        q[i].type = (enum dns_type)type;
        q[i].name = ipc_get_str(r);
    }
    *out = q;
    *n = count;
    return !r->bad;
}

static void put_record(struct vr_buf *b, const struct dns_record *m)
{
    ipc_put_str(b, m->name);
    ipc_put_u32(b, m->preference);
    ipc_put_u8(b, m->address.family);
    vr_buf_add(b, vr_str((const char *)m->address.ip, sizeof m->address.ip));
    ipc_put_str(b, m->data);
}

static size_t size_of(const struct dns_answer *a)
{
    size_t n = ANSWER_LEAST + a->name.n + a->why.n;
    for (size_t i = 0; i < a->count; i++)
        n += RECORD_LEAST + a->records[i].name.n + a->records[i].data.n;
    return n;
}

void ipc_put_answers(struct vr_buf *b, const struct dns_answer *answers, size_t n)
{
    size_t all = 0;
    ipc_put_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        struct dns_answer a = answers[i];
        if (all + size_of(&a) > DNS_REPLY_MAX)
            a = dns_answer_failed((struct dns_question){.name = a.name, .type = a.type}, TOO_BIG);
        all += size_of(&a);
        ipc_put_u32(b, a.type);
        ipc_put_str(b, a.name);
        ipc_put_u8(b, (uint8_t)a.status);
        ipc_put_u8(b, a.secure);
        ipc_put_str(b, a.why);
        ipc_put_u32(b, (uint32_t)a.count);
        for (size_t k = 0; k < a.count; k++)
            put_record(b, &a.records[k]);
    }
}

static bool get_str(struct ipc_reader *r, struct vr_arena *arena, struct vr_str *out)
{
    *out = ipc_get_str(r);
    return !r->bad && dup_into(arena, out);
}

static bool get_record(struct ipc_reader *r, struct vr_arena *arena, struct dns_record *m)
{
    if (!get_str(r, arena, &m->name))
        return false;
    m->preference = (uint16_t)ipc_get_u32(r);
    m->address.family = ipc_get_u8(r);
    for (size_t i = 0; i < sizeof m->address.ip; i++)
        m->address.ip[i] = ipc_get_u8(r);
    return get_str(r, arena, &m->data);
}

static bool get_answer(struct ipc_reader *r, struct vr_arena *arena, struct dns_answer *a)
{
    uint32_t type = ipc_get_u32(r);
    bool named = get_str(r, arena, &a->name);
    uint8_t status = ipc_get_u8(r);
    a->secure = ipc_get_u8(r) != 0;
    bool explained = get_str(r, arena, &a->why);
    uint32_t count = ipc_get_u32(r);
    if (!named || !explained || r->bad || !is_type(type) || status > DNS_STATUS_FAILED ||
        count > r->rest.n / RECORD_LEAST || (status == DNS_STATUS_OK) != (count > 0))
        return false;
    a->type = (enum dns_type)type;
    a->status = (enum dns_status)status;
    struct dns_record *records = vr_arena_alloc(arena, (count + 1) * sizeof *records);
    for (uint32_t i = 0; i < count; i++)
        if (records == NULL || !get_record(r, arena, &records[i]))
            return false;
    a->records = records;
    a->count = count;
    return !r->bad;
}

bool ipc_get_answers(struct ipc_reader *r, struct vr_arena *arena, struct dns_answer **out, size_t *n)
{
    uint32_t count = ipc_get_u32(r);
    if (r->bad || count > r->rest.n / ANSWER_LEAST)
        return false;
    struct dns_answer *a = vr_arena_alloc(arena, (count + 1) * sizeof *a);
    if (a == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!get_answer(r, arena, &a[i]))
            return false;
    *out = a;
    *n = count;
    return true;
}
