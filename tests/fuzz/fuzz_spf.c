/* fuzz_spf.c - any bytes as a record, a sender, a HELO name, and as what the DNS says.
 *
 * Input: a byte that chooses the identity and the client, a byte whose bits say which answers fail or are empty, then three lines: HELO, sender, TXT records
 * (separated by NUL; each name gets one of the first five).
 * Checked: a verdict after a bounded number of calls; questions that the DNS can be asked, each once; what is asked one by one ends as what is asked at once; what is shown to
 * people and written into fields is in visible ASCII; no pass when all answers failed.
 */
#include <veredus/authres.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS 256

struct input {
    uint8_t choice, answers;
    struct vr_str helo, sender, texts;
};

static const struct dns_record *text_of(const struct input *in, unsigned number)
{
    static struct dns_record all[5];
    struct vr_str rest = in->texts, part = VR_STR("");
    for (unsigned n = 0; n <= number && vr_str_split(&rest, 0, &part);)
        n++;
    all[number].data = part;
    return &all[number];
}

/* Depends on the question only, so that the order in which they are asked does not count. */
static struct dns_answer look_up(const struct input *in, const struct dns_question *q)
{
    static const struct dns_record addresses[] = {{.address = {4, {192, 0, 2, 1}}},
                                                  {.address = {4, {127, 0, 0, 2}}}};
    static const struct dns_record addresses6[] = {{.address = {6, {0x20, 0x01, 0x0d, 0xb8}}}};
    static const struct dns_record names[] = {{.name = VR_STR_INIT("mx.test")},
                                              {.name = VR_STR_INIT("")},
                                              {.name = VR_STR_INIT("a..b")},
                                              {.name = VR_STR_INIT("sub.example.test.")}};
    struct dns_answer a = {.name = q->name, .type = q->type, .status = DNS_STATUS_OK};
    unsigned hash = (unsigned)q->name.n * 7 + (unsigned char)q->name.p[0] + (unsigned)q->type;
    assert(q->name.n > 0 && q->name.n <= 253 && q->name.p[q->name.n - 1] != '.' && q->name.p[0] != '.');
    for (size_t i = 0; i < q->name.n; i++)
        assert(q->name.p[i] >= ' ' && q->name.p[i] < 0x7f && q->name.p[i] != '\\');
    if (in->answers & 1)
        a.status = DNS_STATUS_FAILED;
    else if (in->answers >> (1 + hash % 7) & 1)
        a.status = hash % 3 == 0   ? DNS_STATUS_FAILED
                   : hash % 3 == 1 ? DNS_STATUS_NXDOMAIN
                                   : DNS_STATUS_NODATA;
    if (a.status != DNS_STATUS_OK)
        return a;
    switch (q->type) {
    case DNS_TYPE_A:
        a.records = addresses;
        a.count = 2;
        break;
    case DNS_TYPE_AAAA:
        a.records = addresses6;
        a.count = 1;
        break;
    case DNS_TYPE_TXT:
        a.records = text_of(in, hash % 5);
        a.count = 1;
        break;
    default:
        a.records = names;
        a.count = 4;
    }
    return a;
}

static void visible(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        assert(s.p[i] >= ' ' && s.p[i] < 0x7f);
}

static struct spf_result check(const struct input *in, struct spf_query *q, struct vr_arena *arena,
                               bool one_by_one)
{
    struct dns_answer *answers = vr_arena_alloc(arena, ANSWERS * sizeof *answers);
    struct spf_result r;
    assert(answers != NULL);
    q->answers = answers;
    q->answer_count = 0;
    for (unsigned calls = 1;; calls++) {
        assert(one_by_one || calls <= SPF_ROUNDS_MAX);
        assert(spf_check(q, arena, &r) == VR_OK);
        if (r.state == SPF_DONE)
            return r;
        assert(r.question_count > 0 && r.question_count <= SPF_QUESTIONS_MAX);
        for (size_t i = 0; i < (one_by_one ? 1 : r.question_count); i++) {
            assert(q->answer_count < ANSWERS);
            assert(dns_answer_find(answers, q->answer_count, r.questions[i].name, r.questions[i].type) ==
                   NULL);
            answers[q->answer_count++] = look_up(in, &r.questions[i]);
        }
    }
}

static void inspect(const struct input *in, const struct spf_query *q, const struct spf_result *r,
                    struct vr_arena *arena)
{
    struct vr_buf field;
    assert(r->reason.n > 0 && (r->verdict == SPF_FAIL || r->explanation.n == 0) &&
           r->explanation.n <= SPF_EXPLANATION_MAX);
    assert(r->verdict != SPF_PASS || !(in->answers & 1));
    visible(r->reason);
    visible(r->explanation);
    visible(r->mechanism);
    vr_buf_init(&field, 1 << 16);
    assert(spf_received(&field, q, r));
    struct vr_str rest = vr_buf_str(&field), line;
    while (vr_str_split(&rest, '\n', &line)) {
        assert(line.n > 0 && line.p[line.n - 1] == '\r');
        for (size_t i = line.p[0] == '\t'; i + 1 < line.n; i++)
            assert(line.p[i] >= ' ' && line.p[i] < 0x7f);
        assert(line.p[0] == '\t' || vr_str_starts(line, VR_STR("Received-SPF: ")));
    }
    vr_buf_reset(&field);
    assert(authres_write(&field, &(struct authres){.id = VR_STR("mx.test"),
                                                   .results = authres_of_spf(arena, q, r),
                                                   .result_count = 1}));
    vr_buf_fini(&field);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {0};
    struct vr_arena arena;
    unsigned lookups;
    const char *why;
    if (size < 4 || size > 4096)
        return 0;
    struct vr_str rest = vr_str((const char *)data + 2, size - 2), where;
    in.choice = data[0];
    in.answers = data[1];
    vr_str_split(&rest, '\n', &in.helo);
    vr_str_split(&rest, '\n', &in.sender);
    in.texts = rest;
    struct spf_query q = {.client = {4, {192, 0, 2, 1}},
                          .helo = in.helo,
                          .sender = in.sender,
                          .identity = in.choice & 1 ? SPF_HELO : SPF_MAIL_FROM,
                          .receiver = VR_STR("mx.test"),
                          .now = 1};
    if (in.choice & 2)
        q.client = (struct dns_address){6, {0x20, 0x01, 0x0d, 0xb8, in.choice}};
    vr_arena_init(&arena, 16 << 20);
    struct spf_result a = check(&in, &q, &arena, false), b = check(&in, &q, &arena, true);
    assert(a.verdict == b.verdict && vr_str_equal(a.reason, b.reason) &&
           vr_str_equal(a.explanation, b.explanation));
    inspect(&in, &q, &a, &arena);
    spf_record_parse(in.texts, &lookups, &why, &where);
    vr_arena_fini(&arena);
    return 0;
}
